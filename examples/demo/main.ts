/**
 * The demonstration: `bun run demo [--files DIR] [--workers N] [--executable PATH] [--json]`
 *
 * Four worker processes hash and word-count every file below node_modules, one task a file, while the coordinator
 * is killed with SIGKILL twice (at 25 % and 70 % of the files) and started again on its data folder and its ports,
 * and one worker is killed at 50 %. In the end what the coordinator has recorded must equal what one plain pass
 * over the same files finds, with every file's completion recorded exactly once, and no file begun again after it
 * was acknowledged as done. Work may well be done twice (a killed worker's must be), and the report says how often.
 * The exit code is 0 only if all of that holds. Nothing is left behind: no process, no file. One process alone is
 * faster, because a file is little work for a task of its own: what is shown is not speed but what survives.
 *
 *   --files DIR         the files to read; default: node_modules
 *   --workers N         workers at a time; default: 4
 *   --executable PATH   a built cortexd to run instead of the source
 *   --json              the report as JSON on standard output, the rest on standard error
 *
 * A shell comes to the same digest: `cd DIR && find . -type f -print0 | xargs -0 sha256sum | LC_ALL=C sort | sha256sum`
 */
import { existsSync, realpathSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { check, type Report } from "./check.ts";
import { filesBelow, plainPass } from "./files.ts";
import { Processes } from "./processes.ts";
import { Run } from "./run.ts";
import { reportText, Screen } from "./screen.ts";

/** Fewer files are done before anything can be killed in the middle. */
const filesMin = 20;

type Options = { folder: string; workers: number; executable: string | null; json: boolean };

/** The options, or what is wrong with them. */
function optionsOf(argv: string[]): Options | string {
  try {
    const { values } = parseArgs({
      args: argv,
      options: {
        files: { type: "string", default: join(import.meta.dir, "../../node_modules") },
        workers: { type: "string", default: "4" },
        executable: { type: "string" },
        json: { type: "boolean", default: false },
      },
    });
    const workers = Number(values.workers);
    if (!Number.isInteger(workers) || workers < 1 || workers > 100)
      return "--workers is a number from 1 to 100";
    if (!existsSync(values.files) || !statSync(values.files).isDirectory())
      return `--files: there is no folder ${values.files}`;
    const executable = values.executable === undefined ? null : resolve(values.executable);
    if (executable !== null && !existsSync(executable)) return `--executable: there is no file ${executable}`;
    return { folder: realpathSync(values.files), workers, executable, json: values.json };
  } catch (error) {
    return (error as Error).message;
  }
}

async function demonstrate(options: Options, processes: Processes, screen: Screen): Promise<Report | string> {
  const { folder, workers } = options;
  const files = await filesBelow(folder);
  if (files.length < filesMin) return `${folder} has ${files.length} files, and it takes ${filesMin}`;
  screen.say(`${files.length} files below ${folder}`);

  const run = new Run(processes, folder, files, workers, (line) => screen.say(line));
  screen.follow(run.told, files.length);
  const outcome = await run.run();
  screen.end();

  screen.say("now the same in this process alone");
  const before = performance.now();
  const plain = await plainPass(folder, files);
  return check({ folder, workers, files }, outcome, plain, performance.now() - before);
}

const options = optionsOf(process.argv.slice(2));
if (typeof options === "string") {
  console.error(options);
  process.exit(2);
}
const screen = new Screen(options.json ? process.stderr : process.stdout);
const processes = new Processes(options.executable);
// The last resort, for an end that nobody foresaw.
process.on("exit", () => processes.killAll());

const interrupted = Promise.withResolvers<number>();
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const) {
  process.on(signal, () => interrupted.resolve(code));
}

let code = 1;
try {
  const report = await Promise.race([demonstrate(options, processes, screen), interrupted.promise]);
  screen.end();
  if (typeof report === "number") code = report;
  else if (typeof report === "string") {
    console.error(report);
    code = 2;
  } else {
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : reportText(report));
    if (report.ok) code = 0;
  }
} catch (error) {
  screen.end();
  console.error(`FAILED: ${error instanceof Error ? error.message : String(error)}`);
}
await processes.end();
process.exit(code);
