/** What the REST client promises: values come back as they were sent, and refusals as what they are. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { ClientError, CortexError } from "../../client/index.ts";
import { RestClient } from "../../client/rest.ts";
import { problem } from "../../src/wire/errors.ts";
import { Refused, type World, world } from "../http/world.ts";

let server: World;
let rest: RestClient;
beforeAll(() => {
  server = world({ token: "secret" });
  rest = new RestClient({ url: server.url, token: "secret" });
});
beforeEach(() => {
  server.calls.length = 0;
  for (const operation of Object.keys(server.answer)) delete server.answer[operation as "task.get"];
});
afterAll(() => server[Symbol.asyncDispose]());

const refusal = (promise: Promise<unknown>) => promise.catch((error: unknown) => error);

test("rest - what looks like a date or a number stays what was sent", async () => {
  const payload = { day: "2026-01-01", moment: "2026-01-01T10:00:00.000Z", text: "123", flag: "true" };
  const { id } = await rest.submit({ type: "t", payload });
  expect((await rest.task(id)).payload).toEqual(payload);
});

test("rest - an array is submitted as one, and answered in its order", async () => {
  const tasks = await rest.submit([{ type: "a" }, { type: "b" }]);
  expect(tasks).toMatchObject([{ type: "a" }, { type: "b" }]);
  expect(server.calls.filter(({ operation }) => operation === "task.submit").length).toBe(1);
});

test("rest - a name with a slash reaches its worker", async () => {
  await rest.worker("a/b:c+d");
  await rest.drain("a/b", false);
  expect(server.calls.map(({ operation, input }) => [operation, input])).toEqual([
    ["worker.get", { workerId: "a/b:c+d" }],
    ["worker.drain", { workerId: "a/b", drain: false }],
  ]);
});

test("rest - a name that no path can have is refused, and nothing else is done or told in its place", async () => {
  for (const name of ["", ".", ".."])
    for (const ask of [
      () => rest.kv.get(name),
      () => rest.kv.put({ key: name, value: 1 }),
      () => rest.task(name),
      () => rest.worker(name),
      () => rest.dropNamespace(name),
    ]) {
      const error = await (async () => ask())().catch((thrown: unknown) => thrown);
      expect([error instanceof CortexError, error]).toMatchObject([true, { code: "invalid-input" }]);
    }
  expect(server.calls).toEqual([]);
  await rest.kv.get("...");
  expect(server.calls.map(({ input }) => input)).toEqual([{ key: "..." }]);
});

test("rest - a refusal is a CortexError with every field", async () => {
  server.answer["task.complete"] = () => {
    throw new Refused(problem("lease-lost", "too late", { retryAfterMs: 5 }));
  };
  const error = await refusal(rest.complete({ taskId: "1-0", workerId: "w", token: 1 }));
  expect(error).toBeInstanceOf(CortexError);
  expect(error).toMatchObject({ code: "lease-lost", status: 409, detail: "too late", retryAfterMs: 5 });
});

test("rest - a wrong token is refused as such, and a dead port is no refusal", async () => {
  const stranger = new RestClient({ url: server.url, token: "wrong" });
  expect(await refusal(stranger.queues())).toMatchObject({ code: "unauthorized", status: 401 });
  const port = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new globalThis.Response() });
  const url = `http://127.0.0.1:${port.port}`;
  await port.stop(true);
  const error = await refusal(new RestClient({ url }).queues());
  expect(error).toBeInstanceOf(ClientError);
  expect(error).toMatchObject({ code: "disconnected" });
});

test("rest - a wait and its signal reach the daemon", async () => {
  server.answer["task.get"] = () => new Promise(() => {});
  const controller = new AbortController();
  const waiting = refusal(rest.task("7-0", { waitMs: 20_000, signal: controller.signal }));
  while (server.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(server.calls[0]?.input).toEqual({ taskId: "7-0", waitMs: 20_000 });
  controller.abort();
  expect(await waiting).toMatchObject({ name: "AbortError" });
});

test("rest - an idempotency key names the repeated request", async () => {
  await rest.submit({ type: "t" }, { idempotencyKey: "k1" });
  const [submit] = server.calls;
  expect(submit?.caller.session).toContain("k1");
});

test("rest - a fence arrives with its change", async () => {
  await rest.kv.put({ key: "a", value: 1 }, { if: { lease: "1042-0", token: 1043 } });
  expect(server.calls[0]?.caller.fence).toEqual({ lease: "1042-0", token: 1043 });
});

test("rest - every operation that has a method arrives with its input", async () => {
  const held = { workerId: "w", token: 9 };
  await rest.cancel("1-0", "twice");
  await rest.retry("1-0");
  await rest.delete("1-0");
  await rest.move("1-0", { priority: "low" });
  await rest.cancelMany({ filter: { queue: "q" }, reason: "why" });
  await rest.retryMany({ taskIds: ["1-0"] });
  await rest.moveMany({ filter: {}, queue: "r", limit: 5 });
  await rest.completeMany({ workerId: "w", tasks: [{ taskId: "1-0", token: 9 }] });
  await rest.release("1-0", held);
  await rest.snooze("1-0", { ...held, forMs: 5000 });
  await rest.log("1-0", { ...held, lines: ["a"] });
  await rest.logs("1-0", { from: 2, limit: 3, waitMs: 4 });
  await rest.extend("1-0", { ...held, leaseMs: 5000 });
  await rest.progress("1-0", { ...held, progress: 1 });
  await rest.claim({ workerId: "w", count: 2 });
  await rest.fail({ taskId: "1-0", ...held, error: "no" });
  await rest.assign({ taskId: "1-0" });
  await rest.tasks({ queue: "q", limit: 5 });
  await rest.workers({ state: "idle" });
  await rest.register({ workerId: "w" });
  await rest.heartbeat({ workerId: "w" });
  await rest.unregister({ workerId: "w" });
  await rest.queues({ prefix: "q", limit: 5 });
  await rest.schedules.put({ name: "a/b", everyMs: 5000, task: { type: "t" } });
  await rest.schedules.get("a/b", { count: 2 });
  await rest.schedules.list({ state: "paused" });
  await rest.schedules.pause("a/b");
  await rest.schedules.resume("a/b");
  await rest.schedules.run("a/b");
  await rest.schedules.delete("a/b", { ifRevision: 7 });
  await rest.schedules.preview({ cron: "@daily" });
  await rest.kv.get("a/b?c");
  await rest.kv.getMany(["a", "b"]);
  await rest.kv.list({ prefix: "a/", keysOnly: true, limit: 5 });
  await rest.kv.put({ key: "100%", value: { at: "2026-01-01" }, ttlMs: 5000, ifRevision: 0 });
  await rest.kv.delete({ key: "a/b?c", ifRevision: 7 });
  await rest.kv.increment({ key: "n", by: 2 });
  await rest.locks.acquire({ resources: [{ name: "a/" }], ttlMs: 5000 });
  await rest.locks.get("1042-0", { waitMs: 5 });
  await rest.locks.extend(["1042-0"]);
  await rest.locks.release("1042-0");
  await rest.locks.steal({ lockId: "1042-0", reason: "why" });
  await rest.locks.list({ prefix: "a/", state: "held", limit: 5 });
  await rest.queue("q");
  await rest.groups("a/b", { limit: 5 });
  await rest.configure("q", { concurrency: 2, rate: null });
  await rest.pause("q", { group: "g", forMs: 5 });
  await rest.resume("q");
  await rest.topics.list({ limit: 5, cursor: "t.>" });
  await rest.limits({ prefix: "l", limit: 5 });
  await rest.limit("l");
  await rest.putLimit("l", { concurrency: 2 });
  await rest.deleteLimit("l");
  await rest.state();
  expect(server.calls.map(({ operation, input }) => [operation, input])).toEqual([
    ["task.cancel", { taskId: "1-0", reason: "twice" }],
    ["task.retry", { taskId: "1-0" }],
    ["task.deleteMany", { taskIds: ["1-0"], atomic: true }],
    ["task.move", { taskId: "1-0", priority: "low" }],
    ["task.cancelMany", { filter: { queue: "q" }, reason: "why" }],
    ["task.retryMany", { taskIds: ["1-0"] }],
    ["task.moveMany", { filter: {}, queue: "r", limit: 5 }],
    ["task.completeMany", { workerId: "w", tasks: [{ taskId: "1-0", token: 9 }] }],
    ["task.release", { taskId: "1-0", ...held }],
    ["task.snooze", { taskId: "1-0", ...held, forMs: 5000 }],
    ["task.log", { taskId: "1-0", ...held, lines: ["a"] }],
    ["task.logs", { taskId: "1-0", from: 2, limit: 3, waitMs: 4 }],
    ["task.extend", { taskId: "1-0", ...held, leaseMs: 5000 }],
    ["task.progress", { taskId: "1-0", ...held, progress: 1 }],
    ["task.claim", { workerId: "w", count: 2 }],
    ["task.fail", { taskId: "1-0", ...held, error: "no" }],
    ["task.assign", { taskId: "1-0" }],
    ["task.list", { queue: "q", limit: 5 }],
    ["worker.list", { state: "idle" }],
    ["worker.register", { workerId: "w" }],
    ["worker.heartbeat", { workerId: "w" }],
    ["worker.unregister", { workerId: "w" }],
    ["queue.list", { prefix: "q", limit: 5 }],
    ["schedule.put", { name: "a/b", everyMs: 5000, task: { type: "t" } }],
    ["schedule.get", { name: "a/b", count: 2 }],
    ["schedule.list", { state: "paused" }],
    ["schedule.pause", { name: "a/b" }],
    ["schedule.resume", { name: "a/b" }],
    ["schedule.run", { name: "a/b" }],
    ["schedule.delete", { name: "a/b", ifRevision: 7 }],
    ["schedule.preview", { cron: "@daily" }],
    ["kv.get", { key: "a/b?c" }],
    ["kv.getMany", { keys: ["a", "b"] }],
    ["kv.list", { prefix: "a/", keysOnly: true, limit: 5 }],
    ["kv.put", { key: "100%", value: { at: "2026-01-01" }, ttlMs: 5000, ifRevision: 0 }],
    ["kv.delete", { key: "a/b?c", ifRevision: 7 }],
    ["kv.increment", { key: "n", by: 2 }],
    ["lock.acquire", { resources: [{ name: "a/" }], ttlMs: 5000 }],
    ["lock.get", { lockId: "1042-0", waitMs: 5 }],
    ["lock.extend", { lockIds: ["1042-0"] }],
    ["lock.release", { lockId: "1042-0" }],
    ["lock.steal", { lockId: "1042-0", reason: "why" }],
    ["lock.list", { prefix: "a/", state: "held", limit: 5 }],
    ["queue.get", { queue: "q" }],
    ["queue.groups", { queue: "a/b", limit: 5 }],
    ["queue.configure", { queue: "q", concurrency: 2, rate: null }],
    ["queue.pause", { queue: "q", group: "g", forMs: 5 }],
    ["queue.resume", { queue: "q" }],
    ["topic.list", { limit: 5, cursor: "t.>" }],
    ["limit.list", { prefix: "l", limit: 5 }],
    ["limit.get", { name: "l" }],
    ["limit.put", { name: "l", concurrency: 2 }],
    ["limit.delete", { name: "l" }],
    ["state.get", {}],
  ]);
  expect((await rest.health()).status).toBe("ok");
  expect((await rest.ready()).ready).toBe(true);
  expect(await rest.metrics()).toHaveProperty("store");
  expect((await rest.stats({ historyMs: 60_000 }))[0]).toHaveProperty("answerMs");
});
