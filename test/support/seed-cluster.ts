/**
 * The seeds' three hosts with the default networks (spec: overlay §5.2): 10.0.0.10 takes part without containers, .11
 * and .12 with. Values are literals on purpose: tests compare with what the specification says, not with our arithmetic.
 */

import { EMPTY_HOST_STATE, type HostState } from "../../src/core/host/host-state.ts";
import type { OverlayContext } from "../../src/core/overlay/context.ts";
import type { OverlayInput } from "../../src/core/overlay/desired.ts";
import type { Attachment } from "../../src/model/attachment.ts";
import type { AgentRecord, Assignment, Peer } from "../../src/model/cluster.ts";
import { addressOf, cidr, ip, ipInterface } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { prefixesOf } from "../../src/model/network.ts";

/** The agent number 0, 1 or 2 of the table. Number 0 has no bridges. */
export function seedAgent(n: 0 | 1 | 2): AgentRecord {
  const subnet = cidr(`9.0.${n}.0/24`);
  const subnet6 = cidr(["fd01:b::/80", "fd01:b:0:0:1::/80", "fd01:b:0:0:2::/80"][n] as string);
  const mesos6 = cidr(["fd01:b::/81", "fd01:b:0:0:1::/81", "fd01:b:0:0:2::/81"][n] as string);
  const docker6 = cidr(["fd01:b::8000:0:0/81", "fd01:b::1:8000:0:0/81", "fd01:b::2:8000:0:0/81"][n] as string);
  const bridges = n > 0;
  return {
    id: `agent-${n}`,
    ip: ip(`10.0.0.1${n}`),
    hostname: `host${n}`,
    backend: {
      vni: 1024,
      vtepName: "vtep1024",
      vtepIp: ipInterface(`44.128.0.${n + 1}/20`),
      vtepIp6: ipInterface(`fd01:a::${n + 1}/64`),
      vtepMac: mac(`70:b3:d5:80:00:0${n + 1}`),
    },
    overlays: [
      {
        info: { name: "dcos", subnet: cidr("9.0.0.0/8"), prefix: 24, enabled: true },
        subnet,
        ...(bridges
          ? {
              mesosBridge: { name: "m-dcos", ip: cidr(`9.0.${n}.0/25`) },
              dockerBridge: { name: "d-dcos", ip: cidr(`9.0.${n}.128/25`) },
            }
          : {}),
      },
      {
        info: { name: "dcos6", subnet6: cidr("fd01:b::/64"), prefix6: 80, enabled: true },
        subnet6,
        ...(bridges
          ? { mesosBridge: { name: "m-dcos6", ip6: mesos6 }, dockerBridge: { name: "d-dcos6", ip6: docker6 } }
          : {}),
      },
    ],
  };
}

export function seedAssignment(n: 0 | 1 | 2): Assignment {
  return {
    agent: seedAgent(n),
    overlaySubnets: [cidr("9.0.0.0/8"), cidr("fd01:b::/64")],
    vtepSubnets: [cidr("44.128.0.0/20"), cidr("fd01:a::/64")],
    overlayMtu: 1420,
    enableIpv6: true,
  };
}

export function seedContext(n: 0 | 1 | 2): OverlayContext {
  return {
    assignment: seedAssignment(n),
    facts: { underlayDev: "eth0", underlayMtu: 1500, foreignDevs: ["eth0"], uplinks: ["eth0"] },
    features: { ingressForward: true },
  };
}

/** A host as it is before Weft, as far as decisions depend on it: a kernel with IPv6 that takes advertisements. */
export const BARE_HOST: HostState = {
  ...EMPTY_HOST_STATE,
  sysctls: [
    { path: "net/ipv4/ip_forward", value: "0" },
    { path: "net/ipv4/conf/default/forwarding", value: "0" },
    { path: "net/ipv4/conf/eth0/forwarding", value: "0" },
    { path: "net/ipv6/conf/all/forwarding", value: "0" },
    { path: "net/ipv6/conf/default/accept_ra", value: "1" },
    { path: "net/ipv6/conf/eth0/accept_ra", value: "1" },
  ],
};

export function seedInput(n: 0 | 1 | 2): OverlayInput {
  const others = ([0, 1, 2] as const).filter((other) => other !== n);
  return {
    ...seedContext(n),
    peers: others.map((other) => peerOf(seedAgent(other))),
    attachments: [],
    observed: BARE_HOST,
  };
}

/** What others must know of an agent. */
export function peerOf(agent: AgentRecord): Peer {
  const { vtepIp, vtepIp6, vtepMac } = agent.backend;
  return {
    id: agent.id,
    ip: agent.ip,
    vtepIp: addressOf(vtepIp),
    ...(vtepIp6 === undefined ? {} : { vtepIp6: addressOf(vtepIp6) }),
    vtepMac,
    subnets: agent.overlays.flatMap(prefixesOf),
  };
}

/** A container on host 1 of the table. */
export const SEED_ATTACHMENT: Attachment = {
  containerId: "c1",
  ifname: "eth0",
  network: "dcos",
  netns: "/run/netns/c1",
  netnsId: "boot-1:1",
  hostIfname: "weft0123456789",
  mac: mac("02:57:09:00:01:02"),
  ip: ip("9.0.1.2"),
  state: "attached",
  requestId: "r1",
  runtime: "podman",
  since: "2026-11-21T08:00:00Z",
};
