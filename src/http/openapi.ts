/**
 * The OpenAPI document, and the one place where it is mended. The swagger plugin writes it from the routes; what
 * it writes is not valid OpenAPI 3.0.3 (JSON Schema words that 3.0 does not have, responses without description,
 * three content types where there is one), and it knows no errors and no examples. Those come from the operations
 * table and the error table, by the `x-operation` that doc() left at each route. Nothing here is served as it
 * was; a test holds the result against a strict validator.
 */
import { swagger } from "@elysiajs/swagger";
import type { TSchema } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { type ErrorCode, errorTable, problem } from "../wire/errors.ts";
import { ProblemBody } from "../wire/http.ts";
import { limits } from "../wire/limits.ts";
import { commonErrors, mutationErrors, type OperationName, objects, operations } from "../wire/operations.ts";
import { labelPattern, namespacePattern } from "../wire/schema.ts";
import { routes } from "./app.ts";
import type { Port } from "./port.ts";
import { requestSamples, responseSamples } from "./samples.ts";

// biome-ignore lint/suspicious/noExplicitAny: a JSON document of many shapes, checked by a validator in a test
type Json = any;

/** Schemas that stand once, by name, and are referred to. */
const named: Record<string, TSchema> = { ...objects, Problem: ProblemBody };

const tags = [
  { name: "tasks", description: "Submit, claim, assign, complete, fail, cancel, watch over." },
  { name: "graphs", description: "Tasks that wait for each other, many at once." },
  { name: "workers", description: "Register, stay alive, drain, leave." },
  { name: "queues", description: "Which there are, what waits in them, and how it may flow." },
  { name: "limits", description: "Named limits that hold over queues." },
  { name: "schedules", description: "Tasks that the daemon submits by the clock." },
  { name: "keys", description: "Values under names: read, put, compare, count, list by prefix." },
  { name: "transactions", description: "Several operations, all or nothing, where conditions hold." },
  {
    name: "locks",
    description: "Names that one or a few hold at a time: take, wait, extend, release, steal.",
  },
  { name: "messages", description: "Publish to topics and to workers, acknowledge, ask and reply." },
  { name: "topics", description: "How long messages are kept for subscriptions that come later." },
  { name: "subscriptions", description: "What keeps messages until they are acknowledged." },
  { name: "state", description: "The whole at one moment." },
  {
    name: "namespaces",
    description: "States of their own under one daemon: which there are; make and drop them.",
  },
  { name: "frames", description: "Many operations in one request, as over the WebSocket." },
  { name: "health", description: "Alive, ready, and how it fares." },
];

const description = `Tasks, workers, messages, keys and locks in one state and one log. An answer to a change means that the log holds it.

Every refusal is \`application/problem+json\` (RFC 9457) with a \`code\` to branch on, what is wrong, and what to do.

All of it is about one namespace, which the \`Cortex-Namespace\` header names (\`default\` without one): a state of its own. What is made in it first makes it, such as a task, a key or a message; reads do not.

A change sent with an \`Idempotency-Key\` may be sent again blindly: it happens once and is answered alike.

The WebSocket is at \`/ws\` on this port, and on a port of its own (9501 unless set otherwise): workers are pushed their tasks there, many operations share a frame, and changes can be watched. It carries the operations listed here under their names (\`task.submit\`), with the same inputs, outputs and errors; docs/PROTOCOL.md describes it.`;

/** Refusals that stand before any operation. */
const doorErrors = [
  "unauthorized",
  "forbidden-origin",
  "forbidden-host",
  "unknown-namespace",
  "internal",
] as const;
const bodyErrors = ["malformed-frame", "unsupported-media-type", "payload-too-large"] as const;

export async function openApiDocument(port: Port, version: string): Promise<Json> {
  const documented = new Elysia({ normalize: false })
    .use(
      swagger({
        path: "/swagger/page",
        specPath: "/swagger/json",
        exclude: [/^\/swagger/],
        documentation: { info: { title: "Cortex", version, description }, tags },
      }),
    )
    .use(routes(port));
  const response = await documented.handle(new Request("http://localhost/swagger/json"));
  const written: Json = await response.json();
  const paths: Json = {};
  for (const [path, methods] of Object.entries<Json>(written.paths)) {
    const mended: Json = {};
    for (const [method, operation] of Object.entries<Json>(methods)) {
      mended[method] = mendOperation(path, operation);
    }
    // The framework writes "/api/tasks/" for a prefix and "/".
    paths[path === "/" ? path : path.replace(/\/$/, "")] = mended;
  }
  const schemas: Json = {};
  for (const [name, schema] of Object.entries(named)) schemas[name] = mendSchema(plain(schema), name);
  return {
    openapi: written.openapi,
    info: written.info,
    servers: [{ url: "/" }],
    tags: written.tags,
    paths,
    components: {
      schemas,
      securitySchemes: {
        bearer: {
          type: "http",
          scheme: "bearer",
          description: "The daemon's token; on a loopback address none is needed unless one was set.",
        },
      },
    },
  };
}

function mendOperation(path: string, written: Json): Json {
  const { "x-operation": name, parameters, requestBody, responses, ...rest } = written;
  const row = name === undefined ? undefined : operations[name as OperationName];
  const open = path === "/health" || path === "/ready";
  const mended: Json = { ...rest, security: open ? [] : [{ bearer: [] }] };
  mended.parameters = (parameters ?? []).map((parameter: Json) => mendParameter(parameter, row?.example));
  if (path.startsWith("/api/") && row?.kind !== "daemon") mended.parameters.push(namespaceHeader);
  if (row?.kind === "mutation") mended.parameters.push(idempotencyKey, fence);
  if (requestBody !== undefined) {
    const schema = mendSchema(requestBody.content["application/json"].schema);
    mended.requestBody = {
      required: schema.anyOf !== undefined || (schema.required ?? []).length > 0,
      content: {
        "application/json": {
          schema,
          example: requestSamples[written.operationId] ?? bodyExample(schema, row?.example),
        },
      },
    };
  }
  const codes: ErrorCode[] = ["forbidden-host", "forbidden-origin", "invalid-input", "internal"];
  if (!open) codes.push(...doorErrors);
  if (row !== undefined) codes.push(...row.errors, ...commonErrors);
  if (row?.kind === "mutation") codes.push(...mutationErrors);
  if (requestBody !== undefined) codes.push(...bodyErrors);
  if (written.operationId === "frames") codes.push("greeting-expected", "unsupported-protocol");
  mended.responses = { ...successes(written.operationId, responses), ...refusals(codes) };
  return mended;
}

const namespaceHeader = {
  name: "Cortex-Namespace",
  in: "header",
  required: false,
  description: "The namespace that is meant; `default` without it.",
  schema: { type: "string", pattern: namespacePattern, maxLength: limits.namespaceLengthMax },
};

const fence = {
  name: "Cortex-If",
  in: "header",
  required: false,
  description:
    "`lease=TASK; token=TOKEN` or `lock=NAME; token=TOKEN` (such as `lease=1042-0; token=1043`): the change happens only while the task runs under this lease, or the lock is held under this token; else `fence-lost`.",
  schema: { type: "string" },
};

const idempotencyKey = {
  name: "Idempotency-Key",
  in: "header",
  required: false,
  description:
    "Chosen by the caller; the same request under the same key happens once and is answered alike.",
  schema: { type: "string", minLength: 1, maxLength: 256 },
};

function mendParameter(written: Json, example: Json): Json {
  const { name, in: where, required, description: said, schema } = written;
  const mended: Json = { name, in: where, required: where === "path" || required === true };
  if (said !== undefined) mended.description = said;
  mended.schema = mendSchema({ ...schema, examples: written.examples });
  if (where === "path") {
    mended.schema.example ??=
      example?.[name] ?? example?.taskId ?? example?.workerId ?? example?.queue ?? example?.namespace;
    mended.description ??= "The id.";
  } else if (!mended.required && mended.schema.example !== undefined) {
    // Swagger UI fills an example in and sends it: where it may be left out it is told in words.
    const { example: such, ...kept } = mended.schema;
    mended.schema = kept;
    mended.description = [said, `Such as \`${such}\`.`].filter(Boolean).join(" ");
  }
  return mended;
}

/** The operation's example without what the path says. */
function bodyExample(schema: Json, example: Json): Json {
  if (schema.properties === undefined) return example;
  return Object.fromEntries(Object.entries(example).filter(([field]) => field in schema.properties));
}

const contentTypes: Record<string, string[]> = {
  getState: ["application/json"],
  prometheus: ["text/plain"],
  watch: ["text/event-stream"],
};

function successes(operationId: string, written: Json): Json {
  const mended: Json = {};
  for (const [status, response] of Object.entries<Json>(written ?? {})) {
    const sample = responseSamples[operationId];
    const content: Json = response.content?.["application/json"] ?? {};
    const isProblem = Number(status) >= 400 && operationId !== "ready";
    if (isProblem) continue;
    const schema = mendSchema(content.schema ?? {});
    const [type] = contentTypes[operationId] ?? ["application/json"];
    const example = Number(status) >= 400 ? sample?.refused : sample?.ok;
    mended[status] = {
      description: sample?.words?.[status] ?? (status === "201" ? "Made." : "Done."),
      content: { [type!]: { schema, ...(example === undefined ? {} : { example }) } },
    };
  }
  if (operationId === "stateGet") {
    mended["200"].content["application/x-ndjson"] = {
      schema: {
        type: "string",
        description:
          'Lines of JSON. The first is `{"revision", "at"}`: the revision of all that follows, and the moment (ms since 1970, UTC) it was read. Every other is `{"table", "record"}`: a record, and the table it is from. A stream that breaks off is not the whole.',
      },
      example: '{"revision":1042,"at":1767225600000}\n{"table":"tasks","record":{"id":"1042-0"}}\n',
    };
  }
  return mended;
}

/** The errors by status, each with its body as an example. */
function refusals(codes: readonly ErrorCode[]): Json {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) {
    const { status } = errorTable[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const mended: Json = {};
  for (const [status, group] of byStatus) {
    mended[status] = {
      description: group.map((code) => `\`${code}\`: ${errorTable[code].title}.`).join(" "),
      content: {
        "application/problem+json": {
          schema: { $ref: "#/components/schemas/Problem" },
          examples: Object.fromEntries(
            group.map((code) => [code, { value: problem(code, `${errorTable[code].title}.`) }]),
          ),
        },
      },
    };
  }
  return mended;
}

/** Without the marks that only the schema library reads. */
const plain = (schema: TSchema): Json => JSON.parse(JSON.stringify(schema));

/** What makes two schemas the same, whatever they are described as, or the plugin left out. */
const identity = ({ type, properties, required, items, anyOf }: Json) =>
  JSON.stringify([type, properties, required, items, anyOf]);
const names = new Map(Object.entries(named).map(([name, schema]) => [identity(plain(schema)), name]));

/** From the schema library's JSON Schema to OpenAPI 3.0's own. `own`: the name under which it is being defined. */
function mendSchema(written: Json, own?: string): Json {
  const name = names.get(identity(written));
  if (name !== undefined && name !== own) return { $ref: `#/components/schemas/${name}` };
  const {
    noValidate: _1,
    examples,
    const: constant,
    anyOf,
    patternProperties,
    properties,
    items,
    ...kept
  } = written;
  const mended: Json = Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined));
  if (constant !== undefined) mended.enum = [constant];
  if (examples?.[0] !== undefined) mended.example = examples[0];
  if (properties !== undefined) {
    mended.properties = Object.fromEntries(
      Object.entries(properties).map(([field, schema]) => [field, mendSchema(schema)]),
    );
  }
  if (items !== undefined) mended.items = mendSchema(items);
  if (patternProperties !== undefined) {
    const [[pattern, schema]] = Object.entries<Json>(patternProperties) as [[string, Json]];
    mended.type = "object";
    mended.additionalProperties = mendSchema(schema);
    if (pattern === labelPattern)
      mended.description = `${mended.description ?? ""} Its fields are names.`.trim();
  }
  return anyOf === undefined ? mended : mendUnion(mended, anyOf);
}

function mendUnion(mended: Json, anyOf: Json[]): Json {
  const branches = anyOf.filter((branch) => branch.type !== "null");
  if (branches.length < anyOf.length) mended.nullable = true;
  if (branches.every((branch) => branch.const !== undefined)) {
    // 3.0 wants null itself among the values of a nullable enum.
    const values = branches.map((branch) => branch.const);
    return { ...mended, type: branches[0].type, enum: mended.nullable ? [...values, null] : values };
  }
  const inner = branches.map((branch) => mendSchema(branch));
  if (inner.length > 1) return { ...mended, anyOf: inner };
  // A reference takes no siblings in 3.0, and nullable needs a type beside it.
  if (inner[0].$ref !== undefined) return { ...mended, type: "object", allOf: inner };
  return { ...inner[0], ...mended };
}
