/** The routes of messages. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { world } from "./world.ts";

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
beforeEach(() => {
  w.calls.length = 0;
});

const rows: [method: string, path: string, body: unknown, operation: string, input: unknown][] = [
  ["POST", "/api/messages/emit", { topic: "a.b", payload: 1 }, "message.emit", { topic: "a.b", payload: 1 }],
  ["POST", "/api/messages/request", { topic: "a", waitMs: 5 }, "message.request", { topic: "a", waitMs: 5 }],
  ["POST", "/api/messages/reply", { requestId: "1-1" }, "message.reply", { requestId: "1-1" }],
];
test.each(rows)("http messages - %s %s calls the operation", async (method, path, body, operation, input) => {
  const response = await w.fetch(path, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  expect(response.status).toBe(200);
  expect(w.calls.map((call) => [call.operation, call.input] as unknown[])).toEqual([[operation, input]]);
});
