/**
 * Requests that wait for something to happen: `task.get` for a task's end, `task.logs` for the next line of its log or its
 * end, `task.claim` for a task to take, `message.request` for a reply, `message.receive` for a message, `lock.get` for a lock to be held or gone. Each is
 * parked here and answered once, as things stand when its moment comes: what it waits for is there, its time is
 * up, or nothing will come any more. Whoever went away is owed nothing, and above all no lease.
 */
import type { Change } from "../core/store.ts";
import { isFinal } from "../core/tasks.ts";
import { PlacedHeap } from "../lib/heap.ts";
import type { Input, OperationName } from "../wire/operations.ts";
import type { Clock } from "./clock.ts";
import type { Engine } from "./engine.ts";
import type { Caller, Sink } from "./types.ts";
import { ended } from "./watch.ts";

type Parked = "task.get" | "task.logs" | "task.claim" | "lock.get" | "message.receive";
type Waiting = Parked | "message.request";
/** Those that are carried out when their moment comes; a request is carried out first, and waits then. */
export const isParked = (operation: OperationName): operation is Parked =>
  operation === "task.get" ||
  operation === "task.logs" ||
  operation === "task.claim" ||
  operation === "lock.get" ||
  operation === "message.receive";
export const isWaiting = (operation: OperationName): operation is Waiting =>
  isParked(operation) || operation === "message.request";

export type Waiter = {
  operation: Waiting;
  input: Input<Waiting>;
  caller: Caller;
  sink: Sink;
  /** The task, the worker, the lock or the subscription it waits for. */
  key: string;
  /** When it has waited for as long as it said it would (monotonic ms); of those at one moment the first that came ends first. */
  endsAt: number;
  order: number;
  place: number;
  done: boolean;
  /** Hears that the caller went away, or has waited enough. */
  onAbort: () => void;
  onEnough: () => void;
};

/** Those who wait in one operation, by what they wait for. */
class Waiters extends Map<string, Set<Waiter>> {
  /** What happened since waiters were last served: of what is here, all who wait are to be answered. */
  readonly happened: string[] = [];

  happens(key: string): void {
    if (this.has(key)) this.happened.push(key);
  }
}

export class Waits {
  readonly #gets = new Waiters();
  readonly #logs = new Waiters();
  readonly #claims = new Waiters();
  readonly #requests = new Waiters();
  readonly #locks = new Waiters();
  readonly #receives = new Waiters();
  readonly #all = [this.#gets, this.#logs, this.#claims, this.#requests, this.#locks, this.#receives];
  /** Of those alone that wait still: what one carries must not stay for as long as it might have waited. */
  readonly #ends = new PlacedHeap<Waiter>((a, b) =>
    a.endsAt !== b.endsAt ? a.endsAt < b.endsAt : a.order < b.order,
  );
  #order = 0;

  constructor(
    private readonly engine: Pick<Engine, "core">,
    private readonly clock: Clock,
    /** Carries the request out and answers it. */
    private readonly answer: (waiter: Waiter) => void,
  ) {}

  /** Whether the request was parked: what it asks for is not there yet, and it said it would wait. */
  park(operation: Parked, given: unknown, caller: Caller, sink: Sink): boolean {
    const input = given as Input<Parked>;
    const { waitMs } = input;
    if (waitMs === undefined || waitMs === 0) return false;
    const { tasks, dispatch, answers, logs, locks, inboxes } = this.engine.core;
    const key = keyOf(input);
    if ("subscription" in input) {
      const inbox = inboxes.get(key);
      if (inbox === undefined) return false;
      // What an answer took that never came is ready for this one.
      const { holding } = given as Input<"message.receive">;
      if (holding !== undefined && caller.session !== null) inboxes.taker(inbox, caller.session, holding);
      if (inbox.next() !== undefined) return false;
    } else if ("lockId" in input) {
      if (locks.get(key)?.state !== "waiting") return false;
    } else if ("taskId" in input) {
      const record = tasks.get(key);
      if (record === undefined || isFinal(record.state)) return false;
      if (operation === "task.logs" && logs.next(key) > ((input as Input<"task.logs">).from ?? 0))
        return false;
    } else {
      const slot = dispatch.slot(key);
      if (slot === undefined || slot.room <= 0 || dispatch.nextFor(slot) !== undefined) return false;
      if (caller.session !== null && answers.find(caller.session, caller.seq) !== undefined) return false;
      // A worker that waits already keeps its place among the others.
      if (!this.#claims.has(key)) dispatch.waitForClaim(slot);
    }
    this.#park(operation, input, waitMs, caller, sink, key);
    return true;
  }

  /** It was sent, and waits for its reply. */
  parkRequest(requestId: string, input: Input<"message.request">, caller: Caller, sink: Sink): void {
    this.#park("message.request", input, input.waitMs, caller, sink, requestId);
  }

  /** The request has its reply. */
  replied(requestId: string): void {
    this.#endAt(this.#requests, requestId);
  }

  #park(
    operation: Waiting,
    input: Input<Waiting>,
    waitMs: number,
    caller: Caller,
    sink: Sink,
    key: string,
  ): void {
    const onAbort = () => {
      this.#forget(waiter);
      if (operation === "message.request") this.engine.core.bus.take(key);
    };
    const onEnough = () => this.#end(waiter);
    const waiter: Waiter = {
      ...{ operation, input, caller, sink, key, done: false, onAbort, onEnough },
      ...{ endsAt: this.clock.monotonic() + waitMs, order: this.#order++, place: -1 },
    };
    const waiters = this.#waitersOf(operation);
    const others = waiters.get(key);
    if (others === undefined) waiters.set(key, new Set([waiter]));
    else others.add(waiter);
    this.#ends.update(waiter);
    caller.signal?.addEventListener("abort", onAbort, { once: true });
    caller.enough?.addEventListener("abort", onEnough, { once: true });
  }

  #waitersOf(operation: Waiting): Waiters {
    switch (operation) {
      case "task.get":
        return this.#gets;
      case "task.logs":
        return this.#logs;
      case "task.claim":
        return this.#claims;
      case "message.request":
        return this.#requests;
      case "lock.get":
        return this.#locks;
      case "message.receive":
        return this.#receives;
    }
  }

  #forget(waiter: Waiter): void {
    if (waiter.done) return;
    waiter.done = true;
    this.#ends.delete(waiter);
    // A connection's signal lives for as long as it does; what it holds must not grow.
    waiter.caller.signal?.removeEventListener("abort", waiter.onAbort);
    waiter.caller.enough?.removeEventListener("abort", waiter.onEnough);
    const waiters = this.#waitersOf(waiter.operation);
    const others = waiters.get(waiter.key);
    others?.delete(waiter);
    if (others?.size === 0) {
      waiters.delete(waiter.key);
      const { dispatch } = this.engine.core;
      const slot = waiter.operation === "task.claim" ? dispatch.slot(waiter.key) : undefined;
      if (slot !== undefined) dispatch.endClaim(slot);
    }
  }

  /** Answers a waiting request as things stand now. */
  #end(waiter: Waiter): void {
    if (waiter.done) return;
    this.#forget(waiter);
    this.answer(waiter);
    const { operation, key } = waiter;
    const { dispatch } = this.engine.core;
    // Its worker's next claim stands behind those of the others.
    const slot = this.#claims.has(key) ? dispatch.slot(key) : undefined;
    if (operation === "task.claim" && slot !== undefined) dispatch.waitForClaim(slot);
  }

  #endAt(waiters: Waiters, key: string): void {
    for (const waiter of [...(waiters.get(key) ?? [])]) this.#end(waiter);
  }

  #endAllOf(waiters: Waiters): void {
    for (const key of [...waiters.keys()]) this.#endAt(waiters, key);
  }

  taskChanged(change: Change): void {
    if (this.#gets.size === 0 && this.#logs.size === 0) return;
    const { key } = change;
    if (!(this.#gets.has(key) || this.#logs.has(key)) || !ended(change)) return;
    this.#gets.happens(key);
    this.#logs.happens(key);
  }

  logChanged(taskId: string): void {
    this.#logs.happens(taskId);
  }

  lockChanged(change: Change): void {
    if (this.#locks.size > 0) this.#locks.happens(change.key);
  }

  /** Whoever waits there for a message will get none. */
  subscriptionGone(name: string): void {
    this.#receives.happens(name);
  }

  workerGone(workerId: string): void {
    this.#claims.happens(workerId);
  }

  /** Answers those whose moment has come. */
  serve(): void {
    for (const waiters of this.#all)
      if (waiters.happened.length > 0)
        for (const key of waiters.happened.splice(0)) this.#endAt(waiters, key);
    if (this.#receives.size > 0) this.#receive();
    const { dispatch } = this.engine.core;
    for (let slot = dispatch.nextClaiming(); slot !== undefined; slot = dispatch.nextClaiming()) {
      const [waiter] = this.#claims.get(slot.id) ?? [];
      if (waiter === undefined) dispatch.endClaim(slot);
      else this.#end(waiter);
    }
  }

  /** Looks at the subscriptions alone that have something new. */
  #receive(): void {
    for (const inbox of this.engine.core.inboxes.due)
      while (inbox.next() !== undefined) {
        const [waiter] = this.#receives.get(inbox.name) ?? [];
        if (waiter === undefined) break;
        this.#end(waiter);
      }
  }

  /** When the first of them has waited for as long as it said it would (monotonic ms). */
  get endsAt(): number {
    return this.#ends.top?.endsAt ?? Number.POSITIVE_INFINITY;
  }

  endDue(now: number): void {
    for (let first = this.#ends.top; first !== undefined && first.endsAt <= now; first = this.#ends.top)
      this.#end(first);
  }

  endAll(): void {
    for (const waiters of this.#all) this.#endAllOf(waiters);
  }

  /** What happened was undone, and nobody may take a task for now. */
  undo(): void {
    for (const waiters of this.#all) waiters.happened.length = 0;
    this.#endAllOf(this.#claims);
  }

  /** What waits has an open connection: the worker of a claim lives, a lock is still wanted, and somebody listens. */
  beat(): void {
    const { core } = this.engine;
    for (const workerId of this.#claims.keys()) core.heard(core.dispatch.slot(workerId));
    for (const lockId of this.#locks.keys()) core.bids.beat(lockId);
    for (const name of this.#receives.keys()) core.inboxes.heard(name);
  }
}

function keyOf(input: Input<Parked>): string {
  if ("subscription" in input) return input.subscription;
  if ("lockId" in input) return input.lockId;
  return "taskId" in input ? input.taskId : input.workerId;
}
