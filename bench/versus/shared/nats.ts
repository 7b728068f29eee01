/**
 * NATS: a bucket of keys, a work-queue stream with a pull consumer, and plain subjects. A lock is a key of the bucket that is
 * created and deleted, its revision the token; only newer servers let a single key run out, so such a lock has no time here.
 */
import { type Connection, type JetStream, startNats, type Transport, version } from "../nats.ts";
import type { Messages, System } from "./system.ts";

type Bucket = {
  put(key: string, value: string): Promise<number>;
  update(key: string, value: string, revision: number): Promise<number>;
  create(key: string, value: string): Promise<number>;
  get(key: string): Promise<{ string(): string } | null>;
  delete(key: string, options: { previousSeq: number }): Promise<void>;
};
type Keys = {
  Kvm: new (connection: Connection) => { create(name: string, options: object): Promise<Bucket> };
};

const window = 1000;

export const nats: System = {
  name: "NATS",
  settings: { synced: "sync_interval: always", relaxed: "as it comes, synced every two minutes" },
  program: "nats-server",
  packages: Object.fromEntries(
    ["transport-node", "jetstream", "kv"].map((name) => [`@nats-io/${name}`, version]),
  ),
  has: ["put", "cas", "get", "lock", "publish", "fanOut", "published", "emitted"],
  async start(setting, folder) {
    const { port, stop } = await startNats(setting, folder);
    // It took the setting, or it would not run.
    return { port, syncs: async () => null, stop };
  },
  async connect({ port, folder, topic }) {
    const of = (name: string) => import(Bun.resolveSync(`@nats-io/${name}`, folder));
    const { connect } = (await of("transport-node")) as Transport;
    const { jetstream, jetstreamManager } = (await of("jetstream")) as JetStream;
    const { Kvm } = (await of("kv")) as Keys;
    const connection = await connect({ servers: `127.0.0.1:${port}` });
    const messages = jetstream(connection);
    let bucket: Promise<Bucket> | null = null;
    const opened = () => {
      bucket ??= new Kvm(connection).create("versus", { history: 1, storage: "file" });
      return bucket;
    };
    const revisions = new Map<string, number>();
    const durable: Messages = {
      publish: (text) => messages.publish(`kept.${topic}`, text),
      async subscribe(heard) {
        const manager = await jetstreamManager(connection);
        await manager.streams.add({
          ...{ name: topic, subjects: [`kept.${topic}`], retention: "workqueue", storage: "file" },
        });
        await manager.consumers.add(topic, {
          ...{ durable_name: "one", ack_policy: "explicit", max_ack_pending: 10_000 },
        });
        const consumer = await messages.consumers.get(topic, "one");
        const taken = await consumer.consume({ max_messages: window });
        void (async () => {
          for await (const message of taken) {
            heard(message.string());
            message.ack();
          }
        })().catch(() => {});
      },
    };
    const volatile: Messages = {
      publish: (text) => connection.publish(topic, text),
      async subscribe(heard) {
        connection.subscribe(topic, { callback: (_error, message) => heard(message.string()) });
        await connection.flush();
      },
    };
    return {
      keys: {
        async put(key, value) {
          revisions.set(key, await (await opened()).put(key, value));
        },
        async replace(key, value) {
          revisions.set(key, await (await opened()).update(key, value, revisions.get(key) as number));
        },
        get: async (key) => (await (await opened()).get(key))?.string() ?? null,
      },
      async lock(name) {
        const keys = await opened();
        const token = await keys.create(name, "versus");
        return { token, release: () => keys.delete(name, { previousSeq: token }) };
      },
      ...{ durable, volatile },
      close: () => connection.close().catch(() => {}),
    };
  },
};
