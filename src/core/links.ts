/**
 * What the tasks of one submit say of each other and of tasks that are there: checked whole before anything is made,
 * in time linear in what they name. Nothing that is kept ever waits for itself, because
 *
 * - a new task waits for others of its submit, among which no circle is found, or for older ones, and nobody waits
 *   for it yet but its parent;
 * - a child waits only for what cannot wait for its parent (`mayBeAwaited`).
 */
import type { Static } from "@sinclair/typebox";
import { taskIdPattern } from "../wire/schema.ts";
import type { Parent, TaskSubmit } from "../wire/tasks.ts";
import type { Coordinator } from "./coordinator.ts";
import { isOpen } from "./graphs.ts";
import { type Link, type Links, linksFrom, noLinks, unlinked } from "./options.ts";
import { invalid, type Refusal, refuse } from "./result.ts";
import { held, isRefusal, type TaskRecord, unknownTask } from "./tasks.ts";

/** What each task of a submit is called, and what it is linked to; both are empty where none is linked. */
type Linked = { ids: readonly string[]; links: readonly Links[] };
const none: Linked = { ids: [], links: [] };
const unnamed: NonNullable<TaskSubmit["after"]> = [];
const fewNames = 16;
const idLike = new RegExp(taskIdPattern);
/** Most names begin with a letter. */
const isId = (name: string): boolean => name.charCodeAt(0) <= 57 && idLike.test(name);

const isNamed = (links: readonly Link[], id: string): boolean => {
  for (let i = 0; i < links.length; i++) if ((links[i] as Link).taskId === id) return true;
  return false;
};

type PointerOf = (index: number) => string;
/** By what a task of the submit is told to be the same as another, if by anything, and the task that is kept for it. */
type SameOf = (index: number) => { key: string; keptId: string | undefined } | null;

export function linksOf(
  core: Coordinator,
  tasks: readonly TaskSubmit[],
  /** The first one's number in the entry. */
  first: number,
  pointerOf: PointerOf,
  sameOf: SameOf,
): Linked | Refusal {
  for (const { ref, after, parent, open } of tasks)
    if (ref !== undefined || after !== undefined || parent !== undefined || open !== undefined)
      return new Linking(core, tasks, first, pointerOf, sameOf).links();
  return none;
}

class Linking {
  /** What each task of the submit is called when it is there, or is called already: its key was known. */
  readonly #ids: string[] = [];
  /** The place that makes it, which is an earlier one where that has the same key; -1: it was kept before. */
  readonly #makers: number[] = [];
  readonly #byRef = new Map<string, number>();
  /** One waits for what does not stand before it. */
  #isForward = false;
  /** Parents that were found to take children. */
  readonly #parents = new Map<string, TaskRecord>();

  constructor(
    private readonly core: Coordinator,
    private readonly tasks: readonly TaskSubmit[],
    private readonly first: number,
    private readonly pointerOf: PointerOf,
    private readonly sameOf: SameOf,
  ) {}

  links(): Linked | Refusal {
    const wrong = this.#name();
    if (wrong !== null) return wrong;
    const links: Links[] = [];
    for (let i = 0; i < this.tasks.length; i++) {
      // One that makes no task waits for nothing, whatever it names.
      const found = this.#makers[i] === i ? this.#linksOf(i) : unlinked;
      if ("error" in found) return found;
      links.push(found);
    }
    // Who waits only for what stands before it waits in no circle.
    return (this.#isForward && this.#circle()) || { ids: this.#ids, links };
  }

  #name(): Refusal | null {
    const { tasks } = this;
    const revision = this.core.store.nextRevision;
    const byKey = new Map<string, number>();
    for (let i = 0; i < tasks.length; i++) {
      const { ref } = tasks[i] as TaskSubmit;
      const same = this.sameOf(i);
      let id = `${revision}-${this.first + i}`;
      let maker = i;
      if (same !== null) {
        const { key, keptId } = same;
        const earlier = byKey.get(key);
        if (keptId !== undefined) {
          id = keptId;
          maker = -1;
        } else if (earlier !== undefined) {
          id = this.#ids[earlier] as string;
          maker = earlier;
        } else byKey.set(key, i);
      }
      this.#ids.push(id);
      this.#makers.push(maker);
      if (ref === undefined) continue;
      if (isId(ref)) return invalid(`${this.pointerOf(i)}/ref`, "looks like a task's id; call it otherwise");
      if (this.#byRef.has(ref))
        return invalid(`${this.pointerOf(i)}/ref`, `is what another task of the submit is called: ${ref}`);
      this.#byRef.set(ref, i);
    }
    return null;
  }

  #linksOf(i: number): Links | Refusal {
    const { ref, after = unnamed, parent, open = false } = this.tasks[i] as TaskSubmit;
    const above = parent === undefined ? null : this.#parent(i, parent);
    if (above !== null && "error" in above) return above;
    const links: Link[] = [];
    // Most name few: to look through those is cheaper than to remember them.
    const named = after.length > fewNames ? new Set<string>() : null;
    for (let k = 0; k < after.length; k++) {
      const one = after[k] as string | AfterObject;
      const task = typeof one === "string" ? one : one.task;
      const place = this.#byRef.get(task);
      if (place === undefined && !isId(task))
        return invalid(this.#afterAt(i, k), `no task of this submit has the ref ${task}`);
      const taskId = place === undefined ? task : (this.#ids[place] as string);
      if (named?.has(taskId) ?? isNamed(links, taskId))
        return invalid(this.#afterAt(i, k), `names ${task} a second time`);
      named?.add(taskId);
      const maker = place === undefined ? -1 : (this.#makers[place] as number);
      if (maker >= i) this.#isForward = true;
      const other = maker >= 0 ? (this.tasks[maker] as TaskSubmit) : this.core.tasks.get(taskId);
      if (other === undefined) return unknownTask(taskId);
      if (above !== null && !mayBeAwaited(above, other))
        return invalid(
          this.#afterAt(i, k),
          `may itself wait for task ${above.spec.id}: a child waits for other children of its parent, for what is completed, or, where its parent is no child, for what was submitted before that`,
        );
      const onFail = typeof one === "string" ? "fail" : (one.onFail ?? "fail");
      links.push({ taskId, name: place === undefined ? null : task, onFail });
    }
    return linksFrom(
      links.length === 0 ? noLinks : links,
      above && { taskId: above.spec.id, name: ref ?? null, onFail: parent?.onFail ?? "fail" },
      open,
    );
  }

  #afterAt(i: number, k: number): string {
    return `${this.pointerOf(i)}/after/${k}`;
  }

  /** The task that takes this one as its child, or why it does not. */
  #parent(i: number, parent: Static<typeof Parent>): TaskRecord | Refusal {
    const { taskId, workerId, token } = parent;
    const known = this.#parents.get(taskId);
    if (known !== undefined) return known;
    let record: TaskRecord | Refusal | undefined;
    if (workerId !== undefined && token !== undefined) record = held(this.core, { taskId, workerId, token });
    else if (workerId !== undefined || token !== undefined)
      return invalid(`${this.pointerOf(i)}/parent`, "names workerId and token of its lease, or neither");
    else {
      record = this.core.tasks.get(taskId);
      if (record === undefined) return unknownTask(taskId);
      if (!isOpen(record))
        return refuse(
          "wrong-state",
          `task ${taskId} takes no children: it is ${record.state} and not open; of a running task, name the lease`,
        );
    }
    if (!isRefusal(record)) this.#parents.set(taskId, record);
    return record;
  }

  /** The places that a task waits for. */
  #waitsFor(i: number): number[] {
    const { after = unnamed } = this.tasks[i] as TaskSubmit;
    if (this.#makers[i] !== i) return [];
    return after.flatMap((one) => {
      const place = this.#byRef.get(typeof one === "string" ? one : one.task);
      const maker = place === undefined ? -1 : (this.#makers[place] as number);
      return maker < 0 ? [] : [maker];
    });
  }

  /** The first circle of tasks that wait for each other, as a refusal. */
  #circle(): Refusal | null {
    const waitsFor = this.tasks.map((_, i) => this.#waitsFor(i));
    /** 1: on the path, 2: waits in no circle. */
    const seen = new Uint8Array(this.tasks.length);
    /** How many of what it waits for were looked at. */
    const looked = new Uint32Array(this.tasks.length);
    for (let start = 0; start < this.tasks.length; start++) {
      if (seen[start] !== 0) continue;
      const path = [start];
      seen[start] = 1;
      while (path.length > 0) {
        const at = path[path.length - 1] as number;
        const next = waitsFor[at]?.[(looked[at] as number)++];
        if (next === undefined) {
          seen[at] = 2;
          path.pop();
        } else if (seen[next] === 1) return this.#circleInWords([...path.slice(path.indexOf(next)), next]);
        else if (seen[next] === 0) {
          seen[next] = 1;
          path.push(next);
        }
      }
    }
    return null;
  }

  #circleInWords(circle: number[]): Refusal {
    const refs = circle.map((place) => (this.tasks[place] as TaskSubmit).ref as string);
    const shown =
      refs.length > shownMax ? [...refs.slice(0, shownMax - 1), "…", refs.at(-1) as string] : refs;
    return invalid(
      `${this.pointerOf(circle[0] as number)}/after`,
      `closes a circle of tasks that would wait for each other: ${shown.join(" after ")}`,
    );
  }
}

/**
 * Whether a child of `above` may wait for the other task, which comes with it or is kept. One that is older than a
 * parent which is nobody's child cannot wait for that: it would have to be linked to it through a child of its own,
 * and that child could not name it.
 */
function mayBeAwaited(above: TaskRecord, other: TaskSubmit | TaskRecord): boolean {
  const { id, revision, links } = above.spec;
  if (!("spec" in other)) return other.parent?.taskId === id;
  if (other.state === "completed" || other.spec.links.parent?.taskId === id) return true;
  return links.parent === null && other.spec.revision < revision;
}

type AfterObject = { task: string; onFail?: Link["onFail"] };

/** Tasks of a circle that a refusal names. */
const shownMax = 10;
