/**
 * The known word nearest to a mistyped one, for "did you mean". Answers null when nothing is near enough to be
 * meant: a wrong guess helps nobody.
 */

/** Letters to add, drop, change or swap with their neighbour. */
function distance(a: string, b: string): number {
  const table = Array.from({ length: a.length + 1 }, (_, i) => [i]);
  table[0] = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const changed = table[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(table[i - 1]![j]! + 1, table[i]![j - 1]! + 1, changed);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, table[i - 2]![j - 2]! + 1);
      }
      table[i]!.push(least);
    }
  }
  return table[a.length]![b.length]!;
}

export function nearest(word: string, known: Iterable<string>): string | null {
  // A third of the word may be wrong; of a very short one, one letter.
  let best: string | null = null;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const here = distance(word.toLowerCase(), candidate.toLowerCase());
    if (here < least) [best, least] = [candidate, here];
  }
  return best;
}
