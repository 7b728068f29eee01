/**
 * The log as the loop sees it: everything is asked of a thread that owns the data folder (worker.ts), so the loop
 * never waits for a disk. One thread for the life of the log. Its death, and every error but a full disk, ends the
 * log: whatever waits is rejected, and the listener hears of it once.
 */
import {
  type Appended,
  type Batch,
  type Log,
  LogError,
  type LogStatus,
  type Recovered,
  type RecoverySink,
} from "./log.ts";
import type { FromThread, ToThread } from "./messages.ts";
import type { WriterOptions } from "./writer.ts";

type Waiting = { resolve(value: never): void; reject(error: Error): void };

export class ThreadLog implements Log {
  readonly #folder: string;
  readonly #options: Partial<WriterOptions>;
  readonly #isSnapshot: boolean;
  readonly #waiting: Waiting[] = [];
  #worker: Worker | null = null;
  #sink: RecoverySink | null = null;
  #status: LogStatus;
  #listener: ((error: Error) => void) | null = null;
  #error: Error | null = null;
  #isOpen = false;
  #stopping: Promise<void> | null = null;
  /** In snapshot mode the loop answers appends itself: a thread busy with a snapshot would keep it waiting. */
  #last = 0;
  #isFull = false;

  constructor(
    folder: string,
    options: Partial<WriterOptions>,
    readonly url = workerUrl(),
  ) {
    this.#folder = folder;
    this.#options = options;
    this.#isSnapshot = options.mode === "snapshot";
    this.#status = {
      strategy: this.#isSnapshot ? "snapshot" : "wal",
      syncedRevision: 0,
      foldedTo: 0,
      oldestRevision: 0,
      logBytes: 0,
      syncCount: 0,
      batchCount: 0,
    };
  }

  async open(sink: RecoverySink): Promise<Recovered> {
    this.#sink = sink;
    const worker = new Worker(this.url);
    this.#worker = worker;
    const ready = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ resolve: resolve as () => void, reject });
    });
    worker.onmessage = (event: MessageEvent<FromThread>) => {
      try {
        this.#hear(event.data);
      } catch (error) {
        // The sink refused what was read.
        this.#fail(error as Error);
      }
    };
    worker.onerror = (event) => this.#fail(threadError(event.message));
    worker.addEventListener("close", () => this.#fail(threadError("it ended")));
    await ready;
    try {
      const recovered = await this.#ask<Recovered>({
        kind: "open",
        folder: this.#folder,
        options: this.#options,
      });
      this.#last = recovered.revision;
      this.#isOpen = true;
      return recovered;
    } finally {
      this.#sink = null;
      if (!this.#isOpen) this.#release();
    }
  }

  async append({ first, last, text }: Batch, after: number): Promise<Appended> {
    if (!this.#isSnapshot) {
      const answer = await this.#ask<"durable" | "full" | number>(`${first} ${last} ${after}\n${text}`);
      return typeof answer === "number" ? { kind: "fenced", last: answer } : { kind: answer };
    }
    if (this.#error !== null) throw this.#error;
    if (after !== this.#last) return { kind: "fenced", last: this.#last };
    if (this.#isFull) return { kind: "full" };
    this.#post(`${first} ${last} ${after}\n${text}`);
    this.#last = last;
    return { kind: "durable" };
  }

  reserve(ceiling: number): Promise<void> {
    return this.#ask({ kind: "reserve", ceiling });
  }

  async probe(): Promise<boolean> {
    const isDone = await this.#ask<boolean>({ kind: "probe" });
    if (isDone) this.#isFull = false;
    return isDone;
  }

  status(): LogStatus {
    return this.#status;
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
    await this.#ask({ kind: "stop" }).catch(() => {});
    this.#release();
  }

  /** Ends a thread that has nothing open any more. */
  #release(): void {
    this.#error ??= new LogError("log-failed", "the log is stopped", "Start it again.");
    this.#worker?.terminate();
    this.#worker = null;
  }

  #post(message: ToThread): void {
    this.#worker!.postMessage(message);
  }

  #ask<T>(message: ToThread): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#error !== null) return reject(this.#error);
      if (this.#worker === null)
        return reject(new LogError("log-failed", "the log is not open", "Open it first."));
      this.#waiting.push({ resolve, reject });
      this.#post(message);
    });
  }

  #hear(message: FromThread): void {
    switch (message.kind) {
      case "ready":
        this.#answer(undefined);
        return;
      case "rows": {
        const { part, cells } = message;
        for (let i = 0; i < cells.length; i += 2) this.#sink!.row(part, cells[i]!, cells[i + 1]!);
        this.#post({ kind: "taken" });
        return;
      }
      case "entries":
        for (const text of message.texts) this.#sink!.entry(text);
        this.#post({ kind: "taken" });
        return;
      case "progress":
        this.#sink!.progress(message.done, message.total);
        return;
      case "answer":
        this.#status = message.status;
        this.#answer(message.value);
        return;
      case "status":
        this.#status = message.status;
        this.#isFull = message.full;
        return;
      case "failed":
        this.#fail(new LogError(message.error.code, message.error.message, message.error.advice));
    }
  }

  #answer(value: unknown): void {
    this.#waiting.shift()!.resolve(value as never);
  }

  #fail(error: Error): void {
    if (this.#error !== null) return;
    this.#error = error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    (this.#worker as { unref?(): void } | null)?.unref?.();
    // Before it is open the caller of open() hears of it.
    if (this.#isOpen) this.#listener?.(error);
  }
}

/** In the executable all modules lie in one file at its root, and the worker, an entry point of its own, in log/. */
function workerUrl(): URL {
  const isCompiled = import.meta.url.includes("$bunfs") || import.meta.url.includes("~BUN");
  return new URL(isCompiled ? "./log/worker.js" : "./worker.ts", import.meta.url);
}

function threadError(why: string): LogError {
  return new LogError(
    "log-failed",
    `the log's thread failed: ${why}`,
    "What was acknowledged is safe. Start again: only a new start knows what reached the disk.",
  );
}
