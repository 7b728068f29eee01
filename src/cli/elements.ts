/**
 * Cuts a stream of JSON into its elements without ever holding more than one of them: those of a list, of a list
 * within an object (`{"tasks": [...]}`), or lines. It only finds where an element begins and ends, by brackets and
 * quotes; whether it is sound JSON is for who parses it, so that one broken element stops none of the others.
 */

export type Element = {
  /** From 1 on. */
  number: number;
  /** Of the input, where it begins; from 1 on. */
  line: number;
} & ({ text: string } | { problem: string });

/** auto: what the first character suggests. ndjson: an element a line, whatever it is. */
export type Format = "auto" | "ndjson";

/** The names of lists that are looked for in an object around them. */
export const listNames: readonly string[] = ["tasks", "jobs", "queue", "items"];

/** A payload of the largest size, indented, in UTF-8, still fits. */
export const elementBytesMax = 8 * 1024 * 1024;

const inside = "the input ends inside of it";

const newline = 0x0a;
const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;
const isSpace = (byte: number) => byte === 0x20 || byte === newline || byte === 0x0d || byte === 0x09;
const opens = (byte: number) => byte === 0x5b || byte === 0x7b;
const closes = (byte: number) => byte === 0x5d || byte === 0x7d;
const isList = (byte: number) => byte === 0x5b;

/**
 * between: before a value · within: inside of an element · around: inside of the object that may hold a list, and is
 * an element itself if it holds none · lines: each line is an element, however it looks.
 */
type Where = "between" | "within" | "around" | "lines";

export class ElementReader {
  /** The input ended inside of an element or a list. */
  cutOff = false;
  /** What else stood in the object around the list, and was not read. */
  readonly passedOver: string[] = [];
  bytesRead = 0;

  #where: Where;
  #line = 1;
  #number = 0;
  #elementLine = 1;
  /** Brackets that are open. */
  #depth = 0;
  /** How many are open where elements begin: 0, 1 in a list, 2 in a list within an object. */
  #base = 0;
  #inText = false;
  #escaped = false;
  /** The element so far, from earlier chunks. */
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #tooLarge = false;
  #first = true;
  /** Around a list: the text that is read is a key; the key before a value. */
  #isKey = false;
  #key = "";
  #afterColon = false;
  #foundList = false;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });

  constructor(format: Format = "auto") {
    this.#where = format === "ndjson" ? "lines" : "between";
  }

  /** The elements that end in this chunk. The chunk may be used again afterwards. */
  push(chunk: Uint8Array): Element[] {
    const found: Element[] = [];
    let at = 0;
    if (this.bytesRead === 0 && chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf) at = 3;
    this.bytesRead += chunk.length;
    while (at < chunk.length) {
      switch (this.#where) {
        case "between":
          at = this.#between(chunk, at);
          break;
        case "within":
          at = this.#within(chunk, at, found);
          break;
        case "around":
          at = this.#around(chunk, at, found);
          break;
        case "lines":
          at = this.#lines(chunk, at, found);
          break;
      }
    }
    return found;
  }

  /** What is left when the input has ended. */
  end(): Element[] {
    const found: Element[] = [];
    const isOpen = this.#depth > this.#base || this.#inText;
    if (this.#where === "lines") this.#take(empty, found);
    else if (this.#where === "within" && !isOpen) {
      this.#take(empty, found);
      const [last] = found;
      // A number or a word without what ends it may go on where the input was cut off.
      if (this.#base > 0 && last !== undefined && "text" in last && !/[\]}"]$/.test(last.text))
        found[0] = { number: last.number, line: last.line, problem: inside };
      this.cutOff = this.#base > 0;
    } else if (this.#where === "within" || this.#where === "around") {
      this.cutOff = true;
      if (!this.#foundList || this.#where === "within") found.push({ ...this.#name(), problem: inside });
    } else if (this.#depth > 0) this.cutOff = true;
    return found;
  }

  #between(chunk: Uint8Array, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === newline) this.#line++;
      if (isSpace(byte) || byte === comma) continue;
      if (closes(byte) && this.#depth > 0) {
        this.#depth--;
        this.#base = 0;
        if (this.#foundList) this.#where = "around";
        return at + 1;
      }
      if (isList(byte) && this.#depth === 0) {
        this.#depth = this.#base = 1;
        this.#first = false;
        continue;
      }
      this.#elementLine = this.#line;
      if (byte === 0x7b && this.#first) {
        this.#where = "around";
        this.#depth = 1;
        this.#isKey = true;
        this.#first = false;
        // The bracket belongs to the element that the object may turn out to be.
        this.#hold(chunk.subarray(at, at + 1));
        return at + 1;
      }
      this.#first = false;
      this.#where = "within";
      return at;
    }
    return chunk.length;
  }

  /** An element ends where a comma or the end of its list stands outside of it; on the top, where its brackets close. */
  #within(chunk: Uint8Array, from: number, found: Element[]): number {
    const base = this.#base;
    let depth = this.#depth;
    let inText = this.#inText;
    let escaped = this.#escaped;
    let at = from;
    let ended = false;
    for (; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === newline) this.#line++;
      if (inText) {
        if (escaped) escaped = false;
        else if (byte === backslash) escaped = true;
        else if (byte === quote) inText = false;
        continue;
      }
      if (byte === quote) inText = true;
      else if (opens(byte)) depth++;
      else if (closes(byte)) {
        // The end of the list is read by who stands between.
        if (depth === base && base > 0) ended = true;
        else if (depth > 0) depth--;
        if (!ended && depth === 0 && base === 0) {
          at++;
          ended = true;
        }
      } else if (depth === base && (base > 0 ? byte === comma : byte === newline)) ended = true;
      if (ended) break;
    }
    this.#depth = depth;
    this.#inText = inText;
    this.#escaped = escaped;
    if (!ended) {
      this.#hold(chunk.subarray(from));
      return chunk.length;
    }
    this.#where = "between";
    // What ended it is looked at again.
    if (chunk[at] === newline && base === 0) this.#line--;
    this.#take(chunk.subarray(from, at), found);
    return at;
  }

  #around(chunk: Uint8Array, from: number, found: Element[]): number {
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (byte === newline) this.#line++;
      const isOuter = this.#depth === 1;
      if (this.#inText) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === backslash) this.#escaped = true;
        else if (byte === quote) this.#inText = false;
        if (this.#inText && isOuter && this.#isKey && this.#key.length < 100)
          this.#key += String.fromCharCode(byte);
      } else if (isSpace(byte)) continue;
      else if (byte === quote) {
        this.#inText = true;
        this.#passOver();
        if (isOuter && this.#isKey) this.#key = "";
      } else if (byte === colon && isOuter) {
        this.#isKey = false;
        this.#afterColon = true;
      } else if (byte === comma && isOuter) this.#isKey = true;
      else if (isList(byte) && isOuter && this.#afterColon && listNames.includes(this.#key)) {
        this.#drop();
        this.#foundList = true;
        this.#afterColon = false;
        this.#where = "between";
        this.#depth = this.#base = 2;
        return at + 1;
      } else {
        this.#passOver();
        if (opens(byte)) this.#depth++;
        else if (closes(byte) && --this.#depth === 0) {
          if (this.#foundList) {
            this.#foundList = false;
            this.#where = "between";
            return at + 1;
          }
          this.passedOver.length = 0;
          // On one line by itself it is the first of many lines; else values follow each other.
          this.#where = this.#line === this.#elementLine ? "lines" : "between";
          this.#take(chunk.subarray(from, at + 1), found);
          return at + 1;
        }
      }
    }
    if (!this.#foundList) this.#hold(chunk.subarray(from));
    return chunk.length;
  }

  /** The value behind the key begins, and is no list of elements. */
  #passOver(): void {
    if (this.#afterColon && this.passedOver.length < 20) this.passedOver.push(this.#key);
    this.#afterColon = false;
  }

  #lines(chunk: Uint8Array, from: number, found: Element[]): number {
    if (this.#partBytes === 0) this.#elementLine = this.#line;
    const at = chunk.indexOf(newline, from);
    if (at === -1) {
      this.#hold(chunk.subarray(from));
      return chunk.length;
    }
    this.#line++;
    this.#take(chunk.subarray(from, at), found);
    return at + 1;
  }

  #hold(part: Uint8Array): void {
    this.#partBytes += part.length;
    if (this.#partBytes > elementBytesMax) {
      this.#tooLarge = true;
      this.#parts = [];
    } else this.#parts.push(part.slice());
  }

  #drop(): void {
    this.#parts = [];
    this.#partBytes = 0;
    this.#tooLarge = false;
  }

  #name() {
    return { number: ++this.#number, line: this.#elementLine };
  }

  #take(last: Uint8Array, found: Element[]): void {
    const bytes = this.#parts.length === 0 ? last : joined(this.#parts, last);
    const tooLarge = this.#tooLarge || this.#partBytes + last.length > elementBytesMax;
    this.#drop();
    if (tooLarge) {
      found.push({ ...this.#name(), problem: `it has more than ${elementBytesMax / 1024 / 1024} MiB` });
      return;
    }
    try {
      const text = this.#decoder.decode(bytes).trim();
      if (text !== "") found.push({ ...this.#name(), text });
    } catch {
      found.push({ ...this.#name(), problem: "it is not UTF-8" });
    }
  }
}

const empty = new Uint8Array(0);

function joined(parts: readonly Uint8Array[], last: Uint8Array): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, last.length));
  let at = 0;
  for (const part of [...parts, last]) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
