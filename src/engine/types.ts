/** What stands between the engine and the rooms that use it (http, ws, and the embedded coordinator). */
import type { Problem } from "../wire/errors.ts";

/** Who calls, and how a repeated call is recognised. */
export type Caller = {
  /** Shown in the log and in change events: a session, a worker, a token's name. */
  who: string;
  /** The session whose `seq` numbers the operation; null: a repeated call is a new call. */
  session: string | null;
  seq: number;
  /** All answers of the session up to this seq have arrived there. */
  ackedThrough: number;
  /** Ends a wait early (the client went away). */
  signal?: AbortSignal;
};

/** `ok` is the output as JSON text: it was written once, and is sent and kept as it is. */
export type Answer = { ok: string } | { error: Problem };

/** Unasked news for one worker. */
export type Push =
  | { kind: "assigned"; taskId: string; token: number; text: string }
  | { kind: "aborted"; taskId: string; token: number; text: string };

/** What a connection offers the engine, so that pushes and answers leave in order, after their entry is durable. */
export type Receiver = {
  /** JSON text of one message. The engine calls this only for what may leave; `flush` follows in the same turn. */
  send(message: string): void;
  flush(): void;
};
