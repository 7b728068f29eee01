/** Tasks: found by state and by what they are, a page at a time, and changed as many as fit. One of them is task.tsx. */

import { type Task, type TaskFilter, type TaskState, taskStates } from "../wire/tasks.ts";
import { newest, now } from "./figures.ts";
import { count, counted, duration } from "./format.ts";
import { client, isLive } from "./link.ts";
import { onFigures } from "./live.ts";
import { Badge } from "./parts/badge.tsx";
import { Age } from "./parts/cells.tsx";
import { Chips } from "./parts/chips.tsx";
import { confirm } from "./parts/dialog.tsx";
import type { Column } from "./parts/list.tsx";
import { Paged, usePages } from "./parts/pages.tsx";
import { Search } from "./parts/search.tsx";
import { Empty } from "./parts/states.tsx";
import { explained, say } from "./parts/toast.tsx";
import { asked, follow, typed } from "./parts/words.ts";
import { href, refine, route } from "./route.ts";

/** The words of the search and what they filter by; each is a field of the address too. */
const fields = { queue: "queue", type: "type", group: "group", label: "label", worker: "workerId" } as const;

const words = Object.keys(fields);

function filterOf(query: URLSearchParams): TaskFilter {
  const filter: TaskFilter = asked(fields, query);
  const state = taskStates.find((one) => one === query.get("state"));
  if (state !== undefined) filter.state = state;
  return filter;
}

/** How long it took, or takes so far; null: it has not begun. */
function tookMs(task: Task): number | null {
  if (task.startedAt === null) return null;
  if (task.finishedAt !== null) return task.finishedAt - task.startedAt;
  return task.state === "running" ? now.value - task.startedAt : null;
}

const columns: Column<Task>[] = [
  { name: "Task", lead: true, cell: ({ id }) => <a href={href("tasks", id)}>{id}</a> },
  { name: "State", cell: ({ state }) => <Badge state={state} /> },
  { name: "Type", cell: ({ type }) => type },
  { name: "Queue", cell: ({ queue }) => <a href={href("queues", queue)}>{queue}</a> },
  {
    name: "Priority",
    minor: true,
    cell: ({ priority }) => (priority === "normal" ? <span class="dim">normal</span> : priority),
  },
  { name: "Attempt", minor: true, figures: true, cell: ({ attempt, attempts }) => `${attempt}/${attempts}` },
  {
    name: "Worker",
    cell: ({ lease }) =>
      lease === null ? null : <a href={href("workers", lease.workerId)}>{lease.workerId}</a>,
  },
  {
    name: "Took",
    figures: true,
    cell: (task) => {
      const ms = tookMs(task);
      return ms === null ? null : duration(ms);
    },
  },
  {
    name: "Age",
    figures: true,
    cell: ({ createdAt }) => <Age since={createdAt} />,
  },
];

export function Tasks() {
  const { query } = route.value;
  const filter = filterOf(query);
  const pages = usePages(
    "tasks",
    filter,
    (of, asked, options) => of.tasks({ ...filter, ...asked }, options),
    // New tasks come to the first page alone; on the others rows still change.
    [onFigures],
  );
  return (
    <>
      <Search
        label="Find tasks"
        placeholder="1042-0, or queue:mail type:send label:tenant=acme"
        value={typed(words, query)}
        search={(text) => follow(words, text, "type")}
      />
      <States chosen={filter.state ?? null} />
      <Many filter={filter} again={pages.reading.again} />
      <Paged
        pages={pages}
        label="Tasks, newest first"
        columns={columns}
        keyOf={({ id }) => id}
        open={({ id }) => href("tasks", id)}
        empty={<Nothing filtered={Object.keys(filter).length > 0} />}
      />
    </>
  );
}

/** Each state with how many tasks it has, and the choice of one. */
function States({ chosen }: { chosen: TaskState | null }) {
  const counts = newest.value?.tasks;
  return (
    <Chips label="State" of={taskStates} chosen={chosen} choose={(state) => refine({ state })}>
      {(state) => (
        <>
          <Badge state={state} />
          {counts !== undefined && <b>{count(counts[state])}</b>}
        </>
      )}
    </Chips>
  );
}

function Nothing({ filtered }: { filtered: boolean }) {
  if (filtered)
    return (
      <Empty title="No task fits">
        <a href={href("tasks")}>Show all tasks</a>
      </Empty>
    );
  return (
    <Empty title="No tasks yet">
      Submit one: <code>cortexd tasks submit hello</code>
    </Empty>
  );
}

const retryable: ReadonlySet<TaskState> = new Set<TaskState>(["failed", "dead", "cancelled"]);
const cancellable: ReadonlySet<TaskState> = new Set<TaskState>(["queued", "scheduled", "blocked", "running"]);

/** What can be done to all that fit, once a state is chosen. */
function Many({ filter, again }: { filter: TaskFilter; again: () => void }) {
  const { state } = filter;
  const of = client.value;
  if (state === undefined || of === null) return null;
  const what = `All ${state} tasks that fit the filter`;
  const carryOut = async (change: () => Promise<{ count: number; refused: unknown[] }>, done: string) => {
    try {
      const { count: changed, refused } = await change();
      const left = refused.length === 0 ? "" : `, ${refused.length} refused`;
      say(`${counted(changed, "task")} ${done}${left}`);
    } catch (error) {
      say(explained(error), true);
    }
    again();
  };
  return (
    <div class="actions">
      {retryable.has(state) && (
        <button
          type="button"
          disabled={!isLive.value}
          onClick={() =>
            confirm({
              title: "Retry all that fit?",
              detail: `${what} are queued again, with fresh attempts.`,
              yes: "Retry them",
              carryOut: () => carryOut(() => of.bulk.retry({ filter }), "queued again"),
            })
          }
        >
          Retry all that fit
        </button>
      )}
      {cancellable.has(state) && (
        <button
          type="button"
          disabled={!isLive.value}
          onClick={() =>
            confirm({
              title: "Cancel all that fit?",
              detail: `${what} are cancelled, and with them what waits for them. Running handlers are told to stop.`,
              yes: "Cancel them",
              carryOut: () => carryOut(() => of.bulk.cancel({ filter }), "cancelled"),
            })
          }
        >
          Cancel all that fit
        </button>
      )}
    </div>
  );
}
