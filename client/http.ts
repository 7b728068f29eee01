/**
 * Frames as HTTP requests, for where a WebSocket cannot be had: a connection that asks and is never told anything
 * unasked. Its requests share a name, by which the daemon refuses what arrives after the client has moved on. One
 * failed request ends the connection: what was on its way is the session's to repeat.
 */
import type { Problem } from "../src/wire/errors.ts";
import type { Connection, Handlers, Timer, Transport, TransportName } from "./transport.ts";

/** Which transports a client may use: the WebSocket and, where it cannot be had, HTTP; or one of them alone. */
export type TransportChoice = "auto" | TransportName;

/** As much of `fetch` as is needed. */
export type Fetch = (
  address: string,
  request: {
    method: "POST";
    headers: Record<string, string>;
    body: string;
    signal: AbortSignal;
    cache: "no-store";
    /** It outlives the page that sends it. */
    keepalive?: boolean;
  },
) => Promise<Pick<Response, "ok" | "status" | "headers" | "text">>;

export const requestsOver = (fetcher: Fetch): Transport => ({
  connect(url, handlers: Handlers, { session, connection, token, namespace, environment }): Connection {
    const address = `${url.replace(/\/$/, "")}/api/frames`;
    const headers: Record<string, string> = {
      "content-type": "application/json",
      "cortex-session": session,
      "cortex-connection": connection,
    };
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (namespace !== undefined) headers["cortex-namespace"] = namespace;
    const requestOf = (body: string, signal: AbortSignal) =>
      ({ method: "POST", headers, body, signal, cache: "no-store" }) as const;
    const underWay = new Map<AbortController, Timer>();
    let buffered = 0;
    let ended = false;

    const forget = (controller: AbortController) => {
      if (underWay.has(controller)) environment.clearTimer(underWay.get(controller));
      underWay.delete(controller);
    };
    const close = (last?: string) => {
      ended = true;
      for (const controller of [...underWay.keys()]) {
        forget(controller);
        controller.abort();
      }
      if (last !== undefined) void say(last);
    };
    /** To a daemon that may be gone: the process is not held up by it. */
    const say = async (body: string) => {
      const controller = new AbortController();
      const timer = environment.setTimer(lastMs, () => controller.abort());
      await fetcher(address, { ...requestOf(body, controller.signal), keepalive: true }).catch(() => {});
      environment.clearTimer(timer);
      controller.abort();
    };
    const end = (reason: string, refusal?: Problem) => {
      if (ended) return;
      close();
      handlers.close(0, reason, refusal);
    };

    const post = (body: string, withinMs: number, answered: () => void): AbortController => {
      const controller = new AbortController();
      const { signal } = controller;
      const late = () => end(`no answer over HTTP in ${Math.round(withinMs)} ms`);
      underWay.set(controller, environment.setTimer(withinMs, late));
      const carry = async () => {
        try {
          const response = await fetcher(address, requestOf(body, signal));
          const text = await response.text();
          if (ended || !underWay.has(controller)) return;
          forget(controller);
          answered();
          // What stands in between may answer in the daemon's place.
          const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
          if (response.ok && isJson) handlers.message(text);
          else end(`HTTP ${response.status} at ${address}`, problemOf(response, text));
        } catch (error) {
          if (underWay.has(controller)) end(error instanceof Error ? error.message : String(error));
        }
      };
      void carry();
      return controller;
    };

    queueMicrotask(() => {
      if (!ended) handlers.open();
    });
    return {
      send(text, withinMs) {
        buffered += text.length;
        post(text, withinMs, () => {
          buffered -= text.length;
        });
      },
      close,
      get bufferedBytes() {
        return buffered;
      },
      apart(text, withinMs) {
        const controller = post(text, withinMs, () => {});
        return () => {
          forget(controller);
          controller.abort();
        };
      },
    };
  },
});

/** How long a last word may take. */
const lastMs = 5000;

export const httpRequests = requestsOver((address, request) => fetch(address, request));

function problemOf(response: Pick<Response, "headers">, text: string): Problem | undefined {
  if (response.headers.get("content-type")?.startsWith("application/problem+json") !== true) return undefined;
  try {
    return JSON.parse(text) as Problem;
  } catch {
    return undefined;
  }
}

/** Where each transport finds the daemon, by the one address that its user knows. */
export function addresses(url: string, httpUrl?: string): Record<TransportName, string> {
  // The HTTP port speaks WebSocket at /ws; the port beside it nothing else, at any path.
  if (/^https?:/.test(url)) {
    const base = url.replace(/\/+$/, "");
    return { websocket: `${base.replace(/^http/, "ws")}/ws`, http: httpUrl ?? base };
  }
  const base = url
    .replace(/^ws/, "http")
    .replace(/[?#].*$/, "")
    .replace(/\/+$/, "")
    .replace(/\/ws$/, "");
  return { websocket: url, http: httpUrl ?? base.replace(/^(https?:\/\/[^/]*):9501(\/.*)?$/, "$1:9500") };
}
