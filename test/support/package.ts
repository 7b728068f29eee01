/**
 * The client package as somebody gets it: built, packed and installed into a project of its own, without a network.
 * It is built once for all tests that ask for it.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildClient } from "../../deploy/client.ts";
import { startProgram, temporaryFolder } from "./daemon.ts";

/** Node and npm, which is what the package is for; "": both are here. For the end of the test's title. */
export const missingNode =
  Bun.which("node") === null || Bun.which("npm") === null
    ? " (skipped: no node and npm on this machine)"
    : "";

export const runIn = (cwd: string, command: string[], environment: Record<string, string> = {}) =>
  startProgram(command, { cwd, environment }).ended;

let packing: Promise<{ archive: string; files: string[] }> | null = null;

/** The package as an archive, and what is in it. */
export function packed(): Promise<{ archive: string; files: string[] }> {
  packing ??= (async () => {
    const folder = join(temporaryFolder(), "client");
    await buildClient(folder);
    const { code, output, errors } = await runIn(folder, ["npm", "pack", "--json", "--offline"]);
    if (code !== 0) throw new Error(`npm pack failed:\n${errors}`);
    const [{ filename, files }] = JSON.parse(output);
    return { archive: join(folder, filename), files: files.map(({ path }: { path: string }) => path).sort() };
  })();
  return packing;
}

let installing: Promise<string> | null = null;

/** Where it is installed, in a project that has nothing else. */
export function installed(): Promise<string> {
  installing ??= (async () => {
    const { archive } = await packed();
    const folder = temporaryFolder();
    const about = { name: "consumer", private: true, type: "module" };
    writeFileSync(join(folder, "package.json"), JSON.stringify(about));
    const install = ["npm", "install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", archive];
    const { code, errors } = await runIn(folder, install);
    if (code !== 0) throw new Error(`npm install failed:\n${errors}`);
    return join(folder, "node_modules/@cortexd/client");
  })();
  return installing;
}

/** A new folder of that project, with these files. */
export async function project(files: Record<string, string> = {}): Promise<string> {
  const folder = mkdtempSync(join(await installed(), "../../..", "part-"));
  for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text);
  return folder;
}
