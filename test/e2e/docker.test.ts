/**
 * Debian's Docker Engine on two hosts of a lab, each with its own: what people do with containers on the cluster's
 * networks. What happens when something is killed in the middle of it is in docker-weather.test.ts.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { type DockerHost, dockerSkip, startDocker } from "../support/docker.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster, hostOf, weft } from "../support/lab-cluster.ts";
import { type Addresses, IMAGE, imageTar } from "../support/podman.ts";

const skip = dockerSkip() ?? (await labOrReason());

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - {name: dcos, subnet: 9.0.0.0/8, prefix: 26}
    - {name: dcos6, subnet6: "fd01:b::/64", prefix6: 80}
    - {name: both, subnet: 192.168.0.0/16, prefix: 24, subnet6: "fd01:c::/64", prefix6: 80}
enable_ipv6: true
`;
const SETTLE_MS = 10_000;

function composeProblem(): string | false {
  return spawnSync("docker-compose", ["version"]).status === 0 ? false : "docker-compose is not installed here";
}

describe("Docker", { skip }, () => {
  let cluster: Cluster;
  let one: DockerHost;
  let two: DockerHost;
  /** Of a container on host 2 that is on all networks. */
  let far: Addresses;

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: CONFIG });
    const tar = await imageTar();
    one = await startDocker(agentOf(cluster, 1), tar);
    two = await startDocker(agentOf(cluster, 2), tar);
    for (const host of [one, two]) await hasNetworks(host);
    await two.start("far", "--network", "dcos");
    await two.do("network", "connect", "dcos6", "far");
    await two.do("network", "connect", "both", "far");
    far = await two.addresses("far");
  });
  afterEach(async () => {
    // One that failed must not make the next ones fail.
    const left = (await one.do("ps", "--all", "--quiet")).split("\n").filter((id) => id !== "");
    if (left.length > 0) await one.do("rm", "--force", ...left);
    const { status, stdout, stderr } = await weft(["ipam", "check", "--agent", agentOf(cluster, 1).address]);
    assert.equal(status, 0, `weft ipam check: ${stdout}${stderr}`);
    assert.deepEqual(await endpoints(1), []);
  });
  after(() => Promise.all([one, two].map((host) => host?.machine.stop())));

  async function hasNetworks(host: DockerHost): Promise<void> {
    await waitFor("the networks to come to Docker", SETTLE_MS, async () => {
      const names = (await host.do("network", "ls", "--format", "{{.Driver}} {{.Name}}")).trim().split("\n");
      return ["weft dcos", "weft dcos6", "weft both"].every((each) => names.includes(each)) || undefined;
    });
  }

  async function endpoints(host: number): Promise<readonly { network: string; addresses: string[] }[]> {
    const answer = await agentOf(cluster, host).get("/v1/endpoints");
    return (answer as { endpoints: { network: string; addresses: string[] }[] }).endpoints;
  }

  /** A container of host 1 and the one on host 2 reach each other over these networks, both with addresses of their own. */
  async function talks(name: string, ...networks: readonly string[]): Promise<void> {
    const near = await one.addresses(name);
    assert.deepEqual(Object.keys(near).sort(), networks.toSorted());
    for (const network of networks)
      for (const [i, theirs] of (far[network] ?? []).entries()) {
        const mine = near[network]?.[i] ?? "";
        assert.equal(await one.ask(name, theirs), mine, `${name} → far over ${network}`);
        assert.equal(await two.ask("far", mine), theirs, `far → ${name} over ${network}`);
      }
  }

  test("docker run --network on any network, with no other step", async () => {
    for (const network of ["dcos", "dcos6", "both"]) {
      await one.start(network, "--network", network);
      await talks(network, network);
    }
    const { stdout } = await one.exec("both", "ip", "-6", "addr");
    assert.doesNotMatch(stdout, /global.*tentative/);
  });

  test("several networks on one container, connected and disconnected while it runs", async () => {
    await one.start("near", "--network", "dcos");
    await one.do("network", "connect", "both", "near");
    await talks("near", "dcos", "both");
    await one.do("network", "connect", "dcos6", "near");
    await talks("near", "dcos", "both", "dcos6");
    await one.do("network", "disconnect", "dcos", "near");
    await talks("near", "both", "dcos6");
    await one.do("network", "connect", "dcos", "near");
    await talks("near", "both", "dcos6", "dcos");
    const rules = await one.exec("near", "ip", "rule");
    assert.equal(rules.stdout.match(/lookup \d+/g)?.length, 2, rules.stdout);
  });

  test("an interface that the agent made by itself outlives a restart of engine and agent, and goes at a disconnect", async () => {
    await one.start("kept", "--network", "dcos");
    for (const network of ["dcos6", "both"]) await one.do("network", "connect", network, "kept");
    const names = async () => (await one.exec("kept", "ip", "-o", "link")).stdout.match(/(eth|weft)\d+/g)?.sort();
    assert.deepEqual(await names(), ["eth0", "weft0", "weft1"]);
    await Promise.all([one.docker.stop("SIGKILL"), agentOf(cluster, 1).stop("SIGKILL")]);
    await agentOf(cluster, 1).start();
    await one.docker.start(["--live-restore"]);
    await talks("kept", "dcos", "dcos6", "both");
    await one.do("network", "disconnect", "dcos6", "kept");
    assert.deepEqual(await names(), ["eth0", "weft1"]);
    await one.do("network", "connect", "bridge", "kept");
    await one.do("network", "connect", "dcos6", "kept");
    assert.deepEqual(await names(), ["eth0", "eth1", "weft0", "weft1"]);
    await talks("kept", "bridge", "dcos", "dcos6", "both");
    await one.do("network", "disconnect", "dcos", "kept");
    await talks("kept", "bridge", "dcos6", "both");
  });

  test("a container is also on Docker's own bridge, and both its addresses work", async () => {
    await one.start("near");
    await one.do("network", "connect", "dcos", "near");
    const { bridge = [], dcos = [] } = await one.addresses("near");
    assert.equal(await two.ask("far", dcos[0] ?? ""), far.dcos?.[0]);
    assert.equal(await one.askFromHost(bridge[0] ?? "", 80), "172.17.0.1");
    assert.match(await one.askFromHost(dcos[0] ?? "", 80), /^9\.0\.0\./);
  });

  test("a container asks for its gateway under its own address alone: the host remembers nobody else", async () => {
    await one.start("plain");
    await one.start("weft", "--network", "dcos");
    const lie = "10.99.99.99";
    const asked = async (name: string, gateway: string) => {
      const sandbox = (await one.do("inspect", name, "--format", "{{.NetworkSettings.SandboxKey}}")).trim();
      const inside = (...command: string[]) => one.machine.run("nsenter", [`--net=${sandbox}`, ...command]);
      await inside("ip", "address", "add", `${lie}/32`, "dev", "eth0");
      await inside("busybox", "arping", "-c", "2", "-w", "2", "-I", "eth0", "-s", lie, gateway);
      return (await one.machine.mustRun("ip", ["neigh"])).includes(lie);
    };
    assert.equal(await asked("plain", "172.17.0.1"), true, "control: on Docker's own bridge the host takes it in");
    await one.machine.mustRun("ip", ["neigh", "flush", "to", lie]);
    assert.equal(await asked("weft", "9.0.0.33"), false);
  });

  test("--ip and --ip6 give that address or refuse", async () => {
    const asked = await one.start("asked", "--network", "both", "--ip", "192.168.0.200", "--ip6", "fd01:c::8000:0:77");
    assert.deepEqual(asked.both, ["192.168.0.200", "fd01:c::8000:0:77"]);
    await talks("asked", "both");
    const taken = await one.run("taken", "--network", "both", "--ip", "192.168.0.200");
    assert.notEqual(taken.status, 0);
    assert.match(agentOf(cluster, 1).log, /192\.168\.0\.200 is held by container/);
    const elsewhere = await one.run("elsewhere", "--network", "both", "--ip", "192.168.1.200");
    assert.notEqual(elsewhere.status, 0);
    assert.match(agentOf(cluster, 1).log, /192\.168\.1\.200 is no address that this host gives/);
  });

  test("an address that was just freed rests, and is not the next one's", async () => {
    const first = await one.start("first", "--network", "dcos");
    await one.do("rm", "--force", "first");
    const second = await one.start("second", "--network", "dcos");
    assert.notDeepEqual(second, first);
  });

  test("-p leads to the container by every address of the host, for tcp, udp, ranges and both families", async () => {
    const ports = [
      "--publish",
      "8080:80",
      "--publish",
      "9000-9002:80-82",
      "--publish",
      "5353:53/udp",
      "--publish",
      "80",
    ];
    await one.start("web", "--network", "both", ...ports);
    const host = hostOf(cluster.lab, 1);
    for (const address of [host.address, host.address6]) {
      const seen = await two.askFromHost(address, 8080);
      assert.match(seen, /^(10\.0\.0\.11|fd00:10::12)$/, `${address}: ${seen}`);
    }
    assert.equal(await two.askFromHost("10.0.0.11", 9000), "10.0.0.11");
    assert.equal(await one.askFromHost("127.0.0.1", 8080), "10.0.0.11");
    const [web] = (await endpoints(1)) as unknown as {
      ports: { hostPort: number; containerPort: number; protocol: string }[];
    }[];
    const chosen = web?.ports.filter(({ hostPort }) => hostPort >= 61_000) ?? [];
    assert.equal(chosen.length, 1);
    assert.equal(await two.askFromHost("10.0.0.11", chosen[0]?.hostPort ?? 0), "10.0.0.11");
    assert.ok(web?.ports.some(({ protocol, hostPort }) => protocol === "udp" && hostPort === 5353));
    const refused = await one.run("rival", "--network", "both", "--publish", "8080:80");
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /tcp port 8080 of this host is held by container/);
    await one.do("rm", "--force", "web");
    assert.equal(await two.askFromHost("10.0.0.11", 8080).then((text) => /^10\./.test(text)), false);
  });

  test("names and aliases of Docker's own resolver go on working inside a network", async () => {
    const web = await one.start("web", "--network", "dcos", "--network-alias", "shop");
    await one.start("client", "--network", "dcos");
    for (const name of ["web", "shop"])
      assert.equal(await one.ask("client", name), (await one.addresses("client")).dcos?.[0]);
    assert.match((await one.exec("client", "cat", "/etc/resolv.conf")).stdout, /127\.0\.0\.11/);
    assert.ok(web.dcos);
  });

  test("Compose's files with an external network, several networks and a fixed address", {
    skip: composeProblem(),
  }, async () => {
    const file = join(LAB_DIR, "compose.yaml");
    writeFileSync(
      file,
      JSON.stringify({
        version: "3.5",
        services: {
          web: {
            image: IMAGE,
            command: "httpd -f -p 80 -h /www",
            ports: ["8090:80"],
            networks: { dcos: { aliases: ["shop"] }, both: { ipv4_address: "192.168.0.210" } },
          },
          client: { image: IMAGE, command: "sleep 1000", networks: ["dcos"] },
        },
        networks: { dcos: { external: true }, both: { external: true } },
      }),
    );
    const compose = ["--file", file, "--project-name", "shop", "--host", `unix://${one.docker.socket}`];
    await one.machine.mustRun("docker-compose", [...compose, "up", "--detach"]);
    const { both = [] } = await one.addresses("shop_web_1");
    assert.equal(both[0], "192.168.0.210");
    await talks("shop_web_1", "dcos", "both");
    assert.match(await one.ask("shop_client_1", "shop"), /^9\.0\.0\./);
    assert.equal(await two.askFromHost("10.0.0.11", 8090), "10.0.0.11");
    await one.machine.mustRun("docker-compose", [...compose, "down", "--timeout", "0"]);
    await hasNetworks(one);
  });

  test("a network without a way out has none, and its containers talk", async () => {
    const options = ["--opt", "weft.network=dcos", "--ipam-opt", "weft.network=dcos", "--subnet", "9.0.0.0/8"];
    await one.do("network", "create", "--driver", "weft", "--ipam-driver", "weft", "--internal", ...options, "inner");
    await one.start("inner", "--network", "inner");
    const { inner = [] } = await one.addresses("inner");
    assert.equal(await one.ask("inner", far.dcos?.[0] ?? ""), inner[0]);
    assert.doesNotMatch((await one.exec("inner", "ip", "route")).stdout, /default/);
    await one.do("rm", "--force", "inner");
    await one.do("network", "rm", "inner");
  });

  test("wrong networks are refused with a reason and a remedy", async () => {
    const create = async (...args: readonly string[]) =>
      (await one.docker.run(["network", "create", "--driver", "weft", ...args])).stderr;
    assert.match(await create("mine"), /add --ipam-driver weft/);
    const ipam = ["--ipam-driver", "weft"];
    assert.match(
      await create(...ipam, "--subnet", "10.99.0.0/16", "mine"),
      /no network of the cluster has the subnet 10\.99\.0\.0\/16/,
    );
    const named = ["--opt", "weft.network=nowhere", "--ipam-opt", "weft.network=nowhere"];
    assert.match(
      await create(...ipam, ...named, "--subnet", "9.0.0.0/8", "mine"),
      /the cluster has no network nowhere; networks are added with 'weft network add'/,
    );
    const dcos = [...ipam, "--opt", "weft.network=dcos", "--ipam-opt", "weft.network=dcos"];
    assert.match(
      await create(...dcos, "--subnet", "9.0.0.0/16", "mine"),
      /network dcos of the cluster has 9\.0\.0\.0\/8/,
    );
    const whole = [...dcos, "--subnet", "9.0.0.0/8"];
    assert.match(await create(...whole, "--ip-range", "9.0.0.0/24", "mine"), /leave it out/);
    assert.match(await create(...whole, "--gateway", "9.0.0.1", "mine"), /leave --gateway out/);
    assert.match(await create(...whole, "--aux-address", "h=9.0.0.40", "mine"), /leave --aux-address out/);
    assert.match(
      await create(...whole, "--opt", "com.docker.network.driver.mtu=9000", "mine"),
      /carries 552 to \d+ bytes/,
    );
    assert.equal(await create(...whole, "--opt", "com.docker.network.driver.mtu=1300", "mine"), "");
    await one.start("small", "--network", "mine");
    assert.match((await one.exec("small", "ip", "link", "show", "eth0")).stdout, /mtu 1300/);
    await one.do("rm", "--force", "small");
    await one.do("network", "rm", "mine");
  });
});
