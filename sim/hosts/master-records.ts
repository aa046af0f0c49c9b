/**
 * What the simulated masters decide, and keep on a disk that all of them share: who has which assignment, who was removed,
 * the epoch and its floor. Addresses come from the shipping allocator, epochs from the shipping rules, and every word is
 * signed in its real encoding. It also remembers all that it ever said, which is the truth that invariants ask for.
 */

import { Allocator } from "../../src/core/ipam/allocate.ts";
import { FIRST_EPOCH, withRemovals } from "../../src/core/trust/epochs.ts";
import type { AgentRecord, Assignment, Peer } from "../../src/model/cluster.ts";
import { cidr, type Ip } from "../../src/model/ip.ts";
import { type NetworkConfig, prefixesOf } from "../../src/model/network.ts";
import { issueAssignmentStatement } from "../../src/model/trust/assignment-statement.ts";
import { issueCredential } from "../../src/model/trust/credential.ts";
import type { EpochRecord } from "../../src/model/trust/epoch-record.ts";
import { memberIdOf, type Signer } from "../../src/model/trust/member.ts";
import { issueEpochFloor, issueRemoval } from "../../src/model/trust/removal.ts";
import { peerOf } from "../../test/support/seed-cluster.ts";

/** Two networks, so that an agent has subnets of both families and containers have two places to be in. */
export const NETWORK: NetworkConfig = {
  vtepSubnet: cidr("44.128.0.0/20"),
  vtepSubnet6: cidr("fd01:a::/64"),
  vtepMacOui: "70:B3:D5:00:00:00",
  overlays: [
    { name: "net4", enabled: true, subnet: cidr("9.0.0.0/8"), prefix: 24 },
    { name: "net6", enabled: true, subnet6: cidr("fd01:b::/64"), prefix6: 80 },
  ],
};

export interface Applicant {
  readonly agentId: string;
  readonly ip: Ip;
  readonly publicKey: Uint8Array;
}

/** The cluster's words on who is out. */
export interface Words {
  readonly removals: readonly Uint8Array[];
  readonly epochFloor: Uint8Array;
}

/** What an agent gets when it registers, and keeps on its disk. */
export interface Papers extends Words {
  readonly assignment: Assignment;
  readonly credential: Uint8Array;
  readonly statement: Uint8Array;
}

/** One assignment that the cluster ever signed. */
export interface Issued {
  readonly agentId: string;
  readonly memberId: string;
  readonly peer: Peer;
  readonly epoch: number;
  readonly revision: number;
  readonly statement: Uint8Array;
}

interface MemberEntry {
  readonly agentId: string;
  readonly memberId: string;
  readonly publicKey: Uint8Array;
  readonly epoch: number;
  readonly revision: number;
  readonly content: string;
}

export class MasterRecords {
  readonly cluster: Signer;
  /** Of each agent id, oldest first. */
  readonly issued = new Map<string, Issued[]>();
  readonly #allocator = new Allocator(NETWORK);
  readonly #records = new Map<string, AgentRecord>();
  readonly #members = new Map<string, MemberEntry>();
  #epochs: EpochRecord = FIRST_EPOCH;

  constructor(cluster: Signer) {
    this.cluster = cluster;
  }

  get epochs(): EpochRecord {
    return this.#epochs;
  }

  /** What each registered agent has. */
  get agents(): ReadonlyMap<string, AgentRecord> {
    return this.#records;
  }

  memberOf(agentId: string): string | undefined {
    return this.#members.get(agentId)?.memberId;
  }

  get words(): Words {
    return {
      removals: this.#epochs.removals.map((removal) => issueRemoval(removal, this.cluster)),
      epochFloor: issueEpochFloor(this.#epochs.floor, this.cluster),
    };
  }

  masterCredential(publicKey: Uint8Array): Uint8Array {
    const agentId = `master-${memberIdOf(publicKey)}`;
    return issueCredential({ role: "master", publicKey, agentId, epoch: this.#epochs.epoch }, this.cluster);
  }

  /** @returns its papers, and whose record it took over */
  register({ agentId, ip, publicKey }: Applicant): { readonly papers: Papers; readonly replaced: string | undefined } {
    const known = this.#records.get(agentId);
    const holder = known ?? [...this.#records.values()].find((record) => record.ip === ip);
    const replaced = holder !== undefined && holder.id !== agentId ? holder.id : undefined;
    const networkConfig = { allocateSubnet: true, mesosBridge: true, dockerBridge: true };
    const { record } = this.#allocator.register({ id: agentId, ip, hostname: agentId, networkConfig }, holder);
    if (record === undefined) throw new Error("a simulation is too small to use up the VTEP addresses");
    if (replaced !== undefined) this.#takeBack(replaced);
    this.#records.set(agentId, record);
    const issued = this.#issue(record, publicKey);
    const { epoch, statement } = issued;
    const credential = issueCredential({ role: "agent", publicKey, agentId, epoch }, this.cluster);
    return { papers: { assignment: assignmentOf(record), credential, statement, ...this.words }, replaced };
  }

  /** The agent is out, and what it had is free. */
  remove(agentId: string): void {
    const record = this.#records.get(agentId);
    if (record === undefined) return;
    this.#allocator.release(record);
    this.#takeBack(agentId);
  }

  /**
   * As far as agents that are still in let it; product: withFloor, which waits for REMOVALS_KEPT removals first.
   * @returns whether it rose
   */
  raiseFloor(): boolean {
    const floor = [...this.#members.values()].reduce((low, { epoch }) => Math.min(low, epoch), this.#epochs.epoch);
    if (floor <= this.#epochs.floor) return false;
    const removals = this.#epochs.removals.filter(({ epoch }) => epoch >= floor);
    this.#epochs = { ...this.#epochs, floor, removals };
    return true;
  }

  #takeBack(agentId: string): void {
    const memberId = this.memberOf(agentId);
    this.#records.delete(agentId);
    this.#members.delete(agentId);
    if (memberId === undefined) return;
    const others = () => [...this.#members.values()];
    this.#epochs = withRemovals(this.#epochs, [{ agentId, memberId }], others);
  }

  #issue(record: AgentRecord, publicKey: Uint8Array): Issued {
    const { id, hostname } = record;
    const peer = peerOf(record);
    const before = this.#members.get(id);
    const content = JSON.stringify(peer);
    const revision = before?.content === content ? before.revision : (before?.revision ?? 0) + 1;
    const { epoch } = this.#epochs;
    const memberId = memberIdOf(publicKey);
    this.#members.set(id, { agentId: id, memberId, publicKey, epoch, revision, content });
    const statement = issueAssignmentStatement({ peer, hostname, publicKey, epoch, revision }, this.cluster);
    const issued = { agentId: id, memberId, peer, epoch, revision, statement };
    const all = this.issued.get(id) ?? [];
    this.issued.set(id, all);
    if (all.at(-1)?.epoch !== epoch || all.at(-1)?.revision !== revision) all.push(issued);
    return issued;
  }
}

function assignmentOf(agent: AgentRecord): Assignment {
  return {
    agent,
    overlaySubnets: NETWORK.overlays.flatMap(prefixesOf),
    vtepSubnets: [NETWORK.vtepSubnet, NETWORK.vtepSubnet6].filter((prefix) => prefix !== undefined),
    enableIpv6: true,
  };
}
