import assert from "node:assert/strict";
import { test } from "node:test";
import type { z } from "zod";
import type { trafficSchema } from "../../src/app/agent/datapath-routes.ts";
import { Probe } from "../../src/app/demo/probe-client.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, createCluster, hostOf, startContainer } from "../support/lab-cluster.ts";

const skip = await labOrReason();

test("over an IPv6 underlay containers reach each other, and nodes by their IPv6 address", { skip }, async () => {
  const cluster = await createCluster({ hosts: 2, underlay: 6 });
  const near = await startContainer(cluster, 1, "near", ["dcos", "dcos6"]);
  const far = await startContainer(cluster, 2, "far", ["dcos", "dcos6"]);
  assert.equal(await near.probe.ask(far.ip), near.ip);
  assert.equal(await near.probe.ask(far.ip6), near.ip6);
  const traffic = async () => (await agentOf(cluster, 1).get("/v1/traffic")) as z.infer<typeof trafficSchema>;
  const { datapath } = await traffic();
  if (datapath.level > 0) {
    assert.equal(datapath.level, 1);
    assert.ok(datapath.reasons.includes("the hosts reach each other by IPv6"));
    await waitFor("programs to carry it, both ways", 10_000, async () => {
      assert.equal(await near.probe.ask(far.ip), near.ip);
      const pairs = (await traffic()).pairs.filter(({ path }) => path === "tunnel");
      return [near.ip, far.ip].every((source) => pairs.some((pair) => pair.source === source)) ? true : undefined;
    });
  }
  const host2 = hostOf(cluster.lab, 2);
  await Probe.start(host2);
  assert.equal(await near.probe.ask(host2.address6), near.ip6);
  const vtep = await host2.mustRun("ip", ["-d", "-o", "link", "show", "vtep1024"]);
  assert.match(vtep, /mtu 1430 .*local fd00:10::12/);
  // Nothing is fragmented and nothing too large: the largest packet that may not be fragmented goes through.
  await near.netns.mustRun("ping", ["-M", "do", "-s", String(1430 - 28), "-c1", "-W2", far.ip]);
});
