/**
 * Which agent hosts which reserved address, as one agent knows it (docs/decisions/0035). A claim counts only for an
 * address that this agent's own assignment says is reserved, and only the newest one that the cluster gave: whoever keeps
 * an older word, or is told of an address that nobody reserved, changes nothing.
 */
import type { Assignment, Peer } from "./cluster.ts";
import type { Ip } from "./ip.ts";
import { type Hosted, isWithin, reservedNames } from "./reservation.ts";

export interface Host {
  readonly agentId: string;
  readonly revision: number;
}

export type Hosting = ReadonlyMap<Ip, Host>;

export const NO_HOSTING: Hosting = new Map();

/**
 * @param peers others that claim anything
 * @param seen the newest revision that was ever seen of an address: an older one is a word that was taken back
 */
export function hostingOf(
  { agent, reservations, hosted = [] }: Pick<Assignment, "agent" | "reservations" | "hosted">,
  peers: Iterable<Pick<Peer, "id" | "hosted">>,
  seen: ReadonlyMap<Ip, number> = new Map(),
): Hosting {
  if (reservations === undefined) return NO_HOSTING;
  const reserved = reservedNames(reservations);
  const hosting = new Map<Ip, Host>();
  const note = (agentId: string, { address, revision }: Hosted): void => {
    const least = Math.max(seen.get(address) ?? 0, (hosting.get(address)?.revision ?? 0) + 1);
    if (reserved.has(address) && revision >= least) hosting.set(address, { agentId, revision });
  };
  for (const claim of hosted) {
    const holder = reserved.get(claim.address);
    if (holder?.network === claim.network && holder.name === claim.name) note(agent.id, claim);
  }
  for (const peer of peers) for (const claim of peer.hosted ?? []) note(peer.id, claim);
  return hosting;
}

/** The addresses that the peer hosts in truth and that do not lie in what it has anyway. */
export function hostedBy({ id, hosted = [], subnets }: Peer, hosting: Hosting): readonly Ip[] {
  const counting = hosted.filter(({ address, revision }) => {
    const host = hosting.get(address);
    return host?.agentId === id && host.revision === revision;
  });
  return counting.map(({ address }) => address).filter((address) => !isWithin(subnets, address));
}
