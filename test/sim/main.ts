/**
 * `bun run sim`: runs seeds and stops at the first that breaks a promise, with all that is needed to see it again.
 * The clock of the machine is read here alone, to say how fast it went and when the time is over.
 */
import { parseArgs } from "node:util";
import { canaries, hunt } from "./canaries.ts";
import { missing } from "./coverage.ts";
import { type Run, run } from "./run.ts";

const usage = `bun run sim [--seeds N] [--from S] [--seed S] [--seconds T] [--canaries]

  --seeds N     run N seeds (default 200)
  --from S      beginning with this one (default 1)
  --seed S      run this seed twice, exactly, and show its trace
  --seconds T   run seeds until T seconds have passed
  --canaries    plant each known bug and see that it is caught`;

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    seconds: { type: "string" },
    canaries: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const breathe = () => new Promise<void>((resolve) => setImmediate(resolve));
let current = 0;
process.on("unhandledRejection", (error) => {
  console.error(`seed ${current}: a promise was rejected and nobody heard of it:`, error);
  process.exit(1);
});

function told({ seed, preset, failure, recent, simulatedMs }: Run): void {
  console.error(`\n${recent.join("\n")}\n`);
  console.error(`seed ${seed} (${preset}) broke a promise at ${(simulatedMs / 1000).toFixed(2)} s:`);
  console.error(`  ${failure?.name === "Error" && !failure.stack ? failure : (failure?.stack ?? failure)}`);
  console.error(`\nrepeat it with\n  bun run sim --seed ${seed}`);
}

function one(seed: number): number {
  const first = run({ seed });
  const second = run({ seed });
  if (first.failure !== null) told(first);
  else console.log(first.recent.join("\n"));
  console.log(
    `seed ${seed} (${first.preset}): ${first.eventCount} events, ${(first.simulatedMs / 1000).toFixed(1)} s simulated, trace ${hex(first.hash)}`,
  );
  if (first.hash !== second.hash) {
    console.error(`the second run of seed ${seed} went another way: ${hex(second.hash)}`);
    return 1;
  }
  return first.failure === null ? 0 : 1;
}

const hex = (hash: number) => (hash >>> 0).toString(16).padStart(8, "0");

async function many(): Promise<number> {
  const seconds = values.seconds === undefined ? Number.POSITIVE_INFINITY : Number(values.seconds);
  const count =
    values.seeds !== undefined ? Number(values.seeds) : values.seconds === undefined ? 200 : Infinity;
  const from = Number(values.from);
  const counts: Record<string, number> = {};
  const startedAt = performance.now();
  const elapsed = () => (performance.now() - startedAt) / 1000;
  let simulatedMs = 0;
  let events = 0;
  let done = 0;
  let shownAt = 0;
  for (; done < count && elapsed() < seconds; done++) {
    current = from + done;
    const result = run({ seed: current });
    // Rejections that nobody hears are told between two turns of the real loop.
    await breathe();
    simulatedMs += result.simulatedMs;
    events += result.eventCount;
    for (const [name, n] of Object.entries(result.counts)) counts[name] = (counts[name] ?? 0) + n;
    if (result.failure !== null) {
      told(result);
      return 1;
    }
    if (process.stdout.isTTY && elapsed() - shownAt > 1) {
      shownAt = elapsed();
      process.stdout.write(`\r${done + 1} seeds, ${((done + 1) / shownAt).toFixed(1)} a second`);
    }
  }
  const took = elapsed();
  console.log(
    `${process.stdout.isTTY ? "\r" : ""}${done} seeds in ${took.toFixed(1)} s (${(done / took).toFixed(1)} a second), ` +
      `${(simulatedMs / 3_600_000).toFixed(1)} h simulated, ${Math.round(events / took)} events a second`,
  );
  const names = Object.keys(counts).sort();
  for (const name of names) console.log(`  ${name.padEnd(28)} ${counts[name]}`);
  // A few seeds need not meet everything; many must.
  const absent = done >= 100 ? missing(counts) : [];
  if (absent.length > 0) {
    console.error(`never happened: ${absent.join(", ")}`);
    return 1;
  }
  return 0;
}

async function fly(): Promise<number> {
  let failures = 0;
  for (const canary of canaries) {
    const { seed, failure } = hunt(canary);
    await breathe();
    const said = failure?.message.split("\n")[0]?.slice(0, 140);
    const caught = failure !== null && (canary.says?.test(failure.message) ?? true);
    if (!caught) failures++;
    console.log(
      `${caught ? "caught" : "NOT CAUGHT"} at seed ${seed}: ${canary.name}\n    ${said ?? "nothing was said"}`,
    );
  }
  return failures === 0 ? 0 : 1;
}

if (values.help) {
  console.log(usage);
  process.exit(0);
}
process.exit(
  values.canaries ? await fly() : values.seed !== undefined ? one(Number(values.seed)) : await many(),
);
