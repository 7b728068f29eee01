/**
 * `--watch` of what lists and shows: the same again each time the daemon tells its figures, once a second, and only where
 * it has changed. On a terminal it stands in one place; elsewhere one follows the other, with --json a line each.
 */
import { CoordinationClient } from "../../client/client.ts";
import type { Address } from "./command.ts";
import { Output } from "./output.ts";
import { endAsked } from "./signals.ts";

export async function watched(
  to: Address,
  out: Output,
  carryOut: (out: Output) => Promise<unknown>,
): Promise<void> {
  const signal = endAsked();
  const isTerminal = out.terminal.columns !== null && !out.json;
  let last = "";
  const show = async () => {
    let text = "";
    const collecting = new Output(out.json, out.terminal, out.now, async (part) => {
      text += part;
    });
    await carryOut(collecting);
    if (text === last) return;
    last = text;
    if (isTerminal) await out.write(`\x1b[H\x1b[2J${fitting(text, process.stdout.rows || 24, out)}`);
    else await out.write(text);
  };
  // What is wrong with it is told at once, as without --watch.
  await show();
  const client = new CoordinationClient({ ...to, client: "cortexd-watch" });
  client.on("error", () => {});
  try {
    for await (const _ of client.stats({ signal }))
      await show().catch((error: Error) =>
        client.state === "connected" ? Promise.reject(error) : undefined,
      );
  } finally {
    client.close();
  }
}

/** As many lines as the terminal has, with a word on those that are left out. */
function fitting(text: string, rows: number, out: Output): string {
  const lines = text.trimEnd().split("\n");
  const shown = Math.max(1, rows - 2);
  if (lines.length <= shown) return `${lines.join("\n")}\n`;
  const more = out.paint(`… ${lines.length - shown} lines more`, "dim");
  return `${lines.slice(0, shown).join("\n")}\n${more}\n`;
}
