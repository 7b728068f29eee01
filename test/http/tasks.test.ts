/** The routes of tasks: which operation each carries out, with what, for whom. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { Port } from "../../src/http/port.ts";
import type { Output } from "../../src/wire/operations.ts";
import { until } from "../support/daemon.ts";
import { world } from "./world.ts";

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
beforeEach(() => {
  w.calls.length = 0;
});
type Task = Output<"task.get">;

const held = { workerId: "worker-001", token: 7 };

describe("http tasks", () => {
  const rows: [method: string, path: string, body: unknown, operation: string, input: unknown][] = [
    ["GET", "/api/tasks", undefined, "task.list", {}],
    [
      "GET",
      "/api/tasks?queue=mail&state=queued&type=send&workerId=w&cursor=5-0&limit=20",
      undefined,
      "task.list",
      { queue: "mail", state: "queued", type: "send", workerId: "w", cursor: "5-0", limit: 20 },
    ],
    ["GET", "/api/tasks/5-0?wait=2m", undefined, "task.get", { taskId: "5-0", waitMs: 120_000 }],
    ["GET", "/api/tasks/5-0?wait=500ms", undefined, "task.get", { taskId: "5-0", waitMs: 500 }],
    ["GET", "/api/tasks/5-0", undefined, "task.get", { taskId: "5-0" }],
    [
      "DELETE",
      "/api/tasks/5-0?reason=sent%2C+%5Btwice%5D",
      undefined,
      "task.cancel",
      { taskId: "5-0", reason: "sent, [twice]" },
    ],
    ["DELETE", "/api/tasks/5-0", undefined, "task.cancel", { taskId: "5-0" }],
    ["POST", "/api/tasks/5-0/retry", undefined, "task.retry", { taskId: "5-0" }],
    [
      "GET",
      "/api/tasks?group=acme&label=tenant%3Da%3Db&createdBefore=20&createdAfter=10",
      undefined,
      "task.list",
      { group: "acme", label: "tenant=a=b", createdBefore: 20, createdAfter: 10 },
    ],
    ["POST", "/api/tasks/5-0/delete", undefined, "task.delete", { taskId: "5-0" }],
    ["POST", "/api/tasks/5-0/move", { queue: "q" }, "task.move", { taskId: "5-0", queue: "q" }],
    [
      "POST",
      "/api/tasks/cancel-many",
      { filter: { queue: "q" }, reason: "why" },
      "task.cancelMany",
      { filter: { queue: "q" }, reason: "why" },
    ],
    ["POST", "/api/tasks/retry-many", { taskIds: ["5-0"] }, "task.retryMany", { taskIds: ["5-0"] }],
    [
      "POST",
      "/api/tasks/delete-many",
      { filter: {}, cursor: "9-0", limit: 5 },
      "task.deleteMany",
      { filter: {}, cursor: "9-0", limit: 5 },
    ],
    [
      "POST",
      "/api/tasks/move-many",
      { taskIds: ["5-0"], priority: "low", atomic: true },
      "task.moveMany",
      { taskIds: ["5-0"], priority: "low", atomic: true },
    ],
    [
      "POST",
      "/api/tasks/complete-many",
      { workerId: "w", tasks: [{ taskId: "5-0", token: 7, result: 1 }] },
      "task.completeMany",
      { workerId: "w", tasks: [{ taskId: "5-0", token: 7, result: 1 }] },
    ],
    [
      "POST",
      "/api/tasks/5-0/extend",
      { ...held, leaseMs: 500 },
      "task.extend",
      { ...held, leaseMs: 500, taskId: "5-0" },
    ],
    [
      "POST",
      "/api/tasks/5-0/progress",
      { ...held, progress: 4 },
      "task.progress",
      { ...held, progress: 4, taskId: "5-0" },
    ],
    ["POST", "/api/tasks/5-0/release", held, "task.release", { ...held, taskId: "5-0" }],
    [
      "DELETE",
      "/api/tasks/5-0?workerId=w&token=7",
      undefined,
      "task.cancel",
      { taskId: "5-0", workerId: "w", token: 7 },
    ],
    [
      "POST",
      "/api/tasks/5-0/log",
      { ...held, lines: ["a"] },
      "task.log",
      { ...held, lines: ["a"], taskId: "5-0" },
    ],
    [
      "GET",
      "/api/tasks/5-0/logs?from=3&limit=7&wait=2s",
      undefined,
      "task.logs",
      { taskId: "5-0", from: 3, limit: 7, waitMs: 2000 },
    ],
    ["GET", "/api/tasks/5-0/logs", undefined, "task.logs", { taskId: "5-0" }],
    [
      "POST",
      "/api/tasks/5-0/snooze",
      { ...held, forMs: 500 },
      "task.snooze",
      { ...held, forMs: 500, taskId: "5-0" },
    ],
    [
      "POST",
      "/api/tasks/claim?wait=30s",
      { workerId: "w", count: 2 },
      "task.claim",
      { workerId: "w", count: 2, waitMs: 30_000 },
    ],
    ["POST", "/api/tasks/claim", { workerId: "w", waitMs: 5 }, "task.claim", { workerId: "w", waitMs: 5 }],
    ["POST", "/api/tasks/assign", { taskId: "5-0" }, "task.assign", { taskId: "5-0" }],
    ["GET", "/api/tasks/5-0/explain", undefined, "task.explain", { taskId: "5-0" }],
    [
      "POST",
      "/api/tasks/complete",
      { ...held, taskId: "5-0", result: [1] },
      "task.complete",
      { ...held, taskId: "5-0", result: [1] },
    ],
    [
      "POST",
      "/api/tasks/fail",
      { ...held, taskId: "5-0", error: "no" },
      "task.fail",
      { ...held, taskId: "5-0", error: "no" },
    ],
  ];
  test.each(rows)("http tasks - %s %s", async (method, path, body, operation, input) => {
    w.answer["task.get"] = () => ({ read: true });
    const response = body === undefined ? await w.fetch(path, { method }) : await w.send(method, path, body);
    delete w.answer["task.get"];
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(w.calls.map((call) => [call.operation, call.input] as unknown[])).toEqual([[operation, input]]);
  });

  test("http tasks - a submit answers 201 with the whole task", async () => {
    const response = await w.send("POST", "/api/tasks", { type: "send", payload: { a: 1 } });
    const task = (await response.json()) as Task;
    expect([response.status, task.type, task.payload, task.state]).toEqual([201, "send", { a: 1 }, "queued"]);
    expect(await (await w.fetch(`/api/tasks/${task.id}`)).json()).toEqual(task);
  });

  test("http tasks - an array answers 201 with its tasks in order", async () => {
    const response = await w.send("POST", "/api/tasks", [{ type: "a" }, { type: "b" }, { type: "c" }]);
    const tasks = (await response.json()) as Task[];
    expect(response.status).toBe(201);
    expect(tasks.map((task) => task.type)).toEqual(["a", "b", "c"]);
    expect(w.calls.filter((call) => call.operation === "task.submit")).toHaveLength(1);
  });

  test("http tasks - a submit and the reading of its tasks wait for one sync, not for two", async () => {
    const letOut: (() => void)[] = [];
    const port: Port = {
      ...w.port,
      request: (operation, input, caller, sink) =>
        w.port.request(operation, input, caller, {
          ...sink,
          answer: (seq, answer) => letOut.push(() => sink.answer(seq, answer)),
        }),
    };
    await using slow = world({ port });
    const submitted = async (count: number, types: string[]) => {
      const answered = slow.send(
        "POST",
        "/api/tasks",
        types.map((type) => ({ type, idempotencyKey: type })),
      );
      await until(() => letOut.length === count);
      for (const one of letOut.splice(0)) one();
      const tasks = (await (await answered).json()) as Task[];
      expect(tasks.map((task) => task.type)).toEqual(types);
    };
    await submitted(1, ["a", "b"]);
    // What is known of an earlier task may be newer than this submit, and waits for a sync of its own.
    await submitted(2, ["a", "c"]);
  });

  test("http tasks - a known idempotency key answers 200 with the earlier task", async () => {
    const first = await w.send("POST", "/api/tasks", { type: "a", idempotencyKey: "k1" });
    const second = await w.send("POST", "/api/tasks", { type: "b", idempotencyKey: "k1" });
    expect([first.status, second.status]).toEqual([201, 200]);
    expect(await second.json()).toEqual(await first.json());
    const mixed = await w.send("POST", "/api/tasks", [{ type: "a", idempotencyKey: "k1" }, { type: "new" }]);
    expect(mixed.status).toBe(201);
  });

  test("http tasks - a duplicate of a task that is kept no more answers with what is known of it", async () => {
    const gone = { id: "7-0", state: "completed", duplicate: true };
    const { id } = (await (await w.send("POST", "/api/tasks", { type: "a" })).json()) as Task;
    w.answer["task.submit"] = ({ input }) =>
      Array.isArray(input) ? [{ id, state: "queued", duplicate: false }, gone] : gone;
    const one = await w.send("POST", "/api/tasks", { type: "a" });
    const two = await w.send("POST", "/api/tasks", [{ type: "a" }, { type: "b" }]);
    delete w.answer["task.submit"];
    expect([one.status, await one.json()]).toEqual([200, gone]);
    expect([two.status, await two.json()]).toMatchObject([201, [{ id, type: "a" }, gone]]);
  });

  test("http tasks - the caller is the worker that names itself, else http", async () => {
    await w.send("POST", "/api/tasks/complete", { ...held, taskId: "5-0" });
    await w.send("POST", "/api/tasks", { type: "a" });
    expect(w.calls.map((call) => call.caller.who)).toEqual(["worker-001", "http"]);
  });

  test("http tasks - Idempotency-Key makes a session of one operation; without it there is none", async () => {
    await w.send("POST", "/api/tasks/complete", { ...held, taskId: "5-0" }, { "idempotency-key": "abc" });
    await w.send("POST", "/api/tasks/complete", { ...held, taskId: "5-0" });
    expect(w.calls.map(({ caller }) => [caller.session, caller.seq, caller.ackedThrough])).toEqual([
      ["idempotency:abc", 1, 0],
      [null, 0, 0],
    ]);
  });

  test("http tasks - a client that goes away ends its wait", async () => {
    const arrived = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    w.answer["task.get"] = ({ caller }) => {
      arrived.resolve();
      const gone = Promise.withResolvers<unknown>();
      caller.signal!.addEventListener("abort", () => {
        ended.resolve();
        gone.resolve({});
      });
      return gone.promise;
    };
    const client = new AbortController();
    const waiting = w.fetch("/api/tasks/5-0?wait=5m", { signal: client.signal }).catch(() => "gone");
    await arrived.promise;
    client.abort();
    await ended.promise;
    expect(await waiting).toBe("gone");
    delete w.answer["task.get"];
  });
});
