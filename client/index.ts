/** What the package offers, and nothing else: everything here is meant to be used, and kept. */

export type { ArchiveFilter, ArchivePage } from "../src/wire/archive.ts";
export type { TaskRefused } from "../src/wire/bulk.ts";
export type { ErrorCode, FieldError, Problem } from "../src/wire/errors.ts";
export type { Fence } from "../src/wire/fences.ts";
export type { AbortReason, EventMessage } from "../src/wire/frames.ts";
export type { DependencyRow, GraphSubmitted } from "../src/wire/graphs.ts";
export type { Counter, Key, KeyListed, KeyPage, KeyStanding } from "../src/wire/kv.ts";
export { limits } from "../src/wire/limits.ts";
export type { Lock as LockView, LockPage, LockResource, LockRow } from "../src/wire/locks.ts";
export type { MessagePage, MessageView } from "../src/wire/messages.ts";
export type {
  CoreOperationName,
  Input,
  OperationName,
  Output,
  RoutedOperationName,
  StateOperationName,
} from "../src/wire/operations.ts";
export type {
  Backlog,
  Counts,
  Group,
  Limit,
  LimitSettings,
  PauseOptions,
  Queue,
  QueueSettings,
  Rate,
  Strategy,
} from "../src/wire/queues.ts";
export type {
  Schedule,
  SchedulePut,
  ScheduleShown,
  ScheduleState,
  ScheduleTask,
} from "../src/wire/schedules.ts";
export type { ChangeView, State, Welcome } from "../src/wire/state.ts";
export type { Stats } from "../src/wire/stats.ts";
export type { SubscriptionView } from "../src/wire/subscriptions.ts";
export type {
  Assignment,
  Backoff,
  DependencyView,
  FailedAttempt,
  GraphView,
  LeaseView,
  OnFail,
  Priority,
  Task,
  TaskError,
  TaskFilter,
  TaskShown,
  TaskStanding,
  TaskState,
  TaskSubmit,
  TaskSubmitted,
  Unique,
} from "../src/wire/tasks.ts";
export type { TopicView } from "../src/wire/topics.ts";
export type { Condition, Step } from "../src/wire/transactions.ts";
export type { Reason, ReasonCode, TaskExplained } from "../src/wire/why.ts";
export type { Worker } from "../src/wire/workers.ts";
export type { BatchOptions } from "./batches.ts";
export { Bulk, type BulkOptions, type Changed, type Choice } from "./bulk.ts";
export {
  type ClientEvents,
  type ClientOptions,
  CoordinationClient,
  defaultUrl,
  type StatsOptions,
  type SubmitArguments,
} from "./client.ts";
export type { CallOptions, SessionState, Transports } from "./connection.ts";
export { Elections, type Leader } from "./elections.ts";
export { ClientError, type ClientErrorCode, CortexError, TaskFailed } from "./errors.ts";
export { Fenced } from "./fences.ts";
export { type After, Graph, GraphTask } from "./graphs.ts";
export { type Fetch, httpRequests, requestsOver, type TransportChoice } from "./http.ts";
export { type KeyOf, Kv, type PutOptions, WatchedKv } from "./kv.ts";
export {
  Lock,
  type LockLoss,
  LockLost,
  type LockOptions,
  Locks,
  shared,
  type Wanted,
} from "./locks.ts";
export type { LogLine, LogOptions } from "./logs.ts";
export { Schedules } from "./schedules.ts";
export {
  type Checker,
  type Given,
  Invalid,
  type Issue,
  type Made,
  type Schema,
  type StandardSchema,
  typebox,
} from "./schemas.ts";
export type { Gap, WatchEvent, WatchFilter } from "./state.ts";
export { LastingSubscriptions, type Lost } from "./subscriptions.ts";
export { type ResultOptions, Submitted, SubmittedAll, TaskHandle, type TaskRequestOptions } from "./tasks.ts";
export {
  type AskOptions,
  type EmitOptions,
  type InboxOptions,
  type Kept,
  KeptMessages,
  type KeptOptions,
  KeptTopics,
  type LastingOptions,
  type LiveOptions,
  Message,
  type MessageHandler,
  Messages,
  type NackOptions,
  type Published,
  type PublishOptions,
  type SubscribeOptions,
  Topics,
} from "./topics.ts";
export {
  type Answers,
  Branch,
  Conditions,
  ConditionsFailed,
  type Given as TransactionGiven,
  type Transacting,
  Transaction,
} from "./transactions.ts";

export {
  type Connection,
  type Environment,
  type Greeter,
  type Handlers,
  machine,
  type Timer,
  type Transport,
  type TransportName,
  type WebSocketLike,
  webSocket,
  webSocketBy,
} from "./transport.ts";
export {
  type BatchItem,
  type Handled,
  type Outcome,
  type Submission,
  TaskType,
  type TypeOptions,
  task,
} from "./types.ts";
export {
  AfterChildren,
  Cancel,
  Discard,
  type ErrorRules,
  Retry,
  Snooze,
  Verdict,
  type When,
} from "./verdicts.ts";
export type { Middleware, TaskResult } from "./work.ts";
export {
  type Context,
  type Handler,
  type RunningWorker,
  type RunOptions,
  type StopOptions,
  worker,
} from "./worker.ts";
export {
  Aborted,
  type AssignedTask,
  type Child,
  type Dependencies,
  type FailOptions,
  type LostReason,
} from "./workers.ts";
