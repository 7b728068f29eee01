/**
 * Folding: making the next image of the last one and a generation. Pieces that the generation does not touch are
 * shared by both images; the others are read, merged with its changes and written anew under new numbers. Nothing is
 * changed in place: until the new image's own row is written, in the commit of its last piece, what was written for
 * it is invisible, and a crash leaves pieces that no image names. Pure but for reading pieces; the writer commits.
 */
import { assert } from "../lib/assert.ts";
import { type Image, type Piece, pieceCheck } from "./format.ts";
import type { Generation } from "./generation.ts";

/** Pieces are cut at about `pieceBytes`; one below `pieceBytesMin` takes its neighbour in. */
const pieceBytes = 64 * 1024;
const pieceBytesMin = 16 * 1024;
const newline = 10;

/** A piece and the key of its first line. */
export type KeyedPiece = Piece & { first: string };
export type KeyedImage = Image & { pieces: KeyedPiece[] };

/** A piece to be written. The bytes are good until the next step. */
export type NewPiece = { id: number; bytes: Uint8Array };

/** Where pieces are put together; one is used for merge after merge. */
export type Bench = { out: Buffer };

export const newBench = (): Bench => ({ out: Buffer.allocUnsafeSlow(4 * pieceBytes) });

/** Of the first line of a piece: its part and key, a tab after each, a character for each byte. */
export function firstKey(bytes: Uint8Array): string {
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const tab = lines.indexOf(9, lines.indexOf(9) + 1);
  assert(tab > 0, "a piece starts with a line that puts a record");
  return lines.toString("latin1", 1, tab + 1);
}

export class Merge {
  readonly #sorting: Generator<void>;
  readonly #old: readonly KeyedPiece[];
  readonly #next: KeyedPiece[] = [];
  #isSorted = false;
  /** The next piece of the old image and the next change that were not looked at. */
  #oldAt = 0;
  #changeAt = 0;
  /** What is made of the piece underway lies from `outStart` to `outEnd`; before it, pieces that this step made. */
  #outStart = 0;
  #outEnd = 0;
  #written: NewPiece[] = [];
  #nextId: number;

  constructor(
    readonly generation: Generation,
    image: KeyedImage,
    nextId: number,
    readonly bench: Bench,
  ) {
    this.#old = image.pieces;
    this.#nextId = nextId;
    this.#sorting = generation.sort();
  }

  /** The number of the next piece to be made. */
  get nextId(): number {
    return this.#nextId;
  }

  /**
   * Works on for about `budget` bytes read and written. Gives the pieces to write and, with the last of them, the
   * image.
   */
  async step(
    budget: number,
    read: (piece: Piece) => Promise<Uint8Array>,
  ): Promise<{ pieces: NewPiece[]; image: KeyedImage | null }> {
    if (!this.#isSorted) {
      for (let left = budget; left > 0; left -= sortCost) {
        if (this.#sorting.next().done !== true) continue;
        this.#isSorted = true;
        break;
      }
      return { pieces: [], image: null };
    }
    this.#written = [];
    this.bench.out.copyWithin(0, this.#outStart, this.#outEnd);
    this.#outEnd -= this.#outStart;
    this.#outStart = 0;
    let left = budget;
    while (left > 0) {
      if (this.#changeAt === this.generation.keyCount && this.#outLength === 0) {
        for (; this.#oldAt < this.#old.length; this.#oldAt++)
          this.#next.push(this.#old[this.#oldAt] as KeyedPiece);
        return { pieces: this.#written, image: { ...this.generation.place, pieces: this.#next } };
      }
      left -= await this.#mergePiece(read);
    }
    return { pieces: this.#written, image: null };
  }

  get #outLength(): number {
    return this.#outEnd - this.#outStart;
  }

  /** Merges the piece that the next change falls into, or the next one where what is left of the last is small. */
  async #mergePiece(read: (piece: Piece) => Promise<Uint8Array>): Promise<number> {
    const old = this.#old;
    if (this.#outLength === 0 && this.#changeAt < this.generation.keyCount) {
      const owner = this.#ownerOf(this.generation.keyAt(this.#changeAt));
      while (this.#oldAt < owner) this.#next.push(old[this.#oldAt++] as KeyedPiece);
    }
    const piece = old[this.#oldAt];
    const bytes = piece === undefined ? noBytes : asBuffer(await read(piece));
    this.#oldAt++;
    const limit = old[this.#oldAt]?.first;
    const { generation } = this;
    const end = limit === undefined ? generation.keyCount : generation.indexOf(limit, this.#changeAt);
    const start = this.#outEnd;
    this.#mergeLines(bytes, end);
    if (this.#outLength >= pieceBytesMin || this.#oldAt >= old.length) this.#flush();
    return bytes.length + this.#outEnd - start + stepCost;
  }

  /** The last piece that starts at or before the key; the first, where none does. */
  #ownerOf(key: string): number {
    let low = this.#oldAt;
    let high = this.#old.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#old[middle] as KeyedPiece).first <= key) low = middle + 1;
      else high = middle;
    }
    return Math.max(this.#oldAt, low - 1);
  }

  #mergeLines(bytes: Buffer, end: number): void {
    const { generation } = this;
    let at = 0;
    let kept = 0;
    for (; this.#changeAt < end; this.#changeAt++) {
      let order = 1;
      while (at < bytes.length) {
        order = generation.compareLine(bytes, at, this.#changeAt);
        if (order >= 0) break;
        at = bytes.indexOf(newline, at) + 1;
        order = 1;
      }
      this.#append(bytes, kept, at);
      if (order === 0) at = bytes.indexOf(newline, at) + 1;
      kept = at;
      if (!generation.putsAt(this.#changeAt)) continue;
      const length = generation.lineLengthAt(this.#changeAt);
      this.#makeRoom(length);
      generation.copyLine(this.#changeAt, this.bench.out, this.#outEnd);
      this.#outEnd += length;
      this.#cutFull();
    }
    this.#append(bytes, kept, bytes.length);
  }

  #append(bytes: Buffer, start: number, end: number): void {
    if (start === end) return;
    this.#makeRoom(end - start);
    bytes.copy(this.bench.out, this.#outEnd, start, end);
    this.#outEnd += end - start;
    this.#cutFull();
  }

  /** Pieces that were made keep the memory they lie in. */
  #makeRoom(length: number): void {
    const { bench } = this;
    if (this.#outEnd + length <= bench.out.length) return;
    const out = Buffer.allocUnsafeSlow(2 * (this.#outEnd + length));
    bench.out.copy(out, 0, 0, this.#outEnd);
    bench.out = out;
  }

  /** So that what is left is never small because of a cut. */
  #cutFull(): void {
    while (this.#outLength >= 2 * pieceBytes) this.#cut(pieceBytes);
  }

  #flush(): void {
    if (this.#outLength > 1.5 * pieceBytes) this.#cut(this.#outLength >> 1);
    if (this.#outLength > 0) this.#cut(this.#outLength);
  }

  /** A piece of the lines up to about `length`. */
  #cut(length: number): void {
    const { out } = this.bench;
    const start = this.#outStart;
    let end = out.lastIndexOf(newline, start + length - 1) + 1;
    if (end <= start) end = out.indexOf(newline, start + length) + 1;
    const bytes = out.subarray(start, end);
    const id = this.#nextId++;
    this.#next.push({ id, bytes: end - start, check: pieceCheck(bytes), first: firstKey(bytes) });
    this.#written.push({ id, bytes });
    this.#outStart = end;
  }
}

/** What sorting some keys, and looking at one more piece, cost, in bytes. */
const sortCost = 512 * 1024;
const stepCost = 4096;

const noBytes = Buffer.alloc(0);

const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
