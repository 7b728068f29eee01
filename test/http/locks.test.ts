/** The routes of locks, and the request that waits until its lock is held. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { responseSamples } from "../../src/http/samples.ts";
import { problem } from "../../src/wire/errors.ts";
import { Refused, world } from "./world.ts";

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
beforeEach(() => {
  w.calls.length = 0;
  for (const operation of ["lock.acquire", "lock.get"] as const) delete w.answer[operation];
});

const calls = () => w.calls.map((call) => [call.operation, call.input] as unknown[]);
const resources = [{ name: "deploy" }];
const waiting = { ...(responseSamples.lockGet!.ok as object), state: "waiting" };

describe("http locks", () => {
  const rows: [method: string, path: string, body: unknown, operation: string, input: unknown][] = [
    [
      "GET",
      "/api/locks?prefix=a%2F&state=held&limit=5",
      undefined,
      "lock.list",
      { prefix: "a/", state: "held", limit: 5 },
    ],
    ["POST", "/api/locks", { resources, ttlMs: 5000 }, "lock.acquire", { resources, ttlMs: 5000 }],
    ["POST", "/api/locks?wait=5s", { resources }, "lock.acquire", { resources, waitMs: 5000 }],
    ["POST", "/api/locks/extend", { lockIds: ["1-0"] }, "lock.extend", { lockIds: ["1-0"] }],
    ["POST", "/api/locks/steal", { lockId: "1-0" }, "lock.steal", { lockId: "1-0" }],
    ["GET", "/api/locks/1-0", undefined, "lock.get", { lockId: "1-0" }],
    ["GET", "/api/locks/1-0?wait=2s", undefined, "lock.get", { lockId: "1-0", waitMs: 2000 }],
    ["DELETE", "/api/locks/1-0", undefined, "lock.release", { lockId: "1-0" }],
  ];
  test.each(rows)("http locks - %s %s", async (method, path, body, operation, input) => {
    const response = body === undefined ? await w.fetch(path, { method }) : await w.send(method, path, body);
    expect([response.status, calls()]).toEqual([200, [[operation, input]]]);
    const id = operation.replace(/\.(.)/, (_, letter) => letter.toUpperCase());
    expect(await response.json()).toEqual(responseSamples[id]!.ok);
  });

  test("http locks - with wait a request answers when its lock is held, whatever fence it was sent with", async () => {
    w.answer["lock.acquire"] = () => waiting;
    const headers = { "cortex-if": "lock=a/b; token=1043" };
    const response = await w.send("POST", "/api/locks?wait=5s", { resources }, headers);
    expect([response.status, await response.json()]).toEqual([200, responseSamples.lockGet!.ok]);
    expect(calls()).toEqual([
      ["lock.acquire", { resources, waitMs: 5000 }],
      ["lock.get", { lockId: "1042-0", waitMs: 6000 }],
    ]);
    expect(w.calls[0]!.caller.fence).toEqual({ lock: "a/b", token: 1043 });
  });

  test("http locks - one that stands in line for longer than the request waits is told as it stands", async () => {
    w.answer["lock.acquire"] = () => waiting;
    w.answer["lock.get"] = () => waiting;
    const response = await w.send("POST", "/api/locks?wait=5s", { resources, waitMs: 60_000 });
    expect(await response.json()).toEqual(waiting);
    expect(calls()[1]).toEqual(["lock.get", { lockId: "1042-0", waitMs: 5000 }]);
  });

  test("http locks - one that could not be had in its time is told so", async () => {
    w.answer["lock.acquire"] = () => waiting;
    w.answer["lock.get"] = () => {
      throw new Refused(problem("unknown-lock", "there is no lock 1042-0"));
    };
    const response = await w.send("POST", "/api/locks?wait=5s", { resources });
    expect(response.status).toBe(409);
    expect(await response.json()).toMatchObject({ code: "lock-held", retryable: true });
  });

  test("http locks - one that waits still when the request has waited is not had, and is withdrawn unless it has a key", async () => {
    w.answer["lock.acquire"] = () => waiting;
    w.answer["lock.get"] = () => waiting;
    const released: unknown[] = ["lock.release", { lockId: "1042-0" }];
    for (const [key, left] of [
      [{}, [released]],
      [{ "idempotency-key": "mine" }, []],
    ] as [Record<string, string>, (typeof released)[]][]) {
      w.calls.length = 0;
      const response = await w.send("POST", "/api/locks?wait=5s", { resources }, key);
      expect([response.status, (await response.json()).code]).toEqual([409, "lock-held"]);
      expect(calls().slice(2)).toEqual(left);
    }
  });

  test("http locks - sent again under its key it tells of a lock that is held still, or that it is over", async () => {
    const again = async () => {
      const response = await w.send(
        "POST",
        "/api/locks?wait=5s",
        { resources },
        { "idempotency-key": "mine" },
      );
      return [response.status, (await response.json()).state];
    };
    expect(await again()).toEqual([200, "held"]);
    w.answer["lock.get"] = () => {
      throw new Refused(problem("unknown-lock", "there is no lock 1042-0"));
    };
    expect(await again()).toEqual([409, undefined]);
  });

  test("http locks - who hangs up leaves the line whatever its fence, and stays in it under a key of its own", async () => {
    w.answer["lock.acquire"] = () => waiting;
    for (const key of [{}, { "idempotency-key": "mine" }] as Record<string, string>[]) {
      w.calls.length = 0;
      const hungUp = new AbortController();
      const ended = Promise.withResolvers<void>();
      w.answer["lock.get"] = ({ caller }) => {
        hungUp.abort();
        return new Promise(() => caller.signal?.addEventListener("abort", () => ended.resolve()));
      };
      const request = w.fetch("/api/locks?wait=5s", {
        method: "POST",
        headers: { "content-type": "application/json", "cortex-if": "lock=a; token=1043", ...key },
        body: JSON.stringify({ resources }),
        signal: hungUp.signal,
      });
      await request.catch(() => {});
      await ended.promise;
      // It has been withdrawn, if it will be, before the next request is heard.
      await w.fetch("/api/locks");
      const left = "idempotency-key" in key ? [] : [["lock.release", { lockId: "1042-0" }]];
      expect(calls().slice(2, -1)).toEqual(left);
      for (const { caller } of w.calls.slice(2)) expect(caller.fence).toBeUndefined();
    }
  });

  test("http locks - a refused try is told as it is", async () => {
    w.answer["lock.acquire"] = () => {
      throw new Refused(problem("lock-held", "deploy is held by ada"));
    };
    for (const query of ["", "?wait=5s"])
      expect((await w.send("POST", `/api/locks${query}`, { resources })).status).toBe(409);
    expect(w.calls).toHaveLength(2);
  });

  const fences = ["lock=deploy", "lock=; token=1", "lock=a b; token=1", "lock=a; token=x"];
  test.each(fences)("http locks - the fence %j is refused by name", async (fence) => {
    const response = await w.send("PUT", "/api/kv/a", { value: 1 }, { "cortex-if": fence });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ errors: [{ pointer: "/Cortex-If" }] });
  });
});
