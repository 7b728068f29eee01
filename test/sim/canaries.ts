/**
 * Canaries: planted bugs, each the sort that a review passes over, that the simulator must catch within a few dozen
 * seeds. They are planted from outside, around the log and the disk or into the classes for as long as a run lasts;
 * the program has no hooks for them.
 */
import { Session } from "../../client/connection.ts";
import { Answers } from "../../src/core/answers.ts";
import type { Cause } from "../../src/core/coordinator.ts";
import { Coordinator } from "../../src/core/coordinator.ts";
import { Crew } from "../../src/core/crews.ts";
import { Dispatch } from "../../src/core/dispatch.ts";
import { Gate, type Rate } from "../../src/core/gates.ts";
import { Locks } from "../../src/core/locks.ts";
import { Queues } from "../../src/core/queues.ts";
import { Slot } from "../../src/core/slots.ts";
import { Store, Table } from "../../src/core/store.ts";
import { leaseOf, type TaskRecord } from "../../src/core/tasks.ts";
import { LeaseClock } from "../../src/engine/clock.ts";
import { Engine } from "../../src/engine/engine.ts";
import { decodeImage, decodeMark, encodeImage, encodeMark, type Mark } from "../../src/log/format.ts";
import type { Log } from "../../src/log/log.ts";
import type { Plants, PresetName } from "./daemon.ts";
import { type Run, run } from "./run.ts";

export type Canary = {
  name: string;
  /** What the simulator has to say when it catches it; left out where the harm takes many forms. */
  says?: RegExp;
  /** Where the bug can do harm; left out: wherever the seed says. */
  preset?: PresetName;
  plants?: Plants;
  /** Patches the program; gives back what takes the patch away. */
  patch?(): () => void;
};

/** Within how many seeds each must be caught. */
export const seedsMax = 100;

/** Replaces a method; what it gives back puts the old one back. */
// biome-ignore lint/suspicious/noExplicitAny: a planted bug goes under the types
function replace(target: any, name: string, make: (old: any) => unknown): () => void {
  const own = Object.getOwnPropertyDescriptor(target, name);
  const old = target[name];
  Object.defineProperty(target, name, { value: make(old), configurable: true, writable: true });
  return () => {
    if (own === undefined) delete target[name];
    else Object.defineProperty(target, name, own);
  };
}

/** The same log with some methods of its own. */
function altered(log: Log, change: Partial<Log>): Log {
  return {
    open: change.open ?? ((sink) => log.open(sink)),
    append: change.append ?? ((batch, after) => log.append(batch, after)),
    reserve: (ceiling) => log.reserve(ceiling),
    probe: () => log.probe(),
    ask: (name, asked) => log.ask(name, asked),
    status: () => log.status(),
    onFailure: (listener) => log.onFailure(listener),
    stop: () => log.stop(),
  };
}

type Named = { taskId: string; workerId: string; token: number };

export const canaries: Canary[] = [
  {
    name: "one reply in a hundred is acknowledged before it is synced",
    says: /left/,
    preset: "durable",
    plants: {
      log: (log, { random }) =>
        altered(log, {
          async append(batch, after) {
            const appended = log.append(batch, after);
            if (!random.chance(0.01)) return appended;
            appended.catch(() => {});
            return { kind: "durable" };
          },
        }),
    },
  },
  {
    name: "the mark runs ahead of the sync",
    says: /does not start again/,
    preset: "high-availability",
    plants: {
      storage: (storage) => {
        let written: { slot: 0 | 1; mark: Mark } | null = null;
        return {
          ...storage,
          writeMark(slot, text) {
            written = { slot, mark: decodeMark(text) as Mark };
            return storage.writeMark(slot, text);
          },
          async commit(write, sync) {
            const done = await storage.commit(write, sync);
            const row = write.log?.at(-1);
            if (done === "done" && row !== undefined && written !== null) {
              const { last: revision, hash } = row;
              await storage.writeMark(written.slot, encodeMark({ ...written.mark, revision, hash }));
            }
            return done;
          },
        };
      },
    },
  },
  {
    name: "tokens begin anew with each start",
    says: /was told outside|was given before/,
    preset: "development",
    plants: { memoryStart: () => 1 },
  },
  {
    name: "revisions that a crash took back are given again",
    says: /was told outside/,
    preset: "production",
    plants: {
      log: (log) =>
        altered(log, {
          async open(sink) {
            const recovered = await log.open(sink);
            return { ...recovered, ceiling: recovered.revision };
          },
        }),
    },
  },
  {
    name: "leases end by the wall clock",
    says: /was taken from|went offline|timed out|was replaced|lost its lease/,
    patch: () =>
      replace(
        LeaseClock.prototype,
        "read",
        () =>
          function (this: { clock: { wall(): number }; newest?: number }) {
            this.newest = Math.max(this.newest ?? 0, this.clock.wall() - 1_750_000_000_000);
            return this.newest;
          },
      ),
  },
  {
    name: "a wake-up is lost: no dispatch after a completion",
    says: /do not meet/,
    patch: () =>
      replace(
        Coordinator.prototype,
        "dispatchReady",
        (old) =>
          function (this: Coordinator, max: number) {
            return this.operation === "task.complete" ? 0 : old.call(this, max);
          },
      ),
  },
  {
    name: "a rollback forgets an index",
    patch: () => {
      let restoring = false;
      const undo = [
        replace(
          Table.prototype,
          "restore",
          (old) =>
            function (this: Table<unknown>, key: string, record: unknown) {
              restoring = true;
              try {
                old.call(this, key, record);
              } finally {
                restoring = false;
              }
            },
        ),
        replace(
          Dispatch.prototype,
          "changeTask",
          (old) =>
            function (this: Dispatch, before: TaskRecord | undefined, after: TaskRecord | undefined) {
              if (!restoring) old.call(this, before, after);
            },
        ),
      ];
      return () => {
        for (const one of undo) one();
      };
    },
  },
  {
    name: "a lease is not voided on cancel: its worker may still complete",
    says: /no life cycle knows|was accepted under token/,
    patch: () =>
      replace(
        Coordinator.prototype,
        "run",
        (old) =>
          function (this: Coordinator, operation: string, input: Named, cause: Cause) {
            const record = operation === "task.complete" ? this.tasks.get(input.taskId) : undefined;
            if (record?.state !== "cancelled" || record.lease?.token !== input.token)
              return old.call(this, operation, input, cause);
            this.operation = operation;
            return this.store.transaction(() => {
              const revision = this.store.nextRevision;
              this.tasks.put(input.taskId, { ...record, state: "completed", revision });
              return { ok: `{"id":"${input.taskId}","state":"completed","revision":${revision}}` };
            });
          },
      ),
  },
  {
    name: "a stale token may complete",
    patch: () =>
      replace(
        Coordinator.prototype,
        "run",
        (old) =>
          function (this: Coordinator, operation: string, input: Named, cause: Cause) {
            const record = operation === "task.complete" ? this.tasks.get(input.taskId) : undefined;
            if (record?.state !== "running") return old.call(this, operation, input, cause);
            // The task completes under whatever lease it has now.
            const { token, workerId } = leaseOf(record);
            return old.call(this, operation, { ...input, token, workerId }, cause);
          },
      ),
  },
  {
    name: "a repeated operation runs twice",
    patch: () => replace(Answers.prototype, "find", () => () => undefined),
  },
  {
    name: "what a full disk refused is not undone",
    patch: () => replace(Store.prototype, "undo", () => () => {}),
  },
  {
    name: "an image loses the changes of its last piece",
    preset: "high-availability",
    plants: {
      storage: (storage) => ({
        ...storage,
        commit(write, sync) {
          const image = write.image === undefined ? null : decodeImage(write.image.text);
          if (image === null || image.pieces.length === 0) return storage.commit(write, sync);
          const text = encodeImage({ ...image, pieces: image.pieces.slice(0, -1) });
          return storage.commit({ ...write, image: { upto: image.upto, text } }, sync);
        },
      }),
    },
  },
  {
    name: "an interruption charges an attempt",
    says: /counts \d+ attempts/,
    patch: () =>
      replace(
        Table.prototype,
        "put",
        (old) =>
          function (this: Table<unknown>, key: string, record: TaskRecord) {
            const before = this.name === "tasks" ? (this.get(key) as TaskRecord | undefined) : undefined;
            const interrupted =
              before?.state === "running" &&
              record.state === "queued" &&
              record.interruptions > before.interruptions;
            old.call(this, key, interrupted ? { ...record, attempt: before.attempt } : record);
          },
      ),
  },
  {
    name: "capabilities are not looked at",
    says: /does not fit|not sound/,
    patch: () =>
      replace(
        Crew.prototype,
        "fits",
        () =>
          function (this: Crew, needs: { queue: string; kind: string | null }) {
            return (
              (needs.kind === null || needs.kind === this.kind) &&
              (this.queues.includes("*") || this.queues.includes(needs.queue))
            );
          },
      ),
  },
  {
    name: "a failed attempt is tried again at once",
    says: /and is queued|early/,
    patch: () =>
      replace(
        Table.prototype,
        "put",
        (old) =>
          function (this: Table<unknown>, key: string, record: TaskRecord) {
            const again = this.name === "tasks" && record.state === "scheduled" && record.attempt > 0;
            old.call(this, key, again ? { ...record, state: "queued", runAt: 0 } : record);
          },
      ),
  },
  {
    name: "an idempotency key is forgotten",
    says: /under the idempotency key/,
    patch: () => replace(Queues.prototype, "byKey", () => () => undefined),
  },
  {
    name: "a push that nobody acknowledged is not given back",
    says: /is not acknowledged and not revoked/,
    patch: () =>
      replace(
        Dispatch.prototype,
        "look",
        (old) =>
          function (this: Dispatch, ...given: unknown[]) {
            old.apply(this, given);
            return [];
          },
      ),
  },
  {
    name: "a revoked lease may still complete",
    says: /was accepted under token/,
    patch: () =>
      replace(
        Coordinator.prototype,
        "run",
        (old) =>
          function (this: Coordinator, operation: string, input: Named, cause: Cause) {
            const record = operation === "task.complete" ? this.tasks.get(input.taskId) : undefined;
            if (record?.state !== "queued" || record.lease?.token !== input.token)
              return old.call(this, operation, input, cause);
            this.operation = operation;
            return this.store.transaction(() => {
              const revision = this.store.nextRevision;
              this.tasks.put(input.taskId, { ...record, state: "completed", revision });
              return { ok: `{"id":"${input.taskId}","state":"completed","revision":${revision}}` };
            });
          },
      ),
  },
  {
    name: "a deaf worker is pushed to all the same",
    says: /which is deaf/,
    patch: () => {
      const room = Object.getOwnPropertyDescriptor(Slot.prototype, "room") as PropertyDescriptor;
      Object.defineProperty(Slot.prototype, "room", {
        configurable: true,
        get(this: Slot) {
          const { health } = this;
          const { deaf } = health;
          health.deaf = false;
          const allowed = room.get?.call(this);
          health.deaf = deaf;
          return allowed;
        },
      });
      return () => Object.defineProperty(Slot.prototype, "room", room);
    },
  },
  {
    name: "a claim is repeated over another connection",
    says: /which it had given back|come to its end/,
    patch: () =>
      replace(
        Session.prototype,
        "onConnection",
        (old) =>
          function (this: Session, op: string, input: never, answered: () => void, refused: () => void) {
            if (op !== "task.claim") old.call(this, op, input, answered, refused);
            else this.call(op, input).then(answered, refused);
          },
      ),
  },
  {
    name: "a limit that is reached lets one more start",
    says: /may run$/,
    patch: () =>
      replace(
        Gate.prototype,
        "shut",
        (old) =>
          function (this: Gate, clock: number) {
            const why = old.call(this, clock);
            return why === "concurrency" && this.running === this.concurrency && this.running > 0
              ? null
              : why;
          },
      ),
  },
  {
    name: "a bucket is full again after a restart",
    says: /its rate is/,
    patch: () =>
      replace(
        Gate.prototype,
        "limit",
        (old) =>
          function (this: Gate, concurrency: number, rate: Rate | null, clock: number) {
            old.call(this, concurrency, rate, clock, Number.NEGATIVE_INFINITY);
          },
      ),
  },
  {
    name: "the fence of a lock is not looked at",
    says: /was made without it/,
    patch: () => replace(Locks.prototype, "holder", () => () => true),
  },
  {
    name: "who asks for a lock overtakes who waits for it",
    says: /is in its way|not sound/,
    patch: () =>
      replace(
        Locks.prototype,
        "inTheWay",
        (old) =>
          function (this: Locks, resources: unknown) {
            const found = old.call(this, resources);
            return found?.standing.record.state === "waiting" ? null : found;
          },
      ),
  },
  {
    name: "a step of a transaction that is refused is passed over",
    says: /of a trade's key/,
    patch: () =>
      replace(
        Coordinator.prototype,
        "step",
        (old) =>
          function (this: Coordinator, operation: string, input: unknown) {
            const result = old.call(this, operation, input);
            return "error" in result ? { ok: "null" } : result;
          },
      ),
  },
  {
    name: "a worker's beat is not heard",
    says: /was taken from|went offline/,
    patch: () => replace(Engine.prototype, "heard", () => () => {}),
  },
];

/** Runs seeds with the bug planted until one catches it. */
export function hunt(canary: Canary): { seed: number; failure: Error | null } {
  for (let seed = 1; seed <= seedsMax; seed++) {
    const remove = canary.patch?.();
    let result: Run;
    try {
      result = run({
        seed,
        ...(canary.preset === undefined ? {} : { preset: canary.preset }),
        ...(canary.plants === undefined ? {} : { plants: canary.plants }),
      });
    } finally {
      remove?.();
    }
    if (result.failure !== null) return { seed, failure: result.failure };
  }
  return { seed: seedsMax, failure: null };
}
