/** `cortexd why`: every code that a caller may meet is explained, without a daemon. */
import { expect, test } from "bun:test";
import { exitTable } from "../../src/cli/exit.ts";
import { type Meaning, meaningsOf } from "../../src/cli/why.ts";
import { attemptTable, type ErrorCode, errorTable, problem } from "../../src/wire/errors.ts";
import { operationNames, operations } from "../../src/wire/operations.ts";
import { runCortexd } from "../support/daemon.ts";

test("why - the type of every problem leads to what it means and what to do", () => {
  for (const code of Object.keys(errorTable) as ErrorCode[]) {
    const { title, hint } = errorTable[code];
    const meaning = { kind: "refusal", code, means: title, hint };
    expect(meaningsOf(problem(code, "x").type)).toMatchObject([meaning]);
    expect(meaningsOf(code)).toContainEqual(expect.objectContaining(meaning));
  }
});

test("why - a refusal names the operations that answer it, unless any may", () => {
  const lost = meaningsOf("lease-lost")[0] as Meaning & { operations: string[] };
  for (const name of operationNames) {
    const answers = (operations[name].errors as readonly string[]).includes("lease-lost");
    expect({ name, answers: lost.operations.includes(name) }).toEqual({ name, answers });
  }
  expect(meaningsOf("busy")).toMatchObject([{ operations: null }]);
});

test("why - a number is an HTTP status or an exit code", () => {
  const codes = meaningsOf("409").map(({ code }) => code);
  expect(codes).toContain("lease-lost");
  expect(codes).not.toContain("busy");
  expect(meaningsOf("14")).toEqual([
    { kind: "exit", code: 14, name: "not-completed", means: exitTable["not-completed"].help },
  ]);
});

test("why - codes of attempts are known, those of programs by their number", () => {
  for (const code of Object.keys(attemptTable)) expect(meaningsOf(code)).toMatchObject([{ kind: "attempt" }]);
  expect(meaningsOf("exit-3")).toMatchObject([{ kind: "attempt", code: "exit-3" }]);
  expect(meaningsOf("exit-")).toEqual([]);
});

test("why - it answers without a daemon, and a mistyped code with the one that is meant", async () => {
  const environment = { CORTEX_URL: "http://127.0.0.1:9" };
  const told = await runCortexd(["why", "lease-lost"], { environment });
  expect(told.code).toBe(0);
  for (const part of ["Stop working on the task", "409", "urn:cortexd:error:lease-lost", "task.complete"])
    expect(told.output).toContain(part);
  const all = await runCortexd(["why"], { environment });
  for (const code of [...Object.keys(errorTable), ...Object.keys(attemptTable)])
    expect(all.output).toContain(`${code} `);
  const mistyped = await runCortexd(["why", "leaselost"], { environment });
  expect(mistyped.code).toBe(exitTable.usage.code);
  expect(mistyped.errors).toContain("did you mean lease-lost?");
});
