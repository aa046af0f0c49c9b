/**
 * What a full host costs a packet of the fast path that may pass: requests a second between two containers of one network on
 * two hosts (model P) that know 1,000 peers, 50 networks of which none lets in all others, and 1,000 special addresses,
 * against hosts that know nothing but each other. Spoofed sources are refused on both.
 */

import type { AgentOverlay, Peer } from "../src/model/cluster.ts";
import { cidr, type Ip, ip, nthSubnet } from "../src/model/ip.ts";
import type { NetworkRules } from "../src/model/isolation.ts";
import { mac } from "../src/model/mac.ts";
import { acrossHosts, compare, levelOf, measured } from "./datapath-sides.ts";
import { bench } from "./figures.ts";
import { openTwoHosts, type Told, wireByWeft } from "./two-hosts.ts";

const NETWORKS = 50;
const ALLOWED = 4;
/** Length of a slice of each network but the containers' own. */
const SLICE = 27;
const PEERS = 1_000;
const SPECIAL = 1_000;
/** The two hosts are 1 and 2. */
const FIRST_PEER = 3;
/** All peers are on the wire. */
const UNDERLAY = 16;

/** Addresses that something else on the host translates, as a load balancer does. */
const SPECIAL_ADDRESSES: readonly Ip[] = Array.from({ length: SPECIAL }, (_, i) => ip(`11.0.${i >> 8}.${i & 255}`));

await bench(
  "datapath-policy",
  async ({ quick, figure, number }) => {
    const level = levelOf(number);
    const full = openTwoHosts("full", { underlay: UNDERLAY });
    const plain = openTwoHosts("plain", { underlay: UNDERLAY });
    await wireByWeft(full, toldToFull, level);
    await wireByWeft(plain, () => ({}), level);
    const { ours, peer } = await compare(
      { ours: acrossHosts(full), peer: acrossHosts(plain) },
      { kind: "tcp-rr", model: "P", number: ({ count, ms }) => (count / ms) * 1e3 },
      quick ? { rounds: 9, ms: 700 } : { rounds: 21, ms: 1_000 },
    );
    figure(measured("rr.p", "1/s", ours, peer, "ratio>=0.98"));
  },
  ["level"],
);

function toldToFull(host: number): Told {
  const networks = networksOf();
  return {
    networks,
    overlaySubnets: networks.flatMap(({ prefixes }) => prefixes),
    overlays: sharesOf(networks, host),
    peers: Array.from({ length: PEERS }, (_, i) => peerOf(networks, FIRST_PEER + i)),
    special: SPECIAL_ADDRESSES,
  };
}

/** The containers' own network first. Every other one is closed, the rest let in the next four. */
function networksOf(): readonly NetworkRules[] {
  const nameOf = (i: number): string => (i % NETWORKS === 0 ? "dcos" : `net${i % NETWORKS}`);
  return Array.from({ length: NETWORKS }, (_, i) => ({
    name: nameOf(i),
    prefixes: [i === 0 ? cidr("9.0.0.0/8") : cidr(`172.16.${i * 4}.0/22`)],
    isolation: i % 2 === 1 ? "closed" : { allow: Array.from({ length: ALLOWED }, (_, n) => nameOf(i + 1 + n)) },
  }));
}

/** A slice of each of the others, as every agent has. */
function sharesOf(networks: readonly NetworkRules[], host: number): readonly AgentOverlay[] {
  return networks.slice(1).flatMap(({ name, prefixes: [subnet] }) => {
    if (subnet === undefined) return [];
    return [{ info: { name, subnet, prefix: SLICE, enabled: true }, subnet: nthSubnet(subnet, SLICE, BigInt(host)) }];
  });
}

/** One with a slice of the containers' network and one of another. */
function peerOf(networks: readonly NetworkRules[], n: number): Peer {
  const others = networks.slice(1).flatMap(({ prefixes }) => prefixes);
  const other = others[n % others.length];
  const bytes = [n >> 8, n & 255] as const;
  const hex = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
  return {
    id: `agent-${n}`,
    ip: ip(`10.0.${bytes[0] + 1}.${bytes[1]}`),
    vtepIp: ip(`44.128.${bytes.join(".")}`),
    vtepMac: mac(`70:b3:d5:80:${hex}`),
    subnets: [
      cidr(`9.${bytes.join(".")}.0/24`),
      // The first two of each are those of the hosts.
      ...(other === undefined ? [] : [nthSubnet(other, SLICE, BigInt(2 + Math.floor(n / others.length)))]),
    ],
  };
}
