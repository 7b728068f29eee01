/**
 * What entries made, by its age: as a Map by rows, and in the order of age from any place on. Neighbours in age lie in a Map of
 * their own. So what comes at the end and goes at the front writes to few of them and lets whole ones go, no Map is so
 * large that the loop would wait for it to grow, and a collector that looks for what is young reads no others again
 * (docs/PERFORMANCE.md).
 */
import { type Age, ageOf, byAge } from "./ids.ts";
import type { RowName } from "./store.ts";

/** Revisions whose things lie in one Map. */
const neighbours = 1024;

export class Ages<T> {
  readonly #parts = new Map<number, Map<RowName, T>>();
  #size = 0;

  constructor(private readonly ageOf: (item: T) => Age) {}

  get size(): number {
    return this.#size;
  }

  get(row: RowName): T | undefined {
    return this.#parts.get(partOf(row))?.get(row);
  }

  /** Under a row where nothing is. */
  add(row: RowName, item: T): void {
    const place = partOf(row);
    let part = this.#parts.get(place);
    if (part === undefined) {
      part = new Map();
      this.#parts.set(place, part);
    }
    part.set(row, item);
    this.#size += 1;
  }

  /** Deletes what is there. */
  delete(row: RowName): void {
    const place = partOf(row);
    const part = this.#parts.get(place) as Map<RowName, T>;
    part.delete(row);
    this.#size -= 1;
    if (part.size === 0) this.#parts.delete(place);
  }

  /** In no order. */
  *values(): Iterable<T> {
    for (const part of this.#parts.values()) yield* part.values();
  }

  /** What is younger than a revision, the oldest first. */
  *after(revision: number): Iterable<T> {
    const order = (a: T, b: T) => byAge(this.ageOf(a), this.ageOf(b));
    const first = partOf(revision + 1);
    const places = [...this.#parts.keys()].filter((place) => place >= first).sort((a, b) => a - b);
    for (const place of places) {
      const part = [...(this.#parts.get(place)?.values() ?? [])].sort(order);
      for (const item of part) if (this.ageOf(item).revision > revision) yield item;
    }
  }
}

const partOf = (row: RowName): number =>
  Math.floor((typeof row === "number" ? row : ageOf(row).revision) / neighbours);
