/**
 * What this kernel can do, found out by doing it in an empty namespace that nobody else sees and that is gone after.
 */
import type { DatapathFeature } from "../../core/host/datapath.ts";
import type { KernelOp, NftRule, NftTable } from "../../core/host/host-state.ts";
import { cidr, ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import { OWNER, VNI, VXLAN_PORT } from "../../model/names.ts";
import type { KernelFeatures } from "../ports.ts";
import { applyOps } from "./apply.ts";
import { tryPrograms } from "./bpf/datapath-set.ts";
import { datapathObject } from "./bpf/object.ts";
import { SystemCallError } from "./ffi.ts";
import { KernelSockets } from "./kernel-sockets.ts";
import { createNetns, inNetns, type Netns, noRights } from "./netns.ts";

const SHAPER = "qdisc tbf";
const LIMIT = "nftables limit";
const INGRESS_FORWARD = "nftables ingress forward";
/** Of every network namespace. */
const LOOPBACK_INDEX = 1;

/** @throws Fault no-rights without CAP_SYS_ADMIN and CAP_NET_ADMIN */
export async function probeFeatures(): Promise<KernelFeatures> {
  const netns = createNetns();
  const sockets = new KernelSockets(netns);
  try {
    const probes = probesIn(netns);
    const failures = await applyOps(
      sockets,
      probes.map(([, op]) => op),
    );
    if (failures.some(({ error }) => error.code === "EPERM")) throw noRights("make network devices");
    const failed = new Set(failures.map(({ index }) => probes[index]?.[0] ?? ""));
    const ingressForward = !failed.delete(INGRESS_FORWARD);
    const bandwidth = ![failed.delete(SHAPER), failed.delete(LIMIT)].includes(true);
    return { missing: [...failed], ingressForward, bandwidth, datapath: probeDatapath(sockets) };
  } finally {
    sockets.close();
  }
}

const MAY_NOT =
  "this process may not use BPF (it needs CAP_SYS_ADMIN outside of user namespaces; before Linux 5.11 also 'ulimit -l unlimited'); " +
  "programs of an earlier agent stay as they are";

/** Whether the programs load and can be put on a device, the loopback of the namespace. */
function probeDatapath(sockets: KernelSockets): DatapathFeature {
  const hooks = sockets.hooks();
  if (hooks === undefined) return { missing: MAY_NOT };
  try {
    const abilities = inNetns(sockets.netns, () => tryPrograms(hooks, LOOPBACK_INDEX));
    return { hook: hooks.of("tunnel"), code: datapathObject().digest, ...abilities };
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    return { missing: error.code === "EPERM" ? MAY_NOT : error.message };
  }
}

/** Each feature with an operation that needs it. */
function probesIn(netns: Netns): readonly (readonly [feature: string, op: KernelOp])[] {
  const common = { up: false, learning: false } as const;
  const peer = { netns: `/proc/self/fd/${netns.fd}`, name: "probe3", mac: mac("02:57:00:00:00:02"), mtu: 1_500 };
  return [
    ["vxlan", { op: "link.add", link: { ...common, kind: "vxlan", name: "probe0", vni: VNI, port: VXLAN_PORT } }],
    ["bridge", { op: "link.add", link: { kind: "bridge", name: "probe1", up: false } }],
    ["veth", { op: "link.add", link: { kind: "veth", name: "probe2", up: false, peer } }],
    ["nftables", { op: "nft.table.replace", table: PLAIN }],
    ["nftables destination NAT", { op: "nft.table.replace", table: TRANSLATING }],
    [
      "nftables ingress",
      { op: "nft.table.replace", table: filtering([{ kind: "ether saddr", op: "!=", mac: mac("02:57:00:00:00:02") }]) },
    ],
    [SHAPER, { op: "shaper.replace", shaper: { dev: "probe2", rate: 1_000_000, burst: 100_000 } }],
    [LIMIT, { op: "nft.table.replace", table: filtering([{ kind: "limit over", rate: 1_000_000, burst: 100_000 }]) }],
    [INGRESS_FORWARD, { op: "nft.table.replace", table: FORWARDING }],
  ];
}

const PLAIN: NftTable = {
  family: "ip",
  name: OWNER,
  maps: [],
  chains: [
    {
      name: "raw",
      hook: { type: "filter", hook: "prerouting", priority: -300, policy: "accept" },
      rules: [[{ kind: "range", field: "udp dport", first: VXLAN_PORT, last: VXLAN_PORT }, { kind: "notrack" }]],
    },
    {
      name: "nat",
      hook: { type: "nat", hook: "postrouting", priority: 100, policy: "accept" },
      rules: [[{ kind: "match", field: "ip saddr", op: "==", prefix: cidr("192.0.2.0/25") }, { kind: "masquerade" }]],
    },
  ],
};

const TRANSLATING: NftTable = {
  family: "ip",
  name: OWNER,
  maps: [{ name: "ports", type: "inet_proto . inet_service : ipv4_addr . inet_service", elements: [] }],
  chains: [
    {
      name: "prerouting",
      hook: { type: "nat", hook: "prerouting", priority: -100, policy: "accept" },
      rules: [
        [
          { kind: "fib daddr type local" },
          { kind: "dnat", family: "ip", key: "meta l4proto . th dport", map: "ports" },
        ],
      ],
    },
    {
      name: "postrouting",
      hook: { type: "nat", hook: "postrouting", priority: 100, policy: "accept" },
      rules: [[{ kind: "ct status dnat" }, { kind: "masquerade" }]],
    },
  ],
};

function filtering(match: NftRule): NftTable {
  const hook = { type: "filter", hook: "ingress", priority: 0, device: "lo", policy: "drop" } as const;
  return {
    family: "netdev",
    name: OWNER,
    maps: [],
    chains: [{ name: "ingress", hook, rules: [[...match, { kind: "drop" }]] }],
  };
}

const FORWARDING: NftTable = {
  family: "netdev",
  name: OWNER,
  maps: [{ name: "nodes", type: "ipv4_addr : ipv4_addr", elements: [[ip("192.0.2.1"), ip("192.0.2.2")]] }],
  chains: [
    {
      name: "ingress",
      hook: { type: "filter", hook: "ingress", priority: 0, device: "lo", policy: "accept" },
      rules: [[{ kind: "forward", field: "ip daddr", map: "nodes", device: "lo" }]],
    },
  ],
};
