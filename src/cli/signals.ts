/** The signals that ask a command to end, for those that end in a way of their own. The daemon's are ending.ts. */
const ending = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
export type Ending = (typeof ending)[number];

/** Calls with each of them, until that is forgotten. */
export function onSignals(heard: (signal: Ending) => void): () => void {
  for (const signal of ending) process.on(signal, heard);
  return () => {
    for (const signal of ending) process.off(signal, heard);
  };
}

/** Aborts once it is asked that what goes on for ever ends; asked again, the process ends at once. */
export function endAsked(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  return stop.signal;
}
