/**
 * Topics as a program sees them: publish, ask, subscribe. A subscription outlives connections: each new one starts it
 * again. What was emitted between them, or faster than it was read, is lost to it, and told as lost.
 */

import { problem } from "../src/wire/errors.ts";
import type { EventMessage } from "../src/wire/frames.ts";
import type { MessageView } from "../src/wire/messages.ts";
import type { Input, Output } from "../src/wire/operations.ts";
import type { Priority } from "../src/wire/tasks.ts";
import type { CallOptions, Session } from "./connection.ts";
import { ClientError, CortexError } from "./errors.ts";
import { Stream } from "./stream.ts";
import type { Caller } from "./tasks.ts";

export type EmitOptions = CallOptions & { priority?: Priority | undefined };
/** `timeoutMs` is how long to wait for the reply. Default 30,000. */
export type AskOptions = EmitOptions;

/** `count` messages were lost to a subscription; null: it is not known how many, the connection was away. */
export type Lost = { count: number | null };

export type SubscribeOptions = {
  /** Of those who subscribe to the same topic under the same group, one gets each message. */
  group?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Hears of messages that were lost. */
  onLost?: ((lost: Lost) => void) | undefined;
};

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
  /** All of it, as it came. */
  readonly view: MessageView;
  readonly #caller: Caller;

  constructor(caller: Caller, view: MessageView) {
    this.#caller = caller;
    this.view = view;
    this.id = view.messageId;
    this.topic = view.topic;
    this.workerId = view.workerId;
    this.priority = view.priority;
    this.publisher = view.publisher;
    this.publishedAt = view.publishedAt;
    this.payload = view.payload as T;
    this.requestId = view.requestId ?? null;
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
    try {
      await this.#caller.call("message.reply", { requestId: this.requestId, ...reply }, options);
      return true;
    } catch (error) {
      if (error instanceof CortexError && error.code === "unknown-request") return false;
      throw error;
    }
  }
}

/** What it returns is the reply, where the message asks for one. */
export type MessageHandler<T = unknown> = (message: Message<T>) => unknown;

/** How long an asker waits by default. */
const askMs = 30_000;

/** Asks, and waits for the reply. */
export async function ask<R>(
  caller: Caller,
  to: { topic: string } | { workerId: string },
  payload: unknown,
  { priority, timeoutMs = askMs, signal, ...options }: AskOptions = {},
): Promise<R> {
  const input: Input<"message.request"> = { ...to, payload: payload ?? null, waitMs: Math.ceil(timeoutMs) };
  if (priority !== undefined) input.priority = priority;
  return (await caller.call("message.request", input, { ...options, signal })).payload as R;
}

export function emit(
  caller: Caller,
  to: { topic: string } | { workerId: string },
  payload: unknown,
  { priority, ...options }: EmitOptions = {},
): Promise<Output<"message.emit">> {
  const input: Input<"message.emit"> = { ...to, payload: payload ?? null };
  if (priority !== undefined) input.priority = priority;
  return caller.call("message.emit", input, options);
}

export class Topics {
  readonly #caller: Caller & { tell(error: unknown): void };
  readonly #subscriptions: Subscriptions;

  constructor(caller: Caller & { tell(error: unknown): void }, subscriptions: Subscriptions) {
    this.#caller = caller;
    this.#subscriptions = subscriptions;
  }

  /** At most once: from memory to those who listen now. Answers how many that are. */
  async emit(topic: string, payload?: unknown, options?: EmitOptions): Promise<number> {
    return (await emit(this.#caller, { topic }, payload, options)).deliveries;
  }

  /**
   * Asks those who listen, and resolves with the first reply. Rejects with `no-subscribers` at once where nobody
   * listens, with `no-reply` when the time is up, and with `request-failed` when who was asked could not do it.
   */
  request<R = unknown>(topic: string, payload?: unknown, options?: AskOptions): Promise<R> {
    return ask(this.#caller, { topic }, payload, options);
  }

  /** What is published to topics that fit, for as long as the loop runs. */
  subscribe<T = unknown>(topic: string, options?: SubscribeOptions): AsyncIterableIterator<Message<T>> {
    return this.#subscriptions.iterate<T>(topic, options);
  }

  /**
   * Calls the handler for each message; what it returns is the reply, where one is asked for, and what it throws is
   * told to who asked. The function it gives back ends it.
   */
  handle<T = unknown>(topic: string, handler: MessageHandler<T>, options?: SubscribeOptions): () => void {
    const caller = this.#caller;
    return this.#subscriptions.start(
      topic,
      options ?? {},
      (view) => void handled(caller, new Message<T>(caller, view), handler),
      (error) => {
        if (!isClosed(error)) caller.tell(error);
      },
    );
  }
}

async function handled<T>(
  caller: { tell(error: unknown): void },
  message: Message<T>,
  handler: MessageHandler<T>,
): Promise<void> {
  try {
    const result = await handler(message);
    if (message.requestId !== null) await message.reply(result);
  } catch (error) {
    if (message.requestId !== null)
      await message.refuse(error instanceof Error ? error.message : String(error)).catch(() => {});
    caller.tell(error);
  }
}

type Started = {
  readonly id: string;
  readonly topic: string;
  readonly group: string | undefined;
  readonly told: (view: MessageView) => void;
  readonly failed: (error: Error) => void;
  readonly lost: (lost: Lost) => void;
  started: boolean;
};

/** Messages that wait for a slow reader before the newest are lost. */
const waitingMax = 10_000;

/** The live subscriptions of a client, over all its connections. */
export class Subscriptions {
  readonly #session: Session;
  readonly #caller: Caller;
  readonly #all = new Map<string, Started>();
  #count = 0;

  constructor(session: Session, caller: Caller) {
    this.#session = session;
    this.#caller = caller;
  }

  start(
    topic: string,
    { group, signal, onLost = ignore }: SubscribeOptions,
    told: Started["told"],
    failed: Started["failed"],
  ): () => void {
    if (signal?.aborted) return ignore;
    const id = `s${++this.#count}`;
    const one: Started = { id, topic, group, told, failed, lost: onLost, started: false };
    const end = () => {
      signal?.removeEventListener("abort", end);
      if (!this.#all.delete(id) || !this.#session.pushes) return;
      // Nothing depends on the answer: messages of a subscription that is not in the map are not told.
      this.#session.onConnection("topic.unsubscribe", { subscriptionId: id }, ignore, ignore);
    };
    this.#all.set(id, one);
    if (!this.#session.mayPush) {
      const detail = "messages are pushed, and this client has no WebSocket";
      // Not before the caller has what it asked for.
      queueMicrotask(() => this.#fail(one, new CortexError(problem("connection-needed", detail))));
      return end;
    }
    signal?.addEventListener("abort", end, { once: true });
    this.#session.start();
    if (this.#session.state === "connected") this.#begin(one);
    return end;
  }

  iterate<T>(topic: string, options: SubscribeOptions = {}): AsyncIterableIterator<Message<T>> {
    const { onLost = ignore, signal } = options;
    let end = ignore;
    const aborted = () => stream.end();
    const stream = new Stream<Message<T>>(() => {
      signal?.removeEventListener("abort", aborted);
      end();
    });
    if (signal?.aborted) stream.end();
    else {
      signal?.addEventListener("abort", aborted, { once: true });
      end = this.start(
        topic,
        { ...options, signal: undefined },
        (view) => {
          if (stream.size < waitingMax) stream.push(new Message<T>(this.#caller, view));
          else onLost({ count: 1 });
        },
        (error) => stream.fail(error),
      );
    }
    return stream;
  }

  welcomed(): void {
    for (const one of this.#all.values()) this.#begin(one);
  }

  closed(error: Error): void {
    const all = [...this.#all.values()];
    this.#all.clear();
    for (const one of all) one.failed(error);
  }

  event(event: Extract<EventMessage, { subscriptionId: string }>): void {
    const one = this.#all.get(event.subscriptionId);
    if (one === undefined) return;
    if (event.event === "messages.lost") one.lost({ count: event.count });
    else one.told(event);
  }

  #fail(one: Started, error: Error): void {
    if (this.#all.delete(one.id)) one.failed(error);
  }

  /** Over HTTP nothing is pushed: it pauses until the WebSocket is back. */
  #begin(one: Started): void {
    if (one.started) one.lost({ count: null });
    one.started = true;
    if (!this.#session.pushes) return;
    const input: Input<"topic.subscribe"> = { subscriptionId: one.id, topic: one.topic };
    if (one.group !== undefined) input.group = one.group;
    this.#session.onConnection("topic.subscribe", input, ignore, (error) => {
      if (!(error instanceof ClientError && error.code === "disconnected")) this.#fail(one, error);
    });
  }
}

const ignore = () => {};
const isClosed = (error: unknown): boolean => error instanceof ClientError && error.code === "closed";
