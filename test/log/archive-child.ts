/**
 * A process that lets go of rows, for tests that kill it: each batch tells of some for the archive. Prints "ack N" for
 * the last row of each batch that is durable. Arguments: folder, and how many rows a batch tells of.
 */
import { writeSync } from "node:fs";
import { openLog } from "../../src/log/open.ts";
import { entryText, Rebuilt, told } from "./model.ts";

const [folder, count] = process.argv.slice(2) as [string, string];
// Small bounds: images are made, rows are written and dropped from the log all the time.
const log = openLog({
  ...{ strategy: "wal", folder, sync: "always", markIntervalMs: 50, idleFoldBytes: 0 },
  ...{ tailBytesMax: 50_000, historyMs: 0, historyBytesMax: 100_000 },
});
const found = await log.open(new Rebuilt());
await log.reserve(found.ceiling + 1_000_000);
let after = found.revision;
let revision = found.ceiling;
for (;;) {
  revision++;
  const rows = Array.from({ length: Number(count) }, (_, i) =>
    told({ id: `${revision}-${i}`, at: revision, tags: ["all", `t${i}`], text: `row ${revision}-${i}` }),
  );
  const text = entryText(revision, 1, [...rows, [`tasks\tk${revision % 50}`, "x".repeat(200)]]);
  const appended = await log.append({ first: revision, last: revision, text }, after);
  if (appended.kind !== "durable") throw new Error(appended.kind);
  after = revision;
  writeSync(1, `ack ${revision}\n`);
  if (revision % 40 === 0) while (log.status().foldedTo < after) await Bun.sleep(10);
}
