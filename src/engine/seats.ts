/**
 * Seats: which sink a worker's tasks are pushed to, and how many of them at once. A worker has one seat, a sink any
 * number of workers. A seat is no state and is in no log; but entries take seats away, and while such an entry may
 * be undone, the seat as it was before is remembered here, so that it can be given back.
 */
import type { Sink } from "./types.ts";

export type Seat = { readonly sink: Sink; readonly credit: number };

type Earlier = { readonly revision: number; readonly workerId: string; seat: Seat | null };

const nobody: ReadonlySet<string> = new Set();

export class Seats {
  readonly #byWorker = new Map<string, Seat>();
  readonly #workersAt = new Map<Sink, Set<string>>();
  /** Seats as they were before entries that are not durable yet, oldest first. */
  #earlier: Earlier[] = [];

  sinkOf(workerId: string): Sink | undefined {
    return this.#byWorker.get(workerId)?.sink;
  }

  workersAt(sink: Sink): ReadonlySet<string> {
    return this.#workersAt.get(sink) ?? nobody;
  }

  /** The worker must have no seat at another sink. */
  take(workerId: string, seat: Seat): void {
    this.#byWorker.set(workerId, seat);
    const workers = this.#workersAt.get(seat.sink);
    if (workers === undefined) this.#workersAt.set(seat.sink, new Set([workerId]));
    else workers.add(workerId);
  }

  /** Undoes `take`. */
  free(workerId: string, sink: Sink): void {
    this.#byWorker.delete(workerId);
    const workers = this.#workersAt.get(sink) as Set<string>;
    workers.delete(workerId);
    if (workers.size === 0) this.#workersAt.delete(sink);
  }

  /** Remembers the worker's seat as it is before the entry of this revision takes it away. */
  remember(revision: number, workerId: string): void {
    this.#earlier.push({ revision, workerId, seat: this.#byWorker.get(workerId) ?? null });
  }

  /** Entries up to `revision` are never undone. */
  settle(revision: number): void {
    if (this.#earlier.length > 0) this.#earlier = this.#earlier.filter((one) => one.revision > revision);
  }

  /** The sink is gone: no undo may seat anyone there. */
  forget(sink: Sink): void {
    for (const one of this.#earlier) if (one.seat?.sink === sink) one.seat = null;
  }

  /** What to give back after an undo, newest first; null: the worker had no seat. */
  undone(): Earlier[] {
    return this.#earlier.splice(0).reverse();
  }
}
