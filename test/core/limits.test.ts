/** Several states in one process: each has its own name and its own count of tasks, and all share one memory. */
import { expect, test } from "bun:test";
import { createStore } from "../../src/core/store.ts";
import { World } from "../support/world.ts";

const payload = "x".repeat(2000);

function two() {
  const memory = { bytes: 0 };
  const config = { memoryBytesMax: 4000, queuedTasksMax: 2 };
  const place = (namespace: string) => new World(config, createStore(), 0, { namespace, memory });
  return { memory, a: place("a"), b: place("b") };
}

test("limits - memory taken by one state is refused to the other, until it is given back", () => {
  const { a, b } = two();
  a.submit({ type: "t", payload });
  const taskId = a.submit({ type: "t", payload });
  b.refused("task.submit", { type: "t" }, "busy");
  a.ok("task.cancel", { taskId });
  a.advance(a.core.config.retentionMs + 1);
  b.submit({ type: "t" });
});

test("limits - the shared memory is the sum of what each state takes", () => {
  const { memory, a, b } = two();
  a.submit({ type: "t", payload });
  b.submit({ type: "t" });
  expect(memory.bytes).toBe(a.core.limits.bytes + b.core.limits.bytes);
  expect(a.core.limits.bytes).toBeGreaterThan(b.core.limits.bytes);
});

test("limits - the number of waiting tasks holds for each state by itself", () => {
  const { a, b } = two();
  for (let i = 0; i < 2; i++) a.submit({ type: "t" });
  a.refused("task.submit", { type: "t" }, "busy");
  b.submit({ type: "t" });
});

test("limits - each state says its own name", () => {
  const { a, b } = two();
  expect([a, b, new World()].map((world) => world.ok("state.get", {}).namespace)).toEqual([
    "a",
    "b",
    "default",
  ]);
});
