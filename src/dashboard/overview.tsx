/** How the namespace fares: what is wrong, the figures of this second, and how they came about. */
import { useSignal } from "@preact/signals";
import type { Stats } from "../wire/stats.ts";
import { type Counted, newest, perSecond } from "./figures.ts";
import { bytes, count, counted, duration, rate } from "./format.ts";
import { link } from "./link.ts";
import { Badge, type Tone } from "./parts/badge.tsx";
import { type Line, Plot } from "./parts/plot.tsx";
import { Empty, Skeleton } from "./parts/states.tsx";
import { href } from "./route.ts";

const spans = [
  { name: "2 min", ms: 120_000 },
  { name: "10 min", ms: 600_000 },
  { name: "1 h", ms: 3_600_000 },
];

const counter =
  (name: Counted) =>
  (sample: Stats): number =>
    perSecond(sample, name);

const throughput: Line[] = [
  { name: "submitted", color: "queued", of: counter("tasksSubmitted") },
  { name: "completed", color: "completed", of: counter("tasksCompleted"), area: true },
  {
    name: "failed attempts",
    color: "failed",
    of: (sample) =>
      perSecond(sample, "tasksRetried") + perSecond(sample, "tasksFailed") + perSecond(sample, "tasksDead"),
  },
];
const latency: Line[] = [
  { name: "answer, half", color: "running", of: ({ answerMs }) => answerMs?.p50 ?? null },
  { name: "answer, 99 of 100", color: "scheduled", of: ({ answerMs }) => answerMs?.p99 ?? null },
  { name: "wait for a worker, 99 of 100", color: "blocked", of: ({ waitMs }) => waitMs?.p99 ?? null },
];
const depth: Line[] = [
  { name: "queued", color: "queued", of: ({ tasks }) => tasks.queued, area: true },
  { name: "running", color: "running", of: ({ tasks }) => tasks.running },
  { name: "scheduled", color: "scheduled", of: ({ tasks }) => tasks.scheduled },
  { name: "blocked", color: "blocked", of: ({ tasks }) => tasks.blocked },
];
const workers: Line[] = [
  { name: "idle", color: "completed", of: ({ workers: { idle } }) => idle },
  { name: "busy", color: "running", of: ({ workers: { busy } }) => busy, area: true },
  { name: "draining", color: "blocked", of: ({ workers: { draining } }) => draining },
  { name: "offline", color: "cancelled", of: ({ workers: { offline } }) => offline },
];

export function Overview() {
  const span = useSignal(spans[0]!.ms);
  const sample = newest.value;
  if (sample === null) {
    const { value } = link;
    if (value.kind === "live" && !value.pushes)
      return (
        <Empty title="No figures over HTTP">
          Figures are pushed, and this connection has no WebSocket. The other pages show what they read.
        </Empty>
      );
    return <Skeleton rows={8} />;
  }
  return (
    <>
      <Attention sample={sample} />
      <Tiles sample={sample} />
      <div class="spans" role="group" aria-label="Time shown">
        {spans.map(({ name, ms }) => (
          <button key={name} type="button" aria-pressed={span.value === ms} onClick={() => (span.value = ms)}>
            {name}
          </button>
        ))}
      </div>
      <div class="plots">
        <Plot title="Tasks a second" lines={throughput} write={rate} spanMs={span.value} floor={1} />
        <Plot title="Latency" lines={latency} write={duration} spanMs={span.value} floor={1} />
        <Plot title="Queue depth" lines={depth} write={count} spanMs={span.value} floor={4} whole />
        <Plot title="Workers" lines={workers} write={count} spanMs={span.value} floor={4} whole />
      </div>
      <p class="foot dim">
        {counted(sample.sessions, "session")} ·{" "}
        <a href={href("locks")}>{counted(sample.locks.held, "lock")}</a> held, {count(sample.locks.waiting)}{" "}
        waiting · <a href={href("messages")}>{counted(waitingOf(sample), "message")}</a> not acknowledged ·
        revision <b>{sample.revision}</b> · log {bytes(sample.logBytes)} · memory {bytes(sample.memoryBytes)}{" "}
        · up {duration(sample.uptimeMs)}
      </p>
    </>
  );
}

/** Of each subscription, what waits there or is on its way. */
const waitingOf = ({ messages }: Stats) => messages.waiting + messages.inFlight;

function Tiles({ sample }: { sample: Stats }) {
  const { tasks, workers: of, answerMs } = sample;
  const online = of.idle + of.busy + of.draining;
  const tiles: { name: string; value: string; more: string; to?: string }[] = [
    {
      name: "Completed",
      value: `${rate(perSecond(sample, "tasksCompleted"))}/s`,
      more: `${count(tasks.completed)} kept`,
      to: href("tasks", null, { state: "completed" }),
    },
    {
      name: "Queued",
      value: count(tasks.queued),
      more: tasks.blocked > 0 ? `${count(tasks.blocked)} blocked` : `${count(tasks.scheduled)} scheduled`,
      to: href("tasks", null, { state: "queued" }),
    },
    {
      name: "Running",
      value: count(tasks.running),
      more: `${rate(perSecond(sample, "tasksLeased"))}/s begun`,
      to: href("tasks", null, { state: "running" }),
    },
    {
      name: "Workers",
      value: count(online),
      more: `${count(of.busy)} busy, ${count(of.idle)} idle`,
      to: href("workers"),
    },
    {
      name: "Answers",
      value: answerMs === null ? "–" : duration(answerMs.p50),
      more: answerMs === null ? "none this second" : `99 of 100 in ${duration(answerMs.p99)}`,
    },
    {
      name: "Operations",
      value: `${rate(perSecond(sample, "operations"))}/s`,
      more: `${rate(perSecond(sample, "operationsRefused"))}/s refused`,
      to: href("changes"),
    },
  ];
  return (
    <ul class="tiles">
      {tiles.map(({ name, value, more, to }) => (
        <li key={name} class="card">
          <span class="tile-name">{to === undefined ? name : <a href={to}>{name}</a>}</span>
          <b>{value}</b>
          <span class="dim">{more}</span>
        </li>
      ))}
    </ul>
  );
}

/** What somebody should look at; where all is well, that. */
function Attention({ sample }: { sample: Stats }) {
  const { tasks, workers: of, health, status, messages, revision } = sample;
  const sick = health.failing + health.quarantined + health.deaf + health.stalled;
  const found: { tone: Tone; text: string; to?: string }[] = [];
  if (status === "read-only")
    found.push({ tone: "bad", text: "The disk is full: nothing can be changed until there is room" });
  if (status === "replay")
    found.push({ tone: "warn", text: `The state as it was at revision ${revision}: nothing changes in it` });
  if (status === "stopping") found.push({ tone: "warn", text: "The daemon is stopping" });
  if (tasks.dead > 0)
    found.push({
      tone: "bad",
      text: counted(tasks.dead, "dead task"),
      to: href("tasks", null, { state: "dead" }),
    });
  if (tasks.failed > 0)
    found.push({
      tone: "bad",
      text: counted(tasks.failed, "failed task"),
      to: href("tasks", null, { state: "failed" }),
    });
  if (messages.dead > 0)
    found.push({ tone: "bad", text: counted(messages.dead, "dead message"), to: href("messages") });
  if (sick > 0) found.push({ tone: "warn", text: counted(sick, "unhealthy worker"), to: href("workers") });
  if (tasks.queued > 0 && of.idle + of.busy === 0)
    found.push({
      tone: "warn",
      text: "Tasks are queued and no worker is there",
      to: href("tasks", null, { state: "queued" }),
    });
  return (
    <ul class="attention" aria-label="What needs attention">
      {found.length === 0 && (
        <li>
          <Badge tone="good">Nothing needs attention</Badge>
        </li>
      )}
      {found.map(({ tone, text, to }) => (
        <li key={text}>
          <Badge tone={tone}>{to === undefined ? text : <a href={to}>{text}</a>}</Badge>
        </li>
      ))}
    </ul>
  );
}
