/**
 * A daemon's namespaces on real files, for tests that start them, and as a process of its own one that makes or drops
 * one and is killed at the step it is told: data, what, name, step.
 */
import { writeSync } from "node:fs";
import { systemClock } from "../../src/engine/clock.ts";
import { Namespaces } from "../../src/engine/namespaces.ts";
import { FolderPlaces } from "../../src/log/namespaces.ts";
import { createLines } from "../../src/telemetry/lines.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { engineConfig } from "../engine/world.ts";

export type Opened = { namespaces: Namespaces; notes: string[] };

export async function open(
  data: string,
  { step, mode = "always" }: { step?: (name: string) => void; mode?: "always" | "snapshot" } = {},
): Promise<Opened> {
  const notes: string[] = [];
  const write = (line: string) => {
    const { event, note } = JSON.parse(line);
    if (event === "log.mended") notes.push(note);
  };
  const namespaces = new Namespaces({
    places: new FolderPlaces({ data, log: { mode }, ...(step && { step }) }),
    ...{ namespacesMax: 8, clock: systemClock, config: engineConfig, random: () => 0.5 },
    telemetry: {
      metrics: createMetrics(),
      lines: createLines({ level: "info", format: "json", now: () => 0, write }),
    },
    onFailure: (error) => {
      throw error;
    },
  });
  await namespaces.start();
  return { namespaces, notes };
}

if (import.meta.main) {
  const [data, what, namespace, at] = process.argv.slice(2) as [string, "create" | "drop", string, string];
  const say = (line: string) => writeSync(1, `${line}\n`);
  const { namespaces } = await open(data, {
    step: (name) => {
      say(name);
      if (name === at) process.kill(process.pid, "SIGKILL");
    },
  });
  const answer = await namespaces.carryOut(`namespace.${what}`, { namespace });
  say("ok" in answer ? "answered" : answer.error.detail);
  if (at === "answered") process.kill(process.pid, "SIGKILL");
  await namespaces.stop();
}
