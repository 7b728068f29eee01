/** What the engine owes the log: nothing leaves before its entry is durable, and what is undone was never told. */
import { describe, expect, test } from "bun:test";
import { stateText } from "../../src/core/check.ts";
import { entryCounts } from "../../src/core/counted.ts";
import { KeptDisk } from "../../src/embedded/disk.ts";
import { anyone, EngineWorld, settle, TestSink } from "./world.ts";

/** A world whose log does nothing by itself from here on. */
async function held(options = {}) {
  const world = await EngineWorld.start(options);
  world.log.auto = false;
  return { world, sink: new TestSink() };
}
const register = async (world: EngineWorld, workerId: string, sink: TestSink, credit = 10) => {
  await world.ok("worker.register", { workerId, capacity: 10 });
  world.engine.attach(workerId, sink, credit);
  await settle();
};

describe("engine - nothing leaves before its append is durable", () => {
  test("engine - an answer waits for its entry", async () => {
    const { world, sink } = await held();
    const seq = world.ask(sink, "task.submit", { type: "t" });
    await settle();
    expect(world.log.appends.length).toBe(1);
    expect(sink.order).toEqual([]);
    expect(world.engine.durableRevision).toBeLessThan(world.engine.revision);
    world.log.complete();
    await settle();
    expect(sink.ok(seq).state).toBe("queued");
    expect(world.engine.durableRevision).toBe(world.engine.revision);
  });

  test("engine - refusals and reads behind an entry wait for it, and keep their order", async () => {
    const { world, sink } = await held();
    const seqs = [
      world.ask(sink, "task.submit", { type: "t" }),
      world.ask(sink, "task.explain", { taskId: "99-0" }),
      world.ask(sink, "task.submit", { type: "no name" } as never),
      world.ask(sink, "state.get", {}),
      world.ask(sink, "task.submit", { type: "t" }),
    ];
    await settle();
    expect(sink.order).toEqual([]);
    world.log.complete();
    await settle();
    expect(sink.answers.map(({ seq }) => seq)).toEqual(seqs);
    expect(sink.error(seqs[1]!).code).toBe("unknown-task");
    expect(sink.error(seqs[2]!).code).toBe("invalid-input");
    expect(sink.flushCount).toBe(1);
  });

  test("engine - a read at rest waits for nothing", async () => {
    const { world, sink } = await held();
    const seq = world.ask(sink, "state.get", {});
    await settle();
    expect(sink.ok(seq).revision).toBe(world.engine.revision);
    expect(world.log.appends.length).toBe(0);
  });

  test("engine - pushes and change events wait, in the order in which things came about", async () => {
    const { world, sink } = await held();
    world.log.auto = true;
    await register(world, "w", sink);
    world.engine.watch(sink, { watchId: "all" });
    world.log.auto = false;
    const seq = world.ask(sink, "task.submit", { type: "t" });
    await settle();
    expect(sink.order).toEqual([]);
    world.log.complete();
    await settle();
    expect(sink.order).toEqual([`change all`, `answer ${seq}`, "task.assigned", "change all"]);
    expect(sink.changes.map(({ event }) => event.state)).toEqual(["queued", "running"]);
    expect(sink.pushes[0]?.lease.token).toBe(world.engine.revision);
  });

  test("engine - a worker's silence is told only when the log holds it", async () => {
    const { world, sink } = await held();
    world.log.auto = true;
    await register(world, "w", sink);
    world.log.auto = false;
    await world.advance(31_000);
    expect(world.engine.core.workers.get("w")?.state).toBe("offline");
    expect(sink.silences).toEqual([]);
    world.log.complete();
    await settle();
    expect(sink.silences).toEqual(["w"]);
  });
});

describe("engine - group commit", () => {
  test("engine - while one append is on its way everything else goes as exactly one next batch", async () => {
    const { world, sink } = await held();
    const after = world.log.disk.last;
    world.ask(sink, "task.submit", { type: "first" });
    await settle();
    for (let i = 0; i < 50; i++) {
      world.ask(sink, "task.submit", { type: "next" });
      if (i % 7 === 0) await settle();
    }
    await settle();
    expect(world.log.appends.length).toBe(1);
    world.log.complete();
    await settle();
    expect(sink.answers.length).toBe(1);
    expect(world.log.appends.length).toBe(2);
    const [one, two] = world.log.appends;
    expect(one?.after).toBe(after);
    expect(two?.after).toBe(one?.batch.last as number);
    expect(two?.batch.first).toBe((one?.batch.last as number) + 1);
    expect(two?.batch.text.match(/^@/gm)?.length).toBe(50);
    world.log.complete();
    await settle();
    expect(sink.answers.length).toBe(51);
    expect(world.log.appends.length).toBe(2);
  });

  test("engine - the memory strategy does not wait", async () => {
    const world = await EngineWorld.memory();
    const sink = new TestSink();
    const seq = world.ask(sink, "task.submit", { type: "t" });
    await settle();
    expect(sink.ok(seq).id).toBe(`${world.engine.revision}-0`);
    expect(world.engine.durableRevision).toBe(world.engine.revision);
    expect(world.engine.revision).toBeGreaterThan(1000);
  });

  test("engine - bytes that wait for the disk are counted, and refused over their limit with a time", async () => {
    const { world, sink } = await held({ config: { undurableBytesMax: 2000 } });
    world.ask(sink, "task.submit", { type: "t", payload: "x".repeat(3000) });
    const busy = world.ask(sink, "task.submit", { type: "t" });
    const read = world.ask(sink, "queue.list", {});
    await settle();
    expect(world.engine.metrics().store.undurableBytes).toBeGreaterThan(3000);
    world.log.complete();
    await settle();
    expect(sink.error(busy)).toMatchObject({ code: "busy", retryable: true });
    expect(sink.error(busy).retryAfterMs).toBeGreaterThan(0);
    expect(sink.ok(read).queues.length).toBe(1);
    expect(world.engine.metrics().store.undurableBytes).toBe(0);
    world.log.auto = true;
    await world.submit();
  });
});

describe("engine - a full disk", () => {
  /** Something durable of every kind, then a lot that is not. */
  async function full() {
    const { world, sink } = await held();
    world.log.auto = true;
    await register(world, "w", sink, 2);
    world.engine.watch(sink, { watchId: "all" });
    const first = await world.submit();
    const second = await world.submit();
    await world.submit({ delayMs: 60_000, queue: "later" });
    const { token } = (await world.task(first)).lease!;
    const before = stateText(world.engine.core);
    const told = sink.order.length;
    world.log.auto = false;
    const mine = new TestSink();
    const seqs = [
      world.ask(mine, "task.complete", { taskId: first, workerId: "w", token }),
      world.ask(mine, "task.submit", { type: "t" }),
      world.ask(mine, "task.cancel", { taskId: second }),
      world.ask(mine, "worker.register", { workerId: "new" }),
      world.ask(mine, "worker.unregister", { workerId: "w" }),
      world.ask(mine, "task.get", { taskId: first }),
      world.ask(mine, "task.submit", { type: "no name" } as never),
    ];
    await settle();
    // More gathers while the append is on its way.
    seqs.push(world.ask(mine, "task.submit", { type: "t", queue: "other" }));
    await settle();
    expect(world.log.isAppending).toBe(true);
    const after = world.log.disk.last;
    world.log.full();
    await settle();
    return { world, sink, mine, seqs, before, told, after, first, second, token };
  }

  test("engine - everything undone, the state is what it was, and all that waited is told 507", async () => {
    const { world, sink, mine, seqs, before, told } = await full();
    expect(stateText(world.engine.core)).toBe(before);
    world.sound();
    expect(mine.answers.map(({ seq }) => seq)).toEqual(seqs);
    for (const seq of seqs) expect(mine.error(seq)).toMatchObject({ status: 507, code: "disk-full" });
    // Neither pushes nor change events of what was undone.
    expect(sink.order.length).toBe(told);
    expect(world.lines.some(({ event }) => event === "log.full")).toBe(true);
    expect(world.engine.counters.diskFull).toBe(1);
    expect(world.failures).toEqual([]);
  });

  test("engine - what is counted of entries is told once they are durable, and what was undone was never counted", async () => {
    const { world, sink } = await held();
    world.log.auto = true;
    await register(world, "w", sink, 2);
    const ids = [await world.submit(), await world.submit()];
    const ends: [operation: "task.complete" | "task.fail", input: object][] = [];
    for (const [i, operation] of (["task.complete", "task.fail"] as const).entries()) {
      const taskId = ids[i]!;
      const { token } = (await world.task(taskId)).lease!;
      ends.push([operation, { taskId, workerId: "w", token, ...(i === 1 && { error: "no" }) }]);
    }
    const counted = () => {
      const { daemon, bus } = world.engine.metrics();
      const told: Record<string, number> = { ...daemon, ...bus };
      return {
        counts: Object.fromEntries(entryCounts.map((name) => [name, told[name]])),
        took: world.engine.prometheus().match(/^cortexd_task_(wait|run)_seconds_(count|sum) .*$/gm),
      };
    };
    const before = counted();
    const { operationsRefused } = world.engine.counters;
    world.log.auto = false;
    for (const [operation, input] of ends) world.ask(sink, operation, input as never);
    world.ask(sink, "task.submit", { type: "t" });
    await settle();
    world.ask(sink, "message.publish", { topic: "a" });
    await settle();
    expect(world.engine.counters).toMatchObject({ tasksCompleted: 1, tasksRetried: 1, messagesPublished: 1 });
    expect(counted()).toEqual(before);
    world.log.full();
    await settle();
    expect(counted()).toEqual(before);
    expect(world.engine.counters).toMatchObject({ tasksCompleted: 0, tasksRetried: 0, messagesPublished: 0 });
    // All four were answered with a refusal in the end.
    expect(world.engine.counters.operationsRefused).toBe(operationsRefused + 4);
    expect((await world.ok("worker.get", { workerId: "w" })).failedCount).toBe(0);
    world.log.auto = true;
    await world.advance(2000);
    for (const [operation, input] of ends) await world.ok(operation, input as never);
    expect(counted().counts).toMatchObject({ tasksCompleted: 1, tasksRetried: 1, tasksSubmitted: 2 });
    expect(counted().took).not.toEqual(before.took);
  });

  test("engine - reads and heartbeats are served, mutations refused, until a probe succeeds", async () => {
    const { world, first, token } = await full();
    world.log.probeAnswer = false;
    expect((await world.task(first)).state).toBe("running");
    await world.ok("worker.heartbeat", { workerId: "w" });
    await world.ok("task.progress", { taskId: first, workerId: "w", token, progress: 1 });
    const refusal = await world.refused("task.submit", { type: "t" }, "disk-full");
    expect(refusal).toMatchObject({ status: 507, retryable: true });
    expect(refusal.retryAfterMs).toBeGreaterThan(0);
    expect(world.engine.health().status).toBe("read-only");
    expect(world.engine.ready()).toMatchObject({ ready: false });
    await world.advance(3500);
    expect(world.log.probeCount).toBe(3);
    expect(world.engine.health().status).toBe("read-only");
    world.log.probeAnswer = true;
    await world.advance(1500);
    expect(world.engine.health().status).toBe("ok");
    expect(world.engine.ready().ready).toBe(true);
    expect(world.lines.some(({ event }) => event === "log.writable")).toBe(true);
  });

  test("engine - afterwards the next append follows what is durable, above every revision used before", async () => {
    const { world, after, first, token } = await full();
    const used = world.engine.revision;
    world.log.auto = true;
    await world.advance(2000);
    await world.ok("task.complete", { taskId: first, workerId: "w", token });
    const next = world.log.appends.find(({ batch }) => batch.first > used);
    expect(next?.after).toBe(after);
    expect(world.engine.durableRevision).toBe(world.engine.revision);
    world.sound();
  });

  test("engine - a connected worker is pushed to again after its leaving was undone", async () => {
    const { world, sink, first, token } = await full();
    world.log.auto = true;
    await world.advance(2000);
    expect(world.engine.core.dispatch.slot("w")?.attached).toBe(true);
    await world.ok("task.complete", { taskId: first, workerId: "w", token });
    const id = await world.submit();
    expect(sink.pushes.at(-1)).toMatchObject({ event: "task.assigned", task: { id } });
  });

  test("engine - a parked claim is refused, so that nobody waits for what cannot come", async () => {
    const { world, sink } = await held();
    world.log.auto = true;
    await world.ok("worker.register", { workerId: "c" });
    world.log.auto = false;
    const seq = world.ask(sink, "task.claim", { workerId: "c", waitMs: 60_000 });
    world.ask(sink, "task.cancel", { taskId: "1-0" });
    world.ask(sink, "worker.register", { workerId: "d" });
    await settle();
    world.log.full();
    await settle();
    expect(sink.error(seq).code).toBe("disk-full");
  });

  test("engine - a page and the stream of the state never show what was undone", async () => {
    const { world, sink } = await held();
    world.log.auto = true;
    const id = await world.submit();
    world.log.auto = false;
    world.ask(sink, "task.submit", { type: "undone" });
    await settle();
    const page = world.engine.tablePage("tasks", null, 10);
    const lines = (async () => {
      let text = "";
      for await (const part of world.engine.stateStream()) text += part;
      return text;
    })();
    await settle();
    world.log.full();
    expect((await page).rows.map((row) => JSON.parse(row).id)).toEqual([id]);
    expect(await lines).not.toContain("undone");
  });

  test("engine - what was done and is durable is told done, not refused, when it is asked again", async () => {
    const { world, sink } = await held();
    world.log.auto = true;
    const caller = { session: "s", seq: 5 };
    const first = await world.ok("task.submit", { type: "t" }, caller);
    world.log.auto = false;
    // Behind something that will be undone, while it is held; and once nothing is taken any more.
    const other = world.ask(sink, "task.submit", { type: "t" });
    const again = world.answer("task.submit", { type: "t" }, caller);
    await settle();
    world.log.full();
    expect(await again).toEqual({ ok: JSON.stringify(first) });
    expect(sink.error(other).code).toBe("disk-full");
    expect(await world.ok("task.submit", { type: "t" }, caller)).toEqual(first);
    expect(world.engine.core.tasks.size).toBe(1);
  });

  test("engine - and so it is while the engine is busy", async () => {
    const { world, sink } = await held({ config: { undurableBytesMax: 1000 } });
    world.log.auto = true;
    const caller = { session: "s", seq: 5 };
    const first = await world.ok("task.submit", { type: "t" }, caller);
    world.log.auto = false;
    world.ask(sink, "task.submit", { type: "t", payload: "x".repeat(2000) });
    const busy = world.ask(sink, "task.submit", { type: "t" });
    const again = world.engine.call("task.submit", { type: "t" }, { ...anyone, ...caller });
    await settle();
    world.log.complete();
    expect(await again).toEqual({ ok: JSON.stringify(first) });
    expect(sink.error(busy).code).toBe("busy");
  });

  test("engine - full again at the first append after a good probe is survived too", async () => {
    const { world } = await full();
    await world.advance(2000);
    const before = stateText(world.engine.core);
    const sink = new TestSink();
    const seq = world.ask(sink, "task.submit", { type: "t" });
    await settle();
    if (world.log.isAppending) world.log.full();
    await settle();
    expect(sink.error(seq).code).toBe("disk-full");
    expect(stateText(world.engine.core)).toBe(before);
    world.log.auto = true;
    await world.advance(2000);
    await world.submit();
    expect(world.failures).toEqual([]);
  });

  test("engine - a probe that rejects ends the engine", async () => {
    const { world } = await full();
    world.log.probeAnswer = new Error("the thread died");
    await world.clock.advance(2000);
    expect(world.failures.map(({ message }) => message)).toEqual(["the thread died"]);
  });
});

describe("engine - a log beyond use", () => {
  const ways: [string, (world: EngineWorld) => void][] = [
    ["a rejected append", (world) => world.log.reject(new Error("fsync failed"))],
    ["a failure told by the log", (world) => world.log.fail(new Error("fsync failed"))],
    ["another writer", (world) => world.log.fenced(7)],
    [
      "both at once",
      (world) => {
        world.log.fail(new Error("fsync failed"));
        world.log.reject(new Error("fsync failed"));
      },
    ],
  ];
  test.each(ways)("engine - after %s onFailure is called once and nothing leaves", async (_name, breaks) => {
    const { world, sink } = await held();
    world.log.auto = true;
    await register(world, "w", sink);
    world.engine.watch(sink, { watchId: "all" });
    sink.order.length = 0;
    world.log.auto = false;
    world.ask(sink, "task.submit", { type: "t" });
    await settle();
    breaks(world);
    await settle();
    expect(world.failures.length).toBe(1);
    world.ask(sink, "task.submit", { type: "t" });
    await world.clock.advance(60_000);
    expect(sink.order).toEqual([]);
    expect(world.failures.length).toBe(1);
    expect(world.log.appends.filter(({ batch }) => batch.text.includes('"type":"t"')).length).toBe(1);
    expect(world.engine.health().status).toBe("stopping");
    expect(world.engine.ready()).toEqual({ ready: false, reason: "the log is beyond use" });
    expect(world.clock.timerCount).toBe(0);
  });

  test("engine - a failure while it stops does not leave stop() hanging", async () => {
    const { world, sink } = await held();
    world.ask(sink, "task.submit", { type: "t" });
    await settle();
    let stopped = false;
    const stop = world.engine.stop().then(() => {
      stopped = true;
    });
    await settle();
    expect(stopped).toBe(false);
    world.log.reject(new Error("fsync failed"));
    await settle();
    expect(stopped).toBe(true);
    expect(world.failures.length).toBe(1);
    expect(sink.order).toEqual([]);
    await stop;
  });
});

describe("engine - revisions", () => {
  test("engine - every start goes on above the ceiling, whatever the log holds", async () => {
    const disk = new KeptDisk();
    disk.ceiling = 5000;
    const world = await EngineWorld.start({ disk });
    const id = await world.submit();
    expect(id).toBe("5001-0");
    expect(world.log.appends[0]).toMatchObject({ after: 0, batch: { first: 5001, last: 5001 } });
  });

  test("engine - it serves only once the first reservation is synced", async () => {
    const world = EngineWorld.idle();
    world.log.autoReserve = false;
    let started = false;
    const start = world.engine.start().then(() => {
      started = true;
    });
    const early = world.engine.call(
      "task.submit",
      { type: "t" },
      { who: "t", session: null, seq: 0, ackedThrough: 0 },
    );
    await settle();
    expect(started).toBe(false);
    expect(world.engine.ready().ready).toBe(false);
    world.log.reserveAll();
    await start;
    expect(await early).toMatchObject({ error: { code: "shutting-down" } });
    expect(world.log.reserved).toEqual([1_000_000]);
  });

  test("engine - the next million is asked for early, once, and the ceiling is never passed", async () => {
    const world = await EngineWorld.start();
    world.log.autoReserve = false;
    world.engine.store.advanceTo(499_999);
    await world.submit();
    expect(world.log.reserved.length).toBe(1);
    await world.submit();
    await world.submit();
    expect(world.log.reserved).toEqual([1_000_000, world.engine.revision - 1 + 1_000_000]);
    world.engine.store.advanceTo(979_999);
    await world.submit();
    const busy = await world.refused("task.submit", { type: "t" }, "busy");
    expect(busy.retryAfterMs).toBeGreaterThan(0);
    await world.ok("state.get", {});
    world.log.reserveAll();
    await settle();
    await world.submit();
    expect(world.engine.revision).toBeLessThanOrEqual(world.log.disk.ceiling);
  });
});
