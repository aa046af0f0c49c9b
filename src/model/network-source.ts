/**
 * The network configuration in the file's own form: keys in snake case, strings just as the operator wrote them
 * (`FD01:B::/64`, `70:B3:D5:00:00:00`). This form is stored and shown by `/overlay-master/state`, which echoes it
 * (spec: overlay §2.7); everything that calculates uses `NetworkConfig`.
 *
 * Invariant: a value of these types went through the validator (core/config), so conversion cannot fail.
 */
import { cidr } from "./ip.ts";
import type { Egress, Isolation } from "./isolation.ts";
import type { NetworkConfig, Overlay, Space } from "./network.ts";

/** An address space of an overlay. */
export interface SpaceSource {
  readonly subnet?: string;
  readonly prefix?: number;
  readonly subnet6?: string;
  readonly prefix6?: number;
  /** Weft's own: agents give back what they have of it, and get nothing new. */
  readonly draining?: boolean;
}

/** The fields of a space are those of its first one. */
export interface OverlaySource extends SpaceSource {
  readonly name: string;
  /** Weft's own: further address spaces. */
  readonly more?: readonly SpaceSource[];
  readonly enabled: boolean;
  /** Weft's own: no new containers, until it is removed. */
  readonly phase?: "draining";
  /** Weft's own: the halves of an agent's subnet do not lend addresses to each other. */
  readonly strict_halves?: boolean;
  /** Weft's own: which other networks its containers talk to. Absent: open. */
  readonly isolation?: "open" | Isolation;
  /** Weft's own: how its containers reach the outside. Absent: masquerade. */
  readonly egress?: "masquerade" | Egress;
}

/** The `dcos_overlay_network` object: known keys only, `enabled` always there. */
export interface NetworkSource {
  readonly vtep_subnet: string;
  readonly vtep_subnet6?: string;
  readonly vtep_mac_oui: string;
  readonly vtep_mtu?: number;
  readonly overlays: readonly OverlaySource[];
}

export function networkOfSource(source: NetworkSource): NetworkConfig {
  return {
    vtepSubnet: cidr(source.vtep_subnet),
    ...(source.vtep_subnet6 !== undefined && { vtepSubnet6: cidr(source.vtep_subnet6) }),
    vtepMacOui: source.vtep_mac_oui,
    ...(source.vtep_mtu !== undefined && { vtepMtu: source.vtep_mtu }),
    overlays: source.overlays.map(overlayOfSource),
  };
}

/** All address spaces of the network, the first one first. */
export function spaceSourcesOf({
  subnet,
  prefix,
  subnet6,
  prefix6,
  draining,
  more = [],
}: OverlaySource): SpaceSource[] {
  const first = {
    ...(subnet !== undefined && { subnet, prefix }),
    ...(subnet6 !== undefined && { subnet6, prefix6 }),
    ...(draining !== undefined && { draining }),
  };
  return [first, ...more];
}

/** A slice length without its subnet means nothing and is left out. */
function spaceOfSource(source: SpaceSource): Space {
  return {
    ...(source.subnet !== undefined && { subnet: cidr(source.subnet), prefix: source.prefix }),
    ...(source.subnet6 !== undefined && { subnet6: cidr(source.subnet6), prefix6: source.prefix6 }),
    ...(source.draining === true && { draining: true }),
  };
}

function overlayOfSource(source: OverlaySource): Overlay {
  return {
    name: source.name,
    ...spaceOfSource(source),
    ...(source.more !== undefined && source.more.length > 0 && { more: source.more.map(spaceOfSource) }),
    enabled: source.enabled,
    ...(source.phase !== undefined && { phase: source.phase }),
    ...(source.strict_halves === true && { strictHalves: true }),
    ...(source.isolation !== undefined && source.isolation !== "open" && { isolation: source.isolation }),
    ...(source.egress !== undefined && source.egress !== "masquerade" && { egress: source.egress }),
  };
}
