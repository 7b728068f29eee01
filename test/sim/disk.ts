/**
 * The virtual disk under the log's pure parts. It keeps the promises of src/log/storage.ts to the letter and not a
 * bit more: every call completes late, never inline; a power cut keeps a prefix of the unsynced commits and may tear
 * the next one and the mark slot being written; it fills up, and it fails. It outlives the processes that use it,
 * and knows what it has synced, so that nobody else has to be believed.
 */
import { type ArchiveRow, searchRows } from "../../src/log/archive.ts";
import type { LogRow } from "../../src/log/format.ts";
import type { Storage, Write } from "../../src/log/storage.ts";
import { oldestOf, type Taken, taken } from "../log/disk.ts";
import type { Process, World } from "./world.ts";

type Contents = {
  meta: string | null;
  log: Map<number, LogRow>;
  images: Map<number, string>;
  pieces: Map<number, Uint8Array>;
  archive: Map<string, ArchiveRow>;
  /** The last revision it holds. */
  last: number;
};

const empty = (): Contents => ({
  meta: null,
  log: new Map(),
  images: new Map(),
  pieces: new Map(),
  archive: new Map(),
  last: 0,
});
const copyOf = (from: Contents): Contents => ({
  ...from,
  log: new Map(from.log),
  images: new Map(from.images),
  pieces: new Map(from.pieces),
  archive: new Map(from.archive),
});

function apply(contents: Contents, write: Taken): void {
  if (write.dropAbove !== undefined || write.dropThrough !== undefined)
    for (const first of [...contents.log.keys()]) {
      if (write.dropAbove !== undefined && first > write.dropAbove) contents.log.delete(first);
      if (write.dropThrough !== undefined && first <= write.dropThrough) contents.log.delete(first);
    }
  for (const upto of write.dropImages ?? []) contents.images.delete(upto);
  for (const id of write.dropPieces ?? []) contents.pieces.delete(id);
  for (const row of write.log ?? []) contents.log.set(row.first, row);
  for (const { id, bytes } of write.pieces ?? []) contents.pieces.set(id, bytes);
  if (write.image !== undefined) contents.images.set(write.image.upto, write.image.text);
  for (const id of write.dropArchived ?? []) contents.archive.delete(id);
  for (const row of write.archive ?? []) contents.archive.set(row.id, row);
  if (write.meta !== undefined) contents.meta = write.meta;
  contents.last = Math.max(contents.last, write.log?.at(-1)?.last ?? 0, write.image?.upto ?? 0);
}

/** A call on its way: what it does when it takes place. */
type Call = { process: Process; take: () => void; mark: { slot: 0 | 1; text: string } | null };

export class Disk {
  /** What a process reads, and what is left of that after a power cut. */
  #cache = empty();
  #synced = empty();
  #unsynced: Taken[] = [];
  #mark: string[] = [];
  #call: Call | null = null;
  /** Commits find no room. */
  isFull = false;
  /** The next commit fails, and the storage is beyond use. */
  failsNext = false;
  /** How long calls take at most now. */
  slowestMs = 4;
  /** Called at each step of each call, so that a crash may come right there. */
  onCall: () => void = () => {};
  /** How often a call changed something. */
  changeCount = 0;

  constructor(readonly world: World) {}

  /** The last revision that outlives a power cut, and the end of the process. */
  get syncedRevision(): number {
    return this.#synced.last;
  }
  get writtenRevision(): number {
    return this.#cache.last;
  }

  /** What the archive says of a task, as an entry does. */
  archived(id: string): string | undefined {
    const row = this.#cache.archive.get(id);
    return row && `${JSON.stringify([row.at, ...row.tags])}\t${row.text}`;
  }

  /** The process ends. The call on its way may have happened; with the power gone, so may the unsynced commits. */
  crash(power: boolean): void {
    const { random } = this.world;
    const call = this.#call;
    this.#call = null;
    if (call?.mark != null) {
      const { slot, text } = call.mark;
      const old = this.#mark[slot] ?? "";
      const cut = random.int(0, text.length);
      const torn = text.slice(0, cut) + old.slice(cut);
      if (this.#mark.length === 0) this.#mark = ["", ""];
      this.#mark[slot] = random.pick([old, text, power ? torn : text]);
    } else if (call !== null && random.chance(0.5)) {
      try {
        call.take();
      } catch {
        // A call that was to fail: nobody is left to hear of it.
      }
    }
    if (power) this.#cutPower();
  }

  #cutPower(): void {
    const { random } = this.world;
    const kept = random.int(0, this.#unsynced.length);
    for (const write of this.#unsynced.slice(0, kept)) apply(this.#synced, write);
    const row = this.#unsynced[kept]?.log?.[0];
    this.world.count("disk.lost", this.#unsynced.length - kept);
    if (row !== undefined && random.chance(0.8)) {
      this.world.count("disk.torn");
      const at = random.int(0, row.text.length - 1);
      const text = random.chance(0.5)
        ? row.text.slice(0, at)
        : `${row.text.slice(0, at)}\0${row.text.slice(at + 1)}`;
      this.#synced.log.set(row.first, { ...row, text });
    }
    this.#unsynced = [];
    this.#cache = copyOf(this.#synced);
  }

  storage(process: Process): Storage {
    const read = <T>(result: () => T) => this.#later(process, result, null, 0.3);
    return {
      name: "the disk",
      open: () => read(() => undefined),
      readMeta: () => read(() => this.#cache.meta),
      readLoss: () => read(() => null),
      makeJournal: () => read(() => false),
      countLog: () => read(() => this.#cache.log.size),
      readImages: () =>
        read(() => [...this.#cache.images].sort(([a], [b]) => a - b).map(([upto, text]) => ({ upto, text }))),
      readPiece: (id) => read(() => this.#cache.pieces.get(id)?.slice() ?? null),
      pieceIds: () => read(() => [...this.#cache.pieces.keys()].sort((a, b) => a - b)),
      batchAt: (revision) =>
        read(
          () => [...this.#cache.log.keys()].sort((a, b) => b - a).find((first) => first <= revision) ?? null,
        ),
      oldestLog: (countMax) =>
        read(() => [...this.#cache.log.keys()].sort((a, b) => a - b).slice(0, countMax)),
      readLog: (after, bytesMax) =>
        read(() => {
          const page: LogRow[] = [];
          let bytes = 0;
          for (const first of [...this.#cache.log.keys()].sort((a, b) => a - b)) {
            if (first <= after || bytes >= bytesMax) continue;
            const row = this.#cache.log.get(first) as LogRow;
            page.push(row);
            bytes += row.text.length;
          }
          return page;
        }),
      countArchived: () => read(() => this.#cache.archive.size),
      oldestArchived: (countMax) => read(() => oldestOf(this.#cache.archive).slice(0, countMax)),
      readArchived: (id) => read(() => this.#cache.archive.get(id)?.text ?? null),
      searchArchive: (search) => read(() => searchRows(this.#cache.archive.values(), search)),
      commit: (write, sync) => this.#commit(process, write, sync),
      readMark: () => read(() => [...this.#mark]),
      writeMark: (slot, text) =>
        this.#later(
          process,
          () => {
            if (this.#mark.length === 0) this.#mark = ["", ""];
            this.#mark[slot] = text;
          },
          { slot, text },
          1,
        ),
      makeRoom: () => read(() => undefined),
      tidy: async () => {},
      copyTo: () => read(() => undefined),
      close: async () => {},
    };
  }

  #commit(process: Process, given: Write, sync: boolean): Promise<"done" | "full"> {
    const write = taken(given);
    if (this.failsNext) {
      this.failsNext = false;
      this.world.count("disk.failed");
      return this.#later(
        process,
        () => {
          // Some of what was not synced is on the disk now, the rest never will be.
          if (this.world.random.chance(0.5)) this.#unsynced.push(write);
          this.#cutPower();
          throw new Error("the disk failed");
        },
        null,
        1,
      );
    }
    return this.#later(
      process,
      () => {
        if (this.isFull) {
          this.world.count("disk.full");
          return "full";
        }
        apply(this.#cache, write);
        this.#unsynced.push(write);
        if (sync) {
          for (const one of this.#unsynced) apply(this.#synced, one);
          this.#unsynced = [];
        }
        return "done";
      },
      null,
      sync ? 1 : 0.3,
    );
  }

  #later<T>(process: Process, take: () => T, mark: Call["mark"], share: number): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!process.alive) return;
      this.onCall();
      if (!process.alive) return;
      if (this.#call !== null) this.world.fail(new Error("the log asks the storage for two things at once"));
      const call: Call = { process, take, mark };
      this.#call = call;
      this.changeCount++;
      this.world.after(this.world.random.skewed(0.05, this.slowestMs * share), () => {
        if (this.#call !== call) return;
        this.onCall();
        if (this.#call !== call) return;
        this.#call = null;
        // The disk works on while the process is stopped; it hears of it later.
        let result: T;
        try {
          result = take();
        } catch (error) {
          process.run(() => reject(error));
          return;
        }
        process.run(() => resolve(result));
      });
    });
  }
}
