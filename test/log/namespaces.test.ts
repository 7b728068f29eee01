/** Namespaces on real files: made and dropped whole, wherever a kill comes, and no revision given out twice. */
import { afterEach, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { placeOf, readFloor } from "../../src/log/namespaces.ts";
import { placesOf, verifyFolder } from "../../src/log/verify.ts";
import { temporaryFolder } from "../support/daemon.ts";
import { type Opened, open } from "./naming.ts";

const anyone = { who: "test", session: null, seq: 0, ackedThrough: 0 };
const opened: Opened[] = [];
const start = async (...given: Parameters<typeof open>) => {
  const one = await open(...given);
  opened.push(one);
  return one;
};
afterEach(async () => {
  for (const { namespaces } of opened.splice(0)) await namespaces.stop();
});

async function submit({ namespaces }: Opened, name: string): Promise<string> {
  const answer = await namespaces.find(name)!.call("task.submit", { queue: "q", type: "t" }, anyone);
  if ("error" in answer) throw new Error(answer.error.detail);
  return JSON.parse(answer.ok).id;
}
async function has({ namespaces }: Opened, name: string, taskId: string): Promise<boolean> {
  const engine = namespaces.find(name);
  return engine !== undefined && "ok" in (await engine.call("task.get", { taskId }, anyone));
}
async function carryOut({ namespaces }: Opened, what: "create" | "drop", namespace: string): Promise<void> {
  const answer = await namespaces.carryOut(`namespace.${what}`, { namespace });
  if ("error" in answer) throw new Error(answer.error.detail);
}
const revisionOf = (id: string) => Number(id.split("-")[0]);

/** A data folder at rest with a task in `default` and one in `a`. */
async function folder() {
  const data = join(temporaryFolder(), "data");
  const it = await open(data);
  await carryOut(it, "create", "a");
  const ids = { default: await submit(it, "default"), a: await submit(it, "a") };
  await it.namespaces.stop();
  return { data, ids };
}

/** Makes or drops in a process of its own, which is killed at the step; the steps it came to. */
function run(data: string, what: "create" | "drop", name: string, at = "never"): string[] {
  const child = Bun.spawnSync([process.execPath, join(import.meta.dir, "naming.ts"), data, what, name, at]);
  expect(child.signalCode).toBe(at === "never" ? (undefined as never) : "SIGKILL");
  return child.stdout.toString().trim().split("\n");
}

const making = [
  "make the folder",
  "say that it is being made",
  "open the log",
  "say that it is made",
  "made",
  "answered",
];
const dropping = ["raise the floor", "move away", "moved", "sweep"];

describe("namespaces on disk", () => {
  test("namespaces - each keeps what is in it over a restart, in either mode", async () => {
    for (const mode of ["always", "snapshot"] as const) {
      const data = join(temporaryFolder(), "data");
      const first = await open(data, { mode });
      await carryOut(first, "create", "a");
      const ids = [await submit(first, "a"), await submit(first, "default")] as const;
      await first.namespaces.stop();
      const again = await start(data, { mode });
      expect(again.notes).toEqual([]);
      expect(await Promise.all([has(again, "a", ids[0]), has(again, "default", ids[1])])).toEqual([
        true,
        true,
      ]);
    }
  });

  test("namespaces - one that was dropped is gone after a restart, and its name begins above it", async () => {
    const { data, ids } = await folder();
    const first = await open(data);
    const last = await submit(first, "a");
    await carryOut(first, "drop", "a");
    expect(readFloor(data)).toBeGreaterThanOrEqual(revisionOf(last));
    await first.namespaces.stop();
    expect(readdirSync(join(data, "dropped"))).toEqual(["floor"]);
    const again = await start(data);
    expect([again.namespaces.find("a"), await has(again, "default", ids.default)]).toEqual([undefined, true]);
    await carryOut(again, "create", "a");
    expect(await has(again, "a", ids.a)).toBe(false);
    expect(revisionOf(await submit(again, "a"))).toBeGreaterThan(revisionOf(last));
  });

  test("namespaces - a kill while one is made leaves it or nothing, and once it was answered it", async () => {
    const { data, ids } = await folder();
    const whole = join(temporaryFolder(), "data");
    cpSync(data, whole, { recursive: true });
    expect(run(whole, "create", "b")).toEqual(making);
    for (const step of making) {
      const copy = join(temporaryFolder(), "data");
      cpSync(data, copy, { recursive: true });
      expect(run(copy, "create", "b", step).at(-1)).toBe(step);
      const { findings } = await verifyFolder(copy);
      expect([step, findings.flatMap(({ problems }) => problems)]).toEqual([step, []]);
      const again = await start(copy);
      const isMade = step === "made" || step === "answered";
      expect([step, again.namespaces.find("b") !== undefined]).toEqual([step, isMade]);
      const isHalf =
        step === "say that it is being made" || step === "open the log" || step === "say that it is made";
      expect([step, again.notes.length]).toEqual([step, isHalf ? 1 : 0]);
      expect(await has(again, "a", ids.a)).toBe(true);
      await carryOut(again, "create", "b");
      const id = await submit(again, "b");
      expect(await has(again, "b", id)).toBe(true);
    }
  }, 120_000);

  test("namespaces - a kill while one is dropped leaves it whole or nothing, and once it was moved nothing", async () => {
    const { data, ids } = await folder();
    const whole = join(temporaryFolder(), "data");
    cpSync(data, whole, { recursive: true });
    expect(run(whole, "drop", "a").slice(0, 3)).toEqual(dropping.slice(0, 3));
    for (const step of dropping) {
      const copy = join(temporaryFolder(), "data");
      cpSync(data, copy, { recursive: true });
      expect(run(copy, "drop", "a", step)).toContain(step);
      const { findings } = await verifyFolder(copy);
      expect([step, findings.flatMap(({ problems }) => problems)]).toEqual([step, []]);
      const again = await start(copy);
      const isGone = step === "moved" || step === "sweep";
      expect([step, await has(again, "a", ids.a)]).toEqual([step, !isGone]);
      expect([step, again.namespaces.find("a") === undefined]).toEqual([step, isGone]);
      expect([step, again.notes.length]).toEqual([step, isGone ? 1 : 0]);
      const dropped = join(copy, "dropped");
      expect(existsSync(dropped) ? readdirSync(dropped).filter((name) => name !== "floor") : []).toEqual([]);
      if (!isGone) await carryOut(again, "drop", "a");
      await carryOut(again, "create", "a");
      expect(revisionOf(await submit(again, "a"))).toBeGreaterThan(revisionOf(ids.a));
      expect(await has(again, "default", ids.default)).toBe(true);
    }
  }, 120_000);

  test("namespaces - a folder that is none of ours is told and left alone", async () => {
    const { data } = await folder();
    const strange = join(data, "namespaces", "Notes of Ada");
    mkdirSync(strange);
    writeFileSync(join(strange, "note.txt"), "mine");
    const { namespaces, notes } = await start(data);
    expect(notes).toEqual([`${strange} is no namespace's, and is left alone`]);
    expect(existsSync(join(strange, "note.txt"))).toBe(true);
    expect(namespaces.find("a")).toBeDefined();
  });

  test("namespaces - a damaged floor stops the start, instead of giving revisions out again", async () => {
    const { data } = await folder();
    const first = await open(data);
    await carryOut(first, "drop", "a");
    await first.namespaces.stop();
    writeFileSync(join(data, "dropped", "floor"), "7 abc\n");
    const failed = await open(data).catch((error) => error);
    expect(failed.code).toBe("data-folder-damaged");
  });

  test("namespaces - where their logs lie is one place a name", async () => {
    const { data } = await folder();
    expect(placesOf(data)).toEqual([
      { name: "default", folder: data },
      { name: "a", folder: placeOf(data, "a") },
    ]);
  });
});
