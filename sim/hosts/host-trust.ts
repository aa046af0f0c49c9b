/**
 * Keys of a cluster of whole hosts: members' ids are digests of their keys, as in the product, and the cluster itself has
 * a key, with which the masters sign. Nobody is let in for being known to the simulation.
 */
import type { Head } from "../../src/core/gossip/messages.ts";
import { verifyCredential } from "../../src/model/trust/credential.ts";
import { memberIdOf, type Signer } from "../../src/model/trust/member.ts";
import { type SimIdentity, SimTrust } from "../trust.ts";

export class HostTrust extends SimTrust {
  readonly cluster: Signer = this.signer();
  readonly #keys = new WeakMap<Uint8Array, { readonly id: string; readonly publicKey: Uint8Array } | undefined>();

  /** Without a credential: a master gives it. */
  override admitted(): SimIdentity {
    const { publicKey, sign } = this.signer();
    return { id: memberIdOf(publicKey), publicKey, sign, credential: new Uint8Array() };
  }

  /** The key that the cluster ever admitted, removed since or not. */
  override publicKeyOf({ id, credential }: Head): Uint8Array | undefined {
    if (!this.#keys.has(credential)) {
      const word = verifyCredential(credential, this.cluster.publicKey, this.verify);
      this.#keys.set(credential, word && { id: memberIdOf(word.publicKey), publicKey: word.publicKey });
    }
    const known = this.#keys.get(credential);
    return known?.id === id ? known.publicKey : undefined;
  }
}
