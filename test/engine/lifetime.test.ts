/** Starting, stopping, and what those see who only look: health, metrics, pages and the stream. */
import { describe, expect, test } from "bun:test";
import { anyone, EngineWorld, settle, TestSink } from "./world.ts";

describe("engine - stop", () => {
  test("engine - waiters are answered, what is left is written, the log is stopped once", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    await world.ok("worker.register", { workerId: "w", queues: ["none"] });
    const id = await world.submit();
    const get = world.ask(sink, "task.get", { taskId: id, waitMs: 60_000 });
    const claim = world.ask(sink, "task.claim", { workerId: "w", waitMs: 60_000 });
    world.log.auto = false;
    const last = world.ask(sink, "task.submit", { type: "t" });
    const steps: string[] = [];
    const stops = [world.engine.stop((step) => steps.push(step)), world.engine.stop()];
    await settle();
    expect(steps).toEqual(["answered who waited"]);
    expect(world.log.stopCount).toBe(0);
    world.log.complete();
    await Promise.all(stops);
    expect(sink.ok(get).state).toBe("queued");
    expect(sink.ok(claim)).toEqual({ assignments: [] });
    expect(sink.ok(last).state).toBe("queued");
    await world.engine.stop();
    expect(world.log.stopCount).toBe(1);
    expect(steps).toEqual(["answered who waited", "wrote what was left", "closed the log"]);
    expect(world.clock.timerCount).toBe(0);
    expect(world.failures).toEqual([]);
  });

  test("engine - the second stop() too resolves only when the log is closed", async () => {
    const world = await EngineWorld.start();
    world.log.auto = false;
    world.ask(new TestSink(), "task.submit", { type: "t" });
    await settle();
    void world.engine.stop();
    let stopped = false;
    const second = world.engine.stop().then(() => {
      stopped = true;
    });
    await settle();
    expect(stopped).toBe(false);
    world.log.complete();
    await second;
    expect(world.log.stopCount).toBe(1);
  });

  test("engine - new work is refused while it stops and after, and leaves in its place", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    world.log.auto = false;
    const first = world.ask(sink, "task.submit", { type: "t" });
    await settle();
    const stop = world.engine.stop();
    const second = world.ask(sink, "task.submit", { type: "t" });
    await settle();
    expect(sink.answers).toEqual([]);
    world.log.complete();
    await stop;
    expect(sink.answers.map(({ seq }) => seq)).toEqual([first, second]);
    expect(sink.error(second)).toMatchObject({ code: "shutting-down", status: 503, retryable: true });
    expect(await world.engine.call("state.get", {}, anyone)).toMatchObject({
      error: { code: "shutting-down" },
    });
    expect(world.log.appends.length).toBe(1);
  });

  test("engine - nothing is leased by a coordinator that is leaving", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    await world.ok("worker.register", { workerId: "w" });
    await world.ok("worker.register", { workerId: "c" });
    world.ask(sink, "task.claim", { workerId: "c", waitMs: 60_000 });
    const stop = world.engine.stop();
    world.engine.attach("w", sink, 1);
    await stop;
    expect(sink.pushes).toEqual([]);
    world.sound();
  });

  test("engine - a disk that is full at the end is told to those who wait, and does not hold it up", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    world.log.auto = false;
    const seq = world.ask(sink, "task.submit", { type: "t" });
    const stop = world.engine.stop();
    await settle();
    world.log.full();
    await stop;
    expect(sink.error(seq).code).toBe("disk-full");
    expect(world.log.stopCount).toBe(1);
  });

  test("engine - a probe that the closing of the log cut short is no failure", async () => {
    const world = await EngineWorld.start();
    world.log.auto = false;
    world.ask(new TestSink(), "task.submit", { type: "t" });
    await settle();
    world.log.full();
    await settle();
    const probe = Promise.withResolvers<boolean>();
    world.log.probe = () => probe.promise;
    await world.clock.advance(1500);
    await world.engine.stop();
    probe.reject(new Error("the log is stopped"));
    await settle();
    expect(world.failures).toEqual([]);
  });
});

describe("engine - for those who look", () => {
  test("engine - health and readiness name each state", async () => {
    const world = EngineWorld.idle();
    const shows = () => [world.engine.health().status, world.engine.ready().ready];
    expect(shows()).toEqual(["stopping", false]);
    expect(world.engine.ready().reason).toBe("the log is being read");
    await world.engine.start();
    expect(shows()).toEqual(["ok", true]);
    await world.clock.advance(1234);
    expect(world.engine.health()).toMatchObject({ uptimeMs: 1234, preset: "test", version: "0.0.0" });
    world.log.auto = false;
    world.ask(new TestSink(), "task.submit", { type: "t" });
    await settle();
    world.log.full();
    await settle();
    expect(shows()).toEqual(["read-only", false]);
    await world.engine.stop();
    expect(shows()).toEqual(["stopping", false]);
  });

  test("engine - the metrics tell what is, in JSON and for Prometheus", async () => {
    const world = await EngineWorld.start();
    await world.ok("worker.register", { workerId: "w" });
    await world.submit();
    await world.submit();
    await world.ok("task.claim", { workerId: "w" });
    await world.refused("task.get", { taskId: "99-9" }, "unknown-task");
    const { daemon, store } = world.engine.metrics();
    expect(daemon).toMatchObject({
      tasksSubmitted: 2,
      tasksLeased: 1,
      tasksQueued: 1,
      tasksRunning: 1,
      workersBusy: 1,
      operations: 5,
      operationsRefused: 1,
    });
    expect(store).toMatchObject({ revision: 4, durableRevision: 4, entriesLogged: 4, batchesLogged: 4 });
    expect(world.engine.prometheus()).toContain('cortexd_tasks{state="queued"} 1\n');
    expect(world.engine.prometheus()).toContain("cortexd_tasks_submitted_total 2\n");
    // Refused ones too; what was asked together is counted by its name.
    const counts = [
      ...[
        ...world.engine
          .prometheus()
          .matchAll(/^(cortexd_\w+_seconds)_count(?:\{operation="(.*)"\})? (\d+)$/gm),
      ],
    ].map(([, name, operation, count]) => [operation ?? name, Number(count)]);
    const {
      cortexd_task_wait_seconds: waits,
      cortexd_task_run_seconds: runs,
      ...others
    } = Object.fromEntries(counts);
    expect([waits, runs, others["task.submit"], others["task.get"]]).toEqual([1, 0, 2, 1]);
    const { cortexd_log_commit_seconds: commits, ...operations } = others;
    expect(commits).toBe(4);
    expect(Object.values(operations as Record<string, number>).reduce((sum, count) => sum + count, 0)).toBe(
      5,
    );
  });

  test("engine - the metrics can be read in every state", async () => {
    const world = await EngineWorld.start();
    const undurable = () => world.engine.metrics().store.undurableBytes;
    world.log.auto = false;
    world.ask(new TestSink(), "task.submit", { type: "t" });
    await settle();
    expect(undurable()).toBeGreaterThan(0);
    world.log.full();
    await settle();
    expect(undurable()).toBe(0);
    expect(world.engine.prometheus()).toContain("cortexd_disk_full_total 1\n");
    await world.engine.stop();
    expect(world.engine.prometheus()).toContain("cortexd_revision 1\n");
  });

  test("engine - the pages of a table hold every record once", async () => {
    const world = await EngineWorld.start();
    const ids = new Set<string>();
    for (let i = 0; i < 50; i++) ids.add(await world.submit());
    const found: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await world.engine.tablePage("tasks", cursor, 7);
      found.push(...page.rows.map((row) => JSON.parse(row).id));
      cursor = page.cursor;
      expect(page.revision).toBe(world.engine.revision);
    } while (cursor !== null);
    expect(found.length).toBe(50);
    expect(new Set(found)).toEqual(ids);
  });

  test("engine - the stream is the state of one revision, while everything changes", async () => {
    const world = await EngineWorld.start();
    await world.ok("worker.register", { workerId: "busy", capacity: 50 });
    await world.ok("worker.register", { workerId: "leaves" });
    const ids: string[] = [];
    for (let i = 0; i < 100; i++) ids.push(await world.submit());
    await world.ok("task.claim", { workerId: "busy", count: 30 });
    const { revision, counts } = await world.ok("state.get", {});
    const texts: string[] = [];
    let turn = 0;
    for await (const text of world.engine.stateStream()) {
      texts.push(text);
      turn += 1;
      await world.submit({ queue: "later" });
      if (turn === 2) {
        await world.ok("task.claim", { workerId: "busy", count: 20 });
        for (const id of ids.slice(60)) await world.ok("task.cancel", { taskId: id });
        await world.ok("worker.drain", { workerId: "busy" });
        await world.ok("worker.unregister", { workerId: "leaves" });
      }
    }
    const [head, ...rows] = texts
      .join("")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(head).toEqual({ revision, at: expect.any(Number) });
    const of = (table: string) => rows.filter((row) => row.table === table).map((row) => row.record);
    expect(
      of("tasks")
        .map(({ id }) => id)
        .sort(),
    ).toEqual([...ids].sort());
    const states = Object.groupBy(of("tasks"), ({ state }) => state);
    expect([states.running?.length, states.queued?.length]).toEqual([
      counts.tasks.running,
      counts.tasks.queued,
    ]);
    const workers = Object.fromEntries(of("workers").map((worker) => [worker.id, worker]));
    expect(workers.busy).toMatchObject({ state: "busy", running: 30, slotsUsed: 30 });
    expect(workers.leaves).toMatchObject({ state: "idle", running: 0, capacity: 1, connected: false });
    for (const record of [...of("tasks"), ...of("workers")])
      expect(record.revision).toBeLessThanOrEqual(revision);
  });

  test("engine - a stream that nobody reads to its end holds nothing", async () => {
    const world = await EngineWorld.start();
    await world.submit();
    const stream = world.engine.stateStream()[Symbol.asyncIterator]();
    await stream.next();
    await stream.return?.();
    await world.submit();
    world.sound();
  });
});
