import assert from "node:assert/strict";
import { test } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, createCluster, hostOf, weft } from "../support/lab-cluster.ts";

const skip = await labOrReason();

/** The master takes an agent for gone when gossip says so. */
const GONE_MS = 15_000;

test("an agent that is removed leaves its peers; one that is connected is not removed", { skip }, async () => {
  const cluster = await createCluster({ hosts: 3 });
  const { master } = cluster;
  const host1 = hostOf(cluster.lab, 1);
  const peersRoutes = () =>
    host1.mustRun("sh", [
      "-c",
      "ip route show 9.0.2.0/24; ip neigh show 44.128.0.3; bridge fdb | grep 10.0.0.13; true",
    ]);
  assert.equal((await peersRoutes()).trim().split("\n").length, 3, "route, neighbour and forwarding entry");
  const agents = (await weft(["agents", "--json", "--master", master.address])).stdout;
  const id = (JSON.parse(agents) as { id: string; ip: string }[]).find(({ ip }) => ip === "10.0.0.13")?.id ?? "";
  assert.notEqual(id, "");

  const refused = await weft(["agents", "remove", id, "--master", master.address]);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /^weft: .*connected.*\n$/);
  assert.notEqual(await peersRoutes(), "");

  await agentOf(cluster, 3).stop();
  await waitFor("the master to notice", GONE_MS, async () =>
    (await weft(["agents", "remove", id, "--master", master.address])).status === 0 ? true : undefined,
  );
  await waitFor("host 1 to forget it", 2_000, async () => ((await peersRoutes()) === "" ? true : undefined));
  const gone = await weft(["agents", "remove", id, "--master", master.address]);
  assert.equal(gone.status, 1);
  assert.match(gone.stderr, /^weft: .*\n$/);
});
