/**
 * The configuration that is used when the file has no `dcos_overlay_network`: an IPv4 network `dcos` and an IPv6 network
 * `dcos6` (spec: overlay §1.2).
 */
import type { NetworkSource } from "../../model/network-source.ts";

export const DEFAULT_NETWORK: NetworkSource = {
  vtep_subnet: "44.128.0.0/20",
  vtep_subnet6: "fd01:a::/64",
  vtep_mac_oui: "70:B3:D5:00:00:00",
  overlays: [
    { name: "dcos", subnet: "9.0.0.0/8", prefix: 24, enabled: true },
    { name: "dcos6", subnet6: "fd01:b::/64", prefix6: 80, enabled: true },
  ],
};
