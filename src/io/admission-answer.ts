/**
 * An agent reads the answer to its registration, and believes nothing of it that is not proven: that it is of the cluster
 * that the agent belongs to, or of one that knows its join token; that nobody changed it; that it speaks of this agent
 * and its key.
 */

import { issuesOf } from "../model/schemas.ts";
import { verifyAssignmentStatement } from "../model/trust/assignment-statement.ts";
import { fromText, sameBytes } from "../model/trust/bytes.ts";
import { transcriptOf } from "../model/trust/call-proof.ts";
import { verifyCredential } from "../model/trust/credential.ts";
import type { Verify } from "../model/trust/member.ts";
import { verifyEpochFloor, verifyRemoval } from "../model/trust/removal.ts";
import type { Token } from "../model/trust/token.ts";
import { answerBytes, answerKey, tokenKeyOf } from "./crypto/call-keys.ts";
import { type Agreement, open, verifySignature } from "./crypto/keys.ts";
import { parseJson } from "./master-call.ts";
import { Distrusted, type Proven, Unanswered } from "./master-exchange.ts";
import { admissionSchema, sealedAnswerSchema } from "./messages.ts";
import type { Admission } from "./ports.ts";

export interface Expectation {
  readonly agentId: string;
  readonly agreement: Agreement;
  /** With which the registration was proven. */
  readonly token: Token | undefined;
  /** Of the cluster that the agent belongs to. */
  readonly clusterKey: Uint8Array | undefined;
  /** Absent: as the agent checks signatures. A process that plays thousands of agents need not check the same one for each. */
  readonly verify?: Verify;
}

/** @throws Unanswered when it is no answer, Distrusted when it is none of the agent's master */
export function openAdmission(answer: unknown, registration: Proven, expected: Expectation): Admission {
  const message = sealedAnswerSchema.safeParse(answer);
  if (!message.success) throw noAnswer(issuesOf(message.error));
  const [clusterKey, signature, sealed] = [message.data.clusterKey, message.data.signature, message.data.sealed].map(
    fromText,
  );
  if (clusterKey === undefined || signature === undefined || sealed === undefined) throw noAnswer(["no base64url"]);
  if (expected.clusterKey !== undefined && !sameBytes(expected.clusterKey, clusterKey))
    throw new Distrusted(
      "it is the master of another cluster than the one that this agent belongs to; correct its address, or, if the " +
        "agent is to change over, start it once with --new-cluster",
    );
  const { call, challenge, proof } = registration;
  const answered = answerBytes(transcriptOf(call, proof, challenge.ephemeral), proof);
  if (!verifySignature(clusterKey, answered, signature))
    throw new Distrusted("its answer is not signed by the cluster; something between changes what passes");
  const shared = expected.agreement.shared(challenge.ephemeral);
  const tokenKey = expected.token && tokenKeyOf(expected.token.secret);
  const plain = shared && open(answerKey(shared, tokenKey, answered, signature), sealed, answered);
  if (plain === undefined)
    throw new Distrusted(
      expected.token === undefined
        ? "its answer cannot be opened; something between changes what passes"
        : `its answer is not made with join token ${expected.token.id}; it is not the master that made that token`,
    );
  return checked(parseJson(Buffer.from(plain).toString()), registration, expected, clusterKey);
}

function checked(
  json: unknown,
  { proof }: Proven,
  { agentId, verify = verifySignature }: Expectation,
  answeredBy: Uint8Array,
): Admission {
  const parsed = admissionSchema.safeParse(json);
  if (!parsed.success) throw noAnswer(issuesOf(parsed.error));
  const { assignment, membership } = parsed.data;
  const { clusterKey, credential, statement, removals, epochFloor } = membership;
  const own = verifyCredential(credential, clusterKey, verify);
  const said = verifyAssignmentStatement(statement, clusterKey, verify);
  const isOwn = (key: Uint8Array | undefined) =>
    key !== undefined && proof.publicKey !== undefined && sameBytes(key, proof.publicKey);
  const isMine =
    assignment.agent.id === agentId &&
    own?.agentId === agentId &&
    own.role === "agent" &&
    isOwn(own.publicKey) &&
    said?.peer.id === agentId &&
    isOwn(said.publicKey);
  const isSigned =
    sameBytes(clusterKey, answeredBy) &&
    verifyEpochFloor(epochFloor, clusterKey, verify) !== undefined &&
    removals.every((removal) => verifyRemoval(removal, clusterKey, verify) !== undefined);
  if (!isMine || !isSigned) throw new Distrusted("its answer is not about this agent, or not signed by the cluster");
  return parsed.data;
}

function noAnswer(problems: readonly string[]): Unanswered {
  return new Unanswered(
    `it answers with something that is no assignment (${problems.slice(0, 3).join("; ")}); ` +
      "run the same version of Weft on masters and agents",
  );
}
