/**
 * A network of Podman's as netavark writes it (its type `Network`): which network of the cluster it is, by the option
 * `weft.network` or else by its name, and what its creator asked for beside that.
 *
 * Weft has one thing to say of addresses, gateways and routes, and the cluster says it. So whatever Podman lets people
 * choose there is refused with the reason, rather than left unheard. Keys that are unknown here are carried on.
 */
import {
  isAbsent,
  type JsonObject,
  kindOf,
  type Problems,
  readList,
  readObject,
  readObjects,
  readString,
  requireString,
  shown,
} from "../../model/foreign-json.ts";
import { type Cidr, type Ip, networkOf, parseIp, parseIpInterface } from "../../model/ip.ts";
import { networkNameProblem } from "../../model/names.ts";

/** Names the network of the cluster. */
export const NETWORK_OPTION = "weft.network";
/** Where the executable finds the agent; it reads the option itself. */
export const SOCKET_OPTION = "weft.socket";
/** In `ipam_options`: Podman asks nobody for addresses, and leaves them to the plugin, where it does not know the driver. */
export const IPAM_DRIVER = "weft";

/** Which network is meant. */
export interface NamedNetwork {
  /** Podman's name for it. */
  readonly name: string;
  /** The cluster's. */
  readonly network: string;
}

/** A network that somebody wants Podman to have. */
export interface AskedNetwork extends NamedNetwork {
  /** As it came. */
  readonly json: JsonObject;
  readonly options: JsonObject;
  /** `--subnet` and `--gateway`, each with its place. */
  readonly subnets: readonly { readonly at: string; readonly subnet: Cidr; readonly gateway?: Ip }[];
  /** `--ipv6` */
  readonly isIpv6: boolean;
  /** `--internal` */
  readonly isInternal: boolean;
}

/** What is wrong is appended to `problems`; then the value is of no use. `at` is the path of the object. */
export function readNamedNetwork(json: JsonObject, at: string, problems: Problems): NamedNetwork {
  const name = requireString(json.name, `${at}name`, problems);
  const given = readObject(json.options, `${at}options`, problems)[NETWORK_OPTION];
  const [place, network] = isAbsent(given)
    ? [`${at}name`, name]
    : [`${at}options.${NETWORK_OPTION}`, requireString(given, `${at}options.${NETWORK_OPTION}`, problems)];
  const problem = network === "" ? undefined : networkNameProblem(network);
  if (problem !== undefined)
    problems.push(
      `${place}: ${shown(network)} ${problem}; name a network of the cluster with -o ${NETWORK_OPTION}=NAME`,
    );
  return { name, network };
}

/** As `readNamedNetwork`, with everything that `podman network create` lets people choose. */
export function readAskedNetwork(json: JsonObject, problems: Problems): AskedNetwork {
  const named = readNamedNetwork(json, "", problems);
  const options = readOptions(json.options, problems);
  const driver = readObject(json.ipam_options, "ipam_options", problems).driver;
  if (!isAbsent(driver) && driver !== "" && driver !== IPAM_DRIVER)
    problems.push(`ipam_options.driver: is ${kindOf(driver)}, but Weft gives the addresses; leave --ipam-driver out`);
  if (!isAbsent(json.network_interface) && json.network_interface !== "")
    problems.push("network_interface: Weft makes no device for a network of Podman; leave --interface-name out");
  if (readList(json.routes, "routes", problems).length > 0)
    problems.push("routes: what a container reaches is the cluster's to say; leave --route out");
  if (readList(json.network_dns_servers, "network_dns_servers", problems).length > 0)
    problems.push(
      "network_dns_servers: Weft runs no resolver for a network; leave --dns out, or give it to the container",
    );
  return {
    ...named,
    json,
    options,
    subnets: readSubnets(json.subnets, problems),
    isIpv6: json.ipv6_enabled === true,
    isInternal: json.internal === true,
  };
}

function readOptions(value: unknown, problems: Problems): JsonObject {
  const options = readObject(value, "options", problems);
  for (const key of Object.keys(options))
    if (key === SOCKET_OPTION) readString(options[key], `options.${key}`, problems);
    else if (key !== NETWORK_OPTION)
      problems.push(`options.${shown(key)}: is no option of Weft, which has ${NETWORK_OPTION} and ${SOCKET_OPTION}`);
  return options;
}

function readSubnets(value: unknown, problems: Problems): AskedNetwork["subnets"] {
  return readObjects(value, "subnets", problems).flatMap(([json, at]) => {
    const subnet = typeof json.subnet === "string" ? parseIpInterface(json.subnet) : undefined;
    const gateway = typeof json.gateway === "string" ? parseIp(json.gateway) : undefined;
    if (subnet === undefined) problems.push(`${at}.subnet: must be in CIDR notation, is ${kindOf(json.subnet)}`);
    if (gateway === undefined && !isAbsent(json.gateway))
      problems.push(`${at}.gateway: must be an IP address, is ${kindOf(json.gateway)}`);
    if (!isAbsent(json.lease_range))
      problems.push(`${at}.lease_range: every host has its own range; leave --ip-range out, or see 'weft reserve'`);
    if (subnet === undefined) return [];
    return [{ at, subnet: networkOf(subnet), ...(gateway === undefined ? {} : { gateway }) }];
  });
}
