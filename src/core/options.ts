/**
 * What a task asks for. Most tasks come with the options of another, so they share one record of them: `shared` finds
 * it. A new option of a task is a field here when tasks that come alike have it alike; what is each task's own (a
 * key, a parent) belongs to `TaskExtras`. Neither costs a waiting task anything that leaves it at its default.
 */
import {
  type Backoff,
  type OnFail,
  priorities,
  pushedDefaults,
  type TaskSubmit,
  type Trace,
} from "../wire/tasks.ts";
import type { UniqueKept } from "./unique.ts";

/** Never changed, and shared: tell two of them apart by what they say, not by reference. */
export type TaskOptions = {
  readonly queue: string;
  readonly type: string;
  /** Index into `priorities`: 0 is critical. */
  readonly priority: number;
  readonly attempts: number;
  readonly backoff: Backoff;
  /** Codes of errors that end it at once; and of those that alone do not, null: all. Sorted. */
  readonly finalCodes: readonly string[];
  readonly retryCodes: readonly string[] | null;
  /** 0: as the daemon is told. */
  readonly interruptionsMax: number;
  readonly leaseMs: number;
  /** 0: none. */
  readonly timeoutMs: number;
  /** From its submission to when it is first meant to be ready. */
  readonly delayMs: number;
  /** How long it may wait, once it is first ready, for a worker to begin it. 0: for ever. */
  readonly ttlMs: number;
  readonly kind: string | null;
  /** Sorted. */
  readonly capabilities: readonly string[];
  /** Requirements in their one spelling: sorted, and in the order of their weight. */
  readonly requires: readonly string[];
  readonly prefers: readonly string[];
  readonly slots: number;
  /** How long it waits for the worker that had the last of its sticky name; 0 without one. */
  readonly stickyMs: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Named limits it counts for; sorted. */
  readonly limits: readonly string[];
};

/** That one task waits for another. It stands in the record of the one that was submitted later, or named it. */
export type Link = {
  /** The other task: in `after` what is waited for, as `parent` who waits. */
  readonly taskId: string;
  /** What the task that waits calls the one it waits for. Null: by its id. */
  readonly name: string | null;
  readonly onFail: OnFail;
};

/** What a task of a graph is linked to. */
export type Links = {
  /** What it waits for. */
  readonly after: readonly Link[];
  /** Who waits for it. Null: nobody that it names. */
  readonly parent: Link | null;
  /** It takes children until it is closed, and waits for that. */
  readonly open: boolean;
};

/** What few tasks have and hardly two alike. */
export type TaskExtras = {
  readonly idempotencyKey: string | null;
  readonly unique: UniqueKept | null;
  /** Null: the queue's nameless group. */
  readonly group: string | null;
  /** By when it must have ended, on the wall clock. 0: never. */
  readonly deadlineAt: number;
  /** The only worker that may run it. */
  readonly workerId: string | null;
  readonly sticky: string | null;
  readonly trace: Trace | null;
};

export const noLinks: readonly Link[] = Object.freeze([]);
export const noCapabilities: readonly string[] = Object.freeze([]);
export const noLabels: Readonly<Record<string, string>> = Object.freeze({});
export const defaultBackoff: Backoff = Object.freeze(pushedDefaults.backoff);
export const taskDefaults = {
  queue: "default",
  priority: 2,
  attempts: pushedDefaults.attempts,
  leaseMs: pushedDefaults.leaseMs,
  stickyMs: 10_000,
} as const;

/** The extras of a task that has none. */
export const noExtras: TaskExtras = {
  idempotencyKey: null,
  unique: null,
  group: null,
  deadlineAt: 0,
  workerId: null,
  sticky: null,
  trace: null,
};

/** Whether a submit names none of them. */
export const hasNoExtras = (submit: TaskSubmit): boolean =>
  submit.group === undefined &&
  submit.idempotencyKey === undefined &&
  submit.unique === undefined &&
  submit.deadlineAt === undefined &&
  submit.workerId === undefined &&
  submit.sticky === undefined &&
  submit.trace === undefined;

/** The links of a task in no graph; one that names no others and takes no children has these. */
export const unlinked: Links = { after: noLinks, parent: null, open: false };

export const linksFrom = (after: readonly Link[], parent: Link | null, open: boolean): Links =>
  after.length > 0 || parent !== null || open ? { after, parent, open } : unlinked;

/** Groups whose tasks share one record of extras. */
const groupsMax = 65_536;
const ofGroups = new Map<string, TaskExtras>();

/** Extras as a record; a shared one for none, and for a group alone. */
export function extrasOf(wanted: TaskExtras): TaskExtras {
  const { idempotencyKey, unique, group, deadlineAt, workerId, sticky, trace } = wanted;
  if (idempotencyKey !== null || unique !== null || deadlineAt !== 0) return wanted;
  if (workerId !== null || sticky !== null || trace !== null) return wanted;
  if (group === null) return noExtras;
  let extras = ofGroups.get(group);
  if (extras === undefined) {
    if (ofGroups.size === groupsMax) ofGroups.clear();
    extras = wanted;
    ofGroups.set(group, extras);
  }
  return extras;
}

/** Task types whose options are remembered, and how many different options of each. */
const typesMax = 4096;
const optionsPerTypeMax = 16;

/**
 * What was asked for lately. It belongs to the process and not to a state: all it decides is how much memory equal
 * options take.
 */
const known = new Map<string, TaskOptions[]>();

/** Options like these that another task has already, or else these. */
export function shared(wanted: TaskOptions): TaskOptions {
  let alike = known.get(wanted.type);
  if (alike === undefined) {
    if (known.size === typesMax) known.clear();
    alike = [];
    known.set(wanted.type, alike);
  }
  for (let i = 0; i < alike.length; i++) {
    const one = alike[i] as TaskOptions;
    if (isSame(one, wanted)) return one;
  }
  // A default that was named is the default: its record is told by reference.
  const kept: TaskOptions = {
    ...wanted,
    backoff: isSameMap(wanted.backoff, defaultBackoff) ? defaultBackoff : wanted.backoff,
    labels: isSameMap(wanted.labels, noLabels) ? noLabels : wanted.labels,
  };
  if (alike.length === optionsPerTypeMax) alike.shift();
  alike.push(kept);
  return kept;
}

export const priorityOf = ({ priority }: TaskSubmit): number =>
  priority === undefined ? taskDefaults.priority : priorities.indexOf(priority);

/** Whether a submit asks for nothing but a place in a queue, as most do. */
export const isBare = (submit: TaskSubmit): boolean =>
  submit.attempts === undefined &&
  submit.backoff === undefined &&
  submit.finalCodes === undefined &&
  submit.retryCodes === undefined &&
  submit.interruptionsMax === undefined &&
  submit.leaseMs === undefined &&
  submit.timeoutMs === undefined &&
  submit.delayMs === undefined &&
  submit.runAt === undefined &&
  submit.unique === undefined &&
  submit.ttlMs === undefined &&
  submit.kind === undefined &&
  submit.capabilities === undefined &&
  submit.requires === undefined &&
  submit.prefers === undefined &&
  submit.slots === undefined &&
  submit.sticky === undefined &&
  submit.stickyMs === undefined &&
  submit.labels === undefined &&
  submit.limits === undefined;

const bare = {
  attempts: taskDefaults.attempts,
  backoff: defaultBackoff,
  finalCodes: noCapabilities,
  retryCodes: null,
  interruptionsMax: 0,
  leaseMs: taskDefaults.leaseMs,
  timeoutMs: 0,
  delayMs: 0,
  ttlMs: 0,
  kind: null,
  capabilities: noCapabilities,
  requires: noCapabilities,
  prefers: noCapabilities,
  slots: 1,
  stickyMs: 0,
  labels: noLabels,
  limits: noCapabilities,
} as const;

/** By type, the bare options that were found last. */
const lastBare = new Map<string, TaskOptions>();

/** The options of a submit that is bare. */
export function bareOptions(submit: TaskSubmit): TaskOptions {
  const { type, queue = taskDefaults.queue } = submit;
  const priority = priorityOf(submit);
  const last = lastBare.get(type);
  if (last !== undefined && last.queue === queue && last.priority === priority) return last;
  const options = shared({ ...bare, queue, type, priority });
  if (lastBare.size === typesMax) lastBare.clear();
  lastBare.set(type, options);
  return options;
}

const isSame = (a: TaskOptions, b: TaskOptions): boolean =>
  a.queue === b.queue &&
  a.priority === b.priority &&
  a.delayMs === b.delayMs &&
  a.ttlMs === b.ttlMs &&
  a.attempts === b.attempts &&
  a.leaseMs === b.leaseMs &&
  a.timeoutMs === b.timeoutMs &&
  a.kind === b.kind &&
  a.interruptionsMax === b.interruptionsMax &&
  a.slots === b.slots &&
  a.stickyMs === b.stickyMs &&
  isSameMap(a.backoff, b.backoff) &&
  isSameList(a.finalCodes, b.finalCodes) &&
  isSameValue(a.retryCodes, b.retryCodes) &&
  isSameList(a.capabilities, b.capabilities) &&
  isSameList(a.requires, b.requires) &&
  isSameList(a.prefers, b.prefers) &&
  isSameMap(a.labels, b.labels) &&
  isSameList(a.limits, b.limits);

const isSameList = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a === b || (a.length === b.length && a.every((one, i) => isSameValue(one, b[i])));

/** A value of an option is plain, or a list of plain values. */
const isSameValue = (a: unknown, b: unknown): boolean =>
  a === b || (Array.isArray(a) && Array.isArray(b) && isSameList(a, b));

/** The order of the fields counts: what was written and is read again shows as it did. */
const isSameMap = (a: object, b: object): boolean =>
  a === b || (isSameList(Object.keys(a), Object.keys(b)) && isSameList(Object.values(a), Object.values(b)));
