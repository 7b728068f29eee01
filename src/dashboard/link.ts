/**
 * The page's one connection: a client of the daemon this page came from, and how it stands. The token is asked for where
 * one is needed, and kept for as long as the tab is.
 */
import { computed, signal } from "@preact/signals";
import { CoordinationClient } from "../../client/client.ts";
import { CortexError } from "../../client/errors.ts";
import type { ErrorCode } from "../wire/errors.ts";

export type Link =
  | { kind: "connecting" }
  /** `pushes`: over a WebSocket. Over HTTP nothing is told unasked. */
  | { kind: "live"; pushes: boolean }
  /** It was there, or has not been yet (`since` is null); the next try comes at `retryAt`. */
  | { kind: "lost"; detail: string; attempt: number; since: number | null; retryAt: number | null }
  /** A token is needed; `wrong`: not the one that was given. */
  | { kind: "locked"; wrong: boolean }
  /** And it would be the same the next time. */
  | { kind: "refused"; code: ErrorCode | null; detail: string };

export const link = signal<Link>({ kind: "connecting" });
/** Whether something can be asked for now. */
export const isLive = computed(() => link.value.kind === "live");
export const client = signal<CoordinationClient | null>(null);
/** Grows with each connection: what was read before may be old. */
export const epoch = signal(0);

const tokenKey = "cortex-token";
const tokenOf = (): string | undefined => sessionStorage.getItem(tokenKey) ?? undefined;

function forget(): void {
  sessionStorage.removeItem(tokenKey);
}
export function unlock(token: string, namespace: string): void {
  sessionStorage.setItem(tokenKey, token);
  open(namespace);
}

/** Connects to a namespace, in the place of the connection that is. */
export function open(namespace: string): void {
  client.value?.close();
  const token = tokenOf();
  const made = new CoordinationClient({
    url: location.origin,
    token,
    // Where none was chosen it is the daemon's own: a replay has one alone, of any name.
    namespace: namespace === "default" ? undefined : namespace,
    // A link to a namespace that was dropped must not make it again.
    create: false,
    client: "cortexd-dashboard/1",
    backoffMaxMs: 5000,
  });
  const current = () => client.value === made;
  let aliveAt: number | null = null;
  made.on("connected", ({ transport }) => {
    if (!current()) return;
    link.value = { kind: "live", pushes: transport === "websocket" };
    aliveAt = null;
    epoch.value++;
  });
  made.on("disconnected", ({ detail }) => {
    if (!current()) return;
    if (link.value.kind === "live") aliveAt = Date.now();
    link.value = { kind: "lost", detail, attempt: 0, since: aliveAt, retryAt: null };
  });
  made.on("reconnecting", ({ attempt, delayMs }) => {
    if (!current() || link.value.kind !== "lost") return;
    link.value = { ...link.value, attempt, retryAt: Date.now() + delayMs };
  });
  made.on("closed", ({ error }) => {
    if (!current()) return;
    const code = error instanceof CortexError ? error.code : null;
    if (code === "unauthorized") {
      forget();
      link.value = { kind: "locked", wrong: token !== undefined };
    } else link.value = { kind: "refused", code, detail: error.message };
  });
  // Each request tells its own failure to whoever asked.
  made.on("error", () => {});
  client.value = made;
  link.value = { kind: "connecting" };
  made.connect().catch(() => {});
}
