/** The version of this program, as its package says; apart, so that to know it nothing else is loaded. */
import pkg from "../../package.json" with { type: "json" };

export const version: string = pkg.version;
