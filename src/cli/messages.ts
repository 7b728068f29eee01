/** `cortexd messages …`: emit, ask, and see what is said. */
import { CoordinationClient, type Message } from "../../client/index.ts";
import { MessageEmit, MessageRequest } from "../wire/messages.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { inputOf, optionsOf } from "./options.ts";
import { payloadOf } from "./tasks.ts";

const TOPIC = { name: "TOPIC", help: "Where to: tokens with dots between them." } as const;
const PAYLOAD = {
  name: "PAYLOAD",
  help: "JSON; @FILE: the JSON in the file; -: the JSON on standard input. Default: null.",
  optional: true,
} as const;

const emit = command({
  summary: "Publish at most once, to those who listen now.",
  arguments: [TOPIC, PAYLOAD],
  options: optionsOf(MessageEmit, ["topic", "workerId", "payload"]),
  client: true,
  json: 'one object, {"deliveries"}.',
  examples: [{ words: `messages emit prices.eu '{"wheat": 211.5}'`, meaning: "To those who listen now." }],
  async run({ words: [topic, word = "null"], values, to, out }) {
    const payload = await payloadOf(word, "PAYLOAD");
    const emitted = await rest(to).messages.emit({ ...inputOf(MessageEmit, values), topic: topic!, payload });
    if (out.json) await out.value(emitted);
    else await out.line(`${emitted.deliveries} listen to ${topic}.`);
    return undefined;
  },
});

const request = command({
  summary: "Ask those who listen to a topic, and print the first reply.",
  arguments: [TOPIC, PAYLOAD],
  options: {
    ...optionsOf(MessageRequest, ["topic", "workerId", "payload", "waitMs"]),
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
  examples: [{ words: `messages request prices.ask '"wheat"' --timeout 5s`, meaning: "The reply, as JSON." }],
  async run({ words: [topic, word = "null"], values: { timeout, ...values }, to, out }) {
    const payload = await payloadOf(word, "PAYLOAD");
    const input = { ...inputOf(MessageRequest, values), topic: topic!, payload, waitMs: timeout };
    const reply = await rest(to).messages.request(input);
    await out.value(out.json ? reply : reply.payload);
    return undefined;
  },
});

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
    const client = new CoordinationClient({ ...to, client: "cortexd-messages-tail" });
    try {
      await client.connect({ timeoutMs: connectMs });
      let left = values.count ?? Number.POSITIVE_INFINITY;
      const onLost = ({ count }: { count: number | null }) => {
        const text = `${count ?? "some"} messages were lost`;
        void (out.json ? out.value({ lost: count }) : out.line(text));
      };
      for await (const message of client.topics.subscribe(topic, { onLost })) {
        await (out.json ? out.value(message.view) : out.line(lineOf(message)));
        if (--left === 0) break;
      }
    } finally {
      client.close();
    }
    return undefined;
  },
});

const connectMs = 10_000;

const lineOf = ({ topic, payload, publisher, requestId }: Message): string =>
  `${topic}  ${JSON.stringify(payload)}  by ${publisher}${requestId === null ? "" : "  asks for a reply"}`;

export const messages: Group = {
  summary: "Messages: published to topics.",
  commands: { emit, request, tail },
};
