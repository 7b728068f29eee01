/**
 * Messages that are in no log: emitted to those who listen at the moment, and requests that wait for their reply. Who
 * listens is not known here: what is to be delivered is handed to whoever asks for it (the engine), with its text
 * written once. Nothing of this is state.
 */
import type { Input } from "../wire/operations.ts";
import { priorities } from "../wire/tasks.ts";
import type { Coordinator } from "./coordinator.ts";
import { invalid, type Refusal, type Result, refuse, textOf } from "./result.ts";

/** A message on its way to those who listen now. */
export type Emission = {
  readonly topic: string;
  /** Index into `priorities`: 0 is critical. */
  readonly priority: number;
  /** The fields of the message as JSON text, without braces. */
  readonly body: string;
};

export const normal = 2;

/** A worker's own topics: no wildcard fits them. */
export const topicOf = (workerId: string): string => `$worker.${workerId}`;

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
export const addressText = (topic: string): string =>
  topic.startsWith(own)
    ? `"topic":null,"workerId":"${topic.slice(own.length)}"`
    : `"topic":"${topic}","workerId":null`;

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
  const { waitMs: _, ...message } = input;
  const made = emission(core, message, requestId);
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
