/**
 * Locks against a plain model: a list of requests in their order, of which each is held exactly if no earlier one is in
 * its way, found by comparing each with each. Random operations, undone, and recovered after every step.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { check, stateText } from "../../src/core/check.ts";
import type { Input } from "../../src/wire/operations.ts";
import { collide } from "../support/locks.ts";
import { coreConfig, World } from "../support/world.ts";

type Wish = { name: string; mode: "exclusive" | "shared"; limit: number };
type Plain = {
  id: string;
  token: number;
  wishes: Wish[];
  held: boolean;
  ttlMs: number;
  beatAt: number;
  waitUntil: number;
  worker: string | null;
};

/** Whether the wishes may be met beside all of these. */
const free = (wishes: Wish[], before: Plain[]) =>
  !before.some((one) => collide(one.wishes, wishes)) &&
  wishes.every(({ name, limit }) => {
    const same = before.flatMap((one) => one.wishes).filter((wish) => wish.name === name);
    const most = Math.min(...[...same.map((wish) => wish.limit), limit].map((one) => one || Infinity));
    return same.length < most;
  });

const wish: fc.Arbitrary<Wish> = fc
  .record({
    name: fc.constantFrom("a", "b", "d/", "d/x", "d/y", "d/e/", "d/e/z", "/"),
    mode: fc.constantFrom("exclusive" as const, "shared" as const),
    limit: fc.constantFrom(0, 0, 1, 2, 3),
  })
  .map((one) => (one.mode === "shared" ? one : { ...one, limit: 0 }));
const acquire = fc.record({
  do: fc.constant("acquire" as const),
  wishes: fc.uniqueArray(wish, { minLength: 1, maxLength: 3, selector: ({ name }) => name }),
  waitMs: fc.constantFrom(0, 400, 5000, 5000),
  ttlMs: fc.constantFrom(300, 2000, 100_000),
  worker: fc.constantFrom(null, null, "w1", "w2"),
});
const which = fc.nat(20);
const move = fc.oneof(
  { weight: 8, arbitrary: acquire },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constantFrom("release" as const, "steal" as const), which }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("extend" as const), which }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(50, 350, 1500) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("leave" as const), worker: fc.constantFrom("w1", "w2") }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("undo" as const), which, asked: acquire }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
);

test("locks - random operations, undone and recovered at every step, hold what a plain list says", () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 50 }), (moves) => {
      let world = new World();
      let line: Plain[] = [];
      let graceUntil = 0;
      const known: { id: string; token: number; name: string }[] = [];
      const join = () => {
        for (const workerId of ["w1", "w2"]) world.ok("worker.register", { workerId });
      };
      join();
      const grant = () => {
        for (const [i, one] of line.entries())
          if (!one.held && free(one.wishes, line.slice(0, i))) {
            one.held = true;
            one.beatAt = world.clock;
          }
      };
      const ask = ({
        wishes,
        waitMs,
        ttlMs,
        worker,
      }: Omit<Input<"lock.acquire">, "resources"> & {
        wishes: Wish[];
        waitMs: number;
        ttlMs: number;
        worker: string | null;
      }) => {
        const resources = wishes.map(({ name, mode, limit }) => ({
          name,
          mode,
          ...(limit > 0 && { limit }),
        }));
        const owner = worker === null ? { ttlMs } : { workerId: worker };
        return world.run("lock.acquire", { resources, ...(waitMs > 0 && { waitMs }), ...owner });
      };
      const end = (one: Plain) =>
        Math.min(
          one.worker === null ? Math.max(one.beatAt + one.ttlMs, graceUntil) : Infinity,
          one.held ? Infinity : one.waitUntil,
        );
      const pick = (at: number) => line[at % Math.max(1, line.length)];

      for (const one of moves) {
        if (one.do === "acquire") {
          const isFree = free(one.wishes, line);
          const result = ask(one);
          expect("ok" in result).toBe(isFree || one.waitMs > 0);
          if ("ok" in result) {
            const token = world.store.revision;
            line.push({
              ...{ id: `${token}-0`, token, wishes: one.wishes, held: isFree, worker: one.worker },
              ...{ ttlMs: one.ttlMs, beatAt: world.clock, waitUntil: world.clock + one.waitMs },
            });
            for (const { name } of one.wishes) known.push({ id: `${token}-0`, token, name });
          } else expect(result.error.code).toBe("lock-held");
        } else if (one.do === "release" || one.do === "steal") {
          const lock = pick(one.which);
          if (lock === undefined) continue;
          world.ok(`lock.${one.do}`, { lockId: lock.id });
          line.splice(line.indexOf(lock), 1);
        } else if (one.do === "extend") {
          const lock = pick(one.which);
          if (lock === undefined) continue;
          world.ok("lock.extend", { lockIds: [lock.id] });
          lock.beatAt = world.clock;
        } else if (one.do === "wait") {
          for (const workerId of ["w1", "w2"]) world.beat(workerId);
          world.advance(one.ms);
          line = line.filter((lock) => end(lock) > world.clock);
        } else if (one.do === "leave") {
          world.ok("worker.unregister", { workerId: one.worker });
          line = line.filter(({ worker }) => worker !== one.worker);
          join();
        } else if (one.do === "undo") {
          // A full disk takes back a release with all that it granted, and a new lock.
          const before = stateText(world.core);
          const lock = pick(one.which);
          const changed =
            lock === undefined ? ask(one.asked) : world.run("lock.release", { lockId: lock.id });
          if ("error" in changed) continue;
          world.store.undo(world.transactions.pop()!);
          expect(stateText(world.core)).toBe(before);
          // What was taken back is as if it were extended just now, and what was granted meanwhile too.
          for (const { id } of line) world.ok("lock.extend", { lockIds: [id] });
          for (const plain of line) plain.beatAt = world.clock;
        } else {
          world = world.restarted();
          graceUntil = world.clock + coreConfig.graceMs;
          for (const lock of line) lock.beatAt = world.clock;
        }
        grant();

        expect(check(world.core)).toEqual([]);
        const again = world.restarted();
        for (const { core } of [world, again]) {
          const kept = [...core.locks.values()].map(({ id, state }) => `${id} ${state}`).sort();
          expect(kept).toEqual(line.map(({ id, held }) => `${id} ${held ? "held" : "waiting"}`).sort());
          expect(core.bids.isDue).toBe(false);
        }
        for (const { id, token, name } of known) {
          const fenced = world.run("kv.put", { key: name, value: token }, { fence: { lock: name, token } });
          expect([id, name, "ok" in fenced]).toEqual([
            id,
            name,
            line.some((lock) => lock.id === id && lock.held),
          ]);
        }
        for (const plain of line) {
          // Of two in each other's way the later holder has the higher token: the earlier in line goes first.
          const ahead = line.filter(
            (other) => other.token < plain.token && collide(other.wishes, plain.wishes),
          );
          expect(plain.held && ahead.length > 0).toBe(false);
        }
      }
    }),
    { numRuns: 200 },
  );
});
