/**
 * What is handed to every part that counts or speaks: the metrics to count in and the log lines to write.
 * Tests and the embedded coordinator take the quiet one.
 */
import { createLines, type Lines, type LinesOptions } from "./lines.ts";
import { createMetrics, type Metrics } from "./metrics.ts";

export type Telemetry = { metrics: Metrics; lines: Lines };

export const createTelemetry = (options: LinesOptions): Telemetry => ({
  metrics: createMetrics(),
  lines: createLines(options),
});

/** Counts, and says nothing. */
export const quietTelemetry = (): Telemetry =>
  createTelemetry({ level: "error", format: "text", now: () => 0, write: () => {} });
