/** Subscriptions that last, on the wire: an inbox that keeps what is published until it is acknowledged. */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import {
  Closed,
  DurationMs,
  Integer,
  Moment,
  messageIdPattern,
  Name,
  Nullable,
  Revision,
  subscriptionPattern,
  topicPattern,
  topicPatternPattern,
} from "./schema.ts";
import { Backoff } from "./tasks.ts";

export const TopicName = (description: string) =>
  Type.String({ pattern: topicPattern, maxLength: limits.topicLengthMax, description });
export const TopicPattern = (description: string) =>
  Type.String({ pattern: topicPatternPattern, maxLength: limits.topicLengthMax, description });

/** A name, or a worker's own inbox. */
export const NameOfSubscription = (description: string) =>
  Type.String({ pattern: subscriptionPattern, maxLength: limits.nameLengthMax + 8, description });
export const SubscriptionName = NameOfSubscription(
  "The subscription. All who listen under it share it: each message goes to one of them. `$worker.ID` is that worker's own inbox.",
);

const topic = TopicPattern(
  "Which topics: `*` stands for one token, `>` at the end for one or more. Always, but with a worker's own inbox.",
);
const whenFull = Type.Union([Type.Literal("refuse"), Type.Literal("drop-oldest"), Type.Literal("delete")], {
  description:
    "What happens when pendingMax wait there. refuse: what would be one more is refused to its publisher; drop-oldest: the oldest of the least urgent goes, and is counted; delete: the subscription goes.",
});

export const SubscriptionPut = Closed({
  name: SubscriptionName,
  topic: Type.Optional(topic),
  workerId: Type.Optional(
    Name("It is this worker's: the entry that has the worker offline or gone deletes it. Default: nobody's."),
  ),
  ackWaitMs: Type.Optional(
    Integer(
      limits.leaseMsMin,
      limits.durationMsMax,
      "A delivery that is not acknowledged for this long has failed. Default 30,000.",
    ),
  ),
  deliveriesMax: Type.Optional(
    Integer(1, limits.attemptsMax, "How many deliveries may fail before the message is dead. Default 10."),
  ),
  backoff: Type.Optional(Backoff),
  pendingMax: Type.Optional(
    Integer(1, limits.pendingMessagesMax, "How many messages may wait there. Default 100,000."),
  ),
  whenFull: Type.Optional(whenFull),
  idleMs: Type.Optional(
    DurationMs(
      "It goes when nobody has listened under it for this long. Default 0: it stays. A worker's own inbox: nor was anything sent to that worker; default a day.",
    ),
  ),
  fromRevision: Type.Optional(
    Revision(
      "Where it is made: begin with what is kept from this entry on; one that is there already goes on where it is. Default: with what is published from now on.",
    ),
  ),
});

export const SubscriptionRef = Closed({ name: SubscriptionName });
export const SubscriptionDeleted = Closed({
  name: Type.String(),
  droppedCount: Type.Integer({ description: "Messages that waited there." }),
});

export const SubscriptionView = Closed({
  name: Type.String(),
  topic: Nullable(Type.String({ description: "null: it is a worker's own inbox." })),
  workerId: Nullable(Type.String({ description: "Whose inbox it is." })),
  ownerId: Nullable(Type.String({ description: "The worker that it goes with; null: it stays." })),
  ackWaitMs: Type.Integer(),
  deliveriesMax: Type.Integer(),
  backoff: Backoff,
  pendingMax: Type.Integer(),
  whenFull,
  idleMs: Nullable(Type.Integer()),
  pending: Type.Integer({
    description: "Messages that are not settled, those on their way included, dead ones not.",
  }),
  inFlight: Type.Integer({ description: "Delivered, and not acknowledged yet." }),
  waiting: Type.Integer({ description: "Failed, until they come again." }),
  dead: Type.Integer({ description: "Failed too often: kept, and not delivered." }),
  dropped: Type.Integer({ description: "Messages it did not get because it was full." }),
  listeners: Type.Integer({ description: "Connections that listen under it now." }),
  createdAt: Moment("When it was made."),
  revision: Revision("Of its last change; acknowledgements may be changes too."),
});
export type SubscriptionView = Static<typeof SubscriptionView>;

export const SubscriptionList = Closed({
  topic: Type.Optional(TopicPattern("Only those for exactly this.")),
  cursor: Type.Optional(SubscriptionName),
  limit: Type.Optional(Integer(1, limits.pageMax, "Subscriptions on the page. Default 100.")),
});
export const SubscriptionPage = Closed({
  subscriptions: Type.Array(SubscriptionView, { description: "By name." }),
  cursor: Nullable(Type.String({ description: "Send it to get the next page; null: there is none." })),
});
export type SubscriptionPage = Static<typeof SubscriptionPage>;

export const SubscriptionId = Name(
  "Chosen by the client; names the subscription in its events. One connection may have many.",
);
export const SubscriptionAttach = Closed({
  subscriptionId: SubscriptionId,
  name: SubscriptionName,
  window: Type.Optional(
    Integer(
      1,
      limits.windowMax,
      "How many messages may be on their way to you, not acknowledged. Default 100.",
    ),
  ),
  holding: Type.Optional(
    Type.Array(Type.String({ pattern: messageIdPattern }), {
      maxItems: limits.windowMax,
      description:
        "Messages that this session got before and still works on: they are not delivered again for now.",
    }),
  ),
});
export const SubscriptionAttached = Closed({
  subscriptionId: Type.String(),
  lost: Type.Array(Type.String(), {
    description:
      "Of those you hold: settled, or with somebody else. What you still do with them is done twice.",
  }),
});
export const SubscriptionDetach = Closed({ subscriptionId: Name("As attached.") });
export const SubscriptionDetached = Closed({ subscriptionId: Type.String() });
