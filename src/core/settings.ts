/**
 * What people set: the operations on queues' settings, pauses and named limits, and how they are shown. Nothing is
 * decided here about tasks; flow.ts reads the tables.
 */
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import type { Coordinator } from "./coordinator.ts";
import { type Group, type LimitRecord, pauseKey, type QueueRecord } from "./flow.ts";
import type { Gate, Rate } from "./gates.ts";
import { pageByName, type Refusal, type Result, refuse } from "./result.ts";

const noWeights: Readonly<Record<string, number>> = Object.freeze({});

const unset = (name: string): QueueRecord => ({
  name,
  concurrency: null,
  rate: null,
  groupConcurrency: null,
  groupRate: null,
  weight: null,
  groupWeights: noWeights,
  backlog: null,
  strategy: null,
  revision: 0,
});

const isUnset = (record: QueueRecord): boolean =>
  record.concurrency === null &&
  record.rate === null &&
  record.groupConcurrency === null &&
  record.groupRate === null &&
  record.weight === null &&
  record.backlog === null &&
  record.strategy === null &&
  Object.keys(record.groupWeights).length === 0;

type RateInput = { count: number; perMs: number; burst?: number };

/** What was given, or what stands. */
function rateOf(given: RateInput | null | undefined, old: Rate | null): Rate | null {
  if (given === undefined) return old;
  return given === null
    ? null
    : { count: given.count, perMs: given.perMs, burst: given.burst ?? given.count };
}
const given = <T>(value: T | null | undefined, old: T | null): T | null =>
  value === undefined ? old : value;

function weightsOf(
  input: Record<string, number | null> | null | undefined,
  old: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  if (input === undefined) return old;
  if (input === null) return noWeights;
  const weights = new Map(Object.entries(old));
  for (const [name, weight] of Object.entries(input))
    if (weight === null || weight === 1) weights.delete(name);
    else weights.set(name, weight);
  return Object.fromEntries([...weights].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const tooMany = (what: string, max: number): Refusal =>
  refuse("busy", `${max} ${what}; the limit is ${max}`, { retryAfterMs: 60_000 });

export function configure(core: Coordinator, input: Input<"queue.configure">): Result {
  const { settings } = core.flow;
  const old = settings.get(input.queue) ?? unset(input.queue);
  const record: QueueRecord = {
    name: input.queue,
    concurrency: given(input.concurrency, old.concurrency),
    rate: rateOf(input.rate, old.rate),
    groupConcurrency: given(input.groupConcurrency, old.groupConcurrency),
    groupRate: rateOf(input.groupRate, old.groupRate),
    weight: given(input.weight, old.weight),
    groupWeights: weightsOf(input.groupWeights, old.groupWeights),
    backlog: given(input.backlog, old.backlog),
    strategy: given(input.strategy, old.strategy),
    revision: core.store.nextRevision,
  };
  const groups = Object.keys(record.groupWeights).length;
  if (groups > limits.groupWeightsMax)
    return refuse(
      "invalid-input",
      `${groups} groups would have weights; at most ${limits.groupWeightsMax} may`,
      {
        errors: [{ pointer: "/groupWeights", detail: `at most ${limits.groupWeightsMax} groups in all` }],
      },
    );
  const known = settings.has(input.queue);
  if (isUnset(record)) {
    if (known) settings.delete(input.queue);
  } else if (!known && settings.size >= limits.queuesMax)
    return tooMany("queues have settings", limits.queuesMax);
  else if (JSON.stringify({ ...record, revision: old.revision }) !== JSON.stringify(old))
    settings.put(input.queue, record);
  return { ok: core.queues.text(input.queue) };
}

/** A pause that lasts longer is never shortened: what a handler asks for does not undo what a person did. */
export function pause(core: Coordinator, input: Input<"queue.pause">): Result {
  const { pauses } = core.flow;
  const group = input.group ?? null;
  const key = pauseKey(input.queue, group);
  const old = pauses.get(key);
  const until = input.forMs === undefined ? 0 : core.now + input.forMs;
  const longer = old === undefined || (old.until > 0 && (until === 0 || until > old.until));
  if (old === undefined && pauses.size >= limits.pausesMax)
    return tooMany("queues and groups are paused", limits.pausesMax);
  if (longer)
    pauses.put(key, {
      queue: input.queue,
      group,
      since: old?.since ?? core.now,
      until,
      by: core.who,
      reason: input.reason ?? null,
      revision: core.store.nextRevision,
    });
  return { ok: core.queues.text(input.queue) };
}

export function resume(core: Coordinator, input: Input<"queue.resume">): Result {
  const { pauses } = core.flow;
  const key = pauseKey(input.queue, input.group ?? null);
  if (pauses.has(key)) pauses.delete(key);
  return { ok: core.queues.text(input.queue) };
}

export function get(core: Coordinator, input: Input<"queue.get">): Result {
  return core.flow.known(input.queue) === undefined
    ? refuse("unknown-queue", `there is no queue ${input.queue}`)
    : { ok: core.queues.text(input.queue) };
}

export function groups(core: Coordinator, input: Input<"queue.groups">): Result {
  const limit = input.limit ?? 100;
  const byName = (a: Group, b: Group) => (a.name < b.name ? -1 : 1);
  let page: Group[] = [];
  for (const group of core.flow.known(input.queue)?.groups.values() ?? []) {
    if (group.queued === 0 && group.gate.running === 0) continue;
    if (input.cursor !== undefined && group.name <= input.cursor) continue;
    page.push(group);
    // Of a million groups no more than a few pages are sorted at a time.
    if (page.length > 10 * limit) page = page.sort(byName).slice(0, limit + 1);
  }
  page.sort(byName);
  const more = page.length > limit;
  page = page.slice(0, limit);
  const cursor = more ? `"${page.at(-1)?.name}"` : null;
  return { ok: `{"groups":[${page.map((group) => groupText(core, group)).join(",")}],"cursor":${cursor}}` };
}

// --- named limits -----------------------------------------------------------------------------------------

export function putLimit(core: Coordinator, input: Input<"limit.put">): Result {
  const { limits: table } = core.flow;
  const old = table.get(input.name);
  if (old === undefined && table.size >= limits.namedLimitsMax)
    return tooMany("named limits are set", limits.namedLimitsMax);
  const concurrency = given(input.concurrency, old?.concurrency ?? null);
  const rate = rateOf(input.rate, old?.rate ?? null);
  const record: LimitRecord = { name: input.name, concurrency, rate, revision: core.store.nextRevision };
  table.put(input.name, record);
  return { ok: limitText(core, record) };
}

const unknownLimit = (name: string) => refuse("unknown-limit", `there is no limit ${name}`);

export function getLimit(core: Coordinator, input: Input<"limit.get">): Result {
  const record = core.flow.limits.get(input.name);
  return record === undefined ? unknownLimit(input.name) : { ok: limitText(core, record) };
}

export const listLimits = (core: Coordinator, input: Input<"limit.list">): Result =>
  pageByName(
    "limits",
    input,
    (from) => core.flow.limitNamesFrom(from),
    (name) => limitText(core, core.flow.limits.get(name) as LimitRecord),
  );

export function deleteLimit(core: Coordinator, input: Input<"limit.delete">): Result {
  if (!core.flow.limits.has(input.name)) return unknownLimit(input.name);
  core.flow.limits.delete(input.name);
  return { ok: `{"name":"${input.name}"}` };
}

// --- as everyone sees it ----------------------------------------------------------------------------------

const shutText = (core: Coordinator, gate: Gate | undefined): string => {
  const why = gate?.shut(core.clock) ?? null;
  return why === null ? "null" : `"${why}"`;
};

function pausedText(core: Coordinator, queue: string, group: string | null): string {
  const pause = core.flow.pauses.get(pauseKey(queue, group));
  if (pause === undefined) return "null";
  const { since, until, by, reason } = pause;
  return JSON.stringify({ since, until: until || null, by, reason });
}

const limitText = (core: Coordinator, { name, concurrency, rate, revision }: LimitRecord): string => {
  const gate = core.flow.limitGate(name);
  return (
    `{"name":"${name}","concurrency":${concurrency},"rate":${JSON.stringify(rate)},` +
    `"running":${gate?.running ?? 0},"shut":${shutText(core, gate)},"revision":${revision}}`
  );
};

const groupText = (core: Coordinator, { queue, name, queued, weight, gate }: Group): string =>
  `{"name":"${name}","queued":${queued},"running":${gate.running},"weight":${weight},` +
  `"paused":${name === "" ? null : pausedText(core, queue.name, name)},"shut":${shutText(core, gate)}}`;

/** What is set for a queue and holds it up now: the end of its text. */
export function flowText(core: Coordinator, name: string): string {
  const { name: _, revision: __, ...settings } = core.flow.settings.get(name) ?? unset(name);
  const flow = core.flow.known(name);
  return (
    `"settings":${JSON.stringify(settings)},"paused":${pausedText(core, name, null)},` +
    `"shut":${shutText(core, flow?.gate)},"groupsWaiting":${flow?.groupsWaiting ?? 0},"groupsPaused":${flow?.groupsPaused ?? 0}`
  );
}
