/** Files as the log needs them: written whole, synced, and where they were. Plain files, so that the loop has them too. */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readlinkSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import { LogError } from "./log.ts";

/**
 * A file that must stay where it is while it is open: written to after somebody deleted or replaced it, it would
 * take what nobody ever reads again.
 */
export class FixedFile {
  #identity: string | null = null;

  constructor(private readonly path: string) {}

  /** Throws unless the file is the one that was seen first. */
  check(): void {
    const found = statSync(this.path, { throwIfNoEntry: false });
    const identity = found === undefined ? null : `${found.dev}:${found.ino}`;
    this.#identity ??= identity;
    if (identity === null || identity !== this.#identity) throw replaced(this.path);
  }
}

/**
 * Such a file that we sync, whoever writes it. Where the kernel tells where an open file lies, it is asked for that alone:
 * a file whose times were looked at gets new ones with the next write, and its sync has to write those as well.
 */
export class SyncedFile {
  readonly #file: number;
  readonly #fixed: FixedFile;
  readonly #place: string | null;

  constructor(private readonly path: string) {
    this.#file = openSync(path, "r+");
    this.#fixed = new FixedFile(path);
    this.#place = placeOf(this.#file);
  }

  write(bytes: Uint8Array, position: number): void {
    writeWhole(this.#file, bytes, position);
  }

  sync(): void {
    fdatasyncSync(this.#file);
  }

  /** Throws unless the file is still where it was. */
  check(): void {
    if (this.#place === null) this.#fixed.check();
    else if (placeOf(this.#file) !== this.#place) throw replaced(this.path);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Null where there is no such folder: elsewhere than on Linux. */
function placeOf(file: number): string | null {
  try {
    return readlinkSync(`/proc/self/fd/${file}`);
  } catch {
    return null;
  }
}

const replaced = (path: string) =>
  new LogError(
    "log-failed",
    `${path} was deleted or replaced while it was in use`,
    "Put the folder back if you can, or restore a backup; `cortexd verify` says whether it is whole. Then start again.",
  );

export function writeWhole(file: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(file, bytes, done, bytes.length - done, position + done);
  }
}

/** The first bytes of a file, where there is one. */
export function readStart(path: string, length: number): string {
  if (!existsSync(path)) return "";
  const bytes = Buffer.alloc(length);
  const file = openSync(path, "r");
  try {
    return bytes.toString("latin1", 0, readSync(file, bytes, 0, length, 0));
  } finally {
    closeSync(file);
  }
}

/** A new file of so many bytes, the block again and again; synced. */
export function writeNew(path: string, size: number, block: Buffer): void {
  const file = openSync(path, "w");
  try {
    for (let at = 0; at < size; at += block.length) writeWhole(file, block, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

export function syncFile(path: string): void {
  const file = openSync(path, "r+");
  fsyncSync(file);
  closeSync(file);
}

/** So that a new file's name outlives a crash too. Windows cannot open folders, and needs no such thing. */
export function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const file = openSync(folder, "r");
  fsyncSync(file);
  closeSync(file);
}
