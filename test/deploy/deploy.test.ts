/**
 * The files that a daemon is deployed with: what they name exists, what they set are options with allowed values, and the
 * unit lets the program do all that it does, as the kernel is asked. No image is built here.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { isTokenMade, loadConfig } from "../../src/config.ts";
import { cortexd, spawnDaemon, temporaryFolder } from "../support/daemon.ts";

setDefaultTimeout(60_000);

const deploy = join(import.meta.dir, "../../deploy");
const read = (name: string) => readFileSync(join(deploy, name), "utf8");
const unit = read("cortexd.service");
const dockerfile = read("Dockerfile").replaceAll("\\\n", " ");

/** CORTEX_NAME=value, wherever they stand in a line that begins so. */
const environmentOf = (text: string, begin: RegExp) =>
  Object.fromEntries(
    text
      .split("\n")
      .filter((line) => begin.test(line))
      .flatMap((line) =>
        [...line.matchAll(/\b(CORTEX_\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!]),
      ),
  );

function configOf(environment: Record<string, string>) {
  const readFile = () => {
    throw Object.assign(new Error("absent"), { code: "ENOENT" });
  };
  const result = loadConfig({ argv: [], environment, readFile, machine: { memoryBytes: 2 ** 32 } });
  if ("problems" in result) throw new Error(result.problems.join("\n"));
  return result.config;
}

test.each([
  ["the unit", environmentOf(unit, /^Environment=/), "127.0.0.1"],
  ["the image", environmentOf(dockerfile, /^ENV /), "0.0.0.0"],
])(
  "deploy - %s runs durable, below its folder, with a token that the first start makes",
  (_, environment, host) => {
    const { values, from, notes } = configOf(environment);
    expect(notes).toEqual([]);
    expect(from.preset.kind).toBe("environment");
    expect(values).toMatchObject({ host, port: 9500, wsPort: 9501, preset: "durable", sync: "always" });
    expect(dirname(values.data)).toBe("/var/lib/cortexd");
    expect(dirname(values.tokenFile as string)).toBe("/var/lib/cortexd");
    expect(isTokenMade(values)).toBe(true);
  },
);

const run = (...command: string[]) => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { env: { ...process.env, NO_COLOR: "1" } });
  return { code: exitCode, output: `${stdout}${stderr}` };
};

test("deploy - systemd takes the unit without a word", () => {
  const file = join(temporaryFolder(), "cortexd.service");
  // The program is where it is here.
  writeFileSync(file, unit.replace("ExecStart=/usr/local/bin/cortexd", `ExecStart=${cortexd.join(" ")}`));
  expect(run("systemd-analyze", "verify", file)).toEqual({ code: 0, output: "" });
});

test("deploy - systemd finds the unit safe: an exposure of at most 1.5 of 10", () => {
  const file = join(deploy, "cortexd.service");
  const { code, output } = run("systemd-analyze", "security", "--offline=true", "--threshold=15", file);
  expect(output).toMatch(/Overall exposure level for cortexd.service: 1\.\d/);
  expect(code).toBe(0);
});

/** The system calls of a set, those of the sets within it too. */
function callsOf(set: string): string[] {
  const { output } = run("systemd-analyze", "--no-pager", "syscall-filter", set);
  return output
    .split("\n")
    .slice(1)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .flatMap((word) => (word.startsWith("@") ? callsOf(word) : [word]));
}

test("deploy - the unit allows every system call and every kind of socket that the program makes", async () => {
  const filters = [...unit.matchAll(/^SystemCallFilter=(~?)(.+)$/gm)];
  const allowed = new Set<string>();
  for (const [, not, sets] of filters)
    for (const call of sets!.split(" ").flatMap(callsOf)) {
      if (not === "") allowed.add(call);
      else allowed.delete(call);
    }
  expect(allowed.size).toBeGreaterThan(200);

  const trace = join(temporaryFolder(), "trace");
  const daemon = await spawnDaemon({ under: ["strace", "-f", "-qq", "-o", trace] });
  const body = JSON.stringify({ queue: "mail", type: "send" });
  const headers = { "content-type": "application/json" };
  expect((await fetch(`${daemon.url}/api/tasks`, { method: "POST", headers, body })).status).toBe(201);
  const socket = new WebSocket(daemon.wsUrl);
  await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));
  socket.close();
  expect(await daemon.stop()).toBe(0);

  const lines = readFileSync(trace, "utf8");
  const made = new Set([...lines.matchAll(/^\d+ +(\w+)\(/gm)].map(([, call]) => call!));
  expect(made.has("fsync") || made.has("fdatasync")).toBe(true);
  // SQLite calls it where root runs it, as a test may be; the unit's user is nobody.
  made.delete("fchown");
  expect([...made].filter((call) => !allowed.has(call)).sort()).toEqual([]);

  const families = /^RestrictAddressFamilies=(.+)$/m.exec(unit)![1]!.split(" ");
  const sockets = new Set([...lines.matchAll(/\bsocket\((\w+)/g)].map(([, family]) => family!));
  expect(sockets.size).toBeGreaterThan(0);
  expect([...sockets].filter((family) => !families.includes(family))).toEqual([]);
});

type Compose = {
  services: Record<
    string,
    { volumes: string[]; ports: string[]; profiles?: string[]; build?: { context: string } }
  >;
  volumes: Record<string, null>;
};

test("deploy - the compose file names volumes and files that are there, and opens ports to this machine alone", () => {
  const { services, volumes } = Bun.YAML.parse(read("docker-compose.yml")) as Compose;
  const named = Object.values(services).flatMap((service) =>
    service.volumes.map((text) => text.split(":")[0]!),
  );
  const isPath = (name: string) => name.startsWith(".");
  expect(named.filter(isPath).filter((path) => !existsSync(join(deploy, path)))).toEqual([]);
  expect([...new Set(named.filter((name) => !isPath(name)))].sort()).toEqual(Object.keys(volumes).sort());
  expect(existsSync(join(deploy, services.cortexd!.build!.context, "package.json"))).toBe(true);
  const ports = Object.values(services).flatMap((service) => service.ports);
  expect(ports.filter((port) => !port.startsWith("127.0.0.1:"))).toEqual([]);
  const always = Object.entries(services).filter(([, { profiles }]) => profiles === undefined);
  expect(always.map(([name]) => name)).toEqual(["cortexd"]);
});

test("deploy - Prometheus reads the daemon's own port, with its token, and the alerts that are mounted", () => {
  const { rule_files, scrape_configs } = Bun.YAML.parse(read("prometheus.yml")) as {
    rule_files: string[];
    scrape_configs: {
      authorization: { credentials_file: string };
      static_configs: { targets: string[] }[];
    }[];
  };
  const { tokenFile } = configOf(environmentOf(dockerfile, /^ENV /)).values;
  expect(scrape_configs[0]!.authorization.credentials_file).toBe(tokenFile!);
  expect(scrape_configs[0]!.static_configs[0]!.targets).toEqual(["cortexd:9500"]);
  const { services } = Bun.YAML.parse(read("docker-compose.yml")) as Compose;
  const mounted = services.prometheus!.volumes.map((text) => text.split(":")[1]!);
  expect(rule_files.filter((file) => !mounted.includes(file))).toEqual([]);
});
