/**
 * The programs that gossip is measured with, one on each host of the field: whole Weft agents, Weft's gossip alone, and
 * serf at its defaults. Each tells in its own words whom it holds alive or dead; here that becomes one form.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { newSecret, newSignerPem, signerOf } from "../src/io/crypto/keys.ts";
import { assert } from "../src/model/fault.ts";
import { ip } from "../src/model/ip.ts";
import type { GossipKeys } from "../src/model/trust/key-ring.ts";
import type { Signer } from "../src/model/trust/member.ts";
import { membershipJson } from "../src/model/trust/membership.ts";
import { seedAssignment } from "../test/support/seed-cluster.ts";
import { membershipFor, newSigner } from "../test/support/trust.ts";
import type { FieldHost, FieldProcess, Traffic } from "./gossip-field.ts";
import type { MemberFile } from "./gossip-member-process.ts";

const WEFT = new URL("../bin/weft", import.meta.url).pathname;
const MEMBER = new URL("gossip-member-process.ts", import.meta.url).pathname;
const AGENT_PORT = 62_501;
const MASTER_PORT = 62_502;
const TRIES_MAX = 1_500;
const AT_ONCE = 1;
const WARM = "agent-was-here";
const JOINED = / gossip joined /;
const POLL_MS = 20;

export type SideName = "agents" | "members" | "serf";

/** `address` is held alive or dead from now on by the process that said so. */
export interface Word {
  readonly address: string;
  readonly isAlive: boolean;
}

export interface Side {
  readonly name: SideName;
  readonly counter: keyof Traffic;
  /** On so many hosts; `undefined`: on all. */
  readonly nodes?: number;
  /** How long after its start it does what it does when nothing happens. */
  readonly settleMs: number;
  /** Starts the program on each host, and what else it needs on the last. @param dir for its files, empty */
  start(hosts: readonly FieldHost[], dir: string): Promise<SideProcesses>;
  /** What a line says of another one. */
  parse(line: string): Word | undefined;
}

export interface SideProcesses {
  /** Those that are measured and killed. */
  readonly nodes: readonly FieldProcess[];
  /** Those that only belong to it: they gossip and see, and live. */
  readonly others: readonly FieldProcess[];
}

/** The line of logMember (src/app/gossip/gossip-log.ts). */
function parseWeft(line: string): Word | undefined {
  const match = / member is known to be .*address=([\d.]+):\d+ status=(alive|dead)/.exec(line);
  return match === null ? undefined : { address: match[1] as string, isAlive: match[2] === "alive" };
}

/** Starts a few at a time, and the next when these take part: forty Nodes that start at once keep gossip from running. */
async function inTurn(
  hosts: readonly FieldHost[],
  start: (host: FieldHost, n: number) => FieldProcess,
): Promise<FieldProcess[]> {
  const nodes: FieldProcess[] = [];
  for (let first = 0; first < hosts.length; first += AT_ONCE) {
    const some = hosts.slice(first, first + AT_ONCE).map((host, n) => start(host, first + n));
    nodes.push(...some);
    await Promise.all(some.map(takesPart));
  }
  return nodes;
}

async function takesPart(node: FieldProcess): Promise<void> {
  for (let tries = 0; !node.said.some((line) => JOINED.test(line)); tries++) {
    assert(tries < TRIES_MAX && node.isRunning, `${node.address} takes part: ${node.said.at(-1)}`);
    await sleep(POLL_MS);
  }
}

/** Whole agents, and a master on the last host. */
export const AGENTS: Side = {
  name: "agents",
  counter: "weft",
  // Forty do not fit on two shared processors: each newcomer makes all others pass over their kernels.
  nodes: 12,
  settleMs: 8_000,
  parse: parseWeft,
  start: async (hosts, dir) => {
    const cache = join(dir, "../compile-cache");
    const env = { NODE_COMPILE_CACHE: cache };
    const [masterHost, agentHosts] = [hosts.at(-1) as FieldHost, hosts.slice(0, -1)];
    const config = join(dir, "config.yaml");
    writeFileSync(config, "");
    const files = ["--config", config, "--data-dir", join(dir, "master"), "--socket", join(dir, "master.sock")];
    const at = ["--listen", `${masterHost.address}:5050`, "--gossip", `${masterHost.address}:${MASTER_PORT}`];
    const master = masterHost.spawn([WEFT, "master", ...files, ...at, "--log-level", "debug"], env);
    const token = join(dir, "master/join-token");
    for (let tries = 0; !existsSync(token); tries++) {
      assert(tries < TRIES_MAX && master.isRunning, `the master starts: ${master.said.at(-1)}`);
      await sleep(POLL_MS);
    }
    const startAgent = (host: FieldHost) => {
      const own = join(dir, host.address);
      mkdirSync(own, { recursive: true });
      const where = ["--data-dir", join(own, "data"), "--socket", join(own, "agent.sock"), "--cni-conf-dir", ""];
      const whom = ["--master", `http://${masterHost.address}:5050`, "--join-token-file", token];
      const who = ["--ip", host.address, "--hostname", host.address, "--listen", "127.0.0.1:0"];
      return host.spawn([WEFT, "agent", ...where, ...whom, ...who, "--log-level", "debug"], env);
    };
    if (!existsSync(join(cache, WARM))) {
      // The first start of a version strips types, which costs memory; what it compiled it writes when it ends.
      const first = startAgent(agentHosts[0] as FieldHost);
      await takesPart(first);
      await first.kill("SIGTERM");
      writeFileSync(join(cache, WARM), "");
    }
    const nodes = await inTurn(agentHosts, startAgent);
    return { nodes, others: [master] };
  },
};

/** Processes that do nothing but gossip; the first is the others' seed, as with serf. */
export const MEMBERS: Side = {
  name: "members",
  counter: "weft",
  settleMs: 8_000,
  parse: parseWeft,
  start: async (hosts, dir) => {
    const used = hosts.slice(0, -1);
    const file = join(dir, "members.json");
    writeFileSync(file, JSON.stringify(papersFor(used.map(({ address }) => address))), { mode: 0o600 });
    const env = { NODE_COMPILE_CACHE: join(dir, "../compile-cache") };
    const node = [process.execPath, "--disable-warning=ExperimentalWarning", "--max-semi-space-size=4", MEMBER, file];
    return { nodes: await inTurn(used, (host, n) => host.spawn([...node, String(n)], env)), others: [] };
  },
};

function papersFor(addresses: readonly string[]): MemberFile {
  const cluster = newSigner();
  const keys: GossipKeys = { keys: [{ id: 1, key: newSecret() }], sendingId: 1 };
  const members = addresses.map((address, n) => {
    const pem = newSignerPem();
    const agentId = `agent-${n}`;
    const assignment = seedAssignment(1);
    const named = { ...assignment, agent: { ...assignment.agent, id: agentId, ip: ip(address), hostname: address } };
    const papers = membershipFor(named, signerOf(pem) as Signer, cluster);
    const membership = membershipJson({ ...papers, keys, seeds: [`${addresses[0]}:${AGENT_PORT}`] });
    return { address, port: AGENT_PORT, pem, agentId, membership };
  });
  return { members };
}

/** Debian's serf with nothing set but where it is and whom it joins. */
export const SERF: Side = {
  name: "serf",
  counter: "serf",
  // Whole states are exchanged by pairs each minute, and not in the first.
  settleMs: 70_000,
  parse: (line) => {
    const match = / EventMember(Join|Failed|Leave): \S+ ([\d.]+)/.exec(line);
    return match === null ? undefined : { address: match[2] as string, isAlive: match[1] === "Join" };
  },
  start: async (hosts) => {
    const used = hosts.slice(0, -1);
    const first = (used[0] as FieldHost).address;
    const nodes = used.map((host) =>
      host.spawn(["serf", "agent", `-node=${host.address}`, `-bind=${host.address}`, `-retry-join=${first}`]),
    );
    return { nodes, others: [] };
  },
};
