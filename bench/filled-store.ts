/**
 * Stores as many registrations leave them, for benchmarks that begin with a cluster: the master's records, and what an agent
 * keeps of its peers.
 */
import { join } from "node:path";
import { blobOf } from "../src/app/gossip/member-blob.ts";
import { peerOf } from "../src/app/master/peer.ts";
import { parseClusterConfig } from "../src/core/config/cluster-config.ts";
import type { MemberView } from "../src/core/gossip/gossip.ts";
import { Publisher } from "../src/core/gossip/publisher.ts";
import { headBytes } from "../src/core/gossip/signed.ts";
import { nextGen } from "../src/core/gossip/version.ts";
import { Allocator } from "../src/core/ipam/allocate.ts";
import { ASSIGNMENT_KEY } from "../src/core/trust/directory.ts";
import { newSignerPem, signerOf } from "../src/io/crypto/keys.ts";
import { signerInFile } from "../src/io/crypto/secret-file.ts";
import type { RegisterRequest, StoredMember } from "../src/io/ports.ts";
import { openMasterDisk } from "../src/io/store/sqlite-control-store.ts";
import { openAgentStore } from "../src/io/store/sqlite-store.ts";
import type { AgentRecord } from "../src/model/cluster.ts";
import { assert } from "../src/model/fault.ts";
import { cidr, nthAddress } from "../src/model/ip.ts";
import { issueAssignmentStatement } from "../src/model/trust/assignment-statement.ts";
import { issueCredential } from "../src/model/trust/credential.ts";
import { memberIdOf, type Signer } from "../src/model/trust/member.ts";
import { openControl } from "../test/support/control.ts";

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
  const { records, write, close } = openControl(openMasterDisk(dir));
  write(() => records.saveNetwork(source));
  for (let n = 0; n < count; n++) {
    const agent = registrant(n);
    const { record } = allocator.register({ ...agent, id: agent.agentId }, undefined);
    assert(record !== undefined, "the pools are large enough");
    write(() => records.putAgent(record));
  }
  close();
}

/** Writes what gossip would have told of the first `count` agents into the store of an agent that has joined. */
export function fillPeers(agentDir: string, masterDir: string, count: number): void {
  const cluster = signerInFile(join(masterDir, "cluster.key"));
  const master = openControl(openMasterDisk(masterDir));
  const agents = master.records.agents();
  master.close();
  const store = openAgentStore(agentDir);
  store.saveGossipMembers(agents.slice(0, count).map((record) => member(record, cluster)));
  store.close();
}

/** A member as it lies on disk, signed by itself and the cluster. */
function member(record: AgentRecord, cluster: Signer): StoredMember {
  const signer = signerOf(newSignerPem());
  assert(signer !== undefined, "a new key is one");
  const { publicKey, sign } = signer;
  const [id, epoch, gen] = [memberIdOf(publicKey), 1, nextGen(0, 0)];
  const credential = issueCredential({ role: "agent", publicKey, agentId: record.id, epoch }, cluster);
  const unsigned = { id, gen, inc: 0, hasLeft: false, address: `${record.ip}:62501`, credential };
  const head = { ...unsigned, signature: sign(headBytes(unsigned)) };
  const publisher = new Publisher(id, gen, sign);
  const statement = { peer: peerOf(record), hostname: record.hostname, publicKey, epoch, revision: 1 };
  publisher.write(new Map([[ASSIGNMENT_KEY, issueAssignmentStatement(statement, cluster)]]));
  const known = { member: () => ({ head }) as MemberView, state: () => publisher.state };
  return { id, blob: blobOf(known, id) };
}
