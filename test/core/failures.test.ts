import { expect, test } from "bun:test";
import { backoffMs } from "../../src/core/backoff.ts";
import { limits } from "../../src/wire/limits.ts";
import type { Backoff, TaskSubmit } from "../../src/wire/tasks.ts";
import { World } from "../support/world.ts";

const atOnce: Backoff = { strategy: "fixed", delayMs: 0 };

/** A world whose one worker runs the task. */
function running(submit: Partial<TaskSubmit> = {}): { world: World; id: string } {
  const world = new World();
  world.worker("w", { capacity: 10 });
  const id = world.submit({ type: "t", backoff: atOnce, ...submit });
  world.settle();
  return { world, id };
}

test.each<[Backoff, number[]]>([
  [{ strategy: "fixed", delayMs: 70 }, [70, 70, 70, 70]],
  [{ strategy: "linear", delayMs: 70 }, [70, 140, 210, 280]],
  [{ strategy: "polynomial", delayMs: 10 }, [10, 40, 90, 160]],
  [{ strategy: "polynomial", delayMs: 10, power: 3 }, [10, 80, 270, 640]],
  [{ strategy: "exponential", delayMs: 10 }, [10, 20, 40, 80]],
  [{ strategy: "exponential", delayMs: 1000, maxMs: 3000 }, [1000, 2000, 3000, 3000]],
  [{ strategy: "list", delaysMs: [5, 1000, 60_000] }, [5, 1000, 60_000, 60_000]],
  [{ strategy: "linear" }, [1000, 2000, 3000, 4000]],
])("failures - a backoff of %j puts attempts off by %j", (backoff, delays) => {
  const without = { ...backoff, jitter: 0 };
  expect(delays.map((_, i) => backoffMs(without, i + 1, 0.5))).toEqual(delays);
});

test("failures - a backoff is capped however often it failed, and jitter draws only its part", () => {
  const exponential: Backoff = { strategy: "exponential", delayMs: 1000, jitter: 0 };
  expect(backoffMs(exponential, 1000, 0.5)).toBe(3_600_000);
  const fixed: Backoff = { strategy: "fixed", delayMs: 1000, jitter: 0.5 };
  expect([0, 0.5, 1].map((chance) => backoffMs(fixed, 9, chance))).toEqual([500, 750, 1000]);
});

test.each<[Backoff, string]>([
  [{ strategy: "list" }, "/backoff/delaysMs"],
  [{ strategy: "fixed", delaysMs: [1] }, "/backoff/delaysMs"],
  [{ strategy: "list", delaysMs: [1], delayMs: 1 }, "/backoff/delayMs"],
  [{ strategy: "linear", power: 2 }, "/backoff/power"],
])("failures - a backoff of %j is refused, and %s is told", (backoff, pointer) => {
  const world = new World();
  const { errors } = world.refused("task.submit", { type: "t", backoff }, "invalid-input");
  expect(errors?.map((one) => one.pointer)).toEqual([pointer]);
  const inArray = world.refused("task.submit", [{ type: "t" }, { type: "t", backoff }], "invalid-input");
  expect(inArray.errors?.map((one) => one.pointer)).toEqual([`/1${pointer}`]);
});

test("failures - a snoozed task charges no attempt, waits for its time, and stands as before after a restart", () => {
  const { world, id } = running({ attempts: 1 });
  const held = world.held(id);
  expect(world.ok("task.snooze", { ...held, forMs: 5000 }).state).toBe("scheduled");
  expect(world.task(id)).toMatchObject({ attempt: 0, runAt: world.now + 5000, error: null, errors: [] });
  world.refused("task.complete", held, "lease-lost");
  world.advance(4999);
  const again = world.restarted();
  expect(again.task(id)).toMatchObject({ state: "scheduled", attempt: 0 });
  world.advance(1);
  expect(world.task(id)).toMatchObject({ state: "running", attempt: 1 });
  world.ok("task.snooze", { ...world.held(id), until: world.now + 9000 });
  expect(world.task(id)).toMatchObject({ state: "scheduled", runAt: world.now + 9000 });
  world.advance(9000);
  world.ok("task.snooze", { ...world.held(id), until: world.now - 1 });
  expect(world.task(id)).toMatchObject({ state: "queued", attempt: 0, runAt: null });
});

test("failures - a snooze says when, in one way", () => {
  const { world, id } = running();
  world.refused("task.snooze", world.held(id), "invalid-input");
  world.refused("task.snooze", { ...world.held(id), forMs: 1, until: 1 }, "invalid-input");
  world.refused("task.snooze", { ...world.held(id), token: 1, forMs: 1 }, "lease-lost");
});

test("failures - a failed attempt is tried again at the moment its worker names", () => {
  const { world, id } = running();
  const retryAt = world.now + 12_345;
  world.refused("task.fail", { ...world.held(id), error: "no", retryAt, retryInMs: 1 }, "invalid-input");
  world.ok("task.fail", { ...world.held(id), error: "no", retryAt });
  expect(world.task(id)).toMatchObject({ state: "scheduled", runAt: retryAt, attempt: 1 });
  world.advance(12_345);
  world.ok("task.fail", { ...world.held(id), error: "no", retryAt: world.now - 5 });
  expect(world.task(id)).toMatchObject({ state: "queued", attempt: 2 });
});

const codes = { finalCodes: ["E_BAD"], retryCodes: ["E_BUSY", "timeout"] };
test.each<[Partial<TaskSubmit>, string | undefined, "queued" | "failed"]>([
  [{}, undefined, "queued"],
  [{}, "E_BAD", "queued"],
  [{ finalCodes: codes.finalCodes }, "E_BAD", "failed"],
  [{ finalCodes: codes.finalCodes }, "E_OTHER", "queued"],
  [{ finalCodes: codes.finalCodes }, undefined, "queued"],
  [{ retryCodes: codes.retryCodes }, "E_BUSY", "queued"],
  [{ retryCodes: codes.retryCodes }, "E_OTHER", "failed"],
  [{ retryCodes: codes.retryCodes }, undefined, "failed"],
  [{ retryCodes: [] }, "E_BUSY", "failed"],
  [{ finalCodes: ["E_BUSY"], retryCodes: ["E_BUSY"] }, "E_BUSY", "failed"],
])("failures - a task with %j that fails with code %s is %s", (submit, code, state) => {
  const { world, id } = running(submit);
  const error = code === undefined ? "no" : { message: "no", code };
  expect(world.ok("task.fail", { ...world.held(id), error }).state).toBe(state);
  expect(world.restarted().task(id)).toMatchObject({
    finalCodes: submit.finalCodes ?? [],
    retryCodes: submit.retryCodes ?? null,
  });
});

test("failures - a time-out has a code too, which may be final", () => {
  const { world, id } = running({ timeoutMs: 1000, leaseMs: 60_000, finalCodes: ["timeout"] });
  world.advance(1000);
  expect(world.task(id)).toMatchObject({ state: "failed", error: { code: "timeout" } });
});

test("failures - a task that is given up with a reason is failed with it, and nothing is held against its worker", () => {
  const { world } = running();
  world.refused(
    "task.fail",
    { ...world.held(world.holds("w")[0] as string), error: "no", reason: "why" },
    "invalid-input",
  );
  for (let i = 0; i < 30; i++) {
    const id = i === 0 ? (world.holds("w")[0] as string) : world.submit({ type: "t" });
    world.settle();
    const given = { error: { message: "spam", code: "discarded" }, final: true, reason: "spam" };
    world.ok("task.fail", { ...world.held(id), ...given });
    expect(world.task(id)).toMatchObject({ state: "failed", reason: "spam", error: given.error });
  }
  expect(world.ok("worker.get", { workerId: "w" })).toMatchObject({ health: "healthy", failedCount: 0 });
});

test("failures - a worker cancels what it holds under its lease alone, may say it twice, and is not told to stop", () => {
  const { world, id } = running();
  const held = world.held(id);
  world.refused("task.cancel", { ...held, token: held.token + 1 }, "lease-lost");
  world.refused("task.cancel", { taskId: id, workerId: "w" }, "invalid-input");
  world.refused("task.cancel", { taskId: id, token: held.token }, "invalid-input");
  world.ok("task.cancel", { ...held, reason: "already done elsewhere" });
  expect(world.ok("task.cancel", held).state).toBe("cancelled");
  expect(world.task(id)).toMatchObject({ state: "cancelled", reason: "already done elsewhere" });
  expect(world.ok("worker.heartbeat", { workerId: "w" }).cancels).toEqual([]);
});

test("failures - each failed attempt is remembered with its worker and stack, until the task is let go of", () => {
  const { world, id } = running({ attempts: 3 });
  const errors: unknown[] = [];
  for (let attempt = 1; attempt <= 3; attempt++) {
    const error = { message: `no ${attempt}`, code: "E", stack: `at ${attempt}\n\tthere` };
    world.ok("task.fail", { ...world.held(id), error });
    errors.push({ attempt, at: world.now, workerId: "w", ...error });
    expect(world.task(id).errors).toEqual(errors as never);
    expect(world.restarted().task(id).errors).toEqual(errors as never);
    world.advance(1000);
  }
  expect(world.task(id)).toMatchObject({ state: "dead", error: { message: "no 3" } });
  expect(world.ok("task.list", {}).tasks[0]).not.toHaveProperty("errors");
  // A task that is queued again by hand keeps them.
  world.ok("task.retry", { taskId: id });
  expect(world.task(id).errors).toHaveLength(3);
  world.settle();
  world.ok("task.complete", world.held(id));
  world.advance(3_600_000);
  world.refused("task.get", { taskId: id }, "unknown-task");
  expect([world.core.errors.size, world.core.limits.bytes]).toEqual([0, 0]);
});

test("failures - only the newest errors are remembered, by number and by size", () => {
  const few = running({ attempts: 100 });
  for (let attempt = 1; attempt <= limits.errorsPerTaskMax + 5; attempt++) {
    few.world.ok("task.fail", { ...few.world.held(few.id), error: "no" });
    few.world.settle();
  }
  const attempts = few.world.task(few.id).errors.map(({ attempt }) => attempt);
  expect(attempts).toEqual(Array.from({ length: limits.errorsPerTaskMax }, (_, i) => i + 6));

  const long = running({ attempts: 100 });
  const stack = "s".repeat(limits.errorStackLengthMax);
  for (let attempt = 1; attempt <= 6; attempt++) {
    long.world.ok("task.fail", { ...long.world.held(long.id), error: { message: "no", stack } });
    long.world.settle();
  }
  // Of these stacks three fit, with their messages.
  expect(long.world.task(long.id).errors.map(({ attempt }) => attempt)).toEqual([4, 5, 6]);
});

test("failures - a task that never failed keeps no errors", () => {
  const { world, id } = running();
  world.ok("task.release", world.held(id));
  world.settle();
  world.ok("task.complete", world.held(id));
  expect(world.core.errors.size).toBe(0);
});

test("failures - a task that silences its workers is dead as often as it says, and shows which they were", () => {
  const world = new World();
  const id = world.submit({ type: "t", interruptionsMax: 2 });
  for (const workerId of ["w1", "w2"]) {
    world.worker(workerId);
    world.settle();
    expect(world.holds(workerId)).toEqual([id]);
    world.advance(30_000);
  }
  const { state, reason, interruptions, errors } = world.restarted().task(id);
  expect({ state, reason, interruptions }).toEqual({
    state: "dead",
    interruptions: 2,
    reason: "interrupted 2 times: each time its worker went silent while running it",
  });
  expect(errors.map(({ workerId, code, attempt }) => [workerId, code, attempt])).toEqual([
    ["w1", "interrupted", 1],
    ["w2", "interrupted", 1],
  ]);
});
