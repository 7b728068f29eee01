/** What a worker's client says of itself: that pushes came, and for how long its loop stood still. */
import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type AssignedTask, CoordinationClient, worker } from "../../client/index.ts";
import { spawnDaemon } from "../support/daemon.ts";
import { assigned, FakeDaemon, settle, TwoWays, World } from "./world.ts";

async function aWorker() {
  const world = new World();
  const daemon = new FakeDaemon();
  const client = new CoordinationClient({
    transport: daemon,
    environment: world,
    workerId: "w",
    capacity: 9,
  });
  const tasks: AssignedTask[] = [];
  client.on("task_assigned", (task) => void tasks.push(task));
  await client.connect();
  const acknowledged = () =>
    daemon.lines.flatMap((line) => line.ops("worker.acknowledge").map(({ input }) => input));
  const ages = () =>
    daemon.lines.flatMap((line) =>
      line.ops("session.ping").map(({ input }) => (input as { loopAgeMs: number }).loopAgeMs),
    );
  return { world, daemon, client, tasks, acknowledged, ages };
}

describe("workers - acknowledgement", () => {
  test("workers - a push is acknowledged before its handler is called, which may hold the loop", async () => {
    const { daemon, acknowledged, client } = await aWorker();
    const known: number[] = [];
    client.on("task_assigned", () => known.push(acknowledged().length));
    daemon.line.say(assigned("1-0", 5), assigned("1-1", 5));
    expect(known).toEqual([1, 1]);
    expect(acknowledged()).toEqual([{ workerId: "w", token: 5 }]);
  });

  test("workers - a frame of pushes is acknowledged at once and, for what came behind, once more", async () => {
    const { world, daemon, acknowledged } = await aWorker();
    daemon.line.say(...[5, 6, 7, 8].map((token) => assigned(`${token}-0`, token)));
    await world.advance(5000);
    expect(acknowledged()).toEqual([
      { workerId: "w", token: 5 },
      { workerId: "w", token: 8 },
    ]);
  });

  test("workers - a quick worker's completions are all the acknowledgement there is", async () => {
    const { world, daemon, tasks, acknowledged } = await aWorker();
    for (let token = 5; token < 30; token++) {
      daemon.line.say(assigned(`${token}-0`, token));
      await tasks.at(-1)!.complete(1);
      await world.advance(300);
    }
    expect(acknowledged()).toEqual([{ workerId: "w", token: 5 }]);
  });

  test("workers - a completion without its answer acknowledges nothing", async () => {
    const { world, daemon, tasks, acknowledged } = await aWorker();
    daemon.line.say(assigned("1-0", 5));
    await tasks[0]!.complete(1);
    daemon.script["task.complete"] = () => "silent";
    daemon.line.say(assigned("2-0", 6));
    void tasks[1]!.complete(1).catch(() => {});
    await world.advance(1000);
    expect(acknowledged().at(-1)).toEqual({ workerId: "w", token: 6 });
  });

  test("workers - a revoked push is acknowledged: the client reads again, and aborts the task", async () => {
    const { world, daemon, tasks, acknowledged } = await aWorker();
    daemon.line.say(assigned("1-0", 5));
    await world.advance(1000);
    daemon.line.say({ event: "task.aborted", taskId: "1-0", workerId: "w", token: 5, reason: "revoked" });
    await world.advance(1000);
    expect(tasks[0]!.signal.aborted).toBe(true);
    expect(acknowledged()).toEqual([
      { workerId: "w", token: 5 },
      { workerId: "w", token: 5 },
    ]);
  });

  test("workers - what came on an old connection is not acknowledged on the new one", async () => {
    const { world, daemon, tasks, acknowledged } = await aWorker();
    daemon.line.say(assigned("1-0", 5));
    await tasks[0]!.complete(1);
    daemon.line.say(assigned("2-0", 6));
    await settle();
    daemon.line.break();
    await world.advance(5000);
    expect(acknowledged()).toEqual([{ workerId: "w", token: 5 }]);
  });
});

describe("workers - the age of the loop", () => {
  test("workers - a loop that turns says so", async () => {
    const { world, ages } = await aWorker();
    await world.advance(5000);
    expect(ages().length).toBeGreaterThan(3);
    expect(new Set(ages())).toEqual(new Set([0]));
  });

  test("workers - a loop that stood still says for how long, at once, and soon that it turns again", async () => {
    const { world, ages } = await aWorker();
    await world.advance(1000);
    const before = ages().length;
    // A handler holds the loop: time passes, and no timer fires.
    world.monotonicNow += 15_000;
    await world.advance(0);
    const [age, ...more] = ages().slice(before);
    // It looks at itself every quarter of a heartbeat.
    expect(age).toBeGreaterThanOrEqual(14_750);
    expect(age).toBeLessThanOrEqual(15_000);
    expect(more).toEqual([]);
    await world.advance(101);
    expect(ages().slice(before + 1)).toEqual([0]);
  });
});

describe("workers - the age of the loop, over HTTP", () => {
  async function aWorkerOnHttp() {
    const world = new World();
    const ways = new TwoWays();
    ways.websocket = "refused";
    const client = new CoordinationClient({ transport: ways.transports, environment: world, workerId: "w" });
    const connected = client.connect();
    await world.advance(1000);
    await connected;
    expect(client.transport).toBe("http");
    const ages = () =>
      ways.request.asks.flatMap(({ messages }) =>
        messages
          .filter(({ op }) => op === "worker.heartbeat")
          .map(({ input }) => (input as { loopAgeMs: number }).loopAgeMs),
      );
    return { world, ages };
  }

  test("workers - over HTTP the beats of a loop that turns say so", async () => {
    const { world, ages } = await aWorkerOnHttp();
    await world.advance(5000);
    expect(ages().length).toBeGreaterThan(3);
    expect(new Set(ages())).toEqual(new Set([0]));
  });

  test("workers - over HTTP a loop that stood still says so once, with its first beat, whichever timer comes first", async () => {
    // At another moment of the beat each time, so that each of the two timers is the first one once.
    for (const beforeMs of [0, 100, 300, 600, 900]) {
      const { world, ages } = await aWorkerOnHttp();
      await world.advance(1000 + beforeMs);
      const before = ages().length;
      world.monotonicNow += 15_000;
      await world.advance(3000);
      const [age, ...more] = ages().slice(before);
      expect(age).toBeGreaterThanOrEqual(14_000);
      expect(age).toBeLessThanOrEqual(15_000);
      expect(more.length).toBeGreaterThan(0);
      expect(new Set(more)).toEqual(new Set([0]));
    }
  });
});

describe("worker - in a process of its own", () => {
  const stop: (() => unknown)[] = [];
  afterAll(async () => {
    for (const one of stop.reverse()) await one();
  });

  test("worker - a busy loop makes it deaf and stalled, its task goes to another, and it comes back", async () => {
    const daemon = await spawnDaemon({
      preset: "development",
      args: ["--push-ack-ms", "1s", "--stalled-ms", "1s"],
    });
    stop.push(() => daemon.kill());
    const url = daemon.wsUrl;
    const client = new CoordinationClient({ url });
    stop.push(() => client.close());
    const health: string[] = [];
    client.on("change", (event) => {
      if (event.id === "busy" && event.health !== undefined) health.push(event.health);
    });
    await client.connect();
    const busy = Bun.spawn([process.execPath, join(import.meta.dir, "busy.ts"), url], { stdout: "pipe" });
    stop.push(() => busy.kill());
    const reader = busy.stdout.getReader();
    await reader.read();
    const first = await client.submit({ queue: "q", type: "hold", payload: 3000, leaseMs: 60_000 });
    // The first holds its loop, so that the second is pushed to somebody who does not listen.
    while ((await client.task(first.id).get()).state !== "running");
    await reader.read();
    const second = await client.submit({ queue: "q", type: "quick", payload: 0, leaseMs: 60_000 });
    const revoked = async () => {
      const task = await client.task(second.id).get();
      return task.state === "queued";
    };
    while (!(await revoked()));
    const other = await worker("q", () => "another", { url, workerId: "other" });
    stop.push(() => other.stop());
    expect(await client.task(second.id).result<string>()).toBe("another");
    while (!health.includes("stalled") || health.at(-1) !== "healthy") await client.worker("busy");
    expect(health[0]).toBe("deaf");
    expect(await client.task(first.id).result<string>()).toBe("held");
  }, 30_000);
});
