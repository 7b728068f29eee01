/**
 * The HTTP interface as one Elysia app. What stands here is what every request meets: the guards before it, the
 * reading of its body, and the form of every refusal. The routes stand by primitive in their own files; the
 * type of this app is what the typed client knows of them.
 */
import { Elysia } from "elysia";
import type { Guard } from "../lib/guard.ts";
import { errorTable, problem } from "../wire/errors.ts";
import { explainInWords } from "../wire/explain.ts";
import { limits } from "../wire/limits.ts";
import { isNamespace } from "../wire/schema.ts";
import { addressErrors, pathOf, type Route } from "./address.ts";
import { archive } from "./archive.ts";
import { bulk } from "./bulk.ts";
import { dashboard } from "./dashboard.ts";
import { frames, framesPath } from "./frames.ts";
import { graphs } from "./graphs.ts";
import { health } from "./health.ts";
import { kv } from "./kv.ts";
import { limits as namedLimits } from "./limits.ts";
import { locks } from "./locks.ts";
import { log } from "./log.ts";
import { messages } from "./messages.ts";
import { namespaces } from "./namespaces.ts";
import type { Port } from "./port.ts";
import { invalid, problemOfError, problemResponse, Refusal, refuse } from "./problems.ts";
import { queues } from "./queues.ts";
import { namespaceOf } from "./route.ts";
import { schedules } from "./schedules.ts";
import { state } from "./state.ts";
import { subscriptions } from "./subscriptions.ts";
import { swaggerUi } from "./swagger.ts";
import { tasks } from "./tasks.ts";
import { topics } from "./topics.ts";
import { transactions } from "./transactions.ts";
import { watch } from "./watch.ts";
import { workers } from "./workers.ts";

export type AppOptions = {
  guard: Guard;
  version: string;
  /** Hears of bugs: what their answers must not say. */
  report: (error: unknown) => void;
};

/** All routes of the interface, without what stands before them; the document is made from these. */
export const routes = (port: Port) =>
  new Elysia({ normalize: false })
    .use(health(port))
    .use(state(port))
    .use(watch(port))
    .use(workers(port))
    .use(tasks(port))
    .use(graphs(port))
    .use(bulk(port))
    .use(archive(port))
    .use(log(port))
    .use(queues(port))
    .use(schedules(port))
    .use(kv(port))
    .use(messages(port))
    .use(transactions(port))
    .use(locks(port))
    .use(subscriptions(port))
    .use(topics(port))
    .use(namedLimits(port))
    .use(namespaces(port))
    .use(frames(port));

export const createApp = (port: Port, { guard, version, report }: AppOptions) => {
  const known: Route[] = [];
  /** What stands before every route; `answered`: headers of whatever is answered. */
  const refusedEarly = (request: Request, answered: Record<string, unknown>): Response | undefined => {
    const { headers } = request;
    const refused = guard.door(headers);
    if (refused !== null) return refuse(refused, doorDetail(refused, headers));
    const origin = headers.get("origin");
    if (origin !== null && guard.allowsOrigin(origin)) {
      if (request.method === "OPTIONS") return preflight(origin);
      answered["access-control-allow-origin"] = origin;
      answered["access-control-expose-headers"] = "etag";
      answered.vary = "origin";
    }
    if (!guard.admits(headers) && !openPaths.test(pathOf(request.url))) {
      return refuse("unauthorized", "The Authorization header has no valid token.");
    }
    const namespace = namespaceOf(request);
    if (namespace !== null && !isNamespace(namespace)) return problemResponse(invalidNamespace.problem);
    const errors = addressErrors(known, request.method, request.url);
    if (errors.length > 0) {
      return problemResponse(problem("invalid-input", explainInWords(errors), { errors }));
    }
    if (takesBody.has(request.method)) return refusedBody(headers, bodyBytesMax(pathOf(request.url)));
  };
  const app = new Elysia({ normalize: false })
    // The framework takes a hook that returns a call for one that waits, and waits for every request then.
    .onRequest(({ request, set }) => {
      const refused = refusedEarly(request, set.headers);
      if (refused !== undefined) return refused;
    })
    // By name, because before a parser of our own the framework would look at `request.body`, which makes a stream of it.
    .on("parse", { fn: "arrayBuffer" } as never)
    .onTransform((context) => {
      if (context.body instanceof ArrayBuffer) context.body = jsonOf(context.body, context.path);
    })
    .onError(({ code, error, request }) =>
      problemOfError(
        code,
        error,
        { method: request.method, path: pathOf(request.url), routes: known },
        report,
      ),
    )
    .use(dashboard)
    .use(swaggerUi(port, version))
    .get("/ws", () => refuse("upgrade-required", "This path is the WebSocket's."), { detail: { hide: true } })
    .use(routes(port));
  known.push(...app.routes);
  return app;
};

export type App = ReturnType<typeof createApp>;

const invalidNamespace = invalid(
  "/Cortex-Namespace",
  `must be of a to z, 0 to 9, - and _, begin with a letter or digit, and have at most ${limits.namespaceLengthMax} characters`,
);

/** What needs no token: it tells nothing of the state. Anything else does, whether it exists or not. */
const openPaths = /^\/(health|ready|ws|swagger(\/[a-z.]*)?|dashboard\/[a-z0-9.]*)?\/?$/;

function doorDetail(refused: "forbidden-host" | "forbidden-origin", headers: Headers): string {
  const name = refused === "forbidden-host" ? "Host" : "Origin";
  return `${errorTable[refused].title}: ${name} is ${headers.get(name)}.`;
}

/** A browser asks before a page of another origin may call; only allowed origins come this far. */
const preflight = (origin: string) =>
  new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-origin": origin,
      "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
      "access-control-allow-headers":
        "authorization, content-type, idempotency-key, last-event-id, if-match, if-none-match, cortex-if, cortex-namespace, cortex-session, cortex-connection",
      "access-control-max-age": "600",
      vary: "origin",
    },
  });

const takesBody: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

/** Refuses a body by its headers, before a byte of it is read. */
function refusedBody(headers: Headers, bytesMax: number): Response | undefined {
  const length = headers.get("content-length");
  if (Number(length) > bytesMax)
    return refuse("payload-too-large", `The body has ${length} bytes; at most ${bytesMax} are taken.`);
  const hasBody = length === null ? headers.has("transfer-encoding") : length !== "0";
  if (!hasBody) return;
  const type = headers.get("content-type");
  if (type === null || !isJson(type)) {
    return refuse("unsupported-media-type", `The content-type is ${type ?? "missing"}.`);
  }
  const encoding = headers.get("content-encoding");
  if (encoding !== null && encoding.toLowerCase() !== "identity") {
    // RFC 9110 tells by this header what would have been taken.
    const accepted = { "accept-encoding": "identity" };
    return refuse("unsupported-media-type", `The content-encoding is ${encoding}.`, accepted);
  }
}

function isJson(type: string): boolean {
  if (type === "application/json") return true;
  if (!/^application\/json[ \t]*(;|$)/i.test(type)) return false;
  const charset = /;[ \t]*charset[ \t]*=[ \t]*"?([^";]*?)"?[ \t]*(;|$)/i.exec(type)?.[1];
  return charset === undefined || /^utf-?8$/i.test(charset);
}

/** A frame is no larger here than over the WebSocket. */
const bodyBytesMax = (path: string) => (path === framesPath ? limits.frameBytesMax : limits.bodyBytesMax);

/** Fatal: what is not UTF-8 would else be stored with replacement characters in its place. */
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The body as JSON; null if there is none. Read step by step, so that what is wrong can be said. */
function jsonOf(bytes: ArrayBuffer, path: string): unknown {
  // Without a length in the headers only the read can tell.
  const bytesMax = bodyBytesMax(path);
  if (bytes.byteLength > bytesMax) {
    throw new Refusal("payload-too-large", `The body has more than ${bytesMax} bytes.`);
  }
  if (bytes.byteLength === 0) return null;
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new Refusal("malformed-frame", "The body is not UTF-8.");
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Refusal("malformed-frame", `The body is not JSON: ${(error as Error).message}.`);
  }
}
