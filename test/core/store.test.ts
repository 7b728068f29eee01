import { expect, test } from "bun:test";
import fc from "fast-check";
import { idNaming } from "../../src/core/ids.ts";
import { createStore, type Store, type Transaction } from "../../src/core/store.ts";

type Row = { readonly value: number };
type Step = { kind: "put" | "delete"; key: string; value: number };

const key = fc.integer({ min: 0, max: 40 }).map((n) => `${n}-0`);
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("put" as const, "delete" as const),
  key,
  value: fc.integer(),
});

/** An index that must equal what the table says: the sum of all values, and the keys by parity. */
function summing(store: Store) {
  const table = store.table<Row>("rows");
  const index = { sum: 0, even: 0 };
  table.index([
    {
      change(before, after) {
        if (before !== undefined) index.sum -= before.value;
        if (after !== undefined) index.sum += after.value;
        if (before !== undefined && before.value % 2 === 0) index.even -= 1;
        if (after !== undefined && after.value % 2 === 0) index.even += 1;
      },
    },
  ]);
  return { table, index };
}

const contents = (store: Store) => JSON.stringify([...store.table<Row>("rows").entries()].sort());

function apply(store: Store, steps: Step[]): void {
  const table = store.table<Row>("rows");
  for (const { kind, key, value } of steps)
    if (kind === "put") table.put(key, { value });
    else if (table.has(key)) table.delete(key);
}

test("store - a transaction that throws anywhere leaves tables and indexes as they were", () => {
  fc.assert(
    fc.property(fc.array(step), fc.array(step, { minLength: 1 }), fc.nat(), (first, second, at) => {
      const store = createStore();
      const { index } = summing(store);
      store.transaction(() => apply(store, first));
      const before = [contents(store), { ...index }, store.revision];
      expect(() =>
        store.transaction(() => {
          apply(store, second.slice(0, at % (second.length + 1)));
          throw new Error("half-way");
        }),
      ).toThrow("half-way");
      expect([contents(store), { ...index }, store.revision]).toEqual(before);
    }),
  );
});

test("store - undoing committed transactions newest first is exact, indexes included", () => {
  fc.assert(
    fc.property(fc.array(fc.array(step), { maxLength: 8 }), (transactions) => {
      const store = createStore();
      const { index } = summing(store);
      const done: Transaction[] = [];
      store.onCommit((transaction) => done.push(transaction));
      const states = [[contents(store), { ...index }]];
      for (const steps of transactions) {
        const count = done.length;
        store.transaction(() => apply(store, steps));
        if (done.length > count) states.push([contents(store), { ...index }]);
      }
      while (done.length > 0) {
        expect([contents(store), { ...index }]).toEqual(states.pop()!);
        store.undo(done.pop()!);
      }
      expect([contents(store), { ...index }]).toEqual(states.pop()!);
    }),
  );
});

test("store - a view shows the table at the moment it was opened, whatever changes meanwhile", () => {
  fc.assert(
    fc.property(fc.array(step), fc.array(fc.array(step), { maxLength: 10 }), (first, later) => {
      const store = createStore();
      store.transaction(() => apply(store, first));
      const table = store.table<Row>("rows");
      const want = [...table.values()].map((row) => row.value).sort((a, b) => a - b);
      const view = table.view();
      const seen: number[] = [];
      let round = 0;
      for (let slice = view.next(); slice !== null; slice = view.next()) {
        seen.push(...slice.map(([, row]) => row.value));
        const steps = later[round++];
        if (steps !== undefined) store.transaction(() => apply(store, steps));
      }
      view.close();
      expect(seen.sort((a, b) => a - b)).toEqual(want);
    }),
  );
});

test("store - pages give every record that stays, once", () => {
  const store = createStore();
  const table = store.table<Row>("rows");
  store.transaction(() => {
    for (let i = 0; i < 500; i++) table.put(`${i}-0`, { value: i });
  });
  const seen: number[] = [];
  let cursor: string | null = null;
  do {
    const page = table.page(cursor, 7);
    seen.push(...page.rows.map(([, row]) => row.value));
    cursor = page.cursor;
    const gone = seen[seen.length - 1];
    if (gone !== undefined && gone % 3 === 0) store.transaction(() => table.delete(`${gone}-0`));
  } while (cursor !== null);
  expect(seen.length).toBe(500);
  expect(new Set(seen).size).toBe(500);
});

test("store - a revision is used up only by a transaction that changes something", () => {
  const store = createStore();
  const table = store.table<Row>("rows");
  const heard: number[] = [];
  store.onCommit(({ revision }) => heard.push(revision));
  store.transaction(() => {});
  expect(store.revision).toBe(0);
  store.transaction(() => table.put("a-0", { value: 1 }));
  store.transaction(() => table.delete("a-0"));
  expect(heard).toEqual([1, 2]);
  expect(() => store.advanceTo(1)).toThrow("never goes back");
});

test("store - a put or delete outside a transaction is refused and changes nothing", () => {
  const store = createStore();
  const table = store.table<Row>("rows");
  expect(() => table.put("a-0", { value: 1 })).toThrow("only inside a transaction");
  expect(table.size).toBe(0);
  store.transaction(() => table.put("a-0", { value: 1 }));
  expect(() => table.delete("a-0")).toThrow("only inside a transaction");
  expect(table.get("a-0")).toEqual({ value: 1 });
});

test("store - it is public and usable alone", async () => {
  const { createStore: alone } = await import("cortexd/store");
  const store = alone();
  const users = store.table<{ name: string }>("users");
  store.transaction(() => users.put("ada", { name: "Ada" }));
  expect(users.get("ada")).toEqual({ name: "Ada" });
});

test("store - a row that is restored to nothing where nothing is tells no index", () => {
  const table = createStore().table<Row>("rows");
  const told: unknown[] = [];
  table.restore("1-0", { value: 1 });
  table.index([{ change: (before, after) => void told.push([before, after]) }]);
  table.restore("1-0", undefined);
  table.restore("1-0", undefined);
  expect(told).toEqual([
    [undefined, { value: 1 }],
    [{ value: 1 }, undefined],
  ]);
});

test("store - neighbours in age lie in few Maps, and many ids in all of them", () => {
  const shards = (rows: (string | number)[]) => new Set(rows.map((row) => idNaming.shard!(row))).size;
  const revisions = Array.from({ length: 1000 }, (_, i) => 7_000_000_123 + i);
  expect(shards(revisions)).toBeLessThanOrEqual(2);
  expect(shards(Array.from({ length: 1000 }, (_, i) => `7000000123-${i + 1}`))).toBeLessThanOrEqual(2);
  expect(shards(Array.from({ length: 64 }, (_, i) => 7_000_000_123 + i * 1024))).toBe(64);
  expect(shards(["", "no id", "-", "1-"])).toBe(1);
});

test("store - an id has one row, that row has this id, and what is no id stays what it is", () => {
  const { row, key } = idNaming;
  const ids = [
    "1-0",
    "1-1",
    "42-7",
    "42-999999",
    "8589934591-1048575",
    "8589934592-1",
    "1795666503373-3",
    "1-1048576",
  ];
  for (const id of ids) expect(key(row(id))).toBe(id);
  expect(new Set(ids.map(row)).size).toBe(ids.length);
  expect(row("9007199254740991-0")).toBe(9_007_199_254_740_991);
  for (const no of [
    "",
    "-",
    "1",
    "1-",
    "-1",
    "01-1",
    "1-01",
    "1-1-1",
    "0-1",
    "1-1 ",
    "1e1-1",
    "9007199254740993-0",
  ])
    expect(row(no)).toBe(no);
});
