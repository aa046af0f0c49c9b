/**
 * The two documents that clients of the original read: `/overlay-master/state` and `/overlay-agent/overlay`
 * (spec: overlay §1.7, §2.7, §3.7, example §5.6).
 *
 * Keys are sorted, empty lists and unset values are left out, `enabled` is always there. The objects below are written
 * in sorted order and JSON.stringify drops what is undefined, so 10,000 agents cost one plain pass.
 */
import type { AgentOverlay, AgentRecord, Backend, Bridge, OverlayStatus } from "../../model/cluster.ts";
import type { Overlay } from "../../model/network.ts";
import type { NetworkSource, OverlaySource } from "../../model/network-source.ts";

/** An agent as the master shows it; `statuses` is what it last said of its networks, empty before that. */
export interface AgentState {
  readonly record: AgentRecord;
  readonly statuses: readonly OverlayStatus[];
}

/**
 * The text of the master's document.
 * @param agents in the order in which they were added
 */
export function masterStateJson(source: NetworkSource, agents: readonly AgentState[]): string {
  return JSON.stringify({
    agents: someOf(
      agents.map(({ record, statuses }) => ({
        ip: record.ip,
        // The original never told an agent's error here; clients compare this document with the agent's own.
        overlays: someOf(record.overlays.map((overlay) => overlayJson(overlay, record.backend, statuses, false))),
      })),
    ),
    network: {
      overlays: source.overlays.map(infoJson),
      vtep_mac_oui: source.vtep_mac_oui,
      vtep_mtu: source.vtep_mtu,
      vtep_subnet: source.vtep_subnet,
      vtep_subnet6: source.vtep_subnet6,
    },
  });
}

/** What an agent shows of itself. */
export interface AgentOverlayState {
  readonly ip: string;
  readonly overlays: readonly AgentOverlay[];
  readonly backend: Backend;
  readonly statuses: readonly OverlayStatus[];
  readonly configurationAttempts: number;
}

/** The text of the agent's document; unlike the master's it tells why a network failed. */
export function agentOverlayJson(state: AgentOverlayState): string {
  return JSON.stringify({
    configuration_attempts: state.configurationAttempts,
    ip: state.ip,
    overlays: someOf(state.overlays.map((overlay) => overlayJson(overlay, state.backend, state.statuses, true))),
  });
}

function overlayJson(
  overlay: AgentOverlay,
  backend: Backend,
  statuses: readonly OverlayStatus[],
  withError: boolean,
): object {
  return {
    backend: { vxlan: vxlanJson(backend) },
    docker_bridge: bridgeJson(overlay.dockerBridge),
    info: infoJson(overlay.info),
    mesos_bridge: bridgeJson(overlay.mesosBridge),
    state: stateJson(
      statuses.find((status) => status.name === overlay.info.name),
      withError,
    ),
    subnet: overlay.subnet,
    subnet6: overlay.subnet6,
  };
}

function vxlanJson(backend: Backend): object {
  return {
    vni: backend.vni,
    vtep_ip: backend.vtepIp,
    vtep_ip6: backend.vtepIp6,
    vtep_mac: backend.vtepMac,
    vtep_mtu: backend.vtepMtu,
    vtep_name: backend.vtepName,
  };
}

function bridgeJson(bridge: Bridge | undefined): object | undefined {
  return bridge && { ip: bridge.ip, ip6: bridge.ip6, name: bridge.name };
}

function infoJson(overlay: Overlay | OverlaySource): object {
  return {
    enabled: overlay.enabled,
    name: overlay.name,
    prefix: overlay.prefix,
    prefix6: overlay.prefix6,
    subnet: overlay.subnet,
    subnet6: overlay.subnet6,
  };
}

function stateJson(status: OverlayStatus | undefined, withError: boolean): object | undefined {
  return status && { error: withError ? status.error : undefined, status: status.status };
}

/** Mesos leaves out a repeated field that has no elements. */
function someOf<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}
