/**
 * A random history on three hosts with the real programs: containers come and go, programs are killed at any moment,
 * hands from outside break what Weft made. After each step every pair of containers must find its way again, seen with
 * its own address; at the end nothing may be left of what is gone.
 *
 * The seed is in the test's name; the same one replays the same history: `WEFT_CHAOS_SEED=7 WEFT_CHAOS_STEPS=200 npm test
 * -- test/e2e/chaos.test.ts` is also the long soak.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { callCni } from "../../src/app/demo/runtime.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import {
  agentOf,
  type Cluster,
  createCluster,
  hostOf,
  startContainer,
  type TestContainer,
} from "../support/lab-cluster.ts";
import { seededRandom } from "../support/seeded-random.ts";

const skip = await labOrReason();
const SEED = Number(process.env.WEFT_CHAOS_SEED ?? Date.now() % 100_000);
const STEPS = Number(process.env.WEFT_CHAOS_STEPS ?? 24);
const HOSTS = 3;
const CONTAINERS_MAX = 6;
/** Of what the kernel tells. */
const HEAL_MS = 12_000;
/** Of what no notice tells: the slow pass. */
const SWEEP_MS = 35_000;

/** What somebody may do to a host; `$VETH` is one of its containers' devices. */
const DAMAGE = [
  "ip link del vtep1024",
  "ip link set vtep1024 down",
  "ip link del m-dcos; ip link del d-dcos6",
  "ip addr flush dev vtep1024",
  "ip addr flush dev m-dcos; ip addr flush dev m-dcos6",
  "ip route flush proto 87; ip -6 route flush proto 87",
  "ip neigh flush nud permanent dev vtep1024",
  "bridge fdb show dev vtep1024 | cut -d' ' -f1 | sort -u | xargs -I{} bridge fdb del {} dev vtep1024",
  "nft flush ruleset",
  "nft delete table netdev weft",
  "nft flush chain ip weft postrouting",
  "ip link set eth0 mtu 1400; ip link set eth0 mtu 1500",
  "ip link set vtep1024 mtu 1000 address 02:00:00:00:00:09",
  "for v in $(ip -o link | grep -o 'weft[0-9a-f]*@' | tr -d @); do ip link del $v; done",
  "for v in $(ip -o link | grep -o 'weft[0-9a-f]*@' | tr -d @); do ip link set $v down; done",
  // Said again, it says nothing; where it is new, it is the word for every device.
  "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.ip_forward=0",
  "sysctl -qw net.ipv4.conf.eth0.forwarding=0 net.ipv4.conf.vtep1024.forwarding=0",
  "for v in $(ip -o link | grep -o 'weft[0-9a-f]*@' | tr -d @); do sysctl -qw net.ipv4.conf.$v.forwarding=0; done",
];

interface Running extends TestContainer {
  readonly host: number;
}

class History {
  readonly #cluster: Cluster;
  readonly #random = seededRandom(SEED);
  readonly #containers: Running[] = [];
  #count = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  #below(n: number): number {
    return Math.floor(this.#random.fraction() * n);
  }

  /** @returns what was done, for the message of a failure */
  async step(): Promise<string> {
    const host = 1 + this.#below(HOSTS);
    const kind = this.#below(10);
    if (kind < 2 || this.#containers.length < 3) return this.#start(host);
    if (kind === 2) return this.#remove();
    if (kind === 3) return this.#lose();
    if (kind === 4) return this.#restartAgent(host);
    if (kind === 5) return this.#restartMaster();
    return this.#damage(host);
  }

  async #start(host: number): Promise<string> {
    if (this.#containers.length >= CONTAINERS_MAX) return this.#remove();
    const name = `c${++this.#count}`;
    this.#containers.push({ ...(await startContainer(this.#cluster, host, name, ["dcos", "dcos6"])), host });
    return `${name} starts on host${host}`;
  }

  #take(): Running {
    const [taken] = this.#containers.splice(this.#below(this.#containers.length), 1);
    assert.ok(taken !== undefined);
    taken.probe.stop();
    return taken;
  }

  async #remove(): Promise<string> {
    const { host, containerId, netns } = this.#take();
    for (const [i, network] of ["dcos", "dcos6"].entries()) {
      const ref = { containerId, netns: netns.path, ifname: `eth${i}` };
      assert.equal((await callCni(agentOf(this.#cluster, host), "DEL", network, ref)).status, 0);
    }
    await netns.delete();
    return `a container of host${host} is detached and ends`;
  }

  /** Its runtime was killed: nobody calls DEL. */
  async #lose(): Promise<string> {
    const { host, netns } = this.#take();
    await netns.delete();
    return `a container of host${host} is lost`;
  }

  async #restartAgent(host: number): Promise<string> {
    const agent = agentOf(this.#cluster, host);
    await agent.stop("SIGKILL");
    await agent.start();
    return `the agent of host${host} is killed and started`;
  }

  async #restartMaster(): Promise<string> {
    await this.#cluster.master.stop("SIGKILL");
    await this.#cluster.master.start();
    return "the master is killed and started";
  }

  async #damage(host: number): Promise<string> {
    const script = DAMAGE[this.#below(DAMAGE.length)] as string;
    await hostOf(this.#cluster.lab, host).run("sh", ["-c", script]);
    return `on host${host}: ${script}`;
  }

  /** Every pair, both families, with the sender's own address. */
  async everyoneReachesEveryone(): Promise<void> {
    for (const from of this.#containers)
      for (const to of this.#containers)
        if (from !== to)
          for (const family of ["ip", "ip6"] as const)
            assert.equal(await from.probe.ask(to[family]), from[family], `${from[family]} → ${to[family]}`);
  }

  /** Devices and leases on a host are those of its containers, two each. */
  async nothingIsLeftOver(): Promise<void> {
    for (let host = 1; host <= HOSTS; host++) {
      const wanted = this.#containers.filter((container) => container.host === host).length * 2;
      const { attachments } = (await agentOf(this.#cluster, host).get("/v1/attachments")) as { attachments: unknown[] };
      assert.equal(attachments.length, wanted, `leases of host${host}`);
      const links = await hostOf(this.#cluster.lab, host).mustRun("sh", [
        "-c",
        "ip -o link | grep -c 'weft[0-9a-f]*@' || true",
      ]);
      assert.equal(Number(links), wanted, `veths of host${host}`);
      const chains = await hostOf(this.#cluster.lab, host).mustRun("sh", [
        "-c",
        "nft list table netdev weft | grep -c 'chain weft' || true",
      ]);
      assert.equal(Number(chains), wanted, `chains of host${host}`);
    }
  }
}

async function holdsWithin(ms: number, what: string, check: () => Promise<void>): Promise<void> {
  await waitFor(what, ms, async () => {
    await check();
    return true;
  });
}

test(`whatever happens, containers find each other again (seed ${SEED})`, { skip }, async () => {
  const cluster = await createCluster({ hosts: HOSTS });
  // An agent is well before its master has heard of it.
  const before = await waitFor("the master to have heard from all", HEAL_MS, async () => {
    const state = await cluster.master.get("/overlay-master/state");
    return JSON.stringify(state).split("STATUS_OK").length - 1 === HOSTS * 2 ? state : undefined;
  });
  const history = new History(cluster);
  const done: string[] = [];
  for (let step = 0; step < STEPS; step++) {
    done.push(await history.step());
    await holdsWithin(HEAL_MS, `all to be well after\n  ${done.slice(-4).join("\n  ")}`, () =>
      history.everyoneReachesEveryone(),
    );
  }
  await holdsWithin(SWEEP_MS, "nothing to be left over", () => history.nothingIsLeftOver());
  for (let host = 1; host <= HOSTS; host++) await agentOf(cluster, host).ready();
  // Statuses are not on the master's disk: after its restart each agent tells its own again.
  await holdsWithin(HEAL_MS, "the master's state to be as before", async () =>
    assert.deepEqual(await cluster.master.get("/overlay-master/state"), before),
  );
});
