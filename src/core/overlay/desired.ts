/**
 * What this host's kernel must look like, in one place: the tunnel, the host's own subnets, its peers, its containers,
 * NAT, and the sysctls they need.
 *
 * A pure function of what the master assigned, what peers and attachments there are, and what the kernel has now. The
 * last is asked only where the answer is somebody else's: peers that are not known yet, and what the kernel can do.
 */
import type { Attachment } from "../../model/attachment.ts";
import type { Peer } from "../../model/cluster.ts";
import { NO_HOSTING } from "../../model/hosting.ts";
import { OWNER } from "../../model/names.ts";
import { diff } from "../host/diff.ts";
import { type HostState, type KernelOp, mergeHostStates } from "../host/host-state.ts";
import { admitPeers, type PeerProblem } from "./admission.ts";
import { desiredAttachment } from "./attach.ts";
import type { OverlayContext } from "./context.ts";
import { desiredDatapath, peersDatapath } from "./datapath.ts";
import { ingressTable } from "./ingress.ts";
import { natTables, peerMaps } from "./nat.ts";
import { nodeMaps, nodeRules } from "./nodes.ts";
import { passages } from "./passages.ts";
import { observedPeerEntries, peerEntries, peerState, withOthers } from "./peers.ts";
import { ownSubnets } from "./subnets.ts";
import { hostSysctlPaths, hostSysctls, kernelHasIpv6 } from "./sysctls.ts";
import { vtepLink, vtepState } from "./vtep.ts";

export interface OverlayInput extends OverlayContext {
  readonly peers: readonly Peer[];
  /** There may be more than these: what the kernel has for others stays as it is. */
  readonly otherPeersStay?: boolean;
  readonly attachments: readonly Attachment[];
  /** Read with the paths of `sysctlPaths`. */
  readonly observed: HostState;
}

/** The whole state of the host as far as it is ours. Peers that `peerProblems` names are not in it. */
export function desiredHost(input: OverlayInput): HostState {
  const hasIpv6 = kernelHasIpv6(input.observed);
  const context = hasIpv6 ? input : withoutIpv6(input);
  const known = peerEntries(admitPeers(input.peers, context).peers, context);
  const entries =
    input.otherPeersStay === true ? withOthers(known, observedPeerEntries(input.observed, context)) : known;
  const attachments = mergeHostStates(
    input.attachments.map((attachment) => ({ ...desiredAttachment(attachment, context), tables: [] })),
  );
  const tables = [
    ...natTables(context, input.attachments, entries, input.observed.tables),
    ingressTable(entries, input.attachments, context),
  ];
  const state = mergeHostStates([
    vtepState(context),
    ownSubnets(context),
    peerState(entries),
    attachments,
    { rules: nodeRules(context) },
    { tables, datapaths: desiredDatapath(context, { attachments: input.attachments, entries, tables }) },
    {
      sysctls: hostSysctls(context, input.attachments, input.observed),
      passages: passages(context, input.observed.passages),
    },
  ]);
  return hasIpv6 ? state : { ...state, sysctls: state.sysctls.filter(({ path }) => !path.startsWith("net/ipv6/")) };
}

/** The sysctls that must be read before `desiredHost` is asked. */
export function sysctlPaths(input: OverlayContext & Pick<OverlayInput, "attachments">): string[] {
  const ofAttachments = input.attachments.flatMap((attachment) => desiredAttachment(attachment, input).sysctls ?? []);
  return [...hostSysctlPaths(input, input.attachments), ...ofAttachments.map(({ path }) => path)];
}

/** What of the peers is not served, and why. */
export function peerProblems(peers: readonly Peer[], context: OverlayContext): readonly PeerProblem[] {
  return admitPeers(peers, context).problems;
}

/**
 * The operations for peers that came (only in `after`), changed, or left (only in `before`), on a host that `desiredHost`
 * describes, without reading it. A value that yet another peer claims is settled by the next full pass.
 */
export function peerOps(before: readonly Peer[], after: readonly Peer[], context: OverlayContext): KernelOp[] {
  return diff(onlyPeers(before, context), onlyPeers(after, context));
}

function onlyPeers(peers: readonly Peer[], context: OverlayContext): HostState {
  // Who hosts what depends on all peers: that is for the next full pass.
  const entries = peerEntries(admitPeers(peers, { ...context, hosting: NO_HOSTING }).peers, context);
  const tables = [
    { family: "netdev", maps: nodeMaps(entries, context) } as const,
    { family: "ip", maps: peerMaps(context, 4, entries) } as const,
    { family: "ip6", maps: peerMaps(context, 6, entries) } as const,
  ].filter(({ maps }) => maps.length > 0);
  return {
    ...peerState(entries),
    links: [vtepLink(context)],
    tables: tables.map(({ family, maps }) => ({ family, name: OWNER, chains: [], maps })),
    datapaths: peersDatapath(context, entries),
  };
}

function withoutIpv6<T extends OverlayContext>(context: T): T {
  return { ...context, assignment: { ...context.assignment, enableIpv6: false } };
}
