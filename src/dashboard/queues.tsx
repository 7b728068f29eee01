/** Queues: what waits in each, why nothing starts where nothing does, and how much may. Named limits stand below them. */
import { useSignal } from "@preact/signals";
import type { Group, Limit, Queue, QueueSettings, Rate } from "../wire/queues.ts";
import { strategies } from "../wire/queues.ts";
import { namePartPattern } from "../wire/schema.ts";
import { priorities } from "../wire/tasks.ts";
import { now } from "./figures.ts";
import { count, distance, duration, moment } from "./format.ts";
import { client, isLive } from "./link.ts";
import { onChange, onFigures, useLive } from "./live.ts";
import { Badge } from "./parts/badge.tsx";
import { Age } from "./parts/cells.tsx";
import { Dialog } from "./parts/dialog.tsx";
import type { Column } from "./parts/list.tsx";
import { Paged, usePages } from "./parts/pages.tsx";
import { Search } from "./parts/search.tsx";
import { Empty, Shown } from "./parts/states.tsx";
import { act } from "./parts/toast.tsx";
import { Facts } from "./parts/value.tsx";
import { href, refine, route } from "./route.ts";

/** Why nothing starts in it, or that things do. */
function Standing({ of }: { of: Pick<Queue, "paused" | "shut"> }) {
  if (of.paused !== null) {
    const { until, reason } = of.paused;
    const till = until === null ? "" : ` until ${moment(until)}`;
    return <Badge tone="warn">{`paused${till}${reason === null ? "" : `: ${reason}`}`}</Badge>;
  }
  if (of.shut === "concurrency") return <Badge tone="running">as many run as may</Badge>;
  if (of.shut === "rate") return <Badge tone="running">as many started as may</Badge>;
  return <Badge tone="good">open</Badge>;
}

const rateText = (rate: Rate | null): string | null =>
  rate === null
    ? null
    : `${count(rate.count)} per ${duration(rate.perMs)}${rate.burst === undefined || rate.burst === rate.count ? "" : `, bursts of ${count(rate.burst)}`}`;

/** How many wait, and of which priority. */
function Depth({ of }: { of: Queue }) {
  const { queuedByPriority: by, counts } = of;
  const said = priorities.filter((one) => by[one] > 0).map((one) => `${count(by[one])} ${one}`);
  return (
    <span class="meter">
      <span
        class="bar"
        role="img"
        aria-label={said.length === 0 ? "none queued" : said.join(", ")}
        title={said.join(", ")}
      >
        {priorities.map((one) => (
          <i key={one} class={`priority-${one}`} style={{ flexGrow: by[one] }} />
        ))}
      </span>
      {count(counts.queued)}
    </span>
  );
}

const columns: Column<Queue>[] = [
  { name: "Queue", lead: true, cell: ({ name }) => <a href={href("queues", name)}>{name}</a> },
  { name: "Standing", cell: (queue) => <Standing of={queue} /> },
  { name: "Queued", cell: (queue) => <Depth of={queue} /> },
  {
    name: "Oldest",
    figures: true,
    cell: ({ oldestAt }) => (oldestAt === null ? null : <Age since={oldestAt} />),
  },
  {
    name: "Running",
    figures: true,
    cell: ({ counts, settings }) =>
      settings.concurrency === null
        ? count(counts.running)
        : `${count(counts.running)}/${count(settings.concurrency)}`,
  },
  {
    name: "Later",
    minor: true,
    figures: true,
    cell: ({ counts }) => count(counts.scheduled + counts.blocked),
  },
  { name: "Completed", minor: true, figures: true, cell: ({ counts }) => count(counts.completed) },
  {
    name: "Failed",
    figures: true,
    cell: ({ counts }) => {
      const failed = counts.failed + counts.dead;
      return failed === 0 ? <span class="dim">0</span> : <span class="tone-failed">{count(failed)}</span>;
    },
  },
];

const mayBegin = new RegExp(namePartPattern);

export function Queues() {
  const prefix = route.value.query.get("prefix") ?? "";
  const pages = usePages(
    "queues",
    prefix,
    (of, asked, options) => of.queues({ ...asked, ...(prefix !== "" && { prefix }) }, options),
    [onFigures],
  );
  return (
    <>
      <Search
        label="Find queues by how they begin"
        placeholder="mail-"
        value={prefix}
        search={(text) => {
          const word = text.trim();
          if (!mayBegin.test(word)) return "A name has letters, digits and . _ : @ / + - alone.";
          refine({ prefix: word });
          return null;
        }}
      />
      <Paged
        pages={pages}
        label="Queues"
        columns={columns}
        keyOf={({ name }) => name}
        open={({ name }) => href("queues", name)}
        empty={
          <Empty title={prefix === "" ? "No queues yet" : `No queue's name begins with ${prefix}`}>
            {prefix === "" ? (
              "A queue is there once a task was submitted to it."
            ) : (
              <a href={href("queues")}>Show all queues</a>
            )}
          </Empty>
        }
      />
      <Limits />
    </>
  );
}

function Limits() {
  const pages = usePages(
    "limits",
    "",
    (of, asked, options) => of.limits(asked, options),
    [onFigures, onChange({ tables: ["limits"] })],
    25,
  );
  if (pages.rows?.length === 0 && pages.number === 1 && pages.reading.error === null) return null;
  return (
    <section aria-labelledby="limits" class="group">
      <h2 id="limits">Named limits</h2>
      <Paged
        pages={pages}
        expected={2}
        label="Named limits"
        columns={limitColumns}
        keyOf={({ name }) => name}
      />
    </section>
  );
}

const limitColumns: Column<Limit>[] = [
  { name: "Limit", lead: true, cell: ({ name }) => name },
  { name: "Standing", cell: (limit) => <Standing of={{ paused: null, shut: limit.shut }} /> },
  {
    name: "Running",
    figures: true,
    cell: ({ running, concurrency }) =>
      concurrency === null ? count(running) : `${count(running)}/${count(concurrency)}`,
  },
  { name: "Rate", figures: true, cell: ({ rate }) => rateText(rate) },
];

export function QueuePage({ name }: { name: string }) {
  const reading = useLive(
    (of, options) => of.queue(name, options),
    [onFigures, onChange({ queue: name, tables: ["queues", "pauses"] })],
    [name],
  );
  return (
    <Shown reading={reading} rows={8}>
      {(queue) => (
        <>
          <header class="subject">
            <div>
              <h2>{queue.name}</h2>
              <Standing of={queue} />
            </div>
            <div class="actions">
              <a class="button" href={href("tasks", null, { queue: queue.name })}>
                Its tasks
              </a>
              <Pausing queue={queue.name} group={null} paused={queue.paused !== null} again={reading.again} />
            </div>
          </header>
          <div class="columns">
            <div>
              <Counts queue={queue} />
              <Groups queue={queue.name} />
            </div>
            <div>
              <Settings key={JSON.stringify(queue.settings)} queue={queue} again={reading.again} />
            </div>
          </div>
        </>
      )}
    </Shown>
  );
}

function Counts({ queue }: { queue: Queue }) {
  const { counts, queuedByPriority, oldestAt, paused } = queue;
  const tasks = (state: string, n: number) =>
    n === 0 ? (
      <span class="dim">0</span>
    ) : (
      <a href={href("tasks", null, { queue: queue.name, state })}>{count(n)}</a>
    );
  return (
    <section class="card">
      <h3>Tasks</h3>
      <Facts
        facts={[
          ["Queued", tasks("queued", counts.queued)],
          ...priorities
            .filter((one) => queuedByPriority[one] > 0)
            .map((one) => [`of those ${one}`, count(queuedByPriority[one])] as const),
          ["Oldest queued", oldestAt === null ? null : `submitted ${distance(oldestAt, now.value)}`],
          ["Running", tasks("running", counts.running)],
          ["Scheduled", tasks("scheduled", counts.scheduled)],
          ["Blocked", tasks("blocked", counts.blocked)],
          ["Completed", tasks("completed", counts.completed)],
          ["Failed", tasks("failed", counts.failed)],
          ["Dead", tasks("dead", counts.dead)],
          ["Cancelled", tasks("cancelled", counts.cancelled)],
          ["Paused by", paused === null ? null : `${paused.by}, ${distance(paused.since, now.value)}`],
        ]}
      />
    </section>
  );
}

function Groups({ queue }: { queue: string }) {
  const pages = usePages(
    "groups",
    queue,
    (of, asked, options) => of.groups(queue, asked, options),
    [onFigures, onChange({ queue, tables: ["pauses"] })],
    25,
  );
  const { reading } = pages;
  const named = pages.rows?.filter(({ name }) => name !== "") ?? [];
  if (named.length === 0 && pages.number === 1 && reading.error === null) return null;
  return (
    <section class="group" aria-labelledby="groups">
      <h2 id="groups">Groups</h2>
      <Paged
        pages={pages}
        expected={3}
        label="Groups with tasks"
        columns={groupColumns(queue, reading.again)}
        keyOf={({ name }) => name}
      />
    </section>
  );
}

const groupColumns = (queue: string, again: () => void): Column<Group>[] => [
  { name: "Group", lead: true, cell: ({ name }) => (name === "" ? <span class="dim">no group</span> : name) },
  { name: "Standing", cell: (group) => <Standing of={group} /> },
  { name: "Queued", figures: true, cell: ({ queued }) => count(queued) },
  { name: "Running", figures: true, cell: ({ running }) => count(running) },
  { name: "Weight", figures: true, minor: true, cell: ({ weight }) => weight },
  {
    name: "Actions",
    actions: true,
    cell: ({ name, paused }) =>
      name === "" ? null : <Pausing queue={queue} group={name} paused={paused !== null} again={again} />,
  },
];

const spans = [
  { name: "Until it is resumed", ms: undefined },
  { name: "1 minute", ms: 60_000 },
  { name: "10 minutes", ms: 600_000 },
  { name: "1 hour", ms: 3_600_000 },
];

function Pausing({
  queue,
  group,
  paused,
  again,
}: {
  queue: string;
  group: string | null;
  paused: boolean;
  again: () => void;
}) {
  const asking = useSignal(false);
  const of = client.value;
  if (of === null) return null;
  const what = group === null ? `Queue ${queue}` : `Group ${group}`;
  const off = !isLive.value;
  if (paused)
    return (
      <button
        type="button"
        class="main"
        disabled={off}
        onClick={() => act(() => of.resume(queue, group ?? undefined), `${what} is resumed`).then(again)}
      >
        Resume
      </button>
    );
  const close = () => {
    asking.value = false;
  };
  return (
    <>
      <button type="button" disabled={off} onClick={() => (asking.value = true)}>
        Pause
      </button>
      {asking.value && (
        <Dialog title={`Pause ${what.toLowerCase()}?`} close={close}>
          <form
            class="form"
            onSubmit={(event) => {
              event.preventDefault();
              const form = new FormData(event.currentTarget);
              const reason = String(form.get("reason") ?? "").trim();
              const forMs = spans[Number(form.get("span"))]?.ms;
              close();
              act(
                () =>
                  of.pause(queue, {
                    ...(group !== null && { group }),
                    ...(forMs !== undefined && { forMs }),
                    ...(reason !== "" && { reason }),
                  }),
                `${what} is paused`,
              ).then(again);
            }}
          >
            <p>No more of its tasks start. Those that run go on.</p>
            <label class="field">
              <span>For how long</span>
              <select name="span">
                {spans.map(({ name }, i) => (
                  <option key={name} value={i}>
                    {name}
                  </option>
                ))}
              </select>
            </label>
            <label class="field">
              <span>Why (others will see it)</span>
              <input name="reason" maxLength={200} autocomplete="off" />
            </label>
            <div class="actions">
              <button type="button" onClick={close}>
                Leave it open
              </button>
              <button type="submit" class="main">
                Pause
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </>
  );
}

/** What the form says of a rate; null: none. A burst of its own, which the form does not show, stays. */
const rateOf = (form: FormData, name: string, before: Rate | null): Rate | null => {
  const many = numberOf(form, name);
  if (many === null) return null;
  const rate: Rate = { count: many, perMs: (numberOf(form, `${name}-per`) ?? 1) * 1000 };
  if (before?.burst !== undefined && before.burst !== before.count) rate.burst = before.burst;
  return rate;
};
const numberOf = (form: FormData, name: string): number | null => {
  const text = String(form.get(name) ?? "").trim();
  return text === "" ? null : Number(text);
};

// A component of its own: one made within another is new with each news, and what is typed would be gone.
function Figure({
  name,
  label,
  value,
  none = "no limit",
}: {
  name: string;
  label: string;
  value: number | null | undefined;
  none?: string;
}) {
  return (
    <label class="field">
      <span>{label}</span>
      <input name={name} type="number" min="0" step="any" defaultValue={value ?? ""} placeholder={none} />
    </label>
  );
}

/** What is empty is not limited. What is chosen is said by the options: the value of a select would be set anew with each news. */
function Settings({ queue, again }: { queue: Queue; again: () => void }) {
  const of = client.value;
  const { settings } = queue;
  const save = (form: FormData) => {
    const backlogMax = numberOf(form, "backlog");
    const strategy = form.get("strategy");
    const wanted: QueueSettings = {
      concurrency: numberOf(form, "concurrency"),
      rate: rateOf(form, "rate", settings.rate),
      groupConcurrency: numberOf(form, "groupConcurrency"),
      groupRate: rateOf(form, "groupRate", settings.groupRate),
      weight: numberOf(form, "weight"),
      backlog: backlogMax === null ? null : { max: backlogMax, policy: form.get("policy") as "refuse" },
      strategy: strategy === "" ? null : (strategy as (typeof strategies)[number]),
    };
    if (of !== null) act(() => of.configure(queue.name, wanted), `Queue ${queue.name} is set`).then(again);
  };
  return (
    <section class="card" aria-labelledby="settings">
      <h3 id="settings">Limits</h3>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          save(new FormData(event.currentTarget));
        }}
      >
        <div class="row">
          <Figure name="concurrency" label="Run at once" value={settings.concurrency} />
          <Figure name="groupConcurrency" label="Of one group at once" value={settings.groupConcurrency} />
        </div>
        <div class="row">
          <Figure name="rate" label="Start at most" value={settings.rate?.count} />
          <Figure name="rate-per" label="in so many seconds" value={(settings.rate?.perMs ?? 1000) / 1000} />
        </div>
        <div class="row">
          <Figure name="groupRate" label="Of one group start at most" value={settings.groupRate?.count} />
          <Figure
            name="groupRate-per"
            label="in so many seconds"
            value={(settings.groupRate?.perMs ?? 1000) / 1000}
          />
        </div>
        <div class="row">
          <Figure name="backlog" label="May wait" value={settings.backlog?.max} />
          <label class="field">
            <span>Beyond that</span>
            <select name="policy">
              {["refuse", "drop-oldest", "drop-newest", "keep-latest"].map((policy) => (
                <option key={policy} selected={policy === settings.backlog?.policy}>
                  {policy}
                </option>
              ))}
            </select>
          </label>
        </div>
        <div class="row">
          <Figure name="weight" label="Share beside other queues" value={settings.weight} none="1" />
          <label class="field">
            <span>Which worker</span>
            <select name="strategy">
              <option value="">as the daemon does</option>
              {strategies.map((strategy) => (
                <option key={strategy} selected={strategy === settings.strategy}>
                  {strategy}
                </option>
              ))}
            </select>
          </label>
        </div>
        <div class="actions">
          <button type="submit" class="main" disabled={!isLive.value}>
            Save limits
          </button>
        </div>
      </form>
    </section>
  );
}
