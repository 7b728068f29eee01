/**
 * Locks as a program holds them: acquired, waited for in line, extended by themselves, released. What is lost says so by
 * its signal: stolen, ended with its worker, or not extended in time, which this side also tells by its own clock while
 * the daemon cannot be heard. So a lock that is held here is held there, but for the time a message takes; for that
 * time there is the fence, and a lock's own client bears it.
 */
import type { Fence } from "../src/wire/fences.ts";
import type { EventMessage } from "../src/wire/frames.ts";
import { limits } from "../src/wire/limits.ts";
import type { LockLostReason, LockResource, LockRow, Lock as LockView } from "../src/wire/locks.ts";
import type { Input, Output } from "../src/wire/operations.ts";
import type { CallOptions } from "./connection.ts";
import { ClientError, isRefused, orNull } from "./errors.ts";
import { Fenced } from "./fences.ts";
import { pagesOf, slicesOf } from "./iterate.ts";
import type { Caller } from "./tasks.ts";
import type { Timer } from "./transport.ts";

/** One name (exclusively), or one resource, or several of them at once. */
export type Wanted = string | LockResource | readonly (string | LockResource)[];

/** A resource that is shared: by any number, or by at most `limit`. */
export const shared = (name: string, limit?: number): LockResource =>
  limit === undefined ? { name, mode: "shared" } : { name, mode: "shared", limit };

export type LockOptions = CallOptions & {
  /** How long it lasts without being extended, which is done by itself at a third of it. */
  ttlMs?: number | undefined;
  /** What others see of it. */
  value?: unknown;
  /** Whose it is. Default: this client's worker, if it is one; null: this client's, which extends it. */
  workerId?: string | null | undefined;
};

/** `unheard`: the daemon was not heard for as long as it lasts. `closed`: the client was closed, and it runs out by itself. */
export type LockLoss = LockLostReason | "lost" | "unheard" | "closed";

/** Why a lock's signal is aborted. */
export class LockLost extends Error {
  override name = "LockLost";
  constructor(
    readonly lockId: string,
    readonly reason: LockLoss,
    detail: string,
  ) {
    super(`lock ${lockId} is lost: ${detail}`);
  }
}

/** Whoever takes locks. */
export type LockCaller = Caller & { readonly holdings: Holdings; readonly workerId: string | null };

/** A lock that this client holds. */
export class Lock {
  readonly id: string;
  /** The fencing token: a later holder of a name has a higher one. */
  readonly token: number;
  readonly names: readonly string[];
  /** As it was granted. */
  readonly view: LockView;
  readonly #caller: LockCaller;
  readonly #controller = new AbortController();
  #client: Fenced | null = null;
  /** When what last extended it was sent. */
  extendedAt: number;

  constructor(caller: LockCaller, view: LockView, extendedAt: number) {
    this.#caller = caller;
    this.view = view;
    this.id = view.lockId;
    this.token = view.token;
    this.names = view.resources.map(({ name }) => name);
    this.extendedAt = extendedAt;
  }

  /** Aborts, with a `LockLost`, when the lock is lost; not when it is released. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }
  /** Whether it is held, as far as this side knows. */
  get held(): boolean {
    return this.#caller.holdings.has(this);
  }
  /** What changes may depend on: `{ if: lock.fence }`. */
  get fence(): Fence {
    return { lock: this.names[0] as string, token: this.token };
  }
  /** A client whose changes happen only while this lock is held; else they reject with `fence-lost`. */
  get client(): Fenced {
    this.#client ??= new Fenced(this.#caller, this.fence);
    return this.#client;
  }

  /** false: it was lost before. */
  async release(options?: CallOptions): Promise<boolean> {
    const held = this.#caller.holdings.delete(this);
    const released = this.#caller.call("lock.release", { lockId: this.id }, options);
    return (await orNull(released, "unknown-lock")) !== null && held;
  }

  /** For the holdings alone: tells whoever works under it to stop. */
  lose(reason: LockLoss, detail: string): void {
    this.#controller.abort(new LockLost(this.id, reason, detail));
  }
}

const forEver = limits.durationMsMax;

export class Locks {
  readonly #caller: LockCaller;
  constructor(caller: LockCaller) {
    this.#caller = caller;
  }

  /** Waits in line until all of it can be had at once: for `timeoutMs`, or for as long as it takes. */
  async acquire(wanted: Wanted, { timeoutMs, ...options }: LockOptions = {}): Promise<Lock> {
    const { environment } = this.#caller;
    const endAt = timeoutMs === undefined ? Number.POSITIVE_INFINITY : environment.now() + timeoutMs;
    for (;;) {
      const leftMs = endAt - environment.now();
      if (leftMs <= 0)
        throw new ClientError("timeout", `${namesOf(wanted)} was not to be had in ${timeoutMs} ms`);
      const view = await this.#ask(wanted, Math.min(Math.ceil(leftMs), forEver), leftMs, options);
      const held = await this.#granted(view, endAt, options);
      if (held !== null) return held;
    }
  }

  /** null: somebody holds a part of it, or waits for it already. */
  async try(wanted: Wanted, { timeoutMs, ...options }: LockOptions = {}): Promise<Lock | null> {
    const asked = this.#ask(wanted, 0, timeoutMs ?? Number.POSITIVE_INFINITY, options);
    const view = await orNull(asked, "lock-held");
    return view === null ? null : this.#granted(view, Number.POSITIVE_INFINITY, options);
  }

  /**
   * Holds it while `work` runs, and gives back what that gives. Rejects with `LockLost` if it was lost meanwhile: what was
   * done through `lock.client` after that was refused, and whatever else was done may have met another holder.
   */
  with<T>(wanted: Wanted, work: (lock: Lock) => T | Promise<T>): Promise<T>;
  with<T>(wanted: Wanted, options: LockOptions, work: (lock: Lock) => T | Promise<T>): Promise<T>;
  async with<T>(
    wanted: Wanted,
    ...more: [(lock: Lock) => T | Promise<T>] | [LockOptions, (lock: Lock) => T | Promise<T>]
  ): Promise<T> {
    const [options, work] = more.length === 1 ? [{}, more[0]] : more;
    const lock = await this.acquire(wanted, options);
    let result: T;
    try {
      result = await work(lock);
    } finally {
      // What cannot be released runs out by itself: that must not hide what the work came to.
      await lock.release().catch(() => {});
    }
    lock.signal.throwIfAborted();
    return result;
  }

  /** One lock by its id; null: it is over. */
  async get(lockId: string, options?: CallOptions): Promise<LockView | null> {
    return orNull(this.#caller.call("lock.get", { lockId }, options), "unknown-lock");
  }
  /** A page of who holds what and who waits, by name. */
  list(page: Input<"lock.list"> = {}, options?: CallOptions): Promise<Output<"lock.list">> {
    return this.#caller.call("lock.list", page, options);
  }
  /** All of them, page by page as the loop goes on. */
  async *all(filter: Input<"lock.list"> = {}, options?: CallOptions): AsyncGenerator<LockRow> {
    for await (const { locks } of pagesOf((from) => this.list({ ...filter, ...from }, options))) yield* locks;
  }
  /** Takes a lock from whoever has it; whoever is next has it then. Rejects with `unknown-lock` if it is over. */
  async steal(lockId: string, reason?: string, options?: CallOptions): Promise<void> {
    await this.#caller.call("lock.steal", reason === undefined ? { lockId } : { lockId, reason }, options);
  }

  /** The request itself, which is answered at once. Whoever gives up meanwhile leaves nothing behind. */
  async #ask(
    wanted: Wanted,
    waitMs: number,
    leftMs: number,
    { ttlMs, value, workerId = this.#caller.workerId, signal, if: fence }: LockOptions,
  ): Promise<{ lock: LockView; askedAt: number }> {
    const input: Input<"lock.acquire"> = { resources: resourcesOf(wanted) };
    if (waitMs > 0) input.waitMs = waitMs;
    if (value !== undefined) input.value = value;
    if (workerId !== null) input.workerId = workerId;
    const lastsMs = ttlMs ?? this.#caller.holdings.ttlMsOf(workerId);
    if (lastsMs !== undefined) input.ttlMs = lastsMs;
    signal?.throwIfAborted();
    const askedAt = this.#caller.environment.now();
    const answer = this.#caller.call("lock.acquire", input, { if: fence });
    const lock = await this.#patiently(answer, leftMs, signal, () => {
      answer.then(({ lockId }) => this.#withdraw(lockId), ignore);
    });
    return { lock, askedAt };
  }

  /** null: it was lost in line, and has to be asked for anew. */
  async #granted(
    { lock: asked, askedAt }: { lock: LockView; askedAt: number },
    endAt: number,
    { signal }: LockOptions,
  ): Promise<Lock | null> {
    const { environment } = this.#caller;
    /** While the daemon cannot be reached too, whoever waits is told in time. */
    const within = (): CallOptions => ({
      signal,
      timeoutMs: endAt === Number.POSITIVE_INFINITY ? undefined : Math.max(0, endAt - environment.now()),
    });
    try {
      if (asked.state === "held") return await this.#confirmed(asked, askedAt, within);
      for (;;) {
        const options = within();
        const waitMs = Math.ceil(Math.min(options.timeoutMs ?? forEver, this.#caller.waitMs));
        const view = await this.#caller.call("lock.get", { lockId: asked.lockId, waitMs }, options);
        // When it was granted is not known here, and the answer may have been on its way for long.
        if (view.state === "held") return await this.#confirmed(view, Number.NEGATIVE_INFINITY, within);
      }
    } catch (error) {
      if (isRefused(error, "unknown-lock")) return null;
      this.#withdraw(asked.lockId);
      if (!(error instanceof ClientError) || error.code !== "timeout") throw error;
      throw new ClientError("timeout", `lock ${asked.lockId} was not to be had in its time`);
    }
  }

  /** It is held for as long as it lasts from when this side last asked for it; null: it is over already. */
  async #confirmed(view: LockView, since: number, within: () => CallOptions): Promise<Lock | null> {
    const { environment, holdings } = this.#caller;
    const { lockId, ttlMs } = view;
    let askedAt = since;
    while (ttlMs !== null && environment.now() >= askedAt + ttlMs) {
      askedAt = environment.now();
      const { locks } = await this.#caller.call("lock.extend", { lockIds: [lockId] }, within());
      if (locks[0]?.state === "held") continue;
      // A crash may take the grant back where the log may lose it, and leave the request.
      if (locks.length > 0) this.#withdraw(lockId);
      return null;
    }
    const lock = new Lock(this.#caller, view, askedAt);
    if (environment.now() < holdings.endOf(lock)) return holdings.add(lock);
    // Its worker may be gone by now.
    this.#withdraw(lockId);
    return null;
  }

  #withdraw(lockId: string): void {
    this.#caller.call("lock.release", { lockId }).catch(ignore);
  }

  #patiently<T>(
    answer: Promise<T>,
    leftMs: number,
    signal: AbortSignal | undefined,
    gaveUp: () => void,
  ): Promise<T> {
    if (signal === undefined && leftMs === Number.POSITIVE_INFINITY) return answer;
    const { environment } = this.#caller;
    return new Promise((resolve, reject) => {
      const end = (error: unknown) => {
        done();
        gaveUp();
        reject(error);
      };
      const aborted = () => end(signal?.reason);
      const timer =
        leftMs === Number.POSITIVE_INFINITY
          ? null
          : environment.setTimer(leftMs, () =>
              end(new ClientError("timeout", "no answer to lock.acquire in time")),
            );
      const done = () => {
        if (timer !== null) environment.clearTimer(timer);
        signal?.removeEventListener("abort", aborted);
      };
      signal?.addEventListener("abort", aborted, { once: true });
      answer.then(
        (value) => {
          done();
          resolve(value);
        },
        (error) => {
          done();
          reject(error);
        },
      );
    });
  }
}

const resourcesOf = (wanted: Wanted): LockResource[] =>
  (Array.isArray(wanted)
    ? (wanted as readonly (string | LockResource)[])
    : [wanted as string | LockResource]
  ).map((one) => (typeof one === "string" ? { name: one } : one));
const namesOf = (wanted: Wanted) =>
  resourcesOf(wanted)
    .map(({ name }) => name)
    .join(" and ");
const ignore = () => {};

/** What the holdings know of this client's worker: until when the daemon surely has it for online, and how long it may be silent. */
type Online = { readonly onlineUntil: number; readonly silenceMs: number | undefined };

/** How often a lock is extended within the time it lasts: two may be late. */
const beatsPerTtl = 3;

/** The locks that a client holds: it extends them, and hears which are lost. */
export class Holdings {
  readonly #caller: Pick<LockCaller, "call" | "environment" | "workerId">;
  readonly #worker: () => Online | null;
  readonly #held = new Map<string, Lock>();
  /** Told lost before their grant was heard of. */
  readonly #lostEarly = new Map<string, LockLostReason>();
  #timer: Timer = null;
  #wakeAt = Number.POSITIVE_INFINITY;
  #asking = false;

  constructor(caller: Pick<LockCaller, "call" | "environment" | "workerId">, worker: () => Online | null) {
    this.#caller = caller;
    this.#worker = worker;
  }

  has(lock: Lock): boolean {
    return this.#has(lock) && this.#caller.environment.now() < this.endOf(lock);
  }
  #has(lock: Lock): boolean {
    return this.#held.get(lock.id) === lock;
  }
  all(): Lock[] {
    return [...this.#held.values()];
  }

  add(lock: Lock): Lock {
    this.#held.set(lock.id, lock);
    const lost = this.#lostEarly.get(lock.id);
    if (lost !== undefined) this.#lose(lock, lost, "it was lost as soon as it was had");
    this.#plan();
    return lock;
  }

  /** Until when nobody else can have it: as long as it lasts without a word, from the last that was surely heard. */
  endOf({ view, extendedAt }: Lock): number {
    const { ttlMs, workerId } = view;
    const end = ttlMs === null ? Number.POSITIVE_INFINITY : extendedAt + ttlMs;
    const worker = this.#isOwn(workerId) ? this.#worker() : null;
    return worker === null ? end : Math.min(end, worker.onlineUntil);
  }

  #isOwn(workerId: string | null): boolean {
    return workerId !== null && workerId === this.#caller.workerId;
  }

  /**
   * How long a lock lasts that does not say: of this client's worker, so long that its end by silence comes first, with
   * all else that is the worker's. What could not be released, or a crash gave back, ends all the same.
   */
  ttlMsOf(workerId: string | null): number | undefined {
    const silenceMs = this.#isOwn(workerId) ? this.#worker()?.silenceMs : undefined;
    return silenceMs && Math.min(2 * silenceMs, limits.durationMsMax);
  }

  /** Whether it was there. */
  delete(lock: Lock): boolean {
    const was = this.#has(lock) && this.#held.delete(lock.id);
    if (this.#held.size === 0) this.#stop();
    return was;
  }

  /** On each new connection: asks which are lost, those of a worker too. */
  welcomed(): void {
    this.#lostEarly.clear();
    if (this.#held.size > 0) this.#extend(this.all());
  }

  event({ lockId, reason, detail }: Extract<EventMessage, { event: "lock.lost" }>): void {
    const lock = this.#held.get(lockId);
    if (lock !== undefined) this.#lose(lock, reason, detail);
    // An answer that stands in the same frame, ahead of this, is handed over by a promise, behind it.
    else {
      this.#lostEarly.set(lockId, reason);
      if (this.#lostEarly.size > limits.pageMax)
        this.#lostEarly.delete(this.#lostEarly.keys().next().value as string);
    }
  }

  closed(error: Error): void {
    for (const lock of this.all()) this.#lose(lock, "closed", error.message);
    this.#stop();
  }

  #lose(lock: Lock, reason: LockLoss, detail: string): void {
    if (this.delete(lock)) lock.lose(reason, detail);
  }

  #stop(): void {
    if (this.#timer !== null) this.#caller.environment.clearTimer(this.#timer);
    this.#timer = null;
    this.#wakeAt = Number.POSITIVE_INFINITY;
  }

  /** When something is to be done next: a lock is to be extended, or was not heard of for too long. */
  #plan(): void {
    const { environment } = this.#caller;
    const now = environment.now();
    let at = Number.POSITIVE_INFINITY;
    for (const lock of this.#held.values()) {
      const { ttlMs } = lock.view;
      const nextAt =
        ttlMs === null || this.#asking ? Number.POSITIVE_INFINITY : lock.extendedAt + ttlMs / beatsPerTtl;
      at = Math.min(at, Math.max(Math.min(nextAt, this.endOf(lock)), now));
    }
    if (at === this.#wakeAt) return;
    this.#stop();
    if (at === Number.POSITIVE_INFINITY) return;
    this.#wakeAt = at;
    this.#timer = environment.setTimer(at - now, () => this.#wake());
  }

  #wake(): void {
    this.#timer = null;
    this.#wakeAt = Number.POSITIVE_INFINITY;
    const now = this.#caller.environment.now();
    for (const lock of this.all()) {
      if (now < this.endOf(lock)) continue;
      this.#lose(lock, "unheard", "the daemon was not heard for as long as it lasts");
      // It may hold it for us still, if it was down: nobody needs to wait for that.
      this.#caller.call("lock.release", { lockId: lock.id }).catch(ignore);
    }
    const lasting = this.all().filter(({ view }) => view.ttlMs !== null);
    if (lasting.length > 0 && !this.#asking) this.#extend(lasting);
    this.#plan();
  }

  #extend(locks: Lock[]): void {
    const sentAt = this.#caller.environment.now();
    this.#asking = true;
    const asked = [...slicesOf(locks, limits.pageMax)].map(async (slice) => {
      const lockIds = slice.map(({ id }) => id);
      const { locks: known } = await this.#caller.call("lock.extend", { lockIds });
      const states = new Map(known.map(({ lockId, state }) => [lockId, state]));
      for (const lock of slice) {
        const state = states.get(lock.id);
        if (state === "held") {
          lock.extendedAt = Math.max(lock.extendedAt, sentAt);
          continue;
        }
        this.#lose(lock, "lost", "the daemon says that it is over");
        // A crash may take the grant back where the log may lose it, and leave the request.
        if (state === "waiting") this.#caller.call("lock.release", { lockId: lock.id }).catch(ignore);
      }
    });
    void Promise.allSettled(asked).then(() => {
      this.#asking = false;
      this.#plan();
    });
  }
}
