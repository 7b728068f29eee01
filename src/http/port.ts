/**
 * What the HTTP interface needs of the engine, and all of it. The engine satisfies this type; the tests of the
 * routes put a small world behind it. Nothing here knows HTTP.
 */
import type { Engine } from "../engine/engine.ts";
import type { Answer, Caller } from "../engine/types.ts";
import type { MetricsView, ReadyView } from "../wire/http.ts";
import type { StateOperationName } from "../wire/operations.ts";
import type { HealthView } from "../wire/state.ts";
import type { FramePort } from "./posts.ts";

export type TablePage = {
  /** Records as JSON texts. */
  rows: string[];
  cursor: string | null;
  revision: number;
};

export type Port = FramePort &
  Pick<Engine, "watch" | "unwatch" | "drained" | "look"> & {
    /** Validates the input, runs the operation, and answers once its entry is durable. */
    call(operation: StateOperationName, input: unknown, caller: Caller): Promise<Answer>;
    health(): HealthView;
    ready(): ReadyView;
    /** The metrics as JSON, and as Prometheus text. */
    metrics(): MetricsView;
    prometheus(): string;
    /** Its figures, as samples. */
    stats: Pick<Engine["stats"], "last">;
    /** Its name, and those it is one of. */
    namespace: string;
    namespaces: Engine["namespaces"];
    /** The state's tables by name; a page of one; and all of them, or one, at one revision, as lines of JSON. */
    tables(): readonly string[];
    tablePage(table: string, cursor: string | null, limit: number): TablePage | Promise<TablePage>;
    stateStream(table?: string): AsyncIterable<string>;
  };
