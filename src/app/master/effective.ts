/**
 * The configuration in force: what is stored, and how a file is laid over it.
 */
import { type ParsedConfig, withoutIpv6 } from "../../core/config/cluster-config.ts";
import { reconfigure } from "../../core/ipam/reconfigure.ts";
import { sha256 } from "../../io/crypto/keys.ts";
import { canonicalJson } from "../../model/canonical-json.ts";
import type { ClusterConfig } from "../../model/network.ts";
import { type NetworkSource, networkOfSource } from "../../model/network-source.ts";
import type { Reservation } from "../../model/reservation.ts";
import { toText } from "../../model/trust/bytes.ts";
import type { ClusterSettings, ControlRecords } from "./control-records.ts";

/** The configuration in force: networks in the file's own form, and the rest. */
export interface Effective {
  readonly source: NetworkSource;
  readonly settings: ClusterSettings;
}

/**
 * The configuration to serve, stored before anybody sees it. A file that was laid over the store before is not laid over it
 * again, whatever of it was refused: networks may have been changed since, by command. Nor is any over a store that several
 * masters share, except at the beginning: whose file it was would depend on who leads.
 * @throws Fault corrupt-store, storage
 */
export function loadEffective(
  file: Pick<ParsedConfig, "config" | "source">,
  records: ControlRecords,
  isShared = false,
): Effective {
  const [source, settings] = [records.network(), records.settings()];
  if (source !== undefined && settings !== undefined && (isShared || settings.file === digestOf(file)))
    return { source, settings };
  const effective = laidOver(source, records.agents(), file, records.reservations().reservations);
  records.change({ who: "master", what: "configuration file laid over what is stored" }, () => {
    records.saveNetwork(effective.source);
    records.saveSettings(effective.settings);
  });
  return effective;
}

/** A configuration file laid over what is in force. */
export function laidOver(
  stored: NetworkSource | undefined,
  records: Parameters<typeof reconfigure>[1],
  { config, source }: Pick<ParsedConfig, "config" | "source">,
  reserved: readonly Reservation[],
): Effective {
  const merged = reconfigure(stored, records, source, reserved);
  const { overlayMtu, enableIpv6, defaultNetwork, elastic, agents } = config;
  const settings: ClusterSettings = {
    ...(overlayMtu !== undefined && { overlayMtu }),
    enableIpv6,
    ...(defaultNetwork !== undefined && { defaultNetwork }),
    ...(elastic !== undefined && { elastic }),
    ...(agents !== undefined && { agents }),
    file: digestOf({ config, source }),
    refused: merged.refused,
  };
  return { source: enableIpv6 ? merged.network : withoutIpv6(merged.network), settings };
}

/** Tells files apart by what is read of them. */
export function digestOf({ config, source }: Pick<ParsedConfig, "config" | "source">): string {
  const { network: _, ...rest } = config;
  return toText(sha256(Buffer.from(canonicalJson([source, rest]))));
}

/** The configuration as everything that calculates uses it. */
export function configOf({ source, settings }: Effective): ClusterConfig {
  const { overlayMtu, enableIpv6, defaultNetwork, elastic, agents } = settings;
  return {
    network: networkOfSource(source),
    ...(overlayMtu !== undefined && { overlayMtu }),
    enableIpv6,
    ...(defaultNetwork !== undefined && { defaultNetwork }),
    ...(elastic !== undefined && { elastic }),
    ...(agents !== undefined && { agents }),
  };
}
