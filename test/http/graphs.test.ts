/** The routes of graphs. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { responseSamples } from "../../src/http/samples.ts";
import { world } from "./world.ts";

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
beforeEach(() => {
  w.calls.length = 0;
});

const tasks = [
  { type: "render", ref: "cover" },
  { type: "bind", after: ["cover", { task: "9-0", onFail: "wait" }] },
];
const lease = { workerId: "worker-001", token: 1043 };

describe("http graphs", () => {
  const rows: [method: string, path: string, body: unknown, operation: string, input: unknown][] = [
    ["POST", "/api/graphs", { tasks }, "graph.submit", { tasks }],
    [
      "GET",
      "/api/tasks/9-0/dependencies?limit=5&cursor=7",
      undefined,
      "task.dependencies",
      { taskId: "9-0", limit: 5, cursor: "7" },
    ],
    ["POST", "/api/tasks/9-0/close", undefined, "task.close", { taskId: "9-0" }],
    ["POST", "/api/tasks/9-0/wait", lease, "task.wait", { taskId: "9-0", ...lease }],
    ["POST", "/api/tasks/9-0/retry", { cascade: true }, "task.retry", { taskId: "9-0", cascade: true }],
    ["DELETE", "/api/tasks/9-0?cascade=true", undefined, "task.cancel", { taskId: "9-0", cascade: true }],
  ];
  test.each(rows)("http graphs - %s %s", async (method, path, body, operation, input) => {
    const response = body === undefined ? await w.fetch(path, { method }) : await w.send(method, path, body);
    expect(response.status).toBe(200);
    expect(w.calls.map((call) => [call.operation, call.input] as unknown[])).toEqual([[operation, input]]);
    const id = operation.replace(/\.(.)/, (_, letter) => letter.toUpperCase());
    expect(await response.json()).toEqual(responseSamples[id]!.ok);
  });

  test("http graphs - a cascade that is neither true nor false is refused", async () => {
    const response = await w.fetch("/api/tasks/9-0?cascade=yes", { method: "DELETE" });
    expect(response.status).toBe(422);
    expect(w.calls).toEqual([]);
  });
});
