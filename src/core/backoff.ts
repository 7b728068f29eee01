/** How long a failed attempt is put off, and whether what was asked for makes sense. */
import type { Backoff } from "../wire/tasks.ts";
import { defaultBackoff } from "./options.ts";
import { invalid, type Refusal } from "./result.ts";

const defaultDelayMs = 1000;
const defaultPower = 2;
const defaultMaxMs = 3_600_000;
const defaultJitter = 0.5;

/** What no schema says: which fields go with which strategy. */
export function refuseBackoff(backoff: Backoff, pointer: string): Refusal | null {
  const isList = backoff.strategy === "list";
  if (isList && backoff.delaysMs === undefined)
    return invalid(`${pointer}/delaysMs`, "is missing: the list strategy takes its delays from it");
  if (!isList && backoff.delaysMs !== undefined)
    return invalid(`${pointer}/delaysMs`, `goes with the list strategy, not with ${backoff.strategy}`);
  if (isList && backoff.delayMs !== undefined)
    return invalid(`${pointer}/delayMs`, "goes with the other strategies; a list has delaysMs");
  if (backoff.power !== undefined && backoff.strategy !== "polynomial")
    return invalid(`${pointer}/power`, `goes with the polynomial strategy, not with ${backoff.strategy}`);
  return null;
}

/** The delay after the failed attempt `attempt`; `chance` lies in [0, 1) and draws the jittered part. */
export function backoffMs(backoff: Backoff, attempt: number, chance: number): number {
  const max = backoff.maxMs ?? (backoff.strategy === "list" ? Number.POSITIVE_INFINITY : defaultMaxMs);
  const delay = Math.min(grown(backoff, attempt), max);
  const jitter = backoff.jitter ?? defaultJitter;
  return Math.round(delay * (1 - jitter) + delay * jitter * chance);
}

function grown({ strategy, delayMs = defaultDelayMs, delaysMs, power }: Backoff, attempt: number): number {
  switch (strategy) {
    case "fixed":
      return delayMs;
    case "linear":
      return delayMs * attempt;
    case "polynomial":
      return delayMs * attempt ** (power ?? defaultPower);
    case "exponential":
      return delayMs * 2 ** (attempt - 1);
    case "list": {
      const delays = delaysMs as number[];
      return delays[Math.min(attempt, delays.length) - 1] as number;
    }
  }
}

const defaultBackoffText = JSON.stringify(defaultBackoff);
export const backoffText = (backoff: Backoff): string =>
  backoff === defaultBackoff ? defaultBackoffText : JSON.stringify(backoff);
