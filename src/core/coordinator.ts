/**
 * The coordinator: the whole state and every operation on it. It is pure: time, chance and callers come in from
 * outside, nothing waits, and the same calls give the same state. `run` carries out one operation as one
 * transaction; `tick` does what time has made due; `dispatchReady` brings ready tasks and workers together.
 *
 * Two clocks come in. `now` is wall time and serves delays, ages and what people see. `clock` is the lease
 * clock: it stands still while the daemon is down or its loop is stopped, so that no lease ever ends because of
 * us.
 */
import { unreachable } from "../lib/assert.ts";
import { Durations } from "../lib/durations.ts";
import { DeadlineHeap } from "../lib/heap.ts";
import type { Fence } from "../wire/fences.ts";
import { limits } from "../wire/limits.ts";
import type { CoreOperationName, Input } from "../wire/operations.ts";
import { operations } from "../wire/operations.ts";
import { Answers } from "./answers.ts";
import type { ArchivedTask } from "./archive.ts";
import * as bulk from "./bulk.ts";
import type { CoreMetrics } from "./counted.ts";
import { Dispatch } from "./dispatch.ts";
import { Expiry } from "./expiry.ts";
import { type Failures, sizeOfFailures } from "./failures.ts";
import { refuseFence } from "./fences.ts";
import { Flow } from "./flow.ts";
import { Gates } from "./gates.ts";
import * as graphs from "./graphs.ts";
import { Graphs } from "./graphs.ts";
import { byAge } from "./ids.ts";
import {
  type DeliveryRecord,
  Inboxes,
  type MessageRecord,
  type PublishedRecord,
  type SubscriptionRecord,
  type TopicRecord,
} from "./inboxes.ts";
import type { KeyRecord } from "./kv.ts";
import * as kv from "./kv.ts";
import { urgentBy } from "./lanes.ts";
import { Limits, type MemoryBudget } from "./limits.ts";
import type { LockRecord } from "./locks.ts";
import * as locks from "./locks.ts";
import * as logs from "./logs.ts";
import * as messages from "./messages.ts";
import * as queues from "./queues.ts";
import { type Result, refuse } from "./result.ts";
import type { ScheduleRecord } from "./schedules.ts";
import * as schedules from "./schedules.ts";
import * as settings from "./settings.ts";
import type { Slot } from "./slots.ts";
import * as state from "./state.ts";
import { chosenKeys, type RowName, type Store, type Table } from "./store.ts";
import * as subscriptions from "./subscriptions.ts";
import type { TaskRecord } from "./tasks.ts";
import * as tasks from "./tasks.ts";
import * as topics from "./topics.ts";
import { run as runTransaction } from "./transactions.ts";
import { Holders, type UniqueRecord, uniqueBytes } from "./unique.ts";
import * as why from "./why.ts";
import type { WorkerRecord } from "./workers.ts";
import * as workers from "./workers.ts";

/** What the core reads of the options. */
export type CoreConfig = {
  /** What a client is told: send something at least this often. */
  heartbeatMs: number;
  /** A worker that says nothing for this long is offline. */
  silenceMs: number;
  /** A push that is not acknowledged for this long is taken back; 0: never. */
  pushAckMs: number;
  /** A worker whose handlers have stood still for this long gets no tasks. */
  stalledMs: number;
  /** Added to every lease after a restart, so that workers have time to come back. */
  graceMs: number;
  /** A waiting task or message gains one priority level per this long; 0: never. */
  ageingMs: number;
  /** How often a task may interrupt its workers before it is dead. */
  interruptionsMax: number;
  /** Finished tasks are kept for this long, and at most so many a queue. */
  retentionMs: number;
  retentionCount: number;
  /** Whether tasks that leave memory are told to the log's archive. */
  archives: boolean;
  /** Over these submits are refused as `busy`. */
  queuedTasksMax: number;
  memoryBytesMax: number;
};

/** Who caused a transaction, and how a repeated operation is told from a new one. */
export type Cause = {
  who: string;
  session: string | null;
  seq: number;
  ackedThrough: number;
  /** Of the input, where a reused idempotency key must be told; else 0. */
  fingerprint: number;
  /** It happens only while this holds. */
  fence?: Fence | undefined;
};

export type CoreOptions = {
  config: CoreConfig;
  metrics: CoreMetrics;
  /** Draws from [0, 1). */
  random: () => number;
  now: number;
  clock: number;
  /** Nothing ends before this moment of the lease clock: the grace after a restart. */
  graceUntil: number;
  /** What the state is called. Default `default`. */
  namespace?: string;
  /** Shared with the other states of the process. Default: one of its own. */
  memory?: MemoryBudget;
};

/** Operations that may find in the middle of their work that they are refused. */
const partlyRefused: ReadonlySet<string> = new Set<CoreOperationName>(["transaction.run", "task.retry"]);

/** Changes made in one transaction of `tick`, so that one tick never holds the loop for long. */
const changesPerTick = 1000;
/** Schedules looked at in one tick: where they have patterns of their own, each costs a third of a millisecond. */
const looksPerTick = 100;

/** One of the operations of a transaction. */
export type Step = { readonly operation: string; readonly from: number };
const noSteps: Step[] = [];

type Progress = { token: number; text: string };

/** Ends a transaction that is refused half-way. */
class Undone {
  constructor(readonly refusal: Result) {}
}

export class Coordinator {
  readonly tasks: Table<TaskRecord>;
  /** What the attempts of tasks failed of, by the task's id. */
  readonly errors: Table<Failures>;
  /** What handlers wrote of their tasks. */
  readonly logs: logs.Logs;
  /** Holds nothing: what is told of tasks that leave memory. */
  readonly archive: Table<ArchivedTask>;
  /** Keys of unique tasks that are taken for a time, by their hash. */
  readonly uniques: Table<UniqueRecord>;
  /** Which task has such a key because of how it stands. */
  readonly holders = new Holders();
  readonly workers: Table<WorkerRecord>;
  readonly schedules: Table<ScheduleRecord>;
  readonly keys: Table<KeyRecord>;
  readonly locks: Table<LockRecord>;
  readonly subscriptions: Table<SubscriptionRecord>;
  readonly messages: Table<MessageRecord>;
  readonly deliveries: Table<DeliveryRecord>;
  readonly published: Table<PublishedRecord>;
  readonly topics: Table<TopicRecord>;
  readonly answers: Answers;
  readonly flow: Flow;
  readonly dispatch: Dispatch;
  readonly graphs: Graphs;
  readonly queues: queues.Queues;
  readonly limits: Limits;
  readonly agenda: schedules.Agenda;
  readonly sortedKeys: kv.Keys;
  readonly bids: locks.Locks;
  readonly inboxes: Inboxes;
  readonly expiry = new Expiry();
  /** Messages that are in no log. */
  readonly bus = new messages.Bus(this);
  readonly config: CoreConfig;
  readonly namespace: string;
  readonly metrics: CoreMetrics;
  /** How long tasks waited, ready, for their first lease, and how long completed attempts ran. */
  readonly took = { wait: new Durations(), run: new Durations() };
  readonly random: () => number;
  /** On the lease clock: no lease ends and no worker is offline before. */
  graceUntil: number;
  now: number;
  clock: number;
  /** The cause of what runs or ran last: for the log and the change feed. */
  operation = "";
  who = "";
  /** Where it is one of several operations: each of them, and how many changes were made before it. */
  steps: Step[] = noSteps;
  /** Of the operation that runs; null: it has none. */
  session: string | null = null;
  /** The task that the next operation is about, read from the archive; null: what is not in memory is unknown. */
  fetched: ArchivedTask | null = null;

  // What is due, answers by the lease clock. Entries are lazy: whoever pops one asks whether it still holds.

  /** By their rows: one that was cancelled stands there until its time, and its payload must not. */
  readonly #ready = new DeadlineHeap<RowName>();
  readonly #retire = new DeadlineHeap<string>();
  readonly #forget = new DeadlineHeap<string>();
  readonly #oldAnswers = new DeadlineHeap<string>();
  readonly #resume = new DeadlineHeap<string>();
  readonly #uniqueEnds = new DeadlineHeap<string>();
  readonly #gates: Gates;
  /** The newest progress of running tasks: volatile, written with the task's next change. */
  readonly #progress = new Map<string, Progress>();
  /** Tasks whose progress changed since the engine last asked. */
  readonly progressed = new Set<string>();
  /** How many tasks the entry has made so far. */
  #numbers = 0;
  /** What is done at the end of an entry that may come to nothing; null: no such entry runs. */
  #effects: (() => void)[] | null = null;

  /** Takes a store that may hold recovered tables, and builds every index from them. */
  constructor(
    readonly store: Store,
    options: CoreOptions,
  ) {
    this.config = options.config;
    this.metrics = options.metrics;
    this.random = options.random;
    this.now = options.now;
    this.clock = options.clock;
    this.graceUntil = options.graceUntil;
    this.tasks = tasks.tasksOf(store);
    this.errors = tasks.errorsOf(store);
    this.archive = tasks.archiveOf(store);
    this.uniques = store.table("uniques");
    this.workers = store.table("workers");
    this.schedules = store.table("schedules");
    this.keys = kv.keysOf(store);
    this.locks = locks.locksOf(store);
    this.subscriptions = store.table("subscriptions", chosenKeys);
    this.messages = messages.messagesOf(store);
    this.deliveries = store.table("deliveries", chosenKeys);
    this.published = store.table("published", chosenKeys);
    this.topics = store.table("topics", chosenKeys);
    const urgent = urgentBy(options.config.ageingMs);
    this.#gates = new Gates(
      () => this.clock,
      urgent,
      (lane) => this.dispatch.laneMoved(lane),
    );
    this.flow = new Flow(store, this.#gates, () => this.clock, {
      pauseEnds: (at, key) => this.#resume.push(at, key),
      // Before there are queues, recovery shows the tasks that wait one by one.
      waitingIn: (queue) => this.queues?.waitingIn(queue) ?? [],
      strategyUnused: (strategy) => this.dispatch?.forget(strategy),
    });
    this.dispatch = new Dispatch(
      this.#gates,
      this.flow,
      urgent,
      () => this.clock,
      () => this.store.revision,
      options.config,
      (undo) => this.store.onUndo(undo),
    );
    // Known before the queues see a task: what others wait for is not theirs to let go of.
    this.graphs = new Graphs(this);
    this.tasks.index([this.graphs]);
    this.queues = new queues.Queues(this, this.dispatch, (queue, finishedAt) =>
      this.#retire.push(finishedAt + this.config.retentionMs, queue),
    );
    this.namespace = options.namespace ?? "default";
    this.limits = new Limits(this, options.memory ?? { bytes: 0 });
    this.agenda = new schedules.Agenda(this);
    this.logs = new logs.Logs(store.table("logs"), (units) => this.limits.grow(units));
    this.uniques.index([{ change: (before, after) => this.#uniqueChanged(before, after) }]);
    this.errors.index([
      { change: (before, after) => this.limits.grow(sizeOfFailures(after) - sizeOfFailures(before)) },
    ]);
    this.workers.index([{ change: (before, after) => this.#workerChanged(before, after) }], (a, b) =>
      a.id < b.id ? -1 : 1,
    );
    this.tasks.index(
      [
        this.queues,
        this.limits,
        this.holders,
        { change: (before, after) => this.#taskChanged(before, after) },
      ],
      (a, b) => tasks.specOrder(a.spec, b.spec),
    );
    // After the tasks, whose ends a run may wait for.
    this.schedules.index([this.agenda]);
    this.sortedKeys = new kv.Keys(this);
    this.keys.index([this.sortedKeys], (a, b) => (a.key < b.key ? -1 : 1));
    this.bids = new locks.Locks(this);
    this.locks.index([this.bids], locks.recordOrder);
    this.inboxes = new Inboxes(this);
    const { inboxes } = this;
    this.subscriptions.index(
      [{ change: (before, after) => inboxes.subscriptionChanged(before, after) }],
      (a, b) => (a.spec.name < b.spec.name ? -1 : 1),
    );
    this.topics.index([{ change: (before, after) => inboxes.topicChanged(before, after) }]);
    // Before the messages, which look up how they stand.
    this.deliveries.index([{ change: (before, after) => inboxes.deliveryChanged(before, after) }]);
    this.messages.index([{ change: (before, after) => inboxes.messageChanged(before, after) }], byAge);
    this.published.index([{ change: (before, after) => inboxes.publishedChanged(before, after) }]);
    this.answers = new Answers(
      store,
      (session, at) => this.#oldAnswers.push(at + limits.answerAgeMsMax, session),
      (bytes) => this.limits.grow(bytes),
    );
  }

  /**
   * Time never goes back, whatever the clocks do, and never stands: while a wall clock that was set back has not
   * caught up, it goes on as the lease clock does, or every delay would wait for as long as the clock was set back.
   */
  setTime(now: number, clock: number): void {
    const step = Math.max(0, clock - this.clock);
    this.now = Math.max(now, this.now + step);
    this.clock += step;
  }

  /** Carries out one operation whose input was validated. A refusal changes nothing. */
  run<N extends CoreOperationName>(operation: N, input: Input<N>, cause: Cause): Result {
    const { session, seq } = cause;
    this.session = session;
    if (operations[operation].kind !== "mutation") {
      this.who = cause.who;
      return this.#apply(operation, input);
    }
    if (session !== null) {
      const known = this.answers.find(session, seq);
      if (known === "acknowledged")
        return refuse("already-acknowledged", `session ${session} acknowledged the answer to ${seq}`);
      if (known !== undefined) {
        if (known.operation !== operation || known.fingerprint !== cause.fingerprint)
          return refuse(
            "idempotency-key-reused",
            `it was used for ${known.operation} in entry ${known.revision}`,
          );
        this.metrics.operationsRepeated++;
        return { ok: known.text };
      }
    }
    const work = () => {
      const lost = cause.fence === undefined ? null : refuseFence(this, cause.fence);
      const result = lost ?? this.#apply(operation, input);
      if (session !== null && this.store.changeCount > 0 && "ok" in result)
        // By the lease clock: a wall clock that is set forward must not make a repeated operation new.
        this.answers.keep(cause, operation, this.clock, this.store.nextRevision, result.ok);
      return result;
    };
    return partlyRefused.has(operation)
      ? this.#allOrNothing(operation, cause.who, work)
      : this.#transaction(operation, cause.who, work);
  }

  /** As `#transaction`, where work that is refused may have done some of it: what it did is taken back. */
  #allOrNothing(operation: string, who: string, work: () => Result): Result {
    const counted = { ...this.metrics };
    const effects: (() => void)[] = [];
    this.#effects = effects;
    try {
      return this.#transaction(operation, who, () => {
        const result = work();
        if ("error" in result) throw new Undone(result);
        this.#effects = null;
        for (const effect of effects) effect();
        return result;
      });
    } catch (error) {
      if (!(error instanceof Undone)) throw error;
      Object.assign(this.metrics, counted);
      this.queues.undone(this.store.nextRevision);
      return error.refusal;
    } finally {
      this.#effects = null;
    }
  }

  /** Inside a transaction that is several operations: carries one of them out. */
  step(operation: CoreOperationName, input: unknown): Result {
    if (this.steps === noSteps) this.steps = [];
    this.steps.push({ operation, from: this.store.changeCount });
    const result = this.#apply(operation, input);
    // What follows sees what it would see in an entry of its own.
    if ("ok" in result && this.store.changeCount > 0) {
      if (this.graphs.isDue) this.graphs.settle();
      if (this.bids.isDue) this.bids.settle();
    }
    return result;
  }

  /** Inside a transaction: changes what is no state, now or once nothing can be refused any more. */
  effect(work: () => void): void {
    if (this.#effects === null) work();
    else this.#effects.push(work);
  }

  /** Inside a transaction: the first of so many numbers, which tell the tasks of an entry from each other. */
  takeNumbers(count: number): number {
    const first = this.#numbers;
    this.#numbers += count;
    return first;
  }

  #transaction<T>(operation: string, who: string, work: () => T): T {
    this.operation = operation;
    this.who = who;
    this.steps = noSteps;
    this.#numbers = 0;
    return this.store.transaction(() => {
      const result = work();
      // What it ended may be what others waited for. A refusal changes nothing, theirs neither.
      if (this.graphs.isDue && this.store.changeCount > 0) this.graphs.settle();
      if (this.bids.isDue && this.store.changeCount > 0) this.bids.settle();
      return result;
    });
  }

  #apply(operation: CoreOperationName, input: unknown): Result {
    // Each handler takes the input of its own operation; the engine has validated it against that schema.
    switch (operation) {
      case "task.submit":
        return tasks.submit(this, input as Input<"task.submit">);
      case "graph.submit":
        return graphs.submit(this, input as Input<"graph.submit">);
      case "task.wait":
        return graphs.wait(this, input as Input<"task.wait">);
      case "task.close":
        return graphs.close(this, input as Input<"task.close">);
      case "task.dependencies":
        return graphs.dependencies(this, input as Input<"task.dependencies">);
      case "task.complete":
        return tasks.complete(this, input as Input<"task.complete">);
      case "task.fail":
        return tasks.fail(this, input as Input<"task.fail">);
      case "task.release":
        return tasks.release(this, input as Input<"task.release">);
      case "task.snooze":
        return tasks.snooze(this, input as Input<"task.snooze">);
      case "task.extend":
        return tasks.extend(this, input as Input<"task.extend">);
      case "task.progress":
        return tasks.progress(this, input as Input<"task.progress">);
      case "task.claim":
        return tasks.claim(this, input as Input<"task.claim">);
      case "task.assign":
        return tasks.assign(this, input as Input<"task.assign">);
      case "task.cancel":
        return tasks.cancel(this, input as Input<"task.cancel">);
      case "task.retry":
        return tasks.retry(this, input as Input<"task.retry">);
      case "task.delete":
        return bulk.remove(this, input as Input<"task.delete">);
      case "task.move":
        return bulk.move(this, input as Input<"task.move">);
      case "task.cancelMany":
        return bulk.cancelMany(this, input as Input<"task.cancelMany">);
      case "task.retryMany":
        return bulk.retryMany(this, input as Input<"task.retryMany">);
      case "task.deleteMany":
        return bulk.deleteMany(this, input as Input<"task.deleteMany">);
      case "task.moveMany":
        return bulk.moveMany(this, input as Input<"task.moveMany">);
      case "task.completeMany":
        return bulk.completeMany(this, input as Input<"task.completeMany">);
      case "task.get":
        return tasks.get(this, input as Input<"task.get">);
      case "task.explain":
        return why.explain(this, input as Input<"task.explain">);
      case "task.list":
        return tasks.list(this, input as Input<"task.list">);
      case "task.log":
        return logs.log(this, input as Input<"task.log">);
      case "task.logs":
        return logs.read(this, input as Input<"task.logs">);
      case "worker.register":
        return workers.register(this, input as Input<"worker.register">);
      case "worker.unregister":
        return workers.unregister(this, input as Input<"worker.unregister">);
      case "worker.heartbeat":
        return workers.heartbeat(this, input as Input<"worker.heartbeat">);
      case "worker.drain":
        return workers.drain(this, input as Input<"worker.drain">);
      case "worker.get":
        return workers.get(this, input as Input<"worker.get">);
      case "worker.list":
        return workers.list(this, input as Input<"worker.list">);
      case "queue.list":
        return queues.list(this, input as Input<"queue.list">);
      case "schedule.put":
        return schedules.put(this, input as Input<"schedule.put">);
      case "schedule.get":
        return schedules.get(this, input as Input<"schedule.get">);
      case "schedule.list":
        return schedules.list(this, input as Input<"schedule.list">);
      case "schedule.delete":
        return schedules.remove(this, input as Input<"schedule.delete">);
      case "schedule.pause":
        return schedules.pause(this, input as Input<"schedule.pause">);
      case "schedule.resume":
        return schedules.resume(this, input as Input<"schedule.resume">);
      case "schedule.run":
        return schedules.run(this, input as Input<"schedule.run">);
      case "schedule.preview":
        return schedules.preview(this, input as Input<"schedule.preview">);
      case "transaction.run":
        return runTransaction(this, input as Input<"transaction.run">);
      case "kv.get":
        return kv.get(this, input as Input<"kv.get">);
      case "kv.getMany":
        return kv.getMany(this, input as Input<"kv.getMany">);
      case "kv.list":
        return kv.list(this, input as Input<"kv.list">);
      case "kv.put":
        return kv.put(this, input as Input<"kv.put">);
      case "kv.delete":
        return kv.remove(this, input as Input<"kv.delete">);
      case "kv.increment":
        return kv.increment(this, input as Input<"kv.increment">);
      case "message.publish":
        return messages.publish(this, input as Input<"message.publish">);
      case "message.ack":
        return subscriptions.ack(this, input as Input<"message.ack">);
      case "message.ackMany":
        return subscriptions.ackMany(this, input as Input<"message.ackMany">);
      case "message.nack":
        return subscriptions.nack(this, input as Input<"message.nack">);
      case "message.extend":
        return subscriptions.extend(this, input as Input<"message.extend">);
      case "message.retry":
        return subscriptions.retry(this, input as Input<"message.retry">);
      case "message.receive":
        return subscriptions.receive(this, input as Input<"message.receive">);
      case "message.list":
        return subscriptions.listMessages(this, input as Input<"message.list">);
      case "topic.put":
        return topics.put(this, input as Input<"topic.put">);
      case "topic.list":
        return topics.list(this, input as Input<"topic.list">);
      case "topic.delete":
        return topics.remove(this, input as Input<"topic.delete">);
      case "subscription.put":
        return subscriptions.put(this, input as Input<"subscription.put">);
      case "subscription.get":
        return subscriptions.get(this, input as Input<"subscription.get">);
      case "subscription.list":
        return subscriptions.list(this, input as Input<"subscription.list">);
      case "subscription.delete":
        return subscriptions.removeNamed(this, input as Input<"subscription.delete">);
      case "message.emit":
        return messages.emit(this, input as Input<"message.emit">);
      case "message.request":
        return messages.request(this, input as Input<"message.request">);
      case "message.reply":
        return messages.reply(this, input as Input<"message.reply">);
      case "lock.acquire":
        return locks.acquire(this, input as Input<"lock.acquire">);
      case "lock.get":
        return locks.get(this, input as Input<"lock.get">);
      case "lock.extend":
        return locks.extend(this, input as Input<"lock.extend">);
      case "lock.release":
        return locks.remove(this, input as Input<"lock.release">);
      case "lock.steal":
        return locks.steal(this, input as Input<"lock.steal">);
      case "lock.list":
        return locks.list(this, input as Input<"lock.list">);
      case "queue.get":
        return settings.get(this, input as Input<"queue.get">);
      case "queue.groups":
        return settings.groups(this, input as Input<"queue.groups">);
      case "queue.configure":
        return settings.configure(this, input as Input<"queue.configure">);
      case "queue.pause":
        return settings.pause(this, input as Input<"queue.pause">);
      case "queue.resume":
        return settings.resume(this, input as Input<"queue.resume">);
      case "limit.put":
        return settings.putLimit(this, input as Input<"limit.put">);
      case "limit.get":
        return settings.getLimit(this, input as Input<"limit.get">);
      case "limit.list":
        return settings.listLimits(this, input as Input<"limit.list">);
      case "limit.delete":
        return settings.deleteLimit(this, input as Input<"limit.delete">);
      case "state.get":
        return state.get(this, input as Input<"state.get">);
      default:
        return unreachable(operation);
    }
  }

  // --- time -----------------------------------------------------------------------------------------------

  /** Does what is due at `now` and `clock`. */
  tick(): void {
    this.#due(this.#ready, this.now, "task.ready", (row) => {
      const record = this.tasks.get(row);
      if (record?.state !== "scheduled" || record.runAt > this.now) return;
      this.tasks.put(row, { ...record, state: "queued", runAt: 0, revision: this.store.nextRevision });
    });
    const { expiry, bids, sortedKeys } = this;
    this.#whileDue(expiry, this.now, "task.expire", () => expiry.endFirst(this));
    // The rest of many comes with the next tick, which is due at once.
    if (this.graphs.isDue) this.#transaction("graph.settle", "cortexd", () => this.graphs.settle());
    if (this.bids.isDue) this.#transaction("lock.grant", "cortexd", () => this.bids.settle());
    this.#whileDue(bids, this.clock, "lock.expire", () => bids.endFirst());
    this.#whileDue(sortedKeys, this.now, "kv.expire", () => sortedKeys.expireFirst());
    this.#tickMessages();
    this.#runSchedules();
    this.#due(this.#resume, this.now, "queue.resume", (key) => {
      const { pauses } = this.flow;
      const pause = pauses.get(key);
      // It may have been resumed, or paused for longer, since.
      if (pause !== undefined && pause.until > 0 && pause.until <= this.now) pauses.delete(key);
    });
    this.#due(this.#uniqueEnds, this.now, "unique.expire", (key) => {
      const row = this.uniques.get(key);
      if (row !== undefined && row.until <= this.now) this.uniques.delete(key);
    });
    this.#gates.tick();
    this.dispatch.tick();
    this.#due(this.#retire, this.now, "task.retire", (queue) => {
      const before = this.now - this.config.retentionMs;
      if (this.queues.retireOld(this, queue, before, changesPerTick)) this.#retire.push(this.now, queue);
    });
    this.#due(this.#forget, this.now, "worker.forget", (id) => {
      const slot = this.dispatch.slot(id);
      if (slot === undefined || slot.record.state !== "offline") return;
      if (slot.record.offlineAt + this.config.retentionMs > this.now) return;
      if (slot.running.size > 0) this.#forget.push(this.now + this.config.silenceMs, id);
      else this.workers.delete(id);
    });
    this.#due(this.#oldAnswers, this.clock, "answer.expire", (session) => {
      const oldest = this.answers.expire(session, this.clock - limits.answerAgeMsMax);
      if (oldest !== undefined) this.#oldAnswers.push(oldest + limits.answerAgeMsMax, session);
    });
    const { watches, looks } = this.dispatch;
    this.#due(watches, this.clock, "lease.expire", (slot, at) => {
      if (slot.watchedAt !== at || this.dispatch.slot(slot.id) !== slot) return;
      slot.watchedAt = Number.POSITIVE_INFINITY;
      workers.inspect(this, slot);
    });
    this.#due(looks, this.clock, "lease.revoke", (slot, at) => {
      if (slot.lookAt !== at || this.dispatch.slot(slot.id) !== slot) return;
      slot.lookAt = Number.POSITIVE_INFINITY;
      workers.lookAtHealth(this, slot);
    });
  }

  #tickMessages(): void {
    const { inboxes } = this;
    inboxes.retryDue();
    inboxes.releaseDue();
    while (inboxes.expiresAt <= this.now)
      this.#transaction("message.expire", "cortexd", () => {
        while (inboxes.expiresAt <= this.now && this.store.changeCount < changesPerTick)
          subscriptions.drop(this, inboxes.firstToExpire);
      });
    this.#due(inboxes.looks, this.clock, "message.redeliver", (name, at) => {
      const inbox = inboxes.get(name);
      if (inbox?.lookAt === at) subscriptions.lookAtFlights(this, inbox);
    });
    this.#due(inboxes.idle, this.clock, "subscription.expire", (name, at) => {
      const inbox = inboxes.get(name);
      if (inbox?.idleAt === at) subscriptions.endIdle(this, inbox);
    });
    this.#due(inboxes.publishedEnds, this.now, "message.forget", (id) => {
      const known = this.published.get(id);
      if (known !== undefined && known.until <= this.now) this.published.delete(id);
    });
    // The rest comes with the next tick, which is due at once.
    if (inboxes.loose.size > 0)
      this.#transaction("message.sweep", "cortexd", () => subscriptions.sweep(this, changesPerTick));
  }

  /** The rest of many that are due at once comes with the next tick, which is due at once too. */
  #runSchedules(): void {
    const { agenda } = this;
    for (let looks = 0; agenda.nextAt <= this.now && looks < looksPerTick; )
      this.#transaction("schedule.fire", "cortexd", () => {
        while (agenda.nextAt <= this.now && looks < looksPerTick && this.store.changeCount < changesPerTick) {
          looks++;
          agenda.lookAtFirst();
        }
      });
  }

  #due<T>(
    heap: DeadlineHeap<T>,
    upTo: number,
    operation: string,
    each: (value: T, at: number) => void,
  ): void {
    this.#whileDue(heap, upTo, operation, () => {
      const at = heap.nextAt;
      each(heap.pop() as T, at);
    });
  }

  /** Deals with the first of those that are due until none is, in entries that are none too large. */
  #whileDue(due: { readonly nextAt: number }, upTo: number, operation: string, first: () => void): void {
    while (due.nextAt <= upTo)
      this.#transaction(operation, "cortexd", () => {
        while (due.nextAt <= upTo && this.store.changeCount < changesPerTick) first();
      });
  }

  /** In how many ms `tick` has something to do; Infinity: nothing is planned. */
  nextDueMs(): number {
    if (this.graphs.isDue || this.bids.isDue || this.inboxes.loose.size > 0) return 0;
    const wall = Math.min(
      this.#ready.nextAt,
      this.#resume.nextAt,
      this.#uniqueEnds.nextAt,
      this.#retire.nextAt,
      this.#forget.nextAt,
      this.agenda.nextAt,
      this.expiry.nextAt,
      this.sortedKeys.nextAt,
      this.inboxes.expiresAt,
      this.inboxes.retryAt,
      this.inboxes.releaseAt,
      this.inboxes.publishedEnds.nextAt,
    );
    const { watches, looks, sticky } = this.dispatch;
    const clock = Math.min(
      this.#oldAnswers.nextAt,
      watches.nextAt,
      looks.nextAt,
      this.#gates.looks.nextAt,
      sticky.nextAt,
      this.bids.nextAt,
      this.inboxes.looks.nextAt,
      this.inboxes.idle.nextAt,
    );
    return Math.max(0, Math.min(wall - this.now, clock - this.clock));
  }

  /** Leases ready tasks to workers with room, as one transaction; answers how many. */
  dispatchReady(max: number): number {
    if (!this.dispatch.canMatch) return 0;
    return this.#transaction("task.dispatch", "cortexd", () =>
      this.dispatch.match(max, (spec, slot) => {
        tasks.lease(this, this.tasks.get(spec.row) as TaskRecord, slot.id);
      }),
    );
  }

  // --- what is not state ----------------------------------------------------------------------------------

  /** Workers could not be heard or could not register: they get time to come back. */
  grace(): void {
    this.graceUntil = this.clock + this.config.graceMs;
  }

  /** A worker was heard. */
  heard(slot: Slot | undefined): void {
    if (slot !== undefined) this.dispatch.beat(slot, this.clock, this.now);
  }

  /** Every push of the worker up to the token has arrived. */
  acknowledge(workerId: string, token: number): void {
    const slot = this.dispatch.slot(workerId);
    if (slot !== undefined) this.dispatch.acknowledge(slot, token);
  }

  noteProgress(record: TaskRecord, text: string): void {
    this.#progress.set(record.spec.id, { token: tasks.leaseOf(record).token, text });
    this.progressed.add(record.spec.id);
  }

  /** The newest progress of a task, as JSON text. */
  progressOf(record: TaskRecord): string | null {
    const { progress } = record.outcome;
    if (this.#progress.size === 0) return progress;
    const newest = this.#progress.get(record.spec.id);
    return newest !== undefined && newest.token === record.lease?.token ? newest.text : progress;
  }

  #taskChanged(before: TaskRecord | undefined, after: TaskRecord | undefined): void {
    this.dispatch.changeTask(before, after);
    this.agenda.taskChanged(before, after);
    this.expiry.taskChanged(before, after);
    if (after?.state === "scheduled") this.#ready.push(after.runAt, after.spec.row);
    else if (this.#progress.size > 0 && before?.state === "running" && after?.state !== "running") {
      const { id } = before.spec;
      const progress = this.#progress.get(id);
      if (progress === undefined) return;
      this.#progress.delete(id);
      this.store.onUndo(() => this.#progress.set(id, progress));
    }
  }

  #uniqueChanged(before: UniqueRecord | undefined, after: UniqueRecord | undefined): void {
    this.limits.grow((after === undefined ? 0 : uniqueBytes) - (before === undefined ? 0 : uniqueBytes));
    if (after !== undefined && after.until !== before?.until) this.#uniqueEnds.push(after.until, after.key);
  }

  #workerChanged(before: WorkerRecord | undefined, after: WorkerRecord | undefined): void {
    this.dispatch.changeWorker(before, after);
    if (after?.state === "offline") this.#forget.push(after.offlineAt + this.config.retentionMs, after.id);
  }
}
