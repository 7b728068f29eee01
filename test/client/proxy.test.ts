/**
 * Producers and workers against a real daemon through a proxy that refuses upgrades, lets them pass, cuts connections
 * and loses answers, back and forth while they work. What counts is what the daemon counted: every task that was
 * acknowledged is completed once, and there is none beside them.
 */
import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { CoordinationClient, type Environment, machine, worker } from "../../client/index.ts";
import { spawnDaemon, temporaryFolder, until } from "../support/daemon.ts";
import { FaultyProxy } from "./proxy.ts";

const daemon = await spawnDaemon({ preset: "durable", args: ["--token", "s3cret"] });
const proxy = await FaultyProxy.start(daemon.port);
afterAll(async () => {
  await proxy.stop();
  await daemon.kill();
});

/** The client's time runs faster, so that its looks for the WebSocket fit into a test. */
const speed = 25;
const fast: Environment = {
  ...machine,
  now: () => machine.now() * speed,
  setTimer: (ms, callback) => machine.setTimer(ms / speed, callback),
};
const options = { url: `ws://127.0.0.1:${proxy.port}/ws`, token: "s3cret", environment: fast };

const counted = async () => {
  const headers = { authorization: "Bearer s3cret" };
  const response = await fetch(`${daemon.url}/api/metrics`, { headers });
  return ((await response.json()) as { daemon: Record<string, number> }).daemon;
};

test("proxy - through every change between WebSocket and HTTP each task is completed once, and none is lost", async () => {
  const changes: Record<string, number> = { websocket: 0, http: 0 };
  const completed = new Map<string, number>();
  const begun = new Set<string>();
  let begunTwice = 0;
  const count = ({ transport }: { transport: string }) => {
    changes[transport] = (changes[transport] ?? 0) + 1;
  };

  const workers = await Promise.all(
    ["one", "two"].map(async (name) => {
      const running = await worker(
        "mail",
        async (task, { lease }) => {
          const attempt = `${task.id} ${lease.token}`;
          if (begun.has(attempt)) begunTwice++;
          begun.add(attempt);
          await new Promise((resolve) => machine.setTimer(machine.random() * 10, () => resolve(null)));
          return task.payload;
        },
        { ...options, workerId: name, concurrency: 3 },
      );
      running.client.on("connected", count).on("error", () => {});
      return running;
    }),
  );
  const producer = new CoordinationClient(options);
  producer.on("connected", count).on("error", () => {});
  await producer.connect();

  let submitting = true;
  let submittedCount = 0;
  const results: Promise<void>[] = [];
  const submits = (async () => {
    while (submitting) {
      const n = ++submittedCount;
      const submitted = producer.submit({ queue: "mail", type: "send", payload: n });
      results.push(
        submitted.result<number>().then(async (result) => {
          expect(result).toBe(n);
          const { id } = await submitted;
          completed.set(id, (completed.get(id) ?? 0) + 1);
        }),
      );
      await submitted;
    }
  })();

  const changesOf = (transport: "websocket" | "http") => changes[transport] as number;
  // Three rounds: to HTTP and back, with answers lost on the way both times.
  for (let round = 0; round < 3; round++) {
    const before = { ...changes };
    proxy.upgrades = false;
    proxy.deafen();
    const resultsBefore = completed.size;
    await until(() => submittedCount > resultsBefore);
    proxy.cut("sockets");
    await until(() => changesOf("http") >= (before.http as number) + 3);
    const worked = completed.size;
    await until(() => completed.size >= worked + 20);
    proxy.deafen();
    proxy.cut("all");
    await until(() => completed.size >= worked + 40);
    proxy.upgrades = true;
    await until(() => changesOf("websocket") >= (before.websocket as number) + 3);
    await until(() => completed.size >= worked + 60);
    proxy.cut("all");
  }
  submitting = false;
  await submits;
  await Promise.all(results);

  expect(proxy.refusedCount).toBeGreaterThan(5);
  expect([...completed.values()].filter((times) => times !== 1)).toEqual([]);
  expect(completed.size).toBe(submittedCount);
  expect(begunTwice).toBe(0);
  const { tasksSubmitted, tasksCompleted, tasksQueued, tasksRunning } = await counted();
  expect({ tasksSubmitted, tasksCompleted, tasksQueued, tasksRunning }).toEqual({
    tasksSubmitted: submittedCount,
    tasksCompleted: submittedCount,
    tasksQueued: 0,
    tasksRunning: 0,
  });
  await Promise.all(workers.map((running) => running.stop()));
  producer.close();
}, 60_000);

test("proxy - through every change between WebSocket and HTTP each message is handled once, and none is lost", async () => {
  proxy.upgrades = true;
  const changes: Record<string, number> = { websocket: 0, http: 0 };
  const handled = new Map<number, number>();
  const listener = new CoordinationClient(options);
  listener
    .on("connected", ({ transport }) => {
      changes[transport] = (changes[transport] ?? 0) + 1;
    })
    .on("error", () => {});
  await listener.connect();
  const direct = new CoordinationClient({ url: daemon.url, token: "s3cret" });
  await direct.subscriptions.put({ name: "orders", topic: "orders.>" });
  listener.topics.handle<number>(
    "orders.>",
    async ({ payload }) => {
      handled.set(payload, (handled.get(payload) ?? 0) + 1);
      await new Promise((resolve) => machine.setTimer(machine.random() * 10, () => resolve(null)));
    },
    { name: "orders", window: 5 },
  );
  let publishing = true;
  let count = 0;
  const publishes = (async () => {
    while (publishing) {
      await direct.topics.publish("orders.eu", ++count);
      await new Promise((resolve) => machine.setTimer(5, () => resolve(null)));
    }
  })();
  const more = (by: number) => {
    const to = handled.size + by;
    return until(() => handled.size >= to);
  };
  for (let round = 0; round < 3; round++) {
    await more(20);
    const before = { ...changes };
    proxy.upgrades = false;
    proxy.deafen();
    proxy.cut("sockets");
    await until(() => (changes.http as number) > (before.http as number));
    await more(40);
    proxy.cut("all");
    await more(20);
    proxy.upgrades = true;
    await until(() => (changes.websocket as number) > (before.websocket as number));
    await more(20);
  }
  publishing = false;
  await publishes;
  await until(() => handled.size === count);
  await until(async () => (await direct.subscriptions.get("orders")).pending === 0);
  expect([...handled.values()].filter((times) => times !== 1)).toEqual([]);
  listener.close();
  await direct.subscriptions.delete("orders");
  direct.close();
}, 60_000);

test("proxy - who closes over HTTP leaves what it had to another, at once", async () => {
  proxy.upgrades = false;
  const first = new CoordinationClient(options);
  await first.connect();
  expect(first.transport).toBe("http");
  const direct = new CoordinationClient({ url: daemon.url, token: "s3cret" });
  await direct.subscriptions.put({ name: "left", topic: "left", ackWaitMs: 300_000 });
  const begun = Promise.withResolvers<void>();
  const never = () => new Promise<void>(() => begun.resolve());
  first.topics.handle("left", never, { name: "left" });
  await direct.topics.publish("left", 1);
  await begun.promise;
  first.close();
  await until(async () => (await direct.subscriptions.get("left")).inFlight === 0);
  expect(await direct.subscriptions.get("left")).toMatchObject({ pending: 1, waiting: 0 });
  await direct.subscriptions.delete("left");
  direct.close();
  proxy.upgrades = true;
}, 60_000);

test("proxy - where no WebSocket passes a worker is registered, claims, is told of a cancel, and leaves", async () => {
  proxy.upgrades = false;
  const aborted = Promise.withResolvers<unknown>();
  const running = await worker(
    "slow",
    (_task, { signal }) =>
      new Promise((_, reject) =>
        signal.addEventListener("abort", () => {
          aborted.resolve(signal.reason);
          reject(signal.reason);
        }),
      ),
    { ...options, workerId: "slow" },
  );
  expect(running.client.transport).toBe("http");
  const producer = new CoordinationClient(options);
  const { id } = await producer.submit({ queue: "slow", type: "t" });
  await until(() => running.runningCount === 1);
  await producer.task(id).cancel("enough");
  expect(await aborted.promise).toMatchObject({ reason: "cancelled" });
  await running.stop();
  expect((await producer.workers()).workers.map((one) => one.id)).not.toContain("slow");
  producer.close();
}, 30_000);

const node = Bun.which("node");
if (node === null) console.warn("Node is not on the PATH: the client is not tried in it");
test.if(node !== null)(
  "proxy - in Node a worker does a task and its result comes back",
  async () => {
    const folder = temporaryFolder();
    const script = join(folder, "script.ts");
    const client = join(import.meta.dir, "..", "..", "client", "index.ts");
    writeFileSync(
      script,
      `import { CoordinationClient, worker } from ${JSON.stringify(client)};
     const options = { url: ${JSON.stringify(options.url)}, token: "s3cret" };
     const running = await worker("node", (task) => task.payload + 1, options);
     const producer = new CoordinationClient(options);
     const result = await producer.submit({ queue: "node", type: "t", payload: 1 }).result();
     console.log(JSON.stringify({ result, transport: producer.transport }));
     await running.stop();
     producer.close();`,
    );
    const built = await Bun.build({
      entrypoints: [script],
      target: "node",
      outdir: folder,
      naming: "script.mjs",
    });
    expect(built.success).toBe(true);
    const child = Bun.spawn([node as string, join(folder, "script.mjs")], { stdout: "pipe" });
    // The proxy refuses upgrades by now, and older versions of Node have no WebSocket at all.
    expect(JSON.parse(await new Response(child.stdout).text())).toEqual({ result: 2, transport: "http" });
  },
  20_000,
);

test("proxy - HTTP alone says a wrong token by name", async () => {
  const client = new CoordinationClient({ ...options, token: "s3cres", transport: "http" });
  await expect(client.connect()).rejects.toMatchObject({ code: "unauthorized" });
});
