/**
 * Networks that do not talk, on two real hosts: every refusal beside what is let through, each end with the other's rules
 * taken away, and connections that are open when a rule closes them.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Netns } from "../../src/app/demo/netns.ts";
import { Probe } from "../../src/app/demo/probe-client.ts";
import { callCni } from "../../src/app/demo/runtime.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import {
  agentOf,
  type Cluster,
  configFile,
  createCluster,
  hostOf,
  startContainer,
  type TestContainer,
} from "../support/lab-cluster.ts";
import { askUdp, serveUdp } from "../support/udp.ts";

const skip = await labOrReason();

const NETWORKS = ["open", "closed", "picky", "friend", "inside", "routed"] as const;
type Network = (typeof NETWORKS)[number];

/** What each says where it says something. */
const RULES: Partial<Record<Network, string>> = {
  closed: "isolation: closed",
  picky: "isolation: { allow: [friend] }",
  inside: "egress: none",
  routed: "egress: routed",
};

const REFUSED = /no answer|ETIMEDOUT/;
const REJOIN_MS = 30_000;
const FLOW_PORT = 7100;
/** More than two answers of a flow that lives. */
const FLOW_MS = 600;

function config(rules: Partial<Record<Network, string>>): string {
  // More than are compared one by one.
  const lines = [...NETWORKS, "x0", "x1", "x2", "x3"].map((name, i) => {
    const rule = rules[name as Network];
    const more = rule === undefined ? "" : `, ${rule}`;
    return `    - { name: ${name}, subnet: 10.${20 + i}.0.0/16, prefix: 24, subnet6: "fd01:b:${i}::/64", prefix6: 80${more} }`;
  });
  return `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
${lines.join("\n")}
`;
}

/** A connection over which something goes to and fro; `count` says how often it came back. */
class Flow {
  #count = 0;
  readonly #child: ChildProcess;

  constructor(from: Netns, to: string) {
    const script = `const s = require("node:net").connect(${FLOW_PORT}, process.argv[1]);
      setInterval(() => s.write("x"), 50); s.on("error", () => {}); s.on("data", (d) => process.stdout.write(d));`;
    this.#child = from.spawn(process.execPath, ["-e", script, to], { stdio: ["ignore", "pipe", "inherit"] });
    this.#child.stdout?.on("data", (data: Buffer) => {
      this.#count += data.length;
    });
    this.#child.unref();
  }

  async lives(): Promise<boolean> {
    await sleep(FLOW_MS / 2); // what was on its way
    const before = this.#count;
    await sleep(FLOW_MS);
    return this.#count > before;
  }

  stop(): void {
    this.#child.stdout?.destroy();
    this.#child.kill("SIGKILL");
  }
}

function serveFlows(at: Netns): void {
  const script = `require("node:net").createServer((s) => { s.on("error", () => {}); s.pipe(s); }).listen(${FLOW_PORT}, "::");`;
  at.spawn(process.execPath, ["-e", script], { stdio: "ignore" }).unref();
}

describe("isolation", { skip }, () => {
  let cluster: Cluster;
  const near = {} as Record<Network, TestContainer>;
  const far = {} as Record<Network, TestContainer>;

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: config(RULES) });
    for (const network of NETWORKS) {
      near[network] = await startContainer(cluster, 1, `near-${network}`, [network]);
      far[network] = await startContainer(cluster, 2, `far-${network}`, [network]);
    }
    await Probe.start(cluster.lab.internet);
    await Probe.start(hostOf(cluster.lab, 2));
    for (const netns of [...Object.values(far).map(({ netns }) => netns), cluster.lab.internet]) serveFlows(netns);
  });

  async function asked(from: TestContainer, to: TestContainer): Promise<readonly [v4: string, v6: string]> {
    const [v4 = "", v6 = ""] = await Promise.all([from.probe.ask(to.ip), from.probe.ask(to.ip6)]);
    return [v4, v6];
  }

  async function reconfigured(rules: Partial<Record<Network, string>>, settled: () => Promise<boolean>): Promise<void> {
    await cluster.master.stop();
    configFile(config(rules));
    await cluster.master.start();
    await waitFor("the agents to have the new rules", REJOIN_MS, async () => (await settled()) || undefined);
  }

  test("each pair of networks, to the same host and to another, both families", async () => {
    const pairs: Partial<Record<Network, readonly Network[]>> = {
      closed: ["open", "friend", "picky", "inside", "routed"],
      picky: ["open", "closed", "inside", "routed"],
    };
    const isRefused = (a: Network, b: Network) => pairs[a]?.includes(b) === true || pairs[b]?.includes(a) === true;
    const rows = NETWORKS.flatMap((a) => NETWORKS.map((b) => [a, b] as const));
    await Promise.all(
      rows.map(async ([a, b]) => {
        for (const to of a === b ? [far[b]] : [near[b], far[b]])
          for (const [i, answer] of (await asked(near[a], to)).entries())
            if (isRefused(a, b)) assert.match(answer, REFUSED, `${a} → ${b}`);
            else assert.equal(answer, i === 0 ? near[a].ip : near[a].ip6, `${a} → ${b}`);
      }),
    );
  });

  test("the outside, and nodes: masqueraded, routed, or not at all", async () => {
    const { internet } = cluster.lab;
    const host2 = hostOf(cluster.lab, 2);
    assert.equal(await near.open.probe.ask(internet.address), "10.0.0.11");
    assert.equal(await near.closed.probe.ask(internet.address), "10.0.0.11");
    assert.match(await near.routed.probe.ask(internet.address), REFUSED, "nobody there knows the way back");
    await new Netns("router").ip("route add 10.25.0.0/24 via 10.0.0.11", "route add fd01:b:5::/80 via fd00:10::11");
    assert.equal(await near.routed.probe.ask(internet.address), near.routed.ip);
    assert.equal(await near.routed.probe.ask(internet.address6), near.routed.ip6);
    assert.match(await near.inside.probe.ask(internet.address), REFUSED);
    assert.match(await near.inside.probe.ask(internet.address6), REFUSED);
    assert.equal(await near.open.probe.ask(host2.address), near.open.ip);
    assert.match(await near.inside.probe.ask(host2.address), REFUSED);
    assert.equal(await near.inside.probe.ask("44.128.0.2"), near.inside.ip, "a node inside the cluster's network");
  });

  test("a published port is for the outside, nodes, and who may talk; not a way around", async () => {
    const web = await startContainer(cluster, 2, "web", []);
    const ref = { containerId: "web", netns: web.netns.path, ifname: "eth0" };
    const portMappings = [{ hostPort: 9100, containerPort: 53, protocol: "udp" }];
    const { status } = await callCni(agentOf(cluster, 2), "ADD", "closed", { ...ref, runtimeConfig: { portMappings } });
    assert.equal(status, 0);
    await serveUdp(web.netns, 53);
    const answers = async (from: Netns) => askUdp(from, "10.0.0.12", 9100);
    assert.match(await answers(cluster.lab.internet), /^203\.0\.113\.10 /);
    for (const from of [hostOf(cluster.lab, 1), hostOf(cluster.lab, 2), near.closed.netns, far.closed.netns])
      assert.match(await answers(from), / \d+$/, from.name);
    for (const from of [near.open.netns, far.open.netns, near.picky.netns])
      assert.equal(await answers(from), "no answer");
  });

  test("each end refuses by itself, and without both nothing does", async () => {
    // Nobody mends what is taken away here.
    for (const number of [1, 2]) await agentOf(cluster, number).stop();
    const sender = hostOf(cluster.lab, 1);
    const receiver = hostOf(cluster.lab, 2);
    const nft = (host: Netns, ...commands: readonly string[]) =>
      host.mustRun("nft", ["-f", "-"], { input: `${commands.join("\n")}\n` });
    const [from, to] = [near.open, far.closed];
    // What checks answers goes, too: of all rules only those are left that look at what comes to the receiver.
    const unchecked = (network: string) =>
      [4, 6].flatMap((f) => [
        `flush chain netdev weft leased${f}-${network}`,
        `add rule netdev weft leased${f}-${network} jump leased${f}`,
      ]);
    const unguarded = ["flush chain ip weft forward", "flush chain ip6 weft forward"];
    await nft(sender, ...unchecked("open"), ...unguarded);
    await nft(receiver, ...unchecked("closed"));
    for (const answer of await asked(from, to)) assert.match(answer, REFUSED, "the receiver's end alone");
    // Whoever accepts before is not asked; whoever drops is.
    for (const family of ["ip", "ip6"])
      await nft(
        receiver,
        `add table ${family} admin`,
        `add chain ${family} admin first { type filter hook forward priority -500; policy accept; }`,
        `add rule ${family} admin first accept`,
        `add chain ${family} admin last { type filter hook forward priority 500; policy accept; }`,
        `add rule ${family} admin last accept`,
      );
    for (const answer of await asked(from, to))
      assert.match(answer, REFUSED, "an administrator's accept opens nothing");
    await nft(receiver, "delete table ip admin", "delete table ip6 admin");
    await nft(receiver, ...unguarded);
    assert.deepEqual(await asked(from, to), [from.ip, from.ip6], "neither end");
    await agentOf(cluster, 1).start();
    await waitFor("the sender's host", REJOIN_MS, async () => {
      const text = await sender.mustRun("nft", ["list", "chain", "netdev", "weft", "leased4-open"]);
      return text.includes("drop") || undefined;
    });
    for (const answer of await asked(from, to)) assert.match(answer, REFUSED, "the sender's host alone");
    await agentOf(cluster, 2).start();
    await waitFor("the receiver's end", REJOIN_MS, async () => {
      const text = await receiver.mustRun("nft", ["list", "chain", "ip", "weft", "forward"]);
      return text.includes("vmap @to4") || undefined;
    });
  });

  test("a rule that closes cuts what is open, and nothing else; opened again, it goes on", async () => {
    const [cut, kept] = [new Flow(near.open.netns, far.friend.ip), new Flow(near.picky.netns, far.friend.ip)];
    const out = new Flow(near.open.netns, cluster.lab.internet.address);
    try {
      for (const flow of [cut, kept, out])
        await waitFor("a flow to begin", REJOIN_MS, async () => (await flow.lives()) || undefined);
      await reconfigured({ ...RULES, friend: "isolation: { allow: [picky] }" }, async () => !(await cut.lives()));
      assert.ok(await kept.lives(), "kept");
      assert.ok(await out.lives(), "to the outside");
      await reconfigured({ ...RULES, open: "egress: none" }, async () => !(await out.lives()));
      await waitFor("the other network to be back", REJOIN_MS, async () => (await cut.lives()) || undefined);
      assert.ok(await kept.lives(), "kept all the time");
    } finally {
      for (const flow of [cut, kept, out]) flow.stop();
    }
  });
});
