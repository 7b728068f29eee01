import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeEntry, Loader } from "../../src/core/codec.ts";
import { createStore } from "../../src/core/store.ts";
import { limits } from "../../src/wire/limits.ts";
import { type Priority, priorities, type TaskState, taskStates } from "../../src/wire/tasks.ts";
import { World } from "../support/world.ts";

/** A world with a task in every state that can be reached, named by its state. */
function everyState(): { world: World; ids: Record<TaskState, string> } {
  const world = new World();
  world.worker("w", { capacity: 10, queues: ["work"] });
  const submit = (more: object = {}) => world.submit({ queue: "work", type: "t", attempts: 1, ...more });
  const run = () => {
    const id = submit();
    world.settle();
    return world.held(id);
  };
  const completed = run();
  world.ok("task.complete", completed);
  const failed = run();
  world.ok("task.fail", { ...failed, error: "no", final: true });
  const dead = run();
  world.ok("task.fail", { ...dead, error: "no" });
  const cancelled = submit({ delayMs: 1000 });
  world.ok("task.cancel", { taskId: cancelled });
  const ids = {
    completed: completed.taskId,
    failed: failed.taskId,
    dead: dead.taskId,
    cancelled,
    scheduled: submit({ delayMs: 1000 }),
    running: run().taskId,
    queued: world.submit({ queue: "other", type: "t" }),
    blocked: world.submit({ queue: "work", type: "t", open: true }),
  };
  for (const [state, id] of Object.entries(ids))
    expect([id, world.task(id).state]).toEqual([id, state as TaskState]);
  return { world, ids };
}

test("bulk - a task that has ended or waits is deleted and leaves nothing; a running one is refused", () => {
  const { world, ids } = everyState();
  expect(world.refused("task.delete", { taskId: ids.running }, "wrong-state").detail).toContain(
    "cancel it first",
  );
  for (const state of taskStates.filter((one) => one !== "running")) {
    expect(world.ok("task.delete", { taskId: ids[state] })).toEqual({ id: ids[state] });
    world.refused("task.get", { taskId: ids[state] }, "unknown-task");
    world.refused("task.delete", { taskId: ids[state] }, "unknown-task");
  }
  expect([...world.core.tasks.values()].map(({ spec }) => spec.id)).toEqual([ids.running]);
  world.restarted();
});

test("bulk - a task that others wait for is deleted when they have ended", () => {
  const world = new World();
  const below = world.submit({ type: "t" });
  const above = world.submit({ type: "t", after: [below] });
  world.refused("task.delete", { taskId: below }, "wrong-state");
  world.ok("task.cancel", { taskId: below });
  expect(world.task(above).state).toBe("cancelled");
  world.ok("task.delete", { taskId: below });
});

test("bulk - a blocked task is moved, and ready in its new queue", () => {
  const world = new World();
  world.worker("w", { queues: ["default"], claims: true });
  const below = world.submit({ type: "t" });
  const above = world.submit({ type: "t", after: [below] });
  world.ok("task.move", { taskId: above, queue: "to" });
  const [first] = world.ok("task.claim", { workerId: "w" }).assignments;
  world.ok("task.complete", { taskId: below, workerId: "w", token: first?.lease.token as number });
  expect(world.task(above)).toMatchObject({ state: "queued", queue: "to" });
  expect(world.restarted().task(above)).toEqual(world.task(above));
});

test("bulk - a waiting task is deleted also where none that have ended are kept", () => {
  const world = new World({ retentionCount: 0 });
  const taskId = world.submit({ type: "t" });
  world.ok("task.delete", { taskId });
  expect(world.core.tasks.size).toBe(0);
});

test("bulk - a moved task has its new queue and priority and stands there by its age", () => {
  const world = new World();
  const old = world.submit({ queue: "a", type: "t" });
  const young = world.submit({ queue: "b", type: "t" });
  const moved = world.ok("task.move", { taskId: old, queue: "b" });
  expect(moved).toEqual({ id: old, state: "queued", revision: world.store.revision });
  expect(world.task(old)).toMatchObject({ queue: "b", priority: "normal", revision: moved.revision });
  world.ok("task.move", { taskId: young, priority: "high" });
  world.ok("task.move", { taskId: young, priority: "normal" });
  const again = world.restarted();
  expect(again.task(old)).toEqual(world.task(old));
  for (const one of [world, again]) {
    one.worker("w", { queues: ["b"], claims: true });
    const { assignments } = one.ok("task.claim", { workerId: "w", count: 1 });
    expect(assignments.map(({ task }) => task.id)).toEqual([old]);
  }
});

test("bulk - the entry of a move says what the task is since, and replay reads it", () => {
  const world = new World();
  const taskId = world.submit({ queue: "a", type: "t", idempotencyKey: "k", payload: { a: 1 } });
  world.ok("task.move", { taskId, queue: "b", priority: "low" });
  const store = createStore();
  const loader = new Loader(store);
  for (const { revision, changes } of world.transactions)
    loader.entry(encodeEntry({ revision, at: 0, clock: 0, operation: "x", who: "x" }, changes));
  loader.end();
  store.advanceTo(world.store.revision);
  const replayed = new World({}, store, 0, {}, world);
  replayed.sound();
  expect(replayed.task(taskId)).toEqual(world.task(taskId));
  // Its key went with it.
  const submitted = replayed.ok("task.submit", { queue: "b", type: "t", idempotencyKey: "k" });
  expect(submitted).toMatchObject({ id: taskId, duplicate: true });
  expect(replayed.ok("task.submit", { queue: "a", type: "t", idempotencyKey: "k" })).toMatchObject({
    duplicate: false,
  });
});

test("bulk - only what waits is moved, and nowhere that has no room for it", () => {
  const { world, ids } = everyState();
  for (const state of ["running", "completed", "failed", "dead", "cancelled"] as const)
    world.refused("task.move", { taskId: ids[state], queue: "x" }, "wrong-state");
  world.refused("task.move", { taskId: "999-0", queue: "x" }, "unknown-task");
  world.refused("task.move", { taskId: ids.queued }, "invalid-input");
  world.ok("queue.configure", { queue: "full", backlog: { max: 1, policy: "refuse" } });
  world.ok("task.move", { taskId: ids.queued, queue: "full" });
  world.refused("task.move", { taskId: ids.scheduled, queue: "full" }, "backlog-full");
  const [one, other] = ["p", "q"].map((queue) => world.submit({ queue, type: "t", idempotencyKey: "k" }));
  expect(world.refused("task.move", { taskId: one as string, queue: "q" }, "wrong-state").detail).toContain(
    other as string,
  );
  const before = world.transactions.length;
  world.ok("task.move", { taskId: one as string, queue: "p" });
  expect(world.transactions.length).toBe(before);
});

test("bulk - what is blocked is no part of the backlog that it is moved to", () => {
  const { world, ids } = everyState();
  const other = world.submit({ type: "t", after: [ids.blocked] });
  world.ok("queue.configure", { queue: "full", backlog: { max: 1, policy: "refuse" } });
  const taskIds = [ids.blocked, other, ids.queued];
  expect(world.ok("task.moveMany", { taskIds, queue: "full" })).toMatchObject({ count: 3, refused: [] });
  world.refused("task.move", { taskId: ids.scheduled, queue: "full" }, "backlog-full");
});

/** A world in which the lanes are all but one taken, by delayed tasks that wait as no others do. */
function almostFull(): { world: World; fresh: (name: string) => { type: string; capabilities: string[] } } {
  const world = new World({ queuedTasksMax: 1_000_000 });
  const fresh = (name: string) => ({ type: "t", capabilities: [name] });
  for (let from = 0; from < limits.lanesMax - 1; from += 1000) {
    const count = Math.min(1000, limits.lanesMax - 1 - from);
    world.run(
      "task.submit",
      Array.from({ length: count }, (_, i) => fresh(`c${from + i}`)),
    );
  }
  return { world, fresh };
}

test("bulk - many that are retried, moved or submitted at once pass no limit that each alone would meet", () => {
  const { world, fresh } = almostFull();
  const fails = [1, 2, 3].map((i) => {
    const { id } = JSON.parse(
      (world.run("task.submit", { ...fresh(`x${i}`), delayMs: 60_000 }) as { ok: string }).ok,
    );
    world.run("task.cancel", { taskId: id });
    return id as string;
  });
  const many = (result: object) => JSON.parse((result as { ok: string }).ok) as { count: number };
  expect(many(world.run("task.retryMany", { taskIds: fails, dryRun: true })).count).toBe(1);
  const plain = JSON.parse(
    (world.run("task.submit", [fresh("c0"), fresh("c1"), fresh("c2")]) as { ok: string }).ok,
  ) as { id: string }[];
  const taskIds = plain.map(({ id }) => id);
  expect(many(world.run("task.moveMany", { taskIds, queue: "other", dryRun: true })).count).toBe(1);
  const refused = world.run("task.submit", [fresh("y1"), fresh("y2")]);
  expect(refused).toMatchObject({ error: { code: "too-many-requirement-sets" } });
  // Those that ask the same are one.
  expect(world.run("task.submit", [fresh("y1"), fresh("y1"), fresh("c5")])).toHaveProperty("ok");
});

test("bulk - many are named by ids or by a filter, not by both or neither", () => {
  const world = new World();
  world.refused("task.cancelMany", {}, "invalid-input");
  world.refused("task.cancelMany", { taskIds: ["1-0"], filter: {} }, "invalid-input");
  world.refused("task.cancelMany", { taskIds: ["1-0"], limit: 5 }, "invalid-input");
  world.refused("task.moveMany", { filter: {} }, "invalid-input");
});

test("bulk - of named tasks each that may be is changed, in one entry, and the others are told with their codes", () => {
  const { world, ids } = everyState();
  const before = world.transactions.length;
  const all = [...Object.values(ids), ids.queued, "999-0"];
  expect(world.ok("task.cancelMany", { taskIds: all, reason: "off" })).toEqual({
    // One of them was cancelled before and stands so.
    count: 5,
    refused: [
      { id: ids.completed, code: "wrong-state" },
      { id: ids.failed, code: "wrong-state" },
      { id: ids.dead, code: "wrong-state" },
      { id: "999-0", code: "unknown-task" },
    ],
    cursor: null,
  });
  expect(world.transactions.length).toBe(before + 1);
  for (const state of ["queued", "scheduled", "blocked", "running"] as const)
    expect(world.task(ids[state])).toMatchObject({ state: "cancelled", reason: "off" });
});

test("bulk - atomic changes all or nothing, and answers with what the first refusal says", () => {
  const { world, ids } = everyState();
  const refused = world.refused(
    "task.retryMany",
    { taskIds: [ids.dead, ids.queued, ids.completed], atomic: true },
    "wrong-state",
  );
  expect(refused.detail).toContain(ids.queued);
  expect(refused.detail).toContain("nothing was changed");
  expect(world.task(ids.dead).state).toBe("dead");
  world.ok("task.retryMany", { taskIds: [ids.dead, ids.failed], atomic: true });
  expect([world.task(ids.dead).state, world.task(ids.failed).state]).toEqual(["queued", "queued"]);
});

test("bulk - tasks that are moved together heed the backlog and the keys of each other", () => {
  const world = new World();
  world.ok("queue.configure", { queue: "to", backlog: { max: 2, policy: "refuse" } });
  const [first, second, third] = ["a", "b", "c"].map((queue) =>
    world.submit({ queue, type: "t", ...(queue === "c" ? {} : { idempotencyKey: "k" }) }),
  ) as [string, string, string];
  const more = world.submit({ queue: "d", type: "t" });
  expect(world.ok("task.moveMany", { taskIds: [first, second, third, more], queue: "to" })).toEqual({
    count: 2,
    refused: [
      { id: second, code: "wrong-state" },
      { id: more, code: "backlog-full" },
    ],
    cursor: null,
  });
});

test("bulk - tasks that are retried together count together for what may wait", () => {
  const world = new World({ queuedTasksMax: 3 });
  const ids = Array.from({ length: 3 }, () => world.submit({ type: "t" }));
  world.ok("task.cancelMany", { taskIds: ids });
  world.submit({ type: "t" });
  expect(world.ok("task.retryMany", { taskIds: ids })).toMatchObject({
    count: 2,
    refused: [{ id: ids[2] as string, code: "busy" }],
  });
});

test("bulk - of tasks that are unique by the same one is retried", () => {
  const world = new World();
  const ids = [1, 2].map(() => {
    const id = world.submit({ type: "t", unique: { key: "k" } });
    world.ok("task.cancel", { taskId: id });
    return id;
  });
  expect(world.ok("task.retryMany", { taskIds: ids })).toMatchObject({
    count: 1,
    refused: [{ id: ids[1] as string, code: "wrong-state" }],
  });
});

test("bulk - by filter a slice at a time, and no task twice", () => {
  const world = new World();
  const ids: string[] = [];
  for (let i = 0; i < 25; i++)
    ids.push(
      world.submit({ queue: i % 2 ? "odd" : "even", type: "t", labels: i % 5 === 0 ? { of: "five" } : {} }),
    );
  const input = { filter: { queue: "odd" }, limit: 5 } as const;
  let slice = world.ok("task.cancelMany", input);
  let count = slice.count;
  expect(count).toBe(5);
  for (; slice.cursor !== null; count += slice.count)
    slice = world.ok("task.cancelMany", { ...input, cursor: slice.cursor });
  expect(count).toBe(12);
  expect(world.core.queues.counts).toMatchObject({ cancelled: 12, queued: 13 });
  // The states that it can be done to are meant where none is named.
  expect(world.ok("task.retryMany", { filter: { label: "of=five" } })).toEqual({
    count: 2,
    refused: [],
    cursor: null,
  });
  expect(world.ok("task.deleteMany", { filter: { label: "of" } }).count).toBe(5);
});

test("bulk - a dry run changes nothing and tells what would be", () => {
  const { world, ids } = everyState();
  const before = world.transactions.length;
  const dryRun = true;
  expect(world.ok("task.cancelMany", { filter: {}, dryRun }).count).toBe(4);
  expect(world.ok("task.cancelMany", { filter: { queue: "work" }, dryRun }).count).toBe(3);
  expect(world.ok("task.deleteMany", { filter: { state: "running" }, dryRun }).count).toBe(0);
  expect(world.ok("task.retryMany", { filter: { type: "t" }, dryRun }).count).toBe(3);
  expect(world.ok("task.deleteMany", { filter: { type: "nope" }, dryRun })).toEqual({
    count: 0,
    refused: [],
    cursor: null,
  });
  expect(world.ok("task.retryMany", { taskIds: [ids.dead, ids.queued], dryRun })).toEqual({
    count: 1,
    refused: [{ id: ids.queued, code: "wrong-state" }],
    cursor: null,
  });
  expect(world.transactions.length).toBe(before);
});

test("bulk - the dead are found among many others without a look at them", () => {
  // What is looked at is counted, so that no machine is too slow for it: over the bound there would be a cursor.
  const world = new World({ queuedTasksMax: 100_000 });
  world.worker("w", { capacity: 1, queues: ["q"] });
  const dead = world.submit({ queue: "q", type: "t", attempts: 1 });
  world.settle();
  world.run("task.fail", { ...world.held(dead), error: "no" });
  for (let i = 0; i < 25; i++)
    world.run(
      "task.submit",
      Array.from({ length: limits.tasksPerSubmitMax }, () => ({ queue: "other", type: "t" })),
    );
  const page = world.ok("task.list", { state: "dead", queue: "q" });
  expect([page.tasks.map(({ id }) => id), page.cursor]).toEqual([[dead], null]);
  const walked = world.ok("task.list", { queue: "q" });
  expect([walked.tasks, walked.cursor === null]).toEqual([[], false]);
});

test("bulk - lists take the filters of changes", () => {
  const world = new World();
  const ids: string[] = [];
  const labels: Record<string, string>[] = [{}, { a: "1" }, { a: "2=x" }, { b: "1" }];
  for (const [i, label] of labels.entries()) {
    ids.push(world.submit({ type: "t", labels: label, ...(i < 2 ? { group: "g" } : {}) }));
    world.advance(10);
  }
  const found = (filter: object) => world.ok("task.list", filter).tasks.map(({ id }) => ids.indexOf(id));
  const at = (i: number) => world.task(ids[i] as string).createdAt;
  expect(found({ group: "g" })).toEqual([1, 0]);
  expect(found({ label: "a" })).toEqual([2, 1]);
  expect(found({ label: "a=2=x" })).toEqual([2]);
  expect(found({ label: "a=2" })).toEqual([]);
  expect(found({ label: "toString" })).toEqual([]);
  expect(found({ createdBefore: at(1) })).toEqual([0]);
  expect(found({ createdAfter: at(1) })).toEqual([3, 2]);
  expect(found({ createdAfter: at(0), createdBefore: at(3), label: "a" })).toEqual([2, 1]);
});

test("bulk - a worker's results come in one entry, each with its own outcome", () => {
  const world = new World();
  world.worker("w", { capacity: 3 });
  const ids = [1, 2, 3].map(() => world.submit({ type: "t" }));
  world.settle();
  const held = ids.map((taskId) => ({ taskId, token: world.held(taskId).token }));
  const [one, two, three] = held as [(typeof held)[0], (typeof held)[0], (typeof held)[0]];
  const before = world.transactions.length;
  const tasks = [{ ...one, result: { a: 1 } }, one, { ...two, token: 1 }, { taskId: "999-0", token: 1 }];
  expect(world.ok("task.completeMany", { workerId: "w", tasks })).toEqual({
    count: 2,
    refused: [
      { id: two.taskId, code: "lease-lost" },
      { id: "999-0", code: "unknown-task" },
    ],
  });
  expect(world.transactions.length).toBe(before + 1);
  expect(world.task(one.taskId)).toMatchObject({ state: "completed", result: { a: 1 } });
  world.refused(
    "task.completeMany",
    { workerId: "w", tasks: [three, { ...two, token: 1 }], atomic: true },
    "lease-lost",
  );
  expect(world.task(three.taskId).state).toBe("running");
  // Said again it is the same.
  expect(world.ok("task.completeMany", { workerId: "w", tasks: [one, two, three] })).toEqual({
    count: 3,
    refused: [],
  });
});

test("bulk - moves, deletes and undoing them leave queues, orders and keys as a plain model has them", () => {
  type Model = { queue: string; priority: Priority; key: string | null };
  const queues = ["a", "b", "c"];
  const keys = ["k", "l", null, null];
  const step = fc.record({
    what: fc.constantFrom("submit", "move", "move", "delete", "undo", "restart"),
    which: fc.nat(),
    queue: fc.constantFrom(...queues),
    priority: fc.constantFrom(...priorities),
    key: fc.constantFrom(...keys),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let world = new World();
      let model = new Map<string, Model>();
      for (const { what, which, queue, priority, key } of steps) {
        const ids = [...model.keys()];
        const id = ids[which % ids.length];
        const taken = (of: string | null, to: string) =>
          of !== null && [...model.values()].some((one) => one.queue === to && one.key === of);
        if (what === "restart") world = world.restarted();
        else if (what === "submit") {
          const submitted = world.ok("task.submit", {
            ...{ queue, type: "t", priority },
            ...(key === null ? {} : { idempotencyKey: key }),
          }) as { id: string; duplicate: boolean };
          expect(submitted.duplicate).toBe(taken(key, queue));
          if (!submitted.duplicate) model.set(submitted.id, { queue, priority, key });
        } else if (id === undefined) continue;
        else {
          const before = new Map(model);
          const count = world.transactions.length;
          const task = model.get(id) as Model;
          if (what === "delete") {
            world.ok("task.delete", { taskId: id });
            model.delete(id);
          } else if (task.queue !== queue && taken(task.key, queue))
            world.refused("task.move", { taskId: id, queue, priority }, "wrong-state");
          else {
            world.ok("task.move", { taskId: id, queue, priority });
            model.set(id, { ...task, queue, priority });
          }
          if (what === "undo" && world.transactions.length > count) {
            world.store.undo(world.transactions.pop() as (typeof world.transactions)[0]);
            world.sound();
            model = before;
          }
        }
        const found = world.ok("task.list", {}).tasks;
        const expected = [...model].reverse().map(([taskId, one]) => [taskId, one.queue, one.priority]);
        expect(found.map((one) => [one.id, one.queue, one.priority])).toEqual(expected as never);
      }
    }),
    { numRuns: 60 },
  );
});
