/** Everything that is refused, over a real connection: status, code, and a body that helps. */
import { afterAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { type Problem, problem } from "../../src/wire/errors.ts";
import { limits } from "../../src/wire/limits.ts";
import { Refused, world } from "./world.ts";

const w = world({ allowOrigins: ["https://ops.example.org"] });
const locked = world({ token: "s3cret" });
afterAll(async () => {
  await w[Symbol.asyncDispose]();
  await locked[Symbol.asyncDispose]();
});

async function refusal(response: Response): Promise<Problem> {
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  const body = (await response.json()) as Problem;
  expect(body.status).toBe(response.status);
  expect(body.type).toBe(`urn:cortexd:error:${body.code}`);
  expect(body.hint).not.toBe("");
  return body;
}

/** A request as it stands, for what `fetch` would mend. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(w.server.port, "127.0.0.1");
    let got = "";
    socket.on("data", (data) => {
      got += data.toString();
    });
    socket.on("close", () => resolve(got));
    socket.on("error", reject);
    socket.write(text);
  });
}

const json = { "content-type": "application/json" };
const post = (path: string, body: string, headers: Record<string, string> = json) =>
  w.fetch(path, { method: "POST", body, headers });

describe("http errors", () => {
  const bodies: [claim: string, body: string, status: number, code: string, detail: RegExp][] = [
    ["a broken body says what is broken", '{"type":', 400, "malformed-frame", /JSON/],
    ["an empty object names the missing field", "{}", 422, "invalid-input", /^\/type: is missing$/],
    [
      "a wrong choice names the choices",
      '{"type":"a","priority":"urgent"}',
      422,
      "invalid-input",
      /^\/priority: must be one of critical, high, normal, low$/,
    ],
    [
      "an unknown field is refused, and the meant one named",
      '{"type":"a","prio":"high"}',
      422,
      "invalid-input",
      /^\/prio: unknown field; did you mean priority\?$/,
    ],
    ["a number is no task", "5", 422, "invalid-input", /must be an object or an array/],
    ["null is no task", "null", 422, "invalid-input", /must be an object or an array/],
    [
      "an item of an array is pointed at",
      '[{"type":"a"},{"type":""}]',
      422,
      "invalid-input",
      /^\/1\/type: must not be empty$/,
    ],
    [
      "text is not taken for a number",
      '{"type":"a","attempts":"5"}',
      422,
      "invalid-input",
      /^\/attempts: must be a whole number$/,
    ],
  ];
  test.each(bodies)("http errors - %s", async (_claim, body, status, code, detail) => {
    const refused = await refusal(await post("/api/tasks", body));
    expect([refused.status, refused.code]).toEqual([status, code as Problem["code"]]);
    expect(refused.detail).toMatch(detail);
  });

  test("http errors - a body that is deep, wrong and long is refused at once, in few bytes", async () => {
    const deep = `{"type":1,"payload":${"[".repeat(200_000)}${"]".repeat(200_000)}}`;
    const response = await post("/api/tasks", deep);
    expect((await refusal(response)).errors).toEqual([{ pointer: "/type", detail: "must be a string" }]);
    const many = JSON.stringify(Array.from({ length: 1000 }, () => ({ type: 1, payload: "x".repeat(1000) })));
    const text = await (await post("/api/tasks", many)).text();
    expect(text.length).toBeLessThan(5000);
  });

  test("http errors - a query is refused by its field", async () => {
    const query = await refusal(await w.fetch("/api/tasks?limit=abc&colour=red"));
    expect(query.errors).toEqual([
      { pointer: "/limit", detail: "must be a whole number" },
      { pointer: "/colour", detail: "unknown field" },
    ]);
    expect((await refusal(await w.fetch("/api/tasks?limit=0"))).detail).toBe("/limit: must be at least 1");
    expect((await refusal(await w.fetch("/api/state?table=nope"))).detail).toBe(
      "/table: must be one of tasks, workers",
    );
  });

  test("http errors - a query is refused on every route that takes none, and unknown names on every other", async () => {
    const routes = w.app.routes.filter((route) => route.path !== "/ws");
    expect(routes.length).toBeGreaterThan(24);
    for (const { method, path } of routes) {
      const address = `${path.replace(":id", "1-0")}?colour=red`;
      const body = method === "POST" ? '{"workerId":"w"}' : undefined;
      const refused = await refusal(await w.fetch(address, { method, body, headers: json }));
      expect([method, path, refused.code]).toEqual([method, path, "invalid-input"]);
      expect(refused.errors!.map((error) => error.pointer)).toContain("/colour");
    }
  });

  const addresses: [claim: string, method: string, address: string, pointer: string, detail: string][] = [
    [
      "what is meant for the body is told so",
      "POST",
      "/api/tasks?queue=urgent",
      "/queue",
      "unknown parameter: this route takes none in its address; did you mean queue in the body?",
    ],
    [
      "a parameter where none is taken is refused",
      "GET",
      "/api/metrics?limit=3",
      "/limit",
      "unknown parameter: this route takes none in its address",
    ],
    [
      "a misspelt parameter is told which was meant",
      "GET",
      "/api/tasks?quue=mail",
      "/quue",
      "unknown field; did you mean queue?",
    ],
    ["a parameter given twice is refused", "GET", "/api/tasks?queue=a&queue=b", "/queue", "is there twice"],
    [
      "written in two ways it is there twice",
      "GET",
      "/api/tasks?queue=a&%71ueue=b",
      "/queue",
      "is there twice",
    ],
    [
      "a query that cannot be decoded is refused",
      "GET",
      "/api/tasks?queue=%zz",
      "/queue",
      "its percent-encoding is malformed: a % is written %25",
    ],
    [
      "a path that cannot be decoded is refused",
      "GET",
      "/api/workers/%zz",
      "/id",
      "its percent-encoding is malformed: a % is written %25",
    ],
    [
      "a path that is not UTF-8 is refused",
      "POST",
      "/api/workers/%ff/drain",
      "/id",
      "its percent-encoding is malformed: a % is written %25",
    ],
    ["HEAD is refused as GET is", "HEAD", "/api/metrics?limit=3", "", ""],
    ["a cursor without a table is refused", "GET", "/api/state?cursor=0/a", "/cursor", "goes with table"],
    ["a limit without a table is refused", "GET", "/api/state?limit=5", "/limit", "goes with table"],
    [
      "a limit of the stream is refused",
      "GET",
      "/api/state?format=ndjson&limit=5",
      "/limit",
      "goes with table",
    ],
    [
      "a stream of one table has no pages",
      "GET",
      "/api/state?format=ndjson&table=tasks&limit=5",
      "/limit",
      "goes with pages: lines are all there is",
    ],
    ...["zzz", "64/a", "-1/a", "1.5/a", "1", "/a", ""].map(
      (cursor): [string, string, string, string, string] => [
        `the cursor ${JSON.stringify(cursor)} is refused`,
        "GET",
        `/api/state?table=tasks&cursor=${cursor}`,
        "/cursor",
        "must be the cursor of the page before, as it was answered",
      ],
    ),
  ];
  test.each(addresses)("http errors - %s", async (_claim, method, address, pointer, detail) => {
    const before = w.calls.length;
    const body = method === "POST" ? '{"type":"a"}' : undefined;
    const response = await w.fetch(address, { method, body, headers: json });
    expect(response.status).toBe(422);
    if (method !== "HEAD") expect((await refusal(response)).errors).toEqual([{ pointer, detail }]);
    // The routes with a schema hand their query to the operation, which refuses it; no other gets so far.
    if (!detail.startsWith("unknown field")) expect(w.calls).toHaveLength(before);
  });

  test("http errors - a cursor may name each of the shards and any key", async () => {
    for (const cursor of [
      ...Array.from({ length: 64 }, (_, shard) => `${shard}/1-0`),
      "9/rack/4",
      "0/%0Ax",
    ]) {
      const { status } = await w.fetch(`/api/state?table=tasks&cursor=${cursor}`);
      expect([cursor, status]).toEqual([cursor, 200]);
    }
  });

  test("http errors - a parameter may be written in any encoding that can be read", async () => {
    await refusal(await w.fetch("/api/tasks/%31-0?wait=1m"));
    expect(w.calls.at(-1)?.input).toEqual({ taskId: "1-0", waitMs: 60_000 });
    await w.fetch("/api/tasks/1-0?reason=two+words%2C%20%C3%A9", { method: "DELETE" });
    expect(w.calls.at(-1)?.input).toEqual({ taskId: "1-0", reason: "two words, é" });
    expect((await w.fetch("/api/queues?")).status).toBe(200);
  });

  test.each([
    ["soon", "/wait: must be a time such as 500ms, 30s or 2m"],
    ["6m", "/wait: must be at most 5m"],
  ])("http errors - ?wait=%s is refused", async (wait, detail) => {
    expect((await refusal(await w.fetch(`/api/tasks/1-0?wait=${wait}`))).detail).toBe(detail);
  });

  test("http errors - a body's id that is not the path's is refused", async () => {
    const body = { taskId: "2-0", workerId: "w", token: 1 };
    const refused = await refusal(await w.send("POST", "/api/tasks/1-0/extend", body));
    expect(refused.errors?.[0]?.pointer).toBe("/taskId");
  });

  test("http errors - a body where none is taken is not ignored", async () => {
    const refused = await refusal(await w.send("POST", "/api/tasks/1-0/retry", { attempts: 5 }));
    expect(refused.detail).toBe("/attempts: unknown field");
  });

  test("http errors - an unknown path is 404, with or without a body", async () => {
    expect((await refusal(await w.fetch("/api/nothing"))).code).toBe("not-found");
    expect((await refusal(await post("/api/nothing", "{}"))).code).toBe("not-found");
  });

  test.each([
    ["PUT", "/api/tasks", "GET, HEAD, POST"],
    ["DELETE", "/api/queues", "GET, HEAD"],
    ["PATCH", "/api/tasks/1-0", "DELETE, GET, HEAD"],
    ["GET", "/api/workers/w/drain", "POST"],
    ["POST", "/health/", "GET, HEAD"],
  ])("http errors - %s %s is 405 and says what is allowed", async (method, path, allow) => {
    const response = await w.fetch(path, { method });
    expect(response.headers.get("allow")).toBe(allow);
    expect((await refusal(response)).code).toBe("method-not-allowed");
  });

  test.each([["text/plain"], ["application/x-www-form-urlencoded"], ["application/jsonp"]])(
    "http errors - a body of %s is 415",
    async (type) => {
      expect((await refusal(await post("/api/tasks", "{}", { "content-type": type }))).status).toBe(415);
    },
  );

  test.each([
    ["application/json; charset=utf-16"],
    ["application/json;\tcharset = iso-8859-1"],
    ['application/json; charset="latin1"; a=b'],
  ])("http errors - a body of %j is 415", async (type) => {
    const refused = await refusal(await post("/api/tasks", '{"type":"a"}', { "content-type": type }));
    expect(refused.status).toBe(415);
    expect(refused.hint).toContain("UTF-8");
  });

  test("http errors - a body that is packed is 415 and says what is taken", async () => {
    const packed = (encoding: string) =>
      post("/api/tasks", '{"type":"a"}', { ...json, "content-encoding": encoding });
    const response = await packed("gzip");
    expect(response.headers.get("accept-encoding")).toBe("identity");
    expect((await refusal(response)).detail).toBe("The content-encoding is gzip.");
    expect((await packed("Identity")).status).toBe(201);
  });

  test("http errors - a body that is not UTF-8 is refused, and the replacement character itself is not", async () => {
    const bytes = new Uint8Array([...new TextEncoder().encode('{"type":"a","payload":"'), 0xff, 0x22, 0x7d]);
    const before = w.calls.length;
    const refused = await refusal(
      await w.fetch("/api/tasks", { method: "POST", body: bytes, headers: json }),
    );
    expect([refused.status, refused.code, refused.detail]).toEqual([
      400,
      "malformed-frame",
      "The body is not UTF-8.",
    ]);
    expect(w.calls).toHaveLength(before);
    const meant = await post("/api/tasks", '{"type":"a","payload":"\ufffd"}');
    expect(((await meant.json()) as { payload: string }).payload).toBe("\ufffd");
  });

  test.each([
    ["application/json; charset=utf-8"],
    ['Application/JSON;charset="UTF-8"'],
    ["application/json; profile=x"],
  ])("http errors - a body of %j is JSON", async (type) => {
    expect((await post("/api/tasks", '{"type":"a"}', { "content-type": type })).status).toBe(201);
  });

  test("http errors - no body needs no type", async () => {
    expect((await w.fetch("/api/workers/w/drain", { method: "POST" })).status).toBe(200);
  });

  test("http errors - a body over the limit is 413 with a reason, said by length or not", async () => {
    const long = `{"type":"${"x".repeat(limits.bodyBytesMax)}"}`;
    expect((await refusal(await post("/api/tasks", long))).code).toBe("payload-too-large");
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(long));
        controller.close();
      },
    });
    const chunked = await w.fetch("/api/tasks", { method: "POST", body: stream, headers: json });
    expect((await refusal(chunked)).code).toBe("payload-too-large");
  });

  test("http errors - without a length too, a body is measured in bytes of UTF-8", async () => {
    const long = `{"type":"${"é".repeat(limits.bodyBytesMax / 2)}"}`;
    const stream = new Blob([long]).stream();
    const chunked = await w.fetch("/api/tasks", { method: "POST", body: stream, headers: json });
    expect((await refusal(chunked)).code).toBe("payload-too-large");
  });

  test("http errors - a foreign Host is 421, a foreign Origin 403", async () => {
    const rebound = await w.fetch("/health", { headers: { host: "evil.example" } });
    expect((await refusal(rebound)).code).toBe("forbidden-host");
    const page = await w.fetch("/api/tasks", { headers: { origin: "http://evil.example" } });
    expect((await refusal(page)).code).toBe("forbidden-origin");
    const own = await w.fetch("/api/queues", { headers: { origin: w.url } });
    expect(own.status).toBe(200);
  });

  test("http errors - a Host that no URL can hold is refused, not a bug", async () => {
    const answer = await raw("GET /health HTTP/1.1\r\nHost: a.com/q?\r\nConnection: close\r\n\r\n");
    expect(answer).toStartWith("HTTP/1.1 421");
    expect(w.reported).toEqual([]);
  });

  test("http errors - an allowed origin may ask before it calls, and reads the answer", async () => {
    const origin = "https://ops.example.org";
    const asked = await w.fetch("/api/tasks", {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST" },
    });
    expect([asked.status, asked.headers.get("access-control-allow-origin")]).toEqual([204, origin]);
    expect(asked.headers.get("access-control-allow-headers")).toContain("idempotency-key");
    for (const path of ["/api/queues", "/api/nothing"]) {
      const response = await w.fetch(path, { headers: { origin } });
      expect([path, response.headers.get("access-control-allow-origin")]).toEqual([path, origin]);
    }
  });

  test("http errors - without the token only health, readiness and the page are open", async () => {
    for (const path of ["/health", "/ready", "/swagger", "/swagger/json", "/swagger/ui.css"]) {
      expect([path, (await locked.fetch(path)).status]).toEqual([path, 200]);
    }
    for (const path of [
      "/api/tasks",
      "/api/state",
      "/api/metrics",
      "/api/stats",
      "/metrics",
      "/api/nothing",
      "/%61pi/tasks",
      "//api/tasks",
      "/API/tasks",
      "/swagger/../api/tasks",
    ]) {
      const response = await locked.fetch(path);
      expect([path, (await refusal(response)).code]).toEqual([path, "unauthorized"]);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
    }
    expect(locked.calls).toEqual([]);
  });

  test("http errors - the token is taken from the header alone", async () => {
    const headers = { authorization: "Bearer s3cret" };
    expect((await locked.fetch("/api/queues", { headers })).status).toBe(200);
    expect((await locked.fetch("/api/queues?access_token=s3cret")).status).toBe(401);
    expect((await locked.send("POST", "/api/tasks", { type: "a", access_token: "s3cret" })).status).toBe(401);
    expect((await locked.fetch("/api/queues", { headers: { authorization: "Bearer wrong" } })).status).toBe(
      401,
    );
  });

  test("http errors - another namespace is unknown", async () => {
    const other = await w.fetch("/api/queues", { headers: { "cortex-namespace": "other" } });
    expect((await refusal(other)).code).toBe("unknown-namespace");
    expect((await w.fetch("/api/queues", { headers: { "cortex-namespace": "default" } })).status).toBe(200);
  });

  test("http errors - what the engine refuses arrives as it is, with Retry-After in whole seconds", async () => {
    w.answer["queue.list"] = () => {
      throw new Refused(problem("busy", "Too many tasks are queued.", { retryAfterMs: 1500 }));
    };
    const response = await w.fetch("/api/queues");
    expect(response.headers.get("retry-after")).toBe("2");
    expect(await refusal(response)).toMatchObject({ code: "busy", retryable: true, retryAfterMs: 1500 });
    delete w.answer["queue.list"];
  });

  test("http errors - a bug is 500, its message goes to the report and never out", async () => {
    w.answer["queue.list"] = () => {
      throw new Error("the password is 1234");
    };
    const response = await w.fetch("/api/queues");
    const body = await refusal(response);
    expect(body.code).toBe("internal");
    expect(JSON.stringify(body)).not.toContain("1234");
    expect(w.reported.splice(0).map(String)).toEqual(["Error: the password is 1234"]);
    delete w.answer["queue.list"];
  });

  test("http errors - an idempotency key that is too long is refused", async () => {
    const headers = { "idempotency-key": "k".repeat(limits.idempotencyKeyLengthMax + 1) };
    expect((await refusal(await w.send("POST", "/api/tasks", { type: "a" }, headers))).status).toBe(422);
  });

  test("http errors - an idempotency key that is empty is refused by its name", async () => {
    const refused = await refusal(
      await w.send("POST", "/api/tasks", { type: "a" }, { "idempotency-key": "" }),
    );
    expect(refused.errors).toEqual([
      { pointer: "/Idempotency-Key", detail: `must have 1 to ${limits.idempotencyKeyLengthMax} characters` },
    ]);
  });

  test("http errors - the hints are true on both ports and both transports", () => {
    expect(problem("upgrade-required", "").hint).not.toContain("REST is on the HTTP port");
    expect(problem("malformed-frame", "").hint).toMatch(/over HTTP .*over the WebSocket /);
  });
});
