/**
 * The table at the veths' ingress: what a container may send (docs/decisions/0016), and how it reaches nodes (nodes.ts).
 *
 * A packet passes only with the MAC and an address that were leased; whatever no rule lets through is dropped, ARP
 * included, since both ends of a veth know each other from the start. The common packet meets few expressions: its own
 * chain has one rule for each address, and what all containers must not send is in one chain per family. Before that one
 * comes the chain of a network that does not talk to all (isolation.ts).
 */
import { type Attachment, addressesOf } from "../../model/attachment.ts";
import { cidr, type Family, familyOf, hostCidr, type Ip } from "../../model/ip.ts";
import { OWNER, VXLAN_PORT } from "../../model/names.ts";
import type { NftChain, NftRule, NftStatement, NftTable } from "../host/host-state.ts";
import { limits } from "./bandwidth.ts";
import { type OverlayContext, servedFamilies } from "./context.ts";
import { leasedChainName, leasedChainOf, senderGates } from "./isolation.ts";
import { type NodeEntries, nodeMaps, toNodes } from "./nodes.ts";
import { containerMtu } from "./vtep.ts";

const accept: NftStatement = { kind: "accept" };
const drop: NftStatement = { kind: "drop" };

const DHCP = { server4: 67, client4: 68, server6: 547, client6: 546 } as const;

/** A VTEP takes what anybody sends to its port, and whatever source there is inside. */
const TUNNEL_PACKET: NftRule = [range("udp dport", VXLAN_PORT), drop];

/** By which a container would pose as the host, a router, a DHCP server or a node: harmful wherever it arrives. */
const FORBIDDEN: Readonly<Record<Family, readonly NftRule[]>> = {
  4: [
    // The kernel refuses them too, except where host ports or somebody else made it not (route_localnet).
    [{ kind: "match", field: "ip daddr", op: "==", prefix: cidr("127.0.0.0/8") }, drop],
    [range("icmp type", 5), drop], // redirect
    [range("udp sport", DHCP.server4), drop],
    [range("udp dport", DHCP.client4), drop],
    TUNNEL_PACKET,
  ],
  6: [
    [range("icmpv6 type", 133, 137), drop], // router solicitation to redirect
    [range("udp sport", DHCP.server6), drop],
    [range("udp dport", DHCP.client6), drop],
    TUNNEL_PACKET,
  ],
};

export function ingressTable(
  entries: NodeEntries,
  attachments: readonly Attachment[],
  context: OverlayContext,
): NftTable {
  const gates = senderGates(context);
  return {
    family: "netdev",
    name: OWNER,
    chains: [
      ...servedFamilies(context).map((family) => leasedChain(family, context)),
      ...gates.chains,
      ...attachments.map((attachment) => ingressChain(attachment, context)),
    ],
    maps: [...nodeMaps(entries, context), ...gates.maps],
  };
}

/** The chain of one host veth, named like it. */
export function ingressChain(attachment: Attachment, context: OverlayContext): NftChain {
  const device = attachment.hostIfname;
  const addresses = addressesOf(attachment).filter((address) => servedFamilies(context).includes(familyOf(address)));
  return {
    name: device,
    hook: { type: "filter", hook: "ingress", priority: 0, device, policy: "drop" },
    rules: [
      ...limits(attachment, containerMtu(context)).map((limit): NftRule => [limit, drop]),
      ...(attachment.docker === undefined ? [] : questions(attachment, addresses)),
      ...addresses.map((address) => leasedRule(address, attachment, context)),
    ],
  };
}

/**
 * Who has the gateway: asked until the container is told (attach.ts), and answered by the host alone. Under its own address
 * only: the host remembers whoever asks, and has room for so many.
 */
function questions({ mac }: Attachment, addresses: readonly Ip[]): readonly NftRule[] {
  const own: NftStatement = { kind: "ether saddr", op: "==", mac };
  return addresses.map((address): NftRule => {
    if (familyOf(address) === 4) return [own, { kind: "arp saddr ip", ip: address }, accept];
    return [source(address), own, range("icmpv6 type", 135), accept];
  });
}

function source(address: Ip): NftStatement {
  const field = familyOf(address) === 4 ? "ip saddr" : "ip6 saddr";
  return { kind: "match", field, op: "==", prefix: hostCidr(address) };
}

function leasedRule(address: Ip, { mac, network }: Attachment, context: OverlayContext): NftRule {
  return [
    source(address),
    { kind: "ether saddr", op: "==", mac },
    { kind: "jump", chain: leasedChainOf(network, familyOf(address), context) },
  ];
}

/** What a packet with a leased source meets. */
function leasedChain(family: Family, context: OverlayContext): NftChain {
  return { name: leasedChainName(family), rules: [...FORBIDDEN[family], ...toNodes(family, context), [accept]] };
}

function range(
  field: "icmp type" | "icmpv6 type" | "udp sport" | "udp dport",
  first: number,
  last = first,
): NftStatement {
  return { kind: "range", field, first, last };
}
