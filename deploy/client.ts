/**
 * Builds dist/client: the package @cortexd/client as it is published. Plain modules for browsers, Node and Bun alike,
 * declarations that need no other package, and no dependency. The embedded coordinator imports the client beside it, so
 * that an error is an instance of the same class wherever it comes from.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { BunPlugin } from "bun";
import { withoutSchemas } from "../src/dashboard/bundle.ts";
import { writeDeclarations } from "./declarations.ts";

const root = join(import.meta.dir, "..");
const from = join(root, "client");

/** What imports the client's own index gets the built one. */
const besideClient: BunPlugin = {
  name: "beside the client",
  setup(build) {
    build.onResolve({ filter: /client\/index\.ts$/ }, () => ({ path: "./index.js", external: true }));
  },
};

async function bundle(names: string[], outdir: string, target: "browser" | "bun", plugins: BunPlugin[]) {
  const { outputs } = await Bun.build({
    entrypoints: names.map((name) => join(root, name)),
    ...{ outdir, target, plugins, format: "esm", splitting: true },
    naming: { entry: "[name].js", chunk: "chunk-[hash].js" },
  });
  return outputs;
}

/** Licenses of what is bundled. */
const bundled = ["@sinclair/typebox/license", "@elysiajs/eden/LICENSE"];

export async function buildClient(outdir: string): Promise<void> {
  rmSync(outdir, { recursive: true, force: true });
  mkdirSync(outdir, { recursive: true });
  await bundle(["client/index.ts", "client/rest.ts"], outdir, "browser", [withoutSchemas]);
  await bundle(["client/embedded.ts", "client/testing.ts"], outdir, "browser", [besideClient]);
  // The threads of a data folder: only Bun ever starts them.
  await bundle(["src/log/worker.ts", "src/log/reader-worker.ts"], outdir, "bun", []);
  const { exports, private: _, ...about } = JSON.parse(readFileSync(join(from, "package.json"), "utf8"));
  const entries = Object.values<string>(exports).map((entry) => join("client", entry));
  await writeDeclarations(entries, join(outdir, "types"));
  const published = Object.entries<string>(exports).map(([name, entry]) => {
    const built = entry.replace(/\.ts$/, "");
    const script = `${built}.js`;
    const types = `./types/client/${built.slice(2)}.d.ts`;
    return [name, { types, browser: script, default: script }];
  });
  const manifest = { ...about, exports: Object.fromEntries(published), sideEffects: false };
  writeFileSync(join(outdir, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  cpSync(join(from, "README.md"), join(outdir, "README.md"));
  const licenses = bundled.map((path) => {
    const name = dirname(path);
    const text = readFileSync(join(root, "node_modules", path), "utf8");
    return `${name}\n\n${text.trim()}\n`;
  });
  writeFileSync(join(outdir, "LICENSES.txt"), licenses.join("\n\n"));
}

if (import.meta.main) {
  const outdir = join(root, "dist", "client");
  await buildClient(outdir);
  console.log("dist/client");
}
