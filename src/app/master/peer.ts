/**
 * What an agent's record means to the other agents: where its VTEP is, and which subnets are behind it.
 */
import type { AgentRecord, Peer } from "../../model/cluster.ts";
import { addressOf } from "../../model/ip.ts";
import { prefixesOf } from "../../model/network.ts";
import type { Hosted } from "../../model/reservation.ts";

/** @param claims reserved addresses that it hosts */
export function peerOf({ id, ip, backend, overlays }: AgentRecord, claims: readonly Hosted[] = []): Peer {
  return {
    id,
    ip,
    vtepIp: addressOf(backend.vtepIp),
    ...(backend.vtepIp6 !== undefined && { vtepIp6: addressOf(backend.vtepIp6) }),
    vtepMac: backend.vtepMac,
    subnets: overlays.flatMap(prefixesOf),
    ...(claims.length > 0 && { hosted: claims.map(({ address, revision }) => ({ address, revision })) }),
  };
}
