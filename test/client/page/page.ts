/**
 * A page as somebody writes it: a client and a worker of the package in a browser. The test calls what it puts on
 * `window`, and reads what it noted.
 */
import { CoordinationClient, worker } from "@cortexd/client";

const asked = new URLSearchParams(location.search);
const options = { url: asked.get("url") as string, token: asked.get("token") as string };
const client = new CoordinationClient(options);
const page = {
  /** Over what each connection went. */
  carriers: [] as string[],
  /** States of tasks, as they were watched. */
  watched: [] as (string | null)[],
  results: [] as unknown[],

  async start() {
    client.on("connected", ({ transport }) => page.carriers.push(transport));
    client.on("change", ({ table, state }) => table === "tasks" && page.watched.push(state));
    await worker("page", (task) => ({ echoed: task.payload }), options);
    await client.connect();
  },
  /** Resolves once the result is there, however long that takes. */
  async work(payload: unknown) {
    const result = await client.submit({ queue: "page", type: "t", payload }).result();
    page.results.push(result);
    return result;
  },
  /** Why a client with this token is not let in. */
  refused(token: string): Promise<unknown> {
    return new CoordinationClient({ ...options, token }).connect().then(
      () => null,
      (error) => error.code,
    );
  },
};
export type Page = typeof page;
Object.assign(window, { page });
