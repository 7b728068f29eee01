/**
 * The thread that reads: it answers one question after the other, each as of one moment, on connections that can only
 * read. It is an entry point of its own in the executable. An error is the answer to its question alone.
 */
import { answerTo } from "./questions.ts";
import type { FromReader, ToReader } from "./reader.ts";
import { SqliteStorage } from "./sqlite.ts";

declare const self: Worker & { onmessage: (event: MessageEvent<ToReader>) => void };

/** By folder, from the first question on. */
const storages = new Map<string, SqliteStorage>();
/** Questions are answered in their order: each ends its moment before the next begins one. */
let turn: Promise<void> = Promise.resolve();

async function storageOf(folder: string): Promise<SqliteStorage> {
  let storage = storages.get(folder);
  if (storage === undefined) {
    storage = SqliteStorage.follower(folder);
    await storage.open();
    storages.set(folder, storage);
  }
  return storage;
}

async function leave(folder: string): Promise<void> {
  await storages.get(folder)?.close();
  storages.delete(folder);
}

async function hear(message: ToReader): Promise<void> {
  if (message.kind === "leave") return leave(message.folder);
  const { number, folder, name, asked } = message;
  const say = (answer: FromReader) => self.postMessage(answer);
  try {
    const storage = await storageOf(folder);
    say({ number, value: await storage.atOneMoment(() => answerTo(storage, name, asked)) });
  } catch (error) {
    // A connection that failed is not asked again.
    await leave(folder);
    say({ number, error: (error as Error).message });
  }
}

self.onmessage = ({ data }) => {
  turn = turn.then(() => hear(data));
};
