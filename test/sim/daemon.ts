/**
 * The coordinator's process in the simulation: the real engine, core, sessions and log writer over the virtual disk,
 * network and clocks. It starts, is killed at any event, at any call of the disk or with any frame, is stopped for a
 * while, ends in good order, and starts again. Everything it does is shown to the model.
 */

import { stateText } from "../../src/core/check.ts";
import type { Coordinator } from "../../src/core/coordinator.ts";
import type { Slot } from "../../src/core/slots.ts";
import { leaseOf, type TaskRecord } from "../../src/core/tasks.ts";
import type { Clock } from "../../src/engine/clock.ts";
import type { EngineConfig } from "../../src/engine/config.ts";
import { Engine } from "../../src/engine/engine.ts";
import type { Answer, Caller, Sink } from "../../src/engine/types.ts";
import { type From, Posts } from "../../src/http/posts.ts";
import type { Batch, Log, LogStatus, Recovered, RecoverySink } from "../../src/log/log.ts";
import { LogError } from "../../src/log/log.ts";
import { MemoryLog } from "../../src/log/memory.ts";
import type { Ask } from "../../src/log/questions.ts";
import type { Storage } from "../../src/log/storage.ts";
import { LogWriter, type WriterOptions } from "../../src/log/writer.ts";
import { quietTelemetry } from "../../src/telemetry/telemetry.ts";
import type { Problem } from "../../src/wire/errors.ts";
import type { StateOperationName } from "../../src/wire/operations.ts";
import { Session, type Sessions } from "../../src/ws/session.ts";
import type { Disk } from "./disk.ts";
import { Model } from "./model.ts";
import type { Link, Listener, ServerEnd } from "./network.ts";
import { Process, Violation, type World } from "./world.ts";

export type PresetName = "durable" | "high-availability" | "production" | "development";

/** Where a canary puts its planted bug: between the daemon and what it stands on. */
export type Plants = {
  storage?(storage: Storage, world: World): Storage;
  log?(log: Log, world: World): Log;
  memoryStart?(start: number): number;
};

export type DaemonOptions = {
  preset: PresetName;
  config: EngineConfig;
  /** The log's options and the preset may be others after a restart. */
  writer: () => Partial<WriterOptions>;
  changesPreset: boolean;
  plants: Plants;
};

/** The log's thread: looks after the writer now and then, and in snapshot mode lets the loop answer by itself. */
class ThreadedLog implements Log {
  #last = 0;
  #isFull = false;

  constructor(
    readonly writer: LogWriter,
    readonly process: Process,
    readonly isSnapshot: boolean,
    readonly tickMs: number,
  ) {}

  async open(sink: RecoverySink): Promise<Recovered> {
    const recovered = await this.writer.open(sink);
    this.#last = recovered.revision;
    this.process.after(this.tickMs, () => void this.#tick());
    return recovered;
  }

  async #tick(): Promise<void> {
    try {
      const more = await this.writer.tick(this.process.world.now);
      this.#isFull = this.writer.isFull;
      this.process.after(more ? 0.01 : this.tickMs, () => void this.#tick());
    } catch {
      // Told by the listener, or the log is stopped.
    }
  }

  async append(batch: Batch, after: number) {
    if (!this.isSnapshot) return this.writer.append(batch, after);
    if (after !== this.#last) return { kind: "fenced", last: this.#last } as const;
    if (this.#isFull) return { kind: "full" } as const;
    this.writer.take(batch).catch(() => {});
    this.#last = batch.last;
    return { kind: "durable" } as const;
  }

  reserve(ceiling: number): Promise<void> {
    return this.writer.reserve(ceiling);
  }
  async probe(): Promise<boolean> {
    const done = await this.writer.probe();
    if (done) this.#isFull = false;
    return done;
  }
  readonly ask: Ask = (name, asked) => this.writer.ask(name, asked);
  status(): LogStatus {
    return this.writer.status();
  }
  onFailure(listener: (error: Error) => void): void {
    this.writer.onFailure(listener);
  }
  stop(): Promise<void> {
    return this.writer.stop();
  }
}

/** The engine, showing what it carries out and lets out. */
class WatchedEngine extends Engine {
  readonly attachedTo = new Map<string, Sink>();
  onRequest: (operation: string, input: unknown, caller: Caller) => void = () => {};
  onAnswer: (answer: Answer) => void = () => {};
  onAttach: (workerId: string) => void = () => {};

  override request(
    operation: StateOperationName,
    input: unknown,
    caller: Caller,
    sink: Sink,
  ): ReturnType<Engine["request"]> {
    this.onRequest(operation, input, caller);
    const watched = new Proxy(sink, {
      get: (target, name: keyof Sink) => {
        if (name === "answer")
          return (seq: number | null, answer: Answer) => {
            this.onAnswer(answer);
            target.answer(seq, answer);
          };
        const value = target[name];
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    return super.request(operation, input, caller, watched);
  }

  override attach(workerId: string, sink: Sink, credit: number): void {
    if (this.attachedTo.get(workerId) !== sink) this.onAttach(workerId);
    super.attach(workerId, sink, credit);
    if (this.core.workers.has(workerId)) this.attachedTo.set(workerId, sink);
  }

  override detach(workerId: string, sink: Sink): void {
    if (this.attachedTo.get(workerId) === sink) this.attachedTo.delete(workerId);
    super.detach(workerId, sink);
  }
}

class WatchedSession extends Session {
  onPush: (text: string) => void = () => {};
  override push(text: string): void {
    this.onPush(text);
    super.push(text);
  }
}

/** One start of the daemon, until its end. */
type Life = {
  process: Process;
  engine: WatchedEngine;
  sessions: Sessions;
  posts: Posts;
  /** It takes connections. */
  isUp: boolean;
  /** Turns that were opened and are not closed yet. */
  turnsToCome: number;
  /** The last entry it had when it started, and the revision it goes on above. */
  ceiling: number;
  startedAt: number;
  hadState: boolean;
  /** Recovery is done. */
  hasRead: boolean;
  ends: Set<WatchedSession>;
};

export class Daemon {
  readonly model: Model;
  preset: PresetName;
  life: Life | null = null;
  /** What the next start must come back to. */
  #least = 0;
  #startCount = 0;
  #sessionCount = 0;
  // Uptime: how long the loop has run, over all lives. A pause counts for a second at most.
  #uptime = 0;
  #runningSince: number | null = null;
  /** By uptime: when it last could not change anything, because its disk was full. */
  #hinderedAt = 0;
  #uptimeAtStart = 0;
  /** Kills at one of the next calls of the disk, or frames sent; 0: not. */
  killAtCall = 0;
  killAtFrame = 0;
  killPower = false;
  /** The network to be told of a kill. */
  onKilled: (power: boolean) => void = () => {};
  onRequest: (operation: string, input: unknown, caller: Caller, engine: Engine) => void = () => {};

  constructor(
    readonly world: World,
    readonly disk: Disk,
    readonly options: DaemonOptions,
  ) {
    const { config } = options;
    this.preset = options.preset;
    this.model = new Model(
      world,
      config,
      () => this.uptime(),
      () => (this.life?.hadState ? this.uptime() - this.#uptimeAtStart : Number.POSITIVE_INFINITY),
    );
    disk.onCall = () => {
      if (this.killAtCall > 0 && --this.killAtCall === 0) this.kill(this.killPower);
    };
  }

  uptime(): number {
    return this.#uptime + (this.#runningSince === null ? 0 : this.world.now - this.#runningSince);
  }

  #stopsRunning(): void {
    this.#uptime = this.uptime();
    this.#runningSince = null;
  }

  /** The highest revision that may be told outside now. */
  get durable(): number {
    const { life } = this;
    if (life === null) return 0;
    switch (this.preset) {
      case "durable":
        return Math.max(life.ceiling, this.disk.syncedRevision, this.model.undoneThrough);
      case "high-availability":
        // A disk that fails takes back what was written and told; until the process hears of it, it tells it again.
        return Math.max(life.ceiling, this.disk.writtenRevision, this.model.undoneThrough, this.model.told);
      default:
        return life.engine.store.revision;
    }
  }

  // --- a life ---------------------------------------------------------------------------------------------

  start(): void {
    if (this.life !== null) return;
    const { world, options } = this;
    if (options.changesPreset && world.random.chance(0.4)) {
      this.preset = world.random.pick(["durable", "high-availability", "production"]);
      world.count("daemon.otherPreset");
    }
    const process = new Process(world, "cortexd");
    const bootedAt = world.now;
    const clock: Clock = {
      wall: () => world.wall(),
      monotonic: () => world.now - bootedAt + 17,
      after: (ms, call) => {
        const event = process.after(ms, call);
        return () => {
          event.call = null;
        };
      },
      // Others may be heard between, as they are by a loop that has several sockets to read.
      soon: (call) => {
        life.turnsToCome++;
        process.after(0, () => {
          life.turnsToCome--;
          call();
        });
      },
    };
    const engine = new WatchedEngine({
      log: this.#log(process),
      clock,
      config: options.config,
      telemetry: quietTelemetry(),
      random: () => world.random.next(),
      onFailure: (error) => {
        // The process ends by itself when its log is beyond use.
        world.trace("log failed", error.message);
        if (!/the disk failed/.test(error.message))
          world.fail(new Violation(`the log failed: ${error.message}`));
        if (this.life?.process === process) this.#end(false);
      },
    });
    const life: Life = {
      process,
      engine,
      sessions: { engine, admitsToken: () => true, newId: () => `s${++this.#sessionCount}` },
      posts: new Posts(engine),
      isUp: false,
      turnsToCome: 0,
      ceiling: 0,
      startedAt: world.now,
      hadState: false,
      hasRead: false,
      ends: new Set(),
    };
    this.life = life;
    world.trace("start");
    this.#watch(life);
    engine.start().then(
      (recovered) => {
        if (this.life !== life) return;
        world.see(() => this.model.verify(engine.core, "after recovery"));
        life.isUp = true;
        world.count("daemon.started");
        if (++this.#startCount > 1) world.count("daemon.restarted");
        world.trace("up", `${recovered.revision} ${recovered.ceiling} ${recovered.notes}`);
        if (recovered.notes.length > 0) world.count("log.mended");
      },
      (error) => {
        if (this.life !== life) return;
        world.trace("start failed", (error as Error).message);
        this.#end(false);
        const isDisk = /disk failed|is full/.test((error as Error).message);
        if (!(error instanceof LogError) || !isDisk)
          world.fail(new Violation(`the daemon does not start again: ${(error as Error).message}`));
        world.count("daemon.startFailed");
      },
    );
  }

  #log(process: Process): Log {
    const { world, options } = this;
    const { preset } = this;
    const { plants } = options;
    let log: Log;
    if (preset === "development") {
      const start = world.wall() * 1000;
      log = new MemoryLog(plants.memoryStart?.(start) ?? start);
    } else {
      const plain = this.disk.storage(process);
      const storage = plants.storage?.(plain, world) ?? plain;
      const mode = preset === "durable" ? "always" : preset === "high-availability" ? "interval" : "snapshot";
      const writer = new LogWriter(storage, { ...options.writer(), mode });
      log = new ThreadedLog(writer, process, mode === "snapshot", 150);
    }
    return this.#counted(plants.log?.(log, world) ?? log);
  }

  /** Tells the model where recovery came back to, before anything is built on it. */
  #counted(log: Log): Log {
    const open = log.open.bind(log);
    log.open = async (sink) => {
      const recovered = await open(sink);
      const life = this.life as Life;
      this.#uptimeAtStart = this.uptime();
      this.#runningSince = this.world.now;
      life.hasRead = true;
      life.hadState = recovered.revision > 0;
      life.ceiling = recovered.ceiling;
      this.world.see(() => {
        if (this.preset === "development") this.model.forgotten(recovered.ceiling);
        else this.model.recovered(recovered, this.#least);
      });
      return recovered;
    };
    return log;
  }

  /** The machine or the process ends without a word. */
  kill(power: boolean): void {
    const { life } = this;
    if (life === null) return;
    this.world.trace("kill", power ? "power" : "process");
    this.world.count(power ? "kill.power" : "kill.process");
    this.#end(power);
  }

  #end(power: boolean): void {
    const life = this.life as Life;
    this.life = null;
    this.#stopsRunning();
    this.killAtCall = 0;
    this.killAtFrame = 0;
    life.process.kill();
    this.#least = this.#promised(life, power);
    const { syncedRevision } = this.disk;
    this.disk.crash(power);
    // A sync that was failing at that very moment takes what was written and not synced, as a power cut does.
    if (this.preset === "high-availability" && this.disk.writtenRevision < this.#least)
      this.#least = Math.min(this.#least, syncedRevision);
    this.onKilled(power);
  }

  /** The revision that the next start must come back to, at least: what the preset promises of such an end. */
  #promised(life: Life, power: boolean): number {
    const { disk, model, preset } = this;
    if (preset === "development") return 0;
    const { syncedRevision: synced, writtenRevision: written } = disk;
    // It promised nothing yet; but a disk that failed under it has lost what was not synced, as a power cut does.
    if (!life.hasRead) return power || written < this.#least ? Math.min(this.#least, synced) : this.#least;
    const told = model.toldEntry;
    if (preset === "durable") return told;
    return preset === "high-availability" && !power && written >= told ? told : synced;
  }

  /** SIGSTOP, and SIGCONT after so long. */
  pause(ms: number): void {
    const { life } = this;
    if (life === null || life.process.paused) return;
    this.world.trace("pause", String(ms));
    this.world.count("daemon.paused");
    const wasRunning = this.#runningSince !== null;
    this.#stopsRunning();
    const since = this.world.now;
    life.process.pause();
    this.world.after(ms, () => {
      if (this.life !== life) return;
      if (wasRunning) {
        this.#uptime += Math.min(1000, this.world.now - since);
        this.#runningSince = this.world.now;
      }
      life.process.resume();
    });
  }

  /** SIGTERM: an end in good order, after which nothing is lost under any preset that keeps anything. */
  stop(ended: () => void): void {
    const { life } = this;
    if (life === null || !life.isUp) return;
    life.process.run(() => this.#stop(life, ended));
  }

  #stop(life: Life, ended: () => void): void {
    if (!life.isUp) return;
    this.world.trace("stop");
    this.world.count("daemon.stopped");
    life.isUp = false;
    life.engine.stop().then(() => {
      if (this.life !== life) return;
      for (const session of life.ends) session.end(1012, "the daemon is stopping");
      if (this.preset !== "development" && !this.disk.isFull) {
        const synced = this.disk.syncedRevision;
        if (synced < this.model.lastEntry)
          this.world.fail(new Violation(`stopped in good order at ${this.model.lastEntry}, kept ${synced}`));
        this.#least = synced;
      } else this.#least = this.#promised(life, false);
      this.life = null;
      this.#stopsRunning();
      life.process.kill();
      this.disk.crash(false);
      this.onKilled(false);
      ended();
    });
  }

  // --- what it is asked -----------------------------------------------------------------------------------

  get listener(): Listener | null {
    const { life } = this;
    if (life === null || !life.isUp) return null;
    return {
      process: life.process,
      accept: (link) => this.#accept(life, link),
      post: (frame, from, answered) => this.#post(life, frame, from, answered),
    };
  }

  #post(life: Life, frame: string, from: From, answered: (answer: string | Problem) => void): void {
    if (this.life !== life || !life.isUp) return;
    life.posts.take(JSON.parse(frame), from).then((answer) => {
      if (!life.process.alive) return;
      this.#leaves(typeof answer === "string" ? answer : JSON.stringify(answer));
      answered(answer);
      if (this.killAtFrame > 0 && --this.killAtFrame === 0) this.kill(this.killPower);
    });
  }

  #accept(life: Life, link: Link): ServerEnd {
    this.world.count("link.opened");
    const session = new WatchedSession(
      life.sessions,
      {
        send: (text) => {
          if (!life.process.alive) return;
          this.#leaves(text);
          link.down(text);
          if (this.killAtFrame > 0 && --this.killAtFrame === 0) this.kill(this.killPower);
        },
        close: (code, reason) => {
          if (life.process.alive) link.closeByServer(code, reason);
        },
        bufferedBytes: () => 0,
      },
      true,
    );
    session.onPush = (text) => this.world.see(() => this.model.pushed(session, text));
    life.ends.add(session);
    return {
      receive: (text) => {
        const workers = [...life.engine.attachedTo].filter(([, sink]) => sink === (session as Sink));
        for (const [workerId] of workers) this.model.heard(workerId);
        this.model.arrives(
          workers.map(([workerId]) => workerId),
          text,
        );
        session.receive(text);
      },
      closed: () => {
        life.ends.delete(session);
        session.closed();
      },
    };
  }

  /** An HTTP request arrives; its answer leaves. */
  http(
    operation: StateOperationName,
    input: unknown,
    caller: Caller,
    answered: (answer: Answer) => void,
  ): void {
    const { life } = this;
    if (life === null || !life.isUp) return;
    life.process.run(() => {
      if (this.life !== life) return;
      life.engine.call(operation, input, caller).then((answer) => {
        if (!life.process.alive) return;
        this.#leaves("ok" in answer ? answer.ok : JSON.stringify(answer.error));
        answered(answer);
      });
    });
  }

  #leaves(text: string): void {
    this.world.trace("out", text);
    this.world.see(() => this.model.left(text, this.durable));
  }

  // --- shown to the model ---------------------------------------------------------------------------------

  #watch(life: Life): void {
    const { engine } = life;
    const { model, world } = this;
    const made = new WeakMap<Answer, number>();
    const lives = () => this.life === life;
    engine.store.onCommit((transaction) => {
      if (!lives()) return;
      world.see(() => model.committed(engine.core, transaction));
      for (const { table, before, after } of transaction.changes)
        if (table.name === "tasks")
          this.#owesPush(life, transaction.revision, before as TaskRecord, after as TaskRecord);
    });
    const undo = engine.store.undo.bind(engine.store);
    engine.store.undo = (transaction) => {
      undo(transaction);
      if (lives()) world.see(() => model.undone(transaction.revision));
    };
    engine.onRequest = (operation, input, caller) => {
      if (!lives()) return;
      world.count(`operation.${operation}`);
      this.onRequest(operation, input, caller, engine);
    };
    engine.onAttach = (workerId) => model.attached(workerId);
    engine.onAnswer = (answer) => {
      if (!lives()) return;
      const revision = made.get(answer) ?? 0;
      if (revision > this.durable)
        world.fail(new Violation(`an answer left at revision ${revision}; only ${this.durable} is durable`));
      world.count("ok" in answer ? "answer.ok" : `answer.${answer.error.code}`);
    };
    // The core is made in start(); what runs before that is no operation.
    let core: Coordinator | undefined;
    Object.defineProperty(engine, "core", {
      get: () => core,
      set: (value: Coordinator) => {
        core = value;
        const run = value.run.bind(value);
        value.run = (operation, input, cause) => {
          if (!lives()) return run(operation, input, cause);
          const before = engine.store.revision;
          const repeated = value.metrics.operationsRepeated;
          const looked = world.random.chance(1 / 40) ? stateText(value) : null;
          world.see(() => model.running(operation, input, cause, value.now));
          const result = run(operation, input, cause);
          const after = engine.store.revision;
          // A kept answer tells of its own entry alone.
          const kept = cause.session === null ? undefined : value.answers.find(cause.session, cause.seq);
          const isRepeated = value.metrics.operationsRepeated !== repeated && typeof kept === "object";
          made.set(result, isRepeated ? kept.revision : after);
          if (looked !== null && (after === before || "error" in result)) {
            world.count("refusal.compared");
            if (looked !== stateText(value))
              world.fail(new Violation(`${operation} made no entry and changed the state`));
          }
          world.see(() =>
            model.ran(result, after, after !== before, value.metrics.operationsRepeated !== repeated),
          );
          return result;
        };
      },
    });
  }

  /** What this change obliges the daemon to push: a new lease, and the end of one that its worker did not end. */
  #owesPush(
    life: Life,
    revision: number,
    before: TaskRecord | undefined,
    after: TaskRecord | undefined,
  ): void {
    const { operation } = life.engine.core;
    const had = before?.state === "running" ? leaseOf(before) : null;
    const has = after?.state === "running" ? leaseOf(after) : null;
    const { id } = ((after ?? before) as TaskRecord).spec;
    const owes = (workerId: string, key: string) => {
      const sink = life.engine.attachedTo.get(workerId);
      if (sink !== undefined) this.model.due(revision, sink, key);
    };
    if (has !== null && had === null && operation !== "task.claim")
      owes(has.workerId, `task.assigned ${id} ${has.token}`);
    if (had !== null && has === null && ["task.cancel", "lease.expire", "lease.revoke"].includes(operation))
      owes(had.workerId, `task.aborted ${id} ${had.token}`);
  }

  /** After each event. */
  look(thorough: boolean): void {
    const { life, model, disk, preset } = this;
    if (preset === "development") model.settled(model.lastEntry);
    else model.settled(disk.syncedRevision);
    if (life === null || !life.isUp || life.process.paused) return;
    const { engine } = life;
    if (!engine.ready().ready) {
      this.#hinderedAt = this.uptime();
      return;
    }
    const isBetween = life.turnsToCome > 0;
    if (!isBetween) model.matched(engine.core);
    if (thorough)
      for (const { health } of engine.core.dispatch.slots()) this.world.count(`worker.${health.state}`);
    if (!isBetween) model.pushesDone(engine.durableRevision);
    if (thorough) {
      model.revokesDone((workerId) => engine.attachedTo.has(workerId), this.uptime() - this.#hinderedAt);
      model.verify(engine.core, "now");
      if (this.world.random.chance(0.5)) this.#rollBack(engine);
    }
  }

  /** A transaction that throws half-way leaves no trace, in the tables and in everything derived from them. */
  #rollBack(engine: Engine): void {
    const { core } = engine;
    const { random } = this.world;
    const records = [...core.tasks.values()];
    if (records.length === 0) return;
    // Room that is kept is no state, and not taken back: it would be free now, and no turn would follow to use it.
    for (const { reservedFor } of core.dispatch.slots()) if (reservedFor !== null) return;
    const revision = engine.store.revision;
    const thrown = new Error("half-way");
    try {
      engine.store.transaction(() => {
        for (let i = random.int(1, 4); i > 0; i--) {
          const record = random.pick(records);
          const { id } = record.spec;
          const now = core.tasks.get(id);
          if (now === undefined || random.chance(0.3)) {
            if (now !== undefined) core.tasks.delete(id);
          } else {
            const picked = random.pick(["queued", "completed", "running", "scheduled"] as const);
            const [slot] = core.dispatch.slots();
            const state = picked === "running" && slot === undefined ? "queued" : picked;
            const past = { token: 1, leaseMs: 1, deadline: 1, startedAt: 1, startedClock: 1 };
            core.tasks.put(id, {
              ...now,
              state,
              lease: state === "running" ? { workerId: (slot as Slot).id, ...past } : now.lease,
              runAt: state === "scheduled" ? core.now + 1 : 0,
              outcome: { ...now.outcome, finishedAt: state === "completed" ? core.now : 0 },
            });
          }
        }
        throw thrown;
      });
    } catch (error) {
      if (error !== thrown) throw error;
    }
    this.world.count("transaction.rolledBack");
    this.model.expect(engine.store.revision === revision, "a transaction that threw used a revision up");
    this.model.verify(core, "after a transaction that threw");
  }
}
