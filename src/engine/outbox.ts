/**
 * The outbox: answers, pushes and change events in the order in which they came about, each with the revision it
 * must wait for. Nothing leaves before it is told that its revision is durable, and nothing overtakes what came
 * before it. Sinks are flushed once after a run of deliveries; then dispatch hears what was pushed to whom, so
 * that no worker gets more than its socket takes.
 */
import type { Consumer, Entry } from "../core/inboxes.ts";
import type { Durations } from "../lib/durations.ts";
import type { Histogram } from "../lib/histogram.ts";
import { limits } from "../wire/limits.ts";
import type { Clock } from "./clock.ts";
import type { Deliveries } from "./deliveries.ts";
import type { Engine } from "./engine.ts";
import type { Seats } from "./seats.ts";
import type { Answer, Sink } from "./types.ts";

/** What waits for its revision to be durable. */
type Held =
  | {
      kind: "answer";
      revision: number;
      sink: Sink;
      seq: number | null;
      answer: Answer;
      askedAt: number;
      /** Where it is counted how long it took; null: it is no operation's. */
      took: Histogram | null;
    }
  | { kind: "push"; revision: number; sink: Sink; text: string; workerId: string; bytes: number }
  | { kind: "tell"; revision: number; sink: Sink; text: string }
  | { kind: "change" | "gap"; revision: number; sink: Sink; watchId: string; text: string }
  | { kind: "place"; revision: number; sink: Sink; watchId: string }
  | { kind: "message"; revision: number; sink: Sink; subscriptionId: string; text: string }
  | { kind: "delivery"; revision: number; sink: Sink; text: string; entry: Entry; to: Consumer }
  | { kind: "ended"; revision: number; sink: Sink; subscriptionId: string; name: string }
  | { kind: "silent"; revision: number; sink: Sink; workerId: string };

export class Outbox {
  /** Given once, before anything is held. */
  deliveries!: Pick<Deliveries, "leaves" | "unsent" | "flushed">;
  #held: Held[] = [];
  readonly #touched = new Set<Sink>();
  /** What was pushed since the last flush, by worker: bytes of payloads, and the newest token that left. */
  readonly #pushed = new Map<string, { bytes: number; token: number }>();

  constructor(
    private readonly engine: Pick<Engine, "core" | "counters">,
    private readonly seats: Seats,
    private readonly clock: Clock,
    /** From when an operation was read until its answer left. */
    private readonly took: Durations,
  ) {}

  hold(held: Held): void {
    this.#held.push(held);
  }

  /** Delivers what waits for no more than `durable`. True: a worker may have room now, and there is work for it. */
  letOut(durable: number): boolean {
    const held = this.#held;
    let count = 0;
    const now = held.length > 0 ? this.clock.monotonic() : 0;
    while (count < held.length) {
      const one = held[count] as Held;
      if (one.revision > durable) break;
      count += 1;
      this.#touched.add(one.sink);
      if (one.kind === "answer") {
        this.took.add(now - one.askedAt);
        one.took?.add(now - one.askedAt);
        one.sink.answer(one.seq, one.answer);
      } else if (one.kind === "push") {
        one.sink.push(one.text);
        // Of a push that carries a task the revision is its lease's token.
        this.#countPush(one.workerId, one.bytes, one.bytes > 0 ? one.revision : 0);
      } else if (one.kind === "tell") one.sink.push(one.text);
      else if (one.kind === "delivery") {
        if (this.deliveries.leaves(one.entry, one.to)) one.sink.push(one.text);
      } else if (one.kind === "message") one.sink.message(one.subscriptionId, one.text);
      else if (one.kind === "ended") one.sink.ended(one.subscriptionId, one.name);
      else if (one.kind === "silent") this.#tellSilent(one.workerId, one.sink);
      else if (one.kind === "place") one.sink.place(one.watchId, one.revision);
      else one.sink.change(one.watchId, one.revision, one.text);
    }
    if (count === held.length) this.#held = [];
    else if (count > 0) held.splice(0, count);
    return this.#flush();
  }

  /** What is above `durable` was undone: whoever waits is told `refusal`, and nobody sees the rest. As `letOut`. */
  undo(durable: number, refusal: Answer): boolean {
    const held = this.#held;
    this.#held = [];
    for (const one of held)
      if (one.kind === "answer") {
        // A repeated request whose entry was durable all along keeps its answer.
        const answer = one.revision <= durable ? one.answer : refusal;
        if (one.took !== null && "error" in answer && !("error" in one.answer))
          this.engine.counters.operationsRefused++;
        one.sink.answer(one.seq, answer);
        this.#touched.add(one.sink);
      } else if (one.kind === "gap" || (one.kind === "change" && one.revision <= durable)) {
        // A watch that catches up is told of the past, in its place behind what was undone; of a gap not all was undone.
        one.sink.change(one.watchId, one.revision, one.text);
        this.#touched.add(one.sink);
      } else if (one.kind === "push") this.#countPush(one.workerId, one.bytes, 0);
      else if (one.kind === "delivery") this.deliveries.unsent(one.entry, one.to);
    return this.#flush();
  }

  /** Drops what waits: nothing will ever be durable again. */
  drop(): void {
    this.#held = [];
  }

  #countPush(workerId: string, bytes: number, token: number): void {
    const pushed = this.#pushed.get(workerId);
    if (pushed === undefined) this.#pushed.set(workerId, { bytes, token });
    else {
      pushed.bytes += bytes;
      if (token > 0) pushed.token = token;
    }
  }

  /** Unless it registered again before its silence was durable. */
  #tellSilent(workerId: string, sink: Sink): void {
    if (this.seats.sinkOf(workerId) === sink && this.engine.core.workers.get(workerId)?.state === "offline")
      sink.silent(workerId);
  }

  #flush(): boolean {
    for (const sink of this.#touched) sink.flush();
    this.#touched.clear();
    const mayDeliver = this.deliveries.flushed();
    if (this.#pushed.size === 0) return mayDeliver;
    const { dispatch } = this.engine.core;
    for (const [workerId, { bytes, token }] of this.#pushed) {
      const backlog = this.seats.sinkOf(workerId)?.backlog() ?? 0;
      dispatch.pushed(workerId, bytes, backlog > limits.pushBufferBytesMax, token);
    }
    this.#pushed.clear();
    // A worker that had enough on its way may have room now.
    return dispatch.canMatch || mayDeliver;
  }
}
