/**
 * What the loop and the logs' thread say to each other. One thread serves every log of the process, so each message
 * names its log by number.
 */
import type { ChainedBatch } from "./format.ts";
import type { LogError, LogStatus, Recovered } from "./log.ts";
import type { Shared } from "./shared.ts";
import type { WriterOptions } from "./writer.ts";

/** Its text stands in `length` bytes from `start`. */
export type JournaledRow = Omit<ChainedBatch, "bytes"> & { start: number; length: number };

export type ToThread =
  /** A batch. In snapshot mode it has no answer, so that its text needs memory of its own. */
  | { kind: "append"; log: number; first: number; last: number; after: number; text: string | Shared }
  /** `within`: the log whose folder holds this one's; that folder's lock and ballast serve both. `journals`: it is to have a journal. */
  | {
      kind: "open";
      log: number;
      folder: string;
      within: number | null;
      options: Partial<WriterOptions>;
      journals: boolean;
    }
  /** A page was taken; the next may come. */
  | { kind: "taken"; log: number }
  /** Batches that the journal holds, oldest first, and their texts as UTF-8. Once they are taken the memory is the loop's again. */
  | { kind: "journaled"; log: number; rows: JournaledRow[]; bytes: SharedArrayBuffer }
  | { kind: "reserve"; log: number; ceiling: number }
  | { kind: "probe"; log: number }
  /** Writes what waits for the archive. */
  | { kind: "settle"; log: number }
  | { kind: "stop"; log: number };

/** `hash`: the chain's, at the last batch. */
export type Durable = { hash: string };
export type Opened = Recovered & Durable;

/** Answers of one log come in the order of its questions; "taken" has none, and "settled" and "written" come when it is so. */
export type FromThread =
  | { kind: "lines"; log: number; text: string }
  | { kind: "progress"; log: number; done: number; total: number }
  | {
      kind: "answer";
      log: number;
      value: Opened | Durable | boolean | "full" | number | null;
      status: LogStatus;
    }
  /** Batches that the journal holds were taken, those of one message. */
  | { kind: "written"; log: number }
  /** The loop may use the journal from now on. */
  | { kind: "journal"; log: number }
  | { kind: "settled"; log: number }
  /** Something happened in between. */
  | { kind: "status"; log: number; status: LogStatus; full: boolean }
  /** The end of one log: what is asked of it from now on gets no answer. */
  | {
      kind: "failed";
      log: number;
      error: { code: LogError["code"]; message: string; advice: string };
    };
