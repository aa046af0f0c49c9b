/**
 * Traffic between containers of test/support/datapath-hosts.ts, and the frames that arrive of it.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { waitFor } from "../../src/app/demo/wait.ts";
import { type Family, ipToBytes } from "../../src/model/ip.ts";
import type { LabContainer } from "./datapath-hosts.ts";
import { connectTcp, listenTcp, UdpSocket } from "./flow-sockets.ts";
import { RawSocket } from "./packet-socket.ts";

/** On a machine that is busy with other tests. */
export const ARRIVES_MS = 5_000;
const CONNECTS_MS = 5_000;
const PORT = 8_080;

/** Every byte has its place. */
export function pattern(bytes: number): Buffer {
  return Buffer.from(
    Uint32Array.from({ length: Math.ceil(bytes / 4) }, (_, i) => Math.imul(i, 0x9e3779b1)).buffer,
  ).subarray(0, bytes);
}

const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/**
 * Sends so many bytes there, which sends them back; fails when they are other ones.
 * @param at where it is reached, when that is not its own address
 */
export async function exchange(
  from: LabContainer,
  to: LabContainer,
  family: Family,
  bytes: number,
  port = PORT,
  at = to.address[family],
) {
  const server = listenTcp(to.netns, to.address[family], port, (connection) => connection.pipe(connection));
  try {
    await echoed(connectTcp(from.netns, from.address[family], at, port, CONNECTS_MS), bytes);
  } finally {
    server.close();
  }
}

export async function echoed(connection: Socket, bytes: number): Promise<void> {
  const sent = pattern(bytes);
  const received: Buffer[] = [];
  try {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    connection.on("data", (chunk: Buffer) => void received.push(chunk)).on("end", resolve);
    connection.on("error", reject).on("close", () => reject(new Error("the connection was closed before its end")));
    connection.end(sent);
    await promise;
  } finally {
    connection.destroy();
  }
  assert.equal(digest(Buffer.concat(received)), digest(sent), `${bytes} bytes come back as they were sent`);
}

/** Whether a connection can be made there. @param timeoutMs how long is waited in vain */
export function connects(
  from: LabContainer,
  to: LabContainer,
  family: Family,
  timeoutMs: number,
  port = PORT,
): boolean {
  const server = listenTcp(to.netns, to.address[family], port, (connection) => connection.destroy());
  try {
    connectTcp(from.netns, from.address[family], to.address[family], port, timeoutMs).destroy();
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/** Both ends of UDP between two containers, and all frames at the receiver's device, until `close`. */
export class UdpFlow {
  readonly #from: UdpSocket;
  readonly #to: UdpSocket;
  readonly #frames: RawSocket;
  readonly #destination: LabContainer;
  readonly family: Family;
  readonly #port: number;

  /** @param ports of the sender and of the receiver */
  constructor(from: LabContainer, to: LabContainer, family: Family, ports: readonly [number, number] = [0, PORT]) {
    this.family = family;
    this.#port = ports[1];
    this.#destination = to;
    this.#from = UdpSocket.open(from.netns, from.address[family], ports[0]);
    this.#to = UdpSocket.open(to.netns, to.address[family], ports[1]);
    this.#frames = RawSocket.onDevice(to.netns.path, "eth0");
  }

  set(...option: Parameters<UdpSocket["set"]>): void {
    this.#from.set(...option);
  }

  /** @throws SystemCallError EMSGSIZE */
  send(datagram: Uint8Array): void {
    this.#from.send(this.#destination.address[this.family], this.#port, datagram);
  }

  /** Sends it, and waits until it is there, as it was. @returns the IP packet, from its header on; of fragments the last */
  async carry(datagram: Buffer): Promise<Buffer> {
    this.received();
    this.send(datagram);
    const [[first], frames] = await waitFor(`${datagram.length} bytes to arrive`, ARRIVES_MS, async () => {
      const [datagrams, seen] = this.received();
      return datagrams.length > 0 ? ([datagrams, seen] as const) : undefined;
    });
    assert.ok(first?.equals(datagram), "it arrives as it was sent");
    return frames.at(-1) ?? assert.fail("its frame is seen");
  }

  /** Datagrams, and IP packets of this family, since the last time. */
  received(): [datagrams: Buffer[], packets: Buffer[]] {
    const datagrams = this.#to.received();
    const type = this.family === 4 ? 0x0800 : 0x86dd;
    const mine = this.#frames.received().map((frame) => Buffer.from(frame));
    const to = Buffer.from(ipToBytes(this.#destination.address[this.family]));
    const isMine = (frame: Buffer) =>
      frame.readUInt16BE(12) === type && frame.subarray(14).includes(to) && isUdpOrFragment(frame.subarray(14));
    return [datagrams, mine.filter(isMine).map((frame) => frame.subarray(14))];
  }

  /** As `received`, of all that was sent before a mark: that is sent last, and waited for. */
  async receivedUntilMark(mark: () => void): Promise<[datagrams: Buffer[], packets: Buffer[]]> {
    const [datagrams, packets]: [Buffer[], Buffer[]] = [[], []];
    mark();
    await waitFor("the mark", ARRIVES_MS, async () => {
      const [more, seen] = this.received();
      datagrams.push(...more);
      packets.push(...seen);
      return datagrams.some((datagram) => datagram.equals(MARK)) ? true : undefined;
    });
    const isMark = (bytes: Buffer) => bytes.includes(MARK);
    return [datagrams.filter((bytes) => !isMark(bytes)), packets.filter((bytes) => !isMark(bytes))];
  }

  close(): void {
    this.#from.close();
    this.#to.close();
    this.#frames.close();
  }
}

/** Says that all that was sent before should be there. */
export const MARK = Buffer.from("the last one");

function isUdpOrFragment(packet: Buffer): boolean {
  const isIpv4 = packet.readUInt8(0) >> 4 === 4;
  return [17, 44].includes(packet.readUInt8(isIpv4 ? 9 : 6));
}

/** The fields that a packet is looked at for. */
export function fieldsOf(packet: Buffer): { readonly hops: number; readonly dscp: number; readonly ecn: number } {
  const isIpv4 = packet.readUInt8(0) >> 4 === 4;
  const tos = isIpv4 ? packet.readUInt8(1) : (packet.readUInt16BE(0) >> 4) & 0xff;
  return { hops: packet.readUInt8(isIpv4 ? 8 : 7), dscp: tos >> 2, ecn: tos & 3 };
}
