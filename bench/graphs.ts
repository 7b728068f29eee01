/** What a graph costs: a hundred thousand tasks that wait for each other, in one entry, against as many that do not. */
import { CoordinationClient } from "../client/index.ts";
import type { TaskSubmit } from "../src/wire/tasks.ts";
import type { Daemon } from "../test/support/daemon.ts";
import type { Benchmark } from "./benchmark.ts";
import { withDaemon } from "./children.ts";

/** Submits them as one graph; how long until the answer, which the disk has by then. */
const submitted =
  (count: number, after: (i: number) => string[]) =>
  async ({ wsUrl }: Daemon) => {
    const client = new CoordinationClient({ url: wsUrl });
    await client.connect();
    const tasks: TaskSubmit[] = Array.from({ length: count }, (_, i) => {
      const task = { type: "step", payload: { i }, ref: `n${i}` };
      const links = after(i);
      return links.length === 0 ? task : { ...task, after: links };
    });
    const from = performance.now();
    const { ids } = await client.call("graph.submit", { tasks });
    const took = performance.now() - from;
    client.close();
    if (ids.length !== count) throw new Error(`${ids.length} tasks were made of ${count}`);
    return { took };
  };

export const graphs: Benchmark = {
  name: "graph",
  says: "One graph of 100,000 tasks, two links each, submitted in one frame and one entry (smoke: 10,000).",
  against: "as many tasks without links, submitted in the same way.",
  figures: { took: { unit: "ms", better: "less" } },
  sides: {
    baseline: (scale) =>
      withDaemon(
        scale,
        submitted(scale.smoke ? 10_000 : 100_000, () => []),
      ),
    cortexd: (scale) =>
      withDaemon(
        scale,
        submitted(scale.smoke ? 10_000 : 100_000, (i) => (i < 4 ? [] : [`n${i >> 1}`, `n${i - 1}`])),
      ),
  },
};
