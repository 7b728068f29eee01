/** The program: argv to a command, its end to the exit code, nothing else. */
import { tuneAllocator } from "./lib/allocator.ts";

const argv = process.argv.slice(2);
const [first = "serve"] = argv;
if (first === "serve" || first.startsWith("--")) tuneAllocator();
const { run } = await import("./cli/run.ts");
process.exit(await run(argv));
