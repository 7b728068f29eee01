/**
 * A list that grows at its end and is taken from its front, in pieces of a fixed length. A collector that looks for what is
 * young reads each old object again that was written to since: of a list in one piece that is all of it, of this the last
 * piece (docs/PERFORMANCE.md).
 */

/** With what the runtime adds, a piece is just below 8 KiB, which is a size of its allocator's. */
const length = 1000;

export class Chunks<T> {
  /**
   * All are full but the last. The first grows while it is filled, as most lists have no other; the rest have all their
   * places from the start, or the last growth would leave a third of them without use.
   */
  #chunks: T[][] = [];
  /** Of the last chunk, what is filled. */
  #tail = length;
  /** Of the first chunk, what was taken. */
  #head = 0;
  #size = 0;

  static from<T>(items: readonly T[]): Chunks<T> {
    const chunks = new Chunks<T>();
    for (let i = 0; i < items.length; i++) chunks.push(items[i] as T);
    return chunks;
  }

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#chunks[0]?.[this.#head];
  }

  get last(): T | undefined {
    return this.#chunks[this.#chunks.length - 1]?.[this.#tail - 1];
  }

  /** From the front. */
  at(index: number): T | undefined {
    const place = this.#head + index;
    return this.#chunks[Math.trunc(place / length)]?.[place % length];
  }

  /** In the place of what stands there. */
  set(index: number, item: T): void {
    const place = this.#head + index;
    (this.#chunks[Math.trunc(place / length)] as T[])[place % length] = item;
  }

  push(item: T): void {
    if (this.#tail === length) {
      this.#chunks.push(this.#chunks.length === 0 ? [] : new Array(length));
      this.#tail = 0;
    }
    (this.#chunks[this.#chunks.length - 1] as T[])[this.#tail] = item;
    this.#tail += 1;
    this.#size += 1;
  }

  pop(): void {
    this.#tail -= 1;
    (this.#chunks[this.#chunks.length - 1] as (T | undefined)[])[this.#tail] = undefined;
    this.#size -= 1;
    if (this.#size === 0) this.#clear();
    else if (this.#tail === 0) {
      this.#chunks.pop();
      this.#tail = length;
    }
  }

  shift(): void {
    // What was taken may be large, and this piece may stay for long.
    (this.#chunks[0] as (T | undefined)[])[this.#head] = undefined;
    this.#head += 1;
    this.#size -= 1;
    if (this.#size === 0) this.#clear();
    else if (this.#head === length) {
      this.#chunks.shift();
      this.#head = 0;
    }
  }

  #clear(): void {
    this.#chunks = [];
    this.#head = 0;
    this.#tail = length;
    this.#size = 0;
  }

  toArray(): T[] {
    return this.#chunks.flat().slice(this.#head, this.#head + this.#size);
  }
}
