/**
 * The processes of the demonstration: the coordinator and the workers, each an operating-system process of its own.
 * It ends only what it started, whatever happens, and nothing it started outlives it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";

const root = join(import.meta.dir, "..", "..");

export type Child = {
  name: string;
  /** Its first line of output that says it is ready. */
  ready: Promise<string>;
  signal(name: NodeJS.Signals): void;
  /** SIGKILL: it gets no chance to do anything more. */
  kill(): Promise<void>;
  /** SIGTERM, and SIGKILL for who does not end: the exit code, null if a signal ended it. */
  stop(): Promise<number | null>;
};

export type Ports = { port: number; wsPort: number };

/** How long an orderly end may take. */
const stopMs = 10_000;

export class Processes {
  /** Everything that is written lies here, and goes with the end. */
  readonly folder = mkdtempSync(join(tmpdir(), "cortexd-demo-"));
  /** Rejects when a process ends that nobody asked to. */
  readonly failed: Promise<never>;
  readonly #fail: (error: Error) => void;
  readonly #running = new Set<Subprocess>();

  constructor(private readonly executable: string | null) {
    const { promise, reject } = Promise.withResolvers<never>();
    this.failed = promise;
    this.#fail = reject;
    // Whoever awaits it hears of it; that nobody does yet is no error.
    promise.catch(() => {});
  }

  /** Starts the coordinator on the same data folder each time, and answers with its ports once it is ready. */
  async coordinator({ port, wsPort }: Ports, retentionCount: number): Promise<[Child, Ports]> {
    const command =
      this.executable === null ? [process.execPath, join(root, "src/main.ts")] : [this.executable];
    const child = this.#start("the coordinator", '"event":"serve.ready"', [
      ...[...command, "serve", "--preset", "durable", "--data", join(this.folder, "data")],
      ...["--port", `${port}`, "--ws-port", `${wsPort}`, "--log-format", "json"],
      // The leases are short, so that a killed worker is missed soon: who lives must be heard more often.
      ...["--heartbeat-ms", "500", "--grace-ms", "1s"],
      ...["--retention-count", `${retentionCount}`],
    ]);
    const ready = JSON.parse(await child.ready) as Ports;
    return [child, { port: ready.port, wsPort: ready.wsPort }];
  }

  worker(workerId: string, wsPort: number, files: string, journal: string): Child {
    const url = `ws://127.0.0.1:${wsPort}`;
    const script = join(import.meta.dir, "worker.ts");
    return this.#start(workerId, "ready", [process.execPath, script, url, workerId, files, journal]);
  }

  /** The hard end of all that is left, and of everything it wrote. Twice is fine. */
  async end(): Promise<void> {
    this.killAll();
    await Promise.all([...this.#running].map(({ exited }) => exited));
    rmSync(this.folder, { recursive: true, force: true });
  }

  killAll(): void {
    for (const child of this.#running) child.kill("SIGKILL");
  }

  #start(name: string, readyMark: string, command: string[]): Child {
    const child = Bun.spawn(command, {
      cwd: this.folder,
      // An environment of its own: nobody's CORTEX_ options change what is shown.
      env: { PATH: process.env.PATH ?? "", HOME: process.env.HOME ?? "" },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#running.add(child);
    let asked = false;
    let output = "";
    const ready = Promise.withResolvers<string>();
    ready.promise.catch(() => {});

    const read = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
      let rest = "";
      for await (const text of stream.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + text).split("\n");
        rest = lines.pop() as string;
        for (const line of lines) if (line.includes(readyMark)) ready.resolve(line);
        output = (output + text).slice(-4000);
      }
    };
    const ended = Promise.all([child.exited, read(child.stdout), read(child.stderr)]).then(() => {
      this.#running.delete(child);
      const how = child.signalCode ?? `code ${child.exitCode}`;
      const error = new Error(`${name} ended (${how}), and nobody asked it to:\n${output}`);
      ready.reject(error);
      if (!asked) this.#fail(error);
    });
    return {
      name,
      ready: ready.promise,
      signal: (name) => child.kill(name),
      kill: async () => {
        asked = true;
        child.kill("SIGKILL");
        await ended;
      },
      stop: async () => {
        asked = true;
        child.kill("SIGTERM");
        const timer = setTimeout(() => child.kill("SIGKILL"), stopMs);
        await ended;
        clearTimeout(timer);
        return child.exitCode;
      },
    };
  }
}
