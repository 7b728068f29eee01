/**
 * The two ports: REST with the WebSocket at /ws on one, the WebSocket alone on the other, behind one guard. Opens
 * both or neither, and closes both.
 */
import { flagOf, type Values } from "../config.ts";
import type { Engine } from "../engine/engine.ts";
import { createApp } from "../http/app.ts";
import { serveHttp } from "../http/serve.ts";
import { createGuard } from "../lib/guard.ts";
import { stopServer } from "../lib/server.ts";
import type { Lines } from "../telemetry/lines.ts";
import { createSockets } from "../ws/socket.ts";
import { Exit } from "./exit.ts";
import { version } from "./help.ts";

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

/** Opening a port fails for reasons of the machine; they are told, with the option that mends them. */
export function listening<T>({ host, ...values }: Values, name: "port" | "wsPort", listen: () => T): T {
  try {
    return listen();
  } catch (error) {
    const { code } = error as { code?: string };
    const why = {
      EADDRINUSE: "it is in use",
      EADDRNOTAVAIL: "this machine does not have the address",
      EACCES: "this user may not use the port",
      EINVAL: "the host is not known",
    }[code ?? ""];
    if (why === undefined) throw error;
    throw new Exit(
      "address-unusable",
      `${host}:${values[name]} cannot be listened on: ${why}.`,
      `Choose another with ${flagOf(name)} or ${flagOf("host")}.`,
    );
  }
}
