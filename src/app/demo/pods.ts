/**
 * Containers of the demo that Podman runs, with one Podman on each host, as somebody would who has followed README. The
 * programs in them are the machine's own (/usr, read only), so that no image is needed.
 */
import { mkdirSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { assert } from "../../model/fault.ts";
import { familyOf, ip } from "../../model/ip.ts";
import { LAB_DIR } from "./enter-lab.ts";
import { Machine } from "./machine.ts";
import { Netns } from "./netns.ts";
import { Podman } from "./podman.ts";
import { Probe } from "./probe-client.ts";
import type { Container } from "./scenario.ts";
import type { Agent } from "./weft-process.ts";

const NETWORKS = ["dcos", "dcos6"];
/** What a merged /usr has in the root. */
const LINKS = ["bin", "sbin", "lib", "lib64"];

export interface Pod extends Container {
  readonly machine: Machine;
}

/** `podman run --network dcos,dcos6 NAME` on the host of this agent. */
export async function createPod(name: string, agent: Agent): Promise<Pod> {
  const machine = await Machine.start(agent);
  const podman = await Podman.on(machine);
  const rootfs = ["-v", "/usr:/usr:ro", "--rootfs", rootFolder(name)];
  const network = ["--network", NETWORKS.join(",")];
  await podman.mustRun(["run", "-d", "--name", name, ...network, ...rootfs, "sleep", "infinity"]);
  const [container] = JSON.parse(await podman.mustRun(["inspect", name])) as [Inspected];
  const { SandboxKey, Networks } = container.NetworkSettings;
  const addresses = Object.values(Networks)
    .flatMap(({ IPAddress, GlobalIPv6Address }) => [IPAddress, GlobalIPv6Address])
    .filter((address) => address !== "")
    .map(ip);
  const ip4 = addresses.find((address) => familyOf(address) === 4);
  const ip6 = addresses.find((address) => familyOf(address) === 6);
  assert(ip4 !== undefined && ip6 !== undefined, `${name} has an address of each family`);
  const probe = await Probe.start(new Netns(basename(SandboxKey)));
  return { name, host: agent.host, networks: NETWORKS, ip: ip4, ip6, probe, machine };
}

/** The part of `podman inspect` that is looked at here. */
interface Inspected {
  readonly NetworkSettings: {
    /** Path of the network namespace, in /run/netns. */
    readonly SandboxKey: string;
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string; readonly GlobalIPv6Address: string }>>;
  };
}

function rootFolder(name: string): string {
  const folder = join(LAB_DIR, "rootfs", name);
  mkdirSync(folder, { recursive: true });
  for (const link of LINKS) symlinkSync(join("usr", link), join(folder, link));
  return folder;
}
