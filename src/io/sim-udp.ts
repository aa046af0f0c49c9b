/**
 * A network in memory behind the Udp port, for whole clusters in one process on virtual time.
 *
 * It is as strict as Linux: an address must be a host's, a port free, a datagram short, the family right; loopback reaches
 * loopback only; what goes to nobody vanishes without a word. What happens on the way is one function's decision.
 */
import { Fault } from "../model/fault.ts";
import { cidr, contains, type Family, familyOf, type Ip, ip } from "../model/ip.ts";
import { UDP_RECEIVE_BUFFER_BYTES } from "../model/limits.ts";
import type { Clock, SendClass, Udp, UdpAddress, UdpRefusal, UdpSocket } from "./ports.ts";
import { countErrno, countRefusal, newUdpCounters, queueIsFull, refusalOf } from "./udp-rules.ts";

type OnDatagram = (datagram: Buffer, from: UdpAddress) => void;

/**
 * What becomes of one datagram: the delay of each copy that arrives, in ms. `[]` is lost, `[5]` arrives, `[5, 9]` arrives
 * twice.
 */
export type Fate = (from: UdpAddress, to: UdpAddress, bytes: number) => readonly number[];

const FIRST_EPHEMERAL_PORT = 32_768;
const LOOPBACK = cidr("127.0.0.0/8");
const LOOPBACK6 = ip("::1");
const BROADCAST = ip("255.255.255.255");

export class SimNetwork {
  /** Decides for every datagram; replace it to lose, delay or cut. */
  fate: Fate = () => [0];
  readonly #clock: Clock;
  readonly #sockets = new Map<string, SimSocket>();
  /** Hosts whose interface takes nothing for now, each with what waits in its sockets, in order. */
  readonly #stalled = new Map<Ip, (() => void)[]>();
  #nextPort = FIRST_EPHEMERAL_PORT;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The Udp port of one host that has these addresses. All hosts together are one name space, loopback included. */
  host(...addresses: readonly Ip[]): Udp {
    return { open: async (at, onDatagram) => this.#open(new Set(addresses), at, onDatagram) };
  }

  /** From now on nothing leaves the host with this address: what its sockets take waits, until `resume`. */
  stall(address: Ip): void {
    if (!this.#stalled.has(address)) this.#stalled.set(address, []);
  }

  resume(address: Ip): void {
    const waiting = this.#stalled.get(address) ?? [];
    this.#stalled.delete(address);
    for (const send of waiting) send();
  }

  #open(addresses: ReadonlySet<Ip>, at: UdpAddress, onDatagram: OnDatagram): UdpSocket {
    if (!addresses.has(at.ip))
      throw new Fault(
        "bad-request",
        `cannot receive datagrams at ${at.ip}: no interface of this host has that address`,
      );
    const local = { ip: at.ip, port: at.port === 0 ? this.#freePort(at.ip) : at.port };
    const name = nameOf(local);
    if (this.#sockets.has(name))
      throw new Fault("port-taken", `cannot receive datagrams at ${at.ip} port ${at.port}: another process has it`);
    const socket = new SimSocket(
      local,
      (to, datagram, sent) => this.#send(local, to, datagram, sent),
      () => this.#sockets.delete(name),
      onDatagram,
    );
    this.#sockets.set(name, socket);
    return socket;
  }

  #freePort(address: Ip): number {
    while (this.#sockets.has(nameOf({ ip: address, port: this.#nextPort }))) this.#nextPort++;
    return this.#nextPort++;
  }

  #send(from: UdpAddress, to: UdpAddress, datagram: Buffer, sent: () => void): void {
    const leave = (): void => {
      sent();
      if (!this.#sockets.has(nameOf(from))) return; // what waits in a socket goes with it
      for (const ms of this.fate(from, to, datagram.length))
        this.#clock.after(ms, () => this.#sockets.get(nameOf(to))?.receive(Buffer.from(datagram), from));
    };
    const waiting = this.#stalled.get(from.ip);
    if (waiting === undefined) leave();
    else waiting.push(leave);
  }
}

class SimSocket implements UdpSocket {
  readonly local: UdpAddress;
  readonly receiveBufferBytes = 2 * UDP_RECEIVE_BUFFER_BYTES;
  readonly counters = newUdpCounters();
  readonly #family: Family;
  readonly #put: (to: UdpAddress, datagram: Buffer, sent: () => void) => void;
  readonly #onClose: () => void;
  readonly #onDatagram: OnDatagram;
  #queued = 0;
  #isClosed = false;

  constructor(
    local: UdpAddress,
    put: (to: UdpAddress, datagram: Buffer, sent: () => void) => void,
    onClose: () => void,
    onDatagram: OnDatagram,
  ) {
    this.local = local;
    this.#family = familyOf(local.ip);
    this.#put = put;
    this.#onClose = onClose;
    this.#onDatagram = onDatagram;
  }

  get queued(): number {
    return this.#isClosed ? 0 : this.#queued;
  }

  send(to: UdpAddress, datagram: Uint8Array, sendClass: SendClass): UdpRefusal | undefined {
    const { counters } = this;
    if (this.#isClosed) return countRefusal(counters, "closed", sendClass);
    const refusal = refusalOf(this.#family, to, datagram.length);
    if (refusal !== undefined) return countRefusal(counters, refusal, sendClass);
    if (queueIsFull(this.#queued, sendClass)) return countRefusal(counters, "queue-full", sendClass);
    counters.sent++;
    counters.sentBytes += datagram.length;
    const errno = errnoOf(this.local.ip, to.ip);
    if (errno !== undefined) countErrno(counters.failed, errno);
    else {
      this.#queued++;
      this.#put(to, Buffer.from(datagram), () => this.#queued--);
    }
    return undefined;
  }

  receive(datagram: Buffer, from: UdpAddress): void {
    this.counters.received++;
    this.counters.receivedBytes += datagram.length;
    this.#onDatagram(datagram, from);
  }

  async close(): Promise<void> {
    if (!this.#isClosed) this.#onClose();
    this.#isClosed = true;
  }
}

/** What Linux 6.18 answers before a datagram leaves. */
function errnoOf(from: Ip, to: Ip): string | undefined {
  if (to === BROADCAST) return "EACCES";
  return familyOf(from) === 4 && isLoopback(from) && !isLoopback(to) ? "EINVAL" : undefined;
}

function isLoopback(address: Ip): boolean {
  return address === LOOPBACK6 || contains(LOOPBACK, address);
}

function nameOf(address: UdpAddress): string {
  return `${address.ip} ${address.port}`;
}
