/**
 * Policies on two real hosts, with labels that agents tell each other: who is let in, answers to what a guarded container
 * begins, and a connection that is open when a policy closes it. The assignment is written to the agents' disks, as a
 * master with policies would have it.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { before, describe, test } from "node:test";
import { Netns } from "../../src/app/demo/netns.ts";
import { Probe } from "../../src/app/demo/probe-client.ts";
import { attach } from "../../src/app/demo/runtime.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { addressOf, familyOf, type Ip, ipInterface } from "../../src/model/ip.ts";
import type { Policy } from "../../src/model/policy.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster, hostOf } from "../support/lab-cluster.ts";

const skip = await labOrReason();

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: both, subnet: 9.0.0.0/8, prefix: 24, subnet6: "fd01:b::/64", prefix6: 80 }
`;
const SETTLED_MS = 40_000;
const REFUSED = /no answer|ETIMEDOUT/;
const WEB_TO_DB: Policy = {
  name: "web-to-db",
  from: { app: "web" },
  to: { app: "db" },
  ports: [{ protocol: "tcp", first: 7000, last: 7000 }],
};

interface Labelled {
  readonly probe: Probe;
  readonly ips: readonly [Ip, Ip];
}

describe("policies", { skip }, () => {
  let cluster: Cluster;
  let web: Labelled;
  let other: Labelled;
  let db: Labelled;
  let nearDb: Labelled;

  async function start(host: number, name: string, app: string): Promise<Labelled> {
    const netns = await Netns.create(name);
    await netns.setSysctl("ipv6/conf/default/accept_dad", "0");
    const args = { cni: { labels: [{ key: "app", value: app }] } };
    const { ips } = await attach(agentOf(cluster, host), "both", {
      containerId: name,
      netns: netns.path,
      ifname: "eth0",
      args,
    });
    const addresses = ips.map(({ address }) => addressOf(ipInterface(address)));
    const [v4, v6] = ([4, 6] as const).map((family) => addresses.find((each) => familyOf(each) === family));
    return { probe: await Probe.start(netns), ips: [v4 as Ip, v6 as Ip] };
  }

  /** The masters are away, or they would say that there are none. */
  async function setPolicies(policies: readonly Policy[]): Promise<void> {
    for (const agent of cluster.agents) {
      await agent.stop();
      const file = new DatabaseSync(join(agent.folder, "agent.db"));
      const row = file.prepare("SELECT value FROM fact WHERE name = 'assignment'").get() as { value: string };
      const value = JSON.stringify({ ...(JSON.parse(row.value) as object), policies });
      file.prepare("UPDATE fact SET value = ? WHERE name = 'assignment'").run(value);
      file.close();
    }
    for (const agent of cluster.agents) await agent.start();
  }

  async function asked(from: Labelled, to: Labelled): Promise<readonly string[]> {
    return Promise.all(to.ips.map((address) => from.probe.ask(address)));
  }

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: CONFIG });
    [web, other, nearDb] = [
      await start(1, "web", "web"),
      await start(1, "other", "other"),
      await start(1, "near", "db"),
    ];
    db = await start(2, "db", "db");
    await Probe.start(cluster.lab.internet);
    await cluster.master.stop();
  });

  test("without policies everybody is let in; with one, whom it says, on the same host and on another", async () => {
    for (const to of [db, nearDb]) for (const from of [web, other]) assert.deepEqual(await asked(from, to), from.ips);
    await setPolicies([WEB_TO_DB]);
    for (const to of [db, nearDb])
      await waitFor("the policy to hold", SETTLED_MS, async () => {
        const [refused, allowed] = [await asked(other, to), await asked(web, to)];
        return (refused.every((each) => REFUSED.test(each)) && allowed.join() === web.ips.join()) || undefined;
      });
    assert.deepEqual(await asked(other, web), other.ips, "who is not guarded");
    assert.deepEqual(await asked(db, other), db.ips, "answers to what the guarded one begins");
    assert.match((await asked(db, nearDb))[0] ?? "", REFUSED, "one guarded to another");
    assert.equal(await db.probe.ask(cluster.lab.internet.address), hostOf(cluster.lab, 2).address);
    const node = await Probe.start(hostOf(cluster.lab, 1));
    assert.doesNotMatch(await node.ask(db.ips[0]), REFUSED, "nodes are let in");
    node.stop();
  });

  test("another port, and another policy", async () => {
    await setPolicies([{ ...WEB_TO_DB, ports: [{ protocol: "tcp", first: 1, last: 6_999 }] }]);
    await waitFor("the port to be closed", SETTLED_MS, async () => {
      const answers = [...(await asked(web, db)), ...(await asked(web, nearDb))];
      return answers.every((each) => REFUSED.test(each)) || undefined;
    });
    await setPolicies([]);
    await waitFor("all to be open", SETTLED_MS, async () => {
      return (await asked(other, db)).join() === other.ips.join() || undefined;
    });
  });
});
