/**
 * Owners: which keys, locks or subscriptions are a worker's. They go in the entry in which the worker does, so whoever is
 * not there can own nothing. Derived from their records; what is nobody's is not in here.
 */
import type { Coordinator } from "./coordinator.ts";
import { type Refusal, refuse } from "./result.ts";

export class Owners<T> {
  readonly #owned = new Map<string, Set<T>>();

  /** How many own something. */
  get size(): number {
    return this.#owned.size;
  }

  /** It was one's and is another's; null: nobody's. */
  pass(thing: T, from: string | null, to: string | null): void {
    if (from === to) return;
    if (from !== null) {
      const things = this.#owned.get(from) as Set<T>;
      things.delete(thing);
      if (things.size === 0) this.#owned.delete(from);
    }
    if (to === null) return;
    const things = this.#owned.get(to);
    if (things === undefined) this.#owned.set(to, new Set([thing]));
    else things.add(thing);
  }

  /** In no order. */
  of(workerId: string): T[] {
    return [...(this.#owned.get(workerId) ?? [])];
  }

  countOf(workerId: string): number {
    return this.#owned.get(workerId)?.size ?? 0;
  }
}

/** `can` says what it wants: to own, to hold. */
export function refuseOwner(core: Coordinator, workerId: string, can = "own"): Refusal | null {
  const slot = core.dispatch.slot(workerId);
  if (slot !== undefined && slot.record.state !== "offline") return null;
  return refuse("worker-offline", `worker ${workerId} is not registered, or offline: it can ${can} nothing`);
}
