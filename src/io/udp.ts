/**
 * Datagrams over node:dgram, behind the Udp port.
 *
 * Bound to one address of the host and not to all of them: answers leave with the address that was asked, and the seal of
 * a datagram names the two addresses it goes between (docs/decisions/0024). Nothing here throws once the socket is open;
 * what the kernel refuses is counted.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { Fault, type FaultCode } from "../model/fault.ts";
import { type Family, familyOf, parseIp } from "../model/ip.ts";
import { UDP_RECEIVE_BUFFER_BYTES } from "../model/limits.ts";
import type { SendClass, Udp, UdpAddress, UdpRefusal, UdpSocket } from "./ports.ts";
import { countErrno, countRefusal, newUdpCounters, queueIsFull, refusalOf } from "./udp-rules.ts";

export const SYSTEM_UDP: Udp = {
  open: async (at, onDatagram) => {
    const family = familyOf(at.ip);
    const socket = createSocket({
      type: family === 4 ? "udp4" : "udp6",
      ipv6Only: family === 6,
      // Addresses are given, never names. Node's own look-up would put off each datagram to a later turn.
      lookup: (address, _options, found) => found(null, address, family),
    });
    await bind(socket, at);
    return new DgramSocket(socket, at, onDatagram);
  },
};

class DgramSocket implements UdpSocket {
  readonly local: UdpAddress;
  readonly receiveBufferBytes: number;
  readonly counters = newUdpCounters();
  readonly #family: Family;
  readonly #socket: Socket;
  #closed: Promise<void> | undefined;

  constructor(socket: Socket, at: UdpAddress, onDatagram: (datagram: Buffer, from: UdpAddress) => void) {
    this.#socket = socket;
    this.#family = familyOf(at.ip);
    this.local = { ip: at.ip, port: socket.address().port };
    socket.setRecvBufferSize(UDP_RECEIVE_BUFFER_BYTES);
    this.receiveBufferBytes = socket.getRecvBufferSize();
    socket.on("error", (error) => countErrno(this.counters.receiveFailed, errnoOf(error)));
    socket.on("message", (datagram, from) => this.#receive(datagram, from, onDatagram));
  }

  get queued(): number {
    return this.#closed === undefined ? this.#socket.getSendQueueCount() : 0;
  }

  send(to: UdpAddress, datagram: Uint8Array, sendClass: SendClass): UdpRefusal | undefined {
    const { counters } = this;
    if (this.#closed !== undefined) return countRefusal(counters, "closed", sendClass);
    const refusal = refusalOf(this.#family, to, datagram.length);
    if (refusal !== undefined) return countRefusal(counters, refusal, sendClass);
    if (queueIsFull(this.queued, sendClass)) return countRefusal(counters, "queue-full", sendClass);
    counters.sent++;
    counters.sentBytes += datagram.length;
    this.#socket.send(datagram, to.port, to.ip, (error) => {
      if (error !== null) countErrno(counters.failed, errnoOf(error));
    });
    return undefined;
  }

  #receive(datagram: Buffer, rinfo: RemoteInfo, onDatagram: (datagram: Buffer, from: UdpAddress) => void): void {
    const ip = parseIp(rinfo.address);
    if (ip === undefined) {
      this.counters.unaddressable++;
      return;
    }
    this.counters.received++;
    this.counters.receivedBytes += datagram.length;
    onDatagram(datagram, { ip, port: rinfo.port });
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => this.#socket.close(resolve));
    return this.#closed;
  }
}

const BIND_FAULTS: Readonly<Record<string, readonly [FaultCode, string]>> = {
  EADDRINUSE: ["port-taken", "another process has it; stop it, or give another port"],
  EADDRNOTAVAIL: ["bad-request", "no interface of this host has that address; give one that it has"],
  EACCES: ["no-rights", "a port below 1024 needs CAP_NET_BIND_SERVICE"],
};

function bind(socket: Socket, at: UdpAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      socket.close();
      const [code, why] = BIND_FAULTS[errnoOf(error)] ?? ["bad-request", error.message];
      reject(
        new Fault(code, `cannot receive datagrams at ${at.ip} port ${at.port}: ${why}`, { ip: at.ip, port: at.port }),
      );
    };
    socket.once("error", fail);
    socket.bind({ address: at.ip, port: at.port, exclusive: true }, () => {
      socket.off("error", fail);
      resolve();
    });
  });
}

function errnoOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.name;
}
