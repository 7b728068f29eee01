/**
 * The benchmarks of messages: how many a second are published to be kept, how many deliveries a second of what is emitted
 * at most once, and how soon a message is there at rest. The daemon proves by its own counters what it kept and synced.
 */
import { RestClient } from "../client/rest.ts";
import type { Benchmark, Scale } from "./benchmark.ts";
import {
  countingSyncs,
  expectSyncs,
  load,
  loaded,
  metricsOf,
  perSecond,
  usageOf,
  withBaseline,
  withDaemon,
} from "./children.ts";
import type { Load } from "./load.ts";
import { answering, echoing, latencies, lengthOf, samplesOf } from "./tasks.ts";

const perFrame = 100;
/** Frames without an answer: what is kept waits for a sync, and shares it with all that is on its way. */
const inFlight = { publish: 64, emit: 4 };
const frames = (operation: "publish" | "emit", url: string, scale: Scale, echo: boolean): Load => ({
  ...{ kind: "frames", url, operation, perFrame, inFlight: inFlight[operation], echo },
  length: lengthOf(scale, echo),
});
const cpu = { unit: "µs a message", better: "less" } as const;

const publish: Benchmark = {
  name: "publish-frames",
  says: "One connection publishes messages that a subscription keeps, in frames of 100, 64 frames in flight.",
  against: "the same frames through a bare WebSocket echo.",
  figures: { rate: { unit: "messages/s", better: "more" }, cpu },
  sides: {
    baseline: echoing((url, scale) => frames("publish", url, scale, true)),
    cortexd: (scale) =>
      withDaemon(scale, async (daemon) => {
        const { subscriptions } = new RestClient({ url: `http://127.0.0.1:${daemon.port}` });
        await subscriptions.put({ name: "bench", topic: "bench.*", pendingMax: 10_000_000 });
        const { found, syncs } = await countingSyncs(daemon, () =>
          answering(daemon.pid, frames("publish", daemon.wsUrl, scale, false)),
        );
        const { pending } = await subscriptions.get("bench");
        if (pending !== found.total) throw new Error(`${pending} messages are kept, not ${found.total}`);
        expectSyncs(syncs, found.total, "messages", perFrame * inFlight.publish);
        return found.figures;
      }),
  },
};

const connections = 50;

const fanOut: Benchmark = {
  name: "fan-out",
  says: `One connection emits in frames of 100, ${connections} connections of another process listen: deliveries that arrived.`,
  against: "the emitted frames alone through a bare WebSocket echo.",
  figures: { rate: { unit: "deliveries/s", better: "more" }, cpu: { ...cpu, unit: "µs a delivery" } },
  sides: {
    baseline: echoing((url, scale) => frames("emit", url, scale, true)),
    cortexd: (scale) =>
      withDaemon(scale, async (daemon) => {
        const listening = await load({ kind: "listeners", url: daemon.wsUrl, connections });
        listening.start();
        const before = usageOf(daemon.pid).cpuMs;
        await loaded(frames("emit", daemon.wsUrl, scale, false));
        const { messagesLost, subscriptionsOpen } = (await metricsOf(daemon)).bus;
        listening.stop();
        const outcome = await listening.outcome();
        if (subscriptionsOpen !== connections) throw new Error(`${subscriptionsOpen} connections listened`);
        process.stderr.write(`${messagesLost} deliveries were lost to slow readers\n`);
        const cpuMs = usageOf(daemon.pid).cpuMs - before;
        return { rate: perSecond(outcome), cpu: (1000 * cpuMs) / outcome.count };
      }),
  },
};

const heard = (emits: boolean): Benchmark => ({
  name: emits ? "emit-latency" : "publish-latency",
  says: `From ${emits ? "an emit" : "a publish"} until another connection has the message, at rest.`,
  against: emits
    ? "a frame that is echoed."
    : "a frame that is echoed once a thread has committed it as one synced SQLite row.",
  figures: { p50: { unit: "ms", better: "less" }, p99: { unit: "ms", better: "less" } },
  sides: {
    baseline: (scale) =>
      withBaseline(emits ? "echo" : "commit", async ({ url }) =>
        latencies(await loaded({ kind: "echoed", url, samples: samplesOf(scale) })),
      ),
    cortexd: (scale) =>
      withDaemon(scale, async (daemon) =>
        latencies(await loaded({ kind: "heard", url: daemon.wsUrl, samples: samplesOf(scale), emits })),
      ),
  },
});

export const messages: Benchmark[] = [publish, fanOut, heard(true), heard(false)];
