/** Messages on the wire: published to a topic or sent to a worker, with a guarantee and a priority. */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import {
  addresseePattern,
  Closed,
  DurationMs,
  Integer,
  Json,
  keyPattern,
  Moment,
  messageIdPattern,
  Name,
  Nullable,
} from "./schema.ts";
import { SubscriptionId, SubscriptionName, TopicName, TopicPattern } from "./subscriptions.ts";

const priority = Type.Union(
  [Type.Literal("critical"), Type.Literal("high"), Type.Literal("normal"), Type.Literal("low")],
  { description: "Of the messages that wait for a subscriber those of a higher priority come first." },
);

const addressed = {
  topic: Type.Optional(TopicName("Where to: tokens with dots between them, `orders.eu.new`. Or `workerId`.")),
  workerId: Type.Optional(
    Type.String({
      pattern: addresseePattern,
      maxLength: limits.nameLengthMax,
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

export const MessagePublish = Closed({
  ...addressed,
  payload: Type.Optional(payload),
  priority: Type.Optional(priority),
  ttlMs: Type.Optional(
    DurationMs("It is gone after this long, for whoever has not got it. Default: it waits for all.", 1),
  ),
  guarantee: Type.Optional(
    Type.Union([Type.Literal("at-least-once"), Type.Literal("exactly-once")], {
      description: "exactly-once needs a publishId. Default at-least-once.",
    }),
  ),
  publishId: Type.Optional(
    Type.String({
      pattern: keyPattern,
      minLength: 1,
      maxLength: limits.idempotencyKeyLengthMax,
      description:
        "Your own, of printed ASCII: published again under it within dedupeMs, to whatever topic, the first one stands, and is answered.",
    }),
  ),
  dedupeMs: Type.Optional(DurationMs("How long the publishId is known. Default 600,000: ten minutes.", 1)),
});
export const MessagePublished = Closed({
  messageId: Type.String({ description: "Its entry in the log, and its number there." }),
  subscriptions: Type.Integer({
    description: "Subscriptions that keep it until they have it; 0: it is not kept.",
  }),
  duplicate: Type.Boolean({ description: "It was published before under this publishId." }),
});

const messageId = Type.String({
  pattern: messageIdPattern,
  description: "The message, as it was delivered.",
});
const messageIds = Type.Array(messageId, {
  minItems: 1,
  maxItems: limits.pageMax,
  uniqueItems: true,
  description: "The messages, as they were delivered.",
});
const reason = Type.Optional(
  Type.String({ maxLength: limits.errorMessageLengthMax, description: "Why, for people." }),
);

export const MessageAck = Closed({ subscription: SubscriptionName, messageId });
export const MessageAcked = Closed({ messageId: Type.String() });
export const MessageAckMany = Closed({ subscription: SubscriptionName, messageIds });
export const MessagesAcked = Closed({
  acknowledged: Type.Integer(),
  lost: Type.Array(Type.String(), {
    description:
      "Those that did not wait there any more: acknowledged already, over, dropped, or never there.",
  }),
});

export const MessageNack = Closed({
  subscription: SubscriptionName,
  messageId,
  delayMs: Type.Optional(DurationMs("It comes again after this long. Default: the subscription's backoff.")),
  dead: Type.Optional(Type.Boolean({ description: "It does not come again: it is kept as dead." })),
  reason,
});
export const MessageNacked = Closed({
  messageId: Type.String(),
  state: Type.Union([Type.Literal("waiting"), Type.Literal("dead")]),
});

export const MessageExtend = Closed({ subscription: SubscriptionName, messageId });
export const MessageExtended = Closed({
  messageId: Type.String(),
  deadlineAt: Moment("It must be acknowledged by then."),
});

export const MessageReceive = Closed({
  subscription: SubscriptionName,
  count: Type.Optional(Integer(0, limits.pageMax, "At most so many. Default 1.")),
  waitMs: Type.Optional(Integer(0, limits.waitMsMax, "How long to wait for the first. Default 0.")),
  holding: Type.Optional(
    Type.Array(Type.String({ pattern: messageIdPattern }), {
      maxItems: limits.windowMax,
      description:
        "Messages that this session got before and still works on: their time begins anew, and what else it took is delivered again at once, because the answer never came. Have one such request of a session at a subscription at a time. Default: what was taken before stays taken.",
    }),
  ),
});

const standing = Type.Union(
  [Type.Literal("ready"), Type.Literal("flying"), Type.Literal("waiting"), Type.Literal("dead")],
  {
    description:
      "ready: to be delivered; flying: on its way, not acknowledged; waiting: failed, comes again; dead: failed too often.",
  },
);
export const MessageList = Closed({
  subscription: Type.Optional(SubscriptionName),
  state: Type.Optional(standing),
  topic: Type.Optional(TopicPattern("Only of topics that fit.")),
  cursor: Type.Optional(Type.String({ pattern: messageIdPattern, description: "From the page before." })),
  limit: Type.Optional(Integer(1, limits.pageMax, "Messages on the page. Default 100.")),
});

export const MessageRetry = Closed({
  subscription: SubscriptionName,
  messageIds: Type.Optional(messageIds),
});
export const MessagesRetried = Closed({ retried: Type.Integer() });

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

export const TopicSubscribe = Closed({
  subscriptionId: SubscriptionId,
  topic: TopicPattern("Which topics: `*` stands for one token, `>` at the end for one or more."),
  group: Type.Optional(
    Name("Of those who subscribe to the same topic under the same group, one gets each message."),
  ),
});
export type TopicSubscribe = Static<typeof TopicSubscribe>;
export const TopicUnsubscribe = Closed({ subscriptionId: Name("As subscribed.") });
export const TopicSubscription = Closed({ subscriptionId: Type.String() });

/** A message, as those see it who listen. */
const messageFields = {
  messageId: Nullable(
    Type.String({ description: "Its entry in the log and its number there; null: it is in no log." }),
  ),
  topic: Nullable(Type.String({ description: "Where it was published; null: it was sent to a worker." })),
  workerId: Nullable(Type.String({ description: "The worker that it was sent to, `*`: to all of them." })),
  priority,
  publisher: Type.String({ description: "Who published it: a session or a worker." }),
  publishedAt: Moment("When it was published."),
  payload: Json("What was published."),
  expiresAt: Type.Optional(Nullable(Moment("Nobody gets it from then on; null: it stays."))),
  publishId: Type.Optional(Nullable(Type.String({ description: "The publisher's own id for it." }))),
  subscription: Type.Optional(
    Type.String({ description: "It waits there until it is acknowledged; name this in message.ack." }),
  ),
  delivery: Type.Optional(Type.Integer({ description: "Which delivery of it this is: 1 is the first." })),
  requestId: Type.Optional(Type.String({ description: "It asks for a reply: name this in message.reply." })),
};
export const MessageView = Closed(messageFields);
export type MessageView = Static<typeof MessageView>;

export const MessagesReceived = Closed({
  messages: Type.Array(MessageView, { description: "Each must be acknowledged in time, or it comes again." }),
});
export const MessagePage = Closed({
  messages: Type.Array(
    Closed({
      ...messageFields,
      state: Type.Optional(standing),
      failedCount: Type.Optional(Type.Integer({ description: "Deliveries that were not acknowledged." })),
      reason: Type.Optional(Nullable(Type.String({ description: "Why the last of them failed." }))),
    }),
    { description: "By id. How they stand is told where a subscription was named." },
  ),
  cursor: Nullable(
    Type.String({ description: "Send it to get the next page, which may be short; null: there is none." }),
  ),
});
export type MessagePage = Static<typeof MessagePage>;
