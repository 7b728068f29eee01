/**
 * Graphs against a plain model, which knows what the docs promise and looks at everything each time: who waits for
 * whom, and what each end means. Undone and restarted in between, the coordinator must agree with it after every step.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Input } from "../../src/wire/operations.ts";
import type { OnFail, TaskState } from "../../src/wire/tasks.ts";
import { World } from "../support/world.ts";

type Link = { id: string; onFail: OnFail };
type Modelled = {
  id: string;
  state: TaskState;
  after: Link[];
  parent: Link | null;
  open: boolean;
  for: boolean;
};

const onFail = fc.constantFrom<OnFail>("fail", "ignore", "wait");
const some = fc.nat(20);
const move = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("graph" as const),
      tasks: fc.array(
        fc.record({
          open: fc.boolean(),
          after: fc.array(fc.record({ to: fc.nat(5), onFail }), { maxLength: 3 }),
          old: fc.option(fc.record({ to: some, onFail }), { nil: undefined }),
        }),
        { minLength: 1, maxLength: 6 },
      ),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constantFrom("complete" as const, "fail" as const), which: some }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("cancel" as const, "retry" as const),
      which: some,
      cascade: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("child" as const), which: some, onFail }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const), which: some }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("close" as const), which: some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("restart" as const, "undo" as const) }) },
);
type Move = typeof move extends fc.Arbitrary<infer M> ? M : never;

const ended = (state: TaskState) => ["completed", "failed", "dead", "cancelled"].includes(state);

class Model {
  readonly tasks = new Map<string, Modelled>();

  get all(): Modelled[] {
    return [...this.tasks.values()];
  }
  get(id: string): Modelled {
    return this.tasks.get(id) as Modelled;
  }
  links(task: Modelled): Link[] {
    const children = this.all.filter(({ parent }) => parent?.id === task.id);
    return [...task.after, ...children.map(({ id, parent }) => ({ id, onFail: (parent as Link).onFail }))];
  }
  isDone({ id, onFail }: Link): boolean {
    const { state } = this.get(id);
    return state === "completed" || (ended(state) && onFail === "ignore");
  }
  failing(task: Modelled): Link[] {
    return this.links(task).filter((link) => {
      const { state } = this.get(link.id);
      return link.onFail === "fail" && ended(state) && state !== "completed";
    });
  }
  mustWait(task: Modelled): boolean {
    return (
      task.open || !this.links(task).every((link) => this.isDone(link) || this.failing(task).includes(link))
    );
  }

  /** Until nothing more follows from anything. */
  settle(): void {
    for (let again = true; again; ) {
      again = false;
      for (const task of this.all) {
        if (task.state !== "blocked") continue;
        const [first] = this.failing(task);
        if (first !== undefined) {
          task.state = this.get(first.id).state === "cancelled" ? "cancelled" : "failed";
          task.for = true;
        } else if (!task.open && this.links(task).every((link) => this.isDone(link))) task.state = "queued";
        else continue;
        again = true;
      }
    }
  }

  cancel(task: Modelled, cascade: boolean): void {
    task.state = "cancelled";
    if (!cascade) return;
    for (const { id } of this.links(task)) {
      const below = this.get(id);
      const isNeeded = this.all.some(
        (one) => !ended(one.state) && this.links(one).some((link) => link.id === id),
      );
      if (!ended(below.state) && !isNeeded) this.cancel(below, true);
    }
  }

  retry(task: Modelled, cascade: boolean): void {
    task.state = this.mustWait(task) ? "blocked" : "queued";
    task.for = false;
    if (!cascade) return;
    for (const above of this.all)
      if (above.for && ended(above.state) && this.failing(above).length === 0)
        if (this.links(above).some(({ id, onFail }) => id === task.id && onFail === "fail"))
          this.retry(above, true);
  }
}

class Run {
  world = new World();
  readonly model = new Model();

  constructor() {
    this.world.worker("w", { capacity: 1000 });
  }

  pick(which: number, fits: (task: Modelled) => boolean): Modelled | undefined {
    const fitting = this.model.all.filter(fits);
    return fitting[which % Math.max(1, fitting.length)];
  }

  graph(given: Extract<Move, { do: "graph" }>["tasks"]): void {
    const { world, model } = this;
    const olds = model.all;
    const tasks: Input<"graph.submit">["tasks"] = [];
    const made: Omit<Modelled, "id" | "state">[] = [];
    const places: { place: number; link: Link }[][] = [];
    for (const [i, { open, after, old }] of given.entries()) {
      // Each waits for what has a higher number only: no circle.
      const news = [...new Map(after.map((one) => [one.to, one])).values()].filter(
        ({ to }) => to > i && to < given.length,
      );
      const known = old === undefined || olds.length === 0 ? [] : [olds[old.to % olds.length] as Modelled];
      const links = known.map(({ id }) => ({ id, onFail: (old as { onFail: OnFail }).onFail }));
      places.push(news.map(({ to, onFail }) => ({ place: to, link: { id: "", onFail } })));
      made.push({ after: links, parent: null, open, for: false });
      tasks.push({
        type: "t",
        ref: `r${i}`,
        open,
        after: [
          ...links.map(({ id, onFail }) => ({ task: id, onFail })),
          ...news.map(({ to, onFail }) => ({ task: `r${to}`, onFail })),
        ],
      });
    }
    const { ids } = world.ok("graph.submit", { tasks });
    for (const [i, id] of ids.entries()) {
      const one = made[i] as (typeof made)[number];
      const news = (places[i] as (typeof places)[number]).map(({ place, link }) => ({
        ...link,
        id: ids[place] as string,
      }));
      const after = [...one.after, ...news];
      model.tasks.set(id, { ...one, id, after, state: after.length > 0 || one.open ? "blocked" : "queued" });
    }
  }

  step(move: Move): void {
    const { world, model } = this;
    switch (move.do) {
      case "graph":
        this.graph(move.tasks);
        break;
      case "complete":
      case "fail": {
        const task = this.pick(move.which, ({ state }) => state === "running");
        if (task === undefined) return;
        const held = world.held(task.id);
        if (move.do === "complete") world.ok("task.complete", held);
        else world.ok("task.fail", { ...held, error: "no", final: true });
        task.state = move.do === "complete" ? "completed" : "failed";
        task.for = false;
        break;
      }
      case "cancel": {
        const task = this.pick(move.which, ({ state }) => !ended(state));
        if (task === undefined) return;
        world.ok("task.cancel", { taskId: task.id, cascade: move.cascade });
        model.cancel(task, move.cascade);
        break;
      }
      case "retry": {
        const task = this.pick(move.which, ({ state }) => ended(state) && state !== "completed");
        if (task === undefined) return;
        const input = { taskId: task.id, cascade: move.cascade };
        if (model.failing(task).length > 0) world.refused("task.retry", input, "wrong-state");
        else {
          world.ok("task.retry", input);
          model.retry(task, move.cascade);
        }
        break;
      }
      case "child": {
        const above = this.pick(
          move.which,
          ({ state, open }) => state === "running" || (state === "blocked" && open),
        );
        if (above === undefined) return;
        const lease = above.state === "running" ? world.held(above.id) : { taskId: above.id };
        const id = world.submit({ type: "t", parent: { ...lease, onFail: move.onFail } });
        const parent = { id: above.id, onFail: move.onFail };
        model.tasks.set(id, { id, state: "queued", after: [], parent, open: false, for: false });
        break;
      }
      case "wait": {
        const task = this.pick(move.which, ({ state }) => state === "running");
        if (task === undefined) return;
        const hasChildren = model.all.some(({ parent }) => parent?.id === task.id);
        if (!hasChildren) world.refused("task.wait", world.held(task.id), "wrong-state");
        else {
          world.ok("task.wait", world.held(task.id));
          task.state = "blocked";
        }
        break;
      }
      case "close": {
        const task = this.pick(move.which, ({ state, open }) => open && !ended(state));
        if (task === undefined) return;
        world.ok("task.close", { taskId: task.id });
        task.open = false;
        break;
      }
      case "restart":
        this.world = world.restarted();
        this.world.core.dispatch.attach("w", 1000);
        break;
      case "undo": {
        // The last entry is taken back, which must be sound, and made again. Whether a worker has a socket is not in it.
        const last = world.transactions.at(-1);
        if (last === undefined || last.changes.some(({ table }) => table.name === "workers")) return;
        world.store.undo(last);
        world.sound();
        for (const { table, key, after } of last.changes) table.restore(key, after);
        world.sound();
        return;
      }
    }
    model.settle();
    this.world.settle();
    // Everything that is queued was pushed: the worker takes all.
    for (const task of model.all) if (task.state === "queued") task.state = "running";
    this.agree();
  }

  agree(): void {
    for (const task of this.model.all) {
      const { state, graph } = this.world.task(task.id);
      expect(`${task.id} ${state}`).toBe(`${task.id} ${task.state}`);
      const links = this.model.links(task);
      if (graph === null) expect(links).toEqual([]);
      else {
        const count = (fits: (state: TaskState) => boolean) =>
          links.filter(({ id }) => fits(this.model.get(id).state)).length;
        expect(graph).toMatchObject({
          total: links.length,
          completed: count((state) => state === "completed"),
          failed: count((state) => ended(state) && state !== "completed"),
          open: task.open && !ended(task.state),
        });
      }
    }
  }
}

test("graphs - who waits, goes on and ends is as the docs say, whatever is done, undone and restarted", () => {
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
      const run = new Run();
      for (const one of moves) run.step(one);
    }),
    { numRuns: Number(process.env.GRAPH_RUNS ?? 60) },
  );
}, 60_000);
