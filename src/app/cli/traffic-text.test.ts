import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PATHS } from "../../core/host/datapath.ts";
import { ip } from "../../model/ip.ts";
import {
  type EndpointView,
  flowText,
  namesOf,
  rateText,
  redrawn,
  type TrafficView,
  trafficRates,
  trafficText,
} from "./traffic-text.ts";

const LEVEL2: TrafficView["datapath"] = { level: 2, reasons: [], notes: [] };
type Pair = TrafficView["pairs"][number];

function reading(nowMs: number, paths: TrafficView["paths"], ...pairs: Pair[]): TrafficView {
  return { nowMs, datapath: LEVEL2, paths, pairs };
}

function pair(from: string, to: string, path: Pair["path"], packets: number, bytes: number): Pair {
  return { source: ip(from), destination: ip(to), path, packets, bytes };
}

function endpoint(containerId: string, name: string | undefined, ...addresses: string[]): EndpointView {
  return {
    containerId,
    ...(name !== undefined && { name }),
    runtime: "podman",
    network: "dcos",
    ifname: "eth0",
    addresses: addresses.map(ip),
    plugin: "weft-cni",
    state: "attached",
    since: "2026-11-21T08:00:17Z",
  };
}

const NAMES = namesOf([
  endpoint("c1", "web", "9.0.1.2", "fd01:b::1:0:0:2"),
  endpoint("c2", "db", "9.0.1.3"),
  endpoint("c3", undefined, "9.0.1.4"),
]);

function ratesOf(...readings: [TrafficView, TrafficView]) {
  const rates = trafficRates(...readings);
  assert.ok(rates !== undefined);
  return rates;
}

const BEFORE = reading(
  1_000,
  { "same-host": { packets: 1_000, bytes: 1_000_000 }, outside: { packets: 10, bytes: 1_000 } },
  pair("9.0.1.2", "9.0.1.3", "same-host", 1_000, 1_000_000),
  pair("9.0.1.4", "0.0.0.0", "outside", 10, 1_000),
);
const AFTER = reading(
  3_000,
  {
    "same-host": { packets: 201_000, bytes: 3_001_000_000 },
    encapsulated: { packets: 60, bytes: 6_000 },
    outside: { packets: 31, bytes: 1_600 },
    "not-plain": { packets: 3, bytes: 300 },
    guarded: { packets: 4, bytes: 400 },
    "too-big": { packets: 2, bytes: 4_000 },
  },
  pair("9.0.1.4", "0.0.0.0", "outside", 31, 1_600),
  pair("9.0.1.2", "9.0.1.3", "same-host", 201_000, 3_001_000_000),
  pair("9.0.1.2", "9.0.2.2", "encapsulated", 20, 2_000),
  pair("fd01:b::1:0:0:2", "fd01:b::2:0:0:2", "encapsulated", 40, 4_000),
);

test("who talks to whom, the busiest first, below how all packets went and why the kernel had some", () => {
  assert.equal(
    trafficText(ratesOf(BEFORE, AFTER), NAMES),
    `
datapath: level 2

PACKETS              PACKETS/S  BITS/S  MAINLY
same host                 100k   12.0G
by the VXLAN device          0       0
encapsulated                30   24.0k
left to the kernel          15   21.2k  outside 11, guarded 2, not plain 1.5

FROM     TO               PATH             PACKETS/S  BITS/S
web      db               same host             100k   12.0G
web      fd01:b::2:0:0:2  encapsulated            20   16.0k
web      9.0.2.2          encapsulated            10    8.0k
9.0.1.4  outside          kernel: outside         11    2.4k`.slice(1),
  );
});

test("addresses of one container are one, and names that two containers share are two", () => {
  const names = namesOf([endpoint("a", "web", "9.0.1.2", "fd01:b::1:0:0:2"), endpoint("b", "web", "9.0.1.3")]);
  const [before, after] = [reading(0, {}), reading(1_000, {})];
  after.pairs.push(
    pair("9.0.1.2", "0.0.0.0", "outside", 2, 200),
    pair("fd01:b::1:0:0:2", "::", "outside", 3, 300),
    pair("9.0.1.3", "0.0.0.0", "outside", 1, 100),
  );
  const rows = trafficText(ratesOf(before, after), names).split("\n").slice(-2);
  assert.deepEqual(
    rows.map((row) => row.split(/ {2,}/)),
    [
      ["web", "outside", "kernel: outside", "5", "4.0k"],
      ["web", "outside", "kernel: outside", "1", "800"],
    ],
  );
});

test("the level, why it is not higher, and what is left to the kernel stand above", () => {
  const datapath = { level: 1, reasons: ["it is set to 1"], notes: ["the map peers4 is full"] } as const;
  const after = { ...AFTER, datapath: { ...datapath, reasons: [...datapath.reasons], notes: [...datapath.notes] } };
  assert.match(
    trafficText(ratesOf(BEFORE, after), NAMES),
    /^datapath: level 1 \(it is set to 1\)\n {2}the map peers4 is full\n\nPACKETS /,
  );
});

test("where nobody talks the table says so", () => {
  assert.match(
    trafficText(ratesOf(BEFORE, { ...BEFORE, nowMs: 2_000 }), NAMES),
    /left to the kernel +0 +0\n\nnobody talks$/,
  );
});

test("no line is wider than 80 columns or than the terminal, whatever the names and addresses", () => {
  const long = "fd01:bbbb:cccc:dddd:eeee:ffff:1111:";
  const names = namesOf([endpoint("c1", "a-container-with-a-name-that-nobody-would-want-to-type", `${long}2`)]);
  const after = reading(
    1_000,
    { "between-networks": { packets: 123_456, bytes: 1e9 }, "not-own-source": { packets: 99_999, bytes: 1e9 } },
    pair(`${long}2`, `${long}3`, "between-networks", 999_999, 1e12),
    pair(`${long}3`, `${long}2`, "not-own-source", 999_999, 1e12),
  );
  const rates = ratesOf(reading(0, {}), after);
  for (const width of [undefined, 60, 120])
    for (const line of trafficText(rates, names, width === undefined ? {} : { width }).split("\n"))
      assert.ok(line.length <= (width ?? 80), line);
  const wide = trafficText(rates, names, { width: 160 });
  for (const whole of ["a-container-with-a-name-that-nobody-would-want-to-type", `${long}3`, "kernel: not own source"])
    assert.ok(wide.includes(whole), wide);
});

test("as many pairs as there is room for, and how many are left; the cursor has a line of its own", () => {
  const pairs = Array.from({ length: 30 }, (_, i) => pair("9.0.1.2", `9.0.2.${i}`, "encapsulated", 30 - i, 3_000));
  const rates = ratesOf(reading(0, {}), reading(1_000, {}, ...pairs));
  const lines = (room: Parameters<typeof trafficText>[2]) => trafficText(rates, NAMES, room).split("\n");
  assert.equal(lines({ rows: 20 }).length, 9 + 20 + 1);
  assert.equal(lines({ rows: 20 }).at(-1), "and 10 more");
  assert.equal(lines({ rows: 30 }).at(-1)?.startsWith("web"), true);
  for (const height of [12, 24, 38]) {
    const shown = lines({ height });
    assert.equal(shown.length, height - 1);
    assert.equal(shown.at(-1), `and ${30 - (height - 1 - 9 - 1)} more`);
  }
  assert.equal(lines({ height: 40 }).length, 39, "all of them");
  assert.equal(lines({ height: 41 }).length, 39);
  assert.equal(lines({ height: 24, rows: 5 }).at(-1), "and 25 more");
  assert.equal(lines({ height: 3 }).at(-1), "and 29 more", "a terminal that is too low shows the busiest");
});

// ---- rates -------------------------------------------------------------------------------------------------------------

test("a count that began anew is taken whole, and with one path all that a datapath counted", () => {
  const [before, after] = [
    reading(0, {}, pair("9.0.1.2", "9.0.2.2", "tunnel", 100, 9_000), pair("9.0.1.2", "9.0.2.3", "tunnel", 5, 500)),
    reading(1_000, {}, pair("9.0.1.2", "9.0.2.2", "tunnel", 4, 300), pair("9.0.1.2", "9.0.2.3", "tunnel", 7, 700)),
  ];
  const packets = (...readings: [TrafficView, TrafficView]) =>
    ratesOf(...readings).pairs.map(({ packetsPerSecond }) => packetsPerSecond);
  assert.deepEqual(packets(before, after), [4, 2]);
  const paths = { tunnel: { packets: 105, bytes: 9_500 } };
  const fresh = { tunnel: { packets: 11, bytes: 1_000 } };
  assert.deepEqual(packets({ ...before, paths }, { ...after, paths: fresh }), [7, 4]);
  assert.equal(ratesOf({ ...before, paths }, { ...after, paths: fresh }).paths.tunnel?.packetsPerSecond, 11);
});

test("two lives of an agent have no time between them", () => {
  assert.equal(trafficRates(AFTER, BEFORE), undefined);
  assert.equal(trafficRates(BEFORE, { ...AFTER, nowMs: BEFORE.nowMs }), undefined);
});

test("no rate is negative, and none is there for who said nothing", () => {
  const count = fc.record({ packets: fc.integer({ min: 1, max: 9 }), bytes: fc.integer({ min: 40, max: 400 }) });
  const addresses = fc.constantFrom("9.0.1.2", "9.0.2.2", "0.0.0.0").map(ip);
  const key = fc.record({ source: addresses, destination: addresses, path: fc.constantFrom(...PATHS) });
  const pairs = fc.uniqueArray(
    fc.tuple(key, count).map(([each, counted]) => ({ ...each, ...counted })),
    { maxLength: 5, selector: ({ source, destination, path }) => `${source} ${destination} ${path}` },
  );
  const paths = fc.dictionary(fc.constantFrom(...PATHS), count, { maxKeys: 4 });
  const view = fc.record({ paths, pairs }).map((each) => ({ datapath: LEVEL2, ...each }) as Omit<TrafficView, "nowMs">);
  fc.assert(
    fc.property(view, view, (before, after) => {
      const rates = ratesOf({ ...before, nowMs: 0 }, { ...after, nowMs: 500 });
      for (const { packetsPerSecond, bitsPerSecond } of [...rates.pairs, ...Object.values(rates.paths)])
        assert.ok(packetsPerSecond >= 0 && bitsPerSecond >= 0);
      assert.ok(rates.pairs.every(({ packetsPerSecond }) => packetsPerSecond > 0));
    }),
    { numRuns: 2_000 },
  );
});

test("a rate has three digits at most", () => {
  const texts: readonly [number, string][] = [
    [0, "0"],
    [0.25, "0.3"],
    [7, "7"],
    [9.96, "10"],
    [12.4, "12"],
    [999.4, "999"],
    [999.5, "1.0k"],
    [98_140, "98.1k"],
    [99_960, "100k"],
    [999_499, "999k"],
    [9_310_000_000, "9.3G"],
    [4.2e15, "4200T"],
  ];
  for (const [rate, text] of texts) assert.equal(rateText(rate), text, String(rate));
});

test("a drawing begins in the corner, clears what was there before, and fits the terminal", () => {
  assert.equal(redrawn("one\ntwo and more", 8, true), "\u001b[2J\u001b[Hone\u001b[K\ntwo and…\u001b[K\n\u001b[J");
  assert.equal(redrawn("one", 8, false), "\u001b[Hone\u001b[K\n\u001b[J");
});

// ---- flows -------------------------------------------------------------------------------------------------------------

test("a packet is a line: from, to, protocol, length, path", () => {
  const tcp = {
    source: ip("9.0.1.2"),
    destination: ip("9.0.2.2"),
    sourcePort: 43_210,
    destinationPort: 80,
    protocol: 6,
  };
  assert.equal(
    flowText({ ...tcp, path: "encapsulated", length: 1_448 }),
    "9.0.1.2:43210 → 9.0.2.2:80 tcp 1448 B encapsulated",
  );
  assert.equal(
    flowText({ ...tcp, source: ip("fd01::1"), destination: ip("fd01::2"), protocol: 17, path: "tunnel", length: 60 }),
    "[fd01::1]:43210 → [fd01::2]:80 udp 60 B VXLAN device",
  );
  const { sourcePort: _, destinationPort: __, ...portless } = tcp;
  const others: readonly [number, string][] = [
    [1, "icmp"],
    [58, "icmpv6"],
    [132, "132"],
  ];
  for (const [protocol, name] of others)
    assert.equal(
      flowText({ ...portless, protocol, path: "not-tcp-udp", length: 84 }),
      `9.0.1.2 → 9.0.2.2 ${name} 84 B kernel: not TCP/UDP`,
    );
  assert.match(flowText({ ...tcp, path: "outside", length: 40 }), / 40 B kernel: outside$/);
  assert.match(flowText({ ...tcp, path: "not-ip", length: 40 }), / 40 B kernel: not IP$/);
});
