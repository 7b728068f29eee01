/**
 * Subscriptions that last: put, look at, delete; and what becomes of a message there: acknowledged, put off, dead. A
 * message that nobody needs any more goes in the entry that made it so. Its standing for one subscription is written
 * only where it must be: the last to acknowledge deletes it, the others move their floor or, out of order, leave a row.
 */
import { Topics } from "../lib/topics.ts";
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import { priorities } from "../wire/tasks.ts";
import type { MessageCondition, SubscriptionCondition } from "../wire/transactions.ts";
import { backoffMs, backoffText, refuseBackoff } from "./backoff.ts";
import type { Coordinator } from "./coordinator.ts";
import { ageOf, byAge, rowOf } from "./ids.ts";
import {
  Consumer,
  deliveryKey,
  Entry,
  type Inbox,
  type Kept,
  type Lane,
  type MessageRecord,
  messageIdOf,
  type SubscriptionRecord,
  type SubscriptionSpec,
} from "./inboxes.ts";
import { addressText } from "./messages.ts";
import { defaultBackoff } from "./options.ts";
import { refuseOwner } from "./owners.ts";
import { invalid, type Refusal, type Result, refuse } from "./result.ts";

type Settings = Omit<SubscriptionSpec, "name" | "topic" | "createdAt">;
const defaults: Settings = {
  workerId: null,
  ackWaitMs: 30_000,
  deliveriesMax: 10,
  backoff: defaultBackoff,
  pendingMax: 100_000,
  whenFull: "refuse",
  idleMs: 0,
};
/** A worker's own: it goes after a day in which nobody listened and nothing was sent to it; of too much the oldest go first. */
const ownDefaults: Settings = {
  ...defaults,
  pendingMax: 10_000,
  whenFull: "drop-oldest",
  idleMs: 86_400_000,
};

const unknownSubscription = (name: string) =>
  refuse("unknown-subscription", `there is no subscription ${name}`);
const unknownMessage = (messageId: string, name: string) =>
  refuse("unknown-message", `message ${messageId} does not wait for subscription ${name}`);

const refuseNumber = (core: Coordinator): Refusal | null =>
  core.subscriptions.size < limits.subscriptionsMax
    ? null
    : refuse("busy", `${limits.subscriptionsMax} subscriptions are kept`, { retryAfterMs: 60_000 });

// --- subscriptions --------------------------------------------------------------------------------------------

export function put(core: Coordinator, input: Input<"subscription.put">): Result {
  const { name, fromRevision } = input;
  const isOwn = name.startsWith("$");
  const topic = isOwn ? name : input.topic;
  if (topic === undefined) return invalid("/topic", "is missing: which topics is it for?");
  if (isOwn && input.topic !== undefined)
    return invalid("/topic", "goes not with a worker's own inbox, which has one");
  const known = core.subscriptions.get(name);
  if (known !== undefined && known.spec.topic !== topic)
    return invalid("/topic", `is ${known.spec.topic} since the subscription was made; delete it first`);
  const before = known?.spec ?? (isOwn ? ownDefaults : defaults);
  const workerId = input.workerId ?? before.workerId;
  const { nextRevision } = core.store;
  const refused =
    (input.backoff === undefined ? null : refuseBackoff(input.backoff, "/backoff")) ??
    (fromRevision !== undefined && fromRevision > nextRevision
      ? invalid("/fromRevision", `is beyond the log, whose next entry is ${nextRevision}`)
      : null) ??
    (known === undefined ? refuseNumber(core) : null) ??
    (workerId === null || known?.spec.workerId === workerId ? null : refuseOwner(core, workerId)) ??
    (known === undefined ? core.limits.refuseMemory() : null);
  if (refused !== null) return refused;
  const spec: SubscriptionSpec = {
    name,
    topic,
    workerId,
    ackWaitMs: input.ackWaitMs ?? before.ackWaitMs,
    deliveriesMax: input.deliveriesMax ?? before.deliveriesMax,
    backoff: input.backoff ?? before.backoff,
    pendingMax: input.pendingMax ?? before.pendingMax,
    whenFull: input.whenFull ?? before.whenFull,
    idleMs: input.idleMs ?? before.idleMs,
    createdAt: known?.spec.createdAt ?? core.now,
  };
  // Whoever listens puts it first: mostly it is there already.
  if (known === undefined || JSON.stringify(known.spec) !== JSON.stringify(spec))
    keep(core, spec, known, fromRevision);
  const inbox = core.inboxes.get(name) as Inbox;
  if (spec.whenFull === "drop-oldest") shrink(core, inbox, droppedPerPut);
  return { ok: subscriptionText(inbox) };
}

/** Inside a transaction. */
function keep(
  core: Coordinator,
  spec: SubscriptionSpec,
  known: SubscriptionRecord | undefined,
  fromRevision: number | undefined,
): void {
  const floor = fromRevision === undefined ? core.store.revision : fromRevision - 1;
  core.subscriptions.put(spec.name, {
    spec,
    floors: known?.floors ?? [floor, floor, floor, floor],
    droppedCount: known?.droppedCount ?? 0,
    revision: core.store.nextRevision,
  });
}

/** Inside a transaction: something is sent to a worker. Its own inbox is there, from now on if it was not; or why it cannot be. */
export function open(core: Coordinator, topic: string): Refusal | null {
  if (core.subscriptions.has(topic)) {
    // What came last has its day too. What is sent to all workers keeps no inbox: it would keep those of all that ever were.
    core.inboxes.heard(topic);
    return null;
  }
  const refused = refuseNumber(core);
  if (refused === null)
    keep(core, { name: topic, topic, ...ownDefaults, createdAt: core.now }, undefined, undefined);
  return refused;
}

/** Inside a transaction: it is gone, and with it how its messages stand for it. */
export function remove(core: Coordinator, inbox: Inbox): void {
  for (const { row } of [...inbox.entries.values()])
    if (row !== null) core.deliveries.delete(deliveryKey(row.subscription, row.messageId));
  core.subscriptions.delete(inbox.name);
}

export function removeNamed(core: Coordinator, { name }: Input<"subscription.delete">): Result {
  const inbox = core.inboxes.get(name);
  if (inbox === undefined) return unknownSubscription(name);
  const { pendingCount } = inbox;
  remove(core, inbox);
  return { ok: `{"name":"${name}","droppedCount":${pendingCount}}` };
}

/** Inside a transaction: it goes, if nobody has listened for as long as it may be idle. */
export function endIdle(core: Coordinator, inbox: Inbox): void {
  inbox.idleAt = Number.POSITIVE_INFINITY;
  const { idleMs } = inbox.record.spec;
  if (idleMs === 0 || inbox.consumers.size > 0) return;
  if (inbox.idleSince + idleMs <= core.clock) remove(core, inbox);
  else core.inboxes.watchIdle(inbox);
}

/** Inside a transaction: the worker is gone, and its subscriptions are with it. */
export function release(core: Coordinator, workerId: string): void {
  for (const name of core.inboxes.owners.of(workerId).sort()) remove(core, core.inboxes.get(name) as Inbox);
}

export function get(core: Coordinator, { name }: Input<"subscription.get">): Result {
  const inbox = core.inboxes.get(name);
  return inbox === undefined ? unknownSubscription(name) : { ok: subscriptionText(inbox) };
}

export function list(core: Coordinator, input: Input<"subscription.list">): Result {
  const { cursor = "", limit = 100, topic } = input;
  const texts: string[] = [];
  let last = "";
  for (const inbox of core.inboxes.all(cursor)) {
    if (inbox.name === cursor || (topic !== undefined && inbox.record.spec.topic !== topic)) continue;
    if (texts.length === limit) return { ok: `{"subscriptions":[${texts.join(",")}],"cursor":"${last}"}` };
    texts.push(subscriptionText(inbox));
    last = inbox.name;
  }
  return { ok: `{"subscriptions":[${texts.join(",")}],"cursor":null}` };
}

export function subscriptionText(inbox: Inbox): string {
  const { spec, droppedCount, revision } = inbox.record;
  return (
    `{"name":"${spec.name}",${addressText(spec.topic)},"ownerId":${spec.workerId === null ? "null" : `"${spec.workerId}"`},` +
    `"ackWaitMs":${spec.ackWaitMs},"deliveriesMax":${spec.deliveriesMax},"backoff":${backoffText(spec.backoff)},` +
    `"pendingMax":${spec.pendingMax},"whenFull":"${spec.whenFull}","idleMs":${spec.idleMs || null},` +
    `"pending":${inbox.pendingCount},"inFlight":${inbox.flights.size},"waiting":${inbox.waitingCount},` +
    `"dead":${inbox.deadCount},"dropped":${droppedCount},"listeners":${inbox.consumers.size},` +
    `"createdAt":${spec.createdAt},"revision":${revision}}`
  );
}

// --- what becomes of messages ---------------------------------------------------------------------------------

/** Inside a transaction: the message is gone, and with it how it stood for whom. */
export function drop(core: Coordinator, { message }: Kept): void {
  const keys: string[] = [];
  for (const { entries } of core.inboxes.match(message.topic)) {
    const row = entries.get(rowOf(message))?.row;
    if (row) keys.push(deliveryKey(row.subscription, row.messageId));
  }
  core.messages.delete(rowOf(message));
  for (const key of keys) core.deliveries.delete(key);
}

/** Inside a transaction: what nobody needs any more goes, up to so many. */
export function sweep(core: Coordinator, max: number): void {
  let left = max;
  for (const kept of core.inboxes.loose) {
    if (left-- === 0) return;
    drop(core, kept);
  }
}

/** Inside a transaction: the subscription has no more to do with these. */
export function settle(core: Coordinator, inbox: Inbox, entries: readonly Entry[]): void {
  const left: Entry[] = [];
  for (const entry of entries) {
    const { kept, standing } = entry;
    if (kept.waiting === 1 && kept.keepers === 0 && standing !== "acknowledged") drop(core, kept);
    else left.push(entry);
  }
  if (left.length === 0) return;
  raiseFloors(core, inbox, new Set(left));
  for (const entry of left) {
    const { message, row } = entry;
    if (inbox.entries.get(rowOf(message)) !== entry) continue;
    const messageId = messageIdOf(message);
    const key = deliveryKey(inbox.name, messageId);
    if (row !== null && message.revision <= (inbox.record.floors[message.priority] as number))
      core.deliveries.delete(key);
    else
      core.deliveries.put(key, {
        subscription: inbox.name,
        messageId,
        state: "acknowledged",
        failedCount: 0,
        at: 0,
        reason: null,
      });
  }
}

/** The floors go up to below the first message that is neither settled nor among these. */
function raiseFloors(core: Coordinator, inbox: Inbox, settled: ReadonlySet<Entry>): void {
  const { record } = inbox;
  const floors = [...record.floors];
  let raised = false;
  inbox.lanes.forEach(({ blocking, untouched }, priority) => {
    let passed = false;
    let open = untouched.first()?.message;
    for (const entry of blocking) {
      if (open !== undefined && byAge(open, entry.message) < 0) break;
      if (!settled.has(entry)) {
        open = entry.message;
        break;
      }
      passed = true;
    }
    // Where none is open, nothing of this lane is below what the store has now.
    const floor = open === undefined ? core.store.revision : open.revision - 1;
    if (!passed || floor <= (floors[priority] as number)) return;
    floors[priority] = floor;
    raised = true;
  });
  if (!raised) return;
  core.subscriptions.put(inbox.name, { ...record, floors, revision: core.store.nextRevision });
  inbox.lanes.forEach(({ acknowledged }, priority) => {
    for (let entry = acknowledged.first(); entry !== undefined; entry = acknowledged.first()) {
      if (entry.message.revision > (floors[priority] as number)) return;
      core.deliveries.delete(deliveryKey(inbox.name, messageIdOf(entry.message)));
    }
  });
}

/** Inside a transaction: a delivery was not acknowledged. It comes again, or is dead. */
export function fail(
  core: Coordinator,
  entry: Entry,
  reason: string,
  how: { delayMs?: number | undefined; dead?: boolean | undefined } = {},
): void {
  const { inbox, message, row } = entry;
  const { deliveriesMax, backoff } = inbox.record.spec;
  const failedCount = (row?.failedCount ?? 0) + 1;
  const isDead = how.dead === true || failedCount >= deliveriesMax;
  const messageId = messageIdOf(message);
  const delayMs = how.delayMs ?? backoffMs(backoff, failedCount, core.random());
  core.deliveries.put(deliveryKey(inbox.name, messageId), {
    subscription: inbox.name,
    messageId,
    state: isDead ? "dead" : "waiting",
    failedCount,
    at: isDead ? core.now : core.now + delayMs,
    reason,
  });
  if (!isDead) {
    core.metrics.messagesRedelivered++;
    return;
  }
  core.metrics.messagesDead++;
  if (inbox.deadCount > limits.deadMessagesMax) settle(core, inbox, [inbox.dead.first() as Entry]);
}

/** What is over is dropped by what comes next: some with each message, more where the limit is set. */
const droppedPerMessage = 10;
const droppedPerPut = 1000;

/** Inside a transaction: where too many wait, some of them go, up to so many, or the subscription. */
export function shrink(core: Coordinator, inbox: Inbox, max = droppedPerMessage): void {
  const { spec } = inbox.record;
  let left = Math.min(max, inbox.pendingCount - spec.pendingMax);
  if (left <= 0) return;
  if (spec.whenFull === "delete") {
    remove(core, inbox);
    return;
  }
  let dropped = 0;
  // Of the least urgent the oldest, of what is on its way nothing.
  for (let priority = inbox.lanes.length - 1; priority >= 0; priority--) {
    const lane = inbox.lanes[priority] as Lane;
    for (let oldest = lane.first(); oldest !== undefined && left > 0; oldest = lane.first()) {
      settle(core, inbox, [core.inboxes.touch(inbox, oldest)]);
      dropped += 1;
      left -= 1;
    }
  }
  if (dropped === 0) return;
  const { record } = inbox;
  core.subscriptions.put(inbox.name, {
    ...record,
    droppedCount: record.droppedCount + dropped,
    revision: core.store.nextRevision,
  });
  core.metrics.messagesDropped += dropped;
}

/** The message, while it is not settled for the subscription. */
function find(core: Coordinator, inbox: Inbox, messageId: string): Entry | undefined {
  const entry = core.inboxes.entry(inbox, core.messages.naming.row(messageId));
  return entry?.standing === "acknowledged" ? undefined : entry;
}

export function ack(core: Coordinator, input: Input<"message.ack">): Result {
  const { subscription, messageId } = input;
  const inbox = core.inboxes.get(subscription);
  if (inbox === undefined) return unknownSubscription(subscription);
  const entry = find(core, inbox, messageId);
  if (entry === undefined) return unknownMessage(messageId, subscription);
  settle(core, inbox, [entry]);
  core.metrics.messagesAcknowledged++;
  return { ok: `{"messageId":"${messageId}"}` };
}

export function ackMany(core: Coordinator, input: Input<"message.ackMany">): Result {
  const { subscription, messageIds } = input;
  const inbox = core.inboxes.get(subscription);
  if (inbox === undefined) return unknownSubscription(subscription);
  const entries: Entry[] = [];
  const lost: string[] = [];
  for (const messageId of messageIds) {
    const entry = find(core, inbox, messageId);
    if (entry === undefined) lost.push(messageId);
    else entries.push(entry);
  }
  settle(core, inbox, entries);
  core.metrics.messagesAcknowledged += entries.length;
  return { ok: `{"acknowledged":${entries.length},"lost":${JSON.stringify(lost)}}` };
}

export function nack(core: Coordinator, input: Input<"message.nack">): Result {
  const { subscription, messageId, delayMs, dead, reason = "it was not taken" } = input;
  if (dead === true && delayMs !== undefined) return invalid("/delayMs", "goes not with dead");
  const inbox = core.inboxes.get(subscription);
  if (inbox === undefined) return unknownSubscription(subscription);
  const entry = find(core, inbox, messageId);
  if (entry === undefined || entry.standing === "dead") return unknownMessage(messageId, subscription);
  fail(core, entry, reason, { delayMs, dead });
  const isDead = inbox.entries.get(rowOf(entry.message))?.row?.state === "dead";
  return { ok: `{"messageId":"${messageId}","state":"${isDead ? "dead" : "waiting"}"}` };
}

/** Volatile: how long it may still take is in no log. */
export function extend(core: Coordinator, input: Input<"message.extend">): Result {
  const { subscription, messageId } = input;
  const inbox = core.inboxes.get(subscription);
  if (inbox === undefined) return unknownSubscription(subscription);
  const entry = find(core, inbox, messageId);
  if (entry?.standing !== "flying") return unknownMessage(messageId, subscription);
  core.inboxes.extend(entry);
  const deadlineAt = Math.round(core.now + entry.landsAt - core.clock);
  return { ok: `{"messageId":"${messageId}","deadlineAt":${deadlineAt}}` };
}

/** Volatile, as every delivery: what is taken must be acknowledged in time, or comes again. */
export function receive(core: Coordinator, input: Input<"message.receive">): Result {
  const { subscription, count = 1, holding } = input;
  if (holding !== undefined && core.session === null)
    return invalid(
      "/holding",
      "is for a session that asks again: POST the operation as a frame, /api/frames",
    );
  const inbox = core.inboxes.get(subscription);
  if (inbox === undefined) return unknownSubscription(subscription);
  core.inboxes.listened(inbox);
  const consumer =
    holding === undefined
      ? passing(inbox, core.who)
      : core.inboxes.taker(inbox, core.session as string, holding);
  let texts = "";
  let units = 0;
  for (let i = 0; i < count; i++) {
    const next = inbox.next();
    if (next === undefined) break;
    units += next.message.payload.length;
    if (i > 0 && units > limits.answerUnitsMax) break;
    const entry = core.inboxes.touch(inbox, next);
    core.inboxes.fly(entry, consumer);
    texts += `${i === 0 ? "" : ","}{"subscription":"${subscription}","delivery":${entry.delivery},${messageBody(entry.message)}}`;
  }
  return { ok: `{"messages":[${texts}]}` };
}

/** A request that is gone with its answer; what it took stays its own until it is acknowledged, or the time for that is over. */
function passing(inbox: Inbox, who: string): Consumer {
  const consumer = new Consumer(inbox, who, 0);
  consumer.isOpen = false;
  return consumer;
}

/** How a message stands to which nothing happened. */
const untouched = { standing: "ready", row: null } as const;

/** Messages looked at for one page. */
const looksMax = 10_000;

export function listMessages(core: Coordinator, input: Input<"message.list">): Result {
  const { subscription, state, topic, cursor = "0-0", limit = 100 } = input;
  const inbox = subscription === undefined ? null : core.inboxes.get(subscription);
  if (inbox === undefined) return unknownSubscription(subscription as string);
  if (inbox === null && state !== undefined) return invalid("/state", "goes with a subscription");
  const patterns = new Topics<true>();
  if (topic !== undefined) patterns.add(topic, true);
  const from = ageOf(cursor);
  const rows: string[] = [];
  let units = 0;
  let looks = 0;
  let last = "";
  // Dead ones are few, and may stand behind any number of others.
  const among: Iterable<{ readonly message: MessageRecord }> =
    inbox !== null && state === "dead" ? inbox.dead.toArray() : core.inboxes.after(from.revision - 1);
  for (const { message } of among) {
    if (byAge(message, from) <= 0) continue;
    if (rows.length === limit || looks++ === looksMax || (units > limits.answerUnitsMax && rows.length > 0))
      return { ok: `{"messages":[${rows.join(",")}],"cursor":"${last}"}` };
    last = messageIdOf(message);
    if (topic !== undefined && patterns.match(message.topic).length === 0) continue;
    let stands = "";
    if (inbox !== null) {
      const found = core.inboxes.standing(inbox, rowOf(message));
      if (found === undefined) continue;
      const { row, standing } = found instanceof Entry ? found : untouched;
      if (standing === "acknowledged" || (state !== undefined && standing !== state)) continue;
      stands = `,"state":"${standing}","failedCount":${row?.failedCount ?? 0},"reason":${JSON.stringify(row?.reason ?? null)}`;
    }
    units += message.payload.length;
    rows.push(`{${messageBody(message)}${stands}}`);
  }
  return { ok: `{"messages":[${rows.join(",")}],"cursor":null}` };
}

/** Dead ones are delivered again, as if for the first time. */
export function retry(core: Coordinator, input: Input<"message.retry">): Result {
  const { subscription, messageIds } = input;
  const inbox = core.inboxes.get(subscription);
  if (inbox === undefined) return unknownSubscription(subscription);
  const dead: Entry[] = [];
  const chosen =
    messageIds === undefined
      ? inbox.dead.toArray()
      : messageIds.map((messageId) => inbox.entries.get(core.messages.naming.row(messageId)));
  for (const entry of chosen) if (entry?.standing === "dead") dead.push(entry);
  for (const { row, message } of dead)
    core.deliveries.put(deliveryKey(inbox.name, messageIdOf(message)), {
      ...row!,
      state: "waiting",
      failedCount: 0,
      at: core.now,
    });
  return { ok: `{"retried":${dead.length}}` };
}

/** So many consumers may be gone at once that what they had would be too large an entry. */
const failedPerEntry = 1000;

/** Inside a transaction: what was not acknowledged in time, up to so many; the rest is due at once. */
export function lookAtFlights(core: Coordinator, inbox: Inbox): void {
  inbox.lookAt = Number.POSITIVE_INFINITY;
  let left = failedPerEntry;
  for (let entry = inbox.flights.first; entry !== null; entry = inbox.flights.first) {
    if (entry.landsAt > core.clock || left-- === 0) {
      inbox.lookAt = entry.landsAt;
      core.inboxes.looks.push(entry.landsAt, inbox.name);
      return;
    }
    fail(core, entry, `it was not acknowledged in ${inbox.record.spec.ackWaitMs} ms`);
  }
}

// --- conditions of a transaction ------------------------------------------------------------------------------

export function holds(core: Coordinator, { subscription, exists, revision }: SubscriptionCondition): boolean {
  const known = core.subscriptions.get(subscription);
  if (exists !== undefined && exists !== (known !== undefined)) return false;
  return revision === undefined || revision === (known?.revision ?? 0);
}

export function keeps(core: Coordinator, { messageId, exists, subscription }: MessageCondition): boolean {
  const row = core.messages.naming.row(messageId);
  if (exists !== undefined && exists !== (core.inboxes.kept(row) !== undefined)) return false;
  if (subscription === undefined) return true;
  const inbox = core.inboxes.get(subscription);
  return inbox !== undefined && find(core, inbox, messageId) !== undefined;
}

// --- as everyone sees it --------------------------------------------------------------------------------------

/** The fields of a message, without braces. */
export function messageBody(message: MessageRecord): string {
  const { topic, priority, publisher, publishedAt, expiresAt, publishId, payload } = message;
  return (
    `"messageId":"${messageIdOf(message)}",${addressText(topic)},"priority":"${priorities[priority]}",` +
    `"publisher":"${publisher}","publishedAt":${publishedAt},"expiresAt":${expiresAt || null},` +
    `"publishId":${publishId === null ? "null" : `"${publishId}"`},"payload":${payload}`
  );
}
