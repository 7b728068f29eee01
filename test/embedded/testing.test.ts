/** The coordinator for tests: its clock, its waiting, and each fault that may be asked of it. */
import { afterEach, describe, expect, test } from "bun:test";
import {
  createCoordinator,
  type TestCoordinator,
  type TestCoordinatorOptions,
} from "@cortexd/client/testing";
import type { CoordinationClient } from "../../client/index.ts";
import { KeptLog } from "../../src/embedded/disk.ts";
import { Life } from "../../src/embedded/life.ts";
import { anyone, engineConfig, FakeClock, settle } from "../engine/world.ts";

const open = new Set<TestCoordinator>();
async function create(options?: TestCoordinatorOptions) {
  const cortex = await createCoordinator(options);
  open.add(cortex);
  return cortex;
}
afterEach(async () => {
  for (const cortex of open) await cortex.stop();
  open.clear();
});

const refused = (promise: PromiseLike<unknown>) =>
  promise.then(
    () => "not refused",
    (error) => error.code ?? error.message,
  );
const tasksOf = async (client: CoordinationClient) => (await client.tasks()).tasks;

describe("testing - the clock", () => {
  test("testing - time stands still until it is moved, and a delayed task starts at its moment", async () => {
    const cortex = await create();
    const begunAt: number[] = [];
    await cortex.worker("q", () => void begunAt.push(cortex.now));
    const from = cortex.now;
    const task = await cortex.client().submit({ queue: "q", type: "t", delayMs: 300_000 });
    await cortex.advance("4m");
    expect(begunAt).toEqual([]);
    await cortex.advance("5m");
    expect(begunAt).toEqual([from + 300_000]);
    expect(cortex.now).toBe(from + 540_000);
    expect((await cortex.waitFor(task, "completed")).state).toBe("completed");
  });

  test("testing - retries come with their backoff, and the last one is the end", async () => {
    const cortex = await create();
    const triedAt: number[] = [];
    const from = cortex.now;
    await cortex.worker("q", () => {
      triedAt.push(cortex.now - from);
      throw new Error("again");
    });
    const backoff = { strategy: "fixed", delayMs: 60_000, jitter: 0 } as const;
    const task = cortex.client().submit({ queue: "q", type: "t", attempts: 3, backoff });
    await cortex.settle();
    await cortex.advance("10m");
    expect(triedAt).toEqual([0, 60_000, 120_000]);
    expect((await cortex.waitFor(task, "dead")).attempt).toBe(3);
  });

  test("testing - hours pass in a moment, and connections stand through it", async () => {
    const cortex = await create();
    const running = await cortex.worker("q", () => null);
    const lost: string[] = [];
    running.client.on("disconnected", ({ detail }) => lost.push(detail));
    await cortex.advance("3h");
    expect(lost).toEqual([]);
    expect(await running.client.worker(running.workerId)).toMatchObject({ state: "idle", health: "healthy" });
  });

  test("testing - two runs with one seed are the same", async () => {
    const run = async () => {
      const cortex = await create({ startAt: Date.UTC(2030, 0, 1), seed: 7 });
      const client = cortex.client();
      const { id } = await client.submit({ type: "t", attempts: 5 });
      await cortex.worker("default", () => Promise.reject(new Error("no")));
      await cortex.advance("1m");
      return { session: client.session, task: await client.task(id).get() };
    };
    const first = await run();
    expect(await run()).toEqual(first);
    expect(first.task.state).toBe("dead");
  });

  test("testing - what is no duration is refused", async () => {
    const cortex = await create();
    for (const wrong of ["soon", -1, Number.NaN, "5 parsecs"])
      expect(() => cortex.advance(wrong)).toThrow("is no duration");
  });
});

describe("testing - waiting for a task", () => {
  test("testing - it waits for handlers that take real time", async () => {
    const cortex = await create();
    await cortex.worker("q", async (task) => {
      await new Promise((resolve) => setTimeout(() => resolve(null), 20));
      return task.payload;
    });
    const client = cortex.client();
    const task = client.submit({ queue: "q", type: "t", payload: 5 });
    expect(await cortex.waitFor(task, "running")).toMatchObject({ state: "running" });
    expect(await cortex.waitFor((await task).id, "completed")).toMatchObject({ result: 5 });
    expect(await cortex.waitFor(client.task((await task).id), "completed")).toMatchObject({ result: 5 });
  });

  test("testing - another end, an unknown task and a wait in vain are told", async () => {
    const cortex = await create();
    const client = cortex.client();
    const task = await client.submit({ type: "t" });
    expect(await refused(cortex.waitFor(task, "completed", { withinMs: 10 }))).toMatch(
      /was not completed in 10 ms: it is queued, and time stands still/,
    );
    await client.task(task.id).cancel();
    expect(await refused(cortex.waitFor(task, "completed"))).toMatch(/is cancelled, and was to be completed/);
    expect(await refused(cortex.waitFor("9999-0", "completed"))).toContain("9999-0");
  });
});

describe("testing - faults", () => {
  test("testing - a killed coordinator comes back with what was acknowledged, and so do its clients", async () => {
    const cortex = await create();
    const client = cortex.client();
    let begun = 0;
    const results: unknown[] = [];
    await cortex.worker("q", async (task) => {
      begun++;
      await new Promise((resolve) => release.push(() => resolve(null)));
      return task.payload;
    });
    const release: (() => void)[] = [];
    const first = await client.submit({ queue: "q", type: "t", payload: "first" });
    await cortex.settle();
    const { revision } = await client.getState();
    cortex.kill();
    const late = client.submit({ queue: "q", type: "t", payload: "late" });
    late.result().then((result) => results.push(result));
    await cortex.advance("1s");
    expect(client.state).not.toBe("connected");
    expect(await refused(cortex.waitFor(first, "completed", { withinMs: 10 }))).toContain("does not run");
    await cortex.restart();
    await cortex.advance("5s");
    for (let i = 0; i < 2; i++) {
      for (const go of release.splice(0)) go();
      await cortex.settle();
    }
    expect(await cortex.waitFor(first, "completed")).toMatchObject({
      result: "first",
      attempt: 1,
      interruptions: 0,
    });
    await cortex.settle();
    expect(results).toEqual(["late"]);
    expect(begun).toBe(2);
    expect((await client.getState()).revision).toBeGreaterThan(revision);
  });

  test("testing - what a killed process still had in mind is not written", async () => {
    const log = new KeptLog();
    const life = await Life.start({
      ...{ log, clock: new FakeClock(), config: engineConfig, random: () => 0.5 },
      onFailure: (error) => {
        throw error;
      },
    });
    const submit = () => life.engine.call("task.submit", { type: "t" }, anyone);
    await submit();
    const { length } = log.disk.batches;
    expect(length).toBeGreaterThan(0);
    const answers: unknown[] = [];
    submit().then((answer) => answers.push(answer));
    life.kill();
    log.cut();
    await settle();
    expect(log.disk.batches.length).toBe(length);
    expect(answers).toEqual([]);
  });

  test("testing - a lost answer: the operation was carried out once, and its caller hears of it later", async () => {
    const cortex = await create();
    const client = cortex.client();
    await client.connect();
    cortex.faults.loseAnswer("task.submit");
    let answered = false;
    const submitted = client.submit({ type: "t" });
    submitted.then(() => {
      answered = true;
    });
    await cortex.settle();
    expect(answered).toBe(false);
    expect((await tasksOf(cortex.client())).length).toBe(1);
    await cortex.advance("1s");
    expect(answered).toBe(true);
    expect((await tasksOf(client)).map(({ id }) => id)).toEqual([(await submitted).id]);
    // Once: the next answer arrives.
    await client.submit({ type: "t" });
  });

  test("testing - a lost answer over HTTP is the same", async () => {
    const cortex = await create();
    cortex.faults.refuseWebSockets();
    const client = cortex.client();
    const connecting = client.connect();
    await cortex.advance("10s");
    await connecting;
    expect(client.transport).toBe("http");
    cortex.faults.loseAnswer();
    const submitted = client.submit({ type: "t" });
    await cortex.advance("5s");
    expect((await tasksOf(client)).map(({ id }) => id)).toEqual([(await submitted).id]);
  });

  test("testing - where WebSockets are refused work is done over HTTP, until they are not", async () => {
    const cortex = await create();
    cortex.faults.refuseWebSockets();
    const starting = cortex.worker("q", (task) => task.payload);
    await cortex.advance("10s");
    const running = await starting;
    expect(running.client.transport).toBe("http");
    const task = await (async () => {
      const client = cortex.client();
      const submitted = client.submit({ queue: "q", type: "t", payload: 1 });
      await cortex.advance("10s");
      return submitted;
    })();
    expect(await cortex.waitFor(task, "completed")).toMatchObject({ result: 1 });
    cortex.faults.refuseWebSockets(false);
    await cortex.advance("2m");
    expect(running.client.transport).toBe("websocket");
  });

  test("testing - a silent worker loses its task to another, and its late end changes nothing", async () => {
    const cortex = await create();
    const done: string[] = [];
    const handler = (name: string) => async () => {
      await new Promise((resolve) => release.push(() => resolve(null)));
      done.push(name);
      return name;
    };
    const release: (() => void)[] = [];
    const first = await cortex.worker("q", handler("first"), { workerId: "first" });
    const task = await cortex.client().submit({ queue: "q", type: "t", leaseMs: 10_000 });
    await cortex.waitFor(task, "running");
    cortex.faults.silence(first);
    await cortex.worker("q", handler("second"), { workerId: "second" });
    await cortex.advance("1m");
    expect((await cortex.client().worker("first")).state).toBe("offline");
    expect((await cortex.waitFor(task, "running")).lease?.workerId).toBe("second");
    for (const go of release.splice(0)) go();
    expect(await cortex.waitFor(task, "completed")).toMatchObject({ result: "second", interruptions: 1 });
    cortex.faults.silence("first", false);
    await cortex.advance("1m");
    expect(await cortex.client().task(task.id).get()).toMatchObject({ result: "second" });
    expect((await cortex.client().worker("first")).state).toBe("idle");
    expect(done.sort()).toEqual(["first", "second"]);
  });

  test("testing - a connection that breaks is made again, and nothing is done twice for it", async () => {
    const cortex = await create();
    const client = cortex.client();
    const other = cortex.client();
    await Promise.all([client.connect(), other.connect()]);
    const broken: string[] = [];
    client.on("disconnected", () => broken.push("client"));
    other.on("disconnected", () => broken.push("other"));
    const submitted = client.submit({ type: "t" });
    cortex.faults.disconnect(client);
    await cortex.advance("1s");
    await submitted;
    expect(broken).toEqual(["client"]);
    expect((await tasksOf(client)).length).toBe(1);
    cortex.faults.disconnect();
    await cortex.advance("1s");
    expect(broken.sort()).toEqual(["client", "client", "other"]);
    expect(() => cortex.faults.disconnect("nobody")).toThrow("worker nobody is none");
  });

  test("testing - what is delayed arrives in time and in order", async () => {
    const cortex = await create();
    const client = cortex.client();
    await client.connect();
    cortex.faults.delay("100ms");
    const answers: number[] = [];
    const note = (n: number) => () => answers.push(n);
    client.submit({ type: "t" }).then(note(1));
    await cortex.advance(50);
    cortex.faults.delay(0);
    client.submit({ type: "t" }).then(note(2));
    await cortex.advance(49);
    expect(answers).toEqual([]);
    await cortex.advance(1);
    expect(answers).toEqual([1, 2]);
  });

  test("testing - a full disk refuses changes and serves reads, until there is room", async () => {
    const cortex = await create();
    const client = cortex.client();
    const { id } = await client.submit({ type: "t" });
    cortex.faults.fillDisk();
    expect(await refused(client.submit({ type: "t" }))).toBe("disk-full");
    expect(await client.task(id).get()).toMatchObject({ id, state: "queued" });
    expect((await tasksOf(client)).length).toBe(1);
    cortex.faults.fillDisk(false);
    await cortex.advance("5s");
    await client.submit({ type: "t" });
    expect((await tasksOf(client)).length).toBe(2);
  });
});
