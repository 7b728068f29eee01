/** Texts in memory that both threads see: they come back as they were, and no memory is used by two at once. */
import { expect, test } from "bun:test";
import { readShared, type Shared, SharedTexts } from "../../src/log/shared.ts";

const textOf = (shared: Shared) => Buffer.from(readShared(shared)).toString();

test("shared - a text comes back as its pieces are", () => {
  const texts = new SharedTexts();
  for (const pieces of [["a"], ["one ", "", "two"], ["ünïcode ", "€🙂", "\n"], []])
    expect(textOf(texts.write(pieces))).toBe(pieces.join(""));
});

test("shared - one of three bytes a unit finds the room that it needs, wherever that ends", () => {
  const texts = new SharedTexts();
  for (const length of [21_845, 21_846, 65_535, 65_536, 1_000_000]) {
    const pieces = ["x", "€".repeat(length), "y"];
    const shared = texts.write(pieces);
    expect(textOf(shared)).toBe(pieces.join(""));
    texts.giveBack(shared.bytes);
  }
});

test("shared - memory is used again, but not before it is given back", () => {
  const texts = new SharedTexts();
  const first = texts.write(["first"]);
  const second = texts.write(["second"]);
  expect(second.bytes).not.toBe(first.bytes);
  expect(textOf(first)).toBe("first");
  texts.giveBack(first.bytes);
  const third = texts.write(["3"]);
  expect(third.bytes).toBe(first.bytes);
  expect([textOf(second), textOf(third)]).toEqual(["second", "3"]);
});

test("shared - what is larger than any batch should be is not kept", () => {
  const texts = new SharedTexts();
  const large = texts.write(["x".repeat(5 * 1024 * 1024)]);
  texts.giveBack(large.bytes);
  expect(texts.write(["small"]).bytes.byteLength).toBeLessThan(large.bytes.byteLength);
});

test("shared - what would come back changed is refused", () => {
  expect(() => new SharedTexts().write(["fine", "\ud800"])).toThrow("well-formed");
});
