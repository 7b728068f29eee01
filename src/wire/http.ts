/**
 * What exists over HTTP alone: the queries and paths of the routes, the views that have no operation, and the
 * body of a refusal. Everything else a route takes or answers is an operation's own schema (operations.ts).
 */
import { type Static, Type } from "@sinclair/typebox";
import { type ErrorCode, errorTable } from "./errors.ts";
import { Fence } from "./fences.ts";
import { TaskDependencies } from "./graphs.ts";
import { KeyName, KvDelete, KvIncrement, KvPut } from "./kv.ts";
import { limits } from "./limits.ts";
import { LockId } from "./locks.ts";
import { GroupList, LimitSettings, PauseOptions, QueueResume, QueueSettings } from "./queues.ts";
import { ScheduleDelete, ScheduleGet, SchedulePut } from "./schedules.ts";
import {
  Closed,
  Integer,
  Json,
  Name,
  NamespaceName,
  Nullable,
  pageCursorPattern,
  Revision,
  waitPattern,
} from "./schema.ts";
import { tableNames, WatchStart } from "./state.ts";
import { SubscriptionName, SubscriptionPut } from "./subscriptions.ts";
import {
  TaskCancel,
  TaskExtend,
  TaskId,
  TaskLog,
  TaskLogs,
  TaskMove,
  TaskProgress,
  TaskRelease,
  TaskRetry,
  TaskSnooze,
  TaskWait,
} from "./tasks.ts";
import { TopicPut, TopicRef } from "./topics.ts";
import { WorkerDrain } from "./workers.ts";

export const Wait = Type.String({
  pattern: waitPattern,
  description: "How long to wait, such as 500ms, 30s or 2m; at most 5m.",
  examples: ["30s"],
});

const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000 };

/** The milliseconds of a text that fits Wait. */
export function waitMs(text: string): number {
  const [, count, unit] = /^([0-9]+)(ms|s|m)$/.exec(text)!;
  return Number(count) * units[unit!]!;
}

export const TaskPath = Closed({ id: TaskId });
export const WorkerPath = Closed({ id: Name("The worker's id, percent-encoded where it holds a slash.") });

export const SchedulePath = Closed({
  name: Name("The schedule's name, percent-encoded where it holds a slash."),
});
export const QueuePath = Closed({ name: Name("The queue's name, percent-encoded where it holds a slash.") });
export const LimitPath = Closed({ name: Name("The limit's name, percent-encoded where it holds a slash.") });
export const KeyPath = Closed({ key: KeyName("The key, percent-encoded.") });
export const LockPath = Closed({ id: LockId });
export const SubscriptionPath = Closed({ name: SubscriptionName });
export const NamespacePath = Closed({ name: NamespaceName("The namespace's name.") });

export const WaitQuery = Closed({ wait: Type.Optional(Wait) });
export const CancelQuery = Type.Omit(TaskCancel, ["taskId"]);

/** Where the path names the task or worker, the body does not. */
export const TaskExtendBody = Type.Omit(TaskExtend, ["taskId"]);
export const TaskProgressBody = Type.Omit(TaskProgress, ["taskId"]);
export const TaskRetryBody = Type.Optional(Type.Omit(TaskRetry, ["taskId"]));
export const TaskWaitBody = Type.Omit(TaskWait, ["taskId"]);
export const DependenciesQuery = Type.Omit(TaskDependencies, ["taskId"]);
export const TaskReleaseBody = Type.Omit(TaskRelease, ["taskId"]);
export const TaskSnoozeBody = Type.Omit(TaskSnooze, ["taskId"]);
export const TaskLogBody = Type.Omit(TaskLog, ["taskId"]);
export const TaskLogsQuery = Type.Composite([Type.Omit(TaskLogs, ["taskId", "waitMs"]), WaitQuery], {
  additionalProperties: false,
});
export const TaskMoveBody = Type.Omit(TaskMove, ["taskId"]);
export const SchedulePutBody = Type.Omit(SchedulePut, ["name"]);
export const KvPutBody = Type.Omit(KvPut, ["key"]);
export const KvIncrementBody = Type.Optional(Type.Omit(KvIncrement, ["key"]));
export const KvDeleteQuery = Type.Omit(KvDelete, ["key"]);
export const TopicPath = TopicRef;
export const TopicPutBody = Type.Omit(TopicPut, ["topic"]);
export const SubscriptionPutBody = Type.Omit(SubscriptionPut, ["name"]);
export const ScheduleGetQuery = Type.Omit(ScheduleGet, ["name"]);
export const ScheduleDeleteQuery = Type.Omit(ScheduleDelete, ["name"]);
export const QueueConfigureBody = QueueSettings;
export const QueuePauseBody = Type.Optional(PauseOptions);
export const QueueResumeBody = Type.Optional(Type.Omit(QueueResume, ["queue"]));
export const GroupQuery = Type.Omit(GroupList, ["queue"]);
export const LimitPutBody = LimitSettings;
export const WorkerDrainBody = Type.Optional(Type.Omit(WorkerDrain, ["workerId"]));

export const StateQuery = Closed({
  table: Type.Optional(Name(`Answer a page of this table's records: ${tableNames.join(", ")}.`)),
  cursor: Type.Optional(
    Type.String({
      pattern: pageCursorPattern,
      maxLength: 4096,
      description: "From the page before; with `table` alone.",
    }),
  ),
  limit: Type.Optional(Integer(1, limits.pageMax, "Rows on the page; with `table` alone. Default 100.")),
  format: Type.Optional(
    Type.Union([Type.Literal("json"), Type.Literal("ndjson")], {
      description:
        "ndjson: stream the whole state, or the whole `table`, at one revision, a line a record. So does `Accept: application/x-ndjson`.",
    }),
  ),
});

export const WatchQuery = Type.Composite(
  [
    Type.Omit(WatchStart, ["watchId", "tables"]),
    Closed({
      tables: Type.Optional(
        Type.String({
          maxLength: 256,
          description: "Only changes of these tables, with commas between them: `keys,tasks`. Default: all.",
        }),
      ),
    }),
  ],
  { additionalProperties: false },
);

export const TableView = Closed({
  table: Type.String(),
  revision: Revision("The newest revision when the page was read."),
  rows: Type.Array(Json("A record, as the state holds it.")),
  cursor: Nullable(Type.String({ description: "Send it to get the next page; null: there is none." })),
});

export const ReadyView = Closed({
  ready: Type.Boolean(),
  reason: Type.String({ description: "Why it is not ready; empty if it is." }),
});
export type ReadyView = Static<typeof ReadyView>;

const Numbers = (description: string) => Type.Record(Type.String(), Json("A number."), { description });
export const MetricsView = Closed({
  daemon: Numbers("Tasks, workers, operations, memory and uptime."),
  store: Numbers("Revisions, the log, its syncs and its size."),
  bus: Numbers("Connections, frames, pushes and watches."),
});
export type MetricsView = Static<typeof MetricsView>;

const FrameRequest = Type.Object(
  {
    op: Type.String({ description: "The operation's name." }),
    seq: Type.Integer({ minimum: 1, description: "Numbers the operations of the session." }),
    input: Type.Optional(Json("The operation's input.")),
    if: Type.Optional(Fence),
    ackedThrough: Type.Optional(Type.Integer({ minimum: 0, description: "Answers that have arrived." })),
  },
  { additionalProperties: false },
);
const FrameReply = Type.Object({
  seq: Nullable(Type.Integer({ description: "The request's; null where none could be read." })),
  ok: Type.Optional(Json("The operation's output.")),
  error: Type.Optional(Json("Or the problem.")),
});
export const FrameHeaders = Type.Object({
  "cortex-session": Type.Optional(Name("The session: the same as over the WebSocket.")),
  "cortex-connection": Type.Optional(
    Name("The connection within it, chosen by the client; it begins with session.hello."),
  ),
});
/** One message is a frame too. */
export const FrameBody = Type.Union([FrameRequest, Type.Array(FrameRequest)]);
export const FrameAnswer = Type.Array(FrameReply);

/** The body of every refusal (RFC 9457). */
export const ProblemBody = Type.Object(
  {
    type: Type.String({ description: "urn:cortexd:error: and the code." }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.Union((Object.keys(errorTable) as ErrorCode[]).map((code) => Type.Literal(code))),
    detail: Type.String({ description: "What is special about this case." }),
    hint: Type.String({ description: "What to do." }),
    retryable: Type.Boolean({ description: "The same request may be sent again." }),
    retryAfterMs: Type.Optional(Type.Integer()),
    revision: Type.Optional(
      Revision("Of `revision-mismatch`: the revision that the key has; 0: there is no such key."),
    ),
    errors: Type.Optional(
      Type.Array(Closed({ pointer: Type.String(), detail: Type.String() }), {
        description: "The fields that are wrong, by JSON pointer.",
      }),
    ),
  },
  { description: "What went wrong, and what to do (RFC 9457)." },
);
