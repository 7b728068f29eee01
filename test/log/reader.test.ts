/** What is asked of a log is answered beside its appends, by a thread of its own that holds nothing up. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../../src/log/log.ts";
import { LogReader } from "../../src/log/reader.ts";
import { SqliteStorage } from "../../src/log/sqlite.ts";
import { LogThread, ThreadLog } from "../../src/log/thread.ts";
import { entryText, put } from "./model.ts";

const root = mkdtempSync(join(tmpdir(), "cortex-reader-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folderCount = 0;
const newFolder = () => join(root, String(folderCount++));
const sink = { lines() {}, progress() {} };

async function opened(folder = newFolder(), thread = new LogThread()): Promise<Log> {
  const log = new ThreadLog(folder, { mode: "always" }, thread);
  await log.open(sink);
  return log;
}

/** The revisions of what was answered. */
const revisionsOf = (texts: readonly string[]) =>
  texts.map((text) => Number(text.slice(1, text.indexOf("\t"))));

describe("the reader", () => {
  test("reader - it answers the entries after a revision, also from the middle of a batch", async () => {
    const log = await opened();
    await log.append(put(2, "a", "1"), 0);
    const changes: [string, string][] = [["tasks\tb", "ünïcode €🙂"]];
    const text = [3, 5, 9].map((revision) => entryText(revision, 1, changes)).join("");
    await log.append({ first: 3, last: 9, text }, 2);
    await log.append(put(12, "c", "1"), 9);
    const after = async (revision: number, bytesMax = 1e6) =>
      revisionsOf((await log.ask("entries", { after: revision, bytesMax })).texts);
    expect(await after(0)).toEqual([2, 3, 5, 9, 12]);
    expect(await after(3)).toEqual([5, 9, 12]);
    expect(await after(4)).toEqual([5, 9, 12]);
    expect(await after(9)).toEqual([12]);
    expect(await after(12)).toEqual([]);
    // One batch is never cut for its size.
    expect(await after(4, 1)).toEqual([5, 9]);
    const { texts } = await log.ask("entries", { after: 4, bytesMax: 1 });
    expect(texts[0]).toBe(entryText(5, 1, changes));
    await log.stop();
  });

  test("reader - it sees what was appended a moment ago, over many appends", async () => {
    const log = await opened();
    for (let revision = 1; revision <= 50; revision++) {
      await log.append(put(revision, "a", String(revision)), revision - 1);
      const { texts } = await log.ask("entries", { after: revision - 1, bytesMax: 1e6 });
      expect(revisionsOf(texts)).toEqual([revision]);
    }
    await log.stop();
  });

  test("reader - between questions it keeps nobody from checkpointing", async () => {
    const folder = newFolder();
    const log = await opened(folder);
    for (let revision = 1; revision <= 3; revision++)
      await log.append(put(revision, "a", "x".repeat(100_000)), revision - 1);
    // Less than there is, so that it stops in the middle.
    await log.ask("entries", { after: 0, bytesMax: 1 });
    const { Database } = await import("bun:sqlite");
    const beside = new Database(join(folder, "cortex.db"));
    beside.run("PRAGMA busy_timeout=2000");
    expect(beside.query("PRAGMA wal_checkpoint(TRUNCATE)").values()).toEqual([[0, 0, 0]]);
    beside.close();
    await log.stop();
  });

  test("reader - one thread answers for every log, each of its own", async () => {
    const thread = new LogThread();
    const logs = await Promise.all([1, 2, 3].map(() => opened(newFolder(), thread)));
    for (const [i, log] of logs.entries()) await log.append(put(10 + i, "a", "1"), 0);
    const answers = await Promise.all(logs.map((log) => log.ask("entries", { after: 0, bytesMax: 1e6 })));
    expect(answers.map(({ texts }) => revisionsOf(texts))).toEqual([[10], [11], [12]]);
    await (logs[0] as Log).stop();
    const { texts } = await (logs[1] as Log).ask("entries", { after: 0, bytesMax: 1e6 });
    expect(revisionsOf(texts)).toEqual([11]);
    for (const log of logs) await log.stop();
  });

  test("reader - what was asked before the log is stopped is answered, and refused after", async () => {
    const log = await opened();
    await log.append(put(1, "a", "1"), 0);
    const asked = log.ask("entries", { after: 0, bytesMax: 1e6 });
    await log.stop();
    expect(revisionsOf((await asked).texts)).toEqual([1]);
    await expect(log.ask("entries", { after: 0, bytesMax: 1e6 })).rejects.toMatchObject({
      code: "log-failed",
    });
  });

  test("reader - a question that cannot be answered is refused alone", async () => {
    const reader = new LogReader();
    const nowhere = newFolder();
    await expect(reader.ask(nowhere, "entries", { after: 0, bytesMax: 1 })).rejects.toThrow();
    const folder = newFolder();
    const log = await opened(folder);
    await log.append(put(1, "a", "1"), 0);
    expect((await reader.ask(folder, "entries", { after: 0, bytesMax: 1e6 })).texts).toHaveLength(1);
    reader.end();
    await log.stop();
  });

  test("reader - its death refuses what was asked and hurts no log; the next question starts it anew", async () => {
    const path = join(root, "dying.ts");
    writeFileSync(
      path,
      `self.onmessage = ({ data }) => {
         if (data.folder === "dies") setTimeout(() => { throw new Error("boom"); }, 0);
         else postMessage({ number: data.number, value: { texts: ["alive"] } });
       };`,
    );
    const reader = new LogReader(new URL(`file://${path}`));
    await expect(reader.ask("dies", "entries", { after: 0, bytesMax: 1 })).rejects.toThrow("boom");
    expect(await reader.ask("lives", "entries", { after: 0, bytesMax: 1 })).toEqual({ texts: ["alive"] });
    reader.end();
  });

  test("reader - its connection cannot write", async () => {
    const folder = newFolder();
    const log = await opened(folder);
    const storage = SqliteStorage.follower(folder);
    await storage.open();
    await expect(storage.commit({ meta: "x" }, false)).rejects.toThrow(/readonly|cannot be read/);
    await log.stop();
  });
});
