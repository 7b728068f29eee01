/** What a task waits for, for people: a tree of a bounded number of lines. */
import type { RestClient } from "../../client/rest.ts";
import type { Task } from "../wire/tasks.ts";
import { number as inWords } from "./words.ts";

const linesMax = 50;
const depthMax = 8;

/** On one line: how much is left. */
export const waitedFor = ({ pending, total, open }: NonNullable<Task["graph"]>): string =>
  pending === 0 && open ? "being closed" : `${inWords(pending)} of ${inWords(total)} tasks`;

export const graphInWords = (graph: NonNullable<Task["graph"]>): string => {
  const { open, total, pending, completed, failed } = graph;
  const counts = [
    `${inWords(pending)} pending`,
    `${inWords(completed)} completed`,
    `${inWords(failed)} failed`,
  ];
  return `${inWords(total)} tasks: ${counts.join(", ")}${open ? "; open for more" : ""}`;
};

/** The tasks below this one, each below the first that waits for it. */
export async function treeOf(client: RestClient, { id }: Task): Promise<string> {
  const lines: string[] = [];
  const seen = new Set<string>();
  const below = async (taskId: string, depth: number): Promise<void> => {
    const limit = linesMax - lines.length;
    if (limit <= 0) return;
    const { dependencies, cursor } = await client.dependencies(taskId, { limit });
    for (const row of dependencies) {
      if (lines.length >= linesMax) break;
      const { name, type, state, relation, onFail } = row;
      const isKnown = seen.has(row.taskId);
      seen.add(row.taskId);
      const words = [row.taskId, name !== row.taskId && name, type, state ?? "no longer kept"];
      const more = [relation === "child" && "child", onFail !== "fail" && `on failure: ${onFail}`];
      const notes = [...more, isKnown && "shown above"].filter(Boolean).join(", ");
      lines.push(`${"  ".repeat(depth)}${words.filter(Boolean).join(" ")}${notes && ` (${notes})`}`);
      if (!isKnown && state !== null && depth < depthMax) await below(row.taskId, depth + 1);
    }
    if (cursor !== null) lines.push(`${"  ".repeat(depth)}…`);
  };
  await below(id, 0);
  return lines.join("\n");
}
