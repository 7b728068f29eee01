/**
 * The targets of the earlier system, against the daemon that runs: `bun examples/performance-test.ts`
 * 1,000 operations a second, and 100 ms from a submit to the result of its task. PASS or FAIL for each, and how far above
 * or below; the exit code is 1 if one failed. For figures worth quoting, on a machine at rest: `bun run bench`.
 */
import { CoordinationClient, task, worker } from "@cortexd/client";

const target = { operationsPerSecond: 1000, latencyMs: 100 };
const { CORTEX_URL: url, CORTEX_TOKEN: token } = process.env;
const client = new CoordinationClient({ url, token });
const echo = task<number, number>("echo", { queue: `performance-${process.pid}` });
const running = await worker(echo.queue, [echo.handle((n) => n)], { concurrency: 200, url, token });
let isFine = true;

function verdict(what: string, value: number, unit: string, timesBetter: number): void {
  const passed = timesBetter >= 1;
  isFine &&= passed;
  const times = passed
    ? `${timesBetter.toFixed(1)} times better`
    : `${(1 / timesBetter).toFixed(1)} times worse`;
  console.log(
    `${passed ? "PASS" : "FAIL"}  ${what}: ${Math.round(value * 10) / 10} ${unit}, ${times} than asked`,
  );
}

const timed = async (work: () => Promise<unknown>) => {
  const before = performance.now();
  await work();
  return performance.now() - before;
};

// Throughput: 100 producers at once. Each round submits a task, which a worker is pushed and completes: two operations.
const producers = 100;
const rounds = 50;
const tookMs = await timed(() =>
  Promise.all(
    Array.from({ length: producers }, async () => {
      for (let i = 0; i < rounds; i++) await client.submit(echo, i).result();
    }),
  ),
);
const operationsPerSecond = (2 * producers * rounds) / (tookMs / 1000);
verdict(
  "throughput",
  operationsPerSecond,
  "operations a second",
  operationsPerSecond / target.operationsPerSecond,
);

// Latency: one task at a time, from its submit to its result.
const latencies: number[] = [];
for (let i = 0; i < 500; i++) latencies.push(await timed(() => client.submit(echo, i).result()));
latencies.sort((a, b) => a - b);
for (const [name, share] of Object.entries({ median: 0.5, p99: 0.99 })) {
  const ms = latencies[Math.floor(share * latencies.length)]!;
  verdict(`latency, ${name}`, ms, "ms", target.latencyMs / ms);
}

await running.stop();
client.close();
process.exit(isFine ? 0 : 1);
