/**
 * Why a task is not running: read off what dispatch itself looks at (gates, lanes, crews, slots), and off nothing that
 * is kept for the question. It looks at every worker that fits, and for who holds a limit at tasks that run until a few
 * are found: for people, never on a hot path.
 */
import type { Input } from "../wire/operations.ts";
import { namedMax, type Reason, type ReasonCode, type TaskExplained } from "../wire/why.ts";
import type { Coordinator } from "./coordinator.ts";
import { pauseKey, type ShutGate, shutInWords } from "./flow.ts";
import type { Bucket, Gate } from "./gates.ts";
import { fits, requirementOf, servesQueue } from "./offers.ts";
import type { Result } from "./result.ts";
import type { Slot } from "./slots.ts";
import { isFinal, leaseOf, type TaskRecord, type TaskSpec, unknownTask } from "./tasks.ts";

type Found = { reasons: Reason[]; free: number };

const reason = (
  code: ReasonCode,
  detail: string,
  by: string[] = [],
  untilAt: number | null = null,
): Reason => ({
  code,
  detail,
  untilAt,
  by: by.slice(0, namedMax),
});

export function explain(core: Coordinator, input: Input<"task.explain">): Result {
  const record = core.tasks.get(input.taskId);
  if (record === undefined) return unknownTask(input.taskId);
  const { spec, state } = record;
  const online = [...core.dispatch.slots()].filter((slot) => slot.record.state !== "offline");
  const fitting = online.filter((slot) => mayRun(slot, spec));
  const { reasons, free } = found(core, record, online, fitting);
  const explained: TaskExplained = {
    id: spec.id,
    state,
    summary: `${reasons.map(({ detail }) => detail).join("; ")}.`,
    reasons,
    workers: { registered: online.length, fitting: fitting.length, free },
    asks: asksOf(spec).map(({ asked, isMet }) => ({ asked, met: online.filter(isMet).length })),
    ahead: state === "queued" ? aheadOf(core, spec) : null,
  };
  return { ok: JSON.stringify(explained) };
}

const aheadOf = (core: Coordinator, spec: TaskSpec): number =>
  Math.min(
    core.queues.waiting(spec.options.queue) - 1,
    core.dispatch.aheadOf(core.queues.laneWith(spec), spec),
  );

const mayRun = (slot: Slot, { options, extras }: TaskSpec): boolean =>
  (extras.workerId === null || extras.workerId === slot.id) && fits(options, slot.record, slot.offer);

function found(core: Coordinator, record: TaskRecord, online: Slot[], fitting: Slot[]): Found {
  const { spec, state, outcome } = record;
  if (isFinal(state)) {
    const why = outcome.reason ?? outcome.error?.message;
    return only(reason("ended", `it is ${state}${why ? `: ${why}` : ""}`));
  }
  switch (state) {
    case "running": {
      const { workerId, startedAt } = leaseOf(record);
      const ms = Math.max(0, core.now - startedAt);
      return only(reason("running", `it runs on worker ${workerId}, since ${inWords(ms)}`, [workerId]));
    }
    case "scheduled": {
      const failed = outcome.error !== null && record.attempt > 0;
      const what = failed ? `attempt ${record.attempt} failed, and the next begins` : "it begins";
      const detail = `${what} in ${inWords(record.runAt - core.now)}`;
      return only(reason("scheduled", detail, [], record.runAt));
    }
    case "blocked":
      return only(blocked(core, record));
    default: {
      const reasons = core.flow.shutFor(spec).map((shut) => gateReason(core, spec, shut));
      const workers = workersReasons(core, spec, online, fitting);
      const all = [...reasons, ...workers.reasons];
      if (all.length === 0) all.push(reason("starting", "nothing is in its way: it starts at once"));
      return { reasons: all, free: workers.free };
    }
  }
}

const only = (one: Reason): Found => ({ reasons: [one], free: 0 });

function blocked(core: Coordinator, { spec, outcome }: TaskRecord): Reason {
  const ids: string[] = [];
  for (const one of core.graphs.pendingOf(spec)) if (ids.push(one.id) > namedMax) break;
  const more = ids.length > namedMax ? " and more" : "";
  const named = ids.slice(0, namedMax);
  if (named.length > 0) return reason("blocked", `it waits for ${named.join(", ")}${more}`, named);
  return spec.links.open && outcome.closedAt === 0
    ? reason("blocked", "it is open: it waits for children until it is closed")
    : reason("blocked", "what it waited for has ended: it goes on at once");
}

function gateReason(core: Coordinator, spec: TaskSpec, shut: ShutGate): Reason {
  const { gate, why } = shut;
  switch (why) {
    case "paused": {
      const key = pauseKey(spec.options.queue, gate.kind === "queue" ? null : gate.name);
      const pause = core.flow.pauses.get(key);
      const by = pause === undefined ? "" : ` by ${pause.by}`;
      const because = pause?.reason ? ` (${pause.reason})` : "";
      const until = pause?.until || null;
      const left = until === null ? "until it is resumed" : `for ${inWords(until - core.now)} yet`;
      const detail = `${gate.kind} ${gate.name} is paused${by}${because}, ${left}`;
      return reason("paused", detail, pause === undefined ? [] : [pause.by], until);
    }
    case "concurrency":
      return reason("concurrency", shutInWords(shut), runningBehind(core, spec, gate));
    case "rate": {
      const waitMs = (gate.bucket as Bucket).opensAt - core.clock;
      const detail = `${shutInWords(shut)}; the next may start in ${inWords(waitMs)}`;
      return reason("rate", detail, [], Math.ceil(core.now + waitMs));
    }
  }
}

/** Some of the tasks that run behind the gate. */
function runningBehind(core: Coordinator, { options: { queue } }: TaskSpec, { kind, name }: Gate): string[] {
  const ids: string[] = [];
  for (const slot of core.dispatch.slots())
    for (const { id, options, extras } of slot.running) {
      if (kind === "limit" ? !options.limits.includes(name) : options.queue !== queue) continue;
      if (kind === "group" && extras.group !== name) continue;
      if (ids.push(id) === namedMax) return ids;
    }
  return ids;
}

// --- workers ----------------------------------------------------------------------------------------------

type Ask = { asked: string; isMet: (slot: Slot) => boolean };

/** Each single thing that the task asks of a worker. */
function asksOf({ options, extras }: TaskSpec): Ask[] {
  const { queue, kind, capabilities, requires, slots } = options;
  const asks: Ask[] = [{ asked: `queue ${queue}`, isMet: ({ record }) => servesQueue(record, queue) }];
  if (extras.workerId !== null)
    asks.unshift({ asked: `worker ${extras.workerId}`, isMet: ({ id }) => id === extras.workerId });
  if (kind !== null) asks.push({ asked: `kind ${kind}`, isMet: ({ record }) => record.kind === kind });
  for (const name of capabilities)
    asks.push({ asked: `capability ${name}`, isMet: ({ offer }) => offer.capabilities.has(name) });
  for (const text of requires)
    asks.push({ asked: requirementOf(text).text, isMet: ({ offer }) => offer.meets(text) });
  if (slots > 1)
    asks.push({ asked: `capacity of ${slots} slots`, isMet: ({ record }) => record.capacity >= slots });
  return asks;
}

function workersReasons(core: Coordinator, spec: TaskSpec, online: Slot[], fitting: Slot[]): Found {
  const { slots } = spec.options;
  const pinned = spec.extras.workerId;
  if (pinned !== null && !online.some(({ id }) => id === pinned)) {
    const known = core.dispatch.slot(pinned) !== undefined;
    const how = known ? "is offline" : "is not registered";
    return only(reason("pinned", `it is for worker ${pinned} alone, which ${how}`, [pinned]));
  }
  if (fitting.length === 0) return only(reason("no-worker", nobodyFits(spec, online)));
  const largest = fitting.reduce((max, { record }) => Math.max(max, record.capacity), 0);
  if (largest < slots) {
    const of =
      fitting.length === 1 ? "the only worker that fits" : `the largest of ${fitting.length} that fit`;
    return only(reason("too-large", `it takes ${slots} slots, and ${of} has ${largest}`));
  }
  const reasons: Reason[] = [];
  const waits = core.dispatch.sticky.of(spec);
  if (waits !== undefined && waits.lane !== waits.from) {
    const holder = waits.lane.owner?.workerId as string;
    const untilAt = Math.ceil(core.now + waits.until - core.clock);
    const detail = `it waits for worker ${holder}, which had the last task of ${spec.extras.sticky}, for ${inWords(untilAt - core.now)} yet`;
    reasons.push(reason("sticky", detail, [holder], untilAt));
    // Until then the others do not matter.
    fitting = fitting.filter(({ id }) => id === holder);
  }
  return byStanding(core, spec, fitting, reasons);
}

/** Why none of the workers that fit takes the task. */
function byStanding(core: Coordinator, spec: TaskSpec, fitting: Slot[], reasons: Reason[]): Found {
  const { slots } = spec.options;
  const busy: string[] = [];
  const unclaimed: string[] = [];
  const unavailable = new Map<string, string[]>();
  let free = 0;
  for (const slot of fitting) {
    const { id, record, attached } = slot;
    const why = unavailability(slot);
    if (why !== null) {
      unavailable.set(why, [...(unavailable.get(why) ?? []), id]);
    } else if (slot.reservedFor !== null) {
      const kept = slot.reservedFor.head === spec;
      if (!kept) busy.push(id);
      else
        reasons.push(
          reason(
            "kept",
            `room is kept for it on worker ${id}: ${record.capacity - slot.used} of the ${slots} slots it takes`,
            [id],
          ),
        );
    } else if (attached ? slot.room < slots : slot.claimRoom < slots) busy.push(id);
    else {
      free += 1;
      if (!attached && !slot.claims) unclaimed.push(id);
    }
  }
  const canStart = free > unclaimed.length;
  if (canStart) return { reasons, free };
  if (busy.length > 0) {
    const all = busy.length === fitting.length ? "all " : "";
    const one = busy.length === 1;
    const who = one ? `worker ${busy[0]}, which fits, has` : `${all}${busy.length} workers that fit have`;
    const ahead = aheadOf(core, spec);
    const line = ahead === 0 ? "it is next in line" : `about ${ahead} tasks come before it`;
    reasons.push(
      reason("busy", `${who} no room for ${slots === 1 ? "it" : `its ${slots} slots`}, and ${line}`, busy),
    );
  }
  for (const [why, ids] of unavailable)
    reasons.push(
      reason("unavailable", `${workersNamed(ids)} ${ids.length === 1 ? "is" : "are"} ${why}`, ids),
    );
  if (unclaimed.length > 0)
    reasons.push(
      reason(
        "unclaimed",
        `${workersNamed(unclaimed)} ${unclaimed.length === 1 ? "has" : "have"} room, no connection to be pushed to, and no claim that waits`,
        unclaimed,
      ),
    );
  return { reasons, free };
}

/** What keeps a worker from getting any task; null: nothing but its room. */
function unavailability({ record, health, attached, credit, congested }: Slot): string | null {
  if (record.state !== "online") return record.state;
  if (health.quarantinedUntil > 0) return "in quarantine: too many of the attempts there failed";
  if (health.stalledMs > 0) return "stalled: the handlers there stand still";
  if (!attached) return null;
  if (health.deaf) return "deaf: what was pushed there was not acknowledged";
  if (credit === 0) return "without credit: they ask for no tasks now";
  return congested ? "slow to take what is pushed" : null;
}

const workersNamed = (ids: string[]): string =>
  ids.length === 1 ? `worker ${ids[0]}` : `${ids.length} workers that fit`;

/** Which of what it asks leaves whom out. */
function nobodyFits(spec: TaskSpec, online: Slot[]): string {
  if (online.length === 0) return "no worker is registered";
  const asks = asksOf(spec).filter(({ asked }) => !asked.startsWith("capacity"));
  const unmet = asks.filter(({ isMet }) => !online.some(isMet));
  if (unmet.length > 0)
    return `none of ${online.length} registered workers meets ${unmet.map(({ asked }) => asked).join(", nor ")}`;
  const each = asks.map(({ asked, isMet }) => `${asked} (${online.filter(isMet).length})`);
  return `no registered worker meets all it asks, though each is met by some: ${each.join(", ")}`;
}

/** A time as people say it, rounded up to what they can do something with. */
function inWords(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.ceil(ms))} ms`;
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
