/** What the loop and the log's thread say to each other. A batch goes as one string: strings cross cheapest. */
import type { LogError, LogStatus, Recovered } from "./log.ts";
import type { WriterOptions } from "./writer.ts";

export type ToThread =
  /** A batch: first, last and after, parted by spaces, a newline, and the text. */
  | string
  | { kind: "open"; folder: string; options: Partial<WriterOptions> }
  /** A page was taken; the next may come. */
  | { kind: "taken" }
  | { kind: "reserve"; ceiling: number }
  | { kind: "probe" }
  | { kind: "stop" };

/** Answers come in the order of the questions; "taken" has none. */
export type FromThread =
  | { kind: "ready" }
  | { kind: "rows"; part: string; cells: string[] }
  | { kind: "entries"; texts: string[] }
  | { kind: "progress"; done: number; total: number }
  | { kind: "answer"; value: Recovered | boolean | "durable" | "full" | number | null; status: LogStatus }
  /** Something happened in between. */
  | { kind: "status"; status: LogStatus; full: boolean }
  /** The end: what is asked from now on gets no answer. */
  | { kind: "failed"; error: { code: LogError["code"]; message: string; advice: string } };
