/** Numbers, times, counts and states as people read them. */
import { durationText } from "../config.ts";
import type { Backoff } from "../wire/tasks.ts";
import type { Colour } from "./output.ts";

export const number = (value: number) => value.toLocaleString("en-US");

const steps: [string, number][] = [
  ["d", 24 * 3600_000],
  ["h", 3600_000],
  ["m", 60_000],
  ["s", 1000],
];

/** "3 m", "2 h", "350 ms": one unit, rounded down. What was set is shown as it is, by durationText. */
export function span(ms: number): string {
  const [unit, size] = steps.find(([, size]) => ms >= size) ?? ["ms", 1];
  return `${number(Math.floor(ms / size))} ${unit}`;
}

/** A moment as its distance from now; clocks of two machines differ, so what is almost now is now. */
export function age(at: number, now: number): string {
  const ms = now - at;
  if (Math.abs(ms) < 1000) return "now";
  return ms > 0 ? `${span(ms)} ago` : `in ${span(-ms)}`;
}

/** A moment for a closer look: both what the clock said and how far away it is. */
export const moment = (at: number | null, now: number) =>
  at === null ? null : `${new Date(at).toISOString()} (${age(at, now)})`;

export const plural = (count: number, one: string, many = `${one}s`) =>
  `${number(count)} ${count === 1 ? one : many}`;

/** "exponential, from 1s" */
export const backoffInWords = ({ strategy, delayMs = 1000, delaysMs }: Backoff) =>
  `${strategy}, ${delaysMs === undefined ? `from ${durationText(delayMs)}` : delaysMs.map(durationText).join(", ")}`;

/** "12 queued, 2 running", what is zero left out. */
export const counted = (counts: Record<string, number>) =>
  Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${number(count)} ${state}`)
    .join(", ") || "none";

const colours: Record<string, Colour> = {
  completed: "green",
  idle: "green",
  running: "cyan",
  busy: "cyan",
  scheduled: "yellow",
  blocked: "yellow",
  draining: "yellow",
  active: "green",
  paused: "yellow",
  finished: "dim",
  failed: "red",
  dead: "red",
  offline: "red",
  cancelled: "dim",
};
/** Of a task's, a worker's or a schedule's state; one of a later daemon has none. */
export const stateColour = (state: string): Colour | null => colours[state] ?? null;

export const labelsText = (labels: Record<string, string | number | boolean>) =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join("\n") || null;
