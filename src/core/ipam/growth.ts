/**
 * When an agent gets a further slice of a network, and when it gives one back (docs/decisions/0031).
 *
 * A question of what the record says and of what the agent last told of its halves; an agent that has not heard of its
 * newest record yet is asked to fetch that first. A slice goes in three steps, each of which may be the last for a while:
 * it is draining, the agent says that it knows that and holds nothing of it, it is gone.
 */
import { type AgentOverlay, type HalfUsage, halvesOf, type Slice, slicesOf } from "../../model/cluster.ts";
import { type Cidr, containsCidr, type Family, familyOf } from "../../model/ip.ts";
import { AGENT_PREFIXES_MAX, ELASTIC_RELEASE, SLICES_MAX } from "../../model/limits.ts";
import { type Overlay, prefixesOf, spacesOf } from "../../model/network.ts";
import { nameOf } from "./slices.ts";

/** One step. A slice is named by its first prefix. */
export type SliceChange =
  | { readonly type: "grow"; readonly network: string; readonly family: Family }
  | { readonly type: "drain" | "resume" | "remove"; readonly network: string; readonly slice: Cidr };

export interface GrowthQuestion {
  /** As the record has it. */
  readonly overlay: AgentOverlay;
  /** The network as it is configured now. */
  readonly info: Overlay;
  /** What the agent told last. */
  readonly usage: readonly HalfUsage[];
  /** Absent: slices come and go only because a space is draining. */
  readonly threshold?: number | undefined;
  readonly enableIpv6: boolean;
  /** How many prefixes the agent has of all networks. */
  readonly prefixes: number;
}

const FAMILIES: readonly Family[] = [4, 6];

/** Whether the agent told of just what its record has, as it has it. */
export function isUpToDate(overlay: AgentOverlay, usage: readonly HalfUsage[], enableIpv6: boolean): boolean {
  const served = [...halvesOf(overlay, "mesos"), ...halvesOf(overlay, "docker")].filter(
    ({ half }) => enableIpv6 || familyOf(half) === 4,
  );
  const told = new Map(usage.map(({ half, draining = false }) => [half, draining]));
  return served.length === told.size && served.every(({ half, draining }) => told.get(half) === draining);
}

/** How full the halves are that containers can get addresses of, one family alone. */
export function isTight(
  usage: readonly HalfUsage[],
  family: Family,
  strictHalves: boolean | undefined,
  threshold: number,
): boolean {
  const { used, size } = roomOf(openHalves(usage, family, strictHalves));
  return size > 0 && used >= threshold * size;
}

/** What is to be done about this network of this agent now; nothing while the agent does not know its record. */
export function sliceChanges(question: GrowthQuestion): readonly SliceChange[] {
  const { overlay, info, usage, enableIpv6 } = question;
  const slices = slicesOf(overlay);
  if (slices.length === 0 || !isUpToDate(overlay, usage, enableIpv6)) return [];
  const open = slices.filter(({ draining }) => draining !== true);
  const empty = slices.filter((slice) => slice.draining === true && isEmpty(slice, usage));
  const removable = empty.filter((slice) => prefixesOf(slice).every((prefix) => hasFamily(open, familyOf(prefix))));
  const removals = removable.map((slice) => changeOf("remove", info.name, slice));
  const stale = info.enabled ? staleSlices(slices, info) : [];
  const growth = info.enabled ? FAMILIES.flatMap((family) => growthIn(family, question, slices, stale)) : [];
  // Two that contradict each other would undo each other.
  if (growth.length > 0) return [...removals, ...growth];
  const replaced = stale.filter(
    (slice) => slice.draining !== true && prefixesOf(slice).every((prefix) => hasFresh(open, stale, familyOf(prefix))),
  );
  const idle = replaced.length === 0 ? idleSlice(question, open) : undefined;
  const drained = idle === undefined ? replaced : [idle];
  return [...removals, ...drained.map((slice) => changeOf("drain", info.name, slice))];
}

function growthIn(
  family: Family,
  { info, usage, threshold, prefixes }: GrowthQuestion,
  slices: readonly Slice[],
  stale: readonly Slice[],
): SliceChange[] {
  const open = slices.filter(({ draining }) => draining !== true);
  const mayGrow = slices.length <= SLICES_MAX && prefixes < AGENT_PREFIXES_MAX;
  const grow: SliceChange[] = mayGrow ? [{ type: "grow", network: info.name, family }] : [];
  const isReplaced = stale.some((slice) => hasFamily([slice], family)) && !hasFresh(open, stale, family);
  if (isReplaced) return grow;
  if (threshold === undefined || !isTight(usage, family, info.strictHalves, threshold)) return [];
  // What is on its way back is there at once.
  const returning = slices.find(
    (slice) => slice.draining === true && !stale.includes(slice) && hasFamily([slice], family),
  );
  return returning === undefined ? grow : [changeOf("resume", info.name, returning)];
}

/** The last further slice that has been empty for a while, if the others have room for what may come. */
function idleSlice({ info, usage, threshold }: GrowthQuestion, open: readonly Slice[]): Slice | undefined {
  if (threshold === undefined) return undefined;
  return open.slice(1).findLast((slice) => {
    const mine = prefixesOf(slice);
    const isIdle = usage.every((half) => !mine.includes(half.slice) || half.idle === true);
    const others = usage.filter((half) => !mine.includes(half.slice));
    return (
      isIdle &&
      usage.some((half) => mine.includes(half.slice)) &&
      FAMILIES.every((family) => {
        const { used, size } = roomOf(openHalves(others, family, info.strictHalves));
        return !hasFamily([slice], family) || (size > 0 && used <= ELASTIC_RELEASE * threshold * size);
      })
    );
  });
}

/** What lies in a space that is draining. */
function staleSlices(slices: readonly Slice[], info: Overlay): readonly Slice[] {
  const draining = spacesOf(info).flatMap((space) => (space.draining === true ? prefixesOf(space) : []));
  return slices.filter((slice) =>
    prefixesOf(slice).some((prefix) => draining.some((space) => containsCidr(space, prefix))),
  );
}

function hasFresh(open: readonly Slice[], stale: readonly Slice[], family: Family): boolean {
  return hasFamily(
    open.filter((slice) => !stale.includes(slice)),
    family,
  );
}

function hasFamily(slices: readonly Slice[], family: Family): boolean {
  return slices.some(({ subnet, subnet6 }) => (family === 4 ? subnet : subnet6) !== undefined);
}

function isEmpty(slice: Slice, usage: readonly HalfUsage[]): boolean {
  const mine = prefixesOf(slice);
  return usage.every((half) => !mine.includes(half.slice) || half.used === 0);
}

function openHalves(
  usage: readonly HalfUsage[],
  family: Family,
  strictHalves: boolean | undefined,
): readonly HalfUsage[] {
  return usage.filter(
    ({ half, draining, runtime }) =>
      familyOf(half) === family && draining !== true && (strictHalves !== true || runtime === "cni"),
  );
}

function roomOf(halves: readonly HalfUsage[]): { readonly used: number; readonly size: number } {
  return halves.reduce(
    (sum, { used, resting, free }) => ({ used: sum.used + used, size: sum.size + used + resting + free }),
    { used: 0, size: 0 },
  );
}

function changeOf(type: "drain" | "resume" | "remove", network: string, slice: Slice): SliceChange {
  return { type, network, slice: nameOf(slice) as Cidr };
}
