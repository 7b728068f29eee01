/** What arrives by push, as something to iterate over: a bounded line between whoever tells and whoever reads. */

export class Stream<T> implements AsyncIterableIterator<T> {
  #waiting: T[] = [];
  #head = 0;
  #ended = false;
  #failure: unknown = null;
  #wake: (() => void)[] = [];
  readonly #onEnd: () => void;

  /** `onEnd` is called once, when nobody will read on. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#waiting.length - this.#head;
  }

  push(value: T): void {
    if (this.#ended) return;
    this.#waiting.push(value);
    this.#woken();
  }

  /** One stands for all that waits; the newest comes last. */
  fold(fold: (waiting: T[]) => T): void {
    this.#waiting = [fold(this.#waiting.slice(this.#head))];
    this.#head = 0;
  }

  /** What waits is still read, then the error is thrown. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#woken();
  }

  /** Nothing is read any more. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waiting = [];
    this.#head = 0;
    this.#onEnd();
    this.#woken();
  }

  #woken(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  async next(): Promise<IteratorResult<T>> {
    for (;;) {
      if (this.#ended) return { done: true, value: undefined };
      if (this.#head < this.#waiting.length) {
        const value = this.#waiting[this.#head++] as T;
        if (this.#head === this.#waiting.length) {
          this.#waiting = [];
          this.#head = 0;
        }
        return { done: false, value };
      }
      if (this.#failure !== null) {
        const { error } = this.#failure as { error: unknown };
        this.end();
        throw error;
      }
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  async return(): Promise<IteratorResult<T>> {
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
