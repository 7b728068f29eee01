/** Fences: a change happens only while the lease it names is the task's newest. */
import { describe, expect, test } from "bun:test";
import { stateText } from "../../src/core/check.ts";
import type { Fence } from "../../src/wire/fences.ts";
import { operationNames, operations } from "../../src/wire/operations.ts";
import { World } from "../support/world.ts";

/** A world in which a worker has a task, and the fence of its lease. */
function leased(more: { attempts?: number } = {}): { world: World; taskId: string; fence: Fence } {
  const world = new World();
  world.worker("w");
  const taskId = world.submit({ type: "t", leaseMs: 1000, ...more });
  world.settle();
  return { world, taskId, fence: { lease: taskId, token: world.held(taskId).token } };
}
const putUnder = (world: World, fence: Fence, value = 1) => {
  const result = world.run("kv.put", { key: "k", value }, { fence });
  return "error" in result ? result.error.code : "done";
};

describe("fences", () => {
  test("fences - while the lease stands a change happens, extended or not", () => {
    const { world, taskId, fence } = leased();
    expect(putUnder(world, fence)).toBe("done");
    world.ok("task.extend", { ...world.held(taskId), leaseMs: 5000 });
    expect(putUnder(world, fence)).toBe("done");
    expect(world.restarted().core.keys.get("k")?.version).toBe(2);
  });

  const ends: [string, (world: World, taskId: string) => void][] = [
    ["completed", (world, taskId) => world.ok("task.complete", world.held(taskId))],
    ["failed", (world, taskId) => world.ok("task.fail", { ...world.held(taskId), error: "no" })],
    [
      "released and leased again",
      (world, taskId) => {
        world.ok("task.release", world.held(taskId));
        world.settle();
        expect(world.task(taskId).state).toBe("running");
      },
    ],
    ["cancelled", (world, taskId) => world.ok("task.cancel", { taskId })],
    ["lost to silence", (world) => world.advance(60_000)],
    ["taken back with its worker", (world) => world.ok("worker.unregister", { workerId: "w" })],
  ];
  test.each(ends)("fences - once the task is %s a change is refused and leaves no trace", (_name, end) => {
    const { world, taskId, fence } = leased();
    end(world, taskId);
    const before = stateText(world.core);
    const { revision } = world.store;
    expect(putUnder(world, fence)).toBe("fence-lost");
    expect([stateText(world.core), world.store.revision]).toEqual([before, revision]);
  });

  test("fences - a token of another lease, or of no task, holds nothing", () => {
    const { world, taskId, fence } = leased();
    for (const lease of [taskId, "1-0", "999999-0"])
      for (const token of [0, fence.token - 1, fence.token + 1])
        expect(putUnder(world, { lease, token })).toBe("fence-lost");
    expect(putUnder(world, { lease: "1-7", token: fence.token })).toBe("fence-lost");
    const queued = world.submit({ type: "t" });
    expect(putUnder(world, { lease: queued, token: fence.token })).toBe("fence-lost");
  });

  const mutations = operationNames.filter((name) => operations[name].kind === "mutation");
  test.each(mutations)("fences - %s is refused under a lease that is over", (name) => {
    const { world, fence } = leased();
    const before = stateText(world.core);
    const cause = { fence: { ...fence, token: fence.token + 1 }, session: "s", seq: 1 };
    const result = world.run(name as "kv.put", operations[name].example as never, cause);
    expect("error" in result && result.error.code).toBe("fence-lost");
    expect(stateText(world.core)).toBe(before);
  });

  test("fences - a change that was made is told so again, whoever has the task by then", () => {
    const { world, taskId, fence } = leased();
    const cause = { fence, session: "s", seq: 1 };
    const first = world.ok("kv.increment", { key: "n" }, cause);
    world.ok("task.complete", world.held(taskId));
    expect(world.ok("kv.increment", { key: "n" }, cause)).toEqual(first);
    const next = world.run("kv.increment", { key: "n" }, { ...cause, seq: 2 });
    expect("error" in next && next.error.code).toBe("fence-lost");
  });

  test("fences - a holder that was paused cannot overwrite what the next one did", () => {
    const { world, taskId, fence } = leased();
    world.advance(60_000);
    world.worker("v");
    world.settle();
    expect(world.task(taskId).lease?.workerId).toBe("v");
    expect(putUnder(world, { lease: taskId, token: world.held(taskId).token }, 2)).toBe("done");
    expect(putUnder(world, fence, 1)).toBe("fence-lost");
    expect(world.ok("kv.get", { key: "k" }).value).toBe(2);
  });
});
