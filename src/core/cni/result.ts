/**
 * Results of other plugins: what earlier ones of a chain made (`prevResult`), and what an IPAM plugin gave. All versions
 * from 0.3.0 have the same form where it is read here; what came with later ones (mtu, table, scope, priority,
 * socketPath, pciID …) is carried on as it came.
 *
 * Source of truth: CNI 1.1.0, section 5.
 */
import { Fault } from "../../model/fault.ts";
import {
  type JsonObject,
  kindOf,
  listed,
  type Problems,
  readIp,
  readObject,
  readObjects,
  readString,
  requireString,
} from "../../model/foreign-json.ts";
import {
  type Cidr,
  type Family,
  familyOf,
  type Ip,
  type IpInterface,
  networkOf,
  parseIpInterface,
} from "../../model/ip.ts";

/** What an earlier plugin of the chain answered to ADD, or, for CHECK and DEL, what the whole chain did. */
export interface PrevResult {
  /** As it came, for handing it on. */
  readonly json: JsonObject;
  readonly interfaces: readonly { readonly name: string; readonly sandbox: string }[];
  readonly ips: readonly { readonly address: IpInterface; readonly interface?: number }[];
}

/** What an IPAM plugin gave: at least one address, at most one of each family. */
export interface IpamResult {
  readonly ips: readonly { readonly address: IpInterface; readonly gateway?: Ip }[];
  readonly routes: readonly { readonly dst: Cidr; readonly gw?: Ip }[];
  readonly dns: JsonObject;
}

export function readPrevResult(value: unknown, problems: Problems): PrevResult {
  const at = "prevResult";
  const json = readObject(value, at, problems);
  const interfaces = readObjects(json.interfaces, `${at}.interfaces`, problems).map(([item, path]) => {
    readString(item.mac, `${path}.mac`, problems);
    return {
      name: requireString(item.name, `${path}.name`, problems),
      sandbox: readString(item.sandbox, `${path}.sandbox`, problems) ?? "",
    };
  });
  const ips = readObjects(json.ips, `${at}.ips`, problems).flatMap(([item, path]) => {
    const address = readAddress(item, path, problems);
    readIp(item.gateway || undefined, `${path}.gateway`, problems);
    const index = readIndex(item.interface, `${path}.interface`, problems);
    return address === undefined ? [] : [{ address, ...(index === undefined ? {} : { interface: index }) }];
  });
  readRoutes(json.routes, `${at}.routes`, problems);
  readObject(json.dns, `${at}.dns`, problems);
  return { json, interfaces, ips };
}

/**
 * @param stdout what the plugin printed
 * @param type the plugin's name, for the message
 * @throws Fault delegate-failed when nothing can be made of it, with all reasons
 */
export function readIpamResult(stdout: string, type: string): IpamResult {
  const problems: Problems = [];
  const json = readObject(parsed(stdout), "the result", problems);
  const ips = readObjects(json.ips, "ips", problems).flatMap(([item, path]) => {
    const address = readAddress(item, path, problems);
    const gateway = readIp(item.gateway || undefined, `${path}.gateway`, problems);
    return address === undefined ? [] : [{ address, ...(gateway === undefined ? {} : { gateway }) }];
  });
  const routes = readRoutes(json.routes, "routes", problems);
  const dns = readObject(json.dns, "dns", problems);
  if (problems.length === 0 && ips.length === 0) problems.push("ips: has no address");
  for (const family of [4, 6] as const)
    if (ofFamily(ips, family) > 1)
      problems.push(`ips: has ${ofFamily(ips, family)} IPv${family} addresses, one is used`);
  if (problems.length > 0)
    throw new Fault("delegate-failed", `IPAM plugin ${type} gave a result that cannot be used: ${listed(problems)}`, {
      plugin: type,
    });
  return { ips, routes, dns };
}

/** What is no JSON is shown as the text that it is. */
function parsed(stdout: string): unknown {
  try {
    return JSON.parse(stdout);
  } catch {
    return stdout;
  }
}

function ofFamily(ips: IpamResult["ips"], family: Family): number {
  return ips.filter(({ address }) => familyOf(address) === family).length;
}

function readRoutes(value: unknown, at: string, problems: Problems): IpamResult["routes"] {
  return readObjects(value, at, problems).flatMap(([item, path]) => {
    const dst = readCidr(item.dst, `${path}.dst`, problems);
    const gw = readIp(item.gw || undefined, `${path}.gw`, problems);
    return dst === undefined ? [] : [{ dst: networkOf(dst), ...(gw === undefined ? {} : { gw }) }];
  });
}

function readAddress(item: JsonObject, at: string, problems: Problems): IpInterface | undefined {
  return readCidr(item.address, `${at}.address`, problems);
}

function readCidr(value: unknown, at: string, problems: Problems): IpInterface | undefined {
  const address = typeof value === "string" ? parseIpInterface(value) : undefined;
  if (address === undefined) problems.push(`${at}: must be an address in CIDR notation, is ${kindOf(value)}`);
  return address;
}

/** Which interface of the result has the address; some plugins write -1 for none. */
function readIndex(value: unknown, at: string, problems: Problems): number | undefined {
  if (value === undefined || value === null || Number.isSafeInteger(value))
    return (value as number | null) ?? undefined;
  problems.push(`${at}: must be a whole number, is ${kindOf(value)}`);
  return undefined;
}
