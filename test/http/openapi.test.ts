/** The document at /swagger/json, as a client generator meets it. */
import { afterAll, describe, expect, test } from "bun:test";
import { validate } from "@readme/openapi-parser";
import { Value } from "@sinclair/typebox/value";
import { responseSamples } from "../../src/http/samples.ts";
import { errorTable } from "../../src/wire/errors.ts";
import { explain } from "../../src/wire/explain.ts";
import { FrameAnswer, MetricsView, ReadyView } from "../../src/wire/http.ts";
import { commonErrors, type OperationName, operationNames, operations } from "../../src/wire/operations.ts";
import { HealthView } from "../../src/wire/state.ts";
import { StatsView } from "../../src/wire/stats.ts";
import { TaskShown } from "../../src/wire/tasks.ts";
import { world } from "./world.ts";

// biome-ignore lint/suspicious/noExplicitAny: a JSON document of many shapes
type Json = any;

const w = world();
afterAll(() => w[Symbol.asyncDispose]());
const document: Json = await (await w.fetch("/swagger/json")).json();
const listed = Object.entries<Json>(document.paths).flatMap(([path, methods]) =>
  Object.entries<Json>(methods).map(([method, operation]) => ({ path, method, operation })),
);
const operationId = (name: OperationName) =>
  name.replace(/\.(.)/, (_, letter: string) => letter.toUpperCase());

/** Every object in the document, with where it stands. */
function* objects(value: Json, at = ""): Generator<[string, Json]> {
  if (value === null || typeof value !== "object") return;
  yield [at, value];
  for (const [key, inner] of Object.entries(value)) yield* objects(inner, `${at}/${key}`);
}

describe("openapi", () => {
  test("openapi - the document passes a strict validator", async () => {
    const result = await validate(structuredClone(document));
    expect(result).toMatchObject({ valid: true, warnings: [] });
  });

  test("openapi - the validator sees a document that is wrong", async () => {
    const wrong = structuredClone(document);
    delete wrong.paths["/health"].get.responses["200"].description;
    expect((await validate(wrong)).valid).toBe(false);
  });

  test("openapi - says 3.0.3 and uses no word that 3.0 does not have", () => {
    expect(document.openapi).toBe("3.0.3");
    const foreign = ["const", "patternProperties", "examples", "noValidate", "$id", "$schema"];
    const schemas = [...objects(document)].filter(
      ([at]) => /\/schema(\/|$)|\/components\/schemas\//.test(at) && !/\/(properties|example)$/.test(at),
    );
    expect(schemas.length).toBeGreaterThan(100);
    for (const [at, schema] of schemas) {
      if (/\/example\//.test(at)) continue;
      expect([at, foreign.filter((word) => word in schema)]).toEqual([at, []]);
      expect([at, schema.type === "null"]).toEqual([at, false]);
    }
  });

  test("openapi - has every operation that is not of one connection, each once", () => {
    const wanted = operationNames.filter((name) => operations[name].kind !== "session").map(operationId);
    const ids = listed.map(({ operation }) => operation.operationId);
    expect([...ids].sort()).toEqual(
      [...wanted, "health", "ready", "metrics", "prometheus", "stats", "frames", "watch"].sort(),
    );
  });

  test("openapi - lists the paths of the interface", () => {
    expect(listed.map(({ path, method }) => `${method.toUpperCase()} ${path}`).sort()).toEqual(
      [
        "GET /health",
        "GET /ready",
        "GET /metrics",
        "GET /api/metrics",
        "GET /api/stats",
        "GET /api/namespaces",
        "POST /api/namespaces",
        "DELETE /api/namespaces/{name}",
        "GET /api/state",
        "POST /api/messages",
        "GET /api/messages",
        "POST /api/messages/receive",
        "GET /api/topics",
        "PUT /api/topics/{topic}",
        "DELETE /api/topics/{topic}",
        "POST /api/messages/ack",
        "POST /api/messages/ack-many",
        "POST /api/messages/nack",
        "POST /api/messages/extend",
        "POST /api/messages/retry",
        "GET /api/subscriptions",
        "GET /api/subscriptions/{name}",
        "PUT /api/subscriptions/{name}",
        "DELETE /api/subscriptions/{name}",
        "POST /api/messages/emit",
        "POST /api/messages/request",
        "POST /api/messages/reply",
        "GET /api/watch",
        "GET /api/queues",
        "GET /api/queues/{name}",
        "PATCH /api/queues/{name}",
        "GET /api/queues/{name}/groups",
        "POST /api/queues/{name}/pause",
        "POST /api/queues/{name}/resume",
        "GET /api/limits",
        "GET /api/limits/{name}",
        "PUT /api/limits/{name}",
        "DELETE /api/limits/{name}",
        "GET /api/tasks",
        "POST /api/tasks",
        "GET /api/tasks/{id}",
        "DELETE /api/tasks/{id}",
        "GET /api/tasks/{id}/dependencies",
        "GET /api/tasks/{id}/explain",
        "POST /api/tasks/{id}/close",
        "POST /api/tasks/{id}/wait",
        "POST /api/graphs",
        "POST /api/tasks/{id}/extend",
        "POST /api/tasks/{id}/progress",
        "POST /api/tasks/{id}/release",
        "POST /api/tasks/{id}/snooze",
        "POST /api/tasks/{id}/log",
        "GET /api/tasks/{id}/logs",
        "POST /api/tasks/{id}/retry",
        "POST /api/tasks/{id}/delete",
        "POST /api/tasks/{id}/move",
        "POST /api/tasks/cancel-many",
        "POST /api/tasks/complete-many",
        "POST /api/tasks/delete-many",
        "POST /api/tasks/move-many",
        "POST /api/tasks/retry-many",
        "POST /api/tasks/assign",
        "POST /api/tasks/claim",
        "POST /api/tasks/complete",
        "POST /api/tasks/fail",
        "GET /api/workers",
        "GET /api/workers/{id}",
        "POST /api/workers/{id}/drain",
        "POST /api/workers/heartbeat",
        "POST /api/workers/register",
        "POST /api/workers/unregister",
        "POST /api/frames",
        "GET /api/locks",
        "POST /api/locks",
        "POST /api/locks/extend",
        "POST /api/locks/steal",
        "GET /api/locks/{id}",
        "DELETE /api/locks/{id}",
        "GET /api/archive",
        "GET /api/log",
        "GET /api/kv",
        "POST /api/kv/many",
        "GET /api/kv/{key}",
        "PUT /api/kv/{key}",
        "DELETE /api/kv/{key}",
        "POST /api/kv/{key}/increment",
        "POST /api/transaction",
        "GET /api/schedules",
        "GET /api/schedules/{name}",
        "PUT /api/schedules/{name}",
        "DELETE /api/schedules/{name}",
        "POST /api/schedules/{name}/pause",
        "POST /api/schedules/{name}/resume",
        "POST /api/schedules/{name}/run",
        "POST /api/schedules/preview",
      ].sort(),
    );
  });

  for (const { path, method, operation } of listed) {
    const route = `${method.toUpperCase()} ${path}`;
    test(`openapi - ${route} has a summary, a tag of the list, and an example wherever something is sent or answered`, () => {
      expect(operation.summary).toMatch(/\.$/);
      const tags = document.tags.map((tag: Json) => tag.name);
      expect(operation.tags.every((tag: string) => tags.includes(tag))).toBe(true);
      if (operation.requestBody !== undefined) {
        expect(operation.requestBody.content["application/json"].example).toBeDefined();
      }
      for (const [status, response] of Object.entries<Json>(operation.responses)) {
        for (const content of Object.values<Json>(response.content)) {
          expect([status, content.example ?? content.examples]).not.toEqual([status, undefined]);
        }
      }
      for (const parameter of operation.parameters) {
        if (parameter.in === "path") expect(parameter.schema.example).toBeDefined();
        // Swagger UI fills it in and sends it, so that what may be left out would refuse the request, or find nothing.
        else if (!parameter.required)
          expect([parameter.name, parameter.example ?? parameter.schema.example]).toEqual([
            parameter.name,
            undefined,
          ]);
      }
    });

    test(`openapi - ${route} lists its refusals, each a problem with its status`, () => {
      const codes = Object.entries<Json>(operation.responses)
        .filter(([status]) => Number(status) >= 400 && !(path === "/ready" && status === "503"))
        .flatMap(([status, response]) => {
          const content = response.content["application/problem+json"];
          expect(content.schema).toEqual({ $ref: "#/components/schemas/Problem" });
          for (const { value } of Object.values<Json>(content.examples)) {
            expect(String(value.status)).toBe(status);
          }
          return Object.keys(content.examples);
        });
      const name = operationNames.find((other) => operationId(other) === operation.operationId);
      const wanted: string[] = name === undefined ? [] : [...operations[name].errors, ...commonErrors];
      expect(codes).toEqual(expect.arrayContaining([...wanted, "forbidden-host", "internal"]));
      for (const code of codes) expect(errorTable).toHaveProperty([code]);
    });
  }

  test("openapi - needs the token everywhere but at /health and /ready", () => {
    const open = listed.filter(({ operation }) => operation.security.length === 0).map(({ path }) => path);
    expect(open.sort()).toEqual(["/health", "/ready"]);
    expect(document.components.securitySchemes.bearer.scheme).toBe("bearer");
  });

  test("openapi - tells the lines of the stream, and how a request waits", () => {
    const { schema, example } =
      document.paths["/api/state"].get.responses["200"].content["application/x-ndjson"];
    expect(schema.description).toMatch(/`\{"revision", "at"\}`.*`\{"table", "record"\}`/);
    const [head, ...records] = example.trimEnd().split("\n").map(JSON.parse);
    expect([head, ...records].map((line: Json) => Object.keys(line))).toEqual([
      ["revision", "at"],
      ["table", "record"],
    ]);
    for (const waits of [document.paths["/api/tasks/{id}"].get, document.paths["/api/tasks/claim"].post]) {
      expect(waits.description).toContain("?wait=30s");
      expect(waits.parameters.map((parameter: Json) => parameter.name)).toContain("wait");
    }
  });

  test("openapi - tells where the WebSocket is", () => {
    expect(document.info.description).toContain("/ws");
  });

  test("openapi - every request example is one that the operation takes", () => {
    for (const name of operationNames)
      expect([name, explain(operations[name].input, operations[name].example)]).toEqual([name, []]);
  });

  test("openapi - every answer in an example is one that the operation gives", () => {
    const views: Record<string, Json> = { health: HealthView, ready: ReadyView, metrics: MetricsView };
    views.frames = FrameAnswer;
    views.stats = StatsView;
    for (const name of operationNames) views[operationId(name)] = operations[name].output;
    views.taskSubmit = TaskShown;
    for (const [id, sample] of Object.entries(responseSamples)) {
      if (id === "prometheus" || id === "watch") continue;
      expect([id, [...Value.Errors(views[id], sample.ok)]]).toEqual([id, []]);
    }
  });

  test("openapi - what stands often stands once, and every reference leads somewhere", () => {
    const references = [...objects(document)].flatMap(([, value]) =>
      typeof value.$ref === "string" ? [value.$ref] : [],
    );
    expect(
      references.filter((reference) => reference === "#/components/schemas/TaskShown").length,
    ).toBeGreaterThan(3);
    for (const reference of references) {
      expect(Object.keys(document.components.schemas)).toContain(reference.split("/").at(-1));
    }
  });

  test("openapi - a nullable choice has null among its values, a nullable reference wraps it", () => {
    const { Task: task } = document.components.schemas;
    expect(task.properties.lease).toMatchObject({
      nullable: true,
      allOf: [{ $ref: "#/components/schemas/Lease" }],
    });
    expect(task.properties.timeoutMs).toMatchObject({ type: "integer", nullable: true });
    expect(task.properties.priority.enum).toEqual(["critical", "high", "normal", "low"]);
    expect(task.properties.labels).toMatchObject({
      type: "object",
      additionalProperties: { type: "string" },
    });
  });
});
