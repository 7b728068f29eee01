/** `cortexd subscriptions …`: those that last, and what waits there. */
import { durationText } from "../config.ts";
import { SubscriptionPut, type SubscriptionView } from "../wire/subscriptions.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { inputOf, optionsOf } from "./options.ts";
import type { Colour, Column } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { age, backoffInWords, moment, number, plural } from "./words.ts";

const NAME = { name: "NAME", help: "The subscription; $worker.ID is that worker's own inbox." } as const;

const list = command({
  summary: "List subscriptions that last, and how much waits there.",
  arguments: [],
  options: { limit: { type: "integer", min: 1, default: 1000, help: "At most so many." } },
  client: true,
  watch: true,
  json: 'one object, {"subscriptions": [...], "cursor": ...}, as GET /api/subscriptions answers.',
  examples: [{ words: "subscriptions list", meaning: "A line a subscription." }],
  async run({ values, to, out }) {
    const client = rest(to);
    const pages = pagesOf("subscriptions", values.limit, (asked) => client.subscriptions.list(asked));
    await out.pages("subscriptions", pages, columns(out.now()), "There are no subscriptions that last.");
    return undefined;
  },
});

const columns = (now: number): Column<SubscriptionView>[] => [
  { title: "NAME", of: ({ name }) => name, whole: true },
  { title: "TOPIC", of: ({ topic }) => topic ?? "-", whole: true },
  { title: "PENDING", of: ({ pending }) => number(pending), right: true, whole: true },
  { title: "IN FLIGHT", of: ({ inFlight }) => number(inFlight), right: true, whole: true },
  { title: "DEAD", of: ({ dead }) => number(dead), right: true, whole: true },
  { title: "DROPPED", of: ({ dropped }) => number(dropped), right: true, whole: true },
  { title: "LISTENERS", of: ({ listeners }) => number(listeners), right: true, whole: true },
  { title: "AGE", of: ({ createdAt }) => age(createdAt, now), whole: true },
];

const show = command({
  summary: "Show one subscription: its settings, and how much waits there.",
  arguments: [NAME],
  options: {},
  client: true,
  watch: true,
  json: "one object, as GET /api/subscriptions/NAME answers.",
  examples: [{ words: "subscriptions show billing", meaning: "All of it." }],
  async run({ words: [name], to, out }) {
    const view = await rest(to).subscriptions.get(name!);
    if (out.json) await out.value(view);
    else await out.fields(fieldsOf(view, out.now()));
    return undefined;
  },
});

const fieldsOf = (
  view: SubscriptionView,
  now: number,
): (readonly [string, string | null, (Colour | null)?])[] => [
  ["Subscription", view.name, "bold"],
  ["Topic", view.topic ?? `what is sent to ${view.workerId}`],
  ["Goes with", view.ownerId === null ? null : `worker ${view.ownerId}`],
  ["Pending", `${number(view.pending)} of at most ${number(view.pendingMax)}`],
  ["When full", view.whenFull],
  ["On their way", number(view.inFlight)],
  ["To come again", number(view.waiting)],
  ["Dead", number(view.dead), view.dead > 0 ? "red" : null],
  ["Dropped", number(view.dropped)],
  ["Listeners", number(view.listeners)],
  ["Acknowledged", `within ${durationText(view.ackWaitMs)}`],
  ["Deliveries", `at most ${number(view.deliveriesMax)}`],
  ["Backoff", backoffInWords(view.backoff)],
  ["Idle", view.idleMs === null ? null : `it goes after ${durationText(view.idleMs)} without a listener`],
  ["Made", moment(view.createdAt, now)],
  ["Revision", String(view.revision)],
];

const put = command({
  summary: "Make a subscription that lasts, or change its settings.",
  arguments: [NAME, { name: "TOPIC", help: "Which topics; with `*` and `>`.", optional: true }],
  options: optionsOf(SubscriptionPut, ["name", "topic"]),
  client: true,
  json: "one object, as PUT /api/subscriptions/NAME answers.",
  examples: [
    {
      words: "subscriptions put billing 'orders.*' --ack-wait 1m",
      meaning: "From now on it keeps what comes.",
    },
  ],
  async run({ words: [name, topic], values, to, out }) {
    const input = { ...inputOf(SubscriptionPut, values), name: name!, ...(topic && { topic }) };
    const view = await rest(to).subscriptions.put(input);
    await (out.json
      ? out.value(view)
      : out.line(`${view.name} keeps ${view.topic ?? "what is sent to it"}.`));
    return undefined;
  },
});

const remove = command({
  summary: "Delete a subscription, and with it what waits there.",
  arguments: [NAME],
  options: {},
  client: true,
  json: 'one object, {"name", "droppedCount"}.',
  examples: [{ words: "subscriptions delete billing", meaning: "It is gone, and what waited for it alone." }],
  async run({ words: [name], to, out }) {
    const deleted = await rest(to).subscriptions.delete(name!);
    const { droppedCount } = deleted;
    await (out.json
      ? out.value(deleted)
      : out.line(`${deleted.name} is deleted, and ${plural(droppedCount, "message")} waited there.`));
    return undefined;
  },
});

const retry = command({
  summary: "Deliver the dead messages of a subscription again.",
  arguments: [NAME],
  options: {},
  client: true,
  json: 'one object, {"retried"}.',
  examples: [{ words: "subscriptions retry billing", meaning: "As if they came for the first time." }],
  async run({ words: [name], to, out }) {
    const retried = await rest(to).messages.retry({ subscription: name! });
    await (out.json
      ? out.value(retried)
      : out.line(`Delivered again: ${plural(retried.retried, "message")}.`));
    return undefined;
  },
});

export const subscriptions: Group = {
  summary: "Subscriptions that last: what keeps messages until they are acknowledged.",
  commands: { list, show, put, delete: remove, retry },
};
