/**
 * The run: submits a task for every file, kills in the middle of it, and gathers what became of it, from the
 * coordinator's own state and from what the workers wrote down. It judges nothing; check.ts does.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CoordinationClient, type Task, TaskFailed } from "@cortexd/client";
import type { Digest } from "./files.ts";
import type { Child, Ports, Processes } from "./processes.ts";
import { concurrency, type Entry, queue } from "./worker.ts";

/** Who is killed once this part of all files is done. */
const plan = [
  { victim: "coordinator", at: 0.25 },
  { victim: "worker", at: 0.5 },
  { victim: "coordinator", at: 0.7 },
] as const;

/** How long a worker may be silent before its tasks go to another one: what a killed worker costs. */
const leaseMs = 3000;

/** With nothing completed for so long the run has failed. */
const stallMs = 60_000;

export type Kill = {
  victim: string;
  /** Files that were done by then. */
  doneCount: number;
  /** Tasks that were submitted, or on their way to be, and had no result yet. */
  openCount: number;
  /** A worker: the tasks it held. */
  heldCount: number | null;
  /** A coordinator: from the kill until it took requests again, and until the next file was done. */
  backAfterMs: number | null;
  workingAfterMs: number | null;
};

/** The coordinator's word that a file is done, as the submitter heard it. */
export type Acknowledged = { taskId: string; at: number; digest: Digest };

export type Outcome = {
  tookMs: number;
  /** Until the first kill, how many files were done, and how long that took. */
  undisturbed: { doneCount: number; tookMs: number };
  kills: Kill[];
  acknowledged: Map<string, Acknowledged>;
  /** Files that got no result, and why. */
  refused: Map<string, string>;
  /** All tasks the coordinator has in the end. */
  tasks: Task[];
  /** What all workers wrote down. */
  journal: Entry[];
  /** Who did not end in good order when asked at last. */
  disorderly: string[];
};

export type Told = {
  doneCount: number;
  bytes: number;
  /** What is going on beside the work; null: nothing. */
  trouble: string | null;
};

export class Run {
  readonly told: Told = { doneCount: 0, bytes: 0, trouble: null };
  readonly #acknowledged = new Map<string, Acknowledged>();
  readonly #refused = new Map<string, string>();
  readonly #kills: Kill[] = [];
  readonly #failed = Promise.withResolvers<never>();
  #coordinator!: Child;
  #ports: Ports = { port: 0, wsPort: 0 };
  #client!: CoordinationClient;
  #workers: Child[] = [];
  /** All there ever were. */
  readonly #workerIds: string[] = [];
  #next = 0;
  #startedAt = 0;
  #lastAt = 0;
  #killedAt = 0;
  #killing: Promise<void> | null = null;
  #undisturbed: Outcome["undisturbed"] | null = null;

  constructor(
    private readonly processes: Processes,
    private readonly folder: string,
    private readonly files: readonly string[],
    /** Workers at a time. */
    private readonly count: number,
    /** A line for people. */
    private readonly say: (line: string) => void,
  ) {}

  async run(): Promise<Outcome> {
    await this.#start();
    const stalled = setInterval(() => {
      if (performance.now() - this.#lastAt > stallMs)
        this.#failed.reject(new Error(`no file was done for ${stallMs / 1000} s`));
    }, 1000);
    try {
      return await Promise.race([this.#whole(), this.#failed.promise, this.processes.failed]);
    } finally {
      clearInterval(stalled);
      this.#client.close();
    }
  }

  async #whole(): Promise<Outcome> {
    // Twice as many as the workers can hold, so that none of them waits for us.
    await Promise.all(Array.from({ length: 2 * this.count * concurrency }, () => this.#lane()));
    const tookMs = this.#lastAt - this.#startedAt;
    await this.#killing;
    const tasks = await this.#tasks();
    const disorderly = await this.#stop();
    return {
      tookMs,
      undisturbed: this.#undisturbed ?? { doneCount: this.told.doneCount, tookMs },
      kills: this.#kills,
      acknowledged: this.#acknowledged,
      refused: this.#refused,
      tasks,
      journal: this.#workerIds.flatMap((workerId) => this.#journalOf(workerId)),
      disorderly,
    };
  }

  async #start(): Promise<void> {
    await this.#startCoordinator();
    this.say(`the coordinator is up on port ${this.#ports.port}`);
    for (let i = 0; i < this.count; i++) this.#startWorker();
    await Promise.all(this.#workers.map(({ ready }) => ready));
    this.say(`${this.count} workers are connected, each with ${concurrency} tasks at a time`);
    this.#client = new CoordinationClient({
      url: `ws://127.0.0.1:${this.#ports.wsPort}`,
      backoffMaxMs: 500,
    });
    this.#client.on("error", (error) => this.#failed.reject(error as Error));
    await this.#client.connect();
    this.#startedAt = performance.now();
    this.#lastAt = this.#startedAt;
  }

  async #startCoordinator(): Promise<void> {
    // A file's task is checked in the end: all of them must be kept until then.
    const retentionCount = Math.max(100_000, this.files.length);
    [this.#coordinator, this.#ports] = await this.processes.coordinator(this.#ports, retentionCount);
  }

  #startWorker(): Child {
    const workerId = `worker-${this.#workerIds.length + 1}`;
    this.#workerIds.push(workerId);
    const { wsPort } = this.#ports;
    const child = this.processes.worker(workerId, wsPort, this.folder, this.#journalPath(workerId));
    this.#workers.push(child);
    return child;
  }

  /** Submits one file after the other, each once the one before is done. */
  async #lane(): Promise<void> {
    for (let path = this.files[this.#next++]; path !== undefined; path = this.files[this.#next++]) {
      const submitted = this.#client.submit({ queue, type: "digest", payload: { path }, leaseMs });
      try {
        const digest = await submitted.result<Digest>();
        const { id: taskId } = await submitted;
        this.#acknowledged.set(path, { taskId, at: Date.now(), digest });
        this.told.bytes += digest.bytes;
      } catch (error) {
        if (!(error instanceof TaskFailed)) throw error;
        this.#refused.set(path, error.message);
      }
      this.#done();
    }
  }

  #done(): void {
    this.told.doneCount++;
    this.#lastAt = performance.now();
    const leftCount = this.files.length - this.told.doneCount;
    const heldCount = this.#kills.find(({ heldCount }) => heldCount !== null)?.heldCount ?? 0;
    if (leftCount <= heldCount) this.told.trouble = leftCount === 0 ? null : "a dead worker's leases";
    const last = this.#kills.at(-1);
    if (last?.backAfterMs !== null && last?.workingAfterMs === null) {
      last.workingAfterMs = this.#lastAt - this.#killedAt;
    }
    const next = plan[this.#kills.length];
    if (next === undefined || this.#killing !== null || this.told.doneCount < next.at * this.files.length)
      return;
    this.#undisturbed ??= { doneCount: this.told.doneCount, tookMs: this.#lastAt - this.#startedAt };
    this.#killing = (next.victim === "worker" ? this.#killWorker() : this.#killCoordinator())
      .catch((error) => this.#failed.reject(error))
      .finally(() => {
        this.#killing = null;
      });
  }

  #killed(victim: string): Kill {
    const { doneCount } = this.told;
    const openCount = Math.min(this.#next, this.files.length) - doneCount;
    const kill = { victim, doneCount, openCount, heldCount: null, backAfterMs: null, workingAfterMs: null };
    this.#kills.push(kill);
    this.#killedAt = performance.now();
    return kill;
  }

  async #killCoordinator(): Promise<void> {
    const kill = this.#killed("coordinator");
    this.told.trouble = "coordinator down";
    await this.#coordinator.kill();
    await this.#startCoordinator();
    kill.backAfterMs = performance.now() - this.#killedAt;
    this.told.trouble = null;
    this.say(
      `killed the coordinator at ${kill.doneCount} files, with ${kill.openCount} tasks open: it took requests ` +
        `again, on the same ports, after ${Math.round(kill.backAfterMs)} ms`,
    );
  }

  async #killWorker(): Promise<void> {
    const victim = await this.#busyWorker();
    const kill = this.#killed(victim.name);
    await victim.kill();
    this.#workers = this.#workers.filter((worker) => worker !== victim);
    const successor = this.#startWorker();
    // The dead complete nothing any more: what it holds now is what it held.
    const { tasks } = await this.#client.tasks({ queue, workerId: victim.name, state: "running" });
    kill.heldCount = tasks.length;
    await successor.ready;
    this.say(
      `killed ${victim.name} at ${kill.doneCount} files, with ${kill.heldCount} tasks in its hands: ` +
        `${successor.name} takes its place`,
    );
  }

  /** A worker that has begun files and not ended them; it is held still for a look, or the look would be too late. */
  async #busyWorker(): Promise<Child> {
    for (;;) {
      for (const worker of this.#workers) {
        worker.signal("SIGSTOP");
        const entries = this.#journalOf(worker.name);
        if (entries.length < 2 * entries.filter(({ event }) => event === "started").length) return worker;
        worker.signal("SIGCONT");
      }
      if (this.told.doneCount >= this.files.length) return this.#workers[0] as Child;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #tasks(): Promise<Task[]> {
    const tasks: Task[] = [];
    let cursor: string | null = null;
    do {
      const page: { tasks: Task[]; cursor: string | null } = await this.#client.tasks({
        ...{ queue, limit: 1000 },
        ...(cursor === null ? {} : { cursor }),
      });
      tasks.push(...page.tasks);
      cursor = page.cursor;
    } while (cursor !== null);
    return tasks;
  }

  async #stop(): Promise<string[]> {
    this.#client.close();
    const disorderly: string[] = [];
    const stop = async (child: Child) => {
      const code = await child.stop();
      if (code !== 0)
        disorderly.push(`${child.name} ended with ${code === null ? "a signal" : `code ${code}`}`);
    };
    await Promise.all(this.#workers.map(stop));
    await stop(this.#coordinator);
    return disorderly;
  }

  #journalPath(workerId: string): string {
    return join(this.processes.folder, `${workerId}.ndjson`);
  }

  #journalOf(workerId: string): Entry[] {
    return (
      readFileSync(this.#journalPath(workerId), "utf8")
        .split("\n")
        // Whole lines alone: it may be writing its last.
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Entry)
    );
  }
}
