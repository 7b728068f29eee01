/**
 * Reading what a view shows, and reading it again when something the daemon pushed says that it has changed: a change
 * that was watched, or figures with a newer revision. Never by a timer of its own, never twice at once, never while the
 * tab is hidden, and no more often than once a second or a tenth of the time that reading takes.
 */
import { effect, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { CoordinationClient } from "../../client/client.ts";
import type { WatchEvent, WatchFilter } from "../../client/state.ts";
import { newest } from "./figures.ts";
import { client, epoch, link } from "./link.ts";

export type Reading<T> = {
  data: T | null;
  error: Error | null;
  /** Nothing is known yet. */
  loading: boolean;
};
export type Read<T> = (of: CoordinationClient, options: { signal: AbortSignal }) => Promise<T>;
/** What wakes a reading; it gives back what ends that. */
export type Wake = (again: () => void, of: CoordinationClient) => () => void;

const betweenMs = 1000;

/** With each sample of figures whose revision is newer than that of the one before. */
export const onFigures: Wake = (again) => {
  let revision = newest.peek()?.revision ?? 0;
  return effect(() => {
    const sample = newest.value;
    if (sample === null || sample.revision === revision) return;
    revision = sample.revision;
    again();
  });
};

/** With each change that fits; `each` may show it before it is read. */
export const onChange =
  (filter: WatchFilter, each: (event: WatchEvent) => void = () => {}): Wake =>
  (again, of) => {
    const end = new AbortController();
    const follow = async () => {
      for await (const event of of.watch(filter, { signal: end.signal })) {
        each(event);
        again();
      }
    };
    follow().catch(() => {});
    return () => end.abort();
  };

export class LiveReading<T> {
  readonly state = signal<Reading<T>>({ data: null, error: null, loading: true });
  readonly #of: CoordinationClient;
  readonly #read: Read<T>;
  readonly #ended = new AbortController();
  readonly #stops: (() => void)[] = [];
  #running = false;
  #wanted = false;
  #restUntil = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(of: CoordinationClient, read: Read<T>, wakes: readonly Wake[]) {
    this.#of = of;
    this.#read = read;
    for (const wake of wakes) this.#stops.push(wake(() => this.wanted(), of));
    // The first read, and one after each reconnect.
    this.#stops.push(
      effect(() => {
        epoch.value;
        if (link.peek().kind === "live") this.now();
      }),
    );
    const shown = () => {
      if (!document.hidden && this.#wanted) this.wanted();
    };
    document.addEventListener("visibilitychange", shown);
    this.#stops.push(() => document.removeEventListener("visibilitychange", shown));
  }

  /** Reads again, when it may. */
  wanted = (): void => {
    this.#wanted = true;
    if (this.#running || this.#timer !== null || document.hidden || link.peek().kind !== "live") return;
    const wait = this.#restUntil - performance.now();
    if (wait <= 0) void this.#carryOut();
    else
      this.#timer = setTimeout(() => {
        this.#timer = null;
        void this.#carryOut();
      }, wait);
  };

  /** Reads again at once: somebody did something, and waits to see it. */
  now = (): void => {
    this.#restUntil = 0;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.wanted();
  };

  async #carryOut(): Promise<void> {
    this.#running = true;
    this.#wanted = false;
    const from = performance.now();
    const { signal: ended } = this.#ended;
    try {
      const data = await this.#read(this.#of, { signal: ended });
      if (!ended.aborted) this.state.value = { data, error: null, loading: false };
    } catch (error) {
      if (!ended.aborted) this.state.value = { ...this.state.peek(), error: error as Error, loading: false };
    }
    this.#running = false;
    const to = performance.now();
    this.#restUntil = to + Math.max(betweenMs, (to - from) * 10);
    if (this.#wanted && !ended.aborted) this.wanted();
  }

  end(): void {
    this.#ended.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const stop of this.#stops) stop();
  }
}

/** As a component uses it: begun anew when the client or one of `keys` is another. */
export function useLive<T>(
  read: Read<T>,
  wakes: readonly Wake[],
  keys: readonly unknown[],
): Reading<T> & { again: () => void } {
  const of = client.value;
  const live = useMemo(
    () => (of === null ? null : new LiveReading(of, read, wakes)),
    [of, ...keys.map((key) => JSON.stringify(key))],
  );
  useEffect(() => () => live?.end(), [live]);
  const none = useMemo(() => signal<Reading<T>>({ data: null, error: null, loading: true }), []);
  const state = live?.state ?? none;
  return { ...state.value, again: () => live?.now() };
}
