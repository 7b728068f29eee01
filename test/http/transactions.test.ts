/** The route of transactions, over the small world and a real engine. */
import { afterAll, describe, expect, test } from "bun:test";
import { responseSamples } from "../../src/http/samples.ts";
import type { Problem } from "../../src/wire/errors.ts";
import { spawnDaemon } from "../support/daemon.ts";
import { world } from "./world.ts";

const w = world();
const daemon = await spawnDaemon({ preset: "development" });
afterAll(async () => {
  await w[Symbol.asyncDispose]();
  await daemon.kill();
});

const post = (body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${daemon.url}/api/transaction`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
const put = (key: string, value: unknown) => ({ operation: "kv.put", input: { key, value } });
const refused = async (response: Response) => (await response.json()) as Problem;

describe("http transactions", () => {
  test("http transactions - the body is the input of transaction.run, and the headers are those of any change", async () => {
    const body = { if: [{ key: "a", revision: 0 }], then: [put("a", 1)] };
    const headers = { "idempotency-key": "k", "cortex-if": "lease=1042-0; token=1043" };
    const response = await w.send("POST", "/api/transaction", body, headers);
    expect(await response.json()).toEqual(responseSamples.transactionRun!.ok);
    expect(w.calls).toMatchObject([
      {
        ...{ operation: "transaction.run", input: body },
        caller: { session: "idempotency:k", fence: { lease: "1042-0", token: 1043 } },
      },
    ]);
  });

  test("http transactions - a condition that does not hold is no error", async () => {
    const once = { if: [{ key: "once", exists: false }], then: [put("once", 1)] };
    expect(await (await post(once)).json()).toMatchObject({ branch: "then", results: [{ key: "once" }] });
    const again = await post(once);
    expect([again.status, await again.json()]).toMatchObject([
      200,
      { branch: "else", unmet: [0], results: [] },
    ]);
  });

  test("http transactions - what one operation is refused for has its own status, and nothing of the others stays", async () => {
    const rows: [object, number, string, string][] = [
      [{ operation: "kv.delete", input: { key: "none" } }, 404, "unknown-key", "/then/1"],
      [
        { ...put("once", 1), input: { key: "once", value: 1, ifRevision: 0 } },
        412,
        "revision-mismatch",
        "/then/1",
      ],
      [{ operation: "kv.put", input: { key: "x" } }, 422, "invalid-input", "/then/1/input/value"],
      [{ operation: "task.claim", input: {} }, 422, "invalid-input", "/then/1/operation"],
    ];
    for (const [step, status, code, pointer] of rows) {
      const response = await post({ then: [put("stays", 1), step] });
      expect([response.status, await refused(response)]).toMatchObject([
        status,
        { code, errors: [{ pointer }] },
      ]);
    }
    expect((await fetch(`${daemon.url}/api/kv/stays`)).status).toBe(404);
  });

  test("http transactions - one may be the first thing in a namespace", async () => {
    const response = await post({ then: [put("a", 1)] }, { "cortex-namespace": "made" });
    expect(response.status).toBe(200);
    const none = await post({ then: [{ operation: "kv.put" }] }, { "cortex-namespace": "not-made" });
    expect([none.status, (await refused(none)).code]).toEqual([422, "invalid-input"]);
    const read = await fetch(`${daemon.url}/api/kv`, { headers: { "cortex-namespace": "not-made" } });
    expect((await refused(read)).code).toBe("unknown-namespace");
  });

  test("http transactions - repeated under its key it happens once", async () => {
    const count = {
      then: [
        { operation: "kv.increment", input: { key: "n" } },
        { operation: "task.submit", input: { type: "t" } },
      ],
    };
    const headers = { "idempotency-key": "twice" };
    const first = await (await post(count, headers)).json();
    expect(await (await post(count, headers)).json()).toEqual(first);
    expect(first).toMatchObject({ results: [{ value: 1 }, { state: "queued" }] });
    const other = await post({ then: [put("a", 2)] }, headers);
    expect((await refused(other)).code).toBe("idempotency-key-reused");
  });
});
