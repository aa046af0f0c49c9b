/**
 * Keys, tokens and members for tests: real ones, made on the spot, in memory.
 */
import type { MasterSecrets } from "../../src/app/master/cluster-trust.ts";
import { newToken } from "../../src/app/master/tokens.ts";
import { newSecret, newSignerPem, signerOf } from "../../src/io/crypto/keys.ts";
import type { TlsClient } from "../../src/io/master-call.ts";
import { openMasterClient } from "../../src/io/master-client.ts";
import type { RegisterRequest } from "../../src/io/ports.ts";
import type { Assignment } from "../../src/model/cluster.ts";
import { issueAssignmentStatement } from "../../src/model/trust/assignment-statement.ts";
import { issueCredential } from "../../src/model/trust/credential.ts";
import type { Signer } from "../../src/model/trust/member.ts";
import type { Membership } from "../../src/model/trust/membership.ts";
import { issueEpochFloor } from "../../src/model/trust/removal.ts";
import type { Token } from "../../src/model/trust/token.ts";
import { peerOf } from "./seed-cluster.ts";

export function newSigner(): Signer {
  return signerOf(newSignerPem()) as Signer;
}

/** The secrets of a master without files; `token` is what its cluster begins with. */
export interface TestSecrets extends MasterSecrets {
  readonly token: Token;
}

export function testSecrets(): TestSecrets {
  const token = newToken("join");
  return { cluster: newSigner(), member: newSigner(), storeKey: newSecret(), token, firstToken: () => token };
}

/** What a master would make of an agent with this key and assignment. */
export function membershipFor({ agent }: Assignment, signer: Signer, cluster: Signer): Membership {
  const { publicKey } = signer;
  const epoch = 1;
  return {
    clusterKey: cluster.publicKey,
    credential: issueCredential({ role: "agent", publicKey, agentId: agent.id, epoch }, cluster),
    statement: issueAssignmentStatement(
      { peer: peerOf(agent), hostname: agent.hostname, publicKey, epoch, revision: 1 },
      cluster,
    ),
    removals: [],
    seeds: [],
    epochFloor: issueEpochFloor(0, cluster),
    keys: { keys: [{ id: 1, key: newSecret() }], sendingId: 1 },
  };
}

/** An agent as far as a master can tell: a key, maybe a token, and what it was told by the cluster. */
export class TestAgent {
  readonly signer: Signer;
  token: Token | undefined;
  membership: Membership | undefined;

  constructor(token: Token | undefined, signer: Signer = newSigner()) {
    this.token = token;
    this.signer = signer;
  }

  /** Registers over HTTP, as the agent program does. @throws Fault */
  async register(url: string, request: RegisterRequest, tls?: TlsClient): Promise<Assignment> {
    const { assignment, membership } = await this.client(url, tls).register(request);
    this.membership = membership;
    return assignment;
  }

  client(url: string, tls?: TlsClient) {
    const credentials = { signer: this.signer, membership: () => this.membership, joinToken: () => this.token };
    return openMasterClient([url], credentials, { ...(tls && { tls }) });
  }
}
