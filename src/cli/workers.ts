/** `cortexd workers …`: who works, and taking a worker out of service. */
import { type Worker, WorkerList } from "../wire/workers.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { inputOf, optionsOf } from "./options.ts";
import type { Column } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { age, labelsText, moment, number, stateColour } from "./words.ts";

const WORKER = { name: "WORKER", help: "The worker's id." } as const;

const list = command({
  summary: "List the workers by id.",
  arguments: [],
  options: {
    ...optionsOf(WorkerList, ["cursor", "limit"]),
    limit: { type: "integer", min: 1, default: 1000, help: "At most so many." },
  },
  client: true,
  watch: true,
  json: 'one object, {"workers": [...], "cursor": ...}, as GET /api/workers answers; cursor is null when all are there.',
  examples: [
    { words: "workers list", meaning: "A line a worker: what it does and when it was last heard of." },
    { words: "workers list --state offline", meaning: "Those that went silent." },
  ],
  async run({ values, to, out }) {
    const client = rest(to);
    const filter = inputOf(WorkerList, values);
    const pages = pagesOf("workers", values.limit, (asked) => client.workers({ ...filter, ...asked }));
    await out.pages("workers", pages, workerColumns(out.now()), "There are no workers like that.");
    return undefined;
  },
});

export const workerColumns = (now: number): Column<Worker>[] => [
  { title: "WORKER", of: ({ id }) => id, whole: true },
  { title: "STATE", of: ({ state }) => state, colour: ({ state }) => stateColour(state), whole: true },
  { title: "RUNS", of: ({ running, capacity }) => `${running}/${capacity}`, right: true, whole: true },
  { title: "DONE", of: ({ completedCount }) => number(completedCount), right: true, whole: true },
  { title: "FAILED", of: ({ failedCount }) => number(failedCount), right: true, whole: true },
  { title: "SEEN", of: ({ lastSeenAt }) => (lastSeenAt === null ? "-" : age(lastSeenAt, now)), whole: true },
  { title: "KIND", of: ({ kind }) => kind },
  { title: "QUEUES", of: ({ queues }) => queues.join(",") },
  { title: "CAPABILITIES", of: ({ capabilities }) => capabilities.join(",") },
  {
    title: "HEALTH",
    of: ({ health, reasons }) => [health, ...reasons].join("; "),
    colour: ({ healthy }) => (healthy ? null : "yellow"),
  },
];

const show = command({
  summary: "Show everything about one worker.",
  arguments: [WORKER],
  options: {},
  client: true,
  watch: true,
  json: "one object, as GET /api/workers/ID answers.",
  examples: [{ words: "workers show worker-001", meaning: "What it offers, what it holds, how it fares." }],
  async run({ words: [id], to, out }) {
    const worker = await rest(to).worker(id!);
    if (out.json) await out.value(worker);
    else await out.fields(fieldsOf(worker, out.now()));
    return undefined;
  },
});

const drain = command({
  summary: "Give a worker no new tasks; those it holds go on.",
  arguments: [WORKER],
  options: { undo: { type: "flag", help: "Take it back: it gets tasks again." } },
  client: true,
  json: "one object, the worker as it is now.",
  examples: [
    { words: "workers drain worker-001", meaning: "Before its machine is restarted." },
    { words: "workers drain worker-001 --undo", meaning: "After it." },
  ],
  async run({ words: [id], values, to, out }) {
    const worker = await rest(to).drain(id!, !values.undo);
    if (out.json) await out.value(worker);
    else {
      const holds = worker.running === 0 ? "It holds no task" : `It still holds ${number(worker.running)}`;
      await out.line(`${worker.id} is ${out.paint(worker.state, stateColour(worker.state))}. ${holds}.`);
    }
    return undefined;
  },
});

const fieldsOf = (worker: Worker, now: number) =>
  [
    ["Worker", worker.id, "bold"],
    ["State", worker.state, stateColour(worker.state)],
    ["Connected", worker.connected ? "yes: tasks are pushed to it" : "no: it claims, or is assigned"],
    [
      "Health",
      [`${worker.health} (${worker.healthScore} of 100)`, ...worker.reasons].join("\n"),
      worker.healthy ? null : "yellow",
    ],
    ["Runs", `${number(worker.running)} of ${number(worker.capacity)}`],
    ["Kind", worker.kind],
    ["Queues", worker.queues.join(", ")],
    ["Capabilities", worker.capabilities.join(", ") || null],
    ["Labels", labelsText(worker.labels)],
    ["Completed", `${number(worker.completedCount)} since the daemon started`],
    ["Failed", `${number(worker.failedCount)} since the daemon started`],
    ["Registered", moment(worker.registeredAt, now)],
    ["Last seen", moment(worker.lastSeenAt, now) ?? "not since the daemon started"],
    ["Instance", worker.instanceId],
    ["Revision", String(worker.revision)],
  ] as const;

export const workers: Group = {
  summary: "Who works.",
  commands: { list, show, drain },
};
