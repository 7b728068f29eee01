/**
 * A generation: the entries of a stretch of the log, gathered to be folded as one. It holds their text as bytes, of
 * which it reads only signs, parts and keys, and knows the last change of each key. Bytes and tables of numbers,
 * because a string and an object for each change cost more than all else here: the collector would look at millions.
 *
 * The order of keys is that of the bytes of `part "\t" key "\t"`, everywhere in this folder.
 */
import { assert } from "../lib/assert.ts";
import { type ArchiveRow, archiveHead, readArchiveLine } from "./archive.ts";

const newline = 10;
const tab = 9;
const deleteSign = 45;
const headerSign = 64;
const putSign = 43;

/** Numbers that are kept of a line: where it starts, where its key ends, where it ends, its key's hash, its part. */
const fields = 5;

/** Of the last entry in a generation, or in an image. */
export type Place = { upto: number; hash: string; at: number; clock: number };

/** A batch that was read and found well-formed, and is not gathered yet. `archived`: its lines of the archive. */
export type Staged = { length: number; count: number; archived: readonly ArchiveRow[] };

const archiveBytes = Buffer.from(archiveHead);

export class Generation {
  place: Place;
  /** Of the entries' texts, as the log counts them. */
  textBytes = 0;
  changeCount = 0;
  #bytes = Buffer.allocUnsafeSlow(256 * 1024);
  #length = 0;
  /** Of the lines that no later one has replaced. */
  #liveBytes = 0;
  /** Of the same size as `#bytes`, where those were before they were last put together; null: not yet. */
  #spare: Buffer<ArrayBuffer> | null = null;
  /** The last change of each key. */
  #changes = new Int32Array(1024 * fields);
  #keyCount = 0;
  #staged = new Int32Array(1024 * fields);
  /** By hash: the key's number and one; 0: free. */
  #slots = new Int32Array(4096);
  readonly #parts: Part[] = [];
  #order: Int32Array | null = null;

  constructor(place: Place) {
    this.place = place;
  }

  get keyCount(): number {
    return this.#keyCount;
  }

  /** It holds more memory than a log at rest should. */
  get isLarge(): boolean {
    return this.#bytes.length > 1024 * 1024;
  }

  /** Empty again, after another place. Memory that was used before is kept: the first touch of a page costs most. */
  clear(place: Place): void {
    this.place = place;
    this.textBytes = 0;
    this.changeCount = 0;
    this.#length = 0;
    this.#liveBytes = 0;
    this.#keyCount = 0;
    this.#slots.fill(0);
    this.#parts.length = 0;
    this.#order = null;
  }

  /** Reads a batch's lines behind what is gathered. What is malformed throws, and leaves nothing behind. */
  stage(text: Uint8Array): Staged {
    this.#reserve(text.length);
    this.#bytes.set(text, this.#length);
    const bytes = this.#bytes;
    const end = this.#length + text.length;
    let count = 0;
    const archived: ArchiveRow[] = [];
    let start = this.#length;
    while (start < end) {
      const lineEnd = bytes.indexOf(newline, start);
      assert(lineEnd >= 0 && lineEnd < end, "every line of a batch ends");
      const sign = bytes[start];
      if (sign === putSign && this.#isArchived(start))
        archived.push(readArchiveLine(bytes.toString("utf8", start, lineEnd)));
      else if (sign === putSign || sign === deleteSign) {
        if ((count + 1) * fields > this.#staged.length) this.#staged = grown(this.#staged);
        this.#stageLine(count * fields, start, lineEnd, sign === putSign);
        count++;
      } else assert(sign === headerSign, "a line is a header, a put or a delete");
      start = lineEnd + 1;
    }
    return { length: text.length, count, archived };
  }

  /** What is told once is in no image. */
  #isArchived(start: number): boolean {
    for (let i = 1; i < archiveBytes.length; i++)
      if (this.#bytes[start + i] !== archiveBytes[i]) return false;
    return true;
  }

  #stageLine(to: number, start: number, lineEnd: number, puts: boolean): void {
    const bytes = this.#bytes;
    let hash = 0;
    let part = -1;
    let at = start + 1;
    for (; at < lineEnd; at++) {
      const byte = bytes[at] as number;
      if (byte === tab) {
        if (part >= 0) break;
        part = this.#part(start + 1, at, hash);
      }
      hash = Math.imul(hash ^ byte, 0x01000193);
    }
    // A put's key is ended by a tab, a delete's by the line.
    assert(part >= 0, "a change has a part and a key");
    assert(
      puts === at < lineEnd,
      puts ? "a put has a part, a key and a text" : "a delete has a part and a key",
    );
    const staged = this.#staged;
    staged[to] = start;
    staged[to + 1] = at;
    staged[to + 2] = lineEnd + 1;
    staged[to + 3] = hash ^ (hash >>> 15);
    staged[to + 4] = part;
  }

  /** The number of the part that stands there. They are few, and looked for one by one. */
  #part(start: number, end: number, hash: number): number {
    const parts = this.#parts;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] as Part;
      if (part.hash === hash && this.#isPart(part.bytes, start, end)) return i;
    }
    return parts.push({ hash, bytes: Uint8Array.prototype.slice.call(this.#bytes, start, end) }) - 1;
  }

  #isPart(part: Uint8Array, start: number, end: number): boolean {
    if (part.length !== end - start) return false;
    for (let i = 0; i < part.length; i++) if (part[i] !== this.#bytes[start + i]) return false;
    return true;
  }

  /** Takes in what was staged last. */
  gather({ length, count }: Staged, place: Place): void {
    this.#length += length;
    this.textBytes += length;
    this.changeCount += count;
    this.place = place;
    for (let i = 0; i < count; i++) this.#put(i * fields);
  }

  #put(from: number): void {
    const staged = this.#staged;
    if (2 * this.#keyCount >= this.#slots.length) this.#rehash();
    const mask = this.#slots.length - 1;
    const hash = staged[from + 3] as number;
    let slot = hash & mask;
    let to = -1;
    for (;;) {
      const found = this.#slots[slot] as number;
      if (found === 0) break;
      const known = (found - 1) * fields;
      if (this.#changes[known + 3] === hash && this.#isSameKey(known, from)) {
        to = known;
        break;
      }
      slot = (slot + 1) & mask;
    }
    if (to < 0) {
      to = this.#keyCount * fields;
      if (to + fields > this.#changes.length) this.#changes = grown(this.#changes);
      this.#slots[slot] = ++this.#keyCount;
    } else this.#liveBytes -= (this.#changes[to + 2] as number) - (this.#changes[to] as number);
    for (let i = 0; i < fields; i++) this.#changes[to + i] = staged[from + i] as number;
    this.#liveBytes += (staged[from + 2] as number) - (staged[from] as number);
  }

  #isSameKey(known: number, staged: number): boolean {
    const bytes = this.#bytes;
    let a = (this.#changes[known] as number) + 1;
    const end = this.#changes[known + 1] as number;
    let b = (this.#staged[staged] as number) + 1;
    if (end - a !== (this.#staged[staged + 1] as number) - b) return false;
    while (a < end) if (bytes[a++] !== bytes[b++]) return false;
    return true;
  }

  #rehash(): void {
    const slots = new Int32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let key = 0; key < this.#keyCount; key++) {
      let slot = (this.#changes[key * fields + 3] as number) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = key + 1;
    }
    this.#slots = slots;
  }

  /**
   * Room for so many bytes more. What was replaced goes before more memory is taken: a page that is touched for the first
   * time costs more than all that is done with its lines.
   */
  #reserve(byteLength: number): void {
    if (this.#length + byteLength <= this.#bytes.length) return;
    const before = this.#bytes;
    let size = before.length;
    while (size < 2 * (this.#liveBytes + byteLength)) size *= 2;
    const isSame = size === before.length;
    this.#bytes = (isSame ? this.#spare : null) ?? Buffer.allocUnsafeSlow(size);
    this.#spare = isSame ? before : null;
    this.#putTogether(before);
  }

  /** Moves the lines that are not replaced here. */
  #putTogether(from: Buffer): void {
    const changes = this.#changes;
    let length = 0;
    for (let at = 0; at < this.#keyCount * fields; at += fields) {
      const start = changes[at] as number;
      from.copy(this.#bytes, length, start, changes[at + 2]);
      for (let i = 0; i < 3; i++) changes[at + i] = (changes[at + i] as number) + length - start;
      length = changes[at + 2] as number;
    }
    this.#length = length;
  }

  /**
   * Puts the keys in order, a bounded piece of work between two yields. Keys of a part mostly come in their order
   * already (task ids grow), so what is sorted is the runs of a part that ascend.
   */
  *sort(): Generator<void> {
    const order = new Int32Array(this.#keyCount);
    const byPart = this.#parts.map(() => [] as number[]);
    for (let key = 0; key < this.#keyCount; key++) {
      (byPart[this.#changes[key * fields + 4] as number] as number[]).push(key);
      if (key % sortedAtOnce === sortedAtOnce - 1) yield;
    }
    const parts = this.#parts.map(({ bytes }, number) => ({ name: `${latin1(bytes)}\t`, number }));
    parts.sort((a, b) => (a.name < b.name ? -1 : 1));
    let length = 0;
    for (const { number } of parts) {
      const keys = Int32Array.from(byPart[number] as number[]);
      yield* this.#sortPart(keys);
      order.set(keys, length);
      length += keys.length;
    }
    this.#order = order;
  }

  /** Merges neighbouring runs until there is one. */
  *#sortPart(keys: Int32Array): Generator<void> {
    let starts = [0];
    for (let i = 1; i < keys.length; i++) {
      if (this.#compare(keys[i - 1] as number, keys[i] as number) > 0) starts.push(i);
      if (i % sortedAtOnce === 0) yield;
    }
    const merged = new Int32Array(keys.length);
    while (starts.length > 1) {
      const next: number[] = [];
      for (let run = 0; run < starts.length; run += 2) {
        const start = starts[run] as number;
        next.push(start);
        const middle = starts[run + 1] ?? keys.length;
        const end = starts[run + 2] ?? keys.length;
        let a = start;
        let b = middle;
        for (let to = start; to < end; to++) {
          const takesFirst =
            b >= end || (a < middle && this.#compare(keys[a] as number, keys[b] as number) < 0);
          merged[to] = keys[takesFirst ? a++ : b++] as number;
          if (to % sortedAtOnce === sortedAtOnce - 1) yield;
        }
      }
      keys.set(merged);
      starts = next;
    }
  }

  /** Of two keys of one part. */
  #compare(first: number, second: number): number {
    const bytes = this.#bytes;
    const changes = this.#changes;
    let a = (changes[first * fields] as number) + 1;
    let b = (changes[second * fields] as number) + 1;
    const aEnd = changes[first * fields + 1] as number;
    const bEnd = changes[second * fields + 1] as number;
    while (a < aEnd && b < bEnd) {
      const difference = (bytes[a++] as number) - (bytes[b++] as number);
      if (difference !== 0) return difference;
    }
    return (a < aEnd ? (bytes[a] as number) : tab) - (b < bEnd ? (bytes[b] as number) : tab);
  }

  // Of the changes in the order of their keys, once they are sorted:

  /** The key with its part, a tab after each, a character for each byte. */
  keyAt(index: number): string {
    const change = this.#at(index);
    return `${this.#bytes.toString("latin1", (this.#changes[change] as number) + 1, this.#changes[change + 1])}\t`;
  }

  /** The first change from `index` on whose key is at or after `key`. */
  indexOf(key: string, index: number): number {
    let low = index;
    let high = this.#keyCount;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.keyAt(middle) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The key of the line that starts at `start` of `lines`, against that of a change. */
  compareLine(lines: Uint8Array, start: number, index: number): number {
    const bytes = this.#bytes;
    const change = this.#at(index);
    let b = (this.#changes[change] as number) + 1;
    const end = this.#changes[change + 1] as number;
    let a = start + 1;
    while (b < end) {
      const difference = (lines[a++] as number) - (bytes[b++] as number);
      if (difference !== 0) return difference;
    }
    return (lines[a] as number) - tab;
  }

  putsAt(index: number): boolean {
    return this.#bytes[this.#changes[this.#at(index)] as number] === putSign;
  }

  lineLengthAt(index: number): number {
    const change = this.#at(index);
    return (this.#changes[change + 2] as number) - (this.#changes[change] as number);
  }

  copyLine(index: number, to: Buffer, at: number): void {
    const change = this.#at(index);
    this.#bytes.copy(to, at, this.#changes[change] as number, this.#changes[change + 2] as number);
  }

  #at(index: number): number {
    return ((this.#order as Int32Array)[index] as number) * fields;
  }
}

type Part = { hash: number; bytes: Uint8Array };

const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** Two milliseconds of work, about. */
const sortedAtOnce = 16_384;

function grown(numbers: Int32Array): Int32Array<ArrayBuffer> {
  const next = new Int32Array(numbers.length * 2);
  next.set(numbers);
  return next;
}
