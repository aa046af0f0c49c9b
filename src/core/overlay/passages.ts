/**
 * What another firewall lets through of ours (docs/decisions/0039). Docker has the kernel drop whatever is forwarded and
 * is not its own, and leaves a chain to others where they may allow more.
 *
 * Let through is what goes to a container, and what a container sends into the tunnel or out by a device that leads
 * away from this host. Never what a container sends into other people's bridges and pairs: who gets in there is theirs
 * to say.
 */
import { OWNER } from "../../model/names.ts";
import type { NftRule, NftStatement, Passage } from "../host/host-state.ts";
import { type OverlayContext, servedFamilies } from "./context.ts";

/** Every container's device. */
const CONTAINERS = `${OWNER}*`;

/**
 * @param observed the chains that there are. Ours are in the one that Docker leaves to others; where there is none, or a
 * flush of all rules took the way to it, they are before Docker's own.
 */
export function passages(context: OverlayContext, observed: readonly Passage[]): readonly Passage[] {
  return servedFamilies(context).flatMap((number) => {
    const family = number === 4 ? "ip" : "ip6";
    const asked = observed.filter((each) => each.family === family && each.isAsked === true);
    const place = asked.find(({ chain }) => chain === "DOCKER-USER") ?? asked[0];
    return place === undefined ? [] : [{ family, chain: place.chain, rules: passageRules(context) }];
  });
}

function passageRules({ assignment, facts }: OverlayContext): readonly NftRule[] {
  const from: NftStatement = { kind: "iifname", device: CONTAINERS };
  const ways = [assignment.agent.backend.vtepName, ...facts.uplinks];
  return [
    allow({ kind: "oifname", device: CONTAINERS }),
    ...ways.map((device) => allow(from, { kind: "oifname", device })),
  ];
}

/** With a counter, as iptables writes every rule: what it saves and restores is the same rule again. */
function allow(...matches: readonly NftStatement[]): NftRule {
  return [...matches, { kind: "counter" }, { kind: "accept" }, { kind: "comment", text: OWNER }];
}
