/** What tasks of other systems mean here. */
import { describe, expect, test } from "bun:test";
import { Mapping, type MappingOptions } from "../../src/cli/mapping.ts";

const now = Date.UTC(2026, 0, 1);
const mappingOf = (options: Partial<MappingOptions> = {}) =>
  new Mapping({
    ...{ queue: undefined, type: undefined, fields: {}, without: [], priorities: {}, failed: false },
    ...options,
  });

/** The task without its key, which has tests of its own. */
function taskOf(element: unknown, options?: Partial<MappingOptions>): unknown {
  const mapped = mappingOf(options).map(element, now);
  if (!("task" in mapped)) return mapped;
  const { idempotencyKey: _, ...task } = mapped.task;
  return task;
}

describe("mapping - fields", () => {
  const rows: [element: unknown, task: unknown, options?: Partial<MappingOptions>][] = [
    [
      { id: 7, queueName: "mail", job_name: "send", data: { to: "ada" } },
      { queue: "mail", type: "send", payload: { to: "ada" } },
    ],
    [
      { topic: "mail", action: "send" },
      { queue: "mail", type: "send" },
    ],
    [
      { type: "send", kind: "gpu" },
      { type: "send", kind: "gpu" },
    ],
    [{ kind: "send" }, { type: "send" }],
    [
      { type: "send", name: "Ada", to: "x" },
      { type: "send", payload: { name: "Ada", to: "x" } },
    ],
    [
      { type: "send", payload: { a: 1 }, b: 2 },
      { type: "send", payload: { a: 1, b: 2 } },
    ],
    [
      { type: "send", payload: { a: 1 }, a: 1 },
      { type: "send", payload: { a: 1 } },
    ],
    [
      { type: "send", args: [1, 2], kwargs: { c: 3 } },
      { type: "send", payload: { args: [1, 2], kwargs: { c: 3 } } },
    ],
    [
      { type: "send", args: [1, 2] },
      { type: "send", payload: [1, 2] },
    ],
    [
      { name: "send", task: { a: 1 } },
      { type: "send", payload: { task: { a: 1 } } },
    ],
    [
      { type: "t", max_attempts: 5, attempts: 2 },
      { type: "t", attempts: 5 },
    ],
    [{ type: "t", attempts: 0 }, { type: "t" }],
    [
      { type: "t", maxRetries: 2, attempts: 0 },
      { type: "t", attempts: 3 },
    ],
    [
      { type: "t", retries: 0 },
      { type: "t", attempts: 1 },
    ],
    [
      { type: "t", delay: 1500 },
      { type: "t", delayMs: 1500 },
    ],
    [
      { type: "t", delay: "5m" },
      { type: "t", delayMs: 300_000 },
    ],
    [
      { type: "t", runAt: "2026-01-01T01:00:00Z" },
      { type: "t", delayMs: 3600_000 },
    ],
    [
      { type: "t", scheduled_for: now / 1000 + 60 },
      { type: "t", delayMs: 60_000 },
    ],
    [
      { type: "t", eta: now + 60 },
      { type: "t", delayMs: 60 },
    ],
    [
      { type: "t", eta: now - 60 },
      { type: "t", delayMs: 0 },
    ],
    [
      { type: "t", ttl: "1h", deadline: "2026-01-02T00:00:00Z" },
      { type: "t", ttlMs: 3600_000, deadlineAt: now + 86_400_000 },
    ],
    [
      { type: "t", priority: "Urgent" },
      { type: "t", priority: "critical" },
    ],
    [
      { type: "t", priority: "medium" },
      { type: "t", priority: "normal" },
    ],
    [
      { type: "t", priority: 10 },
      { type: "t", priority: "critical" },
    ],
    [
      { type: "t", priority: "7" },
      { type: "t", priority: "high" },
    ],
    [
      { type: "t", priority: 3 },
      { type: "t", priority: "normal" },
    ],
    [
      { type: "t", priority: -1 },
      { type: "t", priority: "low" },
    ],
    [{ type: "t", priority: 1 }, { type: "t", priority: "critical" }, { priorities: { 1: "critical" } }],
    [
      { type: "t", timeout: "2m", leaseMs: 5000 },
      { type: "t", timeoutMs: 120_000, leaseMs: 5000 },
    ],
    [
      { type: "t", backoff: { type: "exponential", delay: 500 } },
      { type: "t", backoff: { strategy: "exponential", delayMs: 500 } },
    ],
    [
      { type: "t", backoff: 500 },
      { type: "t", backoff: { strategy: "fixed", delayMs: 500 } },
    ],
    [
      { type: "t", requires: "gpu, tls", labels: { a: "b" } },
      { type: "t", capabilities: ["gpu", "tls"], labels: { a: "b" } },
    ],
    [{ type: "t", status: "in_progress", priority: null, payload: null }, { type: "t" }],
    [{ a: 1 }, { type: "scrape", queue: "web", payload: { a: 1 } }, { type: "scrape", queue: "web" }],
    [
      { type: "t", queue: "q" },
      { type: "t", queue: "q" },
      { type: "scrape", queue: "web" },
    ],
    [{ name: "x", what: "t" }, { type: "t", payload: { name: "x" } }, { fields: { type: "what" } }],
    [{ type: "t", createdAt: 1, a: 2 }, { type: "t", payload: { a: 2 } }, { without: ["created_at"] }],
    ["https://example.org", { type: "scrape", payload: "https://example.org" }, { type: "scrape" }],
    [[1, 2], { type: "sum", payload: [1, 2] }, { type: "sum" }],
    [{ type: "t", status: "failed" }, { type: "t" }, { failed: true }],
  ];
  test.each(rows)("mapping - %j is %j", (element, task, options = {}) => {
    expect(taskOf(element, options)).toEqual(task);
  });

  test("mapping - a name that JavaScript treats specially stays a name", () => {
    const mapped = mappingOf().map(JSON.parse('{"type":"t","payload":{"a":1},"__proto__":{"b":2}}'), now);
    const { payload } = (mapped as { task: { payload: object } }).task;
    expect(JSON.stringify(payload)).toBe('{"a":1,"__proto__":{"b":2}}');
    expect(Object.getPrototypeOf(payload)).toBe(Object.prototype);
  });
});

describe("mapping - what is not imported", () => {
  const skipped: [element: unknown, as: string][] = [
    [{ type: "t", status: "DONE" }, "completed"],
    [{ type: "t", state: "completed" }, "completed"],
    [{ type: "t", completed: true }, "completed"],
    [{ status: "canceled" }, "cancelled"],
    [{ type: "t", status: "dead" }, "failed"],
  ];
  test.each(skipped)("mapping - %j is left out: %s", (element, as) => {
    expect(taskOf(element)).toEqual({ skipped: as });
  });

  const refused: [element: unknown, because: RegExp][] = [
    [{ a: 1 }, /no type/],
    ["text", /no type/],
    [{ type: "t", status: "blocked" }, /status is "blocked".*--without status/],
    [{ type: "t", priority: "fast" }, /priority is "fast".*--priority/],
    [{ type: "t", delay: "soon" }, /delay is "soon"/],
    [{ type: "t", runAt: "tomorrow" }, /runAt is "tomorrow"/],
    [{ type: "t", retries: 1.5 }, /retries is 1.5/],
    [{ type: "t", payload: { a: 1 }, a: 2 }, /a stands in payload and beside it/],
    [{ type: "t", capabilities: 5 }, /capabilities is 5/],
  ];
  test.each(refused)("mapping - %j is refused: %s", (element, because) => {
    expect((taskOf(element) as { problem: string }).problem).toMatch(because);
  });

  test("mapping - options that name no field and no priority are told", () => {
    const { problems } = mappingOf({ fields: { typ: "x" }, priorities: { 1: "fast" } });
    expect(problems).toHaveLength(2);
  });
});

describe("mapping - the key", () => {
  const keys = (elements: unknown[], mapping = mappingOf()) =>
    elements.map((element) => {
      const mapped = mapping.map(element, now);
      return "task" in mapped ? mapped.task.idempotencyKey : null;
    });

  test("mapping - an id is the key", () => {
    expect(
      keys([
        { type: "t", id: 7 },
        { type: "t", _id: "a" },
        { type: "t", id: 7, dedupeKey: "k" },
      ]),
    ).toEqual(["7", "a", "k"]);
  });

  test("mapping - without one it is the same in every run, and no two elements share it", () => {
    const elements = [{ type: "t" }, { type: "t" }, { type: "u" }, { type: "t" }];
    const first = keys(elements);
    expect(new Set(first).size).toBe(4);
    expect(keys(elements)).toEqual(first);
    // What came before and is gone now takes no key with it.
    expect(keys([{ type: "u" }, { type: "t" }])).toEqual([first[2]!, first[0]!]);
  });
});
