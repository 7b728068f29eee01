/**
 * Messages as a program sees them: publish and ask, to topics and to workers; subscribe, and reply. Whoever only listens
 * needs no name; a subscription with a name is kept by the daemon, and what it brings is acknowledged here.
 */
import { limits } from "../src/wire/limits.ts";
import type { MessageView } from "../src/wire/messages.ts";
import type { Input, Output } from "../src/wire/operations.ts";
import type { Priority } from "../src/wire/tasks.ts";
import type { TopicPage, TopicView } from "../src/wire/topics.ts";
import type { CallOptions } from "./connection.ts";
import { ClientError, isClosed, orNull } from "./errors.ts";
import { pagesOf, waitingMax } from "./iterate.ts";
import { Stream } from "./stream.ts";
import type { Lost, Subscribed, Subscriptions, Teller, Wanted } from "./subscriptions.ts";
import type { Caller } from "./tasks.ts";

export type EmitOptions = CallOptions & { priority?: Priority | undefined };
/** `timeoutMs` is how long to wait for the reply, also where the daemon is out of reach. Default 30,000. */
export type AskOptions = EmitOptions;
export type PublishOptions = EmitOptions & {
  /**
   * at-least-once (the default): in the log before it resolves, and kept until every subscription has it. exactly-once: the
   * same, and published again under the same `id` within `dedupeMs` the first stands. at-most-once: to those who listen now.
   */
  guarantee?: "at-most-once" | "at-least-once" | "exactly-once" | undefined;
  /** Your own, by which a message that is published again is known, whatever its topic. */
  id?: string | undefined;
  dedupeMs?: number | undefined;
  /** Nobody gets it after so long. */
  ttlMs?: number | undefined;
};
/** Of what is kept in the log. */
export type KeptOptions = Omit<PublishOptions, "guarantee"> & {
  guarantee?: "at-least-once" | "exactly-once" | undefined;
};
export type Kept = Output<"message.publish">;
/** `subscriptions` keep it; at most once: so many listen. */
export type Published = Omit<Output<"message.publish">, "messageId"> & { messageId: string | null };

type Settings = Omit<Input<"subscription.put">, "name" | "topic">;
type Common = {
  signal?: AbortSignal | undefined;
  /** Hears of messages that were lost: such as are delivered at most once. */
  onLost?: ((lost: Lost) => void) | undefined;
};
export type LiveOptions = Common & {
  /** Of those who subscribe to the same topic under the same group, one gets each message. */
  group?: string | undefined;
  name?: undefined;
};
export type LastingOptions = Common &
  Settings & {
    /** The daemon keeps what comes, also while nobody listens; all who use the name share it. */
    name: string;
    /** How many messages may be on their way, not acknowledged. Default 100. */
    window?: number | undefined;
  };
export type SubscribeOptions = LiveOptions | LastingOptions;
export type InboxOptions = Common & Settings & { window?: number | undefined };

/** How a message is refused: after its backoff, after `delayMs`, or never again. */
export type NackOptions = Omit<Input<"message.nack">, "subscription" | "messageId">;

/** A message as it came. */
export class Message<T = unknown> {
  /** null: it is in no log. */
  readonly id: string | null;
  readonly topic: string | null;
  readonly workerId: string | null;
  readonly priority: Priority;
  readonly publisher: string;
  readonly publishedAt: number;
  readonly payload: T;
  /** null: it asks for no reply. */
  readonly requestId: string | null;
  /** The subscription where it waits to be acknowledged; null: it needs not to be. */
  readonly subscription: string | null;
  /** Which delivery of it this is: more than 1, and it may have been worked on before. */
  readonly delivery: number;
  /** All of it, as it came. */
  readonly view: MessageView;
  readonly #caller: Caller;
  readonly #subscribed: Subscribed | null;

  constructor(caller: Caller, view: MessageView, subscribed: Subscribed | null) {
    this.#caller = caller;
    this.#subscribed = subscribed;
    this.view = view;
    this.id = view.messageId;
    this.topic = view.topic;
    this.workerId = view.workerId;
    this.priority = view.priority;
    this.publisher = view.publisher;
    this.publishedAt = view.publishedAt;
    this.payload = view.payload as T;
    this.requestId = view.requestId ?? null;
    this.subscription = view.subscription ?? null;
    this.delivery = view.delivery ?? 1;
  }

  /** Neither acknowledged nor refused here, and there is something to. */
  get isHeld(): boolean {
    return this.id !== null && this.#subscribed?.held.has(this.id) === true;
  }

  /** Rejects with `unknown-message` where somebody else acknowledged it before. */
  async ack(options?: CallOptions): Promise<void> {
    const { messageId, subscription } = this.#waits();
    await this.#caller.call("message.ack", { subscription, messageId }, options);
    this.#subscribed?.forget(messageId);
  }
  /** It was not taken: it comes again after a while, or with `dead` never. */
  async nack(how: NackOptions = {}, options?: CallOptions): Promise<void> {
    const { messageId, subscription } = this.#waits();
    const refused = this.#caller.call("message.nack", { ...how, subscription, messageId }, options);
    await (this.#subscribed?.refuses(messageId, refused) ?? refused);
  }
  /** It is done, whatever becomes of the acknowledgement: that goes along with others. */
  done(): void {
    if (this.id !== null) this.#subscribed?.done(this.id);
  }

  #waits(): { messageId: string; subscription: string } {
    if (this.id === null || this.subscription === null)
      throw new ClientError("not-held", "the message waits for no acknowledgement");
    return { messageId: this.id, subscription: this.subscription };
  }

  /** Replies to who asked; false: nobody waits for it any more. */
  reply(payload: unknown, options?: CallOptions): Promise<boolean> {
    return this.#reply({ payload: payload ?? null }, options);
  }
  /** Tells who asked that it could not be done. */
  refuse(error: string, options?: CallOptions): Promise<boolean> {
    return this.#reply({ error }, options);
  }

  async #reply(reply: { payload: unknown } | { error: string }, options?: CallOptions): Promise<boolean> {
    if (this.requestId === null) throw new ClientError("not-held", "the message asks for no reply");
    const told = this.#caller.call("message.reply", { requestId: this.requestId, ...reply }, options);
    return (await orNull(told, "unknown-request")) !== null;
  }
}

/** What it returns is the reply, where the message asks for one. */
export type MessageHandler<T = unknown> = (message: Message<T>) => unknown;

/** How long an asker waits by default, and for the daemon's word that the time is up. */
const askMs = 30_000;
const wordMs = 1000;

type To = { topic: string } | { workerId: string };

async function publish(
  caller: Caller,
  to: To,
  payload: unknown,
  { guarantee, ...options }: PublishOptions = {},
): Promise<Published> {
  if (guarantee !== "at-most-once") return keep(caller, to, payload, { ...options, guarantee });
  const { signal, timeoutMs, if: fence, ...how } = options;
  // What it knows nothing of the daemon refuses.
  const { deliveries } = await caller.call("message.emit", messageOf(to, payload, how), {
    ...{ signal, timeoutMs, if: fence },
  });
  return { messageId: null, subscriptions: deliveries, duplicate: false };
}

function keep(
  caller: Caller,
  to: To,
  payload: unknown,
  { signal, timeoutMs, if: fence, guarantee = "at-least-once", ...how }: KeptOptions = {},
): Promise<Kept> {
  const options = { signal, timeoutMs, if: fence };
  return caller.call("message.publish", { ...messageOf(to, payload, how), guarantee }, options);
}

function messageOf(
  to: To,
  payload: unknown,
  { id, ...how }: Omit<PublishOptions, keyof CallOptions | "guarantee">,
): Input<"message.publish"> {
  // What is undefined in it is left out where it becomes JSON.
  const message: Input<"message.publish"> = {
    ...to,
    payload: payload ?? null,
    ...(how as Pick<Input<"message.publish">, keyof typeof how>),
  };
  if (id !== undefined) message.publishId = id;
  return message;
}

/** Asks, and waits for the reply. */
async function ask<R>(
  caller: Caller,
  to: To,
  payload: unknown,
  { priority, timeoutMs = askMs, ...options }: AskOptions = {},
): Promise<R> {
  const input: Input<"message.request"> = { ...to, payload: payload ?? null, waitMs: Math.ceil(timeoutMs) };
  if (priority !== undefined) input.priority = priority;
  const asked = caller.call("message.request", input, { ...options, timeoutMs: input.waitMs + wordMs });
  return (await asked).payload as R;
}

async function emit(
  caller: Caller,
  to: To,
  payload: unknown,
  { priority, ...options }: EmitOptions = {},
): Promise<number> {
  const input: Input<"message.emit"> = { ...to, payload: payload ?? null };
  if (priority !== undefined) input.priority = priority;
  return (await caller.call("message.emit", input, options)).deliveries;
}

/** The messages of a subscription as something to iterate over: one is done when the next is asked for. */
function iterate<T>(
  caller: Caller,
  subscriptions: Subscriptions,
  wanted: Wanted,
  { signal, onLost = ignore }: Common,
): AsyncIterableIterator<Message<T>> {
  let started: ReturnType<Subscriptions["start"]> | null = null;
  let last: Message<T> | null = null;
  const aborted = () => stream.end();
  const stream = new Stream<Message<T>>(() => {
    signal?.removeEventListener("abort", aborted);
    started?.end();
  });
  if (signal?.aborted) stream.end();
  else {
    signal?.addEventListener("abort", aborted, { once: true });
    started = subscriptions.start(wanted, {
      message(view) {
        // What is kept is bounded by the window; of what is not, the newest are lost.
        if (view.delivery === undefined && stream.size >= waitingMax) onLost({ count: 1 });
        else stream.push(new Message<T>(caller, view, started?.subscribed ?? null));
      },
      lost: onLost,
      failed: (error) => stream.fail(error),
    });
  }
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      last?.done();
      const step = await stream.next();
      last = step.done === true ? null : step.value;
      return step;
    },
    return: () => stream.return(),
  };
}

/** Calls the handler for each message; the function it gives back ends it. */
function handle<T>(
  caller: Teller,
  subscriptions: Subscriptions,
  wanted: Wanted,
  { signal, onLost = ignore }: Common,
  handler: MessageHandler<T>,
): () => void {
  if (signal?.aborted) return ignore;
  const started = subscriptions.start(wanted, {
    message: (view) => void handled(caller, new Message<T>(caller, view, started.subscribed), handler),
    lost: onLost,
    failed(error) {
      signal?.removeEventListener("abort", end);
      if (!isClosed(error)) caller.tell(error);
    },
  });
  const end = () => {
    signal?.removeEventListener("abort", end);
    started.end();
  };
  signal?.addEventListener("abort", end, { once: true });
  return end;
}

async function handled<T>(caller: Teller, message: Message<T>, handler: MessageHandler<T>): Promise<void> {
  try {
    const result = await handler(message);
    if (message.requestId !== null) await message.reply(result);
    message.done();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const reason = text.slice(0, limits.errorMessageLengthMax);
    // Who asked is told, and must not end by a bad question who answers. What becomes of a message that is held is its
    // subscription's to decide. Nobody waits for these answers.
    if (message.requestId !== null) await message.refuse(reason).catch(ignore);
    if (message.isHeld) await message.nack({ reason }).catch(ignore);
    else if (message.requestId === null && !isClosed(error)) caller.tell(error);
  }
}

const ignore = () => {};

/** What may depend on a lease, a lock or other changes is kept in the log, and only published: nobody listens here. */
export class KeptTopics {
  readonly #caller: Caller;
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** To all whose subscription fits the topic. */
  publish(topic: string, payload?: unknown, options?: KeptOptions): Promise<Kept> {
    return keep(this.#caller, { topic }, payload, options);
  }
}
export class KeptMessages {
  readonly #caller: Caller;
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** To one worker; while it is away its inbox keeps it. */
  send(workerId: string, payload?: unknown, options?: KeptOptions): Promise<Kept> {
    return keep(this.#caller, { workerId }, payload, options);
  }
  /** To every worker that has an inbox. */
  broadcast(payload?: unknown, options?: KeptOptions): Promise<Kept> {
    return keep(this.#caller, { workerId: "*" }, payload, options);
  }
}

export class Topics {
  readonly #caller: Teller;
  readonly #subscriptions: Subscriptions;

  constructor(caller: Teller, subscriptions: Subscriptions) {
    this.#caller = caller;
    this.#subscriptions = subscriptions;
  }

  /** Resolves once the log has it, unless it is to be delivered at most once. */
  publish(topic: string, payload?: unknown, options?: PublishOptions): Promise<Published> {
    return publish(this.#caller, { topic }, payload, options);
  }

  /** At most once: from memory to those who listen now. Answers how many that are. */
  emit(topic: string, payload?: unknown, options?: EmitOptions): Promise<number> {
    return emit(this.#caller, { topic }, payload, options);
  }

  /**
   * Asks those who listen, and resolves with the first reply. Rejects with `no-subscribers` at once where nobody
   * listens, with `no-reply` when the time is up, with `request-failed` when who was asked could not do it, and with
   * `timeout` where the daemon does not say any of it within a second more.
   */
  request<R = unknown>(topic: string, payload?: unknown, options?: AskOptions): Promise<R> {
    return ask(this.#caller, { topic }, payload, options);
  }

  /** Keeps what is published to topics that fit, for subscriptions that come later. */
  keep(
    topic: string,
    how: Omit<Input<"topic.put">, "topic">,
    options?: CallOptions,
  ): Promise<Output<"topic.put">> {
    return this.#caller.call("topic.put", { ...how, topic }, options);
  }
  /** Keeps no more of them than subscriptions wait for. */
  async forget(topic: string, options?: CallOptions): Promise<void> {
    await this.#caller.call("topic.delete", { topic }, options);
  }
  /** A page of the topics that keep messages, by topic. */
  kept(page: Input<"topic.list"> = {}, options?: CallOptions): Promise<TopicPage> {
    return this.#caller.call("topic.list", page, options);
  }
  /** All of them, page by page as the loop goes on. */
  async *allKept(options?: CallOptions): AsyncGenerator<TopicView> {
    for await (const { topics } of pagesOf((from) => this.kept(from, options))) yield* topics;
  }

  /**
   * What is published to topics that fit, for as long as the loop runs. With a `name` the daemon keeps it until it is
   * done, which a message is when the loop asks for the next one.
   */
  subscribe<T = unknown>(topic: string, options: SubscribeOptions = {}): AsyncIterableIterator<Message<T>> {
    return iterate<T>(this.#caller, this.#subscriptions, wantedOf(topic, options), options);
  }

  /**
   * Calls the handler for each message. What it returns is the reply, where one is asked for; a message of a subscription
   * with a `name` is done when it returns, and comes again when it throws. The function this gives back ends it.
   */
  handle<T = unknown>(topic: string, handler: MessageHandler<T>, options: SubscribeOptions = {}): () => void {
    return handle(this.#caller, this.#subscriptions, wantedOf(topic, options), options, handler);
  }
}

function wantedOf(topic: string, options: SubscribeOptions): Wanted {
  if (options.name === undefined) return { kind: "live", topic, group: options.group };
  const { signal: _, onLost: __, window, ...settings } = options;
  return { kind: "lasting", put: { ...settings, topic }, window };
}

/** Messages to workers, and the worker's own. */
export class Messages {
  readonly #caller: Teller & { readonly workerId: string | null };
  readonly #subscriptions: Subscriptions;

  constructor(caller: Teller & { readonly workerId: string | null }, subscriptions: Subscriptions) {
    this.#caller = caller;
    this.#subscriptions = subscriptions;
  }

  /** To one worker; while it is away its inbox keeps it. */
  send(workerId: string, payload?: unknown, options?: PublishOptions): Promise<Published> {
    return publish(this.#caller, { workerId }, payload, options);
  }
  /** To every worker that has an inbox. */
  broadcast(payload?: unknown, options?: PublishOptions): Promise<Published> {
    return publish(this.#caller, { workerId: "*" }, payload, options);
  }
  /** Asks one worker, which must listen. */
  request<R = unknown>(workerId: string, payload?: unknown, options?: AskOptions): Promise<R> {
    return ask(this.#caller, { workerId }, payload, options);
  }
  /** What is sent to this worker, as `topics.subscribe` with a name. */
  receive<T = unknown>(options: InboxOptions = {}): AsyncIterableIterator<Message<T>> {
    return iterate<T>(this.#caller, this.#subscriptions, this.#own(options), options);
  }
  /** As `topics.handle` with a name. */
  handle<T = unknown>(handler: MessageHandler<T>, options: InboxOptions = {}): () => void {
    return handle(this.#caller, this.#subscriptions, this.#own(options), options, handler);
  }

  #own({ signal: _, onLost: __, window, ...settings }: InboxOptions): Wanted {
    const { workerId } = this.#caller;
    if (workerId === null) throw new ClientError("not-held", "this client is no worker, and has no inbox");
    return { kind: "lasting", put: { ...settings, name: `$worker.${workerId}` }, window };
  }
}
