/**
 * Bundles the page's script. It runs as a process of its own, because a macro, which is what calls it (built.ts),
 * must not start the bundler it is called by. What it writes is the script.
 */
import { join } from "node:path";
import type { BunPlugin } from "bun";

/** The client checks nothing by the wire's schemas: it needs their types, and not the library that makes them. */
export const withoutSchemas: BunPlugin = {
  name: "without schemas",
  setup(build) {
    build.onResolve({ filter: /^@sinclair\/typebox$/ }, () => ({ path: "schemas", namespace: "none" }));
    build.onLoad({ filter: /.*/, namespace: "none" }, () => ({
      contents: "export const Type = new Proxy({}, { get: () => () => ({}) });",
      loader: "js",
    }));
  },
};

if (import.meta.main) {
  const { outputs } = await Bun.build({
    entrypoints: [join(import.meta.dir, "page.tsx")],
    ...{ target: "browser", format: "iife", minify: true, plugins: [withoutSchemas] },
    define: { "process.env.NODE_ENV": '"production"' },
  });
  await Bun.write(Bun.stdout, await outputs[0]!.text());
}
