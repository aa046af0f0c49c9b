/**
 * The same three containers twice on one lab host: attached by Weft, and by the reference plugins `bridge` and
 * `host-local` of Debian. What an attack does on the reference shows that it is a real one; on Weft it must do nothing.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import type { Machine } from "../../src/app/demo/machine.ts";
import { Netns } from "../../src/app/demo/netns.ts";
import { attach, type RuntimeHost } from "../../src/app/demo/runtime.ts";
import { addressOf, familyOf, type Ip, ip, ipInterface } from "../../src/model/ip.ts";
import { type Mac, mac } from "../../src/model/mac.ts";
import { agentOf, type Cluster } from "./lab-cluster.ts";
import { REFERENCE_BIN } from "./machine-agent.ts";
import { RawSocket } from "./packet-socket.ts";

export interface Party {
  readonly netns: Netns;
  readonly mac: Mac;
  readonly ip: Ip;
  /** `::` on a network without IPv6. */
  readonly ip6: Ip;
  /** Of its `eth0`; made from the MAC, whether the container has it or not. */
  readonly linkLocal: Ip;
  /** All frames of its `eth0`. */
  readonly socket: RawSocket;
}

export interface Side {
  readonly name: "weft" | "reference";
  readonly host: Pick<Netns, "run">;
  readonly attacker: Party;
  readonly victim: Party;
  /** A container whose identity is worth having. */
  readonly third: Party;
  readonly gateway: Ip;
  readonly gateway6: Ip;
  readonly gatewayMac: Mac;
  /** The link-local address that the gateway would have as an IPv6 router. */
  readonly router: Ip;
  /** Where the attacker sends a frame for the victim: straight to it on a bridge, to the host on Weft. */
  readonly towardsVictim: Mac;
}

/** @param network on the Weft side; the reference has the same families */
export async function weftSide(cluster: Cluster, network: string): Promise<Side> {
  const agent = agentOf(cluster, 1);
  const side = await makeSide("weft", agent, network);
  return { ...side, towardsVictim: side.gatewayMac };
}

/**
 * A bridge with a gateway and masquerading, as everybody writes it. `portmap` comes after it, as Podman writes it.
 * @param machine on the host; the plugins look into /proc
 */
export async function referenceSide(machine: Machine, name: string, subnets: readonly string[]): Promise<Side> {
  const confDir = join(LAB_DIR, "reference");
  mkdirSync(confDir, { recursive: true });
  const ipam = {
    type: "host-local",
    ranges: subnets.map((subnet) => [{ subnet }]),
    routes: subnets.map((subnet) => ({ dst: subnet.includes(":") ? "::/0" : "0.0.0.0/0" })),
  };
  const bridge = { type: "bridge", bridge: name, isGateway: true, ipMasq: true, hairpinMode: true, ipam };
  const portMappings = [{ hostPort: 8099, containerPort: 99, protocol: "tcp", hostIP: "127.0.0.1" }];
  const plugins = [bridge, { type: "portmap", capabilities: { portMappings: true }, runtimeConfig: { portMappings } }];
  writeFileSync(join(confDir, `${name}.conflist`), JSON.stringify({ cniVersion: "1.0.0", name, plugins }));
  const host: RuntimeHost = { netns: machine, confDir, binDir: REFERENCE_BIN };
  const side = await makeSide("reference", host, name);
  const device = await machine.mustRun("ip", ["-6", "-o", "address", "show", "dev", name, "scope", "link"]);
  const router = ip(/inet6 ([^/]+)/.exec(device)?.[1] ?? "::");
  return { ...side, router, towardsVictim: side.victim.mac };
}

async function makeSide(name: Side["name"], host: RuntimeHost, network: string): Promise<Omit<Side, "towardsVictim">> {
  const [attacker, victim, third] = [
    await makeParty(host, network, `${network}-attacker`),
    await makeParty(host, network, `${network}-victim`),
    await makeParty(host, network, `${network}-third`),
  ];
  // What a container in use knows: its gateway.
  for (const { netns } of [attacker, victim, third])
    for (const gateway of attacker.gateways) await netns.run("ping", ["-c1", "-W2", gateway]);
  const { stdout } = await attacker.netns.run("ip", ["neigh", "show", "dev", "eth0"]);
  const gatewayMac = mac(/lladdr (\S+)/.exec(stdout)?.[1] ?? "");
  return {
    name,
    host: host.netns,
    attacker,
    victim,
    third,
    gateway: attacker.gateways.find((each) => familyOf(each) === 4) ?? ip("0.0.0.0"),
    gateway6: attacker.gateways.find((each) => familyOf(each) === 6) ?? ip("::"),
    gatewayMac,
    router: linkLocal(gatewayMac),
  };
}

async function makeParty(
  host: RuntimeHost,
  network: string,
  name: string,
): Promise<Party & { readonly gateways: readonly Ip[] }> {
  const netns = await Netns.create(name);
  // Nobody waits a second for whether an address is taken.
  await netns.setSysctl("ipv6/conf/default/accept_dad", "0");
  const { ips } = await attach(host, network, { containerId: name, netns: netns.path, ifname: "eth0" });
  const addresses = ips.map(({ address }) => addressOf(ipInterface(address)));
  const [device] = JSON.parse(await netns.mustRun("ip", ["-j", "link", "show", "dev", "eth0"])) as {
    address: string;
  }[];
  const own = mac(device?.address ?? "");
  return {
    netns,
    mac: own,
    ip: addresses.find((each) => familyOf(each) === 4) ?? ip("0.0.0.0"),
    ip6: addresses.find((each) => familyOf(each) === 6) ?? ip("::"),
    linkLocal: linkLocal(own),
    socket: RawSocket.onDevice(netns.path, "eth0"),
    gateways: ips.map(({ gateway = "" }) => ip(gateway)),
  };
}

/** RFC 4291, appendix A. */
function linkLocal(of: Mac): Ip {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = of.split(":").map((byte) => Number.parseInt(byte, 16));
  const group = (high: number, low: number) => ((high << 8) | low).toString(16);
  return ip(`fe80::${group(a ^ 2, b)}:${group(c, 0xff)}:${group(0xfe, d)}:${group(e, f)}`);
}
