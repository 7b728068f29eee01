/**
 * The client: one session with the daemon, one method an operation, and events. With a `workerId` it is a worker
 * as well: it registers on every connection and keeps its leases over reconnects. It owns no protocol (that is
 * connection.ts) and no socket (that is the transport it was given).
 */
import type { EventMessage } from "../src/wire/frames.ts";
import type { Input, Output, RoutedOperationName } from "../src/wire/operations.ts";
import type {
  GroupPage,
  Limit,
  LimitPage,
  LimitSettings,
  PauseOptions,
  Queue,
  QueuePage,
  QueueSettings,
} from "../src/wire/queues.ts";
import type { State, Welcome } from "../src/wire/state.ts";
import type { Stats } from "../src/wire/stats.ts";
import type { LeaseView, TaskError, TaskStanding, TaskSubmit, TaskSubmitted } from "../src/wire/tasks.ts";
import { assignmentOf } from "../src/wire/tasks.ts";
import type { Worker } from "../src/wire/workers.ts";
import { Bulk } from "./bulk.ts";
import {
  type CallOptions,
  Session,
  type SessionOptions,
  type SessionState,
  type Transports,
} from "./connection.ts";
import { Elections } from "./elections.ts";
import { ClientError, isRefused } from "./errors.ts";
import { Emitter } from "./events.ts";
import { Graph } from "./graphs.ts";
import { httpRequests, type TransportChoice } from "./http.ts";
import { iterate, pagesOf } from "./iterate.ts";
import { WatchedKv } from "./kv.ts";
import { Holdings, type LockCaller, Locks } from "./locks.ts";
import { Schedules } from "./schedules.ts";
import { type Gap, iterateWatch, type WatchEvent, Watches, type WatchFilter } from "./state.ts";
import { StatsReaders } from "./stats.ts";
import { LastingSubscriptions, Subscriptions } from "./subscriptions.ts";
import {
  requested,
  Submitted,
  type SubmittedAll,
  submitted,
  TaskHandle,
  type TaskRequestOptions,
} from "./tasks.ts";
import { Messages, Topics } from "./topics.ts";
import { type Transacting, transacting } from "./transactions.ts";
import { type Environment, machine, type Transport, type TransportName, webSocket } from "./transport.ts";
import { type Submission, TaskType } from "./types.ts";
import {
  type AssignedTask,
  type FailOptions,
  isLeaseLost,
  type LostReason,
  Registration,
  type WorkerOptions,
} from "./workers.ts";

export type ClientOptions = Partial<Omit<SessionOptions, "client">> & {
  /**
   * auto: the WebSocket and, where it cannot be had, HTTP until it can. Or one of them alone; or what is to take
   * their places. Default auto.
   */
  transport?: TransportChoice | Transport | Transports | undefined;
  /** Given: this client is a worker, and tasks are pushed to it. */
  workerId?: string | undefined;
  kind?: WorkerOptions["kind"];
  queues?: WorkerOptions["queues"];
  capabilities?: WorkerOptions["capabilities"];
  labels?: WorkerOptions["labels"];
  capacity?: WorkerOptions["capacity"];
  /** Name and version of the program, for the daemon's log. */
  client?: string | undefined;
  environment?: Environment;
};

/** What follows the type in a submit; the payload may be left out where nothing is one. */
export type SubmitArguments<G> = undefined extends G
  ? [payload?: G, submission?: Submission, options?: CallOptions]
  : [payload: G, submission?: Submission, options?: CallOptions];

export type ClientEvents = {
  /** A task was leased to this worker. */
  task_assigned: AssignedTask;
  /** A lease ended before its work did; the task's signal is aborted. */
  task_aborted: { task: AssignedTask; reason: LostReason; detail: string };
  /**
   * The greeting, and the registration of a worker, were answered: on every new connection. Over HTTP nothing is
   * pushed: a worker claims, and watches pause; they are told a gap when the WebSocket is back.
   */
  connected: Welcome & { transport: TransportName };
  disconnected: { detail: string };
  reconnecting: { attempt: number; delayMs: number };
  /** The client is of no more use. */
  closed: { error: Error };
  /** Any change of any task, worker, schedule, key or lock; the watch begins with the first listener and ends with the last. */
  change: Extract<WatchEvent, { event: "change" }>;
  /** Changes were missed by the listeners of "change". */
  gap: Gap;
  /** What nobody else was told of. Without a listener it is thrown as uncaught. */
  error: unknown;
};

export type StatsOptions = {
  /** How much of the time before. Default 0. */
  historyMs?: number;
  signal?: AbortSignal;
};

export const defaultUrl = "ws://127.0.0.1:9501";

export class CoordinationClient extends Emitter<ClientEvents> implements LockCaller {
  readonly environment: Environment;
  readonly workerId: string | null;
  readonly schedules: Schedules = new Schedules(this);
  readonly kv: WatchedKv = new WatchedKv(this, (filter, options) => this.watch(filter, options));
  /** The locks that this client holds. */
  readonly holdings: Holdings = new Holdings(this, () => this.#registration);
  readonly locks: Locks = new Locks(this);
  readonly elections: Elections = new Elections(this, (filter, options) => this.watch(filter, options));
  /** Many tasks at once. */
  readonly bulk: Bulk = new Bulk(this);
  /** What is published to topics: publish, ask, listen. */
  readonly topics: Topics;
  /** To workers, and of this worker. */
  readonly messages: Messages;
  /** Those that last: look after them. */
  readonly subscriptions: LastingSubscriptions = new LastingSubscriptions(this);
  readonly #url: string;
  readonly #session: Session;
  readonly #watches: Watches;
  readonly #stats: StatsReaders;
  readonly #subscriptions: Subscriptions;
  readonly #registration: Registration | null;
  #waiting: { resolve(welcome: Welcome): void; reject(error: unknown): void }[] = [];
  #ready = false;
  #stopWatch: (() => void) | null = null;
  #detail = "not connected yet";
  #fatal: Error | null = null;

  constructor(options: ClientOptions = {}) {
    super();
    // An address alone would go unheard, and another daemon be spoken to.
    if (typeof options !== "object")
      throw new TypeError('a client takes an object of options, such as { url: "http://127.0.0.1:9500" }');
    this.environment = options.environment ?? machine;
    this.workerId = options.workerId ?? null;
    this.#url = options.url ?? defaultUrl;
    this.#session = new Session(
      { ...options, url: this.#url, client: options.client ?? "cortexd-client/1" },
      {
        welcomed: () => {
          this.#registration?.welcomed();
          this.#watches.welcomed();
          this.#stats.welcomed();
          this.#subscriptions.welcomed();
          this.holdings.welcomed();
        },
        event: (message) => this.#event(message),
        state: (state, detail) => this.#state(state, detail),
        retrying: (attempt, delayMs) => this.emit("reconnecting", { attempt, delayMs }),
        error: (error) => this.emit("error", error),
      },
      transportsOf(options.transport),
      this.environment,
    );
    this.#watches = new Watches(this.#session);
    this.#stats = new StatsReaders(this.#session);
    this.#subscriptions = new Subscriptions(this.#session, this);
    this.topics = new Topics(this, this.#subscriptions);
    this.messages = new Messages(this, this.#subscriptions);
    this.#registration = this.workerId === null ? null : this.#register(this.workerId, options);
  }

  // ------------------------------------------------------------------------------------------- connection

  /** The session's id, the same over all its connections. */
  get session(): string {
    return this.#session.id;
  }

  get state(): SessionState {
    return this.#session.state;
  }

  /** What carries the connection; null: there is none. */
  get transport(): TransportName | null {
    return this.#session.transport;
  }

  /** How long one request waits for a result: proxies end HTTP requests that are quiet for a minute. */
  get waitMs(): number {
    return this.#session.pushes ? 60_000 : 25_000;
  }

  /**
   * Connects, and registers the worker. It tries for as long as it takes unless `timeoutMs` or `signal` end it,
   * which closes the client; a refusal that would be the same the next time rejects at once.
   */
  connect({ timeoutMs, signal }: CallOptions = {}): Promise<Welcome> {
    if (this.#fatal !== null) return Promise.reject(this.#fatal);
    if (this.#ready) return Promise.resolve(this.#session.welcome as Welcome);
    return new Promise((resolve, reject) => {
      const timer =
        timeoutMs === undefined
          ? null
          : this.environment.setTimer(timeoutMs, () =>
              this.#close(
                new ClientError(
                  "timeout",
                  `no connection to ${this.#url} in ${timeoutMs} ms: ${this.#detail}`,
                ),
              ),
            );
      const aborted = () => this.#close(signal?.reason);
      const done = () => {
        if (timer !== null) this.environment.clearTimer(timer);
        signal?.removeEventListener("abort", aborted);
      };
      this.#waiting.push({
        resolve(welcome) {
          done();
          resolve(welcome);
        },
        reject(error) {
          done();
          reject(error);
        },
      });
      if (signal?.aborted) aborted();
      else {
        signal?.addEventListener("abort", aborted, { once: true });
        this.#session.start();
      }
    });
  }

  /** Ends the connection at once; what has no answer yet is rejected. A worker's leases are left to run out. */
  close(): void {
    this.#subscriptions.leave();
    this.#close(new ClientError("closed", "the client was closed"));
  }

  // ------------------------------------------------------------------------------------------------ tasks

  /** Any operation by its name. */
  call<N extends RoutedOperationName>(op: N, input: Input<N>, options?: CallOptions): Promise<Output<N>> {
    return this.#session.call(op, input, options);
  }

  /** A payload that does not fit its type rejects with `Invalid`, and nothing is submitted. */
  submit<G, R>(type: TaskType<G, unknown, never, R>, ...given: SubmitArguments<G>): Submitted<R>;
  submit(task: TaskSubmit, options?: CallOptions): Submitted;
  submit(tasks: TaskSubmit[], options?: CallOptions): SubmittedAll;
  submit(
    input: TaskSubmit | TaskSubmit[] | TaskType,
    ...more: [options?: CallOptions] | SubmitArguments<unknown>
  ): Submitted | SubmittedAll {
    if (input instanceof TaskType) return this.#submit(input, ...(more as SubmitArguments<unknown>));
    const [options] = more as [CallOptions?];
    return submitted(this, input, this.#session.call("task.submit", input, options));
  }

  #submit(type: TaskType, payload?: unknown, submission?: Submission, options?: CallOptions): Submitted {
    const submit = () =>
      this.#session.call("task.submit", type.with(payload, submission), options) as Promise<TaskSubmitted>;
    return new Submitted(
      this,
      after(() => type.checkPayload(payload ?? null), submit),
      type.checkResult,
    );
  }

  /**
   * Submits a task and waits for its result; rejects with `TaskFailed` when it ends without one. After `timeoutMs`, or
   * when `signal` aborts, the task is cancelled.
   */
  request<G, R>(type: TaskType<G, unknown, never, R>, payload: G, options?: TaskRequestOptions): Promise<R>;
  request<R = unknown>(type: string, payload?: unknown, options?: TaskRequestOptions): Promise<R>;
  request(type: string | TaskType, payload?: unknown, options: TaskRequestOptions = {}): Promise<unknown> {
    if (typeof type === "string") return requested(this, { type, payload }, options);
    const asked = () => requested(this, type.with(payload, options.submit), options);
    return after(() => type.checkPayload(payload ?? null), asked).then(type.checkResult);
  }

  /** Several operations, all or nothing, where what is asked of keys, tasks and locks holds. */
  readonly transaction: Transacting = transacting(this);

  /** Tasks that wait for each other, to be submitted together. */
  graph(): Graph {
    return new Graph(this);
  }

  /** One task by its id. */
  task(id: string): TaskHandle {
    return new TaskHandle(this, id);
  }

  tasks(filter: Input<"task.list"> = {}, options?: CallOptions): Promise<Output<"task.list">> {
    return this.call("task.list", filter, options);
  }

  /** A page of the tasks that have ended and left memory, newest end first. */
  archived(filter: Input<"archive.list"> = {}, options?: CallOptions): Promise<Output<"archive.list">> {
    return this.call("archive.list", filter, options);
  }

  // -------------------------------------------------------------------------------- the tasks of this worker

  /** The leases this client holds. */
  get held(): AssignedTask[] {
    return this.#registration === null ? [] : [...this.#registration.leases.values()];
  }

  async complete(taskId: string, result?: unknown): Promise<TaskStanding> {
    return this.#held(taskId).complete(result);
  }
  async fail(taskId: string, error: string | TaskError, options?: FailOptions): Promise<TaskStanding> {
    return this.#held(taskId).fail(error, options);
  }
  async release(taskId: string): Promise<TaskStanding> {
    return this.#held(taskId).release();
  }
  async extend(taskId: string, leaseMs?: number): Promise<LeaseView> {
    return this.#held(taskId).extend(leaseMs);
  }
  progress(taskId: string, value: unknown): void {
    this.#held(taskId).progress(value);
  }

  /** How many tasks this worker holds by push from now on; 0: it gets no more. Never more than its capacity. */
  credit(count: number): void {
    this.#registration?.setCredit(count);
  }

  /** Leaves as a worker; what it holds goes back to its queue. */
  async unregister(options?: CallOptions): Promise<Output<"worker.unregister">> {
    if (this.workerId === null) throw new ClientError("not-held", "this client is no worker");
    this.#registration?.leave();
    return this.call("worker.unregister", { workerId: this.workerId }, options);
  }

  // ------------------------------------------------------------------------------ workers, queues, the state

  worker(workerId: string, options?: CallOptions): Promise<Worker> {
    return this.call("worker.get", { workerId }, options);
  }
  workers(filter: Input<"worker.list"> = {}, options?: CallOptions): Promise<Output<"worker.list">> {
    return this.call("worker.list", filter, options);
  }
  /** Gives a worker no new tasks, or takes that back. */
  drain(workerId: string, drain = true, options?: CallOptions): Promise<Worker> {
    return this.call("worker.drain", { workerId, drain }, options);
  }
  /** A page of the queues, by name. */
  queues(page: Input<"queue.list"> = {}, options?: CallOptions): Promise<QueuePage> {
    return this.call("queue.list", page, options);
  }
  /** All queues whose names begin so, page by page as the loop goes on. */
  async *allQueues(prefix = "", options?: CallOptions): AsyncGenerator<Queue> {
    for await (const { queues } of pagesOf((from) => this.queues({ prefix, ...from }, options)))
      yield* queues;
  }
  queue(name: string, options?: CallOptions): Promise<Queue> {
    return this.call("queue.get", { queue: name }, options);
  }
  /** The groups of a queue that have ready or running tasks. */
  groups(
    queue: string,
    page: Omit<Input<"queue.groups">, "queue"> = {},
    options?: CallOptions,
  ): Promise<GroupPage> {
    return this.call("queue.groups", { ...page, queue }, options);
  }
  /** Sets what is given; null resets a setting, what is left out stays. */
  configure(queue: string, settings: QueueSettings, options?: CallOptions): Promise<Queue> {
    return this.call("queue.configure", { ...settings, queue }, options);
  }
  /** Starts no more tasks of the queue, or of one group; with `forMs` for so long. */
  pause(queue: string, how: PauseOptions = {}, options?: CallOptions): Promise<Queue> {
    return this.call("queue.pause", { ...how, queue }, options);
  }
  resume(queue: string, group?: string, options?: CallOptions): Promise<Queue> {
    return this.call("queue.resume", group === undefined ? { queue } : { queue, group }, options);
  }
  /** A page of the named limits, by name. */
  limits(page: Input<"limit.list"> = {}, options?: CallOptions): Promise<LimitPage> {
    return this.call("limit.list", page, options);
  }
  /** All named limits whose names begin so, page by page as the loop goes on. */
  async *allLimits(prefix = "", options?: CallOptions): AsyncGenerator<Limit> {
    for await (const { limits } of pagesOf((from) => this.limits({ prefix, ...from }, options)))
      yield* limits;
  }
  limit(name: string, options?: CallOptions): Promise<Limit> {
    return this.call("limit.get", { name }, options);
  }
  /** Sets a named limit, which holds over queues for all tasks that name it. */
  putLimit(name: string, limit: LimitSettings, options?: CallOptions): Promise<Limit> {
    return this.call("limit.put", { ...limit, name }, options);
  }
  deleteLimit(name: string, options?: CallOptions): Promise<Output<"limit.delete">> {
    return this.call("limit.delete", { name }, options);
  }
  getState(options?: CallOptions): Promise<State> {
    return this.call("state.get", {}, options);
  }

  /** The daemon's namespaces; this client stays in its own. */
  get namespaces() {
    return {
      list: (options?: CallOptions) => this.call("namespace.list", {}, options),
      create: (namespace: string, options?: CallOptions) =>
        this.call("namespace.create", { namespace }, options),
      /** Gone for good, with all that is in it. Never repeated: a lost answer rejects with `outcome-unknown`. */
      drop: (namespace: string, options?: CallOptions) => this.call("namespace.drop", { namespace }, options),
    };
  }

  /** Every change that fits, for as long as the loop runs; a gap says that changes were missed. */
  watch(
    filter: WatchFilter = {},
    { signal }: { signal?: AbortSignal } = {},
  ): AsyncIterableIterator<WatchEvent> {
    return iterateWatch(this.#watches, filter, signal);
  }

  /**
   * The namespace's figures, a sample a second, for as long as the loop runs. With `historyMs` those of so long ago come
   * first, the older ones several in one: `overMs` says over how long a sample counts. A slow reader gets the newest.
   */
  stats({ historyMs = 0, signal }: StatsOptions = {}): AsyncIterableIterator<Stats> {
    return iterate(
      (told, failed) => this.#stats.start(historyMs, told, failed),
      (waiting) => waiting.at(-1) as Stats,
      signal,
    );
  }

  override on<E extends keyof ClientEvents>(event: E, listener: (value: ClientEvents[E]) => unknown): this {
    super.on(event, listener);
    if (event === "change" && this.#stopWatch === null)
      this.#stopWatch = this.#watches.start(
        {},
        (told) => (told.event === "gap" ? this.emit("gap", told) : this.emit("change", told)),
        (error) => {
          this.#stopWatch = null;
          if (this.#fatal === null) this.emit("error", error);
        },
      );
    return this;
  }

  override off<E extends keyof ClientEvents>(event: E, listener: (value: ClientEvents[E]) => unknown): this {
    super.off(event, listener);
    if (event === "change" && !this.listens("change")) {
      this.#stopWatch?.();
      this.#stopWatch = null;
    }
    return this;
  }

  /** Hands what nobody else was told of to the "error" listeners. */
  tell(error: unknown): void {
    this.emit("error", error);
  }

  // --------------------------------------------------------------------------------------------- inside

  protected override failed(event: keyof ClientEvents, error: unknown): void {
    // A handler that awaits its completion meets the lost lease here; "task_aborted" has told it.
    if (event === "task_assigned" && isLeaseLost(error)) return;
    super.failed(event, error);
  }

  #register(workerId: string, options: ClientOptions): Registration {
    const worker: WorkerOptions = { workerId };
    if (options.kind !== undefined) worker.kind = options.kind;
    if (options.queues !== undefined) worker.queues = options.queues;
    if (options.capabilities !== undefined) worker.capabilities = options.capabilities;
    if (options.labels !== undefined) worker.labels = options.labels;
    if (options.capacity !== undefined) worker.capacity = options.capacity;
    return new Registration(worker, this, this.#session, {
      assigned: (task) => this.emit("task_assigned", task),
      aborted: (task, reason, detail) => this.emit("task_aborted", { task, reason, detail }),
      registered: () => this.#connected(),
      refused: (error, retryInMs) => this.#refused(error, retryInMs),
      error: (error) => this.emit("error", error),
    });
  }

  #refused(error: Error, retryInMs: number | null): void {
    const first = this.#registration?.answer === null;
    const taken = isRefused(error, "worker-id-in-use");
    this.#detail = error.message;
    if (first && (taken || retryInMs === null)) this.#close(error);
    else if (!first || retryInMs === null) this.emit("error", error);
  }

  #held(taskId: string): AssignedTask {
    const held = this.#registration?.leases.get(taskId);
    if (held === undefined) throw new ClientError("not-held", `this client holds no lease of task ${taskId}`);
    return held;
  }

  #event(message: EventMessage): void {
    switch (message.event) {
      case "task.assigned":
        this.#registration?.assigned(assignmentOf(message));
        return;
      case "task.aborted":
        this.#registration?.aborted(message);
        return;
      case "lock.lost":
        this.holdings.event(message);
        return;
      case "change":
      case "gap":
      case "place":
        this.#watches.event(message);
        return;
      case "stats":
        this.#stats.event(message);
        return;
      case "message":
      case "messages.lost":
      case "subscription.ended":
        this.#subscriptions.event(message);
        return;
      // An event of a later daemon: nothing that this client asked for.
    }
  }

  #state(state: SessionState, detail: string): void {
    switch (state) {
      case "connected":
        if (this.#registration === null) this.#connected();
        return;
      case "disconnected":
        this.#ready = false;
        this.#detail = detail;
        this.emit("disconnected", { detail });
        return;
      case "closed":
        this.#ready = false;
        this.#ended(detail);
        return;
    }
  }

  #connected(): void {
    const welcome = this.#session.welcome as Welcome;
    this.#ready = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const waiter of waiting) waiter.resolve(welcome);
    this.emit("connected", { ...welcome, transport: this.transport as TransportName });
  }

  #close(error: Error): void {
    this.#fatal ??= error;
    this.#session.close(error);
  }

  #ended(detail: string): void {
    const error = this.#fatal ?? this.#session.closedBy ?? new ClientError("closed", detail);
    this.#fatal = error;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const waiter of waiting) waiter.reject(error);
    this.#registration?.close();
    this.#watches.closed(error);
    this.#stats.closed(error);
    this.#subscriptions.closed(error);
    this.holdings.closed(error);
    this.emit("closed", { error });
  }
}

/** What is to be done once a check has passed: at once where that did not wait, so that calls keep their order. */
function after<T>(check: () => unknown, next: () => Promise<T>): Promise<T> {
  try {
    const checked = check();
    return checked instanceof Promise ? checked.then(next) : next();
  } catch (error) {
    return Promise.reject(error);
  }
}

function transportsOf(choice: ClientOptions["transport"] = "auto"): Transports {
  if (typeof choice === "object") return "connect" in choice ? { websocket: choice } : choice;
  const transports: Transports = {};
  // Node has none before version 22.
  const hasWebSocket = typeof WebSocket !== "undefined";
  if (choice === "websocket" || (choice === "auto" && hasWebSocket)) transports.websocket = webSocket;
  if (choice !== "websocket") transports.http = httpRequests;
  return transports;
}
