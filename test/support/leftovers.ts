/**
 * What containers use of a lab host, counted, so that a test can say that nothing is left.
 */
import { runtimeNamespaces } from "../../src/app/demo/machine.ts";
import { agentOf, type Cluster, hostOf } from "./lab-cluster.ts";

export interface HostUse {
  /** That the agent remembers. */
  readonly leases: number;
  /** The host's ends. */
  readonly veths: number;
  /** Of nftables, one for each container's device. */
  readonly chains: number;
  /** Network namespaces that container runtimes of the whole lab mounted. */
  readonly namespaces: number;
}

/** @param number of the host, from 1 */
export async function hostUse(cluster: Cluster, number: number): Promise<HostUse> {
  const host = hostOf(cluster.lab, number);
  const count = async (script: string) => Number(await host.mustRun("sh", ["-c", `${script} || true`]));
  const { attachments } = (await agentOf(cluster, number).get("/v1/attachments")) as { attachments: unknown[] };
  return {
    leases: attachments.length,
    veths: await count("ip -o link | grep -c 'weft[0-9a-f]*@'"),
    chains: await count("nft list table netdev weft 2>/dev/null | grep -c 'chain weft'"),
    namespaces: runtimeNamespaces().length,
  };
}
