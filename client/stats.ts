/**
 * The figures that the daemon tells each second. Like a watch they outlive connections: each new one asks again, for
 * the samples of the time between too. Over HTTP nothing can be pushed: there they pause until there is a WebSocket.
 */
import { problem } from "../src/wire/errors.ts";
import type { Stats } from "../src/wire/stats.ts";
import type { Session } from "./connection.ts";
import { ClientError, CortexError } from "./errors.ts";

type Reader = {
  /** How much of the time before it wants, as long as it has seen nothing. */
  readonly historyMs: number;
  /** When the newest sample was taken that it was told. */
  seenAt: number;
  readonly told: (sample: Stats) => void;
  readonly failed: (error: Error) => void;
};

export class StatsReaders {
  readonly #session: Session;
  readonly #readers = new Set<Reader>();

  constructor(session: Session) {
    this.#session = session;
  }

  start(historyMs: number, told: Reader["told"], failed: Reader["failed"]): () => void {
    const reader: Reader = { historyMs, seenAt: 0, told, failed };
    this.#readers.add(reader);
    if (!this.#session.mayPush) {
      const detail = "figures are pushed, and this client has no WebSocket; GET /api/stats reads them";
      // Not before the caller has what it asked for.
      queueMicrotask(() => this.#fail(reader, new CortexError(problem("connection-needed", detail))));
      return () => void this.#readers.delete(reader);
    }
    this.#session.start();
    if (this.#session.state === "connected") this.#begin(reader);
    return () => {
      if (!this.#readers.delete(reader) || this.#readers.size > 0 || !this.#session.pushes) return;
      this.#session.onConnection("stats.stop", {}, ignore, ignore);
    };
  }

  welcomed(): void {
    for (const reader of this.#readers) this.#begin(reader);
  }

  closed(error: Error): void {
    const readers = [...this.#readers];
    this.#readers.clear();
    for (const reader of readers) reader.failed(error);
  }

  event(sample: Stats): void {
    for (const reader of this.#readers) this.#tell(reader, sample);
  }

  #tell(reader: Reader, sample: Stats): void {
    if (sample.at <= reader.seenAt || !this.#readers.has(reader)) return;
    reader.seenAt = sample.at;
    reader.told(sample);
  }

  #fail(reader: Reader, error: Error): void {
    if (this.#readers.delete(reader)) reader.failed(error);
  }

  #begin(reader: Reader): void {
    if (!this.#session.pushes) return;
    // Whoever has seen samples wants all that it missed: those it has seen are not told again.
    const input = reader.seenAt === 0 ? { historyMs: reader.historyMs } : { historyMs: missedMsMax };
    this.#session.onConnection(
      "stats.start",
      input,
      ({ samples }) => {
        for (const sample of samples) this.#tell(reader, sample);
      },
      (error) => {
        if (error instanceof ClientError && error.code === "disconnected") return;
        this.#fail(reader, error);
      },
    );
  }
}

/** As long as they are kept. */
const missedMsMax = 2 * 3_600_000;
const ignore = () => {};
