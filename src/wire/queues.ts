/**
 * Queues, named limits and pauses on the wire: how many tasks may run at once and how often one may start, per
 * queue, per group inside a queue and across queues. What the words mean is told in docs/guides/flow-control.md.
 */
import { type Static, Type } from "@sinclair/typebox";
import { limits } from "./limits.ts";
import {
  Closed,
  DurationMs,
  Integer,
  labelPattern,
  Moment,
  Name,
  Nullable,
  namePartPattern,
  Revision,
} from "./schema.ts";

export const Counts = Closed({
  scheduled: Type.Integer(),
  blocked: Type.Integer(),
  queued: Type.Integer(),
  running: Type.Integer(),
  completed: Type.Integer(),
  failed: Type.Integer(),
  dead: Type.Integer(),
  cancelled: Type.Integer(),
});
export type Counts = Static<typeof Counts>;

export const Rate = Closed(
  {
    count: Integer(1, limits.rateCountMax, "So many tasks may start ..."),
    perMs: DurationMs("... in so many ms.", 1),
    burst: Type.Optional(
      Integer(1, limits.rateCountMax, "So many may start at once after a quiet time. Default: count."),
    ),
  },
  { description: "How often a task may start (a token bucket)." },
);
export type Rate = Static<typeof Rate>;

const Concurrency = (description: string) => Integer(0, limits.concurrencyMax, description);
const Weight = (description: string) => Integer(1, limits.weightMax, description);

export const Backlog = Closed(
  {
    max: Integer(1, limits.backlogMax, "So many tasks may wait, delayed ones included."),
    policy: Type.Union(
      [
        Type.Literal("refuse"),
        Type.Literal("drop-oldest"),
        Type.Literal("drop-newest"),
        Type.Literal("keep-latest"),
      ],
      {
        description:
          "refuse: a submit beyond max is refused as backlog-full; drop-oldest: the tasks that were submitted first are cancelled; drop-newest: the submitted task is cancelled at once; keep-latest: max holds for each group, and its oldest are cancelled.",
      },
    ),
  },
  { description: "What may wait in the queue, and what happens beyond." },
);
export type Backlog = Static<typeof Backlog>;

export const strategies = ["least-loaded", "round-robin", "fastest", "packed"] as const;
export type Strategy = (typeof strategies)[number];
const StrategySchema = Type.Union(
  [
    Type.Literal("least-loaded"),
    Type.Literal("round-robin"),
    Type.Literal("fastest"),
    Type.Literal("packed"),
  ],
  {
    description:
      "Which of the workers that fit and have room gets a task. least-loaded: the one with the smallest part of its slots in use (the default); round-robin: the one that has waited longest for a task; fastest: the one that of late took the shortest time for its tasks, beside what others took for such; packed: the one with the largest part in use, so that others stay free.",
  },
);

const queue = Name("The queue.");
const group = Name("A group of the queue.");

const settings = {
  concurrency: Concurrency("How many tasks of the queue may run at once; 0: none."),
  rate: Rate,
  groupConcurrency: Concurrency("How many tasks of one group may run at once."),
  groupRate: Rate,
  weight: Weight("The queue's share of workers that serve several queues, beside those of the others."),
  backlog: Backlog,
  strategy: StrategySchema,
};

/** Every setting may be left out (it stays) or null (it is reset). */
export const QueueConfigure = Closed({
  queue,
  concurrency: Type.Optional(Nullable(settings.concurrency)),
  rate: Type.Optional(Nullable(settings.rate)),
  groupConcurrency: Type.Optional(Nullable(settings.groupConcurrency)),
  groupRate: Type.Optional(Nullable(settings.groupRate)),
  weight: Type.Optional(Nullable(settings.weight)),
  groupWeights: Type.Optional(
    Nullable(
      Type.Record(Type.String({ pattern: labelPattern }), Nullable(Weight("Of one group; null: 1 again.")), {
        additionalProperties: false,
        maxProperties: limits.groupWeightsMax,
        description:
          "How many turns a group gets for one of the others. Groups that are not named stay as they are.",
      }),
    ),
  ),
  backlog: Type.Optional(Nullable(settings.backlog)),
  strategy: Type.Optional(Nullable(settings.strategy)),
});

/** What `queue.configure` takes beside the queue's name. */
export const QueueSettings = Type.Omit(QueueConfigure, ["queue"]);
export type QueueSettings = Static<typeof QueueSettings>;

export const QueueRef = Closed({ queue });
export const QueuePause = Closed({
  queue,
  group: Type.Optional(group),
  forMs: Type.Optional(
    DurationMs("Resume by itself after so long, in ms. A pause that lasts longer is not shortened.", 1),
  ),
  reason: Type.Optional(
    Type.String({ maxLength: limits.errorMessageLengthMax, description: "Why, in words." }),
  ),
});
export const PauseOptions = Type.Omit(QueuePause, ["queue"]);
export type PauseOptions = Static<typeof PauseOptions>;
export const QueueResume = Closed({ queue, group: Type.Optional(group) });

const Paused = Nullable(
  Closed({
    since: Moment("When it was paused."),
    until: Nullable(Moment("When it goes on by itself; null: when it is resumed.")),
    by: Type.String({ description: "Who paused it." }),
    reason: Nullable(Type.String()),
  }),
);
const Shut = Nullable(
  Type.Union([Type.Literal("paused"), Type.Literal("concurrency"), Type.Literal("rate")], {
    description: "Why no task starts now, or null.",
  }),
);

const Settings = Closed({
  concurrency: Nullable(settings.concurrency),
  rate: Nullable(Rate),
  groupConcurrency: Nullable(settings.groupConcurrency),
  groupRate: Nullable(Rate),
  weight: Nullable(settings.weight),
  groupWeights: Type.Record(Type.String(), Type.Integer()),
  backlog: Nullable(Backlog),
  strategy: Nullable(settings.strategy),
});

export const Queue = Closed({
  name: Type.String(),
  counts: Counts,
  queuedByPriority: Closed({
    critical: Type.Integer(),
    high: Type.Integer(),
    normal: Type.Integer(),
    low: Type.Integer(),
  }),
  oldestAt: Nullable(
    Moment(
      "When the oldest of its ready tasks was submitted, those of one worker alone not counted; null: there is none, or too many groups to look at wait.",
    ),
  ),
  settings: Settings,
  paused: Paused,
  shut: Shut,
  groupsWaiting: Type.Integer({ description: "Groups with tasks that are ready." }),
  groupsPaused: Type.Integer({ description: "Groups that are paused." }),
});
export type Queue = Static<typeof Queue>;

/** What is asked of a list by name. */
const byName = {
  prefix: Type.Optional(
    Type.String({
      pattern: namePartPattern,
      maxLength: limits.nameLengthMax,
      description: "Only those whose names begin so. Default: all.",
    }),
  ),
  cursor: Type.Optional(Name("From the page before.")),
  limit: Type.Optional(Integer(1, limits.pageMax, "Rows on the page. Default 100.")),
};
const nextPage = Nullable(
  Type.String({ description: "Where the next page starts; null: this was the last." }),
);

export const QueueList = Closed(byName);
export const QueuePage = Closed({
  queues: Type.Array(Queue, { description: "By name." }),
  cursor: nextPage,
});
export type QueuePage = Static<typeof QueuePage>;

export const GroupList = Closed({
  queue,
  cursor: Type.Optional(
    Type.String({ maxLength: limits.nameLengthMax, description: "From the page before." }),
  ),
  limit: Type.Optional(Integer(1, limits.pageMax, "Rows on the page. Default 100.")),
});
export const Group = Closed({
  name: Type.String({ description: "Empty: the tasks that name no group." }),
  queued: Type.Integer({ description: "Tasks that are ready." }),
  running: Type.Integer(),
  weight: Type.Integer(),
  paused: Paused,
  shut: Shut,
});
export type Group = Static<typeof Group>;
export const GroupPage = Closed({
  groups: Type.Array(Group),
  cursor: nextPage,
});
export type GroupPage = Static<typeof GroupPage>;

const limit = Name("The limit's name, as tasks name it in `limits`.");

export const LimitPut = Closed({
  name: limit,
  concurrency: Type.Optional(
    Nullable(Concurrency("How many tasks that name it may run at once, over all queues; 0: none.")),
  ),
  rate: Type.Optional(Nullable(Rate)),
});
export const LimitSettings = Type.Omit(LimitPut, ["name"]);
export type LimitSettings = Static<typeof LimitSettings>;
export const LimitRef = Closed({ name: limit });
export const LimitList = Closed(byName);
export const Limit = Closed({
  name: Type.String(),
  concurrency: Nullable(Type.Integer()),
  rate: Nullable(Rate),
  running: Type.Integer({ description: "Tasks that run and name it." }),
  shut: Shut,
  revision: Revision("Of its last change."),
});
export type Limit = Static<typeof Limit>;
export const LimitPage = Closed({
  limits: Type.Array(Limit, { description: "By name." }),
  cursor: nextPage,
});
export type LimitPage = Static<typeof LimitPage>;
export const LimitDeleted = Closed({ name: Type.String() });
