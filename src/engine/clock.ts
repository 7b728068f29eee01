/**
 * The one clock. Everything else is handed time, so that a simulator can run the whole program over virtual
 * time and a test can move it. It has one timer at a time per engine, never one per task.
 */
export type Clock = {
  /** Epoch ms. May jump when the machine's time is set. */
  wall(): number;
  /** Ms since some moment; never jumps, goes on while the process is stopped. */
  monotonic(): number;
  /** Calls back once after `ms`, soon if that is past; the returned function forgets it. */
  after(ms: number, call: () => void): () => void;
  /** Calls back once all that has come in by now was heard. */
  soon(call: () => void): void;
};

/** setTimeout fires at once for anything above 2^31-1, and warns of what is below 0: a moment that is past. */
const longestMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(Math.max(ms, 0), longestMs));
    return () => clearTimeout(timer);
  },
  // Behind the callbacks of all sockets that had something to read; a microtask comes behind the first frame.
  soon: (call) => void setImmediate(call),
};

/** A step longer than this is a pause: the loop stood still, or the process was stopped. */
const longestStepMs = 1000;

/**
 * The lease clock: monotonic time of which no step counts for more than a second. While the daemon is down, is
 * stopped or its machine sleeps, it stands still, so every deadline moves by the gap. The engine reads it at
 * least four times a second.
 */
export class LeaseClock {
  #time: number;
  #last: number;

  constructor(
    private readonly clock: Clock,
    startAt: number,
    private readonly onPause: (pausedMs: number) => void,
  ) {
    this.#time = startAt;
    this.#last = clock.monotonic();
  }

  read(): number {
    const now = this.clock.monotonic();
    const step = now - this.#last;
    this.#last = now;
    this.#time += Math.min(step, longestStepMs);
    if (step > 2 * longestStepMs) this.onPause(Math.round(step));
    return Math.floor(this.#time);
  }
}
