/**
 * Patterns of topics, and which of them a topic fits: a tree of tokens. `orders.*` fits one token in the star's place,
 * `orders.>` one or more at the end. What a topic fits is found along its own tokens, however many patterns there are, and
 * is remembered until a pattern comes or goes.
 */
type Node<T> = {
  children: Map<string, Node<T>> | null;
  star: Node<T> | null;
  /** What stands under the pattern that ends here, and under the one that goes on with `>`. */
  here: Set<T> | null;
  rest: Set<T> | null;
};

const node = <T>(): Node<T> => ({ children: null, star: null, here: null, rest: null });

/** Topics whose matches are remembered. */
const rememberedMax = 10_000;

export class Topics<T> {
  readonly #root = node<T>();
  readonly #remembered = new Map<string, readonly T[]>();
  #size = 0;

  /** Values under patterns. */
  get size(): number {
    return this.#size;
  }

  add(pattern: string, value: T): void {
    const tokens = pattern.split(".");
    const isRest = tokens[tokens.length - 1] === ">";
    let at = this.#root;
    for (let i = 0; i < tokens.length - (isRest ? 1 : 0); i++) {
      const token = tokens[i] as string;
      if (token === "*") {
        at.star ??= node();
        at = at.star;
      } else {
        at.children ??= new Map();
        let next = at.children.get(token);
        if (next === undefined) {
          next = node();
          at.children.set(token, next);
        }
        at = next;
      }
    }
    const place = isRest ? "rest" : "here";
    at[place] ??= new Set();
    const values = at[place] as Set<T>;
    if (values.has(value)) return;
    values.add(value);
    this.#size += 1;
    this.#remembered.clear();
  }

  delete(pattern: string, value: T): void {
    const tokens = pattern.split(".");
    const isRest = tokens[tokens.length - 1] === ">";
    if (isRest) tokens.pop();
    const path: Node<T>[] = [this.#root];
    for (const token of tokens) {
      const at = path[path.length - 1] as Node<T>;
      const next = token === "*" ? at.star : at.children?.get(token);
      if (next === null || next === undefined) return;
      path.push(next);
    }
    const place = isRest ? "rest" : "here";
    const last = path[path.length - 1] as Node<T>;
    if (last[place]?.delete(value) !== true) return;
    if (last[place].size === 0) last[place] = null;
    this.#size -= 1;
    this.#remembered.clear();
    // Patterns of reply topics and the like come and go: no empty branch stays.
    for (let i = path.length - 1; i > 0; i--) {
      const { children, star, here, rest } = path[i] as Node<T>;
      if (children !== null || star !== null || here !== null || rest !== null) return;
      const above = path[i - 1] as Node<T>;
      const token = tokens[i - 1] as string;
      if (token === "*") above.star = null;
      else above.children?.delete(token);
      if (above.children?.size === 0) above.children = null;
    }
  }

  /** All that stands under patterns that the topic fits, each once for each pattern; not to be changed. */
  match(topic: string): readonly T[] {
    let found = this.#remembered.get(topic);
    if (found !== undefined) return found;
    const values: T[] = [];
    if (this.#size > 0) collect(this.#root, topic.split("."), 0, values);
    found = values;
    if (this.#remembered.size >= rememberedMax) this.#remembered.clear();
    this.#remembered.set(topic, found);
    return found;
  }
}

function collect<T>(at: Node<T>, tokens: readonly string[], from: number, values: T[]): void {
  if (from === tokens.length) {
    if (at.here !== null) values.push(...at.here);
    return;
  }
  const token = tokens[from] as string;
  // What begins with $ is nobody's by a wildcard: workers' own topics.
  const isOwn = from === 0 && token.startsWith("$");
  if (at.rest !== null && !isOwn) values.push(...at.rest);
  const child = at.children?.get(token);
  if (child !== undefined) collect(child, tokens, from + 1, values);
  if (at.star !== null && !isOwn) collect(at.star, tokens, from + 1, values);
}

/** Whether a topic fits a pattern. */
export function fits(pattern: string, topic: string): boolean {
  const topics = new Topics<true>();
  topics.add(pattern, true);
  return topics.match(topic).length > 0;
}
