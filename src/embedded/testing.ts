/**
 * The coordinator for tests: the same engine, sessions and clients, over a clock that stands still until the test
 * moves it, a disk in memory that outlives a kill, and a network that is as bad as the test asks for. Nothing in it
 * waits for real time but `waitFor`, which waits for handlers of the test's own.
 */
import { type CoordinationClient, machine, type RunningWorker, type TaskHandle } from "../../client/index.ts";
import pkg from "../../package.json" with { type: "json" };
import { engineConfig, readDuration } from "../config.ts";
import { systemClock } from "../engine/clock.ts";
import { deferred } from "../lib/deferred.ts";
import { Random } from "../lib/random.ts";
import type { OperationName } from "../wire/operations.ts";
import type { Task, TaskState, TaskSubmitted } from "../wire/tasks.ts";
import { Clients } from "./clients.ts";
import { MovedClock } from "./clock.ts";
import type { EmbeddedCoordinator, Tuning } from "./coordinator.ts";
import { KeptDisk, KeptLog } from "./disk.ts";
import { Life } from "./life.ts";
import { Network } from "./network.ts";
import { valuesOf } from "./values.ts";

export type TestCoordinatorOptions = Tuning & {
  /** When it begins, in epoch ms. Default: now. */
  startAt?: number;
  /** Ids and jitter are drawn from it. Default 1. */
  seed?: number;
};

/** Milliseconds, or a text such as "500ms", "30s", "5m". */
export type Duration = number | string;
/** A client or a worker, or a worker by its id. */
export type Somebody = CoordinationClient | RunningWorker | string;

export type Faults = {
  /** Breaks the connections of one client or worker, or of all. What was on its way is lost. */
  disconnect(who?: Somebody): void;
  /** Connections that stand are left alone; new ones are made over HTTP. */
  refuseWebSockets(refuse?: boolean): void;
  /** From now on every frame is on its way for so long, in either direction. 0: no longer. */
  delay(duration: Duration): void;
  /** The next operation of this name (default: any) is carried out, and its answer lost with the connection. */
  loseAnswer(operation?: OperationName): void;
  /** Changes are refused with `disk-full`, and what is not on disk is undone. */
  fillDisk(full?: boolean): void;
  /** Nothing gets to the client or worker or from it, and its connections stand. What was said arrives afterwards. */
  silence(who: Somebody, silent?: boolean): void;
};

export type TestCoordinator = EmbeddedCoordinator & {
  /** The coordinator's wall clock, in epoch ms. */
  readonly now: number;
  /** Time passes, and everything that is due in it happens at its moment. */
  advance(duration: Duration): Promise<void>;
  /** Everything happens that can happen without time passing. */
  settle(): Promise<void>;
  /**
   * Resolves with the task once it is in this state. Rejects when it ended in another one, or after `withinMs` of real
   * time (default 5,000). It does not move the clock.
   */
  waitFor(
    task: string | { id: string } | TaskHandle | PromiseLike<TaskSubmitted>,
    state: TaskState,
    options?: { withinMs?: number },
  ): Promise<Task>;
  readonly faults: Faults;
  /** As `kill -9`: what was acknowledged is on the disk. */
  kill(): void;
  /** Kills it if it runs, and starts it again from its disk. Clients come back by themselves, as time passes. */
  restart(): Promise<void>;
};

const endStates: ReadonlySet<TaskState> = new Set(["completed", "failed", "dead", "cancelled"]);

export async function createCoordinator(options: TestCoordinatorOptions = {}): Promise<TestCoordinator> {
  const { startAt = systemClock.wall(), seed = 1, ...tuning } = options;
  const config = engineConfig(valuesOf(tuning), pkg.version);
  const random = new Random(seed);
  const disk = new KeptDisk();
  const settle = async () => {
    do await turn();
    while (network.soonCount > 0);
  };
  const clock = new MovedClock({ wall: startAt, monotonic: 0 }, settle);
  const environment = {
    now: clock.monotonic,
    random: () => random.next(),
    setTimer: (ms: number, call: () => void) => clock.setTimer(ms, call),
    clearTimer: (timer: unknown) => clock.clearTimer(timer as ReturnType<MovedClock["setTimer"]>),
  };
  const network = new Network(environment);
  const clients = new Clients(network, environment, (both) => both);
  /** Told whenever something may have changed. */
  const looking = new Set<() => void>();
  // Later, because a commit is no place to ask something.
  const changed = () => {
    for (const look of looking) queueMicrotask(look);
  };

  let life: Life | null = null;
  let log = new KeptLog(disk);
  const end = deferred<void>();
  const kill = () => {
    life?.kill();
    log.cut();
    life = null;
    network.listener = null;
    network.cut(null);
  };
  const start = async () => {
    log = new KeptLog(disk);
    const next = await Life.start({
      log,
      clock,
      config,
      random: environment.random,
      onFailure: end.reject,
    });
    next.engine.store.onCommit(changed);
    life = next;
    network.listener = next;
    changed();
  };

  const stop = async () => {
    const stopped = clients.stopWorkers({ graceMs: 0 });
    await clock.advance(0);
    clients.close();
    await clock.advance(0);
    await stopped;
    network.listener = null;
    await life?.stop();
    end.resolve();
  };

  const read = async (taskId: string): Promise<Task | null> => {
    if (life === null) return null;
    const caller = { who: "test", session: null, seq: 0, ackedThrough: 0 };
    const answer = await life.engine.call("task.get", { taskId }, caller);
    if ("ok" in answer) return JSON.parse(answer.ok);
    if (answer.error.retryable) return null;
    throw new Error(answer.error.detail);
  };

  const waitFor: TestCoordinator["waitFor"] = async (task, state, { withinMs = 5000 } = {}) => {
    const id = typeof task === "string" ? task : "id" in task ? task.id : (await task).id;
    let last: Task | null = null;
    return new Promise<Task>((resolve, reject) => {
      const done = (settled: () => void) => {
        looking.delete(look);
        machine.clearTimer(timer);
        settled();
      };
      const look = () => {
        read(id).then(
          (seen) => {
            last = seen ?? last;
            if (seen?.state === state) done(() => resolve(seen));
            else if (seen !== null && endStates.has(seen.state))
              done(() => reject(new Error(`task ${id} is ${seen.state}, and was to be ${state}`)));
          },
          (error) => done(() => reject(error)),
        );
      };
      const timer = machine.setTimer(withinMs, () => {
        const stands = last === null ? "the coordinator does not run" : `it is ${last.state}`;
        const advice = "time stands still until advance() moves it";
        done(() =>
          reject(new Error(`task ${id} was not ${state} in ${withinMs} ms: ${stands}, and ${advice}`)),
        );
      });
      looking.add(look);
      look();
    });
  };

  await start();
  let stopping: Promise<void> | null = null;
  return {
    client: (clientOptions) => clients.client(clientOptions),
    worker: (queue, handler, workerOptions) => clients.worker(queue, handler, workerOptions),
    done: end.promise,
    stop: () => (stopping ??= stop()),
    get now() {
      return clock.wallNow;
    },
    advance: (duration) => clock.advance(msOf(duration)),
    settle,
    waitFor,
    faults: {
      disconnect: (who) => network.cut(who === undefined ? null : clients.hostOf(who)),
      refuseWebSockets: (refuse = true) => {
        network.refusesWebSockets = refuse;
      },
      delay: (duration) => {
        network.delayMs = msOf(duration);
      },
      loseAnswer: (operation) => network.loseAnswer(operation ?? null),
      fillDisk: (full = true) => {
        disk.isFull = full;
      },
      silence: (who, silent = true) => clients.hostOf(who).silence(silent),
    },
    kill,
    async restart() {
      kill();
      await start();
      await settle();
    },
  };
}

/** One turn of the real loop: every promise that can go on goes on. */
const turn = () =>
  new Promise<void>((resolve) => {
    if (typeof setImmediate === "function") setImmediate(resolve);
    else setTimeout(resolve, 0);
  });

function msOf(duration: Duration): number {
  const ms = typeof duration === "number" ? duration : readDuration(duration);
  if (!(ms >= 0) || ms === Number.POSITIVE_INFINITY)
    throw new Error(`${JSON.stringify(duration)} is no duration: give milliseconds, or a text such as "30s"`);
  return ms;
}
