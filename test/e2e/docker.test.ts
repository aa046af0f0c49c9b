/**
 * Debian's Docker Engine on two hosts of a lab, each with its own: what people do with containers on the cluster's
 * networks, and what happens when something is killed in the middle of it.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type DockerHost, dockerSkip, startDocker } from "../support/docker.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster } from "../support/lab-cluster.ts";
import { imageTar } from "../support/podman.ts";

const skip = dockerSkip() ?? (await labOrReason());

describe("Docker", { skip }, () => {
  let cluster: Cluster;
  let one: DockerHost;
  let two: DockerHost;

  before(async () => {
    cluster = await createCluster({ hosts: 2 });
    const tar = await imageTar();
    one = await startDocker(agentOf(cluster, 1), tar);
    two = await startDocker(agentOf(cluster, 2), tar);
    for (const host of [one, two]) {
      for (const [name, more] of [
        ["dcos", ["--subnet", "9.0.0.0/8"]],
        ["dcos6", ["--ipv6", "--subnet", "198.18.0.0/15", "--subnet", "fd01:b::/64"]],
      ] as const)
        await host
          .do(
            "network",
            "create",
            "--driver",
            "weft",
            "--ipam-driver",
            "weft",
            ...more,
            "--opt",
            `weft.network=${name}`,
            "--ipam-opt",
            `weft.network=${name}`,
            name,
          )
          .catch((e) => {
            dbg(agentOf(cluster, 1).log, host.docker.log);
            throw e;
          });
    }
  });
  after(() => Promise.all([one, two].map(({ machine }) => machine?.stop())));

  test("containers of two hosts reach each other by what docker says their addresses are", async () => {
    const near = await one.start("near", "--network", "dcos");
    const far = await two.start("far", "--network", "dcos");
    dbg(near, far);
    dbg(await one.do("network", "inspect", "dcos"));
    dbg(
      (await one.exec("near", "ip", "addr")).stdout,
      (await one.exec("near", "ip", "route", "show", "table", "all")).stdout,
    );
    dbg((await one.exec("near", "ip", "neigh")).stdout, (await one.exec("near", "ip", "rule")).stdout);
    assert.equal(await one.ask("near", far.dcos?.[0] ?? ""), near.dcos?.[0]);
    assert.equal(await two.ask("far", near.dcos?.[0] ?? ""), far.dcos?.[0]);
    dbg(agentOf(cluster, 1).log);
  });
});

import { appendFileSync } from "node:fs";
import { inspect } from "node:util";

function dbg(...a: unknown[]) {
  for (const x of a) appendFileSync("/tmp/dbg.txt", (typeof x === "string" ? x : inspect(x)) + "\n");
}
