/**
 * Builds dist/cortexd: one executable with the runtime in it, for this machine's system; with `--all` one for each
 * system that the runtime is there for, with their checksums (the runtimes are fetched from the package registry). It must
 * never be minified: the web framework reads its own handlers' source, and a minified one validates nothing. Files of the
 * folder it is started in (.env, bunfig.toml) are not loaded: they would be code and configuration from a stranger.
 */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pkg from "../package.json" with { type: "json" };

const root = join(import.meta.dir, "..");

/** The program, and every thread it starts: a thread that is not an entry point would be missing at run time. */
const entrypoints = ["src/main.ts", "src/log/worker.ts", "src/log/reader-worker.ts"];

/** What `--all` builds. `baseline` is for x64 processors from before 2013, `musl` for Alpine Linux and its like. */
const targets = [
  ...["linux-x64", "linux-x64-baseline", "linux-x64-musl", "linux-arm64", "linux-arm64-musl"],
  ...["darwin-x64", "darwin-arm64", "windows-x64", "windows-arm64"],
];

const nameOf = (target: string) =>
  `cortexd-${pkg.version}-${target}${target.startsWith("windows") ? ".exe" : ""}`;

/** Builds dist/NAME; says how large it is, or null if it could not be built. */
function build(name: string, target: string | null): string | null {
  const outfile = join(root, "dist", name);
  const { success } = Bun.spawnSync(
    [
      process.execPath,
      "build",
      ...["--compile", "--bytecode", "--format=esm", "--sourcemap"],
      ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
      ...(target === null ? [] : [`--target=bun-${target}`]),
      ...entrypoints,
      ...["--outfile", outfile],
    ],
    { cwd: root, stdout: "inherit", stderr: "inherit" },
  );
  return success && existsSync(outfile) ? `${(statSync(outfile).size / 1e6).toFixed(1)} MB` : null;
}

/** As `sha256sum --check SHA256SUMS` reads it. */
const sumOf = (name: string) =>
  `${new Bun.CryptoHasher("sha256").update(readFileSync(join(root, "dist", name))).digest("hex")}  ${name}\n`;

function buildAll(): void {
  const built: string[] = [];
  const missing: string[] = [];
  for (const target of targets) {
    const name = nameOf(target);
    rmSync(join(root, "dist", name), { force: true });
    const size = build(name, target);
    if (size === null) missing.push(target);
    else built.push(name);
    console.log(size === null ? `dist/${name} could not be built` : `dist/${name} ${size}`);
  }
  writeFileSync(join(root, "dist", "SHA256SUMS"), built.map(sumOf).join(""));
  console.log(`dist/SHA256SUMS, of ${built.length} executables`);
  if (missing.length === 0) return;
  console.error(
    `Not built: ${missing.join(", ")}. What stands above each says why; a runtime may not be to be had.`,
  );
  process.exit(1);
}

for (const entrypoint of entrypoints) {
  if (!existsSync(join(root, entrypoint))) throw new Error(`${entrypoint} is not there`);
}
const words = process.argv.slice(2);
if (words.length === 0) {
  const size = build("cortexd", null);
  if (size === null) process.exit(1);
  console.log(`dist/cortexd ${size}`);
} else if (words.length === 1 && words[0] === "--all") buildAll();
else {
  console.error(`${words.join(" ")} means nothing here: give --all, or nothing.`);
  process.exit(2);
}
