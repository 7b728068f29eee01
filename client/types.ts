/**
 * A type of tasks, said once: its name, what its payload and its result look like, and how its tasks are submitted.
 * Producers submit by it and workers handle by it, so that neither can misread the other. It owns no connection; what
 * is done with it is client.ts (submit), and work.ts (handle).
 */
import type { TaskSubmit } from "../src/wire/tasks.ts";
import type { BatchOptions } from "./batches.ts";
import { type Check, checkOf, type Given, type Made, type Schema } from "./schemas.ts";
import type { Context } from "./worker.ts";

/** How a task is submitted, beside what it is and what it carries. */
export type Submission = Omit<TaskSubmit, "type" | "payload">;
/** How tasks of a type are submitted unless a submit says otherwise. */
export type TypeOptions = Omit<
  Submission,
  "idempotencyKey" | "runAt" | "deadlineAt" | "ref" | "after" | "parent"
>;

/** What a task comes to: its result, or an Error, which is the same as one that is thrown. */
export type Outcome<R> = R | Error;
type Returned<T> = T | Promise<T>;

/** One task of a batch. */
export type BatchItem<P> = Context & { payload: P };

/** A type with what handles it: what `worker()` takes. */
export type Handled = {
  readonly type: TaskType<never, unknown, never, unknown>;
} & (
  | { readonly one: (payload: never, context: Context) => unknown; readonly batch: null }
  | { readonly many: (items: never) => unknown; readonly batch: BatchOptions }
);

/**
 * `PayloadGiven` is what a producer hands over, `Payload` what the handler is given; `ResultGiven` is what the handler
 * returns, `Result` what the producer gets. They differ where a schema makes something of what it is given.
 */
export class TaskType<
  PayloadGiven = unknown,
  Payload = PayloadGiven,
  ResultGiven = unknown,
  Result = ResultGiven,
> {
  /** Throw, or reject, with `Invalid`. */
  readonly checkPayload: (payload: unknown) => Payload | Promise<Payload>;
  readonly checkResult: (result: unknown) => Result | Promise<Result>;

  constructor(
    readonly name: string,
    readonly options: TypeOptions,
    payload: Schema | undefined,
    result: Schema | undefined,
  ) {
    this.checkPayload = checkOf(payload, "payload", name) as Check & TaskType<never, Payload>["checkPayload"];
    this.checkResult = checkOf(result, "result", name) as Check &
      TaskType<never, never, never, Result>["checkResult"];
  }

  /** The queue its tasks go to unless a submit says otherwise. */
  get queue(): string {
    return this.options.queue ?? "default";
  }

  /** A task of this type as `submit` takes it, to be one of many. Its payload is checked by the worker alone. */
  with(payload: PayloadGiven, submission: Submission = {}): TaskSubmit {
    return { ...this.options, ...submission, type: this.name, payload };
  }

  /** What a worker does with tasks of this type, one at a time. */
  handle(handler: (payload: Payload, context: Context) => Returned<Outcome<ResultGiven>>): Handled {
    return { type: this, one: handler, batch: null };
  }

  /** What a worker does with them when several are better done at once. An outcome for each, in their order. */
  handleBatch(
    batch: BatchOptions,
    handler: (items: readonly BatchItem<Payload>[]) => Returned<readonly Outcome<ResultGiven>[]>,
  ): Handled {
    return { type: this, many: handler, batch };
  }
}

/** A type of tasks with schemas for its payload and its result. */
export function task<P extends Schema | undefined = undefined, R extends Schema | undefined = undefined>(
  type: string,
  options: TypeOptions & { payload?: P; result?: R },
): TaskType<Given<P>, Made<P>, Given<R>, Made<R>>;
/** A type of tasks whose payload and result are typed and not checked. */
export function task<P = unknown, R = unknown>(type: string, options?: TypeOptions): TaskType<P, P, R, R>;
export function task(
  type: string,
  { payload, result, ...options }: TypeOptions & { payload?: Schema; result?: Schema } = {},
): TaskType {
  return new TaskType(type, options, payload, result);
}
