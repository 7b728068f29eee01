/**
 * Messages: published, and kept until every subscription that they are for has them (inboxes.ts); or in no log at all,
 * emitted to those who listen at the moment, and requests that wait for their reply. Who listens is not known here: what
 * is to be delivered is handed to whoever asks for it (the engine), with its text written once.
 */
import type { Input } from "../wire/operations.ts";
import { priorities } from "../wire/tasks.ts";
import type { Coordinator } from "./coordinator.ts";
import { idNaming, rowOf } from "./ids.ts";
import { type Inbox, type MessageRecord, messageIdOf, toAll } from "./inboxes.ts";
import { invalid, type Refusal, type Result, refuse, textOf } from "./result.ts";
import type { Store, Table } from "./store.ts";
import { drop, open, shrink, sweep } from "./subscriptions.ts";

export const messagesOf = (store: Store): Table<MessageRecord> => store.table("messages", idNaming);

/** A message on its way to those who listen now. */
export type Emission = {
  readonly topic: string;
  /** Index into `priorities`: 0 is critical. */
  readonly priority: number;
  /** The fields of the message as JSON text, without braces. */
  readonly body: string;
};

/** A worker's own topics: no wildcard fits them. */
export const topicOf = (workerId: string): string => (workerId === "*" ? toAll : `$worker.${workerId}`);

type Addressed = { topic?: string; workerId?: string };

/** The topic that was named, or the worker's. */
export function addressOf({ topic, workerId }: Addressed): { topic: string } | Refusal {
  if (topic !== undefined && workerId !== undefined) return invalid("/workerId", "goes not with topic");
  if (topic !== undefined) return { topic };
  if (workerId === undefined) return invalid("", "a message needs a topic or a workerId");
  return { topic: topicOf(workerId) };
}

const own = "$worker.";
/** `"topic":…,"workerId":…` as everyone sees it. Neither needs escaping. */
export const addressText = (topic: string): string => {
  if (topic.startsWith(own)) return `"topic":null,"workerId":"${topic.slice(own.length)}"`;
  return topic === toAll ? '"topic":null,"workerId":"*"' : `"topic":"${topic}","workerId":null`;
};

/** How long a publisher's own id is known by default. */
const dedupeMs = 600_000;

const fullRefusal = ({ name, pendingCount }: Inbox) =>
  refuse("subscription-full", `${pendingCount} messages wait for subscription ${name}`, {
    retryAfterMs: 1000,
  });

export function publish(core: Coordinator, input: Input<"message.publish">): Result {
  const { publishId = null } = input;
  const address = addressOf(input);
  if ("error" in address) return address;
  const payload = textOf(input.payload, "payload");
  if ("error" in payload) return payload;
  if (input.guarantee === "exactly-once" && publishId === null)
    return invalid("/publishId", "is missing: without it nobody can tell the message from another");
  if (publishId === null && input.dedupeMs !== undefined) return invalid("/dedupeMs", "goes with publishId");
  const known = publishId === null ? undefined : core.published.get(publishId);
  if (known !== undefined && known.until > core.now)
    return { ok: `{"messageId":"${known.messageId}","subscriptions":0,"duplicate":true}` };
  const { topic } = address;
  for (const inbox of core.inboxes.match(topic)) {
    const { whenFull, pendingMax } = inbox.record.spec;
    if (whenFull === "refuse" && inbox.pendingCount >= pendingMax) return fullRefusal(inbox);
  }
  // A worker has an inbox from the first message to it on.
  const refused = core.limits.refuseMemory() ?? (topic.startsWith(own) ? open(core, topic) : null);
  if (refused !== null) return refused;
  const message: MessageRecord = {
    revision: core.store.nextRevision,
    number: core.takeNumbers(1),
    topic,
    priority: priorities.indexOf(input.priority ?? "normal"),
    payload: payload.text,
    publisher: core.who,
    publishedAt: core.now,
    expiresAt: input.ttlMs === undefined ? 0 : core.now + input.ttlMs,
    publishId,
  };
  const messageId = messageIdOf(message);
  core.messages.put(rowOf(message), message);
  for (const inbox of core.inboxes.match(topic)) shrink(core, inbox);
  const kept = core.inboxes.kept(rowOf(message));
  const subscriptions = kept?.waiting ?? 0;
  // It was published, and so it is in the log; but there is nobody to keep it for.
  if (kept !== undefined && core.inboxes.loose.has(kept)) drop(core, kept);
  // What its topic kept before it, and keeps no more.
  sweep(core, sweptAtOnce);
  if (publishId !== null)
    core.published.put(publishId, {
      id: publishId,
      messageId,
      until: core.now + (input.dedupeMs ?? dedupeMs),
    });
  core.metrics.messagesPublished++;
  return { ok: `{"messageId":"${messageId}","subscriptions":${subscriptions},"duplicate":false}` };
}

const sweptAtOnce = 10;

/** Requests without their reply, and what is emitted in this turn. */
export class Bus {
  /** For the engine, which takes them. */
  emitted: Emission[] = [];
  readonly #asked = new Map<string, Result | null>();
  #requestCount = 0;

  constructor(private readonly core: Coordinator) {}

  /** Names a request. Every start goes on above all revisions that were told, so no name is ever given twice. */
  ask(): string {
    const requestId = `${this.core.store.revision}-${++this.#requestCount}`;
    this.#asked.set(requestId, null);
    return requestId;
  }

  /** false: nobody waits for it. */
  reply(requestId: string, result: Result): boolean {
    if (this.#asked.get(requestId) !== null) return false;
    this.#asked.set(requestId, result);
    return true;
  }

  /** The request is over, with this reply or none. */
  take(requestId: string): Result | null {
    const result = this.#asked.get(requestId) ?? null;
    this.#asked.delete(requestId);
    return result;
  }

  /** For checks. */
  get askedCount(): number {
    return this.#asked.size;
  }
}

function emission(
  core: Coordinator,
  input: Input<"message.emit">,
  requestId: string | null,
): Emission | Refusal {
  const address = addressOf(input);
  if ("error" in address) return address;
  const payload = textOf(input.payload, "payload");
  if ("error" in payload) return payload;
  const { topic } = address;
  const priority = input.priority ?? "normal";
  return {
    topic,
    priority: priorities.indexOf(priority),
    body:
      `"messageId":null,${addressText(topic)},"priority":"${priority}","publisher":"${core.who}",` +
      `"publishedAt":${core.now},"payload":${payload.text}${requestId === null ? "" : `,"requestId":"${requestId}"`}`,
  };
}

/** Volatile: no entry. The engine fills in who it went to. */
export function emit(core: Coordinator, input: Input<"message.emit">): Result {
  const made = emission(core, input, null);
  if ("error" in made) return made;
  core.bus.emitted.push(made);
  return { ok: '{"deliveries":0}' };
}

/** Volatile. Answers the request's name; the engine keeps who waits under it. */
export function request(core: Coordinator, input: Input<"message.request">): Result {
  const requestId = core.bus.ask();
  const made = emission(core, input, requestId);
  if ("error" in made) {
    core.bus.take(requestId);
    return made;
  }
  core.bus.emitted.push(made);
  return { ok: requestId };
}

export function reply(core: Coordinator, input: Input<"message.reply">): Result {
  const { requestId, error } = input;
  const payload = textOf(input.payload, "payload");
  if ("error" in payload) return payload;
  const result: Result =
    error === undefined
      ? { ok: `{"payload":${payload.text},"by":"${core.who}"}` }
      : refuse("request-failed", error);
  if (!core.bus.reply(requestId, result))
    return refuse("unknown-request", `nobody waits for a reply to ${JSON.stringify(requestId)}`);
  return { ok: `{"requestId":"${requestId}"}` };
}
