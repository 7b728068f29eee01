/**
 * `cortexd kv …`: values under names. What a put or a list may say is read off the wire's schemas. A value is JSON,
 * here as everywhere; `--text` and `--raw` are for those who keep plain text.
 */
import type { WatchEvent, WatchFilter } from "../../client/index.ts";
import { type KeyListed, type KeyStanding, KvDelete, KvIncrement, KvList, KvPut } from "../wire/kv.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { payloadOf, readWord } from "./input.ts";
import { ongoing } from "./ongoing.ts";
import { inputOf, optionsOf } from "./options.ts";
import { type Column, type Output, shown } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { age, number } from "./words.ts";

const KEY = { name: "KEY", help: "The key." } as const;

const get = command({
  summary: "Print a key's value.",
  arguments: [KEY],
  options: { raw: { type: "flag", help: "A value that is a text, without its quotes." } },
  client: true,
  json: "one object, the key with its value and revision, as GET /api/kv/KEY answers.",
  examples: [
    { words: "kv get config/region", meaning: "Its value, as JSON." },
    { words: "kv get config/region --json", meaning: "And its revision, to change it by." },
  ],
  async run({ words: [key], values, to, out }) {
    const found = await rest(to).kv.get(key!);
    const { value } = found;
    if (out.json) await out.value(found);
    else if (values.raw && typeof value === "string") await out.line(value);
    else await out.value(value);
    return undefined;
  },
});

const put = command({
  summary: "Put a value under a key, or replace the key as a whole.",
  arguments: [
    KEY,
    {
      name: "VALUE",
      help: "JSON; @FILE: the JSON in the file; -: the JSON on standard input. Default: standard input.",
      optional: true,
    },
  ],
  options: {
    ...optionsOf(KvPut, ["key", "value"]),
    text: { type: "flag", help: "The value is a text as it stands, and no JSON." },
  },
  client: true,
  json: "one object, the key without its value, as PUT /api/kv/KEY answers.",
  examples: [
    { words: `kv put config/region '{"primary": "eu"}'`, meaning: "Whatever was there before." },
    { words: "kv put config/region eu --text --if-revision 0", meaning: "Only if there is no such key." },
    { words: "kv put config/routes @routes.json --if-revision 1042", meaning: "Only if nobody changed it." },
    { words: "kv put cache/rates - --ttl 10m", meaning: "From standard input, for ten minutes." },
  ],
  async run({ words: [key, word = "-"], values, to, out }) {
    const value = values.text ? (await readWord(word, "VALUE")).text : await payloadOf(word, "VALUE");
    await told(out, await rest(to).kv.put({ ...inputOf(KvPut, values), key: key!, value }));
    return undefined;
  },
});

async function told(out: Output, standing: KeyStanding): Promise<void> {
  if (out.json) await out.value(standing);
  else await out.line(`${standing.key} is at revision ${standing.revision}.`);
}

const remove = command({
  summary: "Delete a key.",
  arguments: [KEY],
  options: optionsOf(KvDelete, ["key"]),
  client: true,
  json: 'one object, {"key", "deletedRevision"}.',
  examples: [{ words: "kv delete config/region", meaning: "It is gone." }],
  async run({ words: [key], values, to, out }) {
    const deleted = await rest(to).kv.delete({ ...inputOf(KvDelete, values), key: key! });
    if (out.json) await out.value(deleted);
    else await out.line(`${deleted.key} is deleted.`);
    return undefined;
  },
});

const increment = command({
  summary: "Add to a counter, and print what it counts then.",
  arguments: [KEY],
  options: optionsOf(KvIncrement, ["key"]),
  client: true,
  json: "one object, the key with its value, as POST /api/kv/KEY/increment answers.",
  examples: [
    { words: "kv increment visits", meaning: "One more." },
    { words: "kv increment visits/today --by 5 --ttl 1d", meaning: "A counter that begins anew each day." },
  ],
  async run({ words: [key], values, to, out }) {
    const counter = await rest(to).kv.increment({ ...inputOf(KvIncrement, values), key: key! });
    await out.value(out.json ? counter : counter.value);
    return undefined;
  },
});

const list = command({
  summary: "List keys in their order.",
  arguments: [{ name: "PREFIX", help: "Only keys that begin so.", optional: true }],
  options: {
    ...optionsOf(KvList, ["prefix", "cursor", "limit"]),
    limit: { type: "integer", min: 1, default: 1000, help: "At most so many." },
  },
  client: true,
  watch: true,
  json: 'one object, {"keys": [...], "cursor": ...}, as GET /api/kv answers; cursor is null when all are there.',
  examples: [
    { words: "kv list config/", meaning: "A line a key." },
    { words: "kv list --keys-only --json", meaning: "For programs, without the values." },
  ],
  async run({ words: [prefix], values, to, out }) {
    const client = rest(to);
    const filter = { ...inputOf(KvList, values), ...(prefix && { prefix }) };
    const pages = pagesOf("keys", values.limit, (asked) => client.kv.list({ ...filter, ...asked }));
    await out.pages("keys", pages, columns(out.now()), "There are no keys like that.");
    return undefined;
  },
});

const columns = (now: number): Column<KeyListed>[] => [
  { title: "KEY", of: ({ key }) => key, whole: true },
  { title: "REVISION", of: ({ revision }) => String(revision), right: true, whole: true },
  { title: "VERSION", of: ({ version }) => number(version), right: true, whole: true },
  {
    title: "EXPIRES",
    of: ({ expiresAt }) => (expiresAt === null ? "-" : age(expiresAt, now)),
    whole: true,
  },
  { title: "WORKER", of: ({ workerId }) => workerId ?? "-" },
  { title: "VALUE", of: ({ value }) => (value === undefined ? "" : JSON.stringify(value)) },
];

const watch = command({
  summary: "Print the changes of keys as they happen, until it is stopped.",
  arguments: [{ name: "PREFIX", help: "Only keys that begin so. Default: all.", optional: true }],
  options: {
    count: { type: "integer", min: 1, help: "End after so many. Default: never." },
  },
  client: true,
  json: "a line a change, as the WebSocket tells it; where changes were missed, a gap.",
  examples: [
    {
      words: "kv watch config/",
      meaning: "A line a change: put or deleted, the key, its value, who did it.",
    },
    { words: "kv watch config/ --count 1", meaning: "Wait for the next change." },
  ],
  async run({ words: [prefix], values, to, out }) {
    const filter: WatchFilter = { tables: ["keys"], ...(prefix && { prefix }) };
    await ongoing(
      to,
      "kv-watch",
      values.count,
      (client, signal) => client.watch(filter, { signal }),
      (event) => (out.json ? out.value(event) : out.line(shown(lineOf(event)))),
    );
    return undefined;
  },
});

function lineOf(event: WatchEvent): string {
  if (event.event === "gap") return `changes ${event.from} to ${event.to} were missed`;
  const { id, revision, state, who, operation, value } = event;
  const what = state === null ? `is gone (${operation})` : `= ${JSON.stringify(value)}`;
  return `${revision}  ${id} ${what}  by ${who}`;
}

export const kv: Group = {
  summary: "Keys: values under names.",
  commands: { get, put, delete: remove, increment, list, watch },
};
