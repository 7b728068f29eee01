/** What the session promises about frames, repetition, acknowledgement and dead lines. */
import { expect, test } from "bun:test";
import { ClientError, CoordinationClient, CortexError, limits } from "../../client/index.ts";
import { FakeDaemon, settle, World } from "./world.ts";

async function connected(options: { draws?: number[] } = {}) {
  const world = new World();
  world.draws = options.draws ?? [];
  const daemon = new FakeDaemon();
  const client = new CoordinationClient({ transport: daemon, environment: world, url: "ws://fake" });
  await client.connect();
  return { world, daemon, client };
}

const task = { type: "t" };
const code = (error: unknown) => (error as { code: string }).code;
const refusal = (promise: PromiseLike<unknown>) =>
  promise.then(
    () => "fulfilled",
    (error: unknown) => code(error),
  );

test("connection - operations of one turn leave in one frame", async () => {
  const { daemon, client } = await connected();
  const before = daemon.line.frames.length;
  const answers = await Promise.all([client.submit(task), client.submit(task), client.submit(task)]);
  expect(daemon.line.frames.length - before).toBe(1);
  expect(daemon.line.work.map(({ op }) => op)).toEqual(["task.submit", "task.submit", "task.submit"]);
  expect(new Set(answers.map(({ id }) => id)).size).toBe(3);
});

test("connection - callers woken by one frame share the next one, whatever they await", async () => {
  const { daemon, client } = await connected();
  const plain = async () => {
    await client.submit(task);
    await client.submit(task);
  };
  const deep = async () => {
    await (async () => (await client.submit(task)).id)();
    await client.submit(task);
  };
  const before = daemon.line.frames.length;
  await Promise.all([plain(), deep(), plain()]);
  expect(daemon.line.frames.length - before).toBe(2);
});

test("connection - a frame holds no more operations than the daemon takes", async () => {
  const { daemon, client } = await connected();
  const before = daemon.line.frames.length;
  await Promise.all(Array.from({ length: limits.operationsPerFrameMax * 2 + 1 }, () => client.submit(task)));
  const sizes = daemon.line.frames.slice(before).map((frame) => JSON.parse(frame).length);
  expect(sizes).toEqual([limits.operationsPerFrameMax, limits.operationsPerFrameMax, 1]);
});

test("connection - a frame stays below its bytes, in letters of three bytes too", async () => {
  const { daemon, client } = await connected();
  const payload = "語".repeat(300_000);
  await Promise.all(Array.from({ length: 9 }, () => client.submit({ ...task, payload })));
  const sizes = daemon.line.frames.map((frame) => Buffer.byteLength(frame));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(limits.frameBytesMax);
  expect(daemon.line.work.length).toBe(9);
});

test("connection - what no frame can hold is refused here, and the connection lives", async () => {
  const { daemon, client } = await connected();
  const big = client.submit({ ...task, payload: "x".repeat(limits.frameBytesMax) });
  expect(await refusal(big)).toBe("payload-too-large");
  expect(await refusal(client.submit(task))).toBe("fulfilled");
  expect(daemon.lines.length).toBe(1);
});

test("connection - what is no JSON is refused and uses no seq", async () => {
  const { daemon, client } = await connected();
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  await expect(client.submit({ ...task, payload: circle }).result()).rejects.toThrow(TypeError);
  await client.submit(task);
  expect(daemon.line.work.map(({ seq }) => seq)).toEqual([2]);
});

test("connection - the session's id and the numbering outlive the connection", async () => {
  const { world, daemon, client } = await connected();
  await client.submit(task);
  daemon.line.break();
  await world.advance(100);
  await client.submit(task);
  const hellos = daemon.lines.map((line) => line.ops("session.hello")[0]?.input as { session: string });
  expect(hellos.map(({ session }) => session)).toEqual([client.session, client.session]);
  expect(client.session).toMatch(/^[0-9a-f]{32}$/);
  const seqs = daemon.lines.flatMap((line) => line.received.map(({ seq }) => seq));
  expect(seqs).toEqual([1, 2, 3, 4]);
});

test("connection - what was not answered is sent again after the welcome, in the order of seq", async () => {
  const { world, daemon, client } = await connected();
  const answered: string[] = [];
  // The daemon answers the second of three and then the line breaks.
  daemon.script["task.submit"] = ({ seq }) =>
    seq === 3 ? { ok: { id: "3-0", state: "queued", duplicate: false } } : "silent";
  for (const name of ["a", "b", "c"])
    void client.submit({ ...task, payload: name }).then(() => answered.push(name));
  await settle();
  expect(answered).toEqual(["b"]);
  daemon.line.break();
  void client.submit({ ...task, payload: "d" }).then(() => answered.push("d"));
  daemon.script = {};
  await world.advance(100);
  const again = daemon.line.work.map(({ seq, input }) => [seq, (input as { payload: string }).payload]);
  expect(again).toEqual([
    [2, "a"],
    [4, "c"],
    [5, "d"],
  ]);
  expect(daemon.line.received[0]?.op).toBe("session.hello");
  expect(answered).toEqual(["b", "a", "c", "d"]);
});

test("connection - ackedThrough never passes a mutation without its answer", async () => {
  const { world, daemon, client } = await connected();
  const silent = new Set([3]);
  daemon.script["task.submit"] = ({ seq }) =>
    silent.has(seq) ? "silent" : { ok: { id: "1-0", state: "queued", duplicate: false } };
  void client.submit(task); // 2
  void client.submit(task); // 3: no answer
  void client.submit(task); // 4
  await settle();
  void client.submit(task); // 5 says: through 2
  await settle();
  expect(daemon.line.work.at(-1)).toMatchObject({ seq: 5, ackedThrough: 2 });
  daemon.line.say({ seq: 3, ok: { id: "1-0", state: "queued", duplicate: false } });
  await settle();
  void client.submit(task); // 6 says: through 5
  await settle();
  expect(daemon.line.work.at(-1)).toMatchObject({ seq: 6, ackedThrough: 5 });
  // On a new connection it is said again, whatever the last one heard; the greeting there was 7.
  daemon.line.break();
  await world.advance(100);
  void client.submit(task); // 8
  await settle();
  expect(daemon.line.work.at(-1)).toMatchObject({ seq: 8, ackedThrough: 7 });
});

test("connection - a read that waits holds back no acknowledgement", async () => {
  const { daemon, client } = await connected();
  void client.task("1-0").result(); // 2: waits
  await client.submit(task); // 3
  await client.submit(task); // 4
  expect(daemon.line.work.at(-1)).toMatchObject({ seq: 4, ackedThrough: 3 });
});

test("connection - a mutation never says that its own answer arrived", async () => {
  const { world, daemon, client } = await connected();
  for (let i = 0; i < 20; i++) {
    await Promise.all([client.submit(task), client.submit(task)]);
    if (i === 10) {
      daemon.line.break();
      await world.advance(100);
    }
  }
  const said = daemon.lines.flatMap((line) => line.received).filter((message) => message.ackedThrough);
  expect(said.length).toBeGreaterThan(15);
  for (const { seq, ackedThrough } of said) expect(ackedThrough).toBeLessThan(seq);
});

test("connection - no more mutations are under way than answers are kept", async () => {
  const { daemon, client } = await connected();
  daemon.script["task.submit"] = () => "silent";
  const extra = 50;
  for (let i = 0; i < limits.answersPerSessionMax + extra; i++) void client.submit(task);
  await settle();
  expect(daemon.line.work.length).toBe(limits.answersPerSessionMax);
  const first = daemon.line.work[0]?.seq as number;
  // An answer in the middle makes no room: the oldest one could be the one that is let go of.
  daemon.line.say({ seq: first + 1, ok: {} });
  await settle();
  expect(daemon.line.work.length).toBe(limits.answersPerSessionMax);
  daemon.line.say({ seq: first, ok: {} });
  await settle();
  expect(daemon.line.work.length).toBe(limits.answersPerSessionMax + 2);
});

test("connection - a full socket holds back what is left until it has drained", async () => {
  const { world, daemon, client } = await connected();
  daemon.line.bufferedBytes = 9 * 1024 * 1024;
  void client.submit(task);
  await world.advance(50);
  expect(daemon.line.work.length).toBe(0);
  daemon.line.bufferedBytes = 0;
  await world.advance(10);
  expect(daemon.line.work.length).toBe(1);
});

test("connection - reconnects wait by full jitter under a ceiling that doubles", async () => {
  const { world, daemon, client } = await connected();
  const waits: number[] = [];
  client.on("reconnecting", ({ delayMs }) => waits.push(delayMs));
  world.draws = [0.999, 0.999, 0.25, 0, 0.5, 0.999, 0.999, 0.999, 0.999];
  daemon.down = true;
  daemon.line.break();
  await world.advance(60_000);
  expect(waits.slice(0, 9).map(Math.round)).toEqual([100, 200, 100, 0, 800, 3197, 6394, 9990, 9990]);
});

test("connection - a connection that does not hold does not reset the wait, one that holds does", async () => {
  const { world, daemon, client } = await connected({ draws: [] });
  const attempts: number[] = [];
  client.on("reconnecting", ({ attempt }) => attempts.push(attempt));
  for (let i = 0; i < 3; i++) {
    daemon.line.break();
    while (client.state !== "connected") await world.advance(10);
  }
  expect(attempts).toEqual([1, 2, 3]);
  await world.advance(5000);
  daemon.line.break();
  expect(attempts).toEqual([1, 2, 3, 1]);
});

test("connection - state events tell each step once", async () => {
  const { world, daemon, client } = await connected();
  const told: string[] = [];
  for (const event of ["connected", "disconnected", "reconnecting", "closed"] as const)
    client.on(event, () => told.push(event));
  daemon.line.break();
  await world.advance(100);
  client.close();
  expect(told).toEqual(["disconnected", "reconnecting", "connected", "closed"]);
});

test("connection - a ping leaves when nothing else was sent for a heartbeat", async () => {
  const { world, daemon, client } = await connected();
  await world.advance(900);
  await client.submit(task);
  await world.advance(900);
  expect(daemon.line.ops("session.ping").length).toBe(0);
  await world.advance(150);
  expect(daemon.line.ops("session.ping").length).toBe(1);
  await world.advance(10_000);
  expect(daemon.line.ops("session.ping").length).toBe(11);
  expect(daemon.lines.length).toBe(1);
});

test("connection - a line that brings nothing after a ping is given up, and its work is repeated", async () => {
  const { world, daemon, client } = await connected();
  daemon.line.dead = true;
  const answer = client.submit(task);
  await world.advance(1000 + 2400);
  expect(client.state).toBe("connected");
  await world.advance(300);
  expect(daemon.lines.length).toBe(2);
  expect(daemon.lines[0]?.closed).toBe(true);
  expect((await answer).state).toBe("queued");
});

test("connection - a busy sender notices a dead line too", async () => {
  const { world, daemon, client } = await connected();
  daemon.line.dead = true;
  for (let ms = 0; ms < 3800; ms += 100) {
    void client.submit(task);
    await world.advance(100);
  }
  expect(daemon.lines.length).toBe(2);
});

test("connection - a process that was stopped itself does not take its own silence for the daemon's", async () => {
  const { world, daemon } = await connected();
  await world.advance(990);
  daemon.script["session.ping"] = () => "silent";
  await world.advance(20);
  expect(daemon.line.ops("session.ping").length).toBe(1);
  // Suspended for an hour: the timer is an hour late, and the answer lies unread in the socket.
  world.monotonicNow += 3_600_000;
  await world.advance(100);
  expect(daemon.lines.length).toBe(1);
  daemon.line.say({ seq: daemon.line.ops("session.ping")[0]?.seq, ok: { revision: 1 } });
  daemon.script = {};
  await world.advance(10_000);
  expect(daemon.lines.length).toBe(1);
});

test("connection - a greeting that is not answered in time is tried again", async () => {
  const world = new World();
  const daemon = new FakeDaemon();
  daemon.script["session.hello"] = () => "silent";
  const client = new CoordinationClient({ transport: daemon, environment: world });
  const ready = client.connect();
  await world.advance(9000);
  expect(daemon.lines.length).toBe(1);
  daemon.script = {};
  await world.advance(2000);
  await ready;
  expect(daemon.lines.length).toBe(2);
});

for (const fatal of ["unauthorized", "unsupported-protocol", "unknown-namespace"] as const)
  test(`connection - ${fatal} rejects connect and everything that waits, and nothing is tried again`, async () => {
    const world = new World();
    const daemon = new FakeDaemon();
    daemon.script["session.hello"] = () => ({ error: fatal });
    const client = new CoordinationClient({ transport: daemon, environment: world });
    const waiting = refusal(client.submit(task));
    expect(await refusal(client.connect())).toBe(fatal);
    expect(await waiting).toBe(fatal);
    await world.advance(100_000);
    expect(daemon.lines.length).toBe(1);
    expect(client.state).toBe("closed");
    expect(await refusal(client.connect())).toBe(fatal);
  });

test("connection - a daemon that is busy at the greeting is tried again, no sooner than it said", async () => {
  const world = new World();
  const daemon = new FakeDaemon();
  daemon.script["session.hello"] = () => ({ error: "busy", retryAfterMs: 5000 });
  const client = new CoordinationClient({ transport: daemon, environment: world });
  void client.connect();
  await world.advance(4900);
  expect(daemon.lines.length).toBe(1);
  await world.advance(200);
  expect(daemon.lines.length).toBe(2);
});

test("connection - an orderly restart looks to callers like none", async () => {
  const { world, daemon, client } = await connected();
  daemon.script["task.submit"] = () => ({ error: "shutting-down" });
  const answer = refusal(client.submit(task));
  await settle();
  daemon.line.break(1012, "restart");
  daemon.script = {};
  await world.advance(100);
  expect(await answer).toBe("fulfilled");
  expect(daemon.line.work.map(({ seq }) => seq)).toEqual([2]);
});

test("connection - a daemon that says it stops and then hangs is left", async () => {
  const { world, daemon, client } = await connected();
  daemon.script["task.submit"] = () => ({ error: "shutting-down" });
  const answer = refusal(client.submit(task));
  await settle();
  daemon.script = {};
  await world.advance(1200);
  expect(await answer).toBe("fulfilled");
  expect(daemon.lines.length).toBe(2);
});

test("connection - an address in the place of options is refused, and nobody else is spoken to", () => {
  expect(() => new CoordinationClient("http://10.0.0.7:9500" as never)).toThrow("an object of options");
});

test("connection - connect gives up after its time, and says why", async () => {
  const world = new World();
  const daemon = new FakeDaemon();
  daemon.down = true;
  const client = new CoordinationClient({ transport: daemon, environment: world });
  const ready = client.connect({ timeoutMs: 3000 }).catch((error: unknown) => error);
  await world.advance(3000);
  const error = (await ready) as ClientError;
  expect(error).toBeInstanceOf(ClientError);
  expect(error.code).toBe("timeout");
  expect(error.message).toContain("ws://127.0.0.1:9501");
  expect(error.message).toContain("connection refused");
  const { length } = daemon.lines;
  await world.advance(60_000);
  expect(daemon.lines.length).toBe(length);
});

test("connection - close rejects what waits, and what comes after", async () => {
  const { daemon, client } = await connected();
  daemon.script["task.submit"] = () => "silent";
  const waiting = refusal(client.submit(task));
  await settle();
  client.close();
  expect(await waiting).toBe("closed");
  expect(await refusal(client.submit(task))).toBe("closed");
  expect(daemon.line.closed).toBe(true);
});

test("connection - close leaves no timer behind", async () => {
  const { world, daemon, client } = await connected();
  daemon.script["task.submit"] = () => "silent";
  const waiting = refusal(client.submit(task, { timeoutMs: 60_000 }));
  await settle();
  client.close();
  await waiting;
  expect(world.timerCount).toBe(0);
});

test("connection - a time-out ends the wait and the repetition, and sets no timer where none was asked", async () => {
  const { world, daemon, client } = await connected();
  daemon.script["task.submit"] = () => "silent";
  const timers = world.timerCount;
  void client.submit(task);
  expect(world.timerCount).toBe(timers);
  const waiting = refusal(client.submit(task, { timeoutMs: 500 }));
  await world.advance(500);
  expect(await waiting).toBe("timeout");
  daemon.line.break();
  daemon.script = {};
  await world.advance(100);
  expect(daemon.line.work.map(({ seq }) => seq)).toEqual([2]);
});

test("connection - an abort before sending sends nothing, and the signal's reason comes back", async () => {
  const { daemon, client } = await connected();
  const controller = new AbortController();
  const waiting = client.call("task.submit", task, { signal: controller.signal }).catch((error) => error);
  controller.abort("changed my mind");
  expect(await waiting).toBe("changed my mind");
  const late = client.call("task.submit", task, { signal: controller.signal }).catch((error) => error);
  expect(await late).toBe("changed my mind");
  await client.submit(task);
  expect(daemon.line.work.length).toBe(1);
});

test("connection - a mutation too old to be recognised is not repeated; its outcome is said to be unknown", async () => {
  const { world, daemon, client } = await connected();
  daemon.script["task.submit"] = () => "silent";
  const old = refusal(client.submit(task));
  await settle();
  daemon.down = true;
  daemon.line.break();
  const unsent = refusal(client.submit(task));
  await world.advance(limits.answerAgeMsMax);
  daemon.down = false;
  daemon.script = {};
  await world.advance(10_000);
  expect(await old).toBe("outcome-unknown");
  expect(await unsent).toBe("fulfilled");
});

test("connection - what an old connection still says is not heard", async () => {
  const { world, daemon, client } = await connected();
  daemon.script["task.submit"] = () => "silent";
  let answered = false;
  void client.submit(task).then(() => {
    answered = true;
  });
  await settle();
  const [old] = daemon.lines;
  old?.break();
  await world.advance(100);
  old?.handlers.message(JSON.stringify([{ seq: 2, ok: {} }]));
  old?.handlers.close(1006, "");
  await settle();
  expect(answered).toBe(false);
  expect(client.state).toBe("connected");
});

test("connection - a refusal carries every field of the problem", async () => {
  const { daemon, client } = await connected();
  daemon.script["task.submit"] = () => ({ error: "busy", retryAfterMs: 700 });
  const error = await client.submit(task).then(null, (refused: unknown) => refused as CortexError);
  expect(error).toBeInstanceOf(CortexError);
  expect(error).toMatchObject({
    type: "urn:cortexd:error:busy",
    status: 503,
    code: "busy",
    detail: "said the script",
    retryable: true,
    retryAfterMs: 700,
  });
});

test("connection - a frame that is none is told as an error, and the connection is made anew", async () => {
  const { world, daemon, client } = await connected();
  const told: unknown[] = [];
  client.on("error", (error) => told.push(code(error)));
  daemon.line.handlers.message("{");
  await world.advance(100);
  expect(told).toEqual(["protocol"]);
  expect(daemon.lines.length).toBe(2);
});

test("connection - answers in another order find their callers", async () => {
  const { daemon, client } = await connected();
  daemon.script["task.submit"] = () => "silent";
  const answers = Promise.all([client.submit(task), client.submit(task)]);
  await settle();
  daemon.line.say({ seq: 3, ok: { id: "b" } }, { seq: 2, ok: { id: "a" } });
  expect((await answers).map(({ id }) => id)).toEqual(["a", "b"]);
});

test("connection - calls made before connect wait for it", async () => {
  const daemon = new FakeDaemon();
  const client = new CoordinationClient({ transport: daemon, environment: new World() });
  expect((await client.submit(task)).id).toBe("1-0");
});

test("connection - a new connection hears again what was acknowledged, though nothing has come since", async () => {
  const { world, daemon, client } = await connected();
  await client.submit(task); // 2
  daemon.script["task.submit"] = () => "silent";
  void client.submit(task); // 3 says: through 2
  await settle();
  expect(daemon.line.work.at(-1)).toMatchObject({ seq: 3, ackedThrough: 2 });
  daemon.line.break();
  await world.advance(100);
  expect(daemon.line.work).toMatchObject([{ seq: 3, ackedThrough: 2 }]);
});

test("connection - what is bound to a connection is made anew on the next, not repeated", async () => {
  const world = new World();
  const daemon = new FakeDaemon();
  for (const op of ["worker.register", "watch.start", "session.ping"]) daemon.script[op] = () => "silent";
  const client = new CoordinationClient({ transport: daemon, environment: world, workerId: "w" });
  client.on("change", () => {});
  void client.connect();
  await world.advance(1500);
  const first = daemon.line.received.map(({ op }) => op);
  expect(first).toEqual(["session.hello", "worker.register", "watch.start", "session.ping"]);
  const seqs = daemon.line.received.map(({ seq }) => seq);
  daemon.line.break();
  await world.advance(100);
  expect(daemon.line.received.map(({ op }) => op)).toEqual([
    "session.hello",
    "worker.register",
    "watch.start",
  ]);
  for (const { seq } of daemon.line.received) expect(seqs).not.toContain(seq);
});
