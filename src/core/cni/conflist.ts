/**
 * The network configuration list that lets a runtime find a network: one file per network in its CNI folder.
 *
 * It says 1.0.0, which every runtime in use reads; one that speaks an older or newer version writes that itself. The
 * executable finds the agent by `weft_socket`, the agent the network by `network`.
 */

/** The executable's name; also the `type` in every list. */
export const CNI_PLUGIN = "weft-cni";
/** The same executable as an IPAM plugin: the `type` in the `ipam` of another plugin's configuration. */
export const IPAM_PLUGIN = "weft-ipam";

export type PluginName = typeof CNI_PLUGIN | typeof IPAM_PLUGIN;

export interface Conflist {
  readonly cniVersion: "1.0.0";
  readonly name: string;
  readonly plugins: readonly {
    readonly type: typeof CNI_PLUGIN;
    readonly network: string;
    readonly weft_socket: string;
  }[];
}

/** `socketPath` is the agent's unix socket. */
export function conflist(network: string, socketPath: string): Conflist {
  return {
    cniVersion: "1.0.0",
    name: network,
    plugins: [{ type: CNI_PLUGIN, network, weft_socket: socketPath }],
  };
}

/** The file's name in the CNI folder. */
export function conflistFileName(network: string): string {
  return `weft-${network}.conflist`;
}
