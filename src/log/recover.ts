/**
 * Recovery: reading what a storage holds, believing none of it. The image's rows and then the entries after them go
 * to a sink; checksums, the chain and the mark are held against each other on the way. History that is shorter than
 * the mark, does not chain or does not match its checksums ends in a LogError that says where, and what can still be
 * read; nothing is mended silently. The one thing cut without asking is a damaged last batch beyond the mark, the
 * trace of a write that a crash interrupted, and that is told in the notes. Pure over the storage port.
 */
import {
  type Change,
  decodeMeta,
  encodeBatch,
  encodeMark,
  encodeMeta,
  firstHash,
  firstMeta,
  formatOf,
  formatVersion,
  type LogRow,
  lastHeader,
  type Mark,
  type Meta,
  newestMark,
  readChanges,
  readHeader,
  rowCheck,
  rowProblem,
  splitEntries,
} from "./format.ts";
import { LogError, newerFormat } from "./log.ts";
import type { Image, Row, Storage } from "./storage.ts";

/** Small pages, for what a record keeps of a page's text keeps the whole text in memory. */
const rowsPerPage = 256;
const charsPerText = 64 * 1024;
const bytesPerPage = 1024 * 1024;

/** A RecoverySink that can be waited for, so that pages can cross to another thread: as one text they cross cheapest. */
export type PageSink = {
  lines(text: string): void | Promise<void>;
  progress(done: number, total: number): void;
};

/** How a folder of format `from` becomes one of the next format. */
export type Migration = { from: number; run(storage: Storage): Promise<void> };

/** None yet: there is only version 1. The next one adds `{ from: 1, run }` here. */
const migrations: readonly Migration[] = [];

export type RecoverOptions = {
  /** Gives up everything after this revision, and takes what else is damaged as far as that allows. */
  recoverTo?: number;
  /** Takes the batches that are not in the image yet, oldest first. */
  tail?(row: LogRow, changes: Change[]): void;
  migrations?: readonly Migration[];
};

/** Where the log stands after recovery; the writer goes on from here. */
export type Position = {
  meta: Meta;
  mark: Mark;
  last: number;
  hash: string;
  at: number;
  clock: number;
  logBytes: number;
  notes: string[];
};

export async function recover(storage: Storage, sink: PageSink, options: RecoverOptions): Promise<Position> {
  const notes: string[] = [];
  let metaText = await storage.readMeta();
  const slots = await storage.readMark();
  if (metaText === null) {
    // The first mark has sequence 0 and is written before the meta row; whoever opens writes sequence 1 after it.
    // So a second slot that was ever used says that there was more here than a folder being made.
    const mark = newestMark(slots) ?? { revision: 0, hash: firstHash, ceiling: 0, sequence: 0 };
    if (mark.sequence > 0 || (slots[1] ?? "") !== "") {
      throw damaged(storage, "the database is empty or gone, but the mark is there", null);
    }
    await storage.writeMark(0, encodeMark(mark));
    unlessFull(storage, await storage.commit({ meta: encodeMeta(firstMeta) }, true));
    return { meta: firstMeta, mark, last: 0, hash: firstHash, at: 0, clock: 0, logBytes: 0, notes };
  }
  metaText = await migrate(storage, metaText, options.migrations ?? migrations, notes);
  if (options.recoverTo !== undefined) {
    await cutTo(storage, options.recoverTo, newestMark(slots), notes);
    metaText = (await storage.readMeta()) ?? "";
  }
  try {
    return await readAll(storage, metaText, newestMark(await storage.readMark()), sink, options, notes);
  } catch (error) {
    const isDamage =
      error instanceof Damage || (error instanceof LogError && error.code === "data-folder-damaged");
    if (!isDamage) throw error;
    throw damaged(storage, error.message, (await inspect(storage)).recoverTo);
  }
}

async function readAll(
  storage: Storage,
  metaText: string,
  mark: Mark | null,
  sink: PageSink,
  options: RecoverOptions,
  notes: string[],
): Promise<Position> {
  const meta = decodeMeta(metaText);
  if (meta === null) throw new Damage("the meta row has a wrong checksum");
  if (mark === null) throw new Damage("the mark is missing, or neither of its slots can be read");
  const counts = await storage.count();
  const total = counts.rows + counts.log;
  let done = 0;
  sink.progress(0, total);

  for await (const page of rowPages(storage, "image")) {
    let text = "";
    for (const [part, key, cell] of page) text += `+${part}\t${key}\t${cell}\n`;
    await sink.lines(text);
    done += page.length;
    sink.progress(done, total);
  }

  const chain = new Chain(meta, mark);
  let logBytes = 0;
  for await (const page of logPages(storage)) {
    let text = "";
    for (const row of page) {
      const problem = chain.problem(row);
      if (problem !== null) {
        if (!(await isTornTail(storage, meta, mark, row))) throw new Damage(problem);
        notes.push(`cut a torn batch beyond revision ${chain.last}: ${problem}`);
        unlessFull(storage, await storage.commit({ dropAbove: row.first - 1 }, true));
        break;
      }
      logBytes += row.text.length;
      if (row.last <= meta.imageTo) continue;
      options.tail?.(row, readChanges(row.text));
      text += row.text;
      if (text.length >= charsPerText) {
        await sink.lines(text);
        text = "";
      }
    }
    if (text !== "") await sink.lines(text);
    done += page.length;
    sink.progress(Math.min(done, total), total);
  }
  const problem = chain.problemAtEnd();
  if (problem !== null) throw new Damage(problem);
  sink.progress(total, total);
  return {
    meta,
    mark,
    last: chain.last,
    hash: chain.hash,
    at: chain.at,
    clock: chain.clock,
    logBytes,
    notes,
  };
}

/** Follows the log from the revision where it starts, and holds it against the mark. */
class Chain {
  last: number;
  hash: string;
  at: number;
  clock: number;
  #markSeen: boolean;

  constructor(
    readonly meta: Meta,
    readonly mark: Mark | null,
  ) {
    this.last = meta.baseTo;
    this.hash = meta.hash;
    this.at = meta.at;
    this.clock = meta.clock;
    // A slot that fell back to the one before may lie below what is kept; then there is nothing to compare.
    this.#markSeen = mark === null || mark.revision < meta.baseTo;
  }

  /** Takes the row when nothing is wrong with it. */
  problem(row: LogRow): string | null {
    const where = `log row ${row.first}–${row.last}`;
    if (row.first <= this.last) return `${where} starts at or below revision ${this.last}`;
    const problem = rowProblem(this.hash, row);
    if (problem !== null) return `${where}: ${problem}`;
    const wrongMark = this.#markProblem();
    if (wrongMark !== null) return wrongMark;
    this.last = row.last;
    this.hash = row.hash;
    const header = lastHeader(row.text);
    this.at = header.at;
    this.clock = header.clock;
    return null;
  }

  problemAtEnd(): string | null {
    const wrongMark = this.#markProblem();
    if (wrongMark !== null) return wrongMark;
    if (!this.#markSeen) {
      return this.mark!.revision > this.last
        ? `the log ends at revision ${this.last}, but revision ${this.mark!.revision} was synced`
        : `no batch ends at the mark's revision ${this.mark!.revision}`;
    }
    if (this.last < this.meta.imageTo || this.last < this.meta.imageFolding) {
      const rows = Math.max(this.meta.imageTo, this.meta.imageFolding);
      return `the log ends at revision ${this.last}, but rows are as of revision ${rows}`;
    }
    return null;
  }

  #markProblem(): string | null {
    if (this.#markSeen || this.last !== this.mark!.revision) return null;
    if (this.hash !== this.mark!.hash) return `revision ${this.last} has another hash than the mark's`;
    this.#markSeen = true;
    return null;
  }
}

/** A crash tears at most the last batch, and never one that a sync covered or that was folded. */
async function isTornTail(storage: Storage, meta: Meta, mark: Mark, row: LogRow): Promise<boolean> {
  if (row.first <= mark.revision || row.first <= meta.imageFolding) return false;
  return (await storage.readLog(row.first, 1)).length === 0;
}

/** The rows of an image, verified. */
async function* rowPages(storage: Storage, image: Image): AsyncGenerator<Row[]> {
  let after: { part: string; key: string } | null = null;
  for (;;) {
    const page = await storage.readRows(image, after, rowsPerPage);
    const end = page.at(-1);
    if (end === undefined) return;
    for (const [part, key, text, check] of page) {
      if (rowCheck(part, key, text) !== check) {
        throw new Damage(`row ${JSON.stringify(key)} of ${part} (${image}) has a wrong checksum`);
      }
    }
    yield page;
    after = { part: end[0], key: end[1] };
  }
}

async function* logPages(storage: Storage): AsyncGenerator<LogRow[]> {
  let after = 0;
  for (;;) {
    const page = await storage.readLog(after, bytesPerPage);
    const end = page.at(-1);
    if (end === undefined) return;
    yield page;
    after = end.first;
  }
}

async function migrate(
  storage: Storage,
  metaText: string,
  steps: readonly Migration[],
  notes: string[],
): Promise<string> {
  let text = metaText;
  for (;;) {
    const format = formatOf(text);
    if (format === null || format === formatVersion) return text;
    if (format > formatVersion) {
      throw newerFormat(storage.name, format);
    }
    const step = steps.find((migration) => migration.from === format);
    if (step === undefined) throw damaged(storage, `its format is ${format}, which never was one`, null);
    const copy = `cortex.format-${format}.db`;
    await storage.copyTo(copy);
    await step.run(storage);
    text = (await storage.readMeta()) ?? "";
    const reached = formatOf(text);
    if (reached === null || reached <= format)
      throw damaged(storage, `its migration from format ${format} failed`, null);
    notes.push(`migrated from format ${format} to ${reached}; the data as it was is kept in ${copy}`);
  }
}

/** What a storage holds, seen without changing anything. */
export type Inspection = {
  /** In words, where each damage is. */
  problems: string[];
  imageIntact: boolean;
  baseIntact: boolean;
  /** A snapshot keeps no entries. */
  isSnapshot: boolean;
  /** Rows of the image, and entries kept, as far as they are whole. */
  rowCount: number;
  entryCount: number;
  /** The entries after `logFrom` up to this revision are whole and chained; with the chain's hash and wall time there. */
  logFrom: number;
  logTo: number;
  hash: string;
  at: number;
  /** The highest revision that can be recovered to; null when there is none. */
  recoverTo: number | null;
};

/** `slots`: the mark, where it does not lie beside. */
export async function inspect(storage: Storage, slots?: readonly string[]): Promise<Inspection> {
  const problems: string[] = [];
  const metaText = (await storage.readMeta()) ?? "";
  const format = formatOf(metaText) ?? formatVersion;
  const meta = format === formatVersion ? decodeMeta(metaText) : null;
  if (meta === null) {
    const isOther = format !== formatVersion;
    problems.push(isOther ? `the format is ${format}` : "the meta row is missing or has a wrong checksum");
    return {
      ...{ problems, imageIntact: false, baseIntact: false, isSnapshot: false, rowCount: 0, entryCount: 0 },
      ...{ logFrom: 0, logTo: 0, hash: firstHash, at: 0, recoverTo: null },
    };
  }
  const mark = newestMark(slots ?? (await storage.readMark()));
  if (mark === null) problems.push("the mark is missing, or neither of its slots can be read");
  let rowCount = 0;
  let entryCount = 0;
  const isIntact = async (image: Image) => {
    try {
      for await (const page of rowPages(storage, image)) {
        if (image === "image") rowCount += page.length;
      }
      return true;
    } catch (error) {
      problems.push((error as Error).message);
      return false;
    }
  };
  const imageIntact = await isIntact("image");
  const baseIntact = meta.hasBase && (await isIntact("base"));
  const chain = new Chain(meta, null);
  try {
    let problem: string | null = null;
    for await (const page of logPages(storage)) {
      for (const row of page) {
        problem ??= chain.problem(row);
        if (problem === null) entryCount += row.checks.length / 8;
        if (problem === null && row.last === mark?.revision && row.hash !== mark.hash) {
          problems.push(`revision ${row.last} has another hash than the mark's`);
        }
      }
      if (problem !== null) break;
    }
    if (problem !== null) problems.push(problem);
  } catch (error) {
    problems.push((error as Error).message);
  }
  if (mark !== null && mark.revision > chain.last) {
    problems.push(`the log is whole up to revision ${chain.last}, but revision ${mark.revision} was synced`);
  }
  const fromImage = imageIntact && chain.last >= Math.max(meta.imageTo, meta.imageFolding);
  const fromBase = baseIntact && chain.last >= meta.baseFolding;
  return {
    problems,
    imageIntact,
    baseIntact,
    isSnapshot: !meta.hasBase,
    rowCount,
    entryCount,
    logFrom: meta.baseTo,
    logTo: chain.last,
    hash: chain.hash,
    at: chain.at,
    recoverTo: fromImage || fromBase ? chain.last : null,
  };
}

/**
 * Makes `revision` the end of the history. From the image when it is not newer, else from the base, whose entries are
 * then all replayed. The mark is written last: after a crash in between the next start refuses again, and this is
 * run again.
 */
async function cutTo(storage: Storage, revision: number, mark: Mark | null, notes: string[]): Promise<void> {
  const found = await inspect(storage);
  const meta = decodeMeta((await storage.readMeta()) ?? "");
  const top = found.recoverTo;
  if (meta !== null && top !== null && revision > top && found.problems.length === 0)
    throw new LogError(
      "data-folder-damaged",
      `${storage.name} holds no revision ${revision}: it ends at ${top}, and nothing in it is damaged`,
      "Start without --recover-to, or name an earlier revision.",
    );
  if (meta === null || top === null || revision > top) {
    throw damaged(
      storage,
      `revision ${revision} cannot be recovered: ${found.problems.join("; ") || "it is not there"}`,
      top,
    );
  }
  const fromImage = found.imageIntact && revision >= Math.max(meta.imageTo, meta.imageFolding);
  if (!fromImage && !(found.baseIntact && revision >= meta.baseFolding)) {
    const oldest = found.baseIntact ? meta.baseFolding : Math.max(meta.imageTo, meta.imageFolding);
    throw damaged(
      storage,
      `revision ${revision} cannot be recovered: what is kept begins at revision ${oldest}`,
      top,
    );
  }

  // The batch in which the history ends keeps the entries up to there.
  let last = meta.baseTo;
  let hash = meta.hash;
  let highest = last;
  let replaced: LogRow | undefined;
  for await (const page of logPages(storage)) {
    for (const row of page) {
      highest = Math.max(highest, row.last);
      if (row.first > revision) continue;
      if (row.last > revision) replaced = cutBatch(hash, row, revision);
      ({ last, hash } = replaced ?? row);
    }
  }
  const write = {
    copy: fromImage ? undefined : ({ to: "image", from: "base" } as const),
    dropAbove: last,
    log: replaced,
    meta: encodeMeta(fromImage ? meta : { ...meta, imageTo: meta.baseTo, imageFolding: meta.baseFolding }),
  };
  unlessFull(storage, await storage.commit(write, true));
  // An unreadable mark may have promised any revision that was reserved: go on far above what can be seen.
  const ceiling =
    mark === null ? Math.max(highest, revision) + unknownCeiling : Math.max(mark.ceiling, highest, revision);
  const sequence = (mark?.sequence ?? 0) + 1;
  for (const next of [sequence, sequence + 1]) {
    await storage.writeMark(
      (next % 2) as 0 | 1,
      encodeMark({ revision: last, hash, ceiling, sequence: next }),
    );
  }
  notes.push(
    `recovered to revision ${last}${fromImage ? "" : " from the base"}; what came after is given up`,
  );
}

function cutBatch(previousHash: string, row: LogRow, revision: number): LogRow {
  const kept = splitEntries(row.text).filter((entry) => readHeader(entry).revision <= revision);
  return encodeBatch(previousHash, {
    first: row.first,
    last: readHeader(kept.at(-1)!).revision,
    text: kept.join(""),
  });
}

/** More revisions than are ever reserved at once. */
const unknownCeiling = 1_000_000_000;

class Damage extends Error {}

function damaged(storage: Storage, what: string, recoverTo: number | null): LogError {
  const readable =
    recoverTo === null
      ? "No state in it can be put together whole."
      : `What is there up to revision ${recoverTo} is whole.`;
  const advice =
    recoverTo === null
      ? "`cortexd verify` says where. Restore a backup (`cortexd restore FROM`); to start anew, move the folder away."
      : `\`cortexd serve --recover-to ${recoverTo}\` goes on from there and gives up the rest; or restore a backup. ` +
        "Copy the folder first. `cortexd verify` says where it is damaged.";
  return new LogError("data-folder-damaged", `${storage.name} is damaged: ${what}. ${readable}`, advice);
}

/** Where there is no going on without room: before the log is open. */
export function unlessFull(storage: Storage, result: "done" | "full"): void {
  if (result === "done") return;
  throw new LogError(
    "data-folder-not-writable",
    `the disk that holds ${storage.name} is full`,
    "Make room on it, then start again.",
  );
}
