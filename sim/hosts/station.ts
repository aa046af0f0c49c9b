/**
 * A member of a cluster of whole hosts as the simulation keeps it, and the records that it says by itself.
 */
import { ANNOUNCEMENT_KEY, INSTANCE_KEY } from "../../src/app/gossip/record-keys.ts";
import type { MemberId } from "../../src/core/gossip/messages.ts";
import { ASSIGNMENT_KEY, type Directory, FLOOR_KEY, REMOVAL_KEY } from "../../src/core/trust/directory.ts";
import type { GossipCluster } from "../gossip-cluster.ts";
import type { Fate } from "../invariants.ts";
import type { SimMember } from "../member.ts";
import type { Papers } from "./master-records.ts";
import type { SimHost } from "./sim-host.ts";

/** What the hosts need of the simulation around them. */
export interface Surroundings {
  readonly cluster: GossipCluster;
  readonly fateOf: (member: SimMember) => Fate;
  readonly say: (member: SimMember, text: string) => void;
  /** Of the run's fingerprint. */
  readonly note: (...numbers: readonly number[]) => void;
  /** A host changed what it does for its peers. @throws Violated */
  readonly onChange: (host: SimHost) => void;
}

/** A member's part that is not its machine. */
export interface Station {
  readonly member: SimMember;
  readonly host: SimHost | undefined;
  directory: Directory | undefined;
  readonly announced: Map<MemberId, string>;
  isLying: boolean;
}

export function agentsWords({ statement }: Papers, life: number): Map<string, Uint8Array> {
  return new Map([
    [ASSIGNMENT_KEY, statement],
    [INSTANCE_KEY, Buffer.from(String(life))],
  ]);
}

/** Records that a host says by itself; steps of a scenario leave them alone. */
export function isHostRecord(key: string): boolean {
  return [ASSIGNMENT_KEY, INSTANCE_KEY, ANNOUNCEMENT_KEY, FLOOR_KEY].includes(key) || key.startsWith(REMOVAL_KEY);
}
