/**
 * Who is delivered to: connections that attached themselves to subscriptions that last. What is ready there is handed
 * to those with room, most urgent first, and leaves once its message is durable. A connection whose socket has enough
 * gets no more until it has taken that; the others go on.
 */
import { rowOf } from "../core/ids.ts";
import { Consumer, type Entry, type Inbox } from "../core/inboxes.ts";
import { messageBody } from "../core/subscriptions.ts";
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import type { Engine } from "./engine.ts";
import type { Outbox } from "./outbox.ts";
import type { LiveTopics } from "./topics.ts";
import type { Sink } from "./types.ts";

/** Messages handed out in one turn, so that it never holds the loop for long. */
const deliveriesPerTurn = 2000;

/** One connection at one subscription, as the outbox sees it too. */
export class Seat extends Consumer {
  /** Of what was handed out and has not been given to the socket. */
  units = 0;

  constructor(
    inbox: Inbox,
    session: string,
    window: number,
    readonly sink: Sink,
    readonly subscriptionId: string,
  ) {
    super(inbox, session, window);
  }
}

/** What ends it; `gives`: what is on its way goes to another at once. */
export type Attached = { lost: string[]; end: (gives: boolean) => void };

export class Deliveries {
  readonly #bySink = new Map<Sink, Set<Seat>>();
  readonly #byName = new Map<string, Set<Seat>>();
  /** Those that were handed something since the sockets were last asked. */
  readonly #handed = new Set<Seat>();

  constructor(
    private readonly engine: Pick<Engine, "core" | "counters">,
    private readonly outbox: Outbox,
    private readonly topics: LiveTopics,
  ) {}

  /** null: there is no such subscription. */
  attach(sink: Sink, session: string, input: Input<"subscription.attach">): Attached | null {
    const { core } = this.engine;
    const { name, subscriptionId, window = 100, holding = [] } = input;
    const inbox = core.inboxes.get(name);
    if (inbox === undefined) return null;
    const seat = new Seat(inbox, session, window, sink, subscriptionId);
    const lost = core.inboxes.attach(seat, holding);
    const listener = { sink, subscriptionId };
    const ends = core.inboxes
      .topicsOf(inbox)
      .map((topic) => this.topics.subscribe(topic, name, listener, true));
    add(this.#bySink, sink, seat);
    add(this.#byName, name, seat);
    return {
      lost,
      end: (gives) => {
        core.inboxes.detach(seat, gives);
        remove(this.#bySink, sink, seat);
        remove(this.#byName, name, seat);
        this.#handed.delete(seat);
        for (const end of ends) end();
      },
    };
  }

  get isDue(): boolean {
    return this.engine.core.inboxes.isDue;
  }

  /** true: there may be more. */
  handOut(): boolean {
    const { core, counters } = this.engine;
    const count = core.inboxes.deliver(deliveriesPerTurn, (entry, consumer) => {
      const seat = consumer as Seat;
      const { message, delivery } = entry;
      const text =
        `{"event":"message","subscriptionId":"${seat.subscriptionId}","subscription":"${seat.inbox.name}",` +
        `"delivery":${delivery},${messageBody(message)}}`;
      seat.units += text.length;
      if (seat.units > limits.pushBufferBytesMax) seat.isCongested = true;
      this.#handed.add(seat);
      this.outbox.hold({
        kind: "delivery",
        revision: message.revision,
        sink: seat.sink,
        text,
        entry,
        to: seat,
      });
    });
    counters.messagesDelivered += count;
    return count === deliveriesPerTurn;
  }

  /** The sockets were given what was handed out. true: somebody has room again. */
  flushed(): boolean {
    if (this.#handed.size === 0) return false;
    const { inboxes } = this.engine.core;
    for (const seat of this.#handed) {
      seat.units = 0;
      seat.isCongested = seat.sink.backlog() > limits.pushBufferBytesMax;
      inboxes.room(seat);
    }
    this.#handed.clear();
    return inboxes.isDue;
  }

  /** The socket has taken something of what waited. */
  drained(sink: Sink, isCongested: boolean): void {
    for (const seat of this.#bySink.get(sink) ?? []) {
      seat.isCongested = isCongested;
      if (!isCongested) this.engine.core.inboxes.room(seat);
    }
  }

  /** Whether what was handed out leaves: by now it may be settled, or somebody else's; or what made it so was taken back. */
  leaves(entry: Entry, to: Consumer): boolean {
    if (entry.consumer === to || standing(entry)?.consumer === to) return true;
    entry.isPassedOver = entry.consumer === null;
    return false;
  }

  /** It was not sent, because what it came about with was undone. */
  unsent(entry: Entry, to: Consumer): void {
    // By now it may stand anew, and be on its way to another, from whom what was undone had taken it.
    const stands = standing(entry);
    if (stands?.consumer === to) this.engine.core.inboxes.giveBack(stands);
  }

  /** Those who listen on a subscription that is gone are told, once that is durable. */
  ended(name: string, revision: number): void {
    for (const { sink, subscriptionId } of this.#byName.get(name) ?? [])
      this.outbox.hold({ kind: "ended", revision, sink, subscriptionId, name });
  }
}

const standing = ({ inbox, message }: Entry) => inbox.entries.get(rowOf(message));

function add<K>(map: Map<K, Set<Seat>>, key: K, seat: Seat): void {
  const seats = map.get(key);
  if (seats === undefined) map.set(key, new Set([seat]));
  else seats.add(seat);
}

function remove<K>(map: Map<K, Set<Seat>>, key: K, seat: Seat): void {
  const seats = map.get(key);
  if (seats?.delete(seat) === true && seats.size === 0) map.delete(key);
}
