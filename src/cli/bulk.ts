/**
 * `cortexd tasks cancel, retry, delete and move`: of tasks that are named, each with its own outcome, or of all that fit
 * a filter, slice by slice with progress. What cannot be taken back is asked about first.
 */
import { type Changed, inSlices } from "../../client/bulk.ts";
import { CortexError } from "../../client/errors.ts";
import type { RestClient } from "../../client/rest.ts";
import { TaskFilter, TaskMove, type TaskStanding } from "../wire/tasks.ts";
import { ask, someoneToAsk } from "./ask.ts";
import { type Address, command } from "./command.ts";
import { exitOfClient, rest } from "./daemon.ts";
import { Exit, type ExitName } from "./exit.ts";
import { inputOf, optionsOf } from "./options.ts";
import type { Output } from "./output.ts";
import { Progress } from "./progress.ts";
import { number, plural } from "./words.ts";

const TASKS = {
  name: "TASK",
  help: "A task's id, such as 1042-0; as many as wanted. Or none, and options that say which.",
  many: true,
  optional: true,
} as const;

const which = {
  ...optionsOf(TaskFilter, []),
  all: { type: "flag", help: "All tasks that it can be done to; with no other option that says which." },
  dryRun: { type: "flag", help: "Change nothing; say how many it would be." },
} as const;
const yes = { type: "flag", help: "Do not ask." } as const;

const json =
  'of named tasks one array, for each {"id", "state", "revision"} ({"id"} of a deleted one), or {"id", "error"}; else one object, {"count", "refused": [{"id", "code"}]}.';

type Values = { [N in keyof typeof which]?: unknown } & { yes?: boolean; cascade?: boolean };
type Given = { words: string[]; values: Values; to: Address; out: Output };
type Slices = Parameters<typeof inSlices>[1];

/** What is done, in words, and how: to one task, and to a slice. */
type Doing = {
  /** What is said of those it was done to. */
  done: string;
  one(client: RestClient, id: string): Promise<TaskStanding | { id: string }>;
  slice(client: RestClient, dryRun: boolean): Slices;
};

const dry = (dryRun: boolean) => (dryRun ? { dryRun } : {});

export const cancel = command({
  summary: "Cancel tasks; a running handler is told through its AbortSignal.",
  arguments: [TASKS],
  options: {
    ...which,
    reason: { type: "text", help: "Why, in words." },
    cascade: {
      type: "flag",
      help: "Of named tasks: cancel what they wait for too, unless another task waits for that.",
    },
    yes,
  },
  client: true,
  json,
  examples: [
    { words: 'tasks cancel 1042-0 1043-0 --reason "ordered twice"', meaning: "Both; each has its outcome." },
    { words: "tasks cancel --queue mail --state queued --dry-run", meaning: "How many it would be." },
    { words: "tasks cancel --queue mail --state queued --yes", meaning: "All of them, without a question." },
  ],
  run: (given) =>
    change(given, {
      done: "Cancelled",
      one: (client, id) =>
        client.cancel(id, given.values.reason, given.values.cascade ? { cascade: true } : {}),
      slice: (client, dryRun) => {
        const reason = given.values.reason === undefined ? {} : { reason: given.values.reason };
        return (slice) => client.cancelMany({ ...slice, ...reason, ...dry(dryRun) });
      },
    }),
});

export const retry = command({
  summary:
    "Queue failed, dead or cancelled tasks again, with fresh attempts; what is named also from the archive.",
  arguments: [TASKS],
  options: {
    ...which,
    cascade: { type: "flag", help: "Of named tasks: retry what ended because they did too, all the way up." },
  },
  client: true,
  json,
  examples: [
    { words: "tasks retry 1042-0", meaning: "This one." },
    { words: "tasks retry --queue mail --state dead", meaning: "All dead letters of the queue, in memory." },
    {
      words:
        "tasks archived --queue mail --state dead --json | jq -r '.tasks[].id' | xargs -r cortexd tasks retry",
      meaning: "Those in the archive.",
    },
  ],
  run: (given) =>
    change(
      { ...given, values: { ...given.values, yes: true } },
      {
        done: "Queued again",
        one: (client, id) => client.retry(id, given.values.cascade ? { cascade: true } : {}),
        slice: (client, dryRun) => (slice) => client.retryMany({ ...slice, ...dry(dryRun) }),
      },
    ),
});

export const remove = command({
  summary: "Delete tasks that have ended or wait, for good; running ones are cancelled first.",
  arguments: [TASKS],
  options: { ...which, yes },
  client: true,
  json,
  examples: [
    { words: "tasks delete --state dead --created-before 2026-01-01", meaning: "Says how many, and asks." },
    { words: "tasks delete --queue mail --state completed --yes", meaning: "For programs." },
    { words: "tasks delete 1042-0", meaning: "What is named is not asked about." },
  ],
  run: (given) =>
    change(given, {
      done: "Deleted",
      one: (client, id) => client.delete(id),
      slice: (client, dryRun) => (slice) => client.deleteMany({ ...slice, ...dry(dryRun) }),
    }),
});

const to = optionsOf(TaskMove, ["taskId"]);

export const move = command({
  summary: "Give tasks that wait another queue or priority; their age stays.",
  arguments: [TASKS],
  options: { ...which, toQueue: to.queue, toPriority: to.priority },
  client: true,
  json,
  examples: [
    { words: "tasks move 1042-0 --to-priority critical", meaning: "It is next." },
    { words: "tasks move --queue mail --group acme --to-queue mail-slow", meaning: "All of one tenant." },
  ],
  run: (given) => {
    const target = inputOf(TaskMove, { queue: given.values.toQueue, priority: given.values.toPriority });
    if (Object.keys(target).length === 0)
      throw new Exit(
        "usage",
        "It is not said where the tasks go.",
        "Give --to-queue, --to-priority or both.",
      );
    return change(
      { ...given, values: { ...given.values, yes: true } },
      {
        done: "Moved",
        one: (client, id) => client.move(id, target),
        slice: (client, dryRun) => (slice) => client.moveMany({ ...slice, ...target, ...dry(dryRun) }),
      },
    );
  },
});

export const close = command({
  summary: "Say that open tasks (batches) get no more children.",
  arguments: [{ name: "TASK", help: "A task's id, such as 1042-0; as many as wanted.", many: true }],
  options: {},
  client: true,
  json: 'one array, for each task {"id", "state", "revision"}, or {"id", "error"}.',
  examples: [{ words: "tasks close 1042-0", meaning: "It runs once its children are done." }],
  run: (given) => each(given, { done: "Closed", one: (client, id) => client.close(id) }),
});

async function change(given: Given, doing: Doing): Promise<ExitName | undefined> {
  const { words, values, out } = given;
  const filter = inputOf(TaskFilter, values);
  const fields = Object.keys(filter).length;
  if (words.length > 0) {
    if (fields > 0 || values.all === true || values.dryRun === true)
      throw new Exit("usage", "Tasks are named or told by options, not both.", "Nothing was changed.");
    // Nobody is asked: the question would be about what was just typed.
    return each(given, doing);
  }
  if (fields > 0 === (values.all === true))
    throw new Exit(
      "usage",
      fields > 0 ? "--all goes without options that say which tasks." : "It is not said which tasks.",
      "Name them, or say which by options (--queue, --state, ...), or give --all.",
    );
  if (values.cascade)
    throw new Exit("usage", "--cascade goes with tasks that are named.", "Nothing was changed.");
  const client = rest(given.to);
  const progress = new Progress();
  const expected =
    values.dryRun === true || values.yes !== true || progress.isTerminal
      ? await inSlices({ filter }, doing.slice(client, true))
      : null;
  if (values.dryRun === true) return told(expected as Changed, "Would be", doing, given);
  if (values.yes !== true) {
    const what = `${plural(expected?.count ?? 0, "task")} would be ${doing.done.toLowerCase()} for good`;
    if (expected?.count !== 0) {
      someoneToAsk(out, what);
      const answer = await ask(`${what}. Type yes if that is meant: `);
      if (answer !== "yes") throw new Exit("refused", "Nothing was changed.", "Type yes if it is meant.");
    }
  }
  const changed = await inSlices({ filter }, doing.slice(client, false), {
    progress: ({ count }) =>
      progress.show(() => `${doing.done} ${number(count)} of about ${number(expected?.count ?? count)}`),
  }).finally(() => progress.end());
  return told(changed, "", doing, given);
}

async function told(
  changed: Changed,
  mood: string,
  doing: Doing,
  { out }: Given,
): Promise<ExitName | undefined> {
  const { count, refused } = changed;
  if (out.json) await out.value(changed);
  else {
    const verb = mood === "" ? doing.done : `${mood} ${doing.done.toLowerCase()}`;
    await out.line(`${verb}: ${plural(count, "task")}.`);
    const codes = Map.groupBy(refused, ({ code }) => code);
    for (const [code, those] of codes)
      await out.line(
        `${out.paint("Refused", "red")}: ${number(those.length)}, ${code}; the first is ${those[0]?.id}.`,
      );
  }
  if (refused.length === 0) return undefined;
  return count > 0 ? "partly-refused" : "refused";
}

/** Many requests are under way at once, and what they answer is told in the order of the words. */
async function each(
  { words, to, out }: Pick<Given, "words" | "to" | "out">,
  doing: Pick<Doing, "done" | "one">,
): Promise<ExitName | undefined> {
  const client = rest(to);
  const ends: (Awaited<ReturnType<Doing["one"]>> | { id: string; error: CortexError })[] = [];
  await atOnce(words, async (id, i) => {
    ends[i] = await doing.one(client, id).catch((error) => {
      if (error instanceof CortexError) return { id, error };
      throw error;
    });
  });
  if (out.json)
    await out.value(ends.map((end) => ("error" in end ? { id: end.id, error: { ...end.error } } : end)));
  for (const end of out.json ? [] : ends) {
    if ("error" in end)
      await out.line(
        `${end.id}  ${out.paint(end.error.message.replace(/\.?$/, "."), "red")} ${end.error.hint}`,
      );
    else
      await out.line(`${end.id}  ${out.paint(doing.done, "green")}${"state" in end ? `: ${end.state}` : ""}`);
  }
  const refused = ends.filter((end) => "error" in end);
  if (refused.length === 0) return undefined;
  if (refused.length < ends.length) return "partly-refused";
  return exitOfClient(refused[0]!.error, to)?.as;
}

/** Of many requests so many are under way. */
const atOnceMax = 50;

async function atOnce<T>(items: readonly T[], run: (item: T, i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const i = next++;
      await run(items[i]!, i);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnceMax, items.length) }, lane));
}
