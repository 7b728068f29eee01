/** `cortexd topics …`: what is kept for subscriptions that come later. */
import { durationText } from "../config.ts";
import { TopicPut, type TopicView } from "../wire/topics.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { inputOf, optionsOf } from "./options.ts";
import type { Column } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { number, plural } from "./words.ts";

const TOPIC = { name: "TOPIC", help: "Which topics; with `*` and `>`." } as const;

const list = command({
  summary: "List the topics that keep messages for later subscriptions.",
  arguments: [],
  options: { limit: { type: "integer", min: 1, default: 1000, help: "At most so many." } },
  client: true,
  watch: true,
  json: 'one object, {"topics": [...], "cursor": ...}, as GET /api/topics answers; cursor is null when all are there.',
  examples: [{ words: "topics list", meaning: "A line a topic." }],
  async run({ values, to, out }) {
    const client = rest(to);
    const pages = pagesOf("topics", values.limit, (asked) => client.topics.list(asked));
    await out.pages("topics", pages, columns, "Nothing is kept for later subscriptions.");
    return undefined;
  },
});

const columns: Column<TopicView>[] = [
  { title: "TOPIC", of: ({ topic }) => topic, whole: true },
  { title: "KEPT", of: ({ kept }) => number(kept), right: true, whole: true },
  { title: "FOR", of: ({ keepMs }) => (keepMs === null ? "-" : durationText(keepMs)), whole: true },
  { title: "AT MOST", of: ({ keepCount }) => (keepCount === null ? "-" : number(keepCount)), whole: true },
  { title: "FROM", of: ({ fromRevision }) => String(fromRevision ?? "-"), whole: true },
];

const put = command({
  summary: "Keep what is published to topics, for subscriptions that come later.",
  arguments: [TOPIC],
  options: optionsOf(TopicPut, ["topic"]),
  client: true,
  json: "one object, as PUT /api/topics/TOPIC answers.",
  examples: [
    { words: "topics put 'orders.>' --keep 1d", meaning: "For a day." },
    { words: "topics put 'orders.>' --keep-count 1000", meaning: "The newest thousand." },
  ],
  async run({ words: [topic], values, to, out }) {
    const view = await rest(to).topics.put({ ...inputOf(TopicPut, values), topic: topic! });
    await (out.json ? out.value(view) : out.line(`${view.topic} keeps ${plural(view.kept, "message")}.`));
    return undefined;
  },
});

const remove = command({
  summary: "Keep no more for later subscriptions; what one waits for stays.",
  arguments: [TOPIC],
  options: {},
  client: true,
  json: 'one object, {"topic"}.',
  examples: [{ words: "topics delete 'orders.>'", meaning: "What nobody waits for goes." }],
  async run({ words: [topic], to, out }) {
    const deleted = await rest(to).topics.delete(topic!);
    await (out.json ? out.value(deleted) : out.line(`${deleted.topic} keeps nothing any more.`));
    return undefined;
  },
});

export const topics: Group = {
  summary: "Topics that keep messages for subscriptions that come later.",
  commands: { list, put, delete: remove },
};
