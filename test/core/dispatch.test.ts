import { expect, test } from "bun:test";
import fc from "fast-check";
import { limits } from "../../src/wire/limits.ts";
import { priorities } from "../../src/wire/tasks.ts";
import { World } from "../support/world.ts";

/** Runs a worker of capacity 1 until nothing is left; the tasks in the order they were pushed. */
function order(world: World, workerId: string): string[] {
  const out: string[] = [];
  for (;;) {
    world.settle();
    const [id] = world.holds(workerId);
    if (id === undefined) return out;
    out.push(id);
    world.ok("task.complete", world.held(id));
  }
}

test("dispatch - a free slot and a ready task meet in the same turn, whichever came first", () => {
  const world = new World();
  world.worker("w", { capacity: 2 });
  const first = world.submit({ type: "t" });
  world.settle();
  expect(world.holds("w")).toEqual([first]);
  const [second, third] = [world.submit({ type: "t" }), world.submit({ type: "t" })];
  world.settle();
  expect(world.holds("w")).toEqual([first, second]);
  world.ok("task.complete", world.held(first));
  world.settle();
  expect(world.holds("w")).toEqual([second, third]);
});

test("dispatch - by priority, then by age since submit", () => {
  const world = new World({ ageingMs: 0 });
  const ids = ["low", "normal", "critical", "high", "normal", "critical"].map((priority) =>
    world.submit({ type: "t", priority: priority as "low" }),
  );
  world.worker("w");
  expect(order(world, "w")).toEqual([2, 5, 3, 1, 4, 0].map((i) => ids[i]!));
});

test("dispatch - the order is priority then submission for any mixture of queues and interruptions", () => {
  const submits = fc.array(fc.record({ priority: fc.nat(3), queue: fc.nat(2), gpu: fc.boolean() }), {
    maxLength: 30,
  });
  fc.assert(
    fc.property(submits, fc.array(fc.nat(4), { maxLength: 10 }), (tasks, releases) => {
      const world = new World({ ageingMs: 0 });
      const want = tasks.map(({ priority, queue, gpu }) => ({
        priority,
        id: world.submit({
          type: "t",
          queue: `q${queue}`,
          priority: priorities[priority]!,
          ...(gpu ? { capabilities: ["gpu"] } : {}),
        }),
      }));
      world.worker("w", { capabilities: ["gpu"] });
      // A task that was given back stands where it stood.
      for (const _ of releases) {
        world.settle();
        for (const id of world.holds("w")) world.ok("task.release", world.held(id));
      }
      const sorted = want
        .map((task, i) => ({ ...task, i }))
        .sort((a, b) => a.priority - b.priority || a.i - b.i);
      expect(order(world, "w")).toEqual(sorted.map((task) => task.id));
    }),
    { numRuns: 60 },
  );
});

test("dispatch - waiting makes a task as urgent as one of the next higher priority", () => {
  const world = new World({ ageingMs: 1000 });
  const low = world.submit({ type: "t", priority: "low" });
  world.now += 2999;
  const critical = world.submit({ type: "t", priority: "critical" });
  world.now += 2;
  const later = world.submit({ type: "t", priority: "critical" });
  world.worker("w");
  expect(order(world, "w")).toEqual([critical, low, later]);
});

test("dispatch - a worker gets only what its queues, kind and capabilities fit", () => {
  const world = new World();
  world.worker("mail", { queues: ["mail"], capacity: 10 });
  world.worker("gpu", { queues: ["*"], kind: "builder", capabilities: ["gpu", "linux"], capacity: 10 });
  const ids = {
    mail: world.submit({ type: "t", queue: "mail", kind: "worker" }),
    gpu: world.submit({ type: "t", queue: "mail", capabilities: ["linux", "gpu"] }),
    kind: world.submit({ type: "t", queue: "x", kind: "builder" }),
    nobody: world.submit({ type: "t", queue: "mail", capabilities: ["tpu"] }),
  };
  world.settle();
  expect(world.holds("mail")).toEqual([ids.mail]);
  expect(world.holds("gpu").sort()).toEqual([ids.gpu, ids.kind].sort());
  expect(world.task(ids.nobody).state).toBe("queued");
});

test("dispatch - tasks that nobody can run block nobody else", () => {
  const world = new World();
  for (let i = 0; i < 100; i++) world.submit({ type: "t", priority: "critical", capabilities: ["tpu"] });
  const low = world.submit({ type: "t", priority: "low" });
  world.worker("w");
  world.settle();
  expect(world.holds("w")).toEqual([low]);
});

test("dispatch - the least loaded fitting worker is chosen, and an unhealthy one last", () => {
  const world = new World();
  world.worker("big", { capacity: 4 });
  world.worker("small", { capacity: 2 });
  for (let i = 0; i < 6; i++) world.submit({ type: "t" });
  world.settle();
  expect([world.holds("big").length, world.holds("small").length]).toEqual([4, 2]);
  for (const id of [...world.holds("big")]) world.ok("task.complete", world.held(id));
  for (const id of [...world.holds("small")]) world.ok("task.complete", world.held(id));

  // Half of them are in quarantine already: who fails now is only reported.
  world.worker("sick");
  for (const workerId of ["sick", "big"])
    for (let i = 0; i < 5; i++) {
      const { task, lease } = world.ok("task.assign", { task: { type: "t" }, workerId });
      world.ok("task.fail", { taskId: task.id, workerId, token: lease.token, error: "no", final: true });
    }
  expect(world.ok("worker.get", { workerId: "big" }).health).toBe("failing");
  const id = world.submit({ type: "t" });
  world.settle();
  expect(world.holds("small")).toEqual([id]);
  const { task, lease } = world.ok("task.assign", { task: { type: "t" }, workerId: "big" });
  world.ok("task.complete", { taskId: task.id, workerId: "big", token: lease.token });
  expect(world.ok("worker.get", { workerId: "big" }).healthy).toBe(true);
});

test("dispatch - pushes stop at the credit a worker gives, and never pass its capacity", () => {
  const world = new World();
  world.worker("w", { capacity: 3 });
  world.core.dispatch.attach("w", 1);
  for (let i = 0; i < 10; i++) world.submit({ type: "t" });
  world.settle();
  expect(world.holds("w").length).toBe(1);
  world.core.dispatch.attach("w", 0);
  world.ok("task.complete", world.held(world.holds("w")[0]!));
  world.settle();
  expect(world.holds("w").length).toBe(0);
  world.core.dispatch.attach("w", 100);
  world.settle();
  expect(world.holds("w").length).toBe(3);
});

test("dispatch - a worker without a socket is pushed nothing", () => {
  const world = new World();
  world.worker("w", { claims: true });
  world.submit({ type: "t" });
  world.settle();
  expect(world.holds("w")).toEqual([]);
});

test("dispatch - more requirement sets than are kept are refused, and emptied ones make room", () => {
  const world = new World();
  const drafts = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ type: "t", queue: `q${from + i}` }));
  for (let from = 0; from < limits.lanesMax; from += 1000) {
    const result = world.run("task.submit", drafts(from, 1000));
    expect("ok" in result).toBe(true);
  }
  const refused = world.run("task.submit", { type: "t", queue: "one-more" });
  expect("error" in refused && refused.error.code).toBe("too-many-requirement-sets");
  const [task] = world.ok("task.list", { queue: "q5" }).tasks;
  world.run("task.cancel", { taskId: task!.id });
  expect("ok" in world.run("task.submit", { type: "t", queue: "one-more" })).toBe(true);
});
