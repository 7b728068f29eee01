/**
 * The work of the demonstration: which files there are, what one file comes to, and what all of them come to
 * together. Workers and the plain pass share it, so that they can differ in nothing but who did the work. It knows
 * nothing of tasks.
 */
import { join } from "node:path";

export type Digest = { bytes: number; words: number; sha256: string };

export type Totals = {
  files: number;
  bytes: number;
  words: number;
  /** Of the sorted lines that sha256sum would print, so that a shell can check it. */
  sha256: string;
};

/** Every file below the folder, as ./path, sorted. Links are not followed, so none is met twice. */
export async function filesBelow(folder: string): Promise<string[]> {
  const files: string[] = [];
  const scan = new Bun.Glob("**/*").scan({ cwd: folder, dot: true, onlyFiles: true, followSymlinks: false });
  for await (const path of scan) files.push(`./${path}`);
  return files.sort();
}

/** What ends a word: the white space of ASCII. */
const isSpace = new Uint8Array(256);
for (const char of " \t\n\v\f\r") isSpace[char.charCodeAt(0)] = 1;

/** Reads a file piece by piece, so that a large one keeps nobody else from being heard. */
export async function digestOf(path: string, signal?: AbortSignal): Promise<Digest> {
  const hasher = new Bun.CryptoHasher("sha256");
  let bytes = 0;
  let words = 0;
  let spaceBefore = 1;
  for await (const piece of Bun.file(path).stream()) {
    signal?.throwIfAborted();
    hasher.update(piece);
    bytes += piece.length;
    for (let i = 0; i < piece.length; i++) {
      const space = isSpace[piece[i] as number] as number;
      words += spaceBefore & ~space;
      spaceBefore = space;
    }
  }
  return { bytes, words, sha256: hasher.digest("hex") };
}

export function totalsOf(digests: ReadonlyMap<string, Digest>): Totals {
  const totals = { files: digests.size, bytes: 0, words: 0, sha256: "" };
  for (const { bytes, words } of digests.values()) {
    totals.bytes += bytes;
    totals.words += words;
  }
  const lines = [...digests].map(([path, { sha256 }]) => `${sha256}  ${path}\n`).sort();
  totals.sha256 = new Bun.CryptoHasher("sha256").update(lines.join("")).digest("hex");
  return totals;
}

/** One file after the other, in this process alone: what everything else is held against. */
export async function plainPass(folder: string, files: readonly string[]): Promise<Map<string, Digest>> {
  const digests = new Map<string, Digest>();
  for (const path of files) digests.set(path, await digestOf(join(folder, path)));
  return digests;
}
