/**
 * Three binary heaps. `DeadlineHeap` orders plain entries by a number and is lazy: whoever pops an entry asks the
 * state whether it still holds. `IndexedHeap` knows where each of its items lies, so that an item whose rank
 * changed is moved in O(log n) and never stands twice. `PlacedHeap` is the same for items that stand in one heap at
 * most: they know their place themselves, which spares a look-up for every step.
 */

/** Entries in the order of `at`; equal moments come out in the order of `tie`, so that a run repeats exactly. */
export class DeadlineHeap<T> {
  #at: number[] = [];
  #tie: number[] = [];
  #value: T[] = [];
  #pushed = 0;

  get size(): number {
    return this.#at.length;
  }

  /** The earliest moment; Infinity when empty. */
  get nextAt(): number {
    return this.#at[0] ?? Number.POSITIVE_INFINITY;
  }

  push(at: number, value: T): void {
    let i = this.#at.length;
    const tie = this.#pushed++;
    this.#at.push(at);
    this.#tie.push(tie);
    this.#value.push(value);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.#before(i, parent)) break;
      this.#swap(i, parent);
      i = parent;
    }
  }

  pop(): T | undefined {
    const top = this.#value[0];
    const last = this.#at.length - 1;
    if (last < 0) return undefined;
    this.#swap(0, last);
    this.#at.pop();
    this.#tie.pop();
    this.#value.pop();
    let i = 0;
    for (;;) {
      const left = 2 * i + 1;
      if (left >= last) return top;
      const right = left + 1;
      const least = right < last && this.#before(right, left) ? right : left;
      if (!this.#before(least, i)) return top;
      this.#swap(i, least);
      i = least;
    }
  }

  #before(a: number, b: number): boolean {
    const atA = this.#at[a] as number;
    const atB = this.#at[b] as number;
    return atA !== atB ? atA < atB : (this.#tie[a] as number) < (this.#tie[b] as number);
  }

  #swap(a: number, b: number): void {
    if (a === b) return;
    const at = this.#at[a] as number;
    const tie = this.#tie[a] as number;
    const value = this.#value[a] as T;
    this.#at[a] = this.#at[b] as number;
    this.#tie[a] = this.#tie[b] as number;
    this.#value[a] = this.#value[b] as T;
    this.#at[b] = at;
    this.#tie[b] = tie;
    this.#value[b] = value;
  }
}

/** `before(a, b)` must be a strict total order; call `update` after an item's rank changed. */
export class IndexedHeap<T> {
  readonly #items: T[] = [];
  readonly #places = new Map<T, number>();

  constructor(private readonly before: (a: T, b: T) => boolean) {}

  get size(): number {
    return this.#items.length;
  }

  get top(): T | undefined {
    return this.#items[0];
  }

  has(item: T): boolean {
    return this.#places.has(item);
  }

  /** Adds the item, or moves it to where it now belongs. */
  update(item: T): void {
    let place = this.#places.get(item);
    if (place === undefined) {
      place = this.#items.length;
      this.#items.push(item);
      this.#places.set(item, place);
      this.#up(place);
    } else if (this.#items.length > 1 && this.#up(place) === place) this.#down(place);
  }

  delete(item: T): void {
    const place = this.#places.get(item);
    if (place === undefined) return;
    this.#places.delete(item);
    const last = this.#items.pop() as T;
    if (last === item) return;
    this.#items[place] = last;
    this.#places.set(last, place);
    if (this.#up(place) === place) this.#down(place);
  }

  items(): readonly T[] {
    return this.#items;
  }

  #up(from: number): number {
    const items = this.#items;
    const item = items[from] as T;
    let i = from;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const other = items[parent] as T;
      if (!this.before(item, other)) break;
      items[i] = other;
      this.#places.set(other, i);
      i = parent;
    }
    if (i !== from) {
      items[i] = item;
      this.#places.set(item, i);
    }
    return i;
  }

  #down(from: number): void {
    const items = this.#items;
    const item = items[from] as T;
    const count = items.length;
    let i = from;
    for (;;) {
      const left = 2 * i + 1;
      if (left >= count) break;
      const right = left + 1;
      const least = right < count && this.before(items[right] as T, items[left] as T) ? right : left;
      const other = items[least] as T;
      if (!this.before(other, item)) break;
      items[i] = other;
      this.#places.set(other, i);
      i = least;
    }
    if (i !== from) {
      items[i] = item;
      this.#places.set(item, i);
    }
  }
}

/** Where the item lies in its heap; -1 in none. */
export type Placed = { place: number };

/** As `IndexedHeap`; an item must be in no other heap. */
export class PlacedHeap<T extends Placed> {
  readonly #items: T[] = [];

  constructor(private readonly before: (a: T, b: T) => boolean) {}

  get size(): number {
    return this.#items.length;
  }

  get top(): T | undefined {
    return this.#items[0];
  }

  has(item: T): boolean {
    return this.#items[item.place] === item;
  }

  /** Adds the item, or moves it to where it now belongs. */
  update(item: T): void {
    let { place } = item;
    if (place < 0) {
      place = this.#items.length;
      this.#items.push(item);
      item.place = place;
      this.#up(place);
    } else if (this.#items.length > 1 && this.#up(place) === place) this.#down(place);
  }

  delete(item: T): void {
    const { place } = item;
    if (place < 0) return;
    item.place = -1;
    const last = this.#items.pop() as T;
    if (last === item) return;
    this.#items[place] = last;
    last.place = place;
    if (this.#up(place) === place) this.#down(place);
  }

  items(): readonly T[] {
    return this.#items;
  }

  #up(from: number): number {
    const items = this.#items;
    const item = items[from] as T;
    let i = from;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const other = items[parent] as T;
      if (!this.before(item, other)) break;
      items[i] = other;
      other.place = i;
      i = parent;
    }
    if (i !== from) {
      items[i] = item;
      item.place = i;
    }
    return i;
  }

  #down(from: number): void {
    const items = this.#items;
    const item = items[from] as T;
    const count = items.length;
    let i = from;
    for (;;) {
      const left = 2 * i + 1;
      if (left >= count) break;
      const right = left + 1;
      const least = right < count && this.before(items[right] as T, items[left] as T) ? right : left;
      const other = items[least] as T;
      if (!this.before(other, item)) break;
      items[i] = other;
      other.place = i;
      i = least;
    }
    if (i !== from) {
      items[i] = item;
      item.place = i;
    }
  }
}
