/**
 * What is made of files that the executable will not have, for use as macros: while it is built, and when a daemon that
 * runs from the source is first asked for the page. So there is no file to keep up to date and no step to forget.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The page's script. */
export function script(): string {
  const ran = Bun.spawnSync([process.execPath, join(import.meta.dir, "bundle.ts")]);
  if (!ran.success) throw new Error(`the page could not be bundled: ${ran.stderr.toString()}`);
  return ran.stdout.toString();
}

/** Those of what the page is made of. */
export function licenses(): string {
  const names = ["preact", "@preact/signals", "uplot", "@fontsource-variable/inter"];
  const texts = names.map((name) => {
    const text = readFileSync(join(import.meta.dir, "../../node_modules", name, "LICENSE"), "utf8");
    return `${name}\n\n${text.trim()}\n`;
  });
  return texts.join("\n\n");
}
