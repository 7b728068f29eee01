/** What a process loads of the program: no more than it is asked for, or every start pays for a server. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { runProgram, temporaryFolder } from "../support/daemon.ts";

const root = join(import.meta.dir, "..", "..");

/** What a program loads, by rooms (`src/wire`) and packages (`elysia`); of the top a file is a room. */
async function loadedBy(words: string[]): Promise<string[]> {
  const list = join(temporaryFolder(), "modules");
  const preload = ["--preload", join(root, "test/cli/loaded.ts")];
  await runProgram([process.execPath, ...preload, ...words], { environment: { LOADED_MODULES: list } });
  const rooms = readFileSync(list, "utf8")
    .split("\n")
    .filter((path) => path.startsWith(root) && !path.endsWith("test/cli/loaded.ts"))
    .map((path) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? roomOf(relative(root, path)));
  return [...new Set(rooms)].sort();
}
const roomOf = (path: string) => /^(src\/[^/]+|[^/]+)/.exec(path)![0];
const command = (...words: string[]) => loadedBy([join(root, "src/main.ts"), ...words]);

/** What a daemon is made of. */
const daemon = ["elysia", "swagger-ui-dist", "src/core", "src/http", "src/ws"];

test("loading - the way this is seen sees what a daemon is made of", async () => {
  const found = await command("serve", "--port", "0", "--ws-port", "0", "--data", "/dev/null/x");
  expect(found).toEqual(expect.arrayContaining(daemon));
  // It writes the API's document, and is loaded with the first who asks for that.
  expect(found).not.toContain("@elysiajs/swagger");
});

test("loading - the version is told without the wire, the options or a client", async () => {
  const rooms = ["package.json", "src/cli", "src/engine", "src/lib", "src/log"];
  expect(await command("version")).toEqual(rooms);
});

test.each([
  "status",
  "tasks list",
  "tasks import /no/file",
  "kv get x",
  "messages list t",
  "locks list",
  "doctor",
])("loading - `cortexd %s` loads nothing of a daemon", async (words) => {
  const found = await command(...words.split(" "), "--url", "http://127.0.0.1:1");
  expect(found).toContain("client");
  expect(found.filter((room) => daemon.includes(room))).toEqual([]);
});

test("loading - a program that imports the client loads the wire and nothing of a daemon", async () => {
  const found = await loadedBy(["-e", `await import(${JSON.stringify(join(root, "client/index.ts"))})`]);
  expect(found).toEqual(["@sinclair/typebox", "client", "src/lib", "src/wire"]);
});
