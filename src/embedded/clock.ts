/**
 * A clock that stands still until it is moved: wall time, monotonic time and timers for an engine and for its
 * clients, all in one. It never reads the machine's clock. Between two timers it lets everything happen that can
 * happen without time passing, which is what `settle` is.
 */
import type { Clock } from "../engine/clock.ts";
import { DeadlineHeap } from "../lib/heap.ts";

export type MovedTimer = { call: (() => void) | null };

export class MovedClock implements Clock {
  wallNow: number;
  monotonicNow: number;
  timerCount = 0;
  readonly #timers = new DeadlineHeap<MovedTimer>();

  constructor(
    start: { wall: number; monotonic: number },
    private readonly settle: () => Promise<void>,
  ) {
    this.wallNow = start.wall;
    this.monotonicNow = start.monotonic;
  }

  wall = (): number => this.wallNow;
  monotonic = (): number => this.monotonicNow;

  soon(call: () => void): void {
    queueMicrotask(call);
  }

  after(ms: number, call: () => void): () => void {
    const timer = this.setTimer(ms, call);
    return () => this.clearTimer(timer);
  }

  setTimer(ms: number, call: () => void): MovedTimer {
    const timer: MovedTimer = { call };
    this.timerCount++;
    this.#timers.push(this.monotonicNow + Math.max(0, ms), timer);
    return timer;
  }

  clearTimer(timer: MovedTimer): void {
    if (timer.call === null) return;
    timer.call = null;
    this.timerCount--;
  }

  /** Time passes, and every timer fires at its moment, in the order of the moments. */
  async advance(ms: number): Promise<void> {
    const end = this.monotonicNow + ms;
    await this.settle();
    while (this.#timers.nextAt <= end) {
      const at = this.#timers.nextAt;
      const timer = this.#timers.pop() as MovedTimer;
      const { call } = timer;
      if (call === null) continue;
      this.clearTimer(timer);
      this.stand(at - this.monotonicNow);
      call();
      await this.settle();
    }
    this.stand(end - this.monotonicNow);
    await this.settle();
  }

  /** Time passes and no timer fires, as for a process that is stopped. */
  stand(ms: number): void {
    if (ms <= 0) return;
    this.monotonicNow += ms;
    this.wallNow += ms;
  }
}
