/** Sick workers: deaf, stalled, failing. Who they are, what they get, and how they come back. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { World } from "../support/world.ts";

const health = (world: World, workerId = "w") => {
  const worker = world.ok("worker.get", { workerId });
  return { health: worker.health, healthy: worker.healthy, reasons: worker.reasons };
};
const slotOf = (world: World, workerId = "w") => world.core.dispatch.slot(workerId)!;
const healthy: ReturnType<typeof health> = { health: "healthy", healthy: true, reasons: [] };

/** What was leased to the worker leaves for its socket. */
function push(world: World, workerId = "w"): void {
  world.settle();
  const tokens = world.holds(workerId).map((id) => world.held(id).token);
  if (tokens.length > 0) world.core.dispatch.pushed(workerId, 1, false, Math.max(...tokens));
}
function acknowledge(world: World, token: number, workerId = "w"): void {
  world.core.setTime(world.now, world.clock);
  world.core.acknowledge(workerId, token);
  world.sound();
}
/** Submits a task, which goes to a worker, and lets the attempt end. */
function attempt(world: World, good: boolean, workerId?: string): void {
  const input = { task: { type: "t" }, ...(workerId === undefined ? {} : { workerId }) };
  const { task, lease } = world.ok("task.assign", input);
  const held = { taskId: task.id, workerId: lease.workerId, token: lease.token };
  if (good) world.ok("task.complete", held);
  else world.ok("task.fail", { ...held, error: "no", final: true });
}
const attempts = (world: World, count: number, good: boolean, workerId: string) => {
  for (let i = 0; i < count; i++) attempt(world, good, workerId);
};

describe("health - deaf", () => {
  test("health - a push that is not acknowledged in time is taken back, nothing charged, and stands where it stood", () => {
    const world = new World();
    world.worker("w");
    const [first, second] = [world.submit({ type: "t" }), world.submit({ type: "t" })];
    push(world);
    const held = world.held(first);
    world.advance(9999);
    expect(world.task(first).state).toBe("running");
    world.advance(1);
    expect(world.task(first)).toMatchObject({ state: "queued", attempt: 0, interruptions: 0 });
    expect(health(world)).toEqual({
      health: "deaf",
      healthy: false,
      reasons: ["it did not acknowledge within 10000 ms what was pushed to it"],
    });
    expect(world.core.metrics.pushesRevoked).toBe(1);
    world.worker("v");
    world.settle();
    expect(world.holds("v")).toEqual([first]);
    world.refused("task.complete", held, "lease-lost");
    expect(world.task(second).state).toBe("queued");
  });

  test("health - a deaf worker is pushed nothing until it acknowledges", () => {
    const world = new World();
    world.worker("w");
    const id = world.submit({ type: "t" });
    push(world);
    const { token } = world.held(id);
    world.advance(10_000);
    world.beat("w");
    world.advance(1000);
    expect(world.holds("w")).toEqual([]);
    acknowledge(world, token);
    world.settle();
    expect(world.holds("w")).toEqual([id]);
    expect(health(world).health).toBe("healthy");
  });

  test("health - it hears again when it registers on a new connection", () => {
    const world = new World();
    world.worker("w");
    const id = world.submit({ type: "t" });
    push(world);
    world.advance(10_000);
    world.core.dispatch.detach("w");
    world.worker("w");
    world.settle();
    expect(world.holds("w")).toEqual([id]);
  });

  test.each(["task.complete", "task.fail", "task.extend", "task.release", "task.progress"] as const)(
    "health - %s acknowledges as well, what came before it included",
    (operation) => {
      const world = new World();
      world.worker("w", { capacity: 2 });
      const [first, second] = [world.submit({ type: "t" }), world.submit({ type: "t" })];
      push(world);
      const more = { "task.fail": { error: "no", final: true }, "task.progress": { progress: 1 } };
      world.ok(operation, { ...world.held(second), ...more[operation as "task.fail"] });
      world.ok("worker.drain", { workerId: "w" });
      world.advance(20_000);
      expect(world.task(first).state).toBe("running");
      expect(health(world)).toMatchObject({ health: "healthy" });
    },
  );

  test("health - an acknowledgement of earlier pushes says nothing of later ones", () => {
    const world = new World();
    world.worker("w", { capacity: 2 });
    const first = world.submit({ type: "t" });
    push(world);
    const { token } = world.held(first);
    world.advance(5000);
    const second = world.submit({ type: "t" });
    push(world);
    acknowledge(world, token);
    world.advance(9999);
    expect(world.task(second).state).toBe("running");
    world.advance(1);
    expect([world.task(first).state, world.task(second).state]).toEqual(["running", "queued"]);
  });

  test("health - the clock begins when the push leaves, and again with all that its socket takes", () => {
    const world = new World();
    world.worker("w");
    const id = world.submit({ type: "t", leaseMs: 120_000 });
    world.settle();
    world.advance(15_000);
    push(world);
    for (let i = 0; i < 5; i++) {
      world.advance(9000);
      world.beat("w");
      world.core.dispatch.drained("w", true);
    }
    expect(world.task(id).state).toBe("running");
    world.advance(10_000);
    expect(world.task(id).state).toBe("queued");
  });

  test("health - what was claimed, or is held from an earlier connection, is never taken back as a push", () => {
    const world = new World();
    world.worker("w", { instanceId: "i", capacity: 3 });
    const kept = world.submit({ type: "t" });
    push(world);
    const { taskId, token } = world.held(kept);
    world.core.dispatch.detach("w");
    world.worker("w", { instanceId: "i", capacity: 3, holding: [{ taskId, token }] });
    world.core.dispatch.attach("w", 2);
    const pushed = world.submit({ type: "t" });
    push(world);
    world.core.dispatch.attach("w", 0);
    const claimed = world.submit({ type: "t" });
    world.ok("task.claim", { workerId: "w" });
    push(world);
    world.advance(10_000);
    expect([kept, pushed, claimed].map((id) => world.task(id).state)).toEqual([
      "running",
      "queued",
      "running",
    ]);
  });

  test("health - a worker whose unacknowledged task was cancelled is not called deaf for it", () => {
    const world = new World();
    world.worker("w");
    const id = world.submit({ type: "t" });
    push(world);
    world.ok("task.cancel", { taskId: id });
    world.advance(10_000);
    expect(health(world)).toEqual(healthy);
  });

  test("health - with pushAckMs 0 nobody needs to acknowledge", () => {
    const world = new World({ pushAckMs: 0 });
    world.worker("w");
    const id = world.submit({ type: "t" });
    push(world);
    world.advance(29_999);
    expect(world.task(id).state).toBe("running");
  });

  test("health - no lease is lost or doubled, whatever is pushed, acknowledged, completed and revoked", () => {
    const deed = fc.record({
      what: fc.constantFrom("submit", "push", "acknowledge", "complete", "stale", "wait", "beat"),
      worker: fc.nat(1),
      pick: fc.nat(20),
    });
    fc.assert(
      fc.property(fc.array(deed, { maxLength: 80 }), (deeds) => {
        const world = new World();
        const tokens: { taskId: string; workerId: string; token: number }[] = [];
        const done = new Set<string>();
        let submitted = 0;
        for (const id of ["w0", "w1"]) world.worker(id, { capacity: 3 });
        const complete = (held: (typeof tokens)[number] | undefined) => {
          if (held === undefined) return;
          const { state, lease } = world.task(held.taskId);
          const stands = state === "running" && lease!.token === held.token;
          const result = world.run("task.complete", held);
          // It is accepted under the newest lease alone, and said again under the one that completed it.
          if (stands) expect(result).toMatchObject({ ok: expect.any(String) });
          else if (!done.has(held.taskId)) expect(result).toMatchObject({ error: { code: "lease-lost" } });
          if (stands) {
            expect(done.has(held.taskId)).toBe(false);
            done.add(held.taskId);
          }
        };
        for (const { what, worker, pick } of deeds) {
          const workerId = `w${worker}`;
          const holds = world.holds(workerId);
          if (what === "submit") submitted += world.submit({ type: "t" }) === "" ? 0 : 1;
          else if (what === "push") push(world, workerId);
          else if (what === "acknowledge" && holds.length > 0)
            acknowledge(world, world.held(holds[pick % holds.length]!).token, workerId);
          else if (what === "complete" && holds.length > 0) complete(world.held(holds[pick % holds.length]!));
          else if (what === "stale") complete(tokens[pick % Math.max(1, tokens.length)]);
          else if (what === "wait") world.advance(pick * 700);
          else if (what === "beat" && slotOf(world, workerId).record.state !== "offline")
            world.beat(workerId);
          world.settle();
          for (const id of ["w0", "w1"])
            for (const taskId of world.holds(id)) tokens.push(world.held(taskId));
        }
        const { counts } = world.core.queues;
        expect(counts.queued + counts.running + counts.completed).toBe(submitted);
        expect(counts.completed).toBe(done.size);
      }),
      { numRuns: 150 },
    );
  });
});

describe("health - stalled", () => {
  const stood = (world: World, loopAgeMs: number) =>
    world.ok("worker.heartbeat", { workerId: "w", loopAgeMs });

  test("health - a worker that beats while its handlers stand still gets no tasks, until a beat says otherwise", () => {
    const world = new World();
    world.worker("w", { capacity: 2 });
    stood(world, 9999);
    expect(health(world)).toEqual(healthy);
    world.advance(1);
    stood(world, 10_000);
    expect(health(world)).toEqual({
      health: "stalled",
      healthy: false,
      reasons: ["its handlers stood still for 10000 ms"],
    });
    const id = world.submit({ type: "t" });
    world.advance(1000);
    world.beat("w");
    world.settle();
    expect(world.holds("w")).toEqual([]);
    expect(world.refused("task.claim", { workerId: "w" }, "worker-unavailable")).toMatchObject({
      detail: "worker w: its handlers stood still for 10000 ms",
      retryAfterMs: 5000,
    });
    stood(world, 0);
    world.settle();
    expect(world.holds("w")).toEqual([id]);
  });

  test("health - its beats vouch for its leases only up to when its handlers last turned", () => {
    const world = new World();
    world.worker("w");
    const id = world.submit({ type: "t", leaseMs: 5000 });
    push(world);
    acknowledge(world, world.held(id).token);
    for (let beats = 1; beats < 5; beats++) {
      world.advance(1000);
      stood(world, beats * 1000);
      expect(world.task(id).state).toBe("running");
    }
    world.now += 999;
    world.clock += 999;
    stood(world, 4999);
    expect(world.task(id).state).toBe("running");
    world.now += 1;
    world.clock += 1;
    stood(world, 5000);
    world.core.tick();
    expect(world.task(id)).toMatchObject({ state: "queued", interruptions: 1 });
    expect(world.ok("worker.get", { workerId: "w" }).state).toBe("idle");
  });

  test("health - a lease operation is handlers that turn, whatever a beat says beside it", () => {
    const world = new World();
    world.worker("w");
    const id = world.submit({ type: "t", leaseMs: 5000 });
    world.settle();
    world.advance(4000);
    world.ok("task.progress", { ...world.held(id), progress: 1 });
    stood(world, 4000);
    world.advance(4999);
    expect(world.task(id).state).toBe("running");
    world.advance(1);
    expect(world.task(id).interruptions).toBe(1);
  });

  test("health - a beat that says nothing of the loop vouches for all, and says nothing of a stall", () => {
    const world = new World();
    world.worker("w");
    stood(world, 20_000);
    world.beat("w");
    expect(health(world).health).toBe("stalled");
    world.worker("w");
    expect(health(world)).toEqual(healthy);
  });
});

describe("health - failing", () => {
  /** Two workers that offer the same, so that one can be spared. */
  function aPair(): World {
    const world = new World();
    for (const id of ["w", "v"]) world.worker(id, { capacity: 4 });
    return world;
  }
  /** Time passes, and nobody goes silent. */
  function pass(world: World, ms: number): void {
    for (let left = ms; left > 0; left -= 20_000) {
      world.advance(Math.min(left, 20_000));
      for (const slot of world.core.dispatch.slots()) world.beat(slot.id);
    }
  }

  test("health - five failures in a row quarantine a worker, four do not", () => {
    const world = aPair();
    attempts(world, 4, false, "w");
    expect(health(world)).toEqual(healthy);
    attempts(world, 1, false, "w");
    expect(health(world)).toEqual({
      health: "quarantined",
      healthy: false,
      reasons: ["too many of its attempts failed: it gets no tasks for 30 s"],
    });
    expect(world.core.metrics.quarantines).toBe(1);
    for (let i = 0; i < 5; i++) world.submit({ type: "t" });
    world.settle();
    expect([world.holds("w").length, world.holds("v").length]).toEqual([0, 4]);
    world.refused("task.claim", { workerId: "w" }, "worker-unavailable");
  });

  test("health - few failures among many successes do not", () => {
    const world = aPair();
    for (let i = 0; i < 50; i++) {
      attempts(world, 2, true, "w");
      attempts(world, 1, false, "w");
    }
    expect(health(world)).toEqual(healthy);
  });

  test("health - after the quarantine it proves itself, one task at a time", () => {
    const world = aPair();
    attempts(world, 5, false, "w");
    pass(world, 29_999);
    expect(health(world).health).toBe("quarantined");
    pass(world, 1);
    expect(health(world)).toEqual({
      health: "probation",
      healthy: false,
      reasons: ["it is on probation, one task at a time, until 3 more succeed"],
    });
    world.core.dispatch.attach("v", 0);
    for (let i = 0; i < 6; i++) world.submit({ type: "t" });
    for (let proven = 0; proven < 3; proven++) {
      world.settle();
      expect(world.holds("w").length).toBe(1);
      world.ok("task.complete", world.held(world.holds("w")[0]!));
    }
    world.settle();
    expect(health(world)).toEqual(healthy);
    expect(world.holds("w").length).toBe(3);
  });

  test("health - a failure on probation sends it back for twice as long, up to ten minutes", () => {
    const world = aPair();
    attempts(world, 5, false, "w");
    const lasted: number[] = [];
    for (let i = 0; i < 6; i++) {
      const from = world.clock;
      while (health(world).health === "quarantined") pass(world, 10_000);
      lasted.push(world.clock - from);
      attempts(world, 1, false, "w");
    }
    expect(lasted).toEqual([30_000, 60_000, 120_000, 240_000, 480_000, 600_000]);
  });

  test("health - a worker that did well for long after a quarantine begins with the shortest again", () => {
    const world = aPair();
    attempts(world, 5, false, "w");
    pass(world, 30_000);
    attempts(world, 3, true, "w");
    pass(world, 600_001);
    attempts(world, 5, false, "w");
    expect(health(world).reasons).toEqual(["too many of its attempts failed: it gets no tasks for 30 s"]);
  });

  test("health - only a task's first failure says something of its worker: a poison task makes nobody sick", () => {
    const world = new World();
    for (const id of ["a", "b", "c", "d"]) world.worker(id);
    const id = world.submit({ type: "t", attempts: 100, backoff: { strategy: "fixed", delayMs: 0 } });
    for (let i = 0; i < 100; i++) {
      world.settle();
      world.ok("task.fail", { ...world.held(id), error: "poison" });
    }
    expect(world.task(id).state).toBe("dead");
    for (const worker of ["a", "b", "c", "d"]) expect(health(world, worker)).toEqual(healthy);
  });

  test("health - the only worker of its sort is never quarantined, only reported", () => {
    const world = new World();
    world.worker("w");
    world.worker("other", { kind: "other" });
    attempts(world, 20, false, "w");
    expect(health(world)).toEqual({
      health: "failing",
      healthy: false,
      reasons: ["too many of its attempts failed, and no other worker like it can be spared"],
    });
    const id = world.submit({ type: "t", queue: "q" });
    world.ok("worker.drain", { workerId: "other" });
    world.settle();
    expect(world.holds("w")).toEqual([id]);
  });

  test("health - a worker in quarantine is let out on probation when a task asks for what it alone offers", () => {
    const world = new World();
    world.worker("w", { labels: { gpu: true } });
    world.worker("other");
    attempts(world, 6, false, "w");
    expect(health(world).health).toBe("quarantined");
    const id = world.submit({ type: "t", requires: ["gpu"] });
    world.settle();
    expect(health(world).health).toBe("probation");
    expect(world.holds("w")).toEqual([id]);
  });

  test("health - when all fail, at most half of those who offer the same are quarantined", () => {
    const world = new World();
    const ids = ["a", "b", "c", "d", "e"];
    for (const id of ids) world.worker(id);
    for (let round = 0; round < 10; round++)
      for (const id of ids) if (health(world, id).health !== "quarantined") attempts(world, 1, false, id);
    const of = (state: string) => ids.filter((id) => health(world, id).health === state).length;
    expect([of("quarantined"), of("failing")]).toEqual([2, 3]);
  });

  test.each([
    ["leaves", (world: World) => world.ok("worker.unregister", { workerId: "v" })],
    ["drains", (world: World) => world.ok("worker.drain", { workerId: "v" })],
    ["stalls", (world: World) => world.ok("worker.heartbeat", { workerId: "v", loopAgeMs: 60_000 })],
  ])("health - a worker in quarantine is let out on probation when the last other one %s", (_, goes) => {
    const world = aPair();
    attempts(world, 5, false, "w");
    goes(world);
    expect(health(world).health).toBe("probation");
    const id = world.submit({ type: "t" });
    world.settle();
    expect(world.holds("w")).toEqual([id]);
  });

  test("health - attempts that run too long are failures", () => {
    const world = aPair();
    world.core.dispatch.attach("v", 0);
    for (let i = 0; i < 5; i++) {
      world.submit({ type: "t", timeoutMs: 1000, attempts: 1 });
      world.settle();
      world.advance(1000);
    }
    expect(health(world).health).toBe("quarantined");
  });

  test("health - a new instance of a worker is not what the last one was", () => {
    const world = new World();
    world.worker("v");
    world.worker("w", { instanceId: "one" });
    attempts(world, 5, false, "w");
    world.advance(20_000);
    world.beat("v");
    world.advance(10_000);
    world.worker("w", { instanceId: "two" });
    expect(health(world)).toEqual(healthy);
  });

  test("health - the score falls with failures and with slow acknowledgements, and slowness alone never quarantines", () => {
    const world = aPair();
    const score = () => world.ok("worker.get", { workerId: "w" }).healthScore;
    expect(score()).toBe(100);
    attempts(world, 1, false, "w");
    expect(score()).toBe(86);
    attempts(world, 40, true, "w");
    expect(score()).toBe(100);
    world.ok("worker.drain", { workerId: "v" });
    for (let i = 0; i < 40; i++) {
      const id = world.submit({ type: "t" });
      push(world);
      world.advance(9900);
      const held = world.held(id);
      acknowledge(world, held.token);
      world.ok("task.complete", held);
    }
    expect(score()).toBe(51);
    expect(health(world)).toEqual(healthy);
  });
});

describe("health - what a full disk takes back", () => {
  type Move = { do: "good" | "bad" | "bads" | "anew" | "leave" | "drain" | "undrain"; worker: string };
  const move = fc.record({
    do: fc.constantFrom(...(["good", "bad", "bads", "bads", "anew", "leave", "drain", "undrain"] as const)),
    worker: fc.constantFrom("a", "a", "a", "b", "c"),
  });
  const workers = ["a", "b", "c"];

  function world(moves: readonly Move[]): World {
    const world = new World();
    for (const worker of workers) world.worker(worker, { claims: true, instanceId: "1" });
    for (const one of moves) make(world, one);
    return world;
  }
  /** One of them, if it is taken. */
  function make(world: World, { do: what, worker: workerId }: Move): void {
    if (what === "leave") world.run("worker.unregister", { workerId });
    else if (what === "anew") {
      if (world.core.workers.has(workerId)) world.run("worker.unregister", { workerId });
      world.run("worker.register", { workerId, instanceId: String(world.store.revision) });
    } else if (what === "drain" || what === "undrain")
      world.run("worker.drain", { workerId, drain: what === "drain" });
    else if (world.core.workers.get(workerId)?.state === "online")
      attempts(world, what === "bads" ? 4 : 1, what === "good", workerId);
    world.sound();
  }
  const seen = (world: World) => ({
    workers: world.ok("worker.list", {}).workers.map(({ revision, instanceId, ...worker }) => worker),
    metrics: { ...world.core.metrics },
  });

  test("health - it says nothing of a worker, then or later: as if it had never been", () => {
    const met = new Set<string>();
    fc.assert(
      fc.property(
        fc.array(move, { maxLength: 15 }),
        fc.array(move, { minLength: 1, maxLength: 15 }),
        fc.array(move, { maxLength: 15 }),
        (before, undone, after) => {
          const full = world(before);
          const stands = seen(full);
          const durable = full.durable();
          for (const one of undone) make(full, one);
          for (const worker of seen(full).workers) met.add(worker.health);
          full.undo(durable);
          expect(seen(full)).toEqual(stands);
          const never = world(before);
          for (const one of after) {
            make(full, one);
            make(never, one);
          }
          expect(seen(full)).toEqual(seen(never));
        },
      ),
      { numRuns: 150 },
    );
    expect([...met].sort()).toEqual(["failing", "healthy", "probation", "quarantined"]);
  });

  test("health - a worker whose pushes were taken back as overdue holds them again, and is looked at again", () => {
    const world = new World();
    world.worker("w");
    const id = world.submit({ type: "t" });
    push(world);
    const durable = world.durable();
    world.advance(10_000);
    expect([world.holds("w"), health(world).health]).toEqual([[], "deaf"]);
    world.undo(durable);
    expect([world.holds("w"), health(world)]).toEqual([[id], healthy]);
    expect(world.core.metrics.pushesRevoked).toBe(0);
    world.settle();
    expect([world.holds("w"), health(world).health]).toEqual([[], "deaf"]);
    expect(world.core.metrics.pushesRevoked).toBe(1);
  });

  test("health - one that has acknowledged meanwhile is heard", () => {
    const world = new World();
    world.worker("w");
    const id = world.submit({ type: "t" });
    push(world);
    const durable = world.durable();
    const { token } = world.held(id);
    world.advance(10_000);
    acknowledge(world, token);
    world.undo(durable);
    world.settle();
    expect([world.holds("w"), health(world)]).toEqual([[id], healthy]);
  });

  test("health - that another process took a worker's place leaves the first one's health", () => {
    const world = new World();
    for (const worker of ["w", "v"]) world.worker(worker, { claims: true, instanceId: "1" });
    attempts(world, 2, true, "w");
    attempts(world, 3, false, "w");
    world.advance(31_000);
    const before = seen(world);
    const durable = world.durable();
    world.ok("worker.register", { workerId: "w", instanceId: "2" });
    expect(health(world).health).toBe("healthy");
    expect(slotOf(world).health.conduct.failures).toBe(0);
    world.undo(durable);
    expect(seen(world).workers.map(({ lastSeenAt, ...worker }) => worker)).toEqual(
      before.workers.map(({ lastSeenAt, ...worker }) => worker),
    );
  });

  test("health - a quarantine that is over by then is over once", () => {
    const world = new World();
    for (const worker of ["w", "v", "u"]) world.worker(worker);
    attempts(world, 5, false, "w");
    const { failures } = slotOf(world).health.conduct;
    const durable = world.durable();
    attempts(world, 2, false, "w");
    world.advance(30_000);
    expect(health(world).health).toBe("probation");
    world.undo(durable);
    expect(slotOf(world).health.conduct).toMatchObject({ failures, toProve: 0, strikes: 1 });
    world.settle();
    expect(slotOf(world).health.conduct).toMatchObject({ quarantinedUntil: 0, toProve: 3, strikes: 1 });
    expect(world.core.metrics.quarantines).toBe(1);
  });
});

test("health - none of it writes an entry", () => {
  const world = new World();
  for (const id of ["w", "v"]) world.worker(id);
  const count = world.transactions.length;
  world.ok("worker.heartbeat", { workerId: "w", loopAgeMs: 60_000 });
  acknowledge(world, 5);
  world.advance(20_000);
  expect(world.transactions.length).toBe(count);
});
