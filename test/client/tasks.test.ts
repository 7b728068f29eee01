/** What a producer is promised about results and handles. */
import { expect, test } from "bun:test";
import { TaskFailed } from "../../client/index.ts";
import { aTask, connected, settle } from "./world.ts";

test("tasks - a submit is awaitable for its answer and for its result", async () => {
  const { daemon, client } = await connected();
  daemon.script["task.get"] = ({ input }) => ({
    ok: aTask((input as { taskId: string }).taskId, { state: "completed", result: { n: 7 } }),
  });
  const submitted = client.submit({ type: "t" });
  expect(await submitted).toEqual({ id: "2-0", state: "queued", duplicate: false });
  expect(await submitted.result<{ n: number }>()).toEqual({ n: 7 });
});

test("tasks - an array answers and waits in its order", async () => {
  const { daemon, client } = await connected();
  daemon.script["task.submit"] = ({ input }) => ({
    ok: (input as unknown[]).map((_, i) => ({ id: `9-${i}`, state: "queued", duplicate: false })),
  });
  daemon.script["task.get"] = ({ input }) => {
    const { taskId } = input as { taskId: string };
    return { ok: aTask(taskId, { state: "completed", result: `of ${taskId}` }) };
  };
  const submitted = client.submit([{ type: "a" }, { type: "b" }]);
  expect((await submitted).map(({ id }) => id)).toEqual(["9-0", "9-1"]);
  expect(await submitted.results()).toEqual(["of 9-0", "of 9-1"]);
});

test("tasks - waiting asks again until the task is final", async () => {
  const { daemon, client } = await connected();
  const states = ["queued", "running", "scheduled", "completed"] as const;
  let asked = 0;
  daemon.script["task.get"] = () => ({ ok: aTask("1-0", { state: states[asked++]!, result: "done" }) });
  expect(await client.task("1-0").result()).toBe("done");
  expect(asked).toBe(4);
  for (const { input } of daemon.line.ops("task.get"))
    expect((input as { waitMs: number }).waitMs).toBeGreaterThan(0);
});

for (const state of ["failed", "dead", "cancelled"] as const)
  test(`tasks - the result of a ${state} task rejects with what is known of it`, async () => {
    const { daemon, client } = await connected();
    const error = { message: "no route", code: "ENET" };
    daemon.script["task.get"] = () => ({ ok: aTask("1-0", { state, error, reason: "because" }) });
    const failure = await client
      .task("1-0")
      .result()
      .catch((caught: unknown) => caught);
    expect(failure).toBeInstanceOf(TaskFailed);
    expect(failure).toMatchObject({ taskId: "1-0", state, error, reason: "because" });
  });

test("tasks - a time-out is for the whole wait, over a reconnect too", async () => {
  const { world, daemon, client } = await connected();
  const failure = client
    .task("1-0")
    .result({ timeoutMs: 90_000 })
    .catch((caught: unknown) => caught);
  await world.advance(30_000);
  daemon.line.break();
  await world.advance(1000);
  expect(daemon.line.ops("task.get").length).toBe(1);
  const timers = world.timerCount;
  await world.advance(58_000);
  expect(world.timerCount).toBe(timers);
  await world.advance(1000);
  expect(await failure).toMatchObject({ code: "timeout" });
});

test("tasks - a wait is ended by its signal", async () => {
  const { client } = await connected();
  const controller = new AbortController();
  const failure = client
    .task("1-0")
    .result({ signal: controller.signal })
    .catch((caught: unknown) => caught);
  await settle();
  controller.abort(new Error("enough"));
  expect(await failure).toEqual(new Error("enough"));
});

test("tasks - a handle gets, cancels, retries, moves and deletes its task", async () => {
  const { daemon, client } = await connected();
  for (const op of ["task.get", "task.cancel", "task.retry", "task.move", "task.delete"])
    daemon.script[op] = () => ({ ok: aTask("1-0", { state: "queued" }) });
  const handle = client.task("1-0");
  await handle.get();
  await handle.cancel("twice");
  await handle.retry();
  await handle.move({ priority: "low" });
  await handle.delete();
  expect(daemon.line.work.map(({ op, input }) => [op, input])).toEqual([
    ["task.get", { taskId: "1-0" }],
    ["task.cancel", { taskId: "1-0", reason: "twice" }],
    ["task.retry", { taskId: "1-0" }],
    ["task.move", { taskId: "1-0", priority: "low" }],
    ["task.delete", { taskId: "1-0" }],
  ]);
});
