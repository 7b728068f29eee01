/**
 * Watches: who gets an event for which change. Each watch stands under the most selective thing it names (a
 * task, a worker, a queue, a key, a lock, a prefix or a topic, or all), so that a change looks only at the watches it may
 * concern. Messages are many: who does not ask for them by topic, or by their table, is told none.
 */
import { type MessageRecord, messageIdOf, type SubscriptionRecord, toAll } from "../core/inboxes.ts";
import type { KeyRecord } from "../core/kv.ts";
import type { LockRecord } from "../core/locks.ts";
import { addressText, topicOf } from "../core/messages.ts";
import type { ScheduleRecord } from "../core/schedules.ts";
import type { Change } from "../core/store.ts";
import { isFinal, leaseOf, type TaskRecord } from "../core/tasks.ts";
import type { WorkerRecord } from "../core/workers.ts";
import { Topics } from "../lib/topics.ts";
import type { WatchStart } from "../wire/state.ts";
import type { Sink } from "./types.ts";

export type Watch = { readonly sink: Sink; readonly filter: WatchStart };

export type Cause = { revision: number; at: number; operation: string; who: string };

/** Whether it is told of messages. */
export const seesMessages = ({ topic, tables }: WatchStart): boolean =>
  topic !== undefined || tables?.includes("messages") === true;

const everything = "all";
/** Under which those stand that are told of messages by their table. */
const allMessages = "messages";
const keyOf = (filter: WatchStart): string => {
  if (filter.key !== undefined) return `key ${filter.key}`;
  if (filter.lock !== undefined) return `lock ${filter.lock}`;
  if (filter.prefix !== undefined) return `prefix ${filter.prefix}`;
  if (filter.taskId !== undefined) return `task ${filter.taskId}`;
  if (filter.workerId !== undefined) return `worker ${filter.workerId}`;
  if (filter.queue !== undefined) return `queue ${filter.queue}`;
  return everything;
};

export class Watches implements Iterable<Watch> {
  readonly #byKey = new Map<string, Set<Watch>>();
  /** How long the watched prefixes are, and how many watches have one of that length. */
  readonly #prefixLengths = new Map<number, number>();
  readonly #topics = new Topics<Watch>();
  readonly #all = new Set<Watch>();
  /** Of them, those that are told of messages. */
  messageCount = 0;

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): Iterator<Watch> {
    return this.#all.values();
  }

  add(watch: Watch): void {
    const { filter } = watch;
    this.#all.add(watch);
    if (seesMessages(filter)) this.messageCount += 1;
    if (filter.topic !== undefined) {
      this.#topics.add(filter.topic, watch);
      return;
    }
    this.#put(keyOf(filter), watch);
    if (seesMessages(filter)) this.#put(allMessages, watch);
    this.#countPrefix(filter, 1);
  }

  remove(watch: Watch): void {
    const { filter } = watch;
    if (!this.#all.delete(watch)) return;
    if (seesMessages(filter)) this.messageCount -= 1;
    if (filter.topic !== undefined) {
      this.#topics.delete(filter.topic, watch);
      return;
    }
    this.#take(keyOf(filter), watch);
    if (seesMessages(filter)) this.#take(allMessages, watch);
    this.#countPrefix(filter, -1);
  }

  #put(key: string, watch: Watch): void {
    const same = this.#byKey.get(key);
    if (same === undefined) this.#byKey.set(key, new Set([watch]));
    else same.add(watch);
  }

  #take(key: string, watch: Watch): void {
    const same = this.#byKey.get(key);
    same?.delete(watch);
    if (same?.size === 0) this.#byKey.delete(key);
  }

  #countPrefix({ key, lock, prefix }: WatchStart, by: number): void {
    if (prefix === undefined || key !== undefined || lock !== undefined) return;
    const count = (this.#prefixLengths.get(prefix.length) ?? 0) + by;
    if (count === 0) this.#prefixLengths.delete(prefix.length);
    else this.#prefixLengths.set(prefix.length, count);
  }

  /** Calls back for every watch the change concerns, with the event's text without its watch id. */
  match(change: Change, cause: Cause, each: (watch: Watch, text: string) => void): void {
    const { name } = change.table;
    if (name === "tasks")
      this.#task(
        change.before as TaskRecord | undefined,
        change.after as TaskRecord | undefined,
        cause,
        each,
      );
    else if (name === "workers")
      this.#worker(
        change.before as WorkerRecord | undefined,
        change.after as WorkerRecord | undefined,
        cause,
        each,
      );
    else if (name === "queues" || name === "limits" || name === "pauses") this.#setting(change, cause, each);
    else if (name === "schedules")
      this.#schedule(
        change.before as ScheduleRecord | undefined,
        change.after as ScheduleRecord | undefined,
        cause,
        each,
      );
    else if (name === "locks")
      this.#lock(
        change.before as LockRecord | undefined,
        change.after as LockRecord | undefined,
        cause,
        each,
      );
    else if (name === "subscriptions")
      this.#subscription(
        change.before as SubscriptionRecord | undefined,
        change.after as SubscriptionRecord | undefined,
        cause,
        each,
      );
    else if (name === "keys")
      this.#key(change.before as KeyRecord | undefined, change.after as KeyRecord | undefined, cause, each);
    else if (name === "messages" && this.messageCount > 0)
      this.#message(
        change.before as MessageRecord | undefined,
        change.after as MessageRecord | undefined,
        cause,
        each,
      );
  }

  /** That it was published, and that nobody waits for it any more. */
  #message(
    before: MessageRecord | undefined,
    after: MessageRecord | undefined,
    cause: Cause,
    each: (watch: Watch, text: string) => void,
  ): void {
    const message = (after ?? before) as MessageRecord;
    let text: string | null = null;
    const see = (watch: Watch) => {
      const { tables, taskId, workerId, queue, key, lock, prefix } = watch.filter;
      if (tables?.includes("messages") === false) return;
      if (taskId !== undefined || queue !== undefined) return;
      if (key !== undefined || lock !== undefined || prefix !== undefined) return;
      const { topic } = message;
      if (workerId !== undefined && topic !== topicOf(workerId) && topic !== toAll) return;
      text ??=
        `"table":"messages","id":"${messageIdOf(message)}",${causeText(cause)},"state":${present(after)},` +
        `"before":${present(before)},${addressText(message.topic)}` +
        (after === undefined ? "" : `,"value":${after.payload}`);
      each(watch, text);
    };
    for (const watch of this.#topics.match(message.topic)) see(watch);
    this.#under(allMessages, see);
  }

  /** That it is there, is gone, or has other settings; how far it is would be told with every message. */
  #subscription(
    before: SubscriptionRecord | undefined,
    after: SubscriptionRecord | undefined,
    cause: Cause,
    each: (watch: Watch, text: string) => void,
  ): void {
    if (before?.spec === after?.spec) return;
    const { name } = ((after ?? before) as SubscriptionRecord).spec;
    // A watch of a task, a queue, a key or a worker stands under another key.
    this.#under(everything, (watch) => {
      if (watch.filter.tables?.includes("subscriptions") === false) return;
      each(
        watch,
        `"table":"subscriptions","id":"${name}",${causeText(cause)},"state":${present(after)},"before":${present(before)}`,
      );
    });
  }

  #key(
    before: KeyRecord | undefined,
    after: KeyRecord | undefined,
    cause: Cause,
    each: (watch: Watch, text: string) => void,
  ): void {
    const { key } = (after ?? before) as KeyRecord;
    let text: string | null = null;
    const see = (watch: Watch) => {
      const { tables, prefix, taskId, workerId, queue, lock } = watch.filter;
      if (tables !== undefined && !tables.includes("keys")) return;
      if (taskId !== undefined || workerId !== undefined || queue !== undefined || lock !== undefined) return;
      if (prefix !== undefined && !key.startsWith(prefix)) return;
      text ??=
        `"table":"keys","id":"${key}",${causeText(cause)},"state":${present(after)},"before":${present(before)}` +
        (after === undefined ? "" : `,"value":${after.value}`);
      each(watch, text);
    };
    this.#under(`key ${key}`, see);
    for (const length of this.#prefixLengths.keys())
      if (length <= key.length) this.#under(`prefix ${key.slice(0, length)}`, see);
    this.#under(everything, see);
  }

  #lock(
    before: LockRecord | undefined,
    after: LockRecord | undefined,
    cause: Cause,
    each: (watch: Watch, text: string) => void,
  ): void {
    const record = (after ?? before) as LockRecord;
    const { id, workerId, value } = record;
    const names = record.resources.map(({ name }) => name);
    let text: string | null = null;
    const seen = new Set<Watch>();
    const see = (watch: Watch) => {
      const { tables, prefix, key, lock, taskId, queue } = watch.filter;
      if (tables !== undefined && !tables.includes("locks")) return;
      if (taskId !== undefined || queue !== undefined || key !== undefined) return;
      if (watch.filter.workerId !== undefined && watch.filter.workerId !== workerId) return;
      if (lock !== undefined && !names.includes(lock)) return;
      if (prefix !== undefined && !names.some((name) => name.startsWith(prefix))) return;
      if (seen.has(watch)) return;
      seen.add(watch);
      text ??=
        `"table":"locks","id":"${id}",${causeText(cause)},"state":${quoted(after?.state)},"before":${quoted(before?.state)},` +
        `"workerId":${quoted(workerId)},"names":${JSON.stringify(names)}` +
        (after === undefined || value === null ? "" : `,"value":${value}`) +
        (after?.state === "stolen" ? `,"reason":${JSON.stringify(after.reason)}` : "");
      each(watch, text);
    };
    for (const name of names) {
      this.#under(`lock ${name}`, see);
      for (const length of this.#prefixLengths.keys())
        if (length <= name.length) this.#under(`prefix ${name.slice(0, length)}`, see);
    }
    if (workerId !== null) this.#under(`worker ${workerId}`, see);
    this.#under(everything, see);
  }

  #task(
    before: TaskRecord | undefined,
    after: TaskRecord | undefined,
    cause: Cause,
    each: (watch: Watch, text: string) => void,
  ): void {
    const { spec } = (after ?? before) as TaskRecord;
    const { queue, type } = spec.options;
    const had = before?.state === "running" ? leaseOf(before).workerId : null;
    const has = after?.state === "running" ? leaseOf(after).workerId : null;
    // Whoever watches a worker sees its task come and go, and so does who watches a queue of one that is moved.
    const workers = had === null || had === has ? [has] : [had, has];
    const left = before?.spec.options.queue ?? queue;
    const queues = left === queue ? [queue] : [left, queue];
    let text: string | null = null;
    const see = (watch: Watch) => {
      const { filter } = watch;
      if (filter.tables !== undefined && !filter.tables.includes("tasks")) return;
      if (filter.queue !== undefined && !queues.includes(filter.queue)) return;
      if (filter.taskId !== undefined && filter.taskId !== spec.id) return;
      if (filter.workerId !== undefined && !workers.includes(filter.workerId)) return;
      text ??=
        `"table":"tasks","id":"${spec.id}",${causeText(cause)},"state":${quoted(after?.state)},` +
        `"before":${quoted(before?.state)},"queue":"${queue}","type":"${type}","workerId":${quoted(has ?? had)}`;
      each(watch, text);
    };
    this.#under(`task ${spec.id}`, see);
    for (const one of queues) this.#under(`queue ${one}`, see);
    for (const worker of workers) if (worker !== null) this.#under(`worker ${worker}`, see);
    this.#under(everything, see);
  }

  #worker(
    before: WorkerRecord | undefined,
    after: WorkerRecord | undefined,
    cause: Cause,
    each: (watch: Watch, text: string) => void,
  ): void {
    const { id } = (after ?? before) as WorkerRecord;
    const see = (watch: Watch) => {
      const { filter } = watch;
      if (filter.tables !== undefined && !filter.tables.includes("workers")) return;
      if (filter.taskId !== undefined || filter.queue !== undefined) return;
      each(
        watch,
        `"table":"workers","id":"${id}",${causeText(cause)},"state":${quoted(after?.state)},"before":${quoted(before?.state)}`,
      );
    };
    this.#under(`worker ${id}`, see);
    this.#under(everything, see);
  }

  #schedule(
    before: ScheduleRecord | undefined,
    after: ScheduleRecord | undefined,
    cause: Cause,
    each: (watch: Watch, text: string) => void,
  ): void {
    const { name } = ((after ?? before) as ScheduleRecord).spec;
    // A watch of a task, a queue or a worker stands under another key.
    this.#under(everything, (watch) => {
      if (watch.filter.tables?.includes("schedules") === false) return;
      each(
        watch,
        `"table":"schedules","id":"${name}",${causeText(cause)},"state":${quoted(after?.state)},"before":${quoted(before?.state)}`,
      );
    });
  }

  /** What is set for a queue, a named limit, or that a queue or group is paused: it is there or it is not. */
  #setting(change: Change, cause: Cause, each: (watch: Watch, text: string) => void): void {
    const { table, key, before, after } = change;
    const standing = (record: unknown) =>
      record === undefined ? null : table.name === "pauses" ? "paused" : "set";
    const see = (watch: Watch) => {
      if (watch.filter.tables?.includes(table.name as "queues") === false) return;
      each(
        watch,
        `"table":"${table.name}","id":"${key}",${causeText(cause)},"state":${quoted(standing(after))},"before":${quoted(standing(before))}`,
      );
    };
    // A pause's key begins with its queue: names have no spaces.
    if (table.name !== "limits") this.#under(`queue ${key.split(" ")[0]}`, see);
    this.#under(everything, see);
  }

  #under(key: string, see: (watch: Watch) => void): void {
    const watches = this.#byKey.get(key);
    if (watches !== undefined) for (const watch of watches) see(watch);
  }
}

const quoted = (text: string | null | undefined) =>
  text === null || text === undefined ? "null" : `"${text}"`;
const present = (record: unknown) => (record === undefined ? "null" : '"present"');
const causeText = (cause: Cause) =>
  `"revision":${cause.revision},"at":${cause.at},"operation":"${cause.operation}","who":"${cause.who}"`;

/** A change as its watcher gets it; `more` stands at its end. */
export const changeText = (watchId: string, about: string, more = ""): string =>
  `{"event":"change","watchId":"${watchId}",${about}${more}}`;
export const placeText = (watchId: string, revision: number): string =>
  `{"event":"place","watchId":"${watchId}","revision":${revision}}`;
export const gapText = (watchId: string, from: number, to: number): string =>
  `{"event":"gap","watchId":"${watchId}","from":${from},"to":${to}}`;

/** Whether a change of the tasks table brought a task to its end. */
export const ended = (change: Change): boolean => {
  const after = change.after as TaskRecord | undefined;
  return after === undefined || isFinal(after.state);
};
