/**
 * Which networks a host's Docker Engine should have, and what to do so that it has them: for every network of the cluster
 * with a Docker half one of the same name, driven by Weft.
 *
 * A network is ours when it is Weft's by its driver and has the label that says so; only such a one is removed. What
 * somebody else made is left alone and, where its name is in the way, reported with the remedy.
 */
import type { AgentOverlay } from "../../model/cluster.ts";
import { parseCidr } from "../../model/ip.ts";
import { networkNameProblem } from "../../model/names.ts";
import {
  DRIVER,
  type EngineEndpoint,
  type EngineInfo,
  type EngineNetwork,
  type EnginePool,
  NETWORK_OPTION,
  type NetworkSpec,
  STAND_IN,
} from "./engine.ts";

/** Made by an agent, which may remove it. */
const MANAGED_LABEL = "weft.managed";

export interface NetworkPlan {
  readonly create: readonly NetworkSpec[];
  /** Ours, and not wanted. */
  readonly remove: readonly EngineNetwork[];
  /** Ours, and not as wanted: removed and made anew. */
  readonly replace: readonly { readonly network: EngineNetwork; readonly spec: NetworkSpec }[];
  readonly problems: readonly NetworkProblem[];
}

export interface NetworkProblem {
  /** Of the cluster. */
  readonly network: string;
  /** A sentence with the remedy. */
  readonly problem: string;
}

/** The networks of this host that Docker's containers can join. The pool is all of the network's, not the host's slice. */
export function wantedNetworks(overlays: readonly AgentOverlay[], enableIpv6: boolean): readonly NetworkSpec[] {
  return overlays.flatMap(({ info, dockerBridge }) => {
    if (dockerBridge === undefined) return [];
    const { name, subnet, subnet6 } = info;
    const served = enableIpv6 ? subnet6 : undefined;
    if (subnet === undefined && served === undefined) return [];
    const pools = [subnet ?? STAND_IN, served].flatMap((each) => (each ? [{ subnet: each }] : []));
    const options = { [NETWORK_OPTION]: name };
    return [
      {
        name,
        driver: DRIVER,
        ipamDriver: DRIVER,
        ipamOptions: options,
        pools,
        options,
        labels: { [MANAGED_LABEL]: "true" },
        internal: false,
        enableIpv6: served !== undefined,
      },
    ];
  });
}

export function planNetworks(wanted: readonly NetworkSpec[], present: readonly EngineNetwork[]): NetworkPlan {
  const create: NetworkSpec[] = [];
  const replace: { network: EngineNetwork; spec: NetworkSpec }[] = [];
  const problems: NetworkProblem[] = [];
  const stay = new Set<EngineNetwork>();
  for (const spec of wanted) {
    const wrongName = networkNameProblem(spec.name);
    const named = present.filter(({ name }) => name === spec.name);
    const right = named.find((network) => differences(network, spec).length === 0);
    const foreign = named.find((network) => !isOurs(network) && network !== right);
    const outdated = named.find(isOurs);
    if (wrongName !== undefined)
      problems.push({ network: spec.name, problem: `its name ${wrongName}; Docker's containers cannot join it` });
    else if (foreign !== undefined) problems.push(conflict(foreign, spec));
    else if (right === undefined && outdated === undefined) create.push(spec);
    else if (right === undefined && outdated !== undefined) replace.push({ network: outdated, spec });
    const kept = right ?? outdated;
    if (kept !== undefined) stay.add(kept);
  }
  return { create, replace, problems, remove: present.filter((network) => isOurs(network) && !stay.has(network)) };
}

/** Why a network of ours is still there: Docker removes none that containers are in. */
export function heldProblem(
  network: EngineNetwork,
  endpoints: readonly EngineEndpoint[],
  spec?: NetworkSpec,
): NetworkProblem {
  const holders = endpoints.map(({ name, endpointId }) => name || endpointId.slice(0, 12)).join(", ");
  const [why, what] =
    spec === undefined
      ? ["the cluster has it here no more", "removed"]
      : [`it is not as the cluster has it (${differences(network, spec).join("; ")})`, "made anew"];
  const problem = `${why}, but containers are in Docker's: ${holders}; stop them, and it is ${what}`;
  return { network: network.name, problem };
}

/** What an engine in a swarm cannot do with our networks; `undefined` for one that is in none. */
export function swarmNote({ swarm }: EngineInfo): string | undefined {
  if (swarm === "inactive") return undefined;
  return (
    "Docker is in swarm mode: 'docker run' can use Weft's networks, services cannot, " +
    "because swarm takes no network drivers of this kind"
  );
}

function isOurs({ driver, labels }: EngineNetwork): boolean {
  return driver === DRIVER && labels[MANAGED_LABEL] === "true";
}

function conflict({ id, name, driver, pools }: EngineNetwork, spec: NetworkSpec): NetworkProblem {
  const what = [`driver ${driver}`, ...pools.map(({ subnet }) => subnet)].join(", ");
  const problem =
    `Docker has another network ${name} (${what}), which is left alone; ` +
    `to let Docker's containers join the cluster's: docker network rm ${id.slice(0, 12)}`;
  return { network: spec.name, problem };
}

/** Where a network is not as it should be, a few words each. Its labels, and options of others, do not matter. */
function differences(network: EngineNetwork, spec: NetworkSpec): readonly string[] {
  const rows: readonly (readonly [what: string, is: string, should: string])[] = [
    ["driver", network.driver, spec.driver],
    ["IPAM driver", network.ipamDriver, spec.ipamDriver],
    ["network", network.options[NETWORK_OPTION] ?? "none", spec.name],
    ["IPAM network", network.ipamOptions[NETWORK_OPTION] ?? "none", spec.name],
    ["addresses", poolText(network.pools), poolText(spec.pools)],
    ["IPv6", String(network.enableIpv6), String(spec.enableIpv6)],
  ];
  return rows
    .filter(([, is, should]) => is !== should)
    .map(([what, is, should]) => `${what} ${is} instead of ${should}`);
}

/** In any order. A range is part of it; the gateway, whoever chose it, is ours to answer for. */
function poolText(pools: readonly EnginePool[]): string {
  const texts = pools.map(({ subnet, ipRange }) => {
    const canonical = parseCidr(subnet) ?? subnet;
    return ipRange === undefined ? canonical : `${canonical} (${ipRange})`;
  });
  return texts.sort().join(" + ") || "none";
}
