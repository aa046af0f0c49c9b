/**
 * Connections that are in use while the datapath under them changes: a stream that is compared byte by byte, requests and
 * answers one after another, and datagrams that are sent again when one is lost.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import { waitFor } from "../../src/app/demo/wait.ts";
import type { Family, Ip } from "../../src/model/ip.ts";
import { pattern } from "./datapath-flows.ts";
import type { LabContainer } from "./datapath-hosts.ts";
import { connectTcp, listenTcp, UdpSocket } from "./flow-sockets.ts";

const CONNECTS_MS = 5_000;
/** TCP waits 200 ms before it sends again what was lost. */
const PROGRESS_MS = 10_000;
const CHUNK = pattern(64 * 1_024);
const AGAIN_MS = 50;

export interface Where {
  readonly from: LabContainer;
  readonly to: LabContainer;
  readonly family: Family;
  /** Where the client asks; absent: at the server's own address. */
  readonly service?: Ip;
  /** The first of three. */
  readonly port: number;
}

/** How much each of the three has done: chunks, answers, datagrams. */
type Progress = [number, number, number];

export class RunningFlows {
  readonly #where: Where;
  readonly #ends: (() => void)[] = [];
  readonly #done: Progress = [0, 0, 0];
  #error: Error | undefined;
  #isEnding = false;

  /** Begins all three. */
  constructor(where: Where) {
    this.#where = where;
    void this.#stream().catch((error: Error) => this.#fail(error));
    void this.#requests().catch((error: Error) => this.#fail(error));
    void this.#datagrams().catch((error: Error) => this.#fail(error));
  }

  /** Waits until each has done more than before; fails when one has ended. */
  async goesOn(when: string): Promise<void> {
    const before: Progress = [...this.#done];
    const haveGoneOn = () => this.#done.every((done, i) => done > (before[i] ?? 0) + 3);
    await waitFor(`all three to go on ${when}`, PROGRESS_MS, async () =>
      haveGoneOn() || this.#error !== undefined ? true : undefined,
    );
    this.#check();
  }

  /** Fails when one of them failed. */
  end(): void {
    this.stop();
    this.#check();
  }

  stop(): void {
    this.#isEnding = true;
    for (const end of this.#ends.splice(0)) end();
  }

  #check(): void {
    if (this.#error !== undefined) throw this.#error;
  }

  #fail(error: Error): void {
    if (!this.#isEnding) this.#error ??= error;
  }

  #connect(offset: number, serve: (connection: Socket) => void): Socket {
    const { from, to, family, service, port } = this.#where;
    const server = listenTcp(to.netns, to.address[family], port + offset, (connection) => {
      this.#watch(connection);
      serve(connection);
    });
    const connection = connectTcp(
      from.netns,
      from.address[family],
      service ?? to.address[family],
      port + offset,
      CONNECTS_MS,
    );
    this.#watch(connection);
    this.#ends.push(() => {
      connection.destroy();
      server.close();
    });
    return connection;
  }

  #watch(connection: Socket): void {
    connection.on("error", (error) => this.#fail(error));
    connection.on("close", () => this.#fail(new Error("a connection was closed")));
    this.#ends.push(() => connection.destroy());
  }

  async #stream(): Promise<void> {
    let at = 0;
    const connection = this.#connect(0, (accepted) =>
      accepted.on("data", (bytes: Buffer) => {
        for (let done = 0; done < bytes.length; ) {
          const length = Math.min(bytes.length - done, CHUNK.length - at);
          if (!bytes.subarray(done, done + length).equals(CHUNK.subarray(at, at + length)))
            this.#fail(new Error("the stream has other bytes than were sent"));
          done += length;
          at = (at + length) % CHUNK.length;
          if (at === 0) this.#done[0]++;
        }
      }),
    );
    while (!this.#isEnding) {
      if (!connection.write(CHUNK)) await once(connection, "drain");
      await setImmediate();
    }
  }

  async #requests(): Promise<void> {
    const connection = this.#connect(1, (accepted) => accepted.pipe(accepted));
    connection.setNoDelay();
    for (let n = 0; !this.#isEnding; n++) {
      connection.write(Buffer.from([n & 0xff]));
      const [answer] = (await once(connection, "data")) as [Buffer];
      assert.deepEqual([...answer], [n & 0xff]);
      this.#done[1]++;
    }
  }

  async #datagrams(): Promise<void> {
    const { from, to, family, service, port } = this.#where;
    const client = UdpSocket.open(from.netns, from.address[family], port + 3);
    const server = UdpSocket.open(to.netns, to.address[family], port + 2);
    this.#ends.push(() => {
      client.close();
      server.close();
    });
    let sent = Number.NEGATIVE_INFINITY;
    for (let n = 0; !this.#isEnding; ) {
      if (performance.now() > sent + AGAIN_MS) {
        client.send(service ?? to.address[family], port + 2, Buffer.from(String(n)));
        sent = performance.now();
      }
      for (const datagram of server.received()) server.send(from.address[family], port + 3, datagram);
      if (client.received().some((datagram) => String(datagram) === String(n))) {
        this.#done[2]++;
        n++;
        sent = Number.NEGATIVE_INFINITY;
      }
      await setImmediate();
    }
  }
}
