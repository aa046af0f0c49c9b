/**
 * A container engine in memory that refuses what Docker refuses: a second network of one name, the removal of one that
 * containers are in, any call while it is away. Its changes are told after the call that made them, as over a socket.
 *
 * Beside the port it has what a test does to an engine by other ways: containers begin and end, the daemon goes and comes.
 */
import type {
  AttachedNetwork,
  ContainerNetwork,
  EngineContainer,
  EngineEndpoint,
  EngineInfo,
  EngineNetwork,
  Health,
  NetworkSpec,
} from "../../core/docker/engine.ts";
import { assert, Fault } from "../../model/fault.ts";
import { addressOf, cidr, type IpInterface, lengthOf, nthAddress, withLength } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import type { DockerEngine, EngineChange, Watch } from "../ports.ts";

export interface SimContainer {
  /** Names of its networks. */
  readonly networks?: readonly string[];
  readonly image?: string;
  readonly labels?: EngineContainer["labels"];
  readonly ports?: EngineContainer["ports"];
  readonly health?: Health;
}

interface Running extends EngineContainer {
  readonly endpoints: ReadonlyMap<string, EngineEndpoint>;
}

interface Watcher {
  readonly onChange: (change: EngineChange) => void;
  readonly onEnd: (reason: Fault) => void;
}

export class SimEngine implements DockerEngine {
  /** What the network's driver does while the engine waits for it; a refusal is the creation's. */
  onCreate: (spec: NetworkSpec) => Promise<void> = async () => {};
  swarm: EngineInfo["swarm"] = "inactive";
  readonly #networks = new Map<string, EngineNetwork>();
  /** By their names. */
  readonly #running = new Map<string, Running>();
  readonly #watchers = new Set<Watcher>();
  #isAway = false;
  #ids = 0;

  async info(): Promise<EngineInfo> {
    this.#mustBeThere();
    return { version: "20.10.24", id: "SIM", swarm: this.swarm };
  }

  async networks(): Promise<readonly EngineNetwork[]> {
    this.#mustBeThere();
    return [...this.#networks.values()];
  }

  async network(id: string): Promise<AttachedNetwork | undefined> {
    this.#mustBeThere();
    const network = this.#networks.get(id);
    return network && { ...network, endpoints: this.#endpointsOf(id) };
  }

  async createNetwork(spec: NetworkSpec): Promise<string> {
    this.#mustBeThere();
    if (this.#named(spec.name) !== undefined) throw new Fault("in-use", `there is a network ${spec.name}; remove it`);
    const id = this.#nextId();
    await this.onCreate(spec).catch((thrown: Error) => {
      throw new Fault("engine-failed", `Docker refuses: remote: ${thrown.message}`);
    });
    this.#mustBeThere();
    this.#networks.set(id, { ...spec, id, scope: "local" });
    this.#tell("network");
    return id;
  }

  async removeNetwork(id: string): Promise<void> {
    this.#mustBeThere();
    if (this.#endpointsOf(id).length > 0) throw new Fault("in-use", `network ${id} has active endpoints; stop them`);
    if (this.#networks.delete(id)) this.#tell("network");
  }

  async containers(): Promise<readonly EngineContainer[]> {
    this.#mustBeThere();
    return [...this.#running.values()].map(({ endpoints: _, ...container }) => container);
  }

  async watch(onChange: (change: EngineChange) => void, onEnd: (reason: Fault) => void): Promise<Watch> {
    this.#mustBeThere();
    const watcher = { onChange, onEnd };
    this.#watchers.add(watcher);
    return { close: () => this.#watchers.delete(watcher) };
  }

  /** `docker run`. @returns the container's id */
  start(name: string, { networks = [], image = "who", labels = {}, ports = [], health }: SimContainer = {}): string {
    assert(!this.#running.has(name), `no container ${name} runs`);
    const id = this.#nextId();
    const parts = networks.map((network) => this.#join(name, id, network));
    this.#running.set(name, {
      id,
      name,
      image,
      labels,
      ports,
      ...(health !== undefined && { health }),
      networks: parts.map(([network, endpoint]) => partOf(network, endpoint)),
      endpoints: new Map(parts.map(([network, endpoint]) => [network.id, endpoint])),
    });
    this.#tell("container");
    if (parts.length > 0) this.#tell("network");
    return id;
  }

  /** `docker stop`, and what a health check finds. */
  stop(name: string): void {
    assert(this.#running.delete(name), `a container ${name} runs`);
    this.#tell("container");
    this.#tell("network");
  }

  setHealth(name: string, health: Health): void {
    const container = this.#running.get(name);
    assert(container !== undefined, `a container ${name} runs`);
    this.#running.set(name, { ...container, health });
    this.#tell("container");
  }

  /** The daemon ends, and its containers with it. */
  halt(): void {
    this.#isAway = true;
    this.#running.clear();
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const { onEnd } of watchers) queueMicrotask(() => onEnd(absent()));
  }

  resume(): void {
    this.#isAway = false;
  }

  #join(name: string, id: string, networkName: string): readonly [EngineNetwork, EngineEndpoint] {
    const network = this.#named(networkName);
    assert(network !== undefined, `the engine has a network ${networkName}`);
    const place = this.#endpointsOf(network.id).length + 2;
    const endpoint: EngineEndpoint = {
      endpointId: this.#nextId(),
      containerId: id,
      name,
      mac: mac(`02:42:00:00:00:${place.toString(16).padStart(2, "0")}`),
      addresses: network.pools.map(({ subnet }) => nthIn(subnet, place)),
    };
    return [network, endpoint];
  }

  #named(name: string): EngineNetwork | undefined {
    return [...this.#networks.values()].find((network) => network.name === name);
  }

  #endpointsOf(id: string): readonly EngineEndpoint[] {
    return [...this.#running.values()].flatMap(({ endpoints }) => endpoints.get(id) ?? []);
  }

  #tell(change: EngineChange): void {
    for (const watcher of this.#watchers)
      queueMicrotask(() => {
        if (this.#watchers.has(watcher)) watcher.onChange(change);
      });
  }

  #nextId(): string {
    this.#ids += 1;
    return this.#ids.toString(16).padStart(64, "0");
  }

  #mustBeThere(): void {
    if (this.#isAway) throw absent();
  }
}

function absent(): Fault {
  return new Fault("not-ready", "the simulated engine does not answer; resume it");
}

function nthIn(subnet: string, place: number): IpInterface {
  const prefix = cidr(subnet);
  return withLength(nthAddress(prefix, BigInt(place)), lengthOf(prefix));
}

function partOf({ id, name }: EngineNetwork, { endpointId, addresses }: EngineEndpoint): ContainerNetwork {
  return { network: name, networkId: id, endpointId, addresses: addresses.map(addressOf) };
}
