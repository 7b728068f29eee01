/** `cortexd tasks import` as a process against a real daemon: what arrives, what is told, and what a kill leaves. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { RestClient } from "../../client/rest.ts";
import { type ExitName, exitTable } from "../../src/cli/exit.ts";
import { limits } from "../../src/wire/limits.ts";
import { cortexd, type Daemon, runCortexd, spawnDaemon, temporaryFolder, until } from "../support/daemon.ts";

// Each starts processes of its own, some one after the other.
setDefaultTimeout(60_000);

let daemon: Daemon;
let client: RestClient;
beforeAll(async () => {
  daemon = await spawnDaemon();
  client = new RestClient({ url: daemon.url });
});
afterAll(() => daemon.kill());

function fileOf(content: string | Uint8Array, name = "tasks.json"): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, content);
  return path;
}

async function imported(as: ExitName, words: string[], stdin?: string) {
  const environment = { CORTEX_URL: daemon.url };
  const { code, output, errors } = await runCortexd(["tasks", "import", ...words], { environment, stdin });
  expect({ code, errors: as === "ok" ? errors : "" }).toEqual({ code: exitTable[as].code, errors: "" });
  return { output, errors };
}
const outcome = async (as: ExitName, words: string[], stdin?: string) =>
  JSON.parse((await imported(as, [...words, "--json"], stdin)).output);

async function countOf(queue: string): Promise<number> {
  const found = (await client.queues()).queues.find(({ name }) => name === queue);
  return found === undefined ? 0 : Object.values(found.counts).reduce((sum, count) => sum + count, 0);
}

const manyIn = (queue: string, count: number) =>
  Array.from({ length: count }, (_, i) => JSON.stringify({ id: `job-${i}`, queue, type: "t", number: i }));

describe("import - what arrives", () => {
  test("import - a queue file becomes tasks, and all that did not is told with its place and reason", async () => {
    const file = fileOf(
      `{"version": 2, "tasks": [
        {"id": "a", "queueName": "shop", "name": "send", "data": {"to": "ada"}, "priority": "urgent", "maxRetries": 4},
        {"id": "b", "queueName": "shop", "name": "send", "status": "done"},
        {"id": "c", "queueName": "shop", "name": "two words"},
        {"id": "d", "queueName": "shop" "name": "torn"},
        {"id": "e", "queueName": "shop", "name": "bill", "status": "blocked"}
      ]}`,
    );
    const report = join(temporaryFolder(), "report.ndjson");
    const told = await outcome("partly-refused", [file, "--report", report]);
    expect(told).toMatchObject({
      ...{ elementCount: 5, soundCount: 1, submittedCount: 1, duplicateCount: 0, refusedCount: 3 },
      ...{ skipped: { completed: 1, cancelled: 0, failed: 0 }, passedOver: ["version"], stopped: null },
    });
    expect(told.refusals).toMatchObject([
      { element: 3, line: 4, key: "c", reason: expect.stringContaining("/type") },
      { element: 4, line: 5, key: null, reason: expect.stringContaining("not JSON") },
      { element: 5, line: 6, reason: expect.stringContaining("blocked") },
    ]);
    const lines = readFileSync(report, "utf8").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(told.refusals);
    expect((await client.tasks({ queue: "shop" })).tasks).toMatchObject([
      { type: "send", payload: { to: "ada" }, priority: "critical", attempts: 5, idempotencyKey: "a" },
    ]);
    const { output } = await imported("partly-refused", [file]);
    for (const part of ["0 imported, 1 there already, 1 left out: completed, 3 refused", "element 4, line 5"])
      expect(output).toContain(part);
  });

  test("import - lines from standard input, with a queue and a type for those that have none", async () => {
    const words = ["-", "--queue", "piped", "--type", "fetch"];
    const told = await outcome("ok", words, '"https://a"\n{"url": "https://b"}\n');
    expect(told).toMatchObject({ from: "standard input", submittedCount: 2 });
    const { tasks } = await client.tasks({ queue: "piped" });
    expect(tasks.map(({ payload }) => payload).reverse()).toEqual(["https://a", { url: "https://b" }]);
    expect(new Set(tasks.map(({ type }) => type))).toEqual(new Set(["fetch"]));
  });

  test("import - what trickles in is imported as it comes, and one key twice is one task", async () => {
    const child = Bun.spawn(
      [...cortexd, "tasks", "import", "-", "--url", daemon.url, "--queue", "trickle", "--json"],
      { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
    );
    for (const [i, id] of ["a", "b", "a", "c"].entries()) {
      child.stdin.write(`{"id":"${id}","type":"t"}\n`);
      await child.stdin.flush();
      if (i === 0) await until(async () => (await countOf("trickle")) === 1);
    }
    await child.stdin.end();
    expect(await child.exited).toBe(0);
    const told = JSON.parse(await new Response(child.stdout).text());
    expect(told).toMatchObject({ submittedCount: 3, duplicateCount: 1 });
    const same = fileOf('[{"id":1,"type":"t","queue":"same"},{"id":1,"type":"t","queue":"same"}]');
    expect(await outcome("ok", [same])).toMatchObject({ submittedCount: 1, duplicateCount: 1 });
  });

  test("import - what `tasks list --json` printed is imported as it was, without its past", async () => {
    const submitted = await client.submit({
      ...{ queue: "own", type: "t", payload: { a: 1 }, priority: "high", attempts: 7, timeoutMs: 60_000 },
      ...{ kind: "gpu", capabilities: ["tls"], labels: { team: "x" }, group: "ada", limits: ["api"] },
      ...{ requires: ["memory >= 16"], prefers: ["zone = a"], slots: 2, finalCodes: ["EINVAL"] },
      ...{ interruptionsMax: 2, deadlineAt: Date.now() + 3_600_000 },
    });
    const { errors: _, archived: __, ...shown } = await client.task(submitted.id);
    const list = await runCortexd(["tasks", "list", "--queue", "own", "--json", "--url", daemon.url]);
    const told = await outcome("ok", [fileOf(list.output.replace('"queue":"own"', '"queue":"copy"'))]);
    expect(told).toMatchObject({ submittedCount: 1, passedOver: ["cursor"] });
    const [copy] = (await client.tasks({ queue: "copy" })).tasks;
    const { id, revision, createdAt } = copy!;
    const idempotencyKey = submitted.id;
    expect(copy).toEqual({ ...shown, id, revision, createdAt, idempotencyKey, queue: "copy" });
    const blocked = fileOf('[{"id":"7-1","type":"t","state":"blocked","revision":7}]');
    const { refusals } = await outcome("refused", [blocked]);
    expect(JSON.stringify(refusals)).toContain("submit the graph again");
  });

  test("import - tasks stand in the order of the file, over many batches", async () => {
    const file = fileOf(manyIn("ordered", 2500).join("\n"), "tasks.ndjson");
    expect(await outcome("ok", [file])).toMatchObject({ submittedCount: 2500 });
    await client.register({ workerId: "taker", queues: ["ordered"], capacity: 1000 });
    const { assignments } = await client.claim({ workerId: "taker", count: 1000 });
    const numbers = assignments.map(({ task }) => (task.payload as { number: number }).number);
    expect(numbers).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    await client.unregister({ workerId: "taker" });
  });

  test("import - a dry run needs no daemon and submits nothing", async () => {
    const file = fileOf(`[${manyIn("dry", 3).join(",")}]`);
    const url = ["--url", "http://127.0.0.1:1"];
    expect(await outcome("ok", [file, "--dry-run", ...url])).toMatchObject({
      soundCount: 3,
      submittedCount: 0,
    });
    expect(await countOf("dry")).toBe(0);
    await imported("unreachable", [file, ...url]);
  });

  test("import - only what the daemon itself must refuse is refused, of many that came with it", async () => {
    // Requirement sets are the daemon's to count, and this fills it: it has one of its own.
    const full = await spawnDaemon({ preset: "development" });
    const elements = Array.from({ length: limits.lanesMax + 20 }, (_, i) => ({
      ...{ id: i, queue: "sets", type: "t", workerKind: `k${i}` },
    }));
    const told = await outcome("partly-refused", [fileOf(JSON.stringify(elements)), "--url", full.url]);
    expect(told).toMatchObject({ submittedCount: limits.lanesMax, refusedCount: 20 });
    expect(told.refusals[0]).toMatchObject({
      ...{ element: limits.lanesMax + 1, reason: expect.stringContaining("combinations") },
    });
    await full.kill();
  });
});

describe("import - what is wrong with the input", () => {
  const rows: [string, string | Uint8Array, string][] = [
    ["a file that ends too early", '[{"type":"t","queue":"torn","id":1}, {"type"', "cut off"],
    ["a compressed file", Uint8Array.of(0x1f, 0x8b, 8, 0), "gunzip"],
    ["UTF-16", Uint8Array.of(0xff, 0xfe, 0x5b, 0), "UTF-16"],
  ];
  test.each(rows)("import - %s is told", async (_, content, word) => {
    expect((await imported("input-broken", [fileOf(content)])).errors).toContain(word);
  });

  test("import - of a file that ends too early what is whole is imported", async () => {
    await imported("input-broken", [fileOf('[{"type":"t","queue":"half","id":1}, {"type"')]);
    expect(await countOf("half")).toBe(1);
  });

  test("import - no file, a folder, a report that cannot be written", async () => {
    expect((await imported("input-broken", ["/nowhere/tasks.json"])).errors).toContain("ENOENT");
    expect((await imported("input-broken", [temporaryFolder()])).errors).toContain("folder");
    await imported("usage", [fileOf("[]"), "--report", "/nowhere/report"]);
    await imported("usage", [fileOf("[]"), "--map", "typ=x"]);
    expect(await outcome("ok", [fileOf("[]")])).toMatchObject({ elementCount: 0 });
    await imported("refused", [fileOf("[1]")]);
  });
});

describe("import - interrupted and run again", () => {
  /** Starts an import that reads as fast as it is fed, and feeds it. */
  const start = (words: string[]) =>
    Bun.spawn([...cortexd, "tasks", "import", "-", "--url", daemon.url, ...words], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });

  test.each(["SIGKILL", "SIGINT"] as const)(
    "import - after %s a second run makes nothing twice",
    async (signal) => {
      const queue = `after-${signal}`;
      const count = 1500;
      const lines = manyIn(queue, count);
      // Without ids too: their keys are made of what they hold.
      for (let i = 0; i < count; i++) lines.push(JSON.stringify({ queue, type: "u", number: i % 100 }));
      const child = start(["--json"]);
      for (const line of lines.slice(0, 2000)) child.stdin.write(`${line}\n`);
      await child.stdin.flush();
      // Then its input is silent: a signal has to be heard all the same.
      const enough = signal === "SIGINT" ? 2000 : 1;
      await until(async () => (await countOf(queue)) >= enough);
      child.kill(signal);
      await child.exited;
      expect(child.signalCode).toBe(signal);
      if (signal === "SIGINT")
        expect(JSON.parse(await new Response(child.stdout).text()).stopped).toContain("run it again");
      const before = await countOf(queue);
      expect(before).toBeGreaterThan(0);
      expect(before).toBeLessThan(lines.length);
      const file = fileOf(lines.join("\n"), "tasks.ndjson");
      expect(await outcome("ok", [file])).toMatchObject({
        submittedCount: lines.length - before,
        duplicateCount: before,
      });
      expect(await countOf(queue)).toBe(lines.length);
      expect(await outcome("ok", [file])).toMatchObject({ submittedCount: 0, duplicateCount: lines.length });
    },
  );

  test("import - a daemon that is killed and started again meanwhile takes every task once", async () => {
    const data = temporaryFolder();
    const first = await spawnDaemon({ data });
    const { port, wsPort } = first;
    const child = Bun.spawn([...cortexd, "tasks", "import", "-", "--url", first.url, "--json"], {
      ...{ stdin: "pipe", stdout: "pipe", stderr: "pipe" },
    });
    const lines = manyIn("restarted", 3000);
    for (const line of lines.slice(0, 1500)) child.stdin.write(`${line}\n`);
    await child.stdin.flush();
    const rest = new RestClient({ url: first.url });
    await until(async () => (await rest.queues()).queues.length > 0);
    await first.kill();
    const command = ["serve", "--port", `${port}`, "--ws-port", `${wsPort}`, "--data", data];
    const second = await spawnDaemon({ data, command });
    for (const line of lines.slice(1500)) child.stdin.write(`${line}\n`);
    await child.stdin.end();
    expect([await child.exited, await new Response(child.stderr).text()]).toEqual([0, ""]);
    const told = JSON.parse(await new Response(child.stdout).text());
    expect(told).toMatchObject({ submittedCount: 3000, duplicateCount: 0 });
    const [queue] = (await rest.queues()).queues;
    expect(queue!.counts.queued).toBe(3000);
    await second.kill();
  });
});

test("import - a file is not read into memory whole", async () => {
  const file = join(temporaryFolder(), "large.json");
  const writer = Bun.file(file).writer();
  const megabytes = 400;
  const payload = "x".repeat(1_000_000);
  writer.write("[");
  for (let i = 0; i < megabytes; i++) {
    writer.write(`${i === 0 ? "" : ","}{"type":"t","payload":"${payload}"}`);
    await writer.flush();
  }
  writer.write("]");
  await writer.end();
  const child = Bun.spawn([...cortexd, "tasks", "import", file, "--dry-run", "--json"], { stdout: "pipe" });
  // Its own peak: what the system keeps of a child that has ended counts in its parent, of which it was a copy.
  let peakKiB = 0;
  await until(async () => {
    const status = await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "");
    peakKiB = Math.max(peakKiB, Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0));
    return child.exitCode !== null;
  });
  expect(await child.exited).toBe(0);
  expect(JSON.parse(await new Response(child.stdout).text()).soundCount).toBe(megabytes);
  expect(peakKiB).toBeGreaterThan(0);
  expect(peakKiB * 1024).toBeLessThan(megabytes * 1_000_000);
  expect(existsSync(file)).toBe(true);
});
