/**
 * The client against the real engine and the real sockets on loopback, over a transport that can be made deaf and
 * cut, as a network does. What it proves is that both sides mean the same by the protocol.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  type ClientOptions,
  type Connection,
  CoordinationClient,
  type Greeter,
  type Handlers,
  TaskFailed,
  type Transaction,
  type Transport,
  type WatchEvent,
  webSocket,
  worker,
} from "../../client/index.ts";
import { systemClock } from "../../src/engine/clock.ts";
import { Engine } from "../../src/engine/engine.ts";
import { createGuard } from "../../src/lib/guard.ts";
import { MemoryLog } from "../../src/log/memory.ts";
import { quietTelemetry } from "../../src/telemetry/telemetry.ts";
import { createSockets, type Sockets } from "../../src/ws/socket.ts";

let engine: Engine;
let sockets: Sockets;
let url: string;
let port: ReturnType<Sockets["listen"]>;
const clients = new Set<CoordinationClient>();

beforeAll(async () => {
  engine = new Engine({
    log: new MemoryLog(1000),
    clock: systemClock,
    random: Math.random,
    telemetry: quietTelemetry(),
    onFailure: (error) => {
      throw error;
    },
    config: {
      preset: "test",
      version: "0.0.0",
      heartbeatMs: 200,
      pushAckMs: 10_000,
      stalledMs: 10_000,
      silenceMs: 2000,
      graceMs: 1000,
      ageingMs: 0,
      interruptionsMax: 5,
      retentionMs: 3_600_000,
      retentionCount: 1000,
      archives: true,
      queuedTasksMax: 100_000,
      memoryBytesMax: 2 ** 34,
      undurableBytesMax: 2 ** 26,
      messageIntervalMs: 0,
      watchHistoryBytesMax: 1_000_000,
    },
  });
  await engine.start();
  const guard = createGuard({ token: "secret", ports: () => [port.port as number], allowOrigins: [] });
  let ids = 0;
  sockets = createSockets(engine, guard, () => `made-${++ids}`);
  port = sockets.listen("127.0.0.1", 0);
  url = `ws://127.0.0.1:${port.port}`;
});
afterAll(async () => {
  for (const client of clients) client.close();
  sockets.close();
  await engine.stop();
  await port.stop(true);
});

class Wire implements Transport {
  deaf = false;
  #connection: Connection | null = null;
  #handlers: Handlers | null = null;

  connect(to: string, handlers: Handlers, greeter: Greeter): Connection {
    this.deaf = false;
    this.#handlers = handlers;
    this.#connection = webSocket.connect(
      to,
      {
        open: () => handlers.open(),
        message: (text) => this.deaf || handlers.message(text),
        close: (code, reason) => handlers.close(code, reason),
      },
      greeter,
    );
    return this.#connection;
  }

  cut() {
    this.#connection?.close();
    this.#handlers?.close(1006, "cut");
  }
}

const open = (options: ClientOptions = {}) => {
  const client = new CoordinationClient({ url, token: "secret", ...options });
  clients.add(client);
  return client;
};
const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};

test("daemon - a task is submitted, run by a worker, and its result comes back", async () => {
  const run = await worker<{ n: number }, number>("double", (task) => task.payload.n * 2, {
    url,
    token: "secret",
    concurrency: 4,
  });
  const client = open();
  const results = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      client.submit({ queue: "double", type: "t", payload: { n } }).result<number>(),
    ),
  );
  expect(results).toEqual(Array.from({ length: 50 }, (_, n) => 2 * n));
  await run.stop();
  expect((await client.workers()).workers.map(({ id }) => id)).not.toContain(run.workerId);
});

test("daemon - a wrong token rejects connect", async () => {
  await expect(open({ token: "wrong" }).connect()).rejects.toMatchObject({ code: "unauthorized" });
});

test("daemon - submits whose answers were lost are repeated, and each is one task", async () => {
  const wire = new Wire();
  const client = open({ transport: wire });
  await client.connect();
  const before = engine.counters.tasksSubmitted;
  wire.deaf = true;
  const answers = Array.from({ length: 20 }, () => client.submit({ queue: "once", type: "t" }));
  await until(() => engine.counters.tasksSubmitted === before + 20);
  wire.cut();
  const ids = (await Promise.all(answers)).map(({ id }) => id);
  expect(new Set(ids).size).toBe(20);
  expect(engine.counters.tasksSubmitted).toBe(before + 20);
  expect((await client.tasks({ queue: "once" })).tasks.length).toBe(20);
});

test("daemon - a read repeated behind acknowledged mutations is answered", async () => {
  const wire = new Wire();
  const client = open({ transport: wire });
  const { id } = await client.submit({ queue: "behind", type: "t" });
  const result = client.task(id).finished();
  for (let i = 0; i < 3; i++) await client.submit({ queue: "behind", type: "t" });
  wire.cut();
  for (let i = 0; i < 3; i++) await client.submit({ queue: "behind", type: "t" });
  await client.task(id).cancel("enough");
  expect(await result).toMatchObject({ state: "cancelled", reason: "enough" });
});

test("daemon - a worker keeps its lease over a reconnect, and completes under the same token", async () => {
  const wire = new Wire();
  const client = open({ transport: wire, workerId: "w-keeps", queues: ["keeps"] });
  const held = Promise.withResolvers<void>();
  client.on("task_assigned", () => held.resolve());
  await client.connect();
  const producer = open();
  const submitted = producer.submit({ queue: "keeps", type: "t" });
  await held.promise;
  const again = Promise.withResolvers<void>();
  client.on("connected", () => again.resolve());
  const { token } = client.held[0]!.lease;
  wire.cut();
  await again.promise;
  expect(client.held[0]?.lease.token).toBe(token);
  await client.complete((await submitted).id, "same");
  expect(await submitted.result<string>()).toBe("same");
  expect((await producer.task((await submitted).id).get()).interruptions).toBe(0);
});

test("daemon - a lease that the worker does not name goes back, and one that ended is lost", async () => {
  const wire = new Wire();
  const client = open({ transport: wire, workerId: "w-loses", queues: ["loses"], capacity: 1 });
  const aborted = Promise.withResolvers<string>();
  const first = Promise.withResolvers<AbortSignal>();
  client.on("task_assigned", (task) => first.resolve(task.signal));
  client.on("task_aborted", ({ reason }) => aborted.resolve(reason));
  await client.connect();
  const producer = open();
  const { id } = await producer.submit({ queue: "loses", type: "t" });
  const signal = await first.promise;
  wire.deaf = true;
  await producer.task(id).cancel();
  wire.cut();
  expect(await aborted.promise).toBe("lease-lost");
  expect(signal.aborted).toBe(true);
  expect(client.held).toEqual([]);
});

test("daemon - cancelling aborts the running handler with the reason", async () => {
  const reason = Promise.withResolvers<unknown>();
  const started = Promise.withResolvers<void>();
  const run = await worker(
    "cancels",
    (_task, { signal }) =>
      new Promise((_, reject) => {
        started.resolve();
        signal.addEventListener("abort", () => {
          reason.resolve(signal.reason);
          reject(signal.reason);
        });
      }),
    { url, token: "secret" },
  );
  const client = open();
  const submitted = client.submit({ queue: "cancels", type: "t" });
  await started.promise;
  await client.task((await submitted).id).cancel("ordered twice");
  expect(await reason.promise).toMatchObject({ reason: "cancelled" });
  const failure = await submitted.result().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(TaskFailed);
  expect(failure).toMatchObject({ state: "cancelled", reason: "ordered twice" });
  await run.stop();
});

test("daemon - a final error is not tried again, another one is", async () => {
  let tries = 0;
  const run = await worker(
    "fails",
    (task) => {
      if (task.type === "final") throw Object.assign(new Error("never"), { final: true, code: "E_NEVER" });
      if (++tries < 3) throw Object.assign(new Error("later"), { retryInMs: 1 });
      return tries;
    },
    { url, token: "secret" },
  );
  const client = open();
  const failure = await client
    .submit({ queue: "fails", type: "final" })
    .result()
    .catch((error: unknown) => error);
  expect(failure).toMatchObject({ state: "failed", error: { message: "never", code: "E_NEVER" } });
  expect(await client.submit({ queue: "fails", type: "twice" }).result<number>()).toBe(3);
  await run.stop();
});

test("daemon - stop gives back what is running, uncharged, and another worker takes it", async () => {
  const started = Promise.withResolvers<void>();
  const options = { url, token: "secret" };
  const first = await worker(
    "stops",
    (_task, { signal }) =>
      new Promise((_, reject) => {
        started.resolve();
        signal.addEventListener("abort", () => reject(signal.reason));
      }),
    options,
  );
  const client = open();
  const submitted = client.submit({ queue: "stops", type: "t", attempts: 1 });
  await started.promise;
  await first.stop({ graceMs: 0 });
  const second = await worker("stops", () => "second", options);
  expect(await submitted.result<string>()).toBe("second");
  expect((await client.task((await submitted).id).get()).attempt).toBe(1);
  await second.stop();
});

test("daemon - a watch tells a task's whole life, and what was missed after a cut", async () => {
  const wire = new Wire();
  const watcher = open({ transport: wire });
  const events = watcher.watch({ queue: "watched", tables: ["tasks"] });
  // The watch has begun once its connection answers what was asked after it.
  await watcher.connect();
  await watcher.getState();
  const client = open();
  const run = await worker("watched", () => null, { url, token: "secret" });
  await client.submit({ queue: "watched", type: "t" }).result();
  const states: unknown[] = [];
  while (states.at(-1) !== "completed") {
    const { value } = (await events.next()) as { value: WatchEvent };
    states.push(value.event === "gap" ? "gap" : value.state);
  }
  expect(states).toEqual(["queued", "running", "completed"]);
  await run.stop();
  wire.cut();
  const missed = await client.submit([
    { queue: "watched", type: "t" },
    { queue: "watched", type: "t" },
  ]);
  for (const { id } of missed)
    expect(((await events.next()) as { value: WatchEvent }).value).toMatchObject({ id, state: "queued" });
  const { id } = await client.submit({ queue: "watched", type: "t" });
  expect(((await events.next()) as { value: WatchEvent }).value).toMatchObject({ id });
});

test("daemon - an idle connection stays, because pings are answered", async () => {
  const client = open();
  const told: string[] = [];
  client.on("disconnected", ({ detail }) => told.push(detail));
  await client.connect();
  const { framesIn } = engine.counters;
  await until(() => engine.counters.framesIn >= framesIn + 8);
  expect(told).toEqual([]);
});

test("daemon - a second instance under a live id is refused", async () => {
  const client = open({ workerId: "w-twice" });
  await client.connect();
  await expect(open({ workerId: "w-twice" }).connect()).rejects.toMatchObject({ code: "worker-id-in-use" });
});

test("daemon - queues, named limits and topics that keep are read page by page, as many as there are", async () => {
  const client = open();
  const names = Array.from({ length: 101 }, (_, i) => `paged-${String(i).padStart(3, "0")}`);
  await Promise.all(names.map((name) => client.putLimit(name, { concurrency: 1 })));
  await Promise.all(names.map((name) => client.configure(name, { weight: 2 })));
  for (const all of [client.allLimits("paged-"), client.allQueues("paged-")])
    expect((await Array.fromAsync(all as AsyncGenerator<{ name: string }>)).map(({ name }) => name)).toEqual(
      names,
    );
  expect(await client.limits({ prefix: "paged-", limit: 2, cursor: "paged-098" })).toMatchObject({
    ...{ limits: [{ name: "paged-099" }, { name: "paged-100" }], cursor: null },
  });
  await Promise.all(names.map((name) => client.deleteLimit(name)));
  await Promise.all(names.map((name) => client.configure(name, { weight: null })));
  await Promise.all(names.map((name) => client.topics.keep(name, { keepCount: 1 })));
  expect((await Array.fromAsync(client.topics.allKept())).map(({ topic }) => topic)).toEqual(names);
  expect(await client.topics.kept({ cursor: "paged-099" })).toMatchObject({
    ...{ topics: [{ topic: "paged-100" }], cursor: null },
  });
  await Promise.all(names.map((name) => client.topics.forget(name)));
});

test("daemon - limits and pauses are set by a program, hold for its worker, and are seen live", async () => {
  const client = open({ workerId: "w-flow", queues: ["flow"], capacity: 5 });
  await client.connect();
  const events = client.watch({ tables: ["queues", "limits", "pauses"] });
  const { settings } = await client.configure("flow", { groupConcurrency: 1, groupWeights: { acme: 2 } });
  expect(settings).toMatchObject({ groupConcurrency: 1, groupWeights: { acme: 2 } });
  await client.putLimit("api", { concurrency: 0 });
  await client.pause("flow", { group: "beta", forMs: 600_000 });
  const task = { queue: "flow", type: "t" };
  await client.submit([
    { ...task, group: "acme" },
    { ...task, group: "acme" },
    { ...task, group: "beta" },
    { ...task, limits: ["api"] },
  ]);
  await until(() => client.held.length === 1);
  expect(client.held[0]?.task.group).toBe("acme");
  const shown = (await client.groups("flow")).groups.map(({ name, queued, shut }) => [name, queued, shut]);
  expect(shown).toEqual([
    ["", 1, null],
    ["acme", 1, "concurrency"],
    ["beta", 1, "paused"],
  ]);
  expect((await client.limits()).limits.map(({ name, shut }) => [name, shut])).toEqual([
    ["api", "concurrency"],
  ]);
  await client.deleteLimit("api");
  await client.resume("flow", "beta");
  await until(() => client.held.length === 3);
  expect((await client.queue("flow")).counts).toMatchObject({ running: 3, queued: 1 });
  const told: string[] = [];
  for await (const event of events) {
    if (event.event === "change") told.push(`${event.table} ${event.id} ${event.state}`);
    if (told.length === 5) break;
  }
  expect(told).toEqual([
    "queues flow set",
    "limits api set",
    "pauses flow beta paused",
    "limits api null",
    "pauses flow beta null",
  ]);
});

test("daemon - a schedule is put, previewed, run and deleted by a program, which sees it live", async () => {
  const client = open();
  await client.connect();
  const { schedules } = client;
  const events = client.watch({ tables: ["schedules"] });
  const schedule = { name: "nightly", cron: "@daily", task: { type: "report", queue: "reports" } };
  const put = await schedules.put(schedule);
  expect(await schedules.put(schedule)).toEqual(put);
  expect((await schedules.get("nightly", { count: 3 })).nextRuns).toEqual(
    (await schedules.preview({ cron: "@daily", count: 3 })).nextRuns,
  );
  const { taskId } = await schedules.run("nightly");
  expect((await client.task(taskId).get()).queue).toBe("reports");
  expect((await schedules.pause("nightly")).state).toBe("paused");
  expect((await schedules.list({ state: "paused" })).schedules.map(({ name }) => name)).toEqual(["nightly"]);
  expect((await schedules.resume("nightly")).state).toBe("active");
  await schedules.delete("nightly", { ifRevision: put.putRevision });
  const states: unknown[] = [];
  for await (const event of events) {
    if (event.event === "change") states.push(event.state);
    if (states.length === 5) break;
  }
  expect(states).toEqual(["active", "active", "paused", "active", null]);
});

test("daemon - keys are put, compared, counted, listed and watched by a program", async () => {
  const client = open();
  await client.connect();
  const { kv } = client;
  const events = kv.watch({ prefix: "cfg/" });
  const one = kv.watch("cfg/b");
  expect(await kv.get("cfg/a")).toBeNull();
  const { revision } = await kv.put("cfg/a", { n: 1 }, { ifRevision: 0 });
  await expect(kv.put("cfg/a", 2, { ifRevision: 0 })).rejects.toMatchObject({
    code: "revision-mismatch",
    revision,
  });
  expect(await kv.get<{ n: number }>("cfg/a")).toMatchObject({ value: { n: 1 }, revision, version: 1 });
  await kv.put("cfg", "beside the prefix");
  expect((await kv.increment("cfg/b", 5)).value).toBe(5);
  expect((await kv.getMany(["cfg/b", "none"])).map((found) => found?.value)).toEqual([5, undefined]);
  const all: string[] = [];
  for await (const { key } of kv.all("cfg/")) all.push(key);
  expect(all).toEqual(["cfg/a", "cfg/b"]);
  expect((await kv.list({ prefix: "cfg", limit: 1 })).keys.map(({ key }) => key)).toEqual(["cfg"]);
  expect(await kv.delete("cfg/a", { ifRevision: revision })).toBe(true);
  expect(await kv.delete("cfg/a")).toBe(false);
  await kv.put("cfg/b", null);
  const seen: unknown[] = [];
  for await (const event of events) {
    if (event.event === "change") seen.push([event.id, event.before, event.state, event.value]);
    if (seen.length === 4) break;
  }
  expect(seen).toEqual([
    ["cfg/a", null, "present", { n: 1 }],
    ["cfg/b", null, "present", 5],
    ["cfg/a", "present", null, undefined],
    ["cfg/b", "present", "present", null],
  ]);
  const first = (await one.next()).value as WatchEvent;
  expect(first).toMatchObject({ table: "keys", id: "cfg/b", operation: "kv.increment", who: client.session });
  await one.return?.();
});

test("daemon - a transaction is written with the client's own words, and answers each of them", async () => {
  const client = open();
  await client.connect();
  const { revision } = await client.kv.put("tx/a", 1);
  const done = await client.transaction((tx) => {
    tx.if.key("tx/a").at(revision);
    tx.if.key("tx/a").is(1);
    tx.if.key("tx/b").absent();
    const task = tx.submit({ queue: "tx", type: "t" });
    return {
      put: tx.kv.put("tx/a", { n: 2 }),
      seen: tx.kv.get<{ n: number }>("tx/a"),
      none: tx.kv.get("tx/none"),
      ...{ task, many: tx.submit([{ queue: "tx", type: "t" }]), word: "as it is" },
      counted: tx.call("kv.increment", { key: "tx/n", by: 3 }),
    };
  });
  expect(done).toMatchObject({
    put: { key: "tx/a", version: 2 },
    seen: { value: { n: 2 }, revision: done.put.revision },
    ...{ none: null, task: { state: "queued" }, many: [{ state: "queued" }], word: "as it is" },
    counted: { value: 3, revision: done.put.revision },
  });
  expect(done.task.id).toBe(`${done.put.revision}-0`);
  const both = await client.transaction((tx) => [
    tx.task(done.task.id).cancel("not needed"),
    tx.kv.delete("tx/n"),
  ]);
  expect(both).toMatchObject([{ state: "cancelled" }, true]);
});

test("daemon - what a transaction is told is what it was when it was told, and no JSON sends nothing", async () => {
  const client = open();
  const row = { n: 1 };
  await client.transaction((tx) => {
    tx.kv.put("tx/row/1", row);
    row.n = 2;
    tx.kv.put("tx/row/2", row);
  });
  await client.transaction((tx) => {
    tx.if.key("tx/row/2").is(row);
    row.n = 3;
    tx.kv.put("tx/row/3", row);
  });
  const { keys } = await client.kv.list({ prefix: "tx/row/" });
  expect(keys.map(({ value }) => value)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  const circle: { of?: unknown } = {};
  circle.of = circle;
  for (const wrong of [circle, 1n])
    await expect(
      client.transaction((tx) => ({ a: tx.kv.put("tx/row/4", 1), b: tx.kv.put("tx/row/5", wrong) })),
    ).rejects.toThrow("JSON");
  expect(await client.kv.get("tx/row/4")).toBeNull();
});

test("daemon - a message is acknowledged with what it asked for, published messages included, or none of it is done", async () => {
  const [client, other] = [open(), open()];
  await client.subscriptions.put({ name: "tx-out", topic: "tx.out" });
  const incoming = client.topics.subscribe("tx.in", { name: "tx-in" });
  const next = incoming.next();
  await client.subscriptions.get("tx-in");
  await client.topics.publish("tx.in", { order: 7 });
  const { value: message } = await next;
  const pay = (by: typeof client) =>
    by.transaction((tx) => ({
      paid: tx.kv.put("tx/paid", message.payload),
      told: tx.topics.publish("tx.out", { paid: 7 }, { priority: "high" }),
      all: tx.messages.broadcast("paid"),
      done: tx.ack(message),
    }));
  const done = await pay(client);
  expect(done).toMatchObject({
    ...{ paid: { version: 1 }, told: { subscriptions: 1 }, all: { subscriptions: 0 } },
    told: { messageId: expect.stringContaining(`${done.paid.revision}-`) },
  });
  await expect(pay(other)).rejects.toMatchObject({ code: "unknown-message" });
  expect((await client.kv.get("tx/paid"))?.version).toBe(1);
  expect(await client.subscriptions.get("tx-out")).toMatchObject({ pending: 1 });
  await incoming.return?.();
  // Others wait until no message is left.
  for (const name of ["tx-in", "tx-out"]) await client.subscriptions.delete(name);
});

test("daemon - a transaction whose conditions do not hold does what is to be done then, or says which", async () => {
  const client = open();
  await client.connect();
  const { revision } = await client.kv.put("tx/taken", "by me");
  const take = await client.transaction(
    (tx) => {
      tx.if.key("tx/taken").absent();
      return { taken: true, key: tx.kv.put("tx/taken", "by you") };
    },
    (tx) => ({ taken: false, by: tx.kv.get<string>("tx/taken") }),
  );
  expect(take.taken ? take.key : take.by?.value).toBe("by me");
  const work = client.transaction((tx) => {
    tx.if.key("tx/taken").exists();
    tx.if.key("tx/taken").at(revision + 1000);
    tx.if.task("9-9").is("queued", "running");
    tx.if.subscription("tx-none").exists();
    tx.if.message("9-9").waitsFor("tx-none");
    tx.if.subscription("tx-none").at(0);
    tx.if.message("9-9").absent();
    tx.kv.put("tx/more", 1);
  });
  await expect(work).rejects.toMatchObject({
    name: "ConditionsFailed",
    unmet: [
      { key: "tx/taken", revision: revision + 1000 },
      { taskId: "9-9", state: ["queued", "running"] },
      { subscription: "tx-none", exists: true },
      { messageId: "9-9", subscription: "tx-none" },
    ],
  });
  // Others may have changed something meanwhile.
  expect((await work.catch((error) => error)).revision).toBeGreaterThanOrEqual(revision);
  const refused = client.transaction((tx) => ({ a: tx.kv.put("tx/more", 1), b: tx.task("9-9").cancel() }));
  await expect(refused).rejects.toMatchObject({ code: "unknown-task", errors: [{ pointer: "/then/1" }] });
  expect(await client.kv.get("tx/more")).toBeNull();
});

test("daemon - a transaction's function that waits, or asks for what cannot be part of one, sends nothing", async () => {
  const client = open();
  await client.connect();
  const wrong: [(tx: Transaction) => unknown, string][] = [
    [async (tx) => void (await tx.kv.put("tx/never", 1)), "not async"],
    [(tx) => tx.kv.put("tx/never", 1), "not async"],
    [(tx) => void tx.call("task.claim", { workerId: "w" }), "task.claim cannot be part"],
    // A fence that is not heeded would be worse than none.
    [(tx) => void tx.kv.put("tx/never", 1, { if: { lock: "tx", token: 1 } }), "takes no if"],
    [(tx) => void tx.kv.delete("tx/never", { if: { lock: "tx", token: 1 } }), "takes no if"],
    [(tx) => void tx.task("1-0").delete({ timeoutMs: 5 }), "takes no timeoutMs"],
    [(tx) => void tx.call("kv.putt" as never, {} as never), "kv.putt is not an operation"],
    [
      (tx) => {
        tx.kv.put("tx/never", 1);
        throw new Error("mine");
      },
      "mine",
    ],
  ];
  for (const [work, message] of wrong)
    await expect(client.transaction(work as never)).rejects.toThrow(message);
  let late: Transaction | undefined;
  await client.transaction((tx) => {
    late = tx;
  });
  expect(() => late?.call("kv.put", { key: "tx/never", value: 1 })).toThrow("after the transaction was sent");
  expect(await client.kv.get("tx/never")).toBeNull();
});

test("daemon - an operation that neither side knows is refused by its name, also under a fence", async () => {
  const client = open();
  const lock = await client.locks.acquire("unknown/operations");
  // One after the other: what rejects before anybody waits for it is nobody's.
  for (const call of [
    () => client.call("kv.putt" as never, {} as never),
    () => lock.client.call("kv.putt" as never, {} as never),
  ])
    await expect(call()).rejects.toMatchObject({
      code: "unknown-operation",
      detail: expect.stringContaining("kv.putt"),
    });
  await lock.release();
});

test("daemon - a handler ends its task and does what belongs to it in one transaction", async () => {
  const producer = open();
  await producer.connect();
  const running = await worker(
    "ends",
    async (task, { client, lease }) => {
      await client.transaction((tx) => {
        tx.complete(task.id, lease, "by the transaction");
        tx.kv.put("tx/done", task.id);
        tx.submit({ queue: "tx", type: "next" });
      });
      return "by the handler";
    },
    { url, token: "secret" },
  );
  const submitted = producer.submit({ queue: "ends", type: "t" });
  expect(await submitted.result<string>()).toBe("by the transaction");
  expect((await producer.kv.get("tx/done"))?.value).toBe((await submitted).id);
  await running.stop();
});

test("daemon - what a handler does through its client happens only while its lease stands", async () => {
  const producer = open();
  await producer.connect();
  const codes: unknown[] = [];
  const seen = Promise.withResolvers<void>();
  const running = await worker(
    "fenced",
    async (task, { client }) => {
      await client.kv.put("fenced/a", 1);
      codes.push((await client.kv.get("fenced/a"))?.value);
      const child = await client.submit({ queue: "unfenced", type: "child" });
      codes.push((await client.task(child.id).get()).state);
      await producer.task(task.id).cancel();
      for (const change of [
        () => client.kv.put("fenced/a", 2),
        () => client.kv.increment("fenced/n"),
        () => client.kv.delete("fenced/a"),
        () => client.submit({ queue: "unfenced", type: "late" }),
        () => client.submit([{ queue: "unfenced", type: "late" }]),
        () => client.task(child.id).cancel(),
        () => client.schedules.delete("none"),
      ])
        codes.push(
          await Promise.resolve(change()).then(
            () => "done",
            (error) => error.code,
          ),
        );
      codes.push((await client.kv.get("fenced/a"))?.value);
      seen.resolve();
    },
    { url, token: "secret" },
  );
  await producer.submit({ queue: "fenced", type: "t" });
  await seen.promise;
  expect(codes).toEqual([1, "queued", ...Array(7).fill("fence-lost"), 1]);
  expect((await producer.tasks({ queue: "unfenced" })).tasks.map(({ type }) => type)).toEqual(["child"]);
  await running.stop();
});

test("daemon - messages are heard by who subscribes, also after the connection was lost, which is told", async () => {
  const wire = new Wire();
  const listener = open({ transport: wire });
  const publisher = open();
  await listener.connect();
  const losses: unknown[] = [];
  const heard: unknown[] = [];
  const reading = (async () => {
    for await (const message of listener.topics.subscribe<number>("news.*", {
      onLost: (lost) => losses.push(lost),
    })) {
      heard.push([message.topic, message.payload, message.publisher]);
      if (message.payload === 2) break;
    }
  })();
  const emit = async (n: number) => {
    while ((await publisher.topics.emit("news.eu", n)) === 0);
  };
  await emit(1);
  await until(() => heard.length === 1);
  wire.cut();
  await until(() => losses.length === 1 && listener.state === "connected");
  await emit(2);
  await reading;
  expect(heard).toEqual([1, 2].map((n) => ["news.eu", n, publisher.session]));
  expect(losses).toEqual([{ count: null }]);
  while ((await publisher.topics.emit("news.eu", 3)) > 0);
});

test("daemon - a handler's result is the reply, what it throws is told to who asked, and time runs out", async () => {
  const asked = open();
  await asked.connect();
  const errors: unknown[] = [];
  asked.on("error", (error) => errors.push(error));
  const end = asked.topics.handle<number>("double.*", async ({ payload }) => {
    if (payload < 0) throw new Error("too small".padEnd(-payload, "!"));
    if (payload === 0) await new Promise(() => {});
    return 2 * payload;
  });
  const asker = open();
  const ready = async () =>
    asker.topics.request("double.up", 1).then(
      () => true,
      () => false,
    );
  while (!(await ready()));
  expect(await asker.topics.request<number>("double.up", 21)).toBe(42);
  await expect(asker.topics.request("double.up", -1)).rejects.toMatchObject({
    code: "request-failed",
    message: "too small",
  });
  // As much of it as an error may have.
  await expect(asker.topics.request("double.up", -5000)).rejects.toMatchObject({
    code: "request-failed",
    message: "too small".padEnd(4096, "!"),
  });
  // A bad question ends nobody who answers.
  expect(errors).toEqual([]);
  await expect(asker.topics.request("double.up", 0, { timeoutMs: 20 })).rejects.toMatchObject({
    code: "no-reply",
  });
  end();
  await asked.getState();
  await expect(asker.topics.request("double.up", 1)).rejects.toMatchObject({ code: "no-subscribers" });
});

test("daemon - a message whose answer was lost is not sent again", async () => {
  const wire = new Wire();
  const publisher = open({ transport: wire });
  await publisher.connect();
  const before = engine.counters.messagesEmitted;
  wire.deaf = true;
  const lost = publisher.topics.emit("once", 1);
  const failed = expect(lost).rejects.toMatchObject({ code: "outcome-unknown" });
  await until(() => engine.counters.messagesEmitted === before + 1);
  wire.cut();
  await failed;
  await publisher.getState();
  expect(engine.counters.messagesEmitted).toBe(before + 1);
});

test("daemon - a subscription that lasts brings what came before, between and after its connections, each once done", async () => {
  const wire = new Wire();
  const listener = open({ transport: wire });
  const publisher = open();
  await publisher.subscriptions.put({ name: "orders", topic: "orders.>" });
  for (let n = 0; n < 5; n++) await publisher.topics.publish("orders.eu", n, { id: `order-${n}` });
  // Of what is delivered at most once nothing is remembered, and so no id.
  const how = { guarantee: "at-most-once", id: "order-5" } as const;
  await expect(publisher.topics.publish("orders.eu", 5, how)).rejects.toMatchObject({
    code: "invalid-input",
  });
  expect((await publisher.topics.publish("orders.eu", 0, { id: "order-0" })).duplicate).toBe(true);
  const got: number[] = [];
  for await (const message of listener.topics.subscribe<number>("orders.>", { name: "orders", window: 3 })) {
    got.push(message.payload);
    if (message.payload === 2) {
      wire.cut();
      await publisher.topics.publish("orders.us", 5);
    }
    if (message.payload === 5) {
      await message.ack();
      break;
    }
  }
  expect(got).toEqual([0, 1, 2, 3, 4, 5]);
  const left = await publisher.subscriptions.get("orders");
  expect(left).toMatchObject({ pending: 0, topic: "orders.>" });
  await until(() => engine.core.messages.size === 0);
});

test("daemon - a handler's messages are done when it returns and come again when it throws, one of those who share", async () => {
  const [one, other, publisher] = [open(), open(), open()];
  const got: string[] = [];
  const put = {
    name: "jobs",
    backoff: { strategy: "fixed", delayMs: 1, jitter: 0 },
    deliveriesMax: 3,
  } as const;
  for (const [name, client] of [
    ["one", one],
    ["other", other],
  ] as const)
    client.topics.handle<number>(
      "jobs",
      ({ payload, delivery }) => {
        got.push(`${payload}/${delivery}`);
        if (payload === 7 || (payload === 3 && delivery === 1)) throw new Error(`not ${name}`);
      },
      put,
    );
  await until(() => (engine.core.inboxes.get("jobs")?.consumers.size ?? 0) === 2);
  await Promise.all(Array.from({ length: 8 }, (_, n) => publisher.topics.publish("jobs", n)));
  await until(() => engine.core.inboxes.get("jobs")?.deadCount === 1 && engine.core.messages.size === 1);
  expect(got.sort()).toEqual(["0/1", "1/1", "2/1", "3/1", "3/2", "4/1", "5/1", "6/1", "7/1", "7/2", "7/3"]);
  expect([...engine.core.deliveries.values()].at(-1)?.reason).toStartWith("not o");
  one.close();
  other.close();
  expect(await publisher.subscriptions.delete("jobs")).toEqual({ name: "jobs", droppedCount: 0 });
  await until(() => engine.core.messages.size === 0);
});

test("daemon - what takes longer than its time is said to be worked on, and nobody else gets it", async () => {
  const [slow, publisher] = [open(), open()];
  let begun = 0;
  let finish = () => {};
  slow.topics.handle(
    "slow",
    () => {
      begun++;
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    },
    { name: "slow", ackWaitMs: 500 },
  );
  await until(() => (engine.core.inboxes.get("slow")?.consumers.size ?? 0) === 1);
  await publisher.topics.publish("slow", 1);
  const from = performance.now();
  await until(() => performance.now() - from > 1200);
  expect([begun, engine.core.inboxes.get("slow")?.flights.size]).toEqual([1, 1]);
  finish();
  await until(() => engine.core.messages.size === 0);
  slow.close();
  // Whoever closes gives back what it has, at once.
  await until(() => engine.core.inboxes.get("slow")?.consumers.size === 0);
  await publisher.subscriptions.delete("slow");
});

test("daemon - a worker's inbox keeps what is sent while it is away, and a subscription that ends says so", async () => {
  const publisher = open();
  await publisher.messages.send("w-inbox", "kept");
  const owner = open({ workerId: "w-inbox" });
  const got: unknown[] = [];
  const reading = (async () => {
    for await (const { payload, delivery } of owner.messages.receive()) got.push([payload, delivery]);
  })();
  await until(() => got.length === 1);
  await publisher.messages.broadcast("all");
  await until(() => got.length === 2);
  expect(got).toEqual([
    ["kept", 1],
    ["all", 1],
  ]);
  await publisher.subscriptions.delete("$worker.w-inbox");
  await expect(reading).rejects.toMatchObject({ code: "unknown-subscription" });
  expect(() => publisher.messages.receive()).toThrow("no worker");
});
