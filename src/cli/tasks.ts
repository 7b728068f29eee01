/**
 * `cortexd tasks …`: submitting tasks, looking at them, waiting for them; bulk.ts changes and ends them. What a task or
 * a filter may say is read off the wire's schemas; where several tasks are named, each has its own outcome and none
 * stops the rest.
 */
import { readLog } from "../../client/logs.ts";
import type { RestClient } from "../../client/rest.ts";
import { durationText } from "../config.ts";
import { ArchiveList } from "../wire/archive.ts";
import { limits } from "../wire/limits.ts";
import { type Task, TaskList, type TaskShown, TaskSubmit } from "../wire/tasks.ts";
import { traceOf } from "../wire/trace.ts";
import type { Reason, TaskExplained } from "../wire/why.ts";
import { cancel, close, move, remove, retry } from "./bulk.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { Exit } from "./exit.ts";
import { graphInWords, treeOf, waitedFor } from "./graphs.ts";
import { importTasks } from "./import.ts";
import { payloadOf } from "./input.ts";
import { inputOf, optionsOf } from "./options.ts";
import { type Colour, type Column, type Output, shown } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { age, backoffInWords, labelsText, moment, span, stateColour } from "./words.ts";

const TASKS = { name: "TASK", help: "A task's id, such as 1042-0; as many as wanted.", many: true } as const;

const submit = command({
  summary: "Submit a task.",
  arguments: [
    { name: "TYPE", help: "What is to be done; a worker chooses its handler by it." },
    {
      name: "PAYLOAD",
      help: "JSON; @FILE: the JSON in the file; -: the JSON on standard input. Default null.",
      optional: true,
    },
  ],
  options: optionsOf(TaskSubmit, ["type", "payload", "trace"]),
  client: true,
  json: "one object, the task, as POST /api/tasks answers.",
  examples: [
    {
      words: `tasks submit send '{"to": "ada@example.org"}' --queue mail --priority high`,
      meaning: "The answer, the task's id, comes once the task is as safe as the daemon's preset makes it.",
    },
    {
      words: "tasks submit render @scene.json --delay 5m --attempts 1",
      meaning: "Not before five minutes are over.",
    },
    {
      words: "tasks wait $(cortexd tasks submit build --json | jq -r .id)",
      meaning: "Submit, and wait for the result.",
    },
  ],
  async run({ words: [type, payload], values, to, out }) {
    const input = { ...inputOf(TaskSubmit, values), type: type! };
    if (payload !== undefined) input.payload = await payloadOf(payload);
    const { TRACEPARENT: traceparent, TRACESTATE: tracestate } = process.env;
    const trace = traceOf(traceparent, tracestate);
    if (trace !== null) input.trace = trace;
    const task = await rest(to).submit(input);
    if (out.json) await out.value(task);
    else {
      const where = "queue" in task ? ` in ${task.queue}` : ", and kept no more";
      await out.line(`${task.id}  ${out.paint(task.state, stateColour(task.state))}${where}`);
    }
    return undefined;
  },
});

const list = command({
  summary: "List tasks, newest first.",
  arguments: [],
  options: {
    ...optionsOf(TaskList, ["cursor", "limit"]),
    limit: { type: "integer", min: 1, default: 50, help: "At most so many; read page by page. (default 50)" },
  },
  client: true,
  watch: true,
  json: 'one object, {"tasks": [...], "cursor": ...}, as GET /api/tasks answers, written as it is read; cursor is null when all are there.',
  examples: [
    { words: "tasks list --queue mail --state dead", meaning: "What needs somebody's look." },
    { words: "tasks list --limit 1000000 --json > tasks.json", meaning: "All of them; memory stays small." },
  ],
  async run({ values, to, out }) {
    const client = rest(to);
    const filter = inputOf(TaskList, values);
    const pages = pagesOf("tasks", values.limit, (asked) => client.tasks({ ...filter, ...asked }));
    await out.pages("tasks", pages, taskColumns(out.now()), "There are no tasks like that.");
    return undefined;
  },
});

const archived = command({
  summary: "Search the tasks that have ended and left memory, newest end first.",
  arguments: [],
  options: {
    ...optionsOf(ArchiveList, ["cursor", "limit"]),
    limit: { type: "integer", min: 1, default: 50, help: "At most so many; read page by page. (default 50)" },
  },
  client: true,
  json: 'one object, {"tasks": [...], "cursor": ...}, as GET /api/archive answers, written as it is read; cursor is null when all are there.',
  examples: [
    { words: "tasks archived --queue mail --state dead", meaning: "What went wrong, also long ago." },
    {
      words: "tasks archived --key order-1138 --json | jq .tasks[0].result",
      meaning: "What came of the task that was submitted with this idempotency key.",
    },
  ],
  async run({ values, to, out }) {
    const client = rest(to);
    const filter = inputOf(ArchiveList, values);
    const pages = pagesOf("tasks", values.limit, (asked) => client.archived({ ...filter, ...asked }));
    await out.pages("tasks", pages, archivedColumns(out.now()), "There are no archived tasks like that.");
    return undefined;
  },
});

const archivedColumns = (now: number): Column<Task>[] => [
  ...taskColumns(now).filter(({ title }) => title !== "PRIORITY" && title !== "CREATED" && title !== "ABOUT"),
  { title: "FINISHED", of: ({ finishedAt }) => age(finishedAt ?? 0, now), whole: true },
  { title: "ABOUT", of: (task) => aboutOf(task, now), colour: () => "dim" },
];

export const taskColumns = (now: number): Column<Task>[] => [
  { title: "TASK", of: ({ id }) => id, whole: true },
  { title: "STATE", of: ({ state }) => state, colour: ({ state }) => stateColour(state), whole: true },
  { title: "QUEUE", of: ({ queue }) => queue },
  { title: "TYPE", of: ({ type }) => type },
  { title: "PRIORITY", of: ({ priority }) => priority, whole: true },
  { title: "ATTEMPT", of: ({ attempt, attempts }) => `${attempt}/${attempts}`, right: true, whole: true },
  { title: "CREATED", of: ({ createdAt }) => age(createdAt, now), whole: true },
  { title: "ABOUT", of: (task) => aboutOf(task, now), colour: () => "dim" },
];

/** What is most worth knowing of it now, on one line. */
function aboutOf({ state, lease, graph, runAt, error, reason, payload }: Task, now: number): string {
  if (lease !== null) return `on ${lease.workerId}`;
  if (state === "blocked" && graph !== null) return `waits for ${waitedFor(graph)}`;
  if (state === "scheduled" && runAt !== null) return `runs ${age(runAt, now)}`;
  return error?.message ?? reason ?? (payload === null ? "" : JSON.stringify(payload));
}

const show = command({
  summary: "Show everything about one task.",
  arguments: [{ name: "TASK", help: "Its id." }],
  options: {},
  client: true,
  watch: true,
  json: "one object, as GET /api/tasks/ID answers.",
  examples: [
    {
      words: "tasks show 1042-0",
      meaning: "What it is, how it stands, what came of it, and what it waits for.",
    },
  ],
  async run({ words: [id], to, out }) {
    const task = await rest(to).task(id!);
    if (out.json) await out.value(task);
    else {
      const tree = task.graph === null || task.graph.total === 0 ? null : await treeOf(rest(to), task);
      await out.fields([...fieldsOf(task, out.now()), ["Tree", tree]]);
    }
    return undefined;
  },
});

const json = (value: unknown) =>
  value === null || value === undefined ? null : JSON.stringify(value, null, 2);

/** The newest attempt's error is shown in full above; of those before it the stacks are in the JSON. */
const errorsInWords = (errors: TaskShown["errors"], now: number) =>
  errors
    .map(({ attempt, at, workerId, message, code }) =>
      [`${attempt}.`, moment(at, now), `on ${workerId}:`, message, code && `(${code})`]
        .filter(Boolean)
        .join(" "),
    )
    .join("\n") || null;

type Field = readonly [name: string, value: string | null, colour?: Colour | null];

const fieldsOf = (task: TaskShown, now: number): Field[] => [
  ["Task", task.id, "bold"],
  ["State", task.state, stateColour(task.state)],
  ["Because", task.reason],
  [
    "Error",
    task.error && [task.error.message, task.error.code, task.error.stack].filter(Boolean).join("\n"),
    "red",
  ],
  ["Attempts failed", errorsInWords(task.errors, now)],
  ["Result", json(task.result)],
  ["Progress", json(task.progress)],
  ["Queue", task.queue],
  ["Type", task.type],
  ["Payload", json(task.payload) ?? "null"],
  ["Priority", task.priority],
  ["Attempt", `${task.attempt} of ${task.attempts}`],
  [
    "Interrupted",
    task.interruptions === 0 ? null : `${task.interruptions} times, by a worker that went silent`,
  ],
  [
    "Lease",
    task.lease &&
      `${task.lease.workerId}, token ${task.lease.token}, until ${moment(task.lease.deadlineAt, now)}`,
  ],
  ["Parent", task.graph?.parentId ?? null],
  ["Waits for", task.graph === null || task.graph.total === 0 ? null : graphInWords(task.graph)],
  ["Created", moment(task.createdAt, now)],
  ["Runs", moment(task.runAt, now)],
  ["Started", moment(task.startedAt, now)],
  ["Finished", moment(task.finishedAt, now)],
  ["Backoff", backoffInWords(task.backoff)],
  ["Final", task.finalCodes.join(", ") || null],
  ["Retried", task.retryCodes && (task.retryCodes.join(", ") || "no error")],
  ["Silence", `${durationText(task.leaseMs)} allowed`],
  ["Expires", moment(task.expiresAt, now)],
  ["Deadline", moment(task.deadlineAt, now)],
  ["Time-out", task.timeoutMs === null ? null : durationText(task.timeoutMs)],
  ["Kind", task.kind],
  ["Capabilities", task.capabilities.join(", ") || null],
  ["Requires", task.requires.join(", ") || null],
  ["Prefers", task.prefers.join(", ") || null],
  ["Slots", task.slots === 1 ? null : String(task.slots)],
  ["Worker", task.workerId && `${task.workerId} alone`],
  ["Sticky", task.sticky && `${task.sticky}, for ${durationText(task.stickyMs ?? 0)}`],
  ["Labels", labelsText(task.labels)],
  ["Trace", task.trace?.traceparent ?? null],
  ["Key", task.idempotencyKey],
  ["Revision", String(task.revision)],
  ["Archived", task.archived ? "it has left memory; `cortexd tasks retry` brings it back" : null],
];

const logs = command({
  summary: "Show what a task's handler has to say.",
  arguments: [{ name: "TASK", help: "Its id." }],
  options: {
    follow: { type: "flag", help: "Go on as lines come, until the task has ended." },
    from: { type: "integer", min: 0, help: "From the line of this number on. (default 0)" },
  },
  client: true,
  json: 'a line a line of the log (NDJSON), {"number", "at", "attempt", "text"}, as they come.',
  examples: [
    { words: "tasks logs 1042-0", meaning: "The newest thousand lines, or what of them is kept." },
    { words: "tasks logs 1042-0 --follow", meaning: "Look on while it runs." },
  ],
  async run({ words: [id], values, to, out }) {
    const client = rest(to);
    const read = (from: number, wait: boolean) =>
      client.logs(id!, { from, ...(wait ? { waitMs: limits.waitMsMax } : {}) });
    const hasEnded = async () => !waiting.has((await client.task(id!)).state);
    const options = {
      ...(values.from === undefined ? {} : { from: values.from }),
      follow: values.follow === true,
    };
    for await (const line of readLog(read, hasEnded, options)) {
      if (out.json) await out.value(line);
      else await out.line(`${out.paint(new Date(line.at).toISOString(), "dim")}  ${shown(line.text)}`);
    }
    return undefined;
  },
});

const explain = command({
  summary: "Say why a task is not running.",
  arguments: [{ name: "TASK", help: "Its id." }],
  options: {},
  client: true,
  watch: true,
  json: "one object, as GET /api/tasks/ID/explain answers.",
  examples: [
    { words: "tasks explain 1042-0", meaning: "Every reason, whose doing it is, and what workers lack." },
    {
      words: "tasks explain 1042-0 --json | jq -r '.reasons[].code'",
      meaning: "The reasons' codes alone: concurrency, rate, no-worker, busy, ...",
    },
  ],
  async run({ words: [id], to, out }) {
    const explained = await rest(to).explain(id!);
    if (out.json) await out.value(explained);
    else await out.fields(explainedFields(explained, out.now()));
    return undefined;
  },
});

function explainedFields({ id, state, reasons, workers, asks, ahead }: TaskExplained, now: number): Field[] {
  const { registered, fitting, free } = workers;
  const until = (at: number | null) => (at === null ? "" : ` (until ${moment(at, now)})`);
  const by = ({ code, by }: Reason) =>
    by.length > 0 && (code === "concurrency" || code === "busy") ? `: ${by.join(", ")}` : "";
  const of: Field[] = [
    ["Task", id, "bold"],
    ["State", state, stateColour(state)],
    ...reasons.map((one): Field => ["Because", `${one.detail}${until(one.untilAt)}${by(one)}`]),
  ];
  // What runs or has ended asks for no worker any more.
  if (reasons.some(({ code }) => code === "ended" || code === "running")) return of;
  return [
    ...of,
    ["Ahead", ahead === null ? null : `about ${ahead}`],
    ["Workers", `${registered} registered, ${fitting} of them fit, ${free} of those have room`],
    ...(fitting === 0
      ? asks.map(({ asked, met }): Field => ["Asks", `${asked}: met by ${met} of ${registered}`])
      : []),
  ];
}

const waiting: ReadonlySet<Task["state"]> = new Set(["scheduled", "blocked", "queued", "running"]);

const wait = command({
  summary: "Wait until tasks are completed, failed, dead or cancelled, and print their results.",
  arguments: [TASKS],
  options: {
    timeout: { type: "duration", min: 1, help: "Wait no longer than this, for all of them together." },
  },
  client: true,
  json: "a line a task (NDJSON), the whole task, as each ends.",
  examples: [
    {
      words: "tasks wait 1042-0 --timeout 5m",
      meaning: "Its result; the exit code tells whether it was completed.",
    },
    { words: "tasks wait 1042-0 1043-0", meaning: "Each result, as it comes." },
  ],
  async run({ words, values, to, out }) {
    const client = rest(to);
    const ended = values.timeout === undefined ? null : AbortSignal.timeout(values.timeout);
    let failed = false;
    let late = 0;
    await Promise.all(
      words.map(async (id) => {
        const task = await finished(client, id, ended);
        if (task === null) {
          late++;
          return;
        }
        failed ||= task.state !== "completed";
        await told(task, out, words.length > 1);
      }),
    );
    if (late > 0) {
      throw new Exit(
        "timed-out",
        `${late} of ${words.length} not finished in ${span(values.timeout!)}.`,
        "They go on; give --timeout more, or leave it out.",
      );
    }
    return failed ? "not-completed" : undefined;
  },
});

/** The task once it is in a final state, or null when the time is over. */
async function finished(client: RestClient, id: string, ended: AbortSignal | null): Promise<Task | null> {
  for (;;) {
    try {
      const task = await client.task(id, {
        waitMs: limits.waitMsMax,
        ...(ended === null ? {} : { signal: ended }),
      });
      if (!waiting.has(task.state)) return task;
    } catch (error) {
      if (ended?.aborted) return null;
      throw error;
    }
  }
}

async function told(task: Task, out: Output, several: boolean): Promise<void> {
  if (out.json) return out.value(task);
  const name = several ? `${task.id}  ` : "";
  if (task.state === "completed")
    return out.line(`${name}${JSON.stringify(task.result, null, several ? 0 : 2)}`);
  const why = task.error?.message ?? task.reason ?? "no reason given";
  return out.line(`${name}${out.paint(task.state, stateColour(task.state))}: ${JSON.stringify(why)}`);
}

export const tasks: Group = {
  summary: "Submitting tasks, looking at them, changing and ending them, waiting for them.",
  commands: {
    submit,
    import: importTasks,
    list,
    archived,
    show,
    explain,
    logs,
    cancel,
    retry,
    close,
    move,
    delete: remove,
    wait,
  },
};
