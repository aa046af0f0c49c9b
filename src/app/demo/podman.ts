/**
 * Podman on a machine of the lab, set up as README says (examples/podman.conf), with its state on that machine and no
 * registry: whoever uses it brings a root file system or imports an image.
 *
 * What differs from a real host is only what a lab cannot have: no cgroups, no systemd, no copy-on-write disk.
 */
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type Machine, machineProblem } from "./machine.ts";
import type { Output, RunOptions } from "./netns.ts";

/** What README tells to put into /etc/containers/containers.conf.d. */
const EXAMPLE = join(import.meta.dirname, "../../../examples/podman.conf");
const PROGRAMS = ["podman", "conmon", "crun"];

const LAB_CONF = `
[containers]
cgroups = "disabled"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
runtime = "crun"
events_logger = "file"
lock_type = "file"
`;

/** Why this machine cannot run Podman in a lab, or `undefined`. */
export function podmanProblem(): string | undefined {
  return runtimeProblem("Podman", PROGRAMS);
}

/** Why this machine cannot run a container runtime, which is made of these programs, in a lab, or `undefined`. */
export function runtimeProblem(runtime: string, programs: readonly string[]): string | undefined {
  const missing = programs.filter((program) => !isOnPath(program));
  if (missing.length > 0) return `${runtime} is not installed here (no ${missing.join(", ")})`;
  return machineProblem();
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export class Podman {
  readonly machine: Machine;

  private constructor(machine: Machine) {
    this.machine = machine;
  }

  static async on(machine: Machine): Promise<Podman> {
    const storage = `[storage]\ndriver = "vfs"\ngraphroot = "/var/lib/containers"\nrunroot = "${machine.folder}/run"\n`;
    const files: readonly (readonly [path: string, text: string])[] = [
      ["containers.conf", `${LAB_CONF}tmp_dir = "${machine.folder}/tmp"\n`],
      ["containers.conf.d/weft.conf", readFileSync(EXAMPLE, "utf8")],
      ["storage.conf", storage],
      ["policy.json", '{"default":[{"type":"insecureAcceptAnything"}]}'],
    ];
    await machine.mustRun("mkdir", ["-p", "/etc/containers/containers.conf.d"]);
    for (const [name, text] of files)
      await machine.mustRun("sh", ["-c", `cat > "/etc/containers/$0"`, name], { input: text });
    return new Podman(machine);
  }

  /** `podman ARGS`, to its end. */
  run(args: readonly string[], options: RunOptions = {}): Promise<Output> {
    return this.machine.run("podman", args, options);
  }

  /** @returns what it prints. @throws Error with what it wrote to stderr */
  mustRun(args: readonly string[], options: RunOptions = {}): Promise<string> {
    return this.machine.mustRun("podman", args, options);
  }
}
