import { expect, test } from "bun:test";
import fc from "fast-check";
import type { TaskSubmit, Unique } from "../../src/wire/tasks.ts";
import { World } from "../support/world.ts";

type Answer = { id: string; state: string; duplicate: boolean; replaced?: boolean };
const submitted = (world: World, submit: Partial<TaskSubmit>): Answer =>
  world.ok("task.submit", { type: "t", ...submit }) as Answer;

const mail = { type: "send", payload: { to: { name: "Ada", id: 1 }, text: "hi" } };
test.each<[string, Partial<TaskSubmit>, Partial<TaskSubmit>, boolean]>([
  ["queue, type and payload are the same", { unique: {} }, { unique: {} }, true],
  ["another payload, by default", { unique: {} }, { unique: {}, payload: 1 }, false],
  ["another type, by default", { unique: {} }, { unique: {}, type: "x" }, false],
  ["another queue, by default", { unique: {} }, { unique: {}, queue: "x" }, false],
  [
    "another payload, by type",
    { unique: { by: ["type"] } },
    { unique: { by: ["type"] }, payload: 1, queue: "x" },
    true,
  ],
  [
    "another group, by group",
    { unique: { by: ["group"] } },
    { unique: { by: ["group"] }, group: "g" },
    false,
  ],
  [
    "the fields of the payload in another order",
    { unique: {} },
    { unique: {}, payload: { text: "hi", to: { id: 1, name: "Ada" } } },
    true,
  ],
  [
    "the same part of the payload",
    { unique: { by: ["/to/id"] } },
    { unique: { by: ["/to/id"] }, payload: { to: { id: 1 } }, type: "x" },
    true,
  ],
  [
    "another part of the payload",
    { unique: { by: ["/to/id"] } },
    { unique: { by: ["/to/id"] }, payload: { to: { id: "1" } } },
    false,
  ],
  [
    "the same parts, in another order",
    { unique: { by: ["/to", "type"] } },
    { unique: { by: ["type", "/to"] } },
    true,
  ],
  ["another choice of parts", { unique: { by: ["/to", "type"] } }, { unique: { by: ["/to"] } }, false],
  [
    "the same key in a queue",
    { unique: { key: "k" } },
    { unique: { key: "k" }, type: "x", payload: 1 },
    true,
  ],
  ["the same key in another queue", { unique: { key: "k" } }, { unique: { key: "k" }, queue: "x" }, false],
  [
    "the same key over queues",
    { unique: { key: "k", by: [] } },
    { unique: { key: "k", by: [] }, queue: "x" },
    true,
  ],
  [
    "an escaped name",
    { unique: { by: ["/a~1b"] }, payload: { "a/b": 1 } },
    { unique: { by: ["/a~1b"] }, payload: { "a/b": 1 } },
    true,
  ],
  ["one that asks for nothing", { unique: {} }, {}, false],
])("unique - %s: a second task is a duplicate or not", (_, first, second, isDuplicate) => {
  const world = new World();
  const one = submitted(world, { ...mail, ...first });
  const two = submitted(world, { ...mail, ...second });
  expect([one.duplicate, two.duplicate, two.id === one.id]).toEqual([false, isDuplicate, isDuplicate]);
});

test.each<[Partial<TaskSubmit>, string]>([
  [{ unique: { by: ["/nowhere"] } }, "/unique/by/0"],
  [{ unique: { by: ["type", "/to/constructor"] } }, "/unique/by/1"],
  [{ unique: { by: [] } }, "/unique/by"],
  [{ unique: {}, idempotencyKey: "k" }, "/unique"],
  [{ unique: {}, ref: "a" }, "/unique"],
  [{ unique: { maxWaitMs: 5 } }, "/unique/maxWaitMs"],
  [{ unique: { debounceMs: 5, maxWaitMs: 4 } }, "/unique/maxWaitMs"],
  [{ unique: { debounceMs: 5 }, delayMs: 1 }, "/unique/debounceMs"],
  [{ unique: { debounceMs: 5 }, runAt: 1 }, "/unique/debounceMs"],
  [{ unique: { debounceMs: 5, keep: "earlier" } }, "/unique/keep"],
  [{ unique: { debounceMs: 5, while: "unfinished" } }, "/unique/while"],
  [{ unique: { debounceMs: 5, forMs: 5 } }, "/unique/forMs"],
])("unique - %j is refused, and %s is told", (submit, pointer) => {
  const world = new World();
  const { errors } = world.refused("task.submit", { ...mail, ...submit }, "invalid-input");
  expect(errors?.map((one) => one.pointer)).toEqual([pointer]);
  const { errors: inArray } = world.refused(
    "task.submit",
    [{ type: "t" }, { ...mail, ...submit }],
    "invalid-input",
  );
  expect(inArray?.map((one) => one.pointer)).toEqual([`/1${pointer}`]);
});

test("unique - a key with a time outlives its task, and the answer says how that ended", () => {
  const world = new World({ retentionMs: 1000 });
  world.worker("w");
  const unique: Unique = { key: "order 7", forMs: 60_000 };
  const { id } = submitted(world, { unique });
  world.settle();
  world.ok("task.complete", world.held(id));
  world.advance(1000);
  world.refused("task.get", { taskId: id }, "unknown-task");
  const duplicate = { id, state: "completed", duplicate: true } as never;
  expect(world.ok("task.submit", { type: "t", unique })).toEqual(duplicate);
  const again = world.restarted({ retentionMs: 1000 });
  again.now = world.now + 58_999;
  expect(again.ok("task.submit", { type: "t", unique })).toEqual(duplicate);
  again.now += 1;
  expect(submitted(again, { unique }).duplicate).toBe(false);
  again.advance(60_001);
  expect(again.core.uniques.size).toBe(0);
});

test("unique - what waits takes the newer payload, options and time, and keeps its id and its place", () => {
  const world = new World();
  const unique: Unique = { key: "k", keep: "newer" };
  const { id } = submitted(world, {
    unique,
    payload: 1,
    group: "a",
    ttlMs: 5000,
    deadlineAt: world.now + 9000,
  });
  const behind = submitted(world, {}).id;
  world.advance(1000);
  const newer = submitted(world, { unique, payload: 2, attempts: 9, labels: { by: "ada" } });
  expect(newer).toEqual({ id, state: "queued", duplicate: true, replaced: true });
  expect(world.restarted().task(id)).toMatchObject({
    ...{ payload: 2, attempts: 9, labels: { by: "ada" }, group: null, deadlineAt: null, expiresAt: null },
    createdAt: world.now - 1000,
  });
  world.worker("c", { claims: true, capacity: 2 });
  const { assignments } = world.ok("task.claim", { workerId: "c", count: 2 });
  expect(assignments.map(({ task }) => [task.id, task.payload])).toEqual([
    [id, 2],
    [behind, null],
  ]);
  // Begun: it stays as it is, and the answer tells.
  expect(submitted(world, { unique, payload: 3 })).toEqual({ id, state: "running", duplicate: true });
  expect(world.task(id).payload).toBe(2);
});

test("unique - what is replaced may move to another queue, and asks for another time", () => {
  const world = new World();
  const unique: Unique = { key: "k", by: [], keep: "newer" };
  const { id } = submitted(world, { unique, queue: "a" });
  expect(submitted(world, { unique, queue: "b", delayMs: 5000 }).state).toBe("scheduled");
  expect(world.task(id)).toMatchObject({ queue: "b", runAt: world.now + 5000 });
  const counts = world
    .ok("queue.list", {})
    .queues.map(({ name, counts }) => [name, counts.scheduled, counts.queued]);
  expect(counts).toEqual([
    ["a", 0, 0],
    ["b", 1, 0],
  ]);
  expect(world.ok("task.list", {}).tasks.map((task) => task.queue)).toEqual(["b"]);
});

test("unique - debounced tasks start when nobody has asked for so long, or have waited as long as they may", () => {
  const world = new World();
  world.worker("w");
  const unique: Unique = { key: "k", debounceMs: 1000, maxWaitMs: 2500 };
  const first = world.now;
  const { id } = submitted(world, { unique, payload: 0 });
  expect(world.task(id).runAt).toBe(first + 1000);
  for (let i = 1; i <= 3; i++) {
    world.advance(800);
    expect(submitted(world, { unique, payload: i })).toMatchObject({ id, replaced: true });
    expect(world.task(id).runAt).toBe(Math.min(world.now + 1000, first + 2500));
  }
  world.advance(100);
  expect(world.task(id)).toMatchObject({ state: "running", payload: 3 });
  // Begun: whoever asks now gets a task of its own.
  expect(submitted(world, { unique, payload: 4 })).toMatchObject({ duplicate: false, state: "scheduled" });
});

test("unique - an array is in order: what is the same in it is one task", () => {
  const world = new World();
  const unique: Unique = { by: ["/id"], keep: "newer" };
  const of = (id: number, text: string) => ({ type: "t", unique, payload: { id, text } });
  const answers = world.ok("task.submit", [of(1, "a"), of(2, "b"), of(1, "c")]) as Answer[];
  expect(answers.map(({ duplicate }) => duplicate)).toEqual([false, false, true]);
  expect(world.restarted().task(answers[0]!.id).payload).toEqual({ id: 1, text: "c" });
  expect(world.core.tasks.size).toBe(2);
});

test("unique - a task that has ended does not come back while another one has its key", () => {
  const world = new World();
  const one = submitted(world, { unique: { key: "k" } });
  world.ok("task.cancel", { taskId: one.id });
  const two = submitted(world, { unique: { key: "k" } });
  expect(world.refused("task.retry", { taskId: one.id }, "wrong-state").detail).toContain(two.id);
  world.ok("task.cancel", { taskId: two.id });
  expect(world.ok("task.retry", { taskId: one.id }).state).toBe("queued");
});

test("unique - duplicates take no room in a backlog that refuses, and what it drops takes no key", () => {
  const world = new World();
  const unique: Unique = { key: "k", forMs: 60_000 };
  world.ok("queue.configure", { queue: "q", backlog: { max: 1, policy: "refuse" } });
  const { id } = submitted(world, { queue: "q", unique });
  expect(submitted(world, { queue: "q", unique }).id).toBe(id);
  world.refused("task.submit", { type: "t", queue: "q" }, "backlog-full");
  world.ok("queue.configure", { queue: "d", backlog: { max: 1, policy: "drop-newest" } });
  submitted(world, { queue: "d" });
  expect(submitted(world, { queue: "d", unique }).state).toBe("cancelled");
  expect(submitted(world, { queue: "d", unique }).duplicate).toBe(false);
});

test("unique - a task that is assigned at once takes its key, and a duplicate is not assigned", () => {
  const world = new World();
  world.worker("w", { capacity: 5 });
  const task: TaskSubmit = { type: "t", unique: { key: "k", forMs: 1000 } };
  const { task: assigned } = world.ok("task.assign", { task });
  expect(submitted(world, task)).toMatchObject({ id: assigned.id, duplicate: true });
  expect(world.refused("task.assign", { task }, "wrong-state").detail).toContain(assigned.id);
});

// --- against a model --------------------------------------------------------------------------------------

/** What the guide promises, in the plainest form: a list of tasks, and looks through all of it. */
type Known = {
  id: string;
  key: string;
  unique: Unique;
  payload: number;
  state: "scheduled" | "queued" | "running" | "completed" | "failed" | "cancelled";
  begun: boolean;
  createdAt: number;
  runAt: number;
  finishedAt: number;
  kept: boolean;
};
type Model = { tasks: Known[]; windows: { key: string; id: string; until: number }[] };

const uniques: Unique[] = [
  {},
  { while: "waiting" },
  { forMs: 4000 },
  { while: "unfinished", forMs: 4000 },
  { keep: "newer" },
  { while: "waiting", keep: "newer", forMs: 1500 },
  { debounceMs: 1000, maxWaitMs: 2500 },
];
type Step =
  | { do: "submit"; of: { key: string; unique: Unique; delayMs: number }[] }
  | { do: "claim" | "release" | "complete" | "fail" | "cancel" | "retry"; which: number }
  | { do: "wait"; ms: number }
  | { do: "restart" | "undo" };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      of: fc.array(
        fc.record({
          key: fc.constantFrom("a", "b"),
          unique: fc.constantFrom(...uniques),
          delayMs: fc.constantFrom(0, 0, 700),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom(...(["claim", "claim", "release", "complete", "fail", "cancel", "retry"] as const)),
      which: fc.nat(20),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 3000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("restart" as const, "undo" as const) }) },
);

const retentionMs = 2000;
const config = { retentionMs, silenceMs: 10_000_000 };
const isOver = ({ state }: Known) => ["completed", "failed", "cancelled"].includes(state);
const stands = (one: Known) => {
  const { while: until = one.unique.debounceMs ? "waiting" : one.unique.forMs ? null : "unfinished" } =
    one.unique;
  return !isOver(one) && (until === "unfinished" || (until === "waiting" && !one.begun));
};

function modelSubmit(
  model: Model,
  id: string,
  now: number,
  from: Step & { do: "submit" },
  place: number,
  payload: number,
) {
  const { key, unique, delayMs: asked } = from.of[place]!;
  const delayMs = unique.debounceMs === undefined ? asked : 0;
  const window = model.windows.find((one) => one.key === key && one.until > now);
  const earlier =
    model.tasks.find((one) => one.key === key && stands(one)) ??
    model.tasks.find((one) => one.id === window?.id);
  if (earlier === undefined) {
    const wait = unique.debounceMs ?? delayMs;
    const made: Known = {
      ...{ id, key, unique, payload, state: wait > 0 ? "scheduled" : "queued", begun: false, createdAt: now },
      ...{ runAt: wait > 0 ? now + wait : 0, finishedAt: 0, kept: true },
    };
    model.tasks.push(made);
    if (unique.forMs !== undefined) {
      model.windows = model.windows.filter((one) => one.key !== key);
      model.windows.push({ key, id, until: now + unique.forMs });
    }
    return { id, state: made.state, duplicate: false };
  }
  const isNewer = unique.keep === "newer" || unique.debounceMs !== undefined;
  if (!isNewer || earlier.begun || isOver(earlier))
    return { id: earlier.id, state: earlier.state, duplicate: true };
  const at =
    unique.debounceMs === undefined
      ? now + delayMs
      : Math.min(now + unique.debounceMs, earlier.createdAt + unique.maxWaitMs!);
  const state = at > now ? "scheduled" : "queued";
  Object.assign(earlier, { payload, unique, state, runAt: at > now ? at : 0 });
  return { id: earlier.id, state, duplicate: true, replaced: true };
}

test("unique - whatever is submitted, ended, undone and restarted, keys are held as promised", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
      let world = new World(config);
      world.worker("w", { claims: true, capacity: 100 });
      let model: Model = { tasks: [], windows: [] };
      let before = { model: structuredClone(model), transactions: world.transactions.length };
      let payload = 0;
      const held = (which: number) => {
        const running = model.tasks.filter(({ state }) => state === "running");
        return running[which % Math.max(1, running.length)];
      };
      const over = (one: Known, state: Known["state"]) =>
        Object.assign(one, { state, finishedAt: world.now, runAt: 0 });
      for (const one of steps) {
        if (one.do !== "undo")
          before = { model: structuredClone(model), transactions: world.transactions.length };
        switch (one.do) {
          case "submit": {
            const given = one.of.map(({ key, unique, delayMs }) => ({
              ...{ type: "t", unique: { key, ...unique }, payload: payload++, leaseMs: 10_000_000 },
              ...(unique.debounceMs === undefined && delayMs > 0 ? { delayMs } : {}),
            }));
            const revision = world.store.revision + 1;
            const expected = one.of.map((_, i) =>
              modelSubmit(model, `${revision}-${i}`, world.now, one, i, given[i]!.payload),
            );
            // Each is answered as it stands in the end.
            const stands = expected.map((answer) => ({
              ...answer,
              state: model.tasks.find(({ id }) => id === answer.id)!.state,
            }));
            expect(world.ok("task.submit", given)).toEqual(stands as never);
            break;
          }
          case "claim":
            for (const { task } of world.ok("task.claim", { workerId: "w" }).assignments)
              Object.assign(model.tasks.find(({ id }) => id === task.id)!, { state: "running", begun: true });
            break;
          case "release":
          case "complete":
          case "fail": {
            const running = held(one.which);
            if (running === undefined) break;
            const lease = world.held(running.id);
            if (one.do === "release") {
              world.ok("task.release", lease);
              running.state = "queued";
            } else if (one.do === "complete") {
              world.ok("task.complete", lease);
              over(running, "completed");
            } else {
              world.ok("task.fail", { ...lease, error: "no", final: true });
              over(running, "failed");
            }
            break;
          }
          case "cancel": {
            const open = model.tasks.filter((task) => !isOver(task));
            const task = open[one.which % Math.max(1, open.length)];
            if (task === undefined) break;
            world.ok("task.cancel", { taskId: task.id });
            over(task, "cancelled");
            break;
          }
          case "retry": {
            const ended = model.tasks.filter(
              ({ state, kept }) => kept && (state === "failed" || state === "cancelled"),
            );
            const task = ended[one.which % Math.max(1, ended.length)];
            if (task === undefined) break;
            const isTaken = model.tasks.some((other) => other.key === task.key && stands(other));
            if (isTaken && stands({ ...task, state: "queued" }))
              world.refused("task.retry", { taskId: task.id }, "wrong-state");
            else {
              world.ok("task.retry", { taskId: task.id });
              Object.assign(task, { state: "queued", finishedAt: 0 });
            }
            break;
          }
          case "wait":
            world.advance(one.ms);
            for (const task of model.tasks) {
              if (task.state === "scheduled" && task.runAt <= world.now)
                Object.assign(task, { state: "queued", runAt: 0 });
              if (isOver(task) && task.finishedAt + retentionMs <= world.now) task.kept = false;
            }
            break;
          case "restart":
            world = world.restarted(config);
            before = { model: structuredClone(model), transactions: 0 };
            break;
          case "undo":
            while (world.transactions.length > before.transactions)
              world.store.undo(world.transactions.pop()!);
            model = structuredClone(before.model);
            world.sound();
            break;
        }
        const kept = model.tasks.filter((task) => task.kept);
        expect(world.core.tasks.size).toBe(kept.length);
        for (const { id, state, runAt, ...task } of kept)
          expect(world.task(id)).toMatchObject({ state, runAt: runAt || null, payload: task.payload });
      }
    }),
    { numRuns: 150 },
  );
});
