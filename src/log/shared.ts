/**
 * Texts on their way to another thread, in memory that both threads see and that is used again: a text that is put
 * together and handed over as a string is copied twice into memory that is new each time, and a page's first touch
 * costs more than what is copied there.
 */
import { assert } from "../lib/assert.ts";

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

  /** Puts a text there that comes in pieces. Nobody else has the memory until it is given back. */
  write(pieces: readonly string[]): Shared {
    let units = 0;
    for (const piece of pieces) {
      assert(piece.isWellFormed(), "a text that is not well-formed Unicode would come back changed");
      units += piece.length;
    }
    const bytes = this.#take(units);
    const length = encode(pieces, bytes);
    if (length !== null) return { bytes, length };
    this.giveBack(bytes);
    // A unit has three bytes at most.
    const larger = this.#take(3 * units);
    return { bytes: larger, length: encode(pieces, larger) as number };
  }

  giveBack(bytes: SharedArrayBuffer): void {
    if (bytes.byteLength <= keptBytesMax && this.#free.length < keptMax) this.#free.push(bytes);
  }

  #take(byteLength: number): SharedArrayBuffer {
    const free = this.#free.pop();
    if (free !== undefined && free.byteLength >= byteLength) return free;
    let size = bytesMin;
    while (size < byteLength) size *= 2;
    return new SharedArrayBuffer(size);
  }
}

/** How many bytes it has; null: there is no room for it. */
function encode(pieces: readonly string[], bytes: SharedArrayBuffer): number | null {
  let length = 0;
  for (const piece of pieces) {
    const { read, written } = encoder.encodeInto(piece, new Uint8Array(bytes, length));
    if (read < piece.length) return null;
    length += written;
  }
  return length;
}
