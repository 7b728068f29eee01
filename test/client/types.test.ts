/** A wrong field is a compile error: the compiler itself is asked, about calls that must not compile. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");
const fixture = join(import.meta.dir, "types/wrong.ts");

async function compile(text: string): Promise<number[]> {
  // Inside the tree, so that imports and packages are found as they are from the fixture.
  const folder = mkdtempSync(join(import.meta.dir, "types-"));
  try {
    const file = join(folder, "wrong.ts");
    writeFileSync(file, text);
    const config = { extends: join(root, "tsconfig.json"), include: [], files: [file] };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const tsc = Bun.spawn([process.execPath, join(root, "node_modules/.bin/tsc"), "-p", folder], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out] = await Promise.all([new Response(tsc.stdout).text(), tsc.exited]);
    const lines = out.split("\n").filter((line) => line.includes("error TS"));
    return lines
      .filter((line) => line.includes("wrong.ts"))
      .map((line) => Number(/\((\d+),/.exec(line)?.[1]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("types - every call that must not compile does not, and every one beside it does", async () => {
  const text = await Bun.file(fixture).text();
  const lines = text.split("\n");
  const marked = lines.flatMap((line, i) => (line.includes("// @ts-expect-error") ? [i + 2] : []));
  expect(marked.length).toBeGreaterThan(15);
  expect(await compile(text)).toEqual([]);
  const bare = text.replaceAll("// @ts-expect-error", "// wrong");
  expect(await compile(bare)).toEqual(marked);
}, 60_000);
