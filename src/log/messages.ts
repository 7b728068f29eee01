/**
 * What the loop and the logs' thread say to each other. One thread serves every log of the process, so each message
 * names its log by number. A batch goes as one string: strings cross cheapest.
 */
import type { LogRow } from "./format.ts";
import type { LogError, LogStatus, Recovered } from "./log.ts";
import type { WriterOptions } from "./writer.ts";

export type ToThread =
  /** A batch: its log, first, last and after, parted by spaces, a newline, and the text. */
  | string
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
  /** Batches that the journal holds, oldest first; they have no answer. */
  | { kind: "journaled"; log: number; rows: LogRow[] }
  | { kind: "reserve"; log: number; ceiling: number }
  | { kind: "probe"; log: number }
  /** Writes what waits for the archive. */
  | { kind: "settle"; log: number }
  | { kind: "stop"; log: number };

/** `hash`: the chain's, at the last batch. */
export type Durable = { hash: string };
export type Opened = Recovered & Durable;

/** Answers of one log come in the order of its questions; "taken" has none, and "settled" comes when it is so. */
export type FromThread =
  | { kind: "lines"; log: number; text: string }
  | { kind: "progress"; log: number; done: number; total: number }
  | {
      kind: "answer";
      log: number;
      value: Opened | Durable | boolean | "full" | number | null;
      status: LogStatus;
    }
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
