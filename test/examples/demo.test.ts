/**
 * The demonstration, run as a person would run it, over a folder that is small enough for a test, and its check,
 * held against outcomes that must not pass.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Task } from "@cortexd/client";
import { check, type Report } from "../../examples/demo/check.ts";
import { type Digest, digestOf, filesBelow } from "../../examples/demo/files.ts";
import type { Outcome } from "../../examples/demo/run.ts";

const root = join(import.meta.dir, "../..");
const folder = realpathSync(join(root, "node_modules/@sinclair/typebox"));
const executable = process.env.CORTEX_TEST_EXECUTABLE;

/** Where the demonstrations of these tests put what they write, to see that they take it away. */
const temporary = mkdtempSync(join(tmpdir(), "cortexd-test-"));
const running = new Set<Bun.Subprocess>();
afterAll(() => {
  for (const child of running) child.kill("SIGTERM");
  rmSync(temporary, { recursive: true, force: true });
});

function demo(...args: string[]) {
  const child = Bun.spawn(
    [
      ...[process.execPath, join(root, "examples/demo/main.ts"), ...args],
      ...(executable === undefined ? [] : ["--executable", executable]),
    ],
    {
      env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "", TMPDIR: temporary },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  running.add(child);
  void child.exited.then(() => running.delete(child));
  return child;
}

/** The port the demonstration said its coordinator had. */
const portIn = (text: string) => Number(/up on port (\d+)/.exec(text)?.[1]);
const isListening = (port: number) =>
  fetch(`http://127.0.0.1:${port}/health`).then(
    () => true,
    () => false,
  );

/** The same counts by other means: whole files, another walk, another idea of a word. */
function counted() {
  const paths = (readdirSync(folder, { recursive: true, withFileTypes: true }) as import("node:fs").Dirent[])
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  let bytes = 0;
  let words = 0;
  const lines = paths.map((path) => {
    const content = readFileSync(path);
    bytes += content.length;
    words += content.toString("latin1").match(/[^\t\n\v\f\r ]+/g)?.length ?? 0;
    return `${Bun.SHA256.hash(content, "hex")}  ./${path.slice(folder.length + 1)}\n`;
  });
  return {
    files: paths.length,
    bytes,
    words,
    sha256: Bun.SHA256.hash(lines.sort().join(""), "hex") as string,
  };
}

test("demo - two killed coordinators and a killed worker change nothing in what is recorded", async () => {
  const child = demo("--json", "--files", folder);
  const [output, told, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  expect({ code, told: code === 0 ? "" : `${told}${output}` }).toEqual({ code: 0, told: "" });
  const report = JSON.parse(output) as Report;
  expect(report).toMatchObject({ ok: true, problems: [], workers: 4, startedAfterAcknowledgedCount: 0 });

  const own = counted();
  expect(own.files).toBeGreaterThan(500);
  expect(report.totals).toEqual(own);
  expect(report.plain).toMatchObject(own);
  expect(report.completedCount).toBe(own.files);

  const [first, second, third] = report.kills;
  expect(report.kills.map(({ victim }) => victim.replace(/\d/, "N"))).toEqual([
    "coordinator",
    "worker-N",
    "coordinator",
  ]);
  for (const { doneCount, openCount } of report.kills) {
    expect(doneCount).toBeLessThan(own.files);
    expect(openCount).toBeGreaterThan(0);
  }
  for (const kill of [first, third]) {
    expect(kill?.backAfterMs).toBeGreaterThan(0);
    expect(kill?.workingAfterMs).toBeGreaterThan(kill?.backAfterMs as number);
  }
  expect(second?.heldCount).toBeGreaterThan(0);
  expect(report.interruptedCount).toBeGreaterThan(0);
  expect(report.tasksPerSecond).toBeGreaterThan(0);

  expect(await isListening(portIn(told))).toBe(false);
  expect(readdirSync(temporary)).toEqual([]);
}, 40_000);

test("demo - Ctrl-C in the middle leaves neither process nor file", async () => {
  const child = demo("--files", folder);
  let told = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    told += text;
    if (told.includes("killed the coordinator")) child.kill("SIGINT");
  }
  expect(await child.exited).toBe(130);
  expect(await isListening(portIn(told))).toBe(false);
  expect(readdirSync(temporary)).toEqual([]);
}, 40_000);

test("demo - a wrong option is refused with what is wrong, and nothing is started", async () => {
  for (const [args, why] of [
    [["--files", "/nowhere"], "there is no folder /nowhere"],
    [["--workers", "0"], "--workers is a number from 1 to 100"],
    [["--wrokers", "4"], "--wrokers"],
  ] as const) {
    const child = demo(...args);
    const errors = await new Response(child.stderr).text();
    expect(errors).toContain(why);
    expect(await child.exited).toBe(2);
  }
});

test("demo - a file of many pieces is counted as one, and an empty one as nothing", async () => {
  const file = join(temporary, "file");
  const text = "word ".repeat(1_000_003);
  writeFileSync(file, text);
  expect(await digestOf(file)).toEqual({
    bytes: text.length,
    words: 1_000_003,
    sha256: Bun.SHA256.hash(text, "hex") as string,
  });
  writeFileSync(file, "");
  expect(await digestOf(file)).toEqual({ bytes: 0, words: 0, sha256: Bun.SHA256.hash("", "hex") as string });
  rmSync(file);
});

test("demo - files are met once each, links to them never", async () => {
  const files = await filesBelow(join(root, "node_modules"));
  expect(new Set(files.map((path) => realpathSync(join(root, "node_modules", path)))).size).toBe(
    files.length,
  );
});

// ------------------------------------------------------------------------ what the check must not let pass

const paths = ["./a", "./b", "./c", "./d"];
const digest = (path: string): Digest => ({
  bytes: 1,
  words: 1,
  sha256: Bun.SHA256.hash(path, "hex") as string,
});
const plain = new Map(paths.map((path) => [path, digest(path)]));
const task = (path: string, id: string) =>
  ({
    ...{ id, payload: { path }, state: "completed", result: digest(path) },
    ...{ createdAt: 10, startedAt: 12, interruptions: 0 },
  }) as unknown as Task;
const kill = (victim: string) => ({
  ...{ victim, doneCount: 2, openCount: 2, heldCount: null, backAfterMs: 1, workingAfterMs: 2 },
});

/** An outcome without fault. */
const good = (): Outcome => ({
  tookMs: 1000,
  undisturbed: { doneCount: 1, tookMs: 100 },
  kills: [kill("coordinator"), kill("worker-1"), kill("coordinator")],
  acknowledged: new Map(paths.map((path, i) => [path, { taskId: `${i}-0`, at: 100, digest: digest(path) }])),
  refused: new Map(),
  tasks: paths.map((path, i) => task(path, `${i}-0`)),
  journal: paths.flatMap((path) => [
    { event: "started" as const, at: 50, path },
    { event: "hashed" as const, at: 60, path },
  ]),
  disorderly: [],
});
const checked = (outcome: Outcome) =>
  check({ folder: "/folder", workers: 4, files: paths }, outcome, plain, 1);

test("demo - an outcome without fault passes the check", () => {
  expect(checked(good())).toMatchObject({
    ...{ ok: true, problems: [], completedCount: 4, tasksPerSecond: 4, tasksPerSecondUndisturbed: 10 },
    ...{ submitToStartMs: { median: 2, p99: 2 }, startedAgainCount: 0, hashedAgainCount: 0 },
  });
});

test("demo - work done twice is counted, and is no fault", () => {
  const outcome = good();
  outcome.journal.push({ event: "started", at: 70, path: "./a" }, { event: "hashed", at: 80, path: "./a" });
  outcome.journal.push({ event: "started", at: 70, path: "./b" });
  expect(checked(outcome)).toMatchObject({ ok: true, startedAgainCount: 2, hashedAgainCount: 1 });
});

const faults: [string, (outcome: Outcome) => void, string][] = [
  ["a lost task", ({ tasks }) => tasks.pop(), "files without a task: ./d"],
  [
    "a doubled task",
    ({ tasks }) => tasks.unshift(task("./a", "9-0")),
    "files with more than one task: ./a has 2",
  ],
  ["a task of no file", ({ tasks }) => tasks.push(task("./x", "9-0")), "tasks for no file: ./x"],
  [
    "a task that is not completed",
    ({ tasks }) => tasks.splice(0, 1, { ...task("./a", "0-0"), state: "running", result: null }),
    "tasks that are not completed: ./a is running",
  ],
  [
    "an acknowledged result that changed",
    ({ acknowledged }) => acknowledged.set("./a", { taskId: "0-0", at: 100, digest: digest("./b") }),
    "acknowledged results that are lost or changed: ./a",
  ],
  [
    "an acknowledgement of another task",
    ({ acknowledged }) => acknowledged.set("./a", { taskId: "9-0", at: 100, digest: digest("./a") }),
    "acknowledged results that are lost or changed: ./a",
  ],
  [
    "a wrong result",
    ({ tasks }) => tasks.splice(0, 1, { ...task("./a", "0-0"), result: { ...digest("./a"), words: 2 } }),
    "words are 5, and 4 in the plain pass",
  ],
  [
    "a refused file",
    ({ refused }) => refused.set("./a", "no such file"),
    "files that got no result: ./a (no such file)",
  ],
  [
    "work begun again after it was acknowledged",
    ({ journal }) => journal.push({ event: "started", at: 101, path: "./a" }),
    "files that were begun again after they were acknowledged as done: ./a",
  ],
  [
    "a kill that is missing",
    ({ kills }) => kills.pop(),
    "there were 2 kills instead of 3: take a larger folder",
  ],
  [
    "a kill after all was done",
    ({ kills }) => kills.splice(0, 1, { ...kill("coordinator"), doneCount: 4 }),
    "coordinator was killed when all was done: take a larger folder",
  ],
  [
    "a disorderly end",
    ({ disorderly }) => disorderly.push("worker-2 ended with code 1"),
    "ended in disorder: worker-2 ended with code 1",
  ],
];

test.each(faults)("demo - the check finds %s", (_, spoil, problem) => {
  const outcome = good();
  spoil(outcome);
  const report = checked(outcome);
  expect(report.ok).toBe(false);
  expect(report.problems).toContain(problem);
});
