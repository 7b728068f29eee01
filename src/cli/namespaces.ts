/** `cortexd namespaces …`: which there are, making one, and dropping one for good. */
import type { Namespace } from "../wire/namespaces.ts";
import { ask, someoneToAsk } from "./ask.ts";
import { command, type Group } from "./command.ts";
import { rest } from "./daemon.ts";
import { Exit } from "./exit.ts";
import type { Column } from "./output.ts";
import { number, stateColour } from "./words.ts";

const NAME = { name: "NAME", help: "The namespace." } as const;

const list = command({
  summary: "List the namespaces with what waits and runs in them.",
  arguments: [],
  options: {},
  client: true,
  watch: true,
  json: 'one object, {"namespaces": [...], "namespacesMax": ...}, as GET /api/namespaces answers.',
  examples: [{ words: "namespaces list", meaning: "A line a namespace, `default` first." }],
  async run({ to, out }) {
    const page = await rest(to).namespaces();
    if (out.json) await out.value(page);
    else {
      await out.table(page.namespaces, columns, "There are no namespaces.");
      await out.line(out.paint(`${page.namespaces.length} of at most ${page.namespacesMax}`, "dim"));
    }
    return undefined;
  },
});

const count = (title: string, of: (row: Namespace) => number): Column<Namespace> => ({
  title,
  of: (row) => number(of(row)),
  right: true,
  whole: true,
});
const columns: Column<Namespace>[] = [
  { title: "NAMESPACE", of: ({ name }) => name, whole: true },
  {
    title: "STATUS",
    of: ({ status }) => status,
    colour: ({ status }) => (status === "ok" ? stateColour("completed") : "red"),
    whole: true,
  },
  count("QUEUED", ({ tasks }) => tasks.queued),
  count("SCHEDULED", ({ tasks }) => tasks.scheduled),
  count("RUNNING", ({ tasks }) => tasks.running),
  count("WORKERS", ({ workers }) => workers.idle + workers.busy + workers.draining),
  count("LOG MIB", ({ logBytes }) => Math.ceil(logBytes / 1024 ** 2)),
  { title: "REVISION", of: ({ revision }) => String(revision), right: true, whole: true },
];

const create = command({
  summary: "Make a namespace; what is made in it first makes it too.",
  arguments: [NAME],
  options: {},
  client: true,
  json: 'one object, {"namespace": ..., "created": ...}; created is false when it was there.',
  examples: [{ words: "namespaces create staging", meaning: "Before anything is submitted to it." }],
  async run({ words: [name], to, out }) {
    const made = await rest(to).createNamespace(name!);
    if (out.json) await out.value(made);
    else await out.line(made.created ? `${name} is made.` : `${name} is there already.`);
    return undefined;
  },
});

const drop = command({
  summary: "Drop a namespace with all that is in it, for good.",
  arguments: [NAME],
  options: { yes: { type: "flag", help: "Do not ask." } },
  client: true,
  json: 'one object, {"namespace": ...}.',
  examples: [
    { words: "namespaces drop staging", meaning: "Says what is in it, and asks for its name." },
    { words: "namespaces drop staging --yes", meaning: "For programs." },
  ],
  async run({ words: [name], values, to, out }) {
    const client = rest(to);
    if (!values.yes) {
      someoneToAsk(out, `Dropping ${name} deletes all that is in it`);
      const found = (await client.namespaces()).namespaces.find((one) => one.name === name);
      if (found !== undefined) await out.line(inIt(found));
      const answer = await ask(`Type ${name} to drop it for good: `);
      if (answer !== name)
        throw new Exit("refused", `${name} was not dropped.`, "Type its name if it is meant.");
    }
    const dropped = await client.dropNamespace(name!);
    if (out.json) await out.value(dropped);
    else await out.line(`${name} is gone.`);
    return undefined;
  },
});

const inIt = ({ name, tasks, workers }: Namespace) => {
  const unfinished = tasks.queued + tasks.scheduled + tasks.running;
  const online = workers.idle + workers.busy + workers.draining;
  return `${name} holds ${number(unfinished)} tasks that have not ended and ${number(online)} workers.`;
};

export const namespaces: Group = {
  summary: "States of their own under one daemon.",
  commands: { list, create, drop },
};
