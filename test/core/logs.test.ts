import { expect, test } from "bun:test";
import fc from "fast-check";
import { newestOf } from "../../src/core/logs.ts";
import { limits } from "../../src/wire/limits.ts";
import { World } from "../support/world.ts";

function running(): { world: World; id: string } {
  const world = new World({ silenceMs: 100_000_000 });
  world.worker("w", { capacity: 5 });
  const id = world.submit({ type: "t", leaseMs: 100_000_000, backoff: { strategy: "fixed", delayMs: 0 } });
  world.settle();
  return { world, id };
}
const texts = (world: World, taskId: string, more: { from?: number; limit?: number } = {}) =>
  world.ok("task.logs", { taskId, ...more }).lines.map(({ number, text }) => `${number} ${text}`);

test("logs - lines are kept in order with their time and attempt, over attempts and a restart, until the task is let go of", () => {
  const { world, id } = running();
  const before = world.core.limits.bytes;
  expect(world.ok("task.logs", { taskId: id })).toEqual({ lines: [], first: 0, next: 0 });
  expect(world.ok("task.log", { ...world.held(id), lines: ["a", "tab\there\nand there"] })).toEqual({
    id,
    next: 2,
  });
  const first = world.now;
  world.ok("task.fail", { ...world.held(id), error: "no" });
  world.advance(1000);
  world.ok("task.log", { ...world.held(id), lines: [""] });
  const kept = {
    lines: [
      { number: 0, at: first, attempt: 1, text: "a" },
      { number: 1, at: first, attempt: 1, text: "tab\there\nand there" },
      { number: 2, at: first + 1000, attempt: 2, text: "" },
    ],
    first: 0,
    next: 3,
  };
  expect(world.restarted().ok("task.logs", { taskId: id })).toEqual(kept);
  expect(world.core.limits.bytes).toBeGreaterThan(before);
  world.ok("task.complete", world.held(id));
  expect(world.ok("task.logs", { taskId: id })).toEqual(kept);
  world.advance(3_600_000);
  world.refused("task.logs", { taskId: id }, "unknown-task");
  expect([world.core.logs.table.size, world.core.limits.bytes]).toEqual([0, 0]);
});

test("logs - only who holds the task writes to its log", () => {
  const { world, id } = running();
  const held = world.held(id);
  world.refused("task.log", { ...held, token: held.token + 1, lines: ["x"] }, "lease-lost");
  world.ok("task.complete", held);
  world.refused("task.log", { ...held, lines: ["x"] }, "lease-lost");
  world.refused("task.log", { ...held, taskId: "9-0", lines: ["x"] }, "unknown-task");
});

test("logs - a log is read from any line on, and so many lines at a time", () => {
  const { world, id } = running();
  const lines = Array.from({ length: 7 }, (_, i) => `${i}`.repeat(3000));
  world.ok("task.log", { ...world.held(id), lines });
  expect(texts(world, id, { from: 2, limit: 3 })).toEqual([2, 3, 4].map((i) => `${i} ${lines[i]}`));
  expect(world.ok("task.logs", { taskId: id, from: 2, limit: 3 }).next).toBe(5);
  expect(world.ok("task.logs", { taskId: id, from: 7 })).toEqual({ lines: [], first: 0, next: 7 });
  expect(world.ok("task.logs", { taskId: id, from: 99 }).lines).toEqual([]);
});

test("logs - the newest lines are kept by number and by size, and lines keep their numbers", () => {
  const many = running();
  for (let i = 0; i < 15; i++)
    many.world.ok("task.log", {
      ...many.world.held(many.id),
      lines: Array.from({ length: limits.logLinesPerRequestMax }, (_, k) => `${i * 100 + k}`),
    });
  const { lines, first, next } = many.world.ok("task.logs", { taskId: many.id });
  expect(next).toBe(1500);
  expect(lines.map(({ text }) => Number(text))).toEqual(
    Array.from({ length: lines.length }, (_, i) => first + i),
  );
  // What is let go of goes by pieces: a little less than the most is kept.
  expect(lines.length).toBeLessThanOrEqual(limits.logLinesMax);
  expect(lines.length).toBeGreaterThan(limits.logLinesMax - 250);
  expect(many.world.ok("task.logs", { taskId: many.id, from: 5, limit: 1 }).lines[0]?.number).toBe(first);

  const long = running();
  const line = "x".repeat(limits.logLineLengthMax);
  long.world.ok("task.log", {
    ...long.world.held(long.id),
    lines: Array(limits.logLinesPerRequestMax).fill(line),
  });
  const kept = long.world.ok("task.logs", { taskId: long.id });
  const units = kept.lines.reduce((sum, { text }) => sum + text.length, 0);
  expect(units).toBeLessThanOrEqual(limits.logUnitsMax);
  expect(units).toBeGreaterThan(limits.logUnitsMax - 3 * limits.logLineLengthMax);
  expect(kept.next).toBe(limits.logLinesPerRequestMax);
});

test("logs - the end of a log goes with its task into the archive, in whole lines and bounded", () => {
  const { world, id } = running();
  expect(newestOf(world.core.logs.of(id))).toBeNull();
  const write = (lines: string[]) => world.ok("task.log", { ...world.held(id), lines });
  write(["a", "b"]);
  expect(newestOf(world.core.logs.of(id))?.lines.map(({ text }) => text)).toEqual(["a", "b"]);
  for (let i = 0; i < 12; i++) write(Array.from({ length: 9 }, (_, k) => `${i}${k}`.padEnd(300, ".")));
  const { lines } = world.ok("task.logs", { taskId: id });
  const newest = newestOf(world.core.logs.of(id))!;
  expect(newest.first + newest.lines.length).toBe(110);
  expect(newest.lines.map(({ text }) => text)).toEqual(
    lines.slice(-newest.lines.length).map(({ text }) => text),
  );
  const units = newest.lines.reduce((sum, { text }) => sum + text.length, 0);
  expect(units).toBeLessThanOrEqual(limits.archivedLogUnitsMax);
  expect(units).toBeGreaterThan(0.8 * limits.archivedLogUnitsMax);
  // One line always fits.
  write(["x".repeat(limits.logLineLengthMax), "y".repeat(limits.logLineLengthMax)]);
  expect(newestOf(world.core.logs.of(id))?.lines.map(({ text }) => text[0])).toEqual(["y"]);
});

const batch = fc.array(fc.nat(4096), { minLength: 1, maxLength: limits.logLinesPerRequestMax });
test("logs - whatever is written, undone and restarted, what is kept is the end of what was written", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(batch, fc.constantFrom("undo" as const, "restart" as const)), { maxLength: 25 }),
      (steps) => {
        let { world, id } = running();
        const held = world.held(id);
        let written: number[] = [];
        let count = 0;
        let last = 0;
        for (const step of steps) {
          if (step === "restart") {
            world = world.restarted({ silenceMs: 100_000_000 });
            last = 0;
          } else if (step === "undo") {
            if (last === 0) continue;
            world.store.undo(world.transactions.pop()!);
            written = written.slice(0, -last);
            count -= last;
            last = 0;
            world.sound();
          } else {
            world.ok("task.log", { ...held, lines: step.map((length) => "x".repeat(length)) });
            written.push(...step);
            count += step.length;
            last = step.length;
          }
          const { lines, first, next } = world.ok("task.logs", { taskId: id });
          expect(first + lines.length).toBe(count);
          expect(next).toBe(count);
          expect(lines.map(({ text }) => text.length)).toEqual(written.slice(first));
        }
      },
    ),
    { numRuns: 60 },
  );
});
