/**
 * Every operation, in one table: its schemas, its kind, its errors and a line of documentation. WebSocket
 * dispatch, validation, Swagger text, client methods, metric labels and reference pages derive from it.
 * Names are `noun.verb` and are never changed.
 *
 * kind: `mutation` is one transaction and one log entry, and its answer is kept for a repeated request;
 * `volatile` changes what need not survive (a heartbeat, progress) and writes no entry; `read` changes
 * nothing; `stored` reads what only the log holds, and is answered once that was read, in no order with the others;
 * `session` belongs to one connection and has no route of its own; `daemon` is about which namespaces
 * there are, and is in the log of none of them.
 */
import type { Static, TSchema } from "@sinclair/typebox";
import * as archive from "./archive.ts";
import * as bulk from "./bulk.ts";
import type { ErrorCode } from "./errors.ts";
import * as graphs from "./graphs.ts";
import * as kv from "./kv.ts";
import { limits } from "./limits.ts";
import * as locks from "./locks.ts";
import * as log from "./log.ts";
import * as messages from "./messages.ts";
import * as namespaces from "./namespaces.ts";
import * as queues from "./queues.ts";
import * as schedules from "./schedules.ts";
import * as state from "./state.ts";
import * as stats from "./stats.ts";
import * as subscriptions from "./subscriptions.ts";
import * as tasks from "./tasks.ts";
import * as topics from "./topics.ts";
import * as transactions from "./transactions.ts";
import * as why from "./why.ts";
import * as workers from "./workers.ts";

export type OperationKind = "mutation" | "volatile" | "read" | "stored" | "session" | "daemon";

export type OperationRow = {
  kind: OperationKind;
  scope: "read" | "write" | "work" | "admin";
  input: TSchema;
  output: TSchema;
  errors: readonly ErrorCode[];
  summary: string;
  example: unknown;
};

/** Errors that any operation may answer with; a row lists its own beside them. */
export const commonErrors = [
  "invalid-input",
  "unauthorized",
  "busy",
  "shutting-down",
  "namespace-dropped",
] as const satisfies ErrorCode[];
/** Errors that any mutation may answer with. */
export const mutationErrors = [
  "fence-lost",
  "disk-full",
  "read-only",
  "idempotency-key-reused",
  "already-acknowledged",
] as const satisfies ErrorCode[];

const submitErrors = [
  "payload-too-large",
  "payload-too-deep",
  "too-many-requirement-sets",
  "backlog-full",
] as const satisfies ErrorCode[];
/** Of tasks that name others. */
const graphErrors = ["unknown-task", "wrong-state", "lease-lost"] as const satisfies ErrorCode[];

/** What an operation of a transaction is refused for, the transaction is: those of all of them, filled in below. */
const stepErrors: ErrorCode[] = [];

const lease = { taskId: "1042-0", workerId: "worker-001", token: 1043 };

export const operations = {
  "task.submit": {
    kind: "mutation",
    scope: "write",
    input: tasks.TaskSubmitInput,
    output: tasks.TaskSubmittedResult,
    errors: [...submitErrors, ...graphErrors],
    summary: "Submit one task, or an array of them, all or nothing.",
    example: { queue: "mail", type: "send", payload: { to: "ada@example.org" }, priority: "high" },
  },
  "graph.submit": {
    kind: "mutation",
    scope: "write",
    input: graphs.GraphSubmit,
    output: graphs.GraphSubmitted,
    errors: [...submitErrors, ...graphErrors],
    summary: `Submit up to ${limits.tasksPerGraphMax} tasks that wait for each other, all or nothing; answers their ids alone.`,
    example: {
      tasks: [
        { type: "render", ref: "cover" },
        { type: "bind", after: ["cover"] },
      ],
    },
  },
  "task.get": {
    kind: "read",
    scope: "read",
    input: tasks.TaskGet,
    output: tasks.TaskShown,
    errors: ["unknown-task"],
    summary:
      "Read one task and its failed attempts, also one that has left memory for the archive; with waitMs, wait for its final state.",
    example: { taskId: "1042-0", waitMs: 30_000 },
  },
  "task.explain": {
    kind: "read",
    scope: "read",
    input: tasks.TaskRef,
    output: why.TaskExplained,
    errors: ["unknown-task"],
    summary:
      "Say why a task is not running: every reason, whose doing it is, and about how many come before it.",
    example: { taskId: "1042-0" },
  },
  "task.list": {
    kind: "read",
    scope: "read",
    input: tasks.TaskList,
    output: tasks.TaskPage,
    errors: [],
    summary: "List tasks, newest first, by queue, type, state, group, label, worker or age.",
    example: { queue: "mail", state: "queued", limit: 50 },
  },
  "log.read": {
    kind: "stored",
    scope: "read",
    input: log.LogRead,
    output: log.LogPage,
    errors: [],
    summary: "Read the log: who did what, when, and what it changed, for as long as history is kept.",
    example: { key: "config/region", limit: 50 },
  },
  "archive.list": {
    kind: "stored",
    scope: "read",
    input: archive.ArchiveList,
    output: archive.ArchivePage,
    errors: ["no-archive"],
    summary:
      "Search the tasks that have ended and left memory, newest end first, by queue, type, state, group, label, key or time.",
    example: { queue: "mail", state: "dead", finishedAfter: 1_764_000_000_000, limit: 50 },
  },
  "task.cancel": {
    kind: "mutation",
    scope: "write",
    input: tasks.TaskCancel,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "wrong-state", "lease-lost"],
    summary:
      "Cancel a task, and with it what waits for it; a running handler is told through its AbortSignal.",
    example: { taskId: "1042-0", reason: "ordered twice" },
  },
  "task.retry": {
    kind: "mutation",
    scope: "write",
    input: tasks.TaskRetry,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "wrong-state", "busy"],
    summary:
      "Queue a failed, dead or cancelled task again with fresh attempts, also from the archive; with cascade, also what ended because of it.",
    example: { taskId: "1042-0" },
  },
  "task.delete": {
    kind: "mutation",
    scope: "write",
    input: tasks.TaskRef,
    output: tasks.TaskDeleted,
    errors: ["unknown-task", "wrong-state"],
    summary: "Delete a task that has ended or waits, for good; a running one is cancelled first.",
    example: { taskId: "1042-0" },
  },
  "task.move": {
    kind: "mutation",
    scope: "write",
    input: tasks.TaskMove,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "wrong-state", "backlog-full", "too-many-requirement-sets"],
    summary: "Give a waiting task another queue or priority; its age stays.",
    example: { taskId: "1042-0", queue: "mail-slow", priority: "low" },
  },
  "task.cancelMany": {
    kind: "mutation",
    scope: "write",
    input: bulk.TaskCancelMany,
    output: bulk.TasksChanged,
    errors: ["unknown-task", "wrong-state"],
    summary: "Cancel many tasks, by id or by filter.",
    example: { filter: { queue: "mail", state: "queued" }, reason: "the campaign is off" },
  },
  "task.retryMany": {
    kind: "mutation",
    scope: "write",
    input: bulk.TaskRetryMany,
    output: bulk.TasksChanged,
    errors: ["unknown-task", "wrong-state", "busy"],
    summary:
      "Queue many failed, dead or cancelled tasks again, by id or by filter: those in memory; `task.retry` brings one back from the archive.",
    example: { filter: { queue: "mail", state: "dead" } },
  },
  "task.deleteMany": {
    kind: "mutation",
    scope: "write",
    input: bulk.TaskDeleteMany,
    output: bulk.TasksChanged,
    errors: ["unknown-task", "wrong-state"],
    summary: "Delete many tasks that have ended or wait, by id or by filter, for good.",
    example: { filter: { queue: "mail", state: "dead" } },
  },
  "task.moveMany": {
    kind: "mutation",
    scope: "write",
    input: bulk.TaskMoveMany,
    output: bulk.TasksChanged,
    errors: ["unknown-task", "wrong-state", "backlog-full", "too-many-requirement-sets"],
    summary: "Give many waiting tasks another queue or priority, by id or by filter.",
    example: { filter: { queue: "mail", group: "acme" }, queue: "mail-slow" },
  },
  "task.completeMany": {
    kind: "mutation",
    scope: "work",
    input: bulk.TaskCompleteMany,
    output: bulk.TasksCompleted,
    errors: ["unknown-task", "lease-lost", "payload-too-large", "payload-too-deep"],
    summary: "Record the results of many tasks that one worker holds.",
    example: {
      workerId: "worker-001",
      tasks: [
        { taskId: "1042-0", token: 1043, result: { delivered: true } },
        { taskId: "1042-1", token: 1043 },
      ],
    },
  },
  "task.claim": {
    kind: "mutation",
    scope: "work",
    input: tasks.TaskClaim,
    output: tasks.TaskClaimed,
    errors: ["unknown-worker", "worker-offline", "worker-unavailable"],
    summary: "Take ready tasks as a worker without a socket; with waitMs, wait for the first.",
    example: { workerId: "worker-001", count: 1, waitMs: 30_000 },
  },
  "task.assign": {
    kind: "mutation",
    scope: "write",
    input: tasks.TaskAssign,
    output: tasks.Assignment,
    errors: [
      "unknown-task",
      "unknown-worker",
      "wrong-state",
      "worker-unavailable",
      "no-worker",
      "limit-reached",
      "payload-too-large",
      "payload-too-deep",
    ],
    summary: "Lease a queued or a new task to a named worker, or to the one we choose.",
    example: {
      task: { queue: "mail", type: "send", payload: { to: "ada@example.org" } },
      workerId: "worker-001",
    },
  },
  "task.complete": {
    kind: "mutation",
    scope: "work",
    input: tasks.TaskComplete,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "lease-lost", "payload-too-large", "payload-too-deep"],
    summary: "Record a task's result; needs the lease's token.",
    example: { ...lease, result: { delivered: true } },
  },
  "task.fail": {
    kind: "mutation",
    scope: "work",
    input: tasks.TaskFail,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "lease-lost"],
    summary: "Record a failed attempt; the task is tried again, or is dead or failed.",
    example: { ...lease, error: { message: "connection refused", code: "ECONNREFUSED" } },
  },
  "task.release": {
    kind: "mutation",
    scope: "work",
    input: tasks.TaskRelease,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "lease-lost"],
    summary: "Give a task back unfinished; it stands where it stood, nothing charged.",
    example: lease,
  },
  "task.snooze": {
    kind: "mutation",
    scope: "work",
    input: tasks.TaskSnooze,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "lease-lost"],
    summary: "Put a task off: it starts again at its time, no attempt charged.",
    example: { ...lease, forMs: 60_000 },
  },
  "task.wait": {
    kind: "mutation",
    scope: "work",
    input: tasks.TaskWait,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "lease-lost", "wrong-state"],
    summary:
      "End the attempt, uncharged, until the task's children are done: it runs again with their results.",
    example: lease,
  },
  "task.close": {
    kind: "mutation",
    scope: "write",
    input: tasks.TaskRef,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "wrong-state"],
    summary: "Say that an open task gets no more children: it is ready once they are done.",
    example: { taskId: "1042-0" },
  },
  "task.dependencies": {
    kind: "read",
    scope: "read",
    input: graphs.TaskDependencies,
    output: graphs.DependencyPage,
    errors: ["unknown-task"],
    summary: "List the tasks that a task waits for or has waited for, children included, with their results.",
    example: { taskId: "1042-0", limit: 50 },
  },
  "task.extend": {
    kind: "mutation",
    scope: "work",
    input: tasks.TaskExtend,
    output: tasks.LeaseView,
    errors: ["unknown-task", "lease-lost"],
    summary: "Move a lease's deadline.",
    example: { ...lease, leaseMs: 60_000 },
  },
  "task.progress": {
    kind: "volatile",
    scope: "work",
    input: tasks.TaskProgress,
    output: tasks.TaskStanding,
    errors: ["unknown-task", "lease-lost", "payload-too-large", "payload-too-deep"],
    summary: "Report progress; the newest is kept, and written with the task's next change.",
    example: { ...lease, progress: { percent: 40 } },
  },
  "task.log": {
    kind: "mutation",
    scope: "work",
    input: tasks.TaskLog,
    output: tasks.TaskLogged,
    errors: ["unknown-task", "lease-lost"],
    summary: "Add lines to a running task's log; the newest are kept with the task.",
    example: { ...lease, lines: ["connected", "12 of 40 sent"] },
  },
  "task.logs": {
    kind: "read",
    scope: "read",
    input: tasks.TaskLogs,
    output: tasks.TaskLogLines,
    errors: ["unknown-task"],
    summary:
      "Read a task's log, of one in the archive the end of it; with waitMs, wait for the next line or the end of the task.",
    example: { taskId: "1042-0", from: 0, waitMs: 30_000 },
  },
  "worker.register": {
    kind: "mutation",
    scope: "work",
    input: workers.WorkerRegister,
    output: workers.WorkerRegistered,
    errors: ["worker-id-in-use", "too-many-requirement-sets"],
    summary: "Register a worker, or take its session over after a reconnect.",
    example: { workerId: "worker-001", kind: "builder", capabilities: ["docker"], capacity: 4 },
  },
  "worker.unregister": {
    kind: "mutation",
    scope: "work",
    input: workers.WorkerRef,
    output: workers.WorkerUnregistered,
    errors: ["unknown-worker"],
    summary: "Leave; the worker's tasks go back to their queue, nothing charged.",
    example: { workerId: "worker-001" },
  },
  "worker.heartbeat": {
    kind: "volatile",
    scope: "work",
    input: workers.WorkerHeartbeat,
    output: workers.WorkerBeat,
    errors: ["unknown-worker", "worker-offline", "worker-id-in-use"],
    summary: "Say that the worker lives; answers its leases and what was cancelled.",
    example: { workerId: "worker-001" },
  },
  "worker.drain": {
    kind: "mutation",
    scope: "write",
    input: workers.WorkerDrain,
    output: workers.Worker,
    errors: ["unknown-worker", "worker-offline"],
    summary: "Give a worker no new tasks; those it holds go on.",
    example: { workerId: "worker-001", drain: true },
  },
  "worker.get": {
    kind: "read",
    scope: "read",
    input: workers.WorkerRef,
    output: workers.Worker,
    errors: ["unknown-worker"],
    summary: "Read one worker.",
    example: { workerId: "worker-001" },
  },
  "worker.list": {
    kind: "read",
    scope: "read",
    input: workers.WorkerList,
    output: workers.WorkerPage,
    errors: [],
    summary: "List workers by id.",
    example: { state: "busy" },
  },
  "kv.get": {
    kind: "read",
    scope: "read",
    input: kv.KvGet,
    output: kv.Key,
    errors: ["unknown-key"],
    summary: "Read one key.",
    example: { key: "config/region" },
  },
  "kv.getMany": {
    kind: "read",
    scope: "read",
    input: kv.KvGetMany,
    output: kv.KeysFound,
    errors: ["payload-too-large"],
    summary: "Read several keys as they are at one moment.",
    example: { keys: ["config/region", "config/replicas"] },
  },
  "kv.list": {
    kind: "read",
    scope: "read",
    input: kv.KvList,
    output: kv.KeyPage,
    errors: [],
    summary: "List keys in their order, by prefix.",
    example: { prefix: "config/", limit: 50 },
  },
  "kv.put": {
    kind: "mutation",
    scope: "write",
    input: kv.KvPut,
    output: kv.KeyStanding,
    errors: ["revision-mismatch", "worker-offline", "payload-too-large", "payload-too-deep"],
    summary: "Put a value under a key, or replace the key as a whole, its time and owner too.",
    example: { key: "config/region", value: { primary: "eu-central" }, ifRevision: 1041 },
  },
  "kv.delete": {
    kind: "mutation",
    scope: "write",
    input: kv.KvDelete,
    output: kv.KeyDeleted,
    errors: ["unknown-key", "revision-mismatch"],
    summary: "Delete a key.",
    example: { key: "config/region", ifRevision: 1042 },
  },
  "kv.increment": {
    kind: "mutation",
    scope: "write",
    input: kv.KvIncrement,
    output: kv.Counter,
    errors: ["not-a-counter"],
    summary: "Add to a whole number; a key that is not there counts from 0.",
    example: { key: "visits/2026-11-25", by: 1, ttlMs: 86_400_000 },
  },
  "message.publish": {
    kind: "mutation",
    scope: "write",
    input: messages.MessagePublish,
    output: messages.MessagePublished,
    errors: ["subscription-full", "payload-too-large", "payload-too-deep"],
    summary: "Publish: kept in the log until every subscription that it is for has acknowledged it.",
    example: { topic: "orders.eu", payload: { id: 17, total: 99 }, priority: "high" },
  },
  "message.ack": {
    kind: "mutation",
    scope: "work",
    input: messages.MessageAck,
    output: messages.MessageAcked,
    errors: ["unknown-subscription", "unknown-message"],
    summary:
      "Acknowledge a message; refused if it does not wait there any more, so that nothing is done twice.",
    example: { subscription: "billing", messageId: "1042-0" },
  },
  "message.ackMany": {
    kind: "mutation",
    scope: "work",
    input: messages.MessageAckMany,
    output: messages.MessagesAcked,
    errors: ["unknown-subscription"],
    summary: "Acknowledge many messages at once; answers which of them did not wait any more.",
    example: { subscription: "billing", messageIds: ["1042-0", "1043-0"] },
  },
  "message.nack": {
    kind: "mutation",
    scope: "work",
    input: messages.MessageNack,
    output: messages.MessageNacked,
    errors: ["unknown-subscription", "unknown-message"],
    summary: "Say that a message was not taken: it comes again after a while, or is dead.",
    example: { subscription: "billing", messageId: "1042-0", reason: "no connection to the bank" },
  },
  "message.extend": {
    kind: "volatile",
    scope: "work",
    input: messages.MessageExtend,
    output: messages.MessageExtended,
    errors: ["unknown-subscription", "unknown-message"],
    summary: "Say that a message is still worked on: its time to be acknowledged begins anew.",
    example: { subscription: "billing", messageId: "1042-0" },
  },
  "message.retry": {
    kind: "mutation",
    scope: "write",
    input: messages.MessageRetry,
    output: messages.MessagesRetried,
    errors: ["unknown-subscription"],
    summary: "Deliver dead messages again, all of a subscription or some.",
    example: { subscription: "billing" },
  },
  "message.receive": {
    kind: "volatile",
    scope: "work",
    input: messages.MessageReceive,
    output: messages.MessagesReceived,
    errors: ["unknown-subscription", "read-only"],
    summary:
      "Take messages of a subscription without a connection to push to; with waitMs, wait for the first.",
    example: { subscription: "billing", count: 10, waitMs: 25_000 },
  },
  "message.list": {
    kind: "read",
    scope: "read",
    input: messages.MessageList,
    output: messages.MessagePage,
    errors: ["unknown-subscription"],
    summary:
      "List messages that are kept, oldest first: all, those of a topic, or those of a subscription and how they stand there.",
    example: { subscription: "billing", state: "dead" },
  },
  "topic.put": {
    kind: "mutation",
    scope: "write",
    input: topics.TopicPut,
    output: topics.TopicView,
    errors: [],
    summary: "Keep what is published to topics, for a time or so many, for subscriptions that come later.",
    example: { topic: "orders.>", keepMs: 86_400_000 },
  },
  "topic.list": {
    kind: "read",
    scope: "read",
    input: topics.TopicList,
    output: topics.TopicPage,
    errors: [],
    summary: "List the topics that keep messages for later subscriptions.",
    example: { limit: 50 },
  },
  "topic.delete": {
    kind: "mutation",
    scope: "write",
    input: topics.TopicRef,
    output: topics.TopicDeleted,
    errors: ["unknown-topic"],
    summary: "Keep no more for later subscriptions; what a subscription waits for stays.",
    example: { topic: "orders.>" },
  },
  "subscription.put": {
    kind: "mutation",
    scope: "write",
    input: subscriptions.SubscriptionPut,
    output: subscriptions.SubscriptionView,
    errors: ["worker-offline"],
    summary:
      "Make a subscription that lasts, which keeps what is published from now on; or change settings: what is left out stays.",
    example: { name: "billing", topic: "orders.*", ackWaitMs: 60_000 },
  },
  "subscription.get": {
    kind: "read",
    scope: "read",
    input: subscriptions.SubscriptionRef,
    output: subscriptions.SubscriptionView,
    errors: ["unknown-subscription"],
    summary: "Read one subscription: its settings, and how many messages wait there.",
    example: { name: "billing" },
  },
  "subscription.list": {
    kind: "read",
    scope: "read",
    input: subscriptions.SubscriptionList,
    output: subscriptions.SubscriptionPage,
    errors: [],
    summary: "List subscriptions by name.",
    example: { limit: 50 },
  },
  "subscription.delete": {
    kind: "mutation",
    scope: "write",
    input: subscriptions.SubscriptionRef,
    output: subscriptions.SubscriptionDeleted,
    errors: ["unknown-subscription"],
    summary: "Delete a subscription, and with it what waits there.",
    example: { name: "billing" },
  },
  "message.emit": {
    kind: "volatile",
    scope: "write",
    input: messages.MessageEmit,
    output: messages.MessageEmitted,
    errors: ["payload-too-large", "payload-too-deep"],
    summary: "Publish at most once: from memory to those who listen now, without waiting for the log.",
    example: { topic: "prices.eu", payload: { wheat: 211.5 } },
  },
  "message.request": {
    kind: "volatile",
    scope: "write",
    input: messages.MessageRequest,
    output: messages.MessageAnswered,
    errors: ["no-subscribers", "no-reply", "request-failed", "payload-too-large", "payload-too-deep"],
    summary: "Ask those who listen to a topic, or a worker, and wait for the first reply.",
    example: { topic: "prices.ask", payload: "wheat", waitMs: 5000 },
  },
  "message.reply": {
    kind: "volatile",
    scope: "write",
    input: messages.MessageReply,
    output: messages.MessageReplied,
    errors: ["unknown-request", "payload-too-large", "payload-too-deep"],
    summary: "Reply to a message that asks for it; the first reply counts.",
    example: { requestId: "1042-7", payload: { wheat: 211.5 } },
  },
  "transaction.run": {
    kind: "mutation",
    scope: "write",
    input: transactions.TransactionRun,
    output: transactions.TransactionDone,
    errors: stepErrors,
    summary:
      "Carry out several operations, all or nothing, as one entry, where what is asked of keys, tasks and locks holds.",
    example: {
      if: [{ key: "orders/17", revision: 1041 }],
      then: [
        { operation: "kv.put", input: { key: "orders/17", value: "paid" } },
        { operation: "task.submit", input: { type: "ship", payload: { order: 17 } } },
      ],
      else: [{ operation: "kv.getMany", input: { keys: ["orders/17"] } }],
    },
  },
  "lock.acquire": {
    kind: "mutation",
    scope: "write",
    input: locks.LockAcquire,
    output: locks.Lock,
    errors: ["lock-held", "worker-offline", "payload-too-large", "payload-too-deep"],
    summary:
      "Take a lock, or with waitMs stand in line for it; lock.get with waitMs then waits until it is held.",
    example: { resources: [{ name: "deploy" }, { name: "src/core/", mode: "shared" }], waitMs: 60_000 },
  },
  "lock.get": {
    kind: "read",
    scope: "read",
    input: locks.LockGet,
    output: locks.Lock,
    errors: ["unknown-lock"],
    summary: "Read one lock; with waitMs, wait until it is held or gone.",
    example: { lockId: "1042-0", waitMs: 30_000 },
  },
  "lock.extend": {
    kind: "volatile",
    scope: "write",
    input: locks.LockExtend,
    output: locks.LocksExtended,
    errors: [],
    summary: "Say that locks are still wanted, each for its ttlMs from now on; answers which are lost.",
    example: { lockIds: ["1042-0"] },
  },
  "lock.release": {
    kind: "mutation",
    scope: "write",
    input: locks.LockRef,
    output: locks.LockReleased,
    errors: ["unknown-lock"],
    summary: "Release a lock, or leave the line; whoever is next has it in the same entry.",
    example: { lockId: "1042-0" },
  },
  "lock.steal": {
    kind: "mutation",
    scope: "admin",
    input: locks.LockSteal,
    output: locks.LockReleased,
    errors: ["unknown-lock"],
    summary: "Take a lock from whoever has it; the log keeps who did and why, and whoever is next has it.",
    example: { lockId: "1042-0", reason: "its holder hangs" },
  },
  "lock.list": {
    kind: "read",
    scope: "read",
    input: locks.LockList,
    output: locks.LockPage,
    errors: [],
    summary: "List locks by name: who holds what, and who waits.",
    example: { prefix: "src/", limit: 50 },
  },
  "queue.list": {
    kind: "read",
    scope: "read",
    input: queues.QueueList,
    output: queues.QueuePage,
    errors: [],
    summary:
      "List queues by name, with their counts and settings, and why nothing starts where nothing does.",
    example: { prefix: "mail-", limit: 50 },
  },
  "schedule.put": {
    kind: "mutation",
    scope: "write",
    input: schedules.SchedulePut,
    output: schedules.Schedule,
    errors: ["revision-conflict", "payload-too-large", "payload-too-deep"],
    summary: "Make a schedule, or replace the one of this name; what it has run so far stays.",
    example: {
      name: "nightly-report",
      cron: "30 2 * * *",
      timeZone: "Europe/Berlin",
      task: { queue: "reports", type: "report" },
    },
  },
  "schedule.get": {
    kind: "read",
    scope: "read",
    input: schedules.ScheduleGet,
    output: schedules.ScheduleShown,
    errors: ["unknown-schedule"],
    summary: "Read one schedule and its next runs.",
    example: { name: "nightly-report", count: 5 },
  },
  "schedule.list": {
    kind: "read",
    scope: "read",
    input: schedules.ScheduleList,
    output: schedules.SchedulePage,
    errors: [],
    summary: "List schedules by name.",
    example: { state: "active", limit: 50 },
  },
  "schedule.delete": {
    kind: "mutation",
    scope: "write",
    input: schedules.ScheduleDelete,
    output: schedules.ScheduleDeleted,
    errors: ["unknown-schedule", "revision-conflict"],
    summary: "Delete a schedule; the tasks it submitted stay.",
    example: { name: "nightly-report" },
  },
  "schedule.pause": {
    kind: "mutation",
    scope: "write",
    input: schedules.ScheduleRef,
    output: schedules.Schedule,
    errors: ["unknown-schedule"],
    summary: "Start no runs until it is resumed.",
    example: { name: "nightly-report" },
  },
  "schedule.resume": {
    kind: "mutation",
    scope: "write",
    input: schedules.ScheduleRef,
    output: schedules.Schedule,
    errors: ["unknown-schedule"],
    summary: "Run it again; its policy says what becomes of the runs missed meanwhile.",
    example: { name: "nightly-report" },
  },
  "schedule.run": {
    kind: "mutation",
    scope: "write",
    input: schedules.ScheduleRef,
    output: schedules.ScheduleRan,
    errors: ["unknown-schedule", "too-many-requirement-sets", "backlog-full"],
    summary: "Submit its task now, whatever its time, its state and its last run say.",
    example: { name: "nightly-report" },
  },
  "schedule.preview": {
    kind: "read",
    scope: "read",
    input: schedules.SchedulePreview,
    output: schedules.ScheduleRuns,
    errors: [],
    summary: "Show when a schedule would run, without making one.",
    example: { cron: "30 2 * * *", timeZone: "Europe/Berlin", count: 3 },
  },
  "queue.get": {
    kind: "read",
    scope: "read",
    input: queues.QueueRef,
    output: queues.Queue,
    errors: ["unknown-queue"],
    summary: "Read one queue.",
    example: { queue: "mail" },
  },
  "queue.groups": {
    kind: "read",
    scope: "read",
    input: queues.GroupList,
    output: queues.GroupPage,
    errors: [],
    summary: "List the groups of a queue that have ready or running tasks, by name.",
    example: { queue: "mail", limit: 50 },
  },
  "queue.configure": {
    kind: "mutation",
    scope: "write",
    input: queues.QueueConfigure,
    output: queues.Queue,
    errors: [],
    summary:
      "Set how many tasks of a queue run, how often, in which shares, on which workers, and how many may wait.",
    example: {
      queue: "mail",
      concurrency: 50,
      groupConcurrency: 5,
      groupRate: { count: 10, perMs: 1000 },
      groupWeights: { acme: 3 },
      backlog: { max: 100_000, policy: "refuse" },
    },
  },
  "queue.pause": {
    kind: "mutation",
    scope: "write",
    input: queues.QueuePause,
    output: queues.Queue,
    errors: [],
    summary: "Start no more tasks of a queue or of one group of it, for a time or until it is resumed.",
    example: { queue: "mail", group: "acme", forMs: 60_000, reason: "429 from their server" },
  },
  "queue.resume": {
    kind: "mutation",
    scope: "write",
    input: queues.QueueResume,
    output: queues.Queue,
    errors: [],
    summary: "End the pause of a queue, or of one group of it.",
    example: { queue: "mail", group: "acme" },
  },
  "limit.put": {
    kind: "mutation",
    scope: "write",
    input: queues.LimitPut,
    output: queues.Limit,
    errors: [],
    summary: "Set a named limit, which holds for all tasks that name it, whatever their queue.",
    example: { name: "openai", concurrency: 20, rate: { count: 500, perMs: 60_000 } },
  },
  "limit.get": {
    kind: "read",
    scope: "read",
    input: queues.LimitRef,
    output: queues.Limit,
    errors: ["unknown-limit"],
    summary: "Read one named limit.",
    example: { name: "openai" },
  },
  "limit.list": {
    kind: "read",
    scope: "read",
    input: queues.LimitList,
    output: queues.LimitPage,
    errors: [],
    summary: "List the named limits by name.",
    example: { prefix: "open", limit: 50 },
  },
  "limit.delete": {
    kind: "mutation",
    scope: "write",
    input: queues.LimitRef,
    output: queues.LimitDeleted,
    errors: ["unknown-limit"],
    summary: "Delete a named limit; tasks that name it are not limited by it any more.",
    example: { name: "openai" },
  },
  "state.get": {
    kind: "read",
    scope: "read",
    input: state.StateGet,
    output: state.State,
    errors: [],
    summary: "Revision, counts, workers and queues at one moment.",
    example: {},
  },
  "namespace.list": {
    kind: "daemon",
    scope: "read",
    input: namespaces.NamespaceList,
    output: namespaces.NamespacePage,
    errors: [],
    summary: "List the namespaces: how each stands, and how many there may be.",
    example: {},
  },
  "namespace.create": {
    kind: "daemon",
    scope: "admin",
    input: namespaces.NamespaceRef,
    output: namespaces.NamespaceCreated,
    errors: ["too-many-namespaces", "disk-full"],
    summary: "Make a namespace, if there is none of the name; its first use makes it too.",
    example: { namespace: "staging" },
  },
  "namespace.drop": {
    kind: "daemon",
    scope: "admin",
    input: namespaces.NamespaceRef,
    output: namespaces.NamespaceDropped,
    errors: ["unknown-namespace", "disk-full"],
    summary: "Drop a namespace with all that is in it, for good; never `default`.",
    example: { namespace: "staging" },
  },
  "session.hello": {
    kind: "session",
    scope: "read",
    input: state.Hello,
    output: state.Welcome,
    errors: ["unsupported-protocol", "unknown-namespace", "too-many-namespaces", "disk-full"],
    summary: "Greet: the first operation on a connection.",
    example: { protocol: 1, session: "c0ffee42", client: "my-client/1.0" },
  },
  "session.ping": {
    kind: "session",
    scope: "read",
    input: state.Ping,
    output: state.Pong,
    errors: [],
    summary: "Keep the connection and its worker alive when there is nothing else to say.",
    example: { loopAgeMs: 0 },
  },
  "worker.credit": {
    kind: "session",
    scope: "work",
    input: workers.WorkerCredit,
    output: workers.WorkerRef,
    errors: ["unknown-worker", "connection-needed"],
    summary: "Say how many tasks the worker on this connection will hold by push.",
    example: { workerId: "worker-001", credit: 2 },
  },
  "worker.acknowledge": {
    kind: "session",
    scope: "work",
    input: workers.WorkerAcknowledge,
    output: workers.WorkerRef,
    errors: ["unknown-worker", "connection-needed"],
    summary: "Say that every push of the worker on this connection up to a token has arrived.",
    example: { workerId: "worker-001", token: 1043 },
  },
  "subscription.attach": {
    kind: "session",
    scope: "work",
    input: subscriptions.SubscriptionAttach,
    output: subscriptions.SubscriptionAttached,
    errors: ["connection-needed", "unknown-subscription", "read-only"],
    summary:
      "Get the messages of a subscription on this connection, so many at once, until they are acknowledged.",
    example: { subscriptionId: "s1", name: "billing", window: 100 },
  },
  "subscription.detach": {
    kind: "session",
    scope: "work",
    input: subscriptions.SubscriptionDetach,
    output: subscriptions.SubscriptionDetached,
    errors: ["connection-needed"],
    summary: "Get no more; what is on its way goes to another at once, nothing charged.",
    example: { subscriptionId: "s1" },
  },
  "topic.subscribe": {
    kind: "session",
    scope: "read",
    input: messages.TopicSubscribe,
    output: messages.TopicSubscription,
    errors: ["connection-needed"],
    summary: "Get what is published to the topics that fit, from now on and while the connection stands.",
    example: { subscriptionId: "s1", topic: "prices.*" },
  },
  "topic.unsubscribe": {
    kind: "session",
    scope: "read",
    input: messages.TopicUnsubscribe,
    output: messages.TopicSubscription,
    errors: ["connection-needed"],
    summary: "End a live subscription.",
    example: { subscriptionId: "s1" },
  },
  "watch.start": {
    kind: "session",
    scope: "read",
    input: state.WatchStart,
    output: state.WatchStarted,
    errors: ["connection-needed"],
    summary: "Get an event for every change that fits, from now on.",
    example: { watchId: "mail", queue: "mail" },
  },
  "watch.stop": {
    kind: "session",
    scope: "read",
    input: state.WatchStop,
    output: state.WatchStopped,
    errors: ["connection-needed"],
    summary: "End a watch.",
    example: { watchId: "mail" },
  },
  "stats.start": {
    kind: "session",
    scope: "read",
    input: stats.StatsStart,
    output: stats.StatsStarted,
    errors: ["connection-needed"],
    summary: "Get the namespace's figures each second, from now on, and those of the time before.",
    example: { historyMs: 600_000 },
  },
  "stats.stop": {
    kind: "session",
    scope: "read",
    input: stats.StatsStop,
    output: stats.StatsStopped,
    errors: ["connection-needed"],
    summary: "Get no more of them.",
    example: {},
  },
} as const satisfies Record<string, OperationRow>;

/** Objects that several operations use: every document describes them once, under these names. */
export const objects: Record<string, TSchema> = {
  TaskSubmit: tasks.TaskSubmit,
  TaskSubmitted: tasks.TaskSubmitted,
  Task: tasks.Task,
  TaskShown: tasks.TaskShown,
  FailedAttempt: tasks.FailedAttempt,
  TaskStanding: tasks.TaskStanding,
  TaskError: tasks.TaskError,
  TaskFilter: tasks.TaskFilter,
  TasksChanged: bulk.TasksChanged,
  Backoff: tasks.Backoff,
  Lease: tasks.LeaseView,
  Assignment: tasks.Assignment,
  GraphView: tasks.GraphView,
  DependencyView: tasks.DependencyView,
  Worker: workers.Worker,
  Key: kv.Key,
  KeyStanding: kv.KeyStanding,
  Message: messages.MessageView,
  Lock: locks.Lock,
  LockResource: locks.LockResource,
  Subscription: subscriptions.SubscriptionView,
  Topic: topics.TopicView,
  Schedule: schedules.Schedule,
  ScheduleTask: schedules.ScheduleTask,
  Queue: queues.Queue,
  Group: queues.Group,
  Limit: queues.Limit,
  Rate: queues.Rate,
  Backlog: queues.Backlog,
  KeyCondition: transactions.KeyCondition,
  TaskCondition: transactions.TaskCondition,
  Step: transactions.Step,
  LogEntry: log.LogEntry,
  LogChange: log.LogChange,
  State: state.State,
  Stats: stats.Stats,
  Namespace: namespaces.Namespace,
};

export type Operations = typeof operations;
export type OperationName = keyof Operations;
export type Input<N extends OperationName> = Static<Operations[N]["input"]>;
export type Output<N extends OperationName> = Static<Operations[N]["output"]>;

type OfKind<K extends OperationKind> = {
  [N in OperationName]: Operations[N]["kind"] extends K ? N : never;
}[OperationName];
/** The operations a state itself answers. */
export type CoreOperationName = OfKind<"mutation" | "volatile" | "read">;
/** Those that the log of a state answers. */
export type StoredOperationName = OfKind<"stored">;
/** All that is asked of one state. */
export type StateOperationName = CoreOperationName | StoredOperationName;
/** Those about which namespaces there are. */
export type DaemonOperationName = OfKind<"daemon">;
/** Those that need no connection of their own: each has a route. */
export type RoutedOperationName = StateOperationName | DaemonOperationName;

export const operationNames = Object.keys(operations) as OperationName[];
export const isOperation = (name: unknown): name is OperationName =>
  typeof name === "string" && Object.hasOwn(operations, name);

export const isStored = (name: OperationName): name is StoredOperationName =>
  (operations[name].kind as OperationKind) === "stored";

/** Operations that stand alone though they are changes of a state, each with its reason. */
const alone = {
  "transaction.run": "one is no part of another",
  "task.claim": "a lease has an entry of its own, whose revision is its token",
  "task.assign": "a lease has an entry of its own, whose revision is its token",
  "worker.register": "it goes with the worker's connection",
  "worker.unregister": "it goes with the worker's connection",
} as const satisfies Partial<Record<OperationName, string>>;

/** What a transaction may be made of. */
export type StepName = Exclude<OfKind<"mutation" | "read">, keyof typeof alone>;

/** Why an operation cannot be part of a transaction; null: it can. */
export function notAStep(name: OperationName): string | null {
  switch (operations[name].kind as OperationKind) {
    case "volatile":
      return "what it changes is no state, and could not be taken back";
    case "session":
      return "it belongs to a connection";
    case "daemon":
      return "it is about which namespaces there are";
    case "stored":
      return "it is read from the log, and is answered later";
    case "mutation":
    case "read":
      return (alone as Partial<Record<OperationName, string>>)[name] ?? null;
  }
}

stepErrors.push(
  ...new Set(
    operationNames.filter((name) => notAStep(name) === null).flatMap((name) => [...operations[name].errors]),
  ),
);

/**
 * Whether the first use of a namespace may be this operation: a change that can be made in a state that holds
 * nothing. What names something that must be there cannot, and reads make nothing. A submit may name other tasks, and a
 * transaction anything, and both seldom need to.
 */
export const makesNamespace = (name: OperationName): boolean =>
  name === "task.submit" ||
  name === "graph.submit" ||
  name === "transaction.run" ||
  (operations[name].kind === "mutation" &&
    !operations[name].errors.some((code) => code.startsWith("unknown-")));
