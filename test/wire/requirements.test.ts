import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { limits } from "../../src/wire/limits.ts";
import {
  compareVersions,
  type LabelValue,
  meets,
  type Requirement,
  readRequirement,
} from "../../src/wire/requirements.ts";

const read = (text: string): Requirement => {
  const found = readRequirement(text);
  if ("detail" in found) throw new Error(`${text}: ${found.detail}`);
  return found;
};

describe("requirements - reading", () => {
  const spellings: [string, string][] = [
    ["gpu", "gpu"],
    ["  !spot ", "!spot"],
    ["mem>=16", "mem >= 16"],
    ["gpu==true", "gpu = true"],
    ["zone!=eu", "zone != eu"],
    ["model in [b,a , b]", "model in [a, b]"],
    ["model in [a]", "model = a"],
    ["zone not in [us, eu]", "zone not in [eu, us]"],
    ["zone not in [eu]", "zone != eu"],
    ['city = "New York"', 'city = "New York"'],
    ['city = "Rome"', "city = Rome"],
    ["temp > -5", "temp > -5"],
    ["not = yes", "not = yes"],
    ["in in [in]", "in = in"],
  ];
  test.each(spellings)("requirements - %p is spelt %p, and stays so", (given, want) => {
    expect(read(given).text).toBe(want);
    expect(read(want)).toEqual(read(given));
  });

  const wrong: [string, RegExp][] = [
    ["", /must begin with the name/],
    ["!", /must begin with the name/],
    ["= 3", /must begin with the name/],
    ["__proto__", /must begin with the name/],
    ["gpu true", /cannot be read behind gpu/],
    ["gpu =", /must name a value behind gpu =/],
    ["!gpu = true", /says more than !gpu/],
    ["mem >= lots", /must compare mem with a number or a version/],
    ["mem > 1 > 2", /ends before ">"/],
    ["model in a", /must name its values in brackets/],
    ["model in []", /must name its values in brackets/],
    ["model in [a, b", /with commas between them/],
    ["model in [a b]", /with commas between them/],
    ["zone not = eu", /cannot be read behind zone/],
    ["zone = ü", /cannot be read from "ü" on/],
    ['zone = "eu', /cannot be read from "\\?"eu/],
    ['zone = "\\x"', /must name a value/],
    [`m in [${Array.from({ length: limits.requirementValuesMax + 1 }, (_, i) => i).join(",")}]`, /more than/],
    [`${"n".repeat(limits.nameLengthMax + 1)}`, /more than 128 characters/],
  ];
  test.each(wrong)("requirements - %p is refused in words", (text, says) => {
    const found = readRequirement(text);
    expect("detail" in found ? found.detail : found.text).toMatch(says);
  });

  test("requirements - whatever is read is read again as itself, and nothing throws", () => {
    const words = fc.constantFrom(
      "gpu",
      "mem",
      "!",
      "in",
      "not",
      "[",
      "]",
      ",",
      "=",
      ">=",
      "16",
      '"a b"',
      "v1.2",
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 9 }), (parts) => {
        const found = readRequirement(parts.join(" "));
        if ("text" in found) expect(read(found.text)).toEqual(found);
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => void readRequirement(text)));
  });
});

describe("requirements - meeting", () => {
  const rows: [string, LabelValue[], boolean][] = [
    ["gpu", [true], true],
    ["gpu", ["a100"], true],
    ["gpu", [0], true],
    ["gpu", [false], false],
    ["gpu", [], false],
    ["!gpu", [], true],
    ["!gpu", [false], true],
    ["!gpu", [true], false],
    ["gpu = true", [true], true],
    ["gpu = true", ["true"], true],
    ["gpu = true", [false], false],
    ["mem = 16", [16], true],
    ["mem = 16.0", [16], true],
    ["mem >= 16", [16], true],
    ["mem >= 16", [15.5], false],
    ["mem < 16.25", [16.5], false],
    ["mem >= 16", ["32"], true],
    ["mem >= 16", ["much"], false],
    ["mem >= 16", [true], false],
    ["mem >= 16", [], false],
    ["zone = eu", ["eu"], true],
    ["zone != eu", ["us"], true],
    ["zone != eu", ["eu"], false],
    ["zone != eu", [], true],
    ["model in [a, b]", ["b"], true],
    ["model in [a, b]", ["c"], false],
    ["model not in [a, b]", ["c"], true],
    ["model not in [a, b]", [], true],
    ["node >= 18", [true, "20.11"], true],
    ["node >= 20.9", ["20.11"], true],
    ["node >= 21", ["20.11", "22.1"], true],
    ["node < 20", ["20.11"], false],
    ["node = 20", ["20.0.0"], true],
    ["node = 20", ["20.11"], false],
    ["node > 20", ["20.0.0-rc.1"], false],
    ["node > 19.9", ["v20.0.0-rc.1"], true],
  ];
  test.each(rows)("requirements - %p of what offers %p: %p", (text, offered, want) => {
    expect(meets(read(text), offered)).toBe(want);
  });

  test("requirements - versions, each older than the next", () => {
    const inOrder = ["0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-rc.2", "1.0.0-rc.11"];
    inOrder.push("1", "1.0.1", "1.2", "1.10", "2");
    for (const [i, a] of inOrder.entries())
      for (const [j, b] of inOrder.entries()) expect(Math.sign(compareVersions(a, b))).toBe(Math.sign(i - j));
  });

  test("requirements - `!=` and `not in` are the opposite of their positive form", () => {
    const value = fc.oneof(
      fc.constantFrom("a", "b", "1", "1.0"),
      fc.integer({ min: 0, max: 2 }),
      fc.boolean(),
    );
    fc.assert(
      fc.property(
        fc.array(value, { maxLength: 3 }),
        fc.constantFrom("a", "1", "true"),
        (offered, literal) => {
          expect(meets(read(`x != ${literal}`), offered)).toBe(!meets(read(`x = ${literal}`), offered));
          expect(meets(read(`x not in [${literal}, b]`), offered)).toBe(
            !meets(read(`x in [${literal}, b]`), offered),
          );
        },
      ),
    );
  });
});
