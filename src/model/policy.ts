/**
 * Rules between groups of containers, by their labels (docs/decisions/0033).
 *
 * A container that no policy selects as `to` is reached by all, as isolation allows. One that some policy selects is
 * reached, of all containers, only by those that one of its policies lets in; the outside and nodes are no containers.
 */
import { z } from "zod";
import type { Ip } from "./ip.ts";
import {
  LABEL_KEY_MAX_BYTES,
  LABEL_VALUE_MAX_BYTES,
  POLICY_LABELS_MAX,
  POLICY_NAME_MAX_LENGTH,
  POLICY_PORTS_MAX,
} from "./limits.ts";

/** All of these labels, with these values; at least one. */
export type Selector = Readonly<Record<string, string>>;

/** Ports `first` to `last`, both included. */
export interface PolicyPorts {
  readonly protocol: "tcp" | "udp";
  readonly first: number;
  readonly last: number;
}

export interface Policy {
  readonly name: string;
  /** Only containers of this network are meant, on both sides; absent: of all. */
  readonly network?: string;
  readonly from: Selector;
  readonly to: Selector;
  /** Empty: everything. */
  readonly ports: readonly PolicyPorts[];
}

/** A container's place in one network, as far as policies ask. */
export interface PolicyMember {
  readonly network: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly Ip[];
}

/** Where policies are kept. Listed by name, in the order of code units. */
export interface PolicyBook {
  list(): readonly Policy[];
  /** Adds, or takes the place of the one with this name. */
  put(policy: Policy, who: string): void;
  /** @returns whether there was one */
  remove(name: string, who: string): boolean;
}

export function selects(
  selector: Selector,
  { network }: Pick<Policy, "network">,
  member: Omit<PolicyMember, "addresses">,
): boolean {
  if (network !== undefined && member.network !== network) return false;
  return Object.entries(selector).every(
    ([key, value]) => Object.hasOwn(member.labels, key) && member.labels[key] === value,
  );
}

const selectorSchema: z.ZodType<Selector> = z
  .record(
    z.string().refine((key) => key !== "" && Buffer.byteLength(key) <= LABEL_KEY_MAX_BYTES, {
      error: `is no label's key of 1 to ${LABEL_KEY_MAX_BYTES} bytes`,
    }),
    z.string().refine((value) => Buffer.byteLength(value) <= LABEL_VALUE_MAX_BYTES, {
      error: `is longer than ${LABEL_VALUE_MAX_BYTES} bytes`,
    }),
  )
  .refine((labels) => Object.keys(labels).length > 0 && Object.keys(labels).length <= POLICY_LABELS_MAX, {
    error: `selects by 1 to ${POLICY_LABELS_MAX} labels`,
  });

const portSchema = z.int().min(1).max(65_535);
const portsSchema: z.ZodType<PolicyPorts> = z
  .object({ protocol: z.enum(["tcp", "udp"]), first: portSchema, last: portSchema })
  .refine(({ first, last }) => first <= last, { error: "ends before it begins" });

export const policyNameSchema = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, { error: "is not lower-case letters, digits and single '-' between them" })
  .max(POLICY_NAME_MAX_LENGTH);

export const policySchema: z.ZodType<Policy> = z.object({
  name: policyNameSchema,
  network: z.string().optional(),
  from: selectorSchema,
  to: selectorSchema,
  ports: z.array(portsSchema).max(POLICY_PORTS_MAX),
});
