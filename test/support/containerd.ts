/**
 * containerd on a machine of the lab: a daemon of its own with its state there, an image made on the spot, and `ctr run
 * --cni`, which calls the plugins of the first network in /etc/cni/net.d.
 */
import { join } from "node:path";
import { startContainerd } from "../../src/app/demo/containerd.ts";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import type { Machine } from "../../src/app/demo/machine.ts";
import type { Output } from "../../src/app/demo/netns.ts";
import { ociImage } from "./oci-image.ts";

const IMAGE = "localhost/who:latest";

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
    const { socket, runtime } = await startContainerd(machine);
    const containerd = new Containerd(machine, socket, runtime);
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
