/** `cortexd status`: how the daemon fares, on one screen. */
import { presets } from "../config.ts";
import { overviewRows } from "../wire/state.ts";
import { command } from "./command.ts";
import { rest } from "./daemon.ts";
import { queueColumns } from "./queues.ts";
import { counted, number, span } from "./words.ts";

export const status = command({
  summary: "Say how the daemon fares: health, tasks, workers, queues, what is on disk.",
  arguments: [],
  options: {},
  client: true,
  watch: true,
  json: 'one object, {"health": ..., "state": ..., "metrics": ...}, as GET /health, /api/state and /api/metrics answer.',
  examples: [
    { words: "status", meaning: "The daemon of this machine." },
    { words: "status --watch", meaning: "Renewed as it changes; `cortexd monitor` draws it." },
    { words: "status --url http://10.0.0.7:9500 --token-file ~/.cortex-token", meaning: "Another one." },
  ],
  async run({ to, out }) {
    const client = rest(to);
    const [health, state, metrics] = await Promise.all([client.health(), client.state(), client.metrics()]);
    if (out.json) {
      await out.value({ health, state, metrics });
      return undefined;
    }
    const { submitted, completed } = doneOf(metrics.daemon);
    const seconds = Math.max(1, health.uptimeMs / 1000);
    const rate = (count: number) => `${number(count)} (${(count / seconds).toFixed(1)} a second)`;
    const behind = health.revision - health.durableRevision;
    await out.fields([
      ["Daemon", `cortexd ${health.version} at ${to.url}, up for ${span(health.uptimeMs)}`],
      ["Status", health.status, health.status === "ok" ? "green" : "red"],
      ["Preset", `${health.preset}${presetText(health.preset)}`],
      [
        "Revision",
        `${health.revision}, ${behind === 0 ? "all of it durable" : `the last ${number(behind)} not durable yet`}`,
      ],
      ["Namespaces", `${number(health.namespaceCount)}; what follows is of ${state.namespace}`],
      ["Tasks", counted(state.counts.tasks)],
      ["Workers", counted(state.counts.workers)],
      ["Submitted", `${rate(submitted)} since the daemon started`],
      ["Completed", `${rate(completed)} since the daemon started`],
    ]);
    if (state.queues.length > 0) await out.line(`\n${out.tableText(state.queues, queueColumns)}`);
    if (state.queues.length === overviewRows) await out.line("All of them: cortexd queues");
    return undefined;
  },
});

const doneOf = (counters: Record<string, unknown>) => ({
  submitted: Number(counters.tasksSubmitted ?? 0),
  completed: Number(counters.tasksCompleted ?? 0),
});

/** A later daemon may have a preset that this program does not know. */
function presetText(name: string): string {
  const known = Object.entries(presets).find(([preset]) => preset === name);
  return known === undefined ? "" : `: ${known[1].help}`;
}
