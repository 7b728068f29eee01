/** The archive end to end: a real daemon lets go of every task that ends; nothing of them is lost, wherever one looks. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { CoordinationClient, type CortexError } from "../../client/index.ts";
import { RestClient } from "../../client/rest.ts";
import { exitTable } from "../../src/cli/exit.ts";
import { type Daemon, runCortexd, spawnDaemon, temporaryFolder } from "../support/daemon.ts";

setDefaultTimeout(60_000);

const daemons: Daemon[] = [];
const clients: CoordinationClient[] = [];
const start = async (options: Parameters<typeof spawnDaemon>[0] = {}) => {
  const daemon = await spawnDaemon({ ...options, args: ["--retention-count", "0", ...(options.args ?? [])] });
  daemons.push(daemon);
  return daemon;
};
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const daemon of daemons.splice(0)) await daemon.kill();
});
const restOf = ({ url }: Daemon, namespace?: string) =>
  new RestClient({ url, ...(namespace === undefined ? {} : { namespace }) });
const idsOf = ({ tasks }: { tasks: { id: string }[] }) => tasks.map(({ id }) => id);

/** Submits a task and ends it. */
async function ended(rest: RestClient, submit: object = {}): Promise<string> {
  const { id } = await rest.submit({ type: "t", ...submit });
  await rest.cancel(id, "not needed");
  return id;
}

describe("the archive of a daemon", () => {
  test("archive - over REST, the WebSocket and the command line it is one", async () => {
    const daemon = await start();
    const rest = restOf(daemon);
    const first = await ended(rest, { queue: "mail", labels: { tenant: "acme" }, payload: { to: "ada" } });
    const second = await ended(rest, { queue: "mail", idempotencyKey: "order-1138" });
    const third = await ended(rest, { queue: "other" });
    expect(idsOf(await rest.archived({ queue: "mail" }))).toEqual([second, first]);
    const page = await rest.archived({ limit: 2 });
    expect(idsOf(page)).toEqual([third, second]);
    expect(idsOf(await rest.archived({ cursor: page.cursor as string }))).toEqual([first]);

    const client = new CoordinationClient({ url: daemon.wsUrl });
    clients.push(client);
    expect(idsOf(await client.archived({ label: "tenant=acme" }))).toEqual([first]);
    expect(idsOf(await client.archived({ key: "order-1138", state: "cancelled" }))).toEqual([second]);
    expect(await client.task(first).get()).toMatchObject({ payload: { to: "ada" }, archived: true });
    expect(await client.task(first).finished()).toMatchObject({ state: "cancelled", reason: "not needed" });

    const run = (...words: string[]) => runCortexd(words, { environment: { CORTEX_URL: daemon.url } });
    const listed = await run("tasks", "archived", "--queue", "mail", "--json");
    expect(idsOf(JSON.parse(listed.output))).toEqual([second, first]);
    const table = await run("tasks", "archived", "--label", "tenant");
    expect(table.output).toContain(first);
    expect(table.output).not.toContain(second);
    expect((await run("tasks", "archived", "--state", "dead")).output).toContain(
      "no archived tasks like that",
    );
    expect((await run("tasks", "archived", "--state", "running")).code).toBe(exitTable.usage.code);
    const shown = await run("tasks", "show", first);
    expect(shown.output).toContain("it has left memory");
    const { code } = await run("tasks", "wait", first, "--timeout", "5s");
    expect(code).toBe(exitTable["not-completed"].code);
    // What is retried is back, under its id, over each of them.
    expect((await run("tasks", "retry", first, "--json")).output).toContain(
      `"id":"${first}","state":"queued"`,
    );
    expect(await rest.retry(third)).toMatchObject({ id: third, state: "queued" });
    expect(await client.task(second).retry()).toMatchObject({ id: second, state: "queued" });
    expect(idsOf(await rest.archived())).toEqual([]);
    expect(await rest.task(first)).toMatchObject({ payload: { to: "ada" }, archived: false });
    for (const id of [first, second, third]) await rest.cancel(id, "not needed");
    expect(idsOf(await rest.archived())).toEqual([third, second, first]);
    const metrics = await (await fetch(`${daemon.url}/metrics`)).text();
    expect(metrics).toMatch(/^cortexd_tasks_archived_total 6$/m);
  });

  test("archive - a duplicate whose task has left memory is answered with that task", async () => {
    const rest = restOf(await start());
    const submit = { type: "t", payload: 7, unique: { by: ["payload"], forMs: 3_600_000 } };
    const made = await rest.submit(submit);
    await rest.cancel(made.id);
    const fresh = { type: "t", payload: 8 };
    const answered = await rest.submit([fresh, submit, fresh]);
    expect(answered.map(({ id }) => id)[1]).toBe(made.id);
    expect(answered[1]).toMatchObject({ state: "cancelled", archived: true });
    expect(answered.map(({ state }) => state)).toEqual(["queued", "cancelled", "queued"]);
  });

  test.each(["durable", "high-availability"] as const)(
    "archive - %s: after a kill every task that had left is there, whether its row was written or not",
    async (preset) => {
      const first = await start({ preset });
      const ids: string[] = [];
      for (let i = 0; i < 30; i++) ids.push(await ended(restOf(first), { payload: i }));
      await first.kill();
      const again = await start({ preset, data: first.data });
      const { tasks } = await restOf(again).archived({ limit: 1000 });
      expect(tasks.map(({ id }) => id)).toEqual(ids.toReversed());
      expect(tasks.map(({ payload }) => payload)).toEqual(ids.map((_, i) => i).toReversed());
      expect((await restOf(again).tasks()).tasks).toEqual([]);
    },
  );

  test("archive - production: after a kill a task is in memory as of the snapshot, and read from there", async () => {
    const first = await start({ preset: "production", args: ["--snapshot-interval-ms", "1h"] });
    const rest = restOf(first);
    const { id } = await rest.submit({ type: "t" });
    await first.stop();
    const second = await start({
      preset: "production",
      data: first.data,
      args: ["--snapshot-interval-ms", "1h"],
    });
    await restOf(second).cancel(id);
    expect(await restOf(second).task(id)).toMatchObject({ state: "cancelled", archived: true });
    await second.kill();
    const third = await start({ preset: "production", data: first.data });
    expect(await restOf(third).task(id)).toMatchObject({ state: "queued", archived: false });
    await restOf(third).cancel(id, "again");
    expect((await restOf(third).archived()).tasks).toMatchObject([{ id, reason: "again" }]);
  });

  test("archive - each namespace has its own, and backup and restore carry them", async () => {
    const daemon = await start();
    const here = await ended(restOf(daemon), { payload: "here" });
    const there = await ended(restOf(daemon, "staging"), { payload: "there" });
    expect(idsOf(await restOf(daemon, "staging").archived())).toEqual([there]);
    const to = join(temporaryFolder(), "backup");
    expect((await runCortexd(["backup", to, "--data", daemon.data])).code).toBe(0);
    await ended(restOf(daemon), { payload: "after the backup" });
    await daemon.stop();
    expect((await runCortexd(["verify", "--data", daemon.data])).code).toBe(0);
    const data = join(temporaryFolder(), "data");
    const { code, errors } = await runCortexd(["restore", to, "--data", data]);
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    const restored = await start({ data });
    expect((await restOf(restored).archived()).tasks).toMatchObject([{ id: here, payload: "here" }]);
    expect((await restOf(restored, "staging").archived()).tasks).toMatchObject([
      { id: there, payload: "there" },
    ]);
    await restOf(restored).dropNamespace("staging");
    await restOf(restored).createNamespace("staging");
    expect((await restOf(restored, "staging").archived()).tasks).toEqual([]);
  });

  test("archive - without one it is said what would keep it, and what was kept before goes", async () => {
    const memory = await start({ preset: "development" });
    const refused = (await restOf(memory)
      .archived()
      .catch((error) => error)) as CortexError;
    expect(refused).toMatchObject({ code: "no-archive", status: 404 });
    const shown = await runCortexd(["tasks", "archived"], { environment: { CORTEX_URL: memory.url } });
    expect(shown.code).not.toBe(0);
    expect(shown.errors).toContain("--archive-count");
    const id = await ended(restOf(memory));
    expect(
      await restOf(memory)
        .task(id)
        .catch((error) => error.code),
    ).toBe("unknown-task");

    const kept = await start();
    await ended(restOf(kept));
    await kept.stop();
    const off = await start({ data: kept.data, args: ["--archive-count", "0"] });
    await expect(restOf(off).archived()).rejects.toMatchObject({ code: "no-archive" });
  });
});
