/**
 * The state as a whole over HTTP: an overview, pages of one table, and all of it as a stream of lines. The
 * stream is read as fast as its reader takes it and no faster; a reader that goes away ends it.
 */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { StateQuery, TableView } from "../wire/http.ts";
import { State } from "../wire/state.ts";
import type { Port } from "./port.ts";
import { invalid } from "./problems.ts";
import { answers, checks, doc, jsonText, portOf, runs, told, unfenced } from "./route.ts";

const stateQuery = checks<{ table?: string; cursor?: string; limit?: number; format?: string }>(StateQuery);
const StateOrTable = Type.Union([State, TableView]);
type StateOrTable = State | typeof TableView.static;

export const state = (port: Port) => {
  const run = runs(port);
  return new Elysia({ normalize: false }).get(
    "/api/state",
    async ({ query, request }): Promise<StateOrTable> => {
      unfenced(request);
      const { table, cursor, limit, format } = stateQuery(query);
      if (table === undefined && cursor !== undefined) throw invalid("/cursor", "goes with table");
      if (table === undefined && limit !== undefined) throw invalid("/limit", "goes with table");
      const asked =
        format ?? (request.headers.get("accept")?.includes("application/x-ndjson") ? "ndjson" : "json");
      const isLines = asked === "ndjson";
      for (const [name, value] of Object.entries({ cursor, limit }))
        if (isLines && value !== undefined)
          throw invalid(`/${name}`, "goes with pages: lines are all there is");
      const there = await portOf(port, request);
      if (table !== undefined && !there.tables().includes(table))
        throw invalid("/table", `must be one of ${there.tables().join(", ")}`);
      if (isLines) return stateLines(there, table);
      if (table !== undefined) return tablePage(there, table, cursor ?? null, limit ?? 100);
      return run("state.get", {}, { request });
    },
    {
      query: told(StateQuery),
      response: { ...answers("state.get"), 200: told(StateOrTable) },
      detail: doc("state.get", {
        description:
          'With `table`, a page of that table\'s records. With `Accept: application/x-ndjson` or `format=ndjson`, the whole state, or the whole table, at one revision as lines of JSON: first `{"revision", "at"}`, then `{"table", "record"}` for each record of each table.',
      }),
    },
  );
};

async function tablePage(
  port: Port,
  table: string,
  cursor: string | null,
  limit: number,
): Promise<StateOrTable> {
  const page = await port.tablePage(table, cursor, limit);
  const { rows, ...rest } = page;
  return jsonText(`${JSON.stringify({ table, ...rest }).slice(0, -1)},"rows":[${rows.join(",")}]}`);
}

/** Lines are gathered into chunks of this many characters: a chunk a line would cost more than the line. */
const chunkLength = 64 * 1024;

function stateLines(port: Port, table: string | undefined): StateOrTable {
  const lines = port.stateStream(table)[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      let chunk = "";
      while (chunk.length < chunkLength) {
        const { done, value } = await lines.next();
        if (done) break;
        chunk += value.endsWith("\n") ? value : `${value}\n`;
      }
      if (chunk === "") controller.close();
      else controller.enqueue(encoder.encode(chunk));
    },
    async cancel() {
      await lines.return?.();
    },
  });
  return new Response(body, {
    headers: { "content-type": "application/x-ndjson" },
  }) as unknown as StateOrTable;
}
