/**
 * Who lives in the simulated world beside the daemon: producers, workers of every sort, operators, watchers, and one
 * who says what is no longer true. They use the real client and its worker, or HTTP requests, and decide by chance.
 * What they were told is kept, and held against the daemon at the end.
 */
import { CoordinationClient } from "../../client/client.ts";
import { ClientError, CortexError, isRefused, TaskFailed } from "../../client/errors.ts";
import { type Lock, LockLost, shared } from "../../client/locks.ts";
import type { WatchEvent } from "../../client/state.ts";
import { ConditionsFailed } from "../../client/transactions.ts";
import type { Environment } from "../../client/transport.ts";
import { AfterChildren } from "../../client/verdicts.ts";
import { type Context, RunningWorker } from "../../client/worker.ts";
import { Aborted, type AssignedTask } from "../../client/workers.ts";
import type { Caller } from "../../src/engine/types.ts";
import type { ErrorCode } from "../../src/wire/errors.ts";
import type { CoreOperationName, Input, Output } from "../../src/wire/operations.ts";
import type { Assignment, Task, TaskStanding, TaskSubmit, TaskSubmitted } from "../../src/wire/tasks.ts";
import { collide } from "../support/locks.ts";
import type { Daemon } from "./daemon.ts";
import type { Network } from "./network.ts";
import { Process, Violation, type World } from "./world.ts";

/** What became of a submit as its sender knows: an answer that never came leaves it open for ever. */
type Sent = { outcome: "open" | "taken" | "refused"; id: string | null; key: boolean };

export type CastOptions = {
  producers: number;
  restProducers: number;
  helpers: number;
  clientWorkers: number;
  restWorkers: number;
  watchers: number;
  schedulers: number;
  /** Whether tasks wait for tasks. */
  graphs: number;
  /** Sets limits, pauses and weights; tasks have groups and limits then. */
  regulators: number;
  /** Take locks, and write under them; and keys. */
  lockers: number;
  /** They are workers, whose locks go with them. */
  lockersWork: boolean;
  /** Publish and read messages, where nothing that was answered may be lost. */
  messengers: number;
  /** Make transactions of a key, a counter, a task and a lock, each once. */
  traders: number;
  /** Mean pause between two deeds of a producer, in ms. */
  paceMs: number;
  queues: number;
};

type Watched = { seen: Set<string>; gaps: { from: number; to: number }[]; first: number; last: number };
type Held = { taskId: string; workerId: string; token: number };

const groups = ["a", "b", "c"];
const unwatched: ReadonlySet<string> = new Set([
  ...["answers", "errors", "archive"],
  // Who wants to hear of messages subscribes.
  ...["messages", "deliveries", "published", "topics"],
]);

/** Its stack goes to the daemon and into the trace, and would tell where the run was started from. */
const failing = (message: string, more: object = {}) =>
  Object.assign(new Error(message), { stack: "a stack" }, more);

/** What a client may meet without anything being wrong. */
const expectedCodes: readonly ErrorCode[] = [
  ...(["lease-lost", "unknown-task", "wrong-state", "busy", "disk-full", "shutting-down"] as const),
  ...(["worker-unavailable", "worker-offline", "no-worker", "unknown-worker", "worker-id-in-use"] as const),
  ...(["unknown-schedule", "unknown-limit", "limit-reached", "backlog-full"] as const),
  ...(["fence-lost", "unknown-lock", "revision-mismatch"] as const),
];

export class Cast {
  /** From here on nobody begins anything new, and handlers come to an end. */
  ending = false;
  readonly sent = new Map<string, Sent>();
  /** Acknowledged completions. */
  readonly completed: (Held & { revision: number })[] = [];
  /** Promises of the client that have not settled. */
  readonly open = new Map<number, { what: string; process: Process }>();
  readonly clients = new Set<{ client: CoordinationClient; process: Process }>();
  readonly processes = new Set<Process>();
  readonly watched: Watched[] = [];
  /** Messages whose publishing was answered, and those whose acknowledgement was. */
  readonly #published = new Set<number>();
  readonly #acknowledged = new Set<number>();
  /** Those that a loop of the client was done with. */
  readonly #heard = new Set<number>();
  #publishing = 0;
  /** Subscriptions that are there: nothing is published before both are. */
  #subscribedCount = 0;
  #openCount = 0;
  #tags = 0;
  #ids: string[] = [];
  #leases: Held[] = [];
  readonly #begun = new Set<string>();
  /** Clients that fail nearly everything. */
  readonly #sick = new Set<Process>();
  readonly #endings: (() => void)[] = [];

  constructor(
    readonly world: World,
    readonly daemon: Daemon,
    readonly network: Network,
    readonly options: CastOptions,
  ) {}

  start(): void {
    const { options } = this;
    const many = (count: number, name: string, play: (process: Process) => Promise<void>) => {
      for (let i = 0; i < count; i++) this.#play(`${name}-${i}`, play);
    };
    many(options.producers, "producer", (process) => this.#producer(process));
    many(options.restProducers, "http", (process) => this.#restProducer(process));
    many(options.clientWorkers, "client", (process) => this.#clientWorker(process));
    many(options.restWorkers, "rest", (process) => this.#restWorker(process));
    many(options.watchers, "watcher", (process) => this.#watcher(process));
    many(1, "operator", (process) => this.#operator(process));
    many(1, "ghost", (process) => this.#ghost(process));
    many(options.schedulers, "clock", (process) => this.#scheduler(process));
    many(options.regulators, "regulator", (process) => this.#regulator(process));
    many(options.lockers, "locker", (process) => this.#locker(process));
    many(options.messengers, "publisher", (process) => this.#publisher(process));
    many(options.messengers, "reader", (process) => this.#reader(process));
    many(options.messengers, "listener", (process) => this.#listener(process));
    many(options.traders, "trader", (process) => this.#trader(process));
    for (let i = 0; i < options.helpers; i++) this.#employ(`helper-${i}`);
  }

  /** The end begins: what hangs goes on, and there is a worker for everything. */
  end(): void {
    this.ending = true;
    for (const end of this.#endings.splice(0)) end();
    for (const kind of ["worker", "gpu"]) {
      const process = this.#process(`last-${kind}`);
      this.#go(process, "last worker", async () => {
        const worker = new RunningWorker("*", (task, context) => this.#handle(process, task, context), {
          ...this.#clientOptions(process),
          workerId: `last-${kind}`,
          kind,
          capabilities: ["x", "y"],
          labels: { gpu: true, mem: 32 },
          concurrency: 20,
        });
        this.#keep(worker.client, process);
        await this.#track(process, "connect", worker.client.connect());
      });
    }
  }

  // --- the means ------------------------------------------------------------------------------------------

  #process(name: string): Process {
    const process = new Process(this.world, name);
    this.processes.add(process);
    return process;
  }

  #play(name: string, play: (process: Process) => Promise<void>): void {
    const process = this.#process(name);
    this.#go(process, name, () => play(process));
  }

  /** Does something on its own; only what may happen to anyone may go wrong in it. */
  #go(process: Process, what: string, deed: () => Promise<unknown>): void {
    deed().catch((error) => this.#met(process, what, error));
  }

  #met(process: Process, what: string, error: unknown): void {
    if (error instanceof ClientError) {
      this.world.count(`client.${error.code}`);
      if (error.code !== "protocol") return;
    } else if (error instanceof CortexError) {
      this.world.count(`refused.${error.code}`);
      if (expectedCodes.includes(error.code)) return;
    } else if (error instanceof TaskFailed || error instanceof Aborted || error instanceof LockLost) return;
    this.world.fail(new Violation(`${process.name}, ${what}: ${(error as Error)?.stack ?? error}`));
  }

  /** A promise that must settle while its process lives. */
  #track<T>(process: Process, what: string, promise: PromiseLike<T>): Promise<T> {
    const number = ++this.#openCount;
    this.open.set(number, { what: `${process.name}: ${what}`, process });
    return Promise.resolve(promise).finally(() => this.open.delete(number));
  }

  #environment(process: Process): Environment {
    return {
      now: () => this.world.now,
      random: () => this.world.random.next(),
      setTimer: (ms, callback) => process.after(ms, callback),
      clearTimer: (timer) => {
        (timer as { call: unknown }).call = null;
      },
    };
  }

  #clientOptions(process: Process) {
    return {
      url: "sim",
      transport: this.network.transports(process),
      environment: this.#environment(process),
      backoffMs: 50,
      backoffMaxMs: 2000,
      greetingMs: 3000,
    };
  }

  #keep(client: CoordinationClient, process: Process): void {
    this.clients.add({ client, process });
    client.on("error", (error) => this.#met(process, "error event", error));
    client.on("connected", ({ transport }) => this.world.count(`client.${transport}`));
    client.on("disconnected", () => this.world.count("client.reconnects"));
  }

  #client(process: Process, more: ConstructorParameters<typeof CoordinationClient>[0] = {}) {
    const client = new CoordinationClient({ ...this.#clientOptions(process), ...more });
    this.#keep(client, process);
    return client;
  }

  async #pause(process: Process, ms: number): Promise<void> {
    await process.sleep(this.world.random.between(0.1, 2 * ms));
  }

  /** Resolves when the end begins. */
  #theEnd(): Promise<void> {
    return this.ending ? Promise.resolve() : new Promise((resolve) => this.#endings.push(resolve));
  }

  /** One HTTP request: an answer, or null when none came. */
  async #http<N extends CoreOperationName>(
    process: Process,
    operation: N,
    input: Input<N>,
    key: string | null,
  ): Promise<{ ok: Output<N> } | { error: ErrorCode } | null> {
    const { world, network, daemon } = this;
    const { random } = world;
    const controller = new AbortController();
    const caller: Caller = {
      who: (input as { workerId?: string }).workerId ?? "http",
      session: key === null ? null : `idempotency:${key}`,
      seq: key === null ? 0 : 1,
      ackedThrough: 0,
      signal: controller.signal,
    };
    const waitMs = (input as { waitMs?: number }).waitMs ?? 0;
    return new Promise((resolve) => {
      const late = process.after(4000 + waitMs, () => {
        resolve(null);
        // Whether the daemon learns that nobody waits any more is a matter of luck.
        if (random.chance(0.7)) world.after(network.delay(process), () => controller.abort());
      });
      world.after(network.delay(process), () =>
        daemon.http(operation, input, caller, (answer) => {
          if (random.chance(0.03)) return;
          world.after(network.delay(process), () =>
            process.run(() => {
              late.call = null;
              resolve("ok" in answer ? { ok: JSON.parse(answer.ok) } : { error: answer.error.code });
            }),
          );
        }),
      );
    });
  }

  /** A request that is sent again under its key until it is answered, as a careful script does it. */
  async #httpSafely<N extends CoreOperationName>(process: Process, operation: N, input: Input<N>) {
    const key = `${process.name}-${++this.#tags}`;
    for (let tries = 0; ; tries++) {
      const answer = await this.#http(process, operation, input, key);
      if (answer !== null) return { answer, tries };
      this.world.count("http.retried");
      await process.sleep(this.world.random.between(50, 1500));
      if (tries > 40) return { answer: null, tries };
    }
  }

  // --- producers ------------------------------------------------------------------------------------------

  #task(): TaskSubmit {
    const { random } = this.world;
    const tag = `${++this.#tags}`;
    const task: TaskSubmit = {
      queue: `q${random.int(1, this.options.queues)}`,
      type: "work",
      payload: { tag, padding: "x".repeat(Math.floor(random.skewed(0, 300))) },
      leaseMs: random.chance(0.1) ? random.int(200, 900) : random.int(1500, 6000),
      backoff: {
        strategy: random.pick(["fixed", "exponential", "linear", "polynomial"] as const),
        delayMs: random.int(0, 1500),
        maxMs: 4000,
        jitter: random.pick([0, 0.5, 1]),
      },
    };
    if (random.chance(0.5)) task.priority = random.pick(["critical", "high", "normal", "low"] as const);
    if (random.chance(0.6)) task.attempts = random.int(1, 4);
    if (random.chance(0.12)) task.timeoutMs = random.int(300, 4000);
    if (random.chance(0.15)) task.delayMs = Math.ceil(random.skewed(50, 8000));
    if (random.chance(0.15)) task.idempotencyKey = `key-${random.int(1, 6)}`;
    if (random.chance(0.1)) task.kind = random.pick(["worker", "gpu"]);
    if (random.chance(0.15)) task.capabilities = random.pick([["x"], ["y"], ["x", "y"]]);
    if (this.options.regulators > 0) {
      if (random.chance(0.6)) task.group = random.pick(groups);
      if (random.chance(0.2)) task.limits = random.pick([["api"], ["disk"], ["api", "disk"]]);
    }
    if (random.chance(0.1)) task.requires = random.pick([["gpu"], ["mem >= 16"], ["mem >= 16", "gpu"]]);
    if (random.chance(0.1)) task.prefers = random.pick([["gpu"], ["mem >= 16"]]);
    if (random.chance(0.1)) task.slots = random.int(1, 3);
    if (random.chance(0.1)) task.sticky = `name-${random.int(1, 4)}`;
    if (task.sticky !== undefined && random.chance(0.5)) task.stickyMs = random.int(0, 3000);
    // One that is there for certain, in the end.
    if (task.kind !== "gpu" && random.chance(0.02)) task.workerId = "last-worker";
    this.sent.set(tag, { outcome: "open", id: null, key: task.idempotencyKey !== undefined });
    return task;
  }

  /** Tasks of which each may wait for some of the others, in no order. */
  #graph(): TaskSubmit[] {
    const { random } = this.world;
    const tasks = Array.from({ length: random.int(2, 7) }, () => this.#task());
    const refs = tasks.map((_, i) => `r${i}`);
    for (const [i, task] of tasks.entries()) {
      // Whose key is known is another task, which may wait for anything.
      delete task.idempotencyKey;
      this.#sentOf(task).key = false;
      task.ref = refs[i] as string;
      const after = refs
        .slice(0, i)
        .filter(() => random.chance(0.4))
        .map((ref) => (random.chance(0.6) ? ref : { task: ref, onFail: "ignore" as const }));
      if (after.length > 0) task.after = after;
    }
    return random.chance(0.5) ? tasks : tasks.reverse();
  }

  async #submitGraph(process: Process, client: CoordinationClient): Promise<void> {
    const tasks = this.#graph();
    try {
      const { ids } = await this.#track(process, "graph", client.call("graph.submit", { tasks }));
      this.#taken(
        tasks,
        ids.map((id) => ({ id, state: "blocked", duplicate: false })),
      );
    } catch (error) {
      if (error instanceof CortexError) for (const task of tasks) this.#sentOf(task).outcome = "refused";
      throw error;
    }
  }

  #sentOf(task: TaskSubmit): Sent {
    return this.sent.get((task.payload as { tag: string }).tag) as Sent;
  }

  #taken(tasks: TaskSubmit[], answers: TaskSubmitted[]): void {
    for (const [i, answer] of answers.entries()) {
      const sent = this.#sentOf(tasks[i] as TaskSubmit);
      sent.outcome = "taken";
      sent.id = answer.id;
      if (answer.duplicate) this.world.count("submit.duplicate");
      this.#ids.push(answer.id);
    }
  }

  async #submit(process: Process, client: CoordinationClient): Promise<void> {
    const { random } = this.world;
    const options = random.chance(0.05) ? { timeoutMs: random.int(1, 500) } : {};
    const many = random.chance(0.15);
    const tasks = many ? Array.from({ length: random.int(1, 6) }, () => this.#task()) : [this.#task()];
    try {
      if (many) this.#taken(tasks, await this.#track(process, "submit", client.submit(tasks, options)));
      else {
        const submitted = client.submit(tasks[0] as TaskSubmit, options);
        this.#taken(tasks, [await this.#track(process, "submit", submitted)]);
        if (random.chance(0.4)) await this.#track(process, "result", submitted.result());
      }
    } catch (error) {
      if (error instanceof CortexError)
        for (const task of tasks) {
          const sent = this.#sentOf(task);
          if (sent.outcome === "open") sent.outcome = "refused";
        }
      throw error;
    }
  }

  #someId(): string | undefined {
    const ids = this.#ids;
    // Mostly a young one: the old have ended.
    const back = Math.floor(this.world.random.skewed(0, ids.length));
    return ids[ids.length - 1 - back];
  }

  async #producer(process: Process): Promise<void> {
    const client = this.#client(process);
    const { random } = this.world;
    while (!this.ending) {
      await this.#pause(process, this.options.paceMs);
      if (this.ending) return;
      const deed = random.next();
      const id = this.#someId();
      const isGraph = this.options.graphs > 0 && random.chance(0.15);
      if (isGraph) this.#go(process, "graph", () => this.#submitGraph(process, client));
      else if (deed < 0.7 || id === undefined)
        this.#go(process, "submit", () => this.#submit(process, client));
      else {
        const task = client.task(id);
        const act = async () => {
          const cascade = this.options.graphs > 0 && deed < 0.81;
          if (deed < 0.78) await this.#track(process, "cancel", task.cancel(undefined, { cascade }));
          else if (deed < 0.84) await this.#track(process, "retry", task.retry({ cascade }));
          else if (deed < 0.9) await this.#track(process, "get", task.get());
          else if (deed < 0.95)
            await this.#track(process, "wait", task.finished(random.chance(0.5) ? {} : { timeoutMs: 3000 }));
          else if (deed < 0.97)
            await this.#track(process, "list", client.tasks({ limit: random.int(1, 20) }));
          else await this.#track(process, "state", client.getState());
        };
        this.#go(process, "deed", act);
      }
    }
  }

  async #restProducer(process: Process): Promise<void> {
    const { random } = this.world;
    while (!this.ending) {
      await this.#pause(process, this.options.paceMs * 2);
      if (this.ending) return;
      const id = this.#someId();
      if (random.chance(0.75) || id === undefined) {
        const task = this.#task();
        const safely = random.chance(0.8);
        this.#go(process, "post", async () => {
          const { answer, tries } = safely
            ? await this.#track(process, "post", this.#httpSafely(process, "task.submit", task))
            : { answer: await this.#http(process, "task.submit", task, null), tries: 0 };
          if (answer === null) return;
          if ("ok" in answer) this.#taken([task], [answer.ok as TaskSubmitted]);
          else if (tries === 0) this.#sentOf(task).outcome = "refused";
        });
      } else if (random.chance(0.5)) {
        this.#go(process, "delete", () => this.#httpSafely(process, "task.cancel", { taskId: id }));
      } else {
        const input = { taskId: id, waitMs: random.int(0, 5000) };
        this.#go(process, "get", () => this.#http(process, "task.get", input, null));
      }
    }
  }

  // --- workers --------------------------------------------------------------------------------------------

  /** What a worker can do and for whom; the same over its restarts. */
  #skills(name: string) {
    const { random } = this.world;
    const queues = random.chance(0.5) ? ["*"] : [`q${random.int(1, this.options.queues)}`, "q1"];
    return {
      workerId: name,
      kind: random.chance(0.2) ? "gpu" : "worker",
      queues: [...new Set(queues)],
      capabilities: random.pick([[], ["x"], ["y"], ["x", "y"]]),
      labels: { gpu: random.chance(0.4), mem: random.pick([8, 16, 32]) },
    };
  }

  #began(held: Held): void {
    const key = `${held.taskId} ${held.token}`;
    if (this.#begun.has(key))
      this.world.fail(new Violation(`task ${held.taskId} was begun twice under token ${held.token}`));
    this.#begun.add(key);
    if (this.daemon.model.wasGivenBack(held.taskId, held.token))
      this.world.fail(
        new Violation(
          `${held.workerId} began task ${held.taskId} under ${held.token}, which it had given back`,
        ),
      );
    this.#leases.push(held);
  }

  /** What a handler does with a task: mostly its work, in some time. */
  async #handle(process: Process, task: Task, context: Context): Promise<unknown> {
    const { random } = this.world;
    this.#began({ taskId: task.id, workerId: context.lease.workerId, token: context.lease.token });
    const obeys = random.chance(0.8);
    const stopped = new Promise<never>((_, reject) => {
      const stop = () => obeys && reject(context.signal.reason);
      if (context.signal.aborted) stop();
      else
        context.signal.addEventListener("abort", () => {
          this.world.count("handler.aborted");
          stop();
        });
    });
    const work = async (): Promise<unknown> => {
      if (this.options.graphs > 0 && !this.ending && task.graph === null && random.chance(0.08)) {
        const children = Array.from({ length: random.int(1, 3) }, () => this.#task());
        for (const child of children) {
          delete child.idempotencyKey;
          this.#sentOf(child).key = false;
        }
        const isEasy = random.chance(0.5);
        const parts = children.map((child) => (isEasy ? { ...child, onFail: "ignore" as const } : child));
        this.#taken(children, await context.addChildren(parts));
        return AfterChildren();
      }
      const luck = this.ending ? 0 : random.next();
      const end = this.#theEnd();
      if (luck < 0.55) await Promise.race([process.sleep(random.skewed(0.5, 2500)), end]);
      else if (luck < 0.65) {
        await process.sleep(random.skewed(1, 800));
        throw failing("it did not work");
      } else if (luck < 0.69) {
        throw failing("it never will", { final: true });
      } else if (luck < 0.75) {
        throw failing("later", { retryInMs: random.int(0, 3000) });
      } else if (luck < 0.85) {
        for (let i = 0; i < 6; i++) {
          await Promise.race([process.sleep(random.between(100, 2000)), end]);
          context.progress({ step: i });
        }
      } else if (luck < 0.92) await end;
      else {
        await process.sleep(random.skewed(1, 500));
        await context.extend(random.chance(0.5) ? random.int(100, 8000) : undefined);
        await Promise.race([process.sleep(random.skewed(1, 3000)), end]);
      }
      return { tag: (task.payload as { tag: string }).tag };
    };
    return Promise.race([work(), stopped]);
  }

  /** A worker as most people write it. It dies now and then, and another instance takes its place. */
  #employ(name: string, skills = this.#skills(name)): void {
    const process = this.#process(name);
    const { random } = this.world;
    const { queues, ...rest } = skills;
    this.#go(process, "helper", async () => {
      while (!this.ending) {
        const worker = new RunningWorker(queues, (task, context) => this.#handle(process, task, context), {
          ...this.#clientOptions(process),
          ...rest,
          concurrency: random.int(1, 3),
        });
        worker.done.catch(() => {});
        this.#keep(worker.client, process);
        try {
          await this.#track(process, "connect", worker.client.connect());
        } catch (error) {
          this.#met(process, "connect", error);
          await process.sleep(random.between(200, 2000));
          continue;
        }
        if (random.chance(0.7)) return;
        await Promise.race([process.sleep(random.between(1000, 20_000)), this.#theEnd()]);
        if (this.ending) return;
        this.world.count("worker.stopped");
        await this.#track(process, "stop", worker.stop({ graceMs: random.int(0, 3000) }));
        await process.sleep(random.between(0, 3000));
      }
    });
    const dies = () => {
      if (this.ending || !process.alive) return;
      if (random.chance(0.4)) {
        this.world.count("worker.crashed");
        this.world.trace("crash", name);
        process.kill();
        this.network.broken(process);
        for (const link of [...this.network.links])
          if (link.client === process) link.break("soon", random.chance(0.5) ? "soon" : "late");
        this.world.after(random.skewed(10, 8000), () => {
          if (!this.ending) this.#employ(name, skills);
        });
      } else if (random.chance(0.5)) {
        this.world.count("worker.paused");
        process.pause();
        this.world.after(random.skewed(100, 12_000), () => process.resume());
        this.world.after(random.between(5000, 30_000), dies);
      } else this.world.after(random.between(5000, 30_000), dies);
    };
    this.world.after(random.between(2000, 40_000), dies);
  }

  /** A worker that uses the client by hand. */
  async #clientWorker(process: Process): Promise<void> {
    const { random } = this.world;
    const capacity = random.int(1, 4);
    const client = this.#client(process, { ...this.#skills(process.name), capacity });
    if (random.chance(0.3)) this.#sick.add(process);
    client.on("task_assigned", (held) => this.#go(process, "task", () => this.#work(process, held)));
    await this.#track(process, "connect", client.connect());
    while (!this.ending) {
      await this.#pause(process, 4000);
      if (random.chance(0.2)) client.credit(random.int(0, capacity));
    }
    client.credit(capacity);
  }

  async #work(process: Process, held: AssignedTask): Promise<void> {
    const { random } = this.world;
    const name = { taskId: held.id, workerId: held.lease.workerId, token: held.lease.token };
    this.#began(name);
    await Promise.race([process.sleep(random.skewed(1, 3000)), this.#theEnd()]);
    const luck = this.ending ? 1 : this.#sick.has(process) && random.chance(0.9) ? 0.3 : random.next();
    if (luck < 0.1)
      await this.#track(process, "extend", held.extend()).catch((error) =>
        this.#met(process, "extend", error),
      );
    if (luck < 0.15) held.progress({ at: luck });
    if (luck < 0.25) await this.#settle(process, held, () => held.release());
    else if (luck < 0.4) await this.#settle(process, held, () => held.fail("no", { final: luck < 0.28 }));
    else if (luck < 0.45) await this.#theEnd().then(() => this.#complete(process, held, name));
    else {
      await this.#complete(process, held, name);
      // Twice does no harm.
      if (luck < 0.6) await this.#complete(process, held, name);
    }
  }

  async #complete(process: Process, held: AssignedTask, name: Held): Promise<void> {
    const standing = await this.#settle(process, held, () => held.complete({ by: name.workerId }));
    if (standing !== null) this.completed.push({ ...name, revision: standing.revision });
  }

  /** Says how it ended until the daemon has room to hear it. */
  async #settle(process: Process, held: AssignedTask, say: () => Promise<TaskStanding>) {
    for (;;) {
      try {
        return await this.#track(process, "settle", say());
      } catch (error) {
        this.#met(process, "settle", error);
        const again = error instanceof CortexError && error.retryable;
        if (!again || !held.held) return null;
        await process.sleep(this.world.random.between(100, 1000));
      }
    }
  }

  /** A worker without a socket: claims, beats, reports, all over HTTP. */
  async #restWorker(process: Process): Promise<void> {
    const { random } = this.world;
    const skills = this.#skills(process.name);
    const { workerId } = skills;
    const capacity = random.int(1, 3);
    const held = new Map<string, Held>();
    let registered = false;
    for (;;) {
      if (!registered) {
        const holding = [...held.values()].map(({ taskId, token }) => ({ taskId, token }));
        const { answer } = await this.#httpSafely(process, "worker.register", {
          ...skills,
          capacity,
          holding,
        });
        registered = answer !== null && "ok" in answer;
        if (!registered) await process.sleep(500);
        else if (answer !== null && "ok" in answer) for (const id of answer.ok.lost) held.delete(id);
        continue;
      }
      const luck = random.next();
      if (held.size < capacity && luck < 0.6) {
        const input = {
          workerId,
          count: random.int(1, 2),
          waitMs: random.chance(0.5) ? random.int(1, 3000) : 0,
        };
        const { answer } = await this.#httpSafely(process, "task.claim", input);
        if (answer === null) continue;
        if ("ok" in answer) for (const one of answer.ok.assignments) this.#claimed(held, one);
        else if (answer.error === "unknown-worker" || answer.error === "worker-offline") registered = false;
        else if (answer.error === "worker-unavailable") {
          // Draining: coming back is registering again.
          if (random.chance(0.5)) registered = false;
          await process.sleep(500);
        }
      } else if (luck < 0.75) {
        // Its beats come from a thread of their own, which knows for how long its handlers have stood still.
        const loopAgeMs = random.chance(0.2) && !this.ending ? random.int(0, 4000) : 0;
        const beat = random.chance(0.5) ? { workerId, loopAgeMs } : { workerId };
        const answer = await this.#http(process, "worker.heartbeat", beat, null);
        if (answer !== null && "ok" in answer) {
          const told = new Map(answer.ok.leases.map((one) => [one.taskId, one.token]));
          for (const one of held.values()) if (told.get(one.taskId) !== one.token) held.delete(one.taskId);
          // A task that an operator assigned is heard of here.
          for (const [taskId, token] of told)
            if (!held.has(taskId)) held.set(taskId, { taskId, workerId, token });
        } else if (answer !== null)
          registered = answer.error !== "unknown-worker" && answer.error !== "worker-offline";
      } else if (luck < 0.78 && !this.ending) {
        await process.sleep(random.skewed(100, 10_000));
      } else if (luck < 0.79 && !this.ending) {
        await this.#httpSafely(process, "worker.unregister", { workerId });
        held.clear();
        registered = false;
      }
      for (const name of [...held.values()]) {
        if (!this.ending && random.chance(0.4)) continue;
        await this.#reportRest(process, held, name);
      }
      await this.#pause(process, this.ending ? 100 : 300);
    }
  }

  #claimed(held: Map<string, Held>, { task, lease }: Assignment): void {
    const name = { taskId: task.id, workerId: lease.workerId, token: lease.token };
    held.set(task.id, name);
    this.#leases.push(name);
  }

  async #reportRest(process: Process, held: Map<string, Held>, name: Held): Promise<void> {
    const luck = this.ending ? 1 : this.world.random.next();
    if (luck < 0.1) await this.#http(process, "task.progress", { ...name, progress: luck }, null);
    else if (luck < 0.2) await this.#httpSafely(process, "task.extend", name);
    else {
      const { answer } =
        luck < 0.3
          ? await this.#httpSafely(process, "task.fail", { ...name, error: "no", final: luck < 0.23 })
          : luck < 0.35
            ? await this.#httpSafely(process, "task.snooze", { ...name, forMs: Math.round(luck * 5000) })
            : luck < 0.4
              ? await this.#httpSafely(process, "task.release", name)
              : await this.#httpSafely(process, "task.complete", { ...name, result: luck });
      if (answer === null) return;
      if ("ok" in answer || answer.error === "lease-lost" || answer.error === "unknown-task")
        held.delete(name.taskId);
      if ("ok" in answer && answer.ok.state === "completed" && luck >= 0.4)
        this.completed.push({ ...name, revision: (answer.ok as TaskStanding).revision });
    }
  }

  // --- others ---------------------------------------------------------------------------------------------

  async #operator(process: Process): Promise<void> {
    const client = this.#client(process);
    const { random } = this.world;
    const drained: string[] = [];
    while (!this.ending) {
      await this.#pause(process, 1500);
      if (this.ending) break;
      const act = async () => {
        const luck = random.next();
        const workers = (await this.#track(process, "workers", client.workers())).workers;
        if (this.ending) return;
        const workerId = workers.length > 0 ? random.pick(workers).id : "nobody";
        if (luck < 0.2) {
          drained.push(workerId);
          await this.#track(process, "drain", client.drain(workerId));
        } else if (luck < 0.5) {
          const back = drained.pop();
          if (back !== undefined) await this.#track(process, "undrain", client.drain(back, false));
        } else if (luck < 0.6) await this.#track(process, "queues", client.queues());
        else if (luck < 0.7) await this.#track(process, "state", client.getState());
        else {
          const id = this.#someId();
          const input: Input<"task.assign"> =
            id === undefined || random.chance(0.3) ? { task: this.#task() } : { taskId: id };
          if (random.chance(0.5)) input.workerId = workerId;
          await this.#track(process, "assign", client.call("task.assign", input));
        }
      };
      this.#go(process, "deed", act);
    }
    for (const workerId of drained) this.#go(process, "undrain", () => client.drain(workerId, false));
  }

  /**
   * Each of its trades is one entry: a key, a counter, a task and a lock, where the key is not there. One that was refused,
   * because somebody has the lock, is tried again; some are sent twice, and stand once.
   */
  async #trader(process: Process): Promise<void> {
    const client = this.#client(process);
    const { random } = this.world;
    for (let n = 1; !this.ending; n++) {
      await this.#pause(process, this.options.paceMs);
      if (this.ending) return;
      const task = this.#task();
      // Whose key is known is another task.
      delete task.idempotencyKey;
      const sent = this.#sentOf(task);
      sent.key = false;
      const key = `once/${process.name}/${n}`;
      const lock = { resources: [{ name: `trade-${random.int(1, 2)}` }], ttlMs: random.int(200, 3000) };
      const deal = () =>
        client.transaction((tx) => {
          tx.if.key(key).absent();
          const { tag } = task.payload as { tag: string };
          const made = { put: tx.kv.put(key, tag), submitted: tx.submit(task) };
          tx.kv.increment("once");
          tx.call("lock.acquire", lock);
          return made;
        });
      const attempt = async () => {
        const { submitted } = await this.#track(process, "trade", deal());
        sent.outcome = "taken";
        sent.id = submitted.id;
        this.#ids.push(submitted.id);
        this.world.count("trade.stands");
      };
      const met = (error: unknown) => {
        if (error instanceof ConditionsFailed) this.world.count("trade.stood");
        else if (isRefused(error, "lock-held")) this.world.count("trade.refused");
        else this.#met(process, "trade", error);
        return !(error instanceof CortexError);
      };
      for (let tries = 0; tries < 3; tries++) {
        const twice = random.chance(0.3) ? [attempt(), attempt()] : [attempt()];
        const ends = await Promise.all(twice.map((one) => one.then(() => true, met)));
        if (ends.includes(true)) break;
        if (tries === 2) sent.outcome = "refused";
        await this.#pause(process, 500);
      }
    }
  }

  /** What it is told was published must arrive. */
  async #publisher(process: Process): Promise<void> {
    const client = this.#client(process);
    const { random } = this.world;
    for (let n = 0; !this.ending; n++) {
      await this.#pause(process, this.options.paceMs);
      if (this.ending || this.#subscribedCount < 2) continue;
      const priority = random.pick(["critical", "normal", "low"] as const);
      const published = client.topics.publish("sim.news", n, { id: `news-${n}`, priority });
      this.#go(process, "publish", async () => {
        this.#publishing += 1;
        await this.#track(process, "publish", published).finally(() => {
          this.#publishing -= 1;
        });
        this.#published.add(n);
      });
    }
  }

  /** Acknowledges what it reads, now and then late or never; what it was told is acknowledged must not come again. */
  async #reader(process: Process): Promise<void> {
    const client = this.#client(process);
    const { random } = this.world;
    const subscription = "news";
    await this.#subscribe(process, client, subscription);
    while (!this.ending || this.#publishing > 0 || this.#unread.length > 0) {
      const received = client.call("message.receive", { subscription, count: 3, waitMs: 1000 });
      const messages = await this.#track(process, "receive", received).then(
        (answer) => answer.messages,
        (error) => {
          this.#met(process, "receive", error);
          return [];
        },
      );
      if (messages.length === 0) await this.#pause(process, 200);
      for (const { payload, messageId } of messages) {
        const n = payload as number;
        if (this.#acknowledged.has(n))
          this.world.fail(new Violation(`message ${messageId} was acknowledged and came again`));
        if (random.chance(this.ending ? 0 : 0.2)) continue;
        const isTaken = this.ending || random.chance(0.8);
        const named = { subscription, messageId: messageId as string };
        const answer = isTaken
          ? client.call("message.ack", named)
          : client.call("message.nack", { ...named, delayMs: random.int(0, 500) });
        await this.#track(process, "acknowledge", answer as Promise<unknown>).then(
          () => isTaken && this.#acknowledged.add(n),
          (error) => {
            // The acknowledgement before was carried out, and its answer did not come.
            if (error instanceof CortexError && error.code === "unknown-message") this.#acknowledged.add(n);
            else this.#met(process, "acknowledge", error);
          },
        );
      }
    }
  }

  /** Reads in a loop of the client, slowly, and leaves it now and then: while one lasts, what it was done with must not come again. */
  async #listener(process: Process): Promise<void> {
    const client = this.#client(process);
    const { random } = this.world;
    const name = "heard";
    await this.#subscribe(process, client, name);
    while (!this.ending || this.#publishing > 0 || this.#unread.length > 0) {
      const done = new Set<number>();
      try {
        for await (const message of client.topics.subscribe<number>("sim.>", { name, window: 5 })) {
          const { payload: n, id } = message;
          if (done.has(n)) this.world.fail(new Violation(`message ${id} was done with, and came again`));
          await this.#pause(process, this.ending ? 5 : random.pick([5, 200, 3000]));
          const luck = this.ending ? 1 : random.next();
          if (luck < 0.1) break;
          if (luck < 0.2) await message.nack({ delayMs: random.int(0, 500) });
          else {
            done.add(n);
            this.#heard.add(n);
            this.world.count("message.heard");
          }
        }
      } catch (error) {
        this.#met(process, "listen", error);
      }
      await this.#pause(process, 200);
    }
  }

  /** Until it is there. */
  async #subscribe(process: Process, client: CoordinationClient, name: string): Promise<void> {
    const put = () =>
      client.subscriptions.put({ name, topic: "sim.>", ackWaitMs: 2000, deliveriesMax: 1000 });
    for (let isThere = false; !isThere; ) {
      await this.#track(process, "subscribe", put()).then(
        () => {
          isThere = true;
        },
        (error) => this.#met(process, "subscribe", error),
      );
      if (!isThere) await this.#pause(process, 500);
    }
    this.#subscribedCount += 1;
  }

  get #unread(): number[] {
    return [...this.#published].filter((n) => !this.#acknowledged.has(n) || !this.#heard.has(n));
  }

  /** Keeps a few schedules, and changes its mind; takes them away before it leaves. */
  async #scheduler(process: Process): Promise<void> {
    const client = this.#client(process);
    const { random } = this.world;
    const names = ["s1", "s2"];
    const deed = async (name: string, luck: number): Promise<unknown> => {
      const { schedules } = client;
      if (luck < 0.15) return schedules.pause(name);
      if (luck < 0.4) return schedules.resume(name);
      if (luck < 0.5) return schedules.delete(name);
      return schedules.put({
        name,
        everyMs: random.pick([1000, 2500, 4000]),
        missed: random.pick(["skip", "once", "all"] as const),
        missedMax: random.int(1, 5),
        overlap: random.pick(["allow", "skip", "wait"] as const),
        task: {
          queue: `q${random.int(1, this.options.queues)}`,
          type: "work",
          leaseMs: 3000,
          payload: [name],
        },
      });
    };
    // One at a time: what hangs must not come true after the schedule was taken away.
    while (!this.ending) {
      await this.#pause(process, 2 * this.options.paceMs);
      if (this.ending) break;
      await this.#track(process, "schedule", deed(random.pick(names), random.next())).catch((error) =>
        this.#met(process, "schedule", error),
      );
    }
    for (const name of names)
      await this.#track(process, "unschedule", client.schedules.delete(name)).catch((error) =>
        this.#met(process, "unschedule", error),
      );
  }

  /** Sets limits and pauses, and changes its mind; takes all of it away before it leaves. */
  async #regulator(process: Process): Promise<void> {
    const client = this.#client(process);
    const { random } = this.world;
    const queues = Array.from({ length: this.options.queues }, (_, i) => `q${i + 1}`);
    const rate = () => ({
      count: random.int(1, 5),
      perMs: random.pick([500, 2000]),
      burst: random.int(1, 4),
    });
    const maybe = <T>(value: T) => random.pick([{}, { value }, { value: null }]).value;
    const given = (settings: Record<string, unknown>) =>
      Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
    const deed = async (queue: string, luck: number): Promise<unknown> => {
      const group = random.chance(0.6) ? { group: random.pick(groups) } : {};
      const forMs = random.chance(0.8) ? { forMs: random.int(50, 4000) } : {};
      if (luck < 0.2) return client.pause(queue, { ...group, ...forMs });
      if (luck < 0.4) return client.resume(queue, group.group);
      if (luck < 0.5) return client.deleteLimit(random.pick(["api", "disk"]));
      if (luck < 0.65)
        return client.putLimit(
          random.pick(["api", "disk"]),
          given({ concurrency: maybe(random.int(0, 3)), rate: maybe(rate()) }),
        );
      return client.configure(
        queue,
        given({
          concurrency: maybe(random.int(0, 4)),
          rate: maybe(rate()),
          groupConcurrency: maybe(random.int(0, 2)),
          groupRate: maybe(rate()),
          weight: maybe(random.int(1, 4)),
          groupWeights: maybe({ [random.pick(groups)]: random.int(1, 5) }),
          backlog: maybe({
            max: random.int(1, 12),
            policy: random.pick(["refuse", "drop-oldest", "drop-newest", "keep-latest"] as const),
          }),
        }),
      );
    };
    while (!this.ending) {
      await this.#pause(process, 2 * this.options.paceMs);
      if (this.ending) break;
      await this.#track(process, "regulate", deed(random.pick(queues), random.next())).catch((error) =>
        this.#met(process, "regulate", error),
      );
    }
    const nothing = {
      ...{ concurrency: null, rate: null, groupConcurrency: null, groupRate: null },
      ...{ weight: null, groupWeights: null, backlog: null },
    };
    const last = async () => {
      for (const queue of queues) {
        await client.configure(queue, nothing);
        await client.resume(queue);
        for (const group of groups) await client.resume(queue, group);
      }
      for await (const { name } of client.allLimits()) await client.deleteLimit(name);
    };
    for (let isDone = false; !isDone; )
      try {
        await this.#track(process, "let go", last());
        isDone = true;
      } catch (error) {
        // A disk may still be full.
        this.#met(process, "let go", error);
        await this.#pause(process, 500);
      }
  }

  /** Holds locks for a while and writes under them, takes those of others, and compares and counts keys. */
  async #locker(process: Process): Promise<void> {
    const { random } = this.world;
    const isWorker = this.options.lockersWork;
    const worker = { workerId: `${process.name}-${this.#tags++}`, queues: ["none"] };
    const client = this.#client(process, isWorker ? worker : {});
    const names = ["a", "b", "d/", "d/x", "d/e/y"];
    const wanted = () =>
      names
        .filter(() => random.chance(0.3))
        .concat(random.pick(names))
        .filter((name, i, all) => all.indexOf(name) === i)
        .map((name) => (random.chance(0.3) ? shared(name) : name));
    const hold = async () => {
      const options = isWorker && random.chance(0.7) ? {} : { ttlMs: random.int(500, 4000) };
      const lock = random.chance(0.2)
        ? await this.#track(process, "try", client.locks.try(wanted(), options))
        : await this.#track(
            process,
            "lock",
            client.locks.acquire(wanted(), {
              ...options,
              ...(random.chance(0.5) && { timeoutMs: random.int(200, 6000) }),
            }),
          );
      if (lock === null) return;
      this.#holds(process, lock);
      for (let writes = random.int(0, 3); writes > 0 && !this.ending; writes--) {
        await process.sleep(random.skewed(5, 2500));
        // Whether it is still held is not looked at: that is what the fence is for.
        await this.#track(process, "write", lock.client.kv.put(`under/${lock.names[0]}`, lock.token)).catch(
          (error) => this.#met(process, "write", error),
        );
      }
      // Some are forgotten, and extended for as long as their client lives.
      if (random.chance(0.1)) await this.#theEnd();
      await this.#track(process, "unlock", lock.release());
    };
    const steal = async () => {
      const { locks } = await this.#track(process, "locks", client.locks.list({ limit: 20 }));
      if (locks.length === 0) return;
      const { lockId } = random.pick(locks).lock;
      this.stolen.add(lockId);
      await this.#track(process, "steal", client.locks.steal(lockId, "why not"));
    };
    const count = async () => {
      const key = `n/${random.int(1, 3)}`;
      if (random.chance(0.5)) await this.#track(process, "count", client.kv.increment(key));
      else {
        const found = await this.#track(process, "key", client.kv.get<number>(key));
        const change = { ifRevision: found?.revision ?? 0, ...(random.chance(0.3) && { ttlMs: 2000 }) };
        await this.#track(process, "compare", client.kv.put(key, (found?.value ?? 0) + 1, change));
      }
    };
    while (!this.ending) {
      await this.#pause(process, this.options.paceMs);
      if (this.ending) break;
      const luck = random.next();
      this.#go(process, "lock", luck < 0.7 ? hold : luck < 0.8 ? steal : count);
    }
  }

  /** Ids of locks that somebody tried to steal. */
  readonly stolen = new Set<string>();
  readonly #locks = new Map<Lock, Process>();

  /** Nobody else holds it who would know that: but for what was stolen, or lost with the disk. */
  #holds(process: Process, lock: Lock): void {
    this.world.count("lock.held");
    const lived = (one: Lock) =>
      one.held && !this.stolen.has(one.id) && !this.daemon.model.isVoided(one.token);
    for (const [other, where] of this.#locks) {
      if (!where.alive || !other.held) this.#locks.delete(other);
      else if (!where.paused && lived(other) && lived(lock))
        this.daemon.model.expect(
          !collide(lock.view.resources, other.view.resources),
          `${process.name} holds lock ${lock.id} beside lock ${other.id} of ${where.name}`,
        );
    }
    this.#locks.set(lock, process);
  }

  /** Says what is no longer true: reports under leases that are over. */
  async #ghost(process: Process): Promise<void> {
    const client = this.#client(process);
    const { random } = this.world;
    while (!this.ending) {
      await this.#pause(process, 1200);
      if (this.#leases.length === 0 || this.ending) continue;
      const name = random.pick(this.#leases);
      if (this.daemon.model.token(name.taskId) === name.token) continue;
      this.world.count("ghost.spoke");
      const deed = random.pick([
        "task.complete",
        "task.release",
        "task.extend",
        "task.progress",
        "task.fail",
      ] as const);
      this.#go(process, deed, async () => {
        if (deed === "task.fail") await client.call(deed, { ...name, error: "boo" });
        else if (deed === "task.progress") await client.call(deed, { ...name, progress: "boo" });
        else await client.call(deed, name);
      });
    }
  }

  async #watcher(process: Process): Promise<void> {
    const client = this.#client(process);
    const watched: Watched = { seen: new Set(), gaps: [], first: 0, last: 0 };
    this.watched.push(watched);
    for await (const event of client.watch({})) {
      this.#saw(watched, event);
      this.world.count(`watch.${event.event}`);
    }
  }

  #saw(watched: Watched, event: WatchEvent): void {
    const revision = event.event === "gap" ? event.from : event.revision;
    if (revision < watched.last)
      this.world.fail(new Violation(`a watcher was told of ${revision} after ${watched.last}`));
    if (watched.first === 0) watched.first = revision;
    watched.last = event.event === "gap" ? event.to : event.revision;
    if (event.event === "gap") watched.gaps.push({ from: event.from, to: event.to });
    else this.#sawOnce(watched, event);
  }

  /** What is no entry, and an entry that changes a thing twice, may come again. */
  #sawOnce(watched: Watched, event: Extract<WatchEvent, { event: "change" }>): void {
    const key = `${event.revision} ${event.table} ${event.id}`;
    const change = `${key} ${event.before} ${event.state} ${event.operation}`;
    const isEntry = event.operation !== "task.progress" && event.operation !== "worker.health";
    if (isEntry && event.before !== event.state && watched.seen.has(change))
      this.world.fail(new Violation(`a watcher was told twice of ${change}`));
    watched.seen.add(key);
    if (isEntry) watched.seen.add(change);
  }

  // --- at the end -----------------------------------------------------------------------------------------

  /** What is still under way. */
  get unsettled(): string[] {
    const unread = this.#unread.map((n) => `message ${n} was published and did not arrive`);
    return [...this.open.values()]
      .filter(({ process }) => process.alive)
      .map(({ what }) => what)
      .concat(unread);
  }

  /** Whoever is not will still hear of what happened to its leases. */
  get isConnected(): boolean {
    return [...this.clients].every(
      ({ client, process }) => !process.alive || ["connected", "closed", "idle"].includes(client.state),
    );
  }

  /** Holds what everyone was told against what the daemon has. */
  verify(): void {
    const { model } = this.daemon;
    for (const [tag, { outcome, id, key }] of this.sent) {
      const made = model.byTag.get(tag);
      if (outcome === "refused" && made !== undefined)
        throw new Violation(`the submit of ${tag} was refused, and there is task ${made}`);
      if (outcome !== "taken" || id === null) continue;
      const revision = Number(id.split("-")[0]);
      if (model.isVoided(revision) || model.removed.has(id)) continue;
      if (!model.tasks.has(id)) throw new Violation(`task ${id} was acknowledged and is lost`);
      if (!key && made?.[0] !== id)
        throw new Violation(`the submit of ${tag} was told ${id} and made ${made}`);
    }
    for (const { taskId, token, revision } of this.completed) {
      if (model.isVoided(revision) || model.removed.has(taskId)) continue;
      const state = model.state(taskId);
      if (state !== "completed" || model.token(taskId) !== token)
        throw new Violation(
          `the completion of task ${taskId} under ${token} was acknowledged, and it is ${state}`,
        );
    }
    for (const { seen, gaps, first, last } of this.watched)
      for (const { revision, table, key } of model.commits) {
        if (revision <= first || revision > last) continue;
        // Nobody watches answers; what attempts failed of, and that it leaves, comes with the change of its task.
        if (unwatched.has(table)) continue;
        // How far a subscription is is no news.
        if (table === "subscriptions") continue;
        if (seen.has(`${revision} ${table} ${key}`)) continue;
        if (!gaps.some((gap) => revision >= gap.from && revision <= gap.to))
          throw new Violation(
            `a watcher was not told of ${key} of ${table} at revision ${revision}, nor of a gap`,
          );
      }
  }

  /** Every worker holds what the daemon says it holds. */
  verifyLeases(): void {
    const { life, model } = this.daemon;
    if (life === null) return;
    for (const { client, process } of this.clients) {
      if (!process.alive || client.workerId === null || client.state === "closed") continue;
      for (const held of client.held)
        if (model.state(held.id) !== "running" || model.token(held.id) !== held.lease.token)
          throw new Violation(
            `${client.workerId} still holds task ${held.id}, which is ${model.state(held.id)}`,
          );
    }
  }
}
