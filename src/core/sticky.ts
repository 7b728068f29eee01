/**
 * Sticky names: which worker had the last task of a name, and which tasks wait for it. A task looks for its worker
 * when its turn comes: then it goes to that worker's own lane, and after `stickyMs` back to where any worker may take
 * it. Who had the last is read off the leases, so a restart finds it in the tasks that are kept; how long a task has
 * waited is volatile.
 */
import { IndexedHeap } from "../lib/heap.ts";
import type { Lane } from "./lanes.ts";
import { specOrder, type TaskRecord, type TaskSpec } from "./tasks.ts";

/** Names that are remembered: so many of the newest at least, and at most twice as many. */
const namesMax = 65_536;

type Holder = { workerId: string; token: number };

/** A task that was sent to its worker. */
export type Stuck = {
  readonly spec: TaskSpec;
  /** Where it came from. */
  readonly from: Lane;
  /** Where it waits, and until when if it is not there that it came from; on the lease clock. */
  lane: Lane;
  readonly until: number;
};

export class Sticky {
  #names = new Map<string, Holder>();
  #older = new Map<string, Holder>();
  readonly #stuck = new Map<TaskSpec, Stuck>();
  /** Those that are away, by when they go back: one that ended is held no longer for its time. */
  readonly ends = new IndexedHeap<Stuck>(
    (a, b) => a.until < b.until || (a.until === b.until && specOrder(a.spec, b.spec) < 0),
  );

  /** When the first of them goes back, on the lease clock; Infinity: none is away. */
  get nextAt(): number {
    return this.ends.top?.until ?? Number.POSITIVE_INFINITY;
  }

  /** Of a task that is or was leased. */
  leased({ spec, lease }: TaskRecord): void {
    const { sticky } = spec.extras;
    if (sticky === null || lease === null) return;
    const { token, workerId } = lease;
    const known = this.#holderOf(sticky);
    if (known !== undefined && known.token > token) return;
    if (this.#names.size >= namesMax) {
      this.#older = this.#names;
      this.#names = new Map();
    }
    this.#names.set(sticky, { workerId, token });
  }

  #holderOf(name: string): Holder | undefined {
    return this.#names.get(name) ?? this.#older.get(name);
  }

  /** The worker that had the last task of this name. */
  workerOf(name: string): string | undefined {
    return this.#holderOf(name)?.workerId;
  }

  of(spec: TaskSpec): Stuck | undefined {
    return this.#stuck.get(spec);
  }

  send(spec: TaskSpec, from: Lane, lane: Lane, until: number): void {
    const stuck: Stuck = { spec, from, lane, until };
    this.#stuck.set(spec, stuck);
    this.ends.update(stuck);
    from.awayCount += 1;
  }

  /** It waits for its worker no longer, wherever it goes; it is not sent a second time while it waits. */
  back(stuck: Stuck): void {
    this.ends.delete(stuck);
    stuck.lane = stuck.from;
    stuck.from.awayCount -= 1;
  }

  /** It does not wait any more. */
  left(stuck: Stuck): void {
    this.#stuck.delete(stuck.spec);
    this.ends.delete(stuck);
    if (stuck.lane !== stuck.from) stuck.from.awayCount -= 1;
  }
}
