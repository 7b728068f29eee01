/**
 * A line: items in a total order, most of which arrive in that order and leave from the front. Those take a
 * list in pieces (chunks.ts); an item that comes back earlier than the tail goes to a small heap beside it, and
 * one that leaves from the middle is only marked. An item that returns before its mark was collected gets its
 * old place back by removing the mark, so an item never stands twice. An item must be in the line at most once
 * and is told apart by reference.
 */
import { Chunks } from "./chunks.ts";

export class Line<T extends object> {
  #items = new Chunks<T>();
  #side: T[] = [];
  /** Items still in #items or #side that have left. */
  readonly #left = new Set<T>();

  /** Negative when a comes first; never 0 for two different items. */
  constructor(private readonly compare: (a: T, b: T) => number) {}

  get size(): number {
    return this.#items.size + this.#side.length - this.#left.size;
  }

  add(item: T): void {
    if (this.#left.size > 0 && this.#left.delete(item)) return;
    const { last } = this.#items;
    if (last === undefined || this.compare(last, item) < 0) this.#items.push(item);
    else this.#sidePush(item);
  }

  remove(item: T): void {
    if (this.#items.first === item) this.#items.shift();
    else if (this.#side[0] === item) this.#sidePop();
    else {
      this.#left.add(item);
      if (this.#left.size > 32 && this.#left.size > this.size) this.#compact();
    }
  }

  /** The first item, or undefined. */
  first(): T | undefined {
    if (this.#left.size > 0) this.#skip();
    const front = this.#items.first;
    const side = this.#side[0];
    if (side === undefined) return front;
    return front === undefined || this.compare(side, front) < 0 ? side : front;
  }

  /** About how many items come before this one: those that left and were not collected yet count too. */
  before(item: T): number {
    const items = this.#items;
    let low = 0;
    let high = items.size;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compare(items.at(middle) as T, item) < 0) low = middle + 1;
      else high = middle;
    }
    let count = low;
    for (const one of this.#side) if (this.compare(one, item) < 0) count += 1;
    return Math.min(count, this.size - 1);
  }

  /** All items, in order: for checks, never on a hot path. */
  toArray(): T[] {
    return [...this.#items.toArray(), ...this.#side]
      .filter((item) => !this.#left.has(item))
      .sort(this.compare);
  }

  #skip(): void {
    const items = this.#items;
    for (let { first } = items; first !== undefined && this.#left.delete(first); first = items.first)
      items.shift();
    for (let side = this.#side[0]; side !== undefined && this.#left.delete(side); ) {
      this.#sidePop();
      side = this.#side[0];
    }
  }

  #compact(): void {
    const all = this.toArray();
    this.#left.clear();
    this.#items = Chunks.from(all);
    this.#side = [];
  }

  #sidePush(item: T): void {
    const side = this.#side;
    let i = side.length;
    side.push(item);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const other = side[parent] as T;
      if (this.compare(item, other) >= 0) break;
      side[i] = other;
      i = parent;
    }
    side[i] = item;
  }

  #sidePop(): void {
    const side = this.#side;
    const item = side.pop() as T;
    const count = side.length;
    if (count === 0) return;
    let i = 0;
    for (;;) {
      const left = 2 * i + 1;
      if (left >= count) break;
      const right = left + 1;
      const least = right < count && this.compare(side[right] as T, side[left] as T) < 0 ? right : left;
      const other = side[least] as T;
      if (this.compare(other, item) >= 0) break;
      side[i] = other;
      i = least;
    }
    side[i] = item;
  }
}
