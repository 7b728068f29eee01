/** The submits in docs/guides/uniqueness.md do what stands above them. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TaskSubmit } from "../../src/wire/tasks.ts";
import { World } from "../support/world.ts";

const text = readFileSync(join(import.meta.dir, "../../docs/guides/uniqueness.md"), "utf8");
const submits = [...text.matchAll(/\*\*(.+?)\*\*[^`]*?(?:`[^`]+`[^`]*?)*```json\n(.*)\n```/g)].map(
  ([, title, json]) => [title as string, JSON.parse(json as string) as TaskSubmit] as const,
);

test("uniqueness - the guide has its submits", () => {
  expect(submits.map(([title]) => title.split(" ")[0])).toEqual(["No", "An", "Throttle", "Debounce", "The"]);
});

test.each(submits)("uniqueness - %s: the second is a duplicate, as the guide says", (title, submit) => {
  const world = new World();
  const submitted = () =>
    world.ok("task.submit", submit) as { id: string; duplicate: boolean; replaced?: boolean };
  const first = submitted();
  const isNewest = title === "Debounce" || title === "The newest counts";
  expect(submitted()).toMatchObject({
    id: first.id,
    duplicate: true,
    ...(isNewest ? { replaced: true } : {}),
  });
  world.advance(60_000);
  expect(submitted().duplicate).toBe(title !== "Throttle");
});
