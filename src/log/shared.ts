/**
 * Texts on their way to another thread, in memory that both threads see and that is used again: a text that is put
 * together and handed over as a string is copied twice into memory that is new each time, and a page's first touch
 * costs more than what is copied there.
 */
import { assert } from "../lib/assert.ts";
import { unitsOf } from "./log.ts";

/** UTF-8 of `length` bytes, from the start. */
export type Shared = { bytes: SharedArrayBuffer; length: number };

/** Only as long as it was not given back. */
export const readShared = ({ bytes, length }: Shared): Uint8Array => new Uint8Array(bytes, 0, length);

const bytesMin = 64 * 1024;
/** What is larger is used once. */
const keptBytesMax = 4 * 1024 * 1024;
/** So many texts are on their way at once and find memory that was used before. */
const keptMax = 2;

const encoder = new TextEncoder();

export class SharedTexts {
  readonly #free: SharedArrayBuffer[] = [];

  /** Puts a text there that comes in pieces. */
  write(pieces: readonly string[]): Shared {
    const units = unitsOf(pieces);
    const bytes = this.take(units);
    const length = encodePieces(pieces, new Uint8Array(bytes));
    if (length !== null) return { bytes, length };
    this.giveBack(bytes);
    const larger = this.take(bytesAUnit * units);
    return { bytes: larger, length: encodePieces(pieces, new Uint8Array(larger)) as number };
  }

  giveBack(bytes: SharedArrayBuffer): void {
    if (bytes.byteLength <= keptBytesMax && this.#free.length < keptMax) this.#free.push(bytes);
  }

  /** Nobody else has it until it is given back. */
  take(byteLength: number): SharedArrayBuffer {
    const free = this.#free.pop();
    if (free !== undefined && free.byteLength >= byteLength) return free;
    let size = bytesMin;
    while (size < byteLength) size *= 2;
    return new SharedArrayBuffer(size);
  }
}

/** The most that a unit of text has as UTF-8. */
export const bytesAUnit = 3;

/** Writes a text as UTF-8: how many bytes it has; null: there is no room for it. */
export function encodePieces(pieces: readonly string[], to: Uint8Array): number | null {
  let length = 0;
  for (const piece of pieces) {
    assert(piece.isWellFormed(), "a text that is not well-formed Unicode would come back changed");
    const { read, written } = encoder.encodeInto(piece, to.subarray(length));
    if (read < piece.length) return null;
    length += written;
  }
  return length;
}
