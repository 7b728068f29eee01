/** Metrics as they are counted, and as they are scraped. */
import { expect, test } from "bun:test";
import {
  createMetrics,
  type MetricName,
  metricsJson,
  metricsText,
  metricTable,
  prometheusName,
  type Readings,
} from "../../src/telemetry/metrics.ts";

const names = Object.keys(metricTable) as MetricName[];
const readings = Object.fromEntries(
  names.filter((name) => metricTable[name].type === "reading").map((name) => [name, 0]),
) as Readings;

test("metrics - counting changes one number, and no other daemon's", () => {
  const [one, other] = [createMetrics(), createMetrics()];
  one.tasksSubmitted++;
  expect([one.tasksSubmitted, one.tasksCompleted, other.tasksSubmitted]).toEqual([1, 0, 0]);
});

test("metrics - the JSON has every metric once, in its part", () => {
  const metrics = createMetrics();
  metrics.framesIn = 7;
  const json = metricsJson(metrics, { ...readings, undurableBytes: 5 });
  expect(Object.keys(json)).toEqual(["daemon", "store", "bus"]);
  expect([json.bus.framesIn, json.store.undurableBytes]).toEqual([7, 5]);
  expect(Object.values(json).flatMap(Object.keys).sort()).toEqual([...names].sort());
});

test("metrics - Prometheus gets base units, _total on counters, and labels for families", () => {
  const metrics = createMetrics();
  metrics.tasksSubmitted = 3;
  const text = metricsText(metrics, { ...readings, uptimeMs: 1500, workersIdle: 2 });
  expect(text).toContain("# TYPE cortexd_tasks_submitted_total counter\ncortexd_tasks_submitted_total 3\n");
  expect(text).toContain("# TYPE cortexd_uptime_seconds gauge\ncortexd_uptime_seconds 1.5\n");
  expect(text).toContain('\ncortexd_workers{state="idle"} 2\n');
});

test("metrics - each Prometheus name is described once, before its values", () => {
  const lines = metricsText(createMetrics(), readings).trimEnd().split("\n");
  const described = lines.filter((line) => line.startsWith("# TYPE ")).map((line) => line.split(" ")[2]);
  expect(new Set(described).size).toBe(described.length);
  expect(new Set(described)).toEqual(new Set(names.map(prometheusName)));
  for (const line of lines) expect(line).toMatch(/^(# (HELP|TYPE) )?[a-z_]+(\{[a-z]+="[a-z]+"\})? \S/);
});
