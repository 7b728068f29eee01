/**
 * A chain: items in an order, of which most come at one of its ends and any may leave. An item brings its own link, so it
 * leaves without being looked for.
 */
export class Link<T> {
  chain: Chain<T> | null = null;
  previous: Link<T> | null = null;
  next: Link<T> | null = null;

  constructor(readonly item: T) {}
}

export class Chain<T> {
  #first: Link<T> | null = null;
  #last: Link<T> | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): T | null {
    return this.#first === null ? null : this.#first.item;
  }

  /** At the end. The link must be in no chain. */
  push(link: Link<T>): void {
    this.#after(this.#last, link);
  }

  /** At its place; `compare` is negative where the first of two comes first. */
  insert(link: Link<T>, compare: (a: T, b: T) => number): void {
    if (this.#first !== null && compare(link.item, this.#first.item) < 0) {
      this.#after(null, link);
      return;
    }
    let before = this.#last;
    while (before !== null && compare(before.item, link.item) > 0) before = before.previous;
    this.#after(before, link);
  }

  delete(link: Link<T>): void {
    if (link.chain !== this) return;
    const { previous, next } = link;
    if (previous === null) this.#first = next;
    else previous.next = next;
    if (next === null) this.#last = previous;
    else next.previous = previous;
    link.chain = null;
    link.previous = null;
    link.next = null;
    this.#size -= 1;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let at = this.#first; at !== null; ) {
      // What is looked at may leave.
      const { next } = at;
      yield at.item;
      at = next;
    }
  }

  #after(previous: Link<T> | null, link: Link<T>): void {
    const next = previous === null ? this.#first : previous.next;
    link.chain = this;
    link.previous = previous;
    link.next = next;
    if (previous === null) this.#first = link;
    else previous.next = link;
    if (next === null) this.#last = link;
    else next.previous = link;
    this.#size += 1;
  }
}
