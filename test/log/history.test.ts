/** The log as history: which entries a search finds, and what it says of them. */
import { describe, expect, test } from "bun:test";
import { goneLocks, type HistorySearch, searchEntries } from "../../src/log/history.ts";

const texts = [
  `@5\t100\t0\tkv.put\tada\n+key\ta\t{"revision":5}\t{"workerId":"w9"}\n+answer\tada/0\t{"seq":1}\n`,
  `@6\t110\t0\ttransaction.run\tbob\n+key\ta\t{"revision":6}\t1\n+key\tb\t{"revision":6,"workerId":"w1"}\t2\n-task.run\t3-0\n`,
  `@9\t120\t0\ttask.dispatch\tcortexd\n+task.run\t4-0\t{"state":"running","workerId":"w1"}\n`,
  `@12\t125\t0\ttask.log\tw1\n+task.log\t4-0/7\t{"taskId":"4-0"}\n+task.log\t4-01/0\t{}\n`,
  `@13\t130\t0\tanswer.expire\tcortexd\n-answer\tada/0\n`,
];
const ofWorker = { names: ["worker\tw1"], said: { part: null, text: '"workerId":"w1"' } };
const all: HistorySearch = {
  ...{ after: 0, upTo: Number.MAX_SAFE_INTEGER, who: null, operation: null, things: [] },
  ...{ countMax: 100, bytesMax: 1000, unitsMax: 1000 },
};
const found = (more: Partial<HistorySearch>, isEnd = true) => {
  const { entries, next } = searchEntries(texts, { ...all, ...more }, isEnd);
  return {
    next,
    entries: entries.map(({ revision, changes }) => `${revision}: ${changes.map(({ id }) => id)}`),
  };
};

describe("history", () => {
  const rows: [string, Partial<HistorySearch>, string[]][] = [
    ["everything but what was answered", {}, ["5: a", "6: a,b,3-0", "9: 4-0", "12: 4-0/7,4-01/0"]],
    ["behind a revision, up to another", { after: 5, upTo: 6 }, ["6: a,b,3-0"]],
    ["what one caused", { who: "ada" }, ["5: a"]],
    ["what an operation caused", { operation: "task.dispatch" }, ["9: 4-0"]],
    ["one thing, also where it ends", { things: [{ names: ["task.run\t3-0"] }] }, ["6: 3-0"]],
    ["what a worker has, and not what a value says of one", { things: [ofWorker] }, ["6: b", "9: 4-0"]],
    ["what changed each of two", { things: [{ names: ["key\ta"] }, ofWorker] }, ["6: a,b"]],
    [
      "a task's log, and not that of another",
      { things: [{ names: [], begin: "task.log\t4-0/" }] },
      ["12: 4-0/7"],
    ],
    ["nothing, where nothing is", { things: [{ names: ["key\tc"] }] }, []],
  ];
  test.each(rows)("history - a search finds %s", (_name, search, expected) => {
    expect(found(search)).toEqual({ next: null, entries: expected });
  });

  test("history - a page that is full, or whose log goes on, leads to the next", () => {
    expect(found({ countMax: 1 })).toEqual({ next: 5, entries: ["5: a"] });
    expect(found({ countMax: 2, after: 5 })).toEqual({ next: 9, entries: ["6: a,b,3-0", "9: 4-0"] });
    expect(found({ unitsMax: 10 })).toEqual({ next: 5, entries: ["5: a"] });
    expect(found({ who: "nobody" }, false)).toEqual({ next: 13, entries: [] });
    expect(found({ upTo: 6 }, false)).toEqual({ next: null, entries: ["5: a", "6: a,b,3-0"] });
  });

  test("history - an entry that changed more than is shown says so", () => {
    const many = Array.from({ length: 6000 }, (_, i) => `+key\tk${i}\t{"revision":7}\t1\n`).join("");
    const { entries } = searchEntries([`@7\t1\t0\tx\ty\n${many}`], { ...all, unitsMax: 1e6 }, true);
    expect([entries[0]!.changes.length, entries[0]!.isShort]).toEqual([5000, true]);
    // Lines that say only what is gone fill a page too.
    const gone = Array.from({ length: 100 }, (_, i) => `@${i + 1}\t1\t0\tx\ty\n-key\tk${i}\n`);
    const page = searchEntries(gone, { ...all, unitsMax: 1000 }, true);
    expect(page.entries.length).toBeLessThan(40);
    expect(page.next).toBe(page.entries.length);
  });

  test("history - what ends a lock is found by the lock's name, wherever it was asked for", async () => {
    const asked = (id: string, name: string) =>
      `+lock\t${id}\t{"id":"${id}","state":"held","resources":[{"name":"${name}","mode":"exclusive"}]}\n`;
    const held = `@3\t90\t0\tlock.acquire\tada\n${asked("3-0", "deploy")}${asked("3-1", "other")}`;
    const page = [
      `@20\t200\t0\tlock.acquire\tbob\n${asked("20-0", "deploy")}`,
      `@21\t210\t0\tsubscription.put\tada\n+subscription\tdeploy\t{"name":"deploy"}\n`,
      "@22\t220\t0\tlock.expire\tcortexd\n-lock\t3-1\n-lock\t3-0\n-lock\t1-0\n",
      "@23\t230\t0\tlock.release\tbob\n-lock\t20-0\n",
    ];
    const search: HistorySearch = {
      ...all,
      things: [{ names: [], said: { part: "lock", text: '"name":"deploy"' } }],
    };
    const looked: number[] = [];
    const locks = await goneLocks(page, search, async (revision) => {
      looked.push(revision);
      return revision === 3 ? [held] : [];
    });
    // What lies near together is read once.
    expect(looked).toEqual([1, 3]);
    const { entries } = searchEntries(page, search, true, locks);
    expect(entries.map(({ revision, changes }) => [revision, changes.map(({ id }) => id)])).toEqual([
      [20, ["20-0"]],
      [22, ["3-0"]],
      [23, ["20-0"]],
    ]);
  });
});
