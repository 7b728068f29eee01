/**
 * A world for the client without a clock and without a network: time moves when a test says so, and the daemon at
 * the other end is a script that keeps what it was sent. It knows no tasks; what it answers, a test decides.
 */
import { CoordinationClient } from "../../client/client.ts";
import type { Connection, Environment, Handlers, Transport } from "../../client/transport.ts";
import { MovedClock } from "../../src/embedded/clock.ts";
import { type ErrorCode, problem } from "../../src/wire/errors.ts";
import type { RequestMessage } from "../../src/wire/frames.ts";
import { limits } from "../../src/wire/limits.ts";
import { type CoreOperationName, operations } from "../../src/wire/operations.ts";
import type { Welcome } from "../../src/wire/state.ts";
import type { Task } from "../../src/wire/tasks.ts";

/** Lets every promise that can go on go on; takes no time of the world. */
export const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

export class World extends MovedClock implements Environment {
  /** What random() gives next; 0.5 once they are used up. */
  draws: number[] = [];

  constructor() {
    super({ wall: 0, monotonic: 1000 }, settle);
  }

  now() {
    return this.monotonicNow;
  }
  random() {
    return this.draws.shift() ?? 0.5;
  }
}

export type Reply = { ok: unknown } | { error: ErrorCode; retryAfterMs?: number } | "silent";

/** One connection as the daemon sees it. */
export class Line implements Connection {
  readonly frames: string[] = [];
  readonly received: RequestMessage[] = [];
  bufferedBytes = 0;
  closed = false;
  /** A half-open line takes everything and brings nothing. */
  dead = false;

  constructor(
    readonly daemon: FakeDaemon,
    readonly handlers: Handlers,
  ) {}

  send(text: string) {
    this.frames.push(text);
    if (this.dead || this.closed) return;
    const replies = this.replies(JSON.parse(text));
    if (replies.length > 0) queueMicrotask(() => this.say(...replies));
  }

  protected replies(messages: RequestMessage[]): { seq: number }[] {
    const replies: { seq: number }[] = [];
    for (const message of messages) {
      this.received.push(message);
      const reply = this.daemon.answer(message, this);
      if (reply === "silent") continue;
      if ("ok" in reply) replies.push({ seq: message.seq, ok: reply.ok } as { seq: number });
      else {
        const { error, retryAfterMs } = reply;
        const more = retryAfterMs === undefined ? {} : { retryAfterMs };
        replies.push({ seq: message.seq, error: problem(error, "said the script", more) } as { seq: number });
      }
    }
    return replies;
  }

  close() {
    this.closed = true;
  }

  /** The daemon sends one frame. */
  say(...messages: unknown[]) {
    if (!this.closed && !this.dead) this.handlers.message(JSON.stringify(messages));
  }

  /** The line breaks. */
  break(code = 1006, reason = "") {
    if (this.closed) return;
    this.closed = true;
    this.handlers.close(code, reason);
  }

  /** What was received beside greetings, pings and what belongs to a worker's connection. */
  get work() {
    const own = ["session.hello", "session.ping", "worker.register", "worker.credit", "watch.start"];
    own.push("worker.acknowledge");
    return this.received.filter(({ op }) => !own.includes(op));
  }
  ops(op: string) {
    return this.received.filter((message) => message.op === op);
  }
}

/** One request with a frame, as the daemon sees it. */
export class Asked {
  aborted = false;
  answered = false;
  readonly #replies: { seq: number }[] = [];

  constructor(
    readonly line: AskingLine,
    readonly messages: RequestMessage[],
    readonly beside: boolean,
  ) {}

  /** Answers leave together, once all are there. */
  say(...replies: { seq: number }[]) {
    this.#replies.push(...replies);
    if (this.#replies.length < this.messages.length || this.answered || this.line.closed) return;
    this.answered = true;
    if (!this.beside) this.line.bufferedBytes = 0;
    if (!this.aborted) this.line.handlers.message(JSON.stringify(this.#replies));
  }
  ok(seq: number, ok: unknown) {
    this.say({ seq, ok } as { seq: number });
  }
}

/** A connection over which the daemon says nothing unasked. */
export class AskingLine extends Line {
  readonly asks: Asked[] = [];

  override send(text: string) {
    if (this.bufferedBytes > 0) throw new Error("a frame was sent while another had no answer");
    this.bufferedBytes = text.length;
    this.#ask(text, false);
  }
  override close(last?: string) {
    if (last !== undefined) this.#ask(last, true);
    super.close();
  }
  apart(text: string) {
    const asked = this.#ask(text, true);
    return () => {
      asked.aborted = true;
    };
  }
  #ask(text: string, beside: boolean) {
    const asked = new Asked(this, JSON.parse(text), beside);
    this.frames.push(text);
    this.asks.push(asked);
    if (this.dead || this.closed) return asked;
    const replies = this.replies(asked.messages);
    queueMicrotask(() => asked.say(...replies));
    return asked;
  }
  /** Requests that wait for their answer, beside the others. */
  get waiting() {
    return this.asks.filter(({ beside, aborted, answered }) => beside && !aborted && !answered);
  }
}

export const welcome: Welcome = {
  protocol: 1,
  server: "fake/1",
  session: "s",
  namespace: "default",
  revision: 10,
  heartbeatMs: 1000,
  limits: {
    frameBytesMax: limits.frameBytesMax,
    operationsPerFrameMax: limits.operationsPerFrameMax,
    payloadBytesMax: limits.payloadBytesMax,
  },
};

export class FakeDaemon implements Transport {
  readonly lines: Line[] = [];
  /** Nobody listens. */
  down = false;
  /** Overrides for single operations. */
  script: Partial<Record<string, (message: RequestMessage, line: Line) => Reply>> = {};
  welcome = welcome;

  connect(_url: string, handlers: Handlers): Connection {
    const line = new Line(this, handlers);
    this.lines.push(line);
    queueMicrotask(() => {
      if (this.down) line.break(1006, "connection refused");
      else if (!line.closed) handlers.open();
    });
    return line;
  }

  get line(): Line {
    return this.lines[this.lines.length - 1] as Line;
  }

  answer(message: RequestMessage, line: Line): Reply {
    const scripted = this.script[message.op];
    if (scripted !== undefined) return scripted(message, line);
    const input = message.input as { workerId?: string; watchId?: string; taskId?: string };
    switch (message.op) {
      case "session.hello":
        return { ok: this.welcome };
      case "session.ping":
        return { ok: { revision: 10 } };
      case "worker.register":
        return {
          ok: { worker: { id: input.workerId }, heartbeatMs: 1000, silenceMs: 3000, leases: [], lost: [] },
        };
      case "worker.credit":
      case "worker.acknowledge":
        return { ok: { workerId: input.workerId } };
      case "watch.start":
        return { ok: { watchId: input.watchId, revision: 10 } };
      case "worker.heartbeat":
        return { ok: { leases: [], cancels: [] } };
      case "task.submit":
        return { ok: { id: `${message.seq}-0`, state: "queued", duplicate: false } };
      case "task.complete":
      case "task.fail":
      case "task.release":
      case "task.snooze":
      case "task.log":
      case "task.cancel":
      case "task.progress":
        return { ok: { id: input.taskId, state: "running", revision: 10 } };
      case "worker.unregister":
        return { ok: { workerId: input.workerId, released: [] } };
      default:
        return "silent";
    }
  }
}

export const aTask = (id: string, more: Partial<Task> = {}): Task => ({
  id,
  queue: "q",
  type: "t",
  payload: null,
  priority: "normal",
  state: "running",
  attempt: 1,
  attempts: 3,
  interruptions: 0,
  backoff: { strategy: "exponential", delayMs: 1000 },
  finalCodes: [],
  retryCodes: null,
  interruptionsMax: null,
  leaseMs: 30_000,
  timeoutMs: null,
  expiresAt: null,
  deadlineAt: null,
  idempotencyKey: null,
  uniqueHash: null,
  kind: null,
  graph: null,
  capabilities: [],
  requires: [],
  prefers: [],
  slots: 1,
  workerId: null,
  sticky: null,
  stickyMs: null,
  labels: {},
  group: null,
  limits: [],
  trace: null,
  createdAt: 0,
  runAt: null,
  startedAt: null,
  finishedAt: null,
  lease: null,
  progress: null,
  result: null,
  error: null,
  reason: null,
  revision: 5,
  ...more,
});

export const assigned = (id: string, token: number, more: Partial<Task> = {}) => ({
  event: "task.assigned",
  task: aTask(id, more),
  lease: { workerId: "w", token, deadlineAt: 0 },
});

/** A client that is connected to a daemon of its own. */
export async function connected() {
  const world = new World();
  const daemon = new FakeDaemon();
  const client = new CoordinationClient({ transport: daemon, environment: world });
  await client.connect();
  return { world, daemon, client };
}

/** The operations whose answers the daemon keeps for a repetition. */
export const isMutation = (op: string) => operations[op as CoreOperationName].kind === "mutation";

/** The same daemon by two ways, each of which can be shut. */
export class TwoWays {
  readonly daemon = new FakeDaemon();
  websocket: "open" | "refused" | "swallowed" | "mute" = "open";
  http: "open" | "refused" = "open";
  readonly sockets: Line[] = [];
  readonly requests: AskingLine[] = [];

  readonly transports = {
    websocket: {
      connect: (_url: string, handlers: Handlers): Connection => {
        const line = new Line(this.daemon, handlers);
        this.sockets.push(line);
        const way = this.websocket;
        if (way === "mute") line.dead = true;
        queueMicrotask(() => {
          if (way === "refused") line.break(1006, "the upgrade was refused");
          else if (way !== "swallowed" && !line.closed) handlers.open();
        });
        return line;
      },
    },
    http: {
      connect: (_url: string, handlers: Handlers): Connection => {
        const line = new AskingLine(this.daemon, handlers);
        this.requests.push(line);
        const way = this.http;
        queueMicrotask(() => {
          if (way === "refused") line.break(0, "connection refused");
          else if (!line.closed) handlers.open();
        });
        return line;
      },
    },
  };

  get socket(): Line {
    return this.sockets[this.sockets.length - 1] as Line;
  }
  get request(): AskingLine {
    return this.requests[this.requests.length - 1] as AskingLine;
  }
}
