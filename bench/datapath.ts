/**
 * Container to container with the fast path: against the stock wiring, and against the bare wire (`bare.*`).
 *
 * `rr`, `udp-rr`: requests of one byte answered a second over one connection; `crr`: with a connection each; `stream`: one
 * TCP stream. `.p`, `.q`, `.w` are the models of traffic.ts. `same-host.*`: between two containers of one host.
 * `awake.*`: with processors that never halt. `no-offload.*`: over a wire whose devices cannot cut up tunnel packets, and
 * put together what they receive, as many network cards do. Ratios are medians of what each round gives by itself.
 * `--level N`: that of the fast path.
 */
import {
  acrossHosts,
  compare,
  type DatapathSides,
  type Effort,
  hostToHost,
  levelOf,
  measured,
  onOneHost,
  openSides,
  type Question,
} from "./datapath-sides.ts";
import { bench, type Run } from "./figures.ts";
import { keepAwake } from "./traffic.ts";
import type { Round } from "./traffic-process.ts";
import { run } from "./two-hosts.ts";

interface Figure extends Question {
  readonly name: string;
  readonly unit: string;
  /** Targets of the ratio to either side; absent: a reference only. */
  readonly stock?: string;
  readonly bare?: string;
}

const requests = { unit: "1/s", number: ({ count, ms }: Round) => (count / ms) * 1e3 };
const bits = { unit: "Gbit/s", number: ({ count, ms }: Round) => (count * 8) / ms / 1e6 };

const RR_P = { name: "rr.p", ...requests, kind: "tcp-rr", model: "P" } as const;
const RR_Q = { name: "rr.q", ...requests, kind: "tcp-rr", model: "Q" } as const;
const RR_W = { name: "rr.w", ...requests, kind: "tcp-rr", model: "W" } as const;
const UDP_RR_W = { name: "udp-rr.w", ...requests, kind: "udp-rr", model: "W" } as const;
const STREAM_Q = { name: "stream.q", ...bits, kind: "tcp-stream", model: "Q" } as const;

const FIGURES: readonly Figure[] = [
  { ...RR_P, stock: "ratio>=1.8", bare: "ratio>=0.83" },
  { ...RR_Q, stock: "ratio>=1.4", bare: "ratio>=0.9" },
  { ...RR_W, stock: "ratio>=1.4", bare: "ratio>=0.9" },
  { ...UDP_RR_W, stock: "ratio>=1.4" },
  { name: "crr.p", ...requests, kind: "tcp-crr", model: "P", stock: "ratio>=2" },
  { ...STREAM_Q, stock: "ratio>=1.5" },
  { name: "stream.w", ...bits, kind: "tcp-stream", model: "W", stock: "ratio>=1.08" },
];
const SAME_HOST: Figure = { ...RR_P, stock: "ratio>=1.2" };
const AWAKE: readonly Figure[] = [RR_Q, RR_W, UDP_RR_W];
const NO_OFFLOAD: readonly Figure[] = [RR_P, RR_W, STREAM_Q];

await bench(
  "datapath",
  async ({ quick, figure, number }) => {
    const sides = await openSides(levelOf(number), true);
    const effort = quick ? { rounds: 3, ms: 300 } : { rounds: 9, ms: 1_000 };
    for (const each of FIGURES) await across(each, sides, effort, figure);
    const onOne = { ours: onOneHost(sides.ours), stock: onOneHost(sides.stock) };
    const { ours, stock } = await compare(onOne, SAME_HOST, effort);
    figure(measured(`same-host.${SAME_HOST.name}`, SAME_HOST.unit, ours, stock, SAME_HOST.stock));
    const letSleep = keepAwake();
    for (const each of AWAKE) await across(each, sides, effort, figure, "awake.");
    letSleep();
    for (const { hosts } of [sides.ours, sides.stock, sides.bare]) hosts.forEach(withoutOffload);
    for (const each of NO_OFFLOAD) await across(each, sides, effort, figure, "no-offload.");
  },
  ["level"],
);

/** One figure, and the same against the bare wire. */
async function across(
  question: Figure,
  sides: DatapathSides,
  effort: Effort,
  figure: Run["figure"],
  before = "",
): Promise<void> {
  const paths = { ours: acrossHosts(sides.ours), stock: acrossHosts(sides.stock), bare: hostToHost(sides.bare) };
  const { ours, stock, bare } = await compare(paths, question, effort);
  const { name, unit } = question;
  figure(measured(`${before}${name}`, unit, ours, stock, question.stock));
  figure(measured(`${before}bare.${name}`, unit, ours, bare, question.bare));
}

/** Tunnel packets are then cut up before the wire's devices get them; what arrives is put together by the kernel. */
function withoutOffload(host: string): void {
  const features = ["tx-udp_tnl-segmentation", "off", "tx-udp_tnl-csum-segmentation", "off", "gro", "on"];
  run(["ip", "netns", "exec", host, "ethtool", "-K", "eth0", ...features]);
}
