/**
 * Two hosts with one container each (and a second one on the first where that is asked for), as network namespaces joined
 * by a veth, wired in one of two ways: by Weft's own desired state and kernel, or by hand with `ip`, `ipset` and `iptables`
 * as the original wires it.
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
import { addressOf, cidr, type Ip, ip, ipInterface } from "../src/model/ip.ts";
import { mac } from "../src/model/mac.ts";
import { atEnd } from "./figures.ts";

export const CONTAINER = ["9.0.1.2", "9.0.2.2"] as const;
/** Of the second container on the first host. */
export const NEIGHBOUR = "9.0.1.3";
export const HOST = ["10.0.0.11", "10.0.0.12"] as const;

export interface TwoHosts {
  /** Names of the namespaces, the client's first. */
  readonly hosts: readonly [string, string];
  readonly containers: readonly [string, string];
  /** Another container on the first host; absent: there is none. */
  readonly neighbour?: string;
}

export interface TwoHostsOptions {
  readonly neighbour?: boolean;
  /** Length of the underlay's prefix; absent: 24. */
  readonly underlay?: number;
}

/** Makes the namespaces and the underlay: `eth0` on both hosts, nothing else. */
export function openTwoHosts(label: string, options: TwoHostsOptions = {}): TwoHosts {
  const name = (part: string) => `weft-bench-${process.pid}-${label}-${part}`;
  const hosts = [name("h1"), name("h2")] as const;
  const containers = [name("c1"), name("c2")] as const;
  const neighbour = options.neighbour === true ? name("c3") : undefined;
  for (const namespace of [...hosts, ...containers, ...(neighbour === undefined ? [] : [neighbour])])
    makeNamespace(namespace);
  run(["ip", "-n", hosts[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", hosts[1]]);
  hosts.forEach((host, i) => {
    run(["ip", "-n", host, "address", "add", `${HOST[i]}/${options.underlay ?? 24}`, "dev", "eth0"]);
    run(["ip", "-n", host, "link", "set", "eth0", "up"]);
  });
  return { hosts, containers, ...(neighbour !== undefined && { neighbour }) };
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

/**
 * The original's wiring, typed by hand: bridge with netfilter on it, table 42, ipset and MASQUERADE.
 * @param docker whether the hosts also have the chains that a Docker engine makes
 */
export function wireByHand({ hosts, containers, neighbour }: TwoHosts, { docker = false } = {}): void {
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
      ${onBridge("v0", container, CONTAINER[i] as string, `9.0.${n}.1`)}
      ${i === 0 && neighbour !== undefined ? onBridge("v1", neighbour, NEIGHBOUR, `9.0.${n}.1`) : ""}
      ${docker ? DOCKER_CHAINS : ""}
      ipset create overlay hash:net counters
      ipset add overlay 0.0.0.0/1
      ipset add overlay 128.0.0.0/1
      ipset add overlay 9.0.0.0/8 nomatch
      iptables-legacy -t nat -A POSTROUTING -s 9.0.0.0/8 -m set --match-set overlay dst -j MASQUERADE
      iptables-legacy -A FORWARD -j ACCEPT`;
    run(["ip", "netns", "exec", host, "sh", "-ec", script]);
  });
}

/** A container of the original's. */
function onBridge(veth: string, container: string, address: string, gateway: string): string {
  return `
      ip link add ${veth} type veth peer name eth0 netns ${container}
      ip link set ${veth} master m-dcos up
      bridge link set dev ${veth} hairpin on
      ip -n ${container} address add ${address}/25 dev eth0
      ip -n ${container} link set eth0 mtu 1450 up
      ip -n ${container} route add default via ${gateway}`;
}

/** As `iptables-legacy-save` shows them with Docker 20.10 and its default bridge, in its order. */
const DOCKER_CHAINS = `
      iptables-legacy-restore --noflush <<END
      *nat
      :DOCKER -
      -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
      -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
      -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
      -A DOCKER -i docker0 -j RETURN
      COMMIT
      *filter
      :DOCKER -
      :DOCKER-ISOLATION-STAGE-1 -
      :DOCKER-ISOLATION-STAGE-2 -
      :DOCKER-USER -
      -A FORWARD -j DOCKER-USER
      -A FORWARD -j DOCKER-ISOLATION-STAGE-1
      -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
      -A FORWARD -o docker0 -j DOCKER
      -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
      -A FORWARD -i docker0 -o docker0 -j ACCEPT
      -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
      -A DOCKER-ISOLATION-STAGE-1 -j RETURN
      -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
      -A DOCKER-ISOLATION-STAGE-2 -j RETURN
      -A DOCKER-USER -j RETURN
      COMMIT
      END`.replaceAll(/^ +/gm, "");

/** What a host is told besides that there are two of them. */
export interface Told extends Partial<Assignment> {
  /** Further ones than the containers'. */
  readonly overlays?: readonly AgentOverlay[];
  /** Further ones than the other host. */
  readonly peers?: readonly Peer[];
  /** Addresses whose packets other programs on the host translate (VIPs). */
  readonly special?: readonly Ip[];
}

/** How much of the kernel's own way the fast path leaves out: 0 nothing, 1 all but its VXLAN device, 2 that as well. */
export type FastPathLevel = 0 | 1 | 2;

/**
 * Weft's wiring: what an agent's first pass and two or three ADDs would leave, by the same functions.
 * @param more what is told besides to the first and to the second host
 * @param level absent: whatever is made where nothing is said
 */
export async function wireByWeft(
  { hosts, containers, neighbour }: TwoHosts,
  more: (host: number) => Told = () => ({}),
  level?: FastPathLevel,
): Promise<void> {
  const root = openLinuxKernel();
  try {
    for (const i of [0, 1] as const) {
      const kernel = await root.enter(`/run/netns/${hosts[i]}`);
      const features = await kernel.features();
      const { overlays = [], peers = [], special, ...rest } = more(i);
      const { agent, ...plain } = assignmentOf(i);
      const assignment = { ...plain, ...rest, agent: { ...agent, overlays: [...agent.overlays, ...overlays] } };
      const facts = readFacts(await kernel.observe([]), assignment.agent.ip);
      const context = { assignment, facts, features, ...withFastPath(level, special) };
      const inside: { readonly container: Kernel; readonly attachment: Attachment }[] = [];
      for (const namespace of [containers[i], ...(i === 0 && neighbour !== undefined ? [neighbour] : [])]) {
        const container = await root.enter(`/run/netns/${namespace}`);
        inside.push({ container, attachment: attachmentOf(i, inside.length, namespace, container.netnsId) });
      }
      const attachments = inside.map(({ attachment }) => attachment);
      const paths = sysctlPaths({ ...context, attachments });
      await converge(kernel, paths, (observed) =>
        desiredHost({ ...context, peers: [peerOf(1 - i), ...peers], attachments, observed }),
      );
      for (const { container, attachment } of inside) {
        const desired = desiredContainer(attachment, context);
        await converge(
          container,
          desired.sysctls.map(({ path }) => path),
          () => desired,
        );
        container.close();
      }
      kernel.close();
    }
  } finally {
    root.close();
  }
}

/** The part of the context that the datapath is made of. */
function withFastPath(level: FastPathLevel | undefined, services: readonly Ip[] = []) {
  return { ...(level !== undefined && { datapath: { maxLevel: level, sampleEvery: 0 } }), services };
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

/** @param nth of the host's containers, from 0 */
function attachmentOf(i: number, nth: number, namespace: string, netnsId: string): Attachment {
  const key = nth === 0 ? `${i + 1}` : `${i + 1}-${nth + 1}`;
  return {
    containerId: `c${key}`,
    ifname: "eth0",
    network: "dcos",
    netns: `/run/netns/${namespace}`,
    netnsId,
    hostIfname: `weftbench${key}`,
    mac: mac(`02:57:09:00:0${i + 1}:0${nth + 2}`),
    ip: ip(nth === 0 ? (CONTAINER[i] as string) : NEIGHBOUR),
    state: "attached",
    requestId: `r${key}`,
    runtime: "podman",
    since: "2026-11-21T08:00:00Z",
  };
}

export function run(argv: readonly string[]): string {
  return execFileSync(argv[0] as string, argv.slice(1), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
