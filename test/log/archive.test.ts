/** What entries tell of the archive: written once, found again, let go of in time, and lost to no crash. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type ArchivePage, type ArchivePlace, type ArchiveRow, searchRows } from "../../src/log/archive.ts";
import { openLog } from "../../src/log/open.ts";
import { SqliteStorage } from "../../src/log/sqlite.ts";
import { LogWriter } from "../../src/log/writer.ts";
import { FakeDisk } from "./disk.ts";
import { entryText, put, Rebuilt, told } from "./model.ts";

const root = mkdtempSync(join(tmpdir(), "cortex-archive-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folderCount = 0;
const newFolder = () => join(root, String(folderCount++));
const newest = { at: Number.MAX_SAFE_INTEGER, id: "" };

const row = (number: number, more: Partial<ArchiveRow> = {}): ArchiveRow => ({
  ...{ id: `${number}-0`, at: number, tags: ["all"], text: `text ${number}`, ...more },
});
const tells = (revision: number, rows: readonly ArchiveRow[], at = 1) => ({
  ...{ first: revision, last: revision, text: entryText(revision, at, rows.map(told)) },
});

describe("searching", () => {
  test("archive - SQLite finds what a look at every row finds, page by page, whatever was replaced or dropped", async () => {
    const storage = new SqliteStorage(newFolder());
    await storage.open();
    const tag = fc.constantFrom("a", "b", "c", "rare", "never");
    const rows = fc.array(
      fc.record({
        id: fc.integer({ min: 1, max: 40 }).map((n) => `${n}-0`),
        at: fc.integer({ min: 1, max: 12 }),
        tags: fc.uniqueArray(tag, { maxLength: 4 }),
        text: fc.string({ maxLength: 10 }).map((text) => `${text.replaceAll("\n", "")}ü`),
      }),
      { maxLength: 60 },
    );
    const search = fc.record({
      tags: fc.uniqueArray(tag, { maxLength: 3 }),
      before: fc.record({ at: fc.integer({ min: 0, max: 14 }), id: fc.constantFrom("", "17-0", "3-0") }),
      from: fc.integer({ min: 0, max: 13 }),
      countMax: fc.integer({ min: 1, max: 7 }),
      unitsMax: fc.constantFrom(1, 20, 1e6),
    });
    await fc.assert(
      fc.asyncProperty(
        rows,
        fc.array(search, { maxLength: 8 }),
        fc.nat(30),
        async (all, searches, dropped) => {
          const model = new Map<string, ArchiveRow>();
          const gone = all.slice(0, dropped).map(({ id }) => id);
          const old = (await storage.oldestArchived(1000)).map(({ id }) => id);
          await storage.commit({ dropArchived: old, archive: all }, false);
          for (const one of all) model.set(one.id, one);
          await storage.commit({ dropArchived: gone }, false);
          for (const id of gone) model.delete(id);
          expect(await storage.countArchived()).toBe(model.size);
          for (const asked of searches) {
            const whole = { ...asked, countMax: 1000, unitsMax: 1e9 };
            const wanted = searchRows(model.values(), whole).rows;
            const found = [];
            for (let before: ArchivePlace | null = asked.before; before !== null; ) {
              const page = await storage.searchArchive({ ...asked, before });
              expect(page.rows.length).toBeLessThanOrEqual(asked.countMax);
              found.push(...page.rows);
              before = page.next;
            }
            expect(found).toEqual(wanted);
          }
        },
      ),
      { numRuns: 150 },
    );
    await storage.close();
  }, 60_000);

  test("archive - a search whose tags hardly meet is bounded, and goes on from its cursor to the end", async () => {
    const storage = new SqliteStorage(newFolder());
    await storage.open();
    // The two tags alternate, so each leap finds the other one only.
    const rows = Array.from({ length: 40_000 }, (_, i) =>
      row(i + 1, { tags: [i % 2 === 0 ? "even" : "odd"] }),
    );
    for (let i = 0; i < rows.length; i += 4000)
      await storage.commit({ archive: rows.slice(i, i + 4000) }, false);
    await storage.commit({ archive: [row(1, { tags: ["even", "odd"], text: "both" })] }, false);
    const asked = { tags: ["even", "odd"], from: 0, countMax: 10, unitsMax: 1e9 };
    const first = await storage.searchArchive({ ...asked, before: newest });
    expect(first.rows).toEqual([]);
    expect(first.next).not.toBeNull();
    const found = [];
    let pages = 1;
    for (let { next } = first; next !== null; pages++) {
      const page = await storage.searchArchive({ ...asked, before: next });
      found.push(...page.rows);
      next = page.next;
    }
    expect(found.map(({ text }) => text)).toEqual(["both"]);
    expect(pages).toBeGreaterThan(1);
    expect(pages).toBeLessThan(10);
    await storage.close();
  }, 30_000);
});

describe("keeping", () => {
  test("archive - what was appended a moment ago is found, and survives a restart and the end of the log behind it", async () => {
    const folder = newFolder();
    const log = openLog({ strategy: "wal", folder, sync: "always", idleFoldBytes: 0, historyMs: 0 });
    await log.open(new Rebuilt());
    for (let revision = 1; revision <= 300; revision++) {
      await log.append(tells(revision, [row(revision, { text: `with\ttabs ${revision} ü` })]), revision - 1);
      if (revision % 100 === 0)
        expect(await log.ask("archived", { id: `${revision}-0` })).toEqual({
          text: `with\ttabs ${revision} ü`,
        });
    }
    expect(await log.ask("archived", { id: "301-0" })).toEqual({ text: null });
    const asked = { tags: ["all"], before: newest, from: 0, countMax: 1000, unitsMax: 1e9 };
    expect((await log.ask("archive", asked)).rows.length).toBe(300);
    await log.stop();
    const again = openLog({ strategy: "wal", folder, sync: "always" });
    const rebuilt = new Rebuilt();
    await again.open(rebuilt);
    expect([...rebuilt.state.keys()]).toEqual([]);
    const { rows, next } = await again.ask("archive", { ...asked, countMax: 2 });
    expect(rows.map(({ id }) => id)).toEqual(["300-0", "299-0"]);
    expect((await again.ask("archive", { ...asked, before: next ?? newest, countMax: 1 })).rows[0]?.id).toBe(
      "298-0",
    );
    await again.stop();
  });

  test("archive - of the entries nothing is lost and nothing is there twice, wherever the process is killed", async () => {
    const folder = newFolder();
    const perBatch = 30;
    let acknowledged = 0;
    for (let kill = 0; kill < 6; kill++) {
      const child = Bun.spawn(
        [process.execPath, join(import.meta.dir, "archive-child.ts"), folder, String(perBatch)],
        { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
      );
      let heard = "";
      const decoder = new TextDecoder();
      for await (const chunk of child.stdout) {
        heard += decoder.decode(chunk, { stream: true });
        // Some kills come while rows wait, some while they are written in peace.
        if (heard.split("\n").length > 12 + 17 * kill) break;
      }
      child.kill("SIGKILL");
      await child.exited;
      acknowledged = Math.max(acknowledged, ...[...heard.matchAll(/ack (\d+)\n/g)].map(([, n]) => Number(n)));
      const log = openLog({ strategy: "wal", folder, sync: "always" });
      const { revision } = await log.open(new Rebuilt());
      expect(revision).toBeGreaterThanOrEqual(acknowledged);
      const ids: string[] = [];
      for (let before: ArchivePlace | null = newest; before !== null; ) {
        const page: ArchivePage = await log.ask("archive", {
          ...{ tags: ["all"], before, from: 0, countMax: 1000, unitsMax: 1e9 },
        });
        ids.push(...page.rows.map(({ id }) => id));
        before = page.next;
      }
      expect(new Set(ids).size).toBe(ids.length);
      const { texts } = await log.ask("entries", { after: 0, bytesMax: 1e9 });
      expect(texts.length).toBeGreaterThan(0);
      // Every batch is there whole.
      const revisions = new Set(ids.map((id) => Number(id.split("-")[0])));
      expect(ids.length).toBe(revisions.size * perBatch);
      expect(revisions.has(acknowledged)).toBe(true);
      await log.stop();
    }
  }, 60_000);

  test("archive - rows that wait are written a bounded number at a time, and no append waits for all of them", async () => {
    const disk = new FakeDisk();
    const writer = new LogWriter(disk, { mode: "always" });
    await writer.open(new Rebuilt());
    const rows = Array.from({ length: 5000 }, (_, i) => row(i + 1));
    await writer.append(tells(1, rows), 0);
    await writer.work();
    expect(disk.now.archive.size).toBe(0);
    await writer.tick(50);
    const slice = disk.now.archive.size;
    expect(slice).toBeGreaterThan(0);
    expect(slice).toBeLessThan(500);
    let pauses = 0;
    await writer.settle(async () => {
      pauses++;
      if (pauses === 3) await writer.append(put(2, "a", "1"), 1);
    });
    expect(pauses).toBeGreaterThan(10);
    expect(disk.now.archive.size).toBe(5000);
  });

  test("archive - under a load that never rests what waits is bounded", async () => {
    const disk = new FakeDisk();
    const writer = new LogWriter(disk, { mode: "always" });
    await writer.open(new Rebuilt());
    let told = 0;
    let waiting = 0;
    for (let revision = 1; revision <= 100; revision++) {
      const rows = Array.from({ length: 1000 }, (_, i) => row(told + i + 1));
      await writer.append(tells(revision, rows), revision - 1);
      told += rows.length;
      await writer.work();
      waiting = Math.max(waiting, told - disk.now.archive.size);
    }
    expect(waiting).toBeLessThan(40_000);
  });

  test("archive - an image waits for the rows of its entries", async () => {
    const disk = new FakeDisk();
    const writer = new LogWriter(disk, { mode: "always", idleFoldBytes: 0, markIntervalMs: 1 });
    await writer.open(new Rebuilt());
    await writer.append(
      tells(
        1,
        Array.from({ length: 3000 }, (_, i) => row(i + 1)),
      ),
      0,
    );
    for (let now = 50; writer.status().foldedTo === 0; now += 50) {
      await writer.tick(now);
      if (writer.status().foldedTo > 0) expect(disk.now.archive.size).toBe(3000);
    }
  });

  test("archive - the oldest rows go when there are too many, and when they are too old", async () => {
    const disk = new FakeDisk();
    const writer = new LogWriter(disk, { mode: "always", archiveCount: 100, archiveMs: 60_000 });
    await writer.open(new Rebuilt());
    let now = 0;
    const quiet = async (ms: number) => {
      for (const end = now + ms; now < end; now += 1000) while (await writer.tick(now));
    };
    await quiet(5000);
    await writer.append(
      tells(
        1,
        Array.from({ length: 1000 }, (_, i) => row(i + 1, { at: 1_000_000 + i })),
        1_001_000,
      ),
      0,
    );
    await quiet(10_000);
    expect(Math.min(...[...disk.now.archive.values()].map(({ at }) => at))).toBe(1_000_900);
    expect(disk.now.archive.size).toBe(100);
    expect(writer.status().archivedCount).toBe(100);
    // Nothing more happens: time goes on all the same.
    await quiet(90_000);
    expect(disk.now.archive.size).toBe(0);
    expect(writer.status().archivedCount).toBe(0);
  });

  test("archive - whoever opens a log and says nothing of limits takes nothing away", async () => {
    const disk = new FakeDisk();
    const writer = new LogWriter(disk, { mode: "always" });
    await writer.open(new Rebuilt());
    await writer.append(tells(1, [row(1)], 1e15), 0);
    for (let now = 0; now < 1e6; now += 10_000) while (await writer.tick(now));
    expect(disk.now.archive.size).toBe(1);
  });

  test("archive - without room rows wait, appends are refused as ever, and the rows come once there is room", async () => {
    const disk = new FakeDisk();
    const writer = new LogWriter(disk, { mode: "always" });
    await writer.open(new Rebuilt());
    await writer.append(tells(1, [row(1)]), 0);
    disk.isFull = true;
    await writer.settle();
    expect(await writer.append(put(2, "a", "1"), 1)).toEqual({ kind: "full" });
    expect(disk.now.archive.size).toBe(0);
    disk.isFull = false;
    expect(await writer.probe()).toBe(true);
    for (let now = 0; now < 3000; now += 100) while (await writer.tick(now));
    expect(disk.now.archive.size).toBe(1);
  });

  test("archive - a malformed line is refused before it is written", async () => {
    const disk = new FakeDisk();
    const writer = new LogWriter(disk, { mode: "always" });
    await writer.open(new Rebuilt());
    const text = entryText(1, 1, [["archive\t1-0", "no fields"]]);
    await expect(writer.append({ first: 1, last: 1, text }, 0)).rejects.toMatchObject({ code: "log-failed" });
    expect(disk.now.log.size).toBe(0);
  });
});
