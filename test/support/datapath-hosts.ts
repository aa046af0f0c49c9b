/**
 * Two hosts with containers, each a network namespace of its own, joined by a veth, as an agent would wire them: by the
 * desired state of a cluster of test/support/cluster.ts, at a level of the datapath. All of it is gone at the test's end.
 *
 * The first host's containers are 9.0.0.2 and 9.0.0.3, the second's 9.0.1.2 and 9.0.101.3 (of a further slice), all with
 * an IPv6 address as well; the third container of each is in a network that is closed. A third host is known to both, and
 * is not there.
 */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { DatapathPath } from "../../src/core/host/datapath.ts";
import { diff } from "../../src/core/host/diff.ts";
import type { HostState } from "../../src/core/host/host-state.ts";
import { desiredContainer } from "../../src/core/overlay/attach.ts";
import type { OverlayContext } from "../../src/core/overlay/context.ts";
import type { DatapathLevel } from "../../src/core/overlay/datapath.ts";
import { desiredHost, type OverlayInput, sysctlPaths } from "../../src/core/overlay/desired.ts";
import { readFacts } from "../../src/core/overlay/facts.ts";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import type { Kernel } from "../../src/io/ports.ts";
import type { Attachment } from "../../src/model/attachment.ts";
import { type Family, type Ip, ipInterface } from "../../src/model/ip.ts";
import { type Mac, mac } from "../../src/model/mac.ts";
import { type ClusterHost, clusterHosts } from "./cluster.ts";
import { openTestNetns, type TestNetns } from "./netns.ts";
import { peerOf } from "./seed-cluster.ts";

export const UNDERLAY_DEV = "eth0";
/** Of the two hosts' ends of the underlay. */
export const UNDERLAY_MACS: readonly [Mac, Mac] = [mac("02:00:00:00:00:10"), mac("02:00:00:00:00:11")];

export interface LabContainer {
  readonly netns: TestNetns;
  readonly attachment: Attachment;
  readonly mac: Mac;
  readonly address: Readonly<Record<Family, Ip>>;
}

export interface LabHost {
  readonly netns: TestNetns;
  readonly context: OverlayContext;
  readonly ip: Ip;
  /** The container of the third host. */
  readonly absent: Pick<LabContainer, "address">;
  readonly containers: readonly [LabContainer, LabContainer, LabContainer];
  /** One pass, after which nothing is left to do. @param change of what is desired, from then on */
  pass(change?: Partial<OverlayInput>): Promise<void>;
  /** As an agent that starts anew: what it passes with knows nothing of before. */
  restart(): Promise<void>;
  /** Packets by path since the datapath was made. */
  paths(): Promise<Partial<Record<DatapathPath, number>>>;
}

/** Both hosts, wired. @param t what tells the end */
export async function openHosts(
  t: Pick<TestContext, "after">,
  level: DatapathLevel,
): Promise<readonly [LabHost, LabHost]> {
  const cluster = clusterHosts({
    overlays: [
      [4, 6],
      [4, 6],
    ],
    rules: [{}, { isolation: "closed" }],
    hosts: [
      { bridges: true, containers: [0, 0, 1] },
      { bridges: true, containers: [0, 0, 1] },
      { bridges: true, containers: [0] },
    ],
    underlay: 4,
    ingressForward: true,
    enableIpv6: true,
  });
  const [first, second] = [await openTestNetns(t), await openTestNetns(t)];
  const underlay = { netns: second.path, name: UNDERLAY_DEV, mac: UNDERLAY_MACS[1], mtu: 1500 };
  await carryOut(first.kernel, [
    {
      op: "link.add",
      link: { kind: "veth", name: UNDERLAY_DEV, up: true, mac: UNDERLAY_MACS[0], mtu: 1500, peer: underlay },
    },
  ]);
  const hosts = await Promise.all([first, second].map((netns, i) => openHost(t, netns, cluster, i, level)));
  return [hosts[0], hosts[1]] as [LabHost, LabHost];
}

async function openHost(
  t: Pick<TestContext, "after">,
  netns: TestNetns,
  cluster: readonly ClusterHost[],
  place: number,
  level: DatapathLevel,
): Promise<LabHost> {
  let { kernel } = netns;
  const { context: given, attachments: planned } = cluster[place] as ClusterHost;
  const own = given.assignment.agent.ip;
  await carryOut(kernel, [
    { op: "link.set", name: UNDERLAY_DEV, up: true },
    { op: "address.replace", address: { dev: UNDERLAY_DEV, address: ipInterface(`${own}/16`) } },
  ]);
  const context: OverlayContext = {
    ...given,
    facts: readFacts(await kernel.observe([]), own),
    features: await kernel.features(),
    datapath: { maxLevel: level, sampleEvery: 0 },
  };
  const containers: LabContainer[] = [];
  for (const attachment of planned) containers.push(await openContainer(t, attachment));
  const peers = cluster.filter((_, i) => i !== place).map((host) => peerOf(host.context.assignment.agent));
  const attachments = containers.map(({ attachment }) => attachment);
  let input: OverlayInput = { ...context, peers, attachments, observed: await kernel.observe([]) };
  const pass = async (change: Partial<OverlayInput> = {}) => {
    input = { ...input, ...change };
    await converge(kernel, sysctlPaths(input), (observed) => desiredHost({ ...input, observed }));
  };
  await pass();
  for (const { netns: inside, attachment } of containers) {
    const desired = desiredContainer(attachment, context);
    await converge(
      inside.kernel,
      desired.sysctls.map(({ path }) => path),
      () => desired,
    );
  }
  const restart = async () => {
    const root = openLinuxKernel();
    const fresh = await root.enter(netns.path);
    t.after(() => {
      fresh.close();
      root.close();
    });
    kernel = fresh;
  };
  const paths = async () => {
    const counts = Object.entries((await kernel.traffic())?.paths ?? {});
    return Object.fromEntries(counts.map(([path, { packets }]) => [path, packets]));
  };
  const absent = addressesOf(cluster[2]?.attachments[0]);
  return {
    netns,
    context,
    ip: own,
    absent: { address: absent },
    containers: containers as never,
    pass,
    restart,
    paths,
  };
}

async function openContainer(t: Pick<TestContext, "after">, planned: Attachment): Promise<LabContainer> {
  const netns = await openTestNetns(t);
  const { ports: _, ...rest } = planned;
  const attachment = { ...rest, netns: netns.path, netnsId: netns.kernel.netnsId };
  return { netns, attachment, mac: attachment.mac, address: addressesOf(attachment) };
}

function addressesOf(attachment: Attachment | undefined): Readonly<Record<Family, Ip>> {
  assert.ok(attachment?.ip !== undefined && attachment.ip6 !== undefined);
  return { 4: attachment.ip, 6: attachment.ip6 };
}

async function converge(kernel: Kernel, paths: readonly string[], desired: (observed: HostState) => HostState) {
  const ops = async () => {
    const observed = await kernel.observe(paths);
    return diff(observed, desired(observed));
  };
  await carryOut(kernel, await ops());
  assert.deepEqual(await ops(), [], "a second pass finds nothing to do");
}

async function carryOut(kernel: Kernel, ops: Parameters<Kernel["apply"]>[0]): Promise<void> {
  const failures = await kernel.apply(ops);
  assert.deepEqual(
    failures.map(({ error }) => error.message),
    [],
  );
}

/** What was counted between two readings, by path; those that did not change are left out. */
export async function counted(
  host: LabHost,
  during: () => Promise<unknown>,
): Promise<Partial<Record<DatapathPath, number>>> {
  const before = await host.paths();
  await during();
  const after = Object.entries(await host.paths()) as [DatapathPath, number][];
  return Object.fromEntries(
    after.flatMap(([path, n]) => (n === (before[path] ?? 0) ? [] : [[path, n - (before[path] ?? 0)]])),
  );
}
