/**
 * An assignment statement: the cluster's word on what one agent has, for its peers to program. Who relays it cannot change
 * it, and nobody can claim another's subnet.
 *
 * Version (1 byte), signature (64), then JSON in UTF-8. The signature is over the JSON's bytes as they came, and those
 * bytes are what is passed on: fields that a later version added survive a relay that does not know them.
 */
import { z } from "zod";
import type { Peer } from "../cluster.ts";
import { ASSIGNMENT_STATEMENT_MAX_BYTES, EPOCH_MAX, REVISION_MAX } from "../limits.ts";
import { hostnameSchema, peerSchema } from "../schemas.ts";
import { ByteReader, concat, fromText, toText, u8 } from "./bytes.ts";
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type Signer, signedBytes, type Verify } from "./member.ts";

export interface AssignmentStatement {
  /** What its peers program; `peer.id` is the agent's id. */
  readonly peer: Peer;
  readonly hostname: string;
  /** The key of the member whose assignment it is. */
  readonly publicKey: Uint8Array;
  readonly epoch: number;
  /** Raised by the master whenever the content changes. */
  readonly revision: number;
}

const VERSION = 1;
const STRICT_TEXT = new TextDecoder("utf-8", { fatal: true });

const keySchema = z.string().transform((text, context) => {
  const bytes = fromText(text);
  if (bytes?.length === PUBLIC_KEY_BYTES) return bytes;
  context.addIssue({ code: "custom", message: "is no public key" });
  return z.NEVER;
});

const statementSchema: z.ZodType<AssignmentStatement> = z.object({
  peer: peerSchema,
  hostname: hostnameSchema,
  publicKey: keySchema,
  epoch: z.int().min(0).max(EPOCH_MAX),
  revision: z.int().min(0).max(REVISION_MAX),
});

/** @param cluster the cluster's own key */
export function issueAssignmentStatement(statement: AssignmentStatement, cluster: Signer): Uint8Array {
  const json = Buffer.from(assignmentText(statement));
  return concat(u8(VERSION), cluster.sign(signedBytes("weft assignment v1", json)), json);
}

/** @returns what it says, if the cluster with this key says so; keys that are not known here are left out of the value */
export function verifyAssignmentStatement(
  bytes: Uint8Array,
  clusterKey: Uint8Array,
  verify: Verify,
): AssignmentStatement | undefined {
  if (bytes.length > ASSIGNMENT_STATEMENT_MAX_BYTES) return undefined;
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  const signature = reader.take(SIGNATURE_BYTES);
  const json = reader.rest();
  if (!reader.isWhole || version !== VERSION) return undefined;
  // Before it is parsed: a parser sees nothing that the cluster did not write.
  if (!verify(clusterKey, signedBytes("weft assignment v1", json), signature)) return undefined;
  return parsed(json);
}

/** The same text for the same content, whatever the order in which its fields were made. */
export function assignmentText({ peer, hostname, publicKey, epoch, revision }: AssignmentStatement): string {
  const { id, ip, vtepIp, vtepIp6, vtepMac, subnets, hosted = [] } = peer;
  const plain = {
    ...{ id, ip, vtepIp, ...(vtepIp6 !== undefined && { vtepIp6 }), vtepMac, subnets },
    ...(hosted.length > 0 && { hosted: hosted.map(({ address, revision }) => ({ address, revision })) }),
  };
  return JSON.stringify({ epoch, hostname, peer: plain, publicKey: toText(publicKey), revision });
}

function parsed(json: Uint8Array): AssignmentStatement | undefined {
  try {
    const result = statementSchema.safeParse(JSON.parse(STRICT_TEXT.decode(json)));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}
