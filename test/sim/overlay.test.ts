/**
 * Whole clusters on fake kernels, packets followed through them: what a newcomer would try by hand, on every cluster
 * that the generator can think of, and with controls that the tracer sees what is broken.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { KernelOp } from "../../src/core/host/host-state.ts";
import type { Attachment } from "../../src/model/attachment.ts";
import { addressOf, type Cidr, type Family, familyOf, type Ip, nthAddress } from "../../src/model/ip.ts";
import { anyShape, type ClusterShape, INTERNET, underlayAddress } from "../support/cluster.ts";
import { type Trace, trace } from "../support/packet-tracer.ts";
import { mustApply, SimCluster, type SimHost } from "../support/sim-cluster.ts";

/** Three hosts, one without containers; a dual-stack and an IPv4 network. */
const SMALL: ClusterShape = {
  overlays: [[4, 6], [4]],
  hosts: [
    { bridges: false, containers: [] },
    { bridges: true, containers: [0, 1] },
    { bridges: true, containers: [0] },
  ],
  underlay: 4,
  ingressForward: true,
  enableIpv6: true,
};

interface Container {
  readonly host: SimHost;
  readonly place: string;
  readonly addresses: readonly Ip[];
}

function containersOf(cluster: SimCluster): Container[] {
  return cluster.hosts.flatMap((host) =>
    host.attachments.map((attachment) => ({ host, place: attachment.containerId, addresses: addressesOf(attachment) })),
  );
}

function addressesOf({ ip, ip6 }: Attachment): Ip[] {
  return [ip, ip6].filter((address) => address !== undefined);
}

function ofFamily(addresses: readonly Ip[], family: Family): Ip | undefined {
  return addresses.find((address) => familyOf(address) === family);
}

function told({ arrived, place, src, hops, reason }: Trace): string {
  return [`${arrived ? `arrived at ${place} from ${src}` : `died at ${place}: ${reason}`}`, ...hops].join("\n  ");
}

function assertArrives(found: Trace, place: string, src: Ip | undefined): void {
  assert.ok(found.arrived, told(found));
  assert.equal(found.place, place, told(found));
  assert.equal(found.src, src, told(found));
}

/** @param reason of its death */
function assertDies(found: Trace, place: string, reason: RegExp | string): void {
  assert.ok(!found.arrived, told(found));
  assert.equal(found.place, place, told(found));
  if (typeof reason === "string") assert.equal(found.reason, reason, told(found));
  else assert.match(found.reason ?? "", reason, told(found));
}

function forAnyCluster(check: (cluster: SimCluster, shape: ClusterShape) => void): Promise<void> {
  const property = fc.asyncProperty(anyShape, async (shape) => check(await SimCluster.start(shape), shape));
  return Promise.resolve(fc.assert(property, { numRuns: 60 }));
}

test("every container reaches every other, and is seen with its own address", async () => {
  await forAnyCluster((cluster) => {
    const containers = containersOf(cluster);
    for (const a of containers)
      for (const b of containers)
        for (const dst of b.addresses) {
          const src = ofFamily(a.addresses, familyOf(dst));
          if (src !== undefined) assertArrives(trace(cluster.world(), a.place, dst), b.place, a === b ? dst : src);
        }
  });
});

test("every container reaches every other node inside the tunnel with its own address, and is answered", async () => {
  await forAnyCluster((cluster, { underlay }) => {
    for (const { host, place, addresses } of containersOf(cluster))
      for (const node of cluster.hosts) {
        const src = ofFamily(addresses, underlay);
        if (src === undefined || node === host) continue;
        const nodeIp = node.context.assignment.agent.ip;
        const there = trace(cluster.world(), place, nodeIp);
        assertArrives(there, node.name, src);
        assert.ok(
          there.hops.some((hop) => hop.includes("vtep1024: vni 1024")),
          told(there),
        );
        assertArrives(trace(cluster.world(), node.name, src, nodeIp), place, nodeIp);
      }
  });
});

test("every host reaches every container", async () => {
  await forAnyCluster((cluster) => {
    for (const node of cluster.hosts)
      for (const { host, place, addresses } of containersOf(cluster))
        for (const dst of addresses) {
          const found = trace(cluster.world(), node.name, dst);
          const { vtepIp, vtepIp6 } = node.context.assignment.agent.backend;
          const vtep = familyOf(dst) === 4 ? vtepIp : vtepIp6;
          assertArrives(found, place, node === host ? found.src : vtep && addressOf(vtep));
        }
  });
});

test("what leaves all overlays is seen with the host's address", async () => {
  await forAnyCluster((cluster) => {
    for (const { host, place, addresses } of containersOf(cluster))
      for (const family of addresses.map(familyOf)) {
        const found = trace(cluster.world(), place, INTERNET[family]);
        assertArrives(found, "internet", underlayAddress(family, cluster.hosts.indexOf(host)));
        assert.ok(!found.hops.some((hop) => hop.includes("vni")), told(found));
      }
  });
});

test("an address that nobody has is refused on the sender's host, never sent out", async () => {
  await forAnyCluster((cluster, shape) => {
    for (const { host, place, addresses } of containersOf(cluster)) {
      const agent = host.context.assignment.agent;
      for (const { info, mesosBridge } of agent.overlays) {
        if (info.subnet !== undefined && ofFamily(addresses, 4) !== undefined) {
          const nobody = nthAddress(info.subnet, 200n * 256n + 5n);
          assertDies(trace(cluster.world(), place, nobody), host.name, `unreachable ${info.subnet}`);
          const free = nthAddress(mesosBridge?.ip as Cidr, 100n);
          assertDies(trace(cluster.world(), place, free), host.name, `no neighbour ${free} on m-${info.name}`);
        }
        if (info.subnet6 !== undefined && ofFamily(addresses, 6) !== undefined && shape.enableIpv6) {
          const nobody = nthAddress(info.subnet6, 200n << 48n);
          assertDies(trace(cluster.world(), place, nobody), host.name, `unreachable ${info.subnet6}`);
        }
      }
    }
  });
});

test("a pass changes nothing where nothing changed, also while peers are unknown", async () => {
  await fc.assert(
    fc.asyncProperty(anyShape, async (shape) => {
      const cluster = await SimCluster.start(shape);
      for (const host of cluster.hosts) {
        assert.equal(await cluster.pass(host), 0);
        assert.equal(await cluster.pass(host, undefined), 0);
      }
    }),
    { numRuns: 30 },
  );
});

test("the hops of a packet across hosts, as text", async () => {
  const cluster = await SimCluster.start(SMALL);
  const found = trace(cluster.world(), "h1c0", addressesOf(cluster.hosts[2]?.attachments[0] as Attachment)[0] as Ip);
  assert.equal(
    told(found),
    `arrived at h2c0 from 9.0.1.2
  h1c0 9.0.1.2 → 9.0.2.2: 0.0.0.0/0 via 9.0.1.1 dev eth0
  host1 9.0.1.2 → 9.0.2.2: 9.0.2.0/24 via 44.128.0.3 dev vtep1024
  host1 vtep1024: vni 1024 to 70:b3:d5:80:00:03 at 10.0.0.12
  host1 10.0.0.11 → 10.0.0.12: 10.0.0.0/16 dev eth0
  host2 9.0.1.2 → 9.0.2.2: 9.0.2.2/32 dev weft0200`,
  );
});

test("the tracer names the hop at which something is missing", async () => {
  const peer = "44.128.0.3";
  const rows: [damage: (op: KernelOp) => boolean, host: number, place: string, reason: RegExp][] = [
    [(op) => op.op === "route.replace" && op.route.via === peer, 1, "host1", /^unreachable 9\.0\.0\.0\/16$/],
    [
      (op) => op.op === "neighbor.replace" && op.neighbor.ip === peer,
      1,
      "host1",
      /^no neighbour 44\.128\.0\.3 on vtep1024/,
    ],
    [
      (op) => op.op === "fdb.replace" && op.entry.dst === "10.0.0.12",
      1,
      "host1",
      /^no FDB entry for 70:b3:d5:80:00:03/,
    ],
    [
      (op) => op.op === "route.replace" && op.route.dst === "9.0.2.2/32",
      2,
      "host2",
      /^no neighbour 9\.0\.2\.2 on m-net0/,
    ],
    [
      (op) => op.op === "neighbor.replace" && op.neighbor.dev === "weft0200",
      2,
      "host2",
      /^no neighbour 9\.0\.2\.2 on weft/,
    ],
  ];
  for (const [matches, n, place, reason] of rows) {
    const cluster = await SimCluster.start(SMALL);
    const host = cluster.hosts[n] as SimHost;
    const dst = addressesOf(cluster.hosts[2]?.attachments[0] as Attachment)[0] as Ip;
    assert.ok(trace(cluster.world(), "h1c0", dst).arrived, "positive control");
    await mustApply(host.kernel, await removalOf(host, matches));
    assertDies(trace(cluster.world(), "h1c0", dst), place, reason);
    assert.ok((await cluster.pass(host)) > 0);
    assert.ok(trace(cluster.world(), "h1c0", dst).arrived, "repaired");
  }
});

/** The operations that take away what the matching ones would have put there. */
async function removalOf({ kernel }: SimHost, matches: (op: KernelOp) => boolean): Promise<KernelOp[]> {
  const { routes, neighbors, fdb } = await kernel.observe([]);
  const pairs: [KernelOp, KernelOp][] = [
    ...routes.map((route): [KernelOp, KernelOp] => [
      { op: "route.replace", route },
      { op: "route.delete", route },
    ]),
    ...neighbors.map((neighbor): [KernelOp, KernelOp] => [
      { op: "neighbor.replace", neighbor },
      { op: "neighbor.delete", neighbor },
    ]),
    ...fdb.map((entry): [KernelOp, KernelOp] => [
      { op: "fdb.replace", entry },
      { op: "fdb.delete", entry },
    ]),
  ];
  return pairs.filter(([made]) => matches(made)).map(([, removal]) => removal);
}

test("links, forwarding, the filter and the rules matter too: each control dies where it must", async () => {
  const sysctl = (path: string, value: string): KernelOp => ({ op: "sysctl.set", sysctl: { path, value } });
  const table = { family: "ip", name: "weft", chains: [], maps: [] } as const;
  const rows: [KernelOp, number, (found: Trace) => void][] = [
    [{ op: "link.set", name: "vtep1024", up: false }, 2, (t) => assertDies(t, "host2", /nobody listens for vni 1024/)],
    [sysctl("net/ipv4/conf/vtep1024/forwarding", "0"), 2, (t) => assertDies(t, "host2", /forwarding is off/)],
    [{ op: "link.set", name: "vtep1024", mtu: 1400 }, 1, (t) => assertDies(t, "host1", /1450 bytes exceed the mtu/)],
  ];
  for (const [op, n, check] of rows) {
    const cluster = await SimCluster.start(SMALL);
    await mustApply((cluster.hosts[n] as SimHost).kernel, [op]);
    check(trace(cluster.world(), "h1c0", addressesOf(cluster.hosts[2]?.attachments[0] as Attachment)[0] as Ip));
  }
  const cluster = await SimCluster.start(SMALL);
  await mustApply((cluster.hosts[1] as SimHost).kernel, [{ op: "nft.table.replace", table }]);
  assertArrives(
    trace(cluster.world(), "h1c0", INTERNET[4]),
    "internet",
    addressesOf(cluster.hosts[1]?.attachments[0] as Attachment)[0],
  );
});

test("of a peer that left nothing remains, and its addresses are refused", async () => {
  await fc.assert(
    fc.asyncProperty(anyShape, fc.nat(), async (shape, pick) => {
      const cluster = await SimCluster.start(shape);
      const gone = cluster.hosts[pick % cluster.hosts.length] as SimHost;
      const { ip, backend } = gone.context.assignment.agent;
      const vtepIp = addressOf(backend.vtepIp);
      for (const host of cluster.hosts.filter((other) => other !== gone)) {
        const traces = new RegExp(`(${ip}|${vtepIp}|${backend.vtepMac})(?![0-9a-f])`.replaceAll(".", "\\."));
        assert.match(host.kernel.dump(), traces, "positive control");
        const left = cluster.peersOf(host).filter(({ id }) => id !== gone.context.assignment.agent.id);
        await cluster.pass(host, left);
        assert.doesNotMatch(host.kernel.dump(), traces);
      }
    }),
    { numRuns: 30 },
  );
});
