/**
 * The reference of the client, read from its source: what client/index.ts exports, file by file, as declarations with their
 * comments and without bodies. It reads the text as the formatter leaves it; no compiler is asked.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** What is exported from the client's own files, in the order of client/index.ts. */
export function exported(): { file: string; names: string[] }[] {
  const found = [...read("client/index.ts").matchAll(/^export (?:type )?\{([^}]*)\} from "\.\/([\w.]+)";/gm)];
  return found.map(([, names, file]) => ({
    file: `client/${file}`,
    names: names!
      .split(",")
      .map((name) => name.trim().replace(/^type | as \w+$/g, ""))
      .filter((name) => name !== ""),
  }));
}

/** The lines of a comment that ends right above a line. */
function commentAbove(lines: readonly string[], at: number): string[] {
  if (!lines[at - 1]?.trim().endsWith("*/")) return [];
  let from = at - 1;
  while (!lines[from]!.trim().startsWith("/**")) from--;
  return lines.slice(from, at);
}

const depthOf = (text: string) =>
  [...text].reduce(
    (depth, sign, i) =>
      "([{".includes(sign) ? depth + 1 : ")]}".includes(sign) && text[i - 1] !== "=" ? depth - 1 : depth,
    0,
  );

/** The lines from one on to where what begins there has its signature, and whether a body follows. */
function signature(lines: readonly string[], at: number): { text: string[]; end: number; hasBody: boolean } {
  for (let end = at; ; end++) {
    const text = lines.slice(at, end + 1);
    const last = lines[end]!;
    if (last.endsWith(" {") && depthOf(text.join("\n")) === 1)
      return { text: [...text.slice(0, -1), last.slice(0, -2)], end, hasBody: true };
    if (last.endsWith(";") && depthOf(text.join("\n")) === 0) return { text, end, hasBody: false };
  }
}

/** The place of a sign that stands in no bracket, or -1. */
function outside(text: string, sign: string): number {
  for (let at = text.indexOf(sign); at !== -1; at = text.indexOf(sign, at + 1))
    if (depthOf(text.slice(0, at)) === 0) return at;
  return -1;
}

/** Without what a field is set to, or what a function does. */
function declared(lines: readonly string[]): string[] {
  const text = lines.join("\n");
  const isFunction = /^export const \w+ = (async )?[(<]/.test(text);
  const end = outside(text, " =>");
  if (isFunction) return (end === -1 ? text : text.slice(0, end)).split("\n");
  // What has a type is told by it; an overload is all signature.
  const isField = /^\s*(export const |readonly |static |override )*\w+\??:/.test(text);
  return (isField && text.includes(" = ") ? text.slice(0, text.indexOf(" = ")) : text).split("\n");
}

const ended = (text: readonly string[]) => {
  const last = text.at(-1)!.replace(/;$/, "");
  return [...text.slice(0, -1), `${last};`];
};

function classText(lines: readonly string[], at: number): string[] {
  const head = signature(lines, at);
  const end = lines.indexOf("}", head.end);
  const out = [...head.text.slice(0, -1), `${head.text.at(-1)} {`];
  let overloaded = "";
  for (let i = head.end + 1; i < end; i++) {
    const line = lines[i]!;
    if (!/^ {2}[\w#]/.test(line)) continue;
    const { text, end: last, hasBody } = signature(lines, i);
    const name = /^ {2}(?:(?:readonly|async|override|get|static) )*\*?([#\w]+)/.exec(line)![1]!;
    const isHidden = name.startsWith("#") || name === "private";
    const isImplementation = hasBody && name === overloaded;
    overloaded = hasBody || !line.includes("(") ? "" : name;
    if (!isHidden && !isImplementation)
      out.push(...commentAbove(lines, i), ...ended(hasBody ? text : declared(text)));
    i = hasBody ? lines.indexOf("  }", last) : last;
  }
  return [...out, "}"];
}

/** A declaration by its name, or null where the file only passes it on. */
export function declaration(file: string, name: string): string | null {
  const lines = read(file).split("\n");
  const starts = lines.flatMap((line, i) =>
    new RegExp(`^export (abstract |async )*(class|type|function|const) ${name}\\b`).test(line) ? [i] : [],
  );
  if (starts.length === 0) return null;
  const texts = starts.flatMap((at) => {
    const comment = commentAbove(lines, at);
    if (/^export (abstract )?class /.test(lines[at]!)) return [[...comment, ...classText(lines, at)]];
    const { text, hasBody } = signature(lines, at);
    if (/^export type /.test(lines[at]!)) return [[...comment, ...wholeType(lines, at)]];
    // The last of several is what carries them out.
    if (hasBody && starts.length > 1) return [];
    const own = declared(hasBody ? text.map((line) => line.replace(/ =>?$/, "")) : text);
    return [[...comment, ...ended(own)]];
  });
  return texts
    .map((text) => text.join("\n").replace(/^export /gm, ""))
    .join("\n")
    .replace(/^( *)(?:(?:async|override) |\*(?=\w))/gm, "$1")
    .replace(/^const (\w+) = (?=[(<])/gm, "function $1");
}

function wholeType(lines: readonly string[], at: number): string[] {
  let end = at;
  while (!(lines[end]!.endsWith(";") && depthOf(lines.slice(at, end + 1).join("\n")) === 0)) end++;
  return lines.slice(at, end + 1);
}

export function clientText(): string {
  return exported()
    .map(({ file, names }) => {
      const head = /^\/\*\*\s*([\s\S]*?)\s*\*\//.exec(read(file))![1]!.replace(/^ ?\* ?/gm, "");
      const text = names.map((name) => declaration(file, name)).filter((one) => one !== null);
      if (text.length === 0) return "";
      const title = file.replace(/^client\/|\.ts$/g, "");
      return `## ${title}\n\n${head}\n\n<!-- not run: declarations -->\n\`\`\`ts\n${text.join("\n\n")}\n\`\`\``;
    })
    .filter((part) => part !== "")
    .join("\n\n");
}
