/** NATS JetStream: a work-queue stream in files, a pull consumer, acknowledgements that are acknowledged. No results. */
import { join } from "node:path";
import { freePort, installed, type Setting, type System, startServer } from "./system.ts";

export const version = "3.4.0";

/** What is used of its packages. */
export type Connection = {
  publish(subject: string, payload: string): void;
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: { string(): string }) => void },
  ): unknown;
  flush(): Promise<void>;
  close(): Promise<void>;
};
type Message = { string(): string; ack(): void; ackAck(): Promise<boolean> };
type Consumer = { consume(options: object): Promise<AsyncIterable<Message>> };
export type Transport = { connect(options: object): Promise<Connection> };
export type JetStream = {
  jetstream(connection: Connection): {
    publish(subject: string, payload: string): Promise<unknown>;
    consumers: { get(stream: string, consumer: string): Promise<Consumer> };
  };
  jetstreamManager(connection: Connection): Promise<{
    streams: { add(options: object): Promise<unknown> };
    consumers: { add(stream: string, options: object): Promise<unknown> };
  }>;
};

export async function startNats(setting: Setting, folder: string) {
  const port = await freePort();
  // Versions before 2.10 do not know it, and end with that word.
  const sync = setting === "synced" ? ", sync_interval: always" : "";
  const file = join(folder, "nats.conf");
  await Bun.write(file, `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${folder}/data"${sync} }\n`);
  const server = await startServer(["nats-server", "-c", file], port);
  return { port, stop: server.stop };
}

export const nats: System = {
  name: "NATS JetStream",
  settings: { synced: "sync_interval: always", relaxed: "as it comes, synced every two minutes" },
  program: "nats-server",
  async start(setting, folder) {
    const resolve = await installed(folder, {
      "@nats-io/transport-node": version,
      "@nats-io/jetstream": version,
    });
    const { connect } = (await import(resolve("@nats-io/transport-node"))) as Transport;
    const { jetstream, jetstreamManager } = (await import(resolve("@nats-io/jetstream"))) as JetStream;
    const { port, stop } = await startNats(setting, folder);
    const connection = await connect({ servers: `127.0.0.1:${port}` });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({
      name: "versus",
      subjects: ["versus"],
      retention: "workqueue",
      storage: "file",
    });
    await manager.consumers.add("versus", {
      ...{ durable_name: "worker", ack_policy: "explicit", max_ack_pending: 10_000 },
    });
    const stream = jetstream(connection);
    return {
      async submit(payload) {
        await stream.publish("versus", payload);
      },
      async work(concurrency, begun, done) {
        const consumer = await stream.consumers.get("versus", "worker");
        const messages = await consumer.consume({ max_messages: concurrency });
        void (async () => {
          for await (const message of messages) {
            const payload = message.string();
            begun(payload);
            // Not awaited here: so many are under way at once.
            void message.ackAck().then(() => done(payload));
          }
        })().catch(() => {});
      },
      async stop() {
        await connection.close().catch(() => {});
        await stop();
      },
    };
  },
};
