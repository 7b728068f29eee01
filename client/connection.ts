/**
 * The client's side of a session: it outlives its connections. It numbers operations, gathers those of one turn
 * into one frame, repeats what was not answered after a reconnect, says what was, keeps the connection alive and
 * notices when it is dead. It knows nothing of tasks or workers, and never reads a clock or draws a number itself.
 *
 *   idle -> connecting -> connected -> disconnected -> connecting -> ...      close() or a fatal refusal -> closed
 *
 * Three sorts of operations. A mutation is repeated under its seq: the daemon recognises session and seq, and gives
 * the first answer again. A read is repeated because that harms nothing. What is bound to one connection (the
 * greeting, a ping, a watch, a worker's registration) is never repeated: the next connection gets its own.
 */
import { type ErrorCode, type Problem, problem } from "../src/wire/errors.ts";
import { type EventMessage, protocolVersion } from "../src/wire/frames.ts";
import { limits } from "../src/wire/limits.ts";
import { type CoreOperationName, type Input, type Output, operations } from "../src/wire/operations.ts";
import type { Welcome } from "../src/wire/state.ts";
import { ClientError, CortexError } from "./errors.ts";
import type { Connection, Environment, Timer, Transport } from "./transport.ts";

export type SessionState = "idle" | "connecting" | "connected" | "disconnected" | "closed";

export type SessionOptions = {
  url: string;
  token?: string | undefined;
  namespace?: string | undefined;
  /** Name and version of the program, for the daemon's log. */
  client?: string | undefined;
  /** The ceiling of the first wait before a reconnect, in ms; it doubles with each failure. Default 100. */
  backoffMs?: number | undefined;
  /** The highest that ceiling gets, in ms. Default 10,000. */
  backoffMaxMs?: number | undefined;
  /** How long connecting and greeting may take together, in ms. Default 10,000. */
  greetingMs?: number | undefined;
};

export type SessionHandlers = {
  /** The greeting was answered: what is bound to the connection is sent from here, ahead of what is repeated. */
  welcomed(welcome: Welcome): void;
  event(message: EventMessage): void;
  state(state: SessionState, detail: string): void;
  /** A reconnect is planned. */
  retrying(attempt: number, delayMs: number): void;
  /** The other side broke the protocol, or refused a frame that it could not read. */
  error(error: Error): void;
};

export type CallOptions = {
  /** Gives up waiting. A request that was sent may be carried out all the same. */
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
};

/** What the session lets its users do beside calling: operations bound to the connection. */
type BoundOperation = "session.ping" | "worker.credit" | "watch.start" | "watch.stop" | "worker.register";

const read = 0;
const mutation = 1;
const bound = 2;
const boundMutation = 3;
type Repetition = typeof read | typeof mutation | typeof bound | typeof boundMutation;

const never = -1;

/** One operation without its answer. */
class Pending {
  /** Its place among the session's mutations. */
  ordinal = 0;
  /** When it first left this process. */
  sentAt = never;
  done = false;
  cleanup: (() => void) | null = null;

  constructor(
    readonly seq: number,
    readonly op: string,
    readonly repetition: Repetition,
    readonly text: string,
    readonly resolve: (output: never) => void,
    readonly reject: (error: Error) => void,
  ) {}
}

/** What waits in the socket before the session holds back the rest. */
const bufferedBytesMax = 8 * 1024 * 1024;
/** The daemon forgets answers at this age; some time is left for the way there. */
const repeatableMs = limits.answerAgeMsMax - 30_000;
/** A UTF-16 unit is at most three bytes of UTF-8. */
const bytesPerUnitMax = 3;

export class Session {
  readonly id: string;
  state: SessionState = "idle";
  welcome: Welcome | null = null;
  /** Why it is closed. */
  closedBy: Error | null = null;

  readonly #options: SessionOptions;
  readonly #handlers: SessionHandlers;
  readonly #transport: Transport;
  readonly #environment: Environment;

  #seq = 0;
  /** Everything without an answer, in the order of seq. */
  readonly #pending = new Map<number, Pending>();
  /** What is to be sent on this connection: first what is bound to it, then the rest in the order of seq. */
  #first: Pending[] = [];
  #queue: Pending[] = [];
  #queueHead = 0;
  /** The mutations in the order of seq; those before the head have their answer. */
  #mutations: Pending[] = [];
  #mutationsHead = 0;
  #mutationCount = 0;
  #mutationSeq = 0;
  #ackedSent = 0;

  #connection: Connection | null = null;
  /** The number of the connection, so that what an old one still says is not heard. */
  #epoch = 0;
  #attempts = 0;
  #ceilingMs = 0;
  #welcomedAt = never;
  #flushing = false;
  /** The daemon said that it stops: nothing more is sent on this connection. */
  #leaving = false;
  #sentAt = 0;
  #heardAt = 0;
  /** When the ping was sent that nothing has answered yet. */
  #pingedAt = never;
  #beatDueAt = 0;
  /** How long this side may say nothing, where its leases ask for less than the heartbeat. */
  #silenceMs = Number.POSITIVE_INFINITY;
  /** Greeting, heartbeat or reconnect: a session waits for one of them at a time. */
  #timer: Timer = null;
  #holdTimer: Timer = null;

  constructor(
    options: SessionOptions,
    handlers: SessionHandlers,
    transport: Transport,
    environment: Environment,
  ) {
    this.#options = options;
    this.#handlers = handlers;
    this.#transport = transport;
    this.#environment = environment;
    this.id = randomId(environment);
  }

  /** All mutations up to this seq have their answer. Reads are not counted: repeating one needs no kept answer. */
  get ackedThrough(): number {
    const oldest = this.#mutations[this.#mutationsHead];
    return oldest === undefined ? this.#mutationSeq : oldest.seq - 1;
  }

  /** Operations without an answer. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  start(): void {
    if (this.state === "idle") this.#connect();
  }

  call<N extends CoreOperationName>(op: N, input: Input<N>, options?: CallOptions): Promise<Output<N>> {
    return new Promise((resolve, reject) => {
      const repetition = operations[op].kind === "mutation" ? mutation : read;
      const pending = this.#add(op, input, repetition, resolve as (output: never) => void, reject);
      if (pending === null) return;
      if (options !== undefined) this.#bind(pending, options);
      if (pending.done) return;
      this.#queue.push(pending);
      if (this.state === "idle") this.start();
      else this.#flushSoon();
    });
  }

  /**
   * An operation for this connection alone. Its answer is handed over at once, before the events that follow it
   * in the same frame, which a promise would be too late for.
   */
  onConnection<N extends BoundOperation>(
    op: N,
    input: Input<N>,
    answered: (output: Output<N>) => void,
    refused: (error: Error) => void,
  ): void {
    if (this.state !== "connected") {
      refused(new ClientError("disconnected", `${op} needs a connection, and there is none`));
      return;
    }
    const repetition = operations[op].kind === "mutation" ? boundMutation : bound;
    const pending = this.#add(op, input, repetition, answered as (output: never) => void, refused);
    if (pending === null) return;
    this.#first.push(pending);
    this.#flushSoon();
  }

  close(error: Error = new ClientError("closed", "the client was closed")): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.closedBy = error;
    this.#drop();
    for (const pending of [...this.#pending.values()]) this.#refuse(pending, error);
    this.#handlers.state("closed", error.message);
  }

  // ------------------------------------------------------------------------------------------- connecting

  #connect(): void {
    const epoch = ++this.#epoch;
    const current = () => epoch === this.#epoch;
    this.#become("connecting", this.#options.url);
    if (!current()) return;
    this.#setTimer(this.#options.greetingMs ?? 10_000, () => this.#lost("the greeting took too long"));
    try {
      this.#connection = this.#transport.connect(this.#options.url, {
        open: () => current() && this.#greet(),
        message: (text) => current() && this.#receive(text),
        close: (code, reason) => current() && this.#lost(reason === "" ? `closed with code ${code}` : reason),
      });
    } catch (error) {
      // Only a url that is none throws here, and it will be none the next time too.
      this.close(new ClientError("protocol", `cannot connect to ${this.#options.url}: ${messageOf(error)}`));
    }
  }

  #greet(): void {
    const { token, namespace, client } = this.#options;
    const hello: Input<"session.hello"> = { protocol: protocolVersion, session: this.id };
    if (token !== undefined) hello.token = token;
    if (namespace !== undefined) hello.namespace = namespace;
    if (client !== undefined) hello.client = client;
    const pending = this.#add("session.hello", hello, bound, this.#welcome, this.#unwelcome);
    if (pending === null) return;
    this.#connection?.send(`[${pending.text}]`);
  }

  readonly #welcome = (welcome: Welcome): void => {
    const now = this.#environment.now();
    this.welcome = welcome;
    this.#welcomedAt = now;
    this.#sentAt = now;
    this.#heardAt = now;
    this.#pingedAt = never;
    this.#first = [];
    this.#queue = [];
    this.#queueHead = 0;
    for (const pending of [...this.#pending.values()]) {
      if (pending.repetition === mutation && pending.sentAt !== never && now - pending.sentAt > repeatableMs)
        this.#refuse(
          pending,
          new ClientError(
            "outcome-unknown",
            `${pending.op} was sent, the answer was lost, and it is too old to ask`,
          ),
        );
      else this.#queue.push(pending);
    }
    this.state = "connected";
    this.#handlers.welcomed(welcome);
    // A listener may have closed the session.
    if ((this.state as SessionState) !== "connected") return;
    this.#handlers.state("connected", welcome.server);
    if ((this.state as SessionState) !== "connected") return;
    this.#scheduleBeat(now);
    this.#flushSoon();
  };

  readonly #unwelcome = (error: Error): void => {
    if (!(error instanceof CortexError)) return;
    if (error.retryable) this.#lost(error.message, error.retryAfterMs);
    else this.close(error);
  };

  /** The connection is gone or of no use: what was sent on it is sent again on the next. */
  #lost(detail: string, retryAfterMs = 0): void {
    const now = this.#environment.now();
    // Only a connection that held for longer than the last wait shows that all is well again.
    if (this.#welcomedAt !== never && now - this.#welcomedAt > this.#ceilingMs) this.#attempts = 0;
    this.#drop();
    for (const pending of [...this.#pending.values()]) {
      if (pending.repetition >= bound) this.#refuse(pending, new ClientError("disconnected", detail));
    }
    this.#become("disconnected", detail);
    if (this.state !== "disconnected") return;
    const { backoffMs = 100, backoffMaxMs = 10_000 } = this.#options;
    this.#ceilingMs = Math.min(backoffMaxMs, backoffMs * 2 ** this.#attempts);
    this.#attempts++;
    // Full jitter: a thousand clients of a daemon that restarts do not come back at the same moment.
    const delayMs = Math.max(retryAfterMs, this.#environment.random() * this.#ceilingMs);
    this.#setTimer(delayMs, () => this.#connect());
    this.#handlers.retrying(this.#attempts, delayMs);
  }

  #drop(): void {
    this.#epoch++;
    const connection = this.#connection;
    this.#connection = null;
    this.#welcomedAt = never;
    this.#leaving = false;
    this.#ackedSent = 0;
    this.#clearTimer();
    if (this.#holdTimer !== null) this.#environment.clearTimer(this.#holdTimer);
    this.#holdTimer = null;
    connection?.close();
  }

  #become(state: SessionState, detail: string): void {
    this.state = state;
    this.#handlers.state(state, detail);
  }

  #setTimer(ms: number, callback: () => void): void {
    this.#clearTimer();
    this.#timer = this.#environment.setTimer(ms, () => {
      this.#timer = null;
      callback();
    });
  }

  #clearTimer(): void {
    if (this.#timer !== null) this.#environment.clearTimer(this.#timer);
    this.#timer = null;
  }

  // ---------------------------------------------------------------------------------------------- staying alive

  /** From now on says something at least this often (Infinity: as often as the daemon asks). */
  speakEvery(ms: number): void {
    const sooner = ms < this.#silenceMs;
    this.#silenceMs = ms;
    if (sooner && this.state === "connected") this.#scheduleBeat(this.#environment.now());
  }

  #scheduleBeat(now: number): void {
    const every = (this.welcome as Welcome).heartbeatMs;
    const answerBy = this.#pingedAt === never ? this.#heardAt + every : this.#pingedAt + 2.5 * every;
    const speak = Math.min(every, this.#silenceMs);
    const dueAt = Math.min(this.#sentAt + speak, answerBy);
    // While the socket takes nothing, a ping cannot leave: look again soon, but not at once.
    this.#beatDueAt = Math.max(dueAt, now + speak / 4);
    this.#setTimer(this.#beatDueAt - now, () => this.#beat());
  }

  #beat(): void {
    const now = this.#environment.now();
    const every = (this.welcome as Welcome).heartbeatMs;
    const late = now - this.#beatDueAt;
    // A process that was itself stopped (sleep, a long computation) has not listened: that is nobody's silence.
    if (late > every / 2 && this.#pingedAt !== never) this.#pingedAt += late;
    if (this.#pingedAt !== never && now - this.#pingedAt >= 2.5 * every) {
      this.#lost("the daemon did not answer a ping");
      return;
    }
    if (
      now - this.#sentAt >= Math.min(every, this.#silenceMs) ||
      (this.#pingedAt === never && now - this.#heardAt >= every)
    ) {
      if (this.#pingedAt === never) this.#pingedAt = now;
      this.onConnection("session.ping", {}, ignore, ignore);
      this.#flush();
    }
    this.#scheduleBeat(now);
  }

  // ------------------------------------------------------------------------------------------------ sending

  /** Gives an operation its seq; null when it cannot be sent at all, and then it has been refused. */
  #add(
    op: string,
    input: unknown,
    repetition: Repetition,
    resolve: (output: never) => void,
    reject: (error: Error) => void,
  ): Pending | null {
    if (this.state === "closed") {
      reject(new ClientError("closed", "the client is closed"));
      return null;
    }
    let json: string;
    try {
      json = JSON.stringify(input) ?? "{}";
    } catch (error) {
      reject(error as Error);
      return null;
    }
    const seq = this.#seq + 1;
    const text = `{"op":"${op}","seq":${seq},"input":${json}}`;
    // A frame over the limit would end the connection, again and again as it is repeated.
    if (text.length * bytesPerUnitMax > limits.frameBytesMax && bytesOf(text) > limits.frameBytesMax - 64) {
      reject(new CortexError(problem("payload-too-large", `${op} does not fit one frame`)));
      return null;
    }
    this.#seq = seq;
    const pending = new Pending(seq, op, repetition, text, resolve, reject);
    this.#pending.set(seq, pending);
    if (repetition === mutation || repetition === boundMutation) {
      pending.ordinal = this.#mutationCount++;
      this.#mutationSeq = seq;
      this.#mutations.push(pending);
    }
    return pending;
  }

  /** Ends the wait of one caller. The operation is not repeated any more; whether it was carried out stays open. */
  #bind(pending: Pending, { signal, timeoutMs }: CallOptions): void {
    if (signal?.aborted) {
      this.#refuse(pending, signal.reason);
      return;
    }
    const aborted = () => this.#refuse(pending, signal?.reason);
    signal?.addEventListener("abort", aborted, { once: true });
    const timer =
      timeoutMs === undefined
        ? null
        : this.#environment.setTimer(timeoutMs, () =>
            this.#refuse(
              pending,
              new ClientError("timeout", `no answer to ${pending.op} in ${timeoutMs} ms`),
            ),
          );
    pending.cleanup = () => {
      signal?.removeEventListener("abort", aborted);
      if (timer !== null) this.#environment.clearTimer(timer);
    };
  }

  #flushSoon(): void {
    if (this.#flushing || this.state !== "connected") return;
    this.#flushing = true;
    // Two hops: callers that were woken by one frame, at different depths of promises, still share the next one.
    queueMicrotask(this.#hop);
  }

  readonly #hop = () => queueMicrotask(this.#flushed);
  readonly #flushed = () => {
    this.#flushing = false;
    this.#flush();
  };

  #flush(): void {
    const connection = this.#connection;
    if (connection === null || this.state !== "connected" || this.#leaving) return;
    let now = never;
    while (this.#first.length > 0 || this.#queueHead < this.#queue.length) {
      if (connection.bufferedBytes > bufferedBytesMax) {
        this.#hold();
        return;
      }
      if (now === never) now = this.#environment.now();
      const frame = this.#frame(now);
      if (frame === null) return;
      this.#sentAt = now;
      connection.send(frame);
    }
  }

  /** The next frame, or null when all that is left must wait for answers. */
  #frame(now: number): string | null {
    const { frameBytesMax, operationsPerFrameMax } = (this.welcome as Welcome).limits;
    const lengthMax = Math.floor(Math.min(frameBytesMax, limits.frameBytesMax) / bytesPerUnitMax) - 64;
    const countMax = Math.min(operationsPerFrameMax, limits.operationsPerFrameMax);
    // The daemon keeps so many answers of a session; one that it may have let go of must not be asked for again.
    const oldest = this.#mutations[this.#mutationsHead];
    const ordinalMax = (oldest?.ordinal ?? this.#mutationCount) + limits.answersPerSessionMax - 1;
    let frame = "";
    let count = 0;
    while (count < countMax) {
      const own = this.#first.length > 0;
      const pending = own ? this.#first[0] : this.#queue[this.#queueHead];
      if (pending === undefined) break;
      if (!pending.done) {
        if (!own && pending.repetition === mutation && pending.ordinal > ordinalMax) break;
        if (count > 0 && frame.length + pending.text.length > lengthMax) break;
        if (pending.sentAt === never) pending.sentAt = now;
        if (count > 0) frame += `,${pending.text}`;
        else if (this.ackedThrough > this.#ackedSent) {
          this.#ackedSent = this.ackedThrough;
          frame = `{"ackedThrough":${this.#ackedSent},${pending.text.slice(1)}`;
        } else frame = pending.text;
        count++;
      }
      if (own) this.#first.shift();
      else this.#queueHead++;
    }
    if (this.#queueHead === this.#queue.length) {
      this.#queue = [];
      this.#queueHead = 0;
    }
    return count === 0 ? null : `[${frame}]`;
  }

  /** The socket is full: sends the rest once it has drained. */
  #hold(): void {
    this.#holdTimer ??= this.#environment.setTimer(5, () => {
      this.#holdTimer = null;
      this.#flush();
    });
  }

  // ---------------------------------------------------------------------------------------------- receiving

  #receive(text: string): void {
    const epoch = this.#epoch;
    this.#heardAt = this.#environment.now();
    this.#pingedAt = never;
    let messages: Message[];
    try {
      messages = JSON.parse(text);
      if (!Array.isArray(messages)) throw new Error("a frame is an array of messages");
    } catch (error) {
      this.#handlers.error(
        new ClientError("protocol", `the daemon sent what is no frame: ${messageOf(error)}`),
      );
      if (epoch === this.#epoch) this.#lost("the daemon sent what is no frame");
      return;
    }
    for (const message of messages) {
      if (message.event !== undefined) this.#handlers.event(message as unknown as EventMessage);
      else this.#answer(message);
      // An answer or a listener may have ended the connection; what else it said is no longer ours.
      if (epoch !== this.#epoch) return;
    }
    if (this.#queueHead < this.#queue.length) this.#flushSoon();
  }

  #answer({ seq, ok, error }: Message): void {
    if (seq === null || seq === undefined) {
      if (error !== undefined) this.#handlers.error(new CortexError(error));
      return;
    }
    const pending = this.#pending.get(seq);
    if (pending === undefined) return;
    if (error === undefined) {
      this.#settle(pending);
      pending.resolve(ok as never);
    } else if (error.code === leavingCode && pending.repetition < bound) {
      if (!this.#leaving) this.#leave();
    } else {
      this.#refuse(pending, new CortexError(error));
    }
  }

  /**
   * The daemon stops. What it refused for that reason was not carried out and goes to the next one, so that an
   * orderly restart shows no more to callers than a crash does.
   */
  #leave(): void {
    this.#leaving = true;
    this.#setTimer(this.welcome?.heartbeatMs ?? 1000, () => this.#lost("the daemon is stopping"));
  }

  #refuse(pending: Pending, error: Error): void {
    if (pending.done) return;
    this.#settle(pending);
    pending.reject(error);
  }

  #settle(pending: Pending): void {
    pending.done = true;
    this.#pending.delete(pending.seq);
    if (pending.cleanup !== null) pending.cleanup();
    const mutations = this.#mutations;
    if (mutations[this.#mutationsHead] !== pending) return;
    let head = this.#mutationsHead;
    while (head < mutations.length && (mutations[head] as Pending).done) head++;
    if (head === mutations.length) {
      this.#mutations = [];
      head = 0;
    } else if (head > 4096 && head * 2 > mutations.length) {
      this.#mutations = mutations.slice(head);
      head = 0;
    }
    this.#mutationsHead = head;
  }
}

type Message = { event?: string; seq?: number | null; ok?: unknown; error?: Problem };

const leavingCode: ErrorCode = "shutting-down";
const ignore = () => {};
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
const bytesOf = (text: string) => new TextEncoder().encode(text).length;

/** 128 bits in hexadecimal digits. */
export const randomId = (environment: Environment): string =>
  Array.from({ length: 4 }, () =>
    Math.floor(environment.random() * 2 ** 32)
      .toString(16)
      .padStart(8, "0"),
  ).join("");
