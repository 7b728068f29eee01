/** BullMQ over Redis: the same features in a library. It is installed beside the measurement, in the version named here. */
import { startRedis } from "./redis.ts";
import { installed, type System } from "./system.ts";

const version = "6.7.0";

/** What is used of it. */
type Library = {
  Queue: new (
    name: string,
    options: object,
  ) => { add(name: string, data: unknown, options: object): Promise<unknown>; close(): Promise<void> };
  Worker: new (
    name: string,
    handler: (job: { data: string }) => Promise<void>,
    options: object,
  ) => {
    on(event: "completed", listener: (job: { data: string }) => void): void;
    waitUntilReady(): Promise<unknown>;
    close(force: boolean): Promise<void>;
  };
};

export const bullmq: System = {
  name: `BullMQ ${version}`,
  settings: { synced: "over Redis with appendfsync always", relaxed: "over Redis with appendfsync everysec" },
  program: "redis-server",
  async start(setting, folder) {
    const resolve = await installed(folder, { bullmq: version, ioredis: "6.0.0" });
    const { Queue, Worker } = (await import(resolve("bullmq"))) as Library;
    const { port, stop } = await startRedis(setting, folder);
    const connection = { host: "127.0.0.1", port };
    const queue = new Queue("versus", { connection });
    let worker: InstanceType<Library["Worker"]> | null = null;
    return {
      async submit(payload) {
        await queue.add("echo", payload, { removeOnComplete: true });
      },
      async work(concurrency, begun, done) {
        worker = new Worker("versus", async ({ data }) => begun(data), { connection, concurrency });
        worker.on("completed", ({ data }) => done(data));
        await worker.waitUntilReady();
      },
      async stop() {
        await worker?.close(true);
        await queue.close();
        await stop();
      },
    };
  },
};
