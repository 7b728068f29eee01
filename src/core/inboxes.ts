/**
 * Inboxes: what each subscription has still to get. A message is stored once; which subscriptions it is for follows from
 * its topic, and how far each of them is from its record: per priority a floor, up to which everything is settled, and a
 * row of its own for each message that stands otherwise (acknowledged above the floor, failed, or dead). What no row and
 * no floor speaks of is to be delivered: it stands in a line as it is, and an entry is made for it once something happens
 * to it. All of that is derived here, from the tables alone, so that recovery and an undo find it again. Who is delivered
 * to, and what is on its way, is no state: it is forgotten with the process.
 *
 *   ready -> flying -> settled                     row: none, the floor or the message's end says it
 *     ^        | not acknowledged, or refused
 *     +-- waiting (a row, until its time) or, after too often, dead (a row)
 */
import { Chain, Link } from "../lib/chain.ts";
import { DeadlineHeap, IndexedHeap } from "../lib/heap.ts";
import { Line } from "../lib/line.ts";
import { Sorted } from "../lib/sorted.ts";
import { Topics } from "../lib/topics.ts";
import { limits } from "../wire/limits.ts";
import type { Backoff } from "../wire/tasks.ts";
import { priorities } from "../wire/tasks.ts";
import { Ages } from "./ages.ts";
import type { Coordinator } from "./coordinator.ts";
import { byAge, rowOf } from "./ids.ts";
import { Owners } from "./owners.ts";
import type { RowName } from "./store.ts";

export type MessageRecord = {
  /** The entry that made it, and its number there: its place in the order of all. */
  readonly revision: number;
  readonly number: number;
  readonly topic: string;
  /** Index into `priorities`: 0 is critical. */
  readonly priority: number;
  /** JSON text. */
  readonly payload: string;
  readonly publisher: string;
  readonly publishedAt: number;
  /** On the wall clock; 0: it stays until it is settled everywhere. */
  readonly expiresAt: number;
  /** The publisher's own, under which it is known for a time; null: it has none. */
  readonly publishId: string | null;
};

/** What was asked for; another put replaces it. */
export type SubscriptionSpec = {
  readonly name: string;
  /** Which topics. */
  readonly topic: string;
  /** It goes in the entry in which this worker does; null: it is nobody's. */
  readonly workerId: string | null;
  readonly ackWaitMs: number;
  readonly deliveriesMax: number;
  readonly backoff: Backoff;
  readonly pendingMax: number;
  readonly whenFull: "refuse" | "drop-oldest" | "delete";
  /** It goes when nobody has listened on it for this long; 0: it stays. */
  readonly idleMs: number;
  readonly createdAt: number;
};

export type SubscriptionRecord = {
  readonly spec: SubscriptionSpec;
  /** By priority: messages up to this revision are settled, unless a row says otherwise. */
  readonly floors: readonly number[];
  /** Messages it never got because it was full. */
  readonly droppedCount: number;
  readonly revision: number;
};

/** How a message stands for a subscription, where the floor does not say it. */
export type DeliveryRecord = {
  readonly subscription: string;
  readonly messageId: string;
  readonly state: "acknowledged" | "waiting" | "dead";
  /** Deliveries that were not acknowledged. */
  readonly failedCount: number;
  /** On the wall clock: waiting, until when; dead, since when. */
  readonly at: number;
  /** Why the last of them failed. */
  readonly reason: string | null;
};

/** A publisher's id, known until its time. */
export type PublishedRecord = { readonly id: string; readonly messageId: string; readonly until: number };

/** What is published to such topics is kept for subscriptions that come later. */
export type TopicRecord = {
  /** A pattern. */
  readonly topic: string;
  /** 0: not by age, not by number. */
  readonly keepMs: number;
  readonly keepCount: number;
  readonly createdAt: number;
  readonly revision: number;
};

export const messageIdOf = ({ revision, number }: MessageRecord): string => `${revision}-${number}`;
export const deliveryKey = (subscription: string, messageId: string): string =>
  `${subscription} ${messageId}`;

/** What they cost beside their texts (measured). */
const messageBytes = 400;
const entryBytes = 450;
const subscriptionBytes = 3000;
const rowBytes = 300;
const publishedBytes = 300;
const topicBytes = 1000;

/** A message that is kept. */
export class Kept {
  /** Subscriptions for which it is not settled. */
  waiting = 0;
  /** Topics that keep it for later subscriptions. */
  keepers = 0;
  isGone = false;

  constructor(public message: MessageRecord) {}

  /** A line in whose middle it stood may hold it for long, as one that left: for that its age is enough. */
  leave(): void {
    this.isGone = true;
    this.message = { ...this.message, payload: "" };
  }
}

/** The messages that a topic's record keeps, oldest first. */
export class Keeper {
  readonly line = new Chain<Kept>();
  readonly links = new Map<Kept, Link<Kept>>();

  constructor(public record: TopicRecord) {}

  /** When the oldest is old enough to go. */
  get dueAt(): number {
    const { first } = this.line;
    const { keepMs } = this.record;
    return first === null || keepMs === 0 ? Number.POSITIVE_INFINITY : first.message.publishedAt + keepMs;
  }
}
const goesSooner = (a: Keeper, b: Keeper) =>
  a.dueAt !== b.dueAt ? a.dueAt < b.dueAt : a.record.topic < b.record.topic;
const keptOrder = (a: Kept, b: Kept) => byAge(a.message, b.message);

/** One message for one subscription, to which something happened. */
export class Entry {
  standing: "ready" | "flying" | "waiting" | "dead" | "acknowledged" = "ready";
  /** Among those that hold the floor back. */
  readonly place = new Link<Entry>(this);
  /** Among those that are on their way, in the order in which they must be acknowledged. */
  flight: Link<Entry> | null = null;
  landsAt = 0;
  consumer: Consumer | null = null;
  /** It was settled before it had left for the consumer it was handed out to. */
  isPassedOver = false;

  constructor(
    readonly inbox: Inbox,
    readonly kept: Kept,
    public row: DeliveryRecord | null,
  ) {}

  get message(): MessageRecord {
    return this.kept.message;
  }
  /** Which delivery is on its way, or would be next. */
  get delivery(): number {
    return (this.row?.failedCount ?? 0) + 1;
  }
}

const order = (a: Entry, b: Entry) => byAge(a.message, b.message);
const sooner = (a: Entry, b: Entry) =>
  a.row!.at !== b.row!.at
    ? a.row!.at < b.row!.at
    : order(a, b) < 0 || (order(a, b) === 0 && a.inbox.name < b.inbox.name);
const landsSooner = (a: Entry, b: Entry) => a.landsAt - b.landsAt;
const expiresSooner = (a: Kept, b: Kept) =>
  a.message.expiresAt !== b.message.expiresAt
    ? a.message.expiresAt < b.message.expiresAt
    : byAge(a.message, b.message) < 0;

/** Messages of one priority. */
export class Lane {
  /** Ready, and without an entry: nothing happened to them here. */
  readonly untouched = new Line<Kept>(keptOrder);
  readonly ready = new Line<Entry>(order);
  /** Neither settled nor with a row: the floor stays below the first of them. */
  readonly blocking = new Chain<Entry>();
  readonly acknowledged = new Line<Entry>(order);

  /** The oldest that is ready. */
  first(): Entry | Kept | undefined {
    const entry = this.ready.first();
    const kept = this.untouched.first();
    if (entry === undefined || kept === undefined) return entry ?? kept;
    return byAge(entry.message, kept.message) < 0 ? entry : kept;
  }
}

/** Who is delivered to: a connection that has attached itself, a request that takes some, or a session that asks again and again. */
export class Consumer {
  flying = 0;
  /** Its socket takes no more for now. */
  isCongested = false;
  isOpen = true;
  /** Stands among those that have room. */
  isQueued = false;
  /** Of a session that takes by requests, what it has on its way; of others null. */
  entries: Set<Entry> | null = null;
  /** When that session last asked, on the lease clock. */
  askedAt = 0;

  constructor(
    readonly inbox: Inbox,
    readonly session: string,
    public window: number,
  ) {}

  get hasRoom(): boolean {
    return this.isOpen && !this.isCongested && this.flying < this.window;
  }
}

export class Inbox {
  /** Of what is not untouched, by the message's row. */
  readonly entries = new Ages<Entry>(({ message }) => message);
  readonly lanes: readonly Lane[] = priorities.map(() => new Lane());
  readonly flights = new Chain<Entry>();
  readonly dead = new Line<Entry>(order);
  readonly consumers = new Set<Consumer>();
  /** Sessions that take by requests and say each time what they have. */
  readonly takers = new Map<string, Consumer>();
  /** Takers there were when those that ask no more were last let go. */
  takersKept = 0;
  /** Those with room, in turns. */
  #roomy: Consumer[] = [];
  /** Not settled and not dead. */
  pendingCount = 0;
  waitingCount = 0;
  deadCount = 0;
  /** When its flights are looked at, on the lease clock. */
  lookAt = Number.POSITIVE_INFINITY;
  /** Since when nobody has listened, on the lease clock, and when that is looked at. */
  idleSince: number;
  idleAt = Number.POSITIVE_INFINITY;

  constructor(
    readonly name: string,
    public record: SubscriptionRecord,
    clock: number,
    /** A message that waits for so long is as urgent as a new one of the next priority; 0: never. */
    private readonly ageingMs: number,
  ) {
    this.idleSince = clock;
  }

  /** What comes next, the most urgent and of those the oldest. */
  next(): Entry | Kept | undefined {
    let next: Entry | Kept | undefined;
    let nextAt = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.lanes.length; i++) {
      const first = (this.lanes[i] as Lane).first();
      if (first === undefined) continue;
      if (this.ageingMs === 0) return first;
      const at = first.message.publishedAt + i * this.ageingMs;
      if (at >= nextAt) continue;
      next = first;
      nextAt = at;
    }
    return next;
  }

  room(consumer: Consumer): void {
    if (consumer.isQueued || !consumer.hasRoom) return;
    consumer.isQueued = true;
    this.#roomy.push(consumer);
  }

  /** It is gone, and has no turn any more, though nothing may come for whose turn it would be. */
  leave(consumer: Consumer): void {
    if (!consumer.isQueued) return;
    consumer.isQueued = false;
    this.#roomy.splice(this.#roomy.indexOf(consumer), 1);
  }

  /** Whose turn it is. */
  takeRoomy(): Consumer | undefined {
    while (this.#roomy.length > 0) {
      const consumer = this.#roomy.shift() as Consumer;
      consumer.isQueued = false;
      if (consumer.hasRoom) return consumer;
    }
    return undefined;
  }
}

/** A session that has not asked for longer than any request waits, and has nothing, is forgotten. */
const takerMs = 2 * limits.waitMsMax;
/** So many of them are kept before anybody looks. */
const takersMin = 64;
/** Deliveries of one inbox before it is the turn of the next. */
const deliveriesPerTurn = 200;

export class Inboxes {
  readonly #byName = new Map<string, Inbox>();
  readonly #sorted = new Sorted();
  readonly #topics = new Topics<Inbox>();
  readonly #kept = new Ages<Kept>(({ message }) => message);
  /** Rows there are, by subscription. */
  readonly #rowCounts = new Map<string, number>();
  /** Those whose record is deleted, which an undo brings back as it was. */
  readonly #closed = new WeakMap<SubscriptionRecord, Inbox>();
  readonly owners = new Owners<string>();
  readonly #keepers = new Map<string, Keeper>();
  readonly #keeping = new Topics<Keeper>();
  readonly #keepersDue = new IndexedHeap<Keeper>(goesSooner);
  readonly retries = new IndexedHeap<Entry>(sooner);
  readonly expiring = new IndexedHeap<Kept>(expiresSooner);
  /** By their names: one that was deleted stands there until its time, and what it held must not. */
  readonly looks = new DeadlineHeap<string>();
  readonly idle = new DeadlineHeap<string>();
  readonly publishedEnds = new DeadlineHeap<string>();
  /** Those that may have something for someone with room. */
  readonly #due = new Set<Inbox>();
  /** Of all subscriptions together: not settled and not dead, those of them on their way, and dead. */
  pendingCount = 0;
  flyingCount = 0;
  deadCount = 0;
  /** Kept by nobody any more, and not deleted in the entry that made it so. */
  readonly loose = new Set<Kept>();

  constructor(private readonly core: Coordinator) {}

  // --- what is asked ------------------------------------------------------------------------------------------

  get(name: string): Inbox | undefined {
    return this.#byName.get(name);
  }

  kept(row: RowName): Kept | undefined {
    return this.#kept.get(row);
  }

  /** The subscriptions that a topic's messages are for. */
  match(topic: string): readonly Inbox[] {
    return this.#topics.match(topic);
  }

  /** Under which topics its messages come. */
  topicsOf({ record }: Inbox): string[] {
    return topicsOf(record.spec.topic);
  }

  /** In the order of their names, from `from` on. */
  *all(from = ""): Iterable<Inbox> {
    for (const name of this.#sorted.from(from)) yield this.#byName.get(name) as Inbox;
  }

  /** Kept messages above a revision, in order. */
  after(revision: number): Iterable<Kept> {
    return this.#kept.after(revision);
  }

  // --- what the tables say ------------------------------------------------------------------------------------

  subscriptionChanged(before: SubscriptionRecord | undefined, after: SubscriptionRecord | undefined): void {
    const { spec } = (after ?? before) as SubscriptionRecord;
    const { name } = spec;
    if (before === undefined || after === undefined)
      this.core.limits.grow(after === undefined ? -subscriptionBytes : subscriptionBytes);
    this.owners.pass(name, before?.spec.workerId ?? null, after?.spec.workerId ?? null);
    if (after === undefined) {
      this.#close(this.#byName.get(name) as Inbox);
      return;
    }
    let inbox = this.#byName.get(name);
    if (inbox === undefined) {
      // What was deleted and is back, is back with those who listen there.
      inbox = this.#closed.get(after) ?? new Inbox(name, after, this.core.clock, this.core.config.ageingMs);
      for (const consumer of inbox.consumers) {
        consumer.isOpen = true;
        inbox.room(consumer);
      }
      this.#byName.set(name, inbox);
      this.#sorted.add(name);
      for (const topic of topicsOf(spec.topic)) this.#topics.add(topic, inbox);
      this.listened(inbox);
      const lowest = Math.min(...after.floors);
      for (const kept of this.after(lowest)) if (this.#isFor(inbox, kept)) this.#arrive(inbox, kept);
      return;
    }
    const { floors } = inbox.record;
    const hasOtherIdle = spec.idleMs !== inbox.record.spec.idleMs;
    inbox.record = after;
    if (hasOtherIdle) this.listened(inbox);
    for (let priority = 0; priority < floors.length; priority++) {
      const from = floors[priority] as number;
      const to = after.floors[priority] as number;
      if (to > from) this.#raised(inbox, priority, to);
      else if (to < from) this.#lowered(inbox, priority, from, to);
    }
  }

  /** Everything below the floor that has no row is settled. */
  #raised(inbox: Inbox, priority: number, to: number): void {
    const { blocking, untouched } = inbox.lanes[priority] as Lane;
    for (let entry = blocking.first; entry !== null && entry.message.revision <= to; entry = blocking.first)
      this.#end(entry);
    for (
      let kept = untouched.first();
      kept !== undefined && kept.message.revision <= to;
      kept = untouched.first()
    )
      this.#pass(inbox, kept);
  }

  /** An undo: what was settled by it is not. */
  #lowered(inbox: Inbox, priority: number, from: number, to: number): void {
    for (const kept of this.after(to)) {
      if (kept.message.revision > from) return;
      const { message } = kept;
      if (message.priority !== priority || !this.#isFor(inbox, kept)) continue;
      if (inbox.entries.get(rowOf(message)) === undefined) this.#arrive(inbox, kept);
    }
  }

  #isFor(inbox: Inbox, kept: Kept): boolean {
    return this.#topics.match(kept.message.topic).includes(inbox);
  }

  deliveryChanged(before: DeliveryRecord | undefined, after: DeliveryRecord | undefined): void {
    const { subscription, messageId } = (after ?? before) as DeliveryRecord;
    const by = (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1);
    this.core.limits.grow(by * rowBytes);
    const count = (this.#rowCounts.get(subscription) ?? 0) + by;
    if (count === 0) this.#rowCounts.delete(subscription);
    else this.#rowCounts.set(subscription, count);
    const inbox = this.#byName.get(subscription);
    const row = this.core.messages.naming.row(messageId);
    const kept = this.#kept.get(row);
    if (inbox === undefined || kept === undefined) return;
    const entry = inbox.entries.get(row);
    if (entry !== undefined) this.#refresh(entry, after ?? null);
    else if (after !== undefined) {
      if (this.#isUntouched(inbox, kept)) this.#pass(inbox, kept);
      this.#enter(this.#make(inbox, kept, after));
    }
  }

  messageChanged(before: MessageRecord | undefined, after: MessageRecord | undefined): void {
    const message = (after ?? before) as MessageRecord;
    const size = messageBytes + message.payload.length + message.topic.length;
    if (after === undefined) {
      this.core.limits.grow(-size);
      const kept = this.#kept.get(rowOf(message)) as Kept;
      kept.leave();
      this.#kept.delete(rowOf(message));
      this.loose.delete(kept);
      this.expiring.delete(kept);
      for (const inbox of this.#topics.match(message.topic)) this.#depart(inbox, kept);
      if (kept.keepers > 0)
        for (const keeper of this.#keeping.match(message.topic)) {
          this.#release(keeper, kept);
          // It may have been the oldest, by which the topic stands among the others.
          this.#keepersDue.update(keeper);
        }
      return;
    }
    if (before !== undefined) return;
    this.core.limits.grow(size);
    const kept = new Kept(message);
    this.#kept.add(rowOf(message), kept);
    if (message.expiresAt > 0) this.expiring.update(kept);
    for (const inbox of this.#topics.match(message.topic)) this.#arrive(inbox, kept);
    if (this.#keepers.size > 0)
      for (const keeper of this.#keeping.match(message.topic)) this.#keep(keeper, kept);
    this.#loosen(kept);
  }

  #loosen(kept: Kept): void {
    if (kept.waiting === 0 && kept.keepers === 0 && !kept.isGone) this.loose.add(kept);
  }

  topicChanged(before: TopicRecord | undefined, after: TopicRecord | undefined): void {
    const { topic } = (after ?? before) as TopicRecord;
    let keeper = this.#keepers.get(topic);
    if (after === undefined) {
      this.#keepers.delete(topic);
      this.#keeping.delete(topic, keeper as Keeper);
      this.#keepersDue.delete(keeper as Keeper);
      for (const kept of [...(keeper as Keeper).line]) this.#release(keeper as Keeper, kept);
      this.core.limits.grow(-topicBytes);
      return;
    }
    if (keeper !== undefined) {
      keeper.record = after;
      this.#shorten(keeper);
      return;
    }
    this.core.limits.grow(topicBytes);
    keeper = new Keeper(after);
    this.#keepers.set(topic, keeper);
    this.#keeping.add(topic, keeper);
    for (const kept of this.after(-1))
      if (this.#keeping.match(kept.message.topic).includes(keeper)) this.#keep(keeper, kept);
  }

  #keep(keeper: Keeper, kept: Kept): void {
    this.#holdFor(keeper, kept);
    this.#shorten(keeper);
  }

  #holdFor(keeper: Keeper, kept: Kept): void {
    const link = new Link(kept);
    keeper.links.set(kept, link);
    keeper.line.insert(link, keptOrder);
    kept.keepers += 1;
    this.loose.delete(kept);
  }

  #release(keeper: Keeper, kept: Kept): void {
    const link = keeper.links.get(kept);
    if (link === undefined) return;
    keeper.links.delete(kept);
    keeper.line.delete(link);
    kept.keepers -= 1;
    this.#loosen(kept);
  }

  /** What is more than it keeps, or too old, goes. */
  #shorten(keeper: Keeper): void {
    const { line, record } = keeper;
    while (
      (record.keepCount > 0 && line.size > record.keepCount) ||
      (line.size > 0 && keeper.dueAt <= this.core.now)
    ) {
      const { message } = line.first as Kept;
      this.#release(keeper, line.first as Kept);
      this.core.store.onUndo(() => this.#keepAgain(record.topic, message));
    }
    if (this.#keepers.get(record.topic) === keeper) this.#keepersDue.update(keeper);
  }

  /** What it had to make room for was taken back. */
  #keepAgain(topic: string, message: MessageRecord): void {
    const keeper = this.#keepers.get(topic);
    const kept = this.#kept.get(rowOf(message));
    if (keeper === undefined || kept === undefined || keeper.links.has(kept)) return;
    this.#holdFor(keeper, kept);
    // Where its record was taken back too, newer ones are there already.
    this.#shorten(keeper);
  }

  /** The times of what topics keep are over. */
  releaseDue(): void {
    for (let keeper = this.#keepersDue.top; keeper !== undefined; keeper = this.#keepersDue.top) {
      if (keeper.dueAt > this.core.now) return;
      this.#shorten(keeper);
    }
  }
  get releaseAt(): number {
    return this.#keepersDue.top?.dueAt ?? Number.POSITIVE_INFINITY;
  }
  keeper(topic: string): Keeper | undefined {
    return this.#keepers.get(topic);
  }
  keepers(): Iterable<Keeper> {
    return this.#keepers.values();
  }

  publishedChanged(before: PublishedRecord | undefined, after: PublishedRecord | undefined): void {
    const size = ({ id }: PublishedRecord) => publishedBytes + id.length;
    this.core.limits.grow(
      (after === undefined ? 0 : size(after)) - (before === undefined ? 0 : size(before)),
    );
    if (after !== undefined) this.publishedEnds.push(after.until, after.id);
  }

  #close(inbox: Inbox): void {
    for (const topic of topicsOf(inbox.record.spec.topic)) this.#topics.delete(topic, inbox);
    this.#byName.delete(inbox.name);
    this.#sorted.delete(inbox.name);
    this.#due.delete(inbox);
    this.#closed.set(inbox.record, inbox);
    // Should it be back, by an undo, it asks for both anew.
    inbox.lookAt = Number.POSITIVE_INFINITY;
    inbox.idleAt = Number.POSITIVE_INFINITY;
    for (const consumer of inbox.consumers) consumer.isOpen = false;
    for (const entry of [...inbox.entries.values()]) this.#end(entry);
    for (const { untouched } of inbox.lanes)
      for (let kept = untouched.first(); kept !== undefined; kept = untouched.first())
        this.#pass(inbox, kept);
  }

  // --- how each entry stands ----------------------------------------------------------------------------------

  /** A message is for the subscription, or is so again; it has no entry there. */
  #arrive(inbox: Inbox, kept: Kept): void {
    const { message } = kept;
    const row = this.#rowCounts.has(inbox.name)
      ? this.core.deliveries.get(deliveryKey(inbox.name, messageIdOf(message)))
      : undefined;
    if (row !== undefined) this.#enter(this.#make(inbox, kept, row));
    else if (this.#isUntouched(inbox, kept)) {
      (inbox.lanes[message.priority] as Lane).untouched.add(kept);
      this.#count(inbox, kept, 1);
      this.#due.add(inbox);
    }
  }

  /** The message is gone. */
  #depart(inbox: Inbox, kept: Kept): void {
    const entry = inbox.entries.get(rowOf(kept.message));
    if (entry !== undefined) this.#end(entry);
    else if (this.#isUntouched(inbox, kept)) this.#pass(inbox, kept);
  }

  /** Of a message that is for the subscription and has no entry there: untouched, or settled? */
  #isUntouched(inbox: Inbox, { message }: Kept): boolean {
    return message.revision > (inbox.record.floors[message.priority] as number);
  }

  /** What was untouched is not to be delivered as such any more. */
  #pass(inbox: Inbox, kept: Kept): void {
    (inbox.lanes[kept.message.priority] as Lane).untouched.remove(kept);
    this.#count(inbox, kept, -1);
  }

  /** What is ready, with its entry. */
  touch(inbox: Inbox, ready: Entry | Kept): Entry {
    if (ready instanceof Entry) return ready;
    const entry = this.#make(inbox, ready, null);
    const lane = inbox.lanes[ready.message.priority] as Lane;
    lane.untouched.remove(ready);
    lane.blocking.insert(entry.place, order);
    this.#ready(entry);
    return entry;
  }

  /** The message as it stands for the subscription; undefined: it is settled, or not for it. */
  standing(inbox: Inbox, row: RowName): Entry | Kept | undefined {
    const entry = inbox.entries.get(row);
    if (entry !== undefined) return entry;
    const kept = this.#kept.get(row);
    if (kept === undefined || !this.#isFor(inbox, kept)) return undefined;
    return this.#isUntouched(inbox, kept) ? kept : undefined;
  }

  /** As `standing`, with its entry. */
  entry(inbox: Inbox, row: RowName): Entry | undefined {
    const stands = this.standing(inbox, row);
    return stands === undefined ? undefined : this.touch(inbox, stands);
  }

  #make(inbox: Inbox, kept: Kept, row: DeliveryRecord | null): Entry {
    const entry = new Entry(inbox, kept, row);
    inbox.entries.add(rowOf(kept.message), entry);
    this.core.limits.grow(entryBytes);
    return entry;
  }

  /** Brings it to where the tables have it. */
  #refresh(entry: Entry, row: DeliveryRecord | null): void {
    if (row === null && !this.#isUntouched(entry.inbox, entry.kept)) {
      this.#end(entry);
      return;
    }
    this.#leave(entry);
    entry.row = row;
    this.#enter(entry);
  }

  /** It is settled, or its message is gone. */
  #end(entry: Entry): void {
    this.#leave(entry);
    entry.inbox.entries.delete(rowOf(entry.message));
    this.core.limits.grow(-entryBytes);
  }

  /** One message more, or less, waits for the subscription. */
  #count(inbox: Inbox, kept: Kept, by: 1 | -1): void {
    kept.waiting += by;
    inbox.pendingCount += by;
    this.pendingCount += by;
    if (by > 0) this.loose.delete(kept);
    else this.#loosen(kept);
  }

  #enter(entry: Entry): void {
    const { inbox, kept, row } = entry;
    const lane = inbox.lanes[entry.message.priority] as Lane;
    if (row === null) lane.blocking.insert(entry.place, order);
    if (row?.state === "acknowledged") {
      entry.standing = "acknowledged";
      lane.acknowledged.add(entry);
      return;
    }
    if (row?.state === "dead") {
      entry.standing = "dead";
      inbox.dead.add(entry);
      inbox.deadCount += 1;
      this.deadCount += 1;
      kept.waiting += 1;
      this.loose.delete(kept);
      return;
    }
    this.#count(inbox, kept, 1);
    if (row !== null && row.at > this.core.now) {
      entry.standing = "waiting";
      inbox.waitingCount += 1;
      this.retries.update(entry);
    } else this.#ready(entry);
  }

  #ready(entry: Entry): void {
    entry.standing = "ready";
    (entry.inbox.lanes[entry.message.priority] as Lane).ready.add(entry);
    this.#due.add(entry.inbox);
  }

  #leave(entry: Entry): void {
    const { inbox, kept, standing } = entry;
    const lane = inbox.lanes[entry.message.priority] as Lane;
    lane.blocking.delete(entry.place);
    switch (standing) {
      case "acknowledged":
        lane.acknowledged.remove(entry);
        return;
      case "dead":
        inbox.dead.remove(entry);
        inbox.deadCount -= 1;
        this.deadCount -= 1;
        kept.waiting -= 1;
        this.#loosen(kept);
        return;
      case "ready":
        lane.ready.remove(entry);
        break;
      case "flying":
        this.#resumes(entry);
        this.#land(entry);
        break;
      case "waiting":
        this.retries.delete(entry);
        inbox.waitingCount -= 1;
        break;
    }
    this.#count(inbox, kept, -1);
  }

  /** The times of those that failed are over: they are ready again. */
  retryDue(): void {
    for (let entry = this.retries.top; entry !== undefined; entry = this.retries.top) {
      if (entry.row!.at > this.core.now) return;
      this.retries.delete(entry);
      entry.inbox.waitingCount -= 1;
      this.#ready(entry);
    }
  }

  /** When the first of them is to come again, and when the first of all is over; Infinity: none is. */
  get retryAt(): number {
    return this.retries.top?.row?.at ?? Number.POSITIVE_INFINITY;
  }
  get expiresAt(): number {
    return this.expiring.top?.message.expiresAt ?? Number.POSITIVE_INFINITY;
  }
  get firstToExpire(): Kept {
    return this.expiring.top as Kept;
  }

  /** Those that may have something for someone, before they are delivered from. */
  get due(): ReadonlySet<Inbox> {
    return this.#due;
  }

  // --- deliveries: volatile -----------------------------------------------------------------------------------

  /** Whether there may be something to deliver. */
  get isDue(): boolean {
    return this.#due.size > 0;
  }

  /** Gives what is ready to those with room; answers how many. What is left over `max` stays due. */
  deliver(max: number, hand: (entry: Entry, consumer: Consumer) => void): number {
    let count = 0;
    for (const inbox of this.#due) {
      if (count >= max) break;
      this.#due.delete(inbox);
      let left = Math.min(deliveriesPerTurn, max - count);
      for (; left > 0; left--) {
        const next = inbox.next();
        if (next === undefined) break;
        const consumer = inbox.takeRoomy();
        if (consumer === undefined) break;
        const entry = this.touch(inbox, next);
        this.fly(entry, consumer);
        hand(entry, consumer);
        inbox.room(consumer);
        count += 1;
      }
      if (left === 0) this.#due.add(inbox);
    }
    return count;
  }

  /** It is on its way to the consumer, and must be acknowledged by `landsAt`: in the subscription's time, unless it says another. */
  fly(entry: Entry, consumer: Consumer, landsAt?: number): void {
    const { inbox } = entry;
    (inbox.lanes[entry.message.priority] as Lane).ready.remove(entry);
    entry.standing = "flying";
    consumer.flying += 1;
    consumer.entries?.add(entry);
    this.flyingCount += 1;
    entry.consumer = consumer;
    entry.isPassedOver = false;
    entry.flight ??= new Link<Entry>(entry);
    this.#watch(entry, landsAt);
  }

  #watch(entry: Entry, landsAt = this.core.clock + entry.inbox.record.spec.ackWaitMs): void {
    const { inbox } = entry;
    entry.landsAt = landsAt;
    // Those before it may have longer, from before the subscription was put with less.
    inbox.flights.insert(entry.flight as Link<Entry>, landsSooner);
    if (landsAt >= inbox.lookAt) return;
    inbox.lookAt = landsAt;
    this.looks.push(landsAt, inbox.name);
  }

  /** Its time begins anew. */
  extend(entry: Entry): void {
    entry.inbox.flights.delete(entry.flight as Link<Entry>);
    this.#watch(entry);
  }

  #land(entry: Entry): void {
    const { inbox, consumer } = entry;
    inbox.flights.delete(entry.flight as Link<Entry>);
    this.flyingCount -= 1;
    entry.consumer = null;
    if (consumer === null) return;
    consumer.flying -= 1;
    consumer.entries?.delete(entry);
    this.room(consumer);
  }

  /** What takes it off its way may be taken back: then it is on its way again, unless it never left. */
  #resumes(entry: Entry): void {
    const { inbox, consumer, landsAt } = entry;
    const row = rowOf(entry.message);
    this.core.store.onUndo(() => {
      const again = this.entry(inbox, row);
      if (again?.standing === "ready" && consumer !== null && !entry.isPassedOver)
        this.fly(again, consumer, landsAt);
    });
  }

  /** It did not get there, or nobody works on it: it is ready again, nothing charged. */
  giveBack(entry: Entry): void {
    if (entry.standing !== "flying") return;
    this.#land(entry);
    this.#ready(entry);
  }

  /** The consumer may take more. */
  room(consumer: Consumer): void {
    if (!consumer.hasRoom) return;
    consumer.inbox.room(consumer);
    this.#due.add(consumer.inbox);
  }

  /**
   * From now on the consumer is delivered to. What its session had on its way before stays so where it is named, and
   * is ready again where it is not; answers which of those named are not its own.
   */
  attach(consumer: Consumer, holding: readonly string[]): string[] {
    const { inbox } = consumer;
    inbox.consumers.add(consumer);
    inbox.takers.delete(consumer.session);
    const lost = this.#takeOver(consumer, holding);
    this.room(consumer);
    return lost;
  }

  #takeOver(consumer: Consumer, holding: readonly string[]): string[] {
    const { inbox } = consumer;
    const named = new Set(holding);
    for (const entry of inbox.flights) {
      const had = entry.consumer;
      // What is passed on stands at the end, and is met again.
      if (had === null || had === consumer || had.isOpen || had.session !== consumer.session) continue;
      if (!named.delete(messageIdOf(entry.message))) {
        this.giveBack(entry);
        continue;
      }
      had.flying -= 1;
      had.entries?.delete(entry);
      consumer.flying += 1;
      consumer.entries?.add(entry);
      entry.consumer = consumer;
      this.extend(entry);
    }
    const lost: string[] = [];
    for (const messageId of named) {
      const entry = this.entry(inbox, this.core.messages.naming.row(messageId));
      if (entry?.standing === "ready") this.fly(entry, consumer);
      else lost.push(messageId);
    }
    return lost;
  }

  /**
   * The session takes by requests. What it has on its way stays so where it is named; the rest was in an answer that
   * never came, and is ready again. Its first request goes over all flights, as who attaches does; later ones over its own.
   */
  taker(inbox: Inbox, session: string, holding: readonly string[]): Consumer {
    let taker = inbox.takers.get(session);
    if (taker === undefined) {
      this.#endTakers(inbox);
      taker = new Consumer(inbox, session, 0);
      taker.isOpen = false;
      taker.entries = new Set();
      inbox.takers.set(session, taker);
      this.#takeOver(taker, holding);
    } else {
      const named = new Set(holding);
      for (const entry of [...(taker.entries as Set<Entry>)])
        if (named.has(messageIdOf(entry.message))) this.extend(entry);
        else this.giveBack(entry);
    }
    taker.askedAt = this.core.clock;
    return taker;
  }

  /** Looks at all of them only once they are twice as many. */
  #endTakers(inbox: Inbox): void {
    const { takers } = inbox;
    if (takers.size < Math.max(takersMin, 2 * inbox.takersKept)) return;
    for (const [session, taker] of takers)
      if (taker.flying === 0 && taker.askedAt + takerMs < this.core.clock) takers.delete(session);
    inbox.takersKept = takers.size;
  }

  /** Nobody listens there any more. `gives`: what is on its way comes back at once; else its time must be over. */
  detach(consumer: Consumer, gives: boolean): void {
    const { inbox } = consumer;
    consumer.isOpen = false;
    inbox.leave(consumer);
    if (!inbox.consumers.delete(consumer)) return;
    if (gives && consumer.flying > 0)
      for (const entry of inbox.flights) if (entry.consumer === consumer) this.giveBack(entry);
    if (inbox.consumers.size > 0) return;
    this.listened(inbox);
  }

  /** Somebody has just listened there, or taken from it: from now on it is idle anew. */
  listened(inbox: Inbox): void {
    inbox.idleSince = this.core.clock;
    this.watchIdle(inbox);
  }

  /** As `listened`, by the name; or something was sent to the worker whose inbox it is. */
  heard(name: string): void {
    const inbox = this.#byName.get(name);
    if (inbox !== undefined) this.listened(inbox);
  }

  /** One look at a time stands among the others: it is put off when it comes. */
  watchIdle(inbox: Inbox): void {
    const { idleMs } = inbox.record.spec;
    const at = inbox.idleSince + idleMs;
    if (idleMs === 0 || at >= inbox.idleAt) return;
    inbox.idleAt = at;
    this.idle.push(at, inbox.name);
  }

  // --- for checks ---------------------------------------------------------------------------------------------

  get keptCount(): number {
    return this.#kept.size;
  }
  get subscriptionCount(): number {
    return this.#byName.size;
  }
}

/** Every worker's inbox gets what is sent to all of them, too. */
export const toAll = "$workers";
const topicsOf = (topic: string): string[] => (topic.startsWith("$worker.") ? [topic, toAll] : [topic]);
