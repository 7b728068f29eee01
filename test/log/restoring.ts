/** A process that restores and is killed at the step it is told: folder, data, time, step. */
import { writeSync } from "node:fs";
import { restore } from "../../src/log/restore.ts";
import { coreConfig, noMetrics } from "../support/world.ts";

const [from, data, now, at] = process.argv.slice(2) as [string, string, string, string];
const proof = { config: coreConfig, metrics: noMetrics() };
await restore(from, data, Number(now), proof, (step) => {
  writeSync(1, `${step}\n`);
  if (step === at) process.kill(process.pid, "SIGKILL");
});
