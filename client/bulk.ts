/**
 * Many tasks at once, as many as wanted: each call of the daemon is one transaction of a bounded number of them, so
 * these go slice by slice and say how far they are. What was done stays done when a later slice is refused or the
 * caller stops; whoever wants all or nothing makes one call with `atomic`.
 */
import type { TaskRefused, TasksChanged } from "../src/wire/bulk.ts";
import { limits } from "../src/wire/limits.ts";
import type { Input } from "../src/wire/operations.ts";
import type { TaskFilter, TaskSubmit, TaskSubmitted } from "../src/wire/tasks.ts";
import type { CallOptions } from "./connection.ts";
import { slicesOf } from "./iterate.ts";
import type { Caller } from "./tasks.ts";

/** Which tasks: by their ids, any number of them, or those that fit a filter. */
export type Choice = { taskIds: readonly string[] } | { filter: TaskFilter };
/** How many tasks stand as was asked, and which do not. */
export type Changed = { count: number; refused: TaskRefused[] };
export type BulkOptions = CallOptions & {
  /** Change nothing, and answer what would have been. */
  dryRun?: boolean | undefined;
  /** Tasks a transaction. Default: as many as one may have. */
  sliceMax?: number | undefined;
  /** Hears how much is done, after each slice. */
  progress?: ((done: { count: number; refusedCount: number }) => void) | undefined;
};

type Slice = { taskIds: string[] } | { filter: TaskFilter; limit: number; cursor?: string };

/** Carries one change out on all that are chosen. */
export async function inSlices(
  choice: Choice,
  call: (slice: Slice) => Promise<TasksChanged>,
  { sliceMax = limits.tasksPerChangeMax, progress, signal }: BulkOptions = {},
): Promise<Changed> {
  const done: Changed = { count: 0, refused: [] };
  const carryOut = async (slice: Slice) => {
    signal?.throwIfAborted();
    const { count, refused, cursor } = await call(slice);
    done.count += count;
    for (const one of refused) done.refused.push(one);
    progress?.({ count: done.count, refusedCount: done.refused.length });
    return cursor;
  };
  if ("taskIds" in choice) {
    for (const taskIds of slicesOf(choice.taskIds, sliceMax)) await carryOut({ taskIds });
    return done;
  }
  const { filter } = choice;
  let cursor = await carryOut({ filter, limit: sliceMax });
  while (cursor !== null) cursor = await carryOut({ filter, limit: sliceMax, cursor });
  return done;
}

/** A slice of a submit ends here, well under what a frame holds; a larger task makes one of its own. */
const submitUnitsMax = limits.frameBytesMax / 4;

export class Bulk {
  readonly #caller: Caller;
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Submits all, in their order; what it resolves with stands in that order too. */
  async submit(
    tasks: Iterable<TaskSubmit> | AsyncIterable<TaskSubmit>,
    { sliceMax = limits.tasksPerSubmitMax, progress, ...options }: Omit<BulkOptions, "dryRun"> = {},
  ): Promise<TaskSubmitted[]> {
    const submitted: TaskSubmitted[] = [];
    let slice: TaskSubmit[] = [];
    let units = 0;
    const send = async () => {
      if (slice.length === 0) return;
      for (const one of (await this.#caller.call("task.submit", slice, options)) as TaskSubmitted[])
        submitted.push(one);
      progress?.({ count: submitted.length, refusedCount: 0 });
      slice = [];
      units = 0;
    };
    for await (const task of tasks) {
      const size = JSON.stringify(task).length;
      if (slice.length === sliceMax || units + size > submitUnitsMax) await send();
      slice.push(task);
      units += size;
    }
    await send();
    return submitted;
  }

  cancel(choice: Choice, { reason, ...options }: BulkOptions & { reason?: string } = {}): Promise<Changed> {
    return this.#change("task.cancelMany", choice, reason === undefined ? {} : { reason }, options);
  }
  /** Queues failed, dead and cancelled tasks again, of those in memory: one in the archive is retried alone. */
  retry(choice: Choice, options?: BulkOptions): Promise<Changed> {
    return this.#change("task.retryMany", choice, {}, options);
  }
  /** Deletes tasks that have ended or wait, for good. */
  delete(choice: Choice, options?: BulkOptions): Promise<Changed> {
    return this.#change("task.deleteMany", choice, {}, options);
  }
  /** Gives tasks that wait another queue or priority. */
  move(
    choice: Choice,
    to: Pick<Input<"task.moveMany">, "queue" | "priority">,
    options?: BulkOptions,
  ): Promise<Changed> {
    return this.#change("task.moveMany", choice, to, options);
  }

  /** Records the results of tasks that a worker holds. */
  async complete(
    workerId: string,
    tasks: Input<"task.completeMany">["tasks"],
    { sliceMax = limits.tasksPerChangeMax, progress, ...options }: Omit<BulkOptions, "dryRun"> = {},
  ): Promise<Changed> {
    const done: Changed = { count: 0, refused: [] };
    for (const slice of slicesOf(tasks, sliceMax)) {
      const { count, refused } = await this.#caller.call(
        "task.completeMany",
        { workerId, tasks: slice },
        options,
      );
      done.count += count;
      for (const one of refused) done.refused.push(one);
      progress?.({ count: done.count, refusedCount: done.refused.length });
    }
    return done;
  }

  #change<N extends "task.cancelMany" | "task.retryMany" | "task.deleteMany" | "task.moveMany">(
    op: N,
    choice: Choice,
    how: Omit<Input<N>, "taskIds" | "filter">,
    options: BulkOptions = {},
  ): Promise<Changed> {
    const { dryRun, sliceMax, progress, ...call } = options;
    const dry = dryRun === true ? { dryRun } : {};
    return inSlices(
      choice,
      (slice) =>
        this.#caller.call(op, { ...how, ...dry, ...slice } as Input<N>, call) as Promise<TasksChanged>,
      options,
    );
  }
}
