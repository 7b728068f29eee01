/**
 * The HTTP port: one server that answers requests through the app and gives WebSocket upgrades at /ws to the
 * handlers it was handed. It opens and closes the port, nothing more. The framework's own WebSocket is not used:
 * it makes an object with some fifteen bound methods for every message, and guesses at the type of its text.
 */
import type { Server, WebSocketHandler } from "bun";
import { stopServer } from "../lib/server.ts";
import { limits } from "../wire/limits.ts";
import type { App } from "./app.ts";
import { refuse } from "./problems.ts";

export type HttpOptions<Data> = {
  app: App;
  host: string;
  port: number;
  websocket: WebSocketHandler<Data>;
  /** Guards and upgrades; a response where it refuses. */
  upgrade: (request: Request, server: Server<Data>) => Response | undefined | Promise<Response | undefined>;
  report: (error: unknown) => void;
};

export type HttpServer = {
  port: number;
  url: string;
  /** Takes no new connections, lets requests finish for so long, then cuts what is left. Twice is fine. */
  stop(graceMs: number): Promise<void>;
};

/** A connection on which nothing moves for so long is closed; a request that waits on purpose asks for more. */
const idleSeconds = 30;

export function serveHttp<Data>(options: HttpOptions<Data>): HttpServer {
  const { app, websocket, upgrade, report } = options;
  const server = Bun.serve<Data>({
    hostname: options.host,
    port: options.port,
    // A second daemon on the port must fail, not share it.
    reusePort: false,
    idleTimeout: idleSeconds,
    // A backstop: the app refuses by content-length with a body that says why, Bun with an empty one.
    maxRequestBodySize: limits.bodyBytesMax * 2,
    websocket,
    fetch(request, self) {
      if (request.method === "GET" && isUpgrade(request)) return upgrade(request, self);
      return app.fetch(request);
    },
    error(error) {
      report(error);
      return refuse("internal", "The daemon met a bug; its log says more.");
    },
  });
  // So that the routes find the server that holds their connection.
  app.server = server as unknown as typeof app.server;
  let stopping: Promise<void> | null = null;
  return {
    port: server.port!,
    url: `http://${options.host.includes(":") ? `[${options.host}]` : options.host}:${server.port}`,
    stop(graceMs) {
      stopping ??= stopServer(server, graceMs);
      return stopping;
    },
  };
}

function isUpgrade(request: Request): boolean {
  return (
    request.headers.get("upgrade")?.toLowerCase() === "websocket" &&
    /^[^?#]*\/ws(\?|$)/.test(request.url) &&
    new URL(request.url).pathname === "/ws"
  );
}
