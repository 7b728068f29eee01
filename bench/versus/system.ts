/**
 * What a system is to be put beside another: how it is started at a setting, how a task is submitted, how tasks are
 * done. Servers run on free ports of loopback, with their data in a folder that is given and taken away.
 */
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { refused } from "../words.ts";

/** synced: what is answered is synced to disk. relaxed: as the system does it by itself, written and synced later. */
export type Setting = "synced" | "relaxed";

export type Running = {
  /** Resolves when the system has acknowledged it. */
  submit(payload: string): Promise<void>;
  /** So many at once: `begun` when a task came, `done` when its end was acknowledged. */
  work(concurrency: number, begun: (payload: string) => void, done: (payload: string) => void): Promise<void>;
  stop(): Promise<void>;
};

export type System = {
  name: string;
  /** What is run, with what its settings come to. */
  settings: Record<Setting, string>;
  /** What must be there, beside packages of its own; null: nothing. */
  program: string | null;
  start(setting: Setting, folder: string): Promise<Running>;
};

/** Those that are named, parted by commas; ends the process where one is not known. */
export function chosen<T>(all: Record<string, T>, names: string, option = "--only"): T[] {
  const unknown = names.split(",").filter((name) => !Object.hasOwn(all, name));
  if (unknown.length > 0)
    refused(`there is no ${unknown.join(", ")}: give ${option} ${Object.keys(all).join(",")}`);
  return names.split(",").map((name) => all[name] as T);
}

/** Why it cannot be measured on this machine; null: it can. */
export const missing = ({ name, program }: { name: string; program: string | null }): string | null =>
  program === null || Bun.which(program) !== null ? null : `${name}: ${program} is not installed`;

export async function freePort(): Promise<number> {
  const probe = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  const { port } = probe;
  await probe.stop(true);
  return port as number;
}

const canConnect = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });

/** Starts a server and waits until it can be connected to. */
export async function startServer(command: string[], port: number): Promise<{ stop(): Promise<void> }> {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  while (!(await canConnect(port))) {
    if (child.exitCode !== null)
      throw new Error(
        `${command[0]} ended with ${child.exitCode}: ${await new Response(child.stderr).text()}`,
      );
    await Bun.sleep(20);
  }
  return {
    async stop() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}

/** A package of theirs, of one version, installed beside the measurement and not into this repository. */
export async function installed(
  folder: string,
  packages: Record<string, string>,
): Promise<(name: string) => string> {
  await Bun.write(join(folder, "package.json"), JSON.stringify({ dependencies: packages }));
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, "install", "--silent"], { cwd: folder });
  if (exitCode !== 0) throw new Error(`its packages could not be installed: ${stderr}`);
  return (name) => Bun.resolveSync(name, folder);
}

export const removeFolder = (folder: string) => rmSync(folder, { recursive: true, force: true });
