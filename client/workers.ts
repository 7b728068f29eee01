/**
 * A worker, as its own process sees it: the registration, which every new connection repeats, and the leases it
 * holds. A lease ends here only when the daemon says so: while there is no connection the work goes on, because a
 * daemon that was down has taken nothing away, and the fencing token protects what it did take.
 *
 * Where the daemon cannot push (over HTTP) the worker claims as many tasks as it has room for, one claim at a time, and
 * asks by heartbeats what became of those it holds. A claim belongs to its connection and is never repeated on another:
 * what it took without being heard goes back, because the next registration does not name it.
 */
import type { AbortReason, EventMessage } from "../src/wire/frames.ts";
import { limits } from "../src/wire/limits.ts";
import type { Input, Output } from "../src/wire/operations.ts";
import type {
  Assignment,
  DependencyView,
  LeaseView,
  OnFail,
  Task,
  TaskError,
  TaskStanding,
  TaskSubmit,
  TaskSubmitted,
} from "../src/wire/tasks.ts";
import type { WorkerRegistered } from "../src/wire/workers.ts";
import { type CallOptions, randomId, type Session } from "./connection.ts";
import { ClientError, CortexError, isClosed } from "./errors.ts";
import { Fenced } from "./fences.ts";
import type { LockCaller } from "./locks.ts";
import { Lines, linesOf } from "./logs.ts";
import { dependenciesOf } from "./tasks.ts";
import type { Timer } from "./transport.ts";
import { timeOf, type When } from "./verdicts.ts";

export type WorkerOptions = Omit<Input<"worker.register">, "instanceId" | "holding">;

/** `released`: this worker gave it back. `closed`: this client was closed, and the lease runs out by itself. */
export type LostReason = AbortReason | "lease-lost" | "released" | "closed";

/** Why a signal is aborted. */
export class Aborted extends Error {
  override name = "AbortError";
  constructor(
    readonly taskId: string,
    readonly reason: LostReason,
    detail: string,
  ) {
    super(detail);
  }
}

export type FailOptions = {
  final?: boolean | undefined;
  /** With final: why the task is given up; not held against the worker. */
  reason?: string | undefined;
  retryInMs?: number | undefined;
  retryAt?: number | undefined;
};

/** What became of tasks that were waited for, by their `ref` or id. */
export type Dependencies = Record<string, DependencyView>;
/** A task that is submitted by the one that will wait for it, and what becomes of that if it fails. */
export type Child = Omit<TaskSubmit, "parent"> & { onFail?: OnFail };

/** A task this worker holds a lease of. */
export class AssignedTask {
  readonly task: Task;
  lease: LeaseView;
  readonly #registration: Registration;
  #controller: AbortController | null = null;
  #aborted: Aborted | null = null;
  #progress: { value: unknown } | null = null;
  #reporting = false;
  #lines: Lines | null = null;
  #fenced: Fenced | null = null;
  /** Its end was sent and has no answer yet. */
  ending = false;

  readonly #dependencies: Dependencies | undefined;

  constructor(registration: Registration, { task, lease, dependencies }: Assignment) {
    this.#registration = registration;
    this.task = task;
    this.lease = lease;
    this.#dependencies = dependencies;
  }

  get id(): string {
    return this.task.id;
  }
  get queue(): string {
    return this.task.queue;
  }
  get type(): string {
    return this.task.type;
  }
  get payload(): unknown {
    return this.task.payload;
  }

  /** Aborts when the task is cancelled or timed out, or the lease is lost. */
  get signal(): AbortSignal {
    // Made when first asked for: most tasks are done before anyone looks.
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#aborted !== null) this.#controller.abort(this.#aborted);
    }
    return this.#controller.signal;
  }

  /** Whether the lease still stands, as far as this side knows. */
  get held(): boolean {
    return this.#registration.leases.get(this.id) === this;
  }

  /** Whether it still makes sense to work on it: the lease stands and nobody asked to stop. */
  get workable(): boolean {
    return this.#aborted === null && this.held;
  }

  /** A client whose changes happen only while this lease stands. */
  get fenced(): Fenced {
    this.#fenced ??= new Fenced(this.#registration.caller, { lease: this.id, token: this.lease.token });
    return this.#fenced;
  }

  complete(result?: unknown, options?: CallOptions): Promise<TaskStanding> {
    const input: Input<"task.complete"> = this.#named();
    if (result !== undefined) input.result = result;
    return this.#settle("task.complete", input, options);
  }

  fail(error: string | TaskError, how: FailOptions = {}, options?: CallOptions): Promise<TaskStanding> {
    const { final, reason, retryInMs, retryAt } = how;
    const input: Input<"task.fail"> = { ...this.#named(), error };
    if (final !== undefined) input.final = final;
    if (reason !== undefined) input.reason = reason;
    if (retryInMs !== undefined) input.retryInMs = retryInMs;
    if (retryAt !== undefined) input.retryAt = retryAt;
    return this.#settle("task.fail", input, options);
  }

  /** Puts the task off, by so many ms or to a moment; no attempt is charged. */
  snooze(when: When, options?: CallOptions): Promise<TaskStanding> {
    const time = timeOf(when);
    const input = "retryAt" in time ? { until: time.retryAt } : { forMs: time.retryInMs };
    return this.#settle("task.snooze", { ...this.#named(), ...input }, options);
  }

  /** Ends the task as cancelled. */
  cancel(reason?: string, options?: CallOptions): Promise<TaskStanding> {
    const input: Input<"task.cancel"> = this.#named();
    if (reason !== undefined) input.reason = reason;
    return this.#settle("task.cancel", input, options);
  }

  /** Starts no more tasks of this one's group, or of its queue if it has none, for so long. */
  async pause(forMs: number, reason?: string, options?: CallOptions): Promise<void> {
    const { queue, group } = this.task;
    const input: Input<"queue.pause"> = { queue, forMs };
    if (group !== null) input.group = group;
    if (reason !== undefined) input.reason = reason;
    await this.#registration.caller.call("queue.pause", input, options);
  }

  /** What became of the tasks that it waited for, children of earlier attempts included, by `ref` or id. */
  async dependencies(options?: CallOptions): Promise<Dependencies> {
    if (this.#dependencies !== undefined) return this.#dependencies;
    const all: Dependencies = {};
    if (this.task.graph === null) return all;
    for await (const row of dependenciesOf(this.#registration.caller, this.id, options)) {
      const { name, taskId, state, result, error } = row;
      all[Object.hasOwn(all, name) ? taskId : name] = { taskId, state, result, error };
    }
    return all;
  }

  /** Submits children under the lease, all or none: the task waits for them once `wait` ends the attempt. */
  addChildren(children: readonly Child[], options?: CallOptions): Promise<TaskSubmitted[]> {
    const parent = this.#named();
    const tasks = children.map(({ onFail, ...task }) => ({
      ...task,
      parent: onFail === undefined ? parent : { ...parent, onFail },
    }));
    return this.#registration.caller.call("task.submit", tasks, options) as Promise<TaskSubmitted[]>;
  }

  /** Ends the attempt, uncharged, until the task's children are done. */
  wait(options?: CallOptions): Promise<TaskStanding> {
    return this.#settle("task.wait", this.#named(), options);
  }

  /** Gives the task back unfinished; it stands where it stood. */
  release(options?: CallOptions): Promise<TaskStanding> {
    return this.#settle("task.release", this.#named(), options);
  }

  /** Moves the lease's deadline. Connected workers need it only to work in silence longer than the lease allows. */
  async extend(leaseMs?: number, options?: CallOptions): Promise<LeaseView> {
    const input: Input<"task.extend"> = this.#named();
    if (leaseMs !== undefined) input.leaseMs = leaseMs;
    try {
      this.lease = await this.#registration.caller.call("task.extend", input, options);
      if (leaseMs !== undefined) this.#registration.allowSilence(leaseMs);
      return this.lease;
    } catch (error) {
      this.#registration.refused(this, error);
      throw error;
    }
  }

  /** Reports progress. One report is on its way at a time, and after it only the newest of those that came since. */
  progress(value: unknown): void {
    this.#progress = { value };
    if (!this.#reporting) void this.#report();
  }

  /** Adds to the task's log. What is told before the task's end arrives before it. */
  log(...parts: unknown[]): void {
    this.#lines ??= new Lines((lines) => this.#send(lines));
    this.#lines.add(linesOf(parts));
  }

  /** Tells whoever works on it to stop; the lease itself is the registration's. */
  abort(reason: LostReason, detail: string): void {
    this.#aborted = new Aborted(this.id, reason, detail);
    this.#controller?.abort(this.#aborted);
  }

  #named() {
    return { taskId: this.id, workerId: this.lease.workerId, token: this.lease.token };
  }

  async #settle<
    N extends "task.complete" | "task.fail" | "task.release" | "task.snooze" | "task.cancel" | "task.wait",
  >(op: N, input: Input<N>, options?: CallOptions): Promise<TaskStanding> {
    this.ending = true;
    this.#lines?.flush();
    try {
      const standing = (await this.#registration.caller.call(op, input, options)) as TaskStanding;
      this.#registration.settled(this);
      return standing;
    } catch (error) {
      this.#registration.refused(this, error);
      throw error;
    } finally {
      this.ending = false;
    }
  }

  async #send(lines: string[]): Promise<void> {
    if (!this.held) return;
    try {
      await this.#registration.caller.call("task.log", { ...this.#named(), lines });
    } catch (error) {
      if (!this.#registration.refused(this, error) && !isClosed(error)) this.#registration.told.error(error);
    }
  }

  async #report(): Promise<void> {
    this.#reporting = true;
    while (this.#progress !== null && this.held) {
      const { value } = this.#progress;
      this.#progress = null;
      try {
        await this.#registration.caller.call("task.progress", { ...this.#named(), progress: value });
      } catch (error) {
        // Progress is for onlookers: that it could not be told is news, and never a reason to stop the work.
        if (!this.#registration.refused(this, error) && !isClosed(error))
          this.#registration.told.error(error);
      }
    }
    this.#reporting = false;
  }
}

export type RegistrationEvents = {
  assigned(task: AssignedTask): void;
  aborted(task: AssignedTask, reason: LostReason, detail: string): void;
  registered(answer: WorkerRegistered): void;
  /** The registration was refused; `retryInMs` is when it will be tried again, null: never. */
  refused(error: Error, retryInMs: number | null): void;
  error(error: unknown): void;
};

/**
 * A push is acknowledged at once, before its handler may hold the loop. A worker that ended a task so shortly before
 * (in ms) will end the next one too: its pushes are acknowledged together after a while, if by then nothing has.
 */
const quickMs = 1000;
const acknowledgeAfterMs = 200;
/** Words said within the silence that a lease allows: two may be late. */
const beatsPerLease = 3;
/** How long a claim waits for a task: proxies end requests that are quiet for a minute. */
const claimMs = 25_000;
/** Leases remembered as begun. */
const begunMax = 2 * limits.capacityMax;
/** How long after a claim that brought nothing, and too soon, the next one comes. */
const pauseMs = 1000;

export class Registration {
  readonly instanceId: string;
  readonly leases = new Map<string, AssignedTask>();
  /** The newest answer to a registration. */
  answer: WorkerRegistered | null = null;
  /** How many tasks the worker takes by push; 0: none any more. */
  credit: number;
  #timer: Timer = null;
  // Over HTTP alone:
  #claiming = false;
  /** The number of the registration: what a claim took before it went back with it. */
  #registrationCount = 0;
  /** Leases begun since the registration: claims and beats may tell of one twice, and long after it ended. */
  readonly #begun = new Set<string>();
  #claimTimer: Timer = null;
  #beatTimer: Timer = null;
  /** Left on purpose: nothing registers it again but the next connection. */
  #left = false;
  /** The newest token that came by push on this connection, and up to which the daemon knows that they came. */
  #arrived = 0;
  #acknowledged = 0;
  #acknowledgeTimer: Timer = null;
  /** When a task's end was last answered, and when the frame came for which something was acknowledged. */
  #settledAt = Number.NEGATIVE_INFINITY;
  #acknowledgedAt = Number.NEGATIVE_INFINITY;
  /** How often the leases held ask for a word. */
  #speakMs = Number.POSITIVE_INFINITY;
  /** When the newest registration or beat was sent that was answered. */
  #beatAt = Number.NEGATIVE_INFINITY;

  constructor(
    readonly options: WorkerOptions,
    readonly caller: LockCaller,
    readonly session: Session,
    readonly told: RegistrationEvents,
  ) {
    this.instanceId = randomId(caller.environment);
    this.credit = options.capacity ?? 1;
  }

  /** On each new connection, before anything that waits is repeated: says what it holds, and hears what it lost. */
  welcomed(): void {
    this.#clearTimers();
    this.#left = false;
    this.#arrived = 0;
    this.#acknowledged = 0;
    const registration = ++this.#registrationCount;
    this.#begun.clear();
    // A lease whose completion is on its way is named too: which of the two arrives first then does not matter.
    const named = [...this.leases.values()].map((held) => ({ taskId: held.id, token: held.lease.token }));
    const sentAt = this.caller.environment.now();
    this.session.onConnection(
      "worker.register",
      { ...this.options, instanceId: this.instanceId, holding: named },
      (answer) => {
        // A newer one is on its way: what is claimed before it would go back with it.
        if (registration !== this.#registrationCount) return;
        this.answer = answer;
        this.#beatAt = sentAt;
        const lost = new Set(answer.lost);
        for (const { taskId, token } of named) {
          const held = this.leases.get(taskId);
          if (lost.has(taskId) && held?.lease.token === token)
            this.lose(held, "lease-lost", "the lease ended while there was no connection");
        }
        for (const { task, lease } of answer.leases) {
          const held = this.leases.get(task.id);
          if (held?.lease.token === lease.token) held.lease = lease;
        }
        // A registration gives as much credit as capacity.
        if (!this.session.pushes) this.#beatLater();
        else if (this.credit !== this.#capacity) this.#sendCredit();
        this.told.registered(answer);
        this.#claim();
      },
      (error) => this.#refused(error),
    );
  }

  /** Until when the daemon surely has this worker for online: a silence of its own begins with the last that it heard. */
  get onlineUntil(): number {
    return Math.max(this.#beatAt, this.session.beatAt) + (this.silenceMs ?? Number.POSITIVE_INFINITY);
  }
  /** undefined: it is not told before the first registration is answered. */
  get silenceMs(): number | undefined {
    return this.answer?.silenceMs;
  }

  setCredit(credit: number): void {
    this.credit = credit;
    if (this.session.state !== "connected" || this.answer === null) return;
    if (this.session.pushes) this.#sendCredit();
    else this.#claim();
  }

  leave(): void {
    this.#left = true;
    this.#clearTimers();
  }

  assigned(assignment: Assignment): void {
    const { task, lease } = assignment;
    this.#came(lease.token);
    const before = this.leases.get(task.id);
    if (before?.lease.token === lease.token) return;
    if (before !== undefined) this.lose(before, "lease-lost", "the task was leased again");
    const held = new AssignedTask(this, assignment);
    this.leases.set(task.id, held);
    if (!this.session.pushes) this.#note(keyOf(task.id, lease.token));
    this.allowSilence(task.leaseMs);
    this.told.assigned(held);
  }

  #came(token: number): void {
    if (token <= this.#arrived || !this.session.pushes) return;
    this.#arrived = token;
    const { heardAt } = this.session;
    if (heardAt - this.#settledAt > quickMs && heardAt !== this.#acknowledgedAt) {
      this.#acknowledgedAt = heardAt;
      this.#acknowledge();
    } else
      this.#acknowledgeTimer ??= this.caller.environment.setTimer(acknowledgeAfterMs, () => {
        this.#acknowledgeTimer = null;
        if (this.#arrived > this.#acknowledged) this.#acknowledge();
      });
  }

  #acknowledge(): void {
    this.#acknowledged = this.#arrived;
    const input = { workerId: this.options.workerId, token: this.#arrived };
    this.session.onConnection("worker.acknowledge", input, ignore, ignore);
    this.session.flush();
  }

  aborted(message: Extract<EventMessage, { event: "task.aborted" }>): void {
    // This side reads again: said, so that it is pushed to again.
    if (message.reason === "revoked") this.#acknowledge();
    const held = this.leases.get(message.taskId);
    if (held?.lease.token === message.token) this.lose(held, message.reason, message.detail);
  }

  settled(held: AssignedTask): void {
    this.#settledAt = this.session.heardAt;
    this.#acknowledged = Math.max(this.#acknowledged, Math.min(held.lease.token, this.#arrived));
    if (held.held) this.#forget(held);
  }

  /** A lease that allows little silence makes the session speak often enough to keep it. */
  allowSilence(leaseMs: number): void {
    const everyMs = leaseMs / beatsPerLease;
    if (everyMs >= this.#speakMs) return;
    this.#speakMs = everyMs;
    this.session.speakEvery(everyMs);
    if (this.#beatTimer !== null) this.#beatLater();
  }

  #forget(held: AssignedTask): void {
    this.leases.delete(held.id);
    this.#claim();
    if (this.leases.size > 0 || this.#speakMs === Number.POSITIVE_INFINITY) return;
    this.#speakMs = Number.POSITIVE_INFINITY;
    this.session.speakEvery(this.#speakMs);
  }

  /** True when the refusal says that the lease is void, which is then told. */
  refused(held: AssignedTask, error: unknown): boolean {
    if (!isLeaseLost(error)) return false;
    if (held.held) this.lose(held, "lease-lost", error.message);
    return true;
  }

  lose(held: AssignedTask, reason: LostReason, detail: string): void {
    this.#forget(held);
    held.abort(reason, detail);
    this.told.aborted(held, reason, detail);
  }

  close(): void {
    this.#clearTimers();
    for (const held of [...this.leases.values()]) this.lose(held, "closed", "the client was closed");
  }

  #refused(error: Error): void {
    // The next connection registers again by itself.
    if (error instanceof ClientError) return;
    const refusal = error as CortexError;
    const retryInMs = refusal.retryable ? (refusal.retryAfterMs ?? 1000) : null;
    if (refusal.code === "worker-id-in-use")
      for (const held of [...this.leases.values()])
        this.lose(held, "lease-lost", "another instance has the worker id");
    this.told.refused(error, retryInMs);
    if (retryInMs === null || this.session.state !== "connected") return;
    this.#timer = this.caller.environment.setTimer(retryInMs, () => {
      this.#timer = null;
      this.welcomed();
    });
  }

  get #capacity(): number {
    return this.options.capacity ?? 1;
  }

  #sendCredit(): void {
    const input = { workerId: this.options.workerId, credit: this.credit };
    this.session.onConnection("worker.credit", input, ignore, ignore);
  }

  // ------------------------------------------------------------------------------------------- where nothing is pushed

  /** Asks for what there is room for, and again until there is none. */
  #claim(): void {
    const { session, options } = this;
    // The heartbeat runs from the registration to the end of its connection.
    if (session.pushes || this.#beatTimer === null || this.#claiming || this.#claimTimer !== null) return;
    const count = Math.min(this.credit, this.#capacity, limits.tasksPerClaimMax) - this.leases.size;
    if (count <= 0) return;
    this.#claiming = true;
    const { workerId } = options;
    const { environment } = this.caller;
    const askedAt = environment.now();
    const registration = this.#registrationCount;
    session.onConnection(
      "task.claim",
      { workerId, count, waitMs: claimMs },
      ({ assignments }) => {
        this.#claiming = false;
        for (const one of registration === this.#registrationCount ? assignments : []) {
          if (this.#begun.has(keyOf(one.task.id, one.lease.token))) continue;
          if (this.leases.size < this.credit) this.assigned(one);
          else this.#giveBack(one);
        }
        // A daemon that stops ends the waits of all.
        if (assignments.length === 0 && environment.now() - askedAt < claimMs / 2) this.#claimLater(pauseMs);
        else this.#claim();
      },
      (error) => {
        this.#claiming = false;
        if (!this.#unknown(error, registration) && error instanceof CortexError)
          this.#claimLater(error.retryAfterMs ?? pauseMs);
      },
    );
  }

  #claimLater(ms: number): void {
    if (this.#beatTimer === null) return;
    this.#claimTimer = this.caller.environment.setTimer(ms, () => {
      this.#claimTimer = null;
      this.#claim();
    });
  }

  /** Asked for before the credit was lowered. */
  #giveBack({ task, lease }: Assignment): void {
    const { workerId, token } = lease;
    this.caller.call("task.release", { taskId: task.id, workerId, token }).catch(ignore);
  }

  #beatLater(): void {
    const { environment } = this.caller;
    if (this.#beatTimer !== null) environment.clearTimer(this.#beatTimer);
    const everyMs = Math.min((this.answer as WorkerRegistered).heartbeatMs, this.#speakMs);
    this.#beatTimer = environment.setTimer(everyMs, () => {
      this.#beatLater();
      this.#beat();
    });
  }

  #beat(): void {
    const { workerId } = this.options;
    const registration = this.#registrationCount;
    const asked = [...this.leases.values()].filter(({ ending }) => !ending);
    const sentAt = this.caller.environment.now();
    this.session.onConnection(
      "worker.heartbeat",
      { workerId, instanceId: this.instanceId, loopAgeMs: this.session.takeLoopAge() },
      (answer) => {
        this.#beatAt = Math.max(this.#beatAt, sentAt);
        this.#beaten(asked, answer);
      },
      (error) => this.#unknown(error, registration),
    );
  }

  /** What is told by push elsewhere is read off the leases that stand. */
  #beaten(asked: AssignedTask[], { leases, cancels }: Output<"worker.heartbeat">): void {
    const stands = (held: AssignedTask) =>
      leases.some(({ taskId, token }) => taskId === held.id && token === held.lease.token);
    const isCancelled = (held: AssignedTask) =>
      cancels.some(({ taskId, token }) => taskId === held.id && token === held.lease.token);
    for (const held of asked) {
      // An end that is on its way has its own answer.
      if (!held.held || held.ending || stands(held)) continue;
      if (isCancelled(held)) this.lose(held, "cancelled", "the task was cancelled, or ran out of time");
      else this.lose(held, "lease-lost", "the daemon says that the lease ended");
    }
    for (const { taskId, token } of leases)
      if (this.leases.get(taskId)?.lease.token !== token && !this.#begun.has(keyOf(taskId, token)))
        void this.#adopt(taskId, token);
  }

  #note(lease: string): void {
    this.#begun.add(lease);
    if (this.#begun.size > begunMax) for (const oldest of this.#begun) return void this.#begun.delete(oldest);
  }

  /** A lease that nobody told of: somebody assigned the task, or a claim's answer is late. */
  async #adopt(taskId: string, token: number): Promise<void> {
    const registration = this.#registrationCount;
    try {
      const task = await this.caller.call("task.get", { taskId });
      const { lease } = task;
      // By now it may be known, or over; what is on its way to its end is known.
      if (registration !== this.#registrationCount || task.state !== "running") return;
      if (lease?.token !== token || this.#begun.has(keyOf(taskId, token))) return;
      if (this.leases.size < this.credit) this.assigned({ task, lease });
      else this.#giveBack({ task, lease });
    } catch (error) {
      if (!isLeaseLost(error) && !isClosed(error)) this.told.error(error);
    }
  }

  /** True when the daemon has this worker no longer, or has it for gone: then it registers again. */
  #unknown(error: Error, registration: number): boolean {
    if (!(error instanceof CortexError)) return false;
    // It was asked before the worker registered anew.
    if (registration !== this.#registrationCount) return false;
    const isGone = error.code === "worker-offline" || error.code === "unknown-worker";
    if (isGone && !this.#left) this.welcomed();
    else if (error.code === "worker-id-in-use") {
      this.#clearTimers();
      this.#refused(error);
    } else return isGone;
    return true;
  }

  #clearTimers(): void {
    const { environment } = this.caller;
    for (const timer of [this.#timer, this.#claimTimer, this.#beatTimer, this.#acknowledgeTimer])
      if (timer !== null) environment.clearTimer(timer);
    this.#timer = null;
    this.#claimTimer = null;
    this.#beatTimer = null;
    this.#acknowledgeTimer = null;
  }
}

const keyOf = (taskId: string, token: number) => `${taskId} ${token}`;
/** The task is not ours any more, or there is no such task: either way, nothing that is left to do for it. */
export const isLeaseLost = (error: unknown): error is CortexError =>
  error instanceof CortexError && (error.code === "lease-lost" || error.code === "unknown-task");
const ignore = () => {};
