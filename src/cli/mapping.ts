/**
 * What a task of another system means here: one table of the names that fields go by, from which reading, `--help`
 * and docs/IMPORT.md come. Nothing of a task is lost in silence: a field that is in no row stays in the payload, and
 * what cannot be understood refuses the task with the reason. Pure: the moment of the import comes in from outside.
 */
import { readDuration } from "../config.ts";
import { withinDepth } from "../lib/json.ts";
import { limits } from "../wire/limits.ts";
import { type Priority, priorities, TaskSubmit } from "../wire/tasks.ts";

type Source = Record<string, unknown>;

/** A field cannot be understood; the message says why. */
class Unclear extends Error {}

export type Row = {
  field: string;
  /** Case, `_` and `-` make no difference. The first that is there is meant; the others are like any unknown field. */
  names: readonly string[];
  help: string;
};

/** In the order in which they look for their names. */
export const mapping = [
  {
    field: "queue",
    names: ["queue", "queueName", "topic", "channel"],
    help: "The queue; without one --queue, else `default`.",
  },
  {
    field: "type",
    names: ["type", "name", "jobName", "jobType", "taskName", "taskType", "action", "task", "job", "kind"],
    help: "What is to be done; without one --type.",
  },
  {
    field: "payload",
    names: ["payload", "data", "args", "params", "input", "body"],
    help: "The payload. Fields in no row of this table are added to it; without it they are the payload.",
  },
  {
    field: "priority",
    names: ["priority", "prio", "urgency"],
    help: "A word (critical, urgent, high, normal, medium, low, background, …), or a number of which larger is more urgent: from 9 critical, 7 high, 3 normal, below low. --priority 1=critical says otherwise.",
  },
  {
    field: "attempts",
    names: ["maxAttempts", "attempts", "maxTries"],
    help: "How often it may be tried. 0 counts what was tried already, and means the default.",
  },
  {
    field: "retries",
    names: ["maxRetries", "retryLimit", "retries"],
    help: "How often it may be tried again after the first time: attempts is one more.",
  },
  {
    field: "delay",
    names: ["delay", "delayMs"],
    help: "From now, in ms, or a text such as 30s, 5m.",
  },
  {
    field: "runAt",
    names: ["runAt", "scheduledFor", "scheduledAt", "notBefore", "startAfter", "eta"],
    help: "A moment: a date as text, or seconds or ms since 1970. One that is over means at once.",
  },
  {
    field: "idempotencyKey",
    names: ["idempotencyKey", "dedupeKey", "uniqueKey", "id", "_id", "uuid", "jobId", "taskId"],
    help: "Text or number. A task whose key its queue knows is not made again. Without one the key is made of the content.",
  },
  {
    field: "timeout",
    names: ["timeout", "timeoutMs"],
    help: "The longest an attempt may run, in ms, or a text such as 5m.",
  },
  {
    field: "ttl",
    names: ["ttl", "ttlMs"],
    help: "How long it may wait to be begun, in ms, or a text such as 1h.",
  },
  {
    field: "deadline",
    names: ["deadline", "deadlineAt"],
    help: "The moment by which it must have ended; written as that of runAt.",
  },
  { field: "lease", names: ["leaseMs", "lease"], help: "The silence allowed, in ms, or a text such as 30s." },
  {
    field: "backoff",
    names: ["backoff"],
    help: "ms between attempts, or an object of strategy (or type) and delayMs (or delay).",
  },
  { field: "finalCodes", names: ["finalCodes"], help: "Codes of errors that end it: a list of names." },
  {
    field: "retryCodes",
    names: ["retryCodes"],
    help: "Codes of errors after which alone it is tried again: a list of names.",
  },
  {
    field: "interruptionsMax",
    names: ["interruptionsMax"],
    help: "How often its worker may go silent before it is dead.",
  },
  {
    field: "capabilities",
    names: ["capabilities", "requires"],
    help: "What a worker must have: a list of names, or a text with commas.",
  },
  { field: "kind", names: ["kind", "workerKind"], help: "The kind of worker, where it is not the type." },
  { field: "labels", names: ["labels"], help: "An object of texts." },
  { field: "group", names: ["group"], help: "Whose task it is, for fair turns and limits per group." },
  { field: "limits", names: ["limits"], help: "The limits it counts against: a list of names." },
  {
    field: "state",
    names: ["status", "state", "completed", "done"],
    help: "What is done or cancelled is left out and counted; what failed too, unless --failed takes it. What is waiting, scheduled or running is imported.",
  },
] as const satisfies readonly Row[];
type Field = (typeof mapping)[number]["field"];

/** A name or a word as it is compared. */
const plain = (name: string) => name.toLowerCase().replace(/(?<=.)[_\- ]/g, "");

const stateWords: Record<"open" | "completed" | "cancelled" | "failed", readonly string[]> = {
  open: [
    ...["pending", "queued", "waiting", "ready", "new", "to-do", "open", "created", "scheduled", "delayed"],
    ...[
      "running",
      "processing",
      "inprogress",
      "active",
      "claimed",
      "assigned",
      "retry",
      "retrying",
      "started",
    ],
  ],
  completed: ["completed", "complete", "done", "finished", "success", "succeeded", "successful"],
  cancelled: ["cancelled", "canceled", "aborted", "skipped", "removed"],
  failed: ["failed", "failure", "error", "errored", "dead"],
};
const priorityWords: Record<Priority, readonly string[]> = {
  critical: ["critical", "urgent", "highest", "immediate", "p0"],
  high: ["high", "important", "p1"],
  normal: ["normal", "medium", "default", "p2"],
  low: ["low", "lowest", "background", "minor", "p3"],
};

export type MappingOptions = {
  queue: string | undefined;
  type: string | undefined;
  /** Names of a file's fields, by the field of the table that they mean. */
  fields: Readonly<Record<string, string>>;
  /** Names of fields that are left out. */
  without: readonly string[];
  /** The word for a value of a file's priority. */
  priorities: Readonly<Record<string, string>>;
  failed: boolean;
};

export type Mapped =
  | { task: TaskSubmit }
  | { skipped: "completed" | "cancelled" | "failed" }
  | { problem: string };

/** Reads the options once; what is wrong with them is told by `problems`. */
export class Mapping {
  readonly problems: string[] = [];
  /** The fields' names as they are looked for. */
  readonly #names: readonly (readonly [Field, readonly string[]])[];
  readonly #without: ReadonlySet<string>;
  /** How often an element with this content came, by a number made of it. */
  readonly #seen = new Map<number, number>();

  constructor(private readonly options: MappingOptions) {
    for (const field of Object.keys(options.fields)) {
      if (!mapping.some((row) => row.field === field))
        this.problems.push(`--map ${field}=…: the fields are ${mapping.map((row) => row.field).join(", ")}`);
    }
    for (const word of Object.values(options.priorities)) {
      if (!(priorities as readonly string[]).includes(word))
        this.problems.push(`--priority …=${word}: the priorities are ${priorities.join(", ")}`);
    }
    this.#names = mapping.map(({ field, names }) => {
      const given = options.fields[field];
      return [field, (given === undefined ? names : [given]).map(plain)];
    });
    this.#without = new Set(options.without.map(plain));
  }

  /** The task that an element means; `now` is the wall clock. */
  map(element: unknown, now: number): Mapped {
    try {
      return this.#map(element, now);
    } catch (error) {
      if (error instanceof Unclear) return { problem: error.message };
      throw error;
    }
  }

  #map(element: unknown, now: number): Mapped {
    if (!withinDepth(element, limits.depthMax + 1))
      throw new Unclear(`it nests deeper than ${limits.depthMax} levels`);
    const source: Source =
      typeof element === "object" && element !== null && !Array.isArray(element)
        ? (element as Source)
        : { payload: element };
    const { found, rest } = this.#sorted(source);
    const get = (field: Field) => found.get(field)?.value;

    const isOwn = ownTask(source);
    if (isOwn && source.state === "blocked")
      throw new Unclear("it waits for other tasks, which would not be found here; submit the graph again");
    const state = stateOf(found.get("state"));
    if (state === "completed" || state === "cancelled" || (state === "failed" && !this.options.failed))
      return { skipped: state };
    if (isOwn) return { task: this.#again(source) };

    const type = textOf(found.get("type")) ?? this.options.type;
    if (type === undefined) throw new Unclear("it has no type; --type gives one to all that have none");
    const task: TaskSubmit = {
      type,
      idempotencyKey: textOf(found.get("idempotencyKey")) ?? this.#keyOf(element),
    };
    const queue = textOf(found.get("queue")) ?? this.options.queue;
    if (queue !== undefined) task.queue = queue;
    const payload = payloadOf(found.get("payload"), rest);
    if (payload !== undefined) task.payload = payload;
    const priority = get("priority");
    if (priority !== undefined) task.priority = this.#priorityOf(priority);
    const attempts = attemptsOf(found.get("attempts"), found.get("retries"));
    if (attempts !== undefined) task.attempts = attempts;
    const delayMs = delayOf(found.get("delay"), found.get("runAt"), now);
    if (delayMs !== undefined) task.delayMs = delayMs;
    const timeoutMs = durationOf(found.get("timeout"));
    if (timeoutMs !== undefined) task.timeoutMs = timeoutMs;
    const ttlMs = durationOf(found.get("ttl"));
    if (ttlMs !== undefined) task.ttlMs = ttlMs;
    const deadlineAt = momentOf(found.get("deadline"));
    if (deadlineAt !== undefined) task.deadlineAt = deadlineAt;
    const leaseMs = durationOf(found.get("lease"));
    if (leaseMs !== undefined) task.leaseMs = leaseMs;
    const backoff = backoffOf(found.get("backoff"));
    if (backoff !== undefined) task.backoff = backoff;
    const finalCodes = namesOf(found.get("finalCodes"));
    if (finalCodes.length > 0) task.finalCodes = finalCodes;
    if (found.has("retryCodes")) task.retryCodes = namesOf(found.get("retryCodes"));
    const interruptionsMax = get("interruptionsMax");
    if (interruptionsMax !== undefined) task.interruptionsMax = interruptionsMax as number;
    const capabilities = namesOf(found.get("capabilities"));
    if (capabilities.length > 0) task.capabilities = capabilities;
    const kind = textOf(found.get("kind"));
    if (kind !== undefined) task.kind = kind;
    const group = textOf(found.get("group"));
    if (group !== undefined) task.group = group;
    const limitNames = namesOf(found.get("limits"));
    if (limitNames.length > 0) task.limits = limitNames;
    const labels = get("labels");
    if (labels !== undefined) task.labels = labels as Record<string, string>;
    return { task };
  }

  /** A task of ours: what it was submitted with has the same names, and the rest of it is its past. */
  #again(source: Source): TaskSubmit {
    const task: Source = {};
    for (const name of Object.keys(TaskSubmit.properties)) {
      const value = source[name];
      if (value !== undefined && value !== null && !this.#without.has(plain(name))) task[name] = value;
    }
    task.idempotencyKey ??= source.id;
    return task as TaskSubmit;
  }

  /** The fields that the table knows, and what is left. A field that is null is not there. */
  #sorted(source: Source): { found: Map<Field, Named>; rest: [string, unknown][] } {
    const names = new Map<string, string>();
    const rest = new Map<string, unknown>();
    for (const [name, value] of Object.entries(source)) {
      if (this.#without.has(plain(name))) continue;
      rest.set(name, value);
      if (value !== null && !names.has(plain(name))) names.set(plain(name), name);
    }
    const found = new Map<Field, Named>();
    for (const [field, known] of this.#names) {
      const name = known
        .map((one) => names.get(one))
        .find((one) => one !== undefined && rest.has(one) && fits(field, source[one]));
      if (name === undefined) continue;
      found.set(field, { name, value: source[name] });
      rest.delete(name);
    }
    // A known field that is null says nothing; with attempts allowed beside them, counts of attempts neither.
    const said = new Set(this.#names.flatMap(([, known]) => known));
    const counts = found.has("attempts") || found.has("retries") ? ["attempts", "retries"] : [];
    for (const [name, value] of rest)
      if ((value === null && said.has(plain(name))) || counts.includes(plain(name))) rest.delete(name);
    return { found, rest: [...rest] };
  }

  #priorityOf(value: unknown): Priority {
    const given = this.options.priorities[String(value)];
    if (given !== undefined) return given as Priority;
    if (typeof value === "number" || (typeof value === "string" && /^-?[0-9]+$/.test(value))) {
      const number = Number(value);
      return number >= 9 ? "critical" : number >= 7 ? "high" : number >= 3 ? "normal" : "low";
    }
    const word = typeof value === "string" ? plain(value) : "";
    const known = priorities.find((one) => priorityWords[one].includes(word));
    if (known !== undefined) return known;
    throw new Unclear(`priority is ${shownJson(value)}; say what it means: --priority VALUE=WORD`);
  }

  /** Of the same content, the first, the second and so on have keys of their own, the same in every run. */
  #keyOf(element: unknown): string {
    const text = JSON.stringify(element);
    const number = Number(BigInt.asUintN(53, Bun.hash.wyhash(text)));
    const count = this.#seen.get(number) ?? 0;
    this.#seen.set(number, count + 1);
    const sum = new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 32);
    return count === 0 ? `import:${sum}` : `import:${sum}:${count}`;
  }
}

/** Names such as `task` and `topic` mean other things too: these fields are found by what they hold as well. */
const fits = (field: Field, value: unknown) =>
  !(["queue", "type", "kind", "group", "idempotencyKey"] as Field[]).includes(field) ||
  typeof value === "string" ||
  typeof value === "number";

type Named = { name: string; value: unknown };

/** As `cortexd tasks list --json` prints it. */
const ownTask = ({ id, revision, state }: Source) =>
  typeof id === "string" &&
  /^[0-9]+-[0-9]+$/.test(id) &&
  Number.isInteger(revision) &&
  typeof state === "string";

const shownJson = (value: unknown) => {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
};

function stateOf(field: Named | undefined): keyof typeof stateWords {
  if (field === undefined || field.value === false) return "open";
  if (field.value === true) return "completed";
  const word = plain(String(field.value));
  for (const state of ["open", "completed", "cancelled", "failed"] as const)
    if (stateWords[state].some((known) => plain(known) === word)) return state;
  throw new Unclear(
    `${field.name} is ${shownJson(field.value)}: nobody can tell whether it is still to be done; --without ${field.name} leaves the field out`,
  );
}

function textOf(field: Named | undefined): string | undefined {
  return field === undefined ? undefined : String(field.value);
}

/** The payload with what else the element holds. */
function payloadOf(field: Named | undefined, rest: [string, unknown][]): unknown {
  if (rest.length === 0) return field?.value;
  if (field === undefined) return Object.fromEntries(rest);
  const { name, value } = field;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return Object.fromEntries([[name, value], ...rest]);
  const twice = rest.find(
    ([other, beside]) => Object.hasOwn(value, other) && !Bun.deepEquals((value as Source)[other], beside),
  );
  if (twice !== undefined)
    throw new Unclear(
      `${twice[0]} stands in ${name} and beside it, with different values; --without ${twice[0]} leaves out the one beside it`,
    );
  return Object.fromEntries([...Object.entries(value), ...rest]);
}

function countOf({ name, value }: Named): number {
  const count = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof count === "number" && Number.isInteger(count) && count >= 0) return count;
  throw new Unclear(`${name} is ${shownJson(value)}; a whole number is needed`);
}

function attemptsOf(attempts: Named | undefined, retries: Named | undefined): number | undefined {
  if (attempts !== undefined && countOf(attempts) > 0) return countOf(attempts);
  return retries === undefined ? undefined : countOf(retries) + 1;
}

function durationOf(field: Named | undefined): number | undefined {
  if (field === undefined) return undefined;
  const { name, value } = field;
  const ms = typeof value === "string" ? readDuration(value) : value;
  if (typeof ms === "number" && Number.isFinite(ms) && ms >= 0) return Math.round(ms);
  throw new Unclear(`${name} is ${shownJson(value)}; ms or a time such as 30s is needed`);
}

/** A number of seconds since 1970 stays below this for the next three thousand years; one in ms passed it in 1973. */
const secondsMax = 1e11;

function delayOf(delay: Named | undefined, runAt: Named | undefined, now: number): number | undefined {
  const at = momentOf(runAt);
  return at === undefined ? durationOf(delay) : Math.max(0, at - now);
}

function momentOf(field: Named | undefined): number | undefined {
  if (field === undefined) return undefined;
  const { name, value } = field;
  const at =
    typeof value === "number"
      ? value < secondsMax
        ? value * 1000
        : value
      : typeof value === "string"
        ? Date.parse(value)
        : Number.NaN;
  if (Number.isNaN(at))
    throw new Unclear(`${name} is ${shownJson(value)}; a date or ms since 1970 is needed`);
  return Math.round(at);
}

function backoffOf(field: Named | undefined): TaskSubmit["backoff"] | undefined {
  if (field === undefined) return undefined;
  const { value } = field;
  if (typeof value !== "object" || value === null)
    return { strategy: "fixed", delayMs: durationOf(field) as number };
  // What else it holds is for the schema to take or to refuse.
  const { type, delay, ...own } = value as Source;
  const renamed: Source = { ...own };
  if (type !== undefined) renamed.strategy ??= type;
  if (delay !== undefined) renamed.delayMs ??= durationOf({ name: "backoff.delay", value: delay });
  return renamed as TaskSubmit["backoff"];
}

function namesOf(field: Named | undefined): string[] {
  if (field === undefined) return [];
  const { name, value } = field;
  if (typeof value === "string")
    return value
      .split(",")
      .map((one) => one.trim())
      .filter((one) => one !== "");
  if (Array.isArray(value)) return value as string[];
  throw new Unclear(`${name} is ${shownJson(value)}; a list of names is needed`);
}
