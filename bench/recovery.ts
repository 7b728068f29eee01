/**
 * How long `cortexd serve` takes to be ready after `kill -9` over a folder at its worst: a million live tasks, a full
 * history of entries that must be verified, and as long an unfolded tail as a daemon under load leaves. The folder is
 * made by a real daemon, once; each round starts on a copy.
 */
import { closeSync, cpSync, fsyncSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../test/support/daemon.ts";
import type { Benchmark, Scale } from "./benchmark.ts";
import { askBaseline, load, loaded, metricsOf, startDaemon } from "./children.ts";
import type { Length, Load } from "./load.ts";

/** Issue 2: ready within ten seconds on two cores. */
const readyMsMax = 10_000;

let built: Promise<string> | null = null;

/**
 * History is read as batches of bytes, whatever they tell: long values that replace each other fill it in half a
 * minute, and leave nothing in the state.
 */
const historyValueLength = 4000;

/** The folder of a daemon that was killed under load. */
async function build(scale: Scale): Promise<string> {
  const live = scale.smoke ? 50_000 : 1_000_000;
  // What is kept at all times: of a full history, 1 GiB, the oldest part goes before there is more.
  const historyBytes = scale.smoke ? 0 : 0.9 * 2 ** 30;
  const daemon = await startDaemon({ ...scale, profile: null });
  const submit = (length: Length): Load => ({
    kind: "frames",
    url: daemon.wsUrl,
    operation: "submit",
    perFrame: 100,
    inFlight: 4,
    length,
    echo: false,
  });
  const lived = async () => (await metricsOf(daemon)).store.logBytes;
  // What is submitted below adds to the history and pushes out its oldest part.
  while ((await lived()) < historyBytes)
    await loaded({
      kind: "keys",
      url: daemon.wsUrl,
      operation: "put",
      inFlight: 64,
      length: { count: 20_000 },
      echo: false,
      longer: historyValueLength,
    });
  await loaded(submit({ count: live }));
  // Killed while as much again is on its way, and nothing had time to fold.
  const more = await load(submit({ count: live }));
  more.start();
  while ((await metricsOf(daemon)).daemon.tasksQueued < live * 1.02) await Bun.sleep(5);
  daemon.signal("SIGKILL");
  await Promise.all([more.end(), daemon.kill()]);
  return daemon.data;
}

async function onCopy<T>(scale: Scale, run: (folder: string) => Promise<T>): Promise<T> {
  built ??= build(scale);
  const folder = temporaryFolder();
  cpSync(await built, folder, { recursive: true });
  // Or the first sync of whoever opens it would write the whole copy.
  for (const name of readdirSync(folder)) {
    const file = openSync(join(folder, name), "r+");
    fsyncSync(file);
    closeSync(file);
  }
  try {
    return await run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const recovery: Benchmark = {
  name: "recovery",
  says: "The cold start: from the start of `cortexd serve` until it is ready, over a million live tasks and a full history (smoke: 50,000), after kill -9.",
  against: "a bare process that reads every row of the same file.",
  figures: { ready: { unit: "s", better: "less" }, tasks: { unit: "tasks", better: "more" } },
  sides: {
    baseline: (scale) =>
      onCopy(scale, async (folder) => ({ ready: (await askBaseline("read", folder)) / 1000 })),
    cortexd: (scale) =>
      onCopy(scale, async (folder) => {
        const before = performance.now();
        const daemon = await startDaemon(scale, folder);
        const readyMs = performance.now() - before;
        const { tasksQueued } = (await metricsOf(daemon)).daemon;
        if (scale.profile === null) await daemon.kill();
        else await daemon.stop();
        if (readyMs > readyMsMax)
          throw new Error(`recovery took ${Math.round(readyMs)} ms; ${readyMsMax} is the limit`);
        return { ready: readyMs / 1000, tasks: tasksQueued };
      }),
  },
};
