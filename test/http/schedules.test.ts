/** The routes of schedules. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { responseSamples } from "../../src/http/samples.ts";
import { limits } from "../../src/wire/limits.ts";
import { world } from "./world.ts";

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
beforeEach(() => {
  w.calls.length = 0;
});

const definition = { cron: "30 2 * * *", timeZone: "Europe/Berlin", task: { type: "report" } };

describe("http schedules", () => {
  const rows: [method: string, path: string, body: unknown, operation: string, input: unknown][] = [
    [
      "GET",
      "/api/schedules?state=paused&limit=5&cursor=c",
      undefined,
      "schedule.list",
      { state: "paused", limit: 5, cursor: "c" },
    ],
    ["GET", "/api/schedules/nightly", undefined, "schedule.get", { name: "nightly" }],
    ["GET", "/api/schedules/a%2Fb?count=3", undefined, "schedule.get", { name: "a/b", count: 3 }],
    ["PUT", "/api/schedules/nightly", definition, "schedule.put", { name: "nightly", ...definition }],
    ["DELETE", "/api/schedules/nightly", undefined, "schedule.delete", { name: "nightly" }],
    [
      "DELETE",
      "/api/schedules/nightly?ifRevision=7",
      undefined,
      "schedule.delete",
      { name: "nightly", ifRevision: 7 },
    ],
    ["POST", "/api/schedules/nightly/pause", undefined, "schedule.pause", { name: "nightly" }],
    ["POST", "/api/schedules/nightly/resume", undefined, "schedule.resume", { name: "nightly" }],
    ["POST", "/api/schedules/preview/run", undefined, "schedule.run", { name: "preview" }],
    ["POST", "/api/schedules/preview", { everyMs: 5000 }, "schedule.preview", { everyMs: 5000 }],
  ];
  test.each(rows)("http schedules - %s %s", async (method, path, body, operation, input) => {
    const response = body === undefined ? await w.fetch(path, { method }) : await w.send(method, path, body);
    expect(response.status).toBe(200);
    expect(w.calls.map((call) => [call.operation, call.input] as unknown[])).toEqual([[operation, input]]);
    const id = operation.replace(/\.(.)/, (_, letter) => letter.toUpperCase());
    expect(await response.json()).toEqual(responseSamples[id]!.ok);
  });

  test("http schedules - a body that names another schedule than the path is refused", async () => {
    const response = await w.send("PUT", "/api/schedules/nightly", { name: "other", ...definition });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ errors: [{ pointer: "/name" }] });
    expect(w.calls).toEqual([]);
  });

  test("http schedules - what is put is read as carefully as what is posted", async () => {
    const put = (body: string, type: string) =>
      w.fetch("/api/schedules/nightly", { method: "PUT", body, headers: { "content-type": type } });
    expect((await put("{}", "text/plain")).status).toBe(415);
    expect((await put('{"cron', "application/json")).status).toBe(400);
    expect((await put("{}", "application/json")).status).toBe(422);
    expect((await put(`"${"x".repeat(limits.bodyBytesMax)}"`, "application/json")).status).toBe(413);
    expect(w.calls.filter(({ operation }) => operation !== "schedule.put")).toEqual([]);
  });
});
