/**
 * Frames that come as requests: one frame in, one frame of all its answers out, the same messages as over the
 * WebSocket. A client that names a connection has one here as well, from its greeting on: a newer greeting of the
 * session, over either transport, ends it, and what still arrives of it is refused and does nothing. That is what
 * keeps a late claim from taking tasks for nobody. It knows no server; it is handed frames and signals.
 */
import type { Engine } from "../engine/engine.ts";
import {
  greetingRefused,
  type Receiver,
  readFrame,
  type SessionHolder,
  waitsFor,
  welcomeOf,
} from "../engine/frames.ts";
import { administer } from "../engine/namespaces.ts";
import { type Answer, type Caller, QuietSink } from "../engine/types.ts";
import { validate } from "../engine/validate.ts";
import { deferred } from "../lib/deferred.ts";
import { type ErrorCode, type Problem, problem } from "../wire/errors.ts";
import type { Fence } from "../wire/fences.ts";
import {
  type DaemonOperationName,
  type Input,
  type OperationName,
  operations,
  type StateOperationName,
} from "../wire/operations.ts";

/** What frames need of the engine, beside what routes do. */
export type FramePort = Pick<
  Engine,
  | ("request" | "answer" | "sessions" | "config" | "revision" | "durableRevision" | "onTurn")
  | ("namespace" | "namespaces" | "view")
>;

/** Whose frame it is, as the request's headers say. */
export type From = {
  /** "": the frame greets. */
  session: string;
  /** The connection it belongs to; null: none, the request stands alone. */
  connection: string | null;
  /** The request is gone. */
  signal: AbortSignal;
  /** The answer will take long, on purpose. */
  waits(): void;
};

/** A connection on which nothing came for so long is forgotten: the next frame has to greet again. */
const idleMsMax = 60_000;
/** Heard of since the last look at the clock. */
const unknown = -1;

class PostConnection implements SessionHolder {
  quietSince = unknown;
  requestCount = 0;
  readonly #end = new AbortController();

  constructor(readonly name: string) {}

  get ended(): AbortSignal {
    return this.#end.signal;
  }

  readonly sink = null;

  takenOver(): void {
    this.#end.abort();
  }

  /** Who waits was told. */
  dropped(): void {
    this.#end.abort();
  }
}

/** One frame, until all of it is answered. */
class Post extends QuietSink implements Receiver {
  open = true;
  #ackedThrough = 0;
  #text = "";
  #unanswered = 0;
  #isRead = false;
  /** Operations that wait, and what ends their waits: `gone` for nobody, `enough` with an answer. */
  readonly #waiting = new Set<number>();
  readonly #gone: AbortSignal;
  readonly #enough = new AbortController();
  readonly answered: Promise<string>;
  #resolve!: (text: string) => void;

  constructor(
    private readonly port: FramePort,
    private readonly from: From,
    private session: string,
    connection: PostConnection | null,
  ) {
    super();
    this.#gone = connection === null ? from.signal : AbortSignal.any([from.signal, connection.ended]);
    this.answered = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  read(frame: unknown): void {
    readFrame(frame, this);
    this.#isRead = true;
    this.#settle();
  }

  get greeted(): boolean {
    return this.session !== "";
  }

  acknowledged(through: number): void {
    if (through > this.#ackedThrough) this.#ackedThrough = through;
  }

  refuse(seq: number | null, code: ErrorCode, detail: string): void {
    this.#reply(seq, { error: problem(code, detail) });
  }

  carryOut(op: OperationName, seq: number, input: unknown, fence?: Fence): void {
    const { kind } = operations[op];
    if (kind === "session") {
      this.#sessionOperation(op, seq, input);
      return;
    }
    if (kind === "daemon") {
      this.#unanswered++;
      void administer(this.port, op as DaemonOperationName, input).then((answer) => this.answer(seq, answer));
      return;
    }
    const { session, port } = this;
    const caller: Caller = { who: session, session, seq, ackedThrough: this.#ackedThrough, fence };
    const waits = waitsFor(op, input);
    if (waits) {
      caller.signal = this.#gone;
      caller.enough = this.#enough.signal;
    }
    this.#unanswered++;
    const answer = port.request(op as StateOperationName, input, caller, this);
    if (!waits || answer !== null) return;
    this.#waiting.add(seq);
    this.from.waits();
  }

  #sessionOperation(op: OperationName, seq: number, input: unknown): void {
    const invalid = validate(op, input);
    if (invalid !== null) this.#reply(seq, { error: invalid });
    else if (op === "session.hello") this.#hello(seq, input as Input<"session.hello">);
    else if (op === "session.ping") {
      this.#unanswered++;
      this.answer(seq, { ok: `{"revision":${this.port.durableRevision}}` });
    } else this.refuse(seq, "connection-needed", `${op} was sent over HTTP`);
  }

  /** The connection that it opens stands since before the frame was read. */
  #hello(seq: number, input: Input<"session.hello">): void {
    const refused = greetingRefused(input, this.session, this.port.namespace);
    if (refused !== null) {
      this.#reply(seq, { error: refused });
      return;
    }
    if (this.session === "") {
      if (input.session === undefined) {
        this.refuse(seq, "invalid-input", "over HTTP a session's id is the client's: name one");
        return;
      }
      this.session = input.session;
    }
    this.#reply(seq, { ok: JSON.stringify(welcomeOf(this.port, this.session)) });
  }

  #reply(seq: number | null, answer: Answer): void {
    this.#unanswered++;
    this.port.answer(this, seq, answer);
  }

  // --- as the engine's sink -------------------------------------------------------------------------------

  answer(seq: number | null, answer: Answer): void {
    if (this.#text !== "") this.#text += ",";
    this.#text +=
      "ok" in answer
        ? `{"seq":${seq},"ok":${answer.ok}}`
        : `{"seq":${seq},"error":${JSON.stringify(answer.error)}}`;
    this.#unanswered--;
    // The waits of a frame end together: nobody hears of the first before the last. Later, because the engine is in
    // the middle of letting answers out.
    if (seq !== null && this.#waiting.delete(seq) && this.#waiting.size > 0)
      queueMicrotask(() => this.#enough.abort());
    this.#settle();
  }

  #settle(): void {
    if (this.#isRead && this.#unanswered === 0) this.#resolve(`[${this.#text}]`);
  }
}

export class Posts {
  readonly #connections = new Map<string, PostConnection>();

  constructor(private readonly port: FramePort) {
    port.onTurn((now) => this.#forgetIdle(now));
  }

  /** The text of the answering frame, or why none of the frame was carried out. */
  async take(frame: unknown, from: From): Promise<string | Problem> {
    const named = this.#connectionOf(frame, from);
    if (named !== null && !(named instanceof PostConnection)) return named;
    const post = new Post(this.port, from, from.session, named);
    if (named === null) {
      post.read(frame);
      return post.answered;
    }
    named.requestCount++;
    post.read(frame);
    const over = deferred<Problem>();
    const end = () => over.resolve(notOpen(from));
    named.ended.addEventListener("abort", end, { once: true });
    try {
      return await Promise.race([post.answered, over.promise]);
    } finally {
      named.ended.removeEventListener("abort", end);
      named.requestCount--;
      named.quietSince = unknown;
    }
  }

  #connectionOf(frame: unknown, from: From): PostConnection | Problem | null {
    const { session, connection: name } = from;
    if (name === null) return null;
    const known = this.#connections.get(session);
    if (known?.name === name) return known;
    const first = (Array.isArray(frame) ? frame[0] : frame) as { op?: unknown; input?: unknown } | null;
    if (first?.op !== "session.hello") return notOpen(from);
    const hello = first.input ?? {};
    const refused =
      validate("session.hello", hello) ??
      greetingRefused(hello as Input<"session.hello">, session, this.port.namespace);
    if (refused !== null) return refused;
    const opened = new PostConnection(name);
    const { sessions } = this.port;
    sessions.get(session)?.takenOver();
    sessions.set(session, opened);
    this.#connections.set(session, opened);
    opened.ended.addEventListener("abort", () => this.#forget(session, opened), { once: true });
    return opened;
  }

  #forget(session: string, connection: PostConnection): void {
    if (this.#connections.get(session) === connection) this.#connections.delete(session);
    if (this.port.sessions.get(session) === connection) this.port.sessions.delete(session);
  }

  #forgetIdle(now: number): void {
    for (const [session, connection] of this.#connections) {
      if (connection.requestCount > 0) continue;
      if (connection.quietSince === unknown) connection.quietSince = now;
      else if (now - connection.quietSince > idleMsMax) this.#forget(session, connection);
    }
  }
}

const notOpen = ({ session, connection }: From): Problem =>
  problem(
    "greeting-expected",
    `session ${session} has no open connection ${connection}: it must greet first`,
  );
