/**
 * What a Docker engine does with its drivers, on a simulated host: the calls of one start and one stop in their order, the
 * device moved into the sandbox between them, and after an error the calls with which Docker cleans up. An agent that
 * does not answer hears nothing of them, and the engine forgets the endpoint all the same (docker-facts: 20.10).
 */
import assert from "node:assert/strict";
import type { AttachedNetwork, EngineNetwork } from "../../src/core/docker/engine.ts";
import type { DockerEngine } from "../../src/io/ports.ts";
import { Fault } from "../../src/model/fault.ts";
import { ipInterface } from "../../src/model/ip.ts";
import type { FakeAttachRig } from "./attach-rig.ts";

/** 64 digits, as Docker has them. */
export const engineId = (text: string): string => Buffer.from(text).toString("hex").padEnd(64, "0");

interface Container {
  readonly name: string;
  readonly networkId: string;
  readonly endpointId: string;
  readonly sandbox: string;
  readonly addresses: readonly string[];
  readonly device?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
type Json = any;

export class EngineHand {
  /** An agent that is away is not told anything. */
  isAway = false;
  /** Called before each call; what it throws, the engine has instead of an answer. */
  before: (method: string) => Promise<void> = async () => {};
  readonly calls: string[] = [];
  readonly networks = new Map<string, EngineNetwork>();
  readonly containers = new Map<string, Container>();
  readonly #rig: FakeAttachRig;
  #starts = 0;

  constructor(rig: FakeAttachRig) {
    this.#rig = rig;
  }

  /** @throws Error with the refusal's text */
  async call(method: string, body: object): Promise<Json> {
    if (this.isAway) throw new Error("Unable to connect to plugin");
    await this.before(method);
    const driver = ["RequestPool", "ReleasePool", "RequestAddress", "ReleaseAddress"].includes(method)
      ? "IpamDriver"
      : "NetworkDriver";
    this.calls.push(method);
    try {
      return await this.#rig.service.docker.answer(`/${driver}.${method}`, Buffer.from(JSON.stringify(body)));
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      throw new Error(`remote: ${thrown.message}`);
    }
  }

  /** `docker network create` for a network of the cluster. @returns its id */
  async network(name: string, options: { readonly internal?: true; readonly mtu?: number } = {}): Promise<string> {
    const id = engineId(`network ${name} ${JSON.stringify(options)}`);
    const { info } = this.#rig.context.assignment.agent.overlays.find((each) => each.info.name === name) ?? {};
    const generic = {
      "weft.network": name,
      ...(options.mtu && { "com.docker.network.driver.mtu": String(options.mtu) }),
    };
    const pools = [info?.subnet ?? "198.18.0.0/15", ...(info?.subnet6 ? [info.subnet6] : [])];
    await this.#make(id, generic, pools, options.internal);
    const shape = { driver: "weft", ipamDriver: "weft", ipamOptions: {}, pools: [], labels: {}, scope: "local" };
    const flags = { internal: options.internal === true, enableIpv6: info?.subnet6 !== undefined };
    this.networks.set(id, { ...shape, ...flags, id, name, options: { "weft.network": name } });
    return id;
  }

  /** `docker network create` with these subnets, for a network of any name. */
  async create(name: string, pools: readonly string[], options: Readonly<Record<string, string>> = {}): Promise<void> {
    const id = engineId(`network ${name}`);
    const own = { "weft.network": name };
    await this.#make(id, { ...own, ...options }, pools, false, own);
    const shape = { driver: "weft", ipamDriver: "weft", internal: false, labels: {}, scope: "local" };
    const enableIpv6 = pools.some((subnet) => subnet.includes(":"));
    const subnets = pools.map((subnet) => ({ subnet }));
    this.networks.set(id, { ...shape, ipamOptions: own, options: own, enableIpv6, pools: subnets, id, name });
  }

  async #make(id: string, generic: Json, pools: readonly string[], internal = false, ipam = generic): Promise<void> {
    const data: Json[] = [];
    for (const Pool of pools) {
      const V6 = Pool.includes(":");
      const pool = await this.call("RequestPool", { AddressSpace: "weft", Pool, SubPool: "", Options: ipam, V6 });
      const asked = { RequestAddressType: "com.docker.network.gateway" };
      const { Address } = await this.call("RequestAddress", { PoolID: pool.PoolID, Address: "", Options: asked });
      data.push({ AddressSpace: "weft", Gateway: Address, Pool: pool.Pool, V6 });
    }
    await this.call("CreateNetwork", {
      NetworkID: id,
      Options: {
        "com.docker.network.generic": generic,
        ...(internal && { "com.docker.network.internal": true }),
      },
      IPv4Data: data.filter(({ V6 }) => !V6),
      IPv6Data: data.filter(({ V6 }) => V6),
    });
  }

  /** `docker run`. @throws Error as Docker says it, after its own cleaning up */
  async start(name: string, networkId: string, ports: readonly object[] = [], asked?: string): Promise<Container> {
    const network = this.networks.get(networkId)?.name ?? "";
    const sandbox = `/run/docker/netns/${name}-${++this.#starts}`;
    const ids = { NetworkID: networkId, EndpointID: engineId(`endpoint ${name} ${this.#starts}`) };
    const addresses: string[] = [];
    const endpoint: Container = { name, networkId, endpointId: ids.EndpointID, sandbox, addresses };
    const Options = { "com.docker.network.portmap": ports };
    const families = this.networks.get(networkId)?.enableIpv6 ? [4, 6] : [4];
    try {
      for (const family of families) {
        const Address = family === 4 ? (asked ?? "") : "";
        addresses.push((await this.call("RequestAddress", { PoolID: `${network}/${family}`, Address })).Address);
      }
      const Interface = { Address: addresses[0], AddressIPv6: addresses[1] ?? "", MacAddress: "" };
      await this.call("CreateEndpoint", { ...ids, Interface, Options });
      this.containers.set(name, endpoint); // from here on it is listed
      const joined = await this.call("Join", { ...ids, SandboxKey: sandbox, Options });
      const device = joined.InterfaceName.SrcName as string;
      this.containers.set(name, { ...endpoint, device });
      await this.#rig.newNetns(sandbox);
      this.#rig.machine.giveLink(device, sandbox, "eth0");
      const inside = await this.#rig.kernel.enter(sandbox);
      await inside.apply([
        { op: "link.set", name: "eth0", up: true },
        ...addresses.map((address) => {
          return { op: "address.replace", address: { dev: "eth0", address: ipInterface(address) } } as const;
        }),
      ]);
      await this.call("ProgramExternalConnectivity", { ...ids, Options });
      return this.containers.get(name) ?? endpoint;
    } catch (error) {
      await this.#end(this.containers.get(name) ?? endpoint);
      throw error;
    }
  }

  /** `docker stop`, which never fails. */
  async stop(name: string): Promise<void> {
    const container = this.containers.get(name);
    assert.ok(container, `${name} runs`);
    await this.#end(container);
  }

  /** Each call once; what is not heard is not said again. */
  async #end({ name, endpointId, networkId, sandbox, addresses, device }: Container): Promise<void> {
    const ids = { NetworkID: networkId, EndpointID: endpointId };
    const tell = (method: string, body: object) => this.call(method, body).catch(() => {});
    if (device !== undefined) {
      await tell("RevokeExternalConnectivity", ids);
      this.#rig.machine.returnLink(sandbox, "eth0", device);
      await tell("Leave", ids);
    }
    if (this.containers.delete(name)) await tell("DeleteEndpoint", ids);
    const network = this.networks.get(networkId)?.name ?? "";
    for (const [i, address] of addresses.entries())
      await tell("ReleaseAddress", { PoolID: `${network}/${i === 0 ? 4 : 6}`, Address: address.split("/")[0] });
    if (this.#rig.machine.netns(sandbox) !== undefined) this.#rig.machine.deleteNetns(sandbox);
  }

  /** The engine's own lists. */
  get engine(): Pick<DockerEngine, "networks" | "network"> {
    return {
      networks: async () => [...this.networks.values()],
      network: async (id): Promise<AttachedNetwork | undefined> => {
        const network = this.networks.get(id);
        const inIt = [...this.containers.values()].filter(({ networkId }) => networkId === id);
        const endpoints = inIt.map(({ endpointId, name }) => ({ endpointId, name, addresses: [] }));
        return network && { ...network, endpoints };
      },
    };
  }
}
