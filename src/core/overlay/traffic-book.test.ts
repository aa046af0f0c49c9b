import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { cidr, type Ip, ip } from "../../model/ip.ts";
import { FAST_PATHS, type PairKey, type PairTraffic, type TrafficCount } from "../host/datapath.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { type BothWays, TrafficBook, type Whereabouts } from "./traffic-book.ts";

const IDLE_MS = 60_000;
const [WEB, DB] = [ip("9.0.1.2"), ip("9.0.1.3")];
const [FAR, FARTHER] = [ip("9.0.2.2"), ip("9.0.3.2")];
const OUTSIDE = ip("0.0.0.0");
const [NODE2, NODE3] = [ip("10.0.0.12"), ip("10.0.0.13")];
const WHERE: Whereabouts = {
  locals: new Set([WEB, DB]),
  nodes: new PrefixIndex([
    [cidr("9.0.2.0/24"), NODE2],
    [cidr("9.0.3.0/24"), NODE3],
  ]),
};

const PAIRS: readonly PairKey[] = [
  { source: WEB, destination: DB, path: "same-host" },
  { source: WEB, destination: FAR, path: "encapsulated" },
  { source: WEB, destination: FAR, path: "guarded" },
  { source: WEB, destination: OUTSIDE, path: "outside" },
  { source: FAR, destination: WEB, path: "tunnel" },
  { source: FARTHER, destination: DB, path: "not-tcp-udp" },
];
const nameOf = ({ source, destination, path }: PairKey): string => `${source} ${destination} ${path}`;

function reading(key: PairKey, packets: number, bytes = packets * 100): PairTraffic {
  return { ...key, packets, bytes };
}

/** What a test can compare with one look: `9.0.1.2 sent fast`, and so on, where it is not zero. */
function sumsOf(of: ReadonlyMap<Ip, BothWays>): Record<string, TrafficCount> {
  const all = [...of].flatMap(([address, ways]) =>
    (["sent", "received"] as const).flatMap((direction) =>
      (["fast", "kernel"] as const).map(
        (kind) => [`${address} ${direction} ${kind}`, { ...ways[direction][kind] }] as const,
      ),
    ),
  );
  return Object.fromEntries(all.filter(([, { packets }]) => packets > 0));
}

/** The maps of a kernel, and what really went by. */
class Counting {
  readonly counts = new Map<string, PairTraffic>();
  readonly sent = new Map<string, PairTraffic>();

  send(key: PairKey, packets: number, bytes: number): void {
    for (const where of [this.counts, this.sent]) {
      const before = where.get(nameOf(key)) ?? reading(key, 0);
      where.set(nameOf(key), reading(key, before.packets + packets, before.bytes + bytes));
    }
  }

  /** As TrafficBook must tell it: who sent and got what, by either kind of path. */
  expected(side: "containers" | "nodes"): Record<string, TrafficCount> {
    const sums: Record<string, { packets: number; bytes: number }> = {};
    for (const { source, destination, path, packets, bytes } of this.sent.values()) {
      const kind = FAST_PATHS.includes(path) ? "fast" : "kernel";
      const ends =
        side === "containers"
          ? [WHERE.locals.has(source) && `${source} sent`, WHERE.locals.has(destination) && `${destination} received`]
          : [nodeOf(destination) && `${nodeOf(destination)} sent`, nodeOf(source) && `${nodeOf(source)} received`];
      for (const end of ends.filter((each) => typeof each === "string")) {
        const before = sums[`${end} ${kind}`] ?? { packets: 0, bytes: 0 };
        sums[`${end} ${kind}`] = { packets: before.packets + packets, bytes: before.bytes + bytes };
      }
    }
    return sums;
  }
}

function nodeOf(address: Ip): Ip | undefined {
  return WHERE.nodes.find(address);
}

type Step =
  | { readonly send: number; readonly packets: number; readonly size: number }
  | { readonly read: number; readonly order: number };

const sending = fc.record({
  send: fc.nat(PAIRS.length - 1),
  packets: fc.integer({ min: 1, max: 50 }),
  size: fc.integer({ min: 40, max: 64_000 }),
});
/** Milliseconds until it, and where the list of pairs begins. */
const looking = fc.record({ read: fc.integer({ min: 1, max: IDLE_MS }), order: fc.nat(PAIRS.length) });
const steps: fc.Arbitrary<readonly Step[]> = fc.array(fc.oneof(sending, looking), { maxLength: 40 });

const turned = <T>(list: readonly T[], by: number): T[] => [...list.slice(by), ...list.slice(0, by)];

test("sums are what the pairs grew by, in whatever order and however often they are read", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const book = new TrafficBook(IDLE_MS);
      const kernel = new Counting();
      let now = 0;
      for (const step of [...all, { read: 1, order: 0 }]) {
        if ("send" in step) {
          const key = PAIRS[step.send] as PairKey;
          kernel.send(key, step.packets, step.packets * step.size);
          continue;
        }
        now += step.read;
        const pairs = turned([...kernel.counts.values()], step.order);
        for (const key of book.note({ paths: {}, pairs }, WHERE, now)) kernel.counts.delete(nameOf(key));
      }
      assert.deepEqual(sumsOf(book.containers()), kernel.expected("containers"));
      assert.deepEqual(sumsOf(book.nodes()), kernel.expected("nodes"));
    }),
    { numRuns: 1_000 },
  );
});

test("a pair is given up when it was seen to say nothing for the whole time, and not before", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const book = new TrafficBook(IDLE_MS);
      const kernel = new Counting();
      const grewAt = new Map<string, number>();
      const grown = new Set<string>();
      let now = 0;
      for (const step of all) {
        if ("send" in step) {
          kernel.send(PAIRS[step.send] as PairKey, step.packets, step.size);
          grown.add(nameOf(PAIRS[step.send] as PairKey));
          continue;
        }
        now += step.read;
        for (const name of grown) grewAt.set(name, now);
        grown.clear();
        const silent = [...grewAt].filter(([, at]) => now - at >= IDLE_MS).map(([name]) => name);
        const givenUp = book.note({ paths: {}, pairs: [...kernel.counts.values()] }, WHERE, now).map(nameOf);
        assert.deepEqual(givenUp.toSorted(), silent.toSorted());
        for (const name of givenUp) {
          kernel.counts.delete(name);
          grewAt.delete(name);
        }
      }
    }),
    { numRuns: 1_000 },
  );
});

test("sums never go down, whenever the counts begin anew, and never say more than there was", () => {
  const anew = fc.constant({ anew: true } as const);
  const sendingOne = sending.map((step) => ({ ...step, send: 0 }));
  fc.assert(
    fc.property(fc.array(fc.oneof(sendingOne, looking, anew), { maxLength: 40 }), (all) => {
      const book = new TrafficBook(IDLE_MS);
      const kernel = new Counting();
      let [now, before] = [0, {} as Record<string, TrafficCount>];
      for (const step of all) {
        if ("send" in step) kernel.send(PAIRS[step.send] as PairKey, step.packets, step.packets * step.size);
        else if ("anew" in step) kernel.counts.clear();
        else {
          now += step.read;
          const pairs = turned([...kernel.counts.values()], step.order);
          for (const key of book.note({ paths: {}, pairs }, WHERE, now)) kernel.counts.delete(nameOf(key));
        }
        const sums = sumsOf(book.containers());
        const most = kernel.expected("containers");
        for (const [name, { packets, bytes }] of Object.entries(sums)) {
          const { packets: packetsBefore, bytes: bytesBefore } = before[name] ?? { packets: 0, bytes: 0 };
          assert.ok(packets >= packetsBefore && bytes >= bytesBefore, `${name} went down`);
          const { packets: packetsMost, bytes: bytesMost } = most[name] ?? { packets: 0, bytes: 0 };
          assert.ok(packets <= packetsMost && bytes <= bytesMost, `${name} says too much`);
        }
        before = sums;
      }
    }),
    { numRuns: 1_000 },
  );
});

test("a count that began anew is taken whole, also where more packets have fewer bytes", () => {
  const book = new TrafficBook(IDLE_MS);
  const [pair] = PAIRS as [PairKey];
  book.note({ paths: {}, pairs: [reading(pair, 10, 15_000)] }, WHERE, 0);
  book.note({ paths: {}, pairs: [reading(pair, 4, 400)] }, WHERE, 1_000);
  assert.deepEqual(book.containers().get(WEB)?.sent.fast, { packets: 14, bytes: 15_400 });
  book.note({ paths: {}, pairs: [reading(pair, 7, 350)] }, WHERE, 2_000);
  assert.deepEqual(book.containers().get(WEB)?.sent.fast, { packets: 21, bytes: 15_750 });
});

test("a pair that was not there for one reading is another one, and counted whole", () => {
  const book = new TrafficBook(IDLE_MS);
  const [pair] = PAIRS as [PairKey];
  for (const pairs of [[reading(pair, 5)], [], [reading(pair, 7)]]) book.note({ paths: {}, pairs }, WHERE, 0);
  assert.equal(book.containers().get(WEB)?.sent.fast.packets, 12);
});

test("an idle pair is forgotten here too: what it says later is counted from nothing", () => {
  const book = new TrafficBook(IDLE_MS);
  const [pair] = PAIRS as [PairKey];
  const note = (packets: number, now: number) => book.note({ paths: {}, pairs: [reading(pair, packets)] }, WHERE, now);
  assert.deepEqual(note(5, 0), []);
  assert.deepEqual(note(5, IDLE_MS - 1), []);
  assert.deepEqual(note(5, IDLE_MS).map(nameOf), [nameOf(pair)]);
  assert.deepEqual(note(8, IDLE_MS + 1), []);
  assert.equal(book.containers().get(WEB)?.sent.fast.packets, 13);
});

test("a container that is gone is forgotten, and its address begins at nothing for the next one", () => {
  const book = new TrafficBook(IDLE_MS);
  const [toDb, toFar] = PAIRS as [PairKey, PairKey];
  book.note({ paths: {}, pairs: [reading(toDb, 5), reading(toFar, 3)] }, WHERE, 0);
  assert.deepEqual([...book.containers().keys()].toSorted(), [WEB, DB]);
  book.note({ paths: {}, pairs: [reading(toDb, 5)] }, { ...WHERE, locals: new Set([DB]) }, 1_000);
  assert.deepEqual([...book.containers().keys()], [DB]);
  assert.equal(book.nodes().get(NODE2)?.sent.fast.packets, 3, "the other host is there still");
  book.note({ paths: {}, pairs: [reading(toDb, 6)] }, WHERE, 2_000);
  assert.equal(book.containers().get(WEB)?.sent.fast.packets, 1);
});
