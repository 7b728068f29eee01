/**
 * A storage for tests that keeps its promises (src/log/storage.ts) to the letter and not a bit more: at a crash only
 * a prefix of the unsynced commits survives, the next one may leave a torn log row, a mark slot being written is torn.
 * It fails at the call it is told to.
 */
import {
  type ArchivePage,
  type ArchivePlace,
  type ArchiveRow,
  type ArchiveSearch,
  searchRows,
} from "../../src/log/archive.ts";
import type { LogRow, NewRow } from "../../src/log/format.ts";
import type { Storage, Write } from "../../src/log/storage.ts";

type Contents = {
  meta: string | null;
  log: Map<number, LogRow>;
  images: Map<number, string>;
  pieces: Map<number, Uint8Array>;
  archive: Map<string, ArchiveRow>;
};

const copyOf = (contents: Contents): Contents => ({
  meta: contents.meta,
  log: new Map(contents.log),
  images: new Map(contents.images),
  pieces: new Map(contents.pieces),
  archive: new Map(contents.archive),
});

/** A row as it is read. */
export const asRead = ({ bytes, ...row }: NewRow): LogRow => ({
  ...row,
  text: Buffer.from(bytes).toString(),
});

/** A write as it was: whoever made it may use its bytes again. */
export type Taken = Omit<Write, "log"> & { log?: LogRow[] | undefined };
export const taken = (write: Write): Taken => ({
  ...write,
  log: write.log?.map(asRead),
  pieces: write.pieces?.map(({ id, bytes }) => ({ id, bytes: Uint8Array.from(bytes) })),
});

function apply(contents: Contents, write: Taken): void {
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
}

/** An archive's rows, oldest first. */
export const oldestOf = (archive: Map<string, ArchiveRow>): ArchivePlace[] =>
  [...archive.values()].sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));

export class Crash extends Error {}

export class FakeDisk implements Storage {
  readonly name = "the disk";
  #synced: Contents = {
    meta: null,
    log: new Map(),
    images: new Map(),
    pieces: new Map(),
    archive: new Map(),
  };
  #unsynced: Taken[] = [];
  now: Contents = copyOf(this.#synced);
  mark: string[] = [];
  commitCount = 0;
  /** Calls that change something; the one with this number crashes, before (0) or after (1) it took place. */
  callCount = 0;
  crashAt = Number.POSITIVE_INFINITY;
  crashAfter = 0;
  isFull = false;
  /** What it was told as it was closed last. */
  isWhole = false;
  /** The most that one commit ever wrote into pieces, and how much all of them did. */
  pieceBytesMax = 0;
  pieceBytes = 0;

  async open(): Promise<void> {}
  async readMeta(): Promise<string | null> {
    return this.now.meta;
  }
  async readLoss(): Promise<string | null> {
    return null;
  }
  async makeJournal(): Promise<boolean> {
    return false;
  }
  async countLog(): Promise<number> {
    return this.now.log.size;
  }
  async readImages(): Promise<{ upto: number; text: string }[]> {
    return [...this.now.images].sort(([a], [b]) => a - b).map(([upto, text]) => ({ upto, text }));
  }
  async readPiece(id: number): Promise<Uint8Array | null> {
    return this.now.pieces.get(id)?.slice() ?? null;
  }
  async pieceIds(): Promise<number[]> {
    return [...this.now.pieces.keys()].sort((a, b) => a - b);
  }
  async batchAt(revision: number): Promise<number | null> {
    return [...this.now.log.keys()].sort((a, b) => b - a).find((first) => first <= revision) ?? null;
  }
  async oldestLog(countMax: number): Promise<number[]> {
    return [...this.now.log.keys()].sort((a, b) => a - b).slice(0, countMax);
  }
  async readLog(after: number, bytesMax: number): Promise<LogRow[]> {
    const page: LogRow[] = [];
    let bytes = 0;
    for (const first of [...this.now.log.keys()].sort((a, b) => a - b)) {
      if (first <= after || bytes >= bytesMax) continue;
      page.push(this.now.log.get(first)!);
      bytes += this.now.log.get(first)!.text.length;
    }
    return page;
  }
  async countArchived(): Promise<number> {
    return this.now.archive.size;
  }
  async oldestArchived(countMax: number): Promise<ArchivePlace[]> {
    return oldestOf(this.now.archive).slice(0, countMax);
  }
  async readArchived(id: string): Promise<string | null> {
    return this.now.archive.get(id)?.text ?? null;
  }
  async searchArchive(search: ArchiveSearch): Promise<ArchivePage> {
    return searchRows(this.now.archive.values(), search);
  }
  async commit(given: Write, sync: boolean): Promise<"done" | "full"> {
    if (this.isFull) return "full";
    const write = taken(given);
    return this.#call(() => {
      this.commitCount++;
      const bytes = (write.pieces ?? []).reduce((sum, piece) => sum + piece.bytes.length, 0);
      this.pieceBytesMax = Math.max(this.pieceBytesMax, bytes);
      this.pieceBytes += bytes;
      apply(this.now, write);
      this.#unsynced.push(write);
      if (sync) {
        this.#synced = copyOf(this.now);
        this.#unsynced = [];
      }
      return "done";
    });
  }
  async readMark(): Promise<string[]> {
    return [...this.mark];
  }
  async writeMark(slot: 0 | 1, text: string): Promise<void> {
    if (this.mark.length === 0) this.mark = ["", ""];
    const old = this.mark[slot]!;
    this.mark[slot] = text.slice(0, 60) + old.slice(60);
    return this.#call(() => {
      this.mark[slot] = text;
    });
  }
  async makeRoom(): Promise<void> {}
  async tidy(): Promise<void> {}
  async copyTo(_name: string): Promise<void> {}
  async close(isWhole = false): Promise<void> {
    this.isWhole = isWhole;
  }

  #call<T>(change: () => T): T {
    const crashes = this.callCount++ === this.crashAt;
    if (crashes && this.crashAfter === 0) throw new Crash("before");
    const result = change();
    if (crashes) throw new Crash("after");
    return result;
  }

  /** The machine goes down: `kept` of the unsynced commits survive, and the next one leaves a torn row. */
  crash(kept: number, torn: boolean): void {
    const next = copyOf(this.#synced);
    const writes = this.#unsynced;
    for (const write of writes.slice(0, kept)) apply(next, write);
    const row = writes[kept]?.log?.[0];
    if (torn && row !== undefined) next.log.set(row.first, { ...row, text: row.text.slice(0, -3) });
    this.#synced = next;
    this.#unsynced = [];
    this.now = copyOf(next);
    this.crashAt = Number.POSITIVE_INFINITY;
  }

  get unsyncedCount(): number {
    return this.#unsynced.length;
  }
}
