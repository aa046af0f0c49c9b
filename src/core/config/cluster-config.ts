/**
 * The one validator of the cluster's configuration: the original's `config.yaml` with all rules of its installer and its
 * master, and those that neither had (spec: overlay §1.1–§1.5, conformance §5.1). It reports every problem at once.
 *
 * Where the original's two layers differ, the stricter one is right; the exception and the choices beyond the original
 * are in docs/decisions/0011-configuration-rules.md. Keys of other components are accepted and not looked at.
 */
import { Fault } from "../../model/fault.ts";
import { type Cidr, cidr } from "../../model/ip.ts";
import {
  AGENT_REMOVE_AFTER_MAX_S,
  AGENT_REMOVE_AFTER_MIN_S,
  CONFIG_ATTEMPTS_MAX,
  ELASTIC_THRESHOLD,
  MTU_MAX,
  MTU_MIN,
  SLICE_IDLE_MAX_S,
  SLICE_REST_MAX_S,
  VNI_MAX,
} from "../../model/limits.ts";
import { VNI } from "../../model/names.ts";
import type { AgentRules, ClusterConfig, Elastic } from "../../model/network.ts";
import { type NetworkSource, networkOfSource, spaceSourcesOf } from "../../model/network-source.ts";
import { checkAddressSpace } from "./address-space.ts";
import { DEFAULT_NETWORK } from "./default-network.ts";
import { checkAllowed, readNetwork } from "./network-section.ts";
import { readNodes } from "./nodes.ts";
import { Problems, quote } from "./problems.ts";
import { isMapping, Section } from "./section.ts";
import { readYaml } from "./yaml-text.ts";

export interface ParsedConfig {
  readonly config: ClusterConfig;
  /** What the store keeps and `/overlay-master/state` echoes. */
  readonly source: NetworkSource;
  /** Accepted, but hardly what was meant: one line each. */
  readonly warnings: readonly string[];
}

const SECTION = "dcos_overlay_network";
const DEFAULT_NAME = "dcos";
const CALICO_CIDR = cidr("172.29.0.0/16");

/**
 * Parses and validates the text of a configuration file, YAML or JSON.
 * @throws Fault bad-config, `facts.problems` holding one line `path: what is wrong; what would be right` for each problem
 */
export function parseClusterConfig(yamlText: string): ParsedConfig {
  const problems = new Problems();
  const root = readYaml(yamlText, problems) ?? {};
  if (!isMapping(root)) problems.add("", `the file holds ${quote(root)}`, `give a mapping with the key ${SECTION}`);
  problems.throwIfAny();
  return readRoot(new Section("", root as Record<string, unknown>, problems));
}

/**
 * Validates a network configuration without the rest of a file.
 * @param needsVtep6 as `readNetwork`
 * @throws Fault bad-config
 */
export function parseNetworkSource(value: unknown, needsVtep6 = false): NetworkSource {
  const problems = new Problems();
  if (!isMapping(value)) throw new Fault("bad-config", `the network configuration is ${quote(value)}`);
  const network = readNetwork(new Section("network", value, problems), needsVtep6);
  checkAddressSpace(network.claims, [], undefined, problems);
  problems.throwIfAny();
  return network.source;
}

/** Switches off the overlays that are left without an address family (spec: overlay §1.5). */
export function withoutIpv6(source: NetworkSource): NetworkSource {
  return {
    ...source,
    overlays: source.overlays.map((overlay) =>
      spaceSourcesOf(overlay).every(({ subnet }) => subnet === undefined) ? { ...overlay, enabled: false } : overlay,
    ),
  };
}

function readRoot(root: Section): ParsedConfig {
  const { problems } = root;
  const enableIpv6 = root.flag("enable_ipv6") ?? true;
  const enabled = root.flag("dcos_overlay_enable") ?? true;
  const overlayMtu = root.integer("dcos_overlay_mtu", MTU_MIN, MTU_MAX);
  root.integer("dcos_overlay_config_attempts", 0, CONFIG_ATTEMPTS_MAX);
  const nodes = readNodes(root);
  const calico = readCalico(root);
  const section = networkSection(root);
  if (section === undefined) throw problems.fault();
  const network = readNetwork(section, enableIpv6);
  checkAllowed(section, network.source);
  checkAddressSpace(network.claims, nodes, calico, problems);
  checkMtus(root, overlayMtu, network.source.vtep_mtu);
  const defaultNetwork = readDefaultNames(root, network.source);
  const elastic = readElastic(root);
  const agents = readAgents(root);
  problems.throwIfAny();

  const source = enableIpv6 ? network.source : withoutIpv6(network.source);
  const effective = enabled ? source : withoutAny(source);
  if (!enabled) problems.warn("dcos_overlay_enable", "is false: nothing is allocated, what agents have stays");
  return {
    config: {
      network: networkOfSource(effective),
      ...(overlayMtu !== undefined && { overlayMtu }),
      enableIpv6,
      ...(elastic !== undefined && { elastic }),
      ...(agents !== undefined && { agents }),
      ...(defaultNetwork !== undefined && { defaultNetwork }),
    },
    source: effective,
    warnings: problems.warnings,
  };
}

function withoutAny(source: NetworkSource): NetworkSource {
  return { ...source, overlays: source.overlays.map((overlay) => ({ ...overlay, enabled: false })) };
}

/** The section as a mapping; a generated file holds it as a string of JSON; the original's default without it. */
function networkSection(root: Section): Section | undefined {
  let value = root.has(SECTION) ? root.raw(SECTION) : DEFAULT_NETWORK;
  if (typeof value === "string") {
    try {
      value = JSON.parse(value) as unknown;
    } catch {
      return root.refuse(SECTION, `${quote(value)} is not valid JSON`, "give a mapping, or the same as a JSON object");
    }
  }
  if (isMapping(value)) return new Section(SECTION, value, root.problems);
  return root.refuse(
    SECTION,
    `${quote(value)} is not a mapping`,
    "give vtep_subnet, vtep_mac_oui and overlays, or leave the key out for the defaults",
  );
}

/** A container's interface that is wider than the tunnel would send packets that no tunnel carries. */
function checkMtus(root: Section, overlayMtu: number | undefined, vtepMtu: number | undefined): void {
  if (overlayMtu !== undefined && vtepMtu !== undefined && overlayMtu > vtepMtu)
    root.refuse(
      "dcos_overlay_mtu",
      `${overlayMtu} is more than the ${vtepMtu} of ${SECTION}.vtep_mtu`,
      `give at most ${vtepMtu}, or raise vtep_mtu`,
    );
}

/** @returns the network that is used where none is named; the original's `dcos` where the file does not say */
function readDefaultNames(root: Section, source: NetworkSource): string | undefined {
  const names = source.overlays.map((overlay) => overlay.name);
  const check = (key: string, candidates: readonly string[], what: string) => {
    const name = root.text(key, "give the name of a network");
    if (name !== undefined && !candidates.includes(name))
      root.refuse(
        key,
        `default name does not refer to a defined overlay${what}: ${name}`,
        candidates.length === 0
          ? `add it to ${SECTION}.overlays`
          : `give one of ${candidates.slice(0, 8).join(", ")}, or add it to ${SECTION}.overlays`,
      );
    return name;
  };
  const six = source.overlays
    .filter((overlay) => spaceSourcesOf(overlay).some(({ subnet6 }) => subnet6 !== undefined))
    .map(({ name }) => name);
  check("dcos_overlay_network6_default_name", six, " with subnet6");
  const name = check("dcos_overlay_network_default_name", names, "");
  return name ?? (names.includes(DEFAULT_NAME) ? DEFAULT_NAME : undefined);
}

/** Weft's own: `elastic: { threshold: 0.8 }`, which is the default, or `elastic: false`. */
function readElastic(root: Section): Elastic | undefined {
  const value = root.raw("elastic");
  if (value === false || value === "off") return undefined;
  if (value === undefined || value === true) return { threshold: ELASTIC_THRESHOLD };
  const right = "give elastic: { threshold: 0.8 }, or elastic: false";
  if (!isMapping(value)) return root.refuse("elastic", `${quote(value)} is not a mapping`, right);
  const section = new Section("elastic", value, root.problems);
  section.warnUnknown(["threshold", "empty_seconds", "rest_seconds"]);
  const threshold = section.raw("threshold") ?? ELASTIC_THRESHOLD;
  const emptySeconds = section.integer("empty_seconds", 1, SLICE_IDLE_MAX_S);
  const restSeconds = section.integer("rest_seconds", 1, SLICE_REST_MAX_S);
  if (typeof threshold === "number" && threshold > 0 && threshold <= 1)
    return {
      threshold,
      ...(emptySeconds !== undefined && { emptySeconds }),
      ...(restSeconds !== undefined && { restSeconds }),
    };
  return section.refuse("threshold", `${quote(threshold)} is not a share above 0 and at most 1`, right);
}

/** Weft's own: `agents: { remove_after: 24h, rest: 10m, may_add_networks: true }`; by default none is removed or may. */
function readAgents(root: Section): AgentRules | undefined {
  const value = root.raw("agents");
  if (value === undefined) return undefined;
  if (!isMapping(value))
    return root.refuse("agents", `${quote(value)} is not a mapping`, "give agents: { remove_after: 24h }");
  const section = new Section("agents", value, root.problems);
  section.warnUnknown(["remove_after", "rest", "may_add_networks"]);
  const removeAfterSeconds = section.duration("remove_after", AGENT_REMOVE_AFTER_MIN_S, AGENT_REMOVE_AFTER_MAX_S);
  const restSeconds = section.duration("rest", 0, SLICE_REST_MAX_S);
  const mayAddNetworks = section.boolean("may_add_networks");
  return {
    ...(removeAfterSeconds !== undefined && { removeAfterSeconds }),
    ...(restSeconds !== undefined && { restSeconds }),
    ...(mayAddNetworks === true && { mayAddNetworks }),
  };
}

/** @returns the network that Calico uses on the same hosts, if it is switched on */
function readCalico(root: Section): Cidr | undefined {
  if (root.flag("calico_enabled") !== true) return undefined;
  const vni = root.integer("calico_vxlan_vni", 1, VNI_MAX);
  if (vni === VNI) root.refuse("calico_vxlan_vni", `${VNI} is the VNI of the overlays`, "give another one");
  return root.has("calico_network_cidr") ? root.cidr("calico_network_cidr", 4) : CALICO_CIDR;
}
