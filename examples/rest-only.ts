/**
 * No library, REST alone, as any language can: `bun examples/rest-only.ts`
 * It is producer and worker in one: submits a task, claims it, completes it, and reads the result.
 */
const { CORTEX_URL: url = "http://127.0.0.1:9500", CORTEX_TOKEN: token } = process.env;

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  // Whatever has no answer may be sent again under this key: it is done once.
  if (method === "POST") headers["idempotency-key"] = crypto.randomUUID();
  const response = await fetch(url + path, { method, headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.code}: ${answer.detail} ${answer.hint}`);
  return answer as T;
}
type Claimed = { assignments: { task: { id: string; payload: { n: number } }; lease: { token: number } }[] };

const workerId = "rest-only";
const { id } = await call<{ id: string }>("POST", "/api/tasks", {
  ...{ queue: "squares", type: "square", payload: { n: 12 } },
});
await call("POST", "/api/workers/register", { workerId, queues: ["squares"] });

// Waits for up to 20 s until there is one.
const { assignments } = await call<Claimed>("POST", "/api/tasks/claim", { workerId, waitMs: 20_000 });
for (const { task, lease } of assignments) {
  const result = task.payload.n ** 2;
  await call("POST", "/api/tasks/complete", { taskId: task.id, workerId, token: lease.token, result });
}

const { state, result } = await call<{ state: string; result: unknown }>("GET", `/api/tasks/${id}?wait=20s`);
console.log(`task ${id} is ${state}: ${result}`);
await call("POST", "/api/workers/unregister", { workerId });

export {};
