/** The clocks: leases end by the lease clock alone, delays by the wall clock, and the timer wakes for both. */
import { describe, expect, test } from "bun:test";
import type { KeptDisk } from "../../src/embedded/disk.ts";
import { EngineWorld, FakeClock, settle, TestSink } from "./world.ts";

async function leased(options: { leaseMs?: number; disk?: KeptDisk; clock?: FakeClock } = {}) {
  const { leaseMs = 5000, ...rest } = options;
  const world = await EngineWorld.start(rest);
  await world.ok("worker.register", { workerId: "w", instanceId: "i1" });
  const id = await world.submit({ leaseMs });
  const { assignments } = await world.ok("task.claim", { workerId: "w" });
  return { world, id, token: assignments[0]!.lease.token };
}

describe("engine - the lease clock", () => {
  test("engine - a lease ends by silence, to the turn", async () => {
    const { world, id } = await leased();
    await world.advance(4900);
    expect((await world.task(id)).state).toBe("running");
    await world.advance(400);
    expect(await world.task(id)).toMatchObject({ state: "queued", interruptions: 1, attempt: 0 });
  });

  test("engine - a stopped process expires nothing, and says so", async () => {
    const { world, id, token } = await leased();
    await world.advance(1000);
    world.clock.stand(3_600_000);
    await world.advance(250);
    expect((await world.task(id)).lease?.token).toBe(token);
    expect(world.lines.find(({ event }) => event === "loop.paused")?.pausedMs).toBeGreaterThanOrEqual(
      3_600_000,
    );
    // The gap counts for one second at most; the rest of the lease is still there.
    await world.advance(2000);
    expect((await world.task(id)).state).toBe("running");
    await world.advance(2000);
    expect((await world.task(id)).state).toBe("queued");
  });

  test("engine - neither does a request that comes in before the timer does", async () => {
    const { world, id, token } = await leased();
    world.clock.stand(3_600_000);
    await world.ok("task.complete", { taskId: id, workerId: "w", token });
    expect((await world.task(id)).state).toBe("completed");
  });

  test.each([
    ["forward", 86_400_000],
    ["back", -86_400_000],
  ])("engine - a wall clock that jumps %s ends no lease and keeps none alive", async (_name, jump) => {
    const { world, id } = await leased();
    await world.advance(1000);
    world.clock.wallNow += jump;
    await world.advance(3500);
    expect((await world.task(id)).state).toBe("running");
    await world.advance(1000);
    expect((await world.task(id)).state).toBe("queued");
  });

  test("engine - a delayed task follows the wall clock", async () => {
    const world = await EngineWorld.start();
    const id = await world.submit({ delayMs: 3_600_000 });
    await world.advance(1000);
    expect((await world.task(id)).state).toBe("scheduled");
    world.clock.wallNow += 3_600_000;
    await world.advance(300);
    expect((await world.task(id)).state).toBe("queued");
  });

  test("engine - time that goes back takes nothing back: moments only grow", async () => {
    const world = await EngineWorld.start();
    const first = await world.task(await world.submit());
    world.clock.wallNow -= 10_000;
    const second = await world.task(await world.submit());
    expect(second.createdAt).toBeGreaterThanOrEqual(first.createdAt);
  });
});

describe("engine - timers", () => {
  test("engine - something that becomes due sooner wakes sooner", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    await world.ok("worker.register", { workerId: "w" });
    world.engine.attach("w", sink, 1);
    await world.advance(10);
    const id = await world.submit({ delayMs: 20 });
    await world.advance(19);
    expect(sink.pushes).toEqual([]);
    await world.advance(2);
    expect(sink.pushes[0]).toMatchObject({ event: "task.assigned", task: { id } });
  });

  test("engine - there is one timer, and an idle engine looks four times a second", async () => {
    const world = await EngineWorld.start();
    let looks = 0;
    world.engine.onTurn(() => looks++);
    await world.advance(10_000);
    expect(looks).toBe(40);
    await world.submit({ delayMs: 5 });
    await world.submit({ delayMs: 50_000 });
    await settle();
    expect(world.clock.timerCount).toBe(1);
  });

  test("engine - a backlog larger than one entry's leases is given out without another word", async () => {
    const world = await EngineWorld.memory();
    const sink = new TestSink();
    for (let i = 0; i < 5; i++)
      await world.ok(
        "task.submit",
        Array.from({ length: 1000 }, () => ({ type: "t" })),
      );
    await world.ok("worker.register", { workerId: "w", capacity: 5000 });
    world.engine.attach("w", sink, 5000);
    await world.advance(1);
    expect(sink.pushes.length).toBe(5000);
    const tokens = new Set(sink.pushes.map(({ lease }) => lease.token));
    expect(tokens.size).toBe(3);
  });
});

describe("engine - a restart", () => {
  /** The process dies; a new one opens what the log holds. */
  async function restart(world: EngineWorld, downMs: number) {
    const clock = new FakeClock();
    clock.wallNow = world.clock.wallNow + downMs;
    clock.monotonicNow = 1;
    return EngineWorld.start({ disk: world.log.disk, clock });
  }

  test("engine - leases live on, however long the daemon was down, with a grace on top", async () => {
    const { world, id, token } = await leased();
    const after = await restart(world, 86_400_000);
    expect((await after.task(id)).lease).toMatchObject({ workerId: "w", token });
    await after.advance(9900);
    expect((await after.task(id)).state).toBe("running");
    await after.advance(500);
    expect(await after.task(id)).toMatchObject({ state: "queued", interruptions: 1 });
  });

  test("engine - a worker that comes back keeps its task under the same token, nothing charged", async () => {
    const { world, id, token } = await leased();
    const after = await restart(world, 60_000);
    const sink = new TestSink();
    const registered = await after.ok("worker.register", {
      workerId: "w",
      instanceId: "i1",
      holding: [{ taskId: id, token }],
    });
    expect(registered.leases.map(({ lease }) => lease.token)).toEqual([token]);
    expect(registered.lost).toEqual([]);
    after.engine.attach("w", sink, 1);
    await after.advance(4000);
    await after.ok("task.complete", { taskId: id, workerId: "w", token });
    expect(await after.task(id)).toMatchObject({ state: "completed", attempt: 1, interruptions: 0 });
    expect(sink.pushes).toEqual([]);
  });

  test("engine - a mutation whose answer was lost is answered the same, and done once", async () => {
    const world = await EngineWorld.start();
    const caller = { session: "s", seq: 4 };
    const first = await world.ok("task.submit", { type: "t" }, caller);
    const after = await restart(world, 1000);
    expect(await after.ok("task.submit", { type: "t" }, caller)).toEqual(first);
    expect(after.engine.core.tasks.size).toBe(1);
  });

  test("engine - revisions and tokens never go back, even where a crash took entries back", async () => {
    const { world, token } = await leased();
    const seen = world.engine.revision;
    // The last batches were applied and never synced.
    world.log.disk.batches.length = 1;
    const after = await restart(world, 0);
    expect(after.engine.revision).toBeGreaterThanOrEqual(seen);
    await after.ok("worker.register", { workerId: "w2" });
    await after.submit();
    const { assignments } = await after.ok("task.claim", { workerId: "w2" });
    expect(assignments[0]!.lease.token).toBeGreaterThan(token);
    expect(after.log.appends[0]?.after).toBe(world.log.disk.batches[0]?.last as number);
    expect(after.failures).toEqual([]);
  });

  test("engine - a wall clock that stands before the log's last moment does not take time back", async () => {
    const { world, id } = await leased();
    const before = (await world.task(id)).createdAt;
    const after = await restart(world, -86_400_000);
    const next = await after.task(await after.submit());
    expect(next.createdAt).toBeGreaterThanOrEqual(before);
  });

  test("engine - what the log cannot give back rejects the start", async () => {
    const world = EngineWorld.idle();
    world.log.open = () => Promise.reject(new Error("damaged"));
    await expect(world.engine.start()).rejects.toThrow("damaged");
    expect(world.engine.ready().ready).toBe(false);
  });
});
