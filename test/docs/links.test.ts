/** Links between the documents, and into the source, lead somewhere. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pages } from "./blocks.ts";

const root = join(import.meta.dir, "../..");

/** As the sites that show such pages name a heading. */
const anchorsOf = (text: string) =>
  [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );

function isDead(page: string, target: string): boolean {
  if (/^[a-z]+:/.test(target)) return false;
  const [path, anchor] = target.split("#");
  const file = path === "" ? join(root, page) : join(root, dirname(page), path!);
  if (!existsSync(file)) return true;
  return anchor !== undefined && !anchorsOf(readFileSync(file, "utf8")).includes(anchor);
}

test("links - every one in a document leads to a file, and to a heading where it names one", () => {
  const links = pages.flatMap((page) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => ({
      page,
      target: target!,
    })),
  );
  expect(links.length).toBeGreaterThan(30);
  expect(links.filter(({ page, target }) => isDead(page, target))).toEqual([]);
});

test("links - every page can be found from the README, the index or its folder's own", () => {
  const targets = (page: string) =>
    [...readFileSync(join(root, page), "utf8").matchAll(/\]\(([^)#\s]+)/g)].map(([, target]) =>
      join(dirname(page), target!),
    );
  const found = new Set(["README.md", "docs/README.md", "docs/migrate/README.md"].flatMap(targets));
  const lost = pages.filter(
    (page) => page !== "README.md" && !page.startsWith("docs/decisions/") && !found.has(page),
  );
  expect(lost).toEqual([]);
});

test("links - one that leads nowhere is seen", () => {
  expect(isDead("README.md", "docs/none.md")).toBe(true);
  expect(isDead("README.md", "docs/IMPORT.md#none")).toBe(true);
  expect(isDead("docs/IMPORT.md", "../README.md#the-first-five-minutes")).toBe(false);
});
