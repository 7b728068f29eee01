/** Namespaces over HTTP, on a real daemon, with files and without. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Problem } from "../../src/wire/errors.ts";
import type { Namespace } from "../../src/wire/namespaces.ts";
import { type Daemon, spawnDaemon, until } from "../support/daemon.ts";

setDefaultTimeout(60_000);
const daemons: Daemon[] = [];
afterAll(async () => {
  for (const daemon of daemons) await daemon.kill();
});
const start = async (options: Parameters<typeof spawnDaemon>[0]) => {
  const daemon = await spawnDaemon(options);
  daemons.push(daemon);
  return daemon;
};

// biome-ignore lint/suspicious/noExplicitAny: what came over the wire is looked at field by field.
type Said = { status: number; body: any };
async function ask(
  daemon: Daemon,
  method: string,
  path: string,
  {
    namespace,
    body,
    headers = {},
  }: { namespace?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Said> {
  const response = await fetch(daemon.url + path, {
    method,
    headers: {
      ...(namespace === undefined ? {} : { "cortex-namespace": namespace }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: await response.json() };
}
const task = { queue: "q", type: "t" };
const submit = async (daemon: Daemon, namespace: string): Promise<string> => {
  const { status, body } = await ask(daemon, "POST", "/api/tasks", { namespace, body: task });
  expect([status, body.code]).toEqual([201, undefined]);
  return body.id;
};
const names = async (daemon: Daemon) =>
  (await ask(daemon, "GET", "/api/namespaces")).body.namespaces.map(({ name }: Namespace) => name);

const namespacesMax = 9;
describe.each(["durable", "development"] as const)("http namespaces - %s", (preset) => {
  let daemon: Daemon;
  beforeAll(async () => {
    daemon = await start({ preset, args: ["--namespaces-max", String(namespacesMax)] });
  });

  test("http namespaces - the first task or worker makes one; reads, and what would be refused, do not", async () => {
    for (const path of [
      "/api/tasks",
      "/api/state",
      "/api/state?table=tasks",
      "/api/metrics",
      "/api/tasks/1-0",
    ]) {
      const { status, body } = await ask(daemon, "GET", path, { namespace: "a" });
      expect([path, status, body.code]).toEqual([path, 404, "unknown-namespace"]);
    }
    const rows: [string, unknown, number, Problem["code"]][] = [
      ["/api/tasks", { queue: 7 }, 422, "invalid-input"],
      ["/api/tasks/1-0/retry", {}, 404, "unknown-namespace"],
      ["/api/tasks/claim", { workerId: "w" }, 404, "unknown-namespace"],
      ["/api/workers/heartbeat", { workerId: "w" }, 404, "unknown-namespace"],
    ];
    for (const [path, body, status, code] of rows) {
      const said = await ask(daemon, "POST", path, { namespace: "a", body });
      expect([path, said.status, said.body.code]).toEqual([path, status, code]);
    }
    const keyless = { namespace: "a", body: task, headers: { "idempotency-key": "" } };
    expect((await ask(daemon, "POST", "/api/tasks", keyless)).body.code).toBe("invalid-input");
    expect(await names(daemon)).toEqual(["default"]);
    const id = await submit(daemon, "b");
    const registered = await ask(daemon, "POST", "/api/workers/register", {
      namespace: "a",
      body: { workerId: "w" },
    });
    expect(registered.status).toBe(200);
    expect(await names(daemon)).toEqual(["default", "a", "b"]);
    expect((await ask(daemon, "GET", `/api/tasks/${id}`, { namespace: "b" })).status).toBe(200);
    for (const namespace of ["a", "default", undefined])
      expect((await ask(daemon, "GET", `/api/tasks/${id}`, namespace ? { namespace } : {})).body.code).toBe(
        "unknown-task",
      );
    expect((await ask(daemon, "GET", "/api/state", { namespace: "b" })).body).toMatchObject({
      namespace: "b",
      counts: { tasks: { queued: 1 } },
    });
  });

  test("http namespaces - a worker of one gets no tasks of another", async () => {
    await submit(daemon, "c");
    const id = await submit(daemon, "d");
    await ask(daemon, "POST", "/api/workers/register", { namespace: "d", body: { workerId: "w" } });
    const { body } = await ask(daemon, "POST", "/api/tasks/claim", {
      namespace: "d",
      body: { workerId: "w", count: 10 },
    });
    expect(body.assignments.map((one: { task: { id: string } }) => one.task.id)).toEqual([id]);
  });

  test("http namespaces - a drop answers who waits there, and the name begins anew above it", async () => {
    const id = await submit(daemon, "e");
    const operations = async () => (await ask(daemon, "GET", "/api/metrics")).body.daemon.operations;
    const before = await operations();
    const waiting = ask(daemon, "GET", `/api/tasks/${id}?wait=60s`, { namespace: "e" });
    await until(async () => (await operations()) > before);
    const dropped = await ask(daemon, "DELETE", "/api/namespaces/e");
    expect([dropped.status, dropped.body]).toEqual([200, { namespace: "e" }]);
    const { status, body } = await waiting;
    expect([status, body.code]).toEqual([410, "namespace-dropped"]);
    expect((await ask(daemon, "DELETE", "/api/namespaces/e")).body.code).toBe("unknown-namespace");
    const again = await submit(daemon, "e");
    expect(Number(again.split("-")[0])).toBeGreaterThan(Number(id.split("-")[0]));
    expect((await ask(daemon, "GET", "/api/tasks", { namespace: "e" })).body.tasks).toHaveLength(1);
  });

  test("http namespaces - frames are in the namespace of their header", async () => {
    const frames = (namespace: string, body: unknown[], connection?: string) =>
      ask(daemon, "POST", "/api/frames", {
        namespace,
        body,
        headers: { "cortex-session": "s", ...(connection && { "cortex-connection": connection }) },
      });
    const hello = (more: object = {}) => ({ op: "session.hello", seq: 1, input: { protocol: 1, ...more } });
    expect((await frames("f", [{ op: "task.list", seq: 2 }])).body.code).toBe("unknown-namespace");
    expect((await frames("f", [hello({ create: false })], "c")).body.code).toBe("unknown-namespace");
    expect((await frames("f", [hello({ protocol: 2 })], "c")).body.code).toBe("unknown-namespace");
    const { body } = await frames("f", [hello(), { op: "task.submit", seq: 2, input: task }], "c");
    expect(body).toMatchObject([{ ok: { namespace: "f" } }, { ok: { state: "queued" } }]);
    expect((await frames("f", [hello({ namespace: "g" })], "d")).body.code).toBe("invalid-input");
    const [{ ok }] = (await frames("f", [{ op: "namespace.drop", seq: 3, input: { namespace: "f" } }], "c"))
      .body;
    expect(ok).toEqual({ namespace: "f" });
    expect((await frames("f", [{ op: "task.list", seq: 4 }], "c")).body.code).toBe("unknown-namespace");
  });

  test("http namespaces - create, its limit, and default, which stays", async () => {
    const create = (namespace: string) => ask(daemon, "POST", "/api/namespaces", { body: { namespace } });
    expect((await create("h")).body).toEqual({ namespace: "h", created: true });
    expect((await create("h")).body).toEqual({ namespace: "h", created: false });
    for (let i = (await names(daemon)).length; i < namespacesMax; i++) await create(`more-${i}`);
    const over = await create("over");
    expect([over.status, over.body.code]).toEqual([409, "too-many-namespaces"]);
    const byUse = await ask(daemon, "POST", "/api/tasks", { namespace: "over", body: task });
    expect([byUse.status, byUse.body.code]).toEqual([409, "too-many-namespaces"]);
    const stays = await ask(daemon, "DELETE", "/api/namespaces/default");
    expect([stays.status, stays.body.code]).toEqual([422, "invalid-input"]);
    expect((await ask(daemon, "GET", "/health")).body).toMatchObject({
      status: "ok",
      namespaceCount: namespacesMax,
    });
  });
});

test.each(["A", "a/b", "..", "-a", "a.b", "a b", "x".repeat(64)])(
  "http namespaces - %s in the header is refused as no name",
  async (namespace) => {
    const daemon = daemons[0] as Daemon;
    const { status, body } = await ask(daemon, "POST", "/api/tasks", { namespace, body: task });
    expect([status, body.code, body.errors[0].pointer]).toEqual([422, "invalid-input", "/Cortex-Namespace"]);
  },
);

test("http namespaces - metrics are of all together, and of one where the header names it", async () => {
  const daemon = await start({ preset: "development" });
  for (const namespace of ["a", "a", "b"]) await submit(daemon, namespace);
  const queued = async (namespace?: string) =>
    (await ask(daemon, "GET", "/api/metrics", namespace ? { namespace } : {})).body.daemon.tasksQueued;
  expect([await queued(), await queued("a"), await queued("default")]).toEqual([3, 2, 0]);
  const text = await (await fetch(`${daemon.url}/metrics`)).text();
  expect(text).toContain("\ncortexd_namespaces 3\n");
  expect(text).toContain('\ncortexd_tasks{state="queued"} 3\n');
});

test("http namespaces - killed and started again, all are there, and revisions go on in each", async () => {
  const first = await start({});
  const ids = { a: await submit(first, "a"), default: await submit(first, "default") };
  await first.kill();
  const again = await start({ data: first.data });
  for (const [namespace, id] of Object.entries(ids)) {
    expect((await ask(again, "GET", `/api/tasks/${id}`, { namespace })).status).toBe(200);
    expect(Number((await submit(again, namespace)).split("-")[0])).toBeGreaterThan(Number(id.split("-")[0]));
  }
});
