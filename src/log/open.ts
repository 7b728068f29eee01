/** Chooses the log that the options ask for. */
import type { Log } from "./log.ts";
import { MemoryLog } from "./memory.ts";
import { ThreadLog, type ThreadLogOptions } from "./thread.ts";
import type { WriterOptions } from "./writer.ts";

export type LogOptions =
  /** `startRevision`: the wall clock in microseconds. */
  | { strategy: "memory"; startRevision: number }
  | ({ strategy: "snapshot"; folder: string } & Tuning)
  | ({ strategy: "wal"; folder: string; sync: "always" | "interval" } & Tuning);

/** What may be left out; writerDefaults says what holds then. */
type Tuning = Partial<Omit<WriterOptions, "mode" | "migrations">> & Pick<ThreadLogOptions, "journal">;

export function openLog(options: LogOptions): Log {
  switch (options.strategy) {
    case "memory":
      return new MemoryLog(options.startRevision);
    case "snapshot": {
      const { folder, strategy, ...tuning } = options;
      return new ThreadLog(folder, { ...tuning, mode: strategy });
    }
    case "wal": {
      const { folder, strategy: _, sync, ...tuning } = options;
      return new ThreadLog(folder, { ...tuning, mode: sync });
    }
  }
}
