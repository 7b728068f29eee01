/** One command with the words after its name: they are read by its table, it runs, and an error of the client is told. */
import { readFileSync } from "node:fs";
import type { Command } from "./command.ts";
import { configured } from "./configured.ts";
import { exitOfClient } from "./daemon.ts";
import { Exit, type ExitName } from "./exit.ts";
import { Output, ReaderGone, terminalOf } from "./output.ts";
import { parse, serveWords } from "./parse.ts";

export async function execute(
  name: string,
  command: Command,
  argv: string[],
): Promise<ExitName | number | undefined> {
  const { env: environment } = process;
  const { own, serve } = serveWords(command, argv);
  const parsed = parse(command, own, { environment, readFile: (path) => readFileSync(path, "utf8") });
  if ("problems" in parsed) {
    const { problems } = parsed;
    const told = problems.length === 1 ? problems[0] : problems.map((one) => `\n  ${one}`).join("");
    throw new Exit("usage", `${told}`, `\`cortexd help ${name}\` shows how it is used.`);
  }
  // A reader that goes away is told by the write that fails.
  process.stdout.on("error", () => {});
  const out = new Output(parsed.json, terminalOf(process.stdout, environment));
  try {
    const config = () => configured(serve);
    const carryOut = (out: Output) => command.run({ ...parsed, values: parsed.values as never, config, out });
    if (parsed.values.watch !== true || command.watch === undefined) return await carryOut(out);
    const { watched } = await import("./watched.ts");
    return void (await watched(parsed.to, out, carryOut));
  } catch (error) {
    if (error instanceof ReaderGone) return;
    throw exitOfClient(error, parsed.to, command) ?? error;
  }
}
