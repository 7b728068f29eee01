/** The log over HTTP, of a daemon that keeps one: who did what to what, in order. */
import { afterAll, describe, expect, test } from "bun:test";
import { explain } from "../../src/wire/explain.ts";
import { operations } from "../../src/wire/operations.ts";
import { spawnDaemon } from "../support/daemon.ts";

const daemon = await spawnDaemon();
afterAll(() => daemon.kill());

const send = async (method: string, path: string, body: unknown) => {
  const headers = { "content-type": "application/json" };
  const response = await fetch(daemon.url + path, { method, headers, body: JSON.stringify(body) });
  return (await response.json()) as { id: string; revision: number };
};
const read = async (query = "") => {
  const page = await (await fetch(`${daemon.url}/api/log?${query}`)).json();
  expect(explain(operations["log.read"].output, page)).toEqual([]);
  return page as {
    entries: {
      revision: number;
      operation: string;
      who: string;
      changes: { part: string; id: string; value: unknown }[];
    }[];
    next: number | null;
    oldest: number | null;
  };
};

describe("http log", () => {
  test("http log - it tells of one thing what was done to it, and of a page where the next begins", async () => {
    const { revision: first } = await send("PUT", "/api/kv/a%2Fb", { value: { n: 1 } });
    const { id } = await send("POST", "/api/tasks", { type: "t", payload: "p" });
    await send("POST", "/api/transaction", {
      then: [
        { operation: "kv.put", input: { key: "a/b", value: null } },
        { operation: "task.cancel", input: { taskId: id, reason: "enough" } },
      ],
    });
    await fetch(`${daemon.url}/api/kv/a%2Fb`, { method: "DELETE" });

    const key = await read("key=a%2Fb");
    expect(key.entries.map(({ operation, who, changes }) => [operation, who, changes])).toEqual([
      ["kv.put", "http", [{ part: "key", id: "a/b", value: { revision: first, value: { n: 1 } } }]],
      [
        "transaction.run",
        "http",
        [{ part: "key", id: "a/b", value: expect.objectContaining({ value: null }) }],
      ],
      ["kv.delete", "http", [{ part: "key", id: "a/b", value: null }]],
    ]);
    const task = await read(`taskId=${id}`);
    expect(task.entries.map(({ operation }) => operation)).toEqual(["task.submit", "transaction.run"]);
    expect(task.entries[0]!.changes[0]!.value).toMatchObject({ queue: "default", payload: "p" });
    expect(task.entries[1]!.changes[0]!.value).toMatchObject({ state: "cancelled", reason: "enough" });
    expect((await read("operation=kv.delete&who=http")).entries.length).toBe(1);

    const everything: number[] = [];
    let after = 0;
    for (let page = await read("limit=1"); ; page = await read(`limit=1&after=${after}`)) {
      everything.push(...page.entries.map(({ revision }) => revision));
      if (page.next === null) break;
      after = page.next;
    }
    const whole = await read();
    expect(everything).toEqual(whole.entries.map(({ revision }) => revision));
    expect(whole.oldest).toBeLessThanOrEqual(first);
    expect((await read(`after=${first}&upTo=${first}`)).entries).toEqual([]);
  });

  test("http log - of a lock it tells who took it and who ended it, and of nothing else of that name", async () => {
    const ask = { resources: [{ name: "deploy" }], ttlMs: 60_000 };
    const first = (await send("POST", "/api/locks", ask)) as unknown as { lockId: string };
    await send("PUT", "/api/limits/deploy", { concurrency: 1 });
    await send("POST", "/api/locks/steal", { lockId: first.lockId, reason: "it hung" });
    const { lockId } = (await send("POST", "/api/locks", ask)) as unknown as { lockId: string };
    await fetch(`${daemon.url}/api/locks/${lockId}`, { method: "DELETE" });
    const told = (await read("lock=deploy")).entries.map(({ operation, changes }) => [
      operation,
      changes.map(({ id, value }) => [id, (value as { state: string } | null)?.state ?? null]),
    ]);
    expect(told).toEqual([
      ["lock.acquire", [[first.lockId, "held"]]],
      [
        "lock.steal",
        [
          [first.lockId, "stolen"],
          [first.lockId, null],
        ],
      ],
      ["lock.acquire", [[lockId, "held"]]],
      ["lock.release", [[lockId, null]]],
    ]);
  });

  test("http log - a task's log, what it failed of and what a message carried are told", async () => {
    const { id } = await send("POST", "/api/tasks", { type: "t", queue: "logged" });
    const worker = { workerId: "w1", instanceId: "i1", queues: ["logged"], capacity: 1 };
    await send("POST", "/api/workers/register", worker);
    const claimed = (await send("POST", "/api/tasks/claim", { workerId: "w1" })) as unknown as {
      assignments: { token: number; task: { lease: { token: number } } }[];
    };
    const { token } = claimed.assignments[0]!.task.lease;
    await send("POST", `/api/tasks/${id}/log`, { workerId: "w1", token, lines: ["begun"] });
    const { entries } = await read(`taskId=${id}`);
    expect(entries.map(({ operation }) => operation)).toEqual(["task.submit", "task.claim", "task.log"]);
    expect(entries[2]!.changes[0]!.value).toMatchObject({ lines: [{ text: "begun" }] });

    const error = { message: "no\tway" };
    await send("POST", "/api/tasks/fail", { taskId: id, workerId: "w1", token, error });
    const { changes } = (await read(`taskId=${id}&operation=task.fail`)).entries[0]!;
    expect(changes.find(({ part }) => part === "task.errors")).toMatchObject({ id, value: [{ error }] });

    await send("PUT", "/api/subscriptions/s", { topic: "orders.>" });
    await send("POST", "/api/messages", { topic: "orders.eu", payload: { n: 17 } });
    const [published] = (await read("operation=message.publish")).entries;
    expect(published!.changes[0]).toMatchObject({ part: "message", value: { payload: { n: 17 } } });
    expect((await read(`taskId=${id}&workerId=w1`)).entries.map(({ operation }) => operation)).toEqual([
      "task.claim",
      "task.fail",
    ]);
  });

  test("http log - who is a worker that asks, and never the one that something is for", async () => {
    const { revision: from } = await send("PUT", "/api/kv/before", { value: 1 });
    await send("POST", "/api/workers/register", { workerId: "w2", queues: ["asked"], capacity: 2 });
    await send("PUT", "/api/subscriptions/$worker.w2", {});
    await send("POST", "/api/messages", { workerId: "w2", payload: 1 });
    await send("POST", "/api/messages", { workerId: "*", payload: 1 });
    await send("POST", "/api/tasks", { type: "t", queue: "asked", workerId: "w2" });
    const { id } = await send("POST", "/api/tasks", { type: "t", queue: "asked" });
    await send("POST", "/api/tasks/assign", { taskId: id, workerId: "w2" });
    await send("POST", "/api/tasks/claim", { workerId: "w2" });
    await send("POST", "/api/workers/w2/drain", { drain: true });
    await send("POST", "/api/workers/unregister", { workerId: "w2" });
    const { entries } = await read(`after=${from}`);
    expect(entries.map(({ operation, who }) => `${operation} ${who}`)).toEqual([
      ...["worker.register w2", "subscription.put http", "message.publish http", "message.publish http"],
      ...["task.submit http", "task.submit http", "task.assign http", "task.claim w2"],
      ...["worker.drain http", "worker.unregister w2"],
    ]);
    expect(entries[2]!.changes[0]!.value).toMatchObject({ topic: "$worker.w2", publisher: "http" });
  });

  test("http log - a daemon that keeps no entries has none to tell", async () => {
    await using memory = {
      daemon: await spawnDaemon({ preset: "development" }),
      [Symbol.asyncDispose]: async () => memory.daemon.kill(),
    };
    await fetch(`${memory.daemon.url}/api/kv/a`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: '{"value":1}',
    });
    expect(await (await fetch(`${memory.daemon.url}/api/log`)).json()).toEqual({
      entries: [],
      next: null,
      oldest: null,
    });
  });
});

test("http log - it goes on behind a batch that is larger than what one request looks at, after which the log leapt", async () => {
  const first = await spawnDaemon();
  const { data } = first;
  const puts = Array.from({ length: 9 }, (_, i) => ({
    operation: "kv.put",
    input: { key: `large/${i}`, value: "x".repeat(1_000_000) },
  }));
  const put = async (url: string, path: string, method: string, body: unknown) => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(url + path, { method, headers, body: JSON.stringify(body) });
    return ((await response.json()) as { revision: number }).revision;
  };
  const last = await put(first.url, "/api/transaction", "POST", { then: puts });
  await first.kill();
  const second = await spawnDaemon({ data });
  try {
    const next = await put(second.url, "/api/kv/small", "PUT", { value: 1 });
    expect(next).toBeGreaterThan(last + 1);
    const page = await (await fetch(`${second.url}/api/log?after=${last}`)).json();
    expect(page).toMatchObject({ entries: [{ revision: next }], next: null, oldest: last });
  } finally {
    await second.kill();
  }
});
