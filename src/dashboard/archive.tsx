/** The archive: tasks that have ended so long ago that they left memory, searched a page at a time. They do not change. */
import type { ArchiveFilter } from "../wire/archive.ts";
import type { TaskShown } from "../wire/tasks.ts";
import { count, duration, moment } from "./format.ts";
import { Badge } from "./parts/badge.tsx";
import { Chips } from "./parts/chips.tsx";
import type { Column } from "./parts/list.tsx";
import { Paged, usePages } from "./parts/pages.tsx";
import { Search } from "./parts/search.tsx";
import { Empty } from "./parts/states.tsx";
import { asked, follow, typed } from "./parts/words.ts";
import { href, refine, route } from "./route.ts";

const states = ["completed", "failed", "dead", "cancelled"] as const;
const fields = { queue: "queue", type: "type", group: "group", label: "label", key: "key" } as const;

const words = Object.keys(fields);

function filterOf(query: URLSearchParams): ArchiveFilter {
  const filter: ArchiveFilter = asked(fields, query);
  const state = states.find((one) => one === query.get("state"));
  if (state !== undefined) filter.state = state;
  return filter;
}

const columns: Column<TaskShown>[] = [
  { name: "Task", lead: true, cell: ({ id }) => <a href={href("tasks", id)}>{id}</a> },
  { name: "State", cell: ({ state }) => <Badge state={state} /> },
  { name: "Type", cell: ({ type }) => type },
  { name: "Queue", cell: ({ queue }) => queue },
  { name: "Attempts", figures: true, minor: true, cell: ({ attempt }) => count(attempt) },
  {
    name: "Took",
    figures: true,
    cell: ({ startedAt, finishedAt }) =>
      startedAt === null || finishedAt === null ? null : duration(finishedAt - startedAt),
  },
  {
    name: "Ended",
    figures: true,
    cell: ({ finishedAt }) => (finishedAt === null ? null : moment(finishedAt)),
  },
];

export function Archive() {
  const { query } = route.value;
  const filter = filterOf(query);
  const isAll = Object.keys(filter).length === 0;
  // It is a history: what comes to it meanwhile is read with the next look.
  const pages = usePages(
    "tasks",
    filter,
    (of, asked, options) => of.archived({ ...filter, ...asked }, options),
    [],
  );
  return (
    <>
      <div class="subject">
        <Search
          label="Find archived tasks"
          placeholder="1042-0, or queue:mail type:send label:tenant=acme key:order-1138"
          value={typed(words, query)}
          search={(text) => follow(words, text, "type")}
        />
        <button type="button" onClick={pages.reading.again}>
          Look again
        </button>
      </div>
      <Chips label="State" of={states} chosen={filter.state ?? null} choose={(state) => refine({ state })}>
        {(state) => <Badge state={state} />}
      </Chips>
      <Paged
        pages={pages}
        label="Archived tasks, those that ended last first"
        columns={columns}
        keyOf={({ id }) => id}
        open={({ id }) => href("tasks", id)}
        empty={
          <Empty title={isAll ? "Nothing in the archive yet" : "No archived task fits"}>
            {isAll ? (
              <>Tasks that have ended leave memory for the archive after a while.</>
            ) : (
              <a href={href("archive")}>Show all of it</a>
            )}
          </Empty>
        }
      />
    </>
  );
}
