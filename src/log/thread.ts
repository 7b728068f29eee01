/**
 * Logs as the loop sees them: everything is asked of a thread that owns the data folder (worker.ts), so the loop does
 * not wait for a disk, but for the journal's short syncs (journal.ts). One thread serves all logs of a process. A log's
 * own error, every one but a full disk, ends that log; the death of the thread ends them all. Whatever waits is rejected
 * then, and each listener hears of it once.
 */
import { entryPoint } from "./entry.ts";
import { type ChainedBatch, firstHash } from "./format.ts";
import { type Journal, journaledBytesMax } from "./journal.ts";
import {
  type Appended,
  type Batch,
  type Log,
  LogError,
  type LogStatus,
  piecesOf,
  type Recovered,
  type RecoverySink,
} from "./log.ts";
import type { Durable, FromThread, JournaledRow, Opened, ToThread } from "./messages.ts";
import { isAboutArchive, type QuestionName, type Questions } from "./questions.ts";
import { LogReader } from "./reader.ts";
import { type Shared, SharedTexts } from "./shared.ts";
import type { WriterOptions } from "./writer.ts";

type Waiting = { resolve(value: never): void; reject(error: Error): void };

/** Starts with the first log that is opened, and ends with the last one. */
export class LogThread {
  readonly #logs = new Map<number, ThreadLog>();
  #worker: Worker | null = null;
  #count = 0;

  /** Answers what is asked of the logs. */
  readonly reader = new LogReader();

  /** Of batches on their way to the thread. */
  readonly texts = new SharedTexts();

  constructor(readonly url = entryPoint("worker")) {}

  /** Takes a log in; its number. What it asks before the thread is ready waits there. */
  enter(log: ThreadLog): number {
    this.#worker ??= this.#start();
    this.#logs.set(++this.#count, log);
    return this.#count;
  }

  post(message: ToThread): void {
    this.#worker?.postMessage(message);
  }

  /** The log has nothing open any more. */
  leave(number: number): void {
    if (!this.#logs.delete(number) || this.#logs.size > 0) return;
    this.#worker?.terminate();
    this.#worker = null;
    this.reader.end();
  }

  /** The process is about to end, and must not be kept by the thread. */
  letGo(): void {
    (this.#worker as { unref?(): void } | null)?.unref?.();
  }

  #start(): Worker {
    const worker = new Worker(this.url);
    worker.onmessage = ({ data }: MessageEvent<FromThread>) => this.#logs.get(data.log)?.hear(data);
    const died = (why: string) => {
      if (this.#worker !== worker) return;
      for (const log of [...this.#logs.values()]) log.fail(threadError(why));
    };
    worker.onerror = (event) => died(event.message);
    worker.addEventListener("close", () => died("it ended"));
    return worker;
  }
}

export type ThreadLogOptions = Partial<WriterOptions> & {
  /** Every revision lies above this, also those of a log that is new. */
  startRevision?: number;
  /** Opens a folder's journal, which is of use to a log that syncs always; without it every batch goes through the thread. */
  journal?: (folder: string) => Journal;
  /** An open log of the same thread, whose folder holds this one's: its lock and its ballast serve both. */
  within?: ThreadLog;
};

export class ThreadLog implements Log {
  readonly #folder: string;
  readonly #options: Partial<WriterOptions>;
  readonly #startRevision: number;
  readonly #within: ThreadLog | null;
  readonly #openJournal: ThreadLogOptions["journal"];
  readonly #isSnapshot: boolean;
  readonly #waiting: Waiting[] = [];
  readonly #settling: Waiting[] = [];
  #number = 0;
  #sink: RecoverySink | null = null;
  #status: LogStatus;
  #listener: ((error: Error) => void) | null = null;
  #error: Error | null = null;
  #isOpen = false;
  #stopping: Promise<void> | null = null;
  /** The last revision that was appended, and the chain's hash there. */
  #last = 0;
  #hash = firstHash;
  /** In snapshot mode the loop answers appends itself: a thread busy with a snapshot would keep it waiting. */
  #isFull = false;
  /** Null: there is none (yet), and every append goes through the thread. */
  #journal: Journal | null = null;
  /** What the journal holds and the thread was not given yet: a message a batch would cost more than the batch. */
  #journaled: JournaledRow[] = [];
  /** Their texts, and where there is room behind them; null: there are none. */
  #texts: SharedArrayBuffer | null = null;
  #textsEnd = 0;
  /** Of what the thread was given and has not taken yet. */
  readonly #given: SharedArrayBuffer[] = [];
  #handOver: ReturnType<typeof setTimeout> | null = null;
  /** Up to here all is known to be where the reader finds it. */
  #written = 0;

  constructor(
    folder: string,
    { startRevision = 0, within, journal, ...options }: ThreadLogOptions,
    readonly thread = new LogThread(),
  ) {
    this.#folder = folder;
    this.#options = options;
    this.#startRevision = startRevision;
    this.#within = within ?? null;
    this.#openJournal = options.mode === "always" ? journal : undefined;
    this.#isSnapshot = options.mode === "snapshot";
    this.#status = {
      strategy: this.#isSnapshot ? "snapshot" : "wal",
      syncedRevision: 0,
      foldedTo: 0,
      oldestRevision: 0,
      logBytes: 0,
      syncCount: 0,
      batchCount: 0,
      archivedCount: 0,
    };
  }

  async open(sink: RecoverySink): Promise<Recovered> {
    this.#sink = sink;
    try {
      this.#number = this.thread.enter(this);
      const { hash, ...recovered } = await this.#ask<Opened>({
        kind: "open",
        log: this.#number,
        folder: this.#folder,
        within: this.#within === null ? null : this.#within.#number,
        options: this.#options,
        journals: this.#openJournal !== undefined,
      });
      this.#last = recovered.revision;
      this.#written = recovered.revision;
      this.#hash = hash;
      this.#isOpen = true;
      return { ...recovered, ceiling: Math.max(recovered.ceiling, this.#startRevision) };
    } finally {
      this.#sink = null;
      if (!this.#isOpen) this.#release();
    }
  }

  async append(batch: Batch, after: number): Promise<Appended> {
    if (this.#error !== null) throw this.#error;
    // The thread empties the journal as it stops.
    if (this.#stopping !== null) throw stopped();
    if (this.#isSnapshot) return this.#take(batch, after);
    if (this.#journal !== null && !this.#isFull && after === this.#last && this.#takeJournaled(batch))
      return { kind: "durable" };
    const { texts } = this.thread;
    const text = texts.write(piecesOf(batch));
    const answer = await this.#ask<Durable | "full" | number>(this.#append(batch, after, text));
    texts.giveBack(text.bytes);
    if (answer === "full") return { kind: "full" };
    if (typeof answer === "number") return { kind: "fenced", last: answer };
    this.#last = batch.last;
    this.#written = batch.last;
    this.#hash = answer.hash;
    return { kind: "durable" };
  }

  #append({ first, last }: Batch, after: number, text: string | Shared): ToThread {
    return { kind: "append", log: this.#number, first, last, after, text };
  }

  #take(batch: Batch, after: number): Appended {
    if (after !== this.#last) return { kind: "fenced", last: this.#last };
    if (this.#isFull) return { kind: "full" };
    this.#post(this.#append(batch, after, batch.text));
    this.#last = batch.last;
    return { kind: "durable" };
  }

  /** False: the batch must go through the thread. */
  #takeJournaled(batch: Batch): boolean {
    let row: ChainedBatch | null = null;
    this.#texts ??= this.thread.texts.take(handOverBytes + journaledBytesMax);
    try {
      row = this.#journal!.take(batch, this.#hash, new Uint8Array(this.#texts, this.#textsEnd));
    } catch (error) {
      // What reached the disk is not known.
      this.fail(journalError(error as Error));
      throw this.#error;
    }
    if (row === null) return false;
    this.#last = row.last;
    this.#hash = row.hash;
    const { bytes, ...rest } = row;
    this.#journaled.push({ ...rest, start: bytes.byteOffset, length: bytes.length });
    this.#textsEnd = bytes.byteOffset + bytes.length;
    if (this.#textsEnd >= handOverBytes) this.#flush();
    else this.#handOver ??= setTimeout(() => this.#flush(), handOverMs);
    return true;
  }

  /** Gives the thread what the journal holds, before anything else is asked of it. */
  #flush(): void {
    if (this.#handOver !== null) clearTimeout(this.#handOver);
    this.#handOver = null;
    if (this.#journaled.length === 0) return;
    const bytes = this.#texts as SharedArrayBuffer;
    this.thread.post({ kind: "journaled", log: this.#number, rows: this.#journaled, bytes });
    this.#given.push(bytes);
    this.#texts = null;
    this.#textsEnd = 0;
    this.#journaled = [];
  }

  #post(message: ToThread): void {
    this.#flush();
    this.thread.post(message);
  }

  reserve(ceiling: number): Promise<void> {
    return this.#ask({ kind: "reserve", log: this.#number, ceiling });
  }

  async probe(): Promise<boolean> {
    const isDone = await this.#ask<boolean>({ kind: "probe", log: this.#number });
    if (isDone) this.#isFull = false;
    return isDone;
  }

  async ask<N extends QuestionName>(
    name: N,
    asked: Questions[N]["asked"],
  ): Promise<Questions[N]["answered"]> {
    if (this.#error !== null) throw this.#error;
    // The reader sees what is written.
    if (isAboutArchive(name) || this.#written < this.#last) await this.#settle();
    return this.thread.reader.ask(this.#folder, name, asked);
  }

  /** All that was appended is where the reader finds it. */
  async #settle(): Promise<void> {
    const last = this.#last;
    await new Promise<void>((resolve, reject) => {
      this.#settling.push({ resolve, reject });
      this.#post({ kind: "settle", log: this.#number });
    });
    this.#written = Math.max(this.#written, last);
  }

  status(): LogStatus {
    if (this.#journal === null) return this.#status;
    const { syncedRevision, syncCount } = this.#status;
    return {
      ...this.#status,
      syncedRevision: Math.max(syncedRevision, this.#last),
      syncCount: syncCount + this.#journal.syncCount,
    };
  }

  onFailure(listener: (error: Error) => void): void {
    this.#listener = listener;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    // After a failure there is nothing to write; the process is about to end and the thread with it.
    if (!this.#isOpen || this.#error !== null) return;
    this.thread.reader.leave(this.#folder);
    await this.#ask({ kind: "stop", log: this.#number }).catch(() => {});
    this.#release();
  }

  #release(): void {
    this.#leaveJournal();
    this.#error ??= stopped();
    for (const { reject } of this.#settling.splice(0)) reject(this.#error);
    this.thread.leave(this.#number);
  }

  #ask<T>(message: ToThread): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#error !== null) return reject(this.#error);
      if (this.#number === 0)
        return reject(new LogError("log-failed", "the log is not open", "Open it first."));
      this.#waiting.push({ resolve, reject });
      this.#post(message);
    });
  }

  /** What the thread says of this log. */
  hear(message: FromThread): void {
    try {
      this.#hear(message);
    } catch (error) {
      // The sink refused what was read.
      this.fail(error as Error);
    }
  }

  #hear(message: FromThread): void {
    switch (message.kind) {
      case "lines":
        this.#sink!.lines(message.text);
        this.thread.post({ kind: "taken", log: this.#number });
        return;
      case "progress":
        this.#sink!.progress(message.done, message.total);
        return;
      case "answer":
        this.#hearStatus(message.status);
        this.#waiting.shift()!.resolve(message.value as never);
        return;
      case "settled":
        // Whoever asked first has waited for no more than this.
        this.#settling.shift()?.resolve(undefined as never);
        return;
      case "written":
        this.thread.texts.giveBack(this.#given.shift() as SharedArrayBuffer);
        return;
      case "journal":
        if (this.#error === null) this.#journal = this.#openJournal!(this.#folder);
        return;
      case "status":
        this.#hearStatus(message.status);
        this.#isFull = message.full;
        return;
      case "failed":
        this.fail(new LogError(message.error.code, message.error.message, message.error.advice));
    }
  }

  #hearStatus(status: LogStatus): void {
    this.#status = status;
    if (status.syncedRevision >= this.#last) this.#journal?.restart();
  }

  #leaveJournal(): void {
    if (this.#handOver !== null) clearTimeout(this.#handOver);
    this.#journal?.close();
    this.#journal = null;
  }

  /** The log is beyond use. */
  fail(error: Error): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#leaveJournal();
    for (const { reject } of [...this.#waiting.splice(0), ...this.#settling.splice(0)]) reject(error);
    if (!this.#isOpen) return; // the caller of open() hears of it
    this.thread.letGo();
    this.#listener?.(error);
  }
}

/** Batches that the journal holds go to the thread so many bytes, or so long after the first of them, at once. */
const handOverBytes = 512 * 1024;
const handOverMs = 50;

const knowsDisk = "What was acknowledged is safe. Start again: only a new start knows what reached the disk.";

const journalError = (error: Error): LogError =>
  error instanceof LogError ? error : new LogError("log-failed", `the journal: ${error.message}`, knowsDisk);

function threadError(why: string): LogError {
  return new LogError("log-failed", `the log's thread failed: ${why}`, knowsDisk);
}

const stopped = () => new LogError("log-failed", "the log is stopped", "Start it again.");
