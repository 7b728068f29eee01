/**
 * Requirements: what a task asks of a worker's labels and capabilities, one short text each: `gpu`, `!spot`,
 * `mem >= 16`, `node >= 18.2`, `zone != eu`, `model in [a, b]`, `zone not in [eu, us]`. A text is read once and has
 * one spelling from then on, so that tasks which ask the same are told by their texts.
 *
 * A name stands for every value the worker offers under it: its label, and of capabilities `node@20.11` the version
 * (a capability without a version is `true`). What is asked holds if it holds of one of them. `!`, `!=` and `not in`
 * are the opposite of their positive form, so they hold of a worker that offers nothing under the name.
 */
import { limits } from "./limits.ts";

export type LabelValue = string | number | boolean;
type Test = "has" | "in" | "<" | "<=" | ">" | ">=";
export type Requirement = {
  /** In its one spelling. */
  readonly text: string;
  readonly name: string;
  readonly test: Test;
  /** The test must not hold. */
  readonly not: boolean;
  /** None for `has`, one for an order. */
  readonly values: readonly string[];
};

const token = /\s*(?:([A-Za-z0-9_.:@/+-]+)|("(?:[^"\\]|\\.)*")|(==|!=|<=|>=|[=<>![\],]))/y;
const bare = /^[A-Za-z0-9_.:@/+-]+$/;
const name = /^(?!(?:__proto__|constructor|prototype)$)[A-Za-z0-9_][A-Za-z0-9._:@/+-]*$/;
const numeric = /^-?[0-9]+(?:\.[0-9]+)?$/;
const version = /^v?[0-9]+(?:\.[0-9]+)*(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$/;

/** What a wrong text may be mended to. */
const forms = "write it as gpu, !gpu, gpu = true, mem >= 16 or model in [a, b]";

/** The requirement that a text says, or what is wrong with it, in words. */
export function readRequirement(text: string): Requirement | { detail: string } {
  const words: string[] = [];
  token.lastIndex = 0;
  const end = text.trimEnd().length;
  while (token.lastIndex < end) {
    const at = token.lastIndex;
    const found = token.exec(text);
    if (found === null) return { detail: `cannot be read from "${text.slice(at).trim()}" on: ${forms}` };
    words.push(found[0].trim());
  }
  let next = 0;
  const value = (): string | undefined => {
    const word = words[next++];
    if (word === undefined) return undefined;
    if (word.startsWith('"')) return unquoted(word);
    return bare.test(word) ? word : undefined;
  };
  const isNot = words[0] === "!";
  if (isNot) next = 1;
  const of = words[next++] ?? "";
  if (!name.test(of)) return { detail: `must begin with the name of a label or capability: ${forms}` };
  if (of.length > limits.nameLengthMax)
    return { detail: `names more than ${limits.nameLengthMax} characters` };
  if (next === words.length) return made(of, "has", isNot, []);
  if (isNot) return { detail: `says more than !${of}: ${forms}` };
  let test = words[next++] as string;
  const negated = test === "not" || test === "!=";
  if (test === "not") test = words[next++] ?? "";
  const values: string[] = [];
  if (test === "in") {
    if (words[next++] !== "[") return { detail: `must name its values in brackets: ${of} in [a, b]` };
    for (let more = true; more; ) {
      const one = value();
      if (one === undefined) return { detail: `must name its values in brackets: ${of} in [a, b]` };
      values.push(one);
      const after = words[next++];
      more = after === ",";
      if (!more && after !== "]")
        return { detail: `must name its values in brackets, with commas between them: ${of} in [a, b]` };
    }
  } else {
    const known = negated ? test === "!=" : ["=", "==", "<", "<=", ">", ">="].includes(test);
    if (!known) return { detail: `cannot be read behind ${of}: ${forms}` };
    const one = value();
    if (one === undefined) return { detail: `must name a value behind ${of} ${test}` };
    values.push(one);
  }
  if (next < words.length) return { detail: `ends before "${words[next]}": ${forms}` };
  if (values.length > limits.requirementValuesMax)
    return { detail: `names more than ${limits.requirementValuesMax} values` };
  if (test === "in" || test === "=" || test === "==" || test === "!=") return made(of, "in", negated, values);
  const [bound] = values as [string];
  return version.test(bound) || numeric.test(bound)
    ? made(of, test as Test, false, values)
    : { detail: `must compare ${of} with a number or a version, such as 16 or 18.2` };
}

function made(of: string, test: Test, not: boolean, given: readonly string[]): Requirement {
  const values = test === "in" ? [...new Set(given)].sort() : given;
  const words = values.map((one) => (bare.test(one) ? one : JSON.stringify(one)));
  const text =
    test === "has"
      ? `${not ? "!" : ""}${of}`
      : test !== "in"
        ? `${of} ${test} ${words[0]}`
        : words.length === 1
          ? `${of} ${not ? "!=" : "="} ${words[0]}`
          : `${of} ${not ? "not in" : "in"} [${words.join(", ")}]`;
  return { text, name: of, test, not, values };
}

function unquoted(word: string): string | undefined {
  try {
    return JSON.parse(word);
  } catch {
    return undefined;
  }
}

/** Whether the values that a worker offers under the requirement's name meet it. */
export function meets({ test, not, values }: Requirement, offered: readonly LabelValue[]): boolean {
  for (const one of offered) if (holds(test, values, one)) return !not;
  return not;
}

function holds(test: Test, values: readonly string[], offered: LabelValue): boolean {
  if (test === "has") return offered !== false;
  if (test === "in") {
    for (const value of values) if (equals(offered, value)) return true;
    return false;
  }
  const order = compare(offered, values[0] as string);
  switch (test) {
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case ">=":
      return order >= 0;
  }
}

function equals(offered: LabelValue, value: string): boolean {
  if (typeof offered === "boolean") return String(offered) === value;
  return offered === value || compare(offered, value) === 0;
}

/** Numbers by their size, texts as versions; NaN: the two have no order. */
function compare(offered: LabelValue, value: string): number {
  if (typeof offered === "number") return numeric.test(value) ? offered - Number(value) : Number.NaN;
  if (typeof offered === "boolean" || !version.test(offered) || !version.test(value)) return Number.NaN;
  return compareVersions(offered, value);
}

/** Part by part, a missing one is 0; a version with a tag (`2.0-rc.1`) comes before the one without. */
export function compareVersions(a: string, b: string): number {
  const [numbersA, tagA] = partsOf(a);
  const [numbersB, tagB] = partsOf(b);
  for (let i = 0; i < Math.max(numbersA.length, numbersB.length); i++) {
    const order = Number(numbersA[i] ?? 0) - Number(numbersB[i] ?? 0);
    if (order !== 0) return order;
  }
  if (tagA === tagB) return 0;
  if (tagA === "" || tagB === "") return tagA === "" ? 1 : -1;
  return compareTags(tagA.split("."), tagB.split("."));
}

function compareTags(a: readonly string[], b: readonly string[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [one, other] = [a[i] as string, b[i] as string];
    if (one === other) continue;
    const numbers = [one, other].map((part) => /^[0-9]+$/.test(part));
    if (numbers[0] && numbers[1]) return Number(one) - Number(other);
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
    return one < other ? -1 : 1;
  }
  return a.length - b.length;
}

function partsOf(text: string): [string[], string] {
  const plain = text.replace(/^v/, "").replace(/\+.*$/, "");
  const dash = plain.indexOf("-");
  return dash < 0 ? [plain.split("."), ""] : [plain.slice(0, dash).split("."), plain.slice(dash + 1)];
}
