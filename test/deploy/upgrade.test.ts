/**
 * From one version to the next, and back. The folders here were written by earlier versions, the first of either format:
 * one task completed, one dead, one running, two waiting, a worker, a schedule.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { exitTable } from "../../src/cli/exit.ts";
import { openLog } from "../../src/log/open.ts";
import { runCortexd, spawnDaemon, temporaryFolder } from "../support/daemon.ts";

setDefaultTimeout(60_000);

async function folderOf(format: number): Promise<string> {
  const data = temporaryFolder();
  const archive = join(import.meta.dir, `format-${format}.tar.gz`);
  expect(Bun.spawnSync(["tar", "-C", data, "-xzf", archive]).exitCode).toBe(0);
  return data;
}

test.each([1, 2])("upgrade - a folder of format %d opens, with all that was in it", async (format) => {
  const daemon = await spawnDaemon({ data: await folderOf(format) });
  const get = async (path: string) => (await fetch(daemon.url + path)).json();
  expect(await get("/api/tasks/2-0")).toMatchObject({
    ...{ queue: "mail", type: "send", payload: { to: "ada@example.org" }, attempts: 5 },
    ...{ state: "completed", result: { delivered: true } },
  });
  expect(await get("/api/tasks/5-0")).toMatchObject({
    ...{ state: "dead", error: { message: "no such address", code: "bounce" } },
  });
  expect(await get("/api/tasks/10-0")).toMatchObject({ state: "queued", payload: "./a", priority: "high" });
  expect(await get("/api/tasks/10-1")).toMatchObject({ state: "queued", payload: "./b" });
  expect(await get("/api/schedules/nightly")).toMatchObject({ cron: "0 3 * * *", timeZone: "Europe/Berlin" });

  // The worker that held a task goes on with it, under the token that the earlier version gave.
  const held = await get("/api/tasks/8-0");
  expect(held).toMatchObject({ state: "running", lease: { workerId: "worker-001" } });
  const post = (path: string, body: object) =>
    fetch(daemon.url + path, {
      ...{ method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } },
    });
  const { token } = held.lease;
  const holding = [{ taskId: "8-0", token }];
  await post("/api/workers/register", { workerId: "worker-001", queues: ["mail"], capacity: 5, holding });
  const done = await post("/api/tasks/complete", { taskId: "8-0", workerId: "worker-001", token });
  expect(await done.json()).toMatchObject({ state: "completed" });

  // A key of idempotency is still known.
  const again = await post("/api/tasks", {
    queue: "files",
    type: "hash",
    payload: "./a",
    idempotencyKey: "a",
  });
  expect(await again.json()).toMatchObject({ id: "10-0" });
  expect(await daemon.stop()).toBe(0);
  expect((await runCortexd(["verify", "--data", daemon.data])).code).toBe(0);
});

/** A record of a kind that is yet to come, as a later version would write it into a folder of this format. */
async function writeNewer(data: string): Promise<void> {
  const log = openLog({ strategy: "wal", folder: data, sync: "always" });
  const { revision } = await log.open({ lines() {}, progress() {} });
  const next = revision + 1;
  const text = `@${next}\t0\t0\thologram.put\tsomebody\n+hologram\tcat\t{}\n`;
  expect(await log.append({ first: next, last: next, text }, revision)).toEqual({ kind: "durable" });
  await log.stop();
}
const free = ["--port", "0", "--ws-port", "0"];
/** All that the log of a folder holds. */
async function contents(data: string): Promise<string> {
  const log = openLog({ strategy: "wal", folder: data, sync: "always" });
  let held = "";
  await log.open({
    lines(text) {
      held += text;
    },
    progress() {},
  });
  await log.stop();
  return held;
}

test("rollback - a folder in which a later version put what this one does not know is refused, and left alone", async () => {
  const data = await folderOf(2);
  await writeNewer(data);
  const before = await contents(data);
  expect(before).toContain("+hologram");
  const { code, errors } = await runCortexd(["serve", ...free, "--data", data]);
  expect(errors).toContain('"hologram", which this version does not know');
  expect(errors).toContain("Run the version of cortexd that wrote it");
  expect(code).toBe(exitTable["data-folder-newer-format"].code);
  expect(await contents(data)).toBe(before);
});

test("rollback - nor is such a backup restored", async () => {
  const data = await folderOf(2);
  await writeNewer(data);
  const backup = join(temporaryFolder(), "backup");
  expect((await runCortexd(["backup", backup, "--data", data])).code).toBe(0);
  const goal = join(temporaryFolder(), "data");
  const { code, errors } = await runCortexd(["restore", backup, "--data", goal]);
  expect(errors).toContain('"hologram", which this version does not know');
  expect(code).toBe(exitTable["data-folder-newer-format"].code);
  expect(readdirSync(join(goal, ".."))).toEqual([]);
});
