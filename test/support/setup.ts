/** Loaded before every test file (bunfig.toml): the runner fires no process exit event, so cleaning up is a hook. */
import { afterAll } from "bun:test";
import { cleanUp } from "./daemon.ts";

afterAll(cleanUp);
