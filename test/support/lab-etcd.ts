/**
 * An etcd whose members run on hosts of a lab, where masters reach them over the lab's underlay. Everything ends with the
 * lab.
 */
import type { ChildProcess } from "node:child_process";
import { openSync } from "node:fs";
import { join } from "node:path";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import type { LabHost } from "../../src/app/demo/lab.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { httpGet } from "./lab-cluster.ts";

const READY_MS = 30_000;

export interface LabEtcd {
  /** For `--store`. */
  readonly url: string;
  /** One for each host. */
  readonly members: readonly ChildProcess[];
}

export async function startLabEtcd(hosts: readonly LabHost[], args: readonly string[] = []): Promise<LabEtcd> {
  const cluster = hosts.map(({ name, address }) => `${name}=http://${address}:2380`).join(",");
  const members = hosts.map((host) => {
    const client = `http://${host.address}:2379`;
    const peer = `http://${host.address}:2380`;
    const log = openSync(join(LAB_DIR, `etcd-${host.name}.log`), "a");
    const command = [
      ...["--name", host.name, "--data-dir", join(LAB_DIR, `etcd-${host.name}`), "--unsafe-no-fsync"],
      ...["--listen-client-urls", client, "--advertise-client-urls", client],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
      ...["--initial-cluster", cluster, "--initial-cluster-state", "new", "--log-level", "warn", "--logger", "zap"],
      ...args,
    ];
    const member = host.spawn("etcd", command, { stdio: ["ignore", log, log] });
    member.unref();
    return member;
  });
  for (const host of hosts)
    await waitFor(`etcd on ${host.name} to serve`, READY_MS, async () => {
      const health = await httpGet(host, `http://${host.address}:2379/health`);
      return health.includes('"true"') ? true : undefined;
    });
  return { url: `etcd://${hosts.map(({ address }) => `${address}:2379`).join(",")}`, members };
}
