/**
 * A network that a user of Docker wants the cluster to have, as the cluster would define it. What the user does not say
 * follows from the subnets: slices as they are usual, or shorter ones where a subnet would be used up by a few hosts.
 */
import { Fault } from "../../model/fault.ts";
import { type Cidr, type Family, familyOf, lengthOf } from "../../model/ip.ts";
import { AGENT_SUBNET_LENGTH_MAX_IPV4, AGENT_SUBNET_LENGTH_MAX_IPV6 } from "../../model/limits.ts";
import { networkNameProblem } from "../../model/names.ts";
import type { NewNetwork } from "../../model/network.ts";
import { NETWORK_OPTION, STAND_IN } from "./engine.ts";
import type { NetworkRequest, PoolRequest } from "./messages.ts";

const USUAL: Readonly<Record<Family, number>> = { 4: 24, 6: 80 };
const LONGEST: Readonly<Record<Family, number>> = { 4: AGENT_SUBNET_LENGTH_MAX_IPV4, 6: AGENT_SUBNET_LENGTH_MAX_IPV6 };
/** Bits for as many hosts as a subnet has slices for, if it can. */
const HOST_BITS = 4;

/** The pool of a network that is not there yet. @throws Fault bad-request */
export function newPool(name: string, { pool, subPool, family }: PoolRequest, enableIpv6: boolean): Cidr {
  const problem = networkNameProblem(name);
  if (problem !== undefined) throw new Fault("bad-request", `the network's name ${problem}; give another one`);
  if (pool === undefined)
    throw new Fault("bad-request", `the cluster has no network ${name}; to add it give --subnet, such as 10.99.0.0/16`);
  if (subPool !== undefined)
    throw new Fault(
      "bad-request",
      `--ip-range ${subPool}: which addresses a host gives is the cluster's choice; leave it out`,
    );
  if (family === 6 && !enableIpv6) throw new Fault("bad-request", "the cluster has no IPv6; leave --ipv6 out");
  return pool;
}

/**
 * @param asked the pool of each family that the address driver was asked for under this name
 * @throws Fault bad-request
 */
export function newNetwork(
  name: string,
  { pools, lengths }: Pick<NetworkRequest, "pools" | "lengths">,
  asked: (family: Family) => Cidr | undefined,
): NewNetwork {
  const subnets = pools.map(({ pool }) => pool);
  if (subnets.some((subnet) => subnet !== asked(familyOf(subnet))))
    throw new Fault(
      "bad-request",
      `network ${name} is new: give --ipam-opt ${NETWORK_OPTION}=${name} and -o ${NETWORK_OPTION}=${name}, and one subnet ` +
        "of each family",
    );
  const spaceOf = (family: Family) => {
    const subnet = subnets.find((each) => familyOf(each) === family && each !== STAND_IN);
    return subnet && { subnet, prefix: lengths[family] ?? sliceLength(subnet) };
  };
  const [four, six] = [spaceOf(4), spaceOf(6)];
  return { name, ...four, ...(six && { subnet6: six.subnet, prefix6: six.prefix }) };
}

function sliceLength(subnet: Cidr): number {
  const family = familyOf(subnet);
  return Math.min(Math.max(USUAL[family], lengthOf(subnet) + HOST_BITS), LONGEST[family]);
}
