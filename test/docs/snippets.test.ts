/**
 * Every code block of the documents is run, in the order of its page, against a daemon that the page has for itself;
 * or it stands there with the reason why not (blocks.ts says how). All that are TypeScript are type-checked as well.
 */
import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cortexd, spawnDaemon, temporaryFolder } from "../support/daemon.ts";
import { type Block, blocksOf, codeOf, pages, parse } from "./blocks.ts";

const root = join(import.meta.dir, "../..");
const blocks = pages.flatMap(blocksOf);
const isRun = ({ language, notRun }: Block) => notRun === null && (language === "ts" || language === "sh");
const placeOf = ({ page, line }: Block) => `${page}:${line}`;
const advice =
  "A block that cannot be run needs a mark before it: <!-- not run: REASON --> (test/docs/blocks.ts).";

/** The ports that the documents name lead to the page's own daemon. */
const redirect = (port: number, wsPort: number) => `
const own = (url) => String(url).replace(":9500", ":${port}").replace(":9501", ":${wsPort}");
const { fetch, WebSocket } = globalThis;
globalThis.fetch = (url, ...rest) => fetch(typeof url === "object" && "url" in url ? new Request(own(url.url), url) : own(url), ...rest);
globalThis.WebSocket = class extends WebSocket { constructor(url, ...rest) { super(own(url), ...rest); } };
`;

/** A program by this name that the blocks find first. */
function script(folder: string, name: string, text: string): void {
  writeFileSync(join(folder, name), `#!/usr/bin/env bash\n${text}\n`);
  chmodSync(join(folder, name), 0o755);
}

const quoted = (words: string[]) => words.map((word) => `'${word}'`).join(" ");

/** Where a page's blocks are run, and how. */
async function place() {
  const folder = temporaryFolder();
  const bin = join(folder, "bin");
  mkdirSync(bin);
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const daemon = await spawnDaemon({ data: join(folder, "cortex-data"), cwd: folder });
  // What the daemon refuses must not pass for an answer.
  script(bin, "curl", `exec ${Bun.which("curl")} --fail-with-body "$@"`);
  script(bin, "cortexd", `exec ${quoted(cortexd)} "$@"`);
  const preload = join(folder, "redirect.js");
  writeFileSync(preload, redirect(daemon.port, daemon.wsPort));
  const environment = {
    PATH: `${bin}:${process.env.PATH}`,
    HOME: folder,
    CORTEX_URL: daemon.url,
    NO_COLOR: "1",
  };
  const run = async (block: Block, printed: string) => {
    const code = codeOf(block, printed);
    const file = join(folder, `block-${block.line}.${block.language}`);
    // A block that starts a worker would go on for ever: what it awaited is what it shows.
    writeFileSync(
      file,
      block.language === "ts" ? `${code}\nprocess.exit(0);\n` : code.replaceAll(":9500", `:${daemon.port}`),
    );
    const command =
      block.language === "ts"
        ? [process.execPath, "--preload", preload, file]
        : ["bash", "-euo", "pipefail", file];
    const child = Bun.spawn(command, {
      ...{ cwd: folder, env: environment, timeout: 60_000, stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    });
    const [output, errors] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { code: child.exitCode, output, errors };
  };
  return { run, stop: () => daemon.kill() };
}

describe("snippets", () => {
  test.each(pages.filter((page) => blocksOf(page).some(isRun)))(
    "snippets - the blocks of %s do what they show",
    async (page) => {
      const { run, stop } = await place();
      let printed = "";
      for (const block of blocksOf(page).filter(isRun)) {
        const { code, output, errors } = await run(block, printed);
        printed += output;
        if (code !== 0)
          throw new Error(
            `${placeOf(block)} ended with ${code}:\n${block.code}\n${output}${errors}\n${advice}`,
          );
        for (const text of block.prints) expect(output, placeOf(block)).toContain(text);
      }
      await stop();
    },
    300_000,
  );

  test("snippets - every block that is TypeScript has the right types", async () => {
    const folder = temporaryFolder();
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const typed = blocks.filter((block) => block.language === "ts" && block.notRun === null);
    const names = typed.map((block) => {
      const name = `${block.page.replaceAll("/", "-")}-${block.line}.ts`;
      writeFileSync(join(folder, name), codeOf({ ...block, puts: [] }, ""));
      return name;
    });
    const compilerOptions = {
      ...{ moduleDetection: "force", noUnusedLocals: false, noUnusedParameters: false },
      typeRoots: [join(root, "node_modules/@types")],
    };
    const project = { extends: join(root, "tsconfig.json"), compilerOptions, include: [], files: names };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(project));
    const tsc = Bun.spawn([process.execPath, join(root, "node_modules/.bin/tsc"), "-p", folder], {
      stdout: "pipe",
    });
    const [output] = await Promise.all([new Response(tsc.stdout).text(), tsc.exited]);
    expect(output).toBe("");
    expect(names.length).toBeGreaterThan(5);
  }, 120_000);

  test("snippets - every block that is JSON is JSON", () => {
    const wrong = blocks.filter(({ language, code, notRun }) => {
      if (language !== "json" || notRun !== null) return false;
      try {
        JSON.parse(code);
        return false;
      } catch {
        return true;
      }
    });
    expect(wrong.map(placeOf)).toEqual([]);
  });

  test("snippets - no block is in a language that nothing here runs, without a reason", () => {
    // Without a language it is a picture.
    const known = ["ts", "sh", "json", ""];
    const wrong = blocks.filter(({ language, notRun }) => !known.includes(language) && notRun === null);
    expect(wrong.map(placeOf)).toEqual([]);
  });
});

describe("snippets - marks", () => {
  const fenced = (comments: string, code = "echo ID") => `${comments}\n\`\`\`sh\n${code}\n\`\`\`\n`;
  const one = (comments: string) => parse("page.md", fenced(comments))[0]!;

  test("snippets - a block without a mark is run as it is", () => {
    expect(one("Words before it.")).toMatchObject({ language: "sh", line: 3, notRun: null });
    expect(codeOf(one("Words."), "")).toBe("echo ID");
  });

  test("snippets - a reason is read, and a mark without one is refused", () => {
    expect(one("<!-- not run: it takes a day -->").notRun).toBe("it takes a day");
    expect(() => one("<!-- not run -->")).toThrow('page.md:2: the mark "not run" says nothing');
  });

  test("snippets - a mark is for the block right below it alone", () => {
    expect(one("<!-- not run: a reason -->\n\n").notRun).toBe("a reason");
    expect(one("<!-- not run: a reason -->\nWords between.").notRun).toBeNull();
    const [, second] = parse("page.md", fenced("<!-- not run: a reason -->") + fenced(""));
    expect(second!.notRun).toBeNull();
  });

  test("snippets - hidden code comes before, or around", () => {
    expect(codeOf(one("<!-- run with\na=1\n-->"), "")).toBe("a=1\necho ID");
    expect(codeOf(one("<!-- run with\na=1\n…\nb=2\n-->"), "")).toBe("a=1\n\necho ID\n\nb=2");
  });

  test("snippets - a word is replaced by what was printed last, and missed where nothing was", () => {
    const block = one('<!-- put ID: "id":"(.*?)" -->');
    expect(codeOf(block, '{"id":"1-0"} {"id":"2-0"}')).toBe("echo 2-0");
    expect(() => codeOf(block, "nothing")).toThrow("page.md:3: nothing printed before matches");
    expect(() => one("<!-- put ID -->")).toThrow("names a word and a pattern");
  });

  test("snippets - what it must print is read", () => {
    expect(one("<!-- prints: done -->\n<!-- prints: 3 -->").prints).toEqual(["done", "3"]);
  });
});
