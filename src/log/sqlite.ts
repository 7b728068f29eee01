/**
 * The storage port over one SQLite file in a data folder: `cortex.db`, beside it `mark`, `journal`, `lock` and `ballast`. It is
 * the one place that speaks SQL, with archive-table.ts. Every call works synchronously and answers with a settled promise, so it belongs on
 * a thread of its own. Errors are told apart here: a full disk is a result, a damaged or unwritable folder a
 * LogError, anything else is thrown as it came and ends the log.
 */
import { constants, Database, type SQLQueryBindings, type Statement } from "bun:sqlite";
import { rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { ArchivePage, ArchivePlace, ArchiveSearch } from "./archive.ts";
import { ArchiveTable, archiveSchema } from "./archive-table.ts";
import { FixedFile, SyncedFile, syncFile, syncFolder } from "./files.ts";
import { Ballast, freeBytes, lockFolder, MarkFile, makeFolder, notReadable, notWritable } from "./folder.ts";
import {
  decodeImage,
  encodeBatch,
  firstImage,
  formatOf,
  formatVersion,
  isLarge,
  type LogRow,
  type NewRow,
} from "./format.ts";
import { emptyJournal, type Journaled, makeJournal, readJournal } from "./journal.ts";
import { LogError } from "./log.ts";
import type { OldStorage } from "./migrate.ts";
import type { Write } from "./storage.ts";

/** What waits in the write-ahead file is checkpointed past this when nothing waits, past that in any case. */
const idleWalBytes = 1024 * 1024;
const busyWalBytes = 16 * 1024 * 1024;
/** A file that a burst made longer is cut to this when it is begun anew. */
const keptWalBytes = 64 * 1024 * 1024;
const idleTidiesPerBallast = 200;
/** How long to wait for somebody who has the database for a moment. */
const busyMs = 5000;

/** A piece lies in a row of its own, so that nothing else is read or moved with it. */
const imageSchema = `
  CREATE TABLE images (upto INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
  CREATE TABLE pieces (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;`;

/** Of a new database. Batches and pieces fill many pages, and each costs two calls and a checksum. */
const newPageBytes = 8192;
/** Hardly a page is looked at twice, and one that is new to the cache costs a page fault: more than writing it. */
const cacheKiB = 4096;

/** `pulse` is there to be changed: what tries whether there is room must write. */
const schema = `
  CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), text TEXT NOT NULL, pulse INTEGER NOT NULL) STRICT;
  CREATE TABLE log (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, text TEXT NOT NULL,
    checks TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
  ${imageSchema} ${archiveSchema}`;

/** A row of broken pages: null comes out of columns that never hold it. What checks the row must see it, and not trip. */
type Broken<R> = { [C in keyof R]: R[C] extends string ? string | null : R[C] };

export class SqliteStorage implements OldStorage {
  readonly name: string;
  readonly #path: string;
  readonly #mark: MarkFile;
  readonly #file: FixedFile;
  /** The write-ahead file; null: not open. */
  #wal: SyncedFile | null = null;
  #ballast: Ballast | null = null;
  #unlock: (() => void) | null = null;
  #db: Database | null = null;
  #statements = new Map<string, Statement>();
  readonly #archive = new ArchiveTable((sql) => this.#statement(sql));
  /** A write or sync failed: what the handle says since then is worth nothing. */
  #isBroken = false;
  #tidiesSinceBallast = 0;

  /** Of a reader: the mark as it was before the database was looked at, and what the journal held beyond that. */
  #slots: string[] | null = null;
  #journaled: LogRow[] = [];
  #loss: string | null = null;

  /** `within`: an open storage whose folder holds this one; its lock and its ballast serve both. */
  constructor(
    folder: string,
    private readonly within?: SqliteStorage,
    private readonly access: "own" | "follow" | "read" | "read unowned" = "own",
  ) {
    this.name = folder;
    this.#path = join(folder, "cortex.db");
    this.#mark = new MarkFile(folder);
    this.#file = new FixedFile(this.#path);
  }

  /**
   * Takes no lock, changes nothing, and sees the database as of one moment, beside its owner too. `isUnowned`: the
   * caller keeps owners out meanwhile; then not even SQLite's own side files are made.
   */
  static reader(folder: string, isUnowned: boolean): SqliteStorage {
    return new SqliteStorage(folder, undefined, isUnowned ? "read unowned" : "read");
  }

  /** As a reader, beside the owner in this process; what it sees is chosen moment by moment. */
  static follower(folder: string): SqliteStorage {
    return new SqliteStorage(folder, undefined, "follow");
  }

  async open(): Promise<void> {
    if (this.access !== "own") return this.#openToRead();
    makeFolder(this.name, this.within === undefined);
    if (this.within === undefined) this.#unlock = lockFolder(this.name);
    const ballast = (this.within === undefined ? null : this.within.#ballast) ?? new Ballast(this.name);
    this.#ballast = ballast;
    try {
      this.#connect();
    } catch (error) {
      // Opening needs some room too, the shared-memory file included.
      if (!isFull(error) && codeOf(error) !== "SQLITE_IOERR_SHMSIZE") throw this.#named(error);
      this.#disconnect();
      ballast.free();
      try {
        this.#connect();
      } catch (again) {
        throw this.#named(again);
      }
    }
    ballast.take();
  }

  /**
   * The mark and the journal first: the database only grows beyond them, so what is read after must hold all that the
   * mark covers, and whatever was in the journal before and is not any more.
   */
  #openToRead(): void {
    try {
      this.#slots = this.#mark.read();
      const journaled = this.access === "follow" ? [] : readJournal(this.name);
      this.#db = reading(this.#path, this.access === "read unowned");
      if (this.access === "follow") return;
      this.#db.run("BEGIN");
      this.#read("SELECT count(*) FROM sqlite_schema");
      if (journaled.length === 0) return;
      const { rows, loss } = beyondEnd(this.#db, journaled);
      this.#journaled = rows;
      this.#loss = loss;
    } catch (error) {
      throw this.#named(error);
    }
  }

  /** Of a follower: all that `read` sees is of the moment when it began, and nothing is held once it is done. */
  async atOneMoment<T>(read: () => Promise<T>): Promise<T> {
    this.#run("BEGIN");
    try {
      return await read();
    } finally {
      this.#run("COMMIT");
    }
  }

  /** What is wrong with the database's own pages, in SQLite's words. */
  async brokenPages(): Promise<string[]> {
    const lines = this.#read("PRAGMA integrity_check(8)").map(([text]) => String(text));
    return lines.filter((line) => line !== "ok");
  }

  #connect(): void {
    const db = new Database(this.#path, { create: true, readwrite: true, strict: true });
    this.#db = db;
    db.run(`PRAGMA busy_timeout=${busyMs}`);
    db.run(`PRAGMA page_size=${newPageBytes}`);
    db.run("PRAGMA journal_mode=WAL");
    db.run("PRAGMA wal_autocheckpoint=0");
    db.run(`PRAGMA journal_size_limit=${keptWalBytes}`);
    db.run(`PRAGMA cache_size=-${cacheKiB}`);
    db.run("PRAGMA temp_store=MEMORY");
    db.run("PRAGMA synchronous=FULL");
    // Only an empty file is given tables: one of another format is looked at, not touched.
    if (this.#read("SELECT count(*) FROM sqlite_schema")[0]![0] === 0) {
      db.run(`BEGIN IMMEDIATE; ${schema} COMMIT;`);
      syncFolder(this.name);
    }
    // From here on commits are synced by `commit`.
    db.run("PRAGMA synchronous=NORMAL");
    this.#wal = new SyncedFile(`${this.#path}-wal`);
    this.#takeJournaled();
  }

  /** What a crash left in the journal alone. What does not follow the log is left where it is, for whoever looks into it. */
  #takeJournaled(): void {
    const journaled = readJournal(this.name);
    const format = journaled.length === 0 ? null : formatOf(this.#metaText() ?? "");
    if (format === null || format > formatVersion) return;
    const { rows, loss } = beyondEnd(this.#open(), journaled);
    this.#loss = loss;
    if (loss !== null) return;
    addRows(this.#open(), rows);
    this.#wal?.sync();
    emptyJournal(this.name);
  }

  #disconnect(): void {
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
    this.#db?.close();
    this.#db = null;
    this.#wal?.close();
    this.#wal = null;
  }

  async readMeta(): Promise<string | null> {
    return this.#metaText();
  }

  #metaText(): string | null {
    return (this.#read("SELECT text FROM meta")[0]?.[0] as string | undefined) ?? null;
  }

  async readLoss(): Promise<string | null> {
    return this.#loss;
  }

  async makeJournal(): Promise<boolean> {
    return makeJournal(this.name);
  }

  async countLog(): Promise<number> {
    return (this.#read("SELECT count(*) FROM log")[0]![0] as number) + this.#journaled.length;
  }

  async readImages(): Promise<{ upto: number; text: string }[]> {
    const rows = this.#read("SELECT upto, text FROM images ORDER BY upto") as [number, string | null][];
    return rows.map(([upto, text]) => ({ upto, text: text ?? "" }));
  }

  async readPiece(id: number): Promise<Uint8Array | null> {
    return (this.#read("SELECT bytes FROM pieces WHERE id = ?", id)[0]?.[0] as Uint8Array) ?? null;
  }

  async pieceIds(): Promise<number[]> {
    return this.#read("SELECT id FROM pieces ORDER BY id").map(([id]) => id as number);
  }

  async batchAt(revision: number): Promise<number | null> {
    const journaled = this.#journaled.findLast(({ first }) => first <= revision);
    if (journaled !== undefined) return journaled.first;
    const sql = "SELECT first FROM log WHERE first <= ? ORDER BY first DESC LIMIT 1";
    return (this.#read(sql, revision)[0]?.[0] as number | undefined) ?? null;
  }

  async oldestLog(countMax: number): Promise<number[]> {
    return this.#read("SELECT first FROM log ORDER BY first LIMIT ?", countMax).map(
      ([first]) => first as number,
    );
  }

  async beginFormat2(): Promise<void> {
    this.#open().run(
      `BEGIN; DROP TABLE IF EXISTS images; DROP TABLE IF EXISTS pieces; ${imageSchema} COMMIT;`,
    );
  }

  async readRows(
    table: "image" | "base",
    after: { part: string; key: string } | null,
    countMax: number,
  ): Promise<[string, string, string, number][]> {
    const sql = `SELECT part, key, text, "check" FROM ${table} WHERE (part, key) > (?, ?) ORDER BY part, key LIMIT ?`;
    const rows = this.#read(sql, after?.part ?? "", after?.key ?? "", countMax);
    return rows as [string, string, string, number][];
  }

  async endFormat2(images: readonly { upto: number; text: string }[], meta: string): Promise<void> {
    const db = this.#open();
    // What was read stands in statements that would keep the tables.
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
    db.transaction(() => {
      for (const { upto, text } of images)
        db.run("INSERT INTO images (upto, text) VALUES (?, ?)", [upto, text]);
      db.run("UPDATE meta SET text = ?, pulse = pulse + 1", [meta]);
      db.run("DROP TABLE image");
      db.run("DROP TABLE base");
    })();
    this.#wal?.sync();
  }

  async readLog(after: number, bytesMax: number): Promise<LogRow[]> {
    const sql = "SELECT first, last, text, checks, hash FROM log WHERE first > ? ORDER BY first";
    const page: LogRow[] = [];
    let bytes = 0;
    try {
      for (const row of this.#statement(sql).iterate(after)) {
        const { first, last, text, checks, hash } = row as Broken<LogRow>;
        const whole = unpack(text ?? "");
        page.push({ first, last, text: whole, checks: checks ?? "", hash: hash ?? "" });
        bytes += whole.length;
        if (bytes >= bytesMax) return page;
      }
    } catch (error) {
      throw this.#named(error);
    }
    page.push(...this.#journaled.filter(({ first }) => first > after));
    return page;
  }

  async countArchived(): Promise<number> {
    return this.#archive.count();
  }

  async oldestArchived(countMax: number): Promise<ArchivePlace[]> {
    return this.#archive.oldest(countMax);
  }

  async readArchived(id: string): Promise<string | null> {
    return this.#archive.read(id);
  }

  async searchArchive(search: ArchiveSearch): Promise<ArchivePage> {
    return this.#archive.search(search);
  }

  async commit(write: Write, sync: boolean): Promise<"done" | "full"> {
    const db = this.#open();
    try {
      this.#run("BEGIN IMMEDIATE");
      this.#apply(write, sync);
      this.#run("COMMIT");
    } catch (error) {
      const full = isFull(error);
      // A full disk may have ended the transaction already. After anything else the handle is not used again.
      if (full && db.inTransaction) this.#run("ROLLBACK");
      if (full) return "full";
      throw this.#broken(error);
    }
    try {
      // SQLite would sync when the file was written to as well: on many file systems one more write to wait for.
      if (sync) this.#wal?.sync();
      if (write.dropAbove !== undefined) this.#giveUpJournal();
      this.#file.check();
      this.#wal?.check();
    } catch (error) {
      // It is written and cannot be taken back: here a full disk is final too.
      throw this.#broken(error);
    }
    return "done";
  }

  /** What was cut off must not come back. */
  #giveUpJournal(): void {
    emptyJournal(this.name);
    this.#loss = null;
  }

  #broken(error: unknown): unknown {
    this.#isBroken = true;
    return this.#named(error);
  }

  #apply(write: Write, sync: boolean): void {
    const { log = [], image } = write;
    if (write.dropAbove !== undefined) this.#run("DELETE FROM log WHERE first > ?", write.dropAbove);
    if (write.dropThrough !== undefined) this.#run("DELETE FROM log WHERE first <= ?", write.dropThrough);
    for (const upto of write.dropImages ?? []) this.#run("DELETE FROM images WHERE upto = ?", upto);
    for (const id of write.dropPieces ?? []) this.#run("DELETE FROM pieces WHERE id = ?", id);
    for (const row of log) this.#run(rowSql, ...columnsOf(row));
    for (const { id, bytes } of write.pieces ?? [])
      this.#run("INSERT OR REPLACE INTO pieces (id, bytes) VALUES (?, ?)", id, bytes);
    if (image !== undefined)
      this.#run("INSERT OR REPLACE INTO images (upto, text) VALUES (?, ?)", image.upto, image.text);
    for (const id of write.dropArchived ?? []) this.#archive.drop(id);
    if (write.archive !== undefined && !this.#archive.isThere) this.#open().run(archiveSchema);
    for (const row of write.archive ?? []) this.#archive.put(row);
    if (write.meta !== undefined) {
      const sql =
        "INSERT INTO meta (id, text, pulse) VALUES (1, ?, 0) ON CONFLICT (id) DO UPDATE SET text = excluded.text, pulse = pulse + 1";
      this.#run(sql, write.meta);
    } else if (sync && log.length === 0) this.#run("UPDATE meta SET pulse = pulse + 1");
  }

  async readMark(): Promise<string[]> {
    return this.#slots ?? this.#mark.read();
  }

  async writeMark(slot: 0 | 1, text: string): Promise<void> {
    this.#mark.write(slot, text);
  }

  async makeRoom(): Promise<void> {
    this.#ballast?.free();
    this.#tidiesSinceBallast = 0;
    // A checkpoint that cannot finish would only eat the room.
    if (freeBytes(this.name) > this.#walBytes()) this.#checkpoint("TRUNCATE");
  }

  async tidy(idle: boolean): Promise<void> {
    // A file that is checkpointed whole is written from its start again: a sync is a third cheaper where it need not grow.
    if (this.#uncheckpointedBytes() > (idle ? idleWalBytes : busyWalBytes)) this.#checkpoint("PASSIVE");
    if (!idle || this.#ballast?.isThere !== false) return;
    if (++this.#tidiesSinceBallast % idleTidiesPerBallast === 0) this.#ballast.take();
  }

  #checkpoint(mode: "PASSIVE" | "TRUNCATE"): void {
    try {
      // To truncate, it would wait for whoever reads (a backup does so for long), and appends with it.
      this.#open().run("PRAGMA busy_timeout=0");
      this.#read(`PRAGMA wal_checkpoint(${mode})`);
    } catch (error) {
      // Without room it is tried again later, and so while somebody else reads.
      if (!isFull(error) && codeOf(error) !== "SQLITE_BUSY" && codeOf(error) !== "SQLITE_LOCKED") throw error;
    } finally {
      this.#open().run(`PRAGMA busy_timeout=${busyMs}`);
    }
  }

  #uncheckpointedBytes(): number {
    const [[, pages, done]] = this.#read("PRAGMA wal_checkpoint(NOOP)") as [[number, number, number]];
    return (pages - done) * (this.#read("PRAGMA page_size")[0]![0] as number);
  }

  #walBytes(): number {
    return statSync(`${this.#path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  }

  async copyTo(name: string): Promise<void> {
    const path = join(this.name, name);
    rmSync(path, { force: true });
    this.#open().run("VACUUM INTO ?", [path]);
    syncFolder(this.name);
  }

  async close(isWhole = false): Promise<void> {
    // Closing would checkpoint what may not be there. The folder stays locked until the process ends, as it must.
    if (this.#isBroken) return;
    try {
      if (isWhole) emptyJournal(this.name);
      this.#disconnect();
      this.#mark.close();
    } catch {
      // What was acknowledged is on disk, and after a failure nothing more can be done.
    }
    this.#unlock?.();
    this.#unlock = null;
  }

  #open(): Database {
    if (this.#db === null) throw new Error(`${this.name} is not open`);
    return this.#db;
  }

  #statement(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#open().prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #run(sql: string, ...values: SQLQueryBindings[]): void {
    this.#statement(sql).run(...values);
  }

  #read(sql: string, ...values: SQLQueryBindings[]): unknown[][] {
    try {
      return this.#statement(sql).values(...values) as unknown[][];
    } catch (error) {
      throw this.#named(error);
    }
  }

  #named(error: unknown): unknown {
    return named(error, this.name, this.access === "own");
  }
}

const rowSql =
  "INSERT OR REPLACE INTO log (first, last, text, checks, hash) VALUES (?, ?, CAST(? AS TEXT), ?, ?)";
const columnsOf = ({ first, last, bytes, checks, hash }: NewRow) =>
  [first, last, isLarge(bytes) ? pack(bytes) : bytes, checks, hash] as const;

function addRows(db: Database, rows: readonly NewRow[]): void {
  db.transaction(() => {
    for (const row of rows) db.run(rowSql, [...columnsOf(row)]);
  })();
}

type Beyond = LogRow & NewRow;
/** Of what a journal holds, the rows that follow the log's last; `loss`: there is a hole between them. */
function beyondEnd(db: Database, journaled: readonly Journaled[]): { rows: Beyond[]; loss: string | null } {
  const { last, hash } = endOf(db);
  const beyond = journaled.filter(({ first }) => first > last);
  const [next] = beyond;
  if (next === undefined || next.previous === hash)
    return { rows: beyond.map((one) => ({ ...one, ...encodeBatch(one.previous, one) })), loss: null };
  const loss = `the journal goes on at revision ${next.first}, but the log ends at revision ${last}`;
  return { rows: [], loss };
}

function endOf(db: Database): { last: number; hash: string } {
  const row = db.query("SELECT last, hash FROM log ORDER BY first DESC LIMIT 1").get();
  if (row !== null) return row as { last: number; hash: string };
  const image = db.query("SELECT text FROM images ORDER BY upto DESC LIMIT 1").get() as {
    text: string;
  } | null;
  const { upto, hash } = decodeImage(image?.text ?? "") ?? firstImage;
  return { last: upto, hash };
}

/** No text of a batch begins like this. The rest is base64, because the column holds text and nothing else. */
const packedStart = "zstd ";

const pack = (bytes: Uint8Array): string =>
  packedStart + Bun.zstdCompressSync(bytes, { level: 1 }).toString("base64");

/** What cannot be unpacked is as it stands, and so no batch. */
function unpack(text: string): string {
  if (!text.startsWith(packedStart)) return text;
  try {
    return Bun.zstdDecompressSync(Buffer.from(text.slice(packedStart.length), "base64")).toString("utf8");
  } catch {
    return text;
  }
}

const damaged = (path: string, message: string) =>
  new LogError(
    "data-folder-damaged",
    `${path} is damaged: ${message}`,
    "`cortexd verify` says where. Restore a backup (`cortexd restore FROM`); to start anew, move the folder away.",
  );

/** The errors that say something about the folder rather than about this moment. */
function named(error: unknown, folder: string, isOwner: boolean): unknown {
  const code = codeOf(error);
  const message = (error as Error).message;
  if (/^SQLITE_(NOTADB|CORRUPT|FORMAT|SCHEMA|ERROR|MISMATCH)/.test(code)) {
    return damaged(join(folder, "cortex.db"), message);
  }
  if (/^SQLITE_(READONLY|CANTOPEN|PERM|AUTH)/.test(code)) {
    return isOwner ? notWritable(folder, message) : notReadable(folder, message);
  }
  return error;
}

function reading(path: string, isUnowned: boolean): Database {
  const { SQLITE_OPEN_READONLY, SQLITE_OPEN_URI } = constants;
  // With nothing in a write-ahead file the database is all there is, and nobody changes it.
  const isAlone = isUnowned && (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0;
  const url = `${pathToFileURL(path).href}${isAlone ? "?immutable=1" : ""}`;
  const db = new Database(url, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
  db.run(`PRAGMA busy_timeout=${busyMs}`);
  return db;
}

/**
 * Copies a folder's database into a new file as it is at one moment, beside its owner too, and syncs it. Resolves with
 * the mark as it was before: the copy holds all that it covers.
 */
export function copyDatabase(folder: string, isUnowned: boolean, path: string): string[] {
  const slots = new MarkFile(folder).read();
  const journaled = readJournal(folder);
  try {
    const db = reading(join(folder, "cortex.db"), isUnowned);
    try {
      db.run("VACUUM INTO ?", [path]);
    } finally {
      db.close();
    }
    if (journaled.length > 0) addJournaled(path, journaled);
    syncFile(path);
    return slots;
  } catch (error) {
    if (isFull(error)) throw notWritable(dirname(path), "its disk is full");
    throw named(error, folder, false);
  }
}

function addJournaled(path: string, journaled: readonly Journaled[]): void {
  const copy = new Database(path, { readwrite: true, strict: true });
  try {
    const { rows, loss } = beyondEnd(copy, journaled);
    if (loss !== null) throw damaged(path, loss);
    addRows(copy, rows);
  } finally {
    copy.close();
  }
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code ?? "");
}

function isFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === "SQLITE_FULL" || code === "ENOSPC";
}
