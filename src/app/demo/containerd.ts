/**
 * containerd as a daemon on a machine of the lab, with its state there; by itself, as Debian has it: one that dockerd starts
 * would die and come back with it. Whoever runs containers by it brings images.
 *
 * What differs from a real host is only what a lab cannot have: nobody may make cgroups, so crun is told to make none.
 */
import { join } from "node:path";
import type { Machine } from "./machine.ts";
import { waitFor } from "./wait.ts";

export const CONTAINERD_PROGRAMS = ["containerd", "containerd-shim-runc-v2", "ctr", "crun"];
const START_TIMEOUT_MS = 20_000;
const RUNTIME = '#!/bin/sh\nexec crun --cgroup-manager=disabled "$@"\n';
/** Kubernetes' API and what it needs are of no use here; the other plugins ask for file systems or the network. */
const DISABLED = ["grpc.v1.cri", "internal.v1.opt", "internal.v1.tracing", "tracing.processor.v1.otlp"];

/** Both are paths on the machine. */
export interface ContainerdPaths {
  readonly socket: string;
  /** The program that runs containers, to be called instead of runc. */
  readonly runtime: string;
}

/** @returns once it answers */
export async function startContainerd(machine: Machine): Promise<ContainerdPaths> {
  const [config, socket, runtime] = ["containerd.toml", "containerd.sock", "crun"].map((name) =>
    join(machine.folder, name),
  ) as [string, string, string];
  const lines = [
    "version = 2",
    'root = "/var/lib/containerd"',
    `state = "${machine.folder}/containerd"`,
    `disabled_plugins = [${DISABLED.map((name) => `"io.containerd.${name}"`).join(", ")}]`,
    `[grpc]\naddress = "${socket}"`,
    `[ttrpc]\naddress = "${socket}.ttrpc"`,
  ];
  await machine.mustRun("sh", ["-c", 'cat > "$0"', config], { input: `${lines.join("\n")}\n` });
  await machine.mustRun("sh", ["-c", 'cat > "$0"; chmod 755 "$0"', runtime], { input: RUNTIME });
  machine.spawn("containerd", ["--config", config], { stdio: "ignore" }).unref();
  await waitFor("containerd to answer", START_TIMEOUT_MS, async () =>
    (await machine.run("ctr", ["--address", socket, "version"])).status === 0 ? true : undefined,
  );
  return { socket, runtime };
}
