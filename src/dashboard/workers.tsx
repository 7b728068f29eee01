/** Workers: how busy each is, how it fares and why, what it runs; and taking one out of service. */
import { type Worker, workerStates } from "../wire/workers.ts";
import { newest, now } from "./figures.ts";
import { age, count, distance, labelsText } from "./format.ts";
import { client, isLive } from "./link.ts";
import { onChange, onFigures, useLive } from "./live.ts";
import { Badge } from "./parts/badge.tsx";
import { Age } from "./parts/cells.tsx";
import { Chips } from "./parts/chips.tsx";
import { confirm } from "./parts/dialog.tsx";
import { type Column, List } from "./parts/list.tsx";
import { Paged, usePages } from "./parts/pages.tsx";
import { Search } from "./parts/search.tsx";
import { Empty, Shown } from "./parts/states.tsx";
import { act } from "./parts/toast.tsx";
import { Facts } from "./parts/value.tsx";
import { go, href, refine, route } from "./route.ts";

function Load({ of }: { of: Worker }) {
  const { slotsUsed, capacity } = of;
  return (
    <span class="meter">
      <span class="bar" role="img" aria-label={`${slotsUsed} of ${capacity} slots in use`}>
        <i class="used" style={{ flexGrow: slotsUsed }} />
        <i style={{ flexGrow: Math.max(0, capacity - slotsUsed) }} />
      </span>
      {slotsUsed}/{capacity}
    </span>
  );
}

const columns: Column<Worker>[] = [
  { name: "Worker", lead: true, cell: ({ id }) => <a href={href("workers", id)}>{id}</a> },
  { name: "State", cell: ({ state }) => <Badge state={state} /> },
  {
    name: "Health",
    cell: ({ health, state, reasons }) =>
      state === "offline" ? null : (
        <span title={reasons.join("; ")}>
          <Badge state={health} />
        </span>
      ),
  },
  { name: "Load", cell: (worker) => <Load of={worker} /> },
  {
    name: "Queues",
    cell: ({ queues }) => (queues[0] === "*" ? <span class="dim">all</span> : queues.join(", ")),
  },
  { name: "Completed", figures: true, minor: true, cell: ({ completedCount }) => count(completedCount) },
  {
    name: "Failed",
    figures: true,
    minor: true,
    cell: ({ failedCount }) => (failedCount === 0 ? <span class="dim">0</span> : count(failedCount)),
  },
  {
    name: "Heard",
    figures: true,
    cell: ({ lastSeenAt }) => (lastSeenAt === null ? null : <Age since={lastSeenAt} />),
  },
];

export function Workers() {
  const { query } = route.value;
  const state = workerStates.find((one) => one === query.get("state")) ?? null;
  const kind = query.get("kind");
  const filter = { ...(state !== null && { state }), ...(kind !== null && { kind }) };
  const pages = usePages(
    "workers",
    filter,
    (of, asked, options) => of.workers({ ...filter, ...asked }, options),
    [onFigures, onChange({ tables: ["workers"] })],
  );
  const counts = newest.value?.workers;
  return (
    <>
      <Search
        label="Find a worker"
        placeholder="worker-001, or kind:builder"
        value={kind === null ? "" : `kind:${kind}`}
        search={(text) => {
          const word = text.trim();
          if (word === "" || word.startsWith("kind:")) refine({ kind: word.slice("kind:".length) });
          else go(href("workers", word));
          return null;
        }}
      />
      <Chips label="State" of={workerStates} chosen={state} choose={(one) => refine({ state: one })}>
        {(one) => (
          <>
            <Badge state={one} />
            {counts !== undefined && <b>{count(counts[one])}</b>}
          </>
        )}
      </Chips>
      <Paged
        pages={pages}
        label="Workers by id"
        columns={columns}
        keyOf={({ id }) => id}
        open={({ id }) => href("workers", id)}
        empty={
          <Empty title={state === null && kind === null ? "No workers yet" : "No worker fits"}>
            {state === null && kind === null ? (
              <>
                A worker is there once it has registered: the client's worker(), or any client of the
                protocol.
              </>
            ) : (
              <a href={href("workers")}>Show all workers</a>
            )}
          </Empty>
        }
      />
    </>
  );
}

export function WorkerPage({ id }: { id: string }) {
  const reading = useLive(
    (of, options) => of.worker(id, options),
    [onFigures, onChange({ workerId: id })],
    [id],
  );
  return (
    <Shown reading={reading} rows={8}>
      {(worker) => (
        <>
          <header class="subject">
            <div>
              <h2>{worker.kind}</h2>
              <Badge state={worker.state} />
              {worker.state !== "offline" && <Badge state={worker.health} />}
            </div>
            <Draining worker={worker} again={reading.again} />
          </header>
          {worker.reasons.length > 0 && (
            <section class="card why" aria-labelledby="reasons">
              <h3 id="reasons">Why it is not healthy</h3>
              {worker.reasons.map((reason) => (
                <p key={reason}>{reason}</p>
              ))}
            </section>
          )}
          <div class="columns">
            <Held id={id} />
            <section class="card">
              <h3>Worker</h3>
              <Facts
                facts={[
                  ["Id", <code key="id">{worker.id}</code>],
                  ["Instance", <code key="instance">{worker.instanceId}</code>],
                  ["Load", <Load key="load" of={worker} />],
                  [
                    "Connection",
                    worker.connected ? "WebSocket: tasks are pushed" : "none: it claims its tasks",
                  ],
                  ["Queues", worker.queues[0] === "*" ? "all" : worker.queues.join(", ")],
                  ["Capabilities", worker.capabilities.join(", ")],
                  ["Labels", labelsText(worker.labels)],
                  ["Health score", worker.healthScore],
                  ["Completed", count(worker.completedCount)],
                  ["Failed", count(worker.failedCount)],
                  ["Heard", worker.lastSeenAt === null ? null : distance(worker.lastSeenAt, now.value)],
                  ["Registered", distance(worker.registeredAt, now.value)],
                  ["Revision", worker.revision],
                ]}
              />
            </section>
          </div>
        </>
      )}
    </Shown>
  );
}

function Draining({ worker, again }: { worker: Worker; again: () => void }) {
  const of = client.value;
  if (of === null || worker.state === "offline") return null;
  const { id } = worker;
  const off = !isLive.value;
  if (worker.state === "draining")
    return (
      <button
        type="button"
        class="main"
        disabled={off}
        onClick={() => act(() => of.drain(id, false), `Worker ${id} gets tasks again`).then(again)}
      >
        Put back into service
      </button>
    );
  return (
    <button
      type="button"
      disabled={off}
      onClick={() =>
        confirm({
          title: `Drain worker ${id}?`,
          detail: "It gets no new tasks. Those it holds go on, and it stays connected.",
          yes: "Drain it",
          carryOut: () => act(() => of.drain(id), `Worker ${id} gets no new tasks`).then(again),
        })
      }
    >
      Drain
    </button>
  );
}

/** What it runs now. */
function Held({ id }: { id: string }) {
  const reading = useLive(
    (of, options) => of.tasks({ workerId: id, state: "running", limit: 25 }, options),
    [onChange({ workerId: id, tables: ["tasks"] })],
    [id],
  );
  return (
    <section class="group" aria-labelledby="held">
      <h2 id="held">Its tasks</h2>
      <Shown reading={reading} rows={2}>
        {({ tasks, cursor }) =>
          tasks.length === 0 ? (
            <p class="dim">It holds no task now.</p>
          ) : (
            <>
              <List
                label="Tasks it runs"
                rows={tasks}
                keyOf={({ id: taskId }) => taskId}
                open={({ id: taskId }) => href("tasks", taskId)}
                columns={[
                  {
                    name: "Task",
                    lead: true,
                    cell: (task) => <a href={href("tasks", task.id)}>{task.id}</a>,
                  },
                  { name: "Type", cell: ({ type }) => type },
                  { name: "Queue", cell: ({ queue }) => queue },
                  {
                    name: "For",
                    figures: true,
                    cell: ({ startedAt }) => (startedAt === null ? null : age(now.value - startedAt)),
                  },
                ]}
              />
              {cursor !== null && <p class="dim">The newest of them.</p>}
            </>
          )
        }
      </Shown>
    </section>
  );
}
