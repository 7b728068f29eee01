/** `cortexd limits …`: named limits, which hold over queues. How limits are written on the command line. */
import { durationText, readDuration } from "../config.ts";
import { type Limit, LimitList, type Rate } from "../wire/queues.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { Exit } from "./exit.ts";
import { inputOf, optionsOf } from "./options.ts";
import type { Column } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { flagOf } from "./parse.ts";
import { number } from "./words.ts";

const LIMIT = { name: "LIMIT", help: "The limit's name, as tasks name it." } as const;

const list = command({
  summary: "List the named limits.",
  arguments: [],
  options: {
    ...optionsOf(LimitList, ["cursor", "limit"]),
    limit: { type: "integer", min: 1, default: 1000, help: "At most so many." },
  },
  client: true,
  watch: true,
  json: 'one object, {"limits": [...], "cursor": ...}, as GET /api/limits answers; cursor is null when all are there.',
  examples: [
    { words: "limits", meaning: "A line a limit: what it allows, and what runs." },
    { words: "limits list --prefix open", meaning: "Those whose names begin so." },
  ],
  async run({ values, to, out }) {
    const client = rest(to);
    const filter = inputOf(LimitList, values);
    await out.pages(
      "limits",
      pagesOf("limits", values.limit, (asked) => client.limits({ ...filter, ...asked })),
      columns,
      values.prefix === undefined
        ? "There are no named limits."
        : `No limit's name begins with ${values.prefix}.`,
    );
    return undefined;
  },
});

const put = command({
  summary: "Set a named limit. What is not given stays; `none` resets.",
  arguments: [LIMIT],
  options: {
    concurrency: { type: "text", unit: "COUNT", help: "How many tasks that name it may run at once." },
    rate: { type: "text", unit: "COUNT/TIME", help: "How often one may start: 500/1m, or 500/1m,burst=50." },
  },
  client: true,
  json: "one object, the limit as it is now.",
  examples: [
    { words: "limits put openai --concurrency 20 --rate 500/1m", meaning: "Whatever the queue." },
    { words: "limits put openai --concurrency 0", meaning: "Nothing that names it starts for now." },
  ],
  async run({ words: [name], values, to, out }) {
    const limit = await rest(to).putLimit(name!, {
      ...given("concurrency", values.concurrency, amountOf),
      ...given("rate", values.rate, rateOf),
    });
    if (out.json) await out.value(limit);
    else await out.table([limit], columns, "");
    return undefined;
  },
});

const remove = command({
  summary: "Delete named limits; tasks that name them are not limited by them any more.",
  arguments: [{ ...LIMIT, many: true }],
  options: {},
  client: true,
  json: 'one object, {"deleted": [...]}.',
  examples: [{ words: "limits delete openai", meaning: "What waited for it may start." }],
  async run({ words, to, out }) {
    for (const name of words) await rest(to).deleteLimit(name);
    if (out.json) await out.value({ deleted: words });
    else for (const name of words) await out.line(`${name} is deleted.`);
    return undefined;
  },
});

const columns: Column<Limit>[] = [
  { title: "LIMIT", of: ({ name }) => name, whole: true },
  { title: "RUNNING", of: ({ running }) => number(running), right: true, whole: true },
  {
    title: "CONCURRENCY",
    of: ({ concurrency }) => (concurrency === null ? "-" : number(concurrency)),
    right: true,
    whole: true,
  },
  { title: "RATE", of: ({ rate }) => rateText(rate) ?? "-", whole: true },
  { title: "SHUT", of: ({ shut }) => shut ?? "", colour: () => "yellow" },
];

const wrong = (flag: string, text: string, allowed: string): Exit =>
  new Exit("usage", `${flag} is ${JSON.stringify(text)}; allowed is ${allowed}`, "Nothing was changed.");

/** A field if it was given, read. */
export function given<N extends string, T>(
  name: N,
  text: string | undefined,
  read: (text: string, flag: string) => T,
): { [K in N]?: T } {
  if (text === undefined) return {};
  return { [name]: read(text, flagOf(name)) } as { [K in N]?: T };
}

export function amountOf(text: string, flag: string): number | null {
  if (text === "none") return null;
  if (!/^[0-9]{1,9}$/.test(text)) throw wrong(flag, text, "a whole number, or none");
  return Number(text);
}

export function rateOf(text: string, flag: string): Rate | null {
  if (text === "none") return null;
  const [, count, time, burst] = /^([0-9]{1,9})\/([^,]+)(?:,burst=([0-9]{1,9}))?$/.exec(text) ?? [];
  const perMs = time === undefined ? Number.NaN : readDuration(time);
  if (count === undefined || !(perMs >= 1)) throw wrong(flag, text, "COUNT/TIME such as 500/1m, or none");
  const rate = { count: Number(count), perMs };
  return burst === undefined ? rate : { ...rate, burst: Number(burst) };
}

export const rateText = (rate: Rate | null): string | null =>
  rate === null
    ? null
    : `${rate.count}/${durationText(rate.perMs)}${(rate.burst ?? rate.count) === rate.count ? "" : `,burst=${rate.burst}`}`;

export const limits: Group = {
  summary: "Named limits, which hold over queues.",
  commands: { list, put, delete: remove },
  alone: "list",
};
