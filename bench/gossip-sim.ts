/**
 * Gossip in the simulation: how fast news and deaths are known, what that costs, who is accused wrongly, and how soon a
 * broken cluster is whole. Virtual time, 5 % loss, 1 to 10 ms one way; the shipping machine, real sizes, no real network.
 *
 * `--hosts N` (1,000), `--seed S` (1). More than 2,000 hosts run spread, detection and idle only. The peer of
 * `false-accusations` is the same code with testimonies, local health and lag guard off; the run is void if that one accuses
 * nobody, because then nothing was tried.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { crowd } from "../sim/crowd.ts";
import { GossipCluster } from "../sim/gossip-cluster.ts";
import { churn, crash, detect, idle, oneWay, partition, STARVE_PEER, settled, spread, starve } from "../sim/measure.ts";
import type { SimMember } from "../sim/member.ts";
import { decodePacket, encodePacket } from "../src/core/gossip/codec.ts";
import { Gossip } from "../src/core/gossip/gossip.ts";
import { applyEntries, deltaSince } from "../src/core/gossip/owner-state.ts";
import { Roster } from "../src/core/gossip/roster.ts";
import { Table } from "../src/core/gossip/table.ts";
import { TIMING } from "../src/core/gossip/timing.ts";
import { assert } from "../src/model/fault.ts";
import { bench, median, percentile, type Run } from "./figures.ts";

const WHOLE_MAX = 2_000;
const STARVED = 8;
const STARVED_SECONDS = 40;
/** The peer without its safeguards needs many times the work; its accusations are counted on so many members. */
const STARVED_PEER_MEMBERS = 300;
/** Below this the peer's accusations say that the experiment tried nothing. */
const STARVED_PEER_MIN = 100;

function healthy({ figure, quick }: Run, hosts: number, seed: number): void {
  const changes = quick ? 10 : 40;
  const { t90, t999 } = spread(settled(hosts, seed), changes);
  figure({ figure: "spread.p90", unit: "ms", ours: median(t90), peer: null, target: "ours<=300" });
  figure({ figure: "spread.p90.worst", unit: "ms", ours: Math.max(...t90), peer: null, target: "" });
  figure({ figure: "spread.p999", unit: "ms", ours: median(t999), peer: null, target: "ours<=800" });
  const { first, known } = detect(settled(hosts, seed), quick ? 5 : 30);
  figure({ figure: "detect.p50", unit: "ms", ours: median(first), peer: null, target: "ours<=1200" });
  figure({ figure: "detect.p99", unit: "ms", ours: percentile(first, 99), peer: null, target: "" });
  figure({ figure: "known.p90", unit: "ms", ours: percentile(known, 50), peer: null, target: "ours<=500" });
  const { mean, most } = idle(settled(hosts, seed), 20);
  figure({ figure: "idle.bytes", unit: "B/s", ours: mean, peer: null, target: "ours<=3000" });
  figure({ figure: "idle.bytes.most", unit: "B/s", ours: most, peer: null, target: "" });
}

/** Bytes of memory that one member's knowledge of all takes, when it shares nothing with others in the process. */
function stateBytes({ figure }: Run, hosts: number, seed: number): void {
  const cluster = new GossipCluster({ members: hosts, seed });
  const [some] = cluster.members;
  assert(some !== undefined, "there are members");
  const packets = cluster.introductions().map(({ head, state }) => {
    const delta = deltaSince(state, state.gen, 0);
    assert(delta !== undefined, "each has a record");
    return encodePacket(head.id, [
      { type: "member", head, isAsked: true },
      { type: "delta", delta, isAsked: true },
    ]);
  });
  setFlagsFromString("--expose_gc");
  const collect = runInNewContext("gc") as () => void;
  const used = () => {
    for (let n = 0; n < 3; n += 1) collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = used();
  const alone = aloneWith(packets, cluster, some);
  const bytes = used() - before;
  assert(alone.size === hosts, "it knows all");
  figure({ figure: "state.bytes", unit: "MB", ours: bytes / 1e6, peer: null, target: "ours<=5" });
}

function aloneWith(packets: readonly Uint8Array[], cluster: GossipCluster, { identity, address }: SimMember): Gossip {
  const self = { ...identity, address };
  const gossip = new Gossip(
    { self, gen: 2 ** 40, seeds: [] },
    {
      table: new Table(new Roster()),
      fraction: () => 0.5,
      verify: () => true,
      // A key of its own for each, as a real member has.
      admit: (head) => cluster.trust.publicKeyOf(head)?.slice(),
    },
  );
  for (const bytes of packets) {
    const messages = decodePacket(bytes)?.messages ?? [];
    const head = messages.find((message) => message.type === "member")?.head;
    const delta = messages.find((message) => message.type === "delta")?.delta;
    assert(head !== undefined && delta !== undefined, "what was written can be read");
    gossip.restore(head, applyEntries(undefined, delta, delta.entries));
  }
  gossip.start(0);
  return gossip;
}

function busy({ figure, quick }: Run, hosts: number, seed: number): void {
  const { t90, bytes, ideal } = churn(settled(hosts, seed), 100, quick ? 3 : 10);
  figure({ figure: "churn.p90", unit: "ms", ours: median(t90), peer: null, target: "ours<=300" });
  figure({ figure: "churn.overhead", unit: "MB", ours: bytes / 1e6, peer: ideal / 1e6, target: "ratio<=2" });
}

function starved({ figure, quick }: Run, hosts: number, seed: number): void {
  const seconds = quick ? 15 : STARVED_SECONDS;
  const members = quick ? STARVED_PEER_MEMBERS : hosts;
  const ours = starve(members, STARVED, seconds, seed, TIMING);
  const peer = starve(Math.min(members, STARVED_PEER_MEMBERS), STARVED, seconds, seed, STARVE_PEER);
  assert(peer >= STARVED_PEER_MIN, `without safeguards ${peer} are accused: this tried nothing`);
  figure({ figure: "false-accusations", unit: "deaths", ours, peer, target: "ratio<=0.01" });
}

function broken({ figure }: Run, hosts: number, seed: number): void {
  for (const percent of [50, 90]) {
    const name = `crash${percent}`;
    const { overlay, members, wrongAccusations } = crash(settled(hosts, seed), percent, 15_000);
    const target = percent === 90 ? "ours<=4" : "";
    figure({ figure: `${name}.overlay`, unit: "s", ours: overlay / 1_000, peer: null, target });
    figure({ figure: `${name}.members`, unit: "s", ours: members / 1_000, peer: null, target: "" });
    figure({ figure: `${name}.wrong`, unit: "deaths", ours: wrongAccusations, peer: null, target: "ours<=0" });
  }
  const { data, members, wrongAccusations } = partition(settled(hosts, seed), 60, 1_000);
  figure({ figure: "partition.data", unit: "s", ours: data / 1_000, peer: null, target: "ours<=6" });
  figure({ figure: "partition.members", unit: "s", ours: members / 1_000, peer: null, target: "ours<=6" });
  const { within, across } = oneWay(settled(hosts, seed), 20);
  assert(across > 0, "the deaf half misses the other one");
  figure({ figure: "one-way.wrong", unit: "pairs", ours: within, peer: null, target: "ours<=0" });
  figure({ figure: "partition.wrong", unit: "deaths", ours: wrongAccusations, peer: null, target: "ours<=0" });
}

/** Forty that start at once on two processors which others use too; the peer judges by what it has not read. */
function crowded({ figure }: Run, seed: number): void {
  const shape = { members: 40, seed, busy: 4, busyMs: 20_000, packetMs: 0.8, signatureMs: 0.3, ms: 60_000 };
  const ours = crowd(shape);
  const peer = crowd({ ...shape, timing: { ...TIMING, lagMs: Number.POSITIVE_INFINITY } });
  assert(peer.wrongAtEnd > 0, "who judges by what it has not read has a storm");
  figure({ figure: "crowd.wrong", unit: "pairs", ours: ours.wrong, peer: peer.wrong, target: "" });
  figure({ figure: "crowd.after", unit: "pairs", ours: ours.wrongAtEnd, peer: peer.wrongAtEnd, target: "ours<=0" });
  figure({
    figure: "crowd.packets",
    unit: "1/s",
    ours: ours.packetsAtEnd,
    peer: peer.packetsAtEnd,
    target: "ratio<=0.2",
  });
}

setFlagsFromString("--max-old-space-size=16000");
await bench(
  "gossip-sim",
  async (run) => {
    const [hosts, seed] = [run.number("hosts", run.quick ? 300 : 1_000), run.number("seed", 1)];
    healthy(run, hosts, seed);
    if (hosts > WHOLE_MAX) return;
    stateBytes(run, hosts, seed);
    busy(run, hosts, seed);
    broken(run, hosts, seed);
    starved(run, hosts, seed);
    crowded(run, seed);
  },
  ["hosts", "seed"],
);
