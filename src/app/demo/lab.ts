/**
 * An underlay to try things on: hosts on one segment, a router, and an "internet" host behind it that knows no way back
 * to any overlay. Everything is a network namespace inside the lab that `enterLab` made.
 *
 *     host1 10.0.0.11 ┐                       fd00:10::11
 *     host2 10.0.0.12 ┼─ underlay (bridge) ─ router ─ internet 203.0.113.10, 2001:db8:113::10
 *     host3 10.0.0.13 ┘            10.0.0.1, fd00:10::1
 */
import { type Ip, ip } from "../../model/ip.ts";
import { mustRun, Netns } from "./netns.ts";

export interface LabOptions {
  readonly hosts: number;
  /** The last part of the first host's addresses; the next have the following ones. */
  readonly firstHost?: number;
  /** Bytes; absent: 1500. */
  readonly underlayMtu?: number;
}

export interface LabHost extends Netns {
  readonly address: Ip;
  readonly address6: Ip;
}

export interface Lab {
  readonly hosts: readonly LabHost[];
  readonly internet: LabHost;
}

const FIRST_HOST = 11;
/** Documentation addresses (RFC 5737, RFC 3849): no real host answers for them. */
const INTERNET = { v4: "203.0.113.10", v6: "2001:db8:113::10", router4: "203.0.113.1", router6: "2001:db8:113::1" };

/** Makes the lab's network; `enterLab` must have returned. */
export async function createLab({ hosts, firstHost = FIRST_HOST, underlayMtu = 1500 }: LabOptions): Promise<Lab> {
  const router = await Netns.create("router");
  // Underlay and router share a namespace: a bridge whose own address is the router's.
  await router.ip(`link add underlay mtu ${underlayMtu} type bridge`);
  await withoutDad(router, "underlay");
  await router.ip(
    "link set underlay up",
    "address add 10.0.0.1/24 dev underlay",
    "address add fd00:10::1/64 dev underlay nodad",
  );
  await router.setSysctl("ipv4/ip_forward", "1");
  await router.setSysctl("ipv6/conf/all/forwarding", "1");
  const numbers = Array.from({ length: hosts }, (_, i) => i);
  return {
    hosts: await Promise.all(numbers.map((i) => createHost(`host${i + 1}`, firstHost + i, underlayMtu))),
    internet: await createInternet(),
  };
}

async function createHost(name: string, number: number, mtu: number): Promise<LabHost> {
  const netns = await Netns.create(name);
  await mustRun("ip", `-n router link add ${name} mtu ${mtu} type veth peer eth0 mtu ${mtu} netns ${name}`.split(" "));
  await withoutDad(new Netns("router"), name);
  await mustRun("ip", `-n router link set ${name} master underlay up`.split(" "));
  const address = ip(`10.0.0.${number}`);
  const address6 = ip(`fd00:10::${number}`);
  await withoutDad(netns, "eth0");
  await netns.ip(
    "link set eth0 up",
    `address add ${address}/24 dev eth0`,
    `address add ${address6}/64 dev eth0 nodad`,
    "route add default via 10.0.0.1",
    "route add ::/0 via fd00:10::1",
  );
  return Object.assign(netns, { address, address6 });
}

async function createInternet(): Promise<LabHost> {
  const netns = await Netns.create("internet");
  await mustRun("ip", "-n router link add internet type veth peer eth0 netns internet".split(" "));
  const router = new Netns("router");
  await withoutDad(router, "internet");
  await withoutDad(netns, "eth0");
  await router.ip(
    "link set internet up",
    `address add ${INTERNET.router4}/24 dev internet`,
    `address add ${INTERNET.router6}/64 dev internet nodad`,
  );
  await netns.ip(
    "link set eth0 up",
    `address add ${INTERNET.v4}/24 dev eth0`,
    `address add ${INTERNET.v6}/64 dev eth0 nodad`,
    `route add default via ${INTERNET.router4}`,
    `route add ::/0 via ${INTERNET.router6}`,
  );
  return Object.assign(netns, { address: ip(INTERNET.v4), address6: ip(INTERNET.v6) });
}

/** A fresh device asks for a second whether its IPv6 address is taken, and answers nobody meanwhile. */
async function withoutDad(netns: Netns, device: string): Promise<void> {
  await netns.setSysctl(`ipv6/conf/${device}/accept_dad`, "0");
}
