/**
 * A world for the client without a clock and without a network: time moves when a test says so, and the daemon at
 * the other end is a script that keeps what it was sent. It knows no tasks; what it answers, a test decides.
 */
import type { Connection, Environment, Handlers, Transport } from "../../client/transport.ts";
import { type ErrorCode, problem } from "../../src/wire/errors.ts";
import type { RequestMessage } from "../../src/wire/frames.ts";
import { limits } from "../../src/wire/limits.ts";
import { type CoreOperationName, operations } from "../../src/wire/operations.ts";
import type { Welcome } from "../../src/wire/state.ts";
import type { Task } from "../../src/wire/tasks.ts";

/** Lets every promise that can go on go on; takes no time of the world. */
export const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

type VirtualTimer = { at: number; order: number; callback: () => void };

export class World implements Environment {
  time = 1000;
  /** What random() gives next; 0.5 once they are used up. */
  draws: number[] = [];
  readonly timers = new Set<VirtualTimer>();
  #order = 0;

  now() {
    return this.time;
  }
  random() {
    return this.draws.shift() ?? 0.5;
  }
  setTimer(ms: number, callback: () => void) {
    const timer = { at: this.time + ms, order: this.#order++, callback };
    this.timers.add(timer);
    return timer;
  }
  clearTimer(timer: unknown) {
    this.timers.delete(timer as VirtualTimer);
  }

  async advance(ms: number) {
    const end = this.time + ms;
    await settle();
    for (;;) {
      const [next] = [...this.timers].sort((a, b) => a.at - b.at || a.order - b.order);
      if (next === undefined || next.at > end) break;
      this.timers.delete(next);
      this.time = Math.max(this.time, next.at);
      next.callback();
      await settle();
    }
    this.time = end;
  }
}

type Reply = { ok: unknown } | { error: ErrorCode; retryAfterMs?: number } | "silent";

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
    const messages = JSON.parse(text) as RequestMessage[];
    const replies: unknown[] = [];
    for (const message of messages) {
      this.received.push(message);
      const reply = this.daemon.answer(message, this);
      if (reply === "silent") continue;
      if ("ok" in reply) replies.push({ seq: message.seq, ok: reply.ok });
      else {
        const { error, retryAfterMs } = reply;
        replies.push({
          seq: message.seq,
          error: problem(error, "said the script", retryAfterMs === undefined ? {} : { retryAfterMs }),
        });
      }
    }
    if (replies.length > 0) queueMicrotask(() => this.say(...replies));
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
    return this.received.filter(({ op }) => !own.includes(op));
  }
  ops(op: string) {
    return this.received.filter((message) => message.op === op);
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
        return { ok: { workerId: input.workerId } };
      case "watch.start":
        return { ok: { watchId: input.watchId, revision: 10 } };
      case "task.submit":
        return { ok: { id: `${message.seq}-0`, state: "queued", duplicate: false } };
      case "task.complete":
      case "task.fail":
      case "task.release":
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
  leaseMs: 30_000,
  timeoutMs: null,
  idempotencyKey: null,
  kind: null,
  capabilities: [],
  labels: {},
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

/** The operations whose answers the daemon keeps for a repetition. */
export const isMutation = (op: string) => operations[op as CoreOperationName].kind === "mutation";
