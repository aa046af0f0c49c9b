/**
 * Messages of netavark to its plugin, for tests of everything that reads one: as Podman 5.5.2 with netavark 2.1.0 wrote
 * them (recorded on 2026-11-21, with names of our own), and parts of them that a test may change.
 */
import { cniBody } from "./cni.ts";

export const CREATE = `{"name":"podboth","id":"7f1091e0ec3677bdcff8a6bf37d5f3548fe83fed1c0c7984555de30cec3c2511","driver":"weft","created":"0001-01-01T00:00:00Z","ipv6_enabled":false,"internal":false,"dns_enabled":true,"options":{"weft.network":"both"}}`;
export const CONTAINER_ID = "407a0288d7461e2d9b2950bcfeeb0721d10a00db196a6588aa497f0b05f873ce";
export const SETUP = `{"container_id":"${CONTAINER_ID}","container_name":"one","port_mappings":[{"container_port":80,"host_ip":"","host_port":8080,"protocol":"tcp","range":3},{"container_port":80,"host_ip":"127.0.0.1","host_port":9090,"protocol":"udp","range":1}],"network":{"created":"2026-11-21T20:11:18.571165275Z","dns_enabled":false,"driver":"weft","id":"7f1091e0ec3677bdcff8a6bf37d5f3548fe83fed1c0c7984555de30cec3c2511","internal":false,"ipv6_enabled":true,"name":"podboth","options":{"weft.network":"both","weft.socket":"/run/weft/agent.sock"},"ipam_options":{"driver":"weft"},"subnets":[{"gateway":"10.8.0.1","subnet":"10.8.0.0/16"},{"gateway":"fd01:c::1","subnet":"fd01:c::/64"}]},"network_options":{"aliases":["web","407a0288d746"],"interface_name":"eth0","static_ips":null,"static_mac":null,"options":null}}`;

export interface NetavarkTestCall {
  readonly command: string;
  readonly netns?: string;
  readonly requestId?: string;
}

/** The frame in which the executable hands a call to the agent. */
export function netavarkBody({ command, netns, requestId }: NetavarkTestCall, stdin: unknown): Uint8Array {
  return cniBody({ REQUEST_ID: requestId, COMMAND: command, NETNS: netns }, stdin);
}

/** The recorded `setup` with other keys, in its network and in its options, too. */
export function setupWith(more: object, network: object = {}, options: object = {}): object {
  const json = JSON.parse(SETUP);
  return {
    ...json,
    ...more,
    network: { ...json.network, ...network },
    network_options: { ...json.network_options, ...options },
  };
}
