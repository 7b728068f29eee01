/**
 * Where the namespaces of a daemon have their logs, and how one is made and dropped so that a kill at any moment
 * leaves either all of it or nothing. `default` lies in the data folder itself, the others in `namespaces/NAME`. One
 * that is being made holds the file `making` until its log stands; one that is dropped is moved to `dropped/` by one
 * rename and deleted there. What a killed process left of either is gone once the next one begins.
 *
 * The floor, a number in `dropped/floor`, lies at or above every revision of every namespace that was dropped, and a
 * new one begins above it: its name may have been another's, and a revision is never given twice (docs/decisions/0056).
 */
import { existsSync, readFileSync } from "node:fs";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { defaultNamespace } from "../wire/namespaces.ts";
import { isNamespace } from "../wire/schema.ts";
import { Journal } from "./journal.ts";
import { type Log, LogError } from "./log.ts";
import { MemoryLog } from "./memory.ts";
import { LogThread, ThreadLog, type ThreadLogOptions } from "./thread.ts";

export type Begun = {
  /** The namespaces that are there beside `default`, by name. */
  logs: [name: string, log: Log][];
  /** What was mended, or is left alone. */
  notes: string[];
};

/** What keeps the logs. Its calls come one at a time. */
export type Places = {
  /** Opened first and closed last: its lock is that of them all. */
  readonly default: Log;
  /** Once `default` is open. */
  begin(): Promise<Begun>;
  /** The log of a new namespace, to be opened. It does not count before `made`. */
  make(name: string): Promise<Log>;
  made(name: string): Promise<void>;
  /** Takes back `make`. */
  unmake(name: string): Promise<void>;
  /** New namespaces begin above this revision from now on. */
  raiseFloor(revision: number): Promise<void>;
  /** The namespace, whose log is closed, is gone for good once this resolves. */
  drop(name: string): Promise<void>;
  /** Makes room of what was dropped. */
  sweep(): Promise<void>;
};

export const placeOf = (data: string, name: string) =>
  name === defaultNamespace ? data : join(data, "namespaces", name);
export const isHalfMade = (folder: string) => existsSync(join(folder, "making"));

const floorFile = (data: string) => join(data, "dropped", "floor");
const sumOf = (floor: string) => Bun.hash.crc32(floor).toString(16);

/** 0: nothing was dropped yet. */
export function readFloor(data: string): number {
  const path = floorFile(data);
  if (!existsSync(path)) return 0;
  const [floor, sum] = readFileSync(path, "utf8").trim().split(" ");
  if (floor !== undefined && sum === sumOf(floor)) return Number(floor);
  throw new LogError(
    "data-folder-damaged",
    `${path} is damaged`,
    "It holds the revision above which new namespaces begin. Restore a backup, or delete it if no namespace was ever dropped.",
  );
}

export async function writeFloor(data: string, floor: number): Promise<void> {
  const path = floorFile(data);
  await mkdir(join(data, "dropped"), { recursive: true });
  await sync(data);
  // In the file's place by a rename: half of a number is another number.
  await write(`${path}.new`, `${floor} ${sumOf(String(floor))}\n`);
  await rename(`${path}.new`, path);
  await sync(join(data, "dropped"));
}

export type FolderOptions = {
  data: string;
  log: Omit<ThreadLogOptions, "within" | "startRevision" | "recoverTo">;
  /** Which namespace starts from an earlier revision. */
  recover?: { namespace: string; to: number } | undefined;
  /** Told before each thing that changes what is on disk. */
  step?: (name: string) => void;
};

export class FolderPlaces implements Places {
  readonly default: ThreadLog;
  readonly #data: string;
  readonly #inner: string;
  readonly #dropped: string;
  readonly #thread = new LogThread();
  readonly #step: (name: string) => void;
  #floor = 0;

  constructor(private readonly options: FolderOptions) {
    this.#data = options.data;
    this.#inner = join(options.data, "namespaces");
    this.#dropped = join(options.data, "dropped");
    this.#step = options.step ?? (() => {});
    const { recover } = options;
    if (recover !== undefined && !existsSync(placeOf(options.data, recover.namespace))) {
      throw new LogError(
        "data-folder-not-writable",
        `${options.data} holds no namespace ${recover.namespace} to recover`,
        "`cortexd verify` lists those that are there.",
      );
    }
    // A restore may have brought other namespaces alone.
    const startRevision = existsSync(join(options.data, "mark")) ? 0 : readFloor(options.data);
    const own = { ...this.#optionsOf(defaultNamespace), startRevision };
    this.default = new ThreadLog(options.data, own, this.#thread);
  }

  #optionsOf(name: string): ThreadLogOptions {
    const { recover } = this.options;
    const log = { journal: openJournal, ...this.options.log };
    return recover?.namespace === name ? { ...log, recoverTo: recover.to } : log;
  }

  #log(name: string, startRevision: number): ThreadLog {
    const options = { ...this.#optionsOf(name), startRevision, within: this.default };
    return new ThreadLog(placeOf(this.#data, name), options, this.#thread);
  }

  async begin(): Promise<Begun> {
    this.#floor = readFloor(this.#data);
    const notes: string[] = [];
    const swept = await this.#sweep();
    notes.push(
      ...swept.map((name) => `the namespace ${name.split(".")[0]} was dropped; what was left of it is gone`),
    );
    const logs: Begun["logs"] = [];
    for (const name of await namesIn(this.#inner)) {
      const folder = join(this.#inner, name);
      const files = await namesIn(folder);
      if (files.includes("making") || files.length === 0) {
        await rm(folder, { recursive: true });
        notes.push(`the namespace ${name} was half made, and nothing in it was acknowledged; it is gone`);
      } else if (!["cortex.db", "mark"].some((file) => files.includes(file)) || !isName(name))
        notes.push(`${folder} is no namespace's, and is left alone`);
      else logs.push([name, this.#log(name, 0)]);
    }
    return { logs, notes };
  }

  async make(name: string): Promise<Log> {
    const folder = placeOf(this.#data, name);
    this.#step("make the folder");
    await mkdir(folder, { recursive: true });
    this.#step("say that it is being made");
    await write(join(folder, "making"), "");
    for (const one of [folder, this.#inner, this.#data]) await sync(one);
    this.#step("open the log");
    return this.#log(name, this.#floor);
  }

  async made(name: string): Promise<void> {
    const folder = placeOf(this.#data, name);
    this.#step("say that it is made");
    await rm(join(folder, "making"));
    await sync(folder);
    this.#step("made");
  }

  async unmake(name: string): Promise<void> {
    await rm(placeOf(this.#data, name), { recursive: true, force: true });
  }

  async raiseFloor(revision: number): Promise<void> {
    if (revision <= this.#floor) return;
    this.#step("raise the floor");
    await writeFloor(this.#data, revision);
    this.#floor = revision;
  }

  async drop(name: string): Promise<void> {
    let goal = join(this.#dropped, `${name}.0`);
    for (let count = 1; existsSync(goal); count++) goal = join(this.#dropped, `${name}.${count}`);
    this.#step("move away");
    await mkdir(this.#dropped, { recursive: true });
    await sync(this.#data);
    await rename(placeOf(this.#data, name), goal);
    await sync(this.#inner);
    await sync(this.#dropped);
    this.#step("moved");
  }

  async sweep(): Promise<void> {
    this.#step("sweep");
    await this.#sweep();
    this.#step("swept");
  }

  async #sweep(): Promise<string[]> {
    const left = (await namesIn(this.#dropped)).filter((name) => !name.startsWith("floor"));
    for (const name of left) await rm(join(this.#dropped, name), { recursive: true });
    return left;
  }
}

/** Nothing on disk. `start` tells a revision above all that an earlier process gave out. */
export class MemoryPlaces implements Places {
  readonly default: MemoryLog;
  #floor = 0;

  constructor(private readonly start: () => number) {
    this.default = new MemoryLog(start());
  }

  async begin(): Promise<Begun> {
    return { logs: [], notes: [] };
  }
  async make(): Promise<Log> {
    return new MemoryLog(Math.max(this.start(), this.#floor));
  }
  async made(): Promise<void> {}
  async unmake(): Promise<void> {}
  async raiseFloor(revision: number): Promise<void> {
    this.#floor = Math.max(this.#floor, revision);
  }
  async drop(): Promise<void> {}
  async sweep(): Promise<void> {}
}

const openJournal = (folder: string) => new Journal(folder);

/** `default` is the data folder itself. */
const isName = (name: string) => isNamespace(name) && name !== defaultNamespace;

/** In their order; a folder that is not there, or is none, holds nothing. */
const namesIn = async (folder: string): Promise<string[]> =>
  existsSync(folder) ? (await readdir(folder).catch(() => [])).sort() : [];

async function write(path: string, text: string): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** So that names made, moved and removed in it outlive a crash. Windows cannot open folders, and needs no such thing. */
async function sync(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const file = await open(folder, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
