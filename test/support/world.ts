/**
 * A world of its own for a test of the core: one coordinator, clocks that the test moves, chance that is always
 * the middle. Time never passes by itself.
 */
import { expect } from "bun:test";
import { check, stateText } from "../../src/core/check.ts";
import { Loader } from "../../src/core/codec.ts";
import { type Cause, Coordinator, type CoreConfig, type CoreOptions } from "../../src/core/coordinator.ts";
import { type CoreMetrics, type Counted, counted, entryCounts, recount } from "../../src/core/counted.ts";
import { createStore, type Store, type Transaction } from "../../src/core/store.ts";
import { validate } from "../../src/engine/validate.ts";
import type { ErrorCode, Problem } from "../../src/wire/errors.ts";
import type { CoreOperationName, Input, Output } from "../../src/wire/operations.ts";

export const coreConfig: CoreConfig = {
  heartbeatMs: 10_000,
  silenceMs: 30_000,
  pushAckMs: 10_000,
  stalledMs: 10_000,
  graceMs: 10_000,
  ageingMs: 60_000,
  interruptionsMax: 5,
  retentionMs: 3_600_000,
  retentionCount: 100_000,
  archives: true,
  queuedTasksMax: 1_000_000,
  memoryBytesMax: 1_000_000_000,
};

export const noMetrics = (): CoreMetrics =>
  Object.fromEntries([...entryCounts, "operationsRepeated"].map((name) => [name, 0])) as CoreMetrics;

export class World {
  readonly core: Coordinator;
  readonly store: Store;
  readonly transactions: Transaction[] = [];
  now = 1_000_000_000_000;
  clock = 0;

  constructor(
    config: Partial<CoreConfig> = {},
    store: Store = createStore(),
    graceUntil = 0,
    place: Pick<CoreOptions, "namespace" | "memory"> = {},
    at?: { now: number; clock: number },
  ) {
    if (at !== undefined) ({ now: this.now, clock: this.clock } = at);
    this.store = store;
    this.core = new Coordinator(store, {
      ...place,
      config: { ...coreConfig, ...config },
      metrics: noMetrics(),
      random: () => 0.5,
      now: this.now,
      clock: this.clock,
      graceUntil,
    });
    store.onCommit((transaction) => this.transactions.push(transaction));
  }

  /** What a restart makes of it: the tables out of their text, everything that is not state forgotten. */
  restarted(config: Partial<CoreConfig> = {}): World {
    const store = createStore();
    const loader = new Loader(store);
    loader.entry(stateText(this.core));
    loader.end();
    store.advanceTo(this.store.revision);
    const world = new World(config, store, this.clock + coreConfig.graceMs, {}, this);
    world.sound();
    return world;
  }

  /** Lets time pass on both clocks, then does what is due and dispatches. */
  advance(ms: number): void {
    this.now += ms;
    this.clock += ms;
    this.settle();
  }

  /** Does what is due and dispatches, without time passing. */
  settle(): void {
    this.core.setTime(this.now, this.clock);
    this.core.tick();
    while (this.core.dispatchReady(1000) > 0);
    this.sound();
  }

  run<N extends CoreOperationName>(operation: N, input: Input<N>, cause: Partial<Cause> = {}) {
    expect(validate(operation, input)).toBeNull();
    this.core.setTime(this.now, this.clock);
    return this.core.run(operation, input, {
      who: "test",
      session: null,
      seq: 0,
      ackedThrough: 0,
      fingerprint: 0,
      ...cause,
    });
  }

  /** Runs an operation that must succeed; its output. */
  ok<N extends CoreOperationName>(operation: N, input: Input<N>, cause: Partial<Cause> = {}): Output<N> {
    const result = this.run(operation, input, cause);
    if ("error" in result) throw new Error(`${operation} was refused: ${result.error.detail}`);
    this.sound();
    return JSON.parse(result.ok);
  }

  /** Runs an operation that must be refused, and that it changed nothing; the problem. */
  refused<N extends CoreOperationName>(operation: N, input: Input<N>, code: ErrorCode): Problem {
    const before = this.transactions.length;
    const result = this.run(operation, input);
    if ("ok" in result) throw new Error(`${operation} was not refused: ${result.ok}`);
    expect(result.error.code).toBe(code);
    expect(this.transactions.length).toBe(before);
    return result.error;
  }

  /** What is durable now: `undo` goes back to it. */
  durable(): { count: number; counted: Counted } {
    return { count: this.transactions.length, counted: counted(this.core) };
  }

  /** A full disk: the entries since are taken back, newest first. */
  undo(durable: { count: number; counted: Counted }): void {
    for (const transaction of this.transactions.splice(durable.count).reverse()) this.store.undo(transaction);
    recount(this.core, durable.counted);
    this.sound();
  }

  submit(input: Input<"task.submit"> & object): string {
    return (this.ok("task.submit", input) as { id: string }).id;
  }

  task(taskId: string): Output<"task.get"> {
    return this.ok("task.get", { taskId });
  }

  /** Registers a worker; pushed to, unless `claims`. */
  worker(
    workerId: string,
    more: Omit<Input<"worker.register">, "workerId"> & { claims?: boolean } = {},
  ): void {
    const { claims, ...input } = more;
    this.ok("worker.register", { workerId, ...input });
    if (claims !== true) this.core.dispatch.attach(workerId, input.capacity ?? 1);
  }

  /** The lease a worker holds on a task, as it would name it. */
  held(taskId: string) {
    const { lease } = this.task(taskId);
    if (lease === null) throw new Error(`task ${taskId} is not leased`);
    return { taskId, workerId: lease.workerId, token: lease.token };
  }

  /** Ids of the tasks a worker holds, in the order they were leased. */
  holds(workerId: string): string[] {
    return [...(this.core.dispatch.slot(workerId)?.running ?? [])].map((spec) => spec.id);
  }

  beat(workerId: string): void {
    this.ok("worker.heartbeat", { workerId });
  }

  sound(): void {
    expect(check(this.core)).toEqual([]);
  }
}
