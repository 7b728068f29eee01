/**
 * Frames as they come in, over whichever transport: what a frame and a message must be, and what a greeting must
 * say. It takes a frame apart and hands its operations over one by one; it carries nothing out and sends nothing.
 * A message that is none is refused, and those behind it go on.
 */
import type { ErrorCode, Problem } from "../wire/errors.ts";
import { problem } from "../wire/errors.ts";
import type { Fence } from "../wire/fences.ts";
import { protocolVersion } from "../wire/frames.ts";
import { limits } from "../wire/limits.ts";
import { type Input, isOperation, type OperationName, operations } from "../wire/operations.ts";
import type { Welcome } from "../wire/state.ts";
import type { Engine } from "./engine.ts";
import type { Sink } from "./types.ts";
import { isFence } from "./validate.ts";
import { isWaiting } from "./waits.ts";

/** The connection that a session has: a newer greeting under the session's id ends it. */
export type SessionHolder = {
  /** Where it is told things unasked; null: over HTTP it cannot be. */
  readonly sink: Sink | null;
  takenOver(): void;
  /** The namespace is gone. */
  dropped(): void;
};

/** Who sent the frame, and carries out what it says. */
export type Receiver = {
  /** False: what is left of the frame is no longer heard. */
  readonly open: boolean;
  readonly greeted: boolean;
  refuse(seq: number | null, code: ErrorCode, detail: string): void;
  /** All answers up to this seq have arrived there. */
  acknowledged(through: number): void;
  carryOut(op: OperationName, seq: number, input: unknown, fence?: Fence): void;
};

const requestKeys = new Set(["op", "seq", "input", "if", "ackedThrough"]);

/** One message, or an array of them. */
export function readFrame(frame: unknown, from: Receiver): void {
  if (!Array.isArray(frame)) readMessage(frame, from);
  else if (frame.length > limits.operationsPerFrameMax)
    from.refuse(
      null,
      "malformed-frame",
      `the frame has ${frame.length} messages; at most ${limits.operationsPerFrameMax} are taken`,
    );
  else for (let i = 0; i < frame.length && from.open; i++) readMessage(frame[i], from);
}

function readMessage(message: unknown, from: Receiver): void {
  if (message === null || typeof message !== "object" || Array.isArray(message)) {
    from.refuse(null, "malformed-frame", "a message is an object with op, seq and input");
    return;
  }
  const { op, seq, input, if: fence, ackedThrough } = message as Record<string, unknown>;
  if (!isCount(seq) || seq === 0) {
    from.refuse(null, "malformed-frame", "seq must be a whole number from 1 on");
    return;
  }
  for (const key in message)
    if (!requestKeys.has(key)) {
      from.refuse(
        seq,
        "malformed-frame",
        `a message has op, seq, input, if and ackedThrough, not ${JSON.stringify(shown(key))}`,
      );
      return;
    }
  if (ackedThrough !== undefined) {
    if (!isCount(ackedThrough)) {
      from.refuse(seq, "malformed-frame", "ackedThrough must be a whole number");
      return;
    }
    from.acknowledged(ackedThrough);
  }
  if (!isOperation(op)) {
    // Only a text is shown: what nests a million deep cannot be written.
    const name = typeof op === "string" ? JSON.stringify(shown(op)) : `of the type ${typeof op}`;
    from.refuse(seq, "unknown-operation", `there is no operation ${name}`);
  } else if (op !== "session.hello" && !from.greeted)
    from.refuse(seq, "greeting-expected", `${op} came before session.hello`);
  else if (fence === undefined) from.carryOut(op, seq, input ?? {});
  else if (operations[op].kind !== "mutation")
    from.refuse(seq, "malformed-frame", `if goes with mutations alone, and ${op} is none`);
  else if (!isFence(fence))
    from.refuse(
      seq,
      "malformed-frame",
      "if must be an object with token, and lease (a task's id) or lock (a name)",
    );
  else from.carryOut(op, seq, input ?? {}, fence);
}

/**
 * Why this greeting is refused, whoever sends it; null: it is none of these. `namespace`: that of the connection;
 * null: the greeting chooses it.
 */
export function greetingRefused(
  hello: Input<"session.hello">,
  session: string,
  namespace: string | null,
): Problem | null {
  if (hello.protocol !== protocolVersion)
    return problem(
      "unsupported-protocol",
      `version ${hello.protocol} was asked for; this daemon speaks ${protocolVersion}`,
    );
  if (namespace !== null && hello.namespace !== undefined && hello.namespace !== namespace) {
    const detail = `the connection is in the namespace ${namespace}`;
    return problem("invalid-input", detail, { errors: [{ pointer: "/namespace", detail }] });
  }
  if (session !== "" && hello.session !== undefined && hello.session !== session) {
    const detail = `the connection has greeted as session ${session}`;
    return problem("invalid-input", detail, { errors: [{ pointer: "/session", detail }] });
  }
  return null;
}

export const welcomeOf = (
  engine: Pick<Engine, "config" | "revision" | "namespace">,
  session: string,
): Welcome => ({
  protocol: protocolVersion,
  server: `cortexd/${engine.config.version}`,
  session,
  namespace: engine.namespace,
  revision: engine.revision,
  heartbeatMs: engine.config.heartbeatMs,
  limits: {
    frameBytesMax: limits.frameBytesMax,
    operationsPerFrameMax: limits.operationsPerFrameMax,
    payloadBytesMax: limits.payloadBytesMax,
  },
});

/** Whether the operation may have to wait for something to happen. */
export const waitsFor = (op: OperationName, input: unknown): boolean =>
  isWaiting(op) && Boolean((input as { waitMs?: number } | null)?.waitMs);

const shownLengthMax = 200;
/** What a client sent, as an answer shows it: never all of four megabytes. */
export const shown = (text: string) =>
  text.length <= shownLengthMax ? text : `${text.slice(0, shownLengthMax)}…`;
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
