/**
 * A worker that runs until Ctrl-C: `bun examples/basic-worker.ts [ID] [KIND]`, such as `worker-001 development`
 * It serves the queue `examples`; tasks may ask for its kind (examples/orchestrator.ts submits such).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { worker } from "@cortexd/client";

const [workerId = "worker-001", kind = "development"] = process.argv.slice(2);
const { CORTEX_URL: url, CORTEX_TOKEN: token } = process.env;

const running = await worker(
  "examples",
  async (task, { signal, progress, log }) => {
    log(`${workerId} begins ${task.type}`);
    for (let percent = 25; percent <= 100; percent += 25) {
      await sleep(25, null, { signal });
      progress({ percent });
    }
    return { doneBy: workerId, kind };
  },
  { workerId, kind, concurrency: 2, url, token },
);
console.log(`${workerId} (${kind}) serves the queue examples; Ctrl-C stops it`);

// What runs may end, what is left goes back to its queue, and then the process ends.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void running.stop());
running.client.on("task_assigned", ({ id, type }) => console.log(`${type} (${id})`));
await running.done;
console.log(`${workerId} has stopped`);
