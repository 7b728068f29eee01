/**
 * `createCoordinator()`: the whole coordinator in the caller's process, behind the same client, with no port. It keeps
 * its state in memory, or in a data folder as `cortexd serve` does. It reads no environment and no file: what it is
 * told are the options of `serve` that are about data, tasks and limits, by their names in the configuration file.
 */
import {
  type ClientOptions,
  type CoordinationClient,
  type Handled,
  type Handler,
  machine,
  type RunningWorker,
  type RunOptions,
  type StopOptions,
} from "../../client/index.ts";
import pkg from "../../package.json" with { type: "json" };
import { engineConfig, logOptions } from "../config.ts";
import { systemClock } from "../engine/clock.ts";
import { deferred } from "../lib/deferred.ts";
import { openLog } from "../log/open.ts";
import { Clients } from "./clients.ts";
import { Life } from "./life.ts";
import { Network } from "./network.ts";
import { valuesOf } from "./values.ts";

/** Where the coordinator is and by what clock, nobody has to say. */
type Settled = "url" | "httpUrl" | "token" | "transport" | "environment";
export type EmbeddedClientOptions = Omit<ClientOptions, Settled>;
export type EmbeddedWorkerOptions = Omit<RunOptions, Settled>;

/** Times as in the configuration file: a number of ms, or a text such as "30s". */
export type Tuning = {
  [N in
    | ("heartbeatMs" | "silenceMs" | "pushAckMs" | "stalledMs" | "graceMs" | "ageingMs" | "interruptionsMax")
    | ("retentionMs" | "retentionCount" | "archiveMs" | "archiveCount")
    | (
        | "queuedTasksMax"
        | "memoryBytesMax"
        | "undurableBytesMax"
        | "messageIntervalMs"
        | "watchHistoryBytesMax"
      )]?: number | string;
};

export type CoordinatorOptions = Tuning & {
  /** The data folder; made if it is not there. Needs Bun. Default: none, and everything stays in memory. */
  data?: string;
  /** How `data` is kept. Default `durable`: an answer comes once what it tells is synced. */
  preset?: "durable" | "high-availability" | "production";
};

export type EmbeddedCoordinator = {
  /** A client of this coordinator; it connects with its first call. */
  client(options?: EmbeddedClientOptions): CoordinationClient;
  /** Starts a worker; resolves once it is registered. */
  worker<P = unknown, R = unknown>(
    queue: string | string[],
    handler: Handler<P, R> | readonly Handled[],
    options?: EmbeddedWorkerOptions,
  ): Promise<RunningWorker>;
  /** Resolves when it has stopped; rejects when its log is beyond use, after which only a new start knows what is on disk. */
  readonly done: Promise<void>;
  /** Stops the workers it started, closes its clients, writes what is left, and closes the log. Twice is fine. */
  stop(options?: StopOptions): Promise<void>;
};

/** Rejects with what is wrong with the options, or with a LogError when the data folder cannot be opened. */
export async function createCoordinator(options: CoordinatorOptions = {}): Promise<EmbeddedCoordinator> {
  const { data, preset } = options;
  if (data === undefined && preset !== undefined)
    throw new Error(`the preset ${preset} is about a data folder: give data, or leave the preset out`);
  if (data !== undefined && typeof Bun === "undefined")
    throw new Error("a data folder needs Bun; without data the coordinator runs here too, in memory");
  const values = valuesOf({ ...options, preset: preset ?? (data === undefined ? "development" : "durable") });

  const network = new Network({ now: machine.now, setTimer: machine.setTimer });
  // There is nothing here that could keep a socket from coming about.
  const clients = new Clients(network, machine, ({ websocket }) => ({ websocket }));
  const end = deferred<void>();
  const life = await Life.start({
    log: openLog(logOptions(values, systemClock.wall())),
    clock: systemClock,
    config: engineConfig(values, pkg.version),
    random: machine.random,
    onFailure: (error) => {
      network.listener = null;
      // That they end is told once, by `done`.
      void clients.stopWorkers({ graceMs: 0 });
      clients.close();
      end.reject(error);
    },
  });
  network.listener = life;

  const stop = async (stopOptions?: StopOptions) => {
    await clients.stopWorkers(stopOptions);
    clients.close();
    network.listener = null;
    await life.stop();
    end.resolve();
  };
  let stopping: Promise<void> | null = null;
  return {
    client: (clientOptions) => clients.client(clientOptions),
    worker: (queue, handler, workerOptions) => clients.worker(queue, handler, workerOptions),
    done: end.promise,
    stop: (stopOptions) => (stopping ??= stop(stopOptions)),
  };
}
