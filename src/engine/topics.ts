/**
 * Who listens to which topics now, and handing them what is published. A live subscription is of one connection and
 * is no state. Several under one group take turns. What is emitted is gathered by priority and handed out once a turn,
 * or, where the daemon is told to, once an interval; nobody who does not read holds up anyone else, because sinks drop
 * these messages, and count them, when their socket has enough.
 */
import type { Emission } from "../core/messages.ts";
import { Topics } from "../lib/topics.ts";
import { priorities } from "../wire/tasks.ts";
import type { Sink } from "./types.ts";

export type Listener = { readonly sink: Sink; readonly subscriptionId: string };

/** One listener, or several that take turns. */
class Audience {
  readonly listeners: Listener[] = [];
  #next = 0;

  constructor(
    /** They listen on a subscription that lasts: what is kept they get from there. */
    readonly isInbox: boolean,
  ) {}

  /** Whose turn it is. */
  next(): Listener {
    if (this.#next >= this.listeners.length) this.#next = 0;
    return this.listeners[this.#next++] as Listener;
  }

  delete(listener: Listener): void {
    const at = this.listeners.indexOf(listener);
    if (at < 0) return;
    this.listeners.splice(at, 1);
    if (at < this.#next) this.#next -= 1;
  }
}

type Waiting = { readonly audiences: readonly Audience[]; readonly body: string };

export class LiveTopics {
  readonly #topics = new Topics<Audience>();
  readonly #groups = new Map<string, Audience>();
  /** What was emitted and not handed out yet, by priority. */
  readonly #waiting: Waiting[][] = priorities.map(() => []);
  #waitingCount = 0;
  readonly #touched = new Set<Sink>();

  /** From now on; what it gives back ends it. */
  subscribe(pattern: string, group: string | null, listener: Listener, isInbox = false): () => void {
    const key = group === null ? null : `${isInbox ? "inbox" : "group"} ${pattern} ${group}`;
    let audience = key === null ? undefined : this.#groups.get(key);
    if (audience === undefined) {
      audience = new Audience(isInbox);
      if (key !== null) this.#groups.set(key, audience);
      this.#topics.add(pattern, audience);
    }
    const own = audience;
    own.listeners.push(listener);
    return () => {
      own.delete(listener);
      if (own.listeners.length > 0) return;
      this.#topics.delete(pattern, own);
      if (key !== null) this.#groups.delete(key);
    };
  }

  /** Who gets a message that is kept, beside the subscriptions that keep it. */
  *listeners(topic: string): Iterable<Listener> {
    for (const audience of this.#topics.match(topic))
      if (!audience.isInbox && audience.listeners.length > 0) yield audience.next();
  }

  /** Takes a message on; answers how many will get it. */
  offer({ topic, priority, body }: Emission): number {
    const audiences = this.#topics.match(topic);
    if (audiences.length > 0) {
      this.#waiting[priority]?.push({ audiences, body });
      this.#waitingCount += 1;
    }
    return audiences.length;
  }

  get isWaiting(): boolean {
    return this.#waitingCount > 0;
  }

  /** Hands out what waits, the most urgent first. */
  handOut(): void {
    if (this.#waitingCount === 0) return;
    this.#waitingCount = 0;
    for (const waiting of this.#waiting) {
      if (waiting.length === 0) continue;
      for (const { audiences, body } of waiting.splice(0))
        for (let i = 0; i < audiences.length; i++) {
          const audience = audiences[i] as Audience;
          // It may have ended since.
          if (audience.listeners.length === 0) continue;
          const { sink, subscriptionId } = audience.next();
          this.#touched.add(sink);
          sink.message(subscriptionId, messageText(subscriptionId, body));
        }
    }
    for (const sink of this.#touched) sink.flush();
    this.#touched.clear();
  }
}

export const messageText = (subscriptionId: string, body: string): string =>
  `{"event":"message","subscriptionId":"${subscriptionId}",${body}}`;
