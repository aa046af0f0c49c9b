/**
 * Raw frames on a device of another network namespace, as a program in a container with CAP_NET_RAW sends and sees them
 * (packet(7)), and UDP at an address there. A socket stays in the namespace that it was made in, so that a test itself
 * holds both ends of an attack.
 */
import koffi from "koffi";
import { closeFd, receive, SystemCallError, send } from "../../src/io/kernel/ffi.ts";
import { inNetns, openNetns } from "../../src/io/kernel/netns.ts";
import { type Ip, ipToBytes } from "../../src/model/ip.ts";

const program = koffi.load(null);
const socket = program.func("int socket(int domain, int type, int protocol)");
const bind = program.func("int bind(int fd, const void *address, unsigned int length)");
const ifNameToIndex = program.func("unsigned int if_nametoindex(const char *name)");

const AF_INET = 2;
const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
/** SOCK_NONBLOCK | SOCK_CLOEXEC */
const FLAGS = 0o2004000;
/** All protocols, in network order. */
const ETH_P_ALL = 0x0300;
const DATAGRAM_MAX_BYTES = 65_536;

export class RawSocket {
  readonly #fd: number;
  readonly #buffer = new Uint8Array(DATAGRAM_MAX_BYTES);

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** All frames of a device in the namespace at `netnsPath`, both directions. */
  static onDevice(netnsPath: string, device: string): RawSocket {
    return RawSocket.#open(netnsPath, AF_PACKET, SOCK_RAW, ETH_P_ALL, () => {
      const address = new DataView(new ArrayBuffer(20)); // struct sockaddr_ll
      address.setUint16(0, AF_PACKET, true);
      address.setUint16(2, ETH_P_ALL, true);
      address.setInt32(4, ifNameToIndex(device), true);
      return new Uint8Array(address.buffer);
    });
  }

  /** What comes to a UDP port of this IPv4 address of the namespace. */
  static onUdp(netnsPath: string, ip: Ip, port: number): RawSocket {
    return RawSocket.#open(netnsPath, AF_INET, SOCK_DGRAM, 0, () => {
      const address = new DataView(new ArrayBuffer(16)); // struct sockaddr_in
      address.setUint16(0, AF_INET, true);
      address.setUint16(2, port, false);
      const bytes = new Uint8Array(address.buffer);
      bytes.set(ipToBytes(ip), 4);
      return bytes;
    });
  }

  static #open(netnsPath: string, domain: number, type: number, protocol: number, address: () => Uint8Array) {
    const netns = openNetns(netnsPath);
    try {
      return inNetns(netns, () => {
        const fd = checked("socket", socket(domain, type | FLAGS, protocol));
        const name = address();
        checked("bind", bind(fd, name, name.length));
        return new RawSocket(fd);
      });
    } finally {
      netns.close();
    }
  }

  send(frame: Uint8Array): void {
    send(this.#fd, frame);
  }

  /** What has come since it was asked last. */
  received(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (;;) {
      const length = receive(this.#fd, this.#buffer);
      if (length === undefined) return frames;
      frames.push(this.#buffer.slice(0, length));
    }
  }

  close(): void {
    closeFd(this.#fd);
  }
}

function checked(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, koffi.errno());
  return result;
}
