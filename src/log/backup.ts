/**
 * A backup: a folder with a copy of each namespace's database, and a manifest that says what it must be. It is made
 * beside the running daemon: the copy is what one read transaction sees, so every entry that was durable before is in
 * it whole. The mark lies in the manifest and not beside the database, so that no daemon starts on a backup: only a
 * restore knows how to go on above the revisions that were given out after it. Nothing counts as a backup before it
 * was read back: until then it lies under another name.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { syncFile, syncFolder } from "./files.ts";
import { MarkFile, shareFolder, stage } from "./folder.ts";
import { encodeMark, newestMark } from "./format.ts";
import { LogError } from "./log.ts";
import { readFloor } from "./namespaces.ts";
import { copyDatabase } from "./sqlite.ts";
import { inspectFolder, type Place, placesOf, type Reading, unheard } from "./verify.ts";

export type BackedUp = {
  name: string;
  /** Below the backup's folder. */
  file: string;
  bytes: number;
  sha256: string;
  /** A snapshot's backup is as of the last snapshot. */
  log: "snapshot" | "wal";
  /** The last entry in it, with the chain's hash and the wall clock there. */
  revision: number;
  hash: string;
  at: number;
  /** Every revision that had left the daemon lies at or below it. */
  ceiling: number;
  /** The state at any revision after this one can be had from it. */
  historyFrom: number;
  rowCount: number;
  entryCount: number;
};

export type Manifest = {
  cortexBackup: 1;
  version: string;
  /** Wall clock before the first database was read. */
  at: number;
  /** Every revision that had left any namespace, whether it is in the backup or not, lies at or below it. */
  floor: number;
  namespaces: BackedUp[];
};

export type BackupOptions = {
  data: string;
  to: string;
  namespace?: string;
  version: string;
  now: number;
  /** Of the copies, as they are read back. */
  reading?: Reading;
};

export async function backup({
  data,
  to,
  namespace,
  version,
  now,
  reading = unheard,
}: BackupOptions): Promise<Manifest> {
  if (existsSync(to)) {
    throw new LogError(
      "data-folder-not-writable",
      `${to} is there already, and a backup replaces nothing`,
      "Name a folder that is not there yet, such as one with the date.",
    );
  }
  const places = placesOf(data).filter(({ name }) => namespace === undefined || name === namespace);
  if (places.length === 0) throw nothingThere(data, namespace);
  const partial = `${to}.partial`;
  const unlock = stage(partial);
  const letIn = shareFolder(data);
  try {
    const namespaces: BackedUp[] = [];
    for (const { name, folder } of places) {
      const file = `${name}/cortex.db`;
      mkdirSync(join(partial, name));
      const before = copyDatabase(folder, letIn !== null, join(partial, file));
      const found = await inspectFolder(join(partial, name), true, before, (done, total) =>
        reading(name, done, total),
      );
      if (found.problems.length > 0) throw damagedSource(folder, found.problems);
      const ceiling = newestMark(new MarkFile(folder).read())?.ceiling ?? 0;
      syncFolder(join(partial, name));
      namespaces.push({
        ...{ name, file, ...(await sumOf(join(partial, file))) },
        ...{
          log: found.isSnapshot ? "snapshot" : "wal",
          revision: found.logTo,
          hash: found.hash,
          at: found.at,
        },
        ...{ ceiling: Math.max(ceiling, found.logTo), historyFrom: found.logFrom },
        ...{ rowCount: found.rowCount, entryCount: found.entryCount },
      });
    }
    const floor = highestOf(data);
    const manifest: Manifest = { cortexBackup: 1, version, at: now, floor, namespaces };
    writeFileSync(join(partial, "manifest.json"), encodeManifest(manifest));
    syncFile(join(partial, "manifest.json"));
    rmSync(join(partial, "lock"));
    syncFolder(partial);
    renameSync(partial, to);
    syncFolder(dirname(to));
    return manifest;
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  } finally {
    letIn?.();
    unlock();
  }
}

const manifestOf = (folder: string) => join(folder, "manifest.json");
export const isBackup = (folder: string): boolean => existsSync(manifestOf(folder));

export function readManifest(from: string): Manifest {
  const path = manifestOf(from);
  if (!existsSync(path)) {
    throw new LogError(
      "data-folder-damaged",
      `${from} is no backup: it has no manifest.json`,
      "Name the folder that `cortexd backup` made.",
    );
  }
  const manifest = decodeManifest(readFileSync(path, "utf8"));
  if (manifest === null) {
    throw new LogError(
      "data-folder-damaged",
      `${path} is damaged, or of a newer version`,
      "Use another backup, or the version of cortexd that made this one.",
    );
  }
  return manifest;
}

/** Where a backup has the log of each namespace. */
export const placesIn = (from: string): Place[] =>
  readManifest(from).namespaces.map(({ name, file }) => ({ name, folder: dirname(join(from, file)) }));

/** Reads a whole backup against its manifest. */
export async function verifyBackup(
  from: string,
  reading = unheard,
): Promise<{ manifest: Manifest; problems: string[] }> {
  const manifest = readManifest(from);
  const problems: string[] = [];
  for (const one of manifest.namespaces) {
    const file = join(from, one.file);
    if (!existsSync(file)) {
      problems.push(`${file} is missing`);
      continue;
    }
    const { bytes, sha256 } = await sumOf(file);
    if (bytes !== one.bytes) problems.push(`${file} has ${bytes} bytes, not ${one.bytes}`);
    else if (sha256 !== one.sha256) problems.push(`${file} has another checksum than in the manifest`);
    const found = await inspectFolder(dirname(file), true, [markOf(one)], (done, total) =>
      reading(one.name, done, total),
    );
    // Of an older format it is read when it is opened.
    if (!found.isOlder)
      problems.push(...found.problems.map((problem) => `namespace ${one.name}: ${problem}`));
  }
  return { manifest, problems };
}

/** No revision of any namespace of the folder, dropped ones included, lies above it. */
export const highestOf = (data: string): number =>
  Math.max(
    readFloor(data),
    ...placesOf(data).map(({ folder }) => newestMark(new MarkFile(folder).read())?.ceiling ?? 0),
  );

/** The mark that belongs to a backed up log. */
export const markOf = ({ revision, hash, ceiling }: BackedUp) =>
  encodeMark({ revision, hash, ceiling, sequence: 0 });

const sumOfText = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");

function encodeManifest(manifest: Manifest): string {
  const sha256 = sumOfText(JSON.stringify(manifest));
  return `${JSON.stringify({ ...manifest, sha256 }, null, 2)}\n`;
}

function decodeManifest(text: string): Manifest | null {
  try {
    const { sha256, ...manifest } = JSON.parse(text) as Manifest & { sha256: string };
    return manifest.cortexBackup === 1 && sumOfText(JSON.stringify(manifest)) === sha256 ? manifest : null;
  } catch {
    return null;
  }
}

async function sumOf(path: string): Promise<{ bytes: number; sha256: string }> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const chunk of Bun.file(path).stream()) hasher.update(chunk);
  return { bytes: statSync(path).size, sha256: hasher.digest("hex") };
}

function nothingThere(data: string, namespace: string | undefined): LogError {
  const what = namespace === undefined ? "no log" : `no log of the namespace ${namespace}`;
  return new LogError(
    "data-folder-not-writable",
    `there is nothing to back up: ${data} holds ${what}`,
    "Name the daemon's data folder with --data.",
  );
}

function damagedSource(folder: string, problems: string[]): LogError {
  return new LogError(
    "data-folder-damaged",
    `${folder} is damaged, and no backup was made: ${problems.join("; ")}`,
    "`cortexd verify` says what is whole and how to go on from there.",
  );
}
