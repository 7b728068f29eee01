/**
 * A process that appends, for tests that kill it. Prints a line for everything it knows: "open", "ack N", "settled",
 * "failed CODE", "refused CODE". Arguments: folder, sync, number of entries, and what to do after the last of them:
 * "settle" waits until all is folded (so the mark covers it) and then, as "hold", waits to be killed.
 */
import { writeSync } from "node:fs";
import { Journal } from "../../src/log/journal.ts";
import { LogError } from "../../src/log/log.ts";
import { openLog } from "../../src/log/open.ts";
import { put, Rebuilt } from "./model.ts";

const [folder, sync, count, then] = process.argv.slice(2) as [string, "always" | "interval", string, string];
const say = (line: string) => writeSync(1, `${line}\n`);
const codeOf = (error: unknown) => (error instanceof LogError ? error.code : String(error));

const log = openLog({
  strategy: "wal",
  folder,
  sync,
  markIntervalMs: 100,
  idleFoldBytes: 0,
  journal: (folder) => new Journal(folder),
});
log.onFailure((error) => say(`failure ${codeOf(error)}`));
const found = await log.open(new Rebuilt());
await log.reserve(found.ceiling + 1_000_000);
say("open");
let after = found.revision;
let revision = found.ceiling;
try {
  for (let i = 0; i < Number(count); i++) {
    revision++;
    const appended = await log.append(put(revision, `k${revision % 100}`, `value-${revision}`), after);
    if (appended.kind !== "durable") throw new Error(appended.kind);
    after = revision;
    say(`ack ${revision}`);
  }
} catch (error) {
  say(`failed ${codeOf(error)}`);
  for (const next of [revision, revision + 1]) {
    const result = await log.append(put(next, "again", "x"), after).catch(codeOf);
    say(typeof result === "string" ? `refused ${result}` : `accepted ${next}`);
  }
  process.exit(1);
}
if (then === "settle") {
  while (log.status().foldedTo < after) await Bun.sleep(10);
  say("settled");
}
await new Promise(() => {});
