/**
 * A unix socket that passes everything on to another one and measures how long each call over it takes, from the first
 * byte of the request until the last byte of the answer. Calls of one connection come one after another.
 *
 * What passing on costs is in the figures: they are an upper bound of what is behind the socket.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface TimedCall {
  /** `/NetworkDriver.Join` */
  readonly path: string;
  ms: number;
}

const REQUEST_LINE = /^[A-Z]+ (\S+) HTTP/;

export class CallTimer {
  /** Of this moment on; whoever has read them empties the list. */
  readonly calls: TimedCall[] = [];

  /** Listens at `path` for as long as this process lives. @param target the socket that answers */
  static async listen(path: string, target: string): Promise<CallTimer> {
    const timer = new CallTimer();
    const server = createServer((client) => timer.#pass(client, connect(target))).listen(path);
    await once(server, "listening");
    server.unref();
    return timer;
  }

  #pass(client: Socket, service: Socket): void {
    let begin = 0;
    let call: TimedCall | undefined;
    client.on("data", (bytes) => {
      const path = REQUEST_LINE.exec(bytes.toString("latin1"))?.[1];
      if (path !== undefined) {
        begin = performance.now();
        call = { path, ms: 0 };
        this.calls.push(call);
      }
      service.write(bytes);
    });
    service.on("data", (bytes) => {
      client.write(bytes);
      if (call !== undefined) call.ms = performance.now() - begin;
    });
    for (const [from, to] of [
      [client, service],
      [service, client],
    ] as const) {
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  }
}
