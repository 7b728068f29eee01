/**
 * The thread that owns the data folder: it takes batches from the loop one after the other and runs a writer over
 * SQLite for each log. What one log asks for keeps another waiting for one commit at most. The real clock of the logs'
 * upkeep is here and nowhere else. It is an entry point of its own in the executable. It never answers for a log that
 * failed: the loop ends the process then.
 */
import type { LogError } from "./log.ts";
import type { Durable, FromThread, ToThread } from "./messages.ts";
import { readShared } from "./shared.ts";
import { SqliteStorage } from "./sqlite.ts";
import type { Write } from "./storage.ts";
import { LogWriter } from "./writer.ts";

declare const self: Worker & { onmessage: (event: MessageEvent<ToThread>) => void };
type Answer = Extract<FromThread, { kind: "answer" }>["value"];
type Append = Extract<ToThread, { kind: "append" }>;

/** How often upkeep looks for what is due, and how often in a log that has been quiet and has nothing to write. */
const tickMs = 50;
const quietTickMs = 1000;
const quietAfterMs = 5000;
/** Pages on their way to the loop; it decodes slower than SQLite reads. */
const pagesInFlightMax = 8;

const logs = new Map<number, KeptLog>();
const say = (message: FromThread) => self.postMessage(message);
/** What the loop has said meanwhile is heard first. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** To open and to close a log takes many syncs: between two of them the other logs have their turn. */
class PoliteStorage extends SqliteStorage {
  isPolite = true;

  override commit(write: Write, sync: boolean): Promise<"done" | "full"> {
    const done = super.commit(write, sync);
    return this.isPolite ? done.then((result) => turn().then(() => result)) : done;
  }

  override writeMark(slot: 0 | 1, text: string): Promise<void> {
    const done = super.writeMark(slot, text);
    return this.isPolite ? done.then(turn) : done;
  }
}

class KeptLog {
  readonly #storage: PoliteStorage;
  readonly #writer: LogWriter;
  readonly #isSnapshot: boolean;
  #lastTold = "";
  /** It is to have a journal, once it was opened: that must not keep a start waiting. */
  #mayJournal: boolean;
  /** The last revision taken. */
  #last = 0;
  #heardAt = performance.now();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isQuiet = false;
  #pagesInFlight = 0;
  #resume: (() => void) | null = null;

  constructor(
    readonly number: number,
    { folder, within, options, journals }: Extract<ToThread, { kind: "open" }>,
  ) {
    this.#isSnapshot = options.mode === "snapshot";
    this.#mayJournal = journals;
    const around = within === null ? undefined : logs.get(within);
    this.#storage = new PoliteStorage(folder, around === undefined ? undefined : around.#storage);
    this.#writer = new LogWriter(this.#storage, options);
    this.#writer.onFailure((error) => this.fail(error));
  }

  async hear(message: ToThread): Promise<void> {
    switch (message.kind) {
      case "append": {
        this.#wake();
        const value = await this.#append(message);
        if (value !== null) this.#answer(value);
        return this.#writer.work();
      }
      case "open":
        this.#answer(await this.#open());
        return;
      case "taken":
        this.#pagesInFlight--;
        this.#resume?.();
        this.#resume = null;
        return;
      case "journaled": {
        this.#wake();
        this.#last = message.rows.at(-1)!.last;
        const rows = message.rows.map(({ start, length, ...row }) => ({
          ...row,
          bytes: new Uint8Array(message.bytes, start, length),
        }));
        await this.#writer.takeJournaled(rows);
        say({ kind: "written", log: this.number });
        return this.#writer.work();
      }
      case "reserve":
        await this.#writer.reserve(message.ceiling);
        return this.#answer(null);
      case "probe":
        return this.#answer(await this.#writer.probe());
      case "settle":
        await this.#writer.settle(turn);
        return say({ kind: "settled", log: this.number });
      case "stop":
        this.#storage.isPolite = true;
        await this.#writer.stop();
        if (this.#timer !== null) clearTimeout(this.#timer);
        logs.delete(this.number);
        return this.#answer(null);
    }
  }

  /** Something is written: upkeep looks often again. */
  #wake(): void {
    this.#heardAt = performance.now();
    if (this.#isQuiet) this.#arm(tickMs);
  }

  async #open() {
    const recovered = await this.#writer.openPages({
      lines: (text) => this.#page({ kind: "lines", log: this.number, text }),
      progress: (done, total) => say({ kind: "progress", log: this.number, done, total }),
    });
    this.#storage.isPolite = false;
    this.#last = recovered.revision;
    this.#arm(tickMs);
    return { ...recovered, hash: this.#writer.hash };
  }

  #page(message: FromThread): Promise<void> | void {
    say(message);
    if (++this.#pagesInFlight < pagesInFlightMax) return;
    return new Promise((resolve) => {
      this.#resume = resolve;
    });
  }

  async #append({ first, last, after, text }: Append): Promise<Durable | "full" | number | null> {
    const batch = typeof text === "string" ? { first, last, text } : { first, last, bytes: readShared(text) };
    this.#last = last;
    if (this.#isSnapshot) {
      await this.#writer.take(batch);
      return null;
    }
    const appended = await this.#writer.append(batch, after);
    if (appended.kind === "durable") return { hash: this.#writer.hash };
    return appended.kind === "fenced" ? appended.last : appended.kind;
  }

  #answer(value: Answer): void {
    say({ kind: "answer", log: this.number, value, status: this.#writer.status() });
  }

  #arm(ms: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#isQuiet = ms === quietTickMs;
    this.#timer = setTimeout(() => this.#tick(), ms);
  }

  async #tick(): Promise<void> {
    try {
      if (this.#mayJournal) {
        this.#mayJournal = false;
        if (await this.#writer.beginJournal()) say({ kind: "journal", log: this.number });
      }
      const now = performance.now();
      const more = await this.#writer.tick(now);
      const status = this.#writer.status();
      const full = this.#writer.isFull;
      const told = JSON.stringify([status, full]);
      if (told !== this.#lastTold) say({ kind: "status", log: this.number, status, full });
      this.#lastTold = told;
      if (!logs.has(this.number)) return;
      const isQuiet = now - this.#heardAt > quietAfterMs && status.syncedRevision >= this.#last;
      // Between two steps what waits in the queue is heard.
      this.#arm(more ? 0 : isQuiet ? quietTickMs : tickMs);
    } catch {
      // Told by the listener, or the log is stopped.
    }
  }

  fail(error: unknown): void {
    const { code, message, advice } = error as Partial<LogError> & Error;
    logs.delete(this.number);
    say({
      kind: "failed",
      log: this.number,
      error: { code: code ?? "log-failed", message, advice: advice ?? "This is a bug." },
    });
  }
}

self.onmessage = ({ data }) => {
  let log = logs.get(data.log);
  if (log === undefined) {
    // What is still asked of a log that failed gets no answer.
    if (data.kind !== "open") return;
    log = new KeptLog(data.log, data);
    logs.set(data.log, log);
  }
  log.hear(data).catch((error) => log.fail(error));
};
