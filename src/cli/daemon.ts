/**
 * The daemon as the commands reach it: the clients of `client/`, and what their errors mean for the one at the
 * keyboard. Which daemon it is was settled by the options (parse.ts).
 */
import { ClientError, CortexError } from "../../client/errors.ts";
import { RestClient } from "../../client/rest.ts";
import type { ErrorCode } from "../wire/errors.ts";
import type { Address } from "./command.ts";
import { Exit, type ExitName } from "./exit.ts";

export const rest = (to: Address) => new RestClient(to);

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
  "no-subscribers",
  "unknown-namespace",
  "not-found",
]);

/** How the command ends by an error of the client; null: it is none. */
export function exitOfClient(error: unknown, to: Address): Exit | null {
  if (error instanceof CortexError) {
    const as: ExitName = missing.has(error.code) ? "not-found" : "refused";
    const fields = (error.errors ?? []).map(({ pointer, detail }) => `\n  ${pointer || "/"}: ${detail}`);
    return new Exit(as, `${error.message}${fields.join("")}`, adviceFor(error));
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

const addressAdvice = "Start one with `cortexd serve`, or say where it is with --url or CORTEX_URL.";

function adviceFor({ code, hint }: CortexError): string {
  const advice =
    code === "unauthorized" ? "Give --token-file FILE, or set CORTEX_TOKEN_FILE or CORTEX_TOKEN." : hint;
  return `${advice} (\`cortexd why ${code}\`)`;
}
