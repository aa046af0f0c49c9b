/** Policies between groups of containers, with packets followed through clusters on fake kernels, at each end by itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Attachment, addressesOf } from "../../src/model/attachment.ts";
import { familyOf, type Ip } from "../../src/model/ip.ts";
import { type Policy, type PolicyMember, type PolicyPorts, selects } from "../../src/model/policy.ts";
import { type ClusterShape, INTERNET } from "../support/cluster.ts";
import type { Transport } from "../support/nft-interpreter.ts";
import { type Trace, trace } from "../support/packet-tracer.ts";
import { mustApply, SimCluster, type SimHost } from "../support/sim-cluster.ts";

const SHAPE: ClusterShape = {
  overlays: [
    [4, 6],
    [4, 6],
  ],
  hosts: [
    { bridges: true, containers: [0, 0, 1] },
    { bridges: true, containers: [0, 1, 1] },
  ],
  underlay: 4,
  ingressForward: true,
  enableIpv6: true,
};
const HTTP: PolicyPorts = { protocol: "tcp", first: 80, last: 80 };
const DB: PolicyPorts = { protocol: "tcp", first: 5432, last: 5440 };
const DNS: PolicyPorts = { protocol: "udp", first: 53, last: 53 };
const PACKETS: readonly Transport[] = [80, 5432, 5440, 53].flatMap((dport) =>
  (["tcp", "udp"] as const).map((protocol) => ({ protocol, sport: 40_000, dport })),
);

type Labels = Readonly<Record<string, string>>;

class Ruled {
  readonly cluster: SimCluster;
  readonly members: readonly PolicyMember[];
  readonly policies: readonly Policy[];

  private constructor(cluster: SimCluster, members: readonly PolicyMember[], policies: readonly Policy[]) {
    this.cluster = cluster;
    this.members = members;
    this.policies = policies;
  }

  /** @param labels of the containers in their order */
  static async start(labels: readonly Labels[], policies: readonly Policy[]): Promise<Ruled> {
    const cluster = await SimCluster.start(SHAPE);
    const members = cluster.hosts
      .flatMap(({ attachments }) => attachments)
      .map((attachment, i) => ({
        network: attachment.network,
        labels: labels[i] ?? {},
        addresses: addressesOf(attachment),
      }));
    const ruled = new Ruled(cluster, members, policies);
    for (const host of cluster.hosts) {
      await ruled.apply(host, policies);
      assert.deepEqual(await ruled.apply(host, policies), 0);
    }
    return ruled;
  }

  async apply(host: SimHost, policies: readonly Policy[]): Promise<number> {
    const assignment = { ...host.context.assignment, policies };
    const next = { ...host, context: { ...host.context, assignment, members: this.members } };
    const ops = await this.cluster.opsOf(next, this.cluster.peersOf(host));
    assert.ok(ops.every(({ op }) => op.startsWith("nft.")));
    await mustApply(host.kernel, ops);
    return ops.length;
  }

  memberOf({ ip }: Attachment): PolicyMember {
    return this.members.find(({ addresses }) => addresses.includes(ip as Ip)) as PolicyMember;
  }

  may(from: Attachment, to: Attachment, packet: Transport): boolean {
    const selecting = this.policies.filter((policy) => selects(policy.to, policy, this.memberOf(to)));
    return selecting.length === 0 || selecting.some((policy) => lets(policy, this.memberOf(from), packet));
  }

  everyPacket(check: (from: Attachment, to: Attachment, packet: Transport, found: Trace) => void): void {
    const attachments = this.cluster.hosts.flatMap((host) => host.attachments);
    for (const from of attachments)
      for (const to of attachments)
        for (const dst of from === to ? [] : addressesOf(to))
          for (const packet of PACKETS) {
            const src = addressesOf(from).find((address) => familyOf(address) === familyOf(dst));
            check(from, to, packet, trace(this.cluster.world(), from.containerId, dst, src, packet));
          }
  }
}

function lets({ ports, ...policy }: Policy, from: PolicyMember, packet: Transport): boolean {
  const isOf = ({ protocol, first, last }: PolicyPorts) =>
    "dport" in packet && packet.protocol === protocol && first <= packet.dport && packet.dport <= last;
  return selects(policy.from, policy, from) && (ports.length === 0 || ports.some(isOf));
}

const selector = fc.constantFrom<Labels>({ app: "web" }, { app: "db" }, { tier: "1" }, { app: "web", tier: "1" });
const anyLabels = fc.constantFrom<Labels>(
  {},
  { app: "web" },
  { app: "db" },
  { app: "db", tier: "1" },
  { app: "web", tier: "1" },
);
const anyPolicies = fc
  .array(
    fc.record({
      network: fc.constantFrom(undefined, undefined, "net0"),
      from: selector,
      to: selector,
      ports: fc.uniqueArray(fc.constantFrom(HTTP, DB, DNS), { maxLength: 2 }),
    }),
    { maxLength: 5 },
  )
  .map((list) =>
    list.map(({ network, ...rest }, i): Policy => {
      return { name: `p${i}`, ...rest, ...(network === undefined ? {} : { network }) };
    }),
  );

for (const ends of ["both", "sender", "receiver"] as const)
  test(`any policies let through what they say, and nothing else to whom they select (rules at: ${ends})`, async () => {
    const labels = fc.array(anyLabels, { minLength: 6, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(labels, anyPolicies, async (labels, policies) => {
        const ruled = await Ruled.start(labels, policies);
        const isSame = (from: Attachment, to: Attachment) =>
          from.containerId.slice(0, 2) === to.containerId.slice(0, 2);
        if (ends !== "both") await ruled.apply(ruled.cluster.hosts[ends === "sender" ? 1 : 0] as SimHost, []);
        ruled.everyPacket((from, to, packet, found) => {
          // With one host's rules alone, packets from the first host to the second show one end.
          if (ends !== "both" && (isSame(from, to) || !from.containerId.startsWith("h0"))) return;
          const text = `${JSON.stringify(packet)} ${from.containerId} → ${to.containerId}: ${found.reason}`;
          assert.equal(found.arrived, ruled.may(from, to, packet), text);
        });
      }),
      { numRuns: 25 },
    );
  });

test("as long as nobody told who is where, what the kernel has stays", async () => {
  const labels: readonly Labels[] = [{ app: "web" }, { app: "db" }, {}, { app: "db" }, { app: "web" }, {}];
  const policy: Policy = { name: "p", from: { app: "web" }, to: { app: "db" }, ports: [DB] };
  const { cluster, members } = await Ruled.start(labels, [policy]);
  for (const host of cluster.hosts) {
    const own = new Set(host.attachments.flatMap(addressesOf));
    const mine = members.filter(({ addresses }) => addresses.some((address) => own.has(address)));
    const assignment = { ...host.context.assignment, policies: [policy] };
    const opsWhile = (otherMembersStay: boolean) => {
      const context = { ...host.context, assignment, members: mine, otherMembersStay };
      return cluster.opsOf({ ...host, context }, cluster.peersOf(host));
    };
    assert.deepEqual(await opsWhile(true), []);
    assert.notDeepEqual(await opsWhile(false), []);
  }
});

test("who is guarded is reached by hosts and the outside, and reaches all itself", async () => {
  const labels = Array.from({ length: 6 }, () => ({ app: "db" }));
  const nobody: Policy = { name: "nobody", from: { app: "web" }, to: { app: "db" }, ports: [] };
  const { cluster } = await Ruled.start(labels, [nobody]);
  for (const host of cluster.hosts)
    for (const to of cluster.hosts.flatMap(({ attachments }) => attachments)) {
      assert.ok(trace(cluster.world(), host.name, to.ip as Ip).arrived);
      assert.ok(trace(cluster.world(), to.containerId, INTERNET[4], to.ip).arrived);
    }
  const [{ context, attachments }] = cluster.hosts as [SimHost];
  const dport = attachments[0]?.ports?.[0]?.hostPort ?? 0;
  const asked = { protocol: "tcp", sport: 4, dport } as const;
  assert.ok(trace(cluster.world(), "internet", context.assignment.agent.ip, INTERNET[4], asked).arrived);
});
