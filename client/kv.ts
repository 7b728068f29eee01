/** Keys as a program sees them: a method an operation. What may be absent without anything being wrong is null. */
import type { Counter, Key, KeyStanding } from "../src/wire/kv.ts";
import type { Input, Output } from "../src/wire/operations.ts";
import type { CallOptions } from "./connection.ts";
import { orNull } from "./errors.ts";
import { pagesOf } from "./iterate.ts";
import type { WatchEvent, WatchFilter } from "./state.ts";
import type { Caller } from "./tasks.ts";

/** A key whose value has the type that the program keeps there. */
export type KeyOf<T> = Omit<Key, "value"> & { value: T };
export type PutOptions = CallOptions & Omit<Input<"kv.put">, "key" | "value">;

/** How changes are watched, by whoever can. */
export type Watching = (
  filter: WatchFilter,
  options?: { signal?: AbortSignal },
) => AsyncIterableIterator<WatchEvent>;

export class Kv {
  readonly #caller: Caller;
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** null: there is no such key. */
  async get<T = unknown>(key: string, options?: CallOptions): Promise<KeyOf<T> | null> {
    return orNull(this.#caller.call("kv.get", { key }, options) as Promise<KeyOf<T>>, "unknown-key");
  }
  /** Several keys as they are at one moment, in the order asked. */
  async getMany<T = unknown>(keys: readonly string[], options?: CallOptions): Promise<(KeyOf<T> | null)[]> {
    const found = await this.#caller.call("kv.getMany", { keys: [...keys] }, options);
    return found.keys as (KeyOf<T> | null)[];
  }
  /**
   * Replaces the key as a whole. With `ifRevision`, only if that is its revision (0: only if there is no such key);
   * else it rejects with `revision-mismatch`, whose `revision` is the present one.
   */
  put(
    key: string,
    value: unknown,
    { signal, timeoutMs, if: fence, ...how }: PutOptions = {},
  ): Promise<KeyStanding> {
    return this.#caller.call(
      "kv.put",
      { ...how, key, value: value ?? null },
      { signal, timeoutMs, if: fence },
    );
  }
  /** false: there was no such key. */
  async delete(
    key: string,
    { ifRevision, ...options }: CallOptions & { ifRevision?: number } = {},
  ): Promise<boolean> {
    const input = ifRevision === undefined ? { key } : { key, ifRevision };
    return (await orNull(this.#caller.call("kv.delete", input, options), "unknown-key")) !== null;
  }
  /** A page of keys in their order. */
  list(page: Input<"kv.list"> = {}, options?: CallOptions): Promise<Output<"kv.list">> {
    return this.#caller.call("kv.list", page, options);
  }
  /** All keys that begin so, page by page as the loop goes on. */
  async *all<T = unknown>(prefix: string, options?: CallOptions): AsyncGenerator<KeyOf<T>> {
    for await (const { keys } of pagesOf((from) => this.list({ prefix, ...from }, options)))
      yield* keys as KeyOf<T>[];
  }
  /** Adds to a counter, which begins at 0. `ttlMs` is for one that this makes. */
  increment(
    key: string,
    by = 1,
    { ttlMs, ...options }: CallOptions & { ttlMs?: number } = {},
  ): Promise<Counter> {
    const input = ttlMs === undefined ? { key, by } : { key, by, ttlMs };
    return this.#caller.call("kv.increment", input, options);
  }
}

/** Keys that can be watched too. */
export class WatchedKv extends Kv {
  readonly #watch: Watching;
  constructor(caller: Caller, watch: Watching) {
    super(caller);
    this.#watch = watch;
  }

  /** Changes of one key, or with `{ prefix }` of all that begin so, for as long as the loop runs. */
  watch(
    keys: string | { prefix: string },
    options?: { signal?: AbortSignal },
  ): AsyncIterableIterator<WatchEvent> {
    const filter = typeof keys === "string" ? { key: keys } : { prefix: keys.prefix };
    return this.#watch({ ...filter, tables: ["keys"] }, options);
  }
}
