/** The archive as everyone asks it: what memory has let go of is found, by id and by what it was. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Input, Output } from "../../src/wire/operations.ts";
import { EngineWorld, settle, TestSink } from "./world.ts";

type Filter = Input<"archive.list">;
type Shown = Output<"archive.list">["tasks"][number];

const keepsNone = { config: { retentionCount: 0 } };

/** Submits a task and ends it, so that it leaves memory at once. */
async function archived(world: EngineWorld, submit: object = {}): Promise<string> {
  const id = await world.submit(submit);
  await world.ok("task.cancel", { taskId: id });
  return id;
}

async function all(world: EngineWorld, filter: Filter): Promise<Shown[]> {
  const found: Shown[] = [];
  let cursor: string | null = null;
  do {
    const page: Output<"archive.list"> = await world.ok("archive.list", {
      ...filter,
      ...(cursor === null ? {} : { cursor }),
    });
    found.push(...page.tasks);
    cursor = page.cursor;
  } while (cursor !== null);
  return found;
}

describe("reading the archive", () => {
  test("archive - a task that has left memory is read as before, and says that it has", async () => {
    const world = await EngineWorld.start({ config: { retentionMs: 1000 } });
    const id = await world.submit({ payload: { to: "ada" } });
    await world.ok("task.cancel", { taskId: id, reason: "ordered twice" });
    const before = await world.task(id);
    expect(before.archived).toBe(false);
    await world.advance(60_000);
    expect(world.engine.core.tasks.size).toBe(0);
    expect(await world.task(id)).toEqual({ ...before, archived: true });
    await world.refused("task.get", { taskId: "99-0" }, "unknown-task");
    await world.refused("task.retry", { taskId: "99-0" }, "unknown-task");
    await world.refused("task.cancel", { taskId: id }, "unknown-task");
  });

  test("archive - a task that is retried is in memory again as it was, and its next end takes the place of the last", async () => {
    let world = await EngineWorld.start(keepsNone);
    await world.ok("worker.register", { workerId: "w" });
    const claim = async () => (await world.ok("task.claim", { workerId: "w" })).assignments[0]!;
    const submit = { queue: "mail", payload: { to: "ada" }, priority: "high", labels: { a: "b" } } as const;
    const id = await world.submit({ ...submit, attempts: 1, idempotencyKey: "k" });
    const { token } = (await claim()).lease;
    await world.ok("task.fail", { taskId: id, workerId: "w", token, error: "their server is down" });
    const before = await world.task(id);
    expect(before).toMatchObject({ state: "dead", archived: true });

    // Younger ones stand behind it, and the list is in the order of submission.
    const other = await world.submit({ queue: "mail", priority: "high" });
    const done = await world.ok("task.retry", { taskId: id }, { session: "s", seq: 1 });
    expect(done).toEqual({ id, state: "queued", revision: world.engine.revision });
    const entries = world.engine.revision;
    expect(await world.ok("task.retry", { taskId: id }, { session: "s", seq: 1 })).toEqual(done);
    await world.refused("task.retry", { taskId: id }, "wrong-state");
    expect(world.engine.revision).toBe(entries);
    world.sound();
    expect(await all(world, {})).toEqual([]);
    expect((await world.ok("task.list", {})).tasks.map((task) => task.id)).toEqual([other, id]);

    await world.engine.stop();
    world = await EngineWorld.start({ ...keepsNone, disk: world.log.disk, clock: world.clock });
    expect(await world.task(id)).toMatchObject({
      ...submit,
      ...{ state: "queued", attempt: 0, archived: false, idempotencyKey: "k" },
      errors: before.errors,
    });
    await world.ok("worker.register", { workerId: "w" });
    const again = await claim();
    expect(again.task.id).toBe(id);
    await world.refused("task.complete", { taskId: id, workerId: "w", token }, "lease-lost");
    await world.ok("task.complete", { taskId: id, workerId: "w", token: again.lease.token, result: 1 });
    expect((await all(world, { queue: "mail" })).map(({ state }) => state)).toEqual(["completed"]);
    expect(await all(world, { state: "dead" })).toEqual([]);
    await world.refused("task.retry", { taskId: id }, "wrong-state");
  });

  test("archive - the end of its log is read from there, and goes on where the task is brought back", async () => {
    const world = await EngineWorld.start(keepsNone);
    await world.ok("worker.register", { workerId: "w" });
    const taskId = await world.submit({ attempts: 1 });
    const claim = async () => {
      const [assignment] = (await world.ok("task.claim", { workerId: "w" })).assignments;
      return { taskId, workerId: "w", token: assignment!.lease.token };
    };
    const held = await claim();
    const texts = async (from = 0, limit = 100) => {
      const { lines, next } = await world.ok("task.logs", { taskId, from, limit });
      return [...lines.map(({ number, text }) => `${number} ${text}`), next];
    };
    await world.ok("task.log", { ...held, lines: ["a", "b", "c"] });
    // Who waits for the next line is told of the last ones, although the task leaves with them.
    const waits = world.answer("task.logs", { taskId, from: 3, waitMs: 60_000 });
    await settle();
    await world.ok("task.fail", { ...held, error: "no" });
    expect(await waits).toEqual({ ok: '{"lines":[],"first":0,"next":3}' });
    expect(world.engine.core.logs.table.size).toBe(0);
    expect(await texts()).toEqual(["0 a", "1 b", "2 c", 3]);
    expect(await texts(1, 1)).toEqual(["1 b", 2]);
    expect(await texts(3)).toEqual([3]);
    await world.refused("task.logs", { taskId: "99-0" }, "unknown-task");

    await world.ok("task.retry", { taskId });
    expect(await texts()).toEqual(["0 a", "1 b", "2 c", 3]);
    const again = await claim();
    await world.ok("task.log", { ...again, lines: ["d"] });
    world.sound();
    await world.ok("task.complete", again);
    expect(await texts(2)).toEqual(["2 c", "3 d", 4]);
  });

  test("archive - a task comes back to what it waited for: it waits again, and is not run where that did not complete", async () => {
    let world = await EngineWorld.start(keepsNone);
    await world.ok("worker.register", { workerId: "w" });
    const claim = async () => (await world.ok("task.claim", { workerId: "w" })).assignments[0]!;
    const end = async (taskId: string, how: object) => {
      const { task, lease } = await claim();
      expect(task.id).toBe(taskId);
      const held = { taskId, workerId: "w", token: lease.token };
      await ("error" in how
        ? world.ok("task.fail", { ...held, ...how } as never)
        : world.ok("task.complete", { ...held, ...how }));
    };
    const retry = async (taskId: string) => (await world.ok("task.retry", { taskId })).state;
    const built = await world.submit({ type: "build", attempts: 1 });
    const shipped = await world.submit({
      type: "ship",
      attempts: 1,
      after: [built],
    });
    await end(built, { error: "no" });
    expect(await world.task(shipped)).toMatchObject({ state: "failed", archived: true });
    const { detail } = await world.refused("task.retry", { taskId: shipped }, "wrong-state");
    expect(detail).toContain(`${built}, which did not complete`);
    expect(await retry(built)).toBe("queued");
    expect(await retry(shipped)).toBe("blocked");
    world.sound();
    await world.engine.stop();
    world = await EngineWorld.start({ ...keepsNone, disk: world.log.disk, clock: world.clock });
    await world.ok("worker.register", { workerId: "w" });
    await end(built, { result: 7 });
    const { task, dependencies, lease } = await claim();
    expect([task.id, dependencies?.[built]]).toEqual([
      shipped,
      { taskId: built, state: "completed", result: 7, error: null },
    ]);
    await world.ok("task.fail", { taskId: shipped, workerId: "w", token: lease.token, error: "no" });

    // What it waited for completed and has left: as in memory, it is done.
    expect([(await world.task(built)).archived, await retry(shipped)]).toEqual([true, "queued"]);
    expect((await claim()).dependencies?.[built]).toEqual({
      taskId: built,
      state: null,
      result: null,
      error: null,
    });
    world.sound();
  });

  test("archive - a task that comes back to one that has failed meanwhile does what its link says", async () => {
    const world = await EngineWorld.start(keepsNone);
    const first = await world.submit();
    // Who waits for its retry keeps it in memory.
    await world.submit({ after: [{ task: first, onFail: "wait" }] });
    const [fails, waits, ignores] = [
      await archived(world, { after: [first] }),
      await archived(world, { after: [{ task: first, onFail: "wait" }] }),
      await archived(world, { after: [{ task: first, onFail: "ignore" }] }),
    ];
    await world.ok("task.cancel", { taskId: first });
    expect((await world.refused("task.retry", { taskId: fails }, "wrong-state")).detail).toContain(first);
    expect((await world.ok("task.retry", { taskId: waits })).state).toBe("blocked");
    expect((await world.ok("task.retry", { taskId: ignores })).state).toBe("queued");
    world.sound();
  });

  test("archive - a child comes back to its parent, which waits for it again", async () => {
    const world = await EngineWorld.start(keepsNone);
    await world.ok("worker.register", { workerId: "w" });
    const parent = await world.submit({ open: true });
    const child = await world.submit({ parent: { taskId: parent } });
    await world.ok("task.cancel", { taskId: child });
    expect(await world.task(parent)).toMatchObject({ state: "cancelled", archived: true });
    expect((await world.refused("task.retry", { taskId: parent }, "wrong-state")).detail).toContain(child);
    await world.ok("task.retry", { taskId: child });
    expect(await world.ok("task.retry", { taskId: parent })).toMatchObject({ state: "blocked" });
    await world.ok("task.close", { taskId: parent });
    const { task, lease } = (await world.ok("task.claim", { workerId: "w" })).assignments[0]!;
    expect([task.id, task.graph?.parentId]).toEqual([child, parent]);
    world.sound();
    await world.ok("task.complete", { taskId: child, workerId: "w", token: lease.token });
    expect(await world.task(parent)).toMatchObject({ state: "queued" });
    world.sound();
  });

  test("archive - a retry of many is of those in memory: the others are not found, or refused by their id", async () => {
    const world = await EngineWorld.start(keepsNone);
    const id = await archived(world);
    const none = { count: 0, refused: [], cursor: null };
    expect(await world.ok("task.retryMany", { filter: { state: "cancelled" } })).toEqual(none);
    expect(await world.ok("task.retryMany", { taskIds: [id] })).toEqual({
      ...none,
      refused: [{ id, code: "unknown-task" }],
    });
    expect(await world.task(id)).toMatchObject({ state: "cancelled", archived: true });
  });

  test("archive - a task whose key or place another has taken is not brought back", async () => {
    const world = await EngineWorld.start(keepsNone);
    const keyed = await archived(world, { idempotencyKey: "k" });
    const newer = await world.submit({ idempotencyKey: "k" });
    expect(newer).not.toBe(keyed);
    expect((await world.refused("task.retry", { taskId: keyed }, "wrong-state")).detail).toContain(newer);
    await world.ok("task.cancel", { taskId: newer });
    await world.ok("task.retry", { taskId: keyed });
    expect(await world.submit({ idempotencyKey: "k" })).toBe(keyed);
    const unique = { unique: {} };
    const lost = await archived(world, unique);
    await world.submit(unique);
    await world.refused("task.retry", { taskId: lost }, "wrong-state");
    world.sound();
  });

  test("archive - a full disk undoes a retry, and takes none", async () => {
    const world = await EngineWorld.start(keepsNone);
    const id = await archived(world);
    world.log.auto = false;
    const sink = new TestSink();
    const retry = world.ask(sink, "task.retry", { taskId: id });
    await settle();
    expect([sink.answers.length, world.engine.core.tasks.size]).toEqual([0, 1]);
    world.log.full();
    await settle();
    expect(sink.error(retry).code).toBe("disk-full");
    expect(world.engine.core.tasks.size).toBe(0);
    expect((await world.refused("task.retry", { taskId: id }, "disk-full")).retryable).toBe(true);
    expect(await world.task(id)).toMatchObject({ archived: true });
  });

  test("archive - it is found again after a restart", async () => {
    const world = await EngineWorld.start(keepsNone);
    const id = await archived(world);
    await world.engine.stop();
    const again = await EngineWorld.start({ disk: world.log.disk, clock: world.clock });
    expect(await again.task(id)).toMatchObject({ id, archived: true });
  });

  test("archive - where none is kept it is said so, and an unknown task is answered in its place", async () => {
    const world = await EngineWorld.start({ config: { retentionCount: 0, archives: false } });
    const id = await archived(world);
    await world.refused("archive.list", {}, "no-archive");
    const sink = new TestSink();
    const seqs = [world.ask(sink, "task.get", { taskId: id }), world.ask(sink, "state.get", {})];
    await settle();
    expect(sink.answers.map(({ seq }) => seq)).toEqual(seqs);
    expect(sink.error(seqs[0] as number).code).toBe("unknown-task");
  });

  test("archive - a task that left in an entry on its way is answered once the log holds that", async () => {
    const world = await EngineWorld.start(keepsNone);
    const id = await world.submit();
    world.log.auto = false;
    const sink = new TestSink();
    world.ask(sink, "task.cancel", { taskId: id });
    const get = world.ask(sink, "task.get", { taskId: id });
    const list = world.ask(sink, "archive.list", {});
    await settle();
    expect(sink.answers).toEqual([]);
    world.log.complete();
    await settle();
    expect(sink.ok(get)).toMatchObject({ id, archived: true });
    expect(sink.ok(list).tasks).toMatchObject([{ id }]);
  });

  test("archive - a task that an undone entry let go of is answered from memory, where it is again", async () => {
    const world = await EngineWorld.start(keepsNone);
    const id = await world.submit();
    world.log.auto = false;
    const sink = new TestSink();
    world.ask(sink, "task.cancel", { taskId: id });
    const get = world.ask(sink, "task.get", { taskId: id });
    await settle();
    world.log.full();
    await settle();
    expect(sink.ok(get)).toMatchObject({ id, state: "queued", archived: false });
    const list = world.ask(sink, "archive.list", {});
    await settle();
    expect(sink.ok(list).tasks).toEqual([]);
  });

  test("archive - a search that does not fit is refused, and finds what it says is wrong", async () => {
    const world = await EngineWorld.start();
    for (const wrong of [{ state: "running" }, { cursor: "soon" }, { limit: 0 }, { tenant: "acme" }])
      await world.refused("archive.list", wrong as never, "invalid-input");
  });
});

describe("searching the archive", () => {
  const name = fc.constantFrom("a", "b", "c");
  const maybe = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
  const task = fc.record({
    queue: name,
    type: name,
    group: maybe(name),
    key: maybe(fc.constantFrom("k1", "k2", "k 3€")),
    labels: fc.dictionary(name, fc.constantFrom("x", "y=z", ""), { maxKeys: 2 }),
    how: fc.constantFrom("completed", "failed", "dead", "cancelled"),
    afterMs: fc.constantFrom(0, 0, 1, 50),
  });
  const filter = fc.record({
    queue: maybe(name),
    type: maybe(name),
    group: maybe(name),
    state: maybe(fc.constantFrom("completed", "failed", "dead", "cancelled")),
    key: maybe(fc.constantFrom("k1", "k2", "k 3€")),
    label: maybe(fc.constantFrom("a", "b", "a=x", "b=y=z", "c=")),
    after: maybe(fc.integer({ min: -1, max: 400 })),
    before: maybe(fc.integer({ min: 0, max: 500 })),
    limit: fc.constantFrom(1, 2, 3, 1000),
  });

  test("archive - it finds what a plain look at every task finds, newest end first, page by page", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(task, { maxLength: 25 }),
        fc.array(filter, { minLength: 1, maxLength: 6 }),
        async (tasks, filters) => {
          const world = await EngineWorld.start({ config: { retentionMs: 1, retentionCount: 1000 } });
          await world.ok("worker.register", { workerId: "w", capacity: 1 });
          const start = world.clock.wall();
          const model: (Omit<(typeof tasks)[number], "afterMs"> & { id: string; at: number })[] = [];
          for (const { afterMs, how, key, ...one } of tasks) {
            await world.advance(afterMs);
            const { group, ...rest } = one;
            // A key belongs to one task at a time: it is free again once the task has left.
            if (key !== undefined) await world.advance(2000);
            const id = await world.submit({
              ...rest,
              attempts: 1,
              ...(group === undefined ? {} : { group }),
              ...(key === undefined ? {} : { idempotencyKey: key }),
            });
            if (how === "cancelled") await world.ok("task.cancel", { taskId: id });
            else {
              const { assignments } = await world.ok("task.claim", { workerId: "w" });
              const held = { taskId: id, workerId: "w", token: assignments[0]?.lease.token as number };
              if (how === "completed") await world.ok("task.complete", held);
              else
                await world.ok("task.fail", {
                  ...held,
                  error: "no",
                  ...(how === "failed" && { final: true }),
                });
            }
            const { finishedAt } = await world.task(id);
            model.push({ ...one, key, how, id, at: finishedAt as number });
          }
          await world.advance(2000);
          expect(world.engine.core.tasks.size).toBe(0);
          for (const { after, before, ...said } of filters) {
            const asked: Filter = { limit: said.limit };
            for (const field of ["queue", "type", "group", "state", "key", "label"] as const)
              if (said[field] !== undefined) Object.assign(asked, { [field]: said[field] });
            if (after !== undefined) asked.finishedAfter = start + after;
            if (before !== undefined) asked.finishedBefore = start + before;
            const wanted = model
              .filter(
                (one) =>
                  (said.queue === undefined || one.queue === said.queue) &&
                  (said.type === undefined || one.type === said.type) &&
                  (said.group === undefined || one.group === said.group) &&
                  (said.state === undefined || one.how === said.state) &&
                  (said.key === undefined || one.key === said.key) &&
                  (said.label === undefined ||
                    Object.entries(one.labels).some(
                      ([label, value]) => said.label === label || said.label === `${label}=${value}`,
                    )) &&
                  (after === undefined || one.at > start + after) &&
                  (before === undefined || one.at < start + before),
              )
              .sort((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1));
            expect((await all(world, asked)).map(({ id }) => id)).toEqual(wanted.map(({ id }) => id));
          }
        },
      ),
      { numRuns: 40 },
    );
  }, 60_000);
});
