/**
 * What the demonstration shows: a progress bar that lives on a terminal, plain lines at most once a second
 * elsewhere, and the report. It decides nothing.
 */
import type { Report } from "./check.ts";
import type { Told } from "./run.ts";

const number = (value: number) => value.toLocaleString("en-US");
const megabytes = (bytes: number) => `${number(Math.round(bytes / 1e6))} MB`;
const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

/** Leaves room for the rest on a terminal of 80 columns. */
const barWidth = 20;

export class Screen {
  #timer: ReturnType<typeof setInterval> | null = null;
  #told: Told | null = null;
  #total = 0;
  #shown = false;
  #startedAt = 0;

  constructor(private readonly stream: NodeJS.WriteStream) {
    // A reader that went away is no reason to end.
    stream.on("error", () => {});
  }

  /** Shows how far it is until `end`. */
  follow(told: Told, total: number): void {
    this.#told = told;
    this.#total = total;
    this.#startedAt = performance.now();
    this.#timer = setInterval(() => this.#draw(), this.stream.isTTY ? 50 : 1000);
  }

  say(line: string): void {
    this.#clear();
    this.stream.write(`${line}\n`);
    if (this.stream.isTTY) this.#draw();
  }

  end(): void {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    this.#draw();
    if (this.#shown) this.stream.write("\n");
    this.#shown = false;
    this.#told = null;
  }

  #draw(): void {
    if (this.#told === null) return;
    const { doneCount, bytes, trouble } = this.#told;
    const part = this.#total === 0 ? 0 : doneCount / this.#total;
    const percent = `${Math.floor(100 * part)} %`.padStart(5);
    const rest = trouble ?? seconds(performance.now() - this.#startedAt);
    const text = `${percent}  ${number(doneCount)} of ${number(this.#total)} files  ${megabytes(bytes)}  ${rest}`;
    if (!this.stream.isTTY) {
      this.stream.write(`${text}\n`);
      return;
    }
    const full = Math.round(barWidth * part);
    const line = `${"█".repeat(full)}${"░".repeat(barWidth - full)} ${text}`;
    // A line longer than the terminal would wrap, and could not be drawn over.
    this.stream.write(`\r\x1b[2K${line.slice(0, (this.stream.columns || 80) - 1)}`);
    this.#shown = true;
  }

  #clear(): void {
    if (this.#shown) this.stream.write("\r\x1b[2K");
    this.#shown = false;
  }
}

export function reportText(report: Report): string {
  const { totals, plain, kills, submitToStartMs } = report;
  const row = (name: string, value: string) => `  ${name.padEnd(22)}${value}\n`;
  const equal = (key: "files" | "bytes" | "words" | "sha256") =>
    totals[key] === plain[key] ? "equal" : `NOT EQUAL: the plain pass has ${plain[key]}`;
  const killed = kills
    .map(({ victim, doneCount, heldCount, backAfterMs, workingAfterMs }) => {
      const what =
        heldCount === null
          ? `back after ${Math.round(backAfterMs ?? 0)} ms, next file done after ${Math.round(workingAfterMs ?? 0)} ms`
          : `it held ${heldCount} tasks`;
      return row(`killed at ${Math.floor((100 * doneCount) / plain.files)} %`, `${victim}, ${what}`);
    })
    .join("");
  return [
    `\n${report.workers} workers over the coordinator, against one plain pass by this process alone (${seconds(plain.tookMs)}):\n`,
    row("files", `${number(totals.files)}  ${equal("files")}`),
    row("bytes", `${number(totals.bytes)}  ${equal("bytes")}`),
    row("words", `${number(totals.words)}  ${equal("words")}`),
    row("sha256 of all", `${totals.sha256}  ${equal("sha256")}`),
    "\nWhat happened on the way:\n",
    killed,
    row("completions recorded", `${number(report.completedCount)}, for ${number(plain.files)} files`),
    row("tasks interrupted", `${number(report.interruptedCount)}, and given to another worker`),
    row(
      "work done twice",
      `${number(report.startedAgainCount)} files begun again, ${number(report.hashedAgainCount)} of them hashed to the end twice`,
    ),
    row("acknowledged, redone", `${number(report.startedAfterAcknowledgedCount)} files`),
    "\nHow fast:\n",
    row(
      "tasks a second",
      `${number(report.tasksPerSecond)} over all ${seconds(report.tookMs)}, kills included`,
    ),
    row("", `${number(report.tasksPerSecondUndisturbed)} until the first kill`),
    row("submit to start", `${submitToStartMs.median} ms median, ${submitToStartMs.p99} ms p99`),
    report.ok
      ? "\nEverything is equal, and every completion is recorded exactly once.\n"
      : `\nFAILED:\n${report.problems.map((problem) => `  ${problem}\n`).join("")}`,
  ].join("");
}
