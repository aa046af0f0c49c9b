/**
 * The datapath as Prometheus sees it: what is told at which level, under which labels, and that no counter goes down.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SEED_ATTACHMENT } from "../../../test/support/seed-cluster.ts";
import { PATHS, type Traffic, type TrafficCount } from "../../core/host/datapath.ts";
import type { DatapathReport } from "../../core/overlay/datapath.ts";
import { PrefixIndex } from "../../core/overlay/prefix-index.ts";
import { TrafficBook } from "../../core/overlay/traffic-book.ts";
import type { Lease } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { cidr, ip } from "../../model/ip.ts";
import { DatapathMetrics } from "./datapath-metrics.ts";

const LEVEL2: DatapathReport = { level: 2, reasons: [], notes: [] };
const WEB: Lease = { ...SEED_ATTACHMENT, name: "web" };
const WHERE = { locals: new Set([ip("9.0.1.2")]), nodes: new PrefixIndex([[cidr("9.0.2.0/24"), ip("10.0.0.12")]]) };
const TRAFFIC: Traffic = {
  paths: { encapsulated: { packets: 7, bytes: 900 }, outside: { packets: 3, bytes: 120 } },
  pairs: [
    { source: ip("9.0.1.2"), destination: ip("9.0.2.2"), path: "encapsulated", packets: 4, bytes: 600 },
    { source: ip("9.0.2.2"), destination: ip("9.0.1.2"), path: "encapsulated", packets: 3, bytes: 300 },
    { source: ip("9.0.1.2"), destination: ip("0.0.0.0"), path: "outside", packets: 3, bytes: 120 },
  ],
};

/** A datapath whose level and counts a test sets. */
class Told {
  report = LEVEL2;
  counted: Traffic | undefined = TRAFFIC;
  readings = 0;
  leases: readonly Lease[] = [WEB];
  readonly book = new TrafficBook(60_000);
  readonly metrics = new DatapathMetrics({ datapath: this, leases: () => this.leases });

  async traffic(): Promise<Traffic | undefined> {
    this.readings++;
    if (this.counted !== undefined) this.book.note(this.counted, WHERE, this.readings);
    return this.counted;
  }

  /** Samples by name and labels, as they are written. */
  async samples(): Promise<Map<string, number>> {
    const lines = (await this.metrics.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
  }
}

test("packets by path, of containers by name, network and address, of other hosts by their address", async () => {
  const samples = await new Told().samples();
  const container = 'container="web",network="dcos",address="9.0.1.2"';
  const expected: readonly [string, number][] = [
    ["weft_datapath_level", 2],
    ['weft_datapath_packets_total{path="encapsulated",carried_by="program"}', 7],
    ['weft_datapath_bytes_total{path="encapsulated",carried_by="program"}', 900],
    ['weft_datapath_packets_total{path="outside",carried_by="kernel"}', 3],
    [`weft_datapath_container_packets_total{${container},direction="sent",carried_by="program"}`, 4],
    [`weft_datapath_container_bytes_total{${container},direction="received",carried_by="program"}`, 300],
    [`weft_datapath_container_packets_total{${container},direction="sent",carried_by="kernel"}`, 3],
    [`weft_datapath_container_packets_total{${container},direction="received",carried_by="kernel"}`, 0],
    ['weft_datapath_peer_packets_total{peer="10.0.0.12",direction="sent",carried_by="program"}', 4],
    ['weft_datapath_peer_bytes_total{peer="10.0.0.12",direction="received",carried_by="program"}', 300],
  ];
  for (const [name, value] of expected) assert.equal(samples.get(name), value, name);
  assert.ok(![...samples.keys()].some((name) => name.startsWith("weft_datapath_info")), "nothing keeps it lower");
});

test("each reason why the level is not higher is told, and goes with its reason", async () => {
  const told = new Told();
  told.report = { level: 1, reasons: ["the hosts reach each other by IPv6"], notes: [] };
  const reason = 'weft_datapath_info{reason="the hosts reach each other by IPv6"}';
  const low = await told.samples();
  assert.deepEqual([low.get("weft_datapath_level"), low.get(reason)], [1, 1]);
  told.report = LEVEL2;
  const high = await told.samples();
  assert.deepEqual([high.get("weft_datapath_level"), high.get(reason)], [2, undefined]);
});

test("at level 0 nothing is read, and only the level and its reasons are told", async () => {
  const told = new Told();
  told.report = { level: 0, reasons: ["it is set to 0"], notes: [] };
  assert.deepEqual(
    [...(await told.samples())],
    [
      ["weft_datapath_level", 0],
      ['weft_datapath_info{reason="it is set to 0"}', 1],
    ],
  );
  assert.equal(told.readings, 0);
});

test("counts that cannot be read leave the level, and are back the next time", async () => {
  const told = new Told();
  const { traffic } = told;
  told.traffic = () => Promise.reject(new Fault("kernel-refused", "read the map counts: no memory"));
  assert.deepEqual([...(await told.samples()).keys()], ["weft_datapath_level"]);
  told.traffic = traffic;
  assert.ok((await told.samples()).size > 1);
});

test("two who ask at once are told the same", async () => {
  const told = new Told();
  const [first, second] = await Promise.all([told.samples(), told.samples()]);
  assert.deepEqual(first, second);
  assert.equal(first.get('weft_datapath_packets_total{path="encapsulated",carried_by="program"}'), 7);
});

test("a container that is gone, and one of which nothing was counted, have no series", async () => {
  const told = new Told();
  told.leases = [{ ...WEB, containerId: "c2", ip: ip("9.0.1.3"), name: "silent" }];
  assert.ok(![...(await told.samples()).keys()].some((name) => name.includes("container=")));
});

test("a container without a name goes by its id, one of Docker's by Docker's", async () => {
  const told = new Told();
  const { name: _, ...nameless } = WEB;
  const containerOf = async (lease: Lease) => {
    told.leases = [lease];
    return /container="(\w+)"/.exec(await told.metrics.text())?.[1];
  };
  assert.equal(await containerOf(nameless), "c1");
  assert.equal(await containerOf({ ...nameless, docker: { containerId: "d0c4" } }), "d0c4");
});

const ENCAPSULATED = 'weft_datapath_packets_total{path="encapsulated",carried_by="program"}';

test("what a datapath counted before another came in its place stays", async () => {
  const told = new Told();
  const counted = async (paths: Traffic["paths"] | undefined): Promise<number | undefined> => {
    told.counted = paths && { paths, pairs: [] };
    return (await told.samples()).get(ENCAPSULATED);
  };
  assert.equal(await counted({ encapsulated: { packets: 7, bytes: 900 } }), 7);
  assert.equal(await counted({}), 7, "a fresh one that has counted nothing");
  assert.equal(await counted({ encapsulated: { packets: 2, bytes: 100 } }), 9);
  assert.equal(await counted(undefined), 9, "none at all for a moment");
  assert.equal(await counted({ encapsulated: { packets: 2, bytes: 100 } }), 11);
  const both = { encapsulated: { packets: 5, bytes: 400 }, outside: { packets: 9, bytes: 900 } };
  assert.equal(await counted(both), 14);
  const anew = { encapsulated: { packets: 6, bytes: 500 }, outside: { packets: 1, bytes: 90 } };
  assert.equal(await counted(anew), 20, "where one path began anew, all did");
});

test("no counter goes down, whatever datapaths come and go", async () => {
  const count = fc.record({ packets: fc.integer({ min: 1, max: 5 }), bytes: fc.integer({ min: 40, max: 200 }) });
  const paths = fc.dictionary(fc.constantFrom(...PATHS), count, { maxKeys: 3 });
  const states = fc.array(fc.oneof(paths, fc.constant(undefined), fc.constant("level 0" as const)), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(states, async (all) => {
      const told = new Told();
      const highest = new Map<string, number>();
      for (const state of all) {
        told.report = state === "level 0" ? { level: 0, reasons: [], notes: [] } : LEVEL2;
        if (state !== "level 0")
          told.counted = state && { paths: state as Readonly<Record<string, TrafficCount>>, pairs: [] };
        for (const [name, value] of await told.samples()) {
          if (!name.includes("_total")) continue;
          assert.ok(value >= (highest.get(name) ?? 0), name);
          highest.set(name, value);
        }
      }
    }),
    { numRuns: 200 },
  );
});
