/**
 * Watching the state. A watch outlives connections: each new one starts it again, and what may have been missed
 * between them is told as a gap, never passed over. Over HTTP nothing can be pushed: there a watch pauses, and the next
 * WebSocket tells the gap. A reader that is slower than the changes gets a gap too, so
 * that what waits for it stays bounded.
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
  /** The newest revision that was told. */
  revision: number;
  started: boolean;
  readonly told: (event: WatchEvent) => void;
  readonly failed: (error: Error) => void;
};

export class Watches {
  readonly #session: Session;
  readonly #watches = new Map<string, Watch>();
  #count = 0;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Starts a watch; the function it gives back ends it. */
  start(filter: WatchFilter, told: Watch["told"], failed: Watch["failed"]): () => void {
    const watch: Watch = { id: `w${++this.#count}`, filter, revision: 0, started: false, told, failed };
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

  event(message: Extract<EventMessage, { watchId: string }>): void {
    const watch = this.#watches.get(message.watchId);
    if (watch === undefined) return;
    const { watchId: _, ...event } = message;
    const revision = event.event === "gap" ? event.to : event.revision;
    if (revision > watch.revision) watch.revision = revision;
    watch.told(event);
  }

  #fail(watch: Watch, error: Error): void {
    if (this.#watches.delete(watch.id)) watch.failed(error);
  }

  #begin(watch: Watch): void {
    if (!this.#session.pushes) {
      // From here on changes are missed, also by a watch that has never begun.
      if (!watch.started) watch.revision = (this.#session.welcome as Welcome).revision;
      watch.started = true;
      return;
    }
    this.#session.onConnection(
      "watch.start",
      { ...watch.filter, watchId: watch.id },
      ({ revision }) => {
        const from = watch.revision;
        const again = watch.started;
        watch.started = true;
        // Revisions never go back and are never given twice, so an equal one means that nothing was missed.
        watch.revision = Math.max(revision, from);
        if (again && revision > from) watch.told({ event: "gap", from: from + 1, to: revision });
      },
      (error) => {
        if (error instanceof ClientError && error.code === "disconnected") return;
        this.#fail(watch, error);
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
