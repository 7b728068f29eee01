/**
 * `createCoordinator()`: the whole coordinator in the caller's process, behind the same client, with no port. It keeps
 * its state in memory, or in a data folder as `cortexd serve` does. It reads no environment and no file: what it is
 * told are the options of `serve` that are about data, tasks and limits, by their names in the configuration file.
 */
import type { CoordinationClient } from "../../client/client.ts";
import { machine } from "../../client/transport.ts";
import type { Handler, RunningWorker, StopOptions } from "../../client/worker.ts";
import pkg from "../../package.json" with { type: "json" };
import {
  engineConfig,
  loadConfig,
  logOptions,
  type OptionName,
  optionTable,
  type Values,
} from "../config.ts";
import { systemClock } from "../engine/clock.ts";
import { deferred } from "../lib/deferred.ts";
import { openLog } from "../log/open.ts";
import { Clients, type EmbeddedClientOptions, type EmbeddedWorkerOptions } from "./clients.ts";
import { Life } from "./life.ts";
import { Network } from "./network.ts";

/** Times as in the configuration file: a number of ms, or a text such as "30s". */
export type Tuning = {
  [N in
    | ("heartbeatMs" | "silenceMs" | "pushAckMs" | "stalledMs" | "graceMs" | "ageingMs" | "interruptionsMax")
    | ("retentionMs" | "retentionCount" | "queuedTasksMax" | "memoryBytesMax" | "undurableBytesMax")]?:
    | number
    | string;
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
    handler: Handler<P, R>,
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

/** Options that are about ports, tokens and log lines mean nothing here. */
const groups = ["data", "tasks and workers", "limits"];
/** What the state may use where nothing is said: whoever embeds it has other things in memory too. */
const memoryBytes = 2 * 1024 ** 3;

/** The values of all options; throws with everything that is wrong with those given. */
export function valuesOf(options: { [name: string]: unknown }): Values {
  const strangers = Object.keys(options).filter((name) => {
    const row = Object.hasOwn(optionTable, name) ? optionTable[name as OptionName] : null;
    return row === null || !groups.includes(row.group);
  });
  const result = loadConfig({
    argv: ["--config", "the options of createCoordinator"],
    environment: {},
    readFile: () => JSON.stringify(options),
    machine: { memoryBytes },
  });
  const problems = [
    ...strangers.map((name) => `${JSON.stringify(name)} is no option of createCoordinator`),
    ...("problems" in result ? result.problems : []),
  ];
  if ("config" in result && problems.length === 0) return result.config.values;
  throw new Error(problems.join("\n"));
}
