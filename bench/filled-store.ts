/**
 * A master's store as many registrations leave it, for benchmarks that begin with a cluster.
 */
import { parseClusterConfig } from "../src/core/config/cluster-config.ts";
import { Allocator } from "../src/core/ipam/allocate.ts";
import type { RegisterRequest } from "../src/io/ports.ts";
import { openMasterStore } from "../src/io/store/sqlite-store.ts";
import { assert } from "../src/model/fault.ts";
import { cidr, nthAddress } from "../src/model/ip.ts";

/** The default pool of VTEP addresses ends at 4,094 agents. */
export const CONFIG = `dcos_overlay_network:
  vtep_subnet: 44.128.0.0/16
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - {name: dcos, subnet: 9.0.0.0/8, prefix: 24}
    - {name: dcos6, subnet6: "fd01:b::/64", prefix6: 80}
`;

/** The agent number `n`, from 0 on. */
export function registrant(n: number): RegisterRequest {
  return {
    agentId: `agent-${n}`,
    instanceId: `instance-${n}`,
    ip: nthAddress(cidr("10.0.0.0/8"), BigInt(n + 1)),
    hostname: `host-${n}`,
    networkConfig: { allocateSubnet: true, mesosBridge: true, dockerBridge: true },
  };
}

/** Writes the records of the first `count` agents into the data directory `dir`. */
export function fillStore(dir: string, count: number): void {
  const { config, source } = parseClusterConfig(CONFIG);
  const allocator = new Allocator(config.network);
  const store = openMasterStore(dir);
  store.saveNetwork(source);
  for (let n = 0; n < count; n++) {
    const agent = registrant(n);
    const { record } = allocator.register({ ...agent, id: agent.agentId }, undefined);
    assert(record !== undefined, "the pools are large enough");
    store.putAgent(record);
  }
  store.close();
}
