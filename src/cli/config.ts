/**
 * `cortexd config check | print | schema`: what serve would make of the same words, environment and file, without
 * starting anything. Every mistake is told at once; secrets are never shown.
 */
import { configSchema, explained } from "../config.ts";
import { command, type Group } from "./command.ts";

const check = command({
  summary: "Say whether the configuration is sound, or every mistake in it.",
  arguments: [],
  options: {},
  client: false,
  serve: true,
  json: 'one object, {"ok": true, "notes": [...]}.',
  examples: [
    { words: "config check --config cortex.json", meaning: "Before the daemon is started with it." },
  ],
  async run({ config, out }) {
    const { notes } = config();
    if (out.json) await out.value({ ok: true, notes });
    else await out.line(["The configuration is sound.", ...notes].join("\n"));
    return undefined;
  },
});

const print = command({
  summary: "Print each value, and where it came from.",
  arguments: [],
  options: {},
  client: false,
  serve: true,
  json: "one object, for each option its value, and where it came from.",
  examples: [
    { words: "config print --preset production", meaning: "What the daemon would run with." },
    { words: "config print --json | jq .port.value", meaning: "One value alone." },
  ],
  async run({ config, out }) {
    const rows = explained(config());
    if (out.json) await out.value(Object.fromEntries(rows.map(({ name, ...row }) => [name, row])));
    for (const { name, text, unit, from } of out.json ? [] : rows)
      await out.line(`${name.padEnd(20)} ${text.padEnd(24)} ${unit.padEnd(9)} ${from}`);
    return undefined;
  },
});

const schema = command({
  summary: "Print the JSON schema of a configuration file.",
  arguments: [],
  options: {},
  client: false,
  json: "the same.",
  examples: [{ words: "config schema > cortex.schema.json", meaning: "For editors and checkers." }],
  async run({ out }) {
    await out.line(JSON.stringify(configSchema(), null, 2));
    return undefined;
  },
});

export const config: Group = {
  summary: "What serve would take, and where each value came from.",
  commands: { check, print, schema },
};
