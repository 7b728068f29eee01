/** Asking who started the command before something is gone for good. Where nobody can be asked, `--yes` says so. */
import { createInterface } from "node:readline/promises";
import { Exit } from "./exit.ts";
import type { Output } from "./output.ts";

/** Refuses where there is nobody to ask; `what` says what would be done. */
export function someoneToAsk(out: Output, what: string): void {
  if (process.stdin.isTTY && process.stdout.isTTY && !out.json) return;
  throw new Exit("usage", `${what}, and there is nobody to ask.`, "Give --yes if that is meant.");
}

export async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return (await terminal.question(question)).trim();
  } finally {
    terminal.close();
  }
}
