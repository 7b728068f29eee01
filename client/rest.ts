/**
 * The typed REST client. Inside it is Eden, which knows the routes by the type of the daemon's HTTP app, so that a
 * wrong field or path does not compile; outside it is these methods, because Eden itself turns texts that look
 * like dates into dates, leaves names in paths as they are, and gives back errors that look like answers.
 */
import { treaty } from "@elysiajs/eden";
import type { App } from "../src/http/app.ts";
import type { TasksChanged, TasksCompleted } from "../src/wire/bulk.ts";
import { type Problem, problem } from "../src/wire/errors.ts";
import { type Fence, fenceHeader, fenceText } from "../src/wire/fences.ts";
import type { MetricsView, ReadyView } from "../src/wire/http.ts";
import type { Counter, Key, KeyPage, KeyStanding } from "../src/wire/kv.ts";
import type { Lock, LockPage } from "../src/wire/locks.ts";
import type { MessagePage } from "../src/wire/messages.ts";
import type { Input, Output } from "../src/wire/operations.ts";
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
import type { Schedule, ScheduleShown } from "../src/wire/schedules.ts";
import type { HealthView, State } from "../src/wire/state.ts";
import type { Stats } from "../src/wire/stats.ts";
import type { SubscriptionPage, SubscriptionView } from "../src/wire/subscriptions.ts";
import type {
  LeaseView,
  Task,
  TaskLogLines,
  TaskShown,
  TaskStanding,
  TaskSubmit,
  TaskSubmitted,
} from "../src/wire/tasks.ts";
import type { TopicPage, TopicView } from "../src/wire/topics.ts";
import type { TaskExplained } from "../src/wire/why.ts";
import type { Worker } from "../src/wire/workers.ts";
import { ClientError, CortexError } from "./errors.ts";

export type RestOptions = {
  url?: string;
  token?: string | undefined;
  namespace?: string | undefined;
  fetch?: typeof fetch;
};

export type RequestOptions = {
  signal?: AbortSignal | undefined;
  /** A request repeated under the same key is carried out once and gets the same answer. */
  idempotencyKey?: string | undefined;
  /** Of a change: only while this lease or lock stands; else it rejects with `fence-lost`. */
  if?: Fence | undefined;
};

export const defaultHttpUrl = "http://127.0.0.1:9500";

type Response<T> = Promise<{ data: T; error: { status: unknown; value: unknown } | null }>;
/** What a lease is named by, where the path names the task. */
type Held = { workerId: string; token: number };

export class RestClient {
  readonly #api: ReturnType<typeof treaty<App>>;

  constructor({ url = defaultHttpUrl, token, namespace, fetch: fetcher }: RestOptions = {}) {
    const headers: Record<string, string> = {};
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (namespace !== undefined) headers["cortex-namespace"] = namespace;
    this.#api = treaty<App>(url, {
      parseDate: false,
      headers,
      ...(fetcher === undefined ? {} : { fetcher }),
    });
  }

  health(options?: RequestOptions): Promise<HealthView> {
    return answer(this.#api.health.get(request(options)));
  }
  /** Whether work may be sent, and why not. */
  async ready(options?: RequestOptions): Promise<ReadyView> {
    const { data, error } = await this.#api.ready.get(request(options));
    const value = data ?? error?.value;
    if (typeof value === "object" && value !== null && "ready" in value) return value as ReadyView;
    throw refusal(error);
  }
  metrics(options?: RequestOptions): Promise<MetricsView> {
    return answer(this.#api.api.metrics.get(request(options)));
  }
  /** The newest figures of the namespace; with `historyMs` those of so long ago too, oldest first. */
  async stats({ historyMs, ...options }: RequestOptions & { historyMs?: number } = {}): Promise<Stats[]> {
    const query = historyMs === undefined ? {} : { historyMs };
    return (await answer(this.#api.api.stats.get({ query, ...request(options) }))).samples;
  }
  state(options?: RequestOptions): Promise<State> {
    return answer(this.#api.api.state.get({ query: {}, ...request(options) })) as Promise<State>;
  }
  queues(page: Input<"queue.list"> = {}, options?: RequestOptions): Promise<QueuePage> {
    return answer(this.#api.api.queues.get({ query: page, ...request(options) }));
  }

  // ----------------------------------------------------------------------------------- queues and limits

  queue(name: string, options?: RequestOptions): Promise<Queue> {
    return answer(this.#queue(name).get(request(options)));
  }
  groups(
    queue: string,
    page: Omit<Input<"queue.groups">, "queue"> = {},
    options?: RequestOptions,
  ): Promise<GroupPage> {
    return answer(this.#queue(queue).groups.get({ query: page, ...request(options) }));
  }
  configure(queue: string, settings: QueueSettings, options?: RequestOptions): Promise<Queue> {
    return answer(this.#queue(queue).patch(settings, request(options)));
  }
  pause(queue: string, how: PauseOptions = {}, options?: RequestOptions): Promise<Queue> {
    return answer(this.#queue(queue).pause.post(how, request(options)));
  }
  resume(queue: string, group?: string, options?: RequestOptions): Promise<Queue> {
    return answer(this.#queue(queue).resume.post(group === undefined ? {} : { group }, request(options)));
  }
  limits(page: Input<"limit.list"> = {}, options?: RequestOptions): Promise<LimitPage> {
    return answer(this.#api.api.limits.get({ query: page, ...request(options) }));
  }
  limit(name: string, options?: RequestOptions): Promise<Limit> {
    return answer(this.#limit(name).get(request(options)));
  }
  putLimit(name: string, limit: LimitSettings, options?: RequestOptions): Promise<Limit> {
    return answer(this.#limit(name).put(limit, request(options)));
  }
  deleteLimit(name: string, options?: RequestOptions): Promise<Output<"limit.delete">> {
    return answer(this.#limit(name).delete(undefined, request(options)));
  }

  // ----------------------------------------------------------------------------------------- transactions

  /** Several operations, all or nothing. */
  transaction(input: Input<"transaction.run">, options?: RequestOptions): Promise<Output<"transaction.run">> {
    return answer(this.#api.api.transaction.post(input, request(options)));
  }

  // ------------------------------------------------------------------------------------------- namespaces

  namespaces(options?: RequestOptions): Promise<Output<"namespace.list">> {
    return answer(this.#api.api.namespaces.get(request(options)));
  }
  createNamespace(namespace: string, options?: RequestOptions): Promise<Output<"namespace.create">> {
    return answer(this.#api.api.namespaces.post({ namespace }, request(options)));
  }
  /** Gone for good, with all that is in it. Not to be repeated blindly. */
  dropNamespace(namespace: string, options?: RequestOptions): Promise<Output<"namespace.drop">> {
    const name = part(namespace);
    return answer(this.#api.api.namespaces({ name }).delete(undefined, request(options)));
  }

  // ------------------------------------------------------------------------------------------------ tasks

  /** A duplicate of a task that is kept no more answers with what is known of it. */
  submit(task: TaskSubmit, options?: RequestOptions): Promise<Task | TaskSubmitted>;
  submit(tasks: TaskSubmit[], options?: RequestOptions): Promise<(Task | TaskSubmitted)[]>;
  submit(
    input: TaskSubmit | TaskSubmit[],
    options?: RequestOptions,
  ): Promise<Task | TaskSubmitted | (Task | TaskSubmitted)[]> {
    return answer(this.#api.api.tasks.post(input, request(options)));
  }
  /** With `waitMs`, waits so long for the task's final state. */
  task(id: string, { waitMs, ...options }: RequestOptions & { waitMs?: number } = {}): Promise<TaskShown> {
    return answer(this.#task(id).get({ query: waitOf(waitMs), ...request(options) }));
  }
  tasks(filter: Input<"task.list"> = {}, options?: RequestOptions): Promise<Output<"task.list">> {
    return answer(this.#api.api.tasks.get({ query: filter, ...request(options) }));
  }
  /** A page of the tasks that have ended and left memory, newest end first. */
  archived(filter: Input<"archive.list"> = {}, options?: RequestOptions): Promise<Output<"archive.list">> {
    return answer(this.#api.api.archive.get({ query: filter, ...request(options) }));
  }
  /** A page of the log as history, oldest first. */
  history(filter: Input<"log.read"> = {}, options?: RequestOptions): Promise<Output<"log.read">> {
    return answer(this.#api.api.log.get({ query: filter, ...request(options) }));
  }
  /** For up to a hundred thousand tasks that wait for each other; answers their ids alone. */
  submitGraph(tasks: TaskSubmit[], options?: RequestOptions): Promise<Output<"graph.submit">> {
    return answer(this.#api.api.graphs.post({ tasks }, request(options)));
  }
  close(id: string, options?: RequestOptions): Promise<TaskStanding> {
    return answer(this.#task(id).close.post(undefined, request(options)));
  }
  /** Why a task is not running. */
  explain(id: string, options?: RequestOptions): Promise<TaskExplained> {
    return answer(this.#task(id).explain.get(request(options)));
  }
  dependencies(
    id: string,
    page: Omit<Input<"task.dependencies">, "taskId"> = {},
    options?: RequestOptions,
  ): Promise<Output<"task.dependencies">> {
    return answer(this.#task(id).dependencies.get({ query: page, ...request(options) }));
  }
  wait(id: string, held: Held, options?: RequestOptions): Promise<TaskStanding> {
    return answer(this.#task(id).wait.post(held, request(options)));
  }
  cancel(
    id: string,
    reason?: string,
    { cascade, ...options }: RequestOptions & { cascade?: boolean } = {},
  ): Promise<TaskStanding> {
    const query = { ...(reason !== undefined && { reason }), ...(cascade !== undefined && { cascade }) };
    return answer(this.#task(id).delete(undefined, { query, ...request(options) }));
  }
  retry(
    id: string,
    { cascade, ...options }: RequestOptions & { cascade?: boolean } = {},
  ): Promise<TaskStanding> {
    const body = cascade === undefined ? undefined : { cascade };
    return answer(this.#task(id).retry.post(body, request(options)));
  }
  /** By the route for many: the client inside takes a path that ends in `delete` for the method. */
  async delete(id: string, options?: RequestOptions): Promise<Output<"task.delete">> {
    await this.deleteMany({ taskIds: [id], atomic: true }, options);
    return { id };
  }
  move(
    id: string,
    to: Pick<Input<"task.move">, "queue" | "priority">,
    options?: RequestOptions,
  ): Promise<TaskStanding> {
    return answer(this.#task(id).move.post(to, request(options)));
  }
  /** One transaction; what it answers says where the next one goes on. */
  cancelMany(input: Input<"task.cancelMany">, options?: RequestOptions): Promise<TasksChanged> {
    return answer(this.#api.api.tasks["cancel-many"].post(input, request(options)));
  }
  retryMany(input: Input<"task.retryMany">, options?: RequestOptions): Promise<TasksChanged> {
    return answer(this.#api.api.tasks["retry-many"].post(input, request(options)));
  }
  deleteMany(input: Input<"task.deleteMany">, options?: RequestOptions): Promise<TasksChanged> {
    return answer(this.#api.api.tasks["delete-many"].post(input, request(options)));
  }
  moveMany(input: Input<"task.moveMany">, options?: RequestOptions): Promise<TasksChanged> {
    return answer(this.#api.api.tasks["move-many"].post(input, request(options)));
  }
  completeMany(input: Input<"task.completeMany">, options?: RequestOptions): Promise<TasksCompleted> {
    return answer(this.#api.api.tasks["complete-many"].post(input, request(options)));
  }
  assign(input: Input<"task.assign">, options?: RequestOptions): Promise<Output<"task.assign">> {
    return answer(this.#api.api.tasks.assign.post(input, request(options)));
  }
  claim(input: Input<"task.claim">, options?: RequestOptions): Promise<Output<"task.claim">> {
    return answer(this.#api.api.tasks.claim.post(input, { query: {}, ...request(options) }));
  }
  complete(input: Input<"task.complete">, options?: RequestOptions): Promise<TaskStanding> {
    return answer(this.#api.api.tasks.complete.post(input, request(options)));
  }
  fail(input: Input<"task.fail">, options?: RequestOptions): Promise<TaskStanding> {
    return answer(this.#api.api.tasks.fail.post(input, request(options)));
  }
  release(id: string, held: Held, options?: RequestOptions): Promise<TaskStanding> {
    return answer(this.#task(id).release.post(held, request(options)));
  }
  log(id: string, held: Held & { lines: string[] }, options?: RequestOptions): Promise<Output<"task.log">> {
    return answer(this.#task(id).log.post(held, request(options)));
  }
  /** With `waitMs`, waits so long for a line from `from` on, or for the end of the task. */
  logs(
    id: string,
    { from, limit, waitMs, ...options }: RequestOptions & Omit<Input<"task.logs">, "taskId"> = {},
  ): Promise<TaskLogLines> {
    const query = {
      ...(from === undefined ? {} : { from }),
      ...(limit === undefined ? {} : { limit }),
      ...waitOf(waitMs),
    };
    return answer(this.#task(id).logs.get({ query, ...request(options) }));
  }
  snooze(
    id: string,
    held: Held & { forMs?: number; until?: number },
    options?: RequestOptions,
  ): Promise<TaskStanding> {
    return answer(this.#task(id).snooze.post(held, request(options)));
  }
  extend(id: string, held: Held & { leaseMs?: number }, options?: RequestOptions): Promise<LeaseView> {
    return answer(this.#task(id).extend.post(held, request(options)));
  }
  progress(id: string, held: Held & { progress: unknown }, options?: RequestOptions): Promise<TaskStanding> {
    return answer(this.#task(id).progress.post(held, request(options)));
  }

  // ---------------------------------------------------------------------------------------------- workers

  workers(filter: Input<"worker.list"> = {}, options?: RequestOptions): Promise<Output<"worker.list">> {
    return answer(this.#api.api.workers.get({ query: filter, ...request(options) }));
  }
  worker(id: string, options?: RequestOptions): Promise<Worker> {
    return answer(this.#worker(id).get(request(options)));
  }
  drain(id: string, drain = true, options?: RequestOptions): Promise<Worker> {
    return answer(this.#worker(id).drain.post({ drain }, request(options)));
  }
  register(input: Input<"worker.register">, options?: RequestOptions): Promise<Output<"worker.register">> {
    return answer(this.#api.api.workers.register.post(input, request(options)));
  }
  unregister(
    input: Input<"worker.unregister">,
    options?: RequestOptions,
  ): Promise<Output<"worker.unregister">> {
    return answer(this.#api.api.workers.unregister.post(input, request(options)));
  }
  heartbeat(input: Input<"worker.heartbeat">, options?: RequestOptions): Promise<Output<"worker.heartbeat">> {
    return answer(this.#api.api.workers.heartbeat.post(input, request(options)));
  }

  // -------------------------------------------------------------------------------------------- schedules

  readonly schedules = {
    put: ({ name, ...schedule }: Input<"schedule.put">, options?: RequestOptions): Promise<Schedule> =>
      answer(this.#schedule(name).put(schedule, request(options))),
    get: (
      name: string,
      { count, ...options }: RequestOptions & { count?: number } = {},
    ): Promise<ScheduleShown> =>
      answer(this.#schedule(name).get({ query: count === undefined ? {} : { count }, ...request(options) })),
    list: (filter: Input<"schedule.list"> = {}, options?: RequestOptions): Promise<Output<"schedule.list">> =>
      answer(this.#api.api.schedules.get({ query: filter, ...request(options) })),
    delete: (
      name: string,
      { ifRevision, ...options }: RequestOptions & { ifRevision?: number } = {},
    ): Promise<Output<"schedule.delete">> =>
      answer(
        this.#schedule(name).delete(undefined, {
          query: ifRevision === undefined ? {} : { ifRevision },
          ...request(options),
        }),
      ),
    pause: (name: string, options?: RequestOptions): Promise<Schedule> =>
      answer(this.#schedule(name).pause.post(undefined, request(options))),
    resume: (name: string, options?: RequestOptions): Promise<Schedule> =>
      answer(this.#schedule(name).resume.post(undefined, request(options))),
    run: (name: string, options?: RequestOptions): Promise<Output<"schedule.run">> =>
      answer(this.#schedule(name).run.post(undefined, request(options))),
    preview: (
      input: Input<"schedule.preview">,
      options?: RequestOptions,
    ): Promise<Output<"schedule.preview">> =>
      answer(this.#api.api.schedules.preview.post(input, request(options))),
  };

  // ------------------------------------------------------------------------------------------------- keys

  readonly kv = {
    get: (key: string, options?: RequestOptions): Promise<Key> =>
      answer(this.#key(key).get(request(options))) as Promise<Key>,
    getMany: (keys: string[], options?: RequestOptions): Promise<Output<"kv.getMany">> =>
      answer(this.#api.api.kv.many.post({ keys }, request(options))),
    list: (page: Input<"kv.list"> = {}, options?: RequestOptions): Promise<KeyPage> =>
      answer(this.#api.api.kv.get({ query: page, ...request(options) })),
    put: ({ key, ...put }: Input<"kv.put">, options?: RequestOptions): Promise<KeyStanding> =>
      answer(this.#key(key).put(put, request(options))),
    delete: ({ key, ...query }: Input<"kv.delete">, options?: RequestOptions): Promise<Output<"kv.delete">> =>
      answer(this.#key(key).delete(undefined, { query, ...request(options) })),
    increment: ({ key, ...by }: Input<"kv.increment">, options?: RequestOptions): Promise<Counter> =>
      answer(this.#key(key).increment.post(by, request(options))),
  };

  // --------------------------------------------------------------------------------------------- messages

  readonly messages = {
    publish: (
      input: Input<"message.publish">,
      options?: RequestOptions,
    ): Promise<Output<"message.publish">> => answer(this.#api.api.messages.post(input, request(options))),
    list: (page: Input<"message.list"> = {}, options?: RequestOptions): Promise<MessagePage> =>
      answer(this.#api.api.messages.get({ query: page, ...request(options) })) as Promise<MessagePage>,
    /** Waits for the first as long as `waitMs` says. */
    receive: (
      input: Input<"message.receive">,
      options?: RequestOptions,
    ): Promise<Output<"message.receive">> =>
      answer(this.#api.api.messages.receive.post(input, request(options))) as Promise<
        Output<"message.receive">
      >,
    ack: (input: Input<"message.ack">, options?: RequestOptions): Promise<Output<"message.ack">> =>
      answer(this.#api.api.messages.ack.post(input, request(options))),
    ackMany: (
      input: Input<"message.ackMany">,
      options?: RequestOptions,
    ): Promise<Output<"message.ackMany">> =>
      answer(this.#api.api.messages["ack-many"].post(input, request(options))),
    nack: (input: Input<"message.nack">, options?: RequestOptions): Promise<Output<"message.nack">> =>
      answer(this.#api.api.messages.nack.post(input, request(options))),
    extend: (input: Input<"message.extend">, options?: RequestOptions): Promise<Output<"message.extend">> =>
      answer(this.#api.api.messages.extend.post(input, request(options))),
    retry: (input: Input<"message.retry">, options?: RequestOptions): Promise<Output<"message.retry">> =>
      answer(this.#api.api.messages.retry.post(input, request(options))),
    emit: (input: Input<"message.emit">, options?: RequestOptions): Promise<Output<"message.emit">> =>
      answer(this.#api.api.messages.emit.post(input, request(options))),
    /** Waits for the reply as long as `waitMs` says. */
    request: (
      input: Input<"message.request">,
      options?: RequestOptions,
    ): Promise<Output<"message.request">> =>
      answer(this.#api.api.messages.request.post(input, request(options))) as Promise<
        Output<"message.request">
      >,
    reply: (input: Input<"message.reply">, options?: RequestOptions): Promise<Output<"message.reply">> =>
      answer(this.#api.api.messages.reply.post(input, request(options))),
  };

  readonly locks = {
    /** With `wait` (ms) it stands in line for so long and answers when it is held; else `lock-held`. */
    acquire: (
      input: Input<"lock.acquire">,
      { wait, ...options }: RequestOptions & { wait?: number } = {},
    ): Promise<Lock> =>
      answer(
        this.#api.api.locks.post(input, {
          query: waitOf(wait),
          ...request(options),
        }),
      ) as Promise<Lock>,
    /** With `waitMs`, waits so long for it to be held or gone. */
    get: (lockId: string, { waitMs, ...options }: RequestOptions & { waitMs?: number } = {}): Promise<Lock> =>
      answer(
        this.#lock(lockId).get({
          query: waitOf(waitMs),
          ...request(options),
        }),
      ) as Promise<Lock>,
    extend: (lockIds: string[], options?: RequestOptions): Promise<Output<"lock.extend">> =>
      answer(this.#api.api.locks.extend.post({ lockIds }, request(options))),
    release: (lockId: string, options?: RequestOptions): Promise<Output<"lock.release">> =>
      answer(this.#lock(lockId).delete(undefined, request(options))),
    steal: (input: Input<"lock.steal">, options?: RequestOptions): Promise<Output<"lock.steal">> =>
      answer(this.#api.api.locks.steal.post(input, request(options))),
    list: (page: Input<"lock.list"> = {}, options?: RequestOptions): Promise<LockPage> =>
      answer(this.#api.api.locks.get({ query: page, ...request(options) })) as Promise<LockPage>,
  };

  #lock(id: string) {
    return this.#api.api.locks({ id: part(id) });
  }
  readonly subscriptions = {
    put: ({ name, ...put }: Input<"subscription.put">, options?: RequestOptions): Promise<SubscriptionView> =>
      answer(this.#subscription(name).put(put, request(options))),
    get: (name: string, options?: RequestOptions): Promise<SubscriptionView> =>
      answer(this.#subscription(name).get(request(options))),
    list: (page: Input<"subscription.list"> = {}, options?: RequestOptions): Promise<SubscriptionPage> =>
      answer(this.#api.api.subscriptions.get({ query: page, ...request(options) })),
    delete: (name: string, options?: RequestOptions): Promise<Output<"subscription.delete">> =>
      answer(this.#subscription(name).delete(undefined, request(options))),
  };

  readonly topics = {
    put: ({ topic, ...put }: Input<"topic.put">, options?: RequestOptions): Promise<TopicView> =>
      answer(this.#topic(topic).put(put, request(options))),
    list: (page: Input<"topic.list"> = {}, options?: RequestOptions): Promise<TopicPage> =>
      answer(this.#api.api.topics.get({ query: page, ...request(options) })),
    delete: (topic: string, options?: RequestOptions): Promise<Output<"topic.delete">> =>
      answer(this.#topic(topic).delete(undefined, request(options))),
  };

  #topic(topic: string) {
    return this.#api.api.topics({ topic: part(topic) });
  }
  #subscription(name: string) {
    return this.#api.api.subscriptions({ name: part(name) });
  }
  #key(key: string) {
    return this.#api.api.kv({ key: part(key) });
  }
  #schedule(name: string) {
    return this.#api.api.schedules({ name: part(name) });
  }
  #task(id: string) {
    return this.#api.api.tasks({ id: part(id) });
  }
  #queue(name: string) {
    return this.#api.api.queues({ name: part(name) });
  }
  #limit(name: string) {
    return this.#api.api.limits({ name: part(name) });
  }
  #worker(id: string) {
    return this.#api.api.workers({ id: part(id) });
  }
}

/**
 * A name as a part of a path. One that is empty or made of dots leads to another path, which does and answers another thing:
 * it is refused here.
 */
function part(name: string): string {
  if (!/^\.{0,2}$/.test(name)) return encodeURIComponent(name);
  const detail =
    name === "" ? "its name or id is empty" : `no URL leads to the name ${name}; use the WebSocket`;
  throw new CortexError(problem("invalid-input", detail));
}

/** How routes are told to wait. */
const waitOf = (waitMs: number | undefined): { wait?: string } =>
  waitMs === undefined ? {} : { wait: `${Math.ceil(waitMs)}ms` };

function request({ signal, idempotencyKey, if: fence }: RequestOptions = {}) {
  const options: { fetch?: RequestInit; headers?: Record<string, string> } = {};
  if (signal !== undefined) options.fetch = { signal };
  const headers: Record<string, string> = {};
  if (idempotencyKey !== undefined) headers["idempotency-key"] = idempotencyKey;
  if (fence !== undefined) headers[fenceHeader] = fenceText(fence);
  if (idempotencyKey !== undefined || fence !== undefined) options.headers = headers;
  return options;
}

async function answer<T>(response: Response<T>): Promise<NonNullable<T>> {
  const { data, error } = await response;
  if (error !== null) throw refusal(error);
  return data as NonNullable<T>;
}

/** Eden tells a refusal and a connection that failed alike; only the value tells which it was. */
function refusal(error: { status: unknown; value: unknown } | null): Error {
  const value = error?.value;
  if (typeof value === "object" && value !== null && "code" in value && "hint" in value)
    return new CortexError(value as Problem);
  if (value instanceof Error)
    return value.name === "AbortError" || value.name === "TimeoutError"
      ? value
      : new ClientError("disconnected", value.message);
  return new ClientError(
    "protocol",
    `the answer has status ${error?.status} and is no answer of this daemon`,
  );
}
