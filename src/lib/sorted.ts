/**
 * Texts in order, for pages and prefixes: runs of sorted texts, themselves in order. A text is found by halving twice,
 * so each step costs O(log n) comparisons, and moves no more than one run or the list of runs. What is in it is a
 * function of what was added and deleted, whatever the order; where the runs begin is not, and cannot be seen.
 */

const runMax = 512;

export class Sorted {
  readonly #runs: string[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(text: string): void {
    const place = Math.max(0, this.#runOf(text));
    const run = this.#runs[place];
    this.#size += 1;
    if (run === undefined) {
      this.#runs.push([text]);
      return;
    }
    const at = firstFrom(run, text);
    if (run.length < runMax) {
      run.splice(at, 0, text);
      return;
    }
    // What comes in order, as a recovery brings it, fills its runs.
    if (at === run.length && place === this.#runs.length - 1) {
      this.#runs.push([text]);
      return;
    }
    const upper = run.splice(runMax / 2);
    this.#runs.splice(place + 1, 0, upper);
    if (at <= run.length) run.splice(at, 0, text);
    else upper.splice(at - run.length, 0, text);
  }

  /** Deletes a text that is there. */
  delete(text: string): void {
    const place = this.#runOf(text);
    const run = this.#runs[place] as string[];
    run.splice(firstFrom(run, text), 1);
    this.#size -= 1;
    const before = this.#runs[place - 1];
    if (run.length === 0) this.#runs.splice(place, 1);
    else if (before !== undefined && before.length + run.length <= runMax / 2) {
      before.push(...run);
      this.#runs.splice(place, 1);
    }
  }

  /** From the first text that is not below `from` on, in order. Nothing may be added or deleted meanwhile. */
  *from(from: string): Iterable<string> {
    let place = Math.max(0, this.#runOf(from));
    let at = this.#runs.length === 0 ? 0 : firstFrom(this.#runs[place] as string[], from);
    for (; place < this.#runs.length; place++) {
      const run = this.#runs[place] as string[];
      for (; at < run.length; at++) yield run[at] as string;
      at = 0;
    }
  }

  /** The last run whose first text is not above `text`; -1: there is none. */
  #runOf(text: string): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (((this.#runs[middle] as string[])[0] as string) <= text) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** The place of the first text that is not below `text`. */
function firstFrom(run: readonly string[], text: string): number {
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((run[middle] as string) < text) low = middle + 1;
    else high = middle;
  }
  return low;
}
