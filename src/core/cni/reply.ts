/**
 * What the executable prints, and whether it succeeds: results (CNI 1.1.0 section 5 and its forerunners), errors and
 * the answer to VERSION. The HTTP status carries the exit status: 200 is 0, any other is 1.
 */
import type { Fault, FaultCode } from "../../model/fault.ts";
import { FAULT_TABLE } from "../../model/fault-table.ts";
import type { JsonObject } from "../../model/foreign-json.ts";
import { addressBits, familyOf, type Ip, type IpInterface, withLength } from "../../model/ip.ts";
import type { Mac } from "../../model/mac.ts";
import type { PrevResult } from "./result.ts";
import { atLeast, CNI_VERSIONS, type CniCommand, type CniVersion, NEWEST_CNI_VERSION } from "./version.ts";

export interface CniReply {
  /** HTTP status. */
  readonly status: number;
  /** JSON in one line, or nothing: success of every verb but ADD and VERSION. */
  readonly body: string;
}

/** What ADD made: one interface in the container, its other end on the host, and what they carry. */
export interface AddResult {
  readonly host: { readonly name: string; readonly mac: Mac };
  readonly container: { readonly name: string; readonly mac: Mac; readonly netns: string };
  /** Of both ends, in bytes. */
  readonly mtu: number;
  /** At most one of each family. */
  readonly ips: readonly { readonly address: Ip; readonly gateway: Ip }[];
  readonly dns: JsonObject;
}

export const EMPTY_REPLY: CniReply = { status: 200, body: "" };

/** The answer to ADD; what an earlier plugin of the chain made comes before what we made. */
export function addReply(version: CniVersion, result: AddResult, prevResult?: PrevResult): CniReply {
  const before = prevResult?.json ?? {};
  const list = (key: string) => (before[key] ?? []) as JsonObject[];
  const interfaces = [...list("interfaces"), ...interfacesOf(version, result)];
  const json = {
    ...before,
    cniVersion: version,
    interfaces,
    ips: [...list("ips"), ...result.ips.map((ip) => ipOf(version, ip, interfaces.length - 1))],
    routes: [...list("routes"), ...result.ips.map(({ gateway }) => ({ dst: defaultRoute(gateway), gw: gateway }))],
    dns: { ...(before.dns as JsonObject | undefined), ...result.dns },
  };
  return { status: 200, body: JSON.stringify(json) };
}

function interfacesOf(version: CniVersion, { host, container, mtu }: AddResult): JsonObject[] {
  const withMtu = atLeast(version, "1.1.0") ? { mtu } : {};
  return [
    { name: host.name, mac: host.mac, ...withMtu },
    { name: container.name, mac: container.mac, ...withMtu, sandbox: container.netns },
  ];
}

function ipOf(version: CniVersion, { address, gateway }: AddResult["ips"][number], index: number): JsonObject {
  return {
    ...familyField(version, address),
    interface: index,
    address: withLength(address, addressBits(familyOf(address))),
    gateway,
  };
}

/** Required before 1.0.0, gone since. */
function familyField(version: CniVersion, address: Ip | IpInterface): JsonObject {
  return atLeast(version, "1.0.0") ? {} : { version: String(familyOf(address)) };
}

function defaultRoute(gateway: Ip): string {
  return familyOf(gateway) === 4 ? "0.0.0.0/0" : "::/0";
}

/** What an IPAM plugin answers to ADD (CNI 1.1.0, "Delegated plugins"): addresses, and no interfaces. */
export interface IpamReply {
  /** At most one of each family. */
  readonly ips: readonly { readonly address: IpInterface; readonly gateway?: Ip }[];
  /** As they are to be written. */
  readonly routes?: readonly JsonObject[];
  readonly dns: JsonObject;
}

export function ipamReply(version: CniVersion, { ips, routes = [], dns }: IpamReply): CniReply {
  const json = {
    cniVersion: version,
    ips: ips.map(({ address, gateway }) => ({
      ...familyField(version, address),
      address,
      ...(gateway === undefined ? {} : { gateway }),
    })),
    routes,
    dns,
  };
  return { status: 200, body: JSON.stringify(json) };
}

/** The answer to VERSION, with the asked version echoed. */
export function versionReply(asked: string): CniReply {
  return { status: 200, body: JSON.stringify({ cniVersion: asked, supportedVersions: CNI_VERSIONS }) };
}

/** CNI 1.1.0, "STATUS": the plugin cannot take an ADD now; nor do the containers that it attached all work. */
const STATUS_NOT_AVAILABLE = 50;
const STATUS_CONTAINERS_HURT = 51;

/** Faults of the call itself, not of what it asks about. */
const CALL_FAULTS: readonly FaultCode[] = ["bad-request", "undecodable", "bad-environment", "unsupported-version"];

/** A refused call as CNI writes it; code and HTTP status by the table of faults. */
export function errorReply(version: CniVersion, command: CniCommand | undefined, fault: Fault): CniReply {
  const row = FAULT_TABLE[fault.code];
  const json = {
    cniVersion: version,
    code: command === "STATUS" ? statusCode(fault.code) : row.cni,
    msg: fault.message,
    details: `${fault.code} ${JSON.stringify(fault.facts)}`,
  };
  return { status: row.http, body: JSON.stringify(json) };
}

/** Not in the specification's table, which has codes from 100 up for everybody's own. */
const BUG = 999;

/** The answer to a call that met a mistake of ours: what reads it expects a CNI error. */
export function bugReply(message: string): CniReply {
  const msg = `a mistake in the weft agent, please report it: ${message}`;
  return { status: 500, body: JSON.stringify({ cniVersion: NEWEST_CNI_VERSION, code: BUG, msg }) };
}

function statusCode(code: FaultCode): number {
  if (CALL_FAULTS.includes(code)) return FAULT_TABLE[code].cni;
  return code === "network-failed" ? STATUS_CONTAINERS_HURT : STATUS_NOT_AVAILABLE;
}
