/**
 * A world of several namespaces: real engines over logs and places that the test holds. Each call of the places is
 * noted, and waits or fails where the test says so.
 */
import { KeptDisk } from "../../src/embedded/disk.ts";
import { Namespaces } from "../../src/engine/namespaces.ts";
import type { Answer } from "../../src/engine/types.ts";
import type { Log } from "../../src/log/log.ts";
import type { Begun, Places } from "../../src/log/namespaces.ts";
import { createLines } from "../../src/telemetry/lines.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import type { DaemonOperationName, StateOperationName } from "../../src/wire/operations.ts";
import { anyone, engineConfig, FakeClock, FakeLog, settle, type TestSink } from "./world.ts";

export class FakePlaces implements Places {
  readonly logs = new Map<string, FakeLog>([["default", new FakeLog()]]);
  readonly default = this.logs.get("default") as FakeLog;
  readonly calls: string[] = [];
  floor = 0;
  /** Calls that wait until the test lets them go on. */
  readonly held = new Map<string, PromiseWithResolvers<void>>();
  /** Calls that fail. */
  readonly failing = new Map<string, Error>();

  hold(call: string): PromiseWithResolvers<void> {
    const promise = Promise.withResolvers<void>();
    this.held.set(call, promise);
    return promise;
  }

  async #call(name: string): Promise<void> {
    this.calls.push(name);
    await this.held.get(name)?.promise;
    const error = this.failing.get(name);
    if (error !== undefined) throw error;
  }

  async begin(): Promise<Begun> {
    return { logs: [], notes: [] };
  }
  async make(name: string): Promise<Log> {
    await this.#call(`make ${name}`);
    const disk = new KeptDisk();
    disk.ceiling = this.floor;
    const log = new FakeLog(disk);
    this.logs.set(name, log);
    return log;
  }
  made = (name: string) => this.#call(`made ${name}`);
  unmake = (name: string) => this.#call(`unmake ${name}`);
  async raiseFloor(revision: number): Promise<void> {
    await this.#call("floor");
    this.floor = Math.max(this.floor, revision);
  }
  drop = (name: string) => this.#call(`drop ${name}`);
  sweep = () => this.#call("sweep");
}

export class Rooms {
  readonly clock = new FakeClock();
  readonly places = new FakePlaces();
  readonly failures: Error[] = [];
  readonly lines: { event: string; [field: string]: unknown }[] = [];
  readonly namespaces: Namespaces;
  #seq = 0;

  private constructor(namespacesMax: number, memoryBytesMax: number) {
    const write = (line: string) => this.lines.push(JSON.parse(line));
    this.namespaces = new Namespaces({
      ...{ places: this.places, clock: this.clock, namespacesMax, random: () => 0.5 },
      config: { ...engineConfig, memoryBytesMax },
      telemetry: {
        metrics: createMetrics(),
        lines: createLines({ level: "debug", format: "json", now: () => 0, write }),
      },
      onFailure: (error) => this.failures.push(error),
    });
  }

  static async start({ namespacesMax = 4, memoryBytesMax = 2 ** 30 } = {}): Promise<Rooms> {
    const rooms = new Rooms(namespacesMax, memoryBytesMax);
    await rooms.namespaces.start();
    await settle();
    return rooms;
  }

  async make(name: string) {
    const found = await this.namespaces.make(name);
    if ("error" in found) throw new Error(found.error.detail);
    await settle();
    return found.engine;
  }

  /** The answer when it comes. */
  carryOut(operation: DaemonOperationName, input: unknown = {}): Promise<Answer> {
    return this.namespaces.carryOut(operation, input);
  }

  /** Asks in a namespace; the seq of the answer. */
  ask(name: string, sink: TestSink, operation: StateOperationName, input: unknown): number {
    const seq = ++this.#seq;
    this.namespaces.find(name)!.request(operation, input, { ...anyone, seq }, sink);
    return seq;
  }
}
