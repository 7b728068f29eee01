/** `cortexd queues …`: what waits in which queue, how it may flow, and pausing it. */
import {
  type Group as GroupView,
  type Queue,
  QueueList,
  type QueueSettings,
  strategies,
} from "../wire/queues.ts";
import { taskStates } from "../wire/tasks.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { Exit } from "./exit.ts";
import { amountOf, given, rateOf, rateText } from "./limits.ts";
import { inputOf, optionsOf } from "./options.ts";
import type { Column, Output } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { age, moment, number, stateColour } from "./words.ts";

const QUEUE = { name: "QUEUE", help: "The queue's name." } as const;
const group = { type: "text", help: "One group of the queue alone.", unit: "NAME" } as const;

const list = command({
  summary: "List the queues with their counts, and what is shut.",
  arguments: [],
  options: {
    ...optionsOf(QueueList, ["cursor", "limit"]),
    limit: { type: "integer", min: 1, default: 1000, help: "At most so many." },
  },
  client: true,
  watch: true,
  json: 'one object, {"queues": [...], "cursor": ...}, as GET /api/queues answers; cursor is null when all are there.',
  examples: [
    { words: "queues", meaning: "A line a queue: how many tasks are in which state." },
    { words: "queues list --prefix mail-", meaning: "Those whose names begin so." },
    { words: "queues list --json | jq -r '.queues[].name'", meaning: "Their names alone." },
  ],
  async run({ values, to, out }) {
    const client = rest(to);
    const filter = inputOf(QueueList, values);
    const pages = pagesOf("queues", values.limit, (asked) => client.queues({ ...filter, ...asked }));
    await out.pages(
      "queues",
      pages,
      queueColumns,
      values.prefix === undefined
        ? "There are no queues: a queue is there once a task was submitted to it, or something was set for it."
        : `No queue's name begins with ${values.prefix}.`,
    );
    return undefined;
  },
});

export const queueColumns: Column<Queue>[] = [
  { title: "QUEUE", of: ({ name }) => name, whole: true },
  ...taskStates.map(
    (state): Column<Queue> => ({
      title: state.toUpperCase(),
      of: ({ counts }) => number(counts[state]),
      right: true,
      whole: true,
      colour: ({ counts }) => (counts[state] === 0 ? "dim" : stateColour(state)),
    }),
  ),
  { title: "SHUT", of: ({ shut }) => shut ?? "", colour: () => "yellow" },
];

const show = command({
  summary: "Show everything about one queue.",
  arguments: [QUEUE],
  options: {},
  client: true,
  watch: true,
  json: "one object, as GET /api/queues/NAME answers.",
  examples: [{ words: "queues show mail", meaning: "Its counts, what is set for it, and what is shut." }],
  async run({ words: [name], to, out }) {
    await told(await rest(to).queue(name!), out);
    return undefined;
  },
});

const groups = command({
  summary: "List the groups of a queue that have ready or running tasks.",
  arguments: [QUEUE],
  options: { limit: { type: "integer", min: 1, default: 1000, help: "At most so many." } },
  client: true,
  watch: true,
  json: 'one object, {"groups": [...], "cursor": ...}, as GET /api/queues/NAME/groups answers; cursor is null when all are there.',
  examples: [{ words: "queues groups mail", meaning: "A line a group: what waits, runs, and is shut." }],
  async run({ words: [name], values, to, out }) {
    const client = rest(to);
    const pages = pagesOf("groups", values.limit, (asked) => client.groups(name!, asked));
    await out.pages("groups", pages, groupColumns(out.now()), "The queue has no groups with tasks.");
    return undefined;
  },
});

const groupColumns = (now: number): Column<GroupView>[] => [
  { title: "GROUP", of: ({ name }) => name || "(none)", whole: true },
  { title: "QUEUED", of: ({ queued }) => number(queued), right: true, whole: true },
  { title: "RUNNING", of: ({ running }) => number(running), right: true, whole: true },
  { title: "WEIGHT", of: ({ weight }) => number(weight), right: true, whole: true },
  { title: "SHUT", of: ({ shut }) => shut ?? "", colour: () => "yellow", whole: true },
  { title: "PAUSED", of: ({ paused }) => (paused === null ? "" : pauseText(paused, now)) },
];

const configure = command({
  summary: "Set how a queue's tasks may flow. What is not given stays; `none` resets.",
  arguments: [QUEUE],
  options: {
    concurrency: { type: "text", unit: "COUNT", help: "How many may run at once." },
    rate: { type: "text", unit: "COUNT/TIME", help: "How often one may start: 500/1m, or 500/1m,burst=50." },
    groupConcurrency: { type: "text", unit: "COUNT", help: "How many of one group may run at once." },
    groupRate: { type: "text", unit: "COUNT/TIME", help: "How often one of a group may start." },
    weight: { type: "text", unit: "COUNT", help: "The queue's share of workers that serve several queues." },
    groupWeight: {
      type: "pairs",
      help: "A group's turns for one of the others: acme=3, as often as wanted.",
    },
    strategy: {
      type: "choice",
      choices: [...strategies, "none"],
      help: "Which of the workers that fit and have room gets a task.",
    },
    backlog: {
      type: "text",
      unit: "COUNT,POLICY",
      help: "How many may wait, and what happens beyond: refuse, drop-oldest, drop-newest or keep-latest.",
    },
  },
  client: true,
  json: "one object, the queue as it is now.",
  examples: [
    { words: "queues configure mail --concurrency 50 --group-concurrency 5", meaning: "At most." },
    { words: "queues configure mail --group-rate 10/1s --group-weight acme=3", meaning: "For each tenant." },
    { words: "queues configure builds --strategy packed", meaning: "Fill one worker before the next." },
    { words: "queues configure mail --backlog 100000,refuse --rate none", meaning: "And no rate any more." },
  ],
  async run({ words: [name], values, to, out }) {
    const settings: QueueSettings = {
      ...given("concurrency", values.concurrency, amountOf),
      ...given("rate", values.rate, rateOf),
      ...given("groupConcurrency", values.groupConcurrency, amountOf),
      ...given("groupRate", values.groupRate, rateOf),
      ...given("weight", values.weight, amountOf),
      ...given("backlog", values.backlog, backlogOf),
      ...given("strategy", values.strategy, strategyOf),
    };
    if (values.groupWeight !== undefined)
      settings.groupWeights = Object.fromEntries(
        Object.entries(values.groupWeight).map(([one, weight]) => [one, amountOf(weight, "--group-weight")]),
      );
    await told(await rest(to).configure(name!, settings), out);
    return undefined;
  },
});

const pause = command({
  summary: "Start no more tasks of a queue, or of one group; what runs goes on.",
  arguments: [QUEUE],
  options: {
    group,
    for: { type: "duration", min: 1, help: "Go on by itself after so long." },
    reason: { type: "text", help: "Why, in words." },
  },
  client: true,
  json: "one object, the queue as it is now.",
  examples: [
    { words: "queues pause mail --reason maintenance", meaning: "Until it is resumed." },
    { words: "queues pause mail --group acme --for 1m", meaning: "One tenant, for a minute." },
  ],
  async run({ words: [name], values, to, out }) {
    const how = {
      ...(values.group === undefined ? {} : { group: values.group }),
      ...(values.for === undefined ? {} : { forMs: values.for }),
      ...(values.reason === undefined ? {} : { reason: values.reason }),
    };
    const queue = await rest(to).pause(name!, how);
    if (out.json) await out.value(queue);
    else
      await out.line(`${values.group === undefined ? name : `Group ${values.group} of ${name}`} is paused.`);
    return undefined;
  },
});

const resume = command({
  summary: "End the pause of a queue, or of one group.",
  arguments: [QUEUE],
  options: { group },
  client: true,
  json: "one object, the queue as it is now.",
  examples: [{ words: "queues resume mail --group acme", meaning: "Its tasks start again." }],
  async run({ words: [name], values, to, out }) {
    const queue = await rest(to).resume(name!, values.group);
    if (out.json) await out.value(queue);
    else await out.line(`${values.group === undefined ? name : `Group ${values.group} of ${name}`} goes on.`);
    return undefined;
  },
});

const strategyOf = (text: string): QueueSettings["strategy"] =>
  strategies.find((one) => one === text) ?? null;

function backlogOf(text: string, flag: string): QueueSettings["backlog"] {
  if (text === "none") return null;
  const [, max, policy] = /^([0-9]{1,9}),(refuse|drop-oldest|drop-newest|keep-latest)$/.exec(text) ?? [];
  if (max === undefined || policy === undefined)
    throw new Exit(
      "usage",
      `${flag} is ${JSON.stringify(text)}; allowed is COUNT,POLICY such as 1000,refuse, or none`,
      "The policies are refuse, drop-oldest, drop-newest and keep-latest.",
    );
  return { max: Number(max), policy: policy as NonNullable<Queue["settings"]["backlog"]>["policy"] };
}

const pauseText = ({ until, by, reason }: NonNullable<Queue["paused"]>, now: number): string =>
  [`by ${by}`, until === null ? null : `ends ${age(until, now)}`, reason]
    .filter((one) => one !== null)
    .join(", ");

async function told(queue: Queue, out: Output): Promise<void> {
  if (out.json) return out.value(queue);
  const { settings, paused } = queue;
  const now = out.now();
  const weights = Object.entries(settings.groupWeights).map(([one, weight]) => `${one}=${weight}`);
  const orNone = (value: number | null) => (value === null ? null : number(value));
  await out.fields([
    ["Queue", queue.name, "bold"],
    ...taskStates.map(
      (state) => [state[0]!.toUpperCase() + state.slice(1), number(queue.counts[state])] as const,
    ),
    ["Shut", queue.shut, "yellow"],
    [
      "Paused",
      paused === null ? null : `since ${moment(paused.since, now)}, ${pauseText(paused, now)}`,
      "yellow",
    ],
    ["Groups", `${number(queue.groupsWaiting)} with ready tasks, ${number(queue.groupsPaused)} paused`],
    ["Strategy", settings.strategy],
    ["Concurrency", orNone(settings.concurrency)],
    ["Rate", rateText(settings.rate)],
    [
      "Of a group",
      [orNone(settings.groupConcurrency), rateText(settings.groupRate)].filter(Boolean).join(", ") || null,
    ],
    ["Weight", orNone(settings.weight)],
    ["Group weights", weights.join("\n") || null],
    [
      "Backlog",
      settings.backlog === null ? null : `${number(settings.backlog.max)}, then ${settings.backlog.policy}`,
    ],
  ]);
}

export const queues: Group = {
  summary: "What waits, and how it may flow.",
  commands: { list, show, groups, configure, pause, resume },
  alone: "list",
};
