/**
 * Maps that are full: what does not fit costs speed, or a number in a table, and never a packet.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import type { DatapathEntry, DatapathSettings } from "../../src/core/host/datapath.ts";
import { DatapathSet } from "../../src/io/kernel/bpf/datapath-set.ts";
import { COUNT_BYTES, encodePairKey, encodeSettings, pathNumber, sumCounts } from "../../src/io/kernel/bpf/layout.ts";
import { closeFd, SystemCallError } from "../../src/io/kernel/ffi.ts";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import * as limits from "../../src/model/datapath-limits.ts";
import { cidr, type Ip, ip, nthAddress, nthSubnet } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { ProgramRunner } from "../support/bpf-run.ts";
import { udp } from "../support/frames.ts";
import { labOrReason } from "../support/lab.ts";

const skip = await labOrReason();

const PROCESSORS = Number(readFileSync("/sys/devices/system/cpu/possible", "utf8").trim().split(/[-,]/).at(-1)) + 1;
/** The loopback, which test runs come in by. */
const indexOf = () => 1;
const [TO_KERNEL, REDIRECT] = [-1, 7];
const LOOPBACK = mac("00:00:00:00:00:00");
const CONTAINER = mac("02:57:09:00:01:02");

const SETTINGS: DatapathSettings = {
  underlay: "lo",
  node: ip("10.0.0.11"),
  vni: 1024,
  mac: mac("70:b3:d5:80:00:02"),
  gatewayMac: mac("02:57:00:00:00:01"),
  mtu: 1450,
  sampleEvery: 0,
  lengths: { 4: [32, 24, 12], 6: [] },
  hasGuarded: true,
  hasSpecial: true,
  decapsulatesIpv6: true,
};
const local = (address: Ip): DatapathEntry => {
  return { map: "locals", ip: address, dev: "lo", mac: CONTAINER, group: 0, mtu: 1450, isLimited: false };
};
const peer = (prefix: string): DatapathEntry => ({
  map: "peers",
  prefix: cidr(prefix),
  node: ip("10.0.0.12"),
  vtep: ip("44.128.0.3"),
  mac: mac("70:b3:d5:80:00:03"),
  group: 0,
  level: 2,
});
const [OWN, OTHER] = [ip("9.0.1.2"), ip("9.0.1.3")];
const VIP = ip("11.0.0.1");

/** The programs with maps of their own, in which there are two containers here and a peer with 9.128.0.0/12. */
async function open(t: TestContext) {
  const kernel = openLinuxKernel();
  t.after(() => kernel.close());
  const { datapath } = await kernel.features();
  if ("missing" in datapath) {
    t.skip(datapath.missing);
    return undefined;
  }
  const set = DatapathSet.make();
  const fd = set.load("container");
  t.after(() => {
    closeFd(fd);
    set.close();
  });
  set.writeSettings(encodeSettings(SETTINGS, "lo", indexOf) ?? Buffer.alloc(0));
  set.put([local(OWN), local(OTHER), peer("9.128.0.0/12"), { map: "special", ip: VIP }], indexOf);
  const runner = new ProgramRunner();
  const each = PROCESSORS * COUNT_BYTES;
  return {
    set,
    /** The verdict on a packet of a container. */
    send(src: Ip, dst: Ip, port = 4_000): number {
      const frame = udp({ src: CONTAINER, dst: LOOPBACK }, { src, dst }, [port, 80], new Uint8Array(4));
      return runner.run(fd, frame).verdict;
    },
    counted(path: "encapsulated" | "outside"): number {
      return sumCounts(set.read("counts", each).values.subarray(pathNumber(path) * each, (pathNumber(path) + 1) * each))
        .packets;
    },
    /** Pairs that are counted, and their packets together. */
    pairs(): [pairs: number, packets: number] {
      const { count, values } = set.read("pairs4", each);
      return [count, sumCounts(values).packets];
    },
  };
}

const isFull = (error: unknown) => error instanceof SystemCallError && error.code === "E2BIG";
const far = (n: number) => nthAddress(cidr("9.128.0.0/12"), BigInt(n));

test("pairs beyond those that fit are carried and counted by path; a pair that goes makes room", {
  skip,
}, async (t) => {
  const datapath = await open(t);
  if (datapath === undefined) return;
  const { send, counted, pairs, set } = datapath;
  const many = limits.DATAPATH_PAIRS_MAX + 4_000;
  for (let n = 1; n <= many; n++) assert.equal(send(OWN, far(n)), REDIRECT, `packet ${n}`);
  assert.equal(counted("encapsulated"), many);
  assert.deepEqual(pairs(), [limits.DATAPATH_PAIRS_MAX, limits.DATAPATH_PAIRS_MAX]);
  assert.equal(send(OWN, far(1)), REDIRECT);
  assert.deepEqual(pairs(), [limits.DATAPATH_PAIRS_MAX, limits.DATAPATH_PAIRS_MAX + 1], "those that are there go on");
  assert.ok(set.forget("pairs4", encodePairKey({ source: OWN, destination: far(1), path: "encapsulated" })));
  assert.equal(send(OWN, far(many)), REDIRECT);
  assert.deepEqual(pairs(), [limits.DATAPATH_PAIRS_MAX, limits.DATAPATH_PAIRS_MAX]);
});

test("whoever looks for somebody outside fills no map: that is one pair", { skip }, async (t) => {
  const datapath = await open(t);
  if (datapath === undefined) return;
  for (let n = 0; n < 1_000; n++)
    assert.equal(datapath.send(OWN, nthAddress(cidr("172.16.0.0/12"), BigInt(n))), TO_KERNEL);
  assert.equal(datapath.counted("outside"), 1_000);
  assert.deepEqual(datapath.pairs(), [1, 1_000]);
});

test("full maps of containers and of peers take no more, and what they have works on", { skip }, async (t) => {
  const datapath = await open(t);
  if (datapath === undefined) return;
  const { set, send } = datapath;
  const here = (n: number) => nthAddress(cidr("9.16.0.0/12"), BigInt(n));
  const containers = Array.from({ length: limits.DATAPATH_LOCALS_MAX }, (_, n) => local(here(n)));
  assert.throws(() => set.put(containers, indexOf), isFull);
  assert.equal(send(OWN, OTHER), REDIRECT);
  assert.equal(send(here(0), here(limits.DATAPATH_LOCALS_MAX - 3)), REDIRECT, "the last that fits");
  assert.equal(send(here(0), here(limits.DATAPATH_LOCALS_MAX - 1)), TO_KERNEL);
  const prefixes = Array.from({ length: limits.DATAPATH_PEERS_MAX }, (_, n) =>
    peer(nthSubnet(cidr("10.0.0.0/8"), 32, BigInt(n))),
  );
  assert.throws(() => set.put(prefixes, indexOf), isFull);
  assert.equal(send(OWN, far(1)), REDIRECT);
  set.remove([prefixes[0] ?? assert.fail()]);
  set.put([peer("172.16.0.0/24")], indexOf);
  assert.equal(send(OWN, ip("172.16.0.9")), REDIRECT);
});

test("of ends that may be translated the last are remembered, however many there were", { skip }, async (t) => {
  const datapath = await open(t);
  if (datapath === undefined) return;
  const { set, send } = datapath;
  const answer = (to: Ip, port: number) =>
    udp({ src: CONTAINER, dst: LOOPBACK }, { src: far(9), dst: to }, [80, port], new Uint8Array(4));
  const runner = new ProgramRunner();
  const fd = set.load("tunnel");
  t.after(() => closeFd(fd));
  assert.equal(runner.run(fd, answer(OWN, 1)).verdict, REDIRECT, "positive control");
  for (const address of [OWN, OTHER])
    for (let port = 1; port <= 65_535; port++) assert.equal(send(address, VIP, port), TO_KERNEL);
  // One that was just there must be there: whoever was forgotten gets an answer that was not translated.
  for (let port = 65_535 - 1_000; port <= 65_535; port++)
    assert.equal(runner.run(fd, answer(OTHER, port)).verdict, TO_KERNEL);
  const { count } = set.read("translated4");
  assert.ok(
    count <= limits.DATAPATH_TRANSLATED_MAX && count > limits.DATAPATH_TRANSLATED_MAX / 2,
    `${count} are remembered`,
  );
});
