/** Schedules: what runs when, what ran last, and pausing, running and deleting one. */
import type { Schedule, ScheduleShown } from "../wire/schedules.ts";
import { now } from "./figures.ts";
import { count, distance, duration, moment, momentIn, ownTimeZone } from "./format.ts";
import { client, isLive } from "./link.ts";
import { onChange, useLive } from "./live.ts";
import { Badge } from "./parts/badge.tsx";
import { Distance } from "./parts/cells.tsx";
import { confirm } from "./parts/dialog.tsx";
import type { Column } from "./parts/list.tsx";
import { Paged, usePages } from "./parts/pages.tsx";
import { Empty, Shown } from "./parts/states.tsx";
import { act } from "./parts/toast.tsx";
import { Facts, Value } from "./parts/value.tsx";
import { go, href } from "./route.ts";

const whenText = ({ cron, everyMs, timeZone }: Schedule): string =>
  cron === null ? `every ${duration(everyMs ?? 0)}` : timeZone === "UTC" ? cron : `${cron} (${timeZone})`;

const columns: Column<Schedule>[] = [
  { name: "Schedule", lead: true, cell: ({ name }) => <a href={href("schedules", name)}>{name}</a> },
  { name: "State", cell: ({ state }) => <Badge state={state} /> },
  { name: "When", cell: (schedule) => <code>{whenText(schedule)}</code> },
  {
    name: "Next run",
    cell: ({ nextAt, state }) => (nextAt === null || state === "paused" ? null : <Distance at={nextAt} />),
  },
  {
    name: "Last run",
    cell: ({ lastAt, lastTaskId }) =>
      lastAt === null ? null : lastTaskId === null ? (
        distance(lastAt, now.value)
      ) : (
        <a href={href("tasks", lastTaskId)}>{distance(lastAt, now.value)}</a>
      ),
  },
  { name: "Submits", minor: true, cell: ({ task }) => `${task.type} in ${task.queue ?? "default"}` },
  { name: "Runs", figures: true, cell: ({ runsCount }) => count(runsCount) },
];

export function Schedules() {
  const pages = usePages("schedules", "", (of, asked, options) => of.schedules.list(asked, options), [
    onChange({ tables: ["schedules"] }),
  ]);
  return (
    <Paged
      pages={pages}
      label="Schedules by name"
      columns={columns}
      keyOf={({ name }) => name}
      open={({ name }) => href("schedules", name)}
      empty={
        <Empty title="No schedules yet">
          Make one: <code>cortexd schedules put nightly report --cron "30 2 * * *"</code>
        </Empty>
      }
    />
  );
}

export function SchedulePage({ name }: { name: string }) {
  const reading = useLive(
    (of, options) => of.schedules.get(name, { count: 10, ...options }),
    [onChange({ tables: ["schedules"] })],
    [name],
  );
  return (
    <Shown reading={reading} rows={8}>
      {(schedule) => (
        <>
          <header class="subject">
            <div>
              <h2>{whenText(schedule)}</h2>
              <Badge state={schedule.state} />
            </div>
            <Actions schedule={schedule} again={reading.again} />
          </header>
          <div class="columns">
            <div>
              <NextRuns schedule={schedule} />
              <Value label="Task of each run" value={schedule.task} />
            </div>
            <section class="card">
              <h3>Schedule</h3>
              <Facts
                facts={[
                  ["Name", <code key="name">{schedule.name}</code>],
                  ["Time zone", schedule.timeZone],
                  ["Missed runs", schedule.missed],
                  ["While one runs", schedule.overlap],
                  ["Jitter", schedule.jitterMs === 0 ? null : duration(schedule.jitterMs)],
                  ["Not before", schedule.startAt === null ? null : moment(schedule.startAt)],
                  ["Not after", schedule.endAt === null ? null : moment(schedule.endAt)],
                  ["Runs so far", count(schedule.runsCount)],
                  ["Skipped", schedule.skippedCount === 0 ? null : count(schedule.skippedCount)],
                  ["Waiting run", schedule.waitingAt === null ? null : moment(schedule.waitingAt)],
                  ["Last run", schedule.lastAt === null ? null : moment(schedule.lastAt)],
                  [
                    "Last task",
                    schedule.lastTaskId === null ? null : (
                      <a key="last" href={href("tasks", schedule.lastTaskId)}>
                        {schedule.lastTaskId}
                      </a>
                    ),
                  ],
                  ["Made", moment(schedule.createdAt)],
                  ["Revision", schedule.revision],
                ]}
              />
            </section>
          </div>
        </>
      )}
    </Shown>
  );
}

function NextRuns({ schedule }: { schedule: ScheduleShown }) {
  const { nextRuns, state, timeZone, cron } = schedule;
  const isElsewhere = cron !== null && timeZone !== ownTimeZone;
  return (
    <section class="card" aria-labelledby="next">
      <h3 id="next">Next runs</h3>
      {state === "paused" && <p class="dim">It is paused. If it were resumed now:</p>}
      {nextRuns.length === 0 ? (
        <p class="dim">None will come.</p>
      ) : (
        <ol class="moments">
          {nextRuns.map((at) => (
            <li key={at}>
              <time>{moment(at)}</time>
              <span class="dim">{distance(at, now.value)}</span>
              {isElsewhere && (
                <span class="dim">
                  {momentIn(at, timeZone)} in {timeZone}
                </span>
              )}
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function Actions({ schedule, again }: { schedule: Schedule; again: () => void }) {
  const of = client.value;
  if (of === null) return null;
  const { name, state, putRevision } = schedule;
  const off = !isLive.value;
  return (
    <div class="actions">
      <button
        type="button"
        disabled={off}
        onClick={() =>
          act(() => of.schedules.run(name), `Schedule ${name} has submitted its task`).then(again)
        }
      >
        Run now
      </button>
      {state === "active" && (
        <button
          type="button"
          disabled={off}
          onClick={() => act(() => of.schedules.pause(name), `Schedule ${name} is paused`).then(again)}
        >
          Pause
        </button>
      )}
      {state === "paused" && (
        <button
          type="button"
          class="main"
          disabled={off}
          onClick={() => act(() => of.schedules.resume(name), `Schedule ${name} is resumed`).then(again)}
        >
          Resume
        </button>
      )}
      <button
        type="button"
        class="danger"
        disabled={off}
        onClick={() =>
          confirm({
            title: `Delete schedule ${name}?`,
            detail: "No run of it will come any more. The tasks it submitted stay.",
            yes: "Delete it",
            carryOut: async () => {
              const done = await act(
                () => of.schedules.delete(name, { ifRevision: putRevision }),
                `Schedule ${name} is deleted`,
              );
              if (done) go(href("schedules"));
            },
          })
        }
      >
        Delete
      </button>
    </div>
  );
}
