/** What is typed into a search, as words: `queue:mail type:send`. They are in the address, each under its name. */
import { go, href, refine } from "../route.ts";

/** What the address asks for by these words, each under the field that it is for. */
export function asked<F extends string>(
  fields: Readonly<Record<string, F>>,
  query: URLSearchParams,
): Partial<Record<F, string>> {
  const found: Partial<Record<F, string>> = {};
  for (const [word, field] of Object.entries(fields)) {
    const value = query.get(word);
    if (value !== null) found[field] = value;
  }
  return found;
}

/** The words of the address, as they are typed. */
export const typed = (names: readonly string[], query: URLSearchParams): string =>
  names
    .filter((name) => query.has(name))
    .map((name) => `${name}:${query.get(name)}`)
    .join(" ");

/**
 * Goes where the words lead: to the task of an id, or to what fits them. `bare`: what a word without a name means.
 * What is wrong with them, or null.
 */
export function follow(names: readonly string[], text: string, bare: string | null): string | null {
  const query: Record<string, string | null> = Object.fromEntries(names.map((name) => [name, null]));
  for (const word of text.trim().split(/\s+/).filter(Boolean)) {
    if (/^[0-9]{1,16}-[0-9]{1,6}$/.test(word)) {
      go(href("tasks", word));
      return null;
    }
    const colon = word.indexOf(":");
    const name = colon < 0 ? bare : word.slice(0, colon);
    if (name === null || !names.includes(name))
      return `There is no ${colon < 0 ? word : `${name}:`} to search by; there are ${names.join(":, ")}:.`;
    if (colon === word.length - 1) return `${name}: wants a value behind it.`;
    query[name] = word.slice(colon + 1);
  }
  refine(query);
  return null;
}
