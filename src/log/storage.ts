/**
 * The port under the log's pure parts: what a place that keeps a log must be able to do. It is small and
 * asynchronous, so that a simulated disk can complete late, lose, tear, refuse and fill up. What each call
 * promises, and what it does not, is said here; the log relies on nothing else.
 *
 * What may happen to a storage, and must not hurt:
 * - A crash at any moment. Of the commits since the last finished sync some prefix, in their order, survives whole,
 *   and nothing after it: never a later commit without an earlier one, never half a commit's rows. One exception is
 *   allowed: the first commit that did not survive may leave its log row behind with a damaged text, and none of
 *   its other changes.
 * - A call that had not resolved when the crash came may have happened or not.
 * - A mark slot whose write had not resolved holds the old text, the new text, or neither (torn). The other slot is
 *   never touched by it.
 * - Rot: any row, log row or slot may come back changed or be missing. The log finds it at the next start.
 *
 * A rejected call (other than a "full" answer, which is a result) means the storage is beyond use: after a failed
 * sync nothing is known about what reached the disk, and asking again may answer "fine" untruthfully. The log calls
 * nothing but close() afterwards. Calls are made one at a time.
 */
import type { LogRow, RowChange } from "./format.ts";

/** `image` is the newest state folded; `base` the older one that lies under the entries kept. */
export type Image = "image" | "base";

export type Row = readonly [part: string, key: string, text: string, check: number];

/** One atomic change. The parts are applied in the order of these fields. */
export type Write = {
  /** Replaces the first image's rows by those of the second; "nothing" empties it. */
  copy?: { to: Image; from: Image | "nothing" };
  /** Drops log rows whose first revision is above this. */
  dropAbove?: number;
  /** Drops log rows whose first revision is at or below this. */
  dropThrough?: number;
  /** Added to the log; a row with the same first revision is replaced. */
  log?: LogRow;
  image?: RowChange[];
  base?: RowChange[];
  /** Replaces the meta text. */
  meta?: string;
};

export interface Storage {
  /** What error messages call it: the data folder. */
  readonly name: string;

  /**
   * Takes the place for this process alone, creating it if it is not there, and makes it ready. Rejects with a
   * LogError: data-folder-in-use, data-folder-not-writable, data-folder-damaged.
   */
  open(): Promise<void>;

  /** The meta text of the last commit that had one; null when there has been none. */
  readMeta(): Promise<string | null>;

  /** How many rows the image has, and the log; for progress alone. */
  count(): Promise<{ rows: number; log: number }>;

  /** The rows after (part, key), in the order of both; null: from the start. An empty page is the end. */
  readRows(image: Image, after: { part: string; key: string } | null, countMax: number): Promise<Row[]>;

  /**
   * The log rows whose first revision is above `after`, in order. About `bytesMax` of text, at least one row when
   * there is one. An empty page is the end.
   */
  readLog(after: number, bytesMax: number): Promise<LogRow[]>;

  /**
   * Applies the write as a whole or not at all. "done" with `sync`: it, and every commit before it, outlives a
   * crash of the machine, also when the write is empty. "done" without: it outlives the end of the process; a crash
   * of the machine may take it. "full": there was no room, nothing was applied, earlier commits stand, and a later
   * commit may succeed. Anything else rejects.
   */
  commit(write: Write, sync: boolean): Promise<"done" | "full">;

  /** Both mark slots as they are, "" for one that was never written; an empty array when there never was a mark. */
  readMark(): Promise<string[]>;

  /** Replaces a slot's text (always of one length). Resolves once it is synced. The other slot is not touched. */
  writeMark(slot: 0 | 1, text: string): Promise<void>;

  /** After "full": gives back whatever room the storage holds in reserve. Never rejects. */
  makeRoom(): Promise<void>;

  /**
   * Upkeep, called now and then between commits (`idle`: nothing waits): checkpoints, taking the reserve again.
   * Changes nothing that can be read. Full is no error here.
   */
  tidy(idle: boolean): Promise<void>;

  /** Keeps a copy of everything under a name of its own, before a migration. Resolves once it is synced. */
  copyTo(name: string): Promise<void>;

  /** Lets go of the place. Never rejects; twice is fine. */
  close(): Promise<void>;
}
