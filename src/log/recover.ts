/**
 * Recovery: reading what a storage holds, believing none of it. The newest image and then the entries after it go
 * to a sink; checksums, the chain and the mark are held against each other on the way. History that is shorter than
 * the mark, does not chain or does not match its checksums ends in a LogError that says where, and what can still be
 * read; nothing is mended silently. The one thing cut without asking is a damaged last batch beyond the mark, the
 * trace of a write that a crash interrupted, and that is told in the notes. Pure over the storage port.
 */
import type { KeptImage } from "./fold.ts";
import {
  decodeImage,
  decodeMeta,
  encodeBatch,
  encodeImage,
  encodeMark,
  encodeMeta,
  firstHash,
  firstImage,
  firstMeta,
  formatOf,
  formatVersion,
  type Image,
  isPresent,
  type LogRow,
  lastHeader,
  type Mark,
  type Meta,
  type NewRow,
  newestMark,
  type Piece,
  pieceCheck,
  plainFormat,
  readHeader,
  rowProblem,
  splitEntries,
} from "./format.ts";
import { LogError, newerFormat } from "./log.ts";
import { firstKey, type KeyedImage } from "./merge.ts";
import { migrations } from "./migrate.ts";
import type { Storage } from "./storage.ts";

/** Small texts, as pieces are, for what a record keeps of a text keeps the whole of it in memory. */
const charsPerText = 64 * 1024;
const bytesPerPage = 1024 * 1024;

/** A RecoverySink that can be waited for, so that pages can cross to another thread: as one text they cross cheapest. */
export type PageSink = {
  lines(text: string): void | Promise<void>;
  progress(done: number, total: number): void;
};

/** How a folder of format `from` becomes one of the next format. */
export type Migration = { from: number; run(storage: Storage): Promise<void> };

export type RecoverOptions = {
  /** Gives up everything after this revision, and takes what else is damaged as far as that allows. */
  recoverTo?: number;
  /** Takes the batches that are not in the image yet, oldest first. */
  tail?(row: LogRow): void;
  migrations?: readonly Migration[];
};

/** Where the log stands after recovery; the writer goes on from here. */
export type Position = {
  meta: Meta;
  mark: Mark;
  /** Oldest first; the newest again with its keys. */
  images: KeptImage[];
  newest: KeyedImage;
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
    const image = { upto: 0, text: encodeImage(firstImage) };
    unlessFull(storage, await storage.commit({ image, meta: encodeMeta(firstMeta) }, true));
    const newest = { ...firstImage, pieces: [] };
    const images = [{ image: newest, position: 0 }];
    return {
      ...{ meta: firstMeta, mark, images, newest, notes },
      ...{ last: 0, hash: firstHash, at: 0, clock: 0, logBytes: 0 },
    };
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
  const loss = await storage.readLoss();
  if (loss !== null) throw new Damage(loss);
  const images = await readImages(storage);
  const [base] = images as [Image];
  const newest: KeyedImage = { ...(images.at(-1) as Image), pieces: [] };
  const { pieces } = images.at(-1) as Image;
  const total = pieces.length + (await storage.countLog());
  let done = 0;
  sink.progress(0, total);

  for (const piece of pieces) {
    const bytes = await readPiece(storage, piece, newest.upto);
    newest.pieces.push({ ...piece, first: firstKey(bytes) });
    await sink.lines(textOf(bytes));
    sink.progress(++done, total);
  }

  const chain = new Chain(images, mark);
  let logBytes = 0;
  const kept: KeptImage[] = [{ image: base, position: 0 }];
  for await (const page of logPages(storage, base.upto)) {
    let text = "";
    for (const row of page) {
      const problem = chain.problem(row);
      if (problem !== null) {
        if (!(await isTornTail(storage, newest.upto, mark, row))) throw new Damage(problem);
        notes.push(`cut a torn batch beyond revision ${chain.last}: ${problem}`);
        unlessFull(storage, await storage.commit({ dropAbove: row.first - 1 }, true));
        break;
      }
      logBytes += Buffer.byteLength(row.text);
      const image = images[kept.length];
      if (image?.upto === row.last) kept.push({ image, position: logBytes });
      if (row.last <= newest.upto) continue;
      options.tail?.(row);
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
  (kept.at(-1) as KeptImage).image = newest;
  return {
    ...{ meta, mark, images: kept, newest, notes, logBytes },
    ...{ last: chain.last, hash: chain.hash, at: chain.at, clock: chain.clock },
  };
}

/** Where a state that was read stands; or, where it cannot be had, from which revision to which there are states. */
export type ReadAt = { last: number; at: number; clock: number } | { oldest: number; newest: number };

/** Reads the state as it was at `revision` (null: the newest), and changes nothing. What it reads it believes as little as a start does. */
export async function readAt(storage: Storage, revision: number | null, sink: PageSink): Promise<ReadAt> {
  try {
    return await readStateAt(storage, revision ?? Number.POSITIVE_INFINITY, sink);
  } catch (error) {
    if (error instanceof Damage) throw damaged(storage, error.message, null);
    throw error;
  }
}

async function readStateAt(storage: Storage, revision: number, sink: PageSink): Promise<ReadAt> {
  if (decodeMeta((await storage.readMeta()) ?? "") === null)
    throw new Damage("the meta row is missing, of another format, or has a wrong checksum");
  const loss = await storage.readLoss();
  if (loss !== null && revision === Number.POSITIVE_INFINITY) throw new Damage(loss);
  const images = await readImages(storage);
  const base = images.findLast(({ upto }) => upto <= revision);
  const chain = new Chain([base ?? (images[0] as Image)], null);
  // Nothing is given to the sink before it is known that the state can be had.
  const entries: string[] = [];
  let { last, at, clock } = chain;
  for await (const page of logPages(storage, chain.last))
    for (const row of page) {
      const problem = chain.problem(row);
      if (problem !== null) throw new Damage(problem);
      if (row.first > revision) continue;
      for (const entry of splitEntries(row.text)) {
        const header = readHeader(entry);
        if (header.revision > revision) break;
        ({ revision: last, at, clock } = header);
        entries.push(entry);
      }
    }
  if (base === undefined || (revision > chain.last && revision < Number.POSITIVE_INFINITY))
    return { oldest: (images[0] as Image).upto, newest: chain.last };
  for (const piece of base.pieces) await sink.lines(textOf(await readPiece(storage, piece, base.upto)));
  for (const entry of entries) await sink.lines(entry);
  return { last, at, clock };
}

/** A piece as text; what its lines' parts and keys are made of. */
const textOf = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");

/** Follows the log from the revision where it starts, and holds it against the mark. */
class Chain {
  last: number;
  hash: string;
  at: number;
  clock: number;
  #markSeen: boolean;

  readonly #images: Image[];

  /** `images`: oldest first; from the first of them on. */
  constructor(
    images: readonly Image[],
    readonly mark: Mark | null,
  ) {
    const [base] = images as [Image];
    this.last = base.upto;
    this.hash = base.hash;
    this.at = base.at;
    this.clock = base.clock;
    this.#images = images.slice(1);
    // A slot that fell back to the one before may lie below what is kept; then there is nothing to compare.
    this.#markSeen = mark === null || mark.revision < base.upto;
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
    const [image] = this.#images;
    if (image === undefined || image.upto > this.last) return null;
    this.#images.shift();
    const isSame = image.upto === this.last && image.hash === this.hash;
    return isSame ? null : `the image of revision ${image.upto} is of another history`;
  }

  problemAtEnd(): string | null {
    const wrongMark = this.#markProblem();
    if (wrongMark !== null) return wrongMark;
    if (!this.#markSeen) {
      return this.mark!.revision > this.last
        ? `the log ends at revision ${this.last}, but revision ${this.mark!.revision} was synced`
        : `no batch ends at the mark's revision ${this.mark!.revision}`;
    }
    const [image] = this.#images;
    if (image !== undefined)
      return `the log ends at revision ${this.last}, but an image is as of revision ${image.upto}`;
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
async function isTornTail(storage: Storage, foldedTo: number, mark: Mark, row: LogRow): Promise<boolean> {
  if (row.first <= mark.revision || row.first <= foldedTo) return false;
  return (await storage.readLog(row.first, 1)).length === 0;
}

/** Oldest first; at least one. */
async function readImages(storage: Storage): Promise<Image[]> {
  const rows = await storage.readImages();
  if (rows.length === 0) throw new Damage("there is no image");
  return rows.map(({ upto, text }) => {
    const image = decodeImage(text);
    if (image?.upto !== upto) throw new Damage(imageProblem(upto));
    return image;
  });
}

const imageProblem = (upto: number) => `the list of the image of revision ${upto} has a wrong checksum`;

export async function readPiece(storage: Storage, piece: Piece, upto: number): Promise<Uint8Array> {
  const bytes = await storage.readPiece(piece.id);
  if (bytes === null) throw new Damage(`piece ${piece.id} of the image of revision ${upto} is missing`);
  if (bytes.length !== piece.bytes || pieceCheck(bytes) !== piece.check)
    throw new Damage(`piece ${piece.id} of the image of revision ${upto} has a wrong checksum`);
  return bytes;
}

async function* logPages(storage: Storage, start: number): AsyncGenerator<LogRow[]> {
  let after = start;
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
    if (format === null || isPresent(format)) return text;
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
  /** The newest image, and the oldest. */
  imageIntact: boolean;
  baseIntact: boolean;
  /** The revisions of all images that are whole, ascending. */
  images: number[];
  /** It is of an older format, and was not looked at: the next start brings it to the present one. */
  isOlder: boolean;
  /** A snapshot keeps no entries. */
  isSnapshot: boolean;
  /** Rows of the newest image, and entries kept, as far as they are whole. */
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

/** Of what cannot even be looked at. */
export function unreadable(problems: string[], isOlder = false): Inspection {
  return {
    isOlder,
    ...{ problems, imageIntact: false, baseIntact: false, images: [], isSnapshot: false, rowCount: 0 },
    ...{ entryCount: 0, logFrom: 0, logTo: 0, hash: firstHash, at: 0, recoverTo: null },
  };
}

/** `slots`: the mark, where it does not lie beside. */
export async function inspect(
  storage: Storage,
  slots?: readonly string[],
  /** Of all pieces and rows, how many were read. */
  progress: (done: number, total: number) => void = () => {},
): Promise<Inspection> {
  const problems: string[] = [];
  const metaText = (await storage.readMeta()) ?? "";
  const format = formatOf(metaText) ?? formatVersion;
  const meta = isPresent(format) ? decodeMeta(metaText) : null;
  if (meta === null) {
    const isOlder = format < plainFormat;
    problems.push(
      isOlder
        ? `it is of format ${format}, which the next start brings to format ${plainFormat}`
        : "the meta row is missing or has a wrong checksum",
    );
    return unreadable(problems, isOlder);
  }
  const mark = newestMark(slots ?? (await storage.readMark()));
  if (mark === null) problems.push("the mark is missing, or neither of its slots can be read");
  const loss = await storage.readLoss();
  if (loss !== null) problems.push(loss);
  const total = (await storage.pieceIds()).length + (await storage.countLog());
  let done = 0;
  const rows = await storage.readImages();
  const images: Image[] = [];
  const whole: number[] = [];
  const pieces = new Map<number, boolean>();
  let rowCount = 0;
  for (const { upto, text } of rows) {
    const image = decodeImage(text);
    if (image?.upto !== upto) {
      problems.push(imageProblem(upto));
      continue;
    }
    images.push(image);
    const isNewest = upto === rows.at(-1)!.upto;
    let isWhole = true;
    for (const piece of image.pieces) {
      const known = pieces.get(piece.id);
      isWhole &&= known !== false;
      if (known === false || (known === true && !isNewest)) continue;
      if (known === undefined) progress(++done, total);
      try {
        const bytes = await readPiece(storage, piece, upto);
        if (isNewest) rowCount += lineCount(bytes);
        pieces.set(piece.id, true);
      } catch (error) {
        problems.push((error as Error).message);
        pieces.set(piece.id, false);
        isWhole = false;
      }
    }
    if (isWhole) whole.push(upto);
  }
  if (images.length === 0) return unreadable([...problems, "there is no image"]);
  const logFrom = images[0]!.upto;
  const imageIntact = whole.includes(rows.at(-1)!.upto);
  const baseIntact = whole.includes(rows[0]!.upto);
  let entryCount = 0;
  const chain = new Chain(images, null);
  try {
    let problem: string | null = null;
    for await (const page of logPages(storage, logFrom)) {
      for (const row of page) {
        problem ??= chain.problem(row);
        if (problem === null) entryCount += row.checks.length / 8;
        if (problem === null && row.last === mark?.revision && row.hash !== mark.hash) {
          problems.push(`revision ${row.last} has another hash than the mark's`);
        }
      }
      if (problem !== null) break;
      done += page.length;
      progress(done, total);
    }
    if (problem !== null) problems.push(problem);
  } catch (error) {
    problems.push((error as Error).message);
  }
  if (mark !== null && mark.revision > chain.last) {
    problems.push(`the log is whole up to revision ${chain.last}, but revision ${mark.revision} was synced`);
  }
  const isLackingEntries = problems.length === 0 && rows.at(-1)!.upto > chain.last;
  if (isLackingEntries) problems.push(chain.problemAtEnd()!);
  return {
    ...{
      problems,
      imageIntact,
      baseIntact,
      images: whole,
      isOlder: false,
      isSnapshot: meta.isSnapshot,
      rowCount,
      entryCount,
    },
    ...{ logFrom, logTo: chain.last, hash: chain.hash, at: chain.at },
    recoverTo: whole.some((upto) => upto <= chain.last) ? chain.last : null,
  };
}

function lineCount(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}

/**
 * Makes `revision` the end of the history: the newest image that is whole and not newer becomes the newest of all, and
 * the entries after it are replayed. The mark is written last: after a crash in between the next start refuses again, and this is
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
  const from = found.images.findLast((upto) => upto <= revision);
  if (from === undefined) {
    throw damaged(
      storage,
      `revision ${revision} cannot be recovered: what is kept begins at revision ${found.images[0]}`,
      top,
    );
  }
  const images = await storage.readImages();
  const isKept = (upto: number) => upto <= from && found.images.includes(upto);
  const base = decodeImage(images.find(({ upto }) => isKept(upto))!.text)!;

  // The batch in which the history ends keeps the entries up to there.
  let last = base.upto;
  let hash = base.hash;
  let highest = last;
  let replaced: NewRow | undefined;
  for await (const page of logPages(storage, base.upto)) {
    for (const row of page) {
      highest = Math.max(highest, row.last);
      if (row.first > revision) continue;
      if (row.last > revision) replaced = cutBatch(hash, row, revision);
      ({ last, hash } = replaced ?? row);
    }
  }
  const dropImages = images.map(({ upto }) => upto).filter((upto) => !isKept(upto));
  unlessFull(
    storage,
    await storage.commit(
      { dropAbove: last, dropImages, log: replaced === undefined ? [] : [replaced] },
      true,
    ),
  );
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
  const isNewest = from === images.at(-1)!.upto;
  notes.push(
    `recovered to revision ${last}${isNewest ? "" : ` from the image of revision ${from}`}; what came after is given up`,
  );
}

function cutBatch(previousHash: string, row: LogRow, revision: number): NewRow {
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
