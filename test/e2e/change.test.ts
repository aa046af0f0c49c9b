import assert from "node:assert/strict";
import { test } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import { configFile, createCluster, startContainer, weft } from "../support/lab-cluster.ts";

const skip = await labOrReason();

const SECTION = `dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
`;
const DCOS = "    - { name: dcos, subnet: 9.0.0.0/8, prefix: 24 }\n";
const DCOS_1 = "    - { name: dcos-1, subnet: 192.168.0.0/16, prefix: 24 }\n";
const CHANGED = "    - { name: dcos, subnet: 10.128.0.0/9, prefix: 24 }\n";

/** Registration backs off for up to some seconds while the master is away. */
const REJOIN_MS = 15_000;

test("a changed configuration: additions are taken, a removal in use is refused, the rest serves", {
  skip,
}, async () => {
  const cluster = await createCluster({ hosts: 2, config: SECTION + DCOS });
  const { master } = cluster;
  const web = await startContainer(cluster, 1, "web", ["dcos"]);
  const far = await startContainer(cluster, 2, "far", ["dcos"]);

  await master.stop();
  configFile(SECTION + DCOS + DCOS_1);
  await master.start();
  await waitFor("the agents to have the new network", REJOIN_MS, async () => {
    for (const { host } of cluster.agents) {
      assert.match(await host.mustRun("ip", ["-o", "-4", "addr", "show", "m-dcos-1"]), /192\.168\./);
      // Gossip brings them back by itself, after the registrations or before.
      assert.match(await host.mustRun("ip", ["route", "show", "proto", "87"]), /192\.168\.\d+\.0\/24 via /);
    }
    return true;
  });
  const job = await startContainer(cluster, 1, "job", ["dcos-1"]);
  assert.equal(await job.probe.ask(far.ip), job.ip);

  for (const [text, what] of [
    [SECTION + DCOS_1, "removed"],
    [SECTION + CHANGED + DCOS_1, "9.0.0.0/8"],
  ] as const) {
    await master.stop();
    configFile(text);
    await master.start();
    const { stdout } = await weft(["status", "--master", master.address]);
    assert.match(stdout, new RegExp(`dcos[^]*${what}`), "status tells what is refused");
    assert.equal(await web.probe.ask(far.ip), web.ip);
    await waitFor("the agents to be back", REJOIN_MS, async () => {
      for (const agent of cluster.agents) await agent.ready();
      return true;
    });
    assert.equal(await web.probe.ask(far.ip), web.ip);
    await startContainer(cluster, 2, `after-${what.slice(0, 3)}`, ["dcos"]);
  }
});
