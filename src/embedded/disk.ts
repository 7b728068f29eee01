/**
 * A disk in memory, for tests: it outlives the coordinators that write to it, and is full when it is told to be. It
 * keeps every batch and never folds any, which is more than a test fills and too little for anything else.
 */
import { type ArchiveRow, archiveHead, readArchiveLine, searchRows } from "../log/archive.ts";
import { readHeader, splitEntries } from "../log/format.ts";
import { goneLocks, searchEntries } from "../log/history.ts";
import type { Appended, Batch, Log, LogStatus, Recovered, RecoverySink } from "../log/log.ts";
import type { Ask, QuestionName, Questions } from "../log/questions.ts";

export class KeptDisk {
  readonly batches: Batch[] = [];
  readonly archive = new Map<string, ArchiveRow>();
  ceiling = 0;
  isFull = false;

  keep(batch: Batch): void {
    this.batches.push(batch);
    if (!batch.text.includes(`\n${archiveHead}`)) return;
    for (const line of batch.text.split("\n"))
      if (line.startsWith(archiveHead)) {
        const row = readArchiveLine(line);
        this.archive.set(row.id, row);
      }
  }

  get last(): number {
    return this.batches.at(-1)?.last ?? 0;
  }
}

/** The log over such a disk: what is appended is there at once. */
export class KeptLog implements Log {
  #isCut = false;

  constructor(readonly disk = new KeptDisk()) {}

  /** The process that wrote is gone: what it still had in mind is not written, and nobody is answered. */
  cut(): void {
    this.#isCut = true;
  }

  async open(sink: RecoverySink): Promise<Recovered> {
    const { batches, ceiling, last } = this.disk;
    for (const { text } of batches) sink.lines(text);
    sink.progress(1, 1);
    const header = batches.at(-1)?.text.match(/^@.*$/gm)?.at(-1) ?? "@0\t0\t0";
    const [, at, clock] = header.slice(1).split("\t").map(Number) as [number, number, number];
    return { revision: last, ceiling: Math.max(ceiling, last), at, clock, notes: [] };
  }

  async append(batch: Batch, after: number): Promise<Appended> {
    return this.#isCut ? new Promise(() => {}) : this.write(batch, after);
  }

  protected write(batch: Batch, after: number): Appended {
    const { disk } = this;
    if (disk.isFull) return { kind: "full" };
    if (after !== disk.last) return { kind: "fenced", last: disk.last };
    disk.keep(batch);
    return { kind: "durable" };
  }

  async reserve(ceiling: number): Promise<void> {
    this.disk.ceiling = Math.max(this.disk.ceiling, ceiling);
  }

  async probe(): Promise<boolean> {
    return !this.disk.isFull;
  }

  readonly ask: Ask = (name, asked) => this.#answers[name](asked);

  readonly #answers: {
    [N in QuestionName]: (asked: Questions[N]["asked"]) => Promise<Questions[N]["answered"]>;
  } = {
    entries: async ({ after }) => {
      const texts = this.disk.batches.flatMap(({ text }) => splitEntries(text));
      return { texts: texts.filter((text) => readHeader(text).revision > after) };
    },
    history: async (search) => {
      const { batches } = this.disk;
      const texts = batches.flatMap(({ text }) => splitEntries(text));
      const locks = await goneLocks(texts, search, async () => []);
      return { ...searchEntries(texts, search, true, locks), oldest: batches[0]?.first ?? null };
    },
    archived: async ({ id }) => ({ text: this.disk.archive.get(id)?.text ?? null }),
    archive: async (search) => searchRows(this.disk.archive.values(), search),
  };

  status(): LogStatus {
    const { last, batches } = this.disk;
    return {
      strategy: "wal",
      syncedRevision: last,
      foldedTo: 0,
      oldestRevision: 0,
      logBytes: 0,
      syncCount: batches.length,
      batchCount: batches.length,
      archivedCount: this.disk.archive.size,
    };
  }

  onFailure(_listener: (error: Error) => void): void {}

  async stop(): Promise<void> {
    this.disk.ceiling = this.disk.last;
  }
}
