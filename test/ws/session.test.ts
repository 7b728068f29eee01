/** One connection's side of the protocol, as docs/PROTOCOL.md has it: row by row, and attacked. */
import { describe, expect, test } from "bun:test";
import { limits } from "../../src/wire/limits.ts";
import { settle } from "../engine/world.ts";
import { type Line, SessionWorld } from "./world.ts";

const lives = async (line: Line) => {
  const [pong] = await line.frame({ op: "session.ping", seq: line.nextSeq });
  return line.closed === null && pong?.ok !== undefined;
};
const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

describe("session - what is malformed gets its named error, and the connection lives", () => {
  const rows: [name: string, text: string, seq: number | null, code: string][] = [
    ["no JSON", "{", null, "malformed-frame"],
    ["nothing", "", null, "malformed-frame"],
    ["a megabyte of letters", "a".repeat(1024 * 1024), null, "malformed-frame"],
    ["a number", "5", null, "malformed-frame"],
    ["null", "null", null, "malformed-frame"],
    ["a text", '"hello"', null, "malformed-frame"],
    ["an array of numbers", "[5]", null, "malformed-frame"],
    ["an array in an array", "[[]]", null, "malformed-frame"],
    ["no seq", '{"op":"session.ping"}', null, "malformed-frame"],
    ["seq zero", '{"op":"session.ping","seq":0}', null, "malformed-frame"],
    ["seq minus zero", '{"op":"session.ping","seq":-0}', null, "malformed-frame"],
    ["a negative seq", '{"op":"session.ping","seq":-1}', null, "malformed-frame"],
    ["a broken seq", '{"op":"session.ping","seq":1.5}', null, "malformed-frame"],
    ["a seq that is a text", '{"op":"session.ping","seq":"1"}', null, "malformed-frame"],
    ["a seq that is null", '{"op":"session.ping","seq":null}', null, "malformed-frame"],
    ["a seq beyond 2^53", '{"op":"session.ping","seq":9007199254740992}', null, "malformed-frame"],
    ["a seq beyond all", '{"op":"session.ping","seq":1e400}', null, "malformed-frame"],
    [
      "a fence on a ping",
      '{"op":"session.ping","seq":7,"if":{"lease":"1-0","token":1}}',
      7,
      "malformed-frame",
    ],
    ["a fence on a read", '{"op":"kv.list","seq":7,"if":{"lease":"1-0","token":1}}', 7, "malformed-frame"],
    ["a fence that is null", '{"op":"task.submit","seq":7,"if":null}', 7, "malformed-frame"],
    ["a fence of nothing", '{"op":"task.submit","seq":7,"if":{}}', 7, "malformed-frame"],
    [
      "a fence with more in it",
      '{"op":"task.submit","seq":7,"if":{"lease":"1-0","token":1,"key":"a"}}',
      7,
      "malformed-frame",
    ],
    ["an unknown field", '{"op":"session.ping","seq":7,"id":1}', 7, "malformed-frame"],
    ["a field __proto__", '{"op":"session.ping","seq":7,"__proto__":{"a":1}}', 7, "malformed-frame"],
    ["a huge field name", `{"op":"session.ping","seq":7,"${"k".repeat(2_000_000)}":1}`, 7, "malformed-frame"],
    ["a negative ackedThrough", '{"op":"session.ping","seq":7,"ackedThrough":-1}', 7, "malformed-frame"],
    ["a huge ackedThrough", '{"op":"session.ping","seq":7,"ackedThrough":1e300}', 7, "malformed-frame"],
    ["an unknown operation", '{"op":"task.explode","seq":7}', 7, "unknown-operation"],
    ["no operation", '{"seq":7}', 7, "unknown-operation"],
    ["an operation of every object", '{"op":"toString","seq":7}', 7, "unknown-operation"],
    ["__proto__ as an operation", '{"op":"__proto__","seq":7}', 7, "unknown-operation"],
    ["a deep operation", `{"op":${deep(500_000)},"seq":7}`, 7, "unknown-operation"],
    ["a huge operation", `{"op":"${"o".repeat(2_000_000)}","seq":7}`, 7, "unknown-operation"],
    ["an input that is a text", '{"op":"task.submit","seq":7,"input":"x"}', 7, "invalid-input"],
    ["a deep input", `{"op":"task.submit","seq":7,"input":${deep(500_000)}}`, 7, "invalid-input"],
    ["a deep name", `{"op":"task.submit","seq":7,"input":{"type":${deep(500_000)}}}`, 7, "invalid-input"],
    [
      "a deep name in a list",
      `{"op":"task.submit","seq":7,"input":{"type":"t","capabilities":[${deep(500_000)}]}}`,
      7,
      "invalid-input",
    ],
    [
      "deep labels",
      `{"op":"task.submit","seq":7,"input":{"type":"t","labels":{"a":${deep(500_000)}}}}`,
      7,
      "invalid-input",
    ],
    [
      "a deep payload",
      `{"op":"task.submit","seq":7,"input":{"type":"t","payload":${deep(500_000)}}}`,
      7,
      "payload-too-deep",
    ],
    [
      "a large payload",
      `{"op":"task.submit","seq":7,"input":{"type":"t","payload":"${"x".repeat(limits.payloadBytesMax)}"}}`,
      7,
      "payload-too-large",
    ],
    [
      "a deep filter",
      `{"op":"watch.start","seq":7,"input":{"watchId":${deep(500_000)}}}`,
      7,
      "invalid-input",
    ],
    [
      "deep tables",
      `{"op":"watch.start","seq":7,"input":{"watchId":"x","tables":[${deep(500_000)}]}}`,
      7,
      "invalid-input",
    ],
    ["an unknown field of the input", '{"op":"session.ping","seq":7,"input":{"a":1}}', 7, "invalid-input"],
    [
      "a credit for a stranger",
      '{"op":"worker.credit","seq":7,"input":{"workerId":"w","credit":1}}',
      7,
      "unknown-worker",
    ],
    [
      "a newline in a worker's id",
      '{"op":"worker.register","seq":7,"input":{"workerId":"a\\nb"}}',
      7,
      "invalid-input",
    ],
    [
      "a tab in a worker's id",
      '{"op":"worker.register","seq":7,"input":{"workerId":"a\\tb"}}',
      7,
      "invalid-input",
    ],
    [
      "a quote in a worker's id",
      '{"op":"worker.register","seq":7,"input":{"workerId":"a\\"b"}}',
      7,
      "invalid-input",
    ],
    [
      "a newline at the end of an id",
      '{"op":"worker.register","seq":7,"input":{"workerId":"a\\n"}}',
      7,
      "invalid-input",
    ],
    [
      "a quote in an instance",
      '{"op":"worker.register","seq":7,"input":{"workerId":"a","instanceId":"\\""}}',
      7,
      "invalid-input",
    ],
    [
      "a quote in a watch's id",
      '{"op":"watch.start","seq":7,"input":{"watchId":"a\\"b"}}',
      7,
      "invalid-input",
    ],
    [
      "a quote in a queue",
      '{"op":"task.submit","seq":7,"input":{"type":"t","queue":"a\\"b"}}',
      7,
      "invalid-input",
    ],
    [
      "constructor as a type",
      '{"op":"task.submit","seq":7,"input":{"type":"constructor"}}',
      7,
      "invalid-input",
    ],
  ];
  test.each(rows)("session - %s", async (_name, text, seq, code) => {
    const { greet, world } = await opened();
    const line = await greet();
    const [reply, ...rest] = await line.raw(text);
    expect(rest).toEqual([]);
    expect(reply).toMatchObject({
      seq,
      error: { code, status: expect.any(Number), hint: expect.any(String) },
    });
    // What was sent is not sent back by the megabyte.
    expect(JSON.stringify(reply).length).toBeLessThan(5000);
    expect(await lives(line)).toBe(true);
    world.sound();
  });

  test("session - too many messages are refused together, the most that are allowed are taken", async () => {
    const { greet } = await opened();
    const line = await greet();
    const many = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ op: "session.ping", seq: i + 10 }));
    const refused = await line.frame(...many(limits.operationsPerFrameMax + 1));
    expect(refused).toMatchObject([{ seq: null, error: { code: "malformed-frame" } }]);
    expect((await line.frame(...many(limits.operationsPerFrameMax))).length).toBe(
      limits.operationsPerFrameMax,
    );
    expect(await line.frame()).toEqual([]);
  });

  test("session - a frame's size is counted in bytes of UTF-8", async () => {
    const { greet } = await opened();
    const line = await greet();
    const fits = `{"op":"session.ping","seq":5}${" ".repeat(limits.frameBytesMax - 29)}`;
    expect(Buffer.byteLength(fits)).toBe(limits.frameBytesMax);
    expect(await line.raw(fits)).toMatchObject([{ seq: 5, ok: {} }]);
    expect(await line.raw(`${fits} `)).toMatchObject([{ seq: null, error: { code: "payload-too-large" } }]);
    const wide = `{"op":"session.ping","seq":6,"x":"${"漢".repeat(limits.frameBytesMax / 3)}"}`;
    expect(wide.length).toBeLessThan(limits.frameBytesMax);
    expect(await line.raw(wide)).toMatchObject([{ seq: null, error: { code: "payload-too-large" } }]);
    expect(await lives(line)).toBe(true);
  });

  test("session - a binary frame is refused", async () => {
    const { greet } = await opened();
    const line = await greet();
    line.session.receiveBinary();
    await settle();
    expect(line.messages.at(-1)).toMatchObject({ seq: null, error: { code: "malformed-frame" } });
    expect(await lives(line)).toBe(true);
  });

  test("session - one bad message does not stop those behind it", async () => {
    const { greet } = await opened();
    const line = await greet();
    const replies = await line.frame(
      { op: "task.submit", seq: 11, input: { type: "t" } },
      { op: "nonsense", seq: 12 },
      7,
      { op: "task.submit", seq: 14, input: { type: "t" } },
    );
    expect(replies.map(({ seq, ok }) => [seq, ok !== undefined])).toEqual([
      [11, true],
      [12, false],
      [null, false],
      [14, true],
    ]);
  });
});

/** A world, and its ways in. */
async function opened(options: Parameters<typeof SessionWorld.start>[0] = {}) {
  const it = await SessionWorld.start(options);
  return {
    it,
    world: it.world,
    connect: it.connect.bind(it),
    greet: it.greet.bind(it),
    worker: it.worker.bind(it),
  };
}

describe("session - the greeting", () => {
  test("session - any operation before it is refused, and it can still come", async () => {
    const { connect } = await opened();
    const line = connect();
    for (const op of ["task.submit", "session.ping", "worker.credit", "watch.start"] as const)
      expect((await line.ask(op)).error).toMatchObject({ code: "greeting-expected", status: 401 });
    expect((await line.ok("session.hello", { protocol: 1 })).session).toBe("made-1");
  });

  test("session - what was refused before it is answered before it closes", async () => {
    const { connect } = await opened({ token: "secret", held: true });
    const line = connect(false);
    await line.frame(
      { op: "task.submit", seq: 1, input: { type: "t" } },
      { op: "session.hello", seq: 2, input: { protocol: 1, token: "wrong" } },
      { op: "session.ping", seq: 3 },
    );
    expect(line.messages).toMatchObject([
      { seq: 1, error: { code: "greeting-expected" } },
      { seq: 2, error: { code: "unauthorized" } },
    ]);
    expect(line.closed?.code).toBe(4001);
    expect(line.frames.length).toBe(1);
  });

  test("session - a wrong token is told so even while the disk is slow", async () => {
    const { world, greet, connect } = await opened({ token: "secret", held: true });
    const busy = await greet();
    world.log.auto = false;
    await busy.ask("task.submit", { type: "t" });
    const line = connect(false);
    expect((await line.ask("session.hello", { protocol: 1, token: "wrong" })).error.code).toBe(
      "unauthorized",
    );
    expect(line.closed?.code).toBe(4001);
  });

  const refusals: [string, object, string][] = [
    ["another protocol", { protocol: 2 }, "unsupported-protocol"],
    ["no protocol", {}, "invalid-input"],
    ["another namespace", { protocol: 1, namespace: "other" }, "unknown-namespace"],
    ["a session with a quote", { protocol: 1, session: 'a"b' }, "invalid-input"],
    ["a session with a tab", { protocol: 1, session: "a\tb" }, "invalid-input"],
    ["a session with a newline", { protocol: 1, session: "a\n" }, "invalid-input"],
    ["an empty session", { protocol: 1, session: "" }, "invalid-input"],
    ["a session named __proto__", { protocol: 1, session: "__proto__" }, "invalid-input"],
    ["a session that is too long", { protocol: 1, session: "s".repeat(129) }, "invalid-input"],
  ];
  test.each(refusals)("session - %s is refused, and greeting again works", async (_name, input, code) => {
    const { connect } = await opened();
    const line = connect();
    expect((await line.ask("session.hello", input)).error.code).toBe(code);
    expect((await line.ask("session.ping")).error.code).toBe("greeting-expected");
    await line.ok("session.hello", { protocol: 1, session: "s" });
  });

  test("session - a token in the greeting lets in, one in the handshake is enough", async () => {
    const { connect } = await opened({ token: "secret" });
    await connect(false).ok("session.hello", { protocol: 1, token: "secret" });
    await connect(true).ok("session.hello", { protocol: 1 });
    const line = connect(false);
    expect((await line.ask("session.hello", { protocol: 1 })).error.code).toBe("unauthorized");
    expect(line.closed?.code).toBe(4001);
  });

  test("session - greeting again is answered again, another session on the same connection is refused", async () => {
    const { greet, it } = await opened();
    const line = await greet("one");
    expect((await line.ok("session.hello", { protocol: 1 })).session).toBe("one");
    expect((await line.ok("session.hello", { protocol: 1, session: "one" })).session).toBe("one");
    expect((await line.ask("session.hello", { protocol: 1, session: "two" })).error).toMatchObject({
      code: "invalid-input",
      errors: [{ pointer: "/session" }],
    });
    expect([...it.world.engine.sessions.keys()]).toEqual(["one"]);
    await line.cut();
    expect(it.world.engine.sessions.size).toBe(0);
  });
});

describe("session - operations that are repeated", () => {
  test("session - the same seq again gives the same answer, over connections", async () => {
    const { greet, world } = await opened();
    const message = { op: "task.submit", seq: 50, input: { type: "t" } };
    const first = await greet("s");
    const [one] = await first.frame(message);
    expect(await first.frame(message)).toEqual([one]);
    await first.cut();
    expect(await (await greet("s")).frame(message)).toEqual([one]);
    expect(world.engine.core.tasks.size).toBe(1);
  });

  test("session - one seq for two different operations is refused, and the second is not done", async () => {
    const { greet, world } = await opened();
    const line = await greet("s");
    const [one] = await line.frame({ op: "task.submit", seq: 50, input: { type: "t" } });
    const cancel = { op: "task.cancel", seq: 50, input: { taskId: one.ok.id } };
    expect(await line.frame(cancel)).toMatchObject([{ seq: 50, error: { code: "idempotency-key-reused" } }]);
    expect((await line.ok("task.get", { taskId: one.ok.id })).state).toBe("queued");
    world.sound();
  });

  test("session - the greatest seq is a seq like any other", async () => {
    const { greet, world } = await opened();
    const line = await greet("s");
    const message = { op: "task.submit", seq: Number.MAX_SAFE_INTEGER, input: { type: "t" } };
    const [one] = await line.frame(message);
    expect(await line.frame(message)).toEqual([one]);
    expect(world.engine.core.tasks.size).toBe(1);
  });

  test("session - an ackedThrough above the seq forgets what it names, and never does it twice", async () => {
    const { greet, world } = await opened();
    const line = await greet("s");
    const submit = (seq: number, ackedThrough?: number) => ({
      op: "task.submit",
      seq,
      input: { type: "t" },
      ...(ackedThrough === undefined ? {} : { ackedThrough }),
    });
    const [five] = await line.frame(submit(50, 1000));
    expect(five.ok.state).toBe("queued");
    await line.frame(submit(51));
    expect(await line.frame(submit(50))).toMatchObject([{ error: { code: "already-acknowledged" } }]);
    expect(world.engine.core.tasks.size).toBe(2);
    world.sound();
  });

  test("session - a refusal is not kept: the same seq is looked at anew", async () => {
    const { greet } = await opened();
    const line = await greet("s");
    const cancel = { op: "task.cancel", seq: 60, input: { taskId: "1001-0" } };
    expect(await line.frame(cancel)).toMatchObject([{ error: { code: "unknown-task" } }]);
    await line.frame({ op: "task.submit", seq: 59, input: { type: "t" } });
    expect(await line.frame(cancel)).toMatchObject([{ seq: 60, ok: { state: "cancelled" } }]);
  });
});

describe("session - one session has one connection", () => {
  test("session - a greeting takes it over: the older is closed with 4009", async () => {
    const { greet, it } = await opened();
    const old = await greet("s");
    const fresh = await greet("s");
    expect(old.closed?.code).toBe(4009);
    expect(fresh.closed).toBeNull();
    // The older one's end comes late, and changes nothing.
    await old.cut();
    expect(it.world.engine.sessions.get("s")).toBe(fresh.session);
    expect(await lives(fresh)).toBe(true);
  });

  test("session - frames that the older connection still delivers do nothing", async () => {
    const { greet, world } = await opened();
    const old = await greet("s");
    await greet("s");
    expect(await old.frame({ op: "task.submit", seq: 80, input: { type: "t" } })).toEqual([]);
    expect(world.engine.core.tasks.size).toBe(0);
  });

  test("session - waits of the older connection die with it", async () => {
    const { it, world, greet } = await opened();
    const old = await greet("s");
    await it.world.ok("worker.register", { workerId: "c" });
    await old.ask("task.claim", { workerId: "c", waitMs: 60_000 });
    await greet("s");
    const id = await world.submit();
    expect((await world.task(id)).state).toBe("queued");
    await world.advance(60_000);
    expect((await world.task(id)).state).toBe("queued");
  });

  test("session - waits of a connection that is cut die with it, all of them", async () => {
    const { it, world, greet } = await opened();
    const line = await greet("s");
    await it.world.ok("worker.register", { workerId: "c", capacity: 5 });
    const claim = { op: "task.claim", seq: 90, input: { workerId: "c", waitMs: 60_000 } };
    await line.frame(claim, claim, { ...claim, seq: 91 });
    await line.cut();
    const id = await world.submit();
    expect((await world.task(id)).state).toBe("queued");
  });
});

describe("session - workers", () => {
  test("session - pushes come behind the registration's answer, even in its frame", async () => {
    const { greet, world } = await opened({ held: true });
    const line = await greet();
    await world.submit();
    const [answer, push] = await line.frame({ op: "worker.register", seq: 10, input: { workerId: "w" } });
    expect(answer).toMatchObject({ seq: 10, ok: { worker: { id: "w" } } });
    expect(push).toMatchObject({ event: "task.assigned", lease: { workerId: "w" } });
  });

  test("session - credit in the same frame as the registration counts", async () => {
    const { greet, world } = await opened();
    const line = await greet();
    await world.submit();
    const replies = await line.frame(
      { op: "worker.register", seq: 10, input: { workerId: "w", capacity: 5 } },
      { op: "worker.credit", seq: 11, input: { workerId: "w", credit: 0 } },
    );
    expect(replies).toMatchObject([
      { seq: 10, ok: {} },
      { seq: 11, ok: { workerId: "w" } },
    ]);
    expect(line.events()).toEqual([]);
    await line.ok("worker.credit", { workerId: "w", credit: 1 });
    expect(line.events("task.assigned").length).toBe(1);
  });

  test("session - credit is what it holds at once, never more than its capacity", async () => {
    const { worker, world } = await opened();
    const line = await worker("w", { capacity: 3 });
    for (let i = 0; i < 10; i++) await world.submit();
    expect(line.events("task.assigned").length).toBe(3);
    await line.ok("worker.credit", { workerId: "w", credit: 5 });
    expect(line.events("task.assigned").length).toBe(3);
    await line.ok("worker.credit", { workerId: "w", credit: 2 });
    const [first, second] = line.events("task.assigned");
    const done = ({ task, lease }: { task: { id: string }; lease: { token: number } }) =>
      line.ok("task.complete", { taskId: task.id, workerId: "w", token: lease.token });
    await done(first);
    expect(line.events("task.assigned").length).toBe(3);
    await done(second);
    expect(line.events("task.assigned").length).toBe(4);
  });

  test("session - two workers on one connection get each their own, and go with it", async () => {
    const { worker, world } = await opened();
    const line = await worker("a", { queues: ["a"] });
    await line.ok("worker.register", { workerId: "b", queues: ["b"] });
    const [one, two] = [await world.submit({ queue: "a" }), await world.submit({ queue: "b" })];
    expect(line.events("task.assigned").map(({ task, lease }) => [task.id, lease.workerId])).toEqual([
      [one, "a"],
      [two, "b"],
    ]);
    await line.cut();
    const { workers } = await world.ok("worker.list", {});
    expect(workers.map(({ id, connected }) => [id, connected])).toEqual([
      ["a", false],
      ["b", false],
    ]);
  });

  test("session - any frame is a beat of all workers of the connection", async () => {
    const { worker, world } = await opened();
    const line = await worker("a");
    await line.ok("worker.register", { workerId: "b" });
    for (let i = 0; i < 5; i++) {
      await world.advance(20_000);
      await line.raw("not even JSON");
    }
    const { workers } = await world.ok("worker.list", {});
    expect(workers.map(({ state }) => state)).toEqual(["idle", "idle"]);
  });

  test("session - a worker registered twice on one connection is one worker; what it does not name goes back", async () => {
    const { worker, world } = await opened();
    const line = await worker("w", { capacity: 1 });
    const id = await world.submit();
    const [{ lease }] = line.events("task.assigned");
    const again = await line.ok("worker.register", { workerId: "w", capacity: 1 });
    expect(again).toMatchObject({ leases: [], lost: [] });
    // The task went back uncharged, and came again under a newer token.
    expect(await world.task(id)).toMatchObject({ state: "running", attempt: 1, interruptions: 0 });
    const second = line.events("task.assigned")[1];
    expect(second.lease.token).toBeGreaterThan(lease.token);
    const kept = await line.ok("worker.register", {
      workerId: "w",
      capacity: 1,
      holding: [{ taskId: id, token: second.lease.token }],
    });
    expect(kept.leases.length).toBe(1);
    expect(line.events("task.assigned").length).toBe(2);
  });

  test("session - two registrations in flight under one seq: the second is the repeated first", async () => {
    const { greet, world } = await opened({ held: true });
    const line = await greet();
    world.log.auto = false;
    await line.frame(
      { op: "worker.register", seq: 10, input: { workerId: "first" } },
      { op: "worker.register", seq: 10, input: { workerId: "second" } },
    );
    world.log.auto = true;
    world.log.complete();
    await settle();
    expect(line.messages.slice(1).map(({ ok }) => ok.worker.id)).toEqual(["first", "first"]);
    await world.submit();
    expect(line.events("task.assigned").length).toBe(1);
    expect(world.engine.core.workers.has("second")).toBe(false);
  });

  test("session - a closed connection detaches its worker, and nothing is pushed", async () => {
    const { worker, world } = await opened();
    const line = await worker("w");
    await line.cut();
    const id = await world.submit();
    expect((await world.task(id)).state).toBe("queued");
  });

  test("session - a worker on a new connection is not detached by the end of the old one", async () => {
    const { worker, world } = await opened();
    const old = await worker("w", {}, "s1");
    const fresh = await worker("w", {}, "s2");
    await old.cut();
    const id = await world.submit();
    expect(fresh.events("task.assigned")).toMatchObject([{ task: { id } }]);
    expect(old.events("task.assigned")).toEqual([]);
  });

  test("session - from the moment it registers elsewhere nothing goes to the old connection", async () => {
    const { worker, greet, world } = await opened({ held: true });
    const old = await worker("w", {}, "s1");
    const fresh = await greet("s2");
    world.log.auto = false;
    fresh.session.receive(JSON.stringify({ op: "worker.register", seq: 10, input: { workerId: "w" } }));
    await settle();
    // The registration is not durable yet when a task comes.
    old.session.receive(JSON.stringify({ op: "task.submit", seq: 10, input: { type: "t" } }));
    await settle();
    world.log.auto = true;
    world.log.complete();
    await settle();
    expect(old.events()).toEqual([]);
    expect(fresh.events("task.assigned").length).toBe(1);
  });

  test("session - the old connection can neither credit the worker nor keep it alive", async () => {
    const { worker, world } = await opened();
    const old = await worker("w", {}, "s1");
    await world.ok("worker.register", { workerId: "w" });
    expect((await old.ask("worker.credit", { workerId: "w", credit: 1 })).error.code).toBe("unknown-worker");
    for (let i = 0; i < 4; i++) {
      await world.advance(10_000);
      await old.ok("session.ping");
    }
    expect((await world.ok("worker.get", { workerId: "w" })).state).toBe("offline");
    expect(old.closed).toBeNull();
  });

  test("session - a worker that left is not this connection's any more", async () => {
    const { worker, world } = await opened();
    const line = await worker("w");
    await line.ok("worker.unregister", { workerId: "w" });
    expect((await line.ask("worker.credit", { workerId: "w", credit: 1 })).error.code).toBe("unknown-worker");
    // Another comes under its name, without a socket: what is assigned to it is its own affair.
    await world.ok("worker.register", { workerId: "w", instanceId: "other" });
    await world.ok("task.assign", { task: { type: "t" }, workerId: "w" });
    expect(line.events()).toEqual([]);
  });

  test("session - a repeated registration does not take pushes from the instance that came after", async () => {
    const { greet, world } = await opened();
    const line = await greet("s");
    const message = { op: "worker.register", seq: 10, input: { workerId: "w", instanceId: "one" } };
    await line.frame(message);
    await line.frame({ op: "worker.unregister", seq: 11, input: { workerId: "w" } });
    const other = await greet("t");
    await other.ok("worker.register", { workerId: "w", instanceId: "two" });
    await line.frame(message);
    await world.submit();
    expect(line.events()).toEqual([]);
    expect(other.events("task.assigned").length).toBe(1);
  });

  test("session - another instance under a live id is refused and changes nothing", async () => {
    const { worker, greet, world } = await opened();
    const line = await worker("w", { instanceId: "one" });
    const other = await greet();
    const reply = await other.ask("worker.register", { workerId: "w", instanceId: "two" });
    expect(reply.error).toMatchObject({ code: "worker-id-in-use", retryable: true });
    await world.submit();
    expect(line.events("task.assigned").length).toBe(1);
  });

  test("session - a worker that says nothing goes offline, and its connection is closed with 4010", async () => {
    const { worker, world } = await opened();
    const line = await worker("w");
    await world.advance(29_000);
    expect(line.closed).toBeNull();
    await world.advance(2000);
    expect(line.closed?.code).toBe(4010);
    expect((await world.ok("worker.get", { workerId: "w" })).state).toBe("offline");
  });

  test("session - what ended its attempts is told to a worker, with the reason", async () => {
    const { worker, world } = await opened();
    const line = await worker("w", { capacity: 3 });
    const late = await world.submit({ deadlineAt: world.clock.wallNow + 500 });
    const cancelled = await world.submit({ timeoutMs: 60_000 });
    const timesOut = await world.submit({ timeoutMs: 1000 });
    await world.ok("task.cancel", { taskId: cancelled, reason: "ordered twice" });
    await line.ok("session.ping");
    await world.advance(2000);
    expect(line.events("task.aborted")).toMatchObject([
      { taskId: cancelled, workerId: "w", reason: "cancelled", detail: "ordered twice" },
      { taskId: late, workerId: "w", reason: "timeout", detail: "it had not ended by its deadline" },
      { taskId: timesOut, workerId: "w", reason: "timeout" },
    ]);
  });

  test("session - closing a connection while its registration is on its way attaches nothing", async () => {
    const { greet, world } = await opened({ held: true });
    const line = await greet();
    world.log.auto = false;
    line.session.receive(JSON.stringify({ op: "worker.register", seq: 10, input: { workerId: "w" } }));
    await settle();
    await line.cut();
    world.log.auto = true;
    world.log.complete();
    await settle();
    expect((await world.ok("worker.get", { workerId: "w" })).connected).toBe(false);
  });

  test("session - on a full disk the worker stays where it was, refused here and served there", async () => {
    const { worker, greet, world } = await opened({ held: true });
    const old = await worker("w", {}, "s1");
    const fresh = await greet("s2");
    world.log.auto = false;
    const answer = fresh.ask("worker.register", { workerId: "w" });
    await settle();
    world.log.full();
    await answer;
    await settle();
    expect(fresh.messages.at(-1)).toMatchObject({ error: { code: "disk-full" } });
    world.log.auto = true;
    await world.advance(2000);
    await world.submit();
    expect(old.events("task.assigned").length).toBe(1);
    expect(fresh.events()).toEqual([]);
  });
});

describe("session - watching", () => {
  const big = "x".repeat(1_000_000);

  test("session - a watch begins with its answer, and one under its id replaces it", async () => {
    const { greet, world } = await opened();
    const line = await greet();
    const { revision } = await line.ok("watch.start", { watchId: "x", queue: "a" });
    expect(revision).toBe(world.engine.revision);
    await world.submit({ queue: "a" });
    await line.ok("watch.start", { watchId: "x", queue: "b" });
    await world.submit({ queue: "a" });
    await world.submit({ queue: "b" });
    expect(line.events("change").map(({ queue }) => queue)).toEqual(["a", "b"]);
    await line.ok("watch.stop", { watchId: "x" });
    await line.ok("watch.stop", { watchId: "x" });
    await world.submit({ queue: "b" });
    expect(line.events("change").length).toBe(2);
    expect(world.engine.counters.watchesOpen).toBe(0);
  });

  test("session - a connection has so many watches and no more, and one that is replaced counts once", async () => {
    const { greet, world } = await opened();
    const line = await greet();
    for (let n = 0; n < limits.watchesPerConnectionMax; n += 1000)
      await line.frame(
        ...Array.from({ length: 1000 }, (_, i) => ({
          ...{ op: "watch.start", seq: 100 + n + i },
          input: { watchId: `w${n + i}`, key: "a" },
        })),
      );
    const [more, again] = await line.frame(
      { op: "watch.start", seq: 20_000, input: { watchId: "more" } },
      { op: "watch.start", seq: 20_001, input: { watchId: "w0", queue: "a" } },
    );
    expect([more!.error.code, again!.ok.watchId]).toEqual(["busy", "w0"]);
    expect(world.engine.counters.watchesOpen).toBe(limits.watchesPerConnectionMax);
  });

  test("session - a connection's watches end with it", async () => {
    const { greet, world } = await opened();
    const line = await greet();
    await line.ok("watch.start", { watchId: "x" });
    await line.ok("watch.start", { watchId: "y" });
    await line.cut();
    expect(world.engine.counters.watchesOpen).toBe(0);
  });

  test("session - who reads too slowly gets one gap from the first missed revision to the last, then goes on", async () => {
    const { greet, world } = await opened();
    const line = await greet();
    await line.ok("watch.start", { watchId: "x" });
    await world.submit();
    line.buffered = limits.watchBufferBytesMax;
    const from = world.engine.revision + 1;
    for (let i = 0; i < 5; i++) await world.submit();
    const to = world.engine.revision;
    expect(line.events("change").length).toBe(1);
    // Answers still come.
    expect((await line.ask("state.get")).ok.revision).toBe(to);
    await line.drain();
    await world.submit();
    expect(line.events().map((event) => (event.event === "gap" ? event : event.revision))).toEqual([
      from - 1,
      { event: "gap", watchId: "x", from, to },
      to + 1,
    ]);
    expect(world.engine.counters.watchGaps).toBe(1);
  });

  test("session - how far a watch leads is told ahead of no gap, and makes none", async () => {
    const { greet, world } = await opened();
    const line = await greet();
    await line.ok("watch.start", { watchId: "x", queue: "a" });
    await world.submit({ queue: "b" });
    line.buffered = limits.watchBufferBytesMax;
    await world.clock.advance(5000);
    const place = world.engine.revision;
    expect(line.events()).toEqual([{ event: "place", watchId: "x", revision: place }]);
    await world.submit({ queue: "a" });
    await world.clock.advance(5000);
    await line.drain();
    expect(line.events().slice(1)).toEqual([{ event: "gap", watchId: "x", from: place + 1, to: place + 1 }]);
  });

  test("session - a socket that drains in parts gets one gap, not one a part", async () => {
    const { greet, world } = await opened();
    const line = await greet();
    await line.ok("watch.start", { watchId: "x" });
    line.buffered = limits.watchBufferBytesMax + 1_000_000;
    const from = world.engine.revision + 1;
    for (
      let left = limits.watchBufferBytesMax + 900_000;
      left > limits.watchBufferBytesMax;
      left -= 200_000
    ) {
      await world.submit();
      await line.drain(left);
    }
    await line.drain(0);
    expect(line.events("gap")).toEqual([{ event: "gap", watchId: "x", from, to: world.engine.revision }]);
  });

  test("session - each watch is told its own gap", async () => {
    const { greet, world } = await opened();
    const line = await greet();
    await line.ok("watch.start", { watchId: "a", queue: "a" });
    await line.ok("watch.start", { watchId: "b", queue: "b" });
    line.buffered = limits.watchBufferBytesMax;
    await world.submit({ queue: "a" });
    const first = world.engine.revision;
    await world.submit({ queue: "b" });
    await world.submit({ queue: "b" });
    await line.drain();
    expect(line.events("gap")).toEqual([
      { event: "gap", watchId: "a", from: first, to: first },
      { event: "gap", watchId: "b", from: first + 1, to: first + 2 },
    ]);
  });

  test("session - over the socket's budget the connection is closed with 4008", async () => {
    const { greet, world } = await opened();
    const line = await greet();
    const { id } = await line.ok("task.submit", { type: "t", payload: big });
    line.stuck = true;
    for (let i = 0; i < 20 && line.closed === null; i++) await line.ask("task.get", { taskId: id });
    expect(line.closed?.code).toBe(4008);
    expect(line.buffered).toBeLessThan(limits.socketBufferBytesMax + 2 * limits.payloadBytesMax);
    expect(world.engine.counters.socketsTooSlow).toBe(1);
  });

  test("session - a page of large tasks comes in parts that a socket takes", async () => {
    const { greet, world } = await opened();
    for (let i = 0; i < 20; i++) await world.submit({ payload: big });
    const line = await greet();
    line.stuck = true;
    const ids = new Set<string>();
    let cursor: string | undefined;
    do {
      const reply = await line.ask("task.list", { limit: 100, cursor });
      expect(line.closed).toBeNull();
      for (const { id } of reply.ok.tasks) ids.add(id);
      cursor = reply.ok.cursor ?? undefined;
      line.buffered = 0;
    } while (cursor !== undefined);
    expect(ids.size).toBe(20);
  });

  test("session - a claim of large tasks takes no more than a socket does", async () => {
    const { greet, world } = await opened();
    for (let i = 0; i < 20; i++) await world.submit({ payload: big });
    await world.ok("worker.register", { workerId: "c", capacity: 100 });
    const line = await greet();
    line.stuck = true;
    const taken: string[] = [];
    for (let i = 0; i < 20 && taken.length < 20; i++) {
      const { assignments } = await line.ok("task.claim", { workerId: "c", count: 100 });
      expect(line.closed).toBeNull();
      expect(assignments.length).toBeGreaterThan(0);
      taken.push(...assignments.map(({ task }: { task: { id: string } }) => task.id));
      line.buffered = 0;
    }
    expect(new Set(taken).size).toBe(20);
  });
});

describe("session - order and the disk", () => {
  test("session - answers keep the order of requests, and a frame's answers leave in one frame", async () => {
    const { greet } = await opened({ held: true });
    const line = await greet();
    const before = line.frames.length;
    const replies = await line.frame(
      { op: "task.submit", seq: 10, input: { type: "t" } },
      { op: "watch.start", seq: 11, input: { watchId: "x" } },
      { op: "state.get", seq: 12 },
      { op: "nonsense", seq: 13 },
      { op: "task.submit", seq: 14, input: { type: "t" } },
    );
    expect(replies.filter(({ event }) => event === undefined).map(({ seq }) => seq)).toEqual([
      10, 11, 12, 13, 14,
    ]);
    expect(line.frames.length).toBe(before + 1);
  });

  test("session - a ping is answered while the disk hangs, and nothing else is", async () => {
    const { greet, world } = await opened({ held: true });
    const line = await greet();
    world.log.auto = false;
    const replies = await line.frame(
      { op: "task.submit", seq: 10, input: { type: "t" } },
      { op: "session.ping", seq: 11 },
      { op: "state.get", seq: 12 },
    );
    expect(replies).toEqual([{ seq: 11, ok: { revision: world.engine.durableRevision } }]);
  });

  test("session - an end from this side first lets out what may leave", async () => {
    const { greet } = await opened();
    const line = await greet();
    line.session.end(1012, "the daemon is stopping");
    expect(line.closed).toEqual({ code: 1012, reason: "the daemon is stopping" });
    line.session.end(1012, "twice");
    line.session.closed();
    expect(await line.raw("{}")).toEqual([]);
  });
});
