/**
 * The client's side of a session: it outlives its connections. It numbers operations, gathers those of one turn
 * into one frame, repeats what was not answered after a reconnect, says what was, keeps the connection alive and
 * notices when it is dead. It knows nothing of tasks or workers, and never reads a clock or draws a number itself.
 *
 *   idle -> connecting -> connected -> disconnected -> connecting -> ...      close() or a fatal refusal -> closed
 *
 * The WebSocket comes first. Where it cannot be had and the daemon answers over HTTP, the session goes on there, and
 * looks for the WebSocket now and then; changing over, either way, is a reconnect like any other.
 *
 * Four sorts of operations. A mutation is repeated under its seq: the daemon recognises session and seq, and gives
 * the first answer again. A read is repeated because that harms nothing. What is bound to one connection (the
 * greeting, a ping, a watch, a worker's registration or claim) is never repeated: the next connection gets its own. What could hit another the second time (the drop of a namespace), or arrive twice
 * though it must not (a message that is delivered at most once), is sent once, and its caller is told when the answer is lost.
 */
import { type ErrorCode, type Problem, problem } from "../src/wire/errors.ts";
import type { Fence } from "../src/wire/fences.ts";
import { closeCodes, type EventMessage, protocolVersion } from "../src/wire/frames.ts";
import { limits } from "../src/wire/limits.ts";
import { type Input, type Output, operations, type RoutedOperationName } from "../src/wire/operations.ts";
import type { Welcome } from "../src/wire/state.ts";
import { ClientError, CortexError } from "./errors.ts";
import { addresses } from "./http.ts";
import type { Connection, Environment, Handlers, Timer, Transport, TransportName } from "./transport.ts";
import { Waiting } from "./waiting.ts";

export type SessionState = "idle" | "connecting" | "connected" | "disconnected" | "closed";

export type SessionOptions = {
  url: string;
  /** Where HTTP is, for when the WebSocket cannot be had. Default: what `url` suggests. */
  httpUrl?: string | undefined;
  token?: string | undefined;
  namespace?: string | undefined;
  /** Make the namespace if there is none. Default true. */
  create?: boolean | undefined;
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
  /** Of a change: only while this lease or lock stands; else it rejects with `fence-lost`. */
  if?: Fence | undefined;
};

/** What the session lets its users do beside calling: operations bound to the connection. */
type BoundOperation =
  | ("session.ping" | "worker.credit" | "worker.acknowledge" | "watch.start" | "watch.stop")
  | ("stats.start" | "stats.stop")
  | ("topic.subscribe" | "topic.unsubscribe" | "subscription.attach" | "subscription.detach")
  | ("worker.register" | "worker.heartbeat" | "task.claim");

/** What a session may be carried by; at least one. */
export type Transports = { [N in TransportName]?: Transport };

const read = 0;
const mutation = 1;
const bound = 2;
const boundMutation = 3;
const once = 4;
type Repetition = typeof read | typeof mutation | typeof bound | typeof boundMutation | typeof once;
/** What is not known to harm nobody when it happens twice; so is what this client does not know at all. */
const sentOnce: ReadonlySet<string> = new Set(["namespace.drop", "message.emit", "message.request"]);
const repetitionOf = (op: RoutedOperationName): Repetition =>
  sentOnce.has(op) || !(op in operations) ? once : operations[op].kind === "mutation" ? mutation : read;

const never = -1;

/** One operation without its answer. */
export class Pending {
  /** How long it asked the daemon to wait. */
  waitMs = 0;
  /** Over HTTP it must neither hold up others nor be held up by them. */
  beside = false;
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
/** So many attempts in a row without a WebSocket that lasts, and HTTP is tried. */
const failuresBeforeHttp = 3;
/** A WebSocket that was held for so long lasts. */
const lastingMs = 10_000;
/** How long after the change to HTTP the WebSocket is looked for; the wait doubles with each look in vain. */
const lookMs = { first: 5000, max: 60_000 };
/** How often a session sees that its own loop turns between two beats. */
const turnsPerBeat = 4;
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
  readonly #transports: Transports;
  readonly #addresses: Record<TransportName, string>;
  readonly #environment: Environment;

  #seq = 0;
  /** Everything without an answer, in the order of seq. */
  readonly #pending = new Map<number, Pending>();
  /** What is to be sent on this connection: first what is bound to it, then the rest in the order of seq. */
  #first: Pending[] = [];
  #queue: Pending[] = [];
  #queueHead = 0;
  /** Over HTTP, what goes beside the others and is no read that waits: each by itself. */
  #alone: Pending[] = [];
  /** The mutations in the order of seq; those before the head have their answer. */
  #mutations: Pending[] = [];
  #mutationsHead = 0;
  #mutationCount = 0;
  #mutationSeq = 0;
  #ackedSent = 0;

  #connection: Connection | null = null;
  /** What carries the connection that is, was last, or is being tried. */
  #carrier: TransportName;
  /** What the next attempt tries first. */
  #next: TransportName;
  /** WebSockets in a row that could not be had, or did not last. */
  #failures = 0;
  #lookMs = lookMs.first;
  #lookTimer: Timer = null;
  /** A WebSocket that is tried while HTTP carries the session. */
  #looking: Connection | null = null;
  readonly #waiting: Waiting;
  /** The number of the connection, so that what an old one still says is not heard. */
  #epoch = 0;
  #connectionCount = 0;
  #attempts = 0;
  #ceilingMs = 0;
  #welcomedAt = never;
  #flushing = false;
  /** What is said when it closes. */
  readonly #last: string[] = [];
  /** The daemon said that it stops: nothing more is sent on this connection. */
  #leaving = false;
  #sentAt = 0;
  /** When the newest frame came. */
  heardAt = 0;
  /** When the newest was sent of what was answered on a connection of which every frame is a beat of its workers. */
  beatAt = never;
  /** When the ping was sent that nothing has answered yet. */
  #pingedAt = never;
  #beatDueAt = 0;
  /** When a timer shows next that the loop turns, and the longest it has stood still since the last ping, as far as those tell. */
  #turnDueAt = 0;
  #loopAgeMs = 0;
  /** The last ping told of a loop that stood still: the next one, soon, tells that it turns. */
  #stood = false;
  /** How long this side may say nothing, where its leases ask for less than the heartbeat. */
  #silenceMs = Number.POSITIVE_INFINITY;
  /** Greeting, heartbeat or reconnect: a session waits for one of them at a time. */
  #timer: Timer = null;
  #holdTimer: Timer = null;

  constructor(
    options: SessionOptions,
    handlers: SessionHandlers,
    transports: Transports,
    environment: Environment,
  ) {
    this.#options = options;
    this.#handlers = handlers;
    this.#transports = transports;
    this.#addresses = addresses(options.url, options.httpUrl);
    this.#carrier = transports.websocket === undefined ? "http" : "websocket";
    this.#next = this.#carrier;
    this.#environment = environment;
    this.#waiting = new Waiting(environment);
    this.id = randomId(environment);
  }

  /** All mutations up to this seq have their answer. Reads are not counted: repeating one needs no kept answer. */
  get ackedThrough(): number {
    const oldest = this.#mutations[this.#mutationsHead];
    return oldest === undefined ? this.#mutationSeq : oldest.seq - 1;
  }

  /** What carries the connection; null: there is none. */
  get transport(): TransportName | null {
    return this.state === "connected" ? this.#carrier : null;
  }

  /** Whether the daemon can speak unasked on this connection. */
  get pushes(): boolean {
    return this.#connection !== null && this.#connection.apart === undefined;
  }

  /** Whether there ever may be a connection on which it can. */
  get mayPush(): boolean {
    return this.#transports.websocket !== undefined;
  }

  /** Operations without an answer. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  start(): void {
    if (this.state === "idle") this.#connect();
  }

  call<N extends RoutedOperationName>(op: N, input: Input<N>, options?: CallOptions): Promise<Output<N>> {
    return new Promise((resolve, reject) => {
      const pending = this.#add(
        op,
        input,
        repetitionOf(op),
        resolve as (output: never) => void,
        reject,
        options?.if,
      );
      if (pending === null) return;
      if (options !== undefined) this.#bind(pending, options);
      if (pending.done) return;
      this.#enqueue(pending);
      if (this.state === "idle") this.start();
      else this.#flushSoon();
    });
  }

  /** Before the session closes, where nothing is pushed: this is said all the same, and nobody hears the answer. */
  lastly<N extends RoutedOperationName>(op: N, input: Input<N>): void {
    const repetition = operations[op].kind === "mutation" ? boundMutation : bound;
    const pending = this.#add(op, input, repetition, ignore, ignore);
    if (pending !== null) this.#last.push(pending.text);
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
    if (pending.beside) this.#enqueue(pending);
    else this.#first.push(pending);
    this.#flushSoon();
  }

  close(error: Error = new ClientError("closed", "the client was closed")): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.closedBy = error;
    this.#drop(this.#last.length === 0 ? undefined : `[${this.#last.join(",")}]`);
    for (const pending of [...this.#pending.values()]) this.#refuse(pending, error);
    this.#handlers.state("closed", error.message);
  }

  // ------------------------------------------------------------------------------------------- connecting

  #connect(carrier: TransportName = this.#next): void {
    const epoch = ++this.#epoch;
    const current = () => epoch === this.#epoch;
    const url = this.#addresses[carrier];
    this.#carrier = carrier;
    this.#become("connecting", url);
    if (!current()) return;
    this.#awaitGreeting();
    try {
      this.#connection = this.#open(carrier, {
        open: () => current() && this.#greet(),
        message: (text) => current() && this.#receive(text),
        close: (code, reason, refusal) => current() && this.#closed(code, reason, refusal),
      });
    } catch (error) {
      // Only a url that is none throws here, and it will be none the next time too.
      this.close(
        new ClientError(
          "protocol",
          `cannot connect to ${url}: ${messageOf(error)}; an address is such as http://127.0.0.1:9500`,
        ),
      );
    }
  }

  #open(carrier: TransportName, handlers: Handlers): Connection {
    const { token, namespace } = this.#options;
    const environment = this.#environment;
    const connection = `${++this.#connectionCount}`;
    const greeter = { session: this.id, connection, token, namespace, environment };
    return (this.#transports[carrier] as Transport).connect(this.#addresses[carrier], handlers, greeter);
  }

  #awaitGreeting(): void {
    this.#setTimer(this.#greetingMs, () => {
      // What swallows a WebSocket instead of refusing it would do so again, at the same price.
      if (this.#carrier === "websocket") this.#failures += failuresBeforeHttp;
      this.#lost("the greeting took too long");
    });
  }

  get #greetingMs(): number {
    return this.#options.greetingMs ?? 10_000;
  }

  #closed(code: number, reason: string, refusal?: Problem): void {
    if (code === closeCodes.dropped) this.close(new CortexError(problem("namespace-dropped", reason)));
    else if (refusal !== undefined && this.state === "connecting" && finalRefusals.has(refusal.code))
      this.close(new CortexError(refusal));
    else this.#lost(refusal?.detail ?? (reason === "" ? `closed with code ${code}` : reason));
  }

  #greet(): void {
    const { token, namespace, create, client } = this.#options;
    const hello: Input<"session.hello"> = { protocol: protocolVersion, session: this.id };
    if (token !== undefined) hello.token = token;
    if (namespace !== undefined) hello.namespace = namespace;
    // One that was dropped meanwhile must not come back because a client of it does.
    if (create === false || this.welcome !== null) hello.create = false;
    if (client !== undefined) hello.client = client;
    const pending = this.#add("session.hello", hello, bound, this.#welcome, this.#unwelcome);
    if (pending === null) return;
    this.#connection?.send(`[${pending.text}]`, this.#greetingMs);
  }

  readonly #welcome = (welcome: Welcome): void => {
    const now = this.#environment.now();
    this.welcome = welcome;
    this.#welcomedAt = now;
    this.#sentAt = now;
    this.heardAt = now;
    this.#pingedAt = never;
    this.#loopAgeMs = 0;
    this.#stood = false;
    this.#first = [];
    this.#queue = [];
    this.#queueHead = 0;
    this.#alone = [];
    this.#waiting.drop();
    this.#next = this.mayPush ? "websocket" : "http";
    if (this.#carrier === "http" && this.mayPush) this.#lookLater();
    for (const pending of [...this.#pending.values()]) {
      if (pending.repetition === mutation && pending.sentAt !== never && now - pending.sentAt > repeatableMs)
        this.#refuse(
          pending,
          new ClientError(
            "outcome-unknown",
            `${pending.op} was sent, the answer was lost, and it is too old to ask`,
          ),
        );
      else this.#enqueue(pending);
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
    if (!error.retryable) this.close(error);
    else {
      // A refusal came all the way.
      this.#failures = 0;
      this.#lost(error.message, error.retryAfterMs);
    }
  };

  /** The connection is gone or of no use: what was sent on it is sent again on the next. */
  #lost(detail: string, retryAfterMs = 0): void {
    const had = this.#welcomedAt !== never;
    const heldMs = had ? this.#environment.now() - this.#welcomedAt : 0;
    // Only a connection that held for longer than the last wait shows that all is well again.
    if (heldMs > this.#ceilingMs) this.#attempts = 0;
    if (this.#carrier === "websocket") {
      if (heldMs > lastingMs) {
        this.#failures = 0;
        this.#lookMs = lookMs.first;
      } else this.#failures++;
    }
    const turnsToHttp =
      this.#carrier === "websocket" &&
      this.#transports.http !== undefined &&
      this.#failures >= failuresBeforeHttp;
    this.#next = turnsToHttp || !this.mayPush ? "http" : "websocket";
    this.#forsake(detail);
    // What is down altogether is down over HTTP as well: that costs one request more, and the wait stays the same.
    if (turnsToHttp && !had) {
      this.#connect();
      return;
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

  /** Lets go of the connection; what was bound to it is refused. */
  #forsake(detail: string): void {
    this.#drop();
    for (const pending of [...this.#pending.values()])
      if (pending.repetition === once) {
        const lost = `${pending.op} was sent and its answer was lost: ${detail}`;
        if (pending.sentAt !== never) this.#refuse(pending, new ClientError("outcome-unknown", lost));
      } else if (pending.repetition >= bound) this.#refuse(pending, new ClientError("disconnected", detail));
  }

  // ------------------------------------------------------------------------- looking for the WebSocket, on HTTP

  #lookLater(): void {
    const delayMs = this.#lookMs * (0.5 + this.#environment.random() / 2);
    this.#lookMs = Math.min(2 * this.#lookMs, lookMs.max);
    this.#lookTimer = this.#environment.setTimer(delayMs, () => this.#look());
  }

  /**
   * Opens a WebSocket beside the connection there is, and asks for any answer at all: a proxy may take the upgrade and
   * nothing after it. Greeting would end the connection there is, so that comes once an answer has come.
   */
  #look(): void {
    let epoch = this.#epoch;
    let found = false;
    const current = () => epoch === this.#epoch;
    const inVain = () => {
      this.#endLook();
      this.#lookLater();
    };
    this.#lookTimer = this.#environment.setTimer(this.#greetingMs, inVain);
    const looking = this.#open("websocket", {
      open: () => current() && looking.send('[{"op":"session.ping","seq":1}]', this.#greetingMs),
      message: (text) => {
        if (!current()) return;
        if (found) this.#receive(text);
        else {
          found = true;
          epoch = this.#changeTo(looking);
        }
      },
      close: (code, reason) => {
        if (!current()) return;
        if (found) this.#closed(code, reason);
        else inVain();
      },
    });
    this.#looking = looking;
  }

  /** Goes on over the WebSocket that was found; gives back the number of the connection. */
  #changeTo(found: Connection): number {
    this.#looking = null;
    this.#forsake("the WebSocket can be had again");
    const epoch = ++this.#epoch;
    this.#carrier = "websocket";
    this.#connection = found;
    this.#awaitGreeting();
    this.#become("connecting", this.#addresses.websocket);
    if (epoch === this.#epoch) this.#greet();
    return epoch;
  }

  #endLook(): void {
    if (this.#lookTimer !== null) this.#environment.clearTimer(this.#lookTimer);
    this.#lookTimer = null;
    const looking = this.#looking;
    this.#looking = null;
    looking?.close();
  }

  #drop(last?: string): void {
    this.#epoch++;
    const connection = this.#connection;
    this.#connection = null;
    this.#welcomedAt = never;
    this.#leaving = false;
    this.#ackedSent = 0;
    this.#clearTimer();
    this.#endLook();
    this.#waiting.drop();
    if (this.#holdTimer !== null) this.#environment.clearTimer(this.#holdTimer);
    this.#holdTimer = null;
    connection?.close(last);
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
    const answerBy = this.#pingedAt === never ? this.heardAt + every : this.#pingedAt + 2.5 * every;
    const speak = this.#speakMs;
    const dueAt = this.#stood ? now + every / 10 : Math.min(this.#sentAt + speak, answerBy);
    // While the socket takes nothing, a ping cannot leave: look again soon, but not at once.
    this.#beatDueAt = Math.max(dueAt, now + Math.min(speak / 4, every / 10));
    this.#scheduleTurn(now);
  }

  /** Over HTTP workers have beats of their own. */
  get #speakMs(): number {
    const every = (this.welcome as Welcome).heartbeatMs;
    return this.pushes ? Math.min(every, this.#silenceMs) : every;
  }

  /** More often than it beats, so that it does not miss for how long the loop stood still. */
  #scheduleTurn(now: number): void {
    const waitMs = Math.min(this.#beatDueAt - now, (this.welcome as Welcome).heartbeatMs / turnsPerBeat);
    this.#turnDueAt = now + waitMs;
    this.#setTimer(waitMs, () => this.#turned());
  }

  #turned(): void {
    const now = this.#environment.now();
    this.#loopAgeMs = Math.max(this.#loopAgeMs, now - this.#turnDueAt);
    if (now >= this.#beatDueAt || this.#stoodStill) this.#beat(now);
    else this.#scheduleTurn(now);
  }

  /** For how long the loop stood still at most, since this was last asked. */
  takeLoopAge(): number {
    const now = this.#environment.now();
    // Behind a loop that stood still the timers of others may come first.
    const age = Math.round(Math.max(this.#loopAgeMs, now - this.#turnDueAt));
    this.#loopAgeMs = 0;
    this.#turnDueAt = Math.max(this.#turnDueAt, now);
    return age;
  }

  /** It is worth a word of its own. */
  get #stoodStill(): boolean {
    return this.pushes && this.#loopAgeMs >= (this.welcome as Welcome).heartbeatMs / turnsPerBeat;
  }

  #beat(now: number): void {
    if (!this.pushes && (this.#connection?.bufferedBytes ?? 0) > 0) {
      this.#scheduleBeat(now);
      return;
    }
    const every = (this.welcome as Welcome).heartbeatMs;
    const late = now - this.#beatDueAt;
    // A process that was itself stopped (sleep, a long computation) has not listened: that is nobody's silence.
    if (late > every / 2 && this.#pingedAt !== never) this.#pingedAt += late;
    if (this.#pingedAt !== never && now - this.#pingedAt >= 2.5 * every) {
      this.#lost("the daemon did not answer a ping");
      return;
    }
    const stood = this.#stoodStill;
    if (
      stood ||
      this.#stood ||
      now - this.#sentAt >= this.#speakMs ||
      (this.#pingedAt === never && now - this.heardAt >= every)
    ) {
      if (this.#pingedAt === never) this.#pingedAt = now;
      const said = this.pushes ? { loopAgeMs: this.takeLoopAge() } : {};
      this.onConnection("session.ping", said, ignore, ignore);
      this.#flush();
      this.#stood = stood;
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
    fence?: Fence,
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
    const text = `{"op":"${op}","seq":${seq},"input":${json}${fence === undefined ? "" : `,"if":${JSON.stringify(fence)}`}}`;
    // A frame over the limit would end the connection, again and again as it is repeated.
    if (text.length * bytesPerUnitMax > limits.frameBytesMax && bytesOf(text) > limits.frameBytesMax - 64) {
      reject(new CortexError(problem("payload-too-large", `${op} does not fit one frame`)));
      return null;
    }
    this.#seq = seq;
    const pending = new Pending(seq, op, repetition, text, resolve, reject);
    pending.waitMs = Number((input as { waitMs?: unknown } | null)?.waitMs) || 0;
    pending.beside = pending.waitMs > 0 || op === "worker.heartbeat";
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

  /** Over HTTP what waits goes beside the others, and so do beats: a request that hangs must not cost leases. */
  #enqueue(pending: Pending): void {
    const asks = this.#connection?.apart !== undefined;
    if (!asks || !pending.beside) this.#queue.push(pending);
    else if (pending.repetition === read && pending.waitMs > 0) this.#waiting.add(pending);
    else this.#alone.push(pending);
  }

  /** What waits leaves now, and not when this turn ends: whoever is called next may hold the loop. */
  flush(): void {
    this.#flush();
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
    if (connection.apart !== undefined) {
      this.#flushApart(connection);
      // One frame at a time, so that operations are carried out in order; its answer brings us back here.
      if (connection.bufferedBytes > 0) return;
    }
    while (this.#first.length > 0 || this.#queueHead < this.#queue.length) {
      if (connection.bufferedBytes > bufferedBytesMax) {
        this.#hold();
        return;
      }
      if (now === never) now = this.#environment.now();
      const frame = this.#frame(now);
      if (frame === null) return;
      this.#sentAt = now;
      connection.send(frame, this.#patienceMs);
      if (connection.apart !== undefined) return;
    }
  }

  #flushApart(connection: Connection): void {
    this.#waiting.flush(connection, this.#patienceMs, this.#countMax);
    for (const pending of this.#alone.splice(0)) {
      if (pending.done) continue;
      const now = this.#environment.now();
      if (pending.sentAt === never) pending.sentAt = now;
      this.#sentAt = now;
      connection.apart?.(`[${pending.text}]`, pending.waitMs + this.#patienceMs);
    }
  }

  /** How long an answer that waits for nothing may take before the connection is held for dead. */
  get #patienceMs(): number {
    return 2.5 * (this.welcome as Welcome).heartbeatMs;
  }

  get #countMax(): number {
    return Math.min((this.welcome as Welcome).limits.operationsPerFrameMax, limits.operationsPerFrameMax);
  }

  /** The next frame, or null when all that is left must wait for answers. */
  #frame(now: number): string | null {
    const { frameBytesMax } = (this.welcome as Welcome).limits;
    const lengthMax = Math.floor(Math.min(frameBytesMax, limits.frameBytesMax) / bytesPerUnitMax) - 64;
    const countMax = this.#countMax;
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
    this.heardAt = this.#environment.now();
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
    if (this.#queueHead < this.#queue.length || !this.pushes) this.#flushSoon();
  }

  #answer({ seq, ok, error }: Message): void {
    if (seq === null || seq === undefined) {
      if (error !== undefined) this.#handlers.error(new CortexError(error));
      return;
    }
    const pending = this.#pending.get(seq);
    if (pending === undefined) return;
    if (pending.sentAt > this.beatAt && this.pushes) this.beatAt = pending.sentAt;
    if (error === undefined) {
      this.#settle(pending);
      pending.resolve(ok as never);
    } else if (error.code === leavingCode && pending.repetition < bound) {
      if (!this.#leaving) this.#leave();
    } else if (error.code === fullCode && this.state === "connected" && changesNothing(pending)) {
      // It had seen what was undone, and is asked again, of what stands.
      this.#waiting.forget(pending);
      this.#enqueue(pending);
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

/** While a disk is full it is answered, but for what was on its way when it became so. */
const changesNothing = ({ repetition }: Pending) => repetition === read || repetition === bound;

/** Said outside the frames, and the same the next time. */
const finalRefusals: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...(["unauthorized", "forbidden-host", "forbidden-origin"] as const),
  ...(["unknown-namespace", "namespace-dropped", "too-many-namespaces", "unsupported-protocol"] as const),
]);
const leavingCode: ErrorCode = "shutting-down";
const fullCode: ErrorCode = "disk-full";
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
