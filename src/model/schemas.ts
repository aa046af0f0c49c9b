/**
 * The shapes of model values as they arrive from outside: a database file, an HTTP body. Each schema accepts exactly the
 * type of the same name, canonical text included; what passes is trusted from then on. Unknown keys are dropped.
 */
import { z } from "zod";
import type {
  Attachment,
  Bandwidth,
  DockerEndpoint,
  DockerNetwork,
  ForeignIpam,
  Lease,
  PortMapping,
} from "./attachment.ts";
import type {
  AgentNetworkConfig,
  AgentOverlay,
  AgentRecord,
  Assignment,
  Backend,
  Bridge,
  HalfUsage,
  OverlayStatus,
  Peer,
  ReportAnswer,
  RestingItem,
  Slice,
} from "./cluster.ts";
import { DATAPATH_REASONS_MAX } from "./datapath-limits.ts";
import { type Cidr, type Ip, type IpInterface, parseCidr, parseIp, parseIpInterface } from "./ip.ts";
import type { Egress, Isolation, NetworkRules } from "./isolation.ts";
import {
  HOSTED_MAX,
  OVERLAYS_MAX,
  POLICIES_MAX,
  RESERVATIONS_MAX,
  RESERVED_USES_TOLD_MAX,
  RUNTIME_NAME_MAX_BYTES,
  STATUS_ERROR_MAX_LENGTH,
} from "./limits.ts";
import { type Mac, parseMac } from "./mac.ts";
import type { AgentRules, Elastic, NewNetwork, Overlay, Space } from "./network.ts";
import { policySchema } from "./policy.ts";
import { claimSchema, hostedSchema, reservationSchema, reservedUseSchema } from "./reservation.ts";

/** A string that `parse` gives back unchanged. */
function canonical<T extends string>(parse: (text: string) => T | undefined, what: string, example: string) {
  const schema = z
    .string()
    .refine((text) => parse(text) === text, { error: `is not ${what} in canonical form, such as ${example}` })
    .meta({ examples: [example] });
  return schema as unknown as z.ZodType<T, T>;
}

export const ipSchema = canonical<Ip>(parseIp, "an IP address", "10.0.0.11");
export const cidrSchema = canonical<Cidr>(parseCidr, "a network", "9.0.1.0/24");
const ipInterfaceSchema = canonical<IpInterface>(parseIpInterface, "an address with length", "44.128.0.2/20");
export const macSchema = canonical<Mac>(parseMac, "a MAC address", "70:b3:d5:80:00:02");

/** Becomes part of URLs and of log lines. */
export const agentIdSchema = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
  error: "is not 1 to 64 letters, digits, '.', '_' and '-'",
});
/** RFC 1035 allows 253 characters; what is not printable has no place in a table. */
export const hostnameSchema = z.string().regex(/^[!-~]{1,253}$/, { error: "is not 1 to 253 printable characters" });

export const isolationSchema: z.ZodType<Isolation> = z.union([
  z.literal("closed"),
  z.object({ allow: z.array(z.string()).max(OVERLAYS_MAX) }),
]);
export const egressSchema: z.ZodType<Egress> = z.enum(["routed", "none"]);

const networkRulesSchema: z.ZodType<NetworkRules> = z.object({
  name: z.string(),
  prefixes: z.array(cidrSchema),
  isolation: isolationSchema.optional(),
  egress: egressSchema.optional(),
});

const spaceShape = z.object({
  subnet: cidrSchema.optional(),
  prefix: z.int().optional(),
  subnet6: cidrSchema.optional(),
  prefix6: z.int().optional(),
  draining: z.literal(true).optional(),
});
export const spaceSchema: z.ZodType<Space> = spaceShape;

export const newNetworkSchema: z.ZodType<NewNetwork> = spaceShape.omit({ draining: true }).extend({ name: z.string() });

const overlaySchema: z.ZodType<Overlay> = spaceShape.extend({
  name: z.string(),
  more: z.array(spaceSchema).optional(),
  enabled: z.boolean(),
  phase: z.literal("draining").optional(),
  strictHalves: z.boolean().optional(),
  isolation: isolationSchema.optional(),
  egress: egressSchema.optional(),
});

export const backendSchema: z.ZodType<Backend> = z.object({
  vni: z.int(),
  vtepName: z.string(),
  vtepIp: ipInterfaceSchema,
  vtepIp6: ipInterfaceSchema.optional(),
  vtepMac: macSchema,
  vtepMtu: z.int().optional(),
});

const bridgeSchema: z.ZodType<Bridge> = z.object({
  name: z.string(),
  ip: cidrSchema.optional(),
  ip6: cidrSchema.optional(),
});

const sliceShape = z.object({
  subnet: cidrSchema.optional(),
  subnet6: cidrSchema.optional(),
  draining: z.literal(true).optional(),
});
const sliceSchema: z.ZodType<Slice> = sliceShape;

export const agentOverlaySchema: z.ZodType<AgentOverlay> = sliceShape.extend({
  info: overlaySchema,
  mesosBridge: bridgeSchema.optional(),
  dockerBridge: bridgeSchema.optional(),
  more: z.array(sliceSchema).optional(),
});

export const agentRecordSchema: z.ZodType<AgentRecord> = z.object({
  id: agentIdSchema,
  ip: ipSchema,
  hostname: hostnameSchema,
  backend: backendSchema,
  overlays: z.array(agentOverlaySchema),
  phase: z.literal("draining").optional(),
});

export const restingItemSchema: z.ZodType<RestingItem> = z.object({
  item: z.union([cidrSchema, ipInterfaceSchema]),
  network: z.string().optional(),
  until: z.string(),
  agent: agentIdSchema.optional(),
  removed: z.literal(true).optional(),
});

export const agentNetworkConfigSchema: z.ZodType<AgentNetworkConfig> = z.object({
  allocateSubnet: z.boolean(),
  mesosBridge: z.boolean(),
  dockerBridge: z.boolean(),
});

export const elasticSchema: z.ZodType<Elastic> = z.object({
  threshold: z.number(),
  emptySeconds: z.number().optional(),
  restSeconds: z.number().optional(),
});

export const rulesSchema: z.ZodType<AgentRules> = z.object({
  removeAfterSeconds: z.number().exactOptional(),
  restSeconds: z.number().exactOptional(),
  mayAddNetworks: z.literal(true).exactOptional(),
});

export const assignmentSchema: z.ZodType<Assignment> = z.object({
  agent: agentRecordSchema,
  overlaySubnets: z.array(cidrSchema),
  networks: z.array(networkRulesSchema).max(OVERLAYS_MAX).optional(),
  vtepSubnets: z.array(cidrSchema),
  policies: z.array(policySchema).max(POLICIES_MAX).optional(),
  reservations: z.array(reservationSchema).max(RESERVATIONS_MAX).optional(),
  hosted: z.array(claimSchema).max(HOSTED_MAX).optional(),
  overlayMtu: z.int().optional(),
  enableIpv6: z.boolean(),
  elastic: elasticSchema.optional(),
});

export const peerSchema: z.ZodType<Peer> = z.object({
  id: agentIdSchema,
  ip: ipSchema,
  vtepIp: ipSchema,
  vtepIp6: ipSchema.optional(),
  vtepMac: macSchema,
  subnets: z.array(cidrSchema),
  hosted: z.array(hostedSchema).max(HOSTED_MAX).optional(),
});

const countSchema = z.number().nonnegative();
const halfUsageSchema: z.ZodType<HalfUsage> = z.object({
  half: cidrSchema,
  slice: cidrSchema,
  runtime: z.enum(["cni", "docker"]),
  used: countSchema,
  resting: countSchema,
  free: countSchema,
  draining: z.literal(true).optional(),
  idle: z.literal(true).optional(),
});

/** As many reasons as one host can have, each as short as our own. */
export const datapathStateSchema = z.object({
  level: z.union([z.literal(0), z.literal(1), z.literal(2)]),
  reasons: z.array(z.string().max(STATUS_ERROR_MAX_LENGTH)).max(DATAPATH_REASONS_MAX),
});

export const overlayStatusSchema: z.ZodType<OverlayStatus> = z.object({
  name: z.string(),
  status: z.enum(["STATUS_INVALID", "STATUS_OK", "STATUS_FAILED", "STATUS_CONFIGURING"]),
  error: z.string().optional(),
  containers: z.int().min(0).optional(),
  usage: z.array(halfUsageSchema).optional(),
  reserved: z.array(reservedUseSchema).max(RESERVED_USES_TOLD_MAX).optional(),
  exhausted: z.object({ runtime: z.string().max(RUNTIME_NAME_MAX_BYTES) }).optional(),
});

/** A master of the version before answers a report with nothing. */
export const reportAnswerSchema: z.ZodType<ReportAnswer> = z.object({
  reassigned: z.boolean(),
  exhausted: z.array(z.string()),
});

const foreignIpamSchema: z.ZodType<ForeignIpam> = z.object({
  type: z.string(),
  cniPath: z.array(z.string()),
  args: z.string(),
  config: z.string(),
  gateway: ipSchema.optional(),
  gateway6: ipSchema.optional(),
  dns: z.record(z.string(), z.unknown()).optional(),
});

export const dockerNetworkSchema: z.ZodType<DockerNetwork> = z.object({
  id: z.string(),
  network: z.string(),
  mtu: z.int().optional(),
  internal: z.literal(true).optional(),
});

const dockerEndpointSchema: z.ZodType<DockerEndpoint> = z.object({
  networkId: z.string().optional(),
  mac: macSchema.optional(),
  ifname: z.string().optional(),
  isOwn: z.literal(true).optional(),
  mtu: z.int().optional(),
  internal: z.literal(true).optional(),
  containerId: z.string().optional(),
});

const leaseShape = z.object({
  containerId: z.string(),
  ifname: z.string(),
  network: z.string(),
  netns: z.string(),
  netnsId: z.string(),
  ip: ipSchema.optional(),
  ip6: ipSchema.optional(),
  state: z.enum(["pending", "attached", "mending"]),
  configName: z.string().optional(),
  requestId: z.string(),
  runtime: z.string(),
  since: z.string(),
  name: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  ipam: foreignIpamSchema.optional(),
  docker: dockerEndpointSchema.optional(),
});

const portSchema = z.number().int().min(1).max(65_535);

export const portMappingSchema: z.ZodType<PortMapping> = z.object({
  protocol: z.enum(["tcp", "udp"]),
  hostPort: portSchema,
  containerPort: portSchema,
  hostIp: ipSchema.optional(),
});

const rateSchema = z.number().nonnegative().optional();

export const bandwidthSchema: z.ZodType<Bandwidth> = z.object({
  ingressRate: rateSchema,
  ingressBurst: rateSchema,
  egressRate: rateSchema,
  egressBurst: rateSchema,
});

const attachmentShape = leaseShape.extend({
  hostIfname: z.string(),
  mac: macSchema,
  rank: z.number().int().nonnegative().optional(),
  ports: z.array(portMappingSchema).optional(),
  bandwidth: bandwidthSchema.optional(),
  aliases: z.array(z.string()).optional(),
});

export const attachmentSchema: z.ZodType<Attachment> = attachmentShape;
/** An attachment where there are devices, else a lease alone. */
export const leaseSchema: z.ZodType<Lease | Attachment> = z.union([attachmentShape, leaseShape]);

/** `overlays[0].subnet: is not a network …`, one for each problem, for the message of a fault. */
export function issuesOf(error: z.ZodError): string[] {
  return error.issues.map(({ path, message }) => {
    const where = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
    return `${where.replace(/^\./, "") || "the value"}: ${message}`;
  });
}
