/**
 * The daemon as the commands reach it: the clients of `client/`, and what their errors mean for the one at the
 * keyboard. Which daemon it is was settled by the options (parse.ts).
 */
import type { CoordinationClient } from "../../client/client.ts";
import { ClientError, CortexError } from "../../client/errors.ts";
import { RestClient } from "../../client/rest.ts";
import type { ErrorCode } from "../wire/errors.ts";
import type { Address, Command } from "./command.ts";
import { Exit, type ExitName } from "./exit.ts";
import { nameOf } from "./options.ts";
import { flagOf } from "./parse.ts";

/** How long a command waits until it is connected, or for what it tells before it leaves. */
export const connectMs = 10_000;

export const rest = (to: Address) => new RestClient(to);

/** Connects. A daemon that is away for a moment is waited for, which is said once both ways to it have failed. */
export async function connected(
  client: CoordinationClient,
  to: Address,
  signal?: AbortSignal,
): Promise<void> {
  let why = "";
  const failed = ({ detail }: { detail: string }) => {
    why = detail;
  };
  const again = ({ attempt }: { attempt: number }) => {
    if (attempt === 3)
      process.stderr.write(`No daemon at ${to.url}; it is tried again for ${connectMs / 1000} s.\n`);
  };
  client.on("disconnected", failed);
  client.on("reconnecting", again);
  try {
    await client.connect({ timeoutMs: connectMs, signal });
  } catch (error) {
    const isLate = error instanceof ClientError && error.code === "timeout";
    throw isLate ? new ClientError("disconnected", why) : error;
  } finally {
    client.off("disconnected", failed);
    client.off("reconnecting", again);
  }
}

/** The environment of a program that finds the same daemon. */
export const environmentFor = ({ url, namespace, token }: Address): Record<string, string | undefined> => ({
  ...process.env,
  CORTEX_URL: url,
  CORTEX_NAMESPACE: namespace,
  CORTEX_TOKEN: token,
  // Of token and file one alone is given.
  CORTEX_TOKEN_FILE: undefined,
});

/** What is meant by a refusal for who asked for something that is not there. */
const missing: ReadonlySet<ErrorCode> = new Set([
  "unknown-task",
  "unknown-worker",
  "unknown-schedule",
  "unknown-queue",
  "unknown-limit",
  "unknown-key",
  "unknown-lock",
  "unknown-subscription",
  "unknown-topic",
  "no-subscribers",
  "unknown-namespace",
  "not-found",
]);

/** How the command ends by an error of the client; null: it is none. `command`: whose words the fields came from. */
export function exitOfClient(error: unknown, to: Address, command?: Command): Exit | null {
  if (error instanceof CortexError) {
    const as: ExitName = missing.has(error.code) ? "not-found" : "refused";
    return new Exit(as, messageOf(error, command), adviceFor(error));
  }
  if (!(error instanceof ClientError)) return null;
  if (error.code === "timeout")
    return new Exit("timed-out", `${error.message}.`, "Give it longer, or look at the daemon.");
  if (error.code === "protocol")
    return new Exit(
      "unreachable",
      `What answers at ${to.url} is no cortexd: ${error.message}.`,
      addressAdvice,
    );
  return new Exit(
    "unreachable",
    `No daemon can be reached at ${to.url} (${error.message.split(":")[0]}).`,
    addressAdvice,
  );
}

/** The fields that are wrong, in the words that they were given by; else what the daemon said. */
function messageOf({ message, errors = [] }: CortexError, command: Command | undefined): string {
  if (errors.length === 0) return message;
  const lines = errors.map(({ pointer, detail }) => `${wordFor(pointer, command)} ${detail}`);
  return lines.length === 1 ? lines[0]! : lines.map((line) => `\n  ${line}`).join("");
}

/** "--queue" for /queue, "KEY" for /key, "TASK" for /taskId, and where in a value it is. */
function wordFor(pointer: string, command: Command | undefined): string {
  const [, field = "", rest = ""] = /^\/([^/]+)(.*)$/.exec(pointer) ?? [];
  // Every command takes it, and sends it as a header.
  if (field === "Cortex-Namespace") return "--namespace";
  const option = nameOf(field);
  const argument = command?.arguments.find(({ name }) =>
    [field, field.replace(/Id$/, "")].some((text) => name === text.toUpperCase()),
  );
  const word =
    argument?.name ?? (command !== undefined && option in command.options ? flagOf(option) : undefined);
  if (word === undefined) return `${pointer || "the input"}:`;
  return rest === "" ? word : `${word} (at ${rest}):`;
}

const addressAdvice = "Start one with `cortexd serve`, or say where it is with --url or CORTEX_URL.";

function adviceFor({ code, hint }: CortexError): string {
  if (code === "invalid-input") return "Mend that; nothing was changed. (`cortexd why invalid-input`)";
  const advice =
    code === "unauthorized" ? "Give --token-file FILE, or set CORTEX_TOKEN_FILE or CORTEX_TOKEN." : hint;
  return `${advice} (\`cortexd why ${code}\`)`;
}
