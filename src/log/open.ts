/** Chooses the log that the options ask for, and looks into a data folder without starting one. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Log } from "./log.ts";
import { MemoryLog } from "./memory.ts";
import { type Inspection, inspect } from "./recover.ts";
import { SqliteStorage } from "./sqlite.ts";
import { ThreadLog } from "./thread.ts";
import type { WriterOptions } from "./writer.ts";

export type LogOptions =
  /** `startRevision`: the wall clock in microseconds. */
  | { strategy: "memory"; startRevision: number }
  | ({ strategy: "snapshot"; folder: string } & Tuning)
  | ({ strategy: "wal"; folder: string; sync: "always" | "interval" } & Tuning);

/** What may be left out; writerDefaults says what holds then. */
type Tuning = Partial<Omit<WriterOptions, "mode" | "migrations">>;

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

/** Reads all of a folder that no process uses, and says what is wrong with it; null when there is no log in it. */
export async function inspectFolder(folder: string): Promise<Inspection | null> {
  if (!existsSync(join(folder, "cortex.db"))) return null;
  const storage = new SqliteStorage(folder);
  try {
    await storage.open();
    return await inspect(storage);
  } finally {
    await storage.close();
  }
}
