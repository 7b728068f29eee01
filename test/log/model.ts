/** What a log must give back, kept plainly: every entry, and the state they add up to. */
import { type ArchiveRow, readArchiveLine } from "../../src/log/archive.ts";
import { readChanges, readHeader, splitEntries } from "../../src/log/format.ts";
import type { Batch, RecoverySink } from "../../src/log/log.ts";

export type State = Map<string, string>;

export type ModelEntry = { revision: number; text: string };

export function entryText(
  revision: number,
  at: number,
  changes: readonly [id: string, text: string | null][],
): string {
  const lines = changes.map(([id, text]) => (text === null ? `-${id}\n` : `+${id}\t${text}\n`));
  return `@${revision}\t${at}\t${revision * 2}\ttest.change\ttester\n${lines.join("")}`;
}

/** What an entry tells of the archive, as one of its changes. */
export const told = ({ id, at, tags, text }: ArchiveRow): [id: string, text: string] => [
  `archive\t${id}`,
  `${JSON.stringify([at, ...tags])}\t${text}`,
];

/** What the entries tell of the archive, by id: the last word counts. */
export function archiveOf(entries: readonly ModelEntry[]): Map<string, string> {
  const texts = new Map<string, string>();
  for (const { text } of entries)
    for (const line of text.split("\n"))
      if (line.startsWith("+archive\t")) {
        const row = readArchiveLine(line);
        texts.set(row.id, row.text);
      }
  return texts;
}

/** A batch of one entry that puts one row. */
export function put(revision: number, key: string, text: string): Batch {
  return { first: revision, last: revision, text: entryText(revision, 1, [[`tasks\t${key}`, text]]) };
}

export function applyText(state: State, text: string): void {
  for (const change of readChanges(text)) {
    // What is told once is no part of the state.
    if (change.id.startsWith("archive\t")) continue;
    if (change.text === null) state.delete(change.id);
    else state.set(change.id, change.text);
  }
}

export function stateAt(entries: readonly ModelEntry[], revision: number): State {
  const state: State = new Map();
  for (const entry of entries) if (entry.revision <= revision) applyText(state, entry.text);
  return state;
}

export const sorted = (state: State) => [...state].sort(([a], [b]) => (a < b ? -1 : 1));

/** Rebuilds the state from what recovery hands over. */
export class Rebuilt implements RecoverySink {
  readonly state: State = new Map();
  readonly entries: number[] = [];
  progressed: [number, number][] = [];

  lines(text: string): void {
    for (const entry of splitEntries(text)) {
      if (entry.startsWith("@")) this.entries.push(readHeader(entry).revision);
    }
    applyText(this.state, text);
  }
  progress(done: number, total: number): void {
    this.progressed.push([done, total]);
  }
}
