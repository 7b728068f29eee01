/** What is below the protocol: control frames, fragments and the close codes of RFC 6455, byte by byte. */
import { afterAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { createGuard } from "../../src/lib/guard.ts";
import { limits } from "../../src/wire/limits.ts";
import { createSockets } from "../../src/ws/socket.ts";
import { EngineWorld } from "../engine/world.ts";

const cleanups: (() => unknown)[] = [];
afterAll(async () => {
  for (const clean of cleanups.reverse()) await clean();
});

const until = async (condition: () => boolean) => {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
};
const opcodes = { more: 0, text: 1, close: 8, ping: 9, pong: 10 };
const mask = Buffer.from([0x12, 0x34, 0x56, 0x78]);

/** One frame, as a client sends it. */
function frame(opcode: number, payload: Buffer | string, { last = true, masked = true } = {}): Buffer {
  const body = Buffer.from(payload);
  const size = Buffer.alloc(body.length < 126 ? 1 : body.length < 65_536 ? 3 : 9);
  if (size.length === 1) size[0] = body.length;
  else if (size.length === 3) size.writeUInt16BE(body.length, 1);
  else size.writeBigUInt64BE(BigInt(body.length), 1);
  if (size.length > 1) size[0] = size.length === 3 ? 126 : 127;
  if (masked) {
    size[0]! |= 0x80;
    for (let i = 0; i < body.length; i++) body[i]! ^= mask[i % 4]!;
  }
  return Buffer.concat([
    Buffer.from([(last ? 0x80 : 0) | opcode]),
    size,
    masked ? mask : Buffer.alloc(0),
    body,
  ]);
}

/** A connection of bytes, past its handshake. */
class Wire {
  #received = Buffer.alloc(0);
  isOver = false;

  private constructor(readonly socket: Socket) {
    socket.on("data", (data) => {
      this.#received = Buffer.concat([this.#received, data as Buffer]);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isOver = true;
    });
    cleanups.push(() => socket.destroy());
  }

  static async open(port: number): Promise<Wire> {
    const wire = new Wire(connect(port, "127.0.0.1"));
    wire.socket.write(
      `GET / HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    await until(() => wire.#received.includes("\r\n\r\n"));
    expect(wire.#received.toString("latin1")).toStartWith("HTTP/1.1 101");
    wire.#received = wire.#received.subarray(wire.#received.indexOf("\r\n\r\n") + 4);
    return wire;
  }

  send(...frames: Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** The frames that came: none of the daemon's is masked or in parts. */
  get frames(): { opcode: number; payload: Buffer }[] {
    const frames = [];
    let rest = this.#received;
    while (rest.length >= 2) {
      const short = rest[1]! & 0x7f;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (rest.length < head) break;
      const length =
        short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
      if (rest.length < head + length) break;
      expect(rest[0]! & 0xf0).toBe(0x80);
      frames.push({ opcode: rest[0]! & 0x0f, payload: rest.subarray(head, head + length) });
      rest = rest.subarray(head + length);
    }
    return frames;
  }

  /** The next frame after so many. */
  async frame(after: number): Promise<{ opcode: number; text: string }> {
    await until(() => this.frames.length > after);
    const { opcode, payload } = this.frames[after]!;
    return { opcode, text: payload.toString() };
  }

  async closeCode(): Promise<number | null> {
    await until(() => this.isOver);
    const close = this.frames.find(({ opcode }) => opcode === opcodes.close);
    return close === undefined ? null : close.payload.readUInt16BE(0);
  }
}

async function opened() {
  const world = await EngineWorld.memory();
  const ports: number[] = [];
  const guard = createGuard({ token: null, ports: () => ports, allowOrigins: [] });
  let ids = 0;
  const sockets = createSockets(world.engine, guard, () => `made-${++ids}`);
  const server = sockets.listen("127.0.0.1", 0);
  ports.push(server.port as number);
  cleanups.push(async () => {
    sockets.close();
    await world.engine.stop();
    await server.stop(true);
  });
  return { world, wire: await Wire.open(server.port as number) };
}

const hello = JSON.stringify({ op: "session.hello", seq: 1, input: { protocol: 1 } });
const ping = JSON.stringify({ op: "session.ping", seq: 3 });
const worker = JSON.stringify({ op: "worker.register", seq: 2, input: { workerId: "w" } });

test("socket - a ping of WebSocket is answered with its own bytes, before any greeting", async () => {
  const { wire } = await opened();
  wire.send(frame(opcodes.ping, "hi"));
  expect(await wire.frame(0)).toEqual({ opcode: opcodes.pong, text: "hi" });
});

test("socket - a frame may come in fragments, with control frames between them", async () => {
  const { wire } = await opened();
  wire.send(
    frame(opcodes.text, hello.slice(0, 10), { last: false }),
    frame(opcodes.more, hello.slice(10, 20), { last: false }),
    frame(opcodes.ping, "between"),
    frame(opcodes.more, hello.slice(20)),
  );
  expect(await wire.frame(0)).toEqual({ opcode: opcodes.pong, text: "between" });
  const { opcode, text } = await wire.frame(1);
  expect(opcode).toBe(opcodes.text);
  expect(JSON.parse(text)).toMatchObject([{ seq: 1, ok: { protocol: 1 } }]);
});

test.each([
  ["a ping of WebSocket is no beat: its worker is silent", frame(opcodes.ping, ""), "offline"],
  ["a pong of WebSocket is no beat: its worker is silent", frame(opcodes.pong, ""), "offline"],
  ["a frame of text at the same moment is one", frame(opcodes.text, "[]"), "idle"],
])("socket - %s", async (_name, beat, state) => {
  const { world, wire } = await opened();
  wire.send(frame(opcodes.text, hello), frame(opcodes.text, worker));
  await wire.frame(1);
  await world.advance(20_000);
  // The answer to the second ping shows that what was sent before it has been taken.
  wire.send(beat, frame(opcodes.ping, "taken"));
  await until(() => wire.frames.some(({ payload }) => payload.toString() === "taken"));
  await world.advance(11_000);
  expect((await world.ok("worker.get", { workerId: "w" })).state).toBe(state as never);
  if (state === "offline") expect(await wire.closeCode()).toBe(4010);
  else {
    const before = wire.frames.length;
    wire.send(frame(opcodes.text, ping));
    expect(JSON.parse((await wire.frame(before)).text)).toMatchObject([{ seq: 3, ok: {} }]);
  }
});

const spaces = (factor: number) => Buffer.alloc(Math.ceil(limits.frameBytesMax * factor), " ");
test.each([
  [1002, "a frame that is not masked", [frame(opcodes.text, hello, { masked: false })]],
  [1002, "an unknown opcode", [frame(3, "")]],
  [1002, "a fragment of nothing", [frame(opcodes.more, "x")]],
  [1007, "a text that is not UTF-8", [frame(opcodes.text, Buffer.from([0x22, 0xc3, 0x28, 0x22]))]],
  [1009, "a frame of more than twice the limit", [frame(opcodes.text, spaces(2.01))]],
  [
    1009,
    "fragments that come to more than that",
    [frame(opcodes.text, spaces(1.5), { last: false }), frame(opcodes.more, spaces(1.5))],
  ],
])("socket - the daemon closes with %d: %s", async (code, _name, frames) => {
  const { world, wire } = await opened();
  wire.send(...frames);
  expect(await wire.closeCode()).toBe(code);
  expect(world.engine.counters.socketsOpen).toBe(0);
});
