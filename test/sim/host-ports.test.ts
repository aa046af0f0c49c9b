/**
 * Host ports on every cluster that the generator can think of: a packet to one gets to its container from wherever it
 * comes, with a source that its answer finds back to; what is not for this host is left alone.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Attachment, addressesOf } from "../../src/model/attachment.ts";
import { contains, type Family, familyOf, type Ip, ip } from "../../src/model/ip.ts";
import { anyShape, type ClusterShape, INTERNET, underlayAddress } from "../support/cluster.ts";
import { type Trace, trace } from "../support/packet-tracer.ts";
import { SimCluster, type SimHost } from "../support/sim-cluster.ts";

const tcp = (dport: number) => ({ protocol: "tcp", sport: 40_000, dport }) as const;

function told({ arrived, place, src, hops, reason }: Trace): string {
  return [`${arrived ? `arrived at ${place} from ${src}` : `died at ${place}: ${reason}`}`, ...hops].join("\n  ");
}

async function forAnyContainer(
  check: (cluster: SimCluster, host: SimHost, attachment: Attachment, family: Family) => void,
): Promise<void> {
  const property = fc.asyncProperty(anyShape, async (shape) => {
    const cluster = await SimCluster.start(shape);
    for (const host of cluster.hosts)
      for (const attachment of host.attachments)
        for (const address of addressesOf(attachment)) check(cluster, host, attachment, familyOf(address));
  });
  await fc.assert(property, { numRuns: 40 });
}

/** The host's own address on the underlay, of either family. */
function addressOf(cluster: SimCluster, host: SimHost, family: Family): Ip {
  return underlayAddress(family, cluster.hosts.indexOf(host));
}

test("a host port leads to its container, from outside with the caller's own address", async () => {
  await forAnyContainer((cluster, host, { containerId, ports }, family) => {
    const found = trace(
      cluster.world(),
      "internet",
      addressOf(cluster, host, family),
      INTERNET[family],
      tcp(ports?.[0]?.hostPort ?? 0),
    );
    assert.equal(found.place, containerId, told(found));
    assert.ok(found.arrived, told(found));
    if (host.context.features.ingressForward) assert.equal(found.src, INTERNET[family], told(found));
  });
});

test("from any container of any host, itself included, and from any node", async () => {
  await forAnyContainer((cluster, host, { containerId, ports }, family) => {
    const dst = addressOf(cluster, host, family);
    const { overlaySubnets } = host.context.assignment;
    for (const other of cluster.hosts) {
      // Nodes are reached by containers over the family of the underlay.
      const containers = family === familyOf(other.context.assignment.agent.ip) ? other.attachments : [];
      const callers = containers.filter((each) => addressesOf(each).some((address) => familyOf(address) === family));
      for (const from of [other.name, ...callers.map((each) => each.containerId)]) {
        const found = trace(cluster.world(), from, dst, undefined, tcp(ports?.[0]?.hostPort ?? 0));
        assert.equal(found.place, containerId, told(found));
        assert.ok(found.arrived, told(found));
        const isInside = overlaySubnets.some((prefix) => contains(prefix, found.src));
        const isGateway = isInside && trace(cluster.world(), containerId, found.src).place === host.name;
        assert.ok(!isInside || isGateway, `the answer would not come back: ${told(found)}`);
      }
    }
  });
});

test("the port of one address goes before the port of all", async () => {
  const shape: ClusterShape = {
    overlays: [[4]],
    hosts: [{ bridges: true, containers: [0, 0] }],
    underlay: 4,
    ingressForward: true,
    enableIpv6: true,
  };
  const cluster = await SimCluster.start(shape);
  const [host] = cluster.hosts;
  assert.ok(host !== undefined);
  const at = (dst: string, port: number) => trace(cluster.world(), "internet", ip(dst), INTERNET[4], tcp(port)).place;
  // The second container has 7000 at all addresses, the first at 10.0.0.10.
  assert.equal(at("10.0.0.10", 7000), "h0c0");
  host.kernel.addDevice("eth1", ["10.9.9.9/24"]);
  assert.equal(trace(cluster.world(), "host0", ip("10.9.9.9"), undefined, tcp(7000)).place, "h0c1");
  assert.equal(at("10.0.0.10", 8001), "h0c1");
  const other = trace(cluster.world(), "internet", ip("10.0.0.10"), INTERNET[4], tcp(9999));
  assert.equal(other.place, "host0", "a port that nobody has is the host's own");
});

test("what is not for this host is left alone, whatever its port", async () => {
  await forAnyContainer((cluster, host, { containerId, ports }, family) => {
    const port = tcp(ports?.[0]?.hostPort ?? 0);
    const to = trace(cluster.world(), containerId, INTERNET[family], undefined, port);
    assert.equal(to.place, "internet", told(to));
    const control = trace(cluster.world(), "internet", addressOf(cluster, host, family), INTERNET[family], port);
    assert.equal(control.place, containerId, told(control));
  });
});
