/** Messages on the wire: published to a topic or sent to a worker, with a guarantee and a priority. */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import {
  Closed,
  Integer,
  Json,
  Moment,
  Name,
  Nullable,
  topicPattern,
  topicPatternPattern,
} from "./schema.ts";

const priority = Type.Union(
  [Type.Literal("critical"), Type.Literal("high"), Type.Literal("normal"), Type.Literal("low")],
  { description: "Of the messages that wait for a subscriber those of a higher priority come first." },
);

export const TopicName = (description: string) =>
  Type.String({ pattern: topicPattern, maxLength: limits.topicLengthMax, description });
export const TopicPattern = (description: string) =>
  Type.String({ pattern: topicPatternPattern, maxLength: limits.topicLengthMax, description });

const addressed = {
  topic: Type.Optional(TopicName("Where to: tokens with dots between them, `orders.eu.new`. Or `workerId`.")),
  workerId: Type.Optional(
    Type.Union([Type.Literal("*"), Name("A worker.")], {
      description: "To this worker, whether or not it is there; `*`: to every worker that has an inbox.",
    }),
  ),
};
const payload = Json(`Any JSON value of at most ${limits.payloadBytesMax / 1024 / 1024} MiB. Default null.`);

export const MessageEmit = Closed({
  ...addressed,
  payload: Type.Optional(payload),
  priority: Type.Optional(priority),
});
export const MessageEmitted = Closed({
  deliveries: Type.Integer({ description: "Subscriptions that listen now: it is on its way to so many." }),
});

export const MessageRequest = Closed({
  ...addressed,
  payload: Type.Optional(payload),
  priority: Type.Optional(priority),
  waitMs: Integer(1, limits.waitMsMax, "How long to wait for the reply."),
});
export const MessageAnswered = Closed({
  payload: Json("What the first of those who listen replied."),
  by: Type.String({ description: "Who replied: a session or a worker." }),
});

const requestId = Type.String({
  maxLength: limits.nameLengthMax,
  description: "As it came with the message.",
});
export const MessageReply = Closed({
  requestId,
  payload: Type.Optional(Json("The reply. Default null.")),
  error: Type.Optional(
    Type.String({
      maxLength: limits.errorMessageLengthMax,
      description: "In the reply's place: the asker is refused with `request-failed`, and told this.",
    }),
  ),
});
export const MessageReplied = Closed({ requestId: Type.String() });

const subscriptionId = Name(
  "Chosen by the client; names the subscription in its events. One connection may have many.",
);
export const TopicSubscribe = Closed({
  subscriptionId,
  topic: TopicPattern("Which topics: `*` stands for one token, `>` at the end for one or more."),
  group: Type.Optional(
    Name("Of those who subscribe to the same topic under the same group, one gets each message."),
  ),
});
export type TopicSubscribe = Static<typeof TopicSubscribe>;
export const TopicUnsubscribe = Closed({ subscriptionId: Name("As subscribed.") });
export const TopicSubscription = Closed({ subscriptionId: Type.String() });

/** A message, as those see it who listen. */
export const MessageView = Closed({
  messageId: Nullable(
    Type.String({ description: "Its entry in the log and its number there; null: it is in no log." }),
  ),
  topic: Nullable(Type.String({ description: "Where it was published; null: it was sent to a worker." })),
  workerId: Nullable(Type.String({ description: "The worker that it was sent to, `*`: to all of them." })),
  priority,
  publisher: Type.String({ description: "Who published it: a session or a worker." }),
  publishedAt: Moment("When it was published."),
  payload: Json("What was published."),
  requestId: Type.Optional(Type.String({ description: "It asks for a reply: name this in message.reply." })),
});
export type MessageView = Static<typeof MessageView>;
