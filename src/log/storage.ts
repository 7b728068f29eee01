/**
 * The port under the log's pure parts: what a place that keeps a log must be able to do. It is small and
 * asynchronous, so that a simulated disk can complete late, lose, tear, refuse and fill up. What each call
 * promises, and what it does not, is said here; the log relies on nothing else.
 *
 * What may happen to a storage, and must not hurt:
 * - A crash at any moment. Of the commits since the last finished sync some prefix, in their order, survives whole,
 *   and nothing after it: never a later commit without an earlier one, never half a commit's rows. One exception is
 *   allowed: the first commit that did not survive may leave its first log row behind with a damaged text, and none of
 *   its other changes.
 * - A call that had not resolved when the crash came may have happened or not.
 * - A mark slot whose write had not resolved holds the old text, the new text, or neither (torn). The other slot is
 *   never touched by it.
 * - Rot: any piece, image, log row or slot may come back changed or be missing. The log finds it at the next start.
 *
 * A rejected call (other than a "full" answer, which is a result) means the storage is beyond use: after a failed
 * sync nothing is known about what reached the disk, and asking again may answer "fine" untruthfully. The log calls
 * nothing but close() afterwards. Calls are made one at a time.
 */
import type { ArchivePage, ArchivePlace, ArchiveRow, ArchiveSearch } from "./archive.ts";
import type { LogRow, NewRow } from "./format.ts";

/** One atomic change. The parts are applied in the order of these fields. What is written is copied. */
export type Write = {
  /** Drops log rows whose first revision is above this. */
  dropAbove?: number;
  /** Drops log rows whose first revision is at or below this. */
  dropThrough?: number;
  /** Drops the images of these revisions, and pieces of these numbers; those that are not there are no error. */
  dropImages?: readonly number[];
  dropPieces?: readonly number[];
  /** Added to the log; a row with the same first revision is replaced. */
  log?: readonly NewRow[];
  /** Added; no piece has had this number in an image that is there. */
  pieces?: readonly { id: number; bytes: Uint8Array }[];
  /** Added, as the image of a revision. */
  image?: { upto: number; text: string };
  /** Dropped from the archive, by id; those that are not there are no error. */
  dropArchived?: readonly string[];
  /** Added to the archive; a row of the same id is replaced. */
  archive?: readonly ArchiveRow[];
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

  /** What was once synced and is known to be missing, in words; null: nothing is known to be. */
  readLoss(): Promise<string | null>;

  /** How many rows the log has; for progress alone. */
  countLog(): Promise<number>;

  /** The texts of all images, by ascending revision. */
  readImages(): Promise<{ upto: number; text: string }[]>;

  /** Null: there is none of this number. */
  readPiece(id: number): Promise<Uint8Array | null>;

  /** The numbers of all pieces, ascending. */
  pieceIds(): Promise<number[]>;

  /** The first revision of the newest log row that begins at or below `revision`; null: there is none. */
  batchAt(revision: number): Promise<number | null>;

  /** The first revisions of the oldest log rows, ascending, at most `countMax`. */
  oldestLog(countMax: number): Promise<number[]>;

  /**
   * The log rows whose first revision is above `after`, in order. About `bytesMax` of text, at least one row when
   * there is one. An empty page is the end.
   */
  readLog(after: number, bytesMax: number): Promise<LogRow[]>;

  /** How many rows the archive has. May look at all of them. */
  countArchived(): Promise<number>;

  /** The archive's oldest rows, oldest first. */
  oldestArchived(countMax: number): Promise<ArchivePlace[]>;

  /** The text of an archived row; null: there is none of this id. */
  readArchived(id: string): Promise<string | null>;

  /** A page of the archive. It may be short, and still have a next one. */
  searchArchive(search: ArchiveSearch): Promise<ArchivePage>;

  /**
   * Applies the write as a whole or not at all. "done" with `sync`: it, and every commit before it, outlives a
   * crash of the machine, also when the write is empty. "done" without: it outlives the end of the process; a crash
   * of the machine may take it. "full": there was no room, nothing was applied, earlier commits stand, and a later
   * commit may succeed. Anything else rejects.
   */
  commit(write: Write, sync: boolean): Promise<"done" | "full">;

  /**
   * Makes a place where the caller of the log may sync batches by itself (journal.ts); the next open() adds to the log
   * what it finds there. False: there is no room for it, or it keeps none.
   */
  makeJournal(): Promise<boolean>;

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

  /** Lets go of the place. `isWhole`: all that the journal holds was synced here, too. Never rejects; twice is fine. */
  close(isWhole?: boolean): Promise<void>;
}
