/**
 * The log over a storage: appends batches, folds them into the images, keeps the mark, syncs and snapshots when it is
 * due. It owns what is true of the storage while the process lives, and does one thing at a time. Pure: time comes
 * in by tick(), the disk by the port. After any error but "full" it is beyond use and says so once; it never tries
 * a failed write or sync again.
 *
 * What an append promises depends on the mode. "always": synced. "interval": written, and synced within the interval.
 * "snapshot": applied, and in a snapshot within the interval.
 */
import { assert } from "../lib/assert.ts";
import { Fold, type Generation, gather, newGeneration, type Step } from "./fold.ts";
import {
  encodeBatch,
  encodeMark,
  encodeMeta,
  lastHeader,
  type Mark,
  type Meta,
  readChanges,
  rowChange,
} from "./format.ts";
import {
  type Appended,
  type Batch,
  type Log,
  LogError,
  type LogStatus,
  type Recovered,
  type RecoverySink,
} from "./log.ts";
import { type Migration, type PageSink, recover, unlessFull } from "./recover.ts";
import type { Storage, Write } from "./storage.ts";

export type WriterOptions = {
  mode: "always" | "interval" | "snapshot";
  syncIntervalMs: number;
  snapshotIntervalMs: number;
  /** How often the mark follows what is synced. */
  markIntervalMs: number;
  /** How much may wait to be folded before appends fold faster than they add. */
  tailBytesMax: number;
  tailChangesMax: number;
  /** How old entries behind the fold become, counted back from the newest, and how much of them is kept. */
  historyMs: number;
  historyBytesMax: number;
  /** Rows one idle step folds. */
  stepRows: number;
  recoverTo?: number;
  migrations?: readonly Migration[];
};

export const writerDefaults: WriterOptions = {
  mode: "always",
  syncIntervalMs: 1000,
  snapshotIntervalMs: 30_000,
  markIntervalMs: 1000,
  tailBytesMax: 64 * 1024 * 1024,
  tailChangesMax: 500_000,
  historyMs: 3_600_000,
  historyBytesMax: 1024 * 1024 * 1024,
  stepRows: 512,
};

/** History is dropped down to this share of its bounds, so that one base generation takes many batches. */
const historyLow = 15 / 16;
const baseGenerationBytes = 16 * 1024 * 1024;
const basePageBytes = 1024 * 1024;

/** Rows waiting to be folded are written in chunks of at least this: few rows share few pages. */
const chunkRows = 256;

/** After a tick, this often in a row, nothing was appended: there is time for upkeep. */
const idleTicks = 2;

export class LogWriter implements Log {
  readonly #storage: Storage;
  readonly #options: WriterOptions;
  readonly #image = new Fold();
  readonly #base = new Fold();

  #state: "new" | "open" | "full" | "failed" | "stopped" = "new";
  #turn: Promise<unknown> = Promise.resolve();
  #listener: ((error: Error) => void) | null = null;
  #error: Error | null = null;
  /** Revisions that were undone after "full" may have been told, as those of an unchanged state. */
  #wasFull = false;

  #meta!: Meta;
  #mark!: Mark;
  /** The last entry taken, and the chain's hash there. */
  #last = 0;
  #hash = "";
  #at = 0;
  #clock = 0;
  #synced = 0;
  /** Revisions up to here may have left in an earlier life, whose entries a crash took: never released. */
  #ceilingAtOpen = 0;

  /** Changes not handed to the image's fold yet; `upto` is the revision they follow. */
  #gathering!: Generation;
  /** Entries being read back for the base. */
  #baseGathering: Generation | null = null;
  /** Wall time of the first entry that was too young for the base; nothing is due before it is old enough. */
  #baseDueAt = 0;
  /** Rows that appends have earned for folding. */
  #credit = 0;

  #logBytes = 0;
  /** Since the base last looked. */
  #addedBytes = 0;
  #batchCount = 0;
  #syncCount = 0;

  #now = 0;
  #syncAt = 0;
  #snapshotAt = 0;
  #markAt = 0;
  #batchesAtTick = 0;
  #quietTicks = 0;

  constructor(storage: Storage, options: Partial<WriterOptions> = {}) {
    this.#storage = storage;
    this.#options = { ...writerDefaults, ...options };
  }

  open(sink: RecoverySink): Promise<Recovered> {
    return this.openPages(sink);
  }

  /** open(), by the page. */
  openPages(sink: PageSink): Promise<Recovered> {
    return this.#exclusive(async () => {
      assert(this.#state === "new", "a log is opened once");
      await this.#storage.open();
      const tail = newGeneration(0, "", 0, 0);
      const { recoverTo, migrations } = this.#options;
      const found = await recover(this.#storage, sink, {
        recoverTo,
        migrations,
        tail: (row, changes) => gather(tail, row.text.length, changes),
      });
      this.#meta = found.meta;
      this.#mark = found.mark;
      this.#last = found.last;
      this.#hash = found.hash;
      this.#at = found.at;
      this.#clock = found.clock;
      this.#logBytes = found.logBytes;
      this.#gathering = { ...tail, upto: found.meta.imageTo };

      // What was read may lie in the machine's cache alone. From here on it counts as there, so it is synced first.
      const write: Write = {};
      if (this.#options.mode !== "snapshot" && !this.#meta.hasBase) {
        write.copy = { to: "base", from: "image" };
        write.meta = encodeMeta({ ...this.#meta, hasBase: true });
      }
      if ((await this.#commit(write, true)) === "full") {
        await this.#storage.makeRoom();
        unlessFull(this.#storage, await this.#commit(write, true));
      }
      this.#meta = { ...this.#meta, hasBase: this.#meta.hasBase || write.copy !== undefined };
      this.#synced = this.#last;
      await this.#writeMark({ revision: this.#last, hash: this.#hash });
      await this.#writeMark({});
      if (this.#options.mode !== "snapshot") this.#seal();
      this.#ceilingAtOpen = this.#mark.ceiling;
      this.#state = "open";
      return {
        revision: this.#last,
        ceiling: this.#mark.ceiling,
        at: this.#at,
        clock: this.#clock,
        notes: found.notes,
      };
    });
  }

  append(batch: Batch, after: number): Promise<Appended> {
    return this.#exclusive(async () => {
      if (after !== this.#last) return { kind: "fenced", last: this.#last };
      if (this.#state === "full") return { kind: "full" };
      return (await this.#take(batch)) === "full" ? { kind: "full" } : { kind: "durable" };
    });
  }

  /**
   * In snapshot mode: takes a batch that the caller has already called durable, also while the disk is full. A thread
   * that is busy writing a snapshot must not make the loop wait for it.
   */
  take(batch: Batch): Promise<void> {
    assert(this.#options.mode === "snapshot", "only a snapshot takes batches before it answers");
    return this.#exclusive(async () => {
      await this.#take(batch);
    });
  }

  async #take(batch: Batch): Promise<"done" | "full"> {
    assert(batch.first > this.#last && batch.last <= Number.MAX_SAFE_INTEGER, "revisions only grow");
    const row = encodeBatch(this.#hash, batch);
    const changes = readChanges(batch.text);
    const { mode } = this.#options;
    if (mode !== "snapshot") {
      const write: Write = { log: row };
      const steps = this.#earnedSteps(changes.length);
      const meta = this.#fill(write, steps);
      if ((await this.#commit(write, mode === "always")) === "full") {
        this.#becomeFull();
        return "full";
      }
      this.#settle(steps, meta);
      this.#logBytes += row.text.length;
      this.#addedBytes += row.text.length;
      if (mode === "always") this.#synced = row.last;
    }
    const header = lastHeader(row.text);
    this.#last = row.last;
    this.#hash = row.hash;
    this.#at = header.at;
    this.#clock = header.clock;
    this.#batchCount++;
    gather(this.#gathering, row.text.length, changes);
    return "done";
  }

  reserve(ceiling: number): Promise<void> {
    return this.#exclusive(async () => {
      if (ceiling <= this.#mark.ceiling) return;
      // Into both slots: one that rots later must not take the ceiling back.
      await this.#writeMark({ ceiling });
      await this.#writeMark({});
    });
  }

  probe(): Promise<boolean> {
    return this.#exclusive(async () => {
      if (this.#state === "open") return true;
      await this.#storage.makeRoom();
      const isDone = this.#options.mode === "snapshot" ? await this.#snapshot() : await this.#sync();
      if (isDone) this.#state = "open";
      return isDone;
    });
  }

  /**
   * Does what is due at `now` (any clock that only grows). True: there is more to do, and nothing that hinders it;
   * call again soon.
   */
  tick(now: number): Promise<boolean> {
    return this.#exclusive(async () => {
      if (this.#state !== "open" && this.#state !== "full") return false;
      this.#now = Math.max(this.#now, now);
      this.#quietTicks = this.#batchCount === this.#batchesAtTick ? this.#quietTicks + 1 : 0;
      this.#batchesAtTick = this.#batchCount;
      const idle = this.#quietTicks >= idleTicks;
      if (this.#state === "open") {
        const { mode, syncIntervalMs, snapshotIntervalMs, markIntervalMs } = this.#options;
        if (mode === "snapshot") {
          if (this.#now - this.#snapshotAt >= snapshotIntervalMs) await this.#snapshot();
          return false;
        }
        // A tail over its bound cannot wait: it is folded only behind the mark.
        const soon = this.#isOverTail() ? markIntervalMs / 10 : Number.POSITIVE_INFINITY;
        if (mode === "interval" && this.#now - this.#syncAt >= Math.min(syncIntervalMs, soon))
          await this.#sync();
        const isMarkDue = this.#now - this.#markAt >= Math.min(markIntervalMs, soon);
        if (this.#synced === this.#last && isMarkDue) await this.#follow();
        await this.#gatherBase();
        if (idle && (await this.#foldStep())) return true;
      }
      await this.#storage.tidy(idle);
      return false;
    });
  }

  /** Until probe() succeeds. */
  get isFull(): boolean {
    return this.#state === "full";
  }

  status(): LogStatus {
    const isSnapshot = this.#options.mode === "snapshot";
    return {
      strategy: isSnapshot ? "snapshot" : "wal",
      syncedRevision: this.#synced,
      foldedTo: this.#meta?.imageTo ?? 0,
      oldestRevision: this.#meta?.baseTo ?? 0,
      logBytes: this.#logBytes,
      syncCount: this.#syncCount,
      batchCount: this.#batchCount,
    };
  }

  onFailure(listener: (error: Error) => void): void {
    this.#listener = listener;
  }

  async stop(): Promise<void> {
    if (this.#state === "stopped") return;
    if (this.#state === "open" || this.#state === "full") {
      await this.#exclusive(async () => {
        const isSafe =
          this.#synced === this.#last ||
          (this.#options.mode === "snapshot" ? await this.#snapshot() : await this.#sync());
        // With a disk still full the unsynced rest may be lost; then what was reserved stays reserved.
        if (isSafe) {
          const ceiling = this.#wasFull ? this.#mark.ceiling : Math.max(this.#ceilingAtOpen, this.#last);
          await this.#writeMark({ revision: this.#last, hash: this.#hash, ceiling });
          await this.#writeMark({});
        }
      }).catch(() => {}); // told to the listener
    }
    this.#state = "stopped";
    await this.#turn.catch(() => {});
    await this.#storage.close();
  }

  /** One thing at a time; an error that is not the caller's ends the log. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(async () => {
      if (this.#state === "failed") throw this.#error;
      if (this.#state === "stopped")
        throw new LogError("log-failed", "the log is stopped", "Start it again.");
      const wasNew = this.#state === "new";
      try {
        return await work();
      } catch (error) {
        this.#state = "failed";
        this.#error = asLogError(error, this.#storage.name);
        if (wasNew) await this.#storage.close();
        else this.#listener?.(this.#error);
        throw this.#error;
      }
    });
    this.#turn = result.catch(() => {});
    return result;
  }

  async #commit(write: Write, sync: boolean): Promise<"done" | "full"> {
    const result = await this.#storage.commit(write, sync);
    if (sync && result === "done") this.#syncCount++;
    return result;
  }

  #becomeFull(): void {
    this.#state = "full";
    this.#wasFull = true;
  }

  /** Alternates the slots, so that the one before stays whole while this one is written. */
  async #writeMark(change: Partial<Mark>): Promise<void> {
    const mark = { ...this.#mark, ...change, sequence: this.#mark.sequence + 1 };
    mark.ceiling = Math.max(mark.ceiling, mark.revision);
    await this.#storage.writeMark((mark.sequence % 2) as 0 | 1, encodeMark(mark));
    this.#mark = mark;
  }

  async #sync(): Promise<boolean> {
    this.#syncAt = this.#now;
    if (this.#synced === this.#last && this.#state === "open") return true;
    if ((await this.#commit({}, true)) === "full") {
      this.#becomeFull();
      return false;
    }
    this.#synced = this.#last;
    return true;
  }

  /** The mark goes to what is synced, and what it covers may be folded. */
  async #follow(): Promise<void> {
    this.#markAt = this.#now;
    if (this.#mark.revision < this.#synced) await this.#writeMark({ revision: this.#last, hash: this.#hash });
    if (this.#image.waitingCount < 2) this.#seal();
  }

  #newGathering(): Generation {
    return newGeneration(this.#last, this.#hash, this.#at, this.#clock);
  }

  /** Hands what was gathered to the image's fold. Only when the mark covers all of it: see fold.ts. */
  #seal(): void {
    assert(this.#mark.revision === this.#last, "only what the mark covers is folded");
    if (this.#gathering.upto === this.#last) return;
    const { bytes, changeCount, rows } = this.#gathering;
    this.#image.push({ ...this.#newGathering(), bytes, changeCount, rows });
    this.#gathering = this.#newGathering();
  }

  #isOverTail(): boolean {
    return (
      this.#image.bytes + this.#gathering.bytes > this.#options.tailBytesMax ||
      this.#image.changeCount + this.#gathering.changeCount > this.#options.tailChangesMax
    );
  }

  /**
   * An append folds as many rows as it adds changes, and a few more: so a fold is done, at the latest, when as much
   * again has come in, and the work of an append is in proportion to its size. Over the tail's bound it folds four
   * times that.
   */
  #earnedSteps(changeCount: number): FoldSteps {
    this.#credit += (changeCount + 16) * (this.#isOverTail() ? 4 : 1);
    if (this.#image.waitingCount + this.#base.waitingCount === 0) this.#credit = 0;
    if (this.#credit < chunkRows) return noSteps;
    const count = this.#credit;
    this.#credit = 0;
    return { image: this.#image.next(count), base: this.#base.next(count) };
  }

  /** Writes the steps' rows into the write, with the meta row that says so in the same commit. */
  #fill(write: Write, { image, base }: FoldSteps): Meta {
    let meta = this.#meta;
    if (image !== null) {
      const { upto } = image.generation;
      write.image = image.rows;
      const imageFolding = Math.max(meta.imageFolding, upto);
      meta = { ...meta, imageTo: image.complete ? upto : meta.imageTo, imageFolding };
    }
    if (base !== null) {
      const { upto, hash, at, clock } = base.generation;
      write.base = base.rows;
      meta = { ...meta, baseFolding: Math.max(meta.baseFolding, upto) };
      if (base.complete) {
        meta = { ...meta, baseTo: upto, hash, at, clock };
        write.dropThrough = upto;
      }
    }
    if (meta !== this.#meta) write.meta = encodeMeta(meta);
    return meta;
  }

  #settle({ image, base }: FoldSteps, meta: Meta): void {
    this.#meta = meta;
    if (image !== null) this.#image.done(image);
    if (base === null) return;
    this.#base.done(base);
    if (base.complete) this.#logBytes -= base.generation.bytes;
  }

  /** Folds a little while nothing else is to do. Needs no sync: lost, it is done again. */
  async #foldStep(): Promise<boolean> {
    const { stepRows } = this.#options;
    const steps = { image: this.#image.next(stepRows), base: this.#base.next(stepRows) };
    if (steps.image === null && steps.base === null) return false;
    const write: Write = {};
    const meta = this.#fill(write, steps);
    if ((await this.#commit(write, false)) === "full") {
      this.#becomeFull();
      return false;
    }
    this.#settle(steps, meta);
    return true;
  }

  /**
   * Reads entries that are too old or too many back for the base. About twice what came in since the last tick, so
   * that history is let go as fast as it grows.
   */
  async #gatherBase(): Promise<void> {
    const { historyMs, historyBytesMax } = this.#options;
    if (this.#base.waitingCount > 0) return;
    if (this.#baseGathering === null) {
      const isOver = this.#logBytes > historyBytesMax || this.#baseDueAt < this.#at - historyMs;
      if (!isOver || this.#meta.baseTo >= this.#meta.imageTo) return;
      const { baseTo, hash, at, clock } = this.#meta;
      this.#baseGathering = newGeneration(baseTo, hash, at, clock);
    }
    const generation = this.#baseGathering;
    let wanted = Math.max(basePageBytes, 2 * this.#addedBytes);
    this.#addedBytes = 0;
    while (wanted > 0) {
      const page = await this.#storage.readLog(generation.upto, basePageBytes);
      if (page.length === 0) return this.#sealBase();
      for (const row of page) {
        const header = lastHeader(row.text);
        const isDue =
          this.#logBytes - generation.bytes > historyBytesMax * historyLow ||
          header.at < this.#at - historyMs * historyLow;
        if (!isDue) this.#baseDueAt = header.at;
        if (!isDue || row.last > this.#meta.imageTo || generation.bytes > baseGenerationBytes) {
          return this.#sealBase();
        }
        gather(generation, row.text.length, readChanges(row.text));
        Object.assign(generation, { upto: row.last, hash: row.hash, at: header.at, clock: header.clock });
        wanted -= row.text.length;
      }
    }
  }

  #sealBase(): void {
    const generation = this.#baseGathering!;
    this.#baseGathering = null;
    if (generation.upto > this.#meta.baseTo) this.#base.push(generation);
  }

  /** The image at the last revision, in one synced commit that leaves no log behind. */
  async #snapshot(): Promise<boolean> {
    this.#snapshotAt = this.#now;
    if (this.#last === this.#meta.imageTo && !this.#meta.hasBase && this.#state === "open") return true;
    const image = [];
    for (const [id, text] of this.#gathering.rows) image.push(rowChange({ id, text }));
    const to = this.#last;
    const meta: Meta = {
      ...this.#meta,
      imageTo: to,
      imageFolding: to,
      baseTo: to,
      baseFolding: to,
      hasBase: false,
      hash: this.#hash,
      at: this.#at,
      clock: this.#clock,
    };
    const copy = this.#meta.hasBase ? ({ to: "base", from: "nothing" } as const) : undefined;
    const write: Write = { copy, dropThrough: to, image, meta: encodeMeta(meta) };
    if ((await this.#commit(write, true)) === "full") {
      this.#becomeFull();
      return false;
    }
    this.#meta = meta;
    this.#gathering = this.#newGathering();
    this.#logBytes = 0;
    this.#synced = to;
    await this.#writeMark({ revision: to, hash: this.#hash });
    return true;
  }
}

type FoldSteps = { image: Step | null; base: Step | null };

const noSteps: FoldSteps = { image: null, base: null };

function asLogError(error: unknown, name: string): LogError {
  if (error instanceof LogError) return error;
  const what = error instanceof Error ? error.message : String(error);
  return new LogError(
    "log-failed",
    `${name}: ${what}`,
    "What was acknowledged is safe. Check the disk, then start again: only a new start knows what reached it.",
  );
}
