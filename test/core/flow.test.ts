import { describe, expect, test } from "bun:test";
import { Bucket } from "../../src/core/gates.ts";
import type { Input } from "../../src/wire/operations.ts";
import { World } from "../support/world.ts";

/** Ids of the tasks that run, in the order they were leased. */
const running = (world: World, workerId = "w") => world.holds(workerId);

function submit(world: World, count: number, more: object = {}): string[] {
  return Array.from({ length: count }, () => world.submit({ type: "t", queue: "q", ...more }));
}

/** Completes the worker's oldest task; its id. */
function complete(world: World, workerId = "w"): string {
  const [id] = world.holds(workerId) as [string];
  world.ok("task.complete", world.held(id));
  world.settle();
  return id;
}

test("flow - a queue says when its oldest ready task was submitted, whatever its priority and group", () => {
  const world = new World();
  const oldest = () => world.ok("queue.get", { queue: "q" }).oldestAt;
  world.ok("queue.configure", { queue: "q", concurrency: 1 });
  expect(oldest()).toBeNull();
  submit(world, 1, { delayMs: 60_000 });
  expect(oldest()).toBeNull();
  const first = world.now;
  const [low] = submit(world, 1, { priority: "low", group: "a" });
  world.advance(5000);
  const second = world.now;
  submit(world, 2, { priority: "critical", group: "b" });
  expect(oldest()).toBe(first);
  world.ok("task.cancel", { taskId: low! });
  expect(oldest()).toBe(second);
  world.worker("w", { capacity: 10 });
  world.settle();
  complete(world);
  complete(world);
  expect(oldest()).toBeNull();
  // One that waits for its own worker is of its queue as well.
  const third = world.now;
  submit(world, 1, { workerId: "another" });
  expect(oldest()).toBe(third);
});

describe("flow - concurrency", () => {
  test("flow - of a queue no more run than its concurrency says, and the next starts when one ends", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", concurrency: 2 });
    const ids = submit(world, 4);
    world.worker("w", { capacity: 10 });
    world.settle();
    expect(running(world)).toEqual(ids.slice(0, 2));
    complete(world);
    expect(running(world)).toEqual(ids.slice(1, 3));
    expect(world.ok("queue.get", { queue: "q" }).shut).toBe("concurrency");
  });

  test("flow - other queues and other groups go on where one is at its limit", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", groupConcurrency: 1 });
    const [a1] = submit(world, 3, { group: "a" });
    const [b1] = submit(world, 3, { group: "b" });
    const other = world.submit({ type: "t", queue: "other" });
    world.worker("w", { capacity: 10 });
    world.settle();
    expect(running(world).sort()).toEqual([a1!, b1!, other].sort());
  });

  test("flow - tasks without a group have no per-group limit", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", groupConcurrency: 1 });
    submit(world, 3);
    world.worker("w", { capacity: 10 });
    world.settle();
    expect(running(world)).toHaveLength(3);
  });

  test("flow - a named limit holds over queues, and for whoever names it alone", () => {
    const world = new World();
    world.ok("limit.put", { name: "api", concurrency: 2 });
    for (const queue of ["x", "y", "z"]) world.submit({ type: "t", queue, limits: ["api"] });
    const free = world.submit({ type: "t", queue: "x" });
    world.worker("w", { capacity: 10 });
    world.settle();
    expect(running(world)).toHaveLength(3);
    expect(running(world)).toContain(free);
    expect(world.ok("limit.get", { name: "api" })).toMatchObject({ running: 2, shut: "concurrency" });
    world.ok("limit.delete", { name: "api" });
    world.settle();
    expect(running(world)).toHaveLength(4);
  });

  test("flow - a limit that is lowered ends nothing, and one that is raised starts the next at once", () => {
    const world = new World();
    submit(world, 6);
    world.worker("w", { capacity: 10 });
    world.ok("queue.configure", { queue: "q", concurrency: 3 });
    world.settle();
    world.ok("queue.configure", { queue: "q", concurrency: 1 });
    world.settle();
    expect(running(world)).toHaveLength(3);
    complete(world);
    complete(world);
    expect(running(world)).toHaveLength(1);
    world.ok("queue.configure", { queue: "q", concurrency: null });
    world.settle();
    expect(running(world)).toHaveLength(4);
  });

  test("flow - a claim gets only what may start, and waits for the rest", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", concurrency: 1 });
    submit(world, 3);
    world.worker("w", { capacity: 10, claims: true });
    expect(world.ok("task.claim", { workerId: "w", count: 5 }).assignments).toHaveLength(1);
    expect(world.ok("task.claim", { workerId: "w", count: 5 }).assignments).toHaveLength(0);
    world.ok("task.complete", world.held(running(world)[0]!));
    expect(world.ok("task.claim", { workerId: "w", count: 5 }).assignments).toHaveLength(1);
  });

  test("flow - a task is not assigned over a limit", () => {
    const world = new World();
    world.ok("limit.put", { name: "api", concurrency: 0 });
    const id = world.submit({ type: "t", limits: ["api"] });
    world.worker("w");
    world.refused("task.assign", { taskId: id, workerId: "w" }, "limit-reached");
    world.refused("task.assign", { task: { type: "t", limits: ["api"] } }, "limit-reached");
    world.ok("limit.put", { name: "api", concurrency: 1 });
    world.ok("task.assign", { taskId: id, workerId: "w" });
  });

  test("flow - a lane that nobody serves keeps no other from a limit they share", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", concurrency: 1 });
    world.worker("w", { capacity: 10 });
    world.worker("gpu", { kind: "gpu" });
    const blocker = submit(world, 1, { kind: "worker" })[0]!;
    submit(world, 5, { kind: "gpu" });
    const plain = submit(world, 1, { kind: "worker" })[0]!;
    world.settle();
    // The gpu worker looks at its lane, and what waits there falls asleep at the queue's gate.
    expect(world.holds("gpu")).toEqual([]);
    world.ok("worker.drain", { workerId: "gpu" });
    world.ok("task.complete", world.held(blocker));
    world.settle();
    expect(world.holds("w")).toEqual([plain]);
  });
});

test("flow - what sleeps behind a woken task wakes too once that has found its worker", () => {
  const world = new World();
  world.ok("queue.configure", { queue: "q", concurrency: 1 });
  world.worker("w", { kind: "worker" });
  world.worker("gpu", { kind: "gpu", capacity: 2 });
  submit(world, 1, { kind: "worker" });
  world.settle();
  const waiting = ["a", "b"].flatMap((group) => submit(world, 1, { kind: "gpu", group }));
  world.settle();
  // The gate opens while nobody is there for what sleeps at it.
  world.ok("worker.drain", { workerId: "gpu" });
  world.ok("queue.configure", { queue: "q", concurrency: 3 });
  world.settle();
  world.ok("worker.drain", { workerId: "gpu", drain: false });
  world.settle();
  expect(world.holds("gpu").sort()).toEqual(waiting.sort());
});

describe("flow - rates", () => {
  test("flow - a rate lets a burst pass, then one each time a token comes", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", rate: { count: 2, perMs: 1000, burst: 3 } });
    submit(world, 10);
    world.worker("w", { capacity: 100 });
    world.settle();
    expect(running(world)).toHaveLength(3);
    world.advance(499);
    expect(running(world)).toHaveLength(3);
    expect(world.core.nextDueMs()).toBe(1);
    world.advance(1);
    expect(running(world)).toHaveLength(4);
    world.advance(1000);
    expect(running(world)).toHaveLength(6);
  });

  test("flow - each group has a rate of its own", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", groupRate: { count: 1, perMs: 1000 } });
    submit(world, 3, { group: "a" });
    submit(world, 3, { group: "b" });
    world.worker("w", { capacity: 100 });
    world.settle();
    expect(running(world)).toHaveLength(2);
    world.advance(1000);
    expect(running(world)).toHaveLength(4);
  });

  test("flow - a rate that is set anew keeps the tokens there are: no burst for who sets it again", () => {
    const world = new World();
    world.worker("w", { capacity: 100 });
    submit(world, 10);
    for (let i = 0; i < 5; i++) {
      world.ok("queue.configure", { queue: "q", rate: { count: 2, perMs: 60_000, burst: 2 } });
      world.settle();
    }
    expect(running(world)).toHaveLength(2);
  });
});

test("flow - a bucket that is full stays full when its rate is set, one that is not keeps its tokens", () => {
  const bucket = new Bucket({ count: 1, perMs: 100, burst: 2 }, Number.NEGATIVE_INFINITY);
  bucket.change({ count: 1, perMs: 100, burst: 5 }, 1000);
  expect(bucket.tokens(1000)).toBe(5);
  for (let i = 0; i < 4; i++) bucket.take(1000);
  bucket.change({ count: 1, perMs: 10, burst: 50 }, 1000);
  expect(bucket.tokens(1000)).toBe(1);
  expect(bucket.tokens(1030)).toBe(4);
});

describe("flow - pauses", () => {
  test("flow - a paused queue starts nothing, what runs goes on, and it resumes", () => {
    const world = new World();
    world.worker("w", { capacity: 10 });
    const [first] = submit(world, 1);
    world.settle();
    world.ok("queue.pause", { queue: "q", reason: "maintenance" }, { who: "ada" });
    submit(world, 2);
    world.settle();
    expect(running(world)).toEqual([first!]);
    expect(world.ok("queue.get", { queue: "q" })).toMatchObject({
      shut: "paused",
      paused: { by: "ada", reason: "maintenance", until: null },
    });
    world.ok("queue.resume", { queue: "q" });
    world.settle();
    expect(running(world)).toHaveLength(3);
  });

  test("flow - a paused group keeps no other", () => {
    const world = new World();
    world.worker("w", { capacity: 10 });
    world.ok("queue.pause", { queue: "q", group: "a" });
    submit(world, 2, { group: "a" });
    const b = submit(world, 2, { group: "b" });
    world.settle();
    expect(running(world)).toEqual(b);
    const { groups } = world.ok("queue.groups", { queue: "q" });
    expect(groups.map(({ name, queued, running, shut }) => [name, queued, running, shut])).toEqual([
      ["a", 2, 0, "paused"],
      ["b", 0, 2, null],
    ]);
  });

  test("flow - a pause for a time ends by itself", () => {
    const world = new World();
    world.worker("w", { capacity: 10 });
    world.ok("queue.pause", { queue: "q", group: "a", forMs: 1000 });
    submit(world, 2, { group: "a" });
    world.advance(999);
    expect(running(world)).toHaveLength(0);
    world.advance(1);
    expect(running(world)).toHaveLength(2);
    expect(world.ok("queue.get", { queue: "q" }).groupsPaused).toBe(0);
  });

  test("flow - a task of one worker that is cancelled while its queue is paused leaves no lane behind", () => {
    const world = new World();
    world.ok("queue.pause", { queue: "q" });
    const [id] = submit(world, 1, { workerId: "w" });
    world.worker("w");
    world.settle();
    expect([...world.core.dispatch.lanes()]).toHaveLength(1);
    world.ok("task.cancel", { taskId: id! });
    expect([...world.core.dispatch.lanes()]).toHaveLength(0);
    world.sound();
  });

  test("flow - a pause is never shortened by another", () => {
    const world = new World();
    const until = () => world.ok("queue.get", { queue: "q" }).paused?.until;
    world.ok("queue.pause", { queue: "q", forMs: 5000 });
    world.ok("queue.pause", { queue: "q", forMs: 1000 });
    expect(until()).toBe(world.now + 5000);
    world.ok("queue.pause", { queue: "q" });
    world.ok("queue.pause", { queue: "q", forMs: 1000 });
    expect(until()).toBeNull();
    world.advance(10_000);
    expect(world.ok("queue.get", { queue: "q" }).paused).not.toBeNull();
  });
});

describe("flow - turns", () => {
  test("flow - a group with ten tasks is done within ten rounds, whatever another has", () => {
    const world = new World();
    submit(world, 200, { group: "big" });
    world.worker("w", { capacity: 1 });
    for (let i = 0; i < 20; i++) {
      world.settle();
      complete(world);
    }
    const small = submit(world, 10, { group: "small" });
    world.settle();
    const started: string[] = [];
    for (let i = 0; i < 21; i++) started.push(complete(world));
    expect(started.filter((id) => small.includes(id))).toHaveLength(10);
  });

  test("flow - ever new groups do not starve one that waits", () => {
    const world = new World();
    const waiting = submit(world, 30, { group: "big" });
    world.worker("w", { capacity: 1 });
    world.settle();
    const started: string[] = [];
    for (let i = 0; i < 30; i++) {
      submit(world, 1, { group: `new-${i}` });
      started.push(complete(world));
    }
    // One comes for each that starts, so rounds are of 1, 2, 3 ... groups: seven of them fit into thirty starts.
    expect(started.filter((id) => waiting.includes(id)).length).toBeGreaterThanOrEqual(7);
  });

  test("flow - turns go by weight", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", groupWeights: { a: 3 } });
    const a = submit(world, 60, { group: "a" });
    submit(world, 60, { group: "b" });
    world.worker("w", { capacity: 1 });
    world.settle();
    const started = Array.from({ length: 40 }, () => complete(world));
    const ofA = started.filter((id) => a.includes(id)).length;
    expect(ofA).toBeGreaterThanOrEqual(29);
    expect(ofA).toBeLessThanOrEqual(31);
  });

  test("flow - a group's turns are the same for all that its tasks require", () => {
    const world = new World();
    const a = submit(world, 30, { group: "a" });
    submit(world, 30, { group: "a", capabilities: ["gpu"] });
    const b = submit(world, 30, { group: "b", capabilities: ["gpu"] });
    world.worker("w", { capacity: 1, capabilities: ["gpu"] });
    world.settle();
    const started = Array.from({ length: 40 }, () => complete(world));
    const ofB = started.filter((id) => b.includes(id)).length;
    expect(ofB).toBeGreaterThanOrEqual(19);
    expect(ofB).toBeLessThanOrEqual(21);
    expect(started.filter((id) => a.includes(id)).length).toBeGreaterThan(0);
  });

  test("flow - queues share their workers by weight once one has a weight", () => {
    const world = new World();
    const share = () => {
      const started = Array.from({ length: 40 }, () => complete(world));
      return started.filter((id) => x.includes(id)).length;
    };
    const y = Array.from({ length: 200 }, () => world.submit({ type: "t", queue: "y" }));
    const x = Array.from({ length: 200 }, () => world.submit({ type: "t", queue: "x" }));
    world.worker("w", { capacity: 1 });
    world.settle();
    expect(y).toContain(complete(world));
    expect(share()).toBe(0);
    world.ok("queue.configure", { queue: "x", weight: 3 });
    const ofX = share();
    expect(ofX).toBeGreaterThanOrEqual(28);
    expect(ofX).toBeLessThanOrEqual(32);
    world.ok("queue.configure", { queue: "x", weight: null });
    world.settle();
    complete(world);
    expect(share()).toBe(0);
  });

  test("flow - groups that are idle are forgotten", () => {
    const world = new World();
    world.worker("w", { capacity: 1000 });
    for (let i = 0; i < 100; i++) {
      submit(world, 1, { group: `g${i}` });
      world.settle();
      complete(world);
    }
    const [queue] = [...world.core.flow.queues()];
    expect(queue!.groups.size).toBeLessThan(5);
  });

  test("flow - what becomes more urgent at an open gate is not kept by what was woken there before it", () => {
    const world = new World();
    world.ok("queue.pause", { queue: "q" });
    submit(world, 1, { group: "a" });
    submit(world, 1, { group: "b" });
    world.worker("w");
    world.settle();
    // The worker is busy when the gate opens: the first group is woken and nobody takes its task.
    const busy = world.submit({ type: "t", queue: "other" });
    world.settle();
    world.ok("queue.resume", { queue: "q" });
    world.settle();
    const [urgent] = submit(world, 1, { group: "b", priority: "critical" });
    world.ok("task.complete", world.held(busy));
    world.settle();
    expect(running(world)).toEqual([urgent!]);
  });

  test("flow - a woken group whose turn was taken elsewhere meanwhile does not keep others asleep", () => {
    const world = new World();
    world.ok("queue.pause", { queue: "q" });
    submit(world, 1, { group: "a", capabilities: ["x"] });
    const [b] = submit(world, 1, { group: "b", capabilities: ["x"] });
    const elsewhere = submit(world, 3, { group: "a", capabilities: ["y"] });
    world.worker("x", { capabilities: ["x"] });
    world.worker("y", { capabilities: ["y"] });
    world.settle();
    const busy = world.submit({ type: "t", queue: "other", capabilities: ["x"] });
    world.settle();
    world.ok("queue.resume", { queue: "q" });
    world.settle();
    for (const id of elsewhere) expect(complete(world, "y")).toBe(id);
    world.ok("task.complete", world.held(busy));
    world.settle();
    expect(running(world, "x")).toEqual([b!]);
  });

  test("flow - a group that is called as something every object has takes its turn as any other", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", groupWeights: { a: 2 } });
    for (let i = 0; i < 4; i++) for (const group of ["toString", "a", "valueOf"]) submit(world, 1, { group });
    const { groups } = world.ok("queue.groups", { queue: "q" });
    expect(groups.map(({ name, weight }) => [name, weight])).toEqual([
      ["a", 2],
      ["toString", 1],
      ["valueOf", 1],
    ]);
    world.worker("w", { capacity: 4 });
    world.settle();
    const shares = running(world).map((id) => world.task(id).group);
    expect(shares.sort()).toEqual(["a", "a", "toString", "valueOf"]);
  });
});

describe("flow - backlogs", () => {
  const backlog = (world: World, max: number, policy: string) =>
    world.ok("queue.configure", { queue: "q", backlog: { max, policy: policy as "refuse" } });
  const state = (world: World, id: string) => world.task(id).state;

  test("flow - refuse: what would be too much is refused whole, and says when to try again", () => {
    const world = new World();
    backlog(world, 3, "refuse");
    submit(world, 2);
    const task = { type: "t", queue: "q" };
    const problem = world.refused("task.submit", [task, task], "backlog-full");
    expect(problem.retryAfterMs).toBeGreaterThan(0);
    world.ok("task.submit", [task, { type: "t", queue: "other" }]);
    world.worker("w");
    world.settle();
    submit(world, 1, { delayMs: 1000 });
    world.refused("task.submit", task, "backlog-full");
  });

  test("flow - refuse: a task that is there already is no more", () => {
    const world = new World();
    backlog(world, 1, "refuse");
    const task = { type: "t", queue: "q", idempotencyKey: "k" };
    world.ok("task.submit", [task, task]);
    world.ok("task.submit", task);
    world.refused("task.submit", { ...task, idempotencyKey: "l" }, "backlog-full");
  });

  test("flow - drop-oldest: those that were submitted first are cancelled, ready or delayed", () => {
    const world = new World();
    const early = submit(world, 2);
    backlog(world, 3, "drop-oldest");
    const delayed = submit(world, 1, { delayMs: 1000 })[0]!;
    const late = submit(world, 3, { priority: "low" });
    expect([...early, delayed].map((id) => state(world, id))).toEqual(Array(3).fill("cancelled"));
    expect(late.map((id) => state(world, id))).toEqual(Array(3).fill("queued"));
    expect(world.task(early[0]!).reason).toContain("backlog of queue q is full");
  });

  test("flow - drop-newest: the submitted task is cancelled at once, and the answer says so", () => {
    const world = new World();
    backlog(world, 1, "drop-newest");
    const answers = world.ok("task.submit", [
      { type: "t", queue: "q" },
      { type: "t", queue: "q" },
    ]) as { state: string }[];
    expect(answers.map((answer) => answer.state)).toEqual(["queued", "cancelled"]);
  });

  test("flow - keep-latest: each group keeps its newest", () => {
    const world = new World();
    backlog(world, 1, "keep-latest");
    const a = submit(world, 3, { group: "a" });
    const b = submit(world, 2, { group: "b" });
    const states = [...a, ...b].map((id) => state(world, id));
    expect(states).toEqual(["cancelled", "cancelled", "queued", "cancelled", "queued"]);
  });

  test("flow - what runs is never dropped, nor a task that comes back", () => {
    const world = new World();
    backlog(world, 1, "drop-oldest");
    world.worker("w");
    const [first] = submit(world, 1);
    world.settle();
    const [second] = submit(world, 1);
    world.ok("task.release", world.held(first!));
    expect([state(world, first!), state(world, second!)]).toEqual(["queued", "queued"]);
  });
});

describe("flow - restarts", () => {
  test("flow - what was dropped in the entry that made it is the same after a restart", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", backlog: { max: 1, policy: "drop-newest" } });
    const [, dropped] = submit(world, 2);
    expect(world.restarted().task(dropped!)).toEqual(world.task(dropped!));
  });

  test("flow - limits, pauses, weights and what runs stand through a restart at every step", () => {
    let world = new World();
    const steps: (() => void)[] = [
      () => world.ok("queue.configure", { queue: "q", concurrency: 3, groupConcurrency: 2, weight: 2 }),
      () => world.ok("limit.put", { name: "api", concurrency: 1 }),
      () => submit(world, 3, { group: "a" }),
      () => submit(world, 3, { group: "b", limits: ["api"] }),
      () => world.settle(),
      () => world.ok("queue.pause", { queue: "q", group: "a", forMs: 1000 }, { who: "ada" }),
      () => world.ok("task.complete", world.held(running(world)[0]!)),
      () => world.settle(),
      () => world.ok("limit.put", { name: "api", concurrency: 2 }),
      () => world.settle(),
      () => world.advance(1000),
      () => world.ok("queue.configure", { queue: "q", concurrency: null, groupConcurrency: null }),
      () => world.settle(),
    ];
    const seen: unknown[] = [];
    const look = () => [
      world.ok("queue.list", {}),
      world.ok("queue.groups", { queue: "q" }).groups.map((group) => ({ ...group })),
      world.ok("limit.list", {}),
    ];
    const lives = (restarts: boolean) => {
      world = new World();
      world.worker("w", { capacity: 10 });
      return steps.map((step) => {
        step();
        if (restarts) {
          world = world.restarted();
          world.core.dispatch.attach("w", 10);
        }
        return look();
      });
    };
    seen.push(...lives(false));
    expect(lives(true)).toEqual(seen as never);
    // Of five that are left the named limit holds one of its three back.
    expect(running(world)).toHaveLength(4);
  });

  test("flow - over a restart a rate starts no more than it allows", () => {
    let world = new World();
    world.ok("queue.configure", { queue: "q", rate: { count: 2, perMs: 1000, burst: 4 } });
    submit(world, 20);
    world.worker("w", { capacity: 100 });
    world.settle();
    expect(running(world)).toHaveLength(4);
    world = world.restarted();
    world.core.dispatch.attach("w", 100);
    world.settle();
    expect(running(world)).toHaveLength(4);
    world.advance(1000);
    expect(running(world)).toHaveLength(6);
  });
});

describe("flow - settings", () => {
  test("flow - what is left out stays, null resets, and a queue with nothing set has no record", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", concurrency: 5, groupWeights: { a: 2, b: 3 } });
    const { settings } = world.ok("queue.configure", { queue: "q", groupWeights: { a: null }, weight: 2 });
    expect(settings).toEqual({
      concurrency: 5,
      rate: null,
      groupConcurrency: null,
      groupRate: null,
      weight: 2,
      groupWeights: { b: 3 },
      backlog: null,
      strategy: null,
    });
    world.ok("queue.configure", { queue: "q", concurrency: null, groupWeights: null, weight: null });
    expect(world.core.flow.settings.size).toBe(0);
    expect(world.ok("queue.list", {}).queues).toEqual([]);
  });

  test("flow - queues are listed by name, page by page, through a restart and whatever goes meanwhile", () => {
    let world = new World();
    for (const queue of ["b", "a/2", "c", "a", "a/1", "b-1"])
      world.ok("queue.configure", { queue, weight: 2 });
    world.submit({ type: "t", queue: "a/3" });
    world.ok("queue.pause", { queue: "d" });
    const names = (input: Input<"queue.list">) => {
      const { queues, cursor } = world.ok("queue.list", input);
      return [queues.map(({ name }) => name).join(" "), cursor];
    };
    for (let restarts = 0; restarts < 2; restarts++) {
      expect(names({})).toEqual(["a a/1 a/2 a/3 b b-1 c d", null]);
      expect(names({ limit: 3 })).toEqual(["a a/1 a/2", "a/2"]);
      expect(names({ limit: 3, cursor: "a/2" })).toEqual(["a/3 b b-1", "b-1"]);
      expect(names({ limit: 3, cursor: "b-1" })).toEqual(["c d", null]);
      expect(names({ prefix: "a/", limit: 2 })).toEqual(["a/1 a/2", "a/2"]);
      expect(names({ prefix: "a/", limit: 2, cursor: "a/2" })).toEqual(["a/3", null]);
      expect(names({ prefix: "b", cursor: "c" })).toEqual(["", null]);
      expect(names({ prefix: "e" })).toEqual(["", null]);
      world = world.restarted();
    }
    // The last of a page goes before the next is asked for.
    world.ok("queue.configure", { queue: "a/2", weight: null });
    expect(names({ limit: 2, cursor: "a/2" })).toEqual(["a/3 b", "b"]);
    world.ok("queue.resume", { queue: "d" });
    expect(names({ cursor: "b" })).toEqual(["b-1 c", null]);
  });

  test("flow - named limits are listed by name, page by page, through a restart and whatever goes meanwhile", () => {
    let world = new World();
    for (const name of ["b", "a/2", "c", "a", "a/1"]) world.ok("limit.put", { name, concurrency: 2 });
    // One that is named and not set is none.
    world.submit({ type: "t", limits: ["a/0"] });
    const names = (input: Input<"limit.list">) => {
      const { limits, cursor } = world.ok("limit.list", input);
      return [limits.map(({ name }) => name).join(" "), cursor];
    };
    for (let restarts = 0; restarts < 2; restarts++) {
      expect(names({})).toEqual(["a a/1 a/2 b c", null]);
      expect(names({ limit: 2 })).toEqual(["a a/1", "a/1"]);
      expect(names({ limit: 2, cursor: "a/1" })).toEqual(["a/2 b", "b"]);
      expect(names({ limit: 2, cursor: "b" })).toEqual(["c", null]);
      expect(names({ prefix: "a/", limit: 1 })).toEqual(["a/1", "a/1"]);
      expect(names({ prefix: "a/", cursor: "a/1" })).toEqual(["a/2", null]);
      world = world.restarted();
    }
    world.ok("limit.put", { name: "b", rate: { count: 1, perMs: 1000 } });
    world.ok("limit.delete", { name: "a/1" });
    expect(names({ limit: 2, cursor: "a/1" })).toEqual(["a/2 b", "b"]);
    for (const name of ["a", "a/2", "b", "c"]) world.ok("limit.delete", { name });
    expect(names({})).toEqual(["", null]);
  });

  test("flow - the overview names the first hundred queues", () => {
    const world = new World();
    for (let i = 0; i < 120; i++) world.submit({ type: "t", queue: `q${String(i).padStart(3, "0")}` });
    const { queues } = world.ok("state.get", {});
    expect([queues.length, queues[0]?.name, queues.at(-1)?.name]).toEqual([100, "q000", "q099"]);
  });

  test("flow - what changes nothing writes no entry", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", concurrency: 5 });
    const before = world.transactions.length;
    world.ok("queue.configure", { queue: "q", concurrency: 5 });
    world.ok("queue.resume", { queue: "q" });
    expect(world.transactions.length).toBe(before);
  });

  test("flow - unknown queues and limits are told", () => {
    const world = new World();
    world.refused("queue.get", { queue: "q" }, "unknown-queue");
    world.refused("limit.get", { name: "l" }, "unknown-limit");
    world.refused("limit.delete", { name: "l" }, "unknown-limit");
  });
});
