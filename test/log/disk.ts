/**
 * A storage for tests that keeps its promises (src/log/storage.ts) to the letter and not a bit more: at a crash only
 * a prefix of the unsynced commits survives, the next one may leave a torn log row, a mark slot being written is torn.
 * It fails at the call it is told to.
 */
import type { LogRow, RowChange } from "../../src/log/format.ts";
import type { Image, Row, Storage, Write } from "../../src/log/storage.ts";

type Contents = {
  meta: string | null;
  log: Map<number, LogRow>;
  image: Map<string, Row>;
  base: Map<string, Row>;
};

const copyOf = (contents: Contents): Contents => ({
  meta: contents.meta,
  log: new Map(contents.log),
  image: new Map(contents.image),
  base: new Map(contents.base),
});

const idOf = (part: string, key: string) => `${part}\t${key}`;

function apply(contents: Contents, write: Write): void {
  const { copy } = write;
  if (copy !== undefined)
    contents[copy.to] = copy.from === "nothing" ? new Map() : new Map(contents[copy.from]);
  for (const first of [...contents.log.keys()]) {
    if (write.dropAbove !== undefined && first > write.dropAbove) contents.log.delete(first);
    if (write.dropThrough !== undefined && first <= write.dropThrough) contents.log.delete(first);
  }
  if (write.log !== undefined) contents.log.set(write.log.first, write.log);
  const change = (image: Image, rows: readonly RowChange[] = []) => {
    for (const { part, key, text, check } of rows) {
      if (text === null) contents[image].delete(idOf(part, key));
      else contents[image].set(idOf(part, key), [part, key, text, check]);
    }
  };
  change("image", write.image);
  change("base", write.base);
  if (write.meta !== undefined) contents.meta = write.meta;
}

export class Crash extends Error {}

export class FakeDisk implements Storage {
  readonly name = "the disk";
  #synced: Contents = { meta: null, log: new Map(), image: new Map(), base: new Map() };
  #unsynced: Write[] = [];
  now: Contents = copyOf(this.#synced);
  mark: string[] = [];
  commitCount = 0;
  /** Calls that change something; the one with this number crashes, before (0) or after (1) it took place. */
  callCount = 0;
  crashAt = Number.POSITIVE_INFINITY;
  crashAfter = 0;
  isFull = false;
  /** The most rows one commit ever wrote, log row aside. */
  rowsMax = 0;

  async open(): Promise<void> {}
  async readMeta(): Promise<string | null> {
    return this.now.meta;
  }
  async count(): Promise<{ rows: number; log: number }> {
    return { rows: this.now.image.size, log: this.now.log.size };
  }
  async readRows(
    image: Image,
    after: { part: string; key: string } | null,
    countMax: number,
  ): Promise<Row[]> {
    const start = after === null ? "" : idOf(after.part, after.key);
    const ids = [...this.now[image].keys()].sort().filter((id) => id > start);
    return ids.slice(0, countMax).map((id) => this.now[image].get(id)!);
  }
  async readLog(after: number, bytesMax: number): Promise<LogRow[]> {
    const page: LogRow[] = [];
    let bytes = 0;
    for (const first of [...this.now.log.keys()].sort((a, b) => a - b)) {
      if (first <= after || bytes >= bytesMax) continue;
      page.push(this.now.log.get(first)!);
      bytes += this.now.log.get(first)!.text.length;
    }
    return page;
  }
  async commit(write: Write, sync: boolean): Promise<"done" | "full"> {
    if (this.isFull) return "full";
    return this.#call(() => {
      this.commitCount++;
      this.rowsMax = Math.max(this.rowsMax, (write.image?.length ?? 0) + (write.base?.length ?? 0));
      apply(this.now, write);
      this.#unsynced.push(write);
      if (sync) {
        this.#synced = copyOf(this.now);
        this.#unsynced = [];
      }
      return "done";
    });
  }
  async readMark(): Promise<string[]> {
    return [...this.mark];
  }
  async writeMark(slot: 0 | 1, text: string): Promise<void> {
    if (this.mark.length === 0) this.mark = ["", ""];
    const old = this.mark[slot]!;
    this.mark[slot] = text.slice(0, 60) + old.slice(60);
    return this.#call(() => {
      this.mark[slot] = text;
    });
  }
  async makeRoom(): Promise<void> {}
  async tidy(): Promise<void> {}
  async copyTo(_name: string): Promise<void> {}
  async close(): Promise<void> {}

  #call<T>(change: () => T): T {
    const crashes = this.callCount++ === this.crashAt;
    if (crashes && this.crashAfter === 0) throw new Crash("before");
    const result = change();
    if (crashes) throw new Crash("after");
    return result;
  }

  /** The machine goes down: `kept` of the unsynced commits survive, and the next one leaves a torn row. */
  crash(kept: number, torn: boolean): void {
    const next = copyOf(this.#synced);
    const writes = this.#unsynced;
    for (const write of writes.slice(0, kept)) apply(next, write);
    const row = writes[kept]?.log;
    if (torn && row !== undefined) next.log.set(row.first, { ...row, text: row.text.slice(0, -3) });
    this.#synced = next;
    this.#unsynced = [];
    this.now = copyOf(next);
    this.crashAt = Number.POSITIVE_INFINITY;
  }

  get unsyncedCount(): number {
    return this.#unsynced.length;
  }
}
