/**
 * What a command says: tables and lines for people, JSON for programs, on standard output alone. Tables fit the
 * terminal; elsewhere nothing is cut. Colours are for terminals, and never where NO_COLOR is set. Whatever came from
 * outside is shown with its control characters written out, so that a payload cannot command the terminal.
 */
import { systemClock } from "../engine/clock.ts";
import type { Page } from "./pages.ts";

/** Thrown when nobody reads any more (`| head`): the command ends, and it is no failure. */
export class ReaderGone extends Error {}

/** Resolves when the text has left the process, or nobody reads it: an exit would cut off what is in the pipe. */
export function print(text: string, to: NodeJS.WriteStream = process.stdout): Promise<void> {
  return new Promise((resolve) => {
    const giveUp = setTimeout(resolve, 1000);
    to.write(text, () => {
      clearTimeout(giveUp);
      resolve();
    });
  });
}

export type Colour = "red" | "green" | "yellow" | "cyan" | "dim" | "bold";
const codes: Record<Colour, string> = {
  red: "31",
  green: "32",
  yellow: "33",
  cyan: "36",
  dim: "2",
  bold: "1",
};

export type Column<R> = {
  title: string;
  of(row: R): string;
  colour?(row: R): Colour | null;
  right?: true;
  /** Never cut, as an id. */
  whole?: true;
};

export type Terminal = { columns: number | null; colours: boolean };

const gap = "  ";
/** A column that is cut keeps so many places, if it had them. */
const cutMin = 8;

export class Output {
  constructor(
    /** Print JSON. */
    readonly json: boolean,
    readonly terminal: Terminal,
    readonly now: () => number = systemClock.wall,
    private readonly to: (text: string) => Promise<void> = toStandardOutput,
  ) {}

  write(text: string): Promise<void> {
    return this.to(text);
  }
  line(text = ""): Promise<void> {
    return this.write(`${text}\n`);
  }
  /** One value on one line. */
  value(value: unknown): Promise<void> {
    return this.line(JSON.stringify(value));
  }

  paint(text: string, colour: Colour | null | undefined): string {
    return colour && this.terminal.colours ? `\x1b[${codes[colour]}m${text}\x1b[0m` : text;
  }

  /** Rows under their titles; `empty` where there are none. */
  async table<R>(rows: readonly R[], columns: readonly Column<R>[], empty: string): Promise<void> {
    await this.line(rows.length === 0 ? empty : this.tableText(rows, columns));
  }

  /**
   * The pages of a list: a table each, of one width as far as the first page tells, or one JSON object that is
   * written as it is read. Neither keeps more than a page.
   */
  async pages<R>(
    name: string,
    pages: AsyncIterable<Page<R>>,
    columns: readonly Column<R>[],
    empty: string,
  ): Promise<void> {
    let count = 0;
    let cursor: string | null = null;
    for await (const page of pages) {
      if (this.json) {
        const rows = page.rows.map((row) => JSON.stringify(row)).join(",");
        await this.write(`${count === 0 ? `{"${name}":[` : rows === "" ? "" : ","}${rows}`);
      } else if (page.rows.length > 0) await this.line(this.tableText(page.rows, columns, count === 0));
      count += page.rows.length;
      cursor = page.cursor;
    }
    if (this.json) await this.line(`],"cursor":${JSON.stringify(cursor)}}`);
    else if (count === 0) await this.line(empty);
    else if (cursor !== null) await this.line(this.paint("… there may be more: --limit shows them", "dim"));
  }

  tableText<R>(rows: readonly R[], columns: readonly Column<R>[], titles = true): string {
    const cells = rows.map((row) => columns.map(({ of }) => shown(of(row))));
    const widths = columns.map(({ title }, i) =>
      Math.max(titles ? title.length : 0, ...cells.map((row) => Bun.stringWidth(row[i]!))),
    );
    this.#fit(widths, columns);
    const line = (texts: readonly string[], colourOf: (i: number) => Colour | null | undefined) =>
      texts
        .map((text, i) => {
          const cut = cutTo(text, widths[i]!);
          const padding = " ".repeat(widths[i]! - Bun.stringWidth(cut));
          const painted = this.paint(cut, colourOf(i));
          return columns[i]!.right ? padding + painted : painted + padding;
        })
        .join(gap)
        .trimEnd();
    const head = columns.map(({ title }) => title);
    return [
      ...(titles ? [line(head, () => "dim")] : []),
      ...cells.map((texts, r) => line(texts, (i) => columns[i]!.colour?.(rows[r]!))),
    ].join("\n");
  }

  /** Names and values below each other; a value that is null is left out. */
  async fields(
    fields: readonly (readonly [name: string, value: string | null, colour?: Colour | null])[],
  ): Promise<void> {
    const present = fields.filter(([, value]) => value !== null);
    const width = Math.max(...present.map(([name]) => name.length));
    for (const [name, value, colour] of present) {
      const lines = shownLines(value!).split("\n");
      const indented = lines.map((one) => this.paint(one, colour)).join(`\n${" ".repeat(width + 2)}`);
      await this.line(`${this.paint(name.padEnd(width), "dim")}  ${indented}`);
    }
  }

  /** Takes from the widest column that may be cut until the table fits. */
  #fit(widths: number[], columns: readonly Column<never>[]): void {
    const { columns: places } = this.terminal;
    if (places === null) return;
    for (;;) {
      const over = widths.reduce((sum, width) => sum + width + gap.length, -gap.length) - places;
      if (over <= 0) return;
      let widest = -1;
      for (const [i, width] of widths.entries()) {
        if (!columns[i]!.whole && width > cutMin && width > (widths[widest] ?? 0)) widest = i;
      }
      if (widest === -1) return;
      widths[widest]!--;
    }
  }
}

/** As it is safe on a terminal, on one line. */
export const shown = (text: string) =>
  text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, escaped);
const briefMax = 100;
/** A value in one line, and no more of it than fits there. */
export function brief(value: unknown): string {
  const text = JSON.stringify(value);
  return shown(text.length > briefMax ? `${text.slice(0, briefMax)}…` : text);
}
/** The same, with its lines kept. */
const shownLines = (text: string) => text.split(/\r?\n/).map(shown).join("\n");
const escaped = (character: string) =>
  character === "\n"
    ? "\\n"
    : character === "\t"
      ? "\\t"
      : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

export function cutTo(text: string, width: number): string {
  if (Bun.stringWidth(text) <= width) return text;
  let cut = "";
  let used = 0;
  for (const character of text) {
    used += Bun.stringWidth(character);
    if (used > width - 1) break;
    cut += character;
  }
  return `${cut}…`;
}

/** The terminal on standard output, as far as it is one. */
export function terminalOf(
  stream: NodeJS.WriteStream,
  environment: Record<string, string | undefined>,
): Terminal {
  const isTerminal = stream.isTTY === true;
  return {
    columns: isTerminal ? stream.columns || 80 : null,
    colours: isTerminal && !environment.NO_COLOR && environment.TERM !== "dumb",
  };
}

/** Waits for a slow reader as long as it takes: `| less` reads when a person does. */
function toStandardOutput(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (!error) resolve();
      else reject((error as { code?: string }).code === "EPIPE" ? new ReaderGone() : error);
    });
  });
}
