/**
 * The options the engine reads, as plain values. config.ts fills them from flags, environment, file and preset;
 * tests and the embedded coordinator write them down. Nothing here is read from the outside.
 */
export type EngineConfig = {
  preset: string;
  version: string;
  /** What a client is told: send something at least this often. */
  heartbeatMs: number;
  /** A worker that says nothing for this long is offline. */
  silenceMs: number;
  /** Added to every lease after a restart, so that workers have time to come back. */
  graceMs: number;
  /** A waiting task gains one priority level per this long; 0: never. */
  ageingMs: number;
  /** How often a task may interrupt its workers before it is dead. */
  interruptionsMax: number;
  /** Finished tasks are kept for this long, and at most so many a queue. */
  retentionMs: number;
  retentionCount: number;
  /** Over these the engine answers `busy`. */
  queuedTasksMax: number;
  memoryBytesMax: number;
  undurableBytesMax: number;
};
