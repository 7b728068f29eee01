/** What is to be done when all tests of the process are: the runner fires no process exit event. setup.ts does it. */
const ends: (() => unknown)[] = [];

export function atEnd(end: () => unknown): void {
  ends.push(end);
}

export async function end(): Promise<void> {
  for (const one of ends) await one();
}
