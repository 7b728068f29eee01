/**
 * Where one is: the page, what it is about, and how it is filtered, all of it in the part of the address behind the #,
 * so that every view can be linked, and the back button goes back. The namespace is in it too.
 */
import { signal } from "@preact/signals";

export type Route = { page: string; id: string | null; query: URLSearchParams };

/** "#/tasks/1042-0?state=dead" */
export function read(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const slash = path.indexOf("/");
  const page = slash < 0 ? path : path.slice(0, slash);
  return {
    page: page === "" ? "overview" : page,
    id: slash < 0 ? null : decoded(path.slice(slash + 1)),
    query: new URLSearchParams(query),
  };
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

export const route = signal<Route>(read(location.hash));
addEventListener("hashchange", () => {
  route.value = read(location.hash);
});

export const namespace = (): string => route.value.query.get("namespace") ?? "default";

/** The address of a view in the same namespace; what is null or empty is left out. */
export function href(
  page: string,
  id?: string | null,
  query: Record<string, string | null | undefined> = {},
): string {
  const all = new URLSearchParams();
  if (namespace() !== "default") all.set("namespace", namespace());
  for (const [name, value] of Object.entries(query)) if (value) all.set(name, value);
  const path = id == null ? page : `${page}/${encodeURIComponent(id)}`;
  const text = all.toString();
  return `#/${path}${text === "" ? "" : `?${text}`}`;
}

export const go = (to: string): void => {
  location.hash = to;
};

/** Changes the filter of this view; one can go back to what it was. */
export function refine(query: Record<string, string | null | undefined>): void {
  const now = Object.fromEntries(route.value.query);
  delete now.namespace;
  go(href(route.value.page, route.value.id, { ...now, ...query }));
}
