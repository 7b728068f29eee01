/**
 * The simulated world: one queue of events in virtual time, one seeded source of chance, the processes that live in
 * it and what they did, in order. Nothing here reads a real clock or draws a real number, so a seed repeats a run
 * exactly. After each event every promise that can go on has gone on.
 */
import { drainMicrotasks } from "bun:jsc";
import { DeadlineHeap } from "../../src/lib/heap.ts";
import { Random } from "../../src/lib/random.ts";

/** A promise of the docs was broken. */
export class Violation extends Error {}

/** Cleared when it fired or was forgotten. */
export type Event = { call: (() => void) | null };

const traceLines = 40;

export class World {
  readonly random: Random;
  /** True time in ms; nobody in the world can read it but through a clock of theirs. */
  now = 0;
  /** How far the coordinator's wall clock is off. */
  wallShift = 0;
  wallWentBack = false;
  /** What happened, counted by name. */
  readonly counts: Record<string, number> = {};
  /** Over everything that was traced: equal hashes are equal runs. */
  hash = 0;
  eventCount = 0;
  /** The first thing that went wrong; the run ends after the event in which it did. */
  failure: Error | null = null;
  #recent: string[] = [];
  readonly #events = new DeadlineHeap<Event>();

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  wall(): number {
    return 1_750_000_000_000 + Math.floor(this.now + this.wallShift);
  }

  after(ms: number, call: () => void): Event {
    return this.at(this.now + Math.max(0, ms), call);
  }

  /** Events of one moment come in the order in which they were asked for. */
  at(moment: number, call: () => void): Event {
    const event: Event = { call };
    this.#events.push(moment, event);
    return event;
  }

  /** Carries out the next event. False: there is none up to `end`. */
  step(end: number): boolean {
    while (this.#events.nextAt <= end) {
      const at = this.#events.nextAt;
      const event = this.#events.pop() as Event;
      const { call } = event;
      if (call === null) continue;
      event.call = null;
      this.now = Math.max(this.now, at);
      this.eventCount++;
      this.see(call);
      drainMicrotasks();
      return true;
    }
    this.now = end;
    return false;
  }

  fail(error: unknown): void {
    this.failure ??= error instanceof Error ? error : new Error(String(error));
  }

  /** For what the real code calls: an error in it is told here and never hurts the code. */
  see(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.fail(error);
    }
  }

  count(name: string, by = 1): void {
    this.counts[name] = (this.counts[name] ?? 0) + by;
  }

  trace(what: string, text = ""): void {
    const line = `${this.now.toFixed(2)} ${what} ${text}`;
    this.hash = Bun.hash.crc32(line, this.hash);
    if (this.#recent.length >= 4 * traceLines) this.#recent = this.#recent.slice(-traceLines);
    this.#recent.push(line.length > 400 ? `${line.slice(0, 400)}…` : line);
  }

  /** The last lines of the trace. */
  get recent(): string[] {
    return this.#recent.slice(-traceLines);
  }
}

/** A process: what is to happen in it happens late while it is stopped, and not at all once it is dead. */
export class Process {
  alive = true;
  paused = false;
  #held: (() => void)[] = [];

  constructor(
    readonly world: World,
    readonly name: string,
  ) {}

  run(call: () => void): void {
    if (!this.alive) return;
    if (this.paused) this.#held.push(call);
    else call();
  }

  after(ms: number, call: () => void): Event {
    const event: Event = this.world.after(ms, () => {
      if (!this.paused) {
        if (this.alive) call();
        return;
      }
      // A timer that became due while the process was stopped can still be forgotten by it before it fires.
      event.call = call;
      this.#held.push(() => {
        const late = event.call;
        event.call = null;
        late?.();
      });
    });
    return event;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    while (this.#held.length > 0 && !this.paused && this.alive) {
      this.#held.shift()?.();
      drainMicrotasks();
    }
  }

  kill(): void {
    this.alive = false;
    this.#held = [];
  }
}
