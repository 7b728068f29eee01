/** Where the WebSocket cannot be had the client goes on over HTTP, and comes back, and nothing is lost or doubled. */
import { describe, expect, test } from "bun:test";
import { addresses } from "../../client/http.ts";
import { type AssignedTask, type ClientOptions, CoordinationClient } from "../../client/index.ts";
import { problem } from "../../src/wire/errors.ts";
import { aTask, settle, TwoWays, World } from "./world.ts";

function aClient(options: ClientOptions = {}) {
  const world = new World();
  const ways = new TwoWays();
  const client = new CoordinationClient({
    transport: ways.transports,
    environment: world,
    url: "ws://fake",
    ...options,
  });
  const told: string[] = [];
  client.on("connected", ({ transport }) => told.push(transport));
  client.on("disconnected", () => told.push("disconnected"));
  client.on("error", (error) => told.push(`error ${(error as Error).message}`));
  return { world, ways, client, told };
}

/** A client that had to change to HTTP. */
async function onHttp(options: ClientOptions = {}) {
  const all = aClient(options);
  all.ways.websocket = "refused";
  const connected = all.client.connect();
  await all.world.advance(1000);
  await connected;
  return all;
}

const task = { type: "t" };
const ops = (messages: { op: string }[]) => messages.map(({ op }) => op);

describe("fallback - which transport", () => {
  test("fallback - the WebSocket comes first, and alone where it can be had", async () => {
    const { client, ways, told } = aClient();
    await client.connect();
    expect(client.transport).toBe("websocket");
    expect([ways.sockets.length, ways.requests.length]).toEqual([1, 0]);
    expect(told).toEqual(["websocket"]);
  });

  test("fallback - after three refused in a row HTTP is tried at once, and goes on", async () => {
    const { client, ways, told, world } = aClient();
    ways.websocket = "refused";
    const connected = client.connect();
    await settle();
    await world.advance(60);
    expect([ways.sockets.length, ways.requests.length]).toEqual([2, 0]);
    await world.advance(200);
    expect((await connected).server).toBe("fake/1");
    expect([ways.sockets.length, ways.requests.length]).toEqual([3, 1]);
    expect(client.transport).toBe("http");
    expect(told.at(-1)).toBe("http");
  });

  test("fallback - what swallows a WebSocket is waited for once", async () => {
    for (const way of ["swallowed", "mute"] as const) {
      const { client, ways, world } = aClient({ greetingMs: 5000 });
      ways.websocket = way;
      const connected = client.connect();
      await world.advance(4999);
      expect(ways.requests.length).toBe(0);
      await world.advance(1);
      await connected;
      expect([client.transport, ways.sockets.length]).toEqual(["http", 1]);
    }
  });

  test("fallback - WebSockets that never last give way to HTTP", async () => {
    const { client, ways, world } = aClient();
    for (let i = 0; i < 3; i++) {
      void client.connect();
      await world.advance(1500);
      expect(client.transport).toBe("websocket");
      ways.socket.break();
    }
    await world.advance(1000);
    expect(client.transport).toBe("http");
    // One that lasted counts for nothing.
    const other = aClient();
    void other.client.connect();
    for (let i = 0; i < 5; i++) {
      await other.world.advance(15_000);
      expect(other.client.transport).toBe("websocket");
      other.ways.socket.break();
    }
    expect(other.ways.requests.length).toBe(0);
  });

  test("fallback - a daemon that is down is tried as ever, and comes back over the WebSocket", async () => {
    const { client, ways, world, told } = aClient();
    const waits: number[] = [];
    await client.connect();
    client.on("reconnecting", ({ delayMs }) => waits.push(delayMs));
    ways.websocket = "refused";
    ways.http = "refused";
    ways.socket.break();
    await world.advance(30_000);
    expect(waits.slice(0, 8)).toEqual([50, 100, 200, 400, 800, 1600, 3200, 5000]);
    // The third in a row is the third socket: the first did not last.
    expect(ways.requests.length).toBe(ways.sockets.length - 2);
    ways.websocket = "open";
    ways.http = "open";
    await world.advance(10_000);
    expect(client.transport).toBe("websocket");
    expect(told).toEqual(["websocket", ...waits.map(() => "disconnected"), "websocket"]);
  });

  test("fallback - a greeting that is refused for now came all the way: it is no reason to change", async () => {
    const { client, ways, world } = aClient();
    ways.daemon.script["session.hello"] = () => ({ error: "busy", retryAfterMs: 100 });
    void client.connect();
    await world.advance(30_000);
    expect(ways.requests.length).toBe(0);
  });

  test("fallback - what HTTP refuses for good ends the client by its name", async () => {
    const { client, ways, world } = aClient();
    ways.websocket = "refused";
    const connected = client.connect();
    connected.catch(() => {});
    ways.daemon.script["session.hello"] = (_, line) => {
      line.break = () => {};
      line.handlers.close(0, "HTTP 401", problem("unauthorized", "no valid token"));
      return "silent";
    };
    await world.advance(1000);
    await expect(connected).rejects.toMatchObject({ code: "unauthorized" });
  });

  test.each(["websocket", "http"] as const)("fallback - %s alone means that alone", async (only) => {
    const ways = new TwoWays();
    const world = new World();
    const transport = { [only]: ways.transports[only] };
    const client = new CoordinationClient({ transport, environment: world });
    await client.connect();
    expect(client.transport).toBe(only);
    ways.websocket = "refused";
    ways.http = "refused";
    (only === "http" ? ways.request : ways.socket).break();
    await world.advance(60_000);
    expect(only === "http" ? ways.sockets.length : ways.requests.length).toBe(0);
  });

  test("fallback - the address of HTTP follows from the one that its user knows", () => {
    const rows: [string, string | undefined, string, string][] = [
      ["ws://127.0.0.1:9501", undefined, "ws://127.0.0.1:9501", "http://127.0.0.1:9500"],
      ["ws://127.0.0.1:9501/", undefined, "ws://127.0.0.1:9501/", "http://127.0.0.1:9500"],
      ["ws://h:9500/ws", undefined, "ws://h:9500/ws", "http://h:9500"],
      ["wss://h/cortex/ws", undefined, "wss://h/cortex/ws", "https://h/cortex"],
      ["ws://[::1]:9501", undefined, "ws://[::1]:9501", "http://[::1]:9500"],
      ["ws://h:7001", "http://h:7000", "ws://h:7001", "http://h:7000"],
      ["http://h:9500", undefined, "ws://h:9500/ws", "http://h:9500"],
      ["https://h/", undefined, "wss://h/ws", "https://h"],
    ];
    for (const [url, httpUrl, websocket, http] of rows)
      expect([url, addresses(url, httpUrl)]).toEqual([url, { websocket, http }]);
  });
});

describe("fallback - back to the WebSocket", () => {
  test("fallback - the WebSocket is looked for after 5 s, then ever less often, and nothing is disturbed", async () => {
    const { ways, world, told, client } = await onHttp();
    const looks: number[] = [];
    const from = world.monotonicNow;
    let count = ways.sockets.length;
    for (let i = 0; i < 400; i++) {
      await world.advance(500);
      if (ways.sockets.length > count) looks.push((world.monotonicNow - from) / 1000);
      count = ways.sockets.length;
    }
    // Half of the wait is drawn by chance: here three quarters of 5, 10, 20, 40, 60 s.
    const expected = [3.75, 11.25, 26.25, 56.25, 101.25, 146.25, 191.25];
    expect(looks.length).toBe(expected.length);
    for (const [i, at] of expected.entries()) expect(Math.abs((looks[i] as number) - at)).toBeLessThan(1.5);
    expect([client.transport, ways.requests.length, told.filter((one) => one === "http").length]).toEqual([
      "http",
      1,
      1,
    ]);
  });

  test("fallback - it changes back once a WebSocket answers, without a word of being disconnected", async () => {
    const { ways, world, told, client } = await onHttp();
    const { request } = ways;
    ways.websocket = "open";
    const before = told.length;
    await world.advance(5000);
    expect(client.transport).toBe("websocket");
    expect(request.closed).toBe(true);
    expect(told.slice(before)).toEqual(["websocket"]);
    expect(ops(ways.socket.received)).toEqual([
      "session.ping",
      "session.hello",
      ...ops(ways.socket.received.slice(2)),
    ]);
  });

  test("fallback - a WebSocket that is taken and never answers changes nothing", async () => {
    const { ways, world, client } = await onHttp({ greetingMs: 3000 });
    for (const way of ["mute", "swallowed"] as const) {
      ways.websocket = way;
      const count = ways.sockets.length;
      await world.advance(30_000);
      expect(ways.sockets.length).toBeGreaterThan(count);
      expect([client.transport, ways.requests.length]).toEqual(["http", 1]);
      expect(ways.sockets.slice(count).filter(({ closed }) => !closed).length).toBeLessThanOrEqual(1);
    }
  });

  test("fallback - a WebSocket that was found and does not last sends back to HTTP, for longer each time", async () => {
    const { ways, world, client } = await onHttp();
    const changes: number[] = [];
    client.on("connected", ({ transport }) => {
      if (transport !== "websocket") return;
      changes.push(world.monotonicNow);
      world.setTimer(100, () => ways.socket.break());
    });
    ways.websocket = "open";
    await world.advance(150_000);
    const between = changes.slice(1).map((at, i) => at - (changes[i] as number));
    expect(between.length).toBeGreaterThanOrEqual(3);
    for (const [i, ms] of between.entries())
      if (i > 0 && ms < 40_000) expect(ms).toBeGreaterThan(1.5 * (between[i - 1] as number));
    expect(client.transport).toBe("http");
  });

  test("fallback - what was not answered over one is repeated over the other, under its seq", async () => {
    const { ways, world, client } = await onHttp();
    ways.daemon.script["task.submit"] = () => "silent";
    const answers = [client.submit(task), client.submit(task)];
    await settle();
    const sent = ways.request.work.map(({ seq }) => seq);
    expect(sent.length).toBe(2);
    ways.daemon.script = {};
    ways.websocket = "open";
    await world.advance(5000);
    await Promise.all(answers);
    expect(ways.socket.work.map(({ seq }) => seq)).toEqual(sent);
  });
});

describe("fallback - frames as requests", () => {
  test("fallback - one frame is on its way at a time, and what comes meanwhile shares the next", async () => {
    const { ways, client } = await onHttp();
    ways.daemon.script["task.submit"] = () => "silent";
    const first = client.submit(task);
    await settle();
    const others = [client.submit(task), client.submit(task)];
    await settle();
    await settle();
    const lane = () => ways.request.asks.filter(({ messages }) => messages[0]?.op === "task.submit");
    expect(lane().length).toBe(1);
    ways.daemon.script = {};
    lane()[0]?.ok(lane()[0]?.messages[0]?.seq as number, { id: "1-0", state: "queued", duplicate: false });
    await Promise.all([first, ...others]);
    expect(lane().map(({ messages }) => messages.length)).toEqual([1, 2]);
  });

  test("fallback - reads that wait share one request, which is sent anew when others join", async () => {
    const { ways, world, client } = await onHttp();
    const results = ["1-0", "2-0"].map((id) => client.task(id).finished());
    await settle();
    expect(ways.request.waiting.map(({ messages }) => messages.length)).toEqual([2]);
    results.push(client.task("3-0").finished());
    await world.advance(100);
    const [all, ...more] = ways.request.waiting;
    expect([all?.messages.length, more.length]).toEqual([3, 0]);
    // Everything else goes on beside them.
    expect((await client.submit(task)).state).toBe("queued");
    // One is final; the others are answered as they stand, and asked for again.
    for (const { seq, input } of all?.messages ?? []) {
      const { taskId, waitMs } = input as { taskId: string; waitMs: number };
      expect(waitMs).toBe(25_000);
      all?.ok(seq, aTask(taskId, { state: taskId === "2-0" ? "completed" : "running" }));
    }
    expect((await results[1])?.state).toBe("completed");
    await settle();
    expect(ways.request.waiting.map(({ messages }) => messages.length)).toEqual([2]);
  });

  test("fallback - a wait that its caller gave up is not asked for again", async () => {
    const { ways, world, client } = await onHttp();
    const gone = new AbortController();
    const results = [client.task("1-0").finished({ signal: gone.signal }), client.task("2-0").finished()];
    results[0]?.catch(() => {});
    await settle();
    gone.abort(new Error("enough"));
    await expect(results[0]).rejects.toThrow("enough");
    void client.task("3-0").finished();
    await world.advance(100);
    const ids = ways.request.waiting.flatMap(({ messages }) =>
      messages.map(({ input }) => (input as { taskId: string }).taskId),
    );
    expect(ids).toEqual(["2-0", "3-0"]);
  });

  test("fallback - an idle client says something before it is forgotten", async () => {
    const { ways, world } = await onHttp();
    const pings = () => ops(ways.request.received).filter((op) => op === "session.ping").length;
    const before = pings();
    await world.advance(10_000);
    expect(pings() - before).toBe(10);
  });
});

async function aWorker(capacity = 2) {
  const all = await onHttp({ workerId: "w", capacity });
  const tasks: AssignedTask[] = [];
  const aborted: string[] = [];
  all.client.on("task_assigned", (held) => void tasks.push(held));
  all.client.on("task_aborted", (event) => aborted.push(`${event.task.id} ${event.reason}`));
  all.ways.daemon.script["worker.heartbeat"] = () => ({
    ok: { leases: all.client.held.map(({ id, lease }) => ({ taskId: id, ...lease })), cancels: [] },
  });
  const claims = () => all.ways.request.ops("task.claim");
  const give = (...ids: string[]) => {
    const [open] = all.ways.request.waiting;
    const assignments = ids.map((id, i) => ({
      task: aTask(id),
      lease: { workerId: "w", token: 100 + i, deadlineAt: 0 },
    }));
    open?.ok(open.messages[0]?.seq as number, { assignments });
    return settle();
  };
  return { ...all, tasks, aborted, claims, give };
}

describe("fallback - a worker", () => {
  test("fallback - a worker claims as many as it has room for, one claim at a time", async () => {
    const { ways, tasks, claims, give, client } = await aWorker(3);
    await settle();
    expect(claims().map(({ input }) => input)).toEqual([{ workerId: "w", count: 3, waitMs: 25_000 }]);
    await give("1-0", "2-0");
    expect(tasks.map(({ id }) => id)).toEqual(["1-0", "2-0"]);
    expect(claims().map(({ input }) => (input as { count: number }).count)).toEqual([3, 1]);
    await give("3-0");
    expect(claims().length).toBe(2);
    await client.complete("1-0");
    await settle();
    expect(claims().length).toBe(3);
    expect(ways.request.waiting.length).toBe(1);
    expect(ops(ways.request.received)).not.toContain("worker.credit");
  });

  test("fallback - a claim is not repeated on another connection; the registration names what was heard of", async () => {
    const { ways, world, client, give, claims } = await aWorker();
    await settle();
    await give("1-0");
    expect(claims().length).toBe(2);
    ways.websocket = "open";
    await world.advance(5000);
    expect(client.transport).toBe("websocket");
    expect(ops(ways.socket.received)).not.toContain("task.claim");
    expect(ways.socket.ops("worker.register").map(({ input }) => input)).toEqual([
      expect.objectContaining({ holding: [{ taskId: "1-0", token: 100 }] }),
    ]);
    await world.advance(60_000);
    expect(ops(ways.socket.received)).not.toContain("worker.heartbeat");
  });

  test("fallback - heartbeats say what was cancelled and what was lost", async () => {
    const { ways, world, give, aborted, client } = await aWorker(3);
    await settle();
    await give("1-0", "2-0", "3-0");
    ways.daemon.script["worker.heartbeat"] = () => ({
      ok: {
        leases: [{ taskId: "3-0", token: 102, deadlineAt: 0 }],
        cancels: [{ taskId: "1-0", token: 100 }],
      },
    });
    await world.advance(1000);
    expect(aborted).toEqual(["1-0 cancelled", "2-0 lease-lost"]);
    expect(client.held.map(({ id }) => id)).toEqual(["3-0"]);
  });

  test("fallback - a task that somebody assigned to the worker is heard of by a beat, and begun once", async () => {
    const { ways, world, give, tasks, client } = await aWorker(3);
    await settle();
    const lease = { workerId: "w", token: 100, deadlineAt: 0 };
    ways.daemon.script["worker.heartbeat"] = () => ({
      ok: { leases: [{ taskId: "1-0", token: 100, deadlineAt: 0 }], cancels: [] },
    });
    ways.daemon.script["task.get"] = () => ({ ok: aTask("1-0", { lease }) });
    await world.advance(1000);
    expect(tasks.map(({ id }) => id)).toEqual(["1-0"]);
    await client.complete("1-0");
    // It was a claim's, whose answer comes at last.
    await give("1-0", "2-0");
    expect(tasks.map(({ id }) => id)).toEqual(["1-0", "2-0"]);
  });

  test("fallback - what a claim took before the worker registered again went back, and is not begun", async () => {
    const { ways, world, give, tasks } = await aWorker();
    await settle();
    ways.daemon.script["worker.heartbeat"] = () => ({ error: "worker-offline" });
    await world.advance(1000);
    expect(ways.request.ops("worker.register").length).toBe(2);
    await give("1-0");
    expect(tasks).toEqual([]);
  });

  test("fallback - two late words that the worker is gone make it register once", async () => {
    const { ways, world, claims } = await aWorker();
    await settle();
    ways.daemon.script["worker.heartbeat"] = () => "silent";
    await world.advance(2000);
    const beats = ways.request.asks.filter(({ messages }) => messages[0]?.op === "worker.heartbeat");
    expect(beats.length).toBe(2);
    for (const beat of beats)
      beat.say({ seq: beat.messages[0]?.seq as number, error: problem("worker-offline", "gone") } as never);
    await settle();
    expect(ways.request.ops("worker.register").length).toBe(2);
    expect(claims().length).toBe(1);
  });

  test("fallback - beats do not wait behind a request that hangs", async () => {
    const { ways, world, client } = await aWorker();
    await settle();
    ways.daemon.script["task.submit"] = () => "silent";
    void client.submit(task).then(null, () => {});
    await world.advance(2000);
    expect(ways.request.ops("worker.heartbeat").length).toBe(2);
  });

  test("fallback - a lease whose end is on its way is not lost by a heartbeat", async () => {
    const { ways, world, give, aborted, client } = await aWorker(1);
    await settle();
    await give("1-0");
    ways.daemon.script["worker.heartbeat"] = () => "silent";
    await world.advance(1000);
    const [beat] = ways.request.asks.filter(({ messages }) => messages[0]?.op === "worker.heartbeat");
    const completed = client.complete("1-0");
    await settle();
    beat?.ok(beat.messages[0]?.seq as number, { leases: [], cancels: [] });
    await completed;
    expect(aborted).toEqual([]);
  });

  test("fallback - a lease that allows little silence makes for frequent beats", async () => {
    const { ways, world, tasks } = await aWorker(1);
    await settle();
    const [open] = ways.request.waiting;
    open?.ok(open.messages[0]?.seq as number, {
      assignments: [
        { task: aTask("1-0", { leaseMs: 300 }), lease: { workerId: "w", token: 1, deadlineAt: 0 } },
      ],
    });
    ways.daemon.script["worker.heartbeat"] = () => ({
      ok: { leases: [{ taskId: "1-0", token: 1, deadlineAt: 0 }], cancels: [] },
    });
    await settle();
    expect(tasks.length).toBe(1);
    await world.advance(1000);
    expect(ways.request.ops("worker.heartbeat").length).toBe(10);
  });

  test("fallback - credit 0 stops claims, and what one on its way still brings goes back", async () => {
    const { ways, client, give, tasks, claims } = await aWorker();
    await settle();
    client.credit(0);
    await give("1-0");
    expect(tasks).toEqual([]);
    expect(ways.request.ops("task.release").map(({ input }) => input)).toEqual([
      { taskId: "1-0", workerId: "w", token: 100 },
    ]);
    expect(claims().length).toBe(1);
    client.credit(1);
    await settle();
    expect(claims().length).toBe(2);
  });

  test("fallback - a worker that the daemon has for gone registers again, and one that left does not", async () => {
    const { ways, world, client } = await aWorker();
    await settle();
    ways.daemon.script["worker.heartbeat"] = () => ({ error: "worker-offline" });
    await world.advance(1000);
    expect(ways.request.ops("worker.register").length).toBe(2);
    ways.daemon.script["worker.heartbeat"] = () => ({ error: "unknown-worker" });
    await client.unregister();
    await world.advance(10_000);
    expect(ways.request.ops("worker.register").length).toBe(2);
  });

  test("fallback - claims that come back empty at once are not asked for in a storm", async () => {
    const { ways, world, claims } = await aWorker();
    ways.daemon.script["task.claim"] = () => ({ ok: { assignments: [] } });
    const [open] = ways.request.waiting;
    open?.ok(open.messages[0]?.seq as number, { assignments: [] });
    const before = claims().length;
    await world.advance(5000);
    expect(claims().length - before).toBe(5);
    ways.daemon.script["task.claim"] = () => ({ error: "worker-unavailable" });
    await world.advance(5000);
    expect(claims().length - before).toBe(10);
  });
});

describe("fallback - watches", () => {
  test("fallback - a watch pauses on HTTP, and goes on when the WebSocket is back", async () => {
    const { ways, world, client } = aClient();
    const events = client.watch();
    await client.connect();
    await settle();
    for (let i = 0; i < 3; i++) {
      ways.websocket = "refused";
      ways.socket.break();
      await world.advance(1000);
    }
    expect(client.transport).toBe("http");
    expect(ops(ways.request.received)).not.toContain("watch.start");
    // One that begins meanwhile misses changes as well.
    const others = client.watch();
    const asked: Record<string, unknown>[] = [];
    ways.daemon.script["watch.start"] = ({ input }) => {
      asked.push(input as Record<string, unknown>);
      return { ok: { watchId: asked.at(-1)!.watchId, revision: 20 } };
    };
    ways.websocket = "open";
    await world.advance(20_000);
    expect(client.transport).toBe("websocket");
    expect(asked).toMatchObject([{ after: 10 }, { after: 10 }]);
    const gap = { event: "gap", from: 11, to: 20 };
    for (const { watchId } of asked) ways.socket.say({ ...gap, watchId });
    for (const watch of [events, others]) expect((await watch.next()).value).toEqual(gap);
  });

  test("fallback - where there will never be a WebSocket, watching is refused by name", async () => {
    const { ways, world } = aClient();
    const client = new CoordinationClient({
      transport: { http: ways.transports.http },
      environment: world,
    });
    await client.connect();
    await expect(client.watch().next()).rejects.toMatchObject({ code: "connection-needed" });
  });
});

describe("fallback - subscriptions", () => {
  const view = (n: number, more: object = {}) => ({
    ...{ subscription: "s", delivery: 1, messageId: `${n}-0`, topic: "t", workerId: null },
    ...{ priority: "normal", publisher: "p", publishedAt: 0, expiresAt: null, publishId: null, payload: n },
    ...more,
  });
  const lasting = (window?: number) => {
    const ends: (() => void)[] = [];
    const got: number[] = [];
    return {
      got,
      end: () => ends.shift()?.(),
      options: { name: "s", ...(window === undefined ? {} : { window }) },
      handler: ({ payload }: { payload: number }) => {
        got.push(payload);
        return new Promise<void>((resolve) => ends.push(resolve));
      },
    };
  };
  async function subscribed(window?: number) {
    const all = await onHttp();
    const { script } = all.ways.daemon;
    script["subscription.put"] = () => ({ ok: { name: "s", ackWaitMs: 30_000 } });
    script["message.ackMany"] = () => ({ ok: { acknowledged: 1, lost: [] } });
    const one = lasting(window);
    const stop = all.client.topics.handle<number>("t", one.handler, one.options);
    await settle();
    await settle();
    const asked = () => all.ways.request.ops("message.receive").map(({ input }) => input);
    const give = async (...messages: object[]) => {
      const [open] = all.ways.request.waiting;
      open?.ok(open.messages[0]?.seq as number, { messages });
      await settle();
    };
    return { ...all, ...one, stop, asked, give };
  }

  test("fallback - a subscription that lasts is asked for as much as there is room for, one request at a time", async () => {
    const { asked, give, got, end, ways } = await subscribed(2);
    const input = { subscription: "s", waitMs: 25_000 };
    expect(asked()).toEqual([{ ...input, count: 2, holding: [] }]);
    await give(view(1));
    expect(asked().slice(1)).toEqual([{ ...input, count: 1, holding: ["1-0"] }]);
    await give(view(2));
    expect(got).toEqual([1, 2]);
    // There is no room.
    expect([asked().length, ways.request.waiting.length]).toEqual([2, 0]);
    end();
    await settle();
    expect(ways.request.ops("message.ackMany").map(({ input }) => input)).toEqual([
      { subscription: "s", messageIds: ["1-0"] },
    ]);
    expect(asked()[2]).toMatchObject({ count: 1, holding: expect.arrayContaining(["2-0"]) });
  });

  test("fallback - what is acknowledged without an answer yet is named, and does not come again", async () => {
    const { asked, give, end, ways } = await subscribed();
    ways.daemon.script["message.ackMany"] = () => "silent";
    await give(view(1));
    end();
    await settle();
    await give();
    await settle();
    expect(asked().at(-1)).toMatchObject({ holding: ["1-0"] });
  });

  test("fallback - back on the WebSocket it attaches with what it works on, and a late answer begins nothing", async () => {
    const { asked, give, got, ways, world, client, end } = await subscribed();
    await give(view(1));
    const [open] = ways.request.waiting;
    const { request } = ways;
    ways.websocket = "open";
    await world.advance(5000);
    expect(client.transport).toBe("websocket");
    expect(ways.socket.ops("subscription.attach").map(({ input }) => input)).toEqual([
      { subscriptionId: "s1", name: "s", holding: ["1-0"] },
    ]);
    expect(ops(ways.socket.received)).not.toContain("message.receive");
    const count = asked().length;
    open?.ok(open.messages[0]?.seq as number, { messages: [view(2)] });
    request.handlers.message(JSON.stringify([{ seq: open?.messages[0]?.seq, ok: { messages: [view(2)] } }]));
    await settle();
    expect([got, asked().length]).toEqual([[1], count]);
    ways.socket.say({ event: "message", subscriptionId: "s1", ...view(2) });
    await settle();
    expect(got).toEqual([1, 2]);
    end();
  });

  test("fallback - from the WebSocket to HTTP it goes on with what it holds named", async () => {
    const { ways, world, client } = aClient();
    ways.daemon.script["subscription.put"] = () => ({ ok: { name: "s", ackWaitMs: 30_000 } });
    ways.daemon.script["subscription.attach"] = ({ input }) => ({ ok: { ...(input as object), lost: [] } });
    const one = lasting();
    client.topics.handle<number>("t", one.handler, one.options);
    await client.connect();
    await settle();
    ways.socket.say({ event: "message", subscriptionId: "s1", ...view(1) });
    for (let i = 0; i < 3; i++) {
      ways.websocket = "refused";
      ways.socket.break();
      await world.advance(1000);
    }
    expect(client.transport).toBe("http");
    expect(ways.request.ops("message.receive").map(({ input }) => input)).toEqual([
      { subscription: "s", count: 99, waitMs: 25_000, holding: ["1-0"] },
    ]);
    // What takes long is said to be worked on, here too.
    await world.advance(10_000);
    await world.advance(10_000);
    expect(ways.request.ops("message.extend").length).toBeGreaterThan(0);
  });

  test("fallback - who ends it gives back what it had, and asks no more", async () => {
    const { asked, give, stop, ways } = await subscribed();
    await give(view(1));
    const before = asked().length;
    stop();
    await settle();
    expect(asked().slice(before)).toEqual([{ subscription: "s", count: 0, holding: [] }]);
    expect(ways.request.waiting.filter(({ aborted }) => !aborted).length).toBe(0);
  });

  test("fallback - who closes gives back what it had, and says once more what it has acknowledged", async () => {
    const { asked, give, end, client, ways } = await subscribed();
    ways.daemon.script["message.ackMany"] = () => "silent";
    await give(view(1), view(2));
    end();
    await settle();
    const before = asked().length;
    const acked = ways.request.ops("message.ackMany").length;
    client.close();
    expect(asked().slice(before)).toEqual([{ subscription: "s", count: 0, holding: [] }]);
    expect(
      ways.request
        .ops("message.ackMany")
        .slice(acked)
        .map(({ input }) => input),
    ).toEqual([{ subscription: "s", messageIds: ["1-0"] }]);
    expect(ways.request.closed).toBe(true);
    const last = ways.request.asks.at(-1)!.messages.map(({ op }) => op);
    expect(last).toEqual(["message.ackMany", "message.receive"]);
  });

  test("fallback - two who share a name here share the requests, in turns", async () => {
    const { asked, give, client, got, end, ways } = await subscribed(1);
    const other = lasting(1);
    client.topics.handle<number>("t", other.handler, other.options);
    await settle();
    await settle();
    expect([asked().length, ways.request.waiting.length]).toEqual([1, 1]);
    await give(view(1));
    await give(view(2));
    expect([got, other.got]).toEqual([[1], [2]]);
    end();
    await settle();
    await give(view(3));
    expect([got, other.got]).toEqual([[1, 3], [2]]);
  });

  test("fallback - empty answers that come at once are not asked for in a storm, and a refusal for good ends it", async () => {
    const { asked, give, ways, world, client, told } = await subscribed();
    ways.daemon.script["message.receive"] = () => ({ ok: { messages: [] } });
    await give();
    const before = asked().length;
    await world.advance(1000);
    expect(asked().length - before).toBeLessThanOrEqual(10);
    ways.daemon.script["message.receive"] = () => ({ error: "busy" });
    await world.advance(100);
    const refused = asked().length;
    await world.advance(5000);
    expect(asked().length - refused).toBe(5);
    ways.daemon.script["message.receive"] = () => ({ error: "unknown-subscription" });
    await world.advance(1000);
    expect(told.at(-1)).toContain("said the script");
    const gone = asked().length;
    await world.advance(5000);
    expect(asked().length).toBe(gone);
    expect(client.transport).toBe("http");
  });

  test("fallback - a live one is told that it loses, and where there will never be a WebSocket is refused by name", async () => {
    const { ways, world, client } = await onHttp();
    const lost: unknown[] = [];
    client.topics.handle("t", () => {}, { onLost: (one) => lost.push(one) });
    await settle();
    expect(ops(ways.request.received)).not.toContain("topic.subscribe");
    ways.websocket = "open";
    await world.advance(20_000);
    expect(lost).toEqual([{ count: null }]);
    expect(ways.socket.ops("topic.subscribe").length).toBe(1);
    const only = new CoordinationClient({ transport: { http: ways.transports.http }, environment: world });
    await only.connect();
    await expect(only.topics.subscribe("t").next()).rejects.toMatchObject({ code: "connection-needed" });
  });
});
