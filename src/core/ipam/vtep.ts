/**
 * Addresses of the tunnel's ends: one IPv4 and, where there is a pool, one IPv6 per node, and the MAC that follows from
 * the IPv4 address (spec: overlay §2.3).
 */
import {
  addressCount,
  addressOf,
  type Cidr,
  familyOf,
  type IpInterface,
  ipToBytes,
  lengthOf,
  nthAddress,
  withLength,
} from "../../model/ip.ts";
import { bytesToMac, type Mac, mac, macToBytes } from "../../model/mac.ts";
import { Pool } from "./pool.ts";

/** Three bytes of the OUI, then the low three of the VTEP's IPv4 address: unique as long as the pool is a /8 or less. */
export function vtepMac(oui: string, vtepIp: IpInterface): Mac {
  const bytes = macToBytes(mac(oui.toLowerCase()));
  bytes.set(ipToBytes(addressOf(vtepIp)).subarray(1), 3);
  return bytesToMac(bytes);
}

/** The VTEP addresses of one family, each with the length of the pool. The first and the last one are never given. */
export function vtepPool(space: Cidr): Pool<IpInterface> {
  const length = lengthOf(space);
  return new Pool({
    kind: familyOf(space) === 4 ? "ip" : "ip6",
    space,
    length,
    stepBits: 0,
    first: 1n,
    last: addressCount(space) - 2n,
    itemAt: (index) => withLength(nthAddress(space, index), length),
  });
}
