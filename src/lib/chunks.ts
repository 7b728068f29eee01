/**
 * A list that grows at its end and is taken from its front, in pieces of a fixed length. A collector that looks for what is
 * young reads each old object again that was written to since: of a list in one piece that is all of it, of this the last
 * piece (docs/PERFORMANCE.md).
 */
const bits = 10;
const length = 1 << bits;

export class Chunks<T> {
  /** All are full but the last. */
  #chunks: T[][] = [];
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
    const last = this.#chunks[this.#chunks.length - 1];
    return last?.[last.length - 1];
  }

  /** From the front. */
  at(index: number): T | undefined {
    const place = this.#head + index;
    return this.#chunks[place >> bits]?.[place & (length - 1)];
  }

  /** In the place of what stands there. */
  set(index: number, item: T): void {
    const place = this.#head + index;
    (this.#chunks[place >> bits] as T[])[place & (length - 1)] = item;
  }

  push(item: T): void {
    const last = this.#chunks[this.#chunks.length - 1];
    if (last === undefined || last.length === length) this.#chunks.push([item]);
    else last.push(item);
    this.#size += 1;
  }

  pop(): void {
    const last = this.#chunks[this.#chunks.length - 1] as T[];
    last.pop();
    this.#size -= 1;
    if (this.#size === 0) this.#clear();
    else if (last.length === 0) this.#chunks.pop();
  }

  shift(): void {
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
    this.#size = 0;
  }

  toArray(): T[] {
    return this.#chunks.flat().slice(this.#head);
  }
}
