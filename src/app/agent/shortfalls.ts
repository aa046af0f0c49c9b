/**
 * Networks in which a container of this host was refused for want of an address. A full host where containers come and go
 * is one shortfall and not many: it is over when nobody has been refused for a while and there is an address to be had.
 */
import type { OverlayStatus } from "../../model/cluster.ts";
import { SHORTFALL_QUIET_MS } from "../../model/limits.ts";

type Told = NonNullable<OverlayStatus["exhausted"]>;

interface Shortfall extends Told {
  readonly network: string;
  /** When somebody was refused last. */
  readonly at: number;
  /** Whether who was refused would get an address now. */
  readonly hasRoom: () => boolean;
}

export class Shortfalls {
  /** By network and what was asked for. */
  readonly #all = new Map<string, Shortfall>();

  /** @param kind tells apart who has other addresses: `docker 4` */
  refused(kind: string, { runtime, ...shortfall }: Shortfall): void {
    const key = `${shortfall.network} ${kind}`;
    this.#all.set(key, { ...shortfall, runtime: this.#all.get(key)?.runtime ?? runtime });
  }

  /** Those that last, by network. */
  lasting(now: number): ReadonlyMap<string, Told> {
    for (const [key, { at, hasRoom }] of this.#all)
      if (now - at >= SHORTFALL_QUIET_MS && hasRoom()) this.#all.delete(key);
    return new Map([...this.#all.values()].reverse().map(({ network, runtime }) => [network, { runtime }]));
  }
}
