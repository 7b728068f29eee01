/** What docs/PROTOCOL.md says of the corners of the protocol: a row for each that has none elsewhere. */
import { describe, expect, test } from "bun:test";
import { limits } from "../../src/wire/limits.ts";
import { type Line, SessionWorld } from "./world.ts";

const submit = (seq: number, more: object = {}) => ({
  op: "task.submit",
  seq,
  input: { type: "t" },
  ...more,
});
const register = (seq: number, more: object = {}) => ({
  op: "worker.register",
  seq,
  input: { workerId: "w", ...more },
});
/** A world, and its ways in. */
async function opened() {
  const it = await SessionWorld.start();
  return { world: it.world, greet: it.greet.bind(it), worker: it.worker.bind(it) };
}

const acknowledged = [{ error: { code: "already-acknowledged" } }];

describe("session - numbers of operations", () => {
  test("session - a registration under a higher seq goes ahead of the repeats, which are done once all the same", async () => {
    const { greet, world } = await opened();
    const old = await greet("s");
    const [first] = await old.frame(submit(100));
    await old.cut();
    const line = await greet("s");
    // 100 was carried out and its answer lost; 101 and 102 never arrived.
    const [registered, ...repeats] = await line.frame(
      { ...register(103), ackedThrough: 99 },
      submit(100),
      submit(101),
      submit(102),
    );
    expect(registered).toMatchObject({ seq: 103, ok: { worker: { id: "w" } } });
    expect(repeats.filter(({ event }) => event === undefined)).toMatchObject([
      first,
      { seq: 101, ok: { duplicate: false } },
      { seq: 102, ok: { duplicate: false } },
    ]);
    expect(world.engine.core.tasks.size).toBe(3);
    world.sound();
  });

  test("session - seqs need not arrive in order, only be unique", async () => {
    const { greet, world } = await opened();
    const line = await greet("s");
    const seqs = [105, 103, 104, 101];
    const replies = await line.frame(...seqs.map((seq) => submit(seq)));
    expect(replies.map(({ seq, ok }) => [seq, ok?.state])).toEqual(seqs.map((seq) => [seq, "queued"]));
    expect(await line.frame(...seqs.map((seq) => submit(seq)))).toEqual(replies);
    expect(world.engine.core.tasks.size).toBe(seqs.length);
  });

  test("session - a seq used again for another input gets the first answer, and the input is not looked at", async () => {
    const { greet, world } = await opened();
    const line = await greet("s");
    const [first] = await line.frame(submit(100, { input: { type: "t", queue: "a" } }));
    expect(await line.frame(submit(100, { input: { type: "t", queue: "b" } }))).toEqual([first]);
    expect((await line.ok("task.list")).tasks).toMatchObject([{ id: first.ok.id, queue: "a" }]);
    world.sound();
  });

  test("session - a mutation that changed nothing is looked at anew when it is repeated", async () => {
    const { greet, world } = await opened();
    const line = await greet("s");
    await world.ok("worker.register", { workerId: "w" });
    const claim = { op: "task.claim", seq: 100, input: { workerId: "w" } };
    expect(await line.frame(claim)).toEqual([{ seq: 100, ok: { assignments: [] } }]);
    const id = await world.submit();
    expect(await line.frame(claim)).toMatchObject([{ seq: 100, ok: { assignments: [{ task: { id } }] } }]);
  });
});

describe("session - ackedThrough", () => {
  test("session - it may pass a registration whose answer never came", async () => {
    const { greet, world } = await opened();
    const old = await greet("s");
    old.session.receive(JSON.stringify([register(100)]));
    await old.cut();
    const line = await greet("s");
    await line.frame(register(101));
    expect(await line.frame(submit(102, { ackedThrough: 101 }))).toMatchObject([
      { seq: 102, ok: { state: "queued" } },
      { event: "task.assigned", lease: { workerId: "w" } },
    ]);
    world.sound();
  });

  test.each([
    ["a ping", { op: "session.ping", seq: 102, ackedThrough: 101 }],
    ["a read", { op: "state.get", seq: 102, ackedThrough: 101 }],
  ])("session - said in %s, it takes effect with the next mutation", async (_name, message) => {
    const { greet } = await opened();
    const line = await greet("s");
    const [first] = await line.frame(submit(100));
    await line.frame(submit(101));
    await line.frame(message);
    expect(await line.frame(submit(100))).toEqual([first]);
    await line.frame(submit(103));
    expect(await line.frame(submit(100))).toMatchObject(acknowledged);
  });

  test("session - said in a ping alone, it is lost with the connection", async () => {
    const { greet } = await opened();
    const old = await greet("s");
    const [first] = await old.frame(submit(100));
    await old.frame({ op: "session.ping", seq: 101, ackedThrough: 100 });
    await old.cut();
    const line = await greet("s");
    await line.frame(submit(102));
    expect(await line.frame(submit(100))).toEqual([first]);
  });

  test("session - a seq at or below it that was never used is refused too", async () => {
    const { greet, world } = await opened();
    const line = await greet("s");
    await line.frame(submit(105, { ackedThrough: 103 }));
    for (const seq of [101, 103]) expect(await line.frame(submit(seq))).toMatchObject(acknowledged);
    expect(await line.frame(submit(104))).toMatchObject([{ ok: { state: "queued" } }]);
    expect(world.engine.core.tasks.size).toBe(2);
  });
});

describe("session - frames and values", () => {
  test("session - an empty frame gets no reply and is a beat", async () => {
    const { worker, world } = await opened();
    const line = await worker("w");
    for (let i = 0; i < 3; i++) {
      await world.advance(20_000);
      expect(await line.raw("[]")).toEqual([]);
    }
    expect((await world.ok("worker.get", { workerId: "w" })).state).toBe("idle");
  });

  test("session - an input that is null is the default, for operations of every kind", async () => {
    const { greet } = await opened();
    const line = await greet();
    for (const op of ["session.ping", "state.get"])
      expect(await line.frame({ op, seq: 100, input: null })).toMatchObject([{ seq: 100, ok: {} }]);
    expect(await line.frame({ op: "task.submit", seq: 100, input: null })).toMatchObject([
      { error: { code: "invalid-input" } },
    ]);
  });

  test("session - a second greeting changes nothing: worker, watch and answers stay", async () => {
    const { worker, world } = await opened();
    const line = await worker("w", {}, "s");
    await line.ok("watch.start", { watchId: "x", tables: ["tasks"] });
    await line.frame(submit(100));
    const first = line.reply(100);
    expect((await line.ok("session.hello", { protocol: 1, session: "s" })).session).toBe("s");
    expect(await line.frame(submit(100))).toEqual([first]);
    await world.ok("task.cancel", { taskId: first.ok.id });
    await world.submit();
    expect(line.events("task.assigned").length).toBe(2);
    expect(line.events("change").at(-1)).toMatchObject({ watchId: "x", state: "running" });
    expect(line.closed).toBeNull();
  });

  test("session - numbers are doubles: what is no double changes, its string does not, the last of a name counts", async () => {
    const { greet } = await opened();
    const line = await greet();
    const payload =
      '{"long":12345678901234567890,"text":"12345678901234567890","huge":1e400,"twice":1,"twice":2}';
    const [{ ok }] = await line.raw(
      `{"op":"task.submit","seq":100,"input":{"type":"t","payload":${payload}}}`,
    );
    line.messages.length = 0;
    await line.ok("task.get", { taskId: ok.id });
    expect(line.frames.at(-1)).toContain(
      '"payload":{"long":12345678901234567000,"text":"12345678901234567890","huge":null,"twice":2}',
    );
  });
});

describe("session - a worker that is pushed tasks and claims", () => {
  const assigned = (line: Line) => line.events("task.assigned").map(({ task }) => task.id);

  test("session - both count towards its capacity, and a claim tells of a task once", async () => {
    const { worker, world } = await opened();
    const line = await worker("w", { capacity: 3 });
    await line.ok("worker.credit", { workerId: "w", credit: 1 });
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push(await world.submit());
    expect(assigned(line)).toEqual([ids[0]!]);
    // The credit is used up; a claim goes up to the capacity.
    const { assignments } = await line.ok("task.claim", { workerId: "w", count: 10 });
    expect(assignments.map(({ task }: { task: { id: string } }) => task.id)).toEqual([ids[1], ids[2]]);
    expect(assigned(line)).toEqual([ids[0]!]);
    expect((await line.ask("task.claim", { workerId: "w" })).error.code).toBe("worker-unavailable");
    await line.ok("worker.credit", { workerId: "w", credit: 3 });
    expect(assigned(line)).toEqual([ids[0]!]);
    world.sound();
  });

  test("session - a claim that waits takes what comes, and nothing is pushed beside it", async () => {
    const { worker, world } = await opened();
    const line = await worker("w", { capacity: 2 });
    const seq = line.nextSeq;
    await line.frame({ op: "task.claim", seq, input: { workerId: "w", waitMs: 60_000 } });
    expect(line.reply(seq)).toBeUndefined();
    const [one, two] = [await world.submit(), await world.submit()];
    expect(line.reply(seq).ok.assignments).toMatchObject([{ task: { id: one } }]);
    expect(assigned(line)).toEqual([two]);
  });

  test("session - without credit a claim does not wait", async () => {
    const { worker } = await opened();
    const line = await worker("w", { capacity: 2 });
    await line.ok("worker.credit", { workerId: "w", credit: 0 });
    expect(await line.ok("task.claim", { workerId: "w", waitMs: 60_000 })).toEqual({ assignments: [] });
  });

  test("session - the end of a claimed lease is told as an event", async () => {
    const { worker, world } = await opened();
    const line = await worker("w");
    await line.ok("worker.credit", { workerId: "w", credit: 0 });
    const taskId = await world.submit();
    const { assignments } = await line.ok("task.claim", { workerId: "w" });
    await world.ok("task.cancel", { taskId });
    const { token } = assignments[0].lease;
    expect(line.events()).toMatchObject([{ event: "task.aborted", taskId, token, reason: "cancelled" }]);
  });

  test("session - task.assign by name looks at the capacity alone", async () => {
    const { worker, world } = await opened();
    const line = await worker("w", { capacity: 1 });
    await line.ok("worker.credit", { workerId: "w", credit: 0 });
    const { task } = await world.ok("task.assign", { task: { type: "t" }, workerId: "w" });
    expect(assigned(line)).toEqual([task.id]);
    const more = { task: { type: "t" }, workerId: "w" };
    await world.refused("task.assign", more, "worker-unavailable");
  });
});

test("session - a worker whose socket does not take what was pushed gets no more until it has, others do", async () => {
  const { worker, world } = await opened();
  const slow = await worker("slow", { capacity: 100 });
  slow.stuck = true;
  const payload = "x".repeat(limits.payloadBytesMax - 2);
  for (let i = 0; i < 10; i++) await world.submit({ payload });
  const taken = slow.events("task.assigned").length;
  // The push that goes over the budget is the last.
  expect(taken).toBeGreaterThanOrEqual(Math.floor(limits.pushBufferBytesMax / limits.payloadBytesMax));
  expect(slow.buffered).toBeLessThan(limits.pushBufferBytesMax + limits.payloadBytesMax + 10_000);
  const quick = await worker("quick", { capacity: 1 });
  expect(quick.events("task.assigned").length).toBe(1);
  slow.stuck = false;
  await slow.drain();
  expect(slow.events("task.assigned").length).toBe(10 - 1);
  world.sound();
});
