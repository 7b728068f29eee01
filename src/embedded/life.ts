/**
 * One life of a coordinator inside a process: the real engine, and the real sessions and frames before it, from its
 * start until it is stopped or killed. It opens no port: what stands before it is the network of this room.
 */
import type { Clock } from "../engine/clock.ts";
import { Engine, type EngineOptions } from "../engine/engine.ts";
import { type From, Posts } from "../http/posts.ts";
import { quietTelemetry } from "../telemetry/telemetry.ts";
import type { Problem } from "../wire/errors.ts";
import { closeCodes } from "../wire/frames.ts";
import { type Connection, Session, type Sessions } from "../ws/session.ts";

/** The coordinator's end of a connection. */
export type ServerEnd = { receive(text: string): void; closed(): void };

/** What stands at the address. */
export type Listener = {
  accept(connection: Connection): ServerEnd;
  /** A request with a frame. */
  post(frame: string, from: From): Promise<string | Problem>;
};

export type LifeOptions = Omit<EngineOptions, "telemetry">;

export class Life implements Listener {
  readonly engine: Engine;
  readonly #sessions: Sessions;
  readonly #open = new Set<Session>();
  readonly #posts: Posts;
  #isAlive = true;

  private constructor(options: LifeOptions) {
    const clock: Clock = {
      ...options.clock,
      after: (ms, call) => options.clock.after(ms, () => this.#isAlive && call()),
      soon: (call) => options.clock.soon(() => this.#isAlive && call()),
    };
    this.engine = new Engine({ ...options, clock, telemetry: quietTelemetry() });
    this.#sessions = {
      engine: this.engine,
      admitsToken: () => true,
      newId: () => crypto.randomUUID(),
    };
    this.#posts = new Posts(this.engine);
  }

  /** Rejects with a LogError where the log cannot be read. */
  static async start(options: LifeOptions): Promise<Life> {
    const life = new Life(options);
    await life.engine.start();
    return life;
  }

  accept(connection: Connection): ServerEnd {
    const session = new Session(this.#sessions, connection, true);
    this.#open.add(session);
    return {
      receive: (text) => session.receive(text),
      closed: () => {
        this.#open.delete(session);
        if (this.#isAlive) session.closed();
      },
    };
  }

  post(frame: string, from: From): Promise<string | Problem> {
    return this.#posts.take(JSON.parse(frame), from);
  }

  /** Answers who waits, writes what is left, closes the log and the connections. Twice is fine. */
  async stop(): Promise<void> {
    await this.engine.stop();
    for (const session of [...this.#open]) session.end(closeCodes.restarting, "the coordinator is stopping");
    this.#open.clear();
  }

  /** From here on its clock is nobody's: as with `kill -9`, nothing it had in mind happens. */
  kill(): void {
    this.#isAlive = false;
  }
}
