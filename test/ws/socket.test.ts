/**
 * The sockets, on loopback: who gets in at the handshake on both ports, frames no session ever sees, and how
 * connections end. The engine's clock is the test's, so time-outs need no waiting.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { createApp } from "../../src/http/app.ts";
import { serveHttp } from "../../src/http/serve.ts";
import { createGuard } from "../../src/lib/guard.ts";
import { limits } from "../../src/wire/limits.ts";
import { createSockets } from "../../src/ws/socket.ts";
import { EngineWorld } from "../engine/world.ts";

// biome-ignore lint/suspicious/noExplicitAny: what came over the wire is looked at field by field.
type Json = any;

const cleanups: (() => unknown)[] = [];
afterAll(async () => {
  for (const clean of cleanups.reverse()) await clean();
});

/** Both ports over one engine. */
async function opened(options: { token?: string; allowOrigins?: string[] } = {}) {
  const world = await EngineWorld.memory();
  const ports: number[] = [];
  const guard = createGuard({
    token: options.token ?? null,
    ports: () => ports,
    allowOrigins: options.allowOrigins ?? [],
  });
  let ids = 0;
  const sockets = createSockets(world.engine, guard, () => `made-${++ids}`);
  const alone = sockets.listen("127.0.0.1", 0);
  const report = (error: unknown) => {
    throw error;
  };
  const http = serveHttp({
    app: createApp(world.engine, { guard, version: "0.0.0", report }),
    host: "127.0.0.1",
    port: 0,
    websocket: sockets.handlers,
    upgrade: sockets.upgrade,
    report,
  });
  ports.push(alone.port as number, http.port);
  cleanups.push(async () => {
    sockets.close();
    await world.engine.stop();
    await alone.stop(true);
    await http.stop(0);
  });
  return { world, sockets, doors: [`${alone.port}/`, `${http.port}/ws`] as const, alone, http };
}
type Opened = Awaited<ReturnType<typeof opened>>;

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};

/** A WebSocket that keeps what came. */
class Client {
  readonly messages: Json[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #socket: WebSocket;
  readonly #opened: Promise<void>;

  constructor(door: string, headers: Record<string, string> = {}) {
    this.#socket = new WebSocket(`ws://127.0.0.1:${door}`, { headers } as never);
    this.#opened = new Promise((resolve) => {
      this.#socket.onopen = () => resolve();
    });
    this.closed = new Promise((resolve) => {
      this.#socket.onclose = ({ code, reason }) => resolve({ code, reason });
    });
    this.#socket.onmessage = ({ data }) => this.messages.push(...JSON.parse(data as string));
  }

  async send(data: string | Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#opened;
    this.#socket.send(data);
  }
  /** Sends one operation and waits for its reply. */
  async ask(op: string, seq: number, input: unknown = {}): Promise<Json> {
    await this.send(JSON.stringify({ op, seq, input }));
    return this.reply(seq);
  }
  async reply(seq: number | null): Promise<Json> {
    const found = () => this.messages.find((message) => message.seq === seq);
    await until(() => found() !== undefined);
    return found();
  }
  greet(token?: string): Promise<Json> {
    return this.ask("session.hello", 1, { protocol: 1, token });
  }
}

/** A client that speaks TCP: sends what no WebSocket client would, and reads only when told. */
class Raw {
  #received: Buffer[] = [];
  readonly socket: Socket;
  isOver = false;

  constructor(readonly port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("data", (data) => this.#received.push(data as Buffer));
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.isOver = true;
    });
    cleanups.push(() => this.socket.destroy());
  }
  get text(): string {
    return Buffer.concat(this.#received).toString("latin1");
  }
  async handshake(path: string, headers: Record<string, string> = {}): Promise<number> {
    const all: Record<string, string> = {
      host: `127.0.0.1:${this.port}`,
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...headers,
    };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    this.socket.write(`GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
    await until(() => this.text.includes("\r\n\r\n") || this.isOver);
    return Number(this.text.slice(9, 12));
  }
  frame(opcode: number, payload: Uint8Array): void {
    const head =
      payload.length < 126
        ? Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0])
        : Buffer.from([0x80 | opcode, 0x80 | 126, payload.length >> 8, payload.length & 255, 0, 0, 0, 0]);
    this.socket.write(Buffer.concat([head, payload]));
  }
  /** The code of the close frame that came last, if one did. */
  get closeCode(): number | null {
    const all = Buffer.concat(this.#received);
    const at = all.lastIndexOf(0x88);
    return at < 0 ? null : all.readUInt16BE(at + 2);
  }
}
const portOf = (door: string) => Number(door.split("/")[0]);
const pathOf = (door: string) => `/${door.split("/")[1]}`;

describe.each([
  ["the port of its own", 0],
  ["/ws beside REST", 1],
] as const)("socket - at %s", (_name, which) => {
  const enter = async (options: Parameters<typeof opened>[0] = {}): Promise<Opened & { door: string }> => {
    const it = await opened(options);
    return { ...it, door: it.doors[which] };
  };
  const status = async (door: string, headers: Record<string, string>) => {
    const raw = new Raw(portOf(door));
    const code = await raw.handshake(pathOf(door), headers);
    return [code, /"code":"([^"]+)"/.exec(raw.text)?.[1] ?? null];
  };

  test("socket - a task is submitted, pushed and completed", async () => {
    const { door, world } = await enter();
    const client = new Client(door);
    expect((await client.greet()).ok).toMatchObject({ protocol: 1, session: "made-1" });
    await client.ask("worker.register", 2, { workerId: "w" });
    const { id } = (await client.ask("task.submit", 3, { type: "t" })).ok;
    await until(() => client.messages.some(({ event }) => event === "task.assigned"));
    const { lease } = client.messages.find(({ event }) => event === "task.assigned");
    const done = await client.ask("task.complete", 4, { taskId: id, workerId: "w", token: lease.token });
    expect(done.ok.state).toBe("completed");
    expect(world.engine.counters.socketsOpen).toBe(1);
  });

  test("socket - without a token only loopback names get in", async () => {
    const { door } = await enter();
    expect(await status(door, {})).toEqual([101, null]);
    expect(await status(door, { host: `localhost:${portOf(door)}` })).toEqual([101, null]);
    expect(await status(door, { host: `evil.example:${portOf(door)}` })).toEqual([421, "forbidden-host"]);
    expect(await status(door, { host: "127.0.0.1:1" })).toEqual([101, null]);
  });

  test("socket - a page gets in from the daemon's own address and from allowed ones", async () => {
    const { door, doors } = await enter({ allowOrigins: ["https://ops.example.org"] });
    const from = (origin: string) => status(door, { origin });
    for (const other of doors) expect(await from(`http://127.0.0.1:${portOf(other)}`)).toEqual([101, null]);
    expect(await from("https://ops.example.org")).toEqual([101, null]);
    expect(await from("http://evil.example")).toEqual([403, "forbidden-origin"]);
    expect(await from("null")).toEqual([403, "forbidden-origin"]);
    expect(await from("http://127.0.0.1:1")).toEqual([403, "forbidden-origin"]);
  });

  test("socket - the token is taken from the handshake or the greeting; a wrong one is told and closed", async () => {
    const { door } = await enter({ token: "secret" });
    expect((await new Client(door, { authorization: "Bearer secret" }).greet()).ok).toBeDefined();
    expect((await new Client(door).greet("secret")).ok).toBeDefined();
    for (const client of [new Client(door, { authorization: "Bearer wrong" }), new Client(door)]) {
      expect((await client.greet()).error).toMatchObject({ code: "unauthorized", status: 401 });
      expect((await client.closed).code).toBe(4001);
    }
  });

  test("socket - a frame over the limit is refused by name, and the connection lives", async () => {
    const { door } = await enter();
    const client = new Client(door);
    await client.greet();
    await client.send(" ".repeat(limits.frameBytesMax + 1));
    expect((await client.reply(null)).error.code).toBe("payload-too-large");
    expect((await client.ask("session.ping", 2)).ok).toBeDefined();
  });

  test("socket - a frame of more than twice the limit ends the connection, and it alone", async () => {
    const { door } = await enter();
    const other = new Client(door);
    await other.greet();
    const client = new Client(door);
    await client.greet();
    await client.send(" ".repeat(2 * limits.frameBytesMax + 1));
    expect([1006, 1009]).toContain((await client.closed).code);
    expect((await other.ask("session.ping", 2)).ok).toBeDefined();
  });

  test("socket - a binary frame is refused by name, and the connection lives", async () => {
    const { door } = await enter();
    const client = new Client(door);
    await client.greet();
    await client.send(new TextEncoder().encode('{"op":"session.ping","seq":2}'));
    expect((await client.reply(null)).error.code).toBe("malformed-frame");
    expect((await client.ask("session.ping", 3)).ok).toBeDefined();
  });

  test("socket - a text that is not UTF-8 ends the connection, as RFC 6455 has it", async () => {
    const { door, world } = await enter();
    const raw = new Raw(portOf(door));
    expect(await raw.handshake(pathOf(door))).toBe(101);
    raw.frame(1, Buffer.from([0x22, 0xc3, 0x28, 0x22]));
    await until(() => raw.isOver);
    expect(world.engine.counters.socketsOpen).toBe(0);
  });

  test("socket - who does not greet in ten seconds is closed with 4001, who does stays", async () => {
    const { door, world } = await enter();
    const [late, greeted] = [new Client(door), new Client(door)];
    await greeted.greet();
    expect((await late.ask("session.ping", 1)).error.code).toBe("greeting-expected");
    await world.advance(10_000);
    expect(world.engine.counters.socketsOpen).toBe(2);
    await world.advance(1000);
    expect((await late.closed).code).toBe(4001);
    await world.advance(30_000);
    expect((await greeted.ask("session.ping", 2)).ok).toBeDefined();
  });

  test("socket - a silent worker's connection is closed with 4010", async () => {
    const { door, world } = await enter();
    const client = new Client(door);
    await client.greet();
    await client.ask("worker.register", 2, { workerId: "w" });
    await world.advance(31_000);
    expect((await client.closed).code).toBe(4010);
    await until(() => world.engine.counters.socketsOpen === 0);
    expect((await world.ok("worker.get", { workerId: "w" })).connected).toBe(false);
  });

  test("socket - an older connection of the session is closed with 4009", async () => {
    const { door } = await enter();
    const [old, fresh] = [new Client(door), new Client(door)];
    await old.ask("session.hello", 1, { protocol: 1, session: "s" });
    await fresh.ask("session.hello", 1, { protocol: 1, session: "s" });
    expect((await old.closed).code).toBe(4009);
    expect((await fresh.ask("session.ping", 2)).ok).toBeDefined();
  });

  test("socket - one that is cut detaches its worker", async () => {
    const { door, world } = await enter();
    const raw = new Raw(portOf(door));
    await raw.handshake(pathOf(door));
    const messages = [
      { op: "session.hello", seq: 1, input: { protocol: 1 } },
      { op: "worker.register", seq: 2, input: { workerId: "w" } },
    ];
    raw.frame(1, Buffer.from(JSON.stringify(messages)));
    await until(() => world.engine.core.dispatch.slot("w")?.attached === true);
    raw.socket.destroy();
    await until(() => world.engine.core.dispatch.slot("w")?.attached === false);
    expect(world.engine.counters.socketsOpen).toBe(0);
  });

  test("socket - one that is not read is closed with 4008, and its memory is bounded", async () => {
    const { door, world } = await enter();
    const id = await world.submit({ payload: "x".repeat(1_000_000) });
    const raw = new Raw(portOf(door));
    await raw.handshake(pathOf(door));
    raw.socket.pause();
    raw.frame(1, Buffer.from(JSON.stringify({ op: "session.hello", seq: 1, input: { protocol: 1 } })));
    for (let seq = 2; seq < 100; seq++)
      raw.frame(1, Buffer.from(JSON.stringify({ op: "task.get", seq, input: { taskId: id } })));
    await until(() => world.engine.counters.socketsTooSlow === 1);
    expect(world.lines.some(({ event }) => event === "socket.slow")).toBe(true);
    raw.socket.destroy();
    await until(() => world.engine.counters.socketsOpen === 0);
  });

  test("socket - closing tells every client to come back: 1012", async () => {
    const { door, sockets, world } = await enter();
    const clients = [new Client(door), new Client(door)];
    for (const client of clients) await client.ask("session.ping", 1);
    sockets.close();
    for (const client of clients) expect((await client.closed).code).toBe(1012);
    expect(world.engine.counters.socketsOpen).toBe(0);
  });

  test("socket - a daemon that stops takes no new connection", async () => {
    const { door, world } = await enter();
    await world.engine.stop();
    expect(await status(door, {})).toEqual([503, "shutting-down"]);
  });
});

test("socket - the port of its own says what it is to who does not speak WebSocket", async () => {
  const { alone } = await opened();
  const response = await fetch(`http://127.0.0.1:${alone.port}/anything`);
  expect(response.status).toBe(426);
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(await response.json()).toMatchObject({ code: "upgrade-required" });
});

test("socket - the port of its own speaks at any path", async () => {
  const { alone } = await opened();
  expect((await new Client(`${alone.port}/some/path?x=1`).greet()).ok).toBeDefined();
});
