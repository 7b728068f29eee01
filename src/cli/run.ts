/**
 * From the words on the command line to a command, and from its end to an exit code. Every expected end prints
 * its message and advice; only a bug prints a stack.
 */
import { readFileSync } from "node:fs";
import { nearest } from "../lib/nearest.ts";
import type { Command, Entry, Group } from "./command.ts";
import { commands } from "./commands.ts";
import { configured } from "./configured.ts";
import { exitOfClient } from "./daemon.ts";
import { Exit, type ExitName, exitOf, exitTable } from "./exit.ts";
import { commandHelp, groupHelp, helpText, serveHelp, version } from "./help.ts";
import { Output, ReaderGone, terminalOf } from "./output.ts";
import { asks, parse, serveWords } from "./parse.ts";
import { print } from "./terminal.ts";
import { watched } from "./watched.ts";

const own: Record<string, Entry> = {
  help: { summary: "Print this; `cortexd help COMMAND` tells about one.", raw: help },
  version: { summary: "Print the version.", raw: () => print(`${version}\n`) },
};
const all: Readonly<Record<string, Entry>> = { ...commands, ...own };

async function start(argv: string[]): Promise<ExitName | number | undefined> {
  if (asks(argv, "--help", "-h")) return void (await help(argv));
  if (asks(argv, "--version", "-v")) return void (await print(`${version}\n`));
  const [first, ...rest] = argv;
  if (first === undefined || first.startsWith("-")) return void (await commandOf("serve").raw(argv));
  const entry = known(first, all, "a command", "cortexd help");
  if ("raw" in entry) return void (await entry.raw(rest));
  if (!("commands" in entry)) return execute(first, entry, rest);
  const isNamed = rest[0] !== undefined && !rest[0].startsWith("-");
  if (!isNamed && entry.alone !== undefined)
    return execute(`${first} ${entry.alone}`, entry.commands[entry.alone]!, rest);
  const [second, ...words] = rest;
  return execute(`${first} ${second}`, subcommand(first, entry, second), words);
}

const commandOf = (name: "serve") => commands[name] as Extract<Entry, { raw: unknown }>;

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
  if (first === undefined || (asked && argv[0]!.startsWith("-"))) return print(helpText(all));
  const entry = known(first, all, "a command", "cortexd help");
  if ("raw" in entry) return print(first === "serve" ? serveHelp() : helpText(all));
  if (!("commands" in entry)) return print(commandHelp(first, entry));
  if (second === undefined) return print(groupHelp(first, entry));
  return print(commandHelp(`${first} ${second}`, subcommand(first, entry, second)));
}

async function execute(
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
    return void (await watched(parsed.to, out, carryOut));
  } catch (error) {
    if (error instanceof ReaderGone) return;
    throw exitOfClient(error, parsed.to, command) ?? error;
  }
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
