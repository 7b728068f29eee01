/**
 * A log that is read and never written: the state as it was at a revision, out of a data folder, beside the daemon that
 * owns it or without one. It holds nothing open between two reads, so it keeps nobody waiting, and history that goes meanwhile
 * is gone here too.
 */
import { shareFolder } from "./folder.ts";
import { type Log, LogError, type LogStatus, type Recovered, type RecoverySink } from "./log.ts";
import { answerTo, type QuestionName, type Questions } from "./questions.ts";
import { type ReadAt, readAt } from "./recover.ts";
import { SqliteStorage } from "./sqlite.ts";
import type { Storage } from "./storage.ts";
import type { Place } from "./verify.ts";

/** The revision is not among those whose state is kept. */
export class NotKept extends Error {
  constructor(
    readonly oldest: number,
    readonly newest: number,
  ) {
    super(`states are kept from revision ${oldest} to ${newest}`);
  }
}

export class ReplayLog implements Log {
  #last = 0;
  #at = 0;

  constructor(
    /** The data folder, whose lock says whether it has an owner. */
    private readonly data: string,
    private readonly place: Place,
    /** null: the newest. */
    private readonly revision: number | null,
  ) {}

  async #read<T>(read: (storage: Storage) => Promise<T>): Promise<T> {
    const letIn = shareFolder(this.data);
    const storage = SqliteStorage.reader(this.place.folder, letIn !== null);
    try {
      await storage.open();
      return await read(storage);
    } finally {
      await storage.close();
      letIn?.();
    }
  }

  async open(sink: RecoverySink): Promise<Recovered> {
    const found: ReadAt = await this.#read((storage) => readAt(storage, this.revision, sink));
    if (!("last" in found)) throw new NotKept(found.oldest, found.newest);
    const { last, at, clock } = found;
    this.#last = last;
    this.#at = at;
    return { revision: last, ceiling: last, at, clock, notes: [] };
  }

  /** History ends here, and what ended later is in no archive yet. */
  ask<N extends QuestionName>(name: N, asked: Questions[N]["asked"]): Promise<Questions[N]["answered"]> {
    const until = { ...asked } as { upTo?: number; before?: { at: number; id: string } };
    if (until.upTo !== undefined) until.upTo = Math.min(until.upTo, this.#last);
    if (until.before !== undefined && until.before.at > this.#at) until.before = { at: this.#at + 1, id: "" };
    return this.#read((storage) => answerTo(storage, name, until as Questions[N]["asked"]));
  }

  append(): Promise<never> {
    return Promise.reject(new LogError("log-failed", "what is replayed is not written", ""));
  }

  async reserve(): Promise<void> {}

  async probe(): Promise<boolean> {
    return false;
  }

  status(): LogStatus {
    const revision = this.#last;
    return {
      ...{ strategy: "wal", syncedRevision: revision, foldedTo: revision, oldestRevision: revision },
      ...{ logBytes: 0, syncCount: 0, batchCount: 0, archivedCount: 0 },
    };
  }

  onFailure(): void {}

  async stop(): Promise<void> {}
}
