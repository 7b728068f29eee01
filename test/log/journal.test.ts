/** The journal: what stands in it, what a crash leaves of it, and what the log makes of that. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backup } from "../../src/log/backup.ts";
import { encodeBatch, firstHash } from "../../src/log/format.ts";
import {
  decodeJournal,
  Journal,
  journalBytes,
  journaledBytesMax,
  makeJournal,
} from "../../src/log/journal.ts";
import { ThreadLog } from "../../src/log/thread.ts";
import { verifyFolder } from "../../src/log/verify.ts";
import type { WriterOptions } from "../../src/log/writer.ts";
import { put, Rebuilt, type State, sorted } from "./model.ts";

let root: string;
let folderCount = 0;
const newFolder = () => join(root, `data-${folderCount++}`);
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "cortex-journal-"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const batch = (revision: number) => put(revision, `k${revision % 7}`, `value-${revision} ünïcode €🙂`);

function stateUpTo(revision: number): [string, string][] {
  const state: State = new Map();
  for (let i = 1; i <= revision; i++) state.set(`tasks\tk${i % 7}`, `value-${i} ünïcode €🙂`);
  return sorted(state);
}

/** The texts of batches `from` to `to`, and the chain's hash behind them. */
function chained(from: number, to: number, previous: string): { texts: string[]; hash: string } {
  const texts: string[] = [];
  let hash = previous;
  for (let i = from; i <= to; i++) {
    const row = encodeBatch(hash, batch(i));
    const { first, last, text } = batch(i);
    texts.push(`cortex-batch ${first} ${last} ${hash} ${row.hash} ${text.length}\n${text}`);
    hash = row.hash;
  }
  return { texts, hash };
}

describe("what stands in it", () => {
  test("format - batches come back as they were, up to where they end", () => {
    const { texts } = chained(1, 5, firstHash);
    const found = decodeJournal(`${texts.join("")}${"\0".repeat(1000)}`);
    expect(found.map(({ first, last, text }) => ({ first, last, text }))).toEqual([1, 2, 3, 4, 5].map(batch));
    expect(decodeJournal("")).toEqual([]);
    expect(decodeJournal("\0".repeat(1000))).toEqual([]);
  });

  test("format - of a torn batch nothing comes back, and all before it does", () => {
    const bytes = Buffer.from(chained(1, 3, firstHash).texts.join(""));
    const ends = chained(1, 3, firstHash).texts.map((_, i, all) =>
      Buffer.byteLength(all.slice(0, i + 1).join("")),
    );
    for (let length = 0; length <= bytes.length; length++) {
      const torn = Buffer.concat([bytes.subarray(0, length), Buffer.alloc(bytes.length - length)]);
      expect(decodeJournal(torn.toString()).length).toBe(ends.filter((end) => end <= length).length);
    }
  });

  test("format - a byte that changed ends it there", () => {
    const { texts } = chained(1, 3, firstHash);
    const length = Buffer.byteLength(texts.join(""));
    const bytes = Buffer.concat([Buffer.from(texts.join("")), Buffer.alloc(100)]);
    const starts = texts.map((_, i) => Buffer.byteLength(texts.slice(0, i).join("")));
    for (let at = 0; at < length; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      const index = starts.findLastIndex((start) => start <= at);
      // What the first chains to is held against the log.
      const isFree = index === 0 && at >= "cortex-batch 1 1 ".length && at < "cortex-batch 1 1 ".length + 16;
      if (!isFree) expect(decodeJournal(changed.toString()).length).toBe(index);
    }
  });

  test("format - what an earlier round left behind does not come back", () => {
    const old = chained(1, 10, firstHash);
    const oldBytes = Buffer.from(old.texts.join(""));
    const next = chained(11, 30, old.hash);
    // Wherever the new ones end, the old ones behind them may begin.
    for (let count = 1; count <= 20; count++) {
      const bytes = Buffer.from(next.texts.slice(0, count).join(""));
      const file = Buffer.concat([bytes, oldBytes.subarray(Math.min(bytes.length, oldBytes.length))]);
      expect(decodeJournal(file.toString()).map(({ first }) => first)).toEqual(
        Array.from({ length: count }, (_, i) => 11 + i),
      );
      const whole = Buffer.concat([bytes, oldBytes]);
      expect(decodeJournal(whole.toString()).length).toBe(count);
    }
  });
});

describe("what goes into it", () => {
  /** One whose clock goes on by `syncMs` with each sync. */
  function journal(syncMs: () => number) {
    const folder = newFolder();
    mkdirSync(folder);
    expect(makeJournal(folder)).toBe(true);
    const time = { now: 0, isBefore: true };
    const clock = () => {
      if (!time.isBefore) time.now += syncMs();
      time.isBefore = !time.isBefore;
      return time.now;
    };
    const one = new Journal(folder, 2, clock);
    const room = new Uint8Array(journaledBytesMax);
    let hash = firstHash;
    let revision = 0;
    const take = (size = 10, count = 1): boolean => {
      const texts = Array.from(
        { length: count },
        (_, i) => put(revision + 1 + i, "k", "x".repeat(size)).text,
      );
      const taken = { first: revision + 1, last: revision + count, text: texts.join("") };
      const row = one.take(taken, hash, room);
      // What is not taken looks at the clock once.
      if (row === null) time.isBefore = true;
      else ({ last: revision, hash } = row);
      return row !== null;
    };
    return { folder, one, take, time };
  }

  test("journal - small batches, until it is full; then from its start again", () => {
    const { folder, one, take } = journal(() => 0.2);
    expect(take(64 * 1024)).toBe(false);
    expect(take(10, 81)).toBe(false);
    expect(take(10, 80)).toBe(true);
    one.restart();
    let count = 0;
    while (take(20_000)) count++;
    // A head, the entry's own, and the line around the text are less than two hundred bytes.
    expect(count).toBeLessThanOrEqual(Math.floor(journalBytes / 20_000));
    expect(count).toBeGreaterThanOrEqual(Math.floor(journalBytes / 20_200));
    expect(one.syncCount).toBe(count + 1);
    one.restart();
    expect(take()).toBe(true);
    expect(readFileSync(join(folder, "journal")).length).toBe(journalBytes);
    expect(decodeJournal(readFileSync(join(folder, "journal"), "utf8")).length).toBe(1);
    one.close();
  });

  test("journal - none while syncs take long on average, and again when they do not", () => {
    let syncMs = 0.2;
    const { one, take, time } = journal(() => syncMs);
    for (let i = 0; i < 100; i++) expect(take()).toBe(true);
    // One bad moment is nothing.
    syncMs = 500;
    expect(take()).toBe(true);
    syncMs = 0.2;
    for (let i = 0; i < 20; i++) expect(take()).toBe(true);
    syncMs = 10;
    let slowCount = 0;
    const from = time.now;
    while (time.now < from + 10_000)
      if (take()) slowCount++;
      else time.now += 1;
    // A tenth of the time at most.
    expect(slowCount).toBeGreaterThan(10);
    expect(slowCount * syncMs).toBeLessThan(1000);
    syncMs = 0.2;
    const again = time.now;
    while (time.now < again + 1000) if (!take()) time.now += 1;
    for (let i = 0; i < 100; i++) expect(take()).toBe(true);
    one.close();
  });

  test("journal - it was taken away: nothing is acknowledged", () => {
    const { folder, one, take } = journal(() => 0.2);
    expect(take()).toBe(true);
    rmSync(join(folder, "journal"));
    expect(() => take()).toThrow("was deleted or replaced");
    one.close();
  });
});

type Opened = { log: ThreadLog; rebuilt: Rebuilt; found: Awaited<ReturnType<ThreadLog["open"]>> };

/** However slow the disk is here, it is not too slow. */
async function opened(folder: string, options: Partial<WriterOptions> = {}): Promise<Opened> {
  const log = new ThreadLog(folder, { mode: "always", journal: (at) => new Journal(at, 1e9), ...options });
  const rebuilt = new Rebuilt();
  return { log, rebuilt, found: await log.open(rebuilt) };
}

const inJournal = (folder: string): number[] =>
  existsSync(join(folder, "journal"))
    ? decodeJournal(readFileSync(join(folder, "journal"), "utf8")).map(({ first }) => first)
    : [];

/** Never syncs its database by itself, once it is open. */
const unsynced = { markIntervalMs: 1e9 };

/** A log that takes batches into its journal, and the last revision in it. */
async function journaling(folder: string, options: Partial<WriterOptions> = unsynced) {
  const { log } = await opened(folder, options);
  let last = 0;
  const append = async () => {
    expect(await log.append(batch(last + 1), last)).toEqual({ kind: "durable" });
    last++;
  };
  // The thread makes it once it has time.
  while (!existsSync(join(folder, "journal"))) await Bun.sleep(5);
  do await append();
  while (!inJournal(folder).includes(last));
  return { log, append, last: () => last };
}

/** The folder as a power cut leaves it: the database as it was synced, and the journal as it is now. */
function cut(synced: string, now: string, change: (journal: Buffer) => Buffer = (bytes) => bytes): string {
  const folder = newFolder();
  mkdirSync(folder);
  for (const file of ["cortex.db", "cortex.db-wal"])
    if (existsSync(join(synced, file))) cpSync(join(synced, file), join(folder, file));
  cpSync(join(now, "mark"), join(folder, "mark"));
  writeFileSync(join(folder, "journal"), change(readFileSync(join(now, "journal"))));
  return folder;
}

/** A log with a dozen batches in its journal, and its database as it was when it was last synced. */
async function halfway() {
  const folder = newFolder();
  const { log, append, last } = await journaling(folder);
  const [start] = inJournal(folder) as [number];
  const synced = newFolder();
  cpSync(folder, synced, { recursive: true });
  const rows = new Database(join(synced, "cortex.db"));
  rows.run("DELETE FROM log WHERE first >= ?", [start]);
  rows.close();
  for (let i = 0; i < 12; i++) await append();
  return { folder, synced, log, append, last: last(), start };
}

describe("what a stop leaves", () => {
  test("journal - nothing, as the database has it; and nothing is taken into it meanwhile", async () => {
    const folder = newFolder();
    const { log, append, last } = await journaling(folder);
    for (let i = 0; i < 3; i++) await append();
    const stopped = log.stop();
    await expect(log.append(batch(last() + 1), last())).rejects.toThrow("stopped");
    await stopped;
    expect(inJournal(folder)).toEqual([]);
    const { log: again, found, rebuilt } = await opened(folder);
    expect(found.revision).toBe(last());
    expect(sorted(rebuilt.state)).toEqual(stateUpTo(last()));
    // And it is taken into again.
    let next = last();
    while (inJournal(folder).length === 0) {
      expect(await again.append(batch(next + 1), next)).toEqual({ kind: "durable" });
      next++;
    }
    const left = cut(folder, folder);
    await again.stop();
    const third = await opened(left);
    expect(third.found.revision).toBe(next);
    await third.log.stop();
  });
});

describe("what a crash leaves", () => {
  test("recovery - what the journal alone holds is there after a power cut, and stands in the database then", async () => {
    const { folder, synced, log, last } = await halfway();
    const left = cut(synced, folder);
    await log.stop();
    const { log: again, rebuilt, found } = await opened(left);
    expect(found).toMatchObject({ revision: last, notes: [] });
    expect(sorted(rebuilt.state)).toEqual(stateUpTo(last));
    expect(await again.append(batch(last + 1), last)).toEqual({ kind: "durable" });
    await again.stop();
    rmSync(join(left, "journal"));
    const third = await opened(left);
    expect(third.found.revision).toBe(last + 1);
    await third.log.stop();
  });

  test("recovery - of a batch that was torn in the journal nothing is there, and all before it is", async () => {
    const { folder, synced, log, last } = await halfway();
    const end = (bytes: Buffer) => bytes.lastIndexOf(`value-${last} `);
    const left = cut(synced, folder, (bytes) => {
      bytes.fill(0, end(bytes) + 3);
      return bytes;
    });
    await log.stop();
    const { log: again, rebuilt, found } = await opened(left);
    expect(found.revision).toBe(last - 1);
    expect(sorted(rebuilt.state)).toEqual(stateUpTo(last - 1));
    // The next one takes its place, and what was torn does not come back.
    expect(await again.append(batch(last), last - 1)).toEqual({ kind: "durable" });
    await again.stop();
    const third = await opened(left);
    expect(third.found.revision).toBe(last);
    await third.log.stop();
  });

  test("recovery - a database that ends before the journal begins is refused, and the way out gives up what is there", async () => {
    const { folder, synced, log, start, last } = await halfway();
    const left = cut(synced, folder);
    await log.stop();
    const rows = new Database(join(left, "cortex.db"));
    rows.run("DELETE FROM log WHERE first >= ?", [start - 1]);
    rows.close();
    // The mark says so too, unless it is older.
    rmSync(join(left, "mark"));
    cpSync(join(synced, "mark"), join(left, "mark"));
    const says = `the journal goes on at revision ${start}, but the log ends at revision ${start - 2}`;
    expect((await verifyFolder(left)).findings[0]!.problems.join()).toContain(says);
    const refused = await opened(left).then(
      () => null,
      (error: Error) => error,
    );
    expect(refused).toMatchObject({ code: "data-folder-damaged" });
    expect(refused!.message).toContain(says);
    expect(inJournal(left).at(-1)).toBe(last);
    const { log: again, found } = await opened(left, { recoverTo: start - 2 });
    expect(found.revision).toBe(start - 2);
    await again.stop();
    const third = await opened(left);
    expect(third.found.revision).toBe(start - 2);
    await third.log.stop();
  });

  test("recovery - what was cut off does not come back out of the journal", async () => {
    const { folder, synced, log, last } = await halfway();
    const left = cut(synced, folder);
    await log.stop();
    const { log: again } = await opened(left, { recoverTo: last - 5 });
    await again.stop();
    const third = await opened(left);
    expect(third.found.revision).toBe(last - 5);
    expect(sorted(third.rebuilt.state)).toEqual(stateUpTo(last - 5));
    await third.log.stop();
  });
});

describe("beside its owner", () => {
  test("log - what was acknowledged is there for whoever asks", async () => {
    const { log, append, last } = await journaling(newFolder());
    for (let i = 0; i < 20; i++) {
      await append();
      const { texts } = await log.ask("entries", { after: last() - 1, bytesMax: 1e6 });
      expect(texts).toEqual([batch(last()).text]);
      // And for whoever asks beside him.
      await append();
      const asked = { after: last() - 1, bytesMax: 1e6 };
      const both = await Promise.all([log.ask("entries", asked), log.ask("entries", asked)]);
      expect(both.map((answer) => answer.texts)).toEqual([[batch(last()).text], [batch(last()).text]]);
    }
    await log.stop();
  });

  test("verify, backup - they see what was acknowledged before, whoever has it yet", async () => {
    const folder = newFolder();
    const { log, append, last } = await journaling(folder);
    for (let i = 0; i < 5; i++) {
      await append();
      const { findings } = await verifyFolder(folder);
      expect(findings[0]).toMatchObject({ problems: [], logTo: last(), entryCount: last() });
      const to = newFolder();
      const manifest = await backup({ data: folder, to, version: "0", now: 1 });
      expect(manifest.namespaces[0]).toMatchObject({ revision: last(), entryCount: last() });
    }
    await log.stop();
  });

  test("verify, backup - of a folder that nobody has they see what the journal alone holds", async () => {
    const { folder, synced, log, last } = await halfway();
    const left = cut(synced, folder);
    await log.stop();
    expect((await verifyFolder(left)).findings[0]).toMatchObject({ problems: [], logTo: last });
    const to = newFolder();
    expect((await backup({ data: left, to, version: "0", now: 1 })).namespaces[0]!.revision).toBe(last);
    expect(inJournal(left).at(-1)).toBe(last);
  });
});

test("log - it goes on when the journal is full, again and again", async () => {
  const folder = newFolder();
  const { log } = await journaling(folder);
  let last = log.status().syncedRevision;
  const text = "y".repeat(30_000);
  const before = log.status().syncCount;
  const count = 3 * Math.ceil(journalBytes / text.length);
  for (let i = 0; i < count; i++) {
    expect(await log.append(put(last + 1, "big", text), last)).toEqual({ kind: "durable" });
    last++;
  }
  expect(log.status()).toMatchObject({ syncedRevision: last });
  expect(log.status().syncCount - before).toBeGreaterThanOrEqual(count);
  await log.stop();
  const { log: again, found, rebuilt } = await opened(folder);
  expect(found.revision).toBe(last);
  expect(rebuilt.state.get("tasks\tbig")).toBe(text);
  await again.stop();
});

test("log - the mark follows what the journal took, and the journal begins anew", async () => {
  const folder = newFolder();
  const { log, append } = await journaling(folder, { markIntervalMs: 50 });
  await append();
  // Synced by upkeep alone: from then on the next one stands at the start.
  for (;;) {
    await append();
    if (inJournal(folder).length === 1) break;
    const from = log.status().syncCount;
    while (log.status().syncCount === from) await Bun.sleep(5);
  }
  await log.stop();
});
