/** Locks and elections through the client, over a real coordinator whose time and network the test moves. */
import { afterEach, describe, expect, test } from "bun:test";
import { createCoordinator, type TestCoordinator } from "@cortexd/client/testing";
import {
  type CoordinationClient,
  type Fenced,
  type Leader,
  type Lock,
  LockLost,
  shared,
} from "../../client/index.ts";

const open = new Set<TestCoordinator>();
async function create() {
  const cortex = await createCoordinator();
  open.add(cortex);
  return cortex;
}
afterEach(async () => {
  for (const cortex of open) await cortex.stop();
  open.clear();
});

/** What becomes of something that is not awaited. */
function seen<T>(promise: Promise<T>) {
  const state: { is: "open" | "done" | "failed"; value?: T; error?: Error & { code?: string } } = {
    is: "open",
  };
  promise.then(
    (value) => Object.assign(state, { is: "done", value }),
    (error) => Object.assign(state, { is: "failed", error }),
  );
  return state;
}
async function overHttp(cortex: TestCoordinator, workerId?: string): Promise<CoordinationClient> {
  cortex.faults.refuseWebSockets();
  const client = cortex.client({ workerId });
  const connected = client.connect();
  await cortex.advance("10s");
  await connected;
  return client;
}
const lossOf = ({ signal }: Lock) => (signal.aborted ? (signal.reason as LockLost).reason : null);
const code = (promise: PromiseLike<unknown>) =>
  promise.then(
    () => "done",
    (error) => error.code ?? error.name,
  );

describe("client locks - acquire", () => {
  test("client locks - one after the other, in the order in which they came", async () => {
    const cortex = await create();
    const [a, b] = [cortex.client(), cortex.client()];
    const order: string[] = [];
    const work = (client: CoordinationClient, name: string, ms: number) =>
      client.locks.with("deploy", async (lock) => {
        order.push(`${name} in`);
        await new Promise<void>((resolve) => client.environment.setTimer(ms, resolve));
        order.push(`${name} out`);
        return lock.token;
      });
    const first = work(a, "a", 5000);
    await b.connect();
    const all = [first, work(b, "b", 5000), work(a, "a2", 5000)];
    await cortex.advance("20s");
    const tokens = await Promise.all(all);
    expect(order).toEqual(["a in", "a out", "b in", "b out", "a2 in", "a2 out"]);
    expect(tokens).toEqual([...tokens].sort((x, y) => x - y));
    expect((await a.locks.list()).locks).toEqual([]);
  });

  test("client locks - try says null while another holds it, and several are one", async () => {
    const cortex = await create();
    const client = cortex.client();
    const lock = (await client.locks.try(["a", shared("src/"), shared("pool", 2)])) as Lock;
    expect(lock.names).toEqual(["a", "src/", "pool"]);
    expect(await client.locks.try("a")).toBeNull();
    expect(await client.locks.try("src/x")).toBeNull();
    const second = await client.locks.try(shared("pool", 2));
    expect(second?.held).toBe(true);
    expect(await client.locks.try(shared("pool", 2))).toBeNull();
    expect(await lock.release()).toBe(true);
    expect(await lock.release()).toBe(false);
    expect([lock.held, lock.signal.aborted]).toEqual([false, false]);
    expect((await client.locks.try(["a", "src/x"]))?.held).toBe(true);
  });

  test("client locks - who waited long enough, or gives up, leaves the line", async () => {
    const cortex = await create();
    const client = cortex.client();
    await client.locks.acquire("a");
    const controller = new AbortController();
    const late = seen(client.locks.acquire("a", { timeoutMs: 5000 }));
    const given = seen(client.locks.acquire("a", { signal: controller.signal }));
    await cortex.advance("4s");
    expect((await client.locks.list({ name: "a" })).locks).toHaveLength(3);
    controller.abort(new Error("enough"));
    await cortex.advance("2s");
    expect([late.error?.code, given.error?.message]).toEqual(["timeout", "enough"]);
    expect((await client.locks.list({ name: "a" })).locks).toHaveLength(1);
    expect(await code(client.locks.acquire("b", { signal: controller.signal }))).toBe("Error");
  });

  test("client locks - who waits for so long is told in time while the daemon is away too, and leaves the line", async () => {
    const cortex = await create();
    const [holder, client] = [cortex.client(), cortex.client()];
    await holder.locks.acquire("a", { ttlMs: 600_000 });
    const inLine = seen(client.locks.acquire("a", { timeoutMs: 5000 }));
    await cortex.advance("1s");
    cortex.kill();
    const asked = seen(client.locks.acquire("a", { timeoutMs: 5000 }));
    await cortex.advance("3500ms");
    expect([inLine.is, asked.is]).toEqual(["open", "open"]);
    await cortex.advance("2s");
    expect([inLine.error?.code, asked.error?.code]).toEqual(["timeout", "timeout"]);
    await cortex.restart();
    await cortex.advance("20s");
    expect((await holder.locks.list({ name: "a" })).locks).toHaveLength(1);
  });

  test("client locks - what work throws is thrown, and the lock is released", async () => {
    const cortex = await create();
    const client = cortex.client();
    const failed = client.locks.with("a", { ttlMs: 5000 }, () => Promise.reject(new Error("no")));
    await expect(failed).rejects.toThrow("no");
    expect((await client.locks.try("a"))?.held).toBe(true);
  });
});

describe("client locks - staying", () => {
  test("client locks - a lock is extended by itself for as long as it is held, over the WebSocket and HTTP", async () => {
    const cortex = await create();
    const first = cortex.client();
    await first.connect();
    const clients = [first, await overHttp(cortex)];
    expect(clients.map(({ transport }) => transport)).toEqual(["websocket", "http"]);
    const locks = await Promise.all(
      clients.map((client, i) => client.locks.acquire(`l${i}`, { ttlMs: 3000 })),
    );
    await cortex.advance("5m");
    expect(locks.map(({ held }) => held)).toEqual([true, true]);
    for (const lock of locks) expect(await lock.release()).toBe(true);
  });

  test("client locks - a place in line, and a lock, outlive lost connections and a restart", async () => {
    const cortex = await create();
    const [a, b] = [cortex.client(), cortex.client()];
    const first = await a.locks.acquire("x");
    const second = seen(b.locks.acquire("x"));
    await cortex.settle();
    const third = seen(a.locks.acquire("x"));
    await cortex.settle();
    cortex.faults.disconnect();
    await cortex.advance("10s");
    await cortex.restart();
    await cortex.advance("10s");
    expect([first.held, second.is, third.is]).toEqual([true, "open", "open"]);
    await first.release();
    await cortex.settle();
    expect([second.is, third.is]).toEqual(["done", "open"]);
    expect(second.value!.token).toBeGreaterThan(first.token);
    await cortex.advance("2m");
    expect(second.value!.held).toBe(true);
  });

  test("client locks - an answer that is lost leaves no second lock", async () => {
    const cortex = await create();
    const client = cortex.client();
    await client.connect();
    cortex.faults.loseAnswer("lock.acquire");
    const lock = seen(client.locks.acquire("x"));
    await cortex.advance("5s");
    expect(lock.value?.held).toBe(true);
    expect((await client.locks.list()).locks).toHaveLength(1);
  });

  test("client locks - one that is stolen says so at once, and its own client changes nothing more", async () => {
    const cortex = await create();
    const [holder, operator] = [cortex.client(), cortex.client()];
    const next = cortex.client();
    const lock = await holder.locks.acquire("deploy");
    const waiting = seen(next.locks.acquire("deploy"));
    expect(await code(lock.client.kv.put("k", 1))).toBe("done");
    expect(await code(lock.client.topics.publish("t", 1))).toBe("done");
    await operator.locks.steal(lock.id, "it hangs");
    await cortex.settle();
    expect([lossOf(lock), lock.held, waiting.is]).toEqual(["stolen", false, "done"]);
    expect((lock.signal.reason as Error).message).toBe(`lock ${lock.id} is lost: it hangs`);
    expect(await code(lock.client.kv.put("k", 2))).toBe("fence-lost");
    expect(await code(lock.client.submit({ type: "t" }))).toBe("fence-lost");
    expect(await code(lock.client.topics.publish("t", 2))).toBe("fence-lost");
    expect(await code(lock.client.messages.send("w", 2))).toBe("fence-lost");
    expect(await code(lock.client.transaction((tx) => ({ put: tx.kv.put("k", 3) })))).toBe("fence-lost");
    expect(await code(holder.kv.put("k", 4, { if: lock.fence }))).toBe("fence-lost");
    expect(await code(waiting.value!.client.kv.put("k", 5))).toBe("done");
    expect((await operator.kv.get("k"))?.value).toBe(5);
    expect(await code(operator.locks.steal(lock.id))).toBe("unknown-lock");
    expect(await operator.locks.get(lock.id)).toBeNull();
  });

  test("client locks - with rejects when the lock was lost meanwhile", async () => {
    const cortex = await create();
    const client = cortex.client();
    const lost = seen(
      client.locks.with("a", async (lock) => {
        await client.locks.steal(lock.id);
        return "done all the same";
      }),
    );
    await cortex.settle();
    expect([lost.is, lost.error instanceof LockLost]).toEqual(["failed", true]);
  });

  test("client locks - a holder that is not heard loses its lock on both sides, and on its own no later", async () => {
    const cortex = await create();
    const [holder, other] = [cortex.client(), cortex.client()];
    const lock = await holder.locks.acquire("x", { ttlMs: 6000 });
    const next = seen(other.locks.acquire("x"));
    await cortex.settle();
    cortex.faults.silence(holder);
    let stood = 0;
    for (; next.is === "open" && stood < 60; stood++) {
      await cortex.advance(250);
      // Never two at once.
      if (next.value !== undefined) expect(lock.held).toBe(false);
    }
    expect(lossOf(lock)).toBe("unheard");
    expect(stood).toBeLessThan(30);
    cortex.faults.silence(holder, false);
    await cortex.advance("10s");
    expect(next.value!.held).toBe(true);
    expect(await code(lock.client.kv.put("k", 1))).toBe("fence-lost");
  });

  test("client locks - without a way to be told, a lost lock is found by its next extension", async () => {
    const cortex = await create();
    const operator = cortex.client();
    await operator.connect();
    for (const workerId of [undefined, "w"]) {
      const holder = await overHttp(cortex, workerId);
      const lock = await holder.locks.acquire("x", { ttlMs: workerId === undefined ? 9000 : undefined });
      await operator.locks.steal(lock.id);
      await cortex.settle();
      expect(lossOf(lock)).toBeNull();
      await cortex.advance(workerId === undefined ? "4s" : "21s");
      expect(lossOf(lock)).toBe("lost");
    }
  });

  test("client locks - closing the client aborts its locks, which run out by themselves", async () => {
    const cortex = await create();
    const [holder, other] = [cortex.client(), cortex.client()];
    const lock = await holder.locks.acquire("x", { ttlMs: 5000 });
    holder.close();
    expect(lossOf(lock)).toBe("closed");
    expect(await other.locks.try("x")).toBeNull();
    await cortex.advance("6s");
    expect((await other.locks.try("x"))?.held).toBe(true);
  });
});

describe("client locks - of workers", () => {
  test("client locks - a worker's lock is extended for as long as it is held, and goes when the worker does", async () => {
    const cortex = await create();
    const other = cortex.client();
    const taken = Promise.withResolvers<Lock>();
    const running = await cortex.worker("q", async (_task, { client }) => {
      taken.resolve(await client.locks.acquire("x"));
    });
    await other.submit({ queue: "q", type: "t" });
    const lock = await taken.promise;
    expect(lock.view).toMatchObject({ workerId: running.workerId, ttlMs: 60_000 });
    await cortex.advance("10m");
    expect(lock.held).toBe(true);
    const next = seen(other.locks.acquire("x"));
    cortex.faults.silence(running);
    await cortex.advance("2m");
    expect(next.is).toBe("done");
    cortex.faults.silence(running, false);
    await cortex.advance("1m");
    expect(lock.signal.aborted).toBe(true);
  });

  test("client locks - a worker that is not heard loses its lock on its own no later than the daemon gives it on", async () => {
    for (const transport of ["websocket", "http"]) {
      const cortex = await create();
      const other = cortex.client();
      await other.connect();
      const holder = transport === "http" ? await overHttp(cortex, "w") : cortex.client({ workerId: "w" });
      await holder.connect();
      expect(holder.transport).toBe(transport as never);
      const lock = await holder.locks.acquire("x");
      const next = seen(other.locks.acquire("x"));
      await cortex.advance("10m");
      expect([lock.held, next.is]).toEqual([true, "open"]);
      cortex.faults.silence(holder);
      let stood = 0;
      for (; next.is === "open" && stood < 240; stood++) {
        await cortex.advance(250);
        // Never two at once.
        if (next.value !== undefined) expect(lock.held).toBe(false);
      }
      expect([lossOf(lock), next.is]).toEqual(["unheard", "done"]);
      cortex.faults.silence(holder, false);
      await cortex.advance("1m");
      expect(await code(lock.client.kv.put("k", 1))).toBe("fence-lost");
      expect(await code(holder.locks.acquire("y"))).toBe("done");
    }
  });

  test("client locks - the locks of a worker that dies go in one entry with all that is its own, whenever they were extended", async () => {
    for (let seconds = 0; seconds < 40; seconds += 7) {
      const cortex = await create();
      const other = cortex.client();
      const running = await cortex.worker(
        "q",
        async (_task, { client, signal }) => {
          await client.locks.acquire("x");
          await client.kv.put("k", 1, { workerId: "w" });
          await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
        },
        { workerId: "w" },
      );
      await running.client.elections.campaign("p");
      await other.submit({ queue: "q", type: "t" });
      await cortex.advance(`${seconds + 40}s`);
      const gone: [string, number][] = [];
      const watching = new AbortController();
      const loop = (async () => {
        for await (const event of other.watch({}, watching))
          if (event.event === "change") gone.push([event.table, event.revision]);
      })();
      await cortex.settle();
      cortex.faults.silence(running);
      await cortex.advance("90s");
      watching.abort();
      await loop;
      expect(gone.map(([table]) => table).sort()).toEqual(["keys", "locks", "locks", "tasks", "workers"]);
      expect(new Set(gone.map(([, revision]) => revision)).size).toBe(1);
    }
  });

  test("client locks - what a worker could not release is another's after a while, though the worker lives on", async () => {
    const cortex = await create();
    const other = cortex.client();
    await other.connect();
    const holder = cortex.client({ workerId: "w" });
    await holder.connect();
    const lock = await holder.locks.acquire("x");
    cortex.faults.fillDisk();
    expect(await code(other.kv.put("k", 1))).toBe("disk-full");
    expect(await code(lock.release())).toBe("disk-full");
    cortex.faults.fillDisk(false);
    await cortex.advance("2s");
    const next = seen(other.locks.acquire("x"));
    await cortex.advance("62s");
    expect([next.is, (await other.worker("w")).state]).toEqual(["done", "idle"]);
  });

  test("client locks - a handler takes none once its task is another's", async () => {
    const cortex = await create();
    const client = cortex.client();
    const codes: string[] = [];
    await cortex.worker("q", async (task, context) => {
      await client.task(task.id).cancel();
      codes.push(await code(context.client.locks.acquire("x")));
    });
    await client.submit({ queue: "q", type: "t" });
    await cortex.settle();
    expect(codes).toEqual(["fence-lost"]);
  });

  test("client locks - one that is taken in a handler, or under another, has a client that bears its own fence", async () => {
    const cortex = await create();
    const [client, operator] = [cortex.client(), cortex.client()];
    const codes: string[] = [];
    const lost = async (outer: Pick<Fenced, "locks" | "kv">) => {
      const lock = await outer.locks.acquire("x");
      await operator.locks.steal(lock.id);
      codes.push(await code(lock.client.kv.put("k", 1)), await code(outer.kv.put("k", 2)));
      codes.push(await code(outer.kv.put("k", 3, { if: lock.fence })));
    };
    await cortex.worker("q", async (_task, context) => lost(context.client));
    await client.submit({ queue: "q", type: "t" });
    await cortex.settle();
    expect(codes.splice(0)).toEqual(["fence-lost", "done", "fence-lost"]);
    await lost((await client.locks.acquire("y")).client);
    expect(codes).toEqual(["fence-lost", "done", "fence-lost"]);
    expect((await operator.kv.get("k"))?.value).toBe(2);
  });
});

describe("client elections", () => {
  test("client elections - one leads, observers see who, and the next follows when it resigns or is lost", async () => {
    const cortex = await create();
    const [a, b, observer] = [cortex.client(), cortex.client(), cortex.client()];
    const told: unknown[] = [];
    const watching = new AbortController();
    const loop = (async () => {
      for await (const leader of observer.elections.observe<{ at: string }>("primary", watching))
        told.push(leader?.value.at ?? null);
    })();
    await cortex.settle();
    const first = await a.elections.campaign("primary", { at: "a" });
    const second = seen(b.elections.campaign("primary", { at: "b" }));
    await cortex.settle();
    expect(second.is).toBe("open");
    const leader = (await observer.elections.leader("primary")) as Leader;
    expect(leader).toMatchObject({ value: { at: "a" }, token: first.token, who: a.session });
    expect(await a.elections.resign("primary")).toBe(true);
    await cortex.settle();
    expect([second.is, await a.elections.resign("primary")]).toEqual(["done", false]);
    expect(second.value!.token).toBeGreaterThan(first.token);
    await observer.locks.steal(second.value!.id);
    await cortex.settle();
    expect(await observer.elections.leader("primary")).toBeNull();
    const third = await a.elections.campaign("primary", { at: "a again" });
    await cortex.settle();
    expect(told).toEqual([null, "a", "b", null, "a again"]);
    expect(await code(first.client.kv.put("k", 1))).toBe("fence-lost");
    expect(await code(third.client.kv.put("k", 1))).toBe("done");
    watching.abort();
    await cortex.settle();
    await loop;
  });

  test("client elections - who waits or looks on while the disk becomes full goes on, over the WebSocket and HTTP", async () => {
    const cortex = await create();
    const leader = cortex.client();
    await leader.connect();
    const clients = [cortex.client(), await overHttp(cortex)];
    cortex.faults.refuseWebSockets(false);
    const held = await Promise.all([0, 1].map((i) => leader.locks.acquire(`l${i}`, { ttlMs: 600_000 })));
    const waiting = clients.map((client, i) => seen(client.locks.acquire(`l${i}`, { ttlMs: 600_000 })));
    await cortex.settle();
    cortex.faults.fillDisk();
    const refused = held.map((lock) => code(lock.release()));
    const told: unknown[] = [];
    const observe = async () => {
      for await (const one of leader.elections.observe("p")) told.push(one?.value ?? null);
    };
    const observing = seen(observe());
    await cortex.settle();
    expect(await Promise.all(refused)).toEqual(["disk-full", "disk-full"]);
    expect([waiting.map(({ is }) => is), observing.is, told]).toEqual([["open", "open"], "open", [null]]);
    cortex.faults.fillDisk(false);
    await cortex.advance("5s");
    for (const lock of held) await lock.release();
    await clients[0]!.elections.campaign("p", 1);
    await cortex.advance("1s");
    expect([waiting.map(({ is }) => is), told]).toEqual([
      ["done", "done"],
      [null, 1],
    ]);
  });

  test("client elections - a name that would lead others too is refused", async () => {
    const { elections } = (await create()).client();
    for (const name of ["", "team/"])
      for (const asked of [elections.campaign(name), elections.leader(name), elections.resign(name)])
        expect(await code(asked)).toBe("TypeError");
    expect(await code(elections.observe("team/").next())).toBe("TypeError");
  });

  test("client elections - an observer that was away is told who leads by then", async () => {
    const cortex = await create();
    const [a, b, observer] = [cortex.client(), cortex.client(), cortex.client()];
    const told: unknown[] = [];
    const watching = new AbortController();
    const loop = (async () => {
      for await (const leader of observer.elections.observe("primary", watching))
        told.push(leader?.value ?? null);
    })();
    await a.elections.campaign("primary", "a");
    await cortex.settle();
    cortex.faults.silence(observer);
    await a.elections.resign("primary");
    await b.elections.campaign("primary", "b");
    cortex.faults.disconnect(observer);
    cortex.faults.silence(observer, false);
    await cortex.advance("10s");
    expect(told.at(-1)).toBe("b");
    watching.abort();
    await cortex.settle();
    await loop;
  });
});
