/**
 * A network and IPAM driver that says yes to everything, for tests of what is around a driver: its containers get a device
 * that leads nowhere, and addresses as they come. A network without IPv4 has it of 0.0.0.0, which the kernel takes for none.
 */
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import type { Netns } from "../../src/app/demo/netns.ts";
import { cidr, familyOf, hostCidr, nthAddress } from "../../src/model/ip.ts";

/** The fields that are looked at. */
interface Call {
  readonly Pool?: string;
  readonly PoolID?: string;
  readonly EndpointID?: string;
}

export class StubDriver {
  /** Calls that Docker made, by their names: `NetworkDriver.CreateNetwork`. */
  readonly calls: string[] = [];
  readonly #netns: Netns;
  #server: Server | undefined;
  #addresses = 1n;

  constructor(netns: Netns) {
    this.#netns = netns;
  }

  /** @param pluginDir where Docker looks; the driver's name is `weft` */
  async listen(pluginDir: string): Promise<void> {
    const server = createServer(async (request, response) => {
      let text = "";
      for await (const chunk of request.setEncoding("utf8")) text += chunk;
      const answer = await this.#answer((request.url ?? "").slice(1), text === "" ? {} : (JSON.parse(text) as Call));
      response.end(JSON.stringify(answer));
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(join(pluginDir, "weft.sock"), resolve));
  }

  close(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
  }

  async #answer(method: string, { Pool = "", PoolID = "", EndpointID = "" }: Call): Promise<object> {
    this.calls.push(method);
    const device = `stub${EndpointID.slice(0, 8)}`;
    switch (method) {
      case "Plugin.Activate":
        return { Implements: ["NetworkDriver", "IpamDriver"] };
      case "NetworkDriver.GetCapabilities":
        return { Scope: "local" };
      case "IpamDriver.GetDefaultAddressSpaces":
        return { LocalDefaultAddressSpace: "stub", GlobalDefaultAddressSpace: "stub" };
      case "IpamDriver.RequestPool": {
        const pool = cidr(Pool || "0.0.0.0/32");
        const gateway = familyOf(pool) === 4 ? "169.254.1.1/32" : "fe80::1/64";
        return { PoolID: pool, Pool: pool, Data: { "com.docker.network.gateway": gateway } };
      }
      case "IpamDriver.RequestAddress":
        return { Address: this.#nextOf(PoolID) };
      case "NetworkDriver.CreateEndpoint":
        await this.#netns.ip(`link add ${device} type veth peer name ${device}h`);
        return { Interface: { MacAddress: "02:57:00:00:00:02" } };
      case "NetworkDriver.Join":
        return { InterfaceName: { SrcName: device, DstPrefix: "eth" }, DisableGatewayService: true };
      default:
        return {};
    }
  }

  #nextOf(pool: string): string {
    if (pool === "0.0.0.0/32") return pool;
    this.#addresses += 1n;
    return hostCidr(nthAddress(cidr(pool), this.#addresses));
  }
}
