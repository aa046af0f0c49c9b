/**
 * Members of one gossip in this process: the shipping node, seal and signatures, on a network in memory and virtual time.
 */
import { ClusterMember, type MemberPapers } from "../../src/app/gossip/cluster-member.ts";
import type { DirectoryChange } from "../../src/core/trust/directory.ts";
import { ASSIGNMENT_KEY } from "../../src/core/trust/directory.ts";
import { newSecret } from "../../src/io/crypto/keys.ts";
import { SILENT_LOG } from "../../src/io/log.ts";
import type { AgentStore } from "../../src/io/ports.ts";
import { SimClock } from "../../src/io/sim-clock.ts";
import { SimNetwork } from "../../src/io/sim-udp.ts";
import { MemoryDisk, openMemoryAgentStore } from "../../src/io/store/memory-store.ts";
import type { Peer } from "../../src/model/cluster.ts";
import { cidr, ip } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { issueAssignmentStatement } from "../../src/model/trust/assignment-statement.ts";
import { issueCredential } from "../../src/model/trust/credential.ts";
import type { Signer } from "../../src/model/trust/member.ts";
import { issueEpochFloor } from "../../src/model/trust/removal.ts";
import { seededRandom } from "./seeded-random.ts";
import { newSigner } from "./trust.ts";

const PORT = 62_501;

export interface TestMember {
  readonly name: string;
  readonly signer: Signer;
  readonly member: ClusterMember;
  readonly peer: Peer;
  readonly changes: DirectoryChange[];
  /** The ids of the peers that it would program. */
  peers(): string[];
}

export class GossipMembers {
  readonly clock = new SimClock();
  readonly network = new SimNetwork(this.clock);
  readonly cluster = newSigner();
  readonly #key = newSecret();
  readonly #random = seededRandom(1);
  readonly #disks = new Map<number, MemoryDisk>();
  readonly #stores = new Map<number, AgentStore>();

  peer(n: number): Peer {
    return {
      id: `agent-${n}`,
      ip: ip(`10.0.0.${n}`),
      vtepIp: ip(`44.128.0.${n}`),
      vtepMac: mac(`70:b3:d5:80:00:0${n}`),
      subnets: [cidr(`9.0.${n}.0/24`)],
    };
  }

  /** The cluster's word on an assignment, or somebody else's. */
  statement(n: number, signer: Signer, { epoch = 1, revision = 1, by = this.cluster, peer = this.peer(n) } = {}) {
    return issueAssignmentStatement({ peer, hostname: `host${n}`, publicKey: signer.publicKey, epoch, revision }, by);
  }

  papers(n: number, { publicKey }: Signer, { epoch = 1, by = this.cluster } = {}): MemberPapers {
    return {
      clusterKey: this.cluster.publicKey,
      credential: issueCredential({ role: "agent", publicKey, agentId: `agent-${n}`, epoch }, by),
      removals: [],
      epochFloor: issueEpochFloor(0, this.cluster),
      keys: { keys: [{ id: 1, key: this.#key }], sendingId: 1 },
      seeds: ["10.0.0.1:62501"],
    };
  }

  /** Agent n with the papers, which by default are in order; it publishes nothing by itself. */
  async start(n: number, signer = newSigner(), papers = this.papers(n, signer)): Promise<TestMember> {
    const changes: DirectoryChange[] = [];
    this.#stores.get(n)?.close();
    const store = openMemoryAgentStore(this.disk(n));
    this.#stores.set(n, store);
    const member = await ClusterMember.open({ ip: ip(`10.0.0.${n}`), port: PORT }, papers, {
      udp: this.network.host(ip(`10.0.0.${n}`)),
      clock: this.clock,
      random: { fraction: this.#random.fraction, uuid: () => `uuid-${n}` },
      store,
      log: SILENT_LOG,
      signer,
      ownAgentId: `agent-${n}`,
      onChanges: (more) => changes.push(...more),
      soon: (call) => this.clock.after(0, call),
    });
    member.start();
    const peers = () => [...member.directory.peers()].map(({ id }) => id).filter((id) => id !== `agent-${n}`);
    return { name: `agent-${n}`, signer, member, peer: this.peer(n), changes, peers: () => peers().sort() };
  }

  /** As `start`, with its assignment published. */
  async join(n: number): Promise<TestMember> {
    const member = await this.start(n);
    this.assign(member, this.statement(n, member.signer));
    return member;
  }

  disk(n: number): MemoryDisk {
    const disk = this.#disks.get(n) ?? new MemoryDisk();
    this.#disks.set(n, disk);
    return disk;
  }

  assign({ member }: TestMember, statement: Uint8Array | undefined): void {
    member.publish(new Map([[ASSIGNMENT_KEY, statement]]));
  }

  /** Lets time pass in small steps, as packets need several. */
  run(ms: number): void {
    this.clock.advance(ms);
  }
}
