/**
 * How the runtime's allocator gives memory back. By default it looks for what it could return to the system each time
 * the loop is idle, which between two commits it always is: the pages that it returns are needed again at once, and a
 * daemon under load takes twice the time for an operation. It reads its options before any code runs, so a daemon begins anew
 * with them: the same process, started again before the server is loaded (docs/decisions/0140).
 */

/** Names and values of mimalloc, as the runtime has it. */
export const allocatorOptions = {
  /** Memory between the blocks in use stays with the process. */
  MIMALLOC_PURGE_HOLES: "0",
  /** The rest goes back once it was free for so many ms. */
  MIMALLOC_PURGE_DELAY: "2000",
} as const;

/** Begins the process anew with the options, unless it has them, or others; goes on where that cannot be done. */
export function tuneAllocator(): void {
  const { env, execPath, execArgv, argv, argv0, platform } = process;
  if (Object.keys(allocatorOptions).some((name) => env[name] !== undefined)) return;
  if (platform === "win32" || process.execve === undefined) return;
  // In the executable the program stands in argv too, and is not to be named.
  const program = argv[1]?.startsWith("/$bunfs/") ? [] : [...execArgv, argv[1] as string];
  try {
    process.execve(execPath, [argv0, ...program, ...argv.slice(2)], { ...env, ...allocatorOptions });
  } catch {
    // Slower, and otherwise the same.
  }
}
