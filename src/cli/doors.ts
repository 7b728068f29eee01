/**
 * The two ports: REST with the WebSocket at /ws on one, the WebSocket alone on the other, behind one guard. Opens
 * both or neither, and closes both.
 */
import type { Values } from "../config.ts";
import type { Engine } from "../engine/engine.ts";
import { createApp } from "../http/app.ts";
import { serveHttp } from "../http/serve.ts";
import { createGuard } from "../lib/guard.ts";
import { stopServer } from "../lib/server.ts";
import type { Lines } from "../telemetry/lines.ts";
import { createSockets } from "../ws/socket.ts";
import { listening } from "./listening.ts";
import { version } from "./version.ts";

export type Doors = {
  port: number;
  wsPort: number;
  /** No new connections; the open ones go on. */
  shut(): void;
  /** Tells every client to come back later, and closes what is open. */
  close(): Promise<void>;
};

/** How long requests under way may take when the daemon stops. */
const graceMs = 3000;

export async function openDoors(engine: Engine, values: Values, lines: Lines): Promise<Doors> {
  const ports: number[] = [];
  const guard = createGuard({ token: values.token, ports: () => ports, allowOrigins: values.allowOrigin });
  const report = (error: unknown) =>
    lines.error("http.failed", {
      detail: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  const app = createApp(engine, { guard, version, report });

  const { host } = values;
  const sockets = createSockets(engine, guard, () => crypto.randomUUID());
  const { handlers: websocket, upgrade } = sockets;

  const http = listening(values, "port", () =>
    serveHttp({ app, host, port: values.port, websocket, upgrade, report }),
  );
  try {
    const ws = listening(values, "wsPort", () => sockets.listen(host, values.wsPort));
    ports.push(http.port, ws.port!);
    let stopped: Promise<unknown> | null = null;
    const shut = () => {
      stopped ??= Promise.all([http.stop(graceMs), stopServer(ws, graceMs)]);
    };
    return {
      port: http.port,
      wsPort: ws.port!,
      shut,
      async close() {
        shut();
        sockets.close();
        await stopped;
      },
    };
  } catch (error) {
    await http.stop(0);
    throw error;
  }
}
