/**
 * What is left of containers that were run and killed by Docker, four at a time on two hosts, while engines and agents are
 * killed (SIGKILL) in the middle of every twentieth and started again. An engine forgets what it could not say, so what it
 * does not list is given back a minute later: that, and two of the agent's comparisons, is waited for at most.
 *
 * Counted are leases, whatever the kernel holds on the hosts that it did not hold before, Docker's networks, and sandboxes
 * that are still mounted. What is left is written to stderr, one line each.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { HostState } from "../src/core/host/host-state.ts";
import { openLinuxKernel } from "../src/io/kernel/linux-kernel.ts";
import { ENGINE_COMPARE_INTERVAL_MS, ENGINE_FORGETS_MS } from "../src/model/engine-limits.ts";
import { IMAGE } from "../test/support/podman.ts";
import { seededRandom } from "../test/support/seeded-random.ts";
import { type BenchHost, enterDockerLab, openDockerLab } from "./docker-lab.ts";
import { bench } from "./figures.ts";
import { surplus } from "./surplus.ts";

const CONFIG = `dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - {name: dcos, subnet: 9.0.0.0/8, prefix: 24}
    - {name: both, subnet: 192.168.0.0/16, prefix: 24, subnet6: "fd01:c::/64", prefix6: 80}
enable_ipv6: true
`;
const NETWORKS = ["dcos", "both"] as const;
const AT_ONCE = 4;
const CYCLES_PER_KILL = 20;
/** A container is run and gone within that. */
const KILL_WITHIN_MS = 1_000;
const FIRST_PORT = 20_000;
const RETRY_MS = 100;
const REMOVE_TIMEOUT_MS = 180_000;
const WAIT_MS = ENGINE_FORGETS_MS + 2 * ENGINE_COMPARE_INTERVAL_MS;
const POLL_MS = 1_000;

const random = seededRandom(1);
const oneOf = <T>(values: readonly T[]) => values[Math.floor(random.fraction() * values.length)] as T;

/**
 * Run, connected to the other network, killed, removed. Anything may fail while something is away; in the end the container is gone.
 * @returns whether it was on both networks
 */
async function cycle({ api }: BenchHost, n: number): Promise<boolean> {
  const attempt = (method: "POST" | "DELETE", path: string, body?: object) =>
    api.call(method, path, body).then(
      ({ status }) => status,
      () => 0,
    );
  const port = n % 3 === 0 ? { PortBindings: { "80/tcp": [{ HostPort: String(FIRST_PORT + n) }] } } : {};
  const [network, other] = n % 4 < 2 ? NETWORKS : NETWORKS.toReversed();
  const host = { NetworkMode: network, ...port };
  const container = { Image: IMAGE, Cmd: ["sleep", "1000"], StopSignal: "SIGKILL", HostConfig: host };
  await attempt("POST", `/containers/create?name=c${n}`, container);
  await attempt("POST", `/containers/c${n}/start`);
  const connected = await attempt("POST", `/networks/${other}/connect`, { Container: `c${n}` });
  await attempt("POST", `/containers/c${n}/kill`);
  for (const begin = performance.now(); ; await sleep(RETRY_MS)) {
    const status = await attempt("DELETE", `/containers/c${n}?force=true`);
    if (status === 204 || status === 404) return connected === 200;
    if (performance.now() - begin > REMOVE_TIMEOUT_MS) throw new Error(`container c${n} is not removed: ${status}`);
  }
}

/** Kills a host's engine, its agent or both, at once, and starts them again. */
async function kill({ agent, docker }: BenchHost): Promise<void> {
  const [engineToo, agentToo] = oneOf([
    [true, false],
    [false, true],
    [true, true],
  ] as const);
  await Promise.all([engineToo && docker.stop("SIGKILL"), agentToo && agent.stop("SIGKILL")]);
  await Promise.all([engineToo && docker.start(), agentToo && agent.start()]);
}

/** All cycles, some at a time; each kill is done before the next one. */
async function cycles(hosts: readonly BenchHost[], count: number, first = 0): Promise<{ kills: number; ran: number }> {
  let next = first;
  let kills = 0;
  let ran = 0;
  let killing: Promise<void> = Promise.resolve();
  const worker = async () => {
    while (next < first + count) {
      const n = next++;
      const done = cycle(hosts[n % hosts.length] as BenchHost, n);
      if (n % CYCLES_PER_KILL === CYCLES_PER_KILL - 1) {
        kills += 1;
        const [victim, delay] = [oneOf(hosts), random.fraction() * KILL_WITHIN_MS];
        killing = killing.then(() => sleep(delay)).then(() => kill(victim));
        await killing;
      }
      if (await done) ran += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return { kills, ran };
}

interface Use {
  readonly kernel: HostState;
  readonly others: readonly string[];
}

async function useOf({ agent, api, docker, machine }: BenchHost): Promise<Use> {
  const { endpoints } = (await agent.get("/v1/endpoints")) as { endpoints: readonly object[] };
  // An engine makes its own networks anew at each start, and of others it may have two of one name.
  const names = (await api.get<readonly { Name: string }[]>("/networks")).map(({ Name }) => Name).sort();
  const root = openLinuxKernel();
  const kernel = await root.enter(`/run/netns/${machine.name}`);
  try {
    return {
      kernel: await kernel.observe([]),
      others: [
        ...endpoints.map((endpoint) => `leases ${JSON.stringify(endpoint)}`),
        ...names.map((name, i) => `networks ${name} ${i - names.indexOf(name) + 1}`),
        ...docker.namespaces.map((path) => `sandboxes ${path}`),
      ],
    };
  } finally {
    kernel.close();
    root.close();
  }
}

function left(before: readonly Use[], after: readonly Use[]): readonly string[] {
  return after.flatMap(({ kernel, others }, i) => {
    const was = before[i] as Use;
    return [...surplus(was.kernel, kernel), ...others.filter((each) => !was.others.includes(each))].map(
      (object) => `host${i + 1}: ${object}`,
    );
  });
}

await enterDockerLab();
await bench(
  "docker-leaks",
  async ({ quick, figure, number }) => {
    const { hosts } = await openDockerLab(CONFIG);
    const uses = () => Promise.all(hosts.map(useOf));
    // What the first containers bring for good is no leak.
    await cycles(hosts, CYCLES_PER_KILL - 1);
    await sleep(POLL_MS);
    const before = await uses();
    const begin = performance.now();
    const { kills, ran } = await cycles(hosts, number("cycles", quick ? 60 : 500), CYCLES_PER_KILL);
    const end = performance.now();
    let leaks = left(before, await uses());
    while (leaks.length > 0 && performance.now() - end < WAIT_MS) {
      await sleep(POLL_MS);
      leaks = left(before, await uses());
    }
    for (const leak of leaks) console.error(leak);
    figure({ figure: "leaks", unit: "objects", ours: leaks.length, peer: null, target: "ours<=0" });
    figure({ figure: "ran", unit: "containers", ours: ran, peer: null, target: "" });
    figure({ figure: "kills", unit: "times", ours: kills, peer: null, target: "" });
    figure({ figure: "cycles.time", unit: "s", ours: (end - begin) / 1_000, peer: null, target: "" });
    figure({ figure: "clean.after", unit: "s", ours: (performance.now() - end) / 1_000, peer: null, target: "" });
  },
  ["cycles"],
);
