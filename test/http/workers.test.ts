/** The routes of workers, queues, the state and health. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { responseSamples } from "../../src/http/samples.ts";
import { world } from "./world.ts";

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
beforeEach(() => {
  w.calls.length = 0;
});

describe("http workers", () => {
  const rows: [method: string, path: string, body: unknown, operation: string, input: unknown][] = [
    [
      "GET",
      "/api/workers?state=busy&limit=5&kind=k&cursor=c",
      undefined,
      "worker.list",
      { state: "busy", limit: 5, kind: "k", cursor: "c" },
    ],
    ["GET", "/api/workers/w1", undefined, "worker.get", { workerId: "w1" }],
    ["GET", "/api/workers/rack%2F1:a", undefined, "worker.get", { workerId: "rack/1:a" }],
    ["POST", "/api/workers/register", { workerId: "w1" }, "worker.register", { workerId: "w1" }],
    ["POST", "/api/workers/unregister", { workerId: "w1" }, "worker.unregister", { workerId: "w1" }],
    ["POST", "/api/workers/heartbeat", { workerId: "w1" }, "worker.heartbeat", { workerId: "w1" }],
    ["POST", "/api/workers/w1/drain", undefined, "worker.drain", { workerId: "w1" }],
    ["POST", "/api/workers/w1/drain", { drain: false }, "worker.drain", { workerId: "w1", drain: false }],
    ["GET", "/api/queues", undefined, "queue.list", {}],
    [
      "GET",
      "/api/queues?prefix=mail&cursor=mail-7&limit=2",
      undefined,
      "queue.list",
      { prefix: "mail", cursor: "mail-7", limit: 2 },
    ],
    ["GET", "/api/queues/rack%2F1", undefined, "queue.get", { queue: "rack/1" }],
    ["PATCH", "/api/queues/q", { concurrency: null }, "queue.configure", { queue: "q", concurrency: null }],
    [
      "GET",
      "/api/queues/q/groups?limit=5&cursor=a",
      undefined,
      "queue.groups",
      { queue: "q", limit: 5, cursor: "a" },
    ],
    ["POST", "/api/queues/q/pause", undefined, "queue.pause", { queue: "q" }],
    [
      "POST",
      "/api/queues/q/pause",
      { group: "g", forMs: 5 },
      "queue.pause",
      { queue: "q", group: "g", forMs: 5 },
    ],
    ["POST", "/api/queues/q/resume", { group: "g" }, "queue.resume", { queue: "q", group: "g" }],
    ["GET", "/api/limits", undefined, "limit.list", {}],
    [
      "GET",
      "/api/limits?prefix=a/&cursor=a/1&limit=5",
      undefined,
      "limit.list",
      { prefix: "a/", cursor: "a/1", limit: 5 },
    ],
    ["GET", "/api/limits/l", undefined, "limit.get", { name: "l" }],
    ["PUT", "/api/limits/l", { concurrency: 2 }, "limit.put", { name: "l", concurrency: 2 }],
    ["DELETE", "/api/limits/l", undefined, "limit.delete", { name: "l" }],
    ["GET", "/api/state", undefined, "state.get", {}],
  ];
  test.each(rows)("http workers - %s %s", async (method, path, body, operation, input) => {
    const response = body === undefined ? await w.fetch(path, { method }) : await w.send(method, path, body);
    expect(response.status).toBe(200);
    expect(w.calls.map((call) => [call.operation, call.input] as unknown[])).toEqual([[operation, input]]);
    const id = operation.replace(/\.(.)/, (_, letter) => letter.toUpperCase());
    expect(await response.json()).toEqual(responseSamples[id]!.ok);
  });
});

describe("http state", () => {
  test("http state - pages of a table follow one another to the end", async () => {
    await w.send(
      "POST",
      "/api/tasks",
      Array.from({ length: 5 }, () => ({ type: "page" })),
    );
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const next: string = cursor === null ? "" : `&cursor=${cursor}`;
      const page = (await (await w.fetch(`/api/state?table=tasks&limit=2${next}`)).json()) as {
        table: string;
        rows: { id: string }[];
        cursor: string | null;
        revision: number;
      };
      expect([page.table, page.revision]).toEqual(["tasks", 1042]);
      seen.push(...page.rows.map((row) => row.id));
      cursor = page.cursor;
    } while (cursor !== null);
    expect(new Set(seen).size).toBe(5);
  });

  test.each([
    ["?format=ndjson", {}],
    ["", { accept: "application/x-ndjson" }],
  ])("http state - the whole state streams as lines (%s)", async (query, headers) => {
    const response = await w.fetch(`/api/state${query}`, { headers });
    expect(response.headers.get("content-type")).toBe("application/x-ndjson");
    const lines = (await response.text()).trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { table: string }).table)).toEqual(
      Array(5).fill("tasks"),
    );
  });

  test("http state - the stream waits for its reader and ends with it", async () => {
    let made = 0;
    const ended = Promise.withResolvers<void>();
    w.port.stateStream = async function* () {
      try {
        for (;;) {
          made++;
          yield JSON.stringify({ filler: "x".repeat(1000) });
        }
      } finally {
        ended.resolve();
      }
    };
    const response = await w.fetch("/api/state?format=ndjson");
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await ended.promise;
    // Endless lines were on offer: only what fits the buffers on the way was made.
    expect(made).toBeLessThan(100_000);
  });
});

describe("http health", () => {
  test("http health - /health says what runs", async () => {
    expect(await (await w.fetch("/health")).json()).toEqual(responseSamples.health!.ok);
  });

  test("http health - /ready is 200, or 503 with the reason", async () => {
    expect(await (await w.fetch("/ready")).json()).toEqual({ ready: true, reason: "" });
    w.port.ready = () => ({ ready: false, reason: "recovering" });
    const response = await w.fetch("/ready");
    expect([response.status, await response.json()]).toEqual([503, { ready: false, reason: "recovering" }]);
  });

  test("http health - metrics are JSON at /api/metrics and text at /metrics", async () => {
    const parts = (await (await w.fetch("/api/metrics")).json()) as object;
    expect(Object.keys(parts)).toEqual(["daemon", "store", "bus"]);
    const text = await w.fetch("/metrics");
    expect(text.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
    expect(await text.text()).toContain("# TYPE");
  });

  test("http health - figures are read at /api/stats: the newest sample, or those of so long ago", async () => {
    const asked: number[] = [];
    w.port.stats = {
      last(historyMs) {
        asked.push(historyMs);
        return [];
      },
    };
    expect(await (await w.fetch("/api/stats")).json()).toEqual({ samples: [] });
    expect((await w.fetch("/api/stats?historyMs=600000")).status).toBe(200);
    expect(asked).toEqual([0, 600_000]);
    for (const wrong of ["historyMs=soon", "historyMs=-1", "history=1"])
      expect((await w.fetch(`/api/stats?${wrong}`)).status).toBe(422);
  });

  test("http health - HEAD answers as GET without a body", async () => {
    const response = await w.fetch("/health", { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  });
});
