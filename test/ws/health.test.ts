/** Sick workers over a connection: what it is told, what those who watch are told, and what counts as heard. */
import { describe, expect, test } from "bun:test";
import { limits } from "../../src/wire/limits.ts";
import { SessionWorld } from "./world.ts";

/** A worker on a connection, someone who watches workers, and a task that was pushed. */
async function aPush(config: object = {}) {
  const it = await SessionWorld.start({ config: { ...config } });
  const line = await it.worker("w", { capacity: 2 });
  const other = await it.greet();
  await other.ok("watch.start", { watchId: "workers", tables: ["workers"] });
  const { id: taskId } = await other.ok("task.submit", { type: "t" });
  const { token } = line.events("task.assigned")[0].lease;
  const lease = { taskId, workerId: "w", token };
  const worker = () => other.ok("worker.get", { workerId: "w" });
  const told = () => other.events("change").map(({ operation, id, health }) => [operation, id, health]);
  return { it, line, other, lease, worker, told, advance: (ms: number) => it.world.advance(ms) };
}

describe("session - deaf workers", () => {
  test("session - a push that is not acknowledged in time is revoked; whoever watches is told, and so is the log", async () => {
    const { it, line, lease, other, worker, told, advance } = await aPush();
    await advance(9000);
    await line.ok("session.ping");
    expect(line.events("task.aborted")).toEqual([]);
    await advance(1500);
    expect(line.events("task.aborted")).toEqual([
      {
        event: "task.aborted",
        ...lease,
        reason: "revoked",
        detail: "the push was not acknowledged in time",
      },
    ]);
    expect(await worker()).toMatchObject({ health: "deaf", healthy: false, state: "idle", connected: true });
    expect(told()).toEqual([["worker.health", "w", "deaf"]]);
    expect(it.world.lines.filter(({ event }) => event === "worker.sick")).toMatchObject([
      { level: "warn", workerId: "w", health: "deaf" },
    ]);
    expect(await line.ask("task.complete", lease)).toMatchObject({ error: { code: "lease-lost" } });
    // To name the token is to have got it.
    expect(await worker()).toMatchObject({ health: "healthy" });
    expect(told().at(-1)).toEqual(["worker.health", "w", "healthy"]);
    expect((await other.ok("task.get", { taskId: lease.taskId })).lease.workerId).toBe("w");
  });

  test("session - worker.acknowledge keeps the lease, and makes a deaf worker hear again", async () => {
    const { line, lease, worker, other, advance } = await aPush();
    await advance(9000);
    expect(await line.ok("worker.acknowledge", { workerId: "w", token: lease.token })).toEqual({
      workerId: "w",
    });
    await advance(9000);
    await line.ok("session.ping");
    expect(line.events("task.aborted")).toEqual([]);
    const { id } = await other.ok("task.submit", { type: "t" });
    await advance(11_000);
    expect((await worker()).health).toBe("deaf");
    const { token } = line.events("task.aborted")[0];
    await line.ok("worker.acknowledge", { workerId: "w", token });
    expect((await worker()).health).toBe("healthy");
    expect(line.events("task.assigned").at(-1).task.id).toBe(id);
  });

  test("session - only the connection the worker is registered on can acknowledge for it", async () => {
    const { other, lease } = await aPush();
    const refused = await other.ask("worker.acknowledge", { workerId: "w", token: lease.token });
    expect(refused.error.code).toBe("unknown-worker");
  });

  test("session - credit is no new connection: what is overdue stays so", async () => {
    const { line, worker, advance } = await aPush();
    await advance(5000);
    await line.ok("worker.credit", { workerId: "w", credit: 2 });
    await advance(5500);
    expect((await worker()).health).toBe("deaf");
  });

  test("session - a socket that goes on taking what waits is not deaf, one that stands still is", async () => {
    const { line, worker, advance } = await aPush();
    line.buffered = 4 * limits.pushBufferBytesMax;
    for (let i = 0; i < 5; i++) {
      await advance(8000);
      await line.ok("session.ping");
      await line.drain(line.buffered - 1000);
    }
    expect((await worker()).health).toBe("healthy");
    await advance(10_500);
    expect((await worker()).health).toBe("deaf");
  });

  test("session - a client that never acknowledges and ends its tasks in time goes on", async () => {
    const { line, lease, worker, other, advance } = await aPush();
    await line.ok("task.complete", lease);
    for (let i = 0; i < 10; i++) {
      await other.ok("task.submit", { type: "t" });
      await advance(5000);
      const { task, lease } = line.events("task.assigned").at(-1);
      await line.ok("task.complete", { taskId: task.id, workerId: "w", token: lease.token });
    }
    expect(await worker()).toMatchObject({ health: "healthy", completedCount: 11 });
  });

  test("session - whoever saw a worker sick sees that another instance of it is not", async () => {
    const { it, told, advance } = await aPush();
    await advance(10_500);
    await advance(30_000);
    await it.worker("w", { instanceId: "another" });
    expect(told().filter(([operation]) => operation === "worker.health")).toEqual([
      ["worker.health", "w", "deaf"],
      ["worker.health", "w", "healthy"],
    ]);
  });

  test("session - the metrics count what was revoked, and who is sick", async () => {
    const { it, advance } = await aPush();
    await advance(10_500);
    expect(it.world.engine.metrics().daemon).toMatchObject({ pushesRevoked: 1, workersDeaf: 1 });
    expect(it.world.engine.prometheus()).toContain('cortexd_workers_sick{health="deaf"} 1\n');
  });
});

describe("session - stalled workers", () => {
  test.each(["session.ping", "worker.heartbeat"] as const)(
    "session - %s says for how long the handlers stood still: no tasks, and the leases end",
    async (beat) => {
      const { line, lease, worker, other, advance } = await aPush();
      await line.ok("worker.acknowledge", { workerId: "w", token: lease.token });
      const name = beat === "session.ping" ? {} : { workerId: "w" };
      for (let ageMs = 5000; ageMs < 30_000; ageMs += 5000) {
        await advance(5000);
        await line.ok(beat, { ...name, loopAgeMs: ageMs });
        expect((await worker()).health).toBe(ageMs < 10_000 ? "healthy" : "stalled");
      }
      expect((await other.ok("task.get", { taskId: lease.taskId })).state).toBe("running");
      await advance(5000);
      await line.ok(beat, { ...name, loopAgeMs: 30_000 });
      await advance(300);
      expect(line.events("task.aborted").map(({ reason }) => reason)).toEqual(["lease-expired"]);
      expect(line.events("task.assigned").length).toBe(1);
      expect((await worker()).state).toBe("idle");
      await line.ok(beat, { ...name, loopAgeMs: 0 });
      expect(line.events("task.assigned").length).toBe(2);
    },
  );
});
