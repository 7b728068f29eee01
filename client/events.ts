/**
 * A typed emitter. A listener that throws, or whose promise rejects, never hurts whoever emits: its error goes to
 * the "error" listeners, and is thrown as uncaught where there are none, so that no failure passes in silence.
 */
type Listener<A> = (value: A) => unknown;

export class Emitter<Events extends { error: unknown }> {
  readonly #listeners = new Map<keyof Events, Listener<never>[]>();

  on<E extends keyof Events>(event: E, listener: Listener<Events[E]>): this {
    // A new array each time: a listener may add or remove listeners while an event is told.
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
    return this;
  }

  off<E extends keyof Events>(event: E, listener: Listener<Events[E]>): this {
    const left = (this.#listeners.get(event) ?? []).filter((other) => other !== listener);
    if (left.length === 0) this.#listeners.delete(event);
    else this.#listeners.set(event, left);
    return this;
  }

  protected listens(event: keyof Events): boolean {
    return this.#listeners.has(event);
  }

  protected emit<E extends keyof Events>(event: E, value: Events[E]): void {
    const listeners = this.#listeners.get(event) as Listener<Events[E]>[] | undefined;
    if (listeners === undefined) {
      if (event === "error") throwLater(value);
      return;
    }
    for (const listener of listeners) {
      try {
        const answer = listener(value);
        if (answer instanceof Promise) answer.catch((error) => this.failed(event, error));
      } catch (error) {
        this.failed(event, error);
      }
    }
  }

  /** A listener of `event` threw, or its promise rejected. */
  protected failed(event: keyof Events, error: unknown): void {
    if (event === "error") throwLater(error);
    else this.emit("error", error as Events["error"]);
  }
}

const throwLater = (error: unknown) =>
  queueMicrotask(() => {
    throw error;
  });
