/** The results for people: one table, ratios first, absolute figures for orientation. */
import { cpus, totalmem } from "node:os";
import type { Measured, Result, Scale } from "./benchmark.ts";

export const machine = () => ({
  cpu: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  memoryBytes: totalmem(),
  bun: Bun.version,
});

export function number(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

const spread = ({ values }: Measured) =>
  values.length > 1 ? ` (${number(Math.min(...values))}–${number(Math.max(...values))})` : "";

export function report(results: readonly Result[], scale: Scale): string {
  const { cpu, cores, memoryBytes, bun } = machine();
  const rows: string[][] = [["benchmark", "figure", "side", "median", "", "of the baseline"]];
  for (const { name, figures, sides } of results)
    for (const [figure, { unit }] of Object.entries(figures))
      for (const [side, result] of Object.entries(sides)) {
        const found = result[figure];
        if (found === undefined) continue;
        const { measured, ratio } = found;
        const of = ratio === undefined ? "" : `${number(ratio.median)}${spread(ratio)}`;
        rows.push([name, figure, side, number(measured.median), unit, of]);
      }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const table = rows.map((row) =>
    row
      .map((cell, column) => (column === 3 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join("  ")
      .trimEnd(),
  );
  const says = results.map(({ name, says, against }) => `  ${name}: ${says} Baseline: ${against}`);
  return [
    `${cores} cores (${cpu}), ${number(memoryBytes / 2 ** 30)} GiB, Bun ${bun}, ${scale.rounds} rounds${scale.smoke ? ", smoke: the figures mean little" : ""}`,
    "",
    ...table,
    "",
    ...says,
    "",
  ].join("\n");
}
