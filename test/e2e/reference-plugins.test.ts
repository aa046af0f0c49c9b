/**
 * Weft beside the reference plugins of Debian: its addresses under `bridge`, `ptp` and `macvlan`, other plugins'
 * addresses under `weft-cni`, and others behind it in one list.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { Netns } from "../../src/app/demo/netns.ts";
import { PROBE_PORT } from "../../src/app/demo/probe.ts";
import { Probe } from "../../src/app/demo/probe-client.ts";
import { attach, type CniError, type ContainerRef, callCni } from "../../src/app/demo/runtime.ts";
import { messageOf } from "../../src/model/fault.ts";
import { addressOf, ipInterface } from "../../src/model/ip.ts";
import { labOrReason } from "../support/lab.ts";
import { type Cluster, createCluster, hostOf, startContainer, type TestContainer } from "../support/lab-cluster.ts";
import { hostUse } from "../support/leftovers.ts";
import { agentOnMachine, type MachineAgent, OwnNetworks, referenceProblem } from "../support/machine-agent.ts";
import { askUdp, serveUdp } from "../support/udp.ts";

const skip = referenceProblem() ?? (await labOrReason());

const WEFT_IPAM = { type: "weft-ipam", network: "dcos" };
const HALF = /^9\.0\.1\.([2-9]|[1-9]\d|1[01]\d|12[0-6])$/;
/** Where host-local keeps its own. */
const LEASES = "/var/lib/cni/networks";

interface Attached extends ContainerRef {
  readonly inside: Netns;
  readonly ip: string;
  readonly ips: readonly { readonly address: string; readonly gateway?: string }[];
}

describe("reference plugins", { skip }, () => {
  let cluster: Cluster;
  let host: MachineAgent;
  let networks: OwnNetworks;
  let far: TestContainer;
  let count = 0;

  before(async () => {
    const first = await createCluster({ hosts: 2, agents: 1 });
    far = await startContainer(first, 1, "far", ["dcos", "dcos6"]);
    host = await agentOnMachine(first, 2);
    cluster = { ...first, agents: [...first.agents, host.agent] };
    networks = new OwnNetworks(host);
  });

  async function add(network: string): Promise<Attached> {
    count += 1;
    const inside = await Netns.create(`c${count}`);
    const container = { containerId: `id${count}`, netns: inside.path, ifname: "eth0" };
    const { ips } = await attach(networks, network, container);
    return { ...container, inside, ips, ip: addressOf(ipInterface(ips[0]?.address ?? "")) };
  }

  async function call(command: "DEL" | "CHECK", network: string, container: Attached, prevResult?: unknown) {
    const { status, reply } = await callCni(networks, command, network, container, prevResult);
    assert.equal(status, 0, (reply as CniError | undefined)?.msg);
  }

  /** Asks for this very address. @returns whether a container could have it */
  async function isFree(ip: string): Promise<boolean> {
    networks.define("asks", { type: "ptp", ipam: WEFT_IPAM, args: { cni: { ips: [ip] } } });
    try {
      const container = await add("asks");
      assert.equal(container.ip, ip);
      await call("DEL", "asks", container);
      return true;
    } catch (error) {
      assert.match(messageOf(error), new RegExp(`${ip}.* id\\d+`), "it says who has it");
      return false;
    }
  }

  const ping = (from: Netns, to: string) => from.mustRun("ping", ["-n", "-c1", "-W3", to]);
  const leases = async () => (await hostUse(cluster, 2)).leases;

  for (const [name, plugin] of [
    ["bridge", { type: "bridge", bridge: "m-dcos", isGateway: true }],
    ["ptp", { type: "ptp" }],
  ] as const)
    test(`weft-ipam under ${name}: Weft's address, and containers of other hosts answer`, async () => {
      networks.define(name, { ...plugin, ipam: WEFT_IPAM });
      const [one, two] = [await add(name), await add(name)];
      for (const { ip, ips, inside } of [one, two]) {
        assert.match(ip, HALF);
        assert.equal(ips[0]?.gateway, "9.0.1.1");
        await ping(inside, far.ip);
        await ping(far.netns, ip);
      }
      await ping(one.inside, two.ip);
      assert.equal(await isFree(one.ip), false);
      for (const container of [one, two]) {
        await call("DEL", name, container);
        await call("DEL", name, container);
      }
      assert.equal(await isFree(one.ip), true);
    });

  test("weft-ipam under macvlan: containers of one host reach each other", async () => {
    networks.define("macvlan", { type: "macvlan", master: "eth0", ipam: WEFT_IPAM });
    const [one, two] = [await add("macvlan"), await add("macvlan")];
    assert.match(one.ip, HALF);
    await ping(one.inside, two.ip);
    assert.equal(await isFree(two.ip), false);
    for (const container of [one, two]) await call("DEL", "macvlan", container);
    assert.equal(await isFree(two.ip), true);
  });

  test("weft-ipam: GC takes back what lost its namespace", async () => {
    networks.define("ptp", { type: "ptp", ipam: WEFT_IPAM });
    const lost = await add("ptp");
    assert.equal(await isFree(lost.ip), false);
    await lost.inside.delete();
    const gc = { cniVersion: "1.1.0", name: "ptp", type: "ptp", ipam: WEFT_IPAM, weft_socket: host.agent.socket };
    const env = { CNI_COMMAND: "GC", CNI_PATH: networks.binDir, PATH: process.env.PATH };
    const program = join(networks.binDir, "weft-ipam");
    const { status, stdout } = await host.machine.run(program, [], { env, input: JSON.stringify(gc) });
    assert.equal(status, 0, stdout);
    assert.equal(await isFree(lost.ip), true);
  });

  test("host-local under weft-cni: its address, its gateway, given back at DEL", async () => {
    const ipam = { type: "host-local", ranges: [[{ subnet: "172.30.0.0/24" }], [{ subnet: "fd30::/64" }]] };
    // As a configuration may: `runtimeConfig` is what a runtime would add.
    const runtimeConfig = { portMappings: [{ hostPort: 9300, containerPort: 53, protocol: "udp" }] };
    networks.define("foreign-port", { type: "weft-cni", ipam, runtimeConfig });
    const own = await add("foreign-port");
    await serveUdp(own.inside, 53);
    const { address } = hostOf(cluster.lab, 2);
    assert.equal(
      await askUdp(own.inside, address, 9300),
      `${address} ${address.length}`,
      "it reaches its own host port",
    );
    await call("DEL", "foreign-port", own);
    networks.define("foreign", { type: "weft-cni", ipam });
    const [one, two] = [await add("foreign"), await add("foreign")];
    assert.match(one.ip, /^172\.30\.0\.\d+$/);
    assert.match(one.ips[1]?.address ?? "", /^fd30::/);
    await ping(one.inside, two.ip);
    await ping(one.inside, hostOf(cluster.lab, 2).address);
    await ping(hostOf(cluster.lab, 2), one.ip);
    for (const container of [one, two]) await call("DEL", "foreign", container);
    assert.equal(await leases(), 0);
    const held = await host.machine.mustRun("sh", ["-c", `ls ${LEASES}/foreign | grep -E '^(172|fd30)' || true`]);
    assert.equal(held, "", "host-local holds none of them any more");
  });

  test("static under weft-cni", async () => {
    const ipam = { type: "static", addresses: [{ address: "172.31.0.9/24", gateway: "172.31.0.1" }] };
    networks.define("static", { type: "weft-cni", ipam });
    const one = await add("static");
    assert.equal(one.ip, "172.31.0.9");
    await ping(hostOf(cluster.lab, 2), one.ip);
    await call("DEL", "static", one);
    assert.equal(await leases(), 0);
  });

  test("another IPAM plugin's refusal comes through, and nothing is left", async () => {
    networks.define("tiny", { type: "weft-cni", ipam: { type: "host-local", subnet: "172.32.0.0/30" } });
    const only = await add("tiny");
    await assert.rejects(add("tiny"), /host-local.*no IP addresses available/);
    networks.define("nowhere", { type: "weft-cni", ipam: { type: "not-there" } });
    await assert.rejects(add("nowhere"), /not-there/);
    // It needs a device that is there already, and a segment with a server; a routed attachment has neither.
    networks.define("dhcp", { type: "weft-cni", ipam: { type: "dhcp" } });
    await assert.rejects(add("dhcp"), /dhcp/);
    assert.equal(await leases(), 1);
    await call("DEL", "tiny", only);
    assert.equal(await leases(), 0);
    assert.equal((await hostUse(cluster, 2)).veths, 0);
  });

  test("plugins behind weft-cni: tuning, bandwidth and portmap get its result, and work on its device", async () => {
    const portMappings = [{ hostPort: PROBE_PORT, containerPort: PROBE_PORT, protocol: "tcp" }];
    networks.define(
      "chained",
      { type: "weft-cni", network: "dcos" },
      { type: "tuning", sysctl: { "net.core.somaxconn": "333" }, mtu: 1400 },
      { type: "bandwidth", ingressRate: 8_000_000, ingressBurst: 8_000_000 },
      { type: "portmap", snat: true, runtimeConfig: { portMappings } },
    );
    const one = await add("chained");
    assert.match(one.ip, HALF);
    assert.equal((await one.inside.mustRun("cat", ["/proc/sys/net/core/somaxconn"])).trim(), "333");
    const probe = await Probe.start(one.inside);
    assert.equal(await far.probe.ask(one.ip), far.ip);
    const internet = await Probe.start(cluster.lab.internet);
    assert.equal(await internet.ask(hostOf(cluster.lab, 2).address), cluster.lab.internet.address);
    for (const each of [probe, internet]) each.stop();
    await call("DEL", "chained", one);
    assert.equal(await leases(), 0);
  });
});
