/**
 * Redis, as its documentation has it: keys and a script that compares, `SET NX PX` with a counter for a fencing token and a
 * script that deletes what is still one's own, a stream with a group, publish and subscribe. The client is Bun's own, which
 * sends the commands of one turn together.
 */
import { RedisClient } from "bun";
import { startRedis } from "../redis.ts";
import type { Messages, System } from "./system.ts";

const replace =
  "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('SET', KEYS[1], ARGV[2]) return 1";
const acquire =
  "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return redis.call('INCR', KEYS[2]) end return 0";
const release =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

const [lockMs, group, batch] = ["30000", "versus", "500"];

export const redis: System = {
  name: "Redis",
  settings: { synced: "appendfsync always", relaxed: "appendfsync everysec" },
  program: "redis-server",
  packages: {},
  has: ["put", "cas", "get", "lock", "publish", "fanOut", "published", "emitted"],
  async start(setting, folder) {
    const { port, stop } = await startRedis(setting, folder);
    return {
      port,
      async syncs() {
        const client = new RedisClient(`redis://127.0.0.1:${port}`);
        const { appendonly, appendfsync } = await client.send("CONFIG", ["GET", "append*"]);
        client.close();
        if (appendonly !== "yes" || appendfsync !== (setting === "synced" ? "always" : "everysec"))
          throw new Error(`Redis says appendonly ${appendonly}, appendfsync ${appendfsync}`);
        return null;
      },
      stop,
    };
  },
  async connect({ port, topic }) {
    const url = `redis://127.0.0.1:${port}`;
    const open: RedisClient[] = [];
    const connected = async () => {
      const client = new RedisClient(url);
      open.push(client);
      await client.connect();
      return client;
    };
    const client = await connected();
    const scripted = async (text: string) => {
      const sha = await client.send("SCRIPT", ["LOAD", text]);
      return (keys: string[], ...args: string[]) =>
        client.send("EVALSHA", [sha, `${keys.length}`, ...keys, ...args]);
    };
    const [replaces, acquires, releases] = [
      await scripted(replace),
      await scripted(acquire),
      await scripted(release),
    ];
    const values = new Map<string, string>();
    const own = `${process.pid}-`;
    let count = 0;
    const durable: Messages = {
      publish: (text) => client.send("XADD", [topic, "*", "m", text]),
      async subscribe(heard) {
        await client.send("XGROUP", ["CREATE", topic, group, "$", "MKSTREAM"]);
        const reader = await connected();
        void (async () => {
          for (;;) {
            const found = await reader.send("XREADGROUP", [
              ...["GROUP", group, "one", "COUNT", batch, "BLOCK", "1000", "STREAMS", topic, ">"],
            ]);
            if (found === null) continue;
            const entries = found[topic] as [string, [string, string]][];
            for (const [, [, text]] of entries) heard(text);
            await reader.send("XACK", [topic, group, ...entries.map(([id]) => id)]);
          }
        })().catch(() => {});
      },
    };
    const volatile: Messages = {
      publish: (text) => client.publish(topic, text),
      async subscribe(heard) {
        const listener = await connected();
        await listener.subscribe(topic, heard);
      },
    };
    return {
      keys: {
        put(key, value) {
          values.set(key, value);
          return client.set(key, value);
        },
        async replace(key, value) {
          if ((await replaces([key], values.get(key) as string, value)) !== 1)
            throw new Error(`${key} changed`);
          values.set(key, value);
        },
        get: (key) => client.get(key),
      },
      async lock(name) {
        const holder = own + count++;
        const token = await acquires([name, "fence"], holder, lockMs);
        if (token === 0) throw new Error(`${name} is held`);
        return { token, release: () => releases([name], holder) };
      },
      ...{ durable, volatile },
      close() {
        for (const one of open) one.close();
      },
    };
  },
};
