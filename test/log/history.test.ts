/** The log as history: which entries a search finds, and what it says of them. */
import { describe, expect, test } from "bun:test";
import { type HistorySearch, searchEntries } from "../../src/log/history.ts";

const texts = [
  `@5\t100\t0\tkv.put\tada\n+key\ta\t{"revision":5}\t{"workerId":"w9"}\n+answer\tada/0\t{"seq":1}\n`,
  `@6\t110\t0\ttransaction.run\tbob\n+key\ta\t{"revision":6}\t1\n+key\tb\t{"revision":6,"workerId":"w1"}\t2\n-task.run\t3-0\n`,
  `@9\t120\t0\ttask.dispatch\tcortexd\n+task.run\t4-0\t{"state":"running","workerId":"w1"}\n`,
  `@10\t130\t0\tanswer.expire\tcortexd\n-answer\tada/0\n`,
];
const all: HistorySearch = {
  ...{ after: 0, upTo: Number.MAX_SAFE_INTEGER, who: null, operation: null, ids: [], says: [] },
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
    ["everything but what was answered", {}, ["5: a", "6: a,b,3-0", "9: 4-0"]],
    ["behind a revision, up to another", { after: 5, upTo: 6 }, ["6: a,b,3-0"]],
    ["what one caused", { who: "ada" }, ["5: a"]],
    ["what an operation caused", { operation: "task.dispatch" }, ["9: 4-0"]],
    ["one thing, also where it ends", { ids: ["task.run\t3-0"] }, ["6: 3-0"]],
    [
      "what a worker has, and not what a value says of one",
      { ids: ["worker\tw1"], says: ['"workerId":"w1"'] },
      ["6: b", "9: 4-0"],
    ],
    ["nothing, where nothing is", { ids: ["key\tc"] }, []],
  ];
  test.each(rows)("history - a search finds %s", (_name, search, expected) => {
    expect(found(search)).toEqual({ next: null, entries: expected });
  });

  test("history - a page that is full, or whose log goes on, leads to the next", () => {
    expect(found({ countMax: 1 })).toEqual({ next: 5, entries: ["5: a"] });
    expect(found({ countMax: 2, after: 5 })).toEqual({ next: 9, entries: ["6: a,b,3-0", "9: 4-0"] });
    expect(found({ unitsMax: 10 })).toEqual({ next: 5, entries: ["5: a"] });
    expect(found({ who: "nobody" }, false)).toEqual({ next: 10, entries: [] });
    expect(found({ upTo: 6 }, false)).toEqual({ next: null, entries: ["5: a", "6: a,b,3-0"] });
  });

  test("history - an entry that changed more than is shown says so", () => {
    const many = Array.from({ length: 1500 }, (_, i) => `+key\tk${i}\t{"revision":7}\t1\n`).join("");
    const { entries } = searchEntries([`@7\t1\t0\tx\ty\n${many}`], { ...all, unitsMax: 1e6 }, true);
    expect([entries[0]!.changes.length, entries[0]!.isShort]).toEqual([1000, true]);
  });
});
