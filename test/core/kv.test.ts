/** Keys: what each operation promises, and all of them against a plain Map. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { check, stateText } from "../../src/core/check.ts";
import { encodeEntry, Loader } from "../../src/core/codec.ts";
import { createStore } from "../../src/core/store.ts";
import { limits } from "../../src/wire/limits.ts";
import type { Input } from "../../src/wire/operations.ts";
import { World } from "../support/world.ts";

const names = (world: World, page: Input<"kv.list"> = {}) =>
  world.ok("kv.list", page).keys.map(({ key }) => key);

describe("kv - put, get and delete", () => {
  test("kv - a key has its value, and the revisions of its making and its last change", () => {
    const world = new World();
    const made = world.ok("kv.put", { key: "a", value: { n: 1 } });
    expect(made).toEqual({
      key: "a",
      revision: world.store.revision,
      createdRevision: world.store.revision,
      version: 1,
      expiresAt: null,
      workerId: null,
    });
    const changed = world.ok("kv.put", { key: "a", value: [1, null, "x"] });
    expect(world.ok("kv.get", { key: "a" })).toEqual({
      ...made,
      revision: changed.revision,
      version: 2,
      value: [1, null, "x"],
    });
    expect(world.ok("kv.delete", { key: "a" })).toEqual({ key: "a", deletedRevision: changed.revision });
    world.refused("kv.get", { key: "a" }, "unknown-key");
    world.refused("kv.delete", { key: "a" }, "unknown-key");
    expect(world.ok("kv.put", { key: "a", value: 0 })).toMatchObject({
      version: 1,
      createdRevision: world.store.revision,
    });
  });

  test("kv - null, false, 0 and the empty text are values like any other", () => {
    const world = new World();
    for (const value of [null, false, 0, "", [], {}]) {
      world.ok("kv.put", { key: "k", value });
      expect(world.ok("kv.get", { key: "k" }).value).toEqual(value);
    }
  });

  const bad = ["", "a b", 'a"b', "a\\b", "a\tb", "ä", "\u007f"];
  test.each(bad)("kv - a key may not be %j", (key) => {
    expect(() => new World().run("kv.put", { key, value: 1 })).toThrow();
  });
  test("kv - a key may have 512 characters and no more", () => {
    const world = new World();
    world.ok("kv.put", { key: "x".repeat(512), value: 1 });
    expect(() => world.run("kv.put", { key: "x".repeat(513), value: 1 })).toThrow();
  });
  const good = ["/", "a/b?c=d&e#f", "../x", "__proto__", "constructor", "%20", "~!'`{}[]"];
  test.each(good)("kv - a key may be %j", (key) => {
    const world = new World();
    world.ok("kv.put", { key, value: key });
    expect(world.restarted().ok("kv.get", { key }).value).toBe(key);
    expect(names(world)).toEqual([key]);
  });

  test("kv - a value that is too large or too deep is refused and changes nothing", () => {
    const world = new World();
    world.ok("kv.put", { key: "k", value: 1 });
    world.refused("kv.put", { key: "k", value: "x".repeat(limits.payloadBytesMax) }, "payload-too-large");
    let deep: unknown = 0;
    for (let i = 0; i <= limits.depthMax; i++) deep = [deep];
    world.refused("kv.put", { key: "k", value: deep }, "payload-too-deep");
    expect(world.ok("kv.get", { key: "k" }).value).toBe(1);
  });

  test("kv - over the memory limit nothing is put, and what is there can be read and deleted", () => {
    const world = new World({ memoryBytesMax: 5000 });
    world.ok("kv.put", { key: "a", value: "x".repeat(6000) });
    world.refused("kv.put", { key: "b", value: 1 }, "busy");
    world.refused("kv.increment", { key: "b" }, "busy");
    world.ok("kv.get", { key: "a" });
    world.ok("kv.delete", { key: "a" });
    expect(world.core.limits.bytes).toBe(0);
    world.ok("kv.put", { key: "b", value: 1 });
  });
});

describe("kv - compare-and-set", () => {
  test("kv - a change that names another revision is refused with the present one", () => {
    const world = new World();
    const { revision } = world.ok("kv.put", { key: "k", value: 1, ifRevision: 0 });
    for (const operation of ["kv.put", "kv.delete"] as const)
      for (const ifRevision of [0, revision - 1, revision + 1]) {
        const input = { key: "k", ifRevision, ...(operation === "kv.put" && { value: 2 }) };
        const problem = world.refused(operation, input as never, "revision-mismatch");
        expect(problem).toMatchObject({ revision, status: 412, retryable: false });
      }
    const next = world.ok("kv.put", { key: "k", value: 2, ifRevision: revision });
    world.ok("kv.delete", { key: "k", ifRevision: next.revision });
    expect(world.refused("kv.delete", { key: "k", ifRevision: 5 }, "revision-mismatch").revision).toBe(0);
    expect(world.refused("kv.put", { key: "k", value: 3, ifRevision: 5 }, "revision-mismatch").revision).toBe(
      0,
    );
  });

  test("kv - a repeated compare-and-set happens once and is answered alike", () => {
    const world = new World();
    const cause = { session: "s", seq: 1 };
    const first = world.ok("kv.put", { key: "k", value: 1, ifRevision: 0 }, cause);
    world.ok("kv.put", { key: "k", value: 2 });
    expect(world.ok("kv.put", { key: "k", value: 1, ifRevision: 0 }, cause)).toEqual(first);
    expect(world.ok("kv.get", { key: "k" }).value).toBe(2);
  });
});

describe("kv - counters", () => {
  test("kv - a counter begins at 0, and tells what it counts", () => {
    const world = new World();
    expect(world.ok("kv.increment", { key: "n" }).value).toBe(1);
    expect(world.ok("kv.increment", { key: "n", by: 10 }).value).toBe(11);
    expect(world.ok("kv.increment", { key: "n", by: -20 })).toMatchObject({ value: -9, version: 3 });
    expect(world.ok("kv.get", { key: "n" }).value).toBe(-9);
    world.ok("kv.put", { key: "n", value: 7 });
    expect(world.ok("kv.increment", { key: "n", by: 0 }).value).toBe(7);
  });

  test.each([["1"], [1.5], [1e21], [null], [[1]], [{}], [true]])(
    "kv - %j is no counter, and stays",
    (value) => {
      const world = new World();
      world.ok("kv.put", { key: "n", value });
      world.refused("kv.increment", { key: "n" }, "not-a-counter");
      expect(world.ok("kv.get", { key: "n" })).toMatchObject({ value, version: 1 });
    },
  );

  test("kv - a counter never leaves the whole numbers of JSON", () => {
    const world = new World();
    world.ok("kv.increment", { key: "n", by: Number.MAX_SAFE_INTEGER });
    world.refused("kv.increment", { key: "n" }, "not-a-counter");
    expect(world.ok("kv.increment", { key: "n", by: -1 }).value).toBe(Number.MAX_SAFE_INTEGER - 1);
    world.ok("kv.put", { key: "n", value: Number.MIN_SAFE_INTEGER });
    world.refused("kv.increment", { key: "n", by: -1 }, "not-a-counter");
  });

  test("kv - a counter's time is that of its making: it begins anew after it", () => {
    const world = new World();
    world.ok("kv.increment", { key: "n", ttlMs: 1000 });
    world.advance(600);
    expect(world.ok("kv.increment", { key: "n", ttlMs: 1000 }).value).toBe(2);
    world.advance(400);
    expect(world.ok("kv.increment", { key: "n", ttlMs: 1000 })).toMatchObject({ value: 1, version: 1 });
  });
});

describe("kv - expiry", () => {
  test("kv - a key is gone when its time is over, and a put without one keeps it for good", () => {
    const world = new World();
    world.ok("kv.put", { key: "a", value: 1, ttlMs: 1000 });
    world.ok("kv.put", { key: "b", value: 1, expiresAt: world.now + 1000 });
    world.ok("kv.put", { key: "c", value: 1, ttlMs: 1000 });
    world.ok("kv.put", { key: "c", value: 1 });
    expect(world.core.nextDueMs()).toBe(1000);
    world.advance(999);
    expect(names(world)).toEqual(["a", "b", "c"]);
    world.advance(1);
    expect(names(world)).toEqual(["c"]);
    expect(world.core.keys.size).toBe(1);
    expect(world.core.operation).toBe("kv.expire");
  });

  test("kv - a key whose time is over is not there, even before it is deleted", () => {
    const world = new World();
    world.ok("kv.put", { key: "a", value: 1, ttlMs: 1000 });
    world.ok("kv.put", { key: "b", value: 1, ttlMs: 1000 });
    world.now += 1000;
    world.refused("kv.get", { key: "a" }, "unknown-key");
    world.refused("kv.delete", { key: "a" }, "unknown-key");
    expect(world.ok("kv.getMany", { keys: ["a", "b"] }).keys).toEqual([null, null]);
    expect(names(world)).toEqual([]);
    expect(world.ok("kv.put", { key: "a", value: 2, ifRevision: 0 }).version).toBe(1);
    expect(world.ok("kv.increment", { key: "b" })).toMatchObject({ value: 1, expiresAt: null });
    world.advance(0);
    expect(names(world)).toEqual(["a", "b"]);
  });

  test("kv - a time that is over, or two of them, is refused", () => {
    const world = new World();
    world.refused("kv.put", { key: "a", value: 1, expiresAt: world.now }, "invalid-input");
    world.refused("kv.put", { key: "a", value: 1, expiresAt: world.now + 5, ttlMs: 5 }, "invalid-input");
  });

  test("kv - many that expire at once go in entries of their own size, all of them", () => {
    const world = new World();
    for (let i = 0; i < 2500; i++) world.run("kv.put", { key: `k/${i}`, value: i, ttlMs: 10 });
    const before = world.transactions.length;
    world.advance(10);
    expect(world.transactions.slice(before).map(({ changes }) => changes.length)).toEqual([1000, 1000, 500]);
  });
});

describe("kv - keys of workers", () => {
  const owner = (world: World) => {
    world.worker("w");
    world.ok("kv.put", { key: "up/w", value: 1, workerId: "w" });
    world.ok("kv.put", { key: "up/x", value: 1, workerId: "w" });
    world.ok("kv.put", { key: "free", value: 1 });
  };
  const last = (world: World) =>
    world.transactions.at(-1)!.changes.map(({ table, key }) => [table.name, key]);

  test("kv - they go in the entry that has the worker offline", () => {
    const world = new World();
    owner(world);
    world.advance(world.core.config.silenceMs);
    expect(last(world)).toEqual([
      ["workers", "w"],
      ["keys", "up/w"],
      ["keys", "up/x"],
    ]);
    expect(names(world)).toEqual(["free"]);
  });

  test("kv - they go in the entry in which the worker leaves", () => {
    const world = new World();
    owner(world);
    world.ok("worker.unregister", { workerId: "w" });
    expect(names(world)).toEqual(["free"]);
    expect(last(world).map(([, key]) => key)).toEqual(["up/w", "up/x", "w"]);
  });

  test("kv - they go with the instance, and stay when the same one comes back", () => {
    const world = new World();
    owner(world);
    world.ok("worker.register", { workerId: "w", instanceId: "w" });
    expect(names(world, { prefix: "up/" })).toEqual(["up/w", "up/x"]);
    const again = world.restarted();
    expect(names(again, { prefix: "up/" })).toEqual(["up/w", "up/x"]);
    world.clock += world.core.config.silenceMs;
    world.now += world.core.config.silenceMs;
    world.ok("worker.register", { workerId: "w", instanceId: "another" });
    expect(names(world)).toEqual(["free"]);
  });

  test("kv - one that is gone, or that owns too many, owns no more", () => {
    const world = new World();
    world.refused("kv.put", { key: "k", value: 1, workerId: "w" }, "worker-offline");
    world.worker("w");
    for (let i = 0; i < limits.keysPerWorkerMax; i++)
      world.run("kv.put", { key: `k/${i}`, value: i, workerId: "w" });
    world.refused("kv.put", { key: "one/more", value: 1, workerId: "w" }, "busy");
    world.ok("kv.put", { key: "k/1", value: "again", workerId: "w" });
    // A put without an owner makes it nobody's.
    world.ok("kv.put", { key: "k/1", value: "free" });
    world.ok("kv.put", { key: "one/more", value: 1, workerId: "w" });
    world.advance(world.core.config.silenceMs);
    expect(names(world)).toEqual(["k/1"]);
    world.refused("kv.put", { key: "k", value: 1, workerId: "w" }, "worker-offline");
  });
});

describe("kv - lists", () => {
  test("kv - pages lead through a prefix in order, while keys come and go", () => {
    const world = new World();
    for (const key of ["b/2", "a", "b/1", "b", "b/10", "c", "b/3"]) world.ok("kv.put", { key, value: key });
    const first = world.ok("kv.list", { prefix: "b/", limit: 2 });
    expect(first.keys.map(({ key, value }) => [key, value])).toEqual([
      ["b/1", "b/1"],
      ["b/10", "b/10"],
    ]);
    world.ok("kv.delete", { key: "b/10" });
    world.ok("kv.put", { key: "b/11", value: 1 });
    const cursor = first.cursor as string;
    expect(world.ok("kv.list", { prefix: "b/", limit: 3, cursor }).keys.map(({ key }) => key)).toEqual([
      "b/11",
      "b/2",
      "b/3",
    ]);
    expect(world.ok("kv.list", { prefix: "b/", limit: 3, cursor }).cursor).toBeNull();
    expect(names(world, { prefix: "z" })).toEqual([]);
    expect(world.ok("kv.list", { keysOnly: true, limit: 1 }).keys[0]).not.toHaveProperty("value");
  });

  test("kv - a page of large values is short, and leads on", () => {
    const world = new World();
    const value = "x".repeat(limits.payloadBytesMax - 2);
    for (let i = 0; i < 5; i++) world.ok("kv.put", { key: `k${i}`, value });
    const seen: string[] = [];
    let cursor: string | null = null;
    let pages = 0;
    do {
      const page: ReturnType<typeof world.ok<"kv.list">> = world.ok(
        "kv.list",
        cursor === null ? {} : { cursor },
      );
      seen.push(...page.keys.map(({ key }) => key));
      cursor = page.cursor;
      pages++;
    } while (cursor !== null);
    expect([pages, seen]).toEqual([3, ["k0", "k1", "k2", "k3", "k4"]]);
    expect(names(world, { keysOnly: true })).toEqual(seen);
    world.refused("kv.getMany", { keys: ["k0", "k1", "k2"] }, "payload-too-large");
    expect(world.ok("kv.getMany", { keys: ["k1", "none", "k0"] }).keys.map((one) => one?.key)).toEqual([
      "k1",
      undefined,
      "k0",
    ]);
  });
});

// --- against a plain Map ------------------------------------------------------------------------------------

type Plain = {
  value: unknown;
  revision: number;
  created: number;
  version: number;
  expiresAt: number;
  workerId: string | null;
};

const keyName = fc.constantFrom("a", "a/1", "a/2", "a/10", "b", "b/1", "n", "n/1");
const ifRevision = fc.constantFrom("none", "zero", "same", "other");
type Move =
  | { do: "put"; key: string; value: unknown; ttlMs: number; owner: string | null; compare: string }
  | { do: "delete"; key: string; compare: string }
  | { do: "increment"; key: string; by: number; ttlMs: number }
  | { do: "list"; prefix: string; limit: number }
  | { do: "wait"; ms: number }
  | { do: "leave"; worker: string }
  | { do: "undo" }
  | { do: "restart" };
const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("put" as const),
      key: keyName,
      value: fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.integer()),
      ttlMs: fc.constantFrom(0, 0, 50, 500),
      owner: fc.constantFrom(null, null, "w1", "w2"),
      compare: ifRevision,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("delete" as const), key: keyName, compare: ifRevision }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("increment" as const),
      key: keyName,
      by: fc.integer({ min: -5, max: 5 }),
      ttlMs: fc.constantFrom(0, 80),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("list" as const),
      prefix: fc.constantFrom("", "a", "a/", "b/", "z"),
      limit: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 60, 300) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("leave" as const), worker: fc.constantFrom("w1", "w2") }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("undo" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart" as const) }) },
);

test("kv - random operations, undone and restarted, leave what a plain Map holds", () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
      let world = new World();
      let plain = new Map<string, Plain>();
      const entries: string[] = [];
      const listen = () =>
        world.store.onCommit(({ revision, changes }) => {
          const { now: at, clock, operation, who } = world.core;
          entries.push(encodeEntry({ revision, at, clock, operation, who }, changes));
        });
      listen();
      const join = () => {
        for (const workerId of ["w1", "w2"]) world.ok("worker.register", { workerId });
      };
      join();
      const alive = (key: string) => {
        const one = plain.get(key);
        return one !== undefined && (one.expiresAt === 0 || one.expiresAt > world.now) ? one : undefined;
      };
      const named = (key: string, compare: string) =>
        ({ none: {}, zero: { ifRevision: 0 }, other: { ifRevision: 1 } })[compare] ?? {
          ifRevision: alive(key)?.revision ?? 0,
        };
      const fits = (key: string, { ifRevision: is }: { ifRevision?: number }) =>
        is === undefined || is === (alive(key)?.revision ?? 0);
      const keep = (key: string, to: Pick<Plain, "value" | "expiresAt" | "workerId">) => {
        const known = alive(key);
        const { revision } = world.store;
        plain.set(key, {
          ...{ revision, created: known?.created ?? revision, version: (known?.version ?? 0) + 1 },
          ...to,
        });
      };

      for (const one of moves) {
        const before = new Map(plain);
        const count = world.transactions.length;
        const text = stateText(world.core);
        if (one.do === "put") {
          const compared = named(one.key, one.compare);
          const input: Input<"kv.put"> = { key: one.key, value: one.value, ...compared };
          if (one.ttlMs > 0) input.ttlMs = one.ttlMs;
          if (one.owner !== null) input.workerId = one.owner;
          const done = fits(one.key, compared);
          expect("ok" in world.run("kv.put", input)).toBe(done);
          const expiresAt = one.ttlMs > 0 ? world.now + one.ttlMs : 0;
          if (done) keep(one.key, { value: one.value, expiresAt, workerId: one.owner });
        } else if (one.do === "delete") {
          const compared = named(one.key, one.compare);
          const done = fits(one.key, compared) && alive(one.key) !== undefined;
          expect("ok" in world.run("kv.delete", { key: one.key, ...compared })).toBe(done);
          if (done) plain.delete(one.key);
        } else if (one.do === "increment") {
          const known = alive(one.key);
          const is = known === undefined ? 0 : known.value;
          const done = Number.isSafeInteger(is);
          const input = { key: one.key, by: one.by, ...(one.ttlMs > 0 && { ttlMs: one.ttlMs }) };
          expect("ok" in world.run("kv.increment", input)).toBe(done);
          const expiresAt = known?.expiresAt ?? (one.ttlMs > 0 ? world.now + one.ttlMs : 0);
          if (done)
            keep(one.key, {
              value: (is as number) + one.by,
              expiresAt,
              workerId: known?.workerId ?? null,
            });
        } else if (one.do === "list") {
          const seen: string[] = [];
          let cursor: string | null = null;
          do {
            const page: ReturnType<typeof world.ok<"kv.list">> = world.ok("kv.list", {
              ...{ prefix: one.prefix, limit: one.limit },
              ...(cursor !== null && { cursor }),
            });
            expect(page.keys.length).toBeLessThanOrEqual(one.limit);
            seen.push(...page.keys.map(({ key }) => key));
            cursor = page.cursor;
          } while (cursor !== null);
          const wanted = [...plain.keys()].filter((key) => key.startsWith(one.prefix) && alive(key)).sort();
          expect(seen).toEqual(wanted);
        } else if (one.do === "wait") world.advance(one.ms);
        else if (one.do === "leave") {
          world.ok("worker.unregister", { workerId: one.worker });
          for (const [key, { workerId }] of [...plain]) if (workerId === one.worker) plain.delete(key);
          world.ok("worker.register", { workerId: one.worker });
        } else if (one.do === "undo") {
          // The newest transaction of a put is taken back, with all that is derived from it.
          world.run("kv.put", { key: "a", value: "undone", workerId: "w1", ttlMs: 70 });
          world.store.undo(world.transactions.at(-1)!);
          world.transactions.pop();
          entries.pop();
          expect(stateText(world.core)).toBe(text);
          expect(check(world.core)).toEqual([]);
          plain = before;
        } else {
          const store = createStore();
          const loader = new Loader(store);
          for (const entry of entries) loader.entry(entry);
          loader.end();
          store.advanceTo(world.store.revision);
          const next = new World({}, store, 0, {}, world);
          expect(stateText(next.core)).toBe(text);
          world = next;
          listen();
          world.settle();
        }
        expect(check(world.core)).toEqual([]);
        if (world.transactions.length === count) expect(stateText(world.core)).toBe(text);
        for (const key of ["a", "a/1", "a/2", "a/10", "b", "b/1", "n", "n/1"]) {
          const is = alive(key);
          const [found] = world.ok("kv.getMany", { keys: [key] }).keys;
          expect(found ?? null).toEqual(
            is === undefined
              ? null
              : {
                  ...{ key, value: JSON.parse(JSON.stringify(is.value)), version: is.version },
                  ...{ revision: is.revision, createdRevision: is.created },
                  ...{ expiresAt: is.expiresAt || null, workerId: is.workerId },
                },
          );
        }
      }
    }),
    { numRuns: 150 },
  );
});
