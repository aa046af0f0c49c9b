/**
 * The datapath's programs on tens of thousands of frames, right, wrong and random: each must meet with exactly the fate that
 * the oracle says, and be byte for byte what it says. What is left to the kernel is untouched; nothing is ever dropped.
 *
 * A run is replayed with its seed, which every failure tells: WEFT_FUZZ_SEED=7 WEFT_FUZZ_FRAMES=200000.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { type DatapathEntry, type DatapathSettings, type FlowSample, PATHS } from "../../src/core/host/datapath.ts";
import { DatapathSet } from "../../src/io/kernel/bpf/datapath-set.ts";
import {
  COUNT_BYTES,
  decodePairKey,
  decodeSample,
  encodeSettings,
  pathNumber,
  sumCounts,
} from "../../src/io/kernel/bpf/layout.ts";
import { closeFd } from "../../src/io/kernel/ffi.ts";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import { bytesToIp, cidr, type Family, ip, ipToBytes, nthAddress } from "../../src/model/ip.ts";
import { type Mac, mac, macToBytes } from "../../src/model/mac.ts";
import { ProgramRunner } from "../support/bpf-run.ts";
import { FrameSource, type Pools } from "../support/datapath-frames.ts";
import { type Fate, type Gso, Oracle, type ProgramKind } from "../support/datapath-oracle.ts";
import { labOrReason } from "../support/lab.ts";
import { seededRandom } from "../support/seeded-random.ts";

const skip = await labOrReason();

const SEED = Number(process.env.WEFT_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 32));
const FRAMES = Number(process.env.WEFT_FUZZ_FRAMES ?? 60_000);

/** Fewer than the ring has room for. */
const SAMPLES_AT_ONCE = 1_000;

/** Test runs come in on the loopback, number 1, whose MAC is all zero. Whoever is elsewhere is at a number that is not. */
const INDEXES: Readonly<Record<string, number>> = { lo: 1, elsewhere: 99 };
const indexOf = (dev: string) => INDEXES[dev];
const ARRIVAL = { dev: "lo", mac: Buffer.alloc(6) };
const VERDICT = { toKernel: -1, redirect: 7 } as const;

const SETTINGS: DatapathSettings = {
  underlay: "lo",
  node: ip("10.0.0.11"),
  vni: 1024,
  mac: mac("70:b3:d5:80:00:02"),
  gatewayMac: mac("02:57:00:00:00:01"),
  mtu: 1450,
  sampleEvery: 0,
  lengths: { 4: [32, 24, 16], 6: [128, 80] },
  hasGuarded: true,
  hasSpecial: true,
  decapsulatesIpv6: true,
};

type Local = Extract<DatapathEntry, { readonly map: "locals" }>;
type Peer = Extract<DatapathEntry, { readonly map: "peers" }>;

const macOf = (n: number): Mac => mac(`02:57:09:00:01:${n.toString(16).padStart(2, "0")}`);
const containerNet: Readonly<Record<Family, string>> = { 4: "9.0.1.0/24", 6: "fd01:b:0:0:1::/80" };
const localsOf = (family: Family): Local[] => {
  const local = (n: number, change: Partial<Local> = {}): Local => {
    const address = nthAddress(cidr(containerNet[family]), BigInt(n));
    return { map: "locals", ip: address, dev: "lo", mac: macOf(n), group: 0, mtu: 1450, isLimited: false, ...change };
  };
  return [
    // More of those that all is right of.
    local(2),
    local(10),
    local(11),
    local(12, { group: 2 }),
    local(3, { dev: "elsewhere" }),
    local(4, { isLimited: true }),
    local(5, { group: 1 }),
    local(6, { group: 2 }),
    local(7, { dev: "elsewhere", mtu: 600 }),
    local(8, { dev: "elsewhere", isLimited: true }),
    local(9, { dev: "elsewhere", group: 65_535 }),
  ];
};
const peer = (prefix: string, node: number, change: Partial<Peer> = {}): Peer => ({
  map: "peers",
  prefix: cidr(prefix),
  node: ip(`10.0.0.${node}`),
  vtep: ip(prefix.includes(":") ? `fd01:a::${node}` : `44.128.0.${node}`),
  mac: mac("70:b3:d5:80:00:03"),
  group: 0,
  level: 2,
  ...change,
});
const { node: _, ...nodeless } = peer("9.0.4.0/24", 14, { level: 1 });
const address = (map: "guarded" | "special", text: string): DatapathEntry => ({ map, ip: ip(text) });

const ENTRIES: readonly DatapathEntry[] = [
  ...localsOf(4),
  ...localsOf(6),
  peer("9.0.2.0/24", 12),
  peer("9.0.2.77/32", 14, { group: 1 }),
  peer("9.0.3.0/24", 13, { level: 1 }),
  nodeless,
  peer("9.1.0.0/16", 15, { group: 2 }),
  // Of a length that is not looked up.
  peer("9.2.0.0/15", 16),
  peer("fd01:b:0:0:2::/80", 12),
  peer("fd01:b::2:0:0:77/128", 14, { group: 1 }),
  peer("fd01:b:0:0:3::/80", 13, { level: 1, group: 2 }),
  { map: "talk", from: 0, to: 2 },
  { map: "talk", from: 2, to: 0 },
  // In one direction only: the programs must not turn it round.
  { map: "talk", from: 1, to: 2 },
  { map: "talk", from: 65_535, to: 1 },
  ...["9.0.2.9", "9.0.1.6", "fd01:b::2:0:0:9"].map((text) => address("guarded", text)),
  ...["11.0.0.1", "11.0.0.2", "fd01:c::1"].map((text) => address("special", text)),
];

const containersOf = (entry: DatapathEntry) =>
  entry.map === "locals" ? [{ mac: macToBytes(entry.mac), address: entry.ip, isHere: entry.dev === "lo" }] : [];
const remote = (text: string, node: number) => ({ address: ip(text), node: ip(`10.0.0.${node}`) });
const POOLS: Pools = {
  arrivalMac: ARRIVAL.mac,
  containers: ENTRIES.flatMap(containersOf),
  remotes: [
    ...["9.0.2.2", "9.0.2.3", "9.0.2.4", "9.0.2.9", "fd01:b::2:0:0:3", "fd01:b::2:0:0:2", "fd01:b::2:0:0:9"].map(
      (text) => remote(text, 12),
    ),
    ...["9.0.2.77", "fd01:b::2:0:0:77"].map((text) => remote(text, 14)),
    ...["9.0.3.2", "fd01:b::3:0:0:2"].map((text) => remote(text, 13)),
    ...["9.0.4.2", "9.1.7.7", "9.2.0.2"].map((text, i) => remote(text, 14 + i)),
  ],
  others: [
    ...["11.0.0.1", "11.0.0.2", "11.0.0.1", "9.0.1.99", "8.8.8.8", "255.255.255.255", "10.0.0.11", "44.128.0.3"],
    ...["127.0.0.1", "0.0.0.0", "224.0.0.1", "fd01:c::1", "fd01:c::1", "fd01:b::1:0:0:99", "2001:db8::1", "ff02::1"],
    ...["fe80::1", "::"],
  ].map(ip),
  own: ip("10.0.0.11"),
  vni: SETTINGS.vni,
  tunnelMac: macToBytes(SETTINGS.mac),
};

/** The programs with maps of their own, and what is known of them. */
class Bench {
  readonly set = DatapathSet.make();
  readonly oracle: Oracle;
  readonly #isSampled: boolean;
  readonly #canCheck: boolean;
  readonly #programs = new Map<ProgramKind, number>();
  readonly #runner = new ProgramRunner();
  /** By path, by pair and path: packets and bytes that must have been counted. */
  readonly paths = new Map<string, [packets: number, bytes: number]>();
  readonly pairs = new Map<string, [packets: number, bytes: number]>();

  constructor(t: TestContext, settings: DatapathSettings) {
    t.after(() => this.#close());
    this.#isSampled = settings.sampleEvery === 1;
    this.oracle = new Oracle(settings, ENTRIES, ARRIVAL);
    const bytes = encodeSettings(settings, "lo", indexOf);
    assert.ok(bytes !== undefined);
    this.set.writeSettings(bytes);
    this.set.put(ENTRIES, indexOf);
    for (const program of ["container", "tunnel", "underlay"] as const)
      this.#programs.set(program, this.set.load(program));
    this.#canCheck = this.#runner.canCheck(this.#programs.get("underlay") ?? -1);
  }

  /** @returns what became of it as it had to; `undefined` when the kernel makes no packet of the frame */
  run(program: ProgramKind, frame: Buffer, gso: Gso | undefined): Fate | undefined {
    // The fate has effects on those that come after.
    if (!isRunnable(frame)) return undefined;
    const fate = this.oracle.fate(program, frame, gso);
    // What a program puts before a packet nobody summed up: those packets leave the host.
    const isChecked = this.#canCheck && fate.goes !== "encapsulated";
    const run = this.#runner.run(this.#programs.get(program) ?? -1, frame, { ...(gso && { gso }), isChecked });
    assert.equal(
      run.verdict,
      fate.goes === "kernel" ? VERDICT.toKernel : VERDICT.redirect,
      `${fate.goes}: the verdict`,
    );
    const after = fate.goes === "encapsulated" ? withoutChosen(run.frame) : run.frame;
    if (!after.equals(fate.frame ?? frame)) assert.equal(after.toString("hex"), (fate.frame ?? frame).toString("hex"));
    this.#note(fate);
    return fate;
  }

  /** What was told since the last time. */
  checkSamples(expected: readonly FlowSample[]): void {
    const nameOf = (ifindex: number) => Object.keys(INDEXES).find((dev) => INDEXES[dev] === ifindex);
    const samples = this.set.takeSamples().map((bytes) => decodeSample(bytes, nameOf));
    assert.deepEqual(samples, this.#isSampled ? expected : [], "what is told of packets");
  }

  #note({ counted, pair }: Fate): void {
    if (counted === undefined) return;
    const { path, packets, bytes } = counted;
    for (const [sums, key] of [
      [this.paths, path],
      [this.pairs, pair === undefined ? undefined : `${pair} ${path}`],
    ] as const) {
      if (key === undefined) continue;
      const [morePackets, moreBytes] = sums.get(key) ?? [0, 0];
      sums.set(key, [morePackets + packets, moreBytes + bytes]);
    }
  }

  #close(): void {
    for (const fd of this.#programs.values()) closeFd(fd);
    this.set.close();
  }
}

/** The kernel refuses to run frames that end within the IP header that their type promises. */
function isRunnable(frame: Buffer): boolean {
  const type = frame.readUInt16BE(12);
  const header = type === 0x0800 ? 20 : type === 0x86dd ? 40 : 0;
  return frame.length >= 14 + Math.max(header, 1);
}

/** A tunnel packet without what the neighbour and the connection choose; whether the port is one of those that may be. */
function withoutChosen(frame: Buffer): Buffer {
  const mine = Buffer.from(frame);
  mine.fill(0, 0, 12);
  assert.ok(mine.readUInt16BE(34) >= 49_152, "the source port is one of the dynamic ones");
  mine.writeUInt16BE(0, 34);
  return mine;
}

/** How many values a map per processor has. */
const PROCESSORS = Number(readFileSync("/sys/devices/system/cpu/possible", "utf8").trim().split(/[-,]/).at(-1)) + 1;

/** Packets and bytes by path, and by pair and path, as the programs counted them. */
function countedBy(set: DatapathSet) {
  const each = PROCESSORS * COUNT_BYTES;
  const { values } = set.read("counts", each);
  const sum = (bytes: Buffer, i: number): [number, number] => {
    const { packets, bytes: length } = sumCounts(bytes.subarray(i * each, (i + 1) * each));
    return [packets, length];
  };
  const paths = new Map(PATHS.map((path) => [path, sum(values, pathNumber(path))] as const));
  const pairs = ([4, 6] as const).flatMap((family) => {
    const found = set.read(`pairs${family}`, each);
    const bytes = found.keys.length / Math.max(1, found.count);
    return Array.from({ length: found.count }, (_, i) => {
      const key = decodePairKey(found.keys.subarray(i * bytes, (i + 1) * bytes), family);
      const hex = [key.source, key.destination].map((each) => Buffer.from(ipToBytes(each)).toString("hex"));
      return [`${hex.join(" ")} ${key.path}`, sum(found.values, i)] as const;
    });
  });
  return { paths: new Map([...paths].filter(([, [packets]]) => packets > 0)), pairs: new Map(pairs) };
}

const byKey = (sums: ReadonlyMap<string, readonly [number, number]>) => Object.fromEntries([...sums].sort());

const WORLDS: Readonly<Record<string, Partial<DatapathSettings>>> = {
  "with all that there is": {},
  "where nothing is guarded or translated, and kernels take no IPv6 out": {
    hasGuarded: false,
    hasSpecial: false,
    decapsulatesIpv6: false,
  },
  "that tells of each packet, with a narrow tunnel and prefixes of few lengths": {
    sampleEvery: 1,
    mtu: 600,
    lengths: { 4: [24], 6: [] },
  },
};

/** As the programs tell of a packet. */
function toldOf({ packet, counted }: Fate): FlowSample | undefined {
  if (packet === undefined || counted === undefined) return undefined;
  const { source, destination, sourcePort, destinationPort, protocol, length } = packet;
  const address = (hex: string) => bytesToIp(Buffer.from(hex, "hex"));
  const ports = protocol === 6 || protocol === 17 ? { sourcePort, destinationPort } : {};
  return {
    source: address(source),
    destination: address(destination),
    ...ports,
    protocol,
    path: counted.path,
    dev: "lo",
    length,
  };
}

for (const [what, change] of Object.entries(WORLDS))
  test(`whatever comes, its fate is the one that it must have: a host ${what}`, { skip }, async (t) => {
    const kernel = openLinuxKernel();
    t.after(() => kernel.close());
    const { datapath } = await kernel.features();
    if ("missing" in datapath) return t.skip(datapath.missing);
    t.diagnostic(`WEFT_FUZZ_SEED=${SEED}`);
    const bench = new Bench(t, { ...SETTINGS, ...change });
    const source = new FrameSource(seededRandom(SEED).fraction, POOLS);
    const carried = new Map<ProgramKind, number>();
    let told: FlowSample[] = [];
    for (let n = 0; n < FRAMES / Object.keys(WORLDS).length; n++) {
      const { program, frame, gso } = source.draw();
      try {
        const fate = bench.run(program, frame, gso);
        if (fate !== undefined && fate.goes !== "kernel") carried.set(program, (carried.get(program) ?? 0) + 1);
        if (fate !== undefined) told.push(...[toldOf(fate)].filter((sample) => sample !== undefined));
        if (told.length >= SAMPLES_AT_ONCE) {
          bench.checkSamples(told);
          told = [];
        }
      } catch (error) {
        const which = `WEFT_FUZZ_SEED=${SEED}, frame ${n}, ${program}${gso === undefined ? "" : ` of ${gso.segments}`}`;
        throw new Error(`${which}: ${(error as Error).message}\n${frame.toString("hex")}`, { cause: error });
      }
    }
    const { paths, pairs } = countedBy(bench.set);
    assert.deepEqual(byKey(paths), byKey(bench.paths), `WEFT_FUZZ_SEED=${SEED}: packets by path`);
    assert.deepEqual(byKey(pairs), byKey(bench.pairs), `WEFT_FUZZ_SEED=${SEED}: packets by pair`);
    for (const program of ["container", "tunnel", "underlay"] as const)
      assert.ok((carried.get(program) ?? 0) > FRAMES / 1_000, `${program} has carried some: ${carried.get(program)}`);
    if (Object.keys(change).length === 0)
      assert.deepEqual([...paths.keys()].sort(), [...PATHS].sort(), "all paths were met");
  });
