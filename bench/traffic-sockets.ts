/**
 * Blocking IPv4 sockets for traffic-process.ts, which Node does not offer: a call that waits sleeps in the kernel, and what
 * it waited for wakes exactly that thread. An event loop between would cost each request more than the path it measures.
 *
 * koffi adds 0.13 µs to a system call. It does not know how long a buffer is, so no function here takes a length; each
 * passes the buffer's own. A call that fails throws `SystemCallError`.
 */
import koffi from "koffi";
import { SystemCallError } from "../src/io/kernel/ffi.ts";

const program = koffi.load(null);
const libc = {
  socket: program.func("int socket(int domain, int type, int protocol)"),
  bind: program.func("int bind(int fd, const void *address, unsigned int length)"),
  listen: program.func("int listen(int fd, int backlog)"),
  accept4: program.func("int accept4(int fd, void *address, void *length, int flags)"),
  connect: program.func("int connect(int fd, const void *address, unsigned int length)"),
  send: program.func("intptr_t send(int fd, const void *buffer, size_t length, int flags)"),
  recv: program.func("intptr_t recv(int fd, void *buffer, size_t length, int flags)"),
  recvfrom: program.func(
    "intptr_t recvfrom(int fd, void *buffer, size_t length, int flags, void *address, void *addressLength)",
  ),
  shutdown: program.func("int shutdown(int fd, int how)"),
  setsockopt: program.func("int setsockopt(int fd, int level, int name, const void *value, unsigned int length)"),
  close: program.func("int close(int fd)"),
};

const AF_INET = 2;
const SOCK_CLOEXEC = 0o2000000;
const TYPES = { tcp: 1, udp: 2 } as const;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_LINGER = 13;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SHUT_WR = 1;
const BACKLOG = 128;

const ON = Int32Array.of(1);
/** struct linger: on, and no second. */
const AT_ONCE = Int32Array.of(1, 0);

function check(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, koffi.errno());
  return result;
}

/** struct sockaddr_in */
export function socketAddress(address: string, port: number): Uint8Array {
  return Uint8Array.of(AF_INET, 0, port >> 8, port & 0xff, ...address.split(".").map(Number), 0, 0, 0, 0, 0, 0, 0, 0);
}

/** One that listens already (TCP), on all addresses of the namespace. */
export function boundSocket(protocol: "tcp" | "udp", port: number): number {
  const fd = newSocket(protocol);
  setOption(fd, SOL_SOCKET, SO_REUSEADDR, ON);
  const address = socketAddress("0.0.0.0", port);
  check("bind", libc.bind(fd, address, address.length));
  if (protocol === "tcp") check("listen", libc.listen(fd, BACKLOG));
  return fd;
}

/** Waits for a connection. */
export function accept(listener: number): number {
  return check("accept4", libc.accept4(listener, null, null, SOCK_CLOEXEC));
}

export function connected(protocol: "tcp" | "udp", to: Uint8Array): number {
  const fd = newSocket(protocol);
  connect(fd, to);
  return fd;
}

/** A TCP connection that `close` resets: its port is free at once, and does not wait out the minute of TIME_WAIT. */
export function connectedOnce(to: Uint8Array): number {
  const fd = newSocket("tcp");
  setOption(fd, SOL_SOCKET, SO_LINGER, AT_ONCE);
  connect(fd, to);
  return fd;
}

export function connect(fd: number, to: Uint8Array): void {
  check("connect", libc.connect(fd, to, to.length));
}

/** Each write leaves by itself. */
export function sendAtOnce(fd: number): void {
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, ON);
}

/** @returns how many bytes of the buffer were taken: all of them, or some when the other side ended */
export function send(fd: number, buffer: Uint8Array): number {
  return check("send", libc.send(fd, buffer, buffer.length, 0));
}

/** Waits for at least one byte. @returns how many came; 0 when the other side has ended */
export function receive(fd: number, into: Uint8Array): number {
  return check("recv", libc.recv(fd, into, into.length, 0));
}

/** As `receive`, of any sender. @returns its struct sockaddr_in */
export function receiveOfAnyone(fd: number, into: Uint8Array): Uint8Array {
  const sender = new Uint8Array(16);
  check("recvfrom", libc.recvfrom(fd, into, into.length, 0, sender, Uint32Array.of(sender.length)));
  return sender;
}

/** Says that nothing more is sent. */
export function endSending(fd: number): void {
  check("shutdown", libc.shutdown(fd, SHUT_WR));
}

export function close(fd: number): void {
  check("close", libc.close(fd));
}

function newSocket(protocol: keyof typeof TYPES): number {
  return check("socket", libc.socket(AF_INET, TYPES[protocol] | SOCK_CLOEXEC, 0));
}

function setOption(fd: number, level: number, name: number, value: Int32Array): void {
  check("setsockopt", libc.setsockopt(fd, level, name, value, value.byteLength));
}
