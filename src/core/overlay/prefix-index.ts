/**
 * What holds an address, found by its longest prefix: one look into a map for each length that there is, of which there
 * are few where the prefixes may be ten thousand.
 */
import { addressOf, type Cidr, familyOf, type Ip, lengthOf, networkOf, withLength } from "../../model/ip.ts";

export class PrefixIndex<T> {
  readonly #byPrefix: ReadonlyMap<Cidr, T>;
  /** The longest first. */
  readonly #lengths: Readonly<Record<4 | 6, readonly number[]>>;

  constructor(entries: Iterable<readonly [Cidr, T]>) {
    this.#byPrefix = new Map(entries);
    const lengths = (family: 4 | 6) =>
      [...new Set([...this.#byPrefix.keys()].filter((prefix) => familyOf(prefix) === family).map(lengthOf))].sort(
        (a, b) => b - a,
      );
    this.#lengths = { 4: lengths(4), 6: lengths(6) };
  }

  values(): Iterable<T> {
    return this.#byPrefix.values();
  }

  /** Of the longest prefix that holds the address, or the whole of the prefix. */
  find(where: Ip | Cidr): T | undefined {
    const [address, longest] = where.includes("/")
      ? [addressOf(where as Cidr), lengthOf(where as Cidr)]
      : [where as Ip, 128];
    for (const length of this.#lengths[familyOf(address)]) {
      if (length > longest) continue;
      const found = this.#byPrefix.get(networkOf(withLength(address, length)));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
