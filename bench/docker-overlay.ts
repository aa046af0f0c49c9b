/**
 * Docker's containers across hosts: on Weft's network against an attachable overlay network of a swarm of the same engines,
 * on the same two hosts. `rr`, `tcp` and `underlay.*` are asked as in bench/overlay.ts, by programs of this machine that
 * run in the containers' network namespaces.
 */
import { symlinkSync } from "node:fs";
import { mustRun } from "../src/app/demo/netns.ts";
import { type Cluster, hostOf } from "../test/support/lab-cluster.ts";
import { type BenchHost, type DockerLab, enterDockerLab, joinSwarm, OURS, openDockerLab, SWARM } from "./docker-lab.ts";
import { alternate, bench, median } from "./figures.ts";
import { requestRate } from "./request-rate.ts";
import { throughput } from "./throughput.ts";

/** A way from the first host to the second. */
interface Path {
  /** Of network namespaces. */
  readonly names: readonly [string, string];
  /** Of the second one. */
  readonly address: string;
}

await enterDockerLab();
await bench("docker-overlay", async ({ quick, figure }) => {
  const lab = await openDockerLab();
  await joinByWire(lab.cluster);
  await joinSwarm(lab);
  // The second host first: a network of a swarm comes to a host with a container of it.
  const [ours, peer] = [await containers(lab, OURS), await containers(lab, SWARM)];
  const [one, two] = [hostOf(lab.cluster.lab, 1), hostOf(lab.cluster.lab, 2)];
  const wire: Path = { names: [one.name, two.name], address: two.address };
  const seconds = quick ? 1 : 2;
  for (const [name, unit, measure] of [
    ["tcp", "Gbit/s", throughput],
    ["rr", "1/s", requestRate],
  ] as const) {
    const over = ({ names, address }: Path) => measure(names, address, seconds);
    const samples = await alternate(
      quick ? 3 : 9,
      () => over(ours),
      () => over(peer),
    );
    const bare = [await over(wire), await over(wire), await over(wire)];
    figure({ figure: name, unit, ours: median(samples.ours), peer: median(samples.peer), target: "ratio>=1" });
    figure({ figure: `underlay.${name}`, unit, ours: null, peer: median(bare), target: "" });
  }
});

/** The hosts have one veth between them instead of a bridge with a router: no figure is of the lab. */
async function joinByWire({ lab: { hosts } }: Cluster): Promise<void> {
  const [one, two] = hosts.map(({ name }) => name);
  for (const host of hosts) await host.ip("link delete eth0");
  await mustRun("ip", `-n ${one} link add eth0 type veth peer eth0 netns ${two}`.split(" "));
  for (const host of hosts) await host.ip(`address add ${host.address}/24 dev eth0`, "link set eth0 up");
}

/** One on each host. */
async function containers({ hosts: [one, two] }: DockerLab, network: string): Promise<Path> {
  const start = async (host: BenchHost) => {
    const { [network]: addresses } = await host.start(network, "--network", network);
    const name = `${host.machine.name}-${network}`;
    symlinkSync(
      (await host.do("inspect", network, "--format", "{{.NetworkSettings.SandboxKey}}")).trim(),
      `/run/netns/${name}`,
    );
    return { name, address: addresses?.[0] ?? "" };
  };
  const far = await start(two);
  const near = await start(one);
  return { names: [near.name, far.name], address: far.address };
}
