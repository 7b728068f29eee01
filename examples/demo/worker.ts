/**
 * One worker of the demonstration, in a process of its own: hashes and counts the files it is given, and writes
 * down each start and each end in a file that is only ever added to, which is how the demonstration knows what was
 * done twice. It ends when it is asked to, and when the process that started it is gone.
 *
 *   bun examples/demo/worker.ts URL WORKER-ID FOLDER JOURNAL
 */
import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { worker } from "@cortexd/client";
import { type Digest, digestOf } from "./files.ts";

export type Entry = { event: "started" | "hashed"; at: number; path: string };

export const queue = "files";
/** Files that one worker reads at the same time. */
export const concurrency = 4;

if (import.meta.main) {
  const [url, workerId, folder, journal] = process.argv.slice(2) as [string, string, string, string];
  const file = openSync(journal, "a");
  const write = (entry: Entry) => writeSync(file, `${JSON.stringify(entry)}\n`);

  const running = await worker<{ path: string }, Digest>(
    queue,
    async ({ payload: { path } }, { signal }) => {
      write({ event: "started", at: Date.now(), path });
      const digest = await digestOf(join(folder, path), signal);
      write({ event: "hashed", at: Date.now(), path });
      return digest;
    },
    { url, workerId, concurrency, backoffMaxMs: 500 },
  );
  console.log("ready");

  process.on("SIGTERM", () => void running.stop());
  process.stdin.on("end", () => void running.stop({ graceMs: 0 })).resume();
  await running.done;
  process.exit(0);
}
