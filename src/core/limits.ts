/**
 * Limits on the state: how many unfinished tasks and how much memory. Derived from the tasks table record by
 * record, so that asking is O(1). What they refuse is refused before anything changed, with `busy` and a time.
 */
import type { Coordinator } from "./coordinator.ts";
import { type Refusal, refuse } from "./result.ts";
import type { Index } from "./store.ts";
import { isFinal, noOutcome, type Outcome, type TaskRecord } from "./tasks.ts";

/** What a task costs beside its texts: two records, its row, its places in the orders, what the collector lets grow (measured). */
const taskBytes = 500;

/** What a link costs: its record, its place at both ends, a name (a task with two of them was seen to take 1.5 KB in all). */
const linkBytes = 500;

const sizeOf = (record: TaskRecord): number =>
  taskBytes +
  record.spec.payload.length +
  linkBytes * (record.spec.links.after.length + (record.spec.links.parent === null ? 0 : 1)) +
  (record.outcome === noOutcome ? 0 : sizeOfOutcome(record.outcome));

const sizeOfOutcome = ({ result, progress, error }: Outcome): number =>
  (result?.length ?? 0) +
  (progress?.length ?? 0) +
  (error === null ? 0 : error.message.length + (error.stack?.length ?? 0));

/** The memory that all states of one process share: `memoryBytesMax` holds for their sum. */
export type MemoryBudget = { bytes: number };

export class Limits implements Index<TaskRecord> {
  /** An estimate of what the tasks, schedules, keys, locks, messages and answers of this state take in memory. */
  bytes = 0;
  /** Tasks that have not ended. */
  unfinished = 0;

  constructor(
    private readonly core: Coordinator,
    private readonly budget: MemoryBudget,
  ) {}

  change(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    let grown = 0;
    if (before !== undefined) {
      grown -= sizeOf(before);
      if (!isFinal(before.state)) this.unfinished -= 1;
    }
    if (after !== undefined) {
      grown += sizeOf(after);
      if (!isFinal(after.state)) this.unfinished += 1;
    }
    this.grow(grown);
  }

  /** Something else of this state takes so many bytes more. */
  grow(bytes: number): void {
    this.bytes += bytes;
    this.budget.bytes += bytes;
  }

  /** The state is gone, and takes nothing any more. */
  forget(): void {
    this.budget.bytes -= this.bytes;
    this.bytes = 0;
  }

  /** Whether `count` more tasks are refused, and how. */
  refuseSubmit(count: number): Refusal | null {
    const { queuedTasksMax } = this.core.config;
    if (this.unfinished + count > queuedTasksMax)
      return refuse("busy", `${this.unfinished} tasks have not ended; the limit is ${queuedTasksMax}`, {
        retryAfterMs: 1000,
      });
    return this.refuseMemory();
  }

  /** Whether anything more that takes memory is refused. */
  refuseMemory(): Refusal | null {
    const { memoryBytesMax } = this.core.config;
    if (this.budget.bytes < memoryBytesMax) return null;
    return refuse(
      "busy",
      `what is kept takes about ${this.budget.bytes} bytes of memory; the limit is ${memoryBytesMax}`,
      { retryAfterMs: 1000 },
    );
  }
}
