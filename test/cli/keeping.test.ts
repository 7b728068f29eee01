/** Keeping the data: verify, backup and restore, on real folders, beside real daemons, through kills. */
import { Database } from "bun:sqlite";
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { exitTable } from "../../src/cli/exit.ts";
import { MarkFile } from "../../src/log/folder.ts";
import { newestMark } from "../../src/log/format.ts";
import { openLog } from "../../src/log/open.ts";
import { leapOf } from "../../src/log/restore.ts";
import { inspectFolder } from "../../src/log/verify.ts";
import { type Daemon, runCortexd, spawnDaemon, temporaryFolder } from "../support/daemon.ts";

// Each starts several processes, one after the other.
setDefaultTimeout(60_000);

const daemons: Daemon[] = [];
const start = async (options?: Parameters<typeof spawnDaemon>[0]) => {
  const daemon = await spawnDaemon(options);
  daemons.push(daemon);
  return daemon;
};
afterEach(async () => {
  for (const daemon of daemons.splice(0)) await daemon.kill();
});

const json = { "content-type": "application/json" };
async function submit({ url }: Daemon, payload: unknown, namespace = "default"): Promise<string> {
  const body = JSON.stringify({ queue: "q", type: "t", payload });
  const headers = { ...json, "cortex-namespace": namespace };
  const response = await fetch(`${url}/api/tasks`, { method: "POST", headers, body });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}
const has = async ({ url }: Daemon, id: string, namespace = "default") =>
  (await fetch(`${url}/api/tasks/${id}`, { headers: { "cortex-namespace": namespace } })).status === 200;
const drop = async ({ url }: Daemon, namespace: string) =>
  expect((await fetch(`${url}/api/namespaces/${namespace}`, { method: "DELETE" })).status).toBe(200);
const revisionOf = (id: string) => Number(id.split("-")[0]);
const ceilingOf = (data: string) => newestMark(new MarkFile(data).read())!.ceiling;

/** Every file that matters, as text of its bytes. */
const contents = (folder: string) =>
  ["cortex.db", "cortex.db-wal", "journal", "mark"]
    .map((name) => join(folder, name))
    .map((path) => (existsSync(path) ? Bun.hash(readFileSync(path)).toString() : "none"));

function flip(path: string, at: (bytes: Buffer) => number): void {
  const bytes = readFileSync(path);
  const position = at(bytes);
  expect(position).toBeGreaterThan(0);
  bytes[position]! ^= 1;
  writeFileSync(path, bytes);
}

/** What a broken page can do to a column that is never null. */
function nulled(path: string, table: string, column: string): void {
  const bytes = readFileSync(path);
  const said = `${column} TEXT NOT NULL`;
  const at = bytes.indexOf(said, bytes.indexOf(`CREATE TABLE ${table} (`));
  expect(at).toBeGreaterThan(0);
  bytes.write(`${column} TEXT`.padEnd(said.length), at);
  writeFileSync(path, bytes);
  using db = new Database(path);
  db.run(`UPDATE ${table} SET ${column} = NULL`);
}

/** A data folder with tasks; of a daemon that was stopped, or killed. */
async function folderOf(
  count: number,
  end: "stop" | "kill" = "stop",
): Promise<{ data: string; ids: string[] }> {
  const data = join(temporaryFolder(), "data");
  mkdirSync(data);
  const daemon = await start({ data });
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push(await submit(daemon, { number: i }));
  await daemon[end]();
  return { data, ids };
}

describe("verify", () => {
  test.each(["stop", "kill"] as const)(
    "verify - after a %s the folder is sound, and nothing in it changes",
    async (end) => {
      const { data, ids } = await folderOf(5, end);
      const before = [readdirSync(data).sort(), contents(data)];
      const { code, output } = await runCortexd(["verify", "--data", data]);
      expect(code).toBe(0);
      expect(output).toContain(`sound up to revision ${revisionOf(ids.at(-1)!)}`);
      expect([readdirSync(data).sort(), contents(data)]).toEqual(before);
    },
  );

  test("verify - beside a running daemon it sees what was acknowledged, and says what it cannot", async () => {
    const daemon = await start();
    const id = await submit(daemon, {});
    const { code, output } = await runCortexd(["verify", "--data", daemon.data, "--json"]);
    expect(code).toBe(0);
    const told = JSON.parse(output);
    expect(told).toMatchObject({ sound: true, inUse: true });
    expect(told.namespaces[0].logTo).toBeGreaterThanOrEqual(revisionOf(id));
    expect((await runCortexd(["verify", "--data", daemon.data])).output).toContain("stop it first");
    await submit(daemon, {});
  });

  const damages: [string, (data: string) => void, string][] = [
    [
      "a flipped byte in an entry",
      (data) => flip(join(data, "cortex.db"), (bytes) => bytes.indexOf('{"number":3}') + 10),
      "checksum",
    ],
    ["a truncated mark", (data) => truncateSync(join(data, "mark"), 10), "mark"],
    ["a missing mark", (data) => unlinkSync(join(data, "mark")), "mark"],
    [
      "a database that is none",
      (data) => writeFileSync(join(data, "cortex.db"), "no database ".repeat(999)),
      "not a database",
    ],
    ["a deleted database", (data) => unlinkSync(join(data, "cortex.db")), "gone"],
    ["an image without its text", (data) => nulled(join(data, "cortex.db"), "images", "text"), "image"],
    ["a batch without its text", (data) => nulled(join(data, "cortex.db"), "log", "text"), "log row"],
    ["a batch without its hash", (data) => nulled(join(data, "cortex.db"), "log", "hash"), "log row"],
    [
      "pages of nothing",
      (data) => {
        const bytes = readFileSync(join(data, "cortex.db"));
        writeFileSync(join(data, "cortex.db"), bytes.fill(0xff, 4096 * 2, 4096 * 5));
      },
      "damaged",
    ],
  ];
  test.each(damages)("verify - %s is found, told, and left as it is", async (_, damage, word) => {
    const { data } = await folderOf(8);
    damage(data);
    const before = contents(data);
    const { code, output, errors } = await runCortexd(["verify", "--data", data]);
    expect(code).toBe(exitTable["data-folder-damaged"].code);
    expect(output).toContain(word);
    expect(errors).toContain("nothing was changed");
    expect(contents(data)).toEqual(before);
  });

  test("verify - a missing write-ahead file of a killed daemon is found", async () => {
    const data = temporaryFolder();
    const daemon = await start({ data });
    const first = await submit(daemon, {});
    // The mark follows within about a second.
    while ((newestMark(new MarkFile(data).read())?.revision ?? 0) < revisionOf(first)) await Bun.sleep(20);
    await daemon.kill();
    unlinkSync(join(data, "cortex.db-wal"));
    const { code } = await runCortexd(["verify", "--data", data]);
    expect(code).toBe(exitTable["data-folder-damaged"].code);
  });

  test("verify - its advice, followed word for word, starts from what was whole", async () => {
    const { data, ids } = await folderOf(8);
    flip(join(data, "cortex.db"), (bytes) => bytes.indexOf('{"number":3}') + 10);
    const { output } = await runCortexd(["verify", "--data", data]);
    const [line] = /cortexd serve .*/.exec(output)!;
    const command = line.split(" ").slice(1);
    const daemon = await start({ data, command: [...command, "--port", "0", "--ws-port", "0"] });
    const there = await Promise.all(ids.map((id) => has(daemon, id)));
    const cut = there.indexOf(false);
    expect(cut === -1 ? there.length : cut).toBeGreaterThanOrEqual(3);
    expect(revisionOf(await submit(daemon, {}))).toBeGreaterThan(revisionOf(ids.at(-1)!));
    await daemon.stop();
    expect((await runCortexd(["verify", "--data", data])).code).toBe(0);
  });

  test("verify - where SQLite's own pages are broken, or nothing is left, it offers no way that would fail", async () => {
    const { data } = await folderOf(8);
    const path = join(data, "cortex.db");
    const bytes = readFileSync(path);
    let brokenCount = 0;
    let offeredCount = 0;
    for (let page = 1; page < bytes.length / 4096; page++) {
      // The page's head: where its cells are.
      writeFileSync(path, Buffer.from(bytes).fill(0xff, 4096 * page + 8, 4096 * page + 20));
      const { pagesIntact, recoverTo } = await inspectFolder(data, true);
      if (!pagesIntact) brokenCount++;
      if (recoverTo !== null) offeredCount++;
      expect([page, pagesIntact || recoverTo === null, recoverTo]).toEqual([page, true, recoverTo || null]);
    }
    expect(brokenCount).toBeGreaterThan(0);
    expect(offeredCount).toBeGreaterThan(0);
    writeFileSync(path, Buffer.from(bytes).fill(0xff, 4096 * 2, 4096 * 5));
    const { output } = await runCortexd(["verify", "--data", data]);
    expect(output).not.toContain("--recover-to");
    expect(output).toContain("restore a backup");
  });

  test("verify - a folder without a log is told", async () => {
    expect((await runCortexd(["verify", "--data", temporaryFolder()])).code).toBe(5);
  });
});

describe("backup", () => {
  test("backup - beside a daemon under load it holds everything acknowledged before it began, and nobody waits long", async () => {
    const daemon = await start();
    const before: string[] = [];
    for (let i = 0; i < 50; i++) before.push(await submit(daemon, { i, fill: "x".repeat(20_000) }));
    let going = true;
    let slowestMs = 0;
    const load = (async () => {
      while (going) {
        const since = performance.now();
        await submit(daemon, { fill: "y".repeat(20_000) });
        slowestMs = Math.max(slowestMs, performance.now() - since);
      }
    })();
    const to = join(temporaryFolder(), "backup");
    const { code, output, errors } = await runCortexd(["backup", to, "--data", daemon.data, "--json"]);
    going = false;
    await load;
    expect([code, errors]).toEqual([0, ""]);
    expect(slowestMs).toBeLessThan(2000);
    expect(JSON.parse(output).namespaces[0].revision).toBeGreaterThanOrEqual(revisionOf(before.at(-1)!));
    await daemon.kill();
    const data = join(temporaryFolder(), "data");
    expect((await runCortexd(["restore", to, "--data", data])).code).toBe(0);
    const again = await start({ data });
    for (const id of before) expect(await has(again, id)).toBe(true);
  });

  test("backup - verify reads a backup as well, and says what is damaged in it", async () => {
    const { data } = await folderOf(1);
    const to = join(temporaryFolder(), "backup");
    expect((await runCortexd(["backup", to, "--data", data])).code).toBe(0);
    const sound = await runCortexd(["verify", "--data", to]);
    expect([sound.code, sound.errors]).toEqual([0, ""]);
    expect(sound.output).toContain("all of it is whole");
    const file = join(to, "default", "cortex.db");
    truncateSync(file, statSync(file).size - 1);
    const damaged = await runCortexd(["verify", "--data", to, "--json"]);
    expect(damaged.code).toBe(7);
    expect(JSON.parse(damaged.output)).toMatchObject({ backup: to, sound: false });
  });

  test("restore - a backup that is not there is told first, whoever has the folder", async () => {
    const daemon = await start();
    const { code, errors } = await runCortexd(["restore", "/no/backup", "--data", daemon.data]);
    expect([code, errors.includes("/no/backup is no backup")]).toEqual([7, true]);
    await daemon.kill();
  });

  test("backup - it replaces nothing, and leaves nothing behind when there is nothing to back up", async () => {
    const { data } = await folderOf(1);
    const parent = temporaryFolder();
    const to = join(parent, "backup");
    expect((await runCortexd(["backup", to, "--data", data])).code).toBe(0);
    const again = await runCortexd(["backup", to, "--data", data]);
    expect([again.code, again.errors.includes("is there already")]).toEqual([5, true]);
    // What is wrong is where it goes, and not the data folder.
    expect(again.errors).not.toContain("--data");
    const none = await runCortexd(["backup", `${to}2`, "--data", join(parent, "none")]);
    expect([none.code, none.errors.includes("nothing to back up")]).toEqual([5, true]);
    const memory = await runCortexd(["backup", `${to}2`, "--preset", "development"]);
    expect([memory.code, memory.errors.includes("nothing is on disk")]).toEqual([2, true]);
    expect(readdirSync(parent)).toEqual(["backup"]);
  });

  test("backup - of a damaged folder there is none", async () => {
    const { data } = await folderOf(8);
    flip(join(data, "cortex.db"), (bytes) => bytes.indexOf('{"number":3}') + 10);
    const parent = temporaryFolder();
    const { code, errors } = await runCortexd(["backup", join(parent, "b"), "--data", data]);
    expect([code, errors.includes("cortexd verify")]).toEqual([7, true]);
    expect(readdirSync(parent)).toEqual([]);
  });

  test("backup - of snapshots it says as of when it is", async () => {
    const daemon = await start({ preset: "production" });
    await submit(daemon, {});
    await daemon.stop();
    const to = join(temporaryFolder(), "backup");
    const { output } = await runCortexd(["backup", to, "--data", daemon.data, "--preset", "production"]);
    expect(output).toContain("as of the last snapshot");
  });

  test("backup - one that was killed leaves no backup, and the next one is made", async () => {
    const { data } = await folderOf(1);
    const to = join(temporaryFolder(), "backup");
    mkdirSync(`${to}.partial`);
    writeFileSync(join(`${to}.partial`, "half"), "x");
    expect((await runCortexd(["backup", to, "--data", data])).code).toBe(0);
    expect(readdirSync(dirname(to))).toEqual(["backup"]);
    expect(readdirSync(to).sort()).toEqual(["default", "manifest.json"]);
  });

  test("backup - no daemon starts on one as it is", async () => {
    const { data } = await folderOf(1);
    const to = join(temporaryFolder(), "backup");
    await runCortexd(["backup", to, "--data", data]);
    const { code } = await runCortexd([
      "serve",
      "--data",
      join(to, "default"),
      "--port",
      "0",
      "--ws-port",
      "0",
    ]);
    expect(code).toBe(7);
  });
});

describe("restore", () => {
  async function backedUp() {
    const { data, ids } = await folderOf(3);
    const to = join(temporaryFolder(), "backup");
    expect((await runCortexd(["backup", to, "--data", data])).code).toBe(0);
    const daemon = await start({ data });
    const late = await submit(daemon, { late: true });
    await daemon.stop();
    return { data, ids, late, to };
  }

  test("restore - the state is the backup's, what stood there is kept, and revisions only grow", async () => {
    const { data, ids, late, to } = await backedUp();
    const oldCeiling = ceilingOf(data);
    const { code, output } = await runCortexd(["restore", to, "--data", data, "--json"]);
    expect(code).toBe(0);
    const { before, at } = JSON.parse(output);
    expect(readFileSync(join(before, "mark")).length).toBeGreaterThan(0);
    const daemon = await start({ data });
    expect(await Promise.all([...ids, late].map((id) => has(daemon, id)))).toEqual([true, true, true, false]);
    const next = revisionOf(await submit(daemon, {}));
    expect(next).toBeGreaterThan(oldCeiling);
    expect(next).toBeGreaterThan(revisionOf(late));
    expect(next).toBeGreaterThan(leapOf(at, at));
    expect(next).toBeLessThan(Number.MAX_SAFE_INTEGER / 1000);
  });

  test("restore - while a daemon has the folder it is refused", async () => {
    const { data, to } = await backedUp();
    const daemon = await start({ data });
    expect((await runCortexd(["restore", to, "--data", data])).code).toBe(4);
    await submit(daemon, {});
  });

  const broken: [string, (to: string) => void][] = [
    [
      "a flipped byte in its database",
      (to) => flip(join(to, "default", "cortex.db"), (bytes) => bytes.length - 100),
    ],
    ["a missing database", (to) => unlinkSync(join(to, "default", "cortex.db"))],
    [
      "a changed manifest",
      (to) =>
        writeFileSync(
          join(to, "manifest.json"),
          readFileSync(join(to, "manifest.json"), "utf8").replace('"revision": ', '"revision": 1'),
        ),
    ],
    ["no manifest", (to) => unlinkSync(join(to, "manifest.json"))],
  ];
  test.each(broken)("restore - a backup with %s is refused, and nothing changes", async (_, damage) => {
    const { data, to } = await backedUp();
    damage(to);
    const before = contents(data);
    expect((await runCortexd(["restore", to, "--data", data])).code).toBe(7);
    expect(contents(data)).toEqual(before);
    expect(readdirSync(dirname(data))).toEqual(["data"]);
  });

  const misfits: [string, string, string][] = [
    [
      "a task that runs on nobody",
      '+task.run\t1-0\t{"state":"running","revision":2,"token":2,"workerId":"w","attempt":1}',
      "not registered",
    ],
    ["how a task stands without the task", '+task.run\t7-0\t{"state":"queued","revision":2}', "task 7-0"],
  ];
  test.each(misfits)(
    "restore - a backup that holds %s is refused before anything moves",
    async (_, line, word) => {
      const data = join(temporaryFolder(), "data");
      const log = openLog({ strategy: "wal", sync: "always", folder: data });
      await log.open({ lines() {}, progress() {} });
      const submitted =
        '+task\t1-0\t{"queue":"q","type":"t","createdAt":1000}\tnull\n+task.run\t1-0\t{"state":"queued","revision":1}\n';
      const entry = (revision: number, lines: string) =>
        `@${revision}\t1000\t10\ttask.submit\ttest\n${lines}`;
      await log.append({ first: 1, last: 2, text: entry(1, submitted) + entry(2, `${line}\n`) }, 0);
      await log.stop();
      const to = join(temporaryFolder(), "backup");
      expect((await runCortexd(["backup", to, "--data", data])).code).toBe(0);
      const before = contents(data);
      const { code, errors } = await runCortexd(["restore", to, "--data", data]);
      expect([code, errors]).toEqual([7, expect.stringContaining(word)]);
      expect([contents(data), readdirSync(dirname(data))]).toEqual([before, ["data"]]);
    },
  );

  test("restore - killed at any step it leaves a folder that starts, and the next restore goes through", async () => {
    const { data, ids, late, to } = await backedUp();
    const steps: string[] = [];
    const run = (folder: string, at: string) => {
      const child = Bun.spawnSync([
        process.execPath,
        join(import.meta.dir, "../log/restoring.ts"),
        to,
        folder,
        String(Date.now()),
        at,
      ]);
      return child.stdout.toString().trim().split("\n");
    };
    const whole = join(temporaryFolder(), "data");
    cpSync(data, whole, { recursive: true });
    steps.push(...run(whole, "never"));
    expect(steps).toEqual([
      "stage",
      "copy default",
      "open default",
      "floor",
      "sync",
      "name",
      "move away",
      "move in",
      "done",
    ]);
    for (const step of steps) {
      const folder = join(temporaryFolder(), "data");
      cpSync(data, folder, { recursive: true });
      expect(run(folder, step).at(-1)).toBe(step);
      const daemon = await start({ data: folder, cwd: dirname(folder) });
      const isRestored = step === "move in" || step === "done";
      expect(await has(daemon, ids[0]!)).toBe(true);
      expect([step, await has(daemon, late)]).toEqual([step, !isRestored]);
      await daemon.stop();
      expect((await runCortexd(["restore", to, "--data", folder])).code).toBe(0);
    }
  }, 180_000);
});

describe("several namespaces", () => {
  /** A running daemon with a task in each of three namespaces. */
  async function three() {
    const data = join(temporaryFolder(), "data");
    mkdirSync(data);
    const daemon = await start({ data });
    const ids = new Map<string, string>();
    for (const name of ["default", "a", "b"]) ids.set(name, await submit(daemon, { name }, name));
    const there = async (one: Daemon) =>
      Object.fromEntries(
        await Promise.all([...ids].map(async ([name, id]) => [name, await has(one, id, name)] as const)),
      );
    return { data, daemon, ids, there };
  }

  test("verify - it reads each, and says in which the damage is and how to go on from there", async () => {
    const { data, daemon, there } = await three();
    const beside = JSON.parse((await runCortexd(["verify", "--data", data, "--json"])).output);
    expect(beside.namespaces.map(({ name }: { name: string }) => name)).toEqual(["default", "a", "b"]);
    expect(beside).toMatchObject({ sound: true, inUse: true });
    for (let i = 0; i < 8; i++) await submit(daemon, { number: i }, "a");
    await daemon.stop();
    flip(join(data, "namespaces", "a", "cortex.db"), (bytes) => bytes.indexOf('{"number":6}') + 10);
    const { code, output, errors } = await runCortexd(["verify", "--data", data]);
    expect([code, errors.includes("(a)")]).toEqual([7, true]);
    const [line] = /cortexd serve .*/.exec(output)!;
    expect(line).toContain("--recover-namespace a");
    const command = [...line.split(" ").slice(1), "--port", "0", "--ws-port", "0"];
    expect(await there(await start({ data, command }))).toEqual({ default: true, a: true, b: true });
  }, 120_000);

  test("backup - all of them come back from a backup made beside the daemon, into a new folder", async () => {
    const { data, daemon, ids, there } = await three();
    const to = join(temporaryFolder(), "backup");
    expect((await runCortexd(["backup", to, "--data", data])).code).toBe(0);
    expect(readdirSync(to).sort()).toEqual(["a", "b", "default", "manifest.json"]);
    await daemon.kill();
    const fresh = join(temporaryFolder(), "data");
    expect((await runCortexd(["restore", to, "--data", fresh])).code).toBe(0);
    const again = await start({ data: fresh });
    expect(await there(again)).toEqual({ default: true, a: true, b: true });
    for (const [name, id] of ids)
      expect(revisionOf(await submit(again, {}, name))).toBeGreaterThan(revisionOf(id));
    await again.stop();
    expect((await runCortexd(["verify", "--data", fresh])).code).toBe(0);
  }, 120_000);

  test("backup - one alone is restored into a folder whose others stay as they are", async () => {
    const { data, daemon, ids, there } = await three();
    const to = join(temporaryFolder(), "backup");
    expect((await runCortexd(["backup", to, "--data", data, "--namespace", "a"])).code).toBe(0);
    const late = [await submit(daemon, {}, "a"), await submit(daemon, {}, "b")] as const;
    await daemon.stop();
    const { code, output } = await runCortexd(["restore", to, "--data", data, "--json"]);
    expect([code, JSON.parse(output).kept]).toEqual([0, ["default", "b"]]);
    const again = await start({ data });
    expect(await there(again)).toEqual({ default: true, a: true, b: true });
    expect(await Promise.all([has(again, late[0], "a"), has(again, late[1], "b")])).toEqual([false, true]);
    expect(revisionOf(await submit(again, {}, "a"))).toBeGreaterThan(revisionOf(late[0]));
    expect(ids.size).toBe(3);
  }, 120_000);

  test("restore - what was dropped, or made after the backup, gives no revision out again", async () => {
    const { data, daemon } = await three();
    const dropped = await submit(daemon, {}, "b");
    await drop(daemon, "b");
    const to = join(temporaryFolder(), "backup");
    expect((await runCortexd(["backup", to, "--data", data])).code).toBe(0);
    const newer = await submit(daemon, {}, "newer");
    await daemon.kill();
    for (const target of [data, join(temporaryFolder(), "data")]) {
      expect((await runCortexd(["restore", to, "--data", target])).code).toBe(0);
      const again = await start({ data: target });
      expect(revisionOf(await submit(again, {}, "b"))).toBeGreaterThan(revisionOf(dropped));
      expect(revisionOf(await submit(again, {}, "newer"))).toBeGreaterThan(revisionOf(newer));
      await again.stop();
    }
  }, 120_000);

  test("restore - one namespace alone, into a new folder, lets none of the others begin below", async () => {
    const { data, daemon, ids } = await three();
    const to = join(temporaryFolder(), "backup");
    expect((await runCortexd(["backup", to, "--data", data, "--namespace", "a"])).code).toBe(0);
    await daemon.kill();
    const fresh = join(temporaryFolder(), "data");
    expect((await runCortexd(["restore", to, "--data", fresh])).code).toBe(0);
    const again = await start({ data: fresh });
    for (const [name, id] of ids)
      expect(revisionOf(await submit(again, {}, name))).toBeGreaterThan(revisionOf(id));
  }, 120_000);
});
