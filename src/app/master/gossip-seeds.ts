/**
 * Where a master that begins to lead finds the gossip: other masters led so far, so its own disk may know nobody. Agents
 * have their addresses in their records, and nearly all speak at the usual port. Of those that do not, a few addresses are
 * kept with the cluster's state.
 */
import type { UdpAddress } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import { familyOf } from "../../model/ip.ts";
import { addressText, parseAddress } from "../gossip/gossip-node.ts";
import type { ControlRecords } from "./control-records.ts";

/** The default of `weft agent --gossip-port`. */
export const AGENT_GOSSIP_PORT = 62_501;
/** Fewer than gossip takes, so that what this host's own disk remembers counts as well. */
const SEEDS_MAX = 32;
const KEPT_MAX = 8;

/** Addresses to knock at, spread over all agents: a rack that is down takes only some of them away. */
export function gossipSeeds(records: ControlRecords, at: UdpAddress): readonly string[] {
  const family = familyOf(at.ip);
  const kept = records.gossipAddresses().filter((text) => isOfFamily(text, family));
  const agents = records.agents().filter(({ ip }) => familyOf(ip) === family);
  const room = SEEDS_MAX - kept.length;
  const step = Math.max(1, agents.length / room);
  const picked = Array.from({ length: Math.min(room, agents.length) }, (_, n) => agents[Math.floor(n * step)]);
  return [
    ...kept,
    ...picked.flatMap((agent) => (agent === undefined ? [] : [addressText({ ip: agent.ip, port: AGENT_GOSSIP_PORT })])),
  ];
}

/** Keeps some addresses of agents that are not at the usual port. Which ones of many they are does not matter. */
export class KeptAddresses {
  readonly #records: ControlRecords;
  readonly #dead = new Set<string>();

  constructor(records: ControlRecords) {
    this.#records = records;
  }

  heard(address: string, isAlive: boolean): void {
    if (parseAddress(address)?.port === AGENT_GOSSIP_PORT) return;
    const kept = this.#records.gossipAddresses();
    if (kept.includes(address)) {
      if (isAlive) this.#dead.delete(address);
      else this.#dead.add(address);
      return;
    }
    const dead = kept.find((each) => this.#dead.has(each));
    if (!isAlive || (kept.length >= KEPT_MAX && dead === undefined)) return;
    // A dead one gives way only to a living one: when a whole site seems dead, it may be this master that is cut off.
    const rest = kept.length < KEPT_MAX ? kept : kept.filter((each) => each !== dead);
    try {
      this.#records.change({ who: "master", what: `gossip address ${address} is kept` }, () =>
        this.#records.saveGossipAddresses([...rest, address]),
      );
    } catch (thrown) {
      // A store that refuses, or a term that is over: nobody asked for this, and the next leader hears of it again.
      if (!(thrown instanceof Fault)) throw thrown;
    }
  }
}

function isOfFamily(text: string, family: 4 | 6): boolean {
  const address = parseAddress(text);
  return address !== undefined && familyOf(address.ip) === family;
}
