/** The measurements beside other systems, run shortly: what they print, what they leave out and what they refuse. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { startProgram } from "../support/daemon.ts";

const main = join(import.meta.dir, "../../bench/versus/main.ts");
const run = (...args: string[]) => startProgram([process.execPath, main, ...args]).ended;

test("versus - each setting gives a rate and two times", async () => {
  const { code, output } = await run(
    ...["--only", "cortexd", "--seconds", "0.3", "--rounds", "1", "--in-flight", "10", "--json"],
  );
  expect(code).toBe(0);
  const { results, notes } = JSON.parse(output);
  expect(notes).toEqual([]);
  expect(results.map(({ setting }: { setting: string }) => setting)).toEqual(["synced", "relaxed"]);
  for (const { cyclesPerSecond, startP50Ms, startP99Ms } of results) {
    expect(cyclesPerSecond).toBeGreaterThan(0);
    expect(startP50Ms).toBeGreaterThan(0);
    expect(startP99Ms).toBeGreaterThanOrEqual(startP50Ms);
  }
}, 60_000);

test("versus - a system that it does not know is refused by name", async () => {
  const { code, errors } = await run("--only", "cortexd,kafka");
  expect({ code, errors }).toEqual({
    code: 2,
    errors: "there is no kafka: give --only cortexd,redis,bullmq,beanstalkd,nats\n",
  });
});

describe("what programs share", () => {
  const shared = join(import.meta.dir, "../../bench/versus/shared/main.ts");
  const quick = ["--seconds", "0.2", "--warm", "0.1", "--rounds", "1", "--in-flight", "8", "--json"];
  const run = async (environment: Record<string, string>, ...args: string[]) => {
    const { code, output } = await startProgram([process.execPath, shared, ...quick, ...args], {
      environment,
    }).ended;
    return { code, ...JSON.parse(output) };
  };
  const rows = (results: { system: string; setting: string; measured: Record<string, number> }[]) =>
    results.map(({ system, setting, measured }) => {
      expect(Object.values(measured).every((value) => value > 0)).toBe(true);
      return `${system}, ${setting}: ${Object.keys(measured).join(" ")}`;
    });
  const all = "put cas get lock publish fanOut published emitted";

  test("versus - every measure of Cortex, synced, and by bare frames those of keys and locks", async () => {
    const { code, results, notes } = await run({}, "--only", "cortexd,frames", "--setting", "synced");
    expect({ code, notes }).toEqual({ code: 0, notes: [] });
    expect(rows(results)).toEqual([
      `Cortex, synced: ${all}`,
      "Cortex, a frame each, synced: put cas get lock",
    ]);
  }, 60_000);

  test("versus - a server that is not installed is left out, and named", async () => {
    const { code, results, notes } = await run({ PATH: "/nowhere" }, "--only", "redis,nats,etcd");
    expect({ code, results, notes }).toEqual({
      code: 1,
      results: [],
      notes: [
        "Redis: redis-server is not installed",
        "NATS: nats-server is not installed",
        "etcd: etcd is not installed",
      ],
    });
  });

  test.skipIf(Bun.which("redis-server") === null)(
    "versus - every measure of Redis, synced",
    async () => {
      const { code, results, notes } = await run({}, "--only", "redis", "--setting", "synced");
      expect({ code, notes }).toEqual({ code: 0, notes: [] });
      expect(rows(results)).toEqual([`Redis, synced: ${all}`]);
    },
    60_000,
  );

  test.skipIf(Bun.which("etcd") === null)(
    "versus - keys and locks of etcd",
    async () => {
      const { code, results, notes } = await run({}, "--only", "etcd");
      expect({ code, notes }).toEqual({ code: 0, notes: [] });
      expect(rows(results)).toEqual(["etcd, synced: put cas get lock"]);
    },
    60_000,
  );

  test("versus - a measure that it does not know is refused by name", async () => {
    const { code, errors } = await startProgram([process.execPath, shared, "--measure", "put,scan"]).ended;
    expect({ code, errors }).toEqual({
      code: 2,
      errors: `there is no scan: give --measure ${all.replaceAll(" ", ",")}\n`,
    });
  });
});
