/**
 * etcd, one member, through its JSON gateway: put, range, transactions that compare, and locks as its own library makes
 * them (a lease for the process, a key created under it, whose revision is the token). It has no messages.
 */
import { join } from "node:path";
import { freePort, startServer } from "../system.ts";
import type { System } from "./system.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");
const leaseSeconds = 60;

type Answer = {
  header: { revision: string };
  succeeded?: boolean;
  kvs?: { value: string }[];
  ID?: string;
};

export const etcd: System = {
  name: "etcd",
  settings: { synced: "one member, as it comes", relaxed: null },
  program: "etcd",
  packages: {},
  has: ["put", "cas", "get", "lock"],
  async start(_setting, folder) {
    const [port, peerPort] = [await freePort(), await freePort()];
    const url = `http://127.0.0.1:${port}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    const server = await startServer(
      [
        ...["etcd", "--data-dir", join(folder, "data"), "--logger", "zap", "--log-level", "error"],
        ...["--listen-client-urls", url, "--advertise-client-urls", url],
        ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
        ...["--initial-cluster", `default=${peer}`],
      ],
      port,
    );
    // It listens before it has a leader.
    for (;;) {
      const health = (await (await fetch(`${url}/health`)).json()) as { health: string };
      if (health.health === "true") break;
      await Bun.sleep(50);
    }
    return {
      port,
      async syncs() {
        const text = await (await fetch(`${url}/metrics`)).text();
        return Number(/^etcd_disk_wal_fsync_duration_seconds_count (\d+)/m.exec(text)?.[1]);
      },
      stop: server.stop,
    };
  },
  async connect({ port }) {
    const ask = async (path: string, body: object): Promise<Answer> => {
      const response = await fetch(`http://127.0.0.1:${port}/v3/${path}`, {
        method: "POST",
        body: JSON.stringify(body),
      });
      const answer = await response.json();
      if (!response.ok)
        throw new Error(`etcd answered ${response.status} to ${path}: ${JSON.stringify(answer)}`);
      return answer as Answer;
    };
    const compared = async (compare: object, request: object): Promise<number> => {
      const answer = await ask("kv/txn", { compare: [compare], success: [request] });
      if (answer.succeeded !== true) throw new Error("what was compared is not so");
      return Number(answer.header.revision);
    };
    const revisions = new Map<string, number>();
    let lease: Promise<Answer> | null = null;
    return {
      keys: {
        async put(key, value) {
          const { header } = await ask("kv/put", { key: base64(key), value: base64(value) });
          revisions.set(key, Number(header.revision));
        },
        async replace(key, value) {
          const name = base64(key);
          const compare = { key: name, target: "MOD", result: "EQUAL", mod_revision: revisions.get(key) };
          const revision = await compared(compare, { request_put: { key: name, value: base64(value) } });
          revisions.set(key, revision);
        },
        async get(key) {
          const [found] = (await ask("kv/range", { key: base64(key) })).kvs ?? [];
          return found === undefined ? null : Buffer.from(found.value, "base64").toString();
        },
      },
      async lock(name) {
        lease ??= ask("lease/grant", { TTL: leaseSeconds });
        const key = base64(name);
        const compare = { key, target: "CREATE", result: "EQUAL" };
        const mine = { request_put: { key, value: base64("versus"), lease: (await lease).ID } };
        const token = await compared({ ...compare, create_revision: 0 }, mine);
        const release = () =>
          compared({ ...compare, create_revision: token }, { request_delete_range: { key } });
        return { token, release };
      },
      close() {},
    };
  },
};
