/**
 * How fast the simulation runs: what decides how many histories can be tried. Members of gossip, idle and healthy, without
 * kernels around them; `hosts10000.rss` is a process of its own after two virtual seconds of ten thousand members that all
 * know all.
 */
import { spawnSync } from "node:child_process";
import { GossipCluster } from "../sim/gossip-cluster.ts";
import { assert } from "../src/model/fault.ts";
import { bench, median } from "./figures.ts";

const LARGE = new URL("sim-large-process.ts", import.meta.url).pathname;

/** Seconds of real time that so many virtual seconds take. */
function seconds(members: number, virtual: number): number {
  const cluster = new GossipCluster({ members, seed: 1 });
  cluster.startWarm();
  cluster.engine.runFor(2_000);
  const start = performance.now();
  cluster.engine.runFor(virtual * 1_000);
  return (performance.now() - start) / 1_000;
}

await bench("sim-speed", async ({ quick, figure }) => {
  const rounds = Array.from({ length: quick ? 3 : 5 }, () => 600 / seconds(10, 600));
  figure({ figure: "hosts10.rate", unit: "s/s", ours: median(rounds), peer: null, target: "ours>=1000" });
  const minute = seconds(1_000, quick ? 10 : 60) * (quick ? 6 : 1);
  figure({ figure: "hosts1000.minute", unit: "s", ours: minute, peer: null, target: "ours<=120" });
  if (quick) return;
  const node = ["--max-old-space-size=16000", "--disable-warning=ExperimentalWarning"];
  const { stdout } = spawnSync(process.execPath, [...node, LARGE], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  const rss = Number(stdout);
  assert(rss > 0, "ten thousand members fit into memory");
  figure({
    figure: "hosts10000.rss",
    unit: "GB",
    ours: rss / 1e9,
    peer: null,
    target: "ours<=16",
  });
});
