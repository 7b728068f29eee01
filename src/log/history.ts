/**
 * The log as history: entries as they were written, found by who made them and by what they changed. Everything is read
 * off the lines as they stand; what a record means is nobody's business here.
 */
import { type LogRow, readChanges, splitEntries } from "./format.ts";
import type { Storage } from "./storage.ts";

export type HistorySearch = {
  /** Above `after`, and up to `upTo`. */
  after: number;
  upTo: number;
  who: string | null;
  operation: string | null;
  /** Lines of these, `part` tab `key`; or whose head says one of these texts. Both empty: every line. */
  ids: readonly string[];
  says: readonly string[];
  countMax: number;
  /** Of log that is looked at, and of lines that are answered. */
  bytesMax: number;
  unitsMax: number;
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

/** Of one entry, whatever it changed. */
const changesMax = 1000;

/** The log rows that hold what comes after a revision: the first entry of that may stand in the middle of one. */
export async function rowsAfter(storage: Storage, after: number, bytesMax: number): Promise<LogRow[]> {
  const first = (await storage.batchAt(after + 1)) ?? 0;
  return storage.readLog(first - 1, bytesMax);
}

export async function searchHistory(storage: Storage, search: HistorySearch): Promise<HistoryPage> {
  const [oldest = null] = await storage.oldestLog(1);
  const rows = await rowsAfter(storage, search.after, search.bytesMax);
  const texts = rows.flatMap(({ text }) => splitEntries(text));
  const isEnd = rows.length === 0 || (await storage.readLog(rows.at(-1)!.first, 1)).length === 0;
  return { ...searchEntries(texts, search, isEnd), oldest };
}

/** `isEnd`: there are no entries behind these. */
export function searchEntries(
  texts: readonly string[],
  search: HistorySearch,
  isEnd: boolean,
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
    const found = changesOf(text.slice(end + 1), search);
    if (found.changes.length === 0) continue;
    for (const change of found.changes) units += change.text?.length ?? 0;
    entries.push({ revision, at: Number(atText), operation: operation!, who: who!, ...found });
  }
  return { entries, next: isEnd || last >= search.upTo ? null : last };
}

function changesOf(lines: string, search: HistorySearch): Pick<HistoryEntry, "changes" | "isShort"> {
  const changes: HistoryEntry["changes"] = [];
  let units = 0;
  for (const { id, text } of readChanges(lines)) {
    const tab = id.indexOf("\t");
    const part = id.slice(0, tab);
    // Answers are what was told of an entry, and the archive is what is kept of a task: no changes of their own.
    if (part === "answer" || part === "archive" || !isMeant(id, text, search)) continue;
    if (changes.length === changesMax || units > search.unitsMax) return { changes, isShort: true };
    units += text?.length ?? 0;
    changes.push({ part, id: id.slice(tab + 1), text });
  }
  return { changes, isShort: false };
}

function isMeant(id: string, text: string | null, { ids, says }: HistorySearch): boolean {
  if (ids.length === 0 && says.length === 0) return true;
  if (ids.includes(id)) return true;
  if (text === null || says.length === 0) return false;
  // Behind the first tab stands what people sent, which may say anything.
  const tab = text.indexOf("\t");
  const head = tab < 0 ? text : text.slice(0, tab);
  return says.some((one) => head.includes(one));
}
