/**
 * The loop: operations in, changes to the log, answers and news out. It owns the state, the order in which
 * things leave, and time. Nothing leaves before the log holds what caused it: answers, pushes and change events
 * wait in one outbox, in the order they came about, each with the revision it must wait for. While one batch is
 * on its way to the disk, everything that happens gathers in the next (group commit).
 *
 * A full disk alone is survived: what is not durable is undone, newest first, whoever waited is told, and reads
 * go on. Any other failure of the log ends the engine; memory may be ahead of the disk then.
 */

import type { AnswerRecord } from "../core/answers.ts";
import { encodeEntry, Loader } from "../core/codec.ts";
import { Coordinator } from "../core/coordinator.ts";
import { Slot } from "../core/dispatch.ts";
import { refuse } from "../core/result.ts";
import { workerCounts } from "../core/state.ts";
import { createStore, type Store, type Transaction, type View } from "../core/store.ts";
import { assignmentText, type TaskRecord, taskText } from "../core/tasks.ts";
import { type WorkerRecord, workerText } from "../core/workers.ts";
import { assert } from "../lib/assert.ts";
import { DeadlineHeap } from "../lib/heap.ts";
import { withinDepth } from "../lib/json.ts";
import type { Batch, Log, LogStatus, Recovered } from "../log/log.ts";
import type { Lines } from "../telemetry/lines.ts";
import { type Metrics, metricsJson, metricsText, type Readings } from "../telemetry/metrics.ts";
import type { AbortReason } from "../wire/frames.ts";
import { limits } from "../wire/limits.ts";
import { type CoreOperationName, type Input, operations } from "../wire/operations.ts";
import { type HealthView, tableNames, type WatchStart } from "../wire/state.ts";
import { type Clock, LeaseClock } from "./clock.ts";
import type { EngineConfig } from "./config.ts";
import type { Answer, Caller, Sink } from "./types.ts";
import { validate } from "./validate.ts";
import { ended, type Watch, Watches } from "./watch.ts";

export type EngineOptions = {
  log: Log;
  clock: Clock;
  config: EngineConfig;
  telemetry: { metrics: Metrics; lines: Lines };
  /** Draws from [0, 1), for jitter. */
  random: () => number;
  /** Called at most once, when the log is beyond use: the process must end. */
  onFailure: (error: Error) => void;
};

/** What waits for its revision to be durable. */
type Held =
  | { kind: "answer"; revision: number; sink: Sink; seq: number | null; answer: Answer }
  | { kind: "push"; revision: number; sink: Sink; text: string; workerId: string; bytes: number }
  | { kind: "change"; revision: number; sink: Sink; watchId: string; text: string }
  | { kind: "silent"; revision: number; sink: Sink; workerId: string };

/** A worker's place at a sink: where its tasks are pushed, and how many at once. */
type Seat = { sink: Sink; credit: number };

/** A request that waits for something to happen: a task's end, or a task to claim. */
type Waiter = {
  operation: "task.get" | "task.claim";
  input: Input<"task.get"> | Input<"task.claim">;
  caller: Caller;
  sink: Sink;
  /** The task or the worker it waits for. */
  key: string;
  done: boolean;
  /** Hears that the caller went away. */
  onAbort: () => void;
};

/** A reader of the whole state. */
type Stream = { views: [string, View<unknown>][]; readAt: number };

/** Revisions reserved at a time, and how early the next million is asked for. */
const reservedAtOnce = 1_000_000;
const reserveEarly = 500_000;
/** Revisions one turn may use beyond what requests ask for: dispatch and what is due. */
const turnMargin = 20_000;
/** Leases one dispatch entry makes at most, so that one entry never holds the loop for long. */
const leasesPerEntry = 2000;
/** The longest the loop sleeps: the lease clock counts no step above a second. */
const sleepMsMax = 250;
const probeMs = 1000;
/** A view costs memory for what changes meanwhile: a reader that stands still for so long loses it. */
const streamMsMax = 60_000;

export class Engine {
  readonly config: EngineConfig;
  /** What is counted as it happens. */
  readonly counters: Metrics;
  readonly lines: Lines;
  readonly store: Store = createStore();
  core!: Coordinator;

  readonly #log: Log;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #onFailure: (error: Error) => void;
  #leases!: LeaseClock;
  #startedAt = 0;
  #state: "starting" | "running" | "read-only" | "stopping" | "failed" = "starting";

  // The log: what goes next, what is on its way, and up to where it is durable.
  #keepsText = true;
  #text = "";
  #textFirst = 0;
  #undurable: { transaction: Transaction; bytes: number }[] = [];
  #undurableBytes = 0;
  #appending = false;
  #durable = 0;
  #ceiling = 0;
  #reserving: Promise<void> | null = null;
  #drained: (() => void)[] = [];

  // What goes out.
  #outbox: Held[] = [];
  readonly #touched = new Set<Sink>();
  /** Bytes of payloads pushed since the last flush, by worker. */
  readonly #pushed = new Map<string, number>();
  readonly #seats = new Map<string, Seat>();
  /** The workers seated at a sink. */
  readonly #workersOf = new Map<Sink, Set<string>>();
  /** Seats as they were before entries that are not durable yet, for the undo. */
  #unseated: { revision: number; workerId: string; seat: Seat | null }[] = [];
  readonly #watches = new Watches();
  readonly #taskWaiters = new Map<string, Set<Waiter>>();
  readonly #claimWaiters = new Map<string, Set<Waiter>>();
  readonly #waitEnds = new DeadlineHeap<Waiter>();
  readonly #endedTasks: string[] = [];
  readonly #goneWorkers: string[] = [];

  readonly #streams = new Set<Stream>();
  readonly #turnListeners: ((now: number) => void)[] = [];
  #turnOpen = false;
  #cancelTimer: () => void = () => {};
  #wakeAt = 0;
  #probeAt = Number.POSITIVE_INFINITY;
  #stopping: Promise<void> | null = null;

  constructor(options: EngineOptions) {
    this.#log = options.log;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#onFailure = options.onFailure;
    this.config = options.config;
    this.counters = options.telemetry.metrics;
    this.lines = options.telemetry.lines;
  }

  // --- a lifetime -----------------------------------------------------------------------------------------

  /** Reads the log, builds the state and begins to serve. Rejects with a LogError if the log cannot be read. */
  async start(onProgress: (done: number, total: number) => void = () => {}): Promise<Recovered> {
    const loader = new Loader(this.store);
    const recovered = await this.#log.open({
      row: (part, key, text) => loader.put(part, key, text),
      entry: (text) => loader.entry(text),
      progress: onProgress,
    });
    loader.end();
    for (const note of recovered.notes) this.lines.warn("log.mended", { note });
    this.#keepsText = this.#log.status().strategy !== "memory";
    // Every start goes on above every revision that ever left the process, whatever a crash took back.
    this.store.advanceTo(recovered.ceiling);
    // Nothing waits for the log yet, so all there is is durable.
    this.#durable = recovered.ceiling;
    this.#appended = recovered.revision;
    this.#ceiling = recovered.ceiling;
    await this.#reserve();

    this.#leases = new LeaseClock(this.#clock, recovered.clock, (pausedMs) =>
      this.lines.warn("loop.paused", { pausedMs }),
    );
    const clock = this.#leases.read();
    this.core = new Coordinator(this.store, {
      config: this.config,
      metrics: this.counters,
      random: this.#random,
      now: Math.max(this.#clock.wall(), recovered.at),
      clock,
      graceUntil: recovered.revision === 0 ? 0 : clock + this.config.graceMs,
    });
    this.store.onCommit((transaction) => this.#committed(transaction));
    this.#log.onFailure((error) => this.#fail(error));
    this.#startedAt = this.#clock.monotonic();
    this.#state = "running";
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
    for (const waiters of [...this.#taskWaiters.values(), ...this.#claimWaiters.values()])
      for (const waiter of [...waiters]) this.#endWait(waiter);
    this.#pump();
    step("answered who waited");
    if (!readOnly) await this.#whenDrained();
    if (this.#isFailed) return;
    step("wrote what was left");
    await this.#log.stop();
    step("closed the log");
  }

  #whenDrained(): Promise<void> {
    if (this.#undurable.length === 0 && !this.#appending) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  get #isFailed(): boolean {
    return this.#state === "failed";
  }

  #fail(error: Error): void {
    if (this.#isFailed) return;
    this.#state = "failed";
    this.#cancelTimer();
    this.#outbox = [];
    this.lines.error("log.failed", { error: error.message });
    for (const resolve of this.#drained.splice(0)) resolve();
    this.#onFailure(error);
  }

  // --- operations in --------------------------------------------------------------------------------------

  /** As `request`, for those who have no sink of their own. */
  call(operation: CoreOperationName, input: unknown, caller: Caller): Promise<Answer> {
    return new Promise((resolve) => {
      const sink: Sink = {
        answer: (_seq, answer) => resolve(answer),
        push() {},
        change() {},
        silent() {},
        flush() {},
        backlog: () => 0,
      };
      this.request(operation, input, caller, sink);
    });
  }

  /**
   * Carries out one operation; the answer goes to the sink once everything it tells of is durable. Returns what
   * will be answered if all goes well, and null for a request that waits: nothing of it may be told earlier.
   */
  request(operation: CoreOperationName, input: unknown, caller: Caller, sink: Sink): Answer | null {
    this.counters.operations++;
    this.#openTurn();
    // What was done is never told refused, whatever hinders new work now.
    const kept = this.#kept(operation, caller);
    const refusal = this.#refusal(operation, input, kept !== undefined);
    if (refusal === null && (operation === "task.get" || operation === "task.claim")) {
      // Whoever went away is owed nothing, and above all no lease.
      if (operation === "task.claim" && caller.signal?.aborted) return this.#hold(sink, caller.seq, nothing);
      if (this.#wait(operation, input, caller, sink)) return null;
    }
    const answer = refusal ?? this.#run(operation, input, caller);
    return this.#hold(sink, caller.seq, answer, "ok" in answer ? kept?.revision : undefined);
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
      fingerprint: session?.startsWith("idempotency:") ? fingerprint(input) : 0,
    });
  }

  #refusal(operation: CoreOperationName, input: unknown, repeated: boolean): Answer | null {
    if (this.#state !== "running") {
      if (this.#state !== "read-only")
        return refuse("shutting-down", "the daemon is starting or stopping", { retryAfterMs: 1000 });
      if (operations[operation].kind === "mutation" && !repeated) return diskFull;
    }
    const invalid = validate(operation, input);
    if (invalid !== null) return { error: invalid };
    if (operations[operation].kind !== "mutation" || repeated) return null;
    if (this.#undurableBytes >= this.config.undurableBytesMax)
      return refuse("busy", `${this.#undurableBytes} bytes wait for the disk`, { retryAfterMs: 100 });
    if (this.store.revision + turnMargin >= this.#ceiling)
      return refuse("busy", "the log is reserving revisions", { retryAfterMs: 100 });
    return null;
  }

  #hold(sink: Sink, seq: number | null, answer: Answer, revision = this.store.revision): Answer {
    if ("error" in answer) this.counters.operationsRefused++;
    this.#outbox.push({ kind: "answer", revision, sink, seq, answer });
    this.#openTurn();
    return answer;
  }

  // --- waiting requests -----------------------------------------------------------------------------------

  /** Whether the request was parked: what it asks for is not there yet, and it said it would wait. */
  #wait(operation: "task.get" | "task.claim", given: unknown, caller: Caller, sink: Sink): boolean {
    const input = given as Waiter["input"];
    const { waitMs } = input;
    if (waitMs === undefined || waitMs === 0) return false;
    const key = "taskId" in input ? input.taskId : input.workerId;
    if ("taskId" in input) {
      const record = this.core.tasks.get(key);
      if (record === undefined || record.finishedAt > 0) return false;
    } else {
      const slot = this.core.dispatch.slot(key);
      if (slot === undefined || slot.room <= 0 || this.core.dispatch.nextFor(slot) !== undefined)
        return false;
      if (caller.session !== null && this.core.answers.find(caller.session, caller.seq) !== undefined)
        return false;
      // A worker that waits already keeps its place among the others.
      if (!this.#claimWaiters.has(key)) this.core.dispatch.waitForClaim(slot);
    }
    const onAbort = () => this.#forgetWait(waiter);
    const waiter: Waiter = { operation, input, caller, sink, key, done: false, onAbort };
    const waiters = this.#waitersOf(operation);
    const others = waiters.get(key);
    if (others === undefined) waiters.set(key, new Set([waiter]));
    else others.add(waiter);
    this.#waitEnds.push(this.#clock.monotonic() + waitMs, waiter);
    caller.signal?.addEventListener("abort", onAbort, { once: true });
    return true;
  }

  #waitersOf(operation: Waiter["operation"]): Map<string, Set<Waiter>> {
    return operation === "task.get" ? this.#taskWaiters : this.#claimWaiters;
  }

  #forgetWait(waiter: Waiter): void {
    if (waiter.done) return;
    waiter.done = true;
    // A connection's signal lives for as long as it does; what it holds must not grow.
    waiter.caller.signal?.removeEventListener("abort", waiter.onAbort);
    const waiters = this.#waitersOf(waiter.operation);
    const others = waiters.get(waiter.key);
    others?.delete(waiter);
    if (others?.size === 0) {
      waiters.delete(waiter.key);
      const slot = waiter.operation === "task.claim" ? this.core.dispatch.slot(waiter.key) : undefined;
      if (slot !== undefined) this.core.dispatch.endClaim(slot);
    }
  }

  /** Answers a waiting request as things stand now. */
  #endWait(waiter: Waiter): void {
    if (waiter.done) return;
    this.#forgetWait(waiter);
    const { operation, input, caller, sink, key } = waiter;
    const kept = this.#kept(operation, caller);
    const answer =
      operation === "task.get" || this.#state === "running"
        ? this.#run(operation, input, caller)
        : this.#state === "read-only"
          ? diskFull
          : nothing;
    this.#hold(sink, caller.seq, answer, kept?.revision);
    // Its worker's next claim stands behind those of the others.
    const slot = this.#claimWaiters.has(key) ? this.core.dispatch.slot(key) : undefined;
    if (operation === "task.claim" && slot !== undefined) this.core.dispatch.waitForClaim(slot);
  }

  #serveWaiters(): void {
    if (this.#endedTasks.length > 0)
      for (const taskId of this.#endedTasks.splice(0))
        for (const waiter of [...(this.#taskWaiters.get(taskId) ?? [])]) this.#endWait(waiter);
    for (const workerId of this.#goneWorkers.splice(0))
      for (const waiter of [...(this.#claimWaiters.get(workerId) ?? [])]) this.#endWait(waiter);
    for (
      let slot = this.core.dispatch.nextClaiming();
      slot !== undefined;
      slot = this.core.dispatch.nextClaiming()
    ) {
      const [waiter] = this.#claimWaiters.get(slot.id) ?? [];
      if (waiter === undefined) this.core.dispatch.endClaim(slot);
      else this.#endWait(waiter);
    }
  }

  // --- turns ----------------------------------------------------------------------------------------------

  /** Reads the clocks once for everything that happens before the loop comes round. */
  #openTurn(): void {
    if (this.#turnOpen) return;
    this.#turnOpen = true;
    this.core?.setTime(this.#clock.wall(), this.#leases.read());
    queueMicrotask(() => this.#closeTurn());
  }

  #closeTurn(): void {
    this.#turnOpen = false;
    if (this.#state === "failed" || this.#state === "starting") return;
    if (this.#state === "running" && this.#hasRevisions) {
      this.#serveWaiters();
      // The rest of a long match comes in the next turn, after the sockets were heard.
      if (this.core.dispatchReady(leasesPerEntry) === leasesPerEntry)
        this.#clock.after(0, () => this.#openTurn());
      this.#tellProgress();
    }
    this.#pump();
    if (this.#state === "stopping") return;
    // Something may have become due sooner than the timer was set for.
    const dueAt = this.#dueAt();
    if (dueAt < this.#wakeAt) this.#arm(dueAt);
  }

  /** What happens by itself must not pass the ceiling either, however long a reservation takes. */
  get #hasRevisions(): boolean {
    return this.store.revision + turnMargin / 2 < this.#ceiling;
  }

  /** When the timer must fire next, on the monotonic clock. */
  #dueAt(): number {
    const now = this.#clock.monotonic();
    const due = this.#state === "running" ? this.core.nextDueMs() : sleepMsMax;
    return now + Math.max(1, Math.min(Math.ceil(due), this.#waitEnds.nextAt - now, sleepMsMax));
  }

  #arm(at: number): void {
    this.#cancelTimer();
    this.#wakeAt = at;
    this.#cancelTimer = this.#clock.after(at - this.#clock.monotonic(), () => this.#turn());
  }

  /** The timer: what is due, and the next look. */
  #turn(): void {
    this.#cancelTimer();
    if (this.#state === "failed" || this.#state === "stopping") return;
    this.#openTurn();
    const now = this.#clock.monotonic();
    if (this.#state === "running") {
      // A waiting claim is an open connection: its worker lives.
      for (const worker of this.#claimWaiters.keys()) this.core.heard(this.core.dispatch.slot(worker));
      if (this.#hasRevisions) this.core.tick();
    } else if (now >= this.#probeAt) this.#probe();
    for (const listener of this.#turnListeners) listener(now);
    for (const stream of this.#streams) if (now - stream.readAt > streamMsMax) this.#endStream(stream);
    while (this.#waitEnds.nextAt <= now) this.#endWait(this.#waitEnds.pop() as Waiter);
    this.#arm(this.#dueAt());
  }

  // --- out to the log -------------------------------------------------------------------------------------

  #committed(transaction: Transaction): void {
    const { revision, changes } = transaction;
    const { operation, who, now, clock } = this.core;
    let bytes = 0;
    if (this.#keepsText) {
      const text = encodeEntry({ revision, at: now, clock, operation, who }, changes);
      bytes = text.length;
      if (this.#text === "") this.#textFirst = revision;
      this.#text += text;
    }
    this.counters.entriesLogged++;
    this.counters.bytesLogged += bytes;
    this.#undurable.push({ transaction, bytes });
    this.#undurableBytes += bytes;
    this.#news(transaction);
  }

  /** The last revision given to the log. */
  #appended = 0;

  /** Sends what has gathered to the log, if nothing is on its way, and lets out what may leave. */
  #pump(): void {
    if (!this.#keepsText) this.#settle(this.store.revision);
    else {
      this.#letOut();
      if (!this.#appending && this.#text !== "") this.#append();
    }
    if (this.#ceiling - this.store.revision < reserveEarly && this.#state === "running") void this.#reserve();
  }

  #append(): void {
    const batch: Batch = { first: this.#textFirst, last: this.store.revision, text: this.#text };
    this.#text = "";
    this.#appending = true;
    this.counters.batchesLogged++;
    this.#log.append(batch, this.#appended).then(
      (appended) => {
        this.#appending = false;
        if (this.#state === "failed") return;
        if (appended.kind === "durable") {
          this.#appended = batch.last;
          this.#settle(batch.last);
          this.#pump();
        } else if (appended.kind === "full") this.#undo();
        else
          this.#fail(
            new Error(
              `the log is at revision ${appended.last}, not at ${this.#appended}: another writer has it`,
            ),
          );
      },
      (error) => this.#fail(error as Error),
    );
  }

  /** Everything up to `revision` is as safe as it will be. */
  #settle(revision: number): void {
    this.#durable = Math.max(this.#durable, revision);
    let count = 0;
    for (const { transaction, bytes } of this.#undurable) {
      if (transaction.revision > revision) break;
      this.#undurableBytes -= bytes;
      count += 1;
    }
    if (count === this.#undurable.length) this.#undurable = [];
    else this.#undurable.splice(0, count);
    if (this.#unseated.length > 0) this.#unseated = this.#unseated.filter((one) => one.revision > revision);
    this.#letOut();
    if (this.#undurable.length === 0) for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** The disk is full: back to what is durable, newest first. Whoever waits is told; nobody saw what is undone. */
  #undo(): void {
    this.counters.diskFull++;
    this.lines.error("log.full", { undone: this.#undurable.length });
    for (const { transaction } of this.#undurable.reverse()) this.store.undo(transaction);
    this.#undurable = [];
    this.#undurableBytes = 0;
    this.#text = "";
    const durable = this.#durable;
    // What stands is durable; the revisions that were undone are never used again.
    this.#durable = this.store.revision;
    this.#endedTasks.length = 0;
    this.#goneWorkers.length = 0;
    for (const { workerId, seat } of this.#unseated.splice(0).reverse()) {
      const now = this.#seats.get(workerId);
      if (now !== undefined) this.detach(workerId, now.sink);
      if (seat !== null) this.attach(workerId, seat.sink, seat.credit);
    }
    if (this.#state === "running") this.#state = "read-only";
    this.#probeAt = this.#clock.monotonic() + probeMs;
    for (const waiters of [...this.#claimWaiters.values()])
      for (const waiter of [...waiters]) this.#endWait(waiter);
    const held = this.#outbox;
    this.#outbox = [];
    for (const one of held)
      if (one.kind === "answer") {
        // A repeated request whose entry was durable all along keeps its answer.
        one.sink.answer(one.seq, one.revision <= durable ? one.answer : diskFull);
        this.#touched.add(one.sink);
      } else if (one.kind === "push")
        this.#pushed.set(one.workerId, (this.#pushed.get(one.workerId) ?? 0) + one.bytes);
    this.#flush();
    for (const resolve of this.#drained.splice(0)) resolve();
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

  #reserve(): Promise<void> {
    this.#reserving ??= this.#reserveNext().finally(() => {
      this.#reserving = null;
    });
    return this.#reserving;
  }

  async #reserveNext(): Promise<void> {
    const ceiling = this.store.revision + reservedAtOnce;
    try {
      await this.#log.reserve(ceiling);
      this.#ceiling = ceiling;
    } catch (error) {
      if (this.#state === "starting") throw error;
      this.#fail(error as Error);
    }
  }

  // --- out to sockets -------------------------------------------------------------------------------------

  /** What a transaction means to workers, watchers and whoever waits: read off its changes. */
  #news(transaction: Transaction): void {
    const { revision, changes } = transaction;
    const { operation } = this.core;
    for (let i = 0; i < changes.length; i++) {
      const change = changes[i] as (typeof changes)[number];
      if (change.table.name === "tasks") {
        this.#newsOfTask(
          revision,
          change.before as TaskRecord | undefined,
          change.after as TaskRecord | undefined,
          operation,
        );
        if (this.#taskWaiters.has(change.key) && ended(change)) this.#endedTasks.push(change.key);
      } else if (change.table.name === "workers") {
        this.#newsOfWorker(
          revision,
          change.key,
          change.before as WorkerRecord | undefined,
          change.after as WorkerRecord | undefined,
        );
      }
      if (this.#watches.size > 0) {
        const cause = { revision, at: this.core.now, operation, who: this.core.who };
        this.#watches.match(change, cause, (watch, text) => {
          const { watchId } = watch.filter;
          const event = `{"event":"change","watchId":"${watchId}",${text}}`;
          this.#outbox.push({ kind: "change", revision, sink: watch.sink, watchId, text: event });
        });
      }
    }
    this.#openTurn();
  }

  #newsOfTask(
    revision: number,
    before: TaskRecord | undefined,
    after: TaskRecord | undefined,
    operation: string,
  ): void {
    const had = before?.state === "running";
    const has = after?.state === "running";
    if (has && (!had || before.token !== after.token) && operation !== "task.claim") {
      const sink = this.#seats.get(after.workerId as string)?.sink;
      if (sink !== undefined) {
        const text = `{"event":"task.assigned",${assignmentText(this.core, after).slice(1)}`;
        const { workerId, spec } = after as TaskRecord & { workerId: string };
        this.#outbox.push({ kind: "push", revision, sink, text, workerId, bytes: spec.payload.length });
      }
    }
    if (!had || (has && before.token === after.token)) return;
    const reason = abortReason(operation, after);
    const sink = reason === null ? undefined : this.#seats.get(before.workerId as string)?.sink;
    if (sink === undefined) return;
    const detail = JSON.stringify(after?.reason ?? after?.error?.message ?? `the lease ended (${operation})`);
    const text = `{"event":"task.aborted","taskId":"${before.spec.id}","workerId":"${before.workerId}","token":${before.token},"reason":"${reason}","detail":${detail}}`;
    this.#outbox.push({ kind: "push", revision, sink, text, workerId: before.workerId as string, bytes: 0 });
  }

  #newsOfWorker(
    revision: number,
    workerId: string,
    before: WorkerRecord | undefined,
    after: WorkerRecord | undefined,
  ): void {
    const seat = this.#seats.get(workerId);
    // Whoever registers takes the worker over, and who leaves is gone: an older connection has it no more.
    if (after === undefined || this.core.operation === "worker.register") {
      this.#unseated.push({ revision, workerId, seat: seat ?? null });
      if (seat !== undefined) this.detach(workerId, seat.sink);
    }
    if (after === undefined) {
      this.lines.debug("worker.unregistered", { workerId });
      if (this.#claimWaiters.has(workerId)) this.#goneWorkers.push(workerId);
    } else if (after.state === "offline" && before?.state !== "offline") {
      this.lines.info("worker.offline", { workerId });
      if (seat !== undefined) this.#outbox.push({ kind: "silent", revision, sink: seat.sink, workerId });
    } else if (before === undefined || before.instanceId !== after.instanceId)
      this.lines.debug("worker.registered", { workerId, instanceId: after.instanceId });
  }

  /** Progress is coalesced: one event a task and turn, at the revision it has. */
  #tellProgress(): void {
    if (this.core.progressed.size === 0) return;
    if (this.#watches.size > 0)
      for (const taskId of this.core.progressed) {
        const after = this.core.tasks.get(taskId);
        // An attempt that ended meanwhile was told with its last word.
        if (after?.state !== "running") continue;
        const { revision } = this.store;
        const cause = {
          revision,
          at: this.core.now,
          operation: "task.progress",
          who: after.workerId as string,
        };
        const change = { table: this.core.tasks, key: taskId, before: after, after };
        this.#watches.match(change as never, cause, (watch, text) => {
          const { watchId } = watch.filter;
          const event = `{"event":"change","watchId":"${watchId}",${text},"progress":${this.core.progressOf(after)}}`;
          this.#outbox.push({ kind: "change", revision, sink: watch.sink, watchId, text: event });
        });
      }
    this.core.progressed.clear();
  }

  #letOut(): void {
    const outbox = this.#outbox;
    let count = 0;
    while (count < outbox.length) {
      const held = outbox[count] as Held;
      if (held.revision > this.#durable) break;
      count += 1;
      this.#touched.add(held.sink);
      if (held.kind === "answer") held.sink.answer(held.seq, held.answer);
      else if (held.kind === "push") {
        held.sink.push(held.text);
        this.#pushed.set(held.workerId, (this.#pushed.get(held.workerId) ?? 0) + held.bytes);
      } else if (held.kind === "silent") this.#tellSilent(held.workerId, held.sink);
      else held.sink.change(held.watchId, held.revision, held.text);
    }
    if (count === outbox.length) this.#outbox = [];
    else if (count > 0) outbox.splice(0, count);
    this.#flush();
  }

  /** Unless it registered again before its silence was durable. */
  #tellSilent(workerId: string, sink: Sink): void {
    if (this.isAttached(workerId, sink) && this.core.workers.get(workerId)?.state === "offline")
      sink.silent(workerId);
  }

  #flush(): void {
    if (this.#touched.size === 0) return;
    for (const sink of this.#touched) sink.flush();
    this.#touched.clear();
    for (const [workerId, bytes] of this.#pushed) {
      const backlog = this.#seats.get(workerId)?.sink.backlog() ?? 0;
      this.core.dispatch.pushed(workerId, bytes, backlog > limits.pushBufferBytesMax);
    }
    if (this.#pushed.size > 0) {
      this.#pushed.clear();
      // A worker that had enough on its way may have room now.
      if (this.core.dispatch.canMatch) this.#openTurn();
    }
  }

  // --- connections ----------------------------------------------------------------------------------------

  /** Calls back at least four times a second, for what connections have to look at (monotonic ms). */
  onTurn(listener: (now: number) => void): void {
    this.#turnListeners.push(listener);
  }

  /** From now on the worker's tasks are pushed to this sink, `credit` of them at once. */
  attach(workerId: string, sink: Sink, credit: number): void {
    if (!this.core.workers.has(workerId)) return;
    const seat = this.#seats.get(workerId);
    if (seat !== undefined && seat.sink !== sink) this.detach(workerId, seat.sink);
    this.#seats.set(workerId, { sink, credit });
    const mine = this.#workersOf.get(sink);
    if (mine === undefined) this.#workersOf.set(sink, new Set([workerId]));
    else mine.add(workerId);
    this.core.dispatch.attach(workerId, credit);
    this.#openTurn();
  }

  /** The worker's tasks are pushed to this sink no more; a later sink is left alone. */
  detach(workerId: string, sink: Sink): void {
    if (!this.isAttached(workerId, sink)) return;
    this.#seats.delete(workerId);
    const mine = this.#workersOf.get(sink) as Set<string>;
    mine.delete(workerId);
    if (mine.size === 0) this.#workersOf.delete(sink);
    this.core.dispatch.detach(workerId);
  }

  isAttached(workerId: string, sink: Sink): boolean {
    return this.#seats.get(workerId)?.sink === sink;
  }

  /** The sink is gone, and with it the place of its workers. */
  leave(sink: Sink): void {
    for (const workerId of [...(this.#workersOf.get(sink) ?? [])]) this.detach(workerId, sink);
    for (const one of this.#unseated) if (one.seat?.sink === sink) one.seat = null;
  }

  /** The sink's socket has taken something of what waited. */
  drained(sink: Sink): void {
    const congested = sink.backlog() > limits.pushBufferBytesMax;
    for (const workerId of this.#workersOf.get(sink) ?? []) this.core.dispatch.pushed(workerId, 0, congested);
    this.#openTurn();
  }

  /** Any frame of a connection is a beat of its workers. */
  heard(sink: Sink): void {
    const workers = this.#workersOf.get(sink);
    if (workers === undefined) return;
    this.#openTurn();
    for (const workerId of workers) this.core.heard(this.core.dispatch.slot(workerId));
  }

  /** Answers a request that is no operation of the state, in its place among the others. */
  answer(sink: Sink, seq: number | null, answer: Answer): void {
    this.#hold(sink, seq, answer);
  }

  watch(sink: Sink, filter: WatchStart): Watch {
    const watch = { sink, filter };
    this.#watches.add(watch);
    this.counters.watchesOpen++;
    return watch;
  }

  unwatch(watch: Watch): void {
    this.#watches.remove(watch);
    this.counters.watchesOpen--;
  }

  // --- for those who look ---------------------------------------------------------------------------------

  get revision(): number {
    return this.store.revision;
  }

  get durableRevision(): number {
    return this.#durable;
  }

  get logStatus(): LogStatus {
    return this.#log.status();
  }

  health(): HealthView {
    const status = this.#state === "read-only" ? "read-only" : this.#state === "running" ? "ok" : "stopping";
    return {
      status,
      version: this.config.version,
      preset: this.config.preset,
      uptimeMs: Math.round(this.#clock.monotonic() - this.#startedAt),
      revision: this.store.revision,
      durableRevision: this.#durable,
    };
  }

  ready(): { ready: boolean; reason: string } {
    if (this.#state === "running") return { ready: true, reason: "" };
    const reasons = {
      starting: "the log is being read",
      "read-only": "the disk is full",
      stopping: "the daemon is stopping",
      failed: "the log is beyond use",
    };
    return { ready: false, reason: reasons[this.#state] };
  }

  #readings(): Readings {
    const workers = workerCounts(this.core);
    const { counts } = this.core.queues;
    const log = this.#log.status();
    return {
      uptimeMs: this.health().uptimeMs,
      memoryBytes: process.memoryUsage.rss(),
      tasksScheduled: counts.scheduled,
      tasksQueued: counts.queued,
      tasksRunning: counts.running,
      workersIdle: workers.idle,
      workersBusy: workers.busy,
      workersDraining: workers.draining,
      workersOffline: workers.offline,
      revision: this.store.revision,
      durableRevision: this.#durable,
      undurableBytes: this.#undurableBytes,
      logBytes: log.logBytes,
      syncs: log.syncCount,
    };
  }

  metrics() {
    return metricsJson(this.counters, this.#readings());
  }

  prometheus(): string {
    return metricsText(this.counters, this.#readings());
  }

  tables(): readonly string[] {
    return tableNames;
  }

  /** A page of a table's records as JSON texts, in an order that holds while the table changes. */
  async tablePage(table: string, cursor: string | null, limit: number) {
    this.#openTurn();
    for (;;) {
      const page = this.store.table<unknown>(table).page(cursor, limit);
      const { revision } = this.store;
      const rows = page.records.map((record) => this.#recordText(table, record));
      if (await this.#whenDurable(revision)) return { rows, cursor: page.cursor, revision };
    }
  }

  /** The whole state at one revision: a line with the revision, then a line a record. */
  async *stateStream(): AsyncIterable<string> {
    let revision: number;
    let views: [string, View<unknown>][];
    do {
      this.#openTurn();
      revision = this.store.revision;
      views = this.tables().map((table) => [table, this.store.table<unknown>(table).view()]);
      const durable = await this.#whenDurable(revision);
      if (!durable) for (const [, view] of views.splice(0)) view.close();
    } while (views.length === 0);
    // How many tasks each worker holds as of this revision: the tasks come before the workers.
    const running = new Map<string, number>();
    const stream: Stream = { views, readAt: this.#clock.monotonic() };
    this.#streams.add(stream);
    try {
      yield `{"revision":${revision},"at":${this.core.now}}\n`;
      for (const [table, view] of views)
        for (let slice = this.#nextOf(stream, view); slice !== null; slice = this.#nextOf(stream, view))
          if (slice.length > 0)
            yield slice
              .map((record) => `{"table":"${table}","record":${this.#recordText(table, record, running)}}\n`)
              .join("");
    } finally {
      this.#endStream(stream);
    }
  }

  #nextOf(stream: Stream, view: View<unknown>): unknown[] | null {
    if (!this.#streams.has(stream)) throw new Error(`the state was not read on for ${streamMsMax} ms`);
    stream.readAt = this.#clock.monotonic();
    return view.next();
  }

  #endStream(stream: Stream): void {
    if (this.#streams.delete(stream)) for (const [, view] of stream.views) view.close();
  }

  /** `running` gathers what workers hold, where the state is not the newest. */
  #recordText(table: string, record: unknown, running?: Map<string, number>): string {
    if (table === "tasks") {
      const { state, workerId } = record as TaskRecord;
      if (state === "running" && workerId !== null) running?.set(workerId, (running.get(workerId) ?? 0) + 1);
      return taskText(this.core, record as TaskRecord);
    }
    if (table !== "workers") return JSON.stringify(record);
    const worker = record as WorkerRecord;
    const slot = this.core.dispatch.slot(worker.id) ?? new Slot(worker.id, worker, this.core.clock);
    return running === undefined
      ? workerText(this.core, slot)
      : workerText(this.core, slot, worker, running.get(worker.id) ?? 0);
  }

  /** Whether it became durable; false: a full disk undid it. */
  #whenDurable(revision: number): Promise<boolean> {
    assert(revision <= this.store.revision, "a revision that was not made yet is not awaited");
    if (revision <= this.#durable) return Promise.resolve(true);
    return new Promise((resolve) => {
      const answer = (_seq: number | null, answer: Answer) => resolve("ok" in answer);
      const sink: Sink = { answer, push() {}, change() {}, silent() {}, flush() {}, backlog: () => 0 };
      this.#outbox.push({ kind: "answer", revision, sink, seq: 0, answer: { ok: "null" } });
      this.#openTurn();
    });
  }
}

const diskFull = refuse("disk-full", "the data folder's disk is full; nothing was changed", {
  retryAfterMs: probeMs,
});
/** What a claim gets when nobody may take anything any more. */
const nothing: Answer = { ok: '{"assignments":[]}' };

/** Writing a value of great depth holds the loop for seconds, then throws; the core refuses it anyway. */
const fingerprint = (input: unknown) =>
  withinDepth(input, 2 * limits.depthMax) ? Bun.hash.crc32(JSON.stringify(input) ?? "") : 0;

/** Why an attempt ended that its own worker did not end; null: the worker knows. */
function abortReason(operation: string, after: TaskRecord | undefined): AbortReason | null {
  switch (operation) {
    case "task.cancel":
      return "cancelled";
    case "lease.expire":
      return after?.error?.code === "timeout" ? "timeout" : "lease-expired";
    default:
      // Completed, failed, released by the worker, or told in the answer to its registration.
      return null;
  }
}
