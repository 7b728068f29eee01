/**
 * What can be asked of a log beside its state, and how it is answered: from what lies in the storage, by whoever may
 * read that, which is a thread of its own beside the writer's (reader.ts). An answer is of one moment, and a bounded
 * piece of work: the next question waits for it. To add one: a row in `Questions`, a line in `answers`.
 */
import type { ArchivePage, ArchiveSearch } from "./archive.ts";
import { readHeader, splitEntries } from "./format.ts";
import { type HistoryPage, type HistorySearch, rowsAfter, searchHistory } from "./history.ts";
import type { Storage } from "./storage.ts";

export type Questions = {
  /** The entries after a revision, oldest first, about so many bytes of them; a log that keeps none has none. */
  entries: { asked: { after: number; bytesMax: number }; answered: { texts: string[] } };
  /** A page of the entries that fit. */
  history: { asked: HistorySearch; answered: HistoryPage };
  /** One row of the archive, by its id; null: it holds none. */
  archived: { asked: { id: string }; answered: { text: string | null } };
  /** A page of the archive. */
  archive: { asked: ArchiveSearch; answered: ArchivePage };
};
export type QuestionName = keyof Questions;

/** Asks a log: what it answers is what lies in its storage, of which the newest may not be synced yet. */
export type Ask = <N extends QuestionName>(
  name: N,
  asked: Questions[N]["asked"],
) => Promise<Questions[N]["answered"]>;

const answers: {
  [N in QuestionName]: (storage: Storage, asked: Questions[N]["asked"]) => Promise<Questions[N]["answered"]>;
} = {
  entries,
  history: searchHistory,
  archived: async (storage, { id }) => ({ text: await storage.readArchived(id) }),
  archive: (storage, search) => storage.searchArchive(search),
};

/** Those about rows that may not be written yet. */
export const isAboutArchive = (name: QuestionName): boolean => name === "archived" || name === "archive";

export const answerTo = <N extends QuestionName>(
  storage: Storage,
  name: N,
  asked: Questions[N]["asked"],
): Promise<Questions[N]["answered"]> => answers[name](storage, asked);

async function entries(
  storage: Storage,
  { after, bytesMax }: Questions["entries"]["asked"],
): Promise<Questions["entries"]["answered"]> {
  const rows = await rowsAfter(storage, after, bytesMax);
  const texts = rows.flatMap(({ text }) => splitEntries(text));
  return { texts: texts.filter((text) => readHeader(text).revision > after) };
}
