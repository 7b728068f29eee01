/**
 * The log that keeps nothing: an append is applied when it is taken. Its revisions start from the wall clock in
 * microseconds, handed in, so that they go on growing over restarts although nothing is kept.
 */
import {
  type Appended,
  type Batch,
  type Log,
  LogError,
  type LogStatus,
  type Recovered,
  type RecoverySink,
} from "./log.ts";
import type { QuestionName, Questions } from "./questions.ts";

const nothing: { [N in QuestionName]: Questions[N]["answered"] } = {
  entries: { texts: [] },
  history: { entries: [], next: null, oldest: null },
  archived: { text: null },
  archive: { rows: [], next: null },
};

export class MemoryLog implements Log {
  #last = 0;
  #batchCount = 0;
  #isStopped = false;

  constructor(readonly startRevision: number) {}

  async open(sink: RecoverySink): Promise<Recovered> {
    sink.progress(0, 0);
    return { revision: 0, ceiling: this.startRevision, at: 0, clock: 0, notes: [] };
  }

  async append(batch: Batch, after: number): Promise<Appended> {
    if (this.#isStopped) throw new LogError("log-failed", "the log is stopped", "Start it again.");
    if (after !== this.#last) return { kind: "fenced", last: this.#last };
    this.#last = batch.last;
    this.#batchCount++;
    return { kind: "durable" };
  }

  async reserve(): Promise<void> {}

  async probe(): Promise<boolean> {
    return true;
  }

  /** Of what it keeps, which is nothing. */
  async ask<N extends QuestionName>(name: N): Promise<Questions[N]["answered"]> {
    return nothing[name];
  }

  status(): LogStatus {
    return {
      strategy: "memory",
      syncedRevision: this.#last,
      foldedTo: this.#last,
      oldestRevision: this.#last,
      logBytes: 0,
      syncCount: 0,
      batchCount: this.#batchCount,
      archivedCount: 0,
    };
  }

  onFailure(): void {}

  async stop(): Promise<void> {
    this.#isStopped = true;
  }
}
