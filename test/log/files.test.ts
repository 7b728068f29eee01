/** The log on real files: processes that die, files that rot, disks that are full, read-only or failing. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ballastBytes, lockBySqlite, lockFolder } from "../../src/log/folder.ts";
import { Journal } from "../../src/log/journal.ts";
import type { LogError } from "../../src/log/log.ts";
import { openLog } from "../../src/log/open.ts";
import { SqliteStorage } from "../../src/log/sqlite.ts";
import { LogThread, ThreadLog } from "../../src/log/thread.ts";
import { inspectFolder } from "../../src/log/verify.ts";
import type { WriterOptions } from "../../src/log/writer.ts";
import { put, Rebuilt, type State, sorted } from "./model.ts";

let root: string;
let folderCount = 0;
const newFolder = () => join(root, `data-${folderCount++}`);
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "cortex-log-"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

type Child = {
  process: Bun.Subprocess<"ignore", "pipe", "inherit">;
  lines: string[];
  until(wanted: (lines: string[]) => boolean): Promise<void>;
  end(): Promise<void>;
};

function child(folder: string, sync: string, count: number, then: string, env: object = {}): Child {
  const process_ = Bun.spawn(
    [process.execPath, join(import.meta.dir, "child.ts"), folder, sync, String(count), then],
    {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
      env: { ...process.env, ...env },
    },
  );
  const lines: string[] = [];
  let heard = () => {};
  const reading = (async () => {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of process_.stdout) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop()!;
      lines.push(...parts);
      heard();
    }
  })();
  return {
    process: process_,
    lines,
    async until(wanted) {
      while (!wanted(lines)) {
        const more = new Promise<void>((resolve) => {
          heard = resolve;
        });
        const ended = await Promise.race([more.then(() => false), reading.then(() => true)]);
        if (ended && !wanted(lines)) throw new Error(`the child ended early: ${lines.slice(-3).join(", ")}`);
      }
    },
    async end() {
      process_.kill("SIGKILL");
      await process_.exited;
      await reading;
    },
  };
}

const acknowledged = (lines: string[]) =>
  Math.max(0, ...lines.filter((line) => line.startsWith("ack ")).map((line) => Number(line.slice(4))));

async function opened(folder: string, options: Partial<WriterOptions> = {}) {
  const log = openLog({
    strategy: "wal",
    folder,
    sync: "always",
    markIntervalMs: 100,
    idleFoldBytes: 0,
    journal: (folder) => new Journal(folder),
    ...options,
  });
  const rebuilt = new Rebuilt();
  const found = await log.open(rebuilt);
  return { log, rebuilt, found };
}

async function refusal(folder: string): Promise<LogError> {
  const error = await opened(folder).then(
    async ({ log }) => {
      await log.stop();
      throw new Error("it opened");
    },
    (error: LogError) => error,
  );
  expect(error.name).toBe("LogError");
  return error;
}

/** What the child's entries up to a revision add up to, when it started on an empty folder. */
function expected(revision: number): [string, string][] {
  const state: State = new Map();
  for (let i = 1; i <= revision; i++) state.set(`tasks\tk${i % 100}`, `value-${i}`);
  return sorted(state);
}

/** A folder whose process was killed after `count` entries, all of them marked and folded, none checkpointed. */
async function killedFolder(count = 200): Promise<string> {
  const folder = newFolder();
  const writing = child(folder, "always", count, "settle");
  await writing.until((lines) => lines.includes("settled"));
  await writing.end();
  expect(existsSync(join(folder, "cortex.db-wal"))).toBe(true);
  // It would make good what is damaged behind where it begins.
  rmSync(join(folder, "journal"));
  return folder;
}

/** A folder that was stopped cleanly after `count` entries. */
async function stoppedFolder(count = 200): Promise<string> {
  const folder = newFolder();
  const { log } = await opened(folder);
  for (let i = 1; i <= count; i++) await log.append(put(i, `k${i % 100}`, `value-${i}`), i - 1);
  while (log.status().foldedTo < count) await Bun.sleep(10);
  await log.stop();
  expect(existsSync(join(folder, "cortex.db-wal"))).toBe(false);
  return folder;
}

/** The last byte of the text in every copy that the file holds, also where it is free by now. */
function flipAll(path: string, text: string): void {
  const bytes = readFileSync(path);
  let count = 0;
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1), count++)
    bytes[at + text.length - 1]! ^= 1;
  expect(count).toBeGreaterThan(0);
  writeFileSync(path, bytes);
}

/** In the log a header stands before each put, in a piece the put before. */
const inPiece = "value-156\n+tasks\tk57\tvalue-157";
const inLog = "@57\t1\t";

function flip(path: string, at: (bytes: Buffer) => number): void {
  const bytes = readFileSync(path);
  const position = at(bytes);
  expect(position).toBeGreaterThan(0);
  bytes[position]! ^= 1;
  writeFileSync(path, bytes);
}

describe("kill -9", () => {
  for (const sync of ["always", "interval"]) {
    test(`log - ${sync}: nothing acknowledged is gone after the process was killed while appending`, async () => {
      const folder = newFolder();
      let last = 0;
      for (let round = 1; round <= 3; round++) {
        const writing = child(folder, sync, 1_000_000, "hold");
        await writing.until((lines) => lines.length > 150 * round);
        await writing.end();
        const acked = acknowledged(writing.lines);
        const { log, found, rebuilt } = await opened(folder);
        expect(acked).toBeGreaterThan(last);
        expect(found.revision).toBeGreaterThanOrEqual(acked);
        expect(found.ceiling).toBeGreaterThanOrEqual(found.revision);
        expect(rebuilt.state.get(`tasks\tk${acked % 100}`)).toBe(
          `value-${found.revision % 100 === acked % 100 ? found.revision : acked}`,
        );
        if (round === 1) expect(sorted(rebuilt.state)).toEqual(expected(found.revision));
        last = found.revision;
        await log.stop();
      }
    }, 30_000);
  }
});

describe("damaged files", () => {
  test("recovery - a flipped byte in the middle of the write-ahead file is found, and the way out works", async () => {
    const folder = await killedFolder();
    // By what stands there: how much of the file is folding depends on how fast the machine is.
    flip(join(folder, "cortex.db-wal"), (bytes) => bytes.indexOf("value-100"));
    const error = await refusal(folder);
    expect(error.code).toBe("data-folder-damaged");
    expect(error.message).toContain("revision 200 was synced");
    const offered = Number(/--recover-to (\d+)/.exec(error.advice)![1]);
    expect(offered).toBeGreaterThan(0);
    expect(offered).toBeLessThan(200);
    const { log, found, rebuilt } = await opened(folder, { recoverTo: offered });
    expect(found.revision).toBe(offered);
    expect(found.ceiling).toBeGreaterThanOrEqual(200);
    expect(sorted(rebuilt.state)).toEqual(expected(offered));
    await log.stop();
  });

  test("recovery - a deleted write-ahead file is found", async () => {
    // Few enough that nothing was checkpointed.
    const folder = await killedFolder(20);
    unlinkSync(join(folder, "cortex.db-wal"));
    expect((await refusal(folder)).code).toBe("data-folder-damaged");
  });

  test("recovery - an older copy of the database under the newer mark is found", async () => {
    const folder = await stoppedFolder();
    copyFileSync(join(folder, "cortex.db"), join(folder, "copy"));
    const { log } = await opened(folder);
    await log.append(put(201, "k1", "value-201"), 200);
    await log.stop();
    copyFileSync(join(folder, "copy"), join(folder, "cortex.db"));
    const error = await refusal(folder);
    expect(error.code).toBe("data-folder-damaged");
    expect(error.message).toContain("ends at revision 200, but revision 201 was synced");
    expect(error.advice).toContain("--recover-to 200");
  });

  test("recovery - a flipped byte in an entry of the database is found and named", async () => {
    const folder = await stoppedFolder();
    flipAll(join(folder, "cortex.db"), inLog);
    const error = await refusal(folder);
    expect(error.code).toBe("data-folder-damaged");
    expect(error.message).toContain("log row 57–57");
  });

  test("recovery - a flipped byte in a piece of the image is found, and rebuilt from an older one and entries", async () => {
    const folder = await stoppedFolder();
    flipAll(join(folder, "cortex.db"), inPiece);
    const error = await refusal(folder);
    expect(error.code).toBe("data-folder-damaged");
    expect(error.message).toMatch(/piece \d+ of the image of revision 200 has a wrong checksum/);
    expect(error.advice).toContain("--recover-to 200");
    const { log, rebuilt } = await opened(folder, { recoverTo: 200 });
    expect(sorted(rebuilt.state)).toEqual(expected(200));
    await log.stop();
  });

  test("recovery - a page of nothing in the middle of the database is found", async () => {
    const folder = await stoppedFolder(2000);
    const path = join(folder, "cortex.db");
    const bytes = readFileSync(path);
    bytes.fill(0xff, 8 * 4096, 12 * 4096);
    writeFileSync(path, bytes);
    expect((await refusal(folder)).code).toBe("data-folder-damaged");
  });

  test("recovery - a database that is none is refused", async () => {
    const folder = await stoppedFolder(5);
    writeFileSync(join(folder, "cortex.db"), "this is not a database ".repeat(1000));
    expect((await refusal(folder)).code).toBe("data-folder-damaged");
  });

  test("verify - a folder is read as a whole, and every damage listed", async () => {
    const folder = await stoppedFolder();
    expect(await inspectFolder(folder, true)).toMatchObject({
      problems: [],
      imageIntact: true,
      baseIntact: true,
      rowCount: 100,
      entryCount: 200,
      logFrom: 0,
      logTo: 200,
      recoverTo: 200,
    });
    flipAll(join(folder, "cortex.db"), inLog);
    flipAll(join(folder, "cortex.db"), inPiece);
    const found = await inspectFolder(folder, true);
    expect(found).toMatchObject({ imageIntact: false, baseIntact: true, logTo: 56, recoverTo: 56 });
    expect(found.problems.join("\n")).toMatch(/piece \d+ of the image of revision 200 has a wrong checksum/);
    expect(found.problems.join("\n")).toContain("log row 57–57");
    expect(found.problems.join("\n")).toContain("but revision 200 was synced");
  });

  test("recovery - a truncated mark is refused, and so is a missing one", async () => {
    const folder = await stoppedFolder(5);
    truncateSync(join(folder, "mark"), 10);
    const error = await refusal(folder);
    expect(error.code).toBe("data-folder-damaged");
    expect(error.advice).toContain("--recover-to 5");
    unlinkSync(join(folder, "mark"));
    expect((await refusal(folder)).code).toBe("data-folder-damaged");
  });

  test("recovery - a newer format is refused and the file left as it is", async () => {
    const folder = await stoppedFolder(5);
    const path = join(folder, "cortex.db");
    const db = new Database(path);
    db.run("UPDATE meta SET text = replace(text, '\"format\":4', '\"format\":5')");
    db.run("PRAGMA wal_checkpoint(TRUNCATE)");
    db.close(true);
    const before = Bun.hash(readFileSync(path));
    expect((await refusal(folder)).code).toBe("data-folder-newer-format");
    expect(Bun.hash(readFileSync(path))).toBe(before);
  });
});

test("reader - one that reads for long holds up no append", async () => {
  const folder = newFolder();
  const storage = new SqliteStorage(folder);
  await storage.open();
  const big = Buffer.alloc(2 * 1024 * 1024, "x");
  const row = (first: number) => ({ first, last: first, bytes: big, checks: "", hash: "" });
  await storage.commit({ log: [row(1)] }, true);
  const reader = SqliteStorage.reader(folder, false);
  await reader.open();
  await storage.commit({ log: [row(2)] }, true);
  const before = performance.now();
  await storage.makeRoom();
  // SQLite's own patience is five seconds; a busy machine takes some of its own.
  expect(performance.now() - before).toBeLessThan(4500);
  expect((await reader.readLog(0, 1)).length).toBe(1);
  expect(await reader.readLog(1, 1)).toEqual([]);
  await reader.close();
  await storage.makeRoom();
  expect(Bun.file(join(folder, "cortex.db-wal")).size).toBe(0);
  await storage.close();
});

describe("large batches", () => {
  const big = Array.from({ length: 60_000 }, (_, i) => `step ${i} of "ünïcode €🙂"`).join(" ");
  const contents = (folder: string, change = "") => {
    const db = new Database(join(folder, "cortex.db"), { strict: true });
    if (change !== "") db.run(change);
    const [meta] = db.query("SELECT text FROM meta").values()[0] as [string];
    const texts = db.query("SELECT text FROM log ORDER BY first").values() as [string][];
    db.close();
    return { format: JSON.parse(meta.slice(9)).format, texts: texts.map(([text]) => text) };
  };
  const filled = async () => {
    const folder = newFolder();
    const log = openLog({ strategy: "wal", folder, sync: "interval" });
    await log.open(new Rebuilt());
    await log.append(put(1, "small", "s"), 0);
    await log.stop();
    const before = contents(folder);
    const again = openLog({ strategy: "wal", folder, sync: "interval" });
    await again.open(new Rebuilt());
    await again.append(put(2, "big", big), 1);
    await again.append(put(3, "last", "l"), 2);
    await again.stop();
    return { folder, before };
  };

  test("sqlite - a large batch is packed, comes back whole, and an earlier version is told by the format", async () => {
    const { folder, before } = await filled();
    expect(before.format).toBe(2);
    const { format, texts } = contents(folder);
    expect(format).toBe(3);
    expect(texts.map((text) => text.startsWith("zstd "))).toEqual([false, true, false]);
    expect((texts[1] as string).length).toBeLessThan(big.length / 5);
    const rebuilt = new Rebuilt();
    const log = openLog({ strategy: "wal", folder, sync: "always" });
    expect(await log.open(rebuilt)).toMatchObject({ revision: 3, notes: [] });
    await log.stop();
    expect(rebuilt.state.get("tasks\tbig")).toBe(big);
    expect(await inspectFolder(folder, true)).toMatchObject({ problems: [], recoverTo: 3 });
  });

  test("recovery - a packed batch that is damaged is found, whether or not it can be unpacked", async () => {
    for (const change of [
      "UPDATE log SET text = substr(text, 1, length(text) - 40) WHERE first = 2",
      "UPDATE log SET text = 'zstd ' WHERE first = 2",
      `UPDATE log SET text = 'zstd ${Bun.zstdCompressSync("@2\t1\t4\tx\ty\n").toString("base64")}' WHERE first = 2`,
    ]) {
      const { folder } = await filled();
      contents(folder, change);
      const log = openLog({ strategy: "wal", folder, sync: "always" });
      await expect(log.open(new Rebuilt())).rejects.toMatchObject({ code: "data-folder-damaged" });
      await log.stop();
      expect(await inspectFolder(folder, true)).toMatchObject({ recoverTo: 1 });
    }
  });
});

describe("one process a folder", () => {
  test("lock - a second process is refused and told who holds it; a killed one lets go", async () => {
    const folder = newFolder();
    const holder = child(folder, "always", 1, "hold");
    await holder.until((lines) => lines.includes("ack 1"));
    const error = await refusal(folder);
    expect(error.code).toBe("data-folder-in-use");
    expect(error.message).toContain(String(holder.process.pid));
    await holder.end();
    const { log, found } = await opened(folder);
    expect(found.revision).toBe(1);
    await log.stop();
  });

  test("lock - deleting the lock file lets nobody in beside the holder", async () => {
    const folder = newFolder();
    const { log } = await opened(folder);
    unlinkSync(join(folder, "lock"));
    expect((await refusal(folder)).code).toBe("data-folder-in-use");
    await log.stop();
  });

  const losses: [string, (folder: string) => void][] = [
    ["the folder", (folder) => rmSync(folder, { recursive: true })],
    ["the database", (folder) => unlinkSync(join(folder, "cortex.db"))],
    ["the write-ahead file", (folder) => unlinkSync(join(folder, "cortex.db-wal"))],
    [
      "the database, for a copy of it",
      (folder) => {
        copyFileSync(join(folder, "cortex.db"), join(folder, "copy"));
        renameSync(join(folder, "copy"), join(folder, "cortex.db"));
      },
    ],
  ];
  test.each(losses)("folder - nothing is acknowledged once somebody took away %s", async (_, take) => {
    const folder = newFolder();
    const { log } = await opened(folder);
    const failures: Error[] = [];
    log.onFailure((error) => failures.push(error));
    await log.append(put(1, "a", "1"), 0);
    take(folder);
    const outcome = await log.append(put(2, "a", "2"), 1).catch((error: Error) => error.message);
    expect(outcome).toContain("deleted or replaced");
    expect(failures.length).toBe(1);
    await log.stop();
  });

  test("lock - the same process cannot open it twice either", async () => {
    const folder = newFolder();
    const { log } = await opened(folder);
    expect((await refusal(folder)).code).toBe("data-folder-in-use");
    await log.append(put(1, "a", "1"), 0);
    await log.stop();
  });

  test("lock - let go twice, it closes nobody else's file", () => {
    const folder = newFolder();
    mkdirSync(folder);
    const release = lockFolder(folder);
    release();
    const file = openSync(join(folder, "lock"), "r");
    release();
    expect(fstatSync(file).isFile()).toBe(true);
    closeSync(file);
  });

  test("lock - where there is no flock, a small database holds it", () => {
    const folder = newFolder();
    mkdirSync(folder);
    const path = join(folder, "lock");
    const release = lockBySqlite(folder, path);
    expect(() => lockBySqlite(folder, path)).toThrow(expect.objectContaining({ code: "data-folder-in-use" }));
    release();
    lockBySqlite(folder, path)();
  });
});

describe("the write-ahead file", () => {
  test("sqlite - it is written from its start again, and grows no further while batches come", async () => {
    const folder = newFolder();
    const storage = new SqliteStorage(folder);
    await storage.open();
    const size = () => statSync(join(folder, "cortex.db-wal")).size;
    // As much as is written as it is.
    const text = "x".repeat(1024 * 1024 - 16);
    const fill = async (count: number) => {
      for (let i = 0; i < count; i++) {
        await storage.commit(
          { log: [{ first: 1, last: 1, bytes: Buffer.from(`${i}${text}`), checks: "", hash: "" }] },
          true,
        );
        await storage.tidy(false);
      }
    };
    await fill(40);
    const grown = size();
    expect(grown).toBeLessThan(24 * 1024 * 1024);
    await fill(80);
    expect(size()).toBe(grown);
    await storage.close();
  });
});

describe("a thread that dies", () => {
  const dying: [string, string][] = [
    ["throws", "throw new Error('boom')"],
    ["ends", "process.exit(0)"],
  ];
  test.each(dying)("thread - one that %s rejects what waits and is told once", async (_, end) => {
    const path = join(root, `worker-${folderCount++}.ts`);
    writeFileSync(
      path,
      `const status = {};
       self.onmessage = ({ data }) => {
         if (data.kind !== "open") setTimeout(() => { ${end} }, 0);
         else postMessage({ kind: "answer", log: 1, value: { revision: 0, ceiling: 0, at: 0, clock: 0, notes: [] }, status });
       };`,
    );
    const log = new ThreadLog("nowhere", { mode: "always" }, new LogThread(new URL(`file://${path}`)));
    const heard: Error[] = [];
    log.onFailure((error) => heard.push(error));
    await log.open(new Rebuilt());
    const error = await log.append(put(1, "a", "1"), 0).catch((error: LogError) => error);
    expect(error).toMatchObject({ code: "log-failed" });
    await expect(log.append(put(1, "a", "1"), 0)).rejects.toMatchObject({ code: "log-failed" });
    await log.stop();
    expect(heard).toHaveLength(1);
  });

  test("thread - one that does not load rejects open", async () => {
    const log = new ThreadLog(
      "nowhere",
      { mode: "always" },
      new LogThread(new URL(`file://${root}/none.ts`)),
    );
    await expect(log.open(new Rebuilt())).rejects.toMatchObject({ code: "log-failed" });
  });
});

const compiler = Bun.which("cc") ?? Bun.which("gcc") ?? Bun.which("clang");
const canShim = process.platform === "linux" && compiler !== null;

describe("a disk that lies", () => {
  let shim: string;
  beforeAll(() => {
    if (!canShim) return;
    shim = join(root, "shim.so");
    const source = join(import.meta.dir, "shim.c");
    const built = Bun.spawnSync([compiler!, "-shared", "-fPIC", "-o", shim, source, "-ldl"]);
    if (!built.success) throw new Error(built.stderr.toString());
  });

  const why = canShim ? "" : " (skipped: needs a C compiler on Linux)";
  const cases: [call: string, file: string, at: number][] = [
    ["sync", "cortex.db-wal", 20],
    ["write", "cortex.db-wal", 60],
    ["sync", "/journal", 20],
    // The folder is made with two, opened with two, and reserved from with two; the next is the first in the run.
    ["sync", "mark", 7],
  ];
  for (const [call, file, at] of cases) {
    test.skipIf(!canShim)(
      `log - a failed ${call} of ${file} rejects the append, and nothing after is acknowledged${why}`,
      async () => {
        const folder = newFolder();
        const env = { LD_PRELOAD: shim, FAIL_CALL: call, FAIL_FILE: file, FAIL_AT: String(at) };
        const writing = child(folder, "always", 1_000_000, "hold", env);
        await writing.until((lines) => lines.filter((line) => line.startsWith("refused")).length === 2);
        await writing.process.exited;
        const told = writing.lines.filter((line) => !line.startsWith("ack"));
        expect(told.sort()).toEqual([
          "failed log-failed",
          "failure log-failed",
          "open",
          "refused log-failed",
          "refused log-failed",
        ]);
        const acked = acknowledged(writing.lines);
        expect(acked).toBeGreaterThan(0);
        const { log, found, rebuilt } = await opened(folder);
        expect(found.revision).toBeGreaterThanOrEqual(acked);
        // The one that failed may be there or not, those refused after it may not.
        expect(found.revision).toBeLessThanOrEqual(acked + 1);
        expect(sorted(rebuilt.state)).toEqual(expected(found.revision));
        await log.stop();
      },
    );
  }
});

function mount(folder: string, options: string): boolean {
  mkdirSync(folder, { recursive: true });
  return Bun.spawnSync(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]).success;
}
const unmount = (folder: string) => Bun.spawnSync(["umount", "--lazy", folder]);

const canMount = (() => {
  if (process.platform !== "linux" || process.getuid?.() !== 0 || Bun.which("mount") === null) return false;
  const folder = mkdtempSync(join(tmpdir(), "cortex-mount-"));
  const isMounted = mount(folder, "size=1m");
  if (isMounted) unmount(folder);
  rmSync(folder, { recursive: true, force: true });
  return isMounted;
})();
const whyNoMount = canMount ? "" : " (skipped: needs the right to mount a tmpfs)";

describe("a disk that is full or read-only", () => {
  test.skipIf(!canMount)(
    `log - on a full disk appends say so, the ballast makes room, and nothing is lost${whyNoMount}`,
    async () => {
      const folder = newFolder();
      expect(mount(folder, "size=64m")).toBe(true);
      try {
        const data = join(folder, "data");
        const { log } = await opened(data);
        const failures: Error[] = [];
        log.onFailure((error) => failures.push(error));
        expect(Bun.file(join(data, "ballast")).size).toBe(ballastBytes);
        writeFileSync(join(folder, "filler"), Buffer.alloc(40 * 1024 * 1024, 1));
        const big = "x".repeat(256 * 1024);
        let last = 0;
        const fill = async () => {
          for (;;) {
            const appended = await log.append(put(last + 1, `k${last + 1}`, big), last);
            if (appended.kind === "full") return;
            expect(appended).toEqual({ kind: "durable" });
            last++;
          }
        };
        await fill();
        expect(last).toBeGreaterThan(0);
        const before = last;
        expect(await log.probe()).toBe(true);
        expect(existsSync(join(data, "ballast"))).toBe(false);
        await fill();
        expect(last).toBeGreaterThan(before);
        // Until somebody makes room, it is refused for good.
        while (await log.probe()) await fill();
        expect(await log.append(put(last + 1, "k", big), last)).toEqual({ kind: "full" });
        unlinkSync(join(folder, "filler"));
        expect(await log.probe()).toBe(true);
        expect(await log.append(put(last + 1, "small", "s"), last)).toEqual({ kind: "durable" });
        await log.stop();
        expect(failures).toEqual([]);
        const again = await opened(data);
        expect(again.found.revision).toBe(last + 1);
        expect(again.rebuilt.state.size).toBe(last + 1);
        await again.log.stop();
      } finally {
        unmount(folder);
      }
    },
    30_000,
  );

  test.skipIf(!canMount)(
    `log - a read-only folder is refused, a new one and a used one${whyNoMount}`,
    async () => {
      const empty = newFolder();
      expect(mount(empty, "ro")).toBe(true);
      const used = newFolder();
      expect(mount(used, "size=32m")).toBe(true);
      try {
        expect((await refusal(join(empty, "data"))).code).toBe("data-folder-not-writable");
        cpSync(await stoppedFolder(5), used, { recursive: true });
        Bun.spawnSync(["mount", "-o", "remount,ro", used]);
        expect((await refusal(used)).code).toBe("data-folder-not-writable");
      } finally {
        unmount(empty);
        unmount(used);
      }
    },
  );

  test("log - a file in the folder's place is refused", async () => {
    const path = newFolder();
    writeFileSync(path, "");
    expect((await refusal(path)).code).toBe("data-folder-not-writable");
  });
});

describe("the executable", () => {
  test("thread - it runs from a compiled executable in an empty folder", async () => {
    // The layout of the real one: main and worker are entry points, their common root is src.
    const source = join(root, "src");
    for (const layer of ["lib", "log"])
      cpSync(join(import.meta.dir, "../../src", layer), join(source, layer), { recursive: true });
    writeFileSync(
      join(source, "main.ts"),
      `import { openLog } from "./log/open.ts";
       const log = openLog({ strategy: "wal", folder: "data", sync: "always" });
       await log.open({ lines() {}, progress() {} });
       console.log(JSON.stringify(await log.append({ first: 1, last: 1, text: "@1\\t1\\t1\\ttest\\ttester\\n+tasks\\ta\\tb\\n" }, 0)));
       console.log((await log.ask("entries", { after: 0, bytesMax: 1e6 })).texts.length);
       const second = openLog({ strategy: "wal", folder: "data", sync: "always" });
       console.log(await second.open({ lines() {}, progress() {} }).then(() => "opened", (error) => error.code));
       await log.stop();`,
    );
    const binary = join(root, "cortexd");
    const args = [
      "--compile",
      "--format=esm",
      "--bytecode",
      "src/main.ts",
      "src/log/worker.ts",
      "src/log/reader-worker.ts",
      "--outfile",
      binary,
    ];
    const built = Bun.spawnSync([process.execPath, "build", ...args], { cwd: root });
    expect(built.stderr.toString() + built.exitCode).toEndWith("0");
    const folder = newFolder();
    mkdirSync(folder);
    const run = Bun.spawnSync([binary], { cwd: folder, env: {} });
    expect(run.stdout.toString()).toBe('{"kind":"durable"}\n1\ndata-folder-in-use\n');
    expect(run.exitCode).toBe(0);
    const { log, found } = await opened(join(folder, "data"));
    expect(found.revision).toBe(1);
    await log.stop();
  }, 60_000);
});
