/**
 * The slices that one agent has of a network, as its record writes them: the first one in the old fields, the others in
 * `more`. A slice goes by its first prefix.
 */
import type { AgentNetworkConfig, AgentOverlay, Assignment, Bridge, HalfName, Slice } from "../../model/cluster.ts";
import { slicesOf } from "../../model/cluster.ts";
import { halves } from "../../model/half.ts";
import type { Cidr } from "../../model/ip.ts";
import { dockerBridgeName, mesosBridgeName } from "../../model/names.ts";
import { type Overlay, prefixesOf } from "../../model/network.ts";

export type Bridges = Pick<AgentNetworkConfig, "mesosBridge" | "dockerBridge">;

export function sliceOf(subnet: Cidr | undefined, subnet6: Cidr | undefined): Slice {
  return { ...(subnet !== undefined && { subnet }), ...(subnet6 !== undefined && { subnet6 }) };
}

/** @param slices the first one first; empty for an agent that has none */
export function agentOverlay(info: Overlay, [first = {}, ...more]: readonly Slice[], bridges: Bridges): AgentOverlay {
  return {
    info,
    ...first,
    ...(bridges.mesosBridge && { mesosBridge: bridgeOf(mesosBridgeName(info.name), first, "mesos") }),
    ...(bridges.dockerBridge && { dockerBridge: bridgeOf(dockerBridgeName(info.name), first, "docker") }),
    ...(more.length > 0 && { more }),
  };
}

export function bridgesOf({ mesosBridge, dockerBridge }: AgentOverlay): Bridges {
  return { mesosBridge: mesosBridge !== undefined, dockerBridge: dockerBridge !== undefined };
}

/** What the slice goes by. */
export function nameOf(slice: Slice): Cidr | undefined {
  return prefixesOf(slice)[0];
}

export function withDraining({ subnet, subnet6 }: Slice, draining: boolean): Slice {
  return { ...sliceOf(subnet, subnet6), ...(draining && { draining }) };
}

/** Without this one. When it was the first, the others' first prefixes of both families become the first slice. */
export function withoutSlice(slices: readonly Slice[], gone: Slice): readonly Slice[] {
  const left = slices.filter((slice) => slice !== gone);
  if (slices[0] !== gone || left.length === 0) return left;
  const lead4 = left.find(({ subnet, draining }) => subnet !== undefined && draining !== true);
  const lead6 = left.find(({ subnet6, draining }) => subnet6 !== undefined && draining !== true);
  const single = [lead4, lead6].every((lead) => lead === undefined || prefixesOf(lead).length === 1);
  // Two families in one are one slice already, and lead as they are.
  const leads = single ? [lead4, lead6] : [lead4 ?? lead6];
  const lead = sliceOf(leads[0]?.subnet ?? leads[1]?.subnet, leads[0]?.subnet6 ?? leads[1]?.subnet6);
  return [lead, ...left.filter((slice) => !leads.includes(slice))];
}

/**
 * What of an assignment a host that is programmed for `before` can give addresses of now: what both have, as the newer one
 * says it is. `undefined` when they are not of one kind, and nothing may be given before the next pass.
 */
export function commonPart(assignment: Assignment, before: Assignment): Assignment | undefined {
  const { agent } = assignment;
  if (agent.id !== before.agent.id || agent.ip !== before.agent.ip) return undefined;
  if (JSON.stringify(agent.backend) !== JSON.stringify(before.agent.backend)) return undefined;
  const had = new Map(before.agent.overlays.map((overlay) => [overlay.info.name, overlay]));
  const overlays = agent.overlays.flatMap((overlay) => {
    const earlier = had.get(overlay.info.name);
    if (earlier === undefined) return [];
    const names = new Set(prefixesOf(earlier));
    const common = slicesOf(overlay).filter((slice) => prefixesOf(slice).every((prefix) => names.has(prefix)));
    if (common.length === 0 || !hasBridgesOf(overlay, earlier)) return [];
    return [agentOverlay(overlay.info, common, bridgesOf(overlay))];
  });
  return { ...assignment, agent: { ...agent, overlays } };
}

function hasBridgesOf(overlay: AgentOverlay, earlier: AgentOverlay): boolean {
  return JSON.stringify(bridgesOf(overlay)) === JSON.stringify(bridgesOf(earlier));
}

function bridgeOf(name: string, { subnet, subnet6 }: Slice, half: HalfName): Bridge {
  return {
    name,
    ...(subnet !== undefined && { ip: halves(subnet)[half] }),
    ...(subnet6 !== undefined && { ip6: halves(subnet6)[half] }),
  };
}
