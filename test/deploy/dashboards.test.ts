/** The Grafana dashboard and the alerts ask only for metrics that a daemon has, by labels that those have. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Histogram } from "../../src/lib/histogram.ts";
import {
  createMetrics,
  histogramTable,
  type MetricName,
  metricsText,
  metricTable,
  type Readings,
} from "../../src/telemetry/metrics.ts";

const deploy = join(import.meta.dir, "../../deploy");
const dashboard = JSON.parse(
  readFileSync(join(deploy, "grafana/provisioning/dashboards/cortexd.json"), "utf8"),
) as {
  panels: { title: string; targets: { expr: string }[]; gridPos: Record<"x" | "y" | "w" | "h", number> }[];
};
type Alert = {
  alert: string;
  expr: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
};
const alerts = (
  Bun.YAML.parse(readFileSync(join(deploy, "alerts.yml"), "utf8")) as { groups: { rules: Alert[] }[] }
).groups.flatMap(({ rules }) => rules);

/** What a scrape has: of each series its labels. */
const names = Object.keys(metricTable) as MetricName[];
const readings = Object.fromEntries(names.map((name) => [name, 0])) as Readings;
const one = (value: string) => new Map([[value, new Histogram()]]);
const took = { operation: one("task.submit"), taskWait: one(""), taskRun: one(""), logCommit: one("") };
const series = metricsText(createMetrics(), readings, took)
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => {
    const [, name, labels = ""] = /^([a-z_]+)(?:\{(.*)\})? /.exec(line)!;
    return {
      name: name!,
      labels: Object.fromEntries([...labels.matchAll(/([a-z]+)="([^"]*)"/g)].map((m) => [m[1], m[2]])),
    };
  });
/** What Prometheus adds of itself. */
const own = ["job", "instance"];

type Asked = { name: string; by: { label: string; is: string; value: string }[] };
const askedIn = (expr: string): Asked[] =>
  [...expr.matchAll(/\b(cortexd_[a-z_]+)(?:\{([^}]*)\})?/g)].map(([, name, matchers = ""]) => ({
    name: name!,
    by: [...matchers.matchAll(/([a-z]+)(=~|=|!=|!~)"([^"]*)"/g)].map(([, label, is, value]) => ({
      ...{ label: label!, is: is!, value: value! },
    })),
  }));
const isThere = ({ name, by }: Asked) =>
  series.some(
    (one) =>
      one.name === name &&
      by
        .filter(({ label }) => !own.includes(label))
        .every(({ label, value }) => new RegExp(`^(${value})$`).test(one.labels[label] ?? "")),
  );

const exprs: [string, string][] = [
  ...dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }): [string, string] => [`panel ${title}`, expr]),
  ),
  ...alerts.map(({ alert, expr }): [string, string] => [`alert ${alert}`, expr]),
];

describe("dashboards - what is asked for", () => {
  test("dashboards - a metric or a label that is not there is seen", () => {
    for (const expr of ["cortexd_nothing_total", 'cortexd_tasks{state="lost"}', 'cortexd_tasks{queue="a"}'])
      expect(askedIn(expr).map(isThere)).toEqual([false]);
  });

  test.each(exprs)("dashboards - %s asks for what there is, with brackets that close", (_, expr) => {
    const asked = askedIn(expr);
    expect(asked.length + (expr.includes("up{") ? 1 : 0)).toBeGreaterThan(0);
    expect(asked.filter((one) => !isThere(one))).toEqual([]);
    const open: string[] = [];
    for (const bracket of expr.match(/[()[\]{}]/g) ?? []) {
      if ("([{".includes(bracket)) open.push(bracket);
      else expect(`${open.pop()}${bracket}`).toMatch(/^(\(\)|\[\]|\{\})$/);
    }
    expect(open).toEqual([]);
  });

  test("dashboards - every histogram is drawn, and each panel has a place of its own", () => {
    for (const { name } of Object.values(histogramTable))
      expect(exprs.some(([of, expr]) => of.startsWith("panel") && expr.includes(`${name}_bucket`))).toBe(
        true,
      );
    const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
  });

  test("dashboards - every metric is drawn", () => {
    const drawn = new Set(
      exprs
        .filter(([of]) => of.startsWith("panel"))
        .flatMap(([, expr]) => askedIn(expr).map(({ name }) => name)),
    );
    const parts = /_(bucket|sum|count)$/;
    expect(series.map(({ name }) => name).filter((name) => !parts.test(name) && !drawn.has(name))).toEqual(
      [],
    );
  });

  test("dashboards - every alert says how grave it is, what is so and what to look at", () => {
    expect(alerts.length).toBeGreaterThan(5);
    for (const { alert, labels, annotations } of alerts) {
      expect(alert).toMatch(/^Cortexd[A-Z]/);
      expect(labels.severity).toMatch(/^(critical|warning)$/);
      expect(annotations.summary && annotations.description).toBeTruthy();
    }
    expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length);
  });
});
