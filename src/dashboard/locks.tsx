/** Locks and leaders: who holds what, since when and until when, who waits in line behind whom, and taking one away. */
import { isRefused } from "../../client/errors.ts";
import type { Lock, LockRow } from "../wire/locks.ts";
import type { Input } from "../wire/operations.ts";
import { now } from "./figures.ts";
import { age, distance, duration, moment } from "./format.ts";
import { client, isLive } from "./link.ts";
import { onChange, useLive } from "./live.ts";
import { Badge } from "./parts/badge.tsx";
import { Age, Distance, Who } from "./parts/cells.tsx";
import { confirm } from "./parts/dialog.tsx";
import { type Column, List } from "./parts/list.tsx";
import { Paged, usePages } from "./parts/pages.tsx";
import { Search } from "./parts/search.tsx";
import { Empty, Shown } from "./parts/states.tsx";
import { act } from "./parts/toast.tsx";
import { Facts, Value } from "./parts/value.tsx";
import { go, href, refine, route } from "./route.ts";

/** As the client names the lock of an election. */
const elections = "election/";

const Standing = ({ of }: { of: Lock }) =>
  of.state === "held" ? <Badge tone="running">held</Badge> : <Badge tone="queued">waiting</Badge>;

/** Sessions, if they do not say who they are, are known by what they say of their lock. */
const Holder = ({ of: { workerId, who } }: { of: Lock }) =>
  workerId !== null ? <a href={href("workers", workerId)}>{workerId}</a> : <Who who={who} />;

const modeText = ({ mode, lock, name }: LockRow): string => {
  const limit = lock.resources.find((one) => one.name === name)?.limit ?? null;
  return limit === null ? mode : `${mode}, ${limit} at most`;
};

const columns: Column<LockRow>[] = [
  { name: "Name", lead: true, cell: ({ name, lock }) => <a href={href("locks", lock.lockId)}>{name}</a> },
  { name: "State", cell: ({ lock }) => <Standing of={lock} /> },
  { name: "Holder", cell: ({ lock }) => <Holder of={lock} /> },
  { name: "Mode", cell: (row) => modeText(row) },
  {
    name: "For",
    figures: true,
    cell: ({ lock }) => <Age since={lock.heldAt ?? lock.createdAt} />,
  },
  {
    name: "Ends",
    cell: ({ lock }) => {
      const at = lock.state === "waiting" ? lock.waitEndsAt : lock.expiresAt;
      if (at !== null) return <Distance at={at} />;
      return lock.workerId === null ? null : <span class="dim">with its worker</span>;
    },
  },
  {
    name: "Token",
    figures: true,
    minor: true,
    cell: ({ lock: { token, state } }) => (state === "held" ? token : null),
  },
];

export function Locks() {
  const { query } = route.value;
  const prefix = query.get("prefix") ?? "";
  const state = (["held", "waiting"] as const).find((one) => one === query.get("state")) ?? null;
  const filter: Input<"lock.list"> = {};
  if (prefix !== "") filter.prefix = prefix;
  if (state !== null) filter.state = state;
  const pages = usePages(
    "locks",
    filter,
    (of, asked, options) => of.locks.list({ ...filter, ...asked }, options),
    [onChange({ tables: ["locks"] })],
  );
  const none = prefix === "" && state === null;
  const choices = [
    { name: "all", is: none, to: { state: null, prefix: null } },
    { name: "held", is: state === "held", to: { state: "held" } },
    { name: "waiting", is: state === "waiting", to: { state: "waiting" } },
    {
      name: "leaders",
      is: prefix === elections && state === "held",
      to: { prefix: elections, state: "held" },
    },
  ];
  return (
    <>
      <Search
        label="Find locks by how their name begins"
        placeholder="deploy/, or a lock's id"
        value={prefix}
        search={(text) => {
          const word = text.trim();
          if (/^[0-9]+-[0-9]+$/.test(word)) go(href("locks", word));
          else refine({ prefix: word });
          return null;
        }}
      />
      <div class="chips" role="group" aria-label="Which locks">
        {choices.map(({ name, is, to }) => (
          <button key={name} type="button" aria-pressed={is} onClick={() => refine(to)}>
            {name}
          </button>
        ))}
      </div>
      <Paged
        pages={pages}
        label="Locks by name, in the order of their line"
        columns={columns}
        keyOf={({ name, lock }) => `${name} ${lock.lockId}`}
        open={({ lock }) => href("locks", lock.lockId)}
        empty={
          <Empty title={none ? "No locks" : "No lock fits"}>
            {none ? (
              <>
                Take one: <code>cortexd lock deploy/staging -- make deploy</code>
              </>
            ) : (
              <a href={href("locks")}>Show all locks</a>
            )}
          </Empty>
        }
      />
    </>
  );
}

export function LockPage({ id }: { id: string }) {
  const reading = useLive(
    (of, options) => of.call("lock.get", { lockId: id }, options),
    [onChange({ tables: ["locks"] })],
    [id],
  );
  const { error } = reading;
  if (isRefused(error, "unknown-lock"))
    return (
      <Empty title={`Lock ${id} is over`}>
        It was released, has expired, was taken away, or went with its worker.{" "}
        <a href={href("locks")}>All locks</a>
      </Empty>
    );
  return (
    <Shown reading={reading} rows={6}>
      {(lock) => (
        <>
          <header class="subject">
            <div>
              <h2>{lock.resources.map(({ name }) => name).join(", ")}</h2>
              <Standing of={lock} />
            </div>
            <Taking lock={lock} again={reading.again} />
          </header>
          <div class="columns">
            <div>
              <List
                label="What it locks"
                rows={lock.resources}
                keyOf={({ name }) => name}
                columns={[
                  {
                    name: "Name",
                    lead: true,
                    cell: ({ name }) => <a href={href("locks", null, { prefix: name })}>{name}</a>,
                  },
                  { name: "Mode", cell: ({ mode }) => mode },
                  { name: "At most", figures: true, cell: ({ limit }) => limit },
                ]}
              />
              {lock.value !== null && <Value label="What its holder says" value={lock.value} />}
            </div>
            <section class="card">
              <h3>Lock</h3>
              <Facts
                facts={[
                  ["Id", <code key="id">{lock.lockId}</code>],
                  ["Holder", <Holder key="holder" of={lock} />],
                  ["Session", lock.workerId === null ? null : lock.who],
                  ["Token", lock.state === "held" ? lock.token : null],
                  ["Asked for", distance(lock.createdAt, now.value)],
                  ["Held", lock.heldAt === null ? null : `for ${age(now.value - lock.heldAt)}`],
                  [
                    "Ends",
                    lock.expiresAt === null
                      ? null
                      : `${distance(lock.expiresAt, now.value)}, unless extended`,
                  ],
                  ["Extended within", lock.ttlMs === null ? null : duration(lock.ttlMs)],
                  ["Waits until", lock.waitEndsAt === null ? null : moment(lock.waitEndsAt)],
                  [
                    "Behind",
                    lock.behind === null ? null : (
                      <a key="behind" href={href("locks", lock.behind)}>
                        {lock.behind}
                      </a>
                    ),
                  ],
                  ["Revision", lock.revision],
                ]}
              />
            </section>
          </div>
        </>
      )}
    </Shown>
  );
}

function Taking({ lock, again }: { lock: Lock; again: () => void }) {
  const of = client.value;
  if (of === null) return null;
  const { lockId } = lock;
  const held = lock.state === "held";
  return (
    <button
      type="button"
      class="danger"
      disabled={!isLive.value}
      onClick={() =>
        confirm({
          title: held ? `Take lock ${lockId} away?` : `Withdraw lock ${lockId}?`,
          detail: held
            ? "Its holder is told, and what it does under the lock's token is refused from then on. Whoever is next in line has it."
            : "Whoever waits for it is refused.",
          yes: held ? "Take it away" : "Withdraw it",
          carryOut: () =>
            act(
              () => of.locks.steal(lockId, "from the dashboard"),
              held ? `Lock ${lockId} is taken away` : `Lock ${lockId} is withdrawn`,
            ).then(again),
        })
      }
    >
      {held ? "Take away" : "Withdraw"}
    </button>
  );
}
