/**
 * Ids of what an entry makes: its revision and a number there, such as 1042-0. So an id is an age, and a place in the order
 * of all its kind, whether or not what it named is still there.
 */
import type { Naming, RowName } from "./store.ts";

export type Age = { readonly revision: number; readonly number: number };

export function ageOf(id: string): Age {
  const dash = id.indexOf("-");
  return { revision: Number(id.slice(0, dash)), number: Number(id.slice(dash + 1)) };
}

export const byAge = (a: Age, b: Age): number => a.revision - b.revision || a.number - b.number;

/** Numbers and revisions that fit into a row together, without a bit of either lost. */
const numbersMax = 2 ** 20;
const revisionsMax = 2 ** 33;

/** An age as the name of a row: the revision, with the number as its fraction. Ages that do not fit stay text. */
export function rowOf({ revision, number }: Age): RowName {
  if (number === 0) return revision;
  return revision < revisionsMax && number < numbersMax
    ? revision + number / numbersMax
    : `${revision}-${number}`;
}

const numberIn = (row: number): number => (row - Math.floor(row)) * numbersMax;

/** Of the digits there, which are written in one way alone; -1: there is something else. */
function readNumber(text: string, from: number, end: number): number {
  if (end === from || (text.charCodeAt(from) === 48 && end > from + 1)) return -1;
  let value = 0;
  for (let i = from; i < end; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return Number.isSafeInteger(value) ? value : -1;
}

/** What an entry made is kept under its age: that costs no text, and no hash of one. */
export const idNaming: Naming = {
  row(id) {
    const dash = id.indexOf("-");
    const revision = readNumber(id, 0, dash);
    const number = readNumber(id, dash + 1, id.length);
    // What is no id is the name of nothing.
    return revision <= 0 || number < 0 ? id : rowOf({ revision, number });
  },
  key: (row) => (typeof row === "number" ? `${Math.floor(row)}-${numberIn(row)}` : row),
  // A thousand neighbours in age lie in one Map: what comes and goes at a time touches few of them.
  shard(row) {
    if (typeof row === "number") return (row / 1024 + numberIn(row) / 1024) & 63;
    const { revision, number } = ageOf(row);
    return (revision / 1024 + number / 1024) & 63;
  },
};
