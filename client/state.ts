/**
 * Watching the state. A watch outlives connections: each new one starts it again behind what was told, so nothing is
 * missed and nothing told twice. What the daemon keeps no more is told as a gap, never passed over. Over HTTP nothing can
 * be pushed: there a watch pauses, and the next WebSocket goes on. A reader that is slower than the changes gets a gap
 * too, so that what waits for it stays bounded.
 */
import { problem } from "../src/wire/errors.ts";
import type { EventMessage } from "../src/wire/frames.ts";
import type { Input } from "../src/wire/operations.ts";
import type { ChangeView, Welcome } from "../src/wire/state.ts";
import type { Session } from "./connection.ts";
import { ClientError, CortexError } from "./errors.ts";
import { iterate } from "./iterate.ts";

export type WatchFilter = Omit<Input<"watch.start">, "watchId">;

/** Changes of the revisions `from` to `to`, both included, may be missing: read again what you keep of them. */
export type Gap = { from: number; to: number };
export type WatchEvent = ({ event: "change" } & ChangeView) | ({ event: "gap" } & Gap);

type Watch = {
  readonly id: string;
  readonly filter: WatchFilter;
  /** All of this revision and of those before it was told; null: it has not begun. */
  after: number | null;
  /** What was told of the revision that is being told. */
  of: { revision: number; count: number };
  /** Of that revision, what was told before the watch was started again and comes once more. */
  again: number;
  /** It was asked to begin by a connection that ended first: what came after this revision may be missed. null: it was not. */
  doubted: number | null;
  /** The newest revision that came with what is no entry: what lies before it was told by then. */
  seen: number;
  /** Where it was started last; null: what comes is not asked for any more. */
  asked: number | null;
  /** Nothing has come since. */
  fresh: boolean;
  readonly told: (event: WatchEvent) => void;
  readonly failed: (error: Error) => void;
};

/** What is no entry: it has the revision of the state it was seen in, and is not told again. */
const volatile = new Set(["task.progress", "worker.health"]);

export class Watches {
  readonly #session: Session;
  readonly #watches = new Map<string, Watch>();
  #count = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Starts a watch; the function it gives back ends it. */
  start({ after, ...filter }: WatchFilter, told: Watch["told"], failed: Watch["failed"]): () => void {
    const watch: Watch = {
      id: `w${++this.#count}`,
      filter,
      after: after ?? null,
      of: { revision: 0, count: 0 },
      doubted: null,
      seen: 0,
      again: 0,
      asked: null,
      fresh: false,
      told,
      failed,
    };
    this.#watches.set(watch.id, watch);
    if (!this.#session.mayPush) {
      const detail = "changes are pushed, and this client has no WebSocket";
      // Not before the caller has what it asked for.
      queueMicrotask(() => this.#fail(watch, new CortexError(problem("connection-needed", detail))));
      return () => void this.#watches.delete(watch.id);
    }
    this.#session.start();
    if (this.#session.state === "connected") this.#begin(watch);
    return () => {
      if (!this.#watches.delete(watch.id) || !this.#session.pushes) return;
      // Nothing depends on the answer: events of a watch that is not in the map are not told.
      this.#session.onConnection("watch.stop", { watchId: watch.id }, ignore, ignore);
    };
  }

  welcomed(): void {
    for (const watch of this.#watches.values()) this.#begin(watch);
  }

  closed(error: Error): void {
    const watches = [...this.#watches.values()];
    this.#watches.clear();
    for (const watch of watches) watch.failed(error);
  }

  event(message: Extract<EventMessage, { event: "change" | "gap" | "place" }>): void {
    const watch = this.#watches.get(message.watchId);
    if (watch === undefined || watch.asked === null) return;
    if (message.event === "place") {
      watch.after = Math.max(watch.after ?? 0, message.revision);
      watch.fresh = false;
      return;
    }
    const { watchId: _, ...event } = message;
    if (event.event === "gap") this.#gap(watch, event);
    else this.#change(watch, event);
  }

  #change(watch: Watch, event: Extract<WatchEvent, { event: "change" }>): void {
    if (!volatile.has(event.operation)) {
      const { revision } = event;
      watch.fresh = false;
      if (revision !== watch.of.revision) {
        // Another one begins: of all before it there is no more.
        watch.after = revision - 1;
        watch.of = { revision, count: 0 };
        watch.again = 0;
      } else if (watch.again > 0) {
        watch.again -= 1;
        return;
      }
      watch.of.count += 1;
    } else watch.seen = Math.max(watch.seen, event.revision);
    watch.told(event);
  }

  #gap(watch: Watch, gap: { event: "gap" } & Gap): void {
    const asked = watch.asked as number;
    // It ends before where it was started: revisions began anew, and what was told is of a state that is no more.
    if (gap.to < asked) {
      watch.after = gap.to;
      watch.of = { revision: 0, count: 0 };
      watch.again = 0;
      watch.seen = 0;
      watch.told(gap);
      return;
    }
    // What begins right behind where it was started is kept no more. Anything else the socket was too slow for, and the
    // daemon has it: all of it comes again, in its order.
    if (watch.fresh && gap.from === asked + 1) {
      watch.after = gap.to;
      // What lies before the entry that was told last, maybe in part, was of nothing that it watches.
      const from = Math.max(gap.from, watch.of.revision, watch.seen);
      watch.told({ ...gap, from: Math.min(gap.to, from) });
      return;
    }
    watch.asked = null;
    this.#begin(watch);
  }

  #fail(watch: Watch, error: Error): void {
    if (this.#watches.delete(watch.id)) watch.failed(error);
  }

  #begin(watch: Watch): void {
    watch.asked = null;
    const { revision: greeted } = this.#session.welcome as Welcome;
    if (!this.#session.pushes) {
      // From here on changes are missed, also by a watch that has never begun.
      watch.after ??= watch.doubted ?? greeted;
      return;
    }
    const { after } = watch;
    this.#session.onConnection(
      "watch.start",
      { ...watch.filter, watchId: watch.id, ...(after !== null && { after }) },
      ({ revision }) => {
        watch.after = after ?? revision;
        watch.asked = watch.after;
        watch.fresh = true;
        watch.again = watch.of.revision > watch.after ? watch.of.count : 0;
        const { doubted } = watch;
        watch.doubted = null;
        if (after === null && doubted !== null && doubted < revision)
          watch.told({ event: "gap", from: doubted + 1, to: revision });
      },
      (error) => {
        if (error instanceof ClientError && error.code === "disconnected") watch.doubted ??= greeted;
        else this.#fail(watch, error);
      },
    );
  }
}

/** A watch as something to iterate over; what is too much becomes one gap. */
export const iterateWatch = (
  watches: Watches,
  filter: WatchFilter,
  signal?: AbortSignal,
): AsyncIterableIterator<WatchEvent> =>
  iterate<WatchEvent>(
    (told, failed) => watches.start(filter, told, failed),
    (waiting) => ({
      event: "gap",
      from: startOf(waiting[0] as WatchEvent),
      to: endOf(waiting.at(-1) as WatchEvent),
    }),
    signal,
  );

const startOf = (event: WatchEvent) => (event.event === "gap" ? event.from : event.revision);
const endOf = (event: WatchEvent) => (event.event === "gap" ? event.to : event.revision);
const ignore = () => {};
