/** The pages there are, in the order of the menu: each a row, with its key, its name, and what it shows. */
import type { VNode } from "preact";
import { Overview } from "./overview.tsx";
import { TaskPage } from "./task.tsx";
import { Tasks } from "./tasks.tsx";

export type View = {
  page: string;
  title: string;
  /** Behind a g. */
  key: string;
  list: () => VNode;
  /** One of them. */
  one?: (id: string) => VNode;
};

export const views: readonly View[] = [
  { page: "overview", title: "Overview", key: "o", list: () => <Overview /> },
  { page: "tasks", title: "Tasks", key: "t", list: () => <Tasks />, one: (id) => <TaskPage id={id} /> },
];
