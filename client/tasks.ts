/**
 * Tasks, as a producer sees them: `Submitted` is what `submit` gives back, `TaskHandle` is one task by its id.
 * Waiting for a result asks the daemon to wait, again and again until the task is final; nothing is polled.
 */
import type { DependencyRow } from "../src/wire/graphs.ts";
import { limits } from "../src/wire/limits.ts";
import type { Input, Output, StateOperationName } from "../src/wire/operations.ts";
import type { Task, TaskShown, TaskStanding, TaskSubmit, TaskSubmitted } from "../src/wire/tasks.ts";
import type { TaskExplained } from "../src/wire/why.ts";
import type { CallOptions } from "./connection.ts";
import { ClientError, TaskFailed } from "./errors.ts";
import { pagesOf } from "./iterate.ts";
import { type LogLine, type LogOptions, readLog } from "./logs.ts";
import type { Environment } from "./transport.ts";

/** All that the files of the primitives need of a client. */
export type Caller = {
  call<N extends StateOperationName>(op: N, input: Input<N>, options?: CallOptions): Promise<Output<N>>;
  readonly environment: Environment;
  /** How long one request waits for a result before it is asked again. */
  readonly waitMs: number;
};

/** `timeoutMs` is for the whole wait, however many requests it takes. */
export type ResultOptions = CallOptions;

const final: Record<Task["state"], boolean> = {
  scheduled: false,
  blocked: false,
  queued: false,
  running: false,
  completed: true,
  failed: true,
  dead: true,
  cancelled: true,
};

/** The task once it is in a final state. */
export async function finished(caller: Caller, taskId: string, options: ResultOptions = {}): Promise<Task> {
  const { signal, timeoutMs } = options;
  const endAt = timeoutMs === undefined ? Number.POSITIVE_INFINITY : caller.environment.now() + timeoutMs;
  const late = () => new ClientError("timeout", `task ${taskId} was not finished in ${timeoutMs} ms`);
  for (;;) {
    const leftMs = endAt - caller.environment.now();
    if (leftMs <= 0) throw late();
    const input = { taskId, waitMs: Math.ceil(Math.min(leftMs, caller.waitMs)) };
    const asked = { signal, timeoutMs: timeoutMs === undefined ? undefined : leftMs };
    const task = await caller.call("task.get", input, asked).catch((error) => {
      throw error instanceof ClientError && error.code === "timeout" ? late() : error;
    });
    if (final[task.state]) return task;
  }
}

/** What the task's worker returned. */
export async function resultOf<R>(caller: Caller, taskId: string, options?: ResultOptions): Promise<R> {
  const task = await finished(caller, taskId, options);
  if (task.state !== "completed") throw new TaskFailed(task);
  return task.result as R;
}

/** All of them, page by page. */
export async function* dependenciesOf(
  caller: Caller,
  taskId: string,
  options?: CallOptions,
): AsyncIterable<DependencyRow> {
  const input = { taskId, limit: limits.pageMax };
  const pages = pagesOf((from) => caller.call("task.dependencies", { ...input, ...from }, options));
  for await (const { dependencies } of pages) yield* dependencies;
}

/** `timeoutMs` is for the whole request: waiting, running and being tried again. */
export type TaskRequestOptions = CallOptions & {
  queue?: string;
  submit?: Omit<TaskSubmit, "type" | "payload">;
};

/**
 * A task as a request: its result, or its error. Whoever waits no more has no use for it, so it is then cancelled, and
 * not begun where this side cannot say so.
 */
export async function requested<R>(
  caller: Caller,
  task: Pick<TaskSubmit, "type" | "payload">,
  { queue, submit, signal, timeoutMs }: TaskRequestOptions,
): Promise<R> {
  const input: TaskSubmit = { ...submit, ...task };
  if (queue !== undefined) input.queue = queue;
  if (timeoutMs !== undefined) input.ttlMs ??= Math.max(1, Math.ceil(timeoutMs));
  const endAt = timeoutMs === undefined ? undefined : caller.environment.now() + timeoutMs;
  const made = (await caller.call("task.submit", input, { signal, timeoutMs })) as TaskSubmitted;
  const leftMs = endAt === undefined ? undefined : Math.max(0, Math.ceil(endAt - caller.environment.now()));
  try {
    return await resultOf<R>(caller, made.id, { signal, timeoutMs: leftMs });
  } catch (error) {
    if (!(error instanceof TaskFailed) && !made.duplicate)
      caller.call("task.cancel", { taskId: made.id, reason: "nobody waits for it any more" }).catch(() => {});
    throw error;
  }
}

/** One task by its id. */
export class TaskHandle {
  readonly #caller: Caller;
  constructor(
    caller: Caller,
    readonly id: string,
  ) {
    this.#caller = caller;
  }

  /** The task as it stands, and what its attempts failed of. */
  get(options?: CallOptions): Promise<TaskShown> {
    return this.#caller.call("task.get", { taskId: this.id }, options);
  }

  /** With `cascade`, also what it waits for and nothing else does. */
  cancel(
    reason?: string,
    { cascade, ...options }: CallOptions & { cascade?: boolean } = {},
  ): Promise<TaskStanding> {
    const input: Input<"task.cancel"> = { taskId: this.id };
    if (reason !== undefined) input.reason = reason;
    if (cascade !== undefined) input.cascade = cascade;
    return this.#caller.call("task.cancel", input, options);
  }

  /** Queues a failed, dead or cancelled task again; with `cascade`, also what ended because of it. */
  retry({ cascade, ...options }: CallOptions & { cascade?: boolean } = {}): Promise<TaskStanding> {
    const input: Input<"task.retry"> = { taskId: this.id };
    if (cascade !== undefined) input.cascade = cascade;
    return this.#caller.call("task.retry", input, options);
  }

  /** The lines of its log; with `follow`, until it has ended. */
  logs(options: LogOptions & CallOptions = {}): AsyncIterable<LogLine> {
    const { from, follow, ...call } = options;
    const read = (next: number, wait: boolean) => {
      const input: Input<"task.logs"> = { taskId: this.id, from: next };
      if (wait) input.waitMs = this.#caller.waitMs;
      return this.#caller.call("task.logs", input, call);
    };
    return readLog(read, async () => final[(await this.get(call)).state], { from, follow });
  }

  /** Says that an open task gets no more children. */
  close(options?: CallOptions): Promise<TaskStanding> {
    return this.#caller.call("task.close", { taskId: this.id }, options);
  }

  /** Why it is not running. */
  explain(options?: CallOptions): Promise<TaskExplained> {
    return this.#caller.call("task.explain", { taskId: this.id }, options);
  }

  /** What it waits for or has waited for, children included. */
  dependencies(options?: CallOptions): AsyncIterable<DependencyRow> {
    return dependenciesOf(this.#caller, this.id, options);
  }

  /** Deletes it for good; it has ended, or waits. */
  delete(options?: CallOptions): Promise<Output<"task.delete">> {
    return this.#caller.call("task.delete", { taskId: this.id }, options);
  }

  /** Gives it another queue or priority while it waits. */
  move(to: Pick<Input<"task.move">, "queue" | "priority">, options?: CallOptions): Promise<TaskStanding> {
    return this.#caller.call("task.move", { ...to, taskId: this.id }, options);
  }

  finished(options?: ResultOptions): Promise<Task> {
    return finished(this.#caller, this.id, options);
  }

  /** Waits for the result; rejects with `TaskFailed` when the task ends without one. */
  result<R = unknown>(options?: ResultOptions): Promise<R> {
    return resultOf<R>(this.#caller, this.id, options);
  }
}

/** Await it for what the daemon answered; ask it for the result. */
export class Submitted<T = unknown> implements PromiseLike<TaskSubmitted> {
  readonly #caller: Caller;
  readonly #answer: Promise<TaskSubmitted>;
  readonly #read: (result: unknown) => T | Promise<T>;
  constructor(
    caller: Caller,
    answer: Promise<TaskSubmitted>,
    read: (result: unknown) => T | Promise<T> = (result) => result as T,
  ) {
    this.#caller = caller;
    this.#answer = answer;
    this.#read = read;
  }

  then<A = TaskSubmitted, B = never>(
    fulfilled?: ((answer: TaskSubmitted) => A | PromiseLike<A>) | null,
    rejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#answer.then(fulfilled, rejected);
  }

  /** Waits for the result; rejects with `TaskFailed` when the task ends without one. */
  async result<R = T>(options?: ResultOptions): Promise<R> {
    const { id } = await this.#answer;
    return (await this.#read(await resultOf(this.#caller, id, options))) as R;
  }
}

/** The same for an array of tasks, in its order. */
export class SubmittedAll implements PromiseLike<TaskSubmitted[]> {
  readonly #caller: Caller;
  readonly #answer: Promise<TaskSubmitted[]>;
  constructor(caller: Caller, answer: Promise<TaskSubmitted[]>) {
    this.#caller = caller;
    this.#answer = answer;
  }

  then<A = TaskSubmitted[], B = never>(
    fulfilled?: ((answer: TaskSubmitted[]) => A | PromiseLike<A>) | null,
    rejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#answer.then(fulfilled, rejected);
  }

  /** Waits for all results; rejects with the first task that ends without one. */
  async results<R = unknown>(options?: ResultOptions): Promise<R[]> {
    const tasks = await this.#answer;
    return Promise.all(tasks.map(({ id }) => resultOf<R>(this.#caller, id, options)));
  }
}

/** What `submit` gives back: as many as were given. */
export const submitted = (
  caller: Caller,
  input: Input<"task.submit">,
  answer: Promise<Output<"task.submit">>,
): Submitted | SubmittedAll =>
  Array.isArray(input)
    ? new SubmittedAll(caller, answer as Promise<TaskSubmitted[]>)
    : new Submitted(caller, answer as Promise<TaskSubmitted>);
