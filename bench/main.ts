/**
 * `bun run bench`: runs the benchmarks and prints what they found; `--help` tells its options. Data folders lie in TMPDIR:
 * it should be the disk that is meant. Ends with 1 when anything failed or a figure is zero.
 */
import { writeFileSync } from "node:fs";
import { backlog } from "./backlog.ts";
import { type Benchmark, measure, type Result, type Scale } from "./benchmark.ts";
import { graphs } from "./graphs.ts";
import { beyond, bounds } from "./guard.ts";
import { idle } from "./idle.ts";
import { kv } from "./kv.ts";
import { locks } from "./locks.ts";
import { memory } from "./memory.ts";
import { messages } from "./messages.ts";
import { recovery } from "./recovery.ts";
import { machine, report } from "./report.ts";
import { schedules } from "./schedules.ts";
import { tasks } from "./tasks.ts";
import { flag, given, json, refused } from "./words.ts";

const benchmarks: Benchmark[] = [
  ...tasks,
  ...kv,
  locks,
  ...messages,
  backlog,
  ...idle,
  memory,
  recovery,
  schedules,
  graphs,
];

const names = benchmarks.map((one) => one.name).join(", ");
const values = given("bun run bench", "runs the benchmarks and prints what they found.", {
  smoke: flag("One quick round of each."),
  guard: flag(
    "The same, and fail when a ratio is beyond its bound twice: what was is run again with more rounds.",
  ),
  json,
  only: {
    type: "string",
    value: "NAMES",
    multiple: true,
    default: [],
    help: `Run these, parted by commas: ${names}.`,
  },
  rounds: { type: "string", value: "N", help: "Rounds of each. Default: 3; 1 with --smoke and --guard." },
  profile: { type: "string", value: "DIR", help: "Let the daemon write CPU profiles there." },
});

for (const [name, figures] of Object.entries(bounds))
  for (const figure of Object.keys(figures))
    if (benchmarks.find((one) => one.name === name)?.figures[figure] === undefined)
      throw new Error(`guard.ts bounds ${figure} of ${name}, which nothing measures`);

const only = values.only.flatMap((names) => names.split(","));
for (const name of only)
  if (!benchmarks.some((one) => one.name === name))
    refused(`there is no benchmark ${name}; there are ${names}`);

const smoke = values.smoke || values.guard;
const scale: Scale = {
  smoke,
  rounds: Number(values.rounds ?? (smoke ? 1 : 3)),
  // A coordinator serves for weeks, and what it runs often is compiled within seconds.
  warmMs: smoke ? 100 : 5000,
  runMs: smoke ? 800 : 2000,
  profile: values.profile ?? null,
};
if (!(Number.isInteger(scale.rounds) && scale.rounds > 0)) refused("--rounds is a whole number from 1 on");

const results: Result[] = [];
const failures: string[] = [];

const run = (benchmark: Benchmark, scale: Scale) =>
  measure(benchmark, scale, (side, round) =>
    process.stderr.write(`${benchmark.name}: round ${round + 1} of ${scale.rounds}, ${side}\n`),
  );

async function guarded(benchmark: Benchmark): Promise<Result> {
  const first = await run(benchmark, scale);
  const why = beyond(first);
  if (why.length === 0) return first;
  process.stderr.write(`${why.join("\n")}\nonce more, in more rounds\n`);
  const second = await run(benchmark, { ...scale, rounds: scale.rounds + 2 });
  failures.push(...beyond(second));
  return second;
}

/** What was found, also where a process of a later benchmark has died and ends all. */
let isTold = false;
function tell(): void {
  if (isTold) return;
  isTold = true;
  const found = { at: new Date().toISOString(), machine: machine(), ...scale, results, failures };
  // At once: an exit waits for nothing that a pipe has not taken yet.
  writeFileSync(1, values.json ? `${JSON.stringify(found, null, 2)}\n` : `\n${report(results, scale)}`);
}
process.on("exit", tell);

for (const benchmark of benchmarks) {
  if (only.length > 0 && !only.includes(benchmark.name)) continue;
  try {
    results.push(await (values.guard ? guarded(benchmark) : run(benchmark, scale)));
  } catch (error) {
    failures.push(`${benchmark.name}: ${(error as Error).message}`);
    process.stderr.write(`${(error as Error).stack}\n`);
  }
}

tell();
for (const failure of failures) process.stderr.write(`FAILED ${failure}\n`);
process.exit(failures.length > 0 ? 1 : 0);
