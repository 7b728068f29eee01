/**
 * `cortexd completion SHELL`: a script that completes commands, options and their choices. It is written from the command
 * tables, whole, so that no program is started at a tab. All else that a shell completes are files.
 */
import { optionNames, optionTable } from "../config.ts";
import { type Command, command, type Option } from "./command.ts";
import type { Entries } from "./commands.ts";
import { flagOf, optionsOfCommand } from "./parse.ts";

type Flag = {
  name: string;
  help: string;
  /** What may follow it: one of these, anything (null), or nothing. */
  takes: readonly string[] | null | "nothing";
};
/** A place on the command line: the words before it, and what may come there. */
type Place = { at: string; words: [word: string, help: string][]; flags: Flag[] };

const firstSentence = (help: string) => /^.*?[.;:](?= |$)/s.exec(help)?.[0].replace(/[.;:]$/, "") ?? help;

const flagFrom = ([name, option]: [string, Option]): Flag => ({
  name: flagOf(name),
  help: firstSentence(option.help),
  takes: option.type === "flag" ? "nothing" : option.type === "choice" ? option.choices : null,
});

const serveFlags: Flag[] = [
  { name: "--config", help: "A file of options as one JSON object", takes: null },
  ...optionNames.map((name): Flag => {
    const row = optionTable[name] as { help: string; choices?: readonly string[] };
    return { name: flagOf(name), help: firstSentence(row.help), takes: row.choices ?? null };
  }),
];
const helpFlag: Flag = { name: "--help", help: "Say how it is used", takes: "nothing" };

function flagsOf(one: Command): Flag[] {
  const own = Object.entries(optionsOfCommand(one)).map(flagFrom);
  const names = new Set(own.map(({ name }) => name));
  const serve = one.serve === undefined ? [] : serveFlags.filter(({ name }) => !names.has(name));
  return [...own, ...serve, helpFlag];
}

export function placesOf(all: Entries): Place[] {
  const summaries = Object.entries(all).map(([name, { summary }]): [string, string] => [name, summary]);
  const places: Place[] = [
    {
      at: "",
      words: [
        ...summaries,
        ["help", "Print all of the help, or that of a command."],
        ["version", "Print the version."],
      ],
      flags: [...serveFlags, helpFlag, { name: "--version", help: "Print the version", takes: "nothing" }],
    },
    { at: "help", words: summaries, flags: [] },
  ];
  for (const [name, entry] of Object.entries(all)) {
    if ("raw" in entry) places.push({ at: name, words: [], flags: [...serveFlags, helpFlag] });
    else if (!("commands" in entry))
      places.push({ at: name, words: choicesOf(entry), flags: flagsOf(entry) });
    else {
      const list = Object.entries(entry.commands);
      const words = list.map(([word, { summary }]): [string, string] => [word, summary]);
      const alone = entry.alone === undefined ? [helpFlag] : flagsOf(entry.commands[entry.alone]!);
      places.push({ at: name, words, flags: alone }, { at: `help ${name}`, words, flags: [] });
      for (const [word, one] of list)
        places.push({ at: `${name} ${word}`, words: choicesOf(one), flags: flagsOf(one) });
    }
  }
  return places;
}

/** The words that its first argument may be. */
const choicesOf = ({ arguments: [first] }: Command): [string, string][] =>
  first?.choices?.map((word): [string, string] => [word, ""]) ?? [];

const shells = ["bash", "zsh", "fish"] as const;

export const completion = (all: () => Promise<Entries>): Command =>
  command({
    summary: "Print the script by which a shell completes commands and options.",
    arguments: [{ name: "SHELL", help: "bash, zsh or fish.", choices: shells }],
    options: {},
    client: false,
    json: 'one object, {"shell", "script"}.',
    examples: [
      { words: "completion bash > ~/.local/share/bash-completion/completions/cortexd", meaning: "For bash." },
      {
        words: "completion zsh > ~/.zfunc/_cortexd",
        meaning: "For zsh; ~/.zfunc stands in fpath before compinit.",
      },
      { words: "completion fish > ~/.config/fish/completions/cortexd.fish", meaning: "For fish." },
    ],
    async run({ words: [shell], out }) {
      const script = scripts[shell as (typeof shells)[number]](placesOf(await all()));
      if (out.json) await out.value({ shell, script });
      else await out.write(script);
      return undefined;
    },
  });

// ------------------------------------------------------------------------------------------------- the scripts

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
const head = (shell: string) =>
  `# Completion of cortexd for ${shell}, written by \`cortexd completion ${shell}\`.\n`;
/** Those that are two words with what follows them: a group, and help of a group. */
const twoWords = (places: readonly Place[]) => [
  ...new Set(places.filter(({ at }) => at.includes(" ")).map(({ at }) => at.split(" ")[0]!)),
];
const valued = ({ at, flags }: Place) =>
  flags
    .filter(({ takes }) => takes !== "nothing")
    .map(({ name, takes }) => ({ key: `${at} ${name}`, takes }));

/** The same for bash and zsh but for the way words are offered: where one stands, and what may come there. */
function cases(
  places: readonly Place[],
  offer: (place: Place) => string,
  choices: (of: readonly string[]) => string,
) {
  const all = places.flatMap(valued);
  const some = all.filter(({ takes }) => takes !== null);
  const others = all.filter(({ takes }) => takes === null).map(({ key }) => `"${key}"`);
  return `  case "$at $previous" in
${some.map(({ key, takes }) => `    "${key}") ${choices(takes as readonly string[])}; return ;;`).join("\n")}
    ${others.join("|")}) _cortexd_files; return ;;
  esac
  case "$at" in
${places.map((place) => `    "${place.at}") ${offer(place)} ;;`).join("\n")}
  esac`;
}

const scripts: Record<(typeof shells)[number], (places: readonly Place[]) => string> = {
  bash: (places) => `${head("bash")}_cortexd_files() { :; }
_cortexd_offer() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "\${COMP_WORDS[COMP_CWORD]}"); }
_cortexd_either() {
  if [[ \${COMP_WORDS[COMP_CWORD]} == -* ]]; then _cortexd_offer "$2"; elif [[ $1 ]]; then _cortexd_offer "$1"; fi
}
_cortexd() {
  local previous=\${COMP_WORDS[COMP_CWORD-1]} at="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do [[ \${COMP_WORDS[i]} == -- ]] && return; done
  if ((COMP_CWORD > 1)); then
    at=\${COMP_WORDS[1]}
    [[ $at == -* ]] && at=serve
    case $at in
      ${twoWords(places).join("|")})
        if ((COMP_CWORD > 2)) && [[ \${COMP_WORDS[2]} != -* ]]; then at="$at \${COMP_WORDS[2]}"; fi ;;
    esac
  fi
${cases(
  places,
  ({ words, flags }) =>
    `_cortexd_either ${quoted(words.map(([word]) => word).join(" "))} ${quoted(flags.map(({ name }) => name).join(" "))}`,
  (of) => `_cortexd_offer ${quoted(of.join(" "))}`,
)}
}
complete -o bashdefault -o default -F _cortexd cortexd
`,

  zsh: (places) => `#compdef cortexd
${head("zsh")}_cortexd_files() { _files }
_cortexd() {
  local current=$words[CURRENT] previous=$words[CURRENT-1] at=""
  local -a list
  if (( $words[(i)--] < CURRENT )); then _files; return; fi
  if (( CURRENT > 2 )); then
    at=$words[2]
    [[ $at == -* ]] && at=serve
    case $at in
      ${twoWords(places).join("|")})
        if (( CURRENT > 3 )) && [[ $words[3] != -* ]]; then at="$at $words[3]"; fi ;;
    esac
  fi
${cases(
  places,
  ({ words, flags }) => {
    const described = (list: readonly (readonly [string, string])[]) =>
      list.map(([word, help]) => quoted(help === "" ? word : `${word}:${help}`)).join(" ");
    const offered = words.length === 0 ? "_files; return" : `list=(${described(words)})`;
    const options = described(flags.map(({ name, help }) => [name, help]));
    return `if [[ $current == -* ]]; then list=(${options}); else ${offered}; fi`;
  },
  (of) => `compadd -- ${of.map(quoted).join(" ")}`,
)}
  _describe -t commands cortexd list
}
if [[ \${funcstack[1]-} == _cortexd ]]; then _cortexd "$@"; else compdef _cortexd cortexd; fi
`,

  fish: (places) => `${head("fish")}function __cortexd_at
    set -l words (commandline -opc)
    set -l at "$words[2]"
    if string match -q -- '-*' $at
        set at serve
    end
    if contains -- "$at" ${twoWords(places).join(" ")}; and test (count $words) -gt 2; and not string match -q -- '-*' $words[3]
        set at "$at $words[3]"
    end
    test "$at" = "$argv[1]"; and not contains -- -- $words
end
${places
  .flatMap(({ at, words, flags }) => [
    ...words.map(([word, help]) => ({ at, rest: `-f -a ${quoted(word)}`, help })),
    ...flags.map(({ name, help, takes }) => ({
      at,
      rest: `-l ${name.slice(2)}${takes === "nothing" ? "" : takes === null ? " -r" : ` -x -a ${quoted(takes.join(" "))}`}`,
      help,
    })),
  ])
  .map(
    ({ at, rest, help }) =>
      `complete -c cortexd -n ${quoted(`__cortexd_at "${at}"`)} ${rest} -d ${quoted(help)}`,
  )
  .join("\n")}
`,
};
