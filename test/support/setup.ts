/** Loaded before every test file (bunfig.toml): what the files started ends when all tests are done. */
import { afterAll } from "bun:test";
import { end } from "./ending.ts";

afterAll(end);
