/** Metrics as they are counted, and as they are scraped. */
import { expect, test } from "bun:test";
import { Histogram } from "../../src/lib/histogram.ts";
import {
  createMetrics,
  histogramTable,
  type MetricName,
  metricsJson,
  metricsText,
  metricTable,
  prometheusName,
  type Readings,
  type Took,
  tookOf,
} from "../../src/telemetry/metrics.ts";

const nothing = tookOf([]);
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
  const text = metricsText(metrics, { ...readings, uptimeMs: 1500, workersIdle: 2 }, nothing);
  expect(text).toContain("# TYPE cortexd_tasks_submitted_total counter\ncortexd_tasks_submitted_total 3\n");
  expect(text).toContain("# TYPE cortexd_uptime_seconds gauge\ncortexd_uptime_seconds 1.5\n");
  expect(text).toContain('\ncortexd_workers{state="idle"} 2\n');
});

test("metrics - each Prometheus name is described once, before its values", () => {
  const lines = metricsText(createMetrics(), readings, nothing).trimEnd().split("\n");
  const described = lines.filter((line) => line.startsWith("# TYPE ")).map((line) => line.split(" ")[2]);
  expect(new Set(described).size).toBe(described.length);
  expect(new Set(described)).toEqual(
    new Set([...names.map(prometheusName), ...Object.values(histogramTable).map(({ name }) => name)]),
  );
  for (const line of lines) expect(line).toMatch(/^(# (HELP|TYPE) )?[a-z_]+(\{[a-z]+="[a-z]+"\})? \S/);
});

test("metrics - what took how long is a histogram in seconds, by label, over all states together", () => {
  const took = (operation: string, ms: number): Took => {
    const histogram = new Histogram();
    histogram.add(ms);
    return { ...nothing, operation: new Map([[operation, histogram]]) };
  };
  const all = tookOf([took("task.submit", 3), took("task.get", 0.01), took("task.submit", 500)]);
  const lines = metricsText(createMetrics(), readings, all).split("\n");
  const name = "cortexd_operation_duration_seconds";
  const value = (series: string) => lines.find((line) => line.startsWith(`${series} `))?.split(" ")[1];
  expect(lines).toContain(`# TYPE ${name} histogram`);
  expect(value(`${name}_bucket{operation="task.submit",le="0.001024"}`)).toBe("0");
  expect(value(`${name}_bucket{operation="task.submit",le="0.004096"}`)).toBe("1");
  expect(value(`${name}_bucket{operation="task.submit",le="+Inf"}`)).toBe("2");
  expect(value(`${name}_sum{operation="task.submit"}`)).toBe("0.503");
  expect(value(`${name}_count{operation="task.submit"}`)).toBe("2");
  expect(value(`${name}_count{operation="task.get"}`)).toBe("1");
  expect(took("x", 1).operation.get("x")?.read().count).toBe(1);
});
