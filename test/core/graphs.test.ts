import { describe, expect, test } from "bun:test";
import { encodeEntry, Loader } from "../../src/core/codec.ts";
import { createStore } from "../../src/core/store.ts";
import { pushText, type TaskRecord } from "../../src/core/tasks.ts";
import type { Input, Output } from "../../src/wire/operations.ts";
import { type Assignment, assignmentOf } from "../../src/wire/tasks.ts";
import { World } from "../support/world.ts";

type Tasks = Input<"graph.submit">["tasks"];

/** Submits tasks that are called by their refs; the ids by ref. */
function graph(world: World, tasks: Tasks): Record<string, string> {
  const { ids } = world.ok("graph.submit", { tasks });
  return Object.fromEntries(tasks.map(({ ref }, i) => [ref as string, ids[i] as string]));
}
const statesOf = (world: World, ids: Record<string, string>) =>
  Object.fromEntries(Object.entries(ids).map(([ref, id]) => [ref, world.task(id).state]));

/** Runs one task to its end on a worker that takes everything. */
function end(world: World, id: string, how: "complete" | "fail", result: unknown = null): void {
  world.settle();
  if (how === "complete") world.ok("task.complete", { ...world.held(id), result });
  else world.ok("task.fail", { ...world.held(id), error: "it broke", final: true });
  world.settle();
}

const working = (config = {}) => {
  const world = new World(config);
  world.worker("w", { capacity: 100 });
  return world;
};
const diamond: Tasks = [
  { type: "t", ref: "top", after: ["left", "right"] },
  { type: "t", ref: "left", after: ["bottom"] },
  { type: "t", ref: "right", after: ["bottom"] },
  { type: "t", ref: "bottom" },
];

test("graphs - a task is blocked until all it waits for is completed, whichever way round it was submitted", () => {
  const world = working();
  const ids = graph(world, diamond);
  expect(world.transactions.length).toBe(2);
  expect(statesOf(world, ids)).toEqual({
    top: "blocked",
    left: "blocked",
    right: "blocked",
    bottom: "queued",
  });
  end(world, ids.bottom!, "complete");
  expect(statesOf(world, ids)).toMatchObject({ top: "blocked", left: "running", right: "running" });
  end(world, ids.left!, "complete");
  expect(world.task(ids.top!)).toMatchObject({
    state: "blocked",
    graph: { total: 2, pending: 1, completed: 1, failed: 0, parentId: null, open: false },
  });
  end(world, ids.right!, "complete");
  expect(world.task(ids.top!).state).toBe("running");
});

test("graphs - an array submit takes refs too, and answers what each is", () => {
  const world = new World();
  const made = world.ok("task.submit", [
    { type: "t", ref: "a" },
    { type: "t", after: ["a"] },
  ]) as { state: string }[];
  expect(made.map(({ state }) => state)).toEqual(["queued", "blocked"]);
});

test("graphs - the end of a task and the readiness of those that wait for it are one entry", () => {
  const world = working();
  const ids = graph(world, [
    { type: "t", ref: "a" },
    { type: "t", ref: "b", after: ["a"] },
  ]);
  world.settle();
  const before = world.transactions.length;
  world.ok("task.complete", world.held(ids.a!));
  expect(world.transactions.length).toBe(before + 1);
  expect(world.task(ids.b!).state).toBe("queued");
});

test("graphs - a task after tasks that are completed already is queued at once", () => {
  const world = working();
  const first = world.submit({ type: "t" });
  end(world, first, "complete");
  const second = world.ok("task.submit", { type: "t", after: [first] }) as { id: string; state: string };
  expect(second.state).toBe("queued");
});

test("graphs - a delayed task counts its delay from its submission, and is scheduled for the rest of it", () => {
  const world = working();
  const ids = graph(world, [
    { type: "t", ref: "a" },
    { type: "t", ref: "late", after: ["a"], delayMs: 5000 },
    { type: "t", ref: "over", after: ["a"], delayMs: 500 },
  ]);
  world.advance(1000);
  end(world, ids.a!, "complete");
  expect(statesOf(world, ids)).toMatchObject({ late: "scheduled", over: "running" });
  world.advance(3999);
  expect(world.task(ids.late!).state).toBe("scheduled");
  world.advance(1);
  expect(world.task(ids.late!).state).toBe("running");
});

test("graphs - a time to live counts from when nothing is left to wait for, over a restart too", () => {
  const world = working();
  const ids = graph(world, [
    { type: "t", ref: "a" },
    { type: "t", ref: "b", after: ["a"], ttlMs: 1000, kind: "nobody" },
  ]);
  world.advance(5000);
  expect(world.task(ids.b!)).toMatchObject({ state: "blocked", expiresAt: null });
  end(world, ids.a!, "complete");
  const { expiresAt } = world.task(ids.b!);
  expect(expiresAt).toBe(world.now + 1000);
  const again = world.restarted();
  expect(again.task(ids.b!).expiresAt).toBe(expiresAt);
  again.advance(1000);
  expect(again.task(ids.b!)).toMatchObject({ state: "failed", error: { code: "expired" } });
});

describe("graphs - what happens when a task that is waited for fails", () => {
  const three = (world: World) =>
    graph(world, [
      { type: "t", ref: "a" },
      { type: "t", ref: "strict", after: ["a"] },
      { type: "t", ref: "above", after: ["strict"] },
      { type: "t", ref: "easy", after: [{ task: "a", onFail: "ignore" }] },
      { type: "t", ref: "patient", after: [{ task: "a", onFail: "wait" }] },
    ]);

  test("graphs - fail: it fails too and names the task, and so on up; ignore: it goes on; wait: it waits", () => {
    const world = working();
    const ids = three(world);
    end(world, ids.a!, "fail");
    expect(statesOf(world, ids)).toEqual({
      a: "failed",
      strict: "failed",
      above: "failed",
      easy: "running",
      patient: "blocked",
    });
    const strict = world.task(ids.strict!);
    expect(strict.reason).toContain(ids.a!);
    expect(strict.error).toMatchObject({ code: "dependency" });
    expect(strict.error?.message).toContain("it broke");
    expect(world.task(ids.above!).reason).toContain(ids.strict!);
    expect(world.task(ids.patient!).graph).toMatchObject({ pending: 1, failed: 1 });
  });

  test("graphs - a retry of the failed task sets the waiting one going; with cascade what failed for it as well", () => {
    for (const cascade of [false, true]) {
      const world = working();
      const ids = three(world);
      end(world, ids.a!, "fail");
      world.ok("task.retry", { taskId: ids.a!, cascade });
      expect(statesOf(world, ids)).toMatchObject({
        a: "queued",
        strict: cascade ? "blocked" : "failed",
        above: cascade ? "blocked" : "failed",
      });
      end(world, ids.a!, "complete");
      expect(world.task(ids.patient!).state).toBe("running");
      expect(world.task(ids.strict!).state).toBe(cascade ? "running" : "failed");
      if (!cascade) continue;
      end(world, ids.strict!, "complete");
      expect(world.task(ids.above!).state).toBe("running");
    }
  });

  test("graphs - a retry with cascade that is too much is refused whole, and one whose place is taken is left", () => {
    const world = working({ queuedTasksMax: 5 });
    const ids = three(world);
    end(world, ids.a!, "fail");
    world.settle();
    const unfinished = world.core.limits.unfinished;
    const room = 5 - unfinished;
    for (let i = 0; i < room - 1; i++) world.submit({ type: "t", delayMs: 60_000 });
    // There is room for the first of them alone.
    world.refused("task.retry", { taskId: ids.a!, cascade: true }, "busy");
    expect(statesOf(world, ids)).toMatchObject({ a: "failed", strict: "failed", above: "failed" });
    world.ok("task.retry", { taskId: ids.a! });

    const again = working();
    const unique = { by: ["payload" as const], while: "unfinished" as const };
    const above = again.submit({ type: "t", payload: 1, unique });
    again.settle();
    const parent = again.held(above);
    const below = again.submit({ type: "t", parent });
    again.ok("task.wait", parent);
    end(again, below, "fail");
    expect(again.task(above).state).toBe("failed");
    const newer = again.submit({ type: "t", payload: 1, unique });
    again.ok("task.retry", { taskId: below, cascade: true });
    expect(again.task(above).state).toBe("failed");
    expect(again.submit({ type: "t", payload: 1, unique })).toBe(newer);
  });

  test("graphs - a task that failed for another is not retried alone, and is once the other completed", () => {
    const world = working();
    const ids = three(world);
    end(world, ids.a!, "fail");
    const { detail } = world.refused("task.retry", { taskId: ids.strict! }, "wrong-state");
    expect(detail).toContain(ids.a!);
    world.ok("task.retry", { taskId: ids.a! });
    world.ok("task.retry", { taskId: ids.strict! });
    expect(world.task(ids.strict!).state).toBe("blocked");
    end(world, ids.a!, "complete");
    expect(world.task(ids.strict!).state).toBe("running");
  });

  test("graphs - a retry with cascade leaves what failed for another task too, and what ended otherwise", () => {
    const world = working();
    const ids = graph(world, [
      { type: "t", ref: "a" },
      { type: "t", ref: "b" },
      { type: "t", ref: "both", after: ["a", "b"] },
      { type: "t", ref: "one", after: ["a"] },
      { type: "t", ref: "gone", after: ["a"] },
    ]);
    world.ok("task.cancel", { taskId: ids.gone!, reason: "not needed" });
    world.settle();
    world.ok("task.fail", { ...world.held(ids.a!), error: "no", final: true });
    world.ok("task.fail", { ...world.held(ids.b!), error: "no", final: true });
    world.ok("task.retry", { taskId: ids.a!, cascade: true });
    expect(statesOf(world, ids)).toMatchObject({
      a: "queued",
      both: "failed",
      one: "blocked",
      gone: "cancelled",
    });
    world.ok("task.retry", { taskId: ids.b!, cascade: true });
    expect(world.task(ids.both!).state).toBe("blocked");
  });

  test("graphs - an attempt that is tried again ends nothing", () => {
    const world = working();
    const ids = three(world);
    world.settle();
    world.ok("task.fail", { ...world.held(ids.a!), error: "no", retryInMs: 10 });
    expect(world.task(ids.strict!).state).toBe("blocked");
  });
});

describe("graphs - cancelling", () => {
  test("graphs - what waits for a cancelled task is cancelled with it, unless it ignores that or waits", () => {
    const world = working();
    const ids = graph(world, [
      { type: "t", ref: "a" },
      { type: "t", ref: "b", after: ["a"] },
      { type: "t", ref: "c", after: ["b"] },
      { type: "t", ref: "easy", after: [{ task: "b", onFail: "ignore" }] },
      { type: "t", ref: "patient", after: [{ task: "b", onFail: "wait" }] },
    ]);
    world.ok("task.cancel", { taskId: ids.b!, reason: "ordered twice" });
    expect(statesOf(world, ids)).toEqual({
      a: "queued",
      b: "cancelled",
      c: "cancelled",
      easy: "queued",
      patient: "blocked",
    });
    expect(world.task(ids.c!).reason).toContain(ids.b!);
  });

  test("graphs - with cascade it takes along what it waited for, but not what others wait for", () => {
    const world = working();
    const ids = graph(world, [
      { type: "t", ref: "deep" },
      { type: "t", ref: "shared" },
      { type: "t", ref: "mine", after: ["deep"] },
      { type: "t", ref: "top", after: ["mine", "shared"] },
      { type: "t", ref: "other", after: ["shared"] },
    ]);
    world.settle();
    expect(world.task(ids.deep!).state).toBe("running");
    world.ok("task.cancel", { taskId: ids.top!, cascade: true });
    expect(statesOf(world, ids)).toEqual({
      deep: "cancelled",
      shared: "running",
      mine: "cancelled",
      top: "cancelled",
      other: "blocked",
    });
  });
});

describe("graphs - refused whole", () => {
  const rows: [string, Tasks, string][] = [
    ["a ref that is not there", [{ type: "t" }, { type: "t", after: ["nobody"] }], "/tasks/1/after/0"],
    [
      "a circle",
      [
        { type: "t", ref: "a", after: ["c"] },
        { type: "t", ref: "b", after: ["a"] },
        { type: "t", ref: "c", after: ["b"] },
      ],
      "/tasks/0/after",
    ],
    ["a task that waits for itself", [{ type: "t", ref: "a", after: ["a"] }], "/tasks/0/after"],
    [
      "a circle through one idempotency key",
      [
        { type: "t", ref: "a", idempotencyKey: "k", after: ["c"] },
        { type: "t", ref: "b", idempotencyKey: "k" },
        { type: "t", ref: "c", after: ["b"] },
      ],
      "/tasks/0/after",
    ],
    [
      "a ref twice",
      [
        { type: "t", ref: "a" },
        { type: "t", ref: "a" },
      ],
      "/tasks/1/ref",
    ],
    ["a ref like an id", [{ type: "t", ref: "1042-0" }], "/tasks/0/ref"],
    [
      "the same task twice",
      [
        { type: "t", ref: "a" },
        { type: "t", after: ["a", { task: "a", onFail: "wait" }] },
      ],
      "/tasks/1/after/1",
    ],
  ];
  test.each(rows)("graphs - %s", (_, tasks, pointer) => {
    const world = new World();
    const { errors } = world.refused("graph.submit", { tasks }, "invalid-input");
    expect(errors?.map((one) => one.pointer)).toEqual([pointer]);
    expect(world.core.tasks.size).toBe(0);
  });

  test("graphs - an id that is not there", () => {
    const world = new World();
    const { detail } = world.refused(
      "graph.submit",
      { tasks: [{ type: "t" }, { type: "t", after: ["999-0"] }] },
      "unknown-task",
    );
    expect(detail).toContain("999-0");
  });

  test("graphs - a circle names its tasks in their order", () => {
    const world = new World();
    const { detail } = world.refused(
      "task.submit",
      [
        { type: "t", ref: "x", after: ["a"] },
        { type: "t", ref: "a", after: ["b"] },
        { type: "t", ref: "b", after: ["a"] },
      ],
      "invalid-input",
    );
    expect(detail).toContain("a after b after a");
  });

  test("graphs - a task that is assigned at once waits for nothing", () => {
    const world = working();
    const task = { type: "t", open: true };
    world.refused("task.assign", { task }, "invalid-input");
    const open = world.submit(task);
    world.refused("task.assign", { taskId: open }, "wrong-state");
  });
});

test("graphs - a known idempotency key stands for the earlier task, and what its repetition names counts for nothing", () => {
  const world = working();
  const first = world.submit({ type: "t", idempotencyKey: "k" });
  const { ids, duplicates } = world.ok("graph.submit", {
    tasks: [
      { type: "t", ref: "a", idempotencyKey: "k", after: ["b"] },
      { type: "t", ref: "b", after: ["a"] },
    ],
  });
  expect(ids[0]).toBe(first);
  expect(duplicates).toEqual([0]);
  end(world, first, "complete");
  expect(world.task(ids[1]!).state).toBe("running");
});

describe("graphs - results reach the handler", () => {
  const assigned = (world: World, id: string): Assignment => {
    const { event: _, ...push } = JSON.parse(pushText(world.core, world.core.tasks.get(id) as TaskRecord));
    return assignmentOf(push);
  };

  test("graphs - by ref or id, in the push, the claim and the pages", () => {
    const world = working();
    const old = world.submit({ type: "t" });
    end(world, old, "complete", { n: 1 });
    const ids = graph(world, [
      { type: "a", ref: "a" },
      { type: "b", ref: "b" },
      { type: "t", ref: "top", after: [old, "a", { task: "b", onFail: "ignore" }] },
    ]);
    end(world, ids.a!, "complete", [2]);
    end(world, ids.b!, "fail");
    const { dependencies, task } = assigned(world, ids.top!);
    expect(dependencies).toEqual({
      [old]: { taskId: old, state: "completed", result: { n: 1 }, error: null },
      a: { taskId: ids.a!, state: "completed", result: [2], error: null },
      b: { taskId: ids.b!, state: "failed", result: null, error: { message: "it broke" } },
    });
    const { errors: _, archived: __, ...shown } = world.task(ids.top!);
    expect(task).toEqual(shown);
    const pages: Output<"task.dependencies">["dependencies"] = [];
    for (let cursor: string | undefined; ; ) {
      const page = world.ok("task.dependencies", {
        taskId: ids.top!,
        limit: 2,
        ...(cursor !== undefined && { cursor }),
      });
      pages.push(...page.dependencies);
      if (page.cursor === null) break;
      ({ cursor } = page);
    }
    expect(pages.map(({ name, type, state, onFail }) => [name, type, state, onFail])).toEqual([
      [old, "t", "completed", "fail"],
      ["a", "a", "completed", "fail"],
      ["b", "b", "failed", "ignore"],
    ]);
  });

  test("graphs - too many or too large, they are left to be read in pages", () => {
    const world = working();
    const many = Array.from({ length: 101 }, (_, i) => ({ type: "t", ref: `r${i}` }));
    const ids = graph(world, [...many, { type: "t", ref: "top", after: many.map(({ ref }) => ref) }]);
    for (const { ref } of many) end(world, ids[ref]!, "complete");
    expect(assigned(world, ids.top!).dependencies).toBeUndefined();
    const large = graph(world, [
      { type: "t", ref: "a" },
      { type: "t", ref: "top", after: ["a"] },
    ]);
    end(world, large.a!, "complete", "x".repeat(20_000));
    expect(assigned(world, large.top!).dependencies).toBeUndefined();
  });
});

describe("graphs - children added while running", () => {
  test("graphs - the parent ends its attempt uncharged, and runs again with what became of them", () => {
    const world = working();
    const parentId = world.submit({ type: "t", attempts: 1 });
    world.settle();
    const parent = world.held(parentId);
    const [a, b] = world.ok("task.submit", [
      { type: "t", ref: "a", parent },
      { type: "t", ref: "b", parent: { ...parent, onFail: "ignore" }, after: ["a"] },
    ]) as { id: string }[];
    expect(world.ok("task.wait", parent).state).toBe("blocked");
    expect(world.task(parentId)).toMatchObject({ attempt: 0, graph: { total: 2, pending: 2 } });
    expect(world.task(a!.id).graph).toMatchObject({ parentId });
    world.refused("task.complete", parent, "lease-lost");
    end(world, a!.id, "complete", 7);
    end(world, b!.id, "fail");
    expect(world.task(parentId)).toMatchObject({ state: "running", attempt: 1 });
    const page = world.ok("task.dependencies", { taskId: parentId });
    expect(
      page.dependencies.map(({ name, relation, state, result }) => [name, relation, state, result]),
    ).toEqual([
      ["a", "child", "completed", 7],
      ["b", "child", "failed", null],
    ]);
    end(world, parentId, "complete");
    expect(world.task(parentId).state).toBe("completed");
  });

  test("graphs - where they are done already the parent is queued at once; without any it is refused", () => {
    const world = working();
    const parentId = world.submit({ type: "t" });
    world.settle();
    const parent = world.held(parentId);
    world.refused("task.wait", parent, "wrong-state");
    const child = world.submit({ type: "t", parent });
    end(world, child, "complete");
    expect(world.ok("task.wait", parent).state).toBe("queued");
  });

  test("graphs - a failed child fails the parent when it waits, and leaves a running one alone", () => {
    const world = working();
    const parentId = world.submit({ type: "t" });
    world.settle();
    const parent = world.held(parentId);
    const child = world.submit({ type: "t", parent });
    end(world, child, "fail");
    expect(world.task(parentId).state).toBe("running");
    expect(world.ok("task.wait", parent).state).toBe("failed");
  });

  test("graphs - a lease that is lost, a parent that takes none, half a lease: refused", () => {
    const world = working();
    const taskId = world.submit({ type: "t" });
    world.refused("task.submit", { type: "t", parent: { taskId } }, "wrong-state");
    world.refused("task.submit", { type: "t", parent: { taskId: "9-9" } }, "unknown-task");
    world.settle();
    const parent = world.held(taskId);
    world.refused("task.submit", { type: "t", parent: { ...parent, token: 1 } }, "lease-lost");
    world.refused("task.submit", { type: "t", parent: { taskId, workerId: "w" } }, "invalid-input");
    world.ok("task.release", parent);
    world.refused("task.submit", { type: "t", parent }, "lease-lost");
  });

  test("graphs - a child cannot wait for what waits for its parent", () => {
    const world = working();
    const ids = graph(world, [
      { type: "t", ref: "old" },
      { type: "t", ref: "same" },
    ]);
    const parentId = world.submit({ type: "t" });
    const above = world.submit({ type: "t", after: [parentId] });
    world.settle();
    const parent = world.held(parentId);
    world.refused("task.submit", { type: "t", parent, after: [above] }, "invalid-input");
    world.refused("task.submit", { type: "t", parent, after: [parentId] }, "invalid-input");
    world.refused(
      "task.submit",
      [
        { type: "t", ref: "x", after: [parentId] },
        { type: "t", parent, after: ["x"] },
      ],
      "invalid-input",
    );
    // What is older than a parent that is nobody's child may be waited for, and siblings.
    const child = world.submit({ type: "t", parent, after: [ids.old!] });
    world.submit({ type: "t", parent, after: [child] });
    // A grandchild may wait for neither: its parent is a child.
    end(world, ids.old!, "complete");
    world.settle();
    const grand = world.held(child);
    world.refused("task.submit", { type: "t", parent: grand, after: [ids.same!] }, "invalid-input");
    world.submit({ type: "t", parent: grand, after: [ids.old!] });
  });
});

describe("graphs - batches", () => {
  test("graphs - an open task takes children until it is closed, then runs when they are done", () => {
    const world = working();
    const batch = world.submit({ type: "done", open: true });
    const child = (more = {}) =>
      world.submit({ type: "t", parent: { taskId: batch, onFail: "ignore" }, ...more });
    const [a, b] = [child(), child()];
    end(world, a, "complete");
    end(world, b, "fail");
    expect(world.task(batch)).toMatchObject({
      state: "blocked",
      graph: { open: true, total: 2, pending: 0, completed: 1, failed: 1 },
    });
    const c = child();
    expect(world.ok("task.close", { taskId: batch }).state).toBe("blocked");
    expect(world.ok("task.close", { taskId: batch }).state).toBe("blocked");
    expect(world.task(batch).graph).toMatchObject({ open: false });
    world.refused("task.submit", { type: "t", parent: { taskId: batch } }, "wrong-state");
    end(world, c, "complete");
    expect(world.task(batch).state).toBe("running");
  });

  test("graphs - an empty batch runs when it is closed; what is not open is not closed", () => {
    const world = working();
    const batch = world.submit({ type: "done", open: true });
    world.settle();
    expect(world.task(batch).state).toBe("blocked");
    expect(world.ok("task.close", { taskId: batch }).state).toBe("queued");
    world.refused("task.close", { taskId: world.submit({ type: "t" }) }, "wrong-state");
    world.refused("task.close", { taskId: "9-9" }, "unknown-task");
  });

  test("graphs - a batch that ended is neither closed nor given children, and is retried closed or open as it was", () => {
    const world = working();
    const batch = world.submit({ type: "done", open: true });
    world.ok("task.cancel", { taskId: batch });
    world.refused("task.close", { taskId: batch }, "wrong-state");
    world.refused("task.submit", { type: "t", parent: { taskId: batch } }, "wrong-state");
    expect(world.ok("task.retry", { taskId: batch }).state).toBe("blocked");
    expect(world.ok("task.close", { taskId: batch }).state).toBe("queued");
    world.ok("task.cancel", { taskId: batch });
    expect(world.ok("task.retry", { taskId: batch }).state).toBe("queued");
  });
});

test("graphs - a task that others wait for is kept until they ended, and goes by its age then", () => {
  const world = working({ retentionMs: 1000, retentionCount: 1 });
  const ids = graph(world, [
    { type: "t", ref: "a" },
    { type: "t", ref: "b", after: ["a"] },
  ]);
  end(world, ids.a!, "complete", "kept");
  for (let i = 0; i < 3; i++) end(world, world.submit({ type: "t" }), "complete");
  world.advance(5000);
  expect(world.core.tasks.has(ids.a!)).toBe(true);
  end(world, ids.b!, "complete");
  world.advance(1000);
  expect(world.core.tasks.size).toBe(0);
  expect(world.core.graphs.size).toBe(0);
});

test("graphs - what was waited for and is kept no longer counts as done when its parent is retried", () => {
  const world = working({ retentionMs: 1000 });
  const ids = graph(world, [
    { type: "t", ref: "a" },
    { type: "t", ref: "b", after: ["a"] },
  ]);
  end(world, ids.a!, "complete");
  world.advance(900);
  end(world, ids.b!, "fail");
  world.advance(200);
  expect(world.core.tasks.has(ids.a!)).toBe(false);
  expect(world.ok("task.retry", { taskId: ids.b! }).state).toBe("queued");
  const page = world.ok("task.dependencies", { taskId: ids.b! });
  expect(page.dependencies).toMatchObject([{ name: "a", taskId: ids.a!, state: null, result: null }]);
});

test("graphs - the removal of a task that is waited for leaves no trace when it is undone", () => {
  const world = working();
  const parentId = world.submit({ type: "t" });
  world.settle();
  const parent = world.held(parentId);
  const child = world.submit({ type: "t", parent });
  end(world, child, "complete");
  const { store, core } = world;
  const thrown = new Error("half-way");
  for (const id of [child, parentId])
    expect(() =>
      store.transaction(() => {
        core.tasks.delete(id);
        throw thrown;
      }),
    ).toThrow(thrown);
  world.sound();
  end(world, parentId, "complete");
  expect(core.queues.finishedOf("default").map(({ spec }) => spec.id)).toEqual([child, parentId]);
});

test("graphs - the removal of all that a blocked task waits for leaves no trace when it is undone", () => {
  const world = working();
  const parentId = world.submit({ type: "t" });
  world.settle();
  const parent = world.held(parentId);
  const child = world.submit({ type: "t", parent });
  world.ok("task.wait", parent);
  const { store, core } = world;
  const thrown = new Error("half-way");
  expect(() =>
    store.transaction(() => {
      core.tasks.delete(child);
      throw thrown;
    }),
  ).toThrow(thrown);
  world.sound();
  expect(core.graphs.isDue).toBe(false);
  end(world, child, "complete");
  expect(world.task(parentId).state).toBe("running");
});

test("graphs - a task that was ready in the entry that made it is the same after a restart", () => {
  const world = working();
  const first = world.submit({ type: "t" });
  end(world, first, "complete");
  const second = world.submit({ type: "t", after: [first], kind: "nobody" });
  expect(world.restarted().task(second)).toEqual(world.task(second));
});

test("graphs - many that wait for one are set going in slices, the next of which is due at once", () => {
  const world = working();
  const many = Array.from({ length: 2500 }, () => ({ type: "t", kind: "nobody", after: ["a"] }));
  const { ids } = world.ok("graph.submit", { tasks: [{ type: "t", ref: "a" }, ...many] });
  world.settle();
  world.ok("task.complete", world.held(ids[0]!));
  const { core } = world;
  for (let ticks = 0; core.nextDueMs() === 0; ticks++) {
    expect(ticks).toBeLessThan(10);
    const before = world.transactions.length;
    core.tick();
    for (const { changes } of world.transactions.slice(before))
      expect(changes.length).toBeLessThanOrEqual(1000);
  }
  expect(core.queues.counts).toMatchObject({ blocked: 0, queued: 2500 });
});

test("graphs - a chain of ten thousand fails from one end to the other", () => {
  const world = working();
  const count = 10_000;
  const tasks = Array.from({ length: count }, (_, i) => ({
    type: "t",
    ref: `r${i}`,
    ...(i > 0 && { after: [`r${i - 1}`] }),
  }));
  const { ids } = world.ok("graph.submit", { tasks });
  world.settle();
  world.ok("task.fail", { ...world.held(ids[0]!), error: "no", final: true });
  while (world.core.nextDueMs() === 0) world.core.tick();
  expect(world.core.queues.counts).toMatchObject({ failed: count, blocked: 0 });
  world.ok("task.retry", { taskId: ids[0]!, cascade: true });
  expect(world.core.queues.counts).toMatchObject({ queued: 1, blocked: count - 1 });
});

test("graphs - every entry, undone or read back from its text, leaves a sound state", () => {
  const world = working();
  const loaded = createStore();
  const loader = new Loader(loaded);
  const replay = () => {
    const fresh = world.restarted();
    for (const [key, record] of world.core.tasks.entries())
      expect(fresh.core.graphs.viewOf(fresh.core.tasks.get(key) as TaskRecord)).toBe(
        world.core.graphs.viewOf(record),
      );
  };
  const step = (work: () => void) => {
    const before = world.transactions.length;
    work();
    const made = world.transactions.slice(before);
    for (const { revision, changes } of made)
      loader.entry(
        encodeEntry({ revision, at: world.now, clock: world.clock, operation: "x", who: "t" }, changes),
      );
    // Taken back newest first and made again: the graph is what it was.
    for (const one of [...made].reverse()) {
      world.store.undo(one);
      world.sound();
    }
    for (const { changes } of made) for (const { table, key, after } of changes) table.restore(key, after);
    world.sound();
    replay();
  };
  let ids: Record<string, string> = {};
  step(() => {
    ids = graph(world, [
      ...diamond,
      { type: "t", ref: "patient", after: [{ task: "left", onFail: "wait" }] },
      { type: "t", ref: "batch", open: true, after: [{ task: "right", onFail: "ignore" }] },
    ]);
  });
  step(() => world.settle());
  step(() => world.ok("task.complete", world.held(ids.bottom!)));
  step(() => world.settle());
  const parent = () => world.held(ids.right!);
  step(() =>
    world.ok("task.submit", [
      { type: "t", parent: parent() },
      { type: "t", parent: { taskId: ids.batch! } },
    ]),
  );
  step(() => world.ok("task.wait", parent()));
  step(() => world.ok("task.fail", { ...world.held(ids.left!), error: "no", final: true }));
  step(() => world.ok("task.close", { taskId: ids.batch! }));
  step(() => world.ok("task.retry", { taskId: ids.left!, cascade: true }));
  step(() => world.ok("task.cancel", { taskId: ids.top!, cascade: true }));
  expect(statesOf(world, ids)).toEqual({
    top: "cancelled",
    left: "queued",
    right: "blocked",
    bottom: "completed",
    patient: "blocked",
    batch: "blocked",
  });
  loader.end();
  for (const [key, record] of world.core.tasks.entries())
    expect(loaded.table<TaskRecord>("tasks").get(key)).toEqual(record);
});
