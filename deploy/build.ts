/**
 * Builds dist/cortexd: one executable with the runtime in it, for this machine's system. It must never be
 * minified: the web framework reads its own handlers' source, and a minified one validates nothing. Files of the
 * folder it is started in (.env, bunfig.toml) are not loaded: they would be code and configuration from a stranger.
 */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const outfile = join(root, "dist", "cortexd");

/** The program, and every thread it starts: a thread that is not an entry point would be missing at run time. */
const entrypoints = ["src/main.ts", "src/log/worker.ts", "src/log/reader-worker.ts"];

for (const entrypoint of entrypoints) {
  if (!existsSync(join(root, entrypoint))) throw new Error(`${entrypoint} is not there`);
}

const build = Bun.spawnSync(
  [
    process.execPath,
    "build",
    ...["--compile", "--bytecode", "--format=esm", "--sourcemap"],
    ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
    ...entrypoints,
    ...["--outfile", outfile],
  ],
  { cwd: root, stdout: "inherit", stderr: "inherit" },
);
if (!build.success) process.exit(build.exitCode ?? 1);

const megabytes = (statSync(outfile).size / 1e6).toFixed(1);
console.log(`dist/cortexd ${megabytes} MB`);
