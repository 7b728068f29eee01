/**
 * The address of a request: its path, which route it is, and what is wrong with it before any route sees it. What
 * a query may hold stands in the routes' schemas; the framework takes the last of what is given twice, ignores
 * the query where a route has no schema for one, and makes null of what it cannot decode, so those are refused
 * here. An address without `?` and `%` costs two searches.
 */
import type { TSchema } from "@sinclair/typebox";
import { nearest } from "../lib/nearest.ts";
import type { FieldError } from "../wire/errors.ts";
import { fieldErrorsMax, segment } from "../wire/explain.ts";

/** As the framework lists them. */
export type Route = { method: string; path: string; hooks: { query?: unknown; body?: unknown } };

export function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const end = url.indexOf("?", start);
  return end === -1 ? url.slice(start) : url.slice(start, end);
}

/** The methods that the path takes, for 405; empty: no such path. */
export function allowedMethods(routes: readonly Route[], path: string): string[] {
  const methods = new Set(routes.filter((route) => fits(route.path, path)).map((route) => route.method));
  if (methods.has("GET")) methods.add("HEAD");
  return [...methods].sort();
}

/** What is wrong with the address; empty where no route has it, which is another refusal. */
export function addressErrors(routes: readonly Route[], method: string, url: string): FieldError[] {
  const mark = url.indexOf("?");
  if (mark === -1 && !url.includes("%")) return [];
  const path = pathOf(url);
  const wanted = method === "HEAD" ? "GET" : method;
  const route = routes.find((other) => other.method === wanted && fits(other.path, path));
  if (route === undefined) return [];
  const query = mark === -1 ? "" : url.slice(mark + 1);
  return [...pathErrors(route.path, path), ...queryErrors(route, query)].slice(0, fieldErrorsMax);
}

const partsOf = (path: string) => path.replace(/\/$/, "").split("/");

function fits(pattern: string, path: string): boolean {
  const parts = partsOf(path);
  const wanted = partsOf(pattern);
  return (
    wanted.length === parts.length &&
    wanted.every((part, i) => (part.startsWith(":") ? parts[i] !== "" : part === parts[i]))
  );
}

const malformed = "its percent-encoding is malformed: a % is written %25";

function pathErrors(pattern: string, path: string): FieldError[] {
  const parts = partsOf(path);
  return partsOf(pattern).flatMap((part, i) =>
    part.startsWith(":") && decoded(parts[i]!) === null
      ? [{ pointer: `/${part.slice(1)}`, detail: malformed }]
      : [],
  );
}

function queryErrors({ hooks }: Route, query: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const written = equals === -1 ? pair : pair.slice(0, equals);
    const name = decoded(written);
    const pointer = segment(name ?? written);
    if (name === null || decoded(pair) === null) errors.push({ pointer, detail: malformed });
    else if (seen.has(name)) errors.push({ pointer, detail: "is there twice" });
    else if (hooks.query === undefined) errors.push({ pointer, detail: unknownParameter(name, hooks.body) });
    if (name !== null) seen.add(name);
  }
  return errors;
}

/** What was put into the address is often meant for the body. */
function unknownParameter(name: string, body: unknown): string {
  const meant = nearest(name, fieldsOf(body as TSchema | undefined));
  const advice = meant === null ? "" : `; did you mean ${meant} in the body?`;
  return `unknown parameter: this route takes none in its address${advice}`;
}

const fieldsOf = (schema: TSchema | undefined): string[] =>
  Object.keys(schema?.properties ?? schema?.anyOf?.[0]?.properties ?? {});

/** Null where it cannot be. */
function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return null;
  }
}
