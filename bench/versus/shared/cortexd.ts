/** This daemon: through its own client, and by bare frames of one operation each. */
import { join } from "node:path";
import { CoordinationClient } from "../../../client/index.ts";
import { freePort, type Setting, startServer } from "../system.ts";
import type { Messages, Peer, Place, Server, System } from "./system.ts";

const main = join(import.meta.dir, "../../../src/main.ts");

async function start(setting: Setting, folder: string): Promise<Server> {
  const [port, wsPort] = [await freePort(), await freePort()];
  const preset = setting === "synced" ? "durable" : "high-availability";
  const own = ["--port", `${port}`, "--ws-port", `${wsPort}`, "--data", join(folder, "data")];
  const server = await startServer(
    [process.execPath, main, "serve", ...own, "--preset", preset, "--log-level", "warn"],
    wsPort,
  );
  return {
    port: wsPort,
    async syncs() {
      const { store } = (await (await fetch(`http://127.0.0.1:${port}/api/metrics`)).json()) as {
        store: { syncs: number };
      };
      return store.syncs;
    },
    stop: server.stop,
  };
}

const common = {
  settings: { synced: "--preset durable", relaxed: "--preset high-availability" },
  program: null,
  packages: {},
  start,
};

export const cortexd: System = {
  name: "Cortex",
  has: ["put", "cas", "get", "lock", "publish", "fanOut", "published", "emitted"],
  ...common,
  async connect({ port, topic }) {
    const client = new CoordinationClient({ url: `ws://127.0.0.1:${port}` });
    await client.connect();
    const revisions = new Map<string, number>();
    const durable: Messages = {
      publish: (text) => client.topics.publish(topic, text),
      async subscribe(heard) {
        await client.subscriptions.put({ name: topic, topic });
        client.topics.handle<string>(topic, ({ payload }) => heard(payload), {
          ...{ name: topic, window: 1000 },
        });
      },
    };
    const volatile: Messages = {
      publish: (text) => client.topics.emit(topic, text),
      async subscribe(heard) {
        client.topics.handle<string>(topic, ({ payload }) => heard(payload));
        // Answers come in the order of what was asked.
        await client.kv.get(topic);
      },
    };
    return {
      keys: {
        async put(key, value) {
          revisions.set(key, (await client.kv.put(key, value)).revision);
        },
        async replace(key, value) {
          const ifRevision = revisions.get(key) as number;
          revisions.set(key, (await client.kv.put(key, value, { ifRevision })).revision);
        },
        get: async (key) => (await client.kv.get<string>(key))?.value ?? null,
      },
      async lock(name) {
        const lock = await client.locks.try(name);
        if (lock === null) throw new Error(`${name} is held`);
        return { token: lock.token, release: () => lock.release() };
      },
      ...{ durable, volatile },
      close: () => client.close(),
    };
  },
};

type Answer = { revision: number; token: number; lockId: string; value: string };

/** The client gathers what is called in one turn into one frame; here each operation has its own. */
export const frames: System = {
  name: "Cortex, a frame each",
  has: ["put", "cas", "get", "lock"],
  ...common,
  async connect({ port }: Place): Promise<Peer> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    const waiting = new Map<number, PromiseWithResolvers<Answer>>();
    let seq = 0;
    // Answers come in the order of seq, so what was answered last is what all were answered up to.
    let ackedThrough = 0;
    socket.onmessage = ({ data }) => {
      for (const { seq, ok, error } of JSON.parse(data)) {
        const answered = waiting.get(seq);
        waiting.delete(seq);
        ackedThrough = seq;
        if (error === undefined) answered?.resolve(ok);
        else answered?.reject(new Error(error.detail));
      }
    };
    const ask = (op: string, input: object): Promise<Answer> => {
      const answered = Promise.withResolvers<Answer>();
      waiting.set(++seq, answered);
      socket.send(JSON.stringify([{ op, seq, input, ackedThrough }]));
      return answered.promise;
    };
    await ask("session.hello", { protocol: 1, session: `versus-${process.pid}` });
    const revisions = new Map<string, number>();
    return {
      keys: {
        async put(key, value) {
          revisions.set(key, (await ask("kv.put", { key, value })).revision);
        },
        async replace(key, value) {
          const ifRevision = revisions.get(key);
          revisions.set(key, (await ask("kv.put", { key, value, ifRevision })).revision);
        },
        get: async (key) => (await ask("kv.get", { key })).value,
      },
      async lock(name) {
        const { token, lockId } = await ask("lock.acquire", { resources: [{ name }] });
        return { token, release: () => ask("lock.release", { lockId }) };
      },
      close: () => socket.close(),
    };
  },
};
