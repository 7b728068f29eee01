/** What handlers write of their tasks, who reads it, and tasks as requests. */
import { expect, test } from "bun:test";
import { TaskFailed } from "../../client/index.ts";
import { linesOf } from "../../client/logs.ts";
import { worker } from "../../client/worker.ts";
import { limits } from "../../src/wire/limits.ts";
import { assigned, aTask, connected, FakeDaemon, settle, World } from "./world.ts";

test("logs - what is told in one turn goes together, and what is told before the end arrives before it", async () => {
  const world = new World();
  const daemon = new FakeDaemon();
  const transport = { transport: daemon, environment: world, workerId: "w" };
  const running = await worker(
    "q",
    async (_, { log }) => {
      log("a", { b: 1 });
      log("c");
      await settle();
      log("d");
      return 7;
    },
    transport,
  );
  daemon.line.say(assigned("1-0", 5));
  for (let i = 0; i < 10; i++) await settle();
  const lease = { taskId: "1-0", workerId: "w", token: 5 };
  expect(daemon.line.work.map(({ op, input }) => [op, input])).toEqual([
    ["task.log", { ...lease, lines: ['a {"b":1}', "c"] }],
    ["task.log", { ...lease, lines: ["d"] }],
    ["task.complete", { ...lease, result: 7 }],
  ] as never);
  await running.stop();
});

test("logs - more than one request takes is sent in several, in order", async () => {
  const world = new World();
  const daemon = new FakeDaemon();
  const running = await worker(
    "q",
    (_, { log }) => {
      for (let i = 0; i < 250; i++) log(`${i}`);
    },
    { transport: daemon, environment: world, workerId: "w" },
  );
  daemon.line.say(assigned("1-0", 5));
  for (let i = 0; i < 10; i++) await settle();
  const sent = daemon.line.ops("task.log").map(({ input }) => (input as { lines: string[] }).lines);
  expect(sent.map((lines) => lines.length)).toEqual([100, 100, 50]);
  expect(sent.flat()).toEqual(Array.from({ length: 250 }, (_, i) => `${i}`));
  expect(daemon.line.work.at(-1)?.op).toBe("task.complete");
  await running.stop();
});

test("logs - anything is told as lines", () => {
  const circle: { own?: unknown } = {};
  circle.own = circle;
  const error = new Error("no");
  error.stack = "Error: no\n  at there";
  expect(linesOf(["a\nb", 1, null, undefined])).toEqual(["a", "b 1 null undefined"]);
  expect(linesOf([error])).toEqual(["Error: no", "  at there"]);
  expect(linesOf([circle, 5n])).toEqual(["[object Object] 5"]);
  const [cut] = linesOf(["x".repeat(10_000)]);
  expect(cut).toHaveLength(limits.logLineLengthMax);
});

const line = (number: number) => ({ number, at: 5, attempt: 1, text: `line ${number}` });

test("logs - a log is read to where it is, or followed until its task has ended", async () => {
  const { daemon, client } = await connected();
  const lines = [line(0), line(1)];
  let state: "running" | "completed" = "running";
  daemon.script["task.logs"] = ({ input }) => {
    const { from = 0, waitMs } = input as { from?: number; waitMs?: number };
    // What comes while somebody waits, and what came just before the end.
    if (waitMs !== undefined && from === 2) lines.push(line(2));
    else if (waitMs !== undefined && from === 3) {
      lines.push(line(3));
      state = "completed";
      return { ok: { lines: [], first: 0, next: from } };
    }
    return { ok: { lines: lines.slice(from), first: 0, next: lines.length } };
  };
  daemon.script["task.get"] = () => ({ ok: aTask("1-0", { state }) });
  const read = async (options: { follow?: boolean; from?: number }) => {
    const numbers: number[] = [];
    for await (const { number } of client.task("1-0").logs(options)) numbers.push(number);
    return numbers;
  };
  expect(await read({})).toEqual([0, 1]);
  expect(await read({ follow: true, from: 1 })).toEqual([1, 2, 3]);
});

test("requests - a task is a request: its result, or its error", async () => {
  const { daemon, client } = await connected();
  daemon.script["task.get"] = () => ({ ok: aTask("2-0", { state: "completed", result: 42 }) });
  expect(await client.request<number>("add", [40, 2], { queue: "sums", submit: { priority: "high" } })).toBe(
    42,
  );
  expect(daemon.line.ops("task.submit").map(({ input }) => input)).toEqual([
    { type: "add", payload: [40, 2], queue: "sums", priority: "high" },
  ]);
  const error = { message: "overflow", code: "E" };
  daemon.script["task.get"] = () => ({ ok: aTask("2-0", { state: "failed", error }) });
  const failure = await client.request("add").catch((caught: unknown) => caught);
  expect(failure).toBeInstanceOf(TaskFailed);
  expect(failure).toMatchObject({ state: "failed", error });
});

test("requests - whoever waits no more cancels what it asked for, unless it is another's", async () => {
  const { world, daemon, client } = await connected();
  daemon.script["task.get"] = () => "silent";
  const request = client.request("slow", null, { timeoutMs: 5000 }).catch((caught: unknown) => caught);
  await settle();
  expect(daemon.line.ops("task.submit")[0]?.input).toMatchObject({ ttlMs: 5000 });
  await world.advance(5000);
  expect(await request).toMatchObject({
    code: "timeout",
    message: "task 2-0 was not finished in 5000 ms",
  });
  await settle();
  expect(daemon.line.ops("task.cancel").map(({ input }) => (input as { taskId: string }).taskId)).toEqual([
    "2-0",
  ]);
  daemon.script["task.submit"] = () => ({ ok: { id: "9-0", state: "running", duplicate: true } });
  const other = client.request("slow", null, { timeoutMs: 5000 }).catch((caught: unknown) => caught);
  await settle();
  await world.advance(5000);
  expect(await other).toMatchObject({ code: "timeout" });
  await settle();
  expect(daemon.line.ops("task.cancel")).toHaveLength(1);
});
