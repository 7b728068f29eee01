/**
 * What programs share, beside the alternatives: `bun bench/versus/shared/main.ts`; `--help` tells its options. ../README.md says
 * what is measured, and what it cannot compare.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "../../benchmark.ts";
import { Child } from "../../children.ts";
import { given, json, number, refused, someOf } from "../../words.ts";
import { chosen, installed, missing, removeFolder, type Setting } from "../system.ts";
import type { Load, Said } from "./load.ts";
import { type Measure, measures, type Server, type System } from "./system.ts";
import { type SystemName, systems } from "./systems.ts";

const settings: Record<Setting, Setting> = { synced: "synced", relaxed: "relaxed" };
const values = given("bun bench/versus/shared/main.ts", "what programs share, beside the alternatives.", {
  only: someOf(systems, "The systems, parted by commas."),
  measure: someOf(measures, "What is measured, parted by commas."),
  setting: someOf(
    settings,
    "Settings, parted by commas: before each answer, or as the system does it by itself.",
  ),
  seconds: number("2", "How long each is measured."),
  warm: number("2", "Seconds that each runs before."),
  rounds: number("3", "Rounds of each; the median is told."),
  "in-flight": number("64", "Operations on their way at once."),
  json,
});
const names = chosen(
  Object.fromEntries(Object.keys(systems).map((name) => [name, name as SystemName])),
  values.only,
);
const asked = chosen(
  Object.fromEntries(Object.keys(measures).map((name) => [name, name as Measure])),
  values.measure,
  "--measure",
);
const settingsAsked = chosen(settings, values.setting, "--setting");
const seconds = Number(values.seconds);
const warm = Number(values.warm);
const rounds = Number(values.rounds);
const inFlight = Number(values["in-flight"]);
if (![seconds, warm, rounds, inFlight].every((value) => value > 0))
  refused("--seconds, --warm, --rounds and --in-flight are numbers above 0");

const runMs = 1000 * seconds;
/** What is compiled as it runs takes its time to be fast. */
const warmMs = 1000 * warm;
const samples = Math.ceil(500 * seconds);
const connections = 50;
/** How far a publisher may be ahead of its subscribers, in messages. */
const ahead = { publish: 2000, fanOut: 1000 };
/** What an acknowledged change is: of these so many syncs must have been. */
const changes: ReadonlySet<Measure> = new Set(["put", "cas", "lock"]);

type Place = Pick<Load, "system" | "place">;

async function begun(load: Load): Promise<Child> {
  const child = new Child("versus/shared/load.ts", load);
  await next(child);
  return child;
}

async function next(child: Child): Promise<Exclude<Said, { failed: string }>> {
  const said = (await child.next()) as Said;
  if (typeof said === "string" || !("failed" in said)) return said;
  await child.end();
  throw new Error(said.failed);
}

async function ran(load: Load): Promise<Exclude<Said, { failed: string }>> {
  const child = await begun(load);
  child.say("start");
  const said = await next(child);
  await child.end();
  return said;
}

/** Messages a second that were with every subscriber. */
async function arriving(at: Place, measure: "publish" | "fanOut"): Promise<number> {
  const durable = measure === "publish";
  const load = { ...at, durable, ahead: ahead[measure] };
  const count = durable ? 1 : connections;
  const subscriber = await begun({ ...load, kind: "subscriber", connections: count });
  const publisher = await begun({ ...load, kind: "publisher" });
  const late = Bun.sleep(2 * (warmMs + runMs) + 10_000).then(() => {
    throw new Error(`${measure}: what was published did not arrive`);
  });
  const unheard = next(publisher);
  for (const other of [late, unheard]) other.catch(() => {});
  try {
    const startAt = performance.now();
    publisher.say("start");
    let from: { heard: number; at: number } | null = null;
    for (;;) {
      const said = (await Promise.race([next(subscriber), unheard, late])) as { heard: number };
      const now = performance.now();
      if (from === null && now - startAt >= warmMs) from = { heard: said.heard, at: now };
      if (from !== null && now - from.at >= runMs)
        return (count * 1000 * (said.heard - from.heard)) / (now - from.at);
      publisher.say(said);
    }
  } finally {
    await Promise.all([subscriber.end(), publisher.end()]);
  }
}

async function measured(at: Place, server: Server, setting: Setting, measure: Measure): Promise<number> {
  if (measure === "publish" || measure === "fanOut") return arriving(at, measure);
  if (measure === "published" || measure === "emitted") {
    const said = await ran({ ...at, kind: "heard", durable: measure === "published", samples });
    const { times } = said as { times: number[] };
    // The first ones find cold code.
    return median(times.slice(Math.floor(times.length / 5)));
  }
  const before = await server.syncs();
  const said = await ran({ ...at, kind: "calls", measure, inFlight, warmMs, runMs });
  const { perSecond, total } = said as { perSecond: number; total: number };
  const after = await server.syncs();
  // No more than what is in flight can share a sync.
  if (setting === "synced" && changes.has(measure) && before !== null && after !== null)
    if (!(after - before >= total / inFlight))
      throw new Error(`${total} of ${measure} took ${after - before} syncs`);
  return perSecond;
}

type Row = { name: SystemName; system: System; setting: Setting; found: Map<Measure, number[]> };
const rows: Row[] = settingsAsked.flatMap((setting) =>
  names.map((name) => ({ name, system: systems[name], setting, found: new Map() })),
);
const notes = new Set<string>();
const packages = mkdtempSync(join(tmpdir(), "cortex-versus-"));

async function round({ name, system, setting, found }: Row): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "cortex-versus-"));
  try {
    const server = await system.start(setting, folder);
    try {
      for (const measure of asked.filter((one) => system.has.includes(one))) {
        const place = { port: server.port, folder: packages, topic: measure };
        const at: Place = { system: name, place };
        const value = await measured(at, server, setting, measure);
        found.set(measure, [...(found.get(measure) ?? []), value]);
      }
    } finally {
      await server.stop();
    }
  } finally {
    removeFolder(folder);
  }
}

const present = rows.filter(({ system, setting }) => {
  const why = missing(system);
  if (why !== null) notes.add(why);
  return why === null && system.settings[setting] !== null;
});
try {
  const wanted = Object.assign({}, ...present.map(({ system }) => system.packages));
  if (Object.keys(wanted).length > 0) await installed(packages, wanted);
} catch (error) {
  notes.add((error as Error).message);
}
// Round by round and not system by system, every other one the other way round, so that what the machine does besides meets
// all alike.
for (let i = 0; i < rounds; i++)
  for (const row of i % 2 === 0 ? present : present.toReversed())
    try {
      await round(row);
    } catch (error) {
      notes.add(`${row.system.name}, ${row.setting}: ${(error as Error).message.split("\n")[0]}`);
    }
removeFolder(packages);

const isTime = (measure: Measure) => measure === "published" || measure === "emitted";
const results = present
  .filter(({ found }) => found.size > 0)
  .map(({ system, setting, found }) => ({
    system: system.name,
    setting,
    by: system.settings[setting],
    measured: Object.fromEntries(
      [...found].map(([measure, of]) => [measure, Number(median(of).toFixed(isTime(measure) ? 3 : 0))]),
    ) as Partial<Record<Measure, number>>,
  }));
if (values.json)
  console.log(JSON.stringify({ seconds, warm, rounds, inFlight, results, notes: [...notes] }, null, 2));
else {
  console.log(
    `${inFlight} in flight, ${connections} listen, ${seconds} s each after ${warm}, median of ${rounds} rounds\n`,
  );
  console.log(`| system | setting |${asked.map((measure) => ` ${measures[measure]} |`).join("")}`);
  console.log(`|---|---|${asked.map(() => "---:|").join("")}`);
  for (const { system, setting, by, measured } of results) {
    const cells = asked.map((measure) => ` ${measured[measure]?.toLocaleString("en") ?? "–"} |`);
    console.log(`| ${system} | ${setting}: \`${by}\` |${cells.join("")}`);
  }
  for (const note of notes) console.log(`\nNot measured: ${note}`);
}
process.exit(results.length > 0 ? 0 : 1);
