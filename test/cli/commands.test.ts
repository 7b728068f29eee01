/** The commands beside serve, as processes against a real daemon: what they print, for whom, and how they end. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CoordinationClient } from "../../client/index.ts";
import { RestClient } from "../../client/rest.ts";
import type { Command } from "../../src/cli/command.ts";
import { commands, loaded } from "../../src/cli/commands.ts";
import { type ExitName, exitTable } from "../../src/cli/exit.ts";
import { commandHelp } from "../../src/cli/help.ts";
import { parse, serveWords } from "../../src/cli/parse.ts";
import { loadConfig } from "../../src/config.ts";
import { type Daemon, runCortexd, spawnDaemon, temporaryFolder } from "../support/daemon.ts";

const entries = await loaded(commands);

// Each starts processes of its own, some one after the other.
setDefaultTimeout(60_000);

let daemon: Daemon;
let client: RestClient;
const token = "s3cret";
beforeAll(async () => {
  daemon = await spawnDaemon({ preset: "development", args: ["--token", token, "--silence-ms", "10m"] });
  client = new RestClient({ url: daemon.url, token });
});
afterAll(() => daemon.kill());

const run = (words: string[], environment: Record<string, string> = {}) =>
  runCortexd(words, { environment: { CORTEX_URL: daemon.url, CORTEX_TOKEN: token, ...environment } });

/** Runs it, holds its exit code and that only an end that is not well says anything on standard error. */
async function ends(as: ExitName, words: string[], environment?: Record<string, string>) {
  const { code, output, errors } = await run(words, environment);
  expect({ code, errors: as === "ok" ? errors : "" }).toEqual({ code: exitTable[as].code, errors: "" });
  return { output, errors };
}
const json = async (words: string[]) => JSON.parse((await ends("ok", [...words, "--json"])).output);

/** The lease of a worker that took the queue's one task. */
async function claimed(queue: string) {
  const workerId = `worker-of-${queue}`;
  await client.register({ workerId, queues: [queue] });
  const { assignments } = await client.claim({ workerId, waitMs: 5000 });
  const { task, lease } = assignments[0]!;
  return { taskId: task.id, workerId, token: lease.token };
}

async function work(queue: string, end: "complete" | "fail"): Promise<void> {
  const held = await claimed(queue);
  if (end === "complete") await client.complete({ ...held, result: { done: true } });
  else await client.fail({ ...held, error: "no way", final: true });
}

describe("commands - tasks", () => {
  test("commands - a task is submitted with what the options say, and shown with all of it", async () => {
    const words = [
      "--queue",
      "mail",
      "--priority",
      "high",
      "--delay",
      "5m",
      "--label",
      "a=b",
      "--label",
      "c=d",
    ];
    const task = await json(["tasks", "submit", "send", '{"to":"ada"}', ...words, "--capability", "gpu,tls"]);
    expect(await client.task(task.id)).toMatchObject({
      ...{ queue: "mail", type: "send", payload: { to: "ada" }, priority: "high", state: "scheduled" },
      ...{ labels: { a: "b", c: "d" }, capabilities: ["gpu", "tls"] },
    });
    const { output } = await ends("ok", ["tasks", "show", task.id]);
    for (const part of [task.id, "scheduled", '"to": "ada"', "(in 4 m)", "gpu, tls", "c=d"])
      expect(output).toContain(part);
  });

  test("commands - a task is shown with the tree of what it waits for, closed, and cancelled with it", async () => {
    const { ids } = await client.submitGraph([
      { queue: "tree", type: "bind", after: ["left", { task: "right", onFail: "ignore" }], open: true },
      { queue: "tree", type: "render", ref: "left", after: ["right"] },
      { queue: "tree", type: "draw", ref: "right" },
    ]);
    const [top, left, right] = ids as [string, string, string];
    const { output } = await ends("ok", ["tasks", "show", top]);
    expect(output).toContain("2 tasks: 2 pending, 0 completed, 0 failed; open for more");
    const tree = output.slice(output.indexOf("Tree")).split("\n").slice(0, 3);
    expect(tree.map((line) => line.replace("Tree", "").trim())).toEqual([
      `${left} left render blocked`,
      `${right} right draw queued`,
      `${right} right draw queued (on failure: ignore, shown above)`,
    ]);
    expect(tree[1]!.search(/\S/) - tree[2]!.search(/\S/)).toBe(2);
    expect(await json(["tasks", "close", top])).toMatchObject([{ id: top, state: "blocked" }]);
    await ends("ok", ["tasks", "cancel", top, "--cascade"]);
    expect((await client.tasks({ queue: "tree" })).tasks.map(({ state }) => state)).toEqual(
      Array(3).fill("cancelled"),
    );
    await ends("ok", ["tasks", "retry", right, "--cascade"]);
    expect((await client.task(right)).state).toBe("queued");
  });

  test("commands - it is explained why a task is not running, and what it asks of workers is given and shown", async () => {
    const needs = ["--require", "mem >= 16", "--require", "model in [a, b]", "--prefer", "zone=eu"];
    const more = ["--slots", "2", "--worker", "gone", "--sticky", "s", "--sticky-for", "5s"];
    const task = await json(["tasks", "submit", "t", "--queue", "why", ...needs, ...more]);
    expect(task).toMatchObject({
      requires: ["mem >= 16", "model in [a, b]"],
      prefers: ["zone = eu"],
      ...{ slots: 2, workerId: "gone", sticky: "s", stickyMs: 5000 },
    });
    expect(await json(["tasks", "explain", task.id])).toMatchObject({
      id: task.id,
      reasons: [{ code: "pinned", by: ["gone"] }],
    });
    const { output } = await ends("ok", ["tasks", "explain", task.id]);
    for (const part of ["it is for worker gone alone, which is not registered", "mem >= 16: met by"])
      expect(output).toContain(part);
    const shown = await ends("ok", ["tasks", "show", task.id]);
    for (const part of ["mem >= 16, model in [a, b]", "zone = eu", "gone alone", "s, for 5s"])
      expect(shown.output).toContain(part);
    await ends("usage", ["tasks", "submit", "t", "--slots", "none"]);
  });

  test("commands - moments are written as dates", async () => {
    const words = ["--run-at", "2100-01-01T00:00Z", "--ttl", "1h", "--deadline-at", "2100-01-02T00:00Z"];
    const task = await json(["tasks", "submit", "t", ...words]);
    expect(task).toMatchObject({
      state: "scheduled",
      runAt: Date.parse("2100-01-01T00:00:00Z"),
      expiresAt: Date.parse("2100-01-01T01:00:00Z"),
      deadlineAt: Date.parse("2100-01-02T00:00:00Z"),
    });
    const { output } = await ends("ok", ["tasks", "show", task.id]);
    for (const part of ["Expires", "2100-01-01T01:00:00.000Z", "Deadline", "2100-01-02T00:00:00.000Z"])
      expect(output).toContain(part);
  });

  test("commands - a payload comes from a file, and what is not JSON submits nothing", async () => {
    const file = join(temporaryFolder(), "payload.json");
    writeFileSync(file, '["from", "a file"]');
    const task = await json(["tasks", "submit", "t", `@${file}`, "--queue", "files"]);
    expect(task.payload).toEqual(["from", "a file"]);
    writeFileSync(file, '["torn');
    const { errors } = await ends("input-broken", ["tasks", "submit", "t", `@${file}`, "--queue", "files"]);
    expect(errors).toContain(file);
    await ends("usage", ["tasks", "submit", "t", "plain", "--queue", "files"]);
    expect((await client.tasks({ queue: "files" })).tasks).toHaveLength(1);
  });

  test("commands - a payload comes from standard input, and what is not JSON submits nothing", async () => {
    const words = ["tasks", "submit", "t", "-", "--queue", "stdin", "--json"];
    const environment = { CORTEX_URL: daemon.url, CORTEX_TOKEN: token };
    const { code, output } = await runCortexd(words, { environment, stdin: '{"from": "a pipe"}\n' });
    expect([code, JSON.parse(output).payload]).toEqual([0, { from: "a pipe" }]);
    const torn = await runCortexd(words, { environment, stdin: '{"from": ' });
    expect([torn.code, torn.errors]).toEqual([
      exitTable["input-broken"].code,
      expect.stringContaining("standard input"),
    ]);
    expect((await client.tasks({ queue: "stdin" })).tasks).toHaveLength(1);
  });

  test("commands - a list is read over many pages, and is one JSON object", async () => {
    const submitted = await client.submit(
      Array.from({ length: 1000 }, (_, i) => ({ queue: "pages", type: `t${i}` })),
    );
    await client.submit({ queue: "pages", type: "last" });
    const page = await json(["tasks", "list", "--queue", "pages", "--limit", "5000"]);
    expect(page.cursor).toBeNull();
    expect(new Set(page.tasks.map(({ id }: { id: string }) => id)).size).toBe(submitted.length + 1);
    const few = await json(["tasks", "list", "--queue", "pages", "--limit", "3"]);
    expect(few.tasks).toHaveLength(3);
    expect(few.cursor).not.toBeNull();
    const { output } = await ends("ok", ["tasks", "list", "--queue", "pages", "--limit", "2"]);
    expect(output).toContain(submitted.at(-1)!.id);
    expect(output).not.toContain("\x1b");
  });

  test("commands - a log is shown, and followed until its task has ended", async () => {
    const { id } = await client.submit({ queue: "logged", type: "t" });
    const held = await claimed("logged");
    const { taskId: _, ...lease } = held;
    await client.log(id, { ...lease, lines: ["first", "second"] });
    expect((await ends("ok", ["tasks", "logs", id])).output).toMatch(/Z {2}first\n.*Z {2}second\n$/);
    const followed = run(["tasks", "logs", id, "--follow", "--from", "1", "--json"]);
    await client.log(id, { ...lease, lines: ["third"] });
    await client.complete(held);
    const { code, output } = await followed;
    const rows = output
      .trim()
      .split("\n")
      .map((text) => JSON.parse(text));
    expect([code, rows]).toMatchObject([
      0,
      [
        { number: 1, text: "second" },
        { number: 2, text: "third", attempt: 1 },
      ],
    ]);
    await ends("not-found", ["tasks", "logs", "1-0"]);
  });

  test("commands - of several tasks each has its outcome, and the exit code tells", async () => {
    const { id } = await client.submit({ queue: "several", type: "t" });
    const { output } = await ends("partly-refused", [
      "tasks",
      "cancel",
      id,
      "1-0",
      "--reason",
      "twice",
      "--json",
    ]);
    expect(JSON.parse(output)).toMatchObject([
      { id, state: "cancelled" },
      { id: "1-0", error: { code: "unknown-task" } },
    ]);
    expect(await client.task(id)).toMatchObject({ state: "cancelled", reason: "twice" });
    expect(await json(["tasks", "retry", id])).toMatchObject([{ id, state: "queued" }]);
    expect((await ends("not-found", ["tasks", "cancel", "1-0"])).output).toStartWith(
      "1-0  there is no task 1-0. It may",
    );
    await ends("refused", ["tasks", "retry", id]);
  });

  test("commands - tasks that fit a filter are counted, cancelled, retried, moved and deleted", async () => {
    const submits = Array.from({ length: 1500 }, (_, i) => ({
      ...{ queue: "bulk", type: "t", group: i % 3 === 0 ? "acme" : "other" },
    }));
    await client.submit(submits.slice(0, 1000));
    await client.submit(submits.slice(1000));
    const acme = ["--queue", "bulk", "--group", "acme"];
    expect(await json(["tasks", "cancel", ...acme, "--dry-run"])).toEqual({ count: 500, refused: [] });
    const unasked = await ends("usage", ["tasks", "cancel", ...acme]);
    expect(unasked.errors).toContain("500 tasks would be cancelled for good");
    expect((await client.queue("bulk")).counts.queued).toBe(1500);
    const { output } = await ends("ok", ["tasks", "cancel", ...acme, "--reason", "left", "--yes"]);
    expect(output).toBe("Cancelled: 500 tasks.\n");
    expect((await client.queue("bulk")).counts).toMatchObject({ queued: 1000, cancelled: 500 });
    expect(await json(["tasks", "move", "--queue", "bulk", "--to-queue", "slow"])).toEqual({
      count: 1000,
      refused: [],
    });
    await ends("usage", ["tasks", "move", "--queue", "bulk"]);
    expect((await ends("ok", ["tasks", "retry", ...acme])).output).toBe("Queued again: 500 tasks.\n");
    await ends("usage", ["tasks", "delete"]);
    await ends("usage", ["tasks", "delete", "--all", "--queue", "bulk"]);
    await ends("usage", ["tasks", "delete", "1-0", "--queue", "bulk"]);
    expect(await json(["tasks", "delete", "--queue", "bulk", "--yes"])).toEqual({ count: 500, refused: [] });
    expect(await json(["tasks", "delete", "--queue", "slow", "--yes"])).toEqual({ count: 1000, refused: [] });
    const { id } = await client.submit({ queue: "bulk", type: "t" });
    expect(await json(["tasks", "delete", id])).toEqual([{ id }]);
    await ends("not-found", ["tasks", "show", id]);
  });

  test("commands - waiting tells by its exit code how tasks ended, and prints their results", async () => {
    const first = await client.submit({ queue: "good", type: "t" });
    const second = await client.submit({ queue: "bad", type: "t" });
    const both = run(["tasks", "wait", first.id, second.id, "--json"]);
    await work("good", "complete");
    await work("bad", "fail");
    const { code, output } = await both;
    expect(code).toBe(exitTable["not-completed"].code);
    const states = output
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).state);
    expect(states.sort()).toEqual(["completed", "failed"]);
    expect(JSON.parse((await ends("ok", ["tasks", "wait", first.id])).output)).toEqual({ done: true });
    const third = await client.submit({ queue: "never", type: "t" });
    await ends("timed-out", ["tasks", "wait", third.id, "--timeout", "100ms"]);
  });

  test("commands - a payload cannot command the terminal", async () => {
    await client.submit({ queue: "bell", type: "t", payload: "\u009b2J\u202eevil" });
    const { output } = await ends("ok", ["tasks", "list", "--queue", "bell"]);
    expect(output).toContain("\\u009b2J\\u202eevil");
  });
});

describe("commands - flow control", () => {
  test("commands - what is set for a queue is shown, and what is not given stays", async () => {
    const set = ["--concurrency", "50", "--group-rate", "10/1s,burst=20", "--group-weight", "acme=3"];
    await ends("ok", ["queues", "configure", "flow", ...set, "--backlog", "1000,refuse"]);
    const { settings } = await json([
      "queues",
      "configure",
      "flow",
      "--concurrency",
      "none",
      "--weight",
      "2",
    ]);
    expect(settings).toEqual({
      ...(await client.queue("flow")).settings,
      concurrency: null,
      groupRate: { count: 10, perMs: 1000, burst: 20 },
      groupWeights: { acme: 3 },
      weight: 2,
      backlog: { max: 1000, policy: "refuse" },
    });
    const { output } = await ends("ok", ["queues", "show", "flow"]);
    for (const part of ["10/1s,burst=20", "acme=3", "1,000, then refuse"]) expect(output).toContain(part);
  });

  test("commands - a queue or one of its groups is paused and resumed", async () => {
    await client.submit({ queue: "flow", type: "t", group: "acme" });
    const words = ["queues", "pause", "flow", "--group", "acme", "--for", "5m", "--reason", "429"];
    expect((await ends("ok", words)).output).toContain("Group acme of flow is paused");
    expect((await ends("ok", ["queues", "groups", "flow"])).output).toMatch(
      /acme +1 +0 +3 +paused +by http, ends in /,
    );
    await ends("ok", ["queues", "resume", "flow", "--group", "acme"]);
    await ends("ok", ["queues", "pause", "flow"]);
    expect((await ends("ok", ["queues"])).output).toMatch(/^flow .* paused/m);
    expect((await json(["queues", "resume", "flow"])).paused).toBeNull();
  });

  test("commands - named limits are put, listed and deleted", async () => {
    await ends("ok", ["limits", "put", "openai", "--concurrency", "20", "--rate", "500/1m"]);
    expect((await ends("ok", ["limits"])).output).toMatch(/^openai +0 +20 +500\/1m/m);
    expect(await json(["limits", "list"])).toEqual(await client.limits());
    await ends("ok", ["limits", "put", "openai/vision", "--concurrency", "2"]);
    expect(await json(["limits", "list", "--limit", "1"])).toMatchObject({
      ...{ limits: [{ name: "openai" }], cursor: "openai" },
    });
    expect((await json(["limits", "list", "--prefix", "openai/"])).limits).toMatchObject([
      { concurrency: 2 },
    ]);
    expect((await ends("ok", ["limits", "list", "--prefix", "x"])).output).toContain("begins with x");
    await ends("ok", ["limits", "delete", "openai/vision"]);
    await ends("ok", ["limits", "delete", "openai"]);
    await ends("not-found", ["limits", "delete", "openai"]);
    expect((await ends("ok", ["limits"])).output).toContain("There are no named limits");
  });

  test.each([
    [["queues", "configure", "q", "--rate", "fast"], "--rate"],
    [["queues", "configure", "q", "--backlog", "10,forget"], "--backlog"],
    [["queues", "configure", "q", "--group-weight", "acme=x"], "--group-weight"],
    [["limits", "put", "l", "--concurrency", "-1"], "--concurrency"],
  ])("commands - a setting that cannot be read is told: %j", async (words, option) => {
    expect((await ends("usage", words)).errors).toContain(option);
  });
});

describe("commands - workers, queues, status", () => {
  test("commands - a worker is listed, shown, drained and taken back", async () => {
    await client.register({ workerId: "worker-001", queues: ["none"], capacity: 4 });
    const { workers } = await json(["workers", "list", "--state", "idle"]);
    expect(workers.map(({ id }: { id: string }) => id)).toContain("worker-001");
    expect((await ends("ok", ["workers", "show", "worker-001"])).output).toContain("0 of 4");
    await ends("ok", ["workers", "drain", "worker-001"]);
    expect((await client.worker("worker-001")).state).toBe("draining");
    await ends("ok", ["workers", "drain", "worker-001", "--undo"]);
    expect((await client.worker("worker-001")).state).toBe("idle");
    await ends("not-found", ["workers", "show", "nobody"]);
  });

  test("commands - queues and status say what the daemon says", async () => {
    await client.submit({ queue: "counted", type: "t" });
    expect(await json(["queues"])).toEqual(await client.queues());
    const { name } = (await client.queues({ limit: 1 })).queues[0]!;
    expect((await json(["queues", "--prefix", name])).queues[0].name).toBe(name);
    expect((await json(["queues", "list", "--limit", "1"])).cursor).toBe(name);
    expect((await ends("ok", ["queues", "--prefix", "zzz"])).output).toContain("begins with zzz");
    expect((await ends("ok", ["queues"])).output).toMatch(/^counted +0 +0 +1 /m);
    expect(await json(["status"])).toMatchObject({
      health: { status: "ok" },
      state: { namespace: "default" },
    });
    expect((await ends("ok", ["status"])).output).toContain("development: nothing on disk");
  });
});

describe("commands - schedules", () => {
  test("commands - a schedule is put, shown, listed, paused, run, and deleted", async () => {
    const words = ["--cron", "30 2 * * *", "--time-zone", "Europe/Berlin", "--overlap", "skip"];
    const start = ["--start-at", "2030-01-01T00:00Z", "--queue", "reports", "--timeout", "5m"];
    const put = await json(["schedules", "put", "nightly", "report", '{"a":1}', ...words, ...start]);
    expect(put).toMatchObject({
      ...{ name: "nightly", cron: "30 2 * * *", timeZone: "Europe/Berlin", overlap: "skip" },
      startAt: Date.parse("2030-01-01T00:00:00Z"),
      nextAt: Date.parse("2030-01-01T01:30:00Z"),
      task: { type: "report", queue: "reports", payload: { a: 1 }, timeoutMs: 300_000 },
    });
    const shown = (await ends("ok", ["schedules", "show", "nightly", "--count", "2"])).output;
    for (const part of ["30 2 * * * (Europe/Berlin)", "2030-01-01T01:30:00.000Z", "2030-01-02T01:30:00.000Z"])
      expect(shown).toContain(part);
    expect(shown).not.toContain("2030-01-03");
    await ends("ok", ["schedules", "pause", "nightly"]);
    expect((await json(["schedules", "list", "--state", "paused"])).schedules).toHaveLength(1);
    await ends("ok", ["schedules", "put", "often", "t", "--every", "90s"]);
    const { output: listed } = await ends("ok", ["schedules", "list"]);
    expect(listed).toMatch(/^nightly +paused +30 2 /m);
    expect(listed).toMatch(/^often +active +every 90s /m);
    await ends("ok", ["schedules", "delete", "often"]);
    const { taskId } = await json(["schedules", "run", "nightly"]);
    expect(await client.task(taskId)).toMatchObject({ queue: "reports", payload: { a: 1 } });
    expect((await ends("ok", ["schedules", "resume", "nightly"])).output).toContain("is active");
    await ends("ok", ["schedules", "delete", "nightly"]);
    await ends("not-found", ["schedules", "show", "nightly"]);
  });

  test("commands - a preview says when, and what is wrong with a pattern, and makes nothing", async () => {
    const words = ["schedules", "preview", "--time-zone", "Europe/Berlin", "--from", "2026-03-28T00:00Z"];
    const { output } = await ends("ok", [...words, "--cron", "30 2 * * *", "--count", "2"]);
    expect(output).toMatch(/^2026-03-28T01:30:00.000Z .*\n2026-03-29T01:00:00.000Z /);
    expect((await ends("refused", [...words, "--cron", "61 2 * * *"])).errors).toContain("--cron");
    expect((await json(["schedules", "list"])).schedules).toEqual([]);
  });

  test("commands - a schedule of every second runs by itself", async () => {
    await ends("ok", ["schedules", "put", "tick", "t", "--every", "1s", "--queue", "ticks"]);
    await work("ticks", "complete");
    const { runsCount, lastTaskId } = await client.schedules.get("tick");
    expect(runsCount).toBeGreaterThan(0);
    expect((await client.task(lastTaskId as string)).idempotencyKey).toMatch(/^schedule\/tick\/[0-9]+$/);
    await client.schedules.delete("tick");
  });
});

describe("commands - keys", () => {
  test("commands - a key is put, read, compared, counted, listed and deleted", async () => {
    const put = await json(["kv", "put", "cfg/region", '{"primary":"eu"}', "--if-revision", "0"]);
    expect(put).toMatchObject({ key: "cfg/region", version: 1 });
    expect((await ends("ok", ["kv", "get", "cfg/region"])).output).toBe('{"primary":"eu"}\n');
    expect(await json(["kv", "get", "cfg/region"])).toEqual({ ...put, value: { primary: "eu" } });
    const lost = await ends("refused", ["kv", "put", "cfg/region", "1", "--if-revision", "0"]);
    expect(lost.errors).toContain(`is at revision ${put.revision}`);
    const file = join(temporaryFolder(), "value");
    writeFileSync(file, "plain\ntext");
    await ends("ok", ["kv", "put", "cfg/text", `@${file}`, "--text", "--ttl", "1h"]);
    expect((await ends("ok", ["kv", "get", "cfg/text", "--raw"])).output).toBe("plain\ntext\n");
    expect((await ends("ok", ["kv", "increment", "cfg/n", "--by", "5"])).output).toBe("5\n");
    const { output } = await ends("ok", ["kv", "list", "cfg/"]);
    expect(output).toMatch(/^cfg\/n +[0-9]+ +1 +- +- +5$/m);
    expect(output).toMatch(/^cfg\/text .* in 59 m .*"plain/m);
    expect(
      (await json(["kv", "list", "cfg/", "--keys-only"])).keys.map((one: { key: string }) => one.key),
    ).toEqual(["cfg/n", "cfg/region", "cfg/text"]);
    await ends("ok", ["kv", "delete", "cfg/region", "--if-revision", String(put.revision)]);
    await ends("not-found", ["kv", "get", "cfg/region"]);
    expect((await ends("usage", ["kv", "put", "cfg/x", "eu"])).errors).toContain("VALUE is not JSON");
  });

  test("commands - changes of keys are printed as they happen", async () => {
    let ended = false;
    const watching = ends("ok", ["kv", "watch", "seen/", "--count", "2"]).finally(() => {
      ended = true;
    });
    // What is put before the watch has begun is not seen: so it is put until the watch ends.
    while (!ended) await client.kv.increment({ key: "seen/n" });
    const { output } = await watching;
    expect(output).toMatch(/^[0-9]+ {2}seen\/n = [0-9]+ {2}by http\n/);
    expect(output.trimEnd().split("\n")).toHaveLength(2);
  });
});

describe("commands - messages", () => {
  test("commands - what is emitted is printed by who tails, and a request is answered", async () => {
    let ended = false;
    const tailing = ends("ok", ["messages", "tail", "news.*", "--count", "2"]).finally(() => {
      ended = true;
    });
    while (!ended) await client.messages.emit({ topic: "news.eu", payload: { n: 1 } });
    expect((await tailing).output).toBe(`news.eu  {"n":1}  by http\n`.repeat(2));
    expect((await ends("ok", ["messages", "publish", "news.eu", "1", "--now"])).output).toBe(
      "It was handed to 0 listeners.\n",
    );
    await ends("not-found", ["messages", "request", "nobody", "1"]);
    const other = new CoordinationClient({ url: daemon.wsUrl, token });
    other.topics.handle<number>("double", ({ payload }) => 2 * payload);
    await other.connect();
    await other.getState();
    expect((await ends("ok", ["messages", "request", "double", "21"])).output).toBe("42\n");
    other.close();
    await ends("usage", ["messages", "request"]);
    await ends("not-found", ["messages", "request", "--worker", "rack.4", "21"]);
    const rack = new CoordinationClient({ url: daemon.wsUrl, token, workerId: "rack.4" });
    rack.messages.handle<number>(({ payload }) => 3 * payload);
    await rack.connect();
    while ((await client.subscriptions.list()).subscriptions.every(({ listeners }) => listeners === 0));
    expect((await ends("ok", ["messages", "request", "--worker", "rack.4", "14"])).output).toBe("42\n");
    rack.close();
    await client.subscriptions.delete("$worker.rack.4");
  });

  test("commands - what is published waits in its subscriptions, which can be made, shown and deleted", async () => {
    await ends("ok", ["subscriptions", "put", "billing", "orders.*", "--ack-wait", "1m"]);
    const published = await json(["messages", "publish", "orders.eu", '{"id":17}', "--publish", "17"]);
    expect(published).toMatchObject({ subscriptions: 1, duplicate: false });
    const again = await ends("ok", ["messages", "publish", "orders.eu", "0", "--publish", "17"]);
    expect(again.output).toBe(`${published.messageId} was published before.\n`);
    expect((await ends("ok", ["messages", "publish", "orders.eu", "1"])).output).toEndWith(
      " is kept by 1 subscription.\n",
    );
    await ends("ok", ["messages", "publish", "--worker", "w.1", '"reload"']);
    const { output } = await ends("ok", ["subscriptions", "list"]);
    expect(output).toMatch(/^billing +orders\.\* +2 +0 +0 +0 +0 /m);
    expect(output).toMatch(/^\$worker\.w\.1 +- +1 /m);
    expect(await json(["subscriptions", "show", "billing"])).toMatchObject({ pending: 2, ackWaitMs: 60_000 });
    const { output: shown } = await ends("ok", ["subscriptions", "show", "billing"]);
    for (const line of [/^Topic +orders\.\*$/m, /^Pending +2 of /m, /^Acknowledged +within 1m$/m])
      expect(shown).toMatch(line);
    await client.messages.nack({ subscription: "billing", messageId: published.messageId, dead: true });
    await ends("ok", ["topics", "put", "orders.>", "--keep", "1h"]);
    await ends("ok", ["topics", "put", "orders.*", "--keep-count", "5"]);
    expect(await json(["topics", "list"])).toEqual(await client.topics.list());
    expect(await json(["topics", "list", "--limit", "1"])).toMatchObject({
      ...{ topics: [{ topic: "orders.*" }], cursor: "orders.*" },
    });
    expect((await ends("ok", ["topics", "list"])).output).toMatch(/^orders\.> +\d+ +1h +- /m);
    await ends("ok", ["topics", "delete", "orders.*"]);
    const dead = await ends("ok", ["messages", "list", "--subscription", "billing", "--state", "dead"]);
    expect(dead.output).toMatch(new RegExp(`^${published.messageId} +orders.eu +normal .* dead `, "m"));
    await ends("ok", ["topics", "delete", "orders.>"]);
    await ends("not-found", ["topics", "delete", "orders.>"]);
    expect((await ends("ok", ["subscriptions", "retry", "billing"])).output).toBe(
      "Delivered again: 1 message.\n",
    );
    expect(await json(["subscriptions", "delete", "billing"])).toEqual({ name: "billing", droppedCount: 2 });
    await ends("not-found", ["subscriptions", "show", "billing"]);
    await ends("usage", ["messages", "publish"]);
    await ends("usage", ["messages", "publish", "a", "1", "--now", "--ttl", "5s"]);
  });
});

describe("commands - transactions", () => {
  test("commands - a transaction out of a file, and what of it did not hold or was refused", async () => {
    const file = join(temporaryFolder(), "pay.json");
    const write = (value: unknown) => writeFileSync(file, JSON.stringify(value));
    const put = { operation: "kv.put", input: { key: "tx/paid", value: true } };
    write({
      if: [{ key: "tx/paid", exists: false }],
      then: [put, { operation: "kv.get", input: { key: "tx/paid" } }],
    });
    const { output } = await ends("ok", ["transaction", file]);
    expect(output).toMatch(
      /^then: 2 operations at revision [0-9]+\.\n\{"key":"tx\/paid",.*\}\n\{.*"value":true\}\n$/,
    );
    const { errors } = await ends("refused", ["transaction", file]);
    expect(errors).toContain('Nothing was done: {"key":"tx/paid","exists":false} did not hold.');
    write({ then: [put, { operation: "kv.delete", input: { key: "tx/none" } }] });
    const missing = await ends("not-found", ["transaction", file]);
    expect(missing.errors).toContain("/then/1: there is no key tx/none");
    write({ if: [{ key: "tx/paid", value: false }], then: [], else: [put] });
    expect(await json(["transaction", file])).toMatchObject({
      branch: "else",
      unmet: [0],
      results: [{ version: 2 }],
    });
    await ends("input-broken", ["transaction", join(temporaryFolder(), "none.json")]);
  });
});

describe("commands - which daemon, and what is wrong", () => {
  test("commands - no daemon, no token, a wrong token: each says what to do", async () => {
    const nobody = await ends("unreachable", ["queues", "--url", "http://127.0.0.1:1"]);
    expect(nobody.errors).toContain("http://127.0.0.1:1");
    expect(nobody.errors).toContain("cortexd serve");
    for (const words of [[], ["--token", "wrong"]])
      expect((await ends("refused", ["queues", ...words], { CORTEX_TOKEN: "" })).errors).toContain(
        "--token-file",
      );
    const waited = await ends("unreachable", ["watch", "--url", "http://127.0.0.1:1"]);
    expect(waited.errors).toStartWith(
      "No daemon at http://127.0.0.1:1; it is tried again for 10 s.\ncortexd: No daemon",
    );
    expect(waited.errors).toContain("(ECONNREFUSED)");
    const file = join(temporaryFolder(), "token");
    writeFileSync(file, `${token}\n`);
    await ends("ok", ["queues", "--token-file", file], { CORTEX_TOKEN: "wrong" });
  });

  const mistakes: [string[], string[]][] = [
    [["tasks"], ["needs one of submit, import, list"]],
    [["taks"], ["did you mean tasks?"]],
    [["tasks", "lst"], ["did you mean list?"]],
    [["tasks", "submit"], ["TYPE is missing"]],
    [["tasks", "show", "1-0", "2-0"], ['"2-0" is one word too many']],
    [
      ["tasks", "submit", "t", "--priorty", "high", "--delay", "soon"],
      ["did you mean --priority?", '--delay is "soon"; allowed is a time'],
    ],
    [["tasks", "list", "--state", "done"], ["allowed is scheduled, blocked, queued, running"]],
    [["tasks", "list", "--limit", "0"], ["at least 1"]],
    [["schedules", "preview", "--every", "1h", "--from", "noon"], ["a moment such as"]],
    [
      ["queues", "--url", "ftp://x"],
      ["--url is", "an http address"],
    ],
    [["queues", "--token", "a", "--token-file", "b"], ["both given"]],
    [["queues", "--json=no"], ["--json takes no value"]],
    [["--url", "http://127.0.0.1:1", "queues", "list"], ["behind the command: `cortexd queues"]],
  ];
  test.each(mistakes)("commands - %j is refused with all that is wrong", async (words, told) => {
    const { errors, output } = await ends("usage", words);
    expect(output).toBe("");
    for (const part of told) expect(errors).toContain(part);
  });

  const named = Object.entries(entries).flatMap(([name, entry]): [string, Command][] => {
    if ("raw" in entry) return [];
    if (!("commands" in entry)) return [[name, entry]];
    return Object.entries(entry.commands).map(([word, one]) => [`${name} ${word}`, one]);
  });
  /** The words are a command that is called so, and nothing is wrong with what follows. */
  const taken = (name: string, command: Command, words: string) => {
    const world = { environment: {}, readFile: () => "" };
    const argv = (
      words
        .slice(name.length)
        .split(/ [<|>] /)[0]!
        .match(/'[^']*'|"[^"]*"|[^ ]+/g) ?? []
    ).map((word) => word.replace(/^(['"])(.*)\1$/, "$2"));
    const { own, serve } = serveWords(command, argv);
    expect({ words, ...parse(command, own, world) }).not.toHaveProperty("problems");
    const input = { argv: serve, ...world, readFile: () => "{}", machine: { memoryBytes: 2 ** 32 } };
    expect({ words, ...loadConfig(input) }).not.toHaveProperty("problems");
  };

  test("commands - what the dashboard's empty pages tell to type is taken", () => {
    const pages = [...new Bun.Glob("*.tsx").scanSync(join(import.meta.dir, "../../src/dashboard"))];
    const told = pages.flatMap((page) =>
      [
        ...readFileSync(join(import.meta.dir, "../../src/dashboard", page), "utf8").matchAll(
          /<code>cortexd ([^<]+)<\/code>/g,
        ),
      ].map(([, words]) => words!),
    );
    expect(told.length).toBeGreaterThan(3);
    for (const words of told) {
      const found = named.filter(([name]) => words.startsWith(`${name} `)).at(-1);
      expect({ words, isFound: found !== undefined }).toEqual({ words, isFound: true });
      taken(...found!, words);
    }
  });

  test.each(named)(
    "commands - %s has help of its own, and its examples are words it takes",
    (name, command) => {
      const text = commandHelp(name, command);
      for (const part of [`cortexd ${name}`, command.summary, "Examples:", "With --json:"])
        expect(text).toContain(part);
      for (const { words } of command.examples) if (words.startsWith(name)) taken(name, command, words);
    },
  );

  test("commands - what lists or shows can be watched", () => {
    const listing = named.filter(([name]) => / (list|show)$/.test(name));
    expect(listing.length).toBeGreaterThan(15);
    expect(listing.filter(([, { watch }]) => watch !== true).map(([name]) => name)).toEqual([]);
  });

  const refusals: [string[], string][] = [
    [["tasks", "submit", "t", "--queue", "no spaces"], "--queue must start with"],
    [["tasks", "submit", "no type"], "TYPE must start with"],
    [["kv", "put", "schl\u00fcssel", "1"], "KEY must be of printable ASCII"],
    [["tasks", "submit", "t", "--label", "no name=1"], "--label (at /no name):"],
    [["tasks", "show", "12"], "TASK must be an id as it was answered"],
    [["kv", "get", "a", "--namespace", "No Such"], "--namespace must be of a to z"],
  ];
  test.each(refusals)(
    "commands - what is refused of %j is told once, by the word it was given by",
    async (words, told) => {
      const { errors } = await ends("refused", words);
      const [first, second, ...more] = errors.trim().split("\n");
      expect(first).toStartWith(`cortexd: ${told}`);
      expect([second, more]).toEqual(["Mend that; nothing was changed. (`cortexd why invalid-input`)", []]);
    },
  );

  test("commands - of a task that has ended it is explained that, and nothing about workers", async () => {
    const { id } = await client.submit({ queue: "over", type: "t" });
    await client.cancel(id, "ordered twice");
    const { output } = await ends("ok", ["tasks", "explain", id]);
    expect(
      output
        .trim()
        .split("\n")
        .map((line) => line.split(" ")[0]),
    ).toEqual(["Task", "State", "Because"]);
  });

  test("commands - an import of a file that is not there says that nothing was done", async () => {
    const { errors } = await ends("input-broken", ["tasks", "import", "/no/file.json"]);
    expect(errors).toContain("Nothing was imported.");
  });

  test("commands - what keeps the data takes the options of serve between its own words", async () => {
    expect((await ends("ok", ["help", "backup"])).output).toBe(
      (await ends("ok", ["backup", "--help"])).output,
    );
    const data = temporaryFolder();
    const words = ["backup", "--data", data, "--namespace", "x", `${data}/to`, "--json"];
    expect((await ends("data-folder-not-writable", words)).errors).toContain("the namespace x");
    expect((await ends("usage", ["verify", "--dta", data])).errors).toContain("did you mean --data?");
    expect((await ends("usage", ["restore", "--data", data])).errors).toContain("FROM is missing");
    expect((await ends("usage", ["verify", "a", "--data", data])).errors).toContain("one word too many");
  });

  test("commands - help tells of one command the same way from everywhere, with an example", async () => {
    const { output } = await ends("ok", ["help", "tasks", "submit"]);
    expect(output).toContain("cortexd tasks submit TYPE [PAYLOAD]");
    for (const part of [
      "--idempotency-key",
      "--lease TIME",
      "CORTEX_URL",
      "Examples:",
      "With --json: one object",
    ])
      expect(output).toContain(part);
    expect((await ends("ok", ["tasks", "submit", "--queue", "x", "--help"])).output).toBe(output);
    expect((await ends("ok", ["help", "tasks"])).output).toContain("tasks wait");
    expect((await ends("ok", ["help"])).output).toMatch(/^ {2}tasks .*\bsubmit\b/m);
  });
});

describe("commands - namespaces", () => {
  test("commands - namespaces are made, listed and dropped", async () => {
    expect(await json(["namespaces", "create", "ours"])).toEqual({ namespace: "ours", created: true });
    expect((await ends("ok", ["namespaces", "create", "ours"])).output).toBe("ours is there already.\n");
    await json(["tasks", "submit", "t", "--namespace", "ours"]);
    const { output } = await ends("ok", ["namespaces", "list"]);
    expect(output).toMatch(/^NAMESPACE +STATUS +QUEUED/);
    expect(output).toMatch(/^ours +ok +1 /m);
    expect(output).toContain("of at most 64");
    const { namespaces } = await json(["namespaces", "list"]);
    expect(namespaces.map(({ name }: { name: string }) => name)).toEqual(["default", "ours"]);
    expect((await ends("ok", ["status"])).output).toMatch(/Namespaces +2/);
    expect(await json(["namespaces", "drop", "ours", "--yes"])).toEqual({ namespace: "ours" });
    await ends("not-found", ["namespaces", "drop", "ours", "--yes"]);
    for (const words of [
      ["tasks", "list"],
      ["watch"],
      ["kv", "watch"],
      ["messages", "tail"],
      ["log", "--follow"],
    ])
      await ends("not-found", [...words, "--namespace", "ours"]);
    expect((await json(["namespaces", "list"])).namespaces).toHaveLength(1);
  }, 120_000);

  test("commands - where nobody can be asked, a drop needs --yes, and default is never dropped", async () => {
    await json(["namespaces", "create", "kept"]);
    const { errors } = await ends("usage", ["namespaces", "drop", "kept"]);
    expect(errors).toContain("--yes");
    expect((await json(["namespaces", "list"])).namespaces).toHaveLength(2);
    await ends("refused", ["namespaces", "drop", "default", "--yes"]);
    const { errors: why } = await ends("refused", ["namespaces", "create", "No/Name"]);
    expect(why).toContain("/namespace");
  }, 120_000);
});
