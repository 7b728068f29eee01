/**
 * Bun's own WebSocket handlers, for port 9501 and for /ws on port 9500 alike. They turn sockets into sessions and
 * nothing else: no protocol here, no state. The framework's WebSocket is passed by because it makes an object
 * with some fifteen bound methods for every message.
 */
import type { Server, ServerWebSocket, WebSocketHandler } from "bun";
import type { Engine } from "../engine/engine.ts";
import type { Guard } from "../lib/guard.ts";
import { type ErrorCode, errorTable, problem } from "../wire/errors.ts";
import { closeCodes } from "../wire/frames.ts";
import { limits } from "../wire/limits.ts";
import { isNamespace } from "../wire/schema.ts";
import { Session, type Sessions } from "./session.ts";

export type SocketData = { session: Session | null; admitted: boolean; namespace: string | undefined };

export type Sockets = {
  /** Checks the request and upgrades it; a response is its refusal. */
  upgrade(request: Request, server: Server<SocketData>): Response | undefined;
  handlers: WebSocketHandler<SocketData>;
  /** Opens the port that speaks WebSocket alone. */
  listen(host: string, port: number): Server<SocketData>;
  /** Tells every client to come back later, and closes. */
  close(): void;
};

/** How long a connection may stay without a greeting. */
const greetingMsMax = 10_000;
/** Opened since the last look at the clock. */
const unknown = -1;

export function createSockets(engine: Engine, guard: Guard, newId: () => string): Sockets {
  const open = new Set<Session>();
  const ungreeted = new Map<Session, number>();
  const sessions: Sessions = {
    engine,
    admitsToken: (token) => guard.admitsToken(token),
    newId,
  };

  engine.onTurn((at) => {
    for (const [session, since] of ungreeted) {
      if (session.greeted) ungreeted.delete(session);
      else if (since === unknown) ungreeted.set(session, at);
      else if (at - since > greetingMsMax) session.end(closeCodes.unauthorized, "the greeting did not come");
    }
  });

  const upgrade: Sockets["upgrade"] = (request, server) => {
    const refused = guard.door(request.headers);
    if (refused !== null)
      return refuse(refused, `the ${refused === "forbidden-host" ? "Host" : "Origin"} header was refused`);
    if (engine.health().status === "stopping") return refuse("shutting-down", "the daemon is stopping");
    // Without a token in its headers (a browser cannot set them) a client may still bring it in the greeting.
    const namespace = request.headers.get("cortex-namespace") ?? undefined;
    if (namespace !== undefined && !isNamespace(namespace))
      return refuse("invalid-input", "the Cortex-Namespace header holds no namespace's name");
    const data = { session: null, admitted: guard.admits(request.headers), namespace };
    if (server.upgrade(request, { data })) return undefined;
    return refuse("upgrade-required", "this is not a WebSocket handshake");
  };

  const handlers: WebSocketHandler<SocketData> = {
    // Our own limits come first and answer with an error; these are for what does not care.
    maxPayloadLength: limits.frameBytesMax * 2,
    backpressureLimit: limits.socketBufferBytesMax * 2,
    closeOnBackpressureLimit: true,
    idleTimeout: 120,
    sendPings: true,
    perMessageDeflate: false,
    open(ws: ServerWebSocket<SocketData>) {
      const session = new Session(
        sessions,
        {
          send: (text) => void ws.sendText(text),
          close: (code, reason) => ws.close(code, reason),
          bufferedBytes: () => ws.getBufferedAmount(),
        },
        ws.data.admitted,
        ws.data.namespace,
      );
      ws.data.session = session;
      open.add(session);
      ungreeted.set(session, unknown);
      engine.counters.socketsOpen++;
      engine.lines.debug("socket.opened");
    },
    message(ws, message) {
      if (typeof message === "string") ws.data.session?.receive(message);
      else ws.data.session?.receiveBinary();
    },
    drain(ws) {
      ws.data.session?.drained();
    },
    close(ws) {
      const { session } = ws.data;
      if (session === null) return;
      session.closed();
      open.delete(session);
      ungreeted.delete(session);
      engine.counters.socketsOpen--;
      engine.lines.debug("socket.closed");
    },
  };

  return {
    upgrade,
    handlers,
    listen: (host, port) =>
      Bun.serve<SocketData>({
        hostname: host,
        port,
        reusePort: false,
        fetch: (request, server) => upgrade(request, server),
        websocket: handlers,
      }),
    close() {
      for (const session of [...open]) session.end(closeCodes.restarting, "the daemon is stopping");
    },
  };
}

function refuse(code: ErrorCode, detail: string): Response {
  return new Response(JSON.stringify(problem(code, detail)), {
    status: errorTable[code].status,
    headers: { "content-type": "application/problem+json" },
  });
}
