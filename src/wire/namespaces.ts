/** Namespaces on the wire: each is a state of its own under a name, and belongs to no other. */
import { type Static, Type } from "@sinclair/typebox";
import { Counts } from "./queues.ts";
import { Closed, NamespaceName, Revision } from "./schema.ts";
import { WorkerCounts } from "./state.ts";

export const defaultNamespace = "default";

export const Namespace = Closed({
  name: Type.String(),
  status: Type.Union([Type.Literal("ok"), Type.Literal("read-only"), Type.Literal("replay")], {
    description: "read-only: its disk is full; replay: it is a state that was.",
  }),
  revision: Revision("Its newest revision."),
  durableRevision: Revision("What its log holds for sure."),
  tasks: Counts,
  workers: WorkerCounts,
  logBytes: Type.Integer({ description: "The size of its log." }),
});
export type Namespace = Static<typeof Namespace>;

export const NamespaceList = Closed({});
export const NamespacePage = Closed({
  namespaces: Type.Array(Namespace, { description: "`default` first, then by name." }),
  namespacesMax: Type.Integer({ description: "How many there may be." }),
});
export type NamespacePage = Static<typeof NamespacePage>;

export const NamespaceRef = Closed({ namespace: NamespaceName("The namespace's name.") });
export const NamespaceCreated = Closed({
  namespace: Type.String(),
  created: Type.Boolean({ description: "false: it was there already." }),
});
export const NamespaceDropped = Closed({ namespace: Type.String() });
