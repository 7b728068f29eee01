/** `cortexd backup TO` and `cortexd restore FROM`: what they did and what it holds, in words. The work is log/. */
import { resolve } from "node:path";
import { engineConfig } from "../config.ts";
import { systemClock } from "../engine/clock.ts";
import { backup as makeBackup } from "../log/backup.ts";
import { restore as restoreBackup } from "../log/restore.ts";
import { createMetrics } from "../telemetry/metrics.ts";
import { command } from "./command.ts";
import { Exit } from "./exit.ts";
import { whileReading } from "./progress.ts";
import { version } from "./version.ts";
import { number } from "./words.ts";

const time = (at: number) => new Date(at).toISOString();

function dataOf({ log, data, preset }: { log: string; data: string; preset: string }): string {
  if (log !== "memory") return resolve(data);
  throw new Exit(
    "usage",
    `with the log \`memory\` (preset ${preset}) nothing is on disk: there is no data folder to keep`,
    "Choose another preset for the daemon, or name its data folder without the preset.",
  );
}

export const backup = command({
  summary: "Copy the data to a folder, beside the daemon that runs or without one.",
  arguments: [
    { name: "TO", help: "The backup's folder. It must not be there yet: a backup replaces nothing." },
  ],
  options: { namespace: { type: "text", unit: "NAME", help: "This one alone. Default: all." } },
  client: false,
  serve: true,
  json: "one object: to, and the backup's manifest.",
  examples: [
    {
      words: "backup /backups/monday",
      meaning:
        "As of one moment; it was read back before it got its name. Everything acknowledged before is in it.",
    },
    {
      words: "backup /backups/monday --data /var/lib/cortex",
      meaning: "Of a daemon that was started with --data.",
    },
  ],
  async run({ words: [folder], values: { namespace }, config, out }) {
    const to = resolve(folder!);
    const data = dataOf(config().values);
    const manifest = await whileReading((reading) =>
      makeBackup({ data, to, namespace, version, now: systemClock.wall(), reading }),
    );
    if (out.json) {
      await out.value({ to, ...manifest });
      return undefined;
    }
    await out.line(`Backed up ${data} to ${to}, and read it back:`);
    for (const { name, log, revision, at, bytes } of manifest.namespaces) {
      const snapshot = log === "snapshot" ? `, as of the last snapshot (${time(at)})` : "";
      await out.line(`  ${name}: revision ${revision}${snapshot}, ${number(bytes)} bytes`);
    }
    return undefined;
  },
});

export const restore = command({
  summary: "Put a backup in the place of the data folder, whose daemon is stopped.",
  arguments: [{ name: "FROM", help: "The folder that `cortexd backup` made." }],
  options: {},
  client: false,
  serve: true,
  json: "one object: from, data, at (the backup's time), before (where the old folder is, or null), kept, logs.",
  examples: [
    {
      words: "restore /backups/monday",
      meaning:
        "Proves the backup first. The folder that stood there is kept beside it; a restore that is killed leaves one that starts.",
    },
  ],
  async run({ words: [folder], config, out }) {
    const from = resolve(folder!);
    const { values } = config();
    const data = dataOf(values);
    const proof = { config: engineConfig(values, version), metrics: createMetrics() };
    const { manifest, before, kept, logs } = await whileReading((reading) =>
      restoreBackup(from, data, systemClock.wall(), { ...proof, reading }),
    );
    if (out.json) {
      await out.value({ from, data, at: manifest.at, before, kept, logs });
      return undefined;
    }
    await out.line(`Restored ${from} (of ${time(manifest.at)}) to ${data}:`);
    for (const { name, revision, ceiling } of logs)
      await out.line(`  ${name}: as of revision ${revision}; new revisions lie above ${ceiling}`);
    for (const name of kept) await out.line(`  ${name}: not in the backup; as it was`);
    if (before !== null) await out.line(`What stood there before is kept in ${before}`);
    return undefined;
  },
});
