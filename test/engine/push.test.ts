/** Pushes keep within a budget: what a worker's socket has not taken holds back what it gets next. */
import { describe, expect, test } from "bun:test";
import { check } from "../../src/core/check.ts";
import { limits } from "../../src/wire/limits.ts";
import { EngineWorld, settle, TestSink } from "./world.ts";

const large = "x".repeat(limits.payloadBytesMax - 2);
const perBudget = limits.pushBufferBytesMax / limits.payloadBytesMax;

async function aWorkerWithLargeTasks(count: number) {
  const world = await EngineWorld.start();
  const sink = new TestSink();
  await world.ok("worker.register", { workerId: "w", capacity: 100 });
  world.engine.attach("w", sink, 100);
  world.log.auto = false;
  for (let i = 0; i < count; i++) world.ask(sink, "task.submit", { type: "t", payload: large });
  await settle();
  return { world, sink };
}

/** Lets every append through that comes. */
async function flow(world: EngineWorld): Promise<void> {
  while (world.log.isAppending) {
    world.log.complete();
    await settle();
  }
}

describe("engine - the push budget", () => {
  test("engine - one entry leases no more than the budget, and what left makes room for the rest", async () => {
    const { world, sink } = await aWorkerWithLargeTasks(10);
    expect(world.engine.core.queues.counts.running).toBe(perBudget);
    await flow(world);
    expect(sink.pushes.length).toBe(10);
    expect(check(world.engine.core)).toEqual([]);
  });

  test("engine - a socket that does not take what was sent gets nothing more until it has drained", async () => {
    const { world, sink } = await aWorkerWithLargeTasks(10);
    sink.backlogBytes = limits.pushBufferBytesMax + 1;
    await flow(world);
    expect(sink.pushes.length).toBe(perBudget);
    world.engine.drained(sink);
    await flow(world);
    expect(sink.pushes.length).toBe(perBudget);
    sink.backlogBytes = 0;
    world.engine.drained(sink);
    await settle();
    await flow(world);
    expect(sink.pushes.length).toBe(10);
    expect(check(world.engine.core)).toEqual([]);
  });

  test("engine - a congested worker does not keep tasks from another", async () => {
    const { world, sink } = await aWorkerWithLargeTasks(6);
    sink.backlogBytes = limits.pushBufferBytesMax + 1;
    await flow(world);
    const other = new TestSink();
    world.log.auto = true;
    await world.ok("worker.register", { workerId: "v", capacity: 100 });
    world.engine.attach("v", other, 100);
    await settle();
    expect([sink.pushes.length, other.pushes.length]).toEqual([perBudget, 6 - perBudget]);
  });

  test("engine - pushes that a full disk took back are not counted for ever", async () => {
    const { world, sink } = await aWorkerWithLargeTasks(10);
    await flow(world);
    const held = sink.pushes.length;
    for (let i = 0; i < perBudget; i++) world.ask(sink, "task.submit", { type: "t", payload: large });
    await settle();
    while (world.log.isAppending) {
      world.log.full();
      await settle();
    }
    world.log.auto = true;
    await world.clock.advance(2000);
    for (let i = 0; i < 5; i++) await world.submit({ payload: large });
    expect(sink.pushes.length).toBe(held + 5);
  });

  test("engine - a new connection starts with an empty budget", async () => {
    const { world, sink } = await aWorkerWithLargeTasks(10);
    sink.backlogBytes = limits.pushBufferBytesMax + 1;
    await flow(world);
    world.engine.leave(sink);
    const next = new TestSink();
    world.log.auto = true;
    world.engine.attach("w", next, 100);
    await settle();
    expect(next.pushes.length).toBe(10 - perBudget);
  });
});

describe("engine - time to come back", () => {
  test("engine - after a full disk no lease ends before its worker had the grace to be heard", async () => {
    const world = await EngineWorld.start();
    await world.ok("worker.register", { workerId: "w" });
    const id = await world.submit({ leaseMs: 5000 });
    await world.ok("task.claim", { workerId: "w" });
    world.log.auto = false;
    void world.answer("task.submit", { type: "t" });
    await settle();
    world.log.full();
    world.log.probeAnswer = false;
    await world.clock.advance(60_000);
    world.log.auto = true;
    world.log.probeAnswer = true;
    await world.clock.advance(2000);
    expect(world.engine.health().status).toBe("ok");
    expect((await world.task(id)).state).toBe("running");
    await world.clock.advance(7000);
    expect((await world.task(id)).state).toBe("running");
    await world.clock.advance(4000);
    expect(await world.task(id)).toMatchObject({ state: "queued", interruptions: 1 });
  });

  test("engine - a stream that nobody reads on loses its view and ends with an error", async () => {
    const world = await EngineWorld.start();
    for (let i = 0; i < 10; i++) await world.submit();
    const stream = world.engine.stateStream()[Symbol.asyncIterator]();
    await stream.next();
    await world.clock.advance(59_000);
    await stream.next();
    await world.clock.advance(61_000);
    expect(async () => {
      for (;;) if ((await stream.next()).done) return;
    }).toThrow("was not read on");
  });

  test("engine - while a reservation hangs, nothing that happens by itself passes the ceiling", async () => {
    const world = await EngineWorld.start();
    await world.ok("worker.register", { workerId: "w", capacity: 10 });
    world.engine.attach("w", new TestSink(), 10);
    const id = await world.submit({ delayMs: 1000 });
    world.log.autoReserve = false;
    world.engine.store.advanceTo(world.log.disk.ceiling - 5);
    await world.clock.advance(5000);
    expect(world.engine.core.tasks.get(id)?.state).toBe("scheduled");
    expect(world.engine.revision).toBe(world.log.disk.ceiling - 5);
    world.log.autoReserve = true;
    world.log.reserveAll();
    await settle();
    await world.clock.advance(1000);
    expect(world.engine.core.tasks.get(id)?.state).toBe("running");
  });
});

test("engine - a push that leaves after the process stood still is timed from when it left", async () => {
  const world = await EngineWorld.start({ config: { pushAckMs: 700 } });
  const sink = new TestSink();
  await world.ok("worker.register", { workerId: "w", capacity: 5 });
  world.engine.attach("w", sink, 5);
  world.log.auto = false;
  world.ask(sink, "task.submit", { type: "t", leaseMs: 60_000 });
  await settle();
  world.clock.stand(5000);
  world.log.auto = true;
  await flow(world);
  expect(sink.pushes.length).toBe(1);
  await world.advance(600);
  expect(world.engine.core.queues.counts.running).toBe(1);
  await world.advance(400);
  expect(world.engine.core.queues.counts.running).toBe(0);
});
