/**
 * Folding: turning entries into rows of an image, a bounded number of rows at a time. Entries are gathered into
 * generations, each holding the last change of every key up to one revision; a generation is then written over as
 * many commits as it takes. Pure: it hands out rows and keeps count, the writer commits.
 *
 * Why a half-written generation is harmless. Let an image be whole at `to` and its generation reach `folding`. While
 * it is written, a key the generation does not touch has its value as of `to`, and one it touches has its value as
 * of `to` or as of `folding`. After a crash every entry above `to` is replayed over the rows. A touched key has at
 * least one change in (to, folding], and the last change wins whatever stood there, so from `folding` on each key
 * has its right value; and no key is left out, because `to` moves only with the generation's last row, in the same
 * commit. Two things must hold for that and are kept by the writer: the history never ends below `folding` (a
 * generation is written only once the mark covers it, and what the mark covers is never cut silently), and nobody
 * reads the image as a state before the entries up to `folding` are applied (`folding` is kept beside `to`, so that
 * recovering to an earlier revision starts from the base instead).
 *
 * `folding` never goes back. After a crash the next generation may end below a half-written one (other options, a
 * shorter history); when it is whole, some keys are still as of the old `folding`, so the image is not whole yet:
 * such a key is changed in (to, folding] or has the same value at both, and the argument above holds unchanged.
 */
import { type Change, type RowChange, rowChange } from "./format.ts";

export type Generation = {
  /** All entries up to this revision are in it, or in the generations before it. */
  upto: number;
  /** Of the last entry in it. */
  hash: string;
  at: number;
  clock: number;
  bytes: number;
  changeCount: number;
  rows: Map<string, string | null>;
};

export function newGeneration(upto: number, hash: string, at: number, clock: number): Generation {
  return { upto, hash, at, clock, bytes: 0, changeCount: 0, rows: new Map() };
}

export function gather(generation: Generation, bytes: number, changes: readonly Change[]): void {
  for (const { id, text } of changes) generation.rows.set(id, text);
  generation.bytes += bytes;
  generation.changeCount += changes.length;
}

/** The next rows of a generation. `complete`: with these the image is whole at the generation's revision. */
export type Step = { generation: Generation; rows: RowChange[]; complete: boolean };

export class Fold {
  readonly #generations: Generation[] = [];
  #left: Iterator<[string, string | null]> | null = null;
  #leftCount = 0;
  #step: Step | null = null;

  /** Written so far or waiting to be. */
  bytes = 0;
  changeCount = 0;

  get waitingCount(): number {
    return this.#generations.length;
  }

  push(generation: Generation): void {
    this.#generations.push(generation);
    this.bytes += generation.bytes;
    this.changeCount += generation.changeCount;
  }

  /** The next rows, about `countMax`; the same step again until it is done. Null: everything is folded. */
  next(countMax: number): Step | null {
    const generation = this.#generations[0];
    if (this.#step !== null || generation === undefined) return this.#step;
    if (this.#left === null) {
      this.#left = generation.rows.entries();
      this.#leftCount = generation.rows.size;
    }
    const rows: RowChange[] = [];
    while (rows.length < countMax && this.#leftCount > 0) {
      const [id, text] = this.#left.next().value as [string, string | null];
      rows.push(rowChange({ id, text }));
      this.#leftCount--;
    }
    this.#step = { generation, rows, complete: this.#leftCount === 0 };
    return this.#step;
  }

  /** The step's rows are committed. */
  done(step: Step): void {
    this.#step = null;
    if (!step.complete) return;
    this.#generations.shift();
    this.#left = null;
    this.bytes -= step.generation.bytes;
    this.changeCount -= step.generation.changeCount;
  }
}
