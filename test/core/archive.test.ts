/** What is told of tasks that leave memory, and what is read of it again. */
import { describe, expect, test } from "bun:test";
import { archivedLines, archivedText, tagsOf, tagsOfFilter } from "../../src/core/archive.ts";
import { decodeArchived, encodeEntry } from "../../src/core/codec.ts";
import type { TaskRecord } from "../../src/core/tasks.ts";
import { readArchiveLine } from "../../src/log/archive.ts";
import { World } from "../support/world.ts";

const header = { revision: 1, at: 1, clock: 1, operation: "test", who: "test" };

/** What the entries tell of the archive, in their order. */
function told(world: World) {
  return world.transactions
    .flatMap(({ changes }) => encodeEntry(header, changes).split("\n"))
    .filter((line) => line.startsWith("+archive\t"))
    .map(readArchiveLine);
}

describe("leaving memory", () => {
  test("archive - a task is told as it was shown the moment before, whatever it is and whatever came of it", () => {
    const world = new World({ retentionMs: 60_000 });
    world.worker("w", { capacity: 10 });
    const submit = (more: object) => world.submit({ type: "t", ...more });
    const finish = (op: "task.complete" | "task.fail", id: string, more: object) =>
      world.ok(op, { ...world.held(id), ...more } as never);
    const plain = submit({});
    const full = submit({
      ...{ queue: "mail", priority: "high", attempts: 7, timeoutMs: 5000, group: "acme", ttlMs: 100_000 },
      ...{ idempotencyKey: 'a "quoted"\tkey', labels: { tenant: "acme", note: "tabs\tand\nlines" } },
      payload: { text: "tabs\tand\nlines €🙂", nested: [1, { a: null }] },
    });
    const failing = submit({ attempts: 1, unique: { by: ["payload"], while: "unfinished" }, payload: 7 });
    const parent = submit({ open: true });
    const child = submit({ parent: { taskId: parent } });
    world.settle();
    world.ok("task.log", { ...world.held(full), lines: ["tabs\tand\nlines €🙂", ""] });
    const logged = world.ok("task.logs", { taskId: full });
    finish("task.complete", plain, {});
    finish("task.complete", full, { result: { text: "\t\n" } });
    finish("task.fail", failing, { error: { message: "no\tgood", code: "E1", stack: "at a\n\tat b" } });
    finish("task.complete", child, { result: [1] });
    world.ok("task.close", { taskId: parent });
    world.settle();
    finish("task.complete", parent, {});
    const before = [plain, full, failing, parent, child].map((id) => world.task(id));
    expect(told(world)).toEqual([]);
    world.advance(120_000);
    const rows = new Map(told(world).map((row) => [row.id, row]));
    expect(rows.size).toBe(5);
    for (const task of before) {
      const row = rows.get(task.id) as NonNullable<ReturnType<typeof rows.get>>;
      world.refused("task.get", { taskId: task.id }, "unknown-task");
      expect(row.at).toBe(task.finishedAt as number);
      const decoded = decodeArchived(row.id, row.text);
      expect(row.tags).toEqual(tagsOf(decoded.record));
      const again = archivedText(world.core, decoded);
      // Its child left a moment before it, and is no more among what it waited for.
      const graph = task.id === parent ? { ...task.graph, total: 0, completed: 0 } : task.graph;
      expect(JSON.parse(again)).toEqual({ ...task, graph, archived: true });
      const lines = JSON.parse(archivedLines(decoded, {}));
      expect(lines).toEqual(task.id === full ? logged : { lines: [], first: 0, next: 0 });
    }
    expect(before[2]?.errors).toHaveLength(1);
    expect(before[4]?.graph?.parentId).toBe(parent);
    expect(world.core.metrics.tasksArchived).toBe(5);
  });

  test("archive - what a number too many pushes out is told in the entry that ended the newer one", () => {
    const world = new World({ retentionCount: 1 });
    world.worker("w", { capacity: 10 });
    const ids = [1, 2, 3].map(() => world.submit({ type: "t" }));
    world.settle();
    for (const id of ids) world.ok("task.complete", world.held(id));
    expect(told(world).map(({ id }) => id)).toEqual(ids.slice(0, 2));
  });

  test("archive - a deleted task is not told, and nothing is where nothing is to be", () => {
    const world = new World();
    const id = world.submit({ type: "t" });
    world.ok("task.cancel", { taskId: id });
    world.ok("task.delete", { taskId: id });
    expect(told(world)).toEqual([]);
    const without = new World({ retentionCount: 0, archives: false });
    without.ok("task.cancel", { taskId: without.submit({ type: "t" }) });
    expect(without.core.tasks.size).toBe(0);
    expect(told(without)).toEqual([]);
  });

  test("archive - an undone entry has told nothing that stays, and the task is here again", () => {
    const world = new World({ retentionMs: 1000 });
    const id = world.submit({ type: "t" });
    world.ok("task.cancel", { taskId: id });
    world.advance(5000);
    world.refused("task.get", { taskId: id }, "unknown-task");
    const last = world.transactions.at(-1) as (typeof world.transactions)[number];
    world.store.undo(last);
    expect(world.task(id).state).toBe("cancelled");
    expect(world.core.archive.size).toBe(0);
    world.sound();
  });
});

describe("tags", () => {
  test("archive - a filter's tags are those of the tasks that fit it, and none is taken for another", () => {
    const world = new World();
    const options = { queue: "a", type: "b", group: "c", labels: { b: "c" }, idempotencyKey: "s" };
    const id = world.submit(options);
    const tags = new Set(tagsOf(world.core.tasks.get(id) as TaskRecord));
    const fits = (filter: object) => tagsOfFilter(filter).every((tag) => tags.has(tag));
    for (const filter of [{}, { queue: "a" }, { type: "b" }, { group: "c" }, { key: "s" }, { label: "b" }])
      expect(fits(filter)).toBe(true);
    expect(fits({ label: "b=c" })).toBe(true);
    expect(fits({ queue: "a", type: "b", group: "c", key: "s", label: "b" })).toBe(true);
    for (const filter of [{ queue: "b" }, { type: "a" }, { group: "a" }, { key: "a" }, { label: "c" }])
      expect(fits(filter)).toBe(false);
    expect(fits({ label: "b=d" })).toBe(false);
    expect(fits({ queue: "a", type: "a" })).toBe(false);
    expect(tagsOfFilter({ finishedAfter: 1, finishedBefore: 2 })).toEqual([]);
  });
});
