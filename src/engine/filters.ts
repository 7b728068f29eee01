/**
 * What a watch may ask for, apart from the watches themselves: who checks an input, as a command does before it sends
 * one, loads no state for it.
 */
import type { FieldError } from "../wire/errors.ts";
import type { WatchStart } from "../wire/state.ts";

/** Of which tables a change may fit what is named. */
const tablesOf = {
  queue: ["tasks", "queues", "pauses"],
  taskId: ["tasks"],
  workerId: ["tasks", "workers", "locks", "messages"],
  key: ["keys"],
  lock: ["locks"],
  prefix: ["keys", "locks"],
  topic: ["messages"],
} as const;

/** Of a watch that no change could ever fit: what is named that fits nothing beside the rest. */
export function filterErrors(filter: WatchStart): FieldError[] {
  let left: readonly string[] | null = filter.tables ?? null;
  const named: string[] = filter.tables === undefined ? [] : ["tables"];
  for (const [name, tables] of Object.entries(tablesOf)) {
    if (filter[name as keyof typeof tablesOf] === undefined) continue;
    left = left === null ? tables : tables.filter((table) => left?.includes(table));
    // What is sent to a worker has no topic, and a key begins as it does.
    const isApart =
      (name === "topic" && filter.workerId !== undefined) ||
      (name === "prefix" && filter.key?.startsWith(filter.prefix as string) === false);
    if (left.length === 0 || isApart)
      return [
        { pointer: `/${name}`, detail: `fits no change that fits ${named.join(" and ")}: watch them apart` },
      ];
    named.push(name);
  }
  return [];
}
