/**
 * The same load beside the alternatives: `bun bench/versus/main.ts`; `--help` tells its options. README.md says what is
 * measured, and what it cannot compare.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "../benchmark.ts";
import { given, json, number, refused, someOf } from "../words.ts";
import { beanstalkd } from "./beanstalkd.ts";
import { bullmq } from "./bullmq.ts";
import { cortexd } from "./cortexd.ts";
import { nats } from "./nats.ts";
import { redis } from "./redis.ts";
import { chosen, missing, type Running, removeFolder, type Setting, type System } from "./system.ts";

const systems: Record<string, System> = { cortexd, redis, bullmq, beanstalkd, nats };

const values = given("bun bench/versus/main.ts", "the same load beside the alternatives.", {
  only: someOf(systems, "The systems, parted by commas."),
  seconds: number("5", "How long each is measured."),
  rounds: number("3", "Rounds of each; the median is told."),
  "in-flight": number("100", "Tasks on their way at once."),
  json,
});
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const inFlight = Number(values["in-flight"]);
const systemsChosen = chosen(systems, values.only);
if (![seconds, rounds, inFlight].every((value) => value > 0))
  refused("--seconds, --rounds and --in-flight are numbers above 0");

type Measured = { cyclesPerSecond: number; p50Ms: number; p99Ms: number };

/** A hundred bytes that no other task has. */
const payloadOf = (count: number) => `${String(count).padStart(12, "0")}${"x".repeat(88)}`;

async function measure(running: Running): Promise<Measured> {
  const begunBy = new Map<string, () => void>();
  const doneBy = new Map<string, () => void>();
  const tell = (by: Map<string, () => void>) => (payload: string) => {
    by.get(payload)?.();
    by.delete(payload);
  };
  await running.work(inFlight, tell(begunBy), tell(doneBy));
  let count = 0;
  const next = () => payloadOf(count++);
  /** From the submit until the end of the task is acknowledged. */
  const cycle = async () => {
    const payload = next();
    const done = new Promise<void>((resolve) => doneBy.set(payload, resolve));
    await Promise.all([running.submit(payload), done]);
  };

  // One at a time, at rest: from the submit until the worker begins.
  const times: number[] = [];
  for (let i = 0; i < 220; i++) {
    const payload = next();
    const begun = new Promise<void>((resolve) => begunBy.set(payload, resolve));
    const done = new Promise<void>((resolve) => doneBy.set(payload, resolve));
    const before = performance.now();
    const submitted = running.submit(payload);
    await begun;
    if (i >= 20) times.push(performance.now() - before);
    await Promise.all([submitted, done]);
  }
  times.sort((a, b) => a - b);

  // As fast as it goes, with so many on their way.
  let cycles = 0;
  let isOver = false;
  const loops = Array.from({ length: inFlight }, async () => {
    for (; !isOver; cycles++) await cycle();
  });
  await Bun.sleep(seconds * 200);
  const from = { cycles, at: performance.now() };
  await Bun.sleep(seconds * 1000);
  const cyclesPerSecond = (1000 * (cycles - from.cycles)) / (performance.now() - from.at);
  isOver = true;
  await Promise.all(loops);
  return { cyclesPerSecond, p50Ms: times[100]!, p99Ms: times[198]! };
}

async function round(system: System, setting: Setting): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "cortex-versus-"));
  try {
    const running = await system.start(setting, folder);
    try {
      return await measure(running);
    } finally {
      await running.stop();
    }
  } finally {
    removeFolder(folder);
  }
}

const rows = systemsChosen.flatMap((system) =>
  (["synced", "relaxed"] as const).map((setting) => ({ system, setting, measured: [] as Measured[] })),
);
const notes: string[] = [];
// Round by round and not system by system, so that what the machine does besides meets all alike.
for (let i = 0; i < rounds; i++) {
  for (const { system, setting, measured } of rows) {
    const why = missing(system);
    if (why !== null) {
      if (i === 0 && setting === "synced") notes.push(why);
      continue;
    }
    try {
      measured.push(await round(system, setting));
    } catch (error) {
      notes.push(`${system.name}, ${setting}: ${(error as Error).message.split("\n")[0]}`);
    }
  }
}

const results = rows
  .filter(({ measured }) => measured.length > 0)
  .map(({ system, setting, measured }) => ({
    system: system.name,
    setting,
    by: system.settings[setting],
    rounds: measured.length,
    cyclesPerSecond: Math.round(median(measured.map(({ cyclesPerSecond }) => cyclesPerSecond))),
    startP50Ms: Number(median(measured.map(({ p50Ms }) => p50Ms)).toFixed(2)),
    startP99Ms: Number(median(measured.map(({ p99Ms }) => p99Ms)).toFixed(2)),
  }));
if (values.json) console.log(JSON.stringify({ seconds, inFlight, results, notes }, null, 2));
else {
  console.log(`${inFlight} on their way, ${seconds} s, median of ${rounds} rounds\n`);
  console.log("| system | setting | cycles a second | begun after, p50 | p99 |\n|---|---|---:|---:|---:|");
  for (const { system, setting, by, cyclesPerSecond, startP50Ms, startP99Ms } of results)
    console.log(
      `| ${system} | ${setting}: \`${by}\` | ${cyclesPerSecond} | ${startP50Ms} ms | ${startP99Ms} ms |`,
    );
  for (const note of notes) console.log(`\nNot measured: ${note}`);
}
process.exit(results.length > 0 ? 0 : 1);
