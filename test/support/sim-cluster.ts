/**
 * Whole hosts in one process: a fake machine each, with a device on one shared underlay, and beside them an "internet"
 * host that every host's default route leads to. Passes are run as an agent would run them.
 */
import { diff } from "../../src/core/host/diff.ts";
import type { KernelOp } from "../../src/core/host/host-state.ts";
import { desiredContainer } from "../../src/core/overlay/attach.ts";
import { desiredHost, sysctlPaths } from "../../src/core/overlay/desired.ts";
import { type FakeKernel, FakeMachine } from "../../src/io/kernel/fake-kernel.ts";
import type { FakeNamespace } from "../../src/io/kernel/fake-kernel-namespace.ts";
import type { Kernel } from "../../src/io/ports.ts";
import type { Peer } from "../../src/model/cluster.ts";
import { cidr, type Family, type Ip, lengthOf, nthAddress, withLength } from "../../src/model/ip.ts";
import {
  type ClusterHost,
  type ClusterShape,
  clusterHosts,
  INTERNET,
  UNDERLAY,
  UNDERLAY_MTU,
  underlayAddress,
} from "./cluster.ts";
import type { World } from "./packet-tracer.ts";
import { peerOf } from "./seed-cluster.ts";

export interface SimHost extends ClusterHost {
  readonly machine: FakeMachine;
  readonly kernel: FakeKernel;
  /** The namespaces of its containers, by container id. */
  readonly containers: ReadonlyMap<string, FakeNamespace>;
}

export class SimCluster {
  readonly hosts: readonly SimHost[];
  readonly internet: FakeKernel;

  private constructor(hosts: readonly SimHost[]) {
    this.hosts = hosts;
    this.internet = new FakeMachine().kernel();
    this.internet.addDevice("eth0", [
      ...([4, 6] as const).map((family) => `${gatewayAddress(family)}/${lengthOf(UNDERLAY[family])}`),
      `${INTERNET[4]}/32`,
      `${INTERNET[6]}/128`,
    ]);
  }

  /** Boots all hosts and runs a pass on each; every operation must succeed. */
  static async start(shape: ClusterShape): Promise<SimCluster> {
    const cluster = new SimCluster(clusterHosts(shape).map(bootHost));
    for (const host of cluster.hosts) await cluster.pass(host);
    return cluster;
  }

  peersOf(host: SimHost): Peer[] {
    return this.hosts.filter((other) => other !== host).map((other) => peerOf(other.context.assignment.agent));
  }

  /** What a pass would do to the host itself. */
  async opsOf({ context, attachments, kernel }: SimHost, peers: readonly Peer[]): Promise<readonly KernelOp[]> {
    const observed = await kernel.observe(sysctlPaths({ ...context, attachments }));
    return diff(observed, desiredHost({ ...context, attachments, peers, observed }));
  }

  /** One pass over a host and its containers. @returns how many operations it took */
  async pass(host: SimHost, peers: readonly Peer[] = this.peersOf(host)): Promise<number> {
    const { context, attachments, kernel } = host;
    const ops = await this.opsOf(host, peers);
    await mustApply(kernel, ops);
    let count = ops.length;
    for (const attachment of attachments) {
      const inside = await kernel.enter(attachment.netns);
      const desired = desiredContainer(attachment, context);
      const inner = diff(await inside.observe(desired.sysctls.map(({ path }) => path)), desired);
      await mustApply(inside, inner);
      count += inner.length;
      inside.close();
    }
    return count;
  }

  /** Everything that packets can travel through. */
  world(): World {
    const places = this.hosts.flatMap((host) => [
      { name: host.name, namespace: host.machine.root },
      ...[...host.containers].map(([name, namespace]) => ({ name, namespace })),
    ]);
    return { places: [...places, { name: "internet", namespace: this.internet.namespace }], underlayDev: "eth0" };
  }
}

export async function mustApply(kernel: Kernel, ops: readonly KernelOp[]): Promise<void> {
  const failures = await kernel.apply(ops);
  if (failures.length > 0) throw new Error(failures.map(({ error }) => error.message).join("\n"));
}

function bootHost(host: ClusterHost, n: number): SimHost {
  const machine = new FakeMachine();
  const kernel = machine.kernel();
  const addresses = ([4, 6] as const).map((f) => withLength(underlayAddress(f, n), lengthOf(UNDERLAY[f])));
  kernel.addDevice("eth0", addresses, UNDERLAY_MTU);
  for (const family of [4, 6] as const)
    kernel.addForeignRoute({
      dst: cidr(family === 4 ? "0.0.0.0/0" : "::/0"),
      table: 254,
      metric: family === 4 ? 0 : 1024,
      type: "unicast",
      dev: "eth0",
      via: gatewayAddress(family),
    });
  const containers = new Map(host.attachments.map((a) => [a.containerId, machine.newNetns(a.netns)]));
  return { ...host, machine, kernel, containers };
}

/** Where every host's default route leads: the internet host. */
function gatewayAddress(family: Family): Ip {
  return nthAddress(UNDERLAY[family], 1n);
}
