/**
 * Putting a backup in a data folder's place. It is proven before anything moves: read against its manifest, copied
 * beside the folder, opened there by the log itself and built into a state that is held against its invariants. Then
 * two renames swap the folders: the old one is
 * kept, and where a process is killed between them the next start finishes the swap. Revisions never go back: the
 * log goes on above every one that the lost daemon may have given out (docs/decisions/0050).
 */
import { cpSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { check } from "../core/check.ts";
import { Loader } from "../core/codec.ts";
import { Coordinator, type CoreOptions } from "../core/coordinator.ts";
import { createStore } from "../core/store.ts";
import { type BackedUp, highestOf, type Manifest, markOf, readManifest, verifyBackup } from "./backup.ts";
import { syncFile, syncFolder } from "./files.ts";
import {
  beforeName,
  finishRestore,
  lockFolder,
  MarkFile,
  notWritable,
  restoredName,
  stage,
} from "./folder.ts";
import { newestMark } from "./format.ts";
import { LogError, newerPart } from "./log.ts";
import { placeOf, writeFloor } from "./namespaces.ts";
import { openLog } from "./open.ts";
import { placesOf, type Reading, unheard } from "./verify.ts";

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

/** What a state is built with to be proven. */
export type Proof = Pick<CoreOptions, "config" | "metrics"> & {
  /** Of the backup, and then of what was made of it. */
  reading?: Reading;
};

/** `step` is told before each thing that changes what is on disk. */
export async function restore(
  from: string,
  to: string,
  now: number,
  proof: Proof,
  step: (name: string) => void = () => {},
): Promise<Restored> {
  // What is no backup is told first, whoever has the folder.
  readManifest(from);
  finishRestore(to);
  const isThere = existsSync(to);
  const data = isThere ? realpathSync(to) : to;
  const unlockOld = isThere ? lockFolder(data) : () => {};
  const staging = `${data}.restoring`;
  let unlockNew = () => {};
  let isStaged = false;
  try {
    const { manifest, problems } = await verifyBackup(from, proof.reading);
    if (problems.length > 0) {
      throw new LogError(
        "data-folder-damaged",
        `the backup ${from} is damaged, and nothing was restored: ${problems.join("; ")}`,
        "Use another backup.",
      );
    }
    step("stage");
    unlockNew = stage(staging);
    isStaged = true;
    const restored = new Set(manifest.namespaces.map(({ name }) => name));
    const old = isThere ? placesOf(data) : [];
    for (const one of manifest.namespaces) {
      step(`copy ${one.name}`);
      copyIn(from, one, placeOf(staging, one.name), ceilingOf(old, one.name), leapOf(manifest.at, now));
    }
    const kept = old.filter(({ name }) => !restored.has(name));
    for (const { name, folder } of kept) {
      step(`keep ${name}`);
      const goal = placeOf(staging, name);
      mkdirSync(goal, { recursive: true });
      for (const file of ["cortex.db", "cortex.db-wal", "journal", "mark"]) {
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
      const folder = placeOf(staging, one.name);
      logs.push({ name: one.name, ...(await prove(one.name, folder, from, proof)) });
      // Those of the data folder serve its namespaces too.
      if (folder !== staging)
        for (const file of ["lock", "ballast"]) rmSync(join(folder, file), { force: true });
    }
    step("floor");
    // Namespaces that were there after the backup, and are not now, gave out revisions too.
    await writeFloor(
      staging,
      Math.max((manifest.floor ?? 0) + leapOf(manifest.at, now), isThere ? highestOf(data) : 0),
    );
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
  } catch (error) {
    if (isStaged) rmSync(staging, { recursive: true, force: true });
    throw error;
  } finally {
    unlockNew();
    unlockOld();
  }
}

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

/** Opens a log as a daemon would, reads all of it into a state, and holds that against what is true of every state. */
async function prove(
  name: string,
  folder: string,
  from: string,
  { reading = unheard, ...proof }: Proof,
): Promise<{ revision: number; ceiling: number }> {
  const log = openLog({ strategy: "wal", folder, sync: "always" });
  const store = createStore();
  const loader = new Loader(store);
  let wrong: string[] = [];
  let newer: LogError | null = null;
  const refuse = (error: unknown) => {
    const told = newerPart(error);
    if (told instanceof LogError) newer ??= told;
    wrong = [(error as Error).message];
  };
  const { revision, ceiling, at, clock } = await log.open({
    lines(text) {
      if (wrong.length > 0) return;
      try {
        loader.entry(text);
      } catch (error) {
        refuse(error);
      }
    },
    progress: (done, total) => reading(name, done, total),
  });
  await log.stop();
  if (wrong.length === 0) {
    try {
      loader.end();
      store.advanceTo(ceiling);
      wrong = check(new Coordinator(store, { ...proof, random: () => 0, now: at, clock, graceUntil: 0 }));
    } catch (error) {
      refuse(error);
    }
  }
  if (newer !== null) throw newer;
  if (wrong.length === 0) return { revision, ceiling };
  throw new LogError(
    "data-folder-damaged",
    `the records in ${from} do not fit each other, and nothing was restored: ${wrong.slice(0, 3).join("; ")}`,
    "Use another backup.",
  );
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
