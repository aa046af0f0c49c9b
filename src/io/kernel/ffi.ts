/**
 * The libc calls that Node does not offer, and the only file that uses koffi.
 *
 * koffi does not know how long a buffer is: a wrong length would corrupt the heap. So no function here takes a length;
 * each passes the buffer's own. Only non-blocking descriptors are made, every call returns at once (what the kernel does
 * before it returns can be moved to a thread: `sendInThread`). A call that fails throws `SystemCallError`; descriptors are plain numbers and may be closed with `closeFd`.
 */
import { closeSync } from "node:fs";
import { endianness } from "node:os";
import { getSystemErrorMap } from "node:util";
import koffi from "koffi";
import { assert } from "../../model/fault.ts";

// Netlink speaks the machine's byte order; the codecs write little-endian only.
assert(endianness() === "LE", "the machine is little-endian");

// The symbols of the running program: the C library that Node itself is linked with, glibc or musl.
const program = koffi.load(null);
const libc = {
  socket: program.func("int socket(int domain, int type, int protocol)"),
  socketpair: program.func("int socketpair(int domain, int type, int protocol, void *fds)"),
  bind: program.func("int bind(int fd, const void *address, unsigned int length)"),
  send: program.func("intptr_t send(int fd, const void *buffer, size_t length, int flags)"),
  recv: program.func("intptr_t recv(int fd, void *buffer, size_t length, int flags)"),
  setsockopt: program.func("int setsockopt(int fd, int level, int name, const void *value, unsigned int length)"),
  getsockopt: program.func("int getsockopt(int fd, int level, int name, void *value, void *length)"),
  dup3: program.func("int dup3(int from, int to, int flags)"),
  setns: program.func("int setns(int fd, int type)"),
  unshare: program.func("int unshare(int flags)"),
  ioctl: program.func("int ioctl(int fd, unsigned long request, unsigned long argument)"),
  bpf: program.func("syscall", "long", ["long", "int", "void *", "unsigned int"]),
  mmap: program.func("void *mmap(void *at, size_t length, int protection, int flags, int fd, intptr_t offset)"),
  sysconf: program.func("long sysconf(int name)"),
  munmap: program.func("int munmap(void *at, size_t length)"),
};

/** The number of bpf(2), which no C library has a function for. */
const SYS_BPF = process.arch === "x64" ? 321 : 280;
const SC_PAGESIZE = 30;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

const SOCK_STREAM = 1;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const O_CLOEXEC = 0o2000000;
const AF_UNIX = 1;
const AF_NETLINK = 16;
const MSG_TRUNC = 0x20;
const CLONE_NEWNET = 0x40000000;
/** linux/nsfs.h: the CLONE_ flag of the namespace that a descriptor is open on. */
const NS_GET_NSTYPE = 0xb703;

const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

const EINTR = 4;
const EAGAIN = 11;
const ENOPROTOOPT = 92;

/** A system call that failed. `code` is the name of the errno ("EPERM"), which is negative as in Node's own errors. */
export class SystemCallError extends Error {
  readonly code: string;
  readonly errno: number;

  constructor(call: string, errno: number) {
    const { name, text } = errnoText(errno);
    super(`${call}: ${text} (${name})`);
    this.name = "SystemCallError";
    this.code = name;
    this.errno = -errno;
  }
}

/** Name and text of a positive errno: 17 → `EEXIST`, `file already exists`. */
export function errnoText(errno: number): { readonly name: string; readonly text: string } {
  const [name, text] = getSystemErrorMap().get(-errno) ?? EXTRA_ERRNOS[errno] ?? [`E${errno}`, `error ${errno}`];
  return { name, text };
}

/** Those that netlink answers with and that libuv has no name for (asm-generic/errno.h). */
const EXTRA_ERRNOS: Readonly<Record<number, readonly [string, string]>> = {
  34: ["ERANGE", "number out of range"],
  61: ["ENODATA", "no data available"],
  85: ["ERESTART", "interrupted, try again"],
  96: ["EPFNOSUPPORT", "protocol family not supported"],
};

function check(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, koffi.errno());
  return result;
}

export function netlinkSocket(protocol: number): number {
  return check("socket(AF_NETLINK)", libc.socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
}

/** Two connected stream sockets. */
export function streamPair(): readonly [number, number] {
  const fds = new Int32Array(2);
  check("socketpair", libc.socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
  return [fds[0] ?? -1, fds[1] ?? -1];
}

/** Binds a netlink socket to a port of the kernel's choice, and to no groups. */
export function bindNetlink(fd: number): void {
  const address = new Uint8Array(12); // struct sockaddr_nl: family, padding, port, groups
  address[0] = AF_NETLINK;
  check("bind", libc.bind(fd, address, address.length));
}

/** Sends the whole buffer as one datagram. */
export function send(fd: number, datagram: Uint8Array): void {
  for (;;) {
    if (libc.send(fd, datagram, datagram.length, 0) >= 0) return;
    const errno = koffi.errno();
    if (errno !== EINTR) throw new SystemCallError("send", errno);
  }
}

/**
 * As `send`, in a thread: for a request that the kernel takes its time over. `datagram` stays as it is until then.
 * @returns whether it was sent; if not, `send` says why
 */
export function sendInThread(fd: number, datagram: Uint8Array): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  libc.send.async(fd, datagram, datagram.length, 0, (error: Error | null, length: number) => {
    if (error === null) resolve(length >= 0);
    else reject(error);
  });
  return promise;
}

/** Reads one datagram into `into`; its length, or `undefined` when none waits. One that does not fit is an error. */
export function receive(fd: number, into: Uint8Array): number | undefined {
  for (;;) {
    const length: number = libc.recv(fd, into, into.length, MSG_TRUNC);
    if (length >= 0) {
      assert(length <= into.length, `a datagram of ${length} bytes fits the buffer of ${into.length}`);
      return length;
    }
    const errno = koffi.errno();
    if (errno === EAGAIN) return undefined;
    if (errno !== EINTR) throw new SystemCallError("recv", errno);
  }
}

export function setSocketOption(fd: number, level: number, name: number, value: number): void {
  const bytes = Int32Array.of(value);
  check(`setsockopt(${level}, ${name})`, libc.setsockopt(fd, level, name, bytes, bytes.byteLength));
}

/** The number of the network namespace that a socket is in, which no other has until the next boot; Linux 5.14 and up. */
export function netnsCookie(fd: number): bigint | undefined {
  const cookie = new BigUint64Array(1);
  const length = Uint32Array.of(cookie.byteLength);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, length) === 0) return cookie[0];
  const errno = koffi.errno();
  if (errno === ENOPROTOOPT) return undefined;
  throw new SystemCallError("getsockopt(SO_NETNS_COOKIE)", errno);
}

/** Makes `to` another name of the open file `from`; whatever `to` was before is closed. */
export function duplicateOnto(from: number, to: number): void {
  check("dup3", libc.dup3(from, to, O_CLOEXEC));
}

/** Moves the calling thread into the network namespace that `fd` is open on. */
export function setNetns(fd: number): void {
  check("setns", libc.setns(fd, CLONE_NEWNET));
}

/** Moves the calling thread into a new, empty network namespace. */
export function unshareNetns(): void {
  check("unshare(CLONE_NEWNET)", libc.unshare(CLONE_NEWNET));
}

/** Whether `fd` is open on a network namespace (and not on another kind, or on no namespace at all). */
export function isNetns(fd: number): boolean {
  return libc.ioctl(fd, NS_GET_NSTYPE, 0) === CLONE_NEWNET;
}

/**
 * bpf(2). Its attributes hold addresses: of buffers that the caller keeps until it returns (`addressOf`).
 * @returns what the kernel answered, a negative errno among it: for many calls an error is an answer
 */
export function bpf(command: number, attributes: Uint8Array): number {
  const result: number = libc.bpf(SYS_BPF, command, attributes, attributes.byteLength);
  return result < 0 ? -koffi.errno() : result;
}

/** Where the buffer is in memory, for a structure that names it. */
export function addressOf(buffer: Uint8Array): bigint {
  return koffi.address(buffer);
}

/** Bytes of a page of this machine. */
export function pageSize(): number {
  return Number(libc.sysconf(SC_PAGESIZE));
}

/** Memory that is shared with the kernel. */
export interface SharedMemory {
  readonly bytes: Uint8Array;
  /** After it `bytes` must not be touched. */
  unmap(): void;
}

/** Maps `length` bytes of what `fd` is open on. @param offset a multiple of the page */
export function mapShared(fd: number, length: number, offset: number, isWritable: boolean): SharedMemory {
  const protection = isWritable ? PROT_READ | PROT_WRITE : PROT_READ;
  const at: unknown = libc.mmap(null, length, protection, MAP_SHARED, fd, offset);
  if (BigInt.asIntN(64, koffi.address(at)) === -1n) throw new SystemCallError("mmap", koffi.errno());
  const bytes = new Uint8Array(koffi.view(at, length));
  return { bytes, unmap: () => void check("munmap", libc.munmap(at, length)) };
}

export function closeFd(fd: number): void {
  closeSync(fd);
}
