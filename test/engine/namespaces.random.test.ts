/**
 * Namespaces under seeded traffic: tasks, waits and workers in two of them, over logs that answer late, while one is
 * dropped and made again at any moment. Whatever the order: every request has one answer, none tells of what its log
 * did not hold, no revision is given out twice under a name, and the other namespace does not notice.
 */
import { expect, test } from "bun:test";
import { check } from "../../src/core/check.ts";
import type { Answer } from "../../src/engine/types.ts";
import { Rooms } from "./rooms.ts";
import { settle, TestSink } from "./world.ts";

/** mulberry32: the same draws for the same seed. */
function drawsOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

const idOf = (answer: Answer): string | null => ("ok" in answer ? (JSON.parse(answer.ok).id ?? null) : null);

class Run {
  /** What was asked, by the seq of its answer. */
  readonly asked: { name: string; operation: string; sink: TestSink; seq: number }[] = [];
  /** The ids acknowledged in the namespace as it is now. */
  readonly ids = new Map<string, string[]>([["kept", []]]);
  readonly drops: Promise<unknown>[] = [];
  highest = 0;
  droppedCount = 0;

  constructor(
    readonly rooms: Rooms,
    readonly draw: () => number,
  ) {}

  ask(
    name: string,
    operation: "task.submit" | "task.get" | "worker.register" | "task.claim",
    input: object,
  ): void {
    if (this.rooms.namespaces.find(name) === undefined) return;
    const sink = new TestSink();
    const seq = this.rooms.ask(name, sink, operation, input);
    this.asked.push({ name, operation, sink, seq });
    const { answer } = sink;
    sink.answer = (seqOf, given) => {
      answer.call(sink, seqOf, given);
      const id = operation === "task.submit" ? idOf(given) : null;
      if (id !== null) this.#acknowledged(name, id);
    };
  }

  #acknowledged(name: string, id: string): void {
    const log = this.rooms.places.logs.get(name)!;
    const revision = Number(id.split("-")[0]);
    // The log holds it: it was told after that, and not before.
    expect(log.disk.last).toBeGreaterThanOrEqual(revision);
    if (name === "going") {
      expect(revision).toBeGreaterThan(this.highest);
      this.highest = revision;
    } else this.ids.get(name)!.push(id);
  }

  async step(): Promise<void> {
    const { rooms, draw } = this;
    const name = draw() < 0.5 ? "kept" : "going";
    const what = draw();
    if (what < 0.35) this.ask(name, "task.submit", { queue: "q", type: "t" });
    else if (what < 0.45) this.ask(name, "task.submit", { queue: "q", type: "t", delayMs: 50 });
    else if (what < 0.55) this.ask(name, "worker.register", { workerId: "w", capacity: 2 });
    else if (what < 0.65) this.ask(name, "task.claim", { workerId: "w", waitMs: 400 });
    else if (what < 0.72) this.ask(name, "task.get", { taskId: "1-0", waitMs: 400 });
    else if (what < 0.9) {
      const log = rooms.places.logs.get(name);
      if (log?.isAppending) log.complete();
    } else if (what < 0.95) await rooms.clock.advance(Math.floor(draw() * 300));
    else if (rooms.namespaces.find("going") === undefined) void this.make();
    else if (rooms.namespaces.find("going")?.isGoing === false) {
      this.droppedCount++;
      this.drops.push(rooms.carryOut("namespace.drop", { namespace: "going" }));
    }
    if (draw() < 0.6) await settle();
  }

  async make(): Promise<void> {
    await this.rooms.make("going");
    this.rooms.places.logs.get("going")!.auto = false;
  }

  /** Everything that waits comes to its end. */
  async end(): Promise<void> {
    const { rooms } = this;
    for (let i = 0; i < 10; i++) {
      for (const log of rooms.places.logs.values()) {
        log.auto = true;
        if (log.isAppending) log.complete();
      }
      await rooms.clock.advance(200);
    }
    await Promise.all(this.drops);
    await rooms.clock.advance(1);
  }
}

test("namespaces - under seeded traffic and drops every request has one true answer", async () => {
  let dropped = 0;
  let told = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const rooms = await Rooms.start();
    const run = new Run(rooms, drawsOf(seed));
    await rooms.make("kept");
    rooms.places.logs.get("kept")!.auto = false;
    await run.make();
    for (let i = 0; i < 250; i++) await run.step();
    await run.end();
    for (const { name, operation, sink, seq } of run.asked) {
      expect([seed, operation, sink.answers.map((one) => one.seq)]).toEqual([seed, operation, [seq]]);
      const { answer } = sink.answers[0]!;
      if (!("error" in answer) || answer.error.code !== "namespace-dropped") continue;
      expect([seed, name]).toEqual([seed, "going"]);
      told++;
    }
    const { core } = rooms.namespaces.find("kept")!;
    expect([seed, run.ids.get("kept")!.filter((id) => !core.tasks.has(id))]).toEqual([seed, []]);
    expect([seed, check(core)]).toEqual([seed, []]);
    expect(rooms.failures).toEqual([]);
    dropped += run.droppedCount;
  }
  // It came to what it is about.
  expect(dropped).toBeGreaterThan(100);
  expect(told).toBeGreaterThan(20);
}, 60_000);
