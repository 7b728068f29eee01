/** What a task asks of a worker, and which worker gets it. */
import { describe, expect, test } from "bun:test";
import { reserveAfterMs } from "../../src/core/dispatch.ts";
import { taskDefaults } from "../../src/core/options.ts";
import { limits } from "../../src/wire/limits.ts";
import { type Strategy, strategies } from "../../src/wire/queues.ts";
import { World } from "../support/world.ts";

const crewCount = (world: World) => [...world.core.dispatch.crews()].length;
const complete = (world: World, id: string) => world.ok("task.complete", world.held(id));

describe("matching - requirements", () => {
  test("matching - a task runs on a worker whose labels and capabilities meet all it requires, and blocks nobody", () => {
    const world = new World();
    world.worker("small", { capacity: 9, labels: { mem: 8, gpu: false }, capabilities: ["node@16.1"] });
    world.worker("large", { capacity: 9, labels: { mem: 32, gpu: true }, capabilities: ["node@20.11"] });
    const nobody = world.submit({ type: "t", requires: ["mem >= 64"], priority: "critical" });
    const rows: [string[], string][] = [
      [["mem < 16"], "small"],
      [["mem >= 16"], "large"],
      [["gpu"], "large"],
      [["!gpu"], "small"],
      [["node >= 18"], "large"],
      [["node < 18", "mem = 8"], "small"],
      [["node@20.11"], "large"],
    ];
    for (const [requires, worker] of rows) {
      const id = world.submit({ type: "t", requires });
      world.settle();
      expect([requires, world.task(id).lease?.workerId]).toEqual([requires, worker]);
    }
    expect(world.task(nobody).state).toBe("queued");
    // Labels are what a worker says when it registers; so it may say something else.
    world.worker("small", { capacity: 9, labels: { mem: 64 } });
    world.settle();
    expect(world.task(nobody).lease?.workerId).toBe("small");
  });

  test("matching - a capability with a version offers its name, and with it what asks for the name alone", () => {
    const world = new World();
    world.worker("w", { capacity: 9, capabilities: ["node@20.11"] });
    const ids = [["node"], ["node@20.11"], ["node@20"]].map((capabilities) =>
      world.submit({ type: "t", capabilities }),
    );
    world.settle();
    expect(ids.map((id) => world.task(id).state)).toEqual(["running", "running", "queued"]);
  });

  test("matching - what cannot be read is refused where it stands, and nothing is kept of the array", () => {
    const world = new World();
    const problem = world.refused(
      "task.submit",
      [{ type: "t" }, { type: "t", requires: ["gpu", "mem >= lots"] }],
      "invalid-input",
    );
    expect(problem.errors?.[0]?.pointer).toBe("/1/requires/1");
    expect(
      world.refused("task.submit", { type: "t", prefers: ["!"] }, "invalid-input").errors?.[0]?.pointer,
    ).toBe("/prefers/0");
    expect(
      world.refused("task.submit", { type: "t", stickyMs: 5 }, "invalid-input").errors?.[0]?.pointer,
    ).toBe("/stickyMs");
    const task = { type: "t", requires: ["]"] };
    expect(
      world.refused("schedule.put", { name: "s", everyMs: 1000, task }, "invalid-input").errors?.[0]?.pointer,
    ).toBe("/task/requires/0");
  });

  test("matching - it is shown in its one spelling, and tasks that ask the same wait in one lane", () => {
    const world = new World();
    const id = world.submit({ type: "t", requires: ["mem>=16", "gpu == true"], prefers: ["zone!=eu"] });
    world.submit({ type: "t", requires: ["gpu=true", "mem >= 16"], prefers: ["zone != eu"] });
    expect(world.task(id)).toMatchObject({ requires: ["gpu = true", "mem >= 16"], prefers: ["zone != eu"] });
    expect([...world.core.dispatch.lanes()].length).toBe(1);
  });

  test("matching - a label that nobody asks about makes no crews; one that is asked about splits by the answer", () => {
    const world = new World();
    for (let i = 0; i < 50; i++) world.worker(`w${i}`, { labels: { host: `h${i}`, mem: i } });
    expect(crewCount(world)).toBe(1);
    const one = world.submit({ type: "t", requires: ["host = h7"] });
    expect(crewCount(world)).toBe(2);
    const half = world.submit({ type: "t", requires: ["mem >= 25"] });
    expect(crewCount(world)).toBe(3);
    world.settle();
    expect(world.task(one).lease?.workerId).toBe("w7");
    expect(Number(world.task(half).lease?.workerId.slice(1))).toBeGreaterThanOrEqual(25);
  });

  test("matching - a waiting claim goes on when what a new task asks splits its crew", () => {
    const world = new World();
    world.worker("a", { claims: true });
    world.worker("b", { claims: true, labels: { gpu: true } });
    const { dispatch } = world.core;
    for (const id of ["a", "b"]) dispatch.waitForClaim(dispatch.slot(id)!);
    const id = world.submit({ type: "t", requires: ["gpu"] });
    expect(dispatch.nextClaiming()?.id).toBe("b");
    expect(world.ok("task.claim", { workerId: "a" }).assignments).toEqual([]);
    expect(world.ok("task.claim", { workerId: "b" }).assignments[0]?.task.id).toBe(id);
    world.sound();
  });

  test("matching - an assignment heeds them too", () => {
    const world = new World();
    world.worker("a", { claims: true, labels: { mem: 8 } });
    world.worker("b", { labels: { mem: 32 } });
    const task = { type: "t", requires: ["mem >= 16"] };
    world.refused("task.assign", { task, workerId: "a" }, "worker-unavailable");
    expect(world.ok("task.assign", { task }).lease.workerId).toBe("b");
    world.refused("task.assign", { task }, "no-worker");
    world.sound();
  });
});

describe("matching - preferences", () => {
  test("matching - the first preference counts more than all others, and nothing waits for one", () => {
    const world = new World();
    world.worker("both", { labels: { b: true, c: true } });
    world.worker("first", { labels: { a: true } });
    world.worker("none");
    const ids = [1, 2, 3].map(() => world.submit({ type: "t", prefers: ["a", "b", "c"] }));
    world.settle();
    expect(ids.map((id) => world.task(id).lease?.workerId)).toEqual(["first", "both", "none"]);
  });

  test("matching - a worker that fails comes last, whatever is preferred", () => {
    const world = new World();
    world.worker("bad", { kind: "bad", labels: { a: true } });
    world.worker("good", { kind: "good" });
    for (let i = 0; i < 20; i++) {
      const task = { type: "t", attempts: 1 };
      const { task: made, lease } = world.ok("task.assign", { task, workerId: "bad" });
      world.ok("task.fail", { taskId: made.id, workerId: "bad", token: lease.token, error: "no" });
    }
    const id = world.submit({ type: "t", prefers: ["a"] });
    world.settle();
    expect(world.task(id).lease?.workerId).toBe("good");
  });
});

describe("matching - slots", () => {
  test("matching - a worker runs as many tasks as their slots allow, and the others find their places", () => {
    const world = new World();
    world.worker("w", { capacity: 4 });
    const [large, two, one] = [3, 2, 1].map((slots) => world.submit({ type: "t", slots }));
    world.settle();
    expect(world.holds("w").sort()).toEqual([large!, one!].sort());
    expect(world.ok("worker.get", { workerId: "w" })).toMatchObject({
      running: 2,
      slotsUsed: 4,
      capacity: 4,
    });
    complete(world, large!);
    world.settle();
    expect(world.task(two!).state).toBe("running");
  });

  test("matching - one that fits nobody blocks nobody", () => {
    const world = new World();
    world.worker("w", { capacity: 2 });
    const large = world.submit({ type: "t", slots: 3, priority: "critical" });
    const small = world.submit({ type: "t", priority: "low" });
    for (let i = 0; i < 3; i++) world.advance(reserveAfterMs);
    expect([large, small].map((id) => world.task(id).state)).toEqual(["queued", "running"]);
  });

  for (const claims of [false, true])
    test(`matching - small tasks do not starve a large one (${claims ? "claimed" : "pushed"})`, () => {
      const world = new World({ ageingMs: 0 });
      world.worker("w", { capacity: 4, claims });
      const take = () => {
        world.settle();
        if (claims) world.run("task.claim", { workerId: "w", count: 4 });
      };
      for (let i = 0; i < 4; i++) world.submit({ type: "small" });
      take();
      const large = world.submit({ type: "large", slots: 4 });
      let waitedMs = 0;
      // One small task ends each second, and another comes.
      while (world.task(large).state === "queued" && waitedMs < 60_000) {
        complete(world, world.holds("w")[0]!);
        world.submit({ type: "small" });
        world.now += 1000;
        world.clock += 1000;
        waitedMs += 1000;
        world.beat("w");
        take();
      }
      expect(world.task(large).state).toBe("running");
      // It is passed over once a second at most, and four tasks have to end then.
      expect(waitedMs).toBeGreaterThan(reserveAfterMs);
      expect(waitedMs).toBeLessThanOrEqual(reserveAfterMs + 6000);
      complete(world, large);
      take();
      expect(world.holds("w").length).toBe(4);
    });

  test("matching - room is kept for a task no longer than it waits", () => {
    const world = new World({ ageingMs: 0 });
    world.worker("w", { capacity: 2 });
    for (let i = 0; i < 40; i++) world.submit({ type: "small" });
    world.settle();
    const large = world.submit({ type: "large", slots: 2, priority: "high" });
    const turn = () => {
      complete(world, world.holds("w")[0]!);
      world.advance(1000);
      world.beat("w");
    };
    for (let i = 0; i < 12; i++) turn();
    expect(world.holds("w").length).toBe(1);
    world.ok("task.cancel", { taskId: large });
    world.settle();
    expect(world.holds("w").length).toBe(2);
  });

  test("matching - a worker on probation gets one task, however many slots that takes", () => {
    const world = new World();
    world.worker("w", { capacity: 4 });
    world.worker("other", { capacity: 4 });
    for (let i = 0; i < 6; i++) {
      const { task, lease } = world.ok("task.assign", { task: { type: "t", attempts: 1 }, workerId: "w" });
      world.ok("task.fail", { taskId: task.id, workerId: "w", token: lease.token, error: "no" });
    }
    world.ok("worker.drain", { workerId: "other" });
    const ids = [3, 1].map((slots) => world.submit({ type: "t", slots }));
    world.settle();
    expect(ids.map((id) => world.task(id).state)).toEqual(["running", "queued"]);
  });

  test("matching - an assignment needs all the slots", () => {
    const world = new World();
    world.worker("w", { capacity: 4 });
    world.ok("task.assign", { task: { type: "t", slots: 3 } });
    world.refused("task.assign", { task: { type: "t", slots: 2 } }, "no-worker");
    expect(
      world.refused("task.assign", { task: { type: "t", slots: 2 }, workerId: "w" }, "worker-unavailable")
        .detail,
    ).toContain("3 of its 4 slots are in use, and the task takes 2");
    world.sound();
  });
});

describe("matching - strategies", () => {
  /** Which workers get three tasks, one after the other, of a (4 slots), b (2) and c (2), where a holds one. */
  const rows: [Strategy, string[]][] = [
    ["least-loaded", ["b", "c", "a"]],
    ["round-robin", ["b", "c", "a"]],
    ["packed", ["a", "a", "a"]],
  ];
  test.each(rows)("matching - %s", (strategy, want) => {
    const world = new World();
    world.ok("queue.configure", { queue: "q", strategy });
    world.worker("a", { capacity: 4 });
    world.worker("b", { capacity: 2 });
    world.worker("c", { capacity: 2 });
    world.ok("task.assign", { task: { type: "t" }, workerId: "a" });
    const ids = want.map(() => world.submit({ type: "t", queue: "q" }));
    world.settle();
    expect(ids.map((id) => world.task(id).lease?.workerId)).toEqual(want);
  });

  test("matching - round-robin goes round, whatever the load", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "default", strategy: "round-robin" });
    world.worker("a", { capacity: 9 });
    world.worker("b", { capacity: 2 });
    const ids = [1, 2, 3, 4].map(() => world.submit({ type: "t" }));
    world.settle();
    const went = ids.map((id) => world.task(id).lease?.workerId);
    expect(went).toEqual(["a", "b", "a", "b"]);
  });

  test("matching - fastest is who took the shortest time beside others, not who had short tasks", () => {
    const world = new World();
    world.ok("queue.configure", { queue: "default", strategy: "fastest" });
    world.worker("slow", { capacity: 1 });
    world.worker("swift", { capacity: 1 });
    const takes = (type: string, workerId: string, ms: number) => {
      const { task } = world.ok("task.assign", { task: { type }, workerId });
      world.advance(ms);
      complete(world, task.id);
    };
    // The slow worker has the short tasks, and takes twice as long for them.
    for (let i = 0; i < 10; i++) {
      takes("short", "swift", 10);
      takes("short", "slow", 20);
      takes("long", "swift", 1000);
      takes("short", "slow", 20);
    }
    const ids = [1, 2].map(() => world.submit({ type: "short" }));
    world.settle();
    expect(ids.map((id) => world.task(id).lease?.workerId)).toEqual(["swift", "slow"]);
  });

  test("matching - a strategy may change while tasks wait, and holds over a restart", () => {
    for (const strategy of strategies) {
      let world = new World();
      world.ok("queue.configure", { queue: "q", strategy });
      world.ok("queue.configure", { queue: "q", strategy: null });
      expect(world.core.flow.settings.size).toBe(0);
      world.ok("queue.configure", { queue: "q", strategy });
      world.worker("a", { capacity: 2 });
      world.submit({ type: "t", queue: "q" });
      world.settle();
      world = world.restarted();
      expect(world.ok("queue.get", { queue: "q" }).settings.strategy).toBe(strategy);
    }
  });
});

describe("matching - pinned tasks", () => {
  test("matching - a task that names a worker waits for it, registered or not, and runs there alone", () => {
    const world = new World();
    world.worker("other", { capacity: 9 });
    const pinned = world.submit({ type: "t", workerId: "mine" });
    world.advance(20_000);
    world.beat("other");
    expect(world.task(pinned)).toMatchObject({ state: "queued", workerId: "mine" });
    world.worker("mine");
    world.settle();
    expect(world.task(pinned).lease?.workerId).toBe("mine");
    // Its next one waits until it has room, though another has.
    const next = world.submit({ type: "t", workerId: "mine" });
    world.settle();
    expect(world.task(next).state).toBe("queued");
    complete(world, pinned);
    world.settle();
    expect(world.task(next).lease?.workerId).toBe("mine");
  });

  test("matching - the named worker must fit as any other", () => {
    const world = new World();
    world.worker("w", { queues: ["q"], labels: { mem: 8 } });
    const ids = [
      world.submit({ type: "t", workerId: "w", queue: "other" }),
      world.submit({ type: "t", workerId: "w", queue: "q", requires: ["mem >= 16"] }),
      world.submit({ type: "t", workerId: "w", queue: "q", slots: 2 }),
    ];
    world.settle();
    expect(world.holds("w")).toEqual([]);
    world.worker("w", { queues: ["*"], labels: { mem: 16 }, capacity: 9 });
    world.settle();
    expect(world.holds("w").sort()).toEqual([...ids].sort());
  });

  test("matching - between its own tasks and those of all, urgency decides", () => {
    const world = new World({ ageingMs: 0 });
    const ids = (["low", "high", "normal", "critical"] as const).map((priority, i) =>
      world.submit({ type: "t", priority, ...(i % 2 === 0 ? { workerId: "w" } : {}) }),
    );
    world.worker("w");
    const went: string[] = [];
    for (world.settle(); world.holds("w").length > 0; world.settle()) {
      went.push(world.holds("w")[0]!);
      complete(world, went.at(-1)!);
    }
    expect(went).toEqual([3, 1, 2, 0].map((i) => ids[i]!));
  });

  test("matching - it is claimed and assigned by its worker alone", () => {
    const world = new World();
    world.worker("w", { claims: true });
    world.worker("other", { claims: true });
    const { dispatch } = world.core;
    for (const id of ["other", "w"]) dispatch.waitForClaim(dispatch.slot(id)!);
    const id = world.submit({ type: "t", workerId: "w" });
    expect(dispatch.nextClaiming()?.id).toBe("w");
    expect(world.ok("task.claim", { workerId: "other" }).assignments).toEqual([]);
    world.refused("task.assign", { taskId: id, workerId: "other" }, "worker-unavailable");
    expect(world.ok("task.assign", { taskId: id }).lease.workerId).toBe("w");
    dispatch.endClaim(dispatch.slot("w")!);
    expect(dispatch.nextClaiming()).toBeUndefined();
  });

  test("matching - pins need no lane of the others, and leave nothing when they are gone", () => {
    const world = new World();
    const ids = Array.from({ length: 20 }, (_, i) => world.submit({ type: "t", workerId: `w${i}` }));
    expect([...world.core.dispatch.lanes()].length).toBe(20);
    for (const taskId of ids) world.ok("task.cancel", { taskId });
    expect([...world.core.dispatch.lanes()].length).toBe(0);
  });

  test("matching - a large pinned task is not starved on its worker by others", () => {
    const world = new World({ ageingMs: 0 });
    world.worker("w", { capacity: 2 });
    for (let i = 0; i < 60; i++) world.submit({ type: "small" });
    world.settle();
    const large = world.submit({ type: "large", slots: 2, priority: "high", workerId: "w" });
    for (let i = 0; i < 20 && world.task(large).state === "queued"; i++) {
      complete(world, world.holds("w")[0]!);
      world.advance(1000);
      world.beat("w");
    }
    expect(world.task(large).lease?.workerId).toBe("w");
  });
});

describe("matching - sticky tasks", () => {
  const sticky = "repo-7";
  /** Two workers; the first has had a task of the name. */
  function started(more: { stickyMs?: number } = {}) {
    const world = new World();
    world.worker("a");
    const first = world.submit({ type: "t", sticky });
    world.settle();
    world.worker("b", { capacity: 2 });
    return { world, first, next: () => world.submit({ type: "t", sticky, ...more }) };
  }

  test("matching - tasks of one name go to the worker that had the last", () => {
    const { world, first, next } = started();
    complete(world, first);
    const second = next();
    world.settle();
    expect(world.task(second)).toMatchObject({ sticky, stickyMs: taskDefaults.stickyMs });
    expect(world.task(second).lease?.workerId).toBe("a");
  });

  test("matching - one waits for its worker for stickyMs, holds up nobody, and then goes to any", () => {
    const { world, next } = started({ stickyMs: 5000 });
    const second = next();
    const other = world.submit({ type: "t" });
    world.settle();
    expect(world.task(other).lease?.workerId).toBe("b");
    world.advance(4999);
    expect(world.task(second).state).toBe("queued");
    world.advance(1);
    expect(world.task(second).lease?.workerId).toBe("b");
    // And where it went is where the next one goes.
    complete(world, second);
    const third = next();
    world.settle();
    expect(world.task(third).lease?.workerId).toBe("b");
  });

  test("matching - what ended or was leased before its stickyMs were over is held no longer", () => {
    const { world, first, next } = started({ stickyMs: 3_600_000 });
    const { sticky } = world.core.dispatch;
    const [leased, cancelled] = [next(), next()];
    world.settle();
    expect(sticky.ends.size).toBe(2);
    world.ok("task.cancel", { taskId: cancelled });
    expect(sticky.ends.size).toBe(1);
    complete(world, first);
    world.settle();
    expect(world.task(leased).lease?.workerId).toBe("a");
    expect(sticky.ends.size).toBe(0);
    expect(sticky.nextAt).toBe(Number.POSITIVE_INFINITY);
  });

  test("matching - with stickyMs 0 its worker gets it if it has room, else any does at once", () => {
    const { world, first, next } = started({ stickyMs: 0 });
    const second = next();
    world.settle();
    world.settle();
    expect(world.task(second).lease?.workerId).toBe("b");
    complete(world, second);
    complete(world, first);
    const third = next();
    world.settle();
    expect(world.task(third).lease?.workerId).toBe("b");
  });

  const leaves: [string, (world: World) => void][] = [
    ["leaves", (world) => world.ok("worker.unregister", { workerId: "a" })],
    ["drains", (world) => world.ok("worker.drain", { workerId: "a" })],
    ["goes silent", (world) => world.advance(60_000)],
  ];
  test.each(leaves)("matching - when its worker %s, it waits for it no longer", (_, leave) => {
    const { world, first, next } = started({ stickyMs: 3_600_000 });
    const second = next();
    world.settle();
    expect(world.task(second).state).toBe("queued");
    complete(world, first);
    world.core.dispatch.detach("a");
    leave(world);
    world.worker("b", { capacity: 2 });
    world.settle();
    expect(world.task(second).lease?.workerId).toBe("b");
  });

  test("matching - a claim of another worker does not take it before its time, and its worker's does", () => {
    const world = new World();
    world.worker("a", { claims: true, capacity: 2 });
    world.worker("b", { claims: true });
    world.submit({ type: "t", sticky });
    world.ok("task.claim", { workerId: "a" });
    const second = world.submit({ type: "t", sticky });
    expect(world.ok("task.claim", { workerId: "b" }).assignments).toEqual([]);
    expect(world.ok("task.claim", { workerId: "a" }).assignments[0]?.task.id).toBe(second);
    const third = world.submit({ type: "t", sticky });
    expect(world.ok("task.claim", { workerId: "b" }).assignments).toEqual([]);
    world.advance(taskDefaults.stickyMs);
    expect(world.ok("task.claim", { workerId: "b" }).assignments[0]?.task.id).toBe(third);
  });

  test("matching - who had the last is known after a restart, by the newest lease", () => {
    const { world, first, next } = started();
    complete(world, first);
    const second = next();
    world.settle();
    complete(world, second);
    world.ok("task.assign", { task: { type: "t", sticky }, workerId: "b" });
    const after = world.restarted();
    after.core.dispatch.attach("a", 1);
    after.core.dispatch.attach("b", 2);
    const third = after.submit({ type: "t", sticky });
    after.settle();
    expect(after.task(third).lease?.workerId).toBe("b");
  });

  test("matching - the lane that a waiting sticky task came from is still there when it comes back", () => {
    const { world, next } = started({ stickyMs: 5000 });
    const second = next();
    world.settle();
    // So many others that lanes without tasks are dropped for one more: all but one have some.
    for (let i = 0; i < limits.lanesMax - 1; i += 1000)
      world.run(
        "task.submit",
        Array.from({ length: Math.min(1000, limits.lanesMax - 1 - i) }, (_, j) => ({
          type: "t",
          kind: `k${i + j}`,
        })),
      );
    world.refused("task.submit", { type: "t", kind: "one-more" }, "too-many-requirement-sets");
    world.advance(5000);
    expect(world.task(second).lease?.workerId).toBe("b");
  });
});

test("matching - what a task asks is there after a restart at every step, and the run ends all the same", () => {
  const submits = [
    { type: "t", requires: ["gpu"], prefers: ["fast"], slots: 2 },
    { type: "t", workerId: "b", slots: 3 },
    { type: "t", sticky: "s", stickyMs: 700 },
    { type: "t", sticky: "s", capabilities: ["node"] },
    { type: "t", requires: ["node >= 20"] },
  ];
  for (let at = 0; at < 12; at++) {
    let world = new World({ interruptionsMax: 100 });
    let step = 0;
    const then = () => {
      if (step++ !== at) return;
      world = world.restarted({ interruptionsMax: 100 });
      for (const id of ["a", "b"]) world.core.dispatch.attach(id, 4);
    };
    world.worker("a", { capacity: 4, labels: { gpu: true, fast: true } });
    world.worker("b", { capacity: 4, labels: { gpu: true }, capabilities: ["node@20.1"] });
    then();
    const ids = submits.map((submit) => {
      const id = world.submit(submit);
      then();
      return id;
    });
    for (let i = 0; i < 5; i++) {
      world.settle();
      for (const worker of ["a", "b"]) for (const id of world.holds(worker)) complete(world, id);
      then();
    }
    for (const [i, id] of ids.entries()) {
      const task = world.task(id);
      expect([at, task.state]).toEqual([at, "completed"]);
      expect(task).toMatchObject(submits[i]!);
    }
  }
});
