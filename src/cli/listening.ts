/** What it means that a port cannot be opened. Apart from the doors, so that `doctor` looks at ports without a server. */
import { flagOf, type Values } from "../config.ts";
import { Exit } from "./exit.ts";

/** Opening a port fails for reasons of the machine; they are told, with the option that mends them. */
export function listening<T>({ host, ...values }: Values, name: "port" | "wsPort", listen: () => T): T {
  try {
    return listen();
  } catch (error) {
    const { code } = error as { code?: string };
    const why = {
      EADDRINUSE: "it is in use",
      EADDRNOTAVAIL: "this machine does not have the address",
      EACCES: "this user may not use the port",
      EINVAL: "the host is not known",
    }[code ?? ""];
    if (why === undefined) throw error;
    throw new Exit(
      "address-unusable",
      `${host}:${values[name]} cannot be listened on: ${why}.`,
      `Choose another with ${flagOf(name)} or ${flagOf("host")}.`,
    );
  }
}
