/**
 * Elections: one leader of many candidates. A leadership is an exclusive lock of a name that all of them ask for, so a
 * leader has a token, is fenced, and is followed by whoever waits for longest; its value is what observers see.
 */
import type { LockRow } from "../src/wire/locks.ts";
import type { CallOptions } from "./connection.ts";
import type { Watching } from "./kv.ts";
import { type Lock, type LockCaller, type LockOptions, Locks } from "./locks.ts";

/** Who leads. */
export type Leader<T = unknown> = {
  /** What it said of itself in its campaign. */
  value: T;
  token: number;
  who: string;
  workerId: string | null;
  /** Since when. */
  heldAt: number;
};

function nameOf(election: string): string {
  // As a lock it would be a folder, and whoever had it would lead all that begin so.
  if (election === "" || election.endsWith("/"))
    throw new TypeError(
      `${JSON.stringify(election)} is no election: its name is not empty, and ends in no slash`,
    );
  return `election/${election}`;
}

export class Elections {
  readonly #caller: LockCaller;
  readonly #locks: Locks;
  readonly #watch: Watching;
  constructor(caller: LockCaller, watch: Watching) {
    this.#caller = caller;
    this.#locks = new Locks(caller);
    this.#watch = watch;
  }

  /** Resolves when this candidate leads. What it gets is its leadership: lost by its signal, ended by `release`. */
  async campaign(
    election: string,
    value: unknown = null,
    options?: Omit<LockOptions, "value">,
  ): Promise<Lock> {
    return this.#locks.acquire(nameOf(election), { ...options, value });
  }

  /** Ends what this client leads of the election; false: it does not lead. */
  async resign(election: string, options?: CallOptions): Promise<boolean> {
    const name = nameOf(election);
    const held = this.#caller.holdings.all().filter(({ names }) => names.includes(name));
    const released = await Promise.all(held.map((lock) => lock.release(options)));
    return released.includes(true);
  }

  /** null: nobody leads. */
  async leader<T = unknown>(election: string, options?: CallOptions): Promise<Leader<T> | null> {
    const { locks } = await this.#locks.list({ name: nameOf(election), state: "held", limit: 1 }, options);
    return locks[0] === undefined ? null : leaderOf<T>(locks[0]);
  }

  /** Who leads now, and from then on whoever leads next; null while nobody does. For as long as the loop runs. */
  async *observe<T = unknown>(
    election: string,
    { signal }: { signal?: AbortSignal } = {},
  ): AsyncGenerator<Leader<T> | null> {
    const changes = this.#watch({ tables: ["locks"], lock: nameOf(election) }, signal && { signal });
    let told: number | null | undefined;
    try {
      for (;;) {
        const leader = await this.leader<T>(election, { signal });
        const token = leader?.token ?? null;
        if (token !== told) yield leader;
        told = token;
        if ((await changes.next()).done) return;
      }
    } catch (error) {
      if (!signal?.aborted) throw error;
    } finally {
      await changes.return?.();
    }
  }
}

const leaderOf = <T>({ lock: { value, token, who, workerId, heldAt } }: LockRow): Leader<T> => ({
  value: value as T,
  token,
  who,
  workerId,
  heldAt: heldAt ?? 0,
});
