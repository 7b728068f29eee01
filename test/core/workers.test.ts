import { expect, test } from "bun:test";
import { World } from "../support/world.ts";

test("workers - a worker is idle, busy, draining and offline as it goes", () => {
  const world = new World();
  world.worker("w", { kind: "builder", capabilities: ["b", "a"], labels: { zone: "eu" }, capacity: 2 });
  const state = () => world.ok("worker.get", { workerId: "w" }).state;
  expect(world.ok("worker.get", { workerId: "w" })).toMatchObject({
    id: "w",
    instanceId: "w",
    kind: "builder",
    queues: ["*"],
    capabilities: ["a", "b"],
    labels: { zone: "eu" },
    capacity: 2,
    state: "idle",
    connected: true,
    running: 0,
    healthy: true,
    reasons: [],
  });
  const id = world.submit({ type: "t" });
  world.settle();
  expect(state()).toBe("busy");
  world.ok("worker.drain", { workerId: "w" });
  expect(state()).toBe("draining");
  world.submit({ type: "t" });
  world.settle();
  expect(world.holds("w")).toEqual([id]);
  world.ok("worker.drain", { workerId: "w", drain: false });
  world.settle();
  expect(world.holds("w").length).toBe(2);
  world.advance(30_000);
  expect(world.ok("worker.get", { workerId: "w" })).toMatchObject({ state: "offline", healthy: false });
  world.refused("worker.drain", { workerId: "w" }, "worker-offline");
  world.refused("worker.heartbeat", { workerId: "w" }, "worker-offline");
  world.refused("task.claim", { workerId: "w" }, "worker-offline");
  world.refused("worker.get", { workerId: "nobody" }, "unknown-worker");
});

test("workers - a lease lives as long as its worker is heard, and ends by silence alone", () => {
  const world = new World();
  world.worker("w");
  const id = world.submit({ type: "t", leaseMs: 5000 });
  world.settle();
  const held = world.held(id);
  for (let i = 0; i < 20; i++) {
    world.advance(4999);
    world.beat("w");
  }
  expect(world.held(id)).toEqual(held);
  world.advance(4999);
  expect(world.task(id).state).toBe("running");
  world.advance(1);
  expect(world.task(id)).toMatchObject({ interruptions: 1, attempt: 1 });
  expect(world.task(id).lease?.token).toBeGreaterThan(held.token);
});

test("workers - heartbeats write no entry", () => {
  const world = new World();
  world.worker("w");
  const count = world.transactions.length;
  for (let i = 0; i < 10; i++) {
    world.advance(10_000);
    world.beat("w");
  }
  expect(world.transactions.length).toBe(count);
});

test("workers - a silent worker's leases end together with its being offline, in one entry", () => {
  const world = new World();
  world.worker("w", { capacity: 3 });
  const ids = [0, 1, 2].map(() => world.submit({ type: "t" }));
  world.settle();
  const count = world.transactions.length;
  world.advance(30_000);
  expect(world.transactions.length).toBe(count + 1);
  for (const taskId of ids)
    expect(world.task(taskId)).toMatchObject({ state: "queued", interruptions: 1, attempt: 0 });
});

test("workers - a task that silences its workers again and again is dead, with the reason", () => {
  const world = new World({ interruptionsMax: 3 });
  const id = world.submit({ type: "t" });
  for (let i = 0; i < 3; i++) {
    world.worker(`w${i}`);
    world.settle();
    expect(world.holds(`w${i}`)).toEqual([id]);
    world.advance(30_000);
  }
  expect(world.task(id)).toMatchObject({
    state: "dead",
    interruptions: 3,
    reason: "interrupted 3 times: each time its worker went silent while running it",
  });
});

test("workers - the same instance takes its session over and keeps the leases it names", () => {
  const world = new World();
  world.worker("w", { instanceId: "i1", capacity: 3 });
  const [kept, dropped] = [world.submit({ type: "t" }), world.submit({ type: "t" })];
  world.settle();
  const held = world.held(kept);
  world.core.dispatch.detach("w");
  const again = world.ok("worker.register", {
    workerId: "w",
    instanceId: "i1",
    capacity: 3,
    holding: [
      { taskId: kept, token: held.token },
      { taskId: "999-0", token: 5 },
    ],
  });
  expect(again.leases.map((one) => [one.task.id, one.lease.token])).toEqual([[kept, held.token]]);
  expect(again.lost).toEqual(["999-0"]);
  expect(world.task(dropped)).toMatchObject({ state: "queued", interruptions: 0, attempt: 0 });
  world.ok("task.complete", held);
});

test("workers - another instance under a live id is refused; under a dead one it takes over", () => {
  const world = new World();
  world.worker("w", { instanceId: "i1" });
  const id = world.submit({ type: "t", leaseMs: 120_000 });
  world.settle();
  world.refused("worker.register", { workerId: "w", instanceId: "i2" }, "worker-id-in-use");
  world.refused("worker.heartbeat", { workerId: "w", instanceId: "i2" }, "worker-id-in-use");
  world.advance(30_000);
  expect(world.task(id).state).toBe("running");
  world.ok("worker.register", { workerId: "w", instanceId: "i2" });
  expect(world.task(id)).toMatchObject({ state: "queued", interruptions: 1 });
  expect(world.ok("worker.get", { workerId: "w" }).instanceId).toBe("i2");
});

test("workers - leaving gives all tasks back, nothing charged", () => {
  const world = new World();
  world.worker("w", { capacity: 2 });
  const ids = [world.submit({ type: "t" }), world.submit({ type: "t" })];
  world.settle();
  expect(world.ok("worker.unregister", { workerId: "w" })).toEqual({ workerId: "w", released: ids });
  for (const taskId of ids)
    expect(world.task(taskId)).toMatchObject({ state: "queued", attempt: 0, interruptions: 0 });
  world.refused("worker.unregister", { workerId: "w" }, "unknown-worker");
});

test("workers - an offline worker is forgotten after the retention", () => {
  const world = new World({ retentionMs: 60_000 });
  world.worker("w");
  world.advance(30_000);
  expect(world.core.workers.size).toBe(1);
  world.advance(60_000);
  expect(world.core.workers.size).toBe(0);
});

test("workers - are listed by id, by state and by kind, in pages", () => {
  const world = new World();
  for (const id of ["c", "a", "b"]) world.worker(id, { kind: id === "b" ? "builder" : "worker" });
  const page = world.ok("worker.list", { limit: 2 });
  expect(page.workers.map((worker) => worker.id)).toEqual(["a", "b"]);
  expect(
    world.ok("worker.list", { limit: 2, cursor: page.cursor! }).workers.map((worker) => worker.id),
  ).toEqual(["c"]);
  expect(world.ok("worker.list", { kind: "builder" }).workers.map((worker) => worker.id)).toEqual(["b"]);
  expect(world.ok("worker.list", { state: "busy" }).workers).toEqual([]);
});
