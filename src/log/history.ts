/**
 * The log as history: entries as they were written, found by who made them and by what they changed. Everything is read
 * off the lines as they stand; what a record means is nobody's business here.
 */
import { type LogRow, readChanges, readHeader, splitEntries } from "./format.ts";
import type { Storage } from "./storage.ts";

export type HistorySearch = {
  /** Above `after`, and up to `upTo`. */
  after: number;
  upTo: number;
  who: string | null;
  operation: string | null;
  /** What an entry must have changed, each of them; none: anything. */
  things: readonly Thing[];
  countMax: number;
  /** Of log that is looked at, and of lines that are answered. */
  bytesMax: number;
  unitsMax: number;
};

/** One thing by its lines: those of a name, `part` tab `key`; that begin so; or with a text in their head, of this part alone. */
export type Thing = {
  names: readonly string[];
  begin?: string;
  said?: { part: string | null; text: string };
};

export type HistoryEntry = {
  revision: number;
  at: number;
  operation: string;
  who: string;
  /** The lines that fit; of a deleted one the text is null. */
  changes: { part: string; id: string; text: string | null }[];
  /** There were more. */
  isShort: boolean;
};

/** `next`: search on behind this revision; null: there is nothing more. `oldest`: of the first entry that is kept. */
export type HistoryPage = { entries: HistoryEntry[]; next: number | null; oldest: number | null };

/** Of one entry, whatever it changed: a thousand tasks that go have some lines each. */
const changesMax = 5000;

/** A line as it is told: also one that is gone takes its room. */
const unitsOf = ({ part, id, text }: HistoryEntry["changes"][number]) =>
  32 + part.length + id.length + (text?.length ?? 0);

/** The log rows that hold what comes after a revision: the first entry of that may stand in the middle of one. */
export async function rowsAfter(storage: Storage, after: number, bytesMax: number): Promise<LogRow[]> {
  const first = (await storage.batchAt(after + 1)) ?? 0;
  const rows = await storage.readLog(first - 1, bytesMax);
  const last = rows.at(-1)?.last ?? Number.POSITIVE_INFINITY;
  // It may be all that was read, and end before that: behind it the log leapt.
  return last <= after ? storage.readLog(first, bytesMax) : rows;
}

export async function searchHistory(storage: Storage, search: HistorySearch): Promise<HistoryPage> {
  const [oldest = null] = await storage.oldestLog(1);
  const rows = await rowsAfter(storage, search.after, search.bytesMax);
  const texts = rows.flatMap(({ text }) => splitEntries(text));
  const isEnd = rows.length === 0 || (await storage.readLog(rows.at(-1)!.first, 1)).length === 0;
  const older = async (revision: number) => {
    const [row] = await rowsAfter(storage, revision - 1, 1);
    return row === undefined ? [] : splitEntries(row.text);
  };
  return { ...searchEntries(texts, search, isEnd, await goneLocks(texts, search, older)), oldest };
}

/** By id, the heads of locks as they were asked for. */
export type LockHeads = ReadonlyMap<string, string>;

/**
 * Of the locks that end in these entries: a line of one that is gone says its id alone. `older`: the entries around a
 * revision that is not among these; of a lock that was asked for before all that is kept, nothing is known any more.
 */
export async function goneLocks(
  texts: readonly string[],
  { things }: HistorySearch,
  older: (revision: number) => Promise<readonly string[]>,
): Promise<LockHeads> {
  const heads = new Map<string, string>();
  if (things.every(({ said }) => said === undefined)) return heads;
  const byRevision = (entries: readonly string[]) =>
    new Map(entries.map((text) => [readHeader(text).revision, text]));
  const here = byRevision(texts);
  let near = new Map<number, string>();
  const ids = texts.flatMap((text) =>
    [...text.matchAll(/^-lock\t([0-9-]+)$/gm)].map(([, id]) => id as string),
  );
  // In their order, so that a row is read once.
  for (const id of ids.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))) {
    const revision = Number.parseInt(id, 10);
    if (!here.has(revision) && !near.has(revision)) near = byRevision(await older(revision));
    const entry = here.get(revision) ?? near.get(revision) ?? "";
    const start = `\n+lock\t${id}\t`;
    const from = entry.indexOf(start);
    if (from >= 0) heads.set(id, entry.slice(from + start.length, entry.indexOf("\n", from + 1)));
  }
  return heads;
}

const noLocks: LockHeads = new Map();

/** `isEnd`: there are no entries behind these. */
export function searchEntries(
  texts: readonly string[],
  search: HistorySearch,
  isEnd: boolean,
  locks: LockHeads = noLocks,
): Pick<HistoryPage, "entries" | "next"> {
  const entries: HistoryEntry[] = [];
  let units = 0;
  let last = search.after;
  for (const text of texts) {
    const end = text.indexOf("\n");
    const [revisionText, atText, , operation, who] = text.slice(1, end).split("\t") as string[];
    const revision = Number(revisionText);
    if (revision <= search.after) continue;
    if (revision > search.upTo) return { entries, next: null };
    if (entries.length === search.countMax || units > search.unitsMax) return { entries, next: last };
    last = revision;
    if (search.who !== null && search.who !== who) continue;
    if (search.operation !== null && search.operation !== operation) continue;
    const found = changesOf(text.slice(end + 1), search, locks);
    if (found.changes.length === 0) continue;
    for (const change of found.changes) units += unitsOf(change);
    entries.push({ revision, at: Number(atText), operation: operation!, who: who!, ...found });
  }
  return { entries, next: isEnd || last >= search.upTo ? null : last };
}

function changesOf(
  lines: string,
  { things, unitsMax }: HistorySearch,
  locks: LockHeads,
): Pick<HistoryEntry, "changes" | "isShort"> {
  const changes: HistoryEntry["changes"] = [];
  const missing = new Set(things);
  let isShort = false;
  let units = 0;
  for (const { id, text } of readChanges(lines)) {
    const tab = id.indexOf("\t");
    const part = id.slice(0, tab);
    // Answers are what was told of an entry, and the archive is what is kept of a task: no changes of their own.
    if (part === "answer" || part === "archive") continue;
    const key = id.slice(tab + 1);
    const head = text === null ? (part === "lock" ? locks.get(key) : undefined) : headOf(text);
    const meant = things.filter((thing) => isOf(thing, id, part, head));
    if (meant.length === 0 && things.length > 0) continue;
    for (const thing of meant) missing.delete(thing);
    isShort ||= changes.length === changesMax || units > unitsMax;
    if (isShort) continue;
    const change = { part, id: key, text };
    units += unitsOf(change);
    changes.push(change);
  }
  return { changes: missing.size === 0 ? changes : [], isShort };
}

/** Behind the first tab stands what people sent, which may say anything. */
function headOf(text: string): string {
  const tab = text.indexOf("\t");
  return tab < 0 ? text : text.slice(0, tab);
}

const isOf = ({ names, begin, said }: Thing, id: string, part: string, head: string | undefined): boolean =>
  names.includes(id) ||
  (begin !== undefined && id.startsWith(begin)) ||
  (said !== undefined && head?.includes(said.text) === true && (said.part ?? part) === part);
