/**
 * A small world for the routes: a port that validates as the engine does, makes and reads tasks, and answers
 * every other operation with what the test sets; and the real server over it on a free loopback port.
 */
import type { Caller } from "../../src/engine/types.ts";
import { type App, createApp } from "../../src/http/app.ts";
import type { Port } from "../../src/http/port.ts";
import type { FramePort } from "../../src/http/posts.ts";
import { responseSamples } from "../../src/http/samples.ts";
import { type HttpServer, serveHttp } from "../../src/http/serve.ts";
import { createGuard, type Guard } from "../../src/lib/guard.ts";
import { type Problem, problem } from "../../src/wire/errors.ts";
import { explain, explainInWords } from "../../src/wire/explain.ts";
import { type Output, operations, type StateOperationName } from "../../src/wire/operations.ts";
import type { StatsView } from "../../src/wire/stats.ts";

type Call = { operation: StateOperationName; input: unknown; caller: Caller };

export type World = {
  port: Port;
  app: App;
  guard: Guard;
  server: HttpServer;
  url: string;
  calls: Call[];
  /** What the next calls of this operation answer; a function may wait. */
  answer: Partial<Record<StateOperationName, (call: Call) => unknown>>;
  reported: unknown[];
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** A request with a JSON body. */
  send(method: string, path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Throw it in `answer` to have the operation refused. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

const operationId = (operation: string) => operation.replace(/\.(.)/, (_, letter) => letter.toUpperCase());

type Options = {
  token?: string;
  allowOrigins?: string[];
  /** Stands in the small port's place. */
  port?: Port;
};

export function world(options: Options = {}): World {
  const calls: Call[] = [];
  const answer: World["answer"] = {};
  const reported: unknown[] = [];
  const tasks = new Map<string, Output<"task.get">>();
  const keys = new Map<string, string>();
  const sample = responseSamples.taskGet!.ok as Output<"task.get">;

  const make = (input: Record<string, unknown>) => {
    const key = input.idempotencyKey as string | undefined;
    const known = key === undefined ? undefined : keys.get(key);
    if (known !== undefined) return { id: known, state: "queued", duplicate: true };
    const id = `${1000 + tasks.size}-0`;
    if (key !== undefined) keys.set(key, id);
    tasks.set(id, { ...sample, ...input, id, state: "queued", result: null } as Output<"task.get">);
    return { id, state: "queued", duplicate: false };
  };

  const run = (call: Call): unknown => {
    const { operation, input } = call;
    const set = answer[operation];
    if (set !== undefined) return set(call);
    if (operation === "task.submit") {
      return Array.isArray(input) ? input.map(make) : make(input as Record<string, unknown>);
    }
    if (operation === "task.get") {
      const { taskId } = input as { taskId: string };
      const task = tasks.get(taskId);
      if (task === undefined) throw new Refused(problem("unknown-task", `No task ${taskId}.`));
      return task;
    }
    return responseSamples[operationId(operation)]!.ok;
  };

  const asked = <T>(call: Call, carryOut: () => T): T | { error: Problem } => {
    const { operation, input } = call;
    calls.push(call);
    const errors = explain(operations[operation].input, input);
    return errors.length > 0
      ? { error: problem("invalid-input", explainInWords(errors), { errors }) }
      : carryOut();
  };
  const refusal = (error: unknown) => {
    if (error instanceof Refused) return { error: error.problem };
    throw error;
  };

  const port: Port = options.port ?? {
    // Frames are tried over the real engine.
    ...({ onTurn() {} } as unknown as FramePort & Pick<Port, "watch" | "unwatch" | "drained">),
    namespace: "default",
    namespaces: null,
    async call(operation, input, caller) {
      const call = { operation, input, caller };
      return asked(call, async () => {
        try {
          return { ok: JSON.stringify(await run(call)) };
        } catch (error) {
          return refusal(error);
        }
      });
    },
    request(operation, input, caller, sink) {
      const call = { operation, input, caller };
      const found = asked(call, () => {
        try {
          return { ok: JSON.stringify(run(call)) };
        } catch (error) {
          return refusal(error);
        }
      });
      queueMicrotask(() => sink.answer(caller.seq, found));
      return found;
    },
    look: (operation, input) => ({ ok: JSON.stringify(run({ operation, input, caller: null as never })) }),
    health: () => responseSamples.health!.ok as ReturnType<Port["health"]>,
    ready: () => ({ ready: true, reason: "" }),
    stats: { last: () => (responseSamples.stats!.ok as StatsView).samples },
    metrics: () => responseSamples.metrics!.ok as ReturnType<Port["metrics"]>,
    prometheus: () => responseSamples.prometheus!.ok as string,
    tables: () => ["tasks", "workers"],
    tablePage: async (_table, cursor, limit) => {
      const all = [...tasks.values()].map((task) => JSON.stringify(task));
      const from = Number(cursor?.split("/")[1] ?? 0);
      const next = from + limit < all.length ? `0/${from + limit}` : null;
      return { rows: all.slice(from, from + limit), cursor: next, revision: 1042 };
    },
    async *stateStream() {
      for (const task of tasks.values()) yield JSON.stringify({ table: "tasks", record: task });
    },
  };

  let listening: number[] = [];
  const guard = createGuard({
    token: options.token ?? null,
    ports: () => listening,
    allowOrigins: options.allowOrigins ?? [],
  });
  const app = createApp(port, { guard, version: "0.1.0", report: (error) => reported.push(error) });
  const server = serveHttp<undefined>({
    app,
    host: "127.0.0.1",
    port: 0,
    report: (error) => reported.push(error),
    upgrade: (request, self) => {
      const refused = guard.door(request.headers);
      if (refused !== null) return new Response(refused, { status: 403 });
      return self.upgrade(request, { data: undefined }) ? undefined : new Response(null, { status: 426 });
    },
    websocket: {
      message(socket, text) {
        socket.send(`echo ${text}`);
      },
    },
  });
  listening = [server.port];

  const call = (path: string, init?: RequestInit) => fetch(server.url + path, init);
  return {
    port,
    app,
    guard,
    server,
    url: server.url,
    calls,
    answer,
    reported,
    fetch: call,
    send: (method, path, body, headers = {}) =>
      call(path, {
        method,
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
      }),
    [Symbol.asyncDispose]: () => server.stop(0),
  };
}
