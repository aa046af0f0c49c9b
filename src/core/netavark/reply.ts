/**
 * What the plugin prints: netavark's StatusBlock of an interface, the network that `create` made, nothing, or
 * `{"error": "…"}`. The HTTP status carries the exit status: 200 is 0, any other is 1.
 *
 * Podman refuses an error with any key but this one. Source of truth: netavark's plugin API 1.0.0.
 */
import type { Fault } from "../../model/fault.ts";
import { FAULT_TABLE } from "../../model/fault-table.ts";
import type { JsonObject } from "../../model/foreign-json.ts";
import { addressBits, familyOf, type Ip, withLength } from "../../model/ip.ts";
import type { Mac } from "../../model/mac.ts";

export interface NetavarkReply {
  /** HTTP status. */
  readonly status: number;
  /** JSON in one line, or nothing. */
  readonly body: string;
}

/** One interface in a container. */
export interface MadeInterface {
  readonly name: string;
  readonly mac: Mac;
  /** At most one of each family. */
  readonly ips: readonly { readonly address: Ip; readonly gateway: Ip }[];
}

export const TORN_DOWN: NetavarkReply = { status: 200, body: "" };

export function networkReply(network: JsonObject): NetavarkReply {
  return { status: 200, body: JSON.stringify(network) };
}

/** The lengths are those in the container: everything else is behind the gateway. */
export function statusReply({ name, mac, ips }: MadeInterface): NetavarkReply {
  const subnets = ips.map(({ address, gateway }) => ({
    ipnet: withLength(address, addressBits(familyOf(address))),
    gateway,
  }));
  const interfaces = { [name]: { mac_address: mac, subnets } };
  return { status: 200, body: JSON.stringify({ dns_server_ips: [], dns_search_domains: [], interfaces }) };
}

export function refusal({ code, message }: Fault): NetavarkReply {
  return { status: FAULT_TABLE[code].http, body: JSON.stringify({ error: message }) };
}

/** The answer to a call that met a mistake of ours. */
export function netavarkBugReply(message: string): NetavarkReply {
  return { status: 500, body: JSON.stringify({ error: `a mistake in the weft agent, please report it: ${message}` }) };
}
