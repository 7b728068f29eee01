/** `cortexd watch`: whatever changes, as it happens, with its cause. */
import type { WatchEvent } from "../../client/state.ts";
import { WatchStart } from "../wire/state.ts";
import { command } from "./command.ts";
import { ongoing } from "./ongoing.ts";
import { inputOf, optionsOf } from "./options.ts";
import { brief } from "./output.ts";

export const watch = command({
  summary: "Print what changes, as it happens, until it is stopped.",
  arguments: [],
  options: {
    ...optionsOf(WatchStart, ["watchId", "after"]),
    from: {
      type: "integer",
      min: 0,
      help: "Begin with the changes of this revision; those that are kept no more are told as a gap. Default: those to come.",
    },
    count: { type: "integer", min: 1, help: "End after so many. Default: never." },
  },
  client: true,
  json: "a line a change, as the WebSocket tells it; where changes were missed, a gap.",
  examples: [
    { words: "watch --queue mail", meaning: "A line a change of its tasks, settings and pauses." },
    {
      words: "watch --prefix config/ --from 1042",
      meaning: "Keys and locks that begin so, from a revision on.",
    },
    { words: "watch --topic 'orders.>' --json", meaning: "Messages as they are published and as they go." },
    { words: "watch --worker worker-001 --tables messages", meaning: "Those that are sent to this worker." },
    { words: "watch --lock deploy --count 1", meaning: "Wait until something happens to a lock." },
  ],
  async run({ values: { from, count, ...values }, to, out }) {
    const filter = {
      ...inputOf(WatchStart, values),
      ...(from !== undefined && { after: Math.max(0, from - 1) }),
    };
    await ongoing(
      to,
      "watch",
      count,
      (client, signal) => client.watch(filter, { signal }),
      (event) => (out.json ? out.value(event) : out.line(lineOf(event))),
    );
    return undefined;
  },
});

function lineOf(event: WatchEvent): string {
  if (event.event === "gap") return `changes ${event.from} to ${event.to} were missed`;
  const { revision, at, table, id, before, state, operation, who, value } = event;
  const became = before === state ? (state ?? "") : `${before ?? "new"} -> ${state ?? "gone"}`;
  const what = value === undefined ? "" : `  ${brief(value)}`;
  return `${revision}  ${new Date(at).toISOString()}  ${table} ${id}  ${became}  ${operation}  by ${who}${what}`;
}
