/**
 * Records what this program keeps: `node test/recorded/record-stores.ts FOLDER` runs a master and two agents in namespaces
 * of their own until all that they store has something in it, stops them in the middle of a change of the gossip's key, and
 * writes their databases and the cluster's key there. The secrets in it are of that cluster, which never was anything else.
 */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { enterLab, LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import { callCni } from "../../src/app/demo/runtime.ts";
import type { Agent } from "../../src/app/demo/weft-process.ts";
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

/** The calls by which a Docker engine makes a network and an endpoint in it. */
async function askAsDocker(agent: Agent): Promise<void> {
  const option = { "weft.network": "dcos" };
  const ask = (method: string, body: object) => askDriver(join(agent.dockerPluginDir, "weft.sock"), method, body);
  await ask("IpamDriver.RequestPool", { Pool: "9.0.0.0/8", Options: option, V6: false });
  await ask("NetworkDriver.CreateNetwork", {
    NetworkID: "d0".repeat(32),
    Options: { "com.docker.network.generic": option },
    IPv4Data: [{ AddressSpace: "weft", Pool: "9.0.0.0/8" }],
  });
  const { Address } = await ask("IpamDriver.RequestAddress", { PoolID: "dcos/4", Address: "" });
  const ids = { NetworkID: "d0".repeat(32), EndpointID: "e0".repeat(32) };
  await ask("NetworkDriver.CreateEndpoint", { ...ids, Interface: { Address } });
}

async function askDriver(socketPath: string, method: string, body: object): Promise<Readonly<Record<string, unknown>>> {
  const text = await new Promise<string>((done, fail) => {
    const call = request({ socketPath, path: `/${method}`, method: "POST" }, (answer) => {
      answer
        .setEncoding("utf8")
        .toArray()
        .then((parts) => done(parts.join("")), fail);
    });
    call.on("error", fail);
    call.end(JSON.stringify(body));
  });
  const answer = JSON.parse(text) as Readonly<Record<string, unknown>>;
  if (answer.Err !== undefined) throw new Error(`${method}: ${answer.Err}`);
  return answer;
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
await askAsDocker(agentOf(cluster, 1));
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
