/** Figures, times and values as people read them. Pure; the same everywhere on the page. */

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
const tenth = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

/** 12,345 in full; what is longer as 1.23M. */
export const count = (n: number): string => (Math.abs(n) < 100_000 ? whole.format(n) : short.format(n));
/** Below ten with a digit behind the point, so that slow queues do not read 0. */
export const rate = (n: number): string => (n > 0 && n < 10 ? tenth.format(n) : count(n));

export function bytes(n: number): string {
  let value = n;
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (value < 1000 || unit === "GB")
      return `${value < 10 && unit !== "B" ? tenth.format(value) : whole.format(value)} ${unit}`;
    value /= 1000;
  }
  return "";
}

/** How long something takes or took: 0.4 ms, 12 ms, 1.2 s, 3 min 20 s, 2 h 5 min, 4 d. */
export function duration(ms: number): string {
  if (ms < 10) return `${tenth.format(Math.max(0, ms))} ms`;
  if (ms < 1000) return `${whole.format(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s < 10 ? tenth.format(s) : whole.format(Math.floor(s))} s`;
  const pair = (a: number, unit: string, b: number, lower: string) =>
    b === 0 ? `${a} ${unit}` : `${a} ${unit} ${b} ${lower}`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return pair(minutes, "min", Math.floor(s % 60), "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return pair(hours, "h", minutes % 60, "min");
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** In one unit, for columns. */
export function age(ms: number): string {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return "now";
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

/** From now on or until now: "in 5 min", "3 s ago". */
export function distance(at: number, now: number): string {
  const ms = at - now;
  if (Math.abs(ms) < 1000) return "now";
  return ms > 0 ? `in ${age(ms)}` : `${age(-ms)} ago`;
}

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
/** 25 Nov 21:03:07, in the browser's time zone. */
export const moment = (at: number): string => `${day.format(at)} ${clock.format(at)}`;
/** As the clocks of another time zone show it. */
export const momentIn = (at: number, timeZone: string): string => {
  const shown = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone } as const;
  return new Intl.DateTimeFormat("en-GB", shown).format(at).replace(",", "");
};
export const ownTimeZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
export const timeOfDay = (at: number): string => clock.format(at);

/** A value of any kind on one line, cut. */
export function preview(value: unknown, lengthMax = 120): string {
  const text = JSON.stringify(value) ?? "null";
  return text.length > lengthMax ? `${text.slice(0, lengthMax - 1)}…` : text;
}

export const pretty = (value: unknown): string => JSON.stringify(value, null, 2) ?? "null";

/** "tenant=acme, tier=gold" */
export const labelsText = (labels: Readonly<Record<string, string | number | boolean>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(", ");

/** "1 task", "12 tasks". */
export const counted = (n: number, one: string, many = `${one}s`): string =>
  `${count(n)} ${n === 1 ? one : many}`;
