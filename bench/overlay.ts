/**
 * Container to container across hosts: Weft's wiring against the original's made by hand with `ip` and `iptables`.
 *
 * `rr`: one-byte requests answered a second over TCP, with client, server and all softirq work on one processor. That
 * measures the length of the path on both hosts together and is the least noisy of the ways to ask.
 * `tcp`: one stream, sender and receiver on a processor each. `underlay.*`: the same between the hosts themselves,
 * with no tunnel and no netfilter: what the wire gives. Tools: sockperf and iperf3.
 */
import { alternate, bench, median } from "./figures.ts";
import { requestRate } from "./request-rate.ts";
import { throughput } from "./throughput.ts";
import { CONTAINER, HOST, openTwoHosts, wireByHand, wireByWeft } from "./two-hosts.ts";

await bench("overlay", async ({ quick, figure }) => {
  const weft = openTwoHosts("weft");
  const hand = openTwoHosts("hand");
  const bare = openTwoHosts("bare");
  await wireByWeft(weft);
  wireByHand(hand);
  const seconds = quick ? 1 : 2;
  const rounds = quick ? 3 : 9;
  const [ours, peer] = [weft.containers, hand.containers];
  const target = CONTAINER[1];
  const rr = await alternate(
    rounds,
    () => requestRate(ours, target, seconds),
    () => requestRate(peer, target, seconds),
  );
  const tcp = await alternate(
    rounds,
    () => throughput(ours, target, seconds),
    () => throughput(peer, target, seconds),
  );
  const wire = { rr: [] as number[], tcp: [] as number[] };
  for (let round = 0; round < 3; round++) {
    wire.rr.push(await requestRate(bare.hosts, HOST[1], seconds));
    wire.tcp.push(await throughput(bare.hosts, HOST[1], seconds));
  }
  figure({ figure: "tcp", unit: "Gbit/s", ours: median(tcp.ours), peer: median(tcp.peer), target: "ratio>=1.0" });
  figure({ figure: "rr", unit: "1/s", ours: median(rr.ours), peer: median(rr.peer), target: "ratio>=1.1" });
  figure({ figure: "underlay.tcp", unit: "Gbit/s", ours: null, peer: median(wire.tcp), target: "" });
  figure({ figure: "underlay.rr", unit: "1/s", ours: null, peer: median(wire.rr), target: "" });
});
