/** Watches: who sees which change, and what an event says. */
import { describe, expect, test } from "bun:test";
import type { WatchStart } from "../../src/wire/state.ts";
import { EngineWorld, settle, TestSink } from "./world.ts";

/** Two tasks in two queues live through a worker's hands, under the eyes of one watch. */
async function seen(filter: (ids: { mail: string; other: string }) => Omit<WatchStart, "watchId">) {
  const world = await EngineWorld.start();
  const sink = new TestSink();
  const mail = await world.submit({ queue: "mail" });
  const other = await world.submit({ queue: "other" });
  world.engine.watch(sink, { watchId: "x", ...filter({ mail, other }) });
  await world.ok("worker.register", { workerId: "w1", capacity: 5, queues: ["mail"] });
  await world.ok("worker.register", { workerId: "w2", capacity: 5 });
  for (const [workerId, id] of [
    ["w1", mail],
    ["w2", other],
  ] as const) {
    const { assignments } = await world.ok("task.claim", { workerId });
    await world.ok("task.complete", { taskId: id, workerId, token: assignments[0]!.lease.token });
  }
  await world.ok("worker.unregister", { workerId: "w1" });
  const name = (id: string) => (id === mail ? "mail" : id === other ? "other" : id);
  return sink.changes.map(({ event }) => `${name(event.id)} ${event.before} ${event.state}`);
}
const tasks = {
  mail: ["mail queued running", "mail running completed"],
  other: ["other queued running", "other running completed"],
};

test("engine - watches of a queue see what is set for it and its pauses, those of everything named limits too", async () => {
  const world = await EngineWorld.start();
  const [queue, all, tables] = [new TestSink(), new TestSink(), new TestSink()];
  world.engine.watch(queue, { watchId: "queue", queue: "mail" });
  world.engine.watch(all, { watchId: "all" });
  world.engine.watch(tables, { watchId: "tables", tables: ["limits"] });
  await world.ok("queue.configure", { queue: "mail", concurrency: 5 });
  await world.ok("queue.configure", { queue: "other", concurrency: 5 });
  await world.ok("queue.pause", { queue: "mail", group: "acme" });
  await world.ok("limit.put", { name: "api", concurrency: 5 });
  await world.ok("limit.delete", { name: "api" });
  await world.ok("queue.resume", { queue: "mail", group: "acme" });
  const told = ({ changes }: TestSink) =>
    changes.map(({ event }) => `${event.table} ${event.id} ${event.before} ${event.state}`);
  const mail = ["queues mail null set", "pauses mail acme null paused", "pauses mail acme paused null"];
  const limits = ["limits api null set", "limits api set null"];
  expect(told(queue)).toEqual(mail);
  expect(told(tables)).toEqual(limits);
  expect(told(all)).toEqual([mail[0]!, "queues other null set", mail[1]!, ...limits, mail[2]!]);
});

describe("engine - watches", () => {
  const rows: [string, Parameters<typeof seen>[0], string[]][] = [
    [
      "all of it",
      () => ({}),
      ["w1 null online", "w2 null online", ...tasks.mail, ...tasks.other, "w1 online null"],
    ],
    ["one task", ({ mail }) => ({ taskId: mail }), tasks.mail],
    ["one queue", () => ({ queue: "other" }), tasks.other],
    [
      "a worker and its tasks",
      () => ({ workerId: "w1" }),
      ["w1 null online", ...tasks.mail, "w1 online null"],
    ],
    ["a worker's tasks alone", () => ({ workerId: "w1", tables: ["tasks"] }), tasks.mail],
    ["a worker alone", () => ({ workerId: "w2", tables: ["workers"] }), ["w2 null online"]],
    ["the workers", () => ({ tables: ["workers"] }), ["w1 null online", "w2 null online", "w1 online null"]],
    ["a queue and another's worker", () => ({ queue: "other", workerId: "w1" }), []],
    ["a task in another queue", ({ mail }) => ({ taskId: mail, queue: "other" }), []],
    ["a queue's workers, which there are not", () => ({ queue: "mail", tables: ["workers"] }), []],
    ["a task nobody has", () => ({ taskId: '"' }), []],
  ];
  test.each(rows)("engine - a watch of %s sees that and nothing else", async (_name, filter, expected) => {
    expect(await seen(filter)).toEqual(expected);
  });

  const keys: [string, Omit<WatchStart, "watchId">, string[]][] = [
    ["all of it", {}, ["a", "a/1", "a/2", "ab", "a/1"]],
    ["one key", { key: "a/1" }, ["a/1", "a/1"]],
    ["a prefix", { prefix: "a/" }, ["a/1", "a/2", "a/1"]],
    ["the prefix that all have", { prefix: "a" }, ["a", "a/1", "a/2", "ab", "a/1"]],
    ["a prefix longer than any key", { prefix: "a/1/2" }, []],
    ["a key without the prefix", { key: "ab", prefix: "a/" }, []],
    ["a prefix, in the tasks", { prefix: "a/", tables: ["tasks"] }, []],
    ["the tasks", { tables: ["tasks"] }, []],
    ["one queue", { queue: "a" }, []],
    ["a task's keys, which there are not", { prefix: "a", taskId: "1-0" }, []],
  ];
  const locks: [string, Omit<WatchStart, "watchId">, string[]][] = [
    [
      "all of it",
      {},
      ["a null held", "a/1 null waiting", "a held stolen", "a stolen null", "a/1 waiting held"],
    ],
    ["one lock", { lock: "a/1" }, ["a/1 null waiting", "a/1 waiting held"]],
    ["a lock that has other names too", { lock: "b" }, ["a null held", "a held stolen", "a stolen null"]],
    ["a prefix", { prefix: "a/1" }, ["a/1 null waiting", "a/1 waiting held"]],
    ["the locks", { tables: ["locks"], lock: "a/1" }, ["a/1 null waiting", "a/1 waiting held"]],
    ["the keys", { tables: ["keys"], prefix: "a" }, []],
    ["one key", { key: "a/1" }, []],
    ["one task", { taskId: "1-0" }, []],
  ];
  test.each(locks)(
    "engine - a watch of %s sees those locks and no others",
    async (_name, filter, expected) => {
      const world = await EngineWorld.start();
      const sink = new TestSink();
      world.engine.watch(sink, { watchId: "x", ...filter });
      const first = await world.ok("lock.acquire", { resources: [{ name: "a/" }, { name: "b" }] });
      await world.ok("lock.acquire", { resources: [{ name: "a/1" }], waitMs: 60_000, value: [1] });
      await world.ok("lock.steal", { lockId: first.lockId, reason: "why" });
      const told = sink.changes.map(({ event }) => `${event.names[0]} ${event.before} ${event.state}`);
      expect(told).toEqual(expected.map((one) => one.replace(/^a /, "a/ ")));
      const stolen = sink.changes.find(({ event }) => event.state === "stolen");
      if (stolen !== undefined)
        expect(stolen.event).toMatchObject({ reason: "why", operation: "lock.steal" });
      const held = sink.changes.find(({ event }) => event.before === "waiting");
      if (held !== undefined) expect(held.event).toMatchObject({ value: [1], operation: "lock.steal" });
    },
  );

  test.each(keys)("engine - a watch of %s sees those keys and no others", async (_name, filter, expected) => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    const gone = world.engine.watch(sink, { watchId: "gone", prefix: "a/" });
    world.engine.watch(sink, { watchId: "x", ...filter });
    world.engine.unwatch(gone);
    for (const key of ["a", "a/1", "a/2", "ab"]) await world.ok("kv.put", { key, value: 1 });
    await world.ok("kv.delete", { key: "a/1" });
    expect(sink.changes.map(({ event }) => event.id)).toEqual(expected);
  });

  test("engine - an event says what, when, by whom and through what", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    world.engine.watch(sink, { watchId: "x" });
    const id = await world.submit({ queue: "mail" });
    expect(sink.changes[0]).toEqual({
      watchId: "x",
      revision: world.engine.revision,
      event: {
        event: "change",
        watchId: "x",
        table: "tasks",
        id,
        revision: world.engine.revision,
        at: world.clock.wallNow,
        operation: "task.submit",
        who: "test",
        state: "queued",
        before: null,
        queue: "mail",
        type: "t",
        workerId: null,
      },
    });
  });

  test("engine - whoever watches a worker sees its task go to another", async () => {
    const world = await EngineWorld.start();
    const [one, two] = [new TestSink(), new TestSink()];
    world.engine.watch(one, { watchId: "one", workerId: "w1", tables: ["tasks"] });
    world.engine.watch(two, { watchId: "two", workerId: "w2", tables: ["tasks"] });
    await world.ok("worker.register", { workerId: "w1" });
    await world.ok("worker.register", { workerId: "w2" });
    const taskId = await world.submit();
    const { assignments } = await world.ok("task.claim", { workerId: "w1" });
    const { token } = assignments[0]!.lease;
    await world.ok("task.release", { taskId, workerId: "w1", token });
    await world.ok("task.claim", { workerId: "w2" });
    expect(one.changes.map(({ event }) => event.state)).toEqual(["running", "queued"]);
    expect(two.changes.map(({ event }) => event.state)).toEqual(["running"]);
  });

  test("engine - a watch that ended sees nothing more, and is counted out", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    const watch = world.engine.watch(sink, { watchId: "x" });
    expect(world.engine.counters.watchesOpen).toBe(1);
    await world.submit();
    world.engine.unwatch(watch);
    await world.submit();
    expect(sink.changes.length).toBe(1);
    expect(world.engine.counters.watchesOpen).toBe(0);
  });
});

describe("engine - progress", () => {
  async function running() {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    await world.ok("worker.register", { workerId: "w" });
    const taskId = await world.submit();
    const { assignments } = await world.ok("task.claim", { workerId: "w" });
    world.engine.watch(sink, { watchId: "x", taskId });
    return { world, sink, lease: { taskId, workerId: "w", token: assignments[0]!.lease.token } };
  }

  test("engine - progress of one turn is one event with the newest, and writes no entry", async () => {
    const { world, sink, lease } = await running();
    const before = world.log.appends.length;
    for (let i = 1; i <= 100; i++) world.ask(sink, "task.progress", { ...lease, progress: { done: i } });
    await settle();
    expect(sink.answers.length).toBe(100);
    expect(sink.changes.map(({ event }) => event)).toMatchObject([
      { operation: "task.progress", who: "w", state: "running", progress: { done: 100 } },
    ]);
    expect(world.log.appends.length).toBe(before);
    expect((await world.task(lease.taskId)).progress).toEqual({ done: 100 });
  });

  test("engine - the last word on an attempt is its end", async () => {
    const { world, sink, lease } = await running();
    world.ask(sink, "task.progress", { ...lease, progress: 1 });
    world.ask(sink, "task.complete", lease);
    await settle();
    expect(sink.changes.map(({ event }) => event.operation)).toEqual(["task.complete"]);
    expect((await world.task(lease.taskId)).progress).toBe(1);
  });
});
