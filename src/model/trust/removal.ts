/**
 * A removal: the cluster's word that an agent is gone, and that whatever names it with an epoch up to the removal's is
 * void. And the epoch floor, which voids all that is older than it, so that removals need not be kept for ever.
 *
 * Removal: version 1, epoch (u32), member id (8), length and characters of the agent's id, signature (64).
 * Floor: version 1, epoch (u32), signature (64). A decoder gives `undefined` for everything else, and never throws.
 */
import { EPOCH_MAX, REMOVAL_MAX_BYTES } from "../limits.ts";
import { agentIdSchema } from "../schemas.ts";
import { ByteReader, concat, shortText, u8, u32 } from "./bytes.ts";
import { SIGNATURE_BYTES, type Signer, signedBytes, type Verify } from "./member.ts";

export interface Removal {
  readonly agentId: string;
  readonly memberId: string;
  /** The cluster's epoch when the agent was removed; what is issued afterwards has a higher one. */
  readonly epoch: number;
}

const VERSION = 1;
const MEMBER_ID_BYTES = 8;

/** @param cluster the cluster's own key */
export function issueRemoval({ agentId, memberId, epoch }: Removal, cluster: Signer): Uint8Array {
  const payload = concat(u8(VERSION), u32(epoch), Buffer.from(memberId, "hex"), shortText(agentId));
  return concat(payload, cluster.sign(signedBytes("weft removal v1", payload)));
}

/** @returns what it says, if the cluster with this key says so */
export function verifyRemoval(bytes: Uint8Array, clusterKey: Uint8Array, verify: Verify): Removal | undefined {
  if (bytes.length > REMOVAL_MAX_BYTES) return undefined;
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  const epoch = reader.u32();
  const memberId = Buffer.from(reader.take(MEMBER_ID_BYTES)).toString("hex");
  const agentId = reader.text();
  const payload = reader.soFar();
  const signature = reader.take(SIGNATURE_BYTES);
  if (!reader.isWhole || version !== VERSION || epoch > EPOCH_MAX) return undefined;
  if (!agentIdSchema.safeParse(agentId).success) return undefined;
  if (!verify(clusterKey, signedBytes("weft removal v1", payload), signature)) return undefined;
  return { agentId, memberId, epoch };
}

/** @param floor an epoch: what is older than it is void */
export function issueEpochFloor(floor: number, cluster: Signer): Uint8Array {
  const payload = concat(u8(VERSION), u32(floor));
  return concat(payload, cluster.sign(signedBytes("weft epoch floor v1", payload)));
}

/** @returns the floor, if the cluster with this key says so */
export function verifyEpochFloor(bytes: Uint8Array, clusterKey: Uint8Array, verify: Verify): number | undefined {
  if (bytes.length > REMOVAL_MAX_BYTES) return undefined;
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  const floor = reader.u32();
  const payload = reader.soFar();
  const signature = reader.take(SIGNATURE_BYTES);
  if (!reader.isWhole || version !== VERSION || floor > EPOCH_MAX) return undefined;
  return verify(clusterKey, signedBytes("weft epoch floor v1", payload), signature) ? floor : undefined;
}
