/** `cortexd locks …`: who holds what and who waits, and taking a lock from whoever has it. */
import { orNull } from "../../client/errors.ts";
import type { Lock, LockRow } from "../wire/locks.ts";
import { LockList } from "../wire/locks.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { Exit } from "./exit.ts";
import { inputOf, optionsOf } from "./options.ts";
import type { Column } from "./output.ts";
import { pagesOf } from "./pages.ts";
import { age } from "./words.ts";

const NAME = { name: "NAME", help: "The name of what is locked." } as const;

const list = command({
  summary: "List locks by name: who holds what, and who waits.",
  arguments: [{ name: "PREFIX", help: "Only names that begin so.", optional: true }],
  options: {
    ...optionsOf(LockList, ["name", "prefix", "cursor", "limit"]),
    limit: { type: "integer", min: 1, default: 1000, help: "At most so many." },
  },
  client: true,
  watch: true,
  json: 'one object, {"locks": [...], "cursor": ...}, as GET /api/locks answers; cursor is null when all are there.',
  examples: [
    { words: "locks list", meaning: "A line a name and lock." },
    { words: "locks list src/ --state waiting", meaning: "Who waits for something below src/." },
  ],
  async run({ words: [prefix], values, to, out }) {
    const client = rest(to);
    const filter = { ...inputOf(LockList, values), ...(prefix && { prefix }) };
    const pages = pagesOf("locks", values.limit, (asked) => client.locks.list({ ...filter, ...asked }));
    await out.pages("locks", pages, columns(out.now()), "Nobody holds or waits for anything like that.");
    return undefined;
  },
});

const columns = (now: number): Column<LockRow>[] => [
  { title: "NAME", of: ({ name }) => name, whole: true },
  { title: "MODE", of: ({ mode }) => mode, whole: true },
  { title: "STATE", of: ({ lock }) => lock.state, whole: true },
  { title: "LOCK", of: ({ lock }) => lock.lockId, whole: true },
  { title: "WHO", of: ({ lock }) => lock.workerId ?? lock.who },
  { title: "SINCE", of: ({ lock }) => age(lock.heldAt ?? lock.createdAt, now), whole: true },
  {
    title: "EXPIRES",
    of: ({ lock }) => (lock.expiresAt === null ? "with its worker" : age(lock.expiresAt, now)),
    whole: true,
  },
  { title: "VALUE", of: ({ lock }) => (lock.value === null ? "" : JSON.stringify(lock.value)) },
];

const show = command({
  summary: "Show who holds a name and who waits for it, in the order of the line.",
  arguments: [NAME],
  options: {},
  client: true,
  watch: true,
  json: 'one object, {"locks": [...], "cursor": ...}, as GET /api/locks?name=NAME answers.',
  examples: [{ words: "locks show deploy", meaning: "Its holder, and the line behind it." }],
  async run({ words: [name], to, out }) {
    const client = rest(to);
    const pages = pagesOf("locks", 1000, (asked) => client.locks.list({ name: name!, ...asked }));
    await out.pages("locks", pages, columns(out.now()), `Nobody holds or waits for ${name}.`);
    return undefined;
  },
});

const steal = command({
  summary: "Take a lock from whoever holds it; whoever is next in line has it then.",
  arguments: [NAME],
  options: {
    lock: { type: "text", unit: "ID", help: "Of several holders, this one. Default: all of them." },
    reason: { type: "text", unit: "TEXT", help: "Why: for the log, and for its holder." },
  },
  client: true,
  json: 'one object, {"stolen": [...]}: the ids of the locks.',
  examples: [
    {
      words: 'locks steal deploy --reason "its machine is gone"',
      meaning: "It is told, and who is next goes on.",
    },
  ],
  async run({ words: [name], values, to, out }) {
    const client = rest(to);
    const { reason } = values;
    const chosen: Lock[] = [];
    const pages = pagesOf("locks", Number.POSITIVE_INFINITY, (asked) =>
      client.locks.list({ name: name!, state: "held", ...asked }),
    );
    for await (const { rows } of pages)
      for (const { lock } of rows)
        if (values.lock === undefined || values.lock === lock.lockId) chosen.push(lock);
    const stolen: string[] = [];
    for (const { lockId, workerId, who } of chosen) {
      const how = reason === undefined ? { lockId } : { lockId, reason };
      // Who has released it meanwhile has nothing to be taken.
      if ((await orNull(client.locks.steal(how), "unknown-lock")) === null) continue;
      stolen.push(lockId);
      if (!out.json) await out.line(`Lock ${lockId} was taken from ${workerId ?? who}.`);
    }
    if (stolen.length === 0)
      throw new Exit(
        "not-found",
        `Nobody holds ${name}${values.lock === undefined ? "" : ` as lock ${values.lock}`}.`,
        "See who holds what with `cortexd locks list`.",
      );
    if (out.json) await out.value({ stolen });
    return undefined;
  },
});

export const locks: Group = {
  summary: "Locks: who holds what, and who waits.",
  commands: { list, show, steal },
};
