/**
 * A way between a client and a server that can be cut without a word: connections stay open and carry nothing, and what was
 * sent meanwhile arrives late when the way is mended, as after a broken cable.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class TcpProxy {
  readonly #server: Server;
  readonly #port: number;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #isCut = false;
  /** Answers are dropped with their connections when true, and what is asked gets through. */
  #isDeaf = false;

  private constructor(server: Server, to: number) {
    this.#server = server;
    this.#port = to;
  }

  static async to(port: number): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: false });
    const proxy = new TcpProxy(server, port);
    server.on("connection", (client) => proxy.#carry(client));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return proxy;
  }

  get endpoint(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.#isCut = true;
    for (const [client, server] of this.#pairs) {
      client.pause();
      server.pause();
    }
  }

  mend(): void {
    this.#isCut = false;
    this.#isDeaf = false;
    for (const [client, server] of this.#pairs) {
      client.resume();
      server.resume();
    }
  }

  /** What is asked gets through, and no answer comes back. */
  loseAnswers(): void {
    this.#isDeaf = true;
    for (const [, server] of this.#pairs) server.pause();
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #carry(client: Socket): void {
    const server = connect(this.#port, "127.0.0.1");
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on("data", (chunk: Buffer) => to.write(chunk));
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
    }
    if (this.#isCut) client.pause();
    if (this.#isCut || this.#isDeaf) server.pause();
  }
}
