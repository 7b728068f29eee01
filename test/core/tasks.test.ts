import { expect, test } from "bun:test";
import { pushText } from "../../src/core/tasks.ts";
import { limits } from "../../src/wire/limits.ts";
import { assignmentOf } from "../../src/wire/tasks.ts";
import { heldCount } from "../support/held.ts";
import { World } from "../support/world.ts";

const unknown = { taskId: "999-0", workerId: "w", token: 1 };

test("tasks - a submitted task is queued with its defaults, and its id names the revision that made it", () => {
  const world = new World();
  const id = world.submit({ type: "send", payload: { to: "ada" } });
  expect(id).toBe(`${world.store.revision}-0`);
  expect(world.task(id)).toMatchObject({
    queue: "default",
    type: "send",
    payload: { to: "ada" },
    priority: "normal",
    state: "queued",
    attempt: 0,
    attempts: 3,
    leaseMs: 30_000,
    timeoutMs: null,
    createdAt: world.now,
    runAt: null,
    lease: null,
    result: null,
    error: null,
  });
});

test("tasks - what a push leaves out, its reader puts back: it is the task as it stands", () => {
  const world = new World();
  world.worker("w", { capacity: 10, kind: "builder", capabilities: ["gpu", "docker"] });
  const usual = { type: "t", payload: { a: [1, null] } };
  const unusual = {
    ...usual,
    priority: "critical",
    attempts: 7,
    backoff: { strategy: "fixed", delayMs: 5, maxMs: 6, jitter: 0 },
    finalCodes: ["EBAD"] as string[],
    retryCodes: ["E2", "E1"] as string[],
    interruptionsMax: 2,
    leaseMs: 1000,
    timeoutMs: 2000,
    idempotencyKey: 'a "key"',
    kind: "builder",
    capabilities: ["gpu", "docker"] as string[],
    labels: { tenant: "ada" },
  } as const;
  const failed = world.submit(usual);
  world.settle();
  world.ok("task.fail", {
    taskId: failed,
    workerId: "w",
    token: world.task(failed).lease?.token as number,
    error: "no",
    retryInMs: 0,
  });
  const unique = { ...usual, unique: { key: "k" } };
  for (const id of [failed, world.submit(usual), world.submit(unusual), world.submit(unique)]) {
    world.settle();
    const { core } = world;
    const record = core.tasks.get(id);
    if (record?.state !== "running") throw new Error(`task ${id} is ${record?.state}`);
    const { event, ...push } = JSON.parse(pushText(core, record));
    const { errors: _, archived: __, ...task } = world.task(id);
    expect(event).toBe("task.assigned");
    expect(assignmentOf(push)).toEqual({ task, lease: task.lease } as never);
  }
});

test("tasks - an array is one entry, and all or nothing", () => {
  const world = new World();
  const answered = world.ok("task.submit", [{ type: "a" }, { type: "b" }]) as { id: string }[];
  expect(world.transactions.length).toBe(1);
  expect(answered.map((one) => one.id)).toEqual([`${world.store.revision}-0`, `${world.store.revision}-1`]);
  let deep: unknown = 1;
  for (let i = 0; i <= limits.depthMax; i++) deep = [deep];
  world.refused("task.submit", [{ type: "a" }, { type: "b", payload: deep }], "payload-too-deep");
  expect(world.core.tasks.size).toBe(2);
});

test("tasks - whatever the revision, a task is found by its id and by no other text", () => {
  for (const revision of [1, 9, 10, 2 ** 31 - 1, 2 ** 31, 1_750_000_000_000_000, 2 ** 53 - 100]) {
    const world = new World();
    world.store.advanceTo(revision - 1);
    const alone = world.submit({ type: "alone" });
    const together = world.ok("task.submit", [{ type: "first" }, { type: "second" }]);
    const ids = [alone, ...(together as { id: string }[]).map(({ id }) => id)];
    expect(ids).toEqual([`${revision}-0`, `${revision + 1}-0`, `${revision + 1}-1`]);
    for (const id of ids) {
      expect(world.task(id).id).toBe(id);
      world.ok("task.cancel", { taskId: id });
      expect(world.task(id).state).toBe("cancelled");
    }
    expect([...world.core.tasks.entries()].map(([key]) => key).sort()).toEqual(ids.sort());
  }
  const world = new World();
  const id = world.submit({ type: "alone" });
  world.refused("task.get", { taskId: `0${id}` }, "unknown-task");
});

test("tasks - a payload at the limit is kept, one byte more is refused", () => {
  const world = new World();
  world.submit({ type: "a", payload: "x".repeat(limits.payloadBytesMax - 2) });
  world.refused(
    "task.submit",
    { type: "a", payload: "x".repeat(limits.payloadBytesMax - 1) },
    "payload-too-large",
  );
});

test("tasks - a key named __proto__ in a payload is data and nothing else", () => {
  const world = new World();
  const payload = JSON.parse('{"__proto__":{"admin":true},"constructor":1}');
  const id = world.submit({ type: "a", payload });
  const result = world.run("task.get", { taskId: id });
  expect("ok" in result && result.ok).toContain('"payload":{"__proto__":{"admin":true},"constructor":1}');
  expect(({} as { admin?: boolean }).admin).toBeUndefined();
});

test("tasks - the same idempotency key makes one task in its queue, as long as the task is kept", () => {
  const world = new World({ retentionCount: 0 });
  const first = world.submit({ type: "a", idempotencyKey: "order-7" });
  expect(world.ok("task.submit", { type: "a", idempotencyKey: "order-7" })).toEqual({
    id: first,
    state: "queued",
    duplicate: true,
  });
  expect(world.submit({ type: "a", queue: "other", idempotencyKey: "order-7" })).not.toBe(first);
  const both = world.ok("task.submit", [
    { type: "a", idempotencyKey: "k" },
    { type: "a", idempotencyKey: "k" },
  ]) as { id: string; duplicate: boolean }[];
  expect(both[1]).toEqual({ ...both[0]!, duplicate: true });
  world.ok("task.cancel", { taskId: first });
  expect(world.submit({ type: "a", idempotencyKey: "order-7" })).not.toBe(first);
});

test("tasks - a delayed task starts when it is due and not before", () => {
  const world = new World();
  world.worker("w");
  const id = world.submit({ type: "a", delayMs: 5000 });
  expect(world.task(id)).toMatchObject({ state: "scheduled", runAt: world.now + 5000 });
  world.advance(4999);
  expect(world.task(id).state).toBe("scheduled");
  world.advance(1);
  expect(world.task(id)).toMatchObject({ state: "running", runAt: null });
});

test("tasks - one that was cancelled before its time is held no longer than its history, however far that time was", async () => {
  const world = new World({ retentionMs: 1000 });
  const cancelled = Array.from({ length: 40 }, () => {
    const id = world.submit({ type: "a", delayMs: 86_400_000, payload: { large: "x".repeat(1000) } });
    world.ok("task.cancel", { taskId: id });
    return new WeakRef(world.core.tasks.get(id)!.spec);
  });
  world.advance(2000);
  world.transactions.length = 0;
  expect(await heldCount(cancelled)).toBeLessThan(10);
  expect(world.core.tasks.size).toBe(0);
});

test("tasks - a wall clock that is set back makes no delay longer", () => {
  const world = new World();
  world.worker("w");
  const id = world.submit({ type: "a", delayMs: 5000 });
  world.now -= 3_600_000;
  world.advance(4999);
  expect(world.task(id).state).toBe("scheduled");
  world.advance(1);
  expect(world.task(id).state).toBe("running");
});

test("tasks - complete records the result, and saying it again says the same", () => {
  const world = new World();
  world.worker("w");
  const id = world.submit({ type: "a" });
  world.settle();
  const held = world.held(id);
  const first = world.ok("task.complete", { ...held, result: [1, 2] });
  expect(world.task(id)).toMatchObject({ state: "completed", result: [1, 2], lease: null, attempt: 1 });
  const count = world.transactions.length;
  expect(world.ok("task.complete", { ...held, result: "other" })).toEqual(first);
  expect(world.transactions.length).toBe(count);
  expect(world.task(id).result).toEqual([1, 2]);
});

test("tasks - only the newest lease may complete, fail, extend, release or report", () => {
  const world = new World();
  world.worker("w");
  world.worker("v", { claims: true });
  const id = world.submit({ type: "a" });
  world.settle();
  const old = world.held(id);
  world.ok("task.release", old);
  world.settle();
  const held = world.held(id);
  expect(held.token).toBeGreaterThan(old.token);
  for (const stale of [old, { ...held, workerId: "v" }, { ...held, token: held.token + 1 }]) {
    world.refused("task.complete", stale, "lease-lost");
    world.refused("task.fail", { ...stale, error: "x" }, "lease-lost");
    world.refused("task.extend", stale, "lease-lost");
    world.refused("task.progress", { ...stale, progress: 1 }, "lease-lost");
    world.refused("task.release", stale, "lease-lost");
  }
  for (const operation of ["task.complete", "task.extend", "task.release"] as const)
    world.refused(operation, unknown, "unknown-task");
  world.ok("task.complete", held);
});

test("tasks - a failed attempt waits for its backoff, and the last one makes the task dead", () => {
  const world = new World();
  world.worker("w");
  const backoff = { strategy: "exponential", delayMs: 1000, jitter: 0 } as const;
  const id = world.submit({ type: "a", attempts: 3, backoff });
  for (const delay of [1000, 2000]) {
    world.settle();
    world.ok("task.fail", { ...world.held(id), error: { message: "no", code: "E" } });
    expect(world.task(id)).toMatchObject({ state: "scheduled", runAt: world.now + delay });
    world.advance(delay - 1);
    expect(world.task(id).state).toBe("scheduled");
    world.beat("w");
    world.advance(1);
  }
  world.ok("task.fail", { ...world.held(id), error: "still no" });
  expect(world.task(id)).toMatchObject({
    state: "dead",
    attempt: 3,
    error: { message: "still no" },
    reason: "failed 3 of 3 attempts",
  });
});

test("tasks - a final error fails at once; a retry time of the worker's overrides the backoff", () => {
  const world = new World();
  world.worker("w", { capacity: 2 });
  const final = world.submit({ type: "a" });
  const later = world.submit({ type: "a" });
  world.settle();
  world.ok("task.fail", { ...world.held(final), error: "bad input", final: true });
  expect(world.task(final)).toMatchObject({ state: "failed", attempt: 1 });
  world.ok("task.fail", { ...world.held(later), error: "rate limited", retryInMs: 7000 });
  expect(world.task(later).runAt).toBe(world.now + 7000);
});

test("tasks - an attempt that runs longer than its time-out failed, whatever its worker says", () => {
  const world = new World();
  world.worker("w");
  const id = world.submit({
    type: "a",
    timeoutMs: 5000,
    leaseMs: 60_000,
    backoff: { strategy: "fixed", delayMs: 0 },
  });
  world.settle();
  const held = world.held(id);
  world.advance(4000);
  world.beat("w");
  world.ok("task.extend", held);
  world.advance(999);
  expect(world.held(id)).toEqual(held);
  world.beat("w");
  world.advance(1);
  expect(world.task(id)).toMatchObject({ attempt: 2, error: { code: "timeout" } });
  world.refused("task.complete", held, "lease-lost");
});

test("tasks - cancel ends a task in any state but a final one", () => {
  const world = new World();
  world.worker("w");
  const running = world.submit({ type: "a" });
  world.settle();
  const queued = world.submit({ type: "a" });
  const scheduled = world.submit({ type: "a", delayMs: 1000 });
  const held = world.held(running);
  for (const taskId of [running, queued, scheduled]) {
    world.ok("task.cancel", { taskId, reason: "no longer wanted" });
    expect(world.task(taskId)).toMatchObject({ state: "cancelled", reason: "no longer wanted", lease: null });
    world.ok("task.cancel", { taskId });
  }
  world.refused("task.complete", held, "lease-lost");
  expect(world.ok("worker.heartbeat", { workerId: "w" })).toEqual({
    leases: [],
    cancels: [{ taskId: running, token: held.token }],
  });
  world.advance(2000);
  expect(world.holds("w")).toEqual([]);
  const done = world.submit({ type: "a" });
  world.settle();
  world.ok("task.complete", world.held(done));
  world.refused("task.cancel", { taskId: done }, "wrong-state");
  world.refused("task.cancel", { taskId: "999-0" }, "unknown-task");
});

test("tasks - retry queues an ended task again with fresh attempts, in its old place", () => {
  const world = new World();
  const first = world.submit({ type: "a", attempts: 1 });
  const second = world.submit({ type: "a" });
  world.refused("task.retry", { taskId: first }, "wrong-state");
  world.worker("w");
  world.settle();
  world.ok("task.fail", { ...world.held(first), error: "no" });
  expect(world.task(first).state).toBe("dead");
  world.ok("task.retry", { taskId: first });
  expect(world.task(first)).toMatchObject({ state: "queued", attempt: 0, finishedAt: null });
  world.settle();
  expect(world.holds("w")).toEqual([first]);
  world.ok("task.complete", world.held(first));
  world.settle();
  expect(world.holds("w")).toEqual([second]);
  world.refused("task.retry", { taskId: first }, "wrong-state");
});

test("tasks - progress is shown at once, kept with the next change, and writes no entry", () => {
  const world = new World();
  world.worker("w");
  const id = world.submit({ type: "a" });
  world.settle();
  const held = world.held(id);
  const count = world.transactions.length;
  world.ok("task.progress", { ...held, progress: { percent: 40 } });
  expect(world.transactions.length).toBe(count);
  expect(world.task(id).progress).toEqual({ percent: 40 });
  world.ok("task.complete", held);
  expect(world.task(id).progress).toEqual({ percent: 40 });
});

test("tasks - extend moves the deadline from now", () => {
  const world = new World();
  world.worker("w");
  const id = world.submit({ type: "a", leaseMs: 10_000 });
  world.settle();
  world.advance(9000);
  const lease = world.ok("task.extend", { ...world.held(id), leaseMs: 20_000 });
  expect(lease.deadlineAt).toBe(world.now + 20_000);
  world.advance(19_999);
  expect(world.task(id).state).toBe("running");
  world.advance(1);
  expect(world.task(id).interruptions).toBe(1);
});

test("tasks - assign leases a queued or new task to the named worker or the least loaded", () => {
  const world = new World();
  world.worker("a", { claims: true, capacity: 2 });
  world.worker("b", { claims: true, capacity: 2 });
  const queued = world.submit({ type: "t" });
  const first = world.ok("task.assign", { taskId: queued, workerId: "b" });
  expect(first.lease).toMatchObject({ workerId: "b", token: world.store.revision });
  expect(first.task).toMatchObject({ id: queued, state: "running" });
  expect(world.ok("task.assign", { task: { type: "t" } }).lease.workerId).toBe("a");
  world.refused("task.assign", { taskId: queued }, "wrong-state");
  world.refused("task.assign", {}, "invalid-input");
  world.refused("task.assign", { taskId: queued, task: { type: "t" } }, "invalid-input");
  world.refused("task.assign", { task: { type: "t" }, workerId: "nobody" }, "unknown-worker");
  world.refused(
    "task.assign",
    { task: { type: "t", capabilities: ["gpu"] }, workerId: "a" },
    "worker-unavailable",
  );
  world.refused("task.assign", { task: { type: "t", capabilities: ["gpu"] } }, "no-worker");
  world.ok("task.assign", { task: { type: "t" } });
  world.ok("task.assign", { task: { type: "t" } });
  world.refused("task.assign", { task: { type: "t" } }, "no-worker");
  world.refused("task.assign", { task: { type: "t" }, workerId: "a" }, "worker-unavailable");
});

test("tasks - claim takes the most urgent tasks up to the worker's capacity", () => {
  const world = new World();
  world.worker("w", { claims: true, capacity: 3 });
  const ids = [0, 1, 2, 3].map(() => world.submit({ type: "t" }));
  const claimed = world.ok("task.claim", { workerId: "w", count: 2 });
  expect(claimed.assignments.map((one) => one.task.id)).toEqual(ids.slice(0, 2));
  expect(world.ok("task.claim", { workerId: "w", count: 5 }).assignments.length).toBe(1);
  world.refused("task.claim", { workerId: "w" }, "worker-unavailable");
  world.refused("task.claim", { workerId: "nobody" }, "unknown-worker");
});

test("tasks - lists are newest first, filtered, and paged without a gap or a double", () => {
  const world = new World();
  world.worker("w", { queues: ["b"] });
  const ids: string[] = [];
  for (let i = 0; i < 25; i++)
    ids.push(world.submit({ type: i % 2 ? "odd" : "even", queue: i < 20 ? "a" : "b" }));
  world.settle();
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = world.ok("task.list", { limit: 7, ...(cursor === undefined ? {} : { cursor }) });
    seen.push(...page.tasks.map((task) => task.id));
    cursor = page.cursor ?? undefined;
  } while (cursor !== undefined);
  expect(seen).toEqual([...ids].reverse());
  expect(world.ok("task.list", { queue: "b" }).tasks.length).toBe(5);
  expect(world.ok("task.list", { type: "odd" }).tasks.length).toBe(12);
  expect(world.ok("task.list", { state: "running" }).tasks.map((task) => task.id)).toEqual([ids[20]!]);
  expect(world.ok("task.list", { workerId: "w" }).tasks.map((task) => task.id)).toEqual([ids[20]!]);
});

test("tasks - finished tasks are kept by number and by age, and each queue by itself", () => {
  const world = new World({ retentionCount: 3, retentionMs: 60_000 });
  const finish = (queue: string) => {
    const id = world.submit({ type: "t", queue });
    world.ok("task.cancel", { taskId: id });
    return id;
  };
  const a = [0, 1, 2, 3, 4].map(() => finish("a"));
  world.advance(30_000);
  const b = finish("b");
  expect(a.map((taskId) => world.core.tasks.has(taskId))).toEqual([false, false, true, true, true]);
  world.advance(29_999);
  expect(world.core.tasks.size).toBe(4);
  world.advance(1);
  expect([...world.core.tasks.values()].map((record) => record.spec.id)).toEqual([b]);
  world.advance(30_000);
  expect(world.core.tasks.size).toBe(0);
});

test("limits - over the number of unfinished tasks or the memory, submits are refused as busy", () => {
  const world = new World({ queuedTasksMax: 2, memoryBytesMax: 1_000_000 });
  world.refused("task.submit", [{ type: "t" }, { type: "t" }, { type: "t" }], "busy");
  const id = world.submit({ type: "t" });
  world.submit({ type: "t" });
  expect(world.refused("task.submit", { type: "t" }, "busy").retryAfterMs).toBe(1000);
  world.ok("task.cancel", { taskId: id });
  world.submit({ type: "t", payload: "x".repeat(1_000_000) });
  world.ok("task.cancel", { taskId: world.ok("task.list", {}).tasks[0]!.id });
  world.refused("task.submit", { type: "t" }, "busy");
});

// --- by the clock -----------------------------------------------------------------------------------------

test("tasks - runAt is a moment: it starts then and not before, and one that is past is now", () => {
  const world = new World();
  world.worker("w");
  const runAt = world.now + 5000;
  const id = world.submit({ type: "a", runAt });
  expect(world.task(id)).toMatchObject({ state: "scheduled", runAt });
  world.advance(4999);
  expect(world.task(id).state).toBe("scheduled");
  world.advance(1);
  expect(world.task(id)).toMatchObject({ state: "running", runAt: null });
  expect(world.task(world.submit({ type: "a", runAt: world.now - 1 })).state).toBe("queued");
});

test("tasks - a time that contradicts itself is refused with the field that does, wherever the task stands", () => {
  const world = new World();
  const both = { type: "a", delayMs: 5, runAt: world.now + 5 };
  const past = { type: "a", deadlineAt: world.now };
  const pointers = (input: Parameters<typeof world.submit>[0]) =>
    world.refused("task.submit", input, "invalid-input").errors?.map(({ pointer }) => pointer);
  expect(pointers(both)).toEqual(["/runAt"]);
  expect(pointers(past)).toEqual(["/deadlineAt"]);
  expect(pointers([{ type: "a" }, both])).toEqual(["/1/runAt"]);
  const assigned = world.refused("task.assign", { task: past }, "invalid-input");
  expect(assigned.errors?.[0]?.pointer).toBe("/task/deadlineAt");
  expect(world.core.tasks.size).toBe(0);
});

test("tasks - one that nobody began in its time to live is failed, counted from when it was ready", () => {
  const world = new World();
  const id = world.submit({ type: "a", ttlMs: 5000 });
  const later = world.submit({ type: "a", delayMs: 60_000, ttlMs: 5000 });
  expect(world.task(id).expiresAt).toBe(world.now + 5000);
  expect(world.task(later).expiresAt).toBe(world.now + 65_000);
  world.advance(4999);
  expect(world.task(id).state).toBe("queued");
  expect(world.core.nextDueMs()).toBe(1);
  world.advance(1);
  expect(world.task(id)).toMatchObject({
    state: "failed",
    error: { code: "expired" },
    expiresAt: null,
    finishedAt: world.now,
  });
  expect(world.core.operation).toBe("task.expire");
  world.advance(59_999);
  expect(world.task(later).state).toBe("queued");
  world.advance(1);
  expect(world.task(later).error?.code).toBe("expired");
  expect(world.core.metrics.tasksFailed).toBe(2);
});

test("tasks - once a worker has begun it, its time to live is over for good", () => {
  const world = new World();
  world.worker("w");
  const id = world.submit({ type: "a", ttlMs: 5000 });
  world.settle();
  expect(world.task(id)).toMatchObject({ state: "running", expiresAt: null });
  world.ok("task.release", world.held(id));
  world.ok("worker.unregister", { workerId: "w" });
  world.advance(3_600_000);
  expect(world.task(id).state).toBe("queued");
});

test("tasks - one that has not ended by its deadline is failed, whatever it is doing, and its worker is told", () => {
  const world = new World();
  world.worker("w", { queues: ["run"] });
  const deadlineAt = world.now + 5000;
  const running = world.submit({ type: "a", queue: "run", deadlineAt });
  const queued = world.submit({ type: "a", queue: "none", deadlineAt });
  const scheduled = world.submit({ type: "a", delayMs: 60_000, deadlineAt });
  const done = world.submit({ type: "a", queue: "none", deadlineAt });
  world.ok("task.cancel", { taskId: done });
  world.settle();
  const held = world.held(running);
  world.advance(5000);
  for (const id of [running, queued, scheduled])
    expect(world.task(id)).toMatchObject({ state: "failed", error: { code: "deadline" }, deadlineAt });
  expect(world.task(done).state).toBe("cancelled");
  world.refused("task.complete", held, "lease-lost");
  expect(world.ok("worker.heartbeat", { workerId: "w" }).cancels).toEqual([
    { taskId: running, token: held.token },
  ]);
  // It is not the worker's fault.
  expect(world.ok("worker.get", { workerId: "w" })).toMatchObject({ health: "healthy", running: 0 });
});

test("tasks - what expired may be retried by hand and then waits; what is past its deadline may not", () => {
  const world = new World();
  const expired = world.submit({ type: "a", ttlMs: 1000 });
  const late = world.submit({ type: "a", deadlineAt: world.now + 1000 });
  const cancelled = world.submit({ type: "a", ttlMs: 1000 });
  world.ok("task.cancel", { taskId: cancelled });
  world.advance(1000);
  world.ok("task.retry", { taskId: expired });
  world.advance(60_000);
  expect(world.task(expired).state).toBe("queued");
  for (const taskId of [late, cancelled])
    expect(world.refused("task.retry", { taskId }, "wrong-state").detail).toContain("submit it anew");
});

test("tasks - an undone end by the clock is due again", () => {
  const world = new World();
  const id = world.submit({ type: "a", ttlMs: 1000, deadlineAt: world.now + 9000 });
  const count = world.transactions.length;
  world.advance(1000);
  for (const one of world.transactions.slice(count).reverse()) world.store.undo(one);
  world.sound();
  expect(world.core.nextDueMs()).toBe(0);
  world.settle();
  expect(world.task(id).error?.code).toBe("expired");
});
