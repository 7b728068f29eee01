/**
 * Who may come in: the checks that stand before every HTTP request and every WebSocket upgrade, on both ports.
 * A page in a browser is the danger on a loopback address: `Host` stops a foreign name that was made to resolve
 * to us (DNS rebinding), `Origin` stops a foreign page that calls us by our own name. Of `Host` the name alone is
 * looked at: behind a forwarded port (ssh, a container) the caller's is another, and no rebinding shows in it.
 * It decides and nothing else; what a refusal looks like is the caller's.
 */
import { createHash, timingSafeEqual } from "node:crypto";

export type GuardOptions = {
  /** null: anyone who reaches the address may call, which is why only loopback may be listened on. */
  token: string | null;
  /** The ports listened on; asked anew each time, because port 0 becomes one later. */
  ports: () => readonly number[];
  /** Further origins whose pages may call, such as `https://ops.example.org`. */
  allowOrigins: readonly string[];
};

export type Guard = {
  /** Host and Origin, before anything else is looked at. */
  door(headers: Headers): "forbidden-host" | "forbidden-origin" | null;
  /** Whether a page of this origin is one of those allowed by option, and so needs CORS headers. */
  allowsOrigin(origin: string): boolean;
  /** Whether the Authorization header has the token; true where none is needed. */
  admits(headers: Headers): boolean;
  /** The same for a token from elsewhere (session.hello). */
  admitsToken(token: string | undefined): boolean;
};

const loopbackNames = ["localhost", "127.0.0.1", "[::1]"];

/** Digests have one length, which timingSafeEqual demands, and tell nothing of the token's. */
const digest = (text: string) => createHash("sha256").update(text).digest();

export function createGuard({ token, ports, allowOrigins }: GuardOptions): Guard {
  const wanted = token === null ? null : digest(token);
  const allowed = new Set(allowOrigins.map((origin) => origin.toLowerCase()));

  const admitsToken = (given: string | undefined) =>
    wanted === null || (given !== undefined && timingSafeEqual(digest(given), wanted));

  /**
   * A page of our own: it came from the address that it calls, or from one of our two ports, under a loopback
   * name or, with a token, under whatever name we were called by.
   */
  const isOwnOrigin = (origin: string, host: string) => {
    const match = /^(https?):\/\/([^/]+)$/.exec(origin);
    if (match === null) return false;
    const [, scheme, from] = match as unknown as [string, string, string];
    // We speak http: https on a loopback address is another's port, unless a token says that a proxy is meant.
    if (wanted === null && scheme !== "http") return false;
    if (from === host) return true;
    const { name, port } = splitHost(from);
    const isOurName = loopbackNames.includes(name) || (wanted !== null && name === splitHost(host).name);
    return isOurName && ports().includes(port ?? (scheme === "http" ? 80 : 443));
  };

  return {
    door(headers) {
      const host = headers.get("host")?.toLowerCase() ?? "";
      if (wanted === null && !loopbackNames.includes(splitHost(host).name)) return "forbidden-host";
      const origin = headers.get("origin")?.toLowerCase();
      if (origin === undefined || allowed.has(origin) || isOwnOrigin(origin, host)) return null;
      return "forbidden-origin";
    },
    allowsOrigin: (origin) => allowed.has(origin.toLowerCase()),
    admits(headers) {
      if (wanted === null) return true;
      return admitsToken(/^Bearer +(\S+) *$/i.exec(headers.get("authorization") ?? "")?.[1]);
    },
    admitsToken,
  };
}

/** "[::1]:9500" -> name "[::1]", port 9500; port null where none is said. */
function splitHost(host: string): { name: string; port: number | null } {
  const match = /^(\[[0-9a-f:.]+\]|[^:[\]/?#@]+)(?::([0-9]{1,5}))?$/.exec(host);
  if (match === null) return { name: "", port: null };
  return { name: match[1]!, port: match[2] === undefined ? null : Number(match[2]) };
}
