/** `cortexd messages …`: publish, ask, and see what is said. */
import type { Message } from "../../client/index.ts";
import { MessageList, type MessagePage, MessagePublish, MessageRequest } from "../wire/messages.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { Exit } from "./exit.ts";
import { payloadOf } from "./input.ts";
import { ongoing } from "./ongoing.ts";
import { inputOf, optionsOf } from "./options.ts";
import { type Column, shown } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { age, plural } from "./words.ts";

const TOPIC = { name: "TOPIC", help: "Where to: tokens with dots between them." } as const;
const ADDRESS = { ...TOPIC, help: `${TOPIC.help} With --worker: none.`, optional: true } as const;
const PAYLOAD = {
  name: "PAYLOAD",
  help: "JSON; @FILE: the JSON in the file; -: the JSON on standard input. Default: null.",
  optional: true,
} as const;

const publish = command({
  summary: "Publish a message: kept until every subscription that it is for has it.",
  arguments: [ADDRESS, PAYLOAD],
  options: {
    ...optionsOf(MessagePublish, ["topic", "payload", "guarantee"]),
    now: { type: "flag", help: "At most once: only to those who listen now, and in no log." },
  },
  client: true,
  json: 'one object, {"messageId", "subscriptions", "duplicate"}; with --now {"deliveries"}.',
  examples: [
    { words: `messages publish orders.eu '{"id": 17}'`, meaning: "It is in the log when this ends." },
    {
      words: "messages publish orders.eu @order.json --publish 17",
      meaning: "Once, however often it is run.",
    },
    {
      words: "messages publish --worker rack-4 '\"reload\"'",
      meaning: "To one worker, which may be away.",
    },
    { words: "messages publish prices.eu 211.5 --now", meaning: "To those who listen now." },
  ],
  async run({ words, values: { now, ...values }, to, out }) {
    const input = inputOf(MessagePublish, values);
    const message = { ...input, ...(await saidTo("publish", words, input.workerId)) };
    const { messages } = rest(to);
    if (now) {
      const { topic: _, workerId: __, payload: ___, priority: ____, ...kept } = message;
      if (Object.keys(kept).length > 0) throw usage("publish", "--now goes with --priority alone.");
      const emitted = await messages.emit(message);
      await (out.json
        ? out.value(emitted)
        : out.line(`It was handed to ${plural(emitted.deliveries, "listener")}.`));
      return undefined;
    }
    const { messageId, subscriptions, duplicate } = await messages.publish(message);
    const kept = duplicate ? "was published before" : `is kept by ${plural(subscriptions, "subscription")}`;
    await (out.json ? out.value({ messageId, subscriptions, duplicate }) : out.line(`${messageId} ${kept}.`));
    return undefined;
  },
});

const request = command({
  summary: "Ask those who listen to a topic, or one worker, and print the first reply.",
  arguments: [ADDRESS, PAYLOAD],
  options: {
    ...optionsOf(MessageRequest, ["topic", "payload", "waitMs"]),
    timeout: {
      type: "duration",
      min: 1,
      max: 300_000,
      default: 30_000,
      help: "How long to wait for a reply.",
    },
  },
  client: true,
  json: 'one object, {"payload", "by"}.',
  examples: [
    { words: `messages request prices.ask '"wheat"' --timeout 5s`, meaning: "The reply, as JSON." },
    {
      words: "messages request --worker rack-4 '\"load\"'",
      meaning: "That of one worker, which must listen.",
    },
  ],
  async run({ words, values: { timeout, ...values }, to, out }) {
    const input = inputOf(MessageRequest, values);
    const said = await saidTo("request", words, input.workerId);
    const reply = await rest(to).messages.request({ ...input, ...said, waitMs: timeout });
    await out.value(out.json ? reply : reply.payload);
    return undefined;
  },
});

const list = command({
  summary: "List messages that are kept, oldest first.",
  arguments: [],
  options: {
    ...optionsOf(MessageList, ["cursor", "limit"]),
    limit: { type: "integer", min: 1, default: 100, help: "At most so many." },
  },
  client: true,
  watch: true,
  json: 'one object, {"messages": [...], "cursor": ...}, as GET /api/messages answers.',
  examples: [
    {
      words: "messages list --subscription billing --state dead",
      meaning: "What failed too often there, and why.",
    },
    { words: "messages list --topic 'orders.>'", meaning: "All that is kept of these topics." },
  ],
  async run({ values, to, out }) {
    const client = rest(to);
    const filter = inputOf(MessageList, values);
    const pages = pagesOf("messages", values.limit, (asked) => client.messages.list({ ...filter, ...asked }));
    await out.pages("messages", pages, columns(out.now()), "No such messages are kept.");
    return undefined;
  },
});

type Listed = MessagePage["messages"][number];
const columns = (now: number): Column<Listed>[] => [
  { title: "ID", of: ({ messageId }) => messageId ?? "-", whole: true },
  { title: "TOPIC", of: ({ topic, workerId }) => topic ?? `worker ${workerId}`, whole: true },
  { title: "PRIORITY", of: ({ priority }) => priority, whole: true },
  { title: "AGE", of: ({ publishedAt }) => age(publishedAt, now), whole: true },
  { title: "STATE", of: ({ state }) => state ?? "-", whole: true },
  { title: "PAYLOAD", of: ({ payload }) => JSON.stringify(payload) },
  { title: "REASON", of: ({ reason }) => reason ?? "" },
];

const tail = command({
  summary: "Print what is published to topics that fit, as it happens, until it is stopped.",
  arguments: [
    {
      name: "TOPIC",
      help: "Which topics: `*` stands for one token, `>` at the end for one or more. Default: all.",
      optional: true,
    },
  ],
  options: { count: { type: "integer", min: 1, help: "End after so many. Default: never." } },
  client: true,
  json: "a line a message, as the WebSocket tells it; where messages were lost, a line with `lost`.",
  examples: [
    {
      words: "messages tail 'orders.>'",
      meaning: "A line a message: its topic, its payload, who published it.",
    },
    { words: "messages tail --count 1", meaning: "Wait for the next message." },
  ],
  async run({ words: [topic = ">"], values, to, out }) {
    const onLost = ({ count }: { count: number | null }) => {
      const text = `${count === null ? "some messages" : plural(count, "message")} lost`;
      void (out.json ? out.value({ lost: count }) : out.line(text));
    };
    await ongoing(
      to,
      "messages-tail",
      values.count,
      (client, signal) => client.topics.subscribe(topic, { onLost, signal }),
      (message) => (out.json ? out.value(message.view) : out.line(shown(lineOf(message)))),
    );
    return undefined;
  },
});

/** To a worker there is no topic: the first word is the payload. */
async function saidTo(verb: string, words: string[], workerId: string | undefined) {
  const [topic, word = "null"] = workerId === undefined ? words : [undefined, ...words];
  if (topic === undefined && workerId === undefined) throw usage(verb, "TOPIC is missing.");
  return { ...(topic !== undefined && { topic }), payload: await payloadOf(word, "PAYLOAD") };
}

const usage = (verb: string, what: string) =>
  new Exit("usage", what, `See \`cortexd messages ${verb} --help\`.`);

const lineOf = ({ topic, payload, publisher, requestId }: Message): string =>
  `${topic}  ${JSON.stringify(payload)}  by ${publisher}${requestId === null ? "" : "  asks for a reply"}`;

export const messages: Group = {
  summary: "Messages: published to topics and to workers.",
  commands: { publish, request, tail, list },
};
