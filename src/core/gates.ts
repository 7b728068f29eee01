/**
 * Gates: what a task must pass before it may run, besides finding a worker: its queue, its group, each named limit.
 * A gate is shut while it is paused, while as many run behind it as may (concurrency), or while its bucket is empty
 * (rate). It knows what runs; it never starts or ends anything.
 *
 * Gates are tested only when a stream of tasks comes to the top of its lane (lanes.ts). The first gate that is shut
 * puts the stream to sleep at it, and the match goes on with the next. What sleeps at a gate is kept by lane, and of
 * each lane only one stream is woken at a time, best first: so a gate that opens costs O(log n), however many wait,
 * and a lane for which no worker is free keeps nobody else from waking. Once a woken stream was leased from, fell
 * asleep at another gate, ran out or comes first no longer, the next one of its lane may wake.
 */
import { DeadlineHeap, PlacedHeap } from "../lib/heap.ts";
import { type Lane, type Stream, Turns, type Urgent } from "./lanes.ts";

/** A token bucket: `count` tasks in `perMs`, and at most `burst` at once. */
export type Rate = { readonly count: number; readonly perMs: number; readonly burst: number };
export type Shut = "paused" | "concurrency" | "rate";

/**
 * A bucket is the one moment at which it will be full: a task moves it by the time a token takes. It runs on the
 * lease clock, which stands still while the daemon is down, and is volatile.
 */
export class Bucket {
  #fullAt: number;
  #tokenMs: number;

  /** It was empty at `emptyAt`, so that a bucket made after a restart allows no more than the one before it would. */
  constructor(
    public rate: Rate,
    emptyAt: number,
  ) {
    this.#tokenMs = rate.perMs / rate.count;
    this.#fullAt = emptyAt + rate.burst * this.#tokenMs;
  }

  get fullAt(): number {
    return this.#fullAt;
  }

  /** From when on a task may pass. */
  get opensAt(): number {
    return this.#fullAt - (this.rate.burst - 1) * this.#tokenMs;
  }

  take(clock: number): void {
    this.#fullAt = Math.max(this.#fullAt, clock) + this.#tokenMs;
  }

  tokens(clock: number): number {
    return Math.min(this.rate.burst, this.rate.burst - (this.#fullAt - clock) / this.#tokenMs);
  }

  /**
   * Another rate from now on, with the tokens there are, so that who changes it again and again gets no burst each
   * time; one that is full stays so.
   */
  change(rate: Rate, clock: number): void {
    const tokens = this.#fullAt <= clock ? rate.burst : Math.min(rate.burst, this.tokens(clock));
    this.rate = rate;
    this.#tokenMs = rate.perMs / rate.count;
    this.#fullAt = clock + (rate.burst - tokens) * this.#tokenMs;
  }
}

/** The streams of one lane that sleep at one gate. */
export class Wait {
  readonly streams: PlacedHeap<Stream>;
  /** The one that was woken last and has not been heard of since; while there is one, the others sleep on. */
  woken: Stream | null = null;

  constructor(
    readonly gate: Gate,
    readonly lane: Lane,
  ) {
    this.streams = new PlacedHeap<Stream>(lane.before);
  }

  get queue() {
    return this.lane.queue;
  }
  get turn(): number {
    return (this.streams.top as Stream).turn;
  }
  get head() {
    return (this.streams.top as Stream).head;
  }
}

export class Gate {
  paused = false;
  concurrency = Number.POSITIVE_INFINITY;
  bucket: Bucket | null = null;
  /** Tasks that run behind it, counted whether or not that is limited. */
  running = 0;
  readonly waits = new Map<Lane, Wait>();
  /** Of the waits those without a woken stream. */
  asleep: Turns<Wait> | null = null;
  /** When it is looked at next because its bucket fills. */
  lookAt = Number.POSITIVE_INFINITY;

  constructor(
    readonly kind: "queue" | "group" | "limit",
    readonly name: string,
  ) {}

  /** Why nothing passes, or null. */
  shut(clock: number): Shut | null {
    if (this.paused) return "paused";
    if (this.running >= this.concurrency) return "concurrency";
    return this.bucket !== null && this.bucket.opensAt > clock ? "rate" : null;
  }

  /** Another limit from now on; what runs goes on. `emptyAt`: of a bucket that it had none of. */
  limit(concurrency: number, rate: Rate | null, clock: number, emptyAt: number): void {
    this.concurrency = concurrency;
    if (rate === null) this.bucket = null;
    else if (this.bucket === null) this.bucket = new Bucket(rate, emptyAt);
    else this.bucket.change(rate, clock);
  }

  /** Streams that wait here. */
  get waiting(): number {
    let count = 0;
    for (const wait of this.waits.values()) count += wait.streams.size;
    return count;
  }
}

/** The gates that have work: where streams may be woken, now and when a bucket has a token. */
export class Gates {
  /** May have opened since, and have somebody asleep. */
  readonly opening = new Set<Gate>();
  /** On the lease clock. */
  readonly looks = new DeadlineHeap<Gate>();

  constructor(
    private readonly clock: () => number,
    private readonly urgent: Urgent,
    /** The order of the lane among others has changed. */
    private readonly onLaneMoved: (lane: Lane) => void,
  ) {}

  /** The first gate of the stream that is shut, or null. */
  shutFor(stream: Stream): Gate | null {
    const clock = this.clock();
    for (const gate of stream.gates) {
      const why = gate.shut(clock);
      if (why === null) continue;
      if (why === "rate") this.#lookLater(gate);
      return gate;
    }
    return null;
  }

  /** Something changed because of which the gate may be open. */
  mayOpen(gate: Gate): void {
    if (gate.asleep !== null && gate.asleep.size > 0) this.opening.add(gate);
  }

  /** Puts a stream that is awake to sleep at the gate. */
  sleep(stream: Stream, gate: Gate): void {
    const { lane } = stream;
    lane.awake.delete(stream);
    this.settled(stream);
    let wait = gate.waits.get(lane);
    if (wait === undefined) {
      wait = new Wait(gate, lane);
      gate.waits.set(lane, wait);
    }
    stream.wait = wait;
    this.moved(stream);
    this.onLaneMoved(lane);
  }

  /** What stands first among those that sleep has changed. */
  moved(stream: Stream): void {
    const wait = stream.wait as Wait;
    wait.streams.update(stream);
    this.#stand(wait);
    if (wait.woken !== null) this.fellBack(wait.woken);
  }

  /** The stream was woken and may come later now: one of its lane that still sleeps and comes before it may wake too. */
  fellBack(stream: Stream): void {
    const first = stream.woken?.streams.top;
    if (first !== undefined && stream.lane.before(first, stream)) this.settled(stream);
  }

  /** The stream is no more. */
  gone(stream: Stream): void {
    const { wait } = stream;
    if (wait !== null) {
      stream.wait = null;
      wait.streams.delete(stream);
      this.#stand(wait);
    }
    this.settled(stream);
  }

  /** The stream was leased from, sleeps elsewhere or is no more: another of its lane may be woken where it was. */
  settled(stream: Stream): void {
    const wait = stream.woken;
    if (wait === null) return;
    stream.woken = null;
    wait.woken = null;
    this.#stand(wait);
    this.mayOpen(wait.gate);
  }

  /** Wakes the first stream at each gate that is open; false: nobody was. */
  wake(): boolean {
    let woke = false;
    for (const gate of this.opening) {
      const why = gate.shut(this.clock());
      const wait = why === null ? gate.asleep?.top : undefined;
      if (wait === undefined) {
        this.opening.delete(gate);
        if (why === "rate") this.#lookLater(gate);
        continue;
      }
      const stream = wait.streams.top as Stream;
      if (stream.turn < stream.group.turn) {
        // Its group had a turn in another lane meanwhile.
        stream.turn = stream.group.turn;
        this.moved(stream);
        woke = true;
        continue;
      }
      stream.wait = null;
      wait.streams.delete(stream);
      stream.woken = wait;
      wait.woken = stream;
      this.#stand(wait);
      stream.lane.awake.update(stream);
      this.onLaneMoved(stream.lane);
      woke = true;
    }
    return woke;
  }

  /** Gates whose bucket has a token by now. */
  tick(): void {
    const { looks } = this;
    while (looks.nextAt <= this.clock()) {
      const at = looks.nextAt;
      const gate = looks.pop() as Gate;
      if (gate.lookAt !== at) continue;
      gate.lookAt = Number.POSITIVE_INFINITY;
      this.mayOpen(gate);
    }
  }

  #lookLater(gate: Gate): void {
    const at = (gate.bucket as Bucket).opensAt;
    if (at >= gate.lookAt) return;
    gate.lookAt = at;
    this.looks.push(at, gate);
  }

  /** Puts the wait where its first stream says. */
  #stand(wait: Wait): void {
    const { gate } = wait;
    const empty = wait.streams.size === 0;
    if (empty || wait.woken !== null) gate.asleep?.delete(wait);
    else {
      gate.asleep ??= new Turns<Wait>(this.urgent);
      gate.asleep.update(wait);
    }
    if (empty && wait.woken === null) gate.waits.delete(wait.lane);
  }
}
