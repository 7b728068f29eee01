/** Put before a program with --preload: at its end its modules are written to the file that LOADED_MODULES names, a line each. */
import { writeFileSync } from "node:fs";

process.on("exit", () =>
  writeFileSync(process.env.LOADED_MODULES!, Object.keys(require.cache).sort().join("\n")),
);
