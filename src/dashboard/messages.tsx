/**
 * Messages: subscriptions that keep them, and how far each is; what is published, as whoever listens hears it; and
 * publishing one. It listens only when it is told to, because who listens counts for those who ask.
 */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { isRefused } from "../../client/errors.ts";
import type { MessagePage, MessageView } from "../wire/messages.ts";
import type { SubscriptionView } from "../wire/subscriptions.ts";
import { priorities } from "../wire/tasks.ts";
import type { TopicView } from "../wire/topics.ts";
import { now } from "./figures.ts";
import { count, counted, distance, duration, pretty, preview, timeOfDay } from "./format.ts";
import { client, isLive } from "./link.ts";
import { onChange, onFigures, useLive } from "./live.ts";
import { Badge } from "./parts/badge.tsx";
import { Chips } from "./parts/chips.tsx";
import { confirm, Dialog } from "./parts/dialog.tsx";
import type { Column } from "./parts/list.tsx";
import { Paged, usePages } from "./parts/pages.tsx";
import { Search } from "./parts/search.tsx";
import { Empty, Shown } from "./parts/states.tsx";
import { act, explained, say } from "./parts/toast.tsx";
import { Facts } from "./parts/value.tsx";
import { go, href, refine, route } from "./route.ts";

const shownMax = 200;

const dead = ({ dead: n }: SubscriptionView) =>
  n === 0 ? <span class="dim">0</span> : <span class="tone-dead">{count(n)}</span>;

const columns: Column<SubscriptionView>[] = [
  { name: "Subscription", lead: true, cell: ({ name }) => <a href={href("messages", name)}>{name}</a> },
  {
    name: "Topic",
    cell: ({ topic }) => (topic === null ? <span class="dim">a worker's inbox</span> : <code>{topic}</code>),
  },
  {
    name: "Listeners",
    figures: true,
    cell: ({ listeners, pending }) =>
      listeners === 0 && pending > 0 ? <Badge tone="warn">none</Badge> : count(listeners),
  },
  { name: "Pending", figures: true, cell: ({ pending }) => count(pending) },
  { name: "On their way", figures: true, cell: ({ inFlight }) => count(inFlight) },
  { name: "To come again", minor: true, figures: true, cell: ({ waiting }) => count(waiting) },
  { name: "Dead", figures: true, cell: dead },
  { name: "Dropped", minor: true, figures: true, cell: ({ dropped }) => count(dropped) },
];

export function Messages() {
  const publishing = useSignal(false);
  const listening = route.value.query.get("listen");
  const pages = usePages("subscriptions", "", (of, asked, options) => of.subscriptions.list(asked, options), [
    onFigures,
    onChange({ tables: ["subscriptions"] }),
  ]);
  return (
    <>
      <div class="subject">
        <Search
          label="Listen to a topic"
          placeholder="Listen to orders.*, or > for all"
          value={listening ?? ""}
          search={(text) => {
            refine({ listen: text.trim() });
            return null;
          }}
        />
        <button type="button" disabled={!isLive.value} onClick={() => (publishing.value = true)}>
          Publish
        </button>
      </div>
      {listening !== null && <Listening key={listening} topic={listening} />}
      <section class="group" aria-labelledby="subscriptions">
        <h2 id="subscriptions">Subscriptions</h2>
        <Paged
          pages={pages}
          expected={4}
          label="Subscriptions by name"
          columns={columns}
          keyOf={({ name }) => name}
          open={({ name }) => href("messages", name)}
          empty={
            <Empty title="No subscriptions yet">
              One with a name keeps messages until they are acknowledged:{" "}
              <code>cortexd subscriptions put billing 'orders.*'</code>
            </Empty>
          }
        />
      </section>
      <Kept />
      {publishing.value && (
        <Publishing close={() => (publishing.value = false)} again={pages.reading.again} />
      )}
    </>
  );
}

/** Topics that keep messages for subscriptions that come later; most daemons have none. */
function Kept() {
  const pages = usePages(
    "topics",
    "",
    (of, asked, options) => of.topics.kept(asked, options),
    [onFigures],
    25,
  );
  if (pages.rows?.length === 0 && pages.number === 1 && pages.reading.error === null) return null;
  return (
    <section aria-labelledby="kept" class="group">
      <h2 id="kept">Kept for later subscriptions</h2>
      <Paged
        pages={pages}
        expected={2}
        label="Topics that keep messages"
        columns={keptColumns}
        keyOf={({ topic }) => topic}
      />
    </section>
  );
}

const keptColumns: Column<TopicView>[] = [
  { name: "Topic", lead: true, cell: ({ topic }) => <code>{topic}</code> },
  { name: "Kept", figures: true, cell: ({ kept }) => count(kept) },
  { name: "For", cell: ({ keepMs }) => (keepMs === null ? "any time" : duration(keepMs)) },
  {
    name: "At most",
    figures: true,
    cell: ({ keepCount }) => (keepCount === null ? "any" : count(keepCount)),
  },
  { name: "From revision", minor: true, figures: true, cell: ({ fromRevision }) => fromRevision ?? "" },
];

type Heard = { number: number; view: MessageView };

/** What is published from now on. */
function Listening({ topic }: { topic: string }) {
  const heard = useSignal<Heard[]>([]);
  const lost = useSignal(0);
  const wrong = useSignal<string | null>(null);
  const of = client.value;
  useEffect(() => {
    if (of === null) return;
    const end = new AbortController();
    let number = 0;
    const listen = async () => {
      const onLost = ({ count: n }: { count: number | null }) => {
        lost.value += n ?? 1;
      };
      for await (const { view } of of.topics.subscribe(topic, { signal: end.signal, onLost }))
        heard.value = [{ number: ++number, view }, ...heard.peek().slice(0, shownMax - 1)];
    };
    listen().catch((error) => {
      if (!end.signal.aborted) wrong.value = explained(error);
    });
    return () => end.abort();
  }, [of, topic]);
  return (
    <section class="group" aria-labelledby="heard">
      <header class="subject">
        <h2 id="heard">
          Listening to <code>{topic}</code>
        </h2>
        <div class="actions">
          <button type="button" onClick={() => (heard.value = [])}>
            Clear
          </button>
          <button type="button" class="main" onClick={() => refine({ listen: null })}>
            Stop
          </button>
        </div>
      </header>
      {wrong.value !== null && (
        <p class="wrong" role="alert">
          {wrong.value}
        </p>
      )}
      {lost.value > 0 && (
        <p class="dim">More came than could be shown: {counted(lost.value, "message")} passed unseen.</p>
      )}
      {heard.value.length === 0 ? (
        <p class="dim" role="status">
          What is published from now on is shown here, the newest on top.
        </p>
      ) : (
        <ol class="changes" aria-label="Messages, newest first">
          {heard.value.map(({ number, view }) => (
            <li key={number}>
              <time>{timeOfDay(view.publishedAt)}</time>
              <span class="of">{view.topic ?? `to ${view.workerId}`}</span>
              <span class="turn">
                {view.priority !== "normal" && <Badge state={view.priority} />}
                {view.messageId === null ? (
                  <span class="dim">in no log</span>
                ) : (
                  <span class="dim">{view.messageId}</span>
                )}
              </span>
              <code>{pretty(view.payload).slice(0, 2000)}</code>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function Publishing({ close, again }: { close: () => void; again: () => void }) {
  const wrong = useSignal<string | null>(null);
  const publish = async (form: FormData) => {
    let payload: unknown;
    try {
      const text = String(form.get("payload") ?? "").trim();
      payload = text === "" ? null : JSON.parse(text);
    } catch (error) {
      wrong.value = `The payload is not JSON: ${(error as Error).message}. A text stands in double quotes.`;
      return;
    }
    const topic = String(form.get("topic") ?? "").trim();
    const priority = form.get("priority") as (typeof priorities)[number];
    try {
      const published = await client.value?.topics.publish(topic, payload, { priority });
      say(`Published to ${topic}: kept by ${counted(published?.subscriptions ?? 0, "subscription")}`);
      close();
      again();
    } catch (error) {
      wrong.value = explained(error);
    }
  };
  return (
    <Dialog title="Publish a message" close={close}>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void publish(new FormData(event.currentTarget));
        }}
      >
        <div class="row">
          <label class="field">
            <span>Topic</span>
            <input name="topic" required autocomplete="off" spellcheck={false} placeholder="orders.eu" />
          </label>
          <label class="field">
            <span>Priority</span>
            <select name="priority">
              {priorities.map((priority) => (
                <option key={priority} selected={priority === "normal"}>
                  {priority}
                </option>
              ))}
            </select>
          </label>
        </div>
        <label class="field">
          <span>Payload, as JSON</span>
          <textarea name="payload" rows={5} spellcheck={false} placeholder="null" />
        </label>
        <p class="wrong" role="alert">
          {wrong.value}
        </p>
        <div class="actions">
          <button type="button" onClick={close}>
            Leave it
          </button>
          <button type="submit" class="main">
            Publish
          </button>
        </div>
      </form>
    </Dialog>
  );
}

export function SubscriptionPage({ name }: { name: string }) {
  const reading = useLive(
    (of, options) => of.subscriptions.get(name, options),
    [onFigures, onChange({ tables: ["subscriptions"] })],
    [name],
  );
  const { error } = reading;
  if (isRefused(error, "unknown-subscription"))
    return (
      <Empty title={`There is no subscription ${name}`}>
        <a href={href("messages")}>All subscriptions</a>
      </Empty>
    );
  return (
    <Shown reading={reading} rows={6}>
      {(subscription) => (
        <>
          <header class="subject">
            <div>
              <h2>{subscription.topic ?? `Inbox of ${subscription.workerId}`}</h2>
              {subscription.listeners === 0 ? (
                <Badge tone={subscription.pending > 0 ? "warn" : "calm"}>nobody listens</Badge>
              ) : (
                <Badge tone="good">{counted(subscription.listeners, "listener")}</Badge>
              )}
            </div>
            <Tending subscription={subscription} again={reading.again} />
          </header>
          <div class="columns">
            <section class="card">
              <h3>Messages</h3>
              <Facts
                facts={[
                  ["Pending", `${count(subscription.pending)} of at most ${count(subscription.pendingMax)}`],
                  ["On their way", count(subscription.inFlight)],
                  ["To come again", count(subscription.waiting)],
                  ["Dead", dead(subscription)],
                  ["Dropped", count(subscription.dropped)],
                ]}
              />
            </section>
            <section class="card">
              <h3>Subscription</h3>
              <Facts
                facts={[
                  ["Name", <code key="name">{subscription.name}</code>],
                  ["Acknowledge within", duration(subscription.ackWaitMs)],
                  ["Deliveries", `${count(subscription.deliveriesMax)}, then it is dead`],
                  ["When it is full", subscription.whenFull],
                  [
                    "Goes when idle",
                    subscription.idleMs === null ? null : `for ${duration(subscription.idleMs)}`,
                  ],
                  ["Goes with", subscription.ownerId],
                  ["Made", distance(subscription.createdAt, now.value)],
                  ["Revision", subscription.revision],
                ]}
              />
            </section>
          </div>
          <Waiting name={name} />
        </>
      )}
    </Shown>
  );
}

type Row = MessagePage["messages"][number];
type Standing = NonNullable<Row["state"]>;
const standings: Record<Standing, string> = {
  ready: "ready",
  flying: "on its way",
  waiting: "to come again",
  dead: "dead",
};
const standingTones = { ready: "queued", flying: "running", waiting: "warn", dead: "dead" } as const;

const waitingColumns: Column<Row>[] = [
  { name: "Message", lead: true, cell: ({ messageId }) => <code>{messageId}</code> },
  {
    name: "State",
    cell: ({ state }) =>
      state === undefined ? null : <Badge tone={standingTones[state]}>{standings[state]}</Badge>,
  },
  { name: "Topic", cell: ({ topic }) => topic && <code>{topic}</code> },
  { name: "Priority", cell: ({ priority }) => priority },
  { name: "Failed", figures: true, cell: ({ failedCount }) => count(failedCount ?? 0) },
  { name: "Age", figures: true, cell: ({ publishedAt }) => duration(now.value - publishedAt) },
  {
    name: "Payload",
    wide: true,
    cell: ({ payload }) => <code>{preview(payload)}</code>,
  },
  { name: "Reason", wide: true, cell: ({ reason }) => reason },
];

/** What the subscription keeps, and why what is dead came to that. */
function Waiting({ name }: { name: string }) {
  const asked = route.value.query.get("state");
  const state = asked !== null && Object.hasOwn(standings, asked) ? (asked as Standing) : null;
  const pages = usePages(
    "messages",
    [name, state],
    (of, page, options) =>
      of.subscriptions.messages(name, { ...page, ...(state === null ? {} : { state }) }, options),
    [onFigures],
    25,
  );
  return (
    <section class="group" aria-labelledby="waiting">
      <h2 id="waiting">What it keeps</h2>
      <Chips
        label="States"
        of={Object.keys(standings) as Standing[]}
        chosen={state}
        choose={(one) => refine({ state: one })}
      >
        {(one) => standings[one]}
      </Chips>
      <Paged
        pages={pages}
        expected={3}
        label="Messages by id"
        columns={waitingColumns}
        keyOf={({ messageId }) => messageId as string}
        empty={<p class="dim">{state === null ? "Nothing waits here." : "No such message waits here."}</p>}
      />
    </section>
  );
}

function Tending({ subscription, again }: { subscription: SubscriptionView; again: () => void }) {
  const of = client.value;
  if (of === null) return null;
  const { name } = subscription;
  const off = !isLive.value;
  return (
    <div class="actions">
      {subscription.topic !== null && (
        <a class="button" href={href("messages", null, { listen: subscription.topic })}>
          Listen
        </a>
      )}
      {subscription.dead > 0 && (
        <button
          type="button"
          class="main"
          disabled={off}
          onClick={() =>
            act(() => of.subscriptions.retry(name), "Dead messages are delivered again").then(again)
          }
        >
          Deliver dead ones again
        </button>
      )}
      {subscription.topic !== null && (
        <button
          type="button"
          class="danger"
          disabled={off}
          onClick={() =>
            confirm({
              title: `Delete subscription ${name}?`,
              detail: `${counted(subscription.pending + subscription.dead, "message")} that it keeps go with it, for good.`,
              yes: "Delete it",
              carryOut: async () => {
                if (await act(() => of.subscriptions.delete(name), `Subscription ${name} is deleted`))
                  go(href("messages"));
              },
            })
          }
        >
          Delete
        </button>
      )}
    </div>
  );
}
