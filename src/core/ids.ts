/**
 * Ids of what an entry makes: its revision and a number there, such as 1042-0. So an id is an age, and a place in the order
 * of all its kind, whether or not what it named is still there.
 */
import type { Naming } from "./store.ts";

export type Age = { readonly revision: number; readonly number: number };

export function ageOf(id: string): Age {
  const dash = id.indexOf("-");
  return { revision: Number(id.slice(0, dash)), number: Number(id.slice(dash + 1)) };
}

export const byAge = (a: Age, b: Age): number => a.revision - b.revision || a.number - b.number;

/** A task or message that came alone, as most do, is kept under its revision; the others of an entry under their id. */
export const idNaming: Naming = {
  row(id) {
    const dash = id.length - 2;
    // Only a number that is written in one way alone: others are ids of nothing.
    if (dash < 1 || dash > 16 || id.charCodeAt(dash) !== 45 || id.charCodeAt(dash + 1) !== 48) return id;
    let revision = 0;
    for (let i = 0; i < dash; i++) {
      const digit = id.charCodeAt(i) - 48;
      if (digit < 0 || digit > 9 || (digit === 0 && i === 0)) return id;
      revision = revision * 10 + digit;
    }
    return Number.isSafeInteger(revision) ? revision : id;
  },
  key: (row) => (typeof row === "number" ? `${row}-0` : row),
  // A thousand neighbours in age lie in one Map: what comes and goes at a time touches few of them.
  shard(row) {
    if (typeof row === "number") return (row / 1024) & 63;
    const { revision, number } = ageOf(row);
    return (revision / 1024 + number / 1024) & 63;
  },
};
