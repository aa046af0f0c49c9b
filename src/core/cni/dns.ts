/**
 * The resolver that a result names for the container: what the configuration says (CNI 1.1.0, section 1, `dns`), and
 * list by list instead of it what the runtime says (`runtimeConfig.dns` of the conventions, by other names). Weft itself
 * writes no resolv.conf: that is the runtime's.
 */

import {
  anyCase,
  isAbsent,
  isObject,
  type JsonObject,
  kindOf,
  type Problems,
  readObject,
  readString,
  readStrings,
} from "../../model/foreign-json.ts";
import { parseIp } from "../../model/ip.ts";

/** Only what is given, as a result has it. What is wrong is appended to `problems`. */
export function readDns({ dns, runtimeConfig }: JsonObject, problems: Problems): JsonObject {
  const fixed = readObject(dns, "dns", problems);
  const wanted = readObject(isObject(runtimeConfig) ? runtimeConfig.dns : undefined, "runtimeConfig.dns", problems);
  const domain = readString(fixed.domain, "dns.domain", problems);
  const lists = {
    nameservers: readLists(fixed, "nameservers", wanted, "servers", problems),
    search: readLists(fixed, "search", wanted, "searches", problems),
    options: readLists(fixed, "options", wanted, "options", problems),
  };
  const given = { nameservers: lists.nameservers, domain, search: lists.search, options: lists.options };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => !isAbsent(value)));
}

function readLists(
  fixed: JsonObject,
  key: string,
  wanted: JsonObject,
  wantedKey: string,
  problems: Problems,
): readonly string[] | undefined {
  const read = key === "nameservers" ? readServers : readStrings;
  const ours = read(fixed[key], `dns.${key}`, problems);
  const theirs = read(anyCase(wanted, wantedKey), `runtimeConfig.dns.${wantedKey}`, problems);
  if (theirs.length > 0) return theirs;
  return isAbsent(fixed[key]) ? undefined : ours;
}

/** Addresses: runtimes fail on a result with anything else. */
function readServers(value: unknown, at: string, problems: Problems): readonly string[] {
  const servers = readStrings(value, at, problems);
  for (const [i, server] of servers.entries())
    if (parseIp(server) === undefined) problems.push(`${at}[${i}]: must be an IP address, is ${kindOf(server)}`);
  return servers;
}
