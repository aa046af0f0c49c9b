/**
 * Docker with containers that answer, as those of test/support/podman.ts do: each serves HTTP on port 80 and tells who
 * asked. The image is imported from a tar file; no registry is asked for anything.
 */
import { join } from "node:path";
import {
  Docker,
  type DockerFolders,
  type DockerOptions,
  dockerFolders,
  dockerProblem,
} from "../../src/app/demo/docker.ts";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import type { LabHost } from "../../src/app/demo/lab.ts";
import { Machine } from "../../src/app/demo/machine.ts";
import type { Output } from "../../src/app/demo/netns.ts";
import type { RuntimeHost } from "../../src/app/demo/runtime.ts";
import { type Addresses, imageProblem, question } from "./podman.ts";

export const IMAGE = "who";
const STAND_IN = /^198\.1[89]\./;
const SERVE = ["httpd", "-f", "-p", "80", "-h", "/www"];

/** Why containers of this kind cannot run here, for the `skip` option of a test. */
export function dockerSkip(): string | undefined {
  return dockerProblem() ?? imageProblem();
}

/** What an engine needs of a host; an Agent of the lab is one. */
export type EngineHost = RuntimeHost & DockerFolders & { readonly netns: LabHost };

/** A host of the lab where no agent is. */
export function engineHost(netns: LabHost): EngineHost {
  const folder = join(LAB_DIR, netns.name);
  return { netns, confDir: join(folder, "cni/net.d"), binDir: join(folder, "cni/bin"), ...dockerFolders(folder) };
}

/** An engine on a machine of its own, with the image in its store. @param tar of `imageTar` */
export async function startDocker(host: EngineHost, tar: string, options: DockerOptions = {}): Promise<DockerHost> {
  const docker = await Docker.on(await Machine.start(host), host, options);
  await docker.start();
  await docker.mustRun(["import", tar, IMAGE]);
  return new DockerHost(docker);
}

export class DockerHost {
  readonly docker: Docker;

  constructor(docker: Docker) {
    this.docker = docker;
  }

  get machine(): Machine {
    return this.docker.machine;
  }

  /** `docker run` of a container that answers, with these options. */
  run(name: string, ...options: readonly string[]): Promise<Output> {
    return this.docker.run(["run", "--detach", "--name", name, "--stop-timeout", "0", ...options, IMAGE, ...SERVE]);
  }

  /** The same, where nothing but success is expected. @returns its addresses */
  async start(name: string, ...options: readonly string[]): Promise<Addresses> {
    const { status, stderr } = await this.run(name, ...options);
    if (status !== 0) throw new Error(`docker run ${options.join(" ")}: ${stderr}`);
    return this.addresses(name);
  }

  /** `docker …` of which nothing but success is expected. */
  do(...args: readonly string[]): Promise<string> {
    return this.docker.mustRun(args);
  }

  exec(name: string, ...command: readonly string[]): Promise<Output> {
    return this.docker.run(["exec", name, ...command]);
  }

  /** By network, as Docker tells them: IPv4 before IPv6, without what stands in for IPv4. */
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
