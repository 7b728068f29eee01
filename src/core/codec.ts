/**
 * The codec: changes to the text of a log entry, and back. It writes records, never operations, so an old log
 * opens under new code and replay has no logic. A task has two parts: what it is ("task") is written once, and again
 * when it was given another queue or priority; how it stands ("task.run") with every change; without the latter it stands as it was submitted, so a
 * submit writes one line and a waiting task is one row. Payloads and results are put in as the JSON text they
 * were kept as. What a record does not name has its default, so a field may be added without a new format.
 *
 * The form of the lines is described in log/log.ts. Part names sort such that a row comes after the rows it
 * refers to.
 */
import { UnknownPart } from "../lib/part.ts";
import type { TaskState } from "../wire/tasks.ts";
import type { AnswerRecord } from "./answers.ts";
import { type ArchivedTask, tagsOf } from "./archive.ts";
import type { Wish } from "./contention.ts";
import type { Failures } from "./failures.ts";
import type { LimitRecord, PauseRecord, QueueRecord } from "./flow.ts";
import { ageOf } from "./ids.ts";
import type {
  DeliveryRecord,
  MessageRecord,
  PublishedRecord,
  SubscriptionRecord,
  SubscriptionSpec,
  TopicRecord,
} from "./inboxes.ts";
import { type KeyRecord, keysOf } from "./kv.ts";
import { type LockRecord, locksOf, restOf } from "./locks.ts";
import type { LogPiece } from "./logs.ts";
import { messagesOf } from "./messages.ts";
import {
  defaultBackoff,
  extrasOf,
  type Link,
  type Links,
  linksFrom,
  noCapabilities,
  noExtras,
  noLabels,
  noLinks,
  shared,
  type TaskExtras,
  type TaskOptions,
  unlinked,
} from "./options.ts";
import { newSchedule, type ScheduleRecord, type ScheduleSpec } from "./schedules.ts";
import { type Change, chosenKeys, type Store, type Table } from "./store.ts";
import {
  errorsOf,
  type Lease,
  newRecord,
  noOutcome,
  readyAt,
  stateAtFirst,
  type TaskRecord,
  TaskSpec,
  tasksOf,
} from "./tasks.ts";
import type { UniqueRecord } from "./unique.ts";
import type { WorkerRecord } from "./workers.ts";

/** The header of an entry. */
export type EntryHeader = {
  revision: number;
  at: number;
  clock: number;
  operation: string;
  who: string;
};

/** As many pieces of an entry are put together at once: a list of all that a large one has takes more than its text. */
const piecesMax = 8192;

/**
 * Writes an entry behind the others of its batch, in pieces: a text that is put together of many is put together once, when
 * the batch is, unless it is large. What comes with each submit is written piece by piece, the rest a line at a time.
 */
export function writeEntry(out: string[], header: EntryHeader, changes: readonly Change[]): void {
  let from = out.length;
  out.push("@", `${header.revision}`, headerEnd(header));
  for (let i = 0; i < changes.length; i++) {
    writeChange(out, changes[i] as Change);
    if (out.length - from < piecesMax) continue;
    out.push(out.splice(from).join(""));
    from = out.length;
  }
}

export function encodeEntry(header: EntryHeader, changes: readonly Change[]): string {
  const out: string[] = [];
  writeEntry(out, header, changes);
  return out.join("");
}

/** Entries that gather while one batch is on its way differ in their revision alone: the rest is written once for all. */
const lastHeader = { at: -1, clock: -1, operation: "", who: "", end: "" };
function headerEnd({ at, clock, operation, who }: EntryHeader): string {
  const last = lastHeader;
  if (at !== last.at || clock !== last.clock || operation !== last.operation || who !== last.who) {
    last.at = at;
    last.clock = clock;
    last.operation = operation;
    last.who = who;
    last.end = `\t${at}\t${clock}\t${operation}\t${who}\n`;
  }
  return last.end;
}

function writeChange(out: string[], change: Change): void {
  const { before, after } = change;
  const { name } = change.table;
  if (name === "tasks" && after !== undefined) {
    const record = after as TaskRecord;
    const { spec } = record;
    if ((before as TaskRecord | undefined)?.spec !== spec) {
      out.push("+task\t", spec.id);
      writeSpec(out, spec);
      out.push("\n");
    }
    if (before !== undefined || !isAsSubmitted(record))
      out.push("+task.run\t", change.key, "\t", encodeRun(record), "\n");
  } else if (name === "answers" && after !== undefined) {
    const answer = after as AnswerRecord;
    out.push("+answer\t", change.key, "\t", encodeAnswerHead(answer), "\t", answer.text, "\n");
  } else if (name === "locks") {
    const lock = (after ?? before) as LockRecord;
    out.push(after === undefined ? `-lock\t${lock.id}\n` : `+lock\t${lock.id}\t${encodeLock(lock)}\n`);
  } else out.push(encodeChange(change));
}

function encodeChange(change: Change): string {
  const { key, before, after } = change;
  switch (change.table.name) {
    case "tasks":
      return `-task\t${key}\n-task.run\t${key}\n`;
    case "errors":
      return after === undefined
        ? `-task.errors\t${key}\n`
        : `+task.errors\t${key}\t${JSON.stringify(after)}\n`;
    case "logs":
      return after === undefined ? `-task.log\t${key}\n` : `+task.log\t${key}\t${JSON.stringify(after)}\n`;
    case "archive":
      return `+archive\t${key}\t${encodeArchived(after as ArchivedTask)}\n`;
    case "schedules": {
      if (after === undefined) return `-schedule\t${key}\n-schedule.run\t${key}\n`;
      const { spec, ...run } = after as ScheduleRecord;
      const isNew = (before as ScheduleRecord | undefined)?.spec !== spec;
      return `${isNew ? `+schedule\t${key}\t${encodeSchedule(spec)}\n` : ""}+schedule.run\t${key}\t${JSON.stringify(run)}\n`;
    }
    case "keys":
      return after === undefined ? `-key\t${key}\n` : `+key\t${key}\t${encodeKey(after as KeyRecord)}\n`;
    case "messages":
      return after === undefined
        ? `-message\t${key}\n`
        : `+message\t${key}\t${encodeMessage(after as MessageRecord)}\n`;
    case "subscriptions": {
      if (after === undefined) return `-subscription\t${key}\n-subscription.run\t${key}\n`;
      const { spec, ...run } = after as SubscriptionRecord;
      const isNew = (before as SubscriptionRecord | undefined)?.spec !== spec;
      return `${isNew ? `+subscription\t${key}\t${JSON.stringify(spec)}\n` : ""}+subscription.run\t${key}\t${JSON.stringify(run)}\n`;
    }
    case "deliveries":
      return after === undefined
        ? `-delivery\t${key}\n`
        : `+delivery\t${key}\t${encodeDelivery(after as DeliveryRecord)}\n`;
    case "published":
      return after === undefined ? `-published\t${key}\n` : `+published\t${key}\t${JSON.stringify(after)}\n`;
    case "workers":
    case "topics":
    case "uniques":
    case "queues":
    case "limits":
    case "pauses": {
      const part = change.table.name.slice(0, -1);
      return after === undefined ? `-${part}\t${key}\n` : `+${part}\t${key}\t${JSON.stringify(after)}\n`;
    }
    case "answers":
      return `-answer\t${key}\n`;
    default:
      throw new Error(`no codec for table ${change.table.name}`);
  }
}

/** What stands behind the first tab of a line, by its part. */
const tails: Record<string, readonly string[]> = {
  task: ["payload"],
  "task.run": ["result", "progress"],
  key: ["value"],
  schedule: ["payload"],
  message: ["payload"],
};

/** A line of the log as one JSON value: an object, but where a part is a list by itself. */
export function lineJson(part: string, text: string): string {
  const [head, ...tail] = text.split("\t") as [string, ...string[]];
  if (tail.length === 0) return head;
  const names = tails[part] ?? [];
  let json = head.slice(0, -1);
  for (const [i, value] of tail.entries())
    if (value !== none) json += `${json === "{" ? "" : ","}"${names[i]}":${value}`;
  return `${json}}`;
}

/** A new task is as newRecord made it unless it was leased, dropped or made ready in the same entry. */
const isAsSubmitted = (record: TaskRecord) =>
  record.lease === null &&
  record.outcome === noOutcome &&
  record.revision === record.spec.revision &&
  record.state === stateAtFirst(record.spec);

/**
 * What a spec need not name. These are defaults of the format, not of the program: they are never changed, and where
 * the program's move on (tasks.ts), these stay.
 */
const unnamed = { priority: 2, attempts: 3, backoff: defaultBackoff, leaseMs: 30_000, timeoutMs: 0 } as const;

/** Tasks that come together differ in their payload and their links alone: the rest of a head is written once for all of them. */
const lastHead = { options: null as TaskOptions | null, createdAt: 0, open: "", whole: "" };
function writeSpec(out: string[], spec: TaskSpec): void {
  const { options, extras, links, createdAt, payload } = spec;
  if (options !== lastHead.options || createdAt !== lastHead.createdAt) {
    lastHead.options = options;
    lastHead.createdAt = createdAt;
    lastHead.open = encodeOptions(spec);
    lastHead.whole = `${lastHead.open}}\t`;
  }
  if (extras === noExtras && links === unlinked) out.push(lastHead.whole, payload);
  else {
    out.push(lastHead.open);
    if (extras !== noExtras) out.push(encodeExtras(extras));
    if (links !== unlinked) writeLinks(out, links);
    out.push("}\t", payload);
  }
}

/** A tab and what all tasks with these options have, to which more may come. */
function encodeOptions(spec: TaskSpec): string {
  const { options } = spec;
  let text = `\t{"queue":"${options.queue}","type":"${options.type}","createdAt":${spec.createdAt}`;
  if (options.priority !== unnamed.priority) text += `,"priority":${options.priority}`;
  if (options.attempts !== unnamed.attempts) text += `,"attempts":${options.attempts}`;
  if (options.backoff !== unnamed.backoff) text += `,"backoff":${JSON.stringify(options.backoff)}`;
  if (options.finalCodes.length > 0) text += `,"finalCodes":${JSON.stringify(options.finalCodes)}`;
  if (options.retryCodes !== null) text += `,"retryCodes":${JSON.stringify(options.retryCodes)}`;
  if (options.interruptionsMax !== 0) text += `,"interruptionsMax":${options.interruptionsMax}`;
  if (options.leaseMs !== unnamed.leaseMs) text += `,"leaseMs":${options.leaseMs}`;
  if (options.timeoutMs !== unnamed.timeoutMs) text += `,"timeoutMs":${options.timeoutMs}`;
  if (options.kind !== null) text += `,"kind":"${options.kind}"`;
  if (options.capabilities.length > 0) text += `,"capabilities":${JSON.stringify(options.capabilities)}`;
  if (options.requires.length > 0) text += `,"requires":${JSON.stringify(options.requires)}`;
  if (options.prefers.length > 0) text += `,"prefers":${JSON.stringify(options.prefers)}`;
  if (options.slots !== 1) text += `,"slots":${options.slots}`;
  if (options.stickyMs !== 0) text += `,"stickyMs":${options.stickyMs}`;
  if (options.labels !== noLabels) text += `,"labels":${JSON.stringify(options.labels)}`;
  if (options.ttlMs !== 0) text += `,"ttlMs":${options.ttlMs}`;
  if (options.limits.length > 0) text += `,"limits":${JSON.stringify(options.limits)}`;
  if (options.delayMs !== 0) text += `,"readyAt":${readyAt(spec)}`;
  return text;
}

function encodeExtras(extras: TaskExtras): string {
  const { idempotencyKey, unique, group, deadlineAt, workerId, sticky, trace } = extras;
  let text = "";
  if (idempotencyKey !== null) text += `,"idempotencyKey":${JSON.stringify(idempotencyKey)}`;
  if (unique !== null) text += `,"unique":${JSON.stringify(unique)}`;
  if (workerId !== null) text += `,"workerId":"${workerId}"`;
  if (sticky !== null) text += `,"sticky":"${sticky}"`;
  if (deadlineAt !== 0) text += `,"deadlineAt":${deadlineAt}`;
  if (group !== null) text += `,"group":"${group}"`;
  if (trace !== null) text += `,"trace":${JSON.stringify(trace)}`;
  return text;
}

function writeLinks(out: string[], { after, parent, open }: Links): void {
  for (let i = 0; i < after.length; i++) writeLink(out, i === 0 ? `,"after":[["` : `"],["`, after[i] as Link);
  if (after.length > 0) out.push(`"]]`);
  if (parent !== null) {
    writeLink(out, `,"parent":["`, parent);
    out.push(`"]`);
  }
  if (open) out.push(`,"open":true`);
}

/** What is not the default, behind the id; its end is open. */
function writeLink(out: string[], start: string, { taskId, name, onFail }: Link): void {
  out.push(start, taskId);
  if (name !== null) out.push(onFail === "fail" ? `","fail","` : `","${onFail}","`, name);
  else if (onFail !== "fail") out.push(`","`, onFail);
}

type LinkLine = [taskId: string, onFail?: Link["onFail"], name?: string];
const decodeLink = ([taskId, onFail = "fail", name = undefined]: LinkLine): Link => ({
  taskId,
  name: name ?? null,
  onFail,
});

/** Tasks that came together differ in their payload alone: what stands before it is read once for all of them. */
let lastRead = "";
let last: Pick<TaskSpec, "options" | "extras" | "links" | "createdAt">;
function decodeHead(head: string) {
  if (head === lastRead) return last;
  const from = JSON.parse(head);
  last = {
    options: shared({
      queue: from.queue,
      type: from.type,
      priority: from.priority ?? unnamed.priority,
      attempts: from.attempts ?? unnamed.attempts,
      backoff: from.backoff ?? unnamed.backoff,
      finalCodes: from.finalCodes ?? noCapabilities,
      retryCodes: from.retryCodes ?? null,
      interruptionsMax: from.interruptionsMax ?? 0,
      leaseMs: from.leaseMs ?? unnamed.leaseMs,
      timeoutMs: from.timeoutMs ?? unnamed.timeoutMs,
      delayMs: from.readyAt === undefined ? 0 : from.readyAt - from.createdAt,
      ttlMs: from.ttlMs ?? 0,
      kind: from.kind ?? null,
      capabilities: from.capabilities ?? noCapabilities,
      requires: from.requires ?? noCapabilities,
      prefers: from.prefers ?? noCapabilities,
      slots: from.slots ?? 1,
      stickyMs: from.stickyMs ?? 0,
      labels: from.labels ?? noLabels,
      limits: from.limits ?? noCapabilities,
    }),
    extras: extrasOf({
      idempotencyKey: from.idempotencyKey ?? null,
      unique: from.unique ?? null,
      group: from.group ?? null,
      deadlineAt: from.deadlineAt ?? 0,
      workerId: from.workerId ?? null,
      sticky: from.sticky ?? null,
      trace: from.trace ?? null,
    }),
    links: linksFrom(
      from.after?.map(decodeLink) ?? noLinks,
      from.parent === undefined ? null : decodeLink(from.parent),
      from.open ?? false,
    ),
    createdAt: from.createdAt,
  };
  lastRead = head;
  return last;
}

function decodeSpec(id: string, text: string): TaskSpec {
  const tab = text.indexOf("\t");
  const { options, extras, links, createdAt } = decodeHead(text.slice(0, tab));
  const { revision, number } = ageOf(id);
  return new TaskSpec(revision, number, options, text.slice(tab + 1), extras, links, createdAt);
}

const none = "";

function encodeRun(run: TaskRecord): string {
  const { lease } = run;
  const { progress, result, error, reason, finishedAt, readyAt, closedAt } = run.outcome;
  let text = `{"state":"${run.state}","revision":${run.revision}`;
  if (run.attempt !== 0) text += `,"attempt":${run.attempt}`;
  if (run.interruptions !== 0) text += `,"interruptions":${run.interruptions}`;
  if (run.runAt !== 0) text += `,"runAt":${run.runAt}`;
  if (lease !== null) {
    text += `,"workerId":"${lease.workerId}","startedAt":${lease.startedAt}`;
    // A task that just got its lease has that entry's revision as token.
    if (lease.token !== run.revision) text += `,"token":${lease.token}`;
    if (lease.leaseMs !== run.spec.options.leaseMs) text += `,"leaseMs":${lease.leaseMs}`;
    if (lease.deadline !== 0) text += `,"deadline":${lease.deadline},"startedClock":${lease.startedClock}`;
  }
  if (finishedAt !== 0) text += `,"finishedAt":${finishedAt}`;
  if (readyAt !== 0) text += `,"readyAt":${readyAt}`;
  if (closedAt !== 0) text += `,"closedAt":${closedAt}`;
  if (error !== null) text += `,"error":${JSON.stringify(error)}`;
  if (reason !== null) text += `,"reason":${JSON.stringify(reason)}`;
  if (result === null && progress === null) return `${text}}`;
  return `${text}}\t${result ?? none}\t${progress ?? none}`;
}

function decodeRun(spec: TaskSpec, text: string): TaskRecord {
  const tab = text.indexOf("\t");
  const from = JSON.parse(tab < 0 ? text : text.slice(0, tab));
  const second = tab < 0 ? -1 : text.indexOf("\t", tab + 1);
  const progress = tab < 0 ? null : text.slice(second + 1) || null;
  const result = tab < 0 ? null : text.slice(tab + 1, second) || null;
  const { error = null, reason = null, finishedAt = 0, readyAt = 0, closedAt = 0 } = from;
  const hasOutcome =
    progress !== null ||
    result !== null ||
    error !== null ||
    reason !== null ||
    finishedAt !== 0 ||
    readyAt !== 0 ||
    closedAt !== 0;
  return {
    spec,
    state: from.state as TaskState,
    attempt: from.attempt ?? 0,
    interruptions: from.interruptions ?? 0,
    runAt: from.runAt ?? 0,
    lease: from.workerId === undefined ? null : decodeLease(spec, from),
    outcome: hasOutcome ? { progress, result, error, reason, finishedAt, readyAt, closedAt } : noOutcome,
    revision: from.revision,
  };
}

/** What `encodeRun` wrote of a lease. */
type LeaseLine = Pick<Lease, "workerId" | "startedAt"> & Partial<Lease> & { revision: number };

const decodeLease = (spec: TaskSpec, from: LeaseLine): Lease => ({
  workerId: from.workerId,
  token: from.token ?? from.revision,
  leaseMs: from.leaseMs ?? spec.options.leaseMs,
  deadline: from.deadline ?? 0,
  startedAt: from.startedAt,
  startedClock: from.startedClock ?? 0,
});

/**
 * A task that leaves memory: when it ended and what it is found by, and then all of it: what it is, its payload, how it
 * stood with its result and progress, what it failed of, its graph, and the end of its log if it has one. None of these has a
 * tab in it.
 */
function encodeArchived({ record, failures, graph, log }: ArchivedTask): string {
  const run = encodeRun(record);
  const outcome = run.includes("\t") ? run : `${run}\t\t`;
  const errors = failures === undefined ? "" : JSON.stringify(failures);
  const spec: string[] = [];
  writeSpec(spec, record.spec);
  const lines = log === null ? "" : `\t${JSON.stringify(log)}`;
  return `${fieldsText(record)}${spec.join("")}\t${outcome}\t${errors}\t${graph ?? ""}${lines}`;
}

/** Of most tasks it is names alone, which need no escaping. */
function fieldsText(record: TaskRecord): string {
  const { options, extras } = record.spec;
  const { finishedAt } = record.outcome;
  if (extras !== noExtras || options.labels !== noLabels)
    return JSON.stringify([finishedAt, ...tagsOf(record)]);
  return `[${finishedAt},"q${options.queue}","t${options.type}","s${record.state}"]`;
}

/** What follows the fields. */
export function decodeArchived(id: string, text: string): ArchivedTask {
  const [head, payload, run, result, progress, errors, graph, log] = text.split("\t");
  const spec = decodeSpec(id, `${head}\t${payload}`);
  return {
    record: decodeRun(spec, `${run}\t${result}\t${progress}`),
    failures: errors ? JSON.parse(errors) : undefined,
    graph: graph || null,
    log: log ? JSON.parse(log) : null,
  };
}

function encodeSchedule({ payload, ...head }: ScheduleSpec): string {
  return `${JSON.stringify(head)}\t${payload}`;
}

function decodeSchedule(text: string): ScheduleSpec {
  const tab = text.indexOf("\t");
  const from = JSON.parse(text.slice(0, tab));
  return {
    name: from.name,
    cron: from.cron,
    timeZone: from.timeZone,
    everyMs: from.everyMs,
    startAt: from.startAt,
    endAt: from.endAt,
    anchorAt: from.anchorAt,
    jitterMs: from.jitterMs,
    missed: from.missed,
    missedMax: from.missedMax,
    overlap: from.overlap,
    task: from.task,
    payload: text.slice(tab + 1),
    createdAt: from.createdAt,
    putRevision: from.putRevision,
  };
}

function decodeScheduleRun(spec: ScheduleSpec, text: string): ScheduleRecord {
  const from = JSON.parse(text);
  return {
    spec,
    state: from.state,
    nextAt: from.nextAt,
    dueAt: from.dueAt,
    waitingAt: from.waitingAt,
    lastAt: from.lastAt,
    lastTaskId: from.lastTaskId,
    runsCount: from.runsCount,
    skippedCount: from.skippedCount,
    revision: from.revision,
  };
}

const lastAnswer = { at: -1, operation: "", middle: "" };
function answerMiddle(operation: string, at: number): string {
  const last = lastAnswer;
  if (at !== last.at || operation !== last.operation) {
    last.at = at;
    last.operation = operation;
    last.middle = `,"operation":"${operation}","at":${at},"revision":`;
  }
  return last.middle;
}

/** A key is the row's name. */
function encodeKey({ value, createdRevision, version, expiresAt, workerId, revision }: KeyRecord): string {
  let text = `{"revision":${revision}`;
  if (version !== 1) text += `,"createdRevision":${createdRevision},"version":${version}`;
  if (expiresAt !== 0) text += `,"expiresAt":${expiresAt}`;
  if (workerId !== null) text += `,"workerId":"${workerId}"`;
  return `${text}}\t${value}`;
}

function decodeKey(key: string, text: string): KeyRecord {
  const tab = text.indexOf("\t");
  const from = JSON.parse(text.slice(0, tab));
  return {
    key,
    value: text.slice(tab + 1),
    createdRevision: from.createdRevision ?? from.revision,
    version: from.version ?? 1,
    expiresAt: from.expiresAt ?? 0,
    workerId: from.workerId ?? null,
    revision: from.revision,
  };
}

/** As JSON.stringify would. No character of a name or an id needs escaping. */
function encodeLock(lock: LockRecord): string {
  const { id, state, resources, revision } = lock;
  let names = "";
  for (let i = 0; i < resources.length; i++) {
    const { name, mode, limit } = resources[i] as Wish;
    names += `${i === 0 ? "" : ","}{"name":"${name}","mode":"${mode}","limit":${limit}}`;
  }
  return `{"id":"${id}","state":"${state}","resources":[${names}],${restOf(lock).line},"revision":${revision}}`;
}

function decodeLock(text: string): LockRecord {
  const from = JSON.parse(text);
  return {
    id: from.id,
    state: from.state,
    resources: from.resources,
    workerId: from.workerId,
    who: from.who,
    session: from.session,
    ttlMs: from.ttlMs,
    waitUntil: from.waitUntil,
    value: from.value,
    createdAt: from.createdAt,
    heldAt: from.heldAt,
    reason: from.reason,
    revision: from.revision,
  };
}

/** Its id is the row's name. */
function encodeMessage(message: MessageRecord): string {
  const { topic, priority, publisher, publishedAt, expiresAt, publishId, payload } = message;
  let text = `{"topic":"${topic}","publisher":"${publisher}","at":${publishedAt}`;
  if (priority !== unnamed.priority) text += `,"priority":${priority}`;
  if (expiresAt !== 0) text += `,"expiresAt":${expiresAt}`;
  if (publishId !== null) text += `,"publishId":"${publishId}"`;
  return `${text}}\t${payload}`;
}

function decodeMessage(id: string, text: string): MessageRecord {
  const tab = text.indexOf("\t");
  const from = JSON.parse(text.slice(0, tab));
  const { revision, number } = ageOf(id);
  return {
    revision,
    number,
    topic: from.topic,
    priority: from.priority ?? unnamed.priority,
    payload: text.slice(tab + 1),
    publisher: from.publisher,
    publishedAt: from.at,
    expiresAt: from.expiresAt ?? 0,
    publishId: from.publishId ?? null,
  };
}

function decodeSubscription(text: string): SubscriptionSpec {
  const from = JSON.parse(text);
  return {
    name: from.name,
    topic: from.topic,
    workerId: from.workerId,
    ackWaitMs: from.ackWaitMs,
    deliveriesMax: from.deliveriesMax,
    backoff: from.backoff,
    pendingMax: from.pendingMax,
    whenFull: from.whenFull,
    idleMs: from.idleMs,
    createdAt: from.createdAt,
  };
}

function decodeSubscriptionRun(spec: SubscriptionSpec, text: string): SubscriptionRecord {
  const from = JSON.parse(text);
  return { spec, floors: from.floors, droppedCount: from.droppedCount, revision: from.revision };
}

/** Its subscription and its message are the row's name. */
function encodeDelivery({ state, failedCount, at, reason }: DeliveryRecord): string {
  if (state === "acknowledged") return "{}";
  return JSON.stringify({ state, failedCount, at, reason });
}

function decodeDelivery(key: string, text: string): DeliveryRecord {
  const from = JSON.parse(text);
  const space = key.lastIndexOf(" ");
  return {
    subscription: key.slice(0, space),
    messageId: key.slice(space + 1),
    state: from.state ?? "acknowledged",
    failedCount: from.failedCount ?? 0,
    at: from.at ?? 0,
    reason: from.reason ?? null,
  };
}

/** What stands before its text. Its session and place are the row's name. */
function encodeAnswerHead(answer: AnswerRecord): string {
  let text = `{"seq":${answer.seq}${answerMiddle(answer.operation, answer.at)}${answer.revision}`;
  if (answer.ackedThrough !== 0) text += `,"ackedThrough":${answer.ackedThrough}`;
  if (answer.fingerprint !== 0) text += `,"fingerprint":${answer.fingerprint}`;
  return `${text}}`;
}

function decodeAnswer(key: string, text: string): AnswerRecord {
  const slash = key.lastIndexOf("/");
  const tab = text.indexOf("\t");
  const from = JSON.parse(text.slice(0, tab));
  return {
    session: key.slice(0, slash),
    place: Number(key.slice(slash + 1)),
    seq: from.seq,
    operation: from.operation,
    fingerprint: from.fingerprint ?? 0,
    ackedThrough: from.ackedThrough ?? 0,
    at: from.at,
    revision: from.revision,
    text: text.slice(tab + 1),
  };
}

function decodeWorker(text: string): WorkerRecord {
  const from = JSON.parse(text);
  return {
    id: from.id,
    instanceId: from.instanceId,
    kind: from.kind,
    queues: from.queues,
    capabilities: from.capabilities,
    labels: from.labels,
    capacity: from.capacity,
    state: from.state,
    registeredAt: from.registeredAt,
    offlineAt: from.offlineAt,
    revision: from.revision,
  };
}

function decodeQueue(text: string): QueueRecord {
  const from = JSON.parse(text);
  return {
    name: from.name,
    concurrency: from.concurrency ?? null,
    rate: from.rate ?? null,
    groupConcurrency: from.groupConcurrency ?? null,
    groupRate: from.groupRate ?? null,
    weight: from.weight ?? null,
    groupWeights: from.groupWeights ?? {},
    backlog: from.backlog ?? null,
    strategy: from.strategy ?? null,
    revision: from.revision,
  };
}

function decodeLimit(text: string): LimitRecord {
  const from = JSON.parse(text);
  return {
    name: from.name,
    concurrency: from.concurrency ?? null,
    rate: from.rate ?? null,
    revision: from.revision,
  };
}

function decodePause(text: string): PauseRecord {
  const from = JSON.parse(text);
  return {
    queue: from.queue,
    group: from.group ?? null,
    since: from.since,
    until: from.until ?? 0,
    by: from.by,
    reason: from.reason ?? null,
    revision: from.revision,
  };
}

/** Fills a store from a log's rows and entries, oldest first. It has no logic: it puts and deletes records. */
export class Loader {
  readonly #tasks: Table<TaskRecord>;
  readonly #errors: Table<Failures>;
  readonly #logs: Table<LogPiece>;
  readonly #uniques: Table<UniqueRecord>;
  readonly #workers: Table<WorkerRecord>;
  readonly #schedules: Table<ScheduleRecord>;
  readonly #keys: Table<KeyRecord>;
  readonly #locks: Table<LockRecord>;
  readonly #queues: Table<QueueRecord>;
  readonly #limits: Table<LimitRecord>;
  readonly #pauses: Table<PauseRecord>;
  readonly #messages: Table<MessageRecord>;
  readonly #subscriptions: Table<SubscriptionRecord>;
  readonly #deliveries: Table<DeliveryRecord>;
  readonly #published: Table<PublishedRecord>;
  readonly #topics: Table<TopicRecord>;
  readonly #answers: Table<AnswerRecord>;
  /** Standings in an image that has let go of what stands so already; the entries after it delete them too. */
  readonly #orphans = new Set<string>();

  constructor(store: Store) {
    this.#tasks = tasksOf(store);
    this.#errors = errorsOf(store);
    this.#logs = store.table("logs");
    this.#uniques = store.table("uniques");
    this.#workers = store.table("workers");
    this.#schedules = store.table("schedules");
    this.#keys = keysOf(store);
    this.#locks = locksOf(store);
    this.#queues = store.table("queues");
    this.#limits = store.table("limits");
    this.#pauses = store.table("pauses");
    this.#messages = messagesOf(store);
    this.#subscriptions = store.table("subscriptions", chosenKeys);
    this.#deliveries = store.table("deliveries", chosenKeys);
    this.#published = store.table("published", chosenKeys);
    this.#topics = store.table("topics", chosenKeys);
    this.#answers = store.table("answers");
  }

  put(part: string, key: string, text: string): void {
    switch (part) {
      case "task": {
        // An image that is newer than the entry that made the task may hold its run too; and a spec may be replaced.
        const spec = decodeSpec(key, text);
        const known = this.#tasks.get(key);
        this.#tasks.restore(key, known === undefined ? newRecord(spec) : { ...known, spec });
        this.#found("task", key);
        return;
      }
      case "task.run": {
        const known = this.#tasks.get(key);
        if (known === undefined) this.#orphans.add(`task ${key}`);
        else this.#tasks.restore(key, decodeRun(known.spec, text));
        return;
      }
      case "task.errors":
        this.#errors.restore(key, JSON.parse(text));
        return;
      case "task.log":
        this.#logs.restore(key, JSON.parse(text));
        return;
      case "unique":
        this.#uniques.restore(key, JSON.parse(text));
        return;
      case "worker":
        this.#workers.restore(key, decodeWorker(text));
        return;
      case "schedule": {
        const spec = decodeSchedule(text);
        const known = this.#schedules.get(key);
        this.#schedules.restore(key, known === undefined ? newSchedule(spec) : { ...known, spec });
        this.#found("schedule", key);
        return;
      }
      case "schedule.run": {
        const known = this.#schedules.get(key);
        if (known === undefined) this.#orphans.add(`schedule ${key}`);
        else this.#schedules.restore(key, decodeScheduleRun(known.spec, text));
        return;
      }
      case "archive":
        // It is no part of the state.
        return;
      case "message":
        this.#messages.restore(key, decodeMessage(key, text));
        return;
      case "subscription": {
        const spec = decodeSubscription(text);
        const known = this.#subscriptions.get(key);
        this.#subscriptions.restore(
          key,
          known === undefined
            ? { spec, floors: [0, 0, 0, 0], droppedCount: 0, revision: 0 }
            : { ...known, spec },
        );
        this.#found("subscription", key);
        return;
      }
      case "subscription.run": {
        const known = this.#subscriptions.get(key);
        if (known === undefined) this.#orphans.add(`subscription ${key}`);
        else this.#subscriptions.restore(key, decodeSubscriptionRun(known.spec, text));
        return;
      }
      case "delivery":
        this.#deliveries.restore(key, decodeDelivery(key, text));
        return;
      case "topic":
        this.#topics.restore(key, JSON.parse(text));
        return;
      case "published":
        this.#published.restore(key, JSON.parse(text));
        return;
      case "key":
        this.#keys.restore(key, decodeKey(key, text));
        return;
      case "lock":
        this.#locks.restore(key, decodeLock(text));
        return;
      case "queue":
        this.#queues.restore(key, decodeQueue(text));
        return;
      case "limit":
        this.#limits.restore(key, decodeLimit(text));
        return;
      case "pause":
        this.#pauses.restore(key, decodePause(text));
        return;
      case "answer":
        this.#answers.restore(key, decodeAnswer(key, text));
        return;
      default:
        throw new UnknownPart(part);
    }
  }

  delete(part: string, key: string): void {
    if (part === "task" || part === "task.run") {
      this.#tasks.restore(key, undefined);
      this.#found("task", key);
    } else if (part === "schedule" || part === "schedule.run") {
      this.#schedules.restore(key, undefined);
      this.#found("schedule", key);
    } else if (part === "subscription" || part === "subscription.run") {
      this.#subscriptions.restore(key, undefined);
      this.#found("subscription", key);
    } else if (part === "message") this.#messages.restore(key, undefined);
    else if (part === "delivery") this.#deliveries.restore(key, undefined);
    else if (part === "topic") this.#topics.restore(key, undefined);
    else if (part === "published") this.#published.restore(key, undefined);
    else if (part === "task.errors") this.#errors.restore(key, undefined);
    else if (part === "task.log") this.#logs.restore(key, undefined);
    else if (part === "unique") this.#uniques.restore(key, undefined);
    else if (part === "worker") this.#workers.restore(key, undefined);
    else if (part === "key") this.#keys.restore(key, undefined);
    else if (part === "lock") this.#locks.restore(key, undefined);
    else if (part === "queue") this.#queues.restore(key, undefined);
    else if (part === "limit") this.#limits.restore(key, undefined);
    else if (part === "pause") this.#pauses.restore(key, undefined);
    else if (part === "answer") this.#answers.restore(key, undefined);
    else throw new UnknownPart(part);
  }

  #found(what: string, key: string): void {
    if (this.#orphans.size > 0) this.#orphans.delete(`${what} ${key}`);
  }

  /** One whole entry, or several: headers are passed over, changes applied. */
  entry(text: string): void {
    for (let start = 0; start < text.length; ) {
      const end = text.indexOf("\n", start);
      const sign = text.charCodeAt(start);
      if (sign !== 64 /* @ */) {
        const tab = text.indexOf("\t", start);
        const part = text.slice(start + 1, tab);
        if (sign === 43 /* + */) {
          const second = text.indexOf("\t", tab + 1);
          this.put(part, text.slice(tab + 1, second), text.slice(second + 1, end));
        } else this.delete(part, text.slice(tab + 1, end));
      }
      start = end + 1;
    }
  }

  /** Everything was given. */
  end(): void {
    for (const key of this.#orphans) throw new Error(`the log holds how ${key} stands but not what it is`);
  }
}
