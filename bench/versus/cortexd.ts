/** This daemon, through its own client. */
import { join } from "node:path";
import { CoordinationClient } from "../../client/index.ts";
import { freePort, type System, startServer } from "./system.ts";

const main = join(import.meta.dir, "../../src/main.ts");

export const cortexd: System = {
  name: "Cortex",
  settings: { synced: "--preset durable", relaxed: "--preset high-availability" },
  program: null,
  async start(setting, folder) {
    const port = await freePort();
    const preset = setting === "synced" ? "durable" : "high-availability";
    const own = ["--port", "0", "--ws-port", String(port), "--data", folder, "--preset", preset];
    const server = await startServer([process.execPath, main, "serve", ...own], port);
    const url = `ws://127.0.0.1:${port}`;
    const client = new CoordinationClient({ url });
    await client.connect();
    let worker: CoordinationClient | null = null;
    return {
      async submit(payload) {
        await client.submit({ queue: "versus", type: "echo", payload });
      },
      async work(concurrency, begun, done) {
        worker = new CoordinationClient({
          url,
          workerId: "versus",
          queues: ["versus"],
          capacity: concurrency,
        });
        worker.on("task_assigned", async (held) => {
          const payload = held.task.payload as string;
          begun(payload);
          await held.complete();
          done(payload);
        });
        await worker.connect();
      },
      async stop() {
        worker?.close();
        client.close();
        await server.stop();
      },
    };
  },
};
