/**
 * The loop: operations in, changes to the log, answers and news out. It owns the lifetime, the path of a request,
 * turns and time, and says when each of its parts acts; what gathers for the log, what waits to leave, seats and
 * waiting requests belong to files of their own. Nothing leaves before the log holds what caused it.
 *
 * A full disk alone is survived: what is not durable is undone, newest first, whoever waited is told, and reads
 * go on. Any other failure of the log ends the engine; memory may be ahead of the disk then.
 */
import type { AnswerRecord } from "../core/answers.ts";
import { type ArchivedTask, archivedLines, archivedText } from "../core/archive.ts";
import { Loader } from "../core/codec.ts";
import { Coordinator, type CoreOptions } from "../core/coordinator.ts";
import type { Emission } from "../core/messages.ts";
import { type Refusal, refuse } from "../core/result.ts";
import { healthCounts, messageCounts, workerCounts } from "../core/state.ts";
import { createStore, type Store, type Transaction } from "../core/store.ts";
import { Durations } from "../lib/durations.ts";
import { Histogram } from "../lib/histogram.ts";
import { withinDepth } from "../lib/json.ts";
import { type Log, type LogStatus, newerPart, type Recovered } from "../log/log.ts";
import type { Lines } from "../telemetry/lines.ts";
import { type Metrics, metricsJson, metricsText, type Readings, type Took } from "../telemetry/metrics.ts";
import { limits } from "../wire/limits.ts";
import { defaultNamespace, type Namespace } from "../wire/namespaces.ts";
import {
  type CoreOperationName,
  type Input,
  isStored,
  operations,
  type StateOperationName,
} from "../wire/operations.ts";
import { type HealthView, tableNames, type WatchStart } from "../wire/state.ts";
import { countedNames } from "../wire/stats.ts";
import { withoutTraces } from "../wire/trace.ts";
import { Batches } from "./batches.ts";
import { type Clock, LeaseClock } from "./clock.ts";
import type { EngineConfig } from "./config.ts";
import { type Attached, Deliveries } from "./deliveries.ts";
import type { SessionHolder } from "./frames.ts";
import { Later } from "./later.ts";
import type { Namespaces } from "./namespaces.ts";
import { News } from "./news.ts";
import { Outbox } from "./outbox.ts";
import { Readers } from "./readers.ts";
import { Behind, Recent } from "./recent.ts";
import { Seats } from "./seats.ts";
import { type Reading, StatsStream } from "./stats.ts";
import { StoredReads } from "./stored.ts";
import { type Listener, LiveTopics } from "./topics.ts";
import { type Answer, AnswerOnly, type Caller, type Sink } from "./types.ts";
import { validate } from "./validate.ts";
import { isParked, type Waiter, Waits } from "./waits.ts";
import { gapText, seesMessages, type Watch, Watches } from "./watch.ts";

export type EngineOptions = {
  log: Log;
  clock: Clock;
  config: EngineConfig;
  telemetry: { metrics: Metrics; lines: Lines };
  /** Draws from [0, 1), for jitter. */
  random: () => number;
  /** The state is one that was: time stands still in it, and nothing changes. */
  isReplay?: boolean;
  /** Called at most once, when the log is beyond use: the process must end. */
  onFailure: (error: Error) => void;
} & Pick<CoreOptions, "namespace" | "memory">;

/** Revisions one turn may use beyond what requests ask for: dispatch and what is due. */
const turnMargin = 20_000;
/** Leases one dispatch entry makes at most, so that one entry never holds the loop for long. */
const leasesPerEntry = 2000;
/** The longest the loop sleeps: the lease clock counts no step above a second. */
const sleepMsMax = 250;
const probeMs = 1000;
/** For how long the newest changes are kept once nobody watches any more; and after a start, for who comes back. */
const keptAfterWatchMs = 600_000;
const watchAgainMs = 30_000;
/** How often who watches is told how far that leads, where something changed: also who was told nothing of it. */
const placesMs = 5000;

export class Engine {
  readonly config: EngineConfig;
  /** What is counted as it happens. */
  readonly counters: Metrics;
  readonly lines: Lines;
  readonly store: Store = createStore();
  /** What this state is called. */
  readonly namespace: string;
  /** The namespaces it is one of; null: it stands alone. */
  namespaces: Namespaces | null = null;
  /** Which connection each session has, over whichever transport. */
  readonly sessions = new Map<string, SessionHolder>();
  core!: Coordinator;

  readonly #log: Log;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #onFailure: (error: Error) => void;
  readonly #place: Pick<CoreOptions, "namespace" | "memory">;
  readonly #isReplay: boolean;
  #leases!: LeaseClock;
  #startedAt = 0;
  #state: "starting" | "running" | "read-only" | "stopping" | "failed" | "dropping" | "dropped" = "starting";

  readonly #batches: Batches;
  readonly #seats = new Seats();
  readonly #answerTook = new Durations();
  /** The same by operation; those that were never asked are not in it. */
  readonly #operationTook = new Map<string, Histogram>();
  readonly #outbox: Outbox;
  readonly #watches = new Watches();
  readonly #recent: Recent;
  readonly #behind: Behind;
  /** Somebody watches, or did of late, or is about to: the newest changes are kept until then (monotonic ms). */
  #isWatched = true;
  #watchedUntil = 0;
  /** Nobody watched since the start. Who comes back needs all that changed since, and has a gap once something of it is gone. */
  #isForReturns = false;
  /** Up to where all who watch were told that it leads, and when they are told next. */
  #placed = 0;
  #placesDueAt = 0;
  /** The same of messages, which most who watch do not ask for. */
  #messageWatches = 0;
  #messagesWatchedUntil = 0;
  /** Sinks that only watch. */
  readonly #watchers = new Set<Sink>();
  readonly #topics = new LiveTopics();
  readonly #deliveries: Deliveries;
  readonly #waits: Waits;
  readonly #news: News;
  readonly #readers: Readers;
  readonly #later: Later;
  readonly #stored: StoredReads;
  /** Figures a second, for whoever asks. */
  readonly stats = new StatsStream(() => this.#reading());

  readonly #turnListeners: ((now: number) => void)[] = [];
  #turnOpen = false;
  readonly #close = () => {
    if (this.#batches.isGrowing()) this.#clock.soon(this.#close);
    else this.#closeTurn();
  };
  /** When it opened, on the monotonic clock. */
  #turnAt = 0;
  /** When the turn opened that last handed out messages, and whether a timer will do it. */
  #handedOutAt = Number.NEGATIVE_INFINITY;
  #handsOutLater = false;
  #cancelTimer: () => void = () => {};
  #wakeAt = 0;
  #probeAt = Number.POSITIVE_INFINITY;
  #stopping: Promise<void> | null = null;

  constructor(options: EngineOptions) {
    this.#log = options.log;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#onFailure = options.onFailure;
    this.#isReplay = options.isReplay === true;
    const { namespace, memory } = options;
    this.namespace = namespace ?? defaultNamespace;
    this.#place = { ...(namespace && { namespace }), ...(memory && { memory }) };
    this.config = options.config;
    this.counters = options.telemetry.metrics;
    this.lines = options.telemetry.lines;
    this.#outbox = new Outbox(this, this.#seats, options.clock, this.#answerTook);
    this.#batches = new Batches(
      this,
      options.log,
      {
        letOut: () => this.#letOut(),
        full: () => this.#undo(),
        failed: (error) => this.#fail(error),
      },
      options.clock,
    );
    this.#recent = new Recent(options.config.watchHistoryBytesMax);
    this.#behind = new Behind(
      this.#recent,
      (kind, watch, revision, text) => {
        const { sink, filter } = watch;
        this.#outbox.hold({ kind, revision, sink, watchId: filter.watchId, text });
      },
      (watch) => {
        this.#watches.add(watch);
        this.#tellPlace(watch, this.store.revision);
      },
    );
    this.#deliveries = new Deliveries(this, this.#outbox, this.#topics);
    this.#outbox.deliveries = this.#deliveries;
    this.#waits = new Waits(this, options.clock, (waiter) => this.#answerWaiter(waiter));
    this.#news = new News(this, this.#outbox, this.#seats, this.#waits, this.#watches, {
      topics: this.#topics,
      deliveries: this.#deliveries,
    });
    this.#readers = new Readers(this, options.clock, () => this.#whenDurable());
    this.#later = new Later(this);
    this.#stored = new StoredReads(this, options.log, () => this.#whenDurable());
  }

  // --- a lifetime -----------------------------------------------------------------------------------------

  /** Reads the log, builds the state and begins to serve. Rejects with a LogError if the log cannot be read. */
  async start(onProgress: (done: number, total: number) => void = () => {}): Promise<Recovered> {
    const loader = new Loader(this.store);
    const recovered = await this.#log.open({
      lines: (text) => {
        try {
          loader.entry(text);
        } catch (error) {
          throw newerPart(error);
        }
      },
      progress: onProgress,
    });
    loader.end();
    for (const note of recovered.notes) this.lines.warn("log.mended", { note });
    // Every start goes on above every revision that ever left the process, whatever a crash took back.
    this.store.advanceTo(recovered.ceiling);
    this.#recent.begin(recovered.revision, recovered.ceiling);
    await this.#batches.start(recovered);

    this.#leases = new LeaseClock(this.#clock, recovered.clock, (pausedMs) =>
      this.lines.warn("loop.paused", { pausedMs }),
    );
    const clock = this.#leases.read();
    this.core = new Coordinator(this.store, {
      ...this.#place,
      config: this.config,
      metrics: this.counters,
      random: this.#random,
      now: this.#isReplay ? recovered.at : Math.max(this.#clock.wall(), recovered.at),
      clock,
      graceUntil: recovered.revision === 0 || this.#isReplay ? 0 : clock + this.config.graceMs,
    });
    this.store.onCommit((transaction) => this.#committed(transaction));
    this.#log.onFailure((error) => this.#fail(error));
    this.#startedAt = this.#clock.monotonic();
    this.#expectWatches(watchAgainMs);
    this.#isForReturns = true;
    this.#messagesWatchedUntil = this.#watchedUntil;
    this.#state = this.#isReplay ? "read-only" : "running";
    this.#turn();
    return recovered;
  }

  /** Refuses new work, answers who waits, writes what is left and closes the log. Twice is fine. */
  stop(step: (name: string) => void = () => {}): Promise<void> {
    this.#stopping ??= this.#state === "failed" ? Promise.resolve() : this.#stop(step);
    return this.#stopping;
  }

  async #stop(step: (name: string) => void): Promise<void> {
    const readOnly = this.#state === "read-only";
    this.#turn();
    this.#state = "stopping";
    this.#cancelTimer();
    this.#waits.endAll();
    this.#later.endAll(stopping);
    this.#pump();
    step("answered who waited");
    if (!readOnly) await this.#batches.whenDrained();
    if (this.#isFailed) return;
    // Nothing comes behind this: from here they go on without a gap where the next start does.
    this.#tellPlaces();
    this.#letOut();
    this.#endWatchers();
    step("wrote what was left");
    await this.#log.stop();
    step("closed the log");
  }

  /**
   * The state is to be gone. From here on nothing new is heard, and nothing is told that was not durable; false: the
   * log failed meanwhile. What follows on disk is the caller's, and then `dropped`.
   */
  async endForDrop(): Promise<boolean> {
    const readOnly = this.#state === "read-only";
    this.#turn();
    this.#state = "dropping";
    this.#cancelTimer();
    this.#pump();
    if (!readOnly) await this.#batches.whenDrained();
    if (this.#isFailed) return false;
    await this.#log.stop();
    return !this.#isFailed;
  }

  /** It is gone: whoever waits is told, and every connection ends. */
  dropped(): void {
    this.#state = "dropped";
    this.#waits.endAll();
    this.#later.endAll(namespaceDropped);
    this.#outbox.undo(nowhere, namespaceDropped);
    for (const holder of [...this.sessions.values()]) holder.dropped();
    this.#endWatchers();
    this.#readers.endIdle(Number.POSITIVE_INFINITY);
    this.core.limits.forget();
  }

  get #isFailed(): boolean {
    return this.#state === "failed";
  }

  #fail(error: Error): void {
    if (this.#isFailed) return;
    this.#state = "failed";
    this.#cancelTimer();
    this.#outbox.drop();
    this.#later.drop();
    this.lines.error("log.failed", { error: error.message });
    this.#batches.fail();
    this.#onFailure(error);
  }

  // --- operations in --------------------------------------------------------------------------------------

  /** As `request`, for those who have no sink of their own. */
  call(operation: StateOperationName, input: unknown, caller: Caller): Promise<Answer> {
    return new Promise((resolve) => {
      this.request(operation, input, caller, new AnswerOnly(resolve));
    });
  }

  /**
   * Carries out one operation; the answer goes to the sink once everything it tells of is durable. Returns what
   * will be answered if all goes well, and null for a request that waits, or is answered later: nothing of it may be
   * told earlier.
   */
  request(operation: StateOperationName, input: unknown, caller: Caller, sink: Sink): Answer | null {
    this.counters.operations++;
    if (this.isGoing) return this.#hold(sink, caller.seq, namespaceDropped, whenGone);
    this.#openTurn();
    if (isStored(operation)) {
      const refused = this.#refusal(operation, input, false);
      if (refused !== null) return this.#hold(sink, caller.seq, refused);
      this.answerLater(sink, caller.seq, () => this.#stored.carryOut(operation, input), operation);
      return null;
    }
    // What was done is never told refused, whatever hinders new work now.
    const kept = this.#kept(operation, caller);
    const refusal = this.#refusal(operation, input, kept !== undefined);
    if (refusal === null && isParked(operation)) {
      // Whoever went away is owed nothing, and above all no lease and no message.
      if (caller.signal?.aborted && operation === "task.claim") return this.#hold(sink, caller.seq, nothing);
      if (caller.signal?.aborted && operation === "message.receive")
        return this.#hold(sink, caller.seq, noMessages);
      if (this.#waits.park(operation, input, caller, sink)) return null;
    }
    const answer = refusal ?? this.#run(operation, input, caller);
    if (isUnlogged(operation)) return this.#answerUnlogged(operation, input, caller, sink, answer);
    if (this.#mayBeArchived(operation, answer)) {
      this.#getArchived(operation, input, caller, sink, answer);
      return null;
    }
    return this.#hold(sink, caller.seq, answer, "ok" in answer ? kept?.revision : undefined, operation);
  }

  /** What a read tells at this moment. It must leave with the answer of a change that was asked for in this turn, no sooner. */
  look(operation: "task.get", input: Input<"task.get">): Answer {
    return this.#run(operation, input, looking);
  }

  /** What is about no state waits for nothing: neither the message nor the answer. */
  #answerUnlogged(
    operation: Unlogged,
    input: unknown,
    caller: Caller,
    sink: Sink,
    carriedOut: Answer,
  ): Answer | null {
    let answer = carriedOut;
    if ("error" in answer) this.counters.operationsRefused++;
    else if (operation === "message.reply") this.#waits.replied((input as Input<"message.reply">).requestId);
    else {
      const [emission] = this.core.bus.emitted.splice(0) as [Emission];
      const deliveries = this.#topics.offer(emission);
      this.counters.messagesEmitted++;
      if (operation === "message.emit") answer = { ok: `{"deliveries":${deliveries}}` };
      else if (deliveries > 0) {
        this.#waits.parkRequest(answer.ok, input as Input<"message.request">, caller, sink);
        return null;
      } else {
        this.core.bus.take(answer.ok);
        this.counters.operationsRefused++;
        answer = nobodyListens;
      }
    }
    // Whoever took the frame in flushes when all of it was carried out.
    sink.answer(caller.seq, answer);
    return answer;
  }

  /** Messages are handed out each turn, or once an interval. */
  #handOut(): void {
    if (this.#handsOutLater || !(this.#topics.isWaiting || this.#deliveries.isDue)) return;
    const waitMs = this.#handedOutAt + this.config.messageIntervalMs - this.#turnAt;
    if (waitMs <= 0) {
      this.#handedOutAt = this.#turnAt;
      this.#topics.handOut();
      // The rest of many comes in the next turn, after the sockets were heard.
      if (!this.#deliveries.handOut()) return;
    }
    this.#handsOutLater = true;
    this.#clock.after(Math.max(0, waitMs), () => {
      this.#handsOutLater = false;
      this.#openTurn();
    });
  }

  /** The messages of a subscription go to the sink from now on; or why they do not. */
  attachTo(sink: Sink, session: string, input: Input<"subscription.attach">): Attached | Refusal {
    if (this.#isReplay) return replayed;
    const attached = this.#deliveries.attach(sink, session, input);
    if (attached === null) return refuse("unknown-subscription", `there is no subscription ${input.name}`);
    this.#openTurn();
    return attached;
  }

  /** From now on what is published to topics that fit goes to the listener; what it gives back ends it. */
  listen(topic: string, group: string | null, listener: Listener): () => void {
    return this.#topics.subscribe(topic, group, listener);
  }

  /** The answer kept for a repeated mutation: it tells of its own entry and of nothing newer. */
  #kept(operation: CoreOperationName, { session, seq }: Caller): AnswerRecord | undefined {
    if (session === null || this.core === undefined || operations[operation].kind !== "mutation") return;
    const known = this.core.answers.find(session, seq);
    return known === "acknowledged" ? undefined : known;
  }

  #run(operation: CoreOperationName, input: unknown, caller: Caller): Answer {
    const { session } = caller;
    return this.core.run(operation, input as never, {
      who: caller.who,
      session,
      seq: caller.seq,
      ackedThrough: caller.ackedThrough,
      // Within a session a seq is never reused for another input; a key from outside may be.
      fingerprint: session?.startsWith("idempotency:") ? fingerprint(operation, input) : 0,
      fence: caller.fence,
    });
  }

  /** Answers once `work` has come to an answer, whose word is durable; in no order with other answers. */
  answerLater(
    sink: Sink,
    seq: number | null,
    work: () => Promise<Answer>,
    operation?: StateOperationName,
  ): void {
    const before = this.#clock.monotonic();
    const left = () => {
      if (operation !== undefined) this.#tookOf(operation).add(this.#clock.monotonic() - before);
    };
    this.#later.answer(sink, seq, work, left);
  }

  #refusal(operation: StateOperationName, input: unknown, repeated: boolean): Answer | null {
    if (this.#state !== "running") {
      if (this.#state !== "read-only") return stopping;
      if (operations[operation].kind === "mutation" && !repeated) return this.#isReplay ? replayed : diskFull;
    }
    // Nobody is to work once more on what was.
    if (this.#isReplay && operation === "message.receive") return replayed;
    const invalid = validate(operation, input);
    if (invalid !== null) return { error: invalid };
    if (operations[operation].kind !== "mutation" || repeated) return null;
    const { undurableBytes, revisionsLeft } = this.#batches;
    if (undurableBytes >= this.config.undurableBytesMax)
      return refuse("busy", `${undurableBytes} bytes wait for the disk`, { retryAfterMs: 100 });
    if (revisionsLeft <= turnMargin)
      return refuse("busy", "the log is reserving revisions", { retryAfterMs: 100 });
    return null;
  }

  /** It is being dropped, or was. */
  get isGoing(): boolean {
    return this.#state === "dropping" || this.#state === "dropped";
  }

  #hold(
    sink: Sink,
    seq: number | null,
    answer: Answer,
    revision = this.store.revision,
    operation?: StateOperationName,
  ): Answer {
    if ("error" in answer) this.counters.operationsRefused++;
    if (this.#state === "dropped") {
      sink.answer(seq, namespaceDropped);
      sink.flush();
      return namespaceDropped;
    }
    this.#openTurn();
    const took = operation === undefined ? null : this.#tookOf(operation);
    this.#outbox.hold({ kind: "answer", revision, sink, seq, answer, askedAt: this.#turnAt, took });
    return answer;
  }

  /** A request that waited is carried out now, as its own operation. */
  #answerWaiter({ operation, input, caller, sink, key }: Waiter): void {
    this.#openTurn();
    if (operation === "message.request") {
      const reply = this.core.bus.take(key) ?? (this.isGoing ? namespaceDropped : noReply);
      if ("error" in reply) this.counters.operationsRefused++;
      sink.answer(caller.seq, reply);
      sink.flush();
      return;
    }
    const kept = this.#kept(operation, caller);
    const answer = this.isGoing
      ? namespaceDropped
      : operations[operation].kind === "read" || this.#state === "running"
        ? this.#run(operation, input, caller)
        : operation === "message.receive"
          ? noMessages
          : this.#state === "read-only"
            ? diskFull
            : nothing;
    // It may have ended and left in one entry.
    if (this.#mayBeArchived(operation, answer)) this.#getArchived(operation, input, caller, sink, answer);
    else this.#hold(sink, caller.seq, answer, kept?.revision, operation);
  }

  #mayBeArchived(operation: CoreOperationName, answer: Answer): boolean {
    if (!readsArchive.has(operation) || !this.config.archives) return false;
    return "error" in answer && answer.error.code === "unknown-task";
  }

  #getArchived(
    operation: CoreOperationName,
    input: unknown,
    caller: Caller,
    sink: Sink,
    unknown: Answer,
  ): void {
    const { taskId } = input as Input<"task.get" | "task.logs" | "task.retry">;
    const shown = (archived: ArchivedTask) =>
      operation === "task.logs"
        ? archivedLines(archived, input as Input<"task.logs">)
        : archivedText(this.core, archived);
    const work = () =>
      operation === "task.retry"
        ? this.#retryArchived(taskId, input, caller)
        : this.#stored.task(taskId, shown, unknown, () => this.#run(operation, input, caller));
    this.answerLater(sink, caller.seq, work, operation);
  }

  /** Read first, then carried out as any mutation is, by whatever has become of the state meanwhile. */
  async #retryArchived(taskId: string, input: unknown, caller: Caller): Promise<Answer> {
    while (!(await this.#whenDurable()));
    const archived = await this.#stored.archived(taskId);
    this.#openTurn();
    const kept = this.#kept("task.retry", caller);
    const refused = this.#refusal("task.retry", input, kept !== undefined);
    if (refused !== null) return refused;
    this.core.fetched = archived;
    const answer = this.#run("task.retry", input, caller);
    this.core.fetched = null;
    return (await this.#whenDurable()) || kept !== undefined ? answer : diskFull;
  }

  // --- turns ----------------------------------------------------------------------------------------------

  /** Reads the clocks once for everything that happens before the loop comes round. */
  #openTurn(): void {
    if (this.#turnOpen) return;
    this.#turnOpen = true;
    this.#turnAt = this.#clock.monotonic();
    this.#readClocks();
    this.#clock.soon(this.#close);
  }

  /** In a state that was, time stands still. */
  #readClocks(): void {
    if (!this.#isReplay) this.core?.setTime(this.#clock.wall(), this.#leases.read());
  }

  #closeTurn(): void {
    this.#turnOpen = false;
    if (this.#state === "failed" || this.#state === "starting" || this.#state === "dropped") return;
    if (this.#state === "running" && this.#hasRevisions) {
      this.#waits.serve();
      // The rest of a long match comes in the next turn, after the sockets were heard.
      if (this.core.dispatchReady(leasesPerEntry) === leasesPerEntry)
        this.#clock.after(0, () => this.#openTurn());
      this.#news.tellProgress();
      this.#news.tellHealth();
    }
    if (this.#behind.serve()) this.#clock.after(0, () => this.#openTurn());
    this.#handOut();
    this.#pump();
    if (this.#state === "stopping" || this.isGoing) return;
    // Something may have become due sooner than the timer was set for.
    const dueAt = this.#dueAt();
    if (dueAt < this.#wakeAt) this.#arm(dueAt);
  }

  /** What happens by itself must not pass the ceiling either, however long a reservation takes. */
  get #hasRevisions(): boolean {
    return this.#batches.revisionsLeft > turnMargin / 2;
  }

  /** When the timer must fire next, on the monotonic clock. */
  #dueAt(): number {
    const now = this.#clock.monotonic();
    const due = this.#state === "running" ? this.core.nextDueMs() : sleepMsMax;
    const soonest = Math.min(Math.ceil(due), this.#waits.endsAt - now, this.stats.dueAt - now, sleepMsMax);
    return now + Math.max(1, soonest);
  }

  #arm(at: number): void {
    this.#cancelTimer();
    this.#wakeAt = at;
    this.#cancelTimer = this.#clock.after(at - this.#clock.monotonic(), () => this.#turn());
  }

  /** The timer: what is due, and the next look. */
  #turn(): void {
    this.#cancelTimer();
    if (this.#state === "failed" || this.#state === "stopping" || this.isGoing) return;
    this.#openTurn();
    const now = this.#clock.monotonic();
    if (this.#state === "running") {
      this.#waits.beat();
      if (this.#hasRevisions) this.core.tick();
    } else if (now >= this.#probeAt) this.#probe();
    const isOver = now > this.#watchedUntil || (this.#isForReturns && !this.#recent.isWhole);
    if (this.#isWatched && this.#watches.size + this.#behind.size === 0 && isOver) {
      this.#isWatched = false;
      // The next change would let go of them, and a state at rest has none.
      this.#recent.forget(this.store.revision);
    }
    if (this.#messageWatches === 0 && now > this.#messagesWatchedUntil) this.#recent.leaveMessages();
    if (now >= this.#placesDueAt) {
      this.#tellPlaces();
      this.#placesDueAt = now + placesMs;
    }
    for (const listener of this.#turnListeners) listener(now);
    this.stats.turn(now);
    this.#readers.endIdle(now);
    this.#waits.endDue(now);
    this.#arm(this.#dueAt());
  }

  // --- out to the log -------------------------------------------------------------------------------------

  #committed(transaction: Transaction): void {
    const { revision, changes } = transaction;
    const { now: at, operation, who, steps } = this.core;
    this.#batches.add(transaction);
    if (this.#isWatched) this.#recent.add({ revision, at, operation, who }, changes, steps);
    else this.#recent.forget(revision);
    this.#news.tell(transaction);
    this.#openTurn();
  }

  /** Sends what has gathered, and lets out what may leave. */
  #pump(): void {
    this.#batches.pump();
    if (this.#state === "running") this.#batches.reserveEarly();
  }

  #letOut(): void {
    // What leaves now is timed from now, and not from before the disk, or the process, stood still.
    if (!this.#turnOpen) this.#readClocks();
    this.#seats.settle(this.#batches.durable);
    if (this.#outbox.letOut(this.#batches.durable)) this.#openTurn();
  }

  /** The disk is full: back to what is durable, newest first. Whoever waits is told; nobody saw what is undone. */
  #undo(): void {
    this.counters.diskFull++;
    const { durable } = this.#batches;
    this.lines.error("log.full", { undone: this.#batches.undo() });
    for (const { workerId, seat } of this.#seats.undone()) {
      const sink = this.#seats.sinkOf(workerId);
      if (sink !== undefined) this.detach(workerId, sink);
      if (seat !== null) this.attach(workerId, seat.sink, seat.credit);
    }
    if (this.#state === "running") this.#state = "read-only";
    this.#probeAt = this.#clock.monotonic() + probeMs;
    this.#waits.undo();
    this.#recent.undo(durable);
    if (this.#outbox.undo(durable, diskFull) || this.#deliveries.isDue) this.#openTurn();
  }

  #probe(): void {
    this.#probeAt = Number.POSITIVE_INFINITY;
    this.#log.probe().then(
      (good) => {
        if (this.#state !== "read-only") return;
        if (good) {
          this.#state = "running";
          this.#openTurn();
          this.core.grace();
          this.lines.info("log.writable");
          this.#turn();
        } else this.#probeAt = this.#clock.monotonic() + probeMs;
      },
      (error) => {
        // A log that was closed meanwhile did not fail.
        if (this.#state === "read-only") this.#fail(error as Error);
      },
    );
  }

  // --- connections ----------------------------------------------------------------------------------------

  /** Calls back at least four times a second, for what connections have to look at (monotonic ms). */
  onTurn(listener: (now: number) => void): void {
    this.#turnListeners.push(listener);
  }

  /** From now on the worker's tasks are pushed to this sink, `credit` of them at once. */
  attach(workerId: string, sink: Sink, credit: number): void {
    if (!this.core.workers.has(workerId)) return;
    const before = this.#seats.sinkOf(workerId);
    if (before !== undefined && before !== sink) this.detach(workerId, before);
    this.#seats.take(workerId, { sink, credit });
    this.core.dispatch.attach(workerId, credit);
    this.#openTurn();
  }

  /** The worker's tasks are pushed to this sink no more; a later sink is left alone. */
  detach(workerId: string, sink: Sink): void {
    if (!this.isAttached(workerId, sink)) return;
    this.#seats.free(workerId, sink);
    this.core.dispatch.detach(workerId);
  }

  isAttached(workerId: string, sink: Sink): boolean {
    return this.#seats.sinkOf(workerId) === sink;
  }

  /** The sink is gone, and with it the place of its workers. */
  leave(sink: Sink): void {
    for (const workerId of [...this.#seats.workersAt(sink)]) this.detach(workerId, sink);
    this.#seats.forget(sink);
    this.stats.stop(sink);
  }

  /** The sink's socket has taken something of what waited. */
  drained(sink: Sink): void {
    const congested = sink.backlog() > limits.pushBufferBytesMax;
    for (const workerId of this.#seats.workersAt(sink)) this.core.dispatch.drained(workerId, congested);
    this.#deliveries.drained(sink, congested);
    this.#openTurn();
  }

  /** Any frame of a connection is a beat of its workers. */
  heard(sink: Sink): void {
    const workers = this.#seats.workersAt(sink);
    if (workers.size === 0) return;
    this.#openTurn();
    for (const workerId of workers) this.core.heard(this.core.dispatch.slot(workerId));
  }

  /** The handlers of the connection's workers last turned so long ago. */
  turned(sink: Sink, loopAgeMs: number): void {
    const { dispatch } = this.core;
    for (const workerId of this.#seats.workersAt(sink)) {
      const slot = dispatch.slot(workerId);
      if (slot !== undefined) dispatch.turned(slot, loopAgeMs);
    }
  }

  /** Answers a request that is no operation of the state, in its place among the others. */
  answer(sink: Sink, seq: number | null, answer: Answer): void {
    this.#hold(sink, seq, answer);
  }

  /** From now on, or from behind `after` on; what it missed since follows once the turn closes. */
  watch(sink: Sink, filter: WatchStart): Watch {
    const watch = { sink, filter };
    const { revision } = this.store;
    if (seesMessages(filter)) {
      this.#messageWatches++;
      this.#expectMessageWatches();
    }
    if (filter.after === undefined || filter.after >= revision) {
      this.#watches.add(watch);
      // Revisions never go back: it was seen in another state, of which nothing holds here.
      if ((filter.after ?? 0) > revision) {
        const text = gapText(filter.watchId, Math.min(1, revision), revision);
        this.#outbox.hold({ kind: "gap", revision, sink, watchId: filter.watchId, text });
        this.#openTurn();
      }
    } else {
      this.#behind.add(watch, filter.after);
      this.#openTurn();
    }
    this.#isWatched = true;
    if (sink.over !== undefined) this.#watchers.add(sink);
    this.counters.watchesOpen++;
    return watch;
  }

  unwatch(watch: Watch): void {
    if (seesMessages(watch.filter)) {
      this.#messageWatches--;
      this.#expectMessageWatches();
    }
    if (!this.#behind.delete(watch)) this.#watches.remove(watch);
    this.#expectWatches(keptAfterWatchMs);
    this.#watchers.delete(watch.sink);
    this.counters.watchesOpen--;
  }

  /** The newest changes are kept for at least so long. */
  #expectWatches(ms: number): void {
    this.#isWatched = true;
    this.#isForReturns = false;
    this.#watchedUntil = Math.max(this.#watchedUntil, this.#clock.monotonic() + ms);
  }

  /** Messages, too, from now on. */
  #expectMessageWatches(): void {
    this.#recent.keepMessages(this.store.revision);
    this.#messagesWatchedUntil = this.#clock.monotonic() + keptAfterWatchMs;
  }

  /** Who watches what seldom changes must not stand where it last did: that is soon behind all that is kept. */
  #tellPlaces(): void {
    const { revision } = this.store;
    if (revision === this.#placed) return;
    this.#placed = revision;
    for (const watch of this.#watches) this.#tellPlace(watch, revision);
  }

  #tellPlace({ sink, filter }: Watch, revision: number): void {
    this.#outbox.hold({ kind: "place", revision, sink, watchId: filter.watchId });
  }

  #endWatchers(): void {
    for (const sink of [...this.#watchers]) sink.over?.();
  }

  // --- for those who look ---------------------------------------------------------------------------------

  get revision(): number {
    return this.store.revision;
  }

  get durableRevision(): number {
    return this.#batches.durable;
  }

  get logStatus(): LogStatus {
    return this.#log.status();
  }

  /** Why nothing can be changed, if nothing can. */
  get #standing(): Namespace["status"] {
    return this.#state !== "read-only" ? "ok" : this.#isReplay ? "replay" : "read-only";
  }

  health(): HealthView {
    return {
      status: this.#state === "running" || this.#state === "read-only" ? this.#standing : "stopping",
      version: this.config.version,
      preset: this.config.preset,
      uptimeMs: Math.round(this.#clock.monotonic() - this.#startedAt),
      revision: this.store.revision,
      durableRevision: this.#batches.durable,
      namespaceCount: 1,
    };
  }

  /** How it stands, once that is durable. */
  async view(): Promise<Namespace> {
    for (;;) {
      const durable = this.#whenDurable();
      const { revision } = this.store;
      const tasks = { ...this.core.queues.counts };
      const workers = workerCounts(this.core);
      if (!(await durable)) continue;
      return {
        name: this.namespace,
        status: this.#standing,
        ...{ revision, durableRevision: this.#batches.durable, tasks, workers },
        logBytes: this.#log.status().logBytes,
      };
    }
  }

  ready(): { ready: boolean; reason: string } {
    if (this.#state === "running") return { ready: true, reason: "" };
    const reasons = {
      starting: "the log is being read",
      "read-only": this.#isReplay ? "it is a state that was, and takes no changes" : "the disk is full",
      stopping: "the daemon is stopping",
      failed: "the log is beyond use",
      dropping: "the namespace is being dropped",
      dropped: "the namespace was dropped",
    };
    return { ready: false, reason: reasons[this.#state] };
  }

  readings(): Readings {
    const workers = workerCounts(this.core);
    const health = healthCounts(this.core);
    const messages = messageCounts(this.core);
    const { counts } = this.core.queues;
    const log = this.#log.status();
    return {
      uptimeMs: this.health().uptimeMs,
      memoryBytes: process.memoryUsage.rss(),
      tasksScheduled: counts.scheduled,
      tasksBlocked: counts.blocked,
      tasksQueued: counts.queued,
      tasksRunning: counts.running,
      schedules: this.core.schedules.size,
      keys: this.core.keys.size,
      locksHeld: this.core.bids.heldCount,
      locksWaiting: this.core.bids.waitingCount,
      messages: messages.kept,
      messagesWaiting: messages.waiting,
      messagesInFlight: messages.inFlight,
      deadMessages: messages.dead,
      subscriptions: this.core.subscriptions.size,
      workersIdle: workers.idle,
      workersBusy: workers.busy,
      workersDraining: workers.draining,
      workersOffline: workers.offline,
      workersFailing: health.failing,
      workersQuarantined: health.quarantined,
      workersOnProbation: health.probation,
      workersDeaf: health.deaf,
      workersStalled: health.stalled,
      revision: this.store.revision,
      durableRevision: this.#batches.durable,
      undurableBytes: this.#batches.undurableBytes,
      archivedTasks: log.archivedCount,
      logBytes: log.logBytes,
      syncs: log.syncCount,
      namespaces: 1,
    };
  }

  #reading(): Reading {
    const { status, uptimeMs, revision, durableRevision } = this.health();
    const { logBytes } = this.#log.status();
    const { counted } = this;
    return {
      at: this.#clock.wall(),
      ...{ status, uptimeMs, memoryBytes: process.memoryUsage.rss(), logBytes, revision, durableRevision },
      tasks: { ...this.core.queues.counts },
      workers: workerCounts(this.core),
      health: healthCounts(this.core),
      schedules: this.core.schedules.size,
      keys: this.core.keys.size,
      locks: { held: this.core.bids.heldCount, waiting: this.core.bids.waitingCount },
      messages: messageCounts(this.core),
      sessions: this.sessions.size,
      counted: Object.fromEntries(countedNames.map((name) => [name, counted[name]])) as Reading["counted"],
      answerMs: this.#answerTook.take(),
      waitMs: this.core.took.wait.take(),
      runMs: this.core.took.run.take(),
    };
  }

  /** What was counted; of entries those that are durable, so that no full disk takes back what was told. */
  get counted(): Metrics {
    return { ...this.counters, ...this.#batches.counted.counts };
  }

  metrics() {
    return metricsJson(this.counted, this.readings());
  }

  prometheus(): string {
    return metricsText(this.counted, this.readings(), this.took());
  }

  /** How long things took since the start. */
  took(): Took {
    const { wait, run } = this.#batches.counted;
    return {
      operation: this.#operationTook,
      taskWait: new Map([["", wait]]),
      taskRun: new Map([["", run]]),
      logCommit: new Map([["", this.#batches.took]]),
    };
  }

  #tookOf(operation: StateOperationName): Histogram {
    let took = this.#operationTook.get(operation);
    if (took === undefined) {
      took = new Histogram();
      this.#operationTook.set(operation, took);
    }
    return took;
  }

  tables(): readonly string[] {
    return tableNames;
  }

  tablePage(table: string, cursor: string | null, limit: number) {
    this.#expectWatches(keptAfterWatchMs);
    if (table === "messages") this.#expectMessageWatches();
    return this.#readers.page(table, cursor, limit);
  }

  stateStream(table?: string): AsyncIterable<string> {
    this.#expectWatches(keptAfterWatchMs);
    if (table === undefined || table === "messages") this.#expectMessageWatches();
    return this.#readers.stream(table === undefined ? tableNames : [table]);
  }

  /** Whether the state as it is now, to be read at once, becomes durable; false: a full disk undid it. */
  #whenDurable(): Promise<boolean> {
    this.#openTurn();
    if (this.store.revision <= this.#batches.durable) return Promise.resolve(true);
    return new Promise((resolve) => {
      this.#hold(new AnswerOnly((answer) => resolve("ok" in answer)), null, { ok: "null" });
    });
  }
}

const looking: Caller = { who: "http", session: null, seq: 0, ackedThrough: 0 };
const stopping = refuse("shutting-down", "the daemon is starting or stopping", { retryAfterMs: 1000 });
/** Of a task that memory does not know they ask the archive. */
const readsArchive: ReadonlySet<CoreOperationName> = new Set([
  "task.get",
  "task.logs",
  "task.retry",
] as const);
type Unlogged = "message.emit" | "message.request" | "message.reply";

const isUnlogged = (operation: CoreOperationName): operation is Unlogged =>
  operation === "message.emit" || operation === "message.request" || operation === "message.reply";
const nobodyListens = refuse("no-subscribers", "nobody listens, and nothing was sent");
const noReply = refuse("no-reply", "the time is up, or the daemon stops");

const replayed = refuse("read-only", "this is the state as it was, out of the log; nothing was changed");
const diskFull = refuse("disk-full", "the data folder's disk is full; nothing was changed", {
  retryAfterMs: probeMs,
});
const namespaceDropped = refuse("namespace-dropped", "the namespace was dropped; what was in it is gone");
/** What waits for this leaves once the namespace is gone, and nothing that waits is as old as `nowhere`. */
const whenGone = Number.MAX_SAFE_INTEGER;
const nowhere = -1;
/** What a claim gets when nobody may take anything any more. */
const nothing: Answer = { ok: '{"assignments":[]}' };
const noMessages: Answer = { ok: '{"messages":[]}' };

/** Writing a value of great depth holds the loop for seconds, then throws; the core refuses it anyway. */
const fingerprint = (operation: CoreOperationName, input: unknown) => {
  if (!withinDepth(input, 2 * limits.depthMax)) return 0;
  const isSubmit = operation === "task.submit" || operation === "graph.submit";
  return Bun.hash.crc32(JSON.stringify(isSubmit ? withoutTraces(input) : input) ?? "");
};
