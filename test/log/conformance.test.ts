/** What every log promises, held against each of them. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../../src/log/log.ts";
import { openLog } from "../../src/log/open.ts";
import { entryText, put, Rebuilt, sorted } from "./model.ts";

const startRevision = 1_700_000_000_000_000;
let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "cortex-log-"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const logs: [string, (folder: string) => Log, { keeps: boolean }][] = [
  ["memory", () => openLog({ strategy: "memory", startRevision }), { keeps: false }],
  ["snapshot", (folder) => openLog({ strategy: "snapshot", folder }), { keeps: true }],
  ["wal, interval", (folder) => openLog({ strategy: "wal", folder, sync: "interval" }), { keeps: true }],
  ["wal, always", (folder) => openLog({ strategy: "wal", folder, sync: "always" }), { keeps: true }],
];

describe.each(logs)("%s", (name, make, { keeps }) => {
  let folderCount = 0;
  const newFolder = () => join(root, `${name}-${folderCount++}`);

  async function opened(folder = newFolder()) {
    const log = make(folder);
    const rebuilt = new Rebuilt();
    return { folder, log, rebuilt, found: await log.open(rebuilt) };
  }

  test(`log - ${name}: a new one holds nothing and starts at revision 0`, async () => {
    const { log, rebuilt, found } = await opened();
    expect(found).toMatchObject({ revision: 0, at: 0, clock: 0, notes: [] });
    expect(found.ceiling).toBe(keeps ? 0 : startRevision);
    expect(rebuilt.state.size).toBe(0);
    expect(log.status()).toMatchObject({ strategy: name.split(",")[0], batchCount: 0 });
    await log.stop();
  });

  test(`log - ${name}: batches append one after the other, over gaps between revisions`, async () => {
    const { log } = await opened();
    await log.reserve(1000);
    expect(await log.append(put(5, "a", "1"), 0)).toEqual({ kind: "durable" });
    const text = entryText(9, 1, [["tasks\tb", "2"]]) + entryText(12, 1, [["tasks\tc", "3"]]);
    expect(await log.append({ first: 9, last: 12, text }, 5)).toEqual({ kind: "durable" });
    expect(await log.append(put(13, "a", "4"), 12)).toEqual({ kind: "durable" });
    await log.stop();
  });

  test(`log - ${name}: an append after another revision than the last is fenced`, async () => {
    const { log } = await opened();
    await log.append(put(5, "a", "1"), 0);
    expect(await log.append(put(6, "a", "2"), 3)).toEqual({ kind: "fenced", last: 5 });
    expect(await log.append(put(6, "a", "2"), 5)).toEqual({ kind: "durable" });
    await log.stop();
  });

  test(`log - ${name}: stopping twice is fine, and appending afterwards rejects`, async () => {
    const { log } = await opened();
    await log.append(put(1, "a", "1"), 0);
    await Promise.all([log.stop(), log.stop()]);
    await log.stop();
    expect(log.append(put(2, "a", "2"), 1)).rejects.toMatchObject({ code: "log-failed" });
  });

  test(`log - ${name}: a probe of a log that takes batches succeeds`, async () => {
    const { log } = await opened();
    expect(await log.probe()).toBe(true);
    await log.stop();
  });

  if (!keeps) return;

  test(`log - ${name}: after a clean stop everything is there, and unused revisions are free again`, async () => {
    const { folder, log } = await opened();
    await log.reserve(1_000_000);
    const texts = ['{"a":1}', "tab\there", "ünïcode €🙂", "nul\0in the middle", ""];
    const changes = texts.map((text, index): [string, string] => [`tasks\tkey ${index} ü`, text]);
    await log.append({ first: 1, last: 1, text: entryText(1, 77, changes) }, 0);
    const text = entryText(2, 78, [["tasks\tkey 0 ü", null]]) + entryText(3, 79, []);
    await log.append({ first: 2, last: 3, text }, 1);
    await log.stop();
    const again = await opened(folder);
    expect(again.found).toEqual({ revision: 3, ceiling: 3, at: 79, clock: 6, notes: [] });
    expect(sorted(again.rebuilt.state)).toEqual(changes.slice(1));
    await again.log.stop();
  });

  test(`log - ${name}: it goes on after a restart, and after another without a change`, async () => {
    const folder = newFolder();
    let after = 0;
    for (let start = 0; start < 4; start++) {
      const { log, found, rebuilt } = await opened(folder);
      expect(found.revision).toBe(after);
      expect(rebuilt.state.size).toBe(after);
      for (let i = 0; i < start * 3; i++) {
        await log.append(put(after + 1, `k${after + 1}`, "x"), after);
        after++;
      }
      await log.stop();
    }
  });

  test(`log - ${name}: a batch of some megabytes comes back whole`, async () => {
    const { folder, log } = await opened();
    const big = "ünïcode €🙂 ".repeat(300_000);
    await log.append(put(1, "big", big), 0);
    await log.stop();
    const again = await opened(folder);
    expect(again.rebuilt.state.get("tasks\tbig")).toBe(big);
    await again.log.stop();
  });

  test(`log - ${name}: a malformed batch ends the log and is told once`, async () => {
    const { log } = await opened();
    const failed = new Promise<Error>((resolve) => log.onFailure(resolve));
    await log.append({ first: 1, last: 1, text: "nonsense\n" }, 0).catch(() => {});
    expect(await failed).toMatchObject({ code: "log-failed" });
    expect(log.append(put(2, "a", "1"), 1)).rejects.toMatchObject({ code: "log-failed" });
    await log.stop();
  });
});
