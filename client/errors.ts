/**
 * The errors a caller may meet: `CortexError` is a refusal by the daemon and carries every field of its problem;
 * `TaskFailed` is a task that ended without a result; `ClientError` is what happened on this side of the wire.
 */
import type { ErrorCode, FieldError, Problem } from "../src/wire/errors.ts";
import type { Task, TaskError, TaskState } from "../src/wire/tasks.ts";

/** The daemon refused. `code` is what to branch on, `hint` says what to do, `retryable` whether to send it again. */
export class CortexError extends Error implements Problem {
  override name = "CortexError";
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly hint: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number;
  readonly errors?: FieldError[];
  /** Of `revision-mismatch`: the revision that the key has; 0: there is no such key. */
  readonly revision?: number;

  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.type = problem.type;
    this.title = problem.title;
    this.status = problem.status;
    this.code = problem.code;
    this.detail = problem.detail;
    this.hint = problem.hint;
    this.retryable = problem.retryable;
    if (problem.retryAfterMs !== undefined) this.retryAfterMs = problem.retryAfterMs;
    if (problem.errors !== undefined) this.errors = problem.errors;
    if (problem.revision !== undefined) this.revision = problem.revision;
  }
}

/** The task ended as failed, dead or cancelled, so there is no result. */
export class TaskFailed extends Error {
  override name = "TaskFailed";
  readonly taskId: string;
  readonly state: TaskState;
  readonly error: TaskError | null;
  readonly reason: string | null;

  constructor(task: Task) {
    super(`task ${task.id} is ${task.state}: ${task.error?.message ?? task.reason ?? "no reason given"}`);
    this.taskId = task.id;
    this.state = task.state;
    this.error = task.error;
    this.reason = task.reason;
  }
}

/**
 * closed: the client was closed · timeout: the time-out of this call passed · disconnected: the call belonged to a
 * connection that is gone · outcome-unknown: the daemon may or may not have carried it out, and too much time has
 * passed to ask · not-held: this client holds no lease of the task · protocol: the other side does not speak it.
 */
export type ClientErrorCode =
  | "closed"
  | "timeout"
  | "disconnected"
  | "outcome-unknown"
  | "not-held"
  | "protocol";

export class ClientError extends Error {
  override name = "ClientError";
  constructor(
    readonly code: ClientErrorCode,
    message: string,
  ) {
    super(message);
  }
}

/** Whether the daemon refused it under this code. */
export const isRefused = (error: unknown, code: ErrorCode): error is CortexError =>
  error instanceof CortexError && error.code === code;
export const isClosed = (error: unknown): boolean => error instanceof ClientError && error.code === "closed";

/** The answer, or null where the daemon refuses it under this code: then nothing is wrong. */
export async function orNull<T>(answer: Promise<T>, code: ErrorCode): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (isRefused(error, code)) return null;
    throw error;
  }
}
