/**
 * The calls that a Docker engine makes of its network and address drivers, as values, and the answers in the engine's
 * words (libnetwork's remote driver and remote IPAM, over HTTP POST with JSON).
 *
 * What an engine says is trusted to come from root of this host, and is checked all the same, since other versions say it
 * otherwise. Fields that are not needed are not looked at.
 */
import { z } from "zod";
import type { PortWish } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { type Cidr, type Family, familyOf, type Ip, parseCidr, parseIp } from "../../model/ip.ts";
import { PORT_MAPPINGS_MAX } from "../../model/limits.ts";
import { type Mac, parseMac } from "../../model/mac.ts";
import { DRIVER, NETWORK_OPTION, OWN_PREFIX, PREFIX_OPTIONS } from "./engine.ts";

export type EngineCall =
  | { readonly method: "RequestPool"; readonly request: PoolRequest }
  | { readonly method: "ReleasePool" }
  | {
      readonly method: "RequestAddress";
      readonly pool: string;
      readonly asked?: Ip;
      /** For the network itself. */
      readonly isGateway: boolean;
    }
  | { readonly method: "ReleaseAddress"; readonly pool: string; readonly address: Ip }
  | { readonly method: "CreateNetwork"; readonly request: NetworkRequest }
  | { readonly method: "DeleteNetwork"; readonly networkId: string }
  | { readonly method: "CreateEndpoint"; readonly request: EndpointRequest }
  | { readonly method: "Join"; readonly endpointId: string; readonly networkId: string; readonly sandbox: string }
  | {
      readonly method: "ProgramExternalConnectivity";
      readonly endpointId: string;
      readonly ports: readonly PortWish[];
    }
  | { readonly method: "RevokeExternalConnectivity"; readonly endpointId: string }
  | { readonly method: "Leave" | "DeleteEndpoint" | "EndpointOperInfo"; readonly endpointId: string };

export interface PoolRequest {
  /** The cluster's name of the network (`--ipam-opt weft.network=NAME`). */
  readonly network?: string;
  /** `--subnet` */
  readonly pool?: Cidr;
  /** `--ip-range` as it came. */
  readonly subPool?: string;
  readonly family: Family;
}

export interface NetworkRequest {
  readonly id: string;
  /** The cluster's name of it (`-o weft.network=NAME`). */
  readonly network?: string;
  readonly mtu?: number;
  readonly internal: boolean;
  /** Of a new network: the lengths of hosts' slices (`-o weft.prefix=24`, `-o weft.prefix6=80`). */
  readonly lengths: Readonly<Partial<Record<Family, number>>>;
  readonly pools: readonly { readonly pool: Cidr; readonly addressSpace: string; readonly hasAux: boolean }[];
}

export interface EndpointRequest {
  readonly id: string;
  readonly networkId: string;
  readonly addresses: readonly Ip[];
  /** What the user asked for. */
  readonly mac?: Mac;
}

export const ADDRESS_SPACE = DRIVER;
const MTU_OPTION = "com.docker.network.driver.mtu";
const GATEWAY_REQUEST = "com.docker.network.gateway";
const PROTOCOLS: Readonly<Record<number, "tcp" | "udp">> = { 6: "tcp", 17: "udp" };

/** Answers that depend on nothing. */
export const FIXED_ANSWERS: Readonly<Record<string, object>> = {
  "Plugin.Activate": { Implements: ["NetworkDriver", "IpamDriver"] },
  "NetworkDriver.GetCapabilities": { Scope: "local", ConnectivityScope: "global" },
  "IpamDriver.GetCapabilities": { RequiresMACAddress: false },
  "IpamDriver.GetDefaultAddressSpaces": {
    LocalDefaultAddressSpace: ADDRESS_SPACE,
    GlobalDefaultAddressSpace: ADDRESS_SPACE,
  },
  "NetworkDriver.DiscoverNew": {},
  "NetworkDriver.DiscoverDelete": {},
};

const options = z.record(z.string(), z.unknown()).nullish();
const id = z.string().min(1).max(256);
const poolData = z.object({
  Pool: z.string(),
  AddressSpace: z.string().nullish(),
  AuxAddresses: options,
});
const SCHEMAS = {
  RequestPool: z.object({ Pool: z.string(), SubPool: z.string().nullish(), Options: options, V6: z.boolean() }),
  ReleasePool: z.object({}),
  RequestAddress: z.object({ PoolID: z.string(), Address: z.string().nullish(), Options: options }),
  ReleaseAddress: z.object({ PoolID: z.string(), Address: z.string() }),
  CreateNetwork: z.object({
    NetworkID: id,
    Options: options,
    IPv4Data: z.array(poolData).nullish(),
    IPv6Data: z.array(poolData).nullish(),
  }),
  DeleteNetwork: z.object({ NetworkID: id }),
  CreateEndpoint: z.object({
    NetworkID: id,
    EndpointID: id,
    Interface: z
      .object({ Address: z.string().nullish(), AddressIPv6: z.string().nullish(), MacAddress: z.string().nullish() })
      .nullish(),
  }),
  Join: z.object({ NetworkID: id, EndpointID: id, SandboxKey: z.string().startsWith("/") }),
  ProgramExternalConnectivity: z.object({ EndpointID: id, Options: options }),
  RevokeExternalConnectivity: z.object({ EndpointID: id }),
  Leave: z.object({ EndpointID: id }),
  DeleteEndpoint: z.object({ EndpointID: id }),
  EndpointOperInfo: z.object({ EndpointID: id }),
} as const;

type Method = keyof typeof SCHEMAS;
const IPAM_METHODS: readonly string[] = ["RequestPool", "ReleasePool", "RequestAddress", "ReleaseAddress"];

/** Paths of the calls that are decoded here: `/NetworkDriver.Join`. */
export const CALL_PATHS: readonly string[] = Object.keys(SCHEMAS).map(
  (method) => `/${IPAM_METHODS.includes(method) ? "IpamDriver" : "NetworkDriver"}.${method}`,
);

/** @param path one of `CALL_PATHS` @throws Fault bad-request */
export function decodeEngineCall(path: string, body: Uint8Array): EngineCall {
  const method = path.slice(path.indexOf(".") + 1) as Method;
  const json = parseJson(body);
  const read = <M extends Method>(name: M): z.infer<(typeof SCHEMAS)[M]> => {
    const result = SCHEMAS[name].safeParse(json);
    if (result.success) return result.data as z.infer<(typeof SCHEMAS)[M]>;
    const [issue] = result.error.issues;
    throw new Fault("bad-request", `${method}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "is wrong"}`);
  };
  switch (method) {
    case "RequestPool":
      return { method, request: poolRequest(read(method)) };
    case "RequestAddress": {
      const { PoolID, Address, Options } = read(method);
      const isGateway = Options?.RequestAddressType === GATEWAY_REQUEST;
      return { method, pool: PoolID, isGateway, ...(present(Address) && { asked: readIp(Address) }) };
    }
    case "ReleaseAddress": {
      const { PoolID, Address } = read(method);
      return { method, pool: PoolID, address: readIp(Address) };
    }
    case "CreateNetwork":
      return { method, request: networkRequest(read(method)) };
    case "DeleteNetwork":
      return { method, networkId: read(method).NetworkID };
    case "CreateEndpoint":
      return { method, request: endpointRequest(read(method)) };
    case "Join": {
      const { EndpointID, NetworkID, SandboxKey } = read(method);
      return { method, endpointId: EndpointID, networkId: NetworkID, sandbox: SandboxKey };
    }
    case "ProgramExternalConnectivity": {
      const { EndpointID, Options } = read(method);
      return { method, endpointId: EndpointID, ports: readPorts(Options?.["com.docker.network.portmap"]) };
    }
    case "ReleasePool":
      return { method };
    default:
      return { method, endpointId: read(method).EndpointID };
  }
}

function poolRequest({ Pool, SubPool, Options, V6 }: z.infer<typeof SCHEMAS.RequestPool>): PoolRequest {
  const network = textOption(Options, NETWORK_OPTION);
  return {
    ...(network !== undefined && { network }),
    ...(Pool !== "" && { pool: readCidr(Pool) }),
    ...(present(SubPool) && { subPool: SubPool }),
    family: V6 ? 6 : 4,
  };
}

function networkRequest(message: z.infer<typeof SCHEMAS.CreateNetwork>): NetworkRequest {
  const { NetworkID, Options, IPv4Data, IPv6Data } = message;
  const generic = Options?.["com.docker.network.generic"] as Record<string, unknown> | undefined;
  const network = textOption(generic, NETWORK_OPTION);
  const mtu = textOption(generic, MTU_OPTION);
  if (mtu !== undefined && !/^\d{3,5}$/.test(mtu))
    throw new Fault("bad-request", `${MTU_OPTION}=${mtu} is no number of bytes`);
  const lengths = ([4, 6] as const).flatMap((family) => {
    const text = textOption(generic, PREFIX_OPTIONS[family]);
    if (text === undefined) return [];
    if (!/^\d{1,3}$/.test(text))
      throw new Fault("bad-request", `${PREFIX_OPTIONS[family]}=${text} is no length of a prefix`);
    return [[family, Number(text)] as const];
  });
  return {
    id: NetworkID,
    ...(network !== undefined && { network }),
    ...(mtu !== undefined && { mtu: Number(mtu) }),
    internal: Options?.["com.docker.network.internal"] === true,
    lengths: Object.fromEntries(lengths),
    pools: [...(IPv4Data ?? []), ...(IPv6Data ?? [])].map(({ Pool, AddressSpace, AuxAddresses }) => ({
      pool: readCidr(Pool),
      addressSpace: AddressSpace ?? "",
      hasAux: Object.keys(AuxAddresses ?? {}).length > 0,
    })),
  };
}

function endpointRequest(message: z.infer<typeof SCHEMAS.CreateEndpoint>): EndpointRequest {
  const { NetworkID, EndpointID, Interface } = message;
  const { Address, AddressIPv6, MacAddress } = Interface ?? {};
  const mac = present(MacAddress) ? parseMac(MacAddress) : undefined;
  return {
    id: EndpointID,
    networkId: NetworkID,
    addresses: [Address, AddressIPv6].filter(present).map(readIp),
    ...(mac !== undefined && { mac }),
  };
}

const portSchema = z.array(
  z.object({
    Proto: z.int(),
    IP: z.string().nullish(),
    Port: z.int().min(1).max(65_535),
    HostIP: z.string().nullish(),
    HostPort: z.int().min(0).max(65_535),
    HostPortEnd: z.int().min(0).max(65_535).nullish(),
  }),
);

function readPorts(value: unknown): readonly PortWish[] {
  const { success, data = [] } = portSchema.max(PORT_MAPPINGS_MAX).safeParse(value ?? []);
  if (!success) throw new Fault("bad-request", "the published ports cannot be read; this engine says them otherwise");
  return data.map(({ Proto, Port, HostIP, HostPort, HostPortEnd }) => {
    const protocol = PROTOCOLS[Proto];
    if (protocol === undefined)
      throw new Fault("bad-request", `port ${Port}: only tcp and udp ports can be published, not IP protocol ${Proto}`);
    const last = Math.max(HostPort, HostPortEnd ?? 0);
    return { protocol, containerPort: Port, first: HostPort, last, ...(present(HostIP) && { hostIp: readIp(HostIP) }) };
  });
}

function present(text: string | null | undefined): text is string {
  return text !== undefined && text !== null && text !== "";
}

function textOption(from: Record<string, unknown> | null | undefined, name: string): string | undefined {
  const value = from?.[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** `9.0.1.130`, or with a length, which is left out. */
function readIp(text: string): Ip {
  const ip = parseIp(text.replace(/\/\d{1,3}$/, ""));
  if (ip !== undefined) return ip;
  throw new Fault("bad-request", `'${text.slice(0, 64)}' is no address`);
}

function readCidr(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr !== undefined) return cidr;
  throw new Fault("bad-request", `'${text.slice(0, 64)}' is no subnet such as 10.9.0.0/16`);
}

function parseJson(body: Uint8Array): unknown {
  try {
    return body.length === 0 ? {} : JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    throw new Fault("bad-request", "the body is no JSON; is it a Docker engine that calls?");
  }
}

// ---- answers -------------------------------------------------------------------------------------------------------

/** Docker reads `Err` of a network driver, and `Error` of an address driver. */
export function refusal(text: string): object {
  return { Err: text, Error: text };
}

/** What the engine has to know of an endpoint that joined. */
export interface JoinAnswer {
  /** The device that it takes; absent: there is none for it to take. */
  readonly device?: string;
  /** Of each family; none on a network without a way out. */
  readonly gateways: readonly Ip[];
  /** Further prefixes that lie behind the gateway of their family. */
  readonly inside: readonly { readonly prefix: Cidr; readonly gateway: Ip }[];
}

/** A gateway lies on the link, whatever the address's length. */
export function joinAnswer({ device, gateways, inside }: JoinAnswer, internal: boolean): object {
  const reached = new Set([...(internal ? [] : gateways), ...inside.map(({ gateway }) => gateway)]);
  const onLink = [...reached].map((gateway) => ({
    Destination: `${gateway}/${familyOf(gateway) === 4 ? 32 : 128}`,
    RouteType: 1,
    NextHop: "",
  }));
  const routes = inside.map(({ prefix, gateway }) => ({ Destination: prefix, RouteType: 0, NextHop: gateway }));
  const gatewayOf = (family: Family) => gateways.find((gateway) => familyOf(gateway) === family) ?? "";
  return {
    InterfaceName:
      device === undefined ? { SrcName: "", DstPrefix: OWN_PREFIX } : { SrcName: device, DstPrefix: "eth" },
    ...(!internal && { Gateway: gatewayOf(4), GatewayIPv6: gatewayOf(6) }),
    StaticRoutes: [...onLink, ...routes],
    DisableGatewayService: true,
  };
}
