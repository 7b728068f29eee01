/** The program: argv to a command, its end to the exit code, nothing else. */
import { run } from "./cli/run.ts";

process.exit(await run(process.argv.slice(2)));
