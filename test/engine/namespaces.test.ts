/** Namespaces as the loop knows them: one state each, made and dropped whole, and nothing told before the disk has it. */
import { describe, expect, test } from "bun:test";
import type { Answer } from "../../src/engine/types.ts";
import { makesNamespace, operationNames } from "../../src/wire/operations.ts";
import { Rooms } from "./rooms.ts";
import { settle, TestSink } from "./world.ts";

const task = { queue: "q", type: "t" };
const codeOf = (answer: Answer | undefined) => (answer && "error" in answer ? answer.error.code : "ok");
const said = (answer: Answer) => ("ok" in answer ? JSON.parse(answer.ok) : answer.error.code);
const lastOf = (sink: TestSink) => codeOf(sink.answers.at(-1)?.answer);
/** What a promise has come to so far. */
async function soFar<T>(promise: Promise<T>): Promise<T | "nothing"> {
  await settle();
  return Promise.race([promise, Promise.resolve("nothing" as const)]);
}

describe("namespaces - made", () => {
  test("namespaces - each has a state, a log and revisions of its own", async () => {
    const rooms = await Rooms.start();
    await rooms.make("a");
    const sink = new TestSink();
    const seq = rooms.ask("a", sink, "task.submit", task);
    await settle();
    const { id } = sink.ok(seq);
    const there = rooms.ask("a", sink, "task.get", { taskId: id });
    const elsewhere = rooms.ask("default", sink, "task.get", { taskId: id });
    await settle();
    expect([sink.ok(there).id, sink.error(elsewhere).code]).toEqual([id, "unknown-task"]);
    expect([rooms.places.default.appends.length, rooms.places.logs.get("a")!.appends.length]).toEqual([0, 1]);
  });

  test("namespaces - two who want the same name at once get the same one", async () => {
    const rooms = await Rooms.start();
    const [one, two] = await Promise.all([rooms.make("a"), rooms.make("a")]);
    expect(one).toBe(two);
    expect(rooms.places.calls).toEqual(["make a", "made a"]);
    const both = ["b", "b"].map((namespace) => rooms.carryOut("namespace.create", { namespace }));
    expect((await Promise.all(both)).map((answer) => said(answer).created)).toEqual([true, false]);
  });

  test("namespaces - one is not there before it is so on disk", async () => {
    const rooms = await Rooms.start();
    const held = rooms.places.hold("made a");
    const made = rooms.make("a");
    expect(await soFar(made)).toBe("nothing");
    expect(rooms.namespaces.find("a")).toBeUndefined();
    held.resolve();
    expect(await made).toBe(rooms.namespaces.find("a") as never);
  });

  test("namespaces - over the limit none is made, and dropping one makes room", async () => {
    const rooms = await Rooms.start({ namespacesMax: 2 });
    expect(said(await rooms.carryOut("namespace.create", { namespace: "a" }))).toEqual({
      namespace: "a",
      created: true,
    });
    expect(said(await rooms.carryOut("namespace.create", { namespace: "b" }))).toBe("too-many-namespaces");
    expect(said(await rooms.carryOut("namespace.create", { namespace: "a" })).created).toBe(false);
    await rooms.carryOut("namespace.drop", { namespace: "a" });
    expect(said(await rooms.carryOut("namespace.create", { namespace: "b" })).created).toBe(true);
  });

  test.each([
    ["a full disk", Object.assign(new Error("no space"), { code: "ENOSPC" }), "disk-full"],
    ["anything else", new Error("no right"), "internal"],
  ])(
    "namespaces - one that cannot be made for %s is taken back and told, and the daemon lives",
    async (_, error, code) => {
      const rooms = await Rooms.start();
      rooms.places.failing.set("made a", error);
      expect(said(await rooms.carryOut("namespace.create", { namespace: "a" }))).toBe(code);
      expect(rooms.places.calls.at(-1)).toBe("unmake a");
      expect([rooms.failures, rooms.namespaces.find("a")]).toEqual([[], undefined]);
      rooms.places.failing.clear();
      await rooms.make("a");
    },
  );

  test.each(["", "A", "a/b", "..", ".a", "-a", "a".repeat(64), "a b", "__proto__", "é", 7, null])(
    "namespaces - %p is no name",
    async (namespace) => {
      const rooms = await Rooms.start();
      for (const operation of ["namespace.create", "namespace.drop"] as const)
        expect(said(await rooms.carryOut(operation, { namespace }))).toBe("invalid-input");
      expect(rooms.places.calls).toEqual([]);
    },
  );

  test("namespaces - what may be the first in one is what can be done in a state that holds nothing", () => {
    const making = operationNames.filter(makesNamespace);
    expect(making).toEqual(expect.arrayContaining(["task.submit", "worker.register"]));
    for (const name of [
      "task.get",
      "task.cancel",
      "task.claim",
      "worker.heartbeat",
      "state.get",
      "session.hello",
    ])
      expect(making).not.toContain(name as never);
  });
});

describe("namespaces - dropped", () => {
  test("namespaces - whoever waits is told once it is gone from the disk, and not before", async () => {
    const rooms = await Rooms.start();
    await rooms.make("a");
    const sink = new TestSink();
    const submitted = rooms.ask("a", sink, "task.submit", task);
    await settle();
    const { id } = sink.ok(submitted);
    const before = sink.answers.length;
    const waiting = rooms.ask("a", sink, "task.get", { taskId: id, waitMs: 60_000 });
    const held = rooms.places.hold("drop a");
    const dropping = rooms.carryOut("namespace.drop", { namespace: "a" });
    await settle();
    const late = rooms.ask("a", sink, "task.submit", task);
    await rooms.clock.advance(1000);
    expect([rooms.namespaces.ready().ready, rooms.namespaces.health().status]).toEqual([true, "ok"]);
    expect(sink.answers.length).toBe(before);
    expect(await soFar(dropping)).toBe("nothing");
    held.resolve();
    expect(said(await dropping)).toEqual({ namespace: "a" });
    await rooms.clock.advance(1);
    expect([sink.error(waiting).code, sink.error(late).code]).toEqual([
      "namespace-dropped",
      "namespace-dropped",
    ]);
    expect(sink.answers.length).toBe(before + 2);
    expect(rooms.namespaces.find("a")).toBeUndefined();
    expect(rooms.places.calls.slice(-4)).toEqual(["floor", "floor", "drop a", "sweep"]);
  });

  test("namespaces - what was on its way to the log is told as done, because it was", async () => {
    const rooms = await Rooms.start();
    await rooms.make("a");
    const log = rooms.places.logs.get("a")!;
    log.auto = false;
    const sink = new TestSink();
    rooms.ask("a", sink, "task.submit", task);
    const dropping = rooms.carryOut("namespace.drop", { namespace: "a" });
    expect(await soFar(dropping)).toBe("nothing");
    log.complete();
    expect(codeOf(await dropping)).toBe("ok");
    expect([lastOf(sink), log.stopCount]).toEqual(["ok", 1]);
  });

  test("namespaces - an engine that is gone answers whoever still knows it", async () => {
    const rooms = await Rooms.start();
    const engine = await rooms.make("a");
    await rooms.carryOut("namespace.drop", { namespace: "a" });
    await rooms.clock.advance(1);
    const answer = await engine.call("state.get", {}, { who: "x", session: null, seq: 0, ackedThrough: 0 });
    expect(codeOf(answer)).toBe("namespace-dropped");
    expect((await engine.tablePage("tasks", null, 10)).rows).toEqual([]);
    const { timerCount } = rooms.clock;
    await rooms.clock.advance(5000);
    expect(rooms.clock.timerCount).toBe(timerCount);
  });

  test("namespaces - one made again holds nothing, and goes on above every revision of the old one", async () => {
    const rooms = await Rooms.start();
    const old = await rooms.make("a");
    const sink = new TestSink();
    for (let i = 0; i < 5; i++) rooms.ask("a", sink, "task.submit", task);
    await settle();
    const { revision } = old;
    await rooms.carryOut("namespace.drop", { namespace: "a" });
    await rooms.make("a");
    const listed = rooms.ask("a", sink, "task.list", {});
    const seq = rooms.ask("a", sink, "task.submit", task);
    await settle();
    expect(sink.ok(listed).tasks).toEqual([]);
    expect(Number(sink.ok(seq).id.split("-")[0])).toBeGreaterThan(revision);
  });

  test("namespaces - one that is wanted again while it goes is a new one", async () => {
    const rooms = await Rooms.start();
    const old = await rooms.make("a");
    const held = rooms.places.hold("drop a");
    const dropping = rooms.carryOut("namespace.drop", { namespace: "a" });
    const again = rooms.make("a");
    expect(await soFar(again)).toBe("nothing");
    held.resolve();
    await dropping;
    expect(await again).not.toBe(old);
  });

  test("namespaces - default stays, and one that is not there is told", async () => {
    const rooms = await Rooms.start();
    expect(said(await rooms.carryOut("namespace.drop", { namespace: "default" }))).toBe("invalid-input");
    expect(said(await rooms.carryOut("namespace.drop", { namespace: "a" }))).toBe("unknown-namespace");
    expect(rooms.places.calls).toEqual([]);
  });

  test("namespaces - its memory is given back to the others", async () => {
    const rooms = await Rooms.start({ memoryBytesMax: 3000 });
    await rooms.make("a");
    const sink = new TestSink();
    rooms.ask("a", sink, "task.submit", { ...task, payload: "x".repeat(4000) });
    await settle();
    rooms.ask("default", sink, "task.submit", task);
    await settle();
    expect(lastOf(sink)).toBe("busy");
    await rooms.carryOut("namespace.drop", { namespace: "a" });
    await rooms.clock.advance(1);
    rooms.ask("default", sink, "task.submit", task);
    await settle();
    expect(lastOf(sink)).toBe("ok");
  });

  test("namespaces - what cannot be noted for lack of room is not begun, and what cannot be moved ends the process", async () => {
    const rooms = await Rooms.start();
    const engine = await rooms.make("a");
    rooms.places.failing.set("floor", Object.assign(new Error("no space"), { code: "ENOSPC" }));
    expect(said(await rooms.carryOut("namespace.drop", { namespace: "a" }))).toBe("disk-full");
    expect([rooms.namespaces.find("a"), engine.ready().ready, rooms.failures]).toEqual([engine, true, []]);
    rooms.places.failing.clear();
    const error = new Error("no right");
    rooms.places.failing.set("drop a", error);
    expect(said(await rooms.carryOut("namespace.drop", { namespace: "a" }))).toBe("shutting-down");
    expect(rooms.failures).toEqual([error]);
  });
});

describe("namespaces - seen as a whole", () => {
  test("namespaces - a full disk of one is told of that one and of the daemon, and the others go on", async () => {
    const rooms = await Rooms.start();
    await rooms.make("a");
    const log = rooms.places.logs.get("a")!;
    log.auto = false;
    log.probeAnswer = false;
    const sink = new TestSink();
    rooms.ask("a", sink, "task.submit", task);
    await settle();
    log.full();
    await settle();
    expect(lastOf(sink)).toBe("disk-full");
    const { namespaces } = said(await rooms.carryOut("namespace.list"));
    expect(namespaces.map((one: { name: string; status: string }) => [one.name, one.status])).toEqual([
      ["default", "ok"],
      ["a", "read-only"],
    ]);
    expect(rooms.namespaces.health()).toMatchObject({ status: "read-only", namespaceCount: 2 });
    expect(rooms.namespaces.ready()).toEqual({ ready: false, reason: "a: the disk is full" });
    rooms.ask("default", sink, "task.submit", task);
    await settle();
    expect(lastOf(sink)).toBe("ok");
    // And one that is full can be dropped.
    expect(codeOf(await rooms.carryOut("namespace.drop", { namespace: "a" }))).toBe("ok");
    expect(rooms.namespaces.health()).toMatchObject({ status: "ok", namespaceCount: 1 });
  });

  test("namespaces - the failure of one log is the failure of the daemon", async () => {
    const rooms = await Rooms.start();
    await rooms.make("a");
    const error = new Error("a sync failed");
    rooms.places.logs.get("a")!.fail(error);
    expect(rooms.failures).toEqual([error]);
  });

  test("namespaces - metrics count over all of them, and tell of each by itself", async () => {
    const rooms = await Rooms.start();
    await rooms.make("a");
    const sink = new TestSink();
    for (const name of ["a", "a", "default"]) rooms.ask(name, sink, "task.submit", task);
    await settle();
    const queued = (of: { metrics(): { daemon: Record<string, number> } }) => of.metrics().daemon.tasksQueued;
    expect([
      queued(rooms.namespaces),
      queued(rooms.namespaces.default),
      queued(rooms.namespaces.find("a")!),
    ]).toEqual([3, 1, 2]);
    expect(rooms.namespaces.metrics().daemon).toMatchObject({ namespaces: 2, tasksSubmitted: 3 });
    const submitted = (of: { metrics(): { daemon: Record<string, number> } }) =>
      of.metrics().daemon.tasksSubmitted;
    expect([submitted(rooms.namespaces.default), submitted(rooms.namespaces.find("a")!)]).toEqual([1, 2]);
    expect(rooms.namespaces.metrics().daemon.uptimeMs).toBe(
      rooms.namespaces.default.metrics().daemon.uptimeMs,
    );
  });

  test("namespaces - what was counted in one that is dropped stays counted", async () => {
    const rooms = await Rooms.start();
    await rooms.make("a");
    const sink = new TestSink();
    for (let i = 0; i < 2; i++) rooms.ask("a", sink, "task.submit", task);
    await settle();
    rooms.namespaces.find("a")!.watch(sink, { watchId: "x" });
    const counted = () => rooms.namespaces.metrics().daemon.tasksSubmitted;
    const dropped = rooms.namespaces.carryOut("namespace.drop", { namespace: "a" });
    await settle();
    expect(await dropped).toHaveProperty("ok");
    expect(counted()).toBe(2);
    await rooms.clock.advance(1);
    expect(counted()).toBe(2);
  });

  test("namespaces - a log line of one says which", async () => {
    const rooms = await Rooms.start();
    await rooms.make("a");
    const sink = new TestSink();
    for (const name of ["a", "default"]) rooms.ask(name, sink, "worker.register", { workerId: `of-${name}` });
    await settle();
    const told = rooms.lines.filter(({ event }) => event === "worker.registered");
    expect(told.map(({ workerId, namespace }) => [workerId, namespace])).toEqual([
      ["of-a", "a"],
      ["of-default", undefined],
    ]);
  });

  test("namespaces - all stop, default last, and none is made any more", async () => {
    const rooms = await Rooms.start();
    await rooms.make("a");
    const order: string[] = [];
    for (const [name, log] of rooms.places.logs) {
      const stop = log.stop.bind(log);
      log.stop = () => {
        order.push(name);
        return stop();
      };
    }
    await rooms.namespaces.stop();
    expect(order).toEqual(["a", "default"]);
    expect(said(await rooms.carryOut("namespace.create", { namespace: "b" }))).toBe("shutting-down");
  });
});
