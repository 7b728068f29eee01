/**
 * What every route is made of: its schemas told to the framework, its description out of the operations table,
 * and the call. A route reads the request and hands it over; it decides nothing. The engine validates, for HTTP
 * and WebSocket alike, so the framework is told not to: its own check would strip or change values, lose the
 * pointer of what is wrong, and write the whole refused body into an error message nobody reads.
 */
import { Kind, type TSchema } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import type { Server } from "bun";
import type { Caller } from "../engine/types.ts";
import { isFence, validate } from "../engine/validate.ts";
import { type ErrorCode, errorTable } from "../wire/errors.ts";
import { explain, explainInWords } from "../wire/explain.ts";
import { fenceHeader, fenceOf } from "../wire/fences.ts";
import { ProblemBody, waitMs } from "../wire/http.ts";
import { limits } from "../wire/limits.ts";
import {
  type commonErrors,
  makesNamespace,
  type OperationName,
  type Operations,
  type Output,
  operations,
  type RoutedOperationName,
  type StateOperationName,
} from "../wire/operations.ts";
import { inTrace, traceOf } from "../wire/trace.ts";
import type { Port } from "./port.ts";
import { invalid, problemResponse, Refusal } from "./problems.ts";

/** A schema for types and the document; the value arrives as it was sent. */
export const told = <T extends TSchema>(schema: T): T => ({ ...schema, noValidate: true });

type StatusOf<C extends ErrorCode> = (typeof errorTable)[C]["status"];
type Refused<N extends RoutedOperationName> = {
  [S in StatusOf<Operations[N]["errors"][number] | (typeof commonErrors)[number]>]: typeof ProblemBody;
};

/** The answers of a route that carries out an operation: its output, and its errors by status. */
export function answers<N extends RoutedOperationName>(
  operation: N,
): { 200: Operations[N]["output"] } & Refused<N> {
  const refused = Object.fromEntries(
    [...operations[operation].errors, "invalid-input", "unauthorized", "busy", "namespace-dropped"].map(
      (code) => [errorTable[code as ErrorCode].status, told(ProblemBody)],
    ),
  );
  return { ...refused, 200: told(operations[operation].output) } as {
    200: Operations[N]["output"];
  } & Refused<N>;
}

/** Under what a noun's operations stand in the document, where that is not its plural. */
const tags: Record<string, string> = { state: "state", kv: "keys", archive: "tasks", log: "state" };
const tagOf = (noun: string) => tags[noun] ?? `${noun}s`;

/** Out of the operations table into the document; openapi.ts reads `x-operation` and adds the rest. */
export const doc = (operation: RoutedOperationName, more: { description?: string } = {}) => ({
  operationId: operation.replace(/\.(.)/, (_, letter: string) => letter.toUpperCase()),
  summary: operations[operation].summary,
  tags: [tagOf(operation.split(".")[0] as string)],
  "x-operation": operation,
  ...more,
});

/** For the few routes without an operation. */
export const docOf = (operationId: string, tag: string, summary: string, description?: string) => ({
  operationId,
  summary,
  tags: [tag],
  ...(description === undefined ? {} : { description }),
});

/** JSON text that was written once, sent as it is. Typed as the value it holds, so that the client sees it. */
export const jsonText = <T>(text: string, status = 200, more: Record<string, string> = {}): T =>
  new Response(text, {
    status,
    headers: { "content-type": "application/json", ...more },
  }) as unknown as T;

export const asJson = <T>(value: T, status = 200): T => jsonText<T>(JSON.stringify(value), status);

type Asked = {
  /** The operation before it has heeded the fence of the request. */
  isFenced?: true;
  request: Request;
  server?: Server<unknown> | null;
  /** Headers of the answer, out of its text. */
  headers?: (text: string) => Record<string, string>;
};

/** Where `workerId` says whom it is about or for, and not who asks. */
const forOthers: ReadonlySet<OperationName> = new Set([
  ...(["task.submit", "task.assign", "worker.drain"] as const),
  ...(["message.publish", "message.emit", "message.request"] as const),
]);

/** Who calls: a worker that names itself, or HTTP; and under which key the call may be repeated. */
export function callerOf(operation: OperationName, request: Request, input: unknown): Caller {
  const key = request.headers.get("idempotency-key");
  if (key !== null && (key === "" || key.length > limits.idempotencyKeyLengthMax)) {
    throw invalid("/Idempotency-Key", `must have 1 to ${limits.idempotencyKeyLengthMax} characters`);
  }
  const said = request.headers.get(fenceHeader);
  const fence = said === null ? undefined : fenceOf(said);
  if (fence === null || (fence !== undefined && !isFence(fence)))
    throw invalid("/Cortex-If", "must be `lease=TASK; token=TOKEN` or `lock=NAME; token=TOKEN`");
  const workerId = (input as { workerId?: unknown } | null)?.workerId;
  const isNamed = typeof workerId === "string" && workerId.length <= limits.nameLengthMax && workerId !== "";
  return {
    who: isNamed && !forOthers.has(operation) ? workerId : "http",
    // Encoded, because the log keeps it as part of a key: a quote or a tab in it would break the log's line.
    session: key === null ? null : `idempotency:${encodeURIComponent(key)}`,
    seq: key === null ? 0 : 1,
    ackedThrough: 0,
    fence,
  };
}

/** Refuses a fence where nothing is changed that it could hold back. */
export function unfenced(request: Request): void {
  if (request.headers.has(fenceHeader)) throw invalid("/Cortex-If", "goes with changes of a state alone");
}

/** The namespace that the request names; app.ts has looked at how it is written. */
export const namespaceOf = (request: Request): string | null => request.headers.get("cortex-namespace");

/** Whether an operation makes the namespace in which it is the first; what is wrong with it is refused before. */
export function makes(operation: OperationName, input: unknown): boolean {
  if (!makesNamespace(operation)) return false;
  const refused = validate(operation, input);
  if (refused !== null) throw new Refusal(refused.code, refused.detail, { errors: refused.errors ?? [] });
  return true;
}

/**
 * What answers for the namespace that the request names; a promise only where it has to be made, so that nothing else
 * waits for one. `first`: whether it is made if there is none.
 */
export function portOf(
  port: Port,
  request: Request,
  first: () => boolean = () => false,
): Port | Promise<Port> {
  const name = namespaceOf(request);
  if (name === null || name === port.namespace) return port;
  const found = port.namespaces?.find(name);
  if (found !== undefined) return found;
  if (!port.namespaces || !first()) throw new Refusal("unknown-namespace", `There is no namespace ${name}.`);
  return port.namespaces.make(name).then((made) => {
    if ("engine" in made) return made.engine;
    throw new Refusal(made.error.code, made.error.detail, made.error);
  });
}

/** What a route keeps of each state, made when it is first asked for. */
export function keptFor<T extends object>(make: (there: Port) => T): (there: Port) => T {
  const kept = new WeakMap<Port, T>();
  return (there) => {
    const known = kept.get(there) ?? make(there);
    kept.set(there, known);
    return known;
  };
}

/** Carries an operation out and answers with its text, or with its refusal. */
export const runs =
  (port: Port) =>
  async <N extends StateOperationName>(operation: N, input: unknown, asked: Asked): Promise<Output<N>> => {
    const caller = callerOf(operation, asked.request, input);
    if (asked.isFenced) caller.fence = undefined;
    else if (operations[operation].kind !== "mutation") unfenced(asked.request);
    const found = portOf(port, asked.request, () => makes(operation, input));
    const there = found instanceof Promise ? await found : found;
    if ((input as { waitMs?: number } | null)?.waitMs) {
      // The server ends a quiet connection after some seconds; this one is quiet on purpose, until it is gone.
      asked.server?.timeout(asked.request, 0);
      caller.signal = asked.request.signal;
    }
    const answer = await there.call(operation, input, caller);
    if ("error" in answer) return problemResponse(answer.error) as unknown as Output<N>;
    return jsonText<Output<N>>(answer.ok, 200, asked.headers?.(answer.ok));
  };

/** The body, with what the path or query says beside it; what is no object stays as it is, and is refused. */
export function within(body: unknown, more: Record<string, unknown>): unknown {
  if (body === undefined || body === null) return more;
  if (typeof body !== "object" || Array.isArray(body)) return body;
  for (const name of Object.keys(more)) {
    const said = (body as Record<string, unknown>)[name];
    if (said !== undefined && said !== more[name]) {
      throw invalid(`/${name}`, "is also in the path or query, and differs");
    }
  }
  return { ...body, ...more };
}

/** A query's fields with whole numbers and booleans read out of their text; what is neither stays text, and is refused. */
export function fromText<T>(schema: TSchema, query: T): T {
  const read = { ...query } as Record<string, unknown>;
  for (const [name, property] of Object.entries(schema.properties as Record<string, TSchema>)) {
    const text = read[name];
    if (property[Kind] === "Integer" && typeof text === "string") read[name] = wholeOf(text) ?? text;
    else if (property[Kind] === "Boolean" && (text === "true" || text === "false")) {
      read[name] = text === "true";
    }
  }
  return read as T;
}

/** A whole number from 0 on, as large as JSON keeps it: revisions have sixteen digits where the log starts from the clock. */
export function wholeOf(text: string): number | null {
  const number = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  return Number.isSafeInteger(number) ? number : null;
}

/** For what no operation takes: refuses a query that does not fit. */
export function checks<T>(schema: TSchema): (query: T) => T {
  const compiled = TypeCompiler.Compile(schema);
  return (query) => {
    const read = fromText(schema, query);
    if (compiled.Check(read)) return read;
    const errors = explain(schema, read);
    throw new Refusal("invalid-input", explainInWords(errors), { errors });
  };
}

/** A submit in the trace of its request. */
export const traced = (body: unknown, { headers }: Request): unknown =>
  inTrace(body, traceOf(headers.get("traceparent"), headers.get("tracestate")));

/** `?wait=30s` as `waitMs`; nothing where it is not said. */
export function waiting(wait: string | undefined): { waitMs?: number } {
  if (wait === undefined) return {};
  const ms = waitMs(wait);
  if (ms <= limits.waitMsMax) return { waitMs: ms };
  throw invalid("/wait", `must be at most ${limits.waitMsMax / 60_000}m`);
}
