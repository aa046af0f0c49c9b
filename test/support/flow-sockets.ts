/**
 * TCP and UDP of both families from inside other network namespaces, for tests of what is on the way: a socket stays in the
 * namespace that it was made in. Options are set by their numbers (ip(7), ipv6(7)), which Node does not offer.
 *
 * A connection is made by a call that waits in the kernel, where both ends answer without this process; from then on it is
 * Node's.
 */
import { createServer, type Server, Socket } from "node:net";
import koffi from "koffi";
import { closeFd, SystemCallError } from "../../src/io/kernel/ffi.ts";
import { inNetns, openNetns } from "../../src/io/kernel/netns.ts";
import { type Family, familyOf, type Ip, ipToBytes } from "../../src/model/ip.ts";

const program = koffi.load(null);
const libc = {
  socket: program.func("int socket(int domain, int type, int protocol)"),
  bind: program.func("int bind(int fd, const void *address, unsigned int length)"),
  listen: program.func("int listen(int fd, int backlog)"),
  connect: program.func("int connect(int fd, const void *address, unsigned int length)"),
  setsockopt: program.func("int setsockopt(int fd, int level, int name, const void *value, unsigned int length)"),
  sendto: program.func(
    "intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *to, unsigned int toLength)",
  ),
  recv: program.func("intptr_t recv(int fd, void *bytes, size_t length, int flags)"),
};

const DOMAINS: Readonly<Record<Family, number>> = { 4: 2, 6: 10 };
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_SNDTIMEO = 21;
const EINTR = 4;
const EAGAIN = 11;
const EISCONN = 106;
const BACKLOG = 16;
const DATAGRAM_MAX_BYTES = 65_536;

/** Level and name of a socket option, by family. */
export const OPTIONS = {
  tos: { 4: [0, 1], 6: [41, 67] },
  hops: { 4: [0, 2], 6: [41, 16] },
  /** 2: DF and no fragments; 0: fragments as it needs; 3: DF, and the size is not looked at. */
  pathMtu: { 4: [0, 10], 6: [41, 23] },
  /** One call's bytes become datagrams of so many (udp(7), UDP_SEGMENT); 0: one. */
  segment: { 4: [17, 103], 6: [17, 103] },
} as const satisfies Record<string, Record<Family, readonly [number, number]>>;

type Place = { readonly path: string };

function check(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, koffi.errno());
  return result;
}

/** struct sockaddr_in, struct sockaddr_in6 */
function socketAddress(address: Ip, port: number): Uint8Array {
  const family = familyOf(address);
  const bytes = Buffer.alloc(family === 4 ? 16 : 28);
  bytes.writeUInt16LE(DOMAINS[family], 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipToBytes(address), family === 4 ? 4 : 8);
  return bytes;
}

function newSocket({ path }: Place, family: Family, type: number): number {
  const netns = openNetns(path);
  try {
    return inNetns(netns, () => check("socket", libc.socket(DOMAINS[family], type | SOCK_CLOEXEC, 0)));
  } finally {
    netns.close();
  }
}

function setOption(fd: number, level: number, name: number, value: Int32Array | BigInt64Array): void {
  check("setsockopt", libc.setsockopt(fd, level, name, value, value.byteLength));
}

function bound(place: Place, type: number, address: Ip, port: number): number {
  const fd = newSocket(place, familyOf(address), type);
  setOption(fd, SOL_SOCKET, SO_REUSEADDR, Int32Array.of(1));
  const name = socketAddress(address, port);
  check("bind", libc.bind(fd, name, name.length));
  return fd;
}

// ---- TCP -----------------------------------------------------------------------------------------------------------

/** Calls `serve` for each connection to the address and port. */
export function listenTcp(place: Place, address: Ip, port: number, serve: (connection: Socket) => void): Server {
  const fd = bound(place, SOCK_STREAM, address, port);
  check("listen", libc.listen(fd, BACKLOG));
  const server = createServer(serve);
  server.listen({ fd });
  return server;
}

/** @param timeoutMs how long the other end may take. @throws SystemCallError when it does not answer */
export function connectTcp(place: Place, from: Ip, to: Ip, port: number, timeoutMs: number): Socket {
  const fd = bound(place, SOCK_STREAM, from, 0);
  try {
    setOption(
      fd,
      SOL_SOCKET,
      SO_SNDTIMEO,
      BigInt64Array.of(BigInt(Math.floor(timeoutMs / 1e3)), BigInt((timeoutMs % 1e3) * 1e3)),
    );
    const name = socketAddress(to, port);
    // A signal, of a child that ended, interrupts the call and not what it waits for.
    while (libc.connect(fd, name, name.length) < 0 && koffi.errno() !== EISCONN)
      check("connect", koffi.errno() === EINTR ? 0 : -1);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return new Socket({ fd });
}

// ---- UDP -----------------------------------------------------------------------------------------------------------

export class UdpSocket {
  readonly #fd: number;
  readonly #family: Family;
  readonly #buffer = new Uint8Array(DATAGRAM_MAX_BYTES);

  private constructor(fd: number, family: Family) {
    this.#fd = fd;
    this.#family = family;
  }

  static open(place: Place, address: Ip, port: number): UdpSocket {
    return new UdpSocket(bound(place, SOCK_DGRAM, address, port), familyOf(address));
  }

  set(option: keyof typeof OPTIONS, value: number): void {
    const [level, name] = OPTIONS[option][this.#family];
    setOption(this.#fd, level, name, Int32Array.of(value));
  }

  /** @throws SystemCallError EMSGSIZE when it is longer than what the kernel knows of the way */
  send(to: Ip, port: number, datagram: Uint8Array): void {
    const name = socketAddress(to, port);
    check("sendto", libc.sendto(this.#fd, datagram, datagram.length, MSG_DONTWAIT, name, name.length));
  }

  /** What has come since it was asked last. */
  received(): Buffer[] {
    const datagrams: Buffer[] = [];
    for (;;) {
      const length: number = libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
      if (length < 0 && koffi.errno() === EAGAIN) return datagrams;
      datagrams.push(Buffer.from(this.#buffer.slice(0, check("recv", length))));
    }
  }

  close(): void {
    closeFd(this.#fd);
  }
}
