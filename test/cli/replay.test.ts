/** `cortexd replay`: the state as it was, beside the daemon that runs and without one, and not a byte changed. */
import { afterAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CoordinationClient } from "../../client/client.ts";
import { RestClient } from "../../client/rest.ts";
import { exitTable } from "../../src/cli/exit.ts";
import { runCortexd, spawnDaemon, until } from "../support/daemon.ts";

const daemon = await spawnDaemon();
afterAll(() => daemon.kill());
const now = new RestClient({ url: daemon.url });

const replayed = (to: number, more: string[] = []) =>
  spawnDaemon({ data: daemon.data, command: ["replay", "--to", String(to), "--data", daemon.data, ...more] });

/** All that lies in the folder but what SQLite shares between those that have it open. */
const sumsOf = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile() && !file.name.endsWith("-shm"))
    .map((file) => join(file.parentPath, file.name))
    .sort()
    .map((path) => [path, createHash("sha256").update(readFileSync(path)).digest("hex")]);

test("replay - the state of a revision is served as it was then, and takes no changes", async () => {
  await now.kv.put({ key: "a", value: "then" });
  const { id } = await now.submit({ queue: "q", type: "t" });
  await now.kv.put({ key: "short", value: 1, ttlMs: 2000 });
  const { revision } = await now.kv.put({ key: "gone", value: 1 });
  await now.kv.put({ key: "a", value: "now" });
  await now.kv.delete({ key: "gone" });
  await now.cancel(id, "enough");
  await until(async () => (await now.kv.list()).keys.every(({ key }) => key !== "short"));

  const was = await replayed(revision);
  const then = new RestClient({ url: was.url });
  try {
    expect(await then.state()).toMatchObject({ revision, namespace: "default" });
    expect((await then.kv.list()).keys.map(({ key, value }) => [key, value])).toEqual([
      ["a", "then"],
      ["gone", 1],
      // Its time is over by now, and was not then.
      ["short", 1],
    ]);
    expect(await then.task(id)).toMatchObject({ state: "queued", revision: Number(id.split("-")[0]) });
    expect((await then.history({ key: "a" })).entries.length).toBe(1);
    for (const change of [
      () => then.kv.put({ key: "a", value: 1 }),
      () => then.submit({ type: "t" }),
      () => then.transaction({ then: [{ operation: "kv.put", input: { key: "a", value: 1 } }] }),
    ])
      await expect(change()).rejects.toMatchObject({ code: "read-only", status: 403 });
    expect(await then.ready()).toMatchObject({
      ready: false,
      reason: "it is a state that was, and takes no changes",
    });
    expect((await then.health()).status).toBe("replay");
    const doctor = await runCortexd(["doctor", "--url", was.url]);
    expect(doctor.output).toMatch(/^concern +daemon +at \S+ is a state that was/m);
    expect((await now.kv.get("a")).value).toBe("now");
    // The daemon that runs is not held up by it.
    await now.kv.put({ key: "a", value: "later" });
    expect((await then.kv.get("a")).value).toBe("then");
  } finally {
    expect(await was.stop()).toBe(0);
  }
});

test("replay - messages that waited then are read, and handed to nobody", async () => {
  const publisher = new CoordinationClient({ url: daemon.url });
  await publisher.subscriptions.put({ name: "then", topic: "then.*" });
  const { messageId } = await publisher.topics.publish("then.x", 1);
  publisher.close();
  const was = await replayed(Number(messageId?.split("-")[0]));
  const client = new CoordinationClient({ url: was.url });
  try {
    const waits = async () => (await client.subscriptions.messages("then")).messages;
    expect(await waits()).toMatchObject([{ messageId, state: "ready" }]);
    const received = client.call("message.receive", { subscription: "then", count: 10 });
    await expect(received).rejects.toMatchObject({ code: "read-only" });
    const attached = Promise.withResolvers<unknown>();
    const socket = new WebSocket(`ws://127.0.0.1:${was.port}/ws`);
    socket.onopen = () =>
      socket.send(
        JSON.stringify([
          { op: "session.hello", seq: 1, input: { protocol: 1 } },
          { op: "subscription.attach", seq: 2, input: { subscriptionId: "s", name: "then" } },
        ]),
      );
    socket.onmessage = ({ data }) => {
      const answer = JSON.parse(data).find(({ seq }: { seq?: number }) => seq === 2);
      if (answer !== undefined) attached.resolve(answer);
    };
    expect(await attached.promise).toMatchObject({ error: { code: "read-only" } });
    socket.close();
    expect(await waits()).toMatchObject([{ messageId, state: "ready" }]);
  } finally {
    client.close();
    expect(await was.stop()).toBe(0);
  }
});

test("replay - a task that came later is unknown, also where it has left for the archive since", async () => {
  const brief = await spawnDaemon({ args: ["--retention-count", "0"] });
  const client = new RestClient({ url: brief.url });
  const { revision } = await client.kv.put({ key: "a", value: 1 });
  const { id } = await client.submit({ queue: "q", type: "t" });
  await client.cancel(id, "enough");
  await until(async () => (await client.task(id)).archived);
  const was = await spawnDaemon({
    data: brief.data,
    command: ["replay", "--to", String(revision), "--data", brief.data],
  });
  try {
    await expect(new RestClient({ url: was.url }).task(id)).rejects.toMatchObject({ code: "unknown-task" });
  } finally {
    expect(await was.stop()).toBe(0);
    await brief.kill();
  }
});

test("replay - of a namespace it has that one alone, for whoever names it or none", async () => {
  const jobs = new RestClient({ url: daemon.url, namespace: "jobs" });
  const { revision } = await jobs.kv.put({ key: "a", value: "theirs" });
  const was = await replayed(revision, ["--namespace", "jobs"]);
  try {
    for (const namespace of [undefined, "jobs"]) {
      const client = new CoordinationClient({ url: was.wsUrl, namespace });
      expect((await client.kv.get("a"))?.value).toBe("theirs");
      expect((await client.namespaces.list()).namespaces).toMatchObject([
        { name: "jobs", status: "replay", revision },
      ]);
      client.close();
      const rest = new RestClient({ url: was.url, namespace });
      expect((await rest.namespaces()).namespaces.map(({ name }) => name)).toEqual(["jobs"]);
    }
    const other = new CoordinationClient({ url: was.wsUrl, namespace: "default" });
    await expect(other.kv.get("a")).rejects.toMatchObject({ code: "unknown-namespace" });
  } finally {
    expect(await was.stop()).toBe(0);
  }
});

test("replay - a backup is looked into as it lies, and not a byte of it is changed", async () => {
  const jobs = new RestClient({ url: daemon.url, namespace: "jobs" });
  const { revision: first } = await jobs.kv.put({ key: "kept", value: 1 });
  await jobs.kv.put({ key: "kept", value: 2 });
  const to = join(daemon.data, "..", `${crypto.randomUUID()}.backup`);
  expect((await runCortexd(["backup", to, "--data", daemon.data])).code).toBe(0);
  const before = sumsOf(to);
  for (const [words, value] of [
    [[], 2],
    [["--to", String(first)], 1],
  ] as const) {
    const command = ["replay", "--data", to, "--namespace", "jobs", ...words];
    const was = await spawnDaemon({ data: to, command });
    expect((await new RestClient({ url: was.url }).kv.get("kept")).value).toBe(value);
    expect(await was.stop()).toBe(0);
  }
  expect(sumsOf(to)).toEqual(before);
  rmSync(to, { recursive: true });
});

test("replay - without a daemon it reads the folder and changes nothing in it", async () => {
  const { revision } = await now.kv.put({ key: "last", value: 1 });
  await daemon.stop();
  const before = sumsOf(daemon.data);
  const was = await replayed(revision);
  expect((await new RestClient({ url: was.url }).kv.get("last")).value).toBe(1);
  expect(await was.stop()).toBe(0);
  expect(sumsOf(daemon.data)).toEqual(before);

  const fails = async (words: string[]) => {
    const { code, errors } = await runCortexd(["replay", "--data", daemon.data, ...words]);
    expect(code).toBe(exitTable["not-found"].code);
    return errors;
  };
  expect(await fails(["--to", String(revision + 1000)])).toContain(
    `states are kept from revision 0 to ${revision}`,
  );
  expect(await fails(["--to", "1", "--namespace", "none"])).toContain("no log of the namespace none");
});
