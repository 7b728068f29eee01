/** The state as a whole, and watching it, on the wire. */
import { type Static, Type } from "@sinclair/typebox";
import { KeyName } from "./kv.ts";
import { limits } from "./limits.ts";
import { LockName } from "./locks.ts";
import { Counts, Queue } from "./queues.ts";
import { Closed, Json, Name, NamespaceName, Nullable, Revision } from "./schema.ts";
import { TopicPattern } from "./subscriptions.ts";
import { TaskId, TaskStateSchema } from "./tasks.ts";
import { LoopAge, WorkerHealthSchema } from "./workers.ts";

export const WorkerCounts = Closed({
  idle: Type.Integer(),
  busy: Type.Integer(),
  draining: Type.Integer(),
  offline: Type.Integer(),
});
export type WorkerCounts = Static<typeof WorkerCounts>;

/** Workers and queues that an overview shows; the others are on the pages of worker.list and queue.list. */
export const overviewRows = 100;

export const StateGet = Closed({});
export const State = Closed({
  revision: Revision("The newest revision."),
  durableRevision: Revision("What the log holds for sure."),
  namespace: Type.String(),
  counts: Closed({
    tasks: Counts,
    workers: WorkerCounts,
  }),
  workers: Type.Array(Json("A worker, as GET /api/workers shows it."), {
    description: "The first hundred workers.",
  }),
  queues: Type.Array(Queue, { description: "The first hundred queues, by name." }),
});
export type State = Static<typeof State>;

export const tableNames = [
  "tasks",
  "errors",
  "logs",
  "uniques",
  "workers",
  "schedules",
  "keys",
  "locks",
  "queues",
  "limits",
  "pauses",
  "subscriptions",
  "messages",
  "deliveries",
  "published",
  "topics",
  "answers",
] as const;

export const DaemonStatus = Type.Union(
  [Type.Literal("ok"), Type.Literal("read-only"), Type.Literal("replay"), Type.Literal("stopping")],
  { description: "read-only: its disk is full; replay: it serves a state that was." },
);

export const HealthView = Closed({
  status: DaemonStatus,
  version: Type.String(),
  preset: Type.String(),
  uptimeMs: Type.Integer(),
  revision: Revision("The newest revision of the namespace `default`."),
  durableRevision: Revision("What its log holds for sure."),
  namespaceCount: Type.Integer({ description: "Namespaces there are; `status` is the worst of theirs." }),
});
export type HealthView = Static<typeof HealthView>;

export const Hello = Closed({
  protocol: Type.Integer({ description: "The protocol version the client speaks: 1." }),
  session: Type.Optional(
    Name(
      "The session's id, chosen by the client and kept over reconnects, so that repeated operations are recognised. Default: a new one.",
    ),
  ),
  token: Type.Optional(Type.String({ maxLength: 1024 })),
  namespace: Type.Optional(
    NamespaceName(
      "The state that all of the connection is about. Default: the Cortex-Namespace header's, else `default`.",
    ),
  ),
  create: Type.Optional(
    Type.Boolean({
      description: "Make the namespace if there is none. Default true; false where you greet again.",
    }),
  ),
  client: Type.Optional(
    Type.String({
      maxLength: limits.nameLengthMax,
      description: "Name and version of the client, for the log.",
    }),
  ),
});
export const Welcome = Closed({
  protocol: Type.Integer(),
  server: Type.String({ description: "Name and version of the daemon." }),
  session: Type.String(),
  namespace: Type.String(),
  revision: Revision("The newest revision."),
  heartbeatMs: Type.Integer({ description: "Send something at least this often." }),
  limits: Closed({
    frameBytesMax: Type.Integer(),
    operationsPerFrameMax: Type.Integer(),
    payloadBytesMax: Type.Integer(),
  }),
});
export type Welcome = Static<typeof Welcome>;

const WatchedTable = Type.Union([
  Type.Literal("tasks"),
  Type.Literal("workers"),
  Type.Literal("schedules"),
  Type.Literal("queues"),
  Type.Literal("limits"),
  Type.Literal("pauses"),
  Type.Literal("keys"),
  Type.Literal("locks"),
  Type.Literal("subscriptions"),
  Type.Literal("messages"),
]);
export const WatchStart = Closed({
  watchId: Name("Chosen by the client; names the watch in its events. One connection may have many."),
  tables: Type.Optional(
    Type.Array(WatchedTable, {
      minItems: 1,
      uniqueItems: true,
      description:
        "Default: all of them but messages, of which there are many: name `messages` here, or a `topic`.",
    }),
  ),
  queue: Type.Optional(Name("Only tasks of this queue, its settings and its pauses.")),
  taskId: Type.Optional(TaskId),
  workerId: Type.Optional(
    Name(
      "Only this worker, and tasks leased to it; with `messages` in `tables`, what was sent to it and to all workers.",
    ),
  ),
  key: Type.Optional(KeyName("Only this key.")),
  lock: Type.Optional(LockName("Only locks of this name.")),
  prefix: Type.Optional(KeyName("Only keys, and locks with a name, that begin so.")),
  topic: Type.Optional(
    TopicPattern(
      "Only messages of these topics, as they are kept and as they go: `*` stands for one token, `>` at the end for one or more.",
    ),
  ),
  after: Type.Optional(
    Revision(
      "Changes after this revision come first; those that are kept no more are told as one gap, and all there is if it is above the newest: then it is of another state. Default: only those to come.",
    ),
  ),
});
export type WatchStart = Static<typeof WatchStart>;
export const WatchStarted = Closed({
  watchId: Type.String(),
  revision: Revision("The newest; changes after it follow, or after `after` where that was said."),
});
export const WatchStop = Closed({ watchId: Name("As started.") });
export const WatchStopped = Closed({ watchId: Type.String() });

/** One change, as watchers see it. */
export const ChangeView = Closed({
  table: WatchedTable,
  id: Type.String(),
  revision: Revision("The entry that made the change."),
  at: Type.Integer(),
  operation: Type.String({ description: "What caused it." }),
  who: Type.String({ description: "Who caused it: a session, a worker or `cortexd`." }),
  state: Nullable(
    Type.Union([TaskStateSchema, Type.String()], {
      description: "The new state, of a key `present`; null: removed.",
    }),
  ),
  before: Nullable(Type.String({ description: "The state before; null: new." })),
  queue: Type.Optional(Type.String()),
  type: Type.Optional(Type.String()),
  workerId: Type.Optional(Nullable(Type.String())),
  progress: Type.Optional(Json("The task's newest progress, where that is what changed.")),
  health: Type.Optional(WorkerHealthSchema),
  value: Type.Optional(
    Json(
      "The key's value, where it is present; a lock's, where it has one; the payload of a message that came.",
    ),
  ),
  topic: Type.Optional(Nullable(Type.String({ description: "A message's; null: it was sent to a worker." }))),
  names: Type.Optional(Type.Array(Type.String(), { description: "A lock's names." })),
  reason: Type.Optional(Nullable(Type.String({ description: "Why a lock was stolen." }))),
});
export type ChangeView = Static<typeof ChangeView>;
export const Ping = Closed({ loopAgeMs: Type.Optional(LoopAge) });
export const Pong = Closed({ revision: Revision("The newest durable revision.") });
