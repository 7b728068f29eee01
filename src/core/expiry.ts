/**
 * Tasks that end by the wall clock: those nobody began in their time to live, and those not ended by their deadline,
 * whatever they are doing. Only tasks that ask for either stand here, each once, by when it ends.
 */
import { IndexedHeap } from "../lib/heap.ts";
import type { Coordinator } from "./coordinator.ts";
import { expireTask, isFinal, readyAt, specOrder, type TaskRecord, type TaskSpec } from "./tasks.ts";

class Place {
  at = 0;

  constructor(readonly spec: TaskSpec) {}
}

/** When it ends if no worker has begun it; 0: it may wait for ever, or was begun. */
export function expiresAt({ spec, state, lease, outcome }: TaskRecord): number {
  const { ttlMs } = spec.options;
  // One that expired and was queued again by hand has its error, and waits as long as it takes.
  if (ttlMs === 0 || state === "blocked" || lease !== null || outcome.error !== null) return 0;
  return Math.max(readyAt(spec), outcome.readyAt) + ttlMs;
}

/** When the task ends by the clock; Infinity: never, or it has ended. */
export function endsAt(record: TaskRecord): number {
  if (isFinal(record.state)) return Number.POSITIVE_INFINITY;
  const never = Number.POSITIVE_INFINITY;
  return Math.min(expiresAt(record) || never, record.spec.extras.deadlineAt || never);
}

const asks = ({ options, extras }: TaskSpec): boolean => options.ttlMs !== 0 || extras.deadlineAt !== 0;

export class Expiry {
  readonly #places = new Map<string, Place>();
  readonly #heap = new IndexedHeap<Place>(
    (a, b) => a.at < b.at || (a.at === b.at && specOrder(a.spec, b.spec) < 0),
  );

  taskChanged(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    const { spec } = (after ?? before) as TaskRecord;
    // A spec that asks for neither may have taken the place of one that did.
    if (!asks(spec) && (before === undefined || before.spec === spec || !asks(before.spec))) return;
    const at = after === undefined ? Number.POSITIVE_INFINITY : endsAt(after);
    let place = this.#places.get(spec.id);
    if (at === Number.POSITIVE_INFINITY) {
      if (place === undefined) return;
      this.#places.delete(spec.id);
      this.#heap.delete(place);
      return;
    }
    if (place === undefined) {
      place = new Place(spec);
      this.#places.set(spec.id, place);
    } else if (place.at === at) return;
    place.at = at;
    this.#heap.update(place);
  }

  get nextAt(): number {
    return this.#heap.top?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Inside a transaction: ends the first of them. */
  endFirst(core: Coordinator): void {
    const { id } = (this.#heap.top as Place).spec;
    expireTask(core, core.tasks.get(id) as TaskRecord);
  }

  /** For checks. */
  placeOf(id: string): number | undefined {
    return this.#places.get(id)?.at;
  }
  get size(): number {
    return this.#heap.size;
  }
}
