/**
 * `cortexd log` and `cortexd diff`: what the log says, for people. The log holds what things became, so a difference is
 * told by what was made, changed and taken away between two revisions.
 */
import type { CoordinationClient } from "../../client/client.ts";
import { ClientError } from "../../client/errors.ts";
import type { RestClient } from "../../client/rest.ts";
import { limits } from "../wire/limits.ts";
import { type LogEntry, type LogPage, LogRead } from "../wire/log.ts";
import { command } from "./command.ts";
import { rest } from "./daemon.ts";
import { Exit } from "./exit.ts";
import { ongoing } from "./ongoing.ts";
import { inputOf, optionsOf } from "./options.ts";
import { brief, print } from "./output.ts";
import { plural } from "./words.ts";

/** Most pages of a search are empty. */
async function* pagesOf(client: RestClient, filter: LogRead): AsyncGenerator<LogPage> {
  let after = filter.after ?? 0;
  for (;;) {
    const page: LogPage = await client.history({ ...filter, after });
    yield page;
    if (page.next === null) return;
    after = page.next;
  }
}

/** The entries that fit; what is kept no more, also what goes while it is read, is missed by nobody. */
async function* entriesOf(client: RestClient, filter: LogRead): AsyncGenerator<LogEntry> {
  let { after } = filter;
  for await (const { entries, next, oldest } of pagesOf(client, filter)) {
    if (oldest !== null && after !== undefined && after + 1 < oldest) tooOld(oldest);
    yield* entries;
    after = next ?? after;
  }
}

/** The newest of them: the log is read forward, so ever more of its end is looked at, twice as much each time. */
async function newestOf(
  client: RestClient,
  filter: LogRead,
  upTo: number,
  count: number,
): Promise<LogEntry[]> {
  for (let span = count; ; span *= 2) {
    const after = Math.max(filter.after ?? 0, upTo - span);
    const found: LogEntry[] = [];
    let isAll = after === (filter.after ?? 0);
    for await (const { entries, oldest } of pagesOf(client, { ...filter, after, upTo })) {
      isAll ||= oldest === null || after < oldest;
      found.push(...entries);
      if (found.length > 2 * count) found.splice(0, found.length - count);
    }
    if (isAll || found.length >= count) return found.slice(-count);
  }
}

/** The entries that fit and are added, once the figures say that there are some. */
async function* addedTo(
  client: RestClient,
  stream: CoordinationClient,
  filter: LogRead & { after: number },
  signal: AbortSignal,
): AsyncGenerator<LogEntry> {
  const end = filter.upTo ?? Number.POSITIVE_INFINITY;
  let { after } = filter;
  for await (const { durableRevision } of stream.stats({ signal })) {
    const upTo = Math.min(durableRevision, end);
    if (upTo > after) {
      try {
        for await (const entry of entriesOf(client, { ...filter, after, upTo })) {
          yield entry;
          after = entry.revision;
        }
        after = upTo;
      } catch (error) {
        // It was away for a moment, and is asked again.
        if (!(error instanceof ClientError)) throw error;
      }
    }
    if (after >= end) return;
  }
}

function noneKept(from: number): never {
  throw new Exit(
    "not-found",
    `The log holds no entries, so what changed after revision ${from} cannot be told.`,
    "The presets durable and high-availability keep them, for --history-ms of the daemon.",
  );
}

function tooOld(oldest: number): never {
  throw new Exit(
    "not-found",
    `The log goes back to revision ${oldest}; what was before is kept no more.`,
    "Name a later revision, or keep more: --history-ms and --history-bytes-max of the daemon.",
  );
}

const headOf = ({ revision, at, operation, who }: LogEntry) =>
  `${revision}  ${new Date(at).toISOString()}  ${operation}  by ${who}`;

export const log = command({
  summary: "Print the log: who did what, when, and what it changed.",
  arguments: [],
  options: {
    ...optionsOf(LogRead, ["limit"]),
    limit: {
      type: "integer",
      min: 1,
      help: "At most so many entries. (default 1000; with --last or --follow all that they mean)",
    },
    last: { type: "integer", min: 1, max: limits.pageMax, help: "The newest so many of those that fit." },
    follow: {
      type: "flag",
      help: "Go on with what is added, until it is stopped. Begins with the last 10, unless --last or --after says otherwise.",
    },
  },
  client: true,
  json: "a line an entry, as GET /api/log shows it.",
  examples: [
    { words: "log --key config/region", meaning: "Everything that happened to a key, oldest first." },
    { words: "log --task 1042-0", meaning: "A task's whole life." },
    { words: "log --who deploy-7 --after 1000", meaning: "What a session did after a revision." },
    { words: "log --last 20", meaning: "What happened last, oldest first." },
    { words: "log --follow --operation lock.steal", meaning: "Each as it happens." },
  ],
  async run({ values: { limit, last, follow, ...values }, to, out }) {
    const filter = inputOf(LogRead, values);
    const tell = (entry: LogEntry) => (out.json ? out.value(entry) : out.line(textOf(entry)));
    const isPlain = last === undefined && !follow;
    const newest = (stream: CoordinationClient | null, signal: AbortSignal) =>
      newestAndAdded(rest(to), stream, filter, last ?? (filter.after === undefined ? 10 : null), signal);
    if (follow) {
      await ongoing(to, "log", limit, newest, tell);
      return undefined;
    }
    const max = limit ?? (isPlain ? 1000 : Number.POSITIVE_INFINITY);
    let count = 0;
    for await (const entry of isPlain ? entriesOf(rest(to), filter) : newest(null, never)) {
      await tell(entry);
      if (++count === max) break;
    }
    // A program that did not say how many it wants would take what it got for all of it.
    if (out.json && count === max && limit === undefined)
      await print(`cortexd: these are the first ${max}; ${mayBeMore}\n`, process.stderr);
    if (out.json) return undefined;
    if (count === 0) await out.line("There are no entries like that.");
    else if (count === max) await out.line(out.paint(`… ${mayBeMore}`, "dim"));
    return undefined;
  },
});

const mayBeMore = "there may be more: --limit shows them, --last the newest";
const never = new AbortController().signal;

/** `last`: so many of those that are there; null: all of them. Then what is added, where there is a stream to tell of that. */
async function* newestAndAdded(
  client: RestClient,
  stream: CoordinationClient | null,
  filter: LogRead,
  last: number | null,
  signal: AbortSignal,
): AsyncGenerator<LogEntry> {
  const { durableRevision } = await client.state();
  const upTo = Math.min(durableRevision, filter.upTo ?? Number.POSITIVE_INFINITY);
  if (last === null) yield* entriesOf(client, { ...filter, upTo });
  else yield* await newestOf(client, filter, upTo, last);
  if (stream !== null) yield* addedTo(client, stream, { ...filter, after: upTo }, signal);
}

function textOf(entry: LogEntry): string {
  const lines = entry.changes.map(({ part, id, value }) =>
    value === null ? `    - ${part} ${id}` : `    + ${part} ${id} ${brief(value)}`,
  );
  if (entry.short) lines.push("    …");
  return [headOf(entry), ...lines].join("\n");
}

/** What became of one thing between two revisions. */
type Difference = { id: string; isNew: boolean; isGone: boolean; parts: Record<string, unknown> };

/** The parts of a thing go by its name, without what follows a dot; of a task's log each piece is one. */
function note(found: Map<string, Difference>, entry: LogEntry, from: number): void {
  for (const { part, id, value } of entry.changes) {
    const [kind] = part.split(".") as [string];
    const [name, piece] = part === "task.log" ? (id.split("/") as [string, string]) : [id, null];
    const thing = `${kind} ${name}`;
    // The first that is heard of it says whether it was there before.
    const known = found.get(thing) ?? {
      ...{ id: thing, isNew: value !== null && isMade(part, id, value, entry, from) },
      ...{ isGone: false, parts: {} },
    };
    found.set(thing, known);
    if (part === kind) known.isGone = value === null;
    if (known.isGone) known.parts = {};
    else if (value === null) delete known.parts[partOf(part, piece)];
    else known.parts[partOf(part, piece)] = value;
  }
}

const partOf = (part: string, piece: string | null) => (piece === null ? part : `${part}/${piece}`);

/** An id says which revision made the thing, and some records when or by which they were. Of the others nothing is known. */
function isMade(part: string, id: string, value: unknown, { revision, at }: LogEntry, from: number): boolean {
  if (/^[0-9]+-[0-9]+$/.test(id)) return Number(id.split("-")[0]) > from;
  const { createdRevision = revision, createdAt, since } = value as Record<string, number>;
  return part === "key" ? createdRevision > from : createdAt === at || since === at;
}

export const diff = command({
  summary: "Say what changed between two revisions.",
  arguments: [
    { name: "FROM", help: "A revision: what it left is where the difference begins." },
    { name: "TO", help: "A later one. Default: the newest.", optional: true },
  ],
  options: {},
  client: true,
  json: 'one object, {"from", "to", "made", "changed", "gone"}: lists of {"id"}, and of what is there {"parts"} as the log holds them; "short": revisions that changed more than the log shows of one.',
  examples: [
    { words: "diff 1042 1100", meaning: "What was made, changed and taken away." },
    { words: "diff 1042 --json", meaning: "Since then, for programs." },
  ],
  async run({ words: [first, second], to, out }) {
    const client = rest(to);
    const from = revisionOf(first!, "FROM");
    const { revision: newest } = await client.state();
    const upTo = second === undefined ? newest : revisionOf(second, "TO");
    if (upTo > newest)
      throw new Exit(
        "usage",
        `TO is ${upTo}; the newest revision is ${newest}.`,
        "Leave it out for the newest.",
      );
    if (upTo < from)
      throw new Exit("usage", `TO is ${upTo}, before FROM, ${from}.`, "Name the earlier one first.");
    const { oldest } = await client.history({ after: from, limit: 1 });
    if (oldest === null && from < upTo) noneKept(from);
    const found = new Map<string, Difference>();
    const short: number[] = [];
    for await (const entry of entriesOf(client, { after: from, upTo, limit: 1000 })) {
      note(found, entry, from);
      if (entry.short) short.push(entry.revision);
    }
    // What came and went in between is no difference.
    const all = [...found.values()].filter(({ isNew, isGone }) => !(isNew && isGone));
    const made = all.filter(({ isNew }) => isNew);
    const gone = all.filter(({ isGone }) => isGone);
    const changed = all.filter(({ isNew, isGone }) => !isNew && !isGone);
    if (out.json) {
      const told = ({ id, parts }: Difference) => ({ id, parts });
      await out.value({
        ...{ from, to: upTo, made: made.map(told), changed: changed.map(told) },
        ...{ gone: gone.map(({ id }) => ({ id })), short },
      });
      return undefined;
    }
    for (const [sign, list] of [
      ["+", made],
      ["~", changed],
    ] as const)
      for (const { id, parts } of list)
        await out.line(`${sign} ${id} ${Object.values(parts).map(brief).join(" ")}`);
    for (const { id } of gone) await out.line(`- ${id}`);
    for (const revision of short)
      await out.line(
        `… revision ${revision} changed more than the log shows of one entry: the rest is not here`,
      );
    await out.line(
      `${plural(all.length, "difference")} from revision ${from} to ${upTo}: ${made.length} made, ${changed.length} changed, ${gone.length} gone.`,
    );
    return undefined;
  },
});

function revisionOf(word: string, name: string): number {
  if (/^[0-9]{1,16}$/.test(word)) return Number(word);
  throw new Exit("usage", `${name} is ${JSON.stringify(word)}; allowed is a revision.`, "Such as 1042.");
}
