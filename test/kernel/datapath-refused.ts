/**
 * What must not arrive does not, at any level, and what the programs leave to the kernel meets its rules there: spoofed
 * sources, ports of others, networks that do not talk, tunnel packets of strangers. For datapath-paths*.test.ts.
 *
 * Each frame is sent as one that may arrive as well, which tells that it was right but for what is wrong with it.
 */
import assert from "node:assert/strict";
import { it, type TestContext } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { GATEWAY_MAC } from "../../src/core/overlay/vtep.ts";
import { type Family, type Ip, ip } from "../../src/model/ip.ts";
import { type Mac, mac } from "../../src/model/mac.ts";
import { ARRIVES_MS, connects, MARK } from "../support/datapath-flows.ts";
import { counted, type LabContainer, type LabHost, UNDERLAY_DEV, UNDERLAY_MACS } from "../support/datapath-hosts.ts";
import type { Ways } from "../support/datapath-ways.ts";
import { UdpSocket } from "../support/flow-sockets.ts";
import { udp, vxlan, type Way } from "../support/frames.ts";
import { openTestNetns } from "../support/netns.ts";
import { RawSocket } from "../support/packet-socket.ts";

const FAMILIES = [4, 6] as const;
const PORT = 9_090;
/** Connections that are refused wait this long in vain; others as long as a busy machine may take. */
const [IN_VAIN_MS, CONNECTS_MS] = [300, 5_000];
const TUNNEL_PORT = 64_000;
/** DHCP's server and client. */
const DHCP: Readonly<Record<Family, readonly [server: number, client: number]>> = { 4: [67, 68], 6: [547, 546] };

export function refusalTests(ways: Ways): void {
  for (const family of FAMILIES) {
    spoofTests(ways, family);
    portTests(ways, family);
    networkTests(ways, family);
    strangerTests(ways, family);
  }
  bareTests(ways);
}

/** What a container hears at a port, and the question whether something was among it. */
class Listener {
  readonly #socket: UdpSocket;

  constructor(t: TestContext, at: LabContainer, family: Family, port = PORT) {
    this.#socket = UdpSocket.open(at.netns, at.address[family], port);
    t.after(() => this.#socket.close());
  }

  /** What has come, when the mark that `send` sends has. */
  async heard(send: () => void): Promise<string[]> {
    const heard: Buffer[] = [];
    send();
    await waitFor("the mark", ARRIVES_MS, async () => {
      heard.push(...this.#socket.received());
      return heard.some((datagram) => datagram.equals(MARK)) ? true : undefined;
    });
    return heard.filter((datagram) => !datagram.equals(MARK)).map(String);
  }
}

/** Frames as a container with CAP_NET_RAW sends them. */
function rawSender(t: TestContext, from: LabContainer) {
  const socket = RawSocket.onDevice(from.netns.path, "eth0");
  t.after(() => socket.close());
  return (
    way: Way,
    what: Uint8Array,
    { src = from.mac as Mac, ports = [4_000, PORT] as readonly [number, number] } = {},
  ) => socket.send(udp({ src, dst: GATEWAY_MAC }, way, ports, what));
}

function spoofTests({ hosts, level }: Ways, family: Family): void {
  it(`IPv${family}: with another's address, or another MAC, nothing arrives, on this host and on another`, async (t) => {
    const [one, two] = hosts();
    const [from, neighbor] = one.containers;
    const send = rawSender(t, from);
    for (const to of [two.containers[0], neighbor]) {
      const listener = new Listener(t, to, family);
      const way = (src: Ip): Way => ({ src, dst: to.address[family] });
      const seen = await counted(one, async () => {
        const heard = await listener.heard(() => {
          send(way(one.containers[2].address[family]), Buffer.from("a neighbour's address"));
          send(way(two.containers[1].address[family]), Buffer.from("an address elsewhere"));
          send(way(family === 4 ? ip("8.8.8.8") : ip("2001:db8::8")), Buffer.from("an address outside"));
          send(way(from.address[family]), Buffer.from("a MAC of nobody"), { src: mac("02:00:00:00:00:99") });
          send(way(from.address[family]), Buffer.from("a neighbour's MAC"), { src: neighbor.mac });
          send(way(from.address[family]), Buffer.from("all right"));
          send(way(from.address[family]), MARK);
        });
        assert.deepEqual(heard, ["all right"]);
      });
      if (level > 0) assert.equal(seen["not-own-source"], 5);
    }
  });
}

function portTests({ hosts, level }: Ways, family: Family): void {
  it(`IPv${family}: nobody poses as a DHCP server, is asked as a client, or reaches a tunnel's port`, async (t) => {
    const [one, two] = hosts();
    const [from, neighbor] = one.containers;
    const send = rawSender(t, from);
    const [server, client] = DHCP[family];
    for (const to of [two.containers[0], neighbor]) {
      const way = { src: from.address[family], dst: to.address[family] };
      const at = new Map([PORT, client, server, TUNNEL_PORT].map((port) => [port, new Listener(t, to, family, port)]));
      const cases: readonly (readonly [from: number, to: number, isHeard: boolean])[] = [
        [server, PORT, false],
        [4_000, client, false],
        [4_000, TUNNEL_PORT, false],
        [client, PORT, true],
        [4_000, server, true],
        [TUNNEL_PORT, PORT, true],
      ];
      const seen = await counted(one, async () => {
        for (const [source, port, isHeard] of cases) {
          send(way, Buffer.from("hello"), { ports: [source, port] });
          // Where nothing may arrive, nothing can tell that all has: it is asked when another port has.
          const asked = isHeard ? port : PORT;
          const heard = await at.get(asked)?.heard(() => send(way, MARK, { ports: [4_000, asked] }));
          assert.deepEqual(heard, isHeard ? ["hello"] : [], `from ${source} to ${port}`);
        }
      });
      if (level > 0) assert.equal(seen["forbidden-port"], 3);
    }
  });
}

function networkTests({ hosts, level, took }: Ways, family: Family): void {
  it(`IPv${family}: a closed network is reached from its own containers, and from no others`, async (t) => {
    const [one, two] = hosts();
    const [open, , closed] = one.containers;
    const [far, , farClosed] = two.containers;
    const sends = (from: LabContainer, to: LabContainer, what: string | Uint8Array) => {
      const socket = UdpSocket.open(from.netns, from.address[family], 0);
      socket.send(to.address[family], PORT, Buffer.from(what));
      socket.close();
    };
    const seen = await counted(one, async () => {
      // Those who may not, to whom, and who may.
      for (const [from, to, friend] of [
        [open, farClosed, closed],
        [open, closed, farClosed],
        [closed, far, open],
        [far, closed, farClosed],
      ] as const) {
        const heard = await new Listener(t, to, family).heard(() => {
          sends(from, to, "hello");
          sends(friend, to, MARK);
        });
        assert.deepEqual(heard, [], `${from.address[4]} to ${to.address[4]}`);
      }
      assert.equal(connects(open, farClosed, family, IN_VAIN_MS), false);
    });
    if (level > 0) assert.ok((seen["between-networks"] ?? 0) >= 4);
    const own = await counted(one, async () => assert.equal(connects(closed, farClosed, family, CONNECTS_MS), true));
    took(own, ["out", "in"], family, 2);
  });
}

/** A tunnel packet on the wire between the hosts, as the one of them or a stranger sends it. */
function tunneled(outer: Ip, to: LabHost, inner: Way, what: Uint8Array, change: { readonly vtepMac?: Mac } = {}) {
  const { vtepMac } = to.context.assignment.agent.backend;
  const link = { src: mac("70:b3:d5:80:00:77"), dst: change.vtepMac ?? vtepMac };
  const packet = vxlan(link, inner, [4_000, PORT], what);
  const wire = { src: UNDERLAY_MACS[0], dst: UNDERLAY_MACS[1] };
  return udp(wire, { src: outer, dst: to.ip }, [50_000, TUNNEL_PORT], packet);
}

function strangerTests({ hosts, level, path }: Ways, family: Family): void {
  it(`IPv${family}: the tunnel takes packets of nodes only, and the fast path those of the source's own node`, async (t) => {
    const [one, two] = hosts();
    const to = two.containers[0];
    const wire = RawSocket.onDevice(one.netns.path, UNDERLAY_DEV);
    t.after(() => wire.close());
    const listener = new Listener(t, to, family);
    const own = { src: one.containers[0].address[family], dst: to.address[family] };
    // Of a node that the cluster knows, and that is not there.
    const foreign = { src: two.absent.address[family], dst: to.address[family] };
    const nobody = family === 4 ? ip("9.0.200.2") : ip("fd01:b:1:0:c8::2");
    const strange: readonly (readonly [Way, string])[] = [
      [{ ...own, src: nobody }, "from a source that no node has"],
      [{ ...own, src: own.dst }, "from itself"],
    ];
    const send = (outer: Ip, inner: Way, what: string | Uint8Array, change = {}) =>
      wire.send(tunneled(outer, two, inner, typeof what === "string" ? Buffer.from(what) : what, change));
    const seen = await counted(two, async () => {
      const heard = await listener.heard(() => {
        send(ip("10.0.99.99"), own, "of a stranger");
        send(two.ip, own, "of the host itself");
        for (const [way, what] of strange) send(one.ip, way, what);
        send(one.ip, own, "for another MAC", { vtepMac: mac("70:b3:d5:80:00:66") });
        send(one.ip, own, "all right");
        send(one.ip, own, MARK);
      });
      // The kernel looks at where sources come from for IPv4 alone (rp_filter). The program does for both.
      assert.deepEqual(heard, [...(family === 4 ? [] : strange.map(([, what]) => what)), "all right"]);
    });
    const way = path("in", family);
    if (way !== undefined) assert.equal(seen[way], 2, "what is right takes the fast path");
    // That one node speaks for another's containers the kernel does not see; the program does, and leaves it to the kernel.
    const others = await counted(two, async () => {
      const heard = await listener.heard(() => {
        send(one.ip, foreign, "of another node's container");
        send(one.ip, own, MARK);
      });
      assert.deepEqual(heard, ["of another node's container"]);
    });
    if (way === "encapsulated") assert.deepEqual([others.stranger, others.encapsulated], [1, 1], `level ${level}`);
  });
}

function bareTests({ level }: Ways): void {
  if (level > 0) return;
  it("a bare VXLAN device delivers what a stranger sends: the frames above are real attacks", async (t) => {
    const [attacker, bare] = [await openTestNetns(t), await openTestNetns(t)];
    const end = { netns: bare.path, name: "eth0", mac: UNDERLAY_MACS[1], mtu: 1_500 };
    const link = { kind: "veth", name: "eth0", up: true, mac: UNDERLAY_MACS[0], mtu: 1_500, peer: end } as const;
    assert.deepEqual(await attacker.kernel.apply([{ op: "link.add", link }]), []);
    attacker.run("ip", "link", "set", "eth0", "up");
    const vtepMac = mac("70:b3:d5:80:00:02");
    bare.run(
      "sh",
      "-ec",
      `ip address add 10.0.0.11/16 dev eth0; ip link set eth0 up
      ip link add vx address ${vtepMac} type vxlan id 1024 local 10.0.0.11 dstport ${TUNNEL_PORT} nolearning
      ip address add 9.0.1.2/24 dev vx; ip link set vx up; ip route add 9.0.0.0/8 dev vx`,
    );
    const socket = UdpSocket.open(bare, ip("9.0.1.2"), PORT);
    t.after(() => socket.close());
    const wire = RawSocket.onDevice(attacker.path, "eth0");
    t.after(() => wire.close());
    const target = { ip: ip("10.0.0.11"), context: { assignment: { agent: { backend: { vtepMac } } } } } as LabHost;
    const way = { src: ip("9.0.200.2"), dst: ip("9.0.1.2") };
    wire.send(tunneled(ip("10.0.99.99"), target, way, Buffer.from("of a stranger")));
    await waitFor("the stranger's packet", ARRIVES_MS, async () =>
      socket.received().some((datagram) => String(datagram) === "of a stranger") ? true : undefined,
    );
  });
}
