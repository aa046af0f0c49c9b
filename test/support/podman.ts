/**
 * Podman with containers that answer: each serves HTTP on port 80, over IPv4 and IPv6, and tells who asked. The image is
 * made of the machine's busybox; no registry is asked for anything.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import { Machine } from "../../src/app/demo/machine.ts";
import { mustRun, type Output } from "../../src/app/demo/netns.ts";
import { Podman, podmanProblem } from "../../src/app/demo/podman.ts";
import type { Agent } from "../../src/app/demo/weft-process.ts";

const BUSYBOX = "/bin/busybox";
const APPLETS = ["sh", "ip", "timeout", "wget", "httpd", "nc", "sleep", "cat", "ping", "true"];
export const IMAGE = "who";
const SERVE = ["httpd", "-f", "-p", "80", "-h", "/www"];
/** Prints the address of whoever asks, an IPv4 one without `::ffff:`, on a line of its own. */
const WHO = `#!/bin/sh
asker=\${REMOTE_ADDR#[}
asker=\${asker%]}
printf '\\n%s\\n' "\${asker#::ffff:}"
`;
/** Network → its address, or the IPv4 one and the IPv6 one. */
export type Addresses = Readonly<Record<string, readonly string[]>>;

/** Docker's, of networks without IPv4 (decision 0037). */
const STAND_IN = /^198\.1[89]\./;
const ANSWER_TIMEOUT_S = 3;

/** Why containers of this kind cannot run here, for the `skip` option of a test. */
export function podmanSkip(): string | undefined {
  return podmanProblem() ?? imageProblem();
}

/** Why there is nothing to make an image of: in an image there are no libraries. */
export function imageProblem(): string | undefined {
  const isStatic = existsSync(BUSYBOX) && !readFileSync(BUSYBOX).includes("/ld-linux");
  return isStatic ? undefined : "busybox-static is not installed here";
}

/** The image as a root file system; a folder of the lab. */
function imageTree(): string {
  const tree = join(LAB_DIR, "image");
  for (const folder of ["bin", "etc", "tmp", "www/cgi-bin"]) mkdirSync(join(tree, folder), { recursive: true });
  copyFileSync(BUSYBOX, join(tree, "bin/busybox"));
  for (const applet of APPLETS) symlinkSync("busybox", join(tree, "bin", applet));
  writeFileSync(join(tree, "www/cgi-bin/who"), WHO);
  chmodSync(join(tree, "www/cgi-bin/who"), 0o755);
  return tree;
}

/** The image as a tar file, made once in a lab. */
export async function imageTar(): Promise<string> {
  const tar = join(LAB_DIR, "image.tar");
  await mustRun("tar", ["-C", imageTree(), "-cf", tar, "."]);
  return tar;
}

/** Podman on an agent's host with the image in its store. */
export async function startPodman(agent: Agent, tar: string): Promise<PodmanHost> {
  const podman = await Podman.on(await Machine.start(agent));
  await podman.mustRun(["import", "--quiet", tar, IMAGE]);
  return new PodmanHost(podman);
}

/** What a container runtime on a machine of the lab can do; Podman and Docker have the same command line. */
export interface Runtime {
  readonly machine: Machine;
  run(args: readonly string[]): Promise<Output>;
  /** @throws Error with what it wrote to stderr */
  mustRun(args: readonly string[]): Promise<string>;
}

/** A runtime whose containers answer. */
export abstract class ContainerHost {
  readonly #runtime: Runtime;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  get machine(): Machine {
    return this.#runtime.machine;
  }

  /** `run` of a container that answers, with these options. */
  run(name: string, ...options: readonly string[]): Promise<Output> {
    return this.#runtime.run(["run", "--detach", "--name", name, "--stop-timeout", "0", ...options, IMAGE, ...SERVE]);
  }

  /** The same, where nothing but success is expected. @returns its addresses */
  async start(name: string, ...options: readonly string[]): Promise<Addresses> {
    const { status, stderr } = await this.run(name, ...options);
    if (status !== 0) throw new Error(`run ${options.join(" ")}: ${stderr}`);
    return this.addresses(name);
  }

  /** A command of which nothing but success is expected. */
  do(...args: readonly string[]): Promise<string> {
    return this.#runtime.mustRun(args);
  }

  exec(name: string, ...command: readonly string[]): Promise<Output> {
    return this.#runtime.run(["exec", name, ...command]);
  }

  /** By network, as the runtime tells them: IPv4 before IPv6, without what stands in for IPv4. */
  async addresses(name: string): Promise<Addresses> {
    const json = await this.do("inspect", name, "--format", "{{json .NetworkSettings.Networks}}");
    const networks = JSON.parse(json) as Record<string, { IPAddress: string; GlobalIPv6Address: string }>;
    return Object.fromEntries(
      Object.entries(networks).map(([network, { IPAddress, GlobalIPv6Address }]) => [
        network,
        [IPAddress, GlobalIPv6Address].filter((address) => address !== "" && !STAND_IN.test(address)),
      ]),
    );
  }

  /** Asks a container's server from inside another. @returns as whom it saw the asker, or what went wrong */
  async ask(name: string, address: string, port = 80): Promise<string> {
    const { stdout, stderr } = await this.exec(name, ...question(address, port));
    return stdout.trim() || stderr.trim() || "no answer";
  }

  /** Asks from the host itself. @returns as `ask` */
  async askFromHost(address: string, port: number): Promise<string> {
    const { stdout, stderr } = await this.machine.run("busybox", question(address, port));
    return stdout.trim() || stderr.trim() || "no answer";
  }
}

export class PodmanHost extends ContainerHost {
  readonly podman: Podman;

  constructor(podman: Podman) {
    super(podman);
    this.podman = podman;
  }

  /** Removes a container whose Podman was killed before it had written down what it mounted. */
  async removeHalfMade(name: string): Promise<void> {
    const id = await this.do("inspect", name, "--format", "{{.Id}}");
    await this.machine.run("umount", [`/var/lib/containers/vfs-containers/${id.trim()}/userdata/shm`]);
    await this.do("rm", "--force", name);
  }
}

/** Debian's busybox crashes over wget's own `-T`. */
export function question(address: string, port: number): string[] {
  const host = address.includes(":") ? `[${address}]` : address;
  return ["timeout", String(ANSWER_TIMEOUT_S), "wget", "-qO-", `http://${host}:${port}/cgi-bin/who`];
}
