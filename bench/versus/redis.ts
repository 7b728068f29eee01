/**
 * Redis alone, by the pattern of its documentation for a reliable queue: a list that is pushed to, and taken from into a list
 * of what is under way. No attempts, no leases, no results: what a queue in Redis costs at the least.
 */
import { RedisClient } from "bun";
import { freePort, type Setting, type System, startServer } from "./system.ts";

const options: Record<Setting, string[]> = {
  synced: ["--appendonly", "yes", "--appendfsync", "always"],
  relaxed: ["--appendonly", "yes", "--appendfsync", "everysec"],
};

export async function startRedis(setting: Setting, folder: string) {
  const port = await freePort();
  const own = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
  const server = await startServer(["redis-server", ...own, ...options[setting]], port);
  return { port, stop: server.stop };
}

export const redis: System = {
  name: "Redis lists",
  settings: { synced: options.synced.join(" "), relaxed: options.relaxed.join(" ") },
  program: "redis-server",
  async start(setting, folder) {
    const { port, stop } = await startRedis(setting, folder);
    const url = `redis://127.0.0.1:${port}`;
    const client = new RedisClient(url);
    await client.connect();
    const takers: RedisClient[] = [];
    let isStopping = false;
    return {
      async submit(payload) {
        await client.send("LPUSH", ["waiting", payload]);
      },
      async work(concurrency, begun, done) {
        // A connection that waits can do nothing else, so each taker has its own.
        for (let i = 0; i < concurrency; i++) {
          const taker = new RedisClient(url);
          await taker.connect();
          takers.push(taker);
          void (async () => {
            while (!isStopping) {
              const payload = await taker.send("BLMOVE", ["waiting", "running", "RIGHT", "LEFT", "1"]);
              if (payload === null) continue;
              begun(payload);
              await client.send("LREM", ["running", "1", payload]);
              done(payload);
            }
          })().catch((error) => {
            if (!isStopping) throw error;
          });
        }
      },
      async stop() {
        isStopping = true;
        for (const one of [client, ...takers]) one.close();
        await stop();
      },
    };
  },
};
