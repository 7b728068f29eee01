/**
 * From the words on the command line to a command, and from its end to an exit code. Every expected end prints
 * its message and advice; only a bug prints a stack. What only some words need is loaded by them (commands.ts).
 */
import { nearest } from "../lib/nearest.ts";
import type { Command, Entry, Group } from "./command.ts";
import { commands, loaded } from "./commands.ts";
import { Exit, type ExitName, exitOf, exitTable } from "./exit.ts";
import { print } from "./output.ts";
import { version } from "./version.ts";

const all: typeof commands = {
  ...commands,
  help: async () => ({ summary: "Print this; `cortexd help COMMAND` tells about one.", raw: help }),
  version: async () => ({ summary: "Print the version.", raw: () => print(`${version}\n`) }),
};

async function start(argv: string[]): Promise<ExitName | number | undefined> {
  if (asks(argv, "--help", "-h")) return void (await help(argv));
  if (asks(argv, "--version", "-v")) return void (await print(`${version}\n`));
  const [first, ...rest] = argv;
  if (first === undefined) return start(["serve"]);
  if (first.startsWith("-"))
    return start(["serve", ...argv]).catch((error) => {
      throw behind(argv, error);
    });
  const entry = await named(first);
  if ("raw" in entry) return void (await entry.raw(rest));
  const { execute } = await import("./execute.ts");
  if (!("commands" in entry)) return execute(first, entry, rest);
  const isNamed = rest[0] !== undefined && !rest[0].startsWith("-");
  if (!isNamed && entry.alone !== undefined)
    return execute(`${first} ${entry.alone}`, entry.commands[entry.alone]!, rest);
  const [second, ...words] = rest;
  return execute(`${first} ${second}`, subcommand(first, entry, second), words);
}

/** `--url X tasks list`: without a command in front, all of it was read as options of serve. */
function behind(argv: readonly string[], error: unknown): unknown {
  const word = argv.find((word) => Object.hasOwn(all, word));
  if (!(error instanceof Exit) || error.as !== "usage" || word === undefined) return error;
  return new Exit("usage", error.message, `Options stand behind the command: \`cortexd ${word} …\`.`);
}

/** Whether somebody asks what a command is for instead of using it; words after `--` are not looked at. */
function asks(argv: readonly string[], ...flags: string[]): boolean {
  const end = argv.indexOf("--");
  return (end === -1 ? argv : argv.slice(0, end)).some((word) => flags.includes(word));
}

const named = (word: string): Promise<Entry> => known(word, all, "a command", "cortexd help")();

function known<T>(word: string, from: Readonly<Record<string, T>>, what: string, help: string): T {
  if (Object.hasOwn(from, word)) return from[word]!;
  const near = nearest(word, Object.keys(from));
  const meant = near === null ? "" : `; did you mean ${near}?`;
  throw new Exit("usage", `${word} is not ${what}${meant}`, `\`${help}\` lists the commands.`);
}

function subcommand(name: string, group: Group, word: string | undefined): Command {
  const list = Object.keys(group.commands);
  if (word === undefined || word.startsWith("-")) {
    const advice = `\`cortexd help ${name}\` tells what each does.`;
    throw new Exit("usage", `cortexd ${name} needs one of ${list.join(", ")}.`, advice);
  }
  return known(word, group.commands, `a command of cortexd ${name}`, `cortexd help ${name}`);
}

/** `help [COMMAND [SUBCOMMAND]]`, and `--help` anywhere: then what follows the command's name says nothing. */
async function help(argv: string[]): Promise<void> {
  const words = argv.filter((word) => word !== "help" && !word.startsWith("-"));
  const asked = argv.some((word) => word.startsWith("-"));
  const [first, second] = words;
  const { commandHelp, groupHelp, helpText, serveHelp } = await import("./help.ts");
  if (first === undefined || (asked && argv[0]!.startsWith("-"))) return print(helpText(await loaded(all)));
  const entry = await named(first);
  if ("raw" in entry) return print(first === "serve" ? serveHelp() : helpText(await loaded(all)));
  if (!("commands" in entry)) return print(commandHelp(first, entry));
  if (second === undefined) return print(groupHelp(first, entry));
  return print(commandHelp(`${first} ${second}`, subcommand(first, entry, second)));
}

export async function run(argv: string[]): Promise<number> {
  try {
    const ended = (await start(argv)) ?? "ok";
    return typeof ended === "number" ? ended : exitTable[ended].code;
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
