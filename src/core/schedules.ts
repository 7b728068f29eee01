/**
 * Schedules: when the daemon itself submits tasks. A schedule has a definition, which a put replaces as a whole, and a
 * standing: the next run, what waits, what was counted. A run that starts is a task put and the schedule's new
 * standing in one entry, so no crash loses or doubles it; the task's idempotency key names the run.
 *
 *            put ──► active ──pause──► paused ──resume──► active
 *                      │ no run comes any more
 *                      └────► finished ──put──► active
 *
 * All of it runs on wall time, which never goes back here (Coordinator.setTime). `nextAt` is the first run that was
 * not decided yet; a look, once it is due, decides all up to now: what is late by no more than `lateMsMax` starts,
 * the rest is missed and the schedule's policy decides. Down time, a pause and a clock that was set forward are
 * the same here: time in which nobody looked.
 */
import { IndexedHeap } from "../lib/heap.ts";
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import type { SchedulePut, ScheduleState, ScheduleTask } from "../wire/schedules.ts";
import type { Coordinator } from "./coordinator.ts";
import { type Pattern, patternOf } from "./cron.ts";
import { invalid, type Refusal, type Result, refuse, textOf } from "./result.ts";
import type { Index } from "./store.ts";
import { isFinal, needsOf, submitKept, type TaskRecord } from "./tasks.ts";

/** When it runs: what the runs are a function of. */
export type Timing = {
  /** null: everyMs says when. */
  readonly cron: string | null;
  readonly timeZone: string;
  /** 0: cron says when. */
  readonly everyMs: number;
  /** 0: none. */
  readonly startAt: number;
  readonly endAt: number;
  /** What everyMs is counted from. */
  readonly anchorAt: number;
};

/** What a put says: written once for each put that changes it. */
export type ScheduleSpec = Timing & {
  readonly name: string;
  readonly jitterMs: number;
  readonly missed: "skip" | "once" | "all";
  readonly missedMax: number;
  readonly overlap: "allow" | "skip" | "wait";
  /** Without its payload, which is kept as JSON text. */
  readonly task: ScheduleTask;
  readonly payload: string;
  readonly createdAt: number;
  readonly putRevision: number;
};

export type ScheduleRecord = {
  readonly spec: ScheduleSpec;
  readonly state: ScheduleState;
  /** The first run that was not decided; 0: none will come. */
  readonly nextAt: number;
  /** When it starts: nextAt and the jitter drawn for it. */
  readonly dueAt: number;
  /** The run that waits for the last one's task to end; 0: none. */
  readonly waitingAt: number;
  /** The moment of the last run that started; 0 and null before the first. */
  readonly lastAt: number;
  readonly lastTaskId: string | null;
  readonly runsCount: number;
  readonly skippedCount: number;
  readonly revision: number;
};

/** A schedule before its standing is known: the log has that in the same entry. */
export function newSchedule(spec: ScheduleSpec): ScheduleRecord {
  return {
    spec,
    state: "active",
    nextAt: 0,
    dueAt: 0,
    waitingAt: 0,
    lastAt: 0,
    lastTaskId: null,
    runsCount: 0,
    skippedCount: 0,
    revision: spec.putRevision,
  };
}

/** A run that starts no later than this after its moment was not missed. */
const lateMsMax = 10_000;
/** A run that the daemon had no room for is tried again after this long. */
const heldMs = 1000;
/** What a schedule costs beside its payload (measured). */
const scheduleBytes = 2000;

// --- its runs ---------------------------------------------------------------------------------------------

/** A timing that was checked has a pattern that can be read. */
const patternOfTiming = (timing: Timing) => patternOf(timing.cron as string, timing.timeZone) as Pattern;

/** The first run after the moment; 0: none. */
export function nextRun(timing: Timing, after: number): number {
  const from = Math.max(after, timing.startAt - 1);
  const { anchorAt, everyMs } = timing;
  const next =
    timing.cron === null
      ? anchorAt + (Math.floor((from - anchorAt) / everyMs) + 1) * everyMs
      : patternOfTiming(timing).after(from);
  return timing.endAt > 0 && next > timing.endAt ? 0 : next;
}

/** The last run before the moment; 0: none. */
function lastRun(timing: Timing, before: number): number {
  const to = timing.endAt > 0 ? Math.min(before, timing.endAt + 1) : before;
  const { anchorAt, everyMs } = timing;
  const last =
    timing.cron === null
      ? anchorAt + (Math.ceil((to - anchorAt) / everyMs) - 1) * everyMs
      : patternOfTiming(timing).before(to);
  return last < timing.startAt ? 0 : last;
}

function nextRuns(timing: Timing, after: number, count: number): number[] {
  const runs: number[] = [];
  for (let at = nextRun(timing, after); at > 0 && runs.length < count; at = nextRun(timing, at))
    runs.push(at);
  return runs;
}

/** The runs that a look starts, if they do not overlap: those in time, and what the policy makes of the missed. */
function runsDue({ spec, nextAt, dueAt }: ScheduleRecord, now: number): number[] {
  const firstInTime = now - dueAt <= lateMsMax;
  const missedTo = Math.max(nextAt, now - lateMsMax - 1);
  const inTime = firstInTime ? [nextAt] : [];
  for (let at = nextRun(spec, missedTo); at > 0 && at <= now; at = nextRun(spec, at)) inTime.push(at);
  const isMissed = (at: number) => (firstInTime ? at > nextAt : at >= nextAt);
  const wanted = { skip: 0, once: inTime.length === 0 ? 1 : 0, all: spec.missedMax }[spec.missed];
  const missed: number[] = [];
  for (let at = lastRun(spec, missedTo + 1); missed.length < wanted && isMissed(at); at = lastRun(spec, at))
    missed.push(at);
  return [...missed, ...inTime].sort((a, b) => a - b);
}

// --- what is due --------------------------------------------------------------------------------------------

/** A schedule's place among what is due. */
class Slot {
  /** When to look at it next, on the wall clock. */
  at = 0;
  /** Because the daemon had no room for its run, later than it is due. */
  held = false;

  constructor(public record: ScheduleRecord) {}
}

const byPlace = (a: Slot, b: Slot) =>
  a.at < b.at || (a.at === b.at && a.record.spec.name < b.record.spec.name);

export class Agenda implements Index<ScheduleRecord> {
  readonly #slots = new Map<string, Slot>();
  readonly #due = new IndexedHeap<Slot>(byPlace);
  /** By the task that a run waits for. */
  readonly #waiting = new Map<string, Slot>();
  /** Sorted, for lists; null: to be sorted. What is gone may still be in it. */
  #names: string[] | null = null;

  constructor(private readonly core: Coordinator) {}

  change(before: ScheduleRecord | undefined, after: ScheduleRecord | undefined): void {
    const { name } = ((after ?? before) as ScheduleRecord).spec;
    this.core.limits.grow(sizeOf(after) - sizeOf(before));
    let slot = this.#slots.get(name);
    if (before !== undefined && before.waitingAt > 0) this.#waiting.delete(before.lastTaskId as string);
    if (after === undefined) {
      this.#due.delete(slot as Slot);
      this.#slots.delete(name);
      return;
    }
    if (slot === undefined) {
      slot = new Slot(after);
      this.#slots.set(name, slot);
      this.#names = null;
    }
    slot.record = after;
    if (after.waitingAt > 0) this.#waiting.set(after.lastTaskId as string, slot);
    this.#place(slot);
  }

  /** A task changed: a run may have waited for its end. */
  taskChanged(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    if (this.#waiting.size === 0) return;
    const slot = this.#waiting.get((after ?? before)!.spec.id);
    if (slot !== undefined) this.#place(slot);
  }

  #place(slot: Slot): void {
    slot.held = false;
    slot.at = this.placeOf(slot.record);
    if (slot.at === Number.POSITIVE_INFINITY) this.#due.delete(slot);
    else this.#due.update(slot);
  }

  /** When a schedule that stands so is to be looked at. */
  placeOf(record: ScheduleRecord): number {
    if (record.state !== "active") return Number.POSITIVE_INFINITY;
    if (maySubmitWaiting(this.core, record)) return 0;
    return record.nextAt > 0 ? record.dueAt : Number.POSITIVE_INFINITY;
  }

  get nextAt(): number {
    return this.#due.top?.at ?? Number.POSITIVE_INFINITY;
  }

  /** Inside a transaction: decides what is due of the first schedule. */
  lookAtFirst(): void {
    const slot = this.#due.top as Slot;
    if (look(this.core, slot.record)) return;
    slot.held = true;
    slot.at = this.core.now + heldMs;
    this.#due.update(slot);
  }

  *names(cursor: string | undefined): Iterable<string> {
    this.#names ??= [...this.#slots.keys()].sort();
    let i = 0;
    if (cursor !== undefined) {
      let high = this.#names.length;
      while (i < high) {
        const middle = (i + high) >> 1;
        if ((this.#names[middle] as string) <= cursor) i = middle + 1;
        else high = middle;
      }
    }
    for (; i < this.#names.length; i++)
      if (this.#slots.has(this.#names[i] as string)) yield this.#names[i] as string;
  }

  /** For checks. */
  slot(name: string): Readonly<Slot> | undefined {
    return this.#slots.get(name);
  }
  get size(): number {
    return this.#slots.size;
  }
  get dueCount(): number {
    return this.#due.size;
  }
}

const sizeOf = (record: ScheduleRecord | undefined) =>
  record === undefined ? 0 : scheduleBytes + record.spec.payload.length;

// --- runs -------------------------------------------------------------------------------------------------

function lastEnded(core: Coordinator, record: ScheduleRecord): boolean {
  const last = record.lastTaskId === null ? undefined : core.tasks.get(record.lastTaskId);
  return last === undefined || isFinal(last.state);
}

const maySubmitWaiting = (core: Coordinator, record: ScheduleRecord) =>
  record.waitingAt > 0 && (record.spec.overlap !== "wait" || lastEnded(core, record));

/** The state that follows from how it stands. */
const stateOf = (paused: boolean, nextAt: number, waitingAt: number): ScheduleState =>
  nextAt === 0 && waitingAt === 0 ? "finished" : paused ? "paused" : "active";

const dueOf = (core: Coordinator, spec: ScheduleSpec, nextAt: number): number =>
  nextAt === 0 || spec.jitterMs === 0 ? nextAt : nextAt + Math.floor(core.random() * (spec.jitterMs + 1));

/** Decides what is due of a schedule; false: the daemon has no room for its runs now, and nothing was changed. */
function look(core: Coordinator, record: ScheduleRecord): boolean {
  const { spec } = record;
  const waits = maySubmitWaiting(core, record);
  const isDue = record.nextAt > 0 && record.dueAt <= core.now;
  const runs = isDue ? runsDue(record, core.now) : [];
  if (waits) runs.unshift(record.waitingAt);
  if (runs.length > 0 && core.limits.refuseSubmit(1) !== null) return false;

  let { lastAt, lastTaskId, runsCount, skippedCount } = record;
  let waitingAt = waits ? 0 : record.waitingAt;
  let nextAt = isDue ? nextRun(spec, core.now) : record.nextAt;
  let dueAt = isDue ? dueOf(core, spec, nextAt) : record.dueAt;
  const mayStart = () => spec.overlap === "allow" || lastEnded(core, { ...record, lastTaskId });
  for (const at of runs) {
    if (!mayStart()) {
      if (spec.overlap === "wait" && waitingAt === 0) waitingAt = at;
      else skippedCount++;
      continue;
    }
    const submit = { ...spec.task, idempotencyKey: `schedule/${spec.name}/${at}` };
    const task = submitKept(core, submit, spec.payload);
    if ("error" in task) {
      if (runsCount === record.runsCount) return false;
      // Its queue became full by the runs before: this one and what follows is decided anew once there is room.
      nextAt = at;
      dueAt = at;
      break;
    }
    lastAt = at;
    lastTaskId = task.id;
    runsCount++;
    core.metrics.scheduleRuns++;
  }
  core.schedules.put(spec.name, {
    spec,
    state: stateOf(false, nextAt, waitingAt),
    nextAt,
    dueAt,
    waitingAt,
    lastAt,
    lastTaskId,
    runsCount,
    skippedCount,
    revision: core.store.nextRevision,
  });
  return true;
}

// --- what an operator says --------------------------------------------------------------------------------

const unknownSchedule = (name: string) => refuse("unknown-schedule", `there is no schedule ${name}`);

type TimingInput = Pick<SchedulePut, "cron" | "timeZone" | "everyMs" | "startAt" | "endAt">;

function timingOf(input: TimingInput, now: number): Timing | Refusal {
  const { cron, everyMs, timeZone, startAt = 0, endAt = 0 } = input;
  if ((cron === undefined) === (everyMs === undefined))
    return invalid("", "exactly one of cron and everyMs is needed");
  if (timeZone !== undefined && cron === undefined) return invalid("/timeZone", "goes with cron");
  if (endAt > 0 && endAt < startAt) return invalid("/endAt", "is before startAt");
  const timing: Timing = {
    cron: cron ?? null,
    timeZone: timeZone ?? "UTC",
    everyMs: everyMs ?? 0,
    startAt,
    endAt,
    anchorAt: startAt || now,
  };
  if (cron !== undefined) {
    const pattern = patternOf(cron, timing.timeZone);
    if ("field" in pattern) return invalid(`/${pattern.field}`, pattern.detail);
    if (pattern.after(now) === 0) return invalid("/cron", "never comes: no such day is in any month");
  }
  return timing;
}

const sameTiming = (a: Timing, b: Timing) =>
  a.cron === b.cron &&
  a.timeZone === b.timeZone &&
  a.everyMs === b.everyMs &&
  a.startAt === b.startAt &&
  a.endAt === b.endAt;

/** What a put says, without what we made of it: equal texts are equal definitions. */
const saidIn = ({ anchorAt: _a, createdAt: _c, putRevision: _p, ...said }: ScheduleSpec) =>
  JSON.stringify(said);

function conflict(name: string, ifRevision: number | undefined, known: ScheduleRecord | undefined) {
  const is = known?.spec.putRevision ?? 0;
  if (ifRevision === undefined || ifRevision === is) return null;
  return refuse(
    "revision-conflict",
    known === undefined ? `there is no schedule ${name}` : `schedule ${name} was put at revision ${is}`,
  );
}

/**
 * A definition that says the same changes nothing, and one that has the same time keeps its next run: a program may
 * put its schedules at each of its starts, and misses or delays no run by it.
 */
export function put(core: Coordinator, input: Input<"schedule.put">): Result {
  const { name } = input;
  const known = core.schedules.get(name);
  const conflicting = conflict(name, input.ifRevision, known);
  if (conflicting !== null) return conflicting;
  const timing = timingOf(input, core.now);
  if ("error" in timing) return timing;
  const { payload, ...task } = input.task;
  const text = textOf(payload, "payload");
  if ("error" in text) return text;
  const asked = needsOf(task, "/task");
  if ("error" in asked) return asked;
  const same = known !== undefined && sameTiming(known.spec, timing);
  const spec: ScheduleSpec = {
    name,
    cron: timing.cron,
    timeZone: timing.timeZone,
    everyMs: timing.everyMs,
    startAt: timing.startAt,
    endAt: timing.endAt,
    anchorAt: same ? known.spec.anchorAt : timing.anchorAt,
    jitterMs: input.jitterMs ?? 0,
    missed: input.missed ?? "once",
    missedMax: input.missedMax ?? limits.missedRunsMax,
    overlap: input.overlap ?? "allow",
    task,
    payload: text.text,
    createdAt: known?.spec.createdAt ?? core.now,
    putRevision: core.store.nextRevision,
  };
  const nextAt = same ? known.nextAt : nextRun(spec, core.now);
  if (nextAt === 0 && !same) return invalid("/endAt", "no run comes between now and endAt");
  const waitingAt = known?.waitingAt ?? 0;
  const state = stateOf(input.paused ?? known?.state === "paused", nextAt, waitingAt);
  if (known?.state === state && saidIn(known.spec) === saidIn(spec)) return { ok: scheduleText(known) };
  if (known === undefined) {
    if (core.schedules.size >= limits.schedulesMax)
      return refuse("busy", `${limits.schedulesMax} schedules are kept`, { retryAfterMs: 60_000 });
    const busy = core.limits.refuseMemory();
    if (busy !== null) return busy;
  }
  const record: ScheduleRecord = {
    spec,
    state,
    nextAt,
    dueAt: same && known.spec.jitterMs === spec.jitterMs ? known.dueAt : dueOf(core, spec, nextAt),
    waitingAt,
    lastAt: known?.lastAt ?? 0,
    lastTaskId: known?.lastTaskId ?? null,
    runsCount: known?.runsCount ?? 0,
    skippedCount: known?.skippedCount ?? 0,
    revision: spec.putRevision,
  };
  core.schedules.put(name, record);
  return { ok: scheduleText(record) };
}

export function remove(core: Coordinator, input: Input<"schedule.delete">): Result {
  const known = core.schedules.get(input.name);
  if (known === undefined) return unknownSchedule(input.name);
  const conflicting = conflict(input.name, input.ifRevision, known);
  if (conflicting !== null) return conflicting;
  core.schedules.delete(input.name);
  return { ok: `{"name":"${input.name}"}` };
}

/** Saying it again changes nothing; what is finished stays so. */
function setPaused(core: Coordinator, name: string, paused: boolean): Result {
  const known = core.schedules.get(name);
  if (known === undefined) return unknownSchedule(name);
  const state = stateOf(paused, known.nextAt, known.waitingAt);
  if (state === known.state) return { ok: scheduleText(known) };
  const record = { ...known, state, revision: core.store.nextRevision };
  core.schedules.put(name, record);
  return { ok: scheduleText(record) };
}

export const pause = (core: Coordinator, { name }: Input<"schedule.pause">) => setPaused(core, name, true);
export const resume = (core: Coordinator, { name }: Input<"schedule.resume">) => setPaused(core, name, false);

export function run(core: Coordinator, { name }: Input<"schedule.run">): Result {
  const known = core.schedules.get(name);
  if (known === undefined) return unknownSchedule(name);
  const busy = core.limits.refuseSubmit(1);
  if (busy !== null) return busy;
  const task = submitKept(core, known.spec.task, known.spec.payload);
  if ("error" in task) return task;
  core.metrics.scheduleRuns++;
  core.schedules.put(name, {
    ...known,
    lastAt: core.now,
    lastTaskId: task.id,
    runsCount: known.runsCount + 1,
    revision: core.store.nextRevision,
  });
  return { ok: `{"name":"${name}","taskId":"${task.id}"}` };
}

// --- as everyone sees it ----------------------------------------------------------------------------------

const quoted = (text: string | null) => (text === null ? "null" : JSON.stringify(text));

export function scheduleText(record: ScheduleRecord): string {
  const { spec } = record;
  const payload = spec.payload === "null" ? "" : `,"payload":${spec.payload}`;
  return (
    `{"name":"${spec.name}","cron":${quoted(spec.cron)},"timeZone":${quoted(spec.timeZone)},` +
    `"everyMs":${spec.everyMs || null},"startAt":${spec.startAt || null},"endAt":${spec.endAt || null},` +
    `"jitterMs":${spec.jitterMs},"missed":"${spec.missed}","missedMax":${spec.missedMax},"overlap":"${spec.overlap}",` +
    `"task":${JSON.stringify(spec.task).slice(0, -1)}${payload}},"state":"${record.state}",` +
    `"nextAt":${record.nextAt || null},"waitingAt":${record.waitingAt || null},"lastAt":${record.lastAt || null},` +
    `"lastTaskId":${quoted(record.lastTaskId)},"runsCount":${record.runsCount},"skippedCount":${record.skippedCount},` +
    `"createdAt":${spec.createdAt},"putRevision":${spec.putRevision},"revision":${record.revision}}`
  );
}

const runsShown = 5;

export function get(core: Coordinator, input: Input<"schedule.get">): Result {
  const record = core.schedules.get(input.name);
  if (record === undefined) return unknownSchedule(input.name);
  const runs = record.nextAt === 0 ? [] : nextRuns(record.spec, record.nextAt - 1, input.count ?? runsShown);
  return { ok: `${scheduleText(record).slice(0, -1)},"nextRuns":${JSON.stringify(runs)}}` };
}

/** How many schedules one list request looks at before it answers with a short page and a cursor. */
const looksPerPage = 20_000;
/** As tasks: an answer is short rather than longer than a socket takes. */
const { answerUnitsMax } = limits;

export function list(core: Coordinator, input: Input<"schedule.list">): Result {
  const limit = input.limit ?? 100;
  const texts: string[] = [];
  let units = 0;
  let looks = 0;
  let cursor: string | undefined;
  for (const name of core.agenda.names(input.cursor)) {
    if (texts.length === limit || looks++ === looksPerPage || units >= answerUnitsMax)
      return { ok: `{"schedules":[${texts.join(",")}],"cursor":${quoted(cursor ?? null)}}` };
    cursor = name;
    const record = core.schedules.get(name) as ScheduleRecord;
    if (input.state !== undefined && record.state !== input.state) continue;
    const text = scheduleText(record);
    texts.push(text);
    units += text.length;
  }
  return { ok: `{"schedules":[${texts.join(",")}],"cursor":null}` };
}

export function preview(core: Coordinator, input: Input<"schedule.preview">): Result {
  const from = input.from ?? core.now;
  const timing = timingOf(input, from);
  if ("error" in timing) return timing;
  return { ok: `{"nextRuns":${JSON.stringify(nextRuns(timing, from, input.count ?? runsShown))}}` };
}
