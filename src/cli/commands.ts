/** The commands, in the order `cortexd help` lists them: a line each. `help` and `version` belong to run.ts. */
import { backup, restore } from "./backup.ts";
import type { Entry } from "./command.ts";
import { completion } from "./completion.ts";
import { config } from "./config.ts";
import { doctor } from "./doctor.ts";
import { kv } from "./kv.ts";
import { limits } from "./limits.ts";
import { lock } from "./lock.ts";
import { locks } from "./locks.ts";
import { diff, log } from "./log.ts";
import { messages } from "./messages.ts";
import { monitor } from "./monitor.ts";
import { namespaces } from "./namespaces.ts";
import { program } from "./program.ts";
import { queues } from "./queues.ts";
import { replay } from "./replay.ts";
import { schedules } from "./schedules.ts";
import { serve } from "./serve.ts";
import { status } from "./status.ts";
import { subscriptions } from "./subscriptions.ts";
import { tasks } from "./tasks.ts";
import { topics } from "./topics.ts";
import { transaction } from "./transaction.ts";
import { verify } from "./verify.ts";
import { why } from "./why.ts";
import { workers } from "./workers.ts";

export const commands: Readonly<Record<string, Entry>> = {
  serve: { summary: "Run the daemon; meant when no command is given.", raw: serve },
  run: program,
  status,
  monitor,
  tasks,
  workers,
  queues,
  schedules,
  kv,
  lock,
  locks,
  messages,
  transaction,
  subscriptions,
  log,
  diff,
  replay,
  topics,
  limits,
  namespaces,
  verify,
  backup,
  restore,
  config,
  doctor,
  why,
  completion: completion(() => commands),
};
