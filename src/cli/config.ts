/**
 * `cortexd config check | print | schema`: what serve would make of the same words, environment and file, without
 * starting anything. Every mistake is told at once; secrets are never shown.
 */
import { configSchema, explained } from "../config.ts";
import { ownWords } from "./configured.ts";
import { Exit } from "./exit.ts";
import { print } from "./terminal.ts";

export async function config(argv: string[]): Promise<void> {
  const [what, ...rest] = argv;
  if (what === "schema") return print(`${JSON.stringify(configSchema(), null, 2)}\n`);
  if (what !== "check" && what !== "print") {
    throw new Exit(
      "usage",
      `config ${what ?? ""} is not a command`,
      "Say `cortexd config check`, `print` or `schema`.",
    );
  }
  const { json, config } = ownWords(rest, []);
  const rows = explained(config);
  if (what === "check") {
    const { notes } = config;
    return print(
      json
        ? `${JSON.stringify({ ok: true, notes })}\n`
        : `${["The configuration is sound.", ...notes].join("\n")}\n`,
    );
  }
  if (json)
    return print(`${JSON.stringify(Object.fromEntries(rows.map(({ name, ...row }) => [name, row])))}\n`);
  const lines = rows.map(
    ({ name, text, unit, from }) => `${name.padEnd(20)} ${text.padEnd(24)} ${unit.padEnd(9)} ${from}`,
  );
  await print(`${lines.join("\n")}\n`);
}
