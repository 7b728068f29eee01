/**
 * From the words on the command line to a command, and from its end to an exit code. Every expected end prints
 * its message and advice; only a bug prints a stack.
 */
import { nearest } from "../lib/nearest.ts";
import { backup, restore } from "./backup.ts";
import { config } from "./config.ts";
import { Exit, exitOf, exitTable } from "./exit.ts";
import { helpText, version } from "./help.ts";
import { serve } from "./serve.ts";
import { print } from "./terminal.ts";
import { verify } from "./verify.ts";

/** A command gets the words after its name and resolves when it is done. */
type Command = { help: string; run: (argv: string[]) => Promise<void> | void };

const commands: Record<string, Command> = {
  serve: { help: "Run the daemon; meant when no command is given.", run: serve },
  verify: { help: "Read all of the data folder, change nothing, say what is whole. [--json]", run: verify },
  backup: { help: "TO: copy the data, beside the daemon. [--namespace NAME] [--json]", run: backup },
  restore: { help: "FROM: put a backup in the place of the data folder. [--json]", run: restore },
  config: {
    help: "check | print | schema: what serve would take, and where each value came from. [--json]",
    run: config,
  },
  help: { help: "Print this.", run: () => print(help()) },
  version: { help: "Print the version.", run: () => print(`${version}\n`) },
};

const help = () =>
  helpText(Object.fromEntries(Object.entries(commands).map(([name, { help }]) => [name, help])));

function choose(argv: string[]): { command: Command; rest: string[] } {
  if (argv.includes("--help") || argv.includes("-h")) return { command: commands.help!, rest: [] };
  if (argv.includes("--version") || argv.includes("-v")) return { command: commands.version!, rest: [] };
  const [first, ...rest] = argv;
  if (first === undefined || first.startsWith("-")) return { command: commands.serve!, rest: argv };
  if (Object.hasOwn(commands, first)) return { command: commands[first]!, rest };
  const near = nearest(first, Object.keys(commands));
  const meant = near === null ? "" : `; did you mean ${near}?`;
  throw new Exit("usage", `${first} is not a command${meant}`, "`cortexd help` lists the commands.");
}

export async function run(argv: string[]): Promise<number> {
  try {
    const { command, rest } = choose(argv);
    await command.run(rest);
    return exitTable.ok.code;
  } catch (error) {
    const exit = exitOf(error);
    if (exit === null) {
      await print(
        `cortexd: a bug: ${error instanceof Error ? error.stack : String(error)}\n`,
        process.stderr,
      );
      return exitTable.bug.code;
    }
    await print(`cortexd: ${exit.message}\n${exit.advice}\n`, process.stderr);
    return exitTable[exit.as].code;
  }
}
