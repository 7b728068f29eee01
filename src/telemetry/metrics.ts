/**
 * Metrics, each declared once in one table; a name that is not in it does not compile. Counting is
 * `metrics.tasksSubmitted++` on a plain object of numbers, and formatting happens only when somebody scrapes.
 * What the state knows anyway (queued tasks, workers) is never counted a second time: it is handed in, as
 * readings, at the moment of the scrape.
 */
import { boundsInSeconds, Histogram } from "../lib/histogram.ts";

type Row = {
  /** counter: only grows. gauge: goes up and down, changed where it happens. reading: a gauge handed in at the scrape. */
  type: "counter" | "gauge" | "reading";
  /** The part of the JSON it stands in. */
  part: "daemon" | "store" | "bus";
  unit: "" | "bytes" | "ms";
  help: string;
  /** Rows of one family are one Prometheus metric, told apart by this label. */
  family?: { name: string; label: string; value: string };
};

const tasksIn = (value: string) => ({ name: "tasks", label: "state", value });
const workersIn = (value: string) => ({ name: "workers", label: "state", value });

const sickWorkers = (value: string) => ({ name: "workersSick", label: "health", value });
const sickRow = { type: "reading", part: "daemon", unit: "", help: "Workers that are not healthy." } as const;

export const metricTable = {
  uptimeMs: { type: "reading", part: "daemon", unit: "ms", help: "Time since the daemon started." },
  memoryBytes: { type: "reading", part: "daemon", unit: "bytes", help: "Resident memory of the process." },

  namespaces: { type: "reading", part: "daemon", unit: "", help: "Namespaces there are." },

  tasksSubmitted: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Tasks submitted, duplicates not counted.",
  },
  tasksLeased: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Leases made: pushed, claimed or assigned.",
  },
  tasksCompleted: { type: "counter", part: "daemon", unit: "", help: "Tasks completed." },
  tasksRetried: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Failed attempts that will be tried again.",
  },
  tasksFailed: { type: "counter", part: "daemon", unit: "", help: "Tasks that ended by a final error." },
  tasksDead: { type: "counter", part: "daemon", unit: "", help: "Tasks out of attempts or interruptions." },
  tasksCancelled: { type: "counter", part: "daemon", unit: "", help: "Tasks cancelled." },
  tasksDropped: { type: "counter", part: "daemon", unit: "", help: "Tasks dropped by a full backlog." },
  tasksSnoozed: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Tasks put off by their own handlers.",
  },
  tasksArchived: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Tasks that left memory for the archive.",
  },
  tasksInterrupted: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Leases that ended because the worker went silent.",
  },
  pushesRevoked: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Pushes taken back because they were not acknowledged in time.",
  },
  quarantines: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Quarantines of workers whose attempts failed.",
  },
  scheduleRuns: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Runs of schedules that started, those on request included.",
  },
  operations: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Operations carried out, refused ones included.",
  },
  operationsRefused: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Operations answered with an error.",
  },
  operationsRepeated: {
    type: "counter",
    part: "daemon",
    unit: "",
    help: "Repeated operations answered from the kept answer.",
  },

  tasksScheduled: {
    type: "reading",
    part: "daemon",
    unit: "",
    help: "Tasks by state.",
    family: tasksIn("scheduled"),
  },
  tasksBlocked: {
    type: "reading",
    part: "daemon",
    unit: "",
    help: "Tasks by state.",
    family: tasksIn("blocked"),
  },
  tasksQueued: {
    type: "reading",
    part: "daemon",
    unit: "",
    help: "Tasks by state.",
    family: tasksIn("queued"),
  },
  tasksRunning: {
    type: "reading",
    part: "daemon",
    unit: "",
    help: "Tasks by state.",
    family: tasksIn("running"),
  },
  schedules: { type: "reading", part: "daemon", unit: "", help: "Schedules, finished ones included." },
  keys: { type: "reading", part: "daemon", unit: "", help: "Keys." },
  locksHeld: { type: "reading", part: "daemon", unit: "", help: "Locks that are held." },
  locksWaiting: { type: "reading", part: "daemon", unit: "", help: "Locks that wait in line." },
  workersIdle: {
    type: "reading",
    part: "daemon",
    unit: "",
    help: "Workers by state.",
    family: workersIn("idle"),
  },
  workersBusy: {
    type: "reading",
    part: "daemon",
    unit: "",
    help: "Workers by state.",
    family: workersIn("busy"),
  },
  workersDraining: {
    type: "reading",
    part: "daemon",
    unit: "",
    help: "Workers by state.",
    family: workersIn("draining"),
  },
  workersOffline: {
    type: "reading",
    part: "daemon",
    unit: "",
    help: "Workers by state.",
    family: workersIn("offline"),
  },

  workersFailing: { ...sickRow, family: sickWorkers("failing") },
  workersQuarantined: { ...sickRow, family: sickWorkers("quarantined") },
  workersOnProbation: { ...sickRow, family: sickWorkers("probation") },
  workersDeaf: { ...sickRow, family: sickWorkers("deaf") },
  workersStalled: { ...sickRow, family: sickWorkers("stalled") },

  revision: { type: "reading", part: "store", unit: "", help: "The newest revision." },
  durableRevision: {
    type: "reading",
    part: "store",
    unit: "",
    help: "The newest revision the log holds for sure.",
  },
  undurableBytes: { type: "reading", part: "store", unit: "bytes", help: "Entries that wait for the log." },
  archivedTasks: { type: "reading", part: "store", unit: "", help: "Tasks in the archive." },
  logBytes: { type: "reading", part: "store", unit: "bytes", help: "Size of the log." },
  syncs: { type: "reading", part: "store", unit: "", help: "Syncs of the log since the start." },
  entriesLogged: { type: "counter", part: "store", unit: "", help: "Entries given to the log." },
  batchesLogged: {
    type: "counter",
    part: "store",
    unit: "",
    help: "Batches given to the log: entries that left together.",
  },
  bytesLogged: {
    type: "counter",
    part: "store",
    unit: "bytes",
    help: "Text given to the log, in UTF-16 units (bytes for ASCII).",
  },
  diskFull: { type: "counter", part: "store", unit: "", help: "Batches undone because the disk was full." },

  socketsOpen: { type: "gauge", part: "bus", unit: "", help: "WebSockets open now." },
  framesIn: { type: "counter", part: "bus", unit: "", help: "WebSocket frames received." },
  framesOut: { type: "counter", part: "bus", unit: "", help: "WebSocket frames sent." },
  socketsTooSlow: {
    type: "counter",
    part: "bus",
    unit: "",
    help: "WebSockets closed because they did not read.",
  },
  messagesPublished: {
    type: "counter",
    part: "bus",
    unit: "",
    help: "Messages published to be kept, duplicates not counted.",
  },
  messagesDelivered: {
    type: "counter",
    part: "bus",
    unit: "",
    help: "Deliveries of kept messages, repeated ones included.",
  },
  messagesAcknowledged: {
    type: "counter",
    part: "bus",
    unit: "",
    help: "Deliveries that were acknowledged.",
  },
  messagesRedelivered: {
    type: "counter",
    part: "bus",
    unit: "",
    help: "Deliveries that failed and come again.",
  },
  messagesDead: {
    type: "counter",
    part: "bus",
    unit: "",
    help: "Messages that failed too often for a subscription.",
  },
  messagesDropped: {
    type: "counter",
    part: "bus",
    unit: "",
    help: "Messages that a full subscription let go of.",
  },
  messages: { type: "reading", part: "bus", unit: "", help: "Messages that are kept." },
  messagesWaiting: {
    type: "reading",
    part: "bus",
    unit: "",
    help: "Messages to be delivered, once for each subscription.",
  },
  messagesInFlight: {
    type: "reading",
    part: "bus",
    unit: "",
    help: "Messages delivered and not acknowledged, once for each subscription.",
  },
  deadMessages: {
    type: "reading",
    part: "bus",
    unit: "",
    help: "Messages kept as dead, once for each subscription.",
  },
  subscriptions: { type: "reading", part: "bus", unit: "", help: "Subscriptions that last." },
  messagesEmitted: {
    type: "counter",
    part: "bus",
    unit: "",
    help: "Messages emitted to those who listened, and requests.",
  },
  messagesLost: {
    type: "counter",
    part: "bus",
    unit: "",
    help: "Deliveries of at-most-once messages that slow readers lost.",
  },
  subscriptionsOpen: {
    type: "gauge",
    part: "bus",
    unit: "",
    help: "Subscriptions that a connection listens on.",
  },
  watchesOpen: { type: "gauge", part: "bus", unit: "", help: "Watches open now." },
  watchGaps: { type: "counter", part: "bus", unit: "", help: "Gaps told to watchers that read too slowly." },
} as const satisfies Record<string, Row>;

type Table = typeof metricTable;
export type MetricName = keyof Table;
type NamesOf<T extends Row["type"]> = {
  [N in MetricName]: Table[N]["type"] extends T ? N : never;
}[MetricName];

/** What is counted as it happens. */
export type Metrics = Record<NamesOf<"counter" | "gauge">, number>;
/** What the state and the log know anyway, read at the moment of the scrape. */
export type Readings = Record<NamesOf<"reading">, number>;

/** What is the process's, or means something for one state alone, and is no sum. */
const unsummed: ReadonlySet<keyof Readings> = new Set([
  "uptimeMs",
  "memoryBytes",
  "revision",
  "durableRevision",
]);

/** The readings of several states as those of the daemon; what is no sum is the first's. */
export function sumOf([first, ...others]: readonly [Readings, ...Readings[]]): Readings {
  const sum = { ...first };
  for (const other of others)
    for (const name of Object.keys(sum) as (keyof Readings)[])
      if (!unsummed.has(name)) sum[name] += other[name];
  return sum;
}

const rows = Object.entries(metricTable) as [MetricName, Row][];

export function createMetrics(): Metrics {
  const counted = rows.filter(([, row]) => row.type !== "reading").map(([name]) => [name, 0]);
  return Object.fromEntries(counted) as Metrics;
}

/** Adds what was counted elsewhere. */
export function addTo(sum: Metrics, other: Metrics): void {
  for (const name of Object.keys(sum) as (keyof Metrics)[]) sum[name] += other[name];
}

/** The body of GET /api/metrics: every metric, in the part it belongs to. */
export function metricsJson(
  metrics: Metrics,
  readings: Readings,
): Record<Row["part"], Record<string, number>> {
  const values: Record<MetricName, number> = { ...metrics, ...readings };
  const json: Record<Row["part"], Record<string, number>> = { daemon: {}, store: {}, bus: {} };
  for (const [name, row] of rows) json[row.part][name] = values[name];
  return json;
}

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The name Prometheus sees: base units, and `_total` on what only grows. */
export function prometheusName(name: MetricName): string {
  const row: Row = metricTable[name];
  const base = snake(row.family?.name ?? name).replace(/_ms$/, "_seconds");
  return `cortexd_${base}${row.type === "counter" ? "_total" : ""}`;
}

/** How long things take, each a histogram in seconds; those with a label one for each of its values. */
export const histogramTable = {
  operation: {
    name: "cortexd_operation_duration_seconds",
    help: "From when an operation was read until its answer left, by operation.",
    label: "operation",
  },
  taskWait: {
    name: "cortexd_task_wait_seconds",
    help: "From when a task was ready until its first lease.",
    label: null,
  },
  taskRun: {
    name: "cortexd_task_run_seconds",
    help: "From the lease of an attempt until it was completed.",
    label: null,
  },
  logCommit: {
    name: "cortexd_log_commit_seconds",
    help: "From when a batch was given to the log until it was as safe as the preset makes it.",
    label: null,
  },
} as const satisfies Record<string, { name: string; help: string; label: string | null }>;
export type HistogramName = keyof typeof histogramTable;

/** What was counted of each, by the label's value; "" where there is no label. */
export type Took = Record<HistogramName, ReadonlyMap<string, Histogram>>;

/** What several states counted, together. */
export function tookOf(all: readonly Took[]): Took {
  const sum = { operation: new Map(), taskWait: new Map(), taskRun: new Map(), logCommit: new Map() };
  for (const took of all)
    for (const name of Object.keys(sum) as HistogramName[])
      for (const [value, histogram] of took[name]) {
        const into: Map<string, Histogram> = sum[name];
        if (!into.has(value)) into.set(value, new Histogram());
        into.get(value)?.addAll(histogram);
      }
  return sum;
}

function* histogramLines(took: Took): Generator<string> {
  for (const [key, { name, help, label }] of Object.entries(histogramTable)) {
    yield `# HELP ${name} ${help}`;
    yield `# TYPE ${name} histogram`;
    for (const [value, histogram] of took[key as HistogramName]) {
      const own = label === null ? "" : `${label}="${value}"`;
      const { upTo, count, sumSeconds } = histogram.read();
      const bucket = (le: string) => `${name}_bucket{${own === "" ? "" : `${own},`}le="${le}"}`;
      for (const [i, bound] of boundsInSeconds.entries()) yield `${bucket(String(bound))} ${upTo[i]}`;
      yield `${bucket("+Inf")} ${count}`;
      yield `${name}_sum${own === "" ? "" : `{${own}}`} ${sumSeconds}`;
      yield `${name}_count${own === "" ? "" : `{${own}}`} ${count}`;
    }
  }
}

/** The body of GET /metrics, in Prometheus' text format 0.0.4. */
export function metricsText(metrics: Metrics, readings: Readings, took: Took): string {
  const values: Record<MetricName, number> = { ...metrics, ...readings };
  const lines: string[] = [];
  let last = "";
  for (const [name, row] of rows) {
    const shown = prometheusName(name);
    if (shown !== last) {
      lines.push(
        `# HELP ${shown} ${row.help}`,
        `# TYPE ${shown} ${row.type === "counter" ? "counter" : "gauge"}`,
      );
    }
    last = shown;
    const label = row.family ? `{${row.family.label}="${row.family.value}"}` : "";
    lines.push(`${shown}${label} ${row.unit === "ms" ? values[name] / 1000 : values[name]}`);
  }
  lines.push(...histogramLines(took));
  return `${lines.join("\n")}\n`;
}
