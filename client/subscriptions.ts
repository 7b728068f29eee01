/**
 * The subscriptions of a client, over all its connections. A live one hears what is published while it is connected: what
 * came between is lost to it, and told as lost. One that lasts is kept by the daemon: each new connection attaches to it
 * again and names what is still worked on, so that it goes on as if nothing had been. What is worked on is said to be so
 * while it takes long, and what was done is acknowledged together with all else of one turn. Over HTTP, where nothing is
 * pushed, those that last are asked for (`pulls.ts`), and live ones hear nothing.
 */
import { problem } from "../src/wire/errors.ts";
import type { EventMessage } from "../src/wire/frames.ts";
import { limits } from "../src/wire/limits.ts";
import type { MessagePage, MessageView } from "../src/wire/messages.ts";
import type { Input, Output } from "../src/wire/operations.ts";
import type { SubscriptionView } from "../src/wire/subscriptions.ts";
import type { CallOptions, Session } from "./connection.ts";
import { ClientError, CortexError, isClosed, isRefused } from "./errors.ts";
import { slicesOf } from "./iterate.ts";
import { type Puller, Pulls, retryMs } from "./pulls.ts";
import type { Caller } from "./tasks.ts";
import type { Timer } from "./transport.ts";

/**
 * Of what is delivered at most once, `count` messages were lost to this subscription; null: it is not known how many, the
 * connection was away. What a name keeps is never lost so.
 */
export type Lost = { count: number | null };

/** Which messages, and how. */
export type Wanted =
  | { kind: "live"; topic: string; group: string | undefined }
  | { kind: "lasting"; put: Input<"subscription.put">; window: number | undefined };

export type Told = {
  message(view: MessageView): void;
  lost(lost: Lost): void;
  failed(error: Error): void;
};

/** Whoever calls, and can tell what nobody else was told of. */
export type Teller = Caller & { tell(error: unknown): void };

/** What a subscription lets its user do. */
export class Subscribed {
  /** Delivered, and neither acknowledged nor refused here. */
  readonly held = new Set<string>();
  readonly #acks: string[] = [];
  /** Acknowledged and refused, with no answer yet. */
  readonly #acking = new Set<string>();
  readonly #nacking = new Set<string>();
  readonly #caller: Teller;
  readonly #name: string;
  readonly #roomy: () => void;

  /** `roomy` is told that fewer are held. */
  constructor(caller: Teller, name: string, roomy: () => void) {
    this.#caller = caller;
    this.#name = name;
    this.#roomy = roomy;
  }

  /** It is worked on here, or was, and its acknowledgement is on its way. */
  has(messageId: string): boolean {
    return this.held.has(messageId) || this.#acking.has(messageId);
  }
  /** What this side has had and the daemon may not know settled: that must not come again. */
  get unsettled(): string[] {
    return [...new Set([...this.held, ...this.#acking])];
  }
  /** The same and what was refused, whose refusal may pass, or be passed by, what names this. */
  get holding(): string[] {
    return [...new Set([...this.held, ...this.#acking, ...this.#nacking])];
  }
  /** What was acknowledged, and is not known to be. */
  get settling(): string[] {
    return [...this.#acking];
  }

  /** It was done. Those of one turn go together; one that did not wait any more needs nothing. */
  done(messageId: string): void {
    if (!this.held.delete(messageId)) return;
    this.#acks.push(messageId);
    this.#acking.add(messageId);
    if (this.#acks.length === 1) queueMicrotask(() => queueMicrotask(() => this.flush()));
  }

  /** It is settled in another way. */
  forget(messageId: string): void {
    if (this.held.delete(messageId)) this.#roomy();
  }

  /** It is refused, and may come again before the answer to that. */
  async refuses<T>(messageId: string, refused: Promise<T>): Promise<T> {
    this.#nacking.add(messageId);
    this.forget(messageId);
    try {
      return await refused;
    } finally {
      this.#nacking.delete(messageId);
    }
  }

  /** What was acknowledged leaves now, and not when this turn ends. */
  flush(): void {
    for (const messageIds of slicesOf(this.#acks, limits.pageMax)) this.#ack(messageIds);
    this.#acks.length = 0;
    this.#roomy();
  }

  /** Until the daemon has taken it: what was done must not be done again because the disk is full for a while. */
  #ack(messageIds: string[]): void {
    const settled = () => {
      for (const messageId of messageIds) this.#acking.delete(messageId);
    };
    this.#caller.call("message.ackMany", { subscription: this.#name, messageIds }).then(settled, (error) => {
      const isRefusal = error instanceof CortexError && error.retryable;
      if (isRefusal || (error instanceof ClientError && error.code === "outcome-unknown")) {
        // Of those that are acknowledged already the daemon says nothing but that.
        const afterMs = (isRefusal && error.retryAfterMs) || retryMs;
        this.#caller.environment.setTimer(afterMs, () => this.#ack(messageIds));
        return;
      }
      settled();
      // Where there is no subscription there is nothing to acknowledge.
      if (!isRefused(error, "unknown-subscription") && !isClosed(error)) this.#caller.tell(error);
    });
  }
}

type Started = {
  readonly id: string;
  readonly wanted: Wanted;
  readonly told: Told;
  readonly subscribed: Subscribed | null;
  /** Of one that lasts: how it is asked for where nothing is pushed. */
  readonly puller: Puller | null;
  started: boolean;
  /** What the daemon has of one that lasts; null: it was not asked yet. */
  view: SubscriptionView | null;
  timer: Timer;
};

/** Words said within the time that a message may take: two may be late. */
const extendsPerWait = 3;
/** What the daemon takes for the window where none is named. */
const windowDefault = 100;

export class Subscriptions {
  readonly #session: Session;
  readonly #caller: Teller;
  readonly #all = new Map<string, Started>();
  readonly #pulls: Pulls;
  #count = 0;

  constructor(session: Session, caller: Teller) {
    this.#session = session;
    this.#caller = caller;
    this.#pulls = new Pulls(caller);
  }

  /** `end` ends it; `subscribed` is null for a live one. */
  start(wanted: Wanted, told: Told): { end: () => void; subscribed: Subscribed | null } {
    const id = `s${++this.#count}`;
    const name = wanted.kind === "lasting" ? wanted.put.name : "";
    const subscribed =
      wanted.kind === "lasting" ? new Subscribed(this.#caller, name, () => this.#pulls.room(name)) : null;
    const puller: Puller | null = subscribed && {
      name,
      window: (wanted.kind === "lasting" ? wanted.window : undefined) ?? windowDefault,
      subscribed,
      message: (view) => this.#message(one, view),
      failed: (error) => this.#fail(one, error),
    };
    const one: Started = { id, wanted, told, subscribed, puller, started: false, view: null, timer: null };
    this.#all.set(id, one);
    if (wanted.kind === "live" && !this.#session.mayPush) {
      const detail =
        "what is delivered at most once is pushed, and this client has no WebSocket: subscribe with a name";
      // Not before the caller has what it asked for.
      queueMicrotask(() => this.#fail(one, new CortexError(problem("connection-needed", detail))));
    } else {
      this.#session.start();
      if (wanted.kind === "lasting") void this.#put(one, wanted.put);
      else if (this.#session.state === "connected") this.#begin(one);
    }
    return { end: () => this.#end(one), subscribed };
  }

  welcomed(): void {
    this.#pulls.clear();
    for (const one of this.#all.values()) this.#begin(one);
  }

  /** Before the client closes: what is on its way goes to another at once. */
  leave(): void {
    if (!this.#session.pushes) {
      for (const { name: subscription, settling } of this.#pulls.open()) {
        // An acknowledgement that is on its way may be given up with its request.
        for (const messageIds of slicesOf(settling, limits.pageMax))
          this.#session.lastly("message.ackMany", { subscription, messageIds });
        this.#session.lastly("message.receive", { subscription, count: 0, holding: [] });
      }
      return;
    }
    const lasting = [...this.#all.values()].filter(({ subscribed }) => subscribed !== null);
    for (const { id, subscribed } of lasting) {
      subscribed?.flush();
      this.#session.onConnection("subscription.detach", { subscriptionId: id }, ignore, ignore);
    }
    if (lasting.length > 0) this.#session.flush();
  }

  closed(error: Error): void {
    const all = [...this.#all.values()];
    this.#all.clear();
    this.#pulls.clear();
    for (const one of all) {
      this.#clear(one);
      one.told.failed(error);
    }
  }

  event(event: Extract<EventMessage, { subscriptionId: string }>): void {
    const one = this.#all.get(event.subscriptionId);
    if (one === undefined) return;
    if (event.event === "messages.lost") one.told.lost({ count: event.count });
    else if (event.event === "subscription.ended")
      this.#fail(
        one,
        new CortexError(problem("unknown-subscription", `the subscription ${event.name} is gone`)),
      );
    else this.#message(one, event);
  }

  #message(one: Started, view: MessageView): void {
    // One that is not settled yet came again because this side was slow, or the daemon: nobody begins it anew.
    if (view.delivery !== undefined && view.messageId !== null) {
      if (one.subscribed?.has(view.messageId)) return;
      one.subscribed?.held.add(view.messageId);
    }
    one.told.message(view);
  }

  #end(one: Started): void {
    if (!this.#all.delete(one.id)) return;
    this.#clear(one);
    if (one.puller !== null) this.#pulls.end(one.puller);
    if (!this.#session.pushes) return;
    // Nothing depends on the answer: messages of a subscription that is not in the map are not told.
    const op = one.wanted.kind === "live" ? "topic.unsubscribe" : "subscription.detach";
    this.#session.onConnection(op, { subscriptionId: one.id }, ignore, ignore);
  }

  #fail(one: Started, error: Error): void {
    if (!this.#all.delete(one.id)) return;
    this.#clear(one);
    one.told.failed(error);
  }

  #clear(one: Started): void {
    if (one.timer !== null) this.#caller.environment.clearTimer(one.timer);
    one.timer = null;
  }

  async #put(one: Started, input: Input<"subscription.put">): Promise<void> {
    try {
      one.view = await this.#caller.call("subscription.put", input);
    } catch (error) {
      this.#refused(one, error as Error);
      return;
    }
    if (this.#session.state === "connected" && this.#all.has(one.id)) this.#begin(one);
  }

  /** Over HTTP nothing is pushed: one that lasts is asked for, a live one pauses until the WebSocket is back. */
  #begin(one: Started): void {
    const { wanted } = one;
    if (wanted.kind === "lasting" && one.view === null) return;
    if (one.started) one.told.lost({ count: null });
    one.started = true;
    if (!this.#session.pushes) {
      if (one.puller === null) return;
      this.#pulls.begin(one.puller);
      this.#extendLater(one);
      return;
    }
    const refused = (error: Error) => this.#refused(one, error);
    if (wanted.kind === "live") {
      const input: Input<"topic.subscribe"> = { subscriptionId: one.id, topic: wanted.topic };
      if (wanted.group !== undefined) input.group = wanted.group;
      this.#session.onConnection("topic.subscribe", input, ignore, refused);
      return;
    }
    const holding = (one.subscribed as Subscribed).unsettled.slice(0, limits.windowMax);
    const input: Input<"subscription.attach"> = { subscriptionId: one.id, name: wanted.put.name, holding };
    if (wanted.window !== undefined) input.window = wanted.window;
    this.#session.onConnection("subscription.attach", input, ignore, refused);
    this.#extendLater(one);
  }

  #refused(one: Started, error: Error): void {
    if (error instanceof ClientError && error.code === "disconnected") return;
    if (!(error instanceof CortexError && error.retryable)) {
      this.#fail(one, error);
      return;
    }
    this.#clear(one);
    if (!this.#all.has(one.id)) return;
    const { wanted } = one;
    one.timer = this.#caller.environment.setTimer(error.retryAfterMs ?? retryMs, () => {
      one.timer = null;
      if (wanted.kind === "lasting" && one.view === null) void this.#put(one, wanted.put);
      else if (this.#session.state === "connected") this.#begin(one);
    });
  }

  /** What takes long is said to be worked on, so that nobody else begins it. */
  #extendLater(one: Started): void {
    const { view, subscribed } = one;
    this.#clear(one);
    if (view === null || subscribed === null) return;
    let known = new Set(subscribed.held);
    const everyMs = view.ackWaitMs / extendsPerWait;
    const look = () => {
      one.timer = this.#caller.environment.setTimer(everyMs, look);
      // What came since is young enough.
      if (this.#session.state === "connected")
        for (const messageId of subscribed.held)
          if (known.has(messageId))
            this.#caller.call("message.extend", { subscription: view.name, messageId }).catch(ignore);
      known = new Set(subscribed.held);
    };
    one.timer = this.#caller.environment.setTimer(everyMs, look);
  }
}

/** Looking after subscriptions that last. */
export class LastingSubscriptions {
  readonly #caller: Caller;
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Makes it, or changes what is given; what is left out stays. */
  put(input: Input<"subscription.put">, options?: CallOptions): Promise<SubscriptionView> {
    return this.#caller.call("subscription.put", input, options);
  }
  get(name: string, options?: CallOptions): Promise<SubscriptionView> {
    return this.#caller.call("subscription.get", { name }, options);
  }
  list(page: Input<"subscription.list"> = {}, options?: CallOptions): Promise<Output<"subscription.list">> {
    return this.#caller.call("subscription.list", page, options);
  }
  /** What waits there goes with it. */
  delete(name: string, options?: CallOptions): Promise<Output<"subscription.delete">> {
    return this.#caller.call("subscription.delete", { name }, options);
  }
  /** What waits there, or with `state: "dead"` what failed too often; a page. */
  messages(
    subscription: string,
    page: Omit<Input<"message.list">, "subscription"> = {},
    options?: CallOptions,
  ): Promise<MessagePage> {
    return this.#caller.call("message.list", { ...page, subscription }, options);
  }
  /** Delivers dead messages again, all or these; answers how many. */
  async retry(subscription: string, messageIds?: string[], options?: CallOptions): Promise<number> {
    const input = messageIds === undefined ? { subscription } : { subscription, messageIds };
    return (await this.#caller.call("message.retry", input, options)).retried;
  }
}

const ignore = () => {};
