/** `cortexd backup TO` and `cortexd restore FROM`: what they did and what it holds, in words. The work is log/. */
import { resolve } from "node:path";
import { systemClock } from "../engine/clock.ts";
import { backup as makeBackup } from "../log/backup.ts";
import { restore as restoreBackup } from "../log/restore.ts";
import { ownWords } from "./configured.ts";
import { Exit } from "./exit.ts";
import { version } from "./help.ts";
import { print } from "./terminal.ts";

const time = (at: number) => new Date(at).toISOString();

function dataOf({ log, data, preset }: { log: string; data: string; preset: string }): string {
  if (log !== "memory") return resolve(data);
  throw new Exit(
    "usage",
    `with the log \`memory\` (preset ${preset}) nothing is on disk: there is no data folder to keep`,
    "Choose another preset for the daemon, or name its data folder without the preset.",
  );
}

export async function backup(argv: string[]): Promise<void> {
  const { words, json, namespace, config } = ownWords(argv, ["TO"]);
  const to = resolve(words[0]!);
  const data = dataOf(config.values);
  const manifest = await makeBackup({ data, to, namespace, version, now: systemClock.wall() });
  if (json) return print(`${JSON.stringify({ to, ...manifest })}\n`);
  const lines = manifest.namespaces.map(({ name, log, revision, at, bytes }) => {
    const snapshot = log === "snapshot" ? `, as of the last snapshot (${time(at)})` : "";
    return `  ${name}: revision ${revision}${snapshot}, ${bytes.toLocaleString("en-US")} bytes`;
  });
  await print(`Backed up ${data} to ${to}, and read it back:\n${lines.join("\n")}\n`);
}

export async function restore(argv: string[]): Promise<void> {
  const { words, json, config } = ownWords(argv, ["FROM"]);
  const from = resolve(words[0]!);
  const data = dataOf(config.values);
  const { manifest, before, kept, logs } = await restoreBackup(from, data, systemClock.wall());
  if (json) return print(`${JSON.stringify({ from, data, at: manifest.at, before, kept, logs })}\n`);
  const lines = logs.map(
    ({ name, revision, ceiling }) =>
      `  ${name}: as of revision ${revision}; new revisions lie above ${ceiling}`,
  );
  for (const name of kept) lines.push(`  ${name}: not in the backup; as it was`);
  if (before !== null) lines.push(`What stood there before is kept in ${before}`);
  await print(`Restored ${from} (of ${time(manifest.at)}) to ${data}:\n${lines.join("\n")}\n`);
}
