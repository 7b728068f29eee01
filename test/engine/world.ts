/**
 * A world of its own for a test of the engine: a clock the test moves, a log whose appends the test completes,
 * refuses, rejects or leaves hanging, and sinks that note what came out. Nothing waits for real time; `settle`
 * lets everything that is ready run, which is microtasks alone.
 */
import { expect } from "bun:test";
import { check } from "../../src/core/check.ts";
import { MovedClock } from "../../src/embedded/clock.ts";
import { type KeptDisk, KeptLog } from "../../src/embedded/disk.ts";
import type { EngineConfig } from "../../src/engine/config.ts";
import { Engine } from "../../src/engine/engine.ts";
import type { Answer, Caller, Sink } from "../../src/engine/types.ts";
import type { Appended, Batch, Log, LogStatus } from "../../src/log/log.ts";
import { MemoryLog } from "../../src/log/memory.ts";
import { createLines } from "../../src/telemetry/lines.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import type { ErrorCode, Problem } from "../../src/wire/errors.ts";
import type { Input, Output, StateOperationName } from "../../src/wire/operations.ts";

/** Runs all that is ready: promises and microtasks, to a depth no chain of the engine reaches. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 40; i++) await Promise.resolve();
}

export class FakeClock extends MovedClock {
  constructor() {
    super({ wall: 1_700_000_000_000, monotonic: 5000 }, settle);
  }
}

// biome-ignore lint/suspicious/noExplicitAny: what came out is looked at field by field.
type Json = any;

type Pending = {
  batch: Batch;
  after: number;
  written: Appended | null;
  settle: (appended: Appended) => void;
  fail: (e: Error) => void;
};

export class FakeLog extends KeptLog {
  /** Appends (and reservations) answer by themselves; false: the test does it. */
  auto = true;
  autoReserve = true;
  /** What is appended can be read before its answer comes, as a database is before its sync. */
  writesEarly = false;
  probeAnswer: boolean | Error = true;
  /** Every append that was asked for. */
  readonly appends: { batch: Batch; after: number }[] = [];
  readonly reserved: number[] = [];
  probeCount = 0;
  stopCount = 0;
  fail: (error: Error) => void = () => {};
  #pending: Pending | null = null;
  #reservations: (() => void)[] = [];

  override append(batch: Batch, after: number): Promise<Appended> {
    expect(this.#pending).toBeNull();
    this.appends.push({ batch, after });
    const written = this.writesEarly ? this.write(batch, after) : null;
    return new Promise((settle, fail) => {
      this.#pending = { batch, after, written, settle, fail };
      if (this.auto) this.complete();
    });
  }

  get isAppending(): boolean {
    return this.#pending !== null;
  }

  #take(): Pending {
    const pending = this.#pending;
    if (pending === null) throw new Error("no append is on its way");
    this.#pending = null;
    return pending;
  }

  /** The append on its way succeeds, if it follows what is there. */
  complete(): void {
    const { batch, after, written, settle } = this.#take();
    settle(written ?? this.write(batch, after));
  }

  full(): void {
    this.#take().settle({ kind: "full" });
  }

  fenced(last: number): void {
    this.#take().settle({ kind: "fenced", last });
  }

  reject(error: Error): void {
    this.#take().fail(error);
  }

  override reserve(ceiling: number): Promise<void> {
    this.reserved.push(ceiling);
    return new Promise((resolve) => {
      this.#reservations.push(() => void super.reserve(ceiling).then(resolve));
      if (this.autoReserve) this.reserveAll();
    });
  }

  reserveAll(): void {
    for (const done of this.#reservations.splice(0)) done();
  }

  override async probe(): Promise<boolean> {
    this.probeCount++;
    if (this.probeAnswer instanceof Error) throw this.probeAnswer;
    return this.probeAnswer;
  }

  override status(): LogStatus {
    return { ...super.status(), logBytes: 4096 };
  }

  override onFailure(listener: (error: Error) => void): void {
    this.fail = listener;
  }

  override stop(): Promise<void> {
    this.stopCount++;
    return super.stop();
  }
}

/** Notes what came out, in order. */
export class TestSink implements Sink {
  /** What came, one line of words each: for claims about order. */
  readonly order: string[] = [];
  readonly answers: { seq: number | null; answer: Answer }[] = [];
  readonly pushes: Json[] = [];
  readonly changes: { watchId: string; revision: number; event: Json }[] = [];
  readonly silences: string[] = [];
  flushCount = 0;

  answer(seq: number | null, answer: Answer): void {
    this.order.push(`answer ${seq}`);
    this.answers.push({ seq, answer });
  }
  push(text: string): void {
    const event = JSON.parse(text);
    this.order.push(event.event);
    this.pushes.push(event);
  }
  change(watchId: string, revision: number, text: string): void {
    this.order.push(`change ${watchId}`);
    this.changes.push({ watchId, revision, event: JSON.parse(text) });
  }
  readonly places: number[] = [];
  place(_watchId: string, revision: number): void {
    this.places.push(revision);
  }
  readonly messages: { subscriptionId: string; event: Json }[] = [];
  message(subscriptionId: string, text: string): void {
    this.order.push(`message ${subscriptionId}`);
    this.messages.push({ subscriptionId, event: JSON.parse(text) });
  }
  ended(subscriptionId: string, name: string): void {
    this.order.push(`ended ${subscriptionId} ${name}`);
  }
  silent(workerId: string): void {
    this.order.push(`silent ${workerId}`);
    this.silences.push(workerId);
  }
  flush(): void {
    this.flushCount++;
  }
  /** What the socket has not taken, as the test says. */
  backlogBytes = 0;
  backlog(): number {
    return this.backlogBytes;
  }

  /** The output answered to a seq. */
  ok(seq: number): Json {
    const found = this.answers.find((one) => one.seq === seq);
    if (found === undefined) throw new Error(`${seq} was not answered`);
    if ("error" in found.answer) throw new Error(`${seq} was refused: ${found.answer.error.detail}`);
    return JSON.parse(found.answer.ok);
  }
  error(seq: number): Problem {
    const found = this.answers.find((one) => one.seq === seq);
    if (found === undefined || !("error" in found.answer)) throw new Error(`${seq} was not refused`);
    return found.answer.error;
  }
}

export const engineConfig: EngineConfig = {
  preset: "test",
  version: "0.0.0",
  heartbeatMs: 10_000,
  silenceMs: 30_000,
  pushAckMs: 10_000,
  stalledMs: 10_000,
  graceMs: 10_000,
  ageingMs: 0,
  interruptionsMax: 5,
  retentionMs: 3_600_000,
  retentionCount: 1000,
  archives: true,
  queuedTasksMax: 100_000,
  memoryBytesMax: 2 ** 30,
  messageIntervalMs: 0,
  watchHistoryBytesMax: 1_000_000,
  undurableBytesMax: 2 ** 26,
};

export const anyone: Caller = { who: "test", session: null, seq: 0, ackedThrough: 0 };

export type WorldOptions = {
  disk?: KeptDisk;
  clock?: FakeClock;
  config?: Partial<EngineConfig>;
  log?: Log;
};

export class EngineWorld {
  readonly clock: FakeClock;
  readonly log: FakeLog;
  readonly engine: Engine;
  readonly failures: Error[] = [];
  /** Log lines: event and fields. */
  readonly lines: { event: string; [field: string]: unknown }[] = [];
  #seq = 0;

  private constructor(options: WorldOptions) {
    this.clock = options.clock ?? new FakeClock();
    this.log = new FakeLog(options.disk);
    const lines = createLines({
      level: "debug",
      format: "json",
      now: () => 0,
      write: (line) => this.lines.push(JSON.parse(line)),
    });
    this.engine = new Engine({
      log: options.log ?? this.log,
      clock: this.clock,
      config: { ...engineConfig, ...options.config },
      telemetry: { metrics: createMetrics(), lines },
      random: () => 0.5,
      onFailure: (error) => this.failures.push(error),
    });
  }

  static async start(options: WorldOptions = {}): Promise<EngineWorld> {
    const world = EngineWorld.idle(options);
    await world.engine.start();
    await settle();
    return world;
  }

  /** Not started yet. */
  static idle(options: WorldOptions = {}): EngineWorld {
    return new EngineWorld(options);
  }

  static memory(options: WorldOptions = {}): Promise<EngineWorld> {
    return EngineWorld.start({ ...options, log: new MemoryLog(1000) });
  }

  /** Asks, in a session of its own sink; the seq the answer will bear. */
  ask<N extends StateOperationName>(sink: Sink, operation: N, input: Input<N>, caller = {}): number {
    const seq = ++this.#seq;
    this.engine.request(operation, input, { ...anyone, seq, ...caller }, sink);
    return seq;
  }

  async answer<N extends StateOperationName>(operation: N, input: Input<N>, caller = {}): Promise<Answer> {
    const answer = this.engine.call(operation, input, { ...anyone, ...caller });
    await settle();
    return answer;
  }

  async ok<N extends StateOperationName>(operation: N, input: Input<N>, caller = {}): Promise<Output<N>> {
    const answer = await this.answer(operation, input, caller);
    if ("error" in answer) throw new Error(`${operation} was refused: ${answer.error.detail}`);
    return JSON.parse(answer.ok);
  }

  async refused<N extends StateOperationName>(
    operation: N,
    input: Input<N>,
    code: ErrorCode,
  ): Promise<Problem> {
    const answer = await this.answer(operation, input);
    if ("ok" in answer) throw new Error(`${operation} was not refused: ${answer.ok}`);
    expect(answer.error.code).toBe(code);
    return answer.error;
  }

  async submit(input: Partial<Input<"task.submit"> & object> = {}): Promise<string> {
    return ((await this.ok("task.submit", { type: "t", ...input } as never)) as { id: string }).id;
  }

  task(taskId: string): Promise<Output<"task.get">> {
    return this.ok("task.get", { taskId });
  }

  /** Time passes; the state is sound after it. */
  async advance(ms: number): Promise<void> {
    await this.clock.advance(ms);
    this.sound();
  }

  sound(): void {
    expect(check(this.engine.core)).toEqual([]);
  }
}
