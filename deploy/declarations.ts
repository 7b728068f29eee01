/**
 * The declarations of the client package: what the compiler writes for its entries and for what those reach, with the
 * schemas of the wire written out as plain types. So they need no other package, and name nothing of the server.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { Kind, OptionalKind, type TSchema } from "@sinclair/typebox";
import { operations } from "../src/wire/operations.ts";

const root = join(import.meta.dir, "..");

/** Writes the declarations of these entries (`client/index.ts`) into a folder, under the paths of the sources. */
export async function writeDeclarations(entries: readonly string[], folder: string): Promise<void> {
  const made = join(folder, "made");
  mkdirSync(made, { recursive: true });
  compile(entries, made);
  const written = new Set<string>();
  const write = async (source: string) => {
    if (written.has(source)) return;
    written.add(source);
    const path = source.replace(/\.ts$/, ".d.ts");
    const emitted = readFileSync(join(made, path), "utf8");
    const text = source.startsWith("src/wire/") ? await withPlainTypes(source, emitted) : emitted;
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text.replaceAll(imported, '$1"$2.js"'));
    for (const [, from] of text.matchAll(/(?:\bfrom |\bimport\()"([^"]+)"/g)) {
      if (!from!.startsWith(".")) throw new Error(`${path} needs ${from}, which the package does not bring`);
      await write(relative(root, join(root, dirname(source), from!)));
    }
  };
  for (const entry of entries) await write(entry);
  rmSync(made, { recursive: true });
}

const imported = /(\bfrom |\bimport\()"(\.[^"]+)\.ts"/g;

function compile(entries: readonly string[], outDir: string): void {
  const project = join(outDir, "tsconfig.json");
  const options = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      ...{ noEmit: false, declaration: true, emitDeclarationOnly: true, outDir, rootDir: root },
      typeRoots: [join(root, "node_modules/@types")],
    },
    include: [],
    files: [...entries, "src/http/files.d.ts", "src/dashboard/files.d.ts"].map((entry) => join(root, entry)),
  };
  writeFileSync(project, JSON.stringify(options));
  const tsc = Bun.spawnSync([process.execPath, join(root, "node_modules/.bin/tsc"), "-p", project]);
  if (!tsc.success) throw new Error(`the declarations cannot be made:\n${tsc.stdout}${tsc.stderr}`);
}

// ------------------------------------------------------------------------------------- schemas as types

/** The statements of one file of the wire, with plain types in the place of those that are made of schemas. */
async function withPlainTypes(source: string, emitted: string): Promise<string> {
  const schemas = schemasOf(await import(join(root, source)));
  const types = new Printer(source, await namesOf());
  const statements = statementsOf(emitted).flatMap(({ comment, code }) => {
    const own = /^export type (\w+) = Static<typeof \1>;/.exec(code)?.[1];
    if (own !== undefined) return [`${comment}export type ${own} = ${types.own(schemas.get(own)!)};\n`];
    if (source === "src/wire/operations.ts") {
      if (code.startsWith("export declare const operations:")) return [comment + operationTypes(types)];
      if (code.startsWith("export type Operations =")) return [];
      const side = /^export type (In|Out)put</.exec(code)?.[1]?.toLowerCase();
      if (side !== undefined) return [code.replace(/= .*/, `= Operations[N]["${side}put"];`)];
    }
    // Schemas, and what is only about them, stay behind.
    return /typebox|\bTSchema\b|\bStatic\b/.test(code) ? [] : [comment + code];
  });
  const imports = [...types.imports].map(([module, names]) => {
    const path = JSON.stringify(`./${relative(dirname(source), module)}`);
    return `import type { ${[...names].sort().join(", ")} } from ${path};\n`;
  });
  return [...imports, ...statements].join("");
}

/** Statements of the compiler's own making: each begins and ends in the first column. */
function statementsOf(text: string): { comment: string; code: string }[] {
  const found: { comment: string; code: string }[] = [];
  let comment = "";
  let code = "";
  for (const line of text.split("\n")) {
    if (code === "" && /^(\/\*\*| \*|$)/.test(line)) comment += line === "" ? "" : `${line}\n`;
    else {
      code += `${line}\n`;
      if (!/^\S.*;$|^}$/.test(line)) continue;
      found.push({ comment, code });
      comment = "";
      code = "";
    }
  }
  return found;
}

function operationTypes(types: Printer): string {
  const rows = Object.entries(operations).map(
    ([name, { kind, summary, input, output }]) =>
      `  /** ${summary} */\n  "${name}": { kind: "${kind}"; input: ${types.of(input, "  ")}; output: ${types.of(output, "  ")} };\n`,
  );
  return `export type Operations = {\n${rows.join("")}};\n`;
}

const isSchema = (value: unknown): value is TSchema =>
  typeof value === "object" && value !== null && Kind in value;
const schemasOf = (module: object) =>
  new Map<string, TSchema>(Object.entries(module).filter(([, value]) => isSchema(value)));

type Named = { name: string; module: string };

/** Which schemas have a type of their own, by their text: one that was made optional is a copy. */
async function namesOf(): Promise<Map<string, Named>> {
  const names = new Map<string, Named>();
  for (const path of new Bun.Glob("src/wire/*.ts").scanSync(root)) {
    const text = readFileSync(join(root, path), "utf8");
    for (const [name, schema] of schemasOf(await import(join(root, path))))
      if (text.includes(`export type ${name} = Static<typeof ${name}>;`))
        names.set(JSON.stringify(schema), { name, module: path });
  }
  return names;
}

class Printer {
  /** What the printed types name of other files. */
  readonly imports = new Map<string, Set<string>>();

  constructor(
    private readonly source: string,
    private readonly names: Map<string, Named>,
  ) {}

  /** The type of a schema, by its name where it has one. */
  of(schema: TSchema, indent = ""): string {
    const named = this.names.get(JSON.stringify(schema));
    if (named === undefined) return this.own(schema, indent);
    if (named.module !== this.source) {
      const names = this.imports.get(named.module) ?? new Set();
      this.imports.set(named.module, names.add(named.name));
    }
    return named.name;
  }

  own(schema: TSchema, indent = ""): string {
    switch (schema[Kind]) {
      case "String":
        return "string";
      case "Integer":
      case "Number":
        return "number";
      case "Boolean":
        return "boolean";
      case "Null":
        return "null";
      case "Unknown":
        return "unknown";
      case "Literal":
        return JSON.stringify(schema.const);
      case "Union":
        return (schema.anyOf as TSchema[]).map((one) => this.of(one, indent)).join(" | ");
      case "Array": {
        const items = this.of(schema.items, indent);
        return items.includes(" | ") ? `(${items})[]` : `${items}[]`;
      }
      case "Record":
        return `{ [name: string]: ${this.of(Object.values(schema.patternProperties)[0] as TSchema, indent)} }`;
      case "Object":
        return this.#object(Object.entries(schema.properties as Record<string, TSchema>), indent);
      default:
        throw new Error(`a schema of the kind ${schema[Kind]} cannot be written as a type yet`);
    }
  }

  #object(properties: [string, TSchema][], indent: string): string {
    if (properties.length === 0) return "{}";
    const inner = `${indent}  `;
    const lines = properties.map(([name, schema]) => {
      const comment = schema.description === undefined ? "" : `${inner}/** ${schema.description} */\n`;
      const optional = OptionalKind in schema ? "?" : "";
      return `${comment}${inner}${name}${optional}: ${this.of(schema, inner)};\n`;
    });
    return `{\n${lines.join("")}${indent}}`;
  }
}
