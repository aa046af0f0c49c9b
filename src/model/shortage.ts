/**
 * What there is not enough of, as the control plane keeps it while it lasts: slices of a network for agents, or on one
 * host addresses of a network for containers. Its beginning and its end are events.
 */
import { z } from "zod";
import type { Family } from "./ip.ts";

/** No agent gets a slice of the network any more. */
export interface SliceShortage {
  readonly network: string;
  readonly family: Family;
}

/** A container was refused on the agent's host. */
export interface AddressShortage {
  readonly network: string;
  readonly agent: string;
  readonly hostname: string;
  /** Of that container: `podman`, `docker`; empty: not known. */
  readonly runtime: string;
}

export type Shortage = SliceShortage | AddressShortage;

export const shortageSchema: z.ZodType<Shortage> = z.union([
  z.object({ network: z.string(), agent: z.string(), hostname: z.string(), runtime: z.string() }),
  z.object({ network: z.string(), family: z.union([z.literal(4), z.literal(6)]) }),
]);

/** `dcos/4` or `dcos/agent/5b…`: one for each that there can be at a time. */
export function shortageKey(shortage: Shortage): string {
  return "agent" in shortage ? `${shortage.network}/agent/${shortage.agent}` : `${shortage.network}/${shortage.family}`;
}

/** Who notices it, as events say it. */
export function shortageTeller(shortage: Shortage): string {
  return "agent" in shortage ? `agent ${shortage.agent}` : "master";
}

/** As an event says it. */
export function shortageText(shortage: Shortage, isOver: boolean): string {
  const { network } = shortage;
  if (!("agent" in shortage))
    return isOver
      ? `network ${network}: the shortage of IPv${shortage.family} slices is over`
      : `network ${network} is used up: no agent gets an IPv${shortage.family} slice of it until one comes back`;
  const { agent, hostname, runtime } = shortage;
  const refused = runtime === "" ? "one was refused" : `one of ${runtime} was refused`;
  const what = isOver
    ? `the shortage of addresses of network ${network} is over`
    : `network ${network} has no free address for containers; ${refused}`;
  return `agent ${agent} (${hostname}): ${what}`;
}
