/** One task: how it stands and why, what happened to it, what it was given and what came of it, and what it said. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { isRefused } from "../../client/errors.ts";
import type { LogLine } from "../../client/logs.ts";
import type { TaskShown, TaskState } from "../wire/tasks.ts";
import type { TaskExplained } from "../wire/why.ts";
import { now } from "./figures.ts";
import { counted, duration, labelsText, moment, timeOfDay } from "./format.ts";
import { client, isLive } from "./link.ts";
import { onChange, onFigures, useLive } from "./live.ts";
import { Badge, type Tone } from "./parts/badge.tsx";
import { Distance } from "./parts/cells.tsx";
import { confirm } from "./parts/dialog.tsx";
import { List } from "./parts/list.tsx";
import { Empty, Shown } from "./parts/states.tsx";
import { act } from "./parts/toast.tsx";
import { Facts, Value } from "./parts/value.tsx";
import { href } from "./route.ts";

const waiting: ReadonlySet<TaskState> = new Set<TaskState>(["scheduled", "blocked", "queued"]);
const ended: ReadonlySet<TaskState> = new Set<TaskState>(["completed", "failed", "dead", "cancelled"]);

export function TaskPage({ id }: { id: string }) {
  const reading = useLive(
    (of, options) => of.call("task.get", { taskId: id }, options),
    [onChange({ tables: ["tasks"], taskId: id })],
    [id],
  );
  const { error } = reading;
  if (isRefused(error, "unknown-task"))
    return (
      <Empty title={`There is no task ${id}`}>
        It may have ended so long ago that it is not kept any more. <a href={href("tasks")}>All tasks</a>
      </Empty>
    );
  return (
    <Shown reading={reading} rows={10}>
      {(task) => (
        <>
          <header class="subject">
            <div>
              <h2>{task.type}</h2>
              <Badge state={task.state} />
            </div>
            <Actions task={task} again={reading.again} />
          </header>
          <div class="columns">
            <div>
              {waiting.has(task.state) && <Why id={id} />}
              <Timeline task={task} />
              <Log key={id} id={id} />
              {task.graph !== null && task.graph.total > 0 && <Dependencies id={id} />}
            </div>
            <div>
              <Standing task={task} />
              <Value label="Payload" value={task.payload} />
              {task.progress !== null && <Value label="Progress" value={task.progress} />}
              {task.state === "completed" && <Value label="Result" value={task.result} />}
              {task.error !== null && <Value label="Error" value={task.error} />}
            </div>
          </div>
        </>
      )}
    </Shown>
  );
}

function Actions({ task, again }: { task: TaskShown; again: () => void }) {
  const of = client.value;
  if (of === null) return null;
  const taskId = task.id;
  const off = !isLive.value;
  return (
    <div class="actions">
      {task.archived && <Badge tone="calm">in the archive</Badge>}
      <a class="button" href={href("changes", null, { task: taskId })}>
        Its changes
      </a>
      {(task.state === "failed" || task.state === "dead" || task.state === "cancelled") && (
        <button
          type="button"
          class="main"
          disabled={off}
          onClick={() =>
            act(() => of.call("task.retry", { taskId }), `Task ${taskId} is queued again`).then(again)
          }
        >
          Retry
        </button>
      )}
      {!ended.has(task.state) && (
        <button
          type="button"
          class="danger"
          disabled={off}
          onClick={() =>
            confirm({
              title: `Cancel task ${taskId}?`,
              detail:
                task.state === "running"
                  ? "Its handler is told to stop. What waits for it is cancelled too."
                  : "It will not run. What waits for it is cancelled too.",
              yes: "Cancel it",
              carryOut: () =>
                act(
                  () => of.call("task.cancel", { taskId, reason: "from the dashboard" }),
                  `Task ${taskId} is cancelled`,
                ).then(again),
            })
          }
        >
          Cancel
        </button>
      )}
    </div>
  );
}

function Standing({ task }: { task: TaskShown }) {
  const { lease, graph } = task;
  const at = (moment: number | null) => (moment === null ? null : <Distance at={moment} />);
  return (
    <section class="card">
      <h3>Task</h3>
      <Facts
        facts={[
          ["Id", <code>{task.id}</code>],
          ["Queue", <a href={href("queues", task.queue)}>{task.queue}</a>],
          ["Priority", task.priority],
          ["Attempt", `${task.attempt} of ${task.attempts}`],
          ["Interruptions", task.interruptions === 0 ? null : task.interruptions],
          ["Worker", lease === null ? null : <a href={href("workers", lease.workerId)}>{lease.workerId}</a>],
          ["Lease ends", task.state === "running" && lease !== null ? at(lease.deadlineAt) : null],
          ["Submitted", at(task.createdAt)],
          ["Ready", at(task.runAt)],
          ["Started", at(task.startedAt)],
          ["Ended", at(task.finishedAt)],
          ["Must end", at(task.deadlineAt)],
          ["Reason", task.reason],
          ["Group", task.group],
          ["Limits", task.limits.join(", ")],
          ["Needs", [...task.capabilities, ...task.requires].join(", ")],
          ["Prefers", task.prefers.join(", ")],
          ["Only worker", task.workerId],
          ["Slots", task.slots === 1 ? null : task.slots],
          ["Idempotency key", task.idempotencyKey],
          ["Labels", labelsText(task.labels)],
          [
            "Parent",
            graph?.parentId == null ? null : <a href={href("tasks", graph.parentId)}>{graph.parentId}</a>,
          ],
          ["Revision", task.revision],
        ]}
      />
    </section>
  );
}

/** Why it is not running; asked again as long as it waits, whenever something has changed. */
function Why({ id }: { id: string }) {
  const reading = useLive(
    (of, options) => of.call("task.explain", { taskId: id }, options),
    [onFigures],
    [id],
  );
  return (
    <section class="card why" aria-labelledby="why">
      <h3 id="why">Why is it not running?</h3>
      <Shown reading={reading} rows={3}>
        {(explained: TaskExplained) => (
          <>
            {explained.reasons.length > 1 && <p>{explained.summary}</p>}
            <ul>
              {explained.reasons.map(({ code, detail, untilAt, by }) => (
                <li key={code}>
                  <Badge tone={code === "starting" ? "good" : "warn"}>{code}</Badge>
                  <span class="sentence">
                    {detail}
                    {untilAt !== null && ` (until ${timeOfDay(untilAt)})`}
                    {by.length > 0 && <span class="dim"> {by.join(", ")}</span>}
                  </span>
                </li>
              ))}
            </ul>
            <Facts
              facts={[
                ["Workers that fit", `${explained.workers.fitting} of ${explained.workers.registered}`],
                ["With room now", explained.workers.free],
                [
                  "Ahead of it",
                  explained.ahead === null ? null : `about ${counted(explained.ahead, "task")}`,
                ],
                ...explained.asks.map(
                  ({ asked, met }) => [asked, `met by ${counted(met, "worker")}`] as const,
                ),
              ]}
            />
          </>
        )}
      </Shown>
    </section>
  );
}

type Step = { at: number; tone: Tone; title: string; detail?: string; stack?: string | undefined };

/** What happened, oldest first, as far as the task itself keeps it. */
function stepsOf(task: TaskShown): Step[] {
  const steps: Step[] = [{ at: task.createdAt, tone: "queued", title: "Submitted" }];
  for (const { attempt, at, workerId, message, code, stack } of task.errors)
    steps.push({
      at,
      tone: code === "interrupted" ? "warn" : "failed",
      title: code === "interrupted" ? `Attempt ${attempt} was interrupted` : `Attempt ${attempt} failed`,
      detail: `${message} (${workerId})`,
      stack,
    });
  const { startedAt, finishedAt, state, lease, runAt } = task;
  if (startedAt !== null && (state === "running" || state === "completed" || state === "cancelled"))
    steps.push({
      at: startedAt,
      tone: "running",
      title: `Attempt ${task.attempt} began`,
      ...(lease !== null && { detail: lease.workerId }),
    });
  if (runAt !== null && state === "scheduled")
    steps.push({
      at: runAt,
      tone: "scheduled",
      title: task.attempt > 0 ? "Will be tried again" : "Will be ready",
    });
  if (finishedAt !== null)
    steps.push({
      at: finishedAt,
      tone: state as Tone,
      title:
        { completed: "Completed", failed: "Failed", dead: "Dead", cancelled: "Cancelled" }[state as string] ??
        state,
      ...(task.reason !== null && { detail: task.reason }),
    });
  return steps.sort((a, b) => a.at - b.at);
}

function Timeline({ task }: { task: TaskShown }) {
  const steps = stepsOf(task);
  return (
    <section class="card" aria-labelledby="timeline">
      <h3 id="timeline">Timeline</h3>
      <ol class="timeline">
        {steps.map(({ at, tone, title, detail, stack }, i) => (
          <li key={`${at} ${title}`} class={`tone-${tone}`}>
            <i aria-hidden="true" />
            <div>
              <p>
                <b>{title}</b> <time title={moment(at)}>{timeOfDay(at)}</time>
                {i > 0 && <span class="dim"> +{duration(at - steps[i - 1]!.at)}</span>}
              </p>
              {detail !== undefined && <p class="dim">{detail}</p>}
              {stack !== undefined && (
                <details>
                  <summary>Stack</summary>
                  <pre tabIndex={0}>{stack}</pre>
                </details>
              )}
            </div>
          </li>
        ))}
        {task.state === "running" && task.startedAt !== null && (
          <li class="tone-running now">
            <i aria-hidden="true" />
            <p>
              Running for <b>{duration(Math.max(0, now.value - task.startedAt))}</b>
            </p>
          </li>
        )}
      </ol>
    </section>
  );
}

const linesMax = 1000;

/** What its handlers wrote, followed until it has ended. */
function Log({ id }: { id: string }) {
  const lines = useSignal<LogLine[]>([]);
  const of = client.value;
  useEffect(() => {
    if (of === null) return;
    const end = new AbortController();
    const follow = async () => {
      for await (const line of of.task(id).logs({ follow: true, signal: end.signal })) {
        if (end.signal.aborted) return;
        lines.value = [...lines.value.slice(1 - linesMax), line];
      }
    };
    lines.value = [];
    follow().catch(() => {});
    return () => end.abort();
  }, [of, id]);
  if (lines.value.length === 0) return null;
  return (
    <section class="card" aria-labelledby="log">
      <h3 id="log">Log</h3>
      <ol class="log" tabIndex={0} aria-label="Lines of the log">
        {lines.value.map(({ number, at, text }) => (
          <li key={number}>
            <time title={moment(at)}>{timeOfDay(at)}</time>
            <span>{text}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Dependencies({ id }: { id: string }) {
  const reading = useLive(
    (of, options) => of.call("task.dependencies", { taskId: id, limit: 100 }, options),
    [onFigures],
    [id],
  );
  return (
    <section class="card" aria-labelledby="dependencies">
      <h3 id="dependencies">Waits for</h3>
      <Shown reading={reading}>
        {({ dependencies, cursor }) => (
          <>
            <List
              label="Tasks it waits for"
              rows={dependencies}
              keyOf={({ taskId }) => taskId}
              open={({ taskId }) => href("tasks", taskId)}
              columns={[
                {
                  name: "Task",
                  lead: true,
                  cell: ({ taskId }) => <a href={href("tasks", taskId)}>{taskId}</a>,
                },
                { name: "State", cell: ({ state }) => (state === null ? null : <Badge state={state} />) },
              ]}
            />
            {cursor !== null && <p class="dim">The first hundred.</p>}
          </>
        )}
      </Shown>
    </section>
  );
}
