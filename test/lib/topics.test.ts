/** Patterns of topics against what they mean, written as regular expressions. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { fits, Topics } from "../../src/lib/topics.ts";

const meaning = (pattern: string) =>
  new RegExp(
    `^${pattern
      .split(".")
      .map((token) => (token === "*" ? "[^.]+" : token === ">" ? ".+" : token.replace(/[$+]/g, "\\$&")))
      .join("\\.")}$`,
  );

describe("topics - patterns", () => {
  const rows: [pattern: string, topic: string, fits: boolean][] = [
    ["orders", "orders", true],
    ["orders", "orders.eu", false],
    ["orders.*", "orders.eu", true],
    ["orders.*", "orders", false],
    ["orders.*", "orders.eu.new", false],
    ["orders.>", "orders.eu", true],
    ["orders.>", "orders.eu.new", true],
    ["orders.>", "orders", false],
    ["*.eu.>", "orders.eu.new", true],
    ["*", "orders", true],
    [">", "orders.eu", true],
    [">", "$worker.w1", false],
    ["*.w1", "$worker.w1", false],
    ["$worker.w1", "$worker.w1", true],
    ["$worker.a.b", "$worker.a.b", true],
    ["__proto__", "__proto__", true],
    ["constructor", "toString", false],
  ];
  test.each(rows)("topics - %s and %s: %p", (pattern, topic, expected) => {
    expect(fits(pattern, topic)).toBe(expected);
  });
});

test("topics - whatever comes and goes, a topic finds all that stand under patterns it fits, and no others", () => {
  const token = fc.constantFrom("a", "b", "c");
  const topic = fc.array(token, { minLength: 1, maxLength: 4 }).map((tokens) => tokens.join("."));
  const pattern = fc
    .tuple(fc.array(fc.oneof(token, fc.constant("*")), { maxLength: 3 }), fc.constantFrom("a", "*", ">"))
    .map(([tokens, last]) => [...tokens, last].join("."));
  const step = fc.record({ add: fc.boolean(), pattern, value: fc.integer({ min: 0, max: 3 }), topic });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const topics = new Topics<number>();
      const model = new Set<string>();
      for (const { add, pattern, value, topic } of steps) {
        const key = `${pattern} ${value}`;
        if (add) {
          topics.add(pattern, value);
          model.add(key);
        } else {
          topics.delete(pattern, value);
          model.delete(key);
        }
        const expected = [...model]
          .map((one) => one.split(" ") as [string, string])
          .filter(([under]) => meaning(under).test(topic))
          .map(([, value]) => Number(value));
        expect([...topics.match(topic)].sort()).toEqual(expected.sort());
        expect(topics.size).toBe(model.size);
      }
    }),
    { numRuns: 300 },
  );
});
