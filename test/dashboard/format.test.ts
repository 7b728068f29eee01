/** Figures and times as the page writes them. */
import { expect, test } from "bun:test";
import {
  age,
  bytes,
  count,
  counted,
  distance,
  duration,
  momentIn,
  preview,
  rate,
} from "../../src/dashboard/format.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;

test.each([
  [count(0), "0"],
  [count(12_345), "12,345"],
  [count(1_234_567), "1.23M"],
  [rate(0), "0"],
  [rate(0.25), "0.3"],
  [rate(84_000), "84,000"],
  [bytes(999), "999 B"],
  [bytes(1500), "1.5 KB"],
  [bytes(2_340_000_000), "2.3 GB"],
  [duration(0.42), "0.4 ms"],
  [duration(12.4), "12 ms"],
  [duration(1240), "1.2 s"],
  [duration(59_900), "59 s"],
  [duration(3 * minute + 20 * second), "3 min 20 s"],
  [duration(2 * hour), "2 h"],
  [duration(96 * hour), "4 d"],
  [duration(60 * hour), "2 d 12 h"],
  [age(-5), "now"],
  [age(90 * second), "1 min"],
  [age(72 * hour), "3 d"],
  [distance(10_000, 5000), "in 5 s"],
  [distance(5000, 65_000), "1 min ago"],
  [distance(5000, 5400), "now"],
  [counted(1, "task"), "1 task"],
  [counted(1200, "task"), "1,200 tasks"],
  [preview({ a: "z".repeat(200) }, 10), '{"a":"zzz…'],
  [preview(undefined), "null"],
  [momentIn(Date.UTC(2026, 10, 26, 1, 30), "Europe/Berlin"), "26 Nov 02:30"],
])("format - %s is what %s is", (written, wanted) => {
  expect(written).toBe(wanted);
});
