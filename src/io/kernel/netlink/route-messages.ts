/**
 * Routes in rtnetlink, all of ROUTE_PROTOCOL: others are neither listed nor deleted.
 *
 * IPv6 differs in two ways: the kernel answers with the loopback device for an unreachable route, and gives routes
 * without a metric the metric 1024. Sources: linux/rtnetlink.h, net/ipv4/fib_semantics.c, net/ipv6/route.c.
 */
import type { Route } from "../../../core/host/host-state.ts";
import {
  addressBits,
  addressOf,
  bigIntToIp,
  bytesToIp,
  type Cidr,
  type Family,
  familyOf,
  type Ip,
  ipToBytes,
  lengthOf,
  networkOf,
  withLength,
} from "../../../model/ip.ts";
import { ROUTE_PROTOCOL } from "../../../model/names.ts";
import { AF_INET, AF_INET6, familyNumber } from "./family.ts";
import type { NameOf } from "./link-messages.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  malformed,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  readU32,
} from "./message.ts";

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
/** struct rtmsg */
const ROUTE_BYTES = 12;
const RTA_DST = 1;
const RTA_SRC = 2;
const RTA_METRICS = 8;
const RTA_VIA = 18;
const RTAX_MTU = 2;
/** Of the route's type in struct rtmsg. */
const RTM_TYPE_AT = 7;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_TABLE = 15;
const RTN_UNICAST = 1;
const RTN_UNREACHABLE = 7;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_NOWHERE = 255;
const RTNH_F_ONLINK = 4;

/** `ifindex` is that of `route.dev`, where there is one. */
export function encodeRouteReplace(writer: MessageWriter, route: Route, ifindex: number | undefined): void {
  writer.message(RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE, () => {
    const unicast = route.type === "unicast";
    writeRoute(writer, route, {
      scope: unicast && route.via === undefined && familyOf(route.dst) === 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
      type: unicast ? RTN_UNICAST : RTN_UNREACHABLE,
      flags: route.onlink === true ? RTNH_F_ONLINK : 0,
    });
    writeNextHop(writer, route, ifindex);
    if (route.src !== undefined) writer.attribute(RTA_PREFSRC, ipToBytes(route.src));
  });
}

/** Asks how the kernel reaches an address from one of its own. */
export function encodeRouteGet(writer: MessageWriter, dst: Ip, src: Ip): void {
  const family = familyOf(dst);
  writer.message(RTM_GETROUTE, NLM_F_REQUEST, () => {
    writer.raw([familyNumber(family), addressBits(family), addressBits(family), 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    writer.attribute(RTA_DST, ipToBytes(dst));
    writer.attribute(RTA_SRC, ipToBytes(src));
  });
}

/** The address, and the device by which it is reached; without one where a router or a smaller MTU is on the way. */
export function decodeReach(message: Message, nameOf: NameOf): { readonly dst: Ip; readonly dev?: string } | undefined {
  if (message.type !== RTM_NEWROUTE || message.payload.length < ROUTE_BYTES) return undefined;
  const attributes = new Attributes(message.payload, ROUTE_BYTES);
  const bytes = attributes.bytes(RTA_DST);
  if (bytes?.length !== 4 && bytes?.length !== 16) return undefined;
  const dst = bytesToIp(bytes);
  const oif = attributes.bytes(RTA_OIF);
  const isDirect =
    message.payload[RTM_TYPE_AT] === RTN_UNICAST &&
    [RTA_GATEWAY, RTA_VIA].every((type) => attributes.bytes(type) === undefined) &&
    attributes.nested(RTA_METRICS)?.bytes(RTAX_MTU) === undefined;
  const dev = oif?.length === 4 && isDirect ? nameOf(readU32(oif, 0)) : undefined;
  return { dst, ...(dev !== undefined && { dev }) };
}

/** Deletes by identity. To the kernel a metric of 0 means "whichever": then the next hop tells routes apart. */
export function encodeRouteDelete(writer: MessageWriter, route: Route, ifindex: number | undefined): void {
  writer.message(RTM_DELROUTE, NLM_F_REQUEST, () => {
    writeRoute(writer, route, { scope: RT_SCOPE_NOWHERE, type: 0, flags: 0 });
    if (route.metric === 0) writeNextHop(writer, route, ifindex);
  });
}

/** Asks for the routes of ROUTE_PROTOCOL in every table. */
export function encodeRouteDump(writer: MessageWriter, family: Family): void {
  writer.message(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, () => {
    const header = new Uint8Array(ROUTE_BYTES);
    header[0] = familyNumber(family);
    header[5] = ROUTE_PROTOCOL;
    writer.raw(header);
  });
}

/**
 * `undefined` for what Weft never writes and cannot say: another protocol, a type, several next hops.
 * @throws Fault kernel-refused on garbage
 */
export function decodeRoute(message: Message, nameOf: NameOf): Route | undefined {
  const { payload } = message;
  const attributes = new Attributes(payload, ROUTE_BYTES);
  const family = familyFrom(payload[0]);
  const type = payload[7];
  if (payload[5] !== ROUTE_PROTOCOL || family === undefined) return undefined;
  if (type !== RTN_UNICAST && type !== RTN_UNREACHABLE) return undefined;
  const common = {
    dst: prefixOf(family, attributes.bytes(RTA_DST), payload[1] ?? 0),
    table: attributes.u32(RTA_TABLE) ?? payload[4] ?? 0,
    metric: attributes.u32(RTA_PRIORITY) ?? 0,
  };
  if (type === RTN_UNREACHABLE) return { ...common, type: "unreachable" };
  const ifindex = attributes.u32(RTA_OIF);
  const dev = ifindex === undefined ? undefined : nameOf(ifindex);
  if (dev === undefined) return undefined;
  const via = ipOf(family, attributes.bytes(RTA_GATEWAY));
  const src = ipOf(family, attributes.bytes(RTA_PREFSRC));
  return {
    ...common,
    type: "unicast",
    dev,
    ...(via !== undefined && { via }),
    ...((readU32(payload, 8) & RTNH_F_ONLINK) !== 0 && { onlink: true }),
    ...(src !== undefined && { src }),
  };
}

/** The prefix in a message: the kernel leaves the bytes out when they are zero. Also used by rules. */
export function prefixOf(family: Family, bytes: Uint8Array | undefined, length: number): Cidr {
  const address = ipOf(family, bytes) ?? bigIntToIp(family, 0n);
  if (length > addressBits(family)) throw malformed(`the prefix ${address}/${length}`);
  return networkOf(withLength(address, length));
}

export function familyFrom(number: number | undefined): Family | undefined {
  return number === AF_INET ? 4 : number === AF_INET6 ? 6 : undefined;
}

function ipOf(family: Family, bytes: Uint8Array | undefined): Ip | undefined {
  if (bytes === undefined) return undefined;
  if (bytes.length * 8 !== addressBits(family)) throw malformed(`an IPv${family} address of ${bytes.length} bytes`);
  return bytesToIp(bytes);
}

function writeRoute(writer: MessageWriter, route: Route, header: { scope: number; type: number; flags: number }): void {
  writer.u8(familyNumber(familyOf(route.dst)));
  writer.u8(lengthOf(route.dst));
  writer.u8(0); // source prefix length
  writer.u8(0); // TOS
  writer.u8(route.table < 256 ? route.table : 0); // the attribute counts
  writer.u8(ROUTE_PROTOCOL);
  writer.u8(header.scope);
  writer.u8(header.type);
  writer.u32(header.flags);
  writer.attributeU32(RTA_TABLE, route.table);
  if (lengthOf(route.dst) > 0) writer.attribute(RTA_DST, ipToBytes(addressOf(route.dst)));
  if (route.metric > 0) writer.attributeU32(RTA_PRIORITY, route.metric);
}

function writeNextHop(writer: MessageWriter, route: Route, ifindex: number | undefined): void {
  if (ifindex !== undefined) writer.attributeU32(RTA_OIF, ifindex);
  if (route.via !== undefined) writer.attribute(RTA_GATEWAY, ipToBytes(route.via));
}
