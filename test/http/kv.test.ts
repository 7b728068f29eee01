/** The routes of keys, and what their headers mean. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { responseSamples } from "../../src/http/samples.ts";
import { problem } from "../../src/wire/errors.ts";
import { Refused, world } from "./world.ts";

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
beforeEach(() => {
  w.calls.length = 0;
  delete w.answer["kv.put"];
});

const calls = () => w.calls.map((call) => [call.operation, call.input] as unknown[]);

describe("http kv", () => {
  const rows: [method: string, path: string, body: unknown, operation: string, input: unknown][] = [
    [
      "GET",
      "/api/kv?prefix=a%2F&limit=5&cursor=a%2Fb&keysOnly=true",
      undefined,
      "kv.list",
      { prefix: "a/", limit: 5, cursor: "a/b", keysOnly: true },
    ],
    ["GET", "/api/kv?keysOnly=false", undefined, "kv.list", { keysOnly: false }],
    ["GET", "/api/kv/region", undefined, "kv.get", { key: "region" }],
    ["GET", "/api/kv/a%2Fb%3Fc%25%23", undefined, "kv.get", { key: "a/b?c%#" }],
    ["POST", "/api/kv/many", { keys: ["a", "b"] }, "kv.getMany", { keys: ["a", "b"] }],
    ["PUT", "/api/kv/a%2Fb", { value: null, ttlMs: 5 }, "kv.put", { key: "a/b", value: null, ttlMs: 5 }],
    ["DELETE", "/api/kv/a%2Fb", undefined, "kv.delete", { key: "a/b" }],
    ["DELETE", "/api/kv/a?ifRevision=7", undefined, "kv.delete", { key: "a", ifRevision: 7 }],
    [
      "DELETE",
      "/api/kv/a?ifRevision=1795637086976001",
      undefined,
      "kv.delete",
      { key: "a", ifRevision: 1_795_637_086_976_001 },
    ],
    ["POST", "/api/kv/n/increment", undefined, "kv.increment", { key: "n" }],
    ["POST", "/api/kv/n/increment", { by: 2 }, "kv.increment", { key: "n", by: 2 }],
  ];
  test.each(rows)("http kv - %s %s", async (method, path, body, operation, input) => {
    const response = body === undefined ? await w.fetch(path, { method }) : await w.send(method, path, body);
    expect([response.status, calls()]).toEqual([200, [[operation, input]]]);
    const id = operation.replace(/\.(.)/, (_, letter) => letter.toUpperCase());
    expect(await response.json()).toEqual(responseSamples[id]!.ok);
  });

  test("http kv - the ETag is the revision of what was read, put or counted", async () => {
    for (const response of [
      await w.fetch("/api/kv/a"),
      await w.send("PUT", "/api/kv/a", { value: 1 }),
      await w.send("POST", "/api/kv/a/increment", {}),
    ])
      expect(response.headers.get("etag")).toBe('"1042"');
  });

  test("http kv - who has the present revision is told no more than that", async () => {
    const get = (tag: string) => w.fetch("/api/kv/a", { headers: { "if-none-match": tag } });
    const known = await get('"1042"');
    expect([known.status, known.headers.get("etag"), await known.text()]).toEqual([304, '"1042"', ""]);
    // By RFC 9110: any of a list, compared weakly, or whatever there is.
    for (const tags of ['W/"1042"', '"1041", W/"1042" ,"7"', "*"]) expect((await get(tags)).status).toBe(304);
    for (const tags of ['"1041"', '"1041", "10421"', "1042"]) expect((await get(tags)).status).toBe(200);
  });

  const compared: [string, Record<string, string>, unknown][] = [
    ["If-Match", { "if-match": '"1795637086976001"' }, { ifRevision: 1_795_637_086_976_001 }],
    ["If-None-Match", { "if-none-match": "*" }, { ifRevision: 0 }],
  ];
  test.each(compared)("http kv - %s compares the revision", async (_name, headers, input) => {
    await w.send("PUT", "/api/kv/a", { value: 1 }, headers);
    await w.fetch("/api/kv/a", { method: "DELETE", headers });
    expect(calls()).toEqual([
      ["kv.put", { key: "a", value: 1, ...(input as object) }],
      ["kv.delete", { key: "a", ...(input as object) }],
    ]);
  });

  const wrong: [Record<string, string>, string, unknown?][] = [
    [{ "if-match": "*" }, "/If-Match"],
    [{ "if-match": "1042" }, "/If-Match"],
    [{ "if-match": '"1", "2"' }, "/If-Match"],
    [{ "if-match": 'W/"1"' }, "/If-Match"],
    [{ "if-none-match": '"1"' }, "/If-None-Match"],
    [{ "if-match": '"1"', "if-none-match": "*" }, "/If-None-Match"],
    [{ "if-match": '"1"' }, "/ifRevision", { ifRevision: 2 }],
  ];
  test.each(wrong)("http kv - %j is refused by name", async (headers, pointer, more = {}) => {
    const response = await w.send("PUT", "/api/kv/a", { value: 1, ...(more as object) }, headers);
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ errors: [{ pointer }] });
    expect(w.calls).toEqual([]);
  });

  test.each<Record<string, string>>([{ "if-match": '"1042"' }, { "if-none-match": "*" }])(
    "http kv - %j does not go unheeded where nothing is compared",
    async (headers) => {
      const response = await w.send("POST", "/api/kv/n/increment", { by: 1 }, headers);
      const pointer = expect.stringMatching(/^\/If-(None-)?Match$/);
      expect([response.status, await response.json()]).toMatchObject([422, { errors: [{ pointer }] }]);
      expect(w.calls).toEqual([]);
    },
  );

  test("http kv - a fence is read from its header, and refused where it is none or holds nothing back", async () => {
    const put = (fence: string) => w.send("PUT", "/api/kv/a", { value: 1 }, { "cortex-if": fence });
    await put("lease=1795637086976001-12; token=1795637086976002");
    expect(w.calls.map(({ caller }) => caller.fence)).toEqual([
      { lease: "1795637086976001-12", token: 1_795_637_086_976_002 },
    ]);
    for (const wrong of [
      "",
      "lease=1-0",
      "lease=x; token=1",
      "lease=1-0; token=x",
      "token=1; lease=1-0",
      "lease=1--; token=1",
    ])
      expect(await (await put(wrong)).json()).toMatchObject({ errors: [{ pointer: "/Cortex-If" }] });
    const headers = { "cortex-if": "lease=1-0; token=1" };
    for (const path of [
      "/api/kv/a",
      "/api/state",
      "/api/state?table=keys",
      "/api/tasks",
      "/api/namespaces",
    ]) {
      const response = await w.fetch(path, { headers });
      expect([path, response.status]).toEqual([path, 422]);
    }
    expect(w.calls).toHaveLength(1);
  });

  test("http kv - a lost compare is a 412 that tells the present revision", async () => {
    w.answer["kv.put"] = () => {
      throw new Refused(problem("revision-mismatch", "key a is at revision 9, not at 7", { revision: 9 }));
    };
    const response = await w.send("PUT", "/api/kv/a", { value: 1, ifRevision: 7 });
    expect(response.status).toBe(412);
    expect(await response.json()).toMatchObject({ code: "revision-mismatch", revision: 9 });
  });
});
