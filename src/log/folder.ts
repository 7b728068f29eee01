/**
 * The data folder around the database: the lock that one process holds, the mark's two slots and the ballast. Plain
 * files and the kernel, nothing of SQLite but the fallback lock. A lock is held by the kernel, never by a file's
 * existence, so that it goes with its process however that ends.
 */

import { dlopen, FFIType } from "bun:ffi";
import { Database } from "bun:sqlite";
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { FixedFile, syncFolder, writeNew, writeWhole } from "./files.ts";
import { markTextLength } from "./format.ts";
import { LogError } from "./log.ts";

/** A slot each on its own page: a torn write of one cannot reach the other. */
const slotDistance = 4096;
export const ballastBytes = 8 * 1024 * 1024;

/**
 * Creates the folder; refuses one that cannot be written. `hasLock`: it is one that is locked by itself. A restore that
 * was killed in its swap is finished first.
 */
export function makeFolder(folder: string, hasLock: boolean): void {
  try {
    finishRestore(folder);
    // One that is there may be moved away at this moment: then it must not be made anew.
    if (!existsSync(folder)) mkdirSync(folder, { recursive: true });
    if (hasLock) closeSync(openSync(join(folder, "lock"), "a+"));
  } catch (error) {
    throw notWritable(folder, (error as Error).message);
  }
}

export function notWritable(folder: string, why: string): LogError {
  return new LogError(
    "data-folder-not-writable",
    `${folder} cannot be written: ${why}`,
    "Give this user the right to write it, or name another folder with --data.",
  );
}

export function notReadable(folder: string, why: string): LogError {
  return new LogError(
    "data-folder-not-writable",
    `${folder} cannot be read: ${why}`,
    "Give this user the right to read it, or name another folder.",
  );
}

/**
 * Keeps owners out while others may read beside: the result lets them in. Null: the folder has an owner, or locks
 * cannot be shared here. Writes nothing.
 */
export function shareFolder(folder: string): (() => void) | null {
  const flock = loadFlock();
  if (flock === null) return null;
  const file = openSync(folder, "r");
  if (flock(file, sharedLock | nonBlocking) === 0) return () => closeSync(file);
  closeSync(file);
  return null;
}

/**
 * Takes the folder's lock; the result lets it go. It is the folder itself that is locked: a lock file could be
 * deleted, and the next process would lock a new one. The file `lock` only says who holds it.
 */
export function lockFolder(folder: string): () => void {
  const path = join(folder, "lock");
  const flock = loadFlock();
  if (flock === null) return lockBySqlite(folder, path);
  const file = openSync(folder, "r");
  if (flock(file, exclusiveLock | nonBlocking) !== 0) {
    const holder = existsSync(path) ? readFileSync(path, "utf8").trim() : "";
    closeSync(file);
    throw inUse(folder, holder === "" ? "another process" : `process ${holder}`);
  }
  writeFileSync(path, `${process.pid}\n`);
  let held = true;
  return () => {
    // Closed twice, its number could be somebody else's file by then.
    if (held) closeSync(file);
    held = false;
  };
}

function inUse(folder: string, holder: string): LogError {
  return new LogError(
    "data-folder-in-use",
    `${folder} is in use by ${holder}`,
    "Stop it first, or give each coordinator a folder of its own with --data.",
  );
}

const sharedLock = 1;
const exclusiveLock = 2;
const nonBlocking = 4;
type Flock = (file: number, operation: number) => number;

/** Null where the C library has none or cannot be found: Windows, an unusual libc. */
function loadFlock(): Flock | null {
  const libraries = {
    linux: ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`],
    darwin: ["libSystem.B.dylib"],
  };
  for (const library of libraries[process.platform as keyof typeof libraries] ?? []) {
    try {
      const { symbols } = dlopen(library, {
        flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
      });
      return symbols.flock;
    } catch {
      // The next name.
    }
  }
  return null;
}

/** The lock file is then a database of its own, so that the one beside it stays open to readers. */
export function lockBySqlite(folder: string, path: string): () => void {
  const database = new Database(path, { create: true, readwrite: true, strict: true });
  try {
    database.run("PRAGMA locking_mode=EXCLUSIVE");
    database.run("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if ((error as { code?: string }).code === "SQLITE_BUSY") throw inUse(folder, "another process");
    throw error;
  }
  return () => database.close();
}

/** The mark's file. */
export class MarkFile {
  readonly #folder: string;
  readonly #path: string;
  readonly #fixed: FixedFile;
  #file: number | null = null;

  constructor(folder: string) {
    this.#folder = folder;
    this.#path = join(folder, "mark");
    this.#fixed = new FixedFile(this.#path);
  }

  read(): string[] {
    if (!existsSync(this.#path)) return [];
    const bytes = readFileSync(this.#path);
    return [0, 1].map((slot) => {
      const text = bytes
        .subarray(slot * slotDistance, slot * slotDistance + markTextLength)
        .toString("latin1");
      return text.replace(/\0+$/, "");
    });
  }

  write(slot: 0 | 1, text: string): void {
    if (this.#file === null) {
      const isNew = !existsSync(this.#path);
      this.#file = openSync(this.#path, constants.O_RDWR | constants.O_CREAT, 0o644);
      if (isNew) {
        writeWhole(this.#file, Buffer.alloc(2 * slotDistance), 0);
        fsyncSync(this.#file);
        syncFolder(this.#folder);
      }
    }
    writeWhole(this.#file, Buffer.from(text, "latin1"), slot * slotDistance);
    fsyncSync(this.#file);
    this.#fixed.check();
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }
}

/** Beside a data folder, while a restore swaps it (restore.ts): what takes its place, and what stood there before. */
export const restoredName = (data: string, stamp: number) => `${data}.restored-${stamp}`;
export const beforeName = (data: string, stamp: number) => `${data}.before-restore-${stamp}`;

/**
 * The second half of a swap: where a data folder is gone and both the one that was moved away and the one that was
 * restored stand beside it, the restored one takes its place.
 */
export function finishRestore(data: string): void {
  const parent = dirname(data);
  if (existsSync(data) || !existsSync(parent)) return;
  const start = `${basename(data)}.restored-`;
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(start) || !existsSync(beforeName(data, Number(name.slice(start.length))))) continue;
    try {
      renameSync(join(parent, name), data);
      syncFolder(parent);
    } catch (error) {
      // Two may finish it at once.
      if (!existsSync(data)) throw error;
    }
    return;
  }
}

/** A new folder beside its goal, for what is moved there once it is whole; what a killed process left in it is gone. */
export function stage(path: string): () => void {
  makeFolder(path, true);
  const unlock = lockFolder(path);
  for (const name of readdirSync(path)) {
    if (name !== "lock") rmSync(join(path, name), { recursive: true });
  }
  return unlock;
}

/** What the file system lets this user have; 0 when it does not say. */
export function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return 0;
  }
}

/**
 * Room held back: on a full disk deletes and checkpoints need some too. Taken only where three times as much is
 * free, so that taking it again does not fill the disk again.
 */
export class Ballast {
  readonly #folder: string;
  readonly #path: string;
  #isThere: boolean;

  constructor(folder: string) {
    this.#folder = folder;
    this.#path = join(folder, "ballast");
    this.#isThere = existsSync(this.#path);
  }

  get isThere(): boolean {
    return this.#isThere;
  }

  take(): void {
    if (this.#isThere) return;
    try {
      if (freeBytes(this.#folder) < 3 * ballastBytes) return;
      // Not zeros alone: a file system that compresses or skips them would hold nothing back.
      const block = Buffer.from(crypto.getRandomValues(new Uint8Array(64 * 1024)));
      writeNew(this.#path, ballastBytes, block);
      this.#isThere = true;
    } catch {
      this.free();
    }
  }

  free(): void {
    try {
      unlinkSync(this.#path);
    } catch {
      // It was not there.
    }
    this.#isThere = false;
  }
}
