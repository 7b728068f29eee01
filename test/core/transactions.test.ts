/** Transactions: several operations as one entry, and exactly nothing where one of them is refused. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { check, stateText } from "../../src/core/check.ts";
import { encodeEntry, Loader } from "../../src/core/codec.ts";
import { messageIdOf } from "../../src/core/inboxes.ts";
import { createStore } from "../../src/core/store.ts";
import { validate } from "../../src/engine/validate.ts";
import { explain } from "../../src/wire/explain.ts";
import { limits } from "../../src/wire/limits.ts";
import { type Input, notAStep, operationNames, operations } from "../../src/wire/operations.ts";
import type { Condition, Step } from "../../src/wire/transactions.ts";
import { World } from "../support/world.ts";

const put = (key: string, value: unknown, more = {}): Step => ({
  operation: "kv.put",
  input: { key, value, ...more },
});
const read = (key: string): Step => ({ operation: "kv.get", input: { key } });
const submit = (more = {}): Step => ({ operation: "task.submit", input: { type: "t", ...more } });
const fails: Step = { operation: "kv.delete", input: { key: "absent" } };

/** All that anyone can see: the tables, and what the reads answer, which is read off the indexes. */
function sight({ core }: World): unknown {
  const reads: [string, object][] = [
    ["task.list", { limit: 1000 }],
    ["worker.list", {}],
    ["queue.list", {}],
    ["limit.list", {}],
    ["schedule.list", {}],
    ["kv.list", {}],
    ["lock.list", {}],
    ["subscription.list", {}],
    ["message.list", { limit: 1000 }],
    ...["a", "b", "c"].map((subscription): [string, object] => ["message.list", { subscription }]),
    ["topic.list", {}],
    ["state.get", {}],
  ];
  const answers = reads.map(([operation, input]) => core.run(operation as "kv.list", input, nobody));
  const progress = [...core.tasks.values()].map((record) => core.progressOf(record)).sort();
  const aborts = [...core.dispatch.slots()].map(({ aborts }) => aborts.length);
  return {
    ...{ state: stateText(core), revision: core.store.revision, wrong: check(core) },
    ...{ answers, progress, aborts, metrics: { ...core.metrics } },
  };
}
const nobody = { who: "test", session: null, seq: 0, ackedThrough: 0, fingerprint: 0 };

describe("transactions", () => {
  test("transactions - all operations are one entry, each sees those before it, and results come in their order", () => {
    const world = new World();
    const before = world.transactions.length;
    const done = world.ok("transaction.run", {
      then: [
        put("a", 1),
        { operation: "kv.increment", input: { key: "a", by: 4 } },
        read("a"),
        submit({ payload: { order: 17 } }),
        { operation: "schedule.put", input: { name: "s", everyMs: 60_000, task: { type: "t" } } },
      ],
    });
    expect(world.transactions.length).toBe(before + 1);
    expect(done).toMatchObject({ branch: "then", unmet: [], revision: world.store.revision });
    const steps = ["kv.put", "kv.increment", "kv.get", "task.submit", "schedule.put"] as const;
    for (const [i, name] of steps.entries())
      expect(explain(operations[name].output, done.results[i])).toEqual([]);
    expect(done.results.slice(1, 4)).toMatchObject([
      { key: "a", value: 5, version: 2 },
      { key: "a", value: 5, version: 2 },
      { id: `${done.revision}-0`, state: "queued" },
    ]);
  });

  test("transactions - one that only reads is no entry, and tells the revision it saw", () => {
    const world = new World();
    const { revision } = world.ok("kv.put", { key: "a", value: 1 });
    const done = world.ok("transaction.run", { then: [read("a")] }, { session: "s", seq: 1 });
    expect([done.revision, world.store.revision]).toEqual([revision, revision]);
  });

  test("transactions - tasks made by several operations of one have ids of their own", () => {
    const world = new World();
    world.ok("schedule.put", { name: "s", everyMs: 60_000, task: { type: "tick" } });
    const graph = {
      tasks: [
        { type: "a", ref: "x" },
        { type: "b", after: ["x"] },
      ],
    };
    const { revision, results } = world.ok("transaction.run", {
      then: [
        submit(),
        { operation: "task.submit", input: [{ type: "t" }, { type: "t" }] },
        { operation: "graph.submit", input: graph },
        { operation: "schedule.run", input: { name: "s" } },
        submit(),
      ],
    });
    const ids = world.ok("task.list", {}).tasks.map(({ id }) => id);
    expect(ids.sort()).toEqual([0, 1, 2, 3, 4, 5, 6].map((n) => `${revision}-${n}`));
    expect(results[2]).toMatchObject({ ids: [`${revision}-3`, `${revision}-4`] });
    expect(world.task(`${revision}-4`).graph).toMatchObject({ total: 1, pending: 1 });
    expect(stateText(world.restarted().core)).toBe(stateText(world.core));
    // What comes after it counts from the first again.
    expect(world.submit({ type: "t" })).toBe(`${world.store.revision}-0`);
  });

  test("transactions - a refused submit leaves the first number to the next", () => {
    const world = new World();
    world.refused("task.submit", [{ type: "t" }, { type: "t", after: ["9-9"] }], "unknown-task");
    expect(world.submit({ type: "t" })).toBe(`${world.store.revision}-0`);
  });

  test("transactions - what an operation ends is settled before the next one looks", () => {
    const world = new World();
    world.worker("w");
    const first = world.submit({ type: "t" });
    const second = world.submit({ type: "t", after: [first] });
    world.settle();
    const { results } = world.ok("transaction.run", {
      then: [
        { operation: "task.complete", input: world.held(first) },
        { operation: "task.get", input: { taskId: second } },
      ],
    });
    expect(results[1]).toMatchObject({ state: "queued" });
  });

  test("transactions - the first refusal refuses the whole, and names the operation", () => {
    const world = new World();
    world.ok("kv.put", { key: "a", value: "x" });
    const before = sight(world);
    const revision = world.ok("kv.get", { key: "a" }).revision;
    const rows: [Step, string, string, object][] = [
      [fails, "unknown-key", "/then/2", {}],
      [put("a", 2, { ifRevision: 1_000_000 }), "revision-mismatch", "/then/2", { revision }],
      [{ operation: "kv.increment", input: { key: "a" } }, "not-a-counter", "/then/2", {}],
      [put("a", 1, { ttlMs: 5, expiresAt: 7 }), "invalid-input", "/then/2/input/ttlMs", {}],
      [submit({ after: ["9-9"] }), "unknown-task", "/then/2", {}],
    ];
    for (const [step, code, pointer, more] of rows) {
      const problem = world.refused(
        "transaction.run",
        { then: [put("b", 1), submit(), step] },
        code as never,
      );
      expect(problem).toMatchObject({ ...more, errors: [{ pointer }] });
      expect(problem.detail).toStartWith("/then/2: ");
      expect(sight(world)).toEqual(before);
    }
    const other = { if: [{ key: "zzz", exists: true }], then: [], else: [put("b", 1), fails] };
    expect(world.refused("transaction.run", other, "unknown-key").errors?.[0]?.pointer).toBe("/else/1");
  });

  test("transactions - a repeated one is answered alike and changes nothing more", () => {
    const world = new World();
    const input: Input<"transaction.run"> = {
      if: [{ key: "n", exists: false }],
      then: [{ operation: "kv.increment", input: { key: "n" } }],
      else: [read("n")],
    };
    const cause = { session: "s", seq: 1 };
    const first = world.ok("transaction.run", input, cause);
    expect(world.ok("transaction.run", input, cause)).toEqual(first);
    expect(world.ok("transaction.run", input, { session: "s", seq: 2 })).toMatchObject({
      branch: "else",
      unmet: [0],
      results: [{ value: 1 }],
    });
  });

  test("transactions - a fence holds for the whole", () => {
    const world = new World();
    world.worker("w");
    const taskId = world.submit({ type: "t" });
    world.settle();
    const fence = { lease: taskId, token: world.held(taskId).token };
    const input = { then: [{ operation: "task.complete", input: world.held(taskId) }, put("a", 1)] };
    const stale = world.run("transaction.run", input, { fence: { ...fence, token: fence.token + 1 } });
    expect("error" in stale && stale.error.code).toBe("fence-lost");
    expect(world.core.keys.has("a")).toBe(false);
    expect(world.ok("transaction.run", input, { fence }).results).toMatchObject([
      { state: "completed" },
      { key: "a" },
    ]);
  });

  test("transactions - more tasks or longer answers than one may have are refused, and nothing stays", () => {
    const world = new World();
    const many = { tasks: Array.from({ length: 50_001 }, () => ({ type: "t" })) };
    const graph = { operation: "graph.submit", input: many };
    world.refused("transaction.run", { then: [graph, graph] }, "payload-too-large");
    expect(world.core.tasks.size).toBe(0);
    world.ok("kv.put", { key: "a", value: "x".repeat(limits.payloadBytesMax - 10) });
    const reads = { then: [put("b", 1), ...[1, 2, 3, 4, 5].map(() => read("a"))] };
    expect(world.refused("transaction.run", reads, "payload-too-large").detail).toStartWith("/then/4: ");
    expect(world.core.keys.has("b")).toBe(false);
  });
});

describe("transactions - conditions", () => {
  const world = new World();
  const { revision } = world.ok("kv.put", { key: "a", value: { x: [1, { y: null }], z: "t" } });
  world.ok("kv.put", { key: "n", value: 5 });
  world.ok("kv.put", { key: "gone", value: 5, ttlMs: 10 });
  world.advance(10);
  const taskId = world.submit({ type: "t" });
  world.ok("subscription.put", { name: "s", topic: "t" });
  world.ok("subscription.put", { name: "other", topic: "t" });
  const [settled, open, dropped] = [1, 2, 3].map(
    (payload) => world.ok("message.publish", { topic: payload === 3 ? "nobody" : "t", payload }).messageId,
  ) as [string, string, string];
  world.ok("message.ack", { subscription: "s", messageId: settled });
  world.ok("message.nack", { subscription: "other", messageId: open, dead: true });
  const subscribed = world.ok("subscription.get", { name: "s" }).revision;
  const rows: [Condition, boolean][] = [
    [{ key: "a", revision }, true],
    [{ key: "a", revision: revision + 1 }, false],
    [{ key: "b", revision: 0 }, true],
    [{ key: "a", revision: 0 }, false],
    [{ key: "gone", revision: 0 }, true],
    [{ key: "a", exists: true }, true],
    [{ key: "a", exists: false }, false],
    [{ key: "b", exists: false }, true],
    [{ key: "a", value: { z: "t", x: [1, { y: null }] } }, true],
    [{ key: "a", value: { z: "t", x: [1, { y: null }], more: 1 } }, false],
    [{ key: "a", value: { z: "t", x: [1, {}] } }, false],
    [{ key: "a", value: { z: "t", x: { 0: 1, 1: { y: null } } } }, false],
    [{ key: "b", value: null }, false],
    [{ key: "n", value: 5 }, true],
    [{ key: "n", value: "5" }, false],
    [{ key: "n", atLeast: 5 }, true],
    [{ key: "n", atLeast: 5.5 }, false],
    [{ key: "n", atMost: 5 }, true],
    [{ key: "n", atMost: 4 }, false],
    [{ key: "n", atLeast: 1, atMost: 9 }, true],
    [{ key: "b", atLeast: -1 }, false],
    [{ key: "a", value: { z: "T", x: [1, { y: null }] } }, false],
    [{ key: "a", atMost: 1e9 }, false],
    [{ key: "a", exists: true, revision: revision + 1 }, false],
    [{ taskId, state: "queued" }, true],
    [{ taskId, state: ["running", "queued"] }, true],
    [{ taskId, state: "running" }, false],
    [{ taskId, exists: true, revision: Number(taskId.split("-")[0]) }, true],
    [{ taskId, revision: 1 }, false],
    [{ taskId, exists: false }, false],
    [{ taskId: "9-9", exists: false }, true],
    [{ taskId: "9-9", state: "queued" }, false],
    [{ subscription: "s", exists: true }, true],
    [{ subscription: "s", exists: false }, false],
    [{ subscription: "none", exists: false }, true],
    [{ subscription: "s", revision: subscribed }, true],
    [{ subscription: "s", revision: subscribed - 1 }, false],
    [{ subscription: "s", exists: true, revision: subscribed + 1 }, false],
    [{ subscription: "none", revision: 0 }, true],
    [{ subscription: "s", revision: 0 }, false],
    [{ messageId: settled, exists: true }, true],
    [{ messageId: dropped, exists: true }, false],
    [{ messageId: dropped, exists: false }, true],
    [{ messageId: settled, exists: false }, false],
    [{ messageId: settled, subscription: "s" }, false],
    [{ messageId: settled, subscription: "other" }, true],
    [{ messageId: open, subscription: "s" }, true],
    [{ messageId: open, subscription: "other" }, true],
    [{ messageId: open, subscription: "none" }, false],
    [{ messageId: open, exists: false, subscription: "s" }, false],
    [{ messageId: dropped, subscription: "s" }, false],
  ];
  test.each(rows)("transactions - %j holds: %p", (condition, holds) => {
    const done = world.ok("transaction.run", { if: [condition], then: [read("n")] });
    expect(done).toMatchObject(
      holds ? { branch: "then", unmet: [] } : { branch: "else", unmet: [0], results: [] },
    );
    expect(done.results.length).toBe(holds ? 1 : 0);
  });

  test("transactions - all of them must hold, and those that do not are told", () => {
    const conditions = rows.map(([condition]) => condition);
    const unmet = rows.flatMap(([, holds], i) => (holds ? [] : [i]));
    expect(world.ok("transaction.run", { if: conditions, then: [fails] })).toMatchObject({
      branch: "else",
      unmet,
    });
  });

  test("transactions - what is asked of a large value costs no more than of a small one", () => {
    const world = new World();
    world.ok("kv.put", { key: "small", value: [5] });
    world.ok("kv.put", { key: "large", value: Array.from({ length: 100_000 }, (_, i) => i) });
    world.ok("kv.put", { key: "text", value: "5".repeat(1_000_000) });
    const tookMs = (key: string) => {
      const one = [
        { key, atLeast: 5 },
        { key, atMost: 5 },
        { key, value: 5 },
        { key, value: {} },
      ];
      const conditions = Array.from({ length: 100 }, () => one).flat();
      const before = process.cpuUsage();
      expect(world.ok("transaction.run", { if: conditions, then: [fails] }).unmet.length).toBe(400);
      return process.cpuUsage(before).user / 1000;
    };
    tookMs("small");
    const small = tookMs("small");
    // Read as JSON four hundred times they take half a second, and more.
    for (const key of ["large", "text"]) expect(tookMs(key)).toBeLessThan(10 * small + 100);
  });

  test("transactions - one that says nothing is refused", () => {
    for (const vague of [{ taskId }, { subscription: "s" }, { messageId: open }]) {
      const input = { if: [{ key: "a", exists: true }, vague], then: [] };
      expect(world.refused("transaction.run", input, "invalid-input").errors?.[0]?.pointer).toBe("/if/1");
    }
  });

  test("transactions - they are about what was before the first operation", () => {
    const done = world.ok("transaction.run", {
      if: [{ key: "fresh", exists: false }],
      then: [put("fresh", 1), put("fresh", 2, { ifRevision: world.store.nextRevision })],
    });
    expect(done.results[1]).toMatchObject({ version: 2 });
  });
});

describe("transactions - what may be part of one", () => {
  const wrong = (then: Step[]) => validate("transaction.run", { then })?.errors;

  test("transactions - changes and reads of the state may, and the others say why not", () => {
    const others: string[] = operationNames.filter((name) => notAStep(name) !== null);
    expect(
      others.filter((name) => ["mutation", "read"].includes(operations[name as "kv.put"].kind)).sort(),
    ).toEqual(
      ["task.assign", "task.claim", "transaction.run", "worker.register", "worker.unregister"].sort(),
    );
    for (const name of operationNames) {
      const errors = wrong([read("a"), { operation: name, input: operations[name].example }]);
      const reason = notAStep(name);
      const isWaiting = ["task.get", "task.logs", "lock.acquire", "lock.get"].includes(name);
      if (isWaiting) expect(errors?.[0]?.pointer).toBe("/then/1/input/waitMs");
      else if (reason === null) expect([name, errors]).toEqual([name, undefined]);
      else
        expect(errors).toEqual([{ pointer: "/then/1/operation", detail: expect.stringContaining(reason) }]);
    }
  });

  test("transactions - every input is looked at before anything is carried out, in both branches", () => {
    const errors = validate("transaction.run", {
      then: [put("a", 1), { operation: "kv.put", input: { key: "a b" } }, { operation: "kv.putt" }],
      else: [{ operation: "kv.get" }],
    })?.errors;
    expect(errors).toEqual([
      { pointer: "/then/1/input/value", detail: "is missing" },
      { pointer: "/then/1/input/key", detail: expect.any(String) },
      { pointer: "/then/2/operation", detail: "is no operation; did you mean kv.put?" },
      { pointer: "/else/0/input/key", detail: "is missing" },
    ]);
  });

  test("transactions - there is an end to how many", () => {
    const then = Array.from({ length: limits.operationsPerTransactionMax + 1 }, () => read("a"));
    expect(wrong(then)).toEqual([{ pointer: "/then", detail: "must have at most 1000 items" }]);
    expect(wrong(then.slice(1))).toBeUndefined();
  });
});

// --- anything, refused anywhere ------------------------------------------------------------------------------

const name = fc.constantFrom("a", "b", "c");
const which = fc.nat(50);
type Draw = {
  operation: string;
  input?: object;
  task?: number;
  held?: number;
  /** It is one of many that are completed together. */
  many?: true;
  message?: number;
};
const draw = (operation: string, input: fc.Arbitrary<object> = fc.constant({})) =>
  input.map((given): Draw => ({ operation, input: given }));
const ofTask = (operation: string, more: object = {}) =>
  which.map((task): Draw => ({ operation, input: more, task }));
const ofHeld = (operation: string, more: object = {}) =>
  which.map((held): Draw => ({ operation, input: more, held }));
const ofMessage = (operation: string, more: object = {}) =>
  fc
    .record({ message: which, name })
    .map(
      ({ message, name: subscription }): Draw => ({ operation, input: { subscription, ...more }, message }),
    );
const one = fc.record(
  {
    type: fc.constant("t"),
    queue: name,
    group: name,
    priority: fc.constantFrom("high", "low"),
    delayMs: fc.constantFrom(0, 500),
    idempotencyKey: name,
    limits: fc.constant(["x"]),
    sticky: name,
    ttlMs: fc.constantFrom(700),
    payload: fc.constantFrom(1, { x: "y" }),
  },
  { requiredKeys: ["type"] },
);
const unique = fc.record({
  type: fc.constant("u"),
  unique: fc.constantFrom({}, { forMs: 300 }, { replace: "payload" }, { debounceMs: 100 }),
});
const step: fc.Arbitrary<Draw> = fc.oneof(
  { weight: 4, arbitrary: draw("task.submit", one) },
  draw("task.submit", unique),
  draw("task.submit", fc.array(one, { minLength: 1, maxLength: 4 })),
  draw(
    "graph.submit",
    fc.constant({ tasks: [{ type: "a", ref: "x", open: true }, { type: "b", after: ["x"] }, { type: "c" }] }),
  ),
  { weight: 2, arbitrary: ofTask("task.cancel", { cascade: true }) },
  ofTask("task.cancel"),
  ofTask("task.retry", { cascade: true }),
  ofTask("task.delete"),
  ofTask("task.close"),
  ofTask("task.move", { queue: "b", priority: "critical" }),
  draw("task.cancelMany", fc.constant({ filter: { queue: "a" } })),
  draw("task.retryMany", fc.constant({ filter: { state: "dead" } })),
  draw("task.moveMany", fc.constant({ filter: { queue: "b", state: "queued" }, queue: "c" })),
  draw("task.deleteMany", fc.constant({ filter: { state: "completed" } })),
  { weight: 3, arbitrary: ofHeld("task.complete", { result: { ok: 1 } }) },
  { weight: 2, arbitrary: ofHeld("task.fail", { error: "no" }) },
  ofHeld("task.fail", { error: { message: "no", code: "c" }, final: true }),
  ofHeld("task.release"),
  ofHeld("task.snooze", { forMs: 50 }),
  ofHeld("task.extend", { leaseMs: 5000 }),
  ofHeld("task.log", { lines: ["one", "two"] }),
  ofHeld("task.wait"),
  { weight: 3, arbitrary: draw("kv.put", fc.record({ key: name, value: fc.nat(9) })) },
  draw("kv.put", fc.record({ key: name, value: fc.nat(9), ttlMs: fc.constant(200) })),
  draw("kv.put", fc.record({ key: name, value: fc.nat(9), workerId: fc.constantFrom("w1", "w2") })),
  draw("kv.delete", fc.record({ key: name })),
  draw("kv.increment", fc.record({ key: name })),
  draw(
    "schedule.put",
    name.map((called) => ({ name: called, everyMs: 1000, task: { type: "t", queue: called } })),
  ),
  draw("schedule.run", fc.record({ name })),
  draw("schedule.pause", fc.record({ name })),
  draw("schedule.resume", fc.record({ name })),
  draw("schedule.delete", fc.record({ name })),
  draw(
    "queue.configure",
    fc.record({
      queue: name,
      concurrency: fc.constantFrom(null, 1),
      groupConcurrency: fc.constantFrom(null, 1),
    }),
  ),
  draw(
    "queue.configure",
    fc.record({
      queue: name,
      backlog: fc.constantFrom(null, { max: 2, policy: "refuse" }, { max: 2, policy: "drop-oldest" }),
    }),
  ),
  draw("queue.pause", fc.record({ queue: name, forMs: fc.constant(100) })),
  draw("queue.resume", fc.record({ queue: name })),
  draw("limit.put", fc.constant({ name: "x", concurrency: 1 })),
  draw("limit.delete", fc.constant({ name: "x" })),
  draw("worker.drain", fc.record({ workerId: fc.constantFrom("w1", "w2"), drain: fc.boolean() })),
  draw("task.list"),
  draw(
    "lock.acquire",
    fc.record({ resources: name.map((one) => [{ name: one }]), ttlMs: fc.constantFrom(200, 60_000) }),
  ),
  draw(
    "lock.acquire",
    fc.record({ resources: name.map((one) => [{ name: one, mode: "shared" }]), workerId: fc.constant("w1") }),
  ),
  draw("lock.steal", fc.record({ lockId: fc.constantFrom("5-0", "6-0", "7-0", "8-0") })),
  draw("lock.release", fc.record({ lockId: fc.constantFrom("9-0", "10-0", "11-0", "12-0") })),
  draw(
    "subscription.put",
    fc.record({ name, topic: fc.constant("news.*"), pendingMax: fc.constantFrom(1, 100) }),
  ),
  draw("subscription.delete", fc.record({ name })),
  {
    weight: 2,
    arbitrary: draw(
      "message.publish",
      fc.record({ topic: fc.constantFrom("news.a", "news.b"), payload: fc.nat(9) }),
    ),
  },
  draw("message.publish", fc.record({ workerId: fc.constantFrom("w1", "w2"), payload: fc.nat(9) })),
  draw(
    "message.publish",
    fc.record({ topic: fc.constant("news.a"), guarantee: fc.constant("exactly-once"), publishId: name }),
  ),
  { weight: 3, arbitrary: ofMessage("message.ack") },
  ofMessage("message.ackMany"),
  ofMessage("message.nack", { delayMs: 50 }),
  ofMessage("message.nack", { dead: true }),
  draw("message.retry", fc.record({ subscription: name })),
  draw(
    "topic.put",
    fc.record({ topic: fc.constantFrom("news.*", "news.a"), keepCount: fc.constantFrom(1, 5) }),
  ),
  draw("topic.delete", fc.record({ topic: fc.constantFrom("news.*", "news.a") })),
  which.map((held): Draw => ({ operation: "task.completeMany", held, many: true })),
);

type Move =
  | { do: "alone"; step: Draw }
  | { do: "all"; steps: Draw[]; failAt: number | null }
  | { do: "progress"; held: number }
  | { do: "receive"; subscription: string; count: number }
  | { do: "wait"; ms: number };
const move = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("alone" as const), step }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("all" as const),
      steps: fc.array(step, { minLength: 1, maxLength: 6 }),
      failAt: fc.option(fc.nat(6)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("progress" as const), held: which }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("receive" as const),
      subscription: name,
      count: fc.constantFrom(1, 5),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 60, 400) }) },
) as fc.Arbitrary<Move>;

/** The step as it is sent: a drawn number names a task that is there, or one that a worker holds. */
function sent({ core }: World, { operation, input, task, held, many, message }: Draw): Step {
  const records = [...core.tasks.values()];
  const id = (list: typeof records, n: number) => list[n % Math.max(1, list.length)]?.spec.id ?? "9-9";
  if (task !== undefined) return { operation, input: { ...input, taskId: id(records, task) } };
  if (message !== undefined) {
    const ids = [...core.messages.values()].map(messageIdOf);
    const messageId = ids[message % Math.max(1, ids.length)] ?? "9-9";
    const named = operation === "message.ackMany" ? { messageIds: [messageId] } : { messageId };
    return { operation, input: { ...input, ...named } };
  }
  if (held === undefined) return { operation, input };
  const running = records.filter(({ state }) => state === "running");
  const record = running[held % Math.max(1, running.length)];
  const { workerId, token } = record?.lease ?? { workerId: "w1", token: 1 };
  const taskId = id(running, held);
  if (many) return { operation, input: { workerId, tasks: [{ taskId, token }], atomic: true } };
  return { operation, input: { ...input, taskId, workerId, token } };
}

describe("transactions - anything, refused anywhere", () => {
  const done = { kept: 0, undone: 0, byName: new Map<string, number>(), undoneNames: new Set<string>() };

  test("transactions - what is refused half-way leaves the tables, the indexes and all that is seen as they were", () => {
    fc.assert(
      fc.property(fc.array(move, { minLength: 5, maxLength: 40 }), (moves) => {
        const world = new World();
        world.worker("w1", { capacity: 2 });
        world.worker("w2", { capacity: 2 });
        for (const called of ["a", "b", "c"])
          world.ok("schedule.put", { name: called, everyMs: 1000, task: { type: "t", queue: called } });
        for (const one of moves) {
          if (one.do === "wait") world.advance(one.ms);
          else if (one.do === "alone") {
            const { operation, input } = sent(world, one.step);
            if (validate(operation as "kv.put", input) === null)
              world.run(operation as "kv.put", input as never);
            world.settle();
          } else if (one.do === "receive") {
            const { subscription, count } = one;
            world.run("message.receive", { subscription, count });
          } else if (one.do === "progress") {
            const { input } = sent(world, {
              operation: "task.progress",
              input: { progress: 7 },
              held: one.held,
            });
            world.run("task.progress", input as never);
          } else {
            const then = one.steps.map((drawn) => sent(world, drawn));
            if (one.failAt !== null) then.splice(one.failAt, 0, fails);
            if (validate("transaction.run", { then }) !== null) continue;
            if (one.failAt === null) onlyWhatIsTaken(world, then);
            // Whoever names a lease is heard, refused or not; here they have just been.
            for (const worker of ["w1", "w2"]) world.beat(worker);
            const before = sight(world);
            const made = world.transactions.length;
            const result = world.run("transaction.run", { then }, { session: "s", seq: made + 1 });
            if ("error" in result) {
              expect(one.failAt).not.toBeNull();
              done.undone += 1;
              for (const { operation } of then) done.undoneNames.add(operation);
              expect(sight(world)).toEqual(before);
              expect(world.transactions.length).toBe(made);
              continue;
            }
            expect(one.failAt).toBeNull();
            done.kept += 1;
            for (const { operation } of then)
              done.byName.set(operation, (done.byName.get(operation) ?? 0) + 1);
            expect(world.transactions.length).toBeLessThanOrEqual(made + 1);
            world.sound();
            const { results } = JSON.parse(result.ok);
            for (const [i, { operation }] of then.entries())
              expect(explain(operations[operation as "kv.put"].output, results[i])).toEqual([]);
          }
        }
        // What the log says of all of it is the state.
        const replayed = replay(world);
        expect(stateText(replayed.core)).toBe(stateText(world.core));
      }),
      { numRuns: 180, reporter },
    );
    expect(done.kept).toBeGreaterThan(100);
    expect(done.undone).toBeGreaterThan(100);
    expect([...done.byName.keys()].length).toBeGreaterThan(25);
    // A kind that nobody thought of here is named.
    const changes = operationNames.filter(
      (one) => operations[one].kind === "mutation" && notAStep(one) === null,
    );
    expect(changes.filter((one) => !done.undoneNames.has(one))).toEqual([]);
  });
});

test("transactions - what a full disk takes back, whatever it was, leaves what was there before it", () => {
  const done = new Set<string>();
  /** But the revision, which never goes back; the state names it. */
  const stays = (world: World) => {
    const { answers, revision, ...more } = sight(world) as Record<string, unknown>;
    const { wait, run } = world.durable().counted;
    return { ...more, texts: (answers as unknown[]).slice(0, -1), took: [wait.read(), run.read()] };
  };
  fc.assert(
    fc.property(
      fc.array(move, { minLength: 5, maxLength: 20 }),
      fc.array(fc.array(step, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 6 }),
      (moves, undone) => {
        const world = new World();
        world.worker("w1", { capacity: 2 });
        world.worker("w2", { capacity: 2 });
        for (const one of moves) {
          if (one.do === "wait") world.advance(one.ms);
          else if (one.do === "receive")
            world.run("message.receive", { subscription: one.subscription, count: one.count });
          else if (one.do !== "progress")
            for (const drawn of one.do === "alone" ? [one.step] : one.steps) run(world, drawn);
        }
        world.settle();
        for (const worker of ["w1", "w2"]) world.beat(worker);
        const before = stays(world);
        const durable = world.durable();
        for (const steps of undone) {
          const then = steps.map((drawn) => sent(world, drawn));
          if (
            validate("transaction.run", { then }) === null &&
            "ok" in world.run("transaction.run", { then })
          )
            for (const { operation } of then) done.add(operation);
          for (const drawn of steps) {
            const name = run(world, drawn);
            if (name !== null) done.add(name);
          }
          world.settle();
        }
        world.undo(durable);
        expect(stays(world)).toEqual(before);
      },
    ),
    { numRuns: 150, reporter },
  );
  expect(done.size).toBeGreaterThan(35);
});

/** Carries it out alone; its name, if it was not refused. What makes no entry is not counted. */
function run(world: World, drawn: Draw): string | null {
  const { operation, input } = sent(world, drawn);
  if (validate(operation as "kv.put", input) !== null) return null;
  const before = world.durable();
  const result = world.run(operation as "kv.put", input as never);
  const { count, counted } = world.durable();
  if (count === before.count) expect([operation, counted.counts]).toEqual([operation, before.counted.counts]);
  return "ok" in result ? operation : null;
}

/** Leaves out what would be refused, until all but one that surely is would be taken. */
function onlyWhatIsTaken(world: World, then: Step[]): void {
  for (;;) {
    const result = world.run("transaction.run", { then: [...then, fails] });
    const pointer = "error" in result ? result.error.errors?.[0]?.pointer : undefined;
    const at = Number(pointer?.split("/")[2]);
    if (at === then.length) return;
    then.splice(at, 1);
  }
}

/** Says what was expected where, and not only of which run. */
function reporter<T>(details: fc.RunDetails<T>): void {
  if (details.failed) throw new Error(`${details.errorInstance}\n${fc.defaultReportMessage(details)}`);
}

/** A world out of the entries of another, as a log would give them. */
function replay(world: World): World {
  const store = createStore();
  const loader = new Loader(store);
  for (const { revision, changes } of world.transactions)
    loader.entry(encodeEntry({ revision, at: 0, clock: 0, operation: "", who: "" }, changes));
  loader.end();
  store.advanceTo(world.store.revision);
  return new World({}, store, 0, {}, world);
}
