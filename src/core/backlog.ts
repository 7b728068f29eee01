/**
 * Backlogs: how many tasks of a queue may wait (ready or delayed), and what happens beyond. Looked at when tasks are
 * submitted; a task that comes back to its queue is never dropped for it. For the policies that drop the oldest, those
 * that wait are kept in the order of submission, once for the queue or for each group; a queue without such a policy
 * keeps nothing. What is dropped is cancelled, with the reason.
 */
import { Line } from "../lib/line.ts";
import type { Coordinator } from "./coordinator.ts";
import { type Refusal, refuse } from "./result.ts";
import { specOrder, type TaskSpec } from "./tasks.ts";

/** Dropped at most with one submitted task: a limit that was lowered far is reached step by step. */
const dropsPerTask = 100;

/** The tasks of one queue that wait, where the oldest of them may be dropped. */
export class Waiting {
  readonly #lines = new Map<string, Line<TaskSpec>>();

  constructor(private readonly byGroup: boolean) {}

  add(spec: TaskSpec): void {
    const key = this.#key(spec);
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = new Line<TaskSpec>(specOrder);
      this.#lines.set(key, line);
    }
    line.add(spec);
  }

  remove(spec: TaskSpec): void {
    const key = this.#key(spec);
    const line = this.#lines.get(key) as Line<TaskSpec>;
    line.remove(spec);
    if (line.size === 0) this.#lines.delete(key);
  }

  /** Those that stand with the task: the queue's, or its group's. */
  with(spec: TaskSpec): Line<TaskSpec> | undefined {
    return this.#lines.get(this.#key(spec));
  }

  /** For checks. */
  specs(): TaskSpec[] {
    return [...this.#lines.values()].flatMap((line) => line.toArray());
  }

  #key({ extras: { group } }: TaskSpec): string {
    return this.byGroup ? (group ?? "") : "";
  }
}

/** Whether `count` more tasks may wait in the queue, and the refusal if not. */
export function refuseBacklog(core: Coordinator, queue: string, count: number): Refusal | null {
  const backlog = core.flow.known(queue)?.settings?.backlog;
  if (backlog?.policy !== "refuse") return null;
  const waiting = core.queues.waiting(queue);
  if (waiting + count <= backlog.max) return null;
  const more = count === 1 ? "" : ` and ${count} more would`;
  return refuse(
    "backlog-full",
    `${waiting} tasks wait in queue ${queue}${more}; the limit is ${backlog.max}`,
    {
      retryAfterMs: 1000,
    },
  );
}

/** Whether a task that is submitted now is dropped at once. */
export function dropsNewest(core: Coordinator, queue: string): boolean {
  const backlog = core.flow.known(queue)?.settings?.backlog;
  return backlog?.policy === "drop-newest" && core.queues.waiting(queue) >= backlog.max;
}

const none: readonly TaskSpec[] = [];

/** The tasks that are dropped because this one was submitted: the oldest beyond what may wait. */
export function dropped(core: Coordinator, spec: TaskSpec): Iterable<TaskSpec> {
  const flow = core.flow.known(spec.options.queue);
  const max = flow?.settings?.backlog?.max;
  const line = flow?.waiting?.with(spec);
  return max === undefined || line === undefined || line.size <= max ? none : oldest(line, max);
}

/** The caller drops each before it asks for the next. */
function* oldest(line: Line<TaskSpec>, max: number): Iterable<TaskSpec> {
  for (let count = 0; count < dropsPerTask && line.size > max; count++) yield line.first() as TaskSpec;
}

export const droppedReason = (queue: string): string => `dropped: the backlog of queue ${queue} is full`;
