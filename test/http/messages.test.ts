/** The routes of messages. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { world } from "./world.ts";

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
beforeEach(() => {
  w.calls.length = 0;
});

const ref = { subscription: "a", messageId: "7-0" };
const rows: [method: string, path: string, body: unknown, operation: string, input: unknown][] = [
  ["POST", "/api/messages", { topic: "a", ttlMs: 5 }, "message.publish", { topic: "a", ttlMs: 5 }],
  [
    "GET",
    "/api/messages?subscription=a&state=dead&limit=5",
    undefined,
    "message.list",
    { subscription: "a", state: "dead", limit: 5 },
  ],
  [
    "POST",
    "/api/messages/receive",
    { subscription: "a", count: 5 },
    "message.receive",
    { subscription: "a", count: 5 },
  ],
  ["GET", "/api/topics", undefined, "topic.list", {}],
  ["GET", "/api/topics?limit=5&cursor=a.%3E", undefined, "topic.list", { limit: 5, cursor: "a.>" }],
  ["PUT", "/api/topics/a.%3E", { keepCount: 5 }, "topic.put", { topic: "a.>", keepCount: 5 }],
  ["DELETE", "/api/topics/a.%3E", undefined, "topic.delete", { topic: "a.>" }],
  ["POST", "/api/messages/ack", ref, "message.ack", ref],
  ["POST", "/api/messages/nack", { ...ref, dead: true }, "message.nack", { ...ref, dead: true }],
  ["POST", "/api/messages/extend", ref, "message.extend", ref],
  [
    ...["POST", "/api/messages/ack-many", { subscription: "a", messageIds: ["7-0"] }],
    ...["message.ackMany", { subscription: "a", messageIds: ["7-0"] }],
  ] as never,
  ["POST", "/api/messages/retry", { subscription: "a" }, "message.retry", { subscription: "a" }],
  [
    "GET",
    "/api/subscriptions?limit=5&topic=a.%3E",
    undefined,
    "subscription.list",
    { limit: 5, topic: "a.>" },
  ],
  ["GET", "/api/subscriptions/%24worker.w%2F1", undefined, "subscription.get", { name: "$worker.w/1" }],
  ["PUT", "/api/subscriptions/b", { topic: "a.*" }, "subscription.put", { name: "b", topic: "a.*" }],
  ["DELETE", "/api/subscriptions/b", undefined, "subscription.delete", { name: "b" }],
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
