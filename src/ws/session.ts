/**
 * One connection's side of the protocol (docs/PROTOCOL.md): frames in, operations to the engine, answers and
 * events out, coalesced into one frame a flush. It knows no socket: it is given a connection that sends text, so
 * the simulator runs it over a virtual network. A malformed message gets an error and the connection lives.
 *
 * A slow reader never slows the writer: over its watch budget change events are dropped and told as one gap;
 * over the socket's budget the connection is closed, because answers and pushes may not be dropped.
 */
import type { Engine } from "../engine/engine.ts";
import {
  greetingRefused,
  type Receiver,
  readFrame,
  type SessionHolder,
  shown,
  waitsFor,
  welcomeOf,
} from "../engine/frames.ts";
import { administer, engineOf, type Found } from "../engine/namespaces.ts";
import type { Answer, Caller, Sink } from "../engine/types.ts";
import { validate } from "../engine/validate.ts";
import { gapText, placeText, type Watch } from "../engine/watch.ts";
import { type ErrorCode, problem } from "../wire/errors.ts";
import type { Fence } from "../wire/fences.ts";
import { closeCodes } from "../wire/frames.ts";
import { limits } from "../wire/limits.ts";
import {
  type DaemonOperationName,
  type Input,
  type OperationName,
  operations,
  type StateOperationName,
} from "../wire/operations.ts";

export type Connection = {
  send(text: string): void;
  close(code: number, reason: string): void;
  /** What was sent and has not left this process yet. */
  bufferedBytes(): number;
};

/** What all connections of a daemon share. */
export type Sessions = {
  /** Of the namespace that a connection is in until it greets. */
  engine: Engine;
  /** Whether a token given in the greeting lets its bearer in. */
  admitsToken(token: string | undefined): boolean;
  /** A new session's id, for clients that bring none. */
  newId(): string;
};

/** A frame is sent when it has grown to this, so that a client can parse one while the next is made. */
const frameUnits = 1024 * 1024;
/** Operations that wait for a namespace to be made. */
const heldMax = 10 * limits.operationsPerFrameMax;

export class Session implements Sink, Receiver, SessionHolder {
  /** Of the namespace that the greeting chose. */
  #engine: Engine;
  /** "": not greeted yet. */
  #id = "";
  /** What came behind a greeting whose namespace is being made; null: none is. */
  #held: (() => void)[] | null = null;
  #ackedThrough = 0;
  #open = true;
  #frame = "";
  readonly #watches = new Map<string, Watch>();
  /** Watches that missed events, and the revisions they missed. */
  readonly #gaps = new Map<string, { from: number; to: number }>();
  /** What it listens on: what ends each. `gives`: what is on its way there goes to another at once. */
  readonly #subscriptions = new Map<string, (gives: boolean) => void>();
  /** Subscriptions that lost messages, and how many. */
  readonly #lost = new Map<string, number>();
  /** What the socket had not taken when it was last asked. */
  #buffered = 0;
  /** Ends the waits of this connection when it goes. */
  #waits: AbortController | null = null;

  constructor(
    private readonly sessions: Sessions,
    private readonly connection: Connection,
    /** The upgrade request bore a valid token, or none is needed. */
    private readonly admitted: boolean,
    /** The namespace, where the greeting names none. A state that stands alone is its own. */
    private readonly namespace: string = sessions.engine.namespace,
  ) {
    this.#engine = sessions.engine;
  }

  /** Or about to be: what comes now waits for that. */
  get greeted(): boolean {
    return this.#id !== "" || this.#held !== null;
  }

  // --- in -------------------------------------------------------------------------------------------------

  receive(text: string): void {
    if (!this.#open) return;
    this.#engine.counters.framesIn++;
    this.#engine.heard(this);
    this.#frameIn(text);
    // What needs not wait for the log leaves at once: pings, and refusals before the greeting.
    this.flush();
  }

  /** A frame that is no text. */
  receiveBinary(): void {
    if (!this.#open) return;
    this.#engine.counters.framesIn++;
    this.#engine.heard(this);
    this.refuse(null, "malformed-frame", "a frame is text, not binary");
    this.flush();
  }

  #frameIn(text: string): void {
    const bytes = text.length > limits.frameBytesMax / 3 ? Buffer.byteLength(text) : 0;
    if (bytes > limits.frameBytesMax) {
      this.refuse(
        null,
        "payload-too-large",
        `the frame has ${bytes} bytes; at most ${limits.frameBytesMax} are taken`,
      );
      return;
    }
    let frame: unknown;
    try {
      frame = JSON.parse(text);
    } catch (error) {
      this.refuse(null, "malformed-frame", `the frame is not JSON: ${shown((error as Error).message)}`);
      return;
    }
    readFrame(frame, this);
  }

  /** For readFrame. */
  get open(): boolean {
    return this.#open;
  }

  acknowledged(through: number): void {
    if (through > this.#ackedThrough) this.#ackedThrough = through;
  }

  carryOut(op: OperationName, seq: number, input: unknown, fence?: Fence): void {
    const { kind } = operations[op];
    if (this.#held !== null) this.#hold(op, seq, input, fence);
    else if (kind === "session") this.#sessionOperation(op, seq, input);
    else if (kind === "daemon") void this.#daemonOperation(op as DaemonOperationName, seq, input);
    else this.#stateOperation(op as StateOperationName, seq, input, fence);
  }

  #hold(op: OperationName, seq: number, input: unknown, fence?: Fence): void {
    if (this.#held!.length >= heldMax) this.refuse(seq, "busy", "the connection's namespace is being made");
    else
      this.#held!.push(() => {
        if (this.greeted || op === "session.hello") this.carryOut(op, seq, input, fence);
        else this.refuse(seq, "greeting-expected", `${op} came behind a greeting that was refused`);
      });
  }

  /** What it tells is so on disk already, and it has no place among the answers of a state. */
  async #daemonOperation(op: DaemonOperationName, seq: number, input: unknown): Promise<void> {
    this.answer(seq, await administer(this.#engine, op, input));
    this.flush();
  }

  #stateOperation(op: StateOperationName, seq: number, input: unknown, fence: Fence | undefined): void {
    const caller: Caller = { who: this.#id, session: this.#id, seq, ackedThrough: this.#ackedThrough, fence };
    if (waitsFor(op, input)) {
      this.#waits ??= new AbortController();
      caller.signal = this.#waits.signal;
    }
    const answer = this.#engine.request(op, input, caller, this);
    if (op === "worker.register" && answer !== null && "ok" in answer)
      this.#registered(input as Input<"worker.register">);
  }

  /** From here on the worker's tasks are pushed to this connection: all pushes come behind this answer. */
  #registered(input: Input<"worker.register">): void {
    const { workerId, instanceId, capacity } = input;
    // A repeated request may be answered long after another instance took the worker's id.
    const instance = this.#engine.core.workers.get(workerId)?.instanceId;
    if (instance === (instanceId ?? workerId)) this.#engine.attach(workerId, this, capacity ?? 1);
  }

  #sessionOperation(op: OperationName, seq: number, input: unknown): void {
    const invalid = validate(op, input);
    if (invalid !== null) {
      this.#reply(seq, { error: invalid });
      return;
    }
    switch (op) {
      case "session.hello":
        this.#hello(seq, input as Input<"session.hello">);
        return;
      case "session.ping": {
        const { loopAgeMs } = input as Input<"session.ping">;
        if (loopAgeMs !== undefined) this.#engine.turned(this, loopAgeMs);
        // Ahead of what waits for the disk: a slow disk must not look like a dead daemon.
        this.answer(seq, { ok: `{"revision":${this.#engine.durableRevision}}` });
        return;
      }
      case "worker.acknowledge": {
        const { workerId, token } = input as Input<"worker.acknowledge">;
        if (!this.#engine.isAttached(workerId, this)) {
          this.refuse(seq, "unknown-worker", `worker ${workerId} is not registered on this connection`);
          return;
        }
        this.#engine.core.acknowledge(workerId, token);
        this.#accept(seq, { workerId });
        return;
      }
      case "worker.credit": {
        const { workerId, credit } = input as Input<"worker.credit">;
        if (!this.#engine.isAttached(workerId, this)) {
          this.refuse(seq, "unknown-worker", `worker ${workerId} is not registered on this connection`);
          return;
        }
        this.#engine.attach(workerId, this, credit);
        this.#accept(seq, { workerId });
        return;
      }
      case "watch.start": {
        const filter = input as Input<"watch.start">;
        this.#endWatch(filter.watchId);
        if (this.#watches.size >= limits.watchesPerConnectionMax) {
          this.refuse(seq, "busy", `the connection has ${this.#watches.size} watches`);
          return;
        }
        // What the watch has missed follows its answer.
        this.#accept(seq, { watchId: filter.watchId, revision: this.#engine.revision });
        this.#watches.set(filter.watchId, this.#engine.watch(this, filter));
        return;
      }
      case "watch.stop": {
        const { watchId } = input as Input<"watch.stop">;
        this.#endWatch(watchId);
        this.#accept(seq, { watchId });
        return;
      }
      case "stats.start": {
        const { historyMs = 0 } = input as Input<"stats.start">;
        this.#accept(seq, { samples: this.#engine.stats.start(this, historyMs) });
        return;
      }
      case "stats.stop":
        this.#engine.stats.stop(this);
        this.#accept(seq, {});
        return;
      case "topic.subscribe":
        this.#subscribe(seq, input as Input<"topic.subscribe">);
        return;
      case "subscription.attach":
        this.#attach(seq, input as Input<"subscription.attach">);
        return;
      case "topic.unsubscribe":
      case "subscription.detach": {
        const { subscriptionId } = input as Input<"topic.unsubscribe" | "subscription.detach">;
        this.#endSubscription(subscriptionId, true);
        this.#accept(seq, { subscriptionId });
        return;
      }
      default:
        throw new Error(`${op} is not an operation of a session`);
    }
  }

  #hello(seq: number, input: Input<"session.hello">): void {
    if (!this.admitted && !this.sessions.admitsToken(input.token)) {
      this.refuse(seq, "unauthorized", "the greeting bore no valid token");
      this.end(closeCodes.unauthorized, "unauthorized");
      return;
    }
    const refused = greetingRefused(input, this.#id, this.#id === "" ? null : this.#engine.namespace);
    if (refused !== null) {
      this.#reply(seq, { error: refused });
      return;
    }
    const name = this.#id === "" ? (input.namespace ?? this.namespace) : this.#engine.namespace;
    const engine = engineOf(this.sessions.engine, name);
    const { namespaces } = this.sessions.engine;
    if (engine !== undefined) this.#welcome(seq, input, engine);
    else if (namespaces === null || input.create === false)
      this.refuse(seq, "unknown-namespace", `there is no namespace ${name}`);
    else {
      this.#held = [];
      void namespaces.make(name).then((found) => this.#made(seq, input, found));
    }
  }

  #made(seq: number, input: Input<"session.hello">, found: Found): void {
    const held = this.#held as (() => void)[];
    this.#held = null;
    if (!this.#open) return;
    if ("engine" in found) this.#welcome(seq, input, found.engine);
    else this.#reply(seq, found);
    for (const next of held) if (this.#open) next();
    this.flush();
  }

  #welcome(seq: number, input: Input<"session.hello">, engine: Engine): void {
    this.#engine = engine;
    const id = this.#id || (input.session ?? this.sessions.newId());
    const before = engine.sessions.get(id);
    if (before !== this) before?.takenOver();
    this.#id = id;
    engine.sessions.set(id, this);
    this.#accept(seq, welcomeOf(engine, id));
  }

  /** For the engine, which tells its session. */
  get sink(): Sink {
    return this;
  }

  takenOver(): void {
    this.#end(closeCodes.takenOver, "another connection took the session over");
  }

  dropped(): void {
    this.end(closeCodes.dropped, "the namespace was dropped");
  }

  #accept(seq: number, output: unknown): void {
    this.#engine.answer(this, seq, { ok: JSON.stringify(output) });
  }

  refuse(seq: number | null, code: ErrorCode, detail: string): void {
    this.#reply(seq, { error: problem(code, detail) });
  }

  /** In its place among the others. Before the greeting there are none, and the engine holds nothing for strangers. */
  #reply(seq: number | null, answer: Answer): void {
    if (this.#id !== "") this.#engine.answer(this, seq, answer);
    else this.answer(seq, answer);
  }

  // --- out ------------------------------------------------------------------------------------------------

  answer(seq: number | null, answer: Answer): void {
    if (!this.#open) return;
    this.#write(
      "ok" in answer
        ? `{"seq":${seq},"ok":${answer.ok}}`
        : `{"seq":${seq},"error":${JSON.stringify(answer.error)}}`,
    );
  }

  push(text: string): void {
    if (this.#open) this.#write(text);
  }

  change(watchId: string, revision: number, text: string): void {
    if (!this.#open || !this.#watches.has(watchId)) return;
    const gap = this.#gaps.get(watchId);
    if (this.#waiting() + text.length > limits.watchBufferBytesMax) {
      if (gap === undefined) {
        this.#engine.counters.watchGaps++;
        this.#gaps.set(watchId, { from: revision, to: revision });
      } else gap.to = revision;
      return;
    }
    if (gap !== undefined) this.#tellGaps();
    this.#write(text);
  }

  place(watchId: string, revision: number): void {
    // Not to whom a gap is to be told yet: what it is of was not told.
    if (this.#open && this.#watches.has(watchId) && !this.#gaps.has(watchId))
      this.#write(placeText(watchId, revision));
  }

  /** Asking the socket costs more than the message: it is asked once a frame. */
  message(subscriptionId: string, text: string): void {
    if (!this.#open || !this.#subscriptions.has(subscriptionId)) return;
    if (this.#frame.length + this.#buffered + text.length > limits.messageBufferBytesMax) {
      this.#engine.counters.messagesLost++;
      this.#lost.set(subscriptionId, (this.#lost.get(subscriptionId) ?? 0) + 1);
      return;
    }
    if (this.#lost.size > 0) this.#tellLost();
    this.#write(text);
  }

  ended(subscriptionId: string, name: string): void {
    if (!this.#open || !this.#subscriptions.has(subscriptionId)) return;
    this.#endSubscription(subscriptionId, true);
    this.#write(`{"event":"subscription.ended","subscriptionId":"${subscriptionId}","name":"${name}"}`);
  }

  #tellLost(): void {
    for (const [subscriptionId, count] of this.#lost)
      this.#write(`{"event":"messages.lost","subscriptionId":"${subscriptionId}","count":${count}}`);
    this.#lost.clear();
  }

  silent(_workerId: string): void {
    this.end(closeCodes.silent, "nothing was heard for too long");
  }

  flush(): void {
    if (this.#frame === "" || !this.#open) return;
    const frame = `[${this.#frame}]`;
    this.#frame = "";
    this.#engine.counters.framesOut++;
    this.connection.send(frame);
    this.#buffered = this.connection.bufferedBytes();
    if (this.#buffered > limits.socketBufferBytesMax) {
      this.#engine.counters.socketsTooSlow++;
      this.#engine.lines.warn("socket.slow", { session: this.#id });
      this.#end(closeCodes.tooSlow, "the socket is not read");
    }
  }

  /** The socket has taken what waited: whoever missed something is told so now. */
  drained(): void {
    if (this.#open) this.#engine.drained(this);
    this.#buffered = this.connection.bufferedBytes();
    if (!this.#open || (this.#gaps.size === 0 && this.#lost.size === 0)) return;
    const waiting = this.#waiting();
    // Part by part there would be a gap for each part.
    if (waiting <= limits.watchBufferBytesMax / 2) this.#tellGaps();
    if (waiting <= limits.messageBufferBytesMax / 2) this.#tellLost();
    this.flush();
  }

  #tellGaps(): void {
    for (const [watchId, { from, to }] of this.#gaps) this.#write(gapText(watchId, from, to));
    this.#gaps.clear();
  }

  backlog(): number {
    return this.connection.bufferedBytes();
  }

  #waiting(): number {
    return this.#frame.length + this.connection.bufferedBytes();
  }

  #write(text: string): void {
    this.#frame += this.#frame === "" ? text : `,${text}`;
    if (this.#frame.length > frameUnits) this.flush();
  }

  // --- the end --------------------------------------------------------------------------------------------

  /** The connection is gone. Its workers keep their leases and have as long as a lease lasts to come back. */
  closed(): void {
    if (!this.#open) return;
    this.#open = false;
    const { sessions } = this.#engine;
    if (sessions.get(this.#id) === this) sessions.delete(this.#id);
    this.#engine.leave(this);
    for (const watch of this.#watches.values()) this.#engine.unwatch(watch);
    for (const subscriptionId of [...this.#subscriptions.keys()])
      this.#endSubscription(subscriptionId, false);
    this.#waits?.abort();
  }

  /** Closes the connection from this side. */
  #end(code: number, reason: string): void {
    this.closed();
    this.connection.close(code, reason);
  }

  /** As `#end`, after what may leave has left. */
  end(code: number, reason: string): void {
    this.flush();
    this.#end(code, reason);
  }

  #subscribe(seq: number, { subscriptionId, topic, group }: Input<"topic.subscribe">): void {
    if (!this.#mayListen(seq, subscriptionId)) return;
    this.#listens(subscriptionId, this.#engine.listen(topic, group ?? null, { sink: this, subscriptionId }));
    this.#accept(seq, { subscriptionId });
  }

  #attach(seq: number, input: Input<"subscription.attach">): void {
    const { subscriptionId } = input;
    if (!this.#mayListen(seq, subscriptionId)) return;
    const attached = this.#engine.attachTo(this, this.#id, input);
    if ("error" in attached) {
      this.#reply(seq, attached);
      return;
    }
    this.#listens(subscriptionId, attached.end);
    this.#accept(seq, { subscriptionId, lost: attached.lost });
  }

  #mayListen(seq: number, subscriptionId: string): boolean {
    this.#endSubscription(subscriptionId, true);
    if (this.#subscriptions.size < limits.subscriptionsPerConnectionMax) return true;
    this.refuse(seq, "busy", `the connection has ${this.#subscriptions.size} subscriptions`);
    return false;
  }

  #listens(subscriptionId: string, end: (gives: boolean) => void): void {
    this.#subscriptions.set(subscriptionId, end);
    this.#engine.counters.subscriptionsOpen++;
  }

  #endSubscription(subscriptionId: string, gives: boolean): void {
    const end = this.#subscriptions.get(subscriptionId);
    if (end === undefined) return;
    end(gives);
    this.#subscriptions.delete(subscriptionId);
    this.#lost.delete(subscriptionId);
    this.#engine.counters.subscriptionsOpen--;
  }

  #endWatch(watchId: string): void {
    const watch = this.#watches.get(watchId);
    if (watch === undefined) return;
    this.#engine.unwatch(watch);
    this.#watches.delete(watchId);
    this.#gaps.delete(watchId);
  }
}
