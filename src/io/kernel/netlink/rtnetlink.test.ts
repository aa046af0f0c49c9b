/** The codecs of rtnetlink together: golden bytes, round trips, noise. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Route } from "../../../core/host/host-state.ts";
import { Fault } from "../../../model/fault.ts";
import {
  addressBits,
  addressOf,
  bigIntToIp,
  cidr,
  type Family,
  type Ip,
  ip,
  ipInterface,
  networkOf,
  withLength,
} from "../../../model/ip.ts";
import { bytesToMac, mac } from "../../../model/mac.ts";
import { decodeAddress, encodeAddressReplace } from "./address-messages.ts";
import { decodeLink, encodeLinkAdd, encodeLinkDelete, encodeLinkMarks, encodeLinkSet } from "./link-messages.ts";
import { type Message, MessageWriter, readMessages } from "./message.ts";
import {
  decodeFdbEntry,
  decodeNeighbor,
  encodeFdbReplace,
  encodeNeighborReplace,
  isResolution,
} from "./neighbor-messages.ts";
import { decodeRoute, encodeRouteDelete, encodeRouteReplace } from "./route-messages.ts";
import { decodeRule, encodeRuleAdd } from "./rule-messages.ts";

const IFINDEX = 5;
const nameOf = (ifindex: number) => (ifindex === IFINDEX ? "vtep1024" : undefined);
const vtepMac = mac("70:b3:d5:80:00:02");

function write(encode: (writer: MessageWriter) => void): Message {
  const writer = new MessageWriter();
  encode(writer);
  const [message] = [...readMessages(writer.bytes)];
  assert.ok(message !== undefined);
  return { ...message, payload: message.payload.slice() };
}

function assertBytes(message: Message, type: number, flags: number, ...parts: string[]): void {
  assert.deepEqual([message.type, message.flags], [type, flags]);
  assert.equal(Buffer.from(message.payload).toString("hex"), parts.join("").replaceAll(" ", ""));
}

test("a peer's three entries have the bytes of the kernel's headers", () => {
  const neighbor = { dev: "vtep1024", ip: ip("44.128.0.2"), mac: vtepMac };
  const entry = { dev: "vtep1024", mac: vtepMac, dst: ip("10.0.0.2") };
  const route: Route = {
    dst: cidr("9.0.2.0/24"),
    table: 254,
    metric: 0x800002,
    type: "unicast",
    dev: "vtep1024",
    via: ip("44.128.0.2"),
    onlink: true,
  };
  const lladdr = "0a00 0200 70b3d5800002 0000";
  assertBytes(
    write((writer) => encodeNeighborReplace(writer, neighbor, IFINDEX)),
    28,
    0x501, // REQUEST, CREATE, REPLACE
    "02000000 05000000 8000 00 00", // AF_INET, ifindex, NUD_PERMANENT
    "0800 0100 2c800002",
    lladdr,
  );
  assertBytes(
    write((writer) => encodeFdbReplace(writer, entry, IFINDEX)),
    28,
    0x501,
    "07000000 05000000 8000 02 00", // AF_BRIDGE, ifindex, NUD_PERMANENT, NTF_SELF
    lladdr,
    "0800 0100 0a000002",
  );
  assertBytes(
    write((writer) => encodeRouteReplace(writer, route, IFINDEX)),
    24,
    0x501,
    "02 18 00 00 fe 57 00 01 04000000", // AF_INET, /24, main, protocol 87, universe, unicast, onlink
    "0800 0f00 fe000000",
    "0800 0100 09000200",
    "0800 0600 02008000",
    "0800 0400 05000000",
    "0800 0500 2c800002",
  );
  assertBytes(
    write((writer) => encodeRouteDelete(writer, route, IFINDEX)),
    25,
    0x1,
    "02 18 00 00 fe 57 ff 00 00000000", // scope nowhere: any
    "0800 0f00 fe000000",
    "0800 0100 09000200",
    "0800 0600 02008000",
  );
});

test("a pair is one message, its other end inside, in its namespace, not up", () => {
  const peer = { netns: "/x", name: "eth0", mac: mac("02:57:09:00:01:02"), mtu: 1400 };
  assertBytes(
    write((writer) => encodeLinkAdd(writer, { kind: "veth", name: "weft0", up: true, peer }, 9)),
    16,
    0x601, // REQUEST, CREATE, EXCL
    "00000000 00000000 00000000 00000000",
    "0a00 0300 776566743000 0000",
    "0800 1f00 01000000", // IFLA_NUM_TX_QUEUES
    "0800 2000 01000000", // IFLA_NUM_RX_QUEUES
    "6000 1280", // IFLA_LINKINFO
    "0900 0100 7665746800 000000",
    "5000 0280 4c00 0180", // IFLA_INFO_DATA, VETH_INFO_PEER
    "00000000 00000000 00000000 00000000",
    "0900 0300 6574683000 000000",
    "0a00 0100 025709000102 0000",
    "0800 0400 78050000",
    "0800 1f00 01000000",
    "0800 2000 01000000",
    "0800 1c00 09000000", // IFLA_NET_NS_FD
  );
});

test("link changes name the link and touch only the flag that was given", () => {
  const head = "00000000 00000000";
  const name = "0b00 0300 6d2d64636f7300 00";
  assertBytes(
    write((writer) => encodeLinkSet(writer, { name: "m-dcos", up: false })),
    16,
    1,
    head,
    "00000000 01000000",
    name,
  );
  assertBytes(
    write((writer) => encodeLinkSet(writer, { name: "m-dcos", mtu: 1300 })),
    16,
    1,
    head,
    "00000000 00000000",
    name,
    "0800 0400 14050000",
  );
  assertBytes(
    write((writer) => encodeLinkDelete(writer, 7)),
    17,
    1,
    "00000000 07000000",
    head,
  );
  const link = { kind: "bridge", name: "m-dcos", up: true, alias: "weft" } as const;
  const marks = ["0800 1400 77656674", "1000 1a80 0c00 0a80 0500 0800 01000000"]; // alias; AF_INET6 addr_gen_mode none
  assertBytes(
    write((writer) => encodeLinkMarks(writer, link, true)),
    16,
    1,
    head,
    head,
    name,
    ...marks,
  );
});

const family = fc.constantFrom<Family>(4, 6);
const ipOf = (f: Family) =>
  fc.bigInt({ min: 1n, max: (1n << BigInt(addressBits(f))) - 1n }).map((n) => bigIntToIp(f, n));
const interfaceOf = (f: Family) =>
  fc.tuple(ipOf(f), fc.integer({ min: 0, max: addressBits(f) })).map(([a, length]) => withLength(a, length));
const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(bytesToMac);
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const optional = <T>(key: string, value: fc.Arbitrary<T>) =>
  fc.option(value, { nil: undefined }).map((v) => (v === undefined ? {} : { [key]: v }));
const route = family.chain((f) =>
  fc
    .tuple(
      interfaceOf(f),
      u32,
      u32,
      optional("via", ipOf(f)),
      optional("src", ipOf(f)),
      optional("onlink", fc.constant(true)),
    )
    .map(
      ([dst, table, metric, ...rest]): Route =>
        Object.assign({ dst: networkOf(dst), table, metric, type: "unicast" as const, dev: "vtep1024" }, ...rest),
    ),
);

test("routes, addresses, rules and neighbours come back as they were written", () => {
  fc.assert(
    fc.property(route, anyMac, family.chain(interfaceOf), u32, (value, lladdr, address, priority) => {
      assert.deepEqual(
        decodeRoute(
          write((w) => encodeRouteReplace(w, value, IFINDEX)),
          nameOf,
        ),
        value,
      );
      const { dst, table, metric } = value;
      const unreachable: Route = { dst, table, metric, type: "unreachable" };
      assert.deepEqual(
        decodeRoute(
          write((w) => encodeRouteReplace(w, unreachable, undefined)),
          nameOf,
        ),
        unreachable,
      );
      const rule = { src: networkOf(address), table, priority };
      assert.deepEqual(decodeRule(write((w) => encodeRuleAdd(w, rule))), rule);
      const neighbor = { dev: "vtep1024", ip: addressOf(address), mac: lladdr };
      assert.deepEqual(
        decodeNeighbor(
          write((w) => encodeNeighborReplace(w, neighbor, IFINDEX)),
          nameOf,
        ),
        neighbor,
      );
      const entry = { dev: "vtep1024", mac: lladdr, dst: addressOf(address) };
      assert.deepEqual(
        decodeFdbEntry(
          write((w) => encodeFdbReplace(w, entry, IFINDEX)),
          "vtep1024",
        ),
        entry,
      );
      const written = { dev: "vtep1024", address };
      const isLinkLocal = /^fe[89ab]/.test(address);
      const read = decodeAddress(
        write((w) => encodeAddressReplace(w, written, IFINDEX)),
        nameOf,
      );
      assert.deepEqual(read, isLinkLocal ? undefined : written);
    }),
  );
});

test("VXLAN devices come back as they were written, down", () => {
  const local = fc.oneof(ipOf(4), ipOf(6)) as fc.Arbitrary<Ip>;
  const numbers = fc.tuple(fc.nat(0xffffff), fc.nat(0xffff), fc.integer({ min: 68, max: 65_535 }), fc.boolean());
  fc.assert(
    fc.property(local, anyMac, numbers, (address, lladdr, [vni, port, mtu, learning]) => {
      fc.pre(lladdr !== "00:00:00:00:00:00");
      const common = {
        kind: "vxlan",
        name: "vtep1024",
        vni,
        port,
        mtu,
        learning,
        local: address,
        mac: lladdr,
      } as const;
      const { link } = decodeLink(write((w) => encodeLinkAdd(w, { ...common, up: true })));
      assert.deepEqual(link, { ...common, up: false });
    }),
  );
});

test("what Weft does not write is left out: other protocols, types, devices, transient neighbours", () => {
  const payloadWith = (message: Message, at: number, byte: number): Message => {
    const payload = message.payload.slice();
    payload[at] = byte;
    return { ...message, payload };
  };
  const value: Route = { dst: cidr("9.0.0.0/8"), table: 254, metric: 1, type: "unicast", dev: "vtep1024" };
  const message = write((w) => encodeRouteReplace(w, value, IFINDEX));
  assert.deepEqual(decodeRoute(message, nameOf), value, "positive control");
  for (const [at, byte] of [
    [0, 7],
    [5, 4],
    [7, 6],
  ] as const)
    assert.equal(decodeRoute(payloadWith(message, at, byte), nameOf), undefined);
  assert.equal(
    decodeRoute(message, () => undefined),
    undefined,
  );
  const rule = write((w) => encodeRuleAdd(w, { src: cidr("9.0.0.0/8"), table: 42, priority: 1 }));
  assert.equal(decodeRule(payloadWith(rule, 7, 6)), undefined);
  const neighbor = write((w) => encodeNeighborReplace(w, { dev: "x", ip: ip("10.0.0.1"), mac: vtepMac }, IFINDEX));
  assert.equal(decodeNeighbor(payloadWith(neighbor, 8, 2), nameOf), undefined);
  assert.deepEqual(
    [0x80, 0x02, 0x20].map((state) => isResolution(payloadWith(neighbor, 8, state))),
    [false, true, false],
  );
});

test("noise in any message is a fault of the kernel's answer, never another error", () => {
  const samples = [
    write((w) =>
      encodeRouteReplace(
        w,
        { dst: cidr("9.0.0.0/8"), table: 254, metric: 1, type: "unicast", dev: "x", via: ip("10.0.0.1") },
        5,
      ),
    ),
    write((w) =>
      encodeRouteReplace(
        w,
        { dst: cidr("fd00::/8"), table: 42, metric: 1, type: "unicast", dev: "x", via: ip("fd00::1") },
        5,
      ),
    ),
    write((w) => encodeAddressReplace(w, { dev: "x", address: ipInterface("9.0.0.1/8") }, 5)),
    write((w) => encodeRuleAdd(w, { src: cidr("fd00::/8"), table: 42, priority: 1 })),
    write((w) => encodeNeighborReplace(w, { dev: "x", ip: ip("10.0.0.1"), mac: vtepMac }, 5)),
    write((w) =>
      encodeLinkAdd(w, { kind: "vxlan", name: "x", up: true, vni: 1, port: 2, learning: true, local: ip("fd00::1") }),
    ),
  ];
  const noise = fc.tuple(
    fc.constantFrom(...samples),
    fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 6 }),
    fc.nat(100),
  );
  fc.assert(
    fc.property(noise, ([sample, changes, length]) => {
      const payload = sample.payload.slice(0, length);
      for (const [at, byte] of changes) payload[at] = byte;
      const message = { ...sample, payload };
      for (const decode of [decodeLink, decodeRule, (m: Message) => decodeFdbEntry(m, "x")])
        onlyFaults(() => decode(message));
      for (const decode of [decodeRoute, decodeAddress, decodeNeighbor]) onlyFaults(() => decode(message, nameOf));
      isResolution(message);
    }),
    { numRuns: 5_000 },
  );
});

function onlyFaults(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === "kernel-refused", String((error as Error).stack));
  }
}
