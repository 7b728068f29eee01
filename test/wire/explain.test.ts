/** What a person reads when the input is wrong: pointers, sentences, and agreement with the compiled check. */
import { describe, expect, test } from "bun:test";
import { type TSchema, Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import fc from "fast-check";
import { explain, explainInWords, fieldErrorsMax } from "../../src/wire/explain.ts";
import { limits } from "../../src/wire/limits.ts";
import { type OperationName, operationNames, operations } from "../../src/wire/operations.ts";

const submit = operations["task.submit"].input;
const register = operations["worker.register"].input;
const lines = (schema: TSchema, value: unknown) =>
  explain(schema, value).map((error) => `${error.pointer}: ${error.detail}`);

describe("explain", () => {
  const rows: [claim: string, schema: TSchema, value: unknown, expected: string[]][] = [
    ["a task that fits has no errors", submit, { type: "send" }, []],
    [
      "a wrong choice names the choices",
      submit,
      { type: "send", priority: "urgent" },
      ["/priority: must be one of critical, high, normal, low"],
    ],
    [
      "an unknown field names the one probably meant",
      submit,
      { type: "send", prio: "high" },
      ["/prio: unknown field; did you mean priority?"],
    ],
    ["an unknown field is named", submit, { type: "send", colour: 1 }, ["/colour: unknown field"]],
    ["a missing field is named", submit, {}, ["/type: is missing"]],
    ["the wrong type at the top names both right ones", submit, "send", [": must be an object or an array"]],
    ["null is no task", submit, null, [": must be an object or an array"]],
    ["an item is found in its array", submit, [{ type: "a" }, { type: 5 }], ["/1/type: must be a string"]],
    ["an empty array is refused", submit, [], [": must have at least 1 item"]],
    ["a range names its end", submit, { type: "a", attempts: 0 }, ["/attempts: must be at least 1"]],
    ["a fraction is not whole", submit, { type: "a", attempts: 1.5 }, ["/attempts: must be a whole number"]],
    [
      "a number as text is no number",
      submit,
      { type: "a", attempts: "3" },
      ["/attempts: must be a whole number"],
    ],
    [
      "a date is no moment",
      submit,
      { type: "a", runAt: "2030-01-01T00:00Z" },
      ["/runAt: must be a moment in whole ms since 1970"],
    ],
    ["an empty name is refused", submit, { type: "" }, ["/type: must not be empty"]],
    [
      "a long name names the limit",
      submit,
      { type: "a".repeat(limits.nameLengthMax + 1) },
      [`/type: must have at most ${limits.nameLengthMax} characters`],
    ],
    [
      "a nested field has its whole pointer",
      submit,
      { type: "a", backoff: { strategy: "random", delayMs: 1 } },
      ["/backoff/strategy: must be one of fixed, exponential, linear, polynomial, list"],
    ],
    ["a pointer escapes slash and tilde", submit, { type: "a", "x/y~z": 1 }, ["/x~1y~0z: unknown field"]],
    [
      "a doubled name is pointed at",
      register,
      { workerId: "w", capabilities: ["gpu", "gpu"] },
      ["/capabilities/1: is there twice"],
    ],
    [
      "an error may be a text or an object",
      operations["task.fail"].input,
      { taskId: "1-0", workerId: "w", token: 1, error: 5 },
      ["/error: must be a string or an object"],
    ],
    [
      "the nearest branch explains an object",
      operations["task.fail"].input,
      { taskId: "1-0", workerId: "w", token: 1, error: { code: "E" } },
      ["/error/message: is missing"],
    ],
    [
      "a task's id is explained",
      operations["task.get"].input,
      { taskId: "abc" },
      ["/taskId: must be an id as it was answered, such as 1042-0"],
    ],
  ];
  for (const [claim, schema, value, expected] of rows) {
    test(`explain - ${claim}`, () => expect(lines(schema, value)).toEqual(expected));
  }

  test("explain - __proto__ in a control field is refused, as a field and as a label", () => {
    expect(lines(submit, JSON.parse('{"type":"a","__proto__":{"queue":"x"}}'))).toEqual([
      "/__proto__: unknown field",
    ]);
    const [error] = explain(submit, JSON.parse('{"type":"a","labels":{"__proto__":"x"}}'));
    expect(error?.pointer).toBe("/labels/__proto__");
  });

  test("explain - whatever an operation wants a text to be is said in words", () => {
    const patterns = new Set<string>();
    const collect = (schema: unknown): void => {
      if (typeof schema !== "object" || schema === null) return;
      if ("pattern" in schema && typeof schema.pattern === "string") patterns.add(schema.pattern);
      for (const part of Object.values(schema)) collect(part);
    };
    for (const name of operationNames) collect(operations[name].input);
    expect(patterns.size).toBeGreaterThan(10);
    const shown = [...patterns].filter((pattern) =>
      explain(Type.String({ pattern }), "\u0000 \u0000")[0]?.detail.startsWith("must match"),
    );
    expect(shown).toEqual([]);
  });

  test("explain - who takes a worker's inbox for a topic is told where it is", () => {
    const detail = (name: OperationName, input: object) =>
      explainInWords(explain(operations[name].input, input));
    for (const name of ["message.publish", "message.emit"] as const)
      expect(detail(name, { topic: "$worker.w1" })).toMatch(
        /^\/topic: must be tokens .*; to send to a worker, give its id as workerId in its place$/,
      );
    const watched = { watchId: "w", topic: "$worker.w1", tables: ["messages"] };
    expect(detail("watch.start", watched)).toMatch(
      /^\/topic: must be a topic .*: watch it by workerId, with messages in tables, or have it under the subscription \$worker\.ID$/,
    );
    // What is wrong in another way is told as ever.
    for (const topic of ["worker.w1 ", "$other.w1"])
      expect(detail("watch.start", { ...watched, topic })).toEndWith("such as jobs.*.done or jobs.>");
    expect(
      explain(operations["watch.start"].input, { watchId: "w", workerId: "w1", tables: ["messages"] }),
    ).toEqual([]);
  });

  test("explain - a label's name is bounded like any name", () => {
    const labels = (length: number) => ({ type: "a", labels: { ["x".repeat(length)]: "y" } });
    expect(explain(submit, labels(limits.nameLengthMax))).toEqual([]);
    expect(explain(submit, labels(limits.nameLengthMax + 1))[0]?.detail).toContain("at most 128 characters");
  });

  test("explain - a thousand wrong tasks give a bounded answer", () => {
    const wrong = Array.from({ length: 1000 }, () => ({ kind: 1, type: 2 }));
    expect(explain(submit, wrong)).toHaveLength(fieldErrorsMax);
  });

  test("explain - the sentence names the first field and counts the rest", () => {
    expect(explainInWords(explain(submit, { type: 1, queue: 2, kind: 3 }))).toBe(
      "/type: must be a string (and 2 more)",
    );
  });

  test("explain - finds an error exactly where the compiled check of any operation refuses", () => {
    const words = ["type", "queue", "taskId", "workerId", "token", "error", "labels", "capabilities", "task"];
    const scalars = ["", "1-0", "a", "a b", "*", "high", -1, 0, 1, 1.5, 2 ** 40, true, null];
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom(...scalars),
        fc.array(tie("any"), { maxLength: 3 }),
        fc.dictionary(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 3 })), tie("any"), {
          maxKeys: 5,
        }),
      ),
    })).any;
    for (const name of operationNames) {
      const { input, example } = operations[name];
      const check = TypeCompiler.Compile(input as TSchema);
      expect(explain(input, example)).toEqual([]);
      fc.assert(
        fc.property(value, fc.boolean(), (drawn, beside) => {
          const tried =
            beside && drawn !== null && typeof drawn === "object"
              ? { ...(example as object), ...drawn }
              : drawn;
          expect(explain(input, tried).length === 0).toBe(check.Check(tried));
        }),
        { numRuns: 100 },
      );
    }
  });
});
