/**
 * Users of Docker add networks to the cluster, on two hosts of a lab with a real engine each: refused with the reason until
 * the operator lets them, and from then on containers of both hosts are on what one user made.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { type DockerHost, dockerSkip, startDocker } from "../support/docker.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, configFile, createCluster, weft } from "../support/lab-cluster.ts";
import { imageTar } from "../support/podman.ts";

const skip = dockerSkip() ?? (await labOrReason());

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - {name: dcos, subnet: 9.0.0.0/8, prefix: 26}
enable_ipv6: true
`;
const ALLOWED = `agents: {may_add_networks: true}\n${CONFIG}`;
const SETTLE_MS = 10_000;

describe("docker network create, of a network that the cluster has not", { skip }, () => {
  let cluster: Cluster;
  let one: DockerHost;
  let two: DockerHost;

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: CONFIG });
    const tar = await imageTar();
    one = await startDocker(agentOf(cluster, 1), tar);
    two = await startDocker(agentOf(cluster, 2), tar);
    for (const host of [one, two]) await has(host, "dcos");
  });
  after(() => Promise.all([one, two].map((host) => host?.machine.stop())));

  /** `docker network create`, as a user says it. */
  function create(host: DockerHost, name: string, ...args: readonly string[]) {
    const options = ["--ipam-driver", "weft", "--opt", `weft.network=${name}`, "--ipam-opt", `weft.network=${name}`];
    return host.docker.run(["network", "create", "--driver", "weft", ...options, ...args, name]);
  }

  /** The networks of Docker's of this name; one each is right. */
  async function idsOf(host: DockerHost, name: string): Promise<readonly string[]> {
    const text = await host.do("network", "ls", "--quiet", "--no-trunc", "--filter", `name=^${name}$`);
    return text.split("\n").filter((id) => id !== "");
  }

  function has(host: DockerHost, name: string): Promise<readonly string[]> {
    return waitFor(`network ${name} in Docker`, SETTLE_MS, async () => {
      const ids = await idsOf(host, name);
      return ids.length > 0 ? ids : undefined;
    });
  }

  /** What weft status says of Docker. */
  async function problems(host: number): Promise<string> {
    const { stdout } = await weft(["status", "--agent", agentOf(cluster, host).address]);
    return stdout.match(/Docker: .*/g)?.join("\n") ?? "";
  }

  test("it is refused with the reason and the remedy, and leaves nothing behind", async () => {
    const { status, stderr } = await create(one, "blue", "--subnet", "10.99.0.0/16");
    assert.notEqual(status, 0);
    assert.match(stderr, /the cluster has no network blue; networks are added with 'weft network add'/);
    assert.match(stderr, /may_add_networks: true/);
    assert.deepEqual(await idsOf(one, "blue"), []);
  });

  test("where the operator lets them, it is on both hosts, and containers on it reach each other", async () => {
    const applied = await weft([
      "apply",
      "-f",
      configFile(ALLOWED, "allowed.yaml"),
      "--master",
      cluster.master.address,
    ]);
    assert.equal(applied.status, 0, applied.stdout + applied.stderr);
    const { status, stderr, stdout } = await create(one, "blue", "--subnet", "10.99.0.0/16");
    assert.equal(status, 0, stderr);
    const near = await one.start("near", "--network", "blue");
    assert.match(near.blue?.[0] ?? "", /^10\.99\./);
    await has(two, "blue");
    const far = await two.start("far", "--network", "blue");
    assert.equal(await one.ask("near", far.blue?.[0] ?? ""), near.blue?.[0]);
    assert.equal(await two.ask("far", near.blue?.[0] ?? ""), far.blue?.[0]);
    const events = await weft(["events", "--json", "--master", cluster.master.address]);
    const all = (JSON.parse(events.stdout) as { events: { who: string; what: string }[] }).events;
    assert.match(all.find(({ what }) => /network blue/.test(what))?.who ?? "", /^agent /);
    assert.deepEqual(await idsOf(one, "blue"), [stdout.trim()], "the user's own, and no other beside it");
    assert.equal(await problems(1), "");
  });

  test("with both families, and slices of the user's own length", async () => {
    const subnets = ["--subnet", "10.98.0.0/16", "--ipv6", "--subnet", "fd09::/64"];
    const { status, stderr } = await create(one, "green", ...subnets, "--opt", "weft.prefix=27");
    assert.equal(status, 0, stderr);
    const near = await one.start("near6", "--network", "green");
    await has(two, "green");
    const far = await two.start("far6", "--network", "green");
    for (const [i, address] of (far.green ?? []).entries())
      assert.equal(await one.ask("near6", address), near.green?.[i], address);
    assert.equal(near.green?.length, 2);
    const { networks } = (await cluster.master.get("/v1/networks")) as { networks: Record<string, unknown>[] };
    const green = networks.find(({ name }) => name === "green");
    assert.deepEqual([green?.prefix, green?.prefix6], [27, 80]);
  });

  test("what the cluster's rules forbid is refused in the cluster's words", async () => {
    for (const [name, subnet, pattern] of [
      ["red", "10.99.128.0/17", /overlaps/],
      ["red", "10.0.0.0/24", /the address of host1|holds 10\.0\.0\.1/],
      ["much-too-long-a-name", "10.97.0.0/16", /at most \d+ fit a device name/],
    ] as const) {
      const { status, stderr } = await create(one, name, "--subnet", subnet);
      assert.notEqual(status, 0);
      assert.match(stderr, pattern);
      assert.deepEqual(await idsOf(one, name), []);
    }
  });

  test("docker network rm removes Docker's alone: it comes back, because the cluster has it", async () => {
    await one.do("rm", "--force", "near");
    const before = await idsOf(one, "blue");
    await one.do("network", "rm", "blue");
    await waitFor("network blue to be back", SETTLE_MS, async () => {
      const ids = await idsOf(one, "blue");
      return ids.length === 1 && ids[0] !== before[0] ? true : undefined;
    });
    const near = await one.start("near", "--network", "blue");
    assert.equal(await two.ask("far", near.blue?.[0] ?? ""), (await two.addresses("far")).blue?.[0]);
  });
});
