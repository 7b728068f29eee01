import { expect, test } from "bun:test";
import fc from "fast-check";
import { check, stateText } from "../../src/core/check.ts";
import { encodeEntry, Loader, lineJson } from "../../src/core/codec.ts";
import { type LockRecord, locksOf } from "../../src/core/locks.ts";
import { createStore } from "../../src/core/store.ts";
import type { TaskSubmit } from "../../src/wire/tasks.ts";
import { World } from "../support/world.ts";

const header = { revision: 7, at: 1000, clock: 50, operation: "task.submit", who: "ada" };

const submit: fc.Arbitrary<TaskSubmit> = fc.record(
  {
    type: fc.constantFrom("send", "build"),
    queue: fc.constantFrom("default", "mail"),
    payload: fc.jsonValue(),
    priority: fc.constantFrom("critical" as const, "high" as const, "normal" as const, "low" as const),
    attempts: fc.integer({ min: 1, max: 5 }),
    backoff: fc.oneof(
      fc.record({ strategy: fc.constantFrom("fixed" as const, "linear" as const), delayMs: fc.nat(100) }),
      fc.record({
        strategy: fc.constant("list" as const),
        delaysMs: fc.array(fc.nat(100), { minLength: 1 }),
      }),
    ),
    finalCodes: fc.uniqueArray(fc.string({ minLength: 1, maxLength: 5 }), { maxLength: 3 }),
    retryCodes: fc.uniqueArray(fc.string({ minLength: 1, maxLength: 5 }), { maxLength: 3 }),
    interruptionsMax: fc.integer({ min: 1, max: 3 }),
    leaseMs: fc.integer({ min: 100, max: 90_000 }),
    timeoutMs: fc.integer({ min: 100, max: 90_000 }),
    delayMs: fc.nat(10_000),
    ttlMs: fc.integer({ min: 1, max: 90_000 }),
    deadlineAt: fc.integer({ min: 1_000_000_000_001, max: 1_000_000_090_000 }),
    idempotencyKey: fc.string({ minLength: 1, maxLength: 20 }),
    unique: fc.record({
      key: fc.constantFrom("a", "b"),
      forMs: fc.integer({ min: 1, max: 50_000 }),
      while: fc.constantFrom("waiting" as const, "unfinished" as const),
      keep: fc.constantFrom("earlier" as const, "newer" as const),
    }),
    kind: fc.constantFrom("worker", "builder"),
    capabilities: fc.uniqueArray(fc.constantFrom("gpu", "linux", "tpu"), { maxLength: 3 }),
    group: fc.constantFrom("acme", "beta"),
    limits: fc.uniqueArray(fc.constantFrom("api", "disk"), { maxLength: 2 }),
    labels: fc.dictionary(fc.constantFrom("zone", "team"), fc.string({ maxLength: 10 })),
  },
  { requiredKeys: ["type"] },
);

type Move =
  | { kind: "submit"; input: TaskSubmit }
  | { kind: "end"; outcome: number }
  | { kind: "wait"; ms: number };
const move: fc.Arbitrary<Move> = fc.oneof(
  fc.record({ kind: fc.constant("submit" as const), input: submit }),
  fc.record({ kind: fc.constant("end" as const), outcome: fc.nat(5) }),
  fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(40_000) }),
);

/** A busy life: submits, outcomes of every kind, time. */
function live(world: World, moves: Move[]): void {
  world.worker("w", {
    kind: "worker",
    capabilities: ["gpu", "linux", "tpu"],
    capacity: 3,
    labels: { a: 'quote " tab \t' },
  });
  moves.forEach((one, i) => {
    if (one.kind === "submit")
      world.run("task.submit", one.input, { session: "s", seq: i + 1, ackedThrough: i - 3 });
    else if (one.kind === "wait") world.advance(one.ms);
    else {
      const [id] = world.holds("w");
      if (id === undefined) return;
      const held = world.held(id);
      if (one.outcome === 0)
        world.ok("task.complete", { ...held, result: { text: "line\nbreak\ttab", n: i } });
      if (one.outcome === 1) world.ok("task.fail", { ...held, error: { message: "a\nb", stack: "x\ty" } });
      if (one.outcome === 2) world.ok("task.fail", { ...held, error: "final", final: true });
      if (one.outcome === 3) world.ok("task.cancel", { taskId: id });
      if (one.outcome === 4) world.ok("task.release", held);
      if (one.outcome === 5) world.ok("task.progress", { ...held, progress: [i] });
    }
    world.settle();
  });
}

test("codec - replaying the entries of any life gives the same state, indexes included", () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
      const world = new World({ retentionCount: 3 });
      const texts: string[] = [];
      world.store.onCommit(({ revision, changes }) => {
        const { now: at, clock, operation, who } = world.core;
        texts.push(encodeEntry({ revision, at, clock, operation, who }, changes));
      });
      live(world, moves);
      const store = createStore();
      const loader = new Loader(store);
      for (const text of texts) loader.entry(text);
      store.advanceTo(world.store.revision);
      const again = new World({ retentionCount: 3 }, store);
      expect(stateText(again.core)).toBe(stateText(world.core));
      expect(check(again.core)).toEqual([]);
      // Twice is once: an image may be newer than the entries that follow it.
      const twice = new Loader(store);
      for (const text of texts) twice.entry(text);
      expect(stateText(again.core)).toBe(stateText(world.core));
    }),
    { numRuns: 100 },
  );
});

test("codec - every line of the log is told as JSON", () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), fc.jsonValue(), (moves, payload) => {
      const world = new World();
      const told = new Set<string>();
      world.store.onCommit(({ changes }) => {
        for (const line of encodeEntry(header, changes).split("\n")) {
          const [, part = "answer", text = ""] = /^\+([a-z.]+)\t[^\t]*\t(.*)$/.exec(line) ?? [];
          if (part === "answer" || part === "archive") continue;
          expect(JSON.parse(lineJson(part, text))).not.toHaveProperty("undefined");
          told.add(part);
        }
      });
      world.run("subscription.put", { name: "s", topic: "a.>" });
      world.run("message.publish", { topic: "a.b", payload });
      world.run("schedule.put", { name: "s", everyMs: 1000, task: { type: "t", payload } });
      world.run("lock.acquire", { resources: [{ name: "a" }], ttlMs: 1000, value: payload });
      world.run("kv.put", { key: "a", value: payload });
      live(world, moves);
      expect([...told]).toEqual(
        expect.arrayContaining(["key", "lock", "message", "schedule", "subscription"]),
      );
    }),
    { numRuns: 100 },
  );
});

test("codec - no text of a record holds a line break or splits a line, whatever was sent", () => {
  const world = new World();
  const texts: string[] = [];
  world.store.onCommit(({ changes }) => texts.push(encodeEntry(header, changes)));
  world.submit({
    type: "t",
    payload: { text: "a\nb\tc\r\u2028" },
    idempotencyKey: "k\n\t",
    labels: { a: "\n" },
  });
  const lines = texts.join("").split("\n");
  expect(lines.pop()).toBe("");
  expect(lines.every((line) => /^[@+-]/.test(line))).toBe(true);
  // The header and the task: as it was submitted, nothing more needs to be said of it.
  expect(lines.length).toBe(2);
});

test("codec - a lock is written with all that it has, whatever the one before it had", () => {
  const store = createStore();
  const table = locksOf(store);
  const plain: LockRecord = {
    ...{ id: "7-0", state: "held", resources: [{ name: "deploy", mode: "exclusive", limit: 0 }] },
    ...{ workerId: null, who: "ada", session: "ada", ttlMs: 30_000, waitUntil: 0, value: null },
    ...{ createdAt: 1000, heldAt: 1000, reason: null, revision: 7 },
  };
  const others: Partial<LockRecord>[] = [
    { id: "7-1" },
    { state: "waiting" },
    { resources: [{ name: "src/", mode: "shared", limit: 3 }, ...plain.resources] },
    { workerId: "w1" },
    { who: "http" },
    { session: null },
    { session: 'idempotency:"\t' },
    { ttlMs: 0 },
    { waitUntil: 12.5 },
    { value: '{"text":"a\\tb"}' },
    { createdAt: 1001 },
    { heldAt: 0 },
    { reason: 'it "hung"\n' },
    { revision: 8 },
  ];
  for (const after of others.flatMap((one) => [plain, { ...plain, ...one }])) {
    const changes = [{ table: table as never, key: after.id, before: undefined, after }];
    const [, line] = encodeEntry(header, changes).split("\n") as [string, string];
    expect(JSON.parse(line.slice(`+lock\t${after.id}\t`.length))).toEqual(after);
    new Loader(store).entry(`${line}\n`);
    expect(table.get(after.id)).toEqual(after);
    new Loader(store).entry(encodeEntry(header, [{ ...changes[0]!, before: after, after: undefined }]));
    expect(table.size).toBe(0);
  }
});

test("codec - a part that this version does not know is refused, not passed over", () => {
  const loader = new Loader(createStore());
  expect(() => loader.put("dragon", "a", "{}")).toThrow('"dragon"');
  expect(() => loader.entry("@1\t0\t0\tx\ty\n-dragon\ta\n")).toThrow('"dragon"');
});

test("codec - an image that names the run of a task without the task is refused", () => {
  const loader = new Loader(createStore());
  loader.put("task.run", "1-0", '{"state":"queued","revision":1}');
  expect(() => loader.end()).toThrow("1-0");
});

test("codec - a deletion that a crash left half folded into the image is finished by its entry", () => {
  const world = new World({ retentionCount: 1 });
  world.worker("w");
  const texts: string[] = [];
  world.store.onCommit(({ revision, changes }) => texts.push(encodeEntry({ ...header, revision }, changes)));
  const ids = [1, 2].map(() => {
    const id = world.submit({ type: "t" });
    world.settle();
    return id;
  });
  for (const id of ids) {
    world.ok("task.complete", world.held(id));
    world.settle();
  }
  const deleting = texts.find((text) => text.includes(`-task\t${ids[0]}`)) as string;
  for (const left of ["task", "task.run"]) {
    const store = createStore();
    const loader = new Loader(store);
    // The image holds the first task but for the half of it that is gone, and the second one whole.
    for (const text of texts.slice(0, texts.indexOf(deleting)))
      for (const line of text.split("\n").filter((one) => one.startsWith("+task"))) {
        const [part, key, ...rest] = line.slice(1).split("\t") as [string, string];
        if (key !== ids[0] || part === left) loader.put(part, key, rest.join("\t"));
      }
    loader.entry(deleting);
    loader.end();
    expect([...store.table("tasks").entries()].map(([key]) => key)).toEqual([ids[1] as string]);
  }
});
