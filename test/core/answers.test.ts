import { expect, test } from "bun:test";
import { stateText } from "../../src/core/check.ts";
import { limits } from "../../src/wire/limits.ts";
import { World } from "../support/world.ts";

const cause = (seq: number, ackedThrough = 0) => ({ session: "s", seq, ackedThrough });
const code = (result: object) => ("error" in result ? (result.error as { code: string }).code : null);

test("answers - a repeated operation gets the first answer and changes nothing", () => {
  const world = new World();
  const first = world.run("task.submit", { type: "t" }, cause(1));
  const count = world.transactions.length;
  expect(world.run("task.submit", { type: "t" }, cause(1))).toEqual(first);
  expect(world.transactions.length).toBe(count);
  expect(world.core.tasks.size).toBe(1);
});

test("answers - a claim that is repeated gets the same lease, not a second task", () => {
  const world = new World();
  world.worker("w", { claims: true, capacity: 5 });
  world.submit({ type: "t" });
  world.submit({ type: "t" });
  const first = world.run("task.claim", { workerId: "w" }, cause(1));
  expect(world.run("task.claim", { workerId: "w" }, cause(1))).toEqual(first);
  expect(world.holds("w").length).toBe(1);
});

test("answers - another operation or another input under a used key is refused", () => {
  const world = new World();
  world.run("task.submit", { type: "t" }, { ...cause(1), fingerprint: 7 });
  expect(code(world.run("task.submit", { type: "u" }, { ...cause(1), fingerprint: 8 }))).toBe(
    "idempotency-key-reused",
  );
  expect(code(world.run("task.cancel", { taskId: "1-0" }, { ...cause(1), fingerprint: 7 }))).toBe(
    "idempotency-key-reused",
  );
});

test("answers - acknowledged ones go, and their requests are refused and not carried out again", () => {
  const world = new World();
  for (let seq = 1; seq <= 5; seq++) world.run("task.submit", { type: "t" }, cause(seq));
  world.run("task.submit", { type: "t" }, cause(6, 4));
  for (const seq of [1, 4])
    expect(code(world.run("task.submit", { type: "t" }, cause(seq)))).toBe("already-acknowledged");
  expect("ok" in world.run("task.submit", { type: "t" }, cause(5))).toBe(true);
  expect(world.core.tasks.size).toBe(6);
});

test("answers - one that arrived makes room: a session has as many rows as it had on their way at once", () => {
  const world = new World();
  for (let seq = 1; seq <= 5; seq++) world.run("task.submit", { type: "t" }, cause(seq));
  for (let seq = 6; seq <= 100; seq++) world.run("task.submit", { type: "t" }, cause(seq, seq - 3));
  const { table } = world.core.answers;
  expect(table.size).toBe(5);
  const seqs = [...table.values()].map((answer) => answer.seq);
  for (const seq of [98, 99, 100]) expect(seqs).toContain(seq);
  world.advance(limits.answerAgeMsMax);
  expect(table.size).toBe(0);
});

test("answers - an undo brings back what it replaced, and the place is used again", () => {
  const world = new World();
  for (let seq = 1; seq <= 3; seq++) world.run("task.submit", { type: "t" }, cause(seq));
  const before = stateText(world.core);
  world.run("task.submit", { type: "t" }, cause(4, 2));
  world.run("task.submit", { type: "t" }, cause(5, 2));
  for (const transaction of world.transactions.slice(-2).reverse()) world.core.store.undo(transaction);
  expect(stateText(world.core)).toBe(before);
  const answer = world.run("task.submit", { type: "t" }, cause(4, 2));
  expect(world.run("task.submit", { type: "t" }, cause(4, 2))).toEqual(answer);
  expect(world.run("task.submit", { type: "t" }, cause(3, 2))).toEqual({
    ok: '{"id":"3-0","state":"queued","duplicate":false}',
  });
  expect(world.core.answers.table.size).toBe(3);
});

test("answers - the newest stays although acknowledged, so that a late duplicate is known", () => {
  const world = new World();
  world.run("task.submit", { type: "t" }, cause(1));
  world.run("task.submit", { type: "t" }, cause(2, 1));
  world.run("task.get", { taskId: "1-0" }, cause(3, 2));
  expect(code(world.run("task.submit", { type: "t" }, cause(1)))).toBe("already-acknowledged");
  expect(world.core.tasks.size).toBe(2);
});

test("answers - a refused operation keeps none: repeated, it is tried again", () => {
  const world = new World({ queuedTasksMax: 1 });
  const id = world.submit({ type: "t" });
  expect(code(world.run("task.submit", { type: "t" }, cause(1)))).toBe("busy");
  world.ok("task.cancel", { taskId: id });
  expect("ok" in world.run("task.submit", { type: "t" }, cause(1))).toBe(true);
});

test("answers - are forgotten after ten minutes, whoever never acknowledged them", () => {
  const world = new World();
  world.run("task.submit", { type: "t" }, cause(1));
  world.advance(limits.answerAgeMsMax / 2);
  world.run("task.submit", { type: "t" }, cause(2));
  world.advance(limits.answerAgeMsMax / 2);
  expect([...world.core.answers.table.values()].map((answer) => answer.seq)).toEqual([2]);
  world.advance(limits.answerAgeMsMax / 2);
  expect(world.core.answers.table.size).toBe(0);
});

test("answers - a wall clock that is set forward makes no repeated operation new", () => {
  const world = new World();
  const first = world.run("task.submit", { type: "t" }, cause(1));
  world.now += 2 * limits.answerAgeMsMax;
  world.settle();
  expect(world.run("task.submit", { type: "t" }, cause(1))).toEqual(first);
  expect(world.core.tasks.size).toBe(1);
});

test("answers - a session keeps a bounded number", () => {
  const world = new World();
  for (let seq = 1; seq <= limits.answersPerSessionMax + 50; seq++) {
    const result = world.run("task.submit", { type: "t" }, cause(seq));
    if ("error" in result) throw new Error(result.error.detail);
  }
  expect(world.core.answers.table.size).toBe(limits.answersPerSessionMax);
});

test("answers - what they take in memory counts, until they have arrived or are too old", () => {
  const world = new World({ memoryBytesMax: 3_000_000 });
  world.ok("kv.put", { key: "large", value: "x".repeat(500_000) });
  const then = [
    { operation: "kv.put", input: { key: "small", value: 1 } },
    { operation: "kv.get", input: { key: "large" } },
  ];
  const asked = (session: string, seq = 1, ackedThrough = 0) =>
    code(world.run("transaction.run", { then }, { session, seq, ackedThrough }));
  expect(["a", "b", "c", "d", "e", "f"].map((session) => asked(session))).toEqual([
    ...[null, null, null, null, null],
    "busy",
  ]);
  world.sound();
  const { bytes } = world.core.limits;
  expect(world.restarted().core.limits.bytes).toBe(bytes);
  world.advance(limits.answerAgeMsMax);
  expect(world.core.answers.table.size).toBe(0);
  expect(world.core.limits.bytes).toBeLessThan(bytes - 2_500_000);
  // One that acknowledges has its answer in the place of the one before.
  for (let seq = 1; seq <= 20; seq++) expect(asked("g", seq, seq - 1)).toBeNull();
});
