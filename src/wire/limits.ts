/**
 * The limits of the contract: what a client may send and what a socket may hold. They are the same on both
 * sides of the wire, so client and daemon read them here. Every relation between two limits is asserted when
 * this file loads; a change that breaks one ends the program at once, not in a customer's night.
 */
import { assert } from "../lib/assert.ts";

/** A task's id, its quotes and a comma: sixteen digits of a revision, six of a number. */
const taskIdLengthMax = 26;

export const limits = {
  /** One WebSocket frame, in bytes of UTF-8: a graph fits into one. */
  frameBytesMax: 16 * 1024 * 1024,
  /** One HTTP body, in bytes. */
  bodyBytesMax: 16 * 1024 * 1024,
  /** An answer with many rows, in UTF-16 units, beyond which it is short: what follows comes with the next page. */
  answerUnitsMax: 4 * 1024 * 1024,
  /** A task's payload, result or progress, as JSON text in UTF-16 units (equal to bytes for ASCII). */
  payloadBytesMax: 1024 * 1024,
  /** How deep a payload, result or progress may nest. JSON.parse takes millions, JSON.stringify does not. */
  depthMax: 64,
  /** Operations in one frame. */
  operationsPerFrameMax: 1000,
  /** Operations of one transaction. */
  operationsPerTransactionMax: 1000,
  /** Conditions of one transaction. */
  conditionsPerTransactionMax: 1000,
  /** Tasks in one array submit (all or nothing). */
  tasksPerSubmitMax: 1000,
  /** Tasks in one graph, or made by one transaction (all or nothing). */
  tasksPerGraphMax: 100_000,
  /** Tasks that one task may be submitted to wait for. */
  dependenciesMax: 100_000,
  /** Dependencies of a task whose results come with its push; of more they are read in pages. */
  dependenciesPushedMax: 100,
  /** Results that come with a push, in UTF-16 units; larger ones are read in pages. */
  dependenciesUnitsMax: 16 * 1024,
  /** Tasks one claim may take. */
  tasksPerClaimMax: 1000,
  /** Tasks that one call changes. */
  tasksPerChangeMax: 1000,
  /** A queue, type, kind, capability, label, worker or session name. */
  nameLengthMax: 128,
  /** A namespace's name. */
  namespaceLengthMax: 63,
  /** An idempotency key. */
  idempotencyKeyLengthMax: 256,
  /** Parts that make a task unique. */
  uniquePartsMax: 16,
  /** A JSON pointer into a payload. */
  pointerLengthMax: 256,
  /** Labels or capabilities on one task or worker. */
  labelsMax: 32,
  /** A task's tracestate. */
  tracestateLengthMax: 512,
  /** Requirements, and preferences, of one task. */
  requirementsMax: 8,
  /** The text of one. */
  requirementLengthMax: 512,
  /** Values that one names. */
  requirementValuesMax: 32,
  /** An error message that a worker reports; a longer one is refused. */
  errorMessageLengthMax: 4096,
  /** An error's stack; a longer one is refused. */
  errorStackLengthMax: 16 * 1024,
  /** Failed attempts of one task that are remembered. */
  errorsPerTaskMax: 10,
  /** Their messages, codes and stacks in all, in UTF-16 units; the oldest are forgotten for the newest. */
  errorUnitsPerTaskMax: 64 * 1024,
  /** One line of a task's log, in UTF-16 units. */
  logLineLengthMax: 4096,
  /** Lines that one request may add to a log. */
  logLinesPerRequestMax: 100,
  /** Lines of one task's log that are kept; the oldest go. */
  logLinesMax: 1000,
  /** Their texts in all, in UTF-16 units. */
  logUnitsMax: 64 * 1024,
  /** Of them, the newest that go with the task into the archive, about, in UTF-16 units. */
  archivedLogUnitsMax: 8 * 1024,
  /** Delays in the list of a backoff. */
  backoffDelaysMax: 100,
  /** The power of a polynomial backoff. */
  backoffPowerMax: 10,
  /** Attempts a task may ask for. */
  attemptsMax: 1000,
  /** Capacity a worker may offer. */
  capacityMax: 10_000,
  /** Slots of a worker that one task takes. */
  slotsMax: 10_000,
  /** The longest delay, lease or time-out: 366 days, in ms. */
  durationMsMax: 366 * 24 * 3600 * 1000,
  /** The shortest lease or time-out, in ms. */
  leaseMsMin: 100,
  /** The longest a request may wait for a result or a task, in ms. */
  waitMsMax: 300_000,
  /** Rows on one page of a list. */
  pageMax: 1000,
  /** Bytes that may wait for one slow socket before change events are dropped and a gap is told. */
  watchBufferBytesMax: 4 * 1024 * 1024,
  /** Bytes of payloads pushed to one worker that its socket has not taken; above, it gets no more until it has. */
  pushBufferBytesMax: 2 * 1024 * 1024,
  /** Bytes that may wait for one slow socket before it is closed; well under Bun's 16 MiB. */
  socketBufferBytesMax: 12 * 1024 * 1024,
  /** Answers kept for one session's operations until the client has acknowledged them. */
  answersPerSessionMax: 10_000,
  /** How long an answer is kept for a repeated request, in ms. */
  answerAgeMsMax: 600_000,
  /** Different requirement sets (kind, capabilities, requires, prefers, slots) a queue's tasks may have among them, over all queues. */
  lanesMax: 10_000,
  /** Schedules, finished ones included. */
  schedulesMax: 500_000,
  /** A cron pattern. */
  cronLengthMax: 256,
  /** The name of a time zone. */
  timeZoneLengthMax: 64,
  /** The shortest time between two runs of a schedule, in ms: what a cron pattern can say too. */
  everyMsMin: 1000,
  /** Missed runs of one schedule that may start at once. */
  missedRunsMax: 100,
  /** Runs to come that one request may ask for. */
  nextRunsMax: 100,
  /** The last moment that may be named: the year 3000, in ms since 1970 (UTC). */
  momentMax: 32_503_680_000_000,
  /** Named limits that one task may count for. */
  limitsPerTaskMax: 4,
  /** Named limits that are set. */
  namedLimitsMax: 10_000,
  /** Tasks that a limit may let run at once. */
  concurrencyMax: 1_000_000,
  /** Tasks in a rate's time, and its burst. */
  rateCountMax: 1_000_000,
  /** A queue's or group's weight. */
  weightMax: 1000,
  /** Groups of one queue with a weight of their own. */
  groupWeightsMax: 1000,
  /** Tasks that a queue with a backlog limit may let wait. */
  backlogMax: 100_000_000,
  /** Queues for which something is set. */
  queuesMax: 100_000,
  /** Queues and groups that are paused. */
  pausesMax: 100_000,
  /** A key's name. */
  keyLengthMax: 512,
  /** Keys, however little memory they take. */
  keysMax: 10_000_000,
  /** Keys that one worker may own: they go in one entry, when it does. */
  keysPerWorkerMax: 10_000,
  /** A topic, or a pattern of topics. */
  topicLengthMax: 256,
  /** Subscriptions that last. */
  subscriptionsMax: 100_000,
  /** Messages that one of them may be told to keep. */
  pendingMessagesMax: 10_000_000,
  /** Dead messages that one of them keeps; the oldest go. */
  deadMessagesMax: 1000,
  /** Topics that keep messages for later subscriptions. */
  keepingTopicsMax: 1000,
  /** Messages that may be on their way to one connection of a subscription. */
  windowMax: 10_000,
  /** Live subscriptions of one connection. */
  subscriptionsPerConnectionMax: 10_000,
  /** Watches of one connection. */
  watchesPerConnectionMax: 10_000,
  /** Bytes that may wait for one slow socket before messages that are delivered at most once are lost, and told as lost. */
  messageBufferBytesMax: 2 * 1024 * 1024,
  /** The name of something to lock. */
  lockNameLengthMax: 256,
  /** Names that one lock may take at once. */
  resourcesPerLockMax: 64,
  /** Names of one lock and folders above them, each once: it stands in line at all of them. */
  placesPerLockMax: 1024,
  /** Holders that a shared lock may be limited to. */
  lockHoldersMax: 1_000_000,
  /** How long a lock that is no worker's lasts without being extended, unless it says so, in ms. */
  lockTtlMsDefault: 30_000,
  /** A lock's value, as JSON text in UTF-16 units. */
  lockValueUnitsMax: 16 * 1024,
  /** Locks, held and waiting. */
  locksMax: 1_000_000,
  /** Locks that one worker may have: they go in one entry, when it does. */
  locksPerWorkerMax: 10_000,
  /** Registered workers, offline ones that have not been forgotten included. */
  workersMax: 100_000,
} as const;

assert(limits.frameBytesMax >= 2 * limits.payloadBytesMax, "a frame holds a payload and its envelope");
assert(limits.slotsMax <= limits.capacityMax, "a worker can offer what a task may ask");
assert(limits.bodyBytesMax >= limits.frameBytesMax, "what fits a frame fits a body");
assert(
  limits.errorUnitsPerTaskMax >=
    limits.errorMessageLengthMax + limits.errorStackLengthMax + limits.nameLengthMax,
  "the newest error of a task is always remembered",
);
assert(
  limits.archivedLogUnitsMax >= 2 * limits.logLineLengthMax,
  "whatever was logged last goes into the archive",
);
assert(
  limits.placesPerLockMax >= 16 * limits.resourcesPerLockMax,
  "all names of a lock may lie fifteen folders deep",
);
assert(limits.watchBufferBytesMax >= limits.payloadBytesMax, "a watcher's buffer holds a payload");
assert(
  limits.messageBufferBytesMax < limits.watchBufferBytesMax,
  "a slow reader loses at-most-once messages first",
);
assert(limits.messageBufferBytesMax > limits.payloadBytesMax, "a listener's buffer holds a payload");
assert(
  limits.socketBufferBytesMax >= limits.watchBufferBytesMax + 2 * limits.answerUnitsMax,
  "a socket over its watch budget still takes replies and pushes",
);
assert(
  limits.answerUnitsMax >= taskIdLengthMax * limits.tasksPerGraphMax,
  "an answer holds the ids of a graph",
);
assert(limits.frameBytesMax >= 160 * limits.tasksPerGraphMax, "a frame holds a graph of the largest number");
assert(
  limits.pushBufferBytesMax >= 100 * limits.dependenciesUnitsMax,
  "many tasks of graphs are pushed at once",
);
assert(
  limits.socketBufferBytesMax >=
    limits.watchBufferBytesMax + 2 * limits.pushBufferBytesMax + limits.payloadBytesMax,
  "pushes alone never close a socket",
);
assert(limits.socketBufferBytesMax <= 14 * 1024 * 1024, "our budget lies under the engine's 16 MiB");
