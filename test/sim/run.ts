/**
 * One run: a seed makes a world, its people and its troubles; they play; then all is mended, everything comes to its
 * end, and the run is held against the promises as a whole. The same seed gives the same run, to the last byte that
 * left the daemon.
 */
import type { EngineConfig } from "../../src/engine/config.ts";
import type { RequestMessage } from "../../src/wire/frames.ts";
import { operations } from "../../src/wire/operations.ts";
import { Cast, type CastOptions } from "./cast.ts";
import { Chaos } from "./chaos.ts";
import { Daemon, type Plants, type PresetName } from "./daemon.ts";
import { Disk } from "./disk.ts";
import { Network } from "./network.ts";
import { Violation, World } from "./world.ts";

export type RunOptions = {
  seed: number;
  preset?: PresetName;
  plants?: Plants;
};

export type Run = {
  seed: number;
  preset: PresetName;
  failure: Error | null;
  /** Over everything that happened. */
  hash: number;
  counts: Record<string, number>;
  simulatedMs: number;
  eventCount: number;
  recent: string[];
};

/** How often the state as a whole is checked, in events. */
const thoroughEvery = 80;
/** How long everything may take to come to its end once nothing goes wrong any more. */
const endingMs = 400_000;

export function run({ seed, preset: given, plants = {} }: RunOptions): Run {
  const world = new World(seed);
  const { random } = world;
  const chosen = random.pick([
    "durable",
    "durable",
    "high-availability",
    "production",
    "development",
  ] as const);
  const preset = given ?? chosen;
  const config: EngineConfig = {
    preset,
    version: "0.0.0",
    heartbeatMs: 1000,
    silenceMs: random.pick([2500, 4000]),
    pushAckMs: random.pick([700, 2000]),
    stalledMs: random.pick([500, 2000]),
    graceMs: random.pick([0, 1000, 3000]),
    ageingMs: random.pick([0, 0, 3000]),
    interruptionsMax: random.int(1, 5),
    retentionMs: random.chance(0.2) ? 8000 : 3_600_000,
    retentionCount: random.chance(0.2) ? 5 : 100_000,
    archives: true,
    queuedTasksMax: random.chance(0.15) ? 12 : 100_000,
    memoryBytesMax: random.chance(0.05) ? 40_000 : 1e9,
    messageIntervalMs: 0,
    watchHistoryBytesMax: 20_000,
    undurableBytesMax: random.chance(0.1) ? 3000 : 1e9,
  };
  const writer = () => ({
    syncIntervalMs: 1000,
    snapshotIntervalMs: random.pick([1500, 5000]),
    markIntervalMs: random.pick([200, 1000]),
    tailBytesMax: random.pick([4000, 1e9]),
    tailChangesMax: random.pick([50, 1e9]),
    historyMs: random.pick([3000, 3_600_000]),
    historyBytesMax: random.pick([20_000, 1e9]),
    idleFoldBytes: random.pick([0, 5000]),
    stepBytes: random.pick([1, 100_000]),
  });
  const changesPreset = given === undefined && preset !== "development" && random.chance(0.2);
  const people: CastOptions = {
    producers: random.int(1, 3),
    restProducers: random.int(0, 1),
    helpers: random.int(1, 3),
    clientWorkers: random.int(0, 2),
    restWorkers: random.int(0, 2),
    watchers: random.int(0, 1),
    schedulers: random.int(0, 1),
    graphs: random.int(0, 1),
    regulators: random.int(0, 1),
    lockers: random.int(0, 2),
    lockersWork: seed % 3 === 0,
    // Where a crash may lose what was answered there is nothing to hold it to.
    messengers: preset === "durable" && !changesPreset ? random.int(0, 1) : 0,
    paceMs: random.pick([150, 500, 1000]),
    queues: random.int(1, 3),
    traders: seed % 2,
  };
  const disk = new Disk(world);
  const daemon = new Daemon(world, disk, { preset, config, writer, changesPreset, plants });
  daemon.model.regulated = people.regulators > 0;
  const network = new Network(world, () => daemon.listener);
  network.mayRepeat = (session, frame) =>
    (JSON.parse(frame) as RequestMessage[]).every(
      ({ op, seq }) => operations[op].kind !== "mutation" || daemon.model.wasAnswered(`${session}/${seq}`),
    );
  daemon.onKilled = (power) => {
    network.broken(null);
    for (const link of [...network.links]) {
      network.links.delete(link);
      link.serverOpen = false;
      // A machine without power says no goodbye.
      link.break(power && random.chance(0.7) ? "late" : "soon", "soon");
    }
  };
  const cast = new Cast(world, daemon, network, people);
  const chaos = new Chaos(world, daemon, disk, network, cast);
  const playMs = random.pick([8000, 15_000, 30_000]);
  world.trace("world", JSON.stringify({ preset, changesPreset, config, people, playMs }));

  const ended = (): boolean =>
    daemon.model.unfinished.length === 0 && cast.unsettled.length === 0 && cast.isConnected;
  /** Goes on until it is so, or the time is over; false: something failed, or the time was over first. */
  const until = (end: number, holds: () => boolean): boolean => {
    let count = 0;
    while (world.failure === null) {
      if (count++ % 20 === 0 && holds()) return true;
      if (!world.step(end)) return holds();
      world.see(() => daemon.look(count % thoroughEvery === 0));
    }
    return false;
  };

  const realQueueMicrotask = globalThis.queueMicrotask;
  // What throws in a microtask is an error of this run, wherever it was thrown.
  globalThis.queueMicrotask = (call) => realQueueMicrotask(() => world.see(call));
  try {
    chaos.start();
    cast.start();
    until(playMs, () => false);
    if (world.failure === null) {
      world.trace("the end begins");
      chaos.end();
      cast.end();
      if (!until(playMs + endingMs, ended) && world.failure === null) {
        const left = [...daemon.model.unfinished.slice(0, 3), ...cast.unsettled.slice(0, 3)].join("; ");
        throw new Violation(
          `${endingMs / 1000} s after the last trouble this has not come to its end: ${left}`,
        );
      }
      // What is on its way arrives, so that all sides know the same.
      until(world.now + 3000, () => false);
    }
    if (world.failure === null) {
      daemon.look(true);
      cast.verify();
      cast.verifyLeases();
      let stopped = false;
      daemon.stop(() => {
        stopped = true;
      });
      if (!until(world.now + 20_000, () => stopped) && world.failure === null)
        throw new Violation("the daemon did not stop in good order");
      daemon.start();
      if (!until(world.now + 20_000, () => daemon.life?.isUp === true) && world.failure === null)
        throw new Violation("the daemon did not start after it stopped in good order");
      // What it archives takes a moment, and what it finds in its log's tail.
      const { archived } = daemon.model;
      until(world.now + 2000, () => false);
      if (world.failure === null && preset !== "development") daemon.model.verifyArchive(archived, disk);
    }
  } catch (error) {
    world.fail(error);
  } finally {
    for (const process of cast.processes) process.kill();
    daemon.life?.process.kill();
    globalThis.queueMicrotask = realQueueMicrotask;
  }
  return {
    seed,
    preset,
    failure: world.failure,
    hash: world.hash,
    counts: world.counts,
    simulatedMs: world.now,
    eventCount: world.eventCount,
    recent: world.recent,
  };
}
