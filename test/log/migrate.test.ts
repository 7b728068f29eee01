/** A data folder as format 1 wrote it, written out here: tables of rows, and images half folded. */
import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MarkFile } from "../../src/log/folder.ts";
import { encodeBatch, encodeMark, firstHash, type LogRow } from "../../src/log/format.ts";
import { LogError } from "../../src/log/log.ts";
import { SqliteStorage } from "../../src/log/sqlite.ts";
import { inspectFolder } from "../../src/log/verify.ts";
import { LogWriter } from "../../src/log/writer.ts";
import { asRead } from "./disk.ts";
import { entryText, type ModelEntry, Rebuilt, type State, sorted, stateAt } from "./model.ts";

const root = mkdtempSync(join(tmpdir(), "cortex-migrate-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folderCount = 0;

/** Twelve batches of one entry each, over keys that are changed again and deleted. */
const entries: ModelEntry[] = [];
const rows: LogRow[] = [];
for (let revision = 1; revision <= 12; revision++) {
  const changes: [string, string | null][] = [
    [`task\t${revision}-0`, `ünïcode\t${revision}`],
    [`task.run\t${Math.ceil(revision / 2)}-0`, `run ${revision}`],
    [`answer\ts/${revision % 3}`, String(revision)],
  ];
  if (revision > 6) changes.push([`task\t${revision - 6}-0`, null], [`task.run\t${revision - 6}-0`, null]);
  const text = entryText(revision, 1000 + revision, changes);
  entries.push({ revision, text });
  const batch = { first: revision, last: revision, text };
  rows.push(asRead(encodeBatch(rows.at(-1)?.hash ?? firstHash, batch)));
}

type Old = {
  imageTo: number;
  imageFolding: number;
  baseTo: number;
  baseFolding: number;
  hasBase?: boolean;
};

/** The rows of a table that is as of `to`, every other key already as of `folding`. */
function halfFolded(to: number, folding: number): State {
  const state = stateAt(entries, to);
  const next = stateAt(entries, folding);
  for (const [index, id] of [...new Set([...state.keys(), ...next.keys()])].entries()) {
    if (index % 2 === 0) continue;
    const text = next.get(id);
    if (text === undefined) state.delete(id);
    else state.set(id, text);
  }
  return state;
}

function oldFolder({ hasBase = true, ...old }: Old, change: (db: Database) => void = () => {}): string {
  const folder = join(root, `data-${folderCount++}`);
  mkdirSync(folder);
  const db = new Database(join(folder, "cortex.db"), { create: true });
  db.run("PRAGMA journal_mode=WAL");
  db.run(`
    CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), text TEXT NOT NULL, pulse INTEGER NOT NULL) STRICT;
    CREATE TABLE log (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, text TEXT NOT NULL,
      checks TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
    CREATE TABLE image (part TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, "check" INTEGER NOT NULL,
      PRIMARY KEY (part, key)) WITHOUT ROWID, STRICT;
    CREATE TABLE base (part TEXT NOT NULL, key TEXT NOT NULL, text TEXT NOT NULL, "check" INTEGER NOT NULL,
      PRIMARY KEY (part, key)) WITHOUT ROWID, STRICT;`);
  const at = old.baseTo === 0 ? 0 : 1000 + old.baseTo;
  const hash = rows[old.baseTo - 1]?.hash ?? firstHash;
  const body = JSON.stringify({ format: 1, ...old, hasBase, hash, at, clock: 2 * old.baseTo });
  const check = Bun.hash.crc32(body).toString(16).padStart(8, "0");
  db.run("INSERT INTO meta VALUES (1, ?, 7)", [`${check} ${body}`]);
  for (const row of rows)
    if (row.first > old.baseTo)
      db.run("INSERT INTO log VALUES (?, ?, ?, ?, ?)", [row.first, row.last, row.text, row.checks, row.hash]);
  const fill = (table: string, state: State) => {
    for (const [id, text] of state) {
      const [part, key] = id.split("\t") as [string, string];
      const sum = Bun.hash.crc32(text, Bun.hash.crc32(key, Bun.hash.crc32(part)));
      db.run(`INSERT INTO ${table} VALUES (?, ?, ?, ?)`, [part, key, text, sum]);
    }
  };
  fill("image", halfFolded(old.imageTo, old.imageFolding));
  if (hasBase) fill("base", halfFolded(old.baseTo, old.baseFolding));
  change(db);
  db.close(true);
  const last = hasBase ? rows.at(-1)! : rows[old.imageTo - 1]!;
  const mark = new MarkFile(folder);
  mark.write(0, encodeMark({ revision: last.last, hash: last.hash, ceiling: 500, sequence: 4 }));
  mark.close();
  return folder;
}

async function opened(folder: string, recoverTo?: number) {
  const writer = new LogWriter(new SqliteStorage(folder), { recoverTo });
  const rebuilt = new Rebuilt();
  const found = await writer.open(rebuilt).catch(async (error) => {
    await writer.stop();
    throw error;
  });
  await writer.stop();
  return { found, state: sorted(rebuilt.state) };
}

describe("from format 1", () => {
  const folders: [string, Old][] = [
    ["whole images", { imageTo: 9, imageFolding: 9, baseTo: 3, baseFolding: 3 }],
    ["half folded images", { imageTo: 8, imageFolding: 11, baseTo: 2, baseFolding: 5 }],
    ["one image for both", { imageTo: 4, imageFolding: 4, baseTo: 4, baseFolding: 4 }],
    ["a base folding up to the image", { imageTo: 8, imageFolding: 8, baseTo: 2, baseFolding: 8 }],
    ["nothing folded yet", { imageTo: 0, imageFolding: 0, baseTo: 0, baseFolding: 0 }],
    ["one image, half folded", { imageTo: 4, imageFolding: 7, baseTo: 4, baseFolding: 4 }],
  ];
  test.each(folders)("migration - a folder with %s keeps its state, history and ceiling", async (_, old) => {
    const folder = oldFolder(old);
    const { found, state } = await opened(folder);
    expect(found).toMatchObject({ revision: 12, at: 1012, clock: 24 });
    expect(found.ceiling).toBeGreaterThanOrEqual(500);
    expect(found.notes.join()).toContain("migrated from format 1 to 2");
    expect(existsSync(join(folder, "cortex.format-1.db"))).toBe(true);
    expect(state).toEqual(sorted(stateAt(entries, 12)));
    expect(await inspectFolder(folder, true)).toMatchObject({ problems: [], recoverTo: 12 });
    expect((await opened(folder)).found.notes).toEqual([]);
    const from = Math.max(old.baseTo, old.baseFolding);
    for (let revision = 11; revision >= from; revision--) {
      const back = await opened(folder, revision);
      expect([back.found.revision, back.state]).toEqual([revision, sorted(stateAt(entries, revision))]);
    }
  });

  test("migration - a snapshot stays one", async () => {
    const to = { imageTo: 12, imageFolding: 12, baseTo: 12, baseFolding: 12 };
    const folder = oldFolder({ ...to, hasBase: false });
    const writer = new LogWriter(new SqliteStorage(folder), { mode: "snapshot" });
    const rebuilt = new Rebuilt();
    expect(await writer.open(rebuilt)).toMatchObject({ revision: 12, at: 1012 });
    await writer.stop();
    expect(sorted(rebuilt.state)).toEqual(sorted(stateAt(entries, 12)));
    expect(await inspectFolder(folder, true)).toMatchObject({ problems: [], isSnapshot: true });
  });

  const damages: [string, string][] = [
    ["a row", "UPDATE image SET text = text || '!' WHERE key = '9-0' AND part = 'task'"],
    ["an entry", "UPDATE log SET text = replace(text, 'run 10', 'run 11') WHERE first = 10"],
    ["the meta row", "UPDATE meta SET text = replace(text, '\"imageTo\":8', '\"imageTo\":7')"],
  ];
  test.each(damages)("migration - with %s damaged it is refused, and stays as it is", async (_, sql) => {
    const old = { imageTo: 8, imageFolding: 11, baseTo: 2, baseFolding: 5 };
    const folder = oldFolder(old, (db) => void db.run(sql));
    const error = await opened(folder).catch((error: LogError) => error);
    expect(error).toBeInstanceOf(LogError);
    expect(error).toMatchObject({ code: "data-folder-damaged" });
    const db = new Database(join(folder, "cortex.db"), { readonly: true });
    expect((db.query("SELECT text FROM meta").get() as { text: string }).text).toContain('"format":1');
    expect(db.query("SELECT count(*) AS count FROM base").get()).not.toEqual({ count: 0 });
    db.close();
  });
});
