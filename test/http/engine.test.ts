/** The routes over a real daemon, from the source or the executable: one mail from submit to result, over plain HTTP. */
import { afterAll, describe, expect, test } from "bun:test";
import type { Problem } from "../../src/wire/errors.ts";
import { explain } from "../../src/wire/explain.ts";
import { MetricsView, TableView } from "../../src/wire/http.ts";
import { limits } from "../../src/wire/limits.ts";
import { type OperationName, type Output, operations } from "../../src/wire/operations.ts";
import { tableNames } from "../../src/wire/state.ts";
import { StatsView } from "../../src/wire/stats.ts";
import { spawnDaemon } from "../support/daemon.ts";

const daemon = await spawnDaemon({ preset: "development" });
afterAll(() => daemon.kill());

const w = {
  fetch: (path: string, init?: RequestInit) => fetch(daemon.url + path, init),
  send: (method: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
    w.fetch(path, {
      method,
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    }),
};

/** The answer, which must be what the operation promises. */
async function said<N extends OperationName>(operation: N, response: Response): Promise<Output<N>> {
  const body = (await response.json()) as Output<N>;
  expect({ operation, body, wrong: explain(operations[operation].output, body) }).toMatchObject({
    wrong: [],
  });
  return body;
}
const refused = async (response: Response) => (await response.json()) as Problem;
const register = (workerId: string, more = {}) =>
  w.send("POST", "/api/workers/register", { workerId, capacity: 2, ...more });

describe("http engine", () => {
  test("http engine - a task is submitted, claimed, extended, progressed and completed", async () => {
    await said("worker.register", await register("worker-1"));
    const submitted = await w.send("POST", "/api/tasks", {
      queue: "mail",
      type: "send",
      payload: { to: "a" },
    });
    expect(submitted.status).toBe(201);
    const task = await said("task.get", submitted);
    const claimed = await said(
      "task.claim",
      await w.send("POST", "/api/tasks/claim?wait=5s", { workerId: "worker-1" }),
    );
    expect(claimed.assignments.map((assignment) => assignment.task.id)).toEqual([task.id]);
    const { token } = claimed.assignments[0]!.lease;
    const held = { workerId: "worker-1", token };
    await said(
      "task.extend",
      await w.send("POST", `/api/tasks/${task.id}/extend`, { ...held, leaseMs: 60_000 }),
    );
    await said(
      "task.progress",
      await w.send("POST", `/api/tasks/${task.id}/progress`, { ...held, progress: 40 }),
    );
    const beat = await said(
      "worker.heartbeat",
      await w.send("POST", "/api/workers/heartbeat", { workerId: "worker-1" }),
    );
    expect(beat.leases.map((lease) => lease.taskId)).toEqual([task.id]);
    const waiting = w.fetch(`/api/tasks/${task.id}?wait=30s`);
    const body = { ...held, taskId: task.id, result: { sent: true } };
    await said("task.complete", await w.send("POST", "/api/tasks/complete", body));
    const ended = await said("task.get", await waiting);
    expect([ended.state, ended.result, ended.progress]).toEqual(["completed", { sent: true }, 40]);
  });

  test("http engine - assign makes a task and its lease, release gives it back, cancel ends it", async () => {
    await register("worker-2");
    const assigned = await said(
      "task.assign",
      await w.send("POST", "/api/tasks/assign", { task: { queue: "q2", type: "t" }, workerId: "worker-2" }),
    );
    expect(assigned.lease.workerId).toBe("worker-2");
    const { id } = assigned.task;
    const held = { workerId: "worker-2", token: assigned.lease.token };
    await said("task.release", await w.send("POST", `/api/tasks/${id}/release`, held));
    expect((await refused(await w.send("POST", "/api/tasks/complete", { ...held, taskId: id }))).code).toBe(
      "lease-lost",
    );
    await said("task.cancel", await w.fetch(`/api/tasks/${id}?reason=enough`, { method: "DELETE" }));
    expect((await said("task.get", await w.fetch(`/api/tasks/${id}`))).reason).toContain("enough");
    await said("task.retry", await w.fetch(`/api/tasks/${id}/retry`, { method: "POST" }));
  });

  test("http engine - fail with a final error ends a task, a failed one waits to be tried again", async () => {
    await register("worker-3");
    const fail = async (final: boolean) => {
      const assigned = await said(
        "task.assign",
        await w.send("POST", "/api/tasks/assign", { task: { queue: "q3", type: "t" }, workerId: "worker-3" }),
      );
      const lease = { taskId: assigned.task.id, workerId: "worker-3", token: assigned.lease.token };
      return said("task.fail", await w.send("POST", "/api/tasks/fail", { ...lease, error: "no", final }));
    };
    expect((await fail(true)).state).toBe("failed");
    expect((await fail(false)).state).toBe("scheduled");
  });

  test("http engine - workers are listed, drained, and leave", async () => {
    await register("rack/4");
    await said("worker.get", await w.fetch("/api/workers/rack%2F4"));
    const drained = await said(
      "worker.drain",
      await w.fetch("/api/workers/rack%2F4/drain", { method: "POST" }),
    );
    expect(drained.state).toBe("draining");
    const page = await said("worker.list", await w.fetch("/api/workers?limit=2"));
    expect(page.workers).toHaveLength(2);
    await said("worker.unregister", await w.send("POST", "/api/workers/unregister", { workerId: "rack/4" }));
  });

  test("http engine - lists, queues and the state fit their promises", async () => {
    const first = await said("task.list", await w.fetch("/api/tasks?limit=1"));
    expect(first.tasks).toHaveLength(1);
    await said("task.list", await w.fetch(`/api/tasks?limit=1&cursor=${first.cursor}`));
    await said("queue.list", await w.fetch("/api/queues"));
    await said("state.get", await w.fetch("/api/state"));
    for (const table of tableNames) {
      const page = await (await w.fetch(`/api/state?table=${table}&limit=2`)).json();
      expect([table, explain(TableView, page)]).toEqual([table, []]);
    }
    expect(explain(StatsView, await (await w.fetch("/api/stats?historyMs=1000")).json())).toEqual([]);
    expect(explain(MetricsView, await (await w.fetch("/api/metrics")).json())).toEqual([]);
    expect(await (await w.fetch("/metrics")).text()).toMatch(/^# (HELP|TYPE) cortex/);
  });

  test("http engine - the stream holds every record that the pages hold", async () => {
    const lines = (await (await w.fetch("/api/state?format=ndjson")).text()).trimEnd().split("\n");
    const [head, ...records] = lines.map((line) => JSON.parse(line));
    const state = await said("state.get", await w.fetch("/api/state"));
    expect(head).toEqual({ revision: state.revision, at: expect.any(Number) });
    for (const line of records) expect(Object.keys(line)).toEqual(["table", "record"]);
    const { tasks } = (await said(
      "task.list",
      await w.fetch("/api/tasks?limit=1000"),
    )) as Output<"task.list">;
    const streamed = records.filter((line) => line.table === "tasks").map((line) => line.record.id);
    expect(streamed.sort()).toEqual(tasks.map((task) => task.id).sort());
    for (const table of tableNames) {
      const one = await (await w.fetch(`/api/state?format=ndjson&table=${table}`)).text();
      const [head, ...rows] = one.trimEnd().split("\n");
      expect(JSON.parse(head!).revision).toBe(state.revision);
      // What a worker holds is counted from the tasks, whether or not they are asked for.
      expect(rows).toEqual(lines.slice(1).filter((line) => line.startsWith(`{"table":"${table}",`)));
    }
  });

  test("http engine - a request repeated under its Idempotency-Key happens once", async () => {
    const headers = { "idempotency-key": "order-7" };
    const submit = (type: string) => w.send("POST", "/api/tasks", { queue: "once", type }, headers);
    const [first, second] = [await submit("a"), await submit("a")];
    expect(await second.json()).toEqual(await first.json());
    expect((await refused(await submit("b"))).code).toBe("idempotency-key-reused");
    expect((await said("task.list", await w.fetch("/api/tasks?queue=once"))).tasks).toHaveLength(1);
  });

  test("http engine - pages of one row lead through every table, whatever its keys are", async () => {
    // A key as long as it gets, of what is longest when it is encoded.
    const headers = { "idempotency-key": "\u00e9".repeat(limits.idempotencyKeyLengthMax) };
    expect((await w.send("POST", "/api/tasks", { queue: "paged", type: "a" }, headers)).status).toBe(201);
    await w.send("POST", "/api/tasks", { queue: "paged", type: "a" }, { "idempotency-key": "a/b?c" });
    await register("rack/5");
    for (const name of ["nightly", "a/b"])
      await w.send("PUT", `/api/schedules/${encodeURIComponent(name)}`, {
        everyMs: 60_000,
        task: { type: "a" },
      });
    for (const name of ["one", "rack/2"]) {
      const path = encodeURIComponent(name);
      for (const [method, route, body] of [
        ["PATCH", `queues/${path}`, { concurrency: 5 }],
        ["PUT", `limits/${path}`, { concurrency: 5 }],
        ["POST", `queues/${path}/pause`, { group: "acme" }],
      ] as const)
        expect((await w.send(method, `/api/${route}`, body)).status).toBe(200);
    }
    for (const key of ["user/1/name", "user/2/name", "a?b"])
      await w.send("PUT", `/api/kv/${encodeURIComponent(key)}`, { value: { key } });
    for (const name of ["one", "two/"])
      expect((await w.send("POST", "/api/locks", { resources: [{ name }] })).status).toBe(200);
    for (const name of ["one", "rack/2"])
      await w.send("PUT", `/api/subscriptions/${encodeURIComponent(name)}`, { topic: "paged.>" });
    for (const topic of ["paged.>", "*.x"])
      await w.send("PUT", `/api/topics/${encodeURIComponent(topic)}`, { keepCount: 5 });
    for (const publishId of ["p/1", "p?2"]) {
      const message = { topic: "paged.x", payload: "\t", publishId };
      const { messageId } = await said("message.publish", await w.send("POST", "/api/messages", message));
      await w.send("POST", "/api/messages/nack", { subscription: "one", messageId, delayMs: 3_600_000 });
    }
    for (const key of ["one", "two"])
      await w.send("POST", "/api/tasks", { queue: "paged", type: "a", unique: { key, forMs: 60_000 } });
    await register("pager", { queues: ["broken"] });
    for (let i = 0; i < 2; i++) {
      await w.send("POST", "/api/tasks", { queue: "broken", type: "a" });
      const { assignments } = await said(
        "task.claim",
        await w.send("POST", "/api/tasks/claim", { workerId: "pager" }),
      );
      const { task, lease } = assignments[0]!;
      const held = { taskId: task.id, workerId: "pager", token: lease.token };
      expect((await w.send("POST", `/api/tasks/${task.id}/log`, { ...held, lines: ["a line"] })).status).toBe(
        200,
      );
      expect(
        (await w.send("POST", "/api/tasks/fail", { ...held, error: "broken", final: true })).status,
      ).toBe(200);
    }
    const lines = (await (await w.fetch("/api/state?format=ndjson")).text()).trimEnd().split("\n").slice(1);
    const streamed = lines.map((line) => JSON.parse(line) as { table: string; record: unknown });
    for (const table of tableNames) {
      const records: unknown[] = [];
      let more = "";
      do {
        const response = await w.fetch(`/api/state?table=${table}&limit=1${more}`);
        expect([table, more, response.status]).toEqual([table, more, 200]);
        const page = (await response.json()) as typeof TableView.static;
        records.push(...page.rows);
        more = page.cursor === null ? "" : `&cursor=${encodeURIComponent(page.cursor)}`;
      } while (more !== "");
      const wanted = streamed.filter((line) => line.table === table);
      expect(wanted.length).toBeGreaterThan(1);
      expect([table, records.length]).toEqual([table, wanted.length]);
    }
    const broken = await said("task.list", await w.fetch("/api/tasks?queue=broken"));
    const failed = streamed.filter(({ table }) => table === "errors").map(({ record }) => record);
    for (const { id } of broken.tasks) {
      const { errors } = await said("task.get", await w.fetch(`/api/tasks/${id}`));
      expect(failed).toContainEqual({ taskId: id, errors });
    }
  });

  test("http engine - a payload too deep or too large is refused by name, with a key or without", async () => {
    const deep = `{"type":"a","payload":${"[".repeat(200_000)}${"]".repeat(200_000)}}`;
    const large = JSON.stringify({ type: "a", payload: "x".repeat(limits.payloadBytesMax) });
    const json = { "content-type": "application/json" };
    for (const headers of [json, { ...json, "idempotency-key": "deep" }]) {
      const codes = [];
      for (const body of [deep, large]) {
        codes.push((await refused(await w.fetch("/api/tasks", { method: "POST", headers, body }))).code);
      }
      expect([headers, codes]).toEqual([headers, ["payload-too-deep", "payload-too-large"]]);
    }
  });

  test("http engine - unknown ids are 404 by name", async () => {
    expect((await refused(await w.fetch("/api/tasks/1-0"))).code).toBe("unknown-task");
    expect((await refused(await w.fetch("/api/workers/nobody"))).code).toBe("unknown-worker");
  });
});
