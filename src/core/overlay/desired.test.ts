/**
 * Golden text: what the seeds' hosts and a container of theirs must look like, as `ip` and `nft` would show it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BARE_HOST, peerOf, SEED_ATTACHMENT, seedAgent, seedInput } from "../../../test/support/seed-cluster.ts";
import type { PortMapping } from "../../model/attachment.ts";
import { cidr, ip } from "../../model/ip.ts";
import { VXLAN_PORT } from "../../model/names.ts";
import { formatHostState } from "../host/format.ts";
import { EMPTY_HOST_STATE, type HostState } from "../host/host-state.ts";
import { desiredHost, type OverlayInput, sysctlPaths } from "./desired.ts";

/** Golden texts begin on a line of their own. */
function assertText(state: HostState, golden: string): void {
  assert.equal(formatHostState(state), golden.slice(1));
}

/** The lines of the state that hold `word`. */
function lines(input: OverlayInput, word: string): string[] {
  return formatHostState(desiredHost(input))
    .split("\n")
    .filter((line) => line.includes(word))
    .map((line) => line.trim());
}

function withAssignment(input: OverlayInput, change: Partial<OverlayInput["assignment"]>): OverlayInput {
  return { ...input, assignment: { ...input.assignment, ...change } };
}

test("host 1 of the seeds, with one container that has host ports", () => {
  const ports: PortMapping[] = [
    { protocol: "tcp", hostPort: 8081, containerPort: 81 },
    { protocol: "tcp", hostPort: 8080, containerPort: 80 },
    { protocol: "udp", hostPort: 53, containerPort: 5353, hostIp: ip("10.0.0.11") },
  ];
  assertText(
    desiredHost({ ...seedInput(1), attachments: [{ ...SEED_ATTACHMENT, ports }] }),
    `
link d-dcos bridge up alias "weft dcos"
link d-dcos6 bridge up alias "weft dcos6"
link m-dcos bridge up alias "weft dcos"
link m-dcos6 bridge up alias "weft dcos6"
link vtep1024 vxlan id 1024 local 10.0.0.11 dstport 64000 nolearning address 70:b3:d5:80:00:02 mtu 1450 up alias "weft"
link weft0123456789 veth peer eth0 address 02:57:09:00:01:02 mtu 1420 netns /run/netns/c1 address 02:57:00:00:00:01 mtu 1420 up alias "weft dcos c1 eth0"
addr 9.0.1.1/25 dev m-dcos
addr 9.0.1.129/25 dev d-dcos
addr 44.128.0.2/20 dev vtep1024
addr fd01:a::2/64 dev vtep1024
addr fd01:b::1:0:0:1/81 dev m-dcos6
addr fd01:b::1:8000:0:1/81 dev d-dcos6
route 9.0.0.0/24 via 44.128.0.1 dev vtep1024 proto 87 metric 8388609 onlink
route 9.0.1.2/32 dev weft0123456789 proto 87 src 9.0.1.1
route 9.0.2.0/24 via 44.128.0.3 dev vtep1024 proto 87 metric 8388611 onlink
route fd01:b::/80 via fd01:a::1 dev vtep1024 proto 87 metric 8388609 onlink
route fd01:b:0:0:2::/80 via fd01:a::3 dev vtep1024 proto 87 metric 8388611 onlink
route unreachable 9.0.0.0/8 proto 87 metric 2147418112
route unreachable fd01:b::/64 proto 87 metric 2147418112
neigh 9.0.1.2 dev weft0123456789 lladdr 02:57:09:00:01:02 PERMANENT
neigh 44.128.0.1 dev vtep1024 lladdr 70:b3:d5:80:00:01 PERMANENT
neigh 44.128.0.3 dev vtep1024 lladdr 70:b3:d5:80:00:03 PERMANENT
neigh fd01:a::1 dev vtep1024 lladdr 70:b3:d5:80:00:01 PERMANENT
neigh fd01:a::3 dev vtep1024 lladdr 70:b3:d5:80:00:03 PERMANENT
fdb 70:b3:d5:80:00:01 dev vtep1024 dst 10.0.0.10 self permanent
fdb 70:b3:d5:80:00:03 dev vtep1024 dst 10.0.0.12 self permanent
sysctl net/ipv4/conf/default/forwarding = 1
sysctl net/ipv4/conf/eth0/forwarding = 1
sysctl net/ipv4/conf/vtep1024/forwarding = 1
sysctl net/ipv4/conf/vtep1024/rp_filter = 2
sysctl net/ipv4/conf/weft0123456789/forwarding = 1
sysctl net/ipv4/conf/weft0123456789/route_localnet = 1
sysctl net/ipv6/conf/all/forwarding = 1
sysctl net/ipv6/conf/d-dcos/accept_ra = 0
sysctl net/ipv6/conf/d-dcos6/accept_ra = 0
sysctl net/ipv6/conf/d-dcos6/disable_ipv6 = 0
sysctl net/ipv6/conf/default/accept_ra = 2
sysctl net/ipv6/conf/eth0/accept_ra = 2
sysctl net/ipv6/conf/m-dcos/accept_ra = 0
sysctl net/ipv6/conf/m-dcos6/accept_ra = 0
sysctl net/ipv6/conf/m-dcos6/disable_ipv6 = 0
sysctl net/ipv6/conf/vtep1024/accept_ra = 0
sysctl net/ipv6/conf/vtep1024/disable_ipv6 = 0
sysctl net/ipv6/conf/weft0123456789/accept_ra = 0
sysctl net/ipv6/conf/weft0123456789/disable_ipv6 = 1
table ip weft {
  map nodes4 {
    type ipv4_addr : ipv4_addr
      10.0.0.10 : 44.128.0.1
      10.0.0.12 : 44.128.0.3
  }
  map ports {
    type inet_proto . inet_service : ipv4_addr . inet_service
      tcp . 8080 : 9.0.1.2 . 80
      tcp . 8081 : 9.0.1.2 . 81
  }
  map ports-at {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
      10.0.0.11 . udp . 53 : 9.0.1.2 . 5353
  }
  map tunnel {
    type ipv4_addr : verdict
      10.0.0.10 : accept
      10.0.0.12 : accept
  }
  chain host-ports {
    dnat ip to ip daddr . meta l4proto . th dport map @ports-at
    dnat ip to meta l4proto . th dport map @ports
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump host-ports
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ct status dnat iifname "weft*" masquerade
    ct status dnat ip saddr 9.0.0.0/8 masquerade
    ct status dnat ip saddr 44.128.0.0/20 masquerade
    ct status dnat ip saddr map @nodes4 != 0.0.0.0 masquerade
    ct status dnat ip saddr 127.0.0.0/8 masquerade
    oifname "vtep1024" return
    ip daddr 9.0.0.0/8 return
    ip daddr 44.128.0.0/20 return
    ip saddr 9.0.0.0/8 masquerade
  }
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    ip daddr 127.0.0.0/8 return
    fib daddr type local jump host-ports
  }
  chain raw-output {
    type filter hook output priority -300; policy accept;
    ip saddr 10.0.0.11/32 udp dport 64000 notrack
  }
  chain raw-prerouting {
    type filter hook prerouting priority -300; policy accept;
    ip daddr 10.0.0.11/32 udp dport 64000 jump tunnel
    iifname "vtep1024" jump to-overlays
    ip saddr 9.0.0.0/8 jump to-overlays
    ip saddr 44.128.0.0/20 jump to-overlays
  }
  chain to-overlays {
    ip daddr 44.128.0.2/32 accept
    ip daddr 9.0.1.1/32 accept
    ip daddr 9.0.1.129/32 accept
    ip daddr 9.0.0.0/8 notrack accept
    ip daddr 44.128.0.0/20 notrack accept
  }
  chain tunnel {
    notrack
    ip saddr vmap @tunnel
    drop
  }
}
table ip6 weft {
  map nodes6 {
    type ipv6_addr : ipv6_addr
  }
  map ports {
    type inet_proto . inet_service : ipv6_addr . inet_service
  }
  map ports-at {
    type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
  }
  chain host-ports {
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports-at
    dnat ip6 to meta l4proto . th dport map @ports
  }
  chain output {
    type nat hook output priority -100; policy accept;
    ip6 daddr ::1/128 return
    fib daddr type local jump host-ports
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ct status dnat iifname "weft*" masquerade
    ct status dnat ip6 saddr fd01:b::/64 masquerade
    ct status dnat ip6 saddr fd01:a::/64 masquerade
    ct status dnat ip6 saddr map @nodes6 != :: masquerade
    oifname "vtep1024" return
    ip6 daddr fd01:b::/64 return
    ip6 daddr fd01:a::/64 return
    ip6 saddr fd01:b::/64 masquerade
  }
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump host-ports
  }
  chain raw-prerouting {
    type filter hook prerouting priority -300; policy accept;
    iifname "vtep1024" jump to-overlays
    ip6 saddr fd01:b::/64 jump to-overlays
    ip6 saddr fd01:a::/64 jump to-overlays
  }
  chain to-overlays {
    ip6 daddr fd01:a::2/128 accept
    ip6 daddr fd01:b::1:0:0:1/128 accept
    ip6 daddr fd01:b::1:8000:0:1/128 accept
    ip6 daddr fd01:b::/64 notrack accept
    ip6 daddr fd01:a::/64 notrack accept
  }
}
table netdev weft {
  map nodes4 {
    type ipv4_addr : ipv4_addr
      10.0.0.10 : 44.128.0.1
      10.0.0.12 : 44.128.0.3
  }
  map nodes6 {
    type ipv6_addr : ipv6_addr
  }
  chain leased4 {
    ip daddr 127.0.0.0/8 drop
    icmp type 5 drop
    udp sport 67 drop
    udp dport 68 drop
    udp dport 64000 drop
    fwd ip to ip daddr map @nodes4 device "vtep1024"
    accept
  }
  chain leased6 {
    icmpv6 type 133-137 drop
    udp sport 547 drop
    udp dport 546 drop
    udp dport 64000 drop
    fwd ip6 to ip6 daddr map @nodes6 device "vtep1024"
    accept
  }
  chain weft0123456789 {
    type filter hook ingress device "weft0123456789" priority 0; policy drop;
    ip saddr 9.0.1.2/32 ether saddr 02:57:09:00:01:02 jump leased4
  }
}
`,
  );
});

test("host 0 takes part without containers: the tunnel and the routes, no bridges", () => {
  assertText(
    { ...desiredHost(seedInput(0)), tables: [] },
    `
link vtep1024 vxlan id 1024 local 10.0.0.10 dstport 64000 nolearning address 70:b3:d5:80:00:01 mtu 1450 up alias "weft"
addr 44.128.0.1/20 dev vtep1024
addr fd01:a::1/64 dev vtep1024
route 9.0.1.0/24 via 44.128.0.2 dev vtep1024 proto 87 metric 8388610 onlink
route 9.0.2.0/24 via 44.128.0.3 dev vtep1024 proto 87 metric 8388611 onlink
route fd01:b:0:0:1::/80 via fd01:a::2 dev vtep1024 proto 87 metric 8388610 onlink
route fd01:b:0:0:2::/80 via fd01:a::3 dev vtep1024 proto 87 metric 8388611 onlink
route unreachable 9.0.0.0/8 proto 87 metric 2147418112
route unreachable fd01:b::/64 proto 87 metric 2147418112
neigh 44.128.0.2 dev vtep1024 lladdr 70:b3:d5:80:00:02 PERMANENT
neigh 44.128.0.3 dev vtep1024 lladdr 70:b3:d5:80:00:03 PERMANENT
neigh fd01:a::2 dev vtep1024 lladdr 70:b3:d5:80:00:02 PERMANENT
neigh fd01:a::3 dev vtep1024 lladdr 70:b3:d5:80:00:03 PERMANENT
fdb 70:b3:d5:80:00:02 dev vtep1024 dst 10.0.0.11 self permanent
fdb 70:b3:d5:80:00:03 dev vtep1024 dst 10.0.0.12 self permanent
sysctl net/ipv4/conf/default/forwarding = 1
sysctl net/ipv4/conf/eth0/forwarding = 1
sysctl net/ipv4/conf/vtep1024/forwarding = 1
sysctl net/ipv4/conf/vtep1024/rp_filter = 2
sysctl net/ipv6/conf/all/forwarding = 1
sysctl net/ipv6/conf/default/accept_ra = 2
sysctl net/ipv6/conf/eth0/accept_ra = 2
sysctl net/ipv6/conf/vtep1024/accept_ra = 0
sysctl net/ipv6/conf/vtep1024/disable_ipv6 = 0
`,
  );
});

test("enable_ipv6 = false leaves IPv6 out of everything, whatever was allocated", () => {
  const off = withAssignment({ ...seedInput(1), attachments: [SEED_ATTACHMENT] }, { enableIpv6: false });
  assert.deepEqual(lines(off, "fd01"), []);
  assert.deepEqual(lines(off, "ip6"), []);
  assert.deepEqual(lines(off, "dcos6"), []);
  assert.deepEqual(lines(off, "all/forwarding"), []);
  assert.deepEqual(lines(off, "eth0/accept_ra"), []);
  assert.equal(lines(off, "9.0.2.0/24").length, 1, "positive control");
});

test("a kernel without IPv6 is asked for none of it, not even for its sysctls", () => {
  const observed = { ...BARE_HOST, sysctls: BARE_HOST.sysctls.filter(({ path }) => !path.includes("ipv6")) };
  assert.deepEqual(lines({ ...seedInput(1), attachments: [SEED_ATTACHMENT], observed }, "ipv6"), []);
});

test("an overlay that this agent has no subnet of has routes to others and a refusal, no bridge", () => {
  const agent = { ...seedAgent(1), overlays: seedAgent(1).overlays.map(({ info }) => ({ info })) };
  const input = withAssignment(seedInput(1), { agent });
  assert.deepEqual(lines(input, "bridge "), []);
  assert.equal(lines(input, "9.0.0.0/8 proto").length, 1);
  assert.equal(lines(input, "via 44.128.0.3").length, 1);
});

test("over an IPv6 underlay the tunnel, its MTU, its untracked packets and the map of nodes are IPv6", () => {
  const over6 = (n: 0 | 1 | 2) => ({ ...seedAgent(n), ip: ip(`fd00::1${n}`) });
  const input = {
    ...withAssignment(seedInput(1), { agent: over6(1) }),
    peers: [peerOf(over6(0)), peerOf(seedAgent(2))],
  };
  assert.deepEqual(lines(input, "link vtep1024"), [
    'link vtep1024 vxlan id 1024 local fd00::11 dstport 64000 nolearning address 70:b3:d5:80:00:02 mtu 1430 up alias "weft"',
  ]);
  assert.deepEqual(lines(input, "fd00::10"), [
    "fdb 70:b3:d5:80:00:01 dev vtep1024 dst fd00::10 self permanent",
    "fd00::10 : fd01:a::1", // for host ports
    "fd00::10 : accept", // by the tunnel
    "fd00::10 : fd01:a::1", // at ingress
  ]);
  const tables = desiredHost(input).tables.filter(
    (table) => table.family !== "netdev" && JSON.stringify(table).includes(`"first":${VXLAN_PORT}`),
  );
  assert.deepEqual(
    tables.map(({ family }) => family),
    ["ip6"],
  );
  assert.deepEqual(lines(input, "44.128.0.3"), [], "a peer on the other family is left out");
});

test("peers that are not known yet: what the kernel has for them is kept, nothing is invented", () => {
  const known = desiredHost({ ...seedInput(1), attachments: [SEED_ATTACHMENT] });
  const observed = { ...known, sysctls: BARE_HOST.sysctls };
  const unknown = { ...seedInput(1), attachments: [SEED_ATTACHMENT], peers: [], otherPeersStay: true };
  assert.equal(formatHostState(desiredHost({ ...unknown, observed })), formatHostState(known));
  const fresh = formatHostState(desiredHost({ ...unknown, observed: BARE_HOST }));
  assert.equal(fresh, formatHostState(desiredHost({ ...unknown, otherPeersStay: false })));
});

test("without forwarding at ingress: the original's table 42, for both families, and replies stay tracked", () => {
  const context = { ...seedInput(1), features: { ingressForward: false } };
  const input = { ...context, attachments: [SEED_ATTACHMENT] };
  assert.deepEqual(lines(input, "lookup"), [
    "rule 32042: from 9.0.0.0/8 lookup 42",
    "rule 32042: from fd01:b::/64 lookup 42",
  ]);
  assert.deepEqual(lines(input, "table 42"), [
    "route 10.0.0.10/32 via 44.128.0.1 dev vtep1024 table 42 proto 87 metric 8388609 onlink",
    "route 10.0.0.12/32 via 44.128.0.3 dev vtep1024 table 42 proto 87 metric 8388611 onlink",
  ]);
  assert.deepEqual(lines(input, "fwd"), []);
  assert.deepEqual(lines(input, "nodes"), []);
  assert.deepEqual(lines(input, "iifname"), Array(2).fill('ct status dnat iifname "weft*" masquerade'));
  assert.deepEqual(
    lines(input, "ip saddr 9.0.1.2/32"),
    ["ip saddr 9.0.1.2/32 ether saddr 02:57:09:00:01:02 jump leased4"],
    "spoofing stays out",
  );
});

test("router advertisements are kept for other people's devices only by the host that stops forwarding being off", () => {
  assert.equal(lines(seedInput(1), "eth0/accept_ra = 2").length, 1);
  const change = (path: string, value: string): OverlayInput => ({
    ...seedInput(1),
    observed: { ...BARE_HOST, sysctls: BARE_HOST.sysctls.map((s) => (s.path === path ? { path, value } : s)) },
  });
  assert.deepEqual(lines(change("net/ipv6/conf/eth0/accept_ra", "0"), "eth0/accept_ra"), []);
  assert.deepEqual(lines(change("net/ipv6/conf/all/forwarding", "1"), "eth0/accept_ra"), []);
});

test("every sysctl that is desired is among those that are read", () => {
  const input = { ...seedInput(1), attachments: [SEED_ATTACHMENT] };
  const read = new Set(sysctlPaths(input));
  const desired = desiredHost({ ...input, observed: { ...EMPTY_HOST_STATE, sysctls: BARE_HOST.sysctls } }).sysctls;
  assert.deepEqual(
    desired.filter(({ path }) => !read.has(path)),
    [],
  );
  for (const { path } of BARE_HOST.sysctls) assert.ok(read.has(path), path);
});

test("no peer's routes have the metric 0, which for IPv6 the kernel would turn into another", () => {
  const peer = { ...peerOf(seedAgent(2)), vtepIp: ip("44.0.0.0") };
  const input = withAssignment(
    { ...seedInput(1), peers: [peer] },
    { vtepSubnets: [cidr("44.0.0.0/8"), cidr("fd01:a::/64")] },
  );
  assert.deepEqual(lines(input, "via"), [
    "route 9.0.2.0/24 via 44.0.0.0 dev vtep1024 proto 87 metric 16777216 onlink",
    "route fd01:b:0:0:2::/80 via fd01:a::3 dev vtep1024 proto 87 metric 16777216 onlink",
  ]);
});

test("a peer that no subnet is given for is reachable as a node all the same", () => {
  const peer = { ...peerOf(seedAgent(2)), subnets: [cidr("9.0.2.0/24")].slice(1) };
  const input = { ...seedInput(1), peers: [peer] };
  assert.deepEqual(lines(input, "10.0.0.12"), [
    "fdb 70:b3:d5:80:00:03 dev vtep1024 dst 10.0.0.12 self permanent",
    "10.0.0.12 : 44.128.0.3", // for host ports
    "10.0.0.12 : accept", // by the tunnel
    "10.0.0.12 : 44.128.0.3", // at ingress
  ]);
});
