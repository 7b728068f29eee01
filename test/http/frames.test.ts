/** Frames over HTTP, beside the WebSocket of the same engine: the same sessions, the same answers, one connection. */
import { describe, expect, test } from "bun:test";
import { createApp } from "../../src/http/app.ts";
import { createGuard } from "../../src/lib/guard.ts";
import { limits } from "../../src/wire/limits.ts";
import { settle } from "../engine/world.ts";
import { SessionWorld } from "../ws/world.ts";

// biome-ignore lint/suspicious/noExplicitAny: what came over the wire is looked at field by field.
type Json = any;
type Named = {
  session?: string;
  connection?: string;
  signal?: AbortSignal;
  headers?: Record<string, string>;
};

async function opened(options: { token?: string } = {}) {
  const it = await SessionWorld.start();
  const guard = createGuard({ token: options.token ?? null, ports: () => [80], allowOrigins: [] });
  const report = (error: unknown) => {
    throw error;
  };
  const app = createApp(it.world.engine, { guard, version: "0.0.0", report });
  /** Sends a frame; the response when it comes. */
  const send = async (frame: unknown, { session, connection, signal, headers = {} }: Named = {}) => {
    const all: Record<string, string> = { host: "127.0.0.1:80", "content-type": "application/json" };
    if (session !== undefined) all["cortex-session"] = session;
    if (connection !== undefined) all["cortex-connection"] = connection;
    const body = typeof frame === "string" ? frame : JSON.stringify(frame);
    const response = await app.handle(
      new Request("http://127.0.0.1:80/api/frames", {
        method: "POST",
        headers: { ...all, "content-length": String(Buffer.byteLength(body)), ...headers },
        body,
        ...(signal === undefined ? {} : { signal }),
      }),
    );
    return { status: response.status, body: (await response.json()) as Json };
  };
  /** The replies by seq. */
  const ask = async (frame: unknown, from: Named = { session: "s" }): Promise<Json> => {
    const { status, body } = await send(frame, from);
    expect({ status, body }).toMatchObject({ status: 200 });
    return Object.fromEntries(body.map((reply: Json) => [reply.seq, reply]));
  };
  const greet = (session: string, connection: string, ...more: unknown[]) =>
    ask([{ op: "session.hello", seq: 1, input: { protocol: 1, session } }, ...more], { session, connection });
  return { it, world: it.world, engine: it.world.engine, send, ask, greet };
}
/** What a promise has come to so far. */
async function soFar<T>(promise: Promise<T>): Promise<T | "nothing"> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
  return Promise.race([promise, Promise.resolve("nothing" as const)]);
}

const submit = (seq: number, more: object = {}) => ({
  op: "task.submit",
  seq,
  input: { queue: "q", type: "t" },
  ...more,
});
const register = (seq: number, more: object = {}) => ({
  op: "worker.register",
  seq,
  input: { workerId: "w", instanceId: "i", capacity: 4, ...more },
});
const claim = (seq: number, waitMs = 0, count = 1) => ({
  op: "task.claim",
  seq,
  input: { workerId: "w", count, waitMs },
});

describe("frames - as over the WebSocket", () => {
  test("frames - each operation of a frame is answered, a refused one does not stop those behind it", async () => {
    const { ask } = await opened();
    const replies = await ask([
      submit(1),
      { op: "task.get", seq: 2, input: { taskId: "1-0" } },
      { op: "no.such", seq: 3 },
      { op: "task.submit", seq: 4, input: { queue: 1 } },
      { op: "session.ping", seq: 5 },
      { op: "task.list", seq: 6, input: {}, more: 1 },
      submit(7),
      "nothing",
    ]);
    expect(replies).toMatchObject({
      1: { ok: { state: "queued" } },
      2: { error: { code: "unknown-task" } },
      3: { error: { code: "unknown-operation" } },
      4: { error: { code: "invalid-input" } },
      5: { ok: {} },
      6: { error: { code: "malformed-frame" } },
      7: { ok: { state: "queued" } },
      null: { error: { code: "malformed-frame" } },
    });
  });

  test("frames - one message is a frame, and an empty one is answered by an empty one", async () => {
    const { ask, send } = await opened();
    expect((await ask(submit(1)))[1].ok.state).toBe("queued");
    expect(await send([], { session: "s" })).toEqual({ status: 200, body: [] });
  });

  test("frames - a greeting is answered with the welcome of the session", async () => {
    const { greet, ask } = await opened();
    expect((await greet("s", "a"))[1].ok).toMatchObject({ protocol: 1, session: "s", heartbeatMs: 10_000 });
    const rows: [object, string][] = [
      [{ protocol: 2 }, "unsupported-protocol"],
      [{ protocol: 1, namespace: "other" }, "invalid-input"],
      [{ protocol: 1, session: "another" }, "invalid-input"],
    ];
    for (const [input, code] of rows)
      expect((await ask({ op: "session.hello", seq: 2, input }))[2].error.code).toBe(code);
  });

  test("frames - without a session nothing but a greeting that names one is carried out", async () => {
    const { ask, engine } = await opened();
    expect((await ask([submit(1)], {}))[1].error.code).toBe("greeting-expected");
    expect((await ask({ op: "session.hello", seq: 1, input: { protocol: 1 } }, {}))[1].error.code).toBe(
      "invalid-input",
    );
    expect(engine.counters.tasksSubmitted).toBe(0);
    const hello = { op: "session.hello", seq: 1, input: { protocol: 1, session: "s" } };
    expect((await ask([hello, submit(2)], {}))[2].ok.state).toBe("queued");
  });

  test.each([
    ["worker.credit", { workerId: "w", credit: 1 }],
    ["worker.acknowledge", { workerId: "w", token: 1 }],
    ["watch.start", { watchId: "w" }],
    ["watch.stop", { watchId: "w" }],
  ])("frames - %s needs a connection, and says so", async (op, input) => {
    const { greet } = await opened();
    const replies = await greet("s", "a", register(2), { op, seq: 3, input });
    expect(replies[3].error).toMatchObject({ code: "connection-needed", retryable: false });
  });

  test("frames - a frame over a limit is refused as a whole", async () => {
    const { ask, send, engine } = await opened();
    const many = Array.from({ length: limits.operationsPerFrameMax + 1 }, (_, i) => submit(i + 1));
    expect((await ask(many)).null.error.code).toBe("malformed-frame");
    const large = JSON.stringify([
      submit(1, { input: { type: "t", payload: "x".repeat(limits.frameBytesMax) } }),
    ]);
    expect(await send(large, { session: "s" })).toMatchObject({
      status: 413,
      body: { code: "payload-too-large" },
    });
    expect(await send(large, { session: "s", headers: { "content-length": "" } })).toMatchObject({
      status: 413,
    });
    expect(await send("[", { session: "s" })).toMatchObject({
      status: 400,
      body: { code: "malformed-frame" },
    });
    expect(await send([], { session: "no name" })).toMatchObject({
      status: 422,
      body: { errors: [{ pointer: "/cortex-session" }] },
    });
    expect(engine.counters.tasksSubmitted).toBe(0);
  });

  test("frames - without a valid token nothing is carried out", async () => {
    const { send, engine } = await opened({ token: "secret" });
    const hello = { op: "session.hello", seq: 1, input: { protocol: 1, session: "s", token: "secret" } };
    expect(await send([hello, submit(2)])).toMatchObject({ status: 401, body: { code: "unauthorized" } });
    const headers = { authorization: "Bearer secret" };
    expect(await send([submit(2)], { session: "s", headers })).toMatchObject({ status: 200 });
    expect(engine.counters.tasksSubmitted).toBe(1);
  });
});

describe("frames - one session over both transports", () => {
  test("frames - a mutation whose answer was lost on one gets its first answer on the other", async () => {
    const { it, ask, engine } = await opened();
    const line = await it.greet("s");
    const [over] = await line.frame(submit(7));
    expect((await ask([submit(7)]))[7]).toEqual(over);
    const again = (await ask([submit(8)]))[8];
    expect((await line.frame(submit(8)))[0]).toEqual(again);
    expect(engine.counters.tasksSubmitted).toBe(2);
  });

  test("frames - what is acknowledged on one is refused on the other", async () => {
    const { it, ask } = await opened();
    const line = await it.greet("s");
    await line.frame(submit(7));
    await ask([submit(8, { ackedThrough: 7 })]);
    expect((await line.frame(submit(7)))[0].error.code).toBe("already-acknowledged");
  });

  test("frames - a greeting over HTTP ends the socket, and what it still delivers does nothing", async () => {
    const { it, greet, engine } = await opened();
    const line = await it.greet("s");
    await greet("s", "a");
    expect(line.closed?.code).toBe(4009);
    await line.frame(submit(9));
    expect(engine.counters.tasksSubmitted).toBe(0);
  });

  test("frames - a greeting over the WebSocket ends the connection, and what still arrives of it does nothing", async () => {
    const { it, greet, send, engine } = await opened();
    await greet("s", "a", register(2));
    await it.greet("s");
    for (const frame of [[submit(9)], [claim(10)]])
      expect(await send(frame, { session: "s", connection: "a" })).toMatchObject({
        status: 401,
        body: { code: "greeting-expected" },
      });
    expect(engine.counters.tasksSubmitted).toBe(0);
    // A frame that names no connection stands alone.
    expect(await send([submit(9)], { session: "s" })).toMatchObject({ status: 200 });
  });

  test("frames - a second connection over HTTP ends the first", async () => {
    const { greet, send } = await opened();
    await greet("s", "a");
    await greet("s", "b");
    expect((await send([submit(2)], { session: "s", connection: "a" })).status).toBe(401);
    expect((await send([submit(2)], { session: "s", connection: "b" })).status).toBe(200);
  });

  test("frames - a greeting that is refused ends nothing", async () => {
    const { it, send } = await opened();
    const line = await it.greet("s");
    const hello = { op: "session.hello", seq: 1, input: { protocol: 2 } };
    expect(await send([hello, submit(2)], { session: "s", connection: "a" })).toMatchObject({
      status: 400,
      body: { code: "unsupported-protocol" },
    });
    expect(line.closed).toBeNull();
  });

  test("frames - a connection on which nothing came for a minute has to greet again", async () => {
    const { world, engine, greet, send } = await opened();
    await greet("s", "a");
    await world.advance(50_000);
    expect((await send([], { session: "s", connection: "a" })).status).toBe(200);
    await world.advance(50_000);
    expect((await send([], { session: "s", connection: "a" })).status).toBe(200);
    await world.advance(61_000);
    expect((await send([], { session: "s", connection: "a" })).status).toBe(401);
    expect(engine.sessions.size).toBe(0);
  });
});

describe("frames - workers", () => {
  test("frames - a worker that registers over HTTP is taken from its socket, keeps what it names, and claims", async () => {
    const { it, world, engine, greet, ask } = await opened();
    const line = await it.greet("other");
    const first = await world.submit({ queue: "q" });
    const lost = await world.submit({ queue: "q" });
    await line.ok("worker.register", { workerId: "w", instanceId: "i", capacity: 2 });
    await settle();
    const [held] = line.events("task.assigned");
    const named = [{ taskId: first, token: held.lease.token }];
    const replies = await greet("s", "a", register(2, { holding: named }));
    expect(replies[2].ok).toMatchObject({ lost: [] });
    expect(replies[2].ok.leases.map(({ task }: Json) => task.id)).toEqual([first]);
    await settle();
    expect(line.events("task.assigned").length).toBe(2);
    expect(await world.task(lost)).toMatchObject({ state: "queued", interruptions: 0 });
    const { assignments } = (await ask([claim(3, 0, 4)], { session: "s", connection: "a" }))[3].ok;
    expect(assignments.map(({ task }: Json) => task.id)).toEqual([lost]);
    expect(engine.isAttached("w", line.session)).toBe(false);
    expect(await world.ok("worker.get", { workerId: "w" })).toMatchObject({ connected: false, running: 2 });
  });

  test("frames - a claim that waits is answered when a task comes", async () => {
    const { world, greet, ask } = await opened();
    await greet("s", "a", register(2));
    const waiting = ask([claim(3, 25_000)], { session: "s", connection: "a" });
    expect(await soFar(waiting)).toBe("nothing");
    const id = await world.submit({ queue: "q" });
    expect((await waiting)[3].ok.assignments[0].task.id).toBe(id);
  });

  test("frames - a claim that waits takes nothing once its request is gone", async () => {
    const { world, greet, send } = await opened();
    await greet("s", "a", register(2));
    const gone = new AbortController();
    const waiting = send([claim(3, 25_000)], { session: "s", connection: "a", signal: gone.signal });
    waiting.catch(() => {});
    expect(await soFar(waiting)).toBe("nothing");
    gone.abort();
    const id = await world.submit({ queue: "q" });
    expect(await world.task(id)).toMatchObject({ state: "queued" });
  });

  test("frames - a claim that waits takes nothing once the session has another connection", async () => {
    const { it, world, greet, send } = await opened();
    await greet("s", "a", register(2));
    const waiting = send([claim(3, 25_000)], { session: "s", connection: "a" });
    expect(await soFar(waiting)).toBe("nothing");
    await it.greet("s");
    expect((await waiting).status).toBe(401);
    const id = await world.submit({ queue: "q" });
    expect(await world.task(id)).toMatchObject({ state: "queued" });
  });

  test("frames - the waits of a frame end together, as things then stand", async () => {
    const { world, ask } = await opened();
    const ids = [await world.submit({ queue: "q" }), await world.submit({ queue: "q" })];
    const waits = ids.map((taskId, i) => ({ op: "task.get", seq: i + 1, input: { taskId, waitMs: 60_000 } }));
    const waiting = ask(waits);
    expect(await soFar(waiting)).toBe("nothing");
    await world.ok("task.cancel", { taskId: ids[1] as string });
    const replies = await waiting;
    expect([replies[1].ok.state, replies[2].ok.state]).toEqual(["queued", "cancelled"]);
  });
});
