/**
 * What the daemon is held against, as a process of its own: the least that could be done for the same frames on the
 * same machine. It knows no task, keeps nothing but what the name of the kind says, and promises nothing.
 */
import { Database } from "bun:sqlite";
import { join } from "node:path";
import { Elysia } from "elysia";
import { TaskSubmit } from "../src/wire/tasks.ts";
import { payload } from "./load.ts";

/**
 * echo: a WebSocket that sends each frame back. commit: the same once a thread has committed it as one row, synced.
 * route: an HTTP route that validates a task and does nothing. read: reads every row of a data folder; says how many
 * ms it took. keep: a million payloads in a Map; says its resident bytes.
 */
export type BaselineKind = "echo" | "commit" | "route" | "read" | "keep";

declare const self: Worker;

if (!Bun.isMainThread) committer();
else
  process.on("message", ({ kind, folder }: { kind: BaselineKind; folder: string }) => {
    const say = (value: number) => process.send?.(value);
    switch (kind) {
      case "echo":
        return say(echo());
      case "commit":
        return say(echoCommitted(folder));
      case "route":
        return say(route());
      case "read":
        return say(read(folder));
      case "keep":
        return say(keep());
    }
  });

const loopback = { hostname: "127.0.0.1", port: 0 };

function echo(): number {
  const server = Bun.serve({
    ...loopback,
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response(null, { status: 426 })),
    websocket: {
      maxPayloadLength: 64 * 1024 * 1024,
      message: (ws, message) => void ws.send(message),
    },
  });
  return server.port as number;
}

function echoCommitted(folder: string): number {
  const thread = new Worker(import.meta.url);
  const waiting: (() => void)[] = [];
  thread.onmessage = () => waiting.shift()?.();
  thread.postMessage(join(folder, "baseline.db"));
  const server = Bun.serve({
    ...loopback,
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response(null, { status: 426 })),
    websocket: {
      message(ws, message) {
        waiting.push(() => ws.send(message));
        thread.postMessage(message);
      },
    },
  });
  return server.port as number;
}

/** The thread: the first message is the file, each other one a row. */
function committer(): void {
  let insert: { run(text: string): unknown } | null = null;
  self.onmessage = ({ data }: MessageEvent<string>) => {
    if (insert === null) {
      const db = new Database(data, { create: true });
      db.run("PRAGMA journal_mode=WAL");
      db.run("PRAGMA synchronous=FULL");
      db.run("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT NOT NULL)");
      insert = db.prepare("INSERT INTO rows (text) VALUES (?)");
      return;
    }
    insert.run(data);
    self.postMessage(null);
  };
}

function route(): number {
  const app = new Elysia({ normalize: false })
    .post(
      "/api/tasks",
      ({ set }) => {
        set.status = 201;
        return { id: "1-0", state: "queued", duplicate: false };
      },
      { body: TaskSubmit },
    )
    .listen({ ...loopback, reusePort: false });
  return app.server?.port as number;
}

function read(folder: string): number {
  const before = performance.now();
  const db = new Database(join(folder, "cortex.db"), { readonly: true });
  let units = 0;
  for (const sql of [
    "SELECT id, bytes AS text FROM pieces ORDER BY id",
    "SELECT first, text FROM log ORDER BY first",
  ])
    for (const row of db.prepare<{ text: string }, []>(sql).iterate()) units += row.text.length;
  if (units === 0) throw new Error(`${folder} holds nothing`);
  return performance.now() - before;
}

const kept = new Map<number, string>();
function keep(): number {
  for (let i = 0; i < 1_000_000; i++) kept.set(i, JSON.stringify(payload(i)));
  Bun.gc(true);
  return process.memoryUsage.rss();
}
