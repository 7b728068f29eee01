/**
 * The archive: what the state has let go of, kept to be found again. An entry tells of it once, in a line of the part
 * `archive`, which is in no image: the writer takes such lines out of the batches and writes them as rows, in slices
 * after the appends. A row is found by its id, or by its tags and its time; what they mean is the core's.
 *
 *   "+archive" "\t" id "\t" JSON of [at, ...tags] "\t" text
 */
import { assert } from "../lib/assert.ts";

/** `at`: wall ms. The newest come first; those of one moment in the descending order of their ids. */
export type ArchivePlace = { at: number; id: string };
export type Archived = ArchivePlace & { text: string };
export type ArchiveRow = Archived & { tags: readonly string[] };

/** Rows that have all the tags, are older than the place and not older than `from`. */
export type ArchiveSearch = {
  tags: readonly string[];
  before: ArchivePlace;
  from: number;
  countMax: number;
  /** Of their texts, about. */
  unitsMax: number;
};
/** `next`: what to go on before; null: there are no more. A page may be short and still have a next one. */
export type ArchivePage = { rows: Archived[]; next: ArchivePlace | null };

/** What a line of the part begins with. */
export const archiveHead = "+archive\t";

/** A line of the part, without its newline. */
export function readArchiveLine(line: string): ArchiveRow {
  const idEnd = line.indexOf("\t", archiveHead.length);
  const fieldsEnd = line.indexOf("\t", idEnd + 1);
  assert(
    line.startsWith(archiveHead) && fieldsEnd > idEnd && idEnd > 0,
    "a line of the archive puts a row with tags",
  );
  const [at, ...tags] = JSON.parse(line.slice(idEnd + 1, fieldsEnd)) as [number, ...string[]];
  return { id: line.slice(archiveHead.length, idEnd), at, text: line.slice(fieldsEnd + 1), tags };
}

/** In the order of places, the oldest first. */
export const isBefore = (a: ArchivePlace, b: ArchivePlace) => a.at < b.at || (a.at === b.at && a.id < b.id);

/** Searches rows that are few, one by one. */
export function searchRows(rows: Iterable<ArchiveRow>, search: ArchiveSearch): ArchivePage {
  const { tags, before, from, countMax, unitsMax } = search;
  const found = [...rows]
    .filter((row) => isBefore(row, before) && row.at >= from && tags.every((tag) => row.tags.includes(tag)))
    .sort((a, b) => (isBefore(a, b) ? 1 : -1));
  const page: Archived[] = [];
  let units = 0;
  for (const { id, at, text } of found) {
    if (page.length === countMax || units >= unitsMax) {
      const last = page.at(-1) as Archived;
      return { rows: page, next: { at: last.at, id: last.id } };
    }
    page.push({ id, at, text });
    units += text.length;
  }
  return { rows: page, next: null };
}

/** Rows that were taken and are not written yet, oldest first. */
export class ArchiveQueue {
  #rows: { upto: number; row: ArchiveRow }[] = [];
  #head = 0;
  /** Rows that ever came, and those of them that are written. */
  takenCount = 0;
  writtenCount = 0;

  get size(): number {
    return this.#rows.length - this.#head;
  }

  /** `upto`: the last revision of the batch they came with. */
  take(rows: readonly ArchiveRow[], upto: number): void {
    for (const row of rows) this.#rows.push({ upto, row });
    this.takenCount += rows.length;
  }

  /** Whether one of them came with a batch that ends at or before this revision. */
  holdsUpTo(upto: number): boolean {
    const first = this.#rows[this.#head];
    return first !== undefined && first.upto <= upto;
  }

  /** The oldest, at most so many. */
  first(countMax: number): ArchiveRow[] {
    return this.#rows.slice(this.#head, this.#head + countMax).map(({ row }) => row);
  }

  /** So many of the oldest are written. */
  written(count: number): void {
    this.writtenCount += count;
    this.#head += count;
    if (this.#head < this.#rows.length && this.#head < 4096) return;
    this.#rows = this.#rows.slice(this.#head);
    this.#head = 0;
  }
}
