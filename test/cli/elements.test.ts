/** Where the elements of a stream of JSON begin and end, however it is cut into chunks. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Element, ElementReader, elementBytesMax, type Format } from "../../src/cli/elements.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

function read(input: Uint8Array, chunkBytes: number, format: Format = "auto") {
  const reader = new ElementReader(format);
  const elements: Element[] = [];
  for (let at = 0; at < input.length; at += chunkBytes) {
    // What was handed over may be used again: the reader must have its own copy of what it keeps.
    const chunk = input.slice(at, at + chunkBytes);
    elements.push(...reader.push(chunk));
    chunk.fill(0);
  }
  elements.push(...reader.end());
  return { elements, cutOff: reader.cutOff, passedOver: reader.passedOver };
}

/** Each element as `line:text`, or `line!` and what is wrong with it. */
const told = (elements: Element[]) =>
  elements.map((one) => ("text" in one ? `${one.line}:${one.text}` : `${one.line}!${one.problem}`));

const inside = "the input ends inside of it";

describe("elements - where they are", () => {
  const rows: [name: string, input: string, expected: string[], more?: { format?: Format; cutOff?: true }][] =
    [
      ["a list", '[{"a":1}, {"b":[2,"]"]}\n,3,"x,y"]', ['1:{"a":1}', '1:{"b":[2,"]"]}', "2:3", '2:"x,y"']],
      ["an empty list", " [ ] ", []],
      ["nothing", " \n", []],
      ["a list within an object", '{"v":1,\n"tasks":[{"a":1},\n{"a":2}],"x":{}}', ['2:{"a":1}', '3:{"a":2}']],
      ["two lists within an object", '{"tasks":[1],"jobs":[2]}', ["1:1", "1:2"]],
      ["a list in an inner object is no list", '{"a":{"tasks":[1]}}', ['1:{"a":{"tasks":[1]}}']],
      ["tasks as a text, not a key", '{"a":"tasks","b":[1]}', ['1:{"a":"tasks","b":[1]}']],
      ["lines", '{"a":1}\n\n{"b":2}\r\n{"c":3}', ['1:{"a":1}', '3:{"b":2}', '4:{"c":3}']],
      ["objects over several lines", '{"a":\n1}\n{"b":\n2}', ['1:{"a":\n1}', '3:{"b":\n2}']],
      ["values on the top", '"x"\n1\n[2]', ['1:"x"', "2:1", "3:2"]],
      [
        "lines that hold lists of tasks",
        '{"tasks":[1]}\n[2]',
        ['1:{"tasks":[1]}', "2:[2]"],
        { format: "ndjson" },
      ],
      ["a byte order mark", "\ufeff[1]", ["1:1"]],
      ["quotes and escapes", '["a\\"],", "\\\\", "]"]', ['1:"a\\"],"', '1:"\\\\"', '1:"]"']],
      ["more than one byte a character", '["žluťoučký 🐎", "é"]', ['1:"žluťoučký 🐎"', '1:"é"']],
      ["a broken element stops no other", '[{"a" 1}, {"b":2}]', ['1:{"a" 1}', '1:{"b":2}']],
      ["a broken line stops no other", '{"a":1}\n{"b":\n{"c":3}', ['1:{"a":1}', '2:{"b":', '3:{"c":3}']],
      ["a comma that is missing", '[{"a":1} {"b":2}]', ['1:{"a":1} {"b":2}']],
      ["cut off within an element", '[{"a":1},\n{"b":', ['1:{"a":1}', `2!${inside}`], { cutOff: true }],
      ["cut off between elements", '[{"a":1},', ['1:{"a":1}'], { cutOff: true }],
      ["cut off where the list should end", '[{"a":1}', ['1:{"a":1}'], { cutOff: true }],
      ["cut off within a number", "[1, 2", ["1:1", `1!${inside}`], { cutOff: true }],
      ["cut off within a text", '["a', [`1!${inside}`], { cutOff: true }],
      ["cut off behind the list", '{"tasks":[1]', ["1:1"], { cutOff: true }],
      ["cut off within the object", '{"a":1', [`1!${inside}`], { cutOff: true }],
    ];
  test.each(rows)("elements - %s", (_, input, expected, { format = "auto", cutOff = false } = {}) => {
    const bytes = bytesOf(input);
    for (let size = bytes.length; size >= 1; size--) {
      const found = read(bytes, size, format);
      // The mark is looked for in the first chunk alone, and no file's is smaller than it.
      if (size < 3 && input.startsWith("\ufeff")) continue;
      expect([size, ...told(found.elements)]).toEqual([size, ...expected]);
      expect(found.cutOff).toBe(cutOff);
      expect(found.elements.map(({ number }) => number)).toEqual(expected.map((_, i) => i + 1));
    }
  });

  test("elements - what stands beside the list is named", () => {
    const { passedOver } = read(bytesOf('{"version":1,"queue":"mail","tasks":[],"meta":{"a":[]}}'), 7);
    expect(passedOver).toEqual(["version", "queue", "meta"]);
    expect(read(bytesOf('{"version":1}'), 3).passedOver).toEqual([]);
  });

  test("elements - bytes that are no UTF-8 refuse their element alone", () => {
    const bytes = Uint8Array.of(...bytesOf('["a'), 0xff, ...bytesOf('", "b"]'));
    expect(told(read(bytes, 3).elements)).toEqual(["1!it is not UTF-8", '1:"b"']);
  });

  test("elements - one that is too large is refused, is not kept, and stops no other", () => {
    const reader = new ElementReader();
    const filler = bytesOf("x".repeat(1024 * 1024));
    const found = reader.push(bytesOf('["'));
    for (let i = 0; i <= elementBytesMax / filler.length; i++) found.push(...reader.push(filler));
    found.push(...reader.push(bytesOf('", {"a":1}]')), ...reader.end());
    expect(told(found)).toEqual(["1!it has more than 8 MiB", '1:{"a":1}']);
  });
});

test("elements - any values, however written and cut, are found as they are", () => {
  const value = fc.jsonValue({ maxDepth: 4 }).filter((one) => one !== null);
  const shapes: ((texts: string[]) => [string, Format])[] = [
    (texts) => [`[${texts.join(" ,\n")}]`, "auto"],
    (texts) => [`{"a":{"tasks":[9]},"tasks":[${texts.join(",")}],"b":"]"}`, "auto"],
    (texts) => [texts.join("\n"), "ndjson"],
  ];
  fc.assert(
    fc.property(
      fc.array(value, { maxLength: 8 }),
      fc.constantFrom(...shapes),
      fc.integer({ min: 1, max: 40 }),
      fc.boolean(),
      (values, shape, chunkBytes, indented) => {
        const [, format] = shape([]);
        const indent = indented && format === "auto" ? 2 : 0;
        const [text] = shape(values.map((one) => JSON.stringify(one, null, indent)));
        const { elements, cutOff } = read(bytesOf(text), chunkBytes, format);
        expect(cutOff).toBe(false);
        const found = elements.map((one) => ("text" in one ? JSON.parse(one.text) : one.problem));
        expect(found).toEqual(values.map((one) => JSON.parse(JSON.stringify(one))));
      },
    ),
    { numRuns: 500 },
  );
});
