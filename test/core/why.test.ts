/** Why a task is not running: each reason, made true and looked for. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Output } from "../../src/wire/operations.ts";
import { namedMax, type ReasonCode } from "../../src/wire/why.ts";
import { World } from "../support/world.ts";

type Explained = Output<"task.explain">;
const why = (world: World, taskId: string): Explained => world.ok("task.explain", { taskId });
const codes = (world: World, taskId: string) => why(world, taskId).reasons.map(({ code }) => code);

describe("why - of workers", () => {
  test("why - nobody is registered, or nobody who meets a thing that it asks", () => {
    const world = new World();
    const id = world.submit({ type: "t", queue: "mail", requires: ["mem >= 64"], capabilities: ["tls"] });
    expect(why(world, id).summary).toBe("no worker is registered.");
    world.worker("a", { labels: { mem: 64 } });
    world.worker("b", { labels: { mem: 32 }, queues: ["other"] });
    const explained = why(world, id);
    expect(explained.summary).toBe("none of 2 registered workers meets capability tls.");
    expect(explained).toMatchObject({
      reasons: [{ code: "no-worker", untilAt: null, by: [] }],
      workers: { registered: 2, fitting: 0, free: 0 },
      asks: [
        { asked: "queue mail", met: 1 },
        { asked: "capability tls", met: 0 },
        { asked: "mem >= 64", met: 1 },
      ],
      ahead: 0,
    });
    world.worker("c", { capabilities: ["tls"], kind: "special" });
    expect(why(world, id).summary).toContain("no registered worker meets all it asks");
    expect(why(world, id).summary).toContain("capability tls (1)");
  });

  test("why - it takes more slots than any worker has", () => {
    const world = new World();
    world.worker("a", { capacity: 4 });
    world.worker("b", { capacity: 2 });
    const id = world.submit({ type: "t", slots: 5 });
    world.settle();
    expect(why(world, id)).toMatchObject({
      summary: "it takes 5 slots, and the largest of 2 that fit has 4.",
      reasons: [{ code: "too-large" }],
    });
  });

  test("why - workers that fit have no room, and so many come before it", () => {
    const world = new World();
    world.worker("a");
    world.worker("b");
    const ids = [0, 1, 2, 3, 4].map(() => world.submit({ type: "t" }));
    const high = world.submit({ type: "t", priority: "high" });
    world.settle();
    const held = [...world.holds("a"), ...world.holds("b")];
    const waiting = ids.filter((id) => !held.includes(id));
    const explained = why(world, waiting.at(-1)!);
    expect(explained).toMatchObject({
      reasons: [{ code: "busy", by: ["a", "b"] }],
      workers: { registered: 2, fitting: 2, free: 0 },
      ahead: waiting.length - 1,
    });
    expect(explained.summary).toBe(
      `all 2 workers that fit have no room for it, and about ${waiting.length - 1} tasks come before it.`,
    );
    expect(world.task(high).state).toBe("running");
    expect(why(world, waiting[0]!).summary).toContain("it is next in line");
  });

  const unavailable: [string, (world: World) => void, RegExp][] = [
    ["draining", (world) => world.ok("worker.drain", { workerId: "w" }), /worker w is draining/],
    ["without credit", (world) => world.core.dispatch.attach("w", 0), /worker w is without credit/],
    [
      "stalled",
      (world) => world.ok("worker.heartbeat", { workerId: "w", loopAgeMs: 3_600_000 }),
      /worker w is stalled/,
    ],
    ["slow", (world) => world.core.dispatch.pushed("w", 0, true, 0), /worker w is slow to take/],
    [
      "deaf",
      (world) => {
        const id = world.submit({ type: "t", priority: "critical" });
        world.settle();
        world.core.dispatch.pushed("w", 0, false, world.task(id).lease!.token);
        world.advance(10_000);
        world.ok("task.cancel", { taskId: id });
      },
      /worker w is deaf/,
    ],
    [
      "in quarantine",
      (world) => {
        world.worker("other");
        for (let i = 0; i < 6; i++) {
          const { task, lease } = world.ok("task.assign", {
            task: { type: "t", attempts: 1 },
            workerId: "w",
          });
          world.ok("task.fail", { taskId: task.id, workerId: "w", token: lease.token, error: "no" });
        }
        world.core.dispatch.attach("other", 0);
      },
      /worker w is in quarantine/,
    ],
  ];
  test.each(unavailable)("why - the worker that fits is %s", (_, make, says) => {
    const world = new World();
    world.worker("w", { capacity: 4 });
    make(world);
    const id = world.submit({ type: "t" });
    world.settle();
    expect(codes(world, id)).toContain("unavailable");
    expect(why(world, id).summary).toMatch(says);
  });

  test("why - those that fit have no connection and claim nothing, until one does", () => {
    const world = new World();
    world.worker("w", { claims: true });
    const id = world.submit({ type: "t" });
    expect(why(world, id)).toMatchObject({
      reasons: [{ code: "unclaimed", by: ["w"] }],
      workers: { free: 1 },
    });
    const { dispatch } = world.core;
    dispatch.waitForClaim(dispatch.slot("w")!);
    expect(codes(world, id)).toEqual(["starting"]);
  });

  test("why - the worker it is pinned to is not there, does not fit, or is busy", () => {
    const world = new World();
    const id = world.submit({ type: "t", workerId: "mine", requires: ["gpu"] });
    world.worker("other", { labels: { gpu: true } });
    expect(why(world, id)).toMatchObject({
      summary: "it is for worker mine alone, which is not registered.",
      reasons: [{ code: "pinned", by: ["mine"] }],
    });
    world.worker("mine");
    expect(why(world, id).summary).toContain("no registered worker meets all it asks");
    world.worker("mine", { labels: { gpu: true } });
    world.ok("task.assign", { task: { type: "t" }, workerId: "mine" });
    expect(why(world, id)).toMatchObject({
      reasons: [{ code: "busy", by: ["mine"] }],
      workers: { fitting: 1 },
    });
    world.advance(60_000);
    expect(why(world, id).summary).toBe("it is for worker mine alone, which is offline.");
  });

  test("why - it waits for the worker that had the last of its name, until a moment", () => {
    const world = new World();
    world.worker("a");
    world.submit({ type: "t", sticky: "s" });
    world.settle();
    world.worker("b");
    const id = world.submit({ type: "t", sticky: "s", stickyMs: 5000 });
    world.settle();
    world.advance(2000);
    const [reason, busy] = why(world, id).reasons;
    expect(reason).toMatchObject({ code: "sticky", by: ["a"], untilAt: world.now + 3000 });
    expect(reason?.detail).toContain("for 3 s yet");
    expect(busy).toMatchObject({ code: "busy", by: ["a"] });
  });

  test("why - room is kept for it, and is not enough yet", () => {
    const world = new World({ ageingMs: 0 });
    world.worker("w", { capacity: 3 });
    for (let i = 0; i < 40; i++) world.submit({ type: "small" });
    world.settle();
    const id = world.submit({ type: "large", slots: 3, priority: "high" });
    for (let i = 0; i < 12; i++) {
      world.ok("task.complete", world.held(world.holds("w")[0]!));
      world.advance(1000);
      world.beat("w");
    }
    const { reasons } = why(world, id);
    expect(reasons).toMatchObject([{ code: "kept", by: ["w"] }]);
    expect(reasons[0]?.detail).toMatch(/room is kept for it on worker w: [12] of the 3 slots it takes/);
  });
});

describe("why - of limits, pauses and time", () => {
  test("why - its queue and its group are paused, by whom, why and until when", () => {
    const world = new World();
    world.worker("w");
    world.ok("queue.pause", { queue: "q", forMs: 60_000, reason: "moving house" });
    world.ok("queue.pause", { queue: "q", group: "acme" });
    const id = world.submit({ type: "t", queue: "q", group: "acme" });
    world.settle();
    const { reasons } = why(world, id);
    expect(reasons).toMatchObject([
      { code: "paused", by: ["test"], untilAt: world.now + 60_000 },
      { code: "paused", by: ["test"], untilAt: null },
    ]);
    expect(reasons.map(({ detail }) => detail)).toEqual([
      "queue q is paused by test (moving house), for 60 s yet",
      "group acme is paused by test, until it is resumed",
    ]);
  });

  test("why - a limit is reached, and by which tasks", () => {
    const world = new World();
    world.worker("w", { capacity: 30 });
    world.ok("limit.put", { name: "openai", concurrency: 12 });
    world.ok("task.assign", { task: { type: "other" }, workerId: "w" });
    const ids = Array.from({ length: 13 }, () => world.submit({ type: "t", limits: ["openai"] }));
    world.settle();
    const [reason] = why(world, ids[12]!).reasons;
    expect(reason).toMatchObject({
      code: "concurrency",
      detail: "12 tasks of limit openai run; its limit is 12",
      by: ids.slice(0, namedMax),
    });
    world.ok("queue.configure", { queue: "default", groupConcurrency: 1 });
    const [first, second] = [1, 2].map(() => world.submit({ type: "t", group: "g" }));
    world.settle();
    expect(why(world, second!).reasons).toMatchObject([{ code: "concurrency", by: [first!] }]);
  });

  test("why - as many started as its rate allows, until the next may", () => {
    const world = new World();
    world.worker("w", { capacity: 9 });
    world.ok("queue.configure", { queue: "q", rate: { count: 1, perMs: 10_000 } });
    world.submit({ type: "t", queue: "q" });
    const id = world.submit({ type: "t", queue: "q" });
    world.settle();
    expect(why(world, id).reasons).toMatchObject([{ code: "rate", untilAt: world.now + 10_000 }]);
    expect(why(world, id).summary).toContain("the next may start in 10 s");
  });

  test("why - all reasons are told at once", () => {
    const world = new World();
    world.ok("queue.pause", { queue: "q" });
    world.ok("limit.put", { name: "none", concurrency: 0 });
    const id = world.submit({ type: "t", queue: "q", limits: ["none"], requires: ["gpu"] });
    expect(codes(world, id)).toEqual(["paused", "concurrency", "no-worker"]);
  });

  test("why - it is not time yet, or not again after a failure", () => {
    const world = new World();
    world.worker("w");
    const id = world.submit({
      type: "t",
      delayMs: 5000,
      backoff: { strategy: "fixed", delayMs: 7000, jitter: 0 },
    });
    expect(why(world, id)).toMatchObject({
      reasons: [{ code: "scheduled", untilAt: world.now + 5000 }],
      ahead: null,
      summary: "it begins in 5 s.",
    });
    world.advance(5000);
    expect(why(world, id)).toMatchObject({ state: "running", reasons: [{ code: "running", by: ["w"] }] });
    world.ok("task.fail", { ...world.held(id), error: "no" });
    expect(why(world, id).summary).toBe("attempt 1 failed, and the next begins in 7 s.");
    world.ok("task.cancel", { taskId: id, reason: "enough" });
    expect(why(world, id).summary).toBe("it is cancelled: enough.");
    world.refused("task.explain", { taskId: "999-0" }, "unknown-task");
  });

  test("why - it waits for other tasks, or for being closed", () => {
    const world = new World();
    const first = world.submit({ type: "t", delayMs: 60_000 });
    const second = world.submit({ type: "t", after: [first] });
    expect(why(world, second)).toMatchObject({
      reasons: [{ code: "blocked", by: [first] }],
      summary: `it waits for ${first}.`,
    });
  });
});

test("why - a task that nothing keeps is leased at the next dispatch, and one that is kept back is not", () => {
  const submit = fc.record({
    requires: fc.constantFrom<string[]>([], ["gpu"]),
    slots: fc.constantFrom(1, 2, 3),
    limits: fc.constantFrom<string[]>([], ["one"]),
    workerId: fc.constantFrom(undefined, undefined, "w0", "w1"),
  });
  const seen = new Set<ReasonCode>();
  fc.assert(
    fc.property(
      fc.array(submit, { minLength: 1, maxLength: 8 }),
      fc.array(fc.record({ gpu: fc.boolean(), capacity: fc.integer({ min: 1, max: 3 }) }), { maxLength: 2 }),
      (submits, workers) => {
        const world = new World();
        world.ok("limit.put", { name: "one", concurrency: 1 });
        for (const [i, { gpu, capacity }] of workers.entries())
          world.worker(`w${i}`, { capacity, labels: { gpu } });
        for (const { workerId, ...more } of submits) {
          const id = world.submit({ type: "t", ...more, ...(workerId === undefined ? {} : { workerId }) });
          // All that came before were dispatched, so only this one may start now.
          const { reasons, workers: counts } = why(world, id);
          for (const { code } of reasons) seen.add(code);
          world.settle();
          const started = world.task(id).state === "running";
          expect([reasons.map(({ code }) => code), started]).toEqual([
            started ? ["starting"] : reasons.map(({ code }) => code).filter((code) => code !== "starting"),
            started,
          ]);
          if (started) expect(counts.free).toBeGreaterThan(0);
        }
      },
    ),
    { numRuns: 150 },
  );
  for (const code of ["starting", "busy", "no-worker", "pinned", "too-large", "concurrency"] as const)
    expect([...seen]).toContain(code);
}, 60_000);
