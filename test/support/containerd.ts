/**
 * containerd on a machine of the lab: a daemon of its own with its state there, an image made on the spot, and `ctr run
 * --cni`, which calls the plugins of the first network in /etc/cni/net.d.
 */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import type { Machine } from "../../src/app/demo/machine.ts";
import type { Output } from "../../src/app/demo/netns.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { ociImage } from "./oci-image.ts";

export const CONTAINERD_PROGRAMS = ["containerd", "containerd-shim-runc-v2", "ctr", "crun"];
const IMAGE = "localhost/who:latest";
const START_TIMEOUT_MS = 10_000;
/** Kubernetes' API and what it needs are of no use here; the other plugins ask for file systems or the network. */
const DISABLED = ["grpc.v1.cri", "internal.v1.opt", "internal.v1.tracing", "tracing.processor.v1.otlp"];

export class Containerd {
  readonly machine: Machine;
  readonly #socket: string;
  readonly #runtime: string;

  private constructor(machine: Machine, socket: string, runtime: string) {
    this.machine = machine;
    this.#socket = socket;
    this.#runtime = runtime;
  }

  /** @param layer tar file of the image's only layer */
  static async start(machine: Machine, layer: string): Promise<Containerd> {
    const folder = join(LAB_DIR, "containerd");
    const image = await ociImage(layer, IMAGE, folder);
    const config = join(LAB_DIR, "containerd.toml");
    const socket = join(LAB_DIR, "containerd.sock");
    const lines = [
      "version = 2",
      'root = "/var/lib/containerd"',
      `state = "${machine.folder}/containerd"`,
      `disabled_plugins = [${DISABLED.map((name) => `"io.containerd.${name}"`).join(", ")}]`,
      `[grpc]\naddress = "${socket}"`,
      `[ttrpc]\naddress = "${socket}.ttrpc"`,
    ];
    writeFileSync(config, `${lines.join("\n")}\n`);
    // In a lab nobody may make cgroups.
    const runtime = join(LAB_DIR, "crun-without-cgroups");
    writeFileSync(runtime, '#!/bin/sh\nexec crun --cgroup-manager=disabled "$@"\n');
    chmodSync(runtime, 0o755);
    const daemon = machine.spawn("containerd", ["--config", config], { stdio: "ignore" });
    daemon.unref();
    const containerd = new Containerd(machine, socket, runtime);
    await waitFor("containerd to answer", START_TIMEOUT_MS, async () =>
      (await containerd.ctr("version")).status === 0 ? true : undefined,
    );
    await containerd.do("image", "import", "--snapshotter", "native", image);
    return containerd;
  }

  ctr(...args: readonly string[]): Promise<Output> {
    return this.machine.run("ctr", ["--address", this.#socket, ...args]);
  }

  /** `ctr …` of which nothing but success is expected. */
  do(...args: readonly string[]): Promise<string> {
    return this.machine.mustRun("ctr", ["--address", this.#socket, ...args]);
  }

  /** A container with a network; `ctr` attaches it, and detaches it when its program has ended. */
  run(name: string, ...command: readonly string[]): Promise<Output> {
    const options = ["--cni", "--rm", "--snapshotter", "native", "--runc-binary", this.#runtime];
    return this.ctr("run", ...options, IMAGE, name, ...command);
  }

  exec(name: string, ...command: readonly string[]): Promise<Output> {
    return this.ctr("task", "exec", "--exec-id", "look", name, ...command);
  }
}
