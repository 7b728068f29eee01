/**
 * How the daemon fares, a line a second until Ctrl-C: `bun examples/monitor.ts [SECONDS]`
 * The figures are pushed, nothing is polled. `cortexd monitor` and the page at / show more of them.
 */
import { CoordinationClient } from "@cortexd/client";

const seconds = Number(process.argv[2] ?? Number.POSITIVE_INFINITY);
const { CORTEX_URL: url, CORTEX_TOKEN: token } = process.env;
const client = new CoordinationClient({ url, token });
client.on("disconnected", ({ detail }) => console.log(`disconnected: ${detail}`));

const cells = (...values: unknown[]) =>
  console.log(values.map((value) => String(value).padStart(11)).join(""));
cells("ops/s", "p99 ms", "queued", "running", "done/s", "idle", "busy", "offline", "health");
let shown = 0;
for await (const { overMs, counted, answerMs, tasks, workers, status } of client.stats()) {
  const perSecond = (count: number) => Math.round((count * 1000) / overMs);
  cells(
    ...[perSecond(counted.operations), answerMs?.p99.toFixed(1) ?? "-", tasks.queued, tasks.running],
    ...[perSecond(counted.tasksCompleted), workers.idle, workers.busy, workers.offline, status],
  );
  if (++shown >= seconds) break;
}
client.close();
