/**
 * The codec: changes to the text of a log entry, and back. It writes records, never operations, so an old log
 * opens under new code and replay has no logic. A task has two parts: what never changes ("task") is written
 * once, how it stands ("task.run") with every change; without the latter it stands as it was submitted, so a
 * submit writes one line and a waiting task is one row. Payloads and results are put in as the JSON text they
 * were kept as. What a record does not name has its default, so a field may be added without a new format.
 *
 * The form of the lines is described in log/log.ts. Part names sort such that a row comes after the rows it
 * refers to.
 */
import type { TaskState } from "../wire/tasks.ts";
import type { AnswerRecord } from "./answers.ts";
import type { Change, Store, Table } from "./store.ts";
import {
  defaultBackoff,
  newRecord,
  noCapabilities,
  noLabels,
  type TaskRecord,
  type TaskSpec,
} from "./tasks.ts";
import type { WorkerRecord } from "./workers.ts";

/** The header of an entry. */
export type EntryHeader = {
  revision: number;
  at: number;
  clock: number;
  operation: string;
  who: string;
};

export function encodeEntry(header: EntryHeader, changes: readonly Change[]): string {
  let text = `@${header.revision}\t${header.at}\t${header.clock}\t${header.operation}\t${header.who}\n`;
  for (let i = 0; i < changes.length; i++) text += encodeChange(changes[i] as Change);
  return text;
}

function encodeChange(change: Change): string {
  const { key, before, after } = change;
  switch (change.table.name) {
    case "tasks": {
      if (after === undefined) return `-task\t${key}\n-task.run\t${key}\n`;
      const record = after as TaskRecord;
      const spec = before === undefined ? `+task\t${key}\t${encodeSpec(record.spec)}\n` : "";
      return before === undefined && isAsSubmitted(record)
        ? spec
        : `${spec}+task.run\t${key}\t${encodeRun(record)}\n`;
    }
    case "workers":
      return after === undefined ? `-worker\t${key}\n` : `+worker\t${key}\t${JSON.stringify(after)}\n`;
    case "answers":
      return after === undefined
        ? `-answer\t${key}\n`
        : `+answer\t${key}\t${encodeAnswer(after as AnswerRecord)}\n`;
    default:
      throw new Error(`no codec for table ${change.table.name}`);
  }
}

/** A new task is as newRecord made it unless it was leased in the same entry. */
const isAsSubmitted = (record: TaskRecord) => record.token === 0 && record.revision === record.spec.revision;

/**
 * What a spec need not name. These are defaults of the format, not of the program: they are never changed, and where
 * the program's move on (tasks.ts), these stay.
 */
const unnamed = { priority: 2, attempts: 3, backoff: defaultBackoff, leaseMs: 30_000, timeoutMs: 0 } as const;

function encodeSpec(spec: TaskSpec): string {
  let text = `{"queue":"${spec.queue}","type":"${spec.type}","createdAt":${spec.createdAt}`;
  if (spec.priority !== unnamed.priority) text += `,"priority":${spec.priority}`;
  if (spec.attempts !== unnamed.attempts) text += `,"attempts":${spec.attempts}`;
  if (spec.backoff !== unnamed.backoff) text += `,"backoff":${JSON.stringify(spec.backoff)}`;
  if (spec.leaseMs !== unnamed.leaseMs) text += `,"leaseMs":${spec.leaseMs}`;
  if (spec.timeoutMs !== unnamed.timeoutMs) text += `,"timeoutMs":${spec.timeoutMs}`;
  if (spec.idempotencyKey !== null) text += `,"idempotencyKey":${JSON.stringify(spec.idempotencyKey)}`;
  if (spec.kind !== null) text += `,"kind":"${spec.kind}"`;
  if (spec.capabilities.length > 0) text += `,"capabilities":${JSON.stringify(spec.capabilities)}`;
  if (spec.labels !== noLabels) text += `,"labels":${JSON.stringify(spec.labels)}`;
  if (spec.readyAt !== spec.createdAt) text += `,"readyAt":${spec.readyAt}`;
  return `${text}}\t${spec.payload}`;
}

/** Tasks that came together differ in their payload alone: what stands before it is parsed once for all of them. */
let lastHead = "";
let lastParsed = JSON.parse("{}");
function parsedHead(head: string) {
  if (head !== lastHead) {
    lastParsed = JSON.parse(head);
    lastHead = head;
  }
  return lastParsed;
}

function decodeSpec(id: string, text: string): TaskSpec {
  const tab = text.indexOf("\t");
  const from = parsedHead(text.slice(0, tab));
  const dash = id.indexOf("-");
  return {
    id,
    revision: Number(id.slice(0, dash)),
    number: Number(id.slice(dash + 1)),
    queue: shared(from.queue),
    type: shared(from.type),
    payload: text.slice(tab + 1),
    priority: from.priority ?? unnamed.priority,
    attempts: from.attempts ?? unnamed.attempts,
    backoff: from.backoff ?? unnamed.backoff,
    leaseMs: from.leaseMs ?? unnamed.leaseMs,
    timeoutMs: from.timeoutMs ?? unnamed.timeoutMs,
    idempotencyKey: from.idempotencyKey ?? null,
    kind: from.kind ?? null,
    capabilities: from.capabilities ?? noCapabilities,
    labels: from.labels ?? noLabels,
    createdAt: from.createdAt,
    readyAt: from.readyAt ?? from.createdAt,
  };
}

const none = "";

function encodeRun(run: TaskRecord): string {
  let text = `{"state":"${run.state}","revision":${run.revision}`;
  if (run.attempt !== 0) text += `,"attempt":${run.attempt}`;
  if (run.interruptions !== 0) text += `,"interruptions":${run.interruptions}`;
  if (run.runAt !== 0) text += `,"runAt":${run.runAt}`;
  if (run.workerId !== null) {
    text += `,"workerId":"${run.workerId}","startedAt":${run.startedAt}`;
    // A task that just got its lease has that entry's revision as token.
    if (run.token !== run.revision) text += `,"token":${run.token}`;
    if (run.leaseMs !== run.spec.leaseMs) text += `,"leaseMs":${run.leaseMs}`;
    if (run.deadline !== 0) text += `,"deadline":${run.deadline},"startedClock":${run.startedClock}`;
  }
  if (run.finishedAt !== 0) text += `,"finishedAt":${run.finishedAt}`;
  if (run.error !== null) text += `,"error":${JSON.stringify(run.error)}`;
  if (run.reason !== null) text += `,"reason":${JSON.stringify(run.reason)}`;
  if (run.result === null && run.progress === null) return `${text}}`;
  return `${text}}\t${run.result ?? none}\t${run.progress ?? none}`;
}

function decodeRun(spec: TaskSpec, text: string): TaskRecord {
  const tab = text.indexOf("\t");
  const from = JSON.parse(tab < 0 ? text : text.slice(0, tab));
  const second = tab < 0 ? -1 : text.indexOf("\t", tab + 1);
  const leased = from.workerId !== undefined;
  return {
    spec,
    state: from.state as TaskState,
    attempt: from.attempt ?? 0,
    interruptions: from.interruptions ?? 0,
    runAt: from.runAt ?? 0,
    workerId: from.workerId ?? null,
    token: from.token ?? (leased ? from.revision : 0),
    leaseMs: from.leaseMs ?? (leased ? spec.leaseMs : 0),
    deadline: from.deadline ?? 0,
    startedAt: from.startedAt ?? 0,
    startedClock: from.startedClock ?? 0,
    finishedAt: from.finishedAt ?? 0,
    progress: tab < 0 ? null : text.slice(second + 1) || null,
    result: tab < 0 ? null : text.slice(tab + 1, second) || null,
    error: from.error ?? null,
    reason: from.reason ?? null,
    revision: from.revision,
  };
}

/** Its session and place are the row's name. */
function encodeAnswer(answer: AnswerRecord): string {
  let text = `{"seq":${answer.seq},"operation":"${answer.operation}","at":${answer.at},"revision":${answer.revision}`;
  if (answer.ackedThrough !== 0) text += `,"ackedThrough":${answer.ackedThrough}`;
  if (answer.fingerprint !== 0) text += `,"fingerprint":${answer.fingerprint}`;
  return `${text}}\t${answer.text}`;
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

/** Queue and type names come again and again: one string for each. Cleared when there are too many. */
const names = new Map<string, string>();
function shared(name: string): string {
  const known = names.get(name);
  if (known !== undefined) return known;
  if (names.size > 10_000) names.clear();
  names.set(name, name);
  return name;
}

/** Fills a store from a log's rows and entries, oldest first. It has no logic: it puts and deletes records. */
export class Loader {
  readonly #tasks: Table<TaskRecord>;
  readonly #workers: Table<WorkerRecord>;
  readonly #answers: Table<AnswerRecord>;
  /** Runs in an image that has let go of the task already; the entries after it delete them too. */
  readonly #orphans = new Set<string>();

  constructor(store: Store) {
    this.#tasks = store.table("tasks");
    this.#workers = store.table("workers");
    this.#answers = store.table("answers");
  }

  put(part: string, key: string, text: string): void {
    switch (part) {
      case "task":
        // The spec never changes; an image that is newer than the entry that made the task may hold its run too.
        if (!this.#tasks.has(key)) this.#tasks.restore(key, newRecord(decodeSpec(key, text)));
        if (this.#orphans.size > 0) this.#orphans.delete(key);
        return;
      case "task.run": {
        const known = this.#tasks.get(key);
        if (known === undefined) this.#orphans.add(key);
        else this.#tasks.restore(key, decodeRun(known.spec, text));
        return;
      }
      case "worker":
        this.#workers.restore(key, decodeWorker(text));
        return;
      case "answer":
        this.#answers.restore(key, decodeAnswer(key, text));
        return;
      default:
        throw new Error(`the log holds a part "${part}" that this version does not know`);
    }
  }

  delete(part: string, key: string): void {
    if (part === "task" || part === "task.run") {
      this.#tasks.restore(key, undefined);
      if (this.#orphans.size > 0) this.#orphans.delete(key);
    } else if (part === "worker") this.#workers.restore(key, undefined);
    else if (part === "answer") this.#answers.restore(key, undefined);
    else throw new Error(`the log deletes a part "${part}" that this version does not know`);
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
    for (const key of this.#orphans) throw new Error(`the log holds how task ${key} stands but not the task`);
  }
}
