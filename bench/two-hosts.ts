/**
 * Two hosts with one container each, as network namespaces joined by a veth, wired in one of two ways: by Weft's own
 * desired state and kernel, or by hand with `ip`, `ipset` and `iptables` as the original wires it.
 *
 * Both ways start from the same empty namespaces. Everything lives in namespaces named after this process, and is gone
 * when it ends.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { diff } from "../src/core/host/diff.ts";
import type { HostState } from "../src/core/host/host-state.ts";
import { desiredContainer } from "../src/core/overlay/attach.ts";
import { desiredHost, sysctlPaths } from "../src/core/overlay/desired.ts";
import { readFacts } from "../src/core/overlay/facts.ts";
import { openLinuxKernel } from "../src/io/kernel/linux-kernel.ts";
import type { Kernel } from "../src/io/ports.ts";
import type { Attachment } from "../src/model/attachment.ts";
import type { AgentOverlay, AgentRecord, Assignment, Peer } from "../src/model/cluster.ts";
import { assert } from "../src/model/fault.ts";
import { addressOf, cidr, ip, ipInterface } from "../src/model/ip.ts";
import { mac } from "../src/model/mac.ts";
import { atEnd } from "./figures.ts";

export const CONTAINER = ["9.0.1.2", "9.0.2.2"] as const;
export const HOST = ["10.0.0.11", "10.0.0.12"] as const;

export interface TwoHosts {
  /** Names of the namespaces, the client's first. */
  readonly hosts: readonly [string, string];
  readonly containers: readonly [string, string];
}

/** Makes the namespaces and the underlay: `eth0` on both hosts, nothing else. */
export function openTwoHosts(label: string): TwoHosts {
  const name = (part: string) => `weft-bench-${process.pid}-${label}-${part}`;
  const hosts = [name("h1"), name("h2")] as const;
  const containers = [name("c1"), name("c2")] as const;
  for (const namespace of [...hosts, ...containers]) makeNamespace(namespace);
  run(["ip", "-n", hosts[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", hosts[1]]);
  hosts.forEach((host, i) => {
    run(["ip", "-n", host, "address", "add", `${HOST[i]}/24`, "dev", "eth0"]);
    run(["ip", "-n", host, "link", "set", "eth0", "up"]);
  });
  return { hosts, containers };
}

/** A network namespace with nothing but its loopback, until this process ends. */
export function makeNamespace(name: string): void {
  atEnd(() => removeNamespace(name));
  run(["ip", "netns", "add", name]);
  run(["ip", "-n", name, "link", "set", "lo", "up"]);
}

/** One that is not there is fine. */
export function removeNamespace(name: string): void {
  spawnSync("ip", ["netns", "del", name], { stdio: "ignore" });
}

/** The original's wiring, typed by hand: bridge with netfilter on it, table 42, ipset and MASQUERADE. */
export function wireByHand({ hosts, containers }: TwoHosts): void {
  hosts.forEach((host, i) => {
    const n = i + 1;
    const p = 2 - i;
    const container = containers[i] as string;
    const script = `
      sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
      ip link add vtep1024 address 70:b3:d5:80:00:0${n} type vxlan id 1024 local 10.0.0.1${n} dstport 64000 nolearning
      ip link set vtep1024 mtu 1450 up
      ip address add 44.128.0.${n}/20 dev vtep1024
      ip neigh add 44.128.0.${p} lladdr 70:b3:d5:80:00:0${p} dev vtep1024 nud permanent
      bridge fdb add 70:b3:d5:80:00:0${p} dev vtep1024 dst 10.0.0.1${p}
      ip route add 9.0.${p}.0/24 via 44.128.0.${p} dev vtep1024
      ip rule add from 9.0.0.0/8 lookup 42
      ip route add 10.0.0.1${p}/32 via 44.128.0.${p} table 42
      ip link add m-dcos type bridge
      ip address add 9.0.${n}.1/25 dev m-dcos
      ip link set m-dcos up
      ip link add v0 type veth peer name eth0 netns ${container}
      ip link set v0 master m-dcos up
      bridge link set dev v0 hairpin on
      ip -n ${container} address add 9.0.${n}.2/25 dev eth0
      ip -n ${container} link set eth0 mtu 1450 up
      ip -n ${container} route add default via 9.0.${n}.1
      ipset create overlay hash:net counters
      ipset add overlay 0.0.0.0/1
      ipset add overlay 128.0.0.0/1
      ipset add overlay 9.0.0.0/8 nomatch
      iptables-legacy -t nat -A POSTROUTING -s 9.0.0.0/8 -m set --match-set overlay dst -j MASQUERADE
      iptables-legacy -A FORWARD -j ACCEPT`;
    run(["ip", "netns", "exec", host, "sh", "-ec", script]);
  });
}

/**
 * Weft's wiring: what an agent's first pass and two ADDs would leave, by the same functions.
 * @param more what the master says besides, to the first and to the second host; `overlays`: further ones
 */
export async function wireByWeft(
  { hosts, containers }: TwoHosts,
  more: (host: number) => Partial<Assignment> & { readonly overlays?: readonly AgentOverlay[] } = () => ({}),
): Promise<void> {
  const root = openLinuxKernel();
  try {
    for (const i of [0, 1] as const) {
      const kernel = await root.enter(`/run/netns/${hosts[i]}`);
      const container = await root.enter(`/run/netns/${containers[i]}`);
      const features = await kernel.features();
      const { overlays = [], ...rest } = more(i);
      const { agent, ...plain } = assignmentOf(i);
      const assignment = { ...plain, ...rest, agent: { ...agent, overlays: [...agent.overlays, ...overlays] } };
      const facts = readFacts(await kernel.observe([]), assignment.agent.ip);
      const attachment = attachmentOf(i, containers[i], container.netnsId);
      const context = { assignment, facts, features };
      const attachments = [attachment];
      const paths = sysctlPaths({ ...context, attachments });
      await converge(kernel, paths, (observed) =>
        desiredHost({ ...context, peers: [peerOf(1 - i)], attachments, observed }),
      );
      const inside = desiredContainer(attachment, context);
      await converge(
        container,
        inside.sysctls.map(({ path }) => path),
        () => inside,
      );
      container.close();
      kernel.close();
    }
  } finally {
    root.close();
  }
}

async function converge(
  kernel: Kernel,
  sysctlPaths: readonly string[],
  desired: (observed: HostState) => HostState,
): Promise<void> {
  const pass = async () => {
    const observed = await kernel.observe(sysctlPaths);
    return diff(observed, desired(observed));
  };
  const failures = await kernel.apply(await pass());
  assert(failures.length === 0, `the wiring is programmed without failure: ${JSON.stringify(failures)}`);
  const rest = await pass();
  assert(rest.length === 0, `a second pass finds nothing to do: ${JSON.stringify(rest)}`);
}

function recordOf(i: number): AgentRecord {
  const n = i + 1;
  return {
    id: `agent-${n}`,
    ip: ip(HOST[i] as string),
    hostname: `host${n}`,
    backend: {
      vni: 1024,
      vtepName: "vtep1024",
      vtepIp: ipInterface(`44.128.0.${n}/20`),
      vtepMac: mac(`70:b3:d5:80:00:0${n}`),
    },
    overlays: [
      {
        info: { name: "dcos", subnet: cidr("9.0.0.0/8"), prefix: 24, enabled: true },
        subnet: cidr(`9.0.${n}.0/24`),
        mesosBridge: { name: "m-dcos", ip: cidr(`9.0.${n}.0/25`) },
        dockerBridge: { name: "d-dcos", ip: cidr(`9.0.${n}.128/25`) },
      },
    ],
  };
}

function assignmentOf(i: number): Assignment {
  return {
    agent: recordOf(i),
    overlaySubnets: [cidr("9.0.0.0/8")],
    vtepSubnets: [cidr("44.128.0.0/20")],
    enableIpv6: false,
  };
}

function peerOf(i: number): Peer {
  const record = recordOf(i);
  return {
    id: record.id,
    ip: record.ip,
    vtepIp: addressOf(record.backend.vtepIp),
    vtepMac: record.backend.vtepMac,
    subnets: record.overlays.flatMap((overlay) => overlay.subnet ?? []),
  };
}

function attachmentOf(i: number, namespace: string, netnsId: string): Attachment {
  return {
    containerId: `c${i + 1}`,
    ifname: "eth0",
    network: "dcos",
    netns: `/run/netns/${namespace}`,
    netnsId,
    hostIfname: `weftbench${i + 1}`,
    mac: mac(`02:57:09:00:0${i + 1}:02`),
    ip: ip(CONTAINER[i] as string),
    state: "attached",
    requestId: `r${i + 1}`,
    runtime: "podman",
    since: "2026-11-21T08:00:00Z",
  };
}

export function run(argv: readonly string[]): string {
  return execFileSync(argv[0] as string, argv.slice(1), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
