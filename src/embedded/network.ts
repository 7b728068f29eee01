/**
 * The network inside one process: clients on one side, a coordinator's listener on the other, the same frames as on a
 * socket between them, and no port. What is said arrives in order and never at once. It can be made as bad as real
 * ones are (late, cut, without WebSockets, losing an answer), and is good until somebody asks for that.
 */
import {
  type Connection,
  type Fetch,
  type Handlers,
  requestsOver,
  type Timer,
  type Transports,
} from "../../client/index.ts";
import type { RequestMessage } from "../wire/frames.ts";
import type { OperationName } from "../wire/operations.ts";
import type { Listener, ServerEnd } from "./life.ts";

/** Delays wait on it. */
type Timers = { now(): number; setTimer(ms: number, call: () => void): Timer };

/** One client's place on the network. */
export class Host {
  #isSilent = false;
  #held: (() => void)[] = [];

  carry(call: () => void): void {
    if (this.#isSilent) this.#held.push(call);
    else call();
  }

  /** Nothing gets to it or from it; what was said meanwhile arrives once it is over. */
  silence(isSilent: boolean): void {
    this.#isSilent = isSilent;
    while (!this.#isSilent && this.#held.length > 0) for (const call of this.#held.splice(0)) call();
  }
}

/** A turn of the loop, so that work in one process never keeps its timers and sockets waiting. */
const nextTurn: (call: () => void) => unknown =
  typeof setImmediate === "function" ? setImmediate : (call) => setTimeout(call, 0);

/** One direction of one connection. */
class Way {
  #lastAt = 0;
  #lateCount = 0;

  constructor(
    private readonly network: Network,
    private readonly host: Host,
    private readonly soon: (call: () => void) => unknown,
  ) {}

  carry(call: () => void): void {
    const { network, host } = this;
    const now = network.timers.now();
    this.#lastAt = Math.max(this.#lastAt, now + network.delayMs);
    if (this.#lastAt > now || this.#lateCount > 0) {
      this.#lateCount++;
      network.timers.setTimer(this.#lastAt - now, () => {
        this.#lateCount--;
        host.carry(call);
      });
      return;
    }
    network.soonCount++;
    this.soon(() => {
      network.soonCount--;
      host.carry(call);
    });
  }
}

class Link {
  #clientOpen = true;
  #end: ServerEnd | null = null;
  /** What is still on its way to the client is lost. */
  #isCut = false;
  readonly #up: Way;
  readonly #down: Way;
  /** The operation whose answer does not arrive. */
  #losesSeq: number | null = null;

  constructor(
    private readonly network: Network,
    readonly host: Host,
    private readonly handlers: Handlers,
  ) {
    this.#up = new Way(network, host, nextTurn);
    this.#down = new Way(network, host, queueMicrotask);
    this.#up.carry(() => this.#arrive());
  }

  #arrive(): void {
    const { listener, refusesWebSockets } = this.network;
    if (!this.#clientOpen) return;
    if (listener === null || refusesWebSockets) {
      this.#tellClosed(1006, listener === null ? "connection refused" : "the upgrade was refused");
      return;
    }
    this.network.links.add(this);
    this.#end = listener.accept({
      send: (text) => this.#send(text),
      close: (code, reason) => this.#closedByServer(code, reason),
      bufferedBytes: () => 0,
    });
    this.#toClient(() => this.handlers.open());
  }

  /** A frame of the client. */
  send(text: string): void {
    this.#up.carry(() => {
      if (this.#end === null) return;
      this.#losesSeq ??= this.network.losesAnswerTo(text);
      this.#end.receive(text);
    });
  }

  /** The client hangs up. */
  close(): void {
    this.#clientOpen = false;
    this.#up.carry(() => this.#serverEnd()?.closed());
  }

  /** The connection breaks, and both ends learn of it. */
  cut(): void {
    this.#isCut = true;
    this.#serverEnd()?.closed();
    this.#tellClosed(1006, "the connection broke");
  }

  #send(text: string): void {
    if (this.#end === null) return;
    if (this.#losesSeq !== null && messagesOf(text).some(({ seq }) => seq === this.#losesSeq)) this.cut();
    else this.#toClient(() => this.handlers.message(text));
  }

  #closedByServer(code: number, reason: string): void {
    if (this.#serverEnd() !== null) this.#tellClosed(code, reason);
  }

  #serverEnd(): ServerEnd | null {
    const end = this.#end;
    this.#end = null;
    this.network.links.delete(this);
    return end;
  }

  #toClient(tell: () => void): void {
    this.#down.carry(() => {
      if (this.#clientOpen && !this.#isCut) tell();
    });
  }

  #tellClosed(code: number, reason: string): void {
    this.#down.carry(() => {
      if (!this.#clientOpen) return;
      this.#clientOpen = false;
      this.handlers.close(code, reason);
    });
  }
}

/** A request that has no answer yet. */
type Asked = { host: Host; fail(): void };

export class Network {
  /** What stands at the address; null: nobody listens. */
  listener: Listener | null = null;
  refusesWebSockets = false;
  /** How long each frame is on its way, in either direction. */
  delayMs = 0;
  /** What arrives without time passing. */
  soonCount = 0;
  readonly links = new Set<Link>();
  readonly #asked = new Set<Asked>();
  #losing: { op: OperationName | null } | null = null;

  constructor(readonly timers: Timers) {}

  transports(host: Host): Required<Transports> {
    return {
      websocket: {
        connect: (_url, handlers): Connection => {
          const link = new Link(this, host, handlers);
          return { send: (text) => link.send(text), close: () => link.close(), bufferedBytes: 0 };
        },
      },
      http: requestsOver(this.#fetch(host)),
    };
  }

  /** Breaks the connections of a host; null: of all. */
  cut(host: Host | null): void {
    for (const one of [...this.links]) if (host === null || one.host === host) one.cut();
    for (const one of [...this.#asked]) if (host === null || one.host === host) one.fail();
  }

  /** The next operation of this name (null: of any but a connection's own) is carried out, and its answer is lost. */
  loseAnswer(op: OperationName | null): void {
    this.#losing = { op };
  }

  /** The seq in this frame whose answer is to be lost. */
  losesAnswerTo(frame: string): number | null {
    if (this.#losing === null) return null;
    const { op } = this.#losing;
    const lost = messagesOf(frame).find((one) => (op === null ? !isOwn.test(one.op) : one.op === op));
    if (lost === undefined) return null;
    this.#losing = null;
    return lost.seq;
  }

  #fetch(host: Host): Fetch {
    return (_address, { headers, body, signal }) =>
      new Promise((resolve, reject) => {
        const up = new Way(this, host, nextTurn);
        const down = new Way(this, host, queueMicrotask);
        const fail = (why: string) => down.carry(() => reject(new Error(why)));
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        up.carry(async () => {
          const { listener } = this;
          if (signal.aborted) return;
          if (listener === null) return fail("connection refused");
          const asked = { host, fail: () => this.#asked.delete(asked) && fail("the connection broke") };
          this.#asked.add(asked);
          const isLost = this.losesAnswerTo(body) !== null;
          const { "cortex-session": session = "", "cortex-connection": connection = null } = headers;
          const answer = await listener.post(body, { session, connection, signal, waits() {} });
          if (isLost) asked.fail();
          else if (this.#asked.delete(asked)) down.carry(() => resolve(responseOf(answer)));
        });
      });
  }
}

const isOwn = /^(session|watch)\.|^worker\.(credit|acknowledge|register|heartbeat)$/;

function messagesOf(frame: string): RequestMessage[] {
  const messages = JSON.parse(frame);
  return Array.isArray(messages) ? messages : [messages];
}

function responseOf(answer: Awaited<ReturnType<Listener["post"]>>): Awaited<ReturnType<Fetch>> {
  const isFrame = typeof answer === "string";
  const text = isFrame ? answer : JSON.stringify(answer);
  return {
    ok: isFrame,
    status: isFrame ? 200 : answer.status,
    headers: new Headers({ "content-type": isFrame ? "application/json" : "application/problem+json" }),
    text: async () => text,
  };
}
