/**
 * Reserved addresses on three real hosts: in the own slice, in another's, on the move from host to host, without a master,
 * and against an agent that claims what the cluster did not give it.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { before, describe, test } from "node:test";
import { Netns } from "../../src/app/demo/netns.ts";
import { Probe } from "../../src/app/demo/probe-client.ts";
import { attach, callCni } from "../../src/app/demo/runtime.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { addressOf, ipInterface } from "../../src/model/ip.ts";
import { labOrReason } from "../support/lab.ts";
import {
  agentOf,
  type Cluster,
  createCluster,
  hostOf,
  httpGet,
  startContainer,
  type TestContainer,
  weft,
} from "../support/lab-cluster.ts";

const skip = await labOrReason();
const WAIT_MS = 20_000;

interface Named {
  readonly name: string;
  readonly containerId: string;
  readonly netns: Netns;
  readonly ip: string;
  readonly probe: Probe;
}

describe("reserved addresses", { skip }, () => {
  let cluster: Cluster;
  let others: readonly TestContainer[];

  before(async () => {
    cluster = await createCluster({ hosts: 3 });
    others = [
      await startContainer(cluster, 1, "one", ["dcos"]),
      await startContainer(cluster, 2, "two", ["dcos"]),
      await startContainer(cluster, 3, "three", ["dcos"]),
    ];
  });

  const reference = ({ containerId, netns, name }: Pick<Named, "containerId" | "netns" | "name">) => ({
    ...{ containerId, netns: netns.path, ifname: "eth0" },
    args: { cni: { labels: [{ key: "weft.name", value: name }] } },
  });

  async function start(host: number, name: string, netnsName: string): Promise<Named> {
    const who = { name, containerId: randomUUID(), netns: await Netns.create(netnsName) };
    const { ips } = await attach(agentOf(cluster, host), "dcos", reference(who));
    const ip = addressOf(ipInterface(ips[0]?.address ?? ""));
    return { ...who, ip, probe: await Probe.start(who.netns) };
  }

  async function stop(host: number, named: Named): Promise<void> {
    const { status } = await callCni(agentOf(cluster, host), "DEL", "dcos", reference(named));
    assert.equal(status, 0);
  }

  async function reserve(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await weft(["reserve", "--master", cluster.master.address, ...args]);
    assert.equal(status, 0, stderr);
    return stdout;
  }

  /** Agents have been told of it. */
  async function known(name: string): Promise<void> {
    for (const agent of cluster.agents)
      await waitFor(`the reservation for ${name} to be known`, WAIT_MS, async () => {
        const text = JSON.stringify(await agent.get("/v1/status"));
        return text.includes(`"name":"${name}"`) || undefined;
      });
  }

  async function route(host: number, address: string): Promise<string> {
    return (await hostOf(cluster.lab, host).mustRun("ip", ["route", "show", `${address}/32`])).trim();
  }

  /** All of the others reach it, and it all of them. */
  async function reached({ ip, probe }: Named): Promise<void> {
    for (const other of others) {
      await waitFor(`${ip} to answer ${other.ip}`, WAIT_MS, async () =>
        (await other.probe.ask(ip).catch(() => "")) === other.ip ? true : undefined,
      );
      assert.equal(await probe.ask(other.ip), ip);
    }
  }

  test("in the own slice, and again at once", async () => {
    await reserve("dcos", "near", "9.0.0.77");
    await known("near");
    for (const round of [1, 2]) {
      const near = await start(1, "near", `near${round}`);
      assert.equal(near.ip, "9.0.0.77");
      await reached(near);
      assert.equal(await route(2, near.ip), "", "its slice's route leads there");
      await stop(1, near);
    }
  });

  let web: Named;

  test("in another host's slice: a route on every other host, and both ways there is an answer", async () => {
    await reserve("dcos", "web", "9.0.0.88");
    await known("web");
    web = await start(2, "web", "web1");
    assert.equal(web.ip, "9.0.0.88");
    await reached(web);
    for (const host of [1, 3]) assert.match(await route(host, web.ip), /via 44\.128\.0\.2 dev vtep1024/);
    assert.match(await route(2, web.ip), /dev weft/);
    const node = await Probe.start(hostOf(cluster.lab, 1));
    assert.equal(await web.probe.ask(hostOf(cluster.lab, 1).address), web.ip, "to a node by its own address");
    node.stop();
    await waitFor("the master to know who has it", WAIT_MS, async () => {
      const { stdout } = await weft(["reservations", "--master", cluster.master.address]);
      return /dcos\s+web\s+9\.0\.0\.88\s+host2/.test(stdout) || undefined;
    });
  });

  test("what runs elsewhere is not taken, and moves once it has ended", async () => {
    await assert.rejects(start(3, "web", "web-twice"), /is held: 9\.0\.0\.88 by container .* of agent/);
    await reached(web);
    await stop(2, web);
    web = await waitFor("the master to hear of it", WAIT_MS, () =>
      start(3, "web", `web-${randomUUID().slice(0, 4)}`).catch(() => undefined),
    );
    assert.equal(web.ip, "9.0.0.88");
    await reached(web);
    for (const host of [1, 2]) assert.match(await route(host, web.ip), /via 44\.128\.0\.3 dev vtep1024/);
    assert.doesNotMatch(await route(2, web.ip), /44\.128\.0\.2|weft/);
  });

  test("back to the host whose slice has it, and away again", async () => {
    for (const [from, to] of [
      [3, 1],
      [1, 2],
    ] as const) {
      await stop(from, web);
      web = await waitFor("the master to hear of it", WAIT_MS, () =>
        start(to, "web", `web-${randomUUID().slice(0, 4)}`).catch(() => undefined),
      );
      assert.equal(web.ip, "9.0.0.88");
      await reached(web);
    }
  });

  test("a host that was away while its container was started elsewhere cuts off what it has", async () => {
    const away = agentOf(cluster, 2);
    const [old, before] = [web, away.log.length];
    away.signal("SIGSTOP");
    web = await waitFor("the host to be given up", 2 * WAIT_MS, () =>
      start(3, "web", `web-${randomUUID().slice(0, 4)}`).catch(() => undefined),
    );
    assert.equal(web.ip, old.ip);
    away.signal("SIGCONT");
    await waitFor("the container to be cut off", WAIT_MS, async () => {
      // By what the other host says, or by its own assignment, whichever is here first.
      return /cut off: .*9\.0\.0\.88/.test(away.log.slice(before)) || undefined;
    });
    await waitFor(
      "the route to its new host",
      WAIT_MS,
      async () => /via 44\.128\.0\.3 dev vtep1024/.test(await route(2, web.ip)) || undefined,
    );
    await reached(web);
    await stop(2, old);
    await stop(3, web);
    web = await waitFor("the master to hear of it", WAIT_MS, () =>
      start(2, "web", `web-${randomUUID().slice(0, 4)}`).catch(() => undefined),
    );
    await reached(web);
  });

  test("without a master it comes back on the same host, also after its agent was killed; on another it does not", async () => {
    await cluster.master.stop("SIGKILL");
    await stop(2, web);
    await agentOf(cluster, 2).stop("SIGKILL");
    await agentOf(cluster, 2).start();
    await agentOf(cluster, 2).ready();
    await assert.rejects(start(3, "web", "web-away"), /is reserved for web, and lies or is hosted on another agent/);
    web = await start(2, "web", "web-again");
    assert.equal(web.ip, "9.0.0.88");
    await reached(web);
  });

  test("an agent that says it hosts what the cluster did not give it changes nothing on others", async () => {
    const thief = agentOf(cluster, 3);
    await thief.stop();
    // Its own disk is all that it can change: the route that it makes itself, and the word that it sends.
    const file = new DatabaseSync(join(thief.folder, "agent.db"));
    const rows = file.prepare("SELECT name, value FROM fact").all() as { name: string; value: string }[];
    const membership = JSON.parse(rows.find(({ name }) => name === "membership")?.value ?? "{}") as {
      statement: string;
    };
    const bytes = Buffer.from(membership.statement, "base64url");
    const text = bytes.subarray(65).toString();
    const forged = text.replace('"subnets":[', '"hosted":[{"address":"9.0.0.88","revision":99}],"subnets":[');
    assert.notEqual(forged, text);
    const statement = Buffer.concat([bytes.subarray(0, 65), Buffer.from(forged)]).toString("base64url");
    file
      .prepare("UPDATE fact SET value = ? WHERE name = 'membership'")
      .run(JSON.stringify({ ...membership, statement }));
    file.close();
    const routes = async () => [await route(1, web.ip), await route(3, web.ip)].join("\n");
    const before = await route(1, web.ip);
    assert.match(before, /via 44\.128\.0\.2/, "the honest claim is believed");
    const host1 = hostOf(cluster.lab, 1);
    const disbelieved = async () => {
      const metrics = await httpGet(host1, `http://${host1.address}:5051/metrics`);
      return Number(/disbelieved_total\{reason="bad-signature"\} (\d+)/.exec(metrics)?.[1]);
    };
    const heard = await disbelieved();
    await thief.start();
    await waitFor("the forged word to arrive", WAIT_MS, async () => ((await disbelieved()) > heard ? true : undefined));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.equal(await route(1, web.ip), before, await routes());
    assert.equal(await others[0]?.probe.ask(web.ip), others[0]?.ip);
  });
});
