/**
 * Putting a backup in a data folder's place. It is proven before anything moves: read against its manifest, copied
 * beside the folder, opened there by the log itself and loaded. Then two renames swap the folders: the old one is
 * kept, and where a process is killed between them the next start finishes the swap. Revisions never go back: the
 * log goes on above every one that the lost daemon may have given out (docs/decisions/0050).
 */
import { cpSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { Loader } from "../core/codec.ts";
import { createStore } from "../core/store.ts";
import { type BackedUp, type Manifest, markOf, verifyBackup } from "./backup.ts";
import {
  beforeName,
  finishRestore,
  lockFolder,
  MarkFile,
  notWritable,
  restoredName,
  stage,
  syncFile,
  syncFolder,
} from "./folder.ts";
import { newestMark } from "./format.ts";
import { LogError } from "./log.ts";
import { openLog } from "./open.ts";
import { placesOf } from "./verify.ts";

export type Restored = {
  manifest: Manifest;
  /** Where the folder that stood there is now; null when there was none. */
  before: string | null;
  /** Namespaces that the backup does not hold and that stayed as they were. */
  kept: string[];
  /** By namespace: the last revision, and what the next ones lie above. */
  logs: { name: string; revision: number; ceiling: number }[];
};

/** No daemon gives out a million revisions a second, and no clock that is kept is a day off. */
const revisionsPerMs = 1000;
const clockErrorMs = 24 * 3600_000;

/** More than the lost daemon can have given out since the backup. */
export const leapOf = (backupAt: number, now: number) =>
  (Math.max(0, now - backupAt) + clockErrorMs) * revisionsPerMs;

/** `step` is told before each thing that changes what is on disk. */
export async function restore(
  from: string,
  to: string,
  now: number,
  step: (name: string) => void = () => {},
): Promise<Restored> {
  finishRestore(to);
  const isThere = existsSync(to);
  const data = isThere ? realpathSync(to) : to;
  const unlockOld = isThere ? lockFolder(data) : () => {};
  let unlockNew = () => {};
  try {
    const { manifest, problems } = await verifyBackup(from);
    if (problems.length > 0) {
      throw new LogError(
        "data-folder-damaged",
        `the backup ${from} is damaged, and nothing was restored: ${problems.join("; ")}`,
        "Use another backup.",
      );
    }
    step("stage");
    const staging = `${data}.restoring`;
    unlockNew = stage(staging);
    const restored = new Set(manifest.namespaces.map(({ name }) => name));
    const old = isThere ? placesOf(data) : [];
    for (const one of manifest.namespaces) {
      step(`copy ${one.name}`);
      copyIn(from, one, placeIn(staging, one.name), ceilingOf(old, one.name), leapOf(manifest.at, now));
    }
    const kept = old.filter(({ name }) => !restored.has(name));
    for (const { name, folder } of kept) {
      step(`keep ${name}`);
      const goal = placeIn(staging, name);
      mkdirSync(goal, { recursive: true });
      for (const file of ["cortex.db", "cortex.db-wal", "mark"]) {
        if (!existsSync(join(folder, file))) continue;
        cpSync(join(folder, file), join(goal, file));
        syncFile(join(goal, file));
      }
      syncFolder(goal);
    }
    unlockNew();
    const logs: Restored["logs"] = [];
    for (const one of manifest.namespaces) {
      step(`open ${one.name}`);
      const folder = placeIn(staging, one.name);
      logs.push({ name: one.name, ...(await prove(folder)) });
      // Those of the data folder serve its namespaces too.
      if (folder !== staging)
        for (const file of ["lock", "ballast"]) rmSync(join(folder, file), { force: true });
    }
    step("sync");
    if (existsSync(join(staging, "namespaces"))) syncFolder(join(staging, "namespaces"));
    syncFolder(staging);
    if (!isThere) {
      step("move in");
      renameSync(staging, data);
      syncFolder(dirname(data));
      return { manifest, before: null, kept: [], logs };
    }
    step("name");
    renameSync(staging, restoredName(data, now));
    step("move away");
    moveAway(data, beforeName(data, now));
    step("move in");
    finishRestore(data);
    step("done");
    return { manifest, before: beforeName(data, now), kept: kept.map(({ name }) => name), logs };
  } finally {
    unlockNew();
    unlockOld();
  }
}

const placeIn = (data: string, name: string) => (name === "default" ? data : join(data, "namespaces", name));

function ceilingOf(places: readonly { name: string; folder: string }[], name: string): number {
  const place = places.find((one) => one.name === name);
  return place === undefined ? 0 : (newestMark(new MarkFile(place.folder).read())?.ceiling ?? 0);
}

function copyIn(from: string, one: BackedUp, goal: string, oldCeiling: number, leap: number): void {
  mkdirSync(goal, { recursive: true });
  cpSync(join(from, one.file), join(goal, "cortex.db"));
  syncFile(join(goal, "cortex.db"));
  const ceiling = Math.max(one.ceiling + leap, oldCeiling);
  const slots = new MarkFile(goal);
  slots.write(0, markOf({ ...one, ceiling }));
  slots.close();
  syncFolder(goal);
}

/** Opens a log as a daemon would and reads all of it into a state. */
async function prove(folder: string): Promise<{ revision: number; ceiling: number }> {
  const log = openLog({ strategy: "wal", folder, sync: "always" });
  const loader = new Loader(createStore());
  const { revision, ceiling } = await log.open({
    lines: (text) => loader.entry(text),
    progress() {},
  });
  loader.end();
  await log.stop();
  return { revision, ceiling };
}

function moveAway(data: string, goal: string): void {
  try {
    renameSync(data, goal);
  } catch (error) {
    throw notWritable(
      data,
      `it cannot be renamed (${(error as { code?: string }).code}); it may be a mount point, or its parent be another user's`,
    );
  }
}
