/** What topics keep for subscriptions that come later: put, list, delete. What goes first is told by inboxes.ts. */
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import type { Coordinator } from "./coordinator.ts";
import type { Keeper } from "./inboxes.ts";
import { invalid, pageByName, type Result, refuse } from "./result.ts";

export function put(core: Coordinator, input: Input<"topic.put">): Result {
  const { topic, keepMs = 0, keepCount = 0 } = input;
  if (keepMs === 0 && keepCount === 0)
    return invalid("/keepMs", "is missing, and so is keepCount: nothing would be kept");
  const known = core.topics.get(topic);
  if (known === undefined && core.topics.size >= limits.keepingTopicsMax)
    return refuse("busy", `${limits.keepingTopicsMax} topics keep messages`, { retryAfterMs: 60_000 });
  core.topics.put(topic, {
    topic,
    keepMs,
    keepCount,
    createdAt: known?.createdAt ?? core.now,
    revision: core.store.nextRevision,
  });
  return { ok: topicText(core.inboxes.keeper(topic) as Keeper) };
}

/** There are never so many that an order had to be kept. */
export function list(core: Coordinator, input: Input<"topic.list">): Result {
  const topics = Array.from(core.inboxes.keepers(), ({ record }) => record.topic).sort();
  return pageByName(
    "topics",
    input,
    (from) => topics.filter((topic) => topic >= from),
    (topic) => topicText(core.inboxes.keeper(topic) as Keeper),
  );
}

export function remove(core: Coordinator, { topic }: Input<"topic.delete">): Result {
  if (!core.topics.has(topic)) return refuse("unknown-topic", `nothing is kept for ${topic}`);
  core.topics.delete(topic);
  return { ok: `{"topic":"${topic}"}` };
}

function topicText({ record, line }: Keeper): string {
  const { topic, keepMs, keepCount, createdAt, revision } = record;
  return (
    `{"topic":"${topic}","keepMs":${keepMs || null},"keepCount":${keepCount || null},"kept":${line.size},` +
    `"fromRevision":${line.first?.message.revision ?? null},"createdAt":${createdAt},"revision":${revision}}`
  );
}
