/**
 * Where the threads' entry points lie. In the executable all modules lie in one file at its root, and each entry point
 * of its own in log/. In the client's package all are built side by side.
 */
export function entryPoint(name: "worker" | "reader-worker"): URL {
  const own = import.meta.url;
  const isCompiled = own.includes("$bunfs") || own.includes("~BUN");
  return new URL(
    isCompiled ? `./log/${name}.js` : own.endsWith(".ts") ? `./${name}.ts` : `./${name}.js`,
    own,
  );
}
