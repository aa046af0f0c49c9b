/**
 * A credential: the cluster's word that a key may be a member of the gossip, in which role, as which agent, since which
 * epoch. It proves nothing about who shows it; that one signs with the key that it names.
 *
 * Binary, at most 167 bytes, because it travels in gossip packets: version 1, role, public key (32), epoch (u32), length
 * and characters of the agent's id, the cluster's signature (64) over all before it. A decoder gives `undefined` for
 * everything else, and never throws.
 */
import { CREDENTIAL_MAX_BYTES, EPOCH_MAX } from "../limits.ts";
import { agentIdSchema } from "../schemas.ts";
import { ByteReader, concat, shortText, u8, u32 } from "./bytes.ts";
import { type MemberRole, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type Signer, signedBytes, type Verify } from "./member.ts";

export interface Credential {
  readonly role: MemberRole;
  /** The member's, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly agentId: string;
  /** The cluster's epoch when it was issued: 0 … EPOCH_MAX. */
  readonly epoch: number;
}

const VERSION = 1;
const ROLES: readonly MemberRole[] = ["agent", "master"];

/** @param cluster the cluster's own key */
export function issueCredential({ role, publicKey, agentId, epoch }: Credential, cluster: Signer): Uint8Array {
  const payload = concat(u8(VERSION), u8(ROLES.indexOf(role) + 1), publicKey, u32(epoch), shortText(agentId));
  return concat(payload, cluster.sign(signedBytes("weft credential v1", payload)));
}

/** @returns what it says, if the cluster with this key says so */
export function verifyCredential(bytes: Uint8Array, clusterKey: Uint8Array, verify: Verify): Credential | undefined {
  if (bytes.length > CREDENTIAL_MAX_BYTES) return undefined;
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  const role = ROLES[reader.u8() - 1];
  const publicKey = reader.take(PUBLIC_KEY_BYTES);
  const epoch = reader.u32();
  const agentId = reader.text();
  const payload = reader.soFar();
  const signature = reader.take(SIGNATURE_BYTES);
  if (!reader.isWhole || version !== VERSION || role === undefined || epoch > EPOCH_MAX) return undefined;
  if (!agentIdSchema.safeParse(agentId).success) return undefined;
  if (!verify(clusterKey, signedBytes("weft credential v1", payload), signature)) return undefined;
  return { role, publicKey, agentId, epoch };
}
