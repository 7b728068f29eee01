/** The figures of a state: a sample a second, told to whoever asked and kept for about an hour. */
import { describe, expect, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import { limits } from "../../src/wire/limits.ts";
import { Stats } from "../../src/wire/stats.ts";
import { EngineWorld, TestSink } from "./world.ts";

const samplesOf = (sink: TestSink): Stats[] =>
  sink.pushes.map(({ event, ...sample }) => {
    expect(event).toBe("stats");
    return sample;
  });
const hourMs = 3_600_000;

describe("stats", () => {
  test("stats - whoever asked is told each second how it stands and what was counted in it", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    expect(world.engine.stats.start(sink, 0)).toEqual([]);
    await world.advance(1000);
    await world.ok("worker.register", { workerId: "w", capacity: 5 });
    for (let i = 0; i < 3; i++) await world.submit({ queue: "mail" });
    const { assignments } = await world.ok("task.claim", { workerId: "w", count: 2 });
    const { task, lease } = assignments[0]!;
    await world.advance(500);
    await world.ok("task.complete", { taskId: task.id, workerId: "w", token: lease.token });
    await world.refused("task.get", { taskId: "1-0" }, "unknown-task");
    await world.advance(2500);
    const samples = samplesOf(sink);
    expect(samples.map(({ overMs }) => overMs)).toEqual([1000, 1000, 1000, 1000]);
    expect(samples.flatMap((sample) => [...Value.Errors(Stats, sample)])).toEqual([]);
    const [first, second, third] = samples as [Stats, Stats, Stats];
    expect(first.counted).toMatchObject({ operations: 0, tasksSubmitted: 0 });
    expect(second).toMatchObject({
      at: world.clock.wallNow - 2000,
      status: "ok",
      revision: world.engine.revision,
      durableRevision: world.engine.durableRevision,
      tasks: { queued: 1, running: 1, completed: 1 },
      workers: { idle: 0, busy: 1 },
      health: { healthy: 1, failing: 0 },
      counted: {
        operations: 7,
        operationsRefused: 1,
        tasksSubmitted: 3,
        tasksLeased: 2,
        tasksCompleted: 1,
        tasksFailed: 0,
      },
      waitMs: { p50: 0, max: 0 },
      runMs: { max: 500 },
    });
    expect(second.answerMs).not.toBeNull();
    expect(third.counted).toMatchObject({ operations: 0, tasksSubmitted: 0 });
    expect([third.answerMs, third.waitMs, third.runMs]).toEqual([null, null, null]);
    expect(third.tasks).toEqual(second.tasks);
  });

  test("stats - locks and messages are counted as they stand, for all subscriptions together", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    world.engine.stats.start(sink, 0);
    const now = async () => {
      await world.advance(1000);
      const { locks, messages } = samplesOf(sink).at(-1)!;
      return { ...locks, ...messages };
    };
    expect(await now()).toEqual({ held: 0, waiting: 0, kept: 0, inFlight: 0, dead: 0 });
    for (const name of ["a", "a", "a", "b"])
      await world.ok("lock.acquire", { resources: [{ name }], waitMs: 60_000 });
    expect(await now()).toMatchObject({ held: 2 });
    expect(world.engine.metrics().daemon).toMatchObject({ locksHeld: 2, locksWaiting: 2 });
    for (const name of ["s", "other"]) await world.ok("subscription.put", { name, topic: "t" });
    const ids: string[] = [];
    for (let n = 0; n < 4; n++) ids.push((await world.ok("message.publish", { topic: "t" })).messageId);
    await world.ok("message.receive", { subscription: "s", count: 2 });
    await world.ok("message.nack", { subscription: "other", messageId: ids[3]!, dead: true });
    await world.ok("message.ack", { subscription: "s", messageId: ids[3]! });
    await world.ok("message.ack", { subscription: "s", messageId: ids[0]! });
    await world.ok("message.nack", { subscription: "s", messageId: ids[1]!, delayMs: 60_000 });
    await world.ok("message.receive", { subscription: "s" });
    // Of s one is on its way and one is put off, of the other three are ready and one is dead.
    const counts = { kept: 4, waiting: 4, inFlight: 1, dead: 1 };
    await world.advance(1000);
    expect(samplesOf(sink).at(-1)!.messages).toEqual(counts);
    expect(world.engine.metrics().bus).toMatchObject({
      ...{ messages: 4, messagesWaiting: 4, messagesInFlight: 1, deadMessages: 1 },
    });
    await world.ok("subscription.delete", { name: "other" });
    await world.advance(1000);
    expect(samplesOf(sink).at(-1)!.messages).toEqual({ kept: 2, waiting: 1, inFlight: 1, dead: 0 });
  });

  test("stats - who reads them has the newest, or those of so long ago, and is told nothing later", async () => {
    const world = await EngineWorld.start();
    const { stats } = world.engine;
    expect([stats.last(0), stats.last(hourMs)]).toEqual([[], []]);
    await world.advance(5000);
    const ages = (historyMs: number) => stats.last(historyMs).map(({ at }) => world.clock.wallNow - at);
    expect(ages(0)).toEqual([0]);
    expect(ages(3000)).toEqual([2000, 1000, 0]);
    expect(ages(hourMs)).toEqual([4000, 3000, 2000, 1000, 0]);
  });

  test("stats - an answer takes until the log has it", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    world.engine.stats.start(sink, 0);
    world.log.auto = false;
    const asked = world.answer("task.submit", { type: "t" });
    await world.clock.advance(300);
    world.log.complete();
    await asked;
    await world.advance(1000);
    expect(samplesOf(sink)[0]!.answerMs!.p50).toBeCloseTo(300, -2);
  });

  test("stats - a task that was delayed waits from when it was ready, and one that is tried again is not counted", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    await world.submit({ delayMs: 2000, backoff: { strategy: "fixed", delayMs: 0 } });
    await world.ok("worker.register", { workerId: "w" });
    await world.advance(2300);
    world.engine.stats.start(sink, 0);
    const { assignments } = await world.ok("task.claim", { workerId: "w" });
    const { task, lease } = assignments[0]!;
    await world.ok("task.fail", { taskId: task.id, workerId: "w", token: lease.token, error: "no" });
    await world.advance(1000);
    expect(await world.ok("task.claim", { workerId: "w" })).toMatchObject({ assignments: [{}] });
    await world.advance(1000);
    expect(samplesOf(sink).map(({ waitMs }) => waitMs?.max ?? null)).toEqual([300, null]);
  });

  test("stats - who asks for the time before gets it, an hour of it in few samples that count all", async () => {
    const world = await EngineWorld.start();
    for (let i = 0; i < 120; i++) {
      await world.submit();
      await world.clock.advance(60_000);
    }
    const samples = world.engine.stats.start(new TestSink(), 2 * hourMs);
    expect(samples.length).toBeLessThan(270);
    expect(samples.map(({ at }) => at)).toEqual([...samples.map(({ at }) => at)].sort((a, b) => a - b));
    for (const [i, { at, overMs }] of samples.entries())
      if (i > 0) expect(at - overMs).toBe(samples[i - 1]!.at);
    const over = samples.reduce((sum, { overMs }) => sum + overMs, 0);
    expect(over).toBeGreaterThan(hourMs);
    const submitted = samples.reduce((sum, { counted }) => sum + counted.tasksSubmitted, 0);
    expect(Math.abs(submitted - over / 60_000)).toBeLessThanOrEqual(1);
    expect(samples.at(-1)!.overMs).toBe(1000);
    const minute = world.engine.stats.start(new TestSink(), 60_000);
    expect(minute).toEqual(samples.slice(-60));
  });

  test("stats - who stopped, left, or does not read is told nothing", async () => {
    const world = await EngineWorld.start();
    const [stopped, left, slow, reads] = [new TestSink(), new TestSink(), new TestSink(), new TestSink()];
    for (const sink of [stopped, left, slow, reads]) world.engine.stats.start(sink, 0);
    world.engine.stats.stop(stopped);
    world.engine.leave(left);
    slow.backlog = () => limits.watchBufferBytesMax + 1;
    await world.advance(1000);
    expect([stopped, left, slow, reads].map(({ pushes }) => pushes.length)).toEqual([0, 0, 0, 1]);
    slow.backlog = () => 0;
    await world.advance(1000);
    expect(slow.pushes.length).toBe(1);
  });

  test("stats - after a pause of the loop one sample is over all of it", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    world.engine.stats.start(sink, 0);
    await world.advance(1000);
    world.clock.stand(10_000);
    await world.advance(1000);
    await world.advance(1000);
    expect(samplesOf(sink).map(({ overMs }) => overMs)).toEqual([1000, 10_000, 1000, 1000]);
  });

  test("stats - a full disk shows in them", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    world.engine.stats.start(sink, 0);
    world.log.auto = false;
    world.log.probeAnswer = false;
    const asked = world.answer("task.submit", { type: "t" });
    await world.clock.advance(0);
    world.log.full();
    await asked;
    await world.clock.advance(1000);
    expect(samplesOf(sink).at(-1)!.status).toBe("read-only");
  });
});
