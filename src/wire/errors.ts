/**
 * Every error a caller may branch on, in one table: code, HTTP status, title, may the same request be sent
 * again, and what to do. The docs, Swagger, the client's error type and `application/problem+json` (RFC 9457)
 * come from here. A code is never renamed. Anything that is not in this table is a bug and ends loudly.
 */
export const errorTable = {
  "malformed-frame": {
    status: 400,
    title: "The frame or body is not valid JSON of the expected shape",
    retryable: false,
    hint: "Send JSON in UTF-8: over HTTP the operation's input; over the WebSocket one object, or an array of them, each with op, seq and input.",
  },
  "unknown-operation": {
    status: 404,
    title: "There is no such operation",
    retryable: false,
    hint: "Look the operation up in docs/PROTOCOL.md or at /swagger.",
  },
  "invalid-input": {
    status: 422,
    title: "The input does not fit the operation",
    retryable: false,
    hint: "Mend the fields named in `errors`; nothing was changed.",
  },
  "payload-too-large": {
    status: 413,
    title: "The request or a value in it is too large",
    retryable: false,
    hint: "Store large data elsewhere and send a reference, or split the request.",
  },
  "payload-too-deep": {
    status: 422,
    title: "A value nests too deep",
    retryable: false,
    hint: "Flatten the value, or send it as a string.",
  },
  "unsupported-media-type": {
    status: 415,
    title: "The body is not plain JSON in UTF-8",
    retryable: false,
    hint: "Send `content-type: application/json`, in UTF-8 and without a content-encoding.",
  },
  "not-found": {
    status: 404,
    title: "There is nothing at this path",
    retryable: false,
    hint: "The paths are listed at /swagger.",
  },
  "method-not-allowed": {
    status: 405,
    title: "The path does not take this method",
    retryable: false,
    hint: "Use one of the methods in the Allow header.",
  },
  "upgrade-required": {
    status: 426,
    title: "This address speaks WebSocket",
    retryable: false,
    hint: "Connect with a WebSocket client; REST is at the paths below /api on the HTTP port (9500 unless set otherwise).",
  },
  "unknown-task": {
    status: 404,
    title: "There is no task with this id",
    retryable: false,
    hint: "It may have left memory and, where there is one, the archive; list the tasks to see which are kept.",
  },
  "unknown-worker": {
    status: 404,
    title: "There is no worker with this id",
    retryable: false,
    hint: "Register the worker first.",
  },
  "no-archive": {
    status: 404,
    title: "There is no archive",
    retryable: false,
    hint: "Keep the state on disk (any preset but `development`), and let `--archive-count` be more than 0.",
  },
  "unknown-schedule": {
    status: 404,
    title: "There is no schedule of this name",
    retryable: false,
    hint: "List the schedules to see which there are.",
  },
  "unknown-namespace": {
    status: 404,
    title: "There is no such namespace",
    retryable: false,
    hint: "Look at the name; a namespace is made by what is made in it first, or by namespace.create.",
  },
  "namespace-dropped": {
    status: 410,
    title: "The namespace was dropped while this waited there",
    retryable: false,
    hint: "What was in it is gone. Stop, unless you mean to begin a new one of the same name.",
  },
  "too-many-namespaces": {
    status: 409,
    title: "There are as many namespaces as there may be",
    retryable: false,
    hint: "Drop one that is not needed (`cortexd namespaces drop NAME`), or start the daemon with a higher --namespaces-max.",
  },
  "wrong-state": {
    status: 409,
    title: "The task is in a state that does not allow this",
    retryable: false,
    hint: "Read the task and decide from its state.",
  },
  "revision-conflict": {
    status: 409,
    title: "It was changed since the revision that was named",
    retryable: false,
    hint: "Read it again, decide anew, and name the revision that was read.",
  },
  "unknown-key": {
    status: 404,
    title: "There is no such key",
    retryable: false,
    hint: "It was never put, was deleted, or its time is over; list keys by prefix to see which there are.",
  },
  "revision-mismatch": {
    status: 412,
    title: "The key is not at the revision that was named",
    retryable: false,
    hint: "Read the key again, decide anew, and name the revision that was read; `revision` is the present one, 0 if there is no such key.",
  },
  "not-a-counter": {
    status: 409,
    title: "The key's value is no whole number, or would be none",
    retryable: false,
    hint: "Put a whole number first, or count under another key.",
  },
  "unknown-subscription": {
    status: 404,
    title: "There is no subscription of this name",
    retryable: false,
    hint: "Put it first; list the subscriptions to see which there are. One that was full or idle may have gone, as it was told to.",
  },
  "unknown-topic": {
    status: 404,
    title: "Nothing is kept for these topics",
    retryable: false,
    hint: "List the topics to see which keep messages; a topic needs not be made to be published to.",
  },
  "unknown-message": {
    status: 404,
    title: "The message does not wait for this subscription",
    retryable: false,
    hint: "It was acknowledged already, its time is over, or it was dropped: whatever was done for it a second time, take back.",
  },
  "subscription-full": {
    status: 429,
    title: "A subscription that the message is for is full",
    retryable: true,
    hint: "Let its listeners catch up, delete it if nobody needs it, or put it with a larger pendingMax or another whenFull.",
  },
  "no-subscribers": {
    status: 404,
    title: "Nobody listens to this topic",
    retryable: true,
    hint: "Subscribe to the topic first; or publish the message, for subscriptions to keep it.",
  },
  "no-reply": {
    status: 504,
    title: "Nobody replied in time",
    retryable: true,
    hint: "The request may have been worked on all the same: ask again only if doing it twice is harmless.",
  },
  "request-failed": {
    status: 502,
    title: "Who was asked could not do it",
    retryable: false,
    hint: "Read the detail: it comes from who was asked.",
  },
  "unknown-request": {
    status: 404,
    title: "The request is over",
    retryable: false,
    hint: "It has its reply, its time was up, or whoever asked is gone: there is nobody to reply to.",
  },
  "unknown-lock": {
    status: 404,
    title: "There is no lock with this id",
    retryable: false,
    hint: "It was released, stolen, not extended in time, waited for as long as it would, or went with its worker: acquire it anew.",
  },
  "lock-held": {
    status: 409,
    title: "The lock cannot be had at once",
    retryable: true,
    hint: "Somebody holds it or waits before you: try again later, or give `waitMs` to stand in line.",
  },
  "lease-lost": {
    status: 409,
    title: "The lease is not the task's newest",
    retryable: false,
    hint: "Stop working on the task: it was taken back, cancelled, or given to another worker. Nothing was changed.",
  },
  "fence-lost": {
    status: 409,
    title: "What the change depends on is not the newest any more",
    retryable: false,
    hint: "Stop: the lease or lock that `if` names is over, and somebody else may be at the work. Nothing was changed.",
  },
  "worker-id-in-use": {
    status: 409,
    title: "Another live instance has this worker id",
    retryable: true,
    hint: "Give each worker process its own id, or wait until the other instance is offline.",
  },
  "worker-unavailable": {
    status: 409,
    title: "The worker cannot take this task now",
    retryable: true,
    hint: "The worker is draining, full, or lacks what the task requires: wait until it has room, or name another or none.",
  },
  "worker-offline": {
    status: 409,
    title: "The worker is offline: nothing was heard of it for too long",
    retryable: false,
    hint: "Register the worker again, naming in `holding` the tasks it still works on: those whose lease stands go on.",
  },
  "no-worker": {
    status: 409,
    title: "No worker that fits has a free slot",
    retryable: true,
    hint: "Submit the task instead of assigning it: it is pushed as soon as a fitting worker is free.",
  },
  "idempotency-key-reused": {
    status: 422,
    title: "The idempotency key was used for a different request",
    retryable: false,
    hint: "Use a new key for a new request.",
  },
  "already-acknowledged": {
    status: 409,
    title: "The answer to this sequence number was acknowledged and is gone",
    retryable: false,
    hint: "Give every new operation of a session the next seq.",
  },
  "too-many-requirement-sets": {
    status: 409,
    title: "Too many different requirement sets",
    retryable: false,
    hint: "Use fewer combinations of queue, kind, capabilities, requires, prefers and slots.",
  },
  "backlog-full": {
    status: 429,
    title: "The queue's backlog is full",
    retryable: true,
    hint: "Send the request again after Retry-After seconds, or raise the queue's backlog limit.",
  },
  "limit-reached": {
    status: 409,
    title: "A limit or a pause keeps the task from starting now",
    retryable: true,
    hint: "Leave the task in its queue: it starts as soon as it may; or raise the limit, or resume the queue or group.",
  },
  "unknown-queue": {
    status: 404,
    title: "There is no queue with this name",
    retryable: false,
    hint: "A queue is there once a task was submitted to it or something was set for it; list the queues.",
  },
  "unknown-limit": {
    status: 404,
    title: "There is no limit with this name",
    retryable: false,
    hint: "Put the limit first; list the limits to see which there are.",
  },
  "greeting-expected": {
    status: 401,
    title: "The connection has not greeted yet",
    retryable: false,
    hint: "Send session.hello first.",
  },
  "connection-needed": {
    status: 400,
    title: "The operation needs a connection that the daemon can push to",
    retryable: false,
    hint: "Send it over the WebSocket: over HTTP there are no watches, and a worker claims its tasks.",
  },
  "unsupported-protocol": {
    status: 400,
    title: "The protocol version is not supported",
    retryable: false,
    hint: "Upgrade the client, or the daemon; session.hello names the versions.",
  },
  unauthorized: {
    status: 401,
    title: "A valid token is needed",
    retryable: false,
    hint: "Send `Authorization: Bearer TOKEN`, or `token` in session.hello.",
  },
  "forbidden-origin": {
    status: 403,
    title: "This origin may not call the daemon",
    retryable: false,
    hint: "Open the page from the daemon's own address, or allow the origin with --allow-origin.",
  },
  "forbidden-host": {
    status: 421,
    title: "The Host header names another host",
    retryable: false,
    hint: "Use localhost or 127.0.0.1, or start the daemon with a token.",
  },
  busy: {
    status: 503,
    title: "The daemon is at a limit and takes no more work now",
    retryable: true,
    hint: "Send the request again after Retry-After seconds.",
  },
  "shutting-down": {
    status: 503,
    title: "The daemon is stopping",
    retryable: true,
    hint: "Connect again in a moment.",
  },
  "disk-full": {
    status: 507,
    title: "The disk is full and nothing can be written",
    retryable: true,
    hint: "Make room on the disk of the data folder; reads are served, and writes again once a probe succeeds.",
  },
  "read-only": {
    status: 403,
    title: "Nothing can be changed here: it is a state that was",
    retryable: false,
    hint: "Send changes to the daemon that runs; what answered was started by `cortexd replay`.",
  },
  internal: {
    status: 500,
    title: "A bug in the daemon",
    retryable: false,
    hint: "Report it, with the daemon's log lines of this moment.",
  },
} as const satisfies Record<string, { status: number; title: string; retryable: boolean; hint: string }>;

export type ErrorCode = keyof typeof errorTable;

/** One field that is wrong: a JSON pointer (RFC 6901) into the input and what is wrong there. */
export type FieldError = { pointer: string; detail: string };

/** The body of every refusal, over HTTP and WebSocket alike (RFC 9457). */
export type Problem = {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  hint: string;
  retryable: boolean;
  retryAfterMs?: number;
  errors?: FieldError[];
  /** Of `revision-mismatch`: the revision that the key has; 0: there is no such key. */
  revision?: number;
};

export const errorType = (code: ErrorCode) => `urn:cortexd:error:${code}`;

/** What some problems say beside what is in the table. */
export type ProblemDetails = Pick<Problem, "retryAfterMs" | "errors" | "revision">;

/** Makes a problem from the table; `detail` says what is special about this case. */
export function problem(code: ErrorCode, detail: string, more?: ProblemDetails): Problem {
  const row = errorTable[code];
  const body: Problem = {
    type: errorType(code),
    title: row.title,
    status: row.status,
    code,
    detail,
    hint: row.hint,
    retryable: row.retryable,
  };
  if (more?.retryAfterMs !== undefined) body.retryAfterMs = more.retryAfterMs;
  if (more?.errors !== undefined) body.errors = more.errors;
  if (more?.revision !== undefined) body.revision = more.revision;
  return body;
}

/**
 * Codes that the error of an attempt has where no handler chose them (`error.code` of a task, `finalCodes`,
 * `retryCodes`). They are no refusals: what a handler throws may have any code.
 */
export const attemptTable = {
  timeout: {
    title: "The attempt ran longer than the task's timeoutMs",
    hint: "Give the task more time, make its work shorter, or look at the task's log for where it hangs.",
  },
  deadline: {
    title: "The task's deadlineAt passed",
    hint: "Submit it anew with a later deadline, if it is still wanted; a retry would end at once.",
  },
  expired: {
    title: "The task waited longer than its ttlMs, and no worker began it",
    hint: "Add workers that fit, or give it a longer time to live; `cortexd tasks explain ID` says of a waiting one what it waits for.",
  },
  interrupted: {
    title: "Its worker went silent while running it, too often",
    hint: "Look at the workers named in the task's errors: something in this task may kill them. Then `cortexd tasks retry ID`.",
  },
  discarded: {
    title: "The handler gave the task up",
    hint: "The task's reason says why; it is the handler's decision, and nothing against the worker.",
  },
  retry: {
    title: "The handler asked for another attempt",
    hint: "The message says why; the next attempt comes when the handler said.",
  },
  "no-children": {
    title: "The handler waited for children that it has not",
    hint: "Add children (`addChildren`) before it returns `AfterChildren()`.",
  },
  "unknown-type": {
    title: "The worker has no handler for the task's type",
    hint: "Give the worker a handler for the type, or submit the task to a queue whose workers have one.",
  },
  "invalid-payload": {
    title: "The payload does not fit the schema of its type",
    hint: "Mend the payload and submit it anew: the same one would fail again.",
  },
} as const satisfies Record<string, { title: string; hint: string }>;
