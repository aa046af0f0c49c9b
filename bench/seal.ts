/**
 * What a sealed datagram costs: to seal, to open, to refuse, and to send and receive over loopback against plain
 * node:dgram with the same bytes; and what a table of sessions that is full takes, in memory and per datagram.
 */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { SYSTEM_CLOCK } from "../src/io/clock.ts";
import { openDatagramTransport } from "../src/io/gossip/datagram-transport.ts";
import { clusterKey, KeyRing } from "../src/io/gossip/key-ring.ts";
import { Opener } from "../src/io/gossip/open.ts";
import { SEAL_BYTES, Sealer } from "../src/io/gossip/seal.ts";
import { SourceLimits } from "../src/io/gossip/source-limits.ts";
import type { UdpAddress } from "../src/io/ports.ts";
import { SYSTEM_UDP } from "../src/io/udp.ts";
import { assert } from "../src/model/fault.ts";
import { cidr, ip, nthAddress } from "../src/model/ip.ts";
import { SENDER_BURST, SESSIONS_MAX } from "../src/model/limits.ts";
import { alternate, bench, median, type Run } from "./figures.ts";

const A: UdpAddress = { ip: ip("10.0.0.1"), port: 7_946 };
const B: UdpAddress = { ip: ip("10.0.0.2"), port: 7_946 };
const LOOPBACK = { ip: ip("127.0.0.1"), port: 0 };
/** Stays within the burst that one sender has. */
const AT_ONCE = SENDER_BURST / 4;
/** Few enough to fit any receive buffer: nothing is to be lost here. */
const IN_FLIGHT = 50;

const keys = (byte = 7) => ({ current: clusterKey(1, new Uint8Array(32).fill(byte)), accepted: [] });

/** Microseconds for one item of `work`, the median of `rounds`; `prepare` is not counted. */
function microseconds<T>(rounds: number, prepare: () => T[], work: (item: T) => void): number {
  const samples = Array.from({ length: rounds }, () => {
    const items = prepare();
    const start = performance.now();
    for (const item of items) work(item);
    return ((performance.now() - start) * 1_000) / items.length;
  });
  return median(samples.slice(1)); // the first one is compiled
}

function sealed(bytes: number, sealer: Sealer): Buffer[] {
  const payload = Buffer.alloc(bytes, 1);
  return Array.from({ length: AT_ONCE }, () => sealer.seal(B, payload));
}

function cryptoFigures(rounds: number, figure: Run["figure"]): void {
  const reference = { unit: "µs", peer: null, target: "" };
  for (const bytes of [100, 1_200]) {
    const sealer = new Sealer(new KeyRing(keys()), A);
    const opener = new Opener(new KeyRing(keys()), B);
    const payload = Buffer.alloc(bytes, 1);
    const each = (work: (datagram: Buffer) => unknown, prepare = () => sealed(bytes, sealer)): number =>
      microseconds(rounds, prepare, (datagram) => void work(datagram));
    const open = (datagram: Buffer): unknown => opener.open(datagram, A);
    const name = (what: string) => ({ ...reference, figure: `${what}.${bytes}` });
    figure({ ...name("seal"), ours: each(() => sealer.seal(B, payload)) });
    figure({ ...name("open"), ours: each(open) });
    const forged = (): Buffer[] =>
      sealed(bytes, sealer).map((datagram) => {
        datagram[datagram.length - 1] = (datagram.at(-1) ?? 0) ^ 1;
        return datagram;
      });
    figure({ ...name("junk.known-session"), ours: each(open, forged) });
    const strange = (): Buffer[] =>
      forged().map((datagram) => {
        datagram.set(randomBytes(8), 2);
        return datagram;
      });
    figure({ ...name("junk.unknown-session"), ours: each(open, strange) });
    const seen = sealed(bytes, sealer);
    for (const datagram of seen) open(datagram);
    figure({ ...name("replay"), ours: each(open, () => seen) });
    const limits = new SourceLimits();
    const overBudget = (datagram: Buffer): unknown =>
      opener.inspect(datagram, A) === "stranger" && limits.refuses(A.ip, false, performance.now());
    figure({ ...name("junk.over-budget"), ours: each(overBudget, strange) });
  }
}

function tableFigures(rounds: number, figure: Run["figure"]): void {
  const ring = new KeyRing(keys());
  const opener = new Opener(ring, B);
  const source = (i: number): UdpAddress => ({ ip: nthAddress(cidr("10.0.0.0/8"), BigInt(i)), port: 7_946 });
  const before = process.memoryUsage().rss;
  for (let i = 0; i < SESSIONS_MAX; i++) opener.open(new Sealer(ring, source(i)).seal(B, Buffer.alloc(1)), source(i));
  assert(opener.sessions === SESSIONS_MAX, "the table is full");
  const kb = (process.memoryUsage().rss - before) / 1_024 / SESSIONS_MAX;
  figure({ figure: "session.memory", unit: "kB", ours: kb, peer: null, target: "" });
  let next = SESSIONS_MAX;
  const newcomers = () =>
    Array.from({ length: AT_ONCE }, () => {
      const from = source(next++);
      return { from, datagram: new Sealer(ring, from).seal(B, Buffer.alloc(100)) };
    });
  const evict = microseconds(rounds, newcomers, ({ datagram, from }) => void opener.open(datagram, from));
  figure({ figure: "open.new-session.table-full", unit: "µs", ours: evict, peer: null, target: "" });
}

/** CPU time of this process for one datagram that is sent and received, of `count` in small batches. */
async function overLoopback(count: number, send: () => void, received: () => number): Promise<number> {
  const from = received();
  const start = process.cpuUsage();
  for (let sent = 0; sent < count; sent += IN_FLIGHT) {
    for (let i = 0; i < IN_FLIGHT; i++) send();
    while (received() - from < sent + IN_FLIGHT) await turn();
  }
  const { user, system } = process.cpuUsage(start);
  return (user + system) / count;
}

async function loopbackFigures(rounds: number, figure: Run["figure"]): Promise<void> {
  for (const bytes of [100, 1_200]) {
    let opened = 0;
    const open = () =>
      openDatagramTransport({ udp: SYSTEM_UDP, clock: FAST, keys: keys(), at: LOOPBACK, onPayload: () => opened++ });
    const [a, b] = [await open(), await open()];
    const payload = Buffer.alloc(bytes, 1);
    const plain = createSocket("udp4").bind(0, LOOPBACK.ip);
    await once(plain, "listening");
    let plainReceived = 0;
    plain.on("message", () => plainReceived++);
    const { port } = plain.address();
    const same = Buffer.alloc(bytes + SEAL_BYTES, 1);
    const samples = await alternate(
      rounds,
      () =>
        overLoopback(
          AT_ONCE,
          () => a.send(b.local, payload, "control"),
          () => opened,
        ),
      () =>
        overLoopback(
          AT_ONCE,
          () => plain.send(same, port, LOOPBACK.ip),
          () => plainReceived,
        ),
    );
    const [ours, peer] = [median(samples.ours.slice(1)), median(samples.peer.slice(1))];
    figure({ figure: `loopback.cpu.${bytes}`, unit: "µs", ours, peer, target: "" });
    await Promise.all([a.close(), b.close()]);
    plain.close();
  }
}

/** A hundred times as fast, so that the rate of one sender is no limit here. */
const FAST = { ...SYSTEM_CLOCK, now: () => SYSTEM_CLOCK.now() * 100 };

await bench("seal", async ({ quick, figure }) => {
  const rounds = quick ? 15 : 101;
  cryptoFigures(rounds, figure);
  tableFigures(quick ? 5 : 11, figure);
  await loopbackFigures(rounds, figure);
});
