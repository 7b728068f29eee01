/**
 * The short way to be a worker: a queue, a handler, and the rest is done. It runs as many handlers at once as it
 * was told, reports how each ended, tries again what the daemon could not take, and leaves in good order. A lost
 * lease is never an error of the process: its handler's signal is aborted and the client tells "task_aborted".
 */
import { limits } from "../src/wire/limits.ts";
import type { LeaseView, Task, TaskError, TaskSubmitted } from "../src/wire/tasks.ts";
import { type ClientOptions, CoordinationClient } from "./client.ts";
import { randomId } from "./connection.ts";
import { ClientError, CortexError, isClosed } from "./errors.ts";
import type { Fenced } from "./fences.ts";
import { machine } from "./transport.ts";
import type { Handled } from "./types.ts";
import { type ErrorRules, isFinalError, Verdict } from "./verdicts.ts";
import { type Middleware, type Work, workOf } from "./work.ts";
import {
  type AssignedTask,
  type Child,
  type Dependencies,
  type FailOptions,
  isLeaseLost,
} from "./workers.ts";

export type Context = {
  task: Task;
  /** Aborts when the task is cancelled or timed out, its lease is lost, or the worker was stopped and is out of time. */
  signal: AbortSignal;
  /** The lease as it stood when the handler began. */
  lease: LeaseView;
  /** Shown to onlookers; only the newest value is kept. */
  progress(value: unknown): void;
  /** Moves the lease's deadline. */
  extend(leaseMs?: number): Promise<LeaseView>;
  /** What became of the tasks that this one waited for, by `ref` or id; of its children too, when it runs again. */
  dependencies(): Promise<Dependencies>;
  /** Submits children, all or none. Return `AfterChildren()` then: the task runs again when they are done. */
  addChildren(children: readonly Child[]): Promise<TaskSubmitted[]>;
  /** Adds a line to the task's log: texts, errors with their stacks, all else as JSON. */
  log(...parts: unknown[]): void;
  /** A client whose changes happen only while this task's lease stands; else they reject with `fence-lost`. */
  client: Fenced;
  /** Starts no more tasks of this one's group, or of its queue if it has none, for so long: for a 429. */
  pause(forMs: number, reason?: string): Promise<void>;
};

/**
 * What it returns is the task's result; what it throws fails the attempt. An error with `final: true` is not tried
 * again, one with `retryInMs` after that long, one with `retryAt` (ms since 1970) then. A verdict (`Snooze`, `Cancel`,
 * `Discard`, `Retry`, `AfterChildren`) may be returned or thrown.
 */
export type Handler<P = unknown, R = unknown> = (
  task: Task & { payload: P },
  context: Context,
) => R | Promise<R>;

export type RunOptions = Omit<ClientOptions, "queues" | "capacity"> &
  ErrorRules & {
    /** Handlers at once. Default 1. */
    concurrency?: number;
    /** The types the handler knows; a task of another type fails its attempt. Default: all. */
    types?: readonly string[];
    /** Runs around every handler; of several the first is the outermost. */
    use?: Middleware | readonly Middleware[];
    /** Stops the worker. */
    signal?: AbortSignal;
  };

export type StopOptions = {
  /** How long running handlers may still take before they are aborted and their tasks released. Default 30,000. */
  graceMs?: number;
};

/** How long leaving may take once the handlers have ended. */
const leaveMs = 5000;

export class RunningWorker {
  readonly client: CoordinationClient;
  readonly workerId: string;
  /** Resolves when the worker has stopped; rejects when the daemon will have it no longer. */
  readonly done: Promise<void>;
  readonly #work: Work;
  readonly #rules: ErrorRules;
  readonly #running = new Set<AssignedTask>();
  #stopping: Promise<void> | null = null;
  #drained: (() => void) | null = null;
  #end!: { resolve(): void; reject(error: Error): void };

  constructor(queue: string | string[], handler: Handler<never> | readonly Handled[], options: RunOptions) {
    const { concurrency = 1, types, use = [], finalErrors, retryErrors, signal: _, ...rest } = options;
    const { environment = machine } = options;
    this.#rules = { finalErrors, retryErrors };
    this.workerId = options.workerId ?? `worker-${randomId(environment).slice(0, 12)}`;
    this.#work = workOf(handler, { concurrency, use, types }, environment);
    this.client = new CoordinationClient({
      ...rest,
      workerId: this.workerId,
      queues: typeof queue === "string" ? [queue] : queue,
      capacity: this.#work.capacity,
    });
    this.done = new Promise((resolve, reject) => {
      this.#end = { resolve, reject };
    });
    this.client.on("task_assigned", (held) => this.#assigned(held));
    this.client.on("closed", ({ error }) => {
      if (this.#stopping === null) this.#end.reject(error);
    });
  }

  /** Tasks whose handler runs, or whose end is being reported. */
  get runningCount(): number {
    return this.#running.size;
  }

  /** Takes no new tasks, lets running handlers end, gives back what is left, and leaves. Twice is fine. */
  stop(options: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(options);
    return this.#stopping;
  }

  async #stop({ graceMs = 30_000 }: StopOptions): Promise<void> {
    const { client } = this;
    client.credit(0);
    this.#work.hurry();
    if (this.#running.size > 0) {
      let timer: unknown = null;
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
        timer = client.environment.setTimer(graceMs, resolve);
      });
      client.environment.clearTimer(timer);
    }
    for (const held of this.#running) {
      this.#giveBack(held);
      held.abort("released", "the worker stopped");
    }
    try {
      await client.unregister({ timeoutMs: leaveMs });
    } catch {
      // Out of reach: the leases run out by themselves, which is what they are for.
    }
    client.close();
    this.#end.resolve();
  }

  #assigned(held: AssignedTask): void {
    if (this.#stopping !== null) this.#giveBack(held);
    else {
      this.#running.add(held);
      void this.#run(held).finally(() => {
        this.#running.delete(held);
        if (this.#running.size === 0) this.#drained?.();
      });
    }
  }

  #giveBack(held: AssignedTask): void {
    // Unregistering gives back what this could not.
    held.release({ timeoutMs: leaveMs }).catch(() => {});
  }

  async #run(held: AssignedTask): Promise<void> {
    let result: unknown;
    try {
      const { types, handler } = this.#work;
      if (types !== null && !types.has(held.type)) throw unknownType(held.type);
      result = await handler(held.task as never, {
        task: held.task,
        signal: held.signal,
        lease: held.lease,
        get client() {
          return held.fenced;
        },
        progress: (value) => held.progress(value),
        extend: (leaseMs) => held.extend(leaseMs),
        dependencies: () => held.dependencies(),
        addChildren: (children) => held.addChildren(children),
        pause: (forMs, reason) => held.pause(forMs, reason),
        log: (...parts) => held.log(...parts),
      });
      if (result instanceof Verdict) throw result;
    } catch (error) {
      if (held.workable) await this.#fail(held, error, failOptions(error, this.#rules));
      return;
    }
    if (!held.workable) return;
    try {
      await this.#settle(held, () => held.complete(result));
    } catch (refusal) {
      // A result that is no JSON, or too large, would be the same again.
      await this.#fail(held, refusal, { final: true });
    }
  }

  async #fail(held: AssignedTask, error: unknown, options: FailOptions): Promise<void> {
    try {
      await this.#settle(held, () =>
        error instanceof Verdict ? error.carryOut(held) : held.fail(describe(error), options),
      );
    } catch (refusal) {
      this.client.tell(refusal);
      this.#giveBack(held);
    }
  }

  /** Reports an end until the daemon has taken it; what it will never take is thrown. */
  async #settle(held: AssignedTask, report: () => Promise<unknown>): Promise<void> {
    for (let waitMs = 100; ; waitMs = Math.min(2 * waitMs, 10_000)) {
      try {
        await report();
        return;
      } catch (error) {
        if (isLeaseLost(error) || isClosed(error)) return;
        const refusal = error instanceof CortexError && error.retryable;
        const unknown = error instanceof ClientError && error.code === "outcome-unknown";
        if (!refusal && !unknown) throw error;
        const { environment } = this.client;
        const afterMs = (refusal && error.retryAfterMs) || waitMs * (0.5 + environment.random() / 2);
        await new Promise<void>((resolve) => environment.setTimer(afterMs, resolve));
        if (!held.workable) return;
      }
    }
  }
}

/**
 * Starts a worker; resolves once it is registered. It has one handler for all tasks, or one for each type:
 * `worker("mail", [send.handle(…), bounce.handle(…)])`.
 */
export async function worker<P = unknown, R = unknown>(
  queue: string | string[],
  handler: Handler<P, R> | readonly Handled[],
  options: RunOptions = {},
): Promise<RunningWorker> {
  const running = new RunningWorker(queue, handler as Handler<never> | readonly Handled[], options);
  const { signal } = options;
  try {
    await running.client.connect({ signal });
  } catch (error) {
    // The caller hears of it here; `done` need not tell it again.
    running.done.catch(() => {});
    throw error;
  }
  if (signal?.aborted) await running.stop();
  else signal?.addEventListener("abort", () => void running.stop(), { once: true });
  return running;
}

const unknownType = (type: string) =>
  Object.assign(new Error(`this worker has no handler for type ${type}`), { code: "unknown-type" });

const durationOf = (value: unknown) =>
  typeof value === "number" && value >= 0 ? Math.min(Math.ceil(value), limits.durationMsMax) : undefined;

const momentOf = (value: unknown) =>
  typeof value === "number" && value >= 1 && value <= limits.momentMax ? Math.ceil(value) : undefined;

/** What an error says of itself goes before what its class says. */
function failOptions(error: unknown, rules: ErrorRules): FailOptions {
  if (typeof error !== "object" || error === null) return {};
  const said = error as { final?: unknown; retryInMs?: unknown; retryAt?: unknown };
  const retryInMs = durationOf(said.retryInMs);
  const retryAt = retryInMs === undefined ? momentOf(said.retryAt) : undefined;
  const isNamed = retryInMs !== undefined || retryAt !== undefined || said.final === false;
  const isFinal = said.final === true || (!isNamed && isFinalError(error, rules));
  return { final: isFinal ? true : undefined, retryInMs, retryAt };
}

/** What was thrown, within the limits of the wire. */
function describe(error: unknown): TaskError {
  if (!(error instanceof Error)) return { message: cut(String(error), limits.errorMessageLengthMax) };
  const { code } = error as { code?: unknown };
  const described: TaskError = { message: cut(error.message || error.name, limits.errorMessageLengthMax) };
  if (typeof code === "string") described.code = cut(code, limits.nameLengthMax);
  if (error.stack !== undefined) described.stack = cut(error.stack, limits.errorStackLengthMax);
  return described;
}

const cut = (text: string, length: number) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
