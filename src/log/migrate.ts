/**
 * From one format of a data folder to the next. Runs over a folder that was copied before. What is read is verified as
 * the old format promised; the last commit alone makes the folder one of the new format, so that after a crash before
 * it the next start begins again.
 */
import {
  encodeImage,
  encodeMeta,
  firstImage,
  type LogRow,
  lastHeader,
  plainFormat,
  rowProblem,
} from "./format.ts";
import { Generation, type Place } from "./generation.ts";
import { LogError } from "./log.ts";
import { type KeyedImage, Merge, newBench } from "./merge.ts";
import type { Migration } from "./recover.ts";
import type { Storage } from "./storage.ts";

/** What a storage that was ever of format 1 can do besides. Then an image was a table, a row a record. */
export interface OldStorage extends Storage {
  /** Empty tables for images and pieces. */
  beginFormat2(): Promise<void>;
  /** The rows after (part, key), in the order of both; null: from the start. */
  readRows(
    table: "image" | "base",
    after: { part: string; key: string } | null,
    countMax: number,
  ): Promise<(readonly [part: string, key: string, text: string, check: number])[]>;
  /** In one synced commit: the images and the meta row are written, and the old tables go. */
  endFormat2(images: readonly { upto: number; text: string }[], meta: string): Promise<void>;
}

/** Rows of `image` were as of imageTo, some already as of imageFolding; those of `base` likewise. */
type OldMeta = {
  imageTo: number;
  imageFolding: number;
  baseTo: number;
  baseFolding: number;
  hasBase: boolean;
  hash: string;
  at: number;
  clock: number;
};

const rowsPerPage = 1024;
const generationBytes = 16 * 1024 * 1024;
const stepBytes = 1024 * 1024;

export const migrations: readonly Migration[] = [
  { from: 1, run: (storage) => rowsToPieces(storage as OldStorage) },
];

async function rowsToPieces(storage: OldStorage): Promise<void> {
  const meta = decodeOldMeta(storage, (await storage.readMeta()) ?? "");
  await storage.beginFormat2();
  const { baseTo, imageTo, hash, at, clock } = meta;
  const builder = new Builder(storage);
  const place = { upto: baseTo, hash, at, clock };
  const goals: Goal[] = [];
  const add = async (table: "image" | "base", to: number, folding: number) => {
    const image = await builder.fromRows(table);
    const upto = Math.max(to, folding);
    goals.push({
      to,
      upto,
      image: to === baseTo ? { ...image, ...place } : image,
      texts: [],
      bytes: 0,
      place,
    });
  };
  if (meta.hasBase && (baseTo < imageTo || meta.baseFolding < meta.imageFolding))
    await add("base", baseTo, meta.baseFolding);
  await add("image", imageTo, meta.imageFolding);

  for await (const row of rowsUpTo(storage, place, Math.max(...goals.map(({ upto }) => upto)))) {
    const reached = { upto: row.last, hash: row.hash, ...timesOf(row.text) };
    for (const goal of goals) {
      if (row.last <= goal.to) Object.assign(goal.image, reached);
      else if (goal.place.upto < goal.upto) {
        goal.texts.push(row.text);
        goal.bytes += row.text.length;
      }
      if (goal.place.upto < goal.upto) goal.place = reached;
      if (goal.bytes >= generationBytes) await builder.finish(goal);
    }
  }
  for (const goal of goals) {
    await builder.finish(goal);
    if (goal.image.upto < goal.upto) throw damaged(storage, "the log ends before its image");
  }
  const kept = goals.filter(({ image }, index) => image.upto !== goals[index + 1]?.image.upto);
  const images = kept.map(({ image }) => ({ upto: image.upto, text: encodeImage(image) }));
  await storage.endFormat2(images, encodeMeta({ format: plainFormat, isSnapshot: !meta.hasBase }));
}

/** An image underway: its rows are as of `to`, and it is whole with the entries up to `upto`, of which some wait. */
type Goal = { to: number; upto: number; image: KeyedImage; texts: string[]; bytes: number; place: Place };

/** The log's rows from a place on, verified, until one of them reaches `upto`: what is torn lies behind. */
async function* rowsUpTo(storage: Storage, from: Place, upto: number): AsyncGenerator<LogRow> {
  let last = { last: from.upto, hash: from.hash };
  while (last.last < upto) {
    const page = await storage.readLog(last.last, stepBytes);
    if (page.length === 0) return;
    for (const row of page) {
      if (last.last >= upto) return;
      if (rowProblem(last.hash, row) !== null)
        throw damaged(storage, `log row ${row.first}–${row.last} is damaged`);
      yield row;
      last = row;
    }
  }
}

const timesOf = (text: string) => {
  const { at, clock } = lastHeader(text);
  return { at, clock };
};

/** Makes images of rows and entries, piece by piece. */
class Builder {
  #nextId = 1;
  readonly #bench = newBench();
  readonly #generation = new Generation(firstImage);

  constructor(readonly storage: OldStorage) {}

  async fromRows(table: "image" | "base"): Promise<KeyedImage> {
    let image: KeyedImage = { ...firstImage, pieces: [] };
    let after: { part: string; key: string } | null = null;
    let lines: string[] = [];
    let length = 0;
    for (;;) {
      const page = await this.storage.readRows(table, after, rowsPerPage);
      for (const [part, key, text, check] of page) {
        if (Bun.hash.crc32(text, Bun.hash.crc32(key, Bun.hash.crc32(part))) !== check)
          throw damaged(
            this.storage,
            `row ${JSON.stringify(key)} of ${part} (${table}) has a wrong checksum`,
          );
        const line = `+${part}\t${key}\t${text}\n`;
        lines.push(line);
        length += line.length;
        after = { part, key };
      }
      if (page.length > 0 && length < generationBytes) continue;
      image = await this.fold(image, lines, image);
      if (page.length === 0) return image;
      lines = [];
      length = 0;
    }
  }

  /** Folds what waits. */
  async finish(goal: Goal): Promise<void> {
    if (goal.texts.length === 0) return;
    goal.image = await this.fold(goal.image, goal.texts, goal.place);
    goal.texts = [];
    goal.bytes = 0;
  }

  async fold(image: KeyedImage, texts: readonly string[], place: Place): Promise<KeyedImage> {
    const generation = this.#generation;
    const { upto, hash, at, clock } = place;
    generation.clear({ upto, hash, at, clock });
    for (const text of texts) generation.gather(generation.stage(Buffer.from(text)), generation.place);
    const merge = new Merge(generation, image, this.#nextId, this.#bench);
    for (;;) {
      const { pieces, image: done } = await merge.step(stepBytes, async ({ id }) => {
        const bytes = await this.storage.readPiece(id);
        if (bytes === null) throw new Error(`piece ${id} is gone`);
        return bytes;
      });
      this.#nextId = merge.nextId;
      if (pieces.length > 0 && (await this.storage.commit({ pieces }, false)) === "full")
        throw full(this.storage);
      if (done !== null) return done;
    }
  }
}

function decodeOldMeta(storage: Storage, text: string): OldMeta {
  const body = text.slice(9);
  if (Bun.hash.crc32(body).toString(16).padStart(8, "0") !== text.slice(0, 8))
    throw damaged(storage, "the meta row has a wrong checksum");
  return JSON.parse(body) as OldMeta;
}

function damaged({ name }: Storage, what: string): LogError {
  return new LogError(
    "data-folder-damaged",
    `${name} is of format 1, and damaged: ${what}. It was not migrated`,
    "Start the version of cortexd that wrote it, and follow what it says; or restore a backup (`cortexd restore FROM`).",
  );
}

function full({ name }: Storage): LogError {
  return new LogError(
    "data-folder-not-writable",
    `the disk that holds ${name} is too full to bring it to the present format`,
    "Make room on it, then start again: nothing was changed.",
  );
}
