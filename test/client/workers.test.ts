/** What a worker is promised: its leases outlive connections, and it hears of every one it loses. */
import { expect, test } from "bun:test";
import { type AssignedTask, type Context, CoordinationClient, worker } from "../../client/index.ts";
import { assigned, FakeDaemon, settle, World } from "./world.ts";

async function aWorker(options: { capacity?: number } = {}) {
  const world = new World();
  const daemon = new FakeDaemon();
  const client = new CoordinationClient({ transport: daemon, environment: world, workerId: "w", ...options });
  const tasks: AssignedTask[] = [];
  const aborted: string[] = [];
  client.on("task_assigned", (task) => void tasks.push(task));
  client.on("task_aborted", ({ task, reason }) => aborted.push(`${task.id} ${reason}`));
  await client.connect();
  return { world, daemon, client, tasks, aborted };
}

const registration = (daemon: FakeDaemon) =>
  daemon.line.ops("worker.register").at(-1)?.input as {
    instanceId: string;
    holding: { taskId: string; token: number }[];
  };
const lost = (...ids: string[]) => ({
  ok: { worker: { id: "w" }, heartbeatMs: 1000, silenceMs: 3000, leases: [], lost: ids },
});

test("workers - connect resolves once the worker is registered, with what it offers", async () => {
  const world = new World();
  const daemon = new FakeDaemon();
  daemon.script["worker.register"] = () => "silent";
  const client = new CoordinationClient({
    transport: daemon,
    environment: world,
    workerId: "w",
    kind: "builder",
    queues: ["a"],
    capabilities: ["docker"],
    labels: { zone: "x" },
    capacity: 3,
  });
  let ready = false;
  void client.connect().then(() => {
    ready = true;
  });
  await settle();
  expect(ready).toBe(false);
  const [register] = daemon.line.ops("worker.register");
  expect(register?.input).toEqual({
    workerId: "w",
    kind: "builder",
    queues: ["a"],
    capabilities: ["docker"],
    labels: { zone: "x" },
    capacity: 3,
    instanceId: expect.stringMatching(/^[0-9a-f]{32}$/),
    holding: [],
  });
  daemon.line.say({ seq: register?.seq, ...lost() });
  await settle();
  expect(ready).toBe(true);
});

test("workers - credit is said when it changes, and again on a new connection while it is not the capacity", async () => {
  const { world, daemon, client } = await aWorker({ capacity: 3 });
  const said = () =>
    daemon.line.ops("worker.credit").map(({ input }) => (input as { credit: number }).credit);
  expect(said()).toEqual([]);
  client.credit(0);
  await settle();
  expect(said()).toEqual([0]);
  daemon.line.break();
  await world.advance(100);
  expect(said()).toEqual([0]);
  client.credit(3);
  await settle();
  expect(said()).toEqual([0, 3]);
});

test("workers - a lease that allows little silence is kept by speaking more often, and only while it is held", async () => {
  const { world, daemon, tasks } = await aWorker();
  const pings = () => daemon.line.ops("session.ping").length;
  daemon.line.say(assigned("1-0", 5, { leaseMs: 600 }));
  await settle();
  const before = pings();
  for (let i = 0; i < 10; i++) await world.advance(100);
  expect(pings() - before).toBeGreaterThanOrEqual(4);
  void tasks[0]!.complete(1);
  await settle();
  const after = pings();
  for (let i = 0; i < 10; i++) await world.advance(100);
  expect(pings() - after).toBeLessThanOrEqual(2);
});

test("workers - a task that comes in the frame of the registration is not missed", async () => {
  const world = new World();
  const daemon = new FakeDaemon();
  daemon.script["worker.register"] = ({ seq }, line) => {
    queueMicrotask(() => line.say({ seq, ...lost() }, assigned("1-0", 5)));
    return "silent";
  };
  const client = new CoordinationClient({ transport: daemon, environment: world, workerId: "w" });
  const ids: string[] = [];
  client.on("task_assigned", ({ id }) => ids.push(id));
  await client.connect();
  expect(ids).toEqual(["1-0"]);
});

test("workers - complete, fail, release and extend name worker and token", async () => {
  const { daemon, client, tasks } = await aWorker();
  daemon.script["task.extend"] = () => ({ ok: { workerId: "w", token: 8, deadlineAt: 99 } });
  daemon.line.say(assigned("1-0", 5), assigned("2-0", 6), assigned("3-0", 7), assigned("4-0", 8));
  await tasks[0]!.complete({ ok: true });
  await client.fail("2-0", "no", { final: true });
  await tasks[2]!.release();
  await client.extend("4-0", 9000);
  expect(daemon.line.work.map(({ op, input }) => [op, input])).toEqual([
    ["task.complete", { taskId: "1-0", workerId: "w", token: 5, result: { ok: true } }],
    ["task.fail", { taskId: "2-0", workerId: "w", token: 6, error: "no", final: true }],
    ["task.release", { taskId: "3-0", workerId: "w", token: 7 }],
    ["task.extend", { taskId: "4-0", workerId: "w", token: 8, leaseMs: 9000 }],
  ]);
  expect(client.held.map(({ id }) => id)).toEqual(["4-0"]);
  expect(client.held[0]?.lease.deadlineAt).toBe(99);
  await expect(client.complete("1-0")).rejects.toMatchObject({ code: "not-held" });
});

test("workers - a push that comes twice is one task", async () => {
  const { daemon, tasks } = await aWorker();
  daemon.line.say(assigned("1-0", 5), assigned("1-0", 5));
  expect(tasks.length).toBe(1);
});

test("workers - a task leased again under a newer token ends the older attempt", async () => {
  const { daemon, tasks, aborted } = await aWorker();
  daemon.line.say(assigned("1-0", 5));
  const { signal } = tasks[0]!;
  daemon.line.say(assigned("1-0", 9));
  expect(signal.aborted).toBe(true);
  expect(tasks[1]!.signal.aborted).toBe(false);
  expect(aborted).toEqual(["1-0 lease-lost"]);
});

test("workers - an abort reaches the signal with its reason, and an old token aborts nothing", async () => {
  const { daemon, tasks, aborted } = await aWorker();
  daemon.line.say(assigned("1-0", 5));
  const abort = (token: number) => ({
    event: "task.aborted",
    taskId: "1-0",
    workerId: "w",
    token,
    reason: "cancelled",
    detail: "ordered twice",
  });
  daemon.line.say(abort(4));
  expect(tasks[0]!.signal.aborted).toBe(false);
  daemon.line.say(abort(5));
  expect(tasks[0]!.signal.reason).toMatchObject({ reason: "cancelled", message: "ordered twice" });
  expect(aborted).toEqual(["1-0 cancelled"]);
});

test("workers - a reconnect registers the same instance with what it holds, before anything is repeated", async () => {
  const { world, daemon, tasks, aborted } = await aWorker();
  const { instanceId } = registration(daemon);
  daemon.line.say(assigned("1-0", 5), assigned("2-0", 6));
  daemon.script["task.complete"] = () => "silent";
  void tasks[1]!.complete();
  await settle();
  daemon.line.break();
  await world.advance(100);
  expect(registration(daemon)).toMatchObject({
    instanceId,
    holding: [
      { taskId: "1-0", token: 5 },
      { taskId: "2-0", token: 6 },
    ],
  });
  expect(daemon.line.received.map(({ op }) => op)).toEqual([
    "session.hello",
    "worker.register",
    "task.complete",
  ]);
  expect(tasks[0]!.signal.aborted).toBe(false);
  expect(aborted).toEqual([]);
});

test("workers - what the daemon lists as lost is aborted, and what it holds goes on", async () => {
  const { world, daemon, client, tasks, aborted } = await aWorker();
  daemon.line.say(assigned("1-0", 5), assigned("2-0", 6));
  daemon.script["worker.register"] = () => lost("1-0");
  daemon.line.break();
  await world.advance(100);
  expect(aborted).toEqual(["1-0 lease-lost"]);
  expect(tasks.map(({ signal }) => signal.aborted)).toEqual([true, false]);
  expect(client.held.map(({ id }) => id)).toEqual(["2-0"]);
});

test("workers - a lost lease that was given again in the same frame is not lost twice", async () => {
  const { world, daemon, client, aborted } = await aWorker();
  daemon.line.say(assigned("1-0", 5));
  daemon.script["worker.register"] = ({ seq }, line) => {
    queueMicrotask(() => line.say(assigned("1-0", 9), { seq, ...lost("1-0") }));
    return "silent";
  };
  daemon.line.break();
  await world.advance(100);
  expect(aborted).toEqual(["1-0 lease-lost"]);
  expect(client.held.map(({ lease }) => lease.token)).toEqual([9]);
});

test("workers - silence of the daemon alone ends no lease", async () => {
  const { world, daemon, tasks, aborted } = await aWorker();
  daemon.line.say(assigned("1-0", 5));
  daemon.down = true;
  daemon.line.break();
  await world.advance(3_600_000);
  expect(tasks[0]!.signal.aborted).toBe(false);
  expect(aborted).toEqual([]);
});

test("workers - a completion without its lease is told as an event, and the awaiting handler is no error", async () => {
  const { daemon, client, tasks, aborted } = await aWorker();
  const errors: unknown[] = [];
  client.on("error", (error) => errors.push(error));
  client.on("task_assigned", async (task) => {
    await task.complete();
  });
  daemon.script["task.complete"] = () => ({ error: "lease-lost" });
  daemon.line.say(assigned("1-0", 5));
  await settle();
  expect(aborted).toEqual(["1-0 lease-lost"]);
  expect(tasks[0]!.signal.aborted).toBe(true);
  expect(errors).toEqual([]);
});

test("workers - another error of a handler reaches the error listeners", async () => {
  const { daemon, client } = await aWorker();
  const errors: unknown[] = [];
  client.on("error", (error) => errors.push((error as Error).message));
  client.on("task_assigned", async () => {
    throw new Error("mine");
  });
  daemon.line.say(assigned("1-0", 5));
  await settle();
  expect(errors).toEqual(["mine"]);
});

test("workers - progress has one report on its way, and then only the newest", async () => {
  const { daemon, tasks } = await aWorker();
  daemon.script["task.progress"] = () => "silent";
  daemon.line.say(assigned("1-0", 5));
  for (const percent of [1, 2, 3]) tasks[0]!.progress(percent);
  await settle();
  const [first] = daemon.line.ops("task.progress");
  daemon.line.say({ seq: first?.seq, ok: {} });
  await settle();
  const values = daemon.line
    .ops("task.progress")
    .map(({ input }) => (input as { progress: number }).progress);
  expect(values).toEqual([1, 3]);
});

test("workers - an id in use rejects connect at once", async () => {
  const daemon = new FakeDaemon();
  daemon.script["worker.register"] = () => ({ error: "worker-id-in-use" });
  const client = new CoordinationClient({ transport: daemon, environment: new World(), workerId: "w" });
  await expect(client.connect()).rejects.toMatchObject({ code: "worker-id-in-use" });
  expect(client.state).toBe("closed");
});

test("workers - a daemon too busy to register is asked again", async () => {
  const world = new World();
  const daemon = new FakeDaemon();
  daemon.script["worker.register"] = () => ({ error: "busy", retryAfterMs: 400 });
  const client = new CoordinationClient({ transport: daemon, environment: world, workerId: "w" });
  const ready = client.connect();
  await world.advance(300);
  daemon.script = {};
  await world.advance(200);
  await ready;
  expect(daemon.lines.length).toBe(1);
});

// ------------------------------------------------------------------------------------------------ the short way

type Started = { id: string; context: Context; end: PromiseWithResolvers<unknown> };

async function running(options: { concurrency?: number; types?: string[]; signal?: AbortSignal } = {}) {
  const world = new World();
  const daemon = new FakeDaemon();
  const started: Started[] = [];
  const run = await worker(
    "q",
    (task, context) => {
      const end = Promise.withResolvers<unknown>();
      started.push({ id: task.id, context, end });
      return end.promise;
    },
    { transport: daemon, environment: world, workerId: "w", ...options },
  );
  return { world, daemon, started, run };
}

test("worker - a returned value completes the task, its concurrency is its capacity", async () => {
  const { daemon, started } = await running({ concurrency: 4 });
  expect(registration(daemon)).toMatchObject({ workerId: "w", queues: ["q"], capacity: 4 });
  daemon.line.say(assigned("1-0", 5), assigned("2-0", 6));
  expect(started.map(({ id }) => id)).toEqual(["1-0", "2-0"]);
  started[1]!.end.resolve({ n: 2 });
  await settle();
  expect(daemon.line.work).toMatchObject([
    { op: "task.complete", input: { taskId: "2-0", result: { n: 2 } } },
  ]);
});

test("worker - a thrown error fails the attempt, with what it says of itself", async () => {
  const { daemon, started } = await running({ concurrency: 3 });
  daemon.line.say(assigned("1-0", 5), assigned("2-0", 6), assigned("3-0", 7));
  started[0]!.end.reject(Object.assign(new Error("x".repeat(9000)), { code: "E1", final: true }));
  started[1]!.end.reject(Object.assign(new Error("later"), { retryInMs: 1500 }));
  started[2]!.end.reject("just words");
  await settle();
  const [first, second, third] = daemon.line.work.map(({ input }) => input as Record<string, unknown>);
  expect(first).toMatchObject({ taskId: "1-0", final: true, error: { code: "E1" } });
  const { message, stack } = first!.error as { message: string; stack: string };
  expect(message.length).toBe(4096);
  expect(stack.length).toBeLessThanOrEqual(16 * 1024);
  expect(second).toMatchObject({ taskId: "2-0", retryInMs: 1500, error: { message: "later" } });
  expect(second).not.toHaveProperty("final");
  expect(third).toMatchObject({ taskId: "3-0", error: { message: "just words" } });
});

test("worker - a refusal that passes is tried again until the end is recorded", async () => {
  const { world, daemon, started, run } = await running();
  daemon.line.say(assigned("1-0", 5));
  daemon.script["task.complete"] = () => ({ error: "disk-full", retryAfterMs: 2000 });
  started[0]!.end.resolve(1);
  await world.advance(1900);
  expect(daemon.line.ops("task.complete").length).toBe(1);
  daemon.script = {};
  await world.advance(200);
  expect(daemon.line.ops("task.complete").length).toBe(2);
  expect(run.runningCount).toBe(0);
});

test("worker - a result that the daemon will never take fails the task for good", async () => {
  const { daemon, started } = await running({ concurrency: 2 });
  daemon.script["task.complete"] = () => ({ error: "payload-too-large" });
  daemon.line.say(assigned("1-0", 5), assigned("2-0", 6));
  started[0]!.end.resolve("big");
  started[1]!.end.resolve(1n);
  await settle();
  expect(daemon.line.ops("task.fail").map(({ input }) => input)).toMatchObject([
    { taskId: "2-0", final: true },
    { taskId: "1-0", final: true },
  ]);
});

test("worker - a cancelled task aborts its handler, and what the handler then does is not reported", async () => {
  const { daemon, started, run } = await running();
  daemon.line.say(assigned("1-0", 5));
  const abort = {
    event: "task.aborted",
    taskId: "1-0",
    workerId: "w",
    token: 5,
    reason: "cancelled",
    detail: "",
  };
  daemon.line.say(abort);
  expect(started[0]!.context.signal.aborted).toBe(true);
  started[0]!.end.reject(started[0]!.context.signal.reason);
  await settle();
  expect(daemon.line.work).toEqual([]);
  expect(run.runningCount).toBe(0);
});

test("worker - a type it does not know fails the attempt and does not reach the handler", async () => {
  const { daemon, started } = await running({ types: ["known"] });
  daemon.line.say(assigned("1-0", 5, { type: "other" }));
  await settle();
  expect(started).toEqual([]);
  expect(daemon.line.work).toMatchObject([{ op: "task.fail", input: { error: { code: "unknown-type" } } }]);
  daemon.line.say(assigned("2-0", 6, { type: "known" }));
  expect(started.map(({ id }) => id)).toEqual(["2-0"]);
});

test("worker - stop takes nothing new, waits for what runs, leaves and closes", async () => {
  const { daemon, started, run } = await running({ concurrency: 2 });
  daemon.line.say(assigned("1-0", 5));
  let stopped = false;
  const stopping = run.stop().then(() => {
    stopped = true;
  });
  expect(run.stop()).toBeInstanceOf(Promise);
  await settle();
  expect(daemon.line.ops("worker.credit").at(-1)?.input).toEqual({ workerId: "w", credit: 0 });
  // One was on its way when the credit changed.
  daemon.line.say(assigned("2-0", 6));
  await settle();
  expect(started.length).toBe(1);
  expect(daemon.line.work).toMatchObject([{ op: "task.release", input: { taskId: "2-0" } }]);
  expect(stopped).toBe(false);
  started[0]!.end.resolve(null);
  await stopping;
  await run.done;
  expect(daemon.line.work.map(({ op }) => op)).toEqual([
    "task.release",
    "task.complete",
    "worker.unregister",
  ]);
  expect(daemon.line.closed).toBe(true);
});

test("worker - stop aborts and gives back what is still running when its time is up", async () => {
  const { world, daemon, started, run } = await running();
  daemon.line.say(assigned("1-0", 5));
  const stopping = run.stop({ graceMs: 3000 });
  await world.advance(2900);
  expect(started[0]!.context.signal.aborted).toBe(false);
  await world.advance(200);
  await stopping;
  expect(started[0]!.context.signal.aborted).toBe(true);
  expect(daemon.line.work.map(({ op }) => op)).toEqual(["task.release", "worker.unregister"]);
  expect(world.timerCount).toBe(0);
});

test("worker - stop ends although the daemon is out of reach", async () => {
  const { world, daemon, run } = await running();
  daemon.down = true;
  daemon.line.break();
  const stopping = run.stop();
  await world.advance(5000);
  await stopping;
  expect(world.timerCount).toBe(0);
});

test("worker - its signal stops it", async () => {
  const controller = new AbortController();
  const { daemon, run } = await running({ signal: controller.signal });
  controller.abort();
  await run.done;
  expect(daemon.line.ops("worker.unregister").length).toBe(1);
});

test("worker - done rejects when the daemon will have it no longer", async () => {
  const { world, daemon, run } = await running();
  const ended = run.done.catch((error: unknown) => error);
  daemon.script["session.hello"] = () => ({ error: "unauthorized" });
  daemon.line.break();
  await world.advance(1000);
  expect(await ended).toMatchObject({ code: "unauthorized" });
});
