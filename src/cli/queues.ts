/** `cortexd queues`: the queues with their counts. */
import type { Queue } from "../wire/state.ts";
import { taskStates } from "../wire/tasks.ts";
import { command } from "./command.ts";
import { rest } from "./daemon.ts";
import type { Column } from "./output.ts";
import { number, stateColour } from "./words.ts";

export const queues = command({
  summary: "List the queues with their counts.",
  arguments: [],
  options: {},
  client: true,
  json: 'one object, {"queues": [...]}, as GET /api/queues answers.',
  examples: [
    { words: "queues", meaning: "A line a queue: how many tasks are in which state." },
    { words: "queues --json | jq -r '.queues[].name'", meaning: "Their names alone." },
  ],
  async run({ to, out }) {
    const list = await rest(to).queues();
    if (out.json) await out.value({ queues: list });
    else
      await out.table(
        list,
        queueColumns,
        "There are no queues: a queue is there once a task was submitted to it.",
      );
    return undefined;
  },
});

export const queueColumns: Column<Queue>[] = [
  { title: "QUEUE", of: ({ name }) => name, whole: true },
  ...taskStates.map(
    (state): Column<Queue> => ({
      title: state.toUpperCase(),
      of: ({ counts }) => number(counts[state]),
      right: true,
      whole: true,
      colour: ({ counts }) => (counts[state] === 0 ? "dim" : stateColour(state)),
    }),
  ),
];
