/**
 * A real engine's networks follow the cluster's: what the engine makes of what it is asked for is compared with that, and
 * found to be right. The driver behind them is a stub.
 */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { DockerNetworks } from "../../src/app/agent/docker/docker-networks.ts";
import { createLab } from "../../src/app/demo/lab.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { STAND_IN } from "../../src/core/docker/engine.ts";
import { SYSTEM_CLOCK } from "../../src/io/clock.ts";
import { EngineClient } from "../../src/io/docker/engine-client.ts";
import { SILENT_LOG } from "../../src/io/log.ts";
import type { AgentOverlay, Assignment } from "../../src/model/cluster.ts";
import { cidr, contains } from "../../src/model/ip.ts";
import type { Overlay } from "../../src/model/network.ts";
import { type DockerHost, dockerSkip, engineHost, startDocker } from "../support/docker.ts";
import { labOrReason } from "../support/lab.ts";
import { hostOf } from "../support/lab-cluster.ts";
import { imageTar } from "../support/podman.ts";
import { StubDriver } from "../support/stub-driver.ts";

const skip = dockerSkip() ?? (await labOrReason());
const PATIENCE_MS = 10_000;

function overlay(name: string, subnets: Partial<Overlay>): AgentOverlay {
  return { info: { name, enabled: true, ...subnets }, dockerBridge: { name: `d-${name}` } };
}

const DCOS = overlay("dcos", { subnet: cidr("9.0.0.0/8"), prefix: 24 });
const DCOS6 = overlay("dcos6", { subnet6: cidr("fd01:b::/64"), prefix6: 80 });
const DUAL = overlay("dual", { subnet: cidr("10.1.0.0/16"), prefix: 24, subnet6: cidr("fd01:c::/64"), prefix6: 80 });

suite("networks of a real engine", { skip }, () => {
  let docker: DockerHost;
  let engine: EngineClient;
  let driver: StubDriver;
  let networks: DockerNetworks;

  before(async () => {
    const host = engineHost(hostOf(await createLab({ hosts: 1 }), 1));
    docker = await startDocker(host, await imageTar());
    driver = new StubDriver(host.netns);
    await driver.listen(host.dockerPluginDir);
    engine = new EngineClient({ socket: host.dockerSocket });
    networks = new DockerNetworks({ engine, clock: SYSTEM_CLOCK, log: SILENT_LOG });
  });
  after(async () => {
    networks.stop();
    driver.close();
    await docker.machine.stop();
  });

  const assign = (...overlays: readonly AgentOverlay[]) =>
    networks.assigned({ agent: { overlays }, enableIpv6: true } as Partial<Assignment> as Assignment);
  /** Name → id, of those that the driver has. */
  const ours = async () =>
    Object.fromEntries((await engine.networks()).filter((each) => each.driver === "weft").map((n) => [n.name, n.id]));
  const become = (...names: readonly string[]) =>
    waitFor(`the networks ${names}`, PATIENCE_MS, async () => {
      const found = await ours();
      return Object.keys(found).sort().join() === names.join() ? found : undefined;
    });
  const problem = (pattern: RegExp) =>
    waitFor(`a problem like ${pattern}`, PATIENCE_MS, async () =>
      networks.problems().find((each) => pattern.test(each.problem)),
    );

  test("those of each family are made, and found right ever after", async (t) => {
    assign(DCOS, DCOS6, DUAL);
    const made = await become("dcos", "dcos6", "dual");
    await docker.start("web", "--network", "dcos");
    await docker.start("six", "--network", "dcos6");
    driver.calls.length = 0;
    const look = t.mock.method(engine, "networks");
    // A second pass begins when the first one has ended.
    for (let passes = 1; passes <= 2; passes += 1) {
      networks.changed();
      await waitFor("a pass", PATIENCE_MS, async () => look.mock.callCount() >= passes || undefined);
    }
    look.mock.restore();
    assert.deepEqual(await ours(), made);
    assert.deepEqual(driver.calls, []);
    assert.deepEqual(networks.problems(), []);
  });

  test("a container of a network without IPv4 has what stands in for it, which leads nowhere", async () => {
    const [six] = (await engine.containers()).filter(({ name }) => name === "six");
    const addresses = six?.networks[0]?.addresses ?? [];
    assert.deepEqual(
      addresses.map((address) => contains(STAND_IN, address)),
      [true, false],
    );
    assert.match(addresses[1] ?? "", /^fd01:b::[0-9a-f]+$/);
    const { stdout } = await docker.exec("six", "ip", "-4", "route");
    assert.equal(stdout, "");
  });

  test("one that is not the cluster's any more goes when its last container has left", async () => {
    assign(DCOS);
    assert.equal((await problem(/^the cluster has it here no more.*: six;/)).network, "dcos6");
    await docker.do("stop", "six");
    await become("dcos");
  });

  test("one whose prefix changed is made anew when it can be", async () => {
    const before = await ours();
    assign(overlay("dcos", { subnet: cidr("11.0.0.0/8"), prefix: 24 }));
    await problem(/9\.0\.0\.0\/8 instead of 11\.0\.0\.0\/8.*: web;/);
    assert.deepEqual(await ours(), before);
    await docker.do("stop", "web");
    await waitFor("another network", PATIENCE_MS, async () => ((await ours()).dcos === before.dcos ? undefined : true));
    await become("dcos");
    assert.equal((await docker.start("moved", "--network", "dcos")).dcos?.[0]?.startsWith("11."), true);
    await docker.do("rm", "--force", "moved");
  });

  test("a foreign network of the name stays, and when it is removed the cluster's takes its place", async () => {
    const id = (await docker.do("network", "create", "dual")).trim();
    assign(DUAL);
    await problem(/^Docker has another network dual \(driver bridge/);
    assert.equal((await engine.network(id))?.driver, "bridge");
    await docker.do("network", "rm", "dual");
    await become("dual");
    await waitFor("no problem", PATIENCE_MS, async () => networks.problems().length === 0 || undefined);
  });

  test("an engine that became a swarm's node is noted, and serves on", async () => {
    await docker.do("swarm", "init", "--advertise-addr", "127.0.0.1");
    assign(DCOS, DUAL);
    await become("dcos", "dual");
    assert.match(networks.notes().join(), /swarm mode/);
    await docker.start("still", "--network", "dcos");
    await docker.do("rm", "--force", "still");
  });

  test("an agent that was removed takes all of its networks with it", async () => {
    networks.dismissed();
    await become();
  });
});
