/** Words of the command line that stand for more: JSON, a file, or standard input. */
import { readFileSync } from "node:fs";
import { Exit } from "./exit.ts";

/** A word, or what it says to read: @FILE, or - for standard input; `name` is what its place is called. */
export async function readWord(word: string, name: string): Promise<{ source: string; text: string }> {
  const source = word === "-" ? "standard input" : word.startsWith("@") ? word.slice(1) : name;
  try {
    if (word === "-") return { source, text: await Bun.stdin.text() };
    return { source, text: word.startsWith("@") ? readFileSync(source, "utf8") : word };
  } catch (error) {
    const why = (error as { code?: string }).code ?? String(error);
    throw new Exit("input-broken", `${source} cannot be read (${why}).`, "Nothing was changed.");
  }
}

/** A word that is JSON, or says where it is. */
export async function payloadOf(word: string, name = "PAYLOAD"): Promise<unknown> {
  const { source, text } = await readWord(word, name);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Exit(
      source === name ? "usage" : "input-broken",
      `${source} is not JSON: ${(error as Error).message}.`,
      `A text is written with its quotes: '"text"'. Nothing was changed.`,
    );
  }
}
