/**
 * The code blocks of the documents, and what stands before them, in comments that no reader sees:
 *
 *     <!-- not run: REASON -->         it is shown and not run, for this reason
 *     <!-- run with                    it is run with this before it; a line "…" stands for the block itself, and what
 *     CODE -->                         comes below it is run after
 *     <!-- put WORD: PATTERN -->       WORD in the block is replaced by the last such match in what the page printed
 *     <!-- prints: TEXT -->            what it prints must hold this
 *
 * A page is a story: its blocks are run one after the other, against one daemon.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

export type Block = {
  page: string;
  /** Where its code begins. */
  line: number;
  language: string;
  code: string;
  /** Why it is not run; null: it is. */
  notRun: string | null;
  before: string;
  after: string;
  puts: { word: string; pattern: RegExp }[];
  prints: string[];
};

export const pages = ["README.md", "ARCHITECTURE.md", "client/README.md", "examples/README.md"].concat(
  [...new Bun.Glob("docs/**/*.md").scanSync(root)].sort(),
);

export const blocksOf = (page: string): Block[] => parse(page, readFileSync(join(root, page), "utf8"));

export function parse(page: string, text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split("\n");
  let comments: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const fence = /^```(.*)$/.exec(lines[i]!);
    if (fence !== null) {
      const end = lines.indexOf("```", i + 1);
      if (end === -1) throw new Error(`${page}:${i + 1}: the block does not end`);
      const code = lines.slice(i + 1, end).join("\n");
      blocks.push({ page, line: i + 2, language: fence[1]!, code, ...marksOf(comments, `${page}:${i + 1}`) });
      comments = [];
      i = end;
    } else if (lines[i]!.startsWith("<!-- ")) {
      const from = i;
      while (i < lines.length && !lines[i]!.endsWith("-->")) i++;
      comments.push(
        lines
          .slice(from, i + 1)
          .join("\n")
          .replace(/^<!-- |\s*-->$/g, ""),
      );
    } else if (lines[i] !== "") comments = [];
  }
  return blocks;
}

function marksOf(comments: string[], where: string) {
  const marks = { notRun: null as string | null, before: "", after: "" };
  const puts: Block["puts"] = [];
  const prints: string[] = [];
  for (const comment of comments) {
    const [, mark, rest] = /^(not run|run with|put|prints)\b:?\s*([\s\S]*)$/.exec(comment) ?? [];
    if (mark === undefined) continue;
    if (rest === "") throw new Error(`${where}: the mark "${mark}" says nothing`);
    if (mark === "not run") marks.notRun = rest!;
    else if (mark === "prints") prints.push(rest!);
    else if (mark === "put") {
      const [, word, pattern] = /^(\S+): (.+)$/.exec(rest!) ?? [];
      if (word === undefined)
        throw new Error(`${where}: "put" names a word and a pattern, as in: put ID: "id":"(.*?)"`);
      puts.push({ word, pattern: new RegExp(pattern!, "g") });
    } else {
      const [before, after = ""] = rest!.split(/^…$/m);
      Object.assign(marks, { before, after });
    }
  }
  return { ...marks, puts, prints };
}

/** The block as it is run, given all that the page has printed before. */
export function codeOf({ page, line, code, before, after, puts }: Block, printed: string): string {
  const put = puts.reduce((text, { word, pattern }) => {
    const found = [...printed.matchAll(pattern)].at(-1);
    if (found === undefined) throw new Error(`${page}:${line}: nothing printed before matches ${pattern}`);
    return text.replaceAll(word, found[1] ?? found[0]);
  }, code);
  return [before, put, after].filter((part) => part !== "").join("\n");
}
