/** Topics on the wire: how long what is published there is kept for subscriptions that come later. */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import { Closed, Integer, Moment, Nullable, Revision } from "./schema.ts";
import { TopicPattern } from "./subscriptions.ts";

const topic = TopicPattern("Which topics, as in a subscription.");
const keepMs = Integer(
  0,
  limits.durationMsMax,
  "What is published there is kept for this long. 0: not by age.",
);
const keepCount = Integer(
  0,
  limits.pendingMessagesMax,
  "So many of the newest are kept. 0: not by number. With both, whichever lets go first.",
);

export const TopicPut = Closed({ topic, keepMs: Type.Optional(keepMs), keepCount: Type.Optional(keepCount) });
export const TopicRef = Closed({ topic });
export const TopicView = Closed({
  topic: Type.String(),
  keepMs: Nullable(Type.Integer()),
  keepCount: Nullable(Type.Integer()),
  kept: Type.Integer({ description: "Messages that it keeps now." }),
  fromRevision: Nullable(Revision("The oldest of them: a subscription may begin here. null: it keeps none.")),
  createdAt: Moment("When it was first put."),
  revision: Revision("Of its last change."),
});
export type TopicView = Static<typeof TopicView>;
export const TopicList = Closed({
  cursor: Type.Optional(TopicPattern("From the page before.")),
  limit: Type.Optional(Integer(1, limits.pageMax, "Topics on the page. Default 100.")),
});
export const TopicPage = Closed({
  topics: Type.Array(TopicView, { description: "By topic." }),
  cursor: Nullable(Type.String({ description: "Send it to get the next page; null: there is none." })),
});
export type TopicPage = Static<typeof TopicPage>;
export const TopicDeleted = Closed({ topic: Type.String() });
