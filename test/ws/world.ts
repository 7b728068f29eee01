/**
 * A world of its own for a test of sessions: an engine over the memory log (or a held one), and connections whose
 * other side the test plays: it sends texts, reads what came, and says how much was not read yet.
 */
import { createGuard, type Guard } from "../../src/lib/guard.ts";
import type { OperationName } from "../../src/wire/operations.ts";
import { type Connection, Session, type Sessions } from "../../src/ws/session.ts";
import { EngineWorld, settle, type WorldOptions } from "../engine/world.ts";

// biome-ignore lint/suspicious/noExplicitAny: what came over the wire is looked at field by field.
type Json = any;

export class Line implements Connection {
  /** Every message that came, in order. */
  readonly messages: Json[] = [];
  readonly frames: string[] = [];
  closed: { code: number; reason: string } | null = null;
  /** What the other side has not read. */
  buffered = 0;
  /** Counts what is sent as not read. */
  stuck = false;
  session!: Session;
  #seq = 0;

  send(text: string): void {
    if (this.closed !== null) throw new Error("sent on a closed connection");
    this.frames.push(text);
    if (this.stuck) this.buffered += text.length;
    this.messages.push(...JSON.parse(text));
  }
  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }
  bufferedBytes(): number {
    return this.buffered;
  }

  /** Sends a frame as it is, and lets everything happen. */
  async raw(text: string): Promise<Json[]> {
    const before = this.messages.length;
    this.session.receive(text);
    await settle();
    return this.messages.slice(before);
  }

  /** Sends messages in one frame; what came back. */
  frame(...messages: unknown[]): Promise<Json[]> {
    return this.raw(JSON.stringify(messages));
  }

  /** Sends one operation; its reply. */
  async ask(op: OperationName, input: unknown = {}, more: object = {}): Promise<Json> {
    const seq = ++this.#seq;
    await this.frame({ op, seq, input, ...more });
    return this.reply(seq);
  }

  /** Sends one operation that must succeed; its output. */
  async ok(op: OperationName, input: unknown = {}): Promise<Json> {
    const reply = await this.ask(op, input);
    if (reply?.ok === undefined) throw new Error(`${op} was not carried out: ${JSON.stringify(reply)}`);
    return reply.ok;
  }

  reply(seq: number): Json {
    return this.messages.findLast((message) => message.seq === seq);
  }
  get nextSeq(): number {
    return ++this.#seq;
  }
  events(name?: string): Json[] {
    return this.messages.filter(({ event }) => event !== undefined && (name === undefined || event === name));
  }

  /** The other side closes, or is gone. */
  async cut(): Promise<void> {
    this.session.closed();
    this.closed ??= { code: 1006, reason: "" };
    await settle();
  }

  /** The other side has read everything. */
  async drain(left = 0): Promise<void> {
    this.buffered = left;
    this.session.drained();
    await settle();
  }
}

export class SessionWorld {
  readonly sessions: Sessions;

  private constructor(
    readonly world: EngineWorld,
    readonly guard: Guard,
  ) {
    let ids = 0;
    this.sessions = {
      engine: world.engine,
      admitsToken: (token) => guard.admitsToken(token),
      newId: () => `made-${++ids}`,
    };
  }

  static async start(options: WorldOptions & { token?: string; held?: boolean } = {}): Promise<SessionWorld> {
    const { token = null, held, ...rest } = options;
    const world = held ? await EngineWorld.start(rest) : await EngineWorld.memory(rest);
    return new SessionWorld(world, createGuard({ token, ports: () => [], allowOrigins: [] }));
  }

  /** A connection that has not greeted. */
  connect(admitted = true): Line {
    const line = new Line();
    line.session = new Session(this.sessions, line, admitted);
    return line;
  }

  /** A connection that has greeted. */
  async greet(session?: string): Promise<Line> {
    const line = this.connect();
    await line.ok("session.hello", { protocol: 1, session });
    return line;
  }

  /** A connection with a worker on it. */
  async worker(workerId: string, more: object = {}, session?: string): Promise<Line> {
    const line = await this.greet(session);
    await line.ok("worker.register", { workerId, ...more });
    return line;
  }
}
