/** Watches: who sees which change, and what an event says. */
import { describe, expect, test } from "bun:test";
import { explain } from "../../src/wire/explain.ts";
import { ChangeView, type WatchStart } from "../../src/wire/state.ts";
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

test("engine - who watches a queue sees a task leave it for another, as who watches that sees it come", async () => {
  const world = await EngineWorld.start();
  const taskId = await world.submit({ queue: "mail" });
  const sinks = ["mail", "slow", "other"].map((queue) => {
    const sink = new TestSink();
    world.engine.watch(sink, { watchId: queue, queue });
    return sink;
  });
  const { revision } = await world.ok("task.move", { taskId, queue: "slow" });
  await world.ok("task.cancel", { taskId });
  await settle();
  const told = (sink: TestSink) =>
    sink.changes.map(({ event }) => [event.operation, event.queue, event.state]);
  const [moved, cancelled] = [
    ["task.move", "slow", "queued"],
    ["task.cancel", "slow", "cancelled"],
  ];
  expect(sinks.map(told)).toEqual([[moved], [moved, cancelled], []]);
  const late = new TestSink();
  world.engine.watch(late, { watchId: "late", queue: "mail", after: revision - 1 });
  await settle();
  expect(told(late)).toEqual([moved]);
});

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

  const topics: [string, Omit<WatchStart, "watchId">, string[]][] = [
    ["all of it but messages", {}, ["s present"]],
    ["a topic", { topic: "orders.eu" }, ["1 present", "1 null"]],
    ["topics", { topic: "orders.*" }, ["1 present", "2 present", "1 null"]],
    ["all topics", { topic: ">" }, ["1 present", "2 present", "3 present", "3 null", "1 null"]],
    [
      "the messages",
      { tables: ["messages"] },
      ["1 present", "2 present", "3 present", "3 null", "4 present", "6 present", "7 present", "1 null"],
    ],
    ["messages to one worker", { tables: ["messages"], workerId: "w" }, ["4 present", "7 present"]],
    ["messages to another", { tables: ["messages"], workerId: "w.2" }, ["6 present", "7 present"]],
    ["a worker", { workerId: "w" }, []],
    ["a topic to a worker", { topic: ">", workerId: "w" }, []],
    [
      "messages and subscriptions",
      { tables: ["messages", "subscriptions"], topic: "orders.us" },
      ["2 present"],
    ],
    ["a topic, in the keys", { topic: ">", tables: ["keys"] }, []],
    ["a topic of one queue", { topic: ">", queue: "q" }, []],
    ["a topic nobody has", { topic: "orders" }, []],
  ];
  test.each(topics)(
    "engine - a watch of %s sees those messages and no others",
    async (_name, filter, expected) => {
      const world = await EngineWorld.start();
      const sink = new TestSink();
      const watch = world.engine.watch(sink, { watchId: "x", ...filter });
      await world.ok("subscription.put", { name: "s", topic: "orders.>" });
      const names = new Map<string, string>([["s", "s"]]);
      const publish = async (n: number, to: object) => {
        const { messageId } = await world.ok("message.publish", { ...to, payload: { n } });
        names.set(messageId, `${n}`);
        return messageId;
      };
      const first = await publish(1, { topic: "orders.eu" });
      await publish(2, { topic: "orders.us" });
      await publish(3, { topic: "nobody" });
      await publish(4, { workerId: "w" });
      await publish(6, { workerId: "w.2" });
      await publish(7, { workerId: "*" });
      await world.ok("message.ack", { subscription: "s", messageId: first });
      const told = sink.changes.map(({ event }) => [names.get(event.id), event.state] as const);
      // The inbox of the worker that is sent to is made for it.
      expect(told.filter(([name]) => name !== undefined).map(([name, state]) => `${name} ${state}`)).toEqual(
        expected,
      );
      for (const { event } of sink.changes) {
        const { watchId: _, event: __, ...view } = event;
        expect(explain(ChangeView, view)).toEqual([]);
        if (event.table === "messages" && event.state !== null)
          expect(event).toMatchObject({
            value: { n: Number(names.get(event.id)) },
            operation: "message.publish",
          });
      }
      world.engine.unwatch(watch);
      const { length } = sink.changes;
      await publish(5, { topic: "orders.eu" });
      expect(sink.changes.length).toBe(length);
    },
  );

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

describe("engine - watches from a revision", () => {
  const short = ({
    event,
  }: {
    event: { event: string; revision: number; id: string; from: number; to: number };
  }) => (event.event === "gap" ? [event.from, event.to] : `${event.revision} ${event.id}`);
  const put = (world: EngineWorld, key: string, value: unknown = 1) => world.ok("kv.put", { key, value });
  const watched = (world: EngineWorld, after: number, more: Omit<WatchStart, "watchId"> = {}) => {
    const sink = new TestSink();
    world.engine.watch(sink, { watchId: "x", after, ...more });
    return sink;
  };

  test("engine - what came after the revision is told first, then what comes, each once and with its cause", async () => {
    const world = await EngineWorld.start();
    const { revision: first } = await put(world, "a");
    await world.ok("transaction.run", {
      then: [
        { operation: "kv.put", input: { key: "b", value: 2 } },
        { operation: "kv.increment", input: { key: "c" } },
        { operation: "kv.delete", input: { key: "a" } },
      ],
    });
    const live = new TestSink();
    world.engine.watch(live, { watchId: "x" });
    const [all, none, some] = [
      watched(world, first - 1),
      watched(world, first + 1),
      watched(world, first, { prefix: "b" }),
    ];
    await put(world, "b");
    await settle();
    const [second, third] = [first + 1, first + 2];
    const last = `${third} b`;
    expect(all.changes.map(short)).toEqual([`${first} a`, `${second} b`, `${second} c`, `${second} a`, last]);
    expect(none.changes.map(short)).toEqual([last]);
    expect(some.changes.map(short)).toEqual([`${second} b`, last]);
    expect(live.changes.map(short)).toEqual([last]);
    expect(all.changes.map(({ event }) => event.operation)).toEqual([
      "kv.put",
      "kv.put",
      "kv.increment",
      "kv.delete",
      "kv.put",
    ]);
    expect(all.changes[1]!.event).toMatchObject({ who: "test", state: "present", before: null, value: 2 });
  });

  test("engine - what is kept no more is one gap, and what follows it is whole", async () => {
    const world = await EngineWorld.start({ config: { watchHistoryBytesMax: 5000 } });
    const { revision: first } = await put(world, "k0");
    for (let i = 1; i < 30; i++) await put(world, `k${i}`);
    const sink = watched(world, first);
    await settle();
    const [gap, ...rest] = sink.changes.map(short);
    const last = first + 29;
    expect(gap).toEqual([first + 1, last - rest.length]);
    expect(rest.length).toBeGreaterThan(5);
    expect(rest).toEqual(rest.map((_, i) => `${last - rest.length + 1 + i} k${30 - rest.length + i}`));
    const nothing = await EngineWorld.start({ config: { watchHistoryBytesMax: 0 } });
    const before = (await put(nothing, "a")).revision;
    await put(nothing, "b");
    const late = watched(nothing, before);
    await put(nothing, "c");
    await settle();
    expect(late.changes.map(short)).toEqual([[before + 1, before + 1], `${before + 2} c`]);
  });

  test("engine - a sink that does not take what it missed gets the rest once it does, and then what came meanwhile", async () => {
    const world = await EngineWorld.start({ config: { watchHistoryBytesMax: 100_000_000 } });
    const { revision: first } = await put(world, "k");
    const large = "x".repeat(200_000);
    for (let i = 0; i < 10; i++) await put(world, "k", large);
    const sink = new TestSink();
    sink.backlogBytes = 2_000_000;
    world.engine.watch(sink, { watchId: "x", after: first });
    await settle();
    expect(sink.changes).toEqual([]);
    await put(world, "k", "live");
    sink.backlogBytes = 0;
    world.engine.drained(sink);
    await settle();
    // A slice is a part of it; the next turns bring the others.
    expect(sink.changes.length).toBeLessThan(5);
    for (let i = 0; i < 10; i++) await world.clock.advance(1);
    expect(sink.changes.map(({ revision }) => revision)).toEqual(
      Array.from({ length: 11 }, (_, i) => first + 1 + i),
    );
  });

  test("engine - an entry that is more than a sink takes at once is told in parts, and so are many watches of one sink", async () => {
    const world = await EngineWorld.start({ config: { watchHistoryBytesMax: 100_000_000 } });
    const { revision: first } = await put(world, "k");
    const large = "x".repeat(200_000);
    const keys = Array.from({ length: 10 }, (_, i) => `k${i}`);
    const then = keys.map((key) => ({ operation: "kv.put" as const, input: { key, value: large } }));
    await world.ok("transaction.run", { then });
    await put(world, "k", "last");
    const sink = new TestSink();
    for (const watchId of ["x", "y"]) world.engine.watch(sink, { watchId, after: first });
    await settle();
    expect(sink.changes.length).toBeLessThan(5);
    sink.backlogBytes = 2_000_000;
    await world.clock.advance(10);
    const { length } = sink.changes;
    await world.clock.advance(1000);
    expect(sink.changes.length).toBe(length);
    sink.backlogBytes = 0;
    world.engine.drained(sink);
    for (let i = 0; i < 20; i++) await world.clock.advance(1);
    for (const id of ["x", "y"])
      expect(
        sink.changes
          .filter(({ watchId }) => watchId === id)
          .map(({ revision, event }) => [revision, event.id]),
      ).toEqual([...keys.map((key) => [first + 1, key]), [first + 2, "k"]]);
  });

  test("engine - after a restart a watch goes on from the last revision of the log; one from before has a gap", async () => {
    const world = await EngineWorld.start();
    const { revision: first } = await put(world, "a");
    const { revision: last } = await put(world, "b");
    await world.engine.stop();
    const again = await EngineWorld.start({ disk: world.log.disk });
    const started = again.engine.revision;
    const [whole, late] = [watched(again, last), watched(again, first)];
    await put(again, "c");
    await settle();
    expect(whole.changes.map(short)).toEqual([`${started + 1} c`]);
    expect(late.changes.map(short)).toEqual([[first + 1, started], `${started + 1} c`]);
  });

  test("engine - who watches what does not change is told how far that leads, and goes on from there though no more is kept", async () => {
    const world = await EngineWorld.start({ config: { watchHistoryBytesMax: 5000 } });
    const { revision: first } = await put(world, "quiet");
    const [live, behind, slow] = [new TestSink(), new TestSink(), new TestSink()];
    slow.backlogBytes = 2_000_000;
    world.engine.watch(live, { watchId: "x", key: "quiet" });
    world.engine.watch(behind, { watchId: "x", key: "quiet", after: first - 1 });
    world.engine.watch(slow, { watchId: "x", key: "quiet", after: first - 1 });
    await settle();
    // Where it has caught up it is told at once.
    expect([live.places, behind.places]).toEqual([[], [first]]);
    for (let i = 0; i < 30; i++) await put(world, `k${i}`);
    world.log.auto = false;
    const undurable = world.answer("kv.put", { key: "k", value: 1 });
    await settle();
    await world.clock.advance(5000);
    expect([live.places, behind.places]).toEqual([[], [first]]);
    world.log.auto = true;
    world.log.complete();
    await undurable;
    await settle();
    const place = first + 31;
    expect([live.places, behind.places, slow.places]).toEqual([[place], [first, place], []]);
    await world.clock.advance(60_000);
    expect(live.places).toEqual([place]);
    const [again, from] = [place, first].map((after) => watched(world, after, { key: "quiet" }));
    await settle();
    expect([again!.changes.length, from!.changes.length]).toEqual([0, 1]);
  });

  test("engine - who watches goes on without a gap behind a stop and a start, whatever was told last", async () => {
    const world = await EngineWorld.start();
    const [all, quiet] = [new TestSink(), new TestSink()];
    world.engine.watch(all, { watchId: "x" });
    world.engine.watch(quiet, { watchId: "x", key: "quiet" });
    const { revision: last } = await put(world, "b");
    await world.engine.stop();
    expect([all.places.at(-1), quiet.places.at(-1)]).toEqual([last, last]);
    const again = await EngineWorld.start({ disk: world.log.disk });
    const sink = watched(again, last);
    const { revision } = await put(again, "c");
    await settle();
    expect(sink.changes.map(short)).toEqual([`${revision} c`]);
  });

  test("engine - who comes from above the newest revision was in another state, and is told that all of this one is new", async () => {
    const world = await EngineWorld.start();
    const { revision: last } = await put(world, "a");
    const [ahead, level] = [watched(world, last + 1), watched(world, last)];
    const { revision: next } = await put(world, "b");
    expect(ahead.changes.map(short)).toEqual([[1, last], `${next} b`]);
    expect(level.changes.map(short)).toEqual([`${next} b`]);
  });

  test("engine - who stood at the end of the log at a restart is told a gap once what came after it is kept no more", async () => {
    const world = await EngineWorld.start();
    const { revision: last } = await put(world, "a");
    await world.engine.stop();
    const small = await EngineWorld.start({ disk: world.log.disk, config: { watchHistoryBytesMax: 5000 } });
    const started = small.engine.revision;
    for (let i = 1; i <= 30; i++) await put(small, `k${i}`);
    const sink = watched(small, last);
    await settle();
    const [gap, ...rest] = sink.changes.map(short);
    expect(gap).toEqual([last + 1, started + 30 - rest.length]);
    expect(rest).toHaveLength(sink.changes.length - 1);
    expect(rest.at(-1)).toBe(`${started + 30} k30`);
  });

  test("engine - what a full disk undid is told to nobody, whenever they begin", async () => {
    const world = await EngineWorld.start();
    const { revision: first } = await put(world, "a");
    world.log.auto = false;
    const undone = world.answer("kv.put", { key: "undone", value: 1 });
    await settle();
    const early = watched(world, first - 1);
    await settle();
    world.log.full();
    expect("error" in (await undone)).toBe(true);
    const late = watched(world, first - 1);
    world.log.auto = true;
    await world.clock.advance(1000);
    const { revision } = await put(world, "b");
    await settle();
    for (const sink of [early, late])
      expect(sink.changes.map(short)).toEqual([`${first} a`, `${revision} b`]);
  });

  test("engine - a gap is told also where a full disk undid the last of what is missing", async () => {
    const world = await EngineWorld.start();
    await world.advance(31_000);
    const { revision: first } = await put(world, "a");
    world.log.auto = false;
    const undone = world.answer("kv.put", { key: "undone", value: 1 });
    await settle();
    const [behind, ahead] = [watched(world, first - 1), watched(world, first + 100)];
    await settle();
    world.log.full();
    expect("error" in (await undone)).toBe(true);
    world.log.auto = true;
    await world.clock.advance(1000);
    const { revision } = await put(world, "b");
    await settle();
    expect(behind.changes.map(short)).toEqual([[first, first + 1], `${revision} b`]);
    expect(ahead.changes.map(short)).toEqual([[1, first + 1], `${revision} b`]);
  });

  test("engine - where nobody has watched of late nothing is kept, and who read the state may begin from there", async () => {
    const world = await EngineWorld.start();
    await world.advance(31_000);
    const { revision: first } = await put(world, "a");
    await put(world, "b");
    const sink = watched(world, first);
    await settle();
    expect(sink.changes.map(short)).toEqual([[first + 1, first + 1]]);
    // What was kept goes too, though no change follows.
    const resting = await EngineWorld.start();
    const { revision: before } = await put(resting, "a");
    const { revision: last } = await put(resting, "b");
    await resting.advance(31_000);
    const missed = watched(resting, before);
    await settle();
    expect(missed.changes.map(short)).toEqual([[last, last]]);
    const other = await EngineWorld.start();
    await other.advance(31_000);
    const { revision } = await other.engine.tablePage("keys", null, 10);
    await put(other, "a");
    await other.advance(500_000);
    const late = watched(other, revision);
    await settle();
    expect(late.changes.map(short)).toEqual([`${revision + 1} a`]);
  });

  test("engine - where nobody has watched since the start, nothing is kept once what came since is no longer whole", async () => {
    const many = async (config: { watchHistoryBytesMax: number }, looks: boolean) => {
      const world = await EngineWorld.start({ config });
      if (looks) world.engine.unwatch(world.engine.watch(new TestSink(), { watchId: "x" }));
      for (let i = 0; i < 30; i++) await put(world, `k${i}`);
      await world.advance(1000);
      const { revision } = await put(world, "a");
      await put(world, "b");
      const sink = watched(world, revision);
      await settle();
      return sink.changes.map(short).map((told) => (typeof told === "string" ? told.split(" ")[1] : "gap"));
    };
    expect(await many({ watchHistoryBytesMax: 5000 }, false)).toEqual(["gap"]);
    expect(await many({ watchHistoryBytesMax: 5000 }, true)).toEqual(["b"]);
    expect(await many({ watchHistoryBytesMax: 50_000 }, false)).toEqual(["b"]);
  });

  test("engine - messages are kept for who watched them, and who begins later is told a gap where they were not", async () => {
    const world = await EngineWorld.start();
    const publish = async (topic: string) =>
      Number((await world.ok("message.publish", { topic })).messageId.split("-")[0]);
    await world.ok("subscription.put", { name: "s", topic: ">" });
    await world.advance(31_000);
    // Others watch all the while.
    watched(world, 0);
    const unseen = await publish("a");
    const early = new TestSink();
    world.engine.unwatch(world.engine.watch(early, { watchId: "x", topic: "a" }));
    const first = await publish("a");
    const second = await publish("a.b");
    const [all, missed, keys] = [
      watched(world, first - 1, { topic: ">" }),
      watched(world, unseen - 1, { topic: "a" }),
      watched(world, unseen - 1, { tables: ["keys"] }),
    ];
    await settle();
    expect(all.changes.map(short)).toEqual([`${first} ${first}-0`, `${second} ${second}-0`]);
    expect(missed.changes.map(short)).toEqual([[unseen, unseen], `${first} ${first}-0`]);
    expect(keys.changes).toEqual([]);
  });

  test("engine - who read the messages may watch them from there", async () => {
    const world = await EngineWorld.start();
    await world.ok("subscription.put", { name: "s", topic: ">" });
    await world.advance(31_000);
    const { revision } = await world.engine.tablePage("messages", null, 10);
    const { messageId } = await world.ok("message.publish", { topic: "a" });
    const sink = watched(world, revision, { topic: "a" });
    await settle();
    expect(sink.changes.map(({ event }) => event.id)).toEqual([messageId]);
  });

  test("engine - a watch that ended before it caught up is told nothing more", async () => {
    const world = await EngineWorld.start();
    const { revision: first } = await put(world, "a");
    await put(world, "b");
    const sink = new TestSink();
    sink.backlogBytes = 2_000_000;
    world.engine.unwatch(world.engine.watch(sink, { watchId: "x", after: first }));
    sink.backlogBytes = 0;
    await put(world, "c");
    await settle();
    expect([sink.changes, world.engine.counters.watchesOpen]).toEqual([[], 0]);
  });
});
