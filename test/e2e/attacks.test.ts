/**
 * A container with raw sockets against its neighbours and its host. Each attack succeeds on the reference `bridge`
 * plugin in the same run, so that it is known to be one, and does nothing on Weft.
 *
 * Nothing comes is not waited for: behind the attack goes an honest packet on the same way, and when that one is there
 * the attack's would have been.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Machine } from "../../src/app/demo/machine.ts";
import { Netns } from "../../src/app/demo/netns.ts";
import { attach, callCni } from "../../src/app/demo/runtime.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { addressOf, type Ip, ip, ipInterface } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { VXLAN_PORT } from "../../src/model/names.ts";
import { referenceSide, type Side, weftSide } from "../support/attack-sides.ts";
import {
  ALL_NODES_MAC,
  arp,
  BROADCAST,
  bytes,
  contains,
  ICMP6,
  icmp6,
  neighbourAdvert,
  priorityTagged,
  redirect4,
  redirect6,
  routerAdvert,
  udp,
  vxlan,
} from "../support/frames.ts";
import { labOrReason } from "../support/lab.ts";
import {
  agentOf,
  type Cluster,
  createCluster,
  hostOf,
  startContainer,
  type TestContainer,
} from "../support/lab-cluster.ts";
import { referenceProblem } from "../support/machine-agent.ts";
import { RawSocket } from "../support/packet-socket.ts";

const skip = referenceProblem() ?? (await labOrReason());

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: both, subnet: 9.0.0.0/8, prefix: 24, subnet6: "fd01:b::/64", prefix6: 80 }
    - { name: four, subnet: 10.8.0.0/16, prefix: 24 }
`;
const WAIT_MS = 10_000;
/** Attacks that race against timers of the kernel are tried again; so they are on Weft. */
const ROUNDS = 3;
/** Lies between two truths, so that one falls into any gap. */
const BURST = 20;
const ALL_NODES = ip("ff02::1");
const FAR = ip("203.0.113.10");
const FAR6 = ip("2001:db8:113::10");
const FALSE_MAC = mac("02:66:66:66:66:66");
const FALSE_PREFIX = ip("2001:db8:666::");
const LOOPBACK = ip("127.0.0.1");
const HOST_PORT = 9099;
/** Behind Ethernet and IPv6 headers. */
const ICMP6_TYPE_OFFSET = 14 + 40;
const PORTS = [4000, 4001] as const;

interface Attack {
  readonly what: string;
  /** It is meant for the host; absent: for the victim. */
  readonly atHost?: true;
  /** @param mark must be found in whatever arrives */
  frame(side: Side, mark: Uint8Array): Uint8Array;
  /** What it has done to the victim or the host, beyond arriving. */
  harm?(side: Side, mark: Uint8Array): Promise<boolean>;
}

const toVictim = ({ attacker, towardsVictim }: Side) => ({ src: attacker.mac, dst: towardsVictim });
const toGateway = ({ attacker, gatewayMac }: Side) => ({ src: attacker.mac, dst: gatewayMac });
const toAll = ({ attacker }: Side) => ({ src: attacker.mac, dst: BROADCAST });
const toAllNodes = ({ attacker }: Side) => ({ src: attacker.mac, dst: ALL_NODES_MAC });

const honest = (side: Side, mark: Uint8Array) =>
  udp(toVictim(side), { src: side.attacker.ip, dst: side.victim.ip }, PORTS, mark);
const spoofed = (side: Side, src: Ip, mark: Uint8Array) =>
  udp(toVictim(side), { src, dst: side.victim.ip }, PORTS, mark);
const spoofed6 = (side: Side, src: Ip, mark: Uint8Array) =>
  udp(toVictim(side), { src, dst: side.victim.ip6 }, PORTS, mark);

/** What the victim or the host believes of an address of its segment. */
async function believes(netns: Side["host"], address: Ip, at: string): Promise<boolean> {
  return (await netns.run("ip", ["neigh", "show", address])).stdout.includes(`lladdr ${at}`);
}

async function routes(netns: Side["host"], to: Ip, via: Ip): Promise<boolean> {
  return (await netns.run("ip", ["route", "get", to])).stdout.includes(`via ${via}`);
}

const SPOOFING: readonly Attack[] = [
  { what: "a neighbour's address as source", frame: (side, mark) => spoofed(side, side.third.ip, mark) },
  { what: "the gateway's address as source", frame: (side, mark) => spoofed(side, side.gateway, mark) },
  { what: "a stranger's address as source", frame: (side, mark) => spoofed(side, FAR, mark) },
  { what: "a neighbour's IPv6 address as source", frame: (side, mark) => spoofed6(side, side.third.ip6, mark) },
  { what: "a stranger's IPv6 address as source", frame: (side, mark) => spoofed6(side, FAR6, mark) },
  {
    what: "a false source behind a tag that hosts take off",
    frame: (side, mark) => priorityTagged(spoofed(side, side.third.ip, mark)),
  },
  {
    what: "a neighbour's MAC as source",
    frame: (side, mark) =>
      udp(
        { src: side.third.mac, dst: side.towardsVictim },
        { src: side.attacker.ip, dst: side.victim.ip },
        PORTS,
        mark,
      ),
  },
  {
    what: "a MAC that nobody has",
    frame: (side, mark) =>
      udp({ src: FALSE_MAC, dst: side.towardsVictim }, { src: side.attacker.ip, dst: side.victim.ip }, PORTS, mark),
  },
];

const ON_HOST: readonly Attack[] = [
  {
    what: "a neighbour's address as source, to the host",
    atHost: true,
    frame: (side, mark) => udp(toGateway(side), { src: side.third.ip, dst: side.gateway }, [PORTS[0], HOST_PORT], mark),
  },
  {
    what: "the host's own loopback, where it listens for itself",
    atHost: true,
    frame: (side, mark) => udp(toGateway(side), { src: side.attacker.ip, dst: LOOPBACK }, [PORTS[0], HOST_PORT], mark),
  },
];

/** For a network without IPv6. */
const UNWANTED_IPV6: readonly Attack[] = [
  {
    what: "IPv6 to all on a network that has none",
    frame: (side, mark) => {
      const way = { src: side.attacker.linkLocal, dst: ALL_NODES };
      return icmp6(toAllNodes(side), way, ICMP6.echo, bytes([0, 1, 0, 1], mark));
    },
    harm: async ({ attacker }, mark) =>
      attacker.socket.received().some((frame) => frame[ICMP6_TYPE_OFFSET] === ICMP6.echoReply && contains(frame, mark)),
  },
];

const NEIGHBOURHOOD: readonly Attack[] = [
  {
    what: "ARP: the gateway is at me, to the victim",
    frame: (side, mark) => {
      const { attacker, victim, gateway } = side;
      const claim = { senderMac: attacker.mac, senderIp: gateway, targetMac: victim.mac, targetIp: victim.ip };
      return arp(toVictim(side), { operation: "reply", ...claim }, mark);
    },
    harm: ({ attacker, victim, gateway }) => believes(victim.netns, gateway, attacker.mac),
  },
  {
    what: "gratuitous ARP: a neighbour is at me, to all",
    frame: (side, mark) => {
      const { attacker, third } = side;
      const claim = { senderMac: attacker.mac, senderIp: third.ip, targetMac: BROADCAST, targetIp: third.ip };
      return arp(toAll(side), { operation: "request", ...claim }, mark);
    },
    harm: ({ host, attacker, third }) => believes(host, third.ip, attacker.mac),
  },
  {
    what: "neighbour advertisement: the gateway is at me",
    frame: (side, mark) => {
      const { attacker, victim, gateway6 } = side;
      const link = toVictim(side);
      return neighbourAdvert(link, { src: gateway6, dst: victim.ip6 }, gateway6, attacker.mac, mark);
    },
    harm: ({ attacker, victim, gateway6 }) => believes(victim.netns, gateway6, attacker.mac),
  },
  {
    what: "router advertisement: I am a router",
    frame: (side, mark) =>
      routerAdvert(toAllNodes(side), { src: side.attacker.linkLocal, dst: ALL_NODES }, FALSE_PREFIX, mark),
    harm: async ({ attacker, victim }) => {
      const { stdout } = await victim.netns.run("ip", ["-6", "route", "show", "default"]);
      return stdout.includes(`via ${attacker.linkLocal}`);
    },
  },
  {
    what: "ICMP redirect: I am the way to elsewhere",
    frame: (side, mark) => {
      const way = { src: side.gateway, dst: side.victim.ip };
      return redirect4(toVictim(side), way, FAR, side.attacker.ip, mark);
    },
    harm: ({ attacker, victim }) => routes(victim.netns, FAR, attacker.ip),
  },
  {
    what: "ICMP redirect in its own name",
    frame: (side, mark) => {
      const way = { src: side.attacker.ip, dst: side.victim.ip };
      return redirect4(toVictim(side), way, FAR, side.attacker.ip, mark);
    },
  },
  {
    what: "ICMPv6 redirect: I am the way to elsewhere",
    frame: (side, mark) => {
      const { attacker, victim, router } = side;
      const way = { src: router, dst: victim.linkLocal };
      return redirect6(toVictim(side), way, FAR6, attacker.linkLocal, attacker.mac, mark);
    },
    harm: ({ attacker, victim }) => routes(victim.netns, FAR6, attacker.linkLocal),
  },
  {
    what: "a DHCP offer to all",
    frame: (side, mark) => udp(toAll(side), { src: side.attacker.ip, dst: ip("255.255.255.255") }, [67, 68], mark),
  },
  {
    what: "a DHCP offer to the victim's address",
    frame: (side, mark) => udp(toVictim(side), { src: side.attacker.ip, dst: side.victim.ip }, [67, 68], mark),
  },
  {
    what: "a DHCP offer from another port than a server's",
    frame: (side, mark) => udp(toVictim(side), { src: side.attacker.ip, dst: side.victim.ip }, [6767, 68], mark),
  },
  {
    what: "a DHCPv6 advertisement to the victim's address",
    frame: (side, mark) => udp(toVictim(side), { src: side.attacker.ip6, dst: side.victim.ip6 }, [547, 546], mark),
  },
];

/** As any program may: an ordinary UDP socket. */
async function sendUdp(from: Side["host"], to: Ip, payload: Uint8Array): Promise<void> {
  const script = `const socket = require("node:dgram").createSocket("udp4");
    socket.send(Buffer.from(process.argv[1], "hex"), ${VXLAN_PORT}, process.argv[2], () => socket.close());`;
  const { status, stderr } = await from.run(process.execPath, ["-e", script, Buffer.from(payload).toString("hex"), to]);
  assert.equal(status, 0, stderr);
}

describe("attacks of a container", { skip }, () => {
  let cluster: Cluster;
  let hostSocket: RawSocket;
  let far: TestContainer;
  let farSocket: RawSocket;
  let sides: Readonly<Record<"both" | "four", readonly [weft: Side, reference: Side]>>;

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: CONFIG });
    far = await startContainer(cluster, 2, "far", ["both"]);
    farSocket = RawSocket.onDevice(far.netns.path, "eth0");
    const host = hostOf(cluster.lab, 1);
    await host.setSysctl("ipv6/conf/default/accept_dad", "0");
    // Many a host has it so: kube-proxy wants it, and portmap for its bridge.
    await host.setSysctl("ipv4/conf/all/route_localnet", "1");
    const machine = await Machine.start(agentOf(cluster, 1));
    sides = {
      both: [await weftSide(cluster, "both"), await referenceSide(machine, "ref-both", ["10.99.0.0/24", "fd99::/64"])],
      four: [await weftSide(cluster, "four"), await referenceSide(machine, "ref-four", ["10.98.0.0/24"])],
    };
    // As a router's advertisement would have told: only a way by a link-local address can be redirected.
    const { router, victim } = sides.both[1];
    await victim.netns.ip(`route add 2001:db8:113::/48 via ${router} dev eth0`);
    hostSocket = RawSocket.onUdp(host.path, ip("0.0.0.0"), HOST_PORT);
  });

  after(() => {
    hostSocket?.close();
    farSocket?.close();
    for (const { attacker, victim, third } of Object.values(sides ?? {}).flat())
      for (const { socket } of [attacker, victim, third]) socket.close();
  });

  /** Sends the attack once. @returns whether it arrived, and whether it harmed */
  async function strike(side: Side, attack: Attack): Promise<readonly [arrived: boolean, harmed: boolean]> {
    const mark = randomBytes(16);
    const last = randomBytes(16);
    side.attacker.socket.send(attack.frame(side, mark));
    side.attacker.socket.send(honest(side, last));
    const frames: Uint8Array[] = [];
    await waitFor("the honest packet behind the attack", WAIT_MS, async () => {
      frames.push(...side.victim.socket.received());
      return frames.some((frame) => contains(frame, last)) || undefined;
    });
    const seen = attack.atHost === true ? hostSocket.received() : frames;
    return [seen.some((frame) => contains(frame, mark)), (await attack.harm?.(side, mark)) ?? false];
  }

  for (const [network, attacks] of [
    ["both", [...SPOOFING, ...ON_HOST, ...NEIGHBOURHOOD]],
    ["four", UNWANTED_IPV6],
  ] as const)
    for (const attack of attacks)
      test(attack.what, async () => {
        const [weft, reference] = sides[network];
        await waitFor("it to succeed on the reference", WAIT_MS, async () => {
          const [arrived, harmed] = await strike(reference, attack);
          return (arrived && (harmed || attack.harm === undefined)) || undefined;
        });
        for (let round = 0; round < ROUNDS; round++)
          assert.deepEqual(await strike(weft, attack), [false, false], "[it arrives, it harms] on Weft");
      });

  test("a container is no node: what it sends to a VTEP is not unpacked", async () => {
    const [{ attacker, third, victim }] = sides.both;
    const host = hostOf(cluster.lab, 1);
    const [device] = JSON.parse(await host.mustRun("ip", ["-j", "link", "show", "vtep1024"])) as { address: string }[];
    const vtepMac = mac(device?.address ?? "");
    const arrives = async (from: Side["host"], src: Ip): Promise<boolean> => {
      const [mark, last] = [randomBytes(16), randomBytes(16)];
      await sendUdp(from, host.address, vxlan({ src: FALSE_MAC, dst: vtepMac }, { src, dst: victim.ip }, PORTS, mark));
      attacker.socket.send(honest(sides.both[0], last));
      const frames: Uint8Array[] = [];
      await waitFor("the honest packet behind it", WAIT_MS, async () => {
        frames.push(...victim.socket.received());
        return frames.some((frame) => contains(frame, last)) || undefined;
      });
      return frames.some((frame) => contains(frame, mark));
    };
    assert.ok(await arrives(hostOf(cluster.lab, 2), far.ip), "from a node it is, whatever it says");
    // Nor what a host of the underlay sends that is no agent.
    for (const from of [attacker.netns, cluster.lab.internet])
      for (const src of [far.ip, third.ip, FAR]) assert.ok(!(await arrives(from, src)), src);
    agentOf(cluster, 1).signal("SIGSTOP"); // or it would mend what is taken away
    const rules = await host.mustRun("nft", ["-a", "list", "chain", "ip", "weft", "tunnel"]);
    const handle = /drop # handle (\d+)/.exec(rules)?.[1] ?? assert.fail(rules);
    await host.mustRun("nft", ["delete", "rule", "ip", "weft", "tunnel", "handle", handle]);
    assert.ok(await arrives(cluster.lab.internet, far.ip), "without the rule it is unpacked");
    agentOf(cluster, 1).signal("SIGCONT");
  });

  test("no false source gets out while a container is detached", async () => {
    const [side] = sides.both;
    const { victim, gatewayMac } = side;
    const agent = agentOf(cluster, 1);
    for (let round = 0; round < ROUNDS; round++) {
      const netns = await Netns.create(`leaving${round}`);
      const container = { containerId: `leaving${round}`, netns: netns.path, ifname: "eth0" };
      const { ips } = await attach(agent, "both", container);
      const own = addressOf(ipInterface(ips[0]?.address ?? ""));
      const [device] = JSON.parse(await netns.mustRun("ip", ["-j", "link", "show", "eth0"])) as { address: string }[];
      const link = { src: mac(device?.address ?? ""), dst: gatewayMac };
      const socket = RawSocket.onDevice(netns.path, "eth0");
      const [truth, lie] = [randomBytes(16), randomBytes(16)];
      const frames: Uint8Array[] = [];
      let isGone = false;
      const leaving = callCni(agent, "DEL", "both", container).finally(() => {
        isGone = true;
      });
      while (!isGone) {
        try {
          socket.send(udp(link, { src: own, dst: victim.ip }, PORTS, truth));
          for (let i = 0; i < BURST; i++) socket.send(udp(link, { src: FAR, dst: victim.ip }, PORTS, lie));
        } catch (error) {
          assert.match(String(error), /ENETDOWN|ENXIO|ENODEV|ENOBUFS/); // its device is gone
        }
        frames.push(...victim.socket.received());
        await setImmediate();
      }
      assert.equal((await leaving).status, 0);
      frames.push(...victim.socket.received());
      socket.close();
      assert.ok(
        frames.some((frame) => contains(frame, truth)),
        "the truth arrived",
      );
      assert.ok(!frames.some((frame) => contains(frame, lie)), "no lie did");
    }
  });

  test("a false source does not get to another host either", async () => {
    const [{ attacker, third, gatewayMac }] = sides.both;
    const link = { src: attacker.mac, dst: gatewayMac };
    const marks = [
      [third.ip, far.ip],
      [far.ip, far.ip],
      [FAR, far.ip],
      [third.ip6, far.ip6],
      [FAR6, far.ip6],
    ].map(([src, dst]) => {
      const mark = randomBytes(16);
      attacker.socket.send(udp(link, { src: src as Ip, dst: dst as Ip }, PORTS, mark));
      return mark;
    });
    const last = randomBytes(16);
    attacker.socket.send(udp(link, { src: attacker.ip, dst: far.ip }, PORTS, last));
    const frames: Uint8Array[] = [];
    await waitFor("the honest packet behind them", WAIT_MS, async () => {
      frames.push(...farSocket.received());
      return frames.some((frame) => contains(frame, last)) || undefined;
    });
    for (const mark of marks) assert.ok(!frames.some((frame) => contains(frame, mark)));
  });
});
