/**
 * The options the engine reads, as plain values. config.ts fills them from flags, environment, file and preset;
 * tests and the embedded coordinator write them down. Nothing here is read from the outside.
 */
import type { CoreConfig } from "../core/coordinator.ts";

export type EngineConfig = CoreConfig & {
  preset: string;
  version: string;
  /** Over this much that waits for the disk the engine answers `busy`. */
  undurableBytesMax: number;
  /** How often what was published is handed to those who listen; 0: at once, each turn of the loop. */
  messageIntervalMs: number;
  /** Of changes that are kept in memory, so that watches go on where they were interrupted; 0: none are. */
  watchHistoryBytesMax: number;
};
