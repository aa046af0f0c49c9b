/**
 * What containers send each other arrives as it was sent, by the way that the level promises: content, sizes, hops, class
 * and congestion marks. For datapath-paths*.test.ts.
 */
import assert from "node:assert/strict";
import { it, type TestContext } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { SystemCallError } from "../../src/io/kernel/ffi.ts";
import { type Family, ip } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { VXLAN_PORT } from "../../src/model/names.ts";
import { ARRIVES_MS, exchange, fieldsOf, MARK, pattern, UdpFlow } from "../support/datapath-flows.ts";
import { counted, type LabContainer, UNDERLAY_DEV } from "../support/datapath-hosts.ts";
import { onesSum } from "../support/datapath-oracle.ts";
import type { Ways } from "../support/datapath-ways.ts";
import { setTxChecksums } from "../support/ethtool.ts";
import { openTestNetns } from "../support/netns.ts";
import { RawSocket } from "../support/packet-socket.ts";

const MEGABYTE = 1 << 20;
const FAMILIES = [4, 6] as const;
/** IP and UDP headers. */
const HEADERS: Readonly<Record<Family, number>> = { 4: 28, 6: 48 };
const TUNNEL_MTU = 1_450;
/** The kernel's default. */
const HOPS = 64;
const ECN = { none: 0, ect1: 1, ect0: 2, congested: 3 } as const;
const EXPEDITED = 46;
/** Of a container that gives it to somebody behind it. */
const FORWARDED_PORT = 8_181;

export function carryTests(ways: Ways): void {
  for (const family of FAMILIES) {
    contentTests(ways, family);
    offloadTests(ways, family);
    sizeTests(ways, family);
    headerTests(ways, family);
    markTests(ways, family);
  }
  nestedTests(ways);
}

function flowBetween(t: TestContext, from: LabContainer, to: LabContainer, family: Family): UdpFlow {
  const flow = new UdpFlow(from, to, family);
  t.after(() => flow.close());
  return flow;
}

function contentTests({ hosts, took }: Ways, family: Family): void {
  it(`IPv${family}, TCP between hosts: megabytes and single bytes, both ways`, async () => {
    const [one, two] = hosts();
    const [from, to] = [one.containers[0], two.containers[0]];
    const seen = await counted(one, async () => {
      await exchange(from, to, family, 4 * MEGABYTE);
      await exchange(to, from, family, 4 * MEGABYTE);
      for (let bytes = 1; bytes < 20; bytes++) await exchange(from, to, family, bytes);
    });
    took(seen, ["out", "in"], family, 4_000);
  });

  it(`IPv${family}, TCP on one host`, async () => {
    const [one] = hosts();
    const seen = await counted(one, async () => {
      await exchange(one.containers[0], one.containers[1], family, 4 * MEGABYTE);
      await exchange(one.containers[1], one.containers[0], family, 1);
    });
    took(seen, ["same"], family, 100);
  });

  it(`IPv${family}, TCP and UDP while the devices leave checksums to the kernel`, async (t) => {
    const [one, two] = hosts();
    const [from, neighbor, to] = [one.containers[0], one.containers[1], two.containers[1]];
    const places = [from, neighbor, to, one, two].map(({ netns }) => netns);
    t.after(() => {
      for (const place of places) setTxChecksums(place, "eth0", true);
    });
    for (const place of places) setTxChecksums(place, "eth0", false);
    const seen = await counted(two, async () => {
      await exchange(from, to, family, MEGABYTE);
      await exchange(to, from, family, MEGABYTE);
      await flowBetween(t, from, to, family).carry(pattern(1_000));
    });
    took(seen, ["out", "in"], family, 500);
    await exchange(from, neighbor, family, MEGABYTE);
    for (const { netns } of [from, neighbor, to])
      assert.match(netns.run("nstat", "-asz", "TcpInCsumErrors"), /TcpInCsumErrors +0 /);
  });
}

function offloadTests({ hosts, took }: Ways, family: Family): void {
  it(`IPv${family}: megabytes go through cards that neither split nor sum up what is in a tunnel`, async (t) => {
    const [one, two] = hosts();
    t.after(() => {
      for (const { netns } of [one, two]) setTxChecksums(netns, UNDERLAY_DEV, true);
    });
    for (const { netns } of [one, two]) setTxChecksums(netns, UNDERLAY_DEV, false);
    const seen = await counted(one, async () => {
      await exchange(one.containers[0], two.containers[0], family, MEGABYTE);
      await exchange(two.containers[0], one.containers[0], family, MEGABYTE);
    });
    took(seen, ["out", "in"], family, 1_000);
  });

  it(`IPv${family}: datagrams that are given to the kernel as one arrive one by one, without the kernel's help`, async (t) => {
    const [one, two] = hosts();
    for (const [to, way] of [
      [two.containers[0], "out"],
      [one.containers[1], "same"],
    ] as const) {
      const flow = flowBetween(t, one.containers[0], to, family);
      flow.set("segment", 1_000);
      const seen = await counted(one, async () => {
        flow.send(pattern(20_500));
        flow.set("segment", 0);
        const [datagrams] = await flow.receivedUntilMark(() => flow.send(MARK));
        const sent = Array.from({ length: 21 }, (_, i) => pattern(20_500).subarray(i * 1_000, (i + 1) * 1_000));
        assert.deepEqual(datagrams.map(String), sent.map(String));
      });
      // Each, and the mark.
      took(seen, [way], family, 22);
    }
  });

  it(`IPv${family}: what a container gets it can forward to somebody behind it, split again`, async (t) => {
    const [one, two] = hosts();
    const router = two.containers[0];
    const behind = await openBehind(t, router, family);
    const ask = () => exchange(one.containers[0], behind, family, 4 * MEGABYTE, FORWARDED_PORT, router.address[family]);
    const seen = await counted(one, ask);
    took(seen, ["out", "in"], family, 4_000);
  });
}

/** A namespace that the container gives a port to, over a device that can neither split nor sum up. */
async function openBehind(t: TestContext, router: LabContainer, family: Family): Promise<LabContainer> {
  const netns = await openTestNetns(t);
  const end = { netns: netns.path, name: "eth0", mac: mac("02:00:00:00:07:02"), mtu: TUNNEL_MTU };
  const link = { kind: "veth", name: "behind", up: true, mtu: TUNNEL_MTU, peer: end } as const;
  assert.deepEqual(await router.netns.kernel.apply([{ op: "link.add", link }]), []);
  t.after(() => router.netns.kernel.apply([{ op: "link.delete", name: "behind" }]));
  const [inside, outside, length] = family === 4 ? ["172.31.0.2", "172.31.0.1", 24] : ["fd99::2", "fd99::1", 64];
  const ip4or6 = family === 4 ? "ip" : "ip6";
  netns.run(
    "sh",
    "-ec",
    `ip address add ${inside}/${length} dev eth0 nodad; ip link set eth0 up
    ip -${family} route add default via ${outside}`,
  );
  router.netns.run(
    "sh",
    "-ec",
    `ip address add ${outside}/${length} dev behind nodad; ip address add fe80::1/64 dev behind nodad
    ip link set behind up
    echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    nft -f - <<END
table ${ip4or6} behind {
  chain there {
    type nat hook prerouting priority -100
    tcp dport ${FORWARDED_PORT} dnat to ${family === 4 ? inside : `[${inside}]`}
  }
}
END`,
  );
  t.after(() => void router.netns.run("nft", "delete", "table", ip4or6, "behind"));
  setTxChecksums(router.netns, "behind", false);
  return { ...router, netns, address: { ...router.address, [family]: ip(inside) } };
}

function sizeTests({ hosts, level }: Ways, family: Family): void {
  it(`IPv${family}, UDP: sizes around the tunnel's MTU arrive whole, and longer ones in fragments`, async (t) => {
    const [one, two] = hosts();
    for (const to of [two.containers[0], one.containers[1]]) {
      const flow = flowBetween(t, one.containers[0], to, family);
      flow.set("pathMtu", 0);
      for (const bytes of [0, 1, 500, TUNNEL_MTU - 1, TUNNEL_MTU, TUNNEL_MTU + 1, 9_000, 60_000])
        await flow.carry(pattern(Math.max(0, bytes - HEADERS[family])));
    }
  });

  it(`IPv${family}, UDP: whoever sends too much for the tunnel is told, and for the receiver too`, async (t) => {
    const [one, two] = hosts();
    const [sender, receiver] = [one.containers[0], two.containers[0]];
    const mtu = (netns: { run(...words: string[]): string }, dev: string, bytes: number) =>
      netns.run("ip", "link", "set", dev, "mtu", String(bytes));
    t.after(async () => {
      mtu(sender.netns, "eth0", TUNNEL_MTU);
      for (const { netns } of [sender, receiver]) netns.run("ip", `-${family}`, "route", "flush", "cache");
      const { overlayMtu: _, ...assignment } = two.context.assignment;
      await two.pass({ assignment });
      await one.pass();
    });
    // What its own device lets through, and the tunnel does not.
    mtu(sender.netns, "eth0", 1_500);
    mtu(one.netns, sender.attachment.hostIfname, 1_500);
    await learnsLimit(t, sender, receiver, family, 1_480, TUNNEL_MTU);
    // And what the tunnel lets through, and the receiver's device does not.
    await two.pass({ assignment: { ...two.context.assignment, overlayMtu: 1_400 } });
    const seen = await counted(two, () => learnsLimit(t, sender, receiver, family, 1_430, 1_400));
    if (level > 0) assert.ok((seen["too-big"] ?? 0) > 0, "the program left it to the kernel");
    await exchange(sender, receiver, family, MEGABYTE);
  });
}

/** Sends what does not fit until the kernel refuses it, because ICMP told of the limit; what fits arrives then. */
async function learnsLimit(
  t: TestContext,
  from: LabContainer,
  to: LabContainer,
  family: Family,
  length: number,
  limit: number,
): Promise<void> {
  const flow = flowBetween(t, from, to, family);
  flow.set("pathMtu", 2);
  await waitFor(`the sender to learn of ${limit} bytes`, ARRIVES_MS, async () => {
    try {
      flow.send(pattern(length - HEADERS[family]));
      return undefined;
    } catch (error) {
      if (error instanceof SystemCallError && error.code === "EMSGSIZE") return true;
      throw error;
    }
  });
  assert.deepEqual(flow.received()[0], [], "nothing of it arrived");
  await flow.carry(pattern(limit - HEADERS[family]));
}

function headerTests({ hosts, level, took }: Ways, family: Family): void {
  it(`IPv${family}: each host that a packet passes takes a hop from it, at every level`, async (t) => {
    const [one, two] = hosts();
    const across = flowBetween(t, one.containers[0], two.containers[0], family);
    const near = flowBetween(t, one.containers[0], one.containers[1], family);
    const seen = await counted(one, async () => {
      assert.equal(fieldsOf(await across.carry(pattern(100))).hops, HOPS - 2);
      assert.equal(fieldsOf(await near.carry(pattern(100))).hops, HOPS - 1);
    });
    took(seen, ["out", "same"], family, 2);
    across.set("hops", 3);
    assert.equal(fieldsOf(await across.carry(pattern(100))).hops, 1);
    near.set("hops", 2);
    assert.equal(fieldsOf(await near.carry(pattern(100))).hops, 1);
  });

  it(`IPv${family}: a packet whose hops end on the way ends there, and the sender is told by whom`, async (t) => {
    const [one, two] = hosts();
    const sender = one.containers[0];
    const seen = RawSocket.onDevice(sender.netns.path, "eth0");
    t.after(() => seen.close());
    const flow = flowBetween(t, sender, two.containers[0], family);
    for (const hops of [1, 2]) {
      flow.set("hops", hops);
      flow.send(pattern(100));
      await waitFor(`word that ${hops} hops are not enough`, ARRIVES_MS, async () =>
        seen.received().some((frame) => isTimeExceeded(Buffer.from(frame), family)) ? true : undefined,
      );
    }
    flow.set("hops", HOPS);
    assert.deepEqual((await flow.receivedUntilMark(() => flow.send(MARK)))[0], []);
  });

  it(`IPv${family}: the class stays inside, and that congestion may be marked is told outside`, async (t) => {
    const [one, two] = hosts();
    const flow = flowBetween(t, one.containers[0], two.containers[0], family);
    const wire = RawSocket.onDevice(two.netns.path, UNDERLAY_DEV);
    t.after(() => wire.close());
    for (const [name, ecn] of Object.entries(ECN)) {
      flow.set("tos", (EXPEDITED << 2) | ecn);
      wire.received();
      const { dscp, ecn: inside } = fieldsOf(await flow.carry(pattern(200)));
      assert.deepEqual([dscp, inside], [EXPEDITED, ecn], `inside, ${name}`);
      const outer = wire.received().map((frame) => Buffer.from(frame).subarray(14));
      const tunneled = outer.filter((packet) => packet.readUInt8(9) === 17 && packet.readUInt16BE(22) === VXLAN_PORT);
      assert.deepEqual(
        tunneled.map((packet) => packet.readUInt8(1)),
        // RFC 3168: a mark stays inside.
        [ecn === ECN.congested ? ECN.ect0 : ecn],
        `outside, ${name}`,
      );
      assert.equal(level < 2 || tunneled[0]?.readUInt16BE(26) === 0, true, "at level 2 without a sum of its own");
    }
  });
}

function isTimeExceeded(frame: Buffer, family: Family): boolean {
  if (frame.readUInt16BE(12) !== (family === 4 ? 0x0800 : 0x86dd)) return false;
  return family === 4
    ? frame.readUInt8(23) === 1 && frame.readUInt8(34) === 11
    : frame.readUInt8(20) === 58 && frame.readUInt8(54) === 3;
}

/** The tunnel packet of a datagram once more, as a router of the underlay would pass it on that marks it. */
function remarked(frame: Buffer, ecn: number): Buffer {
  const mine = Buffer.from(frame);
  mine.writeUInt8((mine.readUInt8(15) & 0xfc) | ecn, 15);
  mine.writeUInt16BE(0, 24);
  mine.writeUInt16BE(0xffff - onesSum(mine.subarray(14, 34)), 24);
  return mine;
}

function markTests({ hosts, path }: Ways, family: Family): void {
  it(`IPv${family}: a mark of the underlay gets inside; what may not be marked is dropped, as the kernel does`, async (t) => {
    const [one, two] = hosts();
    const sender = one.containers[0];
    const flow = flowBetween(t, sender, two.containers[0], family);
    const wire = RawSocket.onDevice(one.netns.path, UNDERLAY_DEV);
    t.after(() => {
      wire.close();
      for (const { netns } of [sender, one]) setTxChecksums(netns, "eth0", true);
    });
    // What is sent again from there must have its sums.
    for (const { netns } of [sender, one]) setTxChecksums(netns, "eth0", false);
    const send = async (ecn: number): Promise<Buffer> => {
      flow.set("tos", ecn);
      wire.received();
      await flow.carry(pattern(300));
      const frames = wire.received().map((frame) => Buffer.from(frame));
      return (
        frames.find((frame) => frame.readUInt16BE(36) === VXLAN_PORT) ?? assert.fail("the tunnel's packet is seen")
      );
    };
    for (const [inner, outer, result] of [
      [ECN.ect0, ECN.congested, ECN.congested],
      [ECN.ect1, ECN.congested, ECN.congested],
      [ECN.congested, ECN.congested, ECN.congested],
      [ECN.ect0, ECN.ect1, ECN.ect1],
      [ECN.ect1, ECN.ect0, ECN.ect1],
      [ECN.ect0, ECN.none, ECN.ect0],
      [ECN.none, ECN.ect0, ECN.none],
      [ECN.none, ECN.congested, undefined],
    ] as const) {
      const frame = await send(inner);
      const seen = await counted(two, async () => {
        wire.send(remarked(frame, outer));
        const [, packets] = await flow.receivedUntilMark(() => flow.send(MARK));
        const marks = packets.filter((packet) => packet.includes(pattern(300))).map((packet) => fieldsOf(packet).ecn);
        assert.deepEqual(marks, result === undefined ? [] : [result], `${inner} inside, ${outer} outside`);
      });
      const isKernels = outer === ECN.congested || (outer === ECN.ect1 && inner === ECN.ect0);
      if (path("in", family) === "encapsulated") assert.equal(seen.congested, isKernels ? 1 : undefined);
    }
  });
}

function nestedTests({ hosts }: Ways): void {
  it("a container's own tunnel through the overlay carries megabytes as well", async (t) => {
    const [one, two] = hosts();
    const ends = [one.containers[0], two.containers[0]] as const;
    const [from, to] = ends.map((end, i): LabContainer => {
      const { run } = end.netns;
      const address = `172.30.0.${i + 1}`;
      const device = ["nested", "type", "vxlan", "id", "7", "dstport", "8472", "local", end.address[4]];
      run("ip", "link", "add", ...device, "remote", (ends[1 - i] as LabContainer).address[4]);
      t.after(() => void run("ip", "link", "del", "nested"));
      run("ip", "address", "add", `${address}/24`, "dev", "nested");
      run("ip", "link", "set", "nested", "mtu", "1400", "up");
      return { ...end, address: { ...end.address, 4: ip(address) } };
    });
    assert.ok(from !== undefined && to !== undefined);
    await exchange(from, to, 4, MEGABYTE);
  });
}
