/**
 * Ten thousand members that all know all, for two virtual seconds: prints the resident bytes of this process. A process of
 * its own, because the limit of its heap has to be set when it starts.
 */
import { GossipCluster } from "../sim/gossip-cluster.ts";

const cluster = new GossipCluster({ members: 10_000, seed: 1 });
cluster.startWarm();
cluster.engine.runFor(2_000);
console.log(process.memoryUsage().rss);
