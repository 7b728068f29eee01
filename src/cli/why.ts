/**
 * `cortexd why CODE`: what a code means and what to do about it, without a daemon. Codes of refusals and of attempts, exit
 * codes and HTTP statuses; all of it stands in the tables that the daemon itself answers from.
 */
import { nearest } from "../lib/nearest.ts";
import { attemptTable, type ErrorCode, errorTable, errorType } from "../wire/errors.ts";
import { commonErrors, mutationErrors, operationNames, operations } from "../wire/operations.ts";
import { command } from "./command.ts";
import { Exit, exitTable } from "./exit.ts";
import type { Output } from "./output.ts";

export type Meaning =
  | {
      kind: "refusal";
      code: ErrorCode;
      status: number;
      means: string;
      retryable: boolean;
      hint: string;
      /** The operations that answer it; null: any may. */
      operations: string[] | null;
    }
  | { kind: "attempt"; code: string; means: string; hint: string }
  | { kind: "exit"; code: number; name: string; means: string };

const refusals = Object.keys(errorTable) as ErrorCode[];
const attempts = Object.keys(attemptTable) as (keyof typeof attemptTable)[];

function refusal(code: ErrorCode): Meaning {
  const { status, title, retryable, hint } = errorTable[code];
  const isCommon = ([...commonErrors, ...mutationErrors] as ErrorCode[]).includes(code);
  const by = operationNames.filter((name) =>
    (operations[name].errors as readonly ErrorCode[]).includes(code),
  );
  return { kind: "refusal", code, status, means: title, retryable, hint, operations: isCommon ? null : by };
}

function attempt(code: keyof typeof attemptTable): Meaning {
  const { title, hint } = attemptTable[code];
  return { kind: "attempt", code, means: title, hint };
}

const uri = errorType("" as ErrorCode);

/** All that a word may mean: a code, the URI of a problem's type, a number. */
export function meaningsOf(word: string): Meaning[] {
  if (word.startsWith(uri)) return refusals.filter((code) => uri + code === word).map(refusal);
  const exited = /^exit-([0-9]{1,3})$/.exec(word)?.[1];
  if (exited !== undefined) return [programEnded(word, exited)];
  const number = Number(word);
  return [
    ...refusals.filter((code) => code === word || errorTable[code].status === number).map(refusal),
    ...attempts.filter((code) => code === word).map(attempt),
    ...Object.entries(exitTable)
      .filter(([name, { code }]) => name === word || code === number)
      .map(([name, { code, help }]): Meaning => ({ kind: "exit", code, name, means: help })),
  ];
}

const programEnded = (code: string, exited: string): Meaning => ({
  kind: "attempt",
  code,
  means: `A program that \`cortexd run\` started ended with exit code ${exited}`,
  hint: "What that means is the program's to say: `cortexd tasks logs ID`. --exit of `cortexd run` gives it another meaning.",
});

export const why = command({
  summary: "Say what a code means and what to do about it; needs no daemon.",
  arguments: [
    {
      name: "CODE",
      help: "Of a refusal, of a task's error, an exit code or an HTTP status; or a problem's `type`. Without one: all.",
      optional: true,
    },
  ],
  options: {},
  client: false,
  json: 'one array, an object a meaning: {"kind": "refusal" | "attempt" | "exit", "code", "means", "hint", ...}.',
  examples: [
    { words: "why lease-lost", meaning: "What a refusal means, and which operations answer it." },
    { words: "why urn:cortexd:error:busy", meaning: "The `type` of a problem, as an answer has it." },
    { words: "why 409", meaning: "All refusals of that HTTP status; below 100 it is an exit code." },
  ],
  async run({ words: [word], out }) {
    const meanings =
      word === undefined ? [...refusals.map(refusal), ...attempts.map(attempt)] : meaningsOf(word);
    if (word !== undefined && meanings.length === 0) throw unknown(word);
    if (out.json) await out.value(meanings);
    else if (word === undefined) {
      const columns = [
        { title: "CODE", of: ({ code }: Meaning) => String(code), whole: true },
        { title: "MEANS", of: ({ means }: Meaning) => means },
      ] as const;
      await out.table(meanings, columns, "");
    } else
      for (const [i, meaning] of meanings.entries()) {
        if (i > 0) await out.line();
        await told(meaning, out);
      }
    return undefined;
  },
});

function unknown(word: string): Exit {
  const known = [...refusals, ...attempts, ...Object.keys(exitTable)];
  const near = nearest(word, known);
  const meant = near === null ? "" : `; did you mean ${near}?`;
  return new Exit(
    "usage",
    `${word} is no code of cortexd${meant}`,
    "`cortexd why` lists the codes. Any other code of a task's error is its handler's own.",
  );
}

async function told(meaning: Meaning, out: Output): Promise<void> {
  if (meaning.kind === "exit") {
    return out.fields([
      ["Exit code", `${meaning.code} (${meaning.name})`, "bold"],
      ["Means", meaning.means],
    ]);
  }
  if (meaning.kind === "attempt") {
    return out.fields([
      ["Code", `${meaning.code}, of a task's error`, "bold"],
      ["Means", `${meaning.means}.`],
      ["Do", meaning.hint],
    ]);
  }
  const { code, means, hint, status, retryable, operations } = meaning;
  return out.fields([
    ["Code", code, "bold"],
    ["Means", `${means}.`],
    ["Do", hint],
    ["Again", retryable ? "The same request may be sent again." : "The same request would be refused again."],
    ["HTTP", String(status)],
    ["Type", errorType(code)],
    [
      "Answered by",
      operations === null ? "any operation" : operations.join(", ") || "requests that reach no operation",
    ],
  ]);
}
