/** How far long work is: one line on standard error that renews itself, on a terminal alone. */
import { systemClock } from "../engine/clock.ts";

const everyMs = 100;
const width = 24;

export class Progress {
  readonly isTerminal = process.stderr.isTTY === true;
  #last = systemClock.monotonic();
  #shown = false;

  /** `text` is asked for only where it is shown. */
  show(text: () => string): void {
    const now = systemClock.monotonic();
    if (!this.isTerminal || now - this.#last < everyMs) return;
    this.#last = now;
    this.#shown = true;
    process.stderr.write(`\r\x1b[2K${text()}`);
  }

  end(): void {
    if (this.#shown) process.stderr.write("\r\x1b[2K");
  }
}

export function bar(done: number, total: number): string {
  const part = total === 0 ? 1 : Math.min(1, done / total);
  const full = Math.floor(part * width);
  return `[${"#".repeat(full)}${".".repeat(width - full)}] ${Math.floor(100 * part)} %`;
}

/** Shows how far each namespace is read while `work` goes on. */
export async function whileReading<T>(
  work: (reading: (name: string, done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  const progress = new Progress();
  try {
    return await work((name, done, total) => progress.show(() => `${bar(done, total)}  reading ${name}`));
  } finally {
    progress.end();
  }
}
