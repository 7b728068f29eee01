/**
 * The log over a storage: appends batches, folds them into images, keeps the mark, syncs and snapshots when it is due. It owns what is true of the storage while the process lives, and does one thing at a time. Pure: time comes
 * in by tick(), the disk by the port. After any error but "full" it is beyond use and says so once; it never tries
 * a failed write or sync again.
 *
 * What entries tell of the archive is written in slices after the appends, needs no sync of its own and is safe all the
 * same: no image is begun over entries whose rows are not written, so those that a crash may have taken stand in the
 * tail that the next start reads, and are written again.
 *
 * What an append promises depends on the mode. "always": synced; rows that were synced in a journal may come instead. "interval": written, and synced within the interval.
 * "snapshot": applied, and in a snapshot within the interval.
 */
import { assert } from "../lib/assert.ts";
import { ArchiveQueue } from "./archive.ts";
import { Fold } from "./fold.ts";
import {
  type ChainedBatch,
  type EncodedBatch,
  encodeBatch,
  encodeMark,
  encodeMeta,
  firstImage,
  isLarge,
  journaledFormat,
  lastHeader,
  lastHeaderOf,
  type Mark,
  type Meta,
  type NewRow,
  type Piece,
  packedFormat,
} from "./format.ts";
import { Generation, type Place, type Staged } from "./generation.ts";
import {
  type Appended,
  type Batch,
  type Log,
  LogError,
  type LogStatus,
  type Recovered,
  type RecoverySink,
} from "./log.ts";
import { answerTo, isAboutArchive, type QuestionName, type Questions } from "./questions.ts";
import { type Migration, type PageSink, readPiece, recover, unlessFull } from "./recover.ts";
import type { Storage, Write } from "./storage.ts";

export type WriterOptions = {
  mode: "always" | "interval" | "snapshot";
  syncIntervalMs: number;
  snapshotIntervalMs: number;
  /** How often the mark follows what is synced. */
  markIntervalMs: number;
  /** How much may wait to be folded before every append is followed by a whole step of folding. */
  tailBytesMax: number;
  tailChangesMax: number;
  /** How old entries behind the fold become, counted back from the newest, and how much of them is kept. */
  historyMs: number;
  historyBytesMax: number;
  /** What is less than this is not folded only because there is time for it. */
  idleFoldBytes: number;
  /** How much one step of folding reads and writes, about. */
  stepBytes: number;
  /** How old archived rows become, and how many of them are kept. */
  archiveMs: number;
  archiveCount: number;
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
  idleFoldBytes: 1024 * 1024,
  stepBytes: 1024 * 1024,
  // Whoever opens a log to look at it must take nothing away.
  archiveMs: Number.POSITIVE_INFINITY,
  archiveCount: Number.POSITIVE_INFINITY,
};

/** A generation is folded once it has a quarter of the tail's bounds: while one is, the next ones gather. */
const tailShare = 1 / 4;

/** Images stand this far apart at least, and a new one is made as often: history is let go in such steps. */
const historyShare = 1 / 16;

/** How much folding an appended byte pays for, and how much must be owed before a step is worth a commit. */
const foldRate = 4;
const owedBytesMin = 256 * 1024;

/** How long folding waits after it found no room. */
const foldPauseMs = 1000;

/** Log rows dropped at once. */
const droppedRows = 64;

/** Archived rows written or dropped in one commit: two milliseconds of work, about. */
const archivedAtOnce = 128;
/** With so many that wait, appends are followed by writing many. Below it only ticks write them, so that none waits. */
const archiveWaitingMax = 32_768;
const archivedAtMost = 16 * archivedAtOnce;
/** How often the archive's oldest rows are looked at. */
const pruneMs = 5000;

/** After a tick, this often in a row, nothing was appended: there is time for upkeep. */
const idleTicks = 2;

export class LogWriter implements Log {
  readonly #storage: Storage;
  readonly #options: WriterOptions;
  #fold = new Fold([{ image: firstImage, position: 0 }], { ...firstImage, pieces: [] }, []);

  #state: "new" | "open" | "full" | "failed" | "stopped" = "new";
  #turn: Promise<unknown> = Promise.resolve();
  #listener: ((error: Error) => void) | null = null;
  #error: Error | null = null;
  /** Revisions that were undone after "full" may have been told, as those of an unchanged state. */
  #wasFull = false;

  #meta!: Meta;
  #mark!: Mark;
  /** Of what the journal holds, the rows that a full disk keeps out of the storage. */
  #unwritten: NewRow[] = [];
  /** The last entry taken, and the chain's hash there. */
  #last = 0;
  #hash = "";
  #at = 0;
  #clock = 0;
  #synced = 0;
  /** Revisions up to here may have left in an earlier life, whose entries a crash took: never released. */
  #ceilingAtOpen = 0;

  /** What was taken since the last generation was handed to the fold. */
  #gathering!: Generation;
  /** What is taken and not gathered yet. */
  #taken: { staged: Staged; place: Place } | null = null;
  /** Rows of the archive that are to be written, and how many there are; null: not counted yet. */
  readonly #archive = new ArchiveQueue();
  #archivedCount: number | null = null;
  #pruneAt = 0;
  /** When the last entry was taken, on the clock of tick(). */
  #takenAt = 0;
  /** Log rows may lie before the base. */
  #dropsLog = true;
  /** Folding that appends have paid for. */
  #owedBytes = 0;
  /** Folding found no room: it waits until then. */
  #foldAt = 0;
  /** The revision that the snapshot underway is to hold. */
  #snapshotTo: number | null = null;

  /** Of all entries' texts since the log was opened, and of those before the base. */
  #position = 0;
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
      const tail: Generation[] = [];
      const { recoverTo, migrations } = this.#options;
      const found = await recover(this.#storage, sink, {
        recoverTo,
        migrations,
        tail: ({ text, last, hash }) => {
          const newest = tail.at(-1);
          const isNew = newest === undefined || this.#isBig(newest);
          const generation = isNew ? new Generation(firstPlace) : newest;
          if (isNew) tail.push(generation);
          const { at, clock } = lastHeader(text);
          const staged = generation.stage(Buffer.from(text));
          generation.gather(staged, { upto: last, hash, at, clock });
          this.#archive.take(staged.archived, last);
        },
      });
      this.#meta = found.meta;
      this.#mark = found.mark;
      this.#last = found.last;
      this.#hash = found.hash;
      this.#at = found.at;
      this.#clock = found.clock;
      this.#position = found.logBytes;
      this.#fold = new Fold(found.images, found.newest, await this.#storage.pieceIds());
      this.#gathering = tail.pop() ?? new Generation(found.newest);
      for (const generation of tail) this.#fold.push(generation);

      // What was read may lie in the machine's cache alone. From here on it counts as there, so it is synced first.
      const isSnapshot = this.#options.mode === "snapshot" && this.#meta.isSnapshot;
      const meta: Meta = { ...this.#meta, isSnapshot };
      const write: Write = meta.isSnapshot === this.#meta.isSnapshot ? {} : { meta: encodeMeta(meta) };
      if ((await this.#commit(write, true)) === "full") {
        await this.#storage.makeRoom();
        unlessFull(this.#storage, await this.#commit(write, true));
      }
      this.#meta = meta;
      this.#synced = this.#last;
      await this.#writeMark({ revision: this.#last, hash: this.#hash });
      await this.#writeMark({});
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

  append(batch: Batch | EncodedBatch, after: number): Promise<Appended> {
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
  take(batch: Batch | EncodedBatch): Promise<void> {
    assert(this.#options.mode === "snapshot", "only a snapshot takes batches before it answers");
    return this.#exclusive(async () => {
      await this.#take(batch);
    });
  }

  async #take(batch: Batch | EncodedBatch): Promise<"done" | "full"> {
    assert(batch.first > this.#last && batch.last <= Number.MAX_SAFE_INTEGER, "revisions only grow");
    const row = encodeBatch(this.#hash, batch);
    const staged = this.#gathering.stage(row.bytes);
    const { mode } = this.#options;
    if (mode !== "snapshot") {
      const meta = isLarge(row.bytes) ? this.#metaOf(packedFormat) : this.#meta;
      const write = meta === this.#meta ? { log: [row] } : { log: [row], meta: encodeMeta(meta) };
      if ((await this.#commit(write, mode === "always")) === "full") {
        this.#becomeFull();
        return "full";
      }
      this.#meta = meta;
      if (mode === "always") this.#synced = row.last;
    }
    this.#took(row, staged);
    return "done";
  }

  /** As it is in a folder of this format at least. */
  #metaOf(format: number): Meta {
    return this.#meta.format >= format ? this.#meta : { ...this.#meta, format };
  }

  #took(row: NewRow, staged: Staged): void {
    this.#position += staged.length;
    this.#owedBytes += foldRate * staged.length;
    const { at, clock } = lastHeaderOf(row);
    this.#last = row.last;
    this.#hash = row.hash;
    this.#at = at;
    this.#clock = clock;
    this.#batchCount++;
    this.#takenAt = this.#now;
    this.#archive.take(staged.archived, row.last);
    this.#taken = { staged, place: this.#place() };
  }

  /** From now on the caller may sync batches by itself, in a journal. False: there is no room for one, or the storage has none. */
  beginJournal(): Promise<boolean> {
    return this.#exclusive(async () => {
      if (this.#state !== "open" || !(await this.#storage.makeJournal())) return false;
      const meta = this.#metaOf(journaledFormat);
      if (meta !== this.#meta && (await this.#commit({ meta: encodeMeta(meta) }, true)) === "full")
        return false;
      this.#meta = meta;
      return true;
    });
  }

  /** Takes rows that are safe in the journal, also while the disk is full: they are written once there is room. Of their bytes none are kept. */
  takeJournaled(batches: readonly ChainedBatch[]): Promise<void> {
    return this.#exclusive(async () => {
      const rows: NewRow[] = [];
      for (const batch of batches) {
        assert(batch.first > this.#last, "revisions only grow");
        const row = encodeBatch(this.#hash, batch);
        assert(row.hash === batch.hash, "the journal goes on where the log ends");
        rows.push(row);
        this.#gather();
        this.#took(row, this.#gathering.stage(row.bytes));
      }
      const isWritten = this.#state === "open" && (await this.#commit({ log: rows }, false)) === "done";
      if (isWritten) return;
      this.#unwritten.push(...rows.map((row) => ({ ...row, bytes: Uint8Array.from(row.bytes) })));
      this.#becomeFull();
    });
  }

  /** What was taken last needs not be gathered before it is answered, but before anything else. */
  #gather(): void {
    if (this.#taken === null) return;
    const { staged, place } = this.#taken;
    this.#taken = null;
    this.#gathering.gather(staged, place);
    if (this.#isBig(this.#gathering)) this.#seal();
  }

  /** Gathers, folds and archives what the appends since have paid for. To be called after an append, once it was answered. */
  async work(): Promise<void> {
    if (this.#state !== "open") return;
    if (!(this.#taken !== null || this.#isWorkDue() || this.#isArchiveFull)) return;
    await this.#exclusive(async () => {
      if (this.#state !== "open") return;
      if (this.#isArchiveFull) await this.#archiveStep();
      if (this.#isWorkDue()) await this.#work();
    });
  }

  /**
   * Writes what waits for the archive, so that it can be found there; where there is no room it waits on. Between two
   * slices appends may come.
   */
  async settle(pause: () => Promise<void> = async () => {}): Promise<void> {
    const archive = this.#archive;
    const { takenCount } = archive;
    while (archive.writtenCount < takenCount && this.#state === "open") {
      const before = archive.writtenCount;
      try {
        await this.#exclusive(() => this.#archiveStep());
      } catch (error) {
        if (this.#isStopped) return;
        throw error;
      }
      if (archive.writtenCount === before) return;
      await pause();
    }
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
      const isDone = this.#options.mode === "snapshot" ? await this.#wholeSnapshot() : await this.#sync();
      if (isDone) this.#state = "open";
      return isDone;
    });
  }

  async ask<N extends QuestionName>(
    name: N,
    asked: Questions[N]["asked"],
  ): Promise<Questions[N]["answered"]> {
    if (isAboutArchive(name)) await this.settle();
    return this.#exclusive(() => answerTo(this.#storage, name, asked));
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
        if ((await this.#archiveStep()) && idle) return true;
        if ((await this.#prune(idle)) && idle) return true;
        const { mode, syncIntervalMs, snapshotIntervalMs, markIntervalMs } = this.#options;
        if (mode === "snapshot") {
          if (this.#snapshotTo === null && this.#now - this.#snapshotAt >= snapshotIntervalMs)
            this.#beginSnapshot();
          return this.#snapshotStep();
        }
        // A tail over its bound cannot wait: it is folded only behind the mark. What the journal holds is synced for the mark alone.
        const soon = this.#isOverTail() ? markIntervalMs / 10 : Number.POSITIVE_INFINITY;
        const usual = mode === "interval" ? syncIntervalMs : markIntervalMs;
        if (this.#now - this.#syncAt >= Math.min(usual, soon)) await this.#sync();
        const isAwaited = this.#fold.waitingUpto > this.#mark.revision;
        const isMarkDue = this.#now - this.#markAt >= (isAwaited ? markIntervalMs / 10 : markIntervalMs);
        if (this.#synced === this.#last && isMarkDue) await this.#follow();
        if (this.#isFoldDue(idle)) this.#seal();
        await this.#moveBase();
        if (idle && (await this.#step(this.#options.stepBytes))) return true;
        if (idle) this.#rest();
        if (!idle && this.#isWorkDue()) await this.#work();
      }
      await this.#storage.tidy(idle);
      return false;
    });
  }

  get #isStopped(): boolean {
    return this.#state === "stopped";
  }

  /** The chain's, at the last batch. */
  get hash(): string {
    return this.#hash;
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
      foldedTo: this.#fold.newest.image.upto,
      oldestRevision: this.#fold.base.image.upto,
      logBytes: isSnapshot ? 0 : this.#logBytes,
      syncCount: this.#syncCount,
      batchCount: this.#batchCount,
      archivedCount: this.#archivedCount ?? 0,
    };
  }

  onFailure(listener: (error: Error) => void): void {
    this.#listener = listener;
  }

  async stop(): Promise<void> {
    if (this.#state === "stopped") return;
    let isSafe = false;
    if (this.#state === "open" || this.#state === "full") {
      await this.#exclusive(async () => {
        isSafe =
          this.#synced === this.#last ||
          (this.#options.mode === "snapshot" ? await this.#wholeSnapshot() : await this.#sync());
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
    await this.#storage.close(isSafe);
  }

  /** One thing at a time; an error that is not the caller's ends the log. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(async () => {
      if (this.#state === "failed") throw this.#error;
      if (this.#state === "stopped")
        throw new LogError("log-failed", "the log is stopped", "Start it again.");
      const wasNew = this.#state === "new";
      try {
        this.#gather();
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

  get #logBytes(): number {
    return this.#position - this.#fold.base.position;
  }

  #place(): Place {
    return { upto: this.#last, hash: this.#hash, at: this.#at, clock: this.#clock };
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
    const log = this.#unwritten;
    if ((await this.#commit(log.length === 0 ? {} : { log }, true)) === "full") {
      this.#becomeFull();
      return false;
    }
    this.#unwritten = [];
    this.#synced = this.#last;
    return true;
  }

  /** The mark goes to what is synced, and what it covers may be folded. */
  async #follow(): Promise<void> {
    this.#markAt = this.#now;
    if (this.#mark.revision < this.#synced) await this.#writeMark({ revision: this.#last, hash: this.#hash });
  }

  #isBig({ textBytes, changeCount }: Generation): boolean {
    const { tailBytesMax, tailChangesMax } = this.#options;
    return textBytes >= tailBytesMax * tailShare || changeCount >= tailChangesMax * tailShare;
  }

  /** Hands what was gathered to the fold. */
  #seal(): void {
    if (this.#fold.waitingUpto === this.#last) return;
    this.#fold.push(this.#gathering);
    this.#gathering = this.#fold.newGeneration(this.#place());
  }

  /** Lets go of memory that only a log under load needs. */
  #rest(): void {
    this.#fold.rest();
    const { textBytes, isLarge } = this.#gathering;
    if (textBytes === 0 && isLarge) this.#gathering = new Generation(this.#place());
  }

  #isOverTail(): boolean {
    const { tailBytesMax, tailChangesMax } = this.#options;
    return (
      this.#fold.waitingBytes + this.#gathering.textBytes > tailBytesMax ||
      this.#fold.waitingChanges + this.#gathering.changeCount > tailChangesMax
    );
  }

  /** Images are made for the start, so that its tail is short, and for the history, so that the base can move. */
  #isFoldDue(idle: boolean): boolean {
    const { historyMs, historyBytesMax, idleFoldBytes } = this.#options;
    if (this.#fold.waitingUpto > this.#fold.newest.image.upto) return false;
    const { textBytes } = this.#gathering;
    const isOld = this.#at - this.#fold.newest.image.at >= historyMs * historyShare;
    return isOld || textBytes >= historyBytesMax * historyShare || (idle && textBytes >= idleFoldBytes);
  }

  #isWorkDue(): boolean {
    return this.#owedBytes >= owedBytesMin || this.#isOverTail();
  }

  async #work(): Promise<void> {
    const { stepBytes } = this.#options;
    await this.#step(this.#isOverTail() ? stepBytes : Math.min(this.#owedBytes, stepBytes));
    this.#owedBytes = 0;
  }

  /** One step of folding or of dropping what it left behind. True: it did something. */
  async #step(budget: number): Promise<boolean> {
    const isSnapshot = this.#options.mode === "snapshot";
    if (this.#now < this.#foldAt) return false;
    if (this.#dropsLog) return this.#dropLog();
    if (this.#archive.holdsUpTo(this.#fold.nextUpto)) {
      await this.#archiveStep();
      return true;
    }
    if (!this.#fold.canStep(isSnapshot ? this.#last : this.#mark.revision)) return false;
    const { historyMs, historyBytesMax } = this.#options;
    const spacing = { bytes: historyBytesMax * historyShare, ms: historyMs * historyShare };
    const step = await this.#fold.next(budget, isSnapshot ? null : spacing, this.#readPiece);
    const meta = { ...this.#meta, isSnapshot };
    const changesMeta = step.image !== null && this.#meta.isSnapshot !== isSnapshot;
    // Needs no sync: lost, it is done again.
    const write = changesMeta ? { ...step.write, meta: encodeMeta(meta) } : step.write;
    if ((await this.#commitFold(write)) === "full") return false;
    this.#fold.done(step);
    if (changesMeta) this.#meta = meta;
    if (isSnapshot && step.image !== null) this.#dropsLog = true;
    return true;
  }

  readonly #readPiece = (piece: Piece) => readPiece(this.#storage, piece, this.#fold.newest.image.upto);

  /** Folding needs room for a while. Where there is none it waits, and appends go on as long as they find some. */
  async #commitFold(write: Write): Promise<"done" | "full"> {
    if (Object.keys(write).length === 0) return "done";
    const result = await this.#commit(write, false);
    if (result === "full" && this.#options.mode === "snapshot") this.#becomeFull();
    else if (result === "full") this.#foldAt = this.#now + foldPauseMs;
    return result;
  }

  get #isArchiveFull(): boolean {
    return this.#archive.size > archiveWaitingMax;
  }

  /** Writes some of what waits for the archive, and drops what is too many for that. True: there is more. */
  async #archiveStep(): Promise<boolean> {
    if (this.#archive.size === 0 || this.#now < this.#foldAt) return false;
    const rows = this.#archive.first(this.#isArchiveFull ? archivedAtMost : archivedAtOnce);
    const tooMany = (this.#archivedCount ?? 0) + rows.length - this.#options.archiveCount;
    const dropArchived = tooMany > 0 ? await this.#oldest(Math.min(tooMany, 2 * rows.length)) : [];
    if ((await this.#commitFold({ dropArchived, archive: rows })) === "full") return false;
    this.#archive.written(rows.length);
    // A row that replaces another is counted twice, until the next start.
    if (this.#archivedCount !== null) this.#archivedCount += rows.length - dropArchived.length;
    return this.#archive.size > 0;
  }

  async #oldest(countMax: number, before = Number.POSITIVE_INFINITY): Promise<string[]> {
    const oldest = await this.#storage.oldestArchived(countMax);
    return oldest.filter(({ at }) => at < before).map(({ id }) => id);
  }

  /** Lets go of archived rows that are too old or too many, some at a time. True: there is more. */
  async #prune(isIdle: boolean): Promise<boolean> {
    if (this.#now < this.#pruneAt || this.#now < this.#foldAt) return false;
    // Looks at all there are.
    if (this.#archivedCount === null && !isIdle) return false;
    this.#archivedCount ??= await this.#storage.countArchived();
    const { archiveMs, archiveCount } = this.#options;
    const isMany = this.#archivedCount > archiveCount;
    const wall = this.#at + this.#now - this.#takenAt;
    const dropArchived = isMany
      ? await this.#oldest(Math.min(archivedAtOnce, this.#archivedCount - archiveCount))
      : await this.#oldest(archivedAtOnce, wall - archiveMs);
    const isMore = dropArchived.length === archivedAtOnce;
    if (!isMore) this.#pruneAt = this.#now + pruneMs;
    if (dropArchived.length === 0 || (await this.#commitFold({ dropArchived })) === "full") return false;
    this.#archivedCount -= dropArchived.length;
    return isMore;
  }

  /** History that is too old or too much is let go: up to the next image. */
  async #moveBase(): Promise<void> {
    const { historyMs, historyBytesMax } = this.#options;
    const { base, second } = this.#fold;
    if (second === undefined) return;
    const isOver = this.#logBytes > historyBytesMax || second.image.at <= this.#at - historyMs;
    if (!isOver || (await this.#commitFold({ dropImages: [base.image.upto] })) === "full") return;
    this.#fold.drop(base.image.upto);
    this.#dropsLog = true;
  }

  /** Rows before the base, a few at a time: nobody reads them any more. */
  async #dropLog(): Promise<boolean> {
    const rows = await this.#storage.oldestLog(droppedRows);
    const through = rows.findLast((first) => first <= this.#fold.base.image.upto);
    this.#dropsLog = through !== undefined;
    if (through === undefined) return true;
    return (await this.#commitFold({ dropThrough: through })) === "done";
  }

  /** Everything taken so far is to be in the next snapshot. */
  #beginSnapshot(): void {
    this.#snapshotAt = this.#now;
    this.#snapshotTo = this.#last;
    this.#seal();
  }

  /** Folds on, and syncs once all that was there when the snapshot was begun is folded. True: there is more to do. */
  async #snapshotStep(): Promise<boolean> {
    const to = this.#snapshotTo;
    if (to === null || this.#fold.newest.image.upto < to) return this.#step(this.#options.stepBytes);
    const { upto, hash } = this.#fold.newest.image;
    const older = this.#fold.older;
    this.#snapshotTo = null;
    if (this.#synced === upto && this.#meta.isSnapshot && this.#state === "open") return true;
    const meta: Meta = { ...this.#meta, isSnapshot: true };
    if ((await this.#commit({ dropImages: older, meta: encodeMeta(meta) }, true)) === "full") {
      this.#becomeFull();
      return false;
    }
    this.#meta = meta;
    for (const one of older) this.#fold.drop(one);
    this.#dropsLog ||= older.length > 0;
    this.#synced = upto;
    await this.#writeMark({ revision: upto, hash });
    return true;
  }

  /** A snapshot of everything, at once. False: there was no room. */
  async #wholeSnapshot(): Promise<boolean> {
    this.#beginSnapshot();
    while (this.#snapshotTo !== null) if (!(await this.#snapshotStep())) return false;
    return true;
  }
}

const firstPlace: Place = { upto: 0, hash: "", at: 0, clock: 0 };

function asLogError(error: unknown, name: string): LogError {
  if (error instanceof LogError) return error;
  const what = error instanceof Error ? error.message : String(error);
  return new LogError(
    "log-failed",
    `${name}: ${what}`,
    "What was acknowledged is safe. Check the disk, then start again: only a new start knows what reached it.",
  );
}
