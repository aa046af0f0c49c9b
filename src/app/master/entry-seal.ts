/**
 * Secrets in entries, sealed with a key that only this cluster's masters have, so that neither a store far away nor its
 * history holds one in clear.
 */
import { open, seal } from "../../io/crypto/keys.ts";
import { Fault } from "../../model/fault.ts";
import { fromText, toText } from "../../model/trust/bytes.ts";

/** What a sealed secret begins with; one from before secrets were sealed has none. */
const SEALED = "sealed:";

export class EntrySeal {
  readonly #key: Uint8Array;

  /** @param key 32 bytes */
  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** @param entry which it becomes part of, and can be opened as part of alone */
  sealed(secret: string, entry: string): string {
    return SEALED + toText(seal(this.#key, Buffer.from(secret), Buffer.from(entry)));
  }

  /** The value with its `key` in clear. @throws Fault corrupt-store */
  opened(value: unknown, entry: string): unknown {
    const { key } = value as { readonly key?: unknown };
    if (typeof key !== "string" || !key.startsWith(SEALED)) return value;
    const bytes = fromText(key.slice(SEALED.length));
    const plain = bytes && open(this.#key, bytes, Buffer.from(entry));
    if (plain !== undefined) return { ...(value as object), key: Buffer.from(plain).toString() };
    throw new Fault(
      "corrupt-store",
      `${entry} was not sealed with this master's cluster.key: all masters of a cluster have the same one; copy it from ` +
        "the data directory of another master, or from the backup",
      { entry },
    );
  }
}
