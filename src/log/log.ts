/**
 * The log's interface. A log keeps encoded entries in the order of their revisions and gives them back after a
 * restart. It knows nothing of tasks or workers: an entry is text (core/codec.ts), of which the log reads only
 * the line starts. The interface is asynchronous and free of SQLite, because a later log is an engine shared by
 * several coordinators; `after` is what will fence a leader that lost its lease.
 *
 * The text of an entry, one line each, every line ended by "\n", fields parted by "\t":
 *   "@" revision "\t" at "\t" clock "\t" operation "\t" who      the header; at: wall ms; clock: lease-clock ms
 *   "+" part "\t" key "\t" text                                  a record put (text may hold tabs, never newlines)
 *   "-" part "\t" key                                            a record deleted
 * A part is a family of rows ("tasks", "runs", "workers", …); keys hold neither tabs nor newlines.
 */
import { UnknownPart } from "../lib/part.ts";
import type { Ask } from "./questions.ts";

/** Entries that leave together: one row, one write, one sync. */
export type Batch = {
  /** Revision of the first and the last entry. They grow by at least one from entry to entry. */
  first: number;
  last: number;
  /** The entries' texts, joined. */
  readonly text: string;
  /** The same in pieces, where it was not needed as one yet. */
  readonly pieces?: readonly string[];
};

export const piecesOf = (batch: Batch): readonly string[] => batch.pieces ?? [batch.text];
export const unitsOf = (pieces: readonly string[]): number =>
  pieces.reduce((units, { length }) => units + length, 0);

/**
 * A batch of no more than this is small: the log may sync it in the loop (journal.ts), and the engine waits a moment for
 * more before it sends one. With more there is enough to carry out while a thread syncs. Units of text, and entries.
 */
export const smallBatch = { units: 64 * 1024, entries: 80 };

export type Appended =
  /** The batch is as safe as the strategy promises: applied, written or synced. */
  | { kind: "durable" }
  /** `after` is not the log's last revision; nothing was written. */
  | { kind: "fenced"; last: number }
  /** The disk is full; nothing was written, and the log takes no batch until probe() succeeds. */
  | { kind: "full" };

/** Takes what the log holds, oldest first: the newest image, then the entries after it. */
export type RecoverySink = {
  /** An image's lines, which put records in the order of their keys, or whole entries, header and changes; many at a time. */
  lines(text: string): void;
  /** For the terminal: how far recovery is, in pieces and batches. */
  progress(done: number, total: number): void;
};

export type Recovered = {
  /** The last revision the log holds; 0 for a new one. */
  revision: number;
  /** The next revision must lie above this; it is at or above every revision that ever left the process. */
  ceiling: number;
  /** Wall and lease clock of the last entry; 0 for a new one. */
  at: number;
  clock: number;
  /** What recovery had to mend and says in the log lines, such as a torn tail that was cut. */
  notes: string[];
};

export type LogStatus = {
  strategy: "memory" | "snapshot" | "wal";
  /** Last revision that is as safe as it will get (synced, or in the last snapshot). */
  syncedRevision: number;
  /** The newest image is as of this revision. */
  foldedTo: number;
  /** The oldest entry kept. */
  oldestRevision: number;
  logBytes: number;
  syncCount: number;
  batchCount: number;
  /** Rows of the archive; 0 until they were counted. */
  archivedCount: number;
};

export interface Log {
  /** Reads what is there into the sink, verifies it, and makes the log ready to append. Called once, first. */
  open(sink: RecoverySink): Promise<Recovered>;
  /** One at a time: the next append follows the answer to the last. Rejects when the log is beyond use. */
  append(batch: Batch, after: number): Promise<Appended>;
  /** Makes it safe that revisions up to `ceiling` leave the process. Resolves once that is synced. */
  reserve(ceiling: number): Promise<void>;
  /** After `full`: makes room if it can and tries a commit. True: appends work again. */
  probe(): Promise<boolean>;
  /** Reads beside the appends, which wait for no answer. Rejects where that cannot be read; the log goes on. */
  ask: Ask;
  status(): LogStatus;
  /** Called at most once, when the log is beyond use (a failed write or sync, the death of its thread). */
  onFailure(listener: (error: Error) => void): void;
  /** Writes what is left, releases the revisions that were reserved and not used, closes. Twice is fine. */
  stop(): Promise<void>;
}

/** A data folder that must not be opened as it is. `code` is stable; `advice` says what to do. */
export class LogError extends Error {
  constructor(
    readonly code:
      | "data-folder-in-use"
      | "data-folder-not-writable"
      | "data-folder-newer-format"
      | "data-folder-damaged"
      | "log-failed",
    message: string,
    readonly advice: string,
  ) {
    super(message);
    this.name = "LogError";
  }
}

const newer = (message: string) =>
  new LogError(
    "data-folder-newer-format",
    message,
    "Run the version of cortexd that wrote it, or a newer one.",
  );

export const newerFormat = (where: string, format: number): LogError =>
  newer(`${where} has format ${format}, which is newer than this program reads`);

/** What a loader threw: a record of a kind that came later is a newer version's, whatever the format. */
export const newerPart = (error: unknown): unknown =>
  error instanceof UnknownPart ? newer(error.message) : error;
