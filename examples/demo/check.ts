/**
 * Holds the outcome of a run against the plain pass, and against what the coordinator promises: every file's
 * completion is there exactly once, nothing acknowledged was lost, changed, or done again. Everything that is
 * not as promised is a problem, said in words.
 */
import { type Digest, type Totals, totalsOf } from "./files.ts";
import type { Kill, Outcome } from "./run.ts";

export type Report = {
  ok: boolean;
  problems: string[];
  folder: string;
  workers: number;
  /** From the results that the coordinator has in its state. */
  totals: Totals;
  plain: Totals & { tookMs: number };
  tookMs: number;
  tasksPerSecond: number;
  /** The same until the first kill. */
  tasksPerSecondUndisturbed: number;
  submitToStartMs: { median: number; p99: number };
  kills: Kill[];
  /** Tasks that the coordinator has as completed: one a file. */
  completedCount: number;
  /** Tasks that went back to their queue because their worker was gone. */
  interruptedCount: number;
  /** Files that workers began, or finished, more than once. */
  startedAgainCount: number;
  hashedAgainCount: number;
  /** Files that a worker began after the submitter had been told that they were done. */
  startedAfterAcknowledgedCount: number;
};

/** More of one kind than this are only counted. */
const shownMax = 5;

export function check(
  { folder, workers, files }: { folder: string; workers: number; files: readonly string[] },
  outcome: Outcome,
  plain: ReadonlyMap<string, Digest>,
  plainMs: number,
): Report {
  const problems: string[] = [];
  const wrong = (what: string, cases: string[]) => {
    if (cases.length === 0) return;
    const more = cases.length > shownMax ? `, and ${cases.length - shownMax} more` : "";
    problems.push(`${what}: ${cases.slice(0, shownMax).join(", ")}${more}`);
  };
  const { tasks, acknowledged, journal, kills } = outcome;

  // ------------------------------------------------------------------------ what the coordinator has
  const completed = new Map<string, Digest>();
  const seen = new Map<string, number>();
  const idOf = new Map<string, string>();
  const unfinished: string[] = [];
  for (const task of tasks) {
    const { path } = task.payload as { path: string };
    seen.set(path, (seen.get(path) ?? 0) + 1);
    idOf.set(path, task.id);
    if (task.state === "completed") completed.set(path, task.result as Digest);
    else unfinished.push(`${path} is ${task.state}`);
  }
  wrong("tasks that are not completed", unfinished);
  wrong(
    "files without a task",
    files.filter((path) => !seen.has(path)),
  );
  wrong(
    "files with more than one task",
    [...seen].filter(([, count]) => count > 1).map(([path, count]) => `${path} has ${count}`),
  );
  wrong(
    "tasks for no file",
    [...seen.keys()].filter((path) => !plain.has(path)),
  );

  // ------------------------------------------------------------------------ what the submitter was told
  wrong(
    "files that got no result",
    [...outcome.refused].map(([path, why]) => `${path} (${why})`),
  );
  wrong(
    "acknowledged results that are lost or changed",
    [...acknowledged]
      .filter(([path, { taskId, digest }]) => idOf.get(path) !== taskId || !same(completed.get(path), digest))
      .map(([path]) => path),
  );

  // ------------------------------------------------------------------------ against the plain pass
  wrong(
    "results unlike those of the plain pass",
    [...completed].filter(([path, digest]) => !same(plain.get(path), digest)).map(([path]) => path),
  );
  const totals = totalsOf(completed);
  const plainTotals = totalsOf(plain);
  for (const key of ["files", "bytes", "words", "sha256"] as const) {
    if (totals[key] !== plainTotals[key])
      problems.push(`${key} are ${totals[key]}, and ${plainTotals[key]} in the plain pass`);
  }

  // ------------------------------------------------------------------------ what was done twice
  const startedAfter = journal
    .filter(({ event, path, at }) => event === "started" && at > (acknowledged.get(path)?.at ?? Infinity))
    .map(({ path }) => path);
  wrong("files that were begun again after they were acknowledged as done", startedAfter);

  // ------------------------------------------------------------------------ whether it was put to the test
  for (const { victim, doneCount } of kills) {
    if (doneCount >= files.length)
      problems.push(`${victim} was killed when all was done: take a larger folder`);
  }
  if (kills.length < 3) problems.push(`there were ${kills.length} kills instead of 3: take a larger folder`);
  wrong("ended in disorder", outcome.disorderly);

  const waits = tasks
    .flatMap(({ startedAt, createdAt }) => (startedAt === null ? [] : [startedAt - createdAt]))
    .sort((a, b) => a - b);
  const { undisturbed, tookMs } = outcome;
  return {
    ...{ ok: problems.length === 0, problems, folder, workers, totals },
    plain: { ...plainTotals, tookMs: Math.round(plainMs) },
    tookMs: Math.round(tookMs),
    tasksPerSecond: perSecond(files.length, tookMs),
    tasksPerSecondUndisturbed: perSecond(undisturbed.doneCount, undisturbed.tookMs),
    submitToStartMs: { median: at(waits, 0.5), p99: at(waits, 0.99) },
    kills,
    completedCount: tasks.filter(({ state }) => state === "completed").length,
    interruptedCount: tasks.filter(({ interruptions }) => interruptions > 0).length,
    startedAgainCount: again(journal.filter(({ event }) => event === "started")),
    hashedAgainCount: again(journal.filter(({ event }) => event === "hashed")),
    startedAfterAcknowledgedCount: startedAfter.length,
  };
}

const same = (a: Digest | undefined, b: Digest | undefined) =>
  a !== undefined && b !== undefined && a.bytes === b.bytes && a.words === b.words && a.sha256 === b.sha256;

const perSecond = (count: number, ms: number) => Math.round((1000 * count) / ms);

const at = (sorted: readonly number[], part: number) => sorted[Math.floor((sorted.length - 1) * part)] ?? 0;

/** Entries beyond the first of each file. */
const again = (entries: readonly { path: string }[]) =>
  entries.length - new Set(entries.map(({ path }) => path)).size;
