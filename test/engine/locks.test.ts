/** Locks in the engine: who waits for one is answered when it is held, and who loses one is told. */
import { expect, test } from "bun:test";
import { SessionWorld } from "../ws/world.ts";
import { EngineWorld, settle, TestSink } from "./world.ts";

const resources = [{ name: "deploy" }];
const inLine = { resources, waitMs: 600_000 };

test("engine - lock.get with waitMs is answered when the lock is held, and not before", async () => {
  const world = await EngineWorld.start();
  const sink = new TestSink();
  const first = await world.ok("lock.acquire", inLine);
  const second = await world.ok("lock.acquire", inLine);
  const seq = world.ask(sink, "lock.get", { lockId: second.lockId, waitMs: 60_000 });
  await world.advance(5000);
  expect(sink.answers).toEqual([]);
  await world.ok("lock.release", { lockId: first.lockId });
  await settle();
  expect(sink.ok(seq)).toMatchObject({ lockId: second.lockId, state: "held" });
  const now = world.ask(sink, "lock.get", { lockId: second.lockId, waitMs: 60_000 });
  await settle();
  expect(sink.ok(now).state).toBe("held");
});

test("engine - who waits for a lock extends it, and it goes when nobody waits any more", async () => {
  const world = await EngineWorld.start();
  const sink = new TestSink();
  await world.ok("lock.acquire", { ...inLine, ttlMs: 3_000_000 });
  const { lockId } = await world.ok("lock.acquire", { ...inLine, ttlMs: 5000 });
  const gone = new AbortController();
  world.ask(sink, "lock.get", { lockId, waitMs: 60_000 }, { signal: gone.signal });
  await world.advance(20_000);
  expect((await world.ok("lock.get", { lockId })).state).toBe("waiting");
  gone.abort();
  await world.advance(5500);
  await world.refused("lock.get", { lockId }, "unknown-lock");
  expect(sink.answers).toEqual([]);
});

test("engine - who waits for a lock that is withdrawn is told so, and so is who has waited long enough", async () => {
  const world = await EngineWorld.start();
  const sink = new TestSink();
  const { lockId: held } = await world.ok("lock.acquire", { ...inLine, ttlMs: 3_000_000 });
  const { lockId } = await world.ok("lock.acquire", { resources, waitMs: 5000 });
  const enough = world.ask(sink, "lock.get", { lockId, waitMs: 1000 });
  const withdrawn = world.ask(sink, "lock.get", { lockId, waitMs: 60_000 });
  await world.advance(1000);
  expect(sink.ok(enough).state).toBe("waiting");
  await world.advance(4500);
  expect(sink.error(withdrawn).code).toBe("unknown-lock");
  expect((await world.ok("lock.get", { lockId: held })).state).toBe("held");
});

test("engine - the session of a lock is told that it is lost, and not of what it released itself", async () => {
  const it = await SessionWorld.start();
  const [line, other] = [await it.greet("mine"), await it.greet("other")];
  const own = await line.ok("lock.acquire", { resources });
  await line.ok("lock.release", { lockId: own.lockId });
  const taken = [];
  for (const name of ["a", "b", "c"])
    taken.push((await line.ok("lock.acquire", { resources: [{ name }], ttlMs: 5000 })).lockId);
  const waits = await line.ok("lock.acquire", { resources: [{ name: "c" }], waitMs: 1000 });
  await other.ok("worker.register", { workerId: "w" });
  const ofWorker = await line.ok("lock.acquire", { resources: [{ name: "d" }], workerId: "w" });
  await other.ok("lock.steal", { lockId: taken[0], reason: "it hangs" });
  await other.ok("lock.release", { lockId: taken[1] });
  await other.ok("worker.unregister", { workerId: "w" });
  await it.world.advance(2000);
  await line.ok("lock.extend", { lockIds: [taken[2]] });
  await it.world.advance(4000);
  expect(line.events("lock.lost")).toHaveLength(3);
  await it.world.advance(2000);
  expect(line.events("lock.lost").map(({ lockId, reason }) => [lockId, reason])).toEqual([
    [taken[0], "stolen"],
    [taken[1], "released"],
    [ofWorker.lockId, "worker-gone"],
    [taken[2], "expired"],
  ]);
  expect(other.events("lock.lost")).toEqual([]);
  expect((await line.ask("lock.get", { lockId: waits.lockId })).error.code).toBe("unknown-lock");
});
