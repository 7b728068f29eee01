/**
 * The token that a first start makes for itself, for who asked for it (`--token-missing make`): in a container nobody is
 * there before it. It is told once, in the log lines, and kept in its file, which only its owner may read.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { isTokenMade, type Values } from "../config.ts";
import type { Lines } from "../telemetry/lines.ts";
import { Exit } from "./exit.ts";

/** The values with the token in them, if one had to be made. */
export function withToken(values: Values, lines: Lines): Values {
  const { tokenFile: file } = values;
  if (!isTokenMade(values) || file === null) return values;
  const token = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url");
  try {
    mkdirSync(dirname(file), { recursive: true });
    // Never over a file that somebody else made meanwhile.
    writeFileSync(file, `${token}\n`, { mode: 0o600, flag: "wx", flush: true });
  } catch (error) {
    throw new Exit(
      "data-folder-not-writable",
      `The token file ${file} cannot be made (${(error as { code?: string }).code}).`,
      "Mend the rights of its folder, or make it yourself, with the token in it.",
    );
  }
  lines.warn("token.made", { token, file });
  return { ...values, token };
}
