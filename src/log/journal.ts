/**
 * The journal: a file beside the database that the loop itself writes and syncs. A small batch is as safe there as in
 * the database, sooner and without two hops between threads; the log's thread brings it into the database soon after,
 * and the next start whatever a crash left in the journal alone. Large batches, and all of them while the disk is slow,
 * go through the thread, which syncs whatever came before.
 *
 * It is written from its start again whenever the database is synced up to its last batch. So its first batch follows
 * one that the database is known to hold, and what an earlier round left behind its end chains to nothing before it. A stop
 * that leaves all of it in the database leaves it empty, so that most starts read no more of it than its first head.
 */
import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { readStart, SyncedFile, syncFolder, writeNew } from "./files.ts";
import { type ChainedBatch, chainBatch, chainHash, lastHeader, readHeader } from "./format.ts";
import { type Batch, piecesOf, smallBatch, unitsOf } from "./log.ts";
import { bytesAUnit, encodePieces } from "./shared.ts";

const pathOf = (folder: string) => join(folder, "journal");

/** Of one size from the start: a sync has only the batch to write, and no room can be missing. */
export const journalBytes = 4 * 1024 * 1024;

/**
 * Where a sync takes this long on average, batches are kept away for so many times the average: such a disk is not what
 * the loop waits for. A single sync counts as no more than four times that, for every disk has a bad moment.
 */
const slowMsDefault = 2;
const averagedSyncs = 8;
const pauseFactor = 20;

/** A batch as it stands in the journal: what it chains to, its own hash, and its text. */
export type Journaled = Batch & { previous: string; hash: string };

const headWord = "cortex-batch ";
const headPattern = /^cortex-batch (\d+) (\d+) ([0-9a-f]{16}) ([0-9a-f]{16}) (\d+)$/;
const headUnitsMax = 128;

/** What the head and the text of a batch take that is small enough. */
export const journaledBytesMax = headUnitsMax + bytesAUnit * smallBatch.units;

/** A head of one line, which counts the units of the text that follows it. */
const encodeHead = ({ first, last, previous, hash }: Omit<Journaled, "text">, units: number): Buffer =>
  Buffer.from(`cortex-batch ${first} ${last} ${previous} ${hash} ${units}\n`);

/** The batches that follow each other from the start. What comes then is torn, of an earlier round, or nothing. */
export function decodeJournal(text: string): Journaled[] {
  const found: Journaled[] = [];
  let at = 0;
  for (;;) {
    const head = text.slice(at, at + headUnitsMax);
    const end = head.indexOf("\n");
    const [, first, last, previous, hash, units] = headPattern.exec(head.slice(0, Math.max(end, 0))) ?? [];
    if (hash === undefined) return found;
    const from = at + end + 1;
    at = from + Number(units);
    const one = {
      first: Number(first),
      last: Number(last),
      previous: previous!,
      hash,
      text: text.slice(from, at),
    };
    if (found.length > 0 && found.at(-1)!.hash !== previous) return found;
    if (!isWhole(one)) return found;
    found.push(one);
  }
}

const isWhole = ({ first, last, previous, hash, text }: Journaled): boolean =>
  chainHash(previous, text) === hash &&
  readHeader(text).revision === first &&
  lastHeader(text).revision === last;

/** Whether there is one that was written since it was made or emptied. */
const isBegun = (folder: string) => readStart(pathOf(folder), headWord.length) === headWord;

/** What a folder's journal holds; nothing, where there is none. All of it takes a while to read: an empty one is not. */
export const readJournal = (folder: string): Journaled[] =>
  isBegun(folder) ? decodeJournal(readFileSync(pathOf(folder), "utf8")) : [];

/** Nothing in it counts any more. Of a folder that nobody else has. */
export function emptyJournal(folder: string): void {
  if (!isBegun(folder)) return;
  const file = new SyncedFile(pathOf(folder));
  file.write(Buffer.alloc(headUnitsMax), 0);
  file.sync();
  file.close();
}

/** False: there was no room for one. */
export function makeJournal(folder: string): boolean {
  const path = pathOf(folder);
  if (statSync(path, { throwIfNoEntry: false })?.size === journalBytes) return true;
  try {
    writeNew(path, journalBytes, Buffer.alloc(64 * 1024));
    syncFolder(folder);
    return true;
  } catch (error) {
    rmSync(path, { force: true });
    if ((error as { code?: string }).code === "ENOSPC") return false;
    throw error;
  }
}

/** The journal as the loop has it. */
export class Journal {
  readonly #file: SyncedFile;
  #end = 0;
  #averageMs = 0;
  #closedUntil = 0;
  #syncCount = 0;

  /** `clock`: ms, of any start. */
  constructor(
    folder: string,
    private readonly slowMs = slowMsDefault,
    private readonly clock = () => performance.now(),
  ) {
    this.#file = new SyncedFile(pathOf(folder));
  }

  get syncCount(): number {
    return this.#syncCount;
  }

  /**
   * Writes and syncs a batch that follows one of hash `previous`, in `room`, of which the row's bytes are a part. Null: it must go
   * through the thread, and nothing was done.
   */
  take(batch: Batch, previous: string, room: Uint8Array): ChainedBatch | null {
    const from = this.clock();
    const { first, last } = batch;
    const pieces = piecesOf(batch);
    const units = unitsOf(pieces);
    const isSmall = units <= smallBatch.units && last - first < smallBatch.entries;
    if (!isSmall || from < this.#closedUntil) return null;
    const text = room.subarray(headUnitsMax);
    const length = encodePieces(pieces, text) as number;
    const row = chainBatch(previous, { first, last, bytes: text.subarray(0, length) });
    const head = encodeHead({ ...row, previous }, units);
    if (this.#end + head.length + length > journalBytes) return null;
    const start = headUnitsMax - head.length;
    room.set(head, start);
    const bytes = room.subarray(start, headUnitsMax + length);
    this.#file.write(bytes, this.#end);
    this.#file.sync();
    this.#file.check();
    this.#end += bytes.length;
    this.#syncCount++;
    this.#time(from, this.clock());
    return row;
  }

  #time(from: number, to: number): void {
    this.#averageMs += (Math.min(to - from, 4 * this.slowMs) - this.#averageMs) / averagedSyncs;
    if (this.#averageMs >= this.slowMs) this.#closedUntil = to + pauseFactor * this.#averageMs;
  }

  /** The database is synced up to the last batch that was taken. */
  restart(): void {
    this.#end = 0;
  }

  close(): void {
    this.#file.close();
  }
}
