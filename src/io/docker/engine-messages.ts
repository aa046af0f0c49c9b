/**
 * What Docker's API says, as values of core/docker/engine.ts. Only the fields that are looked at are read, so that what
 * newer engines add does no harm; what is null where a list or a map could be counts as empty.
 */
import { z } from "zod";
import type {
  AttachedNetwork,
  EngineContainer,
  EngineInfo,
  EngineNetwork,
  Health,
  NetworkSpec,
} from "../../core/docker/engine.ts";
import { type Ip, type IpInterface, parseIp, parseIpInterface } from "../../model/ip.ts";
import { parseMac } from "../../model/mac.ts";
import type { EngineChange } from "../ports.ts";

const text = z.string().default("");
const texts = nullable(z.record(z.string(), z.string()), {});

export const infoSchema = z
  .object({
    ServerVersion: z.string(),
    ID: text,
    Swarm: nullable(
      z.object({ LocalNodeState: z.enum(["", "inactive", "pending", "active", "error", "locked"]).default("") }),
      { LocalNodeState: "" as const },
    ),
  })
  .transform(({ ServerVersion, ID, Swarm }): EngineInfo => {
    return { version: ServerVersion, id: ID, swarm: Swarm.LocalNodeState === "" ? "inactive" : Swarm.LocalNodeState };
  });

const poolSchema = z
  .object({ Subnet: text, Gateway: text, IPRange: text })
  .transform(({ Subnet, Gateway, IPRange }) => ({
    subnet: Subnet,
    ...(Gateway !== "" && { gateway: Gateway }),
    ...(IPRange !== "" && { ipRange: IPRange }),
  }));

const networkFields = z.object({
  Id: z.string().min(1),
  Name: z.string(),
  Driver: text,
  Scope: text,
  Internal: z.boolean().default(false),
  EnableIPv6: z.boolean().default(false),
  IPAM: z.object({ Driver: text, Options: texts, Config: nullable(z.array(poolSchema), []) }),
  Options: texts,
  Labels: texts,
});

const endpointSchema = z.object({
  Name: text,
  EndpointID: text,
  MacAddress: text,
  IPv4Address: text,
  IPv6Address: text,
});

export const networksSchema = z.array(networkFields.transform(networkOf));

export const networkSchema = networkFields
  .extend({ Containers: nullable(z.record(z.string(), endpointSchema), {}) })
  .transform((fields): AttachedNetwork => {
    const endpoints = Object.entries(fields.Containers).map(([key, endpoint]) => endpointOf(key, endpoint));
    return { ...networkOf(fields), endpoints };
  });

const containerNetworkSchema = z.object({
  NetworkID: text,
  EndpointID: text,
  IPAddress: text,
  GlobalIPv6Address: text,
});

const portSchema = z
  .object({
    IP: text,
    PrivatePort: z.number(),
    PublicPort: z.number().default(0),
    Type: z.string().default("tcp"),
  })
  .transform(({ IP, PrivatePort, PublicPort, Type }) => {
    const hostIp = parseIp(IP);
    const isPublished = PublicPort !== 0 && hostIp !== undefined;
    return { protocol: Type, containerPort: PrivatePort, ...(isPublished && { hostIp, hostPort: PublicPort }) };
  });

export const containersSchema = z.array(
  z
    .object({
      Id: z.string().min(1),
      Names: nullable(z.array(z.string()), []),
      Image: text,
      Labels: texts,
      Status: text,
      Ports: nullable(z.array(portSchema), []),
      NetworkSettings: nullable(z.object({ Networks: nullable(z.record(z.string(), containerNetworkSchema), {}) }), {
        Networks: {},
      }),
    })
    .transform(({ Id, Names, Image, Labels, Status, Ports, NetworkSettings }): EngineContainer => {
      const health = healthOf(Status);
      return {
        id: Id,
        name: ownName(Names),
        image: Image,
        labels: Labels,
        ports: Ports,
        ...(health !== undefined && { health }),
        // A container that is only just being connected has no endpoint yet.
        networks: Object.entries(NetworkSettings.Networks)
          .filter(([, { EndpointID }]) => EndpointID !== "")
          .map(([network, { NetworkID, EndpointID, IPAddress, GlobalIPv6Address }]) => ({
            network,
            networkId: NetworkID,
            endpointId: EndpointID,
            addresses: [IPAddress, GlobalIPv6Address].map(parseIp).filter(isAddress),
          })),
      };
    }),
);

export const createdSchema = z.object({ Id: z.string().min(1) });
export const refusalSchema = z.object({ message: z.string() });

export const eventSchema = z.object({ Type: z.string(), Action: z.string() });

/** What changed; `undefined` for what changes nothing, such as the programs that a health check runs. */
export function changeOf({ Type, Action }: z.infer<typeof eventSchema>): EngineChange | undefined {
  if (Action.startsWith("exec_")) return undefined;
  return Type === "network" || Type === "container" ? Type : undefined;
}

/** The body of POST /networks/create. Engines before API 1.44 make a second network of the name unless told not to. */
export function createBody(spec: NetworkSpec): object {
  return {
    Name: spec.name,
    CheckDuplicate: true,
    Driver: spec.driver,
    Internal: spec.internal,
    EnableIPv6: spec.enableIpv6,
    IPAM: {
      Driver: spec.ipamDriver,
      Options: spec.ipamOptions,
      Config: spec.pools.map(({ subnet, gateway, ipRange }) => ({
        Subnet: subnet,
        Gateway: gateway,
        IPRange: ipRange,
      })),
    },
    Options: spec.options,
    Labels: spec.labels,
  };
}

function networkOf(fields: z.infer<typeof networkFields>): EngineNetwork {
  return {
    id: fields.Id,
    name: fields.Name,
    driver: fields.Driver,
    scope: fields.Scope,
    ipamDriver: fields.IPAM.Driver,
    ipamOptions: fields.IPAM.Options,
    pools: fields.IPAM.Config,
    options: fields.Options,
    labels: fields.Labels,
    internal: fields.Internal,
    enableIpv6: fields.EnableIPv6,
  };
}

/** @param key the container's id, or `ep-` and the endpoint's where the engine knows no container */
function endpointOf(key: string, endpoint: z.infer<typeof endpointSchema>): AttachedNetwork["endpoints"][number] {
  const mac = parseMac(endpoint.MacAddress);
  return {
    endpointId: endpoint.EndpointID,
    ...(!key.startsWith("ep-") && { containerId: key }),
    name: endpoint.Name,
    ...(mac !== undefined && { mac }),
    addresses: [endpoint.IPv4Address, endpoint.IPv6Address].map(parseIpInterface).filter(isAddress),
  };
}

/** Without its slash. A container that others link to has names below theirs, too: `/other/alias`. */
function ownName(names: readonly string[]): string {
  const own = names.map((name) => name.replace(/^\//, ""));
  return own.find((name) => !name.includes("/")) ?? own[0] ?? "";
}

/** A list of containers tells health at the end of the status text alone: `Up 2 minutes (health: starting)`. */
function healthOf(status: string): Health | undefined {
  return /\((?:health: )?(healthy|unhealthy|starting)\)$/.exec(status)?.[1] as Health | undefined;
}

/** A driver that gives no IPv4 address has to say 0.0.0.0: Docker takes no network without IPv4. */
function isAddress<T extends Ip | IpInterface>(value: T | undefined): value is T {
  return value !== undefined && !value.startsWith("0.0.0.0");
}

/** The engine is written in Go, whose empty lists and maps are null. */
function nullable<S extends z.ZodType>(schema: S, empty: z.output<S>): z.ZodType<z.output<S>> {
  return schema.nullish().transform((value) => (value ?? empty) as z.output<S>);
}
