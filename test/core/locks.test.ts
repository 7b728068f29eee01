/** Locks: what each operation promises. All of them against a plain model stand in locks.model.test.ts. */
import { describe, expect, test } from "bun:test";
import { stateText } from "../../src/core/check.ts";
import type { Input, Output } from "../../src/wire/operations.ts";
import { World } from "../support/world.ts";

type Acquire = Input<"lock.acquire">;
type Resource = string | Acquire["resources"][number];
const resourcesOf = (resources: Resource[]) =>
  resources.map((one) => (typeof one === "string" ? { name: one } : one));
const shared = (name: string, limit?: number): Resource =>
  limit === undefined ? { name, mode: "shared" } : { name, mode: "shared", limit };

/** Takes a lock, or waits a minute for it. */
const ask = (world: World, resources: Resource[], more: Partial<Acquire> = {}) =>
  world.ok("lock.acquire", { waitMs: 60_000, ...more, resources: resourcesOf(resources) });
const stateOf = (world: World, { lockId }: { lockId: string }) => {
  const result = world.run("lock.get", { lockId });
  return "error" in result ? result.error.code : (JSON.parse(result.ok) as Output<"lock.get">).state;
};
const release = (world: World, { lockId }: { lockId: string }) => world.ok("lock.release", { lockId });

/** Two that are held for a minute, one that waits behind the second, and all three as they stand 7 s later. */
function heldAndWaiting(world: World) {
  const [stolen, released] = [ask(world, ["a"], { ttlMs: 60_000 }), ask(world, ["b"], { ttlMs: 60_000 })];
  const waiting = ask(world, ["b"], { ttlMs: 60_000 });
  world.advance(7000);
  const locks = [stolen, released, waiting].map(({ lockId }) => ({ lockId }));
  const standing = () => locks.map((one) => world.ok("lock.get", one));
  return { stolen, released, waiting, standing, before: standing() };
}

describe("locks - one name", () => {
  test("locks - what is refused half-way lets no lock last longer: not one it stole, gave back or granted", () => {
    const world = new World();
    const { stolen, released, standing, before } = heldAndWaiting(world);
    const fails = { operation: "kv.delete", input: { key: "absent" } };
    for (const [operation, input] of [
      ["lock.steal", { lockId: stolen.lockId }],
      ["lock.steal", { lockId: released.lockId }],
      ["lock.release", { lockId: stolen.lockId }],
      ["lock.release", { lockId: released.lockId }],
    ] as const)
      world.refused("transaction.run", { then: [{ operation, input }, fails] }, "unknown-key");
    expect(standing()).toEqual(before);
  });

  test("locks - what a full disk takes back lets no lock last longer either", () => {
    const world = new World();
    const { stolen, released, waiting, standing, before } = heldAndWaiting(world);
    const durable = world.durable();
    world.ok("lock.steal", { lockId: stolen.lockId });
    world.advance(1);
    world.ok("lock.release", { lockId: released.lockId });
    expect(world.ok("lock.get", { lockId: waiting.lockId }).state).toBe("held");
    world.undo(durable);
    expect(standing()).toEqual(before);
    world.advance(52_999);
    expect(world.core.locks.size).toBe(0);
  });

  test("locks - of locks that differ in one thing each is told its own", () => {
    const world = new World();
    world.ok("worker.register", { workerId: "w1" });
    const asked: [Partial<Acquire>, string?][] = [
      [{ ttlMs: 5000 }],
      [{ ttlMs: 6000 }],
      [{ ttlMs: 6000, value: 1 }],
      [{ ttlMs: 6000, value: 2 }],
      [{ ttlMs: 6000, value: 2 }, "ada"],
      [{ ttlMs: 6000, value: 2, workerId: "w1" }, "ada"],
    ];
    for (const [i, [more, who = "test"]] of asked.entries()) {
      const input = { ...more, resources: [{ name: `n${i}` }] };
      const result = world.run("lock.acquire", input, { who });
      expect(JSON.parse((result as { ok: string }).ok)).toMatchObject({
        ...{ resources: [{ name: `n${i}`, mode: "exclusive", limit: null }], who, ttlMs: more.ttlMs },
        ...{ value: more.value ?? null, workerId: more.workerId ?? null, createdAt: world.now },
      });
    }
    // One that waited differs from its time of waiting.
    const waits = ask(world, ["n0"], { ttlMs: 5000 });
    expect(waits).toMatchObject({ state: "waiting", heldAt: null, createdAt: world.now });
    const since = world.now;
    world.advance(4999);
    world.ok("lock.extend", { lockIds: [waits.lockId] });
    world.advance(1);
    expect(world.ok("lock.get", { lockId: waits.lockId })).toMatchObject({
      ...{ state: "held", createdAt: since, heldAt: since + 5000 },
    });
  });

  test("locks - a lock is told as it was asked for, with the revision of its request as token", () => {
    const world = new World();
    const lock = ask(world, ["deploy", shared("src/", 3)], { value: { host: "a" }, ttlMs: 5000 });
    const { revision } = world.store;
    expect(lock).toEqual({
      lockId: `${revision}-0`,
      state: "held",
      token: revision,
      resources: [
        { name: "deploy", mode: "exclusive", limit: null },
        { name: "src/", mode: "shared", limit: 3 },
      ],
      who: "test",
      workerId: null,
      value: { host: "a" },
      createdAt: world.now,
      heldAt: world.now,
      ttlMs: 5000,
      expiresAt: world.now + 5000,
      waitEndsAt: null,
      behind: null,
      revision,
    });
    expect(world.ok("lock.get", { lockId: lock.lockId })).toEqual(lock);
    expect(world.restarted().ok("lock.get", { lockId: lock.lockId })).toMatchObject({ state: "held" });
  });

  test("locks - a try is refused while another holds it, says who, and changes nothing", () => {
    const world = new World();
    const first = ask(world, ["deploy"]);
    world.advance(7000);
    const problem = world.refused("lock.acquire", { resources: [{ name: "deploy" }] }, "lock-held");
    expect(problem.detail).toBe(`deploy is held by test, since 7 s (lock ${first.lockId})`);
    expect(problem).toMatchObject({ status: 409, retryable: true });
    release(world, first);
    expect(ask(world, ["deploy"], { waitMs: 0 }).token).toBeGreaterThan(first.token);
  });

  test("locks - a release is the grant to the next in line, in the same entry", () => {
    const world = new World();
    const [a, b, c] = [ask(world, ["x"]), ask(world, ["x"]), ask(world, ["x"])] as const;
    expect([b.state, b.behind, c.behind]).toEqual(["waiting", a.lockId, a.lockId]);
    const entries = world.transactions.length;
    release(world, a);
    expect(world.transactions.length).toBe(entries + 1);
    expect([stateOf(world, b), stateOf(world, c)]).toEqual(["held", "waiting"]);
    release(world, b);
    expect(stateOf(world, c)).toBe("held");
    release(world, c);
    const nothing = { locks: 0, due: 0, ends: 0, owners: 0, further: 0, names: 0, spots: 0 };
    expect(world.core.bids.counts).toEqual(nothing);
    expect(world.core.limits.bytes).toBe(0);
  });

  test("locks - who leaves the line is passed over, and a try does not overtake who waits", () => {
    const world = new World();
    const [a, b, c] = [ask(world, ["x", "y"]), ask(world, ["x"]), ask(world, ["x"])] as const;
    expect(release(world, b)).toEqual({ lockId: b.lockId, state: "waiting" });
    release(world, a);
    expect(stateOf(world, c)).toBe("held");
    const both = ask(world, ["x", "y"]);
    expect(both.state).toBe("waiting");
    // y is free, and kept for who waits for x and y.
    expect(world.refused("lock.acquire", { resources: [{ name: "y" }] }, "lock-held").detail).toContain(
      "waited for",
    );
  });

  test("locks - an unknown lock is refused", () => {
    const world = new World();
    for (const operation of ["lock.get", "lock.release", "lock.steal"] as const)
      world.refused(operation, { lockId: "7-0" }, "unknown-lock");
  });

  test("locks - what makes no sense is refused by name", () => {
    const world = new World();
    const twice = world.refused(
      "lock.acquire",
      { resources: [{ name: "a" }, { name: "a" }] },
      "invalid-input",
    );
    expect(twice.errors).toEqual([{ pointer: "/resources/1/name", detail: "a is named twice" }]);
    const limited = world.refused("lock.acquire", { resources: [{ name: "a", limit: 2 }] }, "invalid-input");
    expect(limited.errors?.[0]?.pointer).toBe("/resources/0/limit");
    const tooLarge = "payload-too-large";
    world.refused("lock.acquire", { resources: [{ name: "a" }], value: "x".repeat(20_000) }, tooLarge);
    world.refused("lock.acquire", { resources: [{ name: "a" }], workerId: "nobody" }, "worker-offline");
    world.refused("lock.list", { name: "a", prefix: "b" }, "invalid-input");
    for (const name of ["", "a b", 'a"', "ä", "x".repeat(257)])
      expect(() => world.run("lock.acquire", { resources: [{ name }] })).toThrow();
  });

  test("locks - names that lie in very many folders are refused, those that share their folders are not", () => {
    const world = new World();
    const deep = (folder: string) =>
      Array.from({ length: 64 }, (_, i) => `${folder}${i}/${"a/".repeat(15)}b`);
    const before = stateText(world.core);
    const input = { resources: resourcesOf(deep("f")) };
    expect(world.refused("lock.acquire", input, "invalid-input").errors).toMatchObject([
      { pointer: "/resources", detail: expect.stringContaining("1088") },
    ]);
    expect(stateText(world.core)).toBe(before);
    const shares = deep("").map((_, i) => `${"a/".repeat(120)}${i}`);
    expect(ask(world, shares).state).toBe("held");
    expect(ask(world, deep("f").slice(0, 60)).state).toBe("held");
  });

  test("locks - what a lock takes in memory grows with the folders above its names, and is given back", () => {
    const world = new World();
    const tookBytes = (name: string) => {
      const before = world.core.limits.bytes;
      const lock = ask(world, [name]);
      const took = world.core.limits.bytes - before;
      release(world, lock);
      expect(world.core.limits.bytes).toBe(before);
      return took;
    };
    // A folder's place in line was seen to take 280 bytes.
    expect(tookBytes("a/".repeat(100)) - tookBytes("a".repeat(200))).toBeGreaterThan(99 * 200);
  });

  test("locks - a repeated request is one lock", () => {
    const world = new World();
    const input = { resources: [{ name: "x" }], waitMs: 1000 };
    const cause = { session: "s", seq: 1 };
    const first = world.ok("lock.acquire", input, cause);
    expect(world.ok("lock.acquire", input, cause)).toEqual(first);
    expect(world.core.locks.size).toBe(1);
  });
});

describe("locks - shared, limited, several, folders", () => {
  test("locks - those who share hold it together, and an exclusive one in line holds up who comes after it", () => {
    const world = new World();
    const [r1, r2] = [ask(world, [shared("x")]), ask(world, [shared("x")])] as const;
    const w = ask(world, ["x"]);
    const r3 = ask(world, [shared("x")]);
    expect([r1, r2, w, r3].map(({ state }) => state)).toEqual(["held", "held", "waiting", "waiting"]);
    release(world, r1);
    expect(stateOf(world, w)).toBe("waiting");
    release(world, r2);
    expect([stateOf(world, w), stateOf(world, r3)]).toEqual(["held", "waiting"]);
    release(world, w);
    expect(stateOf(world, r3)).toBe("held");
  });

  test("locks - of a limited one so many hold, and of different limits the smallest counts", () => {
    const world = new World();
    const three = [0, 1, 2].map(() => ask(world, [shared("gpu", 3)]));
    const fourth = ask(world, [shared("gpu", 3)]);
    const fifth = ask(world, [shared("gpu", 9)]);
    expect(three.map(({ state }) => state)).toEqual(["held", "held", "held"]);
    expect([fourth.state, fifth.state]).toEqual(["waiting", "waiting"]);
    release(world, three[1]!);
    expect([stateOf(world, fourth), stateOf(world, fifth)]).toEqual(["held", "waiting"]);
    for (const one of [three[0]!, three[2]!, fourth]) release(world, one);
    expect(stateOf(world, fifth)).toBe("held");
    const sixth = ask(world, [shared("gpu", 1)]);
    expect(sixth.state).toBe("waiting");
    release(world, fifth);
    expect(stateOf(world, sixth)).toBe("held");
    expect(ask(world, [shared("gpu")]).state).toBe("waiting");
  });

  test("locks - of several all are had at once or none, and nobody waits for ever", () => {
    const world = new World();
    const a = ask(world, ["a"]);
    const b = ask(world, ["b"]);
    const ab = ask(world, ["a", "b"]);
    const ba = ask(world, ["b", "a"]);
    // Whoever waits for both holds neither, and nobody overtakes it at either.
    const later = ask(world, ["b"]);
    release(world, b);
    expect([ab, ba, later].map((one) => stateOf(world, one))).toEqual(["waiting", "waiting", "waiting"]);
    release(world, a);
    expect([ab, ba, later].map((one) => stateOf(world, one))).toEqual(["held", "waiting", "waiting"]);
    release(world, ab);
    expect([ba, later].map((one) => stateOf(world, one))).toEqual(["held", "waiting"]);
  });

  const pairs: [held: Resource, asked: Resource, state: "held" | "waiting"][] = [
    ["src/", "src/core/a.ts", "waiting"],
    ["src/core/a.ts", "src/", "waiting"],
    ["src/", "src/core/", "waiting"],
    ["src/core/", "src/", "waiting"],
    ["/", "/src", "waiting"],
    ["src/core/", "src/corexa", "held"],
    ["src/core/", "src/core", "held"],
    ["src/core/a.ts", "src/core/b.ts", "held"],
    ["src/core/a", "src/core/a.ts", "held"],
    ["src/core/a", "src/core/a/b", "held"],
    ["src/core/", "src/ws/", "held"],
    ["/", "src", "held"],
    [shared("src/"), "src/core/a.ts", "waiting"],
    ["src/core/a.ts", shared("src/"), "waiting"],
    ["src/", shared("src/core/a.ts"), "waiting"],
    [shared("src/core/a.ts"), "src/", "waiting"],
    [shared("src/"), shared("src/core/a.ts"), "held"],
    [shared("src/core/"), shared("src/"), "held"],
    [shared("src/core/a.ts"), "src/core/b.ts", "held"],
    [shared("src/", 1), shared("src/core/", 1), "held"],
  ];
  test.each(pairs)("locks - while %j is held, %j is %s", (held, asked, state) => {
    const world = new World();
    ask(world, [held]);
    expect(ask(world, [asked]).state).toBe(state);
    world.restarted();
  });

  test("locks - one may share a folder and have a part of it for itself", () => {
    const world = new World();
    const one = ask(world, [shared("src/"), "src/gen/"]);
    expect([one.state, ask(world, [shared("src/core/a")]).state]).toEqual(["held", "held"]);
    const blocked = [
      ask(world, [shared("src/gen/x")]),
      ask(world, ["src/core/b"]),
      ask(world, [shared("src/")]),
    ];
    expect(blocked.map(({ state }) => state)).toEqual(["waiting", "waiting", "waiting"]);
    release(world, one);
    expect(blocked.map((lock) => stateOf(world, lock))).toEqual(["held", "held", "waiting"]);
  });

  test("locks - ten thousand in line cost what two do", () => {
    const world = new World();
    const run = (name: string) => {
      const result = world.run("lock.acquire", { resources: [{ name }], waitMs: 60_000 });
      return JSON.parse((result as { ok: string }).ok).lockId as string;
    };
    const ids = Array.from({ length: 10_000 }, () => run("a/b/c"));
    const before = performance.now();
    for (const lockId of ids) expect("ok" in world.run("lock.release", { lockId })).toBe(true);
    // A scan of the line would take a hundred million steps: minutes.
    expect(performance.now() - before).toBeLessThan(10_000);
    expect(world.core.bids.counts.spots).toBe(0);
  });

  test("locks - thousands who share are let in at once, some in the entry and the rest right after", () => {
    const world = new World();
    const first = ask(world, ["x"]);
    for (let i = 0; i < 2500; i++)
      world.run("lock.acquire", { resources: [{ name: "x", mode: "shared" }], waitMs: 60_000 });
    release(world, first);
    expect([world.core.bids.heldCount, world.core.nextDueMs()]).toEqual([1000, 0]);
    world.settle();
    world.settle();
    expect(world.core.bids.heldCount).toBe(2500);
    expect(world.core.nextDueMs()).toBeGreaterThan(0);
  });
});

describe("locks - their end", () => {
  test("locks - one that nobody extends ends after its time, and the next has it", () => {
    const world = new World();
    const a = ask(world, ["x"], { ttlMs: 10_000 });
    const b = ask(world, ["x"], { ttlMs: 40_000 });
    world.advance(9000);
    const extended = world.ok("lock.extend", { lockIds: [a.lockId, b.lockId, "1-7"] });
    expect(extended).toEqual({
      locks: [
        { lockId: a.lockId, state: "held", expiresAt: world.now + 10_000 },
        { lockId: b.lockId, state: "waiting", expiresAt: world.now + 40_000 },
      ],
      lost: ["1-7"],
    });
    const { revision } = world.store;
    world.advance(9000);
    expect([stateOf(world, a), world.store.revision]).toEqual(["held", revision]);
    world.advance(2000);
    expect([stateOf(world, a), stateOf(world, b)]).toEqual(["unknown-lock", "held"]);
    // It has its whole time from then on.
    world.advance(39_000);
    expect(stateOf(world, b)).toBe("held");
    world.advance(2000);
    expect(stateOf(world, b)).toBe("unknown-lock");
  });

  test("locks - who waits is withdrawn after its wait, or when nobody extends it", () => {
    const world = new World();
    ask(world, ["x"], { ttlMs: 600_000 });
    const short = ask(world, ["x"], { waitMs: 5000 });
    const silent = ask(world, ["x"], { waitMs: 100_000, ttlMs: 8000 });
    expect([short.waitEndsAt, silent.expiresAt]).toEqual([world.now + 5000, world.now + 8000]);
    world.advance(4999);
    expect(stateOf(world, short)).toBe("waiting");
    world.advance(1);
    expect([stateOf(world, short), stateOf(world, silent)]).toEqual(["unknown-lock", "waiting"]);
    world.advance(3000);
    expect(stateOf(world, silent)).toBe("unknown-lock");
  });

  test("locks - after a restart everyone has the time of its lock, and the grace, to come back", () => {
    const world = new World();
    const a = ask(world, ["x"], { ttlMs: 3000 });
    const b = ask(world, ["x"]);
    world.advance(2900);
    const again = world.restarted();
    again.advance(9900);
    expect([stateOf(again, a), stateOf(again, b)]).toEqual(["held", "waiting"]);
    again.advance(100);
    expect([stateOf(again, a), stateOf(again, b)]).toEqual(["unknown-lock", "held"]);
  });

  const ends: [string, (world: World) => void][] = [
    ["leaves", (world) => world.ok("worker.unregister", { workerId: "w" })],
    ["is silent for too long", (world) => world.advance(31_000)],
    [
      "is another instance",
      (world) => {
        // Before anyone has looked whether the first one lives.
        world.now += 31_000;
        world.clock += 31_000;
        world.worker("w", { instanceId: "another" });
      },
    ],
  ];
  test.each(ends)("locks - a worker's locks go with it when it %s, in that entry", (_name, end) => {
    const world = new World();
    world.worker("w");
    world.ok("kv.put", { key: "k", value: 1, workerId: "w" });
    const own = [ask(world, ["x", "y"], { workerId: "w" }), ask(world, ["z"], { workerId: "w" })];
    const waiting = ask(world, ["z"], { workerId: "w" });
    const next = ask(world, ["y", "z"], { ttlMs: 600_000, waitMs: 600_000 });
    expect(own[0]!.expiresAt).toBeNull();
    end(world);
    for (const one of [...own, waiting]) expect(stateOf(world, one)).toBe("unknown-lock");
    expect(stateOf(world, next)).toBe("held");
    // One entry: never a moment in which the worker is gone and its lock is there.
    const gone = world.transactions.find(({ changes }) =>
      changes.some(({ table, after }) => table.name === "locks" && after === undefined),
    );
    expect(gone?.changes.map(({ table }) => table.name)).toEqual(
      expect.arrayContaining(["workers", "keys", "locks"]),
    );
    expect(gone?.changes.filter(({ table }) => table.name === "locks")).toHaveLength(4);
  });

  test("locks - a lease that allows a longer silence than a worker outlives the worker's locks", () => {
    const world = new World();
    world.worker("w");
    const taskId = world.submit({ type: "t", leaseMs: 120_000 });
    world.settle();
    const lock = ask(world, ["x"], { workerId: "w" });
    world.advance(30_000);
    expect([stateOf(world, lock), world.task(taskId).state]).toEqual(["unknown-lock", "running"]);
    world.advance(90_000);
    expect(world.task(taskId).state).toBe("queued");
  });

  test("locks - a worker that comes back as the same instance keeps them", () => {
    const world = new World();
    world.worker("w");
    const own = ask(world, ["x"], { workerId: "w" });
    world.worker("w");
    expect(stateOf(world, own)).toBe("held");
  });

  test("locks - a stolen one goes to the next, and the entry keeps why", () => {
    const world = new World();
    const a = ask(world, ["x"]);
    const b = ask(world, ["x"]);
    expect(world.ok("lock.steal", { lockId: a.lockId, reason: "it hangs" }, { who: "ada" })).toEqual({
      lockId: a.lockId,
      state: "held",
    });
    expect([stateOf(world, a), stateOf(world, b)]).toEqual(["unknown-lock", "held"]);
    const { changes } = world.transactions.at(-1)!;
    expect(changes.map(({ key, after }) => [key, (after as { state?: string } | undefined)?.state])).toEqual([
      [a.lockId, "stolen"],
      [a.lockId, undefined],
      [b.lockId, "held"],
    ]);
    expect(changes[0]!.after).toMatchObject({ reason: "it hangs" });
    world.restarted();
  });
});

describe("locks - fences", () => {
  const put = (world: World, lock: string, token: number) => {
    const result = world.run("kv.put", { key: "k", value: token }, { fence: { lock, token } });
    return "error" in result ? result.error.code : "done";
  };

  test("locks - a change under a lock happens while it is held, by any of its names, and by no other", () => {
    const world = new World();
    const lock = ask(world, ["a", "b/"]);
    expect([put(world, "a", lock.token), put(world, "b/", lock.token)]).toEqual(["done", "done"]);
    for (const [name, token] of [
      ["c", lock.token],
      ["b/c", lock.token],
      ["a", lock.token - 1],
      ["a", lock.token + 1],
    ] as const)
      expect(put(world, name, token)).toBe("fence-lost");
  });

  test("locks - a holder that was paused cannot overwrite what the next one wrote", () => {
    const world = new World();
    const paused = ask(world, ["x"], { ttlMs: 5000 });
    const next = ask(world, ["x"], { ttlMs: 60_000 });
    expect(put(world, "x", next.token)).toBe("fence-lost");
    world.advance(6000);
    expect(put(world, "x", next.token)).toBe("done");
    const before = stateText(world.core);
    expect(put(world, "x", paused.token)).toBe("fence-lost");
    expect(stateText(world.core)).toBe(before);
    expect(world.ok("kv.get", { key: "k" }).value).toBe(next.token);
  });

  test("locks - of two who share, the one that lost its lock is told apart from the one that holds it", () => {
    const world = new World();
    const w = ask(world, ["x"]);
    const [r1, r2] = [ask(world, [shared("x")], { ttlMs: 5000 }), ask(world, [shared("x")])] as const;
    release(world, w);
    world.advance(6000);
    expect([put(world, "x", r1.token), put(world, "x", r2.token)]).toEqual(["fence-lost", "done"]);
  });
});

describe("locks - in transactions", () => {
  test("locks - of several that one made each holds its fence until it is over itself, also after a restart", () => {
    const world = new World();
    const acquire = (name: string) => ({ operation: "lock.acquire", input: { resources: [{ name }] } });
    const { results, revision } = world.ok("transaction.run", { then: ["a", "b", "c"].map(acquire) });
    const [a, b, c] = results as Output<"lock.acquire">[];
    const holding = (there: World) =>
      ["a", "b", "c"].filter((lock) => {
        const done = there.run("kv.put", { key: "k", value: 1 }, { fence: { lock, token: revision } });
        const { branch } = there.ok("transaction.run", { if: [{ lock, token: revision }], then: [] });
        expect(branch).toBe("ok" in done ? "then" : "else");
        return "ok" in done;
      });
    expect(holding(world)).toEqual(["a", "b", "c"]);
    release(world, a!);
    expect(holding(world)).toEqual(["b", "c"]);
    expect(holding(world.restarted())).toEqual(["b", "c"]);
    release(world, c!);
    expect(holding(world)).toEqual(["b"]);
    release(world, b!);
    expect(holding(world)).toEqual([]);
  });

  test("locks - no two that one made are of the same name, where their fences could not be told apart", () => {
    const world = new World();
    const acquire = (...names: Resource[]) => ({
      operation: "lock.acquire",
      input: { resources: resourcesOf(names) },
    });
    const before = stateText(world.core);
    const then = [acquire(shared("gpu", 4)), acquire("a"), acquire("b", shared("gpu", 4))];
    const { errors } = world.refused("transaction.run", { then }, "invalid-input");
    expect(errors?.[0]?.pointer).toBe("/then/2/input/resources/1/name");
    expect(stateText(world.core)).toBe(before);
    world.ok("transaction.run", {
      then: [acquire(shared("gpu/")), acquire("gpu"), acquire(shared("gpu/1"))],
    });
    world.ok("transaction.run", { then: [acquire(shared("gpu/1"))] });
  });

  test("locks - who holds a name is asked and told without a look at those who wait, however many", () => {
    const world = new World();
    world.worker("w");
    ask(world, ["a"]);
    const askMany = (count: number) => {
      for (let i = 0; i < count; i++)
        world.run("lock.acquire", { resources: [{ name: "a" }], waitMs: 60_000 });
    };
    const tookMs = () => {
      const conditions = Array.from({ length: 50 }, () => ({ lock: "a", workerId: "w" }));
      const before = process.cpuUsage();
      for (let i = 0; i < 10; i++) world.run("transaction.run", { if: conditions, then: [] });
      for (let i = 0; i < 50; i++) world.run("lock.list", { name: "a", state: "held" });
      return process.cpuUsage(before).user / 1000;
    };
    askMany(10);
    tookMs();
    const few = tookMs();
    askMany(10_000);
    // With a look at each it is fifty times as much.
    expect(tookMs()).toBeLessThan(5 * few + 50);
  });

  const met = (world: World, ...conditions: NonNullable<Input<"transaction.run">["if"]>) =>
    world.ok("transaction.run", { if: conditions, then: [] }).branch === "then";

  test("locks - a transaction asks whether a name is held, under which token and by which worker", () => {
    const world = new World();
    world.worker("w");
    expect([met(world, { lock: "a", exists: false }), met(world, { lock: "a", exists: true })]).toEqual([
      true,
      false,
    ]);
    const lock = ask(world, [shared("a"), "b"], { workerId: "w" });
    ask(world, [shared("a")]);
    ask(world, ["a"]);
    for (const [condition, holds] of [
      [{ exists: true }, true],
      [{ exists: false }, false],
      [{ token: lock.token }, true],
      [{ token: lock.token + 5 }, false],
      [{ workerId: "w" }, true],
      [{ workerId: "v" }, false],
      [{ workerId: "w", exists: false }, false],
      [{ workerId: "v", exists: false }, false],
      [{ token: lock.token, workerId: "w" }, true],
      [{ token: lock.token, workerId: "v" }, false],
      [{ token: lock.token, exists: false }, false],
    ] as const)
      expect([condition, met(world, { lock: "a", ...condition })]).toEqual([condition, holds]);
    expect(met(world, { lock: "c", workerId: "w" })).toBe(false);
  });

  test("locks - a lock is taken and released with all else, or not at all", () => {
    const world = new World();
    const lock = ask(world, ["a"]);
    const next = ask(world, ["a"]);
    const release = { operation: "lock.release", input: { lockId: lock.lockId } };
    const acquire = (name: string) => ({ operation: "lock.acquire", input: { resources: [{ name }] } });
    const before = stateText(world.core);
    // What follows sees the grant that the release was.
    world.refused("transaction.run", { then: [release, acquire("b"), acquire("a")] }, "lock-held");
    expect(stateText(world.core)).toBe(before);
    world.sound();
    const { results, revision } = world.ok("transaction.run", {
      then: [release, acquire("b"), acquire("c")],
    });
    expect(results).toMatchObject([
      { lockId: lock.lockId },
      { lockId: `${revision}-0`, token: revision, state: "held" },
      { lockId: `${revision}-1`, token: revision, state: "held" },
    ]);
    expect(stateOf(world, next)).toBe("held");
    world.restarted();
  });
});

describe("locks - list", () => {
  test("locks - a page is by name, then in the order of the line, and leads to the next", () => {
    const world = new World();
    const a = ask(world, ["b", "a/x"]);
    const b = ask(world, ["b"]);
    const c = ask(world, [shared("a/")]);
    const d = ask(world, ["c"]);
    const all = [
      ["a/", c.lockId, "waiting"],
      ["a/x", a.lockId, "held"],
      ["b", a.lockId, "held"],
      ["b", b.lockId, "waiting"],
      ["c", d.lockId, "held"],
    ];
    const rows = (page: Output<"lock.list">) =>
      page.locks.map(({ name, lock }) => [name, lock.lockId, lock.state]);
    expect(rows(world.ok("lock.list", {}))).toEqual(all);
    const paged: unknown[] = [];
    let page = world.ok("lock.list", { limit: 1 });
    for (; ; page = world.ok("lock.list", { limit: 1, cursor: page.cursor })) {
      paged.push(...rows(page));
      if (page.cursor === null) break;
    }
    expect(paged).toEqual(all);
    expect(rows(world.ok("lock.list", { prefix: "a/" }))).toEqual(all.slice(0, 2));
    expect(rows(world.ok("lock.list", { name: "b" }))).toEqual(all.slice(2, 4));
    expect(rows(world.ok("lock.list", { state: "waiting" }))).toEqual([all[0]!, all[3]!]);
    expect(rows(world.ok("lock.list", { name: "nobody" }))).toEqual([]);
  });
});
