/**
 * `cortexd lock NAME -- COMMAND`: holds a lock while a command runs. The command has this terminal, gets the signals that
 * this gets, and its exit code is this one's. It is ended when the lock is lost.
 */
import { constants, hostname } from "node:os";
import { CoordinationClient } from "../../client/client.ts";
import { ClientError } from "../../client/errors.ts";
import type { Lock } from "../../client/locks.ts";
import { limits } from "../wire/limits.ts";
import { found, stopsBy } from "./child.ts";
import { type Address, command } from "./command.ts";
import { connected, connectMs, environmentFor } from "./daemon.ts";
import { Exit } from "./exit.ts";
import { type Ending, onSignals } from "./signals.ts";
import { version } from "./version.ts";

export const lock = command({
  summary: "Hold a lock while a command runs.",
  arguments: [
    { name: "NAME", help: "What to lock; a name that ends in a slash is a folder, and covers all below it." },
    { name: "COMMAND", help: "The program and its words, after `--`.", many: true },
  ],
  options: {
    and: { type: "list", unit: "NAME", help: "Lock these too, all at once or none." },
    shared: { type: "flag", help: "Share them with others that share them." },
    limit: {
      type: "integer",
      min: 1,
      max: limits.lockHoldersMax,
      help: "Share them among at most so many at once.",
    },
    wait: {
      type: "duration",
      min: 0,
      max: limits.durationMsMax,
      help: "How long to wait for it; 0s: not at all. Default: as long as it takes.",
    },
    ttl: {
      type: "duration",
      min: limits.leaseMsMin,
      max: limits.durationMsMax,
      default: limits.lockTtlMsDefault,
      help: "How long it outlives this, should this be killed or cut off. (default 30s)",
    },
    value: {
      type: "json",
      unit: "JSON",
      help: "What others see of it. Default: the host's name and the process id.",
    },
    killAfter: {
      type: "duration",
      min: 0,
      default: 10_000,
      help: "A command that was told to end (SIGTERM) because the lock is lost is killed after so long. (default 10s)",
    },
  },
  client: true,
  json: "nothing: what is printed is the command's.",
  tables: [
    {
      title: "The command finds in its environment",
      rows: [
        ["CORTEX_LOCK, CORTEX_LOCK_TOKEN", "The lock's first name, and its fencing token."],
        ["CORTEX_IF", 'What makes a REST call depend on it: curl -H "Cortex-If: $CORTEX_IF" …'],
      ],
    },
  ],
  examples: [
    { words: "lock deploy -- ./deploy.sh", meaning: "One at a time, on all machines." },
    { words: "lock nightly --wait 0s -- ./report.sh", meaning: "Only if nobody else does it." },
    { words: "lock db --and src/ -- make migrate", meaning: "Both at once." },
    { words: "lock gpu --limit 4 -- python3 train.py", meaning: "At most four at once." },
  ],
  async run({ words: [name, ...words], values, to }) {
    const program = found(words);
    const names = [name!, ...(values.and ?? [])];
    const { limit } = values;
    const mode = values.shared || limit !== undefined ? "shared" : "exclusive";
    const resources = names.map(
      (one) => ({ name: one, mode, ...(limit !== undefined && { limit }) }) as const,
    );
    const client = new CoordinationClient({ ...to, client: `cortexd-lock/${version}` });
    const gaveUp = new AbortController();
    const forget = onSignals((signal) => gaveUp.abort(signal));
    try {
      await connected(client, to);
      // Without it others would see the random name of a session, and not know whom to ask.
      const { ttl: ttlMs, value = { host: hostname(), pid: process.pid } } = values;
      const options = { ttlMs, value, signal: gaveUp.signal };
      const held =
        values.wait === 0
          ? await client.locks.try(resources, options)
          : await client.locks.acquire(resources, { ...options, timeoutMs: values.wait });
      if (held === null) throw notHad(names);
      forget();
      return await run(held, program, values.killAfter, to);
    } catch (error) {
      if (gaveUp.signal.aborted) return endedBy(gaveUp.signal.reason as Ending);
      throw error instanceof ClientError && error.code === "timeout" && client.state === "connected"
        ? notHad(names)
        : error;
    } finally {
      forget();
      client.close();
    }
  },
});

const notHad = (names: string[]) =>
  new Exit(
    "timed-out",
    `${names.join(" and ")} could not be had in time; the command was not run.`,
    "See who holds it with `cortexd locks list`.",
  );

/** It is there, and no program: a script without its first line, or one of another kind of machine. */
const notRun = ([name]: string[], error: unknown) =>
  new Exit(
    "usage",
    `${name} could not be started (${(error as { code?: string }).code ?? (error as Error).message}); nothing was run.`,
    "A script says in its first line what runs it, such as #!/bin/sh; or put that before it: `-- sh work.sh`.",
  );

async function run(held: Lock, words: string[], killAfterMs: number, to: Address): Promise<number> {
  const { lock: first, token } = held.fence as { lock: string; token: number };
  const release = () => held.release({ timeoutMs: connectMs }).catch(() => {});
  const env = {
    ...environmentFor(to),
    CORTEX_LOCK: first,
    CORTEX_LOCK_TOKEN: String(token),
    CORTEX_IF: `lock=${first}; token=${token}`,
  };
  let child: Bun.Subprocess;
  try {
    child = Bun.spawn(words, { stdin: "inherit", stdout: "inherit", stderr: "inherit", env });
  } catch (error) {
    await release();
    throw notRun(words, error);
  }
  const forget = onSignals((signal) => {
    // A terminal tells everyone that it shows, the command too.
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  });
  const ended = stopsBy(held.signal, killAfterMs, (name) => {
    if (name === "SIGTERM")
      process.stderr.write(`cortexd: ${(held.signal.reason as Error).message}; the command is ended.\n`);
    child.kill(name);
  });
  const code = await child.exited;
  ended();
  forget();
  if (held.signal.aborted)
    throw new Exit(
      "lock-lost",
      `${(held.signal.reason as Error).message}; the command was ended.`,
      "What it did after that may have met the next holder: look before you run it again.",
    );
  // What cannot be released runs out by itself, and the command is done.
  await release();
  return child.signalCode === null ? code : endedBy(child.signalCode as NodeJS.Signals);
}

/** As shells say it. */
const endedBy = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];
