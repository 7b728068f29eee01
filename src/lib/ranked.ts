/**
 * Items in a total order of their own (sorted.ts has texts), which come and go anywhere in it: buckets of a bounded length, so that adding and removing
 * move a few hundred places at most and finding is a search by halves, however many items there are.
 */
const bucketMax = 512;

export class Ranked<T> {
  readonly #buckets: T[][] = [];
  #size = 0;

  /** Negative when a comes first; 0 for the same item alone. */
  constructor(private readonly compare: (a: T, b: T) => number) {}

  get size(): number {
    return this.#size;
  }

  /** The item must not be in the list. */
  add(item: T): void {
    this.#size += 1;
    if (this.#buckets.length === 0) {
      this.#buckets.push([item]);
      return;
    }
    const at = Math.min(this.#bucketOf(item), this.#buckets.length - 1);
    const bucket = this.#buckets[at] as T[];
    bucket.splice(this.#placeIn(bucket, item), 0, item);
    if (bucket.length > bucketMax) this.#buckets.splice(at + 1, 0, bucket.splice(bucketMax / 2));
  }

  /** Removes the item that stands where this one does; whether there was one. */
  remove(item: T): boolean {
    const at = this.#bucketOf(item);
    const bucket = this.#buckets[at];
    if (bucket === undefined) return false;
    const place = this.#placeIn(bucket, item);
    if (place === bucket.length || this.compare(bucket[place] as T, item) !== 0) return false;
    bucket.splice(place, 1);
    if (bucket.length === 0) this.#buckets.splice(at, 1);
    this.#size -= 1;
    return true;
  }

  /** From the last to the first, only those before `end`, whether or not that stands in the list. */
  *backwards(end?: T): Iterable<T> {
    let at = end === undefined ? this.#buckets.length - 1 : this.#bucketOf(end);
    at = Math.min(at, this.#buckets.length - 1);
    for (let isFirst = true; at >= 0; at--, isFirst = false) {
      const bucket = this.#buckets[at] as T[];
      const length = isFirst && end !== undefined ? this.#placeIn(bucket, end) : bucket.length;
      for (let place = length - 1; place >= 0; place--) yield bucket[place] as T;
    }
  }

  /** The first bucket whose last item is not before this one; there may be none. */
  #bucketOf(item: T): number {
    let low = 0;
    let high = this.#buckets.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const bucket = this.#buckets[middle] as T[];
      if (this.compare(bucket[bucket.length - 1] as T, item) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The first place in the bucket whose item is not before this one. */
  #placeIn(bucket: readonly T[], item: T): number {
    let low = 0;
    let high = bucket.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.compare(bucket[middle] as T, item) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
