/** Requests that wait: a task's end, and a task to claim. */
import { describe, expect, test } from "bun:test";
import { heldCount } from "../support/held.ts";
import { EngineWorld, settle, TestSink } from "./world.ts";

async function claiming(...workers: string[]) {
  const world = await EngineWorld.start();
  for (const workerId of workers) await world.ok("worker.register", { workerId, capacity: 5 });
  return { world, sink: new TestSink() };
}
const ids = (sink: TestSink, seq: number) =>
  sink.ok(seq).assignments.map(({ task }: { task: { id: string } }) => task.id);

describe("engine - message.receive that waits", () => {
  test("messages - a request that waits listens all the while", async () => {
    const { world, sink } = await claiming();
    await world.ok("subscription.put", { name: "s", topic: "t", idleMs: 1000 });
    const seq = world.ask(sink, "message.receive", { subscription: "s", waitMs: 10_000 });
    for (let i = 0; i < 20; i++) await world.advance(300);
    expect(sink.answers).toEqual([]);
    await world.ok("message.publish", { topic: "t", payload: 1 });
    await settle();
    expect(sink.ok(seq).messages).toMatchObject([{ payload: 1 }]);
    for (let i = 0; i < 5; i++) await world.advance(300);
    await world.refused("subscription.get", { name: "s" }, "unknown-subscription");
  });
});

describe("engine - message.receive that was given up", () => {
  test("messages - before it began it takes no message, neither one that is there nor one that comes", async () => {
    const { world, sink } = await claiming();
    await world.ok("subscription.put", { name: "s", topic: "t" });
    const giveUp = async () => {
      const signal = AbortSignal.abort();
      world.ask(sink, "message.receive", { subscription: "s", waitMs: 60_000 }, { signal });
      await settle();
    };
    await giveUp();
    await world.ok("message.publish", { topic: "t", payload: 1 });
    await giveUp();
    expect((await world.ok("subscription.get", { name: "s" })).inFlight).toBe(0);
  });
});

describe("engine - message.request that waits", () => {
  test("messages - what was asked is held no longer than until it is answered, however long it might have waited", async () => {
    const { world, sink } = await claiming();
    world.engine.listen("t", null, { sink, subscriptionId: "s" });
    const asked = Array.from({ length: 100 }, () => {
      const input = { topic: "t", payload: "question", waitMs: 300_000 };
      world.ask(sink, "message.request", input);
      return new WeakRef(input);
    });
    await settle();
    for (const { event } of sink.messages.splice(0))
      await world.ok("message.reply", { requestId: event.requestId });
    expect(sink.answers.length).toBe(100);
    expect(await heldCount(asked)).toBeLessThan(20);
  });
});

describe("engine - task.get that waits", () => {
  test("engine - it is answered when the task ends, and not before", async () => {
    const { world, sink } = await claiming("w");
    const id = await world.submit();
    const seq = world.ask(sink, "task.get", { taskId: id, waitMs: 60_000 });
    const { assignments } = await world.ok("task.claim", { workerId: "w" });
    await world.advance(5000);
    expect(sink.answers).toEqual([]);
    const { token } = assignments[0]!.lease;
    await world.ok("task.complete", { taskId: id, workerId: "w", token, result: 7 });
    await settle();
    expect(sink.ok(seq)).toMatchObject({ state: "completed", result: 7 });
  });

  test("engine - it is answered as things stand when its time is over", async () => {
    const { world, sink } = await claiming();
    const id = await world.submit();
    const seq = world.ask(sink, "task.get", { taskId: id, waitMs: 3000 });
    await world.advance(2999);
    expect(sink.answers).toEqual([]);
    await world.advance(1);
    expect(sink.ok(seq).state).toBe("queued");
  });

  test("engine - who has waited enough is answered as things stand, by the clock as it stands", async () => {
    const { world, sink } = await claiming("w");
    const id = await world.submit();
    const enough = new AbortController();
    const seq = world.ask(sink, "task.get", { taskId: id, waitMs: 60_000 }, { enough: enough.signal });
    await settle();
    world.clock.stand(200);
    expect(sink.answers).toEqual([]);
    enough.abort();
    expect(world.engine.core.now).toBe(world.clock.wallNow);
    await settle();
    expect(sink.ok(seq).state).toBe("queued");
  });

  test("engine - one that retention removes while somebody waits is answered from the archive", async () => {
    const world = await EngineWorld.start({ config: { retentionCount: 1 } });
    const sink = new TestSink();
    const first = await world.submit();
    await world.ok("task.cancel", { taskId: first });
    await world.ok("task.retry", { taskId: first });
    const seq = world.ask(sink, "task.get", { taskId: first, waitMs: 60_000 });
    await world.ok("task.cancel", { taskId: first });
    const second = await world.submit();
    await world.ok("task.cancel", { taskId: second });
    expect(sink.answers.length).toBe(1);
    expect(sink.ok(seq).state).toBe("cancelled");
    expect(await world.task(first)).toMatchObject({ state: "cancelled", archived: true });
  });

  test("engine - one that ends and leaves in one entry is answered to whoever waited for it", async () => {
    const world = await EngineWorld.start({ config: { retentionCount: 0 } });
    const sink = new TestSink();
    const id = await world.submit();
    const seq = world.ask(sink, "task.get", { taskId: id, waitMs: 60_000 });
    await settle();
    expect(sink.answers).toEqual([]);
    await world.ok("task.cancel", { taskId: id });
    expect(world.engine.core.tasks.size).toBe(0);
    expect(sink.ok(seq)).toMatchObject({ id, state: "cancelled", archived: true });
  });

  test("engine - a task that has ended, or is not there, is answered at once", async () => {
    const { world } = await claiming();
    const id = await world.submit();
    await world.ok("task.cancel", { taskId: id });
    expect((await world.ok("task.get", { taskId: id, waitMs: 60_000 })).state).toBe("cancelled");
    await world.refused("task.get", { taskId: "99-9", waitMs: 60_000 }, "unknown-task");
  });

  test("engine - a thousand wait for one task, and each is answered its end", async () => {
    const { world, sink } = await claiming("w");
    const id = await world.submit();
    const seqs = Array.from({ length: 1000 }, () =>
      world.ask(sink, "task.get", { taskId: id, waitMs: 60_000 }),
    );
    const { assignments } = await world.ok("task.claim", { workerId: "w" });
    expect(sink.answers).toEqual([]);
    const { token } = assignments[0]!.lease;
    await world.ok("task.complete", { taskId: id, workerId: "w", token, result: 7 });
    await settle();
    expect(seqs.map((seq) => sink.ok(seq).result)).toEqual(Array(1000).fill(7));
  });

  test("engine - who reads a log waits for its next line, for the end of the task, or for the time to be over", async () => {
    const { world, sink } = await claiming("w");
    const taskId = await world.submit();
    const { assignments } = await world.ok("task.claim", { workerId: "w" });
    const held = { taskId, workerId: "w", token: assignments[0]!.lease.token };
    const ask = (from: number) => world.ask(sink, "task.logs", { taskId, from, waitMs: 5000 });
    const [first, second] = [ask(0), ask(1)];
    await world.advance(1000);
    expect(sink.answers).toEqual([]);
    await world.ok("task.log", { ...held, lines: ["a"] });
    await settle();
    expect(sink.ok(first)).toMatchObject({ lines: [{ text: "a" }], next: 1 });
    // A line that was there before is no reason to wait.
    const known = ask(0);
    await settle();
    expect(sink.ok(known).next).toBe(1);
    await world.advance(4000);
    expect(sink.ok(second)).toEqual({ lines: [], first: 0, next: 1 });
    const end = ask(1);
    await world.ok("task.complete", held);
    await settle();
    expect(sink.ok(end)).toEqual({ lines: [], first: 0, next: 1 });
    const over = ask(1);
    await settle();
    expect(sink.ok(over).lines).toEqual([]);
  });

  test("engine - several wait for one task, and one that goes away does not disturb the others", async () => {
    const { world, sink } = await claiming();
    const id = await world.submit();
    const goes = new AbortController();
    const first = world.ask(sink, "task.get", { taskId: id, waitMs: 60_000 });
    world.ask(sink, "task.get", { taskId: id, waitMs: 60_000 }, { signal: goes.signal });
    const third = world.ask(sink, "task.get", { taskId: id, waitMs: 60_000 });
    goes.abort();
    await world.ok("task.cancel", { taskId: id });
    expect(sink.answers.map(({ seq }) => seq)).toEqual([first, third]);
    await world.advance(61_000);
    expect(sink.answers.length).toBe(2);
  });
});

describe("engine - task.claim that waits", () => {
  test("engine - it is served by the first task that fits", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    await world.ok("worker.register", { workerId: "w", queues: ["mail"] });
    const seq = world.ask(sink, "task.claim", { workerId: "w", waitMs: 60_000 });
    await world.submit({ queue: "other" });
    expect(sink.answers).toEqual([]);
    const id = await world.submit({ queue: "mail" });
    expect(ids(sink, seq)).toEqual([id]);
    expect((await world.task(id)).lease?.workerId).toBe("w");
    world.sound();
  });

  test("engine - with nothing to take it ends empty when its time is over", async () => {
    const { world, sink } = await claiming("w");
    const seq = world.ask(sink, "task.claim", { workerId: "w", waitMs: 2000 });
    await world.advance(2000);
    expect(sink.ok(seq)).toEqual({ assignments: [] });
    const id = await world.submit();
    expect((await world.task(id)).state).toBe("queued");
  });

  test("engine - a claim that was given up gets no lease", async () => {
    const { world, sink } = await claiming("w");
    const goes = new AbortController();
    world.ask(sink, "task.claim", { workerId: "w", waitMs: 60_000 }, { signal: goes.signal });
    goes.abort();
    const id = await world.submit();
    await world.advance(60_000);
    expect((await world.task(id)).state).toBe("queued");
    expect(sink.answers).toEqual([]);
  });

  test("engine - one that was given up before it began gets no lease either", async () => {
    const { world, sink } = await claiming("w");
    const id = await world.submit();
    world.ask(sink, "task.claim", { workerId: "w", waitMs: 60_000 }, { signal: AbortSignal.abort() });
    await settle();
    expect((await world.task(id)).state).toBe("queued");
  });

  test("engine - a connection's signal holds nothing of waits that are over", async () => {
    const { world, sink } = await claiming("w");
    let listening = 0;
    const { signal } = new AbortController();
    const counted = Object.create(signal, {
      aborted: { value: false },
      addEventListener: { value: () => listening++ },
      removeEventListener: { value: () => listening-- },
    });
    for (let i = 0; i < 5; i++) {
      const id = await world.submit({ queue: `q${i}` });
      world.ask(sink, "task.get", { taskId: id, waitMs: 1000 }, { signal: counted });
      if (i % 2 === 0) await world.ok("task.cancel", { taskId: id });
    }
    expect(listening).toBe(2);
    await world.advance(1000);
    expect(listening).toBe(0);
  });

  test("engine - claims of several workers are served in the order they came", async () => {
    const { world, sink } = await claiming("a", "b", "c");
    const seqs = ["b", "c", "a"].map((workerId) =>
      world.ask(sink, "task.claim", { workerId, waitMs: 60_000 }),
    );
    const tasks = [await world.submit(), await world.submit(), await world.submit()];
    expect(seqs.map((seq) => ids(sink, seq)[0])).toEqual(tasks);
  });

  test("engine - a second claim of a worker does not cost it its place", async () => {
    const { world, sink } = await claiming("a", "b");
    const first = world.ask(sink, "task.claim", { workerId: "a", waitMs: 60_000 });
    const other = world.ask(sink, "task.claim", { workerId: "b", waitMs: 60_000 });
    world.ask(sink, "task.claim", { workerId: "a", waitMs: 60_000 });
    const one = await world.submit();
    expect(ids(sink, first)).toEqual([one]);
    const two = await world.submit();
    expect(ids(sink, other)).toEqual([two]);
  });

  test("engine - a worker that always has a claim waiting does not starve the others", async () => {
    const { world, sink } = await claiming("greedy", "modest");
    world.ask(sink, "task.claim", { workerId: "greedy", waitMs: 60_000 });
    world.ask(sink, "task.claim", { workerId: "greedy", waitMs: 60_000 });
    const modest = world.ask(sink, "task.claim", { workerId: "modest", waitMs: 60_000 });
    for (let i = 0; i < 2; i++) {
      await world.submit();
      world.ask(sink, "task.claim", { workerId: "greedy", waitMs: 60_000 });
    }
    expect(ids(sink, modest).length).toBe(1);
  });

  test("engine - one that waits keeps its worker alive", async () => {
    const { world, sink } = await claiming("waits", "quiet");
    const seq = world.ask(sink, "task.claim", { workerId: "waits", waitMs: 100_000 });
    await world.advance(90_000);
    expect((await world.ok("worker.get", { workerId: "quiet" })).state).toBe("offline");
    expect((await world.ok("worker.get", { workerId: "waits" })).state).toBe("idle");
    const id = await world.submit();
    expect(ids(sink, seq)).toEqual([id]);
  });

  test("engine - a worker that registers for more while its claim waits gets what it now fits", async () => {
    const world = await EngineWorld.start();
    const sink = new TestSink();
    await world.ok("worker.register", { workerId: "w", queues: ["a"] });
    const seq = world.ask(sink, "task.claim", { workerId: "w", waitMs: 60_000 });
    await world.ok("worker.register", { workerId: "w", queues: ["a", "b"] });
    const id = await world.submit({ queue: "b" });
    expect(ids(sink, seq)).toEqual([id]);
  });

  test("engine - a worker that leaves ends its claims at once", async () => {
    const { world, sink } = await claiming("w");
    const seq = world.ask(sink, "task.claim", { workerId: "w", waitMs: 60_000 });
    await world.ok("worker.unregister", { workerId: "w" });
    expect(sink.error(seq).code).toBe("unknown-worker");
  });

  test("engine - a drained worker's claim takes nothing, and blocks nobody", async () => {
    const { world, sink } = await claiming("drained", "free");
    world.ask(sink, "task.claim", { workerId: "drained", waitMs: 60_000 });
    const free = world.ask(sink, "task.claim", { workerId: "free", waitMs: 60_000 });
    await world.ok("worker.drain", { workerId: "drained" });
    const id = await world.submit();
    expect(ids(sink, free)).toEqual([id]);
    world.sound();
  });

  test("engine - a claim repeated under its seq gets the leases it already got", async () => {
    const { world, sink } = await claiming("w");
    const caller = { session: "s", seq: 9 };
    world.ask(sink, "task.claim", { workerId: "w", waitMs: 60_000 }, caller);
    const id = await world.submit();
    await world.submit();
    expect(ids(sink, 9)).toEqual([id]);
    const again = await world.ok("task.claim", { workerId: "w", waitMs: 60_000 }, caller);
    expect(again.assignments.map(({ task }) => task.id)).toEqual([id]);
    expect((await world.ok("worker.get", { workerId: "w" })).running).toBe(1);
  });
});
