/** What a graph costs: a hundred thousand tasks that wait for each other, in one entry, against as many that do not. */
import { CoordinationClient } from "../client/index.ts";
import type { TaskSubmit } from "../src/wire/tasks.ts";
import type { Daemon } from "../test/support/daemon.ts";
import { type Benchmark, median } from "./benchmark.ts";
import { withDaemon } from "./children.ts";

/** The first finds a daemon that has done nothing yet; what follows the second finds its code compiled and memory that was used before. */
const graphsInARow = 5;

/** Submits them as one graph, again and again; how long until the answer, which the disk has by then. */
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
    const times: number[] = [];
    for (let i = 0; i < graphsInARow; i++) {
      const from = performance.now();
      const { ids } = await client.call("graph.submit", { tasks });
      times.push(performance.now() - from);
      if (ids.length !== count) throw new Error(`${ids.length} tasks were made of ${count}`);
    }
    client.close();
    return { took: times[0] as number, again: median(times.slice(2)) };
  };

export const graphs: Benchmark = {
  name: "graph",
  says: "One graph of 100,000 tasks, two links each, submitted in one frame and one entry (smoke: 10,000); and after two of them three more.",
  against: "as many tasks without links, submitted in the same way.",
  figures: { took: { unit: "ms", better: "less" }, again: { unit: "ms", better: "less" } },
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
