/** The pages there are, in the order of the menu: each a row, with its key, its name, and what it shows. */
import type { VNode } from "preact";
import { Archive } from "./archive.tsx";
import { Changes } from "./changes.tsx";
import { KeyPage, Keys } from "./kv.tsx";
import { LockPage, Locks } from "./locks.tsx";
import { Messages, SubscriptionPage } from "./messages.tsx";
import { Overview } from "./overview.tsx";
import { QueuePage, Queues } from "./queues.tsx";
import { SchedulePage, Schedules } from "./schedules.tsx";
import { TaskPage } from "./task.tsx";
import { Tasks } from "./tasks.tsx";
import { WorkerPage, Workers } from "./workers.tsx";

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
  { page: "queues", title: "Queues", key: "q", list: () => <Queues />, one: (id) => <QueuePage name={id} /> },
  {
    page: "workers",
    title: "Workers",
    key: "w",
    list: () => <Workers />,
    one: (id) => <WorkerPage id={id} />,
  },
  {
    page: "schedules",
    title: "Schedules",
    key: "s",
    list: () => <Schedules />,
    one: (id) => <SchedulePage name={id} />,
  },
  { page: "keys", title: "Keys", key: "k", list: () => <Keys />, one: (id) => <KeyPage name={id} /> },
  {
    page: "messages",
    title: "Messages",
    key: "m",
    list: () => <Messages />,
    one: (id) => <SubscriptionPage name={id} />,
  },
  { page: "locks", title: "Locks", key: "l", list: () => <Locks />, one: (id) => <LockPage id={id} /> },
  { page: "archive", title: "Archive", key: "a", list: () => <Archive /> },
  { page: "changes", title: "Changes", key: "c", list: () => <Changes /> },
];
