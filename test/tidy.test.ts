/**
 * Reads the source and holds it to the rules that no compiler knows: which folder may import which, what may stand
 * in one folder alone, what may be left over nowhere, and that every operation has a route, a line in the
 * protocol's description, and a test. The rules are rows; each row carries a text that breaks it, so that a rule
 * that catches nothing fails by itself.
 */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { operationNames, operations } from "../src/wire/operations.ts";

const root = join(import.meta.dir, "..");

type Source = { path: string; text: string; code: string };

/** The text without its comments: a rule about code must not trip over a sentence about it. */
const withoutComments = (text: string) =>
  text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");

const sources: Source[] = ["src", "client", "test", "examples", "bench", "deploy"].flatMap((folder) =>
  [...new Bun.Glob(`${folder}/**/*.{ts,tsx}`).scanSync(root)]
    .filter((path) => !path.includes("node_modules"))
    .sort()
    .map((path) => {
      const text = readFileSync(join(root, path), "utf8");
      return { path, text, code: withoutComments(text) };
    }),
);
const within = (...prefixes: string[]) =>
  sources.filter(({ path }) => prefixes.some((prefix) => path === prefix || path.startsWith(`${prefix}/`)));

describe("tidy - imports run one way", () => {
  /** What a folder (or a file on the top) may import beside itself. What only lends its types stands in `types`. */
  const rows: { of: string; may: string[]; types?: string[] }[] = [
    { of: "src/lib", may: [] },
    { of: "src/telemetry", may: ["src/lib"] },
    { of: "src/wire", may: ["src/lib"] },
    { of: "src/core", may: ["src/lib", "src/wire"] },
    { of: "src/log", may: ["src/lib", "src/wire", "src/core"] },
    { of: "src/engine", may: ["src/lib", "src/wire", "src/core", "src/log", "src/telemetry"] },
    // As any page in a browser would: the contract and the client.
    { of: "src/dashboard", may: ["src/wire", "client"] },
    { of: "src/http", may: ["src/lib", "src/wire", "src/engine", "src/telemetry", "src/dashboard"] },
    { of: "src/ws", may: ["src/lib", "src/wire", "src/engine", "src/telemetry"] },
    { of: "src/config.ts", may: ["src/lib", "src/wire", "src/telemetry"], types: ["src/engine", "src/log"] },
    {
      of: "src/embedded",
      may: [
        ...["src/config.ts", "src/lib", "src/wire", "src/log", "src/engine", "src/telemetry", "client"],
        // Of the rooms before the engine only what knows no server.
        ...["src/http/posts.ts", "src/ws/session.ts"],
      ],
    },
    {
      of: "src/cli",
      may: [
        ...["src/config.ts", "src/lib", "src/wire", "src/log", "src/engine", "src/http", "src/ws"],
        ...["src/telemetry", "client"],
      ],
    },
    { of: "src/main.ts", may: ["src/cli"] },
    { of: "client/embedded.ts", may: ["src/embedded"] },
    { of: "client/testing.ts", may: ["src/embedded"] },
    { of: "client", may: ["src/wire", "src/lib"], types: ["src/http"] },
  ];

  const imports = ({ path, code }: Source) =>
    [
      ...code.matchAll(/\b(import|export)(\s+type)?\b[^;"'()]*?\bfrom\s*["'](\.[^"']*)["']/g),
      ...code.matchAll(/\b(import)(\s+type)?\s*\(?\s*["'](\.[^"']*)["']/g),
    ].map((match) => ({
      target: relative(root, join(root, dirname(path), match[3]!)),
      typesOnly: match[2] !== undefined,
    }));

  const roomOf = (path: string) => rows.find(({ of }) => path === of || path.startsWith(`${of}/`))?.of;

  test("tidy - every file of src and client lies in a room with a rule", () => {
    expect(within("src", "client").filter(({ path }) => roomOf(path) === undefined)).toEqual([]);
  });

  test.each(rows.map((row) => [row.of, row] as const))("tidy - %s imports only what it may", (of, row) => {
    const own = within(of).filter(({ path }) => roomOf(path) === of);
    const wrong = own.flatMap((source) =>
      imports(source)
        .filter(({ target }) => !target.endsWith(".json"))
        .filter(({ target, typesOnly }) => {
          const room = roomOf(target);
          if (room === of || row.may.includes(room ?? "") || row.may.includes(target)) return false;
          return !(typesOnly && (row.types ?? []).includes(room ?? ""));
        })
        .map(({ target }) => `${source.path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test("tidy - the reader of imports sees every form of import", () => {
    const code = [
      'import { a } from "../core/a.ts";',
      'import type { B } from "../log/b.ts";',
      'export * from "../ws/c.ts";',
      'const d = await import("../cli/d.ts");',
      'import "../http/e.ts";',
      'import {\n  f,\n  type G,\n} from "../wire/f.ts";',
    ].join("\n");
    const found = imports({ path: "src/lib/x.ts", text: code, code });
    expect(found.map(({ target }) => target).sort()).toEqual(
      ["cli/d", "core/a", "http/e", "log/b", "wire/f", "ws/c"].map((name) => `src/${name}.ts`),
    );
    expect(found.filter(({ typesOnly }) => typesOnly).map(({ target }) => target)).toEqual(["src/log/b.ts"]);
  });
});

describe("tidy - what stands in one place alone", () => {
  type Rule = {
    claim: string;
    pattern: RegExp;
    /** Breaks the rule. */
    sample: string;
    in: string[];
    except?: string[];
    /** Look into comments too. */
    comments?: true;
  };
  const everywhere = ["src", "client", "test", "examples", "bench", "deploy"];
  const self = "test/tidy.test.ts";
  const rows: Rule[] = [
    {
      claim: "SQLite is used in log/ alone",
      pattern: /["']bun:sqlite["']/,
      sample: 'import { Database } from "bun:sqlite";',
      in: ["src", "client"],
      except: ["src/log"],
    },
    {
      claim: "Elysia is used in http/ alone",
      pattern: /["'](elysia|@elysiajs\/(?!eden)[a-z]+)["']/,
      sample: 'import { Elysia } from "elysia";',
      in: ["src"],
      except: ["src/http"],
    },
    {
      claim: "the clock is read in engine/clock.ts alone",
      pattern: /\bDate\.now\b|\bperformance\.now\b|\bprocess\.hrtime\b|\bBun\.nanoseconds\b|new Date\(\)/,
      sample: "const now = Date.now();",
      in: ["src"],
      // The log's thread has a loop and a clock of its own; its parts are handed time like everything else. The journal times the disk.
      except: ["src/engine/clock.ts", "src/log/worker.ts", "src/log/journal.ts", "src/dashboard"],
    },
    {
      claim: "below the engine nothing is left to chance",
      pattern: /\bMath\.random\b|\brandomUUID\b|\bgetRandomValues\b|\brandomBytes\b/,
      sample: "const jitter = Math.random();",
      in: ["src/lib", "src/wire", "src/telemetry", "src/core", "src/log"],
      // The ballast is filled with chance, or a file system would compress it to nothing.
      except: ["src/log/folder.ts"],
    },
    {
      claim: "the core waits for nothing",
      pattern: /\basync\b|\bawait\b|\bsetTimeout\b|\bsetInterval\b|\bPromise\b|\bprocess\./,
      sample: "await log.append(batch);",
      in: ["src/wire", "src/core"],
    },
    {
      claim: "nobody writes to the terminal but the commands",
      pattern: /\bconsole\.|\bprocess\.std(out|err)\b/,
      sample: 'console.log("here");',
      in: ["src", "client"],
      except: ["src/cli"],
    },
    {
      claim: "only main ends the process",
      pattern: /\bprocess\.exit\b/,
      sample: "process.exit(1);",
      in: ["src", "client"],
      except: ["src/main.ts", "src/cli"],
    },
    {
      claim: "no test runs alone",
      pattern: /\b(test|describe|it)\.only\b/,
      sample: "test.only('x', () => {});",
      in: everywhere,
      except: [self],
    },
    {
      claim: "no test is left out without its reason",
      pattern: /\b(test|describe|it)\.(skip|todo)\(/,
      sample: "test.skip('x', () => {});",
      in: everywhere,
      except: [self],
    },
    {
      claim: "nothing is left for later",
      pattern: /\b(TODO|FIXME|XXX|HACK)\b|not implemented/i,
      sample: "// TODO: later",
      in: everywhere,
      except: [self],
      comments: true,
    },
    {
      claim: "nothing is of any type",
      pattern: /\bas any\b|: any\b|<any>/,
      sample: "const x = y as any;",
      in: ["src", "client"],
    },
    {
      claim: "the type checker is not silenced",
      pattern: /@ts-ignore|@ts-nocheck/,
      sample: "// @ts-ignore",
      in: ["src", "client"],
      comments: true,
    },
    {
      claim: "a test waits for a condition, not for time to pass",
      // Looking again and again in a loop is waiting for a condition.
      pattern: /^(?!.*\bwhile \().*(\bBun\.sleep(Sync)?\(|\bsetTimeout\(\s*(resolve|done)\b)/m,
      sample: "await Bun.sleep(100);",
      in: ["test"],
      except: [self],
    },
    {
      claim: "relative imports carry their ending",
      pattern: /\bfrom\s*["']\.[^"']*(?<!\.(?:ts|tsx|json|html|css|js|png|svg))["']/,
      sample: 'import { a } from "./a";',
      in: everywhere,
      except: [self],
    },
  ];

  const breaks = (rule: Rule, source: Source) => rule.pattern.test(rule.comments ? source.text : source.code);

  test.each(rows.map((row) => [row.claim, row] as const))("tidy - %s", (_, rule) => {
    const code = withoutComments(rule.sample);
    expect(breaks(rule, { path: "sample", text: rule.sample, code })).toBe(true);
    const except = within(...(rule.except ?? [])).map(({ path }) => path);
    const wrong = within(...rule.in)
      .filter(({ path }) => !except.includes(path))
      .filter((source) => breaks(rule, source));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  test("tidy - every file of src and client opens with what it is for", () => {
    const wrong = within("src", "client").filter(({ text }) => !text.startsWith("/**"));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  test("tidy - a test's title is `area - claim`", () => {
    const titles = sources
      .filter(({ path }) => path.endsWith(".test.ts"))
      .flatMap(({ path, code }) =>
        [...code.matchAll(/^\s*test(?:\.\w+(?:\([^\n]*?\))?)?\(\s*(["'`])(.+?)\1/gm)].map((match) => ({
          path,
          title: match[2]!,
        })),
      );
    expect(titles.length).toBeGreaterThan(0);
    expect(titles.filter(({ title }) => !/^\S.* - \S/.test(title))).toEqual([]);
  });
});

describe("tidy - every operation is whole", () => {
  const named = (name: string) => new RegExp(`["'\`]${name.replace(".", "\\.")}["'\`]`);
  const without = (names: string[], code: string) => names.filter((name) => !named(name).test(code));
  const codeOf = (folder: string) =>
    within(folder)
      .filter(({ path }) => path !== "test/tidy.test.ts")
      .map(({ code }) => code)
      .join("\n");

  test("tidy - every operation but those of one connection has a route", () => {
    const routed = operationNames.filter((name) => operations[name].kind !== "session");
    expect(without(routed, codeOf("src/http"))).toEqual([]);
  });

  test("tidy - every operation is named in a test", () => {
    expect(without(operationNames, codeOf("test"))).toEqual([]);
  });

  test("tidy - every operation is described in docs/PROTOCOL.md", () => {
    expect(without(operationNames, readFileSync(join(root, "docs/PROTOCOL.md"), "utf8"))).toEqual([]);
  });

  test("tidy - every operation's summary is a sentence", () => {
    expect(operationNames.filter((name) => !/^[A-Z].*\.$/.test(operations[name].summary))).toEqual([]);
  });
});
