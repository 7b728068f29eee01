/** Completion as the shells do it: the script that is printed is loaded, and asked what may come next. */
import { beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { commands } from "../../src/cli/commands.ts";
import { exitTable } from "../../src/cli/exit.ts";
import { priorities } from "../../src/wire/tasks.ts";
import { runCortexd, startProgram, temporaryFolder } from "../support/daemon.ts";

type Shell = "bash" | "zsh" | "fish";

/** What stands around the script so that it answers a line of words, the last of them unfinished. */
const asking: Record<Shell, (script: string, words: string[]) => string> = {
  bash: (script, words) => `source ${script}
    complete -p cortexd | grep -q -- "-F _cortexd cortexd" || exit 1
    COMP_WORDS=(cortexd ${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length}
    _cortexd; printf '%s\n' "\${COMPREPLY[@]}"`,
  // The functions that show what is offered work within the line editor alone.
  zsh: (script, words) => `compdef() { loaded=$1 }; _files() { }
    compadd() { shift; print -l -- \${(M)@:#$words[CURRENT]*} }
    _describe() { print -l -- \${(M)\${\${(P)4}%%:*}:#$words[CURRENT]*} }
    source ${script}; [[ $loaded == _cortexd ]] || exit 1
    words=(cortexd ${words.map((word) => `'${word}'`).join(" ")}); CURRENT=$#words; _cortexd`,
  fish: (script, words) =>
    `source ${script}; cd ${temporaryFolder()}; complete -C 'cortexd ${words.join(" ")}' | string replace -r '\\t.*' ''; true`,
};

const rows: [words: string[], offered: string[], notOffered: string[]][] = [
  [["ta"], ["tasks"], ["workers"]],
  [[""], [...Object.keys(commands), "help", "version"], ["submit"]],
  [
    ["tasks", ""],
    ["submit", "list", "delete"],
    ["tasks", "drain"],
  ],
  [["tasks", "submit", "--pri"], ["--priority"], ["--queue"]],
  [["tasks", "submit", "--priority", ""], [...priorities], ["submit"]],
  [["tasks", "submit", "x", "--queue", "q", "--"], ["--priority", "--url", "--json", "--help"], ["--follow"]],
  [["workers", "list", "--state", "o"], ["offline"], ["idle"]],
  [["queues", "--"], ["--json", "--url"], ["--group-rate"]],
  [["--preset", "d"], ["durable", "development"], ["production"]],
  [["serve", "--da"], ["--data"], ["--port"]],
  [["backup", "--da"], ["--data"], ["--port"]],
  [["completion", ""], ["bash", "zsh", "fish"], ["tasks"]],
  [["help", "work"], ["workers"], ["tasks"]],
  [["help", "workers", "d"], ["drain"], ["show"]],
  [["run", "--queue", "q", "--", "--"], [], ["--queue"]],
];

describe.each(["bash", "zsh", "fish"] as const)("completion - %s", (shell) => {
  const program = Bun.which(shell);
  const why = program === null ? ` (skipped: there is no ${shell})` : "";
  let script: string;
  beforeAll(async () => {
    if (program === null) return;
    const { code, output } = await runCortexd(["completion", shell]);
    expect(code).toBe(0);
    script = join(temporaryFolder(), "script");
    writeFileSync(script, output);
  });

  test.skipIf(program === null).each(rows)(
    `completion - after %j ${shell} offers what may come there${why}`,
    async (words, offered, notOffered) => {
      const environment = { HOME: temporaryFolder() };
      const command = [program!, "-c", asking[shell](script, words)];
      const { code, output, errors } = await startProgram(command, { environment }).ended;
      expect({ code, errors }).toEqual({ code: 0, errors: "" });
      const list = output.split("\n").filter((word) => word !== "");
      expect(list).toEqual(expect.arrayContaining(offered));
      for (const word of notOffered) expect(list).not.toContain(word);
    },
  );
});

test("completion - another shell is refused, with those there are", async () => {
  const { code, errors } = await runCortexd(["completion", "powershell"]);
  expect(code).toBe(exitTable.usage.code);
  expect(errors).toContain("bash, zsh, fish");
});
