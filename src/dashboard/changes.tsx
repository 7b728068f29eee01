/**
 * The live log of changes: the last ones that the daemon keeps, then what happens, as it happens, narrowed by the daemon
 * before it is sent. Where more happens than anybody can read it stops by itself and says so: a page must not slow down
 * what it looks at.
 */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { CoordinationClient } from "../../client/client.ts";
import { CortexError } from "../../client/errors.ts";
import type { WatchEvent, WatchFilter } from "../../client/state.ts";
import type { ChangeView } from "../wire/state.ts";
import { newest, now } from "./figures.ts";
import { count, preview, timeOfDay } from "./format.ts";
import { client, epoch } from "./link.ts";
import { Badge } from "./parts/badge.tsx";
import { Who } from "./parts/cells.tsx";
import { Chips } from "./parts/chips.tsx";
import { Search } from "./parts/search.tsx";
import { Empty } from "./parts/states.tsx";
import { asked, follow, typed } from "./parts/words.ts";
import { href, refine, route } from "./route.ts";

type Table = ChangeView["table"];
const tables: readonly Table[] = [
  "tasks",
  "workers",
  "schedules",
  "queues",
  "limits",
  "pauses",
  "keys",
  "locks",
  "subscriptions",
  "messages",
];
const pages: Partial<Record<Table, string>> = {
  tasks: "tasks",
  workers: "workers",
  schedules: "schedules",
  queues: "queues",
  keys: "keys",
  locks: "locks",
  subscriptions: "messages",
  messages: "messages",
};

const shownMax = 300;
/** So many entries are looked back. */
const backMax = 200;
/** More than that in a second is not for people. */
const perSecondMax = 500;

const fields = {
  queue: "queue",
  task: "taskId",
  worker: "workerId",
  key: "key",
  lock: "lock",
  prefix: "prefix",
  topic: "topic",
} as const;

const words = Object.keys(fields);

function watchFilterOf(query: URLSearchParams): WatchFilter {
  const filter: WatchFilter = asked(fields, query);
  const table = tables.find((one) => one === query.get("table"));
  if (table !== undefined) filter.tables = [table];
  return filter;
}

/** Of one task from its beginning on, as far as the daemon keeps them; else the last ones. */
const startOf = ({ taskId }: WatchFilter, revision: number): number =>
  Math.max(0, taskId === undefined ? revision - backMax : Number.parseInt(taskId, 10) - 1 || 0);

type Entry = WatchEvent & { number: number };

const revisionOf = async (of: CoordinationClient): Promise<number> =>
  newest.peek()?.revision ?? (await of.getState()).revision;

export function Changes() {
  const { query } = route.value;
  const filter = watchFilterOf(query);
  const table = filter.tables?.[0] ?? null;
  const entries = useSignal<Entry[]>([]);
  const stopped = useSignal<"" | "by hand" | "too fast">("");
  /** Why the daemon does not tell of these. */
  const refused = useSignal<string | null>(null);
  const of = client.value;
  const connection = epoch.value;

  useEffect(() => {
    entries.value = [];
  }, [JSON.stringify(filter)]);

  useEffect(() => {
    if (of === null || stopped.value !== "") return;
    refused.value = null;
    const end = new AbortController();
    const seen = entries.peek()[0];
    let number = seen?.number ?? 0;
    const from = now.peek();
    let second = 0;
    let inSecond = 0;
    const follow = async () => {
      // Whoever goes on wants what is new, and whoever begins what led to it.
      const start = seen === undefined ? { after: startOf(filter, await revisionOf(of)) } : {};
      for await (const event of of.watch({ ...filter, ...start }, { signal: end.signal })) {
        // Who stopped it sees no more, also of what was on its way.
        if (stopped.peek() !== "") return;
        if (event.event === "gap" && number === 0) continue;
        const at = Math.floor(performance.now() / 1000);
        if (at !== second) {
          second = at;
          inSecond = 0;
        }
        if (event.event === "change" && event.at > from && ++inSecond > perSecondMax) {
          stopped.value = "too fast";
          return;
        }
        entries.value = [{ ...event, number: ++number }, ...entries.peek().slice(0, shownMax - 1)];
      }
    };
    follow().catch((error) => {
      if (error instanceof CortexError && !end.signal.aborted) refused.value = error.message;
    });
    return () => end.abort();
  }, [of, connection === 0, JSON.stringify(filter), stopped.value]);

  return (
    <>
      <div class="subject">
        <Search
          label="Narrow the changes"
          placeholder="queue:mail, worker:worker-001, prefix:config/"
          value={typed(words, query)}
          search={(text) => follow(words, text, null)}
        />
        <div class="actions">
          <button type="button" onClick={() => (entries.value = [])}>
            Clear
          </button>
          <button
            type="button"
            class={stopped.value === "" ? undefined : "main"}
            onClick={() => (stopped.value = stopped.value === "" ? "by hand" : "")}
          >
            {stopped.value === "" ? "Stop" : "Go on"}
          </button>
        </div>
      </div>
      <Chips label="Of what" of={tables} chosen={table} choose={(one) => refine({ table: one })}>
        {(one) => one}
      </Chips>
      {stopped.value === "too fast" && (
        <div class="trouble" role="status">
          <p>
            <b>Stopped: more than {count(perSecondMax)} changes a second.</b> Narrow them, to a queue or a
            task, and go on.
          </p>
        </div>
      )}
      {refused.value !== null ? (
        <div class="trouble" role="status">
          <p>
            <b>These cannot be watched.</b> {refused.value}
          </p>
        </div>
      ) : entries.value.length === 0 ? (
        <Empty title={stopped.value === "" ? "Waiting for changes" : "Stopped"}>
          What happens is shown here, the newest on top.
        </Empty>
      ) : (
        <ol class="changes" aria-label="Changes, newest first">
          {entries.value.map((entry) =>
            entry.event === "gap" ? (
              <li key={entry.number} class="gap">
                Changes of the revisions {entry.from} to {entry.to} were missed
              </li>
            ) : (
              <Change key={entry.number} entry={entry} />
            ),
          )}
        </ol>
      )}
    </>
  );
}

function Change({ entry }: { entry: Extract<Entry, { event: "change" }> }) {
  const { at, table, id, operation, who, state, before, workerId, queue } = entry;
  const page = pages[table];
  return (
    <li>
      <time>{timeOfDay(at)}</time>
      <span class="of">
        <span class="dim">{table}</span> {page === undefined ? id : <a href={href(page, id)}>{id}</a>}
      </span>
      <span class="turn">
        {before !== state && before !== null && (
          <>
            <Badge state={before} /> <span class="dim">to</span>{" "}
          </>
        )}
        {state === null ? <Badge tone="calm">gone</Badge> : <Badge state={state} {...known(table, state)} />}
      </span>
      <span class="dim">
        {operation} by <Who who={who} />
        {queue !== undefined && ` · ${queue}`}
        {workerId != null && workerId !== who && ` · ${workerId}`}
        {entry.progress !== undefined && ` · ${preview(entry.progress, 60)}`}
        {entry.value !== undefined && ` · ${preview(entry.value, 60)}`}
      </span>
    </li>
  );
}

/** States that are no task's have no colour of their own. */
const known = (table: Table, state: string) =>
  table === "tasks" || state === "paused"
    ? {}
    : { tone: state === "online" ? ("good" as const) : ("calm" as const) };
