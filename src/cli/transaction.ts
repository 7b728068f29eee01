/** `cortexd transaction FILE`: several operations as one, out of a file that says them as the wire does. */
import type { TransactionRun } from "../wire/transactions.ts";
import { command } from "./command.ts";
import { rest } from "./daemon.ts";
import { Exit } from "./exit.ts";
import { payloadOf } from "./input.ts";
import { plural } from "./words.ts";

export const transaction = command({
  summary: "Carry out several operations, all or nothing, where what is asked of keys and tasks holds.",
  arguments: [
    { name: "FILE", help: "The transaction as JSON, as POST /api/transaction takes it; -: standard input." },
  ],
  options: {},
  client: true,
  json: 'one object, {"branch", "unmet", "revision", "results"}, as POST /api/transaction answers.',
  examples: [
    { words: "transaction pay.json", meaning: "A line of JSON for each result." },
    {
      words: "transaction -",
      meaning: `From standard input, such as {"then": [{"operation": "kv.put", "input": {"key": "a", "value": 1}}]}.`,
    },
  ],
  async run({ words: [file], to, out }) {
    const input = (await payloadOf(file === "-" ? "-" : `@${file}`, "FILE")) as TransactionRun;
    const done = await rest(to).transaction(input);
    if (out.json) await out.value(done);
    const isNothing = done.branch === "else" && input.else === undefined;
    if (isNothing)
      throw new Exit(
        "refused",
        `Nothing was done: ${done.unmet.map((i) => JSON.stringify(input.if?.[i])).join(" and ")} did not hold.`,
        "Look at what is there, or say under `else` what is to be done then.",
      );
    if (out.json) return undefined;
    await out.line(
      `${done.branch}: ${plural(done.results.length, "operation")} at revision ${done.revision}.`,
    );
    for (const result of done.results) await out.value(result);
    return undefined;
  },
});
