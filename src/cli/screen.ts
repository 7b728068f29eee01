/**
 * What `cortexd monitor` shows, as lines of a screen of any size: pure, so that what a person sees is a function of what
 * is known. Figures of a row come first to last by how much a narrow terminal needs them; what does not fit is cut.
 */
import type { Quantiles } from "../lib/durations.ts";
import type { Queue } from "../wire/queues.ts";
import type { Stats } from "../wire/stats.ts";
import type { Task, TaskState } from "../wire/tasks.ts";
import type { Worker } from "../wire/workers.ts";
import { type Colour, type Column, cutTo, Output, type Terminal } from "./output.ts";
import { taskColumns } from "./tasks.ts";
import { number, span, stateColour } from "./words.ts";
import { workerColumns } from "./workers.ts";

export const views = ["queues", "workers", "tasks"] as const;
export type View = (typeof views)[number];
export type Rows = { queues: Queue[]; workers: Worker[]; tasks: Task[] };

/** By what a view may be sorted; the first is what it begins with. */
export const sorts = {
  queues: ["queued", "running", "dead", "name"],
  workers: ["running", "failed", "name"],
  tasks: ["newest"],
} as const satisfies Record<View, readonly string[]>;

export type Model = {
  url: string;
  namespace: string;
  /** Null until there was a connection. */
  version: string | null;
  /** Why nothing new is told; null: it is. */
  cut: string | null;
  /** Oldest first. */
  samples: Stats[];
  view: View;
  sort: Record<View, string>;
  /** The tasks' state that is shown; null: all. */
  filter: TaskState | null;
  /** Null: not read yet. */
  rows: { [V in View]: Rows[V] | null };
  /** The chosen row's id or name. */
  chosen: string | null;
  said: { text: string; colour: Colour | null } | null;
  /** What is asked, to be answered with y. */
  asking: string | null;
  help: boolean;
  now: number;
};

export const idOf = (row: Queue | Worker | Task): string => ("id" in row ? row.id : row.name);

const compare: Record<string, (a: never, b: never) => number> = {
  queued: (a: Queue, b: Queue) => b.counts.queued - a.counts.queued,
  dead: (a: Queue, b: Queue) => b.counts.dead + b.counts.failed - a.counts.dead - a.counts.failed,
  running: (a: Queue | Worker, b: Queue | Worker) => runningOf(b) - runningOf(a),
  failed: (a: Worker, b: Worker) => b.failedCount - a.failedCount,
  name: () => 0,
  newest: () => 0,
};
const runningOf = (row: Queue | Worker) => ("counts" in row ? row.counts.running : row.running);

/** The rows of the view in the order they stand in; those that are equal by their names. */
export function sorted(model: Model): (Queue | Worker | Task)[] | null {
  const rows: (Queue | Worker | Task)[] | null = model.rows[model.view];
  if (rows === null || model.view === "tasks") return rows;
  const by = compare[model.sort[model.view]] as (a: unknown, b: unknown) => number;
  return [...rows].sort((a, b) => by(a, b) || (idOf(a) < idOf(b) ? -1 : 1));
}

/** Where the chosen row stands; without one, or if it is gone, the first. */
export const placeOf = (rows: readonly (Queue | Worker | Task)[], chosen: string | null) =>
  Math.max(
    0,
    rows.findIndex((row) => idOf(row) === chosen),
  );

type Piece = string | readonly [text: string, colour: Colour | null];

export type Look = Terminal & { columns: number; rows: number; unicode: boolean };

export function screen(model: Model, look: Look): string[] {
  const out = new Output(false, look, () => model.now);
  const line = (...pieces: Piece[]) => lineOf(pieces, look.columns, out);
  const top = topOf(model, look, line);
  const foot = footOf(model, line);
  const room = Math.max(0, look.rows - top.length - foot.length);
  const middle = model.help ? helpLines.map((text) => line(text)) : tableOf(model, look, room, line);
  const lines = [...top, ...fitted(middle, room), ...foot];
  const shown = lines.slice(0, look.rows).map((one) => within(one, look.columns));
  return look.unicode ? shown : shown.map((one) => one.replaceAll("…", "~"));
}

const fitted = (lines: readonly string[], room: number) => [
  ...lines.slice(0, room),
  ...Array<string>(Math.max(0, room - lines.length)).fill(""),
];

/** Pieces beside each other, as many as have room; one that is too long is cut. */
function lineOf(pieces: readonly Piece[], columns: number, out: Output): string {
  let left = columns;
  let line = "";
  for (const piece of pieces) {
    if (left <= 0) break;
    const [text, colour] = typeof piece === "string" ? [piece, null] : piece;
    const cut = cutTo(text, left);
    left -= Bun.stringWidth(cut);
    line += out.paint(cut, colour);
  }
  return line;
}

/** A line that is too wide all the same loses its colours with its end. */
const within = (line: string, columns: number) =>
  Bun.stringWidth(line) <= columns ? line : cutTo(Bun.stripANSI(line), columns);

// ------------------------------------------------------------------------------------------------- the figures

type LineOf = (...pieces: Piece[]) => string;

const perSecond = (count: number, { overMs }: Stats) => (1000 * count) / Math.max(1, overMs);
const rate = (value: number) => `${value < 10 && value > 0 ? value.toFixed(1) : number(Math.round(value))}/s`;

/** "0.42 ms", "12 ms", "1.5 s": two figures are enough to see a change. */
export function took(ms: number): string {
  if (ms >= 60_000) return span(ms);
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  return `${ms < 1 ? ms.toFixed(2) : ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
const quantiles = (of: Quantiles | null) => (of === null ? "-" : `p50 ${took(of.p50)}  p99 ${took(of.p99)}`);

const blocks = { unicode: "▁▂▃▄▅▆▇█", plain: "_.:-=+*#" };

/** The newest values as a line of blocks, the largest of them full. */
export function sparkline(values: readonly number[], width: number, unicode: boolean): string {
  const steps = unicode ? blocks.unicode : blocks.plain;
  const shown = values.slice(-width);
  const most = Math.max(...shown, 0);
  const block = (value: number) =>
    most === 0 || value <= 0
      ? steps[0]!
      : steps[Math.max(1, Math.round((value / most) * (steps.length - 1)))]!;
  return shown.map(block).join("");
}

const labelled = (name: string): Piece => [name.padEnd(12), "dim"];
const loud = (count: number, colour: Colour): Colour | null => (count > 0 ? colour : "dim");

function topOf(model: Model, look: Look, line: LineOf): string[] {
  const { samples, cut, version, url, namespace } = model;
  const sample = samples.at(-1);
  const dot = look.unicode ? " · " : " | ";
  const title: Piece[] = [["cortexd", "bold"], version === null ? "" : ` ${version}`, "  "];
  if (cut !== null) title.push([cut, "red"]);
  else if (sample !== undefined) title.push([sample.status, sample.status === "ok" ? "green" : "red"]);
  title.push("  ", url, dot, namespace);
  if (sample !== undefined) title.push(dot, `up ${span(sample.uptimeMs)}`);
  if (sample === undefined) return [line(...title), "", line(["Waiting for the first figures…", "dim"]), ""];

  const { counted, tasks, workers, health, answerMs, waitMs, runMs, sessions, locks, messages } = sample;
  const behind = sample.revision - sample.durableRevision;
  const sick = health.failing + health.quarantined + health.deaf + health.stalled;
  const graph = (of: (sample: Stats) => number): Piece => [
    sparkline(
      samples.map((one) => perSecond(of(one), one)),
      Math.max(0, look.columns - 56),
      look.unicode,
    ),
    "cyan",
  ];
  const each = (count: number) => rate(perSecond(count, sample));
  return [
    line(...title),
    "",
    line(
      labelled("operations"),
      each(counted.operations).padEnd(12),
      [`refused ${each(counted.operationsRefused)}`.padEnd(17), loud(counted.operationsRefused, "yellow")],
      `${quantiles(answerMs)}  `.padEnd(15),
      graph((one) => one.counted.operations),
    ),
    line(
      labelled("tasks"),
      `${each(counted.tasksSubmitted)} in`.padEnd(12),
      `${each(counted.tasksCompleted)} done`.padEnd(17),
      [
        `${each(counted.tasksFailed + counted.tasksDead)} failed`.padEnd(15),
        loud(counted.tasksFailed + counted.tasksDead, "red"),
      ],
      graph((one) => one.counted.tasksCompleted),
    ),
    line(
      labelled("queued"),
      [number(tasks.queued).padEnd(12), "bold"],
      ["running ", "dim"],
      [number(tasks.running).padEnd(9), stateColour("running")],
      ["waited ", "dim"],
      `${quantiles(waitMs)}  `,
      ["ran ", "dim"],
      quantiles(runMs),
    ),
    line(
      labelled("others"),
      `${number(tasks.scheduled)} scheduled, ${number(tasks.blocked)} blocked, ${number(tasks.completed)} completed, `,
      [`${number(tasks.failed)} failed, ${number(tasks.dead)} dead`, loud(tasks.failed + tasks.dead, "red")],
    ),
    line(
      labelled("workers"),
      [`${number(workers.idle)} idle`, stateColour("idle")],
      ", ",
      [`${number(workers.busy)} busy`, stateColour("busy")],
      `, ${number(workers.draining)} draining, `,
      [`${number(workers.offline)} offline`, loud(workers.offline, "red")],
      ", ",
      [`${number(sick)} sick`, loud(sick, "yellow")],
      ["   sessions ", "dim"],
      number(sessions),
    ),
    line(
      labelled("locks"),
      `${number(locks.held)} held, ${number(locks.waiting)} waiting`,
      ["   messages ", "dim"],
      `${number(messages.waiting)} waiting, ${number(messages.inFlight)} in flight, `,
      [`${number(messages.dead)} dead`, loud(messages.dead, "red")],
    ),
    line(
      labelled("log"),
      `revision ${sample.revision}, `,
      behind === 0 ? "all durable" : [`the last ${number(behind)} not durable yet`, "yellow"],
      `, ${number(Math.ceil(sample.logBytes / 1024 ** 2))} MiB`,
      ["   memory ", "dim"],
      `${number(Math.ceil(sample.memoryBytes / 1024 ** 2))} MiB`,
    ),
    "",
  ];
}

// --------------------------------------------------------------------------------------------------- the table

const count = (title: string, of: (queue: Queue) => number, state?: string): Column<Queue> => ({
  title,
  of: (queue) => number(of(queue)),
  right: true,
  whole: true,
  colour: (queue) => (of(queue) === 0 ? "dim" : state === undefined ? null : stateColour(state)),
});
const queueColumns: Column<Queue>[] = [
  { title: "QUEUE", of: ({ name }) => name },
  count("QUEUED", ({ counts }) => counts.queued),
  count("RUNNING", ({ counts }) => counts.running, "running"),
  count("SCHEDULED", ({ counts }) => counts.scheduled),
  count("BLOCKED", ({ counts }) => counts.blocked),
  count("DONE", ({ counts }) => counts.completed),
  count("DEAD", ({ counts }) => counts.dead + counts.failed, "dead"),
  { title: "SHUT", of: ({ shut }) => shut ?? "", colour: () => "yellow" },
];

const empty: Record<View, string> = {
  queues: "There are no queues yet: a queue is there once a task was submitted to it.",
  workers: "No worker is registered.",
  tasks: "There are no tasks like that.",
};

function tableOf(model: Model, look: Look, room: number, line: LineOf): string[] {
  const { view, filter } = model;
  const tabs = views.flatMap((one, i): Piece[] => [
    [`${i + 1} ${one}`, one === view ? "bold" : "dim"],
    "   ",
  ]);
  const how = view === "tasks" ? `${filter ?? "all"}, newest first` : `by ${model.sort[view]}`;
  const rows = sorted(model);
  const bar = line(...tabs, [rows === null ? "" : `${number(rows.length)}, ${how}`, "dim"]);
  if (rows === null) return [bar, line(["Reading…", "dim"])];
  if (rows.length === 0) return [bar, line([empty[view], "dim"])];
  // The bar and the titles take a line each.
  const shown = Math.max(1, room - 2);
  const at = placeOf(rows, model.chosen);
  const first = Math.min(Math.max(0, at - Math.floor(shown / 2)), Math.max(0, rows.length - shown));
  const page = rows.slice(first, first + shown);
  const mark: Column<Queue | Worker | Task> = {
    title: " ",
    of: (row) => (row === rows[at] ? ">" : " "),
    colour: () => "bold",
    whole: true,
  };
  const columns: Record<View, Column<never>[]> = {
    queues: queueColumns,
    workers: workerColumns(model.now).filter(({ title }) => title !== "KIND" && title !== "CAPABILITIES"),
    tasks: taskColumns(model.now).filter(({ title }) => title !== "PRIORITY"),
  };
  const out = new Output(false, look, () => model.now);
  const table = out.tableText(page, [mark, ...(columns[view] as Column<Queue | Worker | Task>[])]);
  return [bar, ...table.split("\n")];
}

const helpLines = [
  "1 2 3, Tab      queues, workers, tasks",
  "Up Down, j k    choose a row; PgUp PgDn Home End",
  "s               sort by something else",
  "f               tasks: show those of the next state",
  "p               queues: pause the chosen one, or let it go on",
  "d               workers: drain the chosen one, or take that back",
  "r               tasks: retry the chosen one; queues: retry all its dead and failed tasks",
  "c               tasks: cancel the chosen one",
  "?               this; any key leaves it",
  "q, Ctrl-C       quit",
];

const keys: Record<View, string> = {
  queues: "p pause  r retry its dead",
  workers: "d drain",
  tasks: "r retry  c cancel  f filter",
};

function footOf({ said, asking, view, help }: Model, line: LineOf): string[] {
  if (asking !== null) return [line([`${asking} (y, or any other key for no)`, "yellow"])];
  if (said !== null) return [line([said.text, said.colour])];
  if (help) return [line(["any key goes back", "dim"])];
  return [line([`Tab view  Up Down choose  ${keys[view]}  s sort  ? help  q quit`, "dim"])];
}
