/**
 * Podman 5's way to a network: netavark and its plugin `weft`, on a host of a lab, with a container of another host that
 * CNI attached. One table, by the documented messages, and by the real netavark where there is one.
 */
import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { Netns, type Output } from "../../src/app/demo/netns.ts";
import { PROBE_PORT } from "../../src/app/demo/probe.ts";
import { Probe } from "../../src/app/demo/probe-client.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import {
  agentOf,
  type Cluster,
  createCluster,
  hostOf,
  startContainer,
  type TestContainer,
  weft,
} from "../support/lab-cluster.ts";
import { hostUse } from "../support/leftovers.ts";
import {
  asked,
  findNetavark,
  type PodmanContainer,
  type PodmanNetwork,
  realNetavark,
  type Speaker,
  type Statuses,
  standIn,
} from "../support/netavark.ts";
import { askUdp, serveUdp } from "../support/udp.ts";

const skip = await labOrReason();
const real = await findNetavark();

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: both, subnet: 9.0.0.0/8, prefix: 24, subnet6: "fd01:b::/64", prefix6: 80 }
    - { name: four, subnet: 192.168.0.0/16, prefix: 24 }
    - { name: shut, subnet: 172.20.0.0/16, prefix: 24, egress: none }
`;
const HOST1 = "10.0.0.11";
const HOST1_6 = "fd00:10::11";
const SWEEP_MS = 35_000;

describe("netavark", { skip }, () => {
  let cluster: Cluster;
  let far: TestContainer;
  let count = 0;

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: CONFIG });
    far = await startContainer(cluster, 2, "far", ["both", "four"]);
  });
  afterEach(async () => {
    const { status, stdout, stderr } = await weft(["ipam", "check", "--agent", agentOf(cluster, 1).address]);
    assert.equal(status, 0, `weft ipam check: ${stdout}${stderr}`);
    assert.deepEqual(await hostUse(cluster, 1), { leases: 0, veths: 0, chains: 0, namespaces: 0 });
  });

  function behaviours(open: () => Promise<Speaker>): void {
    let speaker: Speaker;
    /** As `create` made them. */
    let both: PodmanNetwork;
    let four: PodmanNetwork;

    async function created(network: PodmanNetwork): Promise<PodmanNetwork> {
      const { status, stdout, stderr } = await speaker.create(network);
      assert.equal(status, 0, stdout + stderr);
      return JSON.parse(stdout);
    }

    async function newNetns(): Promise<Netns> {
      const netns = await Netns.create(`p${++count}`);
      await netns.setSysctl("ipv6/conf/default/accept_dad", "0");
      return netns;
    }

    /** A container on these networks, eth0 first. */
    const on = (netns: Netns, networks: readonly (readonly [PodmanNetwork, object?])[], ports?: readonly object[]) => {
      const named = networks.map(([network, more], i) => [network, { interface_name: `eth${i}`, ...more }] as const);
      const id = netns.name.padEnd(64, "0");
      return { id, name: `name-${netns.name}`, netns: netns.path, networks: named, ...(ports && { ports }) };
    };

    async function setup(container: PodmanContainer): Promise<Statuses> {
      const { status, stdout, stderr } = await speaker.setup(container);
      assert.equal(status, 0, stdout + stderr);
      return JSON.parse(stdout);
    }

    async function teardown(container: PodmanContainer): Promise<void> {
      const { status, stdout, stderr } = await speaker.teardown(container);
      assert.deepEqual([status, stdout, stderr], [0, "", ""]);
    }

    function refused({ status, stdout }: Output, reason: RegExp): void {
      assert.notEqual(status, 0, stdout);
      assert.match(JSON.parse(stdout).error, reason);
    }

    const addressesOf = (statuses: Statuses, network: string, ifname = "eth0") =>
      statuses[network]?.interfaces[ifname]?.subnets.map(({ ipnet }) => ipnet.split("/")[0] ?? "") ?? [];

    before(async () => {
      speaker = await open();
      both = await created(asked("both"));
      four = await created(asked("podfour", { options: { "weft.network": "four" } }));
    });

    test("create says how the network is in the cluster, and Podman shall not give addresses", async () => {
      assert.deepEqual(both.subnets, [
        { subnet: "9.0.0.0/8", gateway: "9.0.0.1" },
        { subnet: "fd01:b::/64", gateway: "fd01:b::1" },
      ]);
      assert.deepEqual([both.ipv6_enabled, both.internal, both.dns_enabled], [true, false, false]);
      assert.deepEqual(both.ipam_options, { driver: "weft" });
      const options = { "weft.network": "both", "weft.socket": agentOf(cluster, 1).socket };
      assert.deepEqual(both.options, options);
      assert.deepEqual([four.name, four.id], ["podfour", asked("podfour").id], "its own name and id");
      assert.equal(four.subnets?.[0]?.subnet, "192.168.0.0/16");
      assert.equal((await created(asked("shut", { internal: true }))).internal, true);
    });

    test("create refuses what the cluster does not have, with the reason", async () => {
      refused(await speaker.create(asked("nowhere")), /no network nowhere; it has both, four, shut/);
      refused(await speaker.create(asked("both", { options: { mtu: "1400" } })), /options\.mtu: is no option of Weft/);
      refused(await speaker.create(asked("both", { internal: true })), /internal: .*--egress none/);
      const subnets = [{ subnet: "10.99.0.0/16" }];
      refused(
        await speaker.create(asked("both", { subnets })),
        /10\.99\.0\.0\/16 is not both's, which has 9\.0\.0\.0\/8/,
      );
      assert.equal((await created(asked("both", { subnets: [{ subnet: "9.0.0.0/8" }] }))).name, "both");
    });

    test("setup attaches; a container of another host answers; teardown leaves nothing, twice", async () => {
      const netns = await newNetns();
      const container = on(netns, [[both, { aliases: ["web", netns.name.padEnd(12, "0")] }]]);
      const statuses = await setup(container);
      const [ip = "", ip6 = ""] = addressesOf(statuses, "both");
      const { mac_address, subnets } = statuses.both?.interfaces.eth0 ?? { mac_address: "", subnets: [] };
      assert.match(ip, /^9\.0\.0\./);
      assert.match(ip6, /^fd01:b::/);
      assert.deepEqual(
        subnets.map(({ gateway }) => gateway),
        ["9.0.0.1", "fd01:b::1"],
      );
      assert.match(await netns.mustRun("ip", ["link", "show", "eth0"]), new RegExp(mac_address));
      const probe = await Probe.start(netns);
      assert.equal(await probe.ask(far.ip), ip);
      assert.equal(await far.probe.ask(ip), far.ip);
      assert.equal(await probe.ask(far.ip6), ip6);
      probe.stop();
      const { stdout } = await weft(["endpoints", "--agent", agentOf(cluster, 1).address, "--json"]);
      const [endpoint] = JSON.parse(stdout);
      const { runtime, name, aliases, network } = endpoint;
      assert.deepEqual([runtime, name, network], ["podman", container.name, "both"]);
      assert.deepEqual(aliases, ["web", netns.name.padEnd(12, "0")]);
      await teardown(container);
      assert.doesNotMatch(await netns.mustRun("ip", ["link"]), /eth0/);
      await teardown(container);
    });

    test("several networks on a container; when one fails nothing of the others is left", async () => {
      const netns = await newNetns();
      const container = on(netns, [[both], [four]]);
      const statuses = await setup(container);
      const probe = await Probe.start(netns);
      const own = Object.keys(statuses).flatMap((name) => [
        ...addressesOf(statuses, name),
        ...addressesOf(statuses, name, "eth1"),
      ]);
      assert.equal(own.length, 3);
      assert.ok(own.includes(await probe.ask(far.ip)));
      probe.stop();
      await teardown(container);
      const gone = { ...four, name: "gone", options: { "weft.network": "gone" } };
      refused(await speaker.setup(on(netns, [[both], [gone]])), /no network gone/);
    });

    test("static addresses and a MAC; a taken address is refused by its holder's name", async () => {
      const [netns, other] = [await newNetns(), await newNetns()];
      const fixed = { static_ips: ["9.0.0.77", "fd01:b::77"], static_mac: "02:11:22:33:44:55" };
      const container = on(netns, [[both, fixed]]);
      const statuses = await setup(container);
      assert.deepEqual(addressesOf(statuses, "both"), ["9.0.0.77", "fd01:b::77"]);
      assert.equal(statuses.both?.interfaces.eth0?.mac_address, "02:11:22:33:44:55");
      refused(await speaker.setup(on(other, [[both, { static_ips: ["9.0.0.77"] }]])), /9\.0\.0\.77 is held by .*p\d/);
      await teardown(container);
    });

    test("a reserved address comes with the container's name", async () => {
      const container = on(await newNetns(), [[four]]);
      const address = `192.168.0.${50 + count}`;
      const reserve = ["reserve", "--master", cluster.master.address, "four", container.name, address];
      assert.equal((await weft(reserve)).status, 0);
      await waitFor("the agent to be told", 20_000, async () => {
        const status = await agentOf(cluster, 1).get("/v1/status");
        return JSON.stringify(status).includes(container.name) || undefined;
      });
      assert.deepEqual(addressesOf(await setup(container), "podfour"), [address]);
      await teardown(container);
    });

    test("host ports: a range, one address of the host, one family, both protocols", async () => {
      const netns = await newNetns();
      const port = (host_port: number, container_port: number, more: object = {}) => ({
        host_port,
        container_port,
        host_ip: "",
        protocol: "udp",
        range: 1,
        ...more,
      });
      const container = on(
        netns,
        [[both], [four]],
        [
          port(9100, 53, { range: 3 }),
          port(9200, 53, { host_ip: HOST1 }),
          port(9300, 53, { host_ip: "::" }),
          port(8080, PROBE_PORT, { protocol: "tcp,udp", host_ip: "0.0.0.0" }),
        ],
      );
      await setup(container);
      const servers = [await serveUdp(netns, 53), await serveUdp(netns, 55, { bytes: 50 })];
      const { internet } = cluster.lab;
      const ask = (address: string, at: number, ms?: number) => askUdp(internet, address, at, 0, ms);
      assert.match(await ask(HOST1, 9100), /^203\.0\.113\.10 /);
      assert.match(await ask(HOST1, 9102), / 50$/, "the last of the range");
      assert.match(await ask(HOST1_6, 9100), /^2001:db8:113::10 /);
      assert.match(await ask(HOST1, 9200), /^203/);
      assert.match(await ask(HOST1_6, 9300), /^2001/);
      for (const [address, at] of [
        [HOST1_6, 9200],
        [HOST1, 9300],
        [HOST1, 9103],
      ] as const)
        assert.match(await ask(address, at, 300), /ECONNREFUSED|no answer/);
      for (const server of servers) server.kill("SIGKILL");
      const busy = on(await newNetns(), [[both]], [port(9101, 53)]);
      refused(await speaker.setup(busy), /udp port 9101 of this host is held by container/);
      await teardown(container);
    });

    test("a container that starts again in a new namespace, without a teardown, is attached there", async () => {
      const netns = await newNetns();
      const container = on(netns, [[both]]);
      await setup(container);
      const again = await newNetns();
      await netns.delete();
      const statuses = await setup({ ...container, netns: again.path });
      const probe = await Probe.start(again);
      assert.equal(await probe.ask(far.ip), addressesOf(statuses, "both")[0]);
      probe.stop();
      await again.delete();
      await teardown({ ...container, netns: again.path });
    });

    test("with the agent down setup says what to do; what was torn down meanwhile is given back", async () => {
      const netns = await newNetns();
      const container = on(netns, [[both]]);
      const agent = agentOf(cluster, 1);
      await setup(container);
      await agent.stop("SIGKILL");
      refused(await speaker.setup(on(await newNetns(), [[four]])), /the weft agent does not answer on .*start it/);
      refused(await speaker.teardown(container), /the weft agent does not answer/);
      await netns.delete();
      await agent.start();
      await agent.ready();
      await waitFor("its lease to go with its namespace", SWEEP_MS, async () => {
        assert.equal((await hostUse(cluster, 1)).leases, 0);
        return true;
      });
      await teardown(container);
    });
  }

  describe("by the documented messages", () => behaviours(() => standIn(agentOf(cluster, 1))));

  const what = "reason" in real ? "the real one" : `netavark ${real.version}`;
  describe(what, { skip: "reason" in real ? real.reason : false }, () =>
    behaviours(() => {
      assert.ok("path" in real);
      return realNetavark(agentOf(cluster, 1), real.path, real.version);
    }),
  );

  test("the plugin answers for itself while no agent is there", async () => {
    await standIn(agentOf(cluster, 1));
    const plugin = hostOf(cluster.lab, 1).mustRun("/run/weft/netavark-plugins/weft", ["info"]);
    assert.equal(JSON.parse(await plugin).api_version, "1.0.0");
  });
});
