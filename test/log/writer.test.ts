import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  decodeImage,
  encodeBatch,
  encodeImage,
  encodeMark,
  firstHash,
  newestMark,
} from "../../src/log/format.ts";
import { type Batch, LogError } from "../../src/log/log.ts";
import { inspect } from "../../src/log/recover.ts";
import { LogWriter, type WriterOptions } from "../../src/log/writer.ts";
import { Crash, FakeDisk } from "./disk.ts";
import {
  applyText,
  archiveOf,
  entryText,
  type ModelEntry,
  put,
  Rebuilt,
  type State,
  sorted,
  stateAt,
  told,
} from "./model.ts";

/** Small bounds, so that folds, windows and history turn over within a few steps. */
const small: Partial<WriterOptions> = {
  markIntervalMs: 100,
  syncIntervalMs: 100,
  snapshotIntervalMs: 300,
  stepBytes: 1,
  idleFoldBytes: 0,
  tailChangesMax: 20,
  historyBytesMax: 1500,
  historyMs: 60_000,
};

type Step =
  | {
      kind: "append";
      entries: { gap: number; changes: [number, boolean][]; archived: boolean }[];
      ageMs: number;
    }
  | { kind: "tick"; ms: number }
  | { kind: "reserve"; by: number }
  | { kind: "crash"; kept: number; torn: boolean }
  | { kind: "crashIn"; calls: number; after: 0 | 1; kept: number; torn: boolean }
  | { kind: "recoverTo"; back: number }
  | { kind: "stop" };

const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      entries: fc.array(
        fc.record({
          gap: fc.integer({ min: 1, max: 3 }),
          changes: fc.array(fc.tuple(fc.integer({ min: 0, max: 11 }), fc.boolean()), { maxLength: 6 }),
          archived: fc.boolean(),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      ageMs: fc.constantFrom(0, 1, 20_000),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({ kind: fc.constant("tick" as const), ms: fc.constantFrom(1, 60, 150) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("reserve" as const), by: fc.integer({ min: 1, max: 50 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("crash" as const), kept: fc.nat(6), torn: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("crashIn" as const),
      calls: fc.nat(8),
      after: fc.constantFrom(0 as const, 1 as const),
      kept: fc.nat(6),
      torn: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("recoverTo" as const), back: fc.nat(12) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("stop" as const) }) },
);

/** Runs a story against the writer and a plain list of entries, holding one against the other at every start. */
class World {
  readonly disk = new FakeDisk();
  writer!: LogWriter;
  entries: ModelEntry[] = [];
  /** The highest revision that was acknowledged. */
  acknowledged = 0;
  /** The last revision that must be there whatever happens. */
  safe = 0;
  last = 0;
  next = 1;
  reserved = 0;
  ceilingAtStart = 0;
  now = 0;
  at = 1_000_000;
  starts = 0;

  constructor(readonly options: Partial<WriterOptions>) {}

  async start(recoverTo?: number): Promise<void> {
    this.starts++;
    this.writer = new LogWriter(this.disk, { ...this.options, recoverTo });
    const rebuilt = new Rebuilt();
    const found = await this.writer.open(rebuilt);
    expect(found.revision).toBeGreaterThanOrEqual(this.safe);
    // No revision that may have left is used again, whether its entry lasted or not.
    expect(found.ceiling).toBeGreaterThanOrEqual(Math.max(found.revision, this.reserved, this.acknowledged));
    expect(sorted(rebuilt.state)).toEqual(sorted(stateAt(this.entries, found.revision)));
    this.entries = this.entries.filter(({ revision }) => revision <= found.revision);
    expect(found.revision).toBe(this.entries.at(-1)?.revision ?? 0);
    this.last = found.revision;
    this.safe = found.revision;
    this.next = found.ceiling + 1;
    this.reserved = found.ceiling;
    this.ceilingAtStart = found.ceiling;
  }

  async crash(kept: number, torn: boolean): Promise<void> {
    this.disk.crash(Math.min(kept, this.disk.unsyncedCount), torn);
    await this.start();
  }

  async run(step: Step): Promise<void> {
    switch (step.kind) {
      case "append": {
        const added: ModelEntry[] = [];
        this.at += step.ageMs;
        for (const { gap, changes, archived } of step.entries) {
          const revision = this.next + gap - 1;
          this.next = revision + 1;
          const lines = changes.map(([key, puts]): [string, string | null] => [
            `${key % 2 === 0 ? "runs" : "tasks"}\t${key}`,
            puts ? `${key}@${revision} with\ttabs and ünïcode` : null,
          ]);
          if (archived)
            lines.push(told({ id: String(revision), at: this.at, tags: ["a"], text: `${revision}\tü` }));
          added.push({ revision, text: entryText(revision, this.at, lines) });
        }
        const batch: Batch = {
          first: added[0]!.revision,
          last: added.at(-1)!.revision,
          text: added.map(({ text }) => text).join(""),
        };
        if (batch.last > this.reserved) {
          await this.writer.reserve(batch.last + 5);
          this.reserved = batch.last + 5;
        }
        // Whether it lasts is known at the next start; a crash may keep it or not.
        this.entries.push(...added);
        const appended = await this.writer.append(batch, this.last);
        expect(appended).toEqual({ kind: "durable" });
        this.last = batch.last;
        this.acknowledged = batch.last;
        if (this.options.mode === "always") this.safe = batch.last;
        break;
      }
      case "tick":
        this.now += step.ms;
        await this.writer.tick(this.now);
        break;
      case "reserve":
        await this.writer.reserve(this.next + step.by);
        this.reserved = Math.max(this.reserved, this.next + step.by);
        break;
      case "crash":
        return this.crash(step.kept, step.torn);
      case "recoverTo":
        return this.recoverTo(step.back);
      case "crashIn":
        this.disk.crashAt = this.disk.callCount + step.calls;
        this.disk.crashAfter = step.after;
        break;
      case "stop": {
        // From here on what was reserved and not used may be released.
        this.reserved = 0;
        const released = Math.max(this.ceilingAtStart, this.last);
        await this.writer.stop();
        if (this.disk.callCount > this.disk.crashAt) throw new Crash("while stopping");
        this.safe = this.last;
        expect(newestMark(this.disk.mark)).toMatchObject({ revision: this.last, ceiling: released });
        // Nothing was left unsynced.
        this.disk.crash(0, false);
        await this.start();
        break;
      }
    }
    this.safe = Math.max(this.safe, this.writer.status().syncedRevision);
  }

  /** Kills the process, and starts again from an earlier revision if what is kept reaches back to it. */
  async recoverTo(back: number): Promise<void> {
    await this.crash(this.disk.unsyncedCount, false);
    const revision = this.entries.at(-1 - back)?.revision ?? 0;
    this.disk.crash(this.disk.unsyncedCount, false);
    if (revision < Math.min(...this.disk.now.images.keys())) {
      const writer = new LogWriter(this.disk, { ...this.options, recoverTo: revision });
      const error = await writer.open(new Rebuilt()).catch((error: LogError) => error);
      expect(error).toMatchObject({ code: "data-folder-damaged" });
      return this.start();
    }
    this.safe = revision;
    await this.start(revision);
    expect(this.last).toBe(revision);
  }

  async tell(steps: readonly Step[]): Promise<void> {
    await this.start();
    let onCrash = { kept: 0, torn: false };
    for (const step of steps) {
      if (step.kind === "crashIn") onCrash = step;
      try {
        await this.run(step);
      } catch (error) {
        if (this.disk.callCount <= this.disk.crashAt) throw error;
        // A call to the disk crashed; what was underway may be there or not.
        await this.crash(onCrash.kept, onCrash.torn);
      }
      this.checkImages();
    }
    this.disk.crashAt = Number.POSITIVE_INFINITY;
    await this.writer.settle();
    this.checkArchive(this.last);
  }

  /** What entries up to there told of the archive is in it. */
  checkArchive(upto: number): void {
    const { archive } = this.disk.now;
    for (const [id, text] of archiveOf(this.entries.filter(({ revision }) => revision <= upto)))
      expect(archive.get(id)?.text).toBe(text);
  }

  /** Every image is the state at its revision, and the entries above the oldest give that at each of the history. */
  checkImages(): void {
    const uptos = [...this.disk.now.images.keys()].sort((a, b) => a - b);
    for (const upto of uptos)
      expect(sorted(imageState(this.disk, upto))).toEqual(sorted(stateAt(this.entries, upto)));
    // The next start reads no entry that an image covers.
    this.checkArchive(uptos.at(-1) ?? 0);
    const [base] = uptos;
    if (base === undefined) return;
    const state = imageState(this.disk, base);
    for (const row of [...this.disk.now.log.values()].sort((a, b) => a.first - b.first)) {
      // Those before it are dropped a few at a time.
      if (row.first <= base) continue;
      applyText(state, row.text);
      expect(sorted(state)).toEqual(sorted(stateAt(this.entries, row.last)));
    }
  }
}

/** What an image's pieces put together say, each of them in order. */
function imageState(disk: FakeDisk, upto: number): State {
  const state: State = new Map();
  const ids: string[] = [];
  for (const { id } of decodeImage(disk.now.images.get(upto)!)!.pieces) {
    const text = Buffer.from(disk.now.pieces.get(id)!).toString("utf8");
    applyText(state, text);
    for (const line of text.split("\n").slice(0, -1)) ids.push(line.split("\t", 2).join("\t"));
  }
  const inOrder = ids.map((id) => Buffer.from(`${id}\t`));
  for (let i = 1; i < inOrder.length; i++) expect(Buffer.compare(inOrder[i - 1]!, inOrder[i]!)).toBe(-1);
  return state;
}

const newestOf = (disk: FakeDisk) => Math.max(...disk.now.images.keys());

const runs = { numRuns: 250 };

describe("fold and recovery against a plain model, crashing anywhere", () => {
  for (const mode of ["always", "interval", "snapshot"] as const) {
    test(`log - ${mode}: what was promised is there after every crash, and the state is exact`, async () => {
      let starts = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(stepArbitrary, { maxLength: 80, size: "max" }), async (steps) => {
          const world = new World({ ...small, mode });
          await world.tell(steps);
          starts += world.starts;
        }),
        runs,
      );
      // The stories do crash: otherwise this test proves nothing.
      expect(starts).toBeGreaterThan(3 * runs.numRuns);
    }, 60_000);
  }

  test("log - a folder changes its strategy from start to start and keeps its state", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.constantFrom("always" as const, "interval" as const, "snapshot" as const),
            fc.array(stepArbitrary, { maxLength: 12 }),
          ),
          { maxLength: 6 },
        ),
        async (chapters) => {
          const world = new World({ ...small });
          for (const [mode, steps] of chapters) {
            Object.assign(world.options, { mode });
            await world.tell(steps);
            world.disk.crash(0, true);
          }
          await world.start();
        },
      ),
      { numRuns: 100 },
    );
  }, 60_000);
});

async function opened(disk: FakeDisk, options: Partial<WriterOptions> = {}) {
  const writer = new LogWriter(disk, { ...small, ...options });
  const rebuilt = new Rebuilt();
  const found = await writer.open(rebuilt);
  return { writer, rebuilt, found };
}

async function settle(writer: LogWriter, from: number): Promise<void> {
  let now = from;
  for (let i = 0; i < 5; i++) {
    now += 200;
    while (await writer.tick(now));
  }
}

describe("folding", () => {
  test("fold - when nothing is appended any more, everything is folded", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    for (let i = 1; i <= 300; i++) await writer.append(put(i, String(i % 50), `v${i}`), i - 1);
    await settle(writer, 0);
    expect(writer.status().foldedTo).toBe(300);
    expect(imageState(disk, 300).size).toBe(50);
    disk.crash(disk.unsyncedCount, false);
    const { rebuilt } = await opened(disk);
    expect(rebuilt.entries).toEqual([]);
    expect(rebuilt.state.get("tasks\t0")).toBe("v300");
  });

  test("fold - an append is followed by work in proportion to it, and the tail stays bounded", async () => {
    const disk = new FakeDisk();
    const tailChangesMax = 1500;
    const { writer } = await opened(disk, { tailChangesMax, historyBytesMax: 1e9, stepBytes: 64 * 1024 });
    let revision = 0;
    let worst = 0;
    for (let i = 0; i < 300; i++) {
      const first = revision + 1;
      let text = "";
      for (let j = 0; j < 50; j++) {
        revision++;
        text += entryText(revision, 1, [[`tasks\t${100_000 + revision}`, "x".repeat(100)]]);
      }
      await writer.append({ first, last: revision, text }, first - 1);
      await writer.work();
      // Busy: a tick now and then, and never an idle one.
      if (i % 3 === 0) await writer.tick(i * 10);
      worst = Math.max(worst, revision - writer.status().foldedTo);
    }
    expect(writer.status().foldedTo).toBeGreaterThan(revision / 2);
    // The mark trails by ten appends, a generation waits and another is being written.
    expect(worst).toBeLessThan(3 * tailChangesMax);
    // A step stops at its budget and one piece over it.
    expect(disk.pieceBytesMax).toBeLessThan(4 * 64 * 1024);
    // What comes in the order of its keys is written once, but for the piece at the end, as large as a generation here.
    expect(disk.pieceBytes).toBeLessThan(3 * revision * 120);
  });

  test("fold - what a generation does not touch is shared with the image before", async () => {
    const disk = new FakeDisk();
    const options = { tailChangesMax: 1e9, historyBytesMax: 1e9, stepBytes: 1e6, idleFoldBytes: 0 };
    const { writer } = await opened(disk, options);
    const many = Array.from({ length: 10_000 }, (_, i): [string, string] => [
      `tasks\t${10_000 + i}`,
      "y".repeat(50),
    ]);
    await writer.append({ first: 1, last: 1, text: entryText(1, 1, many) }, 0);
    await settle(writer, 0);
    const before = disk.pieceBytes;
    expect(before).toBeGreaterThan(500_000);
    await writer.append(put(2, "15000", "changed"), 1);
    await settle(writer, 10_000);
    expect(writer.status().foldedTo).toBe(2);
    expect(disk.pieceBytes - before).toBeLessThan(100_000);
    expect(imageState(disk, 2).get("tasks\t15000")).toBe("changed");
    expect(imageState(disk, 2).size).toBe(10_000);
    // Deleted, its neighbours are put together, and what no image names is gone.
    const last = many.map(([id]): [string, null] => [id, null]).slice(0, -5);
    await writer.append({ first: 3, last: 3, text: entryText(3, 1, last) }, 2);
    await settle(writer, 20_000);
    expect(decodeImage(disk.now.images.get(3)!)!.pieces.length).toBe(1);
    const named = [...disk.now.images.values()].flatMap((text) =>
      decodeImage(text)!.pieces.map(({ id }) => id),
    );
    expect([...disk.now.pieces.keys()].sort()).toEqual([...new Set(named)].sort());
  });

  test("fold - history beyond its bytes moves into the base and its log rows go", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk, { historyBytesMax: 2000 });
    for (let i = 1; i <= 400; i++) {
      await writer.append(put(i, String(i % 20), `v${i}`), i - 1);
      await writer.tick(i * 40);
    }
    await settle(writer, 20_000);
    const { oldestRevision, logBytes } = writer.status();
    expect(logBytes).toBeLessThanOrEqual(2000);
    expect(logBytes).toBeGreaterThan(1000);
    expect(logBytes).toBe([...disk.now.log.values()].reduce((sum, row) => sum + row.text.length, 0));
    expect(Math.min(...disk.now.log.keys())).toBe(oldestRevision + 1);
    expect(imageState(disk, oldestRevision).get("tasks\t1")).toBe(
      `v${oldestRevision - ((oldestRevision - 1) % 20)}`,
    );
  });

  test("fold - history older than its age moves into the base", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk, { historyBytesMax: 1e9, historyMs: 1000 });
    for (let i = 1; i <= 100; i++) {
      const text = entryText(i, i * 100, [["tasks\tk", `v${i}`]]);
      await writer.append({ first: i, last: i, text }, i - 1);
      await settle(writer, i * 2000);
    }
    expect(writer.status().oldestRevision).toBeGreaterThanOrEqual(88);
    expect(writer.status().oldestRevision).toBeLessThan(92);
  });
});

describe("what an append promises", () => {
  test("log - always: an append is one synced commit", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    const { syncCount } = writer.status();
    const { commitCount } = disk;
    await writer.append(put(1, "a", "1"), 0);
    expect(disk.unsyncedCount).toBe(0);
    expect(disk.commitCount).toBe(commitCount + 1);
    expect(writer.status()).toMatchObject({ syncCount: syncCount + 1, syncedRevision: 1, batchCount: 1 });
  });

  test("log - interval: appends are written, and synced when the interval is over", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk, { mode: "interval", syncIntervalMs: 1000 });
    for (let i = 1; i <= 10; i++) await writer.append(put(i, "a", "1"), i - 1);
    await writer.tick(500);
    expect(writer.status().syncedRevision).toBe(0);
    expect(disk.unsyncedCount).toBe(10);
    await writer.tick(1000);
    expect(writer.status().syncedRevision).toBe(10);
    expect(disk.unsyncedCount).toBe(0);
  });

  test("log - snapshot: at the interval the image is written and synced, and no entry", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk, { mode: "snapshot", snapshotIntervalMs: 1000 });
    const { commitCount } = disk;
    for (let i = 1; i <= 10; i++) await writer.append(put(i, String(i), "1"), i - 1);
    await writer.tick(999);
    expect(disk.commitCount).toBe(commitCount);
    while (await writer.tick(1000));
    disk.crash(0, false);
    expect(disk.now.log.size).toBe(0);
    expect([...disk.now.images.keys()]).toEqual([10]);
    expect(imageState(disk, 10).size).toBe(10);
    expect(writer.status()).toMatchObject({ strategy: "snapshot", syncedRevision: 10, foldedTo: 10 });
  });

  test("mark - it follows what is synced about once a second, and never runs ahead", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk, { mode: "interval", syncIntervalMs: 1000, markIntervalMs: 1000 });
    await writer.append(put(1, "a", "1"), 0);
    await writer.tick(1000);
    expect(newestMark(disk.mark)?.revision).toBe(1);
    await writer.append(put(2, "a", "2"), 1);
    await writer.tick(1999);
    expect(newestMark(disk.mark)?.revision).toBe(1);
    await writer.tick(2000);
    expect(newestMark(disk.mark)?.revision).toBe(2);
  });

  test("log - an append whose `after` is not the last revision is fenced and leaves no trace", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    await writer.append(put(5, "a", "1"), 0);
    const { commitCount } = disk;
    expect(await writer.append(put(6, "a", "2"), 4)).toEqual({ kind: "fenced", last: 5 });
    expect(await writer.append(put(6, "a", "2"), 6)).toEqual({ kind: "fenced", last: 5 });
    expect(disk.commitCount).toBe(commitCount);
    expect(await writer.append(put(6, "a", "2"), 5)).toEqual({ kind: "durable" });
  });

  test("ceiling - a reservation is in both slots before it resolves, and a clean stop releases it", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    await writer.reserve(1_000_000);
    expect(disk.mark.map((slot) => newestMark([slot])?.ceiling)).toEqual([1_000_000, 1_000_000]);
    await writer.append(put(7, "a", "1"), 0);
    const crashed = new FakeDisk();
    Object.assign(crashed, { mark: [...disk.mark], now: disk.now });
    expect((await opened(crashed)).found).toMatchObject({ revision: 7, ceiling: 1_000_000 });
    await writer.stop();
    await writer.stop();
    expect((await opened(disk)).found).toMatchObject({ revision: 7, ceiling: 7, at: 1, clock: 14 });
  });
});

describe("a disk that is full or fails", () => {
  for (const mode of ["always", "interval", "snapshot"] as const) {
    test(`log - ${mode}: full refuses appends until a probe succeeds, and nothing is lost`, async () => {
      const disk = new FakeDisk();
      const { writer } = await opened(disk, { mode, snapshotIntervalMs: 100 });
      await writer.append(put(1, "a", "1"), 0);
      disk.isFull = true;
      if (mode === "snapshot") while (await writer.tick(1000));
      expect(await writer.append(put(2, "a", "2"), 1)).toEqual({ kind: "full" });
      expect(await writer.probe()).toBe(false);
      disk.isFull = false;
      // Room alone does not open it: the engine undoes first, and then probes.
      expect(await writer.append(put(2, "a", "2"), 1)).toEqual({ kind: "full" });
      expect(await writer.probe()).toBe(true);
      expect(await writer.append(put(3, "b", "3"), 1)).toEqual({ kind: "durable" });
      await writer.stop();
      const { rebuilt, found } = await opened(disk, { mode });
      expect(found.revision).toBe(3);
      expect(sorted(rebuilt.state)).toEqual([
        ["tasks\ta", "1"],
        ["tasks\tb", "3"],
      ]);
    });
  }

  test("ceiling - a stop after a full disk releases nothing: revisions that were undone may have been told", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    await writer.reserve(1_000_000);
    await writer.append(put(1, "a", "1"), 0);
    disk.isFull = true;
    expect(await writer.append(put(2, "a", "2"), 1)).toEqual({ kind: "full" });
    disk.isFull = false;
    expect(await writer.probe()).toBe(true);
    await writer.stop();
    expect((await opened(disk)).found).toMatchObject({ revision: 1, ceiling: 1_000_000 });
  });

  test("log - on a full disk it keeps what a journal holds, and writes it once there is room", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    await writer.append(put(1, "a", "1"), 0);
    const second = encodeBatch(writer.hash, put(2, "a", "2"));
    const third = encodeBatch(second.hash, put(3, "b", "3"));
    disk.isFull = true;
    await writer.takeJournaled([second]);
    // Who gave it has its memory again.
    second.bytes.fill(0);
    expect(writer.isFull).toBe(true);
    await writer.takeJournaled([third]);
    third.bytes.fill(0);
    expect(await writer.append(put(4, "c", "4"), 3)).toEqual({ kind: "full" });
    expect(await writer.probe()).toBe(false);
    expect([...disk.now.log.keys()]).toEqual([1]);
    disk.isFull = false;
    expect(await writer.probe()).toBe(true);
    expect(writer.status().syncedRevision).toBe(3);
    expect(await writer.append(put(4, "c", "4"), 3)).toEqual({ kind: "durable" });
    await writer.stop();
    const { found, rebuilt } = await opened(disk);
    expect(found.revision).toBe(4);
    expect(sorted(rebuilt.state)).toEqual([
      ["tasks\ta", "2"],
      ["tasks\tb", "3"],
      ["tasks\tc", "4"],
    ]);
  });

  test("log - a stop gives up the journal where the storage has all of it, and not while the disk is full", async () => {
    for (const isFull of [false, true]) {
      const disk = new FakeDisk();
      const { writer } = await opened(disk);
      disk.isFull = isFull;
      await writer.takeJournaled([encodeBatch(writer.hash, put(1, "a", "1"))]);
      await writer.stop();
      expect([disk.isWhole, disk.now.log.size]).toEqual(isFull ? [false, 0] : [true, 1]);
      expect(disk.unsyncedCount).toBe(0);
    }
  });

  test("log - what a journal holds is synced for the mark, and the mark follows", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    await writer.takeJournaled([encodeBatch(writer.hash, put(1, "a", "1"))]);
    expect(writer.status()).toMatchObject({ syncedRevision: 0, batchCount: 1 });
    expect(disk.unsyncedCount).toBe(1);
    await settle(writer, 5000);
    expect(writer.status().syncedRevision).toBe(1);
    expect(newestMark(disk.mark)!.revision).toBe(1);
    disk.crash(0, false);
    expect((await opened(disk)).found.revision).toBe(1);
  });

  test("log - where a fold finds no room it waits, and appends that find some go on", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    const commit = disk.commit.bind(disk);
    let refused = 0;
    disk.commit = async (write, sync) => {
      if (write.log !== undefined) return commit(write, sync);
      refused++;
      return "full";
    };
    for (let i = 1; i <= 40; i++) {
      expect(await writer.append(put(i, String(i), "x"), i - 1)).toEqual({ kind: "durable" });
      await writer.work();
      await writer.tick(i * 50);
    }
    await settle(writer, 5000);
    expect(refused).toBeGreaterThan(0);
    expect(writer.isFull).toBe(false);
    // It is not asked for room again and again.
    expect(refused).toBeLessThan(10);
    disk.commit = commit;
    await settle(writer, 20_000);
    expect(writer.status().foldedTo).toBe(40);
    expect(imageState(disk, 40).size).toBe(40);
  });

  test("log - a start on a full disk uses the room held back, and is refused where there is none", async () => {
    const disk = new FakeDisk();
    await (await opened(disk)).writer.append(put(1, "a", "1"), 0);
    disk.isFull = true;
    expect(opened(disk)).rejects.toMatchObject({ code: "data-folder-not-writable" });
    disk.makeRoom = async () => {
      disk.isFull = false;
    };
    expect((await opened(disk)).found.revision).toBe(1);
  });

  test("log - any other error ends it: the append rejects, the listener hears once, nothing is tried again", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    const heard: Error[] = [];
    writer.onFailure((error) => heard.push(error));
    await writer.append(put(1, "a", "1"), 0);
    disk.crashAt = disk.callCount;
    const failing = writer.append(put(2, "a", "2"), 1);
    const waiting = writer.append(put(3, "a", "3"), 2);
    expect(failing).rejects.toMatchObject({ code: "log-failed" });
    expect(waiting).rejects.toMatchObject({ code: "log-failed" });
    await Promise.allSettled([failing, waiting]);
    const { callCount } = disk;
    expect(writer.append(put(2, "a", "2"), 1)).rejects.toBeInstanceOf(LogError);
    expect(writer.reserve(100)).rejects.toBeInstanceOf(LogError);
    expect(writer.tick(5000)).rejects.toBeInstanceOf(LogError);
    await writer.stop();
    expect(disk.callCount).toBe(callCount);
    expect(heard).toHaveLength(1);
  });

  test("log - a batch that recovery would refuse is refused before it is written", async () => {
    const bad: Batch[] = [
      { first: 1, last: 1, text: entryText(2, 1, []) },
      { first: 1, last: 2, text: entryText(1, 1, []) },
      { first: 1, last: 2, text: entryText(2, 1, []) + entryText(1, 1, []) },
      { first: 1, last: 1, text: entryText(1, 1, []).trimEnd() },
      { first: 1, last: 1, text: `${entryText(1, 1, [])}+tasks\n` },
      { first: 1, last: 1, text: `${entryText(1, 1, [])}*tasks\ta\n` },
      { first: 1, last: 1, text: entryText(1, 1, [["tasks\ta", "\ud800"]]) },
    ];
    for (const batch of bad) {
      const disk = new FakeDisk();
      const { writer } = await opened(disk);
      expect(writer.append(batch, 0)).rejects.toMatchObject({ code: "log-failed" });
      await writer.stop();
      expect(disk.now.log.size).toBe(0);
    }
  });
});

/** Ten entries; images of revision 4 and 6, and none before; the mark at the tenth. */
async function history(): Promise<FakeDisk> {
  const disk = new FakeDisk();
  const { writer } = await opened(disk, { historyBytesMax: 300, historyMs: 1e9 });
  let now = 0;
  for (let i = 1; i <= 6; i++) {
    await writer.append(put(i, String(i % 3), `v${i}`), i - 1);
    if (i % 2 === 0) await settle(writer, now);
    now += 5000;
  }
  for (let i = 7; i <= 10; i++) await writer.append(put(i, String(i % 3), `v${i}`), i - 1);
  for (let i = 0; i < 2; i++) await writer.tick(now);
  disk.crash(disk.unsyncedCount, false);
  expect(newestMark(disk.mark)?.revision).toBe(10);
  expect([...disk.now.images.keys()]).toEqual([4, 6]);
  return disk;
}

async function refusal(disk: FakeDisk, options: Partial<WriterOptions> = {}): Promise<LogError> {
  try {
    await opened(disk, options);
  } catch (error) {
    if (error instanceof LogError) return error;
    throw error;
  }
  throw new Error("it opened");
}

describe("damage", () => {
  const states = (revision: number) => {
    const state: State = new Map();
    for (let i = 1; i <= revision; i++) state.set(`tasks\t${i % 3}`, `v${i}`);
    return sorted(state);
  };
  const rot = (disk: FakeDisk, first: number, change: (text: string) => string) => {
    const row = disk.now.log.get(first)!;
    disk.now.log.set(first, { ...row, text: change(row.text) });
  };

  test("recovery - history shorter than the mark is refused, with the way out", async () => {
    const disk = await history();
    disk.now.log.delete(10);
    const error = await refusal(disk);
    expect(error.code).toBe("data-folder-damaged");
    expect(error.message).toContain("ends at revision 9, but revision 10 was synced");
    expect(error.advice).toContain("--recover-to 9");
    const { found, rebuilt } = await opened(disk, { recoverTo: 9 });
    expect(found).toMatchObject({ revision: 9 });
    expect(found.ceiling).toBeGreaterThanOrEqual(10);
    expect(sorted(rebuilt.state)).toEqual(states(9));
    expect((await opened(disk)).found.revision).toBe(9);
  });

  test("recovery - a changed byte in an entry is found and named", async () => {
    const disk = await history();
    rot(disk, 8, (text) => text.replace("v8", "v9"));
    const error = await refusal(disk);
    expect(error.code).toBe("data-folder-damaged");
    expect(error.message).toContain("log row 8–8");
    expect(error.message).toContain("up to revision 7 is whole");
    const { found, rebuilt } = await opened(disk, { recoverTo: 7 });
    expect(found.revision).toBe(7);
    expect(sorted(rebuilt.state)).toEqual(states(7));
  });

  test("recovery - a missing batch breaks the chain", async () => {
    const disk = await history();
    disk.now.log.delete(8);
    const error = await refusal(disk);
    expect(error.message).toContain("log row 9–9: it does not chain");
  });

  test("recovery - a batch replaced by another with proper checksums breaks the chain", async () => {
    const disk = await history();
    const other = new FakeDisk();
    const { writer } = await opened(other);
    await writer.append(put(8, "x", "forged"), 0);
    disk.now.log.set(8, other.now.log.get(8)!);
    expect((await refusal(disk)).message).toContain("does not chain");
  });

  test("recovery - another history of the same length is not the mark's", async () => {
    const disk = await history();
    disk.mark = ["", encodeMark({ revision: 10, hash: firstHash, ceiling: 10, sequence: 99 })];
    expect((await refusal(disk)).message).toContain("another hash than the mark's");
  });

  test("recovery - a damaged piece is named, and the image rebuilt from an older one and entries", async () => {
    const damages: [string, (disk: FakeDisk, id: number) => void][] = [
      ["has a wrong checksum", (disk, id) => void disk.now.pieces.get(id)!.fill(0, 9, 10)],
      ["is missing", (disk, id) => void disk.now.pieces.delete(id)],
    ];
    for (const [says, damage] of damages) {
      const disk = await history();
      const [piece] = decodeImage(disk.now.images.get(6)!)!.pieces;
      damage(disk, piece!.id);
      const error = await refusal(disk);
      expect(error.message).toContain(`piece ${piece!.id} of the image of revision 6 ${says}`);
      expect(error.advice).toContain("--recover-to 10");
      const { found, rebuilt } = await opened(disk, { recoverTo: 10 });
      expect(found.notes.join()).toContain("from the image of revision 4");
      expect(sorted(rebuilt.state)).toEqual(states(10));
    }
  });

  test("recovery - a damaged list of an image's pieces is named, and the older image taken", async () => {
    const disk = await history();
    disk.now.images.set(6, disk.now.images.get(6)!.replace(" 1 ", " 2 "));
    const error = await refusal(disk);
    expect(error.message).toContain("the list of the image of revision 6 has a wrong checksum");
    const { rebuilt } = await opened(disk, { recoverTo: 10 });
    expect(sorted(rebuilt.state)).toEqual(states(10));
  });

  test("recovery - an image of another history is refused", async () => {
    const disk = await history();
    const image = decodeImage(disk.now.images.get(6)!)!;
    disk.now.images.set(6, encodeImage({ ...image, hash: firstHash }));
    expect((await refusal(disk)).message).toContain("the image of revision 6 is of another history");
  });

  test("recovery - with the base damaged the newest image still serves", async () => {
    const disk = await history();
    const image = decodeImage(disk.now.images.get(4)!)!;
    disk.now.pieces.delete(image.pieces[0]!.id);
    expect((await inspect(disk)).recoverTo).toBe(10);
    const { rebuilt } = await opened(disk, { recoverTo: 9 });
    expect(sorted(rebuilt.state)).toEqual(states(9));
    expect([...disk.now.images.keys()]).toEqual([6]);
    expect((await inspect(disk)).problems).toEqual([]);
  });

  test("recovery - to any revision in the history, and to none below it", async () => {
    const baseTo = 4;
    for (let revision = baseTo; revision <= 10; revision++) {
      const disk = await history();
      const { found, rebuilt, writer } = await opened(disk, { recoverTo: revision });
      expect(found.revision).toBe(revision);
      expect(found.ceiling).toBeGreaterThanOrEqual(10);
      expect(sorted(rebuilt.state)).toEqual(states(revision));
      const next = found.ceiling + 1;
      expect(await writer.append(put(next, "new", "n"), revision)).toEqual({ kind: "durable" });
      expect(newestOf(disk)).toBeLessThanOrEqual(revision);
      await writer.stop();
      expect((await inspect(disk)).problems).toEqual([]);
    }
    const error = await refusal(await history(), { recoverTo: baseTo - 1 });
    expect(error.message).toContain(`begins at revision ${baseTo}`);
    expect((await refusal(await history(), { recoverTo: 11 })).message).toContain("holds no revision 11");
  });

  test("recovery - within a batch, its first entries are kept", async () => {
    const disk = new FakeDisk();
    const { writer } = await opened(disk);
    const text = [1, 2, 3].map((i) => entryText(i, 1, [["tasks\ta", `v${i}`]])).join("");
    await writer.append({ first: 1, last: 3, text }, 0);
    const { found, rebuilt } = await opened(disk, { recoverTo: 2 });
    expect(found.revision).toBe(2);
    expect(rebuilt.state.get("tasks\ta")).toBe("v2");
    expect((await inspect(disk)).problems).toEqual([]);
  });

  test("recovery - a torn last batch beyond the mark is cut and told; any other damage beyond it is refused", async () => {
    const make = async () => {
      const disk = await history();
      const { writer, found } = await opened(disk);
      await writer.append(put(found.ceiling + 1, "a", "11"), 10);
      await writer.append(put(found.ceiling + 2, "a", "12"), found.ceiling + 1);
      return disk;
    };
    const torn = await make();
    rot(torn, 12, (text) => text.slice(0, -3));
    const { found } = await opened(torn);
    expect(found.revision).toBe(11);
    expect(found.notes.join()).toContain("cut a torn batch beyond revision 11");
    expect((await opened(torn)).found.notes).toEqual([]);
    const rotten = await make();
    rot(rotten, 11, (text) => text.slice(0, -3));
    expect((await refusal(rotten)).code).toBe("data-folder-damaged");
  });

  test("recovery - a damaged last batch that the mark covers is refused and left as it is", async () => {
    const disk = await history();
    rot(disk, 10, (text) => text.slice(0, -3));
    const error = await refusal(disk);
    expect(error.message).toContain("log row 10–10");
    expect(disk.now.log.has(10)).toBe(true);
  });

  test("recovery - one rotten mark slot costs nothing, two are refused, and recovering goes far above", async () => {
    const disk = await history();
    const { writer } = await opened(disk);
    await writer.reserve(5000);
    const newest = newestMark(disk.mark)!.sequence % 2;
    disk.mark[newest] = disk.mark[newest]!.replace("5000", "4000");
    expect((await opened(disk)).found.ceiling).toBe(5000);
    disk.mark = disk.mark.map((slot) => slot.slice(0, 10));
    const error = await refusal(disk);
    expect(error.message).toContain("mark");
    expect(error.advice).toContain("--recover-to 10");
    expect((await opened(disk, { recoverTo: 10 })).found.ceiling).toBeGreaterThan(1_000_000_000);
  });

  test("recovery - a database that is gone while its mark is there is refused", async () => {
    const disk = await history();
    const empty = new FakeDisk();
    empty.mark = disk.mark;
    const error = await refusal(empty);
    expect(error.code).toBe("data-folder-damaged");
    expect(error.message).toContain("empty or gone");
  });

  test("recovery - a crash at any call of the first start leaves a folder that starts", async () => {
    for (let call = 0; call < 6; call++) {
      for (const after of [0, 1]) {
        const disk = new FakeDisk();
        Object.assign(disk, { crashAt: call, crashAfter: after });
        const crashed = await opened(disk).then(
          () => false,
          () => true,
        );
        expect(crashed).toBe(call < 5);
        disk.crash(0, false);
        expect((await opened(disk)).found).toMatchObject({ revision: 0, ceiling: 0 });
      }
    }
  });

  test("recovery - a newer format is refused and left alone", async () => {
    const disk = await history();
    disk.now.meta = '00000000 {"format":5,"whatever":true}';
    const error = await refusal(disk);
    expect(error.code).toBe("data-folder-newer-format");
    expect(disk.now.meta).toContain('"format":5');
  });

  test("recovery - an older format is copied, then migrated", async () => {
    const disk = await history();
    const meta = disk.now.meta!;
    disk.now.meta = '00000000 {"format":0}';
    const copies: string[] = [];
    disk.copyTo = async (name: string) => void copies.push(`${name}: ${disk.now.meta}`);
    const run = async () => void (await disk.commit({ meta }, true));
    const { found } = await opened(disk, { migrations: [{ from: 0, run }] });
    expect(copies).toEqual(['cortex.format-0.db: 00000000 {"format":0}']);
    expect(found.revision).toBe(10);
    expect(found.notes.join()).toContain("migrated from format 0 to 2");
  });

  test("recovery - the progress it tells ends at its total", async () => {
    const { rebuilt } = await opened(await history());
    const [done, total] = rebuilt.progressed.at(-1)!;
    expect(total).toBeGreaterThan(0);
    expect(done).toBe(total);
  });
});
