/**
 * The commands, in the order `cortexd help` lists them: a line each. A command's file is loaded when the command is
 * named, and with it what that one needs: `cortexd tasks list` knows no server. Only what lists all of them, the
 * help and the completion, loads all. `help` and `version` belong to run.ts.
 */
import { tuneAllocator } from "../lib/allocator.ts";
import type { Entry } from "./command.ts";

export type Entries = Readonly<Record<string, Entry>>;
type Load = () => Promise<Entry>;

export const commands: Readonly<Record<string, Load>> = {
  serve: async () => ({
    summary: "Run the daemon; meant when no command is given.",
    raw: async (argv) => {
      // It may begin the process anew: before the server is loaded, not after.
      tuneAllocator();
      await (await import("./serve.ts")).serve(argv);
    },
  }),
  run: async () => (await import("./program.ts")).program,
  status: async () => (await import("./status.ts")).status,
  monitor: async () => (await import("./monitor.ts")).monitor,
  tasks: async () => (await import("./tasks.ts")).tasks,
  workers: async () => (await import("./workers.ts")).workers,
  queues: async () => (await import("./queues.ts")).queues,
  schedules: async () => (await import("./schedules.ts")).schedules,
  kv: async () => (await import("./kv.ts")).kv,
  lock: async () => (await import("./lock.ts")).lock,
  locks: async () => (await import("./locks.ts")).locks,
  messages: async () => (await import("./messages.ts")).messages,
  transaction: async () => (await import("./transaction.ts")).transaction,
  subscriptions: async () => (await import("./subscriptions.ts")).subscriptions,
  watch: async () => (await import("./watch.ts")).watch,
  log: async () => (await import("./log.ts")).log,
  diff: async () => (await import("./log.ts")).diff,
  replay: async () => (await import("./replay.ts")).replay,
  topics: async () => (await import("./topics.ts")).topics,
  limits: async () => (await import("./limits.ts")).limits,
  namespaces: async () => (await import("./namespaces.ts")).namespaces,
  verify: async () => (await import("./verify.ts")).verify,
  backup: async () => (await import("./backup.ts")).backup,
  restore: async () => (await import("./backup.ts")).restore,
  config: async () => (await import("./config.ts")).config,
  doctor: async () => (await import("./doctor.ts")).doctor,
  why: async () => (await import("./why.ts")).why,
  completion: async () => (await import("./completion.ts")).completion(() => loaded(commands)),
};

export async function loaded(of: Readonly<Record<string, Load>>): Promise<Entries> {
  const entries = Object.entries(of).map(async ([name, load]) => [name, await load()] as const);
  return Object.fromEntries(await Promise.all(entries));
}
