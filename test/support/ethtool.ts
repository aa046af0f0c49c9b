/**
 * What a device does by itself of a packet's checksums, switched as ethtool(8) does it (linux/ethtool.h), without needing
 * the program.
 */
import koffi from "koffi";
import { addressOf, closeFd, SystemCallError } from "../../src/io/kernel/ffi.ts";
import { inNetns, openNetns } from "../../src/io/kernel/netns.ts";

const program = koffi.load(null);
const socket = program.func("int socket(int domain, int type, int protocol)");
const ioctl = program.func("int ioctl(int fd, unsigned long request, void *argument)");

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_STXCSUM = 0x17;
const IFNAME_BYTES = 16;

/** Without it the kernel sums up what it sends before the device sees it, and splits it too. */
export function setTxChecksums(place: { readonly path: string }, dev: string, isOn: boolean): void {
  const netns = openNetns(place.path);
  const fd = inNetns(netns, () => socket(AF_INET, SOCK_DGRAM, 0)) as number;
  netns.close();
  const value = Uint32Array.of(ETHTOOL_STXCSUM, isOn ? 1 : 0);
  const request = Buffer.alloc(40); // struct ifreq
  request.write(dev, "latin1");
  request.writeBigUInt64LE(addressOf(new Uint8Array(value.buffer)), IFNAME_BYTES);
  const result: number = ioctl(fd, SIOCETHTOOL, request);
  const errno = koffi.errno();
  closeFd(fd);
  if (result < 0) throw new SystemCallError(`ioctl(SIOCETHTOOL, ${dev})`, errno);
}
