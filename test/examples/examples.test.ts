/** Each example is run as its README says, beside a real daemon, and does what it is there to show. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CoordinationClient } from "@cortexd/client";
import { cortexd, type Daemon, spawnDaemon, temporaryFolder, until } from "../support/daemon.ts";

setDefaultTimeout(60_000);

const root = join(import.meta.dir, "../..");
const running = new Set<Bun.Subprocess>();
let daemon: Daemon;
let client: CoordinationClient;
let bin: string;

beforeAll(async () => {
  daemon = await spawnDaemon();
  client = new CoordinationClient({ url: daemon.url });
  bin = join(temporaryFolder(), "bin");
  mkdirSync(bin);
  const words = cortexd.map((word) => `'${word}'`).join(" ");
  writeFileSync(join(bin, "cortexd"), `#!/bin/sh\nexec ${words} "$@"\n`);
  chmodSync(join(bin, "cortexd"), 0o755);
});
afterAll(async () => {
  for (const child of running) child.kill("SIGKILL");
  client.close();
  await daemon.stop();
});

/** Starts one by the words that the README has for it. */
function start(...words: [string, ...string[]]) {
  const [program, ...rest] = words;
  const child = Bun.spawn([program === "bun" ? process.execPath : program, ...rest], {
    cwd: root,
    env: { PATH: `${bin}:${process.env.PATH}`, HOME: process.env.HOME ?? "", CORTEX_URL: daemon.url },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  running.add(child);
  let output = "";
  let errors = "";
  const read = async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) output += text;
  };
  const readErrors = async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) errors += text;
  };
  const ended = Promise.all([child.exited, read(), readErrors()]).then(() => {
    running.delete(child);
    return { code: child.exitCode, output, errors };
  });
  const printed = (text: string) =>
    until(() => {
      if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${output}${errors}`);
      return output.includes(text);
    });
  return { printed, stop: () => child.kill("SIGTERM"), kill: () => child.kill("SIGKILL"), ended };
}
const run = (...words: [string, ...string[]]) => start(...words).ended;
const good = (output: string) => ({ code: 0, output, errors: "" });
const holding = (text: string) => expect.stringContaining(text) as unknown as string;

test("examples - every file of the folder stands in its README, and what stands there is a file", () => {
  const text = readFileSync(join(root, "examples/README.md"), "utf8");
  const named = [...text.matchAll(/^\| `\w+ examples\/([\w.-]+)/gm)].map(([, name]) => name!);
  const files = readdirSync(join(root, "examples")).filter((name) => /\.(ts|py|sh)$/.test(name));
  expect(named.sort()).toEqual(files.sort());
});

test("examples - each can be read in a minute", () => {
  for (const name of readdirSync(join(root, "examples")).filter((name) => /\.(ts|py|sh)$/.test(name))) {
    const lines = readFileSync(join(root, "examples", name), "utf8").split("\n").length;
    expect({ name, lines, isShort: lines < 100 }).toEqual({ name, lines, isShort: true });
  }
});

test("examples - ten lines come to the greeting", async () => {
  expect(await run("bun", "examples/ten-lines.ts")).toEqual(good("Hello, Ada!\n"));
  const lines = readFileSync(join(root, "examples/ten-lines.ts"), "utf8").trim().split("\n");
  expect(lines.filter((line) => line !== "" && !/^\/?\*|^\/\//.test(line.trim())).length).toBeLessThanOrEqual(
    10,
  );
});

test("examples - an embedded daemon goes on where it was", async () => {
  const folder = temporaryFolder();
  const first = await run("bun", "examples/basic-daemon.ts", folder);
  expect(first).toEqual(good(holding('to: "grace@example.org"')));
  expect(first.output).toMatch(/sent: 1,[\s\S]*sent: 2,/);
  expect((await run("bun", "examples/basic-daemon.ts", folder)).output).toMatch(/sent: 3,[\s\S]*sent: 4,/);
});

test("examples - a worker of a kind does what asks for it, and stops in good order", async () => {
  const worker = start("bun", "examples/basic-worker.ts", "worker-001", "development");
  await worker.printed("serves the queue examples");
  const submitted = client.submit({ queue: "examples", type: "build", kind: "development" });
  expect(await submitted.result()).toEqual({ doneBy: "worker-001", kind: "development" });
  const { id } = await submitted;
  const lines: string[] = [];
  for await (const { text } of client.task(id).logs()) lines.push(text);
  expect(lines).toEqual(["worker-001 begins build"]);
  worker.stop();
  const { code, output } = await worker.ended;
  expect(code).toBe(0);
  expect(output).toContain(`build (${id})`);
  expect(output).toContain("worker-001 has stopped");
});

test("examples - the orchestrator's work goes to the workers that are there, and to helpers for the rest", async () => {
  const worker = start("bun", "examples/basic-worker.ts", "worker-002", "testing");
  await worker.printed("serves the queue examples");
  const { code, output, errors } = await run("bun", "examples/orchestrator.ts");
  worker.stop();
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  const started = [...output.matchAll(/nobody does (\w+)/g)].map(([, kind]) => kind);
  expect(started).toEqual(["development", "documentation"]);
  const done = output.split("\n").filter((line) => line.includes(" was done by "));
  expect(done.filter((line) => /^testing of .* by worker-002$/.test(line)).length).toBe(3);
  expect(done.filter((line) => /^documentation of .* by helper-documentation$/.test(line)).length).toBe(3);
  expect(done.length).toBe(10);
  await worker.ended;
});

test("examples - the crawler fetches each page once, and one again that was too many", async () => {
  const { code, output, errors } = await run("bun", "examples/crawler.ts");
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  expect(output).toMatch(/^40 pages in [\d.]+ s, 41 requests\n$/);
  const { tasks } = await client.tasks({ queue: "crawl" });
  expect(tasks.length).toBe(40);
});

test("examples - a holder that was paused is refused, and what the next one wrote stays", async () => {
  const { code, output, errors } = await run("bun", "examples/paused-holder.ts");
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  const tokens = [...output.matchAll(/under token (\d+)/g)].map(([, token]) => Number(token));
  const [first, second] = tokens as [number, number];
  expect(second).toBeGreaterThan(first);
  expect(output.trim().split("\n")).toEqual([
    `first holds the lock under token ${first}`,
    "first is paused in the middle of its work",
    `second holds the lock under token ${second}`,
    "second has written",
    "first wakes up, and writes",
    `first is refused: lock report is not held under ${first}`,
    "the report is by second",
  ]);
});

test("examples - a fleet of agents loses no change, and no agent looks at its own", async () => {
  const { code, output, errors } = await run("bun", "examples/agent-fleet.ts");
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  const lines = output.trimEnd().split("\n");
  const seen = lines.flatMap((line) => {
    const [, what, by, seenBy] = /^(.+ in \w+\/): (\w+), seen by (\w+)$/.exec(line) ?? [];
    return what === undefined ? [] : [{ what, by, seenBy }];
  });
  expect(new Set(seen.map(({ what }) => what)).size).toBe(9);
  expect(seen.filter(({ by, seenBy }) => by === seenBy)).toEqual([]);
  expect(lines.filter((line) => /^code\/\w+: 3 changes$/.test(line)).length).toBe(3);
});

test("examples - when the leader is killed another one leads, and goes on where it was", async () => {
  const first = start("bun", "examples/leader-election.ts", "first");
  await first.printed("first leads: tick 2");
  const second = start("bun", "examples/leader-election.ts", "second");
  await second.printed("second is a candidate; first leads");
  first.kill();
  const { output } = await first.ended;
  const ticks = (text: string) => [...text.matchAll(/leads: tick (\d+)/g)].map(([, tick]) => Number(tick));
  await second.printed("second leads: tick");
  second.stop();
  const { code, output: more } = await second.ended;
  expect(code).toBe(0);
  // What the first did last may have been done and not yet printed.
  const next = ticks(more)[0]! - ticks(output).at(-1)!;
  expect(next === 1 || next === 2).toBe(true);
});

test("examples - by REST alone a task is submitted, done and read", async () => {
  const { code, output, errors } = await run("bun", "examples/rest-only.ts");
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  expect(output).toMatch(/^task \d+-0 is completed: 144\n$/);
});

test("examples - a worker in Python completes, fails, and leaves when it is told to stop", async () => {
  const worker = start("python3", "examples/worker.py", "python");
  await worker.printed("serves the queue python");
  const submit = (payload: unknown) =>
    client.submit({ queue: "python", type: "count", payload, attempts: 1 });
  expect(await submit("three small words").result<unknown>()).toEqual({ words: 3 });
  const failed = await client.task((await submit(7)).id).finished();
  expect(failed).toMatchObject({
    state: "dead",
    error: { message: "'int' object has no attribute 'split'" },
  });
  worker.stop();
  expect(await worker.ended).toEqual(good(holding("has stopped")));
});

test("examples - a worker in shell completes, and fails by its exit code", async () => {
  const worker = start("sh", "examples/worker.sh", "shell");
  const submit = (payload: unknown) => client.submit({ queue: "shell", type: "count", payload, attempts: 1 });
  const submitted = submit("three small words");
  expect(await submitted.result<unknown>()).toEqual({ words: 3 });
  const lines: string[] = [];
  for await (const { text } of client.task((await submitted).id).logs()) lines.push(text);
  expect(lines[0]).toBe(`task ${(await submitted).id}, attempt 1`);
  const failed = await client.task((await submit("")).id).finished();
  expect(failed).toMatchObject({ state: "dead", error: { code: "exit-65", message: "nothing to count" } });
  worker.stop();
  expect((await worker.ended).code).toBe(0);
});

test("examples - one task is done by curl", async () => {
  const submitted = client.submit({ queue: "curl", type: "count", payload: "three small words" });
  const { id } = await submitted;
  expect(await run("sh", "examples/rest-worker.sh", "curl")).toEqual(good(`task ${id} is completed\n`));
  expect(await submitted.result<unknown>()).toEqual({ words: 3 });
});

test("examples - the monitor tells a line a second", async () => {
  const { code, output, errors } = await run("bun", "examples/monitor.ts", "2");
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  const [head, ...lines] = output
    .trimEnd()
    .split("\n")
    .map((line) => line.trim().split(/\s{2,}/));
  expect(head).toContain("queued");
  expect(lines.map((line) => [line.length, line.at(-1)])).toEqual([
    [head!.length, "ok"],
    [head!.length, "ok"],
  ]);
});

test("examples - the performance test says PASS or FAIL for each target, and ends by them", async () => {
  const { code, output } = await run("bun", "examples/performance-test.ts");
  const verdicts = output
    .trimEnd()
    .split("\n")
    .map((line) => line.split(/\s{2}/)[0]);
  expect(output).toMatch(/throughput: [\d.]+ operations a second, [\d.]+ times (better|worse) than asked/);
  expect(verdicts.filter((verdict) => verdict === "PASS" || verdict === "FAIL").length).toBe(3);
  expect(code).toBe(verdicts.includes("FAIL") ? 1 : 0);
});

test("examples - the tour kills its daemon and finds its task again", async () => {
  const { code, output } = await run("bun", "examples/getting-started.ts");
  expect(code).toBe(0);
  const [before, after] = output.split("Kill the daemon");
  expect(before).toContain("is queued");
  expect(after).toContain("The task is there as before: queued");
  expect(after).toContain('Completed: {"delivered":{"to":"ada@example.org"}}');
});
