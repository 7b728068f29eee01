/**
 * What a worker does with a task: one handler, made of what `worker()` was given. From the outside in: the middleware,
 * in its order; the check of the payload; the handler, or the batch that the task joins; the check of the result. The
 * worker runs it and tells the daemon how it ended (worker.ts); it knows nothing of types, schemas and batches.
 */
import { limits } from "../src/wire/limits.ts";
import type { Task } from "../src/wire/tasks.ts";
import { Gathering, Turns } from "./batches.ts";
import type { Environment } from "./transport.ts";
import type { BatchItem, Handled } from "./types.ts";
import type { Context, Handler } from "./worker.ts";

/** What a task comes to: anything but nothing, so that a middleware that forgets to return it does not compile. */
export type TaskResult = NonNullable<unknown> | null;

/**
 * Runs around the handler of every task. `next()` goes on, to the next middleware and at last to the handler, and gives
 * what that returned or throws what it threw. What the middleware returns in turn is what the task comes to.
 */
export type Middleware = (
  task: Task,
  context: Context,
  next: () => Promise<TaskResult>,
) => Promise<TaskResult>;

export type Work = {
  handler: Handler<never>;
  /** The types it knows; null: all. */
  types: ReadonlySet<string> | null;
  /** How many tasks it has use for at once. */
  capacity: number;
  /** No more tasks will come. */
  hurry(): void;
};

export function workOf(
  given: Handler<never> | readonly Handled[],
  options: {
    concurrency: number;
    use: Middleware | readonly Middleware[];
    types: readonly string[] | undefined;
  },
  environment: Environment,
): Work {
  const { concurrency, use, types } = options;
  const around = typeof use === "function" ? [use] : use;
  if (typeof given === "function")
    return {
      handler: within(around, given),
      types: types === undefined ? null : new Set(types),
      capacity: concurrency,
      hurry: () => {},
    };
  if (!Array.isArray(given))
    throw new TypeError("a worker needs a handler: a function, or a list of those of its types");
  const sizes = given.map(({ batch }) => batch?.size ?? 1);
  const capacity = concurrency * Math.max(1, ...sizes);
  if (![concurrency, ...sizes].every((count) => Number.isInteger(count) && count >= 1))
    throw new RangeError("concurrency and the size of a batch are whole numbers, at least 1");
  if (capacity > limits.capacityMax)
    throw new RangeError(`concurrency times the largest batch is ${capacity}: at most ${limits.capacityMax}`);
  const turns = capacity === concurrency ? null : new Turns(concurrency);
  const gatherings: Gathering[] = [];
  const handlers = new Map<string, Handler>();
  for (const handled of given) {
    const { name } = handled.type;
    if (handlers.has(name)) throw new TypeError(`there are two handlers for type ${name}`);
    if (handled.batch === null) handlers.set(name, alone(handled, turns));
    else {
      const many = handled.many as (items: readonly BatchItem<unknown>[]) => unknown;
      const gathering = new Gathering(handled.batch, many, turns ?? new Turns(concurrency), environment);
      gatherings.push(gathering);
      handlers.set(
        name,
        checked(handled, (payload, context) => gathering.add({ ...context, payload })),
      );
    }
  }
  return {
    handler: within(around, (task, context) => handlers.get(task.type)!(task, context)),
    types: new Set(handlers.keys()),
    capacity,
    hurry: () => {
      for (const gathering of gatherings) gathering.hurry();
    },
  };
}

type Own = (payload: unknown, context: Context) => unknown;

/** One task at a time, in a turn of its own where batches take turns too. */
function alone(handled: Extract<Handled, { batch: null }>, turns: Turns | null): Handler {
  const one = handled.one as Own;
  if (turns === null) return checked(handled, one);
  return checked(handled, async (payload, context) => {
    await turns.take();
    try {
      context.signal.throwIfAborted();
      return await one(payload, context);
    } finally {
      turns.give();
    }
  });
}

function checked({ type }: Handled, own: Own): Handler {
  return async (task, context) => {
    const result = (await own(await type.checkPayload(task.payload), context)) ?? null;
    if (result instanceof Error) throw result;
    await type.checkResult(result);
    return result;
  };
}

/** The first is the outermost. */
function within(around: readonly Middleware[], handler: Handler<never>): Handler<never> {
  if (around.length === 0) return handler;
  return (task, context) => {
    const from = async (i: number): Promise<TaskResult> => {
      const middleware = around[i];
      if (middleware === undefined) return ((await handler(task as never, context)) as TaskResult) ?? null;
      let called = false;
      return middleware(task, context, () => {
        if (called) return Promise.reject(new Error("next() was called twice by one middleware"));
        called = true;
        return from(i + 1);
      });
    };
    return from(0);
  };
}
