/** Many logs, one thread: none waits long for another, none hurts another, and the thread's end is everyone's. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Batch, Log } from "../../src/log/log.ts";
import { LogThread, ThreadLog } from "../../src/log/thread.ts";

const root = mkdtempSync(join(tmpdir(), "cortex-thread-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folderCount = 0;
const newFolder = () => join(root, `data-${folderCount++}`);

const sink = { lines() {}, progress() {} };
const batch = (revision: number): Batch => ({
  first: revision,
  last: revision,
  text: `@${revision}\t1\t1\ttest\ttester\n+tasks\ta\t${revision}\n`,
});

/** Counts the threads that are started while `work` runs. */
async function threadsIn(work: () => Promise<void>): Promise<number> {
  const { Worker } = globalThis;
  let count = 0;
  globalThis.Worker = class extends Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      count++;
    }
  } as typeof Worker;
  try {
    await work();
  } finally {
    globalThis.Worker = Worker;
  }
  return count;
}

describe("logs of one thread", () => {
  test("thread - one serves every log, each of which keeps its own entries over a restart", async () => {
    const folder = newFolder();
    const lasts = [3, 5, 7];
    const threads = await threadsIn(async () => {
      const thread = new LogThread();
      const first = new ThreadLog(folder, { mode: "always" }, thread);
      const logs = [
        first,
        ...["a", "b"].map(
          (name) => new ThreadLog(join(folder, name), { mode: "always", within: first }, thread),
        ),
      ];
      for (const log of logs) await log.open(sink);
      await Promise.all(
        logs.map(async (log, i) => {
          for (let revision = 1; revision <= lasts[i]!; revision++)
            expect(await log.append(batch(revision), revision - 1)).toEqual({ kind: "durable" });
        }),
      );
      for (const log of logs.reverse()) await log.stop();
    });
    expect(threads).toBe(1);
    const found = [];
    for (const path of [folder, join(folder, "a"), join(folder, "b")]) {
      const log = new ThreadLog(path, { mode: "always" });
      found.push((await log.open(sink)).revision);
      await log.stop();
    }
    expect(found).toEqual(lasts);
  });

  test("thread - a log within another's folder has no lock and no ballast of its own", async () => {
    const folder = newFolder();
    const thread = new LogThread();
    const outer = new ThreadLog(folder, { mode: "always" }, thread);
    await outer.open(sink);
    const inner = new ThreadLog(join(folder, "inner"), { mode: "always", within: outer }, thread);
    await inner.open(sink);
    const there = (path: string) =>
      ["cortex.db", "mark", "lock", "ballast"].filter((file) => existsSync(join(path, file)));
    expect(there(folder)).toEqual(["cortex.db", "mark", "lock", "ballast"]);
    expect(there(join(folder, "inner"))).toEqual(["cortex.db", "mark"]);
    await inner.stop();
    await outer.stop();
  });

  test("thread - appends of one log go on while another is opened and stopped", async () => {
    const folder = newFolder();
    const thread = new LogThread();
    const busy = new ThreadLog(folder, { mode: "always" }, thread);
    await busy.open(sink);
    let revision = 0;
    const append = async () => {
      revision++;
      await busy.append(batch(revision), revision - 1);
    };
    const other = new ThreadLog(join(folder, "other"), { mode: "always", within: busy }, thread);
    let opened = false;
    const opening = other.open(sink).then(() => {
      opened = true;
    });
    let count = 0;
    for (; !opened; count++) await append();
    await opening;
    // Opening a new log syncs many times; were they one piece, no append but that which waits for it would come between.
    expect(count).toBeGreaterThan(1);
    await other.stop();
    await busy.stop();
  });

  test("thread - a log that cannot be opened leaves the others alone", async () => {
    const folder = newFolder();
    const thread = new LogThread();
    const good = new ThreadLog(folder, { mode: "always" }, thread);
    await good.open(sink);
    writeFileSync(join(folder, "file"), "");
    const bad = new ThreadLog(join(folder, "file"), { mode: "always", within: good }, thread);
    const refusal = await bad.open(sink).catch((error) => error);
    expect(refusal).toMatchObject({ code: "data-folder-not-writable" });
    expect(await good.append(batch(1), 0)).toEqual({ kind: "durable" });
    await good.stop();
  });

  test("thread - its death ends every log, and tells each once", async () => {
    const path = join(root, "dying.ts");
    writeFileSync(
      path,
      `self.onmessage = ({ data }) => {
         if (data.kind !== "open") setTimeout(() => { throw new Error("boom"); }, 0);
         else postMessage({ kind: "answer", log: data.log,
           value: { revision: 0, ceiling: 0, at: 0, clock: 0, notes: [] }, status: {} });
       };`,
    );
    const thread = new LogThread(new URL(`file://${path}`));
    const logs: Log[] = [1, 2].map(() => new ThreadLog("nowhere", { mode: "always" }, thread));
    const heard = [0, 0];
    for (const [i, log] of logs.entries()) {
      log.onFailure(() => {
        heard[i]!++;
      });
      await log.open(sink);
    }
    await expect(logs[0]!.append(batch(1), 0)).rejects.toMatchObject({ code: "log-failed" });
    await expect(logs[1]!.append(batch(1), 0)).rejects.toMatchObject({ code: "log-failed" });
    expect(heard).toEqual([1, 1]);
  });

  test("thread - a new log starts above the revision it is told to", async () => {
    const log = new ThreadLog(newFolder(), { mode: "always", startRevision: 5000 });
    expect((await log.open(sink)).ceiling).toBe(5000);
    await log.stop();
  });
});
