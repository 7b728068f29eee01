/**
 * Matching against a plain model: of all pairs of a waiting task and a worker that fits and has room, the next lease
 * is the most urgent task's, and goes to the worker that meets most of what it prefers, then to the first by the
 * strategy of its queue. The model scans everything, and knows nothing of lanes, crews and sizes.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { TaskRecord } from "../../src/core/tasks.ts";
import { type Strategy, strategies } from "../../src/wire/queues.ts";
import { priorities } from "../../src/wire/tasks.ts";
import { World } from "../support/world.ts";

type Worker = { id: string; capacity: number; mem: number; gpu: boolean; node: number; kind: string };
type Holds = (worker: Worker) => boolean;

/** What may be asked, and when it holds. */
const asked: Record<string, Holds> = {
  gpu: ({ gpu }) => gpu,
  "!gpu": ({ gpu }) => !gpu,
  "mem >= 16": ({ mem }) => mem >= 16,
  "mem < 16": ({ mem }) => mem < 16,
  "mem in [32, 8]": ({ mem }) => mem === 8 || mem === 32,
  "node > 18.5": ({ node }) => node > 18,
  "host != w1": ({ id }) => id !== "w1",
  "host = w2": ({ id }) => id === "w2",
};
const texts = Object.keys(asked);

const workerArbitrary = fc.record({
  capacity: fc.integer({ min: 1, max: 4 }),
  mem: fc.constantFrom(8, 16, 32),
  gpu: fc.boolean(),
  node: fc.constantFrom(0, 18, 20),
  kind: fc.constantFrom("worker", "other"),
});
const submitArbitrary = fc.record({
  queue: fc.constantFrom("p", "q"),
  priority: fc.nat(3),
  slots: fc.constantFrom(1, 1, 1, 2, 3),
  requires: fc.uniqueArray(fc.constantFrom(...texts), { maxLength: 2 }),
  prefers: fc.uniqueArray(fc.constantFrom(...texts), { maxLength: 2 }),
  kind: fc.constantFrom(undefined, undefined, "other"),
  workerId: fc.constantFrom(undefined, undefined, undefined, "w0", "w1", "nobody"),
});
const moveArbitrary = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant("submit" as const), submit: submitArbitrary }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("complete" as const), pick: fc.nat(99) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("join" as const), id: fc.nat(3), worker: workerArbitrary }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), id: fc.nat(3) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("choose" as const),
      queue: fc.constantFrom("p", "q"),
      strategy: fc.constantFrom(...strategies),
    }),
  },
);
type Move = typeof moveArbitrary extends fc.Arbitrary<infer M> ? M : never;

class Model {
  readonly workers = new Map<string, Worker>();
  readonly strategies = new Map<string, Strategy>();
  /** The lease that each worker got last. */
  readonly lastLease = new Map<string, number>();
  leases = 0;

  constructor(readonly world: World) {}

  used(id: string): number {
    return [...this.world.core.tasks.values()]
      .filter(({ state, lease }) => state === "running" && lease?.workerId === id)
      .reduce((sum, { spec }) => sum + spec.options.slots, 0);
  }

  fits({ spec: { options, extras } }: TaskRecord, worker: Worker): boolean {
    return (
      (extras.workerId === null || extras.workerId === worker.id) &&
      (options.kind === null || options.kind === worker.kind) &&
      options.requires.every((text) => (asked[text] as Holds)(worker)) &&
      this.used(worker.id) + options.slots <= worker.capacity
    );
  }

  /** The next lease: the task, and its worker. */
  next(): [string, string] | null {
    const queued = [...this.world.core.tasks.values()]
      .filter(({ state }) => state === "queued")
      .sort((a, b) => a.spec.options.priority - b.spec.options.priority || a.spec.revision - b.spec.revision);
    for (const record of queued) {
      const [first] = [...this.workers.values()]
        .filter((worker) => this.fits(record, worker))
        .sort((a, b) => this.compare(record, a, b));
      if (first !== undefined) return [record.spec.id, first.id];
    }
    return null;
  }

  compare({ spec: { options } }: TaskRecord, a: Worker, b: Worker): number {
    for (const text of options.prefers) {
      const order = Number((asked[text] as Holds)(b)) - Number((asked[text] as Holds)(a));
      if (order !== 0) return order;
    }
    const waited = (this.lastLease.get(a.id) ?? 0) - (this.lastLease.get(b.id) ?? 0);
    const load = this.used(a.id) / a.capacity - this.used(b.id) / b.capacity;
    const byId = a.id < b.id ? -1 : 1;
    switch (this.strategies.get(options.queue) ?? "least-loaded") {
      case "round-robin":
        return waited || byId;
      case "packed":
        return -load || byId;
      // Nothing takes time here, so all are as fast.
      default:
        return load || waited || byId;
    }
  }
}

function act({ world, workers, strategies: chosen, lastLease }: Model, move: Move): void {
  switch (move.do) {
    case "submit": {
      const { priority, kind, workerId, ...submit } = move.submit;
      world.submit({
        ...submit,
        type: "t",
        priority: priorities[priority] as "low",
        ...(kind === undefined ? {} : { kind }),
        ...(workerId === undefined ? {} : { workerId }),
      });
      return;
    }
    case "complete": {
      const running = [...world.core.tasks.values()].filter(({ state }) => state === "running");
      const one = running[move.pick % Math.max(1, running.length)];
      if (one !== undefined) world.ok("task.complete", world.held(one.spec.id));
      return;
    }
    case "join": {
      const id = `w${move.id}`;
      const { capacity, mem, gpu, node, kind } = move.worker;
      if (workers.has(id)) return;
      workers.set(id, { id, ...move.worker });
      lastLease.delete(id);
      world.worker(id, {
        capacity,
        kind,
        labels: { mem, gpu, host: id },
        capabilities: node === 0 ? ["node"] : [`node@${node}.5`],
      });
      return;
    }
    case "leave":
      if (!workers.delete(`w${move.id}`)) return;
      world.ok("worker.unregister", { workerId: `w${move.id}` });
      return;
    case "choose":
      chosen.set(move.queue, move.strategy);
      world.ok("queue.configure", { queue: move.queue, strategy: move.strategy });
  }
}

test("matching - each lease is the one that a scan of everything finds, until there is none", () => {
  let leases = 0;
  fc.assert(
    fc.property(fc.array(moveArbitrary, { minLength: 20, maxLength: 60 }), (moves) => {
      const model = new Model(new World({ ageingMs: 0 }));
      const { core } = model.world;
      for (const move of moves) {
        act(model, move);
        for (;;) {
          const want = model.next();
          const made = core.dispatchReady(1);
          model.world.sound();
          expect(made).toBe(want === null ? 0 : 1);
          if (want === null) break;
          const [id, workerId] = want;
          expect([id, model.world.task(id).lease?.workerId]).toEqual(want);
          model.lastLease.set(workerId, ++model.leases);
        }
      }
      leases += model.leases;
    }),
    { numRuns: 150 },
  );
  expect(leases).toBeGreaterThan(500);
}, 60_000);

test("matching - a worker that claims gets what a scan finds for it, and waits exactly when there is nothing", () => {
  fc.assert(
    fc.property(fc.array(moveArbitrary, { minLength: 15, maxLength: 40 }), (moves) => {
      const model = new Model(new World({ ageingMs: 0 }));
      const { dispatch } = model.world.core;
      for (const move of moves) {
        act(model, move);
        for (const [id, worker] of model.workers) {
          dispatch.detach(id);
          const slot = dispatch.slot(id)!;
          dispatch.waitForClaim(slot);
          const want = [...model.world.core.tasks.values()]
            .filter((record) => record.state === "queued" && model.fits(record, worker))
            .sort(
              (a, b) =>
                a.spec.options.priority - b.spec.options.priority || a.spec.revision - b.spec.revision,
            )[0]?.spec.id;
          expect(dispatch.nextClaiming()?.id).toBe(want === undefined ? undefined : id);
          dispatch.endClaim(slot);
          if (want === undefined) continue;
          const { assignments } = model.world.ok("task.claim", { workerId: id });
          expect(assignments.map(({ task }) => task.id)).toEqual([want]);
        }
      }
    }),
    { numRuns: 100 },
  );
}, 60_000);

const looseMove = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      slots: fc.constantFrom(1, 1, 1, 3),
      sticky: fc.constantFrom(undefined, undefined, "s", "t"),
      stickyMs: fc.nat(6000),
      workerId: fc.constantFrom(undefined, undefined, undefined, "w0"),
      group: fc.constantFrom(undefined, "g", "h"),
      gpu: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("complete" as const), pick: fc.nat(99) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("cancel" as const), pick: fc.nat(99) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("advance" as const), ms: fc.nat(9000) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("join" as const, "leave" as const, "drain" as const, "detach" as const),
      id: fc.nat(2),
      gpu: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
);

test("matching - sticky names, pins, kept room and restarts lose no task, and leave no room that a small task could use", () => {
  let kept = 0;
  let sent = 0;
  fc.assert(
    fc.property(fc.array(looseMove, { minLength: 60, maxLength: 140 }), (moves) => {
      let world = new World({ ageingMs: 0, interruptionsMax: 1000, silenceMs: 3_600_000 });
      const pick = (state: string, at: number) => {
        const found = [...world.core.tasks.values()].filter((one) => one.state === state);
        return found[at % Math.max(1, found.length)];
      };
      const join = (id: string, gpu: boolean) => world.worker(id, { capacity: 3, labels: { gpu } });
      join("w0", true);
      for (const move of moves) {
        if (move.do === "submit") {
          const { sticky, stickyMs, workerId, group, gpu, slots } = move;
          world.submit({
            ...{ type: "t", slots, leaseMs: 3_600_000 },
            ...(sticky === undefined ? {} : { sticky, stickyMs }),
            ...(workerId === undefined ? {} : { workerId }),
            ...(group === undefined ? {} : { group }),
            ...(gpu ? { requires: ["gpu"] } : {}),
          });
        } else if (move.do === "advance") world.advance(move.ms);
        else if (move.do === "restart") {
          world = world.restarted({ ageingMs: 0, interruptionsMax: 1000, silenceMs: 3_600_000 });
          for (const slot of world.core.dispatch.slots()) world.core.dispatch.attach(slot.id, 3);
        } else if (move.do === "complete" || move.do === "cancel") {
          const one = pick(move.do === "complete" ? "running" : "queued", move.pick);
          if (one === undefined) continue;
          if (move.do === "complete") world.ok("task.complete", world.held(one.spec.id));
          else world.ok("task.cancel", { taskId: one.spec.id });
        } else {
          const id = `w${move.id}`;
          const known = world.core.dispatch.slot(id) !== undefined;
          if (move.do === "join") join(id, move.gpu);
          else if (known && move.do === "leave") world.ok("worker.unregister", { workerId: id });
          else if (known && move.do === "drain") world.ok("worker.drain", { workerId: id, drain: move.gpu });
          else if (known) world.core.dispatch.detach(id);
        }
        world.settle();
        const slots = [...world.core.dispatch.slots()];
        kept += slots.filter(({ reservedFor }) => reservedFor !== null).length;
        for (const { state, spec } of world.core.tasks.values()) {
          if (state !== "queued") continue;
          const { options, extras } = spec;
          const stuck = world.core.dispatch.sticky.of(spec);
          if (stuck !== undefined && stuck.lane !== stuck.from) sent += 1;
          if (options.slots > 1 || extras.sticky !== null || extras.workerId !== null) continue;
          const free = slots.filter(
            (slot) =>
              slot.attached &&
              slot.room > 0 &&
              slot.reservedFor === null &&
              (options.requires.length === 0 || slot.record.labels.gpu === true),
          );
          expect(free.map(({ id }) => id)).toEqual([]);
        }
      }
      // In the end there is room for all, and all come to an end.
      join("w0", true);
      world.ok("worker.drain", { workerId: "w0", drain: false });
      for (
        let turns = 0;
        world.core.queues.counts.completed < world.core.tasks.size && turns < 400;
        turns++
      ) {
        world.core.dispatch.attach("w0", 3);
        for (const { state, spec } of [...world.core.tasks.values()])
          if (state === "running") world.ok("task.complete", world.held(spec.id));
        world.advance(1000);
        if (world.core.queues.counts.queued + world.core.queues.counts.running === 0) break;
      }
      expect(world.core.queues.counts).toMatchObject({ queued: 0, running: 0 });
    }),
    { numRuns: 100 },
  );
  expect(kept).toBeGreaterThan(20);
  expect(sent).toBeGreaterThan(20);
}, 120_000);
