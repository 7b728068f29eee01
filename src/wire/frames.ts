/**
 * The frames of the WebSocket, version 1. A frame is JSON text: one message, or an array of messages. The daemon
 * always sends arrays. Requests of one connection are carried out in order and answered in order, a ping alone at
 * once; events lie between the answers. docs/PROTOCOL.md is the description for people.
 */
import type { Problem } from "./errors.ts";
import type { Fence } from "./fences.ts";
import type { LockLostReason } from "./locks.ts";
import type { MessageView } from "./messages.ts";
import type { OperationName } from "./operations.ts";
import type { ChangeView } from "./state.ts";
import type { Stats } from "./stats.ts";
import type { Push } from "./tasks.ts";

export const protocolVersion = 1;

/** Client to daemon. `seq` grows by at least one with each new operation of a session. */
export type RequestMessage = {
  op: OperationName;
  seq: number;
  input?: unknown;
  /** Only while this holds: for mutations alone. */
  if?: Fence;
  /** All answers up to this seq have arrived: the daemon may forget them. May stand in any message. */
  ackedThrough?: number;
};

/** Daemon to client: the answer to `seq`. */
export type ReplyMessage = { seq: number; ok: unknown } | { seq: number | null; error: Problem };

/** Daemon to client, unasked. */
export type EventMessage =
  | ({ event: "task.assigned" } & Push)
  | {
      event: "task.aborted";
      taskId: string;
      workerId: string;
      token: number;
      reason: AbortReason;
      detail: string;
    }
  | { event: "lock.lost"; lockId: string; reason: LockLostReason; detail: string }
  | ({ event: "change"; watchId: string } & ChangeView)
  | { event: "gap"; watchId: string; from: number; to: number }
  /** All that the watch is to be told up to this revision was told. */
  | { event: "place"; watchId: string; revision: number }
  | ({ event: "stats" } & Stats)
  | ({ event: "message"; subscriptionId: string } & MessageView)
  /** So many messages that are delivered at most once were not: the connection was not read fast enough. */
  | { event: "messages.lost"; subscriptionId: string; count: number }
  /** The subscription is gone: it was deleted, was full or idle, or its worker is gone. */
  | { event: "subscription.ended"; subscriptionId: string; name: string };

/** Why a running attempt must stop: its lease is void. */
export type AbortReason = "cancelled" | "timeout" | "lease-expired" | "revoked";

/** Close codes beside those of RFC 6455. */
export const closeCodes = {
  /** The daemon stops or restarts: connect again. */
  restarting: 1012,
  /** The socket took too long to read what was sent. */
  tooSlow: 4008,
  /** The greeting did not come in time, or the token was wrong. */
  unauthorized: 4001,
  /** Nothing was heard for so long that the worker on this connection is offline: connect and register again. */
  silent: 4010,
  /** Another connection took this session over. */
  takenOver: 4009,
  /** The namespace was dropped: do not connect again. */
  dropped: 4011,
} as const;
