/** The coordinator in the caller's own process: the same client before it, memory or a data folder behind it. */
import { afterEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { createCoordinator as packaged } from "@cortexd/client/embedded";
import { createCoordinator } from "cortexd";
import type { CoordinatorOptions, EmbeddedCoordinator } from "../../client/embedded.ts";
import { TaskFailed } from "../../client/index.ts";
import { optionTable } from "../../src/config.ts";
import { temporaryFolder } from "../support/daemon.ts";

const open = new Set<EmbeddedCoordinator>();
async function create(options?: CoordinatorOptions) {
  const cortex = await createCoordinator(options);
  open.add(cortex);
  return cortex;
}
afterEach(async () => {
  for (const cortex of open) await cortex.stop({ graceMs: 0 });
  open.clear();
});

const refusedBy = (error: unknown) => (error as { code?: string }).code;

describe("embedded", () => {
  test("embedded - both names of it are one", () => {
    expect(packaged).toBe(createCoordinator);
  });

  test("embedded - a task is submitted, pushed, done, and its result comes back", async () => {
    const cortex = await create();
    const client = cortex.client();
    await cortex.worker("mail", async (task) => ({ echoed: task.payload }));
    const submitted = client.submit({ queue: "mail", type: "send", payload: [1, "zwei", { drei: 3 }] });
    expect(await submitted.result()).toEqual({ echoed: [1, "zwei", { drei: 3 }] });
    const task = await client.task((await submitted).id).get();
    expect(task).toMatchObject({ state: "completed", attempt: 1, queue: "mail" });
    const state = await client.getState();
    expect(state.counts.tasks.completed).toBe(1);
    expect(state.counts.workers).toMatchObject({ idle: 1, busy: 0 });
  });

  test("embedded - what a handler throws is a failed task for who waits", async () => {
    const cortex = await create();
    await cortex.worker("q", () => {
      throw Object.assign(new Error("no such address"), { final: true });
    });
    const failure = await cortex
      .client()
      .submit({ queue: "q", type: "t" })
      .result()
      .catch((error) => error);
    expect(failure).toBeInstanceOf(TaskFailed);
    expect(failure).toMatchObject({ state: "failed", error: { message: "no such address" } });
  });

  test("embedded - changes are watched, and the loop ends with the coordinator", async () => {
    const cortex = await create();
    const client = cortex.client();
    const seen: (string | null)[] = [];
    const watching = (async () => {
      for await (const event of client.watch({ tables: ["tasks"] }))
        if (event.event === "change" && seen.push(event.state) === 3) break;
    })();
    await client.connect();
    await cortex.worker("q", () => "done");
    await client.submit({ queue: "q", type: "t" });
    await watching;
    expect(seen).toEqual(["queued", "running", "completed"]);
  });

  test("embedded - a worker that never yields does not keep the loop's timers waiting", async () => {
    const cortex = await create();
    const client = cortex.client();
    await cortex.worker("q", () => null, { concurrency: 10 });
    let turns = 0;
    const turning = setInterval(() => turns++, 1);
    const startedAt = performance.now();
    // One after the other, so that promises alone would carry it all: then no timer would ever fire.
    while (turns <= 10 && performance.now() - startedAt < 10_000)
      await client.submit({ queue: "q", type: "t" }).result();
    clearInterval(turning);
    expect(turns).toBeGreaterThan(10);
  });

  test("embedded - stop lets handlers end, closes clients, and is fine twice", async () => {
    const cortex = await create();
    const client = cortex.client();
    const began = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    await cortex.worker("q", async () => {
      began.resolve();
      await goOn.promise;
      return "ended";
    });
    const result = client.submit({ queue: "q", type: "t" }).result();
    await began.promise;
    const stopped = Promise.all([cortex.stop(), cortex.stop()]);
    goOn.resolve();
    expect(await result).toBe("ended");
    await stopped;
    await cortex.done;
    expect(client.state).toBe("closed");
    expect(await client.submit({ type: "t" }).then(null, refusedBy)).toBe("closed");
  });

  test("embedded - a worker that is still connecting ends with it, and nobody comes after", async () => {
    const cortex = await create();
    const connecting = cortex.worker("q", () => null).then(() => "connected", refusedBy);
    const client = cortex.client();
    const connected = client.connect().then(() => "connected", refusedBy);
    await cortex.stop();
    expect(await connecting).toBe("closed");
    expect(await connected).toBe("closed");
    expect(() => cortex.client()).toThrow("the coordinator was stopped");
    expect(await cortex.worker("q", () => null).then(null, refusedBy)).toBe("closed");
  });

  test("embedded - a log beyond use is told by `done`, and ends its clients and workers", async () => {
    const data = temporaryFolder();
    const cortex = await createCoordinator({ data });
    const told = cortex.done.catch((error) => error);
    const running = await cortex.worker("q", () => null);
    const client = cortex.client();
    await client.submit({ queue: "other", type: "t" });
    rmSync(data, { recursive: true });
    const submitted = client.submit({ queue: "other", type: "t" }).then(() => "acknowledged", refusedBy);
    expect(await told).toMatchObject({ name: "LogError", code: "log-failed" });
    expect(await submitted).toBe("closed");
    await running.done;
    expect([client.state, running.client.state]).toEqual(["closed", "closed"]);
    await cortex.stop();
  });

  test("embedded - with a data folder what was acknowledged is there after a stop, under higher revisions", async () => {
    const data = temporaryFolder();
    const first = await create({ data });
    const { id } = await first.client().submit({ queue: "q", type: "t", payload: "kept" });
    const { revision } = await first.client().getState();
    await first.stop();
    const second = await create({ data });
    expect(await second.client().task(id).get()).toMatchObject({ id, payload: "kept", state: "queued" });
    await second.worker("q", (task) => task.payload);
    expect(await second.client().task(id).result<string>()).toBe("kept");
    expect((await second.client().getState()).revision).toBeGreaterThan(revision);
  });

  test("embedded - a data folder has one owner, whoever it is", async () => {
    const data = temporaryFolder();
    await create({ data });
    const refusal = await createCoordinator({ data }).catch((error) => error);
    expect(refusal).toMatchObject({ name: "LogError", code: "data-folder-in-use" });
  });

  test("embedded - every mistake in the options is told at once", async () => {
    const wrong = { port: 9500, heartbeetMs: 1, silenceMs: "soon", retentionCount: -1 } as CoordinatorOptions;
    const refusal = await createCoordinator(wrong).catch((error) => String(error));
    for (const word of ['"port"', '"heartbeetMs"', "did you mean heartbeatMs", "silenceMs", "retentionCount"])
      expect(refusal).toContain(word);
    expect(await createCoordinator({ preset: "durable" }).catch((error) => String(error))).toContain(
      "give data",
    );
  });

  test("embedded - times may be texts, and are what workers are told", async () => {
    const cortex = await create({ heartbeatMs: "2s", silenceMs: "5s" });
    expect((await cortex.client().connect()).heartbeatMs).toBe(2000);
  });

  test("embedded - every option that is about tasks, workers and limits is one of it", async () => {
    const own: Required<Omit<CoordinatorOptions, "data" | "preset">> = {
      ...{ heartbeatMs: 1000, silenceMs: 3000, pushAckMs: 1000, stalledMs: 1000, graceMs: 0, ageingMs: 0 },
      ...{ interruptionsMax: 1, retentionMs: 0, retentionCount: 0, queuedTasksMax: 1 },
      ...{ memoryBytesMax: "64MiB", undurableBytesMax: "1MiB", messageIntervalMs: 10 },
      ...{ archiveMs: 0, archiveCount: 0, watchHistoryBytesMax: "1MiB" },
    };
    const rows = Object.entries(optionTable).filter(([, { group }]) =>
      ["tasks and workers", "limits"].includes(group),
    );
    expect(Object.keys(own).sort()).toEqual(rows.map(([name]) => name).sort());
    const client = (await create(own)).client();
    await client.submit({ type: "t" });
    expect(await client.submit({ type: "t" }).then(null, refusedBy)).toBe("busy");
  });
});
