/**
 * Reads all of a data folder and believes none of it: rows against their checksums, entries against theirs, the chain
 * and the mark, the database's pages. Changes nothing, and works beside the daemon that owns the folder: it sees one
 * moment of each database. What was written after that moment, and bytes on disk that the owner itself has not read
 * again yet, it cannot speak for; only with the folder at rest it reads everything from the disk as a start would.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { shareFolder } from "./folder.ts";
import { formatOf, formatVersion } from "./format.ts";
import { LogError, newerFormat } from "./log.ts";
import { isHalfMade } from "./namespaces.ts";
import { type Inspection, inspect, unreadable } from "./recover.ts";
import { SqliteStorage } from "./sqlite.ts";

/** Where a namespace has its log. */
export type Place = { name: string; folder: string };
export type Finding = Place & Inspected;
/** `pagesIntact`: SQLite finds nothing wrong with its own pages, so it can be trusted to write in them. */
export type Inspected = Inspection & { pagesIntact: boolean };

/** The namespaces of a data folder that have a log, `default` first. */
export function placesOf(data: string): Place[] {
  const inner = join(data, "namespaces");
  const names = existsSync(inner) ? readdirSync(inner).sort() : [];
  const places = [{ name: "default", folder: data }];
  for (const name of names) places.push({ name, folder: join(inner, name) });
  // A database that was deleted leaves its mark behind. What is half made holds nothing.
  return places.filter(
    ({ folder }) =>
      ["cortex.db", "mark"].some((file) => existsSync(join(folder, file))) && !isHalfMade(folder),
  );
}

/** Hears how far it is: of the pieces and rows of a namespace, how many were read. */
export type Reading = (name: string, done: number, total: number) => void;
export const unheard: Reading = () => {};

/** `inUse`: a daemon owns the folder. No findings: there is no log in it. */
export async function verifyFolder(
  data: string,
  reading = unheard,
): Promise<{ inUse: boolean; findings: Finding[] }> {
  const places = placesOf(data);
  if (places.length === 0) return { inUse: false, findings: [] };
  const letIn = shareFolder(data);
  try {
    const findings: Finding[] = [];
    for (const place of places)
      findings.push({
        ...place,
        ...(await inspectFolder(place.folder, letIn !== null, undefined, (done, total) =>
          reading(place.name, done, total),
        )),
      });
    return { inUse: letIn === null, findings };
  } finally {
    letIn?.();
  }
}

/** Reads one log. `slots`: its mark, where that does not lie beside. */
export async function inspectFolder(
  folder: string,
  isUnowned: boolean,
  slots?: readonly string[],
  progress?: (done: number, total: number) => void,
): Promise<Inspected> {
  const storage = SqliteStorage.reader(folder, isUnowned);
  try {
    if (!existsSync(join(folder, "cortex.db"))) {
      throw new LogError(
        "data-folder-damaged",
        `the database of ${folder} is gone, but the mark is there`,
        "",
      );
    }
    await storage.open();
    const format = formatOf((await storage.readMeta()) ?? "");
    if (format !== null && format > formatVersion) throw newerFormat(storage.name, format);
    const found = await inspect(storage, slots, progress);
    const broken = await storage.brokenPages();
    const pagesIntact = broken.length === 0;
    return {
      ...{ ...found, pagesIntact },
      // A daemon that went on from there would write in what is broken. Before the first revision there is nothing.
      recoverTo: pagesIntact && found.recoverTo !== 0 ? found.recoverTo : null,
      problems: [...found.problems, ...broken.map((line) => `the database's pages: ${line}`)],
    };
  } catch (error) {
    if (!(error instanceof LogError) || error.code !== "data-folder-damaged") throw error;
    return { ...unreadable([error.message]), pagesIntact: false };
  } finally {
    await storage.close();
  }
}
