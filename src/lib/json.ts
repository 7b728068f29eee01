/**
 * Care with JSON that others wrote. `JSON.parse` takes a depth of millions while `JSON.stringify` and recursion
 * end at some hundred thousand, so depth is checked before a value is written anywhere.
 */

/** Whether the value nests at most `depth` arrays and objects. */
export function withinDepth(value: unknown, depth: number): boolean {
  if (value === null || typeof value !== "object") return true;
  if (depth === 0) return false;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!withinDepth(value[i], depth - 1)) return false;
    return true;
  }
  for (const key in value) if (!withinDepth((value as Record<string, unknown>)[key], depth - 1)) return false;
  return true;
}
