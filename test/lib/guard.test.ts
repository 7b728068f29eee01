/** Who may come in: rows of headers and what the guard says to them. */
import { describe, expect, test } from "bun:test";
import { createGuard } from "../../src/lib/guard.ts";

const ports = () => [9500, 9501];
const open = createGuard({ token: null, ports, allowOrigins: ["https://ops.example.org"] });
const locked = createGuard({ token: "s3cret", ports, allowOrigins: [] });

describe("guard", () => {
  const rows: [claim: string, guard: typeof open, headers: Record<string, string>, said: string | null][] = [
    ["localhost on the first port comes in", open, { host: "localhost:9500" }, null],
    ["loopback on the second port comes in", open, { host: "127.0.0.1:9501" }, null],
    ["IPv6 loopback comes in", open, { host: "[::1]:9500" }, null],
    ["a name in capitals is the same name", open, { host: "LocalHost:9500" }, null],
    ["a foreign name is refused", open, { host: "evil.example:9500" }, "forbidden-host"],
    [
      "a name that only begins like ours is refused",
      open,
      { host: "localhost.evil.example:9500" },
      "forbidden-host",
    ],
    ["loopback through a forwarded port comes in", open, { host: "localhost:8080" }, null],
    ["loopback without a port comes in", open, { host: "localhost" }, null],
    ["a port that is no number is refused", open, { host: "localhost:x" }, "forbidden-host"],
    ["a foreign name on a forwarded port is refused", open, { host: "evil.example:8080" }, "forbidden-host"],
    ["no host at all is refused", open, {}, "forbidden-host"],
    ["a host with a path is refused", open, { host: "localhost:9500/x?" }, "forbidden-host"],
    ["a host with a user is refused", open, { host: "localhost@evil.example:9500" }, "forbidden-host"],
    ["our own page comes in", open, { host: "localhost:9500", origin: "http://localhost:9500" }, null],
    [
      "our page reaches the other port",
      open,
      { host: "127.0.0.1:9501", origin: "http://localhost:9500" },
      null,
    ],
    [
      "a foreign page is refused",
      open,
      { host: "localhost:9500", origin: "http://evil.example" },
      "forbidden-origin",
    ],
    [
      "a page of another local port is refused",
      open,
      { host: "localhost:9500", origin: "http://localhost:3000" },
      "forbidden-origin",
    ],
    [
      "our page behind a forwarded port comes in",
      open,
      { host: "localhost:8080", origin: "http://localhost:8080" },
      null,
    ],
    [
      "our page behind a forwarded port 80 comes in",
      open,
      { host: "localhost", origin: "http://localhost" },
      null,
    ],
    [
      "a page of another local port is refused behind a forwarded port too",
      open,
      { host: "localhost:8080", origin: "http://localhost:3000" },
      "forbidden-origin",
    ],
    [
      "the port of the Host under another loopback name is another page",
      open,
      { host: "localhost:8080", origin: "http://127.0.0.1:8080" },
      "forbidden-origin",
    ],
    [
      "https on loopback is another's page",
      open,
      { host: "localhost:9500", origin: "https://localhost:9500" },
      "forbidden-origin",
    ],
    [
      "a rebound page is refused by its Host, whatever its origin",
      open,
      { host: "evil.example:9500", origin: "http://evil.example:9500" },
      "forbidden-host",
    ],
    ["the null origin is refused", open, { host: "localhost:9500", origin: "null" }, "forbidden-origin"],
    ["an allowed origin comes in", open, { host: "localhost:9500", origin: "https://ops.example.org" }, null],
    [
      "an allowed origin does not excuse the host",
      open,
      { host: "evil.example", origin: "https://ops.example.org" },
      "forbidden-host",
    ],
    ["with a token any host comes in", locked, { host: "box.example:9500" }, null],
    [
      "with a token a page of the same host comes in",
      locked,
      { host: "box.example:9500", origin: "http://box.example:9500" },
      null,
    ],
    [
      "with a token a page of the same host reaches the other port",
      locked,
      { host: "box.example:9501", origin: "https://box.example:9500" },
      null,
    ],
    [
      "with a token a foreign page is refused",
      locked,
      { host: "box.example:9500", origin: "http://evil.example:9500" },
      "forbidden-origin",
    ],
    [
      "with a token our page comes in through a proxy",
      locked,
      { host: "box.example", origin: "https://box.example" },
      null,
    ],
    [
      "with a token a page of a forwarded port reaches the other port",
      locked,
      { host: "localhost:9501", origin: "http://127.0.0.1:9500" },
      null,
    ],
    [
      "with a token another port of the host is refused",
      locked,
      { host: "box.example:9500", origin: "http://box.example:3000" },
      "forbidden-origin",
    ],
  ];
  test.each(rows)("guard - %s", (_claim, guard, headers, said) => {
    expect(guard.door(new Headers(headers))).toBe(said as ReturnType<typeof guard.door>);
  });

  const tokens: [claim: string, authorization: string | null, admitted: boolean][] = [
    ["the token is admitted", "Bearer s3cret", true],
    ["the scheme may be in any case", "bearer s3cret", true],
    ["a wrong token is not", "Bearer s3cre", false],
    ["a longer token is not", "Bearer s3crets", false],
    ["another scheme is not", "Basic s3cret", false],
    ["the bare token is not", "s3cret", false],
    ["nothing is not", null, false],
  ];
  test.each(tokens)("guard - %s", (_claim, authorization, admitted) => {
    const headers = new Headers(authorization === null ? {} : { authorization });
    expect(locked.admits(headers)).toBe(admitted);
    expect(open.admits(headers)).toBe(true);
  });

  test("guard - a greeting's token is held against the same secret", () => {
    expect([locked.admitsToken("s3cret"), locked.admitsToken("x"), locked.admitsToken(undefined)]).toEqual([
      true,
      false,
      false,
    ]);
    expect(open.admitsToken(undefined)).toBe(true);
  });
});
