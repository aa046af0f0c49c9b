/**
 * Whose record a registering agent gets (docs/decisions/0010-agent-identity.md). An identity and an address each belong to
 * one agent; while that one is connected nobody else gets either. When it is not, the same identity is a restart, and
 * the same address with another identity a host that lost its disk.
 */
import type { AgentRecord } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import type { Ip } from "../../model/ip.ts";

export interface Claimant {
  readonly agentId: string;
  readonly instanceId: string;
  readonly ip: Ip;
  readonly hostname: string;
}

export interface Holders {
  /** The record with the claimant's identity. */
  readonly ofIdentity: AgentRecord | undefined;
  /** The record with the claimant's address. */
  readonly ofAddress: AgentRecord | undefined;
  /** The instance that is connected as this agent, if one is. */
  connectedInstance(id: string): string | undefined;
}

/**
 * @returns the claimant's own record, or the one that it takes over; `undefined` for a newcomer
 * @throws Fault identity-taken, naming both
 */
export function recordFor(claimant: Claimant, holders: Holders): AgentRecord | undefined {
  const { ofIdentity, ofAddress } = holders;
  if (ofIdentity !== undefined) {
    const connected = holders.connectedInstance(ofIdentity.id);
    // At the same address it is the same host: two processes cannot both have its ports.
    const isElsewhere = ofIdentity.ip !== claimant.ip;
    if (isElsewhere && connected !== undefined && connected !== claimant.instanceId)
      throw clonedIdentity(claimant, ofIdentity);
  }
  if (ofAddress === undefined || ofAddress.id === claimant.agentId) return ofIdentity;
  if (holders.connectedInstance(ofAddress.id) !== undefined) throw sharedAddress(claimant, ofAddress);
  if (ofIdentity === undefined) return ofAddress;
  // Both records hold VTEP and subnets; which one is to go is not for a program to guess.
  throw takenFault(
    claimant,
    ofAddress,
    `agent ${claimant.agentId} (${claimant.hostname}) moved from ${ofIdentity.ip} to ${claimant.ip}, which belongs to ` +
      `agent ${ofAddress.id} (${ofAddress.hostname}), not connected now; delete that agent if it is gone`,
  );
}

function clonedIdentity(claimant: Claimant, holder: AgentRecord): Fault {
  return takenFault(
    claimant,
    holder,
    `agent ${holder.id} is connected from ${holder.ip} (${holder.hostname}), and ${claimant.ip} (${claimant.hostname}) ` +
      "registers with the same identity; stop one of them, and if its disk is a copy, remove its data directory",
  );
}

function sharedAddress(claimant: Claimant, holder: AgentRecord): Fault {
  return takenFault(
    claimant,
    holder,
    `the address ${claimant.ip} belongs to agent ${holder.id} (${holder.hostname}), which is connected, and agent ` +
      `${claimant.agentId} (${claimant.hostname}) registers with it too; give each agent an address of its own with --ip`,
  );
}

function takenFault(claimant: Claimant, holder: AgentRecord, message: string): Fault {
  return new Fault("identity-taken", message, { agent: claimant.agentId, ip: claimant.ip, holder: holder.id });
}
