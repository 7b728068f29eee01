import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { check, stateText } from "../../src/core/check.ts";
import { encodeEntry, Loader } from "../../src/core/codec.ts";
import { createStore } from "../../src/core/store.ts";
import { specOrder } from "../../src/core/tasks.ts";
import { limits } from "../../src/wire/limits.ts";
import type { SchedulePut } from "../../src/wire/schedules.ts";
import { World } from "../support/world.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const task = { type: "t" };

/** A world whose wall clock shows this moment. */
function worldAt(moment: string, config: ConstructorParameters<typeof World>[0] = {}): World {
  const world = new World(config);
  world.now = Date.parse(moment);
  world.settle();
  return world;
}

const put = (world: World, more: Partial<SchedulePut> = {}) =>
  world.ok("schedule.put", {
    name: "s",
    task,
    ...(more.cron === undefined ? { everyMs: hour } : {}),
    ...more,
  });
const shown = (world: World, name = "s") => world.ok("schedule.get", { name });

/** The moments that the schedule's tasks are for, in the order of submission. */
const runsOf = (world: World, name = "s"): number[] =>
  [...world.core.tasks.values()]
    .sort((a, b) => specOrder(a.spec, b.spec))
    .map(({ spec }) => spec.extras.idempotencyKey ?? "")
    .filter((key) => key.startsWith(`schedule/${name}/`))
    .map((key) => Number(key.split("/")[2]));
const iso = (moments: readonly number[]) => moments.map((at) => new Date(at).toISOString());

/** A world over what the entries of another say, after the daemon was down for a while. */
function restarted(world: World, texts: readonly string[], downMs: number): World {
  const store = createStore();
  const loader = new Loader(store);
  for (const text of texts) loader.entry(text);
  loader.end();
  store.advanceTo(world.store.revision);
  const again = new World({}, store);
  again.now = world.now + downMs;
  again.clock = world.clock;
  return again;
}

function entriesOf(world: World): string[] {
  const texts: string[] = [];
  world.store.onCommit(({ revision, changes }) => {
    const { now: at, clock, operation, who } = world.core;
    texts.push(encodeEntry({ revision, at, clock, operation, who }, changes));
  });
  return texts;
}

/** Ends the task of the schedule's last run. */
const endLast = (world: World, name = "s") =>
  world.ok("task.cancel", { taskId: shown(world, name).lastTaskId as string });

describe("schedules - what is put", () => {
  test("schedules - a new one has its defaults, its next runs, and has run nothing", () => {
    const world = worldAt("2026-01-05T10:00:00Z");
    put(world, { cron: "30 2 * * MON-FRI", task: { type: "report", queue: "reports", payload: { a: 1 } } });
    expect(shown(world)).toEqual({
      name: "s",
      cron: "30 2 * * MON-FRI",
      timeZone: "UTC",
      everyMs: null,
      startAt: null,
      endAt: null,
      jitterMs: 0,
      missed: "once",
      missedMax: 100,
      overlap: "allow",
      task: { type: "report", queue: "reports", payload: { a: 1 } },
      state: "active",
      nextAt: Date.parse("2026-01-06T02:30:00Z"),
      waitingAt: null,
      lastAt: null,
      lastTaskId: null,
      runsCount: 0,
      skippedCount: 0,
      createdAt: world.now,
      putRevision: world.store.revision,
      revision: world.store.revision,
      // Saturday and Sunday are left out.
      nextRuns: ["06", "07", "08", "09", "12"].map((day) => Date.parse(`2026-01-${day}T02:30:00Z`)),
    });
  });

  const wrong: [string, Partial<SchedulePut>, string, RegExp][] = [
    ["neither pattern nor interval", { everyMs: undefined } as never, "", /exactly one of cron and everyMs/],
    ["both", { cron: "* * * * *", everyMs: hour }, "", /exactly one of cron and everyMs/],
    ["a minute that is none", { cron: "61 * * * *" }, "/cron", /minute/],
    ["four fields", { cron: "* * * *" }, "/cron", /five, six/],
    ["seven fields", { cron: "* * * * * * *" }, "/cron", /5 or 6/],
    ["words", { cron: "every day" }, "/cron", /cron pattern/],
    ["@reboot", { cron: "@reboot" }, "/cron", /@reboot/],
    ["a day that no month has", { cron: "0 0 30 2 *" }, "/cron", /never comes/],
    ["a place on Mars", { cron: "0 0 * * *", timeZone: "Mars/Olympus" }, "/timeZone", /no time zone Mars/],
    ["a time zone for an interval", { everyMs: hour, timeZone: "UTC" }, "/timeZone", /goes with cron/],
    ["an end before the start", { everyMs: hour, startAt: 2e12, endAt: 1e12 }, "/endAt", /before startAt/],
    ["an end that is past", { everyMs: hour, endAt: 1000 }, "/endAt", /no run comes/],
  ];
  test.each(wrong)(
    "schedules - %s is refused with its field, and changes nothing",
    (_, more, pointer, detail) => {
      const world = worldAt("2026-01-05T10:00:00Z");
      const input = { name: "s", task, ...more };
      const problem = world.refused("schedule.put", input, "invalid-input");
      expect(problem.errors).toEqual([{ pointer, detail: expect.stringMatching(detail) }]);
      world.refused("schedule.get", { name: "s" }, "unknown-schedule");
      put(world);
      const before = stateText(world.core);
      world.refused("schedule.put", input, "invalid-input");
      expect(stateText(world.core)).toBe(before);
      const { task: _task, name: _name, ...timing } = input;
      // A preview tells that no runs are left by showing none.
      if (/no run comes/.test(detail.source)) return;
      expect(world.refused("schedule.preview", timing, "invalid-input").errors?.[0]?.pointer).toBe(pointer);
    },
  );

  test("schedules - a payload too deep or too large is refused when it is put, not when it runs", () => {
    const world = new World();
    let deep: unknown = 1;
    for (let i = 0; i <= limits.depthMax; i++) deep = [deep];
    const input = { name: "s", everyMs: hour };
    world.refused("schedule.put", { ...input, task: { type: "t", payload: deep } }, "payload-too-deep");
    const large = "x".repeat(limits.payloadBytesMax);
    world.refused("schedule.put", { ...input, task: { type: "t", payload: large } }, "payload-too-large");
  });

  test("schedules - saying the same again changes nothing, whenever it is said", () => {
    const world = new World();
    const first = put(world);
    const count = world.transactions.length;
    world.advance(20 * minute);
    expect(put(world)).toEqual(first);
    expect(world.transactions.length).toBe(count);
  });

  test("schedules - another task at the same time keeps the next run, what was counted, and a pause", () => {
    const world = new World();
    const first = put(world);
    world.advance(hour);
    world.ok("schedule.pause", { name: "s" });
    world.advance(10 * minute);
    const second = put(world, { task: { type: "other" } });
    expect(second).toMatchObject({
      nextAt: (first.nextAt as number) + hour,
      runsCount: 1,
      state: "paused",
      createdAt: first.createdAt,
    });
    expect(second.putRevision).toBeGreaterThan(first.putRevision);
    expect(put(world, { task: { type: "other" }, paused: false }).state).toBe("active");
  });

  test("schedules - another time counts from now and misses nothing of the past", () => {
    const world = new World();
    put(world);
    world.ok("schedule.pause", { name: "s" });
    world.advance(10 * hour);
    put(world, { everyMs: minute, paused: false });
    world.settle();
    expect(runsOf(world)).toEqual([]);
    expect(shown(world).nextAt).toBe(world.now + minute);
  });

  test("schedules - ifRevision lets through who has seen the last put; a run is no put", () => {
    const world = new World();
    world.refused("schedule.put", { name: "s", everyMs: hour, task, ifRevision: 7 }, "revision-conflict");
    const { putRevision } = put(world, { ifRevision: 0 });
    world.refused("schedule.put", { name: "s", everyMs: minute, task, ifRevision: 0 }, "revision-conflict");
    world.advance(hour);
    const next = put(world, { everyMs: minute, ifRevision: putRevision });
    world.refused("schedule.delete", { name: "s", ifRevision: putRevision }, "revision-conflict");
    world.ok("schedule.delete", { name: "s", ifRevision: next.putRevision });
    world.refused("schedule.delete", { name: "s" }, "unknown-schedule");
    for (const operation of ["schedule.pause", "schedule.resume", "schedule.run"] as const)
      world.refused(operation, { name: "s" }, "unknown-schedule");
  });

  test("schedules - memory that is used up refuses a new one, and a deleted one gives it back", () => {
    const world = new World({ memoryBytesMax: 5000 });
    put(world, { task: { type: "t", payload: "x".repeat(5000) } });
    world.refused("schedule.put", { name: "b", everyMs: hour, task }, "busy");
    world.ok("schedule.delete", { name: "s" });
    expect(world.core.limits.bytes).toBe(0);
    put(world);
  });
});

describe("schedules - when it runs", () => {
  test("schedules - an interval counts from the put, or on from startAt", () => {
    const world = worldAt("2026-01-05T10:00:00Z");
    put(world, { everyMs: 10 * minute });
    put(world, { name: "later", everyMs: hour, startAt: Date.parse("2026-01-05T12:30:00Z") });
    put(world, { name: "grid", everyMs: hour, startAt: Date.parse("2020-01-01T00:15:00Z") });
    expect(iso(shown(world).nextRuns.slice(0, 2))).toEqual([
      "2026-01-05T10:10:00.000Z",
      "2026-01-05T10:20:00.000Z",
    ]);
    expect(iso(shown(world, "later").nextRuns.slice(0, 2))).toEqual([
      "2026-01-05T12:30:00.000Z",
      "2026-01-05T13:30:00.000Z",
    ]);
    expect(iso(shown(world, "grid").nextRuns.slice(0, 1))).toEqual(["2026-01-05T10:15:00.000Z"]);
  });

  test("schedules - it runs at its moment and not before, once", () => {
    const world = new World();
    const { nextAt } = put(world);
    world.advance(hour - 1);
    expect(runsOf(world)).toEqual([]);
    world.advance(1);
    world.settle();
    expect(runsOf(world)).toEqual([nextAt as number]);
    expect(shown(world)).toMatchObject({ lastAt: nextAt, runsCount: 1, nextAt: (nextAt as number) + hour });
    const { lastTaskId } = shown(world);
    expect(world.task(lastTaskId as string)).toMatchObject({
      type: "t",
      state: "queued",
      createdAt: world.now,
    });
  });

  test("schedules - a run is one entry that holds the task and the new standing", () => {
    const world = new World();
    put(world);
    const count = world.transactions.length;
    world.advance(hour);
    const [entry, ...more] = world.transactions.slice(count);
    expect(more).toEqual([]);
    expect(entry?.changes.map(({ table, key }) => [table.name, key])).toEqual([
      ["tasks", `${entry?.revision}-0`],
      ["schedules", "s"],
    ]);
    expect(world.core.operation).toBe("schedule.fire");
  });

  test("schedules - the last run is at endAt, and then it is finished and says so", () => {
    const world = new World();
    const { nextAt } = put(world, { endAt: world.now + 2 * hour });
    expect(shown(world).nextRuns).toEqual([nextAt as number, (nextAt as number) + hour]);
    world.advance(hour);
    world.advance(hour);
    expect(runsOf(world).length).toBe(2);
    expect(shown(world)).toMatchObject({ state: "finished", nextAt: null, nextRuns: [] });
    for (const operation of ["schedule.pause", "schedule.resume"] as const)
      expect(world.ok(operation, { name: "s" }).state).toBe("finished");
    // A program that puts it at each start is told how it stands.
    expect(put(world, { endAt: (nextAt as number) + hour }).state).toBe("finished");
    world.advance(10 * hour);
    expect(runsOf(world).length).toBe(2);
  });

  test("schedules - jitter starts a run later by chance, never before its moment", () => {
    const world = new World();
    const { nextAt } = put(world, { jitterMs: 10 * minute, missed: "skip" });
    expect(nextAt).toBe(world.now + hour);
    world.advance(hour);
    expect(runsOf(world)).toEqual([]);
    // The world's chance is the middle.
    world.advance(5 * minute);
    expect(runsOf(world)).toEqual([nextAt as number]);
  });

  test("schedules - run now submits whatever time, pause and overlap say, and leaves the next run alone", () => {
    const world = new World();
    const { nextAt } = put(world, { overlap: "skip", paused: true });
    const first = world.ok("schedule.run", { name: "s" });
    const second = world.ok("schedule.run", { name: "s" });
    expect(first.taskId).not.toBe(second.taskId);
    expect(shown(world)).toMatchObject({
      nextAt,
      runsCount: 2,
      lastTaskId: second.taskId,
      lastAt: world.now,
    });
  });

  test("schedules - a thousand that are due at once run in parts, each as one entry of many", () => {
    const world = new World();
    for (let i = 0; i < 1000; i++) put(world, { name: `s${i}` });
    const count = world.transactions.length;
    world.now += hour;
    world.core.setTime(world.now, world.clock);
    let ticks = 0;
    while (world.core.nextDueMs() === 0) {
      world.core.tick();
      ticks++;
    }
    expect(ticks).toBeGreaterThan(1);
    expect(world.core.tasks.size).toBe(1000);
    expect(world.transactions.length - count).toBe(ticks);
    world.sound();
  });

  test("schedules - with no room for its task a run waits for room, and is not lost", () => {
    const world = new World({ queuedTasksMax: 1 });
    const taskId = world.submit({ type: "x" });
    put(world, { missed: "skip" });
    const count = world.transactions.length;
    world.advance(hour);
    world.advance(5 * second);
    expect(world.transactions.length).toBe(count);
    expect(world.core.nextDueMs()).toBe(second);
    world.ok("task.cancel", { taskId });
    world.advance(second);
    expect(runsOf(world).length).toBe(1);
  });
});

describe("schedules - a queue that is full", () => {
  test("schedules - what its backlog lets in starts, the rest once there is room, each once and in order", () => {
    const world = new World({ retentionMs: 24 * hour });
    world.ok("queue.configure", { queue: "q", backlog: { max: 2, policy: "refuse" } });
    const from = put(world, { missed: "all", task: { type: "t", queue: "q" } }).nextAt as number;
    const started = [0, 1, 2, 3].map((i) => from + i * hour);
    world.now += 4 * hour;
    world.settle();
    expect(runsOf(world)).toEqual(started.slice(0, 2));
    expect(shown(world)).toMatchObject({ runsCount: 2, nextAt: started[2] });
    world.refused("schedule.run", { name: "s" }, "backlog-full");
    const count = world.transactions.length;
    world.advance(2 * second);
    expect(world.transactions.length).toBe(count);
    for (let i = 2; i < 4; i++) {
      endLast(world);
      world.advance(second);
      expect(runsOf(world)).toEqual(started.slice(0, i + 1));
    }
    expect(shown(world)).toMatchObject({ runsCount: 4, nextAt: from + 4 * hour });
  });

  test("schedules - many missed runs into a queue that drops its oldest keep ids as they are", () => {
    const world = new World();
    for (let i = 0; i < 300; i++) world.submit({ type: "t", queue: "q" });
    world.ok("queue.configure", { queue: "q", backlog: { max: 1, policy: "drop-oldest" } });
    put(world, { missed: "all", task: { type: "t", queue: "q" } });
    world.now += 120 * hour;
    world.settle();
    // The last is in time, and the newest hundred of those that were missed stand before it.
    expect(shown(world)).toMatchObject({ runsCount: 101, lastTaskId: expect.stringMatching(/^[0-9]+-100$/) });
    expect(world.core.queues.counts.queued).toBe(1);
  });
});

describe("schedules - the time of day", () => {
  // Worked out by hand from the rules: Berlin goes from 02:00 to 03:00 on 29 March 2026 and from 03:00 back to 02:00
  // on 25 October 2026; New York from 02:00 to 03:00 on 8 March and from 02:00 back to 01:00 on 1 November 2026.
  const rows: [string, string, string, string, string[]][] = [
    [
      "a time in the gap runs at its end",
      "Europe/Berlin",
      "30 2 * * *",
      "2026-03-28T00:00:00Z",
      ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"],
    ],
    [
      "a time that comes twice runs the first time",
      "Europe/Berlin",
      "30 2 * * *",
      "2026-10-24T00:00:00Z",
      ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"],
    ],
    [
      "each hour runs each hour through the gap",
      "Europe/Berlin",
      "0 * * * *",
      "2026-03-28T23:30:00Z",
      ["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00"],
    ],
    [
      "each hour runs in both of the hours that are one",
      "Europe/Berlin",
      "0 * * * *",
      "2026-10-24T23:30:00Z",
      ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"],
    ],
    [
      "one of several times in the gap is left out",
      "Europe/Berlin",
      "0 1,2,3 * * *",
      "2026-03-28T23:30:00Z",
      ["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T23:00"],
    ],
    [
      "a time in the gap runs at its end",
      "America/New_York",
      "30 2 * * *",
      "2026-03-07T00:00:00Z",
      ["2026-03-07T07:30", "2026-03-08T07:00", "2026-03-09T06:30"],
    ],
    [
      "a time that comes twice runs the first time",
      "America/New_York",
      "30 1 * * *",
      "2026-10-31T00:00:00Z",
      ["2026-10-31T05:30", "2026-11-01T05:30", "2026-11-02T06:30"],
    ],
    [
      "each half hour runs in both of the hours that are one",
      "America/New_York",
      "*/30 1 * * *",
      "2026-11-01T04:00:00Z",
      ["2026-11-01T05:00", "2026-11-01T05:30", "2026-11-01T06:00", "2026-11-01T06:30", "2026-11-02T06:00"],
    ],
    [
      "seconds come first where there are six fields",
      "UTC",
      "15,45 59 23 31 12 *",
      "2026-12-31T23:59:20Z",
      ["2026-12-31T23:59:45", "2027-12-31T23:59:15"],
    ],
    [
      "the 29th of February waits for its year",
      "UTC",
      "0 0 29 2 *",
      "2026-01-01T00:00:00Z",
      ["2028-02-29T00:00"],
    ],
    [
      "a day of the month and one of the week are either",
      "UTC",
      "0 0 13 * FRI",
      "2026-02-07T00:00:00Z",
      ["2026-02-13T00:00", "2026-02-20T00:00", "2026-02-27T00:00", "2026-03-06T00:00", "2026-03-13T00:00"],
    ],
    ["@daily is midnight there", "America/New_York", "@daily", "2026-07-01T12:00:00Z", ["2026-07-02T04:00"]],
  ];
  test.each(rows)("schedules - %s (%s, %s)", (_, timeZone, cron, from, expected) => {
    const world = worldAt(from);
    const wanted = expected.map((at) => Date.parse(at.length === 16 ? `${at}:00Z` : `${at}Z`));
    const count = wanted.length;
    expect(iso(world.ok("schedule.preview", { cron, timeZone, count }).nextRuns)).toEqual(iso(wanted));
    put(world, { cron, timeZone, missed: "all" });
    for (const at of wanted) {
      world.advance(at - 1 - world.now);
      world.advance(1);
    }
    expect(iso(runsOf(world))).toEqual(iso(wanted));
    // The same runs, found backwards after a time in which nobody looked.
    const late = worldAt(from);
    put(late, { cron, timeZone, missed: "all" });
    late.advance((wanted.at(-1) as number) - late.now);
    expect(iso(runsOf(late))).toEqual(iso(wanted));
  });

  test("schedules - a preview shows the runs after any moment, and none after the end", () => {
    const world = worldAt("2026-01-05T10:00:00Z");
    const from = Date.parse("2030-01-01T00:00:00Z");
    const { nextRuns } = world.ok("schedule.preview", {
      cron: "@yearly",
      from,
      endAt: from + 800 * 24 * hour,
    });
    expect(iso(nextRuns)).toEqual(["2031-01-01T00:00:00.000Z", "2032-01-01T00:00:00.000Z"]);
    expect(world.ok("schedule.preview", { everyMs: hour, endAt: 1000 }).nextRuns).toEqual([]);
    expect(world.core.schedules.size).toBe(0);
  });
});

describe("schedules - missed runs", () => {
  const rows: ["skip" | "once" | "all", number, number[]][] = [
    ["skip", 5 * hour + 30 * minute, []],
    ["once", 5 * hour + 30 * minute, [5]],
    ["all", 5 * hour + 30 * minute, [3, 4, 5]],
    // The fifth is ten seconds late: in time, and once for those before it too.
    ["skip", 5 * hour + 10 * second, [5]],
    ["once", 5 * hour + 10 * second, [5]],
    ["all", 5 * hour + 10 * second, [2, 3, 4, 5]],
  ];
  const causes: [string, (world: World, texts: string[], ms: number) => World][] = [
    ["the daemon was down", (world, texts, ms) => restarted(world, texts, ms)],
    [
      "it was paused",
      (world, _, ms) => {
        world.ok("schedule.pause", { name: "s" });
        world.advance(ms);
        expect(runsOf(world)).toEqual([]);
        world.ok("schedule.resume", { name: "s" });
        return world;
      },
    ],
    [
      "the clock was set forward",
      (world, _, ms) => {
        world.now += ms;
        return world;
      },
    ],
  ];
  for (const [cause, lose] of causes)
    test.each(rows)(`schedules - ${cause}: %s, after %d ms`, (missed, ms, hours) => {
      const world = new World();
      const texts = entriesOf(world);
      const from = world.now;
      put(world, { missed, missedMax: 3 });
      const after = lose(world, texts, ms);
      after.settle();
      expect(runsOf(after).map((at) => (at - from) / hour)).toEqual(hours);
      // What was missed stays missed.
      after.advance(minute);
      expect(runsOf(after).length).toBe(hours.length);
      expect(shown(after).nextAt).toBe(from + 6 * hour);
    });

  test("schedules - a clock that is set back runs nothing twice", () => {
    const world = new World();
    put(world);
    world.advance(hour);
    world.now -= 2 * hour;
    world.settle();
    world.advance(hour - 1);
    expect(runsOf(world).length).toBe(1);
  });

  test("schedules - a year of seconds that were missed costs no more than its newest hundred", () => {
    const world = new World();
    const texts = entriesOf(world);
    put(world, { cron: "* * * * * *", missed: "all" });
    const after = restarted(world, texts, 365 * 24 * hour);
    after.settle();
    const runs = runsOf(after);
    // A hundred that were missed, and the eleven of the last ten seconds.
    expect(runs.length).toBe(111);
    expect(runs).toEqual(Array.from({ length: 111 }, (_, i) => after.now - (110 - i) * second));
  });
});

describe("schedules - runs that overlap", () => {
  test("schedules - allow: starts beside the last one", () => {
    const world = new World();
    put(world, { overlap: "allow" });
    for (let i = 0; i < 3; i++) world.advance(hour);
    expect(runsOf(world).length).toBe(3);
  });

  test("schedules - skip: does not start while the last one's task has not ended", () => {
    const world = new World({ retentionMs: 24 * hour });
    const { nextAt } = put(world, { overlap: "skip" });
    for (let i = 0; i < 3; i++) world.advance(hour);
    expect(runsOf(world)).toEqual([nextAt as number]);
    expect(shown(world)).toMatchObject({ runsCount: 1, skippedCount: 2, lastAt: nextAt });
    endLast(world);
    world.advance(hour);
    expect(runsOf(world).length).toBe(2);
  });

  test("schedules - wait: one waits and starts when the last one's task has ended, however late", () => {
    const world = new World();
    const from = put(world, { overlap: "wait", missed: "skip" }).nextAt as number;
    for (let i = 0; i < 4; i++) world.advance(hour);
    expect(shown(world)).toMatchObject({ waitingAt: from + hour, runsCount: 1, skippedCount: 2 });
    endLast(world);
    expect(world.core.nextDueMs()).toBe(0);
    world.settle();
    expect(runsOf(world)).toEqual([from, from + hour]);
    expect(shown(world).waitingAt).toBe(null);
  });

  test("schedules - wait: what waits outlives a restart and a pause, and a task that was forgotten has ended", () => {
    const world = new World({ retentionCount: 0 });
    const texts = entriesOf(world);
    const from = put(world, { overlap: "wait", endAt: world.now + 2 * hour }).nextAt as number;
    world.advance(hour);
    world.advance(hour);
    expect(shown(world)).toMatchObject({ state: "active", nextAt: null, waitingAt: from + hour });
    world.ok("schedule.pause", { name: "s" });
    endLast(world);
    world.settle();
    const after = restarted(world, texts, 0);
    after.settle();
    expect(shown(after)).toMatchObject({ state: "paused", waitingAt: from + hour });
    after.ok("schedule.resume", { name: "s" });
    after.settle();
    expect(runsOf(after)).toEqual([from + hour]);
    expect(shown(after).state).toBe("finished");
  });

  test("schedules - a put that lets runs overlap lets go what waits", () => {
    const world = new World();
    put(world, { overlap: "wait" });
    world.advance(hour);
    world.advance(hour);
    put(world, { overlap: "allow" });
    world.settle();
    expect(runsOf(world).length).toBe(2);
  });
});

describe("schedules - lists", () => {
  test("schedules - pages come by name, of one state, while schedules come and go", () => {
    const world = new World();
    for (const name of ["d", "b", "e", "a", "c"]) put(world, { name, paused: name === "b" });
    const first = world.ok("schedule.list", { limit: 2 });
    expect(first.schedules.map(({ name }) => name)).toEqual(["a", "b"]);
    world.ok("schedule.delete", { name: "b" });
    put(world, { name: "bb" });
    const second = world.ok("schedule.list", { limit: 2, cursor: first.cursor as string });
    expect(second.schedules.map(({ name }) => name)).toEqual(["bb", "c"]);
    const last = world.ok("schedule.list", { cursor: second.cursor as string });
    expect(last).toMatchObject({ schedules: [{ name: "d" }, { name: "e" }], cursor: null });
    put(world, { name: "c", paused: true });
    expect(world.ok("schedule.list", { state: "paused" }).schedules.map(({ name }) => name)).toEqual(["c"]);
  });
});

// --- against a plain model --------------------------------------------------------------------------------

type Step = { kind: "wait" | "down" | "jump"; ms: number } | { kind: "pause" | "resume" | "end" | "again" };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(40 * second) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("down" as const), ms: fc.nat(3 * minute) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("jump" as const), ms: fc.nat(3 * minute) }) },
  fc.record({ kind: fc.constantFrom("pause" as const, "resume" as const, "end" as const, "again" as const) }),
);

const definition = fc.record({
  time: fc.constantFrom({ everyMs: 7 * second }, { everyMs: 20 * second }, { cron: "*/15 * * * * *" }),
  missed: fc.constantFrom("skip" as const, "once" as const, "all" as const),
  missedMax: fc.integer({ min: 1, max: 4 }),
  overlap: fc.constantFrom("allow" as const, "skip" as const, "wait" as const),
});

test("schedules - any life of one is what the promises say, run by run, through restarts", () => {
  fc.assert(
    fc.property(definition, fc.array(step, { maxLength: 40 }), ({ time, ...policies }, steps) => {
      let world = new World();
      const texts = entriesOf(world);
      const start = world.now;
      const input: SchedulePut = { name: "s", task, ...time, ...policies };
      world.ok("schedule.put", input);
      world.settle();

      // The model: every moment there will be, each decided at most once, in order.
      const moments: number[] = [];
      const every = time.everyMs ?? 15 * second;
      const first = time.everyMs === undefined ? Math.ceil((start + 1) / every) * every : start + every;
      for (let at = first; at < start + 4 * hour; at += every) moments.push(at);
      const started: number[] = [];
      let undecided = 0;
      let paused = false;
      let busy = false;
      let waiting = 0;
      const begin = (at: number) => {
        if (policies.overlap === "allow" || !busy) {
          started.push(at);
          busy = true;
        } else if (policies.overlap === "wait" && waiting === 0) waiting = at;
      };
      const decide = (now: number) => {
        if (paused) return;
        if (waiting > 0 && !busy) {
          const at = waiting;
          waiting = 0;
          begin(at);
        }
        const due = moments.slice(undecided).filter((at) => at <= now);
        undecided += due.length;
        const inTime = due.filter((at) => now - at <= 10 * second);
        const missed = due.filter((at) => now - at > 10 * second);
        const kept = { skip: 0, once: inTime.length > 0 ? 0 : 1, all: policies.missedMax }[policies.missed];
        for (const at of [...missed.slice(Math.max(0, missed.length - kept)), ...inTime]) begin(at);
      };

      for (const one of steps) {
        if (one.kind === "wait") world.advance(one.ms);
        else if (one.kind === "jump") {
          world.now += one.ms;
          world.settle();
        } else if (one.kind === "down") {
          world = restarted(world, texts, one.ms);
          world.store.onCommit(({ revision, changes }) =>
            texts.push(encodeEntry({ revision, at: 0, clock: 0, operation: "x", who: "x" }, changes)),
          );
          world.settle();
        } else if (one.kind === "pause" || one.kind === "resume") {
          paused = one.kind === "pause";
          world.ok(`schedule.${one.kind}`, { name: "s" });
          world.settle();
        } else if (one.kind === "end") {
          busy = false;
          const { lastTaskId } = shown(world);
          if (lastTaskId !== null) world.run("task.cancel", { taskId: lastTaskId });
          world.settle();
        } else world.ok("schedule.put", input);
        decide(world.now);
        expect(runsOf(world)).toEqual(started);
        expect(shown(world)).toMatchObject({
          runsCount: started.length,
          waitingAt: waiting || null,
          nextAt: moments[undecided],
          state: paused ? "paused" : "active",
        });
      }
      const again = restarted(world, texts, 0);
      expect(stateText(again.core)).toBe(stateText(world.core));
      expect(check(again.core)).toEqual([]);
    }),
    { numRuns: 200 },
  );
});

test("schedules - an undone entry is as if it had never been, what is due included", () => {
  const world = new World();
  put(world, { overlap: "wait" });
  world.advance(hour);
  const steps: (() => void)[] = [
    () => world.advance(hour),
    () => endLast(world),
    () => world.settle(),
    () => void world.ok("schedule.pause", { name: "s" }),
    () => void put(world, { everyMs: minute }),
    () => void world.ok("schedule.run", { name: "s" }),
    () => void world.ok("schedule.delete", { name: "s" }),
    () => void put(world, { name: "new" }),
  ];
  for (const one of steps) {
    const before = stateText(world.core);
    const due = world.core.agenda.nextAt;
    const count = world.transactions.length;
    one();
    const made = world.transactions.slice(count);
    expect(made.length).toBeGreaterThan(0);
    for (const transaction of made.reverse()) world.store.undo(transaction);
    expect(stateText(world.core)).toBe(before);
    expect(check(world.core)).toEqual([]);
    expect(world.core.agenda.nextAt).toBe(due);
    one();
  }
});
