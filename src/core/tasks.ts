/**
 * Tasks: their records, their life cycle, and the operations on them. Every operation checks everything
 * first and changes then, so that a refusal leaves no trace; errors come in a fixed order (unknown, lease,
 * state, size).
 *
 *            submit ──delay──► scheduled ◄───────── fail, attempts left (backoff)
 *               │                  │ due     (or snooze)     │
 *               └───────────────► queued ──lease──► running ─┼─ complete ──► completed
 *                                   ▲                  │     ├─ fail, final ► failed
 *                                   ├──── release ─────┤     └─ fail, none left ► dead
 *                                   ├── interruption ──┘───── too many ──────────► dead
 *                                   └── retry ── failed, dead, cancelled
 *            it waits for other tasks (graphs.ts): submit, retry, a running one's wait ──► blocked;
 *                   they are done ──► queued, scheduled; one failed ──► failed, cancelled
 *            cancel: scheduled, blocked, queued, running ──► cancelled
 *            by the clock: not begun in its time to live, not ended by its deadline ──► failed (expiry.ts)
 *
 * An interruption (the worker went silent), a release and a snooze charge no attempt, and the task stands in its
 * queue where it stood: its place is a function of its spec alone.
 */
import { limits } from "../wire/limits.ts";
import type { Input } from "../wire/operations.ts";
import { readRequirement } from "../wire/requirements.ts";
import {
  priorities,
  pushedDefaults,
  type TaskError,
  type TaskState,
  type TaskSubmit,
} from "../wire/tasks.ts";
import type { TaskCondition } from "../wire/transactions.ts";
import type { ArchivedTask } from "./archive.ts";
import { dropped, droppedReason, dropsNewest, refuseBacklog } from "./backlog.ts";
import { backoffMs, backoffText, refuseBackoff } from "./backoff.ts";
import type { Coordinator } from "./coordinator.ts";
import { endsAt, expiresAt } from "./expiry.ts";
import { type Failures, failuresText, forgetFailures, isFinalCode, noteFailure } from "./failures.ts";
import { shutInWords } from "./flow.ts";
import * as graphs from "./graphs.ts";
import { idNaming, rowOf } from "./ids.ts";
import { linksOf } from "./links.ts";
import { bringLogBack, forgetLog } from "./logs.ts";
import type { Needs } from "./offers.ts";
import {
  bareOptions,
  defaultBackoff,
  extrasOf,
  hasNoExtras,
  isBare,
  type Links,
  noCapabilities,
  noExtras,
  noLabels,
  priorityOf,
  shared,
  type TaskExtras,
  type TaskOptions,
  taskDefaults,
  unlinked,
} from "./options.ts";
import { Coming } from "./queues.ts";
import { invalid, type Refusal, type Result, refuse, textOf } from "./result.ts";
import type { Slot } from "./slots.ts";
import type { RowName, Store, Table } from "./store.ts";
import {
  debouncedAt,
  holdsKey,
  type Known,
  keepsNewer,
  knownBy,
  leaveKey,
  takeKey,
  type UniqueKept,
  uniqueOf,
} from "./unique.ts";
import { offline, unknownWorker } from "./workers.ts";

/**
 * What is not changed by how a task stands: written once. Another one may take its place while the task waits
 * (unique.ts, bulk.ts). A class, because its names are made when they are asked for.
 */
export class TaskSpec {
  constructor(
    /** The entry that made it, and its number in that entry: with the priority, its place in the queue. */
    readonly revision: number,
    readonly number: number,
    readonly options: TaskOptions,
    /** JSON text: parsed once when it came, never again by the daemon. */
    readonly payload: string,
    readonly extras: TaskExtras,
    readonly links: Links,
    readonly createdAt: number,
    name: string | null = null,
  ) {
    this.#name = name;
  }

  /** Of one that came with others, which is asked for several times at once: made once. */
  #name: string | null;

  get id(): string {
    if (this.number === 0) return `${this.revision}-0`;
    this.#name ??= `${this.revision}-${this.number}`;
    return this.#name;
  }

  /** As its table names it. */
  get row(): RowName {
    return rowOf(this);
  }

  /** What takes its place, with its id and its age. */
  with(change: Partial<Pick<TaskSpec, "options" | "payload" | "extras" | "links">>): TaskSpec {
    const { revision, number, createdAt } = this;
    const { options, payload, extras, links } = change;
    return new TaskSpec(
      revision,
      number,
      options ?? this.options,
      payload ?? this.payload,
      extras ?? this.extras,
      links ?? this.links,
      createdAt,
    );
  }
}

export const tasksOf = (store: Store): Table<TaskRecord> => store.table("tasks", idNaming);
/** By task too. */
export const errorsOf = (store: Store): Table<Failures> => store.table("errors", idNaming);

export const archiveOf = (store: Store): Table<ArchivedTask> => store.table("archive", idNaming);

/** The newest lease of a task, kept when it has ended. */
export type Lease = {
  readonly workerId: string;
  readonly token: number;
  /** The silence allowed, and its end on the lease clock (0 in a final state). */
  readonly leaseMs: number;
  readonly deadline: number;
  /** When the attempt began, on the wall and on the lease clock (the latter 0 in a final state). */
  readonly startedAt: number;
  readonly startedClock: number;
};

/** What has come of a task so far. */
export type Outcome = {
  /** JSON text, or null. */
  readonly progress: string | null;
  readonly result: string | null;
  /** Of the newest failed attempt. */
  readonly error: TaskError | null;
  /** dead, cancelled, failed for another task: why, in words. */
  readonly reason: string | null;
  /** In a final state, the moment it was reached; else 0. */
  readonly finishedAt: number;
  /** When it was no more blocked, where its time to live counts from there; else 0. */
  readonly readyAt: number;
  /** When an open task was closed; else 0. */
  readonly closedAt: number;
};

/** A task as it stands. What a waiting task has not had yet it shares with all others, so it costs nothing. */
export type TaskRecord = {
  readonly spec: TaskSpec;
  readonly state: TaskState;
  /** Attempts started, interrupted and released ones taken off again. */
  readonly attempt: number;
  readonly interruptions: number;
  /** scheduled: the wall-clock moment it becomes ready; else 0. */
  readonly runAt: number;
  /** null before the first; a running task has one. */
  readonly lease: Lease | null;
  readonly outcome: Outcome;
  readonly revision: number;
};

export const noOutcome: Outcome = {
  progress: null,
  result: null,
  error: null,
  reason: null,
  finishedAt: 0,
  readyAt: 0,
  closedAt: 0,
};

/** When it was first meant to be ready: ageing counts from here. */
export const readyAt = (spec: TaskSpec): number => spec.createdAt + spec.options.delayMs;

const finalStates: ReadonlySet<TaskState> = new Set(["completed", "failed", "dead", "cancelled"]);
export const isFinal = (state: TaskState): boolean => finalStates.has(state);

/** The order of tasks of one priority in one queue: age since submit. */
export const specOrder = (a: TaskSpec, b: TaskSpec): number => a.revision - b.revision || a.number - b.number;

// --- submit -----------------------------------------------------------------------------------------------

/** A submit that was checked: what will become a record. */
type Draft = { submit: TaskSubmit; options: TaskOptions; payload: string; unique: UniqueKept | null };

/**
 * `pointer` tells where the submit stands in the input; `kept` its payload, where that was made text before; `coming`
 * what those ask of workers that are submitted with it.
 */
function draft(
  core: Coordinator,
  submit: TaskSubmit,
  pointer: () => string,
  kept?: string,
  coming?: Coming,
): Draft | Refusal {
  const { deadlineAt } = submit;
  if (deadlineAt !== undefined && deadlineAt <= core.now)
    return invalid(`${pointer()}/deadlineAt`, `is past: it is ${core.now} now`);
  const asked = isBare(submit) ? { options: bareOptions(submit) } : optionsOf(core, submit, pointer());
  if ("error" in asked) return asked;
  const payload = kept === undefined ? textOf(submit.payload, "payload") : { text: kept };
  if ("error" in payload) return payload;
  const { options } = asked;
  if (submit.workerId === undefined && !core.queues.hasRoomFor(options, coming))
    return refuse(
      "too-many-requirement-sets",
      `tasks with ${limits.lanesMax} different combinations of queue, kind, capabilities, requires, prefers and slots are waiting`,
    );
  const { unique: asksUnique } = submit;
  const unique =
    asksUnique === undefined ? null : uniqueOf(submit, asksUnique, options.queue, payload.text, pointer());
  if (unique !== null && "error" in unique) return unique;
  return { submit, options, payload: payload.text, unique };
}

/** What a task asks for, or what of it cannot be. */
function optionsOf(
  core: Coordinator,
  submit: TaskSubmit,
  pointer: string,
): { options: TaskOptions } | Refusal {
  const { runAt } = submit;
  if (runAt !== undefined && submit.delayMs !== undefined)
    return invalid(`${pointer}/runAt`, "goes without delayMs: one of the two says when");
  const wrong = submit.backoff === undefined ? null : refuseBackoff(submit.backoff, `${pointer}/backoff`);
  if (wrong !== null) return wrong;
  const asked = needsOf(submit, pointer);
  if ("error" in asked) return asked;
  const { needs } = asked;
  const options = shared({
    queue: needs.queue,
    type: submit.type,
    priority: priorityOf(submit),
    attempts: submit.attempts ?? taskDefaults.attempts,
    backoff: submit.backoff ?? defaultBackoff,
    finalCodes: sorted(submit.finalCodes),
    retryCodes: submit.retryCodes === undefined ? null : sorted(submit.retryCodes),
    interruptionsMax: submit.interruptionsMax ?? 0,
    leaseMs: submit.leaseMs ?? taskDefaults.leaseMs,
    timeoutMs: submit.timeoutMs ?? 0,
    delayMs: submit.delayMs ?? submit.unique?.debounceMs ?? Math.max(0, (runAt ?? 0) - core.now),
    ttlMs: submit.ttlMs ?? 0,
    kind: needs.kind,
    capabilities: needs.capabilities,
    requires: needs.requires,
    prefers: needs.prefers,
    slots: needs.slots,
    stickyMs: submit.sticky === undefined ? 0 : (submit.stickyMs ?? taskDefaults.stickyMs),
    labels: submit.labels ?? noLabels,
    limits: sorted(submit.limits),
  });
  return { options };
}

/** What a task asks of a worker, or which of it cannot be read. */
export function needsOf(submit: Omit<TaskSubmit, "payload">, pointer: string): { needs: Needs } | Refusal {
  if (submit.stickyMs !== undefined && submit.sticky === undefined)
    return invalid(`${pointer}/stickyMs`, "goes with sticky alone");
  const requires = spellingsOf(submit.requires, `${pointer}/requires`);
  if ("error" in requires) return requires;
  const prefers = spellingsOf(submit.prefers, `${pointer}/prefers`);
  if ("error" in prefers) return prefers;
  return {
    needs: {
      queue: submit.queue ?? taskDefaults.queue,
      kind: submit.kind ?? null,
      capabilities: sorted(submit.capabilities),
      requires: requires.texts.length === 0 ? noCapabilities : requires.texts.sort(),
      prefers: prefers.texts.length === 0 ? noCapabilities : prefers.texts,
      slots: submit.slots ?? 1,
    },
  };
}

/** Each text in its one spelling, and none of them twice. */
function spellingsOf(given: readonly string[] = [], pointer: string): { texts: string[] } | Refusal {
  const texts = new Set<string>();
  for (let i = 0; i < given.length; i++) {
    const read = readRequirement(given[i] as string);
    if ("detail" in read) return invalid(`${pointer}/${i}`, read.detail);
    texts.add(read.text);
  }
  return { texts: [...texts] };
}

const sorted = (names: readonly string[] | undefined): readonly string[] =>
  names === undefined || names.length === 0 ? noCapabilities : [...names].sort();

function specOf(
  core: Coordinator,
  from: Draft,
  number: number,
  links: Links = unlinked,
  id: string | null = null,
): TaskSpec {
  const { submit, options, payload, unique } = from;
  const extras = hasNoExtras(submit)
    ? noExtras
    : extrasOf({
        idempotencyKey: submit.idempotencyKey ?? null,
        unique,
        group: submit.group ?? null,
        deadlineAt: submit.deadlineAt ?? 0,
        workerId: submit.workerId ?? null,
        sticky: submit.sticky ?? null,
        trace: submit.trace ?? null,
      });
  return new TaskSpec(core.store.nextRevision, number, options, payload, extras, links, core.now, id);
}

export function stateAtFirst({ links, options }: TaskSpec): TaskState {
  if (links.after.length > 0 || links.open) return "blocked";
  return options.delayMs > 0 ? "scheduled" : "queued";
}

/** A task that was just submitted: a function of its spec alone, so that the log need not write it. */
export function newRecord(spec: TaskSpec): TaskRecord {
  const state = stateAtFirst(spec);
  return {
    spec,
    state,
    attempt: 0,
    interruptions: 0,
    runAt: state === "scheduled" ? readyAt(spec) : 0,
    lease: null,
    outcome: noOutcome,
    revision: spec.revision,
  };
}

const submitted = (made: Made) =>
  isNew(made)
    ? `{"id":"${made.spec.id}","state":"${made.state}","duplicate":false}`
    : `{"id":"${made.id}","state":"${made.state}","duplicate":true${made.isReplaced ? `,"replaced":true` : ""}}`;

export function submit(core: Coordinator, input: Input<"task.submit">): Result {
  const isMany = Array.isArray(input);
  const made = isMany
    ? submitAll(core, input as TaskSubmit[], (i) => `/${i}`)
    : submitAll(core, [input as TaskSubmit], () => "");
  if ("error" in made) return made;
  let text = "";
  for (let i = 0; i < made.length; i++) text += `${i > 0 ? "," : ""}${submitted(made[i] as Made)}`;
  return { ok: isMany ? `[${text}]` : text };
}

/** What became of one task of a submit: a new one, or the one that has its key already. */
export type Made = TaskRecord | Met;
type Met = Known & { isReplaced?: boolean };
export const isNew = (made: Made): made is TaskRecord => "spec" in made;

/** Submits all or none; `pointerOf` tells where each stands in the input. */
export function submitAll(
  core: Coordinator,
  tasks: readonly TaskSubmit[],
  pointerOf: (index: number) => string,
): Made[] | Refusal {
  const count = tasks.length;
  const busy = core.limits.refuseSubmit(count);
  if (busy !== null) return busy;
  const drafts: Draft[] = [];
  const coming = count > 1 ? new Coming() : undefined;
  let i = 0;
  const pointer = () => pointerOf(i);
  for (; i < count; i++) {
    const checked = draft(core, tasks[i] as TaskSubmit, pointer, undefined, coming);
    if ("error" in checked) return checked;
    drafts.push(checked);
  }
  const full = backlogFull(core, drafts);
  if (full !== null) return full;
  const first = core.takeNumbers(count);
  const linked = linksOf(core, tasks, first, pointerOf, (i) => sameOf(core, drafts[i] as Draft));
  if ("error" in linked) return linked;
  const { ids, links } = linked;
  const made: Made[] = [];
  // One may drop or replace another, or what it waits for may be done already.
  let isChanged = core.flow.settings.size > 0;
  for (let i = 0; i < count; i++) {
    const from = drafts[i] as Draft;
    const earlier = meet(core, from);
    made.push(earlier ?? make(core, from, first + i, links[i], ids[i]));
    isChanged ||= earlier !== undefined;
  }
  if (core.graphs.isDue) {
    isChanged = true;
    core.graphs.settle();
  }
  return isChanged ? made.map((one) => asItStands(core, one)) : made;
}

function asItStands(core: Coordinator, made: Made): Made {
  if (isNew(made)) return core.tasks.get(made.spec.row) ?? made;
  return { ...made, state: core.tasks.get(made.id)?.state ?? made.state };
}

/** The task that has the draft's key already; it may be kept no more. */
function earlierOf(core: Coordinator, { submit, options, unique }: Draft): Known | undefined {
  if (unique !== null) return knownBy(core, unique);
  const key = submit.idempotencyKey;
  const record = key === undefined ? undefined : core.queues.byKey(options.queue, key);
  return record && { id: record.spec.id, state: record.state };
}

/** What tells the task to be the same as others, and which is kept for it. */
function sameOf(core: Coordinator, from: Draft): { key: string; keptId: string | undefined } | null {
  const { submit, options, unique } = from;
  if (unique === null && submit.idempotencyKey === undefined) return null;
  const key = unique === null ? `key ${options.queue} ${submit.idempotencyKey}` : `unique ${unique.key}`;
  return { key, keptId: earlierOf(core, from)?.id };
}

/** The same; where the newer of the two counts, the task is what the draft says from now on. */
function meet(core: Coordinator, from: Draft): Met | undefined {
  const earlier = earlierOf(core, from);
  const { unique } = from.submit;
  if (earlier === undefined || unique === undefined || !keepsNewer(unique)) return earlier;
  const record = core.tasks.get(earlier.id);
  if (record === undefined || record.lease !== null || isFinal(record.state)) return earlier;
  return { id: earlier.id, state: replace(core, record, from).state, isReplaced: true };
}

/** The task is what the draft says, with the id, the age and the place it has. */
function replace(core: Coordinator, record: TaskRecord, from: Draft): TaskRecord {
  const { number, createdAt } = record.spec;
  const { unique, delayMs, runAt } = from.submit;
  const fresh = specOf(core, from, number);
  const isTimed = delayMs !== undefined || runAt !== undefined;
  let at = Math.min(readyAt(record.spec), core.now);
  if (unique?.debounceMs !== undefined) at = debouncedAt(unique, createdAt, core.now);
  // What is not asked for at a time is ready: since it was, or since now where that begins its time to live.
  else if (isTimed || fresh.options.ttlMs > 0) at = readyAt(fresh);
  const options = { ...fresh.options, delayMs: Math.max(0, at - createdAt) };
  const { payload, extras, links } = fresh;
  const spec = record.spec.with({ options, payload, extras, links });
  const isLater = at > core.now;
  const waits = record.state === "queued" || record.state === "scheduled";
  const replaced: TaskRecord = {
    ...record,
    spec,
    state: waits ? (isLater ? "scheduled" : "queued") : record.state,
    runAt: waits && isLater ? at : 0,
    revision: core.store.nextRevision,
  };
  core.tasks.put(spec.row, replaced);
  return replaced;
}

/** Makes a new task, which takes its key; the task as it stands then. */
function make(core: Coordinator, from: Draft, number: number, links?: Links, id?: string): TaskRecord {
  const record = enter(core, newRecord(specOf(core, from, number, links, id)));
  takeKey(core, record, from.submit.unique?.forMs);
  return record;
}

/** Puts a new task into its queue, and drops what is too much in it; the task as it stands then. */
function enter(core: Coordinator, record: TaskRecord): TaskRecord {
  const { row, options } = record.spec;
  core.metrics.tasksSubmitted++;
  if (core.flow.settings.size === 0) {
    core.tasks.put(row, record);
    return record;
  }
  const isDropped = dropsNewest(core, options.queue);
  core.tasks.put(row, record);
  if (isDropped) return drop(core, record);
  for (const oldest of dropped(core, record.spec)) drop(core, core.tasks.get(oldest.row) as TaskRecord);
  return record;
}

function drop(core: Coordinator, record: TaskRecord): TaskRecord {
  core.metrics.tasksDropped++;
  const reason = droppedReason(record.spec.options.queue);
  return finish(core, record, "cancelled", { result: null, error: record.outcome.error, reason });
}

/**
 * Submits what was checked when it was kept, such as a schedule's task, inside a transaction that may do more. The
 * limits on what waits in all are the caller's to ask.
 */
export function submitKept(core: Coordinator, task: TaskSubmit, payload: string): { id: string } | Refusal {
  const from = draft(core, task, () => "", payload);
  if ("error" in from) return from;
  const full = backlogFull(core, [from]);
  if (full !== null) return full;
  return { id: meet(core, from)?.id ?? make(core, from, core.takeNumbers(1)).spec.id };
}

/** The first queue that may not take as many more tasks as are new in it. */
function backlogFull(core: Coordinator, drafts: readonly Draft[]): Refusal | null {
  if (core.flow.settings.size === 0) return null;
  const fresh = new Map<string, number>();
  const keys = new Set<string>();
  for (const from of drafts) {
    const { options, submit, unique } = from;
    const { queue } = options;
    const key = unique?.key ?? (submit.idempotencyKey && `${queue} ${submit.idempotencyKey}`);
    if (key !== undefined) {
      if (keys.has(key) || earlierOf(core, from) !== undefined) continue;
      keys.add(key);
    }
    fresh.set(queue, (fresh.get(queue) ?? 0) + 1);
  }
  for (const [queue, count] of fresh) {
    const full = refuseBacklog(core, queue, count);
    if (full !== null) return full;
  }
  return null;
}

// --- leases -----------------------------------------------------------------------------------------------

/** Gives a queued task to a worker. Inside a transaction; the caller has checked that it fits. */
export function lease(core: Coordinator, record: TaskRecord, workerId: string): TaskRecord {
  const { spec } = record;
  const { leaseMs } = spec.options;
  const revision = core.store.nextRevision;
  const leased: TaskRecord = {
    spec,
    state: "running",
    attempt: record.attempt + 1,
    interruptions: record.interruptions,
    runAt: 0,
    lease: {
      workerId,
      token: revision,
      leaseMs,
      deadline: core.clock + leaseMs,
      startedAt: core.now,
      startedClock: core.clock,
    },
    outcome: record.outcome,
    revision,
  };
  core.metrics.tasksLeased++;
  if (leased.attempt === 1 && record.interruptions === 0) core.took.wait.add(core.now - readyAt(spec));
  core.flow.leased(spec, spec.options.slots);
  const slot = core.dispatch.slot(workerId) as Slot;
  // A claim is answered; every other lease is pushed.
  if (core.operation === "task.claim") core.dispatch.claiming(slot, spec, revision);
  else core.dispatch.pushing(slot, pushedUnits(core, spec));
  core.tasks.put(spec.row, leased);
  return leased;
}

/** The lease of a running task. */
export const leaseOf = (record: TaskRecord): Lease => record.lease as Lease;

/** The token of the newest lease; 0: there was none. */
export const tokenOf = (record: TaskRecord): number => record.lease?.token ?? 0;

/** When a lease ends, on the lease clock: at its deadline, or `leaseMs` after a beat last vouched for the worker. */
export function leaseEnd(core: Coordinator, record: TaskRecord): number {
  const { workerId, deadline, leaseMs } = leaseOf(record);
  return Math.max(deadline, (core.dispatch.slot(workerId)?.lastTurn ?? 0) + leaseMs, core.graceUntil);
}

/** When an attempt has run too long, on the lease clock. */
export function timeoutEnd(core: Coordinator, record: TaskRecord): number {
  const { timeoutMs } = record.spec.options;
  return timeoutMs === 0
    ? Number.POSITIVE_INFINITY
    : Math.max(leaseOf(record).startedClock + timeoutMs, core.graceUntil);
}

/** The newest progress is volatile until the task changes otherwise. */
function withProgress(core: Coordinator, record: TaskRecord): Outcome {
  const progress = core.progressOf(record);
  return progress === record.outcome.progress ? record.outcome : { ...record.outcome, progress };
}

/** Ends the attempt without a word on its outcome: queued where it stood, or blocked; nothing charged. */
export function giveBack(
  core: Coordinator,
  record: TaskRecord,
  state: "queued" | "blocked" = "queued",
): TaskRecord {
  const back: TaskRecord = {
    ...record,
    state,
    attempt: record.attempt - 1,
    outcome: withProgress(core, record),
    revision: core.store.nextRevision,
  };
  core.tasks.put(record.spec.row, back);
  return back;
}

/** The worker went silent: given back, and counted; a task that silences its workers again and again is dead. */
export function interrupt(core: Coordinator, record: TaskRecord): void {
  const interruptions = record.interruptions + 1;
  core.metrics.tasksInterrupted++;
  noteFailure(core, record, { message: "its worker went silent while running it", code: "interrupted" });
  if (interruptions < (record.spec.options.interruptionsMax || core.config.interruptionsMax)) {
    core.tasks.put(record.spec.row, {
      ...record,
      state: "queued",
      attempt: record.attempt - 1,
      interruptions,
      outcome: withProgress(core, record),
      revision: core.store.nextRevision,
    });
    return;
  }
  core.metrics.tasksDead++;
  finish(core, { ...record, interruptions }, "dead", {
    result: null,
    error: record.outcome.error,
    reason: `interrupted ${interruptions} times: each time its worker went silent while running it`,
  });
}

export function finish(
  core: Coordinator,
  record: TaskRecord,
  state: "completed" | "failed" | "dead" | "cancelled",
  outcome: { result: string | null; error: TaskError | null; reason: string | null },
): TaskRecord {
  const { spec, lease } = record;
  const finished: TaskRecord = {
    spec,
    state,
    attempt: record.attempt,
    interruptions: record.interruptions,
    runAt: 0,
    lease: lease === null ? null : { ...lease, deadline: 0, startedClock: 0 },
    outcome: {
      progress: core.progressOf(record),
      result: outcome.result,
      error: outcome.error,
      reason: outcome.reason,
      finishedAt: core.now,
      readyAt: record.outcome.readyAt,
      closedAt: record.outcome.closedAt,
    },
    revision: core.store.nextRevision,
  };
  core.tasks.put(spec.row, finished);
  core.queues.retire(core, spec.options.queue);
  return finished;
}

/** Inside a transaction: the task is let go of, with all that is kept for it. */
export function forget(core: Coordinator, spec: TaskSpec): void {
  forgetFailures(core, spec);
  forgetLog(core, spec);
  if (spec.extras.unique !== null) leaveKey(core, core.tasks.get(spec.row) as TaskRecord);
  core.tasks.delete(spec.row);
}

/** How a failed attempt goes on; nothing said: as the task's backoff and its attempts say. */
type Ending = { final?: boolean; reason?: string | undefined; retryInMs?: number | undefined };

/** A failed attempt: tried again after the backoff, or final, or dead. */
export function failAttempt(
  core: Coordinator,
  record: TaskRecord,
  error: TaskError,
  { final = false, reason, retryInMs }: Ending = {},
): TaskRecord {
  const { options } = record.spec;
  if (record.state === "running") noteFailure(core, record, error);
  if (final || isFinalCode(options, error.code)) {
    core.metrics.tasksFailed++;
    return finish(core, record, "failed", { result: null, error, reason: reason ?? null });
  }
  const { attempts, backoff } = options;
  if (record.attempt >= attempts) {
    core.metrics.tasksDead++;
    const reason = `failed ${record.attempt} of ${attempts} attempts`;
    return finish(core, record, "dead", { result: null, error, reason });
  }
  core.metrics.tasksRetried++;
  const delay = retryInMs ?? backoffMs(backoff, record.attempt, core.random());
  const again: TaskRecord = {
    ...record,
    state: delay > 0 ? "scheduled" : "queued",
    runAt: delay > 0 ? core.now + delay : 0,
    outcome: { ...record.outcome, progress: core.progressOf(record), error },
    revision: core.store.nextRevision,
  };
  core.tasks.put(record.spec.row, again);
  return again;
}

/** What a failed attempt says of its worker. */
function attemptFailed(core: Coordinator, record: TaskRecord): void {
  const slot = core.dispatch.slot(leaseOf(record).workerId);
  if (slot === undefined) return;
  const isFirst = record.outcome.error === null;
  core.effect(() => {
    if (core.dispatch.failed(slot, isFirst)) core.metrics.quarantines++;
  });
}

/** Its worker is to be told that the attempt is void. */
export const noteAbort = (core: Coordinator, record: TaskRecord): void =>
  core.effect(() => {
    core.dispatch.noteAbort(record, core.now);
    core.store.onUndo(() => core.dispatch.dropAbort(record));
  });

/** The attempt ran longer than it may: it failed. */
export function timeOut(core: Coordinator, record: TaskRecord): void {
  noteAbort(core, record);
  attemptFailed(core, record);
  const message = `the attempt ran longer than ${record.spec.options.timeoutMs} ms`;
  failAttempt(core, record, { message, code: "timeout" });
}

/** Its time to live or its deadline has passed. It says nothing of a worker. */
export function expireTask(core: Coordinator, record: TaskRecord): void {
  if (record.state === "running") noteAbort(core, record);
  const { deadlineAt } = record.spec.extras;
  const error =
    deadlineAt > 0 && deadlineAt <= core.now
      ? { message: "it had not ended by its deadline", code: "deadline" }
      : {
          message: `no worker began it within ${record.spec.options.ttlMs} ms of being ready`,
          code: "expired",
        };
  failAttempt(core, record, error, { final: true });
}

// --- what a worker says -----------------------------------------------------------------------------------

/**
 * An answer with many tasks is short rather than longer than this and a task: a socket is closed when it cannot
 * take what it is sent, and would be again when the request is repeated.
 */
const { answerUnitsMax } = limits;

/** A record has an error of its own, so a refusal is told by what it lacks. */
export const isRefusal = (one: TaskRecord | Refusal): one is Refusal => !("spec" in one);

export type Held = { taskId: string; workerId: string; token: number };

/** The running task the caller holds by its newest lease, or why not. */
export function held(core: Coordinator, input: Held): TaskRecord | Refusal {
  const slot = core.dispatch.slot(input.workerId);
  // Whoever names a token got it, whatever became of the lease.
  if (slot !== undefined) core.dispatch.acknowledge(slot, input.token);
  const record = core.tasks.get(input.taskId);
  if (record === undefined) return unknownTask(input.taskId);
  const { lease } = record;
  if (record.state !== "running" || lease?.token !== input.token || lease.workerId !== input.workerId)
    return leaseLost(record, input);
  core.heard(slot);
  // It is handlers that speak of leases: whatever a beat says of their age, they have just turned.
  if (slot !== undefined) slot.turnBefore = core.clock;
  return record;
}

export const unknownTask = (taskId: string) => refuse("unknown-task", `there is no task ${taskId}`);

function leaseLost(record: TaskRecord, input: Held) {
  const { state, lease } = record;
  const token = tokenOf(record);
  const now =
    state === "running"
      ? `it is leased to ${lease?.workerId} under token ${token}`
      : `the task is ${state}${token === input.token ? "" : `, its last token was ${token}`}`;
  return refuse(
    "lease-lost",
    `${input.workerId} does not hold task ${record.spec.id} under token ${input.token}: ${now}`,
  );
}

export const standing = (record: TaskRecord): Result => ({
  ok: `{"id":"${record.spec.id}","state":"${record.state}","revision":${record.revision}}`,
});

export function complete(core: Coordinator, input: Input<"task.complete">): Result {
  const checked = mayComplete(core, input);
  if ("error" in checked) return checked;
  const { record, result } = checked;
  return standing(result === null ? record : completeOne(core, record, result));
}

/** The task and its result as text, which is null where the task is completed under this token already. */
export function mayComplete(
  core: Coordinator,
  input: Held & { result?: unknown },
): { record: TaskRecord; result: string | null } | Refusal {
  const record = held(core, input);
  if (isRefusal(record)) {
    // The outcome of a finished attempt is kept, so that whoever recorded it may say it again.
    const old = core.tasks.get(input.taskId);
    const same =
      old?.state === "completed" && old.lease?.token === input.token && old.lease.workerId === input.workerId;
    return same ? { record: old, result: null } : record;
  }
  const result = textOf(input.result, "result");
  return "error" in result ? result : { record, result: result.text };
}

export function completeOne(core: Coordinator, record: TaskRecord, result: string): TaskRecord {
  core.metrics.tasksCompleted++;
  const lease = leaseOf(record);
  const slot = core.dispatch.slot(lease.workerId) as Slot;
  const { type } = record.spec.options;
  const ranMs = core.clock - lease.startedClock;
  core.effect(() => {
    core.took.run.add(ranMs);
    core.dispatch.succeeded(slot, type, ranMs);
  });
  return finish(core, record, "completed", { result, error: null, reason: null });
}

export function fail(core: Coordinator, input: Input<"task.fail">): Result {
  const { final = false, reason, retryAt } = input;
  if (reason !== undefined && !final)
    return invalid("/reason", "goes with final: it says why nothing is tried again");
  if (retryAt !== undefined && input.retryInMs !== undefined)
    return invalid("/retryAt", "goes without retryInMs: one of the two says when");
  const record = held(core, input);
  if (isRefusal(record)) return record;
  const error = typeof input.error === "string" ? { message: input.error } : input.error;
  // A handler that gives a task up with a reason has done its work.
  if (reason === undefined) attemptFailed(core, record);
  const retryInMs = retryAt === undefined ? input.retryInMs : Math.max(0, retryAt - core.now);
  return standing(failAttempt(core, record, error, { final, reason, retryInMs }));
}

/** Put off by its own handler: nothing charged, and its worker has done nothing wrong. */
export function snooze(core: Coordinator, input: Input<"task.snooze">): Result {
  const { forMs, until } = input;
  if ((forMs === undefined) === (until === undefined))
    return invalid("", "forMs or until is needed, one of the two: it says when the task starts again");
  const record = held(core, input);
  if (isRefusal(record)) return record;
  core.metrics.tasksSnoozed++;
  const runAt = until ?? core.now + (forMs as number);
  const isLater = runAt > core.now;
  const snoozed: TaskRecord = {
    ...record,
    state: isLater ? "scheduled" : "queued",
    attempt: record.attempt - 1,
    runAt: isLater ? runAt : 0,
    outcome: withProgress(core, record),
    revision: core.store.nextRevision,
  };
  core.tasks.put(record.spec.row, snoozed);
  return standing(snoozed);
}

export function release(core: Coordinator, input: Input<"task.release">): Result {
  const record = held(core, input);
  return isRefusal(record) ? record : standing(giveBack(core, record));
}

export function extend(core: Coordinator, input: Input<"task.extend">): Result {
  const record = held(core, input);
  if (isRefusal(record)) return record;
  const leaseMs = input.leaseMs ?? record.spec.options.leaseMs;
  const extended: TaskRecord = {
    ...record,
    lease: { ...leaseOf(record), leaseMs, deadline: core.clock + leaseMs },
    revision: core.store.nextRevision,
  };
  core.tasks.put(record.spec.row, extended);
  return { ok: leaseText(core, extended) };
}

/** Volatile: no entry. The newest progress is written with the task's next change. */
export function progress(core: Coordinator, input: Input<"task.progress">): Result {
  const record = held(core, input);
  if (isRefusal(record)) return record;
  const text = textOf(input.progress, "progress");
  if ("error" in text) return text;
  core.noteProgress(record, text.text);
  return standing(record);
}

// --- what a producer or an operator says ------------------------------------------------------------------

export function cancel(core: Coordinator, input: Input<"task.cancel">): Result {
  const { taskId, workerId, token } = input;
  if ((workerId === undefined) !== (token === undefined))
    return invalid(
      workerId === undefined ? "/workerId" : "/token",
      "is missing: the two name a lease together",
    );
  const record = core.tasks.get(taskId);
  if (record === undefined) return unknownTask(taskId);
  if (workerId !== undefined && token !== undefined) {
    const { lease, state } = record;
    const isOver = state === "cancelled" && lease?.token === token && lease.workerId === workerId;
    const mine = isOver ? record : held(core, { taskId, workerId, token });
    if (isRefusal(mine)) return mine;
  }
  const refused = mayCancel(record);
  if (refused !== null) return refused;
  if (record.state === "cancelled") return standing(record);
  // Who cancels under its own lease need not be told.
  const cancelled = cancelAsked(core, record, input.reason, workerId === undefined);
  if (input.cascade) graphs.cancelBelow(core, record.spec, cancelled.outcome.reason as string);
  return standing(cancelled);
}

export function mayCancel({ spec, state }: TaskRecord): Refusal | null {
  if (state === "cancelled" || !isFinal(state)) return null;
  return refuse("wrong-state", `task ${spec.id} is ${state}; only a task that has not ended is cancelled`);
}

/** Cancels a task because somebody said so, and tells its worker; one that is cancelled stays as it is. */
export function cancelAsked(
  core: Coordinator,
  record: TaskRecord,
  reason = "cancelled on request",
  isTold = true,
): TaskRecord {
  if (record.state === "cancelled") return record;
  if (record.state === "running" && isTold) noteAbort(core, record);
  return cancelOne(core, record, record.outcome.error, reason);
}

/** Cancels a task that has not ended; to tell its worker is the caller's. */
export function cancelOne(
  core: Coordinator,
  record: TaskRecord,
  error: TaskError | null,
  reason: string,
): TaskRecord {
  core.metrics.tasksCancelled++;
  return finish(core, record, "cancelled", { result: null, error, reason });
}

export function retry(core: Coordinator, input: Input<"task.retry">): Result {
  const known = core.tasks.get(input.taskId);
  // One that has left memory comes back as it left, under its id and where its age puts it.
  const fetched = core.fetched?.record.spec.id === input.taskId ? core.fetched : null;
  const record = known ?? fetched?.record;
  if (record === undefined) return unknownTask(input.taskId);
  const refused = mayRetry(core, record, 1) ?? (known === undefined ? refuseReturn(core, record) : null);
  if (refused !== null) return refused;
  if (known === undefined && fetched !== null) {
    if (fetched.failures !== undefined) core.errors.put(record.spec.row, fetched.failures);
    if (fetched.log !== null) bringLogBack(core, fetched.log);
  }
  const again = retryOne(core, record);
  return (input.cascade ? graphs.retryAbove(core, record.spec) : null) ?? standing(again);
}

/** Whether what has become of others since it left is in its way. */
function refuseReturn(core: Coordinator, record: TaskRecord): Refusal | null {
  const { id, options, extras } = record.spec;
  const cause = graphs.endedBy(record);
  if (cause !== null && !core.tasks.has(cause))
    return refuse(
      "wrong-state",
      `task ${id} waited for task ${cause}, which did not complete and has left memory: retry that one first`,
    );
  const { idempotencyKey: key } = extras;
  const other = key === null ? undefined : core.queues.byKey(options.queue, key);
  if (other === undefined) return null;
  return refuse(
    "wrong-state",
    `task ${other.spec.id} was submitted with the idempotency key of task ${id} since`,
  );
}

/** Whether it may be queued again, as one of `count` that come with it; `coming` is what those ask of workers. */
export function mayRetry(
  core: Coordinator,
  record: TaskRecord,
  count: number,
  coming?: Coming,
): Refusal | null {
  const { id } = record.spec;
  if (record.state !== "failed" && record.state !== "dead" && record.state !== "cancelled")
    return refuse(
      "wrong-state",
      `task ${id} is ${record.state}; a failed, dead or cancelled task is retried`,
    );
  if (endsAt({ ...record, state: "queued" }) <= core.now)
    return refuse(
      "wrong-state",
      `the time of task ${id} is over: its deadline or time to live has passed; submit it anew`,
    );
  const other = placeTakenBy(core, record);
  if (other !== undefined)
    return refuse("wrong-state", `task ${other} is unique by the same: it has taken the place of task ${id}`);
  const busy = core.limits.refuseSubmit(count);
  if (busy !== null) return busy;
  const { options, extras } = record.spec;
  if (extras.workerId === null && !core.queues.hasRoomFor(options, coming))
    return refuse("busy", "too many different requirement sets are waiting", { retryAfterMs: 1000 });
  const failing = core.graphs.failingOf(record.spec);
  if (failing === undefined) return null;
  return refuse(
    "wrong-state",
    `task ${id} waits for task ${failing.id}, which did not complete: retry that one, with cascade`,
  );
}

/** The task that is unique by the same as one that has ended, and would be there beside it. */
export function placeTakenBy(core: Coordinator, record: TaskRecord): string | undefined {
  const { unique } = record.spec.extras;
  if (unique === null || !holdsKey({ ...record, state: "queued" })) return undefined;
  return core.holders.of(unique.key);
}

/** Begins a task that has ended anew. */
export function retryOne(core: Coordinator, record: TaskRecord): TaskRecord {
  const again: TaskRecord = {
    ...record,
    state: core.graphs.mustWait(record) ? "blocked" : "queued",
    attempt: 0,
    interruptions: 0,
    outcome: { ...record.outcome, progress: null, result: null, reason: null, finishedAt: 0 },
    revision: core.store.nextRevision,
  };
  core.tasks.put(record.spec.row, again);
  return again;
}

/** How long a worker that gets no tasks for its health is told to wait before it claims again. */
const unfitRetryMs = 5000;

export function claim(core: Coordinator, input: Input<"task.claim">): Result {
  const slot = core.dispatch.slot(input.workerId);
  if (slot === undefined) return unknownWorker(input.workerId);
  if (slot.record.state === "offline") return offline(slot);
  if (slot.record.state !== "online")
    return refuse("worker-unavailable", `worker ${input.workerId} is ${slot.record.state}`);
  core.heard(slot);
  if (slot.claimRoom <= 0 && slot.used < slot.record.capacity)
    return refuse("worker-unavailable", `worker ${input.workerId}: ${core.dispatch.reasonsOf(slot).at(-1)}`, {
      retryAfterMs: unfitRetryMs,
    });
  if (slot.claimRoom <= 0)
    return refuse(
      "worker-unavailable",
      `worker ${input.workerId} holds ${slot.running.size} tasks, its capacity`,
    );
  let text = "";
  for (let taken = 0; taken < (input.count ?? 1); taken++) {
    const spec = core.dispatch.nextFor(slot);
    if (spec === undefined || text.length >= answerUnitsMax) break;
    const leased = lease(core, core.tasks.get(spec.row) as TaskRecord, slot.id);
    text += `${taken === 0 ? "" : ","}${assignmentText(core, leased)}`;
  }
  return { ok: `{"assignments":[${text}]}` };
}

export function assign(core: Coordinator, input: Input<"task.assign">): Result {
  if ((input.taskId === undefined) === (input.task === undefined))
    return refuse("invalid-input", "name a task by taskId or give a new one as task, one of the two", {
      errors: [{ pointer: "", detail: "exactly one of taskId and task is needed" }],
    });
  let record: TaskRecord | undefined;
  let fresh: Draft | undefined;
  if (input.taskId !== undefined) {
    record = core.tasks.get(input.taskId);
    if (record === undefined) return unknownTask(input.taskId);
    if (record.state !== "queued" && record.state !== "scheduled")
      return refuse(
        "wrong-state",
        `task ${input.taskId} is ${record.state}; a queued or scheduled task is assigned`,
      );
  } else {
    const busy = core.limits.refuseSubmit(1);
    if (busy !== null) return busy;
    const checked = draft(core, input.task as TaskSubmit, () => "/task");
    if ("error" in checked) return checked;
    const { ref, after, parent, open } = checked.submit;
    if (ref !== undefined || after !== undefined || parent !== undefined || open !== undefined)
      return invalid("/task", "is assigned at once, so it has no ref, after, parent and open: submit it");
    fresh = checked;
  }
  const needs = record?.spec.options ?? (fresh as Draft).options;
  const pinned = record === undefined ? (fresh as Draft).submit.workerId : record.spec.extras.workerId;
  if (pinned != null && input.workerId !== undefined && input.workerId !== pinned)
    return refuse("worker-unavailable", `the task is for worker ${pinned} alone`);
  const chosen = core.dispatch.choose(needs, pinned ?? input.workerId);
  if ("error" in chosen) return chosen;
  if (fresh !== undefined) {
    const earlier = earlierOf(core, fresh);
    if (earlier !== undefined) {
      const key = fresh.submit.idempotencyKey;
      const same = key === undefined ? "is unique by the same" : `has the idempotency key ${key}`;
      return refuse("wrong-state", `task ${earlier.id} ${same} already; assign it by its id`);
    }
    record = newRecord(specOf(core, fresh, core.takeNumbers(1)));
  }
  const [shut] = core.flow.shutFor((record as TaskRecord).spec);
  if (shut !== undefined) return refuse("limit-reached", shutInWords(shut));
  if (fresh !== undefined) takeKey(core, record as TaskRecord, fresh.submit.unique?.forMs);
  return { ok: assignmentText(core, lease(core, record as TaskRecord, chosen.slot.id)) };
}

/** Whether what a transaction asks of a task is so. */
export function holds(core: Coordinator, { taskId, state, revision, exists }: TaskCondition): boolean {
  const record = core.tasks.get(taskId);
  if (exists !== undefined && exists !== (record !== undefined)) return false;
  if (revision !== undefined && revision !== record?.revision) return false;
  return state === undefined || (record !== undefined && [state].flat().includes(record.state));
}

// --- as everyone sees it ----------------------------------------------------------------------------------

const jsonOrNull = (value: unknown): string =>
  value === null || value === undefined ? "null" : JSON.stringify(value);

/** The lease as JSON text. Its deadline is shown on the wall clock; it is kept on the lease clock. */
export function leaseText(core: Coordinator, record: TaskRecord): string {
  const deadlineAt = Math.round(core.now + Math.max(0, leaseEnd(core, record) - core.clock));
  const { workerId, token } = leaseOf(record);
  return `{"workerId":"${workerId}","token":${token},"deadlineAt":${deadlineAt}}`;
}

/** A task as JSON text, with `more` fields at its end; payload, progress and result are put in as they are. */
export function taskText(
  core: Coordinator,
  record: TaskRecord,
  more = "",
  graph: string | null = core.graphs.viewOf(record),
): string {
  const { spec, lease, outcome } = record;
  const { options } = spec;
  const running = record.state === "running";
  return (
    `{"id":"${spec.id}","queue":"${options.queue}","type":"${options.type}","payload":${spec.payload},` +
    `"priority":"${priorities[options.priority]}","state":"${record.state}","attempt":${record.attempt},` +
    `"attempts":${options.attempts},"interruptions":${record.interruptions},` +
    `"backoff":${backoffText(options.backoff)},"finalCodes":${namesText(options.finalCodes)},` +
    `"retryCodes":${jsonOrNull(options.retryCodes)},"interruptionsMax":${options.interruptionsMax || null},` +
    `"leaseMs":${options.leaseMs},"timeoutMs":${options.timeoutMs || null},` +
    `"expiresAt":${(!isFinal(record.state) && expiresAt(record)) || null},"deadlineAt":${spec.extras.deadlineAt || null},` +
    `"idempotencyKey":${jsonOrNull(spec.extras.idempotencyKey)},` +
    `"uniqueHash":${jsonOrNull(spec.extras.unique?.key)},"kind":${jsonOrNull(options.kind)},` +
    `"capabilities":${namesText(options.capabilities)},"requires":${namesText(options.requires)},` +
    `"prefers":${namesText(options.prefers)},"slots":${options.slots},` +
    `"workerId":${jsonOrNull(spec.extras.workerId)},"sticky":${jsonOrNull(spec.extras.sticky)},` +
    `"stickyMs":${spec.extras.sticky === null ? null : options.stickyMs},` +
    `"labels":${options.labels === noLabels ? "{}" : JSON.stringify(options.labels)},` +
    `"group":${jsonOrNull(spec.extras.group)},"limits":${namesText(options.limits)},` +
    `"trace":${jsonOrNull(spec.extras.trace)},"graph":${graph},` +
    `"createdAt":${spec.createdAt},"runAt":${record.runAt || null},"startedAt":${lease?.startedAt ?? null},` +
    `"finishedAt":${outcome.finishedAt || null},"lease":${running ? leaseText(core, record) : null},` +
    `"progress":${core.progressOf(record)},"result":${outcome.result},"error":${jsonOrNull(outcome.error)},` +
    `"reason":${jsonOrNull(outcome.reason)},"revision":${record.revision}${more}}`
  );
}

const namesText = (names: readonly string[]) => (names.length === 0 ? "[]" : JSON.stringify(names));

/** One task, with what its attempts failed of. */
const shownText = (core: Coordinator, record: TaskRecord): string =>
  taskText(core, record, `,"errors":${failuresText(core.errors.get(record.spec.row))},"archived":false`);

export const assignmentText = (core: Coordinator, record: TaskRecord): string =>
  `{"task":${taskText(core, record)},"lease":${leaseText(core, record)}${core.graphs.resultsOf(record.spec)}}`;

/** The push of a task that was just leased: it names only what `pushedDefaults` does not say. */
export function pushText(core: Coordinator, record: TaskRecord): string {
  const { spec } = record;
  const { options } = spec;
  const { idempotencyKey, unique, group, workerId, sticky, trace } = spec.extras;
  let text =
    `{"event":"task.assigned","task":{"id":"${spec.id}","queue":"${options.queue}","type":"${options.type}","payload":${spec.payload},` +
    `"attempt":${record.attempt},"createdAt":${spec.createdAt},"startedAt":${leaseOf(record).startedAt},"revision":${record.revision}`;
  if (options.priority !== 2) text += `,"priority":"${priorities[options.priority]}"`;
  if (options.attempts !== pushedDefaults.attempts) text += `,"attempts":${options.attempts}`;
  if (record.interruptions !== 0) text += `,"interruptions":${record.interruptions}`;
  if (options.backoff !== defaultBackoff) text += `,"backoff":${JSON.stringify(options.backoff)}`;
  if (options.finalCodes.length > 0) text += `,"finalCodes":${JSON.stringify(options.finalCodes)}`;
  if (options.retryCodes !== null) text += `,"retryCodes":${JSON.stringify(options.retryCodes)}`;
  if (options.interruptionsMax !== 0) text += `,"interruptionsMax":${options.interruptionsMax}`;
  if (options.leaseMs !== pushedDefaults.leaseMs) text += `,"leaseMs":${options.leaseMs}`;
  if (options.timeoutMs !== 0) text += `,"timeoutMs":${options.timeoutMs}`;
  if (spec.extras.deadlineAt !== 0) text += `,"deadlineAt":${spec.extras.deadlineAt}`;
  if (idempotencyKey !== null) text += `,"idempotencyKey":${JSON.stringify(idempotencyKey)}`;
  if (unique !== null) text += `,"uniqueHash":"${unique.key}"`;
  if (options.kind !== null) text += `,"kind":"${options.kind}"`;
  if (options.capabilities.length > 0) text += `,"capabilities":${JSON.stringify(options.capabilities)}`;
  if (options.requires.length > 0) text += `,"requires":${JSON.stringify(options.requires)}`;
  if (options.prefers.length > 0) text += `,"prefers":${JSON.stringify(options.prefers)}`;
  if (options.slots !== 1) text += `,"slots":${options.slots}`;
  if (workerId !== null) text += `,"workerId":"${workerId}"`;
  if (sticky !== null) text += `,"sticky":"${sticky}","stickyMs":${options.stickyMs}`;
  if (options.labels !== noLabels) text += `,"labels":${JSON.stringify(options.labels)}`;
  if (group !== null) text += `,"group":"${group}"`;
  if (trace !== null) text += `,"trace":${JSON.stringify(trace)}`;
  if (options.limits.length > 0) text += `,"limits":${JSON.stringify(options.limits)}`;
  const progress = core.progressOf(record);
  if (progress !== null) text += `,"progress":${progress}`;
  const graph = core.graphs.viewOf(record);
  if (graph !== null) text += `,"graph":${graph}`;
  const { error } = record.outcome;
  if (error !== null) text += `,"error":${JSON.stringify(error)}`;
  return `${text}},"lease":${leaseText(core, record)}${core.graphs.resultsOf(spec)}}`;
}

/** What the push of a task counts in its worker's budget. */
export const pushedUnits = (core: Coordinator, spec: TaskSpec): number =>
  spec.payload.length + (core.graphs.hasDependencies(spec) ? limits.dependenciesUnitsMax : 0);

export function get(core: Coordinator, input: Input<"task.get">): Result {
  const record = core.tasks.get(input.taskId);
  return record === undefined ? unknownTask(input.taskId) : { ok: shownText(core, record) };
}

/** How many tasks one request looks at, before it answers with a short page and a cursor. */
export const looksPerPage = 20_000;

export function list(core: Coordinator, input: Input<"task.list">): Result {
  const limit = input.limit ?? 100;
  let text = "";
  let count = 0;
  const isFull = () => count === limit || text.length >= answerUnitsMax;
  const cursor = core.queues.look(input, looksPerPage, isFull, (record) => {
    text += `${count === 0 ? "" : ","}${taskText(core, record)}`;
    count += 1;
  });
  return { ok: `{"tasks":[${text}],"cursor":${cursor === null ? null : `"${cursor}"`}}` };
}
