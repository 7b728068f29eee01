/**
 * Reads that wait, over a connection that asks. All of them share one request, because a browser has few connections
 * for one daemon; when others join, that request is given up for one that holds them all, which harms nothing:
 * they are reads. It owns that request and nothing else; what they are answered is the session's.
 */
import type { Pending } from "./connection.ts";
import type { Connection, Environment, Timer } from "./transport.ts";

/** How long those who come late wait for others, before the request is given up for a new one. */
const gatherMs = 50;

export class Waiting {
  #reads: Pending[] = [];
  /** The first of the reads: what the request on its way holds. */
  #sentCount = 0;
  #end: (() => void) | null = null;
  #timer: Timer = null;

  constructor(private readonly environment: Environment) {}

  add(read: Pending): void {
    this.#reads.push(read);
  }

  /** It was answered, though it is not done. */
  forget(read: Pending): void {
    const at = this.#reads.indexOf(read);
    if (at < 0) return;
    this.#reads.splice(at, 1);
    if (at < this.#sentCount) this.#sentCount -= 1;
  }

  /** Sends what is not on its way, if it may go; `patienceMs` is allowed beside the wait itself. */
  flush(connection: Connection, patienceMs: number, countMax: number): void {
    if (this.#end !== null && this.#reads.slice(0, this.#sentCount).every(({ done }) => done)) this.#stop();
    if (this.#end === null) this.#send(connection, patienceMs, countMax);
    else if (this.#reads.length > this.#sentCount && this.#sentCount < countMax)
      this.#timer ??= this.environment.setTimer(gatherMs, () => {
        this.#timer = null;
        this.#send(connection, patienceMs, countMax);
      });
  }

  /** The connection is gone. */
  drop(): void {
    this.#stop();
    this.#reads = [];
    if (this.#timer !== null) this.environment.clearTimer(this.#timer);
    this.#timer = null;
  }

  #stop(): void {
    this.#end?.();
    this.#end = null;
    this.#sentCount = 0;
  }

  #send(connection: Connection, patienceMs: number, countMax: number): void {
    this.#stop();
    this.#reads = this.#reads.filter(({ done }) => !done);
    const sent = this.#reads.slice(0, countMax);
    if (sent.length === 0 || connection.apart === undefined) return;
    this.#sentCount = sent.length;
    const waitMs = Math.max(...sent.map((read) => read.waitMs));
    this.#end = connection.apart(`[${sent.map(({ text }) => text).join()}]`, waitMs + patienceMs);
  }
}
