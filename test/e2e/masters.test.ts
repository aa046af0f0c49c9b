/**
 * Three masters on an etcd of three members, and agents that name one of them or all, as real programs on hosts of a lab:
 * what a standby does, what is left of a leader that is killed or sleeps, and that nothing that was answered is lost.
 */
import assert from "node:assert/strict";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import { createLab, type Lab } from "../../src/app/demo/lab.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { Agent, knowEachOther, Master, WEFT } from "../../src/app/demo/weft-process.ts";
import { newSignerPem } from "../../src/io/crypto/keys.ts";
import type { ControlEvent } from "../../src/model/control-event.ts";
import { etcdProblem } from "../support/etcd.ts";
import { labOrReason } from "../support/lab.ts";
import { configFile, hostOf, httpGet, weft } from "../support/lab-cluster.ts";
import { startLabEtcd } from "../support/lab-etcd.ts";

const skip = (await labOrReason()) ?? etcdProblem();
const MASTERS = [1, 2, 3];
const WAIT_MS = 20_000;

interface Health {
  readonly role: string;
  readonly leader?: string;
}
interface AgentView {
  readonly id: string;
  readonly hostname: string;
  readonly connected: boolean;
  readonly backend: unknown;
  readonly overlays: readonly { readonly info: { readonly name: string }; readonly subnet?: string }[];
}

class Masters {
  readonly lab: Lab;
  readonly all: readonly Master[];
  readonly config = configFile("");
  readonly operator = join(LAB_DIR, "operator");
  readonly #store: string;

  constructor(lab: Lab, store: string) {
    this.lab = lab;
    this.#store = store;
    this.all = MASTERS.map((n) => this.#master(n, `master${n}`, n === 1 ? ["--new-cluster"] : []));
  }

  get urls(): readonly string[] {
    return this.all.map(({ url }) => url);
  }

  async start(): Promise<void> {
    const [first, ...others] = this.all as [Master, ...Master[]];
    await first.start();
    for (const each of others) {
      copyFileSync(join(first.folder, "cluster.key"), join(each.folder, "cluster.key"));
      await each.start();
    }
    const { stdout } = await weft(["token", "create", "--operator", "--master", first.address]);
    writeFileSync(this.operator, stdout, { mode: 0o600 });
  }

  /** A further one, with whatever key is in its folder. */
  arguments(n: number, folder: string): string[] {
    const { host, url } = this.all[0] as Master;
    assert.ok(url.includes(host.address));
    const files = ["--config", this.config, "--data-dir", folder, "--socket", join(folder, "master.sock")];
    return ["master", ...files, "--gossip", `${hostOf(this.lab, n).address}:62502`, "--store", this.#store];
  }

  async health(master: Master): Promise<Health> {
    return (await master.get("/healthz")) as Health;
  }

  /** Of those that are asked: one that is stopped says nothing, and is not waited for. */
  async leader(among: readonly Master[] = this.all): Promise<Master> {
    return waitFor("a master to lead", WAIT_MS, async () => {
      for (const each of among) {
        const health = await this.health(each).catch(() => undefined);
        if (health?.role === "leader" && (await each.get("/v1/status").catch(() => undefined))) return each;
      }
      return undefined;
    });
  }

  others(than: Master): readonly Master[] {
    return this.all.filter((each) => each !== than);
  }

  /** A change with an operator's token, at whichever master. */
  add(master: Master, name: string, subnet: string) {
    const token = ["--operator-token-file", this.operator];
    return weft(["network", "add", name, "--subnet", subnet, "--prefix", "24", "--master", master.address, ...token]);
  }

  async agents(master: Master): Promise<readonly AgentView[]> {
    return ((await master.get("/v1/agents")) as { readonly agents: readonly AgentView[] }).agents;
  }

  async connected(master: Master, count: number): Promise<void> {
    await waitFor(`${count} agents to be connected`, WAIT_MS, async () =>
      (await this.agents(master)).filter(({ connected }) => connected).length === count ? true : undefined,
    );
  }

  agent(n: number, masters: readonly string[]): Agent {
    const host = hostOf(this.lab, n);
    const [{ joinTokenFile }] = this.all as [Master];
    return new Agent({ host, folder: join(LAB_DIR, host.name), masters, joinTokenFile });
  }

  #master(n: number, name: string, more: readonly string[]): Master {
    const args = ["--store", this.#store, ...more];
    return new Master({ host: hostOf(this.lab, n), folder: join(LAB_DIR, name), config: this.config, args });
  }
}

/** Which subnets each agent has. */
function shares(agents: readonly AgentView[]): Record<string, unknown> {
  return Object.fromEntries(
    agents.map(({ hostname, backend, overlays }) => [
      hostname,
      [backend, overlays.filter(({ info }) => info.name.startsWith("dcos"))],
    ]),
  );
}

async function has(agent: Agent, network: string): Promise<void> {
  await waitFor(`${agent.host.name} to have network ${network}`, WAIT_MS, async () => {
    const { assignment } = (await agent.get("/v1/status")) as { assignment?: { agent: AgentView } };
    return assignment?.agent.overlays.some(({ info }) => info.name === network) ? true : undefined;
  });
  await agent.ready();
}

test("three masters share an etcd: one leads, and whoever is left goes on", { skip }, async (t) => {
  const lab = await createLab({ hosts: 6 });
  const etcd = await startLabEtcd(lab.hosts.slice(0, 3));
  const masters = new Masters(lab, etcd.url);
  await masters.start();
  const [first, second, third] = masters.all as [Master, Master, Master];
  const answered = ["dcos", "dcos6"];
  const agents = [masters.agent(4, [second.url]), masters.agent(5, masters.urls)];

  await t.test("agents join through a standby, and are known to all masters", async () => {
    assert.equal((await masters.health(first)).role, "leader");
    assert.deepEqual(await masters.health(second), {
      ...(await masters.health(second)),
      role: "standby",
      leader: first.url,
    });
    for (const agent of agents) {
      await agent.start();
      await agent.ready();
    }
    await knowEachOther(agents);
    for (const master of masters.all) await masters.connected(master, 2);
  });

  await t.test("a standby answers for itself about itself, and for the leader about the cluster", async () => {
    const metrics = (master: Master) => httpGet(master.host, `${master.url}/metrics`);
    assert.match(await metrics(second), /^weft_master_leading 0$/m);
    assert.doesNotMatch(await metrics(second), /^weft_master_agents /m);
    assert.match(await metrics(first), /^weft_master_leading 1$/m);
    const { status, stdout } = await weft(["status", "--master", third.address]);
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`led by ${first.url}, term \\d+\\n2 of 2 agents connected`));
  });

  await t.test("changes come through a standby with a token, and not by its socket alone", async () => {
    const refused = await weft(["network", "add", "a", "--subnet", "10.60.0.0/16", "--master", second.address]);
    assert.equal(refused.status, 75, refused.stderr);
    assert.match(refused.stderr, new RegExp(`on the host of the leader, ${first.url}, or with a token`));
    const done = await masters.add(second, "one", "10.61.0.0/16");
    assert.equal(done.status, 0, done.stderr);
    answered.push("one");
    for (const agent of agents) await has(agent, "one");
  });

  await t.test("a master with another cluster's key is refused at its start", async () => {
    const folder = join(LAB_DIR, "stranger");
    const run = () => hostOf(lab, 6).run(WEFT, masters.arguments(6, folder));
    const none = await run();
    assert.equal(none.status, 78, none.stderr);
    assert.match(none.stderr, /cluster\.key is missing.*Copy it/);
    writeFileSync(join(folder, "cluster.key"), newSignerPem(), { mode: 0o600 });
    const wrong = await run();
    assert.equal(wrong.status, 78, wrong.stderr);
    assert.match(wrong.stderr, /weft: the store is that of the cluster \S+, and cluster\.key here is of /);
    assert.equal((await masters.health(first)).role, "leader", "nobody was disturbed");
  });

  await t.test("the leader is killed: another one serves, agents keep what they have and hear of it", async () => {
    const before = shares(await masters.agents(second));
    await first.stop("SIGKILL");
    await waitFor("a change to be served", WAIT_MS, async () => {
      const { status } = await masters.add(third, "two", "10.62.0.0/16");
      return status === 0 ? true : undefined;
    });
    answered.push("two");
    const leader = await masters.leader([second, third]);
    agents.push(masters.agent(6, [masters.others(leader).find((each) => each !== first)?.url ?? ""]));
    await agents[2]?.start();
    await agents[2]?.ready();
    const after = shares(await masters.agents(leader));
    assert.deepEqual({ ...after, host6: undefined }, { ...before, host6: undefined });
    assert.notDeepEqual(after.host6, undefined);
    // Over gossip, which the new leader has never been part of: it finds agents by their records.
    await masters.connected(leader, 3);
    for (const agent of agents) await has(agent, "two");
    await knowEachOther(agents);
    await first.start();
    assert.equal((await masters.health(first)).role, "standby");
  });

  await t.test("a leader that slept writes nothing when it wakes up, and stands by", async () => {
    const sleeper = await masters.leader();
    const log = sleeper.log.length;
    sleeper.signal("SIGSTOP");
    const next = await masters.leader(masters.others(sleeper));
    const done = await masters.add(next, "three", "10.63.0.0/16");
    assert.equal(done.status, 0, done.stderr);
    answered.push("three");
    sleeper.signal("SIGCONT");
    await waitFor("the old leader to stand by", WAIT_MS, async () =>
      (await masters.health(sleeper)).role === "standby" ? true : undefined,
    );
    await waitFor("the old leader to say so", WAIT_MS, async () =>
      sleeper.log.slice(log).includes("leads no more") ? true : undefined,
    );
    assert.equal((await masters.leader(masters.others(sleeper))).url, next.url);
    const through = await masters.add(sleeper, "four", "10.64.0.0/16");
    assert.equal(through.status, 0, through.stderr);
    answered.push("four");
    for (const agent of agents) await has(agent, "four");
    await masters.connected(sleeper, 3);
  });

  await t.test("one member of etcd is lost, and then a second one comes and goes", async () => {
    etcd.members[0]?.kill("SIGKILL");
    const leader = await masters.leader();
    await waitFor("a change to be served", WAIT_MS, async () =>
      (await masters.add(leader, "five", "10.65.0.0/16")).status === 0 ? true : undefined,
    );
    answered.push("five");
    for (const agent of agents) await has(agent, "five");
  });

  await t.test("all that was answered is there, once, and each revision has one event", async () => {
    for (const master of masters.all) {
      const { stdout } = await weft(["state", "--json", "--master", master.address]);
      const { revision, entries } = JSON.parse(stdout) as { revision: number; entries: Record<string, unknown> };
      const names = Object.keys(entries).flatMap((key) => (key.startsWith("network/") ? [key.slice(8)] : []));
      assert.deepEqual(names.sort(), answered.toSorted());
      assert.equal(Object.keys(entries).filter((key) => key.startsWith("agent/")).length, 3);
      const { events } = (await master.get("/v1/events?after=0&limit=1000")) as { events: ControlEvent[] };
      assert.deepEqual(
        events.map((event) => event.revision),
        Array.from({ length: revision }, (_, n) => n + 1),
      );
    }
    const views = await masters.agents(second);
    const subnets = views.flatMap(({ overlays }) => overlays.flatMap(({ subnet }) => subnet ?? []));
    assert.equal(new Set(subnets).size, subnets.length);
    assert.ok(!readFileSync(join(third.folder, "log"), "utf8").includes("this is a bug"));
  });
});
