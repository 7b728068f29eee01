/**
 * `cortexd verify`: says in words what is whole in a data folder and what is damaged, and the command that goes on
 * from what is whole. Reading is log/verify.ts.
 */
import { resolve } from "node:path";
import { isBackup, verifyBackup } from "../log/backup.ts";
import { type Finding, verifyFolder } from "../log/verify.ts";
import { defaultNamespace } from "../wire/namespaces.ts";
import { command } from "./command.ts";
import { Exit } from "./exit.ts";
import type { Output } from "./output.ts";
import { whileReading } from "./progress.ts";
import { number } from "./words.ts";

export const verify = command({
  summary: "Read all of the data folder, or of a backup, change nothing, say what is whole.",
  arguments: [],
  options: {},
  client: false,
  serve: true,
  json: "one object: data, inUse, sound, and for each namespace what was found and the way out (null where only a backup helps).",
  examples: [
    {
      words: "verify",
      meaning:
        "Beside a daemon that runs it sees one moment; what a start would read it sees with the daemon stopped.",
    },
    {
      words: "verify --data /backups/old --json | jq .sound",
      meaning: "Of a backup as well; the exit code tells the same: 0, or 7.",
    },
  ],
  async run({ config, out }) {
    await verified(resolve(config().values.data), out);
    return undefined;
  },
});

async function verified(data: string, out: Output): Promise<void> {
  if (isBackup(data)) return verifiedBackup(data, out);
  const { inUse, findings } = await whileReading((reading) => verifyFolder(data, reading));
  if (findings.length === 0) {
    throw new Exit(
      "data-folder-not-writable",
      `there is no log in ${data}`,
      "Name the data folder with --data.",
    );
  }
  const damaged = findings.filter(({ problems }) => problems.length > 0);
  if (out.json) {
    const namespaces = findings.map((finding) => ({ ...finding, way: wayOut(finding, data) }));
    await out.value({ data, inUse, sound: damaged.length === 0, namespaces });
  } else {
    await out.line(findings.map((finding) => told(finding, data, inUse)).join("\n"));
  }
  if (damaged.length === 0) return;
  const names = damaged.map(({ name }) => name).join(", ");
  throw new Exit(
    "data-folder-damaged",
    `${data} is damaged (${names}); nothing was changed in it`,
    "Copy the folder first; then do what is said above, or restore a backup: `cortexd restore FROM`.",
  );
}

async function verifiedBackup(folder: string, out: Output): Promise<void> {
  const { manifest, problems } = await whileReading((reading) => verifyBackup(folder, reading));
  if (out.json) await out.value({ backup: folder, sound: problems.length === 0, problems, manifest });
  else {
    await out.line(`A backup of ${new Date(manifest.at).toISOString()}, made by cortexd ${manifest.version}`);
    for (const { name, revision, bytes } of manifest.namespaces)
      await out.line(`  ${name}: up to revision ${revision}, ${number(bytes)} bytes`);
    for (const problem of problems) await out.line(`  damaged: ${problem}`);
    if (problems.length === 0) await out.line("  all of it is whole, and fits its manifest");
  }
  if (problems.length > 0)
    throw new Exit("data-folder-damaged", `the backup ${folder} is damaged`, "Use another backup.");
}

/** The exact command that goes on from what is whole; null: nothing is damaged, or nothing can be put together. */
function wayOut({ problems, recoverTo, name }: Finding, data: string): string | null {
  if (problems.length === 0 || recoverTo === null) return null;
  const which = name === defaultNamespace ? "" : ` --recover-namespace ${name}`;
  return `cortexd serve --data ${quoted(data)} --recover-to ${recoverTo}${which}`;
}

const quoted = (path: string) => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);

function told(finding: Finding, data: string, inUse: boolean): string {
  const { name, folder, problems, recoverTo, logFrom, logTo, at, rowCount, entryCount } = finding;
  const lines = [`Namespace ${name} (${folder})`];
  const when = at === 0 ? "" : `, of ${new Date(at).toISOString()}`;
  if (problems.length === 0) {
    lines.push(`  sound up to revision ${logTo}${when}`);
    lines.push(`  ${number(rowCount)} rows of the newest image and ${number(entryCount)} entries were read`);
    lines.push(
      finding.isSnapshot
        ? "  a snapshot: no history is kept behind it"
        : `  the state at any revision from ${logFrom} to ${logTo} can be had`,
    );
  } else {
    lines.push(...problems.map((problem) => `  damaged: ${problem}`));
    const whole = (isWhole: boolean) => (isWhole ? "whole" : "damaged");
    lines.push(
      `  the image is ${whole(finding.imageIntact)}, the oldest one, under the history, ${whole(finding.baseIntact)}`,
    );
    lines.push(
      recoverTo === null
        ? finding.pagesIntact
          ? "  no state in it can be put together whole: restore a backup"
          : "  the database's own pages are damaged, and nothing can go on in it: restore a backup"
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
