/** The client in a namespace: it stays in it, and does not bring back one that was dropped. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { CoordinationClient, type CortexError } from "../../client/index.ts";
import { RestClient } from "../../client/rest.ts";
import { type Daemon, spawnDaemon } from "../support/daemon.ts";
import { FakeDaemon, settle, World, welcome } from "./world.ts";

setDefaultTimeout(60_000);
const codeOf = (error: unknown) => (error as { code: string }).code;
const refusal = (promise: PromiseLike<unknown>) =>
  promise.then(
    () => "fulfilled",
    (error: unknown) => codeOf(error),
  );

async function connected() {
  const world = new World();
  const daemon = new FakeDaemon();
  daemon.welcome = { ...welcome, namespace: "a" };
  const client = new CoordinationClient({ transport: daemon, environment: world, namespace: "a" });
  const closed: string[] = [];
  client.on("closed", ({ error }) => closed.push(codeOf(error)));
  await client.connect();
  return { world, daemon, client, closed };
}

describe("client namespaces", () => {
  test("client namespaces - only the first greeting makes one", async () => {
    const { world, daemon } = await connected();
    daemon.line.break();
    await world.advance(1000);
    const greetings = daemon.lines.map((line) => line.ops("session.hello")[0]!.input);
    expect(greetings).toMatchObject([{ namespace: "a" }, { namespace: "a", create: false }]);
    expect(greetings[0]).not.toHaveProperty("create");
  });

  test("client namespaces - a connection closed by a drop is the last one", async () => {
    const { world, daemon, client, closed } = await connected();
    daemon.script["task.submit"] = () => "silent";
    const waiting = refusal(client.submit({ type: "t" }));
    await settle();
    daemon.line.break(4011, "the namespace was dropped");
    expect(await waiting).toBe("namespace-dropped");
    await world.advance(100_000);
    expect([daemon.lines.length, client.state, closed]).toEqual([1, "closed", ["namespace-dropped"]]);
  });

  test("client namespaces - one that was dropped while the client was away is not made again", async () => {
    const { world, daemon, client, closed } = await connected();
    daemon.script["session.hello"] = () => ({ error: "unknown-namespace" });
    daemon.line.break();
    await world.advance(100_000);
    expect([daemon.lines.length, client.state, closed]).toEqual([2, "closed", ["unknown-namespace"]]);
  });

  test("client namespaces - a drop whose answer is lost is told and never sent again; one that never left is sent", async () => {
    const { world, daemon, client } = await connected();
    daemon.script["namespace.drop"] = () => "silent";
    const lost = refusal(client.namespaces.drop("b"));
    await settle();
    daemon.line.break();
    expect(await lost).toBe("outcome-unknown");
    const unsent = refusal(client.namespaces.drop("c"));
    daemon.script["namespace.drop"] = ({ input }) => ({ ok: input });
    await world.advance(1000);
    expect(await unsent).toBe("fulfilled");
    const sent = daemon.lines.map((line) => line.ops("namespace.drop").map(({ input }) => input));
    expect(sent).toEqual([[{ namespace: "b" }], [{ namespace: "c" }]]);
  });

  test("client namespaces - create and list are sent again, which harms nothing", async () => {
    const { world, daemon, client } = await connected();
    daemon.script["namespace.create"] = () => "silent";
    const created = client.namespaces.create("b");
    await settle();
    daemon.line.break();
    daemon.script["namespace.create"] = () => ({ ok: { namespace: "b", created: false } });
    await world.advance(1000);
    expect(await created).toEqual({ namespace: "b", created: false });
  });
});

describe("client namespaces, with a daemon", () => {
  let daemon: Daemon | null = null;
  const started = async () => {
    daemon ??= await spawnDaemon({ preset: "development" });
    return daemon;
  };
  const clients: CoordinationClient[] = [];
  afterAll(async () => {
    for (const client of clients) client.close();
    await daemon?.kill();
  });

  test.each(["websocket", "http"] as const)(
    "client namespaces - over %s it works in its own, and a drop ends it",
    async (transport) => {
      const { url } = await started();
      const open = (namespace?: string) => {
        const client = new CoordinationClient({ url, transport, ...(namespace && { namespace }) });
        clients.push(client);
        return client;
      };
      const name = `of-${transport}`;
      const inside = open(name);
      const closed = new Promise<Error>((resolve) => inside.on("closed", ({ error }) => resolve(error)));
      expect((await inside.connect()).namespace).toBe(name);
      const { id } = await inside.submit({ type: "t" });
      const outside = open();
      expect((await outside.tasks()).tasks).toEqual([]);
      expect((await outside.namespaces.list()).namespaces.map((one) => one.name)).toContain(name);
      const waiting = refusal(inside.task(id).result());
      expect(await outside.namespaces.drop(name)).toEqual({ namespace: name });
      expect(["namespace-dropped", "unknown-namespace"]).toContain(await waiting);
      const error = (await closed) as CortexError;
      expect(["namespace-dropped", "unknown-namespace"]).toContain(error.code);
      expect((await outside.namespaces.list()).namespaces.map((one) => one.name)).not.toContain(name);
      expect(await refusal(inside.submit({ type: "t" }))).toBe("closed");
    },
  );

  test("client namespaces - the typed REST client works in one, and lists, makes and drops them", async () => {
    const { url } = await started();
    const inside = new RestClient({ url, namespace: "rest" });
    expect(await refusal(inside.queues())).toBe("unknown-namespace");
    await inside.submit({ queue: "q", type: "t" });
    expect((await inside.queues()).queues.map(({ name }) => name)).toEqual(["q"]);
    expect(await inside.createNamespace("rest")).toEqual({ namespace: "rest", created: false });
    const found = (await inside.namespaces()).namespaces.find(({ name }) => name === "rest");
    expect(found?.tasks.queued).toBe(1);
    expect(await inside.dropNamespace("rest")).toEqual({ namespace: "rest" });
    expect(await refusal(inside.queues())).toBe("unknown-namespace");
    expect(await refusal(inside.dropNamespace("default"))).toBe("invalid-input");
  });
});
