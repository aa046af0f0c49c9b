/**
 * The network configuration list that lets a runtime find a network: one file per network in its CNI folder.
 *
 * Runtimes from before CNI 1.1.0 (podman 4, containerd 1) read `cniVersion` alone and refuse one that they do not know,
 * so it says 1.0.0. Later ones take the newest of `cniVersions` that they know; with 1.1.0 they use STATUS and GC. What
 * is not among `capabilities` a runtime does not tell. The executable finds the agent by `weft_socket`, the agent the
 * network by `network`.
 */
import { CNI_VERSIONS, type CniVersion } from "./version.ts";

/** The executable's name; also the `type` in every list. */
export const CNI_PLUGIN = "weft-cni";
/** The same executable as an IPAM plugin: the `type` in the `ipam` of another plugin's configuration. */
export const IPAM_PLUGIN = "weft-ipam";

export type PluginName = typeof CNI_PLUGIN | typeof IPAM_PLUGIN;

/** What a container may ask for: see wishes.ts and dns.ts. */
const CAPABILITIES = { portMappings: true, ips: true, mac: true, dns: true, bandwidth: true, aliases: true } as const;

export interface Conflist {
  readonly cniVersion: CniVersion;
  readonly cniVersions: readonly CniVersion[];
  readonly name: string;
  readonly plugins: readonly {
    readonly type: typeof CNI_PLUGIN;
    readonly network: string;
    readonly weft_socket: string;
    readonly capabilities: typeof CAPABILITIES;
  }[];
}

/** `socketPath` is the agent's unix socket. */
export function conflist(network: string, socketPath: string): Conflist {
  return {
    cniVersion: "1.0.0",
    cniVersions: CNI_VERSIONS,
    name: network,
    plugins: [{ type: CNI_PLUGIN, network, weft_socket: socketPath, capabilities: CAPABILITIES }],
  };
}

/** The file's name in the CNI folder. */
export function conflistFileName(network: string): string {
  return `weft-${network}.conflist`;
}
