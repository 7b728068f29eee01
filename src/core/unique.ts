/**
 * Uniqueness: what makes two submits the same, and which task has a key. A task that says so holds its key for as long
 * as it waits or is unfinished: that is derived from the tasks, so nothing is written for it and nothing can be left
 * over. A key that is taken for a time is a row of its own, because it may outlive its task. Either is asked in O(1).
 */
import { createHash } from "node:crypto";
import type { TaskState, TaskSubmit, Unique } from "../wire/tasks.ts";
import type { Coordinator } from "./coordinator.ts";
import { invalid, type Refusal } from "./result.ts";
import { isFinal, type TaskRecord } from "./tasks.ts";

/** What a task keeps of it. */
export type UniqueKept = {
  /** A hash of what makes it unique. */
  readonly key: string;
  /** waiting: it has the key until a worker begins it; null: no longer than its row says. */
  readonly while: "waiting" | "unfinished" | null;
};

/** A key that is taken for a time, by its hash. */
export type UniqueRecord = {
  readonly key: string;
  readonly taskId: string;
  readonly until: number;
  /** Where the task is gone, how it had ended; else of no meaning. */
  readonly state: TaskState;
};

/** What such a row takes in memory, about. */
export const uniqueBytes = 300;

/** Whether a task as it stands has its key. */
const holds = ({ spec, state, lease }: TaskRecord): boolean => {
  const { unique } = spec.extras;
  if (unique === null || unique.while === null || isFinal(state)) return false;
  return unique.while === "unfinished" || lease === null;
};

/** Which task has a key because of how it stands. At most one does: who may come back is asked first (`retry`). */
export class Holders {
  readonly #ids = new Map<string, string>();

  change(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    const { spec } = (after ?? before) as TaskRecord;
    if (spec.extras.unique === null) return;
    const { id } = spec;
    const { key } = spec.extras.unique;
    const did = before !== undefined && holds(before);
    const does = after !== undefined && holds(after);
    // A spec that is replaced has the same key: that is how it was found.
    if (does && !did) this.#ids.set(key, id);
    else if (did && !does && this.#ids.get(key) === id) this.#ids.delete(key);
  }

  of(key: string): string | undefined {
    return this.#ids.get(key);
  }

  /** For checks. */
  get size(): number {
    return this.#ids.size;
  }
  has(record: TaskRecord): boolean {
    const { unique } = record.spec.extras;
    return unique !== null && this.#ids.get(unique.key) === record.spec.id;
  }
}

export const holdsKey = holds;

/** The task that has a key: it may be gone. */
export type Known = { id: string; state: TaskState };

export function knownBy(core: Coordinator, { key }: UniqueKept): Known | undefined {
  const row = core.uniques.get(key);
  const id = core.holders.of(key) ?? (row !== undefined && row.until > core.now ? row.taskId : undefined);
  if (id === undefined) return undefined;
  return { id, state: core.tasks.get(id)?.state ?? (row as UniqueRecord).state };
}

/** Inside a transaction: the task was made, and takes its key for as long as it said. */
export function takeKey(core: Coordinator, { spec, state }: TaskRecord, forMs: number | undefined): void {
  const { unique } = spec.extras;
  // What a full backlog dropped at once takes nothing.
  if (unique === null || forMs === undefined || isFinal(state)) return;
  core.uniques.put(unique.key, { key: unique.key, taskId: spec.id, until: core.now + forMs, state });
}

/** Inside a transaction: the task is gone; its key may be taken for longer. */
export function leaveKey(core: Coordinator, { spec, state }: TaskRecord): void {
  const { unique } = spec.extras;
  const row = unique === null ? undefined : core.uniques.get(unique.key);
  if (unique !== null && row?.taskId === spec.id) core.uniques.put(unique.key, { ...row, state });
}

// --- what was asked for -------------------------------------------------------------------------------------

/** What a submit says, checked; null where it says nothing. `payload` is its JSON text. */
export function uniqueOf(
  submit: TaskSubmit,
  unique: Unique,
  queue: string,
  payload: string,
  pointer: string,
): UniqueKept | Refusal {
  const at = `${pointer}/unique`;
  const wrong = refuseUnique(submit, unique, at);
  if (wrong !== null) return wrong;
  const isKeyed = unique.key !== undefined;
  const by = unique.by ?? (isKeyed ? ["queue"] : ["queue", "type", "payload"]);
  const hash = createHash("sha256");
  if (isKeyed) hash.update(`key ${JSON.stringify(unique.key)}\n`);
  const parsed = by.every((part) => Object.hasOwn(ofSubmit, part)) ? null : JSON.parse(payload);
  for (const part of [...by].sort()) {
    const said = ofSubmit[part];
    const value = said === undefined ? valueAt(parsed, part) : said(submit, queue);
    if (value === undefined)
      return invalid(`${at}/by/${by.indexOf(part)}`, `the payload has nothing at ${part}`);
    hash.update(`${part} ${canonical(value)}\n`);
  }
  return { key: hash.digest("hex").slice(0, 32), while: whileOf(unique) };
}

const ofSubmit: Record<string, (submit: TaskSubmit, queue: string) => string | null> = {
  queue: (_, queue) => queue,
  type: ({ type }) => type,
  group: ({ group = null }) => group,
};

function whileOf({ while: given, forMs, debounceMs }: Unique): UniqueKept["while"] {
  if (given !== undefined) return given;
  if (debounceMs !== undefined) return "waiting";
  return forMs === undefined ? "unfinished" : null;
}

function refuseUnique(submit: TaskSubmit, unique: Unique, at: string): Refusal | null {
  const { debounceMs, maxWaitMs } = unique;
  if (submit.idempotencyKey !== undefined)
    return invalid(at, "goes without idempotencyKey: unique.key says the same, and for how long");
  for (const field of ["ref", "after", "parent", "open"] as const)
    if (submit[field] !== undefined)
      return invalid(
        at,
        `goes without ${field}: which task others wait for would depend on what is there already`,
      );
  if (unique.by?.length === 0 && unique.key === undefined)
    return invalid(`${at}/by`, "names nothing, and there is no key: all tasks would be the same");
  if (maxWaitMs !== undefined && debounceMs === undefined)
    return invalid(`${at}/maxWaitMs`, "goes with debounceMs");
  if (debounceMs === undefined) return null;
  if (submit.delayMs !== undefined || submit.runAt !== undefined)
    return invalid(`${at}/debounceMs`, "goes without delayMs and runAt: it says when");
  if (unique.keep === "earlier") return invalid(`${at}/keep`, "is newer with debounceMs");
  if (unique.while === "unfinished") return invalid(`${at}/while`, "is waiting with debounceMs");
  if (unique.forMs !== undefined) return invalid(`${at}/forMs`, "goes without debounceMs");
  if (maxWaitMs !== undefined && maxWaitMs < debounceMs)
    return invalid(`${at}/maxWaitMs`, `is shorter than debounceMs, ${debounceMs}`);
  return null;
}

/** Whether a later submit takes the place of what an earlier one asked for. */
export const keepsNewer = ({ keep, debounceMs }: Unique): boolean =>
  keep === "newer" || debounceMs !== undefined;

/** When a debounced task starts that was first submitted at `createdAt`. */
export const debouncedAt = ({ debounceMs = 0, maxWaitMs }: Unique, createdAt: number, now: number): number =>
  Math.min(now + debounceMs, maxWaitMs === undefined ? Number.POSITIVE_INFINITY : createdAt + maxWaitMs);

/** JSON with the fields of objects in order, so that equal values are equal texts. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, of]) => `${JSON.stringify(name)}:${canonical(of)}`).join(",")}}`;
}

/** What a JSON pointer leads to; undefined: nothing. */
function valueAt(payload: unknown, pointer: string): unknown {
  let at = payload;
  if (pointer === "payload") return at;
  for (const part of pointer.slice(1).split("/")) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}
