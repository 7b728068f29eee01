/** The measurement beside other systems, run shortly over this daemon alone: what it prints, and what it refuses. */
import { expect, test } from "bun:test";
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
