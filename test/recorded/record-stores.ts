/**
 * Records what this program keeps: `node test/recorded/record-stores.ts FOLDER` runs a master and two agents in namespaces
 * of their own until all that they store has something in it, stops them in the middle of a change of the gossip's key, and
 * writes their databases and the cluster's key there. The secrets in it are of that cluster, which never was anything else.
 */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { enterLab, LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import { callCni } from "../../src/app/demo/runtime.ts";
import { agentOf, createCluster, startContainer, weft } from "../support/lab-cluster.ts";

/** Longer than what was learnt of members waits to be written. */
const SETTLED_MS = 3_000;

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: dcos, subnet: 9.0.0.0/8, prefix: 24, more: [{ subnet: 10.64.0.0/16, prefix: 25 }], isolation: { allow: [dcos6] } }
    - { name: dcos6, subnet6: "fd01:b::/64", prefix6: 80, egress: none }`;

function record(from: string, to: string): void {
  const copy = join(LAB_DIR, "copy.db");
  const database = new DatabaseSync(from);
  database.exec(`VACUUM INTO '${copy}'`);
  database.close();
  writeFileSync(to, gzipSync(readFileSync(copy), { level: 9 }));
  rmSync(copy);
}

await enterLab();
const folder = resolve(process.argv[2] ?? ".");
const cluster = await createCluster({ hosts: 2, config: CONFIG });
const { master, agents } = cluster;
const operator = async (...args: string[]) => {
  const { status, stderr } = await weft([...args, "--master", master.address]);
  if (status !== 0) throw new Error(`weft ${args.join(" ")}: ${stderr}`);
};
await startContainer(cluster, 1, "near", ["dcos", "dcos6"]);
await startContainer(cluster, 2, "far", ["dcos"]);
const gone = await startContainer(cluster, 1, "gone", ["dcos"]);
await callCni(agentOf(cluster, 1), "DEL", "dcos", {
  containerId: gone.containerId,
  netns: gone.netns.path,
  ifname: "eth0",
});
await operator("policy", "add", "db", "--from", "app=web", "--to", "app=db", "--ports", "tcp/5432");
await operator("token", "create", "--uses", "3", "--note", "recorded");
await sleep(SETTLED_MS);
await operator("gossip", "rotate-key");
for (const each of agents) await each.stop();
await master.stop();
record(join(master.folder, "master.db"), join(folder, "master.db.gz"));
copyFileSync(join(master.folder, "cluster.key"), join(folder, "cluster.key"));
record(join(agentOf(cluster, 1).folder, "agent.db"), join(folder, "agent.db.gz"));
process.exit();
