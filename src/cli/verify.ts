/**
 * `cortexd verify`: says in words what is whole in a data folder and what is damaged, and the command that goes on
 * from what is whole. Reading is log/verify.ts.
 */
import { resolve } from "node:path";
import { type Finding, verifyFolder } from "../log/verify.ts";
import { ownWords } from "./configured.ts";
import { Exit } from "./exit.ts";
import { print } from "./terminal.ts";

const number = (value: number) => value.toLocaleString("en-US");

export async function verify(argv: string[]): Promise<void> {
  const { json, config } = ownWords(argv, []);
  const data = resolve(config.values.data);
  const { inUse, findings } = await verifyFolder(data);
  if (findings.length === 0) {
    throw new Exit(
      "data-folder-not-writable",
      `there is no log in ${data}`,
      "Name the data folder with --data.",
    );
  }
  const damaged = findings.filter(({ problems }) => problems.length > 0);
  if (json) {
    const namespaces = findings.map((finding) => ({ ...finding, way: wayOut(finding, data) }));
    await print(`${JSON.stringify({ data, inUse, sound: damaged.length === 0, namespaces })}\n`);
  } else {
    await print(`${findings.map((finding) => told(finding, data, inUse)).join("\n")}\n`);
  }
  if (damaged.length === 0) return;
  const names = damaged.map(({ name }) => name).join(", ");
  throw new Exit(
    "data-folder-damaged",
    `${data} is damaged (${names}); nothing was changed in it`,
    "Copy the folder first; then do what is said above, or restore a backup: `cortexd restore FROM`.",
  );
}

/** The exact command that goes on from what is whole; null: nothing is damaged, or nothing can be put together. */
function wayOut({ problems, recoverTo, name }: Finding, data: string): string | null {
  if (problems.length === 0 || recoverTo === null || name !== "default") return null;
  return `cortexd serve --data ${quoted(data)} --recover-to ${recoverTo}`;
}

const quoted = (path: string) => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);

function told(finding: Finding, data: string, inUse: boolean): string {
  const { name, folder, problems, recoverTo, logFrom, logTo, at, rowCount, entryCount } = finding;
  const lines = [`Namespace ${name} (${folder})`];
  const when = at === 0 ? "" : `, of ${new Date(at).toISOString()}`;
  if (problems.length === 0) {
    lines.push(`  sound up to revision ${logTo}${when}`);
    lines.push(`  ${number(rowCount)} rows of the image and ${number(entryCount)} entries were read`);
    lines.push(
      finding.isSnapshot
        ? "  a snapshot: no history is kept behind it"
        : `  the state at any revision from ${logFrom} to ${logTo} can be had`,
    );
  } else {
    lines.push(...problems.map((problem) => `  damaged: ${problem}`));
    const whole = (isWhole: boolean) => (isWhole ? "whole" : "damaged");
    lines.push(
      `  the image is ${whole(finding.imageIntact)}, the base under the history ${whole(finding.baseIntact)}`,
    );
    lines.push(
      recoverTo === null
        ? "  no state in it can be put together whole: restore a backup"
        : `  what is there up to revision ${recoverTo}${when} is whole; this goes on from there and gives up the rest:`,
    );
    const way = wayOut(finding, data);
    if (way !== null) lines.push(`    ${way}`);
  }
  if (inUse) {
    lines.push(
      "  read beside the daemon that runs, as of one moment; to read what a start would read, stop it first",
    );
  }
  return `${lines.join("\n")}\n`;
}
