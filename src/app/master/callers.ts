/**
 * Who makes a call: gives challenges, and checks what a call's proof says against them. What a caller may do is not
 * decided here.
 *
 * A proof that does not hold is refused, whatever the call; one that holds counts once. It is marked as used only when
 * the caller turned out to be somebody (`accept`), so that strangers cannot fill the memory of used ones.
 */
import { Challenges, stale } from "../../core/trust/challenges.ts";
import { answerBytes, answerKey, isMacOf, isSigned } from "../../io/crypto/call-keys.ts";
import { type Agreement, newAgreement, newSecret, seal } from "../../io/crypto/keys.ts";
import type { Clock } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import { CHALLENGE_LIFE_MS } from "../../model/limits.ts";
import { fromText } from "../../model/trust/bytes.ts";
import { type Call, type CallProof, type Challenge, parseProof, transcriptOf } from "../../model/trust/call-proof.ts";
import type { Signer } from "../../model/trust/member.ts";
import type { TokenRecord } from "../../model/trust/token.ts";

/** How a call came: by TCP, by TLS with a certificate that the master's client authority signed, or by its own socket. */
export type Way = "network" | "certificate" | "socket";

export interface Caller {
  readonly way: Way;
  /** The key that signed the call, if one did. */
  readonly publicKey?: Uint8Array;
  /** The token that its holder proved to hold, whether it still counts or not. */
  readonly token?: TokenRecord;
  /** To be called once the caller may do what it asks for. @throws Fault unauthorized when the proof was used before */
  accept(): void;
  /**
   * Seals an answer for this caller alone.
   * @throws Fault bad-request when the call brought no key for it
   */
  sealAnswer(plain: Uint8Array, cluster: Signer): SealedAnswer;
}

/** What travels back from a registration. */
export interface SealedAnswer {
  readonly signature: Uint8Array;
  readonly sealed: Uint8Array;
}

/** The operator who calls, in the words of the event log. */
export function operatorOf({ way, token }: Caller): string {
  return token === undefined ? `operator (${way})` : `operator token ${token.id}`;
}

const CHANCE_BYTES = 16;

export class Callers {
  readonly #clock: Clock;
  readonly #tokenWithId: (id: string) => TokenRecord | undefined;
  readonly #challenges = new Challenges(newSecret());
  /** The one that goes with new challenges, and the one before: challenges outlive their change. */
  #agreements: readonly Agreement[] = [newAgreement()];
  #agreedAt: number;

  constructor(clock: Clock, tokenWithId: (id: string) => TokenRecord | undefined) {
    this.#clock = clock;
    this.#tokenWithId = tokenWithId;
    this.#agreedAt = clock.now();
  }

  challenge(): Challenge {
    const now = this.#clock.now();
    if (now - this.#agreedAt >= CHALLENGE_LIFE_MS) {
      this.#agreements = [newAgreement(), ...this.#agreements.slice(0, 1)];
      this.#agreedAt = now;
    }
    const { publicKey: ephemeral } = this.#agreements[0] as Agreement;
    return { nonce: this.#challenges.give(newSecret(CHANCE_BYTES), ephemeral, now), ephemeral };
  }

  /**
   * @param header the proof's text; absent: the caller is nobody in particular
   * @throws Fault unauthorized when the proof is malformed, does not hold, or answers no challenge of this master
   */
  identify(call: Call, header: string | undefined, way: Way): Caller {
    if (header === undefined) return anonymous(way);
    const proof = parseProof(header);
    if (proof === undefined) throw unproven("is malformed; run the same version of Weft on masters and agents");
    const agreement = this.#agreements.find(({ publicKey }) => this.#challenges.isOurs(proof.nonce, publicKey));
    if (agreement === undefined) throw stale("is none of this master, or one from before it started");
    const transcript = transcriptOf(call, proof, agreement.publicKey);
    if (!isSigned(proof, transcript)) throw unproven("has a signature that does not hold for this call");
    const token = this.#tokenOf(proof, transcript);
    return {
      way,
      ...(proof.publicKey && { publicKey: proof.publicKey }),
      ...(token && { token }),
      accept: () => this.#challenges.answer(proof.nonce, this.#clock.now()),
      sealAnswer: (plain, cluster) => sealed(plain, cluster, { proof, transcript, agreement, token }),
    };
  }

  #tokenOf(proof: CallProof, transcript: Uint8Array): TokenRecord | undefined {
    if (proof.tokenId === undefined) return undefined;
    const token = this.#tokenWithId(proof.tokenId);
    const key = token && fromText(token.key);
    // The same words for both, so that nobody learns which ids there are.
    if (key === undefined || !isMacOf(key, proof, transcript))
      throw unproven(
        `names token ${proof.tokenId}, which this master does not know with this secret; copy the token file again`,
      );
    return token;
  }
}

interface Exchange {
  readonly proof: CallProof;
  readonly transcript: Uint8Array;
  readonly agreement: Agreement;
  readonly token: TokenRecord | undefined;
}

function sealed(plain: Uint8Array, cluster: Signer, { proof, transcript, agreement, token }: Exchange): SealedAnswer {
  const shared = proof.ephemeral && agreement.shared(proof.ephemeral);
  if (shared === undefined) throw new Fault("bad-request", "the call brings no key that its answer can be sealed for");
  const answered = answerBytes(transcript, proof);
  const signature = cluster.sign(answered);
  const key = answerKey(shared, token && fromText(token.key), answered, signature);
  return { signature, sealed: seal(key, plain, answered) };
}

function anonymous(way: Way): Caller {
  return {
    way,
    accept: () => {},
    sealAnswer: () => {
      throw unproven("is missing");
    },
  };
}

function unproven(what: string): Fault {
  return new Fault("unauthorized", `the proof of this call ${what}`);
}
