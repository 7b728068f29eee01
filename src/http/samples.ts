/**
 * What the routes answer, by example, for the document: one small story of one mail that is sent. A test holds
 * every sample against the schema of its answer.
 */

import type { MessageView } from "../wire/messages.ts";
import type { Output } from "../wire/operations.ts";
import type { Stats } from "../wire/stats.ts";
import type { SubscriptionView } from "../wire/subscriptions.ts";
import type { Task, TaskShown } from "../wire/tasks.ts";
import type { TopicView } from "../wire/topics.ts";

const at = 1_767_225_600_000;

const lease = { workerId: "worker-001", token: 1043, deadlineAt: at + 30_000 };

const subscription: SubscriptionView = {
  name: "billing",
  topic: "orders.*",
  workerId: null,
  ownerId: null,
  ackWaitMs: 60_000,
  deliveriesMax: 10,
  backoff: { strategy: "exponential", delayMs: 1000, maxMs: 3_600_000, jitter: 0.5 },
  pendingMax: 100_000,
  whenFull: "refuse",
  idleMs: null,
  pending: 12,
  inFlight: 4,
  waiting: 1,
  dead: 0,
  dropped: 0,
  listeners: 2,
  createdAt: at,
  revision: 1042,
};

const message: MessageView = {
  ...{ messageId: "1042-0", topic: "orders.eu", workerId: null, priority: "high" },
  ...{ publisher: "c0ffee42", publishedAt: at, expiresAt: null, publishId: null },
  payload: { id: 17, total: 99 },
};

const took = { p50: 0.4, p95: 1.1, p99: 2.3, max: 4 };
const stats: Stats = {
  ...{ at, overMs: 1000, status: "ok", uptimeMs: 86_400_000, memoryBytes: 62_000_000, logBytes: 1_048_576 },
  ...{ revision: 1042, durableRevision: 1042 },
  tasks: {
    ...{ scheduled: 0, blocked: 0, queued: 1, running: 1 },
    ...{ completed: 16, failed: 0, dead: 0, cancelled: 0 },
  },
  workers: { idle: 1, busy: 1, draining: 0, offline: 0 },
  health: { healthy: 2, failing: 0, quarantined: 0, probation: 0, deaf: 0, stalled: 0 },
  ...{ schedules: 1, keys: 3, locks: { held: 1, waiting: 0 } },
  messages: { kept: 16, waiting: 12, inFlight: 4, dead: 0 },
  sessions: 3,
  counted: {
    ...{ operations: 40, operationsRefused: 0, tasksSubmitted: 12, tasksLeased: 12, tasksCompleted: 11 },
    ...{ tasksRetried: 1, tasksFailed: 0, tasksDead: 0, tasksCancelled: 0, tasksInterrupted: 0 },
  },
  ...{ answerMs: took, waitMs: { p50: 1, p95: 3, p99: 4, max: 6 }, runMs: null },
};

const topic: TopicView = {
  ...{ topic: "orders.>", keepMs: 86_400_000, keepCount: null, kept: 240, fromRevision: 1042 },
  ...{ createdAt: at, revision: 1041 },
};

const queued: Task = {
  id: "1042-0",
  queue: "mail",
  type: "send",
  payload: { to: "ada@example.org" },
  priority: "high",
  state: "queued",
  attempt: 0,
  attempts: 3,
  interruptions: 0,
  backoff: { strategy: "exponential", delayMs: 1000, maxMs: 3_600_000, jitter: 0.5 },
  finalCodes: [],
  retryCodes: null,
  interruptionsMax: null,
  leaseMs: 30_000,
  timeoutMs: null,
  expiresAt: null,
  deadlineAt: null,
  idempotencyKey: null,
  uniqueHash: null,
  kind: null,
  capabilities: [],
  requires: [],
  prefers: [],
  slots: 1,
  workerId: null,
  sticky: null,
  stickyMs: null,
  labels: {},
  group: null,
  limits: [],
  trace: null,
  graph: null,
  createdAt: at,
  runAt: null,
  startedAt: null,
  finishedAt: null,
  lease: null,
  progress: null,
  result: null,
  error: null,
  reason: null,
  revision: 1042,
};
const running: Task = {
  ...queued,
  state: "running",
  attempt: 1,
  startedAt: at + 2,
  lease,
  revision: 1043,
};
const completed: Task = {
  ...running,
  state: "completed",
  finishedAt: at + 250,
  lease: null,
  result: { delivered: true },
  revision: 1044,
};
const errors: TaskShown["errors"] = [
  { attempt: 1, at: at + 1, workerId: "worker-002", message: "connection refused", code: "ECONNREFUSED" },
];
const standing = (state: Output<"task.cancel">["state"], revision = 1044): Output<"task.cancel"> => ({
  id: "1042-0",
  state,
  revision,
});

const changed: Output<"task.cancelMany"> = {
  count: 999,
  refused: [{ id: "1040-7", code: "wrong-state" }],
  cursor: "1031-2",
};

const worker: Output<"worker.get"> = {
  id: "worker-001",
  instanceId: "worker-001",
  kind: "builder",
  queues: ["*"],
  capabilities: ["docker"],
  labels: {},
  capacity: 4,
  state: "idle",
  connected: false,
  running: 0,
  slotsUsed: 0,
  healthy: true,
  health: "healthy",
  healthScore: 100,
  reasons: [],
  completedCount: 0,
  failedCount: 0,
  registeredAt: at,
  lastSeenAt: at,
  revision: 1041,
};

const counts = {
  scheduled: 0,
  blocked: 0,
  queued: 1,
  running: 0,
  completed: 0,
  failed: 0,
  dead: 0,
  cancelled: 0,
};
const queue: Output<"queue.get"> = {
  name: "mail",
  counts,
  queuedByPriority: { critical: 0, high: 1, normal: 0, low: 0 },
  oldestAt: 1_700_000_000_000,
  settings: {
    concurrency: 50,
    rate: null,
    groupConcurrency: 5,
    groupRate: { count: 10, perMs: 1000, burst: 10 },
    weight: null,
    groupWeights: { acme: 3 },
    backlog: { max: 100_000, policy: "refuse" },
    strategy: null,
  },
  paused: null,
  shut: null,
  groupsWaiting: 1,
  groupsPaused: 0,
};
const paused = { since: at, until: at + 60_000, by: "worker-001", reason: "429 from their server" };
const limit: Output<"limit.get"> = {
  name: "openai",
  concurrency: 20,
  rate: { count: 500, perMs: 60_000, burst: 500 },
  running: 20,
  shut: "concurrency",
  revision: 1040,
};

const schedule: Output<"schedule.put"> = {
  name: "nightly-report",
  cron: "30 2 * * *",
  timeZone: "Europe/Berlin",
  everyMs: null,
  startAt: null,
  endAt: null,
  jitterMs: 0,
  missed: "once",
  missedMax: 100,
  overlap: "allow",
  task: { queue: "reports", type: "report" },
  state: "active",
  nextAt: 1_767_231_000_000,
  waitingAt: null,
  lastAt: null,
  lastTaskId: null,
  runsCount: 0,
  skippedCount: 0,
  createdAt: at,
  putRevision: 1042,
  revision: 1042,
};
const nextRuns = [1_767_231_000_000, 1_767_317_400_000, 1_767_403_800_000];

const keyStanding: Output<"kv.put"> = {
  key: "config/region",
  revision: 1042,
  createdRevision: 1030,
  version: 2,
  expiresAt: null,
  workerId: null,
};
const lock: Output<"lock.get"> = {
  lockId: "1042-0",
  state: "held",
  token: 1042,
  resources: [{ name: "deploy", mode: "exclusive", limit: null }],
  who: "c0ffee42",
  workerId: null,
  value: null,
  createdAt: at,
  heldAt: at,
  ttlMs: 30_000,
  expiresAt: at + 30_000,
  waitEndsAt: null,
  behind: null,
  revision: 1042,
};
const key: Output<"kv.get"> = { ...keyStanding, value: { primary: "eu-central" } };

type Sample = {
  ok: unknown;
  /** What 503 of /ready holds. */
  refused?: unknown;
  /** Descriptions by status, where "Done." says too little. */
  words?: Record<string, string>;
};

/** What is sent to a route that no operation describes. */
export const requestSamples: Record<string, unknown> = {
  frames: [{ op: "task.submit", seq: 1, input: { queue: "mail", type: "send" } }],
  // Without the revision: who tries it out has no such key yet.
  kvPut: { value: { primary: "eu-central" } },
};

export const responseSamples: Record<string, Sample> = {
  taskSubmit: {
    ok: { ...queued, errors: [], archived: false },
    words: { 200: "The idempotencyKey was known: the earlier task.", 201: "The task, or an array of them." },
  },
  logRead: {
    ok: {
      entries: [
        {
          ...{ revision: 1042, at, operation: "kv.put", who: "http", short: false },
          changes: [
            { part: "key", id: "config/region", value: { revision: 1042, value: { primary: "eu-central" } } },
          ],
        },
      ],
      ...{ next: null, oldest: 1001 },
    },
  },
  taskGet: { ok: { ...completed, errors, archived: false } },
  archiveList: { ok: { tasks: [{ ...completed, errors, archived: true }], cursor: `${at + 250}/1042-0` } },
  taskList: { ok: { tasks: [queued], cursor: null } },
  taskCancel: { ok: standing("cancelled") },
  taskRetry: { ok: standing("queued") },
  taskDelete: { ok: { id: "1042-0" } },
  taskMove: { ok: standing("queued") },
  taskCancelMany: { ok: changed },
  taskRetryMany: { ok: changed },
  taskDeleteMany: { ok: changed },
  taskMoveMany: { ok: changed },
  taskCompleteMany: { ok: { count: 1, refused: [{ id: "1042-1", code: "lease-lost" }] } },
  taskClaim: { ok: { assignments: [{ task: running, lease }] } },
  taskAssign: { ok: { task: running, lease } },
  taskComplete: { ok: standing("completed") },
  taskFail: { ok: standing("scheduled") },
  taskWait: { ok: standing("blocked") },
  taskClose: { ok: standing("blocked") },
  taskExplain: {
    ok: {
      id: "1042-0",
      state: "queued",
      summary: "20 tasks of limit openai run; its limit is 20.",
      reasons: [
        {
          code: "concurrency",
          detail: "20 tasks of limit openai run; its limit is 20",
          untilAt: null,
          by: ["1040-0", "1041-0"],
        },
      ],
      workers: { registered: 3, fitting: 2, free: 1 },
      asks: [
        { asked: "queue mail", met: 3 },
        { asked: "mem >= 16", met: 2 },
      ],
      ahead: 0,
    },
  },
  taskDependencies: {
    ok: {
      dependencies: [
        {
          name: "cover",
          taskId: "1042-0",
          relation: "after",
          onFail: "fail",
          type: "render",
          state: "completed",
          result: { file: "cover.png" },
          error: null,
        },
      ],
      cursor: null,
    },
  },
  graphSubmit: { ok: { ids: ["1042-0", "1042-1"], duplicates: [] } },
  taskRelease: { ok: standing("queued") },
  taskLog: { ok: { id: "1042-0", next: 2 } },
  taskLogs: {
    ok: {
      lines: [
        { number: 0, at: at + 3, attempt: 1, text: "connected" },
        { number: 1, at: at + 90, attempt: 1, text: "12 of 40 sent" },
      ],
      first: 0,
      next: 2,
    },
  },
  taskSnooze: { ok: standing("scheduled") },
  taskExtend: { ok: { ...lease, deadlineAt: at + 60_000 } },
  taskProgress: { ok: standing("running", 1043) },
  workerRegister: { ok: { worker, heartbeatMs: 5000, silenceMs: 15_000, leases: [], lost: [] } },
  workerUnregister: { ok: { workerId: "worker-001", released: [] } },
  workerHeartbeat: {
    ok: { leases: [{ taskId: "1042-0", token: 1043, deadlineAt: at + 30_000 }], cancels: [] },
  },
  workerDrain: { ok: { ...worker, state: "draining" } },
  workerGet: { ok: worker },
  workerList: { ok: { workers: [worker], cursor: null } },
  queueList: { ok: { queues: [queue], cursor: null } },
  schedulePut: { ok: schedule },
  scheduleGet: { ok: { ...schedule, nextRuns } },
  scheduleList: { ok: { schedules: [schedule], cursor: null } },
  scheduleDelete: { ok: { name: "nightly-report" } },
  schedulePause: { ok: { ...schedule, state: "paused" } },
  scheduleResume: { ok: schedule },
  scheduleRun: { ok: { name: "nightly-report", taskId: "1043-0" } },
  schedulePreview: { ok: { nextRuns } },
  kvGet: { ok: key },
  kvGetMany: { ok: { keys: [key, null] } },
  kvList: { ok: { keys: [key], cursor: null } },
  kvPut: { ok: keyStanding },
  kvDelete: { ok: { key: "config/region", deletedRevision: 1042 } },
  kvIncrement: {
    ok: {
      ...keyStanding,
      ...{ key: "visits/2026-11-25", version: 13, expiresAt: at + 86_400_000, value: 13 },
    },
  },
  messagePublish: { ok: { messageId: "1042-0", subscriptions: 2, duplicate: false } },
  messageAck: { ok: { messageId: "1042-0" } },
  messageAckMany: { ok: { acknowledged: 2, lost: [] } },
  messageNack: { ok: { messageId: "1042-0", state: "waiting" } },
  messageExtend: { ok: { messageId: "1042-0", deadlineAt: at + 60_000 } },
  messageRetry: { ok: { retried: 3 } },
  messageReceive: { ok: { messages: [{ ...message, subscription: "billing", delivery: 1 }] } },
  messageList: {
    ok: {
      messages: [{ ...message, state: "dead", failedCount: 10, reason: "no connection to the bank" }],
      cursor: null,
    },
  },
  topicPut: { ok: topic },
  topicList: { ok: { topics: [topic], cursor: null } },
  topicDelete: { ok: { topic: "orders.>" } },
  subscriptionPut: { ok: subscription },
  subscriptionGet: { ok: subscription },
  subscriptionList: { ok: { subscriptions: [subscription], cursor: null } },
  subscriptionDelete: { ok: { name: "billing", droppedCount: 0 } },
  messageEmit: { ok: { deliveries: 2 } },
  messageRequest: { ok: { payload: { wheat: 211.5 }, by: "c0ffee42" } },
  messageReply: { ok: { requestId: "1042-7" } },
  transactionRun: {
    ok: {
      branch: "then",
      unmet: [],
      revision: 1042,
      results: [keyStanding, { id: "1042-0", state: "queued", duplicate: false }],
    },
  },
  lockAcquire: { ok: lock },
  lockGet: { ok: lock },
  lockExtend: { ok: { locks: [{ lockId: "1042-0", state: "held", expiresAt: at + 30_000 }], lost: [] } },
  lockRelease: { ok: { lockId: "1042-0", state: "held" } },
  lockSteal: { ok: { lockId: "1042-0", state: "held" } },
  lockList: { ok: { locks: [{ name: "deploy", mode: "exclusive", lock }], cursor: null } },
  queueGet: { ok: queue },
  queueGroups: {
    ok: {
      groups: [{ name: "acme", queued: 1, running: 5, weight: 3, paused, shut: "paused" }],
      cursor: null,
    },
  },
  queueConfigure: { ok: queue },
  queuePause: { ok: { ...queue, paused, shut: "paused" } },
  queueResume: { ok: queue },
  limitPut: { ok: limit },
  limitGet: { ok: limit },
  limitList: { ok: { limits: [limit], cursor: null } },
  limitDelete: { ok: { name: "openai" } },
  stateGet: {
    ok: {
      revision: 1042,
      durableRevision: 1042,
      namespace: "default",
      counts: { tasks: counts, workers: { idle: 1, busy: 0, draining: 0, offline: 0 } },
      workers: [worker],
      queues: [queue],
    },
    words: { 200: "The overview, a page of a table, or the whole state as lines." },
  },
  namespaceList: {
    ok: {
      namespaces: [
        {
          ...{ name: "default", status: "ok", revision: 1042, durableRevision: 1042, tasks: counts },
          ...{ workers: { idle: 1, busy: 0, draining: 0, offline: 0 }, logBytes: 1_048_576 },
        },
      ],
      namespacesMax: 64,
    },
  },
  namespaceCreate: { ok: { namespace: "staging", created: true } },
  namespaceDrop: { ok: { namespace: "staging" }, words: { 200: "It is gone." } },
  frames: { ok: [{ seq: 1, ok: { id: "1042-0", state: "queued", duplicate: false } }] },
  health: {
    ok: {
      status: "ok",
      version: "0.1.0",
      preset: "durable",
      uptimeMs: 86_400_000,
      revision: 1042,
      durableRevision: 1042,
      namespaceCount: 1,
    },
  },
  ready: {
    ok: { ready: true, reason: "" },
    refused: { ready: false, reason: "recovering: 120,000 of 400,000 rows" },
    words: { 200: "Send work.", 503: "Not now." },
  },
  metrics: {
    ok: { daemon: { tasksSubmitted: 1 }, store: { revision: 1042 }, bus: { connections: 1 } },
  },
  stats: { ok: { samples: [stats] } },
  watch: {
    ok: 'id: 1042-1\nevent: change\ndata: {"table":"keys","id":"config/region","revision":1042,"at":1767225600000,"operation":"kv.put","who":"http","state":"present","before":null,"value":1}\n\n',
  },
  prometheus: {
    ok: "# TYPE cortex_tasks_submitted_total counter\ncortex_tasks_submitted_total 1\n",
  },
};
