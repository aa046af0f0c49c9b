/**
 * Networks while they carry traffic: added, changed, drained and removed without a restart of anything. What agents hold
 * is never taken from them by a change; what would do so is refused with the reason, and a removal goes by draining:
 * no new containers, then none at all, then no agent has it any more.
 */
import { z } from "zod";
import { parseClusterConfig, parseNetworkSource } from "../../core/config/cluster-config.ts";
import { differences, networkChanges } from "../../core/ipam/network-changes.ts";
import { reconfigure } from "../../core/ipam/reconfigure.ts";
import { type SpaceEdit, withSpaces } from "../../core/ipam/spaces.ts";
import type { AgentRecord } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { cidr, contains } from "../../model/ip.ts";
import { SPACES_MAX } from "../../model/limits.ts";
import { type NewNetwork, prefixesOf } from "../../model/network.ts";
import type { NetworkSource, OverlaySource } from "../../model/network-source.ts";
import { issuesOf } from "../../model/schemas.ts";
import type { Cluster } from "./cluster.ts";
import { type Effective, laidOver } from "./effective.ts";

/** What applying a configuration would do. */
export interface Plan {
  /** One line each, as `networkChanges` and for the settings. */
  readonly changes: readonly string[];
  /** What of it is not taken, and why. */
  readonly refused: readonly string[];
}

/** One agent that keeps a network from being removed. */
export interface Holder {
  readonly agent: string;
  readonly hostname: string;
  /** Containers in the network, as the agent said last; absent: it never said. */
  readonly containers?: number;
  readonly connected: boolean;
}

/** Changes of a network's definition; `null` takes a field away, `spaces` holds steps for its address spaces. */
export type NetworkPatch = Readonly<Record<string, unknown>>;

export class NetworkAdmin {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** @param definition as in the file @throws Fault bad-config, in-use */
  add(definition: Readonly<Record<string, unknown>>, who: string): void {
    const { source } = this.#cluster.effective;
    const { name } = definition;
    if (source.overlays.some((overlay) => overlay.name === name))
      throw new Fault("in-use", `there is a network ${name} already; change it with 'weft network set ${name}'`);
    const [changes] = this.#force([...source.overlays, definition], who);
    if (changes === undefined) throw new Fault("bad-config", `network ${name} was not added`);
  }

  /**
   * Adds a network that an agent's user wants. One that is there just so is as good as added.
   * @throws Fault forbidden unless the operator lets agents do so; bad-config, in-use
   */
  addFor({ id }: AgentRecord, network: NewNetwork): void {
    const { effective, config } = this.#cluster;
    const known = effective.source.overlays.find(({ name }) => name === network.name);
    if (known !== undefined && SPACE.every((key) => known[key] === network[key])) return;
    if (known === undefined && config.agents?.mayAddNetworks !== true)
      throw new Fault(
        "forbidden",
        `the cluster has no network ${network.name}; networks are added with 'weft network add', on a master's host; to ` +
          "let hosts add them set agents: { may_add_networks: true } in the cluster's configuration, and 'weft apply' it",
        { network: network.name, agent: id },
      );
    this.add(network, `agent ${id}`);
  }

  /** @throws Fault unknown-network, bad-config, in-use */
  set(name: string, { spaces, ...patch }: NetworkPatch, who: string): readonly string[] {
    const known = withSpaces(this.#known(name), editsOf(spaces));
    if ("name" in patch) throw new Fault("bad-request", "a network keeps its name; add another one and drain this one");
    const changed = Object.entries({ ...known, ...patch }).filter(([, value]) => value !== null && value !== undefined);
    const overlays = this.#cluster.effective.source.overlays.map((overlay) =>
      overlay.name === name ? Object.fromEntries(changed) : overlay,
    );
    return this.#force(overlays, who);
  }

  /** Who holds containers in the network, or may. */
  holders(name: string): readonly Holder[] {
    this.#known(name);
    return this.#cluster.agents().flatMap(({ id, hostname, connected, overlays, statuses }) => {
      if (!overlays.some(({ info }) => info.name === name)) return [];
      const containers = statuses.find((status) => status.name === name)?.containers;
      return containers === 0
        ? []
        : [{ agent: id, hostname, connected, ...(containers !== undefined && { containers }) }];
    });
  }

  /**
   * Takes the network from all agents and forgets it.
   * @param isForced although containers are in it, which then have no network any more
   * @throws Fault unknown-network, in-use
   */
  remove(name: string, isForced: boolean, who: string): void {
    const known = this.#known(name);
    const { source, settings } = this.#cluster.effective;
    if (source.overlays.length === 1)
      throw new Fault("in-use", `${name} is the only network; add another one before it is removed`);
    if (settings.defaultNetwork === name)
      throw new Fault("in-use", `${name} is the default network; name another one in the file and 'weft apply' it`);
    const held = this.holders(name);
    if (!isForced && known.phase !== "draining" && held.length > 0)
      throw new Fault("in-use", `network ${name} takes new containers; 'weft network drain ${name}' first`);
    if (!isForced && held.length > 0) throw stillHeld(name, held);
    const overlays = source.overlays.flatMap((overlay) =>
      overlay.name === name ? [] : [withoutAllowed(overlay, name)],
    );
    this.#cluster.force({ source: { ...source, overlays }, settings }, { who, what: `network ${name} removed` }, name);
  }

  /** @param text of a configuration file @throws Fault bad-config */
  plan(text: string): Plan {
    return this.#planOf(this.#laidOver(text));
  }

  /** @returns what was done @throws Fault bad-config */
  apply(text: string, who: string): Plan {
    const next = this.#laidOver(text);
    this.#requireUnderlayOutside(next.source);
    const plan = this.#planOf(next);
    this.#cluster.force(next, { who, what: eventText(plan.changes) });
    return plan;
  }

  #laidOver(text: string): Effective {
    const { effective, reservations } = this.#cluster;
    return laidOver(effective.source, this.#cluster.agents(), parseClusterConfig(text), reservations.list());
  }

  #planOf(next: Effective): Plan {
    const { source, settings } = this.#cluster.effective;
    const { file: _, refused: __, ...before } = settings;
    const { file: ___, refused, ...after } = next.settings;
    return { changes: [...differences(before, after), ...networkChanges(source, next.source)], refused };
  }

  /** @returns what changed @throws Fault bad-config, in-use */
  #force(overlays: readonly unknown[], who: string): readonly string[] {
    const { source, settings } = this.#cluster.effective;
    const wanted = parseNetworkSource({ ...source, overlays }, settings.enableIpv6);
    this.#requireUnderlayOutside(wanted);
    const reserved = this.#cluster.reservations.list();
    const { network, refused } = reconfigure(source, this.#cluster.agents(), wanted, reserved);
    if (refused.length > 0) throw new Fault("in-use", refused.join("; "), { refused });
    const changes = networkChanges(source, network);
    if (changes.length > 0) this.#cluster.force({ source: network, settings }, { who, what: eventText(changes) });
    return changes;
  }

  /**
   * A network that holds the address of a host would end every tunnel to that host, of all networks.
   * @throws Fault bad-config
   */
  #requireUnderlayOutside({ overlays }: NetworkSource): void {
    const had = new Set(this.#cluster.config.network.overlays.flatMap(prefixesOf));
    for (const { name, prefix } of overlays.flatMap((each) =>
      prefixesOf(each).map((text) => ({ name: each.name, prefix: cidr(text) })),
    ))
      for (const { id, hostname, ip } of had.has(prefix) ? [] : this.#cluster.agents())
        if (contains(prefix, ip))
          throw new Fault(
            "bad-config",
            `network ${name}: ${prefix} holds ${ip}, the address of ${hostname}; no tunnel would reach that host any ` +
              "more; give a space without hosts in it",
            { network: name, agent: id },
          );
  }

  #known(name: string): OverlaySource {
    const { overlays } = this.#cluster.effective.source;
    const known = overlays.find((overlay) => overlay.name === name);
    if (known !== undefined) return known;
    const names = overlays.map((overlay) => overlay.name).join(", ");
    throw new Fault("unknown-network", `there is no network ${name}; there are ${names}`, { network: name });
  }
}

const SPACE = ["subnet", "prefix", "subnet6", "prefix6"] as const;

/** Whoever is called so later was not meant. */
function withoutAllowed(overlay: OverlaySource, name: string): OverlaySource {
  const { isolation } = overlay;
  if (typeof isolation !== "object") return overlay;
  return { ...overlay, isolation: { allow: isolation.allow.filter((each) => each !== name) } };
}

const editsSchema: z.ZodType<readonly SpaceEdit[]> = z
  .array(
    z.union([
      z.object({
        op: z.literal("add"),
        space: z.strictObject({
          subnet: z.string().exactOptional(),
          prefix: z.int().exactOptional(),
          subnet6: z.string().exactOptional(),
          prefix6: z.int().exactOptional(),
        }),
      }),
      z.object({ op: z.enum(["drain", "resume", "remove"]), subnet: z.string() }),
    ]),
  )
  .max(2 * SPACES_MAX);

/** @throws Fault bad-request */
function editsOf(spaces: unknown): readonly SpaceEdit[] {
  const parsed = editsSchema.safeParse(spaces ?? []);
  if (parsed.success) return parsed.data;
  throw new Fault("bad-request", `spaces: ${issuesOf(parsed.error)[0] ?? "not a list of steps"}`);
}

function stillHeld(name: string, held: readonly Holder[]): Fault {
  const shown = held.slice(0, 5).map(({ hostname, containers, connected }) => {
    const what = containers === undefined ? "did not say" : `${containers} containers`;
    return `${hostname}: ${what}${connected ? "" : " when it was last heard of"}`;
  });
  const more = held.length > shown.length ? ` and ${held.length - shown.length} more` : "";
  return new Fault(
    "in-use",
    `network ${name} is still held (${shown.join("; ")}${more}); wait until they are gone, or give --force: ` +
      "those containers then lose this network at once",
    { network: name, agents: held.map(({ agent }) => agent) },
  );
}

const EVENT_CHANGES = 3;

function eventText(changes: readonly string[]): string {
  const more = changes.length > EVENT_CHANGES ? `; and ${changes.length - EVENT_CHANGES} more` : "";
  return changes.length === 0 ? "the same configuration applied" : changes.slice(0, EVENT_CHANGES).join("; ") + more;
}
