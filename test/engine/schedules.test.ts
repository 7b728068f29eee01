/** Schedules in the loop: its timer starts them, watchers hear of them, and a full disk or a restart loses none. */
import { describe, expect, test } from "bun:test";
import { EngineWorld, FakeClock, settle, TestSink } from "./world.ts";

const second = 1000;
const every = (name: string, everyMs: number) => ({ name, everyMs, task: { type: "t", queue: name } });
const queued = (world: EngineWorld) => world.engine.core.queues.counts.queued;

describe("engine - schedules", () => {
  test("engine - the loop's own timer starts a run, and a connected worker is pushed its task", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    await world.ok("worker.register", { workerId: "w", queues: ["s"] });
    world.engine.attach("w", sink, 1);
    await world.ok("schedule.put", every("s", 5 * second));
    await world.advance(5 * second - 1);
    expect(sink.pushes).toEqual([]);
    await world.advance(1);
    expect(sink.pushes).toMatchObject([{ event: "task.assigned", task: { type: "t", queue: "s" } }]);
  });

  test("engine - watchers hear of a schedule's life, and only those who want to", async () => {
    const world = await EngineWorld.start();
    const [all, schedules, tasks, queue] = [new TestSink(), new TestSink(), new TestSink(), new TestSink()];
    world.engine.watch(all, { watchId: "a" });
    world.engine.watch(schedules, { watchId: "s", tables: ["schedules"] });
    world.engine.watch(tasks, { watchId: "t", tables: ["tasks", "workers"] });
    world.engine.watch(queue, { watchId: "q", queue: "s" });
    await world.ok("schedule.put", every("s", 5 * second));
    await world.advance(5 * second);
    await world.ok("schedule.pause", { name: "s" });
    await world.ok("schedule.delete", { name: "s" });
    const told = (sink: TestSink) =>
      sink.changes.map(({ event }) => `${event.operation} ${event.table} ${event.before} ${event.state}`);
    const life = [
      "schedule.put schedules null active",
      "schedule.fire schedules active active",
      "schedule.pause schedules active paused",
      "schedule.delete schedules paused null",
    ];
    const task = "schedule.fire tasks null queued";
    expect(told(schedules)).toEqual(life);
    expect(told(all)).toEqual([life[0]!, task, ...life.slice(1)]);
    expect(told(tasks)).toEqual([task]);
    expect(told(queue)).toEqual([task]);
    expect(schedules.changes[1]?.event).toMatchObject({ id: "s", who: "cortexd" });
  });

  test("engine - a run that a full disk undid starts once there is room, once", async () => {
    const world = await EngineWorld.start();
    await world.ok("schedule.put", every("s", 60 * second));
    world.log.auto = false;
    await world.advance(60 * second);
    expect(world.log.isAppending).toBe(true);
    world.log.full();
    await settle();
    expect(queued(world)).toBe(0);
    expect(await world.ok("schedule.get", { name: "s" })).toMatchObject({ runsCount: 0, lastTaskId: null });
    world.sound();
    world.log.auto = true;
    await world.advance(3 * second);
    expect(queued(world)).toBe(1);
    expect((await world.ok("schedule.get", { name: "s" })).runsCount).toBe(1);
    world.sound();
  });

  test("engine - of a run that no append held nothing is left, and the restart starts it", async () => {
    const clock = new FakeClock();
    const world = await EngineWorld.start({ clock });
    await world.ok("schedule.put", every("s", 60 * second));
    world.log.auto = false;
    await world.advance(60 * second);
    expect(queued(world)).toBe(1);
    // The process dies before the entry is written.
    const again = await EngineWorld.start({ clock, disk: world.log.disk });
    expect(queued(again)).toBe(1);
    expect((await again.ok("schedule.get", { name: "s" })).runsCount).toBe(1);
    const third = await EngineWorld.start({ clock, disk: again.log.disk });
    await third.advance(10 * second);
    expect(queued(third)).toBe(1);
    third.sound();
  });

  test("engine - with many schedules at rest a turn looks at none of them", async () => {
    const world = await EngineWorld.start();
    for (let i = 0; i < 1000; i++) await world.ok("schedule.put", every(`s${i}`, 3_600_000));
    const revision = world.engine.revision;
    let looks = 0;
    const { agenda } = world.engine.core;
    const look = agenda.lookAtFirst.bind(agenda);
    agenda.lookAtFirst = () => {
      looks++;
      look();
    };
    await world.advance(60 * second);
    expect(looks).toBe(0);
    expect(world.engine.revision).toBe(revision);
    await world.advance(3_600_000);
    expect(looks).toBe(1000);
  });
});
