/**
 * Links in rtnetlink: VXLAN devices, bridges, veth pairs, and whatever else a host has.
 *
 * A link is made down. A veth's other end is made by the same message, straight in its namespace and under its final
 * name. Sources: linux/if_link.h, linux/veth.h, linux/if.h.
 */
import type { KernelOp, Link, VethLink, VxlanLink } from "../../../core/host/host-state.ts";
import { assert } from "../../../model/fault.ts";
import { bytesToIp, familyOf, type Ip, ipToBytes } from "../../../model/ip.ts";
import { bytesToMac, type Mac, macToBytes } from "../../../model/mac.ts";
import { type DeviceConf, decodeDeviceConf } from "./device-conf.ts";
import { AF_INET6 } from "./family.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  malformed,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REQUEST,
  readU32,
} from "./message.ts";

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
/** struct ifinfomsg */
const IFINFO_BYTES = 16;
const IFF_UP = 1;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_QDISC = 6;
const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
const IFLA_AF_SPEC = 26;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_NUM_TX_QUEUES = 31;
const IFLA_NUM_RX_QUEUES = 32;
const RTEXT_FILTER_SKIP_STATS = 8;

const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_INFO_SLAVE_KIND = 4;
const VETH_INFO_PEER = 1;
const IFLA_VXLAN_ID = 1;
const IFLA_VXLAN_LOCAL = 4;
const IFLA_VXLAN_LEARNING = 7;
const IFLA_VXLAN_PORT = 15;
const IFLA_VXLAN_LOCAL6 = 17;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;

/** The device's index, or `undefined` when there is no such device. */
export type IndexOf = (device: string) => number | undefined;
/** The name of the device with this index, or `undefined` when there is none any more. */
export type NameOf = (ifindex: number) => string | undefined;

export type NewLink = Extract<KernelOp, { op: "link.add" }>["link"];
type LinkChange = Omit<Extract<KernelOp, { op: "link.set" }>, "op">;

/**
 * Makes the link, down. Its alias needs a message of its own (`encodeLinkMarks`): the kernel reads none here.
 * @param peerNetnsFd where the other end of a veth is made; absent: beside it
 */
export function encodeLinkAdd(writer: MessageWriter, link: NewLink, peerNetnsFd?: number): void {
  writer.message(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, () => {
    writeIfinfo(writer);
    writeIdentity(writer, link.name, link.mac, link.mtu);
    if (link.kind === "veth") writeQueues(writer);
    writer.nested(IFLA_LINKINFO, () => {
      writer.attributeString(IFLA_INFO_KIND, link.kind);
      if (link.kind === "vxlan") writer.nested(IFLA_INFO_DATA, () => writeVxlan(writer, link));
      if (link.kind === "veth") writer.nested(IFLA_INFO_DATA, () => writePeer(writer, link, peerNetnsFd));
    });
  });
}

/** Sets the alias of a link that was just made, and keeps the kernel from giving it link-local IPv6 addresses. */
export function encodeLinkMarks(writer: MessageWriter, link: NewLink, ipv6: boolean): void {
  writer.message(RTM_NEWLINK, NLM_F_REQUEST, () => {
    writeIfinfo(writer);
    writer.attributeString(IFLA_IFNAME, link.name);
    if (link.alias !== undefined) writer.attribute(IFLA_IFALIAS, Buffer.from(link.alias));
    if (!ipv6) return;
    writer.nested(IFLA_AF_SPEC, () =>
      writer.nested(AF_INET6, () => writer.attributeU8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE)),
    );
  });
}

export function encodeLinkSet(writer: MessageWriter, change: LinkChange): void {
  writer.message(RTM_NEWLINK, NLM_F_REQUEST, () => {
    writeIfinfo(writer, change.up);
    writeIdentity(writer, change.name, change.mac, change.mtu);
    if (change.alias !== undefined) writer.attribute(IFLA_IFALIAS, Buffer.from(change.alias));
  });
}

export function encodeLinkDelete(writer: MessageWriter, ifindex: number): void {
  writer.message(RTM_DELLINK, NLM_F_REQUEST, () => writeIfinfo(writer, undefined, ifindex));
}

/** Asks for all links, or for the one with this name or this index. */
export function encodeLinkGet(writer: MessageWriter, link?: string | number): void {
  writer.message(RTM_GETLINK, NLM_F_REQUEST | (link === undefined ? NLM_F_DUMP : 0), () => {
    writeIfinfo(writer, undefined, typeof link === "number" ? link : 0);
    writer.attributeU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    if (typeof link === "string") writer.attributeString(IFLA_IFNAME, link);
  });
}

export interface NumberedLink {
  readonly ifindex: number;
  readonly link: Link;
  /** The kind of the qdisc at its root. */
  readonly qdisc: string;
  readonly conf: DeviceConf;
}

/** The index alone. */
export function decodeIfindex({ payload }: Message): number {
  return readU32(payload, 4);
}

/** @throws Fault kernel-refused on garbage */
export function decodeLink(message: Message): NumberedLink {
  const { payload } = message;
  const attributes = new Attributes(payload, IFINFO_BYTES);
  const name = attributes.string(IFLA_IFNAME);
  if (name === undefined) throw malformed("a link without a name");
  const mac = macOf(attributes.bytes(IFLA_ADDRESS));
  const alias = attributes.string(IFLA_IFALIAS);
  const mtu = attributes.u32(IFLA_MTU);
  const common = {
    name,
    up: (readU32(payload, 8) & IFF_UP) !== 0,
    ...(mtu !== undefined && { mtu }),
    ...(mac !== undefined && { mac }),
    ...(alias !== undefined && { alias }),
  };
  const info = attributes.nested(IFLA_LINKINFO);
  const isPort = info?.string(IFLA_INFO_SLAVE_KIND) === "bridge";
  const qdisc = attributes.string(IFLA_QDISC) ?? "";
  const conf = decodeDeviceConf(attributes);
  return {
    ifindex: readU32(payload, 4),
    qdisc,
    conf,
    link: { ...common, ...(isPort && { isPort }), ...kindOf(info) },
  };
}

type VxlanKind = Pick<VxlanLink, "kind" | "vni" | "port" | "local" | "learning">;

function kindOf(info: Attributes | undefined): VxlanKind | { readonly kind: "bridge" | "veth" | "device" } {
  const kind = info?.string(IFLA_INFO_KIND);
  if (kind === "bridge" || kind === "veth") return { kind };
  const data = kind === "vxlan" ? info?.nested(IFLA_INFO_DATA) : undefined;
  if (data === undefined) return { kind: "device" };
  const local = ipOf(data.bytes(IFLA_VXLAN_LOCAL), 4) ?? ipOf(data.bytes(IFLA_VXLAN_LOCAL6), 16);
  return {
    kind: "vxlan",
    vni: data.u32(IFLA_VXLAN_ID) ?? 0,
    port: data.u16BigEndian(IFLA_VXLAN_PORT) ?? 0,
    ...(local !== undefined && { local }),
    learning: data.u8(IFLA_VXLAN_LEARNING) === 1,
  };
}

/** An address of all zeros means none. */
function ipOf(bytes: Uint8Array | undefined, length: 4 | 16): Ip | undefined {
  return bytes?.length === length && bytes.some((byte) => byte !== 0) ? bytesToIp(bytes) : undefined;
}

/** Tunnels have addresses of other lengths, the loopback device one of zeros: neither is a MAC. */
function macOf(bytes: Uint8Array | undefined): Mac | undefined {
  return bytes?.length === 6 && bytes.some((byte) => byte !== 0) ? bytesToMac(bytes) : undefined;
}

/** `up` absent: the flag is left as it is. `ifindex` 0: a name says which, or all are meant. */
function writeIfinfo(writer: MessageWriter, up?: boolean, ifindex = 0): void {
  writer.u32(0); // family, padding, type
  writer.u32(ifindex);
  writer.u32(up === true ? IFF_UP : 0);
  writer.u32(up === undefined ? 0 : IFF_UP); // which flags change
}

function writeIdentity(writer: MessageWriter, name: string, mac: Mac | undefined, mtu: number | undefined): void {
  writer.attributeString(IFLA_IFNAME, name);
  if (mac !== undefined) writer.attribute(IFLA_ADDRESS, macToBytes(mac));
  if (mtu !== undefined) writer.attributeU32(IFLA_MTU, mtu);
}

/** One of each is used in any case; unless told so, the kernel makes one for every processor, which takes a third longer. */
function writeQueues(writer: MessageWriter): void {
  writer.attributeU32(IFLA_NUM_TX_QUEUES, 1);
  writer.attributeU32(IFLA_NUM_RX_QUEUES, 1);
}

function writeVxlan(writer: MessageWriter, link: VxlanLink): void {
  writer.attributeU32(IFLA_VXLAN_ID, link.vni);
  writer.attributeU16BigEndian(IFLA_VXLAN_PORT, link.port);
  writer.attributeU8(IFLA_VXLAN_LEARNING, link.learning ? 1 : 0);
  if (link.local !== undefined)
    writer.attribute(familyOf(link.local) === 4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, ipToBytes(link.local));
}

function writePeer(writer: MessageWriter, link: VethLink, netnsFd: number | undefined): void {
  const { peer } = link;
  assert(peer !== undefined, `the veth ${link.name} is made with its other end`);
  writer.nested(VETH_INFO_PEER, () => {
    // Not up: with a peer that is up the kernel refuses to make the pair (ENOTCONN).
    writeIfinfo(writer);
    writeIdentity(writer, peer.name, peer.mac, peer.mtu);
    writeQueues(writer);
    if (netnsFd !== undefined) writer.attributeU32(IFLA_NET_NS_FD, netnsFd);
  });
}
