/** What must have happened over some hundred seeds: a simulation in which nothing goes wrong proves nothing. */
const needed = [
  ...[
    "kill.process",
    "kill.power",
    "daemon.restarted",
    "daemon.paused",
    "daemon.stopped",
    "daemon.startFailed",
    "daemon.otherPreset",
  ],
  ...["disk.full", "disk.failed", "disk.lost", "disk.torn", "entry.undone", "entry.lost", "log.mended"],
  ...["lease.made", "lease.expired", "lease.timeout", "worker.offline", "worker.replaced", "worker.crashed"],
  ...["worker.paused", "worker.stopped", "handler.aborted", "ghost.spoke", "client.reconnects"],
  // A quarantine outlasts most runs: that it ends in probation is held by test/core/health.test.ts.
  ...["lease.revoked", "worker.stalled", "worker.deaf", "worker.quarantined"],
  ...["trouble.deaf"],
  ...["gate.concurrency", "gate.rate", "gate.paused", "task.dropped", "answer.backlog-full"],
  ...["graph.queued", "graph.scheduled", "graph.failed", "graph.cancelled", "graph.parentWaits"],
  ...["schedule.ran", "schedule.skipped", "schedule.waited"],
  ...["task.submitted", "task.completed", "task.failed", "task.dead", "task.cancelled", "task.retired"],
  ...["submit.duplicate", "repeated.same", "request.duplicated", "http.retried", "watch.change", "watch.gap"],
  ...["answer.ok", "answer.lease-lost", "answer.busy", "answer.disk-full", "answer.wrong-state"],
  ...["refusal.compared", "transaction.rolledBack", "trouble.partition", "trouble.halfOpen", "trouble.wall"],
  ...["trade.stands", "trade.stood", "trade.made", "trade.refused"],
  "message.heard",
  ...["lock.held", "lock.atOnce", "lock.granted", "lock.wrote", "lock.fenced"],
  ...["trouble.noSockets", "client.websocket", "client.http", "post.sent", "post.repeated"],
];

export const missing = (counts: Record<string, number>): string[] =>
  needed.filter((name) => (counts[name] ?? 0) === 0);
