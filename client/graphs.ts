/**
 * Graphs, as a producer builds them: tasks that name what they wait for, submitted together in one entry.
 *
 *     const graph = client.graph();
 *     const parts = pages.map((page) => graph.add({ type: "render", payload: page }));
 *     const book = graph.add({ type: "bind" }, parts);
 *     await graph.submit();
 *     await book.result();
 */
import type { GraphSubmitted } from "../src/wire/graphs.ts";
import type { OnFail, TaskSubmit } from "../src/wire/tasks.ts";
import type { CallOptions } from "./connection.ts";
import { type Caller, type ResultOptions, resultOf } from "./tasks.ts";

/** A task to wait for: one of the graph, or any by its id; and what happens where it fails (default: fail too). */
export type After = GraphTask | string | { task: GraphTask | string; onFail: OnFail };

/** One task of a graph. */
export class GraphTask {
  #id: string | null = null;
  readonly #caller: Caller;
  constructor(
    caller: Caller,
    /** What it is called in its graph. */
    readonly ref: string,
  ) {
    this.#caller = caller;
  }

  /** Its id, once the graph was submitted. */
  get id(): string {
    if (this.#id === null) throw new Error("the graph was not submitted yet");
    return this.#id;
  }

  /** For Graph alone. */
  submitted(id: string): void {
    this.#id = id;
  }

  /** Waits for the result; rejects with `TaskFailed` when the task ends without one. */
  async result<R = unknown>(options?: ResultOptions): Promise<R> {
    return resultOf<R>(this.#caller, this.id, options);
  }
}

export class Graph {
  readonly #caller: Caller;
  readonly #tasks: TaskSubmit[] = [];
  readonly #made: GraphTask[] = [];
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Adds a task that waits for others. Without a `ref` it is called by its place in the graph. */
  add(task: TaskSubmit, after: readonly After[] = []): GraphTask {
    const { ref = `task-${this.#tasks.length}` } = task;
    const links = [...(task.after ?? []), ...after.map(nameOf)];
    this.#tasks.push(links.length === 0 ? { ...task, ref } : { ...task, ref, after: links });
    const made = new GraphTask(this.#caller, ref);
    this.#made.push(made);
    return made;
  }

  /** All of it, or nothing; the ids in the order in which the tasks were added. */
  async submit(options?: CallOptions): Promise<GraphSubmitted> {
    const answer = await this.#caller.call("graph.submit", { tasks: this.#tasks }, options);
    for (const [place, task] of this.#made.entries()) task.submitted(answer.ids[place] as string);
    return answer;
  }
}

function nameOf(after: After): NonNullable<TaskSubmit["after"]>[number] {
  if (typeof after === "string") return after;
  if (after instanceof GraphTask) return after.ref;
  return { task: typeof after.task === "string" ? after.task : after.task.ref, onFail: after.onFail };
}
